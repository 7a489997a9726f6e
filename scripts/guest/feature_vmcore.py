# SPDX-License-Identifier: GPL-2.0
"""Test reading a dump, the guest's part: print the frames that are free in the dump.

scripts/features stops the guest and takes a dump. If the same frames are free before and
after, the same frames were free in the dump. The guest reports its steps to
scripts/features in lines that begin with "# now"."""

import contextlib
import glob
import mmap
import os
import re
import time

from feature_blocks import MEMORY
from feature_common import Skip, anonymous, check, frames_of, need
from feature_hotplug import Dimm, MIB_PAGES, managed
from memstate import (Failure, MADV_POPULATE_WRITE, PAGE, allocator,
                      meminfo, read, refresh, settle, zones)
from llfree.kpageflags import FLAGS, KPF_BUDDY

PORT = "vmcore.go"
DIMM_MIB = 512
ROUNDS = 40
# One of so many pages of a mapping stays; the pages between are freed.
KEEP = 3
ALL = re.compile(b"\1+")
# Table: KPF_BUDDY of the byte of an entry that includes this flag
FREE = bytes(i >> KPF_BUDDY % 8 & 1 for i in range(256))


def now(what):
    print(f"# now {what}", flush=True)


def port():
    """Return the virtio port through which the host reports that the dump is done."""
    for path in glob.glob("/sys/class/virtio-ports/*"):
        if read(f"{path}/name").strip() == PORT:
            return f"/dev/{os.path.basename(path)}"
    raise Skip("no port to the host (scripts/features boots with one)")


class State:
    """The free frames, as the kernel reports them

    Reads in small pieces, into memory that is allocated once. Otherwise, memory that the
    report allocates and frees would change which frames are free."""

    STEP = 1 << 12

    def __init__(self):
        self.fd = os.open(FLAGS, os.O_RDONLY)
        self.free = bytearray(max(z.start + z.spanned for z in zones()))
        self.last = bytearray(len(self.free))
        self.counts = None

    def close(self):
        os.close(self.fd)

    def read(self):
        """Read the state. Return whether the state has not changed since the last call."""
        refresh()
        self.free, self.last = self.last, self.free
        for first in range(0, len(self.free), self.STEP):
            nr = min(self.STEP, len(self.free) - first)
            data = os.pread(self.fd, nr * 8, first * 8)
            self.free[first:first + nr] = \
                data[KPF_BUDDY // 8::8].translate(FREE).ljust(nr, b"\0")
        last = self.counts
        self.counts = [(z.node, z.name, z.start, z.start + z.spanned, z.free)
                       for z in zones()]
        return self.counts == last and self.free == self.last

    def wait_still(self):
        """Wait until the state does not change between two reads."""
        deadline = time.monotonic() + 60
        while not self.read():
            check(time.monotonic() < deadline,
                  "free memory does not stand still for half a second")
            time.sleep(0.5)

    def tell(self):
        """Print the zones and their ranges of free frames."""
        lines = []
        for node, name, first, end, nr in self.counts:
            lines.append(f"# zone {node} {name} {first} {end} {nr}")
            lines += [f"# range {m.start()} {m.end() - 1}"
                      for m in ALL.finditer(self.free, first, end)]
        print("\n".join(lines), flush=True)


def fragment():
    """Use a part of memory, free most of it in pieces, and return the mapping."""
    area = anonymous(meminfo("MemFree") // 3 * PAGE)
    if os.path.exists("/sys/kernel/mm/transparent_hugepage"):
        area.madvise(mmap.MADV_NOHUGEPAGE)
    area.madvise(MADV_POPULATE_WRITE)
    for page in range(0, len(area) // PAGE - KEEP, KEEP):
        area.madvise(mmap.MADV_DONTNEED, page * PAGE, (KEEP - 1) * PAGE)
    return area


def wait_for_host(fd):
    """Wait until the host has written a byte."""
    deadline = time.monotonic() + 300
    # A read returns no data while the host is not connected.
    while not os.read(fd, 1):
        check(time.monotonic() < deadline, "the host takes no dump")
        time.sleep(0.1)


def dump(name):
    """Let the host take a dump until no frame is allocated or freed meanwhile."""
    path = port()
    # settle() compacts memory, so fragment() has to run later.
    settle()
    with contextlib.ExitStack() as stack:
        area = stack.enter_context(fragment())
        state = stack.enter_context(contextlib.closing(State()))
        # Only one process at a time can open the port.
        fd = os.open(path, os.O_RDONLY)
        stack.callback(os.close, fd)
        for nth in range(1, ROUNDS + 1):
            state.wait_still()
            now(f"dump {name}")
            wait_for_host(fd)
            if state.read():
                state.tell()
                now("same")
                kept = sum(1 for pfn in frames_of(area, len(area)) if pfn)
                check(kept >= len(area) // PAGE // KEEP, "a mapping lost pages")
                return f"{sum(state.free)} frames free, after {nth} dumps"
    raise Failure("free memory changed during every dump")


def tests(_):
    def unchanged():
        """free memory does not change while the host takes a dump"""
        now(f"allocator {allocator()}")
        return dump("boot")

    def grown():
        """a dump after a zone has grown beyond a hole and another zone has begun"""
        port()
        need(MEMORY, "CONFIG_MEMORY_HOTPLUG is not set")
        before = managed(1, "Movable")
        check(before and not managed(1, "Normal"), "node 1 has wrong zones")
        dimm = Dimm("a", DIMM_MIB, 1)
        check(len(dimm.blocks) > 3, f"the DIMM has only {len(dimm.blocks)} blocks")
        # The last block becomes a separate zone. The growing zone has two holes: between
        # boot memory and the DIMM, and a block of the DIMM that stays offline.
        dimm.online("online_kernel", dimm.blocks[-1:])
        dimm.online("online_movable", [*dimm.blocks[2:-1], dimm.blocks[0]])
        check(managed(1, "Movable") - before > DIMM_MIB // 4 * MIB_PAGES and
              managed(1, "Normal"), "no zone has grown, or none has begun")
        return dump("grown")

    return unchanged, grown
