#!/bin/bash
# Installs a Debian package by the name of ollama, with a unit and a program that stands in for the server.
set -euo pipefail
root=$(mktemp -d)
chmod 755 "$root"
mkdir -p "$root/DEBIAN" "$root/lib/systemd/system" "$root/usr/bin"
cat >"$root/DEBIAN/control" <<END
Package: ollama
Version: 1
Architecture: all
Maintainer: a test
Description: stands in for a distribution's package
END
cat >"$root/usr/bin/ollama" <<END
#!/bin/sh
exec sleep infinity
END
chmod 755 "$root/usr/bin/ollama"
cat >"$root/lib/systemd/system/ollama.service" <<END
[Service]
ExecStart=/usr/bin/ollama serve
Environment=OLLAMA_MODELS=/srv/models

[Install]
WantedBy=multi-user.target
END
dpkg-deb --build "$root" /root/ollama.deb
dpkg -i /root/ollama.deb
systemctl daemon-reload
systemctl enable --now ollama
