# SPDX-License-Identifier: GPL-2.0
"""Test memory blocks that go offline and online again, by sysfs"""

import contextlib
import errno
import functools
import glob
import os
import random
import re
import signal
import subprocess
import time

import feature_hwpoison as hwpoison
from feature_common import Load, Owner, Skip, check, has_flag, need, refused
from memstate import Failure, PAGE, check_all, kernel_log, meminfo, read, settle, write
from llfree import paths
from llfree.kpageflags import KPF_BUDDY, KPF_COMPOUND_HEAD, KPF_COMPOUND_TAIL

MEMORY = "/sys/devices/system/memory"
KSELFTEST = "tools/testing/selftests/memory-hotplug/mem-on-off-test.sh"
KSFT_SKIP = 4
# Exit status of timeout(1)
TIMED_OUT = 124, 137
# Memory of a process: more than a block, since one block may be unable to go offline
OWNED = 192 << 20
# Seconds that the kernel may try to take a block offline. With any allocator, the kernel
# tries for ever if a CPU was allocating a kernel page, but no slab, when the block was
# isolated.
OFFLINE_SECONDS = 20


def raise_interrupted(*_):
    raise InterruptedError(errno.EINTR, os.strerror(errno.EINTR))


@contextlib.contextmanager
def interrupted_after(seconds):
    """Interrupt system calls in a context after some seconds: such a call fails with EINTR."""
    before = signal.signal(signal.SIGALRM, raise_interrupted)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Block:
    """A memory block"""

    def __init__(self, path):
        self.path = path
        self.number = int(re.search(r"\d+$", path)[0])

    def online(self):
        return read(f"{self.path}/state").strip() != "offline"

    def zones(self):
        """Return the zones in which the block is or could be."""
        return read(f"{self.path}/valid_zones").split()

    def frames(self):
        size = block_pages()
        return range(self.number * size, (self.number + 1) * size)

    def set(self, state):
        """Set the state. Return False if the kernel cannot do that now.

        Without a signal, the kernel would try without end to take a block offline."""
        fd = os.open(f"{self.path}/state", os.O_WRONLY)
        try:
            with interrupted_after(OFFLINE_SECONDS):
                os.write(fd, state.encode())
        except InterruptedError:
            # The signal may come just after the kernel is done.
            return self.online() == (state != "offline")
        except OSError as e:
            if e.errno in (errno.EBUSY, errno.EAGAIN):
                return False
            raise
        finally:
            os.close(fd)
        return True


def blocks():
    need(MEMORY, "CONFIG_MEMORY_HOTPLUG is not set")
    found = map(Block, glob.glob(f"{MEMORY}/memory[0-9]*"))
    return sorted(found, key=lambda b: b.number)


@functools.cache
def block_pages():
    return int(read(f"{MEMORY}/block_size_bytes"), 16) // PAGE


def whole():
    """Return the blocks without holes. Other blocks cannot go offline."""
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
    for passed, _, text in check_all():
        check(passed is not False, f"{when}: {text}")


def why_online():
    """Return the kernel's last messages about a page that cannot be migrated."""
    said = [line for line in kernel_log()
            if re.search(r"migrating pfn|failed to isolate pfn|page: |page_type|dumped because",
                         line)]
    return "; ".join(said[-3:])


def go_offline(block, seconds=30):
    """Take a block offline, with several attempts: pages in use for a moment let one fail."""
    deadline = time.monotonic() + seconds
    while not block.set("offline"):
        check(time.monotonic() < deadline,
              f"block {block.number} stays online: {why_online()}")
        time.sleep(0.2)


def cycle(total):
    """Take all movable blocks offline, the highest last, and online, the highest first."""
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


def poison(block, owner, held=()):
    """Poison some free frames of a block, and some frames of a process that are not held.
    Return the poisoned frames."""
    bad = {pfn for pfn in hwpoison.free_frames(32, [block.frames()]) if hwpoison.corrupt(pfn)}
    check(bad, f"no free frame of block {block.number} is poisoned")
    used = [pfn for pfn in owner.frames() if pfn in block.frames() and pfn not in held]
    taken = {pfn for pfn in random.sample(used, min(len(used), 8)) if hwpoison.corrupt(pfn)}
    check(taken, f"no used frame of block {block.number} is poisoned")
    return bad | taken


def held_block(owner):
    """Return a movable block with pages that cannot move, and the frames of these pages."""
    candidates, held = movable(), set()
    for index, pfn in list(enumerate(owner.frames()))[::256]:
        if any(pfn in b.frames() for b in candidates):
            # The page may have moved before it was held.
            held.add(owner.frames(hold=index)[index])
            for block in candidates:
                if any(pfn in block.frames() for pfn in held):
                    return block, held
    raise Failure("a process has no page of a movable block")


