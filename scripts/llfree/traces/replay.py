# SPDX-License-Identifier: GPL-2.0
"""Replay recorded traces against the core, and compare placements.

Placement "recorded" is that of the recorded kernel. Placement "bestfit", for reference, puts
each block into the fullest huge block that has room. Other placements are policies of the
core, default or packed, with options after the name: default+tree-order=13+nofragment.

Prints the score of each placement on each trace: entirely free huge blocks as a share of the
best possible, mean over the second half. OUT/replay.csv also has moves, and blocks with
unmovable frames at the end. OUT/NAME-replay.svg shows each trace over time. With --maps,
OUT/NAME-map.svg shows for each placement how full each huge block is over time, and which
ones have unmovable frames. OUT/NAME-map.csv has the samples, which scripts/memmap --file can
show, too."""

import collections
import concurrent.futures
import csv
import json
import math
import os
import subprocess

from llfree import program
from llfree.memmap import maps
from llfree.paths import BUILD
from llfree.program import Error, say
from llfree.traces import TRACES, build, find

REPLAY = f"{BUILD}/llfree-user/replay"
PLACEMENTS = "recorded,default,packed,bestfit"
FIELDS = ("trace", "placement", "score", "free", "huge", "best", "unmovable", "moves", "allocs",
          "frees", "freed", "failed", "unknown", "stale", "outside")
# A replay with more freed frames that were never allocated is invalid: as a share of freed
# frames, and as a number that is always harmless
MOST_UNKNOWN = 0.02
HARMLESS = 1024
# Zones with fewer frames are left out if the trace has several zones
SMALLEST = 32768


def options(placement):
    """Return the options of a placement for a command line."""
    name, *more = placement.split("+")
    return ["--placement", name, *(f"--{option}" for option in more)]


def command(trace, zone, directory, placement, samples, *more):
    return [REPLAY, "--zone", f"{zone['first']}:{zone['frames']}", *options(placement),
            "--cpus", str(trace.meta["cpus"]), "--samples", samples, *more, directory]


def read_map(path, trace, zone, placement):
    """Return rows of samples.csv from the map that a replay has written."""
    with open(path, encoding="utf-8", newline="") as f:
        return [{"allocator": placement, "pair": 0, "boot": 0, "bench": trace.name,
                 "seconds": float(row["seconds"]), "zone": zone["name"],
                 "start_pfn": int(row["start_pfn"]), "blocks": row["blocks"]}
                for row in csv.DictReader(f)]


def replay(trace, directory, placement, out, with_map=False):
    """Replay a trace. Return (figures at the end, samples: sums over zones, rows of maps)."""
    found, samples = collections.Counter(), collections.defaultdict(collections.Counter)
    rows = []
    for zone in trace.meta["zones"]:
        if zone["frames"] < SMALLEST and len(trace.meta["zones"]) > 1:
            continue
        path = f"{out}/{trace.name}-{zone['name'].replace('/', '-')}-{placement}.csv"
        map_path = f"{path}.map"
        ended = subprocess.run(command(trace, zone, directory, placement, path,
                                       *(["--map", map_path] if with_map else [])),
                               check=False, stdout=subprocess.PIPE, text=True)
        if ended.returncode:
            raise Error(f"replay of {trace.name} with {placement} fails")
        found.update(json.loads(ended.stdout))
        with open(path, encoding="utf-8") as f:
            for row in csv.DictReader(f):
                samples[int(row.pop("ms"))].update({k: int(v) for k, v in row.items()})
        if with_map:
            rows += read_map(map_path, trace, zone, placement)
            os.unlink(map_path)
    if found["unknown"] > max(MOST_UNKNOWN * found["freed"], HARMLESS):
        raise Error(f"{trace.name}: {found['unknown']} of {found['freed']} freed frames were "
                    "never allocated")
    found["score"] = score(samples)
    return found, samples, rows


def write_maps(trace, results, path, draw):
    """Write the samples of all placements, and draw their figure."""
    rows = [row for _, _, more in results.values() for row in more]
    with open(f"{path}.csv", "w", encoding="utf-8", newline="") as f:
        maps.write_samples(f, rows)
    courses = maps.sequences(rows)
    draw(trace, {p: courses[trace.name, 0, p] for p in results}, path)


def score(samples):
    """Return entirely free huge blocks as a share of the best, mean over the second half."""
    half = max(samples) / 2
    parts = [s["huge"] / s["best"] for ms, s in samples.items() if ms >= half and s["best"]]
    return round(sum(parts) / len(parts), 4) if parts else 0


def table(scores, placements):
    """Yield lines: the scores of each trace by placement, and the geometric means."""
    width = max(map(len, [*scores, "geometric mean"]))
    yield " " * width + "".join(f"  {p:>20}" for p in placements)
    for name, row in scores.items():
        yield f"{name:{width}}" + "".join(f"  {row[p]:20.3f}" for p in placements)
    means = [math.exp(sum(math.log(max(row[p], 1e-9)) for row in scores.values()) / len(scores))
             for p in placements]
    yield f"{'geometric mean':{width}}" + "".join(f"  {m:20.3f}" for m in means)


def main():
    p = program.parser(__doc__)
    p.add_argument("trace", metavar="DIR", nargs="*", help="some traces (default: all)")
    p.add_argument("--placements", metavar="LIST", default=PLACEMENTS,
                   help=f"(default: {PLACEMENTS})")
    p.add_argument("--out", metavar="DIR", default=f"{TRACES}/replay",
                   help="(default: build/traces/replay)")
    p.add_argument("--maps", action="store_true",
                   help="also draw huge blocks over time, for each placement")
    args = p.parse_args()
    # Help needs no packages.
    # pylint: disable-next=import-outside-toplevel
    from llfree.traces import data, figures
    found = find(args.trace)
    build("replay")
    os.makedirs(args.out, exist_ok=True)
    placements = args.placements.split(",")
    scores, bad = {}, []
    with open(f"{args.out}/replay.csv", "w", encoding="utf-8", newline="") as f, \
         concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        lines = csv.DictWriter(f, FIELDS)
        lines.writeheader()
        for path in found:
            trace = data.Trace(path)
            done = pool.map(lambda p, t=trace, d=path: replay(t, d, p, args.out, args.maps),
                            placements)
            try:
                results = dict(zip(placements, done))
            except Error as e:
                bad.append(str(e))
                continue
            for placement, (found_here, *_) in results.items():
                lines.writerow({"trace": trace.name, "placement": placement, **found_here})
            figures.replay(trace, results, f"{args.out}/{trace.name}-replay")
            if args.maps:
                write_maps(trace, results, f"{args.out}/{trace.name}-map", figures.strips)
            scores[trace.name] = {p: r[0]["score"] for p, r in results.items()}
    if scores:
        print("\n".join(table(scores, placements)))
    if bad:
        raise Error("left out: " + "; ".join(bad))
    say(f"{os.path.relpath(args.out)}/replay.csv and a figure of each trace")
    return 0
