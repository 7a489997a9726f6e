# SPDX-License-Identifier: GPL-2.0
"""Draw the figures of scripts/bench from the data of results.json."""

import math

import matplotlib
matplotlib.use("Agg")
# pylint: disable=wrong-import-position
import matplotlib.pyplot as plt
import numpy
from matplotlib.colors import TwoSlopeNorm, to_rgb
from matplotlib.patches import Patch

from llfree.bench import scale, strip
from llfree.bench import stats as stat
from llfree.bench.data import unit
from llfree.memmap import maps
from llfree.memmap.maps import BLOCK

COLOURS = {"buddy": "#d95f02", "llfree": "#1f6fb4"}
STYLES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D")
CLASSES = {"free": "#ffffff", **strip.COLOURS}
MAP_WIDTH = 32                  # cells in a row
# The heat map's colours end at the ratios 1/4 and 4, which are 2 to the power of -HEAT
# and HEAT.
HEAT = 2


class Plotter:
    def __init__(self, data, out):
        self.data = data
        self.out = out
        self.names = []
        self.level = data["meta"]["machine"]
        self.unit = unit(data["meta"])
        self.found = stat.compare(data["values"])

    def save(self, figure, name, title):
        meta = self.data["meta"]
        figure.suptitle(f"{title}\n{self.level}; {meta['host']}, "
                        f"{meta['date']}", fontsize=10)
        for suffix in ("svg", "png"):
            figure.savefig(f"{self.out}/{name}.{suffix}", dpi=110)
            self.names.append(f"{name}.{suffix}")
        plt.close(figure)

    def grid(self, count, width=4, height=3, most=4):
        """Return a figure and axes for count panels, at most so many in a row."""
        columns = min(most, count)
        rows = math.ceil(count / columns)
        figure, axes = plt.subplots(
            rows, columns, squeeze=False, layout="constrained",
            figsize=(max(width * columns, 5.4), height * rows + 0.6))
        flat = list(axes.flat)
        for spare in flat[count:]:
            spare.remove()
        return figure, flat[:count]

    def scaling(self):
        """Draw time against CPUs or orders, buddy and LLFree side by side."""
        for figure in scale.plan(self.found, self.data["meta"]):
            self.save(scale.draw(figure, self.data["meta"]),
                      f"time-{figure.bench}",
                      f"{figure.bench}: {self.unit} against {figure.against}; "
                      "medians of boots, minimum, maximum")

    def strips(self):
        for strips in strip.choose(self.data["samples"]):
            self.save(strip.draw(strips), f"strip-{strips.bench}",
                      f"{strips.bench}: memory over time, pair {strips.pair}")

    def ratios(self):
        """Draw the heat map, with a panel per number of CPUs."""
        cells = {k: c for k, c in self.found.items()
                 if k.bench in stat.BENCHES and c.ratio and
                 k.bench not in ("fill", "latency")}
        if not cells:
            return
        counts = sorted({k.cpus for k in cells})
        orders = sorted({k.order for k in cells})
        rows = list(dict.fromkeys(f"{k.bench} {stat.what(k)}" for k in cells))
        figure, axes = plt.subplots(
            1, len(counts), squeeze=False, layout="constrained", sharey=True,
            figsize=(max(2.5 + len(counts) * (0.55 * len(orders) + 0.6), 6),
                     0.34 * len(rows) + 1.6))
        for n, axis in zip(counts, axes.flat):
            grid = numpy.full((len(rows), len(orders)), numpy.nan)
            for k, c in cells.items():
                if k.cpus != n:
                    continue
                at = rows.index(f"{k.bench} {stat.what(k)}"), orders.index(k.order)
                grid[at] = math.log2(c.ratio)
                axis.text(at[1], at[0], stat.ratio_text(c.ratio), ha="center",
                          va="center", fontsize=7,
                          color="white" if abs(grid[at]) > 0.8 * HEAT
                          else "black",
                          weight="bold" if c.ratio > 1 else "normal")
            image = axis.imshow(
                grid, cmap="RdBu_r", aspect="auto",
                norm=TwoSlopeNorm(0, vmin=-HEAT, vmax=HEAT))
            axis.set(title=stat.cpus_text(n), xlabel="order")
            axis.set_xticks(range(len(orders)), [str(o) for o in orders])
            axis.set_yticks(range(len(rows)), rows)
        colour_bar = figure.colorbar(image, ax=axes, shrink=0.8)
        ticks = list(range(-HEAT, HEAT + 1))
        colour_bar.set_ticks(ticks, labels=[f"{2 ** t:.2f}" for t in ticks])
        self.save(figure, "ratios", f"{self.unit} with LLFree / {self.unit} with "
                  "buddy")

    def fill(self):
        cells = {k: c for k, c in self.found.items() if k.bench == "fill"}
        panels = sorted({(k.order, k.cpus) for k in cells})
        if not panels:
            return
        figure, axes = self.grid(len(panels))
        for (order, cpus), axis in zip(panels, axes):
            for measure, style, marker in zip(
                    sorted({k.measure for k in cells}), STYLES, MARKERS):
                for alloc in stat.ALLOCS:
                    scale.line(axis, alloc, [
                        (k.level, c) for k, c in cells.items() if
                        (k.order, k.cpus, k.measure) == (order, cpus, measure)
                    ], color=COLOURS[alloc], linestyle=style, marker=marker,
                        label=f"{stat.NAMES[alloc]} "
                        f"{measure.removesuffix('_ns')}")
            axis.set(title=f"order {order}, {stat.cpus_text(cpus)}",
                     xlabel="% of memory in use", ylabel=f"{self.unit} per operation")
            axis.set_ylim(bottom=0)
        axes[0].legend(fontsize=7)
        self.save(figure, "fill", "Time against fill level")

    def courses(self):
        """Draw frag and age over rounds."""
        found = stat.courses(self.data["values"])
        for bench in stat.ROUNDS:
            if (bench, "moves_pages") not in found:
                continue
            figure, axes = self.grid(2, 5.5, 3.6)
            for alloc in stat.ALLOCS:
                moves = found[bench, "moves_pages"]
                self.band(axes[0], alloc, {
                    r: list(c.boots(alloc).values()) for r, c in moves.items()})
                blocks = found.get((bench, "free_huge_blocks"), {})
                total = found.get((bench, "total_pages"), {})
                self.band(axes[1], alloc, {
                    r: [100 * BLOCK * n / total[r].boots(alloc)[pair]
                        for pair, n in c.boots(alloc).items()]
                    for r, c in blocks.items() if r in total})
            axes[0].set(xlabel="round", ylabel="pages to move")
            axes[1].set(xlabel="round",
                        ylabel="free in 2 MiB blocks, % of memory")
            for axis in axes:
                axis.set_ylim(bottom=0)
                axis.xaxis.get_major_locator().set_params(integer=True)
                if axis.has_data():
                    axis.legend()
            self.save(figure, bench, f"{bench}: fragmentation over rounds; "
                      "medians of boots, minimum to maximum")

    def band(self, axis, alloc, course):
        course = {r: values for r, values in sorted(course.items()) if values}
        if not course:
            return
        x = list(course)
        axis.plot(x, [numpy.median(v) for v in course.values()],
                  color=COLOURS[alloc], label=stat.NAMES[alloc])
        axis.fill_between(x, [min(v) for v in course.values()],
                          [max(v) for v in course.values()],
                          color=COLOURS[alloc], alpha=0.25, linewidth=0)

    def latency(self):
        found = stat.histograms(self.data["histograms"])
        if not found:
            return
        figure, axes = self.grid(len(found))
        for (key, some), axis in zip(found.items(), axes):
            _, order, cpus, level, operation = key
            for alloc in stat.ALLOCS:
                counts = sorted(some[alloc].items())
                total = sum(n for _, n in counts)
                if not total:
                    continue
                # The next used bucket is an upper bound of a bucket's end.
                axis.step([max(low, 1) for low, _ in counts],
                          [100 * n / total for _, n in counts],
                          where="post", color=COLOURS[alloc],
                          label=stat.NAMES[alloc], linewidth=1)
            axis.set_xscale("log")
            axis.set_yscale("log")
            axis.set(title=f"{operation}, order {order}, "
                     f"{stat.cpus_text(cpus)}, {level} % full",
                     xlabel="ns", ylabel="% of the operations")
            axis.title.set_fontsize(9)
        axes[0].legend()
        self.save(figure, "latency", "Latency of single operations")

    def maps(self):
        """Draw maps before and after each benchmark, each the first map in the results."""
        for bench in sorted({m["bench"] for m in self.data["maps"]}):
            some = {}
            for m in self.data["maps"]:
                if m["bench"] == bench:
                    some.setdefault((m["allocator"], m["when"]), m["map"])
            some = {k: picture(maps.parse(text))
                    for k, text in some.items()}
            if not some:
                continue
            rows = max(len(p) for p in some.values())
            figure, axes = plt.subplots(
                2, 2, layout="constrained", squeeze=False,
                figsize=(9, min(2 + 2 * rows * 3.4 / MAP_WIDTH, 14)))
            for alloc, line in zip(stat.ALLOCS, axes):
                for when, axis in zip(("before", "after"), line):
                    axis.set_title(f"{stat.NAMES[alloc]}, {when}")
                    axis.set_xticks([])
                    axis.set_yticks([])
                    if (alloc, when) in some:
                        axis.imshow(some[alloc, when], aspect="auto",
                                    interpolation="nearest")
            figure.legend(
                handles=[Patch(facecolor=c, edgecolor="#888888", label=n)
                         for n, c in CLASSES.items()],
                loc="lower center", ncols=len(CLASSES), fontsize=7)
            figure.get_layout_engine().set(rect=(0, 0.06, 1, 0.94))
            self.save(figure, f"map-{bench}",
                      f"2 MiB blocks before and after {bench}: "
                      "the darker, the fuller")

    def real(self):
        cells = {k: c for k, c in self.found.items()
                 if k.bench not in stat.BENCHES and c.pair_ratios}
        if not cells:
            return
        figure, axis = plt.subplots(
            layout="constrained", figsize=(8, 0.32 * len(cells) + 1.4))
        names = [f"{k.bench} {k.measure}" for k in cells]
        for y, c in enumerate(cells.values()):
            pairs = c.pair_ratios
            axis.plot([min(pairs), max(pairs)], [y, y], color="#888888")
            axis.plot(pairs, [y] * len(pairs), ".", color="#888888")
            axis.plot(c.ratio, y, "o", color=COLOURS[
                "buddy" if c.ratio > 1 else "llfree"])
        axis.axvline(1, color="black", linewidth=0.8)
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter("{x:g}")
        axis.tick_params(axis="x", which="both", labelsize=7)
        axis.set_yticks(range(len(names)), names)
        axis.invert_yaxis()
        axis.set_xlabel("LLFree / buddy; dots: pairs of boots")
        self.save(figure, "real", "Real work")


def picture(zones):
    """Return rows of coloured cells. Each zone begins in a new row.

    The colour shows the kind of a block; a darker cell is fuller. Cells after the end of a
    zone are grey."""
    rows = []
    for _, _, blocks in zones:
        line = []
        for free, kind in blocks:
            colour = numpy.array(to_rgb(CLASSES.get(kind, "#000000")))
            used = 1 - min(free, BLOCK) / BLOCK
            line.append(1 - (1 - colour) * (0.12 + 0.88 * used))
        while len(line) % MAP_WIDTH:
            line.append(numpy.array((0.8, 0.8, 0.8)))
        rows += [line[i:i + MAP_WIDTH]
                 for i in range(0, len(line), MAP_WIDTH)]
    return numpy.array(rows) if rows else numpy.ones((1, MAP_WIDTH, 3))


def draw(data, out):
    """Draw all figures and return the names of the files."""
    plotter = Plotter(data, out)
    for figure in (plotter.scaling, plotter.ratios, plotter.fill,
                   plotter.courses, plotter.latency, plotter.maps,
                   plotter.strips, plotter.real):
        figure()
    return plotter.names
