"""What the machine says of names: /etc/hosts and /etc/resolv.conf, and that a change of them counts.

The gateway sees files of the test's in a mount namespace of its own. This needs root, and so does
port 53, which resolv.conf cannot change."""

import os
import random
import shutil
import signal
import socket
import struct
import time
import unittest

from dns_server import A, AAAA, DnsServer
from harness import ESCLUSA, OBSERVED, SANITIZED, STEP, free_port, until
from names import NamesCase

INSIDE = 'mount --bind "$0" /etc && exec "$@"'


def dns_at_port_53():
    """On an address of 127/8 that no other test has."""
    for _ in range(50):
        host = f"127.{random.randrange(60, 120)}.{random.randrange(256)}.{random.randrange(1, 255)}"
        try:
            return DnsServer(port=53, host=host).start()
        except OSError:
            continue
    raise AssertionError("no address of 127/8 with a free port 53")


@unittest.skipUnless(os.geteuid() == 0, "needs root: mounts, and port 53")
class MachineCase(NamesCase):
    def setUp(self):
        self.etc = self.scratch()
        os.chmod(self.etc, 0o755)
        for name in ("passwd", "group", "nsswitch.conf", "ssl", "ld.so.cache"):
            source = os.path.join("/etc", name)
            if os.path.isdir(source):
                shutil.copytree(source, os.path.join(self.etc, name), symlinks=True)
            elif os.path.exists(source):
                shutil.copy(source, self.etc)
        self.write("hosts", "127.0.0.1 localhost\n")

    def server(self):
        made = dns_at_port_53()
        self.addCleanup(made.stop)
        return made

    def write(self, name, text):
        """In place: the same file."""
        with open(os.path.join(self.etc, name), "w", encoding="ascii") as out:
            out.write(text)

    def replace(self, name, text):
        """Another file in its place."""
        self.write(name + ".new", text)
        os.rename(os.path.join(self.etc, name + ".new"), os.path.join(self.etc, name))

    def inside(self, url, *options):
        return self.start(url, "--dns-timeout", "300ms", "--dns-tries", 1, *options,
                          prefix=("unshare", "-m", "sh", "-c", INSIDE, self.etc))


class Hosts(MachineCase):
    def test_a_name_in_the_hosts_file_is_asked_for_nowhere_else(self):
        server = self.server()
        one = self.says("one")
        self.says("two", "127.0.0.2", one.port)
        self.write("resolv.conf", f"nameserver {server.host}\n")
        self.write("hosts", "127.0.0.1 localhost pinned.test\n")
        server.a("pinned.test", "127.0.0.3")
        server.aaaa("pinned.test", "::1")
        gateway = self.inside(f"tcp://pinned.test:{one.port}")
        self.assertEqual(self.whom(gateway), "one")
        self.assertEqual(server.count(), 0)
        self.write("hosts", "127.0.0.1 localhost\n127.0.0.2 pinned.test\n")
        self.until_whom(gateway, "two")
        self.assertEqual(server.count(), 0)
        server.a("pinned.test", "127.0.0.1", ttl=1)
        server.aaaa("pinned.test", ttl=1)
        self.write("hosts", "127.0.0.1 localhost\n")  # it is left to DNS now
        self.until_whom(gateway, "one")

    def test_no_resolv_conf_at_all(self):
        one = self.says("one")
        self.write("hosts", "127.0.0.1 pinned.test\n")
        gateway = self.inside(f"tcp://pinned.test:{one.port}")
        self.assertEqual(self.whom(gateway), "one")

    def test_the_c_library_looks_it_up(self):
        server = self.server()
        one = self.says("one")
        self.write("resolv.conf", f"nameserver {server.host}\noptions timeout:1 attempts:1\n")
        self.write("hosts", "127.0.0.1 pinned.test\n")
        server.a("asked.test", "127.0.0.1")
        for name in ("pinned.test", "asked.test"):
            gateway = self.start(f"tcp://{name}:{one.port}", "--dns", "system",
                                 prefix=("unshare", "-m", "sh", "-c", INSIDE, self.etc))
            self.assertEqual(self.whom(gateway), "one")
            self.assertEqual(self.metric("dns_lookups_total"), 1)
        self.assertGreater(server.count("asked.test"), 0)
        gateway = self.start(f"tcp://none.test:{one.port}", "--dns", "system",
                             prefix=("unshare", "-m", "sh", "-c", INSIDE, self.etc))
        self.assertEqual(self.whom(gateway), "")
        self.assertIn("none.test", self.last_failure(gateway)["error"])


