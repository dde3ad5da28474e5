"""SIGHUP: another configuration without a dropped connection, or none at all."""

import os
import shutil
import signal
import socket
import ssl
import threading
import time
import unittest

import pki
from harness import (CERTS, ESCLUSA, OBSERVED, SANITIZED, SCALE, STEP, Case, Gateway, accepts,
                     certificate, free_port, key, until)
from peers import (PATIENCE, TLS12, Background, Upstream, blob, client_context, connect, digest, echo,
                   server_context)

MIB = 1 << 20


class ConfigGateway(Gateway):
    """A gateway that runs from a file, which the test writes anew."""

    def __init__(self, directory, text, *options, prefix=()):
        self.directory = directory
        self.file = os.path.join(directory, "gateway.cfg")
        self.log_path = os.path.join(directory, "log")
        self._parsed, self._offset, self.stray, self._claimed = [], 0, [], set()
        self.write(text)
        self.command = [*prefix, ESCLUSA, "--config", self.file, "--log-format", "json",
                        "--log-rate", "0", *OBSERVED, *options]
        if not self._start(1):
            raise AssertionError(self.log_text())

    def write(self, text):
        with open(self.file, "w", encoding="ascii") as out:
            out.write(text)

    def reload(self, event="reloaded"):
        """SIGHUP, and the line that answers it."""
        before = sum(line["event"] == event for line in self.lines())
        self.signal(signal.SIGHUP)
        until(lambda: sum(line["event"] == event for line in self.lines()) > before, what=event)
        return [line for line in self.lines() if line["event"] == event][-1]

    def changes(self):
        return [(line.get("service"), line["change"]) for line in self.lines()
                if line["event"] == "changed"]


def service(name, port, upstream, *lines):
    return (f'{{ name = "{name}"; listen = "127.0.0.1:{port}"; connect = "{upstream}"; '
            + " ".join(lines) + " }")


def services(*texts):
    return "services = ( " + ",\n  ".join(texts) + " );\n"


def ask(port, text=b"hello"):
    with socket.create_connection(("127.0.0.1", port), STEP) as consumer:
        consumer.settimeout(STEP)
        consumer.sendall(text)
        return consumer.recv(len(text))


