"""Revocation: lists for either side, and stapled OCSP responses, those of the upstream and ours."""

import os
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
import unittest

from harness import ESCLUSA, STEP, Case, free_port, need, until
from peers import TLS12, TLS13, Upstream, connect, echo, name_of, stream_of
from pki import Authority, concatenate, openssl, redate

WORD = b"drawer"
VERSIONS = {"-tls1_2": TLS12, "-tls1_3": TLS13}


class Pki(Case):
    """Root, Sub below it, and leaves of Sub. Made once."""

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="esclusa-e2e-")
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)
        cls.root = Authority(cls.directory, "Root")
        cls.sub = Authority(cls.directory, "Sub", issuer=cls.root)
        cls.other = Authority(cls.directory, "Other")
        cls.good = cls.sub.issue("good")
        cls.bad = cls.sub.issue("bad")
        cls.sub.revoke(cls.bad)
        for leaf in (cls.good, cls.bad):
            leaf.file = leaf.chain(cls.sub)

    def path(self, name):
        return os.path.join(self.directory, name)

    def refused_at_start(self, *options, listen="tcp://127.0.0.1:"):
        """Exit 2 and one line, which is returned."""
        done = subprocess.run(
            [ESCLUSA, "--listen", f"{listen}{free_port()}", "--connect", "tls://127.0.0.1:1",
             "--log-format", "json", *map(str, options)],
            capture_output=True, text=True, check=False, timeout=STEP)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        return done.stderr


def context_of(leaf, version=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.file, leaf.key)
    if version:
        context.minimum_version = context.maximum_version = version
    return context


