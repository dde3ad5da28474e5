"""What the service manager is told, and when it is told no more."""

import ctypes
import os
import signal
import socket
import time
import unittest

from harness import CERTS, SANITIZED, STEP, Case, free_port, until
from peers import Upstream, connect, echo, server_context
from test_reload import service, services
from test_upgrade import PR_SET_CHILD_SUBREAPER, Upgraded

SO_PASSCRED, SCM_CREDENTIALS = 16, 2
PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207


class Manager:
    """Listens as systemd does: each message with the process that sent it."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_PASSCRED, 1)
        self.socket.setblocking(False)
        self.address = address.replace("\0", "@")
        self.said = []

    def hear(self):
        """All so far: (pid, {NAME: VALUE})."""
        while True:
            try:
                text, control, _, _ = self.socket.recvmsg(4096, 256)
            except BlockingIOError:
                return self.said
            pid = next(int.from_bytes(data[:4], "little") for _, kind, data in control
                       if kind == SCM_CREDENTIALS)
            self.said.append((pid, dict(line.split("=", 1) for line in
                                        text.decode("utf-8").splitlines())))

    def count(self, name, value="1"):
        return sum(message.get(name) == value for _, message in self.hear())

    def first(self, name, value="1", after=0):
        """The place of the first such message from there on."""
        def find():
            return next((n + 1 for n, (_, message) in enumerate(self.hear())
                         if n >= after and message.get(name) == value), None)
        return until(find, what=f"{name}={value}") - 1

    def close(self):
        self.socket.close()


class Notify(Case):
    def setUp(self):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.ca = f'ca = "{CERTS}/ca.pem"; server_name = "localhost";'
        self.upstream = self.closing(Upstream(echo, server_context()))
        self.port = free_port()
        self.text = services(service("one", self.port, self.upstream.url(), self.ca))
        self.manager = self.closing(Manager(os.path.join(self.scratch(), "notify")))

    def start(self, text=None, manager=None, watchdog=None, **settings):
        environment = [f"NOTIFY_SOCKET={(manager or self.manager).address}"]
        if watchdog:
            environment.append(f"WATCHDOG_USEC={int(watchdog * 1e6)}")
        gateway = Upgraded(self.scratch(), text or self.text, prefix=["env", *environment],
                           **settings)
        self.addCleanup(gateway.stop)
        return gateway

    def held(self):
        consumer = self.closing(connect(("127.0.0.1", self.port)))
        consumer.send(b"x")
        self.assertEqual(consumer.read_exactly(1), b"x")
        return consumer

    def test_life(self):
        gateway = self.start('drain_delay = "300ms"; drain_timeout = "4s";\n' + self.text)
        ready = self.manager.first("READY")
        pid, message = self.manager.said[ready]
        self.assertEqual((pid, message["MAINPID"]), (gateway.pid, str(gateway.pid)))
        self.assertEqual(message["STATUS"], "serving 1 services on 1 listeners, 0 sessions")

        began = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        gateway.reload()
        reloading = self.manager.first("RELOADING", after=ready + 1)
        self.assertGreaterEqual(int(self.manager.said[reloading][1]["MONOTONIC_USEC"]), began)
        again = self.manager.first("READY", after=reloading)
        self.assertNotIn("failed", self.manager.said[again][1]["STATUS"])

        gateway.write("services = ( {")
        gateway.reload("reload_failed")
        reloading = self.manager.first("RELOADING", after=again)
        failed = self.manager.first("READY", after=reloading)
        self.assertIn("the last reload failed: ", self.manager.said[failed][1]["STATUS"])

        consumer = self.held()
        gateway.signal(signal.SIGTERM)
        stopping = self.manager.said[self.manager.first("STOPPING", after=failed)][1]
        self.assertGreaterEqual(int(stopping["EXTEND_TIMEOUT_USEC"]), 4_300_000)
        self.assertLess(int(stopping["EXTEND_TIMEOUT_USEC"]), 20_000_000)
        self.assertEqual(stopping["STATUS"], "draining, 1 sessions")
        consumer.close()
        gateway.wait_ended(gateway.pid)
        self.assertEqual(self.manager.count("STOPPING"), 1)
        self.assertEqual({pid for pid, _ in self.manager.hear()}, {gateway.pid})

    def test_abstract_socket(self):
        manager = self.closing(Manager(f"\0esclusa-notify-{os.getpid()}"))
        self.start(manager=manager)
        manager.first("READY")

    def test_not_ready_when_it_does_not_start(self):
        with self.assertRaises(AssertionError):
            self.start("services = ( {")
        self.assertEqual(self.manager.hear(), [])

    def test_nobody_there(self):
        """It serves all the same, and says once what is wrong."""
        for address in ("/nowhere/at/all", "relative"):
            with self.subTest(address=address):
                self.manager.address = address
                gateway = self.start()
                self.held().close()
                line = gateway.wait_log(lambda line: line["event"] == "notify_failed")
                self.assertIn("NOTIFY_SOCKET", line["message"])
                gateway.stop()

    def test_manager_started_anew(self):
        gateway = self.start()
        self.manager.first("READY")
        address = self.manager.address
        self.manager.close()
        os.unlink(address)
        fresh = self.closing(Manager(address))
        gateway.reload()
        fresh.first("RELOADING")
        fresh.first("READY")

    def test_manager_that_does_not_read(self):
        """Its queue is full: the gateway waits for it a little and goes on."""
        gateway = self.start()
        until(lambda: self.manager.count("READY"), what="READY")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.setblocking(False)
            with self.assertRaises(BlockingIOError):
                while True:
                    other.sendto(b"X=1", self.manager.address)
        gateway.reload()
        self.held().close()

    def test_upgrade(self):
        """The manager follows: the old one says who the new one is, and nothing more; the new one
        speaks after that. A manager that believes the main process alone hears all it needs."""
        gateway = self.start(watchdog=3)
        old = gateway.pid
        before = self.manager.first("READY") + 1
        consumer = self.held()
        new = gateway.upgrade()
        ready = self.manager.first("MAINPID", str(new), after=before)
        self.assertEqual(self.manager.said[ready], (old, {"MAINPID": str(new)}))
        self.manager.first("READY", after=ready)
        self.manager.first("WATCHDOG", after=ready)
        later = self.manager.hear()[ready + 1:]
        self.assertEqual({pid for pid, _ in later}, {new})
        self.assertEqual(later[0][1].get("RELOADING"), "1")
        consumer.close()
        gateway.wait_ended(old)
        self.assertEqual({pid for pid, _ in self.manager.hear()[ready + 1:]}, {new})
        self.assertEqual(self.manager.count("STOPPING"), 0)

    def test_watchdog(self):
        """Told while every loop turns, and not when one does not."""
        wait = 6.0 if SANITIZED else 2.0
        gateway = self.start(watchdog=wait)
        until(lambda: self.manager.count("WATCHDOG") >= 5, timeout=3 * STEP, what="the watchdog")
        worker = max(int(tid) for tid in os.listdir(f"/proc/{gateway.pid}/task"))
        self.assertNotEqual(worker, gateway.pid)
        libc = ctypes.CDLL(None, use_errno=True)
        libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        if libc.ptrace(PTRACE_SEIZE, worker, None, None) != 0:
            self.skipTest("ptrace(2) is not allowed here")
        self.assertEqual(libc.ptrace(PTRACE_INTERRUPT, worker, None, None), 0)
        os.waitpid(worker, 0x40000000)  # __WALL
        gateway.wait_log(lambda line: line["event"] == "loop_stuck", timeout=3 * STEP)
        before = self.manager.count("WATCHDOG")
        time.sleep(wait)
        self.assertEqual(self.manager.count("WATCHDOG"), before)
        self.assertEqual(libc.ptrace(PTRACE_DETACH, worker, None, None), 0)
        until(lambda: self.manager.count("WATCHDOG") > before, timeout=3 * STEP,
              what="the watchdog again")

    def test_watchdog_of_somebody_else(self):
        gateway = Upgraded(self.scratch(), self.text, prefix=[
            "env", f"NOTIFY_SOCKET={self.manager.address}", "WATCHDOG_USEC=300000",
            "WATCHDOG_PID=1"])
        self.addCleanup(gateway.stop)
        self.manager.first("READY")
        time.sleep(0.5)
        self.assertEqual(self.manager.count("WATCHDOG"), 0)


if __name__ == "__main__":
    unittest.main()
