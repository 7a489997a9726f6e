# SPDX-License-Identifier: GPL-2.0
"""Run tests in guests"""

import os

from llfree.paths import BUILD, GUEST, TOP
from llfree.testing.count import Count, ktap
from llfree.testing.run import command, report
from llfree.vm import command as boot


def vm(name, argv, *options, kernel="x86_64", alloc="llfree", timeout=900,
       parse=None):
    if not os.path.exists(argv[0]):
        return report(name, Count(0, 1, 0), 0,
                      note=f" (there is no {os.path.relpath(argv[0], TOP)})")
    return command(name, boot(f"{BUILD}/{kernel}", argv, *options, alloc=alloc,
                              timeout=timeout), timeout + 60, parse)


def punish(name, kernel, timeout):
    # guest/punish explains the expected report.
    vm(name, [f"{GUEST}/punish", "--quick"], "--mem", "1G", "--smp", "2",
       "--patient", "--expect", "Dying CPU not properly vacated!",
       kernel=kernel, timeout=timeout)


def misuse(name, kernel="x86_64", timeout=600):
    vm(name, [f"{GUEST}/misuse"], "--mem", "1G",
       "--expect", "which is not allocated", "--expect", "Bad page state",
       "--expect", "KCSAN: assert: race in use_",
       kernel=kernel, timeout=timeout, parse=ktap)
