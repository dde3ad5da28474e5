"""How upstreams are found: DNS, the hosts file, SRV records; and what happens when they cannot be.

One DNS server of our own answers all of it, so nothing here depends on the network."""

import os
import socket
import subprocess
import threading
import time
import unittest

from dns_server import A, AAAA, NOERROR, NXDOMAIN, REFUSED, SERVFAIL, Answer
from harness import ESCLUSA, STEP, free_port, until
from names import FRESH_MIN, NamesCase
from peers import connect


class Answers(NamesCase):
    def test_a_name_is_found(self):
        server = self.dns()
        one = self.says("one")
        server.a("one.test", "127.0.0.1", ttl=30)
        gateway = self.named(server, f"tcp://one.test:{one.port}")
        self.assertEqual(server.count(), 0)  # nothing is asked before it is needed
        self.assertEqual(self.whom(gateway), "one")
        self.assertEqual((server.count("one.test", A), server.count("one.test", AAAA)), (1, 1))
        self.assertEqual(self.whom(gateway), "one")
        self.assertEqual(server.count(), 2)  # from what is kept
        self.assertEqual(self.metric("dns_lookups_total"), 1)
        self.assertEqual(self.metric("dns_questions_total", **{"from": "lookup"}), 1)
        self.assertEqual(self.metric("dns_questions_total", **{"from": "cache"}), 1)
        dns = self.get("/status")["services"][0]["upstreams"][0]["dns"]
        self.assertEqual(dns["addresses"], [f"127.0.0.1:{one.port}"])
        self.assertEqual((dns["state"], dns["failed"]), ("fresh", None))
        self.assertLess(dns["age_seconds"], STEP)

    def test_a_literal_address_is_never_asked_for(self):
        server = self.dns()
        one = self.says("one")
        gateway = self.named(server, f"tcp://127.0.0.1:{one.port}")
        self.assertEqual(self.whom(gateway), "one")
        self.assertEqual(server.count(), 0)
        dns = self.get("/status")["services"][0]["upstreams"][0]["dns"]
        self.assertEqual((dns["state"], dns["addresses"]), (None, []))

    def test_ipv6_goes_first_and_ipv4_takes_its_place(self):
        server = self.dns()
        four = self.says("four")
        six = self.says("six", "::1", four.port)
        server.a("both.test", "127.0.0.1")
        server.aaaa("both.test", "::1")
        gateway = self.named(server, f"tcp://both.test:{four.port}")
        self.assertEqual(self.whom(gateway), "six")
        six.close()
        self.assertEqual(self.whom(gateway), "four")

    def test_through_a_cname_and_in_capitals(self):
        server = self.dns()
        one = self.says("one")
        server.set("alias.test", A, Answer(["127.0.0.1"], cname="real.test"))
        gateway = self.named(server, f"tcp://ALIAS.test:{one.port}")
        self.assertEqual(self.whom(gateway), "one")

    def test_a_truncated_answer_is_fetched_over_tcp(self):
        server = self.dns()
        one = self.says("one")
        server.a("large.test", "127.0.0.1", truncated=True)
        gateway = self.named(server, f"tcp://large.test:{one.port}")
        self.assertEqual(self.whom(gateway), "one")
        self.assertEqual(server.count("large.test", A, "tcp"), 1)

    def test_an_answer_with_another_id_is_not_taken(self):
        server = self.dns()
        one = self.says("one")
        server.a("forged.test", "127.0.0.1", wrong_id=True)
        gateway = self.named(server, f"tcp://forged.test:{one.port}")
        self.assertEqual(self.whom(gateway), "one")
        dns = self.get("/status")["services"][0]["upstreams"][0]["dns"]
        self.assertEqual(dns["addresses"], [f"127.0.0.1:{one.port}"])

    def test_a_family_that_stays_unanswered_does_not_hold_up_the_other(self):
        server = self.dns()
        one = self.says("one")
        server.a("half.test", "127.0.0.1")
        server.aaaa("half.test", silent=True)
        gateway = self.named(server, f"tcp://half.test:{one.port}", timeout="5s", tries=3)
        began = time.monotonic()
        self.assertEqual(self.whom(gateway), "one")
        self.assertLess(time.monotonic() - began, 4)  # the timeout of a try is 5 s

    def test_the_second_server_is_asked_where_the_first_is_gone(self):
        gone, server = self.dns(start=False), self.dns()
        one = self.says("one")
        server.a("one.test", "127.0.0.1")
        gateway = self.named(gone, f"tcp://one.test:{one.port}", "--dns-servers", server.address)
        self.assertEqual(self.whom(gateway), "one")


