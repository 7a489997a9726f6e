# SPDX-License-Identifier: GPL-2.0
"""Memory blocks that go offline and come online again, by sysfs"""

import errno
import glob
import random
import re
import time

from feature_common import Load, check, need, refused
from memstate import PAGE, check_all, meminfo, read, settle, write

MEMORY = "/sys/devices/system/memory"


class Block:
    """A memory block"""

    def __init__(self, path):
        self.path = path
        self.number = int(re.search(r"\d+$", path)[0])

    def online(self):
        return read(f"{self.path}/state").strip() != "offline"

    def zones(self):
        """Zones that it is in or could be in"""
        return read(f"{self.path}/valid_zones").split()

    def set(self, state):
        """False if the kernel cannot do that now"""
        try:
            write(f"{self.path}/state", state)
        except OSError as e:
            if e.errno in (errno.EBUSY, errno.EINTR, errno.EAGAIN):
                return False
            raise
        return True


def blocks():
    need(MEMORY, "CONFIG_MEMORY_HOTPLUG is not set")
    found = map(Block, glob.glob(f"{MEMORY}/memory[0-9]*"))
    return sorted(found, key=lambda b: b.number)


def block_pages():
    return int(read(f"{MEMORY}/block_size_bytes"), 16) // PAGE


def whole():
    """Blocks that are memory from end to end: others cannot go offline."""
    ram = [tuple(int(x, 16) // PAGE for x in m) for m in
           re.findall(r"^([0-9a-f]+)-([0-9a-f]+) : System RAM", read("/proc/iomem"), re.M)]
    size = block_pages()
    return [b for b in blocks()
            if any(first <= b.number * size and (b.number + 1) * size <= last + 1
                   for first, last in ram)]


def movable():
    return [b for b in whole() if b.online() and "Movable" in b.zones()]


def state_is_right(when):
    settle()
    for passed, text in check_all():
        check(passed is not False, f"{when}: {text}")


def go_offline(block, seconds=30):
    """Pages that are in use for a moment make that fail."""
    deadline = time.monotonic() + seconds
    while not block.set("offline"):
        check(time.monotonic() < deadline, f"block {block.number} stays online")
        time.sleep(0.2)


def cycle(total):
    """All movable blocks go, the highest last, and come back, the highest first."""
    gone = movable()
    check(gone, "no movable blocks")
    for i, block in enumerate(gone):
        go_offline(block)
        want = total - (i + 1) * block_pages()
        check(abs(meminfo("MemTotal") - want) < block_pages() // 8,
              f"{meminfo('MemTotal')} pages without {i + 1} blocks, not {want}")
    state_is_right(f"{len(gone)} blocks offline")
    for block in reversed(gone):
        check(block.set("online_movable"), f"block {block.number} stays offline")
    check(meminfo("MemTotal") == total, f"{meminfo('MemTotal')} pages, before {total}")
    state_is_right(f"{len(gone)} blocks online")
    return len(gone)


def tests(args):
    def bad_input():
        """files refuse nonsense and change nothing"""
        # The last two: it is online already, and has no memory at its end.
        for text in "nonsense", "0", "offlin", "online_movabl", "online", "offline":
            refused(f"{blocks()[-1].path}/state", text)

    def down_and_up():
        """all of ZONE_MOVABLE that can goes, and comes back from high to low"""
        total = meminfo("MemTotal")
        return f"{cycle(total)} blocks, {cycle(total)} again"

    def under_load():
        """random blocks go and come while all CPUs allocate (L)"""
        total, rng = meminfo("MemTotal"), random.Random(1)
        there = {b.number for b in blocks() if b.online()}
        candidates = whole()
        kinds = {b.number: "online_movable" if "Movable" in b.zones() else "online_kernel"
                 for b in blocks()}
        # Seconds that each attempt took
        gone, busy = [], []
        with Load(0.15):
            end = time.monotonic() + args.seconds
            while time.monotonic() < end:
                block = rng.choice(candidates)
                if not block.online():
                    check(block.set(kinds[block.number]),
                          f"block {block.number} stays offline")
                else:
                    start = time.monotonic()
                    done = gone if block.set("offline") else busy
                    done.append(time.monotonic() - start)
        for block in blocks():
            if block.number in there and not block.online():
                check(block.set(kinds[block.number]), f"block {block.number} stays offline")
        check(gone, "no block went offline")
        check(meminfo("MemTotal") == total, f"{meminfo('MemTotal')} pages, before {total}")
        return ", ".join(f"{len(t)} times {what}, {sum(t) / max(len(t), 1):.2f} s each"
                         for what, t in (("offline", gone), ("busy", busy)))

    return bad_input, down_and_up, under_load
