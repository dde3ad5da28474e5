"""What the upstream's certificate must be beyond its chain: names, pins, strictness, TLSA records;
and chains that OpenSSL alone does not find. The upstream is `openssl s_server`."""

import os
import shutil
import ssl
import tempfile
import unittest

import pki
from harness import Case, free_port, need
from peers import Upstream, connect, name_of, stream_of
from test_reload import ConfigGateway, service, services

SAN = ("DNS:localhost", "DNS:*.wild.test", "IP:127.0.0.1", "URI:spiffe://td.test/ns/a")


class World:
    """Authorities and leaves that all tests share: made once."""

    def __init__(self, directory):
        self.directory = directory
        self.root = pki.Authority(directory, "Root")
        self.other = pki.Authority(directory, "Other Root")
        self.sub = pki.Authority(directory, "Sub", self.root)
        self.leaf = self.sub.issue("leaf", san=SAN)
        # OpenSSL verifies it, RFC 5280 strictness does not.
        self.sloppy = pki.Authority(directory, "Sloppy", self.root, usage=None)
        self.sloppy_leaf = self.sloppy.issue("sloppy-leaf", san=SAN)


WORLD = None


def setUpModule():
    global WORLD  # pylint: disable=global-statement
    directory = tempfile.mkdtemp(prefix="esclusa-e2e-")
    unittest.addModuleCleanup(shutil.rmtree, directory, ignore_errors=True)
    WORLD = World(directory)


class Verify(Case):
    def s_server(self, leaf, *issuers, options=()):
        """Gives lines back in reverse; sends the leaf and these behind it. Returns its port."""
        port = free_port()
        words = ["-accept", f"127.0.0.1:{port}", "-cert", leaf.certificate, "-key", leaf.key,
                 "-rev", "-no-CAfile", "-no-CApath", "-no-CAstore", *options]
        if issuers:
            words += ["-cert_chain", pki.concatenate(
                f"{WORLD.directory}/sent-{port}", *(each.certificate for each in issuers))]
        self.program(need("openssl"), "s_server", *words).wait_output("ACCEPT")
        return port

    def trusting(self, port, *options, ca=None):
        return self.gateway(f"tls://127.0.0.1:{port}", "--ca", (ca or WORLD.root).certificate,
                            *options)

    def accept(self, gateway):
        """One session that passes; its line."""
        consumer = self.closing(connect(gateway.address))
        consumer.send(b"drawer\n")
        self.assertEqual(consumer.read_exactly(7), b"reward\n", gateway.log_text())
        consumer.end()
        consumer.read_all()
        return gateway.wait_session(name_of(consumer))

    def refuse(self, gateway, **words):
        """One that is refused; its line, which holds these words."""
        consumer = self.closing(connect(gateway.address))
        consumer.offer(b"secret\n")
        self.assertEqual(consumer.read_all(), stream_of(b"", "reset"), gateway.log_text())
        line = gateway.wait_session(name_of(consumer))
        self.assertEqual(line["reason"], words.pop("reason", "upstream_verify_failed"), line)
        for field, word in words.items():
            self.assertIn(word, str(line.get(field)), line)
        return line


