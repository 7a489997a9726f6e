# SPDX-License-Identifier: GPL-2.0
"""Test pools in persistent memory with poison: in data, rows, superblocks, roots

A test depends on the tests before it, since QEMU's NVDIMMs cannot clear poison."""

import errno
import mmap
import os
import select
import time

import ndpool
from feature_common import check, eventually, fails, need
from memstate import write
from llfree import poolformat

DEVICE = "/dev/ndpool0"
INJECT = "/sys/kernel/debug/mce-inject"
# Registers of an uncorrected memory error with an address, whose lowest 6 bits are invalid
STATUS, MISC = "0xbc00000000000090", "0x86"
BANK = "1"
SECTOR = 512
ROOTS, ROWS = 0x5000, 0x10000
# Frames and children whose rows are in one sector
SECTOR_FRAMES = SECTOR * 8
SECTOR_CHILDREN = 8
MESSAGE = b"written before"


def namespace():
    need("/sys/class/ndpool", "CONFIG_ND_POOL is not set")
    need(INJECT, "CONFIG_X86_MCE_INJECT is not set")
    check(len(ndpool.devices()) == 1, f"{len(ndpool.devices())} pools")
    return ndpool.devices()[0][1]


def poison(at):
    """Inject poison, so that the sector of a byte cannot be read any more."""
    base = ndpool.base(namespace())
    for name, value in (("flags", "sw\n"), ("status", STATUS), ("misc", MISC),
                        ("addr", hex(base + at)), ("bank", BANK)):
        write(f"{INJECT}/{name}", value)
    eventually(lambda: at // SECTOR in ndpool.badblocks(namespace()),
               lambda: f"byte {at:#x} is not bad: {ndpool.badblocks(namespace())}")
    # The kernel notifies the region first, then the namespace.
    time.sleep(0.5)


def state():
    return ndpool.attribute("state")


def attach_again():
    name = namespace()
    ndpool.unbind(name, "nd_pool")
    ndpool.bind(name, "nd_pool")


def all_frames(pool):
    """Allocate all free frames and return the blocks."""
    have = []
    for order in range(ndpool.MAX_ORDER, -1, -1):
        try:
            while True:
                have += pool.alloc([order] * 64)
        except OSError as e:
            check(e.errno in (errno.ENOMEM, errno.EIO), str(e))
    check(not pool.info().free, f"{pool.info().free} bytes are left")
    return have


def has_block_with(have, at):
    return any(ndpool.offset(b) <= at < ndpool.offset(b) + ndpool.size(b) for b in have)


