"""Upstreams that are told who the consumer is, by a PROXY header."""

import os
import socket
import ssl
import struct
import unittest

from harness import STEP, Case, accepts, certificate, free_port, key, need, until
from peers import TlsConnection, Upstream, client_context, connect, server_context
from test_proxy_in import crc32c, tlv, v2

NAMES = {1: "alpn", 2: "authority", 3: "crc32c", 5: "unique_id", 0x20: "ssl"}
IN_SSL = {0x21: "version", 0x22: "cn", 0x23: "cipher", 0x24: "sig_alg", 0x25: "key_alg"}
BEHIND = ("--accept-proxy", "any", "--proxy-from", "127.0.0.0/8")


def exactly(sock, size):
    got = b""
    while len(got) < size:
        data = sock.recv(size - len(got))
        if not data:
            raise AssertionError(f"ended after {got!r}")
        got += data
    return got


def tlvs_of(data, names):
    found = {}
    while data:
        kind, length = data[0], struct.unpack("!H", data[1:3])[0]
        assert len(data) >= 3 + length, data
        assert names[kind] not in found, data
        found[names[kind]] = data[3:3 + length]
        data = data[3 + length:]
    return found


def read_header(sock):
    """(version, command or word, source, destination, TLVs), and not a byte more is read."""
    first = exactly(sock, 1)
    if first == b"P":
        line = first
        while not line.endswith(b"\r\n"):
            line += exactly(sock, 1)
        assert len(line) <= 107, line
        _, word, *rest = line.decode("ascii").split()
        source = f"{rest[0]}:{rest[2]}" if rest else None
        return 1, word, source, f"{rest[1]}:{rest[3]}" if rest else None, {}
    head = first + exactly(sock, 15)
    assert head[:12] == b"\r\n\r\n\0\r\nQUIT\n" and head[12] >> 4 == 2, head
    body = exactly(sock, struct.unpack("!H", head[14:])[0])
    source = destination = None
    family, rest = head[13], body
    if family in (0x11, 0x21):
        size, af = (4, socket.AF_INET) if family == 0x11 else (16, socket.AF_INET6)
        ports = struct.unpack("!HH", body[2 * size:2 * size + 4])
        texts = [socket.inet_ntop(af, body[:size]), socket.inet_ntop(af, body[size:2 * size])]
        source, destination = (f"{t}:{p}" for t, p in zip(texts, ports))
        rest = body[2 * size + 4:]
    elif family == 0x31:
        source, destination = (body[i:i + 108].rstrip(b"\0").decode() for i in (0, 108))
        rest = body[216:]
    tlvs = tlvs_of(rest, NAMES)
    if "crc32c" in tlvs:
        at = (head + body).index(tlv(3, tlvs["crc32c"])) + 3
        whole = head + body
        assert struct.unpack("!I", tlvs["crc32c"])[0] == crc32c(
            whole[:at] + bytes(4) + whole[at + 4:])
    return 2, head[12] & 15, source, destination, tlvs


