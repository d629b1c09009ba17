# shellcheck shell=bash
# Holds the host's lock until the connection ends. Reads LOCK, HOLDER.
# shellcheck disable=SC2154

[ "$(id -u)" = 0 ] || fail root "the ssh user is not root | Declare sudo: true for this host, or log in as root"
have flock || fail tools "the host lacks flock | Install the package util-linux there"
exec 9>>"$LOCK"
chmod 600 -- "$LOCK"
if ! flock -n 9; then
  fail busy "another corral run is at work on this host ($(cat -- "$LOCK")) | Wait until it has ended, then run again"
fi
printf '%s\n' "$HOLDER" >"$LOCK"
emit locked </dev/null
wait "$watchdog"
