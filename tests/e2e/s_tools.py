"""openssl s_server and s_client as peers of the gateway, for the tests of what TLS sides show each
other and agree on."""

import re
import subprocess

from harness import ESCLUSA, STEP, Case, free_port, need, until
from peers import connect, name_of


def run(*words):
    """The gateway, for starts that must fail."""
    return subprocess.run([ESCLUSA, *map(str, words)], capture_output=True, text=True,
                          timeout=STEP, stdin=subprocess.DEVNULL, check=False)


class Visit:
    """What s_client said."""

    def __init__(self, done):
        self.output = done.stdout + done.stderr
        self.done = done.returncode == 0

    def _find(self, pattern):
        found = re.search(pattern, self.output)
        return found.group(1) if found else None

    @property
    def subject(self):
        """The common name of the certificate that the gateway showed."""
        return self._find(r"subject=.*?CN ?= ?([^,\n]+)")

    @property
    def alert(self):
        number = self._find(r"SSL alert number (\d+)")
        return int(number) if number else None

    @property
    def cipher(self):
        return self._find(r"Cipher is (\S+)")

    @property
    def version(self):
        return self._find(r"New, (TLSv1\.\d), Cipher is")

    @property
    def alpn(self):
        return self._find(r"ALPN protocol: (.+)")

    @property
    def resumed(self):
        return "\nReused, " in self.output


class Peers(Case):
    """leaf: what s_server shows; ca: what is trusted. Both are set by the class that uses this."""

    ca = leaf = None

    def s_server(self, *options, leaf=None):
        """Serves a page. The program and its port."""
        port, leaf = free_port(), leaf or self.leaf
        program = self.program(
            need("openssl"), "s_server", "-accept", f"127.0.0.1:{port}", "-cert", leaf.certificate,
            "-key", leaf.key, "-www", *options)
        program.wait_output("ACCEPT")
        return program, port

    def s_client(self, gateway, *options):
        """One line for the gateway, from a consumer that verifies it."""
        host, port = gateway.address
        done = subprocess.run(
            [need("openssl"), "s_client", "-connect", f"{host}:{port}", "-CAfile",
             self.ca.certificate, "-verify_return_error", *map(str, options)],
            capture_output=True, text=True, errors="backslashreplace", timeout=STEP,
            input="hello\n", check=False)
        return Visit(done)

    def fetch(self, gateway):
        """Asks the upstream for its page, and waits for the session's line. (page, line); the page
        is empty if the consumer was reset."""
        page = b""
        consumer = self.closing(connect(gateway.address))
        consumer.offer(b"GET / HTTP/1.0\r\n\r\n")
        try:
            while data := consumer.recv():
                page += data
        except ConnectionResetError:
            pass
        consumer.close()
        return page, gateway.wait_session(name_of(consumer))

    def next_session(self, gateway, before):
        """The line of the session that ended after `before` others."""
        until(lambda: len(gateway.sessions()) > before, what="the session's line")
        return gateway.sessions()[before]

    def refused_start(self, *words, **wanted):
        """Exit 2 and one line on stderr that has each of these words in it, in any order."""
        done = run(*words)
        lines = done.stderr.splitlines()
        self.assertEqual((done.returncode, len(lines)), (2, 1), f"{words}: {done.stderr!r}")
        for word in wanted.get("has", ()):
            self.assertIn(word, lines[0])
        for word in wanted.get("never", ()):
            self.assertNotIn(word, done.stderr)
        return lines[0]
