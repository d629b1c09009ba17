# shellcheck shell=bash
# Lets UNFINISHED be FILE, of MODE and OWNER ("" for whoever writes), in one rename, if its SHA-256 is right.
# shellcheck disable=SC2154
got=$(sha256sum <"$UNFINISHED" | cut -d' ' -f1)
if [ "$got" != "$SHA256" ]; then
  rm -f -- "$UNFINISHED"
  fail checksum "what came as $FILE has the SHA-256 $got, not $SHA256; it was deleted | Run again"
fi
make_directory "$(dirname -- "$FILE")" "$OWNER"
chmod "$MODE" -- "$UNFINISHED"
if [ -n "$OWNER" ]; then chown -- "$OWNER:$OWNER" "$UNFINISHED"; fi
sync -- "$UNFINISHED"
mv -fT -- "$UNFINISHED" "$FILE"
