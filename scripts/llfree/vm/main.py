# SPDX-License-Identifier: GPL-2.0
"""Run scripts/vm: boot a guest, boot again if QEMU crashed, keep the log"""


import os
import shlex
import shutil
import sys

from llfree import program
from llfree.paths import BUILD
from llfree.vm.arguments import EXIT_GUEST, EXIT_KERNEL, EXIT_TIMEOUT, parse_args
from llfree.vm.guest import Guest

def main():
    args = parse_args()
    rundir = f"{BUILD}/vm/{os.getpid()}"
    shutil.rmtree(rundir, ignore_errors=True)
    os.makedirs(rundir)
    guest = Guest(args, rundir)
    if args.dry_run:
        print(shlex.join(guest.qemu()))
        guest.close()
        shutil.rmtree(rundir)
        return 0
    program.exit_on_term()
    keep = True
    try:
        guest.run()
        if guest.boot_again():
            guest.close()
            guest = Guest(args, rundir)
            guest.run()
        code = guest.verdict()
        keep = code in (EXIT_TIMEOUT, EXIT_KERNEL, EXIT_GUEST)
    except KeyboardInterrupt:
        code = 130
    if keep:
        print(f"vm: full kernel log: {guest.klog.path}", file=sys.stderr)
    else:
        if not args.log:
            os.replace(guest.klog.path, f"{BUILD}/vm/kernel.log")
        shutil.rmtree(rundir, ignore_errors=True)
    return code
