"""What lies between: proxies that alone reach the upstream, gateways that tell each other who the consumer
is, and two ways to the same host."""

import os
import socket

import netns
from harness import STEP, need, until
from networks import FRONT, FRONT6, TRUST, USER, USER6, Networks
from peers import Background, blob, echo, name_of, server_context
from test_proxy_out import read_header

PROXY_AT, INSIDE, NAME = "192.0.2.8", "203.0.113.11", "up.inside.test"
SIZE = 4 << 20


def setUpModule():
    netns.require()


class BehindAProxy(Networks):
    """A proxy program as Debian has it, a leg in each of two networks. The upstream is in the other one,
    and only the proxy's hosts file knows its name."""

    def setUp(self):
        super().setUp()
        self.proxy, self.far = self.host(8), self.lab.host("far")
        self.inside = self.lab.lan("inside")
        self.inside.plug(self.proxy, "203.0.113.1/24")
        self.inside.plug(self.far, INSIDE + "/24")
        self.proxy.file("hosts", f"127.0.0.1 localhost\n{INSIDE} {NAME}\n")
        self.proxy.file("resolv.conf", "nameserver 127.0.0.1\n")
        self.asked = self.dns_on(self.host(53))
        self.upstream = self.listens(self.far, INSIDE, self.script, server_context())
        # What makes it a test of the proxy: there is no other way.
        with self.gw, socket.socket() as probe:
            with self.assertRaisesRegex(OSError, "Network is unreachable"):
                probe.connect((INSIDE, 443))

    @staticmethod
    def script(connection):
        """One direction after the other: microsocks holds up both when it cannot go on with one."""
        peer = connection.sock.getpeername()
        connection.send(connection.read_exactly(SIZE))
        connection.recv()
        connection.end()
        return peer[0]

    def run_proxy(self, port, *command):
        made = self.program(*self.proxy.prefix, *command)

        def listens():
            with self.proxy, socket.socket() as probe:
                return probe.connect_ex((PROXY_AT, port)) == 0

        until(listens, what=f"{command[0]} to listen:\n{made.output()}")

    def http(self):
        path = os.path.join(self.scratch(), "tinyproxy.conf")
        with open(path, "w", encoding="ascii") as out:
            out.write(f"Port 8888\nListen {PROXY_AT}\nTimeout 60\nConnectPort 443\nMaxClients 20\n"
                      "DisableViaHeader Yes\n")
        self.run_proxy(8888, need("tinyproxy"), "-d", "-c", path)
        return f"http://{PROXY_AT}:8888"

    def socks(self):
        self.run_proxy(1080, need("microsocks"), "-i", PROXY_AT, "-p", 1080)
        return f"socks5://{PROXY_AT}:1080"

    def through(self, url):
        gateway = self.start_at(f"tls://{NAME}:443", "--proxy", url, *TRUST, "--handshake-timeout",
                                f"{int(STEP / 8)}s", "--connect-timeout", "3s")
        consumer = self.consumer(gateway)
        data = blob(SIZE)
        back = Background(consumer.read_exactly, len(data))
        consumer.send(data)
        self.assertEqual(back.result(), data)
        consumer.end()
        self.assertEqual(consumer.read_all().end, "eof")
        line = gateway.wait_session(name_of(consumer))
        self.assertEqual((line["reason"], line["upstream"], line["tls_version"]),
                         ("done", f"tls://{NAME}:443", "TLSv1.3"), line)
        self.assertEqual(self.upstream.result(), "203.0.113.1")  # it is the proxy that came
        self.assertEqual(self.asked.count(), 0)  # the name is the proxy's to look up
        # A name that the proxy does not know; an upstream that is gone, which it may take long to say;
        # the proxy itself.
        self.fails(self.start_at("tls://nowhere.test:443", "--proxy", url, *TRUST),
                   "proxy_unreachable")
        self.inside.pull(self.far)
        self.fails(gateway, "proxy_unreachable", "proxy_timeout")
        self.assertEqual(self.asked.count(), 0)
        self.back.pull(self.proxy)
        self.fails(gateway, "connect_failed", "connect_timeout")

    def fails(self, gateway, *reasons):
        consumer = self.consumer(gateway)
        consumer.offer(b"the consumer's secret")
        self.assertEqual(consumer.read_all().end, "reset")
        line = gateway.wait_session(name_of(consumer))
        print(f"{self.id().rsplit('.', 1)[-1]}: {line['reason']}, {line['error']}")
        self.assertIn(line["reason"], reasons, line)

    def test_http(self):
        self.through(self.http())

    def test_socks5(self):
        self.through(self.socks())


