# SPDX-License-Identifier: GPL-2.0
"""DIMMs that are added and removed while the guest runs; the host plugs them"""

import time

from feature_blocks import block_pages, blocks, go_offline, state_is_right
from feature_common import Load, check, eventually
from memstate import PAGE, meminfo, read

MIB_PAGES = (1 << 20) // PAGE


def spans():
    """{(node, zone): (first pfn, pages it spans, pages it has)}"""
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
    """A DIMM of the host"""

    def __init__(self, name, mib, node):
        self.name = name
        before = {b.number for b in blocks()}
        want = mib * MIB_PAGES // block_pages()
        print(f"# now plug {name} {mib} {node}", flush=True)
        eventually(lambda: len(blocks()) == len(before) + want,
                   lambda: f"{len(blocks()) - len(before)} new blocks, not {want}")
        self.blocks = [b for b in blocks() if b.number not in before]

    def online(self, state, order=None):
        for block in order or self.blocks:
            check(block.set(state), f"{block.number} does not come {state}")

    def offline(self):
        for block in self.blocks:
            go_offline(block)

    def remove(self):
        gone = len(blocks()) - len(self.blocks)
        print(f"# now unplug {self.name}", flush=True)
        eventually(lambda: len(blocks()) == gone,
                   lambda: f"{len(blocks()) - gone} blocks too many")
        time.sleep(1)
        print(f"# now gone {self.name}", flush=True)


def tests(args):
    def hole():
        """a zone has a hole, which is filled from its end"""
        total = meminfo("MemTotal")
        dimm = Dimm("a", 1024, 0)
        for first in dimm.blocks[0], dimm.blocks[-1]:
            # Memory of the zone lies before the hole, or behind it.
            rest = [b for b in dimm.blocks[::-1] if b is not first]
            dimm.online("online_movable", [first, *rest])
            check(meminfo("MemTotal") > total + 1000 * MIB_PAGES, "the DIMM gave no memory")
            state_is_right("DIMM online")
            dimm.offline()
            state_is_right("DIMM offline")
            check(meminfo("MemTotal") == total,
                  f"{meminfo('MemTotal')} pages, before {total}")
        dimm.remove()

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
        """DIMMs come and go while all CPUs allocate (L)"""
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

    return hole, new_zone, under_load, kernel_memory
