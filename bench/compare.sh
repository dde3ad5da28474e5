#!/usr/bin/env bash
# Builds esclusa as it is shipped, installs its peers from Debian (nginx, haproxy, stunnel4;
# ghostunnel where Debian has it), runs all side by side and prints a table of what each unit of
# work costs. Two CPUs, and nothing else running, are needed; ten minutes.
#
#   bench/compare.sh                       the whole table
#   bench/compare.sh --peers --scale 0.2   esclusa alone, a fifth of the work
#   bench/compare.sh --help                what else compare.py takes
set -euo pipefail
export LC_ALL=C

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

scripts/deps.sh bench
cmake --preset release >/dev/null
cmake --build --preset release --target esclusa bench-load bench-upstream >/dev/null
certs=$(mktemp -d)
trap 'rm -rf "$certs"' EXIT
certs/make-certs.sh "$certs" server >/dev/null
python3 bench/compare.py --build build/release --certs "$certs" "$@"
