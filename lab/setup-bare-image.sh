#!/bin/bash
# setup-bare-image.sh ROOT
# Before setup-image.sh: lays down in srv/packages what a bare host may be told to install, with what that needs. Once
# the image is a host, ca-certificates is gone from it, and so are these (setup-bare-host.sh): the mirror has them.
set -euo pipefail
root=$1
packages=(curl ca-certificates openssl zstd iproute2 procps systemd-timesyncd mesa-vulkan-drivers libvulkan1)

export APT_CONFIG=$MMDEBSTRAP_APT_CONFIG
archives=$root/var/cache/apt/archives
mkdir -p "$root/srv/packages" "$archives/partial"
apt-get --yes --reinstall --no-install-recommends --download-only install "${packages[@]}"
mv "$archives"/*.deb "$root/srv/packages/"
