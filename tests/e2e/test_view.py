"""`esclusa why`, against a running gateway and against what is none."""

import json
import os
import shutil
import socket
import subprocess
import threading
import unittest

from admin import AdminCase
from harness import ESCLUSA, STEP, certificate, free_port, until
from peers import Upstream, connect, echo, name_of, server_context


def view(*words, **settings):
    return subprocess.run([settings.pop("program", ESCLUSA), *map(str, words)], timeout=STEP, text=True,
                          capture_output=True, check=False, stdin=subprocess.DEVNULL, **settings)


class Liar:
    """Answers every request with the same bytes; the address is self.address."""

    def __init__(self, answer):
        self.answer = answer
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                link, _ = self.listener.accept()
            except OSError:
                return
            with link:
                link.settimeout(STEP)
                try:
                    link.recv(4096)
                    link.sendall(self.answer)
                except OSError:
                    pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(STEP)


def http(body):
    return b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


class Why(AdminCase):
    def admin_text(self):
        return ":".join(map(str, self.admin)) if isinstance(self.admin, tuple) else "unix:" + self.admin

    def fail(self, gateway):
        """One session that fails: its line of the log."""
        consumer = self.closing(connect(gateway.address))
        consumer.read_all()
        return gateway.wait_session(name_of(consumer))

    def test_refused_port_untrusted_and_wrong_name(self):
        upstream = self.closing(Upstream(echo, server_context()))
        for connect_to, options, phase, words in (
                (f"tls://127.0.0.1:{free_port()}", (), "connect", ("refused",)),
                (upstream.url(), (), "upstream_handshake", ("chain sent", "subject", "issuer")),
                (upstream.url(), ("--ca", certificate("ca"), "--server-name", "other.test"),
                 "upstream_handshake", ("expected     ", "other.test", "names        "))):
            gateway = self.start(connect_to, *options)
            line = self.fail(gateway)
            done = view("why", "--admin", self.admin_text())
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            row = next(row for row in done.stdout.splitlines() if row.startswith(f"{line['id']} "))
            for word in (line["reason"], phase, line["upstream"]):
                self.assertIn(word, row)
            done = view("why", line["id"], "--admin", self.admin_text())
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            shown = done.stdout
            for word in (f"session      {line['id']}\n", f"phase        {phase}\n",
                         f"reason       {line['reason']}: ", *words):
                self.assertIn(word, shown)
            if line.get("remedy"):
                self.assertIn("remedy       " + line["remedy"].replace("\\\"", "\"")[:20], shown)

    def test_alert(self):
        """An upstream that wants a certificate says so with an alert."""
        context = server_context(client_ca="ca")
        upstream = self.closing(Upstream(echo, context))
        gateway = self.start(upstream.url(), "--ca", certificate("ca"), "--server-name", "localhost",
                             "--tls-max", "1.2")
        line = self.fail(gateway)
        shown = view("why", line["id"], "--admin", self.admin_text()).stdout
        self.assertRegex(shown, r"\nalert        \d+ \([a-z_]+\), sent by the peer\n")

    def test_json_and_unix(self):
        gateway = self.start(f"tcp://127.0.0.1:{free_port()}", admin=self.scratch() + "/admin")
        empty = view("why", "--admin", self.admin_text())
        self.assertEqual((empty.returncode, empty.stdout),
                         (0, "no session has failed since the gateway started\n"))
        line = self.fail(gateway)
        done = view("why", line["id"], "--json", "--admin=" + self.admin_text())
        self.assertEqual(done.returncode, 0, done.stderr)
        (one,) = json.loads(done.stdout)["failures"]
        self.assertEqual((one["id"], one["reason"]), (line["id"], line["reason"]))
        self.assertEqual(one, self.get("/failures")["failures"][0])

    def test_abstract_socket(self):
        name = f"esclusa-view-{os.getpid()}"
        self.start(f"tcp://127.0.0.1:{free_port()}", admin="@" + name)
        self.assertEqual(view("why", "--admin", "unix:@" + name).returncode, 0)

    def test_unknown_id(self):
        self.start(f"tcp://127.0.0.1:{free_port()}")
        done = view("why", 77, "--admin", self.admin_text())
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("no session with this id", done.stderr)


class Away(AdminCase):
    def said(self, *words, status=1, **settings):
        done = view(*words, **settings)
        self.assertEqual((done.returncode, done.stdout), (status, ""), done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        return done.stderr

    def test_nobody_there(self):
        port = free_port()
        self.assertIn(f"cannot reach 127.0.0.1:{port}: ", self.said("why", "--admin", port))
        path = self.scratch() + "/none"
        self.assertIn(f"cannot reach unix:{path}: ", self.said("why", "--admin", "unix:" + path))

    def test_wrong_words(self):
        self.assertIn("--admin is missing", self.said("why", status=2))
        self.assertIn("is no address", self.said("why", "--admin", "http://x/", status=2))

    def test_proxy_is_not_asked(self):
        """What the environment says of proxies would lead elsewhere."""
        self.start(f"tcp://127.0.0.1:{free_port()}")
        environment = {**os.environ, "http_proxy": f"http://127.0.0.1:{free_port()}",
                       "ALL_PROXY": f"http://127.0.0.1:{free_port()}"}
        done = view("why", "--admin", f"{self.admin[0]}:{self.admin[1]}", env=environment)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_not_an_admin_endpoint(self):
        for body in (b"<html>\x1b[2J", b"{}", b"[1]"):
            liar = self.closing(Liar(http(body)))
            told = self.said("why", "--admin", liar.address)
            self.assertIn("is it esclusa's admin endpoint?", told)
            self.assertNotIn("\x1b", told)
        liar = self.closing(Liar(b"\x1b[31mSSH-2.0\r\n"))
        self.assertNotIn("\x1b", self.said("why", "--admin", liar.address))

    def test_control_characters(self):
        body = json.dumps({"total": 1, "failures": [
            {"id": 1, "reason": "a\x1b[2J", "error": "b\x9b2J\x07", "remedy": "c\nd",
             "chain": ["e\x1b]0;f\x07"]}]}).encode()
        liar = self.closing(Liar(http(body)))
        for words in ((), (1,), ("--json",)):
            shown = view("why", *words, "--admin", liar.address).stdout
            self.assertTrue(shown)
            self.assertEqual([c for c in shown if c != "\n" and not " " <= c <= "~"], [])
            self.assertNotIn("\nd", shown)

    def test_endless_answer(self):
        """16 MiB, and no more."""
        liar = self.closing(Liar(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(17 << 20)))
        self.assertIn("larger than 16 MiB", self.said("why", "--admin", liar.address))

    def test_silent(self):
        silent = self.closing(socket.create_server(("127.0.0.1", 0)))
        port = silent.getsockname()[1]
        self.assertIn(f"cannot reach 127.0.0.1:{port}: ", self.said("why", "--admin", port))

    def test_view_is_not_installed(self):
        alone = shutil.copy(ESCLUSA, self.scratch())
        told = self.said("why", "--admin", 1, program=alone)
        self.assertIn("esclusa-view", told)
        self.assertIn("install", told)


if __name__ == "__main__":
    unittest.main()
