# SPDX-License-Identifier: GPL-2.0
"""Boot the kernel many times in a row, with several sizes of guest, and check each boot.

Boots each combination of CPUs and memory N times. The guest runs a smoke test in each
boot. Stops at the first failure."""

import itertools
import os
import subprocess
import sys
import time

from llfree import program, vm
from llfree.paths import GUEST
from llfree.program import Error, say


def main():
    p = program.parser(__doc__)
    p.add_argument("--count", metavar="N", type=int, default=20)
    p.add_argument("--smp", metavar="N,N", default="1,2,8")
    p.add_argument("--mem", metavar="SIZE,SIZE", default="64M,512M,8G")
    p.add_argument("--alloc", default=os.environ.get("ALLOC") or "llfree")
    program.add_kernel(p)
    p.add_argument("command", metavar="COMMAND", nargs="*",
                   default=[f"{GUEST}/smoke"], help="default: the smoke test")
    args = p.parse_args()
    done = 0
    for smp, mem in itertools.product(args.smp.split(","),
                                      args.mem.split(",")):
        times = []
        for number in range(1, args.count + 1):
            start = time.monotonic()
            proc = subprocess.run(
                vm.command(args.kernel, args.command, "--smp", smp, "--mem", mem,
                           alloc=args.alloc, timeout=600), stdin=subprocess.DEVNULL,
                capture_output=True, text=True, errors="replace",
                check=False)
            times.append(time.monotonic() - start)
            if proc.returncode:
                sys.stdout.write(proc.stdout)
                sys.stderr.write(proc.stderr)
                raise Error(f"boot {number} at {smp} CPUs, {mem} failed with status "
                            f"{proc.returncode}, after {done} good ones")
            done += 1
        say(f"{args.alloc}, {smp} CPUs, {mem}: {args.count} boots good, "
            f"{min(times):.0f} to {max(times):.0f} s each")
    say(f"{done} boots, all good")
