# shellcheck shell=bash
# digests: the SHA-256 of each of PATHS; - for one that can't be read.
# shellcheck disable=SC2154
emit digests < <(for path in "${PATHS[@]}"; do
  sum=$(sha256sum <"$path" 2>/dev/null | cut -d' ' -f1) || true
  printf '%s\n' "${sum:--}"
done)
