#!/bin/bash
# engine.sh VERSION OUT: the engine of Ollama (0.34.4) with its CPU and Vulkan backends: OUT/lib/ollama/...
# Takes: PYTHON (a Python with pip) and Go's environment; a scratch directory as $PWD.
set -euo pipefail
version=$1 out=$2

"$(dirname "$0")/engine-sources.sh" "$version"

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
