# SPDX-License-Identifier: GPL-2.0
"""Record, analyse and replay traces of page allocations under real loads"""

import glob
import os
import subprocess

from llfree.paths import BUILD, LINUX, TOP
from llfree.program import Error

TRACES = f"{BUILD}/traces"


def find(given):
    """Return the directories of the given traces, or of all traces."""
    found = given or sorted(map(os.path.dirname, glob.glob(f"{TRACES}/*/meta.json")))
    if not found:
        raise Error(f"no traces in {TRACES}: run scripts/trace-pages")
    return found


def build(name, hint=""):
    """Build a program of tools/testing/llfree, and return its path."""
    program = f"{BUILD}/llfree-user/{name}"
    if subprocess.run(["make", "-s", "-C", f"{TOP}/tools/testing/llfree", f"LINUX={LINUX}",
                       program], check=False).returncode:
        raise Error(f"{name} cannot be built{hint}")
    return program
