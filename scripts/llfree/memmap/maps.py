# SPDX-License-Identifier: GPL-2.0
"""Parse, store and read maps of memory by pageblocks of 2 MiB.

A map is a list of zones; a zone has the free pages and the kind of each of its
blocks. As text, a zone is one line of tokens: the letter of the kind, the free
pages, and "*N" for N equal blocks in a row, as in "f512*200 m17 u0*3".

Guests have no Python packages, so this file needs only the standard library."""

import collections
import csv
import re

from llfree.program import Error

PAGE = 4096                     # bytes
BLOCK = 512                     # pages
PAGES_PER_MIB = 256
# The kinds of blocks that the kernel's map distinguishes
KINDS = ("free", "movable", "unmovable", "reclaimable", "huge", "highatomic",
         "cma", "isolate", "absent")
LETTERS = dict(zip("fmurhacix", KINDS))
LETTER_OF = {kind: letter for letter, kind in LETTERS.items()}
TOKEN = re.compile(r"([a-z])(\d+)(?:\*(\d+))?")
FIELDS = ("allocator", "pair", "boot", "bench", "seconds", "zone", "start_pfn",
          "blocks")
NUMBERS = {"pair": int, "boot": int, "seconds": float, "start_pfn": int}

Zone = collections.namedtuple("Zone", "name start blocks")
Totals = collections.namedtuple(
    "Totals", "pages free free_in_blocks unmovable blocks")


class BadMap(Error):
    """A damaged map or file of samples"""


def parse(text):
    """Return the zones of the debugfs file page_alloc/map."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        try:
            if words[0] == "zone":
                found.append(Zone(f"{words[1]}/{words[2]}", int(words[3]), []))
                continue
            if words[2] not in LETTER_OF:
                raise ValueError(f"no kind '{words[2]}'")
            found[-1].blocks.append((int(words[1]), words[2]))
        except (IndexError, ValueError) as e:
            raise BadMap(f"map, line {number}: '{line}': {e}") from e
    return found


def encode(blocks):
    """Return the tokens of a zone's blocks."""
    tokens = []
    for block in blocks:
        if tokens and tokens[-1][0] == block:
            tokens[-1][1] += 1
        else:
            tokens.append([block, 1])
    return " ".join(f"{LETTER_OF[kind]}{free}{f'*{n}' if n > 1 else ''}"
                    for (free, kind), n in tokens)


def decode(text):
    blocks = []
    for word in text.split():
        m = TOKEN.fullmatch(word)
        if not m or m[1] not in LETTERS or int(m[2]) > BLOCK:
            raise BadMap(f"'{word}' is no block like f512*3")
        blocks += [(int(m[2]), LETTERS[m[1]])] * int(m[3] or 1)
    return blocks


def totals(zones):
    """Return sums over all zones, without absent blocks."""
    blocks = [b for z in zones for b in z.blocks if b[1] != "absent"]
    return Totals(
        len(blocks) * BLOCK, sum(free for free, _ in blocks),
        sum(free for free, _ in blocks if free == BLOCK),
        sum(kind == "unmovable" for _, kind in blocks), len(blocks))


class Course:
    """Maps over time, evenly spaced, at most as many as the limit

    add() drops every second map when the limit is exceeded."""

    def __init__(self, limit=96):
        self.limit = limit
        self.stride = 1
        self.seen = 0
        self.kept = []          # (seconds, text of the map)

    def add(self, seconds, text):
        if self.seen % self.stride == 0:
            self.kept.append((seconds, text))
        self.seen += 1
        if len(self.kept) > self.limit:
            del self.kept[1::2]
            self.stride *= 2

    def rows(self):
        """Return rows for samples.csv, one per map and zone."""
        return [{"seconds": round(seconds, 2), "zone": zone.name,
                 "start_pfn": zone.start, "blocks": encode(zone.blocks)}
                for seconds, text in self.kept for zone in parse(text)]


def read_samples(path):
    """Return the rows of a samples.csv."""
    with open(path, encoding="utf-8", newline="") as f:
        table = csv.DictReader(f)
        if tuple(table.fieldnames or ()) != FIELDS:
            raise BadMap(f"{path}: the columns are {table.fieldnames}, not "
                         f"{list(FIELDS)}")
        rows = []
        for row in table:
            try:
                rows.append({k: NUMBERS.get(k, str)(row[k]) for k in FIELDS})
                decode(row["blocks"])
            except (TypeError, ValueError, AttributeError, BadMap) as e:
                raise BadMap(f"{path}, line {table.line_num}: {e}") from e
    return rows


def write_samples(f, rows):
    table = csv.DictWriter(f, FIELDS, lineterminator="\n",
                           extrasaction="ignore")
    table.writeheader()
    table.writerows(rows)


def sequences(rows):
    """Return {(bench, pair, allocator): [(seconds, zones)]}, in order of time."""
    found = collections.defaultdict(lambda: collections.defaultdict(list))
    for row in rows:
        found[row["bench"], row["pair"], row["allocator"]][
            row["seconds"]].append(Zone(row["zone"], row["start_pfn"],
                                        decode(row["blocks"])))
    return {key: sorted(times.items()) for key, times in sorted(found.items())}
