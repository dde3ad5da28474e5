"""The command line: one clear line for what is wrong, the exit status, nothing half-started."""

import os
import socket
import subprocess
import unittest

from harness import ESCLUSA, STEP, Case, certificate, free_port, key

UP = "tls://127.0.0.1:1"
WRONG, CANNOT = 2, 1


def run(*words):
    return subprocess.run([ESCLUSA, *map(str, words)], capture_output=True, text=True,
                          timeout=STEP, stdin=subprocess.DEVNULL, check=False)


class BadInput(Case):
    def fails(self, status, mention, *words):
        """Exits with that status and one line on stderr that has every word of mention in it."""
        done = run(*words)
        lines = done.stderr.splitlines()
        self.assertEqual((done.returncode, len(lines)), (status, 1), f"{words}: {done.stderr!r}")
        for wanted in [mention] if isinstance(mention, str) else mention:
            self.assertIn(wanted, lines[0], words)
        self.assertEqual(done.stdout, "")

    def test_wrong_words(self):
        for words, mention in {
                (): "--listen",
                ("--listen", "127.0.0.1:0", "--connect", UP): ("--listen", "0"),
                ("--listen", "127.0.0.1:65536", "--connect", UP): ("--listen", "65536"),
                ("--listen", "127.0.0.1:http", "--connect", UP): ("--listen", "http"),
                ("--listen", "127.0.0.1:-1", "--connect", UP): "--listen",
                ("--listen", "::1:80", "--connect", UP): ("--listen", "["),
                ("--listen", ":80", "--connect", UP): "--listen",
                ("--listen", "", "--connect", UP): "--listen",
                ("--listen", "127.0.0.1:80x", "--connect", UP): "--listen",
                ("--listen", "8080"): "--connect",
                ("--connect", UP): "--listen",
                ("--listen", "8080", "--connect"): "--connect",
                ("--listen", "8080", "--connect", "localhost"): "--connect",
                ("--listen", "8080", "--connect", "tls://localhost:0"): "--connect",
                ("--listen", "8080", "--connect", "tls://:443"): "--connect",
                ("--listen", "8080", "--connect", "http://localhost:80"): ("--connect", "http"),
                ("--listen", "udp://127.0.0.1:53", "--connect", UP): ("udp", "not supported"),
                ("--listen", "8080", "--connect", "dtls://localhost:53"): ("dtls", "not supported"),
                ("--listen", "8080", "--connect", "udp://localhost:53"): ("udp", "not supported"),
                ("--listen", "8080", "--connect", UP, "--tls-min", "1.1"): ("--tls-min", "1.1"),
                ("--listen", "8080", "--connect", UP, "--tls-min", "1.3", "--tls-max", "1.2"):
                    "--tls-min",
                ("--listen", "8080", "--connect", UP, "--workers", "0"): ("--workers", "0"),
                ("--listen", "8080", "--connect", UP, "--workers", "many"): ("--workers", "many"),
                ("--listen", "8080", "--connect", UP, "--backlog", "0"): "--backlog",
                ("--listen", "8080", "--connect", UP, "--idle-timeout", "5"): "--idle-timeout",
                ("--listen", "8080", "--connect", UP, "--idle-timeout", "-5s"): "--idle-timeout",
                ("--listen", "8080", "--connect", UP, "--connect-timeout", "5 parsecs"):
                    ("--connect-timeout", "parsecs"),
                ("--listen", "8080", "--connect", UP, "--log-level", "loud"):
                    ("--log-level", "loud"),
                ("--listen", "8080", "--connect", UP, "--half-close", "maybe"): "--half-close",
                ("--listen", "8080", "--connect", UP, "--conect", UP): "--connect",
                ("--listen", "8080", "--connect", UP, "--nonsense"): "--nonsense",
                ("--listen", "8080", "--connect", UP, "stray"): "stray",
                ("--listen", "8080", "--connect", UP, "--server-name", "a b"): "--server-name",
                ("--listen", "tls://127.0.0.1:8080", "--connect", UP): "--listen-cert",
                ("--listen", "unix:", "--connect", UP): "--listen",
                ("--listen", "unix:/" + "x" * 200, "--connect", UP): "--listen",
        }.items():
            with self.subTest(words=words):
                self.fails(WRONG, mention, *words)

    def test_newlines_in_words_do_not_make_more_lines(self):
        self.fails(WRONG, "--listen", "--listen", "a\nb:80", "--connect", UP)
        self.fails(WRONG, "stray", "--listen", "8080", "--connect", UP, "stray\nline\x1b[31m")

    def test_files(self):
        directory = self.scratch()
        empty, garbage = f"{directory}/empty.pem", f"{directory}/garbage.pem"
        open(empty, "wb").close()
        with open(garbage, "wb") as out:
            out.write(b"-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----\n")
        base = ("--listen", free_port(), "--connect", UP)
        good = certificate("client"), key("client")
        for words, mention in {
                ("--ca", "/nonexistent.pem"): ("--ca", "/nonexistent.pem"),
                ("--ca", directory): "--ca",
                ("--ca", empty): ("--ca", empty),
                ("--ca", garbage): ("--ca", garbage),
                ("--ca-dir", "/nonexistent"): "--ca-dir",
                ("--ca-dir", empty): "--ca-dir",
                ("--cert", "/nonexistent.pem", "--key", good[1]): ("--cert", "/nonexistent.pem"),
                ("--cert", good[0], "--key", "/nonexistent.key"): ("--key", "/nonexistent.key"),
                ("--cert", good[0], "--key", key("client-other")): "--key",
                ("--cert", garbage, "--key", good[1]): ("--cert", garbage),
                ("--cert", good[0], "--key", good[0]): "--key",
                ("--cert", certificate("expired"), "--key", key("expired")): ("--cert", "expired"),
                ("--key", good[1]): "--cert",
        }.items():
            with self.subTest(words=words):
                self.fails(WRONG, mention, *base, *words)

    def test_text_of_a_key(self):
        """Given in the place of its file's name: nothing repeats it."""
        with open(key("client"), encoding="ascii") as file:
            text = file.read()
        line = text.splitlines()[1]
        config = os.path.join(self.scratch(), "gateway.cfg")
        good = ("--listen", free_port(), "--connect", UP, "--cert", certificate("client"))
        for value in (text, line, text.replace("\n", "\\n")):
            for check in ((), ("check",)):
                self.secret_kept(line, "--key '...': this is not a path", *check, *good, "--key",
                                 value)
            with open(config, "w", encoding="ascii") as file:
                file.write(f'services = ( {{ name = "a"; listen = "1"; connect = "{UP}";\n'
                           f'cert = "{certificate("client")}";\nkey = "')
                file.write(value.replace("\\n", "\n").replace("\n", "\\n") + '"; } );\n')
            self.secret_kept(line, f"{config}:3: key '...': this is not a path", "check",
                             "--config", config)

    def secret_kept(self, secret, mention, *words):
        done = run(*words)
        self.assertEqual((done.returncode, done.stdout), (WRONG, ""), done.stderr)
        self.assertIn(mention, done.stderr)
        self.assertNotIn(secret[:16], done.stderr)

    def test_fifos(self):
        """What a shell makes of <(...) is one too."""
        fifo = os.path.join(self.scratch(), "fifo")
        os.mkfifo(fifo)
        good = ("check", "--listen", free_port(), "--connect", UP)
        for option in ("--ca", "--crl"):
            self.fails(WRONG, (option, "is a FIFO, a regular file"), *good, option, fifo)
        self.fails(WRONG, ("--config", "is a FIFO"), "check", "--config", fifo)
        self.fails(WRONG, ("--config", "is a device"), "check", "--config", "/dev/zero")
        done = subprocess.run(
            ["bash", "-c", '"$0" check --config <(echo) 2>&1', ESCLUSA], capture_output=True,
            text=True, timeout=STEP, stdin=subprocess.DEVNULL, check=False)
        self.assertEqual(done.returncode, WRONG, done)
        self.assertIn("is a FIFO", done.stdout)

    def test_listener_files(self):
        base = ("--listen", f"tls://127.0.0.1:{free_port()}", "--connect", UP)
        good = ("--listen-cert", certificate("server"), "--listen-key", key("server"))
        for words, mention in {
                ("--listen-cert", certificate("server"), "--listen-key", key("client")):
                    "--listen-key",
                ("--listen-cert", "/nonexistent.pem", "--listen-key", key("server")):
                    "--listen-cert",
                (*good, "--listen-ca", "/nonexistent.pem"): "--listen-ca",
        }.items():
            with self.subTest(words=words):
                self.fails(WRONG, mention, *base, *words)

    @unittest.skipIf(os.geteuid() == 0, "root reads every file")
    def test_unreadable_file(self):
        path = os.path.join(self.scratch(), "secret.key")
        with open(key("client"), "rb") as source, open(path, "wb") as out:
            out.write(source.read())
        os.chmod(path, 0)
        self.fails(WRONG, ("--key", path), "--listen", free_port(), "--connect", UP, "--cert",
                   certificate("client"), "--key", path)

    def test_taken_port(self):
        """Status 1, and the listeners before the taken one are not left behind."""
        taken = self.closing(socket.socket())
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        directory = self.scratch()
        self.fails(CANNOT, (str(port), "listens there"), "--listen", f"unix:{directory}/first",
                   "--listen", f"127.0.0.1:{port}", "--connect", UP, "--log-level", "error")
        self.assertEqual(os.listdir(directory), [])

    def test_address_not_of_this_machine(self):
        self.fails(CANNOT, "192.0.2.1", "--listen", "192.0.2.1:8080", "--connect", UP,
                   "--log-level", "error")


