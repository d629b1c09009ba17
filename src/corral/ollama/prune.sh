# shellcheck shell=bash
# Removes the releases DIRECTORIES, and what is LEFT of such a removal that was cut off. A release gets another name
# first, so that nobody takes a part of one for the whole. One that something runs from stays.
# shellcheck disable=SC2153,SC2154

for path in "${LEFT[@]}"; do rm -rf --one-file-system -- "$path"; done
for path in "${DIRECTORIES[@]}"; do
  user=
  for program in /proc/[0-9]*/exe; do
    case $(readlink -- "$program" || true) in "$path"/*) user=${program//[^0-9]/} ;; esac
  done
  if [ -n "$user" ]; then
    progress "$path stays for now: process $user runs from it"
    continue
  fi
  removing=$(dirname -- "$path")/$REMOVING$(basename -- "$path")
  mv -T -- "$path" "$removing"
  rm -rf --one-file-system -- "$removing"
done
