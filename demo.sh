#!/bin/bash
# Four real Apache servers on this machine share work through mod_backhand; see demo/demo.py.
#
#   ./demo.sh           installs what is missing, builds, runs the demonstration, cleans up
#   ./demo.sh --keep    leaves the four servers running until Ctrl-C
set -euo pipefail
cd "$(dirname "$0")"
. scripts/packages.sh

# Under sudo the build still belongs to the user who called it, as the rest of the tree does.
as_owner() {
    if [ "$(id -u)" -eq 0 ] && [ -n "${SUDO_USER:-}" ] && [ "$(stat -c %U .)" = "$SUDO_USER" ]; then
        sudo -H -u "$SUDO_USER" "$@"
    else
        "$@"
    fi
}

build() {
    local output
    echo "Building the release preset (some minutes the first time)"
    if ! output=$({ as_owner cmake --preset release &&
        as_owner cmake --build --preset release; } 2>&1); then
        echo "$output" >&2
        return 1
    fi
}

install_missing "${packages_to_build[@]}"
build
exec /usr/bin/python3 -B demo/demo.py "$@"
