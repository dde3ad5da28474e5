"""What sockets are set to, as the peers and ss see it."""

import os
import re
import socket
import subprocess
import unittest

from harness import Case, free_port, need
from peers import Upstream, connect, echo


class Sockets(Case):
    def setUp(self):
        self.upstream = self.closing(Upstream(self.script))

    @staticmethod
    def script(connection):
        peer = connection.sock.getpeername()
        echo(connection)
        return peer

    def start(self, *options):
        return self.gateway(f"tcp://127.0.0.1:{self.upstream.port}", *options)

    def seen(self, gateway, port, mine=False):
        """What ss says of the gateway's socket whose peer (or own) port that is."""
        rule = f"sport = :{port}" if mine else f"dport = :{port}"
        out = subprocess.run([need("ss"), "-tnoiemH", "--tos", "state", "established", rule],
                             check=True, capture_output=True, text=True).stdout
        return out

    def session(self, gateway):
        consumer = self.closing(connect(gateway.address))
        consumer.send(b"hello")
        self.assertEqual(consumer.read_exactly(5), b"hello")
        return consumer

    def peer(self, gateway):
        consumer = self.session(gateway)
        consumer.end()
        consumer.read_all()
        return self.upstream.result()

    def test_source_address(self):
        gateway = self.start("--source-address", "127.0.0.7", "--source-address", "::1")
        self.assertEqual(self.peer(gateway)[0], "127.0.0.7")

    def test_source_ports(self):
        first = free_port()
        gateway = self.start("--source-ports", f"{first}-{first + 400}")
        for _ in range(20):
            self.assertIn(self.peer(gateway)[1], range(first, first + 401))

    def test_source_ports_that_the_kernel_chooses(self):
        gateway = self.start("--source-ports", "45000-45400")
        for _ in range(5):
            self.assertIn(self.peer(gateway)[1], range(45000, 45401))

    def test_both(self):
        first = free_port()
        gateway = self.start("--source-ports", f"{first}-{first + 400}", "--source-address",
                             "127.0.0.7")
        for _ in range(5):
            host, port = self.peer(gateway)
            self.assertEqual(host, "127.0.0.7")
            self.assertIn(port, range(first, first + 401))

    def test_interface(self):
        self.peer(self.start("--source-interface", "lo"))

    def test_towards_the_upstream(self):
        gateway = self.start("--dscp", "10", "--send-buffer", "50000", "--receive-buffer", "60000",
                             "--congestion-control", "reno")
        self.session(gateway)
        seen = self.seen(gateway, self.upstream.port)
        self.assertRegex(seen, r"tos:0x28\b")
        self.assertRegex(seen, r"rb120000\b")
        self.assertRegex(seen, r"tb100000\b")
        self.assertRegex(seen, r"\breno\b")

    def test_version_6(self):
        upstream = self.closing(Upstream(self.script, address=("::1", 0)))
        gateway = self.gateway(f"tcp://[::1]:{upstream.port}", "--dscp", "10", "--listen-dscp", "46",
                               listen=f"tcp://[::1]:{free_port('::1')}")
        self.session(gateway)
        self.assertRegex(self.seen(gateway, upstream.port), r"tclass:0x28\b")
        self.assertRegex(self.seen(gateway, gateway.address[1], mine=True), r"tclass:0xb8\b")

    def test_towards_consumers(self):
        gateway = self.start("--listen-dscp", "46", "--listen-send-buffer", "50000",
                             "--listen-receive-buffer", "60000", "--listen-congestion-control",
                             "reno", "--listen-keepalive-idle", "9s")
        self.session(gateway)
        seen = self.seen(gateway, gateway.address[1], mine=True)
        self.assertRegex(seen, r"tos:0xb8\b")
        self.assertRegex(seen, r"rb120000\b")
        self.assertRegex(seen, r"tb100000\b")
        self.assertRegex(seen, r"\breno\b")
        self.assertRegex(seen, r"keepalive,[0-9]\.?[0-9]*(sec|ms)")

    @unittest.skipUnless(os.geteuid() == 0, "a mark needs the privilege")
    def test_mark(self):
        gateway = self.start("--fwmark", "4660")
        self.assertIn("CAP_NET_ADMIN only", gateway.wait_log(
            lambda line: line["event"] == "sandbox")["active"])
        self.session(gateway)
        self.assertIn("fwmark:0x1234", self.seen(gateway, self.upstream.port))

    def test_what_the_kernel_refuses(self):
        for options, words in (
                (("--congestion-control", "nosuch"), "refuses congestion_control"),
                (("--listen-congestion-control", "nosuch"), "refuses listen_congestion_control"),
                (("--source-interface", "nosuch0"), "refuses source_interface"),
                (("--source-address", "192.0.2.77"), "refuses source_address")):
            with self.assertRaisesRegex(AssertionError, words):
                self.start(*options)

    def test_mistakes(self):
        for options, words in ((("--source-ports", "9-1"), "--source-ports '9-1': not a range"),
                               (("--source-address", "a.b"), "--source-address 'a.b': give one"),
                               (("--dscp", "64"), "--dscp '64': out of range")):
            with self.assertRaisesRegex(AssertionError, words):
                self.start(*options)


if __name__ == "__main__":
    unittest.main()
