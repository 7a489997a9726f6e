# SPDX-License-Identifier: GPL-2.0
"""Read the kernel's messages on the serial port, and find reports of problems"""

import collections
import glob
import os
import re
import shutil
import subprocess
import sys

from llfree import klog

CUT_HERE = "[ cut here ]"

# KCSAN reports races all over the kernel. The guest fails only for races in which
# code of these objects has a part; other races are counted.
OWN_OBJECTS = ("lib/llfree/*.o", "mm/llfree*.o")
RACE = re.compile(r"\bBUG: KCSAN: (.*)")
RULER = "=" * 40
STACK_FRAME = re.compile(r"(?:^|\s)([A-Za-z_][\w.]*)\+0x[0-9a-f]+/0x")
STACK_START = re.compile(r"\bbytes by (task \d+|interrupt) on cpu \d+:")
# In a stack, functions after an interrupt's entry are those of the interrupted task.
INTERRUPT = re.compile(r"asm_(sysvec|common_interrupt|exc)|el1h?_.*(irq|interrupt)")


def own_functions(path):
    """Return the functions of OWN_OBJECTS, or None without objects or the program nm."""
    objects = [name for pattern in OWN_OBJECTS
               for name in glob.glob(os.path.join(path, pattern))]
    if not objects or not shutil.which("nm"):
        return None
    out = subprocess.run(["nm", "--defined-only", *objects],
                         stdout=subprocess.PIPE, text=True, check=True).stdout
    return set(re.findall(r"^[0-9a-f]+ [tT] (\S+)$", out, re.M))


def frames(report):
    """Yield the functions in the stacks of a KCSAN report, without interrupted ones."""
    inside = True
    for text in report:
        if STACK_START.search(text):
            inside = True
        m = STACK_FRAME.search(text)
        if m and INTERRUPT.match(m[1]):
            inside = False
        elif m and inside:
            yield m[1]


class KernelLog:
    """The serial port's lines, written to a file, and the problems that they report"""

    def __init__(self, path, expect, echo, own):
        self.path = path
        self.file = open(path, "w", encoding="utf-8")
        self.expect = expect
        self.echo = echo
        self.partial = b""
        self.lines = []
        self.start = None       # of the report that the last line belongs to
        self.trouble = []       # (first line, line that matched)
        self.expected = 0
        self.own = own          # functions, or None: all races are trouble
        self.victims = set()    # process IDs of the OOM killer's victims
        self.failure = None     # line of an allocation failure whose task is unknown
        self.race = None        # first line of an unfinished KCSAN report
        self.races = collections.Counter()      # races of other code, by title

    def feed(self, data):
        *lines, self.partial = (self.partial + data).split(b"\n")
        for raw in lines:
            self.line(raw.decode(errors="replace").rstrip("\r"))
        self.file.flush()

    def line(self, text):
        self.file.write(text + "\n")
        if self.echo:
            print(text, file=sys.stderr)
        self.lines.append(text)
        here = len(self.lines) - 1
        if self.race is not None and RULER in text:
            self.end_race(here)
            return
        if self.own is not None and RACE.search(text):
            self.race = here
            return
        if CUT_HERE in text:
            self.start = here
            return
        self.victims.update(klog.KILLED.findall(text))
        if self.failure is not None:
            task = klog.OF_TASK.search(text)
            if task or here - self.failure > klog.TASK_WITHIN:
                first, self.failure = self.failure, None
                # The last allocation of a killed task may fail.
                if not task or task[1] not in self.victims:
                    self.judge(first, first, here)
        if not klog.TROUBLE.search(text):
            if self.start is not None and here - self.start > 4:
                self.start = None
            return
        if klog.FAILURE in text:
            self.failure = here
            return
        first = here if self.start is None else self.start
        self.start = None
        self.judge(first, here, here)

    def judge(self, first, hit, last):
        report = self.lines[first:last + 1]
        if any(e.search(t) for e in self.expect for t in report):
            self.expected += 1
        else:
            self.trouble.append((first, hit))

    def end_race(self, last):
        first, self.race = self.race, None
        if any(f in self.own for f in frames(self.lines[first:last + 1])):
            self.judge(first, first, last)
        else:
            self.races[RACE.search(self.lines[first])[1]] += 1

    def finish(self):
        if self.partial:
            self.feed(b"\n")
        if self.race is not None:
            self.end_race(len(self.lines) - 1)
        if self.failure is not None:
            self.judge(self.failure, self.failure, len(self.lines) - 1)
        # a report that the guest's death cut off
        if self.start is not None:
            self.trouble.append((self.start, len(self.lines) - 1))
        self.file.close()