class Reload(Case):
    def setUp(self):
        self.ca = f'ca = "{CERTS}/ca.pem"; server_name = "localhost";'
        self.upstream = self.closing(Upstream(echo, server_context()))
        self.port = free_port()

    def start(self, text, *options):
        gateway = ConfigGateway(self.scratch(), text, *options)
        self.addCleanup(gateway.stop)
        return gateway

    def test_text_of_a_key(self):
        """In the place of its file's name: neither the error nor a later reload repeats it."""
        with open(key("client"), encoding="ascii") as file:
            text = file.read()
        secret = text.splitlines()[1]
        good = service("one", self.port, self.upstream.url(), self.ca,
                       f'cert = "{certificate("client")}"; key = "{key("client")}";')
        gateway = self.start(services(good))
        for pasted in (text.replace("\n", "\\n"), secret):
            gateway.write(services(good.replace(key("client"), pasted)))
            line = gateway.reload("reload_failed")
            self.assertIn("gateway.cfg:1: key '...': this is not a path", line["error"])
        gateway.write(services(good))
        gateway.reload()
        self.assertEqual(gateway.changes(), [])
        self.assertNotIn(secret[:16], gateway.log_text())

    def test_services_come_change_and_go(self):
        other = free_port()
        one = service("one", self.port, self.upstream.url(), self.ca)
        gateway = self.start(services(one))
        held = self.closing(connect(("127.0.0.1", self.port)))
        held.send(b"x")
        self.assertEqual(held.read_exactly(1), b"x")

        gateway.write(services(service("one", self.port, self.upstream.url(), self.ca,
                                       'idle_timeout = "2h";'),
                               service("two", other, self.upstream.url(), self.ca)))
        gateway.reload()
        self.assertEqual(ask(other), b"hello")
        self.assertEqual(ask(self.port), b"hello")
        self.assertCountEqual(gateway.changes(), [("one", "idle_timeout: 1h -> 2h"),
                                                  ("two", "added")])

        gateway.write(services(service("two", other, self.upstream.url(), self.ca)))
        gateway.reload()
        until(lambda: not accepts(self.port), what="the removed listener to close")
        self.assertIn(("one", "removed"), gateway.changes())
        self.assertEqual(ask(other), b"hello")
        held.send(b"still here")  # a live session lives on, whatever became of its service
        self.assertEqual(held.read_exactly(10), b"still here")

    def test_what_is_wrong_changes_nothing(self):
        taken = self.closing(socket.create_server(("127.0.0.1", 0)))
        good = service("one", self.port, self.upstream.url(), self.ca)
        gateway = self.start(services(good))
        descriptors = gateway.descriptors()
        for text, word in (
                ("services = ( {", ":1"),
                (services(service("one", self.port, "x.example:1", 'ca = "/none";')), "/none"),
                (services(good, service("two", taken.getsockname()[1], "x.example:1")),
                 "listens there"),
                (services(service("one", self.port, "x.example:1", "idle_timeot = 1;")),
                 "idle_timeout")):
            with self.subTest(word=word):
                gateway.write(text)
                line = gateway.reload("reload_failed")
                self.assertEqual(line["level"], "error")
                self.assertIn(word, line["error"])
                self.assertEqual(ask(self.port), b"hello")
                self.assertEqual(gateway.changes(), [])
        until(lambda: gateway.descriptors() == descriptors, what="descriptors as before")
        gateway.write(services(good))
        gateway.reload()  # the next good one works

    def certificates(self, directory, name):
        for suffix in (".pem", ".key"):
            shutil.copy(os.path.join(CERTS, name + suffix), os.path.join(directory, "own" + suffix))

    def served(self):
        """The certificate that the TLS listener shows, DER."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", self.port), STEP) as plain:
            with context.wrap_socket(plain) as consumer:
                return consumer.getpeercert(True)

    def test_new_certificate_of_a_listener(self):
        directory = self.scratch()
        self.certificates(directory, "server")
        text = services(f'{{ name = "t"; listen = "tls://127.0.0.1:{self.port}"; '
                        f'connect = "{self.upstream.url()}"; {self.ca} '
                        f'listen_cert = "{directory}/own.pem"; listen_key = "{directory}/own.key"; }}')
        gateway = self.start(text)
        first = self.served()
        # A pair that does not match leaves the old one in service.
        shutil.copy(certificate("wildcard"), f"{directory}/own.pem")
        gateway.reload("reload_failed")
        self.assertEqual(self.served(), first)
        self.certificates(directory, "wildcard")
        gateway.reload()
        self.assertNotEqual(self.served(), first)
        (name, change), = gateway.changes()
        self.assertEqual(name, "t")
        self.assertRegex(change, r"^certificate: .*serial [0-9a-f]+ until .* -> .*serial")

    def tls_listener(self, *lines):
        return services(f'{{ name = "t"; listen = "tls://127.0.0.1:{self.port}"; '
                        f'connect = "{self.upstream.url()}"; {self.ca} '
                        f'listen_cert = "{CERTS}/server.pem"; listen_key = "{CERTS}/server.key"; '
                        + " ".join(lines) + " }")

    def weaker(self, gateway):
        return [(line["level"], line["service"], line["change"]) for line in gateway.lines()
                if line["event"] == "weaker"]

    def test_weaker_is_refused(self):
        strong = self.tls_listener('tls_min = "1.3";', 'pins = [ "sha256//' + "A" * 43 + '=" ];',
                                   'pins_policy = "report";')
        weak = self.tls_listener()
        gateway = self.start(strong)
        gateway.write(weak)
        line = gateway.reload("reload_failed")
        self.assertEqual(line["level"], "error")
        self.assertIn("allow_weaker", line["remedy"])
        told = self.weaker(gateway)
        self.assertEqual({(level, name) for level, name, _ in told}, {("error", "t")})
        self.assertTrue(any("tls_min" in change for _, _, change in told), told)
        self.assertTrue(any("pins" in change for _, _, change in told), told)
        self.assertEqual(gateway.changes(), [])
        with self.assertRaises(ssl.SSLError):
            self.closing(connect(("127.0.0.1", self.port), client_context(TLS12)))

        gateway.write("allow_weaker = true;\n" + weak)
        gateway.reload()
        allowed = self.weaker(gateway)[len(told):]
        self.assertEqual(allowed, [("warn", *rest) for _, *rest in told])
        self.closing(connect(("127.0.0.1", self.port), client_context(TLS12)))
        # What is no weaker needs no leave.
        gateway.write(weak)
        gateway.reload()
        gateway.write(strong)
        gateway.reload()
        self.assertEqual(len(self.weaker(gateway)), 2 * len(told))

    def test_not_verified_is_said_at_every_start_and_reload(self):
        other = service("plain", free_port(), "tcp://127.0.0.1:1")
        careless = f'listen = "127.0.0.1:{self.port}"; connect = "{self.upstream.url()}";'
        text = services(f'{{ name = "glass"; {careless} insecure_skip_verify = true; }}', other)
        gateway = self.start(text, "--sandbox-read", CERTS) # a later reload names a CA there
        self.assertEqual(ask(self.port), b"hello")

        def said():
            return [line for line in gateway.lines() if line["event"] == "not_verified"]

        until(lambda: len(said()) == 1, what="the warning")
        self.assertEqual((said()[0]["level"], said()[0]["service"], said()[0]["upstream"]),
                         ("warn", "glass", self.upstream.url()))
        self.assertIn("insecure_skip_verify", said()[0]["remedy"])
        gateway.reload()
        until(lambda: len(said()) == 2, what="the warning again")
        gateway.write(services(f'{{ name = "glass"; {careless} {self.ca} }}', other))
        gateway.reload()
        # To turn it on again is to weaken.
        gateway.write(text)
        self.assertIn("allow_weaker", gateway.reload("reload_failed")["remedy"])
        self.assertEqual(len(said()), 2)

    def test_what_enforcement_would_have_refused(self):
        """Under a policy of "report": in the session's line, and counted at a reload and the end."""
        pin = "sha256//" + "A" * 43 + "="
        text = services(service("one", self.port, self.upstream.url(), self.ca,
                                f'pins = [ "{pin}" ]; pins_policy = "report"; '
                                'x509_strict = "off";'))
        gateway = self.start(text)
        for _ in range(3):
            self.assertEqual(ask(self.port), b"hello")
        until(lambda: len(gateway.sessions()) == 3, what="three sessions")
        for line in gateway.sessions():
            self.assertIn("pins", line["would_refuse"])

        def reported():
            return [(line["service"], line["side"], line["pins"]) for line in gateway.lines()
                    if line["event"] == "reported"]

        gateway.reload()
        until(reported, what="the count")
        self.assertEqual(reported(), [("one", "upstream", 3)])
        self.assertEqual(ask(self.port), b"hello")
        gateway.signal(signal.SIGTERM)
        self.assertEqual(gateway.wait_exit(), 0)
        self.assertEqual(reported()[1:], [("one", "upstream", 1)])

    def test_new_trust_anchor(self):
        directory = self.scratch()
        shutil.copy(f"{CERTS}/ca.pem", f"{directory}/ca.pem")
        gateway = self.start(services(service(
            "one", self.port, self.upstream.url(),
            f'ca = "{directory}/ca.pem"; server_name = "localhost";')))
        self.assertEqual(ask(self.port), b"hello")
        shutil.copy(f"{CERTS}/other-ca.pem", f"{directory}/ca.pem")
        gateway.reload()
        said = " ".join(change for _, change in gateway.changes())
        self.assertIn("trust anchor removed: ", said)
        self.assertIn("trust anchor added: ", said)
        consumer = self.closing(connect(("127.0.0.1", self.port)))
        self.assertEqual(consumer.read_all().end, "reset")
        until(lambda: any(line["reason"] == "upstream_verify_failed"
                          for line in gateway.sessions()), what="the refusal")

    def test_new_revocation_list(self):
        root = pki.Authority(self.scratch(), "Root")
        leaf = root.issue("leaf")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(leaf.certificate, leaf.key)
        upstream = self.closing(Upstream(echo, context))
        gateway = self.start(services(service(
            "one", self.port, upstream.url(),
            f'ca = "{root.certificate}"; crl = "{root.crl()}"; server_name = "localhost";')))
        self.assertEqual(ask(self.port), b"hello")
        gateway.reload()
        self.assertEqual(gateway.changes(), [])
        root.revoke(leaf)
        root.crl()
        gateway.reload()
        self.assertIn("revocation lists", " ".join(change for _, change in gateway.changes()))
        consumer = self.closing(connect(("127.0.0.1", self.port)))
        self.assertEqual(consumer.read_all().end, "reset")

    def test_command_line_reads_its_files_again(self):
        directory = self.scratch()
        shutil.copy(f"{CERTS}/other-ca.pem", f"{directory}/ca.pem")
        gateway = self.gateway(self.upstream.url(), "--ca", f"{directory}/ca.pem",
                               "--server-name", "localhost")
        self.assertEqual(self.closing(connect(gateway.address)).read_all().end, "reset")
        shutil.copy(f"{CERTS}/ca.pem", f"{directory}/ca.pem")
        gateway.signal(signal.SIGHUP)
        gateway.wait_log(lambda line: line["event"] == "reloaded")
        self.assertEqual(ask(gateway.address[1]), b"hello")

    def test_ignored_while_draining(self):
        gateway = self.start("drain_timeout = \"10s\";\n" + services(
            service("one", self.port, self.upstream.url(), self.ca)))
        held = self.closing(connect(("127.0.0.1", self.port)))
        held.send(b"x")
        self.assertEqual(held.read_exactly(1), b"x")
        gateway.signal(signal.SIGTERM)
        gateway.wait_log(lambda line: line["event"] == "draining")
        gateway.signal(signal.SIGHUP)
        gateway.wait_log(lambda line: "stopping" in line.get("message", ""))
        held.send(b"y")
        self.assertEqual(held.read_exactly(1), b"y")
        held.close()
        self.assertEqual(gateway.wait_exit(), 0)

    def test_many_under_load(self):
        """Nothing refused, nothing cut, descriptors and memory as they were; with the watch looking
        at the same files meanwhile. As many reloads as a busy machine does in the time."""
        reloads, transfers = max(50, int(1000 * SCALE)), max(10, int(100 * SCALE))
        deadline = time.monotonic() + STEP
        one = service("one", self.port, self.upstream.url(), self.ca)
        watch = 'watch_interval = "100ms";\n'
        gateway = self.start(watch + services(one))
        address, body = ("127.0.0.1", self.port), blob(MIB, 70)
        descriptors = gateway.descriptors()
        halt, asked, wrong = threading.Event(), [0], []

        def come_and_go():
            while not halt.is_set():
                try:
                    if ask(self.port) != b"hello":
                        wrong.append("short")
                    asked[0] += 1
                except OSError as why:
                    wrong.append(repr(why))
                halt.wait(0.02)

        def transfer(consumer):
            for start in range(0, MIB, MIB // 16):
                consumer.send(body[start:start + MIB // 16])
                if start == MIB // 2:
                    halt.wait()
            consumer.end()

        consumers = [self.closing(connect(address)) for _ in range(transfers)]
        for consumer in consumers:
            consumer.sock.settimeout(PATIENCE)
        senders = [Background(transfer, consumer) for consumer in consumers]
        readers = [Background(consumer.read_all) for consumer in consumers]
        loads = [Background(come_and_go) for _ in range(4)]
        memory = 0
        for number in range(reloads):
            gateway.write(watch + services(one[:-1] + f'idle_timeout = "{number + 1}h"; }}'))
            gateway.reload()
            memory = memory or (gateway.memory() if number == 40 else 0)
            if number >= 50 and time.monotonic() > deadline:
                break
        after = gateway.memory()
        halt.set()
        for thing in loads + senders:
            thing.result()
        for reader in readers:
            got = reader.result()
            self.assertEqual((got.count, got.digest, got.end), (MIB, digest(body), "eof"))
        self.assertEqual(wrong, [])
        self.assertGreater(asked[0], 10)
        if not SANITIZED:
            self.assertLess(after, memory * 1.1, (memory, after))
        for consumer in consumers:
            consumer.close()
        until(lambda: gateway.descriptors() == descriptors, what="descriptors as before")


if __name__ == "__main__":
    unittest.main()
