#!/usr/bin/env python3
"""cmake --install: what comes where, with the paths of that place in it; an edited configuration
stays."""
import os
import tempfile
import unittest
from pathlib import Path

from common import BUILD, CMAKE, ESCLUSA, run, said

FILES = ("bin/esclusa", "share/man/man1/esclusa.1", "share/man/man5/esclusa.cfg.5",
         "share/bash-completion/completions/esclusa", "lib/systemd/system/esclusa.service",
         "lib/systemd/system/esclusa@.service", "lib/sysusers.d/esclusa.conf",
         "share/doc/esclusa/README.md", "share/doc/esclusa/operations.md",
         "share/doc/esclusa/examples/minimal.cfg", "share/doc/esclusa/examples/kubernetes",
         "share/doc/esclusa/examples/container/Containerfile", "etc/esclusa/esclusa.cfg")


def install(prefix, **environment):
    done = run(CMAKE, "--install", BUILD, "--prefix", prefix, env=dict(os.environ, **environment))
    assert done.returncode == 0, said(done)
    return done.stdout


class Install(unittest.TestCase):

    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="esclusa-install-")
        self.addCleanup(scratch.cleanup)
        self.prefix = Path(scratch.name)

    def text(self, name):
        return (self.prefix / name).read_text(encoding="utf-8")

    def test_below_a_prefix(self):
        install(self.prefix)
        for name in FILES:
            self.assertTrue((self.prefix / name).exists(), name)
        self.assertEqual(run(self.prefix / "bin/esclusa", "--version").stdout,
                         run(ESCLUSA, "--version").stdout)
        config = f"{self.prefix}/etc/esclusa/esclusa.cfg"
        self.assertIn(f"{self.prefix}/bin/esclusa --config {config}",
                      self.text("lib/systemd/system/esclusa.service"))
        for page in ("man1/esclusa.1", "man5/esclusa.cfg.5"):
            self.assertIn(f".It Pa {config}\n", self.text(f"share/man/{page}"))
        done = run(self.prefix / "bin/esclusa", "check", "--config", config)
        self.assertEqual(done.returncode, 0, said(done))

    def test_an_edited_configuration_stays(self):
        install(self.prefix)
        with open(self.prefix / "etc/esclusa/esclusa.cfg", "a", encoding="utf-8") as file:
            file.write("# edited\n")
        (self.prefix / "bin/esclusa").unlink()
        self.assertIn("Kept: ", install(self.prefix))
        self.assertTrue(self.text("etc/esclusa/esclusa.cfg").endswith("# edited\n"))
        self.assertTrue((self.prefix / "bin/esclusa").exists())

    def test_usr_has_its_configuration_in_etc(self):
        for prefix in ("/usr", "/usr/local"):
            with self.subTest(prefix=prefix):
                install(prefix, DESTDIR=str(self.prefix))
                unit = self.text(f".{prefix}/lib/systemd/system/esclusa.service")
                self.assertIn(f"{prefix}/bin/esclusa --config /etc/esclusa/esclusa.cfg", unit)
                self.assertTrue((self.prefix / "etc/esclusa/esclusa.cfg").exists())
                self.assertFalse((self.prefix / f".{prefix}/etc").exists())


if __name__ == "__main__":
    unittest.main()
