"""The warm pool: upstream connections kept ready, verified, for consumers to come."""

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import unittest

from harness import STEP, Case, certificate, free_port, key, need, until
from peers import (TLS12, TLS13, Upstream, blob, connect, digest, name_of, server_context,
                   stream_of)
from test_reload import ConfigGateway, service, services

VERIFIED = ("--ca", certificate("ca"), "--server-name", "localhost")
# To see that something does not happen.
QUIET = 0.6


class Kept(Upstream):
    """Knows which connections are open, each by its number, and answers with that number."""

    def __init__(self, context=None, banner=b"", hang_up_after=None, **settings):
        self.live, self.ended, self._lock = {}, [], threading.Lock()
        self.banner, self.hang_up_after = banner, hang_up_after
        super().__init__(self._answer, context, **settings)

    def _answer(self, connection):
        with self._lock:
            number = len(self.live) + len(self.ended)
            self.live[number] = connection
        how = "cut"
        try:
            if self.banner:
                connection.send(self.banner)
            if self.hang_up_after is not None:
                time.sleep(self.hang_up_after)
                return
            while data := connection.recv():
                connection.send(b"%d:" % number + data)
            connection.end()
            how = "clean"
        except OSError:
            pass
        finally:
            with self._lock:
                del self.live[number]
                self.ended.append(how)

    def hang_up(self):
        """On every connection that is open now. TLS: without close_notify."""
        for connection in list(self.live.values()):
            try:
                connection.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def wait_live(self, count):
        until(lambda: len(self.live) == count,
              what=f"{count} connections at the upstream, not {len(self.live)}")


class Warm(Case):
    def upstream(self, context=None, **settings):
        return self.closing(Kept(context, **settings))

    def start(self, upstream, *options, **settings):
        own = VERIFIED if upstream.context else ()
        return self.gateway(upstream.url(), *own, *options, **settings)

    def asked(self, address):
        """One exchange. Returns the consumer and the number of the connection behind it."""
        consumer = self.closing(connect(address))
        consumer.send(b"x")
        answer = b""
        while not answer.endswith(b":x"):
            data = consumer.recv()
            self.assertTrue(data, answer)
            answer += data
        return consumer, int(answer[:-2].split(b"\n")[-1])

    def served(self, gateway):
        """One consumer from beginning to end: the number, and the session's line."""
        consumer, number = self.asked(gateway.address)
        consumer.end()
        self.assertEqual(consumer.read_all().end, "eof")
        line = gateway.wait_session(name_of(consumer))
        self.assertEqual(line["reason"], "done")
        return number, line

    def counted(self, gateway, *keys):
        """Ends the gateway and returns what its pools counted, in sum."""
        gateway.signal(signal.SIGTERM)
        gateway.wait_exit()
        lines = [line for line in gateway.lines() if line["event"] == "warm"]
        return tuple(sum(line[key] for line in lines) for key in keys)


class Filling(Warm):
    def test_to_min_and_not_beyond(self):
        for context in (None, server_context(version=TLS12), server_context(version=TLS13)):
            with self.subTest(context=context):
                upstream = self.upstream(context)
                gateway = self.start(upstream, "--warm-min", 3, "--workers", 1)
                upstream.wait_live(3)
                time.sleep(QUIET)
                self.assertEqual((len(upstream.live), upstream.accepted), (3, 3))
                self.assertEqual(gateway.sessions(), [])

    def test_off_by_default(self):
        upstream = self.upstream()
        gateway = self.start(upstream)
        time.sleep(QUIET)
        self.assertEqual(upstream.accepted, 0)
        _, line = self.served(gateway)
        self.assertNotIn("warm", line)

    def test_to_max_when_many_come(self):
        upstream = self.upstream(server_context())
        gateway = self.start(upstream, "--warm-min", 1, "--warm-max", 4, "--workers", 1)
        upstream.wait_live(1)
        consumers = [self.asked(gateway.address)[0] for _ in range(12)]
        most = []
        until(lambda: most.append(len(upstream.live)) or most[-1] == 12 + 4, what="four ready")
        time.sleep(QUIET)
        self.assertLessEqual(len(upstream.live), 12 + 4)
        self.assertLessEqual(max(most), 12 + 4)
        for consumer in consumers:
            consumer.close()

    def test_two_workers(self):
        for least, kept in ((4, 4), (1, 2), (3, 3)):
            with self.subTest(least=least):
                upstream = self.upstream(server_context())
                gateway = self.start(upstream, "--warm-min", least, "--workers", 2)
                upstream.wait_live(kept)
                warm = 0
                for _ in range(20):
                    warm += self.served(gateway)[1].get("warm", False)
                    upstream.wait_live(kept)
                time.sleep(QUIET)
                self.assertEqual(len(upstream.live), kept)
                self.assertGreaterEqual(warm, 15)
                hits, misses = self.counted(gateway, "hits", "misses")
                self.assertEqual((hits, misses), (warm, 20 - warm))

    def test_descriptors_of_consumers_are_not_taken(self):
        """Of about 40 descriptors an eighth may be kept ready; sessions have all the others."""
        upstream = self.upstream()
        gateway = self.start(upstream, "--warm-min", 1000, "--workers", 1,
                             prefix=(need("prlimit"), "--nofile=60:60"))
        until(lambda: upstream.live, what="some ready")
        time.sleep(QUIET)
        ready = len(upstream.live)
        self.assertLessEqual(ready, 6)
        consumers = [self.asked(gateway.address)[0] for _ in range(13)]
        self.assertLessEqual(len(upstream.live), 13 + 6)
        self.assertEqual([line for line in gateway.lines() if line["event"] == "session"], [])
        for consumer in consumers:
            consumer.close()
        until(lambda: len(upstream.live) == ready, what="as many as before")


