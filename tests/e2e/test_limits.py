"""The cap on consumers' TLS handshakes in progress: who is over it waits, nobody is lost."""

import datetime
import signal
import socket
import ssl
import time
import unittest

from admin import AdminCase
from harness import CERTS, STEP, Case, certificate, free_port, key, until
from peers import Background, Upstream, client_context, connect, echo, server_context
from test_reload import ConfigGateway


class Handshakes(Case):
    def setUp(self):
        self.upstream = self.closing(Upstream(echo, server_context()))
        self.tls, self.plain = free_port(), free_port()
        self.own = ("--ca", certificate("ca"), "--server-name", "localhost", "--listen-cert",
                    certificate("server"), "--listen-key", key("server"))

    def start(self, *options, **settings):
        return self.gateway(
            self.upstream.url(), *self.own, *options, **settings,
            listen=[f"tls://127.0.0.1:{self.tls}", f"tcp://127.0.0.1:{self.plain}"])

    def silent(self):
        return self.closing(socket.create_connection(("127.0.0.1", self.tls), STEP))

    def served(self, port, context=None):
        """Seconds until an echo came, handshake included."""
        began = time.monotonic()
        consumer = connect(("127.0.0.1", port), context)
        consumer.send(b"x")
        self.assertEqual(consumer.read_exactly(1), b"x")
        consumer.close()
        return time.monotonic() - began

    @staticmethod
    def most_at_once(sessions):
        """How many of them were in progress at a time."""
        steps = []
        for line in sessions:
            end = datetime.datetime.fromisoformat(line["time"].replace("Z", "+00:00")).timestamp()
            # The next one may begin in the millisecond in which this one is logged.
            steps += [(end - line["duration_ms"] / 1000, 1), (end - 0.02, -1)]
        now, most = 0, 0
        for _, step in sorted(steps):
            now += step
            most = max(most, now)
        return most

    def test_silent_consumers(self):
        """50 that never begin, 10 places: five rounds of the handshake timeout."""
        gateway = self.start("--max-handshakes", "10", "--handshake-timeout", "1s")
        began = time.monotonic()
        for _ in range(50):
            self.silent()
        gateway.wait_log(lambda line: line["event"] == "handshake_limit")
        late = Background(self.served, self.tls, client_context())

        def timed_out():
            return [line for line in gateway.sessions()
                    if line["reason"] == "consumer_handshake_timeout"]

        until(lambda: len(timed_out()) == 50, what="50 to be timed out")
        took = time.monotonic() - began
        self.assertLessEqual(self.most_at_once(timed_out()), 10)
        self.assertGreater(late.result(), 0.5)  # it had to wait, and was served
        limits = [line for line in gateway.lines() if line["event"] == "handshake_limit"]
        self.assertGreaterEqual(len(limits), 1)
        self.assertLessEqual(len(limits), 1 + int(took / 10))  # once in ten seconds
        self.assertEqual(limits[0]["max_handshakes"], 10)
        self.assertIn("max_handshakes", limits[0]["remedy"])
        self.assertLess(self.served(self.tls, client_context()), 1)

    def test_plain_listeners_go_on(self):
        gateway = self.start("--max-handshakes", "1", "--handshake-timeout", "2s")
        for _ in range(3):
            self.silent()
        gateway.wait_log(lambda line: line["event"] == "handshake_limit")
        for _ in range(20):
            self.served(self.plain)
        self.assertEqual([line["reason"] for line in gateway.sessions()
                          if line["listen"].startswith("tls")], [])

    def test_what_counts_is_the_handshake(self):
        """One place: sessions that are past it, however many, leave it to the next one."""
        self.start("--max-handshakes", "1")
        held = [self.closing(connect(("127.0.0.1", self.tls), client_context()))
                for _ in range(10)]
        for consumer in held:
            consumer.send(b"x")
            self.assertEqual(consumer.read_exactly(1), b"x")

    def test_a_place_is_given_back_however_a_handshake_ends(self):
        gateway = self.start("--max-handshakes", "1", "--handshake-timeout", "500ms",
                             level="debug")

        def not_tls(sock):
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")

        def reset(sock):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.close()

        def leave(sock):
            sock.close()

        def half_a_hello(sock):
            sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
            sock.close()

        def distrust(sock):
            context = ssl.create_default_context(cafile=f"{CERTS}/other-ca.pem")
            with self.assertRaises(ssl.SSLError):
                context.wrap_socket(sock, server_hostname="localhost")

        ways = (not_tls, reset, leave, half_a_hello, distrust, lambda sock: None)
        for way in ways * 3:
            way(self.silent())
        # A reset in the queue may have been taken away by the kernel before it was accepted.
        until(lambda: len(gateway.sessions()) >= len(ways) * 3 - 3, what="the sessions to end")
        for _ in range(5):
            self.assertLess(self.served(self.tls, client_context()), 5)

    def test_crowd_at_one_place(self):
        """No wake-up is lost: everyone who waits in the queue is taken in turn."""
        gateway = self.start("--max-handshakes", "1", "--workers", "2")
        context = client_context()
        crowd = [Background(lambda: [self.served(self.tls, context) for _ in range(10)])
                 for _ in range(15)]
        for each in crowd:
            self.assertEqual(len(each.result()), 10)
        until(lambda: len(gateway.sessions()) == 150, what="150 sessions")

    def test_reload_changes_the_cap(self):
        text = ('max_handshakes = {};\nservices = ( {{ name = "t"; listen = "tls://127.0.0.1:%d"; '
                'connect = "%s"; ca = "%s"; server_name = "localhost"; listen_cert = "%s"; '
                'listen_key = "%s"; handshake_timeout = "1m"; }} );\n'
                % (self.tls, self.upstream.url(), certificate("ca"), certificate("server"),
                   key("server")))
        gateway = ConfigGateway(self.scratch(), text.format(1))
        self.addCleanup(gateway.stop)
        silent = self.silent()
        waiting = Background(self.served, self.tls, client_context())
        gateway.wait_log(lambda line: line["event"] == "handshake_limit")
        gateway.write(text.format(2))
        gateway.signal(signal.SIGHUP)
        waiting.result()
        gateway.wait_log(lambda line: line.get("change") == "max_handshakes: 1 -> 2")
        silent.close()

    def test_a_listener_that_is_left_loses_nobody(self):
        """Who waits for a place when the gateway is told to stop is taken all the same."""
        gateway = self.start("--max-handshakes", "1", "--handshake-timeout", "3s",
                             drain="15s")
        self.silent()
        waiting = [Background(self.served, self.tls, client_context()) for _ in range(5)]
        gateway.wait_log(lambda line: line["event"] == "handshake_limit")
        time.sleep(0.5)
        gateway.signal(signal.SIGTERM)
        for each in waiting:
            each.result()
        self.assertEqual(gateway.wait_exit(), 0)


