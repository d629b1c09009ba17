# shellcheck shell=bash
# Asks the registries for a piece of each of the blobs at URLS, as the server on this host will: the bytes from
# FROM to TO, the last one included. Each piece is answered as lines "part.<number> BASE64", in order, which
# together are one base64 of a gzip of what curl gave: the bytes, or how it failed; then, in a line of its own, the
# status and curl's exit code. A registry that sends the whole blob is cut off 512 bytes after the piece's length,
# which a piece with its last line never reaches. A path among URLS is a file of this host. PROXY, NO_PROXY_FOR: for
# curl.
# shellcheck disable=SC2154
export https_proxy=$PROXY http_proxy=$PROXY no_proxy=$NO_PROXY_FOR
for tool in curl gzip; do
  have "$tool" || fail tools "the host lacks $tool | Install the package $tool there"
done
for number in "${!URLS[@]}"; do
  # In lines of a megabyte: corral takes apart line by line what it has received so far.
  {
    code=0
    case ${URLS[$number]} in
      /*)
        dd if="${URLS[$number]}" bs=1M iflag=skip_bytes,count_bytes skip="${FROM[$number]}" \
          count="$((TO[number] - FROM[number] + 1))" status=none 2>&1 || code=$?
        printf '\n206'
        ;;
      *) curl -fsSL --connect-timeout 20 --speed-limit 1024 --speed-time 60 -w '\n%{http_code}' \
        -r "${FROM[$number]}-${TO[$number]}" -- "${URLS[$number]}" 2>&1 || code=$? ;;
    esac
    printf ' %s' "$code"
  } | head -c $((TO[number] - FROM[number] + 513)) | gzip -1 | base64 -w0 | base64 -w1000000 |
    sed "s/^/part.$number /" || true
done