class Serving(Warm):
    def test_without_a_new_connection(self):
        """The upstream takes none any more, and yet consumers are served."""
        for context in (None, server_context(version=TLS12), server_context(version=TLS13)):
            with self.subTest(context=context):
                upstream = self.upstream(context)
                gateway = self.start(upstream, "--warm-min", 3, "--workers", 1)
                upstream.wait_live(3)
                upstream.close()
                for _ in range(3):
                    number, line = self.served(gateway)
                    self.assertLess(number, 3)
                    self.assertIs(line["warm"], True)
                    self.assertEqual(line["address"], f"127.0.0.1:{upstream.port}")
                    self.assertNotIn("connect_ms", line)
                    self.assertNotIn("handshake_ms", line)
                consumer = self.closing(connect(gateway.address))
                consumer.offer(b"x")
                self.assertEqual(consumer.read_all().end, "reset")
                line = gateway.wait_session(name_of(consumer))
                self.assertEqual(line["reason"], "connect_failed")
                self.assertNotIn("warm", line)
                self.assertEqual(self.counted(gateway, "hits", "misses"), (3, 1))

    def test_each_to_one_consumer(self):
        upstream = self.upstream(server_context())
        gateway = self.start(upstream, "--warm-min", 3, "--warm-max", 20, "--workers", 2)
        upstream.wait_live(3)
        numbers = [self.asked(gateway.address)[1] for _ in range(30)]
        self.assertEqual(len(set(numbers)), 30)

    def test_filled_again(self):
        upstream = self.upstream(server_context())
        gateway = self.start(upstream, "--warm-min", 2, "--workers", 1)
        for i in range(4):
            upstream.wait_live(2)
            number, line = self.served(gateway)
            self.assertIs(line["warm"], True)
            self.assertLess(number, 2 + i)
        # The last consumer's own connection may still be among the live ones.
        until(lambda: upstream.accepted >= 6, what="filled again")
        upstream.wait_live(2)
        self.assertEqual(upstream.accepted, 6)

    def test_unix(self):
        path = os.path.join(self.scratch(), "u")
        upstream = self.upstream(address=path)
        gateway = self.gateway(f"unix:{path}", "--warm-min", 2, "--workers", 1)
        upstream.wait_live(2)
        self.assertIs(self.served(gateway)[1]["warm"], True)

    def test_large_both_ways(self):
        def mirror(connection):
            data = connection.read_exactly(5 << 20)
            connection.send(data)
            connection.end()
            return connection.read_all()

        upstream = self.closing(Upstream(mirror, server_context()))
        gateway = self.start(upstream, "--warm-min", 1, "--workers", 1)
        until(lambda: upstream.accepted, what="one ready")
        time.sleep(QUIET)
        consumer = self.closing(connect(gateway.address))
        consumer.send(blob(5 << 20))
        self.assertEqual(consumer.read_all(), stream_of(blob(5 << 20)))
        consumer.end()
        self.assertIs(gateway.wait_session(name_of(consumer))["warm"], True)

    def test_new_keys_while_it_waits(self):
        """RFC 8446 4.6.3: a KeyUpdate comes, and asks for ours."""
        port = free_port()
        server = self.program(need("openssl"), "s_server", "-accept", port, "-cert",
                              certificate("server"), "-key", key("server"), "-tls1_3",
                              stdin=subprocess.PIPE)
        server.wait_output("ACCEPT")
        gateway = self.gateway(f"tls://127.0.0.1:{port}", *VERIFIED, "--warm-min", 1,
                               "--workers", 1)
        server.wait_output("CIPHER is")
        server.type(b"K\n")
        time.sleep(QUIET)
        consumer = self.closing(connect(gateway.address))
        consumer.send(b"hello from the consumer\n")
        server.wait_output("hello from the consumer")
        server.type(b"and back\n")
        self.assertEqual(consumer.read_exactly(9), b"and back\n")
        server.type(b"Q\n")
        self.assertIs(gateway.wait_session(name_of(consumer))["warm"], True)


