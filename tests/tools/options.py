"""docs/configuration.md lists the program's options, no more and no less; the command lines that
the documents show use options that exist."""
import re
import shlex
import subprocess
from pathlib import Path

import docs

# In words beside the tables: every program has them.
IN_WORDS = {"--help", "--version"}
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
# In the help, where a line begins with it, behind its letter if it has one.
HELP_ROW = re.compile(r"^[ \t]+(?:-\w, )?(--[a-z][a-z0-9-]*)", re.MULTILINE)
TABLE = "docs/configuration.md"
# In a document, the program by any path; not esclusa.service and the like.
COMMAND = re.compile(r"^[ \t]*(?:\$ |# |sudo )?(?:[\w./-]*/)?esclusa\s+(.*)$")


def program_options(program):
    done = subprocess.run([program, "--help"], capture_output=True, text=True, check=False,
                          timeout=30)
    if done.returncode != 0:
        return None, f"{program} --help ended with {done.returncode}: {done.stderr}"
    return set(HELP_ROW.findall(done.stdout)), None


def table_options(text):
    """The options that the tables' first cells list, and all that the tables mention."""
    listed, mentioned = set(), set()
    for line in text.splitlines():
        if line.lstrip().startswith("|"):
            cells = line.replace("\\|", " ").split("|")
            listed.update(OPTION.findall(cells[1]))
            mentioned.update(OPTION.findall(line))
    return listed, mentioned


def shown_options(text):
    """Of `esclusa ...` command lines in fenced blocks, continued lines joined."""
    found = set()
    fenced = False
    for line in text.replace("\\\n", " ").splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        match = COMMAND.match(line) if fenced else None
        if match:
            # What follows a pipe, a semicolon or a background mark is another command.
            found.update(OPTION.findall(re.split(r"[|;&]", match.group(1))[0]))
    return found


def check(root, options):
    if not options.program and not (root / "program").exists():
        return ["--program is missing"]
    program = root / "program" if (root / "program").exists() else Path(options.program)
    real, complaint = program_options(str(program))
    if complaint:
        return [complaint]
    if not (root / TABLE).is_file():
        return [f"{TABLE} is missing"]
    text = (root / TABLE).read_text(encoding="utf-8")
    listed, mentioned = table_options(text)
    listed |= IN_WORDS.intersection(OPTION.findall(text))
    complaints = [f"{TABLE}: {name} is not listed, but --help shows it"
                  for name in sorted(real - listed)]
    complaints += [f"{TABLE}: {name} is listed, but --help does not show it"
                   for name in sorted(mentioned - real)]
    for file in docs.documents(root):
        for name in sorted(shown_options(file.read_text(encoding="utf-8")) - real):
            complaints.append(f"{file.relative_to(root)}: a command line uses {name}, "
                              "which --help does not show")
    return complaints


def clean(root, put):
    help_text = "  -l, --listen ADDR\n      --ca FILE\n      --help\n\nAlso --option=value.\n"
    put(root, "program", f"#!/bin/sh\necho {shlex.quote(help_text)}\n").chmod(0o755)
    put(root, TABLE, "| option | what |\n|---|---|\n| `-l, --listen ADDR` | where |\n"
        "| `--ca FILE` | trust, with `--listen` |\n\n"
        "Not in a table: --nothing and --help\n")
    put(root, "README.md", "```\n./esclusa --listen 1 \\\n  --ca x | curl --silent\n"
        "cmake --preset dev\n```\n")


def seeds(put):
    def append(path, text):
        def spoil(root):
            with open(Path(root) / path, "a", encoding="utf-8") as file:
                file.write(text)
        return spoil

    return [
        ("an option that is not listed", append("program", "echo ' --extra'\n"),
         "--extra is not listed"),
        ("an option that is not there", append(TABLE, "| `--gone` | |\n"), "--gone is listed"),
        ("a table that mentions one that is not there", append(TABLE, "| `--ca` | as --gone |\n"),
         "--gone is listed"),
        ("a command line with one that is not there",
         append("README.md", "```\nesclusa --listen 1 \\\n --gone 2\n```\n"),
         "README.md: a command line uses --gone"),
        ("a program that fails", append("program", "exit 3\n"), "ended with 3"),
        ("no table", lambda root: (Path(root) / TABLE).unlink(), "is missing"),
    ]
