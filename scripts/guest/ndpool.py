# SPDX-License-Identifier: GPL-2.0
"""Use pools in persistent memory, by include/uapi/linux/nd_pool.h and sysfs"""

import collections
import ctypes
import fcntl
import glob
import mmap
import os
import struct

from memstate import read, write

FRAME = 4096
HUGE_ORDER = 9
MAX_ORDER = 10
NR_ROOTS = 64
ROW = 64 * FRAME
COMMITTED = 1
WAS_DIRTY, ROWS_DAMAGED, READ_ONLY = 1, 2, 4
DRIVERS = "/sys/bus/nd/drivers"

Info = collections.namedtuple("Info", "size first free free_huge session bad_rows "
                              "bad_frames recovery_us flags persistence uuid")
INFO, BLOCKS, ROOT, ROWS = (struct.Struct(f"={s}")
                            for s in ("8QII16s", "QII", "IIQQ", "5Q"))


def _code(direction, number, layout):
    return direction << 30 | layout.size << 16 | ord("p") << 8 | number


(IOC_INFO, IOC_ALLOC, IOC_COMMIT, IOC_FREE, IOC_GET_ROOT, IOC_CAS_ROOT, IOC_GET_ROWS,
 IOC_SWEEP) = (_code(*c) for c in (
     (2, 0xe0, INFO), (1, 0xe1, BLOCKS), (1, 0xe2, BLOCKS), (1, 0xe3, BLOCKS),
     (3, 0xe4, ROOT), (3, 0xe5, ROOT), (1, 0xe6, ROWS), (3, 0xe7, ROWS)))


def order(block):
    return block & (FRAME - 1)


def offset(block):
    return block & ~(FRAME - 1)


def size(block):
    return FRAME << order(block)


class Pool:
    """An open pool, whose methods raise OSError if a call fails"""

    def __init__(self, path, flags=os.O_RDWR):
        self.fd = os.open(path, flags)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.fd)

    def info(self):
        data = bytearray(INFO.size)
        fcntl.ioctl(self.fd, IOC_INFO, data)
        return Info(*INFO.unpack(data))

    def _blocks(self, code, blocks, flags=0):
        words = (ctypes.c_uint64 * len(blocks))(*blocks)
        data = BLOCKS.pack(ctypes.addressof(words), len(blocks), flags)
        return list(words)[:fcntl.ioctl(self.fd, code, bytearray(data))], list(words)

    def alloc(self, orders, flags=0):
        done, words = self._blocks(IOC_ALLOC, orders, flags)
        return words[:len(done)]

    def commit(self, blocks):
        return len(self._blocks(IOC_COMMIT, blocks)[0])

    def free(self, blocks):
        return len(self._blocks(IOC_FREE, blocks)[0])

    def root(self, index):
        data = bytearray(ROOT.pack(index, 0, 0, 0))
        fcntl.ioctl(self.fd, IOC_GET_ROOT, data)
        return ROOT.unpack(data)[2]

    def set_root(self, index, old, new):
        """Replace a root by compare and swap."""
        fcntl.ioctl(self.fd, IOC_CAS_ROOT, bytearray(ROOT.pack(index, 0, old, new)))

    def rows(self, first, nr):
        """Return the bits of committed frames, in words."""
        words = (ctypes.c_uint64 * nr)()
        fcntl.ioctl(self.fd, IOC_GET_ROWS, bytearray(
            ROWS.pack(first, nr, ctypes.addressof(words), 0, 0)))
        return list(words)

    def sweep(self, first, live):
        """Sweep, and return (frames freed, live frames that were free)."""
        words = (ctypes.c_uint64 * len(live))(*live)
        data = bytearray(ROWS.pack(first, len(live), ctypes.addressof(words), 0, 0))
        fcntl.ioctl(self.fd, IOC_SWEEP, data)
        return ROWS.unpack(data)[3:]

    def map(self, at=0, length=0, **options):
        return mmap.mmap(self.fd, length or self.info().size - at, offset=at, **options)


def devices():
    """Return [(device, namespace)] of all pools."""
    return [(os.path.basename(d), os.path.basename(os.path.realpath(f"{d}/device")))
            for d in sorted(glob.glob("/sys/class/ndpool/ndpool*"))]


def attribute(name, device="ndpool0"):
    return read(f"/sys/class/ndpool/{device}/device/pool/{name}").strip()


def base(namespace):
    """Return the physical address of a namespace."""
    return int(read(f"/sys/bus/nd/devices/{namespace}/resource"), 0)


def badblocks(namespace):
    """Return the numbers of the sectors with poison."""
    region = os.path.dirname(os.path.realpath(f"/sys/bus/nd/devices/{namespace}"))
    return {first + i for first, nr in (map(int, line.split()) for line in
                                        read(f"{region}/badblocks").splitlines())
            for i in range(nr)}


def bind(namespace, driver):
    write(f"{DRIVERS}/{driver}/bind", namespace)


def unbind(namespace, driver):
    write(f"{DRIVERS}/{driver}/unbind", namespace)
