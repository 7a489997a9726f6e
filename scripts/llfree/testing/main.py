# SPDX-License-Identifier: GPL-2.0
"""Run the tests: a subset, with --full all steps, or the named ones.
STEP list prints the steps and which command runs them.

Each test prints a line and has a log in build/test/. At the end come the
slowest steps and a line with the counts. A step whose input is missing fails.
Steps build what they need."""

import argparse
import collections
import time

from llfree import program
from llfree.testing import debian, features, host, release, variants
from llfree.testing.run import LOGS, builds, command, counts
from llfree.testing.count import Count

SLOWEST = 5
STEPS = {name[5:].replace("_", "-"): function
         for module in (host, release, variants, features, debian)
         for name, function in vars(module).items() if name.startswith("step_")}

# make test leaves these out: they run long, or their kernels take long to build.
# The kernel of step kunit has lockdep as well.
FULL_ONLY = ("each-patch", "large", "hotplug", "debug", "rt", "kasan", "kcsan", "kmsan",
             "arm64", "features-all", "pool", "mutants", "selftests", "browser",
             "debian", "traces")


spent = collections.Counter()           # seconds by step
building = collections.Counter()        # of these, in builds


def table():
    """The steps in their order, and which of the two sets has them"""
    rows = [("step", "run by", "what it tests"),
            *((name, "test-full" if name in FULL_ONLY else "test, test-full",
               function.__doc__) for name, function in STEPS.items())]
    return "\n".join(f"{name:12} {sets:16} {what}" for name, sets, what in rows)


def selected(full):
    return [name for name in STEPS if full or name not in FULL_ONLY]


def timed(name, function):
    """Run a step; add its time to that of the same step before."""
    start, before = time.monotonic(), sum(builds.values())
    result = function()
    spent[name] += time.monotonic() - start
    building[name] += sum(builds.values()) - before
    return result


def show_slowest():
    print("slowest steps:")
    for name, seconds in spent.most_common(SLOWEST):
        part = f" (builds: {building[name]:.1f} s)" if building[name] else ""
        print(f"  {name:12} {seconds:7.1f} s{part}")


def main():
    p = program.parser(
        __doc__, formatter_class=argparse.RawTextHelpFormatter,
        epilog=f"{table()}\n\n\"make test\" and \"make test-full\" run this "
        "program; T=\"STEP ...\" names steps.")
    p.add_argument("--full", action="store_true",
                   help="run all steps, also those that only test-full has")
    p.add_argument("step", metavar="STEP", nargs="*",
                   help="run these steps only, in this order")
    args = p.parse_args()
    if args.step == ["list"]:
        print(table())
        return 0
    for name in args.step:
        if name not in STEPS:
            p.error(f"no step '{name}'; there are: {' '.join(STEPS)}")
    program.exit_on_term()
    start = time.monotonic()
    # Everything else needs it.
    if timed("prepare", lambda: command("prepare", ["scripts/prepare"], 1800)):
        for name in args.step or selected(args.full):
            timed(name, STEPS[name])
    show_slowest()
    print(f"(logs in {LOGS}, {(time.monotonic() - start) / 60:.1f} min)")
    totals = Count(*map(sum, zip(*counts)))
    print(f"{totals.passed} passed, {totals.failed} failed, "
          f"{totals.skipped} skipped")
    return 1 if totals.failed or not totals.passed else 0
