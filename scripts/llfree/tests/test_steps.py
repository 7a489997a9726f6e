# SPDX-License-Identifier: GPL-2.0
"""Test which steps scripts/test runs, and its output, with fake steps."""

import collections
import contextlib
import io
import re
import sys
import unittest
from unittest import mock

from llfree.paths import TOP
from llfree.testing import main, run
from llfree.testing.count import Count


class Steps(unittest.TestCase):
    def setUp(self):
        self.now = 1000.0
        self.ran = []
        self.failing = set()
        run.builds.clear()
        run.counts.clear()
        patches = (mock.patch.object(main, "command", self.command),
                   mock.patch.object(run, "command", self.command),
                   mock.patch.object(main, "spent", collections.Counter()),
                   mock.patch.object(main, "building", collections.Counter()),
                   mock.patch.object(main.program.signal, "signal"),
                   mock.patch.object(main.time, "monotonic", lambda: self.now))
        for patch in patches:
            patch.start()
            self.addCleanup(patch.stop)

    def command(self, name, *_):
        """Simulate a command that takes as many seconds as the name has letters."""
        self.now += len(name)
        good = name not in self.failing
        return run.report(name, Count(int(good), int(not good), 0),
                                len(name))

    def fake(self, name, seconds, kernel=None):
        def step():
            self.ran.append(name)
            if kernel and not run.built(kernel):
                return
            self.now += seconds
            run.report(name, Count(1, 0, 0), seconds)
        step.__doc__ = f"about {name}"
        return step

    def run_steps(self, steps, *argv):
        """Run scripts/test with fake steps, and return (exit status, lines)."""
        said = io.StringIO()
        with mock.patch.object(main, "STEPS", steps), \
             mock.patch.object(sys, "argv", ["test", *argv]), \
             contextlib.redirect_stdout(said):
            status = main.main()
        return status, said.getvalue().splitlines()

    def slowest(self, lines):
        """Return [(step, seconds, seconds of builds)] of the slowest steps."""
        start = lines.index("slowest steps:") + 1
        found = []
        for line in lines[start:]:
            m = re.fullmatch(r"  (\S+) +([\d.]+) s(?: \(builds: ([\d.]+) s\))?",
                             line)
            if not m:
                break
            found.append((m[1], float(m[2]), float(m[3] or 0)))
        return found

    def test_slowest(self):
        seconds = {"a": 1, "b": 70, "c": 30.5, "d": 900, "e": 8, "f": 40}
        status, lines = self.run_steps(
            {name: self.fake(name, s) for name, s in seconds.items()})
        self.assertEqual(status, 0)
        self.assertEqual(self.slowest(lines),
                         [("d", 900, 0), ("b", 70, 0), ("f", 40, 0),
                          ("c", 30.5, 0), ("e", 8, 0)])
        self.assertEqual(lines[-1], "7 passed, 0 failed, 0 skipped")

    def test_sets(self):
        steps = {name: self.fake(name, 1) for name in "abc"}
        with mock.patch.object(main, "FULL_ONLY", ("b",)):
            for argv, ran in (((), "ac"), (("--full",), "abc"), (("b",), "b"),
                              (("c", "a"), "ca"), (("--full", "a"), "a")):
                with self.subTest(argv=argv):
                    self.ran.clear()
                    self.assertEqual(self.run_steps(steps, *argv)[0], 0)
                    self.assertEqual("".join(self.ran), ran)

    def test_list(self):
        steps = {name: self.fake(name, 1) for name in "ab"}
        with mock.patch.object(main, "FULL_ONLY", ("b",)):
            for argv in (("list",), ("--full", "list")):
                with self.subTest(argv=argv):
                    _, lines = self.run_steps(steps, *argv)
                    self.assertEqual([line.split() for line in lines[1:]],
                                     [["a", "test,", "test-full", "about", "a"],
                                      ["b", "test-full", "about", "b"]])
        self.assertEqual(self.ran, [])

    def test_unknown_step(self):
        with contextlib.redirect_stderr(io.StringIO()) as said, \
             self.assertRaises(SystemExit) as raised:
            self.run_steps({"a": self.fake("a", 1)}, "a", "nonsense")
        self.assertEqual((raised.exception.code, self.ran), (2, []))
        self.assertIn("no step 'nonsense'; there are: a", said.getvalue())

    def test_names_in_the_table_exist(self):
        self.assertEqual(set(main.FULL_ONLY) - set(main.STEPS), set())
        self.assertLess(set(main.selected(False)),
                        set(main.selected(True)))

    def test_readme(self):
        """The table in README.md has all steps, each in its set."""
        with open(f"{TOP}/README.md", encoding="utf-8") as f:
            rows = re.findall(r"^\| ([a-z0-9, -]+) \| [^|]* \| (yes)? ?\| yes \|$",
                              f.read(), re.M)
        found = {name: bool(usual) for names, usual in rows
                 for name in names.split(", ")}
        usual = main.selected(False)
        self.assertEqual(found, {name: name in usual for name in main.STEPS})

    def test_sums(self):
        """The times of a step's lines, and of its second run, are added."""
        several = self.fake("one", 5)
        status, lines = self.run_steps(
            {"one": lambda: (several(), several())}, "one", "one")
        self.assertEqual(status, 0)
        self.assertEqual(self.slowest(lines),
                         [("one", 20, 0), ("prepare", 7, 0)])

    def test_builds(self):
        """The first step that needs a kernel builds it."""
        status, lines = self.run_steps({"first": self.fake("first", 5, "x86_64"),
                                        "then": self.fake("then", 20, "x86_64")})
        self.assertEqual(status, 0)
        build = len("build x86_64")
        self.assertEqual(self.slowest(lines),
                         [("then", 20, 0), ("first", 5 + build, build),
                          ("prepare", 7, 0)])

    def test_failed_build(self):
        self.failing.add("build x86_64")
        status, lines = self.run_steps({"first": self.fake("first", 5, "x86_64")})
        self.assertEqual(status, 1)
        self.assertEqual(lines[-1], "1 passed, 1 failed, 0 skipped")

    def test_failed_prepare(self):
        self.failing.add("prepare")
        status, lines = self.run_steps({"first": self.fake("first", 5)})
        self.assertEqual((status, self.ran), (1, []))
        self.assertEqual(self.slowest(lines), [("prepare", 7, 0)])
        self.assertEqual(lines[-1], "0 passed, 1 failed, 0 skipped")


