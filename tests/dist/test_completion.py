#!/usr/bin/env python3
"""The completion, in a real bash: what it offers for which words."""
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

from common import BUILD, ESCLUSA, help_options, run

# As bash itself takes a line apart at "=" and ":" (COMP_WORDBREAKS).
ASK = r"""
set -u
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_esclusa
[ ${#COMPREPLY[@]} -eq 0 ] || printf '%s\n' "${COMPREPLY[@]}"
"""


def offered(*words, folder=None):
    """For the last of the words, which may be ""."""
    done = subprocess.run(["bash", "--norc", "-c", ASK, "ask", str(BUILD / "dist/esclusa"),
                           "esclusa", *words], capture_output=True, text=True, check=True,
                          timeout=30, cwd=folder)
    assert done.stderr == "", done.stderr
    return done.stdout.split()


class Completion(unittest.TestCase):

    def test_all_options_are_offered(self):
        first, check = set(offered("")), set(offered("check", "--"))
        why, top = set(offered("why", "--")), set(offered("top", "--"))
        self.assertEqual({o for o in help_options() if o.startswith("--")},
                         {o for o in first | check | why | top if o.startswith("-")})
        self.assertEqual(why, {"--admin", "--json"})
        self.assertEqual(top, {"--admin", "--interval", "--once"})
        self.assertEqual(offered("top", "--interval", ""), [])
        self.assertNotIn("--json", first | check)
        self.assertIn("check", first)
        self.assertNotIn("--explain", first)
        self.assertNotIn("--version", check)

    def test_commands_are_those_of_help(self):
        text = run(ESCLUSA, "--help").stdout.split("\n\n")[1]
        commands = set(re.findall(r"^  esclusa ([a-z]+)\b", text, re.MULTILINE))
        self.assertEqual(commands, {o for o in offered("") if not o.startswith("-")},
                         "a new command is added in dist/completion/esclusa.bash.in")

    def test_one_that_begins_so(self):
        self.assertEqual(offered("--tls-m"), ["--tls-min", "--tls-max"])
        self.assertEqual(offered("--nothing"), [])

    def test_once_unless_repeatable(self):
        self.assertEqual(offered("--tls-min", "1.2", "--tls-m"), ["--tls-max"])
        self.assertIn("--listen", offered("--listen", "1", "--list"))

    def test_choices(self):
        self.assertEqual(offered("--tls-min", ""), ["1.2", "1.3"])
        self.assertEqual(offered("--log-level", "w"), ["warn"])
        self.assertEqual(offered("--watch", ""), ["true", "false"])
        self.assertEqual(offered("check", "--format", "j"), ["json"])

    def test_behind_an_equals_sign(self):
        self.assertEqual(offered("--tls-min", "="), ["1.2", "1.3"])
        self.assertEqual(offered("--tls-min", "=", "1.3"), ["1.3"])

    def test_every_choice_is_taken(self):
        """By the program, as the value of that option."""
        for option in sorted(help_options()):
            for word in offered(option, ""):
                if not word.startswith("-") and option.startswith("--") and ":" not in word:
                    done = run(ESCLUSA, "check", option, word)
                    self.assertNotRegex(done.stderr, r"unknown; give|not true or false",
                                        f"{option} {word}")

    def test_files_and_directories(self):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "ca.pem").touch()
            (Path(folder) / "cas").mkdir()
            self.assertEqual(sorted(offered("--ca", "ca", folder=folder)), ["ca.pem", "cas"])
            self.assertEqual(offered("--ca-dir", "ca", folder=folder), ["cas"])
            self.assertEqual(offered("--config", "ca.", folder=folder), ["ca.pem"])
            self.assertEqual(offered("--listen", "unix", ":", "ca.", folder=folder), ["ca.pem"])
            self.assertEqual(sorted(offered("--key-passphrase", "file", ":", folder=folder)),
                             ["ca.pem", "cas"])

    def test_addresses(self):
        self.assertEqual(offered("--listen", ""), ["tcp:", "tls:", "unix:"])
        self.assertEqual(offered("-c", "u"), ["unix:"])
        self.assertEqual(offered("--listen", "tls", ":", "//"), [])

    def test_words_of_no_known_kind(self):
        self.assertEqual(offered("--backlog", ""), [])


if __name__ == "__main__":
    unittest.main()
