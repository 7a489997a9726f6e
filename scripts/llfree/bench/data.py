# SPDX-License-Identifier: GPL-2.0
"""Load results of scripts/bench, and name their level of measurement and their unit

Raises BadData for damaged results."""

import collections
import json
import os

from llfree.bench import stats as stat
from llfree.memmap import maps
from llfree.program import Error

COUNTED = "TCG, instructions counted"
UNKNOWN = "not recorded"
# Older results and CSV files lack these keys of meta.
DEFAULTS = {"date": UNKNOWN, "host": UNKNOWN, "mem": "?", "quick": False}
LISTS = ("boots", "values", "histograms", "maps", "samples", "vmstat", "failed")

Level = collections.namedtuple("Level", "name machine command says")
LEVELS = (
    Level("Native userspace", None, "make -C tools/testing/llfree bench",
          "The core without a kernel runs natively, as a program. It has a table "
          "of its own, and no buddy allocator to compare with."),
    Level("User Mode Linux", "UML native", "make bench-um",
          "The kernel runs natively on one CPU. Times are real; contention and "
          "huge pages are absent."),
    Level("QEMU with KVM", "KVM", "make bench",
          "The kernel runs on virtual CPUs. Times are real, except for those of "
          "page faults of the host."),
    Level("QEMU, emulated (TCG)", "TCG", "make bench",
          "Each CPU is emulated by a thread, 20 to 50 times slower than the host. "
          "Ratios compare; absolute times say nothing about hardware. Cache "
          "misses and cache lines that move between CPUs cost almost nothing."),
    Level("Counted instructions (TCG)", COUNTED, "make bench-count",
          "The number of instructions of the guest, on one CPU. It is the same on "
          "every machine, and says nothing about waiting or contention."),
)


class BadData(Error):
    """Damaged results; the text has the file and the reason"""


def level_of(meta):
    for level in LEVELS:
        if level.machine == meta["machine"]:
            return level
    raise BadData(f"no level of measurement is called '{meta['machine']}'")


def is_counted(meta):
    return meta["machine"] == COUNTED


def unit(meta):
    """Return the unit for axes of figures."""
    return "instructions" if is_counted(meta) else "ns"


def unit_name(meta):
    """Return the unit for sentences."""
    return "instructions" if is_counted(meta) else "nanoseconds"


def checked(data, path):
    """Check data, add missing lists and defaults, and return the data."""
    if not isinstance(data, dict) or not isinstance(data.get("meta"), dict):
        raise BadData(f"{path}: no results of scripts/bench: there is no 'meta'")
    for name in LISTS:
        if not isinstance(data.setdefault(name, []), list):
            raise BadData(f"{path}: '{name}' is no list")
    if not data["values"]:
        raise BadData(f"{path}: no values")
    for number, row in enumerate(data["values"]):
        missing = [k for k in stat.FIELDS if k not in row]
        if missing:
            raise BadData(f"{path}: value {number} lacks {', '.join(missing)}")
        if row["allocator"] not in stat.ALLOCS:
            raise BadData(f"{path}: value {number}: no allocator "
                          f"'{row['allocator']}'")
        if not isinstance(row["value"], (int, float)):
            raise BadData(f"{path}: value {number}: '{row['value']}' is no "
                          "number")
    meta = data["meta"]
    most = max(row["cpus"] for row in data["values"])
    for key, value in {**DEFAULTS, "machine": data["values"][0]["machine"],
                       "smp": most, "host_cpus": most}.items():
        meta.setdefault(key, value)
    level_of(meta)
    return data


def from_csv(path):
    """Return data as in results.json, from a results.csv and the samples.csv in the same
    directory."""
    with open(path, encoding="utf-8", newline="") as f:
        values = stat.parse_csv(f.read(), stat.FIELDS)
    samples = f"{os.path.dirname(os.path.abspath(path))}/samples.csv"
    return {"meta": {}, "values": values, "samples":
            maps.read_samples(samples) if os.path.exists(samples) else []}


def load(path):
    """Return the data of a results.json or results.csv."""
    try:
        if path.endswith(".csv"):
            data = from_csv(path)
        else:
            with open(path, encoding="utf-8") as f:
                data = json.load(f)
    except OSError as e:
        raise BadData(f"{path}: {e.strerror}") from e
    except stat.BadResults as e:
        raise BadData(f"{path}: {e}") from e
    except ValueError as e:
        raise BadData(f"{path}: no JSON: {e}") from e
    return checked(data, path)
