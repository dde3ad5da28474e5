"""Several upstreams, and several addresses of one: who is asked, who is passed over, who comes back.

What is counted here is counted by the gateway and by the upstreams; times are generous."""

import collections
import datetime
import os
import signal
import socket
import ssl
import threading
import time
import unittest

from harness import SANITIZED, STEP, certificate, free_port, until
from names import NamesCase
from peers import Upstream, connect, server_context
from pki import Authority

TRUST = ("--ca", certificate("ca"), "--server-name", "localhost")


class Says(Upstream):
    """Says its word, then keeps the connection until its consumer ends."""

    def __init__(self, word, context=None, **settings):
        self.word = word

        def script(connection):
            connection.send(word.encode() + b"\n")
            while connection.recv():
                pass
            connection.end()

        super().__init__(script, context, **settings)


class Mute(Upstream):
    """Takes connections and says nothing; `cut`: ends them at once."""

    def __init__(self, cut=False, **settings):
        def script(connection):
            while not cut and connection.recv():
                pass

        super().__init__(script, None, **settings)


class UpstreamsCase(NamesCase):
    def says(self, word, context=None, **settings):  # pylint: disable=arguments-differ
        return self.closing(Says(word, context, **settings))

    def between(self, upstreams, *options, **settings):
        return self.start([upstream.url() for upstream in upstreams], *options, **settings)

    def opened(self, gateway, source=None):
        """A consumer that has heard whom it got; its word is "" where the session failed."""
        sock = socket.socket()
        self.addCleanup(sock.close)
        sock.settimeout(STEP)
        if source:
            sock.bind((source, 0))
        try:
            sock.connect(gateway.address)
        except ConnectionResetError:  # the session has failed already
            return sock, ""
        return sock, self.hear(sock)

    @staticmethod
    def hear(sock):
        sock.settimeout(STEP)
        got = b""
        try:
            while not got.endswith(b"\n"):
                data = sock.recv(100)
                if not data:
                    return ""
                got += data
        except ConnectionError:
            return ""
        return got.decode().strip()

    def whom(self, gateway, source=None):
        sock, word = self.opened(gateway, source)
        sock.close()
        return word

    def whom_all(self, gateway, times):
        return collections.Counter(self.whom(gateway) for _ in range(times))

    def upstream(self, number):
        return self.get("/status")["services"][0]["upstreams"][number]

    def of(self, name, upstream, **labels):
        return self.metric(name, upstream=upstream.url(), **labels)


