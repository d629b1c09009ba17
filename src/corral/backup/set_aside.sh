# shellcheck shell=bash
# Keeps FILES that are there under their names with .replaced at the end, too.
# shellcheck disable=SC2154
for file in "${FILES[@]}"; do
  if [ -f "$file" ]; then
    cp -p -- "$file" "$file.corral"
    mv -fT -- "$file.corral" "$file.replaced"
  fi
done
