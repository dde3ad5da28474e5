#!/usr/bin/env python3
"""The image, as far as that goes without an engine: the Containerfile's words lead somewhere, what
it copies is enough to configure the build, and the root that it makes serves: read-only, without
privileges, as the user of the image. Its RUN lines are not run in a Debian of their own here."""
import os
import re
import signal
import socket
import stat
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

import scratch_root
from common import BUILD, CERTS, CMAKE, ROOT, run, said, version

FILE = ROOT / "dist/container/Containerfile"
UID = 65532


def instructions():
    text = FILE.read_text(encoding="utf-8").replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines()
            if line and not line.startswith("#")]


def values(name):
    return [value for word, value in instructions() if word == name]


def copied():
    """(sources, destination) of what comes from the sources."""
    for value in values("COPY"):
        words = value.split()
        if not words[0].startswith("--from"):
            yield words[:-1], words[-1]


class Containerfile(unittest.TestCase):

    def test_words(self):
        known = {"ARG", "FROM", "WORKDIR", "COPY", "RUN", "USER", "EXPOSE", "STOPSIGNAL",
                 "ENTRYPOINT", "CMD"}
        self.assertEqual({word for word, _ in instructions()} - known, set())
        self.assertEqual(values("USER"), [f"{UID}:{UID}"])
        self.assertEqual(values("FROM")[-1], "scratch")
        self.assertEqual(values("STOPSIGNAL"), ["SIGTERM"])
        self.assertTrue(values("ENTRYPOINT")[0].startswith('["/usr/bin/esclusa"'))

    def test_what_it_copies_is_there(self):
        for sources, _ in copied():
            for source in sources:
                self.assertTrue((ROOT / source).exists(), source)
        for script in re.findall(r"\b(?:scripts|dist)/\S+\.sh", " ".join(values("RUN"))):
            self.assertTrue(os.access(ROOT / script, os.X_OK), script)

    def test_what_it_copies_is_enough(self):
        """To configure the build, and for ninja to find whatever it would read."""
        with tempfile.TemporaryDirectory() as scratch:
            for sources, destination in copied():
                for source in sources:
                    target = Path(scratch) / destination
                    if (ROOT / source).is_file():
                        target = target / source if destination.endswith("/") else target
                        target.parent.mkdir(parents=True, exist_ok=True)
                        target.write_bytes((ROOT / source).read_bytes())
                    elif not target.exists():
                        run("cp", "-r", ROOT / source, target)
                    else:
                        run("cp", "-rT", ROOT / source, target)
            (configure,) = [line for line in values("RUN") if "--preset" in line]
            done = run(CMAKE, *configure.split()[1:], cwd=scratch)
            self.assertEqual(done.returncode, 0, said(done))
            done = run("ninja", "-n", "-C", "build/release", cwd=scratch)
            self.assertEqual(done.returncode, 0, said(done))
            self.assertNotIn("missing and no known rule", done.stdout)
            # All that is installed is made by the build, or there.
            for name in re.findall(r'FILES "([^"]*)"', (
                    Path(scratch) / "build/release/cmake_install.cmake").read_text()):
                if name.startswith(scratch) and "/build/" not in name:
                    self.assertTrue(Path(name).exists(), name)


def stage(folder):
    """As the Containerfile does it."""
    done = run(CMAKE, "--install", BUILD, "--prefix", "/usr", "--component", "program",
               env=dict(os.environ, DESTDIR=str(folder / "staged")))
    assert done.returncode == 0, said(done)


