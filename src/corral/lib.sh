# shellcheck shell=bash
# In front of every script that runs on a host.

# Root's PATH may lack sbin after sudo or in a bare ssh session.
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# A hardened root's may keep the service out of what is made for it.
umask 022

# The connection is on standard input and sends a line every few seconds. When it ends, or stays silent
# for a minute, whatever this script has started ends too: a run that was cut off leaves nothing running.
exec 3<&0 </dev/null
(
  trap '' TERM
  while IFS= read -r -t 60 -u 3 _; do :; done
  kill -TERM 0
  sleep 3
  kill -KILL 0
) >/dev/null 2>&1 &
watchdog=$!
trap 'kill -KILL $watchdog 2>/dev/null || true' EXIT
# Told to end, wait for what runs: as long as something does not end by itself, the watchdog is needed.
trap 'exit 143' TERM

# emit NAME: prints standard input as one line "NAME BASE64", the way all scripts answer.
emit() { printf '%s %s\n' "$1" "$(base64 -w0)"; }

# progress TEXT: shown at once to whoever waits.
progress() { printf '@progress %s\n' "$(printf '%s' "$1" | base64 -w0)"; }

# fail CODE MESSAGE: ends the script; corral knows the case by its code and shows the message.
fail() {
  printf '@error %s %s\n' "$1" "$(printf '%s' "$2" | base64 -w0)"
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# write_file PATH MODE: standard input becomes the file, in one rename.
write_file() {
  local dir new
  dir=$(dirname -- "$1")
  (umask 022 && mkdir -p -- "$dir")
  rm -f -- "$dir"/.corral.?????? # what a power cut left; one run at a time is at work
  new=$(mktemp -- "$dir/.corral.XXXXXX")
  cat >"$new"
  chmod "$2" -- "$new"
  sync -- "$new"
  mv -fT -- "$new" "$1"
}