def bad_frame():
    """A frame that cannot be written is never allocated, alone or in a block."""
    with ndpool.Pool(DEVICE) as pool:
        before = pool.info()
        bad = before.first + 5 * (2 << 20) + 3 * ndpool.FRAME
        poison(bad + 3 * SECTOR)
        for rows in range(2):
            have = all_frames(pool)
            check(not has_block_with(have, bad), "the frame is handed out")
            check(sum(map(ndpool.size, have)) == before.free - ndpool.FRAME,
                  "more than the frame is withheld")
            check(pool.info().bad_frames == 1 == int(ndpool.attribute("bad")),
                  f"{pool.info().bad_frames} frames are bad")
            check(state() == "active", state())
            check(pool.free(have) == len(have), "not all are freed")
            check(pool.info().free == before.free - ndpool.FRAME, "some is lost")
            # A sweep frees the bad frame, and the next allocation finds it again.
            if not rows:
                pool.sweep(before.first, [0] * ((before.size - before.first) // ndpool.ROW))
                check(pool.info().free == before.free, "some is not swept")
    with ndpool.Pool(DEVICE) as pool:
        check(pool.info().bad_frames == 0, "a closed pool has bad frames")


def bad_rows():
    """Poison in rows makes the pool read-only, and wakes readers of the state. Data stays."""
    with ndpool.Pool(DEVICE) as pool:
        info = pool.info()
        kept, = pool.alloc([0], ndpool.COMMITTED)
        spare, = pool.alloc([3])
        bad = 2 * SECTOR_FRAMES * ndpool.FRAME
        with pool.map(ndpool.offset(kept), ndpool.FRAME) as area, \
             open("/sys/class/ndpool/ndpool0/device/pool/state", "rb") as f:
            area[:len(MESSAGE)] = MESSAGE
            pool.set_root(3, 0, kept)
            f.read()
            waiting = select.poll()
            waiting.register(f, select.POLLPRI)
            poison(ROWS + 2 * SECTOR + 64)
            check(waiting.poll(5000), "readers of the state are not woken")
            f.seek(0)
            check(f.read() == b"read-only\n", state())
            check(pool.info().flags & ndpool.READ_ONLY, "INFO lacks flag READ_ONLY")
            for call in (lambda: pool.alloc([0]), lambda: pool.commit([spare]),
                         lambda: pool.free([spare]), lambda: pool.set_root(3, kept, 0),
                         lambda: pool.sweep(info.first, [0])):
                fails(errno.EROFS, call)
            fails(errno.EIO, pool.rows, bad, 1)
            check(pool.rows(ndpool.offset(kept) & -ndpool.ROW, 1)[0], "rows cannot be read")
            check(pool.root(3) == kept, "the root is lost")
            check(area[:len(MESSAGE)] == MESSAGE, "data is lost")
            area[100] = 1


def degraded():
    """A pool with bad rows is attached; the frames of bad rows are allocated."""
    before = ndpool.attribute("free")
    attach_again()
    check(state() == "degraded", state())
    with ndpool.Pool(DEVICE) as pool:
        info = pool.info()
        check(info.bad_rows == SECTOR_CHILDREN, f"{info.bad_rows} rows are bad")
        check(info.free // ndpool.FRAME < int(before), "frames of bad rows are free")
        bad = 2 * SECTOR_FRAMES * ndpool.FRAME
        check(pool.rows(bad, 1) == [(1 << 64) - 1], "frames of bad rows are not committed")
        fails(errno.EIO, pool.free, [bad])
        fails(errno.EIO, pool.commit, [bad])
        # A sweep fails only for rows that cannot be cleared.
        live = [(1 << 64) - 1] * 8
        fails(errno.EIO, pool.sweep, bad, live)
        check(pool.sweep(info.first, live)[0] == 0, "live frames are freed")
        kept = pool.root(3)
        with pool.map(ndpool.offset(kept), ndpool.FRAME, prot=mmap.PROT_READ) as area:
            check(area[:len(MESSAGE)] == MESSAGE, "data is lost")
        have = all_frames(pool)
        check(not has_block_with(have, bad), "a frame of bad rows is handed out")
        pool.commit(have[:10])
        check(pool.free(have) == len(have), "not all are freed")
        # New poison makes the pool read-only again.
        poison(ROWS + 3 * SECTOR)
        check(state() == "read-only", state())
        fails(errno.EROFS, pool.alloc, [0])
        fails(errno.EIO, pool.rows, 3 * SECTOR_FRAMES * ndpool.FRAME, 1)
        check(pool.rows(bad, 1) == [(1 << 64) - 1], "bad rows are read")
    return f"{(int(before) - info.free // ndpool.FRAME)} frames cannot be used"


def bad_superblock():
    """A pool with one superblock that cannot be written is attached as read-only."""
    poison(0)
    check(state() == "read-only", state())
    attach_again()
    check(state() == "read-only", state())
    with ndpool.Pool(DEVICE) as pool:
        fails(errno.EROFS, pool.alloc, [0])
        kept = pool.root(3)
        with pool.map(ndpool.offset(kept), ndpool.FRAME) as area:
            check(area[:len(MESSAGE)] == MESSAGE, "data is lost")
        fails(errno.EROFS, pool.sweep, 2 * SECTOR_FRAMES * ndpool.FRAME, [0] * 8)


def bad_roots():
    """A pool whose roots cannot be read is not attached; the block driver can take it."""
    name = namespace()
    with ndpool.Pool(DEVICE) as pool:
        poison(ROOTS + 2 * 8)
        fails(errno.EIO, pool.root, 3)
    ndpool.unbind(name, "nd_pool")
    fails(errno.EIO, ndpool.bind, name, "nd_pool")
    ndpool.bind(name, "nd_pmem")
    with open("/dev/pmem0", "rb", buffering=0) as f:
        fails(errno.EIO, f.read, 512)
        f.seek(poolformat.COPY)
        check(f.read(8) == b"freepool", "there is no superblock")
    check(not os.path.exists(DEVICE), "there is a device")
    ndpool.unbind(name, "nd_pmem")


def tests(_args):
    return [bad_frame, bad_rows, degraded, bad_superblock, bad_roots]
