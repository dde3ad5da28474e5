"""Runs esclusa and its peers side by side and prints what each unit of work costs.

The gateway is pinned to one CPU, the load and the upstream to another. Rounds go around the peers,
so that a drift of the machine meets all of them; figures are medians over the rounds.
"""

import argparse
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import peers

GIB = 1 << 30
MIB = 1 << 20

# name, how it is asked of bench-load, unit, figure of (cpu, result), goal: this much of the best
# peer's figure
ROWS = (
    ("up 1", ("up", 1, GIB), "CPU s per GiB", lambda cpu, r: cpu, 0.75),
    ("up 16", ("up", 16, GIB), "CPU s per GiB", lambda cpu, r: cpu, 0.75),
    ("down 1", ("down", 1, GIB), "CPU s per GiB", lambda cpu, r: cpu, 0.85),
    ("down 16", ("down", 16, GIB), "CPU s per GiB", lambda cpu, r: cpu, 0.85),
    ("ping 1, p50", ("ping", 1, 3), "us", lambda cpu, r: r["p50_us"], 1.0),
    ("ping 64, CPU", ("ping", 64, 3), "us each", lambda cpu, r: cpu * 1e6 / r["count"], 0.9),
    ("connect 16, CPU", ("connect", 16, 4000), "us each",
     lambda cpu, r: cpu * 1e6 / r["count"], 0.9),
    ("connect 1, p50", ("connect", 1, 1500), "us", lambda cpu, r: r["p50_us"], 0.9),
    ("connect 1 each 5 ms, p50", ("connect", 1, 600, 5), "us", lambda cpu, r: r["p50_us"], 0.9),
)
# The last two again, with connections kept ready; against the best peer's without.
WARM = ROWS[-2:]
WARM_OPTIONS = ("--warm-min", "16", "--warm-max", "64")
WARM_GOAL = 0.3
IDLE = ("idle, PSS", "KiB a session")
IDLE_SESSIONS = 1000


def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_listening(number, process, log=None):
    for _ in range(500):
        if process.poll() is not None:
            if log is not None:
                with open(log, encoding="utf-8", errors="replace") as text:
                    sys.stderr.write(text.read()[-2000:])
            raise SystemExit(f"{process.args} ended at its start")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", number)) == 0:
                return
        time.sleep(0.02)
    raise SystemExit(f"nothing listens on port {number}")


