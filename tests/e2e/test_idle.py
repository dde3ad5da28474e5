"""What a session that rests holds."""

import ssl
import unittest

from harness import CERTS, SANITIZED, Case, until
from peers import Upstream, connect, echo, server_context

MANY = 300
WARM = 40
# Bytes each. 14 KiB with OpenSSL 3.0, 20 with 3.5; a record buffer that is kept is 8 KiB more. The
# hybrid group would hide that: OpenSSL 3.5 keeps its ML-KEM keys, 10 KiB.
MOST = (18 if ssl.OPENSSL_VERSION_INFO < (3, 2) else 25) * 1024
GROUP = ("--groups", "X25519")


def greet(connection):
    """The server speaks first, so that our side writes nothing after the tickets have come."""
    connection.send(b"!")
    return echo(connection)


@unittest.skipIf(SANITIZED, "sanitizers keep what is freed")
class Idle(Case):
    def open(self, gateway, count):
        consumers = []
        for _ in range(count):
            consumer = connect(gateway.address)
            self.addCleanup(consumer.close)
            self.assertEqual(consumer.read_exactly(1), b"!")
            consumers.append(consumer)
        return consumers

    def test_no_buffer_is_kept(self):
        upstream = self.closing(Upstream(greet, server_context()))
        gateway = self.gateway(upstream.url(), "--ca", f"{CERTS}/ca.pem", "--server-name",
                               "localhost", "--workers", 1, *GROUP)
        for consumer in self.open(gateway, WARM):
            consumer.close()
        until(lambda: len(gateway.sessions()) == WARM, what="the first to have left")
        before = gateway.memory()
        self.open(gateway, MANY)
        until(lambda: (gateway.memory() - before) / MANY < MOST,
              what=f"{MANY} idle sessions to hold less than {MOST} bytes each")


if __name__ == "__main__":
    unittest.main()
