"""Who may connect, and how long a session may live."""

import os
import pwd
import signal
import socket
import time
import unittest

from harness import SANITIZED, STEP, Case, certificate, free_port, key, until
from peers import Upstream, client_context, connect, echo, name_of
from test_activation import HandedOver
from test_reload import ConfigGateway, service, services

OTHER = "65533"  # nobody's: neither a user nor a group of these tests


class Bounded(Case):
    def setUp(self):
        self.upstream = self.closing(Upstream(echo))
        self.url = self.upstream.url().replace("tls://", "tcp://")

    def echoes(self, gateway):
        consumer = self.closing(connect(gateway.address))
        consumer.send(b"x")
        self.assertEqual(consumer.read_exactly(1), b"x")

    def refused(self, gateway, remedy="allow_from", ends=("reset",)):
        consumer = self.closing(connect(gateway.address))
        consumer.offer(b"secret")
        got = consumer.read_all()
        self.assertEqual(got.count, 0)
        self.assertIn(got.end, ends)
        line = gateway.wait_log(lambda line: line.get("reason") == "consumer_denied")
        self.assertNotIn("address", line)  # nothing was dialed
        self.assertIn(remedy, line["remedy"])


class Networks(Bounded):
    def test_allowed(self):
        self.echoes(self.gateway(self.url, "--allow-from", "10.0.0.0/8", "--allow-from",
                                 "127.0.0.0/8"))

    def test_not_allowed(self):
        self.refused(self.gateway(self.url, "--allow-from", "10.0.0.0/8"))

    def test_denied(self):
        self.echoes(self.gateway(self.url, "--deny-from", "10.0.0.0/8"))
        self.refused(self.gateway(self.url, "--deny-from", "127.0.0.1"))

    def test_denied_though_allowed(self):
        self.refused(self.gateway(self.url, "--allow-from", "127.0.0.0/8", "--deny-from",
                                  "127.0.0.1/32"))

    def test_unix_consumers_have_no_address(self):
        path = f"{self.scratch()}/s"
        self.echoes(self.gateway(self.url, "--allow-from", "10.0.0.0/8",
                                 listen=f"unix:{path}"))

    def test_what_is_no_network(self):
        with self.assertRaisesRegex(AssertionError, "--allow-from.*10.0.0.1/8.*behind its prefix"):
            self.gateway(self.url, "--allow-from", "10.0.0.1/8")


