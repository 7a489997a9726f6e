# SPDX-License-Identifier: GPL-2.0
"""Test a zone with a large hole at boot, to which memory is added

The kernel's command line, from scripts/features, hides memory from the guest. The tests add
hidden memory by its address."""

import os
import random
import re

from feature_blocks import MEMORY, block_pages, blocks, state_is_right
from feature_common import check, need
from memstate import PAGE, meminfo, read, write

GIB = 1 << 30
# Range of addresses that the command line hides
FIRST, END = 4 * GIB, 18 * GIB


def areas():
    """Return the sizes in KiB of the areas that have the words of zones."""
    return [int(m[1]) // 1024 for m in
            re.finditer(r"^\S+\s+(\d+) area_new\S* .*", read("/proc/vmallocinfo"), re.M)]


def add(address):
    """Add a memory block and return it."""
    before = {b.number for b in blocks()}
    write(f"{MEMORY}/probe", f"{address:#x}")
    new = [b for b in blocks() if b.number not in before]
    check(len(new) == 1, f"{len(new)} new blocks")
    return new[0]


def tests(_args):
    def words():
        """the words of the hole take no memory"""
        need(f"{MEMORY}/probe", "CONFIG_ARCH_MEMORY_PROBE is not set")
        if os.path.exists("/sys/kernel/debug/page_alloc/validate"):
            check(areas(), "no zone has its words in an area")
        state_is_right("after boot")
        return f"areas of KiB: {areas()}"

    def fill():
        """blocks at random places of the hole are added, go offline and online"""
        need(f"{MEMORY}/probe", "CONFIG_ARCH_MEMORY_PROBE is not set")
        total, rng = meminfo("MemTotal"), random.Random(1)
        places = rng.sample(range(FIRST, END, block_pages() * PAGE), 12)
        added, gone = [add(place) for place in places], 0
        for n in range(3):
            for block in added:
                check(block.online() or block.set("online_kernel"),
                      f"{block.number} stays offline")
            want = total + len(added) * block_pages()
            check(meminfo("MemTotal") == want, f"{meminfo('MemTotal')} pages, not {want}")
            state_is_right(f"round {n}")
            # The kernel may use pages of some blocks.
            went = sum(block.set("offline") for block in rng.sample(added, len(added)))
            want -= went * block_pages()
            check(meminfo("MemTotal") == want,
                  f"{meminfo('MemTotal')} pages without {went} blocks, not {want}")
            state_is_right(f"round {n}, offline")
            gone += went
        check(gone, "no block went offline")
        return f"{len(added)} blocks, {gone} times offline"

    return words, fill
