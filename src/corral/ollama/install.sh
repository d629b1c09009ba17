# shellcheck shell=bash
# Downloads URL into DOWNLOADS (resuming what an earlier run left), checks it against SHA256 and unpacks it
# as DIRECTORY, which appears in one rename with STAMP_TEXT in STAMP_FILE. PROXY, NO_PROXY_FOR: for curl.
# shellcheck disable=SC2154

releases=$(dirname -- "$DIRECTORY")
archive=$DOWNLOADS/$SHA256
partial=$archive.partial
unpacking=$releases/.unpack
export https_proxy=$PROXY http_proxy=$PROXY no_proxy=$NO_PROXY_FOR

# Not every minimal system brings these.
need() {
  have "$1" && return
  progress "installing the package $2"
  if have apt-get; then
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$2" >&2 ||
      { apt-get update -qq >&2 && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$2" >&2; }
  elif have dnf; then dnf -q -y install "$2" >&2
  elif have zypper; then zypper -q -n install "$2" >&2
  elif have pacman; then pacman -Sq --noconfirm "$2" >&2
  fi || true
  have "$1" || fail tools "the host lacks $1 and its package $2 could not be installed | Install it there: Ollama's archives need it"
}
need curl curl
need zstd zstd
need tar tar

mkdir -p -- "$DOWNLOADS"
rm -rf -- "$unpacking" # what a run that was cut off left
for old in "$DOWNLOADS"/*; do # downloads of other releases that nobody will finish
  case $old in "$archive" | "$partial") ;; *) rm -f -- "$old" ;; esac
done

size_of() { stat -c %s -- "$1" 2>/dev/null || echo 0; }
mib() { echo $(($1 / 1048576)); }

if [ ! -f "$archive" ]; then
  head=$(curl -sSIL --connect-timeout 20 --max-time 60 -- "$URL" 2>&1) ||
    fail download "$URL can't be reached: ${head##*curl: } | Check ollama_release_url, proxy and the host's network"
  status=$(printf '%s' "$head" | awk 'toupper($1) ~ /^HTTP/ {code = $2} END {print code}')
  [ "$status" = 200 ] || fail download "$URL answers $status | Check ollama_version and ollama_release_url"
  total=$(printf '%s' "$head" | tr -d '\r' | awk 'tolower($1) == "content-length:" {n = $2} END {print n + 0}')
  # The archive and, beside it, about twice its size when unpacked.
  free=$(df -PB1 -- "$DOWNLOADS" | awk 'NR == 2 {print $4}')
  wanted=$((total * 3 - $(size_of "$partial")))
  if [ "$free" -lt "$wanted" ]; then
    fail disk "$releases has $(mib "$free") MiB free, unpacking $URL takes $(mib "$wanted") MiB | Free some space there"
  fi
  progress "downloading $(mib "$total") MiB$([ ! -f "$partial" ] || echo ", resuming at $(mib "$(size_of "$partial")") MiB")"
  curl -fsSL --connect-timeout 20 --speed-limit 1024 --speed-time 60 --retry 3 -C - -o "$partial" -- "$URL" 2>"$DOWNLOADS/$SHA256.error" &
  curl=$!
  shown=$SECONDS
  while kill -0 "$curl" 2>/dev/null; do
    sleep 0.2
    if ((SECONDS - shown >= 5)); then
      shown=$SECONDS
      done_bytes=$(size_of "$partial")
      progress "downloaded $(mib "$done_bytes") of $(mib "$total") MiB ($((total ? done_bytes * 100 / total : 0)) %)"
    fi
  done
  if ! wait "$curl"; then
    why=$(tail -n 1 -- "$DOWNLOADS/$SHA256.error")
    # A complete file that only lacked its rename is refused by the server: nothing lies beyond its end.
    if [ "$(size_of "$partial")" -ne "$total" ] || [ "$total" -eq 0 ]; then
      if [ "$(df -PB1 -- "$DOWNLOADS" | awk 'NR == 2 {print $4}')" -lt 1048576 ]; then
        fail disk "the disk of $DOWNLOADS is full | Free some space there and run again: the download goes on where it stopped"
      fi
      fail download "the download of $URL broke off at $(mib "$(size_of "$partial")") of $(mib "$total") MiB: ${why:-no reason given} | Run again: it goes on where it stopped"
    fi
  fi
  progress "checking its SHA-256"
  got=$(sha256sum -- "$partial" | cut -d' ' -f1)
  if [ "$got" != "$SHA256" ]; then
    rm -f -- "$partial"
    fail checksum "the archive at $URL has the SHA-256 $got, not the pinned $SHA256; it was deleted | Compare ollama_version and its pin with the release's sha256sum.txt before you trust this address"
  fi
  mv -fT -- "$partial" "$archive"
fi

progress "unpacking"
mkdir -- "$unpacking"
# What tar says goes to no file: the disk may be full.
if ! said=$(tar --zstd -xf "$archive" -C "$unpacking" --no-same-owner 2>&1 | head -n 1; exit "${PIPESTATUS[0]}"); then
  rm -rf -- "$unpacking" # an old release may be serving from this disk
  fail unpack "unpacking failed: ${said:-no reason given} | Free some space on the disk of $releases and run again"
fi
[ -x "$unpacking/bin/ollama" ] || fail release "the archive at $URL holds no bin/ollama | It is not a release of Ollama for Linux"
chmod -R go+rX,go-w -- "$unpacking"
printf '%s\n' "$STAMP_TEXT" >"$unpacking/$STAMP_FILE"
sync -f -- "$unpacking/$STAMP_FILE"
mv -T -- "$unpacking" "$DIRECTORY"
rm -rf -- "$DOWNLOADS"
