"""A root to install into: this machine's own file system below, what is changed above it in memory,
in namespaces of its own: nothing of it reaches the machine. No network but a loopback."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MARK = "ESCLUSA_SCRATCH_ROOT"
SKIPPED = 77


def skip(why):
    print(f"SKIPPED: {why}", flush=True)
    sys.exit(SKIPPED)


def own_mounts():
    """Words for unshare(1). Below a chroot, as scripts/test-debian13.sh makes one, the root is no
    mount and its propagation cannot be changed: no harm where nothing is shared anyway."""
    words = ["unshare", "--mount"]
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    if " shared:" not in mounts and not re.search(r"^\d+ \d+ \S+ \S+ / ", mounts, re.MULTILINE):
        words += ["--propagation", "unchanged"]
    return words


def enter(prepare):
    """Calls prepare(folder) as whoever runs the test, then this program again within the
    namespaces, as root; there it returns that folder, of the test's own and to be written in."""
    if os.environ.get(MARK):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return Path(os.environ[MARK])
    words = [*own_mounts(), "--pid", "--net", "--fork", "--mount-proc", "--kill-child"]
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


# In namespaces of its own, of which its first process becomes systemd. It finds nothing of the machine
# that it could change: /proc/sys and /sys cannot be written, units and mounts of the machine are gone,
# its control group is one that was made for it.
BOOT = r"""
set -e
cd "$1"
group=$2
mount -t cgroup2 cgroup sys/fs/cgroup
mkdir -p "sys/fs/cgroup$group"
echo $$ >"sys/fs/cgroup$group/cgroup.procs"
umount sys/fs/cgroup
exec unshare --cgroup bash -c '
    set -e
    cd "$1"
    mount -t cgroup2 cgroup sys/fs/cgroup
    chroot . mount --make-rshared /
    exec chroot . env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin setpriv \
        --bounding-set=-sys_module,-sys_time,-sys_rawio,-sys_boot \
        /lib/systemd/systemd --unit=esclusa-test.target >/dev/console 2>&1
' boot "$1"
"""


class Booted:
    """A scratch root in which systemd runs, and little else. Its network is that of the test."""

    def __init__(self, root):
        self.root, self.group = root, f"/esclusa-test-{os.getpid()}-{root.base.name}"
        self.prepare()
        self.process = subprocess.Popen(
            [*own_mounts(), "--pid", "--uts", "--ipc", "--fork", "--kill-child",
             "--mount-proc=" + str(root.path / "proc"), "bash", "-c", BOOT, "boot", str(root.path),
             self.group], stdin=subprocess.DEVNULL)

    def prepare(self):
        path, mount = self.root.path, self.root.mount
        shutil.rmtree(path / "etc/systemd/system")
        (path / "etc/systemd/system").mkdir()
        (path / "etc/fstab").write_text("", encoding="utf-8")
        (path / "etc/systemd/system/timers.target").symlink_to("/dev/null")
        (path / "etc/systemd/system/esclusa-test.target").write_text(
            "[Unit]\nRequires=basic.target\nAfter=basic.target\n"
            "[Install]\nAlias=default.target\n", encoding="utf-8")
        mount("-t", "sysfs", "-o", "ro", "sysfs", path / "sys")
        mount("--bind", path / "proc/sys", path / "proc/sys")
        mount("-o", "remount,bind,ro", path / "proc/sys")
        for name in ("full", "tty"):
            (path / "dev" / name).touch()
            mount("--bind", f"/dev/{name}", path / "dev" / name)
        for name in ("console", "kmsg"):
            (path / "dev" / name).touch()
        for name in ("pts", "shm", "mqueue", "hugepages"):
            (path / "dev" / name).mkdir()
        mount("-t", "tmpfs", "tmpfs", path / "dev/shm")
        mount("-t", "devpts", "-o", "newinstance,ptmxmode=0666", "devpts", path / "dev/pts")
        os.symlink("pts/ptmx", path / "dev/ptmx")

    def systemd(self):
        """Its process, once there is one; unshare(1) is our child, and it is that one's."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return children.split()[0] if children else None

    def run(self, *words, timeout=60):
        return subprocess.run(
            ["env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
             "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "nsenter",
             f"--target={self.systemd()}", "--mount", "--pid", "--uts", "--ipc", "--cgroup",
             "--root", "--wd=/", *map(str, words)], capture_output=True, text=True, check=False,
            timeout=timeout, stdin=subprocess.DEVNULL)

    def console(self):
        return self.root.text("dev/console")

    def stop(self):
        """All of it: the others end with the first of a PID namespace."""
        self.process.kill()
        self.process.wait()
        folder = self.root.base / "cgroup"
        folder.mkdir()
        self.root.mount("-t", "cgroup2", "cgroup", folder)
        top = folder / self.group.lstrip("/")
        for _ in range(100):
            subprocess.run(["find", str(top), "-depth", "-type", "d", "-exec", "rmdir", "{}", "+"],
                           capture_output=True, check=False)
            if not top.exists():
                return
            time.sleep(0.05)
