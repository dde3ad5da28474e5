"""Consumers that come through a proxy, and say so by a PROXY header."""

import json
import socket
import struct
import time
import unittest

from admin import ask
from harness import Case, certificate, key, need, accepts, free_port, until
from peers import TlsConnection, Upstream, client_context, connect, echo

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
OWN = ("--accept-proxy", "any", "--proxy-from", "127.0.0.0/8")
V1 = b"PROXY TCP4 203.0.113.7 192.0.2.1 40007 443\r\n"


def v2(source="203.0.113.8", port=40008, tlvs=b"", command=1, family=0x11, addresses=None):
    if addresses is None:
        addresses = (socket.inet_aton(source) + socket.inet_aton("192.0.2.1")
                     + struct.pack("!HH", port, 443))
    body = addresses + tlvs
    return SIGNATURE + bytes([0x20 | command, family]) + struct.pack("!H", len(body)) + body


def tlv(kind, value):
    return bytes([kind]) + struct.pack("!H", len(value)) + value


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def with_checksum(good=True):
    empty = v2(tlvs=tlv(3, bytes(4)))
    return empty[:-4] + struct.pack("!I", crc32c(empty) ^ (0 if good else 1))


class Behind(Case):
    def setUp(self):
        self.upstream = self.closing(Upstream(echo))

    def start(self, *options, **settings):
        return self.gateway(self.upstream.url(), *(options or OWN), **settings)

    def speak(self, gateway, *pieces, says=b"hello"):
        """The pieces apart, the consumer's own bytes right behind the last."""
        consumer = self.closing(connect(gateway.address))
        for piece in pieces[:-1]:
            consumer.send(piece)
            time.sleep(0.01)
        consumer.send(pieces[-1] + says)
        self.assertEqual(consumer.read_exactly(len(says)), says)
        consumer.end()
        self.assertEqual(consumer.read_all().end, "eof")
        return consumer

    def refused(self, gateway, header, reason="proxy_header_bad", words="", end=False):
        consumer = self.closing(connect(gateway.address))
        consumer.offer(header)
        if end:
            consumer.end()
        got = consumer.read_all()
        self.assertEqual((got.count, got.end), (0, "reset"))
        line = gateway.wait_log(lambda line: line.get("reason") == reason
                                and line["peer"].endswith(f":{consumer.name[1]}"))
        self.assertIn(words, line["error"])
        self.assertNotIn("address", line)  # nothing was dialed
        self.assertIn("remedy", line)
        return line


