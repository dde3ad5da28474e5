"""The listener as a TLS server: consumers' certificates, who is let in, and session tickets. The
consumer is openssl s_client."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import types
import unittest

from harness import ESCLUSA, STEP, Case, free_port, need, until
from peers import Upstream, echo
from pki import Authority, pin

WORD = "marco-polo"
VERSIONS = ("-tls1_2", "-tls1_3")


class ListenerCase(Case):
    """One PKI for all; every upstream is a plain echo."""

    @classmethod
    def setUpClass(cls):
        cls.pki = tempfile.mkdtemp(prefix="esclusa-e2e-")
        cls.addClassCleanup(shutil.rmtree, cls.pki, ignore_errors=True)
        cls.ca = Authority(cls.pki, "Root")
        cls.other_ca = Authority(cls.pki, "Other")
        cls.server = cls.ca.issue("server")
        cls.client = cls.ca.issue(
            "client", subject="/OU=Ops/OU=Payments/CN=till 7",
            san=("DNS:till7.shop.test", "URI:spiffe://shop.test/ns/tills/7"))
        cls.second = cls.ca.issue("second", san=("DNS:other.test",))
        cls.stranger = cls.other_ca.issue("stranger", subject="/OU=Ops/CN=till 7",
                                          san=("DNS:till7.shop.test",))
        cls.expired = cls.ca.issue("expired", begin=-10, days=-1)

    def setUp(self):
        self.upstream = self.closing(Upstream(echo))

    def listener(self, *options, **settings):
        return self.gateway(self.upstream.url(), "--listen-cert", self.server.certificate,
                            "--listen-key", self.server.key, *options, scheme="tls", **settings)

    def guarded(self, *options, **settings):
        return self.listener("--listen-ca", self.ca.certificate, *options, **settings)

    def s_client(self, gateway, *options, leaf=None):
        words = ["-connect", "%s:%d" % gateway.address, "-servername", "localhost",
                 "-CAfile", self.ca.certificate, *options]
        if leaf:
            words += ["-cert", leaf.certificate, "-key", leaf.key]
        return self.program(need("openssl"), "s_client", *words, stdin=subprocess.PIPE)

    @staticmethod
    def say(program, text):
        try:
            program.type(text)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it was refused already

    def visit(self, gateway, *options, leaf=None, save=None, ticket=None):
        """One consumer that says a word and waits for its echo. ok: it came back."""
        before = len(gateway.sessions())
        files = (["-sess_out", save] if save else []) + (["-sess_in", ticket] if ticket else [])
        program = self.s_client(gateway, *options, *files, leaf=leaf)
        self.say(program, WORD.encode() + b"\n")
        until(lambda: WORD in program.output() or program.process.poll() is not None,
              what="the echo, or the end")
        try:
            program.process.stdin.close()
        except BrokenPipeError:
            pass
        program.process.wait(STEP)
        until(lambda: len(gateway.sessions()) > before, what="the session's line")
        output, line = program.output(), gateway.sessions()[-1]
        return types.SimpleNamespace(ok=WORD in output, output=output, line=line,
                                     resumed=line.get("consumer_resumed"))

    def let_in(self, gateway, *options, **settings):
        got = self.visit(gateway, *options, **settings)
        self.assertTrue(got.ok, (got.output, got.line))
        return got

    def refused(self, gateway, *options, **settings):
        got = self.visit(gateway, *options, **settings)
        self.assertFalse(got.ok, got.output)
        self.assertEqual(got.line["reason"], "consumer_verify_failed", got.line)
        self.assertEqual(got.line["bytes_up"], 0)
        return got

    def new_ticket(self, gateway, *options, **settings):
        path = os.path.join(self.scratch(), "ticket")
        got = self.let_in(gateway, *options, save=path, **settings)
        self.assertIs(got.resumed, False)
        return path

    def resumes(self, gateway, ticket, *options, **settings):
        got = self.let_in(gateway, *options, ticket=ticket, **settings)
        self.assertEqual("Reused, TLS" in got.output, got.resumed, got.output)
        return got.resumed

    def reload(self, gateway):
        """Whether by the signal or because it saw the change first."""
        before = sum(line["event"] == "reloaded" for line in gateway.lines())
        gateway.signal(signal.SIGHUP)
        until(lambda: sum(line["event"] == "reloaded" for line in gateway.lines()) > before,
              what="the reload")


class Certificates(ListenerCase):
    def test_none(self):
        gateway = self.listener()
        self.let_in(gateway)
        got = self.let_in(gateway, leaf=self.stranger)  # not even asked for
        self.assertIn("No client certificate CA names sent", got.output)

    def test_optional(self):
        gateway = self.guarded("--listen-client", "optional")
        for version in VERSIONS:
            with self.subTest(version=version):
                self.let_in(gateway, version)
                self.let_in(gateway, version, leaf=self.client)
                self.refused(gateway, version, leaf=self.stranger)
                self.refused(gateway, version, leaf=self.expired)

    def test_required(self):
        for options in ((), ("--listen-client", "required")):
            gateway = self.guarded(*options)
            for version in VERSIONS:
                with self.subTest(options=options, version=version):
                    self.let_in(gateway, version, leaf=self.client)
                    got = self.refused(gateway, version)
                    self.assertIn("--listen-ca", got.line["remedy"])
                    self.refused(gateway, version, leaf=self.stranger)
                    self.refused(gateway, version, leaf=self.expired)

    def test_renegotiation(self):
        gateway = self.guarded("--listen-client", "optional")
        program = self.s_client(gateway, "-tls1_2")
        self.say(program, WORD.encode() + b"\n")
        program.wait_output(WORD)
        self.say(program, b"R\n")
        program.wait_output("no renegotiation")


class Admission(ListenerCase):
    RULES = (
        # option, what lets the client in, what does not
        ("cn", ("till 7", "till *", "*"), ("till 8", "Till 7", "till", "second*", "Ops")),
        ("ou", ("Ops", "Payments", "Pay*"), ("ops", "Pay", "till 7")),
        ("dns", ("till7.shop.test", "TILL7.shop.test", "*.shop.test", "till*"),
         ("shop.test", "*.shop.example", "till 7")),
        ("uri", ("spiffe://shop.test/ns/tills/7", "SPIFFE://Shop.test/ns/tills/*",
                 "spiffe://*/ns/*"),
         ("spiffe://shop.test/ns/Tills/7", "spiffe://shop.test/ns/kiosks/*",
          "spiffe://*/7")),
    )

    def test_names(self):
        for kind, good, bad in self.RULES:
            for glob in good:
                with self.subTest(kind=kind, glob=glob):
                    gateway = self.guarded(f"--listen-allow-{kind}", glob)
                    self.let_in(gateway, leaf=self.client)
                    gateway.process.terminate()
            for glob in bad:
                if kind == "dns" and " " in glob:
                    continue  # no such name: refused at the start
                with self.subTest(kind=kind, glob=glob):
                    gateway = self.guarded(f"--listen-allow-{kind}", glob)
                    got = self.refused(gateway, leaf=self.client)
                    self.assertIn("--listen-allow-cn", got.line["remedy"])
                    self.assertIn("till 7", got.line["subject"])
                    gateway.process.terminate()

    def test_pin(self):
        gateway = self.guarded("--listen-allow-pin", pin(self.client.certificate))
        for version in VERSIONS:
            with self.subTest(version=version):
                self.let_in(gateway, version, leaf=self.client)
                self.refused(gateway, version, leaf=self.second)

    def test_one_of_several_is_enough(self):
        gateway = self.guarded("--listen-allow-cn", "nobody", "--listen-allow-dns", "*.shop.test",
                               "--listen-allow-pin", pin(self.second.certificate))
        self.let_in(gateway, leaf=self.client)
        self.let_in(gateway, leaf=self.second)
        third = self.ca.issue("third", san=("DNS:third.test",))
        self.refused(gateway, leaf=third)

    def test_rules_do_not_replace_verification(self):
        gateway = self.guarded("--listen-allow-dns", "*.shop.test")
        got = self.refused(gateway, leaf=self.stranger)
        self.assertNotIn("--listen-allow", got.line["remedy"])

    def test_optional(self):
        gateway = self.guarded("--listen-client", "optional", "--listen-allow-cn", "till *")
        self.let_in(gateway)
        self.let_in(gateway, leaf=self.client)
        self.refused(gateway, leaf=self.second)

    def start_fails(self, *options):
        done = subprocess.run(
            [ESCLUSA, "--listen", f"tls://127.0.0.1:{free_port()}", "--connect",
             self.upstream.url(), "--listen-cert", self.server.certificate, "--listen-key",
             self.server.key, *options], stdin=subprocess.DEVNULL, capture_output=True,
            check=False, timeout=STEP)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertEqual(done.stderr.count(b"\n"), 1, done.stderr)
        return done.stderr.decode()

    def test_mistakes(self):
        trust = ("--listen-ca", self.ca.certificate)
        self.assertIn("--listen-ca", self.start_fails("--listen-allow-cn", "x"))
        for option, value in (("--listen-allow-dns", "till 7"), ("--listen-allow-uri", "shop/*"),
                              ("--listen-allow-pin", "sha256//x"), ("--listen-allow-cn", "")):
            self.assertIn(option, self.start_fails(*trust, option, value))
        path = os.path.join(self.scratch(), "keys")
        with open(path, "wb") as file:
            file.write(b"x" * 79)
        said = self.start_fails("--listen-ticket-keys", path)
        self.assertIn("--listen-ticket-keys", said)
        self.assertIn("79 bytes", said)


class Tickets(ListenerCase):
    def keys(self, *keys, path=None):
        path = path or os.path.join(self.scratch(), "ticket.keys")
        with open(path + ".new", "wb") as file:
            file.write(b"".join(keys))
        os.rename(path + ".new", path)
        return path

    def test_resumption(self):
        for workers in (1, 2):
            gateway = self.listener("--workers", workers)
            for version in VERSIONS:
                with self.subTest(workers=workers, version=version):
                    ticket = self.new_ticket(gateway, version)
                    for _ in range(6):  # whichever worker it meets
                        # Each TLS 1.3 ticket is used once by its client, but not refused here.
                        self.assertTrue(self.resumes(gateway, ticket, version))

    def test_the_next_ticket_resumes_too(self):
        gateway = self.listener()
        for version in VERSIONS:
            with self.subTest(version=version):
                first = self.new_ticket(gateway, version)
                second = os.path.join(self.scratch(), "second")
                got = self.let_in(gateway, version, ticket=first, save=second)
                self.assertTrue(got.resumed)
                if version == "-tls1_3":
                    self.assertTrue(self.resumes(gateway, second, version))

    def test_off(self):
        gateway = self.listener("--listen-tickets", "false")
        for version in VERSIONS:
            with self.subTest(version=version):
                path = os.path.join(self.scratch(), "ticket")
                got = self.let_in(gateway, version, save=path)
                self.assertNotIn("TLS session ticket:", got.output)
                if os.path.exists(path) and os.path.getsize(path):
                    self.assertFalse(self.resumes(gateway, path, version))

    def test_identity_goes_with_the_ticket(self):
        """The certificate is not shown again, and need not be."""
        gateway = self.guarded("--listen-allow-cn", "till *")
        for version in VERSIONS:
            with self.subTest(version=version):
                ticket = self.new_ticket(gateway, version, leaf=self.client)
                self.assertTrue(self.resumes(gateway, ticket, version))
                self.refused(gateway, version)

    def test_file_shared_by_two_gateways(self):
        path = self.keys(os.urandom(80))
        here = self.listener("--listen-ticket-keys", path)
        there = self.listener("--listen-ticket-keys", path)
        alone = self.listener("--listen-ticket-keys", self.keys(os.urandom(80)))
        for version in VERSIONS:
            with self.subTest(version=version):
                ticket = self.new_ticket(here, version)
                self.assertTrue(self.resumes(there, ticket, version))
                self.assertFalse(self.resumes(alone, ticket, version))

    def test_other_ciphers_with_several_certificates(self):
        """A TLS 1.2 session goes on with its own cipher: not where a full handshake had none."""
        weak, strong = "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-GCM-SHA384"
        shared = ("--listen-ticket-keys", self.keys(os.urandom(80)), "--listen-cert",
                  self.second.certificate, "--listen-key", self.second.key, "--listen-ciphers")
        lax, alike = self.listener(*shared, weak), self.listener(*shared, weak)
        strict = self.listener(*shared, strong)
        ask = ("-tls1_2", "-cipher", weak)
        ticket = self.new_ticket(lax, *ask)
        self.assertTrue(self.resumes(alike, ticket, *ask))
        got = self.visit(strict, *ask, ticket=ticket)
        self.assertFalse(got.ok, got.output)
        self.assertFalse(got.resumed, got.line)

    def test_stricter_listeners(self):
        path = self.keys(os.urandom(80))
        shared = ("--listen-ticket-keys", path)
        lax = self.listener(*shared)
        strict = self.guarded(*shared)
        stricter = self.guarded(*shared, "--listen-allow-cn", "second")
        elsewhere = self.listener(*shared, "--listen-ca", self.other_ca.certificate)
        for version in VERSIONS:
            with self.subTest(version=version):
                ticket = self.new_ticket(lax, version)
                self.refused(strict, version, ticket=ticket)
                # Shown a certificate, the same ticket ends in a full handshake.
                self.assertFalse(self.resumes(strict, ticket, version, leaf=self.client))
                ticket = self.new_ticket(strict, version, leaf=self.client)
                self.assertTrue(self.resumes(strict, ticket, version))
                self.refused(stricter, version, ticket=ticket)
                self.refused(stricter, version, ticket=ticket, leaf=self.client)
                self.refused(elsewhere, version, ticket=ticket, leaf=self.client)
                self.assertFalse(self.resumes(elsewhere, ticket, version, leaf=self.stranger))

    def key_name(self, gateway, version):
        """The first 16 bytes of a ticket."""
        got = self.let_in(gateway, version)
        found = re.search(r"TLS session ticket:\n *0000 - ((?:[0-9a-f]{2}[ -]){16})", got.output)
        self.assertIsNotNone(found, got.output)
        return found.group(1)

    def test_rotation(self):
        brief = self.listener("--listen-ticket-rotation", "1s")
        long = self.listener()
        for version in VERSIONS:
            with self.subTest(version=version):
                old, kept = self.new_ticket(brief, version), self.new_ticket(long, version)
                names = [self.key_name(gateway, version) for gateway in (brief, long)]
                time.sleep(2.5)  # more than two rotations
                self.assertFalse(self.resumes(brief, old, version))
                self.assertTrue(self.resumes(long, kept, version))
                self.assertNotEqual(self.key_name(brief, version), names[0])
                self.assertEqual(self.key_name(long, version), names[1])

    def test_reload(self):
        """What verification stands on is the same: tickets live on. It is not: they do not."""
        trust = os.path.join(self.scratch(), "trust.pem")
        shutil.copy(self.ca.certificate, trust)
        gateway = self.listener("--listen-ca", trust)
        for version in VERSIONS:
            with self.subTest(version=version):
                shutil.copy(self.ca.certificate, trust)
                self.reload(gateway)
                ticket = self.new_ticket(gateway, version, leaf=self.client)
                self.reload(gateway)
                self.assertTrue(self.resumes(gateway, ticket, version))
                shutil.copy(self.other_ca.certificate, trust)
                self.reload(gateway)
                self.refused(gateway, version, ticket=ticket, leaf=self.client)
                self.refused(gateway, version, ticket=ticket)

    def test_revoked_meanwhile(self):
        path = os.path.join(self.scratch(), "ca.crl")
        shutil.copy(self.ca.crl(), path)
        gateway = self.guarded("--listen-crl", path)
        brief = {version: self.ca.issue("brief" + version, san=()) for version in VERSIONS}
        tickets = {version: self.new_ticket(gateway, version, leaf=brief[version])
                   for version in VERSIONS}
        for version in VERSIONS:
            self.assertTrue(self.resumes(gateway, tickets[version], version))
            self.ca.revoke(brief[version])
        shutil.copy(self.ca.crl(), path)
        self.reload(gateway)
        for version in VERSIONS:
            with self.subTest(version=version):
                got = self.visit(gateway, version, ticket=tickets[version], leaf=brief[version])
                self.assertFalse(got.ok, got.output)
                self.assertIn("revoked", got.line["error"])
                self.refused(gateway, version, ticket=tickets[version])

    def test_file_changes(self):
        a, b, c = os.urandom(80), os.urandom(80), os.urandom(80)
        path = self.keys(a)
        gateway = self.listener("--listen-ticket-keys", path)
        for version in VERSIONS:
            with self.subTest(version=version):
                self.keys(a, path=path)
                self.reload(gateway)
                ticket = self.new_ticket(gateway, version)
                self.keys(b, a, path=path)
                self.reload(gateway)
                self.assertTrue(self.resumes(gateway, ticket, version))
                self.keys(c, path=path)
                self.reload(gateway)
                self.assertFalse(self.resumes(gateway, ticket, version))


if __name__ == "__main__":
    unittest.main()
