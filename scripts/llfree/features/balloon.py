# SPDX-License-Identifier: GPL-2.0
"""Test free page reporting and the balloon from the host's side"""

import contextlib
import os
import re
import subprocess
import tempfile
import threading
import time

from llfree.features.common import MIB, Qmp, vm
from llfree.ktap import Failure, Report, Skip, check
from llfree.paths import GUEST


def memfd_of(parent):
    """Return the guest's memory as a path in /proc of QEMU, a child of a process."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
                if int(f.read().rpartition(")")[2].split()[1]) != parent:
                    continue
            for fd in os.listdir(f"/proc/{pid}/fd"):
                path = f"/proc/{pid}/fd/{fd}"
                if "memfd:memory-backend" in os.readlink(path):
                    return path
    return None


def used_mib(path):
    return os.stat(path).st_blocks * 512 // MIB


class BalloonGuest:
    """A guest with a balloon on a memfd, and samples of its memory use"""

    SIZE_MIB = 1024

    def __init__(self, args, directory):
        self.trace = f"{directory}/trace"
        qmp = f"{directory}/qmp"
        options = ["--mem", f"{self.SIZE_MIB}M", "--append", "cma=128M"]
        for argument in (
                "-object", "memory-backend-memfd,id=ram,share=on,"
                f"size={self.SIZE_MIB}M",
                "-machine", "memory-backend=ram",
                "-device", "virtio-balloon-pci,free-page-reporting=on",
                "-qmp", f"unix:{qmp},server=on,wait=off",
                "-trace", f"enable=ram_block_discard_range,file={self.trace}"):
            options += [f"--qemu-arg={argument}"]
        # pylint: disable=consider-using-with
        self.proc = subprocess.Popen(
            vm(args, options, [f"{GUEST}/features", "balloon", "--seconds",
                               str(args.seconds)]),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
            errors="replace")
        self.samples = []       # (step, MiB)
        self.reports = {}       # step: lines of the trace when the step began
        self.steps = []
        self.output = []
        self.qmp = Qmp(qmp)
        self.memfd = memfd_of(self.proc.pid)
        self.moved = []

    def trace_lines(self):
        try:
            with open(self.trace, encoding="utf-8", errors="replace") as f:
                return f.read().splitlines()
        except FileNotFoundError:
            return []

    def sample(self):
        while self.proc.poll() is None:
            with contextlib.suppress(OSError):
                step = self.steps[-1] if self.steps else "boot"
                self.samples.append((step, used_mib(self.memfd)))
            time.sleep(0.3)

    def move(self):
        """Inflate and deflate the balloon while the guest has load."""
        size = self.SIZE_MIB
        while self.steps[-1] == "loaded":
            for target in size // 2, size * 3 // 4, size:
                self.qmp.command("balloon", value=target * MIB)
                time.sleep(2)
                self.moved.append((target, self.qmp.balloon()))
        # The guest may have ended if the balloon was empty already.
        with contextlib.suppress(BrokenPipeError):
            self.qmp.command("balloon", value=size * MIB)

    def watch(self):
        sampler = threading.Thread(target=self.sample)
        mover = None
        sampler.start()
        for line in self.proc.stdout:
            line = line.rstrip()
            self.output.append(line)
            m = re.match(r"# now (\w+) ?(\d*)", line)
            if m:
                nth = sum(s.startswith(m[1]) for s in self.steps)
                self.steps.append(m[1] + (str(nth) if m[2] else ""))
                self.reports[self.steps[-1]] = len(self.trace_lines())
            if m and m[1] == "loaded":
                mover = threading.Thread(target=self.move)
                mover.start()
        status = self.proc.wait()
        sampler.join()
        if mover:
            mover.join()
        self.lines = self.trace_lines()
        return status

    def seen(self, step):
        return [used for s, used in self.samples if s == step]


def host_memory(guest, nth):
    """Check that the host's use falls after the guest has freed its memory."""
    before, after = guest.seen(f"filled{nth}"), guest.seen(f"freed{nth}")
    check(before and after, "the guest did not fill and free memory")
    high, low = max(before + after[:1]), min(after)
    freed = next(int(m[1]) for m in (re.match(r"# now freed (\d+)", line)
                                     for line in guest.output) if m)
    check(high >= freed, f"the guest used {freed} MiB, the host only {high}")
    check(high - low > freed * 8 // 10, f"{freed} MiB were freed, but the "
          f"host's use fell from {high} to {low} MiB only")
    return f"{high} MiB, then {low} MiB; the guest freed {freed}"


def reported(guest, step):
    """Return [(address, size)] of the ranges that the guest reported in a step."""
    check(step in guest.reports, f"the guest did not come to step '{step}'")
    if not guest.lines:
        raise Skip("this QEMU traces nothing")
    later = guest.steps[guest.steps.index(step) + 1]
    lines = guest.lines[guest.reports[step]:guest.reports[later]]
    ranges = re.findall(r"ram_block_discard_range.*?(0x[0-9a-f]+).*?\+ ?(\w+)",
                        "\n".join(lines))
    check(ranges, "nothing was reported: " + guest.lines[-1])
    return ranges


def reported_once(guest, nth):
    """Check that the guest does not report a range again that is unused since."""
    ranges = reported(guest, f"freed{nth}")
    again = len(ranges) - len(set(ranges))
    # The guest's own programs use a few blocks meanwhile.
    check(again <= 8 + len(ranges) // 20,
          f"{again} of {len(ranges)} ranges were reported twice")
    return f"{len(ranges)} ranges, {again} again"


def cma_reported(guest):
    """Check that the guest also reports entirely free pageblocks of a CMA area."""
    freed = next((int(m[1]) for m in (re.match(r"# now cma (\d+)", line)
                                      for line in guest.output) if m), None)
    if freed is None:
        raise Skip("the guest has no CMA area (CONFIG_CMA_DEBUGFS)")
    mib = sum(int(size, 0) for _, size in reported(guest, "cma0")) // MIB
    # A pass reports a part of the free blocks, and the next one waits 2 s.
    check(mib >= freed // 2, f"{freed} MiB of CMA pageblocks were freed, but "
          f"only {mib} MiB reported")
    return f"{freed} MiB freed, {mib} MiB reported"


def balloon_moved(guest):
    """Check that the balloon reaches the host's targets under load."""
    check(guest.moved, "the balloon was not moved")
    reached = {target for target, actual in guest.moved if actual <= target + 8}
    check(min(t for t, _ in guest.moved) in reached,
          f"the balloon never reached its target: {guest.moved}")
    check(any(a > guest.SIZE_MIB - 8 for t, a in guest.moved),
          f"the balloon was never empty again: {guest.moved}")
    used = guest.seen("loaded")
    return (f"{len(guest.moved)} moves, {min(a for _, a in guest.moved)} MiB at "
            f"least, host's use {min(used)} to {max(used)} MiB")


def run(args):
    with tempfile.TemporaryDirectory() as directory:
        guest = BalloonGuest(args, directory)
        if not guest.memfd:
            guest.proc.kill()
            raise Failure("no memfd in QEMU")
        status = guest.watch()
    print("\n".join(guest.output))
    tap = Report(6, "host")
    tap.test("memory_huge", lambda: host_memory(guest, 0))
    tap.test("memory_small", lambda: host_memory(guest, 1))
    tap.test("once_huge", lambda: reported_once(guest, 0))
    tap.test("once_small", lambda: reported_once(guest, 1))
    tap.test("cma", lambda: cma_reported(guest))
    tap.test("balloon", lambda: balloon_moved(guest))
    return tap.end() or status
