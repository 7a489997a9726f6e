# SPDX-License-Identifier: GPL-2.0
"""Test maps of memory: storing, reading, and drawing in a terminal."""

import io
import re
import subprocess
import sys
import tempfile
import unittest

from llfree import kpageflags as k
from llfree.memmap import maps, screen, source
from llfree.memmap.maps import BLOCK, BadMap, Zone
from llfree.paths import SCRIPTS

MAP = """zone 0 DMA 0 2
0 12 unmovable
512 512 free
zone 0 Normal 4096 3
4096 0 huge
4608 0 huge
5120 40 movable
"""
ZONES = [Zone("0/DMA", 0, [(12, "unmovable"), (512, "free")]),
         Zone("0/Normal", 4096, [(0, "huge"), (0, "huge"), (40, "movable")])]
ZONEINFO = """Node 0, zone      DMA
  pages free     10
        spanned  4095
        managed  3840
  start_pfn:           1
Node 0, zone  Movable
  pages free     0
        spanned  0
Node 1, zone   Normal
        spanned  1024
  start_pfn:           8192
"""


def samples(*seconds):
    """Return a samples.csv as text."""
    course = maps.Course()
    for moment in seconds:
        course.add(moment, MAP)
    out = io.StringIO()
    maps.write_samples(out, [
        {"allocator": "llfree", "pair": 0, "boot": 1, "bench": "age",
         "machine": "TCG", **row} for row in course.rows()])
    return out.getvalue()


class Stored(unittest.TestCase):
    def test_map_of_the_kernel(self):
        self.assertEqual(maps.parse(MAP), ZONES)

    def test_bad_map(self):
        for text in ("0 12 free\n", "zone 0 DMA\n", "zone 0 DMA 0 1\n0 1\n",
                     "zone 0 DMA 0 1\n0 1 nonsense\n", "zone 0 DMA 0 1\n0 x free\n"):
            with self.subTest(text=text), self.assertRaisesRegex(
                    BadMap, r"map, line \d"):
                maps.parse(text)

    def test_tokens(self):
        for blocks, text in (([], ""), ([(512, "free")] * 3, "f512*3"),
                             (ZONES[1].blocks, "h0*2 m40")):
            self.assertEqual(maps.encode(blocks), text)
            self.assertEqual(maps.decode(text), blocks)

    def test_bad_tokens(self):
        for text in ("f513", "z1", "f", "512", "f1*", "f1 ?"):
            with self.subTest(text=text), self.assertRaises(BadMap):
                maps.decode(text)

    def test_totals(self):
        zones = [*ZONES, Zone("0/Movable", 8192, [(0, "absent")])]
        self.assertEqual(maps.totals(zones), (5 * BLOCK, 564, 512, 1, 5))

    def test_course_stays_even(self):
        course = maps.Course(8)
        for moment in range(100):
            course.add(moment, MAP)
        times = [moment for moment, _ in course.kept]
        self.assertLessEqual(len(times), 8)
        self.assertEqual({b - a for a, b in zip(times, times[1:])}, {16})
        self.assertEqual(times[0], 0)

    def test_file(self):
        with tempfile.NamedTemporaryFile("w", suffix=".csv") as f:
            f.write(samples(0.25, 0.5))
            f.flush()
            found = maps.sequences(maps.read_samples(f.name))
        self.assertEqual(found, {("age", 0, "llfree"): [(0.25, ZONES),
                                                        (0.5, ZONES)]})

    def test_bad_file(self):
        good = samples(0.25)
        for text in ("", good.replace("zone", "place", 1),
                     good.replace("h0*2", "h513"), good.replace("0.25", "soon"),
                     good + "llfree,0\n"):
            with self.subTest(text=text), tempfile.NamedTemporaryFile("w") as f:
                f.write(text)
                f.flush()
                with self.assertRaisesRegex(BadMap, f.name):
                    maps.read_samples(f.name)


