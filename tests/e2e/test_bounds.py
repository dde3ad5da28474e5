"""Who may connect, and how long a session may live."""

import time
import unittest

from harness import Case
from peers import Upstream, connect, echo


class Networks(Case):
    def setUp(self):
        self.upstream = self.closing(Upstream(echo))
        self.url = self.upstream.url().replace("tls://", "tcp://")

    def echoes(self, gateway):
        consumer = self.closing(connect(gateway.address))
        consumer.send(b"x")
        self.assertEqual(consumer.read_exactly(1), b"x")

    def refused(self, gateway):
        consumer = self.closing(connect(gateway.address))
        consumer.offer(b"secret")
        got = consumer.read_all()
        self.assertEqual((got.count, got.end), (0, "reset"))
        line = gateway.wait_log(lambda line: line.get("reason") == "consumer_denied")
        self.assertNotIn("address", line)  # nothing was dialed
        self.assertIn("allow_from", line["remedy"])

    def test_allowed(self):
        self.echoes(self.gateway(self.url, "--allow-from", "10.0.0.0/8", "--allow-from",
                                 "127.0.0.0/8"))

    def test_not_allowed(self):
        self.refused(self.gateway(self.url, "--allow-from", "10.0.0.0/8"))

    def test_denied(self):
        self.echoes(self.gateway(self.url, "--deny-from", "10.0.0.0/8"))
        self.refused(self.gateway(self.url, "--deny-from", "127.0.0.1"))

    def test_denied_though_allowed(self):
        self.refused(self.gateway(self.url, "--allow-from", "127.0.0.0/8", "--deny-from",
                                  "127.0.0.1/32"))

    def test_unix_consumers_have_no_address(self):
        path = f"{self.scratch()}/s"
        self.echoes(self.gateway(self.url, "--allow-from", "10.0.0.0/8",
                                 listen=f"unix:{path}"))

    def test_what_is_no_network(self):
        with self.assertRaisesRegex(AssertionError, "--allow-from.*10.0.0.1/8.*behind its prefix"):
            self.gateway(self.url, "--allow-from", "10.0.0.1/8")


class Lifetime(Case):
    def setUp(self):
        self.upstream = self.closing(Upstream(echo))
        self.url = self.upstream.url().replace("tls://", "tcp://")

    def test_one_at_rest_ends_cleanly(self):
        gateway = self.gateway(self.url, "--max-lifetime", "2s")
        consumer = self.closing(connect(gateway.address))
        began = time.monotonic()
        consumer.send(b"hello")
        self.assertEqual(consumer.read_exactly(5), b"hello")
        self.assertEqual(consumer.read_all().end, "eof")
        self.assertGreater(time.monotonic() - began, 1.7)
        line = gateway.wait_log(lambda line: line["event"] == "session")
        self.assertEqual((line["reason"], line["bytes_down"]), ("lifetime", 5))

    def test_one_that_is_busy_goes_on_for_a_while(self):
        gateway = self.gateway(self.url, "--max-lifetime", "1s")
        consumer = self.closing(connect(gateway.address))
        began = time.monotonic()
        while time.monotonic() - began < 3:
            consumer.send(b"x")
            self.assertEqual(consumer.read_exactly(1), b"x")
            time.sleep(0.02)
        self.assertEqual(consumer.read_all().end, "eof")
        line = gateway.wait_log(lambda line: line["event"] == "session")
        self.assertEqual(line["reason"], "lifetime")


if __name__ == "__main__":
    unittest.main()
