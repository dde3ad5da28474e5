#!/usr/bin/env bash
# Tests the commit that is checked out on Debian 13, whatever Debian this machine runs: debootstrap
# makes a root for it, scripts/test.sh builds and tests in there, and a default handshake with that
# root's `openssl s_server` must agree on X25519MLKEM768. The last line is the verdict.
#
#   scripts/test-debian13.sh [DIR]          DIR: /var/tmp/esclusa-debian13; removed if all is well
#   scripts/test-debian13.sh --keep [DIR]   keeps it, and the next run starts from it
#   scripts/test-debian13.sh -- dev asan    what follows -- goes to scripts/test.sh, instead of dev
#
# As root, for it mounts and changes root; mounts and processes live in namespaces that end with it.
# Only debootstrap and apt use the network: the tests have a loopback of their own and nothing else.
set -euo pipefail
export LC_ALL=C
umask 022

limit=7200 # seconds for everything but the preparation of this machine
suite=trixie
group=X25519MLKEM768
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
mirror=http://deb.debian.org

tree=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() {
    printf 'test-debian13.sh: %s\n' "$*"
}
fail() {
    say "$*" >&2
    exit 1
}
usage() {
    sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"
}

# step WORDS: until the next step the verdict is that this one failed.
step() {
    printf '\n==> %s\n' "$1"
    printf 'FAILED: %s\n' "$1" >"$dir/verdict"
}

# quietly LOG COMMAND...: what it says is only shown if it fails.
quietly() {
    local log=$1
    shift
    "$@" >"$log" 2>&1 </dev/null || {
        tail -n 40 "$log" >&2
        fail "failed: $* (all of it: $log)"
    }
}

git_here() {
    git -c safe.directory='*' -C "$tree" "$@"
}

# ---- In namespaces of its own: mounts and processes. ----

# in_root COMMAND...: in /esclusa of the root, with an environment that says nothing of this machine.
in_root() {
    # shellcheck disable=SC2016 # the inner shell expands
    "${offline[@]}" chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin HOME=/root LC_ALL=C \
        "${proxies[@]}" sh -c 'cd /esclusa && "$@"' sh "${loopback_up[@]}" "$@"
}

make_root() {
    local script=/usr/share/debootstrap/scripts/$suite
    # One older than the release does not know its name; it only ever was a link to this one.
    [ -e "$script" ] || script=/usr/share/debootstrap/scripts/sid
    rm -rf --one-file-system "$root"
    quietly "$dir/debootstrap.log" debootstrap --variant=minbase --keyring="$keyring" \
        "$suite" "$root" "$mirror/debian" "$script"
    printf 'deb %s %s main\n' "$mirror/debian" "$suite" "$mirror/debian" "$suite-updates" \
        "$mirror/debian-security" "$suite-security" >"$root/etc/apt/sources.list"
}

enter_root() {
    # A mount of its own, so that tests can make mount namespaces in there.
    mount --bind "$root" "$root"
    printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"
    cat /etc/resolv.conf >"$root/etc/resolv.conf"
    mount -t proc proc "$root/proc"
    mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/dev/shm"
    mkdir -p "$root/dev/pts"
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
    mount --bind "$root/dev/pts/ptmx" "$root/dev/ptmx"
    mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/tmp"
    rm -rf --one-file-system "$root/esclusa"
    mkdir "$root/esclusa"
    git_here archive "$commit" | tar -x -C "$root/esclusa"
}

# A lint asks git for the files. Nothing is committed: they are those that `git add .` would add.
prepare_tree() {
    quietly "$dir/deps.log" in_root scripts/deps.sh test
    in_root git init -q -b main
}

# Nothing but a loopback from here on, if that can be had.
go_offline() {
    proxies=()
    if unshare --net true 2>/dev/null; then
        offline=(unshare --net)
        # shellcheck disable=SC2016 # the inner shell expands
        loopback_up=(sh -c 'ip link set lo up && exec "$@"' sh)
    else
        say 'unshare --net is not permitted here: the tests see the network of this machine'
    fi
}