class Balance(UpstreamsCase):
    def test_failover_takes_the_first(self):
        one, two = self.says("one"), self.says("two")
        gateway = self.between([one, two])
        self.assertEqual(self.whom_all(gateway, 10), {"one": 10})

    def test_round_robin_by_weight(self):
        three = [self.says(word) for word in ("one", "two", "three")]
        gateway = self.between(three, "--balance", "round_robin", "--weights", 3, "--weights", 1,
                               "--weights", 1, "--workers", 2)
        self.assertEqual(self.whom_all(gateway, 50), {"one": 30, "two": 10, "three": 10})
        self.assertEqual(self.upstream(0)["weight"], 3)

    def test_least_connections(self):
        one, two = self.says("one"), self.says("two")
        gateway = self.between([one, two], "--balance", "least_connections", "--workers", 2)
        held = [self.opened(gateway) for _ in range(10)]
        self.assertEqual(collections.Counter(word for _, word in held), {"one": 5, "two": 5})
        self.assertEqual(self.of("upstream_connections", one), 5)
        for sock, word in held:
            if word == "one":
                sock.close()
        until(lambda: self.of("upstream_connections", one) == 0, what="its sessions to end")
        again = [self.opened(gateway)[1] for _ in range(5)]
        self.assertEqual(again, ["one"] * 5)
        self.assertEqual(self.of("upstream_connections", one), 5)

    def test_random_two_avoids_the_busy_one(self):
        one, two = self.says("one"), self.says("two")
        gateway = self.between([one, two], "--balance", "random_two")
        held = [self.opened(gateway) for _ in range(20)]
        count = collections.Counter(word for _, word in held)
        self.assertEqual(count, {"one": 10, "two": 10})  # of two, the two are both

    def test_source_hash(self):
        three = [self.says(word) for word in ("one", "two", "three")]
        gateway = self.between(three, "--balance", "source_hash", "--workers", 2)
        sources = [f"127.0.1.{last}" for last in range(1, 41)]
        first = {source: self.whom(gateway, source) for source in sources}
        self.assertEqual(set(first.values()), {"one", "two", "three"})
        self.assertEqual({source: self.whom(gateway, source) for source in sources}, first)
        three[0].close()  # whoever was with it moves, and nobody else
        moved = {source: self.whom(gateway, source) for source in sources}
        for source in sources:
            if first[source] == "one":
                self.assertIn(moved[source], ("two", "three"))
            else:
                self.assertEqual(moved[source], first[source])

    def test_backups(self):
        one, two = self.says("one"), self.says("two")
        spare = self.says("spare")
        gateway = self.between([one, two, spare], "--balance", "round_robin", "--backups", 1,
                               "--eject-time", "1m")
        self.assertEqual(self.whom_all(gateway, 10), {"one": 5, "two": 5})
        one.close()
        two.close()
        self.assertEqual(self.whom_all(gateway, 10), {"spare": 10})
        self.assertTrue(self.upstream(2)["backup"])


    def test_one_given_twice_has_two_shares_and_one_name(self):
        one, two = self.says("one"), self.says("two")
        gateway = self.between([one, two, one], "--balance", "round_robin")
        self.assertEqual(self.whom_all(gateway, 30), {"one": 20, "two": 10})
        two.close()
        self.assertEqual(self.whom_all(gateway, 6), {"one": 6})
        self.assertGreater(self.of("upstream_failures_total", two), 0)  # no sample is there twice
        self.assertEqual(self.of("upstream_usable", one), 1)


