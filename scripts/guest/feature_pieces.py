# SPDX-License-Identifier: GPL-2.0
"""Test that blocks that are freed in pieces become whole again."""

import os
import subprocess

from feature_common import DEBUG, TORTURE, check, need, torture_module
from memstate import read, settle, write

BLOCKS = f"{DEBUG}/page_isolation_torture/blocks"
EACH = 100              # blocks of each order, in one round
ROUNDS = 5
# Programs start and end meanwhile. The kernel may keep a piece from a per-CPU list for
# such a program, and then the block of the piece stays in use. Buddy loses up to 3 of 86
# blocks.
LOST_PERCENT = 5


def blocks():
    """Return the number of free blocks of the highest order.

    The kernel allocates all of these blocks, and the last attempt empties per-CPU lists."""
    need(BLOCKS, "CONFIG_PAGE_ISOLATION_TORTURE_TEST is not set")
    return len(read(BLOCKS).split())


def pieces():
    write(f"{TORTURE}/pieces", str(EACH))


def tests(_args):
    def alone():
        """all blocks are there again if nothing else runs"""
        with torture_module():
            settle()
            before = blocks()
            check(before > 20, f"only {before} blocks")
            pieces()
            after = blocks()
        # The shell of the guest may allocate, too.
        check(after >= before - 1, f"{before} blocks, then {after}")
        return f"{before} blocks, then {after}"

    def with_programs():
        """almost all blocks are there again if programs start and end meanwhile"""
        with torture_module():
            settle()
            before = blocks()
            found = []
            for _ in range(ROUNDS):
                for _ in range(4):
                    pieces()
                    subprocess.run(["ls", "-lR", os.path.dirname(__file__)],
                                   stdout=subprocess.DEVNULL, check=True)
                settle()
                found.append(blocks())
        lost = before - sum(found) / len(found)
        text = f"{before} blocks, then {' '.join(map(str, found))}"
        check(lost * 100 <= before * LOST_PERCENT, text)
        return text

    return alone, with_programs
