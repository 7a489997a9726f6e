# SPDX-License-Identifier: GPL-2.0
"""Test modules of the kernel that runs."""

import os
import subprocess

import checkout         # pylint: disable=unused-import
from llfree.paths import BUILD


def find(name):
    """The file of module NAME of mm/, or None. KERNEL= names the build directory;
    otherwise it is the one that scripts/build has for this kernel, or the place
    of installed modules."""
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