# Runs in the root. Prints the group of the session's line and what the server says of it. The
# gateway listens on a unix socket: no port has to be free.
# shellcheck disable=SC2317 # bash gets its text
handshake() {
    local work pids=() line=
    wait_for() { # FILE PATTERN
        local turn
        for ((turn = 0; turn < 400; turn++)); do
            ! grep -Eq -- "$2" "$1" || return 0
            sleep 0.05
        done
        printf 'waited in vain for %s in:\n' "$2" >&2
        cat "$1" >&2
        return 1
    }
    work=$(mktemp -d)
    certs/make-certs.sh "$work" ca server
    openssl s_server -accept 127.0.0.1:0 -www -cert "$work/server.pem" -key "$work/server.key" \
        </dev/null >"$work/server.log" 2>&1 &
    pids+=($!)
    : >"$work/gateway.log"
    wait_for "$work/server.log" '^ACCEPT .*:[0-9]+$'
    build/dev/esclusa --listen "unix:$work/socket" --ca "$work/ca.pem" --server-name localhost \
        --connect "127.0.0.1:$(sed -n 's/^ACCEPT .*:\([0-9]*\)$/\1/p' "$work/server.log")" \
        --log-format json </dev/null 2>"$work/gateway.log" &
    pids+=($!)
    wait_for "$work/gateway.log" '"event":"listening"'
    curl --noproxy '*' -sS --max-time 20 -o "$work/page" --unix-socket "$work/socket" http://localhost/
    wait_for "$work/gateway.log" '"event":"session"'
    kill "${pids[@]}"
    wait || true
    line=$(grep '"event":"session"' "$work/gateway.log")
    printf 'the gateway: %s\n' "$line"
    sed -n 's/^ *\(Shared groups: .*\)/the server: \1/p' "$work/page"
    rm -rf "$work"
}

# The list of tests that ctest ends with, on one line.
failed_tests() {
    sed -n 's/^[[:space:]]*[0-9]* - \([a-z0-9_]*\) (.*/\1/p' "$1" | sort -u | paste -sd' '
}

inside() {
    local tests=passed agreed complaints what

    if [ ! -e "$dir/ready" ]; then
        step 'Debian 13: debootstrap'
        make_root
    fi
    step 'Debian 13: mounts, and the tree in it'
    enter_root
    step 'Debian 13: what the build and the tests need (apt)'
    if [ ! -e "$dir/ready" ]; then
        # The fixes since the release, of what debootstrap has installed.
        quietly "$dir/apt.log" in_root apt-get update
        quietly "$dir/apt.log" in_root env DEBIAN_FRONTEND=noninteractive apt-get -y upgrade
    fi
    prepare_tree
    date >"$dir/ready"

    go_offline
    what="Debian $(cat "$root/etc/debian_version"), gcc $(in_root gcc -dumpfullversion), $(in_root openssl version | sed 's/ (.*//')"
    step "scripts/test.sh ${words[*]} ($what)"
    if ! in_root scripts/test.sh "${words[@]}" </dev/null 2>&1 | tee "$dir/test.log"; then
        tests=$(failed_tests "$dir/test.log")
        tests="FAILED: ${tests:-none was run}"
    fi
    complaints=$(grep -cE '^[^ ]+:[0-9]+:[0-9]+: (fatal )?(warning|error): |^CMake .*(Warning|Error)' \
        "$dir/test.log" || true)

    step "A default handshake with Debian 13's OpenSSL"
    agreed=none
    # The tests may have been of another preset.
    if in_root sh -c 'cmake --preset dev && cmake --build --preset dev --target esclusa' \
        >"$dir/build.log" 2>&1 </dev/null; then
        if in_root bash -euo pipefail -c "$(declare -f handshake); handshake" </dev/null 2>&1 |
            tee "$dir/handshake.log"; then
            agreed=$(sed -n 's/^the gateway: .*"group":"\([^"]*\)".*/\1/p' "$dir/handshake.log")
        fi
    else
        tail -n 40 "$dir/build.log" >&2
    fi

    what="commit ${commit:0:12} on $what: tests $tests; compiler and cmake complaints: $complaints; group: ${agreed:-none}"
    if [ "$tests" = passed ] && [ "$complaints" -eq 0 ] && [ "$agreed" = "$group" ]; then
        printf 'PASSED: %s\n' "$what" >"$dir/verdict"
        return 0
    fi
    [ "$agreed" = "$group" ] || what="$what, not $group"
    printf 'FAILED: %s\n' "$what" >"$dir/verdict"
    return 1
}

