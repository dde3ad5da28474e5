"""The way to the end, step by step: not ready but accepting, then no listener, then no session; and
as process 1, which nobody else looks after."""

import os
import signal
import subprocess
import time
import unittest

from harness import SANITIZED, STEP, Case, accepts, certificate, need, until
from peers import Background, Upstream, blob, connect, echo, name_of, server_context, stream_of

SLACK = 6.0 if SANITIZED else 2.0
# Seconds of the timeline: as users have them, or shorter where everything else is slower.
PACE = 0.3 if SANITIZED else 1.0
PIECE = 64 << 10


class Drain(Case):
    def setUp(self):
        self.upstream = self.closing(Upstream(self.script, server_context()))
        self.pieces, self.piece_s = 20, 1.0 * PACE

    def script(self, peer):
        """Says what it is asked for: a paced answer with an end, one without, or an echo."""
        word = peer.recv(1)
        if word == b"t":
            for n in range(self.pieces):
                peer.send(blob(PIECE, n))
                time.sleep(self.piece_s)
            peer.end()
        elif word == b"e":
            while True:
                peer.send(blob(PIECE, 99))
                time.sleep(0.05)
        else:
            peer.send(word)
            echo(peer)

    def start(self, *options, drain="20s", **settings):
        return self.gateway(self.upstream.url(), "--ca", certificate("ca"), "--server-name",
                            "localhost", *options, drain=drain, **settings)

    def asked(self, gateway, word):
        consumer = self.closing(connect(gateway.address))
        consumer.sock.settimeout(3 * STEP)
        consumer.send(word)
        return consumer

    def echoes(self, gateway):
        consumer = self.asked(gateway, b"x")
        self.assertEqual(consumer.read_exactly(1), b"x")
        return consumer

    def test_timeline(self):
        """drain_delay 3 s, drain_timeout 25 s: a transfer of 20 s completes, an endless one ends at
        the deadline, and the last to end is the end of the process."""
        delay, timeout = 3 * PACE, 25 * PACE
        gateway = self.start("--drain-delay", f"{int(delay * 1000)}ms",
                             drain=f"{int(timeout * 1000)}ms")
        transfer = self.asked(gateway, b"t")
        transferred = Background(lambda: (transfer.read_all(), transfer.close())[0])
        endless = self.asked(gateway, b"e")
        self.assertTrue(endless.recv(1))
        unended = Background(endless.read_all)

        began = time.monotonic()
        gateway.signal(signal.SIGTERM)
        gateway.wait_log(lambda line: line["event"] == "draining")
        while time.monotonic() - began < delay * 0.8:  # new ones are served meanwhile
            self.echoes(gateway).close()
            time.sleep(0.1)
        late = self.echoes(gateway)
        until(lambda: not accepts(gateway.address[1]), what="new connections to be refused")
        closed = time.monotonic() - began
        self.assertGreater(closed, delay * 0.9)
        self.assertLess(closed, delay + SLACK)
        late.send(b"still served")
        self.assertEqual(late.read_exactly(12), b"still served")
        late.close()

        whole = transferred.result(3 * STEP)
        sent = b"".join(blob(PIECE, n) for n in range(self.pieces))
        self.assertEqual(whole, stream_of(sent))
        self.assertLess(time.monotonic() - began, delay + timeout)
        self.assertEqual(gateway.wait_exit(3 * STEP), 0)
        took = time.monotonic() - began
        self.assertGreater(took, (delay + timeout) * 0.98)
        self.assertLess(took, delay + timeout + SLACK)
        self.assertEqual(unended.result().end, "reset")
        self.assertEqual(gateway.wait_session(name_of(transfer))["reason"], "done")
        self.assertEqual(gateway.wait_session(name_of(endless))["reason"], "drain_deadline")

    def test_ends_with_the_delay_when_there_is_nobody(self):
        gateway = self.start("--drain-delay", "1s")
        began = time.monotonic()
        gateway.signal(signal.SIGTERM)
        self.assertEqual(gateway.wait_exit(), 0)
        self.assertGreater(time.monotonic() - began, 0.95)
        self.assertLess(time.monotonic() - began, 1 + SLACK)

    def test_second_signal_during_the_delay(self):
        gateway = self.start("--drain-delay", "60s")
        consumer = self.echoes(gateway)
        gateway.signal(signal.SIGTERM)
        gateway.wait_log(lambda line: line["event"] == "draining")
        began = time.monotonic()
        gateway.signal(signal.SIGTERM)
        self.assertEqual(gateway.wait_exit(), 0)
        self.assertLess(time.monotonic() - began, SLACK)
        self.assertEqual(gateway.wait_session(name_of(consumer))["reason"], "shutdown")

    def test_hangup_during_the_delay_is_ignored(self):
        gateway = self.start("--drain-delay", "60s", "--watch-interval", "100ms")
        gateway.signal(signal.SIGTERM)
        gateway.wait_log(lambda line: line["event"] == "draining")
        gateway.signal(signal.SIGHUP)
        gateway.wait_log(lambda line: "stopping" in line.get("message", ""))
        self.echoes(gateway).close()
        self.assertFalse([line for line in gateway.lines() if line["event"] == "reloaded"])
        gateway.signal(signal.SIGTERM)
        self.assertEqual(gateway.wait_exit(), 0)


