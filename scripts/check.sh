#!/usr/bin/env bash
# The checks that need no running program.
#
#   scripts/check.sh             format, shell, tidy
#   scripts/check.sh format      clang-format finds nothing to change
#   scripts/check.sh fix         clang-format changes it
#   scripts/check.sh shell       shellcheck
#   scripts/check.sh tidy [FILE...]   clang-tidy over src and tests (headers as they are included)
set -euo pipefail
export LC_ALL=C

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

# Versions of the clang tools differ in layout details, and each brings new checks under the same
# names. Debian 12's judges; another one only advises.
judge_major=14

# pick TOOL: sets "tool" and "judge".
pick() {
    tool=$1
    judge=yes
    if command -v "$1-$judge_major" >/dev/null; then
        tool=$1-$judge_major
    elif ! "$1" --version | grep -q "version $judge_major\\."; then
        judge=no
    fi
}

# verdict WORDS: after a complaint. True if it was only advice.
verdict() {
    printf 'check.sh: %s\n' "$1" >&2
    [ "$judge" = no ] || return 1
    printf 'check.sh: but %s is not version %s, so this is advice only\n' "$tool" "$judge_major" >&2
}

c_files() { # FOLDER...
    find "$@" -name '*.[ch]' -print0 | sort -z
}

format() {
    pick clang-format
    local how=(--dry-run --Werror)
    [ "$1" = check ] || how=(-i)
    if ! c_files src include tests | xargs -0 "$tool" "${how[@]}"; then
        verdict 'not formatted; scripts/check.sh fix does it'
    fi
}

shell() {
    shellcheck .ci/run scripts/*.sh dist/debian/p* dist/container/*.sh certs/*.sh tests/tools/*.sh
}

tidy_one() {
    local said
    if ! said=$("$tool" --quiet -p build/dev "$1" 2>&1); then
        # Each file says how many warnings it left out (in system headers): no news.
        grep -vE '^[0-9]+ warnings? (generated|treated as errors?)' <<<"$said"
        return 1
    fi
}

tidy() {
    # For the compile commands, new files included; nothing is built.
    cmake --preset dev >/dev/null
    pick clang-tidy
    export tool
    export -f tidy_one
    local files=()
    if [ $# -gt 0 ]; then
        files=("$@")
    else
        # What the preset compiles; fuzz targets belong to another one.
        mapfile -t files < <(sed -n 's/^ *"file": "\(.*\)",\{0,1\}$/\1/p' \
            build/dev/compile_commands.json | sort -u)
        [ ${#files[@]} -gt 0 ] || {
            printf 'check.sh: no compile commands in build/dev\n' >&2
            return 1
        }
    fi
    # xargs: 123 if any of them failed; all of them are shown.
    # shellcheck disable=SC2016 # the inner shell expands
    printf '%s\0' "${files[@]}" | xargs -0 -n 1 -P "$(nproc)" bash -c 'tidy_one "$1"' tidy ||
        verdict 'clang-tidy complains'
}

mode=${1:-all}
[ $# -eq 0 ] || shift
case "$mode" in
    all | format | fix | shell | tidy) scripts/deps.sh test ;;
    *)
        printf 'check.sh: unknown mode %s; usage: scripts/check.sh [format|fix|shell|tidy [FILE...]]\n' \
            "$mode" >&2
        exit 2
        ;;
esac
case "$mode" in
    format) format check ;;
    fix) format fix ;;
    shell) shell ;;
    tidy) tidy "$@" ;;
    all)
        format check
        shell
        tidy
        ;;
esac
printf 'check.sh: %s: done\n' "$mode"
