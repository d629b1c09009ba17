#!/bin/bash
# setup-bare-host.sh: what makes a bare image this host; runs once in the host's root, before its first boot.
# Reads AUTHORIZED_KEY.
set -euo pipefail

rm -rf /srv/packages
dpkg --purge ca-certificates openssl
install -d -m 700 /root/.ssh
printf '%s\n' "$AUTHORIZED_KEY" >/root/.ssh/authorized_keys
chmod 600 /root/.ssh/authorized_keys

printf 'localhost\n' >/etc/hostname
suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
printf 'deb [trusted=yes] http://mirror.lab/debian %s main\n' "$suite" >/etc/apt/sources.list
systemctl enable hardware.service
