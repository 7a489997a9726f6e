# SPDX-License-Identifier: GPL-2.0
"""Run scripts/bench: take a kernel, boot guests, write the results"""

import os
import re
import signal
import subprocess
import sys
import time

from llfree import program
from llfree.bench import data
from llfree.bench import stats as stat
from llfree.bench.arguments import parse_args
from llfree.bench.guests import Guest, Useless, run_guests
from llfree.bench.plan import MODULE, WORK, groups, plan_boots
from llfree.bench.progress import Progress
from llfree.bench.results import Results, report
from llfree.kernel import copies
from llfree.ktap import Report
from llfree.paths import GUEST
from llfree.program import Error, Stopped
from llfree.vm import machine


def finish(results, args):
    """Write files, tables and figures. Return 1 if a ratio is above its limit, else 0."""
    above = 0
    results.save(args.out)
    text = report(results)
    with open(f"{args.out}/report.txt", "w", encoding="utf-8") as f:
        f.write(text)
    print(text)
    if args.limits:
        limits = stat.read_limits(args.limits)
        tests = Report(len(limits))
        for result in stat.check_limits(stat.compare(results.values), limits):
            tests.result(*result)
        above = tests.end()
        print()
    names = []
    if args.figures:
        try:
            # pylint: disable=import-outside-toplevel
            from llfree.bench import plot
            from llfree.bench.page import document
        except ModuleNotFoundError as e:
            print(f"bench: no figures and no page: {e} (scripts/deps figures "
                  "installs it for /usr/bin/python3)", file=sys.stderr)
        else:
            names = [document.write(results.data, args.out),
                     *plot.draw(results.data, args.out)]
    names = ["results.csv", "results.json", "report.txt",
             *["samples.csv"] * bool(results.samples), *names]
    print(f"{args.out}: {' '.join(names)}")
    return above


def take_kernel(args):
    images = ["linux"] if args.um else [m.image for m in machine.MACHINES.values()]
    if not any(os.path.exists(f"{args.kernel}/{i}") for i in images):
        raise Error(f"no kernel in {args.kernel}: build it with scripts/build"
                    + " um-bench" * args.um)
    copies.take(args.kernel, f"{WORK}/kernel", [*images, MODULE])


def measure(args):
    os.makedirs(args.out, exist_ok=True)
    os.makedirs(WORK, exist_ok=True)
    with program.only_one(f"{WORK}.lock"):
        take_kernel(args)
        return measure_kernel(args)


def measure_kernel(args):
    if args.real:
        subprocess.run([f"{GUEST}/realwork", "--build", WORK], check=True)
    level = "UML native" if args.um else data.COUNTED if args.count else "TCG"
    if not args.um and not args.count and machine.kvm_usable() and \
       machine.find_kernel(f"{WORK}/kernel")[0] == machine.HOST:
        level = "KVM"
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        m = re.search(r"^model name\s*: (.*)", f.read(), re.M)
    results = Results({
        "date": time.strftime("%F %T"), "machine": level,
        "host": m[1] if m else os.uname().machine,
        "host_cpus": os.cpu_count(), "smp": args.smp, "mem": args.mem,
        "quick": args.quick, "seed": args.seed})
    boots = plan_boots(args)
    progress = Progress(boots)
    good = True
    status = 0
    begun = 0
    try:
        for group in groups(boots, args):
            begun = group[0].number + 1
            good = run_guests([Guest(b, args, results, progress)
                               for b in group]) and good
            results.save(args.out)
    except (Stopped, KeyboardInterrupt, Useless) as e:
        results.meta["stopped"] = f", stopped in boot {begun} of {len(boots)}"
        status = 1 if isinstance(e, Useless) else 130
    progress.clear()
    above = finish(results, args)
    return status or (0 if good and results.values and not above else 1)


def main():
    args = parse_args()
    if args.source:
        os.makedirs(args.out, exist_ok=True)
        return finish(Results.load(args.source), args)
    program.raise_stopped(signal.SIGTERM)
    return measure(args)
