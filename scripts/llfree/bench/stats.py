# SPDX-License-Identifier: GPL-2.0
"""Compute the statistics and format the tables of scripts/bench.

A record is one value of one boot: a row of the benchmark module's results, or one
number of the real work. A record also has the allocator, the pair and the boot. The
value of a boot for a measure is the median of the boot's rounds. Two boots, one with
each allocator, are a pair, with one ratio llfree/buddy. Less is better in all
measures, except counts of free blocks in frag and age, which have a separate table."""

import collections
import csv
import io
import statistics

from llfree.memmap.maps import BLOCK

ALLOCS = ("buddy", "llfree")
NAMES = {"buddy": "buddy", "llfree": "LLFree"}
MODULE_FIELDS = ("bench", "order", "cpus", "api", "level", "round", "measure",
                 "ops", "value")
FIELDS = ("allocator", "pair", "boot", "machine") + MODULE_FIELDS
TEXTS = ("allocator", "machine", "bench", "api", "measure", "operation")
HISTOGRAM_FIELDS = ("bench", "order", "cpus", "level", "operation", "low_ns",
                    "count")
# Benchmarks whose rounds are steps in time, not repetitions. In frag-raw, per-CPU lists
# are as short as possible, so that a list does not keep freed pages for the next round.
ROUNDS = ("frag", "frag-raw", "age")
# Time of reading the clock, which does not depend on the allocator
CLOCK = "timer_ns"
BENCHES = ("bulk", "repeat", "rand", "remote", "exit", "mixed", "atomic",
           "fill", "latency", *ROUNDS)

Key = collections.namedtuple("Key", "bench order level measure api cpus")


class BadResults(Exception):
    """A damaged table, from a guest or from a file"""


def number(text):
    value = float(text)
    return int(value) if value.is_integer() else value


def parse_csv(text, fields):
    """Return rows as dictionaries. Raise BadResults for a missing column or a value that
    should be a number."""
    rows = csv.DictReader(io.StringIO(text))
    if tuple(rows.fieldnames or ()) != fields:
        raise BadResults(f"the columns are {rows.fieldnames}, not {list(fields)}")
    found = []
    for row in rows:
        if None in row or None in row.values():
            raise BadResults(f"line {rows.line_num}: {len(fields)} columns are wanted")
        try:
            found.append({k: v if k in TEXTS or v == "" else number(v)
                          for k, v in row.items()})
        except ValueError as e:
            raise BadResults(f"line {rows.line_num}: {e}") from e
    return found


class Comparison:
    """The values of each boot for one measure, with either allocator"""

    def __init__(self):
        self.rounds = {a: collections.defaultdict(list) for a in ALLOCS}

    def add(self, alloc, pair, value):
        self.rounds[alloc][pair].append(value)

    def boots(self, alloc):
        """Return {pair: median of the boot's rounds}."""
        return {pair: statistics.median(values)
                for pair, values in sorted(self.rounds[alloc].items())}

    def median(self, alloc):
        values = self.boots(alloc).values()
        return statistics.median(values) if values else None

    def spread(self, alloc):
        values = self.boots(alloc).values()
        return (min(values), max(values)) if values else None

    def pairs(self):
        """Return [(buddy, llfree)] of the pairs that have both values."""
        buddy, llfree = (self.boots(a) for a in ALLOCS)
        return [(b, llfree[pair]) for pair, b in buddy.items()
                if pair in llfree]

    @property
    def ratio(self):
        """The ratio of the medians over all boots that are in a complete pair"""
        pairs = self.pairs()
        if not pairs:
            return None
        buddy, llfree = (statistics.median(v) for v in zip(*pairs))
        return divide(llfree, buddy)

    @property
    def pair_ratios(self):
        ratios = (divide(llfree, buddy) for buddy, llfree in self.pairs())
        return [r for r in ratios if r is not None]

    @property
    def mark(self):
        """! if LLFree needs more in all pairs, ? if only LLFree's median is more"""
        if self.ratio is None or self.ratio <= 1:
            return " "
        return "!" if all(r > 1 for r in self.pair_ratios) else "?"


