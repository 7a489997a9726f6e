# SPDX-License-Identifier: GPL-2.0
"""Test hibernation: suspend one guest and resume its image in another guest"""

import os
import shutil
import subprocess
import tempfile

from llfree.features.common import MIB, vm
from llfree.ktap import Report, Skip, check
from llfree.paths import GUEST
from llfree.vm.machine import has_option

DISK_MIB = 768


def compile_init(directory):
    """Make an initramfs that runs guest/hibernate.c as its first process."""
    for tool in "gcc", "cpio", "mkswap":
        if not shutil.which(tool):
            raise Skip(f"{tool} is not installed")
    root = f"{directory}/root"
    for name in "proc", "sys", "dev":
        os.makedirs(f"{root}/{name}")
    subprocess.run(["gcc", "-O2", "-Wall", "-static", "-o", f"{root}/init",
                    f"{GUEST}/hibernate.c"], check=True)
    names = "\n".join(["proc", "sys", "dev", "init", ""])
    with open(f"{directory}/initrd", "wb") as f:
        subprocess.run(["cpio", "--quiet", "-o", "-H", "newc"], cwd=root,
                       check=True, stdout=f, input=names.encode())


def hibernate_once(tap, args, directory, alloc):
    """Suspend one guest and resume its image in another guest, with allocator alloc."""
    for option in "CONFIG_HIBERNATION", "CONFIG_BLK_DEV_INITRD":
        if not has_option(args.kernel, option):
            raise Skip(f"{option} is not set")
    if not os.path.exists(f"{directory}/initrd"):
        compile_init(directory)
    disk = f"{directory}/disk"
    with open(disk, "wb") as f:
        f.truncate(DISK_MIB * MIB)
    subprocess.run(["mkswap", "-q", disk], check=True)
    options = ["--mem", "512M", "--append", "resume=/dev/vda"]
    for argument in ("-initrd", f"{directory}/initrd", "-drive",
                     f"file={disk},if=none,id=swap,format=raw", "-device",
                     "virtio-blk-pci,drive=swap"):
        options.append(f"--qemu-arg={argument}")
    out = []
    for more, allocator in ([], args.alloc), (["--append",
                                               "hibernate_resume=1"], alloc):
        ended = subprocess.run(
            vm(args, options + more, ["true"], allocator, timeout=300),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
            check=False)
        out.append(ended.stdout.splitlines())
        tap.say(ended.stdout)
        check(not ended.returncode,
              f"the guest ended with status {ended.returncode}")
    check("note resumed" not in out[0], "the kernel refused to hibernate")
    check("note resumed" in out[1], "the kernel did not resume")
    bad = [line for line in out[1] if line.startswith("fail")]
    good = [line for line in out[1] if line.startswith("pass")]
    check(not bad and good, "; ".join(bad) or "nothing was checked")
    return f"{len(good)} checks after the resume"


def run(args):
    tap = Report(2, "hibernation")
    with tempfile.TemporaryDirectory() as directory:
        tap.test("same", lambda: hibernate_once(tap, args, directory, args.alloc))

        def other():
            if not args.alloc or not has_option(args.kernel, "CONFIG_LLFREE"):
                raise Skip("the kernel has one allocator only, or no --alloc")
            return hibernate_once(tap, args, directory, {
                "llfree": "buddy", "buddy": "llfree"}[args.alloc])
        tap.test("other", other)
    return tap.end()
