# shellcheck shell=bash
# Changes rules of ours in firewalld. REMOVE and ADD hold "ZONE RULE" each, for what runs; FORGET and KEEP
# the same for the permanent side. FILES are zone files, SEEN the SHA-256 that each had when corral asked
# ("" for none), TEXTS what each becomes ("": deleted).
# What runs comes first: firewalld then judges a rule before a file has it, and the zones that traffic
# comes in by are always asked again.
# shellcheck disable=SC2153,SC2154

# bus PATH INTERFACE METHOD ARGUMENTS...: as firewall-cmd does, which takes half a second each time.
bus() {
  local answer
  if ! answer=$(busctl --auto-start=no call org.fedoraproject.FirewallD1 "/org/fedoraproject/FirewallD1$1" \
    "org.fedoraproject.FirewallD1$2" "${@:3}" 2>&1); then
    case $answer in
      *ALREADY_ENABLED* | *NOT_ENABLED*) ;;
      *) fail firewall "firewalld refuses: ${*:3} | See journalctl -u firewalld"$'\n'"$answer" ;;
    esac
  fi
  printf '%s\n' "$answer"
}

# permanent METHOD "ZONE RULE"
permanent() {
  local path
  path=$(bus /config .config getZoneByName s "${2%% *}")
  path=${path#*'"/org/fedoraproject/FirewallD1'}
  bus "${path%'"'}" .config.zone "$1" s "${2#* }" >/dev/null
}

for words in "${REMOVE[@]}"; do bus '' .zone removeRichRule ss "${words%% *}" "${words#* }" >/dev/null; done
for words in "${ADD[@]}"; do bus '' .zone addRichRule ssi "${words%% *}" "${words#* }" 0 >/dev/null; done

# Left by a run that was cut off while it wrote a file.
rm -f -- /etc/firewalld/zones/.corral.??????
for index in "${!FILES[@]}"; do
  file=${FILES[index]} seen=''
  if [[ -e $file ]]; then seen=$(sha256sum <"$file"); fi
  if [[ ${seen%% *} != "${SEEN[index]}" ]]; then
    fail firewall "$file was changed by somebody else just now | Run again"
  fi
done

# firewalld does not always notice a new file, and would write what it remembers over it. So it is told,
# and then the files (with the backups that it makes of them) become what they should be to the byte.
backups=$(mktemp -d)
# lib.sh's trap, and ours.
trap 'rm -rf -- "$backups"; kill -KILL "$watchdog" 2>/dev/null || true' EXIT
for file in "${FILES[@]}"; do
  if [[ -e $file.old ]]; then cp -p -- "$file.old" "$backups/"; fi
done
# From here on a connection that ends does not stop this script at once (lib.sh gives it three seconds).
trap '' TERM
for words in "${FORGET[@]}"; do permanent removeRichRule "$words"; done
for words in "${KEEP[@]}"; do permanent addRichRule "$words"; done
for index in "${!FILES[@]}"; do
  file=${FILES[index]} text=${TEXTS[index]}
  if [[ -n $text ]]; then
    mode=644
    if [[ -e $file ]]; then mode=$(stat -c %a -- "$file"); fi
    printf %s "$text" | write_file "$file" "$mode"
  else
    rm -f -- "$file"
  fi
  rm -f -- "$file.old"
  old=$backups/$(basename -- "$file.old")
  if [[ -e $old ]]; then cp -p -- "$old" "$file.old"; fi
done
