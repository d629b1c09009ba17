# shellcheck shell=bash
# After apt.sh: installs PACKAGES, the firmware that amdgpu loads, makes GROUPS_WANTED, and loads amdgpu.
# shellcheck disable=SC2154
if ((${#PACKAGES[@]})); then
  repair
  refresh
  install "${PACKAGES[@]}"
fi
for group in "${GROUPS_WANTED[@]}"; do groupadd --system --force -- "$group"; done
if [ -n "$LOAD" ]; then
  modprobe amdgpu || fail amdgpu "amdgpu can't be loaded | The card may need a newer kernel or firmware; the kernel says why:
$({ dmesg || journalctl -k -b --no-pager -o cat; } 2>/dev/null | grep -i amdgpu | tail -n 8 || true)"
fi
