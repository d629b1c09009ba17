# shellcheck shell=bash
# Writes the next COUNT bytes of standard input to FILE, from OFFSET on; what it had beyond goes. Nobody else may read it
# while it grows. Directories that lack above it are made for OWNER (see make_directory).
# shellcheck disable=SC2154
umask 077
make_directory "$(dirname -- "$FILE")" "$OWNER"
touch -- "$FILE"
truncate -s "$OFFSET" -- "$FILE"
# From here on standard input is the file's: nothing else may read from it, and a minute without a byte ends it.
kill -KILL "$watchdog"
wait "$watchdog" 2>/dev/null || true
head -c "$COUNT" <&3 >>"$FILE" 2>/dev/null &
writer=$!
emit ready </dev/null
before=$OFFSET silent=$SECONDS
while kill -0 "$writer" 2>/dev/null; do
  sleep 0.02
  now=$(stat -c %s -- "$FILE")
  if [ "$now" != "$before" ]; then
    before=$now silent=$SECONDS
  elif ((SECONDS - silent >= 60)); then kill -KILL "$writer" 2>/dev/null || true; fi
done
if ! wait "$writer"; then
  fail disk "$FILE can't be written: its disk has $(mib "$(free_on "$(dirname -- "$FILE")")") MiB free | Free some space there and run again: it goes on where it stopped"
fi
if [ "$(stat -c %s -- "$FILE")" != "$((OFFSET + COUNT))" ]; then
  fail cut "$FILE came to $((OFFSET + COUNT)) bytes only in part | Run again: it goes on where it stopped"
fi
