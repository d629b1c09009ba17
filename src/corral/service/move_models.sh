# shellcheck shell=bash
# Brings the models in FROM to TO, as OWNER's, while a server may go on with those in FROM: of each its files, then its
# manifest. Within a file system they are hard links, at once; to another one they are copied under a name in TO/.corral,
# go on there where an earlier run was cut off, and appear in one rename when their SHA-256 is right. What TO has stays.
# NOTE, where not empty, becomes RECORD beforehand. AFTER: the server uses TO by now; only manifests that are newer than
# RECORD, whose time is that of the last look, are still to come.
# shellcheck disable=SC2154
work=$TO/.corral
# full NAME: ends the script, in the middle of copying this file.
full() {
  local left=$((total - copied - $(size_of "$work/$1")))
  fail disk "the disk of $TO is full: it has $(mib "$(free_on "$TO")") MiB free, $(mib "$left") MiB are still to be copied from $FROM | Free some space there and run again: the copy goes on where it stopped, and until then Ollama serves from $FROM"
}

# copy NAME SIZE: has the rest of a file written to $work/NAME, and says how far it is.
copy() {
  local part=$work/$1 have shown=$SECONDS writer
  have=$(size_of "$part")
  if [ "$have" -gt "$2" ]; then
    rm -f -- "$part"
    have=0
  fi
  if [ "$(free_on "$TO")" -lt $(($2 - have)) ]; then full "$1"; fi
  tail -c "+$((have + 1))" -- "$FROM/blobs/$1" >>"$part" 2>/dev/null &
  writer=$!
  while kill -0 "$writer" 2>/dev/null; do
    sleep 0.1
    if ((SECONDS - shown >= 5)); then
      shown=$SECONDS
      have=$((copied + $(size_of "$part")))
      progress "copied $(mib "$have") of $(mib "$total") MiB ($((have * 100 / total)) %)"
    fi
  done
  if ! { wait "$writer" && sync -- "$part"; }; then full "$1"; fi
}

# take NAME: has TO/blobs/NAME be what FROM/blobs/NAME is. One that was removed meanwhile is nobody's loss.
take() {
  local source=$FROM/blobs/$1 target=$TO/blobs/$1 part=$work/$1 size try
  if [ ! -f "$source" ] || [ "$(size_of "$source")" = "$(size_of "$target")" ]; then return; fi
  size=$(size_of "$source")
  # A link may lead to a file of somebody's own, which is not to become OWNER's.
  if [ ! -L "$source" ] && ln -- "$source" "$part.link" 2>/dev/null; then
    chown -- "$OWNER:$OWNER" "$part.link"
    mv -fT -- "$part.link" "$target"
    return
  fi
  for try in again last; do
    copy "$1" "$size"
    if [ "$(sha256sum <"$part" | cut -d' ' -f1)" = "${1#sha256-}" ]; then
      chmod 644 -- "$part"
      chown -- "$OWNER:$OWNER" "$part"
      touch -r "$source" -- "$part"
      mv -fT -- "$part" "$target"
      copied=$((copied + size))
      return
    fi
    rm -f -- "$part"
    # What a host that lost its power had not yet written to its disk is copied anew; what is wrong twice is wrong.
    if [ "$try" = last ]; then
      fail damaged "$source is damaged, its content is not what its name says | Have the models pulled or made again that need it ($(cd "$FROM/manifests" && grep -rlE "${1/-/[:-]}" . | sed 's|^\./||' | paste -sd' ')), or remove them with ollama rm, and run again"
    fi
  done
}

take_all() {
  local path source target name
  if [ -z "$AFTER" ]; then touch -- "$RECORD"; fi
  while IFS= read -r path; do
    source=$FROM/manifests/$path target=$TO/manifests/$path
    if [ -n "$AFTER" ] && [ ! "$source" -nt "$RECORD" ]; then continue; fi
    # What comes to lie in TO is what was read here, with all of its files, whatever becomes of the source meanwhile.
    cp -L --preserve=timestamps -- "$source" "$work/manifest" 2>/dev/null || continue
    for name in $(blobs_of "$work/manifest"); do take "$name"; done
    if [ -e "$target" ] && [ ! "$source" -nt "$target" ]; then continue; fi
    make_directory "$(dirname -- "$target")" "$OWNER"
    chmod 644 -- "$work/manifest"
    chown -- "$OWNER:$OWNER" "$work/manifest"
    sync -- "$work/manifest"
    mv -fT -- "$work/manifest" "$target"
  done < <(manifests_in "$FROM")
}

if [ -n "$NOTE" ]; then write_file "$RECORD" 644 <<<"$NOTE"; fi
for directory in "$TO/blobs" "$TO/manifests" "$work"; do make_directory "$directory" "$OWNER"; done
rm -f -- "$work"/*.link
total=0 copied=0
mapfile -t manifests < <(manifests_in "$FROM")
for name in $(blobs_of "${manifests[@]/#/$FROM/manifests/}" </dev/null); do
  if [ "$(size_of "$TO/blobs/$name")" != "$(size_of "$FROM/blobs/$name")" ]; then
    total=$((total + $(size_of "$FROM/blobs/$name")))
  fi
done
take_all
# Again, for what has come while much was copied: this look takes a moment.
take_all
rm -f -- "$work/manifest"
sync -f -- "$TO"
# Of the service's domain, unconfined_service_t, nothing is kept away by labels; files get those of their place.
if have selinuxenabled && have restorecon && selinuxenabled; then restorecon -R -- "$TO"; fi
