# SPDX-License-Identifier: GPL-2.0
"""Make a pool in a guest, kill the guest, and show that the data has survived.

The first guest has an NVDIMM, which is a file of the host. In this guest, llpool makes a
pool on the NVDIMM. kvlog, the key-value store in samples/nd_pool/, stores some keys, and
then stores and removes others until QEMU is killed. The second guest finds the pool, checks
all of it, and reads the first keys."""

import subprocess
import tempfile
import time

from llfree import program
from llfree.features import pool
from llfree.features.common import MIB, vm
from llfree.ktap import Failure, check

WORKING = "working"
FIRST = """
set -e
echo "--- an NVDIMM without a pool is a block device:"
ls /dev/pmem0
echo "--- llpool create /dev/pmem0"
{tools}/llpool create /dev/pmem0
ls -l /dev/ndpool0
echo "--- kvlog /dev/ndpool0 put ..."
{kvlog} put greeting "this was stored before the crash"
{kvlog} put kernel "$(uname -r)"
{kvlog} get greeting
echo "--- four threads store and remove other keys"
{kvlog} hammer --threads 4 --seconds 600 >/dev/null &
sleep 2
echo working
wait
"""
SECOND = """
set -e
dmesg | grep "nd_pool.*pool " | sed "s/^/--- kernel log: /"
echo "--- kvlog verify: every pointer, every checksum; then sweep"
{kvlog} verify --threads 4
echo "--- kvlog get greeting; kvlog get kernel"
{kvlog} get greeting
{kvlog} get kernel
echo "--- the pool, in /sys/class/ndpool/ndpool0/device/pool/"
cd /sys/class/ndpool/ndpool0/device/pool
grep . state uuid session frames free recovery_us persistence
"""


def guest(args, script, tools, medium):
    """Yield (process, line) for each line that a guest prints."""
    text = script.format(tools=tools, kvlog=f"{tools}/kvlog /dev/ndpool0")
    with subprocess.Popen(vm(args, ["--smp", "4", "--nvdimm", medium], [text]),
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE if script is FIRST else None,
                          text=True, errors="replace") as proc:
        for line in proc.stdout:
            yield proc, line.rstrip()
        if script is SECOND:
            check(not proc.wait(), f"the second guest: status {proc.returncode}")


def main():
    p = program.parser(__doc__)
    program.add_kernel(p)
    program.add_alloc(p)
    args = p.parse_args()
    killed = False
    with tempfile.TemporaryDirectory() as directory:
        medium = f"{directory}/nvdimm"
        try:
            tools = pool.build_tools()
            with open(medium, "wb") as f:
                f.truncate(pool.SIZE_MIB * MIB)
            print(f"=== first guest; its NVDIMM is a file of {pool.SIZE_MIB} MiB",
                  flush=True)
            for proc, line in guest(args, FIRST, tools, medium):
                if line != WORKING:
                    print(line, flush=True)
                    continue
                print("=== kill -9 of QEMU", flush=True)
                pool.kill_qemu(proc)
                killed = True
            check(killed, "the first guest ended early")
            time.sleep(0.5)
            print("=== second guest, same file", flush=True)
            for _, line in guest(args, SECOND, tools, medium):
                print(line, flush=True)
        except Failure as e:
            raise program.Error(e) from e
    print("=== the data is there")
