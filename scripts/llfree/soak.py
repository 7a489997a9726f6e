# SPDX-License-Identifier: GPL-2.0
"""Stress the page allocator in guests for hours, and write a report.

Boots one guest after another for one slice of time, and runs guest/punish in each.
Kernel, allocator, CPUs, memory and nodes change from slice to slice. One slice in
four runs with buddy: a failure that occurs with buddy, too, is not a fault of LLFree.
In one slice of three, memory blocks and DIMMs are added and removed.

Writes build/soak/report.txt again after each slice. The report includes the numbers
of earlier runs, unless --fresh is given. Logs of slices that fail stay in build/soak.
Ends early on SIGINT and SIGTERM; an interrupted slice does not count."""

import collections
import json
import os
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time

from llfree import program, vm
from llfree.features.hotplug import Memory
from llfree.kernel import copies
from llfree.ktap import Failure
from llfree.paths import BUILD, GUEST, TOP
from llfree.program import Error, Stopped, write_text
from llfree.vm.arguments import EXIT_KERNEL, parse_size
from llfree.vm.console import OWN_OBJECTS
from llfree.vm.machine import MACHINES

OUT = f"{BUILD}/soak"
IMAGE = MACHINES["x86_64"].image
MODULE = "mm/page_alloc_torture.ko"
KERNELS = ("x86_64", "x86_64-debug", "x86_64-kasan", "x86_64-kcsan")
SHAPES = (("1", "512M", "1"), ("2", "512M", "1"), ("2", "1G", "2"),
          ("2", "2G", "1"), ("4", "512M", "1"), ("4", "1G", "2"),
          ("4", "2G", "4"), ("8", "1G", "1"), ("8", "2G", "2"),
          ("8", "4G", "4"))
# Known reports of the kernel; guest/punish explains them.
KNOWN = ("Dying CPU not properly vacated!",
         r"page allocation failure: order:0, mode:\S*__GFP_RETRY_MAYFAIL\|",
         r"WARNING: .* at arch/x86/mm/init_64\.c:\d+ add_pages\+")
# Least MiB of a guest in which memory comes and goes, and MiB that DIMMs can add
GOING = 1024
ADDED = 4096
# Seconds that a guest may need besides the load: boot, freeing of memory, checks
EXTRA = 1800

Slice = collections.namedtuple("Slice", "number kernel alloc smp mem numa going")


def built(kernel):
    return all(os.path.exists(f"{kernel}/{name}") for name in (IMAGE, MODULE))


