"""What the tests of the Debian package share: packages, a consumer, an upstream."""
import shutil
import socket
import subprocess
import time
from pathlib import Path

from common import BUILD, CERTS, CMAKE, run, said, version

OLD, NEW = f"{version()}-1", f"{version()}-2"
CONFIG = "etc/esclusa/esclusa.cfg"
UNIT = "usr/lib/systemd/system/esclusa.service"
PORT = 18443  # of dist/etc/esclusa.cfg


def make_package(folder):
    """Of the build that is tested: quicker than a release build."""
    cpack = Path(CMAKE).with_name("cpack")
    done = run(cpack, "--config", BUILD / "CPackConfig.cmake", "-B", folder, timeout=300)
    assert done.returncode == 0, said(done)


def make_newer(package, folder):
    """The same as a higher version whose configuration file is another one."""
    tree = folder / "newer"
    assert run("dpkg-deb", "-R", package, tree).returncode == 0
    control = tree / "DEBIAN/control"
    control.write_text(control.read_text(encoding="utf-8").replace(f"Version: {OLD}",
                                                                   f"Version: {NEW}"),
                       encoding="utf-8")
    with open(tree / CONFIG, "a", encoding="utf-8") as file:
        file.write("# new in this version\n")
    target = folder / f"esclusa_{NEW}.deb"
    done = run("dpkg-deb", "--root-owner-group", "-b", tree, target)
    assert done.returncode == 0, said(done)
    return target


def until(condition, what, timeout=20.0):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.02)


def get():
    """What comes of a request to the consumer's port; b"" or a reset: nothing came."""
    with socket.create_connection(("127.0.0.1", PORT), timeout=20) as consumer:
        try:
            consumer.sendall(b"GET / HTTP/1.0\r\nHost: example.com\r\n\r\n")
            answer = b""
            while part := consumer.recv(65536):
                answer += part
            return answer
        except ConnectionResetError:
            return None


def certificate_of(name, folder):
    """Issued by the throw-away authority of the tests."""
    (folder / "ext").write_text(f"subjectAltName=DNS:{name}\n", encoding="utf-8")
    for words in (("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                   "-keyout", folder / "k", "-out", folder / "r", "-subj", f"/CN={name}"),
                  ("x509", "-req", "-in", folder / "r", "-CA", CERTS / "ca.pem", "-CAkey",
                   CERTS / "ca.key", "-days", "2", "-extfile", folder / "ext", "-out",
                   folder / "c")):
        done = run("openssl", *words)
        assert done.returncode == 0, said(done)
    return folder / "c", folder / "k"


class Upstream:
    """Who is called example.com within root, and answers at port 443 of the loopback."""

    def __init__(self, root, folder):
        folder.mkdir()
        self.root = root
        with open(root.path / "etc/hosts", "a", encoding="utf-8") as hosts:
            hosts.write("127.0.0.1 example.com\n")
        certificate, key = certificate_of("example.com", folder)
        self.process = subprocess.Popen(
            ["openssl", "s_server", "-accept", "127.0.0.1:443", "-www", "-cert", str(certificate),
             "-key", str(key)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)

    def trust(self):
        """Its authority is put into the system store, as update-ca-certificates(8) would do it but
        at once. Returns what takes it out again."""
        name = run("openssl", "x509", "-in", CERTS / "ca.pem", "-noout", "-hash").stdout.strip()
        anchor = self.root.path / f"etc/ssl/certs/{name}.0"
        shutil.copy(CERTS / "ca.pem", anchor)
        anchor.chmod(0o644)
        return anchor.unlink

    def stop(self):
        self.process.kill()
        self.process.wait()
