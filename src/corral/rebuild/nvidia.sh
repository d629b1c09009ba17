# shellcheck shell=bash
# After apt.sh: installs PACKAGES, which are NVIDIA's driver and what it is built with, and keeps nouveau off the cards.
# Reads BLOCK, BLOCK_TEXT, PREFERENCES, PREFERENCES_TEXT (empty: none are needed).
# shellcheck disable=SC2154
repair
if [ -n "$PREFERENCES_TEXT" ]; then write_file "$PREFERENCES" 644 <<<"${PREFERENCES_TEXT%$'\n'}"; fi
if ((${#PACKAGES[@]})); then
  refresh
  install "${PACKAGES[@]}"
fi
write_file "$BLOCK" 644 <<<"${BLOCK_TEXT%$'\n'}"
# nouveau would else be loaded from there, before this file can be read.
if have update-initramfs; then
  progress "making the initial RAM disks anew"
  update-initramfs -u -k all >&2
fi
