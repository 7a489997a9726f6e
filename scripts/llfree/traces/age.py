# SPDX-License-Identifier: GPL-2.0
"""Model memory that has been in use for long, and compare placements.

Runs tools/testing/llfree/age, which models the benchmark "age" natively and in seconds. For
each size of memory and placement, prints the score when memory is full: entirely free huge
blocks as a share of the best possible. The score is the mean over the rounds after the first
third and over all seeds. FILE also has moves, and blocks with unmovable frames. Placements are
those of scripts/replay, except "recorded"."""

import collections
import concurrent.futures
import csv
import os
import subprocess

from llfree import program
from llfree.paths import BUILD
from llfree.program import Error, say
from llfree.traces import TRACES, build
from llfree.traces.replay import options, table

AGE = f"{BUILD}/llfree-user/age"
PLACEMENTS = "default,packed,bestfit"
SCORES = ("huge", "best", "unmovable", "moves")


def run(mib, placement, rounds, seed, cpus):
    """Run the model, and return the figures of each round at the time when memory is full."""
    ended = subprocess.run([AGE, "--mib", str(mib), "--rounds", str(rounds), "--seed", str(seed),
                            "--cpus", str(cpus), *options(placement)],
                           stdout=subprocess.PIPE, text=True, check=False)
    if ended.returncode:
        raise Error(f"the model of {mib} MiB with {placement} fails")
    full = [row for row in csv.DictReader(ended.stdout.splitlines()) if row["when"] == "full"]
    return [{name: int(row[name]) for name in SCORES} for row in full]


def mean(rounds):
    """Return the means over the rounds after the first third."""
    late = rounds[len(rounds) // 3:]
    found = {name: sum(r[name] for r in late) / len(late) for name in SCORES}
    found["score"] = sum(r["huge"] / r["best"] for r in late) / len(late)
    return found


def main():
    p = program.parser(__doc__)
    p.add_argument("--mib", metavar="LIST", default="512,1024,2048,6144",
                   help="sizes of memory (default: 512,1024,2048,6144)")
    p.add_argument("--placements", metavar="LIST", default=PLACEMENTS,
                   help=f"(default: {PLACEMENTS})")
    p.add_argument("--rounds", metavar="N", type=int, default=30, help="(default: 30)")
    p.add_argument("--seeds", metavar="N", type=int, default=3,
                   help="runs of each (default: 3)")
    p.add_argument("--cpus", metavar="N", type=int, default=2, help="(default: 2)")
    p.add_argument("--out", metavar="FILE", default=f"{TRACES}/age.csv",
                   help="(default: build/traces/age.csv)")
    args = p.parse_args()
    if args.rounds < 1 or args.seeds < 1:
        p.error("at least one round and one seed")
    build("age")
    os.makedirs(os.path.dirname(os.path.abspath(args.out)), exist_ok=True)
    placements = args.placements.split(",")
    scores = collections.defaultdict(dict)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool, \
         open(args.out, "w", encoding="utf-8", newline="") as f:
        lines = csv.DictWriter(f, ("mib", "placement", "score", *SCORES))
        lines.writeheader()
        for mib in args.mib.split(","):
            for placement in placements:
                runs = pool.map(lambda seed, m=mib, p=placement: mean(
                    run(m, p, args.rounds, seed, args.cpus)), range(1, args.seeds + 1))
                total = collections.Counter()
                for found in runs:
                    total.update(found)
                row = {name: round(value / args.seeds, 4) for name, value in total.items()}
                lines.writerow({"mib": mib, "placement": placement, **row})
                scores[f"age, {mib} MiB"][placement] = row["score"]
    print("\n".join(table(scores, placements)))
    say(os.path.relpath(args.out))
    return 0
