# SPDX-License-Identifier: GPL-2.0
"""Test migration of pages to another node by migrate_pages()"""

import contextlib
import ctypes
import json
import mmap
import os
import platform
import re
import time

from feature_common import Child, Skip, address_of, anonymous, check
from memstate import (Failure, MADV_POPULATE_WRITE, PAGE, read, settle,
                      vmstat, zones)

# Numbers of system calls
CALLS = {"x86_64": {"migrate_pages": 256, "set_mempolicy": 238,
                    "move_pages": 279},
         "aarch64": {"migrate_pages": 238, "set_mempolicy": 237,
                     "move_pages": 239}}
MPOL_BIND, MAX_NODE = 2, 65
NOBODY = 65534
ROUNDS = 8
MOVERS = 2
MOVED_MIB = 48
# Sometimes compaction isolates a page for a moment. The last call must move all pages.
BUSY_PER_ROUND = 4


def call(name, *args):
    calls = CALLS.get(platform.machine())
    if not calls:
        raise Skip(f"no system call numbers for {platform.machine()}")
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(calls[name], *args)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")
    return result


def mask_of(node):
    return ctypes.byref(ctypes.c_ulong(1 << node))


def move(start, end):
    """Move this program's pages. Return the number of pages that did not move."""
    return call("migrate_pages", 0, MAX_NODE, mask_of(start), mask_of(end))


def bind(node):
    call("set_mempolicy", MPOL_BIND, mask_of(node), MAX_NODE)


def unbind():
    call("set_mempolicy", 0, None, 0)


def elsewhere(area, node):
    """Return the number of pages of an area that are not on a node."""
    nr = len(area) // PAGE
    start = address_of(area)
    pages = (ctypes.c_void_p * nr)(*range(start, start + nr * PAGE, PAGE))
    status = (ctypes.c_int * nr)()
    call("move_pages", 0, ctypes.c_ulong(nr), pages, None, status, 0)
    return sum(s != node for s in status)


def nodes_with_memory():
    nodes = sorted({z.node for z in zones()})
    if len(nodes) < 2:
        raise Skip("there is one node only (scripts/vm --numa 2)")
    return nodes[:2]


def filled(size, huge):
    area = anonymous(size)
    with contextlib.suppress(OSError):
        area.madvise(mmap.MADV_HUGEPAGE if huge else mmap.MADV_NOHUGEPAGE)
    for off in range(0, size, PAGE):
        area[off:off + 8] = off.to_bytes(8, "little")
    return area


def intact(area):
    return all(area[off:off + 8] == off.to_bytes(8, "little")
               for off in range(0, len(area), PAGE))


class Mover:
    """A program whose pages move between nodes and must keep their content

    The program drops CAP_SYS_NICE, so it moves only pages that no other program maps.
    Otherwise two such programs would both move shared pages, such as those of libc."""

    def __init__(self, nodes, rounds, huge, size=MOVED_MIB << 20):
        self.nodes, self.rounds, self.huge, self.size = nodes, rounds, huge, size
        self.out, ready = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.close(self.out)
            try:
                said = self.run()
            except (Failure, OSError) as e:
                said = {"error": str(e)}
            os.write(ready, json.dumps(said).encode())
            os._exit(0)
        os.close(ready)

    def run(self):
        here, there = self.nodes
        bind(here)
        area = filled(self.size, self.huge)
        unbind()
        os.setresuid(NOBODY, NOBODY, NOBODY)
        busy = 0
        for _ in range(self.rounds):
            busy += move(here, there)
            here, there = there, here
        if elsewhere(area, here):
            # The last round, again
            move(there, here)
        return {"busy": busy, "left": elsewhere(area, here),
                "intact": intact(area)}

    def end(self):
        with os.fdopen(self.out) as f:
            text = f.read()
        os.waitpid(self.pid, 0)
        check(text, "a program ended early")
        said = json.loads(text)
        check("error" not in said, said.get("error"))
        check(said["intact"], "pages have changed on their way")
        return said


def churn():
    """Allocate and free some memory again and again."""
    while True:
        area = anonymous(4 << 20)
        area.madvise(MADV_POPULATE_WRITE)
        area.close()


def free_of(node):
    return sum(z.free for z in zones() if z.node == node)


def high_of(node):
    """Return the sum of the high watermarks of a node, at which kswapd stops."""
    text = re.split(r"^Node (?=\d)", read("/proc/zoneinfo"), flags=re.MULTILINE)
    return sum(int(m[1]) for part in text if part.startswith(f"{node},")
               for m in re.finditer(r"^ +high +(\d+)$", part, re.MULTILINE))


@contextlib.contextmanager
def little_free(node, pages):
    """Use most memory of a node in a context, so that the given number of single pages is
    free."""
    settle()
    bind(node)
    try:
        rest = free_of(node) - 4 * high_of(node)
        check(rest > 2 * pages, f"node {node} has only {rest} pages free")
        area = anonymous(rest * PAGE)
        with contextlib.suppress(OSError):
            area.madvise(mmap.MADV_NOHUGEPAGE)
        area.madvise(MADV_POPULATE_WRITE)
    finally:
        unbind()
    for i in range(0, 2 * pages, 2):
        area.madvise(mmap.MADV_DONTNEED, i * PAGE, PAGE)
    try:
        yield
    finally:
        area.close()


def tests(args):
    def to_and_fro():
        """pages of two programs follow migrate_pages() under load (L)"""
        nodes = nodes_with_memory()
        settle()
        before = vmstat()
        busy = left = rounds = 0
        end = time.monotonic() + args.seconds
        with contextlib.ExitStack() as stack:
            for _ in range(os.cpu_count()):
                stack.enter_context(Child(churn))
            while not rounds or time.monotonic() < end:
                movers = [Mover(nodes, ROUNDS, huge=i % 2)
                          for i in range(MOVERS)]
                for said in [m.end() for m in movers]:
                    busy += said["busy"]
                    left += said["left"]
                rounds += MOVERS * ROUNDS
        moved = vmstat()["pgmigrate_success"] - before["pgmigrate_success"]
        check(moved > rounds * MOVED_MIB << 7, f"only {moved} pages were moved")
        check(not left, f"{left} pages stay behind")
        check(busy <= rounds * BUSY_PER_ROUND,
              f"{busy} pages were not moved in {rounds} rounds")
        return f"{moved} pages in {rounds} rounds, {busy} busy"

    def to_single_pages():
        """a node with only single free pages takes as many migrated pages"""
        nodes = nodes_with_memory()
        size = 16 << 20
        before = vmstat()
        with little_free(nodes[1], size // PAGE):
            said = Mover(nodes, 1, huge=False, size=size).end()
        failed = vmstat()["pgmigrate_fail"] - before["pgmigrate_fail"]
        check(not said["left"], f"{said['left']} pages stay behind, "
              f"{failed} failed")
        return f"{size // PAGE} pages, {said['busy']} busy"

    return to_and_fro, to_single_pages
