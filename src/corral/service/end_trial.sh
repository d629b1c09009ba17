# shellcheck shell=bash
# Ends a trial: with the next restart the service runs CURRENT. WHY, where it is not empty, is kept in VERDICT, and GUARD stays
# until the run has seen to that restart.
# journal: the end of what SERVICE has logged during the trial.
# shellcheck disable=SC2154

emit journal < <(journalctl -u "$SERVICE" --since "@$(stat -c %Y -- "$TRIAL" 2>/dev/null || date +%s)" -n 20 \
  --no-pager -o cat 2>/dev/null | cut -c1-300 || true)
rm -f -- "$TRIAL"
# A disk that is full keeps nobody from going back.
if [ -z "$WHY" ]; then
  rm -f -- "$VERDICT"
  systemctl stop -- "$GUARD" 2>/dev/null || true
elif ! write_file "$VERDICT" 644 <<<"$(date '+%Y-%m-%d %H:%M'): $WHY" 2>/dev/null; then
  progress "why can't be noted on the host"
fi
