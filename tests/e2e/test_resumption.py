"""TLS sessions with the upstream: resumed where that is safe, verified in full where it is not; and
what a peer may send after the handshake."""

import shutil
import subprocess
import threading
import time
import unittest

from harness import CERTS, SANITIZED, STEP, TLS_PEER, Case, certificate, free_port, key, need
from peers import (TLS12, TLS13, Background, Upstream, connect, echo, name_of, server_context)
from test_reload import ConfigGateway, service, services

TRUST = ("--server-name", "localhost", "--ca", certificate("ca"))
# Each worker keeps its own sessions, and strictness is told, and so verified, once more.
PLAIN = (*TRUST, "--workers", "1", "--x509-strict", "off")


class Resumption(Case):
    def s_server(self, *options, port=None, name="server"):
        port = port or free_port()
        program = self.program(
            need("openssl"), "s_server", "-accept", f"127.0.0.1:{port}", "-cert",
            certificate(name), "-key", key(name), "-rev", "-tlsextdebug", *options)
        program.wait_output("ACCEPT")
        return program, port

    def once(self, gateway, address=None):
        """A session that asks and is answered; its line's `resumed`."""
        consumer = self.closing(connect(address or gateway.address))
        consumer.send(b"stressed\n")
        self.assertEqual(consumer.read_exactly(9), b"desserts\n")
        consumer.end()
        consumer.read_all()
        return gateway.wait_session(name_of(consumer))["resumed"]

    def refused(self, gateway, address=None):
        """A session that must not get through; its line."""
        consumer = self.closing(connect(address or gateway.address))
        consumer.offer(b"secret\n")
        self.assertEqual(consumer.read_all().end, "reset")
        return gateway.wait_session(name_of(consumer))

    # ---- on and off ----

    def test_resumed(self):
        for version in ("-tls1_3", "-tls1_2"):
            with self.subTest(version=version):
                _, up = self.s_server(version)
                gateway = self.gateway(f"127.0.0.1:{up}", *PLAIN)
                self.assertEqual([self.once(gateway) for _ in range(4)],
                                 [False, True, True, True])

    def test_strictness_is_told_once_then_resumed(self):
        _, up = self.s_server()
        gateway = self.gateway(f"127.0.0.1:{up}", *TRUST, "--workers", "1")
        self.assertTrue([self.once(gateway) for _ in range(3)][-1])

    def test_no_ticket_no_resumption(self):
        _, up = self.s_server("-tls1_3", "-num_tickets", "0")
        gateway = self.gateway(f"127.0.0.1:{up}", *PLAIN)
        self.assertEqual([self.once(gateway) for _ in range(3)], [False] * 3)

    def test_off(self):
        for version in ("-tls1_3", "-tls1_2"):
            with self.subTest(version=version):
                _, up = self.s_server(version)
                gateway = self.gateway(f"127.0.0.1:{up}", *PLAIN, "--resumption", "false")
                self.assertEqual([self.once(gateway) for _ in range(3)], [False] * 3)

    def test_with_a_client_certificate(self):
        """Resumed only together with the certificate that the session was made with."""
        _, up = self.s_server("-Verify", "1", "-verify_return_error", "-CAfile",
                              certificate("ca"))
        gateway = self.gateway(f"127.0.0.1:{up}", *PLAIN, "--cert", certificate("client"), "--key",
                               key("client"))
        self.assertEqual([self.once(gateway) for _ in range(3)], [False, True, True])

    # ---- how often and how long ----

    def test_a_ticket_is_used_once(self):
        context = server_context(version=TLS13)
        context.num_tickets = 1
        upstream = self.closing(Upstream(echo, context))
        gateway = self.gateway(upstream.url(), *PLAIN)

        def ask():
            consumer = self.closing(connect(gateway.address))
            consumer.send(b"x")
            self.assertEqual(consumer.read_exactly(1), b"x")  # the ticket came before that
            return consumer

        def end(consumer):
            consumer.end()
            consumer.read_all()
            return gateway.wait_session(name_of(consumer))["resumed"]

        self.assertFalse(end(ask()))
        context.num_tickets = 0
        self.assertEqual([end(consumer) for consumer in (ask(), ask(), ask())],
                         [True, False, False])

    def test_age_since_the_last_full_verification(self):
        for version in (TLS12, TLS13):
            with self.subTest(version=version):
                upstream = self.closing(Upstream(echo, server_context(version=version)))
                gateway = self.gateway(upstream.url(), *PLAIN, "--resumption-age", "5s")

                def ask(gateway=gateway):
                    consumer = self.closing(connect(gateway.address))
                    consumer.send(b"x")
                    consumer.read_exactly(1)
                    consumer.end()
                    consumer.read_all()
                    return gateway.wait_session(name_of(consumer))["resumed"]

                begun = time.monotonic()
                self.assertFalse(ask())
                while ask():  # each of these makes new tickets, which inherit the time
                    self.assertLess(time.monotonic() - begun, 5 + STEP)
                    time.sleep(0.3)
                self.assertGreater(time.monotonic() - begun, 3)
                self.assertTrue(ask())

    # ---- what must not be resumed ----

    def test_an_upstream_with_another_certificate(self):
        """It is restarted and does not know the ticket: verified like any other, and refused."""
        for version in ("-tls1_3", "-tls1_2"):
            with self.subTest(version=version):
                server, up = self.s_server(version)
                gateway = self.gateway(f"127.0.0.1:{up}", *PLAIN)
                self.assertEqual([self.once(gateway) for _ in range(2)], [False, True])
                server.stop()
                rogue, _ = self.s_server(version, port=up, name="selfsigned")
                line = self.refused(gateway)
                self.assertEqual(line["reason"], "upstream_verify_failed")
                self.assertEqual(line["bytes_up"], 0)
                if version == "-tls1_3":
                    self.assertIn('client extension "psk"', rogue.output())
                rogue.stop()
                self.s_server(version, port=up)
                self.assertEqual([self.once(gateway) for _ in range(2)], [False, True])

    def test_two_upstreams_have_their_own(self):
        """The second candidate is the first's double, and knows none of its tickets."""
        first, up = self.s_server("-tls1_3")
        second = self.closing(Upstream(echo, server_context()))
        gateway = self.gateway([f"127.0.0.1:{up}", f"127.0.0.1:{second.port}"], *PLAIN)
        self.assertEqual([self.once(gateway) for _ in range(2)], [False, True])
        first.stop()
        consumer = self.closing(connect(gateway.address))
        consumer.send(b"x")
        consumer.read_exactly(1)
        consumer.end()
        consumer.read_all()
        self.assertFalse(gateway.wait_session(name_of(consumer))["resumed"])

    # ---- reload ----

    def test_reload(self):
        directory, port = self.scratch(), free_port()
        shutil.copy(certificate("ca"), f"{directory}/ca.pem")
        _, up = self.s_server()

        def text(*more):
            return "workers = 1; watch = false; allow_weaker = true;\n" + services(service(
                "one", port, f"127.0.0.1:{up}", f'ca = "{directory}/ca.pem";',
                'server_name = "localhost"; x509_strict = "off";', *more))

        gateway = ConfigGateway(directory, text())
        self.addCleanup(gateway.stop)
        address = ("127.0.0.1", port)
        self.assertEqual([self.once(gateway, address) for _ in range(2)], [False, True])
        gateway.reload()  # nothing has changed
        self.assertTrue(self.once(gateway, address))
        gateway.write(text('idle_timeout = "2h";'))  # nothing that a session stands on
        gateway.reload()
        self.assertTrue(self.once(gateway, address))
        for more in ('groups = "P-256";', 'tls_min = "1.3";', 'alpn = ["x"];'):
            gateway.write(text(more))
            gateway.reload()
            self.assertEqual([self.once(gateway, address) for _ in range(2)], [False, True], more)
        with open(f"{directory}/ca.pem", "a", encoding="ascii") as anchors:
            with open(certificate("other-ca"), encoding="ascii") as other:
                anchors.write(other.read())
        gateway.reload()
        self.assertEqual([self.once(gateway, address) for _ in range(2)], [False, True])
        shutil.copy(certificate("other-ca"), f"{directory}/ca.pem")
        gateway.reload()
        self.assertEqual(self.refused(gateway, address)["reason"], "upstream_verify_failed")


