"""Upstreams by SRV records (RFC 2782): which target comes first, which next, and whose name counts."""

import collections
import unittest

from dns_server import NXDOMAIN, SERVFAIL, SRV, Answer
from harness import certificate, until
from names import NamesCase
from peers import server_context

NAME = "_app._tcp.shop.test"


class Order(NamesCase):
    def setUp(self):
        self.server = self.dns()

    def target(self, word, host, address="127.0.0.1"):
        upstream = self.says(word, address)
        self.server.a(host, address)
        return upstream

    def shop(self, *options, **settings):
        return self.named(self.server, f"tcp://srv:{NAME}", *options, **settings)

    def test_the_lowest_priority_then_the_next(self):
        first, second = self.target("first", "a.test"), self.target("second", "b.test")
        self.server.srv(NAME, (20, 0, second.port, "b.test"), (10, 0, first.port, "a.test"))
        gateway = self.shop()
        for _ in range(10):
            self.assertEqual(self.whom(gateway), "first")
        dns = self.get("/status")["services"][0]["upstreams"][0]["dns"]
        self.assertEqual(dns["addresses"],
                         [f"127.0.0.1:{first.port}", f"127.0.0.1:{second.port}"])
        self.assertEqual(self.server.count(NAME, SRV), 1)
        first.close()
        self.assertEqual(self.whom(gateway), "second")
        again = self.says("first", port=first.port)
        self.assertEqual(self.whom(gateway), "first")
        self.assertEqual(again.accepted, 1)

    def test_equal_ones_share(self):
        one, two = self.target("one", "a.test"), self.target("two", "b.test", "127.0.0.2")
        self.server.srv(NAME, (1, 10, one.port, "a.test"), (1, 10, two.port, "b.test"))
        gateway = self.shop()
        got = collections.Counter(self.whom(gateway) for _ in range(60))
        # 60 throws of a coin: fewer than 10 of one are less likely than one in a million.
        self.assertEqual(set(got), {"one", "two"})
        self.assertGreater(min(got.values()), 9, got)

    def test_weight_of_nothing_is_hardly_ever_first(self):
        one, two = self.target("one", "a.test"), self.target("two", "b.test")
        self.server.srv(NAME, (1, 0, one.port, "a.test"), (1, 65535, two.port, "b.test"))
        gateway = self.shop()
        got = collections.Counter(self.whom(gateway) for _ in range(30))
        self.assertGreater(got["two"], 27)
        two.close()
        self.assertEqual(self.whom(gateway), "one")

    def test_a_target_without_an_address_is_passed_over(self):
        two = self.target("two", "b.test")
        self.server.srv(NAME, (1, 0, 1, "gone.test"), (2, 0, two.port, "b.test"))
        gateway = self.shop()
        self.assertEqual(self.whom(gateway), "two")

    def test_a_slow_target_does_not_hold_up_the_others(self):
        two = self.target("two", "b.test")
        slow = self.says("slow", "127.0.0.3")
        self.server.a("slow.test", "127.0.0.3", delay=6)
        self.server.aaaa("slow.test", delay=6)
        self.server.srv(NAME, (1, 0, slow.port, "slow.test"), (2, 0, two.port, "b.test"))
        gateway = self.named(self.server, f"tcp://srv:{NAME}", timeout="20s")
        self.assertEqual(self.whom(gateway), "two")
        self.assertEqual(slow.accepted, 0)
        self.until_whom(gateway, "slow")  # once it is known it is what the records want

    def test_truncated_records_and_a_search_domain_less_name(self):
        one = self.target("one", "a.test")
        self.server.srv(NAME, (1, 0, one.port, "a.test"), truncated=True)
        gateway = self.shop()
        self.assertEqual(self.whom(gateway), "one")
        self.assertEqual(self.server.count(NAME, SRV, "tcp"), 1)

    def test_moved(self):
        one, two = self.target("one", "a.test"), self.target("two", "b.test")
        self.server.srv(NAME, (1, 0, one.port, "a.test"), ttl=1)
        gateway = self.shop()
        self.assertEqual(self.whom(gateway), "one")
        self.server.srv(NAME, (1, 0, two.port, "b.test"), ttl=1)
        self.until_whom(gateway, "two")

    def test_records_that_vanish_stay_in_use(self):
        one = self.target("one", "a.test")
        self.server.srv(NAME, (1, 0, one.port, "a.test"), ttl=1)
        gateway = self.shop()
        self.assertEqual(self.whom(gateway), "one")
        for answer in (Answer(ttl=1), Answer(rcode=NXDOMAIN), Answer(rcode=SERVFAIL),
                       Answer([(0, 0, 0, ".")], ttl=1)):
            self.server.set(NAME, SRV, answer)
            stale = self.metric("dns_stale_total")
            until(lambda: self.whom(gateway) == "one" and self.metric("dns_stale_total") > stale + 1,
                  what="an old answer to be given")

    def refused(self, says, metric):
        gateway = self.shop()
        self.assertEqual(self.whom(gateway), "")
        line = self.last_failure(gateway)
        self.assertIn(says, line["error"])
        self.assertIn(NAME, line["error"])
        self.assertEqual(self.metric("dns_failures_total", reason=metric), 1)

    def test_not_offered(self):
        self.server.srv(NAME, (0, 0, 0, "."))
        self.refused("not offered", "not_offered")

    def test_no_record(self):
        self.server.a(NAME, "127.0.0.1")
        self.refused("no SRV record", "empty")

    def test_no_such_name(self):
        self.refused("NXDOMAIN", "no_name")

    def test_no_target_with_an_address(self):
        self.server.srv(NAME, (1, 0, 1, "gone.test"))
        self.refused("NXDOMAIN", "no_name")

    def test_garbage(self):
        self.server.srv(NAME, garbage=True)
        self.refused("malformed", "malformed")


class Trust(NamesCase):
    """The certificate is for *.wild.test."""

    def shop(self, domain, target, *options):
        server = self.dns()
        upstream = self.says("hello", context=server_context("wildcard"))
        server.a(target, "127.0.0.1")
        server.srv(f"_app._tcp.{domain}", (1, 1, upstream.port, target))
        gateway = self.named(server, f"srv:_app._tcp.{domain}", "--ca", certificate("ca"), *options)
        return gateway, upstream

    def test_the_name_that_was_configured_is_sent_and_verified(self):
        gateway, upstream = self.shop("one.wild.test", "host.elsewhere.test")
        self.assertEqual(self.whom(gateway), "hello")
        self.assertEqual(upstream.server_names, ["one.wild.test"])

    def test_the_name_that_dns_gave_is_not_trusted(self):
        gateway, upstream = self.shop("shop.test", "one.wild.test")
        self.assertEqual(self.whom(gateway), "")
        line = gateway.wait_log(lambda line: line.get("event") == "session")
        self.assertEqual(line["reason"], "upstream_verify_failed")
        self.assertEqual(upstream.server_names, ["shop.test"])

    def test_server_name_is_the_users_word(self):
        gateway, upstream = self.shop("shop.test", "host.elsewhere.test", "--server-name",
                                      "two.wild.test")
        self.assertEqual(self.whom(gateway), "hello")
        self.assertEqual(upstream.server_names, ["two.wild.test"])


if __name__ == "__main__":
    unittest.main()
