# SPDX-License-Identifier: GPL-2.0
"""Test CMA: the area of boot parameter cma=, through its debugfs files."""

import os
import random
import time

from feature_common import (Child, DEBUG, Load, Skip, check, frames_with, need,
                            number, read_files)
from memstate import (Failure, PAGE, meminfo, refresh, retry, settle,
                      vmstat, write)
from llfree.kpageflags import KPF_BUDDY

CMA = f"{DEBUG}/cma"
# Seconds by which a load may exceed its time
SLOW = 60


class Area:
    """The largest CMA area"""

    def __init__(self):
        need(CMA, "CONFIG_CMA_DEBUGFS is not set")
        areas = {name: number(f"{CMA}/{name}/count")
                 for name in os.listdir(CMA)}
        if not areas:
            raise Skip("no CMA area: boot with cma=SIZE")
        self.name = max(areas, key=areas.get)
        self.dir = f"{CMA}/{self.name}"
        self.count = areas[self.name]
        self.base = number(f"{self.dir}/base_pfn")
        self.only = len(areas) == 1
        self.held = 0

    @property
    def used(self):
        return number(f"{self.dir}/used")

    def alloc(self, pages):
        try:
            write(f"{self.dir}/alloc", str(pages))
        except OSError:
            return False
        self.held += pages
        return True

    def free(self, pages):
        """Free pages of the last allocations. The kernel may free fewer pages."""
        before = self.used
        write(f"{self.dir}/free", str(pages))
        self.held -= before - self.used

    def free_all(self):
        if self.held:
            self.free(self.held)
        check(not self.held, f"{self.held} pages cannot be freed")


def free_exact(area):
    """Check that NR_FREE_CMA is the number of free frames in the area."""
    if not area.only:
        raise Skip("several CMA areas")
    vm = vmstat()["nr_free_cma"]
    walked = sum(1 for _ in frames_with(KPF_BUDDY, area.base,
                                        area.base + area.count))
    refresh()
    after = vmstat()["nr_free_cma"]
    if not min(vm, after) <= walked <= max(vm, after):
        raise Failure(f"{walked} free frames in the area, but nr_free_cma "
                         f"is {vm}, then {after}")
    shown = meminfo("CmaFree")
    if shown != vmstat()["nr_free_cma"]:
        raise Failure(f"CmaFree {shown} is not nr_free_cma")
    return f"{walked} free frames"


def tests(args):
    def birth():
        """CmaTotal and CmaFree after boot"""
        area = Area()
        if area.only:
            check(meminfo("CmaTotal") == area.count,
                  f"CmaTotal {meminfo('CmaTotal')}, area {area.count}")
        check(not area.used, f"{area.used} pages used")
        return retry(lambda: free_exact(area), 2)

    def whole():
        """half of the area can be allocated at once, and its frames are used"""
        area = Area()
        settle()
        pages = area.count // 2
        check(area.alloc(pages), f"no {pages} pages at once")
        check(area.used == pages, f"{area.used} of {pages} pages used")
        text = retry(lambda: free_exact(area), 2)
        free = vmstat()["nr_free_cma"]
        check(free <= area.count - pages, f"{free} pages are free")
        area.free_all()
        return text

    def cache():
        """alloc and free while the page cache fills the area (L)"""
        area = Area()
        settle()
        start = lowest = vmstat()["nr_free_cma"]
        enough = start * 3 // 4
        done = failed = 0
        with Child(read_files), Load(0.2):
            end = time.monotonic() + args.seconds
            # A busy host fills the area late.
            while time.monotonic() < end + SLOW * (lowest >= enough):
                pages = random.choice((1, 7, 64, 512, 1000, 4096))
                if area.held + pages < area.count // 2:
                    if area.alloc(pages):
                        done += 1
                    else:
                        failed += 1
                if not random.randrange(3) and area.held:
                    area.free(random.randrange(area.held) + 1)
                refresh()
                free = vmstat()["nr_free_cma"]
                check(0 <= free <= area.count - area.held + 64,
                      f"{free} pages free, {area.held} of {area.count} used")
                lowest = min(lowest, free + area.held)
                check(area.used == area.held,
                      f"{area.used} pages used, {area.held} allocated")
        area.free_all()
        check(done, f"no allocation of {failed} was successful")
        check(lowest < enough, "others used no more than "
              f"{start - lowest} of {start} pages of the area")
        return (f"{done} allocations, {failed} refused, page cache and "
                f"programs in {(start - lowest) * PAGE >> 20} MiB")

    def exact():
        """CmaFree is exact, and most of the area is free again after the load"""
        area = Area()
        settle()
        check(not area.used, f"{area.used} pages used")
        text = retry(lambda: free_exact(area), 2)
        check(vmstat()["nr_free_cma"] > area.count // 2,
              f"only {vmstat()['nr_free_cma']} of {area.count} pages are free")
        return text

    return birth, whole, cache, exact
