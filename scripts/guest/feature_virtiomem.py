# SPDX-License-Identifier: GPL-2.0
"""Test virtio-mem, a device that plugs and unplugs memory in blocks of 2 MiB

Compaction reads struct pages without a lock. With any allocator, the kernel has an oops if
these struct pages are unmapped meanwhile. So no test runs compaction while memory is
removed."""

import glob
import random
import time

from feature_blocks import MEMORY, blocks, state_is_right
from feature_common import Load, check, eventually, need, set_file
from memstate import PAGE, meminfo

MIB_PAGES = (1 << 20) // PAGE
STEP = 512                      # MiB
SMALL = 2, 4, 16, 62, 128, 200


def ready():
    need(MEMORY, "CONFIG_MEMORY_HOTPLUG is not set")
    need("/sys/bus/virtio/drivers/virtio_mem", "CONFIG_VIRTIO_MEM is not set")
    check(glob.glob("/sys/bus/virtio/drivers/virtio_mem/virtio*"), "no device")
    set_file(f"{MEMORY}/auto_online_blocks", "online_movable")
    # A failed test may have left memory plugged.
    resize(0)
    time.sleep(2)
    return meminfo("MemTotal")


def resize(mib):
    print(f"# now resize {mib}", flush=True)


def removed():
    """Wait until the driver has removed all memory blocks without plugged memory."""
    there = None
    while there != (there := len(blocks())):
        time.sleep(1)


def reached(total, mib, seconds):
    """Wait until the guest has the given MiB of the device, or for some seconds. Return the
    MiB that the guest has."""
    def plugged():
        return (meminfo("MemTotal") - total) // MIB_PAGES

    end = time.monotonic() + seconds
    while plugged() != mib and time.monotonic() < end:
        time.sleep(0.2)
    return plugged()


def gone(total):
    """Check that all memory of the device is removed when no program uses it any more."""
    rest = reached(total, 0, 60)
    check(not rest, f"{rest} MiB stay when nothing uses them")
    removed()


def tests(args):
    def up_and_down():
        """the guest gets all memory that the device offers, and releases all of it"""
        total = ready()
        for mib in (STEP, 3 * STEP, STEP + 6, 2 * STEP, 2, 0):
            resize(mib)
            eventually(lambda want=mib: meminfo("MemTotal") == total + want * MIB_PAGES,
                       lambda want=mib: f"{meminfo('MemTotal') - total} pages more, "
                       f"not {want * MIB_PAGES}", 60)
            removed()
            state_is_right(f"{mib} MiB plugged")

    def under_load():
        """memory is plugged and unplugged while all CPUs allocate (L)"""
        total, rounds = ready(), 0
        left = []
        with Load(0.3, compaction=False):
            end = time.monotonic() + args.seconds
            while rounds < 5 or time.monotonic() < end:
                resize(2 * STEP)
                got = reached(total, 2 * STEP, 30)
                check(got == 2 * STEP, f"{got} of {2 * STEP} MiB plugged")
                resize(0)
                left.append(reached(total, 0, 10))
                rounds += 1
        gone(total)
        return f"{rounds} rounds, of {2 * STEP} MiB stayed plugged after 10 s: " \
               f"{' '.join(map(str, left))}"

    def small_steps():
        """the size changes by small steps while all CPUs allocate (L)"""
        total, rng, size = ready(), random.Random(2), STEP
        stuck = most = 0
        resize(size)
        got = reached(total, size, 30)
        check(got == size, f"{got} of {size} MiB plugged")
        with Load(0.3, compaction=False):
            for _ in range(args.rounds):
                change = rng.choice(SMALL)
                size += change if size < change or (size < 2 * STEP and rng.random() < 0.5) \
                    else -change
                before = got
                resize(size)
                got = reached(total, size, 30 if size > before else 2)
                # Memory in use may stay plugged.
                check(size <= got <= max(size, before),
                      f"{got} MiB plugged, {size} requested, {before} before")
                stuck += got > size
                most = max(most, got - size)
        resize(0)
        gone(total)
        state_is_right("nothing plugged")
        return f"{args.rounds} rounds, after {stuck} of them some stayed, {most} MiB at most"

    return up_and_down, under_load, small_steps
