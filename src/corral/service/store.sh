# shellcheck shell=bash
# What scripts share that look into a directory of models as Ollama lays it out: manifests/HOST/NAMESPACE/MODEL/TAG, and
# files in blobs/ that are named by their SHA-256.

# manifests_in DIRECTORY: the manifests, as paths below DIRECTORY/manifests; Ollama finds them four levels deep.
manifests_in() {
  find -L "$1/manifests" -mindepth 4 -maxdepth 4 -type f -not -name '.*' -printf '%P\n' 2>/dev/null | sort || true
}

# blobs_of FILE...: the names of the files in blobs/ that these manifests mention.
blobs_of() { grep -ohE 'sha256[:-][0-9a-f]{64}' -- "$@" 2>/dev/null | tr : - | sort -u || true; }

size_of() { stat -Lc %s -- "$1" 2>/dev/null || echo 0; }

# nearest PATH: it, or the first directory above it that exists.
nearest() {
  local path=$1
  while [ ! -d "$path" ]; do path=$(dirname -- "$path"); done
  printf '%s\n' "$path"
}

# make_directory DIRECTORY OWNER: with all that lacks above it; for OWNER, as Ollama makes its own, or, where that is "",
# for nobody else than whoever asks.
make_directory() {
  local path=$1 missing=()
  while [ ! -d "$path" ]; do
    missing=("$path" "${missing[@]}")
    path=$(dirname -- "$path")
  done
  for path in "${missing[@]}"; do
    if [ -n "$2" ]; then install -d -m 755 -o "$2" -g "$2" -- "$path"; else mkdir -m 700 -- "$path"; fi
  done
}

# free_on DIRECTORY: the bytes that its disk has free.
free_on() { df -PB1 -- "$1" | awk 'NR == 2 {print $4}'; }

mib() { echo $(($1 / 1048576)); }
