"""Peers whose every step a test decides: what goes on the wire, in which segment, and how it ends.

TLS runs over ssl.MemoryBIO, so that sealing and sending are two steps. All connections time out.
"""

import errno
import fcntl
import functools
import hashlib
import queue
import random
import socket
import ssl
import struct
import termios
import threading
import time
from typing import NamedTuple

from harness import STEP, certificate, free_port, key, until

IP_BIND_ADDRESS_NO_PORT = 24  # ip(7); Python names it from 3.12 on
PATIENCE = 6 * STEP
TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@functools.lru_cache(maxsize=16)
def blob(size, seed=1):
    """Bytes that look like nothing else: a lost, doubled or moved one changes the digest."""
    return random.Random(seed).randbytes(size)


def digest(data):
    return hashlib.sha256(data).hexdigest()


class Stream(NamedTuple):
    """What was read until the end, and how it ended: "eof" (clean), "truncated" (TLS without
    close_notify), "reset", "alert ...", or "timeout"."""
    count: int
    digest: str
    end: str


def stream_of(data, end="eof"):
    return Stream(len(data), digest(data), end)


class Connection:
    """A plain TCP or unix connection."""

    tls = None

    def __init__(self, sock, name=None):
        self.sock = sock
        self.name = name or sock.getsockname()  # also when the socket is closed
        sock.settimeout(STEP)
        self._reset_seen, self._sending = False, False

    def _sendall(self, data):
        """The kernel tells a reset once, and to a reader that comes second the rest looks like a
        FIN: what a sending thread was told counts for the reading one."""
        self._sending = True
        try:
            self.sock.sendall(data)
        except ConnectionResetError:
            self._reset_seen = True
            raise
        finally:
            self._sending = False

    def _recv(self, size):
        data = self.sock.recv(size)
        if not data and self._sending:
            time.sleep(0.05)  # for what the other thread is being told
        if not data and self._reset_seen:
            raise ConnectionResetError
        return data

    def handshake(self, hold_last=False):
        """Nothing to agree on."""

    def send(self, data):
        self._sendall(data)

    def offer(self, data):
        """Sends to a peer that may have reset the connection already: reading tells."""
        try:
            self.send(data)
        except (ConnectionResetError, BrokenPipeError):
            self._reset_seen = True

    def send_together(self, *pieces):
        """Several writes of the application (TLS: records) in one segment."""
        self._sendall(b"".join(pieces))

    def recv(self, size=1 << 18):
        """b"" is a clean end."""
        return self._recv(size)

    def end(self):
        """Ends our direction cleanly."""
        self.fin()

    def fin(self):
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        """RST, once the kernel at the other end has all that was sent before."""
        until(lambda: not unsent(self.sock), what="the send queue to empty")
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self):
        self.sock.close()

    def read_all(self, pace=0.0, chunk=1 << 18):
        """Reads to the end, sleeping `pace` seconds after each chunk."""
        count, total = 0, hashlib.sha256()
        end = "eof"
        try:
            while data := self.recv(chunk):
                count += len(data)
                total.update(data)
                if pace:
                    time.sleep(pace)
        except (ConnectionResetError, BrokenPipeError):
            end = "reset"
        except socket.timeout:
            end = "timeout"
        except ssl.SSLEOFError:
            end = "truncated"
        except ssl.SSLError as why:
            end = f"alert {why.reason}"
        return Stream(count, total.hexdigest(), end)

    def read_exactly(self, size):
        got = bytearray()
        while len(got) < size:
            data = self.recv()
            if not data:
                raise AssertionError(f"the stream ended after {len(got)} of {size} bytes")
            got += data
        return bytes(got)


class TlsConnection(Connection):
    """TLS by hand. One thread may read while another writes."""

    def __init__(self, sock, context, server_side=False, server_name=None):
        super().__init__(sock)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._state, self._order = threading.Lock(), threading.Lock()
        self.tls = context.wrap_bio(
            self._in, self._out, server_side=server_side, server_hostname=server_name)

    def _flush(self):
        with self._order:
            with self._state:
                sealed = self._out.read()
            if sealed:
                self._sendall(sealed)

    def _feed(self):
        raw = self._recv(1 << 16)
        with self._state:
            if raw:
                self._in.write(raw)
            else:
                self._in.write_eof()

    def handshake(self, hold_last=False):
        """With hold_last our final flight waits, to go out with the first data."""
        while True:
            try:
                with self._state:
                    self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush()
                self._feed()
            except ssl.SSLError:
                self._flush()
                raise
        if not hold_last:
            self._flush()

    def seal(self, data):
        with self._state:
            self.tls.write(data)
            return self._out.read()

    def send(self, data):
        view = memoryview(data)
        for start in range(0, len(view), 1 << 18):
            with self._order:
                self._sendall(self.seal(view[start:start + (1 << 18)]))

    def send_together(self, *pieces):
        with self._order:
            self._sendall(b"".join([self.seal(piece) for piece in pieces]))

    def recv(self, size=1 << 18):
        while True:
            try:
                with self._state:
                    # A whole record at a time: end() relies on none being left half read.
                    return self.tls.read(max(size, 1 << 15))
            except ssl.SSLWantReadError:
                self._feed()
            except ssl.SSLZeroReturnError:
                return b""

    def end(self):
        self.close_notify()

    def close_notify(self):
        """Sends close_notify alone; reading goes on. unwrap() also looks for the peer's and takes
        data for an error, so what has come waits aside meanwhile."""
        with self._order:
            with self._state:
                waiting = self._in.read()
                try:
                    self.tls.unwrap()
                except ssl.SSLWantReadError:
                    pass
                if waiting:
                    self._in.write(waiting)
                sealed = self._out.read()
            self._sendall(sealed)


