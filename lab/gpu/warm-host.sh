#!/bin/bash
# warm-host.sh: has Ollama answer with each of TAGS (of deepseek-r1) and each of CACHE_TYPES, so that every
# shader that hosts will need is compiled. Runs in a host's root file system.
set -Eeuo pipefail

export HOME=/root OLLAMA_HOST=127.0.0.1:11434 OLLAMA_MODELS=/tmp/models OLLAMA_VULKAN=1 OLLAMA_NOPRUNE=1
export MESA_SHADER_CACHE_DIR=/srv/shaders
cp -r /srv/models "$OLLAMA_MODELS"
trap 'tail -n 30 /tmp/server.log' ERR

# A batch of up to 8 tokens has a shader for its very number, and there are three for larger ones.
prompts=()
for tokens in 1 2 3 4 5 6 7 8 9 20 50 200; do
    letter=$(printf '%b' "\\x$(printf %x $((96 + ${#prompts[@]} + 1)))")
    prompts+=("$(printf "$letter%.0s" $(seq "$tokens"))")
done

# answer MODEL PROMPT: every letter is a token. No prompt begins as another does: nothing is reused.
answer() {
    curl --silent --show-error --fail --output /dev/null "http://$OLLAMA_HOST/api/generate" --data @- <<JSON
{"model": "deepseek-r1:$1", "prompt": "$2", "raw": true, "stream": false,
 "options": {"num_predict": 2, "num_ctx": 4096}}
JSON
}

# Counted as ninja does, which the caller reads.
read -ra models <<<"$TAGS"
read -ra types <<<"$CACHE_TYPES"
done=0
total=$((${#models[@]} * ${#types[@]} * ${#prompts[@]}))
for type in "${types[@]}"; do
    export OLLAMA_KV_CACHE_TYPE=$type OLLAMA_FLASH_ATTENTION=1
    /opt/ollama/bin/ollama serve >>/tmp/server.log 2>&1 &
    server=$!
    until curl --silent --output /dev/null "http://$OLLAMA_HOST/api/version"; do
        kill -0 "$server"
        sleep 0.1
    done
    for model in "${models[@]}"; do
        for prompt in "${prompts[@]}"; do
            answer "$model" "$prompt"
            done=$((done + 1))
            echo "[$done/$total] deepseek-r1:$model, KV cache $type, ${#prompt} tokens, after $SECONDS s," \
                "$(find "$MESA_SHADER_CACHE_DIR" -type f | wc -l) files"
        done
    done
    kill "$server"
    wait "$server" || true
done
