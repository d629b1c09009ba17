# shellcheck shell=bash
# Reboots in a second, so that the answer still comes; systemd's own accuracy would be a minute.
systemd-run --quiet --on-active=1 --timer-property=AccuracySec=100ms systemctl reboot
