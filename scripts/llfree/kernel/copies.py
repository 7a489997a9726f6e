# SPDX-License-Identifier: GPL-2.0
"""Copies of built kernels, for programs that run longer than until the next build"""

import fcntl
import glob
import os
import shutil


def take(kernel, copy, patterns, wait=True):
    """Copy the files of a build directory that match patterns. While a build runs, wait for
    it, or return False."""
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
