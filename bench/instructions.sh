#!/usr/bin/env bash
# Counts the instructions that a relayed MiB and a connection cost, with callgrind: comparable
# between commits of one machine, busy or not. Three minutes.
set -euo pipefail

exec "$(dirname "${BASH_SOURCE[0]}")/run.sh" instructions.py "$@"
