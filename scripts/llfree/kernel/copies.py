# SPDX-License-Identifier: GPL-2.0
"""Copy built kernels, for programs that still run when the next build begins"""

import fcntl
import glob
import os
import shutil


def take(kernel, copy, patterns, wait=True):
    """Copy the files of a build directory that match patterns. Return False if a build is
    running in the directory; with wait, wait for the end of that build instead."""
    with open(f"{kernel}/.lock", "a", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        shutil.rmtree(copy, ignore_errors=True)
        for pattern in patterns:
            for name in glob.glob(pattern, root_dir=kernel):
                os.makedirs(os.path.dirname(f"{copy}/{name}"), exist_ok=True)
                shutil.copy(f"{kernel}/{name}", f"{copy}/{name}")
    return True
