# SPDX-License-Identifier: GPL-2.0
"""Find, insert and remove test modules of the running kernel."""

import os
import subprocess

import checkout         # pylint: disable=unused-import
from llfree.paths import BUILD


def find(name):
    """Return the file of a module of mm/, or None.

    Searches the build directory that KERNEL= of the environment names, then the build
    directory of scripts/build for the running kernel, then the installed modules."""
    release = os.uname().release
    for place in (os.environ.get("KERNEL"),
                  f"{BUILD}/x86_64{release.partition('-llfree')[2]}",
                  f"/lib/modules/{release}/kernel"):
        if place and os.path.exists(f"{place}/mm/{name}.ko"):
            return f"{place}/mm/{name}.ko"
    return None


def insert(path):
    subprocess.run(["insmod", path], check=True)


def remove(name):
    subprocess.run(["rmmod", name], check=True)
