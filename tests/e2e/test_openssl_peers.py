"""Peers that are not ours: openssl s_server and s_client, curl; and every kind of address."""

import os
import subprocess
import time
import unittest

from harness import STEP, Case, accepts, certificate, free_port, key, need, until
from peers import (Background, Upstream, blob, client_context, connect, echo, server_context,
                   stream_of)

TRUST = ("--server-name", "localhost", "--ca")


def curl(*words):
    return subprocess.run([need("curl"), "-sS", "--max-time", str(int(STEP)), *words],
                          capture_output=True, check=False, timeout=STEP + 5)


class OpenSSL(Case):
    def s_server(self, *options, interactive=False):
        port = free_port()
        program = self.program(
            need("openssl"), "s_server", "-accept", f"127.0.0.1:{port}", "-cert",
            certificate("server"), "-key", key("server"), *options,
            stdin=subprocess.PIPE if interactive else subprocess.DEVNULL)
        program.wait_output("ACCEPT")
        return program, port

    def test_the_page(self):
        """The README's first example."""
        for version in ("-tls1_3", "-tls1_2"):
            with self.subTest(version=version):
                _, up = self.s_server("-www", version)
                port = free_port()
                self.gateway(f"127.0.0.1:{up}", *TRUST, certificate("ca"),
                             listen=f"127.0.0.1:{port}")
                page = curl(f"http://127.0.0.1:{port}/")
                self.assertEqual(page.returncode, 0, page.stderr)
                self.assertIn(b"s_server -accept", page.stdout)
                self.assertIn(version.replace("-tls1_", "TLSv1.").encode(), page.stdout)

    def test_line_by_line(self):
        for version in ("-tls1_3", "-tls1_2"):
            with self.subTest(version=version):
                _, up = self.s_server("-rev", version)
                gateway = self.gateway(f"127.0.0.1:{up}", *TRUST, certificate("ca"))
                consumer = self.closing(connect(gateway.address))
                for word in (b"stressed", b"drawer"):
                    consumer.send(word + b"\n")
                    self.assertEqual(consumer.read_exactly(len(word) + 1), word[::-1] + b"\n")

    def test_client_certificate_required(self):
        _, up = self.s_server("-www", "-Verify", "1", "-verify_return_error", "-CAfile",
                              certificate("ca"))
        for name, works in (("client", True), ("client-other", False)):
            with self.subTest(name=name):
                gateway = self.gateway(f"127.0.0.1:{up}", *TRUST, certificate("ca"), "--cert",
                                       certificate(name), "--key", key(name))
                page = curl(f"http://127.0.0.1:{gateway.address[1]}/")
                self.assertEqual(b"s_server" in page.stdout, works, page.stderr)
                if not works:
                    until(gateway.sessions, what="the session's line")
                    self.assertEqual(gateway.sessions()[0]["reason"],
                                     "upstream_rejected_client_cert")

    def test_key_update_by_the_upstream(self):
        """K asks for ours in return, k does not; the stream goes on both ways."""
        server, up = self.s_server("-tls1_3", interactive=True)
        gateway = self.gateway(f"127.0.0.1:{up}", *TRUST, certificate("ca"))
        consumer = self.closing(connect(gateway.address))
        for number in range(8):
            line = b"from the consumer, number %d\n" % number
            consumer.send(line)
            server.wait_output(line.decode())
            server.type(b"K\n" if number % 2 else b"k\n")
            time.sleep(0.2)  # s_server obeys the first letter of what one read(2) gives
            line = b"from the upstream, number %d\n" % number
            server.type(line)
            self.assertEqual(consumer.read_exactly(len(line)), line)
        consumer.send(b"flush\n")
        until(lambda: server.output().count("SSL_do_handshake -> 1") == 8, what="8 key updates")

    def test_key_update_by_the_consumer(self):
        upstream = self.closing(Upstream(echo))
        gateway = self.gateway(upstream.url(), "--listen-cert", certificate("server"),
                               "--listen-key", key("server"), scheme="tls")
        client = self.s_client(gateway, "-tls1_3")
        for number in range(8):
            client.type(b"number %d\n" % number)
            client.wait_output(f"number {number}\n")
            client.type(b"K\n" if number % 2 else b"k\n")
            until(lambda n=number: client.output().count("KEYUPDATE") > n, what="the key update")

    def s_client(self, gateway, *options):
        client = self.program(
            need("openssl"), "s_client", "-connect", f"127.0.0.1:{gateway.address[1]}", "-CAfile",
            certificate("ca"), "-verify_return_error", "-verify_hostname", "localhost", *options,
            stdin=subprocess.PIPE)
        client.wait_output("Verify return code: 0 (ok)")
        return client

    def test_s_client(self):
        upstream = self.closing(Upstream(echo))
        gateway = self.gateway(upstream.url(), "--listen-cert", certificate("server"),
                               "--listen-key", key("server"), scheme="tls")
        for version in ("-tls1_3", "-tls1_2"):
            with self.subTest(version=version):
                client = self.s_client(gateway, version)
                client.type(b"there and back\n")
                client.wait_output("there and back\n")

    def test_s_client_with_certificate(self):
        upstream = self.closing(Upstream(echo))
        gateway = self.gateway(
            upstream.url(), "--listen-cert", certificate("server"), "--listen-key", key("server"),
            "--listen-ca", certificate("ca"), scheme="tls")
        client = self.s_client(gateway, "-cert", certificate("client"), "-key", key("client"))
        client.type(b"there and back\n")
        client.wait_output("there and back\n")


