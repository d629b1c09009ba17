# shellcheck shell=bash
# Has the models in FROM in TO, too: as links where both are on one file system, else as copies, each of them checked by
# the digest in its name. What is in TO stays as it is. Blobs come first, so that no manifest names what is not there.
# Can be cut off anywhere and repeated.
# shellcheck disable=SC2154

bring() { # PATH below FROM and TO, and the digest that a copy must have or ""
  local source=$FROM/$1 target=$TO/$1 new got
  if [ -e "$target" ]; then return 0; fi
  mkdir -p -- "$(dirname -- "$target")"
  if ln -- "$source" "$target" 2>/dev/null; then return 0; fi
  new=$(dirname -- "$target")/.corral.adopted
  if ! cp -p --sparse=auto -- "$source" "$new" 2>/dev/null; then
    rm -f -- "$new"
    fail disk "$source can't be copied into $TO: its disk has $(($(df -PB1 -- "$TO" | awk 'NR == 2 {print $4}') / 1048576)) MiB free | Free some space there and run again: what was copied stays, and nothing was taken from $FROM"
  fi
  if [ -n "$2" ]; then
    got=$(sha256sum -- "$new" | cut -d' ' -f1)
    if [ "$got" != "$2" ]; then
      rm -f -- "$new"
      fail damaged "$source is damaged: its SHA-256 is $got | Pull or remove the models that use it there (ollama list), then run again"
    fi
  fi
  sync -- "$new"
  mv -fT -- "$new" "$target"
}

linked=$(find "$FROM/blobs" "$FROM/manifests" -type l -print -quit 2>/dev/null || true)
if [ -n "$linked" ]; then
  fail link "$linked is a link, and corral takes over files | Put what it leads to in its place, or declare models_dir: $FROM, which leaves the models where they are"
fi
mkdir -p -- "$TO"
shown=$SECONDS
if [ -d "$FROM/blobs" ]; then
  while IFS= read -r name; do
    if ((SECONDS - shown >= 5)); then
      shown=$SECONDS
      progress "$(find "$TO/blobs" -name 'sha256-*' 2>/dev/null | wc -l) of $(find "$FROM/blobs" -name 'sha256-*' | wc -l) files"
    fi
    bring "blobs/$name" "${name#sha256-}"
  done < <(find "$FROM/blobs" -maxdepth 1 -type f -regextype posix-extended -regex '.*/sha256-[0-9a-f]{64}' -printf '%f\n')
fi
if [ -d "$FROM/manifests" ]; then
  while IFS= read -r path; do
    bring "manifests/$path" ""
  done < <(find "$FROM/manifests" -type f -not -name '.*' -printf '%P\n')
fi
chown -- "$OWNER:$OWNER" "$TO"
for part in blobs manifests; do
  if [ -d "$TO/$part" ]; then chown -hR -- "$OWNER:$OWNER" "$TO/$part"; fi
done
if have restorecon; then restorecon -R -- "$TO" || true; fi
sync -f -- "$TO"
