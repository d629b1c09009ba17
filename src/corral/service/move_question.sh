# shellcheck shell=bash
# What is in the directories FROM of models that belong into TO, each as a section of its number: models.<number>, their
# manifests; facts.<number>: how many bytes must be copied for them, whether anything is there to be moved or removed,
# how many bytes that is, and the file system's type. shared: the one that has its blobs or manifests in common with TO.
# shellcheck disable=SC2153,SC2154
target=$(stat -c %d -- "$(nearest "$TO")")
for number in "${!FROM[@]}"; do
  from=${FROM[$number]}
  # Two names of one directory: there is nothing to be moved, and nothing to be removed.
  if [ ! -d "$from" ] || [ "$from" -ef "$TO" ]; then continue; fi
  if [ "$from/blobs" -ef "$TO/blobs" ] || [ "$from/manifests" -ef "$TO/manifests" ]; then
    shared=$from
    continue
  fi
  something=
  copy=0 all=0
  for blob in "$from"/blobs/sha256-*; do
    if [ -f "$blob" ]; then
      something=1
      all=$((all + $(size_of "$blob")))
    fi
  done
  mapfile -t manifests < <(manifests_in "$from")
  if [ "${#manifests[@]}" -gt 0 ] || [ -d "$from/.corral" ]; then something=1; fi
  if [ "${#manifests[@]}" -gt 0 ] && [ "$(stat -Lc %d -- "$from/blobs" 2>/dev/null)" != "$target" ]; then
    for name in $(blobs_of "${manifests[@]/#/$from/manifests/}"); do
      size=$(size_of "$from/blobs/$name")
      if [ "$(size_of "$TO/blobs/$name")" != "$size" ]; then
        copy=$((copy + size - $(size_of "$TO/.corral/$name")))
      fi
    done
  fi
  emit "models.$number" < <(printf '%s\n' "${manifests[@]}")
  emit "facts.$number" <<<"$copy ${something:-0} $all $(stat -f -c %T -- "$from")"
done
if [ -n "${shared:-}" ]; then emit shared <<<"$shared"; fi
