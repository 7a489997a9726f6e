# SPDX-License-Identifier: GPL-2.0
"""Read the kernel's state of free memory, and check whether it is consistent.

All checks work with every page allocator, except for file validate, which only LLFree
has. All counts are in pages."""

import gzip
import mmap
import os
import re
import subprocess
import time

import checkout         # pylint: disable=unused-import
from llfree import klog
from llfree.kpageflags import (ENTRY, FLAGS, KPF_BUDDY, KPF_NOPAGE, KPF_OFFLINE,
                               KPF_RESERVED)
from llfree.ktap import Failure
from llfree.memmap.source import allocator

PAGE = mmap.PAGESIZE
NR_ORDERS = 11
VALIDATE = "/sys/kernel/debug/page_alloc/validate"
SETTLE_S = 30                   # seconds in which an idle system may still move pages
MADV_POPULATE_WRITE = 23        # not in the mmap module yet


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def write(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


class StatFile:
    """A /proc file that stays open and is read again and again

    seq_file keeps its buffer while the file is open. So a later read allocates nothing,
    and hardly changes the counters that the file shows."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_RDONLY)

    def text(self):
        parts, pos = [], 0
        while data := os.pread(self.fd, 1 << 16, pos):
            parts.append(data)
            pos += len(data)
        return b"".join(parts).decode()


class Zone:
    def __init__(self, node, name):
        self.node, self.name = int(node), name
        self.free = self.managed = self.pcp = self.start = self.spanned = 0
        self.blocks = [0] * NR_ORDERS

    def __str__(self):
        return f"{self.node}/{self.name}"

    @property
    def used(self):
        return self.managed - self.free - self.pcp

    @property
    def in_blocks(self):
        return sum(n << order for order, n in enumerate(self.blocks))


ZONE_FIELDS = {"pages free": "free", "managed": "managed",
               "spanned": "spanned", "start_pfn:": "start"}
_files = {}


def stat_text(path):
    if path not in _files:
        _files[path] = StatFile(path)
    return _files[path].text()


def zones():
    """Return the zones that have memory, with free blocks from /proc/buddyinfo."""
    buddyinfo = stat_text("/proc/buddyinfo")
    found = {}
    zone = None
    for line in stat_text("/proc/zoneinfo").splitlines():
        if m := re.match(r"Node (\d+), zone +(\w+)", line):
            zone = found[m[1], m[2]] = Zone(m[1], m[2])
            continue
        name, _, value = line.strip().rpartition(" ")
        name = name.strip()
        if name in ZONE_FIELDS:
            setattr(zone, ZONE_FIELDS[name], int(value))
        elif name == "count:":
            zone.pcp += int(value)
    for line in buddyinfo.splitlines():
        m = re.match(r"Node (\d+), zone +(\w+) (.*)", line)
        found[m[1], m[2]].blocks = [int(n) for n in m[3].split()]
    return [z for z in found.values() if z.managed]


def vmstat():
    return {k: int(v) for k, v in
            (line.split() for line in read("/proc/vmstat").splitlines())}


def meminfo(key):
    """Return a value of /proc/meminfo in pages."""
    m = re.search(rf"^{key}: *(\d+) kB", read("/proc/meminfo"), re.MULTILINE)
    return int(m[1]) * 1024 // PAGE


def refresh():
    """Add the per-CPU differences to the counters. A kernel without SMP has none."""
    if os.path.exists("/proc/sys/vm/stat_refresh"):
        write("/proc/sys/vm/stat_refresh", "1")


def settle():
    """Free memory that is only cached: write back, drop caches, compact."""
    os.sync()
    write("/proc/sys/vm/drop_caches", "3")
    if os.path.exists("/proc/sys/vm/compact_memory"):
        write("/proc/sys/vm/compact_memory", "1")
    refresh()


def unexplained():
    """Return the number of used pages that no counter explains, lost pages among them."""
    refresh()
    vm = vmstat()
    known = sum(vm[f"nr_{kind}"] for kind in (
        "inactive_anon", "active_anon", "inactive_file", "active_file",
        "unevictable", "isolated_anon", "isolated_file", "slab_reclaimable",
        "slab_unreclaimable", "page_table_pages"))
    known += vm["nr_kernel_stack"] * 1024 // PAGE
    known += meminfo("VmallocUsed") + meminfo("Percpu")
    return sum(z.used for z in zones()) - known


def retry(check, streak, seconds=SETTLE_S):
    """Repeat a check until it passes several times in a row, or until a timeout.

    No system is entirely idle, so a check may fail by chance. A lasting error lets the
    check fail until the timeout. Other tasks need more time on a busy host."""
    right = 0
    deadline = time.monotonic() + seconds
    while right < streak:
        refresh()
        try:
            text = check()
        except Failure:
            if time.monotonic() > deadline:
                raise
            right = 0
        else:
            right += 1
        time.sleep(0.02)
    return text


def check_buddyinfo():
    """Check that the blocks of /proc/buddyinfo add up to NR_FREE_PAGES."""
    for z in zones():
        if z.in_blocks != z.free:
            raise Failure(f"zone {z}: {z.in_blocks} pages in free blocks, "
                             f"but nr_free_pages is {z.free}")
    return "buddyinfo blocks = nr_free_pages in every zone"


def walk_frames(zone):
    """Return the (free, managed, offline) frames of a zone, from /proc/kpageflags."""
    # A step is so small that malloc() keeps its memory. Otherwise allocations of the walk
    # would change the counts.
    step = 1 << 11
    ones = int.from_bytes((b"\1" + bytes(ENTRY - 1)) * step, "little")
    free = managed = offline = 0
    fd = os.open(FLAGS, os.O_RDONLY)
    try:
        pfn, end = zone.start, zone.start + zone.spanned
        while pfn < end:
            data = os.pread(fd, min(step, end - pfn) * ENTRY, pfn * ENTRY)
            nr = len(data) // ENTRY
            if not nr:
                break
            # One long number, from which one flag of all frames is taken at a time.
            flags = int.from_bytes(data, "little")
            absent = ((flags >> KPF_NOPAGE) | (flags >> KPF_RESERVED)) & ones
            free += ((flags >> KPF_BUDDY) & ones).bit_count()
            managed += nr - absent.bit_count()
            offline += ((flags >> KPF_OFFLINE) & ones & ~absent).bit_count()
            pfn += nr
    finally:
        os.close(fd)
    return free, managed, offline


def has_option(name):
    """Return whether an option of the kernel is y."""
    with gzip.open("/proc/config.gz", "rt", encoding="ascii") as f:
        return f"{name}=y\n" in f


def memmap_on_memory():
    """Return whether added memory may hold its own struct pages."""
    try:
        return read("/sys/module/memory_hotplug/parameters/memmap_on_memory")[0] != "N"
    except FileNotFoundError:
        return False


def spans_overlap(all_zones):
    ordered = sorted(all_zones, key=lambda z: z.start)
    return any(a.start + a.spanned > b.start
               for a, b in zip(ordered, ordered[1:]))


def check_frames():
    """Check frame by frame that free + pcp + used = managed."""
    before = zones()
    if spans_overlap(before):
        raise Failure("zones overlap: their frames cannot be told apart")
    total = 0
    for z in before:
        free, managed, offline = walk_frames(z)
        # KMSAN's own pages, and struct pages in added memory, are neither reserved nor
        # managed. Some drivers count pages that a hypervisor has taken back as managed, and
        # other drivers do not.
        if not managed - offline <= z.managed <= managed and \
           not has_option("CONFIG_KMSAN") and not memmap_on_memory():
            raise Failure(f"zone {z}: {managed} frames not reserved, "
                             f"but {z.managed} managed")
        refresh()
        after = next(a for a in zones() if str(a) == str(z))
        low, high = sorted((z.free, after.free))
        if not low <= free <= high:
            raise Failure(f"zone {z}: {free} free frames, but "
                             f"nr_free_pages is {z.free}, then {after.free}")
        if after.used < 0:
            raise Failure(f"zone {z}: more free than managed")
        total += managed
    return f"free + pcp + used = managed, by {total} frames' flags"


def check_validate():
    """Let LLFree check all of its state. Return None with another allocator."""
    if allocator() != "llfree":
        return None
    before = len(zones())
    lines = read(VALIDATE).splitlines()
    bad = [line for line in lines[:-1] if not line.endswith(": ok")]
    if bad or not lines or lines[-1] != "ok":
        raise Failure("validate: " + "; ".join(bad or lines[-1:] or
                                                  ["empty"]))
    # Memory that is added or removed meanwhile may make a zone come or go.
    if len(lines) - 1 < min(before, len(zones())):
        raise Failure(f"validate: {len(lines) - 1} zones of {len(zones())}")
    return f"{len(lines) - 1} zones walked"


def kernel_log():
    return subprocess.run(["dmesg"], capture_output=True, text=True,
                          errors="replace", check=True).stdout.splitlines()


def is_trouble(lines, i):
    """Return whether a line reports a problem, except races, which scripts/vm judges."""
    return "BUG: KCSAN: " not in lines[i] and klog.is_trouble(lines, i)


def check_kernel_log():
    lines = kernel_log()
    bad = [line for i, line in enumerate(lines) if is_trouble(lines, i)]
    tainted = int(read("/proc/sys/kernel/tainted"))
    if bad or tainted:
        raise Failure(f"taint {tainted:#x}, " +
                         (bad[0] if bad else "no message left in the log"))
    return "no kernel warning, not tainted"


def check_all(check_log=check_kernel_log, seconds=SETTLE_S):
    """Yield (passed, name, text) for each check; passed is None for a skipped check."""
    for name, function in (("validate", check_validate),
                           ("buddyinfo", lambda: retry(check_buddyinfo, 5, seconds)),
                           ("frames", lambda: retry(check_frames, 2, seconds)),
                           ("log", check_log)):
        try:
            text = function()
        except Failure as e:
            yield False, name, str(e)
        else:
            if text is None:
                yield None, name, f"not with {allocator()}"
            else:
                yield True, name, text


NR_CHECKS = 4                   # of check_all()


def check_returned(before, slack):
    """Check that about as much memory is in use as before. Return (passed, name, text)."""
    lost = unexplained() - before
    # Differences that per-CPU counters may still hold
    slack += 64 * os.cpu_count()
    return (abs(lost) <= slack, "returned",
            f"{lost:+d} unexplained pages in use (limit {slack})")


class Memory:
    """Anonymous memory with huge pages (True), small pages (False) or either (None)"""

    def __init__(self, pages, huge=None):
        self.size = pages * PAGE
        self.map = mmap.mmap(-1, self.size,
                             mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if huge is not None and \
           os.path.exists("/sys/kernel/mm/transparent_hugepage"):
            self.map.madvise(mmap.MADV_HUGEPAGE if huge else
                             mmap.MADV_NOHUGEPAGE)

    def populate(self):
        self.map.madvise(MADV_POPULATE_WRITE)
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.map.close()