class ProcessOne(Drain):
    """In a PID namespace of its own, as in a container without an init."""

    def start(self, *options, drain="20s", **settings):
        if subprocess.run(["unshare", "--pid", "--fork", "true"], check=False,
                          stderr=subprocess.DEVNULL).returncode != 0:
            self.skipTest("no PID namespace may be made here")
        gateway = super().start(*options, drain=drain, **settings,
                                prefix=("unshare", "--pid", "--fork", "--kill-child"))
        with open(f"/proc/{gateway.pid}/task/{gateway.pid}/children", encoding="ascii") as file:
            gateway.one = int(file.read().split()[0])
        with open(f"/proc/{gateway.one}/status", encoding="ascii") as file:
            inside = next(line for line in file if line.startswith("NSpid:")).split()[-1]
        self.assertEqual(inside, "1")
        gateway.signal = lambda number: os.kill(gateway.one, number)
        return gateway

    test_timeline = None  # the signals are what differs

    def test_reloads(self):
        gateway = self.start()
        gateway.signal(signal.SIGHUP)
        gateway.wait_log(lambda line: line["event"] == "reloaded")
        gateway.signal(signal.SIGTERM)
        self.assertEqual(gateway.wait_exit(), 0)

    def test_no_upgrade(self):
        """Its end would be that of the one which it had started."""
        gateway = self.start()
        gateway.signal(signal.SIGUSR2)
        line = gateway.wait_log(lambda line: line["event"] == "upgrade_failed")
        self.assertIn("process 1", line["error"])
        self.echoes(gateway).close()
        gateway.signal(signal.SIGTERM)
        self.assertEqual(gateway.wait_exit(), 0)

    def test_children_that_it_is_given(self):
        """Orphans become children of process 1: they must not stay behind as zombies."""
        gateway = self.start()

        def children():
            with open(f"/proc/{gateway.one}/task/{gateway.one}/children", encoding="ascii") as file:
                return file.read().split()

        for _ in range(5):
            subprocess.run([need("nsenter"), "-t", str(gateway.one), "-p", "sh", "-c",
                            "for n in 1 2 3 4; do sleep 0.3 & done"], check=True)
        self.assertTrue(children(), "nothing was orphaned: the test shows nothing")
        until(lambda: not children(), what="the orphans to be reaped")
        self.echoes(gateway).close()
        gateway.signal(signal.SIGTERM)
        self.assertEqual(gateway.wait_exit(), 0)


if __name__ == "__main__":
    unittest.main()
