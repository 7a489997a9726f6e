# SPDX-License-Identifier: GPL-2.0
"""Plan the boots: the cells that each guest measures, and its command line"""

import json
import os
import shlex

from llfree import vm
from llfree.bench import stats as stat
from llfree.paths import BUILD, GUEST

# Files that a guest needs. The guest sees the checkout, which includes build/.
WORK = f"{BUILD}/bench.work"
MODULE = "mm/page_alloc_bench.ko"
MAX_ORDER = 10
RAW = "-raw"
# Timeout of a guest in seconds
BOOT_LIMIT = 3600
# Factor of operations and rounds on a CPU that is not emulated. With many short rounds,
# other programs of the host disturb only a few of them.
NATIVE = 3
# Benchmarks whose instructions can be counted: no round depends on time
COUNTABLE = ("bulk", "repeat", "rand", "remote", "exit", "mixed")
# Names of benchmarks in guest/realwork
REAL = ("build", "page_fault1", "page_fault2", "malloc", "handover",
        "stress-vm", "big-exit", "thp", "holes", "sockets")
QUICK_REAL = ("page_fault1",)


def orders_of(bench, args):
    if bench == "mixed":
        return [0]
    if bench in ("fill", "latency"):
        return [o for o in args.order if o in (0, 3, 9)] or args.order[:1]
    if bench in stat.ROUNDS:
        return [0]
    return args.order


def cpus_of(bench, args):
    if bench in ("fill", "latency"):
        return sorted({args.cpus[0], args.cpus[-1]})
    return args.cpus[-1:] if bench in stat.ROUNDS else args.cpus


def cell_of(bench, order, cpus, args):
    """Return a cell's keys for the module.

    On an emulated CPU, a round takes tenths of a second, with --quick milliseconds. The
    result of a cell is the median of its rounds."""
    cell = {"bench": bench, "order": order, "cpus": f"0-{cpus - 1}",
            "seed": args.seed}
    if bench in stat.ROUNDS:
        # Rounds of age turn over much more memory than those of frag.
        cell["rounds"] = 20 if args.quick else 30 if bench == "age" else 100
        cell["map"] = True
        if bench.endswith(RAW):
            cell.update(bench=bench.removesuffix(RAW), raw=True)
        return cell
    cell["rounds"] = 7 if args.quick or args.count else 9
    if bench in ("bulk", "rand", "remote", "exit"):
        # More pages than per-CPU lists hold; most where time does not matter
        cell["ops"] = 8192 if args.quick else 32768 if args.count else 16384
    else:
        ops = 4000 if args.quick or args.count else 10000
        cell["ops"] = ops >> (0 if order < 4 else 2 if order < 9 else 4)
    if args.um:
        cell["ops"] *= NATIVE
        cell["rounds"] *= NATIVE
    if bench == "latency":
        cell["ops"] *= 4
        cell["rounds"] = 1
    return cell


def matrix(args):
    cells = []
    for bench in args.bench:
        for order in orders_of(bench, args):
            for cpus in cpus_of(bench, args):
                cell = cell_of(bench, order, cpus, args)
                cells.append(cell)
                if (bench, order) == ("bulk", 0) and not args.um:
                    cells.append({**cell, "api": "bulk"})
    return cells


def bench_name(cell):
    return cell["bench"] + RAW * cell.get("raw", False)


def cell_name(cell):
    if isinstance(cell, str):
        return cell
    return (f"{bench_name(cell)} order {cell['order']} CPUs {cell['cpus']}"
            f"{' bulk API' if cell.get('api') == 'bulk' else ''}")


class Boot:
    """A guest to boot: its cells and its command line"""

    def __init__(self, number, pair, alloc, cells, real):
        self.number = number
        self.pair = pair
        self.alloc = alloc
        self.cells = cells
        self.real = real
        self.todo = cells + real

    def write_plan(self, out):
        self.plan = f"{WORK}/plan-{self.number}.json"
        self.log = f"{out}/boot-{self.number}.log"
        self.kernel_log = f"{out}/kernel-{self.number}.log"
        with open(self.plan, "w", encoding="utf-8") as f:
            json.dump(self.cells, f)

    def command(self, args, module):
        """Return the command that runs in the guest."""
        parts = []
        if self.cells:
            parts.append(shlex.join(
                [f"{GUEST}/bench", *(["--module", module] if module else []),
                 self.plan]))
        if self.real:
            parts.append(shlex.join(
                [f"{GUEST}/realwork", "--bin", WORK, "--first",
                 str(len(self.cells)), *(["--quick"] * args.quick),
                 *self.real]))
        return " && ".join(parts)

    def argv(self, args):
        if args.um:
            return self.um_argv(args)
        module = f"{WORK}/kernel/{MODULE}"
        if not os.path.exists(module):
            module = None
        return vm.command(
            f"{WORK}/kernel", [self.command(args, module)], "--smp", str(args.smp),
            "--mem", f"{args.mem if self.cells else args.real_mem}M",
            "--log", self.kernel_log, "--patient",
            "--icount" if args.count else "--prealloc", *args.vm_arg,
            alloc=self.alloc, timeout=BOOT_LIMIT)

    def um_argv(self, args):
        """Return the command line of User Mode Linux with this machine's files."""
        mounts = "; ".join(f"mount -t {fs} none {path}" for fs, path in (
            ("proc", "/proc"), ("sysfs", "/sys"),
            ("debugfs", "/sys/kernel/debug")))
        path = os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        script = (f"{mounts}; export PATH={shlex.quote(path)} "
                  f"ALLOC={self.alloc} HOME=/root; "
                  f"exec {GUEST}/bench --init {shlex.quote(self.plan)}")
        return [f"{WORK}/kernel/linux", f"mem={args.mem}M",
                "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro",
                f"page_alloc={self.alloc}", "panic=-1", "con=null",
                "con0=null,fd:1", "quiet", "init=/bin/sh", "--", "-c",
                f'"{script}"']


def plan_boots(args):
    """Return the boots, in pairs. The allocator of a pair's first boot alternates."""
    boots = []
    cells = matrix(args)
    # Memory that programs have used must not change results of the module, so real work
    # has separate boots.
    kinds = [(cells, [])] if cells else []
    if args.quick and cells:
        kinds = [(cells, args.real)]
    elif args.real:
        kinds.append(([], args.real))
    for pair in range(args.pairs):
        for some, real in kinds:
            for alloc in stat.ALLOCS[::-1 if pair % 2 else 1]:
                boots.append(Boot(len(boots), pair, alloc, some, real))
    return boots


def groups(boots, args):
    """Return groups of boots that exist at the same time.

    Groups are pairs if guests can be stopped and time is measured, else single boots."""
    size = 1 if args.um or args.count or args.one_by_one else 2
    return [boots[i:i + size] for i in range(0, len(boots), size)]
