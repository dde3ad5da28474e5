"""The sandbox: what is forbidden is tried from inside; the gateway in it is looked at from outside,
and reloads as it should."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

from harness import (ESCLUSA, SANITIZED, STEP, Case, certificate, end_process, free_port, key,
                     until)
from peers import Upstream, client_context, connect, echo
from test_reload import ConfigGateway, ask, service, services

PROBE = os.environ.get("SANDBOX_PROBE", "build/dev/tests/e2e_sandbox_probe")
NOBODY = 65534
BIND = 1 << 10  # CAP_NET_BIND_SERVICE


def status(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def active(gateway):
    return gateway.wait_log(lambda line: line["event"] == "sandbox")


class Confined(Case):
    def setUp(self):
        if SANITIZED:
            self.skipTest("a build with sanitizers runs without seccomp and Landlock")
        self.top = tempfile.mkdtemp(prefix="esclusa-e2e-")
        os.chmod(self.top, 0o755)
        self.addCleanup(shutil.rmtree, self.top)

    def path(self, *parts):
        return os.path.join(self.top, *parts)

    def directory(self, *parts, owner=None):
        os.makedirs(self.path(*parts), exist_ok=True)
        if owner is not None:
            os.chown(self.path(*parts), owner, owner)
        return self.path(*parts)

    def file(self, *parts, text="x"):
        with open(self.path(*parts), "w", encoding="ascii") as out:
            out.write(text)
        return self.path(*parts)


class Forbidden(Confined):
    """Each is tried without the sandbox too, where it must succeed: else its failure in the sandbox
    would prove nothing."""

    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest("only root can do outside of it what is forbidden inside")
        certs = self.directory("certs")
        for name in ("ca.pem", "client.pem", "client.key"):
            shutil.copy(certificate("ca") if name == "ca.pem" else
                        certificate("client") if name == "client.pem" else key("client"),
                        os.path.join(certs, name))
        self.sockets = self.directory("run")
        self.options = ["--listen", f"unix:{self.sockets}/s", "--connect", "tls://localhost:1",
                        "--ca", certs + "/ca.pem", "--cert", certs + "/client.pem", "--key",
                        certs + "/client.key"]

    def probe(self, trial, *options):
        """"ok", "failed: NAME", or the signal that ended it."""
        done = subprocess.run([PROBE, trial, *self.options, *options], capture_output=True,
                              text=True, timeout=STEP, check=False, stdin=subprocess.DEVNULL)
        if done.returncode < 0:
            return signal.Signals(-done.returncode).name
        self.assertIn(done.returncode, (0, 1), done.stderr)
        return done.stdout.strip() or "ok"  # the program of exec says nothing

    def forbidden(self, trial, *how):
        self.assertEqual(self.probe(trial, "--sandbox", "off"), "ok", f"{trial} outside")
        self.assertIn(self.probe(trial, *how[1:]), how[:1], f"{trial} inside")

    def test_files(self):
        self.file("secret")
        for path in ("/root", "/etc", "/", self.top, "/proc", "/tmp"):
            self.forbidden("list=" + path, "failed: EACCES")
        for path in ("/etc/shadow", self.path("secret"), f"/proc/{os.getpid()}/environ",
                     "/proc/kallsyms"):
            self.forbidden("read=" + path, "failed: EACCES")
            self.forbidden("thread_read=" + path, "failed: EACCES")
        for path in (self.path("certs", "ca.pem"), "/etc/hosts", "/proc/self/status"):
            self.assertEqual(self.probe("read=" + path), "ok", path)

    def test_writing(self):
        self.file("victim")
        inside = self.path("certs", "ca.pem")
        for path in (self.path("new"), self.path("certs", "new"), self.sockets + "/new",
                     "/root/esclusa-new", "/dev/shm/esclusa-new"):
            self.forbidden("create=" + path, "failed: EACCES")
            self.assertTrue(os.path.exists(path)) # from outside of it
            os.unlink(path)
        for path in (self.path("victim"), inside):
            self.forbidden("write=" + path, "failed: EACCES")
        self.assertIn(self.probe("truncate=" + self.path("victim")),
                      ("failed: EACCES", "failed: ENOSYS"))
        self.assertEqual(self.probe("remove=" + self.path("victim")), "failed: EACCES")
        self.assertEqual(self.probe("remove=" + inside), "failed: EACCES")
        self.assertTrue(os.path.getsize(inside) > 1)
        self.assertEqual(self.probe("chown=" + inside), "failed: EPERM")

    def test_sockets_of_the_file_system(self):
        self.assertEqual(self.probe("bind_unix=" + self.sockets + "/other"), "ok")
        self.assertEqual(self.probe("bind_unix=" + self.path("a"), "--sandbox", "off"), "ok")
        for place in (self.path("b"), self.path("certs", "b")):
            self.assertEqual(self.probe("bind_unix=" + place), "failed: EACCES")

    def test_abstract_sockets(self):
        name = f"esclusa-{os.getpid()}"
        with socket.socket(socket.AF_UNIX) as outside:
            outside.bind("\0" + name)
            outside.listen(8)
            self.forbidden("connect_abstract=" + name, "failed: EPERM")
            self.assertEqual(self.probe("connect_abstract=" + name, "--connect", "unix:@x"), "ok")

    def test_killed_for(self):
        place = self.directory("place")
        self.forbidden("exec=/bin/true", "SIGSYS")
        for trial in ("ptrace", "process_vm", "unshare", "chroot=" + place):
            self.forbidden(trial, "SIGSYS")
        for trial in ("bpf", "module", "mount=" + place): # outside: as the machine permits
            self.assertEqual(self.probe(trial), "SIGSYS", trial)

    def test_refused(self):
        for trial in ("packet", "uevent", "raw"):
            self.assertEqual(self.probe(trial, "--sandbox", "off"), "ok", trial)
            self.assertRegex(self.probe(trial), "failed: E(AFNOSUPPORT|NOSYS|PERM)", trial)
        for trial, name in {"fork": "EPERM", "kill": "ENOSYS", "anonymous_code": "ENOSYS",
                            "written_code": "EACCES", "memfd": "EPERM", "setuid": "EPERM",
                            "dumpable": "ENOSYS", "limit": "ENOSYS|EPERM"}.items():
            self.assertEqual(self.probe(trial, "--sandbox", "off"), "ok", trial)
            self.assertRegex(self.probe(trial), f"failed: ({name})$", trial)

    def test_not_dumpable(self):
        self.forbidden("is_dumpable", "failed: EPERM")
        self.assertEqual(self.probe("is_dumpable", "--core-dumps", "true"), "ok")
        self.assertEqual(self.probe("is_dumpable", "--core-dumps", "true", "--user", "nobody"),
                         "ok")

    def test_needed(self):
        for trial in ("thread", "kill_self", "get_limit", "sock_diag", "resolve=localhost"):
            self.assertEqual(self.probe(trial), "ok", trial)

    def test_ports(self):
        port = next(p for p in range(1023, 900, -1) if self.probe(
            f"bind_port={p}", "--sandbox", "off") == "ok")
        self.assertEqual(self.probe(f"bind_port={port}"), "failed: EACCES")
        self.assertEqual(self.probe(f"bind_port={port}", "--keep-bind", "true"), "ok")
        self.assertEqual(self.probe(f"bind_port={port}", "--keep-bind", "true", "--user",
                                    str(NOBODY)), "ok")

    def test_another_user(self):
        who = ("--user", "nobody")
        self.file("secret")
        os.chmod(self.path("secret"), 0o600)
        self.assertEqual(self.probe("read=/etc/shadow", *who), "failed: EACCES")
        self.assertEqual(self.probe("setuid", *who), "failed: EPERM")
        self.assertEqual(self.probe("read=/etc/passwd", *who), "ok")
        self.assertEqual(self.probe("read=/etc/shadow", *who, "--sandbox", "off"),
                         "failed: EACCES")
        self.assertEqual(self.probe("setuid", *who, "--sandbox", "off"), "failed: EPERM")

    def test_beside(self):
        """What is granted in addition."""
        self.directory("token")
        self.file("token", "t")
        self.assertEqual(self.probe("read=" + self.path("token", "t")), "failed: EACCES")
        allowed = ("--sandbox-read", self.path("token"))
        self.assertEqual(self.probe("read=" + self.path("token", "t"), *allowed), "ok")
        self.assertEqual(self.probe("create=" + self.path("token", "u"), *allowed),
                         "failed: EACCES")
        self.assertEqual(self.probe("create=" + self.path("token", "u"), "--sandbox-write",
                                    self.path("token")), "ok")


class Running(Confined):
    def setUp(self):
        super().setUp()
        self.upstream = self.closing(Upstream(echo))

    def served(self, gateway):
        consumer = self.closing(connect(gateway.address))
        consumer.send(b"hello")
        self.assertEqual(consumer.read_exactly(5), b"hello")

    def test_from_outside(self):
        gateway = self.gateway(self.upstream.url())
        self.served(gateway)
        line = active(gateway)
        for word in ("no capabilities", "no_new_privs", "landlock", "seccomp"):
            self.assertIn(word, line["active"])
        self.assertNotIn("missing", line)
        for task in os.listdir(f"/proc/{gateway.pid}/task"):
            seen = status(f"{gateway.pid}/task/{task}")
            self.assertEqual((seen["Seccomp"], seen["NoNewPrivs"]), ("2", "1"), task)
            for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
                self.assertEqual(int(seen[name], 16), 0, (task, name))
            if os.geteuid() == 0:
                self.assertEqual(int(seen["CapBnd"], 16), 0, task)
        with open(f"/proc/{gateway.pid}/limits", encoding="ascii") as limits:
            core = next(row for row in limits if row.startswith("Max core"))
        if os.geteuid() == 0:
            self.assertEqual(core.split()[4:6], ["0", "0"])

    def test_off(self):
        gateway = self.gateway(self.upstream.url(), "--sandbox", "off")
        self.served(gateway)
        seen = status(gateway.pid)
        self.assertEqual((seen["Seccomp"], seen["NoNewPrivs"]), ("0", "0"))
        line = active(gateway)
        self.assertEqual((line["level"], "off" in line["missing"]), ("warn", True))

    def test_require(self):
        self.served(self.gateway(self.upstream.url(), "--sandbox", "require"))

    @unittest.skipIf(os.geteuid() != 0, "needs root")
    def test_user_and_privileged_port(self):
        """Bound as root, served by another who is not dumpable either."""
        port = next(p for p in range(1020, 900, -1) if self.free(p))
        address = f"127.0.0.1:{port}"
        gateway = self.gateway(self.upstream.url(), "--user", "nobody", listen=address)
        self.served(gateway)
        seen = status(gateway.pid)
        self.assertEqual(seen["Uid"].split(), [str(NOBODY)] * 4)
        self.assertEqual(seen["Gid"].split(), [str(NOBODY)] * 4)
        self.assertEqual(set(seen["Groups"].split()), {str(NOBODY)})
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            self.assertEqual(int(seen[name], 16), 0, name)
        # Of a process that cannot be dumped they are root's: proc(5).
        self.assertEqual(os.stat(f"/proc/{gateway.pid}/fd").st_uid, 0)
        kept = self.gateway(self.upstream.url(), "--user", "nobody", "--keep-bind", "true",
                            "--core-dumps", "true")
        self.served(kept)
        seen = status(kept.pid)
        for name in ("CapPrm", "CapEff", "CapBnd"):
            self.assertEqual(int(seen[name], 16), BIND, name)
        self.assertEqual(os.stat(f"/proc/{kept.pid}/fd").st_uid, NOBODY)

    @staticmethod
    def free(port):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return True
            except OSError:
                return False

    def test_unknown_user(self):
        done = subprocess.run([ESCLUSA, "--listen", str(free_port()), "--connect",
                               self.upstream.url(), "--user", "no-such-user"],
                              capture_output=True, text=True, timeout=STEP, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("no-such-user", done.stderr)

    def test_check(self):
        done = subprocess.run([ESCLUSA, "check", "--listen", f"unix:{self.top}/s", "--connect",
                               self.upstream.url(), "--sandbox", "--user", "nobody"],
                              capture_output=True, text=True, timeout=STEP, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for mention in ("user: 65534 (nobody)", "capabilities: none", "landlock: ", "seccomp: ",
                        f"path sockets tree: {self.top} ", "execve", "epoll_wait"):
            self.assertIn(mention, done.stdout)
        off = subprocess.run([ESCLUSA, "check", "--listen", "1", "--connect",
                              self.upstream.url(), "--sandbox", "off"],
                             capture_output=True, text=True, timeout=STEP, check=False)
        self.assertEqual(off.returncode, 0)
        self.assertIn("sandbox = off", off.stdout)
        self.assertIn("[service default]", off.stdout)

    def test_unix_listener_is_removed(self):
        path = self.path("s")
        gateway = self.gateway(self.upstream.url(), listen=f"unix:{path}")
        self.served(gateway)
        self.assertTrue(end_process(gateway.process))
        self.assertFalse(os.path.exists(path))


class Reloading(Confined):
    def setUp(self):
        super().setUp()
        self.upstream = self.closing(Upstream(echo))
        self.port = free_port()
        self.turn = 0

    def start(self, text, *options):
        self.turn += 1
        conf = self.directory(f"conf{self.turn}")
        gateway = ConfigGateway(conf, text, *options)
        self.addCleanup(shutil.rmtree, conf, ignore_errors=True)
        self.addCleanup(end_process, gateway.process)
        return gateway

    def volume(self, name, number):
        """As Kubernetes mounts it: files are links through ..data."""
        new = self.directory(name, f"..{number}")
        shutil.copy(certificate("server"), new + "/tls.crt")
        shutil.copy(key("server"), new + "/tls.key")
        link = self.path(name, "..data")
        os.symlink(f"..{number}", link + ".new")
        os.rename(link + ".new", link)
        for file in ("tls.crt", "tls.key"):
            if not os.path.islink(self.path(name, file)):
                os.symlink("..data/" + file, self.path(name, file))
        if number > 1:
            shutil.rmtree(self.path(name, f"..{number - 1}"))

    def pair(self, name):
        place = self.directory(name)
        shutil.copy(certificate("server"), place + "/crt")
        shutil.copy(key("server"), place + "/key")
        return place

    def tls(self, crt, private):
        return services(f'{{ name = "a"; listen = "tls://127.0.0.1:{self.port}"; '
                        f'connect = "{self.upstream.url()}"; listen_cert = "{crt}"; '
                        f'listen_key = "{private}"; }}')

    def shaken(self):
        consumer = self.closing(connect(("127.0.0.1", self.port), client_context()))
        consumer.send(b"hello")
        self.assertEqual(consumer.read_exactly(5), b"hello")

    def test_turned_volume(self):
        """Both ways to name what is in it, by SIGHUP and by the watch."""
        for name, crt in (("v", "tls.crt"), ("w", "..data/tls.crt")):
            self.volume(name, 1)
            path = self.path(name, crt)
            gateway = self.start("watch_interval = \"100ms\";"
                                 + self.tls(path, path.replace(".crt", ".key")))
            self.shaken()
            for number in (2, 3):
                before = sum(line["event"] == "reloaded" for line in gateway.lines())
                self.volume(name, number)
                until(lambda count=before: sum(
                    line["event"] == "reloaded" for line in gateway.lines()) > count,
                      what="the watch")
                self.shaken()
            self.assertFalse([line for line in gateway.lines()
                              if line["event"] in ("reload_failed", "unreadable")])
            gateway.stop()

    def test_new_file_in_an_allowed_directory(self):
        certs = self.directory("certs")
        for number in (1, 2):
            shutil.copy(certificate("server"), f"{certs}/{number}.crt")
            shutil.copy(key("server"), f"{certs}/{number}.key")
        gateway = self.start(self.tls(certs + "/1.crt", certs + "/1.key"))
        gateway.write(self.tls(certs + "/2.crt", certs + "/2.key"))
        gateway.reload()
        self.shaken()

    def refused(self, gateway, path):
        line = gateway.reload("reload_failed")
        self.assertIn(path, line["error"])
        self.assertIn("sandbox", line["error"])
        self.assertIn("restart", line["remedy"])
        return line

    def test_path_outside(self):
        certs, other = self.pair("certs"), self.pair("other")
        good = self.tls(certs + "/crt", certs + "/key")
        gateway = self.start(good)
        gateway.write(self.tls(certs + "/crt", other + "/key"))
        self.refused(gateway, other + "/key")
        self.shaken()
        gateway.write(good)
        gateway.reload()
        # Its own path, but a link to elsewhere.
        os.unlink(certs + "/crt")
        os.symlink(other + "/crt", certs + "/crt")
        self.refused(gateway, certs + "/crt")
        self.shaken()
        # With what was asked for beforehand there is nothing to refuse.
        gateway.stop()
        gateway = self.start(good, "--sandbox-read", other)
        self.shaken()

    def test_started_anew_in_place(self):
        """What a reload may not reach, the program started anew by SIGUSR2 may; it is confined as
        the first was."""
        certs, other = self.pair("certs"), self.pair("other")
        gateway = self.start(self.tls(certs + "/crt", certs + "/key"))
        gateway.write(self.tls(other + "/crt", other + "/key"))
        self.refused(gateway, other + "/crt")
        gateway.signal(signal.SIGUSR2)
        pid = gateway.wait_log(lambda line: line["event"] == "upgraded")["pid"]
        self.addCleanup(os.kill, pid, signal.SIGKILL)
        self.assertEqual(gateway.wait_exit(), 0)
        self.shaken()
        self.assertEqual(sum(line["event"] == "sandbox" for line in gateway.lines()), 2)
        seen = status(pid)
        self.assertEqual((seen["Seccomp"], seen["NoNewPrivs"]), ("2", "1"))

    def test_include_outside(self):
        other = self.directory("other")
        main = services(service("a", self.port, self.upstream.url()))
        gateway = self.start(main)
        self.file("other", "part.cfg", text='workers = 2;\n')
        gateway.write(f'@include "{other}/part.cfg"\n' + main)
        self.refused(gateway, other + "/part.cfg")
        self.assertEqual(ask(self.port), b"hello")

    def test_unix_listener_outside(self):
        first, second = self.directory("first"), self.directory("second")

        def listens(path):
            return services(f'{{ name = "a"; listen = ["127.0.0.1:{self.port}", "unix:{path}"]; '
                            f'connect = "{self.upstream.url()}"; }}')
        gateway = self.start(listens(first + "/s"))
        gateway.write(listens(second + "/s"))
        self.refused(gateway, second + "/s")
        gateway.write(listens(first + "/t"))
        gateway.reload()
        until(lambda: not os.path.exists(first + "/s"), what="the old socket to be removed")
        self.assertTrue(os.path.exists(first + "/t"))

    def test_watch_tells_a_refusal_once(self):
        certs, other = self.pair("certs"), self.pair("other")
        gateway = self.start("watch_interval = \"100ms\";"
                             + self.tls(certs + "/crt", certs + "/key"))
        gateway.write("watch_interval = \"100ms\";" + self.tls(other + "/crt", other + "/key"))

        def failures():
            return [line for line in gateway.lines() if line["event"] == "reload_failed"]

        until(failures, what="a refusal")
        time.sleep(1)
        self.assertEqual(len(failures()), 1)

    @unittest.skipIf(os.geteuid() != 0, "needs root")
    def test_privileged_port(self):
        """Ports that are open stay so; a new one needs what was given up, or kept."""
        low = [p for p in range(1020, 900, -1) if Running.free(p)][:2]

        def listens(*ports):
            return services(*(service(f"s{p}", p, self.upstream.url()) for p in ports))
        gateway = self.start(listens(low[0]))
        gateway.write(listens(low[0], self.port))
        gateway.reload()
        gateway.write(listens(*low))
        line = gateway.reload("reload_failed")
        self.assertIn(str(low[1]), line["error"])
        self.assertIn("keep_bind", line["error"])
        self.assertEqual(ask(low[0]), b"hello")
        gateway.stop()
        gateway = self.start("keep_bind = true; user = \"nobody\";" + listens(low[0]))
        gateway.write("keep_bind = true; user = \"nobody\";" + listens(*low))
        gateway.reload()
        self.assertEqual(ask(low[1]), b"hello")

    @unittest.skipIf(os.geteuid() != 0, "needs root")
    def test_files_of_root_are_warned_of(self):
        certs = self.pair("certs")
        os.chmod(certs + "/crt", 0o644)
        os.chmod(certs + "/key", 0o600)
        gateway = self.start("user = \"nobody\";" + self.tls(certs + "/crt", certs + "/key"))
        line = gateway.wait_log(lambda line: line["event"] == "unreadable")
        self.assertEqual(line["path"], certs + "/key")
        self.shaken()


if __name__ == "__main__":
    unittest.main()
