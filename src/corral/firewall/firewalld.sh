# shellcheck shell=bash
# Changes rules of ours in firewalld. AT_RUN_TIME holds "--zone=ZONE --OPTION=RULE" each; FILES are zone
# files, SEEN the SHA-256 that each had when corral asked ("" for none), TEXTS what each becomes ("": deleted).
# What runs comes first: firewalld then judges a rule before a file has it, and the zones that traffic
# comes in by are always asked again.
# shellcheck disable=SC2153,SC2154
for words in "${AT_RUN_TIME[@]}"; do
  if ! answer=$(firewall-cmd "${words%% *}" "${words#* }" 2>&1); then
    fail firewall "firewall-cmd ${words}: $answer"
  fi
done

for index in "${!FILES[@]}"; do
  file=${FILES[index]} seen='' text=${TEXTS[index]}
  if [[ -e $file ]]; then seen=$(sha256sum <"$file"); fi
  if [[ -n $text && -e $file ]] && printf %s "$text" | cmp -s - "$file"; then continue; fi
  if [[ ${seen%% *} != "${SEEN[index]}" ]]; then
    fail firewall "$file was changed by somebody else just now; run again"
  fi
  if [[ -z $text ]]; then
    rm -f -- "$file"
  else
    mode=644
    if [[ -e $file ]]; then mode=$(stat -c %a -- "$file"); fi
    printf %s "$text" | write_file "$file" "$mode"
  fi
done
