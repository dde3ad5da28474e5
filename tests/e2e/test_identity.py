"""Our own certificates and keys: PKCS#12, passphrases, URIs, tokens; and which of a listener's
certificates a consumer is shown."""

import contextlib
import glob
import os
import shutil
import subprocess
import tempfile
import unittest

from pki import Authority, concatenate, openssl
from harness import SANITIZED, free_port, need
from peers import Upstream, echo
from s_tools import Peers

SECRET = "correct horse battery"
VARIABLE = "ESCLUSA_E2E_WORD"


def write(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
    return path


def encrypted(leaf, path, *options):
    openssl("pkcs8", "-topk8", "-in", leaf.key, "-out", path, "-passout", "pass:" + SECRET,
            *options)
    return path


def boxed(leaf, path, *others, secret=SECRET):
    """The leaf, its key and others in PKCS#12."""
    more = concatenate(path + ".others", *others)
    openssl("pkcs12", "-export", "-in", leaf.certificate, "-inkey", leaf.key, "-out", path,
            "-passout", "pass:" + secret, *(["-certfile", more] if others else []))
    return path


class Upstreams(Peers):
    """The certificate that an upstream asks for."""

    @classmethod
    def setUpClass(cls):
        need("openssl")
        cls.directory = tempfile.mkdtemp(prefix="esclusa-e2e-")
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)
        cls.ca = Authority(cls.directory, "Root")
        cls.issuer = Authority(cls.directory, "Issuer", issuer=cls.ca)
        cls.leaf = cls.ca.issue("leaf")
        cls.mine = cls.issuer.issue("mine", san=())
        cls.stranger = Authority(cls.directory, "Other").issue("stranger", san=())
        cls.word = "file:" + write(os.path.join(cls.directory, "word"), SECRET + "\n")
        cls.wrong = "file:" + write(os.path.join(cls.directory, "wrong"), "wrong\n")
        cls.box = boxed(cls.mine, cls.path("mine.p12"), cls.ca.certificate, cls.issuer.certificate)
        cls.key = encrypted(cls.mine, cls.path("mine.enc"))
        cls.chain = cls.mine.chain(cls.issuer)

    @classmethod
    def path(cls, name):
        return os.path.join(cls.directory, name)

    def shown(self, *options):
        """Page and line of a session with an upstream that requires a certificate of our CA."""
        _, port = self.s_server("-Verify", "3", "-verify_return_error", "-CAfile",
                                self.ca.certificate)
        gateway = self.gateway(f"127.0.0.1:{port}", "--ca", self.ca.certificate, "--server-name",
                               "localhost", *options)
        self.assertNotIn(SECRET, gateway.log_text())
        return self.fetch(gateway)

    def accepted(self, *options):
        page, line = self.shown(*options)
        self.assertIn(b"s_server -accept", page, line)

    def refused(self, *options, **words):
        where = ("--listen", free_port(), "--connect", "tls://127.0.0.1:1", "--ca",
                 self.ca.certificate)
        return self.refused_start(*where, *options, never=[SECRET], **words)

    def set_variable(self, value):
        os.environ[VARIABLE] = value
        self.addCleanup(os.environ.pop, VARIABLE, None)

    def test_pkcs12(self):
        """With its issuer, without which the upstream could not verify it."""
        self.accepted("--cert", self.box, "--key-passphrase", self.word)
        plain = boxed(self.mine, self.path("plain.p12"), self.issuer.certificate, secret="")
        self.accepted("--cert", plain)
        self.refused("--cert", self.box, "--key-passphrase", self.wrong,
                     has=["--cert", "mine.p12", "passphrase of --key-passphrase"])
        self.refused("--cert", self.box, has=["mine.p12", "encrypted", "--key-passphrase"])

    def test_pkcs12_that_the_upstream_refuses(self):
        box = boxed(self.stranger, self.path("stranger.p12"))
        page, line = self.shown("--cert", box, "--key-passphrase", self.word)
        self.assertEqual(page, b"")
        self.assertEqual(line["reason"], "upstream_rejected_client_cert", line)

    def test_encrypted_pem(self):
        self.set_variable(SECRET)
        traditional = self.path("traditional.enc")
        openssl("ec", "-in", self.mine.key, "-aes128", "-out", traditional, "-passout",
                "pass:" + SECRET)
        for key in (self.key, traditional):
            for source in (self.word, "env:" + VARIABLE):
                with self.subTest(key=key, source=source):
                    self.accepted("--cert", self.chain, "--key", key, "--key-passphrase", source)
            self.refused("--cert", self.chain, "--key", key, "--key-passphrase", self.wrong,
                         has=["--key '", "passphrase of --key-passphrase does not open"])
            self.refused("--cert", self.chain, "--key", key,
                         has=["--key '", "encrypted", "with --key-passphrase"])

    def test_sources_of_passphrases(self):
        with_key = ("--cert", self.chain, "--key", self.key, "--key-passphrase")
        self.refused(*with_key, "file:" + self.path("nowhere"),
                     has=["--key-passphrase 'file:", "No such file"])
        self.refused(*with_key, "env:" + VARIABLE, has=["--key-passphrase", "no such variable"])
        self.set_variable("")
        self.refused(*with_key, "env:" + VARIABLE, has=["--key-passphrase", "empty"])
        for given in (SECRET, "pass:" + SECRET):  # the passphrase itself is not repeated
            self.refused(*with_key, given, has=["--key-passphrase", "file:PATH", "env:NAME"])

    def test_uris(self):
        self.accepted("--cert", "file:" + self.box, "--key-passphrase", self.word)
        self.accepted("--cert", "file:" + self.chain, "--key", "file:" + self.mine.key)
        self.accepted("--cert", self.chain, "--key", "file:" + self.key, "--key-passphrase",
                      self.word)
        self.refused("--cert", self.chain, "--key", "file:" + self.key, "--key-passphrase",
                     self.wrong, has=["--key 'file:", "passphrase of --key-passphrase"])
        self.refused("--cert", self.chain, "--key", "file:" + self.key,
                     has=["--key 'file:", "passphrase or PIN is needed", "--key-passphrase"])
        self.refused("--cert", self.chain, "--key", "file:" + self.stranger.key,
                     has=["--key 'file:", "does not match"])
        self.refused("--cert", self.chain, "--key", "nosuch:thing",
                     has=["--key 'nosuch:thing'", "provider", "openssl.cnf"])
        self.refused("--cert", self.chain, "--key", "pkcs11:object=x?pin-value=" + SECRET,
                     has=["--key", "pin-value", "--key-passphrase"])

    def test_fifos_and_devices(self):
        """At once: a start that waits for one would run into the time limit."""
        fifo = self.path("fifo")
        os.mkfifo(fifo)
        self.addCleanup(os.unlink, fifo)
        for value in (fifo, "file:" + fifo, "file://" + fifo):
            self.refused("--cert", value, "--key", self.mine.key, has=["--cert", "is a FIFO"])
            self.refused("--cert", self.chain, "--key", value, has=["--key", "is a FIFO"])
        self.refused("--cert", self.chain, "--key", self.key, "--key-passphrase", "file:" + fifo,
                     has=["--key-passphrase", "is a FIFO"])
        self.refused("--cert", "file:/dev/zero", "--key", self.mine.key,
                     has=["--cert", "is a device"])

    def test_order_of_a_chain(self):
        turned = concatenate(self.path("turned.pem"), self.mine.certificate, self.ca.certificate,
                             self.issuer.certificate)
        self.refused("--cert", turned, "--key", self.mine.key,
                     has=["turned.pem", "certificate 2 ('CN=Root') did not issue certificate 1"])
        whole = concatenate(self.path("whole.pem"), self.mine.certificate,
                            self.issuer.certificate, self.ca.certificate)
        self.accepted("--cert", whole, "--key", self.mine.key)


