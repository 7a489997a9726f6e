# SPDX-License-Identifier: GPL-2.0
"""Test tools/mm/llfree-dump.c with generated dumps, good and damaged ones.

The program is built with sanitizers. With every dump, the program has to end with one of
its exit statuses, and with one line of text if it fails."""

import os
import random
import re
import shutil
import struct
import subprocess
import tempfile
import unittest

from llfree.paths import TOP

SOURCE = f"{TOP}/tools/mm/llfree-dump.c"
DAMAGED, BUDDY, UNKNOWN = 1, 2, 3
SANITIZER = 99

PAGE = 4096
CHILD, ROW = 512, 64
SECTION = 64 * CHILD            # frames whose rows are a page
KERNEL = 0xffffffff80000000
DIRECT = {4: 0xffff888000000000, 5: 0xff11000000000000}
VMALLOC = {4: 0xffffc90000000000, 5: 0xffa0000000000000}
PHYS_BASE = 0x600000
MEMORY = 0x600000               # where the memory of a dump begins
SIZE = 0x80000
ENCRYPTED = 1 << 51
RELEASE = "6.12.0-test"
PT_LOAD, PT_NOTE = 1, 4
EM_386, EM_X86_64, EM_AARCH64 = 3, 62, 183
NORMAL, ISOLATED = 0, 3
MUTATIONS = int(os.environ.get("MUTATIONS", "200"))

# Offsets in structures, as no kernel has them
ZONE = {"size": 320, "spanned": 8, "name": 24, "llfree": 40, "vm_stat": 64}
NODE = {"zones": 48, "nr_zones": 8, "id": 20}
CORE = 32
LLFREE = {"first": 0, "end": 8, "rows": 48, "children": 56}
COUNTER = 3                     # NR_FREE_PAGES
TURN_SHIFT = 13
HOLE = 0x1c00


