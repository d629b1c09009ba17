# shellcheck shell=bash
# Lets CURRENT lead to DIRECTORY and, where it is not "", COMMAND to TARGET, each in one rename.
# shellcheck disable=SC2154
[ -x "$DIRECTORY/bin/ollama" ] || fail release "$DIRECTORY holds no bin/ollama | Remove that directory and run again"
link() {
  ln -sfn -- "$2" "$1.corral"
  mv -fT -- "$1.corral" "$1"
}
link "$CURRENT" "$DIRECTORY"
if [ -n "$COMMAND" ]; then
  mkdir -p -- "$(dirname -- "$COMMAND")"
  link "$COMMAND" "$TARGET"
fi
