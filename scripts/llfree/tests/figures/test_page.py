# SPDX-License-Identifier: GPL-2.0
"""Test the figures and the page of results, drawn from a small stored result.

Checks structure, labels, links and units, and that damaged input is refused."""

import json
import os
import re
import subprocess
import tempfile
import unittest
import xml.etree.ElementTree as ET

from llfree.bench import data as results
from llfree.bench import plot, scale, strip
from llfree.bench import stats as stat
from llfree.bench.page import cells, document, inlinesvg
from llfree.memmap import maps
from llfree.paths import SCRIPTS
from llfree.tests.figures import example

BENCH = f"{SCRIPTS}/bench"
CELLS = {
    "cell-bulk-0-0-alloc-ns-single-1": ("bulk alloc, order 0, 1 CPU", "1.00"),
    "cell-bulk-0-0-free-ns-single-1": ("bulk free, order 0, 1 CPU", "0.86"),
    "cell-bulk-0-0-alloc-ns-single-2": ("bulk alloc, order 0, 2 CPUs", "1.12!"),
    "cell-bulk-0-0-free-ns-single-2": ("bulk free, order 0, 2 CPUs", "1.08!"),
    "cell-bulk-9-0-alloc-ns-single-1": ("bulk alloc, order 9, 1 CPU", "1.86!"),
    "cell-bulk-9-0-free-ns-single-1": ("bulk free, order 9, 1 CPU", "1.03!"),
    "cell-bulk-9-0-alloc-ns-single-2": ("bulk alloc, order 9, 2 CPUs", "1.28?"),
    "cell-bulk-9-0-free-ns-single-2": ("bulk free, order 9, 2 CPUs", "0.96"),
    "cell-fill-0-0-alloc-ns-single-1":
        ("fill alloc, 0 % full, order 0, 1 CPU", "0.94"),
    "cell-fill-0-0-free-ns-single-1":
        ("fill free, 0 % full, order 0, 1 CPU", "0.98"),
    "cell-fill-0-99-alloc-ns-single-1":
        ("fill alloc, 99 % full, order 0, 1 CPU", "1.09!"),
    "cell-fill-0-99-free-ns-single-1":
        ("fill free, 99 % full, order 0, 1 CPU", "0.92"),
}
SVG = f"{{{inlinesvg.SVG}}}"


def only(found):
    """Return the only element of a list."""
    assert len(found) == 1, found
    return found[0]


