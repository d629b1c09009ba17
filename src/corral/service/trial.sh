# shellcheck shell=bash
# Has SERVICE run another release for a trial: TEXT becomes the drop-in TRIAL, in a directory that no reboot survives.
# GUARD waits for LOCK, which this run holds as long as it lives, and then runs GUARD_SCRIPT. The file that follows
# restarts the service.
# shellcheck disable=SC2154

systemctl stop -- "$GUARD" 2>/dev/null || true
systemd-run --quiet --collect --unit="$GUARD" --description='Ends a trial of Ollama that its run does not end' -- \
  flock "$LOCK" bash -c "$GUARD_SCRIPT" bash "$TRIAL" "$SERVICE" "$CURRENT"
write_file "$TRIAL" 644 <<<"${TEXT%$'\n'}"
