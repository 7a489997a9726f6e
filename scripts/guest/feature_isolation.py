# SPDX-License-Identifier: GPL-2.0
"""Test page isolation: mm/page_isolation_torture.c under load."""

import time

from feature_common import (DEBUG, Load, check, need, number, refused,
                            set_file)
from memstate import read, retry, settle, unexplained, write

TORTURE = f"{DEBUG}/page_isolation_torture"
# Pages in per-CPU caches that no counter shows.
SLACK = 256


def stats():
    """Return counts by name, and (before, after) of each zone's isolated pageblocks."""
    counts, isolated = {}, {}
    for line in read(f"{TORTURE}/stats").splitlines():
        words = line.split()
        if words[0] == "zone":
            isolated[words[1]] = int(words[3]), int(words[4])
        else:
            counts[words[0]] = int(words[1])
    return counts, isolated


def nothing_lost(before):
    """Check that no page is lost. Freeing the memory of stress-ng may take some time."""
    settle()
    lost = unexplained() - before
    check(abs(lost) <= SLACK, f"{lost:+d} unexplained pages in use")
    return f"{lost:+d} pages"


def tests(args):
    def bad_input():
        """files refuse invalid input and change nothing"""
        need(TORTURE, "CONFIG_PAGE_ISOLATION_TORTURE_TEST is not set")
        for name, bad in (("limit_mb", ("0", "99999999", "x", "-1")),
                          ("max_blocks", ("0", "65", "", "1 2")),
                          ("unmovable", ("101", "-1", "y")),
                          ("hold_us", ("1000001", "1s")),
                          ("run", ("x", "-1", "", "4000000000"))):
            for text in bad:
                if text:
                    refused(f"{TORTURE}/{name}", text + "\n")

    def torture():
        """isolated pageblocks lose no page while all CPUs allocate (L)"""
        need(TORTURE, "CONFIG_PAGE_ISOLATION_TORTURE_TEST is not set")
        settle()
        before = unexplained()
        write(f"{TORTURE}/run", str(int(args.seconds) + 60))
        with Load(0.2):
            time.sleep(args.seconds)
        write(f"{TORTURE}/run", "0")
        settle()
        counts, isolated = stats()
        for name in "violations", "problems", "held":
            check(not counts[name], f"{counts[name]} {name}")
        for name in ("isolated", "strict", "busy", "contig", "refused",
                     "hidden_frees", "moved", "tested_free", "tested_used"):
            check(counts[name], f"{name} is 0, so the run has not tested everything")
        # The isolating CPU cannot see an allocated page whose reference count is not set
        # yet, with buddy neither.
        check(counts["slipped"] <= 1 + counts["strict"] // 1000,
              f"{counts['slipped']} times of {counts['strict']} a page that cannot move was "
              "allocated from pageblocks while these were isolated")
        for zone, (first, last) in isolated.items():
            check(first == last, f"zone {zone}: {last} pageblocks isolated, "
                  f"{first} before the run")
        retry(lambda: nothing_lost(before), 1)
        return ", ".join(f"{k} {v}" for k, v in counts.items())

    def without_pause():
        """isolation of one pageblock at a time, released at once, loses no page (L)"""
        need(TORTURE, "CONFIG_PAGE_ISOLATION_TORTURE_TEST is not set")
        for name, value in (("max_blocks", 1), ("hold_us", 0),
                            ("unmovable", 0)):
            set_file(f"{TORTURE}/{name}", value)
        write(f"{TORTURE}/run", str(int(args.seconds) + 60))
        time.sleep(args.seconds / 2)
        write(f"{TORTURE}/run", "0")
        counts, _ = stats()
        for name in "violations", "problems", "held":
            check(not counts[name], f"{counts[name]} {name}")
        check(counts["isolated"], "nothing was isolated")
        check(number(f"{TORTURE}/run") == 0, "the run goes on")
        return f"isolated {counts['isolated']}, contig {counts['contig']}"

    return bad_input, torture, without_pause
