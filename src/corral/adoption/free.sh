# shellcheck shell=bash
# Frees FROM, whose models are in TO (models.sh has run): not before each of its files has been found there.
# shellcheck disable=SC2154
while IFS= read -r path; do
  if [ ! -e "$TO/$path" ]; then fail missing "$FROM/$path is not in $TO | Run again; nothing was removed"; fi
  if [[ $path == manifests/* ]] && ! cmp -s -- "$FROM/$path" "$TO/$path" && [ ! "$TO/$path" -nt "$FROM/$path" ]; then
    fail conflict "$FROM/$path and $TO/$path are different models of one name | Remove the one that nobody needs; nothing was removed"
  fi
  if [[ $path == blobs/* ]] && [ "$(stat -c %s -- "$FROM/$path")" != "$(stat -c %s -- "$TO/$path")" ]; then
    fail missing "$FROM/$path and $TO/$path are not of one size | Look which of them is whole; nothing was removed"
  fi
done < <(cd -- "$FROM" && find blobs manifests -type f -not -name '.*' -not -name '*-partial*' 2>/dev/null)
for part in manifests blobs metadata; do rm -rf --one-file-system -- "${FROM:?}/$part"; done
rmdir -- "$FROM" 2>/dev/null || true
