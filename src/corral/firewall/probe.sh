# shellcheck shell=bash
# What filters packets on this host: a part of the one probe script, run as root. It changes nothing.
# Files are read and the kernel is asked; ufw and firewall-cmd would each start Python (0.1 to 0.3 s).

# firewall_file NAME PATH: a file's bytes, and no line at all where there is none.
firewall_file() { if [[ -r $2 ]]; then emit "firewall.$1" <"$2"; fi; }

# firewall_rules NAME COMMAND...: what a command prints, packed, since rules are long and repeat themselves.
# A ruleset with huge sets (blocklists) comes without their elements.
firewall_rules() {
  local name=$1 rules; shift
  if ! have "$1"; then return; fi
  if ! rules=$("$@" 2>/dev/null); then
    { "$@" 2>&1 || true; } | emit "firewall.unreadable:$1"
    return
  fi
  if ((${#rules} > 2000000)) && [[ $name = nft ]]; then
    rules=$(nft -j -t list ruleset 2>/dev/null)
    emit firewall.nft.terse <<<1
  fi
  gzip -1 <<<"$rules" | base64 -w0 | emit "firewall.$name"
}

# firewall_bus INTERFACE ARGUMENTS...: asks a firewalld that runs; never starts one.
firewall_bus() {
  local interface=$1; shift
  busctl --auto-start=no --timeout=5 call org.fedoraproject.FirewallD1 /org/fedoraproject/FirewallD1 \
    "org.fedoraproject.FirewallD1$interface" "$@" 2>/dev/null
}

firewall_probe() {
  systemctl show -p Id,UnitFileState,ActiveState ufw.service nftables.service firewalld.service \
    2>/dev/null | emit firewall.units || true
  ip -j -4 route show table all 2>/dev/null | emit firewall.routes4 || true
  ip -j -6 route show table all 2>/dev/null | emit firewall.routes6 || true

  # Rules of iptables: of the backend that is in use, and of the older one where the kernel has any.
  firewall_rules iptables iptables-save
  firewall_rules ip6tables ip6tables-save
  if grep -qs . /proc/net/ip_tables_names; then firewall_rules iptables-legacy iptables-legacy-save; fi
  if grep -qs . /proc/net/ip6_tables_names; then firewall_rules ip6tables-legacy ip6tables-legacy-save; fi

  if have nft; then
    local conf=/etc/nftables.conf
    firewall_rules nft nft -j list ruleset
    if [[ -e /etc/sysconfig/nftables.conf ]]; then conf=/etc/sysconfig/nftables.conf; fi
    printf %s "$conf" | emit firewall.nftables.path
    firewall_file nftables.conf "$conf"
    firewall_file nftables.own /etc/corral/nftables/ollama.nft
  fi

  if [[ -d /etc/ufw ]]; then
    firewall_file ufw.conf /etc/ufw/ufw.conf
    firewall_file ufw.default /etc/default/ufw
    firewall_file ufw.rules /etc/ufw/user.rules
    firewall_file ufw.rules6 /etc/ufw/user6.rules
  fi

  if [[ -d /etc/firewalld ]]; then firewall_probe_firewalld; fi
}

# Zones that traffic can come in by, and all those whose file has a rule of ours (priority 11434).
firewall_probe_firewalld() {
  local active='' default='' zone file
  if default=$(firewall_bus '' getDefaultZone) && active=$(firewall_bus .zone getActiveZones); then
    printf %s "$default" | emit firewall.firewalld.default
    printf %s "$active" | emit firewall.firewalld.active
  fi
  while read -r zone; do
    if [[ -e /usr/lib/firewalld/zones/$zone.xml ]]; then
      firewall_file "firewalld.packaged:$zone" "/usr/lib/firewalld/zones/$zone.xml"
    fi
    firewall_file "firewalld.zone:$zone" "/etc/firewalld/zones/$zone.xml"
    if [[ -n $active ]]; then
      firewall_bus .zone getRichRules s "$zone" | emit "firewall.firewalld.rules:$zone" || true
    fi
  done < <(
    {
      # Names of zones are the only quoted words here that name a file.
      grep -o '"[^"]*"' <<<"$default $active" | tr -d '"' || true
      for file in /etc/firewalld/zones/*.xml; do
        if [[ -e $file ]] && grep -q 'priority="11434"' "$file"; then basename "$file" .xml; fi
      done
    } | sort -u | while read -r zone; do
      if [[ -e /etc/firewalld/zones/$zone.xml || -e /usr/lib/firewalld/zones/$zone.xml ]]; then
        printf '%s\n' "$zone"
      fi
    done
  )
}

firewall_probe
