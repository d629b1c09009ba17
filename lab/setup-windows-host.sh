#!/bin/bash
# setup-windows-host.sh: as setup-host.sh, for a Windows machine: whoever reaches it by ssh talks to lab.windows.
set -euo pipefail

systemctl mask ssh.service
systemctl enable display.service wineserver.service windows.service
# Nobody compiles it again after a reset. What can't be compiled says so when it is used.
python3 -m compileall -qq /usr/local/lib/lab || true
