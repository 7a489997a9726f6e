# SPDX-License-Identifier: GPL-2.0
"""Boot kernels in QEMU, for scripts/vm"""

from llfree.paths import SCRIPTS


def command(kernel, program, *options, alloc=None, timeout=None):
    """Return the command line that boots a kernel and runs a program in the guest."""
    argv = [f"{SCRIPTS}/vm", "--kernel", kernel]
    if alloc:
        argv += ["--alloc", alloc]
    if timeout:
        argv += ["--timeout", str(timeout)]
    return [*argv, *options, "--", *program]