class Ending(Warm):
    def test_the_upstream_closes_what_is_idle(self):
        for context in (None, server_context(version=TLS12), server_context(version=TLS13)):
            with self.subTest(context=context):
                upstream = self.upstream(context)
                gateway = self.start(upstream, "--warm-min", 3, "--workers", 1)
                upstream.wait_live(3)
                upstream.hang_up()
                self.assertGreaterEqual(self.served(gateway)[0], 3)
                until(lambda up=upstream: up.accepted >= 6 and len(up.live) == 3,
                      what="three new ones")
                self.assertIs(self.served(gateway)[1]["warm"], True)
                self.assertEqual(self.counted(gateway, "closed", "failed"), (3, 0))

    def test_closed_and_asked_for_in_the_same_moment(self):
        """The gateway sees the consumer before it could have seen the end."""
        upstream = self.upstream(server_context())
        gateway = self.start(upstream, "--warm-min", 3, "--workers", 1)
        upstream.wait_live(3)
        time.sleep(QUIET)
        gateway.freeze()
        try:
            consumer = self.closing(connect(gateway.address))
            consumer.send(b"x")
            upstream.hang_up()
            time.sleep(0.2)
        finally:
            gateway.signal(signal.SIGCONT)
        self.assertEqual(consumer.read_exactly(3), b"3:x")
        consumer.end()
        self.assertNotIn("warm", gateway.wait_session(name_of(consumer)))
        self.assertEqual(self.counted(gateway, "hits", "misses", "closed"), (0, 1, 3))

    def test_too_old(self):
        upstream = self.upstream(server_context())
        gateway = self.start(upstream, "--warm-min", 2, "--warm-max-idle", "700ms", "--workers", 1)
        until(lambda: len(upstream.ended) >= 4, what="four that became too old")
        self.assertEqual(set(upstream.ended), {"clean"})
        upstream.wait_live(2)
        self.assertIs(self.served(gateway)[1]["warm"], True)
        aged, closed = self.counted(gateway, "aged", "closed")
        self.assertGreaterEqual(aged, 4)
        self.assertEqual(closed, 0)

    def test_drain(self):
        """Connections that nobody uses hold up nothing."""
        upstream = self.upstream(server_context())
        gateway = self.start(upstream, "--warm-min", 6, "--workers", 2, drain="30s")
        upstream.wait_live(6)
        began = time.monotonic()
        self.assertEqual(self.counted(gateway, "config", "closed"), (6, 0))
        self.assertLess(time.monotonic() - began, 5)
        upstream.wait_live(0)
        self.assertEqual(upstream.ended, ["clean"] * 6)

    def test_drain_while_dialing(self):
        silent = self.closing(socket.create_server(("127.0.0.1", 0)))
        gateway = self.gateway(f"tls://127.0.0.1:{silent.getsockname()[1]}", *VERIFIED,
                               "--warm-min", 6, drain="30s")
        self.closing(silent.accept()[0])
        began = time.monotonic()
        gateway.signal(signal.SIGTERM)
        self.assertEqual(gateway.wait_exit(), 0)
        self.assertLess(time.monotonic() - began, 5)


