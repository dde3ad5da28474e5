#!/usr/bin/env bash
# For compare.sh and instructions.sh: installs and builds what they need, makes certificates, and
# runs one of the Python programs here.
#
#   bench/run.sh PROGRAM [ARGUMENT...]
set -euo pipefail
export LC_ALL=C

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

program=$1
shift
scripts/deps.sh bench
cmake --preset release >/dev/null
cmake --build --preset release --target esclusa bench-load bench-upstream >/dev/null
certs=$(mktemp -d)
trap 'rm -rf "$certs"' EXIT
certs/make-certs.sh "$certs" server >/dev/null
python3 "bench/$program" --build build/release --certs "$certs" "$@"
