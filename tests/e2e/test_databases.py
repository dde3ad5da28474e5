"""Databases that speak TLS in their own protocol, behind clients that speak it without."""

import os
import re
import threading
import unittest

from databases import Mariadb, Postgres
from harness import SANITIZED, Case, certificate, until
from pki import Authority

CLEAN = ("done", "cut_after_end", "consumer_reset")


class Database(Case):
    def through(self, port, kind, *options, host="localhost", **settings):
        return self.gateway(f"tls://127.0.0.1:{port}", "--starttls", kind, "--ca",
                            certificate("ca"), "--server-name", host, *options, **settings)

    def failure(self, gateway, reason):
        line = gateway.wait_log(lambda line: line.get("event") == "session", what="its line")
        self.assertEqual(line["reason"], reason, line)
        return line


class PostgresThrough(Database):
    def test_psql_and_pgbench(self):
        """The server lets nobody in without TLS; psql asks for it (sslmode=prefer) and for nothing
        (disable). Ten seconds of pgbench (or ESCLUSA_PGBENCH_SECONDS): no error."""
        server = Postgres(self)
        gateway = self.through(server.port, "postgres")
        port = gateway.address[1]
        code, out = server.psql(server.port, "select 1", sslmode="disable")
        self.assertNotEqual(code, 0, out)
        for sslmode in ("prefer", "disable", "allow"):
            code, out = server.psql(port, "select ssl, version from pg_stat_ssl "
                                          "where pid = pg_backend_pid()", sslmode=sslmode)
            self.assertEqual((code, out), (0, "t|TLSv1.3\n"), sslmode)
        code, out = server.psql(port, "select 1", sslmode="require")
        self.assertIn("does not support SSL", out)
        code, out = server.psql(port, "select length(repeat('x', 20000000))")
        self.assertEqual((code, out), (0, "20000000\n"))

        code, out = server.pgbench(port, "-i", "-q", "-s", "2")
        self.assertEqual(code, 0, out)
        seconds = int(os.environ.get("ESCLUSA_PGBENCH_SECONDS", 3 if SANITIZED else 10))
        code, out = server.pgbench(port, "-T", seconds, "-c", "8", "-j", "2")
        self.assertEqual(code, 0, out)
        done = re.search(r"transactions actually processed: (\d+)", out)
        failed = re.search(r"number of failed transactions: (\d+)", out)
        rate = re.search(r"^tps = ([\d.]+) \(", out, re.MULTILINE)
        print(f"pgbench, {seconds} s: {done.group(1)} transactions, {failed.group(1)} failed, "
              f"{float(rate.group(1)):.0f} a second")
        self.assertGreater(int(done.group(1)), 0, out)
        self.assertEqual(failed.group(1), "0", out)
        self.assertNotRegex(out, "(?i)aborted|error:")
        # What it counted is what the server has in its books: pgbench_history has a row for each.
        code, out = server.psql(port, "select count(*) from pgbench_history")
        self.assertEqual((code, out), (0, done.group(1) + "\n"))
        # A new connection each time: the whole way in again and again.
        code, out = server.pgbench(port, "-t", 10 if SANITIZED else 30, "-c", "4", "-C", "-S")
        self.assertEqual(code, 0, out)
        self.assertIn("number of failed transactions: 0", out)
        bad = [line for line in gateway.sessions() if line["reason"] not in CLEAN]
        # psql -m require leaves at once when told that there is no TLS.
        self.assertEqual([line for line in bad if line["reason"] != "probe"], [])

    def test_cancel(self):
        """A CancelRequest comes over a connection of its own."""
        server = Postgres(self)
        port = self.through(server.port, "postgres").address[1]
        slow = Thread(lambda: server.psql(port, "select pg_sleep(100)"))
        busy = "select pid from pg_stat_activity where query = 'select pg_sleep(100)'"
        until(lambda: server.psql(port, busy)[1].strip(), what="the query to run")
        server.psql(port, f"select pg_cancel_backend(({busy}))")
        code, out = slow.result()
        self.assertNotEqual(code, 0)
        self.assertIn("canceling statement", out)

    def test_warm(self):
        server = Postgres(self)
        gateway = self.through(server.port, "postgres", "--warm-min", 2, "--workers", 1)
        for _ in range(10):
            self.assertEqual(server.psql(gateway.address[1], "select 7"), (0, "7\n"))
        self.assertTrue(any(line.get("warm") for line in gateway.sessions()), gateway.sessions())

    def test_no_tls_there(self):
        server = Postgres(self, ssl=False, hba="host all all 127.0.0.1/32 scram-sha-256")
        gateway = self.through(server.port, "postgres")
        code, out = server.psql(server.port, "select 1", sslmode="disable")
        self.assertEqual((code, out), (0, "1\n"))
        code, out = server.psql(gateway.address[1], "select 1")
        self.assertNotEqual(code, 0, out)
        line = self.failure(gateway, "starttls_refused")
        self.assertEqual(line["phase"], "starttls")
        self.assertIn("does not do TLS", line["error"])
        self.assertIn("ssl = on", line["remedy"])
        log = server.server.output()
        self.assertNotIn("tester", log.split("ready to accept")[1].replace("select 1", ""))

    def test_wrong_name(self):
        server = Postgres(self)
        gateway = self.through(server.port, "postgres", host="elsewhere.example")
        code, out = server.psql(gateway.address[1], "select 1")
        self.assertNotEqual(code, 0, out)
        line = self.failure(gateway, "upstream_verify_failed")
        self.assertEqual(line["phase"], "upstream_handshake")

    def test_wrong_authority(self):
        server = Postgres(self)
        other = Authority(self.scratch(), "other")
        gateway = self.gateway(f"tls://127.0.0.1:{server.port}", "--starttls", "postgres", "--ca",
                               other.certificate, "--server-name", "localhost")
        code, out = server.psql(gateway.address[1], "select 1")
        self.assertNotEqual(code, 0, out)
        self.failure(gateway, "upstream_verify_failed")


