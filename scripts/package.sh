#!/usr/bin/env bash
# Makes the Debian package: build/package/esclusa_VERSION-RELEASE_ARCH.deb, of a release build.
#
#   scripts/package.sh           makes it, asks lintian, prints its path
#   scripts/package.sh --quick   without lintian
#
# The release says for which Debian it is: 1~deb12 is older than 1~deb13, so that an upgrade of
# Debian takes the package made there. SOURCE_DATE_EPOCH is the last commit's date unless it is set.
# DEBFULLNAME and DEBEMAIL: the package's maintainer.
set -euo pipefail
export LC_ALL=C

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
lint=yes
case "${1-}" in
    '') ;;
    --quick) lint=no ;;
    -h | --help)
        sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"
        exit 0
        ;;
    *)
        printf 'package.sh: unknown argument %s; usage: scripts/package.sh [--quick]\n' "$1" >&2
        exit 2
        ;;
esac

scripts/deps.sh build
missing=()
[ "$lint" = no ] || command -v lintian >/dev/null || missing+=(lintian)
command -v dpkg-shlibdeps >/dev/null || missing+=(dpkg-dev)
[ ${#missing[@]} -eq 0 ] || scripts/deps.sh test

release=1
if [ -r /etc/os-release ]; then
    # shellcheck source=/dev/null
    release=$(. /etc/os-release && [ "${ID:-}" = debian ] && printf '1~deb%s' "${VERSION_ID:-}" || echo 1)
fi
if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
    SOURCE_DATE_EPOCH=$(git -c safe.directory='*' log -1 --format=%ct 2>/dev/null || date +%s)
fi
export SOURCE_DATE_EPOCH

out=build/package
words=(-DESCLUSA_TESTS=OFF)
[ -z "${DEBEMAIL:-}" ] || words+=("-DESCLUSA_MAINTAINER=${DEBFULLNAME:-esclusa maintainers} <$DEBEMAIL>")
cmake --preset release -B "$out" "${words[@]}" >&2
cmake --build "$out" -j "$(nproc)" >&2
rm -f "$out"/*.deb
cpack --config "$out/CPackConfig.cmake" -B "$out" -D "CPACK_DEBIAN_PACKAGE_RELEASE=$release" >&2
package=$(echo "$out"/esclusa_*.deb)
[ -f "$package" ]
if [ "$lint" = yes ]; then
    # It is no upload to Debian: what hinders use fails.
    lintian --allow-root --fail-on error "$package" >&2
fi
printf '%s\n' "$package"