class Excerpt(unittest.TestCase):
    def setUp(self):
        self.excerpt = run.excerpt

    def test_failed_test_far_from_the_end(self):
        lines = [f"    ok {i} t" for i in range(1, 200)]
        lines[50:51] = ["    # t: expected 1, is 2", "    not ok 51 t"]
        shown = self.excerpt(lines)
        self.assertIn("    # t: expected 1, is 2", shown)
        self.assertIn("    not ok 51 t", shown)
        self.assertEqual(shown[0], "...")
        self.assertLess(len(shown), 20)

    def test_failed_test_in_a_kernel_log(self):
        lines = ["[    1.234567]     not ok 3 t"] + ["noise"] * 100
        self.assertIn(lines[0], self.excerpt(lines))

    def test_two_failed_tests_apart(self):
        lines = ["x"] * 100
        lines[20] = "not ok 1 a"
        lines[60] = "not ok 2 b"
        self.assertEqual([t for t in self.excerpt(lines) if t != "x"],
                         ["...", "not ok 1 a", "...", "not ok 2 b"])

    def test_many_failed_tests(self):
        self.assertLessEqual(len(self.excerpt(["not ok 1 a"] * 1000)), 41)

    def test_the_end_without_a_failed_test(self):
        lines = [str(i) for i in range(100)]
        self.assertEqual(self.excerpt(lines), lines[-40:])
        self.assertEqual(self.excerpt(lines[:3]), lines[:3])
