#!/bin/bash
# ask_engine.sh RELEASE COUNT ARGUMENTS...: what the engine of a release says that model.gguf, in this directory, takes
# on the COUNT cards that standard input declares, before it loads anything; it is ended then. Vulkan shows one software
# device for each copy of its driver, so a second card needs a second copy.
set -eu
here=$PWD libraries=$1/lib/ollama count=$2
shift 2
cat >cards
rm -f use
drivers=/usr/share/vulkan/icd.d/lvp_icd.x86_64.json
if [ "$count" = 2 ]; then
  cp -n /usr/lib/x86_64-linux-gnu/libvulkan_lvp.so second.so
  printf '{"file_format_version": "1.0.0", "ICD": {"library_path": "%s/second.so", "api_version": "1.3.230"}}' "$here" \
    >second.json
  drivers=$drivers:$here/second.json
fi
export DECLARED_GPUS=$here/cards DECLARED_GPUS_USE=$here/use VK_ICD_FILENAMES=$drivers
export LD_LIBRARY_PATH=$libraries:$libraries/vulkan GGML_BACKEND_PATH=$libraries/vulkan/libggml-vulkan.so
exec 3< <(exec "$libraries/llama-server" --model model.gguf "$@" --context-shift --keep 4 --no-webui --offline \
  --host 127.0.0.1 --port 0 -lv 5 2>&1)
engine=$!
timeout 60 sed -u '/fitting params to free memory took/q; /exiting due to/q' <&3 |
  grep -E '\|   - |exiting due to| E ' || true
kill -KILL "$engine"
