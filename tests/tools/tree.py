"""No private key and nothing that a tool made is in the repository, or about to be."""
import re
import subprocess
from pathlib import Path

# A key, also as a string literal; not the mere words, which a test of bad files may hold.
PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----"
                         rb"(?:[\s\"']|\\n)*(?:Proc-Type|[A-Za-z0-9+/]{40})")
GENERATED = re.compile(
    r"(^|/)(build|__pycache__|CMakeFiles|\.cache)/"
    r"|(^|/)(CMakeCache\.txt|compile_commands\.json|build\.ninja|core(\.\d+)?)$"
    r"|\.(o|a|so|pyc|gcda|gcno|pem|key|p12|pfx|der|crt|csr|log)$")
BINARY = (b"\x7fELF", b"!<arch>\n")


def git(root, *words):
    return subprocess.run(["git", "-c", "safe.directory=*", "-C", str(root), *words],
                          capture_output=True, text=True, check=False)


def check(root, _options):
    # What is tracked, ignored or not, and what `git add .` would add.
    done = git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    if done.returncode != 0:
        return [f"git ls-files: {done.stderr.strip()}"]
    complaints = []
    for name in sorted(set(filter(None, done.stdout.split("\0")))):
        file = root / name
        if GENERATED.search(name):
            complaints.append(f"{name}: is made by a tool: do not commit it")
        if not file.is_file() or file.is_symlink():
            continue
        content = file.read_bytes()
        if content.startswith(BINARY):
            complaints.append(f"{name}: is a built binary: do not commit it")
        if PRIVATE_KEY.search(content):
            complaints.append(f"{name}: holds a private key: make it at test time")
    return complaints


def clean(root, put):
    git(root, "init", "-q")
    put(root, ".gitignore", "build/\n*.pem\n")
    put(root, "src/main.c", "int main(void) { return 0; }\n")
    put(root, "build/CMakeCache.txt", "made, and ignored\n")
    put(root, "ca.pem", "made, and ignored\n")
    put(root, "tests/bad.c", '"-----BEGIN PRIVATE KEY-----\\nAAAA\\n"')


def seeds(put):
    key = "-----BEGIN EC PRIVATE KEY-----\n" + 64 * "A" + "\n"
    literal = '"-----BEGIN PRIVATE KEY-----\\n"\n    "' + 64 * "A" + '\\n"'

    def forced(path, text):
        def spoil(root):
            put(root, path, text)
            git(root, "add", "-f", path)
        return spoil

    def no_repository(root):
        for file in sorted(Path(root, ".git").rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()

    return [
        ("a private key", lambda root: put(root, "tests/k.txt", key), "tests/k.txt: holds a priv"),
        ("one in a string literal", lambda root: put(root, "tests/k.c", literal), "tests/k.c: hol"),
        ("a key added by force", forced("ca.pem", key), "ca.pem: holds a private key"),
        ("a built file added by force", forced("build/x.c", ""), "build/x.c: is made by a tool"),
        ("an object file", lambda root: put(root, "src/main.o", ""), "src/main.o: is made"),
        ("a program", lambda root: put(root, "esclusa", "\x7fELF..."), "esclusa: is a built"),
        ("no repository", no_repository, "git ls-files"),
    ]
