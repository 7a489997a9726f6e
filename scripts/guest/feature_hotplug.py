# SPDX-License-Identifier: GPL-2.0
"""Test DIMMs that the host adds and removes while the guest runs"""

import errno
import os
import time

import feature_hwpoison as hwpoison
from feature_blocks import block_pages, blocks, go_offline, no_way_back, state_is_right
from feature_common import DEBUG, Load, check, eventually, need, set_file
from memstate import PAGE, meminfo, read

MIB_PAGES = (1 << 20) // PAGE
FAIL_NTH = "/proc/thread-self/fail-nth"


def spans():
    """Return {(node, zone): (first pfn, spanned pages, managed pages)}."""
    found, zone = {}, None
    for line in read("/proc/zoneinfo").splitlines():
        words = line.split()
        if line.startswith("Node "):
            zone = int(words[1].rstrip(",")), words[3]
            found[zone] = [0, 0, 0]
        elif words[0] in ("start_pfn:", "spanned", "managed") and zone:
            found[zone][("start_pfn:", "spanned", "managed").index(words[0])] = \
                int(words[1])
    return {k: tuple(v) for k, v in found.items()}


def managed(node, zone):
    return spans().get((node, zone), (0, 0, 0))[2]


class Dimm:
    """A DIMM that the host adds and removes within some seconds"""

    def __init__(self, name, mib, node, seconds=20):
        self.name, self.seconds = name, seconds
        before = {b.number for b in blocks()}
        want = mib * MIB_PAGES // block_pages()
        print(f"# now plug {name} {mib} {node}", flush=True)
        eventually(lambda: len(blocks()) == len(before) + want,
                   lambda: f"{len(blocks()) - len(before)} new blocks, not {want}", seconds)
        self.blocks = [b for b in blocks() if b.number not in before]

    def online(self, state, order=None):
        for block in self.blocks if order is None else order:
            check(block.set(state), f"{block.number} does not come {state}")

    def offline(self):
        for block in self.blocks:
            if block.online():
                go_offline(block)

    def remove(self):
        gone = len(blocks()) - len(self.blocks)
        print(f"# now unplug {self.name}", flush=True)
        eventually(lambda: len(blocks()) == gone,
                   lambda: f"{len(blocks()) - gone} blocks too many", self.seconds)
        time.sleep(1)
        print(f"# now gone {self.name}", flush=True)


def online_failing(block, nth):
    """Bring a block online, and let the nth call that can fail in the kernel fail meanwhile.
    Return the number of calls left until the failure, 0 if a call has failed."""
    state = os.open(f"{block.path}/state", os.O_WRONLY)
    fail = os.open(FAIL_NTH, os.O_RDWR)
    try:
        os.write(fail, str(nth).encode())
        try:
            os.write(state, b"online_movable")
        except OSError as e:
            check(e.errno == errno.ENOMEM, f"failure {nth}: {e}")
        left = int(os.pread(fail, 20, 0))
        os.write(fail, b"0")
    finally:
        os.close(state)
        os.close(fail)
    return left


def poisoned():
    """a DIMM is removed with its poisoned frames, and another DIMM has none"""
    hwpoison.present()
    total, base = meminfo("MemTotal"), hwpoison.corrupted()
    dimm = Dimm("p", 512, 1)
    dimm.online("online_movable")
    bad = {pfn for pfn in hwpoison.free_frames(32, [b.frames() for b in dimm.blocks])
           if hwpoison.corrupt(pfn)}
    dimm.offline()
    hit = [b for b in dimm.blocks if any(pfn in b.frames() for pfn in bad)]
    check(hit, "no frame is poisoned")
    for block in dimm.blocks:
        if block in hit:
            no_way_back(block, bad)
        else:
            dimm.online("online_movable", [block])
            go_offline(block)
    check(hwpoison.corrupted() == base + len(bad),
          f"HardwareCorrupted is {hwpoison.corrupted()}, not {base + len(bad)} pages")
    state_is_right("a DIMM with poisoned frames offline")
    dimm.remove()
    check(hwpoison.corrupted() == base,
          f"HardwareCorrupted is {hwpoison.corrupted()} pages without the DIMM, {base} before")
    dimm = Dimm("q", 512, 1)
    dimm.online("online_movable")
    check(not hwpoison.poisoned(), "frames of a new DIMM are poisoned")
    hwpoison.never_handed_out(set())
    state_is_right("a new DIMM")
    dimm.offline()
    dimm.remove()
    check(meminfo("MemTotal") == total, f"{meminfo('MemTotal')} pages, before {total}")
    return f"{len(bad)} frames in {len(hit)} blocks"


