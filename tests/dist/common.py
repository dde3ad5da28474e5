"""What the tests of dist/ share. ctest sets ESCLUSA (the program), BUILD (the build directory),
CERTS (made by certs/make-certs.sh) and CMAKE; without, those of the preset dev."""
import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("BUILD", ROOT / "build/dev"))
ESCLUSA = os.environ.get("ESCLUSA", str(BUILD / "esclusa"))
CERTS = Path(os.environ.get("CERTS", BUILD / "tests/certs"))
CMAKE = os.environ.get("CMAKE", "cmake")

# In --help, where a line begins with it, behind its letter if it has one.
HELP_ROW = re.compile(r"^ +(?:-(\w), )?(--[a-z][a-z0-9-]*)", re.MULTILINE)


def run(*words, **options):
    """A command that must end in time; its output as text."""
    options.setdefault("timeout", 60)
    return subprocess.run([str(word) for word in words], capture_output=True, text=True,
                          check=False, **options)


def said(done):
    return f"{' '.join(done.args)} ended with {done.returncode}: {done.stdout}{done.stderr}"


def help_options():
    """Every option that --help shows, long and short."""
    found = set()
    for letter, name in HELP_ROW.findall(run(ESCLUSA, "--help").stdout):
        found.add(name)
        if letter:
            found.add("-" + letter)
    return found


def settings():
    """name -> place, of `esclusa check --explain`."""
    text = run(ESCLUSA, "check", "--explain").stdout
    return dict(re.findall(r"^(\w+)\n(?:    .*\n)*?    where:   (.*)$", text, re.MULTILINE))


def version():
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    return re.search(r"project\(esclusa VERSION ([\d.]+)", text).group(1)
