#!/usr/bin/env bash
# Counts the instructions that a relayed MiB and a connection cost, with callgrind: comparable
# between commits of one machine, busy or not. Three minutes.
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
python3 bench/instructions.py --build build/release --certs "$certs" "$@"
