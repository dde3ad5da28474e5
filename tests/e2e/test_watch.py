"""Reload by itself: what the configuration was made from changes, and is in service soon after."""

import os
import shutil
import signal
import socket
import ssl
import threading
import time
import unittest

from harness import CERTS, STEP, Case, Gateway, certificate, free_port, until
from peers import Background, Upstream, connect, echo, server_context
from pki import Authority
from test_reload import ConfigGateway, ask, service, services

# What the issue promises, and what a busy machine is given besides.
PICKED_UP, LATE = 10.0, 20.0


class Secret:
    """A directory as kubelet mounts a secret: ..data leads to a directory with a time stamp, the
    files are links through it, and a rotation replaces ..data with one rename(2)."""

    def __init__(self, directory, authority):
        self.directory, self.authority, self.number = directory, authority, 0
        os.makedirs(directory)
        self.leaves = {}

    def path(self, name):
        return os.path.join(self.directory, name)

    def leaf(self, name):
        """A certificate for localhost, made once."""
        if name not in self.leaves:
            self.leaves[name] = self.authority.issue(name, cn=name)
        return self.leaves[name]

    def rotate(self, certificate_of, key_of=None, cut=None):
        """Puts in these; cut: that many bytes of the certificate only."""
        with open(self.leaf(certificate_of).certificate, "rb") as file:
            text = file.read()[:cut]
        self.number += 1
        stamp = f"..2026_11_23_{self.number:09d}"
        os.makedirs(self.path(stamp))
        with open(self.path(f"{stamp}/tls.crt"), "wb") as file:
            file.write(text)
        shutil.copy(self.leaf(key_of or certificate_of).key, self.path(f"{stamp}/tls.key"))
        shutil.copy(self.authority.certificate, self.path(f"{stamp}/ca.crt"))
        old = os.readlink(self.path("..data")) if self.number > 1 else None
        os.symlink(stamp, self.path("..data_tmp"))
        os.rename(self.path("..data_tmp"), self.path("..data"))
        if old is None:
            for name in ("tls.crt", "tls.key", "ca.crt"):
                os.symlink(f"..data/{name}", self.path(name))
        else:
            shutil.rmtree(self.path(old))


class Watching(Case):
    def events(self, gateway, event):
        return [line for line in gateway.lines() if line["event"] == event]

    def wait_event(self, gateway, event, count, timeout=LATE):
        until(lambda: len(self.events(gateway, event)) >= count, timeout,
              f"{event} number {count}; the log: {gateway.log_text()[-3000:]}")
        return self.events(gateway, event)[-1]

    def config_gateway(self, directory, text):
        gateway = ConfigGateway(directory, text)
        self.addCleanup(gateway.stop)
        return gateway

    def copy(self, name, path):
        """As careful programs replace a file."""
        shutil.copy(name, path + ".new")
        os.rename(path + ".new", path)


