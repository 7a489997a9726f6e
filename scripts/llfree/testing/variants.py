# SPDX-License-Identifier: GPL-2.0
"""Steps that build other kernels: sanitizers, other options, arm64"""

import os

from llfree.paths import BUILD, GUEST
from llfree.testing.count import kunit_count
from llfree.testing.guests import misuse, punish, vm
from llfree.testing.run import built, command


def step_kasan():
    """KUnit, smoke test and short workload with KASAN and UBSAN"""
    sanitized("x86_64-kasan")


def step_kcsan():
    """KUnit, smoke test, short workload, misuse with strict KCSAN; only LLFree's races"""
    if sanitized("x86_64-kcsan"):
        # Only this kernel detects the use of pages that are not allocated.
        misuse("misuse x86_64-kcsan", "x86_64-kcsan", 1200)


def step_kmsan():
    """KUnit, smoke test and short workload with KMSAN, built by clang"""
    # Two of three pages hold KMSAN's metadata about the third.
    sanitized("x86_64-kmsan", smoke="2G", workload="3G")


def step_arm64():
    """KUnit, smoke test and short workload on arm64, with and without LSE"""
    if not command("packages for arm64", ["scripts/deps", "arm64"], 1800) or \
       not command("root for arm64", ["scripts/guest-root", "arm64"], 1800) or \
       not built("arm64"):
        return
    tools = f"{BUILD}/pool-tools-arm64"
    os.makedirs(tools, exist_ok=True)
    for name, argv in (("kvlog", ["-C", "samples/nd_pool"]),
                       ("llpool", ["-f", "tools/mm/llpool.mk"])):
        command(f"{name} arm64", ["make", "-s", *argv, "CC=aarch64-linux-gnu-gcc", f"O={tools}"])
    for cpu in ("max", "cortex-a72"):
        vm(f"llpool arm64 {cpu}", ["/bin/sh", "-c", f"cd {tools} && ./llpool create --size 64M "
                                   "/tmp/pool && ./llpool check /tmp/pool"],
           "--mem", "512M", "--cpu", cpu, kernel="arm64")
        command(f"kunit arm64 {cpu}",
                ["scripts/kunit", "--kernel", f"{BUILD}/arm64", "--cpu", cpu],
                2400, kunit_count)
        for name, mem in (("smoke", "512M"), ("workload", "1G")):
            argv = [f"{GUEST}/{name}"] + ["--quick"] * (name == "workload")
            vm(f"{name} arm64 {cpu}", argv, "--mem", mem, "--smp", "4",
               "--cpu", cpu, kernel="arm64", timeout=2400)


def sanitized(kernel, smoke="512M", workload="1G"):
    """Test a kernel with KUnit, smoke test and short workload.

    smoke and workload are the memory of the guests of these two tests."""
    if not built(kernel):
        return False
    command(f"kunit {kernel}", ["scripts/kunit", "--kernel",
                                f"{BUILD}/{kernel}"], 2400, kunit_count)
    vm(f"smoke {kernel}", [f"{GUEST}/smoke"], "--mem", smoke, "--smp", "4",
       "--numa", "2", kernel=kernel, timeout=900)
    vm(f"workload {kernel}", [f"{GUEST}/workload", "--quick"], "--mem", workload,
       kernel=kernel, timeout=2400)
    return True


def step_debug():
    """the debug kernel: smoke test and short workload without a warning"""
    if built("x86_64-debug"):
        vm("debug smoke llfree", [f"{GUEST}/smoke"], "--mem", "512M",
           "--smp", "4", "--numa", "2", kernel="x86_64-debug", timeout=600)
        vm("debug smoke poison llfree", [f"{GUEST}/smoke"], "--mem", "512M",
           "--append", "page_poison=1", kernel="x86_64-debug", timeout=600)
        vm("debug workload llfree", [f"{GUEST}/workload", "--quick"],
           "--mem", "1G", kernel="x86_64-debug", timeout=1800)


def variant(kernel, properties, *options, smp="4"):
    """Test a kernel with other properties: KUnit, and the smoke test with both allocators."""
    if not built(kernel):
        return False
    command(f"kunit {kernel}", ["scripts/kunit", "--kernel",
                                f"{BUILD}/{kernel}", "--smp", smp], 2400,
            kunit_count)
    for alloc in ("llfree", "buddy"):
        vm(f"smoke {kernel} {alloc}",
           [f"{GUEST}/properties", "--smoke", *properties], "--mem", "512M",
           "--smp", smp, *options, kernel=kernel, alloc=alloc, timeout=900)
    return True


def step_up():
    """a kernel without SMP, with static keys: KUnit, smoke test"""
    variant("x86_64-small-up", ("no-smp", "no-numa", "static-keys"), smp="1")


def step_flat():
    """a kernel without NUMA, huge pages, compaction, isolation, CMA: KUnit, smoke test"""
    variant("x86_64-small-flat", ("no-numa", "no-thp", "no-compaction",
                                  "no-vmemmap"))


def step_large():
    """5-level paging, room for 8192 CPUs and 1024 nodes: KUnit, smoke test"""
    variant("x86_64-small-large", ("five-levels", "many-cpus"), "--numa", "2")


def step_rt():
    """PREEMPT_RT with lockdep: KUnit, smoke test, stress test"""
    if variant("x86_64-rt", ("realtime", "no-thp"), "--numa", "2"):
        punish("punish x86_64-rt", "x86_64-rt", 2400)