class ProxyIn(Behind):
    def test_version_1(self):
        gateway = self.start()
        consumer = self.speak(gateway, V1)
        line = gateway.wait_session("203.0.113.7:40007")
        self.assertEqual(line["peer"], f"127.0.0.1:{consumer.name[1]}")
        self.assertEqual((line["reason"], line["bytes_up"], line["bytes_down"]), ("done", 5, 5))

    def test_byte_by_byte(self):
        gateway = self.start()
        for header, name in ((V1, "203.0.113.7:40007"), (v2(), "203.0.113.8:40008")):
            self.speak(gateway, *(header[i:i + 1] for i in range(len(header))))
            gateway.wait_session(name)

    def test_in_one_segment_with_much_more(self):
        gateway = self.start()
        self.speak(gateway, v2(), says=bytes(range(256)) * 400)
        gateway.wait_session("203.0.113.8:40008")

    def test_version_6(self):
        gateway = self.start()
        six = socket.inet_pton(socket.AF_INET6, "2001:db8::7")
        self.speak(gateway, v2(family=0x21, addresses=six + six + struct.pack("!HH", 5, 6)))
        gateway.wait_session("[2001:db8::7]:5")
        self.speak(gateway, b"PROXY TCP6 2001:db8::8 ::1 7 8\r\n")
        gateway.wait_session("[2001:db8::8]:7")

    def test_what_tells_nothing(self):
        gateway = self.start()
        for header in (b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN some more\r\n",
                       v2(command=0, family=0, addresses=b""), v2(command=0),
                       v2(family=0, addresses=b"anything")):
            consumer = self.speak(gateway, header)
            line = gateway.wait_session(f"127.0.0.1:{consumer.name[1]}")
            self.assertEqual(line["peer"], line["consumer"])

    def test_a_unix_consumer_of_the_proxy(self):
        addresses = b"/run/app".ljust(108, b"\0") + b"/run/proxy".ljust(108, b"\0")
        gateway = self.start(*OWN, "--allow-from", "127.0.0.0/8")
        self.speak(gateway, v2(family=0x31, addresses=addresses))
        self.assertEqual(gateway.wait_session("unix:/run/app")["reason"], "done")
        gateway = self.start(*OWN, "--allow-from", "192.0.2.0/24")
        self.refused(gateway, v2(family=0x31, addresses=addresses), "consumer_denied")

    def test_tlvs(self):
        """Unknown ones, 4 KiB of them, a checksum."""
        gateway = self.start()
        for tlvs in (tlv(0xee, b"x" * 100) + tlv(4, b""), tlv(0xee, b"x" * 4093)):
            self.speak(gateway, v2(tlvs=tlvs))
            gateway.wait_session("203.0.113.8:40008")
        self.speak(gateway, with_checksum())
        gateway.wait_session("203.0.113.8:40008")
        self.refused(gateway, with_checksum(good=False), words="CRC32C")

    def test_what_is_no_header(self):
        gateway = self.start()
        for header in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                       b"PROXY TCP4 203.0.113.7\r\n", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
                       b"PROXY TCP4 " + b"9" * 120, v2(family=0x41), v2(command=5),
                       v2(tlvs=b"\x04\xff\xff"), SIGNATURE + b"\x21\x11\xff\xff"):
            self.refused(gateway, header)

    def test_cut_within(self):
        self.refused(self.start(), V1[:20], end=True, words="ended within")

    def test_a_probe(self):
        gateway = self.start(level="debug")
        consumer = connect(gateway.address)
        consumer.close()
        gateway.wait_log(lambda line: line.get("reason") == "probe")

    def test_silence(self):
        gateway = self.start(*OWN, "--accept-proxy-timeout", "300ms")
        for header in (b"", V1[:30], v2()[:20]):
            line = self.refused(gateway, header, "proxy_header_timeout", "within 300ms")
            self.assertEqual(line["phase"], "proxy_header")

    def test_only_that_version(self):
        network = ("--proxy-from", "127.0.0.1")
        gateway = self.start("--accept-proxy", "v1", *network)
        self.speak(gateway, V1)
        self.refused(gateway, v2(), words="version 2")
        gateway = self.start("--accept-proxy", "v2", *network)
        self.speak(gateway, v2())
        self.refused(gateway, V1, words="version 1")
        self.refused(gateway, V1[:3], words="version 1")

    def test_from_elsewhere(self):
        """Whoever is no proxy is not believed, and not taken for plain either."""
        gateway = self.start("--accept-proxy", "any", "--proxy-from", "192.0.2.0/24")
        for bytes_ in (V1 + b"hello", b"hello"):
            consumer = self.closing(connect(gateway.address))
            consumer.offer(bytes_)
            self.assertEqual((got := consumer.read_all()).count, 0, got)
            line = gateway.wait_session(f"127.0.0.1:{consumer.name[1]}")
            self.assertEqual(line["reason"], "consumer_denied")
            self.assertIn("proxy_from", line["remedy"])

    def test_lists_are_asked_about_the_consumer(self):
        gateway = self.start(*OWN, "--allow-from", "203.0.113.0/24", "--deny-from",
                             "203.0.113.66")
        self.speak(gateway, V1)
        for source in ("203.0.113.66", "198.51.100.1", "127.0.0.1"):
            line = self.refused(gateway, v2(source=source), "consumer_denied")
            self.assertEqual(line["consumer"], f"{source}:40008")
        self.refused(gateway, v2(command=0), "consumer_denied")  # a proxy's own check

    def test_limit_of_an_address(self):
        gateway = self.start(*OWN, "--max-consumer-connections", "1")
        first = self.closing(connect(gateway.address))
        first.send(v2() + b"x")
        self.assertEqual(first.read_exactly(1), b"x")
        self.refused(gateway, v2(port=2), "over_limit")
        self.speak(gateway, v2(source="203.0.113.9"))
        first.end()
        first.read_all()
        gateway.wait_session("203.0.113.8:40008")
        until(lambda: self.try_again(gateway), what="the place to be free again")

    def try_again(self, gateway):
        consumer = self.closing(connect(gateway.address))
        consumer.offer(v2(port=3) + b"x")
        try:
            return consumer.recv(1) == b"x"
        except ConnectionResetError:
            return False

    def test_before_tls(self):
        gateway = self.start(*OWN, "--listen-cert", certificate("server"), "--listen-key",
                             key("server"), scheme="tls")
        for cut in (len(V1), 10):
            plain = self.closing(connect(gateway.address))
            plain.send(V1[:cut])
            time.sleep(0.02)
            plain.send(V1[cut:])
            consumer = TlsConnection(plain.sock, client_context(), server_name="localhost")
            consumer.handshake()
            consumer.send(b"secret")
            self.assertEqual(consumer.read_exactly(6), b"secret")
            consumer.end()
            consumer.read_all()
            line = gateway.wait_session("203.0.113.7:40007")
            self.assertIn("consumer_tls_version", line)
        self.refused(gateway, b"\x16\x03\x01\x00\x20")

    def test_unix_listener(self):
        """Its path says who may connect."""
        path = f"{self.scratch()}/s"
        gateway = self.start("--accept-proxy", "any", listen=f"unix:{path}")
        self.speak(gateway, V1)
        self.assertEqual(gateway.wait_session("203.0.113.7:40007")["peer"], "unix:")

    def test_sessions_show_both(self):
        admin = f"{self.scratch()}/admin"
        gateway = self.start(*OWN, "--admin", f"unix:{admin}")
        consumer = self.closing(connect(gateway.address))
        consumer.send(V1 + b"x")
        consumer.read_exactly(1)
        seen = json.loads(ask(admin, "/sessions")[2])["sessions"]
        self.assertEqual([(s["consumer"], s["peer"]) for s in seen],
                         [("203.0.113.7:40007", f"127.0.0.1:{consumer.name[1]}")])

    def test_many_at_once(self):
        gateway = self.start()
        consumers = []
        for n in range(60):
            consumer = self.closing(connect(gateway.address))
            consumer.send(v2(port=1000 + n)[:7 + n % 20])
            consumers.append(consumer)
        for n, consumer in enumerate(consumers):
            text = b"number %d" % n
            consumer.send(v2(port=1000 + n)[7 + n % 20:] + text)
            self.assertEqual(consumer.read_exactly(len(text)), text)
            consumer.end()
            consumer.read_all()
        for n in range(60):
            gateway.wait_session(f"203.0.113.8:{1000 + n}")


