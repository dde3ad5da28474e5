"""Upstreams behind forward proxies. Their names exist at the proxy alone."""

import os
import socket
import ssl
import subprocess
import threading
import time
import unittest

import peers
from harness import ESCLUSA, STEP, Case, certificate
from peers import Upstream, server_context
from pki import Authority
from proxies import HttpProxy, SocksProxy
from test_starttls import GREETINGS, TALKS, server

NAME = "localhost.invalid"  # RFC 6761 6.4: no resolver knows it


class Proxy(Case):
    def upstream(self, script=peers.echo, context=None):
        made = self.closing(Upstream(script, context or server_context()))
        return made, {f"{NAME}:443": ("127.0.0.1", made.port)}

    def credentials(self, text, mode=0o600):
        path = os.path.join(self.scratch(), "credentials")
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        os.chmod(path, mode)
        return path

    def start(self, proxy, *options, connect=f"tls://{NAME}:443", scheme="http", host="127.0.0.1"):
        self.closing(proxy)
        return self.gateway(connect, "--proxy", f"{scheme}://{host}:{proxy.port}", "--ca",
                            certificate("ca"), "--server-name", "localhost", *options)

    def exchange(self, gateway, size=1000000):
        consumer = self.closing(peers.connect(gateway.address))
        data = peers.blob(size)
        echo = peers.Background(consumer.read_exactly, len(data))
        consumer.send(data)
        self.assertEqual(echo.result(), data)
        consumer.end()
        self.assertEqual(consumer.read_all().end, "eof")
        line = gateway.wait_session(peers.name_of(consumer))
        self.assertEqual(line["reason"], "done", line)
        return line

    def refuse(self, gateway, reason, phase="proxy"):
        consumer = self.closing(peers.connect(gateway.address))
        consumer.offer(b"the consumer's secret")
        got = consumer.read_all()
        self.assertEqual((got.count, got.end), (0, "reset"))
        line = gateway.wait_session(peers.name_of(consumer))
        self.assertEqual((line["reason"], line["phase"]), (reason, phase), line)
        return line