class Names(Verify):
    def setUp(self):
        self.port = self.s_server(WORLD.leaf, WORLD.sub)

    def test_each_kind(self):
        for good, bad in (("localhost", "elsewhere.test"), ("a.wild.test", "a.b.wild.test"),
                          ("127.0.0.1", "127.0.0.2"),
                          ("spiffe://td.test/ns/a", "spiffe://td.test/ns/b")):
            with self.subTest(good=good):
                # Whatever the certificate bears, the server's name is not what is asked for.
                line = self.accept(self.trusting(
                    self.port, "--server-name", "sni.test", "--verify-names", good))
                self.assertNotIn("would_refuse", line)
            with self.subTest(bad=bad):
                self.refuse(
                    self.trusting(self.port, "--server-name", "localhost", "--verify-names", bad),
                    expected=bad, error="mismatch", names="DNS:localhost", remedy="--verify-names")

    def test_one_of_several(self):
        self.accept(self.trusting(self.port, "--verify-names", "elsewhere.test", "--verify-names",
                                  "spiffe://td.test/ns/a"))
        self.refuse(self.trusting(self.port, "--verify-names", "elsewhere.test", "--verify-names",
                                  "spiffe://td.test/ns/b"),
                    expected="elsewhere.test or spiffe://td.test/ns/b")

    def test_server_name_alone(self):
        """Without names of their own the server's name is the one."""
        self.accept(self.trusting(self.port, "--server-name", "localhost"))
        self.refuse(self.trusting(self.port, "--server-name", "sni.test"), expected="sni.test",
                    remedy="--server-name")

    def test_sni_is_what_server_name_says(self):
        """Neither setting changes the other."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(WORLD.leaf.chain(WORLD.sub), WORLD.leaf.key)
        for server_name, name, sni in (("sni.test", "localhost", "sni.test"),
                                       ("127.0.0.1", "localhost", None),
                                       ("localhost", "127.0.0.1", "localhost"),
                                       ("localhost", "spiffe://td.test/ns/a", "localhost")):
            with self.subTest(server_name=server_name, name=name):
                upstream = self.closing(Upstream(
                    lambda peer: (peer.send(b"hello"), peer.end(), peer.read_all())[2], context))
                gateway = self.trusting(upstream.port, "--server-name", server_name,
                                        "--verify-names", name)
                consumer = self.closing(connect(gateway.address))
                self.assertEqual(consumer.read_all(), stream_of(b"hello"), gateway.log_text())
                consumer.end()
                upstream.result()
                self.assertEqual(upstream.server_names, [sni])

    def test_report(self):
        gateway = self.trusting(self.port, "--verify-names", "elsewhere.test", "--names-policy",
                                "report")
        line = self.accept(gateway)
        self.assertEqual(line["would_refuse"], "names: the certificate bears DNS:localhost, "
                         "DNS:*.wild.test, IP:127.0.0.1, URI:spiffe://td.test/ns/a, not "
                         "DNS:elsewhere.test")
        # The chain is no matter of names.
        self.refuse(self.trusting(self.port, "--names-policy", "report", ca=WORLD.other))


class Pins(Verify):
    def setUp(self):
        self.port = self.s_server(WORLD.leaf, WORLD.sub)

    def test_at_any_position(self):
        for holder in (WORLD.leaf, WORLD.sub, WORLD.root):
            with self.subTest(holder=holder.certificate):
                line = self.accept(self.trusting(self.port, "--pins",
                                                 pki.pin(holder.certificate)))
                self.assertNotIn("would_refuse", line)

    def test_refused(self):
        line = self.refuse(
            self.trusting(self.port, "--pins", pki.pin(WORLD.other.certificate)),
            error="no certificate of the chain has a pinned key", remedy="--pins")
        # To be copied from there.
        self.assertIn(pki.pin(WORLD.leaf.certificate), line["remedy"])

    def test_rotation(self):
        pins = ("--pins", pki.pin(WORLD.other.certificate), "--pins",
                pki.pin(WORLD.leaf.certificate))
        self.accept(self.trusting(self.port, *pins))
        renewed = WORLD.sub.issue("renewed", san=SAN)
        self.refuse(self.trusting(self.s_server(renewed, WORLD.sub), *pins))

    def test_never_instead_of_verification(self):
        pins = ("--pins", pki.pin(WORLD.leaf.certificate))
        self.refuse(self.trusting(self.port, *pins, ca=WORLD.other), error="issuer")
        self.refuse(self.trusting(self.port, *pins, "--server-name", "elsewhere.test"),
                    error="mismatch")

    def test_report(self):
        gateway = self.trusting(self.port, "--pins", pki.pin(WORLD.other.certificate),
                                "--pins-policy", "report")
        for _ in range(2):
            line = self.accept(gateway)
            self.assertIn("pins: no certificate of the chain has a pinned key",
                          line["would_refuse"])


class Strictness(Verify):
    def setUp(self):
        self.port = self.s_server(WORLD.sloppy_leaf, WORLD.sloppy)

    def test_report_is_the_default_and_told_once(self):
        gateway = self.trusting(self.port)
        line = self.accept(gateway)
        self.assertIn("x509_strict: ", line["would_refuse"])
        self.assertIn("'CN=Sloppy'", line["would_refuse"])
        for _ in range(2):
            self.assertNotIn("would_refuse", self.accept(gateway))

    def test_off(self):
        self.assertNotIn("would_refuse", self.accept(self.trusting(self.port, "--x509-strict",
                                                                   "off")))

    def test_on(self):
        self.refuse(self.trusting(self.port, "--x509-strict", "on"), subject="CN=Sloppy",
                    remedy="RFC 5280")
        good = self.s_server(WORLD.leaf, WORLD.sub)
        self.assertNotIn("would_refuse", self.accept(self.trusting(good, "--x509-strict", "on")))


class Dane(Verify):
    def setUp(self):
        self.port = self.s_server(WORLD.leaf, WORLD.sub, WORLD.root)

    def with_record(self, *record, ca=None, options=()):
        return self.trusting(self.port, "--tlsa", pki.tlsa(*record), *options, ca=ca)

    def alone(self, *record, port=None, options=()):
        """No --ca: the record takes the place of the system's store, which has nothing of ours."""
        return self.gateway(f"tls://127.0.0.1:{port or self.port}", "--tlsa", pki.tlsa(*record),
                            *options)

    def test_dane_ee(self):
        """3 1 1 without a CA: the key alone; and still the name."""
        leaf = WORLD.leaf.certificate
        self.refuse(self.gateway(f"tls://127.0.0.1:{self.port}"))
        self.accept(self.alone(3, 1, 1, leaf))
        line = self.refuse(self.alone(3, 1, 1, WORLD.sloppy_leaf.certificate),
                           error="TLSA", remedy="--tlsa")
        self.assertIn(pki.tlsa(3, 1, 1, leaf), line["remedy"])
        self.refuse(self.alone(3, 1, 1, leaf, options=("--server-name", "elsewhere.test")),
                    error="mismatch")

    def test_dane_ta(self):
        """2 0 1 without a CA: this CA alone."""
        self.accept(self.alone(2, 0, 1, WORLD.root.certificate))
        self.refuse(self.alone(2, 0, 1, WORLD.other.certificate))

    def test_with_a_ca_both_must_hold(self):
        for record in ((3, 1, 1, WORLD.leaf.certificate), (2, 0, 1, WORLD.root.certificate)):
            with self.subTest(record=record):
                self.accept(self.with_record(*record))
                self.refuse(self.with_record(*record, ca=WORLD.other), remedy="--ca")
        self.refuse(self.with_record(3, 1, 1, WORLD.sloppy_leaf.certificate), error="TLSA")
        self.refuse(self.with_record(2, 0, 1, WORLD.other.certificate), error="TLSA")

    def test_an_expired_leaf(self):
        """RFC 7671 5.1: its dates do not count where the record is all the trust there is."""
        leaf = WORLD.sub.issue("expired", san=SAN, begin=-10, days=-2)
        port = self.s_server(leaf, WORLD.sub)
        self.accept(self.alone(3, 1, 1, leaf.certificate, port=port))
        self.refuse(self.trusting(port, "--tlsa", pki.tlsa(3, 1, 1, leaf.certificate)),
                    error="expired")

    def test_lists_count(self):
        """A record does not switch off --crl."""
        root = pki.Authority(self.scratch(), "Lists")
        leaf, gone = root.issue("leaf", san=SAN), root.issue("gone", san=SAN)
        root.revoke(gone)
        current, old = root.crl(), root.crl("old.crl", begin=-9, days=-1)
        other = WORLD.other.crl()
        good, bad = self.s_server(leaf, root), self.s_server(gone, root)
        for usage, of in ((3, None), (2, root)):
            for ca in ((), ("--ca", root.certificate)):
                with self.subTest(usage=usage, ca=ca):
                    def visit(check, port, leaf, crl, **words):
                        check(self.alone(usage, 0, 1, (of or leaf).certificate, port=port,
                                         options=("--crl", crl, *ca)), **words)
                    visit(self.accept, good, leaf, current)
                    visit(self.refuse, bad, gone, current, reason="upstream_revoked",
                          error="revoked", remedy="was revoked at")
                    visit(self.refuse, good, leaf, old, reason="upstream_revoked",
                          error="CRL has expired")
                    visit(self.refuse, good, leaf, other, reason="upstream_revoked",
                          error="unable to get certificate CRL", remedy="of 'CN=Lists'")

    def test_reload(self):
        """A record in place of the system's store is less; on top of a CA it is not."""
        listen, record = free_port(), f'tlsa = "{pki.tlsa(3, 1, 1, WORLD.leaf.certificate)}";'
        upstream, ca = f"tls://127.0.0.1:{self.port}", f'ca = "{WORLD.other.certificate}";'
        gateway = ConfigGateway(self.scratch(), services(service("a", listen, upstream)),
                                "--sandbox-read", os.path.dirname(WORLD.other.certificate))
        self.addCleanup(gateway.stop)
        gateway.address = ("127.0.0.1", listen)
        gateway.write(services(service("a", listen, upstream, record)))
        self.assertIn("allow_weaker", gateway.reload("reload_failed")["remedy"])
        self.refuse(gateway)
        gateway.write(services(service("a", listen, upstream, record, ca)))
        gateway.reload()
        self.refuse(gateway)
        gateway.write("allow_weaker = true;\n" + services(service("a", listen, upstream, record)))
        gateway.reload()
        self.accept(gateway)

    def test_pkix_ee(self):
        """1 1 1: the key, on top of the CAs."""
        leaf = WORLD.leaf.certificate
        self.accept(self.with_record(1, 1, 1, leaf))
        self.refuse(self.with_record(1, 1, 1, leaf, ca=WORLD.other))
        self.refuse(self.with_record(1, 1, 1, WORLD.sloppy_leaf.certificate), error="TLSA")

    def test_rotation(self):
        self.accept(self.trusting(
            self.port, "--tlsa", "3 1 1 " + 32 * "00", "--tlsa",
            pki.tlsa(3, 1, 1, WORLD.leaf.certificate)))


