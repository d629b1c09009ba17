#!/bin/bash
# in-layers.sh SCRATCH LAYER... [--bind SOURCE TARGET]... -- CMD...
# Runs CMD in the root file system that the LAYERS make, the topmost first. What it writes lies in SCRATCH/upper, which
# may hold files for it, and in what is bound. Mounts and processes end with it; no network but a loopback of its own.
set -euo pipefail

if [ -z "${ISOLATED:-}" ]; then
    ISOLATED=1 exec unshare --mount --net --pid --fork --kill-child --propagation private "$0" "$@"
fi
scratch=$1
shift

ip link set lo up
mkdir -p "$scratch/upper" "$scratch/work" "$scratch/host"
cd "$scratch"
layers=()
while [ "$1" != -- ] && [ "$1" != --bind ]; do
    # Layers are named by links without a colon or a comma, which would separate paths.
    ln -sfn "$1" "layer${#layers[@]}"
    layers+=("layer${#layers[@]}")
    shift
done
lower=$(IFS=: && echo "${layers[*]}")
mount -t overlay overlay -o "lowerdir=$lower,upperdir=upper,workdir=work" host
mount -t proc proc host/proc
mount -t tmpfs -o mode=755 tmpfs host/dev
mkdir host/dev/shm
for device in null zero full random urandom; do
    touch "host/dev/$device"
    mount --bind "/dev/$device" "host/dev/$device"
done
mount -t tmpfs tmpfs host/dev/shm
while [ "$1" = --bind ]; do
    mkdir -p "host$3"
    mount --bind "$2" "host$3"
    shift 3
done
shift
exec chroot host "$@"
