# shellcheck shell=bash
# What there is of an Ollama that somebody else has put on the host, and who holds the port in place of the service.
# Runs behind probe/probe.sh, whose pid, fragment and listeners it reads. Changes nothing. On a host of corral's it finds nothing,
# and takes next to no time.
# Reads PORT, OLLAMA_USER, MARK (how corral's unit begins), PROGRAMS (where install.sh puts things).
# shellcheck disable=SC2153,SC2154

# The package that has brought a file, behind its manager's name. On a merged /usr dpkg knows files by either name.
package_of() {
  local name=
  if have dpkg-query && name=$(dpkg-query -S "$1" 2>/dev/null || dpkg-query -S "${1#/usr}" 2>/dev/null); then
    echo "dpkg ${name%%:*}"
  elif have rpm && name=$(rpm -qf --qf '%{NAME}' "$1" 2>/dev/null); then
    echo "rpm $name"
  elif have pacman && name=$(pacman -Qqo "$1" 2>/dev/null); then
    echo "pacman $name"
  fi
}

unit=${fragment:-}
if [ -f "$unit" ] && [[ $(head -n 1 -- "$unit") == "$MARK"* ]]; then unit=; fi
emit foreign.programs < <(for path in ${unit:+"$unit"} "${PROGRAMS[@]}"; do
  if [ "$path" = "$unit" ] || { [ -e "$path" ] && [ ! -L "$path" ]; }; then
    printf '%s\t%s\n' "$path" "$(package_of "$path")"
  fi
done)
emit foreign.account < <(getent passwd "$OLLAMA_USER" || true)

# A snap's service: its own name, whatever it runs.
if [ -d /run/systemd/system ] && compgen -G '/etc/systemd/system/snap.ollama.*.service' >/dev/null; then
  emit foreign.snaps < <(for file in /etc/systemd/system/snap.ollama.*.service; do
    name=${file##*/}
    if systemctl -q is-enabled "$name" 2>/dev/null || systemctl -q is-active "$name"; then echo "$name"; fi
  done)
fi

variable_of() { tr '\0' '\n' <"/proc/$1/environ" 2>/dev/null | sed -n "s/^$2=//p" | head -n 1 || true; }

# Containers that publish the port, or share the host's network: then the holder is in the container's control group.
# Without its proxy Docker holds no socket: it is asked wherever the port is not the service's.
containers() { # RUNTIME
  {
    timeout 10 "$1" ps --no-trunc --format '{{.ID}} {{.Ports}}' 2>/dev/null | grep -F ":$PORT->" | cut -d' ' -f1 || true
    for holder in $holders; do grep -oE '[0-9a-f]{64}' "/proc/$holder/cgroup" 2>/dev/null | head -n 1 || true; done
  } | sort -u | while read -r id; do
    timeout 10 "$1" inspect --format "$shape" "$id" 2>/dev/null </dev/null | sed "s/^/$1\t/" || true
  done
}

holders=$(grep -oE 'pid=[0-9]+' <<<"${listeners:-}" | cut -d= -f2 | sort -un || true)
if [ "$holders" != "${pid:-0}" ]; then
  holders=$(grep -vxF "${pid:-0}" <<<"$holders" || true)
  emit foreign.holders < <(for holder in $holders; do
    printf '%s\t%s\t%s\t%s\t%s\n' "$holder" "$(readlink "/proc/$holder/exe" || true)" \
      "$(stat -c %U "/proc/$holder" || true)" "$(variable_of "$holder" OLLAMA_MODELS)" "$(variable_of "$holder" HOME)"
  done)
  shape=$'{{.Name}}\t{{.Config.Image}}\t{{range .Mounts}}{{if eq .Destination "/root/.ollama"}}{{.Source}}{{end}}{{end}}'
  emit foreign.containers < <(for runtime in docker podman; do
    if have "$runtime"; then containers "$runtime"; fi
  done)
fi
