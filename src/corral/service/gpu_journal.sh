# shellcheck shell=bash
# The lines of SERVICE's journal since its start that tell what it thinks of the GPUs.
# shellcheck disable=SC2154
emit journal < <(journalctl _SYSTEMD_INVOCATION_ID="$(systemctl show "$SERVICE" -p InvocationID --value)" \
  --no-pager -o cat 2>/dev/null | grep -E 'inference compute|offloaded [0-9]+/|out of memory|no compatible|OutOfDeviceMemory' |
  cut -c1-240 | tail -n 6 || true)
