# SPDX-License-Identifier: GPL-2.0
"""Test that help and the list of tests work on a bare clone and change nothing.

The clone is a copy without build/. Programs that install, download or build
are fakes there: each notes its call and fails."""

import os
import re
import shutil
import subprocess
import tempfile
import unittest

from llfree.paths import TOP

FAKES = ("apt", "apt-get", "dpkg-query", "sudo", "wget", "curl", "git", "gcc",
         "mmdebstrap", "qemu-system-x86_64")
# Packages that only some programs need and install
PACKAGES = ("jinja2", "matplotlib", "numpy", "pexpect")
FAKE = '#!/bin/sh\necho "${{0##*/}} $*" >>{log}\nexit 1\n'
USER = "tools/testing/llfree"


def left_out(directory, names):
    """Return the names that shutil.copytree() does not copy."""
    extra = ("build", ".git") if directory == TOP else ("__pycache__",)
    return set(extra).intersection(names)


class BareClone(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        tmp = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, tmp)
        cls.clone = f"{tmp}/clone"
        cls.log = f"{tmp}/calls"
        shutil.copytree(TOP, cls.clone, symlinks=True, ignore=left_out)
        os.mkdir(f"{tmp}/bin")
        for name in FAKES:
            path = f"{tmp}/bin/{name}"
            with open(path, "w", encoding="utf-8") as f:
                f.write(FAKE.format(log=cls.log))
            os.chmod(path, 0o755)
        for name in PACKAGES:
            with open(f"{tmp}/bin/{name}.py", "w", encoding="utf-8") as f:
                f.write("raise ModuleNotFoundError(__name__)\n")
        cls.env = {"PYTHONPATH": f"{tmp}/bin", "PATH": f"{tmp}/bin:{os.environ['PATH']}",
                   "HOME": tmp, "LC_ALL": "C.UTF-8"}

    def setUp(self):
        with open(self.log, "w", encoding="utf-8"):
            pass

    def calls(self):
        with open(self.log, encoding="utf-8") as f:
            return f.read()

    def files(self):
        return {os.path.join(where, name)
                for where, dirs, names in os.walk(self.clone)
                for name in dirs + names}

    def run_in_clone(self, *argv):
        return subprocess.run(
            argv, cwd=self.clone, env=self.env, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False, timeout=60)

    def says(self, *argv, words=()):
        """Run a command that succeeds, calls no fake and makes no file."""
        before = self.files()
        with self.subTest(argv=argv):
            proc = self.run_in_clone(*argv)
            self.assertEqual((proc.returncode, proc.stderr), (0, ""))
            for word in words:
                self.assertIn(word, proc.stdout)
            self.assertEqual(self.calls(), "")
            self.assertEqual(self.files() - before, set())
            return proc.stdout
        return ""

    def programs(self):
        """Yield executables with a help text."""
        for where in ("scripts", "scripts/guest", USER):
            for name in sorted(os.listdir(f"{self.clone}/{where}")):
                path = f"{self.clone}/{where}/{name}"
                if not os.path.isfile(path) or not os.access(path, os.X_OK):
                    continue
                with open(path, encoding="utf-8") as f:
                    text = f.read()
                if re.search(r"ArgumentParser\(|--help\)|^from llfree\.\S+ import main$",
                             text, re.M):
                    yield f"{where}/{name}"

    def test_make_help(self):
        self.says("make", "help", words=("make test ", "make bench "))

    def test_list(self):
        listed = self.says("scripts/test", "list", words=("kunit", "boots"))
        for target in "test", "test-full":
            self.assertEqual(self.says("make", target, "T=list"), listed)

    def test_help_of_make_test(self):
        self.says("make", "test", "T=--help", words=("usage: test",))

    def test_user_help(self):
        self.says("make", "-C", USER, "help", words=("make check ",))

    def test_programs(self):
        programs = list(self.programs())
        for name in ("build", "deps", "guest-root", "test", "vm"):
            self.assertIn(f"scripts/{name}", programs)
        for path in programs:
            self.says(path, "--help", words=("usage: ",))

    def test_fakes_are_found(self):
        """Commands that install or build something call a fake."""
        for argv in (("make", "deps"), ("make", "test", "T=series")):
            self.setUp()
            with self.subTest(argv=argv):
                self.assertNotEqual(self.run_in_clone(*argv).returncode, 0)
                self.assertIn("apt-get", self.calls())

    def test_user_build_needs_a_kernel(self):
        proc = self.run_in_clone("make", "-C", USER, "all")
        self.assertIn("no kernel tree", proc.stderr)
