# shellcheck shell=bash
# Asks the engine of the release in RELEASE, by its runner RUNNER, as the user USER_NAME and with ENVIRONMENT, what a
# model will take that is loaded with ARGUMENTS. HEADER: the beginning of its GGUF file, gzipped, in base64; SIZE: of
# the file in bytes, of which the rest is a hole. answer: what the engine said before it would have loaded anything;
# it is killed then, and the file removed.
# shellcheck disable=SC2153,SC2154

libraries=$RELEASE/lib/ollama
backend=$(compgen -G "$libraries/$RUNNER/libggml-*.so" | head -n 1)
scratch=$(mktemp -d /var/tmp/corral-plan.XXXXXX)
engine=
tidy() {
  if [ -n "$engine" ]; then kill -KILL "$engine" 2>/dev/null || true; fi
  rm -rf -- "$scratch"
  kill -KILL "$watchdog" 2>/dev/null || true
}
trap tidy EXIT
base64 -d <<<"$HEADER" | gzip -dc >"$scratch/model.gguf"
truncate -s "$SIZE" -- "$scratch/model.gguf" || fail room "$scratch/model.gguf can't have a hole"
chmod 755 "$scratch"
# Its own shell becomes the engine, so that it is the engine that is killed; setpriv, unlike runuser, does too.
exec 4< <(cd / && exec setpriv --reuid "$USER_NAME" --regid "$USER_NAME" --init-groups env "${ENVIRONMENT[@]}" \
  LD_LIBRARY_PATH="$libraries:$libraries/$RUNNER" GGML_BACKEND_PATH="$backend" "$libraries/llama-server" --model "$scratch/model.gguf" "${ARGUMENTS[@]}" \
  --context-shift --keep 4 --no-webui --offline --host 127.0.0.1 --port 0 -lv 5 2>&1)
engine=$!
# It goes on to load as soon as it has said the last line.
emit answer < <(timeout 30 sed -u '/fitting params to free memory took/q; /exiting due to/q' <&4 |
  grep -E 'compute buffer size|llama_kv_cache: size|offloaded|\|   - |projected to use|exiting due to| E ' || true)
