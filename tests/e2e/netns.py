"""Hosts on networks of their own: network namespaces, joined by veth pairs and bridges (ip-netns(8)).

    lab = Lab(case)                          # gone with the test, whatever its end
    lan = lab.lan("back")                    # a switch
    gateway = lab.host("gateway")
    lan.plug(gateway, "192.0.2.1/24", "2001:db8:1::1/64")
    with gateway: ...                        # sockets, threads and programs made here are that host's

Addresses are those for documentation (RFC 5737, RFC 3849): nothing here leads out of the machine.
"""

import ctypes
import os
import re
import shutil
import socket
import subprocess
import threading
import unittest

from harness import STEP, need, until

SKIPPED = 77  # SKIP_RETURN_CODE of ctest
PREFIX = "esclusa-"
CLONE_NEWNET = 0x40000000
PIDFD_GETFD = 438
ETC = "/etc/netns"  # files that "ip netns exec" puts over those of /etc

_libc = ctypes.CDLL(None, use_errno=True)


def ip(*words):
    done = subprocess.run([need("ip"), *map(str, words)], stdin=subprocess.DEVNULL, timeout=STEP,
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"ip {' '.join(map(str, words))}: {done.stderr.strip()}")
    return done.stdout


def missing():
    """Why there can be no such tests here; None: nothing is missing."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    name = f"{PREFIX}{os.getpid()}-probe"
    try:
        ip("netns", "add", name)
    except AssertionError as why:
        return f"this machine permits no network namespaces: {why}"
    try:
        ip("-n", name, "link", "add", "v0", "type", "veth", "peer", "name", "v1")
        ip("-n", name, "link", "add", "b0", "type", "bridge")
        ip("-n", name, "addr", "add", "2001:db8::1/64", "dev", "v0", "nodad")
    except AssertionError as why:
        return f"this machine lacks veth, bridges or IPv6: {why}"
    finally:
        ip("netns", "del", name)
    return None


def require():
    """For setUpModule()."""
    why = missing()
    if why is not None:
        raise unittest.SkipTest(why)


def main():
    """unittest.main(), which tells ctest when nothing could be run."""
    why = missing()
    if why is not None:
        print("skipped:", why)
        raise SystemExit(SKIPPED)
    unittest.main()


def sweep():
    """What a test that was killed has left."""
    for directory in ("/run/netns", ETC):
        for name in os.listdir(directory) if os.path.isdir(directory) else ():
            found = re.fullmatch(PREFIX + r"(\d+)-.*", name)
            if found and not os.path.exists(f"/proc/{found[1]}"):
                _forget(name)


def _forget(name):
    # Another test may be sweeping, too.
    subprocess.run([need("ip"), "netns", "del", name], stderr=subprocess.DEVNULL, check=False)
    shutil.rmtree(f"{ETC}/{name}", ignore_errors=True)


class Host:
    """A namespace. As a context it is that of this thread, and of what the thread starts."""

    def __init__(self, name):
        self.name = name
        self.plugs = 0
        self._stack = threading.local()
        ip("netns", "add", name)
        # Its addresses are used at once; what is asked of them, too.
        self.set("net/ipv6/conf/default/accept_dad", 0)
        self.ip("link", "set", "lo", "up")

    @property
    def prefix(self):
        """A program behind it runs here, with the files of file()."""
        return need("ip"), "netns", "exec", self.name

    def ip(self, *words):
        return ip("-n", self.name, *words)

    def route(self, *words):
        """"default via 192.0.2.254", "blackhole 2001:db8:dead::/48", ..."""
        family = "-6" if any(":" in word for line in words for word in line.split()) else "-4"
        for line in words:
            self.ip(family, "route", "add", *line.split())

    def set(self, path, value):
        """A sysctl of this namespace."""
        with self, open(f"/proc/sys/{path}", "w", encoding="ascii") as file:
            file.write(str(value))

    def forward(self):
        self.set("net/ipv4/ip_forward", 1)
        self.set("net/ipv6/conf/all/forwarding", 1)

    def file(self, name, text):
        """/etc/NAME of programs that run here."""
        os.makedirs(f"{ETC}/{self.name}", exist_ok=True)
        with open(f"{ETC}/{self.name}/{name}", "w", encoding="ascii") as file:
            file.write(text)

    def __enter__(self):
        here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._stack.held = [*getattr(self._stack, "held", ()), here]
        there = os.open(f"/run/netns/{self.name}", os.O_RDONLY | os.O_CLOEXEC)
        _enter(there)
        return self

    def __exit__(self, *unused):
        _enter(self._stack.held.pop())


def _enter(fd):
    try:
        if _libc.setns(fd, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(fd)


class Lan:
    """A switch, in a namespace of its own."""

    def __init__(self, name):
        self.name = name
        self._ports = {}  # host: (its interface, ours)
        ip("netns", "add", name)
        # It forwards at once, and all: a cable, not a network that learns.
        ip("-n", name, "link", "add", "switch", "type", "bridge", "stp_state", 0, "forward_delay", 0,
           "mcast_snooping", 0)
        ip("-n", name, "link", "set", "switch", "addrgenmode", "none", "up")

    def plug(self, host, *addresses):
        """Its name on the host: eth0, eth1, ..."""
        mine, its = f"p{len(self._ports)}", f"eth{host.plugs}"
        host.plugs += 1
        self._ports[host] = (its, mine)
        ip("link", "add", its, "netns", host.name, "type", "veth", "peer", "name", mine, "netns",
           self.name)
        for address in addresses:
            host.ip("addr", "add", address, "dev", its, *(["nodad"] if ":" in address else []))
        host.ip("link", "set", its, "up")
        ip("-n", self.name, "link", "set", mine, "master", "switch", "addrgenmode", "none", "up")
        self._wait(host)
        return its

    def _wait(self, host):
        """The kernel begins to use a new link within a second; what is sent before is lost."""
        its, mine = self._ports[host]
        until(lambda: "state UP" in host.ip("link", "show", its)
              and "state forwarding" in ip("-n", self.name, "-d", "link", "show", mine),
              what=f"{its} of {host.name} to be up")

    def pull(self, host):
        """The plug, at the switch: the others see that nothing comes any more, and no more."""
        ip("-n", self.name, "link", "set", self._ports[host][1], "down")

    def push(self, host):
        """And in again."""
        ip("-n", self.name, "link", "set", self._ports[host][1], "up")
        self._wait(host)


class Lab:
    def __init__(self, case):
        sweep()
        self._case, self._count = case, 0

    def _name(self, what):
        """An own one: the whole list is the machine's."""
        name = f"{PREFIX}{os.getpid()}-{id(self) & 0xffff:x}-{what}"
        self._case.addCleanup(_forget, name)
        return name

    def host(self, what):
        return Host(self._name(what))

    def lan(self, what):
        return Lan(self._name("lan-" + what))


def sockets_of(pid):
    """Duplicates of the TCP sockets of another process; pidfd_getfd(2)."""
    found, process = [], os.pidfd_open(pid)
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            if not os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:"):
                continue
            got = _libc.syscall(PIDFD_GETFD, process, int(fd), 0)
            if got < 0:
                raise OSError(ctypes.get_errno(), "pidfd_getfd")
            sock = socket.socket(fileno=got)
            if sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type & socket.SOCK_STREAM:
                found.append(sock)
            else:
                sock.close()
    finally:
        os.close(process)
    return found
