# SPDX-License-Identifier: GPL-2.0
"""Collect results of guests, save them as files, and format the tables"""

import csv
import json
import os

from llfree.bench import data
from llfree.bench import stats as stat
from llfree.bench.plan import REAL, bench_name, cell_name
from llfree.memmap import maps

NOTES = {"TCG": "; an emulated CPU: 20 to 50 times slower, compare only",
         data.COUNTED: "; a nanosecond is an instruction of the guest"}
EVENTS = ("pgfault", "thp_fault_alloc", "thp_fault_fallback",
          "compact_stall", "compact_fail", "compact_success",
          "pgmigrate_success", "allocstall_movable", "allocstall_normal",
          "pgsteal_kswapd", "pgsteal_direct")


class Results:
    """All results, as in results.json"""

    def __init__(self, meta):
        self.data = {"meta": meta, **{name: [] for name in data.LISTS}}

    @classmethod
    def load(cls, path):
        loaded = data.load(path)
        found = cls(loaded["meta"])
        found.data.update(loaded)
        return found

    def __getattr__(self, name):
        if name in ("meta",) + data.LISTS:
            return self.data[name]
        raise AttributeError(name)

    def add(self, boot, record):
        """Add a record of a guest's output."""
        origin = {"allocator": boot.alloc, "pair": boot.pair,
                  "boot": boot.number, "machine": self.meta["machine"]}
        cell = boot.todo[record["cell"]]
        if record["error"]:
            self.failed.append({**origin, "what": cell_name(cell),
                                "error": record["error"]})
            if "results" not in record:
                return
        if isinstance(cell, str):
            for name, (ops, value) in record["measures"].items():
                self.values.append({
                    **origin, "bench": cell, "order": "",
                    "cpus": record["cpus"], "api": "", "level": "",
                    "round": 0, "measure": name, "ops": ops, "value": value})
            self.vmstat.append({**origin, "bench": cell,
                                "deltas": record["vmstat"],
                                "orders": record.get("orders")})
            return
        self.values.extend(
            {**origin, **row, "bench": bench_name(cell)}
            for row in stat.parse_csv(record["results"], stat.MODULE_FIELDS))
        if "histogram" in record:
            self.histograms.extend(
                {**origin, **row} for row in stat.parse_csv(
                    record["histogram"], stat.HISTOGRAM_FIELDS))
        for when in ("before", "after"):
            if record.get(f"map_{when}"):
                self.maps.append({**origin, "bench": bench_name(cell),
                                  "when": when,
                                  "map": record[f"map_{when}"]})
        self.samples.extend({**origin, "bench": bench_name(cell), **row}
                            for row in record.get("samples", ()))

    def save(self, out):
        def write(name, writer):
            with open(f"{out}/{name}.new", "w", encoding="utf-8",
                      newline="") as f:
                writer(f)
            os.replace(f"{out}/{name}.new", f"{out}/{name}")

        def rows(f):
            table = csv.DictWriter(f, stat.FIELDS, lineterminator="\n")
            table.writeheader()
            table.writerows(self.values)

        write("results.json", lambda f: json.dump(self.data, f, indent=1))
        write("results.csv", rows)
        if self.samples:
            write("samples.csv",
                  lambda f: maps.write_samples(f, self.samples))


def event_table(results):
    """Return lines with the medians over boots of some /proc/vmstat counters."""
    benches = {v["bench"] for v in results.vmstat}
    lines = []
    for bench in [b for b in REAL if b in benches]:
        for event in EVENTS:
            c = stat.Comparison()
            for v in results.vmstat:
                if v["bench"] == bench:
                    c.add(v["allocator"], v["pair"],
                          v["deltas"].get(event, 0))
            if any(c.median(a) for a in stat.ALLOCS):
                lines.append(f"  {bench:14}{event:22}" + "".join(
                    f"{stat.short(c.median(a)):>10}  "
                    f"{stat.span_text(c.spread(a) or (), stat.short):16}"
                    for a in stat.ALLOCS) + f"{stat.ratio_text(c.ratio):>6}")
    if lines:
        lines.insert(0, f"  {'':14}{'event':22}{'buddy':>10}  {'min..max':16}"
                     f"{'llfree':>10}  {'min..max':16}{'ratio':>6}")
    return lines


def report(results):
    meta = results.meta
    values = results.values
    found = stat.compare(values)
    module = {k: c for k, c in found.items() if k.bench in stat.BENCHES}
    real = {k: c for k, c in found.items() if k.bench not in stat.BENCHES}
    pairs = len(set.intersection(*(
        {v["pair"] for v in values if v["allocator"] == alloc}
        for alloc in stat.ALLOCS)))
    note = NOTES.get(meta["machine"], "")
    lines = [f"Page allocators compared, {meta['date']}, level "
             f"{meta['machine']}{note}",
             f"{meta.get('kernel', '')}, {meta['smp']} CPUs, "
             f"{meta['mem']} MiB, on {meta['host']}",
             f"{pairs} pairs of boots{meta.get('stopped', '')}", ""]
    if meta["smp"] > meta["host_cpus"]:
        lines[2:2] = [f"More than {meta['host_cpus']} CPUs of the guest share "
                      f"{meta['host_cpus']} of the host."]
    if module:
        lines += ["Ratios LLFree/buddy: of the medians, then of the pairs "
                  "(median, min..max).",
                  "! above 1.00 in every pair, ? in the median only", "",
                  *stat.ratio_table(module), "", *stat.summary(module), ""]
    rounds = stat.course_table(stat.courses(values))
    if rounds:
        lines += ["Fragmentation: pages to move until all free memory is "
                  "in 2 MiB blocks, over rounds", "", *rounds, ""]
    if real:
        lines += ["Real work (ns, unless the name has another unit)", "",
                  *stat.absolute_table(real, lambda k: (
                      f"{k.bench:14}{k.measure:22}{k.cpus:>4}")), "",
                  "Changes of /proc/vmstat during real work", "",
                  *event_table(results), ""]
    if module:
        unit = data.unit_name(meta).capitalize()
        lines += [f"{unit} per operation, medians of boots", "",
                  *stat.absolute_table(module), ""]
    if results.failed:
        lines += ["Not measured:"]
        seen = {}
        for f in results.failed:
            seen.setdefault((f["what"], f["error"]), []).append(
                f"{f['allocator']} {f['boot']}")
        lines += [f"  {name}: {error} ({', '.join(boots)})"
                  for (name, error), boots in seen.items()]
        lines.append("")
    return "\n".join(lines)
