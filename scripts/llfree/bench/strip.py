# SPDX-License-Identifier: GPL-2.0
"""Draw strips of memory over time: address against time, one above the other.

The hue shows the kind of a pageblock; a fuller pageblock is more opaque. Free blocks
have the colour of the background."""

import collections

import matplotlib.pyplot as plt
import numpy
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch

from llfree.bench import stats as stat
from llfree.memmap import maps
from llfree.memmap.maps import PAGE

# Colours for light and dark backgrounds, near Okabe and Ito's, which colour-blind readers
# can distinguish. Greys are for blocks that cannot be allocated.
COLOURS = {"movable": "#1f83c0", "unmovable": "#d9660a",
           "reclaimable": "#129e74", "huge": "#cc79a8", "highatomic": "#d9a010",
           "cma": "#62b8e6", "isolate": "#777777", "absent": "#aaaaaa"}
LEAST_ALPHA = 0.15
GIB = 1 << 30

Strips = collections.namedtuple("Strips", "bench pair courses")


def without_end(course):
    """Return the samples until the benchmark frees all of its memory.

    In later samples, more memory is free than in any sample of the middle half."""
    free = [maps.totals(zones).free for _, zones in course]
    quarter = len(free) // 4
    most = max(free[quarter:len(free) - quarter]) * 1.02
    end = len(free)
    while end > 1 and free[end - 1] > most:
        end -= 1
    return course[:end]


def choose(rows):
    """Return [Strips], of each benchmark the first pair that has both allocators."""
    found = []
    courses = maps.sequences(rows)
    for bench in sorted({key[0] for key in courses}):
        for pair in sorted({key[1] for key in courses if key[0] == bench}):
            some = {a: courses.get((bench, pair, a)) for a in stat.ALLOCS}
            if all(some.values()):
                found.append(Strips(bench, pair, {
                    a: without_end(course) for a, course in some.items()}))
                break
    return found


def pixel(free, kind):
    """Return (red, green, blue, alpha) of a block."""
    if kind == "free":
        return 0, 0, 0, 0
    used = 1 - free / maps.BLOCK
    alpha = 0.5 if kind == "absent" else \
        LEAST_ALPHA + (1 - LEAST_ALPHA) * used
    return (*to_rgb(COLOURS[kind]), alpha)


def image(course):
    """Return an array blocks x samples x RGBA. Zones follow each other without the gaps
    between them."""
    columns = [[pixel(*block) for zone in zones for block in zone.blocks]
               for _, zones in course]
    height = max(map(len, columns))
    for column in columns:
        column += [(0, 0, 0, 0)] * (height - len(column))
    return numpy.array(columns).transpose(1, 0, 2)


def addresses(zones):
    """Return [(number of a block, address)] of each zone's first block and of the end."""
    marks = []
    count = 0
    for zone in zones:
        marks.append((count, zone.start * PAGE))
        count += len(zone.blocks)
        end = (zone.start + len(zone.blocks) * maps.BLOCK) * PAGE
    return [*marks, (count, end)]


def kinds_of(strips):
    present = {kind for course in strips.courses.values()
               for _, zones in course for z in zones for _, kind in z.blocks}
    return [k for k in maps.KINDS if k in present and k != "free"]


def draw(strips, width=5.4, clock="seconds in the guest"):
    """Return the matplotlib figure, with a panel for each course."""
    count = len(strips.courses)
    figure, axes = plt.subplots(count, 1, sharex=True, layout="constrained",
                                squeeze=False, figsize=(width, 0.8 + 2.4 * count))
    axes = axes[:, 0]
    last = max(course[-1][0] for course in strips.courses.values())
    for (name, course), axis in zip(strips.courses.items(), axes):
        picture = image(course)
        axis.imshow(picture, aspect="auto", interpolation="none",
                    origin="lower", extent=(course[0][0], course[-1][0], 0,
                                            len(picture)))
        marks = addresses(course[0][1])
        # Labels of small zones would lie on each other.
        marks = [m for m, after in zip(marks, marks[1:])
                 if after[0] - m[0] > len(picture) / 20] + marks[-1:]
        axis.set_yticks([at for at, _ in marks],
                        [f"{address / GIB:.2f}" for _, address in marks])
        axis.set_title(stat.NAMES.get(name, name), fontsize=10)
        axis.set_ylabel("address, GiB", fontsize=9)
        axis.set_xlim(0, last)
    axes[-1].set_xlabel(clock)
    handles = [Patch(facecolor=COLOURS[k], label=k) for k in kinds_of(strips)]
    figure.legend(handles=[*handles, Patch(facecolor="none", label="free",
                                           edgecolor="#888888")],
                  loc="lower center", ncols=4, fontsize=9, frameon=False)
    # The legend's rows take half an inch, however many panels there are.
    legend = 0.5 / figure.get_figheight()
    figure.get_layout_engine().set(rect=(0, legend, 1, 1 - legend))
    return figure
