# shellcheck shell=bash
# Lets CURRENT lead to DIRECTORY and, where it is not "", COMMAND to TARGET, each in one rename. Where CURRENT has led
# until now is noted in PREVIOUS or, where BACK says that this is a rollback, in LEFT.
# shellcheck disable=SC2154
[ -x "$DIRECTORY/bin/ollama" ] || fail release "$DIRECTORY holds no bin/ollama | Remove that directory and run again"
link() {
  ln -sfn -- "$2" "$1.corral"
  mv -fT -- "$1.corral" "$1"
}
before=$(readlink -- "$CURRENT" || true)
if [ -n "$before" ] && [ "$before" != "$DIRECTORY" ]; then
  if [ -n "$BACK" ]; then
    link "$LEFT" "$before"
  else
    link "$PREVIOUS" "$before"
    rm -f -- "$LEFT"
  fi
fi
link "$CURRENT" "$DIRECTORY"
if [ -n "$COMMAND" ]; then
  mkdir -p -- "$(dirname -- "$COMMAND")"
  link "$COMMAND" "$TARGET"
fi
