"""Upstreams that resolve to where the gateway must not connect."""

import unittest

from harness import certificate
from names import NamesCase
from peers import server_context

FORBID = ("--forbid-private-upstreams", "true")


class Guard(NamesCase):
    def refused(self, gateway, what):
        self.assertEqual(self.whom(gateway), "")
        line = gateway.wait_log(lambda line: line.get("reason") == "upstream_forbidden")
        self.assertIn(what, line["error"])
        self.assertIn("allow_upstreams", line["remedy"])
        return line

    def test_a_name_of_loopback(self):
        server, upstream = self.dns(), self.says("inside")
        server.a("up.test", "127.0.0.1")
        url = f"tcp://up.test:{upstream.port}"
        self.assertEqual(self.whom(self.named(server, url)), "inside")
        line = self.refused(self.named(server, url, *FORBID), "127.0.0.1")
        self.assertIn("loopback", line["error"])
        self.assertEqual(upstream.accepted, 1)  # not the second time

    def test_every_address_of_an_answer(self):
        """Whichever comes first. None of the others is connected to either."""
        server, upstream = self.dns(), self.says("inside")
        server.a("up.test", "169.254.169.254", "10.0.0.1", "127.0.0.1", "192.168.7.7")
        server.aaaa("up.test", "64:ff9b::7f00:1", "::ffff:127.0.0.1", "fd00:ec2::254", "fe80::1")
        gateway = self.named(server, f"tcp://up.test:{upstream.port}", *FORBID)
        line = self.refused(gateway, "")
        self.assertEqual(line["attempts"], 8)
        self.assertLess(line["duration_ms"], 5000)  # nothing was waited for
        self.assertEqual(upstream.accepted, 0)

    def test_what_is_allowed_all_the_same(self):
        server, upstream = self.dns(), self.says("inside")
        server.a("up.test", "10.255.255.1", "127.0.0.1")
        gateway = self.named(server, f"tcp://up.test:{upstream.port}", *FORBID,
                             "--allow-upstreams", "127.0.0.0/8")
        self.assertEqual(self.whom(gateway), "inside")
        line = gateway.wait_log(lambda line: line.get("event") == "session")
        self.assertEqual(line["address"], f"127.0.0.1:{upstream.port}")

    def test_a_name_that_changes(self):
        """Good when it was first asked, elsewhere at the next connection."""
        server = self.dns()
        inside, public = self.says("inside", "127.0.0.2"), None
        public = self.says("public", "127.0.0.1", inside.port)
        server.a("up.test", "127.0.0.1", ttl=0)
        gateway = self.named(server, f"tcp://up.test:{inside.port}", *FORBID,
                             "--allow-upstreams", "127.0.0.1")
        self.assertEqual(self.whom(gateway), "public")
        server.a("up.test", "127.0.0.2", ttl=0)
        self.until_whom(gateway, "")
        self.refused(gateway, "127.0.0.2")
        self.assertEqual(inside.accepted, 0)
        self.assertGreater(public.accepted, 0)

    def test_the_next_candidate(self):
        server, upstream = self.dns(), self.says("other")
        server.a("one.test", "10.0.0.1")
        server.a("two.test", "127.0.0.1")
        urls = [f"tcp://one.test:{upstream.port}", f"tcp://two.test:{upstream.port}"]
        gateway = self.named(server, urls, *FORBID, "--allow-upstreams", "127.0.0.1")
        self.assertEqual(self.whom(gateway), "other")

    def test_a_warm_pool(self):
        server = self.dns()
        upstream = self.says("inside", context=server_context())
        server.a("localhost.test", "127.0.0.1")
        gateway = self.named(server, f"tls://localhost.test:{upstream.port}", *FORBID, "--warm-min",
                             "2", "--ca", certificate("ca"), "--server-name", "localhost")
        line = gateway.wait_log(lambda line: line.get("event") == "warm_failing")
        self.assertEqual(line["reason"], "upstream_forbidden")
        self.assertEqual(upstream.accepted, 0)

    def test_a_literal_is_told_at_once(self):
        for address in ("127.0.0.1", "[::1]", "169.254.169.254", "[::ffff:10.0.0.1]",
                        "[64:ff9b::10.0.0.1]", "[2002:a00:1::]", "0.0.0.0"):
            with self.assertRaisesRegex(AssertionError, "--connect.*--forbid-private-upstreams"):
                self.start(f"tcp://{address}:9", *FORBID)
        self.start("tcp://10.0.0.1:9", *FORBID, "--allow-upstreams", "10.0.0.0/8")


if __name__ == "__main__":
    unittest.main()
