# SPDX-License-Identifier: GPL-2.0
"""Make the texts and tables of the page of results: the verdict, the cells of the heat
map, and the rows of details to which the cells link."""

import collections
import math
import re
import statistics

from llfree.bench import stats as stat
from llfree.bench.data import is_counted
from llfree.memmap.maps import PAGES_PER_MIB, totals

# (upper limit of ratios, step of colour), from LLFree far below buddy to far above
STEPS = ((0.5, -4), (0.7, -3), (0.87, -2), (0.97, -1), (1.03, 0), (1.15, 1),
         (1.43, 2), (2, 3), (math.inf, 4))
# The host has disturbed most of the slowest operations.
NOT_IN_MAP = ("latency",)

Cell = collections.namedtuple("Cell", "id name text step mark")
HeatMap = collections.namedtuple("HeatMap", "title orders rows")
Row = collections.namedtuple(
    "Row", "id bench measure order cpus medians ratio step pairs pair_ratios says")


def step_of(ratio):
    return next(step for limit, step in STEPS if ratio <= limit)


def cell_id(key):
    """Return the id of the row of details."""
    parts = (part for part in key if part != "")
    return re.sub(r"[^a-z0-9]+", "-", "-".join(map(str, ("cell", *parts))).lower())


def measure_name(key):
    name = stat.what(key)
    return f"{name}, {key.level} % full" if key.bench == "latency" else name


def cell_name(key):
    order = "" if key.order == "" else f", order {key.order}"
    return f"{key.bench} {measure_name(key)}{order}, {stat.cpus_text(key.cpus)}"


def mapped(found):
    """Return the comparisons that the heat map has."""
    return {k: c for k, c in found.items() if k.bench in stat.BENCHES and
            k.bench not in NOT_IN_MAP and c.ratio is not None}


def heat_maps(found):
    """Return [HeatMap], one for each number of CPUs."""
    cells = mapped(found)
    maps = []
    for cpus in sorted({k.cpus for k in cells}):
        some = {k: c for k, c in cells.items() if k.cpus == cpus}
        orders = sorted({k.order for k in some})
        rows = collections.defaultdict(dict)
        for key, c in some.items():
            rows[f"{key.bench} {measure_name(key)}"][key.order] = Cell(
                cell_id(key), cell_name(key), stat.ratio_text(c.ratio),
                step_of(c.ratio), c.mark.strip())
        maps.append(HeatMap(stat.cpus_text(cpus), orders, [
            (name, [row.get(o) for o in orders]) for name, row in rows.items()]))
    return maps


def says(c):
    """Return the verdict of the pairs of one comparison, in words."""
    ratios = c.pair_ratios
    if not ratios:
        return "not comparable"
    if all(r < 1 for r in ratios):
        return "LLFree less in every pair"
    if all(r > 1 for r in ratios):
        return "LLFree more in every pair"
    return "equal in every pair" if all(r == 1 for r in ratios) else \
        "pairs disagree"


def details(found):
    """Return {benchmark: [Row]}."""
    tables = collections.defaultdict(list)
    for key, c in found.items():
        medians = []
        for alloc in stat.ALLOCS:
            spread = c.spread(alloc)
            medians.append((stat.short(c.median(alloc)),
                            stat.span_text(spread, stat.short)))
        tables[key.bench].append(Row(
            cell_id(key), key.bench, measure_name(key), key.order, key.cpus,
            medians, stat.ratio_text(c.ratio) + c.mark.strip(),
            0 if c.ratio is None else step_of(c.ratio), len(c.pairs()),
            stat.span_text(c.pair_ratios, stat.ratio_text), says(c)))
    return dict(tables)


def verdict(found, meta):
    """Return the verdict of all comparisons in one line."""
    cells = mapped(found) or {k: c for k, c in found.items()
                              if c.ratio is not None}
    if not cells:
        return "No pair of boots is complete, so there is nothing to compare."
    better = sum(c.ratio < 1 for c in cells.values())
    worse = sum(c.mark == "!" for c in cells.values())
    mean = statistics.geometric_mean(c.ratio for c in cells.values() if c.ratio)
    worst = max(cells, key=lambda k: cells[k].ratio)
    needs = "fewer instructions" if is_counted(meta) else "less time"
    return (f"LLFree needs {needs} than buddy in {better} of {len(cells)} cells, "
            f"more in every pair of boots in {worse}; geometric mean of the ratios "
            f"{mean:.2f}, highest {stat.ratio_text(cells[worst].ratio)} "
            f"({cell_name(worst)}).")


def course_rows(values):
    """Return the rows of the table of fragmentation.

    A row has benchmark, round, pages to move and their ratio, and the percentage of memory
    that is free in 2 MiB blocks."""
    found = stat.courses(values)
    rows = []
    for bench in stat.ROUNDS:
        moves = found.get((bench, "moves_pages"), {})
        for r in stat.chosen_rounds(moves) if moves else ():
            c = moves[r]
            shares = [stat.huge_share(found, bench, r, a) for a in stat.ALLOCS]
            rows.append((bench, r, *(stat.short(c.median(a))
                                     for a in stat.ALLOCS),
                         stat.ratio_text(c.ratio) + c.mark.strip(),
                         *("-" if s is None else f"{s:.1f}" for s in shares)))
    return rows


def sample_rows(strips):
    """Return the rows of the table beside a strip: totals of the first and last sample."""
    rows = []
    for alloc, course in strips.courses.items():
        for when, (seconds, zones) in (("first", course[0]), ("last", course[-1])):
            t = totals(zones)
            rows.append((alloc, f"{when}, {seconds:.1f} s",
                         f"{t.free / PAGES_PER_MIB:.0f}",
                         f"{t.free_in_blocks / PAGES_PER_MIB:.0f}",
                         f"{t.unmovable} of {t.blocks}"))
    return rows
