"""A DNS server that answers what it is told to, over UDP and TCP on one port (RFC 1035, RFC 2782)."""

import socket
import struct
import threading
import time

from harness import free_port

A, AAAA, SRV, CNAME, SOA = 1, 28, 33, 5, 6
TYPES = {A: "A", AAAA: "AAAA", SRV: "SRV"}
NOERROR, SERVFAIL, NXDOMAIN, REFUSED = 0, 2, 3, 5


def encode_name(name):
    wire = b""
    for label in name.rstrip(".").split("."):
        if label:
            wire += bytes([len(label)]) + label.encode()
    return wire + b"\0"


def decode_question(message):
    labels, at = [], 12
    while message[at] != 0:
        size = message[at]
        labels.append(message[at + 1:at + 1 + size].decode())
        at += 1 + size
    kind, _ = struct.unpack("!HH", message[at + 1:at + 5])
    return ".".join(labels).lower(), kind, message[12:at + 5]


def record(name, kind, ttl, data):
    return encode_name(name) + struct.pack("!HHIH", kind, 1, ttl, len(data)) + data


class Answer:
    """What one (name, type) is answered with.

    values: addresses, or (priority, weight, port, target) of SRV. rcode: another than NOERROR.
    delay: seconds before it. silent: no answer at all. truncated: over UDP only that it does not
    fit, the whole over TCP. garbage: not a DNS message behind the id. wrong_id: first an answer with
    another id, and an address nobody has, then the right one. cname: through that name.
    """

    def __init__(self, values=(), ttl=30, rcode=NOERROR, delay=0.0, silent=False, truncated=False,
                 garbage=False, wrong_id=False, cname=None):
        self.values, self.ttl, self.rcode, self.delay = list(values), ttl, rcode, delay
        self.silent, self.truncated, self.garbage = silent, truncated, garbage
        self.wrong_id, self.cname = wrong_id, cname

    def records(self, name, kind):
        wire, count = b"", 0
        if self.cname:
            wire += record(name, CNAME, self.ttl, encode_name(self.cname))
            name, count = self.cname, 1
        for value in self.values:
            if kind == A:
                data = socket.inet_aton(value)
            elif kind == AAAA:
                data = socket.inet_pton(socket.AF_INET6, value)
            else:
                priority, weight, port, target = value
                data = struct.pack("!HHH", priority, weight, port) + encode_name(target)
            wire += record(name, kind, self.ttl, data)
            count += 1
        return wire, count


class DnsServer:
    """answers: {(name, type): Answer}; a name of which no type is known does not exist, and a type
    of a known name is empty. Everything may be changed while it runs."""

    def __init__(self, port=None, host="127.0.0.1"):
        self.host, self.port = host, port or free_port(host)
        self.answers = {}
        self.asked = []  # (time, name, type, "udp" or "tcp")
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._threads, self._sockets = [], []
        self.up = False

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    def a(self, name, *addresses, **more):
        self.set(name, A, Answer(addresses, **more))

    def aaaa(self, name, *addresses, **more):
        self.set(name, AAAA, Answer(addresses, **more))

    def srv(self, name, *records, **more):
        self.set(name, SRV, Answer(records, **more))

    def set(self, name, kind, answer):
        with self._lock:
            self.answers[(name.lower(), kind)] = answer

    def every(self, name, **how):
        """Both types of addresses answered so."""
        self.a(name, **how)
        self.aaaa(name, **how)

    def count(self, name=None, kind=None, transport=None):
        with self._lock:
            return sum(1 for _, n, k, t in self.asked
                       if name in (None, n) and kind in (None, k) and transport in (None, t))

    def forget(self):
        with self._lock:
            self.asked.clear()

    # ---- running ----

    def start(self):
        self._ending.clear()
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        udp.bind((self.host, self.port))
        tcp.bind((self.host, self.port))
        tcp.listen(64)
        for each in (udp, tcp):
            each.settimeout(0.1)
        self._sockets = [udp, tcp]
        self._run(self._serve_udp, udp)
        self._run(self._serve_tcp, tcp)
        self.up = True
        return self

    def stop(self):
        if not self.up:
            return
        self.up = False
        self._ending.set()
        for each in self._sockets:
            each.close()
        for thread in self._threads:
            thread.join(5)
        self._threads = []

    def __enter__(self):
        return self.start()

    def __exit__(self, *unused):
        self.stop()

    def _run(self, what, *arguments):
        thread = threading.Thread(target=what, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve_udp(self, udp):
        while not self._ending.is_set():
            try:
                message, peer = udp.recvfrom(4096)
            except socket.timeout:
                continue
            except OSError:
                return
            self._answer(message, "udp", lambda wire, to=peer: self._send(udp, wire, to))

    def _serve_tcp(self, tcp):
        while not self._ending.is_set():
            try:
                connection, _ = tcp.accept()
            except socket.timeout:
                continue
            except OSError:
                return
            self._run(self._serve_connection, connection)

    def _serve_connection(self, connection):
        with connection:
            connection.settimeout(5)
            try:
                while True:
                    size = connection.recv(2)
                    if len(size) < 2:
                        return
                    message = b""
                    want = struct.unpack("!H", size)[0]
                    while len(message) < want:
                        got = connection.recv(want - len(message))
                        if not got:
                            return
                        message += got
                    self._answer(message, "tcp", lambda wire: connection.sendall(
                        struct.pack("!H", len(wire)) + wire))
            except OSError:
                return

    @staticmethod
    def _send(udp, wire, peer):
        try:
            udp.sendto(wire, peer)
        except OSError:
            pass

    def _answer(self, message, transport, send):
        name, kind, question = decode_question(message)
        with self._lock:
            self.asked.append((time.monotonic(), name, kind, transport))
            answer = self.answers.get((name, kind))
            known = any(n == name for n, _ in self.answers)
        if answer is None:
            answer = Answer() if known else Answer(rcode=NXDOMAIN)
        if answer.silent:
            return
        if answer.delay > 0:
            timer = threading.Timer(answer.delay, self._reply,
                                    (answer, message, transport, send, name, kind, question))
            timer.daemon = True
            timer.start()
        else:
            self._reply(answer, message, transport, send, name, kind, question)

    def _reply(self, answer, message, transport, send, name, kind, question):
        if answer.garbage:
            send(message[:2] + b"\x81\x80\0\1\0\7\0\0\0\0" + question + b"\xc0\xff\xff\xff")
            return
        records, count = answer.records(name, kind)
        flags = 0x8180 | answer.rcode
        if answer.truncated and transport == "udp":
            send(message[:2] + struct.pack("!HHHHH", flags | 0x0200, 1, 0, 0, 0) + question)
            return
        whole = struct.pack("!HHHHH", flags, 1, count, 0, 0) + question + records
        if answer.wrong_id:
            false, false_count = Answer(["192.0.2.66"]).records(name, A)
            send(bytes([message[0] ^ 0xff, message[1]]) +
                 struct.pack("!HHHHH", flags, 1, false_count, 0, 0) + question + false)
        try:
            send(message[:2] + whole)
        except OSError:
            pass