class ProxyOut(Case):
    def upstream(self, context=None):
        """Reads a header, then TLS if there is a context, then echoes one message."""
        def script(connection):
            header = read_header(connection.sock)
            if context:
                connection = TlsConnection(connection.sock, context, server_side=True)
                connection.handshake()
            connection.send(connection.recv())
            connection.end()
            return header

        return self.closing(Upstream(script))

    def told(self, upstream, gateway, context=None, first=b"", options=None):
        consumer = self.closing(connect(gateway.address, None if first else context))
        if first:
            consumer.send(first)
        consumer.send(b"hello")
        self.assertEqual(consumer.read_exactly(5), b"hello")
        consumer.end()
        consumer.read_all()
        return consumer, upstream.result()

    def start(self, upstream, *options, tls=False, **settings):
        url = f"{'tls' if tls else 'tcp'}://localhost:{upstream.port}"
        trust = ("--ca", certificate("ca")) if tls else ()
        return self.gateway(url, *trust, *options, **settings)

    def test_both_versions(self):
        for version in (1, 2):
            upstream = self.upstream()
            gateway = self.start(upstream, "--send-proxy", f"v{version}")
            consumer, header = self.told(upstream, gateway)
            to = "%s:%d" % gateway.address
            self.assertEqual(header, (version, "TCP4" if version == 1 else 1,
                                      f"127.0.0.1:{consumer.name[1]}", to, {}))

    def test_version_6(self):
        for version in (1, 2):
            upstream = self.upstream()
            gateway = self.start(upstream, "--send-proxy", f"v{version}",
                                 listen=f"tcp://[::1]:{free_port('::1')}")
            consumer, header = self.told(upstream, gateway)
            self.assertEqual(header[2], f"::1:{consumer.name[1]}")

    def test_a_unix_consumer(self):
        for version, wanted in ((1, (1, "UNKNOWN", None, None, {})), (2, None)):
            upstream, path = self.upstream(), f"{self.scratch()}/s"
            gateway = self.start(upstream, "--send-proxy", f"v{version}", listen=f"unix:{path}")
            _, header = self.told(upstream, gateway)
            self.assertEqual(header, wanted or (2, 1, "", path, {}))

    def test_before_tls(self):
        for version in (1, 2):
            upstream = self.upstream(server_context())
            gateway = self.start(upstream, "--send-proxy", f"v{version}", tls=True)
            consumer, header = self.told(upstream, gateway)
            self.assertEqual(header[2], f"127.0.0.1:{consumer.name[1]}")
            line = gateway.wait_session(f"127.0.0.1:{consumer.name[1]}")
            self.assertEqual(line["reason"], "done")
            self.assertIn("tls_version", line)

    def test_beyond_a_proxy(self):
        """CONNECT, its answer, the header, TLS."""
        context = server_context()

        def script(connection):
            asked = b""
            while not asked.endswith(b"\r\n\r\n"):
                asked += exactly(connection.sock, 1)
            connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
            header = read_header(connection.sock)
            inner = TlsConnection(connection.sock, context, server_side=True)
            inner.handshake()
            inner.send(inner.recv())
            inner.end()
            return asked.split(b" ")[0], header[2]

        proxy = self.closing(Upstream(script))
        gateway = self.gateway("tls://localhost:7", "--ca", certificate("ca"), "--proxy",
                               f"http://127.0.0.1:{proxy.port}", "--send-proxy", "v2")
        consumer, told = self.told(proxy, gateway)
        self.assertEqual(told, (b"CONNECT", f"127.0.0.1:{consumer.name[1]}"))

    def test_what_is_known_of_tls(self):
        every = ("ssl", "cn", "cipher", "authority", "alpn", "unique_id", "crc32c")
        options = [word for name in every for word in ("--send-proxy-tlvs", name)]
        upstream = self.upstream()
        gateway = self.start(upstream, "--send-proxy", "v2", *options, "--listen-cert",
                             certificate("server"), "--listen-key", key("server"), "--listen-ca",
                             certificate("ca"), "--listen-alpn", "h2", scheme="tls")
        context = client_context(cert="client")
        context.set_alpn_protocols(["h2"])
        consumer, header = self.told(upstream, gateway, context)
        tlvs = header[4]
        line = gateway.wait_session(f"127.0.0.1:{consumer.name[1]}")
        self.assertEqual((tlvs["authority"], tlvs["alpn"]), (b"localhost", b"h2"))
        self.assertEqual(tlvs["unique_id"].decode(), line["unique_id"])
        self.assertIn("crc32c", tlvs)
        flags, verify = tlvs["ssl"][0], tlvs["ssl"][1:5]
        self.assertEqual((flags, verify), (7, bytes(4)))
        ssl = tlvs_of(tlvs["ssl"][5:], IN_SSL)
        self.assertEqual(ssl["version"].decode(), line["consumer_tls_version"])
        self.assertEqual(ssl["cipher"].decode(), line["consumer_cipher"])
        self.assertEqual(ssl["cn"], b"esclusa test client")

    def test_a_choice_of_it(self):
        upstream = self.upstream()
        gateway = self.start(upstream, "--send-proxy", "v2", "--send-proxy-tlvs", "ssl",
                             "--listen-cert", certificate("server"), "--listen-key",
                             key("server"), scheme="tls")
        _, header = self.told(upstream, gateway, client_context())
        self.assertEqual(list(header[4]), ["ssl"])
        self.assertEqual(header[4]["ssl"][0], 1)  # TLS, and no certificate
        self.assertNotEqual(header[4]["ssl"][1:5], bytes(4))
        self.assertEqual(list(tlvs_of(header[4]["ssl"][5:], IN_SSL)), ["version"])

    def test_a_resumed_session(self):
        """The certificate is known from the session before, and was not shown on this connection."""
        context = client_context(ssl.TLSVersion.TLSv1_2, cert="client")
        upstream = self.upstream()
        gateway = self.start(upstream, "--send-proxy", "v2", "--send-proxy-tlvs", "ssl",
                             "--listen-cert", certificate("server"), "--listen-key",
                             key("server"), "--listen-ca", certificate("ca"), "--workers", 1,
                             scheme="tls")
        session, flags = None, []
        for _ in range(2):
            with socket.create_connection(gateway.address, STEP) as sock, context.wrap_socket(
                    sock, server_hostname="localhost", session=session) as consumer:
                consumer.sendall(b"hello")
                self.assertEqual(consumer.recv(5), b"hello")
                session = consumer.session
                consumer.unwrap()  # both ends are told, so that nobody is reset
            flags.append(upstream.result()[4]["ssl"][0])
        self.assertEqual(flags, [7, 5])

    def test_of_a_plain_consumer(self):
        """Nothing is said of TLS that there was none of."""
        upstream = self.upstream()
        gateway = self.start(upstream, "--send-proxy", "v2", "--send-proxy-tlvs", "ssl",
                             "--send-proxy-tlvs", "authority", "--send-proxy-tlvs", "crc32c")
        self.assertEqual(list(self.told(upstream, gateway)[1][4]), ["crc32c"])

    def test_handed_on(self):
        """What the consumer's own proxy told goes on."""
        upstream = self.upstream()
        gateway = self.start(upstream, *BEHIND, "--send-proxy", "v2", "--send-proxy-tlvs",
                             "unique_id")
        header = self.told(upstream, gateway, first=v2(tlvs=tlv(5, b"ticket-7")))[1]
        self.assertEqual(header, (2, 1, "203.0.113.8:40008", "192.0.2.1:443",
                                  {"unique_id": b"ticket-7"}))
        self.assertEqual(gateway.wait_session("203.0.113.8:40008")["unique_id"], "ticket-7")

    def test_each_its_own(self):
        upstream = self.upstream()
        gateway = self.start(upstream, "--send-proxy", "v2", "--send-proxy-tlvs", "unique_id")
        seen = {self.told(upstream, gateway)[1][4]["unique_id"] for _ in range(20)}
        self.assertEqual(len(seen), 20)

    def test_the_next_candidate_is_told_too(self):
        upstream = self.upstream()
        gateway = self.gateway([f"tcp://127.0.0.1:{free_port()}",
                                f"tcp://127.0.0.1:{upstream.port}"], "--send-proxy", "v1")
        consumer, header = self.told(upstream, gateway)
        self.assertEqual(header[2], f"127.0.0.1:{consumer.name[1]}")


