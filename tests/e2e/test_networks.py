"""What networks do to a gateway: addresses that cannot be reached, cables that are pulled, name servers
that come, go and are slow."""

import socket
import time

import netns
from dns_server import A, Answer
from harness import STEP, until
from names import FRESH_MIN
from networks import FRONT, TRUST, Networks
from peers import Background, Connection, blob, digest, echo, name_of, server_context
from test_reload import ConfigGateway


def setUpModule():
    netns.require()


class FirstAddressIsNoGood(Networks):
    """The second is, and is reached at once."""

    def setUp(self):
        super().setUp()
        self.says_on(11, "good", server_context())

    def reached(self, connect, below=50):
        gateway = self.start_at(connect, *TRUST)

        def once():
            line = self.session(gateway, "good")
            self.assertEqual((line["reason"], line["address"], line["attempts"]),
                             ("done", "192.0.2.11:443", 2), line)
            return line

        self.best(below, once)

    def named(self, *six):
        server = self.dns_on(self.host(53))
        server.a("up.test", "192.0.2.11")
        server.aaaa("up.test", *six)
        return "tls://up.test:443"

    def test_no_route(self):
        """ENETUNREACH of connect(2) itself."""
        with self.gw, socket.socket(socket.AF_INET6) as probe:
            with self.assertRaisesRegex(OSError, "Network is unreachable"):
                probe.connect(("2001:db8:dead::1", 443))
        self.reached(["tls://[2001:db8:dead::1]:443", "tls://192.0.2.11:443"])

    def test_routes_of_this_machine_that_refuse(self):
        """EHOSTUNREACH, EACCES and EINVAL: route(8) of "unreachable", "prohibit" and "blackhole"."""
        for net, kind in enumerate(("unreachable", "prohibit", "blackhole")):
            with self.subTest(kind=kind):
                self.gw.route(f"{kind} 2001:db8:dea{net}::/48")
                self.reached([f"tls://[2001:db8:dea{net}::1]:443", "tls://192.0.2.11:443"])

    def test_nobody_listens(self):
        """ECONNREFUSED from another host."""
        self.reached(self.named("2001:db8:b::11"))

    def test_no_ipv6_at_all(self):
        """An address without a route comes last, so the other is not even tried twice."""
        url = self.named("2001:db8:dead::1")
        gateway = self.start_at(url, *TRUST)

        def once():
            line = self.session(gateway, "good")
            self.assertNotIn("attempts", line)
            return line

        self.best(500, once)


