# shellcheck shell=bash
# Removes PATHS, whole, and those directories in EMPTY that nothing is in, in this order. What a directory is known
# by, its file LAST, goes last: whoever is cut off in the middle finds it again.
# shellcheck disable=SC2154
for path in "${PATHS[@]}"; do
  if [ -d "$path" ] && [ ! -L "$path" ]; then find "$path" -mindepth 1 -depth ! -path "$path/$LAST" -delete; fi
  rm -rf --one-file-system -- "$path"
done
for path in "${EMPTY[@]}"; do rmdir -- "$path" 2>/dev/null || true; done
