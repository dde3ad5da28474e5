#!/usr/bin/env python3
"""The Debian package: made, looked into, installed in a scratch root, its service run as the unit
says, upgraded, removed, purged.

No systemd runs here (in test_service.py one does): that the unit is enabled is seen by its link, and
the test starts the unit's command itself, as the unit's user."""
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
import unittest
from pathlib import Path

import scratch_root
from common import run, said, version
from package import CONFIG, NEW, OLD, UNIT, Upstream, get, make_newer, make_package, until

LINK = "etc/systemd/system/multi-user.target.wants/esclusa.service"
# What dpkg, the loader, man and the like keep of their own, and what making a user leaves behind.
KEPT_BY_OTHERS = re.compile(
    r"/var/lib/(dpkg|systemd)/|/var/cache/|/var/log/|/etc/ld\.so\.cache|/etc/\.pwd\.lock"
    r"|/etc/(passwd|group|shadow|gshadow|subuid|subgid)-?$")


def unit_values(text, key):
    return re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)


class Service:
    """The unit's command, as its user, without privileges; ready when it tells systemd so."""

    def __init__(self, root):
        text = root.text(UNIT)
        command = shlex.split(unit_values(text, "ExecStart")[-1])
        user = unit_values(text, "User")[-1]
        notify = (unit_values(text, "Type") or ["simple"])[-1].startswith("notify")
        self.log_path = root.base / "service.log"
        runtime = root.path / "run/esclusa"
        runtime.mkdir(exist_ok=True)
        root.run("chown", f"{user}:", "/run/esclusa")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(20)
        path = root.path / "run/notify"
        path.unlink(missing_ok=True)
        self.socket.bind(str(path))
        path.chmod(0o777)
        words = root.command("env", *(["NOTIFY_SOCKET=/run/notify"] if notify else []), "setpriv",
                             f"--reuid={user}", f"--regid={user}", "--clear-groups",
                             "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all", *command)
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if notify:
            assert b"READY=1" in self.socket.recv(4096)
        until(lambda: "listening" in self.log(), f"it listens; log: {self.log()}")

    def log(self):
        return self.log_path.read_text(encoding="utf-8")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(30)
        self.socket.close()
        return status


class Contents(unittest.TestCase):
    """Without installing it."""

    @classmethod
    def setUpClass(cls):
        cls.tree = PACKAGES / "tree"
        assert run("dpkg-deb", "-R", PACKAGE, cls.tree).returncode == 0

    def field(self, name):
        return run("dpkg-deb", "-f", PACKAGE, name).stdout.strip()

    def test_control(self):
        self.assertEqual(self.field("Package"), "esclusa")
        self.assertEqual(self.field("Version"), OLD)
        for library in ("libssl3", "libconfig", "libc6", "ca-certificates", "libcurl4",
                        "libjansson4", "libncursesw6"):
            self.assertRegex(self.field("Depends"), rf"\b{library}")
        self.assertNotRegex(self.field("Depends"), r"cmocka|asan|-dev\b")

    def test_conffiles_are_exactly_what_is_below_etc(self):
        listed = (self.tree / "DEBIAN/conffiles").read_text(encoding="utf-8").split()
        there = ["/" + str(file.relative_to(self.tree)) for file in (self.tree / "etc").rglob("*")
                 if file.is_file()]
        self.assertEqual(sorted(listed), sorted(there))

    def test_scripts_are_sound(self):
        for name in ("postinst", "prerm", "postrm"):
            script = self.tree / "DEBIAN" / name
            self.assertEqual(script.stat().st_mode & 0o777, 0o755)
            self.assertEqual(run("sh", "-n", script).returncode, 0)

    def test_what_is_in_it(self):
        for name in ("usr/bin/esclusa", UNIT, CONFIG, "usr/share/man/man1/esclusa.1.gz",
                     "usr/share/man/man5/esclusa.cfg.5.gz", "usr/lib/sysusers.d/esclusa.conf",
                     "usr/share/bash-completion/completions/esclusa",
                     "usr/share/doc/esclusa/copyright", "usr/share/doc/esclusa/operations.md",
                     "usr/share/doc/esclusa/examples/minimal.cfg"):
            self.assertTrue((self.tree / name).is_file(), name)
        self.assertFalse((self.tree / "usr/local").exists())
        self.assertNotIn(b"esclusa-generate", b"".join(
            str(file).encode() for file in self.tree.rglob("*")))

    def test_owners_and_modes(self):
        for line in run("dpkg-deb", "-c", PACKAGE).stdout.splitlines():
            mode, owner = line.split()[:2]
            self.assertEqual(owner, "root/root", line)
            self.assertIn(mode, ("drwxr-xr-x", "-rwxr-xr-x", "-rw-r--r--"), line)

    def test_paths_in_texts_are_those_of_the_package(self):
        for file in (self.tree / UNIT, self.tree / CONFIG):
            self.assertNotIn("/usr/local", file.read_text(encoding="utf-8"))
        self.assertIn("--config /etc/esclusa/esclusa.cfg",
                      (self.tree / UNIT).read_text(encoding="utf-8"))

    def test_lintian(self):
        """Errors; the build that is tested may lack the hardening of a release."""
        done = run("lintian", "--allow-root", "--fail-on", "error", PACKAGE)
        self.assertEqual(done.returncode, 0, said(done))


