# shellcheck shell=bash
# After apt.sh: has Debian's own entries among apt's sources offer COMPONENTS, too, and reads the package lists.
# Reads ROOT, which is empty but in tests.
# shellcheck disable=SC2154

# One-line entries that name main: "deb [options] URI suite main".
add_to_list() {
  awk -v wanted="${COMPONENTS[*]}" '
    /^[ \t]*deb(-src)?[ \t]/ && /[ \t]main([ \t]|$)/ {
      count = split(wanted, names, " ")
      for (i = 1; i <= count; i++) if (!($0 ~ "[ \t]" names[i] "([ \t]|$)")) $0 = $0 " " names[i]
    }
    {print}'
}

# Paragraphs of "Components: main" (deb822).
add_to_paragraphs() {
  awk -v wanted="${COMPONENTS[*]}" '
    /^Components:/ && /[ \t:]main([ \t]|$)/ {
      count = split(wanted, names, " ")
      for (i = 1; i <= count; i++) if (!($0 ~ "[ \t]" names[i] "([ \t]|$)")) $0 = $0 " " names[i]
    }
    {print}'
}

for file in "$ROOT"/etc/apt/sources.list "$ROOT"/etc/apt/sources.list.d/*.{list,sources}; do
  [ -f "$file" ] || continue
  case $file in *.sources) text=$(add_to_paragraphs <"$file") ;; *) text=$(add_to_list <"$file") ;; esac
  if [ "$text" != "$(cat -- "$file")" ]; then
    progress "adding ${COMPONENTS[*]} to ${file#"$ROOT"}"
    write_file "$file" "$(stat -c %a -- "$file")" <<<"$text"
  fi
done
if [ -z "$ROOT" ]; then
  refresh
  if [ -n "$refreshing" ]; then package_failure "reading the package lists"; fi
fi
