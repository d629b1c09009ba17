#!/bin/bash
# setup-image.sh ROOT CERTIFICATE
# Last step of building a root image: what every host of the lab has in common.
set -euo pipefail
root=$1

# The address of the machine's own package archive stays out of the hosts, and they have no way to any.
rm -rf "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/* "$root"/etc/apt/apt.conf.d/99mmdebstrap

install -D -m 644 "$2" "$root/usr/local/share/ca-certificates/lab-authority.crt"
chroot "$root" update-ca-certificates

# Of each host its own, made when the host is.
rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/resolv.conf" "$root/etc/hostname"
: >"$root/etc/machine-id"
# The journal outlives a reboot: tests read in it what happened before.
mkdir -p "$root/var/log/journal"

# Every connection and every command is logged, so that tests can count them where they arrive.
printf 'LogLevel VERBOSE\n' >"$root/etc/ssh/sshd_config.d/lab.conf"

chroot "$root" systemctl enable systemd-networkd.service
# Nothing that wakes up by itself, and no terminal to log in from.
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
    e2scrub_reap.service fstrim.timer console-getty.service getty.target; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
# A firewall runs on the hosts that are given one (setup-host.sh).
for unit in ufw.service firewalld.service nftables.service; do
    if [ -e "$root/lib/systemd/system/$unit" ]; then
        chroot "$root" systemctl disable "$unit"
    fi
done

# Nothing to rebuild for systemd after an update: without these, every first boot would.
touch "$root/etc/.updated" "$root/var/.updated"
