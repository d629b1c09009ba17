# shellcheck shell=bash
# What the engine of the release in RELEASE can compute on: by each of its runners, started as Ollama starts it, as the
# user USER_NAME and with ENVIRONMENT. ONLY: asks those that begin so. WITHOUT: not this one. Loads no model, serves
# nothing. Up to 0.29 there is no engine to ask.
# shellcheck disable=SC2153,SC2154

libraries=$RELEASE/lib/ollama
as_user=()
if have runuser; then as_user=(runuser -u "$USER_NAME" --); fi
for backend in "$libraries"/*/libggml-{cuda,hip,vulkan}*.so; do
  if [ ! -f "$backend" ] || [ ! -x "$libraries/llama-server" ]; then continue; fi
  runner=${backend%/*}
  name=${runner##*/}
  if [[ $name != "$ONLY"* || $name = "$WITHOUT" ]]; then continue; fi
  emit "engine.$name" < <(cd / && "${as_user[@]}" timeout -s KILL 20 env "${ENVIRONMENT[@]}" \
    LD_LIBRARY_PATH="$libraries:$runner" GGML_BACKEND_PATH="$backend" \
    "$libraries/llama-server" --list-devices --offline 2>&1 || echo "@failed $?")
done
