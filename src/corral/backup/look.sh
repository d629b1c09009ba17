# shellcheck shell=bash
# files: of each of PATHS its size and that of the unfinished file UNFINISHED beside it, in bytes; -1 for none.
# shellcheck disable=SC2154
size() { stat -Lc %s -- "$1" 2>/dev/null || echo -1; }
emit files < <(for number in "${!PATHS[@]}"; do
  printf '%s %s\n' "$(size "${PATHS[$number]}")" "$(size "${UNFINISHED[$number]}")"
done)
