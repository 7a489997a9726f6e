# SPDX-License-Identifier: GPL-2.0
"""Make superblocks of pools in persistent memory, as in include/linux/llfree_pool.h"""

import struct

MAGIC = int.from_bytes(b"freepool", "little")
COPY = 0x2000
SUPER = struct.Struct("<QII16sIIQ")
FIELDS = "magic", "version", "flags", "uuid", "shift", "crc", "frames"


def _crc_table():
    table = []
    for i in range(256):
        for _ in range(8):
            i = i >> 1 ^ (0x82f63b78 if i & 1 else 0)
        table.append(i)
    return table


_TABLE = _crc_table()


def crc32c(data):
    """Return the CRC32C as lib/crc32.c computes it, without the inversion at the end."""
    crc = 0xffffffff
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xff]
    return crc


def sealed(**fields):
    """Return a superblock with the given fields and the right checksum."""
    values = {name: fields.get(name, 0) for name in FIELDS} | {"crc": 0}
    values["crc"] = crc32c(SUPER.pack(*values.values()))
    return SUPER.pack(*values.values())
