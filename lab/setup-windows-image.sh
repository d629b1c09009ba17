#!/bin/bash
# setup-windows-image.sh ROOT
# After setup-image.sh: what hosts that behave as Windows machines have in common.
set -euo pipefail
root=$1

# Wine takes a prefix's language and code pages from a locale that the C library knows.
for locale in en_US zh_CN; do
    chroot "$root" localedef --inputfile "$locale" --charmap UTF-8 "$locale.UTF-8"
done
