# shellcheck shell=bash
# Asks the registries for the manifests at URLS, as the server on this host will, and answers each as
# manifest.<number>: the manifest, then the status in a line of its own. A path among URLS is a file of this host. blobs: name and size in bytes of what
# is in BLOBS already, downloads that are under way included. PROXY, NO_PROXY_FOR: for curl.
# shellcheck disable=SC2154
export https_proxy=$PROXY http_proxy=$PROXY no_proxy=$NO_PROXY_FOR
have curl || fail tools "the host lacks curl | Install the package curl there"
for number in "${!URLS[@]}"; do
  case ${URLS[$number]} in
    /*) emit "manifest.$number" < <(cat -- "${URLS[$number]}" 2>&1 && printf '\n200' || printf '\n000') ;;
    *) emit "manifest.$number" < <(curl -sSL --connect-timeout 20 --max-time 60 -w '\n%{http_code}' \
      -H 'Accept: application/vnd.docker.distribution.manifest.v2+json' -- "${URLS[$number]}" 2>&1 || true) ;;
  esac
done
emit blobs < <(for blob in "$BLOBS"/sha256-*; do
  case $blob in
    *-partial-*) ;;
    *-partial) printf '%s %s\n' "$(basename -- "$blob" -partial)" "$(du -B1 -- "$blob" | cut -f1)" ;;
    *) [ -f "$blob" ] && printf '%s %s\n' "$(basename -- "$blob")" "$(stat -c %s -- "$blob")" ;;
  esac
done || true)
