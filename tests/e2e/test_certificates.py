"""Certificates: what is refused, what is taken, what the upstream and the log get to see."""

import ssl
import unittest

from harness import Case, certificate, key
from peers import (TLS12, TLS13, Upstream, client_context, connect, name_of, server_context,
                   stream_of)

# Upstream certificate; host of --connect; words that the log line must have, by field. A tuple
# lists words of which one is enough.
REFUSED = {
    "unknown CA": ("unknown", "localhost",
                   {"error": ("issuer", "unable to get"), "remedy": "--ca"}),
    "self-signed": ("selfsigned", "localhost", {"error": "self", "remedy": "--ca", "depth": 0}),
    "expired": ("expired", "localhost", {"error": "expired", "depth": 0}),
    "not yet valid": ("notyet", "localhost", {"error": "not yet valid", "depth": 0}),
    "wrong host": ("wronghost", "localhost",
                   {"error": "hostname mismatch", "expected": "localhost", "names": "DNS:",
                    "remedy": "--server-name"}),
    "CN only": ("cnonly", "localhost", {"error": "hostname mismatch", "expected": "localhost"}),
    "IP without IP SAN": ("noip", "127.0.0.1",
                          {"error": "IP address mismatch", "expected": "127.0.0.1"}),
    "client's extended key usage": ("eku-client", "localhost",
                                    {"error": ("purpose", "unsuitable")}),
    "missing intermediate": ("server-leaf-only", "localhost",
                             {"error": ("issuer", "unable to get", "unable to verify"),
                              "remedy": "intermediate"}),
    "weak key": ("rsa1024", "localhost", {"error": ("key too small", "key too weak", "too small",
                                                    "too weak")}),
    "name constraint": ("nameconstraint", "localhost", {"error": "permitted subtree violation"}),
    "CA without the CA flag": ("badca", "localhost", {"error": ("CA", "issuer")}),
}


class Refused(Case):
    """No byte reaches the upstream, the consumer is reset, the log says why."""

    def refuse(self, cert, host, words, version=None, ca="ca"):
        got = []

        def script(upstream):
            try:
                upstream.handshake()
                got.append(upstream.recv())
            except (OSError, ssl.SSLError) as why:
                return why
            return None

        upstream = self.closing(Upstream(
            script, server_context(cert, version=version, weak=True), handshake=False))
        gateway = self.gateway(upstream.url(), "--ca", certificate(ca), "--server-name", host)
        consumer = self.closing(connect(gateway.address))
        consumer.offer(b"secret")
        self.assertEqual(consumer.read_all(), stream_of(b"", "reset"))
        upstream.outcome()
        self.assertFalse(any(got), "bytes reached an upstream that is not verified")
        line = gateway.wait_session(name_of(consumer))
        self.assertEqual(line["reason"], "upstream_verify_failed", line)
        self.assertEqual(line.get("bytes_down", 0), 0, line)
        self.assertEqual(line["phase"], "upstream_handshake", line)
        self.assertIn(f"127.0.0.1:{upstream.port}", line["address"], line)
        for field, wanted in words.items():
            if isinstance(wanted, int):
                self.assertEqual(line.get(field), wanted, line)
                continue
            choices = (wanted,) if isinstance(wanted, str) else wanted
            text = str(line.get(field, "")).lower()
            self.assertTrue(any(word.lower() in text for word in choices), f"{field}: {line}")
        return line

    def test_wildcard_spans_one_label(self):
        line = self.refuse("wildcard", "a.b.wild.test", {"expected": "a.b.wild.test"})
        self.assertIn("*.wild.test", line["names"])

    def test_wildcard_does_not_match_its_parent(self):
        self.refuse("wildcard", "wild.test", {"error": "hostname mismatch"})

    def test_ip_address_is_not_a_dns_name(self):
        """--server-name with an IP address is matched against iPAddress SANs alone."""
        self.refuse("server", "127.0.0.2", {"error": "IP address mismatch"})

    def test_other_ca(self):
        self.refuse("server", "localhost", {"remedy": "--ca"}, ca="other-ca")

    def test_system_store_does_not_know_it(self):
        upstream = self.closing(Upstream(lambda peer: peer.recv(), server_context()))
        gateway = self.gateway(upstream.url("localhost"))
        consumer = self.closing(connect(gateway.address))
        consumer.offer(b"secret")
        self.assertEqual(consumer.read_all(), stream_of(b"", "reset"))
        line = gateway.wait_session(name_of(consumer))
        self.assertEqual(line["reason"], "upstream_verify_failed", line)
        self.assertIn("--ca", line["remedy"])


def refusal(cert, host, words, version):
    def test(self):
        self.refuse(cert, host, words, version)

    return test


for title, row in REFUSED.items():
    for protocol in (TLS12, TLS13):
        name = f"test_{title}_{protocol.name}".replace(" ", "_").replace("-", "_").replace("'", "")
        setattr(Refused, name, refusal(*row, protocol))


