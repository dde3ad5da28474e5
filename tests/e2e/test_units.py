"""dist/systemd: what systemd says of the units, and that they leave esclusa what it needs. No
systemd runs here; its tools judge the files."""

import os
import re
import shutil
import signal
import subprocess
import unittest

from harness import CERTS, ESCLUSA, SANITIZED, Case, free_port, need
from peers import Upstream, connect, echo, server_context
from test_reload import service, services
from test_upgrade import Upgraded

DIST = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../dist/systemd")
DOCS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/operations.md")
OLD = ("Failed to parse service type, ignoring: notify-reload",)  # before systemd 253


def read(name):
    with open(os.path.join(DIST, name), encoding="utf-8") as file:
        return file.read()


def settings(text, name):
    return re.findall(rf"^{name}=(.*)$", text, re.MULTILINE)


class Units(Case):
    def setUp(self):
        if shutil.which("systemd-analyze") is None:
            self.skipTest("systemd-analyze is not here: package systemd")
        self.version = int(re.search(r"systemd (\d+)", self.said("--version")).group(1))
        self.directory = self.scratch()
        for name in os.listdir(DIST):
            with open(os.path.join(self.directory, name), "w", encoding="utf-8") as file:
                file.write(read(name).replace("/usr/bin/esclusa", os.path.realpath(ESCLUSA)))

    @staticmethod
    def said(*arguments, environment=None):
        done = subprocess.run([need("systemd-analyze"), "--no-pager", *arguments], check=False,
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=60, env=dict(os.environ, **(environment or {})))
        if done.returncode != 0:
            raise AssertionError(done.stdout)
        return done.stdout

    def complaints(self, *units):
        paths = [os.path.join(self.directory, unit) for unit in units]
        text = self.said("verify", "--man=no", *paths,
                         environment={"SYSTEMD_UNIT_PATH": self.directory + ":"})
        return [line for line in text.splitlines() if self.directory in line or "esclusa" in line]

    def test_verify(self):
        units = ("esclusa.service", "esclusa.socket", "esclusa@one.service")
        shutil.copy(os.path.join(self.directory, "esclusa@.service"),
                    os.path.join(self.directory, "esclusa@one.service"))
        left = [line for line in self.complaints(*units)
                if self.version >= 253 or not line.endswith(OLD)]
        self.assertEqual(left, [])

    def test_drop_in_for_older_ones(self):
        """With it `systemctl reload` works, and readiness counts, before 253 too."""
        beside = os.path.join(self.directory, "esclusa.service.d")
        os.mkdir(beside)
        shutil.copy(os.path.join(self.directory, "before-253.conf"), beside)
        left = [line for line in self.complaints("esclusa.service") if not line.endswith(OLD)]
        self.assertEqual(left, [])
        text = read("before-253.conf")
        self.assertEqual(settings(text, "Type"), ["notify"])
        self.assertEqual(settings(text, "ExecReload"), ["kill -HUP $MAINPID"])

    def test_a_fault_is_found(self):
        """The tool would tell: so that silence says something."""
        path = os.path.join(self.directory, "esclusa.service")
        with open(path, "a", encoding="utf-8") as file:
            file.write("[Service]\nProtectSytem=strict\n")
        self.assertTrue(any("ProtectSytem" in line for line in self.complaints("esclusa.service")))

    def test_security(self):
        """The score that docs/operations.md quotes, with the systemd of Debian 12."""
        with open(DOCS, encoding="utf-8") as file:
            quoted = float(re.search(r"`systemd-analyze security`: (\d\.\d)", file.read()).group(1))
        for unit in ("esclusa.service", "esclusa@.service"):
            text = self.said("security", "--offline=yes",
                             os.path.join(self.directory, unit))
            score = float(re.search(r"Overall exposure level for .*: (\d+\.\d)", text).group(1))
            self.assertLessEqual(score, quoted + (0 if self.version == 252 else 0.3), text)

    def test_template_is_the_service(self):
        """One of the two is not mended alone."""
        def directives(name):
            return [line for line in read(name).splitlines() if line and line[0] not in "#["]
        one, other = directives("esclusa.service"), directives("esclusa@.service")
        different = [(a, b) for a, b in zip(one, other) if a != b]
        self.assertEqual(len(one), len(other))
        self.assertEqual({a.split("=")[0] for a, _ in different},
                         {"Description", "ExecStart", "RuntimeDirectory"})

    def allowed(self):
        """System calls that the unit's SystemCallFilter= lets through."""
        groups, name = {}, None
        for line in self.said("syscall-filter").splitlines():
            line = re.sub(r"\x1b\[[0-9;]*m", "", line)
            if line.startswith("@"):
                name = line.split()[0]
                groups[name] = set()
            elif name and line.startswith(" ") and not line.strip().startswith("#"):
                groups[name].add(line.strip())

        def expand(word):
            if not word.startswith("@"):
                return {word}
            return set().union(*(expand(inner) for inner in groups[word]))

        found = expand("@default")
        for value in settings(read("esclusa.service"), "SystemCallFilter"):
            named = set().union(*(expand(word) for word in value.lstrip("~").split()))
            found = found - named if value.startswith("~") else found | named
        return found

    def test_system_calls(self):
        """Start, serve, reload, upgrade, stop: with no call that the unit forbids."""
        if SANITIZED:
            self.skipTest("sanitizers make calls of their own")
        if shutil.which("strace") is None or subprocess.run(
                ["strace", "-o", "/dev/null", "true"], check=False).returncode != 0:
            self.skipTest("strace is not here, or may not trace")
        ca = f'ca = "{CERTS}/ca.pem"; server_name = "localhost";'
        upstream, port = self.closing(Upstream(echo, server_context())), free_port()
        trace = os.path.join(self.scratch(), "trace")
        gateway = Upgraded(self.scratch(),
                           services(service("one", port, upstream.url("localhost"), ca)),
                           prefix=["strace", "-f", "-o", trace])
        self.addCleanup(shutil.rmtree, gateway.directory, ignore_errors=True)
        with open(f"/proc/{gateway.pid}/task/{gateway.pid}/children", encoding="ascii") as file:
            gateway.pid = int(file.read().split()[0])
        for what in (gateway.reload, gateway.upgrade, lambda: None):
            consumer = connect(("127.0.0.1", port))
            consumer.send(b"x")
            self.assertEqual(consumer.read_exactly(1), b"x")
            consumer.close()
            what()
        gateway.signal(signal.SIGTERM)
        gateway.process.wait(60)
        with open(trace, encoding="utf-8", errors="replace") as file:
            called = set(re.findall(r"^\d+ +(\w+)\(", file.read(), re.MULTILINE))
        self.assertIn("accept4", called)
        self.assertIn("execve", called)
        self.assertEqual(called - self.allowed(), set())


if __name__ == "__main__":
    unittest.main()