class Speaking(Warm):
    """Servers that speak first."""

    def check(self, banner, context):
        upstream = self.upstream(context, banner=banner)
        gateway = self.start(upstream, "--warm-min", 2, "--workers", 1)
        upstream.wait_live(2)
        time.sleep(QUIET)
        consumer = self.closing(connect(gateway.address))
        self.assertEqual(digest(consumer.read_exactly(len(banner))), digest(banner))
        consumer.send(b"QUIT")
        self.assertRegex(consumer.read_exactly(6), b"^[01]:QUIT$")
        consumer.end()
        self.assertEqual(consumer.read_all().count, 0)
        line = gateway.wait_session(name_of(consumer))
        self.assertEqual((line["reason"], line["warm"], line["bytes_up"], line["bytes_down"]),
                         ("done", True, 4, len(banner) + 6))

    def test_banner(self):
        for context in (None, server_context(version=TLS12), server_context(version=TLS13)):
            for size in (10, 70_000, 700_000):
                with self.subTest(context=context, size=size):
                    self.check(blob(size), context)

    def test_no_more_is_read_than_may_wait(self):
        upstream = self.upstream(banner=blob(64 << 20))
        gateway = self.start(upstream, "--warm-min", 1, "--workers", 1)
        upstream.wait_live(1)
        before = gateway.memory()
        time.sleep(QUIET)
        self.assertLess(gateway.memory() - before, 4 << 20)
        consumer = self.closing(connect(gateway.address))
        self.assertEqual(digest(consumer.read_exactly(64 << 20)), digest(blob(64 << 20)))
        consumer.close()

    def test_the_first_word_was_goodbye(self):
        """421 and the end, as of a server that is too busy: not for a consumer who comes later."""
        upstream = self.upstream(banner=b"421 too busy\n", hang_up_after=0.1)
        gateway = self.start(upstream, "--warm-min", 2, "--workers", 1)
        until(lambda: len(upstream.ended) >= 2, what="two that were ended")
        upstream.banner, upstream.hang_up_after = b"220 hello\n", None
        upstream.wait_live(2)
        time.sleep(QUIET)
        consumer = self.closing(connect(gateway.address))
        self.assertEqual(consumer.read_exactly(10), b"220 hello\n")
        consumer.close()
        self.assertIs(gateway.wait_session(name_of(consumer))["warm"], True)


class Failing(Warm):
    def test_an_upstream_that_is_down(self):
        """It hangs up in the handshake: attempts can be counted. No storm, one line, recovery."""
        upstream = self.upstream(server_context(), handshake=False)
        upstream.script = lambda connection: None
        gateway = self.start(upstream, "--warm-min", 4, "--workers", 1)
        line = gateway.wait_log(lambda line: line["event"] == "warm_failing")
        self.assertEqual((line["level"], line["service"], line["upstream"]),
                         ("warn", "default", upstream.url()))
        self.assertTrue(line["error"])
        time.sleep(4)
        # 4 at once; then one after 1 s, 2 s and 4 s, each a quarter more or less.
        self.assertLessEqual(upstream.accepted, 4 + 3)
        self.assertGreaterEqual(upstream.accepted, 4 + 1)
        self.assertEqual(sum(line["event"] == "warm_failing" for line in gateway.lines()), 1)
        upstream.handshakes, upstream.script = True, upstream._answer
        gateway.wait_log(lambda line: line["event"] == "warm_ok")
        upstream.wait_live(4)
        self.assertIs(self.served(gateway)[1]["warm"], True)

    def test_an_upstream_that_must_not_be_trusted(self):
        """Nothing gets into the pool, and a consumer is told as ever."""
        upstream = self.upstream(server_context("unknown"))
        gateway = self.start(upstream, "--warm-min", 3, "--workers", 1)
        line = gateway.wait_log(lambda line: line["event"] == "warm_failing")
        self.assertEqual(line["reason"], "upstream_verify_failed")
        consumer = self.closing(connect(gateway.address))
        consumer.offer(b"secret")
        self.assertEqual(consumer.read_all().end, "reset")
        line = gateway.wait_session(name_of(consumer))
        self.assertEqual((line["reason"], line["phase"]),
                         ("upstream_verify_failed", "upstream_handshake"))
        self.assertNotIn("warm", line)

    def test_the_next_candidate_is_warmed_while_the_first_is_dead(self):
        second = self.upstream(server_context())
        gateway = self.gateway([f"tls://127.0.0.1:{free_port()}", second.url()], *VERIFIED,
                               "--warm-min", 2, "--workers", 1)
        second.wait_live(2)
        self.assertIs(self.served(gateway)[1]["warm"], True)

    def test_an_upstream_that_closes_at_once(self):
        upstream = self.upstream(server_context(), hang_up_after=0)
        gateway = self.start(upstream, "--warm-min", 3, "--workers", 1)
        line = gateway.wait_log(lambda line: line["event"] == "warm_short_lived")
        self.assertGreater(line["rests_ms"], 40000)
        accepted = upstream.accepted
        self.assertLessEqual(accepted, 3 * 3 + 3)
        time.sleep(2)
        self.assertEqual(upstream.accepted, accepted)
        upstream.hang_up_after = None
        _, line = self.served(gateway)
        self.assertNotIn("warm", line)

    def test_an_upstream_that_closes_soon(self):
        upstream = self.upstream(server_context(), hang_up_after=1.7)
        gateway = self.start(upstream, "--warm-min", 3, "--workers", 1)
        line = gateway.wait_log(lambda line: line["event"] == "warm_short_lived")
        self.assertTrue(1000 <= line["kept_ms"] < 1700, line)
        cut = len(upstream.ended)
        upstream.hang_up_after = None  # nobody closes but the gateway now
        until(lambda: upstream.ended[cut:].count("clean") >= 3, what="three that became too old")


