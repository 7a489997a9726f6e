# SPDX-License-Identifier: GPL-2.0
"""Run tests and report their results in KTAP, on the host and in guests.

The kernel's ksft.py writes the report. ksft.py keeps counts in variables of its module, so
a program can have only one report at a time."""

import importlib
import os
import sys
import time
import traceback

from llfree.paths import linux
from llfree.program import Error

LIBRARY = "tools/testing/selftests/kselftest"


class Failure(Exception):
    """The failure of a test; the text gives the reason"""


class Skip(Exception):
    """A test that cannot run here; the text gives the reason"""


def check(condition, text):
    """Raise Failure unless a condition holds. Return the text."""
    if not condition:
        raise Failure(text)
    return text


def find_ksft():
    """Import the kernel's module ksft and return it."""
    where = f"{linux()}/{LIBRARY}"
    if not os.path.exists(f"{where}/ksft.py"):
        raise Error("no kernel tree with the kselftests: run scripts/prepare, or set LINUX=")
    if where not in sys.path:
        sys.path.append(where)
    return importlib.import_module("ksft")


class Report:
    """A KTAP report; topic is the first part of each test's name"""

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
        """Print the result of a test and the reason. passed is None if the test is skipped."""
        self.say(f"{self.name(name)}: {text}")
        if passed is None:
            self.ksft.test_result_skip(self.name(name))
        else:
            self.ksft.test_result(passed, self.name(name))
        sys.stdout.flush()

    def test(self, name, function, *errors):
        """Run a test. A function that returns has passed, and its text is printed. Failure,
        OSError and the errors given are failures."""
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
        """Print the totals. Return 0 if all tests have run and none has failed, else 1."""
        self.ksft.print_cnts()
        sys.stdout.flush()
        counts = self.ksft.ksft_cnt
        return int(counts["pass"] + counts["skip"] != self.tests)


def failed(name, text):
    """Print a report of a single test, which has failed."""
    report = Report(1)
    report.result(False, name, text)
    return report.end()
