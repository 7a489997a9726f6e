# SPDX-License-Identifier: GPL-2.0
"""Read recorded traces, whose format is in tools/testing/llfree/trace.h, and count events"""

import json
import os

import numpy

from llfree.program import Error, read_text

RECORD = numpy.dtype([("time", "<u8"), ("pfn", "<u4"), ("what", "u1"), ("order", "u1"),
                      ("kind", "u1"), ("cpu", "u1")])
ALLOC, FREE, ZONE_ALLOC, ZONE_FREE = range(4)
MIGRATETYPE = 0x07
TYPES = ("unmovable", "movable", "reclaimable")

NR_ORDERS = 11
# Lifetimes in powers of 4 from 1 us to about 18 minutes; the last bin has longer ones
EDGES = numpy.array([0] + [1000 * 4 ** i for i in range(16)], dtype="u8")


class Trace:
    """A recorded trace"""

    def __init__(self, directory):
        text = read_text(f"{directory}/meta.json")
        if text is None:
            raise Error(f"no trace in {directory}: run scripts/trace-pages")
        self.name = os.path.basename(os.path.abspath(directory))
        self.meta = json.loads(text)
        self.records = numpy.fromfile(f"{directory}/records", RECORD)
        wanted = sum(self.meta["events"][name]
                     for name in ("alloc", "free", "zone_alloc", "zone_free"))
        if len(self.records) != wanted:
            raise Error(f"{directory}/records has {len(self.records)} records, not {wanted}")

    def lifetimes(self):
        """Return (records of allocations that are freed, ns until the free).

        The lifetime of a block whose parts are freed one by one ends when the first frame is
        freed."""
        of_callers = self.records[self.records["what"] <= FREE]
        # The events of each frame, one after the other
        by_frame = of_callers[numpy.lexsort((numpy.arange(len(of_callers)),
                                             of_callers["pfn"]))]
        first, then = by_frame[:-1], by_frame[1:]
        pairs = (first["pfn"] == then["pfn"]) & (first["what"] == ALLOC) & \
            (then["what"] == FREE)
        return first[pairs], (then["time"] - first["time"])[pairs]


def counts(trace):
    """Return (allocations by [order][type], allocations by [order][type][lifetime])."""
    allocs = trace.records[trace.records["what"] == ALLOC]
    by_order = numpy.zeros((NR_ORDERS, len(TYPES)), dtype=int)
    kinds = numpy.minimum(allocs["kind"] & MIGRATETYPE, len(TYPES) - 1)
    numpy.add.at(by_order, (numpy.minimum(allocs["order"], NR_ORDERS - 1), kinds), 1)
    freed, ns = trace.lifetimes()
    lives = numpy.zeros((NR_ORDERS, len(TYPES), len(EDGES)), dtype=int)
    numpy.add.at(lives, (numpy.minimum(freed["order"], NR_ORDERS - 1),
                         numpy.minimum(freed["kind"] & MIGRATETYPE, len(TYPES) - 1),
                         numpy.searchsorted(EDGES, ns, side="right") - 1), 1)
    return by_order, lives