class Reloading(Warm):
    def setUp(self):
        self.directory = self.scratch()
        self.anchors = os.path.join(self.directory, "anchors.pem")
        shutil.copy(certificate("ca"), self.anchors)
        self.port = free_port()
        self.address = ("127.0.0.1", self.port)

    def config(self, upstream, *lines):
        return "watch = false; allow_weaker = true; workers = 2;\n" + services(service(
            "one", self.port, upstream.url(), f'ca = "{self.anchors}";',
            'server_name = "localhost";', *lines))

    def start_from(self, text):
        gateway = ConfigGateway(self.directory, text)
        gateway.address = self.address
        self.addCleanup(gateway.stop)
        return gateway

    def test_dropped_and_made_anew(self):
        upstream = self.upstream(server_context())
        gateway = self.start_from(self.config(upstream, "warm_min = 4;"))
        upstream.wait_live(4)
        held, number = self.asked(self.address)
        self.assertLess(number, 4)
        upstream.wait_live(5)
        made = upstream.accepted
        gateway.reload()
        until(lambda: upstream.accepted == made + 4 and len(upstream.live) == 5,
              what="four new ones, and the session's")
        lines = [line for line in gateway.lines() if line["event"] == "warm"]
        self.assertEqual(sum(line["config"] for line in lines), 4)
        self.assertEqual(sum(line["hits"] for line in lines), 1)
        number, line = self.served(gateway)
        self.assertGreaterEqual(number, made)
        self.assertIs(line["warm"], True)
        held.send(b"x")
        self.assertTrue(held.recv().endswith(b":x"))
        held.close()

    def test_another_authority(self):
        """What was verified by the old rules is for nobody."""
        upstream = self.upstream(server_context())
        gateway = self.start_from(self.config(upstream, "warm_min = 4;"))
        upstream.wait_live(4)
        shutil.copy(certificate("other-ca"), self.anchors)
        gateway.reload()
        consumer = self.closing(connect(self.address))
        consumer.offer(b"secret")
        self.assertEqual(consumer.read_all().end, "reset")
        line = gateway.wait_session(name_of(consumer))
        self.assertEqual(line["reason"], "upstream_verify_failed")
        self.assertNotIn("warm", line)
        upstream.wait_live(0)
        shutil.copy(certificate("ca"), self.anchors)
        gateway.reload()
        upstream.wait_live(4)
        self.assertIs(self.served(gateway)[1]["warm"], True)

    def test_descriptors(self):
        upstream = self.upstream(server_context())
        gateway = self.start_from(self.config(upstream))
        base = gateway.descriptors()
        for _ in range(3):
            gateway.write(self.config(upstream, "warm_min = 7; warm_max_idle = \"5m\";"))
            gateway.reload()
            upstream.wait_live(7)
            until(lambda: gateway.descriptors() == base + 7, what="seven more descriptors")
            gateway.write(self.config(upstream))
            gateway.reload()
            until(lambda: gateway.descriptors() == base, what="descriptors as before")
            upstream.wait_live(0)
        self.assertIn(("one", "warm_min: 0 -> 7"), gateway.changes())
        self.assertEqual(set(upstream.ended), {"clean"})


if __name__ == "__main__":
    unittest.main()
