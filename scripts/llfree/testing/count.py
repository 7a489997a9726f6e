# SPDX-License-Identifier: GPL-2.0
"""How many tests a program ran, by its output"""

import collections
import re

Count = collections.namedtuple("Count", "passed failed skipped")


def ktap(text):
    """The sum of all '# Totals:' lines, as kselftest prints them."""
    rows = [dict((k, int(v)) for k, v in re.findall(r"(\w+):(\d+)", line))
            for line in re.findall(r"^# Totals: (.*)$", text, re.M)]
    if not rows:
        return None
    total = collections.Counter()
    for row in rows:
        total.update(row)
    return Count(total["pass"] + total["xfail"],
                 total["fail"] + total["error"] + total["xpass"],
                 total["skip"])


def kunit_count(text):
    m = re.findall(r"Testing complete\. Ran (\d+) tests?: (.*)$", text, re.M)
    if not m:
        return None
    n = dict((k, int(v)) for k, v in re.findall(r"(\w+): (\d+)", m[-1][1]))
    return Count(n.get("passed", 0), n.get("failed", 0) + n.get("crashed", 0)
                 + n.get("errors", 0), n.get("skipped", 0))


def closing_line(text):
    """The counts of a program that ends as this one does"""
    m = re.findall(r"^(\d+) passed, (\d+) failed, (\d+) skipped$", text, re.M)
    return Count(*map(int, m[-1])) if m else None
