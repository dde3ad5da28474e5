"""What the tests with hosts on networks of their own share.

    user ── front ── gateway ── back ── upstreams, DNS, a router

netns.py says what is needed for that; where it is missing, they are skipped, and say so.
"""

import os
import socket

from dns_server import DnsServer
from harness import STEP, certificate
from names import NamesCase
from netns import Lab
from peers import Upstream, connect, echo, name_of

FRONT, FRONT6 = "198.51.100.1", "2001:db8:f::1"
USER, USER6 = "198.51.100.2", "2001:db8:f::2"
TRUST = ("--ca", certificate("ca"), "--server-name", "localhost")
TRIES = 3  # of what is timed: the best tells of the code, the others of what else the machine does


class Networks(NamesCase):
    def setUp(self):
        self.lab, self.listeners = Lab(self), 0
        self.front, self.back = self.lab.lan("front"), self.lab.lan("back")
        self.gw, self.user = self.lab.host("gw"), self.lab.host("user")
        self.front.plug(self.gw, FRONT + "/24", FRONT6 + "/64")
        self.front.plug(self.user, USER + "/24", USER6 + "/64")
        self.back.plug(self.gw, "192.0.2.1/24", "2001:db8:b::1/64")

    def host(self, number):
        """One more on "back": 192.0.2.NUMBER and 2001:db8:b::NUMBER."""
        made = self.lab.host(f"h{number}")
        self.back.plug(made, f"192.0.2.{number}/24", f"2001:db8:b::{number}/64")
        return made

    def listens(self, host, address, script, context=None, port=443):
        with host:
            return self.closing(Upstream(script, context, address=(address, port)))

    def says_on(self, number, word, context=None):
        """A host whose upstream says that word to each; and ends."""
        made = self.host(number)
        with made:
            self.says(word, f"192.0.2.{number}", 443, context)
        return made

    def greets(self, number, word, context=None):
        """A host that says that word, and then repeats what it is told."""
        def script(connection):
            connection.send(word.encode())
            echo(connection)

        made = self.host(number)
        self.listens(made, f"192.0.2.{number}", script, context)
        return made

    def dns_on(self, host, address="192.0.2.53"):
        """Answers there on port 53, and the gateway's resolv.conf names it."""
        server = DnsServer(53, address)
        self.addCleanup(server.stop)
        self.gw.file("resolv.conf", f"nameserver {address}\n")
        with host:
            return server.start()

    def start_at(self, upstream, *options, address=FRONT, **settings):
        self.listeners += 1
        listen = f"tcp://{f'[{address}]' if ':' in address else address}:{8000 + self.listeners}"
        return self.start(upstream, *options, listen=listen, prefix=self.gw.prefix,
                          admin=os.path.join(self.scratch(), "admin"), **settings)

    def consumer(self, gateway, host=None):
        family = socket.AF_INET6 if ":" in gateway.address[0] else socket.AF_INET
        with host or self.user:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:  # sends nothing
                probe.connect(gateway.address)
                source = probe.getsockname()[0]
            return self.closing(connect(gateway.address, source=source))

    def whom(self, gateway):
        """What a new consumer is told by whoever answers; "" where the session fails."""
        with self.user:
            try:
                with socket.create_connection(gateway.address, STEP) as sock:
                    return sock.recv(100).decode()
            except ConnectionError:
                return ""

    def session(self, gateway, word):
        """The line of a new session, which that upstream answers."""
        consumer = self.consumer(gateway)
        self.assertEqual(consumer.read_exactly(len(word)), word.encode())
        consumer.end()
        self.assertEqual(consumer.read_all().end, "eof")
        return gateway.wait_session(name_of(consumer))

    def best(self, below_ms, once):
        """once() gives the line of a session; one of a few is within the bound."""
        took = []
        for _ in range(TRIES):
            took.append(once()["duration_ms"])
            if took[-1] < below_ms:
                break
        print(f"{self.id().rsplit('.', 1)[-1]}: {took} ms")
        self.assertLess(min(took), below_ms)
