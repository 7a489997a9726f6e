# SPDX-License-Identifier: GPL-2.0
"""Record page allocations under real loads, in guests.

For each load and size of memory, boots a guest and records each allocation and free, at the
callers and at the zones. Then converts the events to records of 16 bytes. OUT/NAME has the
records, and the state of each page frame at the start. tools/testing/llfree/trace.h describes
the files. Fails if a recording has lost an event. Databases and caches are set up before the
recording begins. scripts/deps traces installs the packages for all loads."""

import json
import os
import shutil
import subprocess

from llfree import program, vm
from llfree.paths import GUEST, LINUX
from llfree.program import Error, read_text, say, write_text
from llfree.traces import TRACES, build
from llfree.traces.loads import LOADS


def name_of(load, mem, alloc):
    return f"{load}-{mem}-{alloc or 'default'}"


def record(args, load, mem, where, convert):
    """Record one trace."""
    shutil.rmtree(where, ignore_errors=True)
    os.makedirs(where)
    argv = vm.command(args.kernel,
                      [f"{GUEST}/record-pages", load, "--out", where, "--seconds",
                       str(args.seconds), "--linux", LINUX, "--buffer", str(args.buffer)],
                      "--mem", mem, "--smp", str(args.smp), "--rwdir", where, "--patient",
                      alloc=args.alloc, timeout=args.seconds * 3 + 600)
    if subprocess.run(argv, check=False, stdin=subprocess.DEVNULL).returncode:
        raise Error(f"the guest with load {load} fails")
    ended = subprocess.run([convert, f"{where}/trace.dat", f"{where}/records"],
                           stdout=subprocess.PIPE, text=True, check=False)
    if ended.returncode:
        raise Error(f"{where}/trace.dat cannot be used")
    counts = json.loads(ended.stdout)
    meta = {**json.loads(read_text(f"{where}/guest.json")), "mem": mem, "events": counts}
    write_text(f"{where}/meta.json", json.dumps(meta, indent=1) + "\n")
    os.unlink(f"{where}/guest.json")
    if not args.keep:
        os.unlink(f"{where}/trace.dat")
    say(f"{os.path.relpath(where)}: {counts['alloc']} allocations, {counts['free']} frees, "
        f"{counts['failed']} failed, {counts['seconds']:.0f} s")


def main():
    p = program.parser(__doc__, epilog="loads:\n" + "\n".join(
        f"  {name:10} {load.about}" for name, load in LOADS.items()))
    p.add_argument("load", metavar="LOAD", nargs="*", help="some loads (default: all)")
    program.add_kernel(p)
    program.add_alloc(p)
    p.add_argument("--mem", metavar="LIST", default="1G,2G,4G",
                   help="sizes of guests (default: 1G,2G,4G)")
    p.add_argument("--smp", metavar="N", type=int, default=2, help="CPUs (default: 2)")
    p.add_argument("--seconds", metavar="S", type=int, default=600,
                   help="seconds that each load runs (default: 600)")
    p.add_argument("--buffer", metavar="KIB", type=int, default=16384,
                   help="memory for the events of each CPU (default: 16384)")
    p.add_argument("--out", metavar="DIR", default=TRACES, help="(default: build/traces)")
    p.add_argument("--keep", action="store_true", help="keep the file of trace-cmd")
    args = p.parse_args()
    for load in args.load:
        if load not in LOADS:
            p.error(f"no load '{load}'; there are: {' '.join(LOADS)}")
    program.exit_on_term()
    convert = build("trace-convert", ": run scripts/deps traces")
    for mem in args.mem.split(","):
        for load in args.load or LOADS:
            where = os.path.abspath(f"{args.out}/{name_of(load, mem, args.alloc)}")
            record(args, load, mem, where, convert)
    return 0
