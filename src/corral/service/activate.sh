# shellcheck shell=bash
# Puts SERVICE's files in force: reload, enable, restart where RESTART says so, and wait until the server
# answers on ADDRESS:PORT, for at most TIMEOUT_S seconds.
# shellcheck disable=SC2154

systemctl daemon-reload
systemctl enable --quiet -- "$SERVICE"
if [ -z "$RESTART" ]; then exit 0; fi
since=$(date '+%Y-%m-%d %H:%M:%S')
systemctl reset-failed -- "$SERVICE" 2>/dev/null || true
systemctl restart -- "$SERVICE" || true

answers() {
  local line
  { exec 4<>"/dev/tcp/$ADDRESS/$PORT"; } 2>/dev/null || return 1
  printf 'GET / HTTP/1.0\r\nHost: localhost\r\n\r\n' >&4
  IFS= read -r -t 5 line <&4 || line=
  exec 4>&-
  [[ $line == HTTP/1.*200* ]]
}

for ((tries = 0; tries < TIMEOUT_S * 5; tries++)); do
  if answers; then
    # A service that dies just after its first answer has not come up.
    systemctl is-active --quiet -- "$SERVICE" && exit 0
  fi
  if [ "$(systemctl show "$SERVICE" -p NRestarts --value)" -ge 3 ]; then break; fi
  sleep 0.2
done
fail server "Ollama does not come up as $SERVICE | The end of its journal says why:
$(journalctl -u "$SERVICE" --since "$since" -n 25 --no-pager -o cat 2>/dev/null | cut -c1-400)"