class Tokens(Upstreams):
    """PKCS#11, by SoftHSM and OpenSSL's provider for it."""

    PIN = "8642"

    def setUp(self):
        found = glob.glob("/usr/lib/*/ossl-modules/pkcs11.so") + glob.glob(
            "/usr/lib*/ossl-modules/pkcs11.so")
        if not found:
            self.skipTest("no pkcs11-provider (Debian has it from 13 on)")
        if SANITIZED:
            self.skipTest("SoftHSM and the provider do not give all memory back")
        self.util, tool = need("softhsm2-util"), need("pkcs11-tool")
        module = glob.glob("/usr/lib/softhsm/libsofthsm2.so") + glob.glob(
            "/usr/lib/*/softhsm/libsofthsm2.so")
        tokens = self.path("tokens")
        os.makedirs(tokens)
        self.addCleanup(shutil.rmtree, tokens)
        os.environ["SOFTHSM2_CONF"] = write(
            self.path("softhsm.conf"), f"directories.tokendir = {tokens}\nlog.level = ERROR\n")
        self.addCleanup(os.environ.pop, "SOFTHSM2_CONF", None)
        # no-deinit: SoftHSM's destructors run before OpenSSL's, which would call it again.
        self.config = write(self.path("provider.cnf"), (
            "openssl_conf = all\n[all]\nproviders = list\n[list]\ndefault = ours\n"
            "pkcs11 = token\n[ours]\nactivate = 1\n[token]\nactivate = 1\n"
            f"pkcs11-module-path = {module[0]}\npkcs11-module-quirks = no-deinit\n"))
        self.call(self.util, "--init-token", "--free", "--label", "esclusa", "--pin", self.PIN,
                  "--so-pin", "97531")
        pkcs8 = self.path("token.key")
        openssl("pkcs8", "-topk8", "-nocrypt", "-in", self.mine.key, "-out", pkcs8)
        self.call(self.util, "--import", pkcs8, "--token", "esclusa", "--label", "mine", "--id",
                  "01", "--pin", self.PIN)
        self.call(tool, "--module", module[0], "--login", "--pin", self.PIN, "--token-label",
                  "esclusa", "--write-object", self.der(self.mine.certificate), "--type", "cert",
                  "--label", "mine", "--id", "01")
        self.call(tool, "--module", module[0], "--login", "--pin", self.PIN, "--token-label",
                  "esclusa", "--write-object", self.der(self.issuer.certificate), "--type", "cert",
                  "--label", "issuer", "--id", "02")
        self.pin = "file:" + write(self.path("pin"), self.PIN + "\n")

    @contextlib.contextmanager
    def provider(self):
        """For the gateway alone: SoftHSM's own tools use OpenSSL too."""
        os.environ["OPENSSL_CONF"] = self.config
        try:
            yield
        finally:
            del os.environ["OPENSSL_CONF"]

    def gateway(self, *words, **settings):
        with self.provider():
            return super().gateway(*words, **settings)

    def refused(self, *options, **words):
        with self.provider():
            return super().refused(*options, **words)

    def der(self, certificate):
        openssl("x509", "-in", certificate, "-outform", "DER", "-out", certificate + ".der")
        return certificate + ".der"

    def call(self, *words):
        done = subprocess.run(words, capture_output=True, text=True, check=False,
                              stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, 0, f"{words}: {done.stdout}{done.stderr}")

    def test_key_in_a_token(self):
        key = "pkcs11:token=esclusa;object=mine;type=private"
        self.accepted("--cert", self.chain, "--key", key, "--key-passphrase", self.pin)
        self.refused("--cert", self.chain, "--key", key,
                     has=["--key 'pkcs11:", "PIN is needed", "--key-passphrase"])
        self.refused("--cert", self.chain, "--key", key, "--key-passphrase", self.wrong,
                     has=["--key 'pkcs11:", "passphrase of --key-passphrase"])
        self.refused("--cert", self.stranger.certificate, "--key", key, "--key-passphrase",
                     self.pin, has=["--key 'pkcs11:", "does not match"])

    def test_certificate_and_key_in_a_token(self):
        """The certificates of the token are put in order."""
        self.accepted("--cert", "pkcs11:token=esclusa", "--key-passphrase", self.pin)
        self.refused("--cert", "pkcs11:token=nosuch", "--key-passphrase", self.pin,
                     has=["--cert 'pkcs11:token=nosuch'", "certificate"])

    def test_listener_with_a_key_in_a_token(self):
        mine = self.ca.issue("hsm", key=self.mine.key)
        upstream = self.closing(Upstream(echo))
        gateway = self.gateway(
            upstream.url(), "--listen-cert", mine.certificate, "--listen-key",
            "pkcs11:token=esclusa;object=mine;type=private", "--listen-key-passphrase", self.pin,
            "--workers", "2", "--sandbox-write", self.path("tokens"), scheme="tls")
        for version in ("-tls1_2", "-tls1_3"):
            for _ in range(5):
                visit = self.s_client(gateway, version)
                self.assertEqual((visit.done, visit.subject), (True, "hsm"), visit.output)