class Chains(Verify):
    """The first path that OpenSSL takes fails; another one leads to an anchor."""

    def twice(self, name, first, second):
        """One CA, certified by two; and a leaf of it."""
        directory = self.scratch()
        one = pki.Authority(directory, name, first, file="one")
        two = pki.Authority(directory, name, second, file="two", key=one.key)
        return one, two, one.issue("leaf", san=SAN)

    def test_expired_cross_signer_first(self):
        old = pki.Authority(self.scratch(), "Old", WORLD.root, begin=-20, days=-1)
        crossed, direct, leaf = self.twice("Twice", old, WORLD.root)
        port = self.s_server(leaf, crossed, old, direct)
        self.accept(self.trusting(port))
        # Without the second way there is none.
        self.refuse(self.trusting(self.s_server(leaf, crossed, old)), error="expired",
                    subject="CN=Old", depth="2")

    def test_unknown_cross_signer_first(self):
        crossed, direct, leaf = self.twice("Twice", WORLD.other, WORLD.root)
        port = self.s_server(leaf, crossed, WORLD.other, direct)
        self.accept(self.trusting(port))
        self.accept(self.trusting(port, ca=WORLD.other))
        self.refuse(self.trusting(self.s_server(leaf, crossed, WORLD.other)))

    def test_wrong_one_of_two_issuers(self):
        """Both of one name, and no key identifier in the leaf to tell them apart."""
        directory = self.scratch()
        wrong = pki.Authority(directory, "Twin", WORLD.root, file="wrong")
        right = pki.Authority(directory, "Twin", WORLD.root, file="right")
        leaf = right.issue("leaf", san=SAN, key_id=False)
        self.accept(self.trusting(self.s_server(leaf, wrong, right)))
        self.refuse(self.trusting(self.s_server(leaf, wrong)), error="signature")

    def test_no_path_verifies(self):
        """The other path is complete, but a full verification refuses it."""
        old = pki.Authority(self.scratch(), "Old", WORLD.root, begin=-20, days=-1)
        bound = pki.Authority(self.scratch(), "Bound", WORLD.root,
                              extensions=["nameConstraints = critical,permitted;DNS:in.test"])
        crossed, direct, leaf = self.twice("Twice", old, bound)
        port = self.s_server(leaf, crossed, old, direct, bound)
        self.refuse(self.trusting(port), error="expired", subject="CN=Old")

    def test_pinned_root_behind_a_trusted_intermediate(self):
        """OpenSSL stops at the first certificate that is trusted."""
        both = pki.concatenate(f"{self.scratch()}/ca.pem", WORLD.sub.certificate,
                               WORLD.root.certificate)
        port = self.s_server(WORLD.leaf, WORLD.sub)
        self.accept(self.gateway(f"tls://127.0.0.1:{port}", "--ca", both, "--pins",
                                 pki.pin(WORLD.root.certificate)))


class BreakGlass(Verify):
    def test_anything_passes(self):
        """insecure_skip_verify is a word of the file alone."""
        self_made = pki.Authority(self.scratch(), "Nobody").issue(
            "expired", san=("DNS:elsewhere.test",), begin=-20, days=-1)
        port = self.s_server(self_made)
        for word, passes in (("true", True), ("false", False)):
            with self.subTest(word=word):
                listen = free_port()
                gateway = ConfigGateway(self.scratch(), services(service(
                    "glass", listen, f"tls://127.0.0.1:{port}",
                    f'ca = "{WORLD.root.certificate}";', f"insecure_skip_verify = {word};")))
                self.addCleanup(gateway.stop)
                gateway.address = ("127.0.0.1", listen)
                if passes:
                    self.accept(gateway)
                else:
                    self.refuse(gateway)


if __name__ == "__main__":
    unittest.main()