class Measured(AdminCase):
    """What is in use of a limit, what it is, and how often somebody waited for it."""

    def waits(self, limit):
        return self.metric("over_limit_total", limit=limit)

    def silent_at(self, gateway, count):
        for _ in range(count):
            self.closing(socket.create_connection(gateway.address, STEP))

    def tls(self, *options):
        upstream = self.closing(Upstream(echo))
        return self.start(upstream.url(), "--listen-cert", certificate("server"), "--listen-key",
                          key("server"), "--handshake-timeout", "10m", *options, scheme="tls")

    def test_max_handshakes(self):
        gateway = self.tls("--max-handshakes", "3", "--max-service-handshakes", "3")
        self.silent_at(gateway, 3)
        self.until_metric(3, "consumer_handshakes")
        self.assertEqual(self.metric("consumer_handshakes_max"), 3)
        for limit in ("max_handshakes", "max_service_handshakes", "open_files"):
            self.assertEqual(self.waits(limit), 0)  # there was room for all of them
        self.silent_at(gateway, 1)
        until(lambda: self.waits("max_handshakes") > 0, what="somebody to wait")
        self.assertEqual(self.waits("max_service_handshakes"), 0)
        self.assertEqual(self.metric("consumer_handshakes"), 3)

    def test_max_service_handshakes(self):
        gateway = self.tls("--max-handshakes", "9", "--max-service-handshakes", "2")
        self.silent_at(gateway, 3)
        until(lambda: self.waits("max_service_handshakes") > 0, what="somebody to wait")
        self.assertEqual(self.waits("max_handshakes"), 0)

    def test_open_files(self):
        upstream = self.closing(Upstream(echo))
        gateway = self.start(upstream.url(), "--workers", "1",
                             prefix=("sh", "-c", 'ulimit -n 96; exec "$@"', "sh"))
        self.assertEqual(self.metric("descriptors"), 0)
        most = int(self.metric("descriptors_max"))
        self.assertEqual(most, self.get("/status")["limits"]["descriptors"])
        self.assertLess(most, 96)
        self.silent_at(gateway, most // 2)
        self.until_metric(most // 2 * 2, "descriptors")
        self.assertEqual(self.waits("open_files"), 0)
        self.silent_at(gateway, 1)
        until(lambda: self.waits("open_files") > 0, what="somebody to wait")
        self.assertEqual(self.metric("descriptors"), most // 2 * 2)


if __name__ == "__main__":
    unittest.main()
