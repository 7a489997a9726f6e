# SPDX-License-Identifier: GPL-2.0
"""Test the statistics and tables of scripts/bench, with known numbers."""

import tempfile
import unittest

from llfree.bench import stats as stat

HEADER = ",".join(stat.MODULE_FIELDS) + "\n"


def record(alloc, pair, value, **more):
    return {"allocator": alloc, "pair": pair, "boot": 0, "machine": "TCG",
            "bench": "bulk", "order": 0, "cpus": 1, "api": "single",
            "level": "", "round": 0, "measure": "alloc_ns", "ops": 1,
            "value": value, **more}


def one(records):
    (comparison,) = stat.compare(records).values()
    return comparison


class Parsing(unittest.TestCase):
    ROW = "fill,9,2,single,50,0,alloc_ns,1000,12.5\n"

    def test_row(self):
        (row,) = stat.parse_csv(HEADER + self.ROW, stat.MODULE_FIELDS)
        self.assertEqual((row["bench"], row["order"], row["cpus"],
                          row["level"], row["value"]), ("fill", 9, 2, 50, 12.5))

    def test_no_level(self):
        (row,) = stat.parse_csv(HEADER + "bulk,0,1,single,,0,free_ns,10,7\n",
                                stat.MODULE_FIELDS)
        self.assertEqual(row["level"], "")

    def test_bad(self):
        for text in ("", HEADER.replace("ops,", "") + self.ROW,
                     HEADER + "fill,9,2,single,50,0,alloc_ns,1000\n",
                     HEADER + self.ROW.replace("12.5", "12.5,1"),
                     HEADER + self.ROW.replace("12.5", "fast")):
            with self.subTest(text=text), self.assertRaises(stat.BadResults):
                stat.parse_csv(text, stat.MODULE_FIELDS)


class Limits(unittest.TestCase):
    def check(self, *rows):
        found = stat.compare([record("buddy", 0, 10.0),
                              record("llfree", 0, 12.0),
                              record("buddy", 0, 10.0, cpus=2),
                              record("llfree", 0, 11.0, cpus=2)])
        with tempfile.NamedTemporaryFile("w", suffix=".csv") as f:
            f.write("bench,order,measure,ratio\n" + "\n".join(rows) + "\n")
            f.flush()
            return list(stat.check_limits(found, stat.read_limits(f.name)))

    def test_below(self):
        self.assertEqual(self.check("bulk,0,alloc_ns,1.25"),
                         [(True, "bulk order 0 alloc_ns", "1.200, at most 1.25")])

    def test_above(self):
        self.assertEqual(self.check("bulk,0,alloc_ns,1.15"),
                         [(False, "bulk order 0 alloc_ns", "1.200, at most 1.15")])

    def test_not_measured(self):
        self.assertEqual(self.check("bulk,3,alloc_ns,9", "bulk,0,alloc_ns,9"),
                         [(False, "bulk order 3 alloc_ns", "not measured, at most 9.00"),
                          (True, "bulk order 0 alloc_ns", "1.200, at most 9.00")])


