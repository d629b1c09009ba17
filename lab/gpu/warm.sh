#!/bin/bash
# warm.sh ROOT TOOLS SCRATCH MODELS SHADERS: runs /warm-host.sh in ROOT with TOOLS over it and SCRATCH/upper over both,
# so that Mesa leaves its compiled shaders in SHADERS. Only SCRATCH and SHADERS are written to. Reads what
# warm-host.sh reads.
set -euo pipefail

if [ -z "${ISOLATED:-}" ]; then
    # Mounts and processes end with this; no network but a loopback of its own.
    ISOLATED=1 exec unshare --mount --net --pid --fork --kill-child --propagation private "$0" "$@"
fi
root=$1 tools=$2 scratch=$3 models=$4 shaders=$5

ip link set lo up
cd "$scratch"
# Layers are named by links without a colon or a comma, which would separate paths.
ln -sfn "$root" root
ln -sfn "$tools" tools
mkdir -p work host
mount -t overlay overlay -o "lowerdir=tools:root,upperdir=upper,workdir=work" host
mount -t proc proc host/proc
mount -t tmpfs -o mode=755 tmpfs host/dev
mkdir host/dev/shm host/srv/models host/srv/shaders
for device in null zero full random urandom; do
    touch "host/dev/$device"
    mount --bind "/dev/$device" "host/dev/$device"
done
mount -t tmpfs tmpfs host/dev/shm
mount --bind "$models" host/srv/models
mount --bind "$shaders" host/srv/shaders
chroot host bash /warm-host.sh
# Mesa makes them for the user alone that compiled them, and other users read them on a host.
chmod -R a+rX "$shaders"
