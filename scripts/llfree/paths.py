# SPDX-License-Identifier: GPL-2.0
"""Paths of the repository and of build directories"""

import os

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCRIPTS = f"{TOP}/scripts"
CONFIGS = f"{SCRIPTS}/config"
GUEST = f"{SCRIPTS}/guest"
PATCHES = f"{TOP}/patches"
BUILD = f"{TOP}/build"
LINUX = f"{BUILD}/linux"
KERNEL = f"{BUILD}/x86_64"


def linux():
    """Return the kernel source whose programs are used: LINUX= of the environment, or
    build/linux."""
    return os.path.abspath(os.environ.get("LINUX") or LINUX)
