# SPDX-License-Identifier: GPL-2.0
"""Draw figures of traces"""

import math

import matplotlib
matplotlib.use("Agg")
# pylint: disable=wrong-import-position
import matplotlib.pyplot as plt
import numpy

from llfree.bench import strip
from llfree.traces.data import EDGES, NR_ORDERS, TYPES


def save(figure, path):
    for suffix in "svg", "png":
        figure.savefig(f"{path}.{suffix}", dpi=110)
    plt.close(figure)


def label(ns):
    for size, unit in ((10 ** 9, "s"), (10 ** 6, "ms"), (1000, "us")):
        if ns >= size:
            return f"{ns / size:.0f} {unit}"
    return "0"


def histograms(trace, by_order, lives, path):
    """Draw allocated pages by order, and lifetimes."""
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
    save(figure, path)


def replay(trace, results, path):
    """Draw the score and the moves of each placement over time."""
    figure, (above, below) = plt.subplots(2, 1, figsize=(9, 6), sharex=True,
                                          layout="constrained")
    figure.suptitle(f"{trace.name}, recorded with {trace.meta['allocator']}", fontsize=10)
    for placement, (_, samples, _) in results.items():
        seconds = [ms / 1000 for ms in samples]
        above.plot(seconds, [s["huge"] / s["best"] if s["best"] else math.nan
                             for s in samples.values()], label=placement)
        below.plot(seconds, [s["moves"] for s in samples.values()], label=placement)
    above.set(ylabel="free huge blocks / best possible", ylim=(0, 1.02))
    above.legend(fontsize=8)
    below.set(ylabel="moves to the best", xlabel="seconds of the trace", ylim=(0, None))
    save(figure, path)


def strips(trace, courses, path):
    """Draw huge blocks over time, a strip for each placement."""
    figure = strip.draw(strip.Strips(trace.name, 0, courses), 9, "seconds of the trace")
    figure.suptitle(f"{trace.name}, recorded with {trace.meta['allocator']}: 2 MiB blocks, "
                    "the darker, the fuller; a block with an unmovable frame is unmovable",
                    fontsize=9)
    save(figure, path)
