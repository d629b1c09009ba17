# shellcheck shell=bash
# Makes DIRECTORY, owned by OWNER, with the models that are in it.
# shellcheck disable=SC2154
mkdir -p -- "$DIRECTORY"
chown -- "$OWNER:$OWNER" "$DIRECTORY"
for part in blobs manifests metadata; do
  if [ -d "$DIRECTORY/$part" ]; then chown -hR -- "$OWNER:$OWNER" "$DIRECTORY/$part"; fi
done
# The service reaches it only if it may pass every directory above.
if have runuser && ! runuser -u "$OWNER" -- test -w "$DIRECTORY"; then
  fail directory "the user $OWNER cannot reach $DIRECTORY | Give others the right to pass the directories above it (chmod o+x), or declare another models_dir"
fi
