# shellcheck shell=bash
# Runs COMMAND with sh, as testinfra expects, and answers its exit code and, byte for byte, what it printed.
# shellcheck disable=SC2154

# Its error output waits in a file without a name: two outputs at once would have to be told apart.
errors=$(mktemp)
exec 4<>"$errors"
rm -f -- "$errors"

set +e
sh -c "$COMMAND" 2>&4 3<&- 4>&- | base64 -w0 | emit stdout
code=${PIPESTATUS[0]}
set -e
emit stderr < <(base64 -w0 </proc/self/fd/4)
emit code <<<"$code"
