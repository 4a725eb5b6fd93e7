# shellcheck shell=bash
# What ./demo.sh and ./test.sh need from Debian, and how they get it.  Sourced, not run.

# shellcheck disable=SC2034  # used by those who source this
packages_to_build=(apache2 apache2-dev g++ cmake ninja-build ccache nlohmann-json3-dev libasio-dev
    libcli11-dev libtomlplusplus-dev libssl-dev libpcre2-dev libcurl4-openssl-dev python3)

# The fuzzers are clang's; the whole-server tests are run by Debian's own python, some of them on
# networks that ip makes and nft parts.
# shellcheck disable=SC2034
packages_to_test=(libgtest-dev libgmock-dev clang libclang-rt-14-dev python3-pytest python3-pytest-xdist python3-requests openssl perl
    curl iproute2 nftables libfaketime php-cgi)

# What bench/ measures with.
# shellcheck disable=SC2034
packages_to_bench=(valgrind strace libbenchmark-dev wrk haproxy nginx-light)

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "This needs root or sudo: $*" >&2
        return 1
    fi
}

is_installed() {
    dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed
}

# install_missing PACKAGE...: says what is missing, and installs only that.
install_missing() {
    local package missing=()
    for package in "$@"; do
        is_installed "$package" || missing+=("$package")
    done
    if [ ${#missing[@]} -eq 0 ]; then
        return
    fi
    echo "Installing with apt: ${missing[*]}"
    as_root apt-get update -qq &&
        as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
}
