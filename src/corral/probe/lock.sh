# shellcheck shell=bash
# Holds the host's lock until the connection ends. Reads LOCK, HOLDER, GUARD.
# shellcheck disable=SC2154

[ "$(id -u)" = 0 ] || fail root "the ssh user is not root | Declare sudo: true for this host, or log in as root"
have flock || fail tools "the host lacks flock | Install the package util-linux there"
exec 9>>"$LOCK"
chmod 600 -- "$LOCK"
# A GUARD that ends the trial of a run that is gone is done in some seconds.
if ! flock -n 9 && ! { systemctl is-active --quiet -- "$GUARD" 2>/dev/null && flock -w 30 9; }; then
  fail busy "another corral run is at work on this host ($(cat -- "$LOCK")) | Wait until it has ended, then run again"
fi
printf '%s\n' "$HOLDER" >"$LOCK"
emit locked </dev/null
wait "$watchdog"
