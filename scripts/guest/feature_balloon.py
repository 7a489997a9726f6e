# SPDX-License-Identifier: GPL-2.0
"""Test free page reporting and the balloon: the guest's part.

scripts/features watches the host's memory and moves the balloon meanwhile. The guest
reports its steps to scripts/features in lines that begin with "# now"."""

import glob
import os
import time

from feature_common import Load, Skip, check, eventually, number
from memstate import Memory, PAGE, meminfo, read, settle, write

BALLOON_ID = "0x0005"
# Seconds in which the host can see the effect of a step
LOOK_S = 14


def now(what):
    print(f"# now {what}", flush=True)


def device():
    for path in glob.glob("/sys/bus/virtio/devices/*"):
        if read(f"{path}/device").strip() == BALLOON_ID:
            if not os.path.exists(f"{path}/driver"):
                raise Skip("the kernel has no driver for the balloon")
            return path
    raise Skip("the guest has no balloon (scripts/features boots one)")


def tests(args):
    def reporting():
        """memory that was used and freed is reported"""
        device()
        settle()
        pages = meminfo("MemFree") * 6 // 10
        for huge in True, False:
            with Memory(pages, huge) as mem:
                mem.populate()
                now(f"filled {pages * PAGE >> 20}")
                time.sleep(1)
            now(f"freed {pages * PAGE >> 20}")
            time.sleep(LOOK_S)
        cma_blocks()
        now("end")
        return f"{pages * PAGE >> 20} MiB"

    def cma_blocks():
        """Allocate most of the CMA area and free it, so that the guest reports it again."""
        areas = glob.glob("/sys/kernel/debug/cma/*")
        if not areas:
            return
        pages = number(f"{areas[0]}/count") * 3 // 4
        write(f"{areas[0]}/alloc", str(pages))
        time.sleep(LOOK_S / 2)
        now(f"cma {pages * PAGE >> 20}")
        write(f"{areas[0]}/free", str(pages))
        time.sleep(LOOK_S)

    def balloon():
        """the balloon grows and shrinks (L)"""
        device()
        settle()
        total = meminfo("MemTotal")
        changes, last = 0, total
        with Load(0.2):
            now("loaded")
            end = time.monotonic() + args.seconds
            while time.monotonic() < end:
                current = meminfo("MemTotal")
                changes += current != last
                last = current
                time.sleep(0.2)
        now("unloaded")
        eventually(lambda: meminfo("MemTotal") == total,
                   lambda: f"MemTotal is {meminfo('MemTotal')} pages, not "
                   f"{total}: does the host deflate the balloon?", 60)
        check(changes, "the host moved no balloon")
        return f"MemTotal seen in {changes} changes"

    return reporting, balloon
