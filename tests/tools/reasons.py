"""The table of end-of-session reasons in docs/operations.md is the list of
include/esclusa/reason.h: the same words, levels and meanings in the same order."""
import re
from pathlib import Path

HEADER = "include/esclusa/reason.h"
DOCUMENT = "docs/operations.md"
ROW = re.compile(r'X\(\s*REASON_\w+\s*,\s*"(\w+)"\s*,\s*LOG_LEVEL_(\w+)\s*,\s*'
                 r'((?:"(?:[^"\\]|\\.)*"\s*)+)\)')
LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"')
TABLE_ROW = re.compile(r"^\|\s*`(\w+)`\s*\|\s*(\w+)\s*\|\s*(.*?)\s*\|$")
TABLE_HEAD = re.compile(r"^\|\s*reason\s*\|\s*level\s*\|\s*meaning\s*\|$")


def header_rows(text):
    joined = text.replace("\\\n", " ")
    return [(word, level.lower(), "".join(LITERAL.findall(meaning)))
            for word, level, meaning in ROW.findall(joined)]


def document_rows(text):
    rows = []
    inside = False
    for line in text.splitlines():
        if TABLE_HEAD.match(line):
            inside = True
        elif not line.startswith("|"):
            inside = False
        elif inside:
            match = TABLE_ROW.match(line)
            if match:
                rows.append(match.groups())
    return rows


def check(root, _options):
    wanted = header_rows((root / HEADER).read_text(encoding="utf-8"))
    if not wanted:
        return [f"{HEADER}: no REASON_LIST rows"]
    found = document_rows((root / DOCUMENT).read_text(encoding="utf-8"))
    complaints = [f"{DOCUMENT}: the row of {row[0]} is missing or differs: | `{row[0]}` | {row[1]} "
                  f"| {row[2]} |" for row in wanted if row not in found]
    complaints += [f"{DOCUMENT}: {row[0]} is not a row of {HEADER}" for row in found
                   if row not in wanted]
    if not complaints and wanted != found:
        complaints.append(f"{DOCUMENT}: the order differs from {HEADER}, or a row is there twice")
    return complaints


def clean(root, put):
    put(root, HEADER, '#define REASON_LIST(X) \\\n'
        '    X(REASON_DONE, "done", LOG_LEVEL_INFO, "all went well") \\\n'
        '    X(REASON_LATE, "late", LOG_LEVEL_WARN, \\\n      "it took "  \\\n      "too long")\n')
    put(root, DOCUMENT, "| x | y |\n|---|---|\n| `z` | other table |\n\n"
        "| reason | level | meaning |\n|---|---|---|\n| `done` | info | all went well |\n"
        "| `late` | warn | it took too long |\n")


def seeds(put):
    def change(path, old, new):
        def spoil(root):
            text = (Path(root) / path).read_text(encoding="utf-8")
            put(root, path, text.replace(old, new))
        return spoil

    return [
        ("a new reason", change(HEADER, "    X(REASON_LATE",
                                '    X(REASON_NEW, "new", LOG_LEVEL_INFO, "m") \\\n'
                                "    X(REASON_LATE"), "the row of new is missing"),
        ("a reason no more", change(DOCUMENT, "| `late` ", "| `gone` "), "gone is not a row"),
        ("another meaning", change(DOCUMENT, "too long", "long"), "the row of late is missing"),
        ("another level", change(DOCUMENT, "| warn |", "| info |"), "the row of late is missing"),
        ("a row twice", change(DOCUMENT, "| `done` | info | all went well |\n",
                               "| `done` | info | all went well |\n" * 2), "twice"),
        ("no list", change(HEADER, "X(", "Y("), "no REASON_LIST rows"),
    ]
