# SPDX-License-Identifier: GPL-2.0
"""Make histograms of recorded traces: allocations by order and type, and lifetimes.

Writes OUT/histograms.csv, and for each trace OUT/NAME.svg and NAME.png. A block has a
lifetime if the trace has its allocation and its free."""

import csv
import os

from llfree import program
from llfree.program import say
from llfree.traces import TRACES, find

FIELDS = ("trace", "order", "type", "lifetime_from_us", "allocations")


def rows(trace, by_order, lives, types, edges):
    """Yield rows of the CSV file; lifetime -1 stands for blocks that are not freed."""
    for order in range(len(by_order)):
        for number, kind in enumerate(types):
            if not by_order[order, number]:
                continue
            for edge, count in zip(edges, lives[order, number]):
                if count:
                    yield trace.name, order, kind, int(edge) // 1000, count
            stay = by_order[order, number] - lives[order, number].sum()
            if stay:
                yield trace.name, order, kind, -1, stay


def main():
    p = program.parser(__doc__)
    p.add_argument("trace", metavar="DIR", nargs="*", help="some traces (default: all)")
    p.add_argument("--out", metavar="DIR", default=f"{TRACES}/histograms",
                   help="(default: build/traces/histograms)")
    args = p.parse_args()
    # Help needs no packages.
    # pylint: disable-next=import-outside-toplevel
    from llfree.traces import data, figures
    found = find(args.trace)
    os.makedirs(args.out, exist_ok=True)
    with open(f"{args.out}/histograms.csv", "w", encoding="utf-8", newline="") as f:
        table = csv.writer(f)
        table.writerow(FIELDS)
        for path in found:
            trace = data.Trace(path)
            by_order, lives = data.counts(trace)
            table.writerows(rows(trace, by_order, lives, data.TYPES, data.EDGES))
            figures.histograms(trace, by_order, lives, f"{args.out}/{trace.name}")
            say(f"{trace.name}: {len(trace.records)} records")
    say(f"{os.path.relpath(args.out)}/histograms.csv and a figure of each trace")
    return 0