# The methods of Upstreams run once.
for inherited in [name for name in dir(Upstreams) if name.startswith("test_")]:
    setattr(Tokens, inherited, None)


class Names(Peers):
    """SNI."""

    @classmethod
    def setUpClass(cls):
        need("openssl")
        cls.directory = tempfile.mkdtemp(prefix="esclusa-e2e-")
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)
        cls.ca = Authority(cls.directory, "Root")
        cls.leaves = [
            cls.ca.issue("one", san=["DNS:one.test"]),
            cls.ca.issue("one-rsa", san=["DNS:one.test"], kind="rsa"),
            cls.ca.issue("exact", san=["DNS:a.wild.test"]),
            cls.ca.issue("wild", san=["DNS:*.wild.test"]),
        ]

    def listener(self, *options, leaves=None):
        upstream = self.closing(Upstream(echo))
        words = []
        for leaf in leaves or self.leaves:
            words += ["--listen-cert", leaf.certificate, "--listen-key", leaf.key]
        return self.gateway(upstream.url(), *words, *options, scheme="tls", level="debug")

    def show(self, gateway, name, *options):
        sni = ["-servername", name] if name else ["-noservername"]
        visit = self.s_client(gateway, *sni, *options)
        self.assertTrue(visit.done, visit.output)
        return visit.subject

    def test_choice(self):
        gateway = self.listener()
        for version in ("-tls1_2", "-tls1_3"):
            for name, subject in {"one.test": "one", "ONE.TEST": "one", "a.wild.test": "exact",
                                  "b.wild.test": "wild", "a.b.wild.test": "one",
                                  "nobody.test": "one", None: "one"}.items():
                with self.subTest(version=version, name=name):
                    self.assertEqual(
                        self.show(gateway, name, version, "-sigalgs",
                                  "ECDSA+SHA256:RSA-PSS+SHA256:RSA+SHA256"), subject)

    def test_kinds_of_key(self):
        gateway = self.listener()
        rsa = ["-sigalgs", "RSA-PSS+SHA256:RSA+SHA256"]
        for version in ("-tls1_2", "-tls1_3"):
            for name in ("one.test", "nobody.test", None):
                with self.subTest(version=version, name=name):
                    self.assertEqual(self.show(gateway, name, version, *rsa), "one-rsa")
                    self.assertEqual(
                        self.show(gateway, name, version, "-sigalgs", "ECDSA+SHA256"), "one")
        self.assertEqual(self.show(gateway, "one.test", "-tls1_2", "-cipher",
                                   "ECDHE-RSA-AES128-GCM-SHA256"), "one-rsa")
        # The name is only on an EC certificate: nothing else is shown in its place.
        self.assertFalse(self.s_client(gateway, "-servername", "b.wild.test", *rsa).done)

    def test_strict(self):
        gateway = self.listener("--listen-sni-strict", "true")
        self.assertEqual(self.show(gateway, "one.test"), "one")
        self.assertEqual(self.show(gateway, "b.wild.test"), "wild")
        count = 2
        # RFC 8446 9.2: missing_extension; TLS 1.2 has none such, and says handshake_failure.
        for version, without in (("-tls1_2", 40), ("-tls1_3", 109)):
            visit = self.s_client(gateway, "-servername", "nobody.test", version)
            self.assertEqual((visit.done, visit.alert), (False, 112), visit.output)
            line = self.next_session(gateway, count)
            self.assertEqual(line["error"], "no certificate for the name 'nobody.test'", line)
            self.assertIn("--listen-sni-strict", line["remedy"])
            visit = self.s_client(gateway, "-noservername", version)
            self.assertEqual((visit.done, visit.alert), (False, without), visit.output)
            line = self.next_session(gateway, count + 1)
            self.assertIn("no SNI", line["error"])
            count += 2

    def test_resumption_with_the_same_name_only(self):
        gateway = self.listener()
        for version in ("-tls1_2", "-tls1_3"):
            saved = os.path.join(self.directory, "session" + version)
            first = self.program(
                need("openssl"), "s_client", "-connect", f"127.0.0.1:{gateway.address[1]}",
                "-servername", "one.test", version, "-sess_out", saved, stdin=subprocess.PIPE)
            first.type(b"hello\n")
            first.wait_output("\nhello\n")  # its tickets came before
            first.stop()
            for name, resumed in (("one.test", True), ("b.wild.test", False)):
                with self.subTest(version=version, name=name):
                    visit = self.s_client(gateway, "-servername", name, version, "-sess_in", saved)
                    self.assertEqual((visit.done, visit.resumed), (True, resumed), visit.output)


if __name__ == "__main__":
    unittest.main()
