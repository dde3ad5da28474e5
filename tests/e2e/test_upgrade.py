"""SIGUSR2: the program started anew with the same listening sockets, and nobody notices."""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import unittest

from harness import CERTS, ESCLUSA, SANITIZED, SCALE, STEP, Case, accepts, free_port, until
from peers import Upstream, connect, echo, server_context
from test_activation import HandedOver
from test_reload import ConfigGateway, ask, service, services

PR_SET_CHILD_SUBREAPER = 36


class Upgraded(ConfigGateway):
    """Follows from one process to the next. They become children of this one when theirs ends."""

    def __init__(self, directory, text, program=ESCLUSA, prefix=(), pass_fds=()):
        self.directory = directory
        self.file = os.path.join(directory, "gateway.cfg")
        self.log_path = os.path.join(directory, "log")
        self._parsed, self._offset, self.stray, self._claimed = [], 0, [], set()
        self.write(text)
        self.command = [*prefix, program, "--config", self.file, "--log-format", "json"]
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, pass_fds=pass_fds)
        self.pid, self.first = self.process.pid, self.process.pid
        self.pids = [self.pid]
        until(lambda: self.process.poll() is not None or self.count("listening"),
              what="the gateway to listen")
        if self.process.poll() is not None:
            raise AssertionError(self.log_text())

    def count(self, event):
        return sum(line["event"] == event for line in self.lines())

    def signal(self, number):
        os.kill(self.pid, number)

    def upgrade(self):
        """The new process' pid; the old one drains."""
        before = self.count("upgraded")
        self.signal(signal.SIGUSR2)
        until(lambda: self.count("upgraded") > before, what="upgraded, of\n" + self.log_text())
        self.pid = [line for line in self.lines() if line["event"] == "upgraded"][-1]["pid"]
        self.pids.append(self.pid)
        return self.pid

    def refused(self):
        """The line that says why."""
        before = self.count("upgrade_failed")
        self.signal(signal.SIGUSR2)
        until(lambda: self.count("upgrade_failed") > before, what="upgrade_failed")
        return [line for line in self.lines() if line["event"] == "upgrade_failed"][-1]

    def ended(self, pid):
        """Exit status; None: not yet."""
        if pid == self.first:
            return self.process.poll()
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                zombie = file.read().rsplit(")", 1)[1].split()[0] == "Z"
        except OSError:
            return 0  # reaped by whoever was its parent
        if not zombie:
            return None
        try:
            return os.waitstatus_to_exitcode(os.waitpid(pid, os.WNOHANG)[1])
        except ChildProcessError:
            return None

    def wait_ended(self, pid):
        until(lambda: self.ended(pid) is not None, what=f"process {pid} to end")

    def stop(self):
        if not os.path.exists(self.directory):
            return  # stopped already
        try:
            for pid in reversed(self.pids):
                if self.ended(pid) is None:
                    os.kill(pid, signal.SIGTERM)
            for pid in self.pids:
                status = []
                until(lambda: status.append(self.ended(pid)) or status[-1] is not None,
                      what=f"process {pid} to end:\n{self.log_text()[-4000:]}")
                assert status[-1] == 0, f"exit {status[-1]}:\n{self.log_text()[-4000:]}"
            self.lines()
            stray = [line for line in self.stray if not line.startswith("esclusa: ")]
            assert not stray, "not log lines:\n" + "\n".join(stray[:200])
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)


class Load:
    """Consumers at a steady rate, each a short exchange, until it is told to end."""

    def __init__(self, address, rate):
        self._address, self._pause = address, 1 / rate
        self._over = threading.Event()
        self.done, self.refused, self.cut = 0, 0, []
        self._lock, self._busy = threading.Lock(), []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _one(self):
        try:
            with socket.socket() as consumer:
                consumer.settimeout(STEP)
                consumer.connect(self._address)
                consumer.sendall(b"hello, and goodbye")
                consumer.shutdown(socket.SHUT_WR)
                got = b""
                while data := consumer.recv(100):
                    got += data
            if got != b"hello, and goodbye":
                raise ConnectionError(f"got {got!r}")
            with self._lock:
                self.done += 1
        except ConnectionRefusedError:
            with self._lock:
                self.refused += 1
        except OSError as why:
            with self._lock:
                self.cut.append(repr(why))

    def _run(self):
        due = time.monotonic()
        while not self._over.is_set():
            one = threading.Thread(target=self._one, daemon=True)
            one.start()
            self._busy.append(one)
            due += self._pause
            time.sleep(max(0, due - time.monotonic()))

    def end(self):
        self._over.set()
        self._thread.join(STEP)
        for one in self._busy:
            one.join(STEP)


