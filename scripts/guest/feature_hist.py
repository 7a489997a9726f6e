# SPDX-License-Identifier: GPL-2.0
"""Test histograms of page allocations in debugfs: /sys/kernel/debug/page_alloc/hist"""

import contextlib
import errno
import mmap
import os
import time

from feature_common import (DEBUG, Child, Load, Skip, anonymous, check, eventually, need,
                            number, refused, set_file)
from feature_contig import GIGA, empty, resize
from feature_pieces import blocks
from memstate import (MADV_POPULATE_WRITE, NR_ORDERS, PAGE, meminfo, read, settle, vmstat,
                      write)

HIST = f"{DEBUG}/page_alloc/hist"
ENABLE = f"{HIST}/enable"
SMALL_PAGES = 4096
HUGE_PAGES = 16
HUGE_ORDER = 9
TOP_ORDER = NR_ORDERS - 1
# blocks() does not take more than 1000.
MOST_BLOCKS = 900
# The guest does other things meanwhile.
EXCESS = 1024


def table(name):
    """Return {(cpu, type): counts by order}; cpu is "all" for sums."""
    head, *lines = read(f"{HIST}/{name}").splitlines()
    names = ["cpu", "type"] + [f"order{i}" for i in range(NR_ORDERS)]
    check(head.split() == names, f"{name} begins with: {head}")
    found = {}
    for line in lines:
        cpu, kind, *counts = line.split()
        check(len(counts) == NR_ORDERS and (cpu, kind) not in found, f"{name} has: {line}")
        found[cpu, kind] = [int(n) for n in counts]
    return found


def count(name, kind, order, cpu="all"):
    return table(name).get((cpu, kind), [0] * NR_ORDERS)[order]


def pages(name):
    """Return the number of pages of all orders, without failures."""
    return sum(n << order for (cpu, kind), counts in table(name).items()
               if cpu == "all" and kind != "Failed" for order, n in enumerate(counts))


def between(what, got, least, excess):
    check(least <= got <= least + excess, f"{what}: {got}, not {least} to {least + excess}")


@contextlib.contextmanager
def counting():
    need(ENABLE, "CONFIG_LLFREE_HIST is not set")
    set_file(ENABLE, 1)
    try:
        yield
    finally:
        write(ENABLE, "0")