class Taken(Case):
    """Good ones pass, and the upstream sees the SNI that it should."""

    def take(self, cert, *options, host="127.0.0.1", address=("127.0.0.1", 0), sni=None, ca="ca"):
        upstream = self.closing(Upstream(
            lambda peer: (peer.send(b"hello"), peer.end(), peer.read_all())[2],
            server_context(cert), address=address))
        url = f"tls://{host}:{upstream.port}"
        gateway = self.gateway(url, "--ca", certificate(ca), *options)
        consumer = self.closing(connect(gateway.address))
        self.assertEqual(consumer.read_all(), stream_of(b"hello"), gateway.log_text())
        consumer.end()
        upstream.result()
        self.assertEqual(upstream.server_names, [sni])
        return gateway.wait_session(name_of(consumer))

    def test_dns_name(self):
        self.take("server", host="localhost", sni="localhost")

    def test_server_name(self):
        self.take("server", "--server-name", "localhost", sni="localhost")

    def test_server_name_with_a_trailing_dot(self):
        self.take("server", "--server-name", "localhost.", sni="localhost")

    def test_wildcard(self):
        self.take("wildcard", "--server-name", "a.wild.test", sni="a.wild.test")

    def test_ipv4_address(self):
        self.take("server", sni=None)

    def test_ipv6_address(self):
        self.take("server", host="[::1]", address=("::1", 0), sni=None)

    def test_server_name_is_an_ip_address(self):
        self.take("server", "--server-name", "127.0.0.1", host="localhost", sni=None)
        self.take("server", "--server-name", "::1", sni=None)

    def test_chain_with_intermediate(self):
        self.take("server-chain", "--server-name", "localhost", sni="localhost")

    def test_intermediate_as_trust_anchor(self):
        """A certificate in --ca is a trust anchor even if it is not self-signed."""
        self.take("server-chain", "--server-name", "localhost", sni="localhost",
                  ca="intermediate")

    def test_line_of_a_good_session(self):
        line = self.take("server", "--server-name", "localhost", sni="localhost")
        self.assertEqual(line["reason"], "done", line)
        self.assertEqual((line["bytes_up"], line["bytes_down"]), (0, 5))
        self.assertEqual(line["tls_version"], "TLSv1.3")
        for field in ("id", "listen", "upstream", "cipher", "connect_ms", "handshake_ms",
                      "duration_ms"):
            self.assertIn(field, line)
        self.assertFalse(line["resumed"])


class ClientCertificate(Case):
    """The certificate that the gateway shows to the upstream."""

    def play(self, version, cert, required=True):
        def script(upstream):
            upstream.handshake()
            data = upstream.recv()
            upstream.send(b"ok")
            upstream.end()
            upstream.read_all()
            return data, upstream.tls.getpeercert()

        upstream = self.closing(Upstream(script, server_context(
            version=version, client_ca="ca", required=required), handshake=False))
        options = ["--ca", certificate("ca"), "--server-name", "localhost"]
        if cert:
            options += ["--cert", certificate(cert), "--key", key(cert)]
        gateway = self.gateway(upstream.url(), *options)
        consumer = self.closing(connect(gateway.address))
        consumer.offer(b"question")
        got = consumer.read_all()
        if got.end == "eof":
            consumer.end()
        return got, upstream.outcome(), gateway.wait_session(name_of(consumer))

    def test_right(self):
        for version in (TLS12, TLS13):
            with self.subTest(version=version.name):
                got, seen, line = self.play(version, "client")
                self.assertEqual(got, stream_of(b"ok"), line)
                self.assertEqual(seen[0], b"question")
                self.assertTrue(seen[1], "the upstream saw no certificate")

    def test_not_asked_for(self):
        got, seen, line = self.play(None, None, required=False)
        self.assertEqual(got, stream_of(b"ok"), line)
        self.assertFalse(seen[1])

    def rejected(self, version, cert):
        got, seen, line = self.play(version, cert)
        self.assertEqual((got.count, got.end), (0, "reset"), line)
        self.assertIsInstance(seen, Exception, "bytes reached the upstream's application")
        self.assertEqual(line["reason"], "upstream_rejected_client_cert", line)
        self.assertIn("--cert", line["remedy"], line)
        self.assertGreater(line["alert"], 0, line)

    def test_wrong(self):
        for version in (TLS12, TLS13):
            with self.subTest(version=version.name):
                self.rejected(version, "client-other")

    def test_missing(self):
        for version in (TLS12, TLS13):
            with self.subTest(version=version.name):
                self.rejected(version, None)


class ConsumerCertificate(Case):
    """--listen-ca: consumers must show a certificate."""

    def setUp(self):
        self.upstream = self.closing(Upstream(
            lambda peer: (peer.send(b"hello"), peer.end(), peer.read_all())[2]))
        self.gate = self.gateway(
            self.upstream.url(), "--listen-cert", certificate("server"), "--listen-key",
            key("server"), "--listen-ca", certificate("ca"), scheme="tls")

    def ask(self, version, cert):
        context = client_context(version, cert)
        consumer = self.closing(connect(self.gate.address, context, handshake=False))
        name = name_of(consumer)
        try:
            consumer.handshake()
        except (OSError, ssl.SSLError):
            return None, name
        return consumer.read_all(), name

    def test_right(self):
        for version in (TLS12, TLS13):
            with self.subTest(version=version.name):
                got, _ = self.ask(version, "client")
                self.assertEqual(got, stream_of(b"hello"))

    def test_wrong_or_none(self):
        for version in (TLS12, TLS13):
            for cert in ("client-other", None):
                with self.subTest(version=version.name, cert=cert):
                    got, name = self.ask(version, cert)
                    self.assertTrue(got is None or (got.count == 0 and got.end != "eof"), got)
                    line = self.gate.wait_session(name)
                    self.assertEqual(line["reason"], "consumer_verify_failed", line)
                    self.assertEqual(self.upstream.accepted, 0)


if __name__ == "__main__":
    unittest.main()
