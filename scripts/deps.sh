#!/usr/bin/env bash
# Installs by apt what is missing of what the build and the tests need, on Debian 12 or 13. Where
# all is there it does nothing: no network, no root.
#
#   scripts/deps.sh [build|test|bench]     "test" is the default; it and "bench" include "build"
#
# ESCLUSA_SKIP_DEPS=1: do nothing (other distributions: install the counterparts by hand).
set -euo pipefail
export LC_ALL=C

build=(gcc libc6-dev cmake ninja-build pkgconf libssl-dev openssl curl ca-certificates util-linux
    libconfig-dev libseccomp-dev libmicrohttpd-dev libc-ares-dev
    libcurl4-openssl-dev libjansson-dev libncurses-dev)
# libc6-dev: gcc only recommends it. The peers of the end-to-end tests: redis, nginx, PostgreSQL,
# MariaDB, openssl, curl, and two forward proxies.
# From mandoc on: what is shipped is checked with them. systemd: its tools judge the units; nothing
# of it is started.
tests=(libcmocka-dev python3 git procps iproute2 redis-server redis-tools nginx libnginx-mod-stream
    haproxy tinyproxy-bin microsocks postgresql mariadb-server clang-format
    clang-tidy shellcheck mandoc man-db dpkg-dev systemd lintian python3-yaml strace logrotate tmux)

# A token in software, and what opens it for OpenSSL: in Debian from 13 on. Before, the tests of
# pkcs11: say that they are skipped.
# shellcheck source=/dev/null
if [ -r /etc/os-release ] && (. /etc/os-release && [ "${VERSION_ID:-99}" -ge 13 ]) 2>/dev/null; then
    tests+=(pkcs11-provider softhsm2 opensc)
fi
# What bench/compare.sh compares with, and what it measures with.
bench=(python3 util-linux nginx libnginx-mod-stream haproxy stunnel4 valgrind)

say() {
    printf 'deps.sh: %s\n' "$*" >&2
}

case "${1:-test}" in
    build) wanted=("${build[@]}") ;;
    test) wanted=("${build[@]}" "${tests[@]}") ;;
    bench)
        wanted=("${build[@]}" "${bench[@]}")
        # Not in every Debian.
        ! apt-cache show ghostunnel >/dev/null 2>&1 || wanted+=(ghostunnel)
        ;;
    *)
        say "unknown set '$1': build, test or bench"
        exit 2
        ;;
esac
[ "${ESCLUSA_SKIP_DEPS:-}" != 1 ] || exit 0

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    say "this is no Debian (no apt-get): install the counterparts of ${wanted[*]}, then set ESCLUSA_SKIP_DEPS=1"
    exit 1
fi

installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${wanted[@]}" 2>/dev/null || true)
missing=()
for package in "${wanted[@]}"; do
    grep -qx "installed $package" <<<"$installed" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || {
        say "not root and no sudo: as root, run: apt-get install ${missing[*]}"
        exit 1
    }
    as_root=(sudo)
fi

# Debian starts a service when it is installed. policy-rc.d (invoke-rc.d(8)) forbids it: the tests
# start redis, nginx and the databases themselves, on ports of their own, and nothing else should run here.
guard=/usr/sbin/policy-rc.d
if [ ! -e "$guard" ]; then
    trap '"${as_root[@]}" rm -f "$guard"' EXIT
    trap 'exit 1' INT TERM HUP
    # shellcheck disable=SC2016 # nothing is to be expanded here
    "${as_root[@]}" sh -c 'printf "#!/bin/sh\nexit 101\n" >"$1" && chmod 755 "$1"' sh "$guard"
fi

apt_get() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o Dpkg::Use-Pty=0 "$@" >&2
}

say "installing ${missing[*]}"
apt_get update
apt_get install -y --no-install-recommends "${missing[@]}"
enabled=()
for service in nginx redis-server postgresql mariadb-server; do
    [[ " ${missing[*]} " != *" $service "* ]] || enabled+=("${service/mariadb-server/mariadb}")
done
if [ -d /run/systemd/system ] && [ ${#enabled[@]} -gt 0 ]; then
    say "${enabled[*]}: installed for the tests and not started, but Debian has enabled them for the next boot: systemctl disable ${enabled[*]}"
fi
