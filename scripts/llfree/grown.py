# SPDX-License-Identifier: GPL-2.0
"""Compare a zone that has grown with a zone that has had the same size since boot.

Counts instructions with scripts/bench in two guests. The zone of the first guest has a bit
more than 8 GiB at boot. The zone of the second guest has 128 MiB at boot, and grows when a
DIMM of 8 GiB comes online. Prints KTAP: a test fails if the ratio of LLFree's instructions,
second guest to first, is above a limit. Each test prints the ratio of buddy, too."""

import json
import os
import subprocess

from llfree import program
from llfree.bench import stats as stat
from llfree.ktap import Report, check
from llfree.paths import BUILD, SCRIPTS
from llfree.program import Error

BENCH = ["--count", "--no-figures", "--bench", "bulk,rand", "--order", "0,3,9,10"]
# QEMU's machine has 2 GiB below 4 GiB; zone Normal has the rest.
BOOTED = ["--mem", str(2048 + 128 + 8192)]
GROWN = ["--mem", "2816", *(f"--vm-arg={arg}" for arg in (
    "--maxmem", "16G", "--slots", "2",
    "--qemu-arg=-object", "--qemu-arg=memory-backend-ram,id=ram,size=8G",
    "--qemu-arg=-device", "--qemu-arg=pc-dimm,memdev=ram",
    "--append", "memmap=exactmap memmap=640K@0 memmap=2040M@1M memmap=128M@4G "
    "memhp_default_state=online_kernel"))]


def measure(args, name, options):
    """Run scripts/bench with a guest's options. Return {stat.Key: stat.Comparison}."""
    out = f"{args.out}/{name}"
    os.makedirs(out, exist_ok=True)
    with open(f"{out}/log", "w", encoding="utf-8") as log:
        subprocess.run([f"{SCRIPTS}/bench", *BENCH, "--kernel", args.kernel, "--pairs",
                        str(args.pairs), "--out", out, *options],
                       stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                       check=True)
    with open(f"{out}/results.json", encoding="utf-8") as f:
        return stat.compare(json.load(f)["values"])


def compare(booted, grown, limit):
    """Fail if LLFree's ratio, grown zone to booted zone, is above the limit."""
    ratio = {alloc: grown.median(alloc) / booted.median(alloc) for alloc in stat.ALLOCS}
    return check(ratio["llfree"] <= limit,
                 f"{booted.median('llfree'):.0f} -> {grown.median('llfree'):.0f}: "
                 f"{ratio['llfree']:.3f}, at most {limit} (buddy: {ratio['buddy']:.3f})")


def main():
    p = program.parser(__doc__)
    program.add_kernel(p)
    p.add_argument("--pairs", metavar="N", type=int, default=2,
                   help="boots of each guest with each allocator (default: 2)")
    p.add_argument("--limit", metavar="RATIO", type=float, default=1.02,
                   help="limit of the ratio, grown zone to booted zone (default: 1.02)")
    p.add_argument("--out", metavar="DIR", default=f"{BUILD}/grown",
                   help="directory for results (default: build/grown)")
    args = p.parse_args()
    try:
        booted = measure(args, "booted", BOOTED)
        grown = measure(args, "grown", GROWN)
    except subprocess.CalledProcessError as e:
        raise Error(f"scripts/bench failed: {args.out}/*/log: {e}") from e
    # In rand, the momentary length of per-CPU lists makes order 0 random.
    cells = [key for key in booted if key in grown and (key.bench, key.order) != ("rand", 0)]
    if not cells:
        raise Error("nothing was measured")
    report = Report(len(cells))
    for key in cells:
        report.test(f"{key.bench} order {key.order} {stat.what(key)}",
                    lambda key=key: compare(booted[key], grown[key], args.limit))
    return report.end()
