# shellcheck shell=bash
# journal: the lines of SERVICE's journal that tell what it thinks of the GPUs, since its start, or after the cursor AFTER
# where that is not empty. cursor: where the journal ends.
# shellcheck disable=SC2154
journalctl --sync 2>/dev/null || true
emit cursor < <(journalctl --no-pager --quiet --lines 0 --show-cursor 2>/dev/null | sed -n 's/^-- cursor: //p' || true)
emit journal < <(journalctl _SYSTEMD_INVOCATION_ID="$(systemctl show "$SERVICE" -p InvocationID --value)" \
  ${AFTER:+--after-cursor="$AFTER"} --no-pager -o cat 2>/dev/null |
  grep -E 'inference compute|offloaded [0-9]+/|out[- ]of[- ]memory|no compatible|OutOfDeviceMemory|to allocate|cudaMalloc' |
  cut -c1-240 | tail -n 6 || true)
