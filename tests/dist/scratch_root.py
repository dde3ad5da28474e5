"""A root to install into: this machine's own file system below, what is changed above it in memory,
in namespaces of its own: nothing of it reaches the machine. No network but a loopback."""
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

MARK = "ESCLUSA_SCRATCH_ROOT"
SKIPPED = 77


def skip(why):
    print(f"SKIPPED: {why}", flush=True)
    sys.exit(SKIPPED)


def enter(prepare):
    """Calls prepare(folder) as whoever runs the test, then this program again within the
    namespaces, as root; there it returns that folder, of the test's own and to be written in."""
    if os.environ.get(MARK):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return Path(os.environ[MARK])
    words = ["unshare", "--mount", "--pid", "--net", "--fork", "--mount-proc", "--kill-child"]
    kept = []
    if os.geteuid() != 0:
        if shutil.which("sudo") is None or subprocess.run(
                ["sudo", "-n", "true"], capture_output=True, check=False).returncode:
            skip("needs root, or sudo without a password")
        words = ["sudo", "-n", *words]
        kept = [f"{name}={os.environ[name]}" for name in ("BUILD", "CERTS", "ESCLUSA", "CMAKE")
                if name in os.environ]
    if subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
        skip("this machine does not permit new namespaces (unshare --mount --pid --net)")
    with tempfile.TemporaryDirectory(prefix="esclusa-dist-") as folder:
        prepare(Path(folder))
        (Path(folder) / "root").mkdir()
        words += ["env", *kept, f"{MARK}={folder}", sys.executable, "-B", *sys.argv]
        status = subprocess.run(words, check=False).returncode
        if os.geteuid() != 0:
            subprocess.run(["sudo", "-n", "rm", "-rf", "--one-file-system", folder], check=False)
            os.makedirs(folder, exist_ok=True)
    sys.exit(status)


class ScratchRoot:
    """Only within enter(). What is changed is below self.upper."""

    def __init__(self, base):
        self.base = base
        # A file system of its own: the machine's may be an overlay, which cannot be written above.
        self.mount("-t", "tmpfs", "tmpfs", self.base)
        self.upper, self.path = self.base / "upper", self.base / "root"
        for folder in (self.upper, self.base / "work", self.path):
            folder.mkdir()
        done = subprocess.run(
            ["mount", "-t", "overlay", "overlay", "-o",
             f"lowerdir=/,upperdir={self.upper},workdir={self.base / 'work'}", str(self.path)],
            capture_output=True, text=True, check=False)
        if done.returncode or not (self.path / "usr/bin/dpkg").exists():
            skip(f"no overlay over this machine's root: {done.stderr.strip()}")
        self.mount("-t", "proc", "proc", self.path / "proc")
        for name in ("tmp", "run"):
            self.mount("-t", "tmpfs", "-o", "mode=1777" if name == "tmp" else "mode=755", "tmpfs",
                       self.path / name)
        (self.path / "run/lock").mkdir()
        self.mount("-t", "tmpfs", "tmpfs", self.path / "dev")
        for name in ("null", "zero", "random", "urandom"):
            (self.path / "dev" / name).touch()
            self.mount("--bind", f"/dev/{name}", self.path / "dev" / name)
        os.symlink("/proc/self/fd", self.path / "dev/fd")

    @staticmethod
    def mount(*words):
        subprocess.run(["mount", *map(str, words)], check=True)

    def command(self, *words):
        """The words of a command that runs in the root, of which nothing is inherited."""
        return ["env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "chroot", str(self.path),
                *map(str, words)]

    def run(self, *words, timeout=60):
        return subprocess.run(self.command(*words), capture_output=True, text=True, check=False,
                              timeout=timeout, stdin=subprocess.DEVNULL)

    def put(self, source, target):
        shutil.copy(source, self.path / target)

    def text(self, path):
        return (self.path / path).read_text(encoding="utf-8")

    def changed(self):
        """Every path that was made or changed and still is, as it is called in the root."""
        found = set()
        for folder, _folders, files in os.walk(self.upper):
            for name in files:
                file = Path(folder) / name
                # A device of numbers 0, 0 says that what is below is gone.
                if not file.is_char_device():
                    found.add("/" + str(file.relative_to(self.upper)))
        return found