class Zone:
    """A zone with random bits, and the frames that the program has to find"""

    def __init__(self, rng, name, first, end, present=lambda frame: True):
        self.name, self.first, self.end = name, first, end
        self.spanned = end - first
        self.instance = True    # does zone->llfree point to one?
        self.base = first // CHILD * CHILD
        self.counter = rng.randrange(1 << 40)
        self.free, self.isolated, self.differ = set(), 0, 0
        self.children = []
        for start in range(self.base, end, CHILD):
            if rng.random() < 0.1 or not present(start):
                self.children.append(HOLE)
                continue
            density = rng.choice((0, 0.02, 0.5, 0.98, 1))
            free = {f for f in range(max(start, first),
                                     min(start + CHILD, end))
                    if rng.random() < density}
            self.free |= free
            view = rng.choice((NORMAL, NORMAL, 1, ISOLATED))
            count = len(free)
            if view == ISOLATED:
                self.isolated += count
            if rng.random() < 0.1:
                count = (count + 1) % (CHILD + 1)
                self.differ += 1
            # The bit of a child that a hypervisor knows does not matter, but only a child
            # with free frames has this bit. Of the turn, only the lowest bit matters.
            known = rng.randrange(2) if count else 0
            self.children.append(count | view << 10 | known << 12 |
                                 rng.randrange(8) << TURN_SHIFT)

    def rows(self):
        """Return the rows. Frames outside the zone are allocated; rows of a hole are 0."""
        data = []
        for nth, word in enumerate(self.children):
            bits = 0
            if word != HOLE:
                start = self.base + nth * CHILD
                bits = sum(1 << i for i in range(CHILD) if start + i not in self.free)
                bits ^= ((1 << CHILD) - 1) * (word >> TURN_SHIFT & 1)
            data.append(bits.to_bytes(CHILD // 8, "little"))
        return b"".join(data)

    def ranges(self):
        found = []
        for frame in sorted(self.free):
            if found and found[-1][1] == frame - 1:
                found[-1][1] = frame
            else:
                found.append([frame, frame])
        return found


class Dump:
    """An ELF core of a kernel that does not exist"""

    def __init__(self, seed=1, levels=4, numa=True, **info):
        self.rng = random.Random(seed)
        self.levels, self.numa = levels, numa
        self.memory = bytearray(SIZE)
        self.used = MEMORY
        self.parts = {}         # name: (first byte, size) in memory
        self.top = self.page("top")
        self.nodes = self.make_zones()
        self.info = self.make(info)
        self.note = True
        self.headers = None
        self.machine, self.bits, self.type = EM_X86_64, 2, 4
        self.decoy = False

    # memory

    def page(self, name, nr=1):
        """Return the physical address of new pages."""
        at = self.used
        self.used += nr * PAGE
        assert self.used <= MEMORY + SIZE
        self.parts.setdefault(name, (at - MEMORY, nr * PAGE))
        return at

    def put(self, paddr, data):
        at = paddr - MEMORY
        assert 0 <= at <= SIZE - len(data)
        self.memory[at:at + len(data)] = data

    def put64(self, paddr, value):
        self.put(paddr, struct.pack("<Q", value))

    def map(self, vaddr, paddr, order=0):
        """Map a page of 4 KiB, of 2 MiB (order 1) or of 1 GiB (order 2)."""
        table = self.top
        for level in range(self.levels - 1, order - 1, -1):
            entry = table + (vaddr >> (12 + 9 * level) & 511) * 8
            if level == order:
                # Bit 12 in the entry of a large page is not part of the address.
                value = paddr | 0x80 | 1 << 12 if order else paddr
                self.put64(entry, value | 3 | 1 << 63 | ENCRYPTED)
                return
            old, = struct.unpack_from("<Q", self.memory, entry - MEMORY)
            if not old:
                old = self.page("tables") | 3 | ENCRYPTED
                self.put64(entry, old)
            table = old & 0x0007fffffffff000

    def kernel(self, name):
        """Return (address, physical address) of a new page of the kernel's data."""
        paddr = self.page(name)
        return KERNEL + paddr - PHYS_BASE, paddr

    def scattered(self, data, at):
        """Put data into pages that do not follow each other, and return the address."""
        nr = len(data) // PAGE + 2
        pages = [self.page("rows") for _ in range(nr)]
        self.rng.shuffle(pages)
        vaddr = VMALLOC[self.levels] + at
        for i, paddr in enumerate(pages):
            self.map(vaddr + i * PAGE, paddr)
        # Not at the start of a page
        first = vaddr + PAGE - 64
        for i, byte in enumerate(data):
            page, rest = divmod(PAGE - 64 + i, PAGE)
            self.memory[pages[page] + rest - MEMORY] = byte
        return first

    # structures

    def make_zones(self):
        """Return the zones of each node; None stands for a zone without frames."""
        rng = self.rng
        nodes = [[Zone(rng, "DMA", 1, 3001), None,
                  Zone(rng, "Normal", 4096 + 7, 4096 + 75 * CHILD + 13)]]
        if self.numa:
            nodes += [None, [Zone(rng, "Movable", 1 << 20, (1 << 20) + 4096)]]
        return nodes

    def direct(self, paddr):
        return DIRECT[self.levels] + paddr

    def words(self, zone, nth):
        """Return the addresses of the first words of a zone: (rows, children)."""
        rows = self.scattered(zone.rows(), nth << 30)
        at = self.page("children")
        self.put(at, struct.pack(f"<{len(zone.children)}H", *zone.children))
        return rows, self.direct(at)

    def make_zone(self, zone, place, nth):
        names, llfree = self.page("name"), self.page("llfree")
        self.put(names, zone.name.encode() + b"\0")
        rows, children = self.words(zone, nth)
        for key, value in (("spanned", zone.spanned),
                           ("name", self.direct(names)),
                           ("llfree", self.direct(llfree) * zone.instance)):
            self.put64(place + ZONE[key], value)
        self.put64(place + ZONE["vm_stat"] + COUNTER * 8, zone.counter)
        for key, value in (("first", zone.first), ("end", zone.end),
                           ("rows", rows - zone.base // 8),
                           ("children", children - zone.base // CHILD * 2)):
            self.put64(llfree + CORE + LLFREE[key], value % (1 << 64))

    def make(self, changed):
        """Fill memory, and return the text of vmcoreinfo."""
        self.map(DIRECT[self.levels], 0, 2)
        self.map(KERNEL, PHYS_BASE, 1)
        uts, at = self.kernel("uts")
        self.put(at + 16 + 130, RELEASE.encode() + b"\0")
        table, pointers = self.kernel("node_data")
        where = None
        for nid, zones in enumerate(self.nodes):
            if not zones:
                continue
            node = self.page("node")
            where = self.direct(node)
            self.put64(pointers + nid * 8, where)
            self.put(node + NODE["nr_zones"], struct.pack("<I", len(zones)))
            self.put(node + NODE["id"], struct.pack("<I", nid))
            for i, zone in enumerate(zones):
                if zone:
                    self.make_zone(zone, node + NODE["zones"] +
                                   i * ZONE["size"], nid * 4 + i)
        info = {
            "OSRELEASE": RELEASE, "PAGESIZE": PAGE,
            "SYMBOL(init_uts_ns)": f"{uts:x}", "OFFSET(uts_namespace.name)": 16,
            "SYMBOL(init_top_pgt)": f"{KERNEL + self.top - PHYS_BASE:x}",
            "NUMBER(phys_base)": PHYS_BASE,
            "NUMBER(pgtable_l5_enabled)": int(self.levels == 5),
            "NUMBER(sme_mask)": ENCRYPTED,
            "OFFSET(pglist_data.node_zones)": NODE["zones"],
            "OFFSET(pglist_data.nr_zones)": NODE["nr_zones"],
            "OFFSET(pglist_data.node_id)": NODE["id"],
            "SIZE(zone)": ZONE["size"],
            "OFFSET(zone.spanned_pages)": ZONE["spanned"],
            "OFFSET(zone.name)": ZONE["name"],
            "OFFSET(zone.llfree)": ZONE["llfree"],
            "OFFSET(zone.vm_stat)": ZONE["vm_stat"],
            "NUMBER(NR_FREE_PAGES)": COUNTER,
            "OFFSET(zone_llfree.core)": CORE,
            "NUMBER(LLFREE_ACTIVE)": 1, "NUMBER(LLFREE_LAYOUT)": 3,
            "NUMBER(LLFREE_ROW_FRAMES)": ROW,
            "NUMBER(LLFREE_CHILD_FRAMES)": CHILD,
            "NUMBER(LLFREE_CHILD_TURN_SHIFT)": TURN_SHIFT,
            "NUMBER(LLFREE_CHILD_FREE_MASK)": 0x3ff,
            "NUMBER(LLFREE_CHILD_HOLE)": HOLE,
            "NUMBER(LLFREE_CHILD_VIEW_SHIFT)": 10,
            "NUMBER(LLFREE_CHILD_VIEW_MASK)": 0xc00,
            "NUMBER(LLFREE_VIEW_ISOLATED)": ISOLATED,
            **{f"OFFSET(llfree.{k})": v for k, v in LLFREE.items()},
        }
        if self.numa:
            info["SYMBOL(node_data)"] = f"{table:x}"
            info["LENGTH(node_data)"] = len(self.nodes)
        else:
            info["SYMBOL(contig_page_data)"] = f"{where:x}"
        info.update({k.replace("__", "(") + ")" * ("__" in k): v
                     for k, v in changed.items()})
        return info

    # the file

    def text(self):
        return "".join(f"{k}={v}\n" for k, v in self.info.items()
                       if v is not None).encode()

    def data(self):
        """Return the file, and the offset at which its memory begins."""
        memory = bytearray(self.memory)
        at = self.used - MEMORY
        if self.decoy:
            memory[at:at + 28] = b"OSRELEASE=some-other-kernel\n"
            at += PAGE
        if not self.note:
            text = self.text()
            memory[at:at + len(text)] = text
        notes = b""
        for name, desc in ((b"CORE\0", b"x" * 21),
                           (b"VMCOREINFO\0", self.text())):
            if self.note or name[0] == ord("C"):
                notes += struct.pack("<III", len(name), len(desc), 0)
                notes += name.ljust(-len(name) % 4 + len(name), b"\0")
                notes += desc.ljust(-len(desc) % 4 + len(desc), b"\0")
        # Two segments; mapped data crosses from one segment to the other.
        cut = 37 * PAGE + 1234
        loads = [(0, 0, cut), (0, 0, 0), (cut, cut, SIZE - cut)]
        extended = self.headers == "extended"
        phoff, phnum = 64 + 64 * extended, len(loads) + 2
        start = phoff + 56 * phnum + len(notes)
        head = bytes((0x7f, 0x45, 0x4c, 0x46, self.bits, 1, 1)) + bytes(9)
        head += struct.pack("<HHIQQQIHHHHHH", self.type, self.machine, 1, 0,
                            phoff, 64 * extended, 0, 64, 56,
                            0xffff if extended else phnum, 64, extended, 0)
        if extended:
            head += struct.pack("<IIQQQQIIQQ", 0, 0, 0, 0, 0, 0, 0, phnum, 0, 0)
        head += struct.pack("<IIQQQQQQ", PT_NOTE, 0, phoff + 56 * phnum, 0, 0,
                            len(notes), 0, 0)
        # A segment of virtual memory only, as in /proc/kcore
        head += struct.pack("<IIQQQQQQ", PT_LOAD, 0, 0, VMALLOC[4], (1 << 64) - 1,
                            1 << 40, 1 << 40, PAGE)
        for offset, paddr, size in loads:
            head += struct.pack("<IIQQQQQQ", PT_LOAD, 0, start + offset, 0,
                                MEMORY + paddr, size, size, 0)
        return head + notes + memory, start

    def expected(self, ranges):
        """Return the lines that the program prints of each zone."""
        out = []
        for nid, zones in enumerate(self.nodes):
            for zone in (z for z in zones or () if z and z.instance):
                out.append([str(nid), zone.name, *map(str, (
                    zone.first, zone.end, len(zone.free), zone.isolated,
                    zone.counter, zone.differ))])
                if ranges:
                    out += [["free", str(a), str(b)] for a, b in zone.ranges()]
        return out


class GrownDump(Dump):
    """A dump with zones whose words are mapped as mm/llfree_hotplug.c maps them"""

    def __init__(self, zones):
        self.zones = zones
        self.holes = {}         # {data of a page of holes: its address, for all zones}
        super().__init__()

    def make_zones(self):
        return [self.zones(self.rng)]

    def mapped(self, data, skip, hole, vaddr):
        """Map data to scattered pages, after skip bytes of the first page. Return the address.

        All pages that have only words of holes are the same page."""
        data = hole[:skip] + data
        data += hole[:-len(data) % PAGE]
        starts = list(range(0, len(data), PAGE))
        self.rng.shuffle(starts)
        for at in starts:
            page = data[at:at + PAGE]
            paddr = self.holes.get(page) or self.page("words")
            if page == hole:
                self.holes[page] = paddr
            self.put(paddr, page)
            self.map(vaddr + at, paddr)
        return vaddr + skip

    def words(self, zone, nth):
        found = []
        for kind, data, size, hole in (
                (0, zone.rows(), CHILD // 8, bytes(PAGE)),
                (1, struct.pack(f"<{len(zone.children)}H", *zone.children), 2,
                 struct.pack("<H", HOLE) * (PAGE // 2))):
            found.append(self.mapped(data, zone.base // CHILD * size % PAGE, hole,
                                     VMALLOC[4] + (nth << 30) + (kind << 29)))
        return found


class Reader(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not shutil.which("gcc"):
            raise unittest.SkipTest("gcc is not installed")
        tmp = tempfile.TemporaryDirectory()
        cls.addClassCleanup(tmp.cleanup)
        cls.tmp = tmp.name
        subprocess.run(["gcc", "-O1", "-g", "-Wall", "-Wextra", "-Werror",
                        "-fsanitize=address,undefined",
                        "-fno-sanitize-recover=all",
                        "-o", f"{cls.tmp}/llfree-dump", SOURCE], check=True)

    def run_reader(self, *args):
        """Run the program and return (exit status, output, errors). Fail if a sanitizer
        reports an error."""
        found = f"exitcode={SANITIZER}"
        ended = subprocess.run(
            [f"{self.tmp}/llfree-dump", *args], stdin=subprocess.DEVNULL,
            capture_output=True, check=False, timeout=120,
            env={**os.environ, "ASAN_OPTIONS": found, "UBSAN_OPTIONS": found})
        err = ended.stderr.decode(errors="replace")
        self.assertIn(ended.returncode, (0, DAMAGED, BUDDY, UNKNOWN), err)
        return ended.returncode, ended.stdout.decode(errors="replace"), err

    def write(self, data, name="dump"):
        path = f"{self.tmp}/{name}"
        with open(path, "wb") as f:
            f.write(data)
        return path

    def good(self, dump, *options):
        path = self.write(dump.data()[0])
        for ranges in (), ("--ranges",):
            status, out, err = self.run_reader(*options, *ranges, path)
            self.assertEqual((status, err), (0, ""))
            self.assertEqual([line.split() for line in out.splitlines()[1:]],
                             dump.expected(ranges))

    def bad(self, data, status, text, *options):
        got, _, err = self.run_reader(*options, self.write(data))
        self.assertEqual((got, len(err.splitlines())), (status, 1), err)
        self.assertTrue(err.startswith("llfree-dump: "), err)
        self.assertRegex(err, text)

    # good dumps

    def test_four_levels(self):
        for seed in range(5):
            self.good(Dump(seed))

    def test_five_levels(self):
        self.good(Dump(levels=5))

    def test_one_node(self):
        self.good(Dump(numa=False))

    def test_many_headers(self):
        dump = Dump()
        dump.headers = "extended"
        self.good(dump)

    def test_search(self):
        dump = Dump()
        dump.note = False
        self.good(dump)
        dump.decoy = True
        self.good(dump)

    def test_text_from_file(self):
        dump = Dump()
        path = self.write(dump.text(), "text")
        dump.note = False
        self.good(dump, "--vmcoreinfo", path)
        # It comes before the note.
        dump.note = True
        dump.info["NUMBER(LLFREE_LAYOUT)"] = 7
        self.good(dump, "-v", path)

    # zones that have grown

    def test_scattered_words(self):
        """Pages of rows and of children follow each other only by their addresses."""
        # Children of the sections 31 and 32 are in different pages.
        dump = GrownDump(lambda rng: [Zone(rng, "Normal", 29 * SECTION + 9 * CHILD + 3,
                                           34 * SECTION - 70)])
        self.assertFalse(dump.holes)
        self.good(dump)

    def test_holes(self):
        """One page has the rows of all holes, and another page has their children."""
        there = 31, 32, 128, 129
        dump = GrownDump(lambda rng: [
            Zone(rng, "Normal", 3 * CHILD, 8 * SECTION,
                 lambda frame: frame // SECTION in (0, 7)),
            Zone(rng, "Movable", 31 * SECTION + 5, 130 * SECTION - 7 * CHILD,
                 lambda frame: frame // SECTION in there)])
        self.assertEqual(len(dump.holes), 2)
        # Holes of 122 sections are in the ranges, and take no memory.
        self.assertLess(dump.used - MEMORY, 40 * PAGE)
        self.good(dump)

    def test_empty_range(self):
        """A zone whose last memory is removed has no memory, but still spans some."""
        def zones(rng):
            empty = Zone(rng, "Movable", 40 * SECTION, 40 * SECTION)
            empty.spanned = SECTION
            return [Zone(rng, "DMA", 1, 3001), empty,
                    Zone(rng, "Normal", 5 * SECTION, 6 * SECTION)]
        dump = GrownDump(zones)
        self.good(dump)
        self.assertIn(["0", "Movable", *[str(40 * SECTION)] * 2, "0", "0",
                       str(dump.nodes[0][1].counter), "0"], dump.expected(False))

    def test_no_instance(self):
        """A zone that spans memory may have no pointer to LLFree, such as ZONE_DEVICE."""
        def zones(rng):
            device = Zone(rng, "Device", 7 * SECTION, 8 * SECTION)
            device.instance = False
            return [Zone(rng, "Normal", 5 * SECTION, 6 * SECTION), device,
                    Zone(rng, "Movable", 8 * SECTION, 9 * SECTION)]
        dump = GrownDump(zones)
        self.good(dump)
        self.assertEqual(len(dump.expected(False)), 2)

    def test_layout_of_the_core(self):
        """The program knows the layout that the core has."""
        numbers = []
        for path, name in ((SOURCE, "KNOWN_LAYOUT"),
                           (f"{TOP}/lib/llfree/words.h", "LLFREE_LAYOUT")):
            with open(path, encoding="utf-8") as f:
                numbers += re.findall(rf"^#define {name}\s+(\d+)$", f.read(),
                                      re.M)
        self.assertEqual(len(numbers), 2)
        self.assertEqual(numbers[0], numbers[1])

    def test_help(self):
        status, out, err = self.run_reader("--help")
        self.assertEqual((status, err), (0, ""))
        for option in "--ranges", "--vmcoreinfo", "--help":
            self.assertIn(option, out)
        for args in (), ("--nothing",), ("one", "two"):
            status, out, err = self.run_reader(*args)
            self.assertEqual((status, out), (DAMAGED, ""))
            self.assertIn("Usage:", err)

    # dumps that the program cannot read

    def test_buddy(self):
        self.bad(Dump(NUMBER__LLFREE_ACTIVE=0).data()[0], BUDDY,
                 "booted with the buddy allocator")
        self.bad(Dump(NUMBER__LLFREE_ACTIVE=None).data()[0], BUDDY,
                 "has no LLFree")

    def test_unknown(self):
        for name, value, text in (("NUMBER__LLFREE_LAYOUT", 1, "layout 1 "),
                                  ("NUMBER__LLFREE_ROW_FRAMES", 32, "rows of 32"),
                                  ("NUMBER__LLFREE_CHILD_FRAMES", 0,
                                   "children of 0"),
                                  ("PAGESIZE", 16384, "pages of 4096")):
            self.bad(Dump(**{name: value}).data()[0], UNKNOWN, text)
        dump = Dump()
        for machine, bits in (EM_AARCH64, 2), (EM_386, 1):
            dump.machine, dump.bits = machine, bits
            self.bad(dump.data()[0], UNKNOWN, f"machine {machine}")
        self.bad(b"KDUMP   " + bytes(PAGE), UNKNOWN, "compressed")

    # damaged dumps

    def test_no_dump(self):
        status, _, err = self.run_reader(f"{self.tmp}/nothing")
        self.assertEqual(status, DAMAGED)
        self.assertIn("No such file", err)
        for data, text in ((b"", "truncated"), (b"text" * 100, "no ELF"),
                           (bytes(64), "no ELF")):
            self.bad(data, DAMAGED, text)
        dump = Dump()
        dump.type = 2
        self.bad(dump.data()[0], DAMAGED, "no core file")
        self.bad(Dump().data()[0], DAMAGED, "nothing.txt: No such file",
                 "--vmcoreinfo", f"{self.tmp}/nothing.txt")

    def test_truncated(self):
        data, start = Dump().data()
        for size in (1, 63, 64, 100, 400, start - 1, start, start + 1,
                     len(data) // 2, len(data) - 1):
            self.bad(data[:size], DAMAGED, "truncated|not in the file")

    def test_no_text(self):
        dump = Dump()
        dump.note = False
        dump.info["OSRELEASE"] = "another"
        self.bad(dump.data()[0], DAMAGED, "no vmcoreinfo in it")
        dump.note = True
        self.bad(dump.data()[0], DAMAGED, "another kernel")

    def test_missing_keys(self):
        """Each entry that the program uses is needed, and has to be a number."""
        optional = {"NUMBER(pgtable_l5_enabled)", "NUMBER(LLFREE_ACTIVE)",
                    "OSRELEASE"}
        dump = Dump()
        for key in [k for k in dump.info if k not in optional]:
            old = dump.info[key]
            for value in None, "", "much":
                dump.info[key] = value
                status, _, err = self.run_reader(self.write(dump.data()[0]))
                self.assertEqual((status, len(err.splitlines())), (DAMAGED, 1),
                                 f"{key}={value}: {err}")
            dump.info[key] = old

    def test_damaged_structures(self):
        dump = Dump()
        memory = bytes(dump.memory)
        for part, offset, value, text in (
                ("top", 256 * 8 + 136, 0, "not mapped"),
                ("tables", 0, MEMORY + SIZE | 3, "not in the dump|not mapped"),
                ("node_data", 0, 0x123456789abcdef0, "is no address"),
                ("node", NODE["nr_zones"], 99, "99 zones"),
                ("node", NODE["id"], 5, "number 5"),
                ("name", 0, 0x0a0a0a, "name of a zone"),
                ("llfree", CORE + LLFREE["end"], 0, "frames 1 to 0"),
                ("llfree", CORE + LLFREE["end"], 1 << 60, "is damaged"),
                ("llfree", CORE + LLFREE["first"], 1 << 60, "frames"),
                ("llfree", CORE + LLFREE["rows"], 0, "not mapped"),
                ("llfree", CORE + LLFREE["rows"], DIRECT[4] + 64,
                 "not in the dump"),
                ("llfree", CORE + LLFREE["children"], 0, "not mapped")):
            at = dump.parts[part][0] + offset
            size = 4 if part == "node" else 8
            dump.memory[at:at + size] = value.to_bytes(size, "little")
            if part == "tables":
                # Any table: all of the first one
                dump.memory[at:at + PAGE] = value.to_bytes(8, "little") * 512
            self.bad(dump.data()[0], DAMAGED, text)
            dump.memory[:] = memory

    def test_random_damage(self):
        """With random damage, the program prints an error or works."""
        dump = Dump()
        data, start = dump.data()
        rng = random.Random(2)
        areas = [(0, 64 + 56 * 5), (64 + 56 * 5, start)]
        areas += [(start + at, start + at + size) for name, (at, size) in
                  dump.parts.items()]
        seen = set()
        for _ in range(MUTATIONS):
            wrong = bytearray(data)
            for _ in range(rng.choice((1, 1, 2, 8))):
                first, end = rng.choice(areas)
                at = rng.randrange(first, end)
                if rng.random() < 0.7:
                    # Search a byte that is not 0.
                    for at in range(at, end):
                        if data[at]:
                            break
                kind = rng.randrange(4)
                if kind == 0:
                    wrong[at] ^= 1 << rng.randrange(8)
                elif kind == 1:
                    wrong[at] = rng.randrange(256)
                else:
                    at &= ~7
                    value = rng.choice((0, (1 << 64) - 1, 1 << 63, 1 << 32,
                                        rng.getrandbits(64), rng.getrandbits(24)))
                    wrong[at:at + 8] = value.to_bytes(8, "little")
            path = self.write(wrong)
            status, _, err = self.run_reader("--ranges", path)
            self.assertEqual(len(err.splitlines()), int(bool(status)), err)
            seen.add(status)
        self.assertLessEqual({0, DAMAGED}, seen)
