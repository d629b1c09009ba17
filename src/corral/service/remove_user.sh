# shellcheck shell=bash
# Removes the system user USER_NAME. What of its files stays, KEPT, becomes root's: the next user who gets its number
# shall not get them too.
# shellcheck disable=SC2154
for path in "${KEPT[@]}"; do
  if [ -e "$path" ]; then chown -hR --from="$USER_NAME" root:root -- "$path"; fi
done
userdel -- "$USER_NAME" 2>/dev/null || {
  left=$(pgrep -u "$USER_NAME" -a | head -n 3 || true)
  fail user "the user $USER_NAME can't be removed${left:+: programs of its own still run} | End them and run again${left:+
$left}"
}
