"""Upstreams that cannot be had, consumers that misbehave, and the deadlines of each phase."""

import socket
import ssl
import subprocess
import time
import unittest
import warnings

from harness import SANITIZED, STEP, Case, certificate, free_port, key, need, until
from peers import (TLS12, Background, Upstream, blob, client_context, connect, echo, name_of,
                   server_context, stream_of, swallow)

SLACK = 5.0 if SANITIZED else 1.5
RESET = stream_of(b"", "reset")
TRUST = ("--ca", "CA", "--server-name", "localhost")


def trust():
    return [certificate("ca") if word == "CA" else word for word in TRUST]


class Refusing(Case):
    """Each way for an upstream not to be had: the consumer is reset, the log says which."""

    def refused(self, upstreams, reason, *options, words=(), phase=None, **settings):
        gateway = self.gateway(upstreams, *options, **settings)
        consumer = self.closing(connect(gateway.address))
        consumer.offer(b"question")
        began = time.monotonic()
        self.assertEqual(consumer.read_all(), RESET)
        line = gateway.wait_session(name_of(consumer))
        self.assertEqual(line["reason"], reason, line)
        told = f"{line.get('error')} {line.get('address')} {line.get('remedy')}"
        for word in words:
            self.assertIn(word, told, line)
        if phase:
            self.assertEqual(line["phase"], phase, line)
        return time.monotonic() - began, line

    def test_port_closed(self):
        port = free_port()
        for scheme in ("tls", "tcp"):
            with self.subTest(scheme=scheme):
                self.refused(f"{scheme}://127.0.0.1:{port}", "connect_failed",
                             words=(f"127.0.0.1:{port}", "refused"), phase="connect")

    def test_no_such_unix_socket(self):
        self.refused(f"unix:{self.scratch()}/none", "connect_failed", words=("/none",))

    def test_name_unresolvable(self):
        self.refused("tls://name.invalid:443", "resolve_failed", words=("name.invalid",),
                     phase="resolve")

    def test_connect_timeout(self):
        """A listener whose queue is full answers no SYN."""
        full = self.closing(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        fillers = []
        for _ in range(4):
            filler = self.closing(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            fillers.append(filler)
        time.sleep(0.1)
        took, _ = self.refused(f"tcp://127.0.0.1:{port}", "connect_timeout",
                               "--connect-timeout", "500ms", words=(f"127.0.0.1:{port}",))
        self.assertGreater(took, 0.4)
        self.assertLess(took, 0.5 + SLACK)

    def test_silent_upstream(self):
        upstream = self.closing(Upstream(lambda peer: peer.read_all()))
        url = f"tls://127.0.0.1:{upstream.port}"
        took, line = self.refused(url, "upstream_handshake_timeout", "--handshake-timeout", "500ms",
                                  *trust(), phase="upstream_handshake")
        self.assertGreater(took, 0.4)
        self.assertLess(took, 0.5 + SLACK)
        self.assertIn(f"127.0.0.1:{upstream.port}", line["address"])

    def test_dripping_upstream(self):
        """A byte now and then does not put off the deadline of the handshake."""
        def drip(peer):
            hello = b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03" + bytes(100)
            try:
                for start in range(len(hello)):
                    peer.send(hello[start:start + 1])
                    time.sleep(0.05)
            except OSError:
                pass

        upstream = self.closing(Upstream(drip))
        took, _ = self.refused(f"tls://127.0.0.1:{upstream.port}", "upstream_handshake_timeout",
                               "--handshake-timeout", "500ms", *trust())
        self.assertLess(took, 0.5 + SLACK)

    def test_upstream_speaks_plaintext(self):
        def script(peer):
            peer.send(b"SSH-2.0-something that is not TLS\r\n")
            peer.read_all()

        upstream = self.closing(Upstream(script))
        self.refused(f"tls://127.0.0.1:{upstream.port}", "upstream_handshake_failed", *trust(),
                     phase="upstream_handshake", words=(f"127.0.0.1:{upstream.port}",))

    def test_upstream_leaves_in_the_handshake(self):
        def fin(peer):
            peer.recv()
            peer.fin()
            peer.read_all()

        def reset(peer):
            peer.recv()
            peer.reset()

        for script in (fin, reset):
            with self.subTest(how=script.__name__):
                upstream = self.closing(Upstream(script))
                self.refused(f"tls://127.0.0.1:{upstream.port}", "upstream_handshake_failed",
                             *trust())

    def test_upstream_too_old(self):
        old = server_context(weak=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        for context, options in ((old, ()), (server_context(version=TLS12), ("--tls-min", "1.3"))):
            upstream = self.closing(Upstream(echo, context))
            self.refused(upstream.url(), "upstream_handshake_failed", *trust(), *options)
            self.assertIsInstance(upstream.outcome(), Exception)


class Candidates(Case):
    """--connect given twice."""

    def test_second_is_used_when_the_first_refuses(self):
        upstream = self.closing(Upstream(echo, server_context()))
        gateway = self.gateway([f"tls://127.0.0.1:{free_port()}", upstream.url()], *trust())
        consumer = self.closing(connect(gateway.address))
        consumer.send(b"hello")
        consumer.end()
        self.assertEqual(consumer.read_all(), stream_of(b"hello"))
        line = gateway.wait_session(name_of(consumer))
        self.assertIn(str(upstream.port), line["upstream"])

    def test_second_is_used_when_the_first_cannot_be_resolved(self):
        upstream = self.closing(Upstream(echo, server_context()))
        gateway = self.gateway(["tls://name.invalid:443", upstream.url()], *trust())
        consumer = self.closing(connect(gateway.address))
        consumer.send(b"hello")
        consumer.end()
        self.assertEqual(consumer.read_all(), stream_of(b"hello"))

    def test_second_does_not_mask_a_bad_certificate(self):
        bad = self.closing(Upstream(echo, server_context("expired")))
        good = self.closing(Upstream(echo, server_context()))
        gateway = self.gateway([bad.url(), good.url()], *trust())
        consumer = self.closing(connect(gateway.address))
        consumer.offer(b"hello")
        self.assertEqual(consumer.read_all(), RESET)
        line = gateway.wait_session(name_of(consumer))
        self.assertEqual(line["reason"], "upstream_verify_failed", line)
        self.assertEqual(good.accepted, 0)


class Log(Case):
    def test_probes_make_no_noise(self):
        """Connect and close, as load balancers do: nothing above debug."""
        upstream = self.closing(Upstream(echo, server_context(), backlog=1024))
        options = [*trust(), "--listen-cert", certificate("server"), "--listen-key", key("server")]
        gateway = self.gateway(upstream.url(), *options, level="debug", listen=[
            f"tcp://127.0.0.1:{free_port()}", f"tls://127.0.0.1:{free_port()}"])
        for address in map(gateway._address, gateway.listen):
            for _ in range(200):
                connect(address).close()
            until(lambda: len(gateway.sessions()) >= 200, what="sessions of probes")
        until(lambda: len(gateway.sessions()) == 400, what="all probes' sessions")
        noisy = [line for line in gateway.lines() if line["level"] in ("warn", "error")
                 and line["event"] != "sandbox"]  # at the start, where it is not whole
        self.assertEqual(noisy, [])
        consumer = self.closing(connect(gateway.address))
        consumer.send(b"alive")
        consumer.end()
        self.assertEqual(consumer.read_all(), stream_of(b"alive"))

    def test_peer_text_is_escaped(self):
        """Names of a hostile certificate cannot forge a line nor write to a terminal."""
        directory = self.scratch()
        hostile = 'evil\n{"event":"session","reason":"done"}\x1b[31m"'
        name = hostile.encode() + b"\x00\xff.test"
        alternative = bytes([0x30, len(name) + 2, 0x82, len(name)]) + name  # one dNSName
        subprocess.run(
            [need("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt",
             "ec_paramgen_curve:P-256", "-nodes", "-utf8", "-days", "30", "-subj", f"/CN={hostile}",
             "-addext", f"subjectAltName=DER:{alternative.hex(':')}", "-keyout",
             f"{directory}/k.pem", "-out", f"{directory}/c.pem"], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{directory}/c.pem", f"{directory}/k.pem")
        upstream = self.closing(Upstream(echo, context))
        gateway = self.gateway(upstream.url(), *trust())
        consumer = self.closing(connect(gateway.address))
        self.assertEqual(consumer.read_all(), RESET)
        line = gateway.wait_session(name_of(consumer))
        self.assertEqual(line["reason"], "upstream_verify_failed", line)
        self.assertEqual({line["reason"] for line in gateway.sessions()},
                         {"upstream_verify_failed"})
        self.assertNotIn("\x1b", gateway.log_text())
        self.assertIn("evil", line["subject"] + line.get("names", ""))
        self.check_text(gateway, upstream)

    def check_text(self, gateway, upstream):
        port = free_port()
        command = [gateway.command[0], "--listen", str(port), "--connect", upstream.url(), *trust()]
        text = self.program(*command)
        until(lambda: "listening" in text.output(), what="the start-up line")
        consumer = self.closing(connect(("127.0.0.1", port)))
        self.assertEqual(consumer.read_all(), RESET)
        text.wait_output("upstream_verify_failed")
        self.assertNotIn("\x1b", text.output())
        for line in text.output().splitlines():
            self.assertFalse(line.startswith("{"), line)


class Deadlines(Case):
    """Of the relay, and of a TLS consumer's handshake."""

    def run_gateway(self, script, *options):
        self.upstream = self.closing(Upstream(script, server_context()))
        return self.gateway(self.upstream.url(), *trust(), *options)

    def test_idle(self):
        gateway = self.run_gateway(lambda peer: peer.read_all(), "--idle-timeout", "500ms")
        consumer = self.closing(connect(gateway.address))
        consumer.send(b"x")
        began = time.monotonic()
        consumer.read_all()
        took = time.monotonic() - began
        self.assertGreater(took, 0.4)
        self.assertLess(took, 0.5 + SLACK)
        self.assertEqual(gateway.wait_session(name_of(consumer))["reason"], "idle_timeout")

    def test_one_way_stream_is_not_idle(self):
        data = blob(60, 20)

        def drip(peer):
            for start in range(len(data)):
                peer.send(data[start:start + 1])
                time.sleep(0.05)
            peer.end()
            return peer.read_all()

        for up in (False, True):
            with self.subTest(direction="up" if up else "down"):
                gateway = self.run_gateway(swallow if up else drip, "--idle-timeout", "1s")
                consumer = self.closing(connect(gateway.address))
                if up:
                    dripping = Background(drip, consumer)
                    self.assertEqual(self.upstream.result(), stream_of(data))
                    dripping.result()
                else:
                    self.assertEqual(consumer.read_all(), stream_of(data))
                    consumer.end()
                    self.upstream.result()
                self.assertEqual(gateway.wait_session(name_of(consumer))["reason"], "done")

    def test_half_closed(self):
        gateway = self.run_gateway(lambda peer: (peer.recv(), peer.read_all(), peer.sock.recv(1)),
                                   "--half-closed-timeout", "500ms")
        consumer = self.closing(connect(gateway.address))
        consumer.send(b"x")
        consumer.end()
        began = time.monotonic()
        got = consumer.read_all()
        took = time.monotonic() - began
        self.assertGreater(took, 0.4)
        self.assertLess(took, 0.5 + SLACK)
        self.assertEqual(got.count, 0)
        line = gateway.wait_session(name_of(consumer))
        self.assertEqual(line["reason"], "half_closed_timeout", line)

    def test_half_closed_is_rearmed_by_data(self):
        data = blob(60, 21)

        def script(peer):
            request = peer.read_all()
            for start in range(len(data)):
                peer.send(data[start:start + 1])
                time.sleep(0.05)
            peer.end()
            return request

        gateway = self.run_gateway(script, "--half-closed-timeout", "1s")
        consumer = self.closing(connect(gateway.address))
        consumer.send(b"x")
        consumer.end()
        self.assertEqual(consumer.read_all(), stream_of(data))
        self.assertEqual(self.upstream.result(), stream_of(b"x"))
        self.assertEqual(gateway.wait_session(name_of(consumer))["reason"], "done")

    def test_tls_consumer_that_never_speaks(self):
        upstream = self.closing(Upstream(echo))
        gateway = self.gateway(
            upstream.url(), "--listen-cert", certificate("server"), "--listen-key", key("server"),
            "--handshake-timeout", "500ms", scheme="tls")
        base = gateway.descriptors()
        consumer = self.closing(connect(gateway.address))
        began = time.monotonic()
        consumer.read_all()
        self.assertLess(time.monotonic() - began, 0.5 + SLACK)
        line = gateway.wait_session(name_of(consumer))
        self.assertEqual(line["reason"], "consumer_handshake_timeout", line)
        until(lambda: gateway.descriptors() == base, what="the descriptor to be closed")
        self.assertEqual(upstream.accepted, 0)

    def test_consumer_leaves_while_upstream_shakes_hands(self):
        """Its session does not last until the handshake's deadline, whether it has sent or not."""
        for sent, reason in ((b"", "probe"), (b"request", "consumer_reset")):
            with self.subTest(reason=reason):
                upstream = self.closing(Upstream(lambda peer: peer.read_all()))
                gateway = self.gateway(f"tls://127.0.0.1:{upstream.port}", *trust(),
                                       level="debug")
                consumer = connect(gateway.address)
                until(lambda: upstream.accepted, what="the gateway's connection")
                consumer.send(sent)
                consumer.reset()
                line = gateway.wait_session(name_of(consumer), timeout=5 * SLACK)
                self.assertEqual(line["reason"], reason, line)
                upstream.result()


class Policies(Case):
    """--missing-close-notify and --half-close."""

    def test_missing_close_notify_as_fin(self):
        data = blob(1 << 20, 22)

        def script(peer):
            peer.send(data)
            peer.fin()
            peer.read_all()

        upstream = self.closing(Upstream(script, server_context()))
        gateway = self.gateway(upstream.url(), *trust(), "--missing-close-notify", "fin")
        consumer = self.closing(connect(gateway.address))
        self.assertEqual(consumer.read_all(), stream_of(data))

    def held(self, version, setting):
        """The upstream answers only what it got; the consumer ends at once. True: the end of the
        consumer's stream was held back until the upstream had ended."""
        def script(peer):
            peer.recv()
            peer.sock.settimeout(0.7)
            try:
                early = peer.recv() == b""
            except TimeoutError:
                early = False
            peer.sock.settimeout(20)
            peer.send(b"answer")
            peer.end()
            if not early:
                peer.read_all()
            return not early

        upstream = self.closing(Upstream(script, server_context(version=version)))
        gateway = self.gateway(upstream.url(), *trust(), "--half-close", setting)
        consumer = self.closing(connect(gateway.address))
        consumer.send(b"question")
        consumer.end()
        self.assertEqual(consumer.read_all(), stream_of(b"answer"))
        held = upstream.result()
        self.assertEqual(gateway.wait_session(name_of(consumer))["reason"], "done")
        return held

    def test_half_close(self):
        self.assertFalse(self.held(TLS12, "on"))
        self.assertTrue(self.held(TLS12, "tls13"))
        self.assertFalse(self.held(None, "tls13"))
        self.assertTrue(self.held(None, "off"))


class BrokenTls(Case):
    """In mid-session."""

    def test_upstream_sends_garbage(self):
        data = blob(100_000, 23)

        def script(peer):
            peer.send(data)
            peer.sock.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
            return peer.read_all()

        upstream = self.closing(Upstream(script, server_context()))
        gateway = self.gateway(upstream.url(), *trust())
        consumer = self.closing(connect(gateway.address))
        self.assertEqual(consumer.read_all(), stream_of(data, "reset"))
        line = gateway.wait_session(name_of(consumer))
        self.assertEqual(line["reason"], "upstream_tls_error", line)

    def test_garbage_consumers_do_not_harm_others(self):
        """Failing handshakes on one loop leave nothing in OpenSSL's error queue for the others."""
        upstream = self.closing(Upstream(echo, backlog=1024))
        gateway = self.gateway(
            upstream.url(), "--listen-cert", certificate("server"), "--listen-key", key("server"),
            "--workers", 1, scheme="tls")
        over = []

        def vandal():
            count = 0
            while not over:
                with socket.create_connection(gateway.address) as peer:
                    try:
                        peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
                        peer.settimeout(STEP)
                        peer.recv(100)
                    except OSError:
                        pass
                count += 1
            return count

        def customer(seed):
            data = blob(1 << 20, seed)
            peer = connect(gateway.address, client_context())
            sending = Background(lambda: (peer.send(data), peer.end()))
            got = peer.read_all()
            sending.result()
            peer.close()
            return got == stream_of(data)

        vandals = Background(vandal)
        good = []
        for _ in range(5):
            customers = [Background(customer, seed) for seed in range(30, 38)]
            good += [one.result() for one in customers]
        over.append(True)
        self.assertGreater(vandals.result(), 10)
        self.assertTrue(all(good))


if __name__ == "__main__":
    unittest.main()
