#!/bin/bash
# program.sh VERSION OUT: compile Ollama's Go program from its module: OUT/bin/ollama.
# Takes: PYTHON (a Python with pip), GOPATH and GOCACHE, as the caller wants them; a scratch directory as $PWD.
set -euo pipefail
version=$1 out=$2

module=github.com/ollama/ollama
# A module cache that can be deleted again; the same binary wherever it is built.
export GOFLAGS="-modcacherw -trimpath" GOTOOLCHAIN=local GOBIN="$out/bin"

# Up to 0.24 the engine is part of the program. Zips of modules leave out directories called `vendor`, so three
# headers are missing: two are Debian packages, the third is in the source archive of a Python package.
if [ "$version" = 0.24.0 ]; then
    "$PYTHON" -m pip download -q --no-deps --no-binary miniaudio -d . miniaudio==1.71
    mkdir -p include/miniaudio
    tar xzf miniaudio-1.71.tar.gz -C include/miniaudio --strip-components=2 miniaudio-1.71/miniaudio/miniaudio.h
    export CGO_CPPFLAGS="-I$PWD/include"
fi
# -x's commands are counted by nobody; -v prints a line per package, which shows that it moves.
go install -v -ldflags "-s -w -X=$module/version.Version=$version" "$module@v$version"