class Http(Proxy):
    def test_through(self):
        upstream, hosts = self.upstream()
        proxy = HttpProxy(hosts)
        line = self.exchange(self.start(proxy))
        self.assertEqual(proxy.asked, [f"{NAME}:443"])
        self.assertNotIn(b"Authorization", proxy.requests[0])
        self.assertEqual(upstream.server_names, ["localhost"])
        self.assertEqual(line["upstream"], f"tls://{NAME}:443")
        self.assertEqual(line["address"], f"127.0.0.1:{proxy.port}")

    def test_credentials(self):
        _, hosts = self.upstream()
        proxy = HttpProxy(hosts, user="me:pass:word")
        gateway = self.start(proxy, "--proxy-credentials", self.credentials("me:pass:word\n"))
        self.exchange(gateway)
        bad = self.start(proxy, "--proxy-credentials", self.credentials("me:other"))
        line = self.refuse(bad, "proxy_denied")
        self.assertIn("407", line["error"])
        self.assertIn("check user and password", line["remedy"])
        self.assertNotIn("other", bad.log_text())
        line = self.refuse(self.start(proxy), "proxy_denied")
        self.assertIn("proxy_credentials", line["remedy"])

    def test_refusals(self):
        _, hosts = self.upstream()
        for answer, reason, words in (
                (b"HTTP/1.1 403 Forbidden\r\n\r\n", "proxy_denied", "403 Forbidden"),
                (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "proxy_unreachable", "502 Bad Gateway"),
                (b"HTTP/1.1 504 Timeout\r\n\r\n", "proxy_unreachable", "504 Timeout"),
                (b"SSH-2.0-OpenSSH\r\n", "proxy_failed", "not HTTP/1"),
                (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 12000, "proxy_failed", "64 KiB"),
                (b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200", "proxy_failed", "before the upstream")):
            with self.subTest(answer=answer[:30]):
                line = self.refuse(self.start(HttpProxy(hosts, answer=answer)), reason)
                self.assertIn(words, line["error"])

    def test_silence(self):
        proxy = HttpProxy({}, answer=b"HTTP/1.1 200")
        line = self.refuse(self.start(proxy, "--handshake-timeout", "300ms"), "proxy_timeout")
        self.assertIn("of the proxy within 300ms", line["error"])

    def deaf(self, says, *options):
        """A proxy that takes a part of a long request, says that, and then waits."""
        def script(connection):
            connection.send(says)
            over.wait(STEP)

        over = threading.Event()
        self.addCleanup(over.set)
        proxy = Upstream(script)
        proxy.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        long = "u" * 4096 + ":" + "p" * 4096
        return self.start(proxy, "--send-buffer", 4096, "--proxy-credentials",
                          self.credentials(long), *options)

    def test_answered_before_all_was_asked(self):
        """What the proxy says is heard though it takes no more, and so is why."""
        line = self.refuse(self.deaf(b"HTTP/1.1 403 Too long\r\n\r\n"), "proxy_denied")
        self.assertIn("403 Too long", line["error"])

    def test_half_an_answer_before_all_was_asked(self):
        """It is waited for, not asked for over and over."""
        gateway = self.deaf(b"HTTP/1.1 ", "--handshake-timeout", "2s")
        before = gateway.cpu()
        self.refuse(gateway, "proxy_timeout")
        self.assertLess(gateway.cpu() - before, 1)

    def test_next_candidate(self):
        """The proxy does not get to the first; to the second it does."""
        _, hosts = self.upstream()
        proxy = HttpProxy(hosts)
        gateway = self.start(proxy, connect=["tls://nowhere.invalid:443", f"tls://{NAME}:443"])
        self.exchange(gateway, 1000)
        self.assertEqual(proxy.asked, ["nowhere.invalid:443", f"{NAME}:443"])

    def test_verified_through_it(self):
        _, hosts = self.upstream()
        other = Authority(self.scratch(), "other")
        proxy = self.closing(HttpProxy(hosts))
        gateway = self.gateway(f"tls://{NAME}:443", "--proxy", f"http://127.0.0.1:{proxy.port}",
                               "--ca", other.certificate, "--server-name", "localhost")
        self.refuse(gateway, "upstream_verify_failed", "upstream_handshake")

    def test_plain_upstream(self):
        """Its first words may come with the proxy's answer."""
        def greet(connection):
            connection.send(b"hello")
            return peers.echo(connection)

        upstream = self.closing(Upstream(greet))
        proxy = self.closing(HttpProxy({f"{NAME}:1": ("127.0.0.1", upstream.port)},
                                       head=b"HTTP/1.1 200 OK\r\n\r\nearly "))
        gateway = self.gateway(f"tcp://{NAME}:1", "--proxy", f"http://127.0.0.1:{proxy.port}")
        consumer = self.closing(peers.connect(gateway.address))
        self.assertEqual(consumer.read_exactly(11), b"early hello")
        consumer.send(b"x")
        self.assertEqual(consumer.read_exactly(1), b"x")

    def test_starttls_behind_it(self):
        upstream = self.closing(server(TALKS["smtp"]))
        proxy = HttpProxy({f"{NAME}:25": ("127.0.0.1", upstream.port)})
        gateway = self.start(proxy, "--starttls", "smtp", connect=f"tls://{NAME}:25")
        consumer = self.closing(peers.connect(gateway.address))
        greeting = GREETINGS["smtp"]
        self.assertEqual(consumer.read_exactly(len(greeting)), greeting)
        consumer.send(b"EHLO\r\n")
        self.assertEqual(consumer.read_exactly(6), b"EHLO\r\n")

    def test_starttls_answered_before_it_was_asked(self):
        """What comes with the proxy's answer is no answer of the server's."""
        for kind, early in (("postgres", b"S"), ("ldap", TALKS["ldap"][2]),
                            ("xmpp", TALKS["xmpp"][2])):
            with self.subTest(kind=kind):
                upstream = self.closing(server(["", TALKS[kind][1], *TALKS[kind][3:]]))
                proxy = HttpProxy({f"{NAME}:1": ("127.0.0.1", upstream.port)},
                                  head=b"HTTP/1.1 200 OK\r\n\r\n" + early)
                gateway = self.start(proxy, "--starttls", kind, connect=f"tls://{NAME}:1")
                self.refuse(gateway, "starttls_injected", "starttls")

    def test_warm(self):
        _, hosts = self.upstream()
        gateway = self.start(HttpProxy(hosts), "--warm-min", 2, "--workers", 1)
        for _ in range(5):
            self.exchange(gateway, 1000)
        self.assertTrue(any(line.get("warm") for line in gateway.sessions()))


class Https(Proxy):
    """TLS with the upstream inside of TLS with the proxy."""

    def test_through(self):
        _, hosts = self.upstream()
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with self.subTest(version=version):
                proxy = HttpProxy(hosts, user="a:b", context=server_context(version=version))
                gateway = self.start(proxy, "--proxy-ca", certificate("ca"), "--proxy-credentials",
                                     self.credentials("a:b"), scheme="https", host="localhost")
                self.exchange(gateway, 5000000)
                self.exchange(gateway, 1)

    def test_slow_reader_and_cut(self):
        """Whatever fills up on the way, all of it comes; and a cut is no clean end."""
        data = peers.blob(8000000)

        def flood(connection):
            connection.send(data)
            return connection.recv()

        upstream, hosts = self.upstream(flood)
        proxy = HttpProxy(hosts, context=server_context())
        gateway = self.start(proxy, "--proxy-ca", certificate("ca"), scheme="https",
                             host="localhost")
        consumer = self.closing(peers.connect(gateway.address, rcvbuf=8192))
        got = bytearray()
        while len(got) < len(data):
            got += consumer.recv(1 << 14)
        self.assertEqual(bytes(got), data)
        consumer.send(b"enough")
        self.assertEqual(upstream.result(), b"enough")
        self.assertEqual(consumer.read_all()[::2], (0, "reset"))
        line = gateway.wait_session(peers.name_of(consumer))
        self.assertEqual(line["reason"], "upstream_truncated", line)

    def test_slow_upstream(self):
        """What the proxy's TLS could not hand to the kernel at once goes out all the same."""
        data, begun = peers.blob(8000000), threading.Event()

        def sip(connection):
            begun.wait(STEP)
            return peers.digest(connection.read_exactly(len(data)))

        upstream, hosts = self.upstream(sip)
        proxy = HttpProxy(hosts, context=server_context())
        proxy.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        gateway = self.start(proxy, "--proxy-ca", certificate("ca"), "--send-buffer", 8192,
                             scheme="https", host="localhost")
        consumer = self.closing(peers.connect(gateway.address))
        sending = peers.Background(consumer.send, data)
        time.sleep(0.3)  # so that every buffer on the way is full
        begun.set()
        self.assertEqual(upstream.result(), peers.digest(data))
        sending.result()

    def test_what_waits_in_the_lower_tls(self):
        """The last bytes of a consumer that says no more, where the proxy did not read for a while."""
        going = threading.Event()
        going.set()

        class Pausing(HttpProxy):
            def _converse(self, connection):
                plain = connection.recv
                connection.recv = lambda *size: (going.wait(STEP), plain(*size))[1]
                super()._converse(connection)

        def hear(connection):
            connection.send(connection.read_exactly(1))
            return connection.read_exactly(60000)

        upstream, hosts = self.upstream(hear)
        proxy = Pausing(hosts, context=server_context())
        proxy.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        gateway = self.start(proxy, "--proxy-ca", certificate("ca"), "--send-buffer", 8192,
                             scheme="https", host="localhost")
        consumer = self.closing(peers.connect(gateway.address))
        consumer.send(b"x")
        self.assertEqual(consumer.read_exactly(1), b"x")
        going.clear()
        consumer.send(peers.blob(60000))
        time.sleep(0.3)
        going.set()
        self.assertEqual(upstream.result(), peers.blob(60000))

    def test_wrong_certificate(self):
        _, hosts = self.upstream()
        other = Authority(self.scratch(), "other")
        proxy = HttpProxy(hosts, context=server_context())
        line = self.refuse(self.start(proxy, "--proxy-ca", other.certificate, scheme="https",
                                      host="localhost"), "proxy_verify_failed")
        self.assertIn("TLS with the proxy", line["error"])
        self.refuse(self.start(proxy, "--proxy-ca", certificate("ca"), "--proxy-server-name",
                               "elsewhere.example", scheme="https", host="localhost"),
                    "proxy_verify_failed")
        self.assertEqual(proxy.requests, [])

    def test_no_tls_there(self):
        proxy = HttpProxy({}, answer=b"")
        proxy.script = lambda connection: connection.send(b"HTTP/1.1 400 Bad\r\n\r\n")
        self.refuse(self.start(proxy, "--proxy-ca", certificate("ca"), scheme="https",
                               host="localhost"), "proxy_failed")


class Socks(Proxy):
    def test_through(self):
        _, hosts = self.upstream()
        proxy = SocksProxy(hosts)
        self.exchange(self.start(proxy, scheme="socks5"))
        self.assertEqual(proxy.asked, [f"{NAME}:443"])

    def test_password(self):
        _, hosts = self.upstream()
        proxy = SocksProxy(hosts, user="me:secret")
        self.exchange(self.start(proxy, "--proxy-credentials", self.credentials("me:secret\n"),
                                 scheme="socks5"), 1000)
        line = self.refuse(self.start(proxy, "--proxy-credentials", self.credentials("me:wrong"),
                                      scheme="socks5"), "proxy_denied")
        self.assertIn("refused the user and password", line["error"])
        line = self.refuse(self.start(proxy, scheme="socks5"), "proxy_denied")
        self.assertIn("none of the ways to log in", line["error"])

    def test_refusals(self):
        for code, reason in ((1, "proxy_unreachable"), (2, "proxy_denied"), (3, "proxy_unreachable"),
                             (4, "proxy_unreachable"), (5, "proxy_unreachable"),
                             (6, "proxy_unreachable"), (7, "proxy_denied"), (8, "proxy_denied"),
                             (9, "proxy_failed")):
            with self.subTest(code=code):
                line = self.refuse(self.start(SocksProxy({}, refuse=code), scheme="socks5"), reason)
                self.assertIn(f"({code})", line["error"])

    def test_http_there(self):
        proxy = HttpProxy({})
        proxy.script = lambda connection: connection.send(b"HTTP/1.1 400 Bad\r\n\r\n")
        line = self.refuse(self.start(proxy, scheme="socks5"), "proxy_failed")
        self.assertIn("an HTTP server", line["error"])


class Settings(Proxy):
    def complaint(self, *options):
        done = subprocess.run([ESCLUSA, "check", "--listen", "127.0.0.1:1", *options],
                              capture_output=True, check=False, timeout=STEP)
        self.assertEqual(done.returncode, 2, done)
        text = done.stderr.decode()
        self.assertEqual(text.count("\n"), 1, text)
        return text

    def test_mistakes(self):
        http = ("--proxy", "http://p:3128")
        tls = ("--connect", "tls://h:1")
        for options, words in (
                ((*tls, "--proxy", "ftp://p:1"), "'ftp://p:1': give http://HOST:PORT"),
                ((*tls, "--proxy", "http://p"), "--proxy"),
                ((*tls, "--proxy", "http://u:pw@p:1"), "proxy_credentials"),
                (("--connect", "unix:/x", *http), "no --proxy gets to"),
                (("--connect", "tls://srv:_a._tcp.b.c", *http), "SRV records"),
                ((*tls, "--proxy-credentials", "/x"), "would not be used without --proxy"),
                ((*tls, *http, "--proxy-ca", "/x"), "not https://"),
                (("--connect", "tcp://h:1", "--starttls", "smtp"), "no --connect is tls://"),
                ((*tls, "--connect", "tcp://h:2", "--starttls", "smtp"), "without TLS"),
                ((*tls, "--starttls", "nntp"), "nntp"),
                ((*tls, "--starttls", "mysql", "--warm-min", "1"), "--warm-min"),
                ((*tls, *http, "--proxy-credentials", self.credentials("a:b", 0o644)),
                 "everybody on this machine may read it"),
                ((*tls, *http, "--proxy-credentials", self.credentials("ab")), "USER:PASSWORD"),
                ((*tls, *http, "--proxy-credentials", "/nonexistent"), "No such file"),
                ((*tls, "--proxy", "socks5://p:1", "--proxy-credentials",
                  self.credentials("a:" + 256 * "x")), "255 bytes")):
            with self.subTest(options=options):
                text = self.complaint(*options)
                self.assertIn(words, text)
                self.assertNotIn("pw@", text)


if __name__ == "__main__":
    unittest.main()
