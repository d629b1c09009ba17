#!/bin/bash
# windows-program.sh VERSION OUT: compile Ollama's Go program for Windows from its module: OUT/ollama.exe.
# Takes: GOPATH and GOCACHE, as the caller wants them; a scratch directory as $PWD.
set -euo pipefail
version=$1 out=$2

module=github.com/ollama/ollama
export GOFLAGS="-modcacherw -trimpath" GOTOOLCHAIN=local
go mod download "$module@v$version"
cp -r --no-preserve=mode "$(go env GOMODCACHE)/$module@v$version" ollama
cd ollama

# One module of the console's code, which only Windows needs, is asked for in a version that is not to be had.
go mod edit -replace github.com/mattn/go-localereader=github.com/mattn/go-localereader@v0.0.1
export GOOS=windows GOARCH=amd64 CGO_ENABLED=1 CC=x86_64-w64-mingw32-gcc-posix CXX=x86_64-w64-mingw32-g++-posix
go build -v -mod=mod -ldflags "-s -w -X=$module/version.Version=$version" -o "$out/ollama.exe" .
