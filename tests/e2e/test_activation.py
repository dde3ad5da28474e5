"""Sockets that were open before: named ones of systemd, by hand and by systemd-socket-activate."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import unittest

from harness import ESCLUSA, Case, Gateway, accepts, certificate, free_port, key, need, until
from peers import Upstream, client_context, connect, echo, server_context
from test_reload import ConfigGateway, service, services

HAND_OVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "hand_over.py")


class HandedOver(Gateway):
    """Started with sockets: a list of (name, socket)."""

    def __init__(self, sockets, *arguments):
        self._sockets = sockets
        super().__init__("tcp://127.0.0.1:1", *arguments, listen="nowhere")

    def _start(self, listeners):
        pairs = ",".join(f"{sock.fileno()}={name}" for name, sock in self._sockets)
        command = self.command[1:]
        for pair in (["--listen", "nowhere"], ["--connect", "tcp://127.0.0.1:1"]):
            at = next(i for i in range(len(command)) if command[i:i + 2] == pair)
            del command[at:at + 2]
        self.command = [sys.executable, "-B", HAND_OVER, pairs, ESCLUSA, *command]
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                pass_fds=[sock.fileno() for _, sock in self._sockets])
        self.pid = self.process.pid
        until(lambda: self.process.poll() is not None or any(
            line["event"] == "listening" for line in self.lines()), what="it to listen")
        return self.process.poll() is None

    @staticmethod
    def _address(text):
        return text


class Activation(Case):
    def setUp(self):
        self.upstream = self.closing(Upstream(echo, server_context()))
        self.options = ["--connect", self.upstream.url(), "--ca", certificate("ca"),
                        "--server-name", "localhost"]

    def listening(self, address=("127.0.0.1", 0)):
        family = socket.AF_UNIX if isinstance(address, str) else (
            socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        made = self.closing(socket.socket(family))
        made.bind(address)
        made.listen(16)
        return made

    def start(self, sockets, *arguments):
        made = HandedOver(sockets, *arguments, *self.options)
        self.addCleanup(made.stop)
        return made

    def refused(self, sockets, *arguments):
        with self.assertRaises(AssertionError) as caught:
            HandedOver(sockets, *arguments, *self.options)
        return str(caught.exception)

    def served(self, sock, context=None):
        address = sock.getsockname()
        address = address.decode("ascii") if isinstance(address, bytes) else address
        consumer = self.closing(connect(address, context))
        consumer.send(b"hello")
        self.assertEqual(consumer.read_exactly(5), b"hello")
        consumer.close()

    def test_by_name(self):
        path = os.path.join(self.scratch(), "in")
        sockets = [("web", self.listening()), ("web", self.listening(("::1", 0))),
                   ("local", self.listening(path)), ("sealed", self.listening())]
        gateway = self.start(sockets, "--listen", "systemd:web", "--listen", "systemd:local",
                             "--listen", "tls+systemd:sealed", "--listen-cert",
                             certificate("server"), "--listen-key", key("server"))
        for name, sock in sockets:
            self.served(sock, client_context() if name == "sealed" else None)
        said = [(line["listen"], line["address"]) for line in gateway.lines()
                if line["event"] == "listening"]
        host, port = sockets[0][1].getsockname()
        self.assertEqual(len(said), 4)
        self.assertIn(("systemd:web", f"{host}:{port}"), said)
        self.assertIn(("systemd:local", f"unix:{path}"), said)
        # Nothing of it reaches what esclusa would start.
        with open(f"/proc/{gateway.pid}/environ", encoding="ascii", errors="replace") as file:
            self.assertIn("LISTEN_FDS", file.read())
        gateway.signal(signal.SIGTERM)
        self.assertEqual(gateway.wait_exit(), 0)
        self.assertTrue(os.path.exists(path), "the path is systemd's")
        self.closing(connect(sockets[0][1].getsockname()))  # and so are the sockets

    def test_unix_consumer_that_hangs_up(self):
        """What it sent is still relayed, as for a listener of our own."""
        path = os.path.join(self.scratch(), "in")
        upstream = self.closing(Upstream(lambda peer: peer.read_all().count, server_context()))
        self.options[1] = upstream.url()
        self.start([("local", self.listening(path))], "--listen", "systemd:local")
        consumer = connect(path)
        consumer.send(b"x" * 1000)
        consumer.close()
        self.assertEqual(upstream.result(), 1000)

    def test_by_address(self):
        path = os.path.join(self.scratch(), "in")
        sockets = [("a", self.listening()), ("b", self.listening(path)),
                   ("c", self.listening("\0esclusa-test-" + os.path.basename(path)
                                        + str(os.getpid())))]
        host, port = sockets[0][1].getsockname()
        name = sockets[2][1].getsockname()[1:].decode("ascii")
        gateway = self.start(sockets, "--listen", f"localhost:{port}", "--listen", f"unix:{path}",
                             "--listen", f"unix:@{name}")
        for _, sock in sockets:
            self.served(sock)
        self.assertFalse([line for line in gateway.lines() if line["event"] == "socket_unused"])

    def test_without_names(self):
        sock = self.listening()
        self.start([("", sock)], "--listen", "systemd:unknown")
        self.served(sock)

    def test_what_is_wrong(self):
        good = self.listening()
        datagrams = self.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        datagrams.bind(("127.0.0.1", 0))
        port = good.getsockname()[1]
        for sockets, arguments, word in (
                ([("web", good)], ["--listen", "systemd:wbe"], "but 'web'"),
                ([("web", datagrams)], ["--listen", "systemd:web"], "no stream socket"),
                ([("web", self.closing(socket.socket()))], ["--listen", "systemd:web"],
                 "does not listen"),
                ([("web", good)], ["--listen", "systemd:web", "--listen", f"127.0.0.1:{port}"],
                 "the same socket as systemd:web")):
            with self.subTest(word=word):
                self.assertIn(word, self.refused(sockets, *arguments))

    def test_variables_of_somebody_else(self):
        environment = dict(os.environ, LISTEN_PID="1", LISTEN_FDS="7", LISTEN_FDNAMES="a")
        done = subprocess.run([ESCLUSA, "--listen", "systemd:a", *self.options], check=False,
                              env=environment, capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, 1)
        self.assertIn("no descriptor of that name was handed over", done.stderr)

    def test_a_count_that_is_not_so(self):
        done = subprocess.run(["sh", "-c", 'LISTEN_PID=$$ LISTEN_FDS=3 exec "$@"', "sh", ESCLUSA,
                               "--version"], check=False, capture_output=True, text=True,
                              timeout=30)
        self.assertEqual(done.returncode, 1)
        self.assertIn("descriptor 3 is not open", done.stderr)

    def test_unused_is_told(self):
        sockets = [("web", self.listening()), ("admn", self.listening())]
        gateway = self.start(sockets, "--listen", "systemd:web")
        line = gateway.wait_log(lambda line: line["event"] == "socket_unused")
        self.assertEqual((line["name"], line["address"]),
                         ("admn", "127.0.0.1:%d" % sockets[1][1].getsockname()[1]))

    def test_reload_leaves_and_comes_back(self):
        sock, port = self.listening(), free_port()
        ca = f'ca = "{certificate("ca")}"; server_name = "localhost";'
        named = service("one", port, self.upstream.url(), ca).replace(f"127.0.0.1:{port}",
                                                                      "systemd:web")
        other = service("two", port, self.upstream.url(), ca)

        class Both(HandedOver):
            _address = staticmethod(lambda text: text)
            write, reload = ConfigGateway.write, ConfigGateway.reload

            def __init__(self, directory, text):
                self.file = os.path.join(directory, "gateway.cfg")
                self.write(text)
                super().__init__([("web", sock)], "--config", self.file)

        gateway = Both(self.scratch(), services(named))
        self.addCleanup(gateway.stop)
        self.served(sock)
        gateway.write(services(other))
        gateway.reload()
        self.closing(connect(("127.0.0.1", port)))
        gateway.write(services(named))
        gateway.reload()
        until(lambda: not accepts(port), what="the other listener to close")
        self.served(sock)

    def test_systemd_socket_activate(self):
        if shutil.which("systemd-socket-activate") is None:
            self.skipTest("systemd-socket-activate is not here: package systemd")
        port = free_port()
        gateway = self.program(need("systemd-socket-activate"), "-l", f"127.0.0.1:{port}",
                               "--fdname=web", ESCLUSA, "--listen", "systemd:web", *self.options)
        gateway.wait_output("Listening on")
        consumer = self.closing(connect(("127.0.0.1", port)))  # it begins with the first consumer
        consumer.send(b"hello")
        self.assertEqual(consumer.read_exactly(5), b"hello")


if __name__ == "__main__":
    unittest.main()
