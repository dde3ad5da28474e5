#!/usr/bin/env bash
# Builds esclusa as it is shipped, installs its peers from Debian (nginx, haproxy, stunnel4;
# ghostunnel where Debian has it), runs all side by side and prints a table of what each unit of
# work costs. Two CPUs, and nothing else running, are needed; ten minutes.
#
#   bench/compare.sh                       the whole table
#   bench/compare.sh --peers --scale 0.2   esclusa alone, a fifth of the work
#   bench/compare.sh --help                what else compare.py takes
set -euo pipefail

exec "$(dirname "${BASH_SOURCE[0]}")/run.sh" compare.py "$@"
