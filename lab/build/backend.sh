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

# The module lacks the shaders with which the build finds out what glslc can do, and takes their failure for a yes.
# One that needs the extension and does nothing with it answers as they do.
vulkan=ollama/ml/backend/ggml/ggml/src/ggml-vulkan
mkdir -p "$vulkan/vulkan-shaders/feature-tests"
tr -d '\n' <"$vulkan/CMakeLists.txt" | grep -oE 'test_shader_extension_support\( *"[^"]+" +"[^"]+"' |
    while IFS='"' read -r _ extension _ shader; do
        printf '#version 460\n#extension %s : require\nvoid main() {}\n' "$extension" \
            >"$vulkan/vulkan-shaders/feature-tests/${shader##*/}"
    done

"$(dirname "$0")/old-vulkan-headers.sh" "$vulkan/ggml-vulkan.cpp"

# -O1, as the engine of later versions here.
options=(-DCMAKE_C_FLAGS_RELEASE=-O1 -DCMAKE_CXX_FLAGS_RELEASE=-O1 -DOLLAMA_RUNNER_DIR=vulkan -DCMAKE_INSTALL_PREFIX="$out")
cmake -G Ninja -S ollama -B build "${options[@]}"
cmake --build build --target ggml-vulkan
cmake --install build --component Vulkan --strip
# What backends share lies one level up, where all of them find it.
cp -P build/lib/ollama/libggml-base.so* "$out/lib/ollama/"
strip "$out/lib/ollama/libggml-base.so"
