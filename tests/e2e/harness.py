"""What the end-to-end tests share: the gateway as a process, its log, its cost, and other programs.

Each test file runs alone, or under ctest, which sets ESCLUSA (the binary), CERTS (a directory made
by certs/make-certs.sh), TLS_PEER (the C helper) and SANITIZED=1 for sanitizer builds.
"""

import errno
import glob
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

ESCLUSA = os.environ.get("ESCLUSA", "build/dev/esclusa")
CERTS = os.environ.get("CERTS", "build/dev/tests/certs")
TLS_PEER = os.environ.get("TLS_PEER", "build/dev/tests/e2e_tls_peer")
SANITIZED = os.environ.get("SANITIZED", "") == "1"
# Part of the full load that the heavy tests run with.
SCALE = float(os.environ.get("E2E_SCALE", "0.1" if SANITIZED else "1"))
# No wait here is unbounded; this is the bound of one step, wide enough for a busy machine.
STEP = 60.0 if SANITIZED else 20.0


def certificate(name):
    return os.path.join(CERTS, name + ".pem")


def key(name):
    return os.path.join(CERTS, name + ".key")


GIVEN_PORTS = set()


def free_port(host="127.0.0.1"):
    """A port free now, and never the same twice. Below the ephemeral range, so that no outgoing
    connection takes it before its user binds it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(200):
        port = random.SystemRandom().randrange(12000, 32000)
        if port in GIVEN_PORTS:
            continue
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            try:
                probe.bind((host, port))
                GIVEN_PORTS.add(port)
                return port
            except OSError as why:
                if why.errno != errno.EADDRINUSE:
                    raise
    raise RuntimeError("no free port found")


def until(condition, timeout=STEP, what="condition"):
    """Polls until condition() is true and returns what it gave."""
    deadline = time.monotonic() + timeout
    pause = 0.002
    while True:
        got = condition()
        if got:
            return got
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s in vain: {what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def end_process(process, how=signal.SIGTERM, grace=10.0):
    """Signals one process and waits; kills it after the grace. True: it ended by itself."""
    if process.poll() is None:
        process.send_signal(how)
    try:
        process.wait(grace)
        return True
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False


# The process is not dumpable, and only root may then look at its descriptors: proc(5).
OBSERVED = () if os.geteuid() == 0 else ("--core-dumps", "true")


class Gateway:
    """One running esclusa. Its log, JSON lines on stderr, goes to a file read by the tests."""

    def __init__(self, connect, *options, listen=None, scheme="tcp", level="info",
                 drain="1s", prefix=(), log_rate="0"):
        self.directory = tempfile.mkdtemp(prefix="esclusa-e2e-")
        self.log_path = os.path.join(self.directory, "log")
        self._parsed, self._offset, self.stray, self._claimed = [], 0, [], set()
        upstreams = [connect] if isinstance(connect, str) else list(connect)
        for attempt in range(5):
            self.listen = self._listeners(listen, scheme)
            self.command = [*prefix, ESCLUSA]
            for address in self.listen:
                self.command += ["--listen", address]
            for address in upstreams:
                self.command += ["--connect", address]
            self.command += ["--log-format", "json", "--log-level", level]
            # Tests count lines: none is left out.
            self.command += ["--drain-timeout", drain, "--log-rate", log_rate, *OBSERVED,
                             *map(str, options)]
            if self._start(len(self.listen)):
                break
            if listen is not None or attempt == 4 or "listens there" not in self.log_text():
                said = self.log_text()
                shutil.rmtree(self.directory, ignore_errors=True)
                raise AssertionError(f"{' '.join(self.command)}\ndid not start: {said}")
        self.address = self._address(self.listen[0])

    @staticmethod
    def _listeners(listen, scheme):
        if listen is None:
            return [f"{scheme}://127.0.0.1:{free_port()}"]
        return [listen] if isinstance(listen, str) else list(listen)

    @staticmethod
    def _address(text):
        """What socket.connect() takes."""
        rest = text.split("://", 1)[-1]
        if rest.startswith("unix:"):
            path = rest[len("unix:"):]
            return "\0" + path[1:] if path.startswith("@") else path
        host, _, port = rest.rpartition(":")
        return (host.strip("[]"), int(port))

    def _start(self, listeners):
        self._parsed, self._offset, self.stray = [], 0, []
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.pid = self.process.pid

        def up():
            if self.process.poll() is not None:
                return True
            return sum(line.get("event") == "listening" for line in self.lines()) >= listeners

        try:
            until(up, what="the gateway to listen")
        except AssertionError:
            end_process(self.process, signal.SIGKILL)
            return False
        return self.process.poll() is None

    # ---- its log ----

    def log_text(self):
        with open(self.log_path, encoding="utf-8", errors="backslashreplace") as log:
            return log.read()

    def lines(self):
        """Every log line so far, as dictionaries. What is not JSON lands in self.stray."""
        with open(self.log_path, "rb") as log:
            log.seek(self._offset)
            fresh = log.read()
        whole = fresh[:fresh.rfind(b"\n") + 1]
        self._offset += len(whole)
        for text in whole.splitlines():
            try:
                self._parsed.append(json.loads(text.decode("utf-8")))
            except ValueError:
                self.stray.append(text.decode("utf-8", "backslashreplace"))
        return self._parsed

    def wait_log(self, predicate, timeout=STEP, what="a log line"):
        def find():
            return next((line for line in self.lines() if predicate(line)), None)

        try:
            return until(find, timeout, what)
        except AssertionError as why:
            raise AssertionError(f"{why}; the log:\n{self.log_text()[-4000:]}") from None

    def wait_session(self, consumer, timeout=STEP):
        """The line of the session of that consumer, "127.0.0.1:40000". The kernel gives a port
        again to a later consumer, so each line is handed out once."""
        line = self.wait_log(
            lambda line: (line.get("event") == "session" and line.get("consumer") == consumer
                          and line["id"] not in self._claimed),
            timeout, f"the session of {consumer}")
        self._claimed.add(line["id"])
        return line

    def sessions(self):
        return [line for line in self.lines() if line.get("event") == "session"]

    # ---- its cost ----

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def memory(self):
        """Resident bytes."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            for line in status:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")

    def wakeups(self):
        """How often its threads began to wait, which is how often they woke; proc(5)."""
        total = 0
        for path in glob.glob(f"/proc/{self.pid}/task/*/status"):
            with open(path, encoding="ascii") as status:
                total += int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status.read(), re.M)[1])
        return total

    def cpu(self):
        """Seconds of CPU its threads used; /proc/PID/stat counts in ticks of 10 ms, too coarse."""
        total = 0
        for path in glob.glob(f"/proc/{self.pid}/task/*/schedstat"):
            with open(path, encoding="ascii") as stat:
                total += int(stat.read().split()[0])
        return total / 1e9

    # ---- its end ----

    def signal(self, number):
        self.process.send_signal(number)

    def freeze(self):
        """Stops every thread of it; signal(SIGCONT) lets it go on. A signal takes its time."""
        def stopped():
            for path in glob.glob(f"/proc/{self.pid}/task/*/stat"):
                with open(path, encoding="ascii") as stat:
                    if stat.read().rsplit(")", 1)[1].split()[0] != "T":
                        return False
            return True

        self.signal(signal.SIGSTOP)
        until(stopped, what="every thread to stop")

    def wait_exit(self, timeout=STEP):
        return self.process.wait(timeout)

    def stop(self):
        """SIGTERM; must exit 0, and must not have written anything but its log."""
        try:
            ended = end_process(self.process, grace=STEP)
            self.lines()
            assert ended, f"did not end within {STEP:g} s of SIGTERM:\n{self.log_text()[-4000:]}"
            assert not self.stray, "not log lines:\n" + "\n".join(self.stray[:200])
            assert self.process.returncode == 0, (
                f"exit {self.process.returncode}:\n{self.log_text()[-4000:]}")
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)


