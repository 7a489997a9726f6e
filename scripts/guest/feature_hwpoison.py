# SPDX-License-Identifier: GPL-2.0
"""Test memory failure, which takes frames away: /sys/kernel/debug/hwpoison, madvise"""

import contextlib
import errno
import mmap
import os
import random
import signal
import struct
import time

from feature_common import (DEBUG, Load, anonymous, check, eventually, frame_flags,
                            frames_of, frames_with, has_flag, need, set_file)
from memstate import (MADV_POPULATE_WRITE, PAGE, meminfo, settle, write, zones)
from llfree.kpageflags import KPF_BUDDY, KPF_HWPOISON, KPF_LRU

POISON = f"{DEBUG}/hwpoison"
SOFT_FILE = "/sys/devices/system/memory/soft_offline_page"
MADV_HWPOISON, MADV_SOFT_OFFLINE = 100, 101
EHWPOISON = 133                 # not in the errno module yet
CHUNK = 256 << 20
# MiB that stay free while a test takes all memory
RESERVE_MB = 96


def present():
    need(POISON, "CONFIG_HWPOISON_INJECT is not set")
    # With this filter, the kernel poisons only frames that are free or on an LRU list.
    set_file(f"{POISON}/corrupt-filter-enable", "1")


def corrupt(pfn):
    """Try to poison a frame. Return whether the frame is poisoned now."""
    try:
        write(f"{POISON}/corrupt-pfn", f"{pfn:#x}")
    except OSError as e:
        # The frame was used or freed meanwhile.
        check(e.errno in (errno.EBUSY, errno.EIO, EHWPOISON),
              f"corrupt-pfn {pfn:#x}: {e}")
    return has_flag(pfn, KPF_HWPOISON)


def unpoison(pfns):
    for pfn in pfns:
        def once(pfn=pfn):
            with contextlib.suppress(OSError):
                write(f"{POISON}/unpoison-pfn", f"{pfn:#x}")
            return not has_flag(pfn, KPF_HWPOISON)
        eventually(once, f"frame {pfn:#x} stays poisoned")


def poisoned():
    return {pfn for z in zones() for pfn in
            frames_with(KPF_HWPOISON, z.start, z.start + z.spanned)}


def free_frames(nr, ranges=None):
    """Return up to nr random free frames of all memory, or of ranges."""
    found = []
    ranges = ranges or [range(z.start, z.start + z.spanned) for z in zones()]
    for _ in range(50 * nr):
        if len(found) == nr:
            break
        pfn = random.choice(random.choice(ranges))
        if has_flag(pfn, KPF_BUDDY) and pfn not in found:
            found.append(pfn)
    return found


def corrupted():
    return meminfo("HardwareCorrupted")


def take_all():
    """Run a program that takes nearly all memory, and return its frames."""
    out, into = os.pipe()
    pid = os.fork()
    if not pid:
        left = meminfo("MemAvailable") * PAGE - (RESERVE_MB << 20)
        held = []
        with open(into, "wb") as f:
            while left > 0:
                size = min(left, CHUNK) // PAGE * PAGE
                if not size:
                    break
                area = anonymous(size)
                area.madvise(mmap.MADV_NOHUGEPAGE)
                area.madvise(MADV_POPULATE_WRITE)
                held.append(area)
                frames = frames_of(area, size)
                f.write(struct.pack(f"={len(frames)}Q", *frames))
                left -= size
        os._exit(0)
    os.close(into)
    with open(out, "rb") as f:
        data = f.read()
    status = os.waitpid(pid, 0)[1]
    check(not status, f"taking all memory ended with {status}")
    frames = set(memoryview(data).cast("Q")) - {0}
    check(frames, "no frame numbers in /proc/self/pagemap")
    return frames


