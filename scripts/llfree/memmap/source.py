# SPDX-License-Identifier: GPL-2.0
"""Read the map of pageblocks of the running system.

A kernel with CONFIG_LLFREE has the map in debugfs, with either allocator. On other
kernels, /proc/kpageflags shows which frames are free, and roughly the kind of the other
frames: a frame in a per-CPU list has no flag and counts as unmovable. Reading either file
needs root. Guests have no Python packages, so this file needs only the standard library."""

import os
import re

from llfree.kpageflags import (ENTRY, FLAGS, KPF_ANON, KPF_BUDDY, KPF_HUGE, KPF_LRU,
                               KPF_NOPAGE, KPF_OFFLINE, KPF_RESERVED, KPF_THP)
from llfree.memmap import maps
from llfree.memmap.maps import BLOCK
from llfree.program import read_text

DEBUG = "/sys/kernel/debug"
MAP = f"{DEBUG}/page_alloc/map"
ALLOCATOR = "/sys/kernel/mm/page_alloc/allocator"
ONE_PER_FRAME = int.from_bytes((b"\1" + bytes(ENTRY - 1)) * BLOCK, "little")
# Number of blocks that one system call reads
CHUNK = 64


def allocator():
    """Return the allocator in use. A kernel without file ALLOCATOR has only buddy."""
    return read_text(ALLOCATOR, "buddy").strip()


def block_of(data):
    """Return (free frames, kind) of a block, from the block's part of /proc/kpageflags."""
    flags = int.from_bytes(data, "little")
    ones = ONE_PER_FRAME & ((1 << 8 * len(data)) - 1)

    def frames(*bits):
        found = 0
        for bit in bits:
            found |= flags >> bit
        return found & ones
    absent = frames(KPF_NOPAGE, KPF_RESERVED, KPF_OFFLINE)
    free = frames(KPF_BUDDY)
    if absent == ones:
        return 0, "absent"
    if free.bit_count() == BLOCK:
        return BLOCK, "free"
    if frames(KPF_HUGE, KPF_THP):
        kind = "huge"
    elif ones & ~absent & ~free & ~frames(KPF_LRU, KPF_ANON):
        # A page that is neither in a process nor in the page cache cannot move.
        kind = "unmovable"
    else:
        kind = "movable"
    return free.bit_count(), kind


def zone_ranges(zoneinfo):
    """Return [(name, first frame, frames)] of the zones with memory."""
    found = []
    name = spanned = None
    for line in zoneinfo.splitlines():
        if m := re.match(r"Node (\d+), zone +(\w+)", line):
            name = f"{m[1]}/{m[2]}"
        elif m := re.match(r" +spanned +(\d+)", line):
            spanned = int(m[1])
        elif (m := re.match(r" +start_pfn: +(\d+)", line)) and spanned:
            found.append((name, int(m[1]), spanned))
    return found


def by_flags():
    """Return the zones, from the flags of all frames."""
    zones = []
    fd = os.open(FLAGS, os.O_RDONLY)
    try:
        for name, start, nr in zone_ranges(read_text("/proc/zoneinfo")):
            first = start // BLOCK * BLOCK
            zone = maps.Zone(name, first, [])
            size = BLOCK * ENTRY
            for pfn in range(first, start + nr, BLOCK * CHUNK):
                wanted = min(CHUNK * BLOCK, start + nr - pfn)
                data = os.pread(fd, wanted * ENTRY, pfn * ENTRY)
                zone.blocks.extend(block_of(data[at:at + size])
                                   for at in range(0, len(data), size))
            zones.append(zone)
    finally:
        os.close(fd)
    return zones


def find():
    """Return (a function that returns the zones, the file that the function reads)."""
    if os.access(MAP, os.R_OK):
        return lambda: maps.parse(read_text(MAP)), MAP
    if os.access(FLAGS, os.R_OK):
        return by_flags, FLAGS
    raise maps.BadMap(f"neither {MAP} nor {FLAGS} is readable; both need root, the former "
                      f"needs debugfs at {DEBUG}")
