#!/bin/bash
# hardware.sh: the graphics card of a bare host, as far as a program can tell. Runs at every boot, and stands in for what
# a kernel would do: shows the card on the bus, gives it a driver (NVIDIA's when that is installed, nouveau when nothing
# keeps it away), and writes the kernel's log, which dmesg prints. It has a card only while /etc/hardware declares one.
# /etc/hardware-fault: what the kernel says instead of loading NVIDIA's driver.
set -euo pipefail

state=/run/hardware
card=$state/devices/0000:01:00.0
[ -f /etc/hardware ] || exit 0
mkdir -p "$card" "$state/drivers"/{nvidia,nouveau}
printf '0x030000\n' >"$card/class"
printf '0x10de\n' >"$card/vendor"
printf '0x1f02\n' >"$card/device"

module=/lib/modules/$(uname -r)/updates/dkms/nvidia-current.ko
if [ -f "$module" ] && [ -s /etc/hardware-fault ]; then
    cp /etc/hardware-fault "$state/log"
elif [ -f "$module" ]; then
    version=$(cat "$module")
    ln -sfn "$state/drivers/nvidia" "$card/driver"
    printf 'NVRM: loading NVIDIA UNIX x86_64 Kernel Module  %s\n' "$version" >"$state/log"
    { printf 'driver %s\ncuda 12.8\n' "$version"; cat /etc/hardware; } >"$state/declaration"
elif grep -qs '^blacklist nouveau' /etc/modprobe.d/*.conf; then
    : >"$state/log"
else
    ln -sfn "$state/drivers/nouveau" "$card/driver"
    printf 'nouveau 0000:01:00.0: NVIDIA TU106 (166000a1)\n' >"$state/log"
fi
mount --bind "$state/devices" /sys/bus/pci/devices
