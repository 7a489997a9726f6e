# SPDX-License-Identifier: GPL-2.0
"""Test updates of build/linux from the repository and back, with a source of three files."""

import contextlib
import io
import os
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

from llfree.kernel import patches, prepare, save_patches, series, tree
from llfree.program import Error, read_text

SOURCE = {"Makefile": "VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 99\nEXTRAVERSION =\n",
          "kernel/sched/core.c": "int core;\n", "mm/a.c": "int old;\n"}
PATCH = """From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001
From: Some Author <author@localhost>
Date: Mon, 18 Nov 2024 00:00:00 +0000
Subject: [PATCH] mm: rename the variable

It is new.
---
diff --git a/mm/a.c b/mm/a.c
--- a/mm/a.c
+++ b/mm/a.c
@@ -1 +1 @@
-int old;
+int new;
"""
NAME = "mm-rename-the-variable.patch"


def write(where, files):
    for name, text in files.items():
        os.makedirs(os.path.dirname(f"{where}/{name}"), exist_ok=True)
        with open(f"{where}/{name}", "w", encoding="utf-8") as f:
            f.write(text)


class Tree(unittest.TestCase):
    def setUp(self):
        # pylint: disable=consider-using-with
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.tmp = directory.name
        self.top, self.source = f"{self.tmp}/top", f"{self.tmp}/source"
        self.build, self.linux = f"{self.tmp}/build", f"{self.tmp}/build/linux"
        write(self.source, SOURCE)
        write(self.top, {"lib/new.c": "int lib;\n", f"patches/{NAME}": PATCH,
                         "patches/series": f"{NAME}\n",
                         "patches/overlay": f"{NAME} lib/new.c\n",
                         "patches/letters": f"# Parts\nletter {NAME}\n",
                         "patches/letter": "a subject\n\nWhat it is for.\n"})
        subprocess.run(["git", "init", "-q", self.top], check=True)
        for module in patches, tree, save_patches, series:
            for name, value in ("TOP", self.top), ("PATCHES", f"{self.top}/patches"):
                if hasattr(module, name):
                    self.start(mock.patch.object(module, name, value))
        self.start(mock.patch.dict(os.environ, LINUX_SRC=self.source))

    def start(self, patch):
        patch.start()
        self.addCleanup(patch.stop)

    def run_main(self, module):
        """Run a program's main function, and return its output."""
        said = io.StringIO()
        with mock.patch.object(sys, "argv", ["program", "--build", self.build]), \
             contextlib.redirect_stdout(said):
            self.assertEqual(module.main(), 0)
        return said.getvalue()

    def edit(self, text):
        """Amend the commit of the patch."""
        write(self.linux, {"mm/a.c": text})
        git = tree.Git(self.linux)
        git("commit", "-q", "-a", "--amend", "--no-edit")

    def test_prepare(self):
        self.run_main(prepare)
        self.assertEqual(read_text(f"{self.linux}/mm/a.c"), "int new;\n")
        self.assertEqual(read_text(f"{self.linux}/lib/new.c"), "int lib;\n")
        git = tree.Git(self.linux)
        self.assertEqual(git("log", "-1", "--format=%an %s"),
                         "Some Author mm: rename the variable")
        self.assertEqual(git("status", "--porcelain"), "")

    def test_overlay_follows(self):
        self.run_main(prepare)
        write(self.top, {"lib/new.c": "int changed;\n"})
        self.run_main(prepare)
        self.assertEqual(read_text(f"{self.linux}/lib/new.c"), "int changed;\n")
        os.unlink(f"{self.top}/lib/new.c")
        with contextlib.redirect_stderr(io.StringIO()) as said:
            self.run_main(prepare)
        self.assertIn("nothing matches 'lib/new.c'", said.getvalue())
        self.assertFalse(os.path.exists(f"{self.linux}/lib"))

    def test_edited_copy(self):
        """An edit of a copy is not lost."""
        self.run_main(prepare)
        write(self.linux, {"lib/new.c": "int edited;\n"})
        write(self.top, {"lib/new.c": "int other;\n"})
        with self.assertRaisesRegex(Error, "move the edit there"):
            self.run_main(prepare)
        self.assertEqual(read_text(f"{self.linux}/lib/new.c"), "int edited;\n")

    def test_save(self):
        """Commits become patches, and the same commits change nothing."""
        self.run_main(prepare)
        self.edit("int newer;\n")
        self.assertIn("1 patches, 1 files changed", self.run_main(save_patches))
        self.assertIn("+int newer;\n", read_text(f"{self.top}/patches/{NAME}"))
        self.assertIn("1 patches, 0 files changed", self.run_main(save_patches))
        self.run_main(prepare)
        self.assertEqual(read_text(f"{self.linux}/mm/a.c"), "int newer;\n")

    def test_unsaved_commit(self):
        """A patch that changes does not drop a commit that no patch has."""
        self.run_main(prepare)
        self.edit("int newer;\n")
        write(self.top, {f"patches/{NAME}": PATCH.replace("new;", "third;")})
        with self.assertRaisesRegex(Error, "commits that patches/ lacks"):
            self.run_main(prepare)

    def test_uncommitted_edit(self):
        self.run_main(prepare)
        write(self.linux, {"mm/a.c": "int edited;\n"})
        with self.assertRaisesRegex(Error, "edited, but not committed"):
            self.run_main(save_patches)

    def test_patch_does_not_apply(self):
        write(self.source, {"mm/a.c": "int other;\n"})
        write(self.top, {f"patches/{NAME}": PATCH.replace(" @@\n", " @@ int work(void)\n")})
        with self.assertRaisesRegex(Error, rf"(?s){NAME} does not apply.*"
                                    r"mm/a\.c:1, in: int work\(void\)\n"):
            self.run_main(prepare)

    def test_series(self):
        """The mail has the edit and the new file."""
        self.run_main(prepare)
        self.assertIn("1 mails in ", self.run_main(series))
        letter, mail = sorted(os.listdir(f"{self.build}/series/1"))
        text = read_text(f"{self.build}/series/1/{mail}")
        self.assertIn("+int new;\n", text)
        self.assertIn("+++ b/lib/new.c\n", text)
        text = read_text(f"{self.build}/series/1/{letter}")
        self.assertIn("Subject: [PATCH 0/1] a subject\n", text)
        self.assertIn("What it is for.\n", text)

    def test_no_cover_letter(self):
        self.run_main(prepare)
        os.unlink(f"{self.top}/patches/letter")
        with self.assertRaisesRegex(Error, "no patches/letter: "):
            self.run_main(series)
        write(self.top, {"patches/letters": "letter mm-another.patch\n"})
        with self.assertRaisesRegex(Error, "cover letter for the first patch"):
            self.run_main(series)

    def test_file_in_no_patch(self):
        write(self.top, {"lib/other.c": "int other;\n"})
        with contextlib.redirect_stderr(io.StringIO()) as said:
            self.run_main(prepare)
        self.assertIn("lib/other.c: in no patch", said.getvalue())
        with self.assertRaisesRegex(Error, "lib/other.c: in no patch"):
            self.run_main(series)

    def test_wrong_version(self):
        write(self.source, {"Makefile": SOURCE["Makefile"].replace("12", "13")})
        with self.assertRaisesRegex(Error, r"the patches are for 6\.12\.y"):
            self.run_main(prepare)
        self.assertFalse(os.path.exists(self.linux))