class Commands(Case):
    def test_help(self):
        done = run("--help")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for option in ("--listen", "--connect", "--ca", "--cert", "--key", "--server-name",
                       "--listen-cert", "--listen-key", "--listen-ca", "--tls-min", "--tls-max",
                       "--backlog", "--workers", "--connect-timeout", "--handshake-timeout",
                       "--idle-timeout", "--half-closed-timeout", "--drain-timeout",
                       "--half-close", "--missing-close-notify", "--log-level", "--log-format",
                       "check"):
            self.assertIn(option, done.stdout)
        self.assertLessEqual(max(map(len, done.stdout.splitlines())), 100)

    def test_version(self):
        done = run("--version")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("esclusa", done.stdout)
        self.assertIn("OpenSSL", done.stdout)

    def test_check(self):
        port = free_port()
        done = run("check", "--listen", port, "--connect", "localhost:443", "--ca",
                   certificate("ca"), "--idle-timeout", "90s")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for word in (f"127.0.0.1:{port}", "tls://localhost:443", certificate("ca")):
            self.assertIn(word, done.stdout)

    def test_check_does_not_bind(self):
        taken = self.closing(socket.socket())
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run("check", "--listen", taken.getsockname()[1], "--connect", UP)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_check_fails_as_a_start_would(self):
        done = run("check", "--listen", "8080", "--connect", UP, "--ca", "/nonexistent.pem")
        self.assertEqual((done.returncode, len(done.stderr.splitlines())), (WRONG, 1))

    def test_equals_sign_and_letters(self):
        done = run("check", f"--listen={free_port()}", "-c", "localhost:443", "--log-format=json")
        self.assertEqual(done.returncode, 0, done.stderr)


class Starting(Case):
    def test_start_up_lines(self):
        """One a listener: from where, to where, verified against what."""
        first, second = free_port(), free_port()
        gateway = self.gateway("localhost:443", "--ca", certificate("ca"), listen=[
            str(first), f"[::1]:{second}"])
        listening = [line for line in gateway.lines() if line["event"] == "listening"]
        self.assertEqual(len(listening), 2)
        for line, port in zip(listening, (f"127.0.0.1:{first}", f"[::1]:{second}")):
            text = " ".join(map(str, line.values()))
            self.assertIn(port, text)
            self.assertIn("tls://localhost:443", text)
            self.assertIn("ca.pem", text)


if __name__ == "__main__":
    unittest.main()