class Root(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.base = FOLDER
        cls.root = cls.base / "image"
        done = run(ROOT / "dist/container/runtime-root.sh", cls.base / "staged", cls.root)
        assert done.returncode == 0, said(done)
        # What an engine brings.
        (cls.root / "etc/hosts").write_text("127.0.0.1 localhost\n", encoding="utf-8")
        for name in ("server.pem", "server.key"):
            target = cls.root / "etc/esclusa" / name
            target.write_bytes((CERTS / name).read_bytes())
        (cls.root / "etc/esclusa/esclusa.cfg").write_text("""
            log_format = "json";
            services = ({ name = "x"; listen = "tls://127.0.0.1:8443";
                          listen_cert = "/etc/esclusa/server.pem"; connect = "localhost:8444";
                          listen_key = "/etc/esclusa/server.key"; });
        """, encoding="utf-8")
        # The upstream's authority is one of the system store: so that is read, too.
        with open(cls.root / "etc/ssl/certs/ca-certificates.crt", "ab") as store:
            store.write((CERTS / "ca.pem").read_bytes())
        subprocess.run(["chown", "-R", f"0:{UID}", cls.root / "etc/esclusa"], check=True)
        (cls.root / "etc/esclusa/server.key").chmod(0o440)
        subprocess.run(["mount", "--bind", cls.root, cls.root], check=True)
        subprocess.run(["mount", "-t", "proc", "proc", cls.root / "proc"], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro,nosuid,nodev", cls.root], check=True)

    def enter(self, *words):
        """In the root, as the user of the image: the change of user drops all capabilities."""
        return ["env", "-i", "setpriv", "--no-new-privs", "/usr/sbin/chroot",
                f"--userspec={UID}:{UID}", "--groups=", str(self.root), *words]

    def test_it_starts(self):
        done = run(*self.enter("/usr/bin/esclusa", "--version"))
        self.assertIn(f"esclusa {version()} ", done.stdout, said(done))
        done = run(*self.enter("/usr/bin/esclusa", "check", "--connect", "example.com:443",
                               "--listen", "1"))
        self.assertIn("against system store", done.stdout, said(done))

    def test_nothing_else_is_in_it(self):
        programs = [file for file in self.root.rglob("*")
                    if not file.is_relative_to(self.root / "proc") and file.is_file()
                    and not file.is_symlink() and file.stat().st_mode & 0o111
                    and ".so" not in file.name]
        self.assertEqual(programs, [self.root / "usr/bin/esclusa"])
        for file in self.root.rglob("*"):
            if not file.is_relative_to(self.root / "proc") and not file.is_symlink():
                mode = file.stat().st_mode
                self.assertFalse(mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IWOTH), file)

    def test_scanners_find_the_packages(self):
        folder = self.root / "var/lib/dpkg/status.d"
        self.assertIn("libc6", {file.name for file in folder.iterdir()})
        for file in folder.iterdir():
            self.assertRegex(file.read_text(encoding="utf-8"), r"(?m)^Version: \S+")
            self.assertTrue((self.root / "usr/share/doc" / file.name / "copyright").is_file())

    def test_it_serves(self):
        """TLS in, a name resolved, verified TLS out; then the engine's stop signal."""
        upstream = subprocess.Popen(
            ["openssl", "s_server", "-accept", "127.0.0.1:8444", "-www", "-cert",
             str(CERTS / "server.pem"), "-key", str(CERTS / "server.key")],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(lambda: (upstream.kill(), upstream.wait()))
        with open(self.base / "log", "wb") as log:
            gateway = subprocess.Popen(
                self.enter("/usr/bin/esclusa", "--config", "/etc/esclusa/esclusa.cfg"),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.addCleanup(lambda: (gateway.kill(), gateway.wait()))
        for port in (8443, 8444):
            self.wait_for(port)
        done = run("curl", "-sS", "--noproxy", "*", "--max-time", "20", "--cacert",
                   CERTS / "ca.pem", "https://localhost:8443/")
        said_by_it = (self.base / "log").read_text(encoding="utf-8")
        self.assertIn("s_server", done.stdout, said(done) + said_by_it)
        gateway.send_signal(signal.SIGTERM)
        self.assertEqual(gateway.wait(30), 0)

    def wait_for(self, port):
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
                return
            except OSError:
                self.assertLess(time.monotonic(), deadline, (self.base / "log").read_text())
                time.sleep(0.05)


if __name__ == "__main__":
    FOLDER = scratch_root.enter(stage)
    unittest.main()
