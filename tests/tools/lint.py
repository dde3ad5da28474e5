#!/usr/bin/env python3
"""The house rules that a compiler does not check. Each check is a module beside this file with
check(root, options) -> list of complaints, and seeds() -> the self-test's list of (what is wrong,
function that spoils a tree, options, words the complaint must contain).

usage: lint.py CHECK [--root DIR] [--compiler CC] [--program ESCLUSA]
       lint.py CHECK --self-test [--compiler CC]     the check finds what it is for
"""
import argparse
import sys
import tempfile
from pathlib import Path

import docs
import headers
import layers
import options
import reasons
import sizes
import tree

CHECKS = {
    "layers": layers,
    "headers": headers,
    "docs": docs,
    "options": options,
    "sizes": sizes,
    "tree": tree,
    "reasons": reasons,
}


def put(root, path, text):
    """A file of a self-test's tree."""
    file = Path(root) / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def self_test(module, arguments):
    """A clean tree must give no complaint, and each seeded fault one that names it."""
    failures = []
    with tempfile.TemporaryDirectory() as clean:
        module.clean(clean, put)
        for complaint in module.check(Path(clean), arguments):
            failures.append(f"complains of a clean tree: {complaint}")
    seeds = module.seeds(put)
    for name, spoil, words in seeds:
        with tempfile.TemporaryDirectory() as root:
            module.clean(root, put)
            spoil(root)
            complaints = module.check(Path(root), arguments)
            if not any(words in complaint for complaint in complaints):
                failures.append(f"missed: {name}; it said: {complaints or 'nothing'}")
    if not seeds:
        failures.append("no seeded fault")
    return failures, len(seeds)


def main():
    parser = argparse.ArgumentParser(description="House rules that a compiler does not check.")
    parser.add_argument("check", choices=CHECKS)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[2])
    parser.add_argument("--compiler", default="cc")
    parser.add_argument("--program")
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()
    module = CHECKS[arguments.check]
    if arguments.self_test:
        complaints, count = self_test(module, arguments)
        what = f"{count} seeded faults found"
    else:
        complaints = module.check(arguments.root, arguments)
        what = "clean"
    for complaint in complaints:
        print(f"{arguments.check}: {complaint}")
    if complaints:
        print(f"{arguments.check}: {len(complaints)} complaints")
        return 1
    print(f"{arguments.check}: {what}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
