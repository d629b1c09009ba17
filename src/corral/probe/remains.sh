# shellcheck shell=bash
# What an uninstall has to know besides: which of PLACES are there, and the entry of USER_NAME in /etc/passwd.
# shellcheck disable=SC2154
emit places < <(for place in "${PLACES[@]}"; do
  if [ -e "$place" ] || [ -L "$place" ]; then printf '%s\n' "$place"; fi
done)
emit account < <(getent passwd "$USER_NAME" || true)
