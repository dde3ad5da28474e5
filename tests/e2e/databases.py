"""PostgreSQL and MariaDB as Debian has them, each in a directory and on a port of the test's own."""

import glob
import os
import pwd
import re
import shutil
import subprocess

from harness import CERTS, STEP, certificate, free_port, key, need


def run(command, timeout=3 * STEP, **settings):
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout,
                          check=False, **settings)
    return done.returncode, done.stdout.decode("utf-8", "replace")


class Postgres:
    """Refuses to run as root: then it runs as the user that its package makes."""

    def __init__(self, case, ssl=True, hba="hostssl all all 127.0.0.1/32 scram-sha-256"):
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin"),
                       key=lambda path: int(re.findall(r"\d+", path)[0]))
        if not found:
            raise AssertionError("postgresql is not installed: scripts/deps.sh installs it")
        self.bin = found[-1]
        self.directory = case.scratch()
        self.data = os.path.join(self.directory, "data")
        self.as_user = []
        own = [os.path.join(self.directory, name) for name in ("password", "cert.pem", "cert.key")]
        with open(own[0], "w", encoding="ascii") as password:
            password.write("secret\n")
        shutil.copy(certificate("server"), own[1])
        shutil.copy(key("server"), own[2])
        os.chmod(own[2], 0o600)
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            self.as_user = [need("setpriv"), f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}",
                            "--clear-groups", "--reset-env"]
            for path in (self.directory, *own):
                os.chown(path, user.pw_uid, user.pw_gid)
        code, out = run([*self.as_user, f"{self.bin}/initdb", "-D", self.data, "-U", "tester", "-A",
                         "scram-sha-256", f"--pwfile={own[0]}", "-N", "-E", "UTF8",
                         "--no-locale"], cwd="/")
        if code != 0:
            raise AssertionError(f"initdb: {out}")
        with open(os.path.join(self.data, "pg_hba.conf"), "w", encoding="ascii") as file:
            file.write(f"local all all trust\n{hba}\n")
        self.port = free_port()
        self.server = case.program(
            *self.as_user, f"{self.bin}/postgres", "-D", self.data, "-p", self.port, "-k",
            self.directory, "-h", "127.0.0.1", "-c", "fsync=off", "-c", "logging_collector=off",
            "-c", f"ssl={'on' if ssl else 'off'}", "-c", f"ssl_cert_file={own[1]}", "-c",
            f"ssl_key_file={own[2]}", "-c", "max_connections=60", cwd="/")
        self.server.wait_output("ready to accept connections", 3 * STEP)

    def psql(self, port, sql, sslmode="prefer", host="127.0.0.1"):
        """What psql says, and its exit code."""
        return run([need("psql"), "-XAtq", "-c", sql,
                    f"host={host} port={port} user=tester dbname=postgres sslmode={sslmode} "
                    "connect_timeout=15"],
                   env=dict(os.environ, PGPASSWORD="secret", HOME="/nonexistent"))

    def pgbench(self, port, *words, sslmode="prefer"):
        return run([f"{self.bin}/pgbench", "-h", "127.0.0.1", "-p", port, "-U", "tester", *words,
                    "postgres"],
                   env=dict(os.environ, PGPASSWORD="secret", PGSSLMODE=sslmode,
                            HOME="/nonexistent"))


class Mariadb:
    def __init__(self, case, tls=True):
        self.directory = case.scratch()
        data = os.path.join(self.directory, "data")
        root = ["--user=root"] if os.geteuid() == 0 else []
        code, out = run([need("mariadb-install-db"), "--no-defaults", f"--datadir={data}", *root,
                         "--auth-root-authentication-method=normal", "--skip-test-db"])
        if code != 0:
            raise AssertionError(f"mariadb-install-db: {out}")
        self.port = free_port()
        socket = os.path.join(self.directory, "sock")
        options = ([f"--ssl-cert={certificate('server')}", f"--ssl-key={key('server')}",
                    f"--ssl-ca={os.path.join(CERTS, 'ca.pem')}"] if tls else ["--skip-ssl"])
        self.server = case.program(
            need("mariadbd"), "--no-defaults", *root, f"--datadir={data}", f"--socket={socket}",
            f"--port={self.port}", "--bind-address=127.0.0.1", "--skip-log-bin",
            f"--pid-file={self.directory}/pid", "--innodb-flush-log-at-trx-commit=0", *options)
        self.server.wait_output("ready for connections", 3 * STEP)
        need_tls = " REQUIRE SSL" if tls else ""
        # Its client of Debian 13 wants TLS unless told otherwise.
        code, out = run([need("mariadb"), "--no-defaults", "--skip-ssl", f"--socket={socket}",
                         "-uroot", "-e",
                         "CREATE DATABASE test; CREATE USER tester@'127.0.0.1' IDENTIFIED BY "
                         f"'secret'{need_tls}; GRANT ALL ON test.* TO tester@'127.0.0.1'"])
        if code != 0:
            raise AssertionError(f"mariadb: {out}")

    def sql(self, port, text, *words, password="secret"):
        """Without TLS, unless words say otherwise."""
        return run([need("mariadb"), "--no-defaults", "--skip-ssl", "--batch", "--skip-column-names",
                    "--host=127.0.0.1", f"--port={port}", "--user=tester",
                    f"--password={password}", *words, "-e", text, "test"])