class Users(Bounded):
    def test_unix_by_user(self):
        path = f"{self.scratch()}/s"
        self.echoes(self.gateway(self.url, "--allow-uid", str(os.getuid()),
                                 listen=f"unix:{path}"))

    def test_unix_by_group(self):
        path = f"{self.scratch()}/s"
        self.echoes(self.gateway(self.url, "--allow-uid", OTHER, "--allow-gid", os.getgid(),
                                 listen=f"unix:{path}"))

    def test_unix_of_another(self):
        path = f"{self.scratch()}/s"
        gateway = self.gateway(self.url, "--allow-uid", OTHER, "--allow-gid", OTHER,
                               listen=f"unix:{path}")
        self.refused(gateway, "allow_uid", ends=("reset", "eof"))

    def test_loopback_by_user(self):
        """The kernel tells who owns the consumer's socket."""
        self.echoes(self.gateway(self.url, "--allow-uid", str(os.getuid())))
        by_name = pwd.getpwuid(os.getuid()).pw_name
        self.echoes(self.gateway(self.url, "--allow-uid", by_name, listen="[::1]:" + str(
            free_port("::1"))))

    def test_loopback_through_a_socket_of_both_families(self):
        """As systemd makes them: an IPv4 consumer shows as ::ffff:127.0.0.1."""
        for uid, served in ((os.getuid(), True), (OTHER, False)):
            both = self.closing(socket.create_server(("::", 0), family=socket.AF_INET6,
                                                     dualstack_ipv6=True))
            gateway = HandedOver([("web", both)], "--listen", "systemd:web", "--connect", self.url,
                                 "--allow-uid", str(uid))
            self.addCleanup(gateway.stop)
            for host in ("127.0.0.1", "::1"):
                gateway.address = (host, both.getsockname()[1])
                (self.echoes if served else self.denied)(gateway)
            if not served:
                until(lambda gateway=gateway: [line["reason"] for line in gateway.sessions()] == [
                    "consumer_denied"] * 2, what="both to be denied")

    def denied(self, gateway):
        consumer = self.closing(connect(gateway.address))
        consumer.offer(b"secret")
        got = consumer.read_all()
        self.assertEqual((got.count, got.end), (0, "reset"))

    def test_loopback_of_one_that_has_closed(self):
        """Of its socket the kernel says that it is root's, whose ever it was."""
        gateway = self.gateway(self.url, "--allow-uid", "0")
        gateway.freeze()
        consumer = connect(gateway.address)
        name = name_of(consumer)
        consumer.send(b"secret")
        consumer.close()
        gateway.signal(signal.SIGCONT)
        line = gateway.wait_session(name)
        self.assertEqual(line["reason"], "consumer_denied")
        self.assertIn("closed already", line["remedy"])
        self.assertEqual(line["bytes_up"], 0)

    @unittest.skipIf(os.getuid() != 0, "only root may be somebody else")
    def test_one_of_many_groups(self):
        path = f"{self.scratch()}/s"
        gateway = self.gateway(self.url, "--allow-gid", OTHER, listen=f"unix:{path}")
        for groups in ([int(OTHER)], [*range(20000, 21000), int(OTHER)]):
            before = os.getgroups()
            os.setgroups(groups)
            try:
                self.echoes(gateway)
            finally:
                os.setgroups(before)

    def test_names_stand_in_a_file_that_is_read_again(self):
        """In the sandbox, too."""
        name = pwd.getpwuid(os.getuid()).pw_name
        port = free_port()
        text = services(service("one", port, self.url, f'allow_uid = "{name}";'))
        gateway = ConfigGateway(self.scratch(), text)
        self.addCleanup(gateway.stop)
        gateway.write(text + "\nmax_connections = 10;\n")
        gateway.signal(signal.SIGHUP)
        gateway.wait_log(lambda line: line["event"] == "reloaded", what="the reload")
        gateway.address = ("127.0.0.1", port)
        self.echoes(gateway)

    def test_loopback_of_another(self):
        self.refused(self.gateway(self.url, "--allow-uid", OTHER), "allow_uid")

    def test_mistakes(self):
        with self.assertRaisesRegex(AssertionError, "--allow-uid.*nobody-of-that-name.*number"):
            self.gateway(self.url, "--allow-uid", "nobody-of-that-name")
        with self.assertRaisesRegex(AssertionError, "--allow-gid.*unix:.*allow_uid"):
            self.gateway(self.url, "--allow-gid", "0")