class Program:
    """Another program, in the foreground, its output in a file; ended by its pid."""

    def __init__(self, *command, stdin=subprocess.DEVNULL, cwd=None):
        self.output_file = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            list(map(str, command)), stdin=stdin, stdout=self.output_file,
            stderr=subprocess.STDOUT, cwd=cwd)
        self.pid = self.process.pid

    def output(self):
        # pread: the descriptor's offset is shared with the program, and is where it writes.
        size = os.fstat(self.output_file.fileno()).st_size
        return os.pread(self.output_file.fileno(), size, 0).decode("utf-8", "backslashreplace")

    def wait_output(self, text, timeout=STEP):
        def found():
            if text in self.output():
                return True
            if self.process.poll() is not None and text not in self.output():
                raise AssertionError(f"{self.process.args[0]} ended early:\n{self.output()}")
            return False

        until(found, timeout, f"{text!r} from {self.process.args[0]}")

    def type(self, text):
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def stop(self):
        if self.process.stdin:
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                pass
        end_process(self.process)
        self.output_file.close()


def need(program):
    """The path of a program that a test cannot do without: never a silent skip."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if path is None:
        raise AssertionError(f"{program} is not installed: scripts/deps.sh installs it")
    return path


def accepts(port, host="127.0.0.1"):
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


class Case(unittest.TestCase):
    """Base of the tests: whatever it starts is ended with the test."""

    maxDiff = None

    def gateway(self, connect, *options, **settings):
        made = Gateway(connect, *options, **settings)
        self.addCleanup(made.stop)
        return made

    def program(self, *command, **settings):
        made = Program(*command, **settings)
        self.addCleanup(made.stop)
        return made

    def scratch(self):
        path = tempfile.mkdtemp(prefix="esclusa-e2e-")
        self.addCleanup(shutil.rmtree, path, ignore_errors=True)
        return path

    def closing(self, thing):
        self.addCleanup(thing.close)
        return thing
