# shellcheck shell=bash
# Sets the clock to NOW, in seconds since 1970, and the one that runs while the host is off, where there is one.
# shellcheck disable=SC2154
before=$(date -u '+%Y-%m-%d %H:%M UTC')
date -u -s "@$NOW" >/dev/null 2>&1 || fail clock "the clock says $before and can't be set from here: TLS and package sources will fail | Set it on the machine that this host gets its time from (date -u -s @$NOW), and run again"
if have hwclock && [ -e /dev/rtc0 ]; then hwclock --systohc --utc || true; fi