class Rotation(Watching):
    """The listener's certificate out of a mounted secret."""

    def setUp(self):
        self.authority = Authority(self.scratch(), "Watch CA")
        self.secret = Secret(os.path.join(self.scratch(), "secret"), self.authority)
        self.upstream = self.closing(Upstream(echo, server_context()))
        self.context = ssl.create_default_context(cafile=self.authority.certificate)
        self.secret.rotate("one")

    def start(self, *options):
        return self.gateway(
            self.upstream.url(), "--ca", certificate("ca"), "--server-name", "localhost",
            "--listen-cert", self.secret.path("tls.crt"),
            "--listen-key", self.secret.path("tls.key"), *options, scheme="tls")

    def served(self, gateway):
        """Common name of the certificate that a verified handshake shows."""
        with socket.create_connection(gateway.address, STEP) as plain:
            with self.context.wrap_socket(plain, server_hostname="localhost") as consumer:
                consumer.sendall(b"x")
                assert consumer.recv(1) == b"x"
                return dict(pair for (pair,) in consumer.getpeercert()["subject"])["commonName"]

    def test_three_in_a_row_under_load(self):
        gateway = self.start()
        for name in ("two", "three", "four"):
            self.secret.leaf(name)
        halt, wrong, shown = threading.Event(), [], [0]

        def load():
            while not halt.is_set():
                try:
                    self.served(gateway)
                    shown[0] += 1
                except (OSError, AssertionError) as why:
                    wrong.append(repr(why))
                halt.wait(0.01)

        loads = [Background(load) for _ in range(3)]
        self.addCleanup(halt.set)
        took = []
        for number, name in enumerate(("two", "three", "four")):
            began = time.monotonic()
            self.secret.rotate(name)
            until(lambda: self.served(gateway) == name, LATE,  # pylint: disable=cell-var-from-loop
                  f"{name}; the log: {gateway.log_text()[-3000:]}")
            took.append(time.monotonic() - began)
            line = self.wait_event(gateway, "reloaded", number + 1)
            self.assertIn("files changed: " + self.secret.directory, line["why"])
        halt.set()
        for thread in loads:
            thread.result()
        self.assertEqual(wrong, [])
        self.assertGreater(shown[0], 10)
        self.assertLess(max(took), PICKED_UP, took)
        self.assertEqual(self.events(gateway, "reload_failed"), [])
        changes = [line["change"] for line in self.events(gateway, "changed")]
        self.assertEqual(len(changes), 3, changes)
        for old, new, change in zip(("one", "two", "three"), ("two", "three", "four"), changes):
            self.assertRegex(change, f"^certificate: CN={old} serial [0-9a-f]+ until .* UTC -> "
                                     f"CN={new} serial [0-9a-f]+ until .* UTC$")

    def test_fifo(self):
        """Refused, not waited for: sessions go on, and so do reloads."""
        gateway = self.start("--watch-interval", "200ms")
        self.secret.rotate("two")
        self.wait_event(gateway, "reloaded", 1)
        path = self.secret.path("tls.key")
        os.unlink(path)
        os.mkfifo(path)
        line = self.wait_event(gateway, "reload_failed", 1)
        self.assertIn("this is a FIFO, a regular file is needed", str(line))
        self.assertEqual(self.served(gateway), "two")
        os.unlink(path)
        shutil.copy(self.secret.leaf("three").key, path)
        shutil.copy(self.secret.leaf("three").certificate, self.secret.path("tls.crt.new"))
        os.rename(self.secret.path("tls.crt.new"), self.secret.path("tls.crt"))
        until(lambda: self.served(gateway) == "three", LATE, "the third certificate")

    def test_pairs_that_do_not_fit(self):
        """A new certificate with the old key, half a certificate, then what was meant."""
        gateway = self.start("--watch-interval", "200ms")
        for number, words in enumerate((("two", "one"), ("two", "two", 300)), 1):
            with self.subTest(words=words):
                self.secret.rotate(*words)
                line = self.wait_event(gateway, "reload_failed", number)
                self.assertEqual(line["level"], "error")
                self.assertIn(self.secret.path("tls."), line["error"])
                self.assertIn("files changed: ", line["why"])
                self.assertIn("stays in service", line["remedy"])
                self.assertEqual(self.served(gateway), "one")
        time.sleep(1.5)  # one line each, not one a look
        self.assertEqual(len(self.events(gateway, "reload_failed")), 2)
        self.assertEqual(self.events(gateway, "reloaded"), [])
        self.secret.rotate("two")
        self.wait_event(gateway, "reloaded", 1)
        self.assertEqual(self.served(gateway), "two")

    def test_a_file_that_goes_and_comes_again(self):
        gateway = self.start("--watch-interval", "200ms")
        os.rename(self.secret.path("tls.key"), self.secret.path("hidden"))
        line = self.wait_event(gateway, "reload_failed", 1)
        self.assertIn("tls.key", line["why"])
        self.assertEqual(self.served(gateway), "one")
        os.rename(self.secret.path("hidden"), self.secret.path("tls.key"))
        self.wait_event(gateway, "reloaded", 1)
        self.assertEqual(self.served(gateway), "one")

    def test_off(self):
        gateway = self.start("--watch", "false")
        self.secret.rotate("two")
        time.sleep(7)  # three looks, were it on
        self.assertEqual(self.served(gateway), "one")
        self.assertEqual(self.events(gateway, "reloaded"), [])
        gateway.signal(signal.SIGHUP)
        self.assertEqual(self.wait_event(gateway, "reloaded", 1)["why"], "SIGHUP")
        self.assertEqual(self.served(gateway), "two")

    def test_sighup_takes_note_of_what_it_read(self):
        """The watch does not reload once more for what a SIGHUP has picked up."""
        gateway = self.start("--watch-interval", "500ms")
        self.secret.rotate("two")
        gateway.signal(signal.SIGHUP)
        self.wait_event(gateway, "reloaded", 1)
        time.sleep(2.5)
        self.assertEqual(len(self.events(gateway, "reloaded")), 1)

    def test_not_while_draining(self):
        gateway = self.gateway(
            self.upstream.url(), "--ca", certificate("ca"), "--server-name", "localhost",
            "--listen-cert", self.secret.path("tls.crt"),
            "--listen-key", self.secret.path("tls.key"), "--watch-interval", "100ms",
            scheme="tls", drain="20s")
        held = self.closing(connect(gateway.address, self.context))
        held.send(b"x")
        self.assertEqual(held.read_exactly(1), b"x")
        gateway.signal(signal.SIGTERM)
        gateway.wait_log(lambda line: line["event"] == "draining")
        self.secret.rotate("two")
        time.sleep(1)
        self.assertFalse([line for line in gateway.lines()
                          if line["event"] in ("reload", "reloaded", "reload_failed")])
        held.send(b"y")
        self.assertEqual(held.read_exactly(1), b"y")


