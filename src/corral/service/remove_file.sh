# shellcheck shell=bash
# Removes FILE.
# shellcheck disable=SC2154
rm -f -- "$FILE"
