# shellcheck shell=bash
# Removes from the directories FROM what is Ollama's: manifests, the files in blobs (unfinished downloads too), what it
# notes of them, and the directories that nothing is left in. The models are in TO by now. NOTE becomes RECORD before, so
# that what was begun is finished, and RECORD goes in the end; with it what was half copied to TO.
# shellcheck disable=SC2153,SC2154
for from in "${FROM[@]}"; do
  if [ "$from" -ef "$TO" ] || [ "$from/blobs" -ef "$TO/blobs" ] || [ "$from/manifests" -ef "$TO/manifests" ]; then
    fail same "$from and $TO are one directory | Declare one of its names as models_dir and remove $RECORD there"
  fi
done
sync -f -- "$TO"
write_file "$RECORD" 644 <<<"$NOTE"
for from in "${FROM[@]}"; do
  find "$from/manifests" -mindepth 4 -maxdepth 4 ! -type d -not -name '.*' -delete 2>/dev/null || true
  find "$from/manifests" -depth -type d -empty -delete 2>/dev/null || true
  find "$from/blobs/" -mindepth 1 -maxdepth 1 ! -type d -name 'sha256-*' -delete 2>/dev/null || true
  find "$from/metadata/" -mindepth 1 -maxdepth 1 -type f -name 'sha256-*.json' -delete 2>/dev/null || true
  rm -rf -- "$from/.corral"
  for directory in "$from/blobs" "$from/metadata" "$from"; do rmdir -- "$directory" 2>/dev/null || true; done
done
rm -rf -- "$TO/.corral"
rm -f -- "$RECORD"
