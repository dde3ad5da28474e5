"""The spin guard: whoever is woken again and again in vain is closed, in each phase.

No peer can bring that about, so the gateway runs with a recv(2) that leaves in the socket whatever
begins with "SPIN" (recv_nothing.c)."""

import os
import threading
import time
import unittest

from admin import ask, parse_metrics
from harness import SANITIZED, Case, certificate, free_port, key, until
from peers import Upstream, client_context, connect, echo, name_of, server_context

FAULT = os.path.abspath(os.environ.get("RECV_NOTHING", "build/dev/tests/libe2e_recv_nothing.so"))
TRUST = ("--ca", certificate("ca"), "--server-name", "localhost")
LISTENER = ("--listen-cert", certificate("server"), "--listen-key", key("server"))
MARK = b"SPIN"


def mark(peer):
    """A script: says that, and stays."""
    peer.sock.sendall(MARK)
    peer.sock.recv(1)


class Spin(Case):
    def start(self, connect_to, *options, **settings):
        """Its deadlines are far: what ends the session is the guard."""
        port = free_port()
        self.admin = ("127.0.0.1", port)
        sanitizer = "verify_asan_link_order=0:" + os.environ.get("ASAN_OPTIONS", "")
        gateway = self.gateway(
            connect_to, "--handshake-timeout", "10m",
            "--linger-timeout", "10m", "--workers", 1, "--admin", f"127.0.0.1:{port}", *options,
            prefix=("env", f"LD_PRELOAD={FAULT}", f"ASAN_OPTIONS={sanitizer}"), **settings)
        self.cpu = gateway.cpu()
        return gateway

    def sample(self, name, **labels):
        text = ask(self.admin, "/metrics")[2]
        return sum(value for (what, of), value in parse_metrics(text)[0].items()
                   if what == name and set(labels.items()) <= set(of))

    def guarded(self, gateway, consumer, phase):
        line = gateway.wait_session(name_of(consumer))
        self.assertEqual((line["reason"], line["phase"]), ("spin_guard", phase), line)
        self.assertIn("without getting anywhere", line["error"])
        self.assertEqual(self.sample("esclusa_session_failures_total", reason="spin_guard",
                                     phase=phase), 1)
        self.cheap(gateway)

    def cheap(self, gateway):
        """It took a fraction of a second, and rests now."""
        used = gateway.cpu() - self.cpu
        print(f"{self.id()}: {used:.3f} s of CPU")
        if not SANITIZED:
            self.assertLess(used, 1.0)
        now = gateway.cpu()
        time.sleep(0.5)
        self.assertLess(gateway.cpu() - now, 0.25)

    def served(self, gateway, context=None):
        other = self.closing(connect(gateway.address, context))
        other.send(b"x")
        self.assertEqual(other.read_exactly(1), b"x")

    def plain(self, script=echo, **settings):
        upstream = self.closing(Upstream(script, **settings))
        return upstream.url().replace("tls://", "tcp://")

    def test_proxy_header(self):
        gateway = self.start(self.plain(), "--accept-proxy", "v1", "--proxy-from",
                             "127.0.0.1", "--accept-proxy-timeout", "10m")
        consumer = self.closing(connect(gateway.address))
        consumer.send(MARK)
        self.guarded(gateway, consumer, "proxy_header")

    def test_consumer_handshake(self):
        gateway = self.start(self.plain(), *LISTENER, scheme="tls")
        consumer = self.closing(connect(gateway.address))
        consumer.send(MARK)
        self.guarded(gateway, consumer, "consumer_handshake")
        self.served(gateway, client_context())

    def upstream_spins(self, phase, url, *options):
        gateway = self.start(url, *TRUST, *options)
        consumer = self.closing(connect(gateway.address))
        self.guarded(gateway, consumer, phase)
        for name in ("esclusa_upstream_usable", "esclusa_service_usable"):
            self.assertEqual(self.sample(name), 1)  # it is no fault of theirs
        self.assertEqual(self.sample("esclusa_upstream_failures_total"), 0)

    def test_upstream_handshake(self):
        self.upstream_spins("upstream_handshake",
                            self.plain(mark).replace("tcp://", "tls://"))

    def test_starttls(self):
        self.upstream_spins("starttls", self.plain(mark).replace("tcp://", "tls://"),
                            "--starttls", "smtp")

    def test_proxy(self):
        self.upstream_spins("proxy", "tls://localhost:1", "--proxy",
                            self.plain(mark).replace("tcp://", "http://"))

    def test_tls_with_a_proxy(self):
        self.upstream_spins("proxy", "tls://localhost:1", "--proxy",
                            self.plain(mark).replace("tcp://", "https://"), "--proxy-ca",
                            certificate("ca"), "--proxy-server-name", "localhost")

    def test_relay(self):
        gateway = self.start(self.plain())
        self.served(gateway)
        consumer = self.closing(connect(gateway.address))
        consumer.send(MARK)
        self.guarded(gateway, consumer, "relay")
        self.served(gateway)

    def test_relay_from_a_tls_upstream(self):
        def script(peer):
            peer.send(peer.recv())
            heard.wait()
            mark(peer)

        heard = threading.Event()
        upstream = self.closing(Upstream(script, server_context()))
        gateway = self.start(upstream.url(), *TRUST)
        consumer = self.closing(connect(gateway.address))
        consumer.send(b"x")
        self.assertEqual(consumer.read_exactly(1), b"x")
        heard.set()
        self.guarded(gateway, consumer, "relay")

    def test_linger(self):
        """Both have said close_notify, and the gateway waits for the end of the connection."""
        gateway = self.start(self.plain(), *LISTENER, scheme="tls")
        base = gateway.descriptors()
        consumer = self.closing(connect(gateway.address, client_context()))
        consumer.send(b"x")
        self.assertEqual(consumer.read_exactly(1), b"x")
        consumer.end()
        self.assertEqual(consumer.recv(), b"")
        consumer.sock.sendall(MARK)
        line = gateway.wait_session(name_of(consumer))
        self.assertEqual(line["reason"], "done", line)
        gateway.wait_log(lambda line: line["event"] == "spin_guard")
        self.assertEqual(self.sample("esclusa_lingers_cut_total", cause="spin_guard"), 1)
        until(lambda: gateway.descriptors() == base, what="descriptors as at first")
        self.cheap(gateway)

    def test_warm(self):
        gateway = self.start(self.plain(mark), "--warm-min", 1)
        line = gateway.wait_log(lambda line: line["event"] == "spin_guard")
        self.assertIn("warm", line["error"])
        until(lambda: self.sample("esclusa_warm_discarded_total", cause="spin_guard") > 0,
              what="the count")


if __name__ == "__main__":
    unittest.main()
