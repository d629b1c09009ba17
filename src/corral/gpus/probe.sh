# shellcheck shell=bash
# This host's GPUs, and what holds their memory: a part of the one probe script, run as root. It changes nothing.
# Reads GPU_FIELDS, PROCESS_FIELDS, CARD_FILES, CURRENT, and ROOT, which is empty but in tests.
# shellcheck disable=SC2153,SC2154

gpu_smi() { timeout -s KILL 20 nvidia-smi "$@" 2>&1; }

# gpu_query ARGUMENTS...: GPU_FIELDS, or as many of them as this nvidia-smi knows; for one that it does not know
# (compute_cap before driver 510) it refuses the whole question.
gpu_query() {
  local answer code fields=$GPU_FIELDS refused='Field "([^"]+)" is not a valid field'
  while true; do
    code=0
    answer=$(gpu_smi "$@" --query-gpu="$fields" --format=csv,noheader,nounits) || code=$?
    if ! [[ $answer =~ $refused && ,$fields, == *,"${BASH_REMATCH[1]}",* ]]; then break; fi
    fields=,$fields,
    fields=${fields/,"${BASH_REMATCH[1]}",/,}
    fields=${fields#,}
    fields=${fields%,}
  done
  printf '@fields %s\n%s\n' "$fields" "$answer"
  if ((code)); then printf '@failed %s\n' "$code"; fi
}

gpu_nvidia() {
  local answer card
  answer=$(gpu_query)
  # One lost card can keep nvidia-smi from telling of the others.
  if [[ $answer == *"Unable to determine the device handle"*@failed* ]]; then
    for card in "$ROOT"/proc/driver/nvidia/gpus/*; do
      if [ -e "$card" ]; then answer+=$'\n'$(gpu_query -i "${card##*/}"); fi
    done
  fi
  emit gpu.nvidia <<<"$answer"
  emit gpu.processes < <(gpu_smi --query-compute-apps="$PROCESS_FIELDS" --format=csv,noheader,nounits || true)
  if grep -q ', Enabled$' <<<"$answer"; then
    emit gpu.mig < <(gpu_smi -L || true)
    emit gpu.mig_memory < <(gpu_smi -q -x |
      grep -E '<gpu id=|mig_device>|<index>|fb_memory_usage>|<(total|used|free)>' || true)
  fi
}

# The GPUs of NVIDIA and AMD on the PCI bus, with a driver or without: a line for each, tab-separated NAME=VALUE.
gpu_cards() {
  local path file value class vendor device revision ids=$ROOT/usr/share/libdrm/amdgpu.ids
  for path in "$ROOT"/sys/bus/pci/devices/*; do
    { read -r class <"$path/class" && read -r vendor <"$path/vendor"; } 2>/dev/null || continue
    case "$class $vendor" in 0x03*\ 0x10de | 0x03*\ 0x1002 | 0x12*\ 0x1002) ;; *) continue ;; esac
    value=$(readlink -- "$path/driver" || true)
    printf 'bus_id=%s\tdriver=%s' "${path##*/}" "${value##*/}"
    for file in "${CARD_FILES[@]}"; do
      if read -r value 2>/dev/null <"$path/$file"; then printf '\t%s=%s' "$file" "$value"; fi
    done
    if [[ $vendor = 0x1002 && -r $ids ]] &&
      { read -r device <"$path/device" && read -r revision <"$path/revision"; } 2>/dev/null; then
      printf '\tmarketing_name=%s' "$(awk -F ',[ \t]*' -v device="${device#0x}" -v revision="${revision#0x}" \
        'tolower($1) == device && tolower($2) == revision {print $3; exit}' "$ids")"
    fi
    echo
  done
}

gpu_probe() {
  local cards runner node
  if have nvidia-smi; then gpu_nvidia; fi
  cards=$(gpu_cards)
  emit gpu.cards <<<"$cards"
  if [[ $cards == *vendor=0x1002* ]]; then
    emit gpu.kfd < <(for node in "$ROOT"/sys/class/kfd/kfd/topology/nodes/*/properties; do
      echo @node
      grep -E '^(gfx_target_version|domain|location_id) ' "$node" 2>/dev/null || true
    done)
    # It is a Python program: asked only where the kernel and libdrm have no name.
    if have rocm-smi && grep vendor=0x1002 <<<"$cards" | grep -qvE '(product|marketing)_name=[^[:space:]]'; then
      emit gpu.rocm < <(timeout -s KILL 20 rocm-smi --showproductname --showbus --csv 2>/dev/null || true)
    fi
  fi
  emit gpu.runners < <(for runner in "$CURRENT"/lib/ollama/*/libggml-{cuda,hip,vulkan}*.so; do
    if [ -f "$runner" ]; then basename -- "${runner%/*}"; fi
  done)
}
gpu_probe
