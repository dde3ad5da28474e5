"""The relay matrix: {plain, TLS 1.2, TLS 1.3} consumers x the same upstreams x everything that can
happen to a stream, over real sockets, checked by digest."""

import queue
import signal
import time
import unittest

from harness import STEP, Case, Gateway, certificate, key
from peers import (TLS12, TLS13, Background, Upstream, blob, client_context, connect, digest, echo,
                   name_of, server_context, stream_of, swallow)

MIB = 1 << 20
NOTHING = b""


class Matrix:
    """The scenarios; each subclass made below is one pairing. Each scenario sets the upstream's
    script, plays the consumer, and asks the log how the gateway saw it."""

    consumer_version = upstream_version = None

    @classmethod
    def setUpClass(cls):
        context = server_context(version=cls.upstream_version) if cls.upstream_version else None
        cls.upstream = Upstream(None, context)
        cls.addClassCleanup(cls.upstream.close)
        cls.consumer_context = (
            client_context(cls.consumer_version) if cls.consumer_version else None)
        options = ["--half-close", "on"]
        if cls.upstream_version:
            options += ["--ca", certificate("ca"), "--server-name", "localhost"]
        if cls.consumer_version:
            options += ["--listen-cert", certificate("server"), "--listen-key", key("server")]
        cls.gateway = Gateway(cls.upstream.url(), *options,
                              scheme="tls" if cls.consumer_version else "tcp")
        cls.addClassCleanup(cls.gateway.stop)

    def setUp(self):
        while not self.upstream.results.empty():
            self.upstream.results.get()
        self.upstream.handshakes = True

    def consumer(self, script, **settings):
        self.upstream.script = script
        return self.closing(connect(self.gateway.address, self.consumer_context, **settings))

    def greeted(self, script):
        """A consumer whose session is known to relay, as it has got a byte."""
        def greeting(upstream):
            upstream.send(b"!")
            return script(upstream)

        consumer = self.consumer(greeting)
        self.assertEqual(consumer.read_exactly(1), b"!")
        return consumer

    def ends(self, consumer, reason, up=None, down=None):
        """The session's line says this reason and these numbers of bytes."""
        line = self.gateway.wait_session(name_of(consumer))
        self.assertEqual(line["reason"], reason, line)
        if up is not None:
            self.assertEqual(line["bytes_up"], up, line)
        if down is not None:
            self.assertEqual(line["bytes_down"], down, line)
        return line

    # ---- clean ends ----

    def test_echo(self):
        data = blob(MIB)
        consumer = self.consumer(echo)
        sending = Background(lambda: (consumer.send(data), consumer.end()))
        self.assertEqual(consumer.read_all(), stream_of(data))
        sending.result()
        self.assertEqual(self.upstream.result(), MIB)
        line = self.ends(consumer, "done", MIB, MIB)
        versions = {TLS12: "TLSv1.2", TLS13: "TLSv1.3"}
        if self.upstream_version:
            self.assertEqual(line["tls_version"], versions[self.upstream_version])
            self.assertTrue(line["cipher"])

    def test_both_ways_at_once(self):
        up, down = blob(8 * MIB, 2), blob(8 * MIB, 3)

        def script(upstream):
            sending = Background(lambda: (upstream.send(down), upstream.end()))
            got = upstream.read_all()
            sending.result()
            return got

        consumer = self.consumer(script)
        sending = Background(lambda: (consumer.send(up), consumer.end()))
        self.assertEqual(consumer.read_all(), stream_of(down))
        sending.result()
        self.assertEqual(self.upstream.result(), stream_of(up))
        self.ends(consumer, "done", len(up), len(down))

    def test_consumer_half_closes_at_once(self):
        answer = blob(20 * MIB)

        def script(upstream):
            request = upstream.read_all()
            time.sleep(1)
            upstream.send(answer)
            upstream.end()
            return request

        consumer = self.consumer(script)
        consumer.send(b"request")
        consumer.end()
        self.assertEqual(consumer.read_all(), stream_of(answer))
        self.assertEqual(self.upstream.result(), stream_of(b"request"))
        self.ends(consumer, "done", 7, len(answer))

    def test_upstream_half_closes_first(self):
        data = blob(20 * MIB, 4)

        def script(upstream):
            upstream.send(b"bye")
            upstream.end()
            return upstream.read_all()

        consumer = self.consumer(script)
        self.assertEqual(consumer.read_all(), stream_of(b"bye"))
        consumer.send(data)
        consumer.end()
        self.assertEqual(self.upstream.result(), stream_of(data))
        self.ends(consumer, "done", len(data), 3)

    def test_nothing_at_all(self):
        consumer = self.greeted(swallow)
        consumer.end()
        self.assertEqual(consumer.read_all(), stream_of(NOTHING))
        self.assertEqual(self.upstream.result(), stream_of(NOTHING))
        self.ends(consumer, "done", 0, 1)

    # ---- pace ----

    def test_slow_consumer(self):
        data = blob(4 * MIB, 5)

        def script(upstream):
            upstream.send(data)
            upstream.end()
            return upstream.read_all()

        consumer = self.consumer(script, rcvbuf=16384)
        self.assertEqual(consumer.read_all(pace=0.002, chunk=1 << 16), stream_of(data))
        consumer.end()
        self.assertEqual(self.upstream.result(), stream_of(NOTHING))
        self.ends(consumer, "done", 0, len(data))

    def test_slow_upstream(self):
        data = blob(4 * MIB, 6)

        def script(upstream):
            got = upstream.read_all(pace=0.002, chunk=1 << 16)
            upstream.end()
            return got

        consumer = self.consumer(script)
        consumer.send(data)
        consumer.end()
        self.assertEqual(consumer.read_all(), stream_of(NOTHING))
        self.assertEqual(self.upstream.result(), stream_of(data))
        self.ends(consumer, "done", len(data), 0)

    def test_one_byte_at_a_time(self):
        text = bytes(range(60))

        def drip(connection):
            for start in range(len(text)):
                connection.send(text[start:start + 1])
                time.sleep(0.003)
            connection.end()

        def script(upstream):
            dripping = Background(drip, upstream)
            got = upstream.read_all()
            dripping.result()
            return got

        consumer = self.consumer(script)
        dripping = Background(drip, consumer)
        self.assertEqual(consumer.read_all(), stream_of(text))
        dripping.result()
        self.assertEqual(self.upstream.result(), stream_of(text))
        self.ends(consumer, "done", len(text), len(text))

    # ---- nothing waits for an event that will not come ----

    def test_upstream_speaks_first(self):
        """The banner is in the segment of the last handshake flight, and nothing follows."""
        def script(upstream):
            upstream.handshake(hold_last=True)
            upstream.send(b"220 welcome\r\n")
            return swallow(upstream)

        self.upstream.handshakes = False
        consumer = self.consumer(script)
        began = time.monotonic()
        self.assertEqual(consumer.read_exactly(13), b"220 welcome\r\n")
        self.assertLess(time.monotonic() - began, 5)
        consumer.end()
        self.assertEqual(self.upstream.result(), stream_of(NOTHING))
        self.ends(consumer, "done", 0, 13)

    def test_records_in_one_segment(self):
        """Three writes in one segment to a consumer with a tiny window; the stream stays open."""
        pieces = [blob(5000, seed) for seed in (7, 8, 9)]

        def script(upstream):
            upstream.recv()
            upstream.send_together(*pieces)
            return swallow(upstream)

        consumer = self.consumer(script, rcvbuf=1024)
        consumer.send(b"go")
        began = time.monotonic()
        got = consumer.read_exactly(15000)
        self.assertLess(time.monotonic() - began, 5)
        self.assertEqual(digest(got), digest(b"".join(pieces)))
        consumer.end()
        self.assertEqual(self.upstream.result(), stream_of(NOTHING))
        self.ends(consumer, "done", 2, 15000)

    def test_bursts(self):
        """Both sides send while the gateway is stopped: however much waits when it wakes up, all of
        it arrives although nothing follows."""
        orders, got = queue.Queue(), queue.Queue()

        def script(upstream):
            for size in iter(orders.get, None):
                sending = Background(upstream.send, blob(size, 16))
                got.put(digest(upstream.read_exactly(size)))
                sending.result()
            return swallow(upstream)

        consumer = self.greeted(script)
        for size in (1, 16384, 16385, 65535, 65536, 65537, 70000, 81920, 90000, 131073):
            self.gateway.freeze()
            try:
                orders.put(size)
                sending = Background(consumer.send, blob(size, 17))
                time.sleep(0.02)  # as much as the kernel takes; what it does not take follows
            finally:
                self.gateway.signal(signal.SIGCONT)
            self.assertEqual(digest(consumer.read_exactly(size)), digest(blob(size, 16)), size)
            self.assertEqual(got.get(timeout=STEP), digest(blob(size, 17)), size)
            sending.result()
        orders.put(None)
        consumer.end()
        self.assertEqual(self.upstream.result(), stream_of(NOTHING))
        self.ends(consumer, "done")

    def test_consumer_speaks_before_upstream_handshake(self):
        data = blob(100_000, 10)

        def script(upstream):
            time.sleep(0.3)
            upstream.handshake()
            return swallow(upstream)

        self.upstream.handshakes = False
        consumer = self.consumer(script)
        consumer.send(data)
        consumer.end()
        self.assertEqual(consumer.read_all(), stream_of(NOTHING))
        self.assertEqual(self.upstream.result(), stream_of(data))
        self.ends(consumer, "done", len(data), 0)

    # ---- ends that are not clean: all that came is delivered, then a reset, never a clean end ----

    SIZE = 3 * MIB // 2
    PLACES = (0, 1, SIZE // 2, SIZE - 1, SIZE)

    def test_upstream_truncates(self):
        if not self.upstream_version:
            self.skipTest("a plain stream ends with FIN")
        for place in self.PLACES:
            for pace in (0, 0.002):
                with self.subTest(place=place, pace=pace):
                    data = blob(self.SIZE, 11)[:place]

                    def script(upstream, data=data):
                        upstream.send(data)
                        upstream.fin()
                        upstream.read_all()

                    consumer = self.consumer(script, rcvbuf=16384 if pace else None)
                    self.assertEqual(consumer.read_all(pace=pace, chunk=1 << 16),
                                     stream_of(data, "reset"))
                    self.upstream.result()
                    self.ends(consumer, "upstream_truncated", down=place)

    def test_upstream_resets(self):
        for place in self.PLACES:
            for pace in (0, 0.002):
                with self.subTest(place=place, pace=pace):
                    data = blob(self.SIZE, 12)[:place]

                    def script(upstream, data=data):
                        if len(data) < 2:
                            # A reset that meets connect(2) in the kernel drops what came with it:
                            # let the gateway see its connection first.
                            time.sleep(0.2)
                        upstream.send(data)
                        upstream.reset()

                    consumer = self.consumer(script, rcvbuf=16384 if pace else None)
                    self.assertEqual(consumer.read_all(pace=pace, chunk=1 << 16),
                                     stream_of(data, "reset"))
                    self.upstream.result()
                    self.ends(consumer, "upstream_reset", down=place)

    def test_upstream_resets_while_consumer_sends(self):
        """The write that fails must not lose what the upstream had sent before."""
        data = blob(MIB, 13)

        def script(upstream):
            upstream.recv()
            upstream.send(data)
            upstream.reset()

        consumer = self.consumer(script)

        def push():
            try:
                for _ in range(64):
                    consumer.send(b"x" * 65536)
            except OSError:
                pass

        pushing = Background(push)
        self.assertEqual(consumer.read_all(pace=0.001, chunk=1 << 16), stream_of(data, "reset"))
        pushing.result()
        self.upstream.result()
        self.ends(consumer, "upstream_reset", down=len(data))

    def test_consumer_truncates(self):
        if not self.consumer_version:
            self.skipTest("a plain stream ends with FIN")
        for place in self.PLACES:
            with self.subTest(place=place):
                data = blob(self.SIZE, 14)[:place]
                consumer = self.greeted(lambda upstream: upstream.read_all(pace=0.001))
                consumer.send(data)
                consumer.fin()
                got = self.upstream.result()
                self.assertEqual((got.count, got.digest), (place, digest(data)))
                # A TLS upstream may see the missing close_notify before the reset.
                self.assertIn(got.end, ("reset", "truncated") if self.upstream_version
                              else ("reset",))
                self.ends(consumer, "consumer_truncated", up=place)

    def test_consumer_resets(self):
        for place in self.PLACES:
            with self.subTest(place=place):
                data = blob(self.SIZE, 15)[:place]
                consumer = self.greeted(lambda upstream: upstream.read_all())
                consumer.send(data)
                consumer.reset()
                got = self.upstream.result()
                self.assertNotEqual(got.end, "eof")
                self.assertEqual((got.count, got.digest), (place, digest(data)))
                self.ends(consumer, "consumer_reset", up=place)


def pairings():
    kinds = {"Plain": None, "Tls12": TLS12, "Tls13": TLS13}
    for down, consumer_version in kinds.items():
        for up, upstream_version in kinds.items():
            yield type(f"{down}To{up}", (Matrix, Case), {
                "consumer_version": consumer_version, "upstream_version": upstream_version})


for pairing in pairings():
    globals()[pairing.__name__] = pairing
del pairing

if __name__ == "__main__":
    unittest.main()
