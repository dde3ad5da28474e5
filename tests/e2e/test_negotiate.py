"""Groups, ciphers, signature algorithms, security level, ALPN and versions: both sides, accepting
and refusing, against openssl s_server and s_client; and values that do not start."""

import shutil
import tempfile
import unittest

from pki import Authority
from harness import free_port, need
from peers import Upstream, echo
from s_tools import Peers

# Option; its value; what the peer allows that still works, and what the log says then; what the
# peer allows that cannot work.
UPSTREAM = {
    "groups": ("P-384:P-521", ["-groups", "P-256:P-384"], {"group": "secp384r1"},
               ["-groups", "P-256"]),
    "ciphers": ("ECDHE-ECDSA-AES256-GCM-SHA384", ["-tls1_2"],
                {"cipher": "ECDHE-ECDSA-AES256-GCM-SHA384"},
                ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"]),
    "ciphersuites": ("TLS_CHACHA20_POLY1305_SHA256", ["-tls1_3"],
                     {"cipher": "TLS_CHACHA20_POLY1305_SHA256"},
                     ["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"]),
    "sigalgs": ("ECDSA+SHA256", [], {}, ["-sigalgs", "ECDSA+SHA384", "-tls1_2"]),
    # The group has 112 bits, level 3 wants 128.
    "security-level": ("3", ["-groups", "P-256"], {"group": "secp256r1"},
                       ["-tls1_3", "-groups", "ffdhe2048"]),
    "tls-min": ("1.3", ["-tls1_3"], {"tls_version": "TLSv1.3"}, ["-tls1_2"]),
    "tls-max": ("1.2", [], {"tls_version": "TLSv1.2"}, ["-tls1_3"]),
    "alpn": ("http/1.1", ["-alpn", "h2,http/1.1"], {"alpn": "http/1.1"}, ["-alpn", "h2"]),
}
# The same with the sides exchanged, but for what the peer is told to allow under tls-min.
LISTENER = {**UPSTREAM, "tls-min": ("1.3", [], {"tls_version": "TLSv1.3"}, ["-tls1_2"])}
# Option; a value that is refused at the start; words of the error.
WRONG = {
    "groups": ("X25519:NOSUCH", ["'NOSUCH'", "group"]),
    "ciphers": ("HIGH:NOSUCH", ["'NOSUCH'", "cipher"]),
    "ciphersuites": ("TLS_NOSUCH", ["'TLS_NOSUCH'", "ciphersuite"]),
    "sigalgs": ("ECDSA+SHA256:NOSUCH", ["'NOSUCH'", "signature algorithm"]),
    "security-level": ("6", ["6"]),
    "tls-min": ("1.4", ["1.4"]),
    "tls-max": ("1.1", ["1.1"]),
    "alpn": ("x" * 256, ["255"]),
}


class Negotiate(Peers):
    @classmethod
    def setUpClass(cls):
        need("openssl")
        directory = tempfile.mkdtemp(prefix="esclusa-e2e-")
        cls.addClassCleanup(shutil.rmtree, directory, ignore_errors=True)
        cls.ca = Authority(directory, "Root")
        cls.leaf = cls.ca.issue("leaf")

    # ---- upstream ----

    def upstream(self, server_options, *options):
        _, port = self.s_server(*server_options)
        gateway = self.gateway(f"127.0.0.1:{port}", "--ca", self.ca.certificate, "--server-name",
                               "localhost", *options)
        page, line = self.fetch(gateway)
        return page, line

    def test_upstream(self):
        for option, (value, good, fields, bad) in UPSTREAM.items():
            with self.subTest(option=option, what="accepted"):
                page, line = self.upstream(good, f"--{option}", value)
                self.assertIn(b"s_server -accept", page, line)
                for field, wanted in fields.items():
                    self.assertEqual(line[field], wanted, line)
            with self.subTest(option=option, what="refused"):
                page, line = self.upstream(bad, f"--{option}", value)
                self.assertEqual(page, b"", line)
                self.assertTrue(line["reason"].startswith("upstream_"), line)
                self.assertEqual(line["phase"], "upstream_handshake", line)
            with self.subTest(option=option, what="without the option"):
                page, line = self.upstream(bad)  # or it was not the option that refused
                self.assertIn(b"s_server -accept", page, line)

    # ---- listener ----

    def listener(self, *options):
        # At "debug", for a consumer that says nothing counts as a probe.
        upstream = self.closing(Upstream(echo))
        return self.gateway(upstream.url(), "--listen-cert", self.leaf.certificate, "--listen-key",
                            self.leaf.key, *options, scheme="tls", level="debug")

    def test_listener(self):
        for option, (value, good, fields, bad) in LISTENER.items():
            gateway = self.listener(f"--listen-{option}", value)
            with self.subTest(option=option, what="accepted"):
                visit = self.s_client(gateway, *good)
                self.assertTrue(visit.done, visit.output)
                line = self.next_session(gateway, 0)
                for field, wanted in fields.items():
                    self.assertEqual(line["consumer_" + field], wanted, line)
            with self.subTest(option=option, what="refused"):
                visit = self.s_client(gateway, *bad)
                self.assertFalse(visit.done, visit.output)
                line = self.next_session(gateway, 1)
                self.assertEqual(line["phase"], "consumer_handshake", line)
            with self.subTest(option=option, what="without the option"):
                visit = self.s_client(self.listener(), *bad)
                self.assertTrue(visit.done, visit.output)

    def test_alpn_of_consumers(self):
        gateway = self.listener("--listen-alpn", "h2", "--listen-alpn", "http/1.1")
        self.assertEqual(self.s_client(gateway, "-alpn", "http/1.1,h2").alpn, "h2")
        visit = self.s_client(gateway)  # one without ALPN is served
        self.assertTrue(visit.done, visit.output)
        visit = self.s_client(gateway, "-alpn", "redis,imap")
        self.assertEqual(visit.alert, 120, visit.output)
        line = self.next_session(gateway, 2)
        self.assertIn("the consumer offers redis, imap, we take h2, http/1.1", line["error"])
        self.assertIn("--listen-alpn", line["remedy"])

    def test_tls_min_and_max_hold_for_both_sides(self):
        """The words without listen- are the listener's too, unless it has its own."""
        gateway = self.listener("--tls-min", "1.3")
        self.assertFalse(self.s_client(gateway, "-tls1_2").done)
        gateway = self.listener("--tls-max", "1.2")
        self.assertFalse(self.s_client(gateway, "-tls1_3").done)
        self.assertEqual(self.s_client(gateway).version, "TLSv1.2")
        gateway = self.gateway("tls://127.0.0.1:1", "--ca", self.ca.certificate, "--listen-cert",
                               self.leaf.certificate, "--listen-key", self.leaf.key, "--tls-min",
                               "1.3", "--listen-tls-min", "1.2", scheme="tls")
        self.assertEqual(self.s_client(gateway, "-tls1_2").version, "TLSv1.2")

    # ---- mistakes ----

    def test_wrong_values(self):
        where = ("--listen", f"tls://127.0.0.1:{free_port()}", "--listen-cert",
                 self.leaf.certificate, "--listen-key", self.leaf.key, "--connect",
                 "tls://127.0.0.1:1", "--ca", self.ca.certificate)
        for option, (value, words) in WRONG.items():
            for word in (f"--{option}", f"--listen-{option}"):
                with self.subTest(option=word):
                    self.refused_start(*where, word, value, has=[word, *words])

    def test_contradictions(self):
        where = ("--listen", free_port(), "--connect", "tls://127.0.0.1:1", "--ca",
                 self.ca.certificate)
        self.refused_start(*where, "--tls-min", "1.3", "--tls-max", "1.2",
                           has=["--tls-min", "--tls-max"])
        self.refused_start(*where, "--tls-min", "1.3", "--ciphers", "HIGH",
                           has=["--ciphers", "--tls-min"])
        self.refused_start(*where, "--tls-max", "1.2", "--ciphersuites", "TLS_AES_128_GCM_SHA256",
                           has=["--ciphersuites", "--tls-max"])
        self.refused_start(*where, "--ciphers", "ALL@SECLEVEL=0",
                           has=["--ciphers", "--security-level"])


if __name__ == "__main__":
    unittest.main()
