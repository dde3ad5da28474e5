"""What a running gateway's memory and its log hold of private keys and passphrases."""

import os
import re
import shutil
import ssl
import tempfile
import unittest

from pki import Authority, openssl
from harness import SANITIZED, Case, need
from peers import Upstream, connect, echo, name_of

WORD = "Zwei+Esel_tragen$Kies"
PAYLOAD = b"Nobody-else-reads-this-0815"


def scalar(key):
    """The private number of an EC key, as its 32 bytes."""
    text = openssl("pkey", "-in", key, "-noout", "-text").decode()
    digits = re.search(r"priv:\n((?:\s+[0-9a-f:]+\n)+)", text).group(1)
    return bytes.fromhex(re.sub(r"[^0-9a-f]", "", digits))[-32:].rjust(32, b"\0")


def regions(pid):
    """(begin, end, flags) of what is mapped, writable and not of a device."""
    found = []
    with open(f"/proc/{pid}/smaps", encoding="ascii") as smaps:
        for line in smaps:
            head = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) ", line)
            if head:
                at, rights = (int(head[1], 16), int(head[2], 16)), head[3]
            elif line.startswith("VmFlags:") and rights.startswith("rw"):
                found.append((*at, line.split()[1:]))
    return found


class Memory:
    def __init__(self, pid):
        self.parts = []
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            for begin, end, flags in regions(pid):
                memory.seek(begin)
                data = bytearray()
                while len(data) < end - begin:
                    more = memory.read(min(end - begin - len(data), 1 << 20))
                    if not more:
                        break
                    data += more
                self.parts.append((flags, bytes(data)))

    def holding(self, secret):
        """The flags of each region that has it."""
        return [flags for flags, data in self.parts if secret in data]


@unittest.skipIf(SANITIZED, "a sanitizer's own memory is terabytes of shadow, and keeps what is freed")
class Secrets(Case):
    @classmethod
    def setUpClass(cls):
        need("openssl")
        cls.directory = tempfile.mkdtemp(prefix="esclusa-e2e-")
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)
        cls.ca = Authority(cls.directory, "Root")
        cls.leaf = cls.ca.issue("leaf")
        cls.mine = cls.ca.issue("mine", san=())
        cls.sealed = os.path.join(cls.directory, "sealed")
        openssl("pkcs8", "-topk8", "-in", cls.mine.key, "-out", cls.sealed, "-passout",
                "pass:" + WORD)
        cls.word = os.path.join(cls.directory, "word")
        with open(cls.word, "w", encoding="ascii") as file:
            file.write(WORD + "\n")

    def after_a_session(self, *identity):
        """A gateway at debug level that has shown its certificate once, and its memory."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.leaf.certificate, self.leaf.key)
        context.load_verify_locations(self.ca.certificate)
        context.verify_mode = ssl.CERT_REQUIRED
        upstream = self.closing(Upstream(echo, context))
        gateway = self.gateway(upstream.url("localhost"), "--ca", self.ca.certificate, "--cert",
                               self.mine.certificate, "--core-dumps", "true", *identity, level="debug")
        consumer = connect(gateway.address)
        consumer.send(PAYLOAD)
        self.assertEqual(consumer.read_exactly(len(PAYLOAD)), PAYLOAD)
        consumer.end()
        consumer.read_all()
        gateway.wait_session(name_of(consumer))
        return gateway

    def check(self, gateway):
        try:
            memory = Memory(gateway.pid)
        except PermissionError:
            self.skipTest("another process' memory cannot be read here")
        number = scalar(self.mine.key)
        places = memory.holding(number) + memory.holding(number[::-1])
        self.assertTrue(places, "the key is somewhere")
        for flags in places:
            self.assertIn("dd", flags, "out of cores: the key is in ordinary memory")
        said = gateway.wait_log(lambda line: line["event"] == "secret_memory")
        if said["locked"]:
            for flags in places:
                self.assertIn("lo", flags, "locked")
        self.assertEqual(memory.holding(WORD.encode()), [])
        with open(self.mine.key, encoding="ascii") as file:
            for line in file.read().splitlines()[1:-1]:
                self.assertEqual(memory.holding(line.encode()), [], "the text of the key")
        log = gateway.log_text()
        for secret in (WORD, PAYLOAD.decode(), number.hex()):
            self.assertNotIn(secret, log)

    def test_a_key(self):
        self.check(self.after_a_session("--key", self.mine.key))

    def test_an_encrypted_key(self):
        self.check(self.after_a_session("--key", self.sealed, "--key-passphrase",
                                        "file:" + self.word))


if __name__ == "__main__":
    unittest.main()