class Connections(Bounded):
    """Limits of how many, and how fast."""

    def held(self, gateway, count):
        consumers = [self.closing(connect(gateway.address)) for _ in range(count)]
        for consumer in consumers:
            consumer.send(b"x")
        for consumer in consumers:
            self.assertEqual(consumer.read_exactly(1), b"x")
        return consumers

    def waits(self, gateway):
        """One more is not served; returned for when it is."""
        consumer = self.closing(connect(gateway.address))
        consumer.send(b"y")
        with self.assertRaises(socket.timeout):
            consumer.sock.settimeout(0.5)
            consumer.recv()
        consumer.sock.settimeout(STEP)
        return consumer

    def reset(self, gateway):
        consumer = self.closing(connect(gateway.address))
        consumer.offer(b"y")
        got = consumer.read_all()
        self.assertEqual((got.count, got.end), (0, "reset"))

    def over(self, gateway, limit):
        line = gateway.wait_log(lambda line: line["event"] == "connection_limit")
        self.assertEqual(line["limit"], limit)
        self.assertEqual([line["event"] for line in gateway.lines()].count("connection_limit"), 1)
        return line

    def wait_until_served(self, option, limit):
        gateway = self.gateway(self.url, option, "3", "--workers", "2")
        consumers = self.held(gateway, 3)
        late = [self.waits(gateway) for _ in range(2)]
        line = self.over(gateway, limit)
        self.assertEqual((line["value"], line["connections"]), (3, 3))
        for consumer in consumers[:2]:
            consumer.close()
        for consumer in late:
            self.assertEqual(consumer.read_exactly(1), b"y")

    def test_service_wait(self):
        self.wait_until_served("--max-service-connections", "max_service_connections")

    def test_process_wait(self):
        self.wait_until_served("--max-connections", "max_connections")

    def reset_until_room(self, *options, limit):
        gateway = self.gateway(self.url, *options, "--workers", "2")
        consumers = self.held(gateway, 3)
        for _ in range(20):
            self.reset(gateway)
        self.over(gateway, limit)
        consumers[0].close()
        until(lambda: len(gateway.sessions()) == 1, what="the session's end")
        self.held(gateway, 1)
        self.reset(gateway)

    def test_service_reset(self):
        self.reset_until_room("--max-service-connections", "3", "--over-limit", "reset",
                              limit="max_service_connections")

    def test_process_reset(self):
        self.reset_until_room("--max-connections", "3", "--over-limit", "reset",
                              limit="max_connections")

    def test_one_address(self):
        """It alone is reset: another address has its own number."""
        gateway = self.gateway(self.url, "--max-consumer-connections", "3", "--workers", "2")
        self.held(gateway, 3)
        self.reset(gateway)
        self.over(gateway, "max_consumer_connections")
        with socket.socket() as other:
            other.bind(("127.0.0.2", 0))
            other.settimeout(STEP)
            other.connect(gateway.address)
            other.sendall(b"z")
            self.assertEqual(other.recv(1), b"z")

    def test_places_come_back(self):
        gateway = self.gateway(self.url, "--max-consumer-connections", "2",
                               "--max-service-connections", "2", "--over-limit", "reset")
        for number in range(10):
            for consumer in self.held(gateway, 2):
                consumer.close()
            until(lambda number=number: len(gateway.sessions()) == 2 * (number + 1),
                  what="the sessions' ends")

    def test_rate_wait(self):
        """Ten at once, then ten a second: 30 take two seconds, and none is lost."""
        gateway = self.gateway(self.url, "--accept-rate", "10", "--workers", "2")
        began = time.monotonic()
        self.held(gateway, 30)
        took = time.monotonic() - began
        self.assertGreater(took, 1.8)
        self.assertLess(took, 3.5 if not SANITIZED else STEP)
        self.over(gateway, "accept_rate")

    def test_rate_reset(self):
        gateway = self.gateway(self.url, "--accept-rate", "5", "--over-limit", "reset")
        self.held(gateway, 5)
        self.reset(gateway)
        time.sleep(1)
        self.held(gateway, 2)

    def test_handshakes_of_a_service(self):
        """A flood at one service leaves places for the other."""
        port, other = free_port(), free_port()
        listener = (f'listen_cert = "{certificate("server")}"; listen_key = "{key("server")}"; '
                    'handshake_timeout = "5s";')

        def tls(name, at, more=""):
            return service(name, at, self.url, listener, more).replace(
                ' listen = "', ' listen = "tls://')

        gateway = ConfigGateway(self.scratch(), "max_handshakes = 5;\n" + services(
            tls("one", port, "max_service_handshakes = 3;"), tls("two", other)))
        self.addCleanup(gateway.stop)
        silent = [self.closing(connect(("127.0.0.1", port))) for _ in range(8)]
        time.sleep(0.3)
        consumer = self.closing(connect(("127.0.0.1", other), client_context()))
        consumer.send(b"x")
        self.assertEqual(consumer.read_exactly(1), b"x")
        for consumer in silent:
            consumer.close()


class Lifetime(Case):
    def setUp(self):
        self.upstream = self.closing(Upstream(echo))
        self.url = self.upstream.url().replace("tls://", "tcp://")

    def test_one_at_rest_ends_cleanly(self):
        gateway = self.gateway(self.url, "--max-lifetime", "2s")
        consumer = self.closing(connect(gateway.address))
        began = time.monotonic()
        consumer.send(b"hello")
        self.assertEqual(consumer.read_exactly(5), b"hello")
        self.assertEqual(consumer.read_all().end, "eof")
        self.assertGreater(time.monotonic() - began, 1.7)
        line = gateway.wait_log(lambda line: line["event"] == "session")
        self.assertEqual((line["reason"], line["bytes_down"]), ("lifetime", 5))

    def test_one_that_is_busy_goes_on_for_a_while(self):
        gateway = self.gateway(self.url, "--max-lifetime", "1s")
        consumer = self.closing(connect(gateway.address))
        began = time.monotonic()
        while time.monotonic() - began < 3:
            consumer.send(b"x")
            self.assertEqual(consumer.read_exactly(1), b"x")
            time.sleep(0.02)
        self.assertEqual(consumer.read_all().end, "eof")
        line = gateway.wait_log(lambda line: line["event"] == "session")
        self.assertEqual(line["reason"], "lifetime")


if __name__ == "__main__":
    unittest.main()