class Soak:
    def __init__(self, args):
        self.args = args
        self.state = {"slices": [], "seed": args.seed}
        self.path = f"{OUT}/state.json"
        os.makedirs(OUT, exist_ok=True)
        self.lock = program.only_one(f"{OUT}.lock")
        if args.fresh:
            shutil.rmtree(OUT)
            os.makedirs(OUT)
        if os.path.exists(self.path):
            with open(self.path, encoding="utf-8") as f:
                self.state = json.load(f)

    def plan(self, number, kernel):
        rnd = random.Random(f"{self.args.seed} {number} {kernel}")
        # Kernels with many checks make no progress on more CPUs than twice the host's.
        most = 8 if kernel == KERNELS[0] else 2 * os.cpu_count()
        shapes = [s for s in SHAPES if int(s[0]) <= most]
        shape = rnd.choice(shapes)
        going = self.args.going or rnd.random() < 1 / 3
        if going:
            shape = rnd.choice([s for s in shapes if parse_size(s[1]) >= GOING])
        alloc = "buddy" if number % 4 == 3 else "llfree"
        return Slice(number, kernel, alloc, *shape, going)

    @staticmethod
    def guest(argv, socket):
        """Run a guest, and add and remove DIMMs when the guest asks. Return the exit status
        and the output."""
        output, memory = [], Memory(socket)
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace") as proc:
            try:
                for text in proc.stdout:
                    output.append(text)
                    try:
                        memory.obey(text)
                    except (Failure, OSError) as e:
                        output.append(f"soak: {e}\n")
            except BaseException:
                proc.terminate()
                raise
        return proc.returncode, "".join(output)

    def run(self, todo):
        """Run one slice and return its record."""
        seconds = int(self.args.slice * 60)
        log = f"{OUT}/kernel.log"
        directory = tempfile.mkdtemp()
        socket = f"{directory}/qmp"
        going = []
        if todo.going:
            mib = parse_size(todo.mem)
            going = ["--append", f"movablecore={mib // 2}M", "--qmp", socket,
                     "--slots", "4", "--maxmem", f"{mib + ADDED}M"]
        argv = vm.command(
            f"{OUT}/kernel",
            [f"{GUEST}/punish", "--seconds", str(seconds), "--seed", str(todo.number),
             "--module", f"{OUT}/kernel/{MODULE}", *["--dimms"] * todo.going],
            "--smp", todo.smp, "--mem", todo.mem, "--numa", todo.numa, "--log", log,
            "--patient", *[a for k in KNOWN for a in ("--expect", k)],
            *going, *self.args.vm_arg, alloc=todo.alloc, timeout=2 * seconds + EXTRA)
        start = time.monotonic()
        try:
            status, output = self.guest(argv, socket)
        finally:
            shutil.rmtree(directory)
        found = re.search(r"^punish totals (\{.*\})$", output, re.M)
        record = {**todo._asdict(), "when": time.strftime("%F %T"),
                  "seconds": round(time.monotonic() - start),
                  "status": status,
                  "totals": json.loads(found[1]) if found else None}
        if status:
            name = f"{OUT}/failed-{todo.number}"
            record["log"] = name
            with open(f"{name}.txt", "w", encoding="utf-8") as f:
                f.write(f"{todo}\n{output}")
            shutil.copy(log, f"{name}.kernel.log")
        return record

    def all(self):
        until = time.monotonic() + self.args.hours * 3600
        turn = len(self.state["slices"])
        while time.monotonic() < until:
            kernels = [k for k in self.args.kernel if built(f"{BUILD}/{k}")]
            if not kernels:
                raise Error("no kernel with the torture module is built")
            kernel = random.Random(f"{self.args.seed} {turn}").choice(kernels)
            copy = f"{OUT}/kernel"
            if not copies.take(f"{BUILD}/{kernel}", copy, (IMAGE, MODULE, *OWN_OBJECTS),
                               wait=False) or not built(copy):
                turn += 1
                time.sleep(10)
                continue
            todo = self.plan(turn, kernel)
            record = self.run(todo)
            self.state["slices"].append(record)
            turn += 1
            print(f"{record['when']} {todo.number}: {todo.kernel} "
                  f"{todo.alloc} {todo.smp} CPUs {todo.mem} {todo.numa} nodes"
                  f"{', memory comes and goes' if todo.going else ''}:"
                  f" {'good' if not record['status'] else 'FAILED'}, "
                  f"{record['seconds']} s", flush=True)
            self.save()

    def save(self):
        for name, text in (("state.json", json.dumps(self.state)),
                           ("report.txt", self.report())):
            write_text(f"{OUT}/{name}", text)

    def report(self):
        slices = self.state["slices"]
        failed = [s for s in slices if s["status"]]
        lines = [
            f"Soak of the page allocator, {time.strftime('%F %T')}", "",
            f"{sum(s['seconds'] for s in slices) / 3600:.2f} hours, "
            f"{len(slices)} guests, {len(failed)} failed, in "
            f"{sum(s['status'] == EXIT_KERNEL for s in slices)} of which the "
            "kernel reported a problem", ""]

        def group(title, key):
            lines.append(f"{title:22}{'guests':>8}{'hours':>8}{'failed':>8}")
            for value in sorted({key(s) for s in slices}):
                some = [s for s in slices if key(s) == value]
                lines.append(f"  {value:20}{len(some):8}"
                             f"{sum(s['seconds'] for s in some) / 3600:8.2f}"
                             f"{sum(bool(s['status']) for s in some):8}")
            lines.append("")

        group("kernel, allocator", lambda s: f"{s['kernel']} {s['alloc']}")
        group("CPUs, memory, nodes",
              lambda s: f"{s['smp']} {s['mem']:>4} {s['numa']}")

        group("memory", lambda s: "comes and goes" if s.get("going") else "stays")

        row = "{:26}{:>16}{:>16}"
        allocs = ("llfree", "buddy")
        lines.append(row.format("", *allocs))
        sums = [self.sums([s["totals"] for s in slices
                           if s["alloc"] == a and s["totals"]])
                for a in allocs]
        for name in sorted(set().union(*sums), key=self.rank):
            lines.append(row.format(name, *(s.get(name, 0) for s in sums)))
        if failed:
            lines += ["", "failed:"]
        for s in failed[-12:]:
            lines.append(f"  {s['when']} {s['kernel']} {s['alloc']} "
                         f"{s['smp']} CPUs {s['mem']} {s['numa']} nodes, "
                         f"status {s['status']}: "
                         f"{os.path.relpath(s['log'], TOP)}.*")
        return "\n".join(lines) + "\n"

    RANK = ("validations", "pages by", "core frames by", "faults by",
            "OOM kills", "CPUs taken off", "blocks taken off",
            "DIMMs removed", "longest")

    def rank(self, name):
        return next(i for i, prefix in enumerate(self.RANK)
                    if name.startswith(prefix)), name

    @staticmethod
    def sums(totals):
        """Return {line of the report: number}."""
        found = collections.Counter()
        longest = collections.Counter()
        for t in totals:
            found["validations"] += t["validations"]
            found["OOM kills"] += t["oom_kill"]
            found["CPUs taken off"] += t["hotplug"]
            found["blocks taken off"] += t.get("blocks", 0)
            found["DIMMs removed"] += t.get("dimms", 0)
            for name, n in t["faults"].items():
                found[f"faults by {name}"] += n
            for name, c in t["torture"].items():
                ctx = name.removeprefix("core-")
                if name != ctx:
                    found[f"core frames by {ctx}"] += c["pages"]
                    continue
                found[f"pages by {ctx}"] += c["pages"]
                key = f"longest, {ctx}, ms"
                longest[key] = max(longest[key], c["max_us"] / 1000)
        return {**found, **{k: round(v, 1) for k, v in longest.items()}}


