# shellcheck shell=bash
# Gives FILE the name TO, which nothing has yet, unless an earlier run has done so.
# shellcheck disable=SC2154
if [ -e "$FILE" ]; then mv -nT -- "$FILE" "$TO"; fi
