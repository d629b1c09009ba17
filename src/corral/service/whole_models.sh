# shellcheck shell=bash
# models: the manifests in TO all of whose files are there.
# shellcheck disable=SC2154
emit models < <(manifests_in "$TO" | while IFS= read -r path; do
  names=$(blobs_of "$TO/manifests/$path" </dev/null)
  whole=$names
  for name in $names; do
    if [ ! -f "$TO/blobs/$name" ]; then whole=; fi
  done
  if [ -n "$whole" ]; then printf '%s\n' "$path"; fi
done)