def descriptors_of(pid):
    """What is open there, but for numbers that differ from process to process."""
    kinds = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        target = os.readlink(f"/proc/{pid}/fd/{name}")
        kinds.append(os.path.basename(target.split(":[")[0]))
    return sorted(kinds)


class Upgrade(Case):
    @classmethod
    def setUpClass(cls):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def setUp(self):
        self.ca = f'ca = "{CERTS}/ca.pem"; server_name = "localhost";'
        self.upstream = self.closing(Upstream(echo, server_context()))
        self.port = free_port()
        self.address = ("127.0.0.1", self.port)

    def one(self, *lines, name="one", port=None):
        return service(name, port or self.port, self.upstream.url(), self.ca, *lines)

    def start(self, text, **settings):
        gateway = Upgraded(self.scratch(), "drain_timeout = \"1s\";\n" + text, **settings)
        self.addCleanup(gateway.stop)
        return gateway

    def held(self, address=None):
        consumer = self.closing(connect(address or self.address))
        self.exchange(consumer)
        return consumer

    def exchange(self, consumer):
        consumer.send(b"still")
        self.assertEqual(consumer.read_exactly(5), b"still")

    def test_under_load(self):
        """Three upgrades in a row at 200 connections a second: none refused, none cut, and long
        sessions outlive the process that they began in having been replaced."""
        gateway = self.start(services(self.one()))
        before = gateway.descriptors()
        load = Load(self.address, 50 if SANITIZED else 200)
        holders = []
        for _ in range(3):
            holders += [self.held() for _ in range(5)]
            done = load.done
            gateway.upgrade()
            until(lambda done=done: load.done > done + 200 * SCALE, what="the load to go on")
        for consumer in holders:
            self.exchange(consumer)
        load.end()
        self.assertGreater(load.done, 600 * SCALE)
        self.assertEqual((load.refused, load.cut), (0, []))
        self.assertEqual([gateway.ended(pid) for pid in gateway.pids], [None] * 4)
        for consumer in holders:
            consumer.close()
        for pid in gateway.pids[:-1]:
            gateway.wait_ended(pid)
        until(lambda: gateway.descriptors() == before, what="as many descriptors as at first")
        reasons = {line["reason"] for line in gateway.sessions()}
        self.assertLessEqual(reasons, {"done", "cut_after_end", "consumer_reset"})

    def test_a_configuration_that_is_wrong(self):
        good = services(self.one())
        gateway = self.start(good)
        consumer = self.held()
        gateway.write("services = ( {")
        line = gateway.refused()
        self.assertIn("gateway.cfg:1", line["error"])
        taken = self.closing(socket.create_server(("127.0.0.1", 0)))
        gateway.write(services(self.one(), self.one(name="two", port=taken.getsockname()[1])))
        self.assertIn("listens there", gateway.refused()["error"])
        self.exchange(consumer)
        self.held().close()
        gateway.write(good)
        gateway.reload()  # the old one has not been harmed
        gateway.upgrade()
        self.exchange(consumer)
        self.held().close()

    def test_another_binary(self):
        directory = self.scratch()
        program = os.path.join(directory, "esclusa")
        shutil.copy(ESCLUSA, program)
        gateway = self.start('upgrade_timeout = "3s";\n' + services(self.one()), program=program)
        consumer = self.held()

        def replace(source, mode=0o755):
            fresh = program + ".new"
            if os.path.exists(source):
                shutil.copyfile(source, fresh)
            else:
                with open(fresh, "w", encoding="ascii") as file:
                    file.write(source)
            os.chmod(fresh, mode)
            os.rename(fresh, program)

        os.unlink(program)
        self.assertIn("No such file", gateway.refused()["error"])
        replace("#!/bin/sh\nexit 3\n")
        self.assertIn("did not say why", gateway.refused()["error"])
        replace("#!/bin/sh\nexec sleep 9\n")
        self.assertIn("upgrade_timeout (3s)", gateway.refused()["error"])
        replace(ESCLUSA, mode=0o644)
        self.assertIn("Permission denied", gateway.refused()["error"])
        self.exchange(consumer)
        self.held().close()
        replace(ESCLUSA)
        pid = gateway.upgrade()
        self.assertTrue(os.path.samefile(f"/proc/{pid}/exe", program))
        self.exchange(consumer)
        self.held().close()

    def test_a_link_to_the_version_in_use(self):
        directory = self.scratch()
        for version in ("1", "2"):
            shutil.copy(ESCLUSA, os.path.join(directory, version))
        program = os.path.join(directory, "esclusa")
        os.symlink("1", program)
        gateway = self.start(services(self.one()), program=program)
        os.unlink(program)
        os.symlink("2", program)
        pid = gateway.upgrade()
        self.assertEqual(os.path.basename(os.readlink(f"/proc/{pid}/exe")), "2")

    def test_descriptors_of_the_new_one(self):
        """As a fresh one has, whatever the old one had from its starter or its consumers."""
        stray = self.closing(open(os.path.join(CERTS, "ca.pem"), "rb"))
        fresh = self.start(services(self.one(port=free_port())))
        gateway = self.start(services(self.one()), pass_fds=[stray.fileno()])
        consumers = [self.held() for _ in range(5)]
        self.assertIn("ca.pem", descriptors_of(gateway.pid))
        pid = gateway.upgrade()
        until(lambda: descriptors_of(pid) == descriptors_of(fresh.pid),
              what=f"{descriptors_of(pid)} to be {descriptors_of(fresh.pid)}")
        self.exchange(consumers[0])

    def test_listeners_that_come_and_go(self):
        directory = self.scratch()
        paths = [os.path.join(directory, name) for name in ("stays", "goes", "comes")]
        name = f"esclusa-test-{os.getpid()}"

        def listening(*addresses):
            listed = ", ".join(f'"{address}"' for address in addresses)
            return services(f'{{ name = "one"; listen = [ {listed} ]; '
                            f'connect = "{self.upstream.url()}"; {self.ca} }}')

        gone, comes = free_port(), free_port()
        # In other words than below, but the same: where localhost is [::1] first it would not be.
        gateway = self.start(listening(f"{self.port}", f"127.0.0.1:{gone}",
                                       f"unix:{paths[0]}", f"unix:{paths[1]}", f"unix:@{name}"))
        addresses = [self.address, ("127.0.0.1", gone), paths[0], paths[1], "\0" + name]
        holders = [self.held(address) for address in addresses]
        gateway.write(listening(f"127.0.0.1:{self.port}", f"127.0.0.1:{comes}",
                                f"unix:{paths[0]}", f"unix:{paths[2]}", f"unix:@{name}"))
        inode = os.stat(paths[0]).st_ino
        first, pid = gateway.pid, gateway.upgrade()
        for address in (self.address, ("127.0.0.1", comes), paths[0], paths[2], "\0" + name):
            self.held(address).close()
        until(lambda: not accepts(gone), what="the listener that went to be closed")
        until(lambda: not os.path.exists(paths[1]), what="the path that went to go")
        for consumer in holders:
            self.exchange(consumer)
            consumer.close()
        gateway.wait_ended(first)
        self.assertEqual(os.stat(paths[0]).st_ino, inode)
        self.held(paths[0]).close()
        os.kill(pid, signal.SIGTERM)
        gateway.wait_ended(pid)
        self.assertEqual(os.listdir(directory), [])

    def test_stop_of_one_that_was_replaced(self):
        """It has an hour, unless it is told to stop, as by systemctl stop; a second time, now."""
        for times, reason in ((1, "drain_deadline"), (2, "shutdown")):
            with self.subTest(times=times):
                gateway = self.start(services(self.one()))
                consumer = self.held()
                first = gateway.pid
                gateway.upgrade()
                time.sleep(1.2)  # longer than drain_timeout
                self.exchange(consumer)
                for n in range(times):
                    event = ("draining", "stopping_now")[n]
                    os.kill(first, signal.SIGTERM)
                    gateway.wait_log(lambda line, event=event: line["event"] == event)
                gateway.wait_ended(first)
                self.assertEqual([line["reason"] for line in gateway.sessions()], [reason])
                self.held().close()
                gateway.stop()

    def test_stop_while_the_new_one_starts(self):
        directory = self.scratch()
        program = os.path.join(directory, "esclusa")
        shutil.copy(ESCLUSA, program)
        gateway = self.start(services(self.one()), program=program)
        os.unlink(program)
        with open(program, "w", encoding="ascii") as file:
            file.write(f'#!/bin/sh\nsleep 1\nexec {ESCLUSA} "$@"\n')
        os.chmod(program, 0o755)
        gateway.signal(signal.SIGUSR2)
        starting = gateway.wait_log(lambda line: line["event"] == "upgrading")
        gateway.pids.append(starting["pid"])
        gateway.signal(signal.SIGTERM)
        gateway.wait_ended(gateway.first)
        self.assertEqual(gateway.count("upgrade_failed"), 1)
        gateway.wait_ended(starting["pid"])  # it came, and learnt that nobody waits
        self.assertFalse(accepts(self.port))

    def test_other_signals_meanwhile(self):
        directory = self.scratch()
        program = os.path.join(directory, "esclusa")
        shutil.copy(ESCLUSA, program)
        gateway = self.start(services(self.one()), program=program)
        consumer = self.held()
        os.unlink(program)
        with open(program, "w", encoding="ascii") as file:
            file.write("#!/bin/sh\nsleep 1\nexit 1\n")
        os.chmod(program, 0o755)
        gateway.signal(signal.SIGUSR2)
        gateway.wait_log(lambda line: line["event"] == "upgrading")
        gateway.signal(signal.SIGUSR2)
        gateway.wait_log(lambda line: "one is being started" in line.get("message", ""))
        gateway.signal(signal.SIGHUP)
        gateway.wait_log(lambda line: line["event"] == "upgrade_failed")
        gateway.wait_log(lambda line: line["event"] == "reloaded")
        events = [line["event"] for line in gateway.lines()]
        self.assertLess(events.index("upgrade_failed"), events.index("reloaded"), "put off")
        os.unlink(program)
        shutil.copy(ESCLUSA, program)
        first, _ = gateway.pid, gateway.upgrade()
        os.kill(first, signal.SIGHUP)
        gateway.wait_log(lambda line: "stopping" in line.get("message", ""))
        os.kill(first, signal.SIGUSR2)
        until(lambda: gateway.count("upgrade") == 2, what="the second to be ignored")
        self.exchange(consumer)

    def test_crash_of_the_old_one_meanwhile(self):
        """Killed before it could let go: the new one goes on."""
        directory = self.scratch()
        program = os.path.join(directory, "esclusa")
        shutil.copy(ESCLUSA, program)
        gateway = self.start(services(self.one()), program=program)
        os.unlink(program)
        with open(program, "w", encoding="ascii") as file:
            file.write(f'#!/bin/sh\nsleep 1\nexec {ESCLUSA} "$@"\n')
        os.chmod(program, 0o755)
        gateway.signal(signal.SIGUSR2)
        starting = gateway.wait_log(lambda line: line["event"] == "upgrading")["pid"]
        gateway.signal(signal.SIGKILL)
        gateway.wait_ended(gateway.first)
        gateway.pids, gateway.pid = [starting], starting
        until(lambda: accepts(self.port), what="the new one to serve")
        self.held().close()

    def test_sockets_of_systemd(self):
        """They keep their names from one to the next, also one that no listener was for."""
        sockets = [("web", self.closing(socket.create_server(("127.0.0.1", 0)))),
                   ("later", self.closing(socket.create_server(("127.0.0.1", 0))))]

        class Both(HandedOver):
            _address = staticmethod(lambda text: text)
            write, count, upgrade = ConfigGateway.write, Upgraded.count, Upgraded.upgrade
            ended, wait_ended, stop = Upgraded.ended, Upgraded.wait_ended, Upgraded.stop
            signal = Upgraded.signal

            def __init__(self, directory, text):
                self.file = os.path.join(directory, "gateway.cfg")
                self.write(text)
                super().__init__(sockets, "--config", self.file)
                self.first, self.pids = self.pid, [self.pid]

        text = services(self.one().replace(f"127.0.0.1:{self.port}", "systemd:web"))
        gateway = Both(self.scratch(), text)
        self.addCleanup(gateway.stop)
        for _ in range(2):
            first = gateway.pid
            gateway.upgrade()
            gateway.wait_ended(first)
            self.held(sockets[0][1].getsockname()).close()
        gateway.write(text.replace("systemd:web", "systemd:later"))
        gateway.upgrade()
        self.held(sockets[1][1].getsockname()).close()


if __name__ == "__main__":
    unittest.main()
