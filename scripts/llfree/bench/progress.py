# SPDX-License-Identifier: GPL-2.0
"""Show the progress of scripts/bench, with an estimate of the remaining time"""

import collections
import os
import sys
import time

from llfree.bench.plan import cell_name

REFRESH = 0.5                   # seconds between two progress lines


class Progress:
    """A line with the running boot and cell, the number of cells done, and the time left"""

    def __init__(self, boots):
        self.boots = boots
        self.todo = collections.Counter(cell_name(c) for b in boots
                                        for c in b.todo)
        self.total = self.todo.total()
        self.seconds = {}       # name of a cell: [seconds]
        self.starts = []        # [seconds until the first cell of a guest begins]
        self.done = 0
        self.shown = 0
        self.tty = sys.stderr.isatty()

    def add(self, cell, seconds):
        self.seconds.setdefault(cell_name(cell), []).append(seconds)
        self.todo[cell_name(cell)] -= 1
        self.done += 1

    def left(self):
        """Return the estimated seconds left, or None before the first cell is done."""
        known = {k: sum(v) / len(v) for k, v in self.seconds.items()}
        if not known:
            return None
        other = sum(known.values()) / len(known)
        start = sum(self.starts) / max(len(self.starts), 1)
        return sum(known.get(name, other) * n for name, n in self.todo.items()) \
            + start * (len(self.boots) - len(self.starts))

    def show(self, boot, position):
        now = time.monotonic()
        if now - self.shown < (REFRESH if self.tty else 30):
            return
        self.shown = now
        name = cell_name(boot.todo[position]) if position < len(boot.todo) \
            else "the end"
        left = self.left()
        when = "" if left is None else \
            f", {left / 60:.0f} min left" if left > 90 else \
            f", {left:.0f} s left"
        text = (f"  boot {boot.number + 1} of {len(self.boots)}, {boot.alloc}:"
                f" {name}, {self.done} of {self.total}{when}")
        if self.tty:
            print(f"\r{text[:os.get_terminal_size(2).columns - 1]}\033[K",
                  end="", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def clear(self):
        if self.tty:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