class Addresses(Case):
    """Every pairing of the design's table, by a round trip of 1 MiB."""

    data = blob(1 << 20, 60)

    def round_trip(self, upstream, url, *options, listen=None, tls=False):
        options = list(options)
        if tls:
            options += ["--listen-cert", certificate("server"), "--listen-key", key("server")]
        gateway = self.gateway(url, *options, listen=listen, scheme="tls" if tls else "tcp")
        consumer = self.closing(connect(gateway.address, client_context() if tls else None))
        sending = Background(lambda: (consumer.send(self.data), consumer.end()))
        self.assertEqual(consumer.read_all(), stream_of(self.data))
        sending.result()
        self.assertEqual(upstream.result(), len(self.data))
        until(gateway.sessions, what="the session's line")
        self.assertEqual(gateway.sessions()[0]["reason"], "done")
        return gateway

    def tls_upstream(self, **settings):
        return self.closing(Upstream(echo, server_context(), **settings))

    def plain_upstream(self, **settings):
        return self.closing(Upstream(echo, **settings))

    def test_plain_relay(self):
        upstream = self.plain_upstream()
        self.round_trip(upstream, upstream.url())

    def test_termination(self):
        upstream = self.plain_upstream()
        self.round_trip(upstream, upstream.url(), tls=True)

    def test_re_encryption(self):
        upstream = self.tls_upstream()
        self.round_trip(upstream, upstream.url(), *TRUST, certificate("ca"), tls=True)

    def test_ipv6_listener(self):
        upstream = self.tls_upstream()
        self.round_trip(upstream, upstream.url(), *TRUST, certificate("ca"),
                        listen=f"[::1]:{free_port('::1')}")

    def test_ipv6_upstream(self):
        upstream = self.tls_upstream(address=("::1", 0))
        self.round_trip(upstream, upstream.url("[::1]"), "--ca", certificate("ca"))

    def test_unix_listener(self):
        upstream = self.tls_upstream()
        path = os.path.join(self.scratch(), "in")
        gateway = self.round_trip(upstream, upstream.url(), *TRUST, certificate("ca"),
                                  listen=f"unix:{path}")
        gateway.process.terminate()
        gateway.wait_exit()
        self.assertFalse(os.path.exists(path), "the path is left behind")

    def test_unix_listener_left_by_a_dead_process(self):
        path = os.path.join(self.scratch(), "in")
        first = self.gateway("tcp://127.0.0.1:1", listen=f"unix:{path}")
        first.process.kill()
        first.process.wait()
        first.process.returncode = 0  # this end was the test's doing
        self.assertTrue(os.path.exists(path))
        upstream = self.plain_upstream()
        self.round_trip(upstream, upstream.url(), listen=f"unix:{path}")

    def test_abstract_unix_listener(self):
        upstream = self.tls_upstream()
        self.round_trip(upstream, upstream.url(), *TRUST, certificate("ca"),
                        listen=f"unix:@esclusa-e2e-{os.getpid()}")

    def test_unix_upstream(self):
        path = os.path.join(self.scratch(), "out")
        self.round_trip(self.plain_upstream(address=path), f"unix:{path}")

    def test_abstract_unix_upstream(self):
        name = f"esclusa-e2e-out-{os.getpid()}"
        self.round_trip(self.plain_upstream(address="\0" + name), f"unix:@{name}")

    def test_several_listeners(self):
        upstream = self.tls_upstream()
        listen = [f"tcp://127.0.0.1:{free_port()}", f"tcp://[::1]:{free_port('::1')}"]
        gateway = self.gateway(upstream.url(), *TRUST, certificate("ca"), listen=listen)
        for text in gateway.listen:
            address = gateway._address(text)
            self.assertTrue(accepts(address[1], address[0]))
            consumer = self.closing(connect(address))
            consumer.send(b"hello")
            consumer.end()
            self.assertEqual(consumer.read_all(), stream_of(b"hello"))


if __name__ == "__main__":
    unittest.main()
