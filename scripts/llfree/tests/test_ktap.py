# SPDX-License-Identifier: GPL-2.0
"""Test reports in KTAP and counting of reports"""

import contextlib
import io
import unittest

from llfree import ktap
from llfree.program import Error
from llfree.testing import count


def needs(function):
    """Skip the tests of a class without the kernel's module that a function finds."""
    try:
        function()
    except Error as e:
        return unittest.skip(str(e))
    return lambda case: case


def fail(text):
    raise ktap.Failure(text)


def skip(text):
    raise ktap.Skip(text)


@needs(ktap.find_ksft)
class Reports(unittest.TestCase):
    def report(self, plan, **tests):
        """Run tests with a report. Return (exit status, lines)."""
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            report = ktap.Report(plan, "topic")
            for name, function in tests.items():
                report.test(name, function)
            status = report.end()
        return status, [line.rstrip() for line in said.getvalue().splitlines()]

    def test_results(self):
        status, lines = self.report(3, good=lambda: "fine", bad=lambda: fail("two\nlines"),
                                    missing=lambda: skip("no device"))
        self.assertEqual(status, 1)
        self.assertEqual(lines[:2], ["TAP version 13", "1..3"])
        self.assertRegex(lines[2], r"^# topic\.good: fine, \d+\.\d s$")
        self.assertEqual(lines[3:], [
            "ok 1 topic.good", "# topic.bad: two", "# lines", "not ok 2 topic.bad",
            "# topic.missing: no device", "ok 3 topic.missing # SKIP",
            "# Totals: pass:1 fail:1 xfail:0 xpass:0 skip:1 error:0"])

    def test_status(self):
        self.assertEqual(self.report(1, good=lambda: None)[0], 0)
        self.assertEqual(self.report(1, missing=lambda: skip("x"))[0], 0)
        # A test that did not run has failed.
        self.assertEqual(self.report(2, good=lambda: None)[0], 1)

    def test_system_error(self):
        """The report of a system error has a traceback."""
        _, lines = self.report(1, bad=lambda: open("/nowhere", encoding="utf-8"))
        self.assertIn("not ok 1 topic.bad", lines)
        self.assertIn("# Traceback (most recent call last):", lines)

    def test_other_errors(self):
        """Errors that are no failures end the program."""
        with self.assertRaises(ZeroDivisionError):
            self.report(1, bad=lambda: 1 // 0)

    def test_second_report(self):
        """A second report counts from the beginning."""
        self.report(1, bad=lambda: fail("x"))
        status, lines = self.report(1, good=lambda: None)
        self.assertEqual((status, lines[3]), (0, "ok 1 topic.good"))


@needs(count.find_parser)
class Counts(unittest.TestCase):
    TWO = "TAP version 13\n1..3\n# a: text\nok 1 a \nnot ok 2 b \nok 3 c # SKIP\n"

    def test_report(self):
        self.assertEqual(count.ktap(self.TWO), (1, 1, 1))

    def test_several(self):
        """The output of a program that boots several guests has lines between reports."""
        text = f"$ program\n# topic x\n{self.TWO}# Totals: pass:1\nlast\n{self.TWO}"
        self.assertEqual(count.ktap(text), (2, 2, 2))

    def test_nested(self):
        """Cases count, and the program with the cases does not."""
        self.assertEqual(count.ktap(
            "KTAP version 1\n1..2\n    TAP version 13\n    1..2\n    ok 1 x\n"
            "    not ok 2 y\nnot ok 1 program\nok 2 other\n"), (2, 1, 0))

    def test_cut_off(self):
        passed, failed, _ = count.ktap("TAP version 13\n1..3\nok 1 a\n")
        self.assertEqual(passed, 1)
        self.assertGreater(failed, 0)

    def test_no_report(self):
        for text in "", "ok 1 a\n", "x TAP version 13\nok 1 a\n":
            self.assertIsNone(count.ktap(text))


class OtherOutputs(unittest.TestCase):
    def test_kunit(self):
        line = "[12:00:00] Testing complete. Ran 8 tests: passed: 5, failed: 1, crashed: 1, " \
            "skipped: 1\n"
        self.assertEqual(count.kunit_count(line), (5, 2, 1))
        self.assertIsNone(count.kunit_count("nothing"))

    def test_closing_line(self):
        self.assertEqual(count.closing_line("1 passed, 0 failed, 2 skipped\n"), (1, 0, 2))
        self.assertIsNone(count.closing_line("1 passed\n"))
