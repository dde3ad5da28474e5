"""What the tests of names share."""

import socket

from admin import AdminCase
from dns_server import DnsServer
from harness import STEP, until
from peers import Upstream

# Of src/policy/cache.h, in seconds.
FRESH_MIN, FAILED = 5, 2


class NamesCase(AdminCase):
    def dns(self, start=True):
        server = DnsServer()
        self.addCleanup(server.stop)
        return server.start() if start else server

    def says(self, word, host="127.0.0.1", port=0, context=None):
        """An upstream that says who it is, and ends."""
        def script(connection):
            connection.send(word.encode())
            connection.end()

        return self.closing(Upstream(script, context, address=(host, port)))

    def named(self, server, url, *options, tries=1, timeout="300ms", **settings):
        return self.start(url, "--dns-servers", server.address, "--dns-timeout", timeout,
                          "--dns-tries", tries, *options, **settings)

    def whom(self, gateway):
        """Who answers a new consumer: its word; "" where the session fails."""
        try:
            with socket.create_connection(gateway.address, STEP) as sock:
                sock.settimeout(STEP)
                got = b""
                while data := sock.recv(100):
                    got += data
                return got.decode()
        except ConnectionError:
            return ""

    def until_whom(self, gateway, word):
        until(lambda: self.whom(gateway) == word, what=f"{word} to answer")

    def last_failure(self, gateway):
        return gateway.wait_log(lambda line: line.get("event") == "session"
                                and line.get("reason", "").startswith("resolve_"))