def tests(args):
    def hole():
        """a zone has a hole, which is filled from its end"""
        total = meminfo("MemTotal")
        dimm = Dimm("a", 1024, 0)
        for first in dimm.blocks[0], dimm.blocks[-1]:
            # The first block of the zone is before the hole, or after the hole.
            rest = [b for b in dimm.blocks[::-1] if b is not first]
            dimm.online("online_movable", [first, *rest])
            check(meminfo("MemTotal") > total + 1000 * MIB_PAGES, "the DIMM gave no memory")
            state_is_right("DIMM online")
            dimm.offline()
            state_is_right("DIMM offline")
            check(meminfo("MemTotal") == total,
                  f"{meminfo('MemTotal')} pages, before {total}")
        dimm.remove()

    def no_memory():
        """each allocation fails once: a block stays offline, or is online"""
        need(FAIL_NTH, "CONFIG_FAULT_INJECTION is not set")
        for path, value in ("failslab/ignore-gfp-wait", "N"), \
                           ("fail_page_alloc/ignore-gfp-wait", "N"), \
                           ("fail_page_alloc/min-order", "0"):
            set_file(f"{DEBUG}/{path}", value)
        total = meminfo("MemTotal")
        dimm = Dimm("n", 2048, 1)
        # A zone keeps its allocations for a block, so each round takes another block: in a
        # new zone, after a hole, in the hole.
        fresh = [dimm.blocks[0], dimm.blocks[-1], *dimm.blocks[1:-1]]
        failed = []
        for _ in range(3):
            left, nth = 0, 0
            failed.append(0)
            while not left and fresh:
                nth += 1
                left = online_failing(fresh[0], nth)
                if fresh[0].online():
                    fresh.pop(0)
                else:
                    failed[-1] += 1
        came = len(dimm.blocks) - len(fresh)
        have = (meminfo("MemTotal") - total) // block_pages()
        check(have == came, f"{have} blocks more, not {came}")
        state_is_right("after failures")
        dimm.offline()
        dimm.remove()
        check(meminfo("MemTotal") == total, f"{meminfo('MemTotal')} pages, before {total}")
        check(min(failed), f"{failed} attempts failed")
        return f"{' + '.join(map(str, failed))} attempts failed, {came} did not"

    def kernel_memory():
        """a zone of the kernel grows downwards, and the kernel uses the memory"""
        before = managed(0, "Normal")
        dimm = Dimm("k", 1024, 0)
        dimm.online("online_kernel", dimm.blocks[::-1])
        check(managed(0, "Normal") > before + 1000 * MIB_PAGES, "zone Normal did not grow")
        state_is_right("DIMM online")

    def new_zone():
        """ZONE_MOVABLE of a node begins and ends with a DIMM"""
        check(not managed(1, "Movable"), "there is a movable zone")
        for _ in range(2):
            dimm = Dimm("b", 512, 1)
            dimm.online("online_movable")
            check(managed(1, "Movable") > 500 * MIB_PAGES, "no movable zone")
            state_is_right("movable zone")
            dimm.offline()
            check(not managed(1, "Movable"), "the movable zone stays")
            dimm.remove()
        state_is_right("movable zone gone")

    def under_load():
        """DIMMs are added and removed while all CPUs allocate (L)"""
        total, rounds = meminfo("MemTotal"), 0
        with Load(0.2):
            end = time.monotonic() + args.seconds
            while not rounds or time.monotonic() < end:
                node = rounds % 2
                dimm = Dimm(f"c{rounds}", 512, node)
                dimm.online("online_movable", dimm.blocks[::1 if rounds % 3 else -1])
                dimm.offline()
                dimm.remove()
                rounds += 1
        check(meminfo("MemTotal") == total, f"{meminfo('MemTotal')} pages, before {total}")
        return f"{rounds} rounds"

    return no_memory, hole, new_zone, poisoned, under_load, kernel_memory