class Ejection(UpstreamsCase):
    """Failures in a row, and what they cost those who come after."""

    def load(self, gateway, seconds, threads=8):
        """Sessions one after the other on each thread: [(when it began, its word)]."""
        said, over = [], time.time() + seconds

        def some():
            while time.time() < over:
                began = time.time()
                said.append((began, self.whom(gateway)))

        workers = [threading.Thread(target=some) for _ in range(threads)]
        for worker in workers:
            worker.start()
        return workers, said

    def test_failover_and_return_under_load(self):
        """The first dies and comes back: no session fails, few of thousands have to find out."""
        # With TLS: one that is cut before its handshake is done lets the next be tried.
        one, two = self.says("one", server_context()), self.says("two", server_context())
        port = one.port
        gateway = self.between([one, two], *TRUST, "--eject-time", "500ms", "--eject-max", "500ms",
                               "--workers", 2)
        workers, said = self.load(gateway, 6.0)
        time.sleep(1.5)
        one.close()
        died = time.time()
        gateway.wait_log(lambda line: line["event"] == "upstream_ejected", what="the ejection")
        time.sleep(2.0)
        self.says("one", server_context(), address=("127.0.0.1", port))
        line = gateway.wait_log(lambda line: line["event"] == "upstream_back", what="the return")
        # When it was, not when we came to read of it.
        back = datetime.datetime.fromisoformat(line["time"].replace("Z", "+00:00")).timestamp()
        for worker in workers:
            worker.join()
        words = collections.Counter(word for _, word in said)
        self.assertEqual(set(words), {"one", "two"}, words)  # none failed
        failed = self.of("upstream_failures_total", one, reason="connect_failed")
        ejections = self.of("upstream_ejections_total", one)
        meanwhile = [word for began, word in said if died + 0.1 < began < back - 0.1]
        after = [word for began, word in said if began > back + 0.1]
        print(f"failover: {len(said)} sessions, {len(meanwhile)} of them while it was down; "
              f"{failed:g} tried it then, {ejections:g} ejections; {len(after)} after its return")
        self.assertGreater(len(meanwhile), 20)
        self.assertEqual(set(meanwhile), {"two"})
        self.assertGreater(len(after), 5)
        self.assertEqual(set(after), {"one"})
        # Three in a row, what was under way on eight threads, and one trial each half second.
        self.assertGreaterEqual(ejections, 1)
        self.assertLessEqual(failed, 3 + 8 + (back - died) / 0.4 + 1)

    def test_it_is_passed_over_and_tried_by_one(self):
        one, two = self.says("one"), self.says("two")
        one.close()
        gateway = self.between([one, two], "--eject-after", 2, "--eject-time", "1m")
        self.assertEqual(self.whom_all(gateway, 10), {"two": 10})
        self.assertEqual(self.of("upstream_failures_total", one, reason="connect_failed"), 2)
        status = self.upstream(0)
        self.assertEqual((status["state"], status["usable"], status["ejections"]),
                         ("ejected", False, 1))
        self.assertGreater(status["ejected_for_ms"], 30000)
        line = gateway.wait_log(lambda line: line["event"] == "upstream_ejected")
        self.assertEqual((line["upstream"], line["reason"]), (one.url(), "connect_failed"))
        self.assertIn("Connection refused", line["error"])

    def test_who_has_nobody_else_asks_it_all_the_same(self):
        one, two = self.says("one"), self.says("two")
        port = one.port
        one.close()
        gateway = self.between([one, two], "--eject-after", 1, "--eject-time", "1h",
                               "--eject-max", "1h")
        self.assertEqual(self.whom(gateway), "two")
        two.close()
        self.assertEqual(self.whom(gateway), "")
        self.says("one", address=("127.0.0.1", port))
        self.assertEqual(self.whom(gateway), "one")
        gateway.wait_log(lambda line: line["event"] == "upstream_back"
                         and line["upstream"] == one.url())
        self.assertEqual(self.upstream(0)["state"], "ok")

    def test_never(self):
        one, two = self.says("one"), self.says("two")
        one.close()
        gateway = self.between([one, two], "--eject-after", 0)
        self.assertEqual(self.whom_all(gateway, 10), {"two": 10})
        self.assertEqual(self.of("upstream_failures_total", one, reason="connect_failed"), 10)
        self.assertEqual(self.of("upstream_ejections_total", one), 0)

    def test_a_cut_in_the_handshake_counts(self):
        one, two = self.closing(Mute(cut=True)), self.says("two", server_context())
        gateway = self.start([f"tls://127.0.0.1:{one.port}", two.url()], *TRUST,
                             "--eject-time", "1m")
        self.assertEqual(self.whom_all(gateway, 10), {"two": 10})
        self.assertEqual(one.accepted, 3)


    def test_the_last_one_tells_why(self):
        """What it says of its handshake is worth more than that another refused."""
        one, two = self.says("one", server_context()), self.closing(Mute(cut=True))
        one.close()
        gateway = self.start([one.url(), f"tls://127.0.0.1:{two.port}"], *TRUST)
        self.assertEqual(self.whom(gateway), "")
        line = gateway.wait_log(lambda line: line["event"] == "session")
        self.assertEqual((line["reason"], line["phase"]),
                         ("upstream_handshake_failed", "upstream_handshake"), line)


# MySQL's first packet: version 10, with TLS among its capabilities.
GREETING = (b"\x0a5.5.5-10.11.6\0\x2a\0\0\0abcdefgh\0\xfe\xff\x08\x02\0\xff\x81\x15" + bytes(6) +
            b"\x1d\0\0\0qwertyuiopas\0mysql_native_password\0")


class Consumers(UpstreamsCase):
    def test_what_they_say_wrong_counts_against_no_upstream(self):
        def greet(connection):
            connection.send(bytes([len(GREETING), 0, 0, 0]) + GREETING)
            while connection.recv():
                pass

        server = self.closing(Upstream(greet))
        url = f"tls://127.0.0.1:{server.port}"
        gateway = self.start([url, "tls://127.0.0.1:1"], *TRUST, "--starttls", "mysql")
        for _ in range(4):
            with socket.create_connection(gateway.address, STEP) as sock:
                self.assertIn(b"mysql_native_password", sock.recv(1000))
                sock.send(b"\1\0\0\1\0")
                with self.assertRaises(ConnectionResetError):
                    sock.recv(1)
        until(lambda: len(gateway.sessions()) == 4, what="the lines of all")
        self.assertEqual({(line["reason"], line["upstream"]) for line in gateway.sessions()},
                         {("consumer_protocol_error", url)})
        self.assertEqual(self.upstream(0)["failures_in_row"], 0)
        self.get("/readyz")