def divide(a, b):
    return None if a is None or not b else a / b


def read_limits(path):
    """Return {(bench, order, measure): highest ratio}."""
    with open(path, encoding="utf-8", newline="") as f:
        return {(row["bench"], int(row["order"]), row["measure"]):
                float(row["ratio"]) for row in csv.DictReader(f)}


def check_limits(found, limits):
    """Yield (passed, name, text) for each limit. A limit without a measured ratio fails."""
    ratios = {}
    for key, c in found.items():
        if c.ratio is not None:
            name = (key.bench, key.order, key.measure)
            ratios[name] = max(c.ratio, ratios.get(name, 0))
    for name, limit in limits.items():
        ratio = ratios.get(name)
        said = "not measured" if ratio is None else f"{ratio:.3f}"
        yield (ratio is not None and ratio <= limit,
               f"{name[0]} order {name[1]} {name[2]}", f"{said}, at most {limit:.2f}")


def compare(records):
    """Return {Key: Comparison} of benchmarks whose rounds are repetitions."""
    found = collections.defaultdict(Comparison)
    for r in records:
        if r["bench"] in ROUNDS or r["measure"] == CLOCK:
            continue
        key = Key(*(r[k] for k in Key._fields))
        found[key].add(r["allocator"], r["pair"], r["value"])
    return dict(sorted(found.items(), key=rank))


def rank(item):
    """Return a sort key: the order of BENCHES, other benchmarks last."""
    key = item[0]
    bench = BENCHES.index(key.bench) if key.bench in BENCHES else len(BENCHES)
    return (bench, key.bench, number_or(key.order), key.api == "bulk",
            key.measure, number_or(key.level), key.cpus)


def number_or(value):
    return -1 if value == "" else value


def courses(records):
    """Return {(bench, measure): {round: Comparison}} of frag and age."""
    found = collections.defaultdict(lambda: collections.defaultdict(Comparison))
    for r in records:
        if r["bench"] in ROUNDS:
            found[r["bench"], r["measure"]][r["round"]].add(
                r["allocator"], r["pair"], r["value"])
    return {k: dict(sorted(v.items())) for k, v in sorted(found.items())}


def histograms(rows):
    """Return {(bench, order, cpus, level, operation): {allocator: {low_ns: count}}}."""
    found = collections.defaultdict(
        lambda: {a: collections.Counter() for a in ALLOCS})
    for r in rows:
        key = tuple(r[k] for k in HISTOGRAM_FIELDS[:5])
        found[key][r["allocator"]][r["low_ns"]] += r["count"]
    return dict(sorted(found.items(), key=str))


# --- text ---