class Failures(NamesCase):
    def reason(self, server, name, metric, text, **how):
        one = self.says("one")
        if how:
            server.every(name, **how)
        gateway = self.named(server, f"tcp://{name}:{one.port}")
        self.assertEqual(self.whom(gateway), "")
        line = self.last_failure(gateway)
        self.assertEqual(line["reason"], "resolve_failed")
        self.assertIn(text, line["error"])
        self.assertIn(name, line["error"])
        self.assertEqual(self.metric("dns_failures_total", reason=metric), 1)
        dns = self.get("/status")["services"][0]["upstreams"][0]["dns"]
        self.assertEqual((dns["state"], dns["failed"], dns["addresses"]), ("unknown", metric, []))
        # Believed for a while: the next consumer does not ask again.
        asked = server.count()
        self.assertEqual(self.whom(gateway), "")
        self.assertEqual(server.count(), asked)
        self.assertEqual(self.metric("dns_questions_total", **{"from": "failure"}), 1)
        # And it heals.
        server.a(name, "127.0.0.1")
        self.until_whom(gateway, "one")

    def test_no_such_name(self):
        self.reason(self.dns(), "none.test", "no_name", "NXDOMAIN")

    def test_no_address(self):
        self.reason(self.dns(), "empty.test", "empty", "no address", ttl=1)

    def test_server_fails(self):
        self.reason(self.dns(), "fails.test", "servers", "failed, refused", rcode=SERVFAIL)

    def test_server_refuses(self):
        self.reason(self.dns(), "refused.test", "servers", "failed, refused", rcode=REFUSED)

    def test_silence(self):
        self.reason(self.dns(), "silent.test", "timeout", "no answer", silent=True)

    def test_garbage(self):
        self.reason(self.dns(), "garbage.test", "malformed", "malformed", garbage=True)

    def test_starts_with_dns_dead_and_heals(self):
        server = self.dns(start=False)
        one = self.says("one")
        server.a("late.test", "127.0.0.1")
        gateway = self.named(server, f"tcp://late.test:{one.port}")
        self.assertEqual(self.whom(gateway), "")
        server.start()
        self.until_whom(gateway, "one")


class Changes(NamesCase):
    def two(self):
        one = self.says("one")
        return one, self.says("two", "127.0.0.2", one.port)

    def test_moved(self):
        server = self.dns()
        one, _ = self.two()
        server.a("moves.test", "127.0.0.1", ttl=1)
        gateway = self.named(server, f"tcp://moves.test:{one.port}")
        self.assertEqual(self.whom(gateway), "one")
        server.a("moves.test", "127.0.0.2", ttl=1)
        began = time.monotonic()
        self.assertEqual(self.whom(gateway), "one")  # kept for five seconds, whatever the TTL
        self.until_whom(gateway, "two")
        self.assertGreater(time.monotonic() - began, FRESH_MIN * 0.7)
        self.assertEqual(self.whom(gateway), "two")

    def test_a_long_ttl_is_cut(self):
        server = self.dns()
        one, _ = self.two()
        server.a("long.test", "127.0.0.1", ttl=86400)
        gateway = self.named(server, f"tcp://long.test:{one.port}")
        self.assertEqual(self.whom(gateway), "one")
        time.sleep(FRESH_MIN + 1)
        self.assertEqual(self.whom(gateway), "one")
        self.assertEqual(server.count("long.test", A), 1)

    def stays(self, **how):
        """The last addresses stay in use while the name is answered so."""
        server = self.dns()
        one, _ = self.two()
        server.a("stays.test", "127.0.0.1", ttl=1)
        gateway = self.named(server, f"tcp://stays.test:{one.port}")
        self.assertEqual(self.whom(gateway), "one")
        if how:
            server.every("stays.test", ttl=1, **how)
        else:
            server.stop()
        until(lambda: self.whom(gateway) == "one" and self.metric("dns_stale_total") > 0,
              what="an old answer to be given")
        line = gateway.wait_log(lambda line: line.get("event") == "dns_stale")
        self.assertEqual(line["name"], "stays.test")
        until(lambda: self.get("/status")["services"][0]["upstreams"][0]["dns"]["state"] == "stale",
              what="the status to tell")
        for _ in range(5):
            self.assertEqual(self.whom(gateway), "one")
        # Told once, and tried again in the background, so that it heals.
        self.assertEqual(sum(line.get("event") == "dns_stale" for line in gateway.lines()), 1)
        if not server.up:
            server.start()
        server.a("stays.test", "127.0.0.2", ttl=1)
        self.until_whom(gateway, "two")
        gateway.wait_log(lambda line: line.get("event") == "dns_recovered")

    def test_old_addresses_stay_while_dns_is_dead(self):
        self.stays()

    def test_old_addresses_stay_while_dns_is_silent(self):
        self.stays(silent=True)

    def test_old_addresses_stay_while_dns_fails(self):
        self.stays(rcode=SERVFAIL)

    def test_an_empty_answer_wipes_nothing(self):
        self.stays(rcode=NOERROR)

    def test_a_name_that_vanishes_wipes_nothing(self):
        self.stays(rcode=NXDOMAIN)

    def test_old_addresses_are_given_up_after_dns_stale_max(self):
        server = self.dns()
        one, _ = self.two()
        server.a("ends.test", "127.0.0.1", ttl=1)
        gateway = self.named(server, f"tcp://ends.test:{one.port}", "--dns-stale-max", "0")
        self.assertEqual(self.whom(gateway), "one")
        server.stop()
        self.until_whom(gateway, "")
        self.assertEqual(self.metric("dns_stale_total"), 0)


