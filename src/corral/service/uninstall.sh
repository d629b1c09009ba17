# shellcheck shell=bash
# Ends SERVICE, where STOP says that its unit is corral's, and takes it out of systemd: removes FILES, and DROP_IN_DIR
# unless it holds something else. People's drop-in that had to make room, KEPT, is DROP_IN again.
# shellcheck disable=SC2154
if [ -n "$STOP" ]; then
  systemctl disable --quiet --now -- "$SERVICE" 2>/dev/null || systemctl stop -- "$SERVICE" 2>/dev/null || true
  if systemctl is-active --quiet -- "$SERVICE"; then
    fail stop "$SERVICE does not end | See systemctl status $SERVICE there, end it, and run again"
  fi
fi
for file in "${FILES[@]}"; do rm -f -- "$file"; done
if [ -e "$KEPT" ] && [ ! -e "$DROP_IN" ]; then mv -T -- "$KEPT" "$DROP_IN"; fi
rmdir -- "$DROP_IN_DIR" 2>/dev/null || true
systemctl daemon-reload
if [ -z "$STOP" ]; then systemctl try-restart -- "$SERVICE"; fi
systemctl reset-failed -- "$SERVICE" 2>/dev/null || true
