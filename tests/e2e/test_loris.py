"""Slow-loris peers: whoever stops in a phase, or goes on by a byte a second, is gone at the
deadline within 10 %, and so are its descriptors. A row a phase, a direction and a kind of listener.

Who drips all its life while the session relays is no session at rest: test_bounds.py, Lifetime."""

import queue
import socket
import struct
import threading
import time
import unittest

from dns_server import DnsServer
from harness import SANITIZED, STEP, Case, certificate, free_port, key, until
from peers import Upstream, client_context, connect, echo, name_of, server_context, unsent
from test_overload import client_hello

TRUST = ("--ca", certificate("ca"), "--server-name", "localhost")
LISTENER = ("--listen-cert", certificate("server"), "--listen-key", key("server"))
LIMIT = 3.0
# What a busy machine adds, and the steps at which a lingering side is looked at (0.1 s).
SLACK = 4.0 if SANITIZED else 0.5
# So that what is sent soon waits in the gateway, and not all of it fits into its send queue.
SMALL = 16 * 1024
BUFFERS = ("--send-buffer", 4 * SMALL, "--receive-buffer", SMALL, "--listen-send-buffer", 4 * SMALL,
           "--listen-receive-buffer", SMALL)


def duration(seconds):
    return f"{seconds:g}s"


def drip(sock, data):
    """A byte a second until the data or the peer is at its end."""
    for byte in data:
        try:
            sock.sendall(bytes([byte]))
        except OSError:
            return
        time.sleep(1)


def stop(sock, data):
    sock.sendall(data)


def nothing(_sock, _data):
    """Says nothing at all."""


class Rows(Case):
    def note(self, what, took):
        """The figure; a test asserts that it is the deadline's, within 10 % of it."""
        print(f"loris: {self.id().split('.', 1)[1]}: {what} after {took:.2f} s of {LIMIT:.2f} s")
        self.assertGreater(took, LIMIT * 0.9)
        self.assertLess(took, LIMIT * 1.1 + SLACK)

    def ended(self, gateway, consumer):
        return gateway.wait_session(name_of(consumer), LIMIT * 4 + STEP)

    def gone(self, gateway, consumer, began, reason):
        """The session's line is written when it ends, and its descriptors are closed then."""
        line = self.ended(gateway, consumer)
        took = time.monotonic() - began
        self.assertEqual(line["reason"], reason, line)
        self.note(reason, took)
        self.closed(gateway, began)

    def closed(self, gateway, began, what="descriptors"):
        until(lambda: gateway.descriptors() <= self.base, LIMIT * 4 + STEP,
              "descriptors as at first")
        self.note(what, time.monotonic() - began)

    def start(self, upstream, *options, scheme="tcp", trust=TRUST):
        tls = LISTENER if scheme == "tls" else ()
        gateway = self.gateway(upstream, *(trust if upstream.startswith("tls:") else ()), *tls,
                               *options, scheme=scheme)
        self.base = gateway.descriptors()
        return gateway

    def says(self, how, data=b"", handed=None):
        """An upstream, or a proxy, that says that and stays. handed: it has heard something."""
        def script(peer):
            if handed is not None:
                peer.sock.recv(handed)
            how(peer.sock, data)
            time.sleep(LIMIT * 4)

        return self.closing(Upstream(script))


