# shellcheck shell=bash
# Puts rules of ours (those with COMMENT) into the loaded ruleset, and their file and its include line in
# place for the next boot; or takes all of it away when OWN_TEXT is empty. CONF is what nftables.service loads.
# shellcheck disable=SC2153,SC2154
work=$(mktemp -d)
# lib.sh's trap, and ours.
trap 'rm -rf -- "$work"; kill -KILL "$watchdog" 2>/dev/null || true' EXIT
conf=$(readlink -f -- "$CONF" || true)
cut="$INCLUDE (end of file was here)"
# Left by a run that was cut off while it wrote a file.
rm -f -- "$(dirname -- "$OWN_FILE")"/.corral.?????? "$(dirname -- "${conf:-$CONF}")"/.corral.??????

# CONF as it was before the line came, to the byte: where its last line had no end, it has none again.
if [[ -e $conf ]] && ! grep -qxF -e "$INCLUDE" -e "$cut" -- "$conf"; then
  cat -- "$conf" >"$work/bare"
elif [[ -e $conf ]]; then
  { grep -vxF -e "$INCLUDE" -e "$cut" -- "$conf" || true; } >"$work/bare"
  if [[ $(tail -n1 -- "$conf") = "$cut" ]]; then truncate -s -1 -- "$work/bare"; fi
fi

# with_line: the file with our line behind it.
with_line() {
  cat -- "$work/bare"
  if [[ -s $work/bare && -n $(tail -c1 -- "$work/bare") ]]; then
    printf '\n%s\n' "$cut"
  else
    printf '%s\n' "$INCLUDE"
  fi
}

replace_conf() { # replace_conf NEW
  if cmp -s -- "$1" "$conf"; then return; fi
  write_file "$conf" "$(stat -c %a -- "$conf")" <"$1"
}

# One "delete rule" for each loaded rule of ours; handles are looked up now, since they may have changed.
nft -a list ruleset | awk -v mark="comment \"$COMMENT\"" '
  $1 == "table" { table = $2 " " $3 }
  $1 == "chain" { chain = $2 }
  index($0, mark) && $(NF - 1) == "handle" { print "delete rule " table " " chain " handle " $NF }
' >"$work/live"

if [[ -n $OWN_TEXT ]]; then
  printf %s "$OWN_TEXT" >"$work/own"
  # What the next boot would load, with our rules in: refused here rather than there.
  if ! answer=$(cd / && cat -- "$work/bare" <(echo) "$work/own" | nft -c -f - 2>&1); then
    fail firewall "nft would not load $CONF with the rules for Ollama | Make nft -c -f $CONF pass"$'\n'"$answer"
  fi
  write_file "$OWN_FILE" 644 <"$work/own"
  with_line >"$work/conf"
  replace_conf "$work/conf"
  cat -- "$work/own" >>"$work/live"
elif [[ -e $conf ]]; then
  replace_conf "$work/bare"
fi

if [[ -s $work/live ]] && ! answer=$(nft -f "$work/live" 2>&1); then
  fail firewall "nft would not load the rules for Ollama | See nft list ruleset"$'\n'"$answer"
fi

if [[ -z $OWN_TEXT ]]; then
  rm -f -- "$OWN_FILE"
  rmdir -p --ignore-fail-on-non-empty -- "$(dirname -- "$OWN_FILE")" 2>/dev/null || true
fi
