#!/usr/bin/env python3
"""The man pages: no complaint of mandoc or of groff, and every option and setting in them."""
import os
import re
import shutil
import tempfile
import unittest
from pathlib import Path

from common import BUILD, ROOT, help_options, run, said, settings

PAGES = {"esclusa.1": "man/esclusa.1.in", "esclusa.cfg.5": "man/esclusa.cfg.5.in"}


def page(name):
    return BUILD / "dist" / name


def mandoc_says(file):
    """Its complaints but for what is none here: it holds that .Os is for the operating system to
    fill in, and looks for the pages we refer to among those that are installed."""
    done = run("mandoc", "-Tlint", file)
    return [line for line in (done.stdout + done.stderr).splitlines()
            if not re.search("operating system explicitly specified|mandoc.db|manual not found",
                             line)]


def groff_says(file):
    """As lintian asks it."""
    environment = dict(os.environ, LC_ALL="C.UTF-8", MANROFFSEQ="", MANWIDTH="80")
    done = run("man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", file, env=environment)
    return done.stderr.splitlines()


def shown(name):
    done = run("mandoc", "-Tutf8", "-Owidth=200", page(name))
    assert done.returncode == 0, said(done)
    return re.sub(".\x08", "", done.stdout)  # without what a terminal shows bold


class Manual(unittest.TestCase):

    def test_mandoc_has_no_complaint(self):
        for name in PAGES:
            with self.subTest(page=name):
                self.assertEqual(mandoc_says(page(name)), [])

    def test_groff_has_no_complaint(self):
        for name in PAGES:
            with self.subTest(page=name):
                self.assertEqual(groff_says(page(name)), [])

    def test_a_fault_would_be_seen(self):
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / "esclusa.1"
            file.write_text(page("esclusa.1").read_text(encoding="utf-8") + ".Xx gone\n",
                            encoding="utf-8")
            self.assertNotEqual(mandoc_says(file), [])
            file.write_text(".TH X 1\n.SH NAME\nx \\- y\n.nosuch\n\\[nosuch]\n", encoding="utf-8")
            self.assertNotEqual(groff_says(file), [])

    def test_options_are_those_of_help(self):
        """Also those that the table has not: --config and the like, and what comes later."""
        tags = re.findall(r"^ {5}((?:-\w, )?--?\w.*)$", shown("esclusa.1"), re.MULTILINE)
        listed = {word for tag in tags for word in re.findall(r"(?<![\w-])--?[a-z][a-z0-9-]*", tag,
                                                              re.IGNORECASE)}
        self.assertEqual(listed, help_options(),
                         "options that the table has not are written in dist/man/esclusa.1.in")

    def test_settings_are_those_of_the_table(self):
        text = shown("esclusa.cfg.5").split("\nSETTINGS\n")[1].split("\nFILES\n")[0]
        listed = re.findall(r"^ {5}([a-z0-9_]+)(?: {2,}\S.*)?$", text, re.MULTILINE)
        self.assertEqual(sorted(listed), sorted(settings()))

    def test_only_the_template_is_written_by_hand(self):
        """No mark is left, and the paths are those of the installation."""
        for name, template in PAGES.items():
            text = page(name).read_text(encoding="utf-8")
            self.assertNotRegex(text, r"@[A-Z_]+@")
            self.assertIn("esclusa/esclusa.cfg", text)
            self.assertIn("@CONFIG_FILE@", (ROOT / "dist" / template).read_text(encoding="utf-8"))

    def test_the_tool_refuses_what_it_does_not_know(self):
        with tempfile.TemporaryDirectory() as scratch:
            template, out = Path(scratch) / "in", Path(scratch) / "out"
            template.write_text("a @VERSION@ b\n@OPTOINS@\n", encoding="utf-8")
            done = run(BUILD / "esclusa-generate", template, out)
            self.assertEqual(done.returncode, 1)
            self.assertIn("@OPTOINS@: unknown", done.stderr)
            self.assertFalse(out.exists(), "half a file is left")
            template.write_text("@A@-@B@ user@host.example @ @@\n", encoding="utf-8")
            done = run(BUILD / "esclusa-generate", template, out, "A=x y", "B=")
            self.assertEqual(done.returncode, 0, said(done))
            self.assertEqual(out.read_text(encoding="utf-8"), "x y- user@host.example @ @@\n")


if __name__ == "__main__":
    for tool in ("mandoc", "man"):
        if shutil.which(tool) is None:
            raise SystemExit(f"{tool} is missing: scripts/deps.sh test")
    unittest.main()
