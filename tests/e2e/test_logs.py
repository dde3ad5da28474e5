"""Where lines go: a file that is rotated, syslog, a reader that has stopped; and which come at all."""

import json
import os
import signal
import socket
import subprocess
import threading
import time
import unittest

from harness import ESCLUSA, OBSERVED, SANITIZED, STEP, Case, accepts, end_process, free_port, until
from peers import Upstream, connect, echo


class Logs(Case):
    def setUp(self):
        self.upstream = self.closing(Upstream(echo))
        self.url = self.upstream.url()
        self.port = free_port()

    def start(self, *options, stderr=subprocess.DEVNULL, level="info"):
        process = subprocess.Popen(
            [ESCLUSA, "--listen", str(self.port), "--connect", self.url, "--log-format", "json",
             "--log-level", level, *OBSERVED, *options], stderr=stderr)
        self.addCleanup(end_process, process)
        until(lambda: accepts(self.port), what="the gateway to listen")
        return process

    def session(self):
        consumer = connect(("127.0.0.1", self.port))
        consumer.send(b"x")
        self.assertEqual(consumer.read_exactly(1), b"x")
        consumer.end()
        consumer.read_all()
        consumer.close()

    @staticmethod
    def lines(path, event="session"):
        if not os.path.exists(path):
            return []
        with open(path, encoding="utf-8") as log:
            return [line for line in map(json.loads, log.read().splitlines())
                    if line["event"] == event and line.get("reason") != "probe"]


class Files(Logs):
    def test_rotation_under_load(self):
        """Renamed, then SIGUSR1, again and again: each line in one of the files, once."""
        directory = self.scratch()
        path = f"{directory}/log"
        process = self.start("--log-to", f"file:{path}")
        halt, done = threading.Event(), [0]

        def load():
            while not halt.is_set():
                self.session()
                done[0] += 1
                time.sleep(0.002)  # else a slow machine would use all ports up

        thread = threading.Thread(target=load)
        thread.start()
        rounds = 5
        for number in range(rounds):
            before = done[0]
            until(lambda before=before: done[0] > before + 5, what="some sessions")
            os.rename(path, f"{path}.{number}")
            process.send_signal(signal.SIGUSR1)
            until(lambda: os.path.exists(path), what="the new file")
        halt.set()
        thread.join()
        self.assertTrue(end_process(process))
        self.assertEqual(process.returncode, 0)
        found = []
        for name in [path, *(f"{path}.{number}" for number in range(rounds))]:
            found += [line["id"] for line in self.lines(name)]
        self.assertEqual(len(found), len(set(found)))
        self.assertEqual(len(found), done[0])
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o640)

    def test_a_file_that_cannot_be_opened_again(self):
        """It is said, with what would do, in the old one, which goes on."""
        directory = self.scratch()
        path = f"{directory}/log"
        process = self.start("--log-to", f"file:{path}")
        os.rename(path, f"{path}.1")
        os.mkdir(path)
        process.send_signal(signal.SIGUSR1)
        line = until(lambda: self.lines(f"{path}.1", "log_reopen_failed"), what="the line")[0]
        self.assertIn("SIGUSR1", line["remedy"])
        self.session()
        until(lambda: self.lines(f"{path}.1"), what="the session")
        os.rmdir(path)
        process.send_signal(signal.SIGUSR1)
        until(lambda: os.path.exists(path), what="the new file")

    def test_places_that_are_wrong(self):
        for place, error in (("file:log", "whole path"), ("nowhere", "none of stderr, file:PATH"),
                             ("file:/no/such/directory/log", "No such file"),
                             ("syslog:/no/such/socket", "No such file")):
            got = subprocess.run(
                [ESCLUSA, "--listen", str(self.port), "--connect", self.url, "--log-to", place],
                capture_output=True, text=True, timeout=STEP, check=False)
            self.assertNotEqual(got.returncode, 0, place)
            self.assertIn(error, got.stderr)
            self.assertEqual(len(got.stderr.splitlines()), 1, got.stderr)


class Syslog(Logs):
    def test_lines(self):
        path = f"{self.scratch()}/log"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
            server.bind(path)
            server.settimeout(STEP)
            process = self.start("--log-to", f"syslog:{path}")
            self.session()
            while b'"reason":"done"' not in (packet := server.recv(8192)):
                pass
            self.assertRegex(packet.decode(), r"^<30>[A-Z][a-z]{2} [ 1-3]\d \d\d:\d\d:\d\d esclusa\["
                             + str(process.pid) + r"\]: \{")


class Readers(Logs):
    def test_one_that_has_stopped(self):
        """Sessions go on as fast, what is lost is counted, and the end does not wait."""
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        process = self.start("--admin", f"unix:{self.scratch()}/admin", stderr=writer,
                             level="debug")
        os.close(writer)
        took = []
        for _ in range(100):
            began = time.monotonic()
            self.session()
            took.append(time.monotonic() - began)
        # Probes are quick to make, and are lines at this level.
        for _ in range(500 if SANITIZED else 6000):
            connect(("127.0.0.1", self.port)).close()
        after = []
        for _ in range(100):
            began = time.monotonic()
            self.session()
            after.append(time.monotonic() - began)
        self.assertLess(sorted(after)[50], 10 * sorted(took)[50] + 0.05)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(STEP), 0)
        self.assertGreater(time.monotonic() - began, 0.9)  # it has tried for a second
        self.assertLess(time.monotonic() - began, STEP)


class Which(Logs):
    def refuse(self):
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            return f"tcp://127.0.0.1:{closed.getsockname()[1]}"

    def test_rate(self):
        """Ten of a kind a second; the next one tells of the rest."""
        gateway = self.gateway(self.refuse(), log_rate="10")
        for _ in range(60):
            consumer = connect(gateway.address)
            consumer.offer(b"x")
            consumer.read_all()
            consumer.close()
        time.sleep(1.1)
        consumer = connect(gateway.address)
        consumer.offer(b"x")
        consumer.read_all()
        consumer.close()

        def shown():
            return [line for line in gateway.sessions() if line["reason"] == "connect_failed"]

        until(lambda: len(shown()) + sum(line.get("left_out", 0) for line in shown()) == 61,
              what="all 61, shown or told of")
        self.assertLess(len(shown()), 45)
        self.assertGreaterEqual(len(shown()), 11)

    def test_only_those_that_failed(self):
        gateway = self.gateway(self.upstream.url(), "--log-sessions", "failed", "--max-lifetime",
                               "0")
        consumer = connect(gateway.address)
        consumer.send(b"x")
        self.assertEqual(consumer.read_exactly(1), b"x")
        consumer.end()
        consumer.read_all()
        consumer.close()
        gateway.signal(signal.SIGHUP)
        gateway.wait_log(lambda line: line["event"] == "reloaded")
        self.assertEqual(gateway.sessions(), [])

    def test_none(self):
        gateway = self.gateway(self.refuse(), "--log-sessions", "none")
        consumer = connect(gateway.address)
        consumer.offer(b"x")
        consumer.read_all()
        consumer.close()
        gateway.signal(signal.SIGHUP)
        gateway.wait_log(lambda line: line["event"] == "reloaded")
        self.assertEqual(gateway.sessions(), [])


if __name__ == "__main__":
    unittest.main()
