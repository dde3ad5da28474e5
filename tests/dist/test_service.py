#!/usr/bin/env python3
"""The Debian package under a systemd that runs: the service starts with the installation, reloads, is
restarted by an upgrade, as are its instances, and is stopped by a removal."""
import re
import shutil
import socket
import unittest

import scratch_root
from common import said
from package import CONFIG, PORT, Upstream, get, make_newer, make_package, until

BOOT_TIME = 60.0


class Service(unittest.TestCase):
    """In the order of their names."""

    @classmethod
    def setUpClass(cls):
        cls.root = scratch_root.ScratchRoot(FOLDER / "root")
        cls.root.put(PACKAGE, "var/old.deb")
        cls.root.put(make_newer(PACKAGE, FOLDER), "var/new.deb")
        (cls.root.path / "usr/sbin/policy-rc.d").unlink(missing_ok=True)
        (cls.root.path / "var/lib/man-db/auto-update").unlink(missing_ok=True)
        cls.upstream = Upstream(cls.root, FOLDER / "upstream")
        cls.addClassCleanup(cls.upstream.stop)
        cls.upstream.trust()
        cls.machine = scratch_root.Booted(cls.root)
        cls.addClassCleanup(cls.machine.stop)
        cls.boot()

    @classmethod
    def boot(cls):
        def is_up():
            if cls.machine.process.poll() is not None or cls.machine.systemd() is None:
                return cls.machine.process.poll() is not None
            said_by_it = cls.machine.run("systemctl", "is-system-running").stdout.strip()
            return said_by_it in ("running", "degraded")
        try:
            until(is_up, "systemd is up", BOOT_TIME)
        except AssertionError:
            scratch_root.skip(f"systemd does not start in here: {cls.machine.console()}")
        if cls.machine.process.poll() is not None:
            scratch_root.skip("this machine permits no control group or mounts for a systemd")

    def run_good(self, *words):
        done = self.machine.run(*words)
        self.assertEqual(done.returncode, 0, said(done) + self.log())
        return done.stdout

    def log(self):
        return self.machine.run("journalctl", "--no-pager", "-u", "esclusa*").stdout

    def show(self, key, unit="esclusa"):
        return self.machine.run("systemctl", "show", "-P", key, unit).stdout.strip()

    def assert_active(self, unit="esclusa"):
        until(lambda: self.show("ActiveState", unit) != "activating", "it is up or has failed")
        self.assertEqual(self.show("ActiveState", unit), "active", self.log())

    def assert_serves(self):
        def served():
            try:
                return b"200 ok" in (get() or b"")
            except ConnectionRefusedError:
                return False  # a unit of Type=simple is active before it listens
        until(served, f"a page comes through; {self.log()}")

    def assert_refused(self, port):
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)

    def test_1_installation_starts_it(self):
        self.run_good("dpkg", "-i", "/var/old.deb")
        self.assert_active()
        self.assert_serves()
        self.assertEqual(self.show("UnitFileState"), "enabled")
        pid = self.show("MainPID")
        self.assertEqual(self.run_good("ps", "-o", "user=", "-p", pid).strip(), "esclusa")
        # Nothing but what binding a port below 1024 takes (CAP_NET_BIND_SERVICE, bit 10).
        status = self.run_good("cat", f"/proc/{pid}/status")
        held = int(re.search(r"CapBnd:\s*(\w+)", status).group(1), 16)
        self.assertEqual(held & ~(1 << 10), 0, status)
        self.assertIn("NoNewPrivs:\t1", status)

    def test_2_reload(self):
        pid = self.show("MainPID")
        text = self.root.text(CONFIG)
        self.write(text.replace('connect =', 'idle_timeout = "7m";\n        connect ='))
        self.run_good("systemctl", "reload", "esclusa")
        # Of the signal, not of the watch.
        until(lambda: re.search(r"reloaded.*why=SIGHUP", self.log()), f"a reload; {self.log()}")
        self.assertIn("idle_timeout: 1h -> 7m", self.log())
        self.assertEqual(self.show("MainPID"), pid)
        self.assert_active()
        self.assert_serves()

    def test_2_rotation(self):
        text, log = self.root.text(CONFIG), "/var/log/esclusa/esclusa.log"
        self.write(f'log_to = "file:{log}";\n{text}')
        self.run_good("systemctl", "restart", "esclusa")
        self.assert_serves()
        self.run_good("logrotate", "-f", "-s", "/var/rotated", "/etc/logrotate.d/esclusa")
        self.assertIn("listening", self.run_good("cat", log + ".1"))

        def is_in_the_new_one():
            self.assert_serves()
            return "event=session" in self.run_good("cat", log) or " session " in self.run_good("cat", log)
        until(is_in_the_new_one, f"a line in the new file; {self.log()}")
        self.write(text)
        self.run_good("systemctl", "restart", "esclusa")

    def test_3_instance(self):
        text = self.root.text(CONFIG).replace(str(PORT), str(PORT + 1))
        (self.root.path / "etc/esclusa/second.cfg").write_text(text, encoding="utf-8")
        self.run_good("systemctl", "start", "esclusa@second")
        self.assert_active("esclusa@second")
        until(lambda: str(PORT + 1) in self.run_good("ss", "-Hlnt"), "the instance listens")

    def test_4_upgrade_restarts_both(self):
        before = [self.show("MainPID", unit) for unit in ("esclusa", "esclusa@second")]
        self.run_good("dpkg", "--force-confold", "-i", "/var/new.deb")
        for unit, pid in zip(("esclusa", "esclusa@second"), before):
            self.assert_active(unit)
            self.assertNotEqual(self.show("MainPID", unit), pid, f"{unit} runs the old program")
        self.assert_serves()

    def test_5_stop_is_clean(self):
        self.run_good("systemctl", "stop", "esclusa")
        self.assertEqual(self.show("Result"), "success", self.log())
        self.assertEqual(self.show("ActiveState"), "inactive")
        self.assert_refused(PORT)
        self.run_good("systemctl", "start", "esclusa")
        self.assert_serves()

    def write(self, text):
        (self.root.path / CONFIG).write_text(text, encoding="utf-8")

    def test_6_one_that_cannot_start_does_not_break_an_upgrade(self):
        good = self.root.text(CONFIG)
        self.write("services = ();\n")
        self.run_good("dpkg", "--force-confold", "-i", "/var/new.deb")
        until(lambda: self.show("ActiveState") in ("failed", "activating"), "it does not start")
        self.assertIn("services", self.log())
        self.write(good)
        self.run_good("systemctl", "reset-failed", "esclusa")
        self.run_good("systemctl", "restart", "esclusa")
        self.assert_serves()

    def test_7_removal_stops_all(self):
        self.run_good("dpkg", "-r", "esclusa")
        for unit in ("esclusa", "esclusa@second"):
            self.assertIn(self.show("ActiveState", unit), ("inactive", "failed"))
        for port in (PORT, PORT + 1):
            self.assert_refused(port)
        self.run_good("dpkg", "-P", "esclusa")
        left = self.run_good("systemctl", "list-unit-files", "--no-legend", "esclusa*")
        self.assertEqual([line for line in left.splitlines() if "esclusa-test" not in line], [])


if __name__ == "__main__":
    for tool in ("logrotate", "nsenter", "systemctl", "setpriv"):
        if shutil.which(tool) is None:
            raise SystemExit(f"{tool} is missing: scripts/deps.sh test")
    FOLDER = scratch_root.enter(make_package)
    PACKAGE = next(FOLDER.glob("esclusa_*.deb"))
    unittest.main()