class Life(unittest.TestCase):
    """In the order of their names: one package's life."""

    @classmethod
    def setUpClass(cls):
        cls.root = scratch_root.ScratchRoot(PACKAGES / "root")
        cls.root.put(PACKAGE, "tmp/old.deb")
        cls.root.put(make_newer(PACKAGE, PACKAGES), "tmp/new.deb")
        # invoke-rc.d(8): nothing may be started by an installation, whatever this machine runs.
        (cls.root.path / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n",
                                                            encoding="utf-8")
        (cls.root.path / "usr/sbin/policy-rc.d").chmod(0o755)
        # man-db's index of all pages takes seconds each time (its postinst asks for this file).
        (cls.root.path / "var/lib/man-db/auto-update").unlink(missing_ok=True)
        cls.upstream = Upstream(cls.root, PACKAGES / "upstream")
        cls.before = cls.root.changed()

    @classmethod
    def tearDownClass(cls):
        cls.upstream.stop()

    def dpkg(self, *words, expected=()):
        done = self.root.run("dpkg", "--force-unsafe-io", *words)
        self.assertEqual(done.returncode, 0, said(done))
        complaints = [line for line in done.stderr.splitlines()
                      if re.search("(?i)warning|error|cannot|fail", line)]
        self.assertEqual(complaints, list(expected), said(done))

    def state(self):
        return self.root.run("dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}",
                             "esclusa").stdout

    def is_there(self, path):
        """Also a link that leads nowhere."""
        return os.path.lexists(self.root.path / path)

    def has_user(self):
        return self.root.run("getent", "passwd", "esclusa").stdout

    def test_1_install(self):
        self.assertFalse(self.has_user(), "this machine has a user esclusa")
        self.dpkg("-i", "/tmp/old.deb")
        self.assertEqual(self.state(), f"installed {OLD}")
        self.assertRegex(self.has_user(), r"^esclusa:.*:/usr/sbin/nologin$")
        self.assertTrue(self.is_there(LINK), "it is not enabled")
        self.assertEqual(self.root.run("systemctl", "is-enabled", "esclusa").stdout, "enabled\n")

    def test_1_logs_are_rotated(self):
        """As root would, with the user that the installation has made."""
        log = self.root.path / "var/log/esclusa/esclusa.log"
        log.parent.mkdir()
        log.parent.chmod(0o750)
        log.write_text("a line\n", encoding="utf-8")
        self.root.run("chown", "-R", "esclusa:esclusa", "/var/log/esclusa")
        rotate = "/etc/logrotate.d/esclusa"
        done = self.root.run("logrotate", "-d", rotate)
        self.assertEqual(done.returncode, 0, said(done))
        self.assertNotRegex(done.stderr, "(?m)^error:")
        self.assertIn("considering log /var/log/esclusa/esclusa.log", done.stderr)
        self.assertEqual(log.read_text(encoding="utf-8"), "a line\n")
        done = self.root.run("logrotate", "-f", "-s", "/tmp/rotated", rotate)
        self.assertEqual((done.returncode, done.stderr), (0, ""), said(done))
        self.assertEqual((log.parent / "esclusa.log.1").read_text(encoding="utf-8"), "a line\n")
        self.assertEqual(self.root.run("stat", "-c", "%a %U %G %s",
                                       "/var/log/esclusa/esclusa.log").stdout, "640 esclusa esclusa 0\n")

    def test_1_program_is_usable(self):
        self.assertIn(f"esclusa {version()} ", self.root.run("esclusa", "--version").stdout)
        done = self.root.run("esclusa", "check", "--config", f"/{CONFIG}")
        self.assertEqual(done.returncode, 0, said(done))
        # On loopback alone, and verified: what is installed does no harm.
        self.assertRegex(done.stdout, r"(?m)^tcp://127\.0\.0\.1:18443 -> tls://example\.com:443 "
                                      r"verified as example\.com against")
        self.assertEqual(done.stdout.count(" -> "), 1)

    def test_2_service_refuses_whom_the_system_store_does_not_know(self):
        service = Service(self.root)
        self.assertIn(get(), (None, b""))
        until(lambda: "reason=upstream_verify_failed" in service.log(), service.log())
        self.assertEqual(service.stop(), 0)

    def test_2_service_serves(self):
        distrust = self.upstream.trust()
        service = Service(self.root)
        answer = get()
        self.assertIsNotNone(answer, service.log())
        self.assertIn(b"200 ok", answer, service.log())
        self.assertEqual(service.stop(), 0)
        distrust()

    def test_3_upgrade_keeps_what_was_edited(self):
        with open(self.root.path / CONFIG, "a", encoding="utf-8") as file:
            file.write("# edited\n")
        self.root.run("systemctl", "disable", "esclusa")
        self.assertFalse(self.is_there(LINK))
        self.dpkg("--force-confold", "-i", "/tmp/new.deb")
        self.assertEqual(self.state(), f"installed {NEW}")
        self.assertTrue(self.root.text(CONFIG).endswith("# edited\n"))
        self.assertTrue(self.is_there(CONFIG + ".dpkg-dist"))
        self.assertFalse(self.is_there(LINK), "an upgrade has enabled what was disabled")
        self.assertTrue(self.has_user())

    def test_4_remove_keeps_the_configuration(self):
        self.dpkg("-r", "esclusa")
        self.assertEqual(self.state(), f"config-files {NEW}")
        self.assertFalse(self.is_there("usr/bin/esclusa"))
        self.assertTrue(self.root.text(CONFIG).endswith("# edited\n"))

    def test_5_purge_leaves_nothing(self):
        self.dpkg("-P", "esclusa")
        self.assert_nothing_is_left()
        self.assertFalse(self.has_user())

    def assert_nothing_is_left(self):
        left = {path for path in self.root.changed() - self.before
                if not KEPT_BY_OTHERS.match(path)}
        self.assertEqual(left, set())
        folders = [str(path) for top in (self.root.upper, self.root.path / "run")
                   for path in top.rglob("*esclusa*") if path.is_dir()]
        self.assertEqual(folders, [])

    def test_6_keys_of_the_user_survive_a_purge(self):
        self.dpkg("-i", "/tmp/new.deb")
        self.assertTrue(self.is_there(LINK), "a new installation is enabled again")
        (self.root.path / "etc/esclusa/mine.key").touch()
        self.root.run("chown", "root:esclusa", "/etc/esclusa/mine.key")
        self.dpkg("-P", "esclusa", expected=["dpkg: warning: while removing esclusa, "
                  "directory '/etc/esclusa' not empty so not removed"])
        self.assertTrue(self.is_there("etc/esclusa/mine.key"))
        self.assertFalse(self.is_there(CONFIG))
        self.assertTrue(self.has_user(), "the key's group has no name any more")


if __name__ == "__main__":
    for tool in ("dpkg-deb", "lintian", "logrotate", "systemd-sysusers", "setpriv"):
        if shutil.which(tool) is None:
            raise SystemExit(f"{tool} is missing: scripts/deps.sh test")
    PACKAGES = scratch_root.enter(make_package)
    PACKAGE = next(PACKAGES.glob("esclusa_*.deb"))
    unittest.main()
