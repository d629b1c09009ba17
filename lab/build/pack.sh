#!/bin/bash
# pack.sh ARCHIVE TREE...: the trees' contents in one archive, as a release has them: bin/ and lib/.
set -euo pipefail
archive=$1
shift

contents=()
for tree in "$@"; do
    for path in "$tree"/*; do
        contents+=(-C "$tree" "${path##*/}")
    done
done
tar --create --zstd --file "$archive" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner \
    --mode=go=rX,u+rw "${contents[@]}"
