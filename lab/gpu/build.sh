#!/bin/bash
# build.sh OUT: compiles what is in this directory into a tree that is copied over a host's root.
# Built on the oldest Debian that hosts have: it needs nothing but the C library.
set -euo pipefail
cd "$(dirname "$0")"
out=$1

flags=(-std=gnu11 -O2 -Wall -Wextra -Werror)
library=(-shared -fPIC -fvisibility=hidden)
libraries=$out/usr/lib/x86_64-linux-gnu
mkdir -p "$out/usr/bin" "$out/usr/lib/declared-gpus" "$libraries" "$out/etc/vulkan/implicit_layer.d"

gcc "${flags[@]}" -o "$out/usr/bin/nvidia-smi" nvidia-smi.c declared.c
gcc "${flags[@]}" -o "$out/usr/bin/hog" hog.c declared.c
gcc "${flags[@]}" "${library[@]}" -Wl,-soname,libnvidia-ml.so.1 -o "$libraries/libnvidia-ml.so.1" nvml.c declared.c
gcc "${flags[@]}" "${library[@]}" -o "$out/usr/lib/declared-gpus/liblayer.so" layer.c declared.c -pthread
cp declared_gpus.json "$out/etc/vulkan/implicit_layer.d/"
