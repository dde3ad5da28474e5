"""The gateways that are compared: how each is configured as a plain-to-verified-TLS relay and
started. All verify the upstream's chain and name, run one worker, and log as little as they can."""

import os
import subprocess


class Peer:
    """A process tree to measure. prefix: pins it to its CPU."""

    def __init__(self, directory, prefix):
        self.directory, self.prefix = directory, prefix
        self.process = None

    def path(self, name):
        return os.path.join(self.directory, f"{type(self).__name__.lower()}-{name}")

    def write(self, name, text):
        with open(self.path(name), "w", encoding="ascii") as file:
            file.write(text)
        return self.path(name)

    def start(self, listen, connect, ca):
        with open(self.path("log"), "wb") as log:
            self.process = subprocess.Popen([*self.prefix, *self.command(listen, connect, ca)],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def pids(self):
        """The process and its children, which nginx works in."""
        found, queue = [], [self.process.pid]
        while queue:
            pid = queue.pop()
            found.append(pid)
            with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:
                queue += map(int, children.read().split())
        return found

    def cpu(self):
        """Seconds, threads that have ended included; ticks of 10 ms."""
        ticks = 0
        for pid in self.pids():
            with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
                ticks += sum(map(int, stat.read().rsplit(")", 1)[1].split()[11:13]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def pss(self):
        """KiB."""
        total = 0
        for pid in self.pids():
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
                total += next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
        return total


class Esclusa(Peer):
    binary, workers, options = "esclusa", 1, ()

    def command(self, listen, connect, ca):
        return [self.binary, "--listen", f"127.0.0.1:{listen}", "--connect",
                f"127.0.0.1:{connect}", "--ca", ca, "--server-name", "localhost", "--workers",
                str(self.workers), "--log-level", "error", "--drain-timeout", "0", *self.options]


class Nginx(Peer):
    package = "nginx-light libnginx-mod-stream"

    def command(self, listen, connect, ca):
        module = "/usr/lib/nginx/modules/ngx_stream_module.so"
        config = self.write("conf", f"""
{f"load_module {module};" if os.path.exists(module) else ""}
worker_processes 1;
worker_rlimit_nofile 20000;
daemon off;
pid {self.path("pid")};
error_log {self.path("error")} error;
events {{ worker_connections 19000; }}
stream {{
    server {{
        listen 127.0.0.1:{listen} backlog=4096;
        proxy_pass 127.0.0.1:{connect};
        proxy_timeout 1h;
        proxy_ssl on;
        proxy_ssl_verify on;
        proxy_ssl_verify_depth 4;
        proxy_ssl_trusted_certificate {ca};
        proxy_ssl_name localhost;
        proxy_ssl_server_name on;
        proxy_ssl_session_reuse on;
        proxy_ssl_protocols TLSv1.2 TLSv1.3;
    }}
}}
""")
        return ["nginx", "-c", config, "-p", self.directory]


class Haproxy(Peer):
    package = "haproxy"

    def command(self, listen, connect, ca):
        config = self.write("cfg", f"""
global
    nbthread 1
    maxconn 9500
defaults
    mode tcp
    timeout connect 10s
    timeout client 1h
    timeout server 1h
listen relay
    bind 127.0.0.1:{listen} backlog 4096
    server upstream 127.0.0.1:{connect} ssl verify required ca-file {ca} sni str(localhost) verifyhost localhost
""")
        return ["haproxy", "-db", "-f", config]


class Stunnel(Peer):
    package = "stunnel4"

    def command(self, listen, connect, ca):
        config = self.write("conf", f"""
foreground = yes
pid =
debug = err
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
[relay]
client = yes
accept = 127.0.0.1:{listen}
connect = 127.0.0.1:{connect}
CAfile = {ca}
verifyChain = yes
checkHost = localhost
sni = localhost
""")
        return ["stunnel4" if os.path.exists("/usr/bin/stunnel4") else "stunnel", config]


class Ghostunnel(Peer):
    package = "ghostunnel"

    def command(self, listen, connect, ca):
        return ["ghostunnel", "client", "--listen", f"127.0.0.1:{listen}", "--target",
                f"localhost:{connect}", "--cacert", ca, "--disable-authentication", "--quiet",
                "all"]


ALL = (Nginx, Haproxy, Stunnel, Ghostunnel)