class WrongCertificate(UpstreamsCase):
    """Never passed over in silence."""

    def start_with_wrong(self, *options):
        wrong = self.says("wrong", server_context("expired"))
        good = self.says("good", server_context())
        return wrong, good, self.between([wrong, good], *TRUST, *options, "--eject-after", 1,
                                         "--eject-time", "1m", "--balance", "round_robin")

    def test_it_fails_each_session_that_meets_it(self):
        wrong, _, gateway = self.start_with_wrong()
        self.assertEqual(self.whom_all(gateway, 20), {"good": 10, "": 10})
        self.assertEqual(self.of("upstream_failures_total", wrong,
                                 reason="upstream_verify_failed"), 10)
        self.assertEqual(self.of("upstream_ejections_total", wrong), 0)
        self.assertEqual(self.of("upstream_alarms_total", wrong), 0)

    def test_failover_on_verify_says_so(self):
        wrong, _, gateway = self.start_with_wrong("--failover-on-verify", "true")
        self.assertEqual(self.whom_all(gateway, 20), {"good": 20})
        self.assertEqual(self.of("upstream_alarms_total", wrong), 10)
        self.assertEqual(self.of("upstream_ejections_total", wrong), 0)
        line = gateway.wait_log(lambda line: line["event"] == "upstream_alarm")
        self.assertEqual((line["level"], line["upstream"], line["reason"]),
                         ("error", wrong.url(), "upstream_verify_failed"))
        self.assertIn("expired", line["error"])
        self.assertEqual(len([line for line in gateway.lines()
                              if line["event"] == "upstream_alarm"]), 1)  # one an interval

    def test_one_that_is_revoked_is_passed_over_the_same_way(self):
        folder = self.scratch()
        authority = Authority(folder, "Root")
        leaves = [authority.issue(name) for name in ("bad", "good")]
        authority.revoke(leaves[0])
        upstreams = []
        for leaf in leaves:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(leaf.certificate, leaf.key)
            upstreams.append(self.says(os.path.basename(leaf.key), context))
        options = ("--ca", authority.certificate, "--crl", authority.crl(), "--server-name",
                   "localhost")
        gateway = self.between(upstreams, *options)
        self.assertEqual(self.whom(gateway), "")
        gateway = self.between(upstreams, *options, "--failover-on-verify", "true")
        self.assertIn("good", self.whom(gateway))
        line = gateway.wait_log(lambda line: line["event"] == "upstream_alarm")
        self.assertEqual(line["reason"], "upstream_revoked")

    def test_failover_on_verify_has_to_go_somewhere(self):
        wrong = self.says("wrong", server_context("expired"))
        refused = self.says("refused", server_context())
        refused.close()
        gateway = self.between([refused, wrong], *TRUST, "--failover-on-verify", "true")
        self.assertEqual(self.whom(gateway), "")
        line = gateway.wait_log(lambda line: line["event"] == "session")
        self.assertEqual(line["reason"], "upstream_verify_failed", line)
        self.assertEqual(self.of("upstream_alarms_total", wrong), 0)  # it is the session's error

    def test_failover_on_verify_passes_nothing_else(self):
        one, two = self.says("no TLS here"), self.says("two", server_context())
        gateway = self.start([f"tls://127.0.0.1:{one.port}", two.url()], *TRUST,
                             "--failover-on-verify", "true")
        self.assertEqual((self.whom(gateway), two.accepted), ("", 0))  # it speaks no TLS

    def test_one_that_comes_back_wrong_is_seen(self):
        """It was ejected for not answering; then it answers, wrong: whoever tries it says so, and
        it is not passed over any more."""
        one, two = self.says("one", server_context()), self.says("two", server_context())
        port = one.port
        gateway = self.between([one, two], *TRUST, "--eject-after", 1, "--eject-time", "300ms")
        self.assertEqual(self.whom(gateway), "one")
        one.close()
        self.assertEqual(self.whom(gateway), "two")
        self.says("wrong", server_context("expired"), address=("127.0.0.1", port))
        until(lambda: self.whom(gateway) == "", what="its turn")
        self.assertEqual(self.whom_all(gateway, 5), {"": 5})
        self.assertEqual(self.of("upstream_ejected", one), 0)


