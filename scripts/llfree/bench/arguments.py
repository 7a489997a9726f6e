# SPDX-License-Identifier: GPL-2.0
"""Boot one kernel image with either page allocator, measure and compare.

Boots guests in pairs, one with buddy and one with LLFree. In each guest, the module
page_alloc_bench runs every benchmark with every order and number of CPUs, and
guest/realwork runs real programs. Both guests of a pair exist at the same time, but
measure in turns: one guest is stopped while the other measures the same cell. So a
change of the host's speed affects both guests of a pair.

Prints ratios LLFree/buddy, then medians and spreads. results.csv and results.json have
every single value, report.txt the tables, index.html all results, samples.csv the maps
of memory over time. Figures are also files, as SVG and PNG. On Ctrl-C writes all files
with the values measured so far."""

import argparse
import os
import re

from llfree import program
from llfree.bench import stats as stat
from llfree.bench.plan import COUNTABLE, MAX_ORDER, QUICK_REAL, REAL
from llfree.paths import BUILD, KERNEL

UM_KERNEL = f"{BUILD}/um-bench"


def int_list(low, high):
    def parse(text):
        found = set()
        for part in text.split(","):
            m = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
            if not m:
                raise argparse.ArgumentTypeError(
                    f"'{text}' is no list like 0,3,8-10")
            found.update(range(int(m[1]), int(m[2] or m[1]) + 1))
        if not found or min(found) < low or max(found) > high:
            raise argparse.ArgumentTypeError(f"{text}: {low} to {high}")
        return sorted(found)
    return parse


def name_list(names):
    def parse(text):
        found = text.split(",")
        for name in found:
            if name not in names:
                raise argparse.ArgumentTypeError(
                    f"no '{name}'; there are: {', '.join(names)}")
        return [n for n in names if n in found]
    return parse


def default_cpus(quick):
    """Return 1, 2, 4, and more powers of two if the host has so many CPUs."""
    if quick:
        return [1, 2]
    return [1 << i for i in range(9) if 1 << i <= max(4, os.cpu_count())]


def parse_args():
    p = program.parser(__doc__)
    p.add_argument("--quick", action="store_true",
                   help="a few minutes: fewer orders, CPUs, pairs")
    p.add_argument("--bench", metavar="LIST", type=name_list(stat.BENCHES),
                   help=f"some of {','.join(stat.BENCHES)} (default: all)")
    p.add_argument("--real", metavar="LIST", type=name_list(REAL),
                   help=f"some of {','.join(REAL)} (default: all; quick: "
                        f"{','.join(QUICK_REAL)})")
    p.add_argument("--no-module", action="store_true",
                   help="real work only")
    p.add_argument("--no-real", action="store_true",
                   help="benchmarks of the module only")
    p.add_argument("--order", metavar="LIST", type=int_list(0, MAX_ORDER),
                   help="as 0,3,8-10 (default: all; quick: 0,3,9)")
    p.add_argument("--cpus", metavar="LIST", type=int_list(1, 1024),
                   help="numbers of CPUs (default: 1,2,4, and more if there "
                        "are more; quick: 1,2)")
    p.add_argument("--pairs", metavar="N", type=int,
                   help="pairs of boots (default: 5, quick: 3)")
    p.add_argument("--kernel", metavar="DIR",
                   help="build directory (default: build/x86_64)")
    p.add_argument("--mem", metavar="MIB", type=int,
                   help="MiB of the guest's memory (default: 2048, real work and "
                        "quick: 1024)")
    p.add_argument("--um", action="store_true",
                   help="User Mode Linux instead of QEMU: native, one CPU")
    p.add_argument("--count", action="store_true",
                   help="count instructions, on one emulated CPU: says little "
                   "about time, and nothing about contention, but one pair of "
                   "boots gives the same counts on every machine")
    p.add_argument("--one-by-one", action="store_true",
                   help="boot one guest after the other, for hosts without "
                   "memory for two; a change of the host's speed distorts ratios")
    p.add_argument("--limits", metavar="FILE",
                   help="fail if a ratio is above the limit in FILE, "
                   "a CSV file with the columns bench,order,measure,ratio")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--vm-arg", metavar="ARG", action="append", default=[],
                   help="one more argument for scripts/vm (--vm-arg=--...)")
    p.add_argument("--out", metavar="DIR",
                   help="directory for results (default: build/bench, "
                        "build/bench-um or build/bench-count)")
    p.add_argument("--no-figures", dest="figures", action="store_false")
    p.add_argument("--from", metavar="FILE", dest="source",
                   help="write tables, figures and page of a results.json or "
                        "results.csv again, into the directory of FILE")
    args = p.parse_args()
    if args.limits and not os.path.isfile(args.limits):
        p.error(f"no file {args.limits}")
    if args.source:
        args.out = args.out or os.path.dirname(os.path.abspath(args.source))
        return args
    if args.um:
        if (args.cpus or [1]) != [1]:
            p.error("User Mode Linux has one CPU")
        args.cpus = [1]
        # In User Mode Linux, real work has neither huge pages nor stress-ng.
        args.no_real = True
    if args.count:
        if args.um:
            p.error("--count is for QEMU")
        if (args.cpus or [1]) != [1]:
            p.error("--count is for one CPU")
        args.cpus = [1]
        args.no_real = True
        args.bench = args.bench or list(COUNTABLE)
        args.pairs = args.pairs or 1
        args.mem = args.mem or 1024
    args.bench = [] if args.no_module else args.bench or list(stat.BENCHES)
    args.real = [] if args.no_real else args.real or \
        list(QUICK_REAL if args.quick else REAL)
    if not args.bench and not args.real:
        p.error("nothing left to measure")
    args.order = args.order or ([0, 3, 9] if args.quick
                                else list(range(MAX_ORDER + 1)))
    args.cpus = args.cpus or default_cpus(args.quick)
    args.smp = args.cpus[-1]
    args.pairs = args.pairs or (3 if args.quick else 5)
    # So little memory that a build with its files fills it
    args.real_mem = args.mem or 1024
    args.mem = args.mem or (1024 if args.quick else 2048)
    args.kernel = os.path.abspath(
        args.kernel or (UM_KERNEL if args.um else KERNEL))
    args.out = os.path.abspath(
        args.out or f"{BUILD}/bench" + ("-um" if args.um else
                                       "-count" if args.count else ""))
    return args
