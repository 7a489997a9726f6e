# SPDX-License-Identifier: GPL-2.0
"""Work that workload and realwork share, and counts of allocations by order"""

import os
import re
import subprocess
import tempfile

from memstate import Failure, NR_ORDERS, read, write
from llfree.paths import GUEST

EVENTS = "/sys/kernel/tracing/events/kmem"


class Orders:
    """A context in which the tracing subsystem counts allocations and frees by order"""

    TRIGGERS = {"mm_page_alloc": "hist:keys=order if pfn != 0xffffffffffffffff",
                "mm_page_free": "hist:keys=order"}

    def __enter__(self):
        self.counts = {}
        for event, trigger in self.TRIGGERS.items():
            try:
                write(f"{EVENTS}/{event}/trigger", trigger)
            except OSError as e:
                raise Failure(f"no histogram of {event}: {e}") from e
        return self

    def collect(self):
        for event in self.TRIGGERS:
            counts = [0] * NR_ORDERS
            for m in re.finditer(r"order: *(\d+) } hitcount: *(\d+)",
                                 read(f"{EVENTS}/{event}/hist")):
                counts[min(int(m[1]), NR_ORDERS - 1)] += int(m[2])
            self.counts[event] = counts

    def __exit__(self, *_):
        for event, trigger in self.TRIGGERS.items():
            write(f"{EVENTS}/{event}/trigger", "!" + trigger)


def run(argv, **kwargs):
    """Run a program and return its output. On failure print the output, and raise Failure."""
    p = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, errors="replace",
                       check=False, **kwargs)
    if p.returncode:
        print(p.stdout, end="")
        raise Failure(f"{argv[0]} exited with {p.returncode}")
    return p.stdout


def compile_program(args):
    """Compile and check the kernel's kconfig from the source tree args.linux."""
    with tempfile.TemporaryDirectory(dir="/tmp") as tmp:
        run(["make", "-s", f"-j{os.cpu_count()}", "-C", tmp,
             "-f", f"{GUEST}/kconfig.mk", f"LINUX={args.linux}",
             f"OPT={'-O0' if args.quick else '-O2'}", "check"])
        size = os.path.getsize(f"{tmp}/conf")
    return f"kconfig: 9 files, {size >> 10} KiB, passes its own tests"
