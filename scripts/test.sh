#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test; ends with ctest's summary.
#
#   scripts/test.sh                      the dev preset
#   scripts/test.sh asan tsan            these, one after the other; stops at the first that fails
#   scripts/test.sh dev -- -R unit_buf   what follows -- goes to ctest
set -euo pipefail
export LC_ALL=C

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

presets=()
while [ $# -gt 0 ]; do
    case "$1" in
        --)
            shift
            break
            ;;
        -h | --help)
            sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"
            exit 0
            ;;
        -*)
            printf 'test.sh: unknown option %s; options for ctest go behind --\n' "$1" >&2
            exit 2
            ;;
        *)
            presets+=("$1")
            shift
            ;;
    esac
done
[ ${#presets[@]} -gt 0 ] || presets=(dev)

scripts/deps.sh test

export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:detect_stack_use_after_return=1
export UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1
export CTEST_OUTPUT_ON_FAILURE=1

for preset in "${presets[@]}"; do
    printf '==> %s: configure and build\n' "$preset"
    cmake --preset "$preset"
    cmake --build --preset "$preset" -j "$(nproc)"

    # GCC 12's TSan dies where the kernel randomises more address bits than it knows
    # (vm.mmap_rnd_bits > 28). Some containers forbid setarch -R: then it has to do without.
    launcher=()
    if [ "$preset" = tsan ] && setarch "$(uname -m)" -R true 2>/dev/null; then
        launcher=(setarch "$(uname -m)" -R)
    fi
    printf '==> %s: test\n' "$preset"
    # --timeout is for tests that set none of their own.
    "${launcher[@]}" ctest --preset "$preset" -j 2 --timeout 300 --no-tests=error \
        --output-on-failure "$@"
done
