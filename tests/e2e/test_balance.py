"""Long-lived sessions spread over the workers."""

import glob
import os
import socket
import unittest

from harness import Case, until
from peers import Upstream

WORKERS = 3
MANY = 60
FAR = 2  # from the mean


class Balance(Case):
    def registered(self, gateway):
        """How many descriptors wait in each event loop: proc(5), /proc/PID/fdinfo."""
        counts = {}
        for path in glob.glob(f"/proc/{gateway.pid}/fd/*"):
            try:
                if os.readlink(path) != "anon_inode:[eventpoll]":
                    continue
                with open(path.replace("/fd/", "/fdinfo/"), encoding="ascii") as info:
                    counts[path] = sum(line.startswith("tfd:") for line in info)
            except OSError:
                continue
        return counts

    def sessions(self, gateway, before):
        """Of each worker; a session waits for both its sides."""
        now = self.registered(gateway)
        return [(now[path] - before[path]) // 2 for path in before]

    def spread(self, gateway, before, total):
        """Sessions of each worker, when all have begun. The main thread's loop has none."""
        until(lambda: sum(self.sessions(gateway, before)) == total,
              what=f"{total} sessions in the loops")
        return sorted(self.sessions(gateway, before))[-WORKERS:]

    def check(self, gateway, before, total):
        counts = self.spread(gateway, before, total)
        mean = total / WORKERS
        self.assertTrue(all(abs(count - mean) <= FAR for count in counts), counts)

    def open(self, gateway, count):
        """All at once: the queue is full before a worker looks."""
        consumers = []
        for _ in range(count):
            consumer = socket.socket()
            consumer.setblocking(False)
            consumer.connect_ex(gateway.address)
            consumers.append(consumer)
            self.addCleanup(consumer.close)
        return consumers

    def test_they_spread(self):
        upstream = self.closing(Upstream(lambda connection: connection.recv()))
        gateway = self.gateway(upstream.url(), "--workers", WORKERS)
        before = self.registered(gateway)
        self.assertGreaterEqual(len(before), WORKERS)
        for number in range(MANY):  # one after another
            with self.subTest(number=number):
                self.open(gateway, 1)
                until(lambda: sum(self.sessions(gateway, before)) > number,
                      what="the session to begin")
        self.check(gateway, before, MANY)

    def test_a_burst_spreads_and_fills_what_left(self):
        upstream = self.closing(Upstream(lambda connection: connection.recv()))
        gateway = self.gateway(upstream.url(), "--workers", WORKERS)
        before = self.registered(gateway)
        consumers = self.open(gateway, MANY)
        self.check(gateway, before, MANY)
        # A third leaves, whoever serves them; as many come again.
        for consumer in consumers[:MANY // 3]:
            consumer.close()
        until(lambda: sum(self.sessions(gateway, before)) == MANY - MANY // 3,
              what="a third to have left")
        self.open(gateway, MANY // 3)
        self.check(gateway, before, MANY)


if __name__ == "__main__":
    unittest.main()
