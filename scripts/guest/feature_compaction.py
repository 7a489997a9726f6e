# SPDX-License-Identifier: GPL-2.0
"""Test how well compaction makes huge pages from memory with holes."""

import contextlib
import fcntl
import glob
import mmap
import os
import random
import resource
import time

from feature_common import anonymous, check
from llfree.ktap import Failure
from memstate import (MADV_POPULATE_WRITE, PAGE, allocator, meminfo, read, settle, vmstat,
                      write)

HUGE = 2 << 20
HUGE_ORDER = 9
BUDDYINFO = "/proc/buddyinfo"
PROACTIVENESS = "/proc/sys/vm/compaction_proactiveness"
FILL_PERCENT = 90       # with more, the kernel could kill the program
ROUNDS = 2
# At most this percentage of huge pages may be missing.
MISSED_PERCENT = 2
# Most pages that compaction may move for a huge page. The emptiest 2 MiB have about 260
# pages. Buddy moves 410 on average. LLFree moved 390, and missed 14 % of the huge pages, while
# compaction had a free scanner.
MOVES = {"llfree": 330, "buddy": 512}
# At this level compaction goes on until less than 40 % of what is free is in small blocks.
PROACTIVE = 60
PROACTIVE_S = 60
CHECK_S = 2             # kcompactd looks twice a second
REST_TICKS = 20         # in that time
# A level that needs nearly all free memory in huge pages, and pages that cannot move
UNREACHABLE = 90
PIPES = 300
PIPE = 1 << 20
# Most pages that proactive compaction may move for a huge page. Buddy moves 550 to 600. LLFree
# moved 590 with two scanners, and moves 260 to 300 now.
PROACTIVE_MOVES = {"llfree": 480, "buddy": 1024}


@contextlib.contextmanager
def proactiveness(value):
    """Set how hard proactive compaction works in a context: 0 is off."""
    before = read(PROACTIVENESS)
    write(PROACTIVENESS, str(value))
    try:
        yield
    finally:
        write(PROACTIVENESS, before)


def holes(rng):
    """Fill memory with small pages, and free up to half of the pages of each 2 MiB.

    Returns the mapping and the number of free bytes in it."""
    size = meminfo("MemFree") * PAGE * FILL_PERCENT // 100 // HUGE * HUGE
    area = anonymous(size)
    area.madvise(mmap.MADV_NOHUGEPAGE)
    area.madvise(MADV_POPULATE_WRITE)
    freed = 0
    for start in range(0, size, HUGE):
        share = rng.random() / 2
        for off in range(start, start + HUGE, PAGE):
            if rng.random() < share:
                area.madvise(mmap.MADV_DONTNEED, off, PAGE)
                freed += PAGE
    return area, freed


def huge_pages(rng):
    """Use most of the holes in huge pages, and return the number of huge pages requested."""
    small, freed = holes(rng)
    nr = freed * 3 // 4 // HUGE
    large = anonymous(nr * HUGE)
    large.madvise(mmap.MADV_HUGEPAGE)
    large.madvise(MADV_POPULATE_WRITE)
    large.close()
    small.close()
    return nr


def huge_blocks():
    """Return how many huge pages the free blocks of all zones hold."""
    orders = [line.split("zone")[1].split()[1:] for line in read(BUDDYINFO).splitlines()]
    return sum(int(nr[order]) << order - HUGE_ORDER
               for nr in orders for order in range(HUGE_ORDER, len(nr)))


def kcompactd_ticks():
    """Return how long kcompactd has run on CPUs, in clock ticks."""
    ticks = 0
    for path in glob.glob("/proc/[0-9]*/stat"):
        with contextlib.suppress(OSError):
            name, _, fields = read(path).partition("(")[2].rpartition(")")
            if name.startswith("kcompactd"):
                ticks += sum(map(int, fields.split()[11:13]))
    return ticks


def ended(before):
    """Wait until proactive compaction rests, and return the number of pages that it moved."""
    now, ticks = before, kcompactd_ticks()
    for _ in range(PROACTIVE_S // CHECK_S):
        time.sleep(CHECK_S)
        last, now = now, vmstat()["pgmigrate_success"]
        before_ticks, ticks = ticks, kcompactd_ticks()
        if now == last and now > before and ticks - before_ticks <= REST_TICKS:
            return now - before
    raise Failure(f"{now - before} pages moved, and no rest after {PROACTIVE_S} s; in the last "
                  f"{CHECK_S} s kcompactd ran for {ticks - before_ticks} ticks")


@contextlib.contextmanager
def half_empty_pipes():
    """Hold pipes in a context, each with unmovable pages and with holes between these."""
    with contextlib.ExitStack() as stack:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        ends = []
        for _ in range(PIPES):
            ends.append(os.pipe())
            for end in ends[-1]:
                stack.callback(os.close, end)
            fcntl.fcntl(ends[-1][1], fcntl.F_SETPIPE_SZ, PIPE)
            os.write(ends[-1][1], bytes(PIPE))
        for reader, _ in ends:
            left = PIPE // 2
            while left:
                left -= len(os.read(reader, left))
        yield


def tests(_args):
    def direct():
        """direct compaction makes nearly all huge pages, with few moves"""
        rng = random.Random(1)
        settle()
        with proactiveness(0):
            before = vmstat()
            wanted = sum(huge_pages(rng) for _ in range(ROUNDS))
            after = vmstat()
        got, moved, made = (after[name] - before[name] for name in (
            "thp_fault_alloc", "pgmigrate_success", "compact_success"))
        text = (f"{got} of {wanted} huge pages, {made} of these after compaction, which moved "
                f"{moved} pages")
        check(made >= wanted // 4, f"{text}: too few need compaction")
        check(got * 100 >= wanted * (100 - MISSED_PERCENT), text)
        check(moved <= made * MOVES[allocator()], text)
        return text

    def proactive():
        """proactive compaction makes huge pages with few moves, and ends"""
        settle()
        with proactiveness(0):
            area, _ = holes(random.Random(1))
            had = huge_blocks()
            before = vmstat()["pgmigrate_success"]
        with proactiveness(PROACTIVE):
            moved = ended(before)
        made = huge_blocks() - had
        area.close()
        text = f"{made} huge pages more than {had}, by {moved} moves"
        check(made >= had // 4, text)
        check(moved <= made * PROACTIVE_MOVES[allocator()], text)
        return text

    def unreachable():
        """proactive compaction rests where unmovable pages keep memory in pieces"""
        settle()
        with half_empty_pipes(), proactiveness(0):
            area, _ = holes(random.Random(1))
            before = vmstat()["pgmigrate_success"]
            with proactiveness(UNREACHABLE):
                moved = ended(before)
            area.close()
        return f"{moved} pages moved"

    return direct, proactive, unreachable
