# SPDX-License-Identifier: GPL-2.0
"""Steps that test the users of free pages"""

from llfree.paths import BUILD
from llfree.testing.count import ktap
from llfree.testing.run import built, command


def features(alloc, *arguments, kernel="x86_64", name=None):
    if not name:
        name = f"features {alloc}" if kernel == "x86_64" else f"features {kernel} {alloc}"
    command(name, ["scripts/features", "--kernel", f"{BUILD}/{kernel}", "--alloc", alloc,
                   *arguments], 3600, ktap)


def step_hotplug():
    """memory that comes and goes: blocks, DIMMs, virtio-mem, DAX; both allocators"""
    for kernel in "x86_64", "x86_64-debug":
        if not built(kernel):
            continue
        for alloc in "llfree", "buddy":
            features(alloc, "--seconds", "20", "--rounds", "100" if kernel == "x86_64" else "20",
                     "blocks", "hole", "hotplug", "memmap", "virtiomem", "dax",
                     kernel=kernel)
    if built("x86_64"):
        command("grown", ["scripts/grown"], 900, ktap)


def step_features():
    """isolation, CMA, hwpoison, migration, compaction, hotplug, pools, and more: short runs"""
    if built("x86_64"):
        features("llfree", "--seconds", "8", "isolation", "cma", "hwpoison",
                 "highatomic", "migration", "pieces", "compaction", "hist", "blocks", "hole",
                 "hotplug", "virtiomem", "pool", "poolbad")
        features("llfree", "--rounds", "10", "poolcrash", name="pool crashes")


def step_pool():
    """pools in persistent memory with both allocators, 200 crashes"""
    if not built("x86_64"):
        return
    for alloc in "llfree", "buddy":
        features(alloc, "--seconds", "20", "--rounds", "100", "pool", "poolbad", "poolcrash",
                 name=f"pool {alloc}")


def step_features_all():
    """all topics of scripts/features, such as balloon and hibernation; both allocators"""
    if built("x86_64"):
        for alloc in "llfree", "buddy":
            features(alloc)
