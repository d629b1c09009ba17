# shellcheck shell=bash
# What a rebuild has to know of a Linux host beside the one probe. Changes nothing.
# Reads COMMANDS, TIMEKEEPERS, HELPERS, BLOCK, and ROOT, which is empty but in tests.
# shellcheck disable=SC2153,SC2154

kernel=$(uname -r)
machine=$(uname -m)
emit rebuild.kernel <<<"$kernel"
emit rebuild.hostname < <(uname -n)
emit rebuild.resolves < <(getent hosts "$(uname -n)" || true)
emit rebuild.commands < <(for command in "${COMMANDS[@]}"; do
  if have "$command"; then echo "$command"; fi
done)
if [ -s "$ROOT/etc/ssl/certs/ca-certificates.crt" ]; then emit rebuild.certificates <<<there; fi
emit rebuild.timekeepers < <(for unit in "${TIMEKEEPERS[@]}"; do
  printf '%s %s\n' "$unit" "$(systemctl is-enabled "$unit.service" 2>/dev/null | head -n 1 || true)"
done)

rebuild_packages() {
  local names
  # Half configured, half installed, or about to be: dpkg's own words for what it was interrupted in.
  emit rebuild.interrupted < <({
    dpkg-query -W -f '${db:Status-Want} ${db:Status-Eflag} ${db:Status-Status} ${Package}\n' |
      awk '$2 != "ok" || $3 ~ /^(half|unpacked|triggers)/ {print $4}'
    ls "$ROOT/var/lib/dpkg/updates"
  } 2>/dev/null | head -n 20 || true)
  emit rebuild.installed < <(dpkg-query -W -f '${db:Status-Status}\t${Package}\t${Version}\n' 2>/dev/null |
    awk -F '\t' '$1 == "installed" && $2 ~ /^(nvidia-|linux-(image|headers|modules-nvidia)-|firmware-|libcuda1)/ {print $2 "\t" $3}')
  names=$(apt-cache pkgnames 2>/dev/null | grep -E "^(nvidia-driver(-[0-9]+(-server)?)?|linux-modules-nvidia-[0-9]+(-server)?-($kernel|generic))\$" || true)
  # shellcheck disable=SC2086
  emit rebuild.offers < <(apt-cache madison $names "linux-headers-$kernel" "${HELPERS[@]}" 2>/dev/null |
    awk -F ' *[|] *' '{gsub(/ /, "", $1); print $1 "\t" $2}' | sort -u || true)
}
if have apt-get && have dpkg-query; then
  emit rebuild.apt <<<"$(dpkg --print-architecture 2>/dev/null || echo "$machine")"
  rebuild_packages
fi

if [ -e "$ROOT/lib/modules/$kernel/build" ]; then emit rebuild.headers <<<there; fi
emit rebuild.modules < <(for directory in "$ROOT"/lib/modules/*; do
  # As NVIDIA, Debian (nvidia-current) and Ubuntu name it; beside it lie nvidia-drm and others.
  if [ -n "$(find "$directory" \( -name 'nvidia.ko*' -o -name 'nvidia-current*.ko*' \) -print -quit 2>/dev/null)" ]; then
    basename -- "$directory"
  fi
done)
# By the uptime, which knows nothing of clocks that were set.
booted=$(($(date +%s) - $(cut -d. -f1 /proc/uptime)))
emit rebuild.since_boot < <(for list in "$ROOT"/var/lib/dpkg/info/{nvidia-driver,nvidia-kernel,nvidia-dkms,linux-modules-nvidia}*.list; do
  if [ -f "$list" ] && [ "$(stat -c %Y -- "$list")" -ge "$booted" ]; then basename -- "$list" .list; fi
done)

# efivarfs(5): four bytes of attributes, then the value.
secure_boot=$ROOT/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c
if [ -r "$secure_boot" ]; then
  emit rebuild.secure_boot < <(od -An -tu1 -j4 -N1 -- "$secure_boot" | grep -q 1 && echo enabled || true)
elif have mokutil; then
  emit rebuild.secure_boot < <(mokutil --sb-state 2>/dev/null | grep -i -o enabled || true)
fi
# The keys that modules built here are signed with: Debian's DKMS, Ubuntu's shim-signed.
for key in "$ROOT"/var/lib/dkms/mok.pub "$ROOT"/var/lib/shim-signed/mok/MOK.der; do
  if [ -f "$key" ] && have mokutil; then
    emit "rebuild.key" < <(mokutil --test-key "$key" 2>&1 | grep -o 'is already enrolled' || true)
  fi
done

for program in nvidia-uninstall nvidia-installer; do
  if [ -x "$ROOT/usr/bin/$program" ] && ! dpkg-query -S "/usr/bin/$program" >/dev/null 2>&1; then
    emit rebuild.hand_made <<<"/usr/bin/$program"
  fi
done
if [ -f "$ROOT$BLOCK" ]; then
  emit rebuild.block <"$ROOT$BLOCK"
  if [ -f "$ROOT/boot/initrd.img-$kernel" ] && [ "$ROOT$BLOCK" -nt "$ROOT/boot/initrd.img-$kernel" ]; then
    emit rebuild.initramfs <<<older
  fi
fi
emit rebuild.persistence < <(systemctl is-enabled nvidia-persistenced.service 2>/dev/null | head -n 1 || true)
emit rebuild.kernel_log < <({ dmesg || journalctl -k -b --no-pager -o cat; } 2>/dev/null |
  grep -iE 'nvrm|nvidia|nouveau|amdgpu' | cut -c1-300 | tail -n 12 || true)