class Checks(UpstreamsCase):
    OFTEN = ("--check-interval", "100ms", "--check-fall", 2, "--check-rise", 2)

    def state(self, number):
        status = self.upstream(number)
        return status["check"], status["usable"]

    def test_a_dead_one_is_found_without_a_consumer(self):
        one, two = self.says("one", server_context()), self.says("two", server_context())
        port = one.port
        gateway = self.between([one, two], *TRUST, "--check", "tls", *self.OFTEN)
        until(lambda: (self.state(0), self.state(1)) == (("up", True), ("up", True)),
              what="good checks")
        self.assertEqual(self.whom(gateway), "one")
        one.close()
        until(lambda: self.state(0) == ("down", False), what="failed checks")
        self.assertEqual(self.upstream(0)["state"], "down")
        self.assertEqual(self.whom_all(gateway, 5), {"two": 5})
        self.assertEqual(self.metric("upstream_failures_total", upstream=one.url(),
                                     reason="connect_failed") or 0, 0)  # no consumer met it
        line = gateway.wait_log(lambda line: line["event"] == "upstream_check_down")
        self.assertEqual((line["upstream"], line["reason"]), (one.url(), "connect_failed"))
        self.says("one", server_context(), address=("127.0.0.1", port))
        until(lambda: self.state(0) == ("up", True), what="good checks again")
        self.assertEqual(self.whom(gateway), "one")
        gateway.wait_log(lambda line: line["event"] == "upstream_check_up")

    def test_not_ready_when_all_are_down(self):
        one = self.says("one")
        gateway = self.between([one], "--check", "tcp", *self.OFTEN)
        self.get("/readyz")
        one.close()
        until(lambda: self.state(0) == ("down", False), what="failed checks")
        self.assertIn("the checks of all of them fail", self.get("/readyz", 503))
        self.assertEqual(self.whom(gateway), "")  # it is asked all the same

    def test_a_wrong_certificate_is_an_alarm_and_not_down(self):
        wrong, good = self.says("wrong", server_context("expired")), self.says("good",
                                                                               server_context())
        gateway = self.between([wrong, good], *TRUST, "--check", "tls", *self.OFTEN)
        until(lambda: self.of("upstream_alarms_total", wrong) > 4, what="alarms")
        self.assertEqual(self.state(0), ("up", True))
        gateway.wait_log(lambda line: line["event"] == "upstream_alarm")
        self.assertEqual(self.whom(gateway), "")

    def test_a_connection_does_not_make_up_for_handshakes(self):
        """Checks by TCP are good, handshakes are cut: it stays ejected."""
        one, two = self.closing(Mute(cut=True)), self.says("two", server_context())
        gateway = self.start([f"tls://127.0.0.1:{one.port}", two.url()], *TRUST, "--check", "tcp",
                             *self.OFTEN, "--eject-time", "1m")
        until(lambda: self.upstream(0)["check"] == "up", what="good checks")
        self.assertEqual(self.whom_all(gateway, 5), {"two": 5})
        self.assertEqual(self.upstream(0)["state"], "ejected")
        seen = self.metric("upstream_checks_total", upstream=f"tls://127.0.0.1:{one.port}",
                           result="good")
        self.until_metric(seen + 3, "upstream_checks_total", result="good",
                          upstream=f"tls://127.0.0.1:{one.port}")
        self.assertEqual(self.upstream(0)["state"], "ejected")

    def test_a_good_handshake_brings_it_back(self):
        one, two = self.says("one", server_context()), self.says("two", server_context())
        port = one.port
        one.close()
        gateway = self.between([one, two], *TRUST, "--check", "tls", "--check-interval", "200ms",
                               "--check-fall", 1000, "--eject-after", 1, "--eject-time", "1h",
                               "--eject-max", "1h")
        self.assertEqual(self.whom(gateway), "two")
        self.assertEqual(self.upstream(0)["state"], "ejected")
        self.says("one", server_context(), address=("127.0.0.1", port))
        gateway.wait_log(lambda line: line["event"] == "upstream_back")
        self.assertEqual(self.whom(gateway), "one")

    def test_checks_leave_nothing_behind(self):
        one, dead = self.says("one", server_context()), free_port()
        gateway = self.start([one.url(), f"tls://127.0.0.1:{dead}"], *TRUST, "--check", "tls",
                             *self.OFTEN)
        until(lambda: one.accepted > 3, what="checks")
        base = gateway.descriptors()
        until(lambda: one.accepted > 20, what="more checks")
        until(lambda: gateway.descriptors() <= base + 1, what="descriptors as before")


    def test_none_while_it_drains(self):
        one, two = self.says("one", server_context()), self.says("two", server_context())
        gateway = self.between([one, two], *TRUST, "--check", "tls", *self.OFTEN,
                               drain="30s")
        sock, word = self.opened(gateway)
        self.assertEqual(word, "one")
        until(lambda: two.accepted > 2, what="checks")
        gateway.signal(signal.SIGTERM)
        gateway.wait_log(lambda line: line["event"] == "draining")
        time.sleep(0.2)  # for one that was under way
        before = two.accepted
        time.sleep(1)  # of which there would have been ten
        self.assertEqual(two.accepted, before)
        sock.close()
        self.assertEqual(gateway.wait_exit(), 0)