class Race(Networks):
    """Of the addresses of a name one is silent. The next joins it (RFC 8305)."""

    NAME = "tls://up.test:443"

    def setUp(self):
        super().setUp()
        self.greets(11, "good", server_context())
        self.server = self.dns_on(self.host(53))
        self.server.a("up.test", "192.0.2.11")
        self.router = self.host(254)
        self.router.forward()
        self.gw.route("2001:db8:dead::/48 via 2001:db8:b::254")

    @staticmethod
    def listen_only(connection):
        """All that was said to it, until it was left."""
        heard = b""
        try:
            while data := connection.recv():
                heard += data
        except ConnectionResetError:
            pass
        return heard

    def first_of_a_gateway(self, *options):
        """It remembers nothing yet. The next one goes to the good address at once."""
        gateway = self.start_at(self.NAME, *TRUST, *options)
        line = self.session(gateway, "good")
        self.assertEqual((line["reason"], line["address"], line["attempts"]),
                         ("done", "192.0.2.11:443", 2), line)
        again = self.session(gateway, "good")
        self.assertEqual((again["reason"], again["address"]), ("done", "192.0.2.11:443"), again)
        self.assertNotIn("attempts", again)
        return line

    def test_ipv6_is_a_black_hole(self):
        """There is a route, and what takes it is never seen again."""
        self.router.route("blackhole 2001:db8:dead::/48")
        with self.gw, socket.socket(socket.AF_INET6) as probe:
            probe.settimeout(1)
            with self.assertRaises(TimeoutError):
                probe.connect(("2001:db8:dead::1", 443))
        self.server.aaaa("up.test", "2001:db8:dead::1")
        self.best(400, self.first_of_a_gateway)

    def test_many_black_holes(self):
        """Four addresses at most are tried at a time, the families in turn."""
        self.router.route("blackhole 2001:db8:dead::/48")
        self.server.aaaa("up.test", *(f"2001:db8:dead::{i}" for i in range(1, 9)))
        self.best(400, self.first_of_a_gateway)

    def test_a_router_has_no_route(self):
        """Its ICMPv6 says ENETUNREACH while the connection is being made. Over veth that is before
        connect(2) returns, when the kernel heeds it for the next SYN alone: so this, too, is silence."""
        self.router.set("net/ipv6/icmp/ratelimit", 0)
        self.server.aaaa("up.test", "2001:db8:dead::1")
        self.best(400, self.first_of_a_gateway)

    def test_nothing_but_black_holes(self):
        """It ends when connect_timeout says, once."""
        self.router.route("blackhole 2001:db8:dead::/48")
        self.server.set("up.test", A, Answer())
        self.server.aaaa("up.test", "2001:db8:dead::1", "2001:db8:dead::2")
        gateway = self.start_at(self.NAME, *TRUST, "--connect-timeout", "1s")
        self.assertEqual(self.whom(gateway), "")
        line = gateway.wait_log(lambda line: line.get("event") == "session")
        self.assertEqual((line["reason"], line["attempts"]), ("connect_timeout", 2), line)
        self.assertGreater(line["duration_ms"], 900)
        self.assertLess(line["duration_ms"], 1000 * (1 + STEP / 4))

    def test_one_takes_connections_and_says_nothing(self):
        """It wins a race of connections, and its silence is waited for; race = "tls" is won by whom could
        be verified. The silent one hears a ClientHello, and is left."""
        silent = self.listens(self.host(12), "2001:db8:b::12", self.listen_only)
        self.server.aaaa("up.test", "2001:db8:b::12")
        self.best(1000, lambda: self.first_of_a_gateway("--race", "tls", "--handshake-timeout", "20s"))
        heard = silent.result()
        self.assertEqual(heard[:1], b"\x16")  # a record of the handshake,
        self.assertEqual(len(heard), 5 + int.from_bytes(heard[3:5], "big"))  # and no other
        gateway = self.start_at(self.NAME, *TRUST, "--handshake-timeout", "2s")
        line = self.session(gateway, "good")
        self.assertGreater(line["duration_ms"], 1900, line)


