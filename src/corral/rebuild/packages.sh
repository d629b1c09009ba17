# shellcheck shell=bash
# After apt.sh: finishes what dpkg was interrupted in, then installs PACKAGES, if any.
# shellcheck disable=SC2154
repair
if ((${#PACKAGES[@]})); then
  refresh
  install "${PACKAGES[@]}"
fi
