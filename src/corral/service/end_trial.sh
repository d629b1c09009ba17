# shellcheck shell=bash
# Ends a trial: with the next restart the service runs CURRENT again. WHY, where it is not empty, is kept in VERDICT.
# journal: the end of what SERVICE has logged during the trial.
# shellcheck disable=SC2154

emit journal < <(journalctl -u "$SERVICE" --since "@$(stat -c %Y -- "$TRIAL" 2>/dev/null || date +%s)" -n 20 \
  --no-pager -o cat 2>/dev/null | cut -c1-300 || true)
if [ -n "$WHY" ]; then write_file "$VERDICT" 644 <<<"$(date '+%Y-%m-%d %H:%M'): $WHY"; else rm -f -- "$VERDICT"; fi
rm -f -- "$TRIAL"
systemctl stop -- "$GUARD" 2>/dev/null || true
