# SPDX-License-Identifier: GPL-2.0
"""Boot a built kernel in QEMU and run a command in it.

The guest's root is this machine's root file system, read-only over 9p, with a
tmpfs overlay on top. So the guest can run every installed program, and files that
the guest writes are gone afterwards. The command starts in the current directory.
A guest of another architecture has the root that scripts/guest-root made, and of this
machine's files only this checkout.
Without a command, the guest runs a shell (Ctrl-A X kills the guest)."""

import argparse
import os
import re

from llfree import program
from llfree.paths import KERNEL
from llfree.vm.machine import has_option

MIB = 1 << 20
GDB_PORT = 1234
EXIT_TIMEOUT = 124
EXIT_KERNEL = 125
EXIT_GUEST = 126
EPILOG = f"""exit status: the command's own, or {EXIT_TIMEOUT} timeout,
{EXIT_KERNEL} the kernel reported a problem (WARN, BUG, oops, lockdep, stall, ...),
{EXIT_GUEST} the guest died or never came up.
If QEMU itself crashes before the command starts, the guest boots once more.
SIGUSR1 stops a guest and its clock, SIGUSR2 resumes the guest; the time between
does not count."""


def parse_size(text):
    m = re.fullmatch(r"(\d+)([MG]?)", text.upper().removesuffix("B"))
    if not m or not int(m[1]):
        raise argparse.ArgumentTypeError(f"bad size '{text}' (such as 512M or 8G)")
    return int(m[1]) * (1024 if m[2] == "G" else 1)


def positive(text):
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def parse_args():
    p = program.parser(__doc__, epilog=EPILOG)
    p.add_argument("--kernel", metavar="DIR", default=KERNEL,
                   help="build directory or image (default: build/x86_64)")
    program.add_alloc(p)
    p.add_argument("--smp", metavar="N", type=positive, default=2,
                   help="CPUs (default: 2)")
    p.add_argument("--mem", metavar="SIZE", type=parse_size, default="1G",
                   help="memory, as 64M or 8G (default: 1G)")
    p.add_argument("--maxmem", metavar="SIZE", type=parse_size,
                   help="limit of the guest's memory, with added memory")
    p.add_argument("--slots", metavar="N", type=positive,
                   help="DIMMs that --qmp can add (default: 8 with --maxmem)")
    p.add_argument("--prealloc", action="store_true",
                   help="allocate the host's memory before the guest starts, "
                   "not at the guest's first access to each page")
    p.add_argument("--memfd", action="store_true",
                   help="take the guest's memory from a memfd, whose blocks show "
                   "the host the memory that the guest uses")
    p.add_argument("--balloon", action="store_true",
                   help="a virtio balloon that reports free pages to the host "
                   "and deflates before an OOM; implies --memfd")
    p.add_argument("--disk", metavar="FILE", action="append", default=[],
                   help="a raw image as virtio block device: /dev/vda, the next "
                   "/dev/vdb, ...; the guest's writes stay in FILE")
    p.add_argument("--nvdimm", metavar="FILE", action="append", default=[],
                   help="a file as NVDIMM, whose size is a multiple of 2 MiB; the "
                   "guest's writes stay in FILE")
    p.add_argument("--rwdir", metavar="DIR", action="append", default=[],
                   help="a directory of the host that the guest can write, at the "
                   "same path; repeatable")
    p.add_argument("--network", action="store_true",
                   help="a virtio network device behind QEMU's user-mode stack: the "
                   "guest is 10.0.2.15, the host is 10.0.2.2")
    p.add_argument("--numa", metavar="N", type=positive, default=1,
                   help="NUMA nodes that share CPUs and memory evenly")
    p.add_argument("--cpu", metavar="MODEL",
                   help="QEMU's model of the CPU (default: max, with KVM host)")
    p.add_argument("--append", metavar="STR", action="append", default=[],
                   help="more kernel parameters")
    p.add_argument("--patient", action="store_true",
                   help="for long loads: the kernel reports a CPU that is stuck "
                        "after 5 minutes, and a task after 10")
    p.add_argument("--icount", action="store_true",
                   help="count instructions: each is a nanosecond of the "
                   "guest's time, and all CPUs take turns")
    p.add_argument("--qmp", metavar="SOCKET",
                   help="QEMU serves its machine protocol on this UNIX socket")
    p.add_argument("--gdb", metavar="PORT", type=positive, nargs="?", const=GDB_PORT,
                   help="wait for gdb on this TCP port of the host (default: "
                   f"{GDB_PORT}) before the kernel starts; no time limit by default")
    p.add_argument("--qemu-arg", metavar="ARG", action="append", default=[],
                   help="one more argument for QEMU (--qemu-arg=-device ...)")
    p.add_argument("--env", metavar="K=V", action="append", default=[],
                   help="environment variable for the command")
    p.add_argument("--cwd", metavar="DIR", default=os.getcwd(),
                   help="directory in which the command starts (default: the current one)")
    p.add_argument("--timeout", metavar="S", type=float,
                   help="kill the guest after S seconds "
                        "(default: 900, none for the shell and with --gdb)")
    p.add_argument("--expect", metavar="REGEX", action="append", default=[],
                   help="accept kernel reports in which a line matches, up to the "
                        "line that names the problem; repeatable")
    p.add_argument("--log", metavar="FILE",
                   help="file for the kernel log (default: build/vm/kernel.log for "
                        "the last run, and a separate file when the run fails)")
    p.add_argument("--dry-run", action="store_true",
                   help="print QEMU's command line and start nothing")
    p.add_argument("--verbose", "-v", action="store_true",
                   help="show the kernel log and QEMU's command line")
    p.add_argument("command", metavar="COMMAND", nargs="*",
                   help="command and its arguments; a single argument is "
                        "given to the shell")
    args = p.parse_args()
    for e in args.env:
        if not re.match(r"[A-Za-z_]\w*=", e):
            p.error(f"--env wants K=V, not '{e}'")
    try:
        args.expect = [re.compile(e) for e in args.expect]
    except re.error as e:
        p.error(f"--expect: {e}")
    if args.slots and not args.maxmem:
        p.error("--slots: there is no --maxmem")
    if args.maxmem and args.maxmem <= args.mem:
        p.error("--maxmem is no more than --mem")
    if args.numa > args.mem // 2:
        p.error("too many NUMA nodes for so little memory")
    for file in args.disk + args.nvdimm:
        if not os.path.exists(file):
            p.error(f"no file {file}")
    for directory in args.rwdir:
        if not os.path.isdir(directory):
            p.error(f"no directory {directory}")
    args.rwdir = [*map(os.path.abspath, args.rwdir)]
    for file in args.nvdimm:
        if not os.path.getsize(file) or os.path.getsize(file) % (2 * MIB):
            p.error(f"--nvdimm: {file} has {os.path.getsize(file)} bytes, not a "
                    "multiple of 2 MiB")
    if args.network and not has_option(args.kernel, "CONFIG_VIRTIO_NET"):
        p.error("--network: the kernel has no CONFIG_VIRTIO_NET")
    args.memfd |= args.balloon
    if args.dry_run:
        args.log = None
    return args