class Addresses(UpstreamsCase):
    """Several addresses of one name, on one port."""

    def name(self, *addresses):
        server = self.dns()
        server.a("many.test", *addresses)
        return server

    def start_named(self, server, port, *options, **settings):
        return self.named(server, f"tls://many.test:{port}", *TRUST, *options, **settings)

    def pair(self, *makers):
        """All on the same port, on 127.0.0.2 and those that follow."""
        for _ in range(20):
            made = []
            try:
                for maker in makers:
                    made.append(maker((f"127.0.0.{len(made) + 2}", made[0].port if made else 0)))
            except OSError:
                for upstream in made:
                    upstream.close()
                continue
            return [self.closing(upstream) for upstream in made]
        self.fail("no port is free on all")

    @staticmethod
    def mute(address):
        return Mute(address=address)

    @staticmethod
    def good(address):
        return Says("good", server_context(), address=address)

    def test_the_first_verified_handshake_wins(self):
        mute, good = self.pair(self.mute, self.good)
        gateway = self.start_named(self.name("127.0.0.2", "127.0.0.3"), good.port, "--race", "tls")
        began = time.monotonic()
        self.assertEqual(self.whom(gateway), "good")
        took = time.monotonic() - began
        self.assertGreater(took, 0.2)
        if not SANITIZED:
            self.assertLess(took, 5)  # far less than the handshake timeout
        self.assertEqual(mute.accepted, 1)
        # The last good one is remembered.
        for _ in range(3):
            self.assertEqual(self.whom(gateway), "good")
        self.assertEqual(mute.accepted, 1)
        line = gateway.wait_log(lambda line: line["event"] == "session" and line["reason"] != "probe")
        self.assertEqual(line["address"], f"127.0.0.3:{good.port}")

    def test_whoever_connects_first_and_falls_silent_is_replaced(self):
        """race = tcp: the silent one has won; the others have their turn again."""
        mute, good = self.pair(self.mute, self.good)
        gateway = self.start_named(self.name("127.0.0.2", "127.0.0.3"), good.port,
                                   "--handshake-timeout", "500ms", "--connect-timeout", "500ms")
        self.assertEqual(self.whom(gateway), "good")
        self.assertEqual(mute.accepted, 1)

    def test_silent_ones_leave_time_for_the_next(self):
        """race = tls: four that connect and are silent have all lanes, until all time is over."""
        *_, good = self.pair(*[self.mute] * 4, self.good)
        addresses = [f"127.0.0.{last}" for last in range(2, 7)]
        gateway = self.start_named(self.name(*addresses), good.port, "--race", "tls",
                                   "--handshake-timeout", "600ms", "--connect-timeout", "600ms")
        self.assertEqual(self.whom(gateway), "good")

    def test_lanes_leave_sessions_their_descriptors(self):
        """Three of four addresses connect and are silent; no session fails for want of one."""
        *_, good = self.pair(*[self.mute] * 3, self.good)
        addresses = [f"127.0.0.{last}" for last in range(2, 6)]
        gateway = self.start_named(self.name(*addresses), good.port, "--race", "tls",
                                   "--handshake-timeout", "1s", "--workers", 1,
                                   prefix=("sh", "-c", 'ulimit -n 128; exec "$@"', "sh"))
        first = [self.closing(connect(gateway.address)).sock for _ in range(25)]
        time.sleep(0.6)  # until they have all the lanes that they may have
        for sock in first + [self.closing(connect(gateway.address)).sock for _ in range(30)]:
            self.assertEqual(self.hear(sock), "good")
            sock.close()

    def test_a_wrong_address_is_not_masked(self):
        for race in ("tcp", "tls"):
            with self.subTest(race=race):
                _, good = self.pair(
                    lambda address: Says("wrong", server_context("expired"), address=address),
                    self.good)
                gateway = self.start_named(self.name("127.0.0.2", "127.0.0.3"), good.port,
                                           "--race", race)
                self.assertEqual(self.whom(gateway), "")
                self.assertEqual(good.accepted, 0)

    def test_a_wrong_address_is_passed_with_an_alarm(self):
        _, good = self.pair(
            lambda address: Says("wrong", server_context("expired"), address=address), self.good)
        gateway = self.start_named(self.name("127.0.0.2", "127.0.0.3"), good.port,
                                   "--failover-on-verify", "true")
        self.assertEqual(self.whom(gateway), "good")
        line = gateway.wait_log(lambda line: line["event"] == "upstream_alarm")
        self.assertEqual(line["address"], f"127.0.0.2:{good.port}")


    def test_a_wrong_and_a_dead_address(self):
        """Passed over for the wrong one, it is not ejected for the dead one: that would be silent."""
        for dead_first in (False, True):
            with self.subTest(dead_first=dead_first):
                wrong, dead = self.pair(
                    lambda address: Says("wrong", server_context("expired"), address=address),
                    self.good)
                dead.close()
                good = self.says("good", server_context())
                names = ("127.0.0.3", "127.0.0.2") if dead_first else ("127.0.0.2", "127.0.0.3")
                server = self.name(*names)
                gateway = self.named(server, [f"tls://many.test:{wrong.port}", good.url()], *TRUST,
                                     "--failover-on-verify", "true", "--eject-after", 1)
                self.assertEqual(self.whom_all(gateway, 3), {"good": 3})
                self.assertEqual(self.metric("upstream_alarms_total"), 3)
                self.assertEqual(self.metric("upstream_ejections_total"), 0)


class WarmPool(UpstreamsCase):
    def test_it_follows_the_upstream_that_is_used(self):
        one, two = self.says("one"), self.says("two")
        port = one.port
        one.close()
        gateway = self.between([one, two], "--warm-min", 2, "--workers", 1, "--eject-after", 1,
                               "--eject-time", "1s", "--eject-max", "1s")
        self.until_metric(2, "warm_connections")
        self.assertEqual(self.whom(gateway), "two")
        self.says("one", address=("127.0.0.1", port))
        until(lambda: self.upstream(0)["state"] != "ejected" or self.whom(gateway) == "one",
              what="its trial")
        until(lambda: self.whom(gateway) == "one", what="the first to be used again")
        self.until_metric(2, "warm_connections")
        self.assertEqual(self.whom_all(gateway, 5), {"one": 5})
        self.assertGreater(self.metric("warm_discarded_total", cause="outranked"), 0)


if __name__ == "__main__":
    unittest.main()
