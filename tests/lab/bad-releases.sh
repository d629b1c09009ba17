#!/bin/bash
# On the mirror: releases of Ollama that are made for tests, served beside the real ones until `umount /srv/releases`.
# They are 0.34.4's program with another number in it: a good one, and three that are not good in a way of their own.
# Prints their digests as pins.
set -euo pipefail
asset=ollama-linux-amd64.tar.zst
site=/run/made-releases
if [ -d /srv/releases/v0.36.0 ]; then umount /srv/releases; fi
rm -rf "$site" /run/made
mkdir -p "$site" /run/made
cp -r /srv/releases/. "$site"

# made VERSION: packs /run/made as that version.
made() {
  mkdir -p "$site/v$1"
  tar -C /run/made --zstd -cf "$site/v$1/$asset" .
  printf '%s:\n  %s: %s\n' "$1" "$asset" "$(sha256sum "$site/v$1/$asset" | cut -d' ' -f1)"
}

tar -C /run/made --zstd -xf "$site/v0.34.4/$asset"
cp /run/made/bin/ollama /run/program
# good
sed 's/0\.34\.4/0.36.0/g' /run/program >/run/made/bin/ollama
made 0.36.0
# answers, and has no engine to generate with
sed 's/0\.34\.4/0.36.1/g' /run/program >/run/made/bin/ollama
mv /run/made/lib/ollama/llama-server /run/engine
made 0.36.1
mv /run/engine /run/made/lib/ollama/llama-server
# does not start
printf '#!/bin/sh\necho "fatal: this release was made not to start" >&2\nexit 1\n' >/run/made/bin/ollama
made 0.36.2
# says that it is another one
sed 's/0\.34\.4/9.99.9/g' /run/program >/run/made/bin/ollama
made 0.36.3
mount --bind "$site" /srv/releases
