"""Live sessions after a reload that trusts less: on_revoked."""

import shutil
import ssl
import threading
import unittest

import pki
from harness import STEP, Case, certificate, free_port, need, until
from peers import TLS12, TLS13, Upstream, connect, echo, name_of, server_context
from test_reload import ConfigGateway, service, services


class Revoked(Case):
    def setUp(self):
        self.directory = self.scratch()
        self.anchors = f"{self.directory}/anchors.pem"
        shutil.copy(certificate("ca"), self.anchors)
        self.port = free_port()
        self.address = ("127.0.0.1", self.port)

    def config(self, url, *lines, anchors=None, name="one"):
        return "watch = false; allow_weaker = true;\n" + services(service(
            name, self.port, url, f'ca = "{anchors or self.anchors}";',
            'server_name = "localhost";', *lines))

    def start(self, text):
        gateway = ConfigGateway(self.directory, text)
        self.addCleanup(gateway.stop)
        return gateway

    def live(self, count=1):
        """Sessions in mid-conversation."""
        made = [self.closing(connect(self.address)) for _ in range(count)]
        for consumer in made:
            self.talks(consumer)
        return made

    def talks(self, consumer):
        consumer.send(b"hello")
        self.assertEqual(consumer.read_exactly(5), b"hello")

    def distrusted(self, gateway):
        return [line for line in gateway.lines() if line["event"] == "upstream_distrusted"]

    def check_closed(self, gateway, consumer):
        self.assertEqual(consumer.read_all().end, "reset")
        line = gateway.wait_session(name_of(consumer))
        self.assertEqual((line["reason"], line["level"], line["phase"]),
                         ("upstream_distrusted", "warn", "relay"))
        return line

    def by_another_authority(self, version, *lines):
        """Three sessions, a reload for nothing, and one after which their CA is not trusted."""
        upstream = self.closing(Upstream(echo, server_context(version=version)))
        gateway = self.start(self.config(upstream.url(), *lines))
        consumers = self.live(3)
        gateway.reload()
        for consumer in consumers:
            self.talks(consumer)
        shutil.copy(certificate("other-ca"), self.anchors)
        gateway.reload()
        return gateway, upstream, consumers

    def test_log(self):
        for version in (TLS12, TLS13):
            with self.subTest(version=version):
                self.setUp()
                gateway, upstream, consumers = self.by_another_authority(version)
                lines = until(lambda g=gateway: len(self.distrusted(g)) == 3 and self.distrusted(g),
                              what="the warnings")
                for line in lines:
                    self.assertEqual((line["level"], line["service"], line["upstream"]),
                                     ("warn", "one", upstream.url()))
                    self.assertIn("certificate", line["error"])
                    self.assertTrue(line["remedy"])
                self.assertEqual(len({line["id"] for line in lines}), 3)
                for consumer in consumers:
                    self.talks(consumer)
                    consumer.end()
                    consumer.read_all()
                    self.assertEqual(gateway.wait_session(name_of(consumer))["reason"], "done")

    def test_close(self):
        for version in (TLS12, TLS13):
            with self.subTest(version=version):
                self.setUp()
                gateway, upstream, consumers = self.by_another_authority(
                    version, 'on_revoked = "close";')
                for consumer in consumers:
                    line = self.check_closed(gateway, consumer)
                    self.assertEqual(line["bytes_up"], 10)
                    self.assertIn("certificate", line["error"])
                    self.assertTrue(line["remedy"])
                    # nor does it look like an end to the upstream
                    self.assertIsInstance(upstream.outcome(), (OSError, ssl.SSLError))

    def test_another_name(self):
        upstream = self.closing(Upstream(echo, server_context()))
        gateway = self.start(self.config(upstream.url(), 'on_revoked = "close";'))
        consumers = self.live()
        gateway.write(self.config(upstream.url(), 'on_revoked = "close";',
                                  'verify_names = ["localhost"];'))
        gateway.reload()
        self.talks(consumers[0])
        gateway.write(self.config(upstream.url(), 'on_revoked = "close";',
                                  'verify_names = ["other.example"];'))
        gateway.reload()
        line = self.check_closed(gateway, consumers[0])
        self.assertIn("other.example", line["error"])
        self.assertIn("verify_names", line["remedy"])

    def test_pins(self):
        good, bad = (pki.pin(certificate(name)) for name in ("server", "selfsigned"))
        upstream = self.closing(Upstream(echo, server_context()))
        gateway = self.start(self.config(upstream.url(), 'on_revoked = "close";'))
        consumer, = self.live()
        for pins in (f'["{good}"]', f'["{bad}", "{good}"]'):
            gateway.write(self.config(upstream.url(), 'on_revoked = "close";', f"pins = {pins};"))
            gateway.reload()
            self.talks(consumer)
        gateway.write(self.config(upstream.url(), 'on_revoked = "close";', f'pins = ["{bad}"];'))
        gateway.reload()
        line = self.check_closed(gateway, consumer)
        self.assertIn("pin", line["error"] + line["remedy"])

    def test_revoked(self):
        """The list says so after the session began; a resumed one is looked at, too."""
        authority = pki.Authority(self.directory, "Revoking CA")
        leaf = authority.issue("leaf")
        other = authority.issue("other")
        upstream = self.s_server(leaf)
        text = self.config(f"127.0.0.1:{upstream}", f'crl = "{authority.crl()}";',
                           'on_revoked = "close"; x509_strict = "off";',
                           anchors=authority.certificate)
        gateway = self.start("workers = 1;\n" + text)
        first = self.ask()
        first.end()
        first.read_all()
        gateway.wait_session(name_of(first))
        consumer = self.ask()  # s_server serves one at a time
        authority.revoke(other)
        authority.crl()
        gateway.reload()
        self.ask(consumer)
        authority.revoke(leaf)
        authority.crl()
        gateway.reload()
        line = self.check_closed(gateway, consumer)
        self.assertTrue(line["resumed"])
        self.assertIn("revoked", line["error"])

    def s_server(self, leaf):
        port = free_port()
        program = self.program(need("openssl"), "s_server", "-accept", f"127.0.0.1:{port}",
                               "-cert", leaf.certificate, "-key", leaf.key, "-rev")
        program.wait_output("ACCEPT")
        return port

    def ask(self, consumer=None):
        consumer = consumer or self.closing(connect(self.address))
        consumer.send(b"stressed\n")
        self.assertEqual(consumer.read_exactly(9), b"desserts\n")
        return consumer

    def test_service_or_upstream_gone(self):
        """Nothing to verify by: they live on."""
        upstream = self.closing(Upstream(echo, server_context()))
        other = self.closing(Upstream(echo, server_context()))
        gateway = self.start(self.config(upstream.url(), 'on_revoked = "close";'))
        consumer, = self.live()
        shutil.copy(certificate("other-ca"), self.anchors)
        for text in (self.config(upstream.url(), 'on_revoked = "close";', name="two"),
                     self.config(other.url(), 'on_revoked = "close";'),
                     "allow_weaker = true;\n" + services(service(
                         "one", self.port, upstream.url().replace("tls:", "tcp:")))):
            gateway.write(text)
            gateway.reload()
            gateway.wait_log(lambda line: line["event"] == "reverified"
                             and line["without_upstream"] == 1, what="the walk's line")
            self.talks(consumer)
        gateway.write(self.config(upstream.url(), 'on_revoked = "close";'))
        gateway.reload()  # it is there again, and distrusted
        self.assertEqual(consumer.read_all().end, "reset")

    def test_in_the_handshake(self):
        """The reload comes between the connection and the end of its handshake."""
        held, go_on = [], threading.Event()

        def late(connection):
            held.append(connection)
            go_on.wait(STEP)
            connection.handshake()
            return echo(connection)

        upstream = self.closing(Upstream(late, server_context(), handshake=False))
        gateway = self.start(self.config(upstream.url(), 'on_revoked = "close";'))
        consumer = self.closing(connect(self.address))
        until(lambda: held, what="the gateway's connection")
        shutil.copy(certificate("other-ca"), self.anchors)
        gateway.reload()
        consumer.offer(b"secret")
        go_on.set()
        self.assertEqual(consumer.read_all().end, "reset")
        line = gateway.wait_session(name_of(consumer))
        self.assertEqual((line["reason"], line["bytes_up"]), ("upstream_distrusted", 0))

    def test_many(self):
        """The walk goes on in turns; every one is found."""
        upstream = self.closing(Upstream(echo, server_context()))
        gateway = self.start(self.config(upstream.url(), 'on_revoked = "close";'))
        consumers = self.live(300)
        shutil.copy(certificate("other-ca"), self.anchors)
        gateway.reload()
        for consumer in consumers:
            self.assertEqual(consumer.read_all().end, "reset")
        until(lambda: len(gateway.sessions()) == 300, what="300 lines")
        self.assertEqual({line["reason"] for line in gateway.sessions()}, {"upstream_distrusted"})


if __name__ == "__main__":
    unittest.main()
