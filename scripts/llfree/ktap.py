# SPDX-License-Identifier: GPL-2.0
"""Tests that report in KTAP, on the host and in guests.

The kernel's ksft.py writes the report. It keeps counts in variables of its module, so
there is one report at a time."""

import importlib
import os
import sys
import time
import traceback

from llfree.paths import linux
from llfree.program import Error

LIBRARY = "tools/testing/selftests/kselftest"


class Failure(Exception):
    """A test failed; the text says why."""


class Skip(Exception):
    """A test cannot run here; the text says why."""


def check(condition, text):
    """Fail unless a condition holds; returns the text."""
    if not condition:
        raise Failure(text)
    return text


def find_ksft():
    """The kernel's module ksft"""
    where = f"{linux()}/{LIBRARY}"
    if not os.path.exists(f"{where}/ksft.py"):
        raise Error("no kernel tree with the kselftests: run scripts/prepare, or set LINUX=")
    if where not in sys.path:
        sys.path.append(where)
    return importlib.import_module("ksft")


class Report:
    """A KTAP report. topic is the first part of each test's name."""

    def __init__(self, tests, topic=None):
        self.ksft = find_ksft()
        self.tests = tests
        self.topic = topic
        self.ksft.ksft_cnt.update(dict.fromkeys(self.ksft.ksft_cnt, 0))
        self.ksft.ksft_test_number = 1
        self.ksft.print_header()
        self.ksft.set_plan(tests)

    def name(self, name):
        return f"{self.topic}.{name}" if self.topic else name

    def say(self, text):
        for line in text.splitlines():
            self.ksft.print_msg(line)
        sys.stdout.flush()

    def result(self, passed, name, text):
        """The result of a test, and why it is so; None says that the test was skipped."""
        self.say(f"{self.name(name)}: {text}")
        if passed is None:
            self.ksft.test_result_skip(self.name(name))
        else:
            self.ksft.test_result(passed, self.name(name))
        sys.stdout.flush()

    def test(self, name, function, *errors):
        """Run a test. A function that returns passes; its text is shown. More errors than
        Failure and OSError may be failures."""
        start = time.monotonic()
        try:
            text, passed = function(), True
        except Skip as e:
            text, passed = str(e), None
        except (Failure, OSError, *errors) as e:
            text, passed = str(e) or repr(e), False
            if not isinstance(e, Failure):
                text += "\n" + traceback.format_exc()
        else:
            seconds = f"{time.monotonic() - start:.1f} s"
            text = f"{text}, {seconds}" if text else seconds
        self.result(passed, name, text)

    def end(self):
        """Print the totals. 0 if all tests have run and none has failed, else 1"""
        self.ksft.print_cnts()
        sys.stdout.flush()
        counts = self.ksft.ksft_cnt
        return int(counts["pass"] + counts["skip"] != self.tests)


def failed(name, text):
    """A report that has one test, which failed"""
    report = Report(1)
    report.result(False, name, text)
    return report.end()