@contextlib.contextmanager
def on_cpu(cpu):
    """Run on one CPU."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def touched(nr, advice=mmap.MADV_NOHUGEPAGE):
    area = anonymous(nr * PAGE)
    with contextlib.suppress(OSError):
        area.madvise(advice)
    area.madvise(MADV_POPULATE_WRITE)
    return area


def adds_up(name):
    """Check that the last lines are the sums of the others."""
    found = table(name)
    for kind in {kind for _, kind in found}:
        counts = [n for key, n in found.items() if key[1] == kind and key[0] != "all"]
        check(all(map(any, counts)), f"{name}: a line of a CPU with nothing but 0")
        sums = [sum(column) for column in zip(*counts)] or [0] * NR_ORDERS
        check(found.get(("all", kind)) == sums, f"{name}: {kind} do not add up")


def off_at_boot():
    """nothing is counted before the first start (first)"""
    need(ENABLE, "CONFIG_LLFREE_HIST is not set")
    check(number(ENABLE) == 0, "counting is on")
    for name in "allocs", "frees":
        check(all(cpu == "all" for cpu, _ in table(name)), f"{name} has lines of CPUs")
        check(not any(map(any, table(name).values())), f"{name} has counts")


def small_pages():
    """single pages of a process, on the CPU that it runs on"""
    cpu = max(os.sched_getaffinity(0))
    with counting(), on_cpu(cpu):
        area = touched(SMALL_PAGES)
        got = count("allocs", "Movable", 0, str(cpu))
        between(f"order 0 on CPU {cpu}", got, SMALL_PAGES, EXCESS)
        between("order 0 on all CPUs", count("allocs", "Movable", 0), SMALL_PAGES, EXCESS)
        between("order 0 freed", count("frees", "Freed", 0), 0, EXCESS)
        area.close()
        # Pages wait in batches of several CPUs.
        eventually(lambda: count("frees", "Freed", 0) >= SMALL_PAGES,
                   lambda: f"{count('frees', 'Freed', 0)} of {SMALL_PAGES} pages are freed")
        freed = count("frees", "Freed", 0)
        between("order 0 freed", freed, SMALL_PAGES, 2 * EXCESS)
    for name in "allocs", "frees":
        adds_up(name)
    return f"{got} of {SMALL_PAGES} on CPU {cpu}, {freed} freed"


def huge_pages():
    """huge pages of a process"""
    if not hasattr(mmap, "MADV_HUGEPAGE") or "thp_fault_alloc" not in vmstat():
        raise Skip("no transparent huge pages")
    settle()
    with counting():
        before = vmstat()["thp_fault_alloc"]
        area = touched((HUGE_PAGES + 1) << HUGE_ORDER, mmap.MADV_HUGEPAGE)
        had = vmstat()["thp_fault_alloc"] - before
        check(had >= HUGE_PAGES, f"only {had} huge pages")
        got = count("allocs", "Movable", HUGE_ORDER)
        between(f"order {HUGE_ORDER}", got, had, HUGE_PAGES)
        area.close()
        eventually(lambda: count("frees", "Freed", HUGE_ORDER) >= had,
                   lambda: f"{count('frees', 'Freed', HUGE_ORDER)} of {had} are freed")
    return f"{got} of {had}"


def failures():
    """blocks of the highest order until there are no more"""
    settle()
    rest = meminfo("MemFree") - (MOST_BLOCKS << TOP_ORDER)
    with anonymous(max(rest, 1) * PAGE) as area, counting():
        area.madvise(MADV_POPULATE_WRITE)
        nr = blocks()
        got = count("allocs", "Unmovable", TOP_ORDER)
        failed = count("allocs", "Failed", TOP_ORDER)
        freed = count("frees", "Freed", TOP_ORDER)
    check(nr > 20, f"only {nr} blocks")
    between("blocks", got, nr, 4)
    between("failures", failed, 1, 2)
    between("frees", freed, nr, 4)
    return f"{got} of {nr} blocks, {failed} failed, {freed} freed"


def gigantic():
    """a page of 1 GiB counts as blocks of the highest order when it is freed"""
    need(GIGA, "the CPU has no 1 GiB pages (scripts/vm --cpu max)")
    settle()
    if not resize(GIGA, 1):
        raise Skip("no page of 1 GiB")
    with counting():
        empty(GIGA)
        freed = count("frees", "Freed", TOP_ORDER)
        nr = pages("frees")
    between("pages", nr, 1 << 18, 1 << 14)
    return f"{nr} pages, {freed} blocks of order {TOP_ORDER}"


def stopped():
    """counts stay as they are while counting is off, and 1 clears them"""
    with counting():
        touched(SMALL_PAGES).close()
    check(number(ENABLE) == 0, "counting is on")
    before = [table(name) for name in ("allocs", "frees")]
    check(before[0]["all", "Movable"][0] >= SMALL_PAGES, "nothing was counted")
    touched(SMALL_PAGES).close()
    check([table(name) for name in ("allocs", "frees")] == before, "counting goes on")
    with counting():
        between("a start clears", pages("allocs"), 0, EXCESS)
        touched(SMALL_PAGES).close()
        write(ENABLE, "1")
        between("another start clears", pages("allocs"), 0, EXCESS)
        check(number(ENABLE) == 1, "counting is off after two starts")
    write(ENABLE, "0")
    check(number(ENABLE) == 0, "counting is on after two stops")


def bad_input():
    """files refuse nonsense and change nothing"""
    need(ENABLE, "CONFIG_LLFREE_HIST is not set")
    for text in "nonsense", "2", "-1", "1x":
        refused(ENABLE, text)
    refused(ENABLE, str(1 << 64), errno.ERANGE)
    for name in "allocs", "frees":
        refused(f"{HIST}/{name}", "1")
    with counting():
        refused(ENABLE, "2")
        check(number(ENABLE) == 1, "2 stops counting")


def tests(args):
    def vmstat_agrees():
        """as many pages are freed as /proc/vmstat says (L)"""
        def look():
            return pages("frees"), vmstat()["pgfree"], pages("frees")

        with Load(), counting():
            before = look()
            time.sleep(args.seconds / 2)
            eventually(lambda: pages("frees") >= before[2] + 4 * EXCESS,
                       "the load frees next to nothing", 60)
            after = look()
        least, most = after[0] - before[2], after[2] - before[0]
        freed = after[1] - before[1]
        text = f"{least} to {most} pages freed, {freed} by /proc/vmstat"
        # Batches of folios may be between the two counters.
        check(least - EXCESS <= freed <= most + EXCESS, text)
        return text

    def toggle():
        while True:
            write(ENABLE, "1")
            write(ENABLE, "0")

    def toggled():
        """counting starts and stops while all CPUs allocate, and files are read (L)"""
        need(ENABLE, "CONFIG_LLFREE_HIST is not set")
        rounds = 0
        with Load(), Child(toggle):
            end = time.monotonic() + args.seconds / 2
            while time.monotonic() < end:
                for name in "allocs", "frees":
                    nr = pages(name)
                    check(nr < 1 << 40, f"{nr} pages in {name}")
                rounds += 1
        write(ENABLE, "0")
        for name in "allocs", "frees":
            adds_up(name)
        return f"files were read {rounds} times"

    return (off_at_boot, small_pages, huge_pages, failures, gigantic, stopped, bad_input,
            vmstat_agrees, toggled)