class Consumer(Rows):
    """The consumer, before it is relayed."""

    def row(self, how, data, reason, *options, **settings):
        upstream = self.closing(Upstream(echo))
        gateway = self.start(upstream.url(), *options, **settings)
        began = time.monotonic()
        consumer = self.closing(connect(gateway.address))
        threading.Thread(target=how, args=(consumer.sock, data), daemon=True).start()
        self.gone(gateway, consumer, began, reason)

    def proxy_header(self, how, data, **settings):
        self.row(how, data, "proxy_header_timeout", "--accept-proxy", "any", "--proxy-from",
                 "127.0.0.1", "--accept-proxy-timeout", duration(LIMIT), **settings)

    def test_proxy_header_none(self):
        self.proxy_header(nothing, b"")

    def test_proxy_header_stopped(self):
        self.proxy_header(stop, b"PROXY TCP4 192.0.2.1 ")

    def test_proxy_header_dripped(self):
        self.proxy_header(drip, b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n")

    def test_proxy_header_dripped_at_a_tls_listener(self):
        self.proxy_header(drip, b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", scheme="tls")

    def handshake(self, how, data=b""):
        self.row(how, data, "consumer_handshake_timeout", "--handshake-timeout", duration(LIMIT),
                 scheme="tls")

    def test_handshake_nothing(self):
        self.handshake(nothing)

    def test_handshake_stopped_in_a_record(self):
        self.handshake(stop, client_hello()[:50])

    def test_handshake_stopped_after_the_hello(self):
        self.handshake(stop, client_hello())

    def test_handshake_dripped(self):
        self.handshake(drip, client_hello())


class Dial(Rows):
    """Whoever is asked, on the way to the upstream. Another candidate is none."""

    def row(self, reason, upstream, *options):
        gateway = self.start(upstream, *options)
        began = time.monotonic()
        consumer = self.closing(connect(gateway.address))
        self.gone(gateway, consumer, began, reason)

    def test_resolve(self):
        """The resolver's own descriptors come with the first name, and stay."""
        server = DnsServer()
        server.start()
        self.addCleanup(server.stop)
        server.every("dead.test", silent=True)
        upstream = f"tcp://dead.test:{free_port()}"
        gateway = self.start(upstream, "--dns-servers", server.address, "--connect-timeout",
                             duration(LIMIT), "--dns-timeout", "10s")
        for number in range(2):
            began = time.monotonic()
            consumer = self.closing(connect(gateway.address))
            line = self.ended(gateway, consumer)
            self.assertEqual(line["reason"], "resolve_timeout", line)
            self.note("resolve_timeout", time.monotonic() - began)
            if number == 0:
                settled = gateway.descriptors()
        self.assertLessEqual(gateway.descriptors(), settled)

    def test_connect(self):
        """Its queue is full, so the kernel answers no SYN."""
        full = self.closing(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = self.closing(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        time.sleep(0.1)
        self.row("connect_timeout", f"tcp://127.0.0.1:{full.getsockname()[1]}",
                 "--connect-timeout", duration(LIMIT))

    def proxy(self, scheme, how, data, *options):
        proxy = self.says(how, data, 4096)
        self.row("proxy_timeout", "tls://localhost:1", "--handshake-timeout", duration(LIMIT),
                 "--proxy", f"{scheme}://127.0.0.1:{proxy.port}", *options)

    def test_connect_by_http_stopped(self):
        self.proxy("http", stop, b"HTTP/1.1 200")

    def test_connect_by_http_dripped(self):
        self.proxy("http", drip, b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n")

    def test_socks_stopped(self):
        self.proxy("socks5", stop, b"\5")

    def test_socks_dripped(self):
        self.proxy("socks5", drip, b"\5\0\5\0\0\3\xff" + 255 * b"a" + b"\0\1")

    def test_tls_with_a_proxy_dripped(self):
        self.proxy("https", drip, b"\x16\x03\x03\x40\x00\x02" + bytes(100), "--proxy-ca",
                   certificate("ca"), "--proxy-server-name", "localhost")

    def starttls(self, how, data):
        upstream = self.says(how, data)
        self.row("starttls_timeout", f"tls://127.0.0.1:{upstream.port}", "--starttls", "smtp",
                 "--handshake-timeout", duration(LIMIT))

    def test_starttls_nothing(self):
        self.starttls(nothing, b"")

    def test_starttls_stopped(self):
        self.starttls(stop, b"220 here\r\n")

    def test_starttls_dripped(self):
        self.starttls(drip, b"220 a.test at your service\r\n")

    def handshake(self, how, data=b""):
        upstream = self.says(how, data, 4096)
        self.row("upstream_handshake_timeout", f"tls://127.0.0.1:{upstream.port}",
                 "--handshake-timeout", duration(LIMIT))

    def test_handshake_nothing(self):
        self.handshake(nothing)

    def test_handshake_stopped_in_a_record(self):
        self.handshake(stop, b"\x16\x03\x03\x40\x00\x02")

    def test_handshake_dripped(self):
        """The head of a record that is announced to be long."""
        self.handshake(drip, b"\x16\x03\x03\x40\x00\x02" + bytes(100))


class Pairs(Rows):
    """A consumer and an upstream, each plain or TLS, whose every step a test takes."""

    def pair(self, *options, consumer="plain", upstream="plain"):
        """The gateway, the consumer and the upstream's end; a byte has gone each way."""
        arrived, over = queue.Queue(), threading.Event()
        self.addCleanup(over.set)

        def script(peer):
            arrived.put(peer)
            over.wait(STEP * 4)

        listener = self.closing(Upstream(script, server_context() if upstream == "tls" else None,
                                         handshake=False))
        listener.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL // 4)
        gateway = self.start(listener.url(), *BUFFERS, *options,
                             scheme="tls" if consumer == "tls" else "tcp")
        near_box = {}

        def come():
            near_box["near"] = connect(gateway.address,
                                       client_context() if consumer == "tls" else None,
                                       rcvbuf=SMALL // 4)

        coming = threading.Thread(target=come, daemon=True)
        coming.start()
        far = arrived.get(timeout=STEP)
        far.handshake()
        coming.join(STEP)
        near = self.closing(near_box["near"])
        for here, there in ((near, far), (far, near)):
            here.send(b"x")
            self.assertEqual(there.read_exactly(1), b"x")
        for peer in (near, far):
            peer.sock.settimeout(STEP)
        return gateway, near, far

    @staticmethod
    def flood(sender, size=2048, wait=True):
        """Sends for as long as somebody takes it. Returns when the last was taken."""
        last = [time.monotonic()]

        def on_and_on():
            try:
                while True:
                    sender.send(bytes(size))
                    last[0] = time.monotonic()
            except OSError:
                pass

        threading.Thread(target=on_and_on, daemon=True).start()
        if wait:
            until(lambda: time.monotonic() - last[0] > 0.5, what="nothing to be taken any more")
        return last[0]


class Relay(Pairs):
    def test_idle(self):
        for kind in ("plain", "tls"):
            with self.subTest(kind):
                gateway, near, _ = self.pair("--idle-timeout", duration(LIMIT), consumer=kind)
                self.gone(gateway, near, time.monotonic(), "idle_timeout")

    def half_closed(self, who, kind):
        """One has ended, the other has its end and never ends itself."""
        gateway, near, far = self.pair("--half-closed-timeout", duration(LIMIT), consumer=kind,
                                       upstream=kind)
        ends, stays = (near, far) if who == "consumer" else (far, near)
        ends.end()
        began = time.monotonic()
        self.assertEqual(stays.recv(), b"")
        self.gone(gateway, near, began, "half_closed_timeout")

    def test_half_closed_by_the_consumer(self):
        self.half_closed("consumer", "plain")

    def test_half_closed_by_a_tls_consumer(self):
        self.half_closed("consumer", "tls")

    def test_half_closed_by_the_upstream(self):
        self.half_closed("upstream", "plain")

    def test_half_closed_by_a_tls_upstream(self):
        self.half_closed("upstream", "tls")

    def not_reading(self, who, kind, half=False):
        """who does not read, and the other sends without end; half: who has ended its own."""
        limit = "--half-closed-timeout" if half else "--idle-timeout"
        gateway, near, far = self.pair(limit, duration(LIMIT), consumer=kind, upstream=kind)
        stopped, sender = (near, far) if who == "consumer" else (far, near)
        if half:
            stopped.end()
            self.assertEqual(sender.recv(), b"")
        began = self.flood(sender)
        self.gone(gateway, near, began, limit[2:].replace("-", "_"))

    def test_consumer_does_not_read(self):
        self.not_reading("consumer", "plain")

    def test_tls_consumer_does_not_read(self):
        self.not_reading("consumer", "tls")

    def test_upstream_does_not_read(self):
        self.not_reading("upstream", "plain")

    def test_tls_upstream_does_not_read(self):
        self.not_reading("upstream", "tls")

    def test_half_closed_consumer_does_not_read(self):
        self.not_reading("consumer", "plain", half=True)

    def test_half_closed_tls_upstream_does_not_read(self):
        self.not_reading("upstream", "tls", half=True)

    def test_slow_reader_is_not_idle(self):
        """It takes a little now and then: that is progress, for longer than the idle timeout."""
        gateway, near, far = self.pair("--idle-timeout", "2s")
        self.flood(far)
        near.sock.settimeout(STEP)
        began = time.monotonic()
        while time.monotonic() - began < 6:
            self.assertNotEqual(near.recv(4096), b"")
            time.sleep(0.2)
        self.assertEqual(gateway.sessions(), [])


class Linger(Pairs):
    """The session is over, and what it has sent is not taken."""

    QUEUED = 3 * SMALL  # less than the gateway's send queue takes: all is out of its hands

    def rest(self, stopped, how):
        """stops, or takes a little now and then."""
        def sip():
            try:
                while stopped.sock.recv(512):
                    time.sleep(0.25)
            except OSError:
                pass

        if how == "sips":
            threading.Thread(target=sip, daemon=True).start()

    def lingers(self, who, kind, end, how):
        """end: what the other did after it had sent its rest."""
        gateway, near, far = self.pair("--linger-timeout", duration(LIMIT), consumer=kind,
                                       upstream=kind)
        slow, sender = (near, far) if who == "consumer" else (far, near)
        if end == "clean":
            slow.end()
            self.assertEqual(sender.recv(), b"")
        sender.send(bytes(self.QUEUED))
        if end == "clean":
            sender.end()
        else:
            until(lambda: not unsent(sender.sock), what="all to be taken")
            time.sleep(0.2)
            sender.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sender.sock.close()
        line = self.ended(gateway, near)
        began = time.monotonic()
        other = "upstream" if who == "consumer" else "consumer"
        self.assertEqual(line["reason"], "done" if end == "clean" else f"{other}_reset", line)
        self.rest(slow, how)
        self.closed(gateway, began, "linger_timeout")

    def test_consumer_stops_after_a_reset(self):
        self.lingers("consumer", "plain", "reset", "stops")

    def test_consumer_sips_after_a_reset(self):
        self.lingers("consumer", "plain", "reset", "sips")

    def test_tls_consumer_stops_after_a_reset(self):
        self.lingers("consumer", "tls", "reset", "stops")

    def test_tls_consumer_sips_after_a_reset(self):
        self.lingers("consumer", "tls", "reset", "sips")

    def test_upstream_stops_after_a_reset(self):
        self.lingers("upstream", "plain", "reset", "stops")

    def test_upstream_sips_after_a_reset(self):
        self.lingers("upstream", "plain", "reset", "sips")

    def test_tls_upstream_sips_after_a_reset(self):
        self.lingers("upstream", "tls", "reset", "sips")

    def test_tls_consumer_stops_after_a_clean_end(self):
        self.lingers("consumer", "tls", "clean", "stops")

    def test_tls_consumer_sips_after_a_clean_end(self):
        self.lingers("consumer", "tls", "clean", "sips")

    def test_tls_upstream_sips_after_a_clean_end(self):
        self.lingers("upstream", "tls", "clean", "sips")


class Memory(Pairs):
    """What a slow peer costs while it is waited for: docs/operations.md, "Slow peers"."""

    COUNT = 30

    def each(self, what, gateway, before, count, most):
        """Resident bytes a session; in a build with sanitizers they are those of shadows, too."""
        time.sleep(2)  # worker.c gives back what a burst took a second later
        got = (gateway.memory() - before) / count / 1024
        print(f"loris: memory: {what}: {got:.0f} KiB each")
        if not SANITIZED:
            self.assertLess(got, most)

    def test_consumers_after_their_hello(self):
        upstream = self.closing(Upstream(echo))
        gateway = self.start(upstream.url(), "--handshake-timeout", "10m", scheme="tls")
        self.closing(connect(gateway.address, client_context()))
        time.sleep(0.5)
        before = gateway.memory()
        for _ in range(self.COUNT * 4):
            self.closing(connect(gateway.address)).send(client_hello())
        self.each("consumer_handshake, after its hello", gateway, before, self.COUNT * 4, 200)

    def nobody_reads(self, kind):
        """Both sides send all they can, at first to one who reads. So at the end something is left
        over each way, and of a read as large as there is."""
        over, far, stopped = threading.Event(), [], threading.Event()
        self.addCleanup(over.set)

        def script(peer):
            far.append(peer)
            over.wait(STEP * 4)

        def read(peer):
            while not stopped.is_set():
                peer.recv()

        tls = kind == "tls"
        context = client_context() if tls else None
        upstream = self.closing(Upstream(script, server_context() if tls else None))
        gateway = self.start(upstream.url(), scheme="tls" if tls else "tcp")
        first = connect(gateway.address, context)
        until(lambda: far, what="an upstream connection")
        first.close()
        time.sleep(0.5)
        before = gateway.memory()
        near = [self.closing(connect(gateway.address, context)) for _ in range(self.COUNT)]
        until(lambda: len(far) == self.COUNT + 1, what="all upstream connections")
        self.each(f"relay, {kind}, idle", gateway, before, self.COUNT, 150)
        for peer in near + far[1:]:
            threading.Thread(target=read, args=(peer,), daemon=True).start()
            self.flood(peer, 1 << 17, wait=False)
        time.sleep(2)
        stopped.set()
        self.each(f"relay, {kind}, nobody reads", gateway, before, self.COUNT, 150 + 2 * 545)

    def test_nobody_reads(self):
        self.nobody_reads("plain")

    def test_nobody_reads_tls(self):
        self.nobody_reads("tls")


if __name__ == "__main__":
    unittest.main()
