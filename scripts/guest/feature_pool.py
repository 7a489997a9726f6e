# SPDX-License-Identifier: GPL-2.0
"""Test pools in persistent memory: blocks, mappings, roots, sessions, sweep, bad input"""

import errno
import mmap
import multiprocessing
import os
import random
import resource
import signal
import struct
import threading

import ndpool
from feature_common import check, eventually, fails, need
from llfree import poolformat

DEVICE = "/dev/ndpool0"
HUGE = 2 << 20
MANY = 64


def device():
    need("/sys/class/ndpool", "CONFIG_ND_POOL is not set")
    check(len(ndpool.devices()) == 1, f"{len(ndpool.devices())} pools: {ndpool.devices()}")
    return ndpool.devices()[0]


def free_bytes():
    with ndpool.Pool(DEVICE) as pool:
        return pool.info().free


def signal_of(function, *args):
    """Call a function in a child. Return the signal that ends the child, 0 if none does."""
    pid = os.fork()
    if not pid:
        try:
            function(*args)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) * -1


def attributes():
    """sysfs and INFO agree, and only root can open the device."""
    _, namespace = device()
    with ndpool.Pool(DEVICE) as pool:
        info = pool.info()
    check(ndpool.attribute("state") == "active", ndpool.attribute("state"))
    for name, value in (("free", info.free // ndpool.FRAME),
                        ("huge_free", info.free_huge // HUGE), ("session", info.session),
                        ("frames", (info.size - info.first) // ndpool.FRAME),
                        ("bad", 0), ("bad_rows", 0), ("recovery_us", info.recovery_us)):
        found = int(ndpool.attribute(name))
        check(found == value, f"{name} is {found}, not {value}")
    check(ndpool.attribute("uuid").replace("-", "") == info.uuid.hex(), "the uuids differ")
    check(os.stat(DEVICE).st_mode & 0o777 == 0o600, "the device is not for root alone")
    check(not os.path.exists(f"/sys/bus/nd/devices/{namespace}/block"),
          "the namespace is a block device as well")
    return f"{info.size >> 20} MiB, attached in {info.recovery_us} us"


def blocks():
    """Blocks of all orders are zero, apart from each other, and free again."""
    before = free_bytes()
    with ndpool.Pool(DEVICE) as pool:
        orders = [random.randrange(ndpool.MAX_ORDER + 1) for _ in range(3 * MANY)]
        have = pool.alloc(orders)
        check([ndpool.order(b) for b in have] == orders[:len(have)], "other orders")
        check(len(have) == len(orders), f"{len(have)} of {len(orders)} blocks")
        with pool.map() as area:
            for number, block in enumerate(have):
                at, end = ndpool.offset(block), ndpool.offset(block) + ndpool.size(block)
                check(not at % ndpool.size(block), f"{block:#x} is not aligned")
                check(area[at:end] == bytes(end - at), f"{block:#x} is not zero")
                area[at:end] = struct.pack("=I", number) * ((end - at) // 4)
            for number, block in enumerate(have):
                at, end = ndpool.offset(block), ndpool.offset(block) + ndpool.size(block)
                check(area[at:end] == struct.pack("=I", number) * ((end - at) // 4),
                      f"{block:#x} was handed out twice")
        check(pool.info().free == before - sum(map(ndpool.size, have)), "free is wrong")
        random.shuffle(have)
        check(pool.free(have) == len(have), "not all are freed")
        check(pool.info().free == before, "some is lost")
    return f"{len(have)} blocks"


def huge_mappings():
    """A block of 2 MiB takes one page fault; access to a freed frame of it raises SIGBUS."""
    def touch(area, at, end):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for byte in range(at, end, ndpool.FRAME):
            area[byte] = 1
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    with ndpool.Pool(DEVICE) as pool:
        block, = pool.alloc([ndpool.HUGE_ORDER])
        at = ndpool.offset(block)
        with pool.map() as area:
            nr = touch(area, at, at + HUGE)
            check(nr < 16, f"{nr} page faults")
            # A free removes the whole huge mapping. Faults then map the rest in pieces.
            hole = at + 77 * ndpool.FRAME
            check(pool.free([hole]) == 1, "a frame of the block cannot be freed")
            check(signal_of(area.__getitem__, hole) == signal.SIGBUS, "no SIGBUS")
            check(signal_of(area.__setitem__, hole, 1) == signal.SIGBUS, "no SIGBUS")
            check(area[hole - 1] == 0 and area[hole + ndpool.FRAME] == 1, "content is lost")
            again = touch(area, at, hole)
            check(again < 200, f"{again} page faults")
            # A child inherits the mapping, and can read blocks that are not freed.
            check(signal_of(area.__getitem__, at) == 0, "a child cannot read")
        pool.free([at + i * ndpool.FRAME for i in range(512) if i != 77])
    return f"{nr} and {again} page faults"


def no_stranger():
    """Free frames, metadata and addresses after the end cannot be mapped, nor privately."""
    with ndpool.Pool(DEVICE) as pool:
        info = pool.info()
        with pool.map(0, HUGE) as area:
            for at in 0, 0x2000, 0x5000, 0x10000, info.first - 1:
                check(signal_of(area.__getitem__, at) == signal.SIGBUS, f"{at:#x} is mapped")
        block, = pool.alloc([0])
        pool.free([block])
        with pool.map(ndpool.offset(block), ndpool.FRAME) as area:
            check(signal_of(area.__getitem__, 0) == signal.SIGBUS, "a free frame is mapped")
        fails(errno.EINVAL, lambda: pool.map(flags=mmap.MAP_PRIVATE))
        fails(errno.ENXIO, lambda: pool.map(0, info.size + ndpool.FRAME))
        fails(errno.ENXIO, lambda: pool.map(info.size, ndpool.FRAME))
    with ndpool.Pool(DEVICE, os.O_RDONLY) as pool:
        for call in (lambda: pool.alloc([0]), lambda: pool.free([block]),
                     lambda: pool.commit([block]), lambda: pool.set_root(1, 0, 1),
                     lambda: pool.sweep(info.first, [0])):
            fails(errno.EBADF, call)
        fails(errno.EACCES, pool.map)
        with ndpool.Pool(DEVICE) as writer:
            block, = writer.alloc([ndpool.HUGE_ORDER])
            with pool.map(ndpool.offset(block), HUGE, prot=mmap.PROT_READ) as area, \
                 writer.map(ndpool.offset(block), HUGE) as other:
                other[4711] = 42
                check(area[4711] == 42, "a mapping for reading has other data")
                writer.free([block])
                check(signal_of(area.__getitem__, 4711) == signal.SIGBUS,
                      "a read-only mapping still has a freed block")


def bad_input():
    """Calls with wrong arguments fail and change nothing."""
    with ndpool.Pool(DEVICE) as pool:
        info = pool.info()
        a, b = pool.alloc([3, 0])
        for wrong in (0, info.first - ndpool.FRAME, info.size, a | 0xfff, 1 << 63,
                      (a & ~0xfff) + ndpool.FRAME | 3, a & ~0xfff | 4, 2**64 - ndpool.FRAME):
            fails(errno.EINVAL, pool.free, [wrong])
            fails(errno.EINVAL, pool.commit, [wrong])
            check(pool.commit([b, wrong, b]) == 1, "a bad block is committed")
        check(pool.free([b, b, a]) == 1, "a block is freed twice")
        fails(errno.EINVAL, pool.free, [b])
        fails(errno.EINVAL, pool.commit, [b])
        check(pool.free([a]) == 1, "a block is lost")
        fails(errno.EINVAL, pool.alloc, [ndpool.MAX_ORDER + 1])
        fails(errno.EINVAL, pool.alloc, [0], 2)
        fails(errno.EINVAL, pool.root, ndpool.NR_ROOTS)
        fails(errno.EINVAL, pool.rows, info.first + ndpool.FRAME, 1)
        fails(errno.EINVAL, pool.rows, 0, 1)
        fails(errno.EINVAL, pool.rows, info.first, 1 << 20)
        fails(errno.EINVAL, pool.sweep, info.size, [0])
        check(pool.alloc([]) == [] and pool.free([]) == 0, "no blocks are some")
        check(pool.info() == info._replace(free=pool.info().free), "something changed")
        check(pool.info().free == info.free, "something is lost")


def out_of_memory():
    """All frames of a pool can be allocated, once."""
    with ndpool.Pool(DEVICE) as pool:
        before = pool.info().free
        have, order = [], ndpool.MAX_ORDER
        while order >= 0:
            try:
                got = pool.alloc([order] * 256)
            except OSError as e:
                check(e.errno == errno.ENOMEM, f"{e}")
                order -= 1
                continue
            have += got
        check(not pool.info().free, f"{pool.info().free} bytes are left")
        check(sum(map(ndpool.size, have)) == before, "more or less than there was")
        # The last close frees blocks that are not committed.
    eventually(lambda: free_bytes() == before, "the last close does not free all blocks")
    return f"{len(have)} blocks"


def roots():
    """Compare and swap of roots is atomic when several processes change a root."""
    def add(times):
        with ndpool.Pool(DEVICE) as pool:
            for _ in range(times):
                while True:
                    old = pool.root(7)
                    try:
                        pool.set_root(7, old, old + 1)
                        break
                    except OSError as e:
                        if e.errno != errno.EAGAIN:
                            raise

    with ndpool.Pool(DEVICE) as pool:
        fails(errno.EAGAIN, pool.set_root, 7, pool.root(7) + 1, 0)
        pool.set_root(7, pool.root(7), 0)
        jobs = [multiprocessing.Process(target=add, args=(200,)) for _ in range(4)]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join()
        check(pool.root(7) == 800, f"{pool.root(7)} increments of 800")
        check(not any(pool.root(i) for i in range(ndpool.NR_ROOTS) if i != 7),
              "other roots changed")
        pool.set_root(7, 800, 0)


def sessions():
    """Committed blocks stay when the driver is unbound; other blocks are free afterwards."""
    _, namespace = device()
    with ndpool.Pool(DEVICE) as pool:
        before = pool.info()
        kept = pool.alloc([0, 5, 9, 10], ndpool.COMMITTED)
        part, = pool.alloc([6])
        pool.commit([ndpool.offset(part) + ndpool.FRAME])
        with pool.map() as area:
            for block in kept:
                at = ndpool.offset(block)
                area[at:at + ndpool.size(block)] = b"x" * ndpool.size(block)
            pool.set_root(0, 0, kept[2])
            # With files open and mapped
            ndpool.unbind(namespace, "nd_pool")
            check(signal_of(area.__getitem__, ndpool.offset(kept[0])) == signal.SIGBUS,
                  "the mapping stays")
        fails(errno.ENXIO, pool.info)
        fails(errno.ENXIO, pool.alloc, [0])
        check(not os.path.exists(DEVICE), "the device stays")
        ndpool.bind(namespace, "nd_pool")
        fails(errno.ENXIO, pool.info)
    with ndpool.Pool(DEVICE) as pool:
        after = pool.info()
        check(after.session == before.session + 1, f"session {after.session}")
        check(not after.flags, f"flags {after.flags}")
        used = sum(map(ndpool.size, kept)) + ndpool.FRAME
        check(before.free - after.free == used,
              f"{before.free - after.free} bytes are allocated, not {used}")
        check(pool.root(0) == kept[2], "the root is lost")
        with pool.map() as area:
            for block in kept:
                at = ndpool.offset(block)
                check(area[at:at + ndpool.size(block)] == b"x" * ndpool.size(block),
                      f"{block:#x} is lost")
        pool.set_root(0, kept[2], 0)
        check(pool.free(kept + [ndpool.offset(part) + ndpool.FRAME]) == len(kept) + 1,
              "not all are there")
        check(pool.info().free == before.free, "some is lost")
    return f"attached in {after.recovery_us} us"


def block_driver():
    """Driver nd_pmem can take the namespace, shows the superblock, and changes nothing."""
    _, namespace = device()
    ndpool.unbind(namespace, "nd_pool")
    ndpool.bind(namespace, "nd_pmem")
    with open("/dev/pmem0", "rb") as f:
        check(f.read(8) == b"freepool", "there is no superblock")
        ndpool.unbind(namespace, "nd_pmem")
    ndpool.bind(namespace, "nd_pool")
    with ndpool.Pool(DEVICE) as pool:
        check(not pool.info().flags & ndpool.ROWS_DAMAGED, "rows are damaged")


def superblock(**changes):
    """Return a function that changes fields of both superblocks, with the right checksum."""
    def change(data):
        good = dict(zip(poolformat.FIELDS, poolformat.SUPER.unpack_from(data, 0)))
        block = poolformat.sealed(**good | changes)
        for at in 0, poolformat.COPY:
            data[at:at + len(block)] = block
    return change


def overwrite(*places):
    def change(data):
        for at in places:
            data[at] ^= 0x55
    return change


def refused():
    """The driver refuses a damaged or foreign pool, which the block driver can take."""
    _, namespace = device()
    with ndpool.Pool(DEVICE) as pool:
        before = pool.info()
    ndpool.unbind(namespace, "nd_pool")
    for error, change in (
            (errno.ENODEV, overwrite(0, poolformat.COPY)),
            (errno.EIO, overwrite(17, poolformat.COPY + 17)),
            (errno.EMEDIUMTYPE, superblock(magic=int.from_bytes(b"freepool", "big"))),
            (errno.EMEDIUMTYPE, superblock(shift=13)),
            (errno.EPROTONOSUPPORT, superblock(version=2)),
            (errno.EPROTONOSUPPORT, superblock(flags=1)),
            (errno.ENOSPC, superblock(frames=before.size // ndpool.FRAME + 1)),
            (errno.EIO, superblock(frames=1)), (errno.EIO, superblock(frames=1 << 62))):
        ndpool.bind(namespace, "nd_pmem")
        with open("/dev/pmem0", "r+b", buffering=0) as f:
            good = f.read(0x4000)
            data = bytearray(good)
            change(data)
            f.seek(0)
            f.write(data)
            os.fsync(f.fileno())
        ndpool.unbind(namespace, "nd_pmem")
        fails(error, ndpool.bind, namespace, "nd_pool")
        check(not os.path.exists(DEVICE), "there is a device")
        ndpool.bind(namespace, "nd_pmem")
        with open("/dev/pmem0", "r+b", buffering=0) as f:
            check(f.read(0x4000) == data, f"{errno.errorcode[error]}: something was written")
            f.seek(0)
            f.write(good)
            os.fsync(f.fileno())
        ndpool.unbind(namespace, "nd_pmem")
    ndpool.bind(namespace, "nd_pool")
    with ndpool.Pool(DEVICE) as pool:
        check(pool.info().free == before.free, "something changed")


def same_uuid():
    """The driver refuses a copy of a pool while the pool is attached, and takes it after."""
    need("/dev/pmem1", "there is no second NVDIMM")
    _, namespace = device()
    copy = os.path.basename(os.path.realpath("/sys/block/pmem1/device"))
    ndpool.unbind(copy, "nd_pmem")
    fails(errno.EEXIST, ndpool.bind, copy, "nd_pool")
    ndpool.unbind(namespace, "nd_pool")
    ndpool.bind(copy, "nd_pool")
    check([n for _, n in ndpool.devices()] == [copy], f"{ndpool.devices()}")
    fails(errno.EEXIST, ndpool.bind, namespace, "nd_pool")
    ndpool.unbind(copy, "nd_pool")
    ndpool.bind(namespace, "nd_pool")
    ndpool.bind(copy, "nd_pmem")


def sweep():
    """A sweep frees frames that are not live, keeps live frames, and counts missing ones."""
    with ndpool.Pool(DEVICE) as pool:
        info = pool.info()
        live = [0] * ((info.size - info.first) // ndpool.ROW)

        def mark(block, value):
            for frame in range((ndpool.offset(block) - info.first) // ndpool.FRAME,
                               (ndpool.offset(block) + ndpool.size(block) - info.first)
                               // ndpool.FRAME):
                live[frame // 64] = live[frame // 64] & ~(1 << frame % 64) | value << frame % 64

        kept = pool.alloc([0, 3, 9], ndpool.COMMITTED)
        lost = pool.alloc([0, 4, 7, 10], ndpool.COMMITTED)
        for block in kept:
            mark(block, 1)
        with ndpool.Pool(DEVICE):
            fails(errno.EBUSY, pool.sweep, info.first, live)
        with pool.map() as area:
            area[ndpool.offset(kept[0])] = 1
            area[ndpool.offset(lost[3])] = 1
            freed, missing = pool.sweep(info.first, live)
            check(freed == sum(map(ndpool.size, lost)) // ndpool.FRAME and not missing,
                  f"{freed} frames are freed, {missing} missing")
            check(signal_of(area.__getitem__, ndpool.offset(lost[3])) == signal.SIGBUS,
                  "a frame that was swept is mapped")
            check(area[ndpool.offset(kept[0])] == 1, "a live frame is lost")
        check(pool.rows(info.first, len(live)) == live, "other frames are committed")
        pool.free(kept)
        freed, missing = pool.sweep(info.first, live)
        check(not freed and missing == sum(map(ndpool.size, kept)) // ndpool.FRAME,
              f"{missing} frames are missing")
        check(pool.info().free == info.free, "some is lost")


def threads(seconds):
    """Threads and processes allocate, map, write, commit and free at once."""
    failed = multiprocessing.Event()
    ending = multiprocessing.Event()

    def work(pool, area, seed):
        rnd, have = random.Random(seed), []
        tag = struct.pack("=Q", seed)
        while not ending.is_set() and not failed.is_set():
            if len(have) < 8 or rnd.random() < 0.5:
                block, = pool.alloc([rnd.choice((0, 0, 0, 1, 3, 6, 9))],
                                    rnd.randrange(2))
                at = ndpool.offset(block)
                if area[at:at + 8] != bytes(8):
                    failed.set()
                area[at:at + 8] = area[at + ndpool.size(block) - 8:
                                       at + ndpool.size(block)] = tag
                have.append(block)
            else:
                block = have.pop(rnd.randrange(len(have)))
                at, end = ndpool.offset(block), ndpool.offset(block) + ndpool.size(block)
                if area[at:at + 8] != tag or area[end - 8:end] != tag:
                    failed.set()
                if pool.free([block]) != 1:
                    failed.set()
        if pool.free(have) != len(have):
            failed.set()

    def process(number):
        with ndpool.Pool(DEVICE) as pool, pool.map() as area:
            workers = [threading.Thread(target=work, args=(pool, area, number * 8 + i))
                       for i in range(3)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()

    before = free_bytes()
    jobs = [multiprocessing.Process(target=process, args=(i,)) for i in range(3)]
    for job in jobs:
        job.start()
    ending.wait(seconds)
    ending.set()
    for job in jobs:
        job.join()
        check(not job.exitcode, f"a process ends with {job.exitcode}")
    check(not failed.is_set(), "a block was handed out twice, or is lost")
    check(free_bytes() == before, f"{before - free_bytes()} bytes are lost")


def killed_user():
    """Blocks that a killed process has not committed are free; committed blocks are not."""
    def work(pipe):
        with ndpool.Pool(DEVICE) as pool:
            os.write(pipe, struct.pack("=4Q", *pool.alloc([0, 9], ndpool.COMMITTED),
                                       *pool.alloc([0, 9])))
            signal.pause()

    before = free_bytes()
    reader, writer = os.pipe()
    job = multiprocessing.Process(target=work, args=(writer,))
    job.start()
    have = struct.unpack("=4Q", os.read(reader, 32))
    os.kill(job.pid, signal.SIGKILL)
    job.join()
    kept = sum(map(ndpool.size, have[:2]))
    eventually(lambda: free_bytes() == before - kept, lambda: f"{before - free_bytes()} bytes "
               f"are allocated, not {kept}")
    with ndpool.Pool(DEVICE) as pool:
        check(pool.free(list(have[:2])) == 2, "committed blocks are not allocated")
        fails(errno.EINVAL, pool.free, list(have[2:]))


def tests(args):
    def under_load():
        return threads(args.seconds)
    under_load.__doc__ = threads.__doc__

    return [attributes, blocks, huge_mappings, no_stranger, bad_input, out_of_memory, roots,
            sessions, block_driver, refused,
            same_uuid, sweep, under_load, killed_user]
