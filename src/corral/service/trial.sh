# shellcheck shell=bash
# Has SERVICE run another release for a trial: TEXT becomes the drop-in TRIAL, in a directory that no reboot survives.
# GUARD waits for LOCK, which this run holds as long as it lives, and then ends a trial that nobody has ended.
# The file that follows restarts the service.
# shellcheck disable=SC2154

write_file "$TRIAL" 644 <<<"${TEXT%$'\n'}"
systemctl stop -- "$GUARD" 2>/dev/null || true
# shellcheck disable=SC2016
systemd-run --quiet --collect --unit="$GUARD" --description='Ends the trial of a release of Ollama' -- \
  flock "$LOCK" bash -c '[ ! -e "$1" ] || { rm -f -- "$1" && systemctl daemon-reload && systemctl restart "$2"; }' \
  bash "$TRIAL" "$SERVICE"
