# SPDX-License-Identifier: GPL-2.0
"""Draw scaling curves: buddy on the left, LLFree on the right, with the same axes.

A figure shows time against the number of CPUs, with a curve for each order. If all
results have one CPU or instructions are counted, a figure shows values against the
order, with a curve for each measure."""

import collections

import matplotlib.pyplot as plt
from matplotlib.ticker import LogLocator

from llfree.bench import stats as stat
from llfree.bench.data import is_counted, unit

# Okabe and Ito's colours, which colour-blind readers can distinguish
LINES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
MARKERS = ("o", "s", "^", "D", "v", "P")
STYLES = ("-", "--", "-.", ":", "-", "--")
# Orders by preference: a figure has as many curves as there are colours.
ORDERS = (0, 9, 3, 10, 4, 1)
WIDTH, ROW_HEIGHT, LEGEND_INCHES, LEAST_HEIGHT = 5.4, 2, 0.55, 3
# Ratios of the highest to the lowest value: above the first, the axis is logarithmic;
# from the second on, powers of ten are enough labels.
LOG_FROM, TENS_FROM = 8, 200

Figure = collections.namedtuple("Figure", "bench against rows")


def chosen_orders(orders):
    return sorted(sorted(set(orders), key=lambda o: (
        ORDERS.index(o) if o in ORDERS else len(ORDERS), o))[:len(LINES)])


def plan(found, meta):
    """Return [Figure], whose rows are {title: {curve: [(x, Comparison)]}}."""
    figures = []
    for bench in stat.BENCHES:
        if bench in (*stat.ROUNDS, "fill", "latency"):
            continue
        cells = {k: c for k, c in found.items() if k.bench == bench}
        if not cells:
            continue
        by_order = is_counted(meta) or \
            len({k.cpus for k in found}) == 1
        orders = chosen_orders(k.order for k in cells)
        rows = collections.defaultdict(lambda: collections.defaultdict(list))
        for k, c in cells.items():
            kind = stat.what(k)
            if by_order:
                rows[""][kind].append((k.order, c))
            elif k.order in orders:
                rows[kind][f"order {k.order}"].append((k.cpus, c))
        figures.append(Figure(bench, "order" if by_order else "CPUs",
                              {t: dict(curves) for t, curves in rows.items()}))
    return figures


def line(axis, alloc, points, **style):
    """Draw medians of points, [(x, Comparison)], with minimum and maximum."""
    points = [(x, c) for x, c in points if c.median(alloc) is not None]
    if not points:
        return
    middle = [c.median(alloc) for _, c in points]
    low, high = zip(*(c.spread(alloc) for _, c in points))
    axis.errorbar([x for x, _ in points], middle,
                  [[m - a for m, a in zip(middle, low)],
                   [b - m for m, b in zip(middle, high)]],
                  markersize=3, capsize=2, linewidth=1.2, **style)


def scale(axis, curves):
    """Set the limits of the y axis for both allocators. Return whether the axis is
    logarithmic, since the values are far apart."""
    values = [v for points in curves.values() for _, c in points
              for alloc in stat.ALLOCS for v in c.spread(alloc) or ()]
    if min(values) > 0 and max(values) / min(values) > LOG_FROM:
        axis.set_yscale("log")
        if max(values) / min(values) < TENS_FROM:
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_ylim(min(values) / 1.3, max(values) * 1.3)
        axis.yaxis.set_major_formatter("{x:g}")
        return True
    axis.set_ylim(0, max(values) * 1.1 or 1)
    return False


def panel(axis, alloc, curves):
    """Draw one allocator's curves."""
    for points, colour, marker, style in zip(curves.values(), LINES, MARKERS,
                                             STYLES):
        line(axis, alloc, points, color=colour, marker=marker, linestyle=style)
    axis.grid(alpha=0.3, linewidth=0.5)


def legend(shown, names):
    """Draw the legend below all panels."""
    handles = [plt.Line2D([], [], color=c, marker=m, linestyle=s, markersize=4)
               for c, m, s, _ in zip(LINES, MARKERS, STYLES, names)]
    shown.legend(handles, names, loc="lower center", ncols=3, fontsize=9,
                 frameon=False)
    share = LEGEND_INCHES / shown.get_size_inches()[1]
    shown.get_layout_engine().set(rect=(0, share, 1, 1 - share))


def draw(figure, meta):
    """Return the matplotlib figure of a Figure."""
    shown, axes = plt.subplots(
        len(figure.rows), 2, squeeze=False, sharex=True, sharey="row",
        layout="constrained",
        figsize=(WIDTH, max(ROW_HEIGHT * len(figure.rows) + LEGEND_INCHES,
                            LEAST_HEIGHT)))
    for (title, curves), row in zip(figure.rows.items(), axes):
        for alloc, axis in zip(stat.ALLOCS, row):
            panel(axis, alloc, curves)
            axis.set_title(f"{stat.NAMES[alloc]} {title}".strip(), fontsize=10)
        logarithmic = scale(row[0], curves)
        row[0].set_ylabel(f"{unit(meta)}\nper operation" +
                          ", log" * logarithmic, fontsize=9)
    every = [curve for curves in figure.rows.values() for curve in curves.items()]
    xs = sorted({x for _, points in every for x, _ in points})
    for axis in axes[-1]:
        axis.set_xlabel(figure.against)
        if figure.against == "CPUs":
            axis.set_xscale("log", base=2)
        axis.set_xticks(xs, [str(x) for x in xs])
        axis.minorticks_off()
    legend(shown, list(dict.fromkeys(name for name, _ in every)))
    return shown
