# shellcheck shell=bash
# Makes DIRECTORY, owned by OWNER.
# shellcheck disable=SC2154
mkdir -p -- "$DIRECTORY"
chown -- "$OWNER:$OWNER" "$DIRECTORY"
# The service reaches it only if it may pass every directory above.
if have runuser && ! runuser -u "$OWNER" -- test -w "$DIRECTORY"; then
  fail directory "the user $OWNER cannot reach $DIRECTORY | Give others the right to pass the directories above it (chmod o+x), or declare another models_dir"
fi