class ResolvConf(MachineCase):
    def test_search_domains(self):
        server = self.server()
        one = self.says("one")
        self.write("resolv.conf", f"nameserver {server.host}\nsearch lan.test corp.test\n")
        server.a("db.corp.test", "127.0.0.1")
        gateway = self.inside(f"tcp://db:{one.port}")
        self.assertEqual(self.whom(gateway), "one")
        self.assertGreater(server.count("db.lan.test"), 0)

    def test_search_domains_and_srv(self):
        server = self.server()
        one = self.says("one")
        self.write("resolv.conf", f"nameserver {server.host}\nsearch corp.test\noptions ndots:3\n")
        server.a("a.test", "127.0.0.1")
        server.srv("_app._tcp.db.corp.test", (1, 1, one.port, "a.test"))
        gateway = self.inside("tcp://srv:_app._tcp.db")
        self.assertEqual(self.whom(gateway), "one")

    def moved(self, change, *options):
        """From a server that is gone to one that answers."""
        gone, server = self.server(), self.server()
        one = self.says("one")
        server.a("moves.test", "127.0.0.1")
        gone.every("moves.test", silent=True)
        self.write("resolv.conf", f"nameserver {gone.host}\n")
        gateway = self.inside(f"tcp://moves.test:{one.port}", *options)
        self.assertEqual(self.whom(gateway), "")
        change("resolv.conf", f"nameserver {server.host}\n")
        return gateway, server

    def test_written_in_place(self):
        gateway, _ = self.moved(self.write)
        self.until_whom(gateway, "one")
        line = gateway.wait_log(lambda line: line.get("event") == "dns_servers")
        self.assertEqual(line["level"], "info")

    def test_replaced_where_a_user_of_its_own_may_read_it(self):
        gateway, _ = self.moved(self.replace, "--user", "nobody")
        self.until_whom(gateway, "one")

    @unittest.skipIf(SANITIZED, "such a build has no Landlock")
    def test_replaced_where_root_may_not_read_it(self):
        """Landlock has granted the file that was there: the servers before stay, and it is said."""
        server = self.server()
        one = self.says("one")
        server.a("stays.test", "127.0.0.1")
        server.a("later.test", "127.0.0.1")
        self.write("resolv.conf", f"nameserver {server.host}\n")
        gateway = self.inside([f"tcp://stays.test:{one.port}", f"tcp://later.test:{one.port}"])
        self.assertEqual(self.whom(gateway), "one")
        self.replace("resolv.conf", "nameserver 127.0.0.1\n")
        time.sleep(1.1)
        server.every("stays.test")
        one.close()
        two = self.says("two", "127.0.0.2", one.port)
        server.a("later.test", "127.0.0.2")
        self.until_whom(gateway, "two")  # the second candidate's name is asked for now
        self.assertGreater(server.count("later.test"), 0)
        self.assertGreater(two.accepted, 0)
        line = gateway.wait_log(lambda line: line.get("event") == "dns_servers")
        self.assertEqual(line["level"], "warn")
        self.assertIn("ermission", line["error"])

    def test_what_is_under_way_is_asked_anew(self):
        gone, server = self.server(), self.server()
        one = self.says("one")
        server.a("waits.test", "127.0.0.1")
        gone.every("waits.test", silent=True)
        self.write("resolv.conf", f"nameserver {gone.host}\n")
        gateway = self.start(f"tcp://waits.test:{one.port}", "--dns-timeout", "60s",
                             "--connect-timeout", "100s",
                             prefix=("unshare", "-m", "sh", "-c", INSIDE, self.etc))
        with socket.create_connection(gateway.address, STEP) as sock:
            sock.settimeout(STEP)
            until(lambda: gone.count("waits.test") > 0, what="the dead server to be asked")
            self.write("resolv.conf", f"nameserver {server.host}\n")
            self.assertEqual(sock.recv(100), b"one")


class Reload(NamesCase):
    def config(self, path, server, upstream, port, more=""):
        with open(path, "w", encoding="ascii") as out:
            out.write(f'dns_servers = ["{server.address}"]; dns_timeout = "60s"; watch = false;\n'
                      f'log_format = "json"; drain_timeout = "1s"; {more}\nservices = (\n'
                      f'{{ name = "one"; listen = "127.0.0.1:{port}"; connect_timeout = "100s";'
                      f' connect = "tcp://waits.test:{upstream.port}"; }});\n')

    def test_another_server(self):
        """What is under way is asked anew, of the new one."""
        silent, server = self.dns(), self.dns()
        one = self.says("one")
        silent.every("waits.test", silent=True)
        server.a("waits.test", "127.0.0.1")
        path, port = os.path.join(self.scratch(), "esclusa.cfg"), free_port()
        self.config(path, silent, one, port)
        gateway = self.program(ESCLUSA, "--config", path, *OBSERVED)
        gateway.wait_output('"listening"')
        with socket.create_connection(("127.0.0.1", port), STEP) as sock:
            sock.settimeout(STEP)
            until(lambda: silent.count("waits.test") > 0, what="the silent server to be asked")
            self.config(path, server, one, port)
            gateway.process.send_signal(signal.SIGHUP)
            self.assertEqual(sock.recv(100), b"one")
        self.assertEqual((server.count("waits.test", A), server.count("waits.test", AAAA)), (1, 1))

    def test_consumers_leave_and_the_gateway_ends_in_the_middle_of_a_lookup(self):
        silent = self.dns()
        one = self.says("one")
        silent.every("waits.test", silent=True)
        gateway = self.named(silent, f"tcp://waits.test:{one.port}", "--workers", 2,
                             "--connect-timeout", "100s", timeout="60s", level="debug")
        for _ in range(50):
            with socket.create_connection(gateway.address, STEP) as sock:  # and resets
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        left = [self.closing(socket.create_connection(gateway.address, STEP)) for _ in range(20)]
        until(lambda: silent.count("waits.test") > 0, what="the name to be asked for")
        until(lambda: len(gateway.sessions()) >= 50, what="those that left to end")
        self.assertEqual(silent.count("waits.test"), 2)
        began = time.monotonic()
        gateway.signal(signal.SIGTERM)
        self.assertEqual(gateway.wait_exit(), 0)
        self.assertLess(time.monotonic() - began, STEP / 2)
        self.assertEqual(len(left), 20)


if __name__ == "__main__":
    unittest.main()
