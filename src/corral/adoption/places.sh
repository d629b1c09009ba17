# shellcheck shell=bash
# What a take-over has to know besides: which of the directories in CANDIDATES hold models that are not in MODELS_DIR's
# place already, on which file system, how many files and bytes of it MODELS_DIR lacks, and which models there have
# another one's name; whether the key KEY is another than KEY_TO; and which of LINKS are there.
# shellcheck disable=SC2154

# The file system that a path is on, or will be.
mount_of() {
  local path=$1
  while [ ! -d "$path" ]; do path=$(dirname -- "$path"); done
  df --output=target -- "$path" | tail -n 1
}

to=$(realpath -m -- "$MODELS_DIR")
emit mount < <(mount_of "$to")
number=0
for candidate in "${CANDIDATES[@]}"; do
  real=$(realpath -m -- "$candidate")
  if [ "$real" = "$to" ] || [ -z "$(find "$real/manifests" "$real/blobs" -type f -print -quit 2>/dev/null)" ]; then
    continue
  fi
  lacking=0 missing=0
  while IFS= read -r line; do
    if [ ! -e "$to/${line#* }" ]; then
      lacking=$((lacking + 1)) missing=$((missing + ${line%% *}))
    fi
  done < <(cd -- "$real" && find blobs manifests -type f -not -name '.*' -not -name '*-partial*' -printf '%s %p\n' 2>/dev/null)
  emit "place.$number" < <(
    printf '%s\n' "$candidate" "$real" "$(mount_of "$real")" "$lacking" "$missing"
    cd -- "$real" && find manifests -type f -not -name '.*' -printf '%P\n' 2>/dev/null || true
  )
  emit "filesystem.$number" < <(stat -f -c %T -- "$real")
  emit "conflicts.$number" < <(cd -- "$real" && find manifests -type f -not -name '.*' 2>/dev/null | while IFS= read -r path; do
    if [ -e "$to/$path" ] && ! cmp -s -- "$path" "$to/$path"; then echo "${path#manifests/}"; fi
  done || true)
  number=$((number + 1))
done
emit key < <(if [ -f "$KEY" ] && ! cmp -s -- "$KEY" "$KEY_TO"; then echo other; fi)
emit links < <(for link in "${LINKS[@]}"; do if [ -L "$link" ]; then printf '%s\n' "$link"; fi; done)