class Statistics(unittest.TestCase):
    def test_medians_of_boots(self):
        # The rounds of a boot count as one: 20, 40, 90, not their 9 values.
        c = one([record("buddy", pair, v, round=i)
                 for pair, values in enumerate(((10, 20, 1000), (40, 40, 40),
                                                (1, 90, 95)))
                 for i, v in enumerate(values)])
        self.assertEqual(c.boots("buddy"), {0: 20, 1: 40, 2: 90})
        self.assertEqual(c.median("buddy"), 40)
        self.assertEqual(c.spread("buddy"), (20, 90))
        self.assertIsNone(c.median("llfree"))
        self.assertIsNone(c.ratio)
        self.assertEqual(c.mark, " ")

    def test_ratios(self):
        # Pairs 2, 0.5, 0.25; medians 10 and 5
        c = one([record("buddy", p, v) for p, v in enumerate((10, 10, 20))] +
                [record("llfree", p, v) for p, v in enumerate((20, 5, 5))])
        self.assertEqual(c.pair_ratios, [2, 0.5, 0.25])
        self.assertEqual(c.ratio, 0.5)

    def test_half_a_pair(self):
        c = one([record("buddy", 0, 10), record("llfree", 0, 5),
                 record("buddy", 1, 20)])
        self.assertEqual(c.pair_ratios, [0.5])
        self.assertEqual(c.ratio, 0.5)
        self.assertEqual(c.median("buddy"), 15)

    def test_nothing_to_divide_by(self):
        c = one([record("buddy", 0, 0), record("llfree", 0, 5)])
        self.assertIsNone(c.ratio)
        self.assertEqual(c.pair_ratios, [])

    def test_marks(self):
        for buddy, llfree, mark in (((10, 10, 10), (9, 9, 20), " "),
                                    ((10, 10, 10), (9, 11, 12), "?"),
                                    ((10, 10, 10), (11, 11, 12), "!"),
                                    ((10,), (10,), " ")):
            c = one([record(a, p, v) for a, values in
                     (("buddy", buddy), ("llfree", llfree))
                     for p, v in enumerate(values)])
            with self.subTest(llfree=llfree):
                self.assertEqual(c.mark, mark)

    def test_cells_apart(self):
        records = [record("buddy", 0, 1), record("buddy", 0, 1, order=1),
                   record("buddy", 0, 1, cpus=2),
                   record("buddy", 0, 1, api="bulk"),
                   record("buddy", 0, 1, bench="fill", level=50),
                   record("buddy", 0, 1, bench="fill", level=99),
                   record("buddy", 0, 1, bench="frag"),
                   record("buddy", 0, 1, measure="timer_ns")]
        self.assertEqual(len(stat.compare(records)), 6)

    def test_order_of_rows(self):
        records = [record("buddy", 0, 1, bench=b, order=o)
                   for b in ("zlib", "repeat", "bulk") for o in (10, 9, 0)]
        self.assertEqual([(k.bench, k.order) for k in stat.compare(records)],
                         [(b, o) for b in ("bulk", "repeat", "zlib")
                          for o in (0, 9, 10)])

    def test_courses(self):
        records = [record(a, 0, v * (r + 1), bench="frag", round=r,
                          measure=m)
                   for a, scale in (("buddy", 4), ("llfree", 1))
                   for r in range(3)
                   for m, v in (("moves_pages", 100 * scale),
                                ("free_huge_blocks", 8 // scale),
                                ("total_pages", 51200))]
        found = stat.courses(records)
        moves = found["frag", "moves_pages"]
        self.assertEqual([c.median("buddy") for c in moves.values()],
                         [400, 800, 1200])
        self.assertEqual(moves[2].ratio, 0.25)
        # 8 blocks of 100 in the first round
        self.assertEqual(stat.huge_share(found, "frag", 0, "llfree"), 8)
        self.assertEqual(stat.huge_share(found, "frag", 0, "buddy"), 2)
        self.assertIsNone(stat.huge_share(found, "age", 0, "buddy"))

    def test_histograms(self):
        rows = [{"bench": "latency", "order": 0, "cpus": 1, "level": 50,
                 "operation": "alloc", "low_ns": low, "count": n,
                 "allocator": "buddy"} for low, n in ((8, 1), (8, 2), (16, 5))]
        (some,) = stat.histograms(rows).values()
        self.assertEqual(some["buddy"], {8: 3, 16: 5})
        self.assertEqual(some["llfree"], {})


class Tables(unittest.TestCase):
    RECORDS = [record(a, p, v, cpus=n) for a, values in
               (("buddy", (100, 120, 110)), ("llfree", (50, 180, 55)))
               for p, v in enumerate(values) for n in (1, 4)] + \
              [record("buddy", 0, 1.5, order=9, measure="free_ns"),
               record("llfree", 0, 3, order=9, measure="free_ns")]

    def test_ratio_table(self):
        head, *rows = stat.ratio_table(stat.compare(self.RECORDS))
        self.assertRegex(head, r"1 CPU +4 CPUs")
        cell = "0.50   0.50 0.50..1.50"
        self.assertEqual([r.split() for r in rows], [
            f"bulk 0 alloc {cell} {cell}".split(),
            "bulk 9 free 2.00! 2.00 2.00..2.00".split()])

    def test_columns(self):
        # A cell stands below its number of CPUs, also if it is the only one.
        found = stat.compare([record(a, 0, 1, order=o, cpus=n)
                              for a in stat.ALLOCS
                              for o, n in ((0, 1), (0, 2), (3, 2))])
        head, both, second = stat.ratio_table(found)
        at = head.index("2 CPUs")
        self.assertEqual(both[at:], second[at:])
        self.assertEqual(second[head.index("1 CPU"):at].strip(), "")

    def test_absolute_table(self):
        _, first, *_ = stat.absolute_table(stat.compare(self.RECORDS))
        self.assertEqual(first.split(), "bulk 0 alloc 1 110 100..120 55 "
                         "50..180 0.50 0.50 0.50..1.50".split())

    def test_numbers(self):
        for value, text in ((None, "-"), (0, "0"), (0.5, "0.50"),
                            (9.876, "9.88"), (12.34, "12.3"), (100, "100"),
                            (98765.4, "98765"), (1234567, "1.23M"),
                            (1.5e9, "1.5G")):
            with self.subTest(value=value):
                self.assertEqual(stat.short(value), text)

    def test_rounds(self):
        self.assertEqual(stat.chosen_rounds(range(101)), [0, 1, 10, 50, 100])
        self.assertEqual(stat.chosen_rounds([0]), [0])

    def test_summary(self):
        first, worst = stat.summary(stat.compare(self.RECORDS))
        # Cells 0.5, 0.5 and 2
        self.assertEqual(first, "3 cells, 1 above 1.00, 1 of them in every "
                         "pair; geometric mean 0.79")
        self.assertEqual(worst, "worst: bulk order 9 free 1 CPU 2.00")
        self.assertEqual(stat.summary({}), ["nothing to compare"])
