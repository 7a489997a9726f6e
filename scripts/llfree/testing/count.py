# SPDX-License-Identifier: GPL-2.0
"""Count the tests that a program ran, from the program's output"""

import collections
import importlib
import io
import re
import sys

from llfree.paths import linux
from llfree.program import Error

KUNIT = "tools/testing/kunit"

Count = collections.namedtuple("Count", "passed failed skipped")


def find_parser():
    """Import the kernel's module kunit_parser, stop its output and return it."""
    where = f"{linux()}/{KUNIT}"
    if where not in sys.path:
        sys.path.append(where)
    try:
        parser = importlib.import_module("kunit_parser")
    except ModuleNotFoundError:
        raise Error(f"no {where}/kunit_parser.py: run scripts/prepare") from None
    parser.stdout = importlib.import_module("kunit_printer").Printer(io.StringIO())
    return parser


def ktap(text):
    """Return the sum over all KTAP reports in an output, or None without a report."""
    parser = find_parser()
    total = None
    for report in re.split(r"^(?=K?TAP version \d+$)", text, flags=re.M)[1:]:
        n = parser.parse_run_tests(report.splitlines()).counts
        found = Count(n.passed, n.failed + n.crashed + n.errors, n.skipped)
        total = Count(*map(sum, zip(total or Count(0, 0, 0), found)))
    return total


def kunit_count(text):
    m = re.findall(r"Testing complete\. Ran (\d+) tests?: (.*)$", text, re.M)
    if not m:
        return None
    n = dict((k, int(v)) for k, v in re.findall(r"(\w+): (\d+)", m[-1][1]))
    return Count(n.get("passed", 0), n.get("failed", 0) + n.get("crashed", 0)
                 + n.get("errors", 0), n.get("skipped", 0))


def closing_line(text):
    """Return the counts in the last line of scripts/selftests, or None."""
    m = re.findall(r"^(\d+) passed, (\d+) failed, (\d+) skipped$", text, re.M)
    return Count(*map(int, m[-1])) if m else None