class Unplugged(Networks):
    """A cable is pulled. Nobody says so: only what is not acknowledged, or not answered, tells."""

    def flowing(self, script, *options, tls=True):
        """A session, and the host that will be gone."""
        far = self.host(11)
        self.upstream = self.listens(far, "192.0.2.11", script, server_context() if tls else None)
        gateway = self.start_at(f"{'tls' if tls else 'tcp'}://192.0.2.11:443",
                                *(TRUST if tls else ()), *options)
        return gateway, self.consumer(gateway), far

    def ended(self, gateway, consumer, began, least, most):
        """How its stream ended and the session's line, so many seconds after it began to wait."""
        got = consumer.read_all()
        took = time.monotonic() - began
        line = gateway.wait_session(name_of(consumer))
        print(f"{self.id().rsplit('.', 1)[-1]}: {took:.1f} s, {line['reason']}, {line['error']}")
        self.assertGreater(took, least)
        self.assertLess(took, most)
        self.assertEqual(got.end, "reset", line)
        return got, line

    def sent_to(self, tls):
        gateway, consumer, far = self.flowing(echo, "--tcp-user-timeout", "2s", tls=tls)
        consumer.send(b"before")
        self.assertEqual(consumer.read_exactly(6), b"before")
        self.back.pull(far)
        began = time.monotonic()
        consumer.send(b"into the void")
        _, line = self.ended(gateway, consumer, began, 1.5, 3 + STEP / 4)
        self.assertEqual((line["reason"], line["phase"]), ("upstream_lost", "relay"), line)
        self.assertEqual(line["error"], "Connection timed out", line)

    def test_while_it_is_sent_to(self):
        """tcp_user_timeout: what was sent has not been acknowledged for so long."""
        self.sent_to(True)

    def test_while_it_is_sent_to_in_plain_text(self):
        self.sent_to(False)

    def test_while_it_answers(self):
        """Nothing is under way towards it, so it is keepalive that notices. What has come of the
        answer is delivered, and then a reset: it must not look whole."""
        whole = blob(64 << 20)

        def script(connection):
            connection.recv()
            connection.send(whole)
            connection.end()

        gateway, consumer, far = self.flowing(script, "--keepalive-idle", "1s",
                                              "--keepalive-interval", "1s", "--keepalive-probes", 2)
        consumer.send(b"give it")
        start = consumer.read_exactly(1 << 20)
        self.back.pull(far)
        began = time.monotonic()
        got, line = self.ended(gateway, consumer, began, 1.5, 3 + STEP / 4)
        count = len(start) + got.count
        self.assertLess(count, len(whole))
        self.assertEqual(start, whole[:len(start)])
        self.assertEqual(got.digest, digest(whole[len(start):count]))
        self.assertEqual((line["reason"], line["bytes_down"]), ("upstream_lost", count), line)

    def test_and_plugged_in_again(self):
        """Before it is given up: nothing is lost."""
        gateway, consumer, far = self.flowing(echo, "--tcp-user-timeout", "60s")
        data = blob(8 << 20)
        back = Background(consumer.read_exactly, len(data))
        consumer.send(data[:1 << 20])
        self.back.pull(far)
        sent = Background(consumer.send, data[1 << 20:])
        time.sleep(1)
        self.back.push(far)
        self.assertEqual(digest(back.result(3 * STEP)), digest(data))
        sent.result()
        consumer.end()
        self.assertEqual(consumer.read_all().end, "eof")
        self.assertEqual(gateway.wait_session(name_of(consumer))["reason"], "done")

    def test_a_consumer_that_is_gone(self):
        """The upstream is reset, too: a clean end would say that all was taken."""
        def script(connection):
            connection.send(connection.recv())
            connection.send(blob(64 << 20))

        gateway, consumer, _ = self.flowing(script, "--listen-tcp-user-timeout", "2s")
        consumer.send(b"before")
        consumer.read_exactly(6)
        self.front.pull(self.user)
        line = gateway.wait_session(name_of(consumer))
        self.assertEqual((line["reason"], line["error"]),
                         ("consumer_lost", "Connection timed out"), line)
        self.assertIsInstance(self.upstream.outcome(), ConnectionError)

    def test_what_is_set(self):
        """On both sides, asked of the kernel: keepalive of 60/15/4, and no user timeout but by option."""
        far = self.host(11)
        self.listens(far, "192.0.2.11", echo)
        # Both at once: the defaults take half a minute.
        begun = []
        for options, theirs, ours in (((), (60, 15, 4, 0), (60, 15, 4, 0)),
                                      (("--tcp-user-timeout", "9s", "--keepalive-idle", "4s",
                                        "--listen-tcp-user-timeout", "8s"),
                                       (4, 15, 4, 9000), (60, 15, 4, 8000))):
            gateway = self.start_at("tcp://192.0.2.11:443", *options)
            consumer = self.consumer(gateway)
            consumer.send(b"x")
            consumer.read_exactly(1)
            begun.append((gateway, consumer, theirs, ours))
        for gateway, consumer, theirs, ours in begun:
            wanted = {("192.0.2.11", 443): theirs, consumer.name: ours}
            # The upstream's is not there at once: most sessions do not live that long.
            until(lambda: self.set_on_sockets(gateway) == wanted, 60 + STEP, f"{wanted} to be set")

    @staticmethod
    def set_on_sockets(gateway):
        found = {}
        for sock in netns.sockets_of(gateway.pid):
            with sock:
                try:
                    peer = sock.getpeername()
                except OSError:
                    continue  # a listener
                if sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE):
                    found[peer] = tuple(sock.getsockopt(socket.IPPROTO_TCP, name) for name in (
                        socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT,
                        socket.TCP_USER_TIMEOUT))
        return found


