# SPDX-License-Identifier: GPL-2.0
"""Steps that boot the release kernel"""

from llfree.paths import BUILD, GUEST
from llfree.testing.count import closing_line, ktap
from llfree.testing.guests import misuse, punish, vm
from llfree.testing.run import LOGS, built, command


def step_boots():
    """boots with several sizes and parameters, each with a smoke test; CPU hotplug"""
    if not built("x86_64"):
        return
    for alloc in ("llfree", "buddy"):
        for smp, mem, numa in (("1", "64M", "1"), ("2", "512M", "2"),
                               ("8", "2G", "1")):
            vm(f"boot {alloc} {smp} CPUs {mem} {numa} nodes",
               [f"{GUEST}/smoke"], "--smp", smp, "--mem", mem,
               "--numa", numa, alloc=alloc, timeout=300)
    for name, options in (
            ("4 nodes", ["--smp", "4", "--numa", "4"]),
            ("movablecore", ["--append", "movablecore=256M"]),
            ("mem=", ["--append", "mem=300M"]),
            ("hole", ["--append", "memmap=64M$0x10000000"])):
        vm(f"boot llfree {name}", [f"{GUEST}/smoke"], *options, timeout=300)
    vm("CPU hotplug", [f"{GUEST}/hotplug"], "--smp", "4", timeout=300)


def step_kselftest():
    """our kselftests in the guest, with both allocators"""
    if not built("x86_64"):
        return
    for alloc in ("llfree", "buddy"):
        vm(f"kselftest {alloc}", [f"{GUEST}/kselftest"], "--mem", "1G",
           alloc=alloc, parse=ktap)


def step_selftests():
    """the kernel's own mm selftests, each on both allocators, side by side"""
    if command("packages for selftests", ["scripts/deps", "selftests"], 1800) \
       and built("x86_64-selftests"):
        command("selftests", ["scripts/selftests"], 4 * 3600, closing_line)


def step_workload():
    """the workload on the release kernel"""
    if built("x86_64"):
        vm("workload llfree", [f"{GUEST}/workload"], "--mem", "1G",
           timeout=1800)


def step_punish():
    """stress test of all contexts, OOM, hotplug, compaction together; misuse"""
    if not built("x86_64"):
        return
    punish("punish llfree", "x86_64", 1200)
    # The kernel would survive few cases of misuse with buddy.
    misuse("misuse llfree")


def step_bench():
    """the benchmark module with both allocators, and instructions, against limits"""
    if not built("x86_64"):
        return
    for alloc in "llfree", "buddy":
        vm(f"bench {alloc}", [f"{GUEST}/bench-check", "--module",
                              f"{BUILD}/x86_64/mm/page_alloc_bench.ko"],
           "--mem", "1G", "--smp", "2", alloc=alloc, timeout=900, parse=ktap)
    # Counts of instructions do not depend on the machine or its load. But order 0 of buddy
    # takes from 251 to 283, depending on the lengths of per-CPU lists in a boot.
    command("bench instructions",
            ["scripts/bench", "--count", "--no-figures", "--pairs", "3", "--bench", "bulk,rand",
             "--order", "0,1,3,4,8,9,10", "--out", f"{LOGS}/bench-count",
             "--limits", "scripts/llfree/bench-limits.csv"], 600, ktap)


def step_traces():
    """page allocations of two loads, recorded, counted, replayed; model of aged memory"""
    if command("packages for traces", ["scripts/deps", "traces"], 1800) and built("x86_64"):
        out = f"{BUILD}/test/traces"
        for alloc in ("buddy", "llfree"):
            command(f"traces {alloc}", ["scripts/trace-pages", "--alloc", alloc, "--seconds", "20",
                                        "--mem", "1G", "--out", out, "files", "stress"], 1200)
        traces = [f"{out}/{load}-1G-{alloc}" for load in ("files", "stress")
                  for alloc in ("buddy", "llfree")]
        command("histograms", ["scripts/histograms", "--out", f"{out}/histograms", *traces])
        command("replay", ["scripts/replay", "--maps", "--out", f"{out}/replay", *traces])
        command("age-model", ["scripts/age-model", "--mib", "1024", "--seeds", "1",
                              "--out", f"{out}/age.csv"])