def unsent(sock):
    """Bytes that the peer's kernel has not acknowledged."""
    return struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0]


def server_context(cert="server", version=None, client_ca=None, required=True, weak=False):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if weak:
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.load_cert_chain(certificate(cert), key(cert))
    if version:
        context.minimum_version = context.maximum_version = version
    if client_ca:
        context.load_verify_locations(certificate(client_ca))
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    return context


def client_context(version=None, cert=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificate("ca"))
    if version:
        context.minimum_version = context.maximum_version = version
    if cert:
        context.load_cert_chain(certificate(cert), key(cert))
    return context


class AlreadyReset(Connection):
    """A gateway that refuses at once may reset the connection before connect(2) has returned,
    which then says so itself. To the tests it is one more reset."""

    def send(self, data):
        """As to a connection whose reset has not been noticed yet."""

    def recv(self, size=1 << 18):
        """What came before the reset can still be read. connect(2) has taken the error, so behind
        it there is an end of stream."""
        try:
            got = self.sock.recv(size)
        except OSError:
            got = b""
        if not got:
            raise ConnectionResetError
        return got


def bind_anywhere(sock, host):
    """Where many connections have just ended, every port may be in TIME_WAIT (socket(7)): then the
    port is found when it connects, as one may be used again towards another place (ip(7))."""
    try:
        sock.bind((host, 0))
    except OSError as why:
        if why.errno != errno.EADDRINUSE:
            raise
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((host, 0))


def connect(address, context=None, rcvbuf=None, handshake=True, source=None):
    """A consumer: plain, or TLS with a context. source: its address, where that is not the other's."""
    family = socket.AF_UNIX if isinstance(address, str) else (
        socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
    sock = socket.socket(family)
    try:
        sock.settimeout(STEP)
        if rcvbuf:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        if family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            bind_anywhere(sock, source or address[0])  # the name is needed even if connect(2) fails
        name = sock.getsockname()
        try:
            sock.connect(address)
        except ConnectionResetError:
            return AlreadyReset(sock, name)
        if not context:
            return Connection(sock)
        connection = TlsConnection(sock, context, server_name="localhost")
        if handshake:
            connection.handshake()
        return connection
    except Exception:
        sock.close()
        raise


def name_of(connection):
    """How the gateway's log calls this consumer."""
    name = connection.name
    if isinstance(name, (str, bytes)):
        return "unix:"
    return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"


class Upstream:
    """Listens on loopback and runs script(connection) for each connection, in a thread of its own.
    What the script returns, or the exception it ends with, is a result for the test to take."""

    def __init__(self, script, context=None, address=("127.0.0.1", 0), handshake=True, backlog=512):
        self.script, self.context, self.handshakes = script, context, handshake
        self.results = queue.Queue()
        self.accepted = 0
        self.server_names = []  # SNI of each handshake; None where there was none
        if context:
            context.sni_callback = lambda _tls, name, _context: self.server_names.append(name)
        family = socket.AF_UNIX if isinstance(address, str) else (
            socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        self.listener = socket.socket(family)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self.listener.bind(address)
        except OSError as why:
            if why.errno != errno.EADDRINUSE or isinstance(address, str) or address[1] != 0:
                raise
            self.listener.bind((address[0], free_port(address[0])))  # see bind_anywhere()
        self.listener.listen(backlog)
        self.port = self.listener.getsockname()[1] if family != socket.AF_UNIX else None
        self._over = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, host="127.0.0.1"):
        return f"{'tls' if self.context else 'tcp'}://{host}:{self.port}"

    def _accept(self):
        while not self._over.is_set():
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        try:
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = (TlsConnection(sock, self.context, server_side=True) if self.context
                          else Connection(sock))
            # Longer than any step: it is the test that gives up, not a peer that it holds.
            sock.settimeout(PATIENCE)
            if self.handshakes:
                connection.handshake()
            self.results.put(self.script(connection))
        except Exception as why:  # pylint: disable=broad-except
            self.results.put(why)
        finally:
            sock.close()

    def result(self, timeout=STEP):
        """Of the script that ended next."""
        got = self.outcome(timeout)
        if isinstance(got, Exception):
            raise AssertionError(f"the upstream's script failed: {got!r}") from got
        return got

    def outcome(self, timeout=STEP):
        """The same, but an exception may be what the test looks for."""
        try:
            return self.results.get(timeout=timeout)
        except queue.Empty:
            raise AssertionError(f"the upstream's script did not end in {timeout:g} s") from None

    def close(self):
        self._over.set()
        # close() alone would not wake the accepting thread.
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()


def echo(connection):
    """A script: gives everything back, then ends."""
    count = 0
    while data := connection.recv():
        connection.send(data)
        count += len(data)
    connection.end()
    return count


def swallow(connection):
    """A script: reads to the end, ends its own side, and says what it read."""
    got = connection.read_all()
    if got.end == "eof":
        connection.end()
    return got


class Background:
    """Runs a function in a thread; result() gives what it returned or raises what it raised."""

    def __init__(self, function, *arguments):
        self._result, self._error = None, None

        def run():
            try:
                self._result = function(*arguments)
            except Exception as why:  # pylint: disable=broad-except
                self._error = why

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    def result(self, timeout=STEP):
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise AssertionError(f"a background step did not end in {timeout:g} s")
        if self._error:
            raise self._error
        return self._result