def never_handed_out(bad):
    taken = take_all()
    both = taken & bad
    check(not both, f"{len(both)} poisoned frames handed out, first "
          f"{min(both, default=0):#x}")
    still = poisoned()
    check(still == bad, f"{len(still)} frames are poisoned, not {len(bad)}")
    return len(taken)


def poison_mapped(nr, huge=False):
    """Poison pages of children by MADV_HWPOISON. Return the poisoned frames.

    SIGBUS may kill each child."""
    bad = set()
    for _ in range(nr):
        out, into = os.pipe()
        pid = os.fork()
        if not pid:
            size = 2 << 20
            area = anonymous(2 * size)
            with contextlib.suppress(OSError):
                area.madvise(mmap.MADV_HUGEPAGE if huge else
                             mmap.MADV_NOHUGEPAGE)
            area.madvise(MADV_POPULATE_WRITE)
            index = random.randrange(2 * size // PAGE)
            os.write(into, struct.pack("=Q", frames_of(area, 2 * size)[index]))
            area.madvise(MADV_HWPOISON, index * PAGE, PAGE)
            os._exit(0)
        os.close(into)
        data = os.read(out, 8)
        os.close(out)
        status = os.waitpid(pid, 0)[1]
        check(status in (0, signal.SIGBUS), f"the child ended with {status}")
        pfn, = struct.unpack("=Q", data)
        if has_flag(pfn, KPF_HWPOISON):
            bad.add(pfn)
    return bad


def soft_offline(nr):
    """Take frames away by MADV_SOFT_OFFLINE, which migrates their pages. Check the content,
    and return the frames."""
    size = nr * PAGE
    area = anonymous(size)
    area.madvise(mmap.MADV_NOHUGEPAGE)
    for i in range(nr):
        area[i * PAGE:i * PAGE + 8] = i.to_bytes(8, "little")
    bad = set()
    for i in range(nr):
        pfn = frames_of(area, size)[i]
        try:
            area.madvise(MADV_SOFT_OFFLINE, i * PAGE, PAGE)
        except OSError as e:
            check(e.errno in (errno.EBUSY, errno.EIO), f"soft offline: {e}")
            continue
        if has_flag(pfn, KPF_HWPOISON):
            bad.add(pfn)
            check(frames_of(area, size)[i] != pfn,
                  f"frame {pfn:#x} is off line, but still mapped")
    for i in range(nr):
        check(area[i * PAGE:i * PAGE + 8] == i.to_bytes(8, "little"),
              "a page has changed")
    area.close()
    return bad


def all_back(bad, base):
    """Unpoison all frames, and check that the counters have their old values."""
    check(corrupted() == base + len(bad),
          f"HardwareCorrupted is {corrupted()}, not {base + len(bad)} pages")
    unpoison(bad)
    check(corrupted() == base, f"HardwareCorrupted is {corrupted()} pages, "
          f"{base} before")
    left = poisoned()
    check(not left, f"{len(left)} frames stay poisoned")


def tests(args):
    def bad_input():
        """files refuse frames that do not exist"""
        present()
        end = max(z.start + z.spanned for z in zones())
        for name in "corrupt-pfn", "unpoison-pfn":
            for text in f"{end + (1 << 30):#x}", "x", "":
                if not text:
                    continue
                try:
                    write(f"{POISON}/{name}", text)
                except OSError:
                    continue
                check(False, f"{name} takes '{text}'")
        check(not poisoned(), "a frame is poisoned")

    def free_pages():
        """poisoned free frames are never allocated, and are free again if unpoisoned"""
        present()
        settle()
        total, base = meminfo("MemTotal"), corrupted()
        bad = set()
        for pfn in free_frames(64):
            if corrupt(pfn):
                bad.add(pfn)
                check(not has_flag(pfn, KPF_BUDDY), f"frame {pfn:#x} is free")
        check(len(bad) >= 32, f"only {len(bad)} of 64 free frames poisoned")
        taken = never_handed_out(bad)
        all_back(bad, base)
        check(meminfo("MemTotal") == total, "MemTotal has changed")
        # The kernel may use some of the frames by now, which flags do not always show.
        eventually(lambda: sum(has_flag(p, KPF_BUDDY) for p in bad) >
                   len(bad) // 2, "frames are unpoisoned, but not free")
        return f"{len(bad)} frames, {taken} others used"

    def neighbours():
        """only one frame of a free block is taken away"""
        present()
        settle()
        base = corrupted()
        bad, seen = set(), 0
        for pfn in free_frames(200):
            first = pfn & ~511
            if any(not f >> KPF_BUDDY & 1 for f in frame_flags(first, 512)):
                continue
            if not corrupt(pfn):
                continue
            bad.add(pfn)
            used = [i for i, f in enumerate(frame_flags(first, 512))
                    if not f >> KPF_BUDDY & 1]
            # Other programs allocate, too, but rarely.
            check(pfn - first in used, f"frame {pfn:#x} is free")
            seen += len(used) == 1
            if len(bad) == 16:
                break
        check(bad, "no free block of 512 frames")
        check(seen > len(bad) // 2, f"in {len(bad) - seen} of {len(bad)} "
              "blocks, others went as well")
        all_back(bad, base)
        return f"{len(bad)} blocks"

    def mapped():
        """MADV_HWPOISON of small and huge pages"""
        present()
        settle()
        base = corrupted()
        bad = poison_mapped(10) | poison_mapped(6, huge=True)
        check(bad, "no frame is poisoned")
        taken = never_handed_out(bad)
        all_back(bad, base)
        return f"{len(bad)} frames, {taken} others used"

    def soft():
        """MADV_SOFT_OFFLINE moves pages away"""
        present()
        settle()
        base = corrupted()
        bad = soft_offline(64)
        check(len(bad) >= 32, f"only {len(bad)} of 64 pages went off line")
        taken = never_handed_out(bad)
        all_back(bad, base)
        return f"{len(bad)} frames, {taken} others used"

    def soft_file():
        """/sys/devices/system/memory/soft_offline_page"""
        present()
        need(SOFT_FILE, "CONFIG_MEMORY_HOTPLUG is not set")
        settle()
        base = corrupted()
        bad = set()
        for pfn in free_frames(16):
            with contextlib.suppress(OSError):
                write(SOFT_FILE, f"{pfn * PAGE:#x}")
            if has_flag(pfn, KPF_HWPOISON):
                bad.add(pfn)
        check(bad, "no frame went off line")
        never_handed_out(bad)
        all_back(bad, base)
        return f"{len(bad)} frames"

    def load():
        """frames are poisoned and unpoisoned in all ways again and again (L)"""
        present()
        settle()
        total, base = meminfo("MemTotal"), corrupted()
        bad, rounds, most = set(), 0, 0
        with Load(0.3):
            end = time.monotonic() + args.seconds
            while not rounds or time.monotonic() < end:
                bad |= {p for p in free_frames(16) if corrupt(p)}
                bad |= poison_mapped(2, huge=rounds & 1)
                bad |= soft_offline(8)
                most = max(most, len(bad))
                check(all(has_flag(p, KPF_HWPOISON) for p in bad),
                      "a frame is no longer poisoned")
                lru = [p for p in bad if has_flag(p, KPF_LRU)]
                check(not lru, f"{len(lru)} poisoned frames are in use")
                some = set(random.sample(sorted(bad), len(bad) // 2))
                unpoison(some)
                bad -= some
                rounds += 1
        settle()
        # A page may have moved after its frame was looked up, before madvise().
        bad |= poisoned()
        taken = never_handed_out(bad)
        all_back(bad, base)
        check(meminfo("MemTotal") == total, "MemTotal has changed")
        return f"{rounds} rounds, {most} frames at most, {taken} others used"

    return (bad_input, free_pages, neighbours, mapped, soft, soft_file, load)