def give_up_offline(block, seconds=3):
    """Check that a block with an immovable page stays online if the offlining task is
    killed."""
    try:
        subprocess.run(["sh", "-c", f"echo offline >{block.path}/state"], timeout=seconds,
                       check=False, stderr=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        pass
    else:
        check(False, f"block {block.number} has a page that cannot move, but the task that "
              "takes the block offline ends")
    check(block.online(), f"block {block.number} is offline, but has a page that cannot move")


def large_with_poison(block):
    """Return poisoned frames of large folios, which were allocated just before the poison."""
    return [pfn for pfn in hwpoison.poisoned() if pfn in block.frames() and
            (has_flag(pfn, KPF_COMPOUND_HEAD) or has_flag(pfn, KPF_COMPOUND_TAIL))]


def no_way_back(block, bad):
    """Check that an offline block with poisoned frames cannot go online, nor lose poison."""
    refused(f"{block.path}/state", "online", hwpoison.EHWPOISON)
    refused(f"{block.path}/state", "online_movable", hwpoison.EHWPOISON)
    pfn = next(pfn for pfn in bad if pfn in block.frames())
    try:
        write(f"{hwpoison.POISON}/unpoison-pfn", f"{pfn:#x}")
    except OSError as e:
        check(e.errno == errno.EIO, f"unpoison a frame that is offline: {e}")
    else:
        check(False, "a frame that is offline is unpoisoned")


def kselftest():
    """Return the path of mem-on-off-test.sh."""
    return need(f"{paths.linux()}/{KSELFTEST}", "set LINUX=")


def poisoned():
    """poisoned frames of a block are never used, stay poisoned, and go with the block"""
    hwpoison.present()
    total, base = meminfo("MemTotal"), hwpoison.corrupted()
    with Owner(OWNED) as owner:
        block, held = held_block(owner)
        bad = poison(block, owner, held)
        give_up_offline(block)
        check(hwpoison.poisoned() == bad, "other frames are poisoned after the attempt")
    free = [pfn for pfn in bad if has_flag(pfn, KPF_BUDDY)]
    check(not free, f"{len(free)} poisoned frames are free")
    state_is_right("poisoned frames in a block")
    taken = hwpoison.never_handed_out(bad)
    hwpoison.all_back(bad, base)
    go_offline(block)
    check(block.set("online_movable"), f"block {block.number} stays offline")
    check(meminfo("MemTotal") == total, f"{meminfo('MemTotal')} pages, before {total}")
    state_is_right("no poisoned frames any more")
    return f"{len(bad)} frames in block {block.number}, {taken} others used"


def lost():
    """a block with poisoned frames goes offline for good (last)"""
    hwpoison.present()
    total, base, stuck = meminfo("MemTotal"), hwpoison.corrupted(), ""
    with Owner(OWNED) as owner:
        frames = owner.frames()
        block = max(movable(), key=lambda b: sum(pfn in b.frames() for pfn in frames))
        bad = poison(block, owner)
        try:
            go_offline(block)
        except Failure as e:
            # Then do_migrate_range() tries without end, with any allocator.
            if large := large_with_poison(block):
                raise Skip(f"frame {large[0]} is of a large folio that got poison and was not "
                           f"split: {e}") from None
            # The kernel cannot migrate a page of the process.
            stuck = f", not before its process ended: {e}"
    if stuck:
        go_offline(block)
    no_way_back(block, bad)
    check(hwpoison.corrupted() == base + len(bad),
          f"HardwareCorrupted is {hwpoison.corrupted()}, not {base + len(bad)} pages")
    check(meminfo("MemTotal") == total - block_pages(),
          f"{meminfo('MemTotal')} pages without a block, not {total - block_pages()}")
    state_is_right("a block with poisoned frames offline")
    taken = hwpoison.take_all()
    check(not any(pfn in block.frames() for pfn in taken), "a frame that is offline is used")
    return f"{len(bad)} frames in block {block.number}{stuck}"


def selftest():
    """the kernel's own mem-on-off-test.sh"""
    path = kselftest()
    total = meminfo("MemTotal")
    share = 100 * len(movable()) // (2 * len(blocks()))
    argv = ["timeout", "-k", "5", "90", path, "-r", str(share)]
    ended = subprocess.run(argv, check=False, text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    for line in ended.stdout.splitlines():
        print(f"#   {line.strip()}")
    if ended.returncode == KSFT_SKIP:
        raise Skip(ended.stdout.strip())
    wrong = re.search(r".*(FAILED|unexpected).*", ended.stdout)
    check(ended.returncode not in TIMED_OUT, f"does not end: {why_online()}")
    check(not ended.returncode and not wrong,
          f"exit status {ended.returncode}{': ' + wrong[0].strip() if wrong else ''}")
    gone = ended.stdout.count("-> Success")
    check(gone, "no block went offline")
    check(meminfo("MemTotal") == total, f"{meminfo('MemTotal')} pages, before {total}")
    state_is_right("after mem-on-off-test.sh")
    skipped = re.search(r"skip extra tests: (.*)", ended.stdout)
    return f"{gone} blocks{', without failures: ' + skipped[1] if skipped else ''}"


def tests(args):
    def bad_input():
        """files refuse invalid input and change nothing"""
        # The last two are valid states, but the last block is online already, and has no
        # memory at its end.
        for text in "nonsense", "0", "offlin", "online_movabl", "online", "offline":
            refused(f"{blocks()[-1].path}/state", text)

    def down_and_up():
        """all movable blocks go offline, and online again from high to low"""
        total = meminfo("MemTotal")
        return f"{cycle(total)} blocks, {cycle(total)} again"

    def under_load():
        """random blocks go offline and online while all CPUs allocate (L)"""
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

    return bad_input, down_and_up, under_load, poisoned, selftest, lost
