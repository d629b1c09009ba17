# shellcheck shell=bash
# Gives the server the key that the one before it had, FROM/id_ed25519, by which ollama.com knows this host. The old one
# stays; another key in TO is kept beside it.
# shellcheck disable=SC2154
mkdir -p -- "$TO"
chown -- "$OWNER:$OWNER" "$TO"
for name in id_ed25519.pub id_ed25519; do
  if [ ! -f "$FROM/$name" ] || cmp -s -- "$FROM/$name" "$TO/$name"; then continue; fi
  if [ -e "$TO/$name" ]; then mv -fT -- "$TO/$name" "$TO/$name.before-adoption"; fi
  cp -p -- "$FROM/$name" "$TO/.corral.$name"
  chown -- "$OWNER:$OWNER" "$TO/.corral.$name"
  sync -- "$TO/.corral.$name"
  mv -fT -- "$TO/.corral.$name" "$TO/$name"
done