class Names(Networks):
    """The name server is a host of its own, on port 53, and /etc/resolv.conf names it."""

    def test_moved(self):
        """New sessions go where the name leads, as soon as what was kept has run out; those that
        live stay where they are, and what becomes of the old host is nothing to the new ones."""
        one = self.greets(11, "one")
        self.greets(12, "two")
        server = self.dns_on(self.host(53))
        server.a("moves.test", "192.0.2.11", ttl=1)
        gateway = self.start_at("tcp://moves.test:443")
        live = self.consumer(gateway)
        self.assertEqual(live.read_exactly(3), b"one")
        server.a("moves.test", "192.0.2.12", ttl=1)
        began = time.monotonic()
        self.until_whom(gateway, "two")
        took = time.monotonic() - began
        print(f"test_moved: {took:.1f} s")
        self.assertGreater(took, FRESH_MIN * 0.7)
        self.assertLess(took, FRESH_MIN + STEP / 4)
        live.send(b"still here")
        self.assertEqual(live.read_exactly(10), b"still here")
        self.back.pull(one)
        for _ in range(5):
            self.assertEqual(self.whom(gateway), "two")

    def heals(self, break_it, mend_it):
        """DNS cannot be reached at the start, then comes; goes, and what was known stays in use; and
        comes again, with news."""
        self.greets(11, "one")
        self.greets(12, "two")
        far = self.host(53)
        server = self.dns_on(far)
        server.a("up.test", "192.0.2.11", ttl=1)
        break_it(far)
        gateway = self.start_at("tcp://up.test:443", "--dns-timeout", "300ms", "--dns-tries", 1)
        self.assertEqual(self.whom(gateway), "")
        line = self.last_failure(gateway)
        self.assertEqual(line["phase"], "resolve", line)
        mend_it(far)
        self.until_whom(gateway, "one")

        break_it(far)
        server.a("up.test", "192.0.2.12", ttl=1)
        until(lambda: self.whom(gateway) == "one" and self.metric("dns_stale_total") > 0,
              what="an old answer to be used")
        self.assertEqual(gateway.wait_log(lambda line: line.get("event") == "dns_stale")["name"],
                         "up.test")
        for _ in range(5):
            self.assertEqual(self.whom(gateway), "one")
        mend_it(far)
        self.until_whom(gateway, "two")
        gateway.wait_log(lambda line: line.get("event") == "dns_recovered")

    def test_dns_is_unplugged(self):
        self.heals(self.back.pull, self.back.push)

    def test_no_route_to_dns(self):
        """As before DHCP, or a tunnel, is done."""
        self.heals(lambda far: self.gw.ip("route", "add", "unreachable", "192.0.2.53/32"),
                   lambda far: self.gw.ip("route", "del", "unreachable", "192.0.2.53/32"))

    def test_slow_for_one_service(self):
        """Ten seconds for the name of one; the other is as quick as ever, and the first one served
        when its answer has come."""
        self.greets(11, "slow")
        self.greets(12, "quick")
        server = self.dns_on(self.host(53))
        server.a("slow.test", "192.0.2.11", delay=10)
        server.aaaa("slow.test", delay=10)
        server.a("quick.test", "192.0.2.12", ttl=1)
        gateway = ConfigGateway(
            self.scratch(), 'dns_timeout = "30s"; workers = 1; services = (\n'
            f'{{ name = "quick"; listen = "{FRONT}:8001"; connect = "tcp://quick.test:443"; }},\n'
            f'{{ name = "slow"; listen = "{FRONT}:8002"; connect = "tcp://slow.test:443";\n'
            '   connect_timeout = "60s"; });\n', prefix=self.gw.prefix)
        self.addCleanup(gateway.stop)
        gateway.address = (FRONT, 8001)
        began = time.monotonic()
        with self.user:
            waiting = [Connection(socket.create_connection((FRONT, 8002), STEP)) for _ in range(5)]
        for each in waiting:
            self.closing(each)
        until(lambda: server.count("slow.test") > 0, what="the slow name to be asked for")
        took = []
        # Longer than what is kept, so that the quick name is asked for meanwhile, more than once.
        while time.monotonic() < began + FRESH_MIN + 3:
            line = self.session(gateway, "quick")
            self.assertEqual(line["reason"], "done", line)
            took.append(line["duration_ms"])
            time.sleep(0.2)
        self.assertGreater(server.count("quick.test", A), 1)
        took.sort()
        print(f"test_slow_for_one_service: {len(took)} sessions, {took[0]} to {took[-1]} ms")
        self.assertLess(took[len(took) // 2], 500, took)
        self.assertLess(took[-1], 5000, took)
        for consumer in waiting:
            self.assertEqual(consumer.read_exactly(4), b"slow")
        self.assertGreater(time.monotonic() - began, 9)
        self.assertEqual(server.count("slow.test", A), 1)


if __name__ == "__main__":
    netns.main()