class Structure(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.text = example.page()
        cls.page = example.Page(cls.text)

    def test_cells(self):
        self.assertEqual(self.page.cells(), {
            name: (f"{label}: {ratio}", ratio)
            for name, (label, ratio) in CELLS.items()})

    def test_links_lead_somewhere(self):
        targets = [t[1:] for t, _, _ in self.page.links if t.startswith("#")]
        self.assertGreater(len(targets), len(CELLS))
        self.assertEqual(set(targets) - set(self.page.ids), set())
        files = {t for t, _, _ in self.page.links if not t.startswith("#")}
        self.assertEqual(files, {"results.csv", "report.txt"})

    def test_ids_are_unique(self):
        self.assertEqual(sorted(set(self.page.ids)), sorted(self.page.ids))

    def test_details(self):
        words = self.page.texts["cell-bulk-9-0-alloc-ns-single-1"].split()
        self.assertEqual(words, ["alloc", "9", "1", "1.86!", "891", "879..903",
                                 "1654", "1627..1681", "2", "1.80..1.91", "LLFree",
                                 "more", "in", "every", "pair"])

    def test_verdict(self):
        self.assertEqual(
            self.page.texts["verdict"], "LLFree needs less time than buddy in 6 of "
            "12 cells, more in every pair of boots in 5; geometric mean of the "
            "ratios 1.07, highest 1.86 (bulk alloc, order 9, 1 CPU).")

    def test_level(self):
        found = re.findall(r"<dt( class=.*?)?>(.*?)</dt>", self.text)
        self.assertEqual([name for _, name in found], [
            level.name + ": this page" * (level.machine == "TCG")
            for level in results.LEVELS])
        self.assertEqual([bool(mark) for mark, _ in found],
                         [level.machine == "TCG" for level in results.LEVELS])

    def test_nothing_from_elsewhere(self):
        """A browser loads only data: and fragments, and no other address."""
        for tag, attributes in self.page.attributes:
            for name in ("src", "href", "xlink:href", "data", "poster"):
                value = attributes.get(name)
                if value and tag != "a":
                    self.assertRegex(value, "^(data:|#)", (tag, name))
        self.assertIsNone(re.search(r"@import|url\((?!#)", self.text))

    def test_figures(self):
        figures = re.findall(r'<figure id="(.*?)">', self.text)
        self.assertEqual(figures, ["strip-age", "age", "time-bulk", "fill", "real"])
        svgs = [a for tag, a in self.page.attributes if tag == "svg"]
        self.assertEqual(len(svgs), len(figures))
        for svg in svgs:
            self.assertEqual(svg["role"], "img")
            for name in svg["aria-labelledby"].split():
                self.assertTrue(self.page.texts[name].strip(), name)

    def test_colours_follow_the_scheme(self):
        for svg in re.findall("<svg.*?</svg>", self.text, re.S):
            self.assertTrue("var(--ink)" in svg)
            self.assertIsNone(re.search("#(000000|ffffff|d95f02|1f6fb4)", svg))
        names = set(re.findall(r"var\((--[\w-]+)\)", self.text))
        light, dark = re.findall(r":root \{(.*?)\}", self.text, re.S)
        light, dark = (set(re.findall(r"(--[\w-]+):", s)) for s in (light, dark))
        self.assertEqual(light, dark)
        self.assertLessEqual(names | set(inlinesvg.VARIABLES.values()), light)

    def test_animation(self):
        m = re.search(r'id="animation">(.*?)</script>', self.text, re.S)
        found = json.loads(m[1])
        run = only(found["runs"])
        self.assertEqual((run["bench"], [c["name"] for c in run["courses"]]),
                         ("age", ["buddy", "LLFree"]))
        for course in run["courses"]:
            self.assertEqual(len(course["times"]), len(course["maps"]))
            self.assertEqual({len(m) for m in course["maps"]}, {8 + 48})


class Incomplete(unittest.TestCase):
    """Tests of runs that were stopped, or that measured only a part"""

    def page(self, keep):
        data = example.data()
        data["values"] = [v for v in data["values"] if keep(v)]
        data["samples"] = []
        page = example.Page(document.page(data))
        targets = {t[1:] for t, _, _ in page.links if t.startswith("#")}
        self.assertEqual(targets - set(page.ids), set())
        return page

    def test_one_allocator(self):
        for keep in (lambda v: v["allocator"] == "buddy", lambda v: False):
            page = self.page(keep)
            self.assertEqual(page.cells(), {})
            self.assertEqual(page.texts["verdict"], "No pair of boots is complete, "
                             "so there is nothing to compare.")

    def test_real_work_only(self):
        page = self.page(lambda v: v["bench"] not in stat.BENCHES)
        self.assertEqual(page.cells(), {})
        self.assertIn("cell-page-fault1-page-ns-2", page.ids)
        self.assertIn("in 1 of 1 cells", page.texts["verdict"])

    def test_module_only(self):
        page = self.page(lambda v: v["bench"] == "fill")
        self.assertEqual(set(page.cells()), {c for c in CELLS if "fill" in c})
        self.assertNotIn("realwork", page.ids)


class Counted(unittest.TestCase):
    def test_unit(self):
        page = example.page(counted=True)
        self.assertTrue("medians of instructions per" in page)
        self.assertTrue("LLFree needs fewer instructions than buddy" in page)
        svgs = "".join(re.findall("<svg.*?</svg>", page, re.S))
        self.assertTrue(">instructions<" in svgs)
        self.assertIsNone(re.search(r">ns\b|\bns per|>CPUs<|nanosecond", svgs))

    def test_curves(self):
        for counted, against, rows in (
                (False, "CPUs", {"alloc": ["order 0", "order 9"],
                                 "free": ["order 0", "order 9"]}),
                (True, "order", {"": ["alloc", "free"]})):
            data = example.data(counted)
            figure = only(scale.plan(stat.compare(data["values"]),
                                          data["meta"]))
            self.assertEqual((figure.bench, figure.against), ("bulk", against))
            self.assertEqual({t: list(c) for t, c in figure.rows.items()}, rows)
            for curves in figure.rows.values():
                for points in curves.values():
                    self.assertEqual([x for x, _ in points],
                                     [0, 9] if counted else [1, 2])


class Figures(unittest.TestCase):
    def draw(self, **kind):
        """Draw figures, and return {name: texts} of the files."""
        with tempfile.TemporaryDirectory() as tmp, \
             plot.matplotlib.rc_context({"svg.fonttype": "none"}):
            names = plot.draw(example.data(**kind), tmp)
            self.assertEqual(sorted(names), sorted(os.listdir(tmp)))
            return {name: ["".join(node.itertext()) for node in
                           ET.parse(f"{tmp}/{name}").iter(f"{SVG}text")]
                    for name in names if name.endswith(".svg")}

    def test_files(self):
        found = self.draw()
        self.assertEqual(set(found), {f"{name}.svg" for name in (
            "time-bulk", "ratios", "fill", "age", "strip-age", "real")})
        texts = found["time-bulk.svg"]
        for words in ("buddy alloc", "LLFree alloc", "buddy free", "LLFree free",
                      "CPUs", "order 0", "order 9"):
            self.assertIn(words, texts)

    def test_counted(self):
        texts = self.draw(counted=True)["time-bulk.svg"]
        self.assertIn("order", texts)
        self.assertNotIn("CPUs", texts)
        self.assertTrue(any(t.strip().startswith("instructions") for t in texts))

    def test_same_axes(self):
        data = example.data()
        figure = only(scale.plan(stat.compare(data["values"]), data["meta"]))
        shown = scale.draw(figure, data["meta"])
        axes = shown.axes
        plot.plt.close(shown)
        for left, right in zip(axes[::2], axes[1::2]):
            self.assertEqual(left.get_ylim(), right.get_ylim())
            self.assertEqual(left.get_xlim(), right.get_xlim())
            self.assertEqual(left.get_yscale(), right.get_yscale())


class Strips(unittest.TestCase):
    def course(self, *free):
        return [(float(i), [maps.Zone("0/Normal", 0, [(n, "movable")])])
                for i, n in enumerate(free)]

    def test_without_end(self):
        for free, kept in (((400, 20, 10, 20, 10, 20, 500), 6),
                           ((400, *[20, 10] * 5, 300, 500), 11),
                           ((5,), 1), ((5, 6), 2)):
            with self.subTest(free=free):
                self.assertEqual(len(strip.without_end(self.course(*free))),
                                 kept)

    def test_image(self):
        strips = only(strip.choose(example.data()["samples"]))
        picture = strip.image(strips.courses["buddy"])
        self.assertEqual(picture.shape, (8 + 48, 6, 4))
        self.assertEqual(strip.pixel(512, "free")[3], 0)
        self.assertLess(strip.pixel(500, "movable")[3],
                        strip.pixel(0, "movable")[3])

    def test_needs_both(self):
        rows = [r for r in example.data()["samples"] if r["allocator"] == "buddy"]
        self.assertEqual(strip.choose(rows), [])

    def test_letters_tell_kinds_apart(self):
        letters = {document.packed([maps.Zone("", 0, [(free, kind)])])
                   for kind in maps.KINDS for free in (0, 512)}
        self.assertEqual(len(letters), 2 * len(maps.KINDS))


class Steps(unittest.TestCase):
    def test_steps(self):
        for ratio, step in ((0.01, -4), (0.5, -4), (0.96, -1), (1, 0), (1.03, 0),
                            (1.04, 1), (2, 3), (50, 4)):
            self.assertEqual(cells.step_of(ratio), step)


class Damaged(unittest.TestCase):
    def setUp(self):
        with open(example.RESULTS, encoding="utf-8") as f:
            self.good = f.read()
        # pylint: disable=consider-using-with
        self.tmp = self.enterContext(tempfile.TemporaryDirectory())

    def path(self, name, text):
        path = f"{self.tmp}/{name}"
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def test_csv(self):
        lines = self.good.splitlines(keepends=True)
        for text, why in (
                ("", "the columns are"),
                (self.good.replace("measure", "meter", 1), "the columns are"),
                (lines[0], "no values"),
                (self.good.replace("301.67", "fast"), "line 2: .*fast"),
                ("".join(lines[:3]) + "buddy,0,0\n", "line 4: 13 columns"),
                (self.good.replace("buddy,0", "slab,0"), "no allocator 'slab'"),
                (self.good.replace("301.67", ""), "'' is no number"),
                (self.good.replace("TCG", "Cray"), "'Cray'")):
            with self.subTest(why=why), \
                 self.assertRaisesRegex(results.BadData, why):
                results.load(self.path("results.csv", text))

    def test_samples(self):
        self.path("samples.csv", "allocator,seconds\n")
        with self.assertRaisesRegex(maps.BadMap, "samples.csv: the columns"):
            results.load(self.path("results.csv", self.good))

    def test_json(self):
        good = json.dumps(example.data())
        self.assertTrue(results.load(self.path("results.json", good)))
        for text, why in (
                (good[:-9], "no JSON"), ("[]", "no 'meta'"), ("{}", "no 'meta'"),
                ('{"meta": {}, "values": 1}', "'values' is no list"),
                ('{"meta": {}, "values": [{"bench": "bulk"}]}', "lacks allocator")):
            with self.subTest(why=why), \
                 self.assertRaisesRegex(results.BadData, why):
                results.load(self.path("results.json", text))

    def test_program(self):
        for path in (self.path("results.csv", "nonsense\n"), f"{self.tmp}/none.json"):
            proc = subprocess.run(
                [BENCH, "--from", path, "--out", self.tmp],
                capture_output=True, text=True, check=False, timeout=60)
            self.assertEqual(proc.returncode, 1)
            self.assertRegex(proc.stderr, f"^bench: {path}: .*\n$")

    def test_page_of_a_file(self):
        proc = subprocess.run(
            [BENCH, "--from", example.RESULTS, "--out", self.tmp],
            capture_output=True, text=True, check=False, timeout=120)
        self.assertEqual((proc.returncode, proc.stderr), (0, ""))
        for name in ("index.html", "samples.csv", "report.txt"):
            self.assertIn(name, os.listdir(self.tmp))
            self.assertIn(name, proc.stdout)
