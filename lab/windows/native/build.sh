#!/bin/bash
# build.sh OUT: compiles what is in this directory for Windows into OUT, which is a C:\Windows\System32: each NAME.c
# becomes NAME.exe, or NAME.dll where it exports something. None needs a library but the system's.
set -euo pipefail
cd "$(dirname "$0")"
out=$1

compiler=(x86_64-w64-mingw32-gcc-posix -std=gnu11 -O2 -Wall -Wextra -Werror -static -s)
for source in *.c; do
    name=${source%.c}
    directory=$out
    # PowerShell has a directory of its own.
    [ "$name" != powershell ] || directory=$out/WindowsPowerShell/v1.0
    mkdir -p "$directory"
    kind=(-o "$directory/$name.exe")
    if grep -q '__declspec(dllexport)' "$source"; then
        kind=(-shared -o "$directory/$name.dll")
    elif grep -q '\bwmain(' "$source"; then
        kind+=(-municode)
    fi
    "${compiler[@]}" "${kind[@]}" "$source" -lws2_32
done
