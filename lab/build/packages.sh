#!/bin/bash
# packages.sh PACKAGE...: install those Debian packages that are missing. Needs root only if one is.
set -euo pipefail

missing=()
for package in "$@"; do
    if [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" != installed ]; then
        missing+=("$package")
    fi
done
if [ ${#missing[@]} -eq 0 ]; then
    echo "all there: $*"
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
# Another apt may be running on this machine: wait for it rather than fail.
lock=(-o DPkg::Lock::Timeout=300)
install() { apt-get "${lock[@]}" install -y -q --no-install-recommends "${missing[@]}"; }
# The lists may be missing or older than the archive: fetch them only if it does not work without.
install || { apt-get "${lock[@]}" update -q && install; }
