# SPDX-License-Identifier: GPL-2.0
"""Test the scripts and small programs without booting a guest.

Step scripts runs all tests except those in figures/. To run a file alone, in scripts/:
python3 -B -m unittest llfree.tests.test_vm"""

import os
import shutil
import tempfile
import unittest

from llfree.paths import linux


def build_directory(case):
    """Return a directory in which a class of tests builds a program. Skip the tests without a
    compiler or a kernel tree."""
    if not shutil.which("gcc"):
        raise unittest.SkipTest("gcc is not installed")
    if not os.path.isdir(f"{linux()}/tools/include"):
        raise unittest.SkipTest(f"no kernel tree at {linux()}: prepare it, or set LINUX")
    # pylint: disable=consider-using-with
    directory = tempfile.TemporaryDirectory()
    case.addClassCleanup(directory.cleanup)
    return directory.name