class MariadbThrough(Database):
    def test_mariadb(self):
        server = Mariadb(self)
        gateway = self.through(server.port, "mysql")
        port = gateway.address[1]
        code, out = server.sql(server.port, "select 1")
        self.assertNotEqual(code, 0, out)
        code, out = server.sql(port, "show status like 'Ssl_version'")
        self.assertEqual((code, out), (0, "Ssl_version\tTLSv1.3\n"))
        code, out = server.sql(port, "select repeat('x', 3000000)", "--max-allowed-packet=16M",
                               "--compress")
        self.assertEqual((code, len(out)), (0, 3000001), out[:200])
        code, out = server.sql(port, "create table t (n int, b longblob); insert into t values (1, "
                                     "repeat('y', 1000)), (2, null); select n, length(b) from t; "
                                     "drop table t")
        self.assertEqual((code, out), (0, "1\t1000\n2\tNULL\n"))
        # A wrong password: the server's word, in its place.
        code, out = server.sql(port, "select 1", password="wrong")
        self.assertIn("ERROR 1045 (28000): Access denied", out)
        threads = [Thread(lambda: [server.sql(port, "select 5") for _ in range(5)])
                   for _ in range(4)]
        for thread in threads:
            self.assertEqual(thread.result(), [(0, "5\n")] * 5)
        # It answers a farewell by closing, without close_notify.
        clean = (*CLEAN, "upstream_truncated")
        self.assertEqual([line for line in gateway.sessions() if line["reason"] not in clean], [])

    def test_consumer_wants_tls(self):
        server = Mariadb(self)
        gateway = self.through(server.port, "mysql")
        code, out = server.sql(gateway.address[1], "select 1", "--ssl", "--ssl-verify-server-cert",
                               f"--ssl-ca={certificate('ca')}")
        self.assertNotEqual(code, 0)
        self.assertIn("SSL is required, but the server does not support it", out)

    def test_no_tls_there(self):
        server = Mariadb(self, tls=False)
        gateway = self.through(server.port, "mysql")
        code, out = server.sql(server.port, "select 1")
        self.assertEqual((code, out), (0, "1\n"))
        code, out = server.sql(gateway.address[1], "select 1")
        self.assertNotEqual(code, 0, out)
        line = self.failure(gateway, "starttls_refused")
        self.assertIn("does not offer TLS", line["error"])

    def test_wrong_name(self):
        server = Mariadb(self)
        gateway = self.through(server.port, "mysql", host="elsewhere.example")
        code, out = server.sql(gateway.address[1], "select 1")
        self.assertNotEqual(code, 0, out)
        self.failure(gateway, "upstream_verify_failed")


class Thread:
    """function() in a thread; result() gives what it gave."""

    def __init__(self, function):
        self.got = None

        def work():
            self.got = function()

        self.thread = threading.Thread(target=work, daemon=True)
        self.thread.start()

    def result(self):
        self.thread.join(120)
        return self.got


if __name__ == "__main__":
    unittest.main()
