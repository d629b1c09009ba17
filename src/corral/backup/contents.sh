# shellcheck shell=bash
# What a host has that may be worth saving. manifests: name, SHA-256 and base64 of each; blobs: name and size; texts: path,
# mode, SHA-256 and base64 of Modelfiles in MODELFILES and of drop-ins in DROP_IN_DIR other than OWN; key: the SHA-256 of
# the key in KEY_DIR and base64 of its public half.
# shellcheck disable=SC2153,SC2154
sum() { sha256sum <"$1" | cut -d' ' -f1; }
emit manifests < <(manifests_in "$MODELS" | while IFS= read -r path; do
  file=$MODELS/manifests/$path
  printf '%s\t%s\t%s\n' "$path" "$(sum "$file")" "$(base64 -w0 <"$file")"
done)
emit blobs < <(for blob in "$MODELS"/blobs/sha256-*; do
  name=${blob##*/}
  if [ -f "$blob" ] && [[ $name =~ ^sha256-[0-9a-f]{64}$ ]]; then printf '%s %s\n' "${name#sha256-}" "$(size_of "$blob")"; fi
done)
emit texts < <(for file in "$MODELFILES"/*.modelfile "$DROP_IN_DIR"/*.conf; do
  if [ -f "$file" ] && [ "$file" != "$OWN" ]; then
    printf '%s\t%s\t%s\t%s\n' "$file" "$(stat -Lc %a -- "$file")" "$(sum "$file")" "$(base64 -w0 <"$file")"
  fi
done)
if [ -f "$KEY_DIR/id_ed25519" ]; then
  emit key < <(printf '%s %s\n' "$(sum "$KEY_DIR/id_ed25519")" "$(base64 -w0 <"$KEY_DIR/id_ed25519.pub" 2>/dev/null || true)")
fi
