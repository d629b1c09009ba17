# shellcheck shell=bash
# Around apt-get and dpkg, for what comes after it. Reads PROXY, NO_PROXY_FOR, LOCK_WAIT_S.
# shellcheck disable=SC2154

export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 APT_LISTCHANGES_FRONTEND=none
if [ -n "$PROXY" ]; then export https_proxy=$PROXY http_proxy=$PROXY no_proxy=$NO_PROXY_FOR; fi
# Without a terminal of its own dpkg stays in this script's process group, and ends with it.
apt=(apt-get -q -y -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold)
exec 4>&1 # progress, where output is kept
output=''
refreshing=''

# keep: passes lines on, and now and then shows how far they are.
keep() {
  local line shown=$SECONDS
  while IFS= read -r line; do
    printf '%s\n' "$line"
    if [[ $line =~ ^(Unpacking|Setting\ up|Building|Processing) ]] && ((SECONDS - shown >= 5)); then
      shown=$SECONDS
      progress "${line:0:100}" >&4
    fi
  done
}

# package_command COMMAND...: runs it, and again while other programs hold the locks; `output` is what it said.
package_command() {
  local until=$((SECONDS + LOCK_WAIT_S)) told=''
  while ! output=$("$@" 2>&1 | keep); do
    if ! [[ $output =~ (Could not get lock|Unable to acquire|Unable to lock|lock was locked by another) ]]; then return 1; fi
    if ((SECONDS >= until)); then
      fail lock "$(holder) has held the package database for $((LOCK_WAIT_S / 60)) minutes | See what it does there, wait until it has ended, and run again"
    fi
    if [ -z "$told" ]; then progress "waiting for $(holder), which is at work on packages"; fi
    told=yes
    sleep 2
  done
}

# Who holds a lock, by what apt or dpkg said of it.
holder() {
  local pid program
  [[ $output =~ (held\ by\ process|with\ pid)\ ([0-9]+) ]] && pid=${BASH_REMATCH[2]}
  program=$(cat "/proc/${pid:-none}/comm" 2>/dev/null || true)
  echo "${program:-another program}${pid:+ (pid $pid)}"
}

# Ends the script with the reason for which a package command failed while it was WHAT.
package_failure() {
  local what=$1 said why
  said=$refreshing$'\n'$output
  why=$(grep -E '^(E:|Err:|W: Failed|dpkg: error|  )' <<<"$said" | grep -v '^ *$' | head -n 6 || true)
  case $said in
    *"No space left"* | *"enough free space"* | *"Write error"* | *"write error"*)
      fail disk "the disk is full: $what failed | Free some space there (df -h tells where it is) and run again: it goes on where it stopped
$why"
      ;;
    *"not valid yet"* | *"Release file"*expired*)
      fail clock "the package sources' dates don't fit the host's clock, which says $(date -u '+%Y-%m-%d %H:%M UTC'): $what failed | Set it and run again, or see to the sources
$why"
      ;;
    *"Failed to fetch"* | *"Temporary failure"* | *"Could not resolve"* | *"Unable to connect"* | *"Could not connect"*)
      fail sources "the host's package sources can't be reached: $what failed | Check /etc/apt/sources.list and sources.list.d there, proxy and network, and run again
$why"
      ;;
  esac
  why=${why:-$(tail -n 8 <<<"$output")}
  fail packages "$what failed | See to it on the host (apt-get -f install says more), and run again
$why"
}

# What dpkg was interrupted in, it finishes first: it refuses anything else before.
repair() {
  package_command dpkg --configure -a --force-confdef --force-confold || true
  package_command "${apt[@]}" --fix-broken install || refresh_and_repair
}

# A package of which half lies there is fetched anew.
refresh_and_repair() {
  refresh
  package_command "${apt[@]}" --fix-broken install || package_failure "finishing what dpkg was interrupted in"
}

# A source that is of no use to us may fail; what can't be installed then is said with the reason.
refresh() {
  progress "reading the package lists"
  package_command "${apt[@]}" update -o APT::Update::Error-Mode=any || refreshing=$output
}

# install PACKAGE...: with what they need and nothing that they only recommend.
install() {
  progress "installing $*"
  package_command "${apt[@]}" install --no-install-recommends --allow-downgrades "$@" || package_failure "installing $*"
}
