"""Forward proxies by hand: HTTP CONNECT and SOCKS5, for the tests alone."""

import base64
import socket
import threading

from peers import Upstream


def splice(near, far):
    """near: a Connection; far: a socket. Both ways, to both ends."""
    def back():
        try:
            while data := far.recv(1 << 16):
                near.send(data)
            near.end()
        except OSError:
            pass

    thread = threading.Thread(target=back, daemon=True)
    thread.start()
    try:
        while data := near.recv():
            far.sendall(data)
        far.shutdown(socket.SHUT_WR)
    except OSError:
        pass
    thread.join()
    far.close()


class HttpProxy(Upstream):
    """hosts: where a name is, by "name:port". answer: instead of connecting. extra: bytes that come with
    the answer, before anything of the tunnel."""

    def __init__(self, hosts, user=None, answer=None, head=b"HTTP/1.1 200 OK\r\n\r\n", context=None,
                 **settings):
        self.hosts, self.user, self.answer, self.head = hosts, user, answer, head
        self.asked, self.requests = [], []
        super().__init__(self._converse, context, **settings)

    def _converse(self, connection):
        request = b""
        while b"\r\n\r\n" not in request:
            data = connection.recv()
            if not data:
                return
            request += data
        self.requests.append(request)
        head, rest = request.split(b"\r\n\r\n", 1)
        lines = head.decode("ascii").split("\r\n")
        method, target, version = lines[0].split(" ")
        fields = {name.lower(): value.strip() for name, _, value in
                  (line.partition(":") for line in lines[1:])}
        assert (method, version, rest) == ("CONNECT", "HTTP/1.1", b""), request
        assert fields["host"] == target, request
        self.asked.append(target)
        if self.answer is not None:
            connection.send(self.answer)
            connection.recv()
            return
        if self.user is not None:
            wanted = "Basic " + base64.b64encode(self.user.encode()).decode()
            if fields.get("proxy-authorization") != wanted:
                connection.send(b"HTTP/1.1 407 Proxy Authentication Required\r\n"
                                b"Proxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n")
                connection.recv()
                return
        if target not in self.hosts:
            connection.send(b"HTTP/1.1 502 No such host\r\n\r\n")
            connection.recv()
            return
        far = socket.create_connection(self.hosts[target])
        connection.send(self.head)
        splice(connection, far)


class SocksProxy(Upstream):
    def __init__(self, hosts, user=None, refuse=None, **settings):
        self.hosts, self.user, self.refuse = hosts, user, refuse
        self.asked = []
        super().__init__(self._converse, **settings)

    def _take(self, connection, size):
        while len(self._local.got) < size:
            data = connection.recv()
            if not data:
                raise AssertionError("the gateway left")
            self._local.got += data
        taken, self._local.got = self._local.got[:size], self._local.got[size:]
        return taken

    _local = threading.local()

    def _log_in(self, connection):
        version, count = self._take(connection, 2)
        methods = self._take(connection, count)
        assert version == 5
        if self.user is None:
            connection.send(b"\5\0" if 0 in methods else b"\5\xff")
            return 0 in methods
        if 2 not in methods:
            connection.send(b"\5\xff")
            return False
        connection.send(b"\5\2")
        _, length = self._take(connection, 2)
        user = self._take(connection, length)
        password = self._take(connection, self._take(connection, 1)[0])
        good = (user + b":" + password).decode() == self.user
        connection.send(b"\1\0" if good else b"\1\1")
        return good

    def _converse(self, connection):
        self._local.got = b""
        if not self._log_in(connection):
            connection.recv()
            return
        version, command, _, kind = self._take(connection, 4)
        assert (version, command) == (5, 1)
        if kind == 3:
            host = self._take(connection, self._take(connection, 1)[0]).decode()
        elif kind == 1:
            host = socket.inet_ntoa(self._take(connection, 4))
        else:
            host = "[" + socket.inet_ntop(socket.AF_INET6, self._take(connection, 16)) + "]"
        target = f"{host}:{int.from_bytes(self._take(connection, 2), 'big')}"
        self.asked.append(target)
        code = self.refuse or (0 if target in self.hosts else 4)
        if code:
            connection.send(bytes([5, code, 0, 1]) + bytes(6))
            connection.recv()
            return
        far = socket.create_connection(self.hosts[target])
        connection.send(b"\5\0\0\3\3abc\0\1")
        splice(connection, far)