class UpstreamLists(Pki):
    """--crl and --crl-dir."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.of_root = cls.root.crl()
        cls.of_sub = cls.sub.crl()
        cls.lists = concatenate(os.path.join(cls.directory, "lists.pem"), cls.of_root, cls.of_sub)
        cls.gone = Authority(cls.directory, "Gone", issuer=cls.root)
        cls.below = cls.gone.issue("below")
        cls.below.file = cls.below.chain(cls.gone)

    def start(self, leaf, *options, version=None, script=echo, ca=None):
        self.up = self.closing(Upstream(script, context_of(leaf, version), handshake=False))
        return self.gateway(self.up.url(), "--server-name", "localhost", "--ca",
                            ca or self.root.certificate, *options)

    @staticmethod
    def shake(connection):
        connection.handshake()
        return echo(connection)

    def visit(self, gateway):
        consumer = self.closing(connect(gateway.address))
        consumer.send(WORD)
        self.assertEqual(consumer.read_exactly(len(WORD)), WORD)
        consumer.close()
        return gateway.wait_session(name_of(consumer))

    def passes(self, leaf, *options, version=None, ca=None):
        gateway = self.start(leaf, *options, version=version, script=self.shake, ca=ca)
        return self.visit(gateway)

    def turned_away(self, gateway, error, *remedy):
        consumer = self.closing(connect(gateway.address))
        consumer.offer(b"secret")
        self.assertEqual(consumer.read_all(), stream_of(b"", "reset"))
        line = gateway.wait_session(name_of(consumer))
        self.assertEqual(line["reason"], "upstream_revoked", line)
        self.assertIn(error, line["error"])
        for word in remedy:
            self.assertIn(word, line["remedy"], line)
        return line

    def refused(self, leaf, options, error, *remedy, version=None, ca=None):
        """No byte of the consumer's reaches it."""
        got = []

        def script(connection):
            connection.handshake()
            got.append(connection.recv())

        gateway = self.start(leaf, *options, version=version, script=script, ca=ca)
        line = self.turned_away(gateway, error, *remedy)
        self.up.outcome()
        self.assertFalse(any(got), "bytes reached an upstream that is refused")
        return line

    def test_file(self):
        for version in VERSIONS.values():
            with self.subTest(version=version.name):
                self.passes(self.good, "--crl", self.lists, version=version)
                line = self.refused(self.bad, ("--crl", self.lists), "certificate revoked (20",
                                    "'CN=bad' was revoked at 20", version=version)
                self.assertEqual(line["depth"], 0)
        self.passes(self.bad)  # nothing else is wrong with it

    def test_der(self):
        good, bad = self.root.issue("good1"), self.root.issue("bad1")
        good.file, bad.file = good.certificate, bad.certificate
        self.root.revoke(bad)
        path = self.root.crl("root.der", der=True)
        self.passes(good, "--crl", path)
        self.refused(bad, ("--crl", path), "certificate revoked")

    def test_directory(self):
        path = self.path("crls")
        os.mkdir(path)
        self.root.crl("x.der", der=True)
        shutil.copy(self.root.path("x.der"), path)
        shutil.copy(self.of_sub, os.path.join(path, "sub.crl"))
        shutil.copy(self.root.certificate, path)  # *.pem without a list
        self.passes(self.good, "--crl-dir", path)
        self.refused(self.bad, ("--crl-dir", path), "certificate revoked")
        hashed, links = self.path("hashed"), self.path("links")
        os.mkdir(hashed)
        os.mkdir(links)
        for number, file in enumerate((self.of_root, self.of_sub)):
            shutil.copy(file, os.path.join(hashed, f"{number}.pem"))
        openssl("rehash", hashed)
        for link in os.listdir(hashed):  # "0a1b2c3d.r0" alone, not what they lead to
            if ".r" in link:
                os.symlink(os.path.join(hashed, os.readlink(os.path.join(hashed, link))),
                           os.path.join(links, link))
        self.assertEqual(len(os.listdir(links)), 2)
        self.passes(self.good, "--crl-dir", links)
        self.refused(self.bad, ("--crl-dir", links), "certificate revoked")

    def test_intermediate(self):
        lists = concatenate(self.path("gone.pem"), self.root.crl("before.crl"), self.gone.crl())
        self.passes(self.below, "--crl", lists)
        self.root.revoke(self.gone)
        lists = concatenate(self.path("gone.pem"), self.root.crl("after.crl"), self.gone.crl())
        line = self.refused(self.below, ("--crl", lists), "certificate revoked",
                            "'CN=Gone' was revoked")
        self.assertEqual(line["depth"], 1)

    def test_expired(self):
        old = concatenate(self.path("old.pem"), self.of_root,
                          self.sub.crl("old.crl", begin=-9, days=-1))
        self.refused(self.good, ("--crl", old), "CRL has expired (CRL of 'CN=Sub')",
                     "the CRL of 'CN=Sub' expired at 20", "into --crl")
        # the current one beside it, in either order
        both = concatenate(self.path("both.pem"), self.lists, old)
        self.passes(self.good, "--crl", both)
        both = concatenate(self.path("both.pem"), old, self.lists)
        self.passes(self.good, "--crl", both)
        self.refused(self.bad, ("--crl", both), "certificate revoked")

    def test_not_yet_valid(self):
        early = concatenate(self.path("early.pem"), self.of_root,
                            self.sub.crl("early.crl", begin=1, days=5))
        self.refused(self.good, ("--crl", early), "CRL is not yet valid", "this machine's clock")

    def test_missing(self):
        self.refused(self.good, ("--crl", self.of_sub), "unable to get certificate CRL",
                     "add the current CRL of 'CN=Root'")
        self.refused(self.good, ("--crl", self.of_root), "unable to get certificate CRL",
                     "add the current CRL of 'CN=Sub'")

    def test_forged(self):
        """Of the same name, signed with another key."""
        double = Authority(self.directory, "Sub", file="double")
        for key_id, words in ((False, "CRL signature failure"),
                              (True, "unable to get certificate CRL (CRL of 'CN=Sub')")):
            forged = concatenate(self.path("forged.pem"), self.of_root, double.crl(key_id=key_id))
            self.refused(self.good, ("--crl", forged), words, "CN=Sub")

    def test_report(self):
        for lists, words in ((self.lists, "certificate revoked"),
                             (self.of_root, "unable to get certificate CRL")):
            with self.subTest(words=words):
                line = self.passes(self.bad, "--crl", lists, "--revocation-policy", "report")
                self.assertIn("revocation: " + words, line["would_refuse"])
        line = self.passes(self.good, "--crl", self.lists, "--revocation-policy", "report")
        self.assertNotIn("would_refuse", line)

    def test_an_anchor_needs_no_list_of_its_own(self):
        """Only Sub is trusted: nothing above it is looked at."""
        self.up = self.closing(Upstream(self.shake, context_of(self.good), handshake=False))
        gateway = self.gateway(self.up.url(), "--server-name", "localhost", "--ca",
                               self.sub.certificate, "--crl", self.of_sub)
        self.visit(gateway)

    def test_a_revoked_anchor(self):
        """Trusted by --ca itself: what its issuer's list says of it still counts."""
        root = Authority(self.directory, "Top")
        gone = Authority(self.directory, "Revoked", issuer=root)
        leaf = gone.issue("under")
        own = root.issue("own")
        own.file = own.certificate
        before = concatenate(self.path("top.pem"), root.crl("before.crl"), gone.crl())
        both = concatenate(self.path("both.ca"), root.certificate, gone.certificate)
        leaf.file = leaf.chain(gone)
        for ca in (both, gone.certificate):
            self.passes(leaf, "--crl", before, ca=ca)
        self.passes(own, "--crl", before, ca=own.certificate)
        root.revoke(gone)
        root.revoke(own)
        after = concatenate(self.path("top2.pem"), root.crl("after.crl"), gone.crl())
        for ca in (root.certificate, both, gone.certificate):
            with self.subTest(ca=ca):
                line = self.refused(leaf, ("--crl", after), "certificate revoked (20",
                                    "'CN=Revoked' was revoked at 20", ca=ca)
                self.assertEqual(line["depth"], 1)
        self.refused(own, ("--crl", after), "certificate revoked (20", "'CN=own' was revoked",
                     ca=own.certificate)

    def test_expires_while_running(self):
        """It refuses from then on; a fresh one is taken up without a restart."""
        lists = concatenate(self.path("live.pem"), self.of_root,
                            self.sub.crl("live.crl", days=15 / 86400))
        gateway = self.start(self.good, "--crl", lists, script=self.shake)
        self.visit(gateway)
        time.sleep(16)
        self.turned_away(gateway, "CRL has expired")
        concatenate(lists, self.of_root, self.of_sub)
        gateway.signal(signal.SIGHUP)
        gateway.wait_log(lambda line: line["event"] == "reloaded")
        self.visit(gateway)

    def test_bad_files(self):
        empty = self.path("nothing")
        os.mkdir(empty)
        with open(self.of_sub, encoding="ascii") as file:
            whole = file.read()
        cut = self.path("cut.pem")
        with open(cut, "w", encoding="ascii") as file:
            file.write(whole[:len(whole) // 2])
        for options, words in (
                (("--crl", self.root.certificate), "no CRL in it"),
                (("--crl", cut), "damaged"),
                (("--crl", self.path("nowhere")), "No such file"),
                (("--crl-dir", empty), "no CRL in any"),
                (("--crl-dir", self.path("nowhere")), "No such file")):
            with self.subTest(options=options):
                line = self.refused_at_start("--ca", self.root.certificate, *options)
                self.assertIn(words, line)
                self.assertIn(f"{options[0]} '{options[1]}", line)


class ConsumerLists(Pki):
    """--listen-crl and --listen-crl-dir."""

    def visit(self, gateway, leaf, version):
        """What s_client gets: the echo, or an alert."""
        client = self.program(need("openssl"), "s_client", "-quiet", version, "-connect",
                              "%s:%d" % gateway.address, "-cert", leaf.certificate, "-key",
                              leaf.key, "-cert_chain", self.sub.certificate,
                              stdin=subprocess.PIPE)
        try:
            client.type(WORD + b"\n")
        except BrokenPipeError:
            pass
        until(lambda: WORD.decode() in client.output() or client.process.poll() is not None,
              what="the echo or the end of s_client")
        return client.output()

    def start(self, *options):
        upstream = self.closing(Upstream(echo))
        return self.gateway(upstream.url(), "--listen-cert", self.good.file, "--listen-key",
                            self.good.key, "--listen-ca", self.root.certificate, *options,
                            scheme="tls")

    def refused(self, gateway, leaf, version, error, *remedy):
        count = len(gateway.sessions())
        self.assertNotIn(WORD.decode(), self.visit(gateway, leaf, version))
        until(lambda: len(gateway.sessions()) > count, what="the session's line")
        line = gateway.sessions()[-1]
        self.assertEqual(line["reason"], "consumer_revoked", line)
        self.assertIn(error, line["error"])
        for word in remedy:
            self.assertIn(word, line["remedy"])
        return line

    def test_file_and_directory(self):
        path = self.path("consumers")
        os.mkdir(path)
        lists = concatenate(os.path.join(path, "all.pem"), self.root.crl(), self.sub.crl())
        for options in (("--listen-crl", lists), ("--listen-crl-dir", path)):
            gateway = self.start(*options)
            for version in VERSIONS:
                with self.subTest(options=options, version=version):
                    self.assertIn(WORD.decode(), self.visit(gateway, self.good, version))
                    self.refused(gateway, self.bad, version, "certificate revoked",
                                 "'CN=bad' was revoked", "have the consumer use")

    def test_expired_or_missing(self):
        old = concatenate(self.path("old.pem"), self.root.crl(),
                          self.sub.crl("old.crl", begin=-9, days=-1))
        self.refused(self.start("--listen-crl", old), self.good, "-tls1_3", "CRL has expired",
                     "into --listen-crl")
        self.refused(self.start("--listen-crl", self.root.crl()), self.good, "-tls1_3",
                     "unable to get certificate CRL", "with --listen-crl every")
        self.assertIn("no CRL in it", self.refused_at_start(
            "--listen-cert", self.good.file, "--listen-key", self.good.key, "--listen-ca",
            self.root.certificate, "--listen-crl", self.good.file, "--ca", self.root.certificate,
            listen="tls://127.0.0.1:"))


class Responses(Pki):
    """What the tests of OCSP use."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.must = cls.sub.issue("must", extensions=("tlsfeature = status_request",))
        cls.responder = cls.sub.issue("responder", san=None, eku="OCSPSigning")
        cls.good_response = cls.sub.ocsp(cls.good, "good.ocsp")
        cls.old_response = redate(cls.good_response, cls.sub.key, -9, -1, cls.sub.path("old.ocsp"))


class Stapled(Responses):
    """--ocsp. The upstream is openssl s_server."""

    def s_server(self, leaf, version, *options):
        port = free_port()
        program = self.program(
            need("openssl"), "s_server", "-accept", f"127.0.0.1:{port}", "-cert", leaf.certificate,
            "-key", leaf.key, "-cert_chain", self.sub.certificate, "-rev", version, *options)
        program.wait_output("ACCEPT")
        return program, port

    def through(self, port, mode, *options):
        gateway = self.gateway(f"tls://127.0.0.1:{port}", "--server-name", "localhost", "--ca",
                               self.root.certificate, "--ocsp", mode, *options)
        return gateway, self.closing(connect(gateway.address))

    def passes(self, port, mode, *options):
        gateway, consumer = self.through(port, mode, *options)
        consumer.send(WORD + b"\n")
        self.assertEqual(consumer.read_exactly(len(WORD) + 1), WORD[::-1] + b"\n")
        consumer.close()
        return gateway.wait_session(name_of(consumer))

    def refused(self, server, port, mode, error, remedy="", *options):
        gateway, consumer = self.through(port, mode, *options)
        consumer.offer(WORD + b"\n")
        self.assertEqual(consumer.read_all(), stream_of(b"", "reset"))
        line = gateway.wait_session(name_of(consumer))
        self.assertEqual(line["reason"], "upstream_revoked", line)
        self.assertEqual(line["bytes_down"], 0, line)
        self.assertIn(error, line["error"])
        self.assertIn(remedy, line["remedy"])
        server.wait_output("SSL alert number 113")  # bad_certificate_status_response
        return line

    def try_all(self, leaf, staple, off, prefer, require):
        """off, prefer, require: None for a pass, else the words of the refusal."""
        options = ("-status_file", staple) if staple else ()
        for version in VERSIONS:
            server, port = self.s_server(leaf, version, *options)
            for mode, words in (("off", off), ("prefer", prefer), ("require", require)):
                with self.subTest(version=version, mode=mode):
                    if words:
                        self.refused(server, port, mode, *words)
                    else:
                        self.passes(port, mode)

    def test_none(self):
        self.try_all(self.good, None, None, None,
                     ("no OCSP response was stapled", "--ocsp requires one"))

    def test_good(self):
        self.try_all(self.good, self.good_response, None, None, None)

    def test_good_by_delegation(self):
        self.try_all(self.good, self.sub.ocsp(self.good, "delegated.ocsp", signer=self.responder),
                     None, None, None)

    def test_revoked(self):
        words = ("certificate revoked, says the stapled OCSP response: revoked at 20",
                 "'CN=bad' was revoked at 20")
        self.try_all(self.bad, self.sub.ocsp(self.bad, "bad.ocsp"), None, words, words)

    def test_expired(self):
        words = ("the stapled OCSP response was refused: it expired at 20", "--ocsp 'off' ignores")
        self.try_all(self.good, self.old_response, None, words, words)

    def test_of_another_certificate(self):
        words = ("it is about another certificate", "current response")
        self.try_all(self.must, self.good_response, None, words, words)

    def test_unknown(self):
        """The responder has never heard of it: its index is empty."""
        blank = self.path("blank.txt")
        with open(blank, "w", encoding="ascii"):
            pass
        words = ("does not know the certificate", "ask that CA")
        self.try_all(self.good, self.sub.ocsp(self.good, "unknown.ocsp", "-index", blank),
                     None, words, words)

    def test_bad_signature(self):
        words = ("not signed by the certificate's issuer", "current response")
        self.try_all(self.good, self.sub.ocsp(self.good, "bad-signature.ocsp", "-badsig"), None,
                     words, words)
        forged = redate(self.good_response, self.other.key, -1, 5, self.sub.path("forged.ocsp"))
        self.try_all(self.good, forged, None, words, words)
        stranger = self.sub.ocsp(self.good, "stranger.ocsp", signer=self.other)
        self.try_all(self.good, stranger, None, words, words)

    def test_must_staple(self):
        words = ("no OCSP response was stapled", "must-staple")
        self.try_all(self.must, None, None, words, words)
        self.try_all(self.must, self.sub.ocsp(self.must, "must.ocsp"), None, None, None)

    def test_report(self):
        bad = self.sub.ocsp(self.bad, "bad.ocsp")
        for staple, words in ((bad, "revocation: certificate revoked"),
                              (None, "revocation: no OCSP response was stapled")):
            with self.subTest(words=words):
                _, port = self.s_server(self.bad, "-tls1_3",
                                        *(("-status_file", staple) if staple else ()))
                line = self.passes(port, "require", "--revocation-policy", "report")
                self.assertIn(words, line["would_refuse"])

    def test_prefer_is_the_default(self):
        server, port = self.s_server(self.good, "-tls1_3", "-status_file", self.old_response)
        gateway = self.gateway(f"tls://127.0.0.1:{port}", "--server-name", "localhost", "--ca",
                               self.root.certificate)
        consumer = self.closing(connect(gateway.address))
        consumer.offer(WORD)
        self.assertEqual(consumer.read_all(), stream_of(b"", "reset"))
        server.wait_output("SSL alert number 113")

    def test_from_a_responder(self):
        """s_server asks `openssl ocsp` over HTTP, as upstreams do."""
        port = free_port()
        responder = self.program(
            need("openssl"), "ocsp", "-port", port, "-index", self.sub.index, "-CA",
            self.sub.certificate, "-rsigner", self.responder.certificate, "-rkey",
            self.responder.key, "-ndays", "1", "-text")
        responder.wait_output("waiting for OCSP client connections")
        for leaf, words in ((self.good, None), (self.bad, "certificate revoked, says")):
            with self.subTest(leaf=leaf.certificate):
                server, up = self.s_server(
                    leaf, "-tls1_3", "-status", "-status_verbose", "-status_timeout", int(STEP),
                    "-status_url", f"http://127.0.0.1:{port}/", "-CAfile", self.sub.certificate)
                if words:
                    self.refused(server, up, "require", words)
                else:
                    self.passes(up, "require")


class Stapling(Responses):
    """--listen-ocsp. The consumer is openssl s_client."""

    def start(self, *options, leaf=None):
        leaf = leaf or self.good
        upstream = self.closing(Upstream(echo))
        return self.gateway(upstream.url(), "--listen-cert", leaf.chain(self.sub), "--listen-key",
                            leaf.key, *options, scheme="tls")

    def ask(self, gateway, version, *options):
        return subprocess.run(
            [need("openssl"), "s_client", "-connect", "%s:%d" % gateway.address, "-status",
             "-CAfile", self.root.certificate, version, *options],
            input=b"", capture_output=True, check=False, timeout=STEP).stdout.decode()

    def test_served(self):
        for staple in (self.good_response,
                       self.sub.ocsp(self.good, "delegated.ocsp", signer=self.responder)):
            gateway = self.start("--listen-ocsp", staple)
            for version in VERSIONS:
                with self.subTest(version=version, staple=staple):
                    said = self.ask(gateway, version)
                    self.assertIn("OCSP Response Status: successful", said)
                    self.assertIn("Cert Status: good", said)
        for version in VERSIONS:
            self.assertIn("no response sent", self.ask(self.start(), version))

    def test_chosen_by_name(self):
        """Each certificate with its own response, whatever the order of the files."""
        first = self.sub.issue("first", san=("DNS:first.test",))
        second = self.sub.issue("second", san=("DNS:second.test",))
        upstream = self.closing(Upstream(echo))
        words = []
        for leaf in (first, second):
            words += ["--listen-cert", leaf.chain(self.sub), "--listen-key", leaf.key]
        gateway = self.gateway(upstream.url(), *words,
                               "--listen-ocsp", self.sub.ocsp(second, "second.ocsp"),
                               "--listen-ocsp", self.sub.ocsp(first, "first.ocsp"), scheme="tls")
        for version in VERSIONS:
            for leaf, name in ((first, "first.test"), (second, "second.test")):
                with self.subTest(version=version, name=name):
                    serial = openssl("x509", "-in", leaf.certificate, "-noout", "-serial")
                    said = self.ask(gateway, version, "-servername", name)
                    self.assertIn("Serial Number: " + serial.decode().strip().split("=")[1], said)
                    self.assertRegex(said, f"subject=CN ?= ?{name.split('.', maxsplit=1)[0]}\n")

    def test_ours_takes_it(self):
        """One gateway staples, another requires it."""
        far = self.start("--listen-ocsp", self.good_response)
        near = self.gateway("tls://%s:%d" % far.address, "--server-name", "localhost", "--ca",
                            self.root.certificate, "--ocsp", "require")
        consumer = self.closing(connect(near.address))
        consumer.send(WORD)
        self.assertEqual(consumer.read_exactly(len(WORD)), WORD)

    def test_refused_at_start(self):
        for staple, words in (
                (self.old_response, ("'CN=good' cannot be stapled: it expired at 20", "fetch")),
                (self.sub.ocsp(self.must, "must.ocsp"),
                 ("none of the certificates in --listen-cert",)),
                (self.sub.ocsp(self.good, "forged.ocsp", signer=self.other), ("not signed by",)),
                (self.good.certificate, ("damaged",)),
                (self.path("nowhere"), ("No such file",))):
            with self.subTest(staple=staple):
                line = self.refused_at_start(
                    "--listen-cert", self.good.file, "--listen-key", self.good.key, "--ca",
                    self.root.certificate, "--listen-ocsp", staple, listen="tls://127.0.0.1:")
                for word in (*words, f"--listen-ocsp '{staple}'"):
                    self.assertIn(word, line)
        bad = self.sub.ocsp(self.bad, "bad.ocsp")
        self.assertIn("revoked at 20", self.refused_at_start(
            "--listen-cert", self.bad.file, "--listen-key", self.bad.key, "--ca",
            self.root.certificate, "--listen-ocsp", bad, listen="tls://127.0.0.1:"))


if __name__ == "__main__":
    unittest.main()