class AfterTheHandshake(Case):
    """KeyUpdates and tickets: answered, but not without end."""

    def tls_peer(self, mode):
        program = self.program(TLS_PEER, mode, certificate("server"), key("server"))
        program.wait_output("port ")
        return program, int(program.output().split()[1])

    def test_flood_of_an_upstream(self):
        for mode, what in (("flood", "KeyUpdate messages"), ("tickets", "session tickets")):
            with self.subTest(mode=mode):
                peer, port = self.tls_peer(mode)
                gateway = self.gateway(f"127.0.0.1:{port}", *TRUST)
                consumer = self.closing(connect(gateway.address))
                self.assertEqual(consumer.read_all().end, "reset")
                line = gateway.wait_session(name_of(consumer))
                self.assertEqual((line["reason"], line["error"]),
                                 ("upstream_tls_error", f"too many {what}"))
                peer.wait_output("sent ")

    def test_flood_of_a_consumer(self):
        upstream = self.closing(Upstream(echo))
        gateway = self.gateway(upstream.url(), "--listen-cert", certificate("server"),
                               "--listen-key", key("server"), scheme="tls")
        client = self.program(TLS_PEER, "flood", str(gateway.address[1]))
        client.wait_output("sent ")
        line = gateway.wait_log(lambda line: line["event"] == "session", what="the session's end")
        self.assertEqual((line["reason"], line["error"]),
                         ("consumer_tls_error", "too many KeyUpdate messages"))
        self.assertIsInstance(upstream.outcome(), (ConnectionResetError, BrokenPipeError))

    def test_others_do_not_wait(self):
        """Four that flood, again and again, and one with a question: on the same worker."""
        _, flood = self.tls_peer("flood")
        upstream = self.closing(Upstream(echo, server_context()))
        directory, ports = self.scratch(), (free_port(), free_port())
        trust = f'ca = "{CERTS}/ca.pem"; server_name = "localhost";'
        gateway = ConfigGateway(directory, "workers = 1;\n" + services(
            service("flood", ports[0], f"127.0.0.1:{flood}", trust),
            service("good", ports[1], upstream.url(), trust)))
        self.addCleanup(gateway.stop)
        over = threading.Event()

        def attack():
            count = 0
            while not over.is_set():
                consumer = connect(("127.0.0.1", ports[0]))
                consumer.read_all()
                consumer.close()
                count += 1
            return count

        consumer = self.closing(connect(("127.0.0.1", ports[1])))
        attacks, waits = [Background(attack) for _ in range(4)], []
        try:
            for _ in range(200):
                begun = time.monotonic()
                consumer.send(b"x")
                self.assertEqual(consumer.read_exactly(1), b"x")
                waits.append(time.monotonic() - begun)
                time.sleep(0.01)
        finally:
            over.set()
        self.assertGreater(sum(each.result() for each in attacks), 10)
        waits.sort()
        # Measured: 15 ms; without the limit 300 ms and more. The machine is busy with the attack.
        self.assertLess(waits[len(waits) * 9 // 10], 1.0 if SANITIZED else 0.2, waits[-20:])

    def test_new_keys_by_volume(self):
        """32 MiB, new keys each MiB, either way: as some do."""
        _, port = self.tls_peer("rekey")
        gateway = self.gateway(f"127.0.0.1:{port}", *TRUST)
        consumer = self.closing(connect(gateway.address))
        got = Background(consumer.read_all)
        self.assertEqual((got.result(3 * STEP).count, got.result().end), (32 << 20, "eof"))
        consumer.end()
        self.assertEqual(gateway.wait_session(name_of(consumer))["reason"], "done")

    def test_new_keys_by_volume_of_a_consumer(self):
        upstream = self.closing(Upstream(lambda connection: connection.read_all()))
        gateway = self.gateway(upstream.url(), "--listen-cert", certificate("server"),
                               "--listen-key", key("server"), scheme="tls")
        done = subprocess.run([TLS_PEER, "rekey", str(gateway.address[1])], capture_output=True,
                              timeout=3 * STEP, check=True)
        self.assertEqual(done.stdout, b"sent 32\n")
        got = upstream.result()
        self.assertEqual((got.count, got.end), (32 << 20, "eof"))

    def test_tickets_of_a_generous_server(self):
        context = server_context(version=TLS13)
        context.num_tickets = 8
        upstream = self.closing(Upstream(echo, context))
        gateway = self.gateway(upstream.url(), *TRUST)
        consumer = self.closing(connect(gateway.address))
        consumer.send(b"x")
        self.assertEqual(consumer.read_exactly(1), b"x")


if __name__ == "__main__":
    unittest.main()
