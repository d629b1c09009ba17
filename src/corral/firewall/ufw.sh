# shellcheck shell=bash
# Adds and deletes rules of ours in ufw. COMMENT marks them; ADD_FIRST, DELETE and ADD_AGAIN hold
# "SOURCE PORT" each. ufw takes a lock, writes its file in one rename and answers a repetition with "Skipping".
# shellcheck disable=SC2153,SC2154
ufw_rule() { # ufw_rule SOURCE PORT [delete]
  local words=(allow proto tcp from "$1" to any port "$2")
  if [[ ${3:-} = delete ]]; then words=(delete "${words[@]}"); else words+=(comment "$COMMENT"); fi
  # In a session of its own, so that it ends even if this script is cut off: while ufw loads its rules its
  # chains are empty for a moment, and a ufw killed then would leave the host without those for ssh.
  local answer
  if ! answer=$(setsid --wait ufw "${words[@]}" 2>&1); then
    case $answer in *'non-existent'*) ;; *) fail firewall "ufw refuses: ${words[*]} | See ufw status verbose"$'\n'"$answer" ;; esac
  fi
}

for rule in "${ADD_FIRST[@]}"; do ufw_rule "${rule% *}" "${rule#* }"; done
for rule in "${DELETE[@]}"; do ufw_rule "${rule% *}" "${rule#* }" delete; done
for rule in "${ADD_AGAIN[@]}"; do ufw_rule "${rule% *}" "${rule#* }"; done
