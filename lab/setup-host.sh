#!/bin/bash
# setup-host.sh: what makes an image this host; runs once in the host's root, before its first boot.
# Reads LOGIN_USER, SUDO (root, password or free), PASSWORD, SSH_PORT, FIREWALL and AUTHORIZED_KEY.
set -euo pipefail

home=/root
if [ "$LOGIN_USER" != root ]; then
    useradd --create-home --shell /bin/bash "$LOGIN_USER"
    home=/home/$LOGIN_USER
fi
case $SUDO in
    password)
        printf '%s:%s\n' "$LOGIN_USER" "$PASSWORD" | chpasswd
        usermod --append --groups sudo "$LOGIN_USER"
        ;;
    free)
        printf '%s ALL=(ALL) NOPASSWD: ALL\n' "$LOGIN_USER" >"/etc/sudoers.d/$LOGIN_USER"
        chmod 440 "/etc/sudoers.d/$LOGIN_USER"
        ;;
esac
install -d -m 700 -o "$LOGIN_USER" -g "$LOGIN_USER" "$home/.ssh"
printf '%s\n' "$AUTHORIZED_KEY" >"$home/.ssh/authorized_keys"
chmod 600 "$home/.ssh/authorized_keys"
chown "$LOGIN_USER:" "$home/.ssh/authorized_keys"

if [ "$SSH_PORT" != 22 ]; then
    printf 'Port %s\n' "$SSH_PORT" >/etc/ssh/sshd_config.d/port.conf
fi

case $FIREWALL in
    ufw)
        ufw allow "$SSH_PORT/tcp"
        ufw --force enable
        systemctl enable ufw.service
        ;;
    firewalld)
        # The default zone, public, lets ssh in.
        systemctl enable firewalld.service
        ;;
    nftables)
        cat >/etc/nftables.conf <<RULES
#!/usr/sbin/nft -f

flush ruleset

table inet filter {
	chain input {
		type filter hook input priority filter; policy drop;
		ct state established,related accept
		iif lo accept
		ip protocol icmp accept
		meta l4proto ipv6-icmp accept
		tcp dport $SSH_PORT accept
	}
	chain forward {
		type filter hook forward priority filter; policy drop;
	}
	chain output {
		type filter hook output priority filter;
	}
}
RULES
        nft --check --file /etc/nftables.conf
        systemctl enable nftables.service
        ;;
esac

if [ -e /etc/systemd/system/mirror.service ]; then
    systemctl enable mirror.service
fi
