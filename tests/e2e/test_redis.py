"""redis over TLS, used by clients that speak plaintext to the gateway."""

import re
import subprocess
import unittest

from harness import SANITIZED, STEP, Case, certificate, free_port, key, need

REQUESTS = 4000 if SANITIZED else 20000


class Redis(Case):
    def start(self, *options):
        """A redis that speaks TLS alone, and the gateway in front of it."""
        port = free_port()
        server = self.program(
            need("redis-server"), "--port", 0, "--tls-port", port, "--bind", "127.0.0.1",
            "--tls-cert-file", certificate("server"), "--tls-key-file", key("server"),
            "--tls-ca-cert-file", certificate("ca"), "--save", "", "--appendonly", "no",
            "--dir", self.scratch(), *options)
        server.wait_output("Ready to accept connections")
        return self.gateway(f"127.0.0.1:{port}", "--ca", certificate("ca"), "--server-name",
                            "localhost", "--cert", certificate("client"), "--key", key("client"))

    def run_client(self, gateway, program, *words, stdin=None):
        done = subprocess.run(
            [need(program), "-h", "127.0.0.1", "-p", str(gateway.address[1]), *map(str, words)],
            input=stdin, stdin=None if stdin else subprocess.DEVNULL, capture_output=True,
            timeout=3 * STEP, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_redis_cli(self):
        gateway = self.start("--tls-auth-clients", "no")
        self.assertEqual(self.run_client(gateway, "redis-cli", "ping"), b"PONG\n")
        value = b"0123456789abcdef" * 65536
        self.assertEqual(self.run_client(gateway, "redis-cli", "-x", "set", "big", stdin=value),
                         b"OK\n")
        self.assertEqual(self.run_client(gateway, "redis-cli", "get", "big"), value + b"\n")
        self.assertEqual(self.run_client(gateway, "redis-cli", "strlen", "big"),
                         b"%d\n" % len(value))

    def test_pipe_of_commands(self):
        """redis-cli --pipe sends without waiting and half-closes nothing: it waits for an ECHO."""
        gateway = self.start("--tls-auth-clients", "no")
        commands = b"".join(b"*3\r\n$3\r\nSET\r\n$6\r\nk%05d\r\n$5\r\nhello\r\n" % number
                            for number in range(20000))
        self.assertIn(b"errors: 0, replies: 20000",
                      self.run_client(gateway, "redis-cli", "--pipe", stdin=commands))
        self.assertEqual(self.run_client(gateway, "redis-cli", "dbsize"), b"20000\n")

    def test_redis_benchmark(self):
        """With a client certificate, which this redis demands."""
        gateway = self.start("--tls-auth-clients", "yes")
        out = self.run_client(gateway, "redis-benchmark", "-n", REQUESTS, "-c", 50, "-P", 8, "-t",
                              "set,get", "-d", 1000, "-r", 1000, "--csv").decode()
        for command in ("SET", "GET"):
            rate = re.search(rf'"{command}","([0-9.]+)"', out)
            self.assertTrue(rate and float(rate.group(1)) > 0, out)
        # redis answers our close_notify with a bare FIN: cut_after_end.
        clean = ("done", "cut_after_end", "consumer_reset")
        self.assertEqual([line for line in gateway.sessions() if line["reason"] not in clean], [])


if __name__ == "__main__":
    unittest.main()