class Flags(unittest.TestCase):
    def block(self, *frames):
        """Return a block whose first frames have the given flags; other frames are free."""
        entries = [sum(1 << bit for bit in bits) for bits in frames]
        entries += [1 << k.KPF_BUDDY] * (BLOCK - len(entries))
        return source.block_of(b"".join(e.to_bytes(8, "little") for e in entries))

    def test_kinds(self):
        self.assertEqual(self.block(), (512, "free"))
        self.assertEqual(self.block([k.KPF_LRU], [k.KPF_ANON]), (510, "movable"))
        self.assertEqual(self.block([k.KPF_LRU], []), (510, "unmovable"))
        self.assertEqual(self.block([k.KPF_THP, k.KPF_ANON]), (511, "huge"))
        self.assertEqual(self.block([k.KPF_RESERVED], [k.KPF_LRU]), (510, "movable"))
        self.assertEqual(self.block(*[[k.KPF_NOPAGE]] * BLOCK), (0, "absent"))

    def test_part_of_a_block(self):
        free = (1 << k.KPF_BUDDY).to_bytes(8, "little") * 100
        self.assertEqual(source.block_of(free)[0], 100)

    def test_zones(self):
        self.assertEqual(source.zone_ranges(ZONEINFO),
                         [("0/DMA", 1, 4095), ("1/Normal", 8192, 1024)])


class Screen(unittest.TestCase):
    def test_cells(self):
        blocks = [(512, "free"), (0, "huge"), (0, "absent"), (0, "absent")]
        self.assertEqual(screen.cells(blocks, 1)[:2],
                         [(0, "free"), (1, "huge")])
        self.assertEqual(screen.cells(blocks, 2),
                         [(0.5, "huge"), (0, "absent")])

    def test_frame(self):
        lines = screen.frame("title", ZONES, 80, 24, False)
        self.assertEqual(lines[0], "title")
        self.assertEqual(lines[1], "free 2 MiB of 10 MiB, 2 MiB (91 %) of it in "
                         "free 2 MiB blocks; unmovable: 1 of 5 blocks")
        self.assertEqual(lines[2:6], ["zone 0/DMA from 0x0", "U·",
                                      "zone 0/Normal from 0x1000000", "HHM"])
        self.assertEqual(lines[6], "· free  Mm movable  Uu unmovable  Hh huge")

    def test_fits(self):
        zones = [Zone("0/Normal", 0, [(0, "movable")] * 100000)]
        for columns, height in ((80, 24), (200, 50), (20, 10)):
            lines = screen.frame("t", zones, columns, height, False)
            self.assertLess(len(lines), height)
            cells = [line for line in lines if re.fullmatch("M+", line)]
            self.assertLessEqual(max(map(len, cells)), columns)

    def test_colours(self):
        text = "\n".join(screen.frame("t", ZONES, 80, 24, True))
        self.assertIn("\033[38;5;208m█\033[0m", text)
        self.assertNotIn("H", re.sub("title|zone.*", "", text))


class Program(unittest.TestCase):
    def memmap(self, text, *argv):
        with tempfile.NamedTemporaryFile("w", suffix=".csv") as f:
            f.write(text)
            f.flush()
            return subprocess.run(
                [sys.executable, "-B", f"{SCRIPTS}/memmap", "--file", f.name, *argv],
                capture_output=True, text=True, check=False, timeout=60)

    def test_live(self):
        proc = self.memmap(samples(0.25, 0.5), "--live", "--every", "0")
        self.assertEqual((proc.returncode, proc.stderr), (0, ""))
        self.assertEqual(re.findall(r"^llfree, age, pair 0, (.*) s$", proc.stdout,
                                    re.M), ["0.2", "0.5"])

    def test_last(self):
        proc = self.memmap(samples(0.25, 0.5))
        self.assertEqual(proc.stdout.count("llfree, age"), 1)
        self.assertNotIn("\033", proc.stdout)

    def test_errors(self):
        for text, argv, why in (("nonsense\n", (), "the columns are"),
                                (samples(1), ("--bench", "frag"), "no sample")):
            proc = self.memmap(text, *argv)
            self.assertEqual(proc.returncode, 1)
            self.assertRegex(proc.stderr, f"^memmap: .*{why}")