NGINX = """
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr warn;
{user}
events {{ worker_connections 64; }}
http {{
    log_format who '$proxy_protocol_addr $proxy_protocol_port $ssl_protocol';
    access_log {directory}/access who;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl proxy_protocol;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        location / {{ return 200 "$proxy_protocol_addr:$proxy_protocol_port"; }}
    }}
}}
"""

HAPROXY = """
global
    maxconn 50
defaults
    mode http
    timeout connect 10s
    timeout client 30s
    timeout server 30s
frontend in
    bind 127.0.0.1:{port} accept-proxy ssl crt {pem}
    http-request return status 200 content-type text/plain lf-string "%[src]:%[src_port] %[fc_pp_authority] %[fc_pp_unique_id]"
"""


class RealUpstreams(Case):
    def ask(self, gateway, context=None):
        consumer = self.closing(connect(gateway.address, context))
        consumer.send(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
        got = b""
        while data := consumer.recv():
            got += data
        consumer.end()
        return consumer, got.split(b"\r\n\r\n", 1)[1].decode()

    def test_nginx(self):
        directory, port = self.scratch(), free_port()
        with open(f"{directory}/nginx.conf", "w", encoding="ascii") as out:
            out.write(NGINX.format(directory=directory, port=port, key=key("server"),
                                   certificate=certificate("server"),
                                   user="user root;" if os.geteuid() == 0 else ""))
        server = self.program(need("nginx"), "-p", directory, "-c", f"{directory}/nginx.conf")
        until(lambda: server.process.poll() is not None or accepts(port), what="nginx")
        for said in (("v1",), ("v2",), ("v2", "--send-proxy-tlvs", "crc32c", "--send-proxy-tlvs",
                                        "unique_id")):
            gateway = self.gateway(f"tls://localhost:{port}", "--ca", certificate("ca"),
                                   "--send-proxy", *said)
            consumer, answer = self.ask(gateway)
            self.assertEqual(answer, f"127.0.0.1:{consumer.name[1]}", server.output())

    def test_haproxy(self):
        directory, port = self.scratch(), free_port()
        with open(f"{directory}/both.pem", "w", encoding="ascii") as out:
            for path in (certificate("server"), key("server")):
                with open(path, encoding="ascii") as part:
                    out.write(part.read())
        with open(f"{directory}/haproxy.cfg", "w", encoding="ascii") as out:
            out.write(HAPROXY.format(port=port, pem=f"{directory}/both.pem"))
        server = self.program(need("haproxy"), "-db", "-f", f"{directory}/haproxy.cfg")
        until(lambda: server.process.poll() is not None or accepts(port), what="haproxy")
        tlvs = ("--send-proxy-tlvs", "authority", "--send-proxy-tlvs", "crc32c",
                "--send-proxy-tlvs", "ssl", "--send-proxy-tlvs", "unique_id")
        for said in (("v1",), ("v2",), ("v2", *tlvs)):
            gateway = self.gateway(f"tls://localhost:{port}", "--ca", certificate("ca"),
                                   "--send-proxy", *said, "--listen-cert", certificate("server"),
                                   "--listen-key", key("server"), scheme="tls")
            consumer, answer = self.ask(gateway, client_context())
            words = answer.split()
            self.assertEqual(words[0], f"127.0.0.1:{consumer.name[1]}", server.output())
            if len(said) > 1:
                line = gateway.wait_session(words[0])
                self.assertEqual(words[1:], ["localhost", line["unique_id"]])


if __name__ == "__main__":
    unittest.main()
