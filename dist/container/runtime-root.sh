#!/usr/bin/env bash
# Makes the root of an image: a staged program, and what of this Debian it needs to run.
#
#   dist/container/runtime-root.sh STAGED OUT
#
# STAGED: where cmake --install put usr/bin/esclusa (DESTDIR). OUT must not be there yet.
# Of each package that something is taken from, its licence comes along, and its stanza in
# var/lib/dpkg/status.d, where image scanners look for it.
set -euo pipefail
export LC_ALL=C
umask 022

fail() {
    printf 'runtime-root.sh: %s\n' "$*" >&2
    exit 1
}
[ $# -eq 2 ] || fail 'usage: dist/container/runtime-root.sh STAGED OUT'
staged=$1
out=$2
program=$staged/usr/bin/esclusa
[ -x "$program" ] || fail "no program at $program"
[ ! -e "$out" ] || fail "$out is there already"
mkdir -p "$out"

# Debian's /lib and /lib64 are links into /usr: the loader is looked for by the first name.
for name in lib lib64; do
    [ ! -L "/$name" ] || ln -s "usr/$name" "$out/$name"
done

packages=()
# The package that a file is of; fails where it is of none. dpkg knows the path that was unpacked,
# which may be below /lib or below /usr/lib, and the link or what it leads to.
owner() {
    local name package
    for name in "$1" "${1#/usr}" "$(realpath -- "$1")"; do
        if package=$(dpkg-query -S -- "$name" 2>/dev/null); then
            printf '%s' "${package%%:*}"
            return
        fi
    done
    return 1
}

# The file, not the link, at the same path.
take() { # FILE
    local path
    path=$(realpath -- "$(dirname -- "$1")")/$(basename -- "$1")
    install -D -m "$(stat -Lc %a -- "$1")" -- "$1" "$out$path"
    packages+=("$(owner "$path")") || fail "$path is of no package"
}

install -D -m 755 -- "$program" "$out/usr/bin/esclusa"
libraries=$(ldd -- "$program" | sed -n 's/^[[:space:]]*\(.* => \)\{0,1\}\(\/[^ ]*\) (0x[0-9a-f]*)$/\2/p')
[ -n "$libraries" ] || fail "ldd names no library of $program"
for library in $libraries; do
    take "$library"
done

# OpenSSL's settings and the system store, where it looks for them.
ssl=$(openssl version -d | sed -n 's/^OPENSSLDIR: "\(.*\)"$/\1/p')
take /etc/ssl/openssl.cnf
# This one a script of its package has made.
install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$out/etc/ssl/certs/ca-certificates.crt"
packages+=(ca-certificates)
mkdir -p "$out$ssl"
ln -sf /etc/ssl/openssl.cnf "$out$ssl/openssl.cnf"
ln -sf /etc/ssl/certs/ca-certificates.crt "$out$ssl/cert.pem"
ln -sfn /etc/ssl/certs "$out$ssl/certs"

# What a name service needs; hosts and resolv.conf are the engine's.
printf 'hosts: files dns\n' >"$out/etc/nsswitch.conf"
printf 'esclusa:x:65532:65532::/:/sbin/nologin\n' >"$out/etc/passwd"
printf 'esclusa:x:65532:\n' >"$out/etc/group"
mkdir -p "$out/etc/esclusa" "$out/run" "$out/proc"

mkdir -p "$out/var/lib/dpkg/status.d"
printf '%s\n' "${packages[@]}" | sort -u | while read -r package; do
    dpkg-query -s "$package" >"$out/var/lib/dpkg/status.d/$package"
    install -D -m 644 "/usr/share/doc/$package/copyright" "$out/usr/share/doc/$package/copyright"
done
