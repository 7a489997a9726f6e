# SPDX-License-Identifier: GPL-2.0
"""Blocks that are freed in pieces become whole again."""

import os
import subprocess

from feature_common import DEBUG, TORTURE, check, need, torture_module
from memstate import read, settle, write

BLOCKS = f"{DEBUG}/page_isolation_torture/blocks"
EACH = 100              # of each order, in one round
ROUNDS = 5
# Programs start and end meanwhile. What the kernel keeps for them may be a piece
# that a per-CPU list had, and then the block of that is used. Buddy loses up to
# 3 of 86 blocks.
LOST_PERCENT = 5


def blocks():
    """How many blocks of the highest order there are.

    All are allocated, so that the last attempt empties per-CPU lists."""
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
        # The shell of the guest may do something, too.
        check(after >= before - 1, f"{before} blocks, then {after}")
        return f"{before} blocks, then {after}"

    def with_programs():
        """almost all are if programs start and end meanwhile"""
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
