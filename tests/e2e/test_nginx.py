"""nginx serving HTTPS, fetched from with curl in plain HTTP through the gateway."""

import hashlib
import os
import subprocess
import unittest

from harness import SANITIZED, SCALE, STEP, Case, accepts, certificate, free_port, key, need, until

SIZE = max(20, int(200 * SCALE)) << 20

CONFIG = """
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr warn;
{user}
events {{ worker_connections 512; }}
http {{
    access_log off;
    sendfile on;
    client_max_body_size 0;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl;
        server_name localhost;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_protocols {protocols};
        root {directory}/www;
    }}
}}
"""


class Nginx(Case):
    def start(self, protocols):
        directory, port = self.scratch(), free_port()
        os.mkdir(f"{directory}/www")
        total = hashlib.sha256()
        with open(f"{directory}/www/big", "wb") as out:
            for _ in range(SIZE >> 20):
                piece = os.urandom(1 << 20)
                total.update(piece)
                out.write(piece)
        with open(f"{directory}/nginx.conf", "w", encoding="ascii") as out:
            out.write(CONFIG.format(
                directory=directory, port=port, certificate=certificate("server"),
                key=key("server"), protocols=protocols,
                user="user root;" if os.geteuid() == 0 else ""))
        server = self.program(need("nginx"), "-p", directory, "-c", f"{directory}/nginx.conf")
        until(lambda: server.process.poll() is not None or accepts(port), what="nginx")
        self.assertIsNone(server.process.poll(), server.output())
        gateway = self.gateway(f"localhost:{port}", "--ca", certificate("ca"))
        return gateway, total.hexdigest()

    def fetch(self, gateway, *words):
        """The digest of what curl got."""
        total, count = hashlib.sha256(), 0
        with subprocess.Popen(
                [need("curl"), "-sS", "--fail", "--max-time", str(int(3 * STEP)), *words,
                 f"http://localhost:{gateway.address[1]}/big"],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as curl:
            while piece := curl.stdout.read(1 << 20):
                total.update(piece)
                count += len(piece)
            problem = curl.stderr.read()
        self.assertEqual((curl.returncode, problem, count), (0, b"", SIZE))
        return total.hexdigest()

    def test_big_file(self):
        for protocols in ("TLSv1.3", "TLSv1.2"):
            with self.subTest(protocols=protocols):
                gateway, expected = self.start(protocols)
                self.assertEqual(self.fetch(gateway), expected)
                until(gateway.sessions, what="the session's line")
                line = gateway.sessions()[0]
                self.assertIn(line["reason"], ("done", "cut_after_end"), line)
                self.assertEqual(line["tls_version"], protocols)
                self.assertGreater(line["bytes_down"], SIZE)

    def test_slow_consumer(self):
        """curl's own brake: back-pressure all the way to nginx."""
        gateway, _ = self.start("TLSv1.3")
        done = subprocess.run(
            [need("curl"), "-sS", "--limit-rate", "2M", "--max-time", "3", "-o", "/dev/null",
             f"http://localhost:{gateway.address[1]}/big"], capture_output=True, timeout=STEP,
            check=False)
        self.assertEqual(done.returncode, 28, done.stderr)
        line = until(lambda: gateway.sessions() and gateway.sessions()[0], what="the line")
        self.assertIn(line["reason"], ("consumer_reset", "done", "cut_after_end"), line)
        if not SANITIZED:
            self.assertLess(gateway.memory(), 32 << 20)


if __name__ == "__main__":
    unittest.main()
