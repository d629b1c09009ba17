# shellcheck shell=bash
# Writes TEXT to FILE with MODE, in one rename. A secret's text is never readable by others, not even for a moment.
# shellcheck disable=SC2154
umask 077
write_file "$FILE" "$MODE" <<<"${TEXT%$'\n'}"