def main():
    p = program.parser(__doc__)
    p.add_argument("--hours", metavar="H", type=float, default=1,
                   help="start no slice after H hours (default: 1)")
    p.add_argument("--slice", metavar="MIN", type=float, default=5,
                   help="minutes of load in each guest (default: 5)")
    p.add_argument("--kernel", metavar="NAME", action="append",
                   help="directory in build/, repeatable (default: those of "
                        f"{', '.join(KERNELS)} that are built)")
    p.add_argument("--vm-arg", metavar="ARG", action="append", default=[],
                   help="one more argument for scripts/vm (--vm-arg=--...)")
    p.add_argument("--seed", type=int, default=1,
                   help="seed of the random choice of kernels and sizes (default: 1)")
    p.add_argument("--going", action="store_true",
                   help="memory comes and goes in each guest, not only in one of three")
    p.add_argument("--fresh", action="store_true",
                   help="forget earlier runs, with their logs")
    args = p.parse_args()
    args.kernel = args.kernel or KERNELS
    program.raise_stopped(signal.SIGINT, signal.SIGTERM)
    soak = Soak(args)
    before = len(soak.state["slices"])
    try:
        soak.all()
    except Stopped as e:
        print(f"soak: stopped by {e}", flush=True)
    soak.save()
    mine = soak.state["slices"][before:]
    failed = sum(bool(s["status"]) for s in mine)
    print(f"soak: {len(mine)} guests, {failed} failed: {OUT}/report.txt")
    return 1 if failed or not mine else 0
