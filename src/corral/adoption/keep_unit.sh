# shellcheck shell=bash
# Writes TEXT, what people have changed in UNIT, to FILE, which nobody may read who may not read UNIT.
# shellcheck disable=SC2154
mode=$(stat -c %a -- "$UNIT" 2>/dev/null || echo 644)
umask 077
write_file "$FILE" "$mode" <<<"${TEXT%$'\n'}"