class Bench:
    def __init__(self, arguments, directory):
        self.arguments, self.directory = arguments, directory
        cpus = sorted(os.sched_getaffinity(0))
        if len(cpus) < 2:
            raise SystemExit("two CPUs are needed: one for the gateway, one for the load")
        self.gateway_cpu = ["taskset", "-c", str(cpus[0])]
        self.load_cpu = ["taskset", "-c", str(cpus[1])]
        self.upstream = None

    def start_upstream(self):
        self.upstream_port = port()
        certs = self.arguments.certs
        self.upstream = subprocess.Popen(
            [*self.load_cpu, f"{self.arguments.build}/bench-upstream", str(self.upstream_port),
             f"{certs}/server.pem", f"{certs}/server.key"], stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL)
        wait_listening(self.upstream_port, self.upstream)

    def start(self, kind):
        peer = kind(self.directory, self.gateway_cpu)
        listen = port()
        peer.start(listen, self.upstream_port, f"{self.arguments.certs}/ca.pem")
        wait_listening(listen, peer.process, peer.path("log"))
        peer.listen = listen
        return peer

    def load(self, listen, *words):
        done = subprocess.run([*self.load_cpu, f"{self.arguments.build}/bench-load", str(listen),
                               *map(str, words)], capture_output=True, timeout=600, check=False)
        if done.returncode != 0:
            raise SystemExit(f"bench-load {words}: {done.stdout.decode()} {done.stderr.decode()}")
        return json.loads(done.stdout)

    def cost(self, peer, words, figure):
        """Of one row."""
        words = [words[0], words[1], self.scaled(words), *words[3:]]
        before = peer.cpu()
        result = self.load(peer.listen, *words)
        cpu = peer.cpu() - before
        if words[0] in ("up", "down"):
            cpu *= GIB / words[2]
        return figure(cpu, result)

    def open_idle(self, peer, sessions):
        """A process that holds that many; it ends when its stdin does."""
        load = subprocess.Popen([*self.load_cpu, f"{self.arguments.build}/bench-load",
                                 str(peer.listen), "idle", str(sessions)],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        result = json.loads(load.stdout.readline())
        if result["failed"] > 0:
            raise SystemExit(f"{result['failed']} idle sessions failed")
        return load

    def idle(self, peer, sessions):
        """PSS of each idle session."""
        self.load(peer.listen, "connect", 16, 200)
        time.sleep(0.3)
        before = peer.pss()
        load = self.open_idle(peer, sessions)
        time.sleep(2.0)
        cost = (peer.pss() - before) / sessions
        load.stdin.close()
        load.wait()
        return cost

    def rows(self, kind):
        """One round with one peer: its figure of each row."""
        peer = self.start(kind)
        figures = {}
        try:
            self.load(peer.listen, "connect", 4, 50)  # warm: caches, tickets
            for name, words, _, figure, _ in ROWS:
                if self.arguments.only and not name.startswith(tuple(self.arguments.only)):
                    continue
                figures[name] = self.cost(peer, words, figure)
            if not self.arguments.only or "idle" in self.arguments.only:
                figures[IDLE[0]] = self.idle(peer, IDLE_SESSIONS)
        finally:
            peer.stop()
        if kind is peers.Esclusa and not self.arguments.only:
            figures.update(self.warm_rows())
        return figures

    def warm_rows(self):
        peer = self.start(type("Warm", (peers.Esclusa,),
                               {"options": (*peers.Esclusa.options, *WARM_OPTIONS)}))
        try:
            time.sleep(1)  # the pool fills
            return {f"{name}, warm": self.cost(peer, words, figure)
                    for name, words, _, figure, _ in WARM}
        finally:
            peer.stop()

    def scaled(self, words):
        amount = words[2] * self.arguments.scale
        return max(1, int(amount)) if words[0] != "ping" else max(1, round(amount))

    def end(self):
        if self.upstream is not None:
            self.upstream.stdin.close()
            self.upstream.wait()


GROWTH = (0, 5000, 9000)
WORKERS = (1, 2)
WORKERS_ROWS = ("up 16", "ping 64, CPU", "connect 16, CPU")


def idle_growth(bench, rounds):
    """What a ping costs while others rest, and what those that rest cost."""
    print("| idle sessions | ping, p50 us | of that with none | CPU of idle, ms per s |")
    print("|---|---|---|---|")
    first = None
    for count in GROWTH:
        peer = bench.start(peers.Esclusa)
        load = None
        try:
            if count > 0:
                load = bench.open_idle(peer, count)
            time.sleep(2)
            before = peer.cpu()
            time.sleep(5)
            idle = (peer.cpu() - before) * 1000 / 5
            p50 = statistics.median(bench.load(peer.listen, "ping", 1, 3)["p50_us"]
                                    for _ in range(rounds))
        finally:
            if load is not None:
                load.stdin.close()
                load.wait()
            peer.stop()
        first = first or p50
        print(f"| {count} | {p50:.0f} | {p50 / first:.2f} | {idle:.1f} |")


def workers(bench, rounds):
    """One worker against two; neither the gateway nor its load can have a CPU of its own here."""
    bench.gateway_cpu = bench.load_cpu = []
    rows = [row for row in ROWS if row[0] in WORKERS_ROWS]
    figures = {}
    for _ in range(rounds):
        for count in WORKERS:
            peers.Esclusa.workers = count
            peer = bench.start(peers.Esclusa)
            try:
                bench.load(peer.listen, "connect", 4, 50)
                for name, words, _, figure, _ in rows:
                    cost = bench.cost(peer, words, figure)
                    figures.setdefault((name, count), []).append(cost)
            finally:
                peer.stop()
    print("| work | unit | " + " | ".join(f"workers {count}" for count in WORKERS) + " |")
    print("|---|---|" + "---|" * len(WORKERS))
    for name, _, unit, _, _ in rows:
        cells = [f"{statistics.median(figures[name, count]):.3g}" for count in WORKERS]
        print(f"| {name} | {unit} | {' | '.join(cells)} |")


def medians(rounds):
    return {name: statistics.median(r[name] for r in rounds) for name in rounds[0]}


def print_table(figures):
    """A table in Markdown: a row a work, a column a gateway, and the ratio to the best peer."""
    names = list(figures)
    others = [name for name in names if name != "esclusa"]
    print(f"| work | unit | {' | '.join(names)} | esclusa / best peer | goal |")
    print("|---|---|" + "---|" * (len(names) + 2))
    for row in [*((r[0], r[2], r[4]) for r in ROWS), (*IDLE, None)]:
        work, unit, goal = row
        if work not in figures["esclusa"]:
            continue
        cells = [f"{figures[name][work]:.3g}" for name in names]
        ratio, verdict = "", "16 KiB" if goal is None else f"{goal:g}"
        if others:
            best = min(figures[name][work] for name in others)
            ratio = f"{figures['esclusa'][work] / best:.2f}"
        print(f"| {work} | {unit} | {' | '.join(cells)} | {ratio} | {verdict} |")
    for work, _, unit, _, _ in WARM:
        warm = figures["esclusa"].get(f"{work}, warm")
        if warm is not None and others:
            best = min(figures[name][work] for name in others)
            print(f"| {work}, warm | {unit} | {warm:.3g} |{' |' * len(others)} {warm / best:.2f} "
                  f"| {WARM_GOAL:g} |")


def print_machine():
    versions = []
    for words in (["nginx", "-v"], ["haproxy", "-v"], ["stunnel4", "-version"],
                  ["ghostunnel", "--version"], ["openssl", "version"]):
        if shutil.which(words[0]):
            done = subprocess.run(words, capture_output=True, check=False)
            versions.append((done.stdout + done.stderr).decode().splitlines()[0])
    print(f"{platform.release()}, {os.cpu_count()} CPUs; " + "; ".join(versions) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", required=True, help="where esclusa and bench-load are")
    parser.add_argument("--certs", required=True)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--scale", type=float, default=1.0, help="of the amounts of work")
    parser.add_argument("--peers", nargs="*", help="default: all that are installed")
    parser.add_argument("--only", nargs="*", help="rows that begin so")
    parser.add_argument("--options", default="", help="more options for esclusa")
    parser.add_argument("--idle-growth", action="store_true",
                        help="a table of what a ping costs beside 0, 5,000 and 9,000 idle sessions")
    parser.add_argument("--workers", action="store_true", help="a table of one worker and two")
    arguments = parser.parse_args()
    peers.Esclusa.binary = f"{arguments.build}/esclusa"
    peers.Esclusa.options = arguments.options.split()
    kinds = [peers.Esclusa]
    for kind in peers.ALL:
        name = kind.__name__.lower()
        if arguments.peers is not None and name not in arguments.peers:
            continue
        if shutil.which(name) or shutil.which(name + "4"):
            kinds.append(kind)
    with tempfile.TemporaryDirectory(prefix="esclusa-bench-") as directory:
        bench = Bench(arguments, directory)
        try:
            bench.start_upstream()
            if arguments.idle_growth:
                idle_growth(bench, arguments.rounds)
            if arguments.workers:
                workers(bench, arguments.rounds)
            if arguments.idle_growth or arguments.workers:
                return
            rounds = {kind.__name__.lower(): [] for kind in kinds}
            for number in range(arguments.rounds):
                for kind in kinds:
                    print(f"round {number + 1}: {kind.__name__}", file=sys.stderr)
                    rounds[kind.__name__.lower()].append(bench.rows(kind))
            print_machine()
            print_table({name: medians(each) for name, each in rounds.items()})
        finally:
            bench.end()


if __name__ == "__main__":
    main()