class WhoTheConsumerIs(Networks):
    """By a PROXY header, from one host to the next."""

    def header_of(self, connection):
        header = read_header(connection.sock)
        echo(connection)
        return header

    def ask(self, gateway, host=None):
        consumer = self.consumer(gateway, host)
        consumer.send(b"hello")
        self.assertEqual(consumer.read_exactly(5), b"hello")
        consumer.end()
        self.assertEqual(consumer.read_all().end, "eof")
        return consumer

    def test_is_told(self):
        """Its own address, of either family; the connection comes from the gateway's."""
        upstream = self.listens(self.host(11), "192.0.2.11", self.header_of)
        for address, own in ((FRONT, USER), (FRONT6, USER6)):
            gateway = self.start_at("tcp://192.0.2.11:443", "--send-proxy", "v2", address=address)
            consumer = self.ask(gateway)
            self.assertEqual(consumer.name[0], own)
            header = upstream.result()
            self.assertEqual(header[2], f"{own}:{consumer.name[1]}")
            self.assertEqual(header[3], "%s:%d" % gateway.address)

    def test_from_gateway_to_gateway(self):
        """The second knows the consumer by the first one's word, and lets in by it; whoever else comes
        to it with such a word is refused."""
        self.listens(self.host(11), "192.0.2.11", echo)
        inner = self.host(9)
        with_header = ("--accept-proxy", "v2", "--proxy-from", "192.0.2.1/32", "--allow-from",
                       USER + "/32")
        second = self.start("tcp://192.0.2.11:443", *with_header, listen="tcp://192.0.2.9:8000",
                            prefix=inner.prefix, admin=os.path.join(self.scratch(), "admin"))
        first = self.start_at("tcp://192.0.2.9:8000", "--send-proxy", "v2")
        consumer = self.ask(first)
        line = second.wait_session(name_of(consumer))
        self.assertEqual(line["reason"], "done", line)
        self.assertRegex(line["peer"], r"^192\.0\.2\.1:\d+$")
        # Another consumer of the first one: not of those whom the second lets in.
        other = self.lab.host("other")
        self.front.plug(other, "198.51.100.3/24")
        consumer = self.consumer(first, other)
        consumer.offer(b"hello")
        self.assertEqual(consumer.read_all().end, "reset")
        line = second.wait_session(name_of(consumer))
        self.assertEqual(line["reason"], "consumer_denied", line)
        # A host of the network between, which says that it speaks for the good one.
        liar = self.consumer(second, self.host(66))
        liar.offer(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + socket.inet_aton(USER)
                   + socket.inet_aton(FRONT) + b"\x12\x34\x1f\x40" + b"hello")
        self.assertEqual(liar.read_all().end, "reset")
        line = second.wait_session(name_of(liar))
        self.assertEqual(line["reason"], "consumer_denied", line)


class TwoWays(Networks):
    """An upstream that is reached over two interfaces, by two networks; the route is over the first."""

    FAR = "203.0.113.80"

    def setUp(self):
        super().setUp()
        self.second = self.lab.lan("second")
        self.second_leg = self.second.plug(self.gw, "203.0.113.1/26")
        self.far = self.host(11)
        self.second.plug(self.far, "203.0.113.11/26")
        self.far.ip("addr", "add", self.FAR + "/32", "dev", "lo")
        self.gw.route(f"{self.FAR}/32 via 192.0.2.11 metric 100",
                      f"{self.FAR}/32 via 203.0.113.11 metric 200")
        self.upstream = self.listens(self.far, self.FAR, self.script)

    @staticmethod
    def script(connection):
        connection.send(connection.sock.getpeername()[0].encode())
        connection.end()

    def start_to(self, *options):
        return self.start_at(f"tcp://{self.FAR}:443", "--connect-timeout", "2s", *options)

    def test_by_the_route(self):
        self.assertEqual(self.whom(self.start_to()), "192.0.2.1")

    def test_source_interface(self):
        """It goes over that one, though the route does not; and over no other when it is down."""
        gateway = self.start_to("--source-interface", self.second_leg)
        self.assertEqual(self.whom(gateway), "203.0.113.1")
        self.back.pull(self.far)
        self.assertEqual(self.whom(gateway), "203.0.113.1")
        self.back.push(self.far)
        self.second.pull(self.far)
        before = self.upstream.accepted
        self.assertEqual(self.whom(gateway), "")
        line = gateway.wait_log(lambda line: line.get("event") == "session"
                                and line["reason"] != "done")
        self.assertIn(line["reason"], ("connect_timeout", "connect_failed"), line)
        self.assertEqual(self.upstream.accepted, before)
        self.second.push(self.far)
        self.until_whom(gateway, "203.0.113.1")

    def test_source_address(self):
        """By itself it is the address that changes, not the way; with a rule for it (ip-rule(8)) the
        way, too."""
        gateway = self.start_to("--source-address", "203.0.113.1")
        self.assertEqual(self.whom(gateway), "203.0.113.1")
        self.second.pull(self.gw)
        self.far.ip("route", "add", "203.0.113.1/32", "via", "192.0.2.1")
        self.assertEqual(self.whom(gateway), "203.0.113.1")
        self.far.ip("route", "del", "203.0.113.1/32")
        self.second.push(self.gw)
        self.gw.ip("rule", "add", "from", "203.0.113.1", "lookup", "77")
        self.gw.ip("route", "add", "default", "via", "203.0.113.11", "table", "77")
        self.back.pull(self.far)
        self.until_whom(gateway, "203.0.113.1")


if __name__ == "__main__":
    netns.main()
