# SPDX-License-Identifier: GPL-2.0
"""Test how scripts/selftests reads and compares results, without a guest."""

import contextlib
import io
import os
import tempfile
import types
import unittest
from unittest import mock

from llfree import selftests
from llfree.program import Error

OUTPUT = """$ scripts/vm --alloc buddy -- ./run_vmtests.sh -t mlock
TAP version 13
# -------------------------
# running ./mlock2-tests -x
# -------------------------
# TAP version 13
# 1..4
# ok 1 lock
# not ok 2 unlock
# ok 3 huge # SKIP no huge pages
# not ok 4 odd # XFAIL known
# # Totals: pass:1 fail:1 xfail:1 xpass:0 skip:1 error:0
# [FAIL]
not ok 1 mlock2-tests -x # exit=1
# running bash ./test_vmalloc.sh smoke
# no module
# [SKIP]
ok 2 test_vmalloc.sh smoke # SKIP
# running ./cow
# ok 1 at 0x7f0012345000
# ok 2 at 0x7f0012346000
# [PASS]
ok 3 cow
# SUMMARY: PASS=1 SKIP=1 FAIL=1
1..3
"""

KUNIT = """$ scripts/vm --alloc buddy -- sh -c cat
KTAP version 1
1..1
    KTAP version 1
    # Subtest: damon
    # module: vmlinux
    1..2
    ok 1 damon_test_target
        ok 1 a parameter
    not ok 2 damon_test_regions
    # damon: pass:1 fail:1 skip:0 total:2
# Totals: pass:1 fail:1 skip:0 total:2
not ok 1 damon
KTAP version 1
1..1
    ok 1 kfence # SKIP no pool
ok 1 kfence
"""


class Parser(unittest.TestCase):
    def test_kunit(self):
        self.assertEqual(list(selftests.parse(KUNIT).items()), [
            ("damon", "FAIL"),
            ("damon: damon_test_target", "pass"),
            ("damon: damon_test_regions", "FAIL"),
            ("kfence", "pass"),
            ("kfence: kfence", "skip")])

    def test_results(self):
        found = selftests.parse(OUTPUT)
        self.assertEqual(list(found.items()), [
            ("mlock2-tests -x", "FAIL"),
            ("mlock2-tests -x: lock", "pass"),
            ("mlock2-tests -x: unlock", "FAIL"),
            ("mlock2-tests -x: huge", "skip"),
            ("mlock2-tests -x: odd", "pass"),
            ("test_vmalloc.sh smoke", "skip"),
            ("cow", "pass"),
            ("cow: at *", "pass"),
            ("cow: at * (2)", "pass")])

    def test_cut_off(self):
        """A test that runs when the output ends has failed."""
        text = OUTPUT[:OUTPUT.index("# [FAIL]")]
        self.assertEqual(selftests.parse(text)["mlock2-tests -x"], "FAIL")
        begun = OUTPUT[:OUTPUT.index("# no module")]
        self.assertEqual(selftests.parse(begun)["test_vmalloc.sh smoke"], "FAIL")

    def test_same_name_twice(self):
        self.assertEqual(selftests.parse("ok 1 cow\nnot ok 2 cow # exit=1\n"),
                         {"cow": "pass", "cow (2)": "FAIL"})

    def test_no_results(self):
        for text in "", "TAP version 13\n1..0\n", "okay\n# okay 1 x\n":
            self.assertEqual(selftests.parse(text), {})

    def test_flaky_list(self):
        self.assertEqual(selftests.read_flaky("# c\n\na -b 1 # fails # often\n"),
                         {"a -b 1": "fails # often"})
        for bad in "a\n", "a # \n", " # why\n", "a # x\na # y\n":
            with self.subTest(bad=bad), self.assertRaises(Error):
                selftests.read_flaky(bad)

    def test_our_flaky_list(self):
        with open(selftests.FLAKY, encoding="utf-8") as f:
            selftests.read_flaky(f.read())

    def test_categories(self):
        with tempfile.TemporaryDirectory() as linux:
            with self.assertRaises(Error):
                selftests.categories(linux)
            where = f"{linux}/tools/testing/selftests/mm"
            os.makedirs(where)
            with open(f"{where}/run_vmtests.sh", "w", encoding="utf-8") as f:
                f.write('CATEGORY="b" run_test ./x\n\tCATEGORY="a" run_test y\n'
                        'if test ${CATEGORY}; then\nCATEGORY="b" run_test z\n')
            self.assertEqual(selftests.categories(linux), ["b", "a", "kunit"])


