#!/bin/bash
# holder.sh BRIDGE=ADDRESS/PREFIX...
# Runs in a mount and a network namespace of its own, which live as long as it does: every mount and every
# interface of the lab is made in here and is gone with it, whatever else was killed.
# The first bridge is the hosts' own; the controller is plugged into it over a pair (controller, plug0), so
# that delay.py can be put in between.
set -euo pipefail

# systemd-nspawn keeps locks and sockets under /run, and the lab's hosts may bear the names of another lab's.
mount -t tmpfs -o mode=755 tmpfs /run
# A machine that shows cgroup version 1 beside version 2 would have nspawn ask for both.
if [ "$(stat -f -c %T /sys/fs/cgroup)" != cgroup2fs ]; then
    umount -R /sys/fs/cgroup
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi

ip link set lo up
echo 1 >/proc/sys/net/ipv4/ip_forward
# An interface answers for its own address only. The bridge would answer for the controller's too, which lies
# beyond the pair, and hosts that heard it first would send their packets past delay.py.
echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore
first=yes
for network in "$@"; do
    bridge=${network%%=*}
    ip link add "$bridge" type bridge
    ip link set "$bridge" up
    port=$bridge
    if [ -n "$first" ]; then
        ip link add controller type veth peer name plug0
        ip link set plug0 master "$bridge" up
        port=controller
        first=
    fi
    ip addr add "${network#*=}" dev "$port"
    ip link set "$port" up
done

touch /run/lab-ready
exec sleep infinity