def short(value):
    """Return a number as a short text with at least three digits."""
    if value is None:
        return "-"
    for size, letter in ((1e9, "G"), (1e6, "M")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    if abs(value) >= 10 or value == int(value):
        return f"{value:.3g}"
    return f"{value:.2f}"


def ratio_text(value):
    return "-" if value is None else f"{value:.2f}" if value < 100 else \
        f"{value:.0f}"


def span_text(values, form):
    return f"{form(min(values))}..{form(max(values))}" if values else "-"


def what(key):
    """Return the name of a measure in a row of a table."""
    name = key.measure.removesuffix("_ns").replace("_", " ")
    if key.api == "bulk":
        name += ", bulk API"
    return f"{name}, {key.level} % full" if key.bench == "fill" else name


def cpus_text(n):
    return f"{n} CPU{'s' if n > 1 else ''}"


def ratio_cell(c):
    """Return the ratio of medians, then the pairs' median and spread, as text."""
    pairs = c.pair_ratios
    if not pairs:
        return "-"
    middle = ratio_text(statistics.median(pairs))
    return (f"{ratio_text(c.ratio):>5}{c.mark} {middle:>5} "
            f"{span_text(pairs, ratio_text)}")


def ratio_table(found):
    """Return lines of a table with a row per bench, order and measure, a column per number
    of CPUs."""
    counts = sorted({k.cpus for k in found})
    rows = collections.defaultdict(dict)
    for key, c in found.items():
        rows[key._replace(cpus=0)][key.cpus] = ratio_cell(c)
    lines = [f"{'bench':8}{'order':>5}  {'measure':20}" +
             "".join(f"{cpus_text(n):26}" for n in counts)]
    for key, cells in rows.items():
        lines.append((f"{key.bench:8}{key.order:>5}  {what(key):20}" + "".join(
            f"{cells.get(n, ''):26}" for n in counts)).rstrip())
    return lines


def absolute_table(found, label=None):
    """Return lines of a table with a row per measure: medians, spreads, ratios."""
    label = label or (lambda k: f"{k.bench:8}{k.order:>5}  {what(k):20}"
                      f"{k.cpus:>4}")
    head = f"{'bench':8}{'order':>5}  {'measure':20}{'CPUs':>4}"
    width = max([len(head)] + [len(label(k)) for k in found])
    lines = [f"{head:{width}}{'buddy':>9}  {'min..max':16}{'llfree':>9}  "
             f"{'min..max':16}{'ratio':>6}  {'pairs: median, min..max':26}"]
    for key, c in found.items():
        text = f"{label(key):{width}}"
        for alloc in ALLOCS:
            spread = c.spread(alloc)
            text += (f"{short(c.median(alloc)):>9}  "
                     f"{span_text(spread, short) if spread else '-':16}")
        pairs = c.pair_ratios
        middle = ratio_text(statistics.median(pairs)) if pairs else "-"
        text += (f"{ratio_text(c.ratio):>6}{c.mark} {middle} "
                 f"{span_text(pairs, ratio_text)}")
        lines.append(text.rstrip())
    return lines


def chosen_rounds(rounds):
    """Return the first, second, eleventh, middle and last of the rounds."""
    last = max(rounds)
    return [r for r in rounds if r in {0, 1, 10, last // 2, last}]


def course_table(found):
    """Return lines of a table: moves and free huge blocks of frag and age, at some rounds."""
    lines = [f"{'bench':9}{'round':>4}  {'moves: buddy':>13}{'llfree':>9}"
             f"{'ratio':>7}  {'pairs':14}  {'free 2 MiB, % of memory: buddy':>30}"
             f"{'llfree':>8}"]
    for bench in ROUNDS:
        moves = found.get((bench, "moves_pages"), {})
        for r in chosen_rounds(moves) if moves else ():
            c = moves[r]
            text = (f"{bench:9}{r:>4}  {short(c.median('buddy')):>13}"
                    f"{short(c.median('llfree')):>9}"
                    f"{ratio_text(c.ratio):>6}{c.mark}  "
                    f"{span_text(c.pair_ratios, ratio_text):14}  ")
            for alloc, width in zip(ALLOCS, (30, 8)):
                share = huge_share(found, bench, r, alloc)
                text += f"{'-' if share is None else f'{share:.1f}':>{width}}"
            lines.append(text)
    return lines if len(lines) > 1 else []


def huge_share(found, bench, r, alloc):
    """Return the percentage of memory that is free in whole 2 MiB blocks, or None."""
    blocks, total = (found.get((bench, m), {}).get(r) for m in (
        "free_huge_blocks", "total_pages"))
    if not blocks or not total:
        return None
    share = divide(blocks.median(alloc), total.median(alloc))
    return None if share is None else 100 * BLOCK * share


def summary(found):
    """Return lines with the number of cells above 1.00 and the worst of these cells."""
    cells = [(c.ratio, k, c.mark) for k, c in found.items()
             if c.ratio is not None]
    above = sorted((c for c in cells if c[0] > 1), reverse=True,
                   key=lambda c: c[0])
    if not cells:
        return ["nothing to compare"]
    lines = [f"{len(cells)} cells, {len(above)} above 1.00, "
             f"{sum(c[2] == '!' for c in above)} of them in every pair; "
             f"geometric mean "
             f"{statistics.geometric_mean(c[0] for c in cells if c[0]):.2f}"]
    if above:
        lines.append("worst: " + "; ".join(
            f"{k.bench} order {k.order} {what(k)} {cpus_text(k.cpus)} {r:.2f}"
            for r, k, _ in above[:5]))
    return lines