class Files(Watching):
    def setUp(self):
        self.upstream = self.closing(Upstream(echo, server_context()))
        self.port, self.directory = free_port(), self.scratch()
        self.ca = os.path.join(self.directory, "ca.pem")
        self.watch = 'watch_interval = "200ms";\n'

    def one(self, *lines):
        return service("one", self.port, self.upstream.url(),
                       f'ca = "{self.ca}"; server_name = "localhost";', *lines)

    def refused(self):
        consumer = self.closing(connect(("127.0.0.1", self.port)))
        return consumer.read_all().end == "reset"

    def test_trust_anchor_of_the_upstream(self):
        shutil.copy(certificate("ca"), self.ca)
        gateway = self.config_gateway(self.directory, self.watch + services(self.one()))
        self.assertEqual(ask(self.port), b"hello")
        self.copy(certificate("other-ca"), self.ca)
        line = self.wait_event(gateway, "reloaded", 1)
        self.assertEqual(line["why"], f"files changed: {self.ca}")
        self.assertTrue(self.refused())
        self.copy(certificate("ca"), self.ca)
        self.wait_event(gateway, "reloaded", 2)
        self.assertEqual(ask(self.port), b"hello")

    def test_directory_of_trust_anchors(self):
        anchors = os.path.join(self.directory, "anchors")
        os.makedirs(anchors)
        shutil.copy(certificate("other-ca"), anchors)
        gateway = self.gateway(self.upstream.url(), "--ca-dir", anchors, "--server-name",
                               "localhost", "--watch-interval", "200ms",
                               listen=f"127.0.0.1:{self.port}")
        self.assertTrue(self.refused())
        self.copy(certificate("ca"), os.path.join(anchors, "second.pem"))
        self.wait_event(gateway, "reloaded", 1)
        self.assertEqual(ask(self.port), b"hello")

    def test_revocation_list(self):
        """One that has expired refuses; a fresh one that is put in its place is found."""
        authority = Authority(self.scratch(), "Listed CA")
        leaf = authority.issue("listed")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(leaf.certificate, leaf.key)
        upstream = self.closing(Upstream(echo, context))
        crl = authority.crl(begin=-10, days=-1)
        gateway = self.gateway(upstream.url(), "--ca", authority.certificate, "--crl", crl,
                               "--server-name", "localhost", "--watch-interval", "200ms",
                               listen=f"127.0.0.1:{self.port}")
        self.assertTrue(self.refused())
        self.assertEqual(until(gateway.sessions, what="its line")[0]["reason"], "upstream_revoked")
        authority.crl()
        self.wait_event(gateway, "reloaded", 1)
        self.assertEqual(ask(self.port), b"hello")
        authority.revoke(leaf)
        authority.crl()
        self.wait_event(gateway, "reloaded", 2)
        self.assertTrue(self.refused())

    def test_the_file_itself_and_what_it_includes(self):
        shutil.copy(certificate("ca"), self.ca)
        part = os.path.join(self.directory, "part.cfg")
        other = free_port()
        with open(part, "w", encoding="ascii") as out:
            out.write(services(self.one()))
        gateway = self.config_gateway(self.directory, f'{self.watch}@include "{part}"\n')
        with open(part, "w", encoding="ascii") as out:
            out.write(services(self.one(), service(
                "two", other, self.upstream.url(),
                f'ca = "{self.ca}"; server_name = "localhost";')))
        self.assertIn(part, self.wait_event(gateway, "reloaded", 1)["why"])
        self.assertEqual(ask(other), b"hello")
        self.assertIn(("two", "added"), gateway.changes())
        gateway.write(self.watch + services(self.one('idle_timeout = "2h";')))
        self.assertIn(gateway.file, self.wait_event(gateway, "reloaded", 2)["why"])
        self.assertIn(("one", "idle_timeout: 1h -> 2h"), gateway.changes())
        # What is not named any more is not watched.
        os.remove(part)
        time.sleep(1.5)
        self.assertEqual(self.events(gateway, "reload_failed"), [])
        self.assertEqual(len(self.events(gateway, "reloaded")), 2)
        gateway.write("services = (")
        self.assertIn(":1", self.wait_event(gateway, "reload_failed", 1)["error"])
        self.assertEqual(ask(self.port), b"hello")
        gateway.write(self.watch + services(self.one()))
        self.wait_event(gateway, "reloaded", 3)

    def test_a_file_that_is_named_before_it_is_there(self):
        shutil.copy(certificate("ca"), self.ca)
        gateway = self.config_gateway(self.directory, self.watch + services(self.one()))
        late = os.path.join(self.directory, "late.pem")
        gateway.write(self.watch + services(self.one().replace(self.ca, late)))
        self.assertIn(late, self.wait_event(gateway, "reload_failed", 1)["error"])
        time.sleep(1)
        self.assertEqual(len(self.events(gateway, "reload_failed")), 1)
        self.copy(certificate("ca"), late)
        self.assertIn(late, self.wait_event(gateway, "reloaded", 1)["why"])
        self.assertEqual(ask(self.port), b"hello")

    def test_turned_off_and_on_by_a_reload(self):
        shutil.copy(certificate("ca"), self.ca)
        gateway = self.config_gateway(self.directory, self.watch + services(self.one()))
        gateway.write("watch = false;\n" + services(self.one()))
        self.wait_event(gateway, "reloaded", 1)
        self.copy(certificate("other-ca"), self.ca)
        gateway.write(self.watch + services(self.one()))
        time.sleep(1.5)
        self.assertEqual(ask(self.port), b"hello")
        self.assertEqual(len(self.events(gateway, "reloaded")), 1)
        gateway.signal(signal.SIGHUP)
        self.wait_event(gateway, "reloaded", 2)
        self.assertTrue(self.refused())
        self.copy(certificate("ca"), self.ca)
        self.wait_event(gateway, "reloaded", 3)
        self.assertEqual(ask(self.port), b"hello")


if __name__ == "__main__":
    unittest.main()
