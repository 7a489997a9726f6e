# SPDX-License-Identifier: GPL-2.0
"""Histograms of recorded traces: allocations by order and type, and how long they live.

Writes OUT/histograms.csv, and for each trace OUT/NAME.svg and NAME.png. A lifetime is that
of a block whose allocation and free were both recorded."""

import csv
import glob
import os

import matplotlib
matplotlib.use("Agg")
# pylint: disable=wrong-import-position
import matplotlib.pyplot as plt
import numpy

from llfree import program
from llfree.program import Error, say
from llfree.traces.data import ALLOC, MIGRATETYPE, TYPES, Trace
from llfree.traces.record import TRACES

NR_ORDERS = 11
# Lifetimes in powers of 4 from 1 us to about 18 minutes; the last bin has longer ones
EDGES = numpy.array([0] + [1000 * 4 ** i for i in range(16)], dtype="u8")
FIELDS = ("trace", "order", "type", "lifetime_from_us", "allocations")


def counts(trace):
    """(allocations by [order][type], by [order][type][lifetime])"""
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


def rows(trace, by_order, lives):
    """Lines of the CSV file; a lifetime of -1 stands for blocks that stay"""
    for order in range(NR_ORDERS):
        for number, kind in enumerate(TYPES):
            if not by_order[order, number]:
                continue
            for edge, count in zip(EDGES, lives[order, number]):
                if count:
                    yield trace.name, order, kind, int(edge) // 1000, count
            stay = by_order[order, number] - lives[order, number].sum()
            if stay:
                yield trace.name, order, kind, -1, stay


def label(ns):
    for size, unit in ((10 ** 9, "s"), (10 ** 6, "ms"), (1000, "us")):
        if ns >= size:
            return f"{ns / size:.0f} {unit}"
    return "0"


def draw(trace, by_order, lives, path):
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    meta = trace.meta
    figure.suptitle(f"{trace.name}: {meta['events']['alloc']} allocations in "
                    f"{meta['events']['seconds']:.0f} s, {meta['cpus']} CPUs, {meta['mem']}; "
                    f"{meta['allocator']}, QEMU", fontsize=10)
    bottom = numpy.zeros(NR_ORDERS)
    for number, kind in enumerate(TYPES):
        pages = by_order[:, number] * 2.0 ** numpy.arange(NR_ORDERS)
        left.bar(range(NR_ORDERS), pages, bottom=bottom, label=kind)
        bottom += pages
    left.set(xlabel="order", ylabel="pages allocated", xticks=range(NR_ORDERS))
    left.legend()
    for order in range(NR_ORDERS):
        total = lives[order].sum()
        if total:
            right.plot(range(len(EDGES)), lives[order].sum(axis=0) / total,
                       marker=".", label=f"order {order}")
    right.set(xlabel="lifetime from", ylabel="share of the order's blocks",
              xticks=range(0, len(EDGES), 3), xticklabels=[label(e) for e in EDGES[::3]])
    right.legend(fontsize=7)
    for suffix in "svg", "png":
        figure.savefig(f"{path}.{suffix}", dpi=110)
    plt.close(figure)


def main():
    p = program.parser(__doc__)
    p.add_argument("trace", metavar="DIR", nargs="*", help="some traces (default: all)")
    p.add_argument("--out", metavar="DIR", default=f"{TRACES}/histograms",
                   help="(default: build/traces/histograms)")
    args = p.parse_args()
    found = args.trace or sorted(os.path.dirname(path)
                                 for path in glob.glob(f"{TRACES}/*/meta.json"))
    if not found:
        raise Error(f"no traces in {TRACES}: run scripts/trace-pages")
    os.makedirs(args.out, exist_ok=True)
    with open(f"{args.out}/histograms.csv", "w", encoding="utf-8", newline="") as f:
        table = csv.writer(f)
        table.writerow(FIELDS)
        for path in found:
            trace = Trace(path)
            by_order, lives = counts(trace)
            table.writerows(rows(trace, by_order, lives))
            draw(trace, by_order, lives, f"{args.out}/{trace.name}")
            say(f"{trace.name}: {len(trace.records)} records")
    say(f"{os.path.relpath(args.out)}/histograms.csv and a figure of each trace")
    return 0
