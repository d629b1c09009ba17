#!/bin/bash
# windows-pack.sh ARCHIVE TREE...: the trees' contents in one zip, as a release has them: ollama.exe and lib/.
# Takes: PYTHON. Writes beside ARCHIVE while it works.
set -euo pipefail
archive=$1
shift

contents=$archive.contents
mkdir "$contents"
for tree in "$@"; do
    cp -r "$tree/." "$contents"
done
# No file is older than the format.
find "$contents" -exec touch --date=1980-01-01 {} +
cd "$contents"
"$PYTHON" -m zipfile --create "$archive" ./*
rm -r "$contents"
