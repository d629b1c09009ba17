#!/bin/bash
# set-up.sh: the Debian packages and the Python environment that the make targets need.
# Installs only what is missing, and says nothing when nothing is.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(
    iproute2 mmdebstrap openssh-client openssl procps python3-venv strace systemd-container util-linux zstd
)

if [ "$(id -u)" != 0 ]; then
    echo "set-up: the lab's hosts are containers with their own init: run this as root" >&2
    exit 1
fi

missing=()
for package in "${packages[@]}"; do
    status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$package")
done
if [ "${#missing[@]}" != 0 ]; then
    echo "set-up: installing ${missing[*]} (under a minute)" >&2
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    apt=(apt-get --quiet --option DPkg::Lock::Timeout=300)
    if ! { "${apt[@]}" update && DEBIAN_FRONTEND=noninteractive "${apt[@]}" install --yes \
        --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        echo "set-up: apt-get could not install ${missing[*]}; see above" >&2
        exit 1
    fi
fi

if ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "set-up: making .venv" >&2
    rm -rf .venv
    python3 -m venv .venv
fi
# once FILE CMD...: runs CMD unless it has been run for the file as it is now.
once() {
    local stamp=.venv/installed-$1 sum
    sum=$(sha256sum "$1")
    if [ "$(cat "$stamp" 2>/dev/null || true)" != "$sum" ]; then
        "${@:2}"
        printf '%s\n' "$sum" >"$stamp"
    fi
}
pip=(.venv/bin/python -m pip --quiet --disable-pip-version-check install)
install_requirements() {
    echo "set-up: installing Python packages into .venv (about a minute)" >&2
    "${pip[@]}" --require-hashes --requirement requirements-dev.txt
}
once requirements-dev.txt install_requirements
once pyproject.toml "${pip[@]}" --no-deps --no-build-isolation --editable .
