"""STARTTLS towards the upstream: a server by hand for each protocol, and what must be refused.
PostgreSQL and MariaDB as they are: test_databases.py."""

import socket
import subprocess
import unittest

import peers
from harness import STEP, Case, certificate, need, until
from peers import TlsConnection, Upstream, server_context

NAMESPACE = b"xmlns='urn:ietf:params:xml:ns:xmpp-tls'"
STREAM = (b"<?xml version='1.0'?><stream:stream id='1' xmlns='jabber:client' "
          b"xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>")
FEATURES = b"<stream:features><starttls " + NAMESPACE + b"/></stream:features>"
LDAP_OK = bytes.fromhex("300c02010178070a010004000400")
LDAP_NO = bytes.fromhex("300c02010178070a010204000400")

# What the server says and what it waits for, in turn, up to its word to begin TLS.
TALKS = {
    "smtp": [b"220-mx\r\n220 ESMTP\r\n", b"EHLO localhost\r\n", b"250-mx\r\n250 STARTTLS\r\n",
             b"STARTTLS\r\n", b"220 go\r\n"],
    "imap": [b"* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] ready\r\n", b"e1 CAPABILITY\r\n",
             b"* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\ne1 OK done\r\n",
             b"e2 STARTTLS\r\n", b"e2 OK go\r\n"],
    "pop3": [b"+OK <1@mx>\r\n", b"STLS\r\n", b"+OK go\r\n"],
    "ftp": [b"220 ready\r\n", b"AUTH TLS\r\n", b"234 go\r\n"],
    "ldap": [b"", b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037", LDAP_OK],
    "xmpp": [b"", b"<?xml version='1.0'?><stream:stream to='localhost' version='1.0' "
                  b"xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
             STREAM + FEATURES, b"<starttls " + NAMESPACE + b"/>", b"<proceed " + NAMESPACE + b"/>"],
    "postgres": [b"", bytes.fromhex("0000000804d2162f"), b"S"],
}
GREETINGS = {"smtp": TALKS["smtp"][0], "imap": b"* OK ready\r\n", "pop3": TALKS["pop3"][0],
             "ftp": TALKS["ftp"][0]}
# The last word, and the one in its place that refuses.
REFUSALS = {"smtp": b"454 not now\r\n", "imap": b"e2 NO not now\r\n", "pop3": b"-ERR what\r\n",
            "ftp": b"530 no\r\n", "ldap": LDAP_NO, "xmpp": b"<failure " + NAMESPACE + b"/>",
            "postgres": b"N"}


def talk(connection, lines, slowly=False):
    for index, line in enumerate(lines):
        if index % 2:
            got = connection.read_exactly(len(line))
            if got != line:
                raise AssertionError(f"{got!r} is not {line!r}")
        elif slowly:
            for byte in line:
                connection.send(bytes([byte]))
        elif line:
            connection.send(line)


def server(lines, script=peers.echo, slowly=False):
    def serve(connection):
        talk(connection, lines, slowly)
        secure = TlsConnection(connection.sock, server_context(), server_side=True)
        secure.handshake()
        return script(secure)

    return Upstream(serve)


class Starttls(Case):
    def start(self, kind, upstream, *options, **settings):
        self.closing(upstream)
        return self.gateway(f"tls://127.0.0.1:{upstream.port}", "--starttls", kind, "--ca",
                            certificate("ca"), "--server-name", "localhost", *options, **settings)

    def refuse(self, kind, lines, reason, *options, phase="starttls"):
        """The session ends so, the consumer is reset, and the server sees none of its bytes."""
        seen = []

        def serve(connection):
            talk(connection, lines)
            while data := connection.recv():
                seen.append(data)

        upstream = Upstream(serve)
        gateway = self.start(kind, upstream, *options)
        consumer = self.closing(peers.connect(gateway.address))
        consumer.offer(b"the consumer's secret\r\n")
        got = consumer.read_all()
        self.assertEqual((got.count, got.end), (0, "reset"))
        line = gateway.wait_session(peers.name_of(consumer))
        self.assertEqual((line["reason"], line["phase"]), (reason, phase), line)
        self.assertNotIn(b"secret", b"".join(seen))
        upstream.outcome()
        return line

    def test_each(self):
        """Greeting, then bytes both ways under TLS that is verified; also byte by byte."""
        for kind, lines in TALKS.items():
            for slowly in (False, True):
                with self.subTest(kind=kind, slowly=slowly):
                    upstream = server(lines, slowly=slowly)
                    gateway = self.start(kind, upstream)
                    consumer = self.closing(peers.connect(gateway.address))
                    greeting = GREETINGS.get(kind, b"")
                    self.assertEqual(consumer.read_exactly(len(greeting)), greeting)
                    data = peers.blob(300000)
                    echo = peers.Background(consumer.read_exactly, len(data))
                    consumer.send(data)
                    self.assertEqual(echo.result(), data)
                    consumer.end()
                    self.assertEqual(upstream.result(), len(data))
                    line = gateway.wait_session(peers.name_of(consumer))
                    self.assertEqual(line["reason"], "done", line)

    def test_refused(self):
        for kind, refusal in REFUSALS.items():
            with self.subTest(kind=kind):
                line = self.refuse(kind, [*TALKS[kind][:-1], refusal], "starttls_refused")
                self.assertTrue(line["remedy"], line)

    def test_not_offered(self):
        self.refuse("smtp", [*TALKS["smtp"][:2], b"250-mx\r\n250 SIZE 1\r\n"], "starttls_refused")
        self.refuse("imap", [*TALKS["imap"][:2], b"* CAPABILITY IMAP4rev1\r\ne1 OK\r\n"],
                    "starttls_refused")
        self.refuse("imap", [b"* PREAUTH hello\r\n"], "starttls_refused")
        self.refuse("xmpp", [*TALKS["xmpp"][:2], STREAM + b"<stream:features/>"],
                    "starttls_refused")

    def test_injected(self):
        """CVE-2011-0411, CVE-2021-23222: what came with the word to begin TLS."""
        for kind, lines in TALKS.items():
            with self.subTest(kind=kind):
                self.refuse(kind, [*lines[:-1], lines[-1] + b"250 injected\r\n"],
                            "starttls_injected")
        self.refuse("smtp", [b"".join(TALKS["smtp"][::2])], "starttls_injected")

    def test_garbage_and_silence(self):
        line = self.refuse("imap", [b"HTTP/1.1 400 Bad\r\n\r\n"], "starttls_failed")
        self.assertIn("HTTP", line["error"])
        line = self.refuse("smtp", [b"220 x\r\n"], "starttls_timeout", "--handshake-timeout",
                           "300ms")
        self.assertIn("300ms", line["error"])

    def test_cut(self):
        def leave(connection):
            talk(connection, TALKS["smtp"][:2])

        gateway = self.start("smtp", Upstream(leave))
        consumer = self.closing(peers.connect(gateway.address))
        self.assertEqual(consumer.read_all().end, "reset")
        line = gateway.wait_session(peers.name_of(consumer))
        self.assertEqual(line["reason"], "starttls_failed")
        self.assertIn("in the middle", line["error"])

    def test_next_candidate(self):
        """One that does not serve now gives way to the next; one without TLS does not."""
        for refusal, count in ((b"421 busy\r\n", 1), (b"220 x\r\n", 0)):
            with self.subTest(refusal=refusal):
                first = self.closing(Upstream(lambda connection, says=refusal: talk(
                    connection, [says, TALKS["smtp"][1], b"250 SIZE 1\r\n"]
                    if says[:3] == b"220" else [says])))
                second = self.closing(server(TALKS["smtp"]))
                gateway = self.gateway(
                    [f"tls://127.0.0.1:{first.port}", f"tls://127.0.0.1:{second.port}"],
                    "--starttls", "smtp", "--ca", certificate("ca"), "--server-name", "localhost")
                consumer = self.closing(peers.connect(gateway.address))
                if count:
                    self.assertEqual(consumer.read_exactly(18), GREETINGS["smtp"])
                else:
                    self.assertEqual(consumer.read_all().end, "reset")
                self.assertEqual(second.accepted, count)

    def test_wrong_name(self):
        upstream = server(TALKS["smtp"])
        self.closing(upstream)
        gateway = self.gateway(f"tls://127.0.0.1:{upstream.port}", "--starttls", "smtp", "--ca",
                               certificate("ca"), "--server-name", "elsewhere.example")
        consumer = self.closing(peers.connect(gateway.address))
        self.assertEqual(consumer.read_all()[::2], (0, "reset"))  # not even the greeting
        line = gateway.wait_session(peers.name_of(consumer))
        self.assertEqual(line["reason"], "upstream_verify_failed")

    def test_warm(self):
        """The greeting is kept with the connection."""
        upstream = server(TALKS["smtp"])
        gateway = self.start("smtp", upstream, "--warm-min", 2, "--workers", 1)
        until(lambda: upstream.accepted >= 2, what="warm connections")
        for _ in range(5):
            consumer = self.closing(peers.connect(gateway.address))
            greeting = GREETINGS["smtp"]
            self.assertEqual(consumer.read_exactly(len(greeting)), greeting)
            consumer.send(b"EHLO me\r\n")
            self.assertEqual(consumer.read_exactly(9), b"EHLO me\r\n")
            consumer.close()
        until(lambda: any(line.get("warm") for line in gateway.sessions()), what="a warm one")

    def test_peers_are_real(self):
        """OpenSSL's own client finds the servers of this test true to the protocols."""
        for kind in ("smtp", "imap", "pop3", "ftp", "ldap", "postgres"):
            with self.subTest(kind=kind):
                upstream = self.closing(Upstream(lambda connection, kind=kind: loose(
                    connection, kind)))
                done = subprocess.run(
                    [need("openssl"), "s_client", "-starttls", kind, "-connect",
                     f"127.0.0.1:{upstream.port}", "-CAfile", certificate("ca"),
                     "-verify_hostname", "localhost", "-verify_return_error", "-brief"],
                    stdin=subprocess.DEVNULL, capture_output=True, timeout=STEP, check=False)
                self.assertIn(b"Verification: OK", done.stderr, done.stderr)


def loose(connection, kind):
    """The same words, whatever s_client asks in between."""
    lines = TALKS[kind]
    for index, line in enumerate(lines):
        if index % 2 == 0:
            if kind == "imap" and index:
                line = line.replace(b"e%d" % (index // 2), tag)
            if line:
                connection.send(line)
        else:
            got = connection.recv()
            if kind == "pop3" and got.startswith(b"CAPA"):
                connection.send(b"+OK\r\nSTLS\r\n.\r\n")
                got = connection.recv()
            tag = got.split(b" ")[0]
    TlsConnection(connection.sock, server_context(), server_side=True).handshake()
    try:
        connection.recv()
    except (OSError, socket.timeout):
        pass


if __name__ == "__main__":
    unittest.main()
