# SPDX-License-Identifier: GPL-2.0
"""Run the usual steps, all steps with --full, or the steps named.
"list" as STEP prints the steps, and which target of make runs each.

Prints a line for each test, and writes a log to build/test/. At the end prints the
slowest steps and a line with the counts. A step whose input is missing fails. A step
builds the kernels and programs that it needs."""

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

# make test leaves these steps out: a step runs long, or its kernel takes long to build.
# The kernel of step kunit has lockdep, too.
FULL_ONLY = ("each-patch", "large", "hotplug", "debug", "rt", "kasan", "kcsan", "kmsan",
             "arm64", "features-all", "pool", "mutants", "selftests", "browser",
             "debian", "traces")


spent = collections.Counter()           # seconds by step
building = collections.Counter()        # seconds of builds among these, by step


def table():
    """Return the steps in order, each with the targets of make that run it."""
    rows = [("step", "run by", "what it tests"),
            *((name, "test-full" if name in FULL_ONLY else "test, test-full",
               function.__doc__) for name, function in STEPS.items())]
    return "\n".join(f"{name:12} {sets:16} {what}" for name, sets, what in rows)


def selected(full):
    return [name for name in STEPS if full or name not in FULL_ONLY]


def timed(name, function):
    """Run a step, and add its time to the times of earlier runs of the step."""
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
    # Every step needs the kernel source.
    if timed("prepare", lambda: command("prepare", ["scripts/prepare"], 1800)):
        for name in args.step or selected(args.full):
            timed(name, STEPS[name])
    show_slowest()
    print(f"(logs in {LOGS}, {(time.monotonic() - start) / 60:.1f} min)")
    totals = Count(*map(sum, zip(*counts)))
    print(f"{totals.passed} passed, {totals.failed} failed, "
          f"{totals.skipped} skipped")
    return 1 if totals.failed or not totals.passed else 0
