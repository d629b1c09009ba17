#!/bin/bash
# boot.sh ROOT HOST ARGUMENT-OF-NSPAWN...
# Keeps a host running: starts it, and starts it again when it reboots (systemd-nspawn then exits with 133).
set -uo pipefail
root=$1 host=$2
shift 2
status=133
while [ "$status" = 133 ]; do
    # Without a clock of its own a host would show the machine's uptime after a reboot, and whoever waits
    # for a rebooted host (pyinfra's server.reboot) would wait for ever.
    uptime=$(cut -d. -f1 /proc/uptime)
    status=0
    unshare --time --boottime "-$uptime" --monotonic "-$uptime" \
        systemd-nspawn --quiet --directory "$root" --boot --machine "$host" --hostname "$host" \
        --register=no --keep-unit --link-journal=no --resolv-conf=off --timezone=off --console=pipe \
        "$@" || status=$?
done
exit "$status"
