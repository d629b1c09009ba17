#!/bin/bash
# windows-engine.sh VERSION OUT: the engine of Ollama (0.34.4) for Windows, with its CPU and Vulkan backends linked in:
# OUT/lib/ollama/llama-server.exe and llama-quantize.exe, which need no libraries but the system's.
# Takes: PYTHON (a Python with pip) and Go's environment; a scratch directory as $PWD.
set -euo pipefail
version=$1 out=$2

"$(dirname "$0")/engine-sources.sh" "$version"

cat >mingw.cmake <<'CMAKE'
set(CMAKE_SYSTEM_NAME Windows)
set(CMAKE_SYSTEM_PROCESSOR x86_64)
set(CMAKE_C_COMPILER x86_64-w64-mingw32-gcc-posix)
set(CMAKE_CXX_COMPILER x86_64-w64-mingw32-g++-posix)
set(CMAKE_RC_COMPILER x86_64-w64-mingw32-windres)
set(CMAKE_EXE_LINKER_FLAGS_INIT -static)
CMAKE
# The program that has the shaders compiled runs here. All else waits for it, so it is compiled in haste.
cat >host.cmake <<'CMAKE'
set(CMAKE_C_COMPILER gcc)
set(CMAKE_CXX_COMPILER g++)
set(CMAKE_CXX_FLAGS_RELEASE -O0 CACHE STRING "")
CMAKE
# A structure that Debian 12's mingw lacks; it has the like of it for processes.
cat >throttling.h <<'HEADER'
#include <windows.h>
#define THREAD_POWER_THROTTLING_STATE PROCESS_POWER_THROTTLING_STATE
#define THREAD_POWER_THROTTLING_CURRENT_VERSION 1
#define THREAD_POWER_THROTTLING_EXECUTION_SPEED 1
HEADER
# The headers by themselves: beside them in /usr/include lie the C library's, which are not for Windows.
mkdir include
cp -r /usr/include/vulkan /usr/include/vk_video /usr/include/spirv include/
# What vulkan-1.dll exports are the functions that the header declares.
{
    printf 'LIBRARY vulkan-1.dll\nEXPORTS\n'
    grep -oE 'VKAPI_CALL vk[A-Za-z0-9]+[a-z0-9]\b' include/vulkan/vulkan_core.h | cut -d' ' -f2 | sort -u
} >vulkan-1.def
x86_64-w64-mingw32-dlltool -d vulkan-1.def -D vulkan-1.dll -l libvulkan-1.a

# -O1, as the engine for Linux.
options=(
    -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_FLAGS_RELEASE=-O1 -DCMAKE_CXX_FLAGS_RELEASE=-O1
    -DCMAKE_TOOLCHAIN_FILE="$PWD/mingw.cmake" -DCMAKE_C_FLAGS="-include $PWD/throttling.h"
    -DFETCHCONTENT_SOURCE_DIR_LLAMA_CPP="$PWD/llama.cpp" -DOLLAMA_RUNNER_DIR=
    -DBUILD_SHARED_LIBS=OFF -DGGML_BACKEND_DL=OFF -DGGML_VULKAN=ON
    -DGGML_NATIVE=OFF -DGGML_OPENMP=OFF -DGGML_CPU_ALL_VARIANTS=OFF
    -DVulkan_INCLUDE_DIR="$PWD/include" -DVulkan_LIBRARY="$PWD/libvulkan-1.a"
    -DVulkan_GLSLC_EXECUTABLE=/usr/bin/glslc -DGGML_VULKAN_SHADERS_GEN_TOOLCHAIN="$PWD/host.cmake"
)
cmake -G Ninja -S ollama/llama/server -B build "${options[@]}"
cmake --build build --target llama-server llama-quantize
mkdir -p "$out/lib/ollama"
for program in llama-server llama-quantize; do
    x86_64-w64-mingw32-strip -o "$out/lib/ollama/$program.exe" "build/bin/$program.exe"
done
