# shellcheck shell=bash
# Has UNIT run, now and after every boot.
# shellcheck disable=SC2154
systemctl enable --quiet --now -- "$UNIT"