HAPROXY = """
global
    maxconn 50
defaults
    mode tcp
    timeout connect 10s
    timeout client 30s
    timeout server 30s
frontend in
    bind 127.0.0.1:{port}
    default_backend out
backend out
    server gateway 127.0.0.1:{gateway} {how}
"""


class RealProxies(Behind):
    """What haproxy sends is what is understood."""

    def test_haproxy(self):
        for how, said in (("send-proxy", "v1"), ("send-proxy-v2", "v2"),
                          ("send-proxy-v2 proxy-v2-options crc32c,unique-id", "v2")):
            with self.subTest(how):
                gateway = self.start("--accept-proxy", said, "--proxy-from", "127.0.0.1")
                path, port = f"{self.scratch()}/haproxy.cfg", free_port()
                with open(path, "w", encoding="ascii") as out:
                    out.write(HAPROXY.format(port=port, gateway=gateway.address[1], how=how))
                proxy = self.program(need("haproxy"), "-db", "-f", path)
                until(lambda: accepts(port), what="haproxy")
                consumer = self.closing(connect(("127.0.0.1", port)))
                consumer.send(b"hello")
                self.assertEqual(consumer.read_exactly(5), b"hello", proxy.output())
                consumer.end()
                consumer.read_all()
                line = gateway.wait_session(f"127.0.0.1:{consumer.name[1]}")
                self.assertNotEqual(line["peer"], line["consumer"])


if __name__ == "__main__":
    unittest.main()
