# SPDX-License-Identifier: GPL-2.0
"""Test kswapd and kcompactd while programs request blocks of order 3 in vain.

Stream sockets request such blocks without direct reclaim, and fall back to single
pages. Each request wakes kswapd and kcompactd. Both threads must detect that enough
memory is free, or that more work does not help."""

import contextlib
import glob
import mmap
import os
import re
import socket
import time

from feature_common import Child, anonymous, check
from memstate import (MADV_POPULATE_WRITE, PAGE, allocator, meminfo, read,
                      settle, vmstat, zones)

SOCKETS = 64
SNDBUFFORCE = 32
CACHED_MIB = 64
FILL_PERCENT = 70
IDLE_S = 5
# Least percentage of the page cache that stays. In 20 s on an emulated guest of 400 MiB,
# buddy kept 8, 23 and 27 %, so buddy has no limit; LLFree kept all.
KEPT_PERCENT = {"llfree": 75, "buddy": 0}


def fill_cache(mib):
    """Read large files to fill the page cache.

    Reads only a few directories, since many names would take more memory than the files."""
    left = mib << 20
    for top in os.environ.get("KERNEL"), "/usr/bin", *glob.glob("/usr/lib/*-gnu"):
        if not top or not os.path.isdir(top):
            continue
        for entry in os.scandir(top):
            if left <= 0:
                return
            if not entry.is_file(follow_symlinks=False):
                continue
            size = entry.stat(follow_symlinks=False).st_size
            if 1 << 20 < size < 40 << 20:
                with open(entry.path, "rb") as f:
                    while f.read(1 << 20):
                        pass
                left -= size
    check(left < mib << 19, f"too few large files, {mib} MiB are wanted")


@contextlib.contextmanager
def scattered():
    """Use most of the available memory in a context, and free every second page of it."""
    size = meminfo("MemAvailable") * FILL_PERCENT // 100 * PAGE
    area = anonymous(size)
    with contextlib.suppress(OSError):
        area.madvise(mmap.MADV_NOHUGEPAGE)
    area.madvise(MADV_POPULATE_WRITE)
    for off in range(0, size, 2 * PAGE):
        area.madvise(mmap.MADV_DONTNEED, off, PAGE)
    try:
        yield
    finally:
        area.close()


def storm():
    """Fill and empty stream sockets again and again."""
    pairs = []
    for _ in range(SOCKETS):
        pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        for s in pair:
            s.setblocking(False)
        pair[0].setsockopt(socket.SOL_SOCKET, SNDBUFFORCE, 1 << 20)
        pairs.append(pair)
    data = bytes(1 << 16)
    while True:
        for i, action in enumerate((lambda s: s.send(data),
                                    lambda s: s.recv(1 << 16))):
            for pair in pairs:
                with contextlib.suppress(BlockingIOError):
                    while True:
                        action(pair[i])


def ticks():
    """Return the time that kswapd and kcompactd have run, in clock ticks."""
    total = 0
    for path in glob.glob("/proc/[0-9]*/stat"):
        with contextlib.suppress(OSError):
            name, _, rest = read(path).partition("(")[2].rpartition(")")
            if re.match("kswapd|kcompactd", name):
                words = rest.split()
                total += int(words[11]) + int(words[12])
    return total


def tests(args):
    def order3():
        """the page cache stays, and kswapd and kcompactd soon sleep again (L)"""
        settle()
        fill_cache(CACHED_MIB)
        with scattered():
            cached, before = meminfo("Cached"), vmstat()
            blocks = sum(n << i for z in zones()
                         for i, n in enumerate(z.blocks[3:]))
            with Child(storm):
                time.sleep(args.seconds)
            time.sleep(1)
            stormed, start = vmstat(), ticks()
            time.sleep(IDLE_S)
            used, after = ticks() - start, vmstat()
            kept = meminfo("Cached")
        asked = sum(stormed[k] - before[k] for k in before
                    if k.startswith("pgalloc_"))
        check(asked > SOCKETS << 8, f"only {asked} pages were asked for")
        scanned = stormed["pgscan_kswapd"] - before["pgscan_kswapd"]
        idle = after["pgscan_kswapd"] - stormed["pgscan_kswapd"]
        text = (f"{scanned} pages scanned, then {idle}; {kept} of {cached} "
                f"cached; {blocks} blocks of order 3 before")
        check(used < IDLE_S * os.sysconf("SC_CLK_TCK") // 4,
              f"kswapd and kcompactd ran for {used} ticks after the load; {text}")
        check(kept * 100 >= cached * KEPT_PERCENT[allocator()], text)
        return text

    return (order3,)
