# SPDX-License-Identifier: GPL-2.0
"""Test tools/mm/llpool.c with pools in files, good and damaged ones.

The program is built with sanitizers. The program has to end with one of its exit
statuses, and with one line of text if it fails. Commands that only read must not write.
For attached pools, tools/testing/nd_pool/emulate.c stands for the driver: /dev/null is
then the file that ND_POOL_FILE names."""

import fcntl
import os
import random
import re
import struct
import subprocess
import unittest

from llfree import poolformat
from llfree.paths import TOP, linux
from llfree.poolformat import COPY, MAGIC, crc32c, sealed
from llfree.tests import build_directory

LINUX = linux()
FOUND, DAMAGED, FAILED = 1, 2, 3
SANITIZER = 99

# include/linux/llfree_pool.h
FRAME, CHILD = 4096, 512
SUPER, STATE, ROOTS, ROWS = 0, 0x4000, 0x5000, 0x10000
INFO_BLOCK = 4096
MIB = 1 << 20


def superblock(frames, uuid=bytes(range(16)), magic=MAGIC, version=1, flags=0, shift=12):
    """Return a superblock with the right checksum."""
    return sealed(magic=magic, version=version, flags=flags, uuid=uuid, shift=shift,
                  frames=frames)


def align(number, to):
    return -(-number // to) * to


class Pool:
    """A pool on a medium, all of whose bytes a test can change"""

    def __init__(self, frames=16 * CHILD):
        self.frames = frames
        self.rows_size = align(frames, CHILD) // 8
        self.first = align(align(ROWS + self.rows_size, FRAME) // FRAME, CHILD)
        self.data = bytearray(frames * FRAME)
        self.committed = set()
        self.put(SUPER, superblock(frames))
        self.put(COPY, superblock(frames))
        self.put(ROWS, b"\xff" * (self.first // 8))

    def put(self, offset, data):
        self.data[offset:offset + len(data)] = data

    def flip(self, offset, bits=1):
        self.data[offset] ^= bits

    def commit(self, frames):
        for frame in frames:
            self.committed.add(frame)
            self.data[ROWS + frame // 8] |= 1 << frame % 8

    def detach(self, session=3):
        """Mark the pool as clean, as the driver does at detach."""
        rows = self.data[ROWS + self.first // 8:ROWS + self.rows_size]
        self.put(STATE, struct.pack("<QQ", session * 2, crc32c(rows)))

    def crash(self, session=3):
        self.put(STATE, struct.pack("<QQ", session * 2 + 1, 0))

    def free_huge(self):
        whole = range(self.first // CHILD, self.frames // CHILD)
        return len(set(whole) - {frame // CHILD for frame in self.committed})


class Llpool(unittest.TestCase):
    """The program llpool, which subclasses build in different ways"""
    build = ()

    @classmethod
    def setUpClass(cls):
        cls.tmp = build_directory(cls)
        cls.env = dict(os.environ)
        subprocess.run(["make", "-s", *cls.build, f"O={cls.tmp}", f"LINUX={LINUX}",
                        "CC=gcc"], check=True)

    def run_llpool(self, args, stdin=None):
        """Run the program and return (exit status, output, errors). Fail if a sanitizer
        reports an error."""
        found = f"exitcode={SANITIZER}"
        ended = subprocess.run(
            [f"{self.tmp}/llpool", *args], capture_output=True, check=False, timeout=120,
            text=True, input=stdin or "",
            env={**self.env, "ASAN_OPTIONS": found + ":detect_leaks=0",
                 "UBSAN_OPTIONS": found})
        self.assertIn(ended.returncode, (0, FOUND, DAMAGED, FAILED), ended.stderr)
        return ended.returncode, ended.stdout, ended.stderr

    def llpool(self, *args, stdin=None):
        """Run the program and return (exit status, {key: value} of the output, errors)."""
        status, out, err = self.run_llpool(args, stdin)
        pairs = re.findall(r"^([a-z_ 0-9]+): (.*)$", out, re.M)
        self.assertEqual(len(pairs), len(out.splitlines()), out)
        return status, dict(pairs), err

    def path(self, name="pool"):
        path = f"{self.tmp}/{name}"
        if os.path.exists(path):
            os.unlink(path)
        return path

    def write(self, data):
        path = self.path()
        with open(path, "wb") as f:
            f.write(data)
        return path

    def read(self, path):
        with open(path, "rb") as f:
            return f.read()

    def good(self, *args, status=0, stdin=None):
        got, keys, err = self.llpool(*args, stdin=stdin)
        self.assertEqual((got, err), (status, ""))
        return keys

    def bad(self, name, text, *args, status=FAILED, stdin=None):
        """Check that a command fails with one line, which has the name of an error."""
        got, _, err = self.run_llpool(args, stdin)
        self.assertEqual(got, status, err)
        self.assertRegex(err, rf"^llpool: [^\n]*: [^\n]*{text}[^\n]* \({name}\)\n$")


class Files(Llpool):
    build = ("-f", f"{TOP}/tools/mm/llpool.mk",
             "CFLAGS=-O1 -fsanitize=address,undefined -fno-sanitize-recover=all")

    def unchanged(self, pool, *args, status=0):
        """Run a command that only reads, and check that all bytes are unchanged."""
        path = self.write(pool.data)
        os.utime(path, (1, 1))
        keys = self.good(*args, path, status=status)
        self.assertEqual(os.stat(path).st_mtime, 1)
        self.assertEqual(self.read(path), pool.data)
        return keys

    def check(self, pool, status, **expected):
        keys = self.unchanged(pool, "check", status=status)
        self.assertEqual({key: keys.get(key) for key in expected}, expected)
        self.assertEqual(keys["result"], ("clean", "dirty", "damaged")[status])

    def refused(self, pool, name, text, status):
        """Check that commands info and check refuse a file."""
        path = self.write(pool.data)
        self.bad(name, text, "info", path)
        self.bad(name, text, "check", path, status=status)
        self.assertEqual(self.read(path), pool.data)

    # create

    def test_create(self):
        path = self.path()
        uuid = self.good("create", "--size", "16M", path)["uuid"]
        self.assertRegex(uuid, r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
        raw = bytes.fromhex(uuid.replace("-", ""))
        pool = Pool(4096)
        for at in SUPER, COPY:
            pool.put(at, superblock(4096, raw))
        pool.put(STATE, struct.pack("<QQ", 1, 0))
        self.assertEqual(self.read(path), pool.data)
        keys = self.good("info", path)
        self.assertEqual({k: keys[k] for k in ("uuid", "state", "session", "size", "free")},
                         {"uuid": uuid, "state": "new", "session": "0",
                          "size": str(16 * MIB), "free": str(14 * MIB)})
        self.assertEqual(self.good("check", path)["result"], "clean")

    def test_uuids_differ(self):
        path = self.path()
        uuids = [self.good("create", "-f", "-s", "4M", path)["uuid"] for _ in range(4)]
        self.assertEqual(len(set(uuids)), 4)

    def test_large(self):
        """More than 2 MiB of metadata"""
        path = self.path()
        self.good("create", "--size", "64G", path)
        keys = self.good("check", path)
        self.assertEqual((keys["first"], keys["free"]),
                         (str(4 * MIB), str((64 << 30) - 4 * MIB)))
        # Only metadata is written.
        self.assertLess(os.stat(path).st_blocks * 512, 4 * MIB)

    def test_create_sizes(self):
        for size in ("1M", str(4 * MIB - 1), "0"):
            self.bad("ENOSPC", "4 MiB at least", "create", "--size", size, self.path())
        for size in ("", "M", "4Q", "-4M", "4MM", "99999999999T"):
            self.bad("EINVAL", "no size", "create", "--size", size, self.path())
        self.good("create", "--size", str(4 * MIB), self.path())
        self.bad("ENOENT", "cannot be opened", "create", self.path())

    def test_create_over(self):
        """Only --force overwrites data."""
        btt, pfn, dax = (text + bytes(16 - len(text)) for text in (
            b"BTT_ARENA_INFO", b"NVDIMM_PFN_INFO", b"NVDIMM_DAX_INFO"))
        swapped = struct.pack(">Q", MAGIC)
        for at, data, text in (
                (SUPER, superblock(4096), "a pool"), (COPY, superblock(4096), "a pool"),
                (SUPER, swapped, "a pool"), (COPY, swapped, "a pool"),
                (INFO_BLOCK, btt, r"\(BTT\)"), (SUPER, btt, r"\(BTT\)"),
                (INFO_BLOCK, pfn, "fsdax"), (INFO_BLOCK, dax, "devdax"),
                (1080, b"\x53\xef", "data"), (8191, b"\1", "data"), (ROWS + 64, b"\1", "data"),
                (0x1ffff, b"\1", "data")):
            data = bytes(at) + data
            data += bytes(4 * MIB - len(data))
            path = self.write(data)
            self.bad("EEXIST", f"there is .*{text}", "create", path)
            self.assertEqual(self.read(path), data)
            self.good("create", "--force", path)
            self.good("check", path)
            # The block driver would find these signatures.
            self.assertEqual(self.read(path)[INFO_BLOCK:COPY], bytes(COPY - INFO_BLOCK))
            self.assertEqual(self.read(path)[ROOTS:ROWS], bytes(ROWS - ROOTS))

    def test_create_resizes_only_by_force(self):
        path = self.write(bytes(4 * MIB))
        self.bad("EEXIST", "another size", "create", "--size", "8M", path)
        self.assertEqual(os.stat(path).st_size, 4 * MIB)
        self.good("create", "--size", "8M", "--force", path)
        self.assertEqual(self.good("info", path)["size"], str(8 * MIB))

    def test_in_use(self):
        path = self.write(Pool().data)
        for lock, commands in ((fcntl.LOCK_EX, ("create", "info", "check")),
                               (fcntl.LOCK_SH, ("create",))):
            with open(path, "rb") as f:
                fcntl.flock(f, lock)
                for command in commands:
                    self.bad("EBUSY", "in use", command, path)

    # info and check

    def test_counts(self):
        rng = random.Random(1)
        for frames in 2 * CHILD, 16 * CHILD, 16 * CHILD + 1, 40 * CHILD - 65:
            pool = Pool(frames)
            for nr in 0, 1, 500:
                pool.commit(rng.choices(range(pool.first, frames), k=nr))
                for end, state, status in ((pool.detach, "clean", 0),
                                           (pool.crash, "dirty", FOUND)):
                    end(7)
                    keys = self.unchanged(pool, "info")
                    committed = len(pool.committed)
                    expected = {
                        "kind": "medium", "state": state, "session": "7",
                        "uuid": "00010203-0405-0607-0809-0a0b0c0d0e0f",
                        "size": str(frames * FRAME), "first": str(pool.first * FRAME),
                        "committed": str(committed * FRAME),
                        "free": str((frames - pool.first - committed) * FRAME),
                        "free_huge": str(pool.free_huge() * CHILD * FRAME),
                        "bad_rows": "0"}
                    self.assertEqual(keys, expected)
                    self.check(pool, status, **{k: v for k, v in expected.items()
                                                if k != "kind"})

    def test_roots(self):
        pool = Pool()
        pool.detach()
        for i, value in ((0, 0x200000), (63, (1 << 64) - 1)):
            pool.put(ROOTS + 8 * i, struct.pack("<Q", value))
        keys = self.unchanged(pool, "check")
        self.assertEqual({k: v for k, v in keys.items() if k.startswith("root ")},
                         {"root 0": "0x200000", "root 63": "0xffffffffffffffff"})

    def test_one_superblock(self):
        """If one superblock is damaged or missing, the other superblock is used."""
        for at, name in ((SUPER, "superblock"), (COPY, "copy")):
            for what, damage in (("damaged", bytes([0xa5])), ("missing", bytes(48))):
                pool = Pool()
                pool.detach()
                pool.put(at + (24 if what == "damaged" else 0), damage)
                self.assertEqual(self.unchanged(pool, "info")["state"], "clean")
                self.check(pool, FOUND, **{name: what})
        pool = Pool()
        pool.detach()
        pool.put(COPY, superblock(pool.frames, bytes(16)))
        self.check(pool, FOUND, superblock="good", copy="differs")

    def test_every_byte_of_a_superblock(self):
        """The program detects a change of every byte of a superblock."""
        pool = Pool(2 * CHILD)
        pool.detach()
        for i in range(poolformat.SUPER.size):
            pool.flip(SUPER + i, 0x10)
            self.check(pool, FOUND, superblock="missing" if i < 8 else "damaged")
            pool.flip(SUPER + i, 0x10)

    def test_no_pool(self):
        pool = Pool()
        for at in SUPER, COPY:
            pool.put(at, bytes(8))
        self.refused(pool, "ENODEV", "no pool", FAILED)
        pool.data = bytearray(MIB)
        self.refused(pool, "ENODEV", "no pool", FAILED)
        pool.data = bytearray()
        self.refused(pool, "ENODEV", "no pool", FAILED)

    def test_both_superblocks(self):
        pool = Pool()
        for at in SUPER, COPY:
            pool.flip(at + 40)
        self.refused(pool, "EIO", "both", DAMAGED)
        # A number of frames that no pool can have
        pool = Pool()
        for at in SUPER, COPY:
            pool.put(at, superblock(CHILD))
        self.refused(pool, "EIO", "both", DAMAGED)

    def test_foreign(self):
        for name, text, block in (
                ("EMEDIUMTYPE", "byte order", struct.pack(">Q", MAGIC)),
                ("EMEDIUMTYPE", "size", superblock(8192, shift=16)),
                ("EPROTONOSUPPORT", "version", superblock(8192, version=2)),
                ("EPROTONOSUPPORT", "flags", superblock(8192, flags=4))):
            pool = Pool(8192)
            pool.put(SUPER, block)
            self.refused(pool, name, text, FAILED)
            pool.put(COPY, block)
            self.refused(pool, name, text, FAILED)

    def test_size_of_medium(self):
        pool = Pool(16 * CHILD)
        pool.detach()
        pool.data += bytes(MIB)
        self.check(pool, 0, size=str(32 * MIB))
        del pool.data[32 * MIB - 1:]
        self.refused(pool, "ENOSPC", "smaller", DAMAGED)

    def test_damaged_rows(self):
        rng = random.Random(2)
        for _ in range(20):
            pool = Pool(16 * CHILD - 3)
            pool.commit(rng.choices(range(pool.first, pool.frames), k=99))
            pool.detach()
            self.check(pool, 0, rows_crc="good")
            frame = rng.randrange(pool.first, pool.frames)
            pool.flip(ROWS + frame // 8, 1 << frame % 8)
            self.check(pool, DAMAGED, rows_crc="wrong")
            # After a crash, the checksum is not valid.
            pool.crash()
            self.check(pool, FOUND, rows_crc="not known")

    def test_impossible_bits(self):
        pool = Pool(16 * CHILD - 3)
        for frame, expected in ((0, {"metadata_free": "4096"}),
                                (CHILD - 1, {"metadata_free": "4096"}),
                                (pool.frames, {"behind_end": "4096"}),
                                (16 * CHILD - 1, {"behind_end": "4096"})):
            for end in pool.detach, pool.crash:
                pool.flip(ROWS + frame // 8, 1 << frame % 8)
                end()
                self.check(pool, DAMAGED, **expected)
                pool.flip(ROWS + frame // 8, 1 << frame % 8)

    # arguments

    def test_help(self):
        for args in (["--help"], ["create", "--help"], ["sweep", "-h"]):
            ended = subprocess.run([f"{self.tmp}/llpool", *args], check=True,
                                   capture_output=True, text=True)
            self.assertEqual(ended.stderr, "")
            self.assertIn("llpool", ended.stdout)

    def test_bad_arguments(self):
        for args in ([], ["nothing"], ["create"], ["info", "a", "b"], ["info", "--force", "a"],
                     ["alloc", "--order", "11", "a"], ["alloc", "--nr", "0", "a"],
                     ["create", "--size"], ["root", "a"]):
            status, _, err = self.llpool(*args)
            self.assertEqual(status, FAILED)
            self.assertTrue(err)

    def test_no_device(self):
        path = self.write(Pool().data)
        for args in (["sweep", path, "-"], ["alloc", path], ["commit", path, "0x200000"],
                     ["free", path, "0x200000"], ["root", path, "0"]):
            self.bad("ENODEV", "no pool that is attached", *args)
        for command in "info", "check", "alloc":
            self.bad("ENOTTY", "no pool", command, "/dev/null")
        self.bad("EINVAL", "no file", "info", "/")
        self.bad("EINVAL", "no root", "root", path, "64")
        self.bad("EINVAL", "neither", "root", path, "0", "1")


class Attached(Llpool):
    """Tests of commands for /dev/ndpoolN"""
    build = ("-C", f"{TOP}/tools/testing/nd_pool", "programs")
    frames = 8 * CHILD

    def setUp(self):
        path = self.path()
        self.env.pop("ND_POOL_READ_ONLY", None)
        self.env["ND_POOL_FILE"] = path
        self.good("create", "--size", str(self.frames * FRAME), path)

    def lines(self, *args, status=0):
        got, out, err = self.run_llpool(args)
        self.assertEqual((got, err), (status, ""))
        return out.splitlines()

    def alloc(self, nr=1, order=0):
        """Allocate blocks and return their offsets."""
        lines = self.lines("alloc", "--nr", str(nr), "--order", str(order), "/dev/null")
        blocks = [tuple(int(word, 0) for word in line.split()) for line in lines]
        self.assertEqual([block[1] for block in blocks], [order] * nr)
        for offset, _ in blocks:
            self.assertEqual(offset % (FRAME << order), 0)
            self.assertGreaterEqual(offset, CHILD * FRAME)
        self.assertEqual(len(set(blocks)), nr)
        return [block[0] for block in blocks]

    def free_frames(self):
        return int(self.good("info", "/dev/null")["free"]) // FRAME

    def test_info(self):
        keys = self.good("info", "/dev/null")
        self.assertEqual(
            {key: keys[key] for key in ("kind", "state", "session", "size", "first",
                                        "was_dirty", "rows_damaged", "persistence")},
            {"kind": "attached", "state": "active", "session": "1",
             "size": str(self.frames * FRAME), "first": str(CHILD * FRAME),
             "was_dirty": "yes", "rows_damaged": "no", "persistence": "memory_controller"})
        self.assertEqual(self.good("info", "/dev/null")["was_dirty"], "no")
        # The medium has the same state.
        self.alloc(3)
        medium = self.good("info", self.env["ND_POOL_FILE"])
        attached = self.good("check", "/dev/null")
        for key in "uuid", "size", "first", "free", "free_huge", "committed":
            self.assertEqual(medium[key], attached[key])

    def test_blocks(self):
        free = self.free_frames()
        self.assertEqual(free, self.frames - CHILD)
        blocks = {order: self.alloc(2, order) for order in (0, 1, 6, 9, 10)}
        self.assertEqual(self.free_frames(), free - 2 * (1 + 2 + 64 + 512 + 1024))
        for order, offsets in blocks.items():
            offsets = [hex(offset) for offset in offsets]
            self.lines("commit", "--order", str(order), "/dev/null", *offsets)
            self.lines("free", "--order", str(order), "/dev/null", *offsets)
            self.bad("EINVAL", "no allocated block", "free", "-o", str(order), "/dev/null",
                     *offsets)
            self.bad("EINVAL", "no allocated block", "commit", "-o", str(order),
                     "/dev/null", *offsets)
        self.assertEqual(self.free_frames(), free)

    def test_uncommitted(self):
        free = self.free_frames()
        self.assertEqual(len(self.lines("alloc", "--uncommitted", "/dev/null")), 1)
        self.assertEqual(self.free_frames(), free)

    def test_full(self):
        self.alloc(self.frames // CHILD - 1, 9)
        self.bad("ENOMEM", "no free block", "alloc", "/dev/null")
        self.setUp()
        # Blocks that could be allocated are printed, and stay allocated.
        status, out, err = self.run_llpool(["alloc", "-o", "10", "-r", "9", "/dev/null"])
        self.assertEqual((status, len(out.splitlines())), (FAILED, 3))
        self.assertRegex(err, r"no free block .*\(ENOMEM\)")
        self.assertEqual(self.free_frames(), CHILD)

    def test_bad_blocks(self):
        for command in "commit", "free":
            for offset in ("0x201", "0x200001", "-4096", "x", ""):
                self.bad("EINVAL", "no offset", command, "/dev/null", "--", offset)
            self.bad("EINVAL", "no offset", command, "-o", "1", "/dev/null", "0x201000")
            for offset in ("0", "0x1000", hex(self.frames * FRAME), hex(1 << 60)):
                self.bad("EINVAL", "no allocated block", command, "/dev/null", offset)

    def test_roots(self):
        self.assertEqual(self.lines("root", "/dev/null", "5"), ["0"])
        self.assertEqual(self.lines("root", "/dev/null", "5", "0", "0x1234"), ["0"])
        self.assertEqual(self.lines("root", "/dev/null", "5", "0", "7", status=FOUND),
                         ["0x1234"])
        self.assertEqual(self.lines("root", "/dev/null", "5"), ["0x1234"])
        self.assertEqual(self.good("check", self.env["ND_POOL_FILE"])["root 5"], "0x1234")

    def test_sweep(self):
        keep = self.alloc(2) + self.alloc(1)
        big = self.alloc(1, 9)[0]
        self.alloc(5, 3)
        text = "# live\n\n" + "".join(f"{offset:#x} 0\n" for offset in keep) + f"  {big}\t9\n"
        free = self.free_frames()
        self.assertEqual(self.good("sweep", "/dev/null", "-", stdin=text),
                         {"freed": "40", "missing": "0"})
        self.assertEqual(self.free_frames(), free + 40)
        path = self.path("map")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        self.assertEqual(self.good("sweep", "/dev/null", path), {"freed": "0", "missing": "0"})
        # A live frame that is free is reported, and stays free.
        self.lines("free", "/dev/null", hex(keep[0]))
        self.assertEqual(self.good("sweep", "/dev/null", path, status=FOUND),
                         {"freed": "0", "missing": "1"})
        self.assertEqual(self.free_frames(), free + 41)
        self.bad("EINVAL", "empty map", "sweep", "/dev/null", "-", stdin="# none\n")
        self.assertEqual(self.good("sweep", "--force", "/dev/null", "-"),
                         {"freed": str(CHILD + 2), "missing": "0"})
        self.assertEqual(self.free_frames(), self.frames - CHILD)

    def test_bad_maps(self):
        """A map with a wrong line frees no frame."""
        offset = self.alloc()[0]
        end = self.frames * FRAME
        for line, text in (
                ("x", "no offset"), ("0x200000", "no offset"), ("0x200000 0 0", "no offset"),
                ("0x200000 -1", "no offset"), ("-4096 0", "no offset"),
                ("0x200000 11", "not aligned"), ("0x201000 1", "not aligned"),
                ("0x200800 0", "not aligned"), ("0 0", "not in the pool"),
                ("0x1ff000 0", "not in the pool"), (f"{end} 0", "not in the pool"),
                (f"{1 << 63} 0", "not in the pool"), (f"{offset} 0", "live twice"),
                (f"{offset & ~0xffff} 4", "live twice")):
            status, out, err = self.run_llpool(["sweep", "/dev/null", "-"],
                                               f"{offset} 0\n{line}\n")
            self.assertEqual((status, out), (FAILED, ""))
            self.assertRegex(err, rf"^llpool: line 2 of the map: {text}.* \(EINVAL\)\n$")
        self.bad("ENOENT", "cannot be opened", "sweep", "/dev/null", "/nothing")
        self.assertEqual(self.free_frames(), self.frames - CHILD - 1)

    def test_read_only(self):
        offset = hex(self.alloc()[0])
        self.env["ND_POOL_READ_ONLY"] = "1"
        self.assertEqual(self.good("info", "/dev/null")["state"], "read-only")
        for args in (["alloc", "/dev/null"], ["commit", "/dev/null", offset],
                     ["free", "/dev/null", offset], ["root", "/dev/null", "0", "0", "1"],
                     ["sweep", "-f", "/dev/null", "-"]):
            self.bad("EROFS", "read-only", *args)
        self.assertEqual(self.llpool("check", "/dev/null")[0], DAMAGED)

    def test_after_a_crash(self):
        """The driver finds the same state at attach as a check of the medium."""
        path = self.env["ND_POOL_FILE"]
        self.alloc(7)
        with open(path, "r+b") as f:
            f.seek(STATE)
            f.write(struct.pack("<Q", 9))
        self.assertEqual(self.llpool("check", path)[1]["result"], "dirty")
        keys = self.good("check", "/dev/null")
        self.assertEqual((keys["was_dirty"], keys["session"], keys["committed"]),
                         ("yes", "5", str(7 * FRAME)))
        with open(path, "r+b") as f:
            f.seek(ROWS + CHILD // 8 + 40)
            f.write(b"\1")
        self.assertEqual(self.llpool("check", path)[1]["rows_crc"], "wrong")
        status, keys, _ = self.llpool("check", "/dev/null")
        self.assertEqual((status, keys["rows_damaged"]), (DAMAGED, "yes"))

    def test_damaged_superblock_is_written_again(self):
        path = self.env["ND_POOL_FILE"]
        self.good("info", "/dev/null")
        for at in SUPER, COPY:
            with open(path, "r+b") as f:
                f.seek(at + 20)
                f.write(b"\xee")
            self.good("check", path, status=FOUND)
            self.good("info", "/dev/null")
            self.good("check", path)

    def test_in_use(self):
        with open(self.env["ND_POOL_FILE"], "rb") as f:
            fcntl.flock(f, fcntl.LOCK_SH)
            self.bad("EBUSY", "another program", "info", "/dev/null")