class Table(unittest.TestCase):
    def marks(self, buddy, llfree, known=()):
        rows = selftests.compare(buddy, llfree, dict.fromkeys(known, "why"))
        return {row.name: row.mark for row in rows}

    def test_marks(self):
        results = ("pass", "FAIL", "skip")
        for one in results:
            for two in results:
                with self.subTest(buddy=one, llfree=two):
                    worse = one == "pass" and two != "pass"
                    self.assertEqual(self.marks({"t": one}, {"t": two}),
                                     {"t": "!" if worse else ""})

    def test_missing(self):
        self.assertEqual(self.marks({"t": "pass"}, {}), {"t": "!"})
        self.assertEqual(self.marks({}, {"t": "FAIL"}), {"t": ""})

    def test_subtests(self):
        """Only subtests whose results differ have a row."""
        buddy = {"t": "FAIL", "t: a": "pass", "t: b": "pass", "t: c": "FAIL"}
        llfree = {"t": "FAIL", "t: a": "pass", "t: b": "FAIL", "t: c": "pass",
                  "t: d": "pass"}
        self.assertEqual(self.marks(buddy, llfree),
                         {"t": "", "t: b": "!", "t: c": ""})

    def test_missing_subtests(self):
        """A missing subtest has a row, unless only the program's row shows the difference."""
        buddy = {"t": "FAIL", "t: a": "pass", "t: b": "FAIL"}
        self.assertEqual(self.marks(buddy, {"t": "FAIL"}),
                         {"t": "", "t: a": "!"})
        buddy["t"] = "pass"
        self.assertEqual(self.marks(buddy, {"t": "FAIL"}), {"t": "!"})

    def test_flaky(self):
        buddy = {"t": "pass", "t: a": "pass", "u": "pass"}
        llfree = {"t": "FAIL", "t: a": "FAIL", "u": "FAIL"}
        self.assertEqual(self.marks(buddy, llfree, ("t",)),
                         {"t": "~", "t: a": "~", "u": "!"})
        self.assertEqual(self.marks(buddy, llfree, ("t: a",)),
                         {"t": "!", "t: a": "~", "u": "!"})

    def test_one_allocator(self):
        self.assertEqual(self.marks(None, {"t": "FAIL", "u": "pass"}),
                         {"t": "!", "u": ""})

    def report(self, buddy, llfree, known=None, status=0):
        """Run report(), and return (exit status, lines)."""
        args = types.SimpleNamespace(allocators=("buddy", "llfree"), alloc=None,
                                     out="out")
        runs = {("c", "buddy"): selftests.Run(buddy, 0, 1),
                ("c", "llfree"): selftests.Run(llfree, status, 1)}
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            result = selftests.report(args, runs, ["c"], known or {})
        return result, said.getvalue().splitlines()

    def test_report(self):
        status, lines = self.report(
            {"one": "pass", "second": "FAIL", "third": "pass"},
            {"one": "pass", "second": "FAIL", "third": "FAIL"})
        self.assertEqual((status, lines), (1, [
            "  test    buddy  llfree",
            "  one     pass   pass",
            "  second  FAIL   FAIL",
            "! third   pass   FAIL",
            "! third: out/c.buddy.log out/c.llfree.log",
            "1 passed, 1 failed, 1 skipped"]))

    def test_report_of_flaky(self):
        status, lines = self.report({"a": "pass", "b": "pass"},
                                    {"a": "FAIL", "b": "pass"}, {"a": "slow"})
        self.assertEqual(status, 0)
        self.assertIn("~ a: slow", lines)
        self.assertEqual(lines[-1], "1 passed, 0 failed, 1 skipped")

    def test_nothing_passed(self):
        status, lines = self.report({"a": "FAIL"}, {"a": "FAIL"})
        self.assertEqual((status, lines[-1]),
                         (1, "0 passed, 0 failed, 1 skipped"))


class Order(unittest.TestCase):
    def test_allocators_alternate(self):
        args = types.SimpleNamespace(allocators=selftests.ALLOCATORS, jobs=1)
        ran = []

        def guest(_args, _directory, category, alloc):
            ran.append((category, alloc))
            return selftests.Run({}, 0, 0)
        with mock.patch.object(selftests, "guest", guest), \
             contextlib.redirect_stdout(io.StringIO()):
            selftests.run(args, "", ["a", "b"])
        self.assertEqual(ran, [("a", "buddy"), ("a", "llfree"),
                               ("b", "buddy"), ("b", "llfree")])
