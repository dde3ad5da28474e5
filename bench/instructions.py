"""Instructions that esclusa executes for a unit of work, counted by callgrind: stable enough to
compare two commits on a busy machine. Each figure is the difference of two runs, so that the start
does not count.

  python3 bench/instructions.py --build build/release --certs DIR
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time

import compare

MIB = 1 << 20
# name, unit, what is asked of bench-load in the first and in the second run, units between them
ROWS = (
    ("up", "MiB", ("up", 1, 8 * MIB), ("up", 1, 40 * MIB), 32),
    ("down", "MiB", ("down", 1, 8 * MIB), ("down", 1, 40 * MIB), 32),
    ("up, 16 connections", "MiB", ("up", 16, 16 * MIB), ("up", 16, 48 * MIB), 32),
    ("connect, resumed", "connection", ("connect", 1, 20), ("connect", 1, 120), 100),
    ("connect, full handshake", "connection", ("connect", 1, 20), ("connect", 1, 120), 100),
)


def count(path):
    with open(path, encoding="utf-8") as file:
        for line in file:
            found = re.match(r"(?:summary|totals):\s*(\d+)", line)
            if found:
                return int(found.group(1))
    raise SystemExit(f"no total in {path}")


class Counted:
    def __init__(self, arguments, directory):
        self.arguments, self.directory, self.runs = arguments, directory, 0

    def run(self, upstream, words, options):
        """Instructions of one life of the gateway."""
        self.runs += 1
        out = os.path.join(self.directory, f"callgrind.{self.runs}")
        listen = compare.port()
        gateway = subprocess.Popen(
            ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}",
             f"{self.arguments.build}/esclusa", "--listen", f"127.0.0.1:{listen}", "--connect",
             f"127.0.0.1:{upstream}", "--ca", f"{self.arguments.certs}/ca.pem", "--server-name",
             "localhost", "--workers", "1", "--log-level", "error", *options],
            stdin=subprocess.DEVNULL)
        try:
            compare.wait_listening(listen, gateway)
            time.sleep(0.5)  # the probe's own session ends
            done = subprocess.run([f"{self.arguments.build}/bench-load", str(listen),
                                   *map(str, words)], capture_output=True, timeout=600, check=True)
            if json.loads(done.stdout)["failed"]:
                raise SystemExit(f"bench-load: {done.stdout}")
        finally:
            gateway.terminate()
            gateway.wait(60)
        return count(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", required=True)
    parser.add_argument("--certs", required=True)
    arguments = parser.parse_args()
    port = compare.port()
    upstream = subprocess.Popen(
        [f"{arguments.build}/bench-upstream", str(port), f"{arguments.certs}/server.pem",
         f"{arguments.certs}/server.key"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    print("| work | instructions | each |\n|---|---|---|")
    try:
        compare.wait_listening(port, upstream)
        with tempfile.TemporaryDirectory(prefix="esclusa-callgrind-") as directory:
            counted = Counted(arguments, directory)
            for name, unit, small, large, units in ROWS:
                options = ["--resumption", "false"] if "full" in name else []
                cost = (counted.run(port, large, options) - counted.run(port, small, options))
                print(f"| {name} | {cost / units:,.0f} | {unit} |")
                sys.stdout.flush()
    finally:
        upstream.stdin.close()
        upstream.wait()


if __name__ == "__main__":
    main()
