#!/bin/bash
# backend.sh VERSION OUT: the Vulkan backend of Ollama (0.24.0), whose engine is in the Go program:
# OUT/lib/ollama/vulkan/libggml-vulkan.so and the library that it needs.
# Takes: Go's environment; a scratch directory as $PWD.
set -euo pipefail
version=$1 out=$2

module=github.com/ollama/ollama
export GOFLAGS=-modcacherw GOTOOLCHAIN=local
go mod download "$module@v$version"
cp -r --no-preserve=mode "$(go env GOMODCACHE)/$module@v$version" ollama

# -O1, as the engine of later versions here.
options=(-DCMAKE_C_FLAGS_RELEASE=-O1 -DCMAKE_CXX_FLAGS_RELEASE=-O1 -DOLLAMA_RUNNER_DIR=vulkan -DCMAKE_INSTALL_PREFIX="$out")
cmake -G Ninja -S ollama -B build "${options[@]}"
cmake --build build --target ggml-vulkan
cmake --install build --component Vulkan --strip
# The part of the engine that backends share lies one level up, where all of them find it.
install -D -s -t "$out/lib/ollama" build/lib/ollama/libggml-base.so*
