# SPDX-License-Identifier: GPL-2.0
"""Test contiguous ranges of frames: huge pages of 2 MiB and 1 GiB at run time."""

import mmap
import os
import time

from feature_common import (Load, Skip, check, eventually, need, number,
                            set_file)
from memstate import Failure, PAGE, meminfo, settle, write

HUGE = "/sys/kernel/mm/hugepages"
MEGA, GIGA = f"{HUGE}/hugepages-2048kB", f"{HUGE}/hugepages-1048576kB"
HVO = "/proc/sys/vm/hugetlb_optimize_vmemmap"
MAP_HUGETLB, MAP_HUGE_SHIFT = 0x40000, 26

_loaded = []            # names of the tests under load that have run


def resize(pool, nr):
    """Request nr huge pages. Return the number that the pool has now."""
    write(f"{pool}/nr_hugepages", str(nr))
    return number(f"{pool}/nr_hugepages")


def empty(pool):
    left = resize(pool, 0)
    check(not left, f"{left} huge pages do not go away")


def touch(pool, shift):
    """Write to free pages of the pool, at most 2 GiB, and check the content."""
    nr = min(number(f"{pool}/free_hugepages"), 1 << 31 - shift)
    size = nr << shift
    area = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS |
                     MAP_HUGETLB | shift << MAP_HUGE_SHIFT)
    for off in range(0, size, 2 << 20):
        area[off:off + 8] = off.to_bytes(8, "little")
    for off in range(0, size, 2 << 20):
        if area[off:off + 8] != off.to_bytes(8, "little"):
            raise Failure(f"a huge page has changed at offset {off:#x}")
    area.close()
    return nr


def gigantic(nr=None):
    """Allocate nr pages of 1 GiB, or as many as possible, but at least one."""
    need(GIGA, "the CPU has no 1 GiB pages (scripts/vm --cpu max)")
    if meminfo("MemTotal") * PAGE < 3 << 30:
        raise Skip("less than 3 GiB of memory")
    settle()
    got = resize(GIGA, nr or meminfo("MemTotal") * PAGE >> 30)
    # Pages that cannot be moved may remain after a load.
    if not got and _loaded:
        raise Skip("memory is too fragmented for a page of 1 GiB")
    check(got, "no page of 1 GiB")
    return got


def reset_missing():
    """Return whether HVO of the running kernel leaves damaged struct pages.

    HVO restores a page of the vmemmap as a copy of the head page's. Linux 6.12.117 does
    not reset the first struct pages in the copy. Compaction takes such a struct page for a
    huge page, and the kernel has an oops, with every allocator."""
    return os.uname().release.startswith("6.12.117")


def both_vmemmaps(function):
    """Run a function without and with HVO, which optimises the vmemmap."""
    texts = [function()]
    if not os.path.exists(HVO):
        texts.append(f"no {HVO}")
    elif reset_missing():
        texts.append("without HVO, which this kernel breaks")
    else:
        set_file(HVO, 1)
        texts.append(f"with HVO {function()}")
        set_file(HVO, 0)
    return ", ".join(texts)


def tests(args):
    def mega_rest():
        """2 MiB pages can take half of an idle system's memory, and are freed"""
        need(MEGA, "no huge pages of 2 MiB")

        def round_once():
            settle()
            want = meminfo("MemFree") * PAGE // 2 >> 21
            got = resize(MEGA, want)
            check(got == want, f"{got} of {want} pages")
            touch(MEGA, 21)
            empty(MEGA)
            return str(got)
        return both_vmemmaps(round_once)

    def mega_load():
        """the number of 2 MiB pages goes up and down (L)"""
        need(MEGA, "no huge pages of 2 MiB")
        _loaded.append("mega_load")
        counts = []
        want = min(meminfo("MemAvailable") * PAGE // 3 >> 21, 500)
        with Load(0.3):
            end = time.monotonic() + args.seconds
            while len(counts) < 2 or time.monotonic() < end:
                counts.append(resize(MEGA, want))
                check(counts[-1], f"none of {want} pages")
                touch(MEGA, 21)
                empty(MEGA)
        return f"{len(counts)} times, {min(counts)} to {max(counts)} of {want}"

    def giga_rest():
        """the number of 1 GiB pages goes up and down"""
        def round_once():
            got = gigantic()
            touch(GIGA, 30)
            empty(GIGA)
            print(f"# figure gigantic={got}")
            return str(got)
        return both_vmemmaps(round_once)

    def giga_load():
        """the number of 1 GiB pages goes up and down (L)"""
        gigantic()
        empty(GIGA)
        counts = []
        _loaded.append("giga_load")
        with Load(0.1):
            end = time.monotonic() + args.seconds
            while len(counts) < 2 or time.monotonic() < end:
                counts.append(resize(GIGA, 1))
                empty(GIGA)
        return f"{len(counts)} times, {sum(counts)} pages"

    def giga_after():
        """number of pages of 1 GiB that can be allocated after the loads"""
        need(GIGA, "the CPU has no 1 GiB pages (scripts/vm --cpu max)")
        settle()
        got = resize(GIGA, meminfo("MemTotal") * PAGE >> 30)
        print(f"# figure gigantic_after_load={got}")
        empty(GIGA)
        return str(got)

    def demote():
        """a 1 GiB page becomes 512 pages of 2 MiB"""
        def round_once():
            got = gigantic(2)
            try:
                write(f"{GIGA}/demote", "1")
                eventually(lambda: number(f"{MEGA}/nr_hugepages") == 512,
                           lambda: "a 1 GiB page became "
                           f"{number(f'{MEGA}/nr_hugepages')} of 2 MiB")
                left = number(f"{GIGA}/nr_hugepages")
                check(left == got - 1, f"{left} of {got} pages of 1 GiB left")
                touch(MEGA, 21)
            finally:
                empty(MEGA)
                empty(GIGA)
            return "512"
        return both_vmemmaps(round_once)

    def demote_load():
        """pages are demoted (L)"""
        gigantic(1)
        rounds = 0
        _loaded.append("demote_load")
        try:
            with Load(0.1):
                write(f"{GIGA}/demote", "1")
                check(number(f"{MEGA}/nr_hugepages") == 512, "not demoted")
                end = time.monotonic() + args.seconds / 2
                # Allocate and free order 9 between huge pages that stay.
                while not rounds or time.monotonic() < end:
                    check(resize(MEGA, 100) == 100, "pool does not shrink")
                    resize(MEGA, 300)
                    rounds += 1
        finally:
            empty(MEGA)
            empty(GIGA)
        return f"{rounds} rounds"

    return (giga_rest, demote, mega_rest, demote_load, giga_load, mega_load,
            giga_after)