if [ "${1-}" = --inside ]; then # by itself, see below
    dir=$2
    commit=$3
    words=("${@:4}")
    root=$dir/root
    offline=()
    loopback_up=()
    proxies=()
    for name in http_proxy https_proxy no_proxy; do
        [ -z "${!name-}" ] || proxies+=("$name=${!name}")
    done
    inside
    exit
fi

# ---- On this machine. ----

keep=no
dir=
words=(dev)
while [ $# -gt 0 ]; do
    case "$1" in
        --keep) keep=yes ;;
        -h | --help)
            usage
            exit 0
            ;;
        --)
            shift
            [ $# -eq 0 ] || words=("$@")
            break
            ;;
        -*)
            say "unknown option $1; see scripts/test-debian13.sh --help" >&2
            exit 2
            ;;
        *)
            [ -z "$dir" ] || {
                say "one DIR, not also $1; see scripts/test-debian13.sh --help" >&2
                exit 2
            }
            dir=$1
            ;;
    esac
    shift
done
[ "$(id -u)" -eq 0 ] || fail 'needs root, for debootstrap, mount and chroot: sudo scripts/test-debian13.sh'
unshare --mount --pid --fork --mount-proc true 2>/dev/null ||
    fail 'this machine does not permit new namespaces or mounts (unshare --mount --pid, mount of /proc): it takes a real or virtual machine, or a privileged container'

missing=()
command -v debootstrap >/dev/null || missing+=(debootstrap)
# The name tells that the keyring is not older than Debian 13.
[ -e "/usr/share/keyrings/debian-archive-$suite-stable.gpg" ] || missing+=(debian-archive-keyring)
command -v git >/dev/null || missing+=(git)
if [ ${#missing[@]} -gt 0 ]; then
    command -v apt-get >/dev/null || fail "no apt-get here: install ${missing[*]} by hand"
    say "installing ${missing[*]}"
    apt-get -q update >&2
    DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${missing[@]}" >&2
fi
[ -e "$keyring" ] || fail "$keyring is missing: no way to verify what debootstrap would load"

commit=$(git_here rev-parse --verify 'HEAD^{commit}') || fail "$tree is no git repository with a commit"
[ -z "$(git_here status --porcelain)" ] ||
    say "commit ${commit:0:12} is tested; what is changed or new in $tree since is NOT"

# The directory is ours if it says so: nothing else is reused, let alone removed.
dir=$(realpath -m -- "${dir:-/var/tmp/esclusa-debian13}")
if [ -e "$dir" ]; then
    { [ -O "$dir" ] && [ -f "$dir/verdict" ]; } ||
        fail "$dir is there, and was not made by scripts/test-debian13.sh: give another, or remove it"
else
    mkdir "$dir"
    chmod 755 "$dir" # servers in the root drop their privileges, and must reach what is theirs
    printf 'FAILED: not begun\n' >"$dir/verdict"
fi
exec 9>"$dir/lock"
flock -n 9 || fail "another run has $dir"
[ -e "$dir/ready" ] && say "reusing $dir, made on $(cat "$dir/ready")"

# A background job, so that a signal to this script is acted on at once. The first process of a PID
# namespace takes the others with it, and the mounts go with the last of them.
timeout --kill-after=10 "$limit" unshare --mount --pid --fork --mount-proc --kill-child \
    bash "$0" --inside "$dir" "$commit" "${words[@]}" </dev/null &
job=$!
trap 'kill "$job" 2>/dev/null; wait "$job" || true; say "interrupted; $dir is left as it is" >&2; exit 130' INT TERM HUP
status=0
wait "$job" || status=$?
trap - INT TERM HUP

[ "$status" -ne 124 ] || say "not done in $limit s" >&2
printf '\n'
verdict=$(cat "$dir/verdict")
if [ "$status" -eq 0 ] && [ "$keep" = no ]; then
    # Mounts of another namespace cannot be here; --one-file-system would not follow one either.
    rm -rf --one-file-system "$dir"
else
    say "kept: $dir (root/, test.log; rm -r removes it)"
fi
say "$verdict"
exit "$status"
