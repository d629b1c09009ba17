# shellcheck shell=bash
# Gives the host the name NAME, now and after a reboot, and has it find itself under it.
# shellcheck disable=SC2154
if ! grep -qE "^[0-9.:a-f]+[[:space:]](.*[[:space:]])?$NAME([[:space:]]|\$)" /etc/hosts; then
  { cat /etc/hosts; printf '127.0.1.1 %s\n' "$NAME"; } | write_file /etc/hosts 644
fi
write_file /etc/hostname 644 <<<"$NAME"
hostname -- "$NAME"
