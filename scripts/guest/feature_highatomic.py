# SPDX-License-Identifier: GPL-2.0
"""Test the reserve for atomic allocations of higher orders"""

import contextlib
import os
import re
import time

from feature_common import (TORTURE, Skip, anonymous, check, eventually, need,
                            torture_module)
from memstate import (Failure, MADV_POPULATE_WRITE, PAGE, kernel_log,
                      meminfo, read, refresh, retry, settle, write, zones)

SYSRQ = "/proc/sysrq-trigger"
BLOCK = 512


def blocks():
    """Return the number of pageblocks of type HighAtomic by zone, from /proc/pagetypeinfo."""
    found = {}
    names = []
    for line in read("/proc/pagetypeinfo").splitlines():
        if line.startswith("Number of blocks type"):
            names = line.split()[4:]
        elif names and (m := re.match(r"Node (\d+), zone +(\w+) +(.*)", line)):
            if "HighAtomic" not in names:
                raise Skip("no type HighAtomic in /proc/pagetypeinfo")
            found[f"{m[1]}/{m[2]}"] = int(m[3].split()[
                names.index("HighAtomic")])
    return found


def free_by_type():
    """Return {zone: {type: free pages}} from /proc/pagetypeinfo."""
    found = {}
    for m in re.finditer(r"^Node +(\d+), zone +(\w+), type +(\w+) +(.*)$",
                         read("/proc/pagetypeinfo"), re.MULTILINE):
        counts = [int(n.lstrip(">")) for n in m[4].split()]
        found.setdefault(f"{m[1]}/{m[2]}", {})[m[3]] = sum(
            n << i for i, n in enumerate(counts))
    return found


def free_in_reserve():
    return sum(types["HighAtomic"] for types in free_by_type().values())


def shown():
    """Return the pages of the reserve by zone, from SysRq-m."""
    need(SYSRQ, "CONFIG_MAGIC_SYSRQ is not set")
    write(SYSRQ, "m")
    found = {}
    for line in kernel_log():
        m = re.search(r"Node (\d+) (\w+) free:.*\breserved_highatomic:(\d+)KB",
                      line)
        if m:
            found[f"{m[1]}/{m[2]}"] = int(m[3]) * 1024 // PAGE
    check(found, "SysRq-m shows no reserve")
    return found


def agree():
    """Check that all files count each free page once, and agree about the reserve."""
    refresh()
    by_type, reserve, nr = free_by_type(), shown(), blocks()
    for z in zones():
        name = str(z)
        types, reserved = by_type[name], reserve[name]
        free = types["HighAtomic"]
        if reserved != nr[name] * BLOCK or free > reserved:
            raise Failure(f"zone {name}: {nr[name]} pageblocks reserved, "
                             f"{reserved} pages, {free} of them free")
        total = sum(n for kind, n in types.items() if kind != "Isolate")
        if not total == z.in_blocks == z.free:
            raise Failure(f"zone {name}: {total} free pages of all types, "
                             f"{z.in_blocks} in free blocks, but {z.free} free")
        limit = z.managed // 100 + 2 * BLOCK
        if reserved > limit:
            raise Failure(f"zone {name}: {reserved} pages are reserved, "
                             f"more than {limit}")
    return f"{sum(nr.values()) * BLOCK} pages reserved, {free_in_reserve()} free"


@contextlib.contextmanager
def atomic_load():
    """Let interrupts allocate in a context, while tasks take all memory again and again."""
    with torture_module():
        write(f"{TORTURE}/contexts", "task softirq hardirq")
        write(f"{TORTURE}/limit_mb",
              str(meminfo("MemTotal") * PAGE // 2 >> 20))
        write(f"{TORTURE}/pressure", "Y")
        write(f"{TORTURE}/run", "600")
        yield
        write(f"{TORTURE}/run", "0")
        text = read(f"{TORTURE}/stats")
        check("\nproblems 0" in text, f"torture: {text}")


def until_killed():
    """Run a program that takes memory until the OOM killer kills it."""
    pid = os.fork()
    if not pid:
        write("/proc/self/oom_score_adj", "1000")
        held = []
        while True:
            area = anonymous(16 << 20)
            area.madvise(MADV_POPULATE_WRITE)
            held.append(area)
    status = os.waitpid(pid, 0)[1]
    check(status == 9, f"the program ended with status {status}")


def tests(args):
    def used():
        """atomic allocations make a reserve and use it (L)"""
        need("/proc/pagetypeinfo", "CONFIG_PROC_FS is not set")
        most = lowest = 0
        with atomic_load():
            end = time.monotonic() + args.seconds
            while time.monotonic() < end or \
                    (not lowest and time.monotonic() < end + 40):
                nr = sum(blocks().values())
                free = free_in_reserve()
                most = max(most, nr)
                if nr * BLOCK > free:
                    lowest = max(lowest, nr * BLOCK - free)
                time.sleep(0.2)
        check(most, "no pageblock was reserved")
        check(lowest, f"nothing of {most} pageblocks was used")
        return f"up to {most} pageblocks, {lowest} pages of them used"

    def counted_once():
        """all files agree about the reserve"""
        settle()
        return retry(agree, 3)

    def returned():
        """the kernel frees the reserve before the OOM killer acts"""
        before = sum(blocks().values())
        if not before:
            raise Skip("there is no reserve")
        until_killed()
        eventually(lambda: sum(blocks().values()) < before,
                   f"all of {before} pageblocks are still reserved")
        text = retry(agree, 3)
        return f"{before} pageblocks, then {sum(blocks().values())}; {text}"

    return used, counted_once, returned
