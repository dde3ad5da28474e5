"""SIGTERM drains, a deadline bounds it, a second signal ends it; SIGPIPE does nothing."""

import os
import signal
import socket
import time
import unittest

from harness import SANITIZED, Case, certificate, until
from peers import (Background, Upstream, blob, connect, echo, name_of, server_context, stream_of)

SLACK = 6.0 if SANITIZED else 2.0


class Signals(Case):
    def setUp(self):
        self.upstream = self.closing(Upstream(echo, server_context()))

    def start(self, drain="20s", **settings):
        return self.gateway(self.upstream.url(), "--ca", certificate("ca"), "--server-name",
                            "localhost", drain=drain, **settings)

    def relaying(self, gateway):
        consumer = self.closing(connect(gateway.address))
        consumer.send(b"hello")
        self.assertEqual(consumer.read_exactly(5), b"hello")
        return consumer

    def exit_time(self, gateway):
        began = time.monotonic()
        self.assertEqual(gateway.wait_exit(), 0)
        return time.monotonic() - began

    def test_no_sessions_no_wait(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            gateway = self.start()
            gateway.signal(number)
            self.assertLess(self.exit_time(gateway), SLACK)

    def test_drain_lets_sessions_finish(self):
        gateway = self.start()
        consumer = self.relaying(gateway)
        gateway.signal(signal.SIGTERM)

        def refused():
            with socket.socket() as probe:
                return probe.connect_ex(gateway.address) != 0

        until(refused, what="new connections to be refused")
        data = blob(8 << 20, 40)
        sending = Background(lambda: (consumer.send(data), consumer.end()))
        self.assertEqual(consumer.read_all(), stream_of(data))
        sending.result()
        self.assertLess(self.exit_time(gateway), SLACK)
        self.assertEqual(gateway.wait_session(name_of(consumer))["reason"], "done")

    def test_deadline_ends_the_endless(self):
        gateway = self.start(drain="1s")
        consumer = self.relaying(gateway)
        gateway.signal(signal.SIGTERM)
        took = self.exit_time(gateway)
        self.assertGreater(took, 0.8)
        self.assertLess(took, 1 + SLACK)
        self.assertEqual(gateway.wait_session(name_of(consumer))["reason"], "drain_deadline")
        consumer.read_all()

    def test_deadline_ends_stuck_ones(self):
        """A consumer that takes nothing cannot hold the exit up either."""
        def script(upstream):
            try:
                while True:
                    upstream.send(blob(1 << 20, 41))
            except OSError:
                return None

        self.upstream.script = script
        gateway = self.start(drain="500ms")
        consumer = self.closing(connect(gateway.address, rcvbuf=4096))
        self.assertTrue(consumer.recv(1))
        time.sleep(0.3)
        gateway.signal(signal.SIGTERM)
        self.assertLess(self.exit_time(gateway), 0.5 + 5 + SLACK)

    def test_second_signal_ends_at_once(self):
        for second in (signal.SIGTERM, signal.SIGINT):
            gateway = self.start(drain="60s")
            consumer = self.relaying(gateway)
            gateway.signal(signal.SIGTERM)
            time.sleep(0.3)
            self.assertIsNone(gateway.process.poll(), "it did not wait for its session")
            gateway.signal(second)
            self.assertLess(self.exit_time(gateway), SLACK)
            self.assertEqual(gateway.wait_session(name_of(consumer))["reason"], "shutdown")

    def test_sessions_that_are_not_yet_relaying(self):
        """In the upstream's handshake when the signal comes."""
        silent = self.closing(Upstream(lambda peer: peer.read_all()))
        gateway = self.gateway(f"tls://127.0.0.1:{silent.port}", drain="500ms")
        consumer = self.closing(connect(gateway.address))
        until(lambda: silent.accepted, what="the gateway's connection")
        gateway.signal(signal.SIGTERM)
        self.assertLess(self.exit_time(gateway), 0.5 + SLACK)
        self.assertNotEqual(consumer.read_all().end, "eof")

    def test_sigpipe(self):
        gateway = self.start()
        consumer = self.relaying(gateway)
        gateway.signal(signal.SIGPIPE)
        consumer.send(b"still there")
        self.assertEqual(consumer.read_exactly(11), b"still there")
        # Writing into connections that the consumer has reset raises it where it is not ignored.
        for _ in range(20):
            other = connect(gateway.address)
            other.send(blob(200_000, 42))
            other.reset()
        consumer.send(b"yet again")
        self.assertEqual(consumer.read_exactly(9), b"yet again")

    def test_other_sessions_while_one_drains(self):
        """Listeners close at once, also unix ones, whose path goes."""
        path = os.path.join(self.scratch(), "in")
        gateway = self.start(listen=f"unix:{path}")
        consumer = self.relaying(gateway)
        gateway.signal(signal.SIGTERM)
        until(lambda: not os.path.exists(path), what="the socket's path to go")
        consumer.end()
        consumer.read_all()
        self.assertLess(self.exit_time(gateway), SLACK)


if __name__ == "__main__":
    unittest.main()
