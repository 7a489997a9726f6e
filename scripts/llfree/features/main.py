# SPDX-License-Identifier: GPL-2.0
"""Test the users of free pages in guests: isolation, CMA, hibernation, ...

Boots a guest with the options that each topic needs, and runs the topic in the guest,
most with scripts/guest/features. Also does the host's part of topics: adds and removes
memory, moves the balloon, resumes an image, reads a dump, crashes guests. Prints KTAP,
with a block for each topic."""

import subprocess

from llfree import ktap, program
from llfree.features import balloon, hibernation, hotplug, pool, shuffle, vmcore
from llfree.features.common import vm
from llfree.paths import GUEST


def in_guest(topic, *options):
    """Return a topic that has no part on the host."""
    def run(args):
        ended = subprocess.run(
            vm(args, options, [f"{GUEST}/features", topic, "--seconds",
                               str(args.seconds)]), check=False,
            stdin=subprocess.DEVNULL)
        return ended.returncode
    return run


TOPICS = {
    "isolation": in_guest("isolation", "--mem", "1G"),
    "contig": in_guest("contig", "--mem", "6G", "--cpu", "max"),
    "cma": in_guest("cma", "--mem", "1G", "--append", "cma=512M"),
    "hwpoison": in_guest("hwpoison", "--mem", "1G"),
    "highatomic": in_guest("highatomic", "--mem", "512M"),
    "migration": in_guest("migration", "--smp", "4", "--mem", "768M",
                          "--numa", "2"),
    "pieces": in_guest("pieces", "--smp", "2", "--mem", "400M"),
    "compaction": in_guest("compaction", "--smp", "2", "--mem", "1G"),
    # Room for a page of 1 GiB
    "hist": in_guest("hist", "--smp", "2", "--mem", "6G", "--cpu", "max"),
    "kswapd": in_guest("kswapd", "--smp", "4", "--mem", "400M"),
    "blocks": in_guest("blocks", "--mem", "1536M", "--append", "movablecore=768M"),
    # The memory map hides 14 GiB, from 4 to 18 GiB, from the guest.
    "hole": in_guest("hole", "--mem", "20G", "--append", "memmap=exactmap memmap=640K@0 "
                     "memmap=768M@1M memmap=256M@18G"),
    "hotplug": lambda args: hotplug.run("hotplug", args),
    "memmap": lambda args: hotplug.run(
        "hotplug", args, "--append", "memory_hotplug.memmap_on_memory=1"),
    "virtiomem": lambda args: hotplug.run("virtiomem", args),
    # The last 2 MiB of the NVDIMM are for labels.
    "dax": in_guest("dax", "--mem", "1G", "--maxmem", "4G", "--numa", "2",
                    "--qemu-arg=-machine", "--qemu-arg=nvdimm=on",
                    "--qemu-arg=-object", "--qemu-arg=memory-backend-ram,id=nvmem,size=1026M",
                    "--qemu-arg=-device",
                    "--qemu-arg=nvdimm,id=nvdimm0,memdev=nvmem,label-size=2M,node=1"),
    "balloon": balloon.run,
    "hibernation": hibernation.run,
    "shuffle": shuffle.run,
    "vmcore": vmcore.run,
    "pool": pool.features,
    "poolbad": pool.poison,
    "poolcrash": pool.crash_runs,
}


def main():
    p = program.parser(__doc__)
    p.add_argument("topic", metavar="TOPIC", nargs="*",
                   help=f"of {', '.join(TOPICS)} (default: all)")
    program.add_kernel(p)
    program.add_alloc(p)
    p.add_argument("--seconds", metavar="S", type=int, default=20,
                   help="length of each test under load (default: 20)")
    p.add_argument("--rounds", metavar="N", type=int, default=5,
                   help="changes of size under load, of virtiomem; crashes, of poolcrash "
                   "(default: 5)")
    p.add_argument("--list", action="store_true", help="print the topics")
    args = p.parse_args()
    if args.list:
        print("\n".join(TOPICS))
        return 0
    for name in args.topic:
        if name not in TOPICS:
            p.error(f"no topic '{name}'; there are: {' '.join(TOPICS)}")
    ktap.find_ksft()
    failed = []
    for name in args.topic or TOPICS:
        print(f"# topic {name}", flush=True)
        try:
            status = TOPICS[name](args)
        except ktap.Failure as e:
            status = ktap.failed(name, str(e))
        if status:
            failed.append(name)
    if failed:
        print("# failed: " + " ".join(failed))
    return int(bool(failed))