class Many(NamesCase):
    def test_one_lookup_for_a_hundred_consumers(self):
        server = self.dns()
        one = self.says("one")
        server.a("once.test", "127.0.0.1", delay=1)
        gateway = self.named(server, f"tcp://once.test:{one.port}", "--workers", 4, timeout="20s")
        got = []
        threads = [threading.Thread(target=lambda: got.append(self.whom(gateway)))
                   for _ in range(100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(STEP)
        self.assertEqual(got, ["one"] * 100)
        self.assertEqual((server.count("once.test", A), server.count("once.test", AAAA)), (1, 1))
        self.assertEqual(self.metric("dns_lookups_total"), 1)

    def test_a_slow_name_delays_no_other_service(self):
        server = self.dns()
        one = self.says("one")
        server.every("slow.test", delay=10)
        directory = self.scratch()
        ports = free_port(), free_port()
        server.a("quick.test", "127.0.0.1")
        path = os.path.join(directory, "esclusa.cfg")
        with open(path, "w", encoding="ascii") as out:
            out.write(f'dns_servers = ["{server.address}"]; dns_timeout = "30s"; workers = 1;\n'
                      'log_format = "json";\nservices = (\n'
                      f'{{ name = "slow"; listen = "127.0.0.1:{ports[0]}";'
                      f' connect = "tcp://slow.test:{one.port}"; connect_timeout = "60s"; }},\n'
                      f'{{ name = "quick"; listen = "127.0.0.1:{ports[1]}";'
                      f' connect = "tcp://quick.test:{one.port}"; }});\n')
        self.configured(path)
        began = time.monotonic()
        waiting = [self.closing(connect(("127.0.0.1", ports[0]))) for _ in range(10)]
        until(lambda: server.count("slow.test") > 0, what="the slow name to be asked for")
        with socket.create_connection(("127.0.0.1", ports[1]), STEP) as sock:
            sock.settimeout(STEP)
            self.assertEqual(sock.recv(100), b"one")
        self.assertLess(time.monotonic() - began, 5)
        self.assertEqual(server.count("slow.test", A), 1)
        self.assertEqual(len(waiting), 10)

    def configured(self, path):
        made = self.program(ESCLUSA, "--config", path)
        made.wait_output('"listening"')
        return made


class Config(unittest.TestCase):
    """What does not go together is one line that says so."""

    def refused(self, *options):
        done = subprocess.run([ESCLUSA, "check", "--listen", "1", *options], capture_output=True,
                              text=True, timeout=STEP, check=False)
        self.assertNotEqual(done.returncode, 0, done.stdout)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        return done.stderr

    def test_mistakes(self):
        one = ("--connect", "tcp://a.test:1")
        self.assertRegex(self.refused(*one, "--dns-servers", "dns.test"),
                         "--dns-servers 'dns.test': no IP address.*10.0.0.1:53")
        self.assertRegex(self.refused(*one, "--dns-servers", "10.0.0.1:0"), "no IP address")
        self.assertRegex(self.refused(*one, "--dns", "system", "--dns-servers", "10.0.0.1"),
                         "--dns-servers.*--dns system")
        self.assertRegex(self.refused(*one, "--dns", "system", "--dns-tries", "2"),
                         "--dns-tries.*--dns system")
        self.assertRegex(self.refused("--connect", "tcp://srv:_a._tcp.b.test", "--dns", "system"),
                         "srv:_a._tcp.b.test.*--dns cares")
        self.assertRegex(self.refused("--connect", "srv:_a._tcp.b.test:443"), "leave it out")

    def test_what_would_run(self):
        done = subprocess.run([ESCLUSA, "check", "--listen", "1", "--connect",
                               "tls://srv:_a._tcp.b.test", "--dns-servers", "10.0.0.1",
                               "--dns-servers", "[2001:db8::1]:5353"],
                              capture_output=True, text=True, timeout=STEP, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("dns_servers = 10.0.0.1, [2001:db8::1]:5353\n", done.stdout)
        self.assertIn("tls://srv:_a._tcp.b.test verified as b.test against", done.stdout)


if __name__ == "__main__":
    unittest.main()
