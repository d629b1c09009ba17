# shellcheck shell=bash
# Everything that corral wants to know of a Linux host, in one answer. Changes nothing.
# Reads PORT, MODELS_DIR, RELEASES, CURRENT, STAMP, COMMAND, SERVICE, DROP_IN_DIR, SECRETS, MODELFILES, MOVES, OLLAMA_USER,
# and PREVIOUS, LEFT, TRIAL, VERDICT, REMOVING.
# shellcheck disable=SC2153,SC2154

emit os.release < <(cat /etc/os-release 2>/dev/null || true)
emit os.machine < <(uname -m)
emit os.kernel < <(uname -sr)
emit os.init < <(cat /proc/1/comm)
# Which C library programs get, not whether musl is there too, as a package.
emit os.musl < <(ldd --version 2>&1 | grep -i musl || true)
emit os.uid < <(id -u)
emit os.clock < <(date +%s)
emit os.boot_id < <(cat /proc/sys/kernel/random/boot_id 2>/dev/null || true)
emit os.addresses < <(ip -o address show 2>/dev/null | awk '{print $4}' || true)
emit os.tools < <(for tool in curl zstd tar flock ss sha256sum useradd systemctl journalctl nvidia-smi; do
  if have "$tool"; then echo "$tool"; fi
done)

emit ollama.current < <(readlink -- "$CURRENT" || true)
emit ollama.releases < <(for stamp in "$RELEASES"/*/"$STAMP"; do
  directory=$(dirname -- "$stamp")
  if [ -f "$stamp" ] && [ ! -L "$directory" ]; then
    printf '%s\t%s\n' "$(basename -- "$directory")" "$(tr '\n' ' ' <"$stamp")"
  fi
done)
emit ollama.previous < <(readlink -- "$PREVIOUS" || true)
emit ollama.left < <(readlink -- "$LEFT" || true)
emit ollama.trial < <(sed -n 's|^ExecStart=\(.*\)/bin/ollama serve$|\1|p' "$TRIAL" 2>/dev/null || true)
emit ollama.verdicts < <(for verdict in "$RELEASES"/*/"$VERDICT"; do
  if [ -f "$verdict" ]; then
    printf '%s\t%s\n' "$(basename -- "$(dirname -- "$verdict")")" "$(tr '\n' ' ' <"$verdict")"
  fi
done)
emit ollama.removing < <(compgen -G "$RELEASES/$REMOVING*" || true)
emit ollama.command < <(readlink -- "$COMMAND" || { [ -e "$COMMAND" ] && echo file; } || true)
emit ollama.user < <(id -nG "$OLLAMA_USER" 2>/dev/null || true)
emit ollama.groups < <(getent group render video | cut -d: -f1 || true)
emit ollama.secrets < <(if [ -f "$SECRETS" ]; then
  stat -c '%a %U' -- "$SECRETS"
  cat -- "$SECRETS"
fi)
emit ollama.models_dir < <(stat -c '%F|%U' -- "$MODELS_DIR" 2>/dev/null || true)
emit ollama.moves < <(cat -- "$MOVES" 2>/dev/null || true)
emit ollama.manifests < <(find "$MODELS_DIR/manifests" -type f -not -name '.*' -printf '%P\n' 2>/dev/null || true)
for file in "$MODELFILES"/*.modelfile; do
  name=${file##*/}
  if [ -f "$file" ]; then emit "modelfile.$name" <"$file"; fi
done

if have systemctl && [ -d /run/systemd/system ]; then
  emit service.show < <(systemctl show "$SERVICE" -p LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload,MainPID,FragmentPath,DropInPaths,NRestarts,Result || true)
  fragment=$(systemctl show "$SERVICE" -p FragmentPath --value || true)
  if [ -f "$fragment" ]; then emit service.unit <"$fragment"; fi
  for file in "$DROP_IN_DIR"/*.conf; do
    name=${file##*/}
    if [ -f "$file" ]; then emit "dropin.${name// /_}" <"$file"; fi
  done
  pid=$(systemctl show "$SERVICE" -p MainPID --value || echo 0)
  if [ "${pid:-0}" -gt 0 ] && [ -d "/proc/$pid" ]; then
    emit process.environment < <(tr '\0' '\n' <"/proc/$pid/environ" || true)
    emit process.executable < <(readlink "/proc/$pid/exe" || true)
    emit process.user < <(stat -c %U "/proc/$pid" || true)
    # All that runs in the service's control group: of the one hierarchy, or of systemd's own beside others.
    group=$(sed -nE 's/^(0:|[0-9]+:name=systemd):(\/.+)$/\2/p' "/proc/$pid/cgroup" | head -n 1 || true)
    for root in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
      if [ -n "$group" ] && [ -f "$root$group/cgroup.procs" ]; then emit process.pids <"$root$group/cgroup.procs"; fi
    done
  fi
fi

if have ss; then
  listeners=$(ss -Hltnp "sport = :$PORT" || true)
  if [ -n "$listeners" ]; then emit port.listeners <<<"$listeners"; fi
fi

# The nearest directory that exists tells which disk a path will be on.
free() {
  local path=$1
  while [ ! -d "$path" ]; do path=$(dirname -- "$path"); done
  df -PB1 -- "$path" | awk 'NR == 2 {print $4}'
}
emit disk.models < <(free "$MODELS_DIR")
emit disk.unmounted < <(while read -r _ place _; do
  place=$(printf '%b' "${place//\\/\\0}") # a space is \040 there
  case $MODELS_DIR/ in
    "$place"/*) mountpoint -q -- "$place" || printf '%s\n' "$place" ;;
  esac
done < <(grep -v '^ *#' /etc/fstab 2>/dev/null || true))
emit disk.releases < <(free "$RELEASES")
