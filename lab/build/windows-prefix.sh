#!/bin/bash
# windows-prefix.sh REGISTRY-FILE ACCOUNT [LETTER=DIRECTORY]...
# Runs in the root file system of a Windows host's image: makes the Wine prefix /srv/windows/prefix of a machine whose
# user is ACCOUNT, with these drives beside C:. Its language and code pages are LC_ALL's.
set -euo pipefail
registry=$1 account=$2
shift 2

# Wine asks the system what the user is called. This line comes first, so it is the answer for root, who stays root.
sed -i "1i $account:x:0:0::/root:/bin/bash" /etc/passwd

export HOME=/root WINEPREFIX=/srv/windows/prefix WINEDEBUG=-all
wine=/usr/lib/wine/wine64
mkdir -p "${WINEPREFIX%/*}"
# A prefix is made before the registry can say that these are not wanted.
WINEDLLOVERRIDES='mscoree,mshtml,winemenubuilder.exe=' "$wine" wineboot --init
"$wine" regedit /S "$registry"
/usr/lib/wine/wineserver --kill
/usr/lib/wine/wineserver --wait

# Where this wineserver's socket was.
rm "$WINEPREFIX/wineserver"
# A Windows machine does not show another system's files.
rm "$WINEPREFIX/dosdevices/z:"
for drive in "$@"; do
    letter=${drive%%=*}
    ln -s "${drive#*=}" "$WINEPREFIX/dosdevices/${letter,,}:"
done

# Wine has copied all its libraries, 640 MB: links to them do.
libraries=/usr/lib/x86_64-linux-gnu/wine/x86_64-windows
for file in "$WINEPREFIX/drive_c/windows/system32/"*; do
    if cmp --silent "$file" "$libraries/${file##*/}"; then
        ln -sf "$libraries/${file##*/}" "$file"
    fi
done
