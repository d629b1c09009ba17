# shellcheck shell=bash
# Prints at most COUNT bytes of FILE from OFFSET on, as they are.
# shellcheck disable=SC2154
tail -c "+$((OFFSET + 1))" -- "$FILE" | head -c "$COUNT" || [ "${PIPESTATUS[1]}" = 0 ]
