"""What a hostile review broke once. Each test failed before its fix, and must not fail again."""

import os
import random
import selectors
import signal
import socket
import time
import unittest

from harness import SANITIZED, STEP, Case, certificate, key, until
from peers import (TLS13, Background, Connection, Upstream, blob, client_context, connect, digest,
                   echo, name_of, server_context, stream_of)

MIB = 1 << 20
SLACK = 8.0 if SANITIZED else 4.0
TRUST = ("--ca", certificate("ca"), "--server-name", "localhost")
LISTENER = ("--listen-cert", certificate("server"), "--listen-key", key("server"))


def exchange(peer, text):
    """One question that is echoed."""
    peer.send(text)
    return peer.read_exactly(len(text))


class Drain(Case):
    """At the deadline only a session that is at rest may see a clean end."""

    def test_streaming_upstream(self):
        """A clean end in mid-stream would make a part look whole."""
        def stream(peer):
            try:
                while True:
                    peer.send(bytes(1000))
                    time.sleep(0.02)
            except OSError:
                return None

        upstream = self.closing(Upstream(stream, server_context()))
        for drain in ("0s", "300ms"):
            with self.subTest(drain=drain):
                gateway = self.gateway(upstream.url(), *TRUST, drain=drain)
                consumers = [self.closing(connect(gateway.address)) for _ in range(10)]
                for consumer in consumers:
                    consumer.recv(1)
                reading = [Background(consumer.read_all) for consumer in consumers]
                gateway.signal(signal.SIGTERM)
                self.assertEqual([one.result().end for one in reading], ["reset"] * 10)
                self.assertEqual(gateway.wait_exit(), 0)

    def test_at_the_deadline(self):
        """All three have been silent for longer than the second that makes a session quiet."""
        def script(peer):
            kind = peer.recv()
            if kind == b"silent":
                return kind, peer.read_all().end
            peer.send(kind)
            if kind == b"record":  # half of one follows the answer, and no more
                sealed = peer.seal(bytes(16000))
                peer.sock.sendall(sealed[:len(sealed) // 2])
            return kind, peer.read_all().end

        upstream = self.closing(Upstream(script, server_context()))
        gateway = self.gateway(upstream.url(), *TRUST, drain="1500ms")
        consumers = {}
        for kind in (b"rest", b"record", b"silent"):
            consumers[kind] = self.closing(connect(gateway.address))
            consumers[kind].send(kind)
            if kind != b"silent":
                self.assertEqual(consumers[kind].read_exactly(len(kind)), kind)
        time.sleep(0.5)
        gateway.signal(signal.SIGTERM)
        reading = {kind: Background(peer.read_all) for kind, peer in consumers.items()}
        self.assertEqual({kind: one.result() for kind, one in reading.items()}, {
            b"rest": stream_of(b""),
            b"record": stream_of(b"", "reset"),  # an answer half given
            b"silent": stream_of(b"", "reset"),  # a question without an answer
        })
        self.assertEqual(gateway.wait_exit(), 0)
        ends = dict(upstream.result() for _ in consumers)
        self.assertEqual(ends[b"rest"], "eof", "no close_notify")
        self.assertNotEqual(ends[b"silent"], "eof")

    def test_in_a_connect_storm(self):
        """Acceptors go while events for them are in the batch: a use after free, once."""
        upstream = self.closing(Upstream(echo, backlog=1024))
        chance = random.Random(7)
        for turn in range(10):
            gateway = self.gateway(upstream.url(), "--workers", chance.choice((1, 2, 4)),
                                   drain="0s")
            over = []

            def storm():
                while not over:
                    with socket.socket() as consumer:
                        consumer.setblocking(False)
                        consumer.connect_ex(gateway.address)
                        time.sleep(chance.random() * 0.002)

            storming = [Background(storm) for _ in range(6)]
            time.sleep(0.05 + chance.random() * 0.1)
            gateway.signal(signal.SIGTERM)
            try:
                code = gateway.wait_exit()
            finally:
                over.append(True)
            for one in storming:
                one.result()
            self.assertEqual(code, 0, f"turn {turn}: {gateway.log_text()[-4000:]}")


class Delivery(Case):
    """What was taken from one side reaches the other, however it left."""

    def test_reset_is_no_missing_close_notify(self):
        """--missing-close-notify fin is for a FIN. The reset is told to a send, not to a read."""
        answer = blob(100_000, 60)

        def script(peer):
            peer.recv()
            peer.send(answer)
            over = time.monotonic() + 0.5
            while time.monotonic() < over:
                peer.recv()
            peer.reset()

        def consume():
            consumer = self.closing(connect(gateway.address))

            def upload():
                try:
                    while True:
                        consumer.send(bytes(20_000))
                except OSError:
                    pass

            uploading = Background(upload)
            got = consumer.read_all()
            consumer.sock.close()
            uploading.result()
            return got

        upstream = self.closing(Upstream(script, server_context()))
        gateway = self.gateway(upstream.url(), *TRUST, "--missing-close-notify", "fin")
        for _ in range(3):
            consumers = [Background(consume) for _ in range(5)]
            self.assertEqual([one.result() for one in consumers], [stream_of(answer, "reset")] * 5)

    def test_unix_consumer_leaves_a_banner_unread(self):
        """Its close is ECONNRESET to the gateway, which has yet to send what it took from it."""
        data = blob(4 * MIB, 61)

        def script(peer):
            peer.send(b"banner")
            time.sleep(0.5)
            return peer.read_all(pace=0.005, chunk=1 << 15)

        for context in (server_context(), None):
            with self.subTest(tls=bool(context)):
                upstream = self.closing(Upstream(script, context))
                upstream.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 17)
                gateway = self.gateway(upstream.url(), *(TRUST if context else ()),
                                       listen=f"unix:{self.scratch()}/in")
                for _ in range(2):
                    consumer = connect(gateway.address)
                    # The banner is there: closing leaves it unread.
                    self.assertEqual(consumer.sock.recv(6, socket.MSG_PEEK), b"banner")
                    consumer.send(data)
                    consumer.close()
                    got = upstream.result()
                    line = gateway.wait_session(name_of(consumer))
                    self.assertEqual((got.count, got.digest),
                                     (line["bytes_up"], digest(data[:line["bytes_up"]])), line)
                    self.assertEqual(got.count, len(data))

    def test_tls_consumer_leaves_tickets_unread(self):
        """Its close resets, while the upstream's handshake is under way."""
        data = blob(10_000, 62)

        def script(peer):
            time.sleep(0.1)
            peer.handshake()
            return peer.read_all()

        upstream = self.closing(Upstream(script, server_context(), handshake=False))
        gateway = self.gateway(upstream.url(), *TRUST, *LISTENER, scheme="tls")
        context = client_context(TLS13)
        for _ in range(20):
            consumer = connect(gateway.address, context)
            consumer.send(data)
            consumer.close_notify()
            consumer.close()
        self.assertEqual([upstream.outcome() for _ in range(20)], [stream_of(data)] * 20)

    def test_upstream_that_says_one_byte_and_resets(self):
        """Both before the gateway has looked at its new connection, as it stands still. (A reset
        that meets connect(2) in the kernel drops the byte, so that must have returned: a full
        queue answers no SYN at first.)"""
        listener = self.closing(socket.create_server(("127.0.0.1", 0), backlog=0))
        listener.settimeout(STEP)
        port = listener.getsockname()[1]
        self.closing(socket.create_connection(("127.0.0.1", port)))

        def connecting():
            with open("/proc/net/tcp", encoding="ascii") as table:
                return any(line.split()[2:4] == [f"0100007F:{port:04X}", "02"] for line in table)

        gateway = self.gateway(f"tcp://127.0.0.1:{port}")
        consumer = self.closing(connect(gateway.address))
        until(connecting, what="the gateway's SYN")
        gateway.freeze()
        try:
            listener.accept()[0].close()
            peer = Connection(listener.accept()[0])
            peer.send(b"!")
            peer.reset()
        finally:
            gateway.signal(signal.SIGCONT)
        self.assertEqual(consumer.read_all(), stream_of(b"!", "reset"))
        self.assertEqual(gateway.wait_session(name_of(consumer))["reason"], "upstream_reset")


class Idle(Case):
    def test_slow_reader_is_not_idle(self):
        """It empties the kernel's send queue long before the gateway can write again. One that
        has stopped reading is idle."""
        data = blob(16 * MIB, 63)

        def script(peer):
            peer.recv()
            try:
                peer.send(data)
                peer.end()
            except OSError:
                return None
            return peer.read_all()

        upstream = self.closing(Upstream(script, server_context()))
        gateway = self.gateway(upstream.url(), *TRUST, "--idle-timeout", "2s")
        began = time.monotonic()
        slow, stopped = (self.closing(connect(gateway.address, rcvbuf=1 << 17)) for _ in range(2))
        slow.send(b"go")
        stopped.send(b"go")
        taken = bytearray()
        while time.monotonic() < began + 8:
            taken += slow.recv(10_000)
            time.sleep(0.05)
        line = gateway.wait_session(name_of(stopped), timeout=SLACK)
        self.assertEqual(line["reason"], "idle_timeout", line)
        self.assertEqual(gateway.sessions(), [line])
        self.assertLess(line["duration_ms"], 2000 + 1000 * SLACK)
        taken += slow.read_exactly(len(data) - len(taken))
        self.assertEqual(digest(taken), digest(data))


class Limits(Case):
    def test_few_descriptors(self):
        """200 consumers where some 20 sessions fit: the others wait in the listener's queue. The
        first ones stay until all have had a second to be served, or reset."""
        upstream = self.closing(Upstream(echo, server_context(), backlog=512))
        gateway = self.gateway(upstream.url(), *TRUST, "--workers", 2,
                               prefix=("sh", "-c", 'ulimit -n 64; exec "$@"', "sh"))
        served, lost = [], []

        def look(consumer):
            try:
                answer = consumer.recv(5)
            except OSError as why:
                answer = repr(why)
            if answer == b"hello":
                served.append(consumer)
            else:
                lost.append(answer)
            waiting.unregister(consumer)

        with selectors.DefaultSelector() as waiting:
            for _ in range(200):
                consumer = self.closing(socket.create_connection(gateway.address, STEP))
                consumer.sendall(b"hello")
                waiting.register(consumer, selectors.EVENT_READ)
            began = time.monotonic()
            while waiting.get_map() and time.monotonic() < began + STEP:
                for item, _ in waiting.select(0.1):
                    look(item.fileobj)
                if time.monotonic() > began + 1:
                    self.assertEqual(set(lost), set())
                    self.assertGreater(len(served), 0)
                    for consumer in served:
                        consumer.close()
            self.assertEqual((len(served), lost[:1]), (200, []))
        until(lambda: len(gateway.sessions()) == 200, what="the sessions' lines")
        self.assertEqual({line["reason"] for line in gateway.sessions()}, {"done"})
        others = [line for line in gateway.lines() if line["event"] != "session"]
        self.assertTrue(any(line["event"] == "accept_limit" for line in others), others)
        self.assertLess(len(others), 10, others)

    def test_unix_upstream_with_a_full_queue(self):
        """connect(2) to it gives EAGAIN rather than wait: tried again until it has room."""
        listener = self.closing(socket.socket(socket.AF_UNIX))
        path = f"{self.scratch()}/full"
        listener.bind(path)
        listener.listen(1)
        gateway = self.gateway(f"unix:{path}")
        consumers = [self.closing(connect(gateway.address)) for _ in range(10)]
        for number, consumer in enumerate(consumers):
            consumer.send(b"%d" % number)
        time.sleep(0.5)
        self.assertEqual(gateway.sessions(), [])
        listener.settimeout(STEP)
        for _ in consumers:
            sock, _ = listener.accept()
            Background(echo, self.closing(Connection(sock)))
        for number, consumer in enumerate(consumers):
            self.assertEqual(consumer.read_exactly(1), b"%d" % number)


if __name__ == "__main__":
    unittest.main()
