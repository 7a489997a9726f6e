# SPDX-License-Identifier: GPL-2.0
"""Draw maps of pageblocks as text, in colours if the terminal has colours.

A character stands for one block or for several neighbouring blocks. The colour shows the
kind of most of these blocks, the shade shows the share in use. Without colours, a letter
shows the kind; a capital shows that more than half is in use."""

import collections

from llfree.memmap import maps
from llfree.memmap.maps import BLOCK, PAGE, PAGES_PER_MIB

# Numbers in the palette of 256 colours; the colours differ in lightness, too
COLOURS = {"free": 250, "movable": 33, "unmovable": 208, "reclaimable": 36,
           "huge": 141, "highatomic": 226, "cma": 51, "isolate": 244,
           "absent": 238}
SHADES = "░▒▓█"
FREE, ABSENT = "·", " "
MIB_PER_BLOCK = BLOCK // PAGES_PER_MIB


def cells(blocks, size):
    """Return [(share in use, kind)] of groups of size neighbouring blocks."""
    found = []
    for at in range(0, len(blocks), size):
        part = [b for b in blocks[at:at + size] if b[1] != "absent"]
        if not part:
            found.append((0, "absent"))
            continue
        used = sum(BLOCK - free for free, _ in part) / (len(part) * BLOCK)
        kinds = collections.Counter(kind for _, kind in part if kind != "free")
        found.append((used, kinds.most_common(1)[0][0] if kinds else "free"))
    return found


def character(used, kind, colour):
    if kind == "absent":
        return ABSENT
    if kind == "free":
        return FREE
    if not colour:
        letter = maps.LETTER_OF[kind]
        return letter.upper() if used > 0.5 else letter
    shade = SHADES[min(int(used * len(SHADES)), len(SHADES) - 1)]
    return f"\033[38;5;{COLOURS[kind]}m{shade}\033[0m"


def size_of_cell(zones, columns, lines):
    """Return blocks per character: the least power of two with which the map fits."""
    size = 1
    while sum(-(-len(z.blocks) // (size * columns)) + 1
              for z in zones) > lines and size < 1 << 20:
        size *= 2
    return size


def mib(pages):
    return f"{pages / PAGES_PER_MIB:.0f} MiB"


def totals_text(zones):
    t = maps.totals(zones)
    share = 100 * t.free_in_blocks / t.free if t.free else 0
    return (f"free {mib(t.free)} of {mib(t.pages)}, {mib(t.free_in_blocks)} "
            f"({share:.0f} %) of it in free 2 MiB blocks; unmovable: "
            f"{t.unmovable} of {t.blocks} blocks")


def legend(zones, colour):
    """Return a legend of the kinds in the map."""
    present = {kind for z in zones for _, kind in z.blocks}
    parts = []
    for kind in maps.KINDS:
        if kind not in present or kind == "absent":
            continue
        sign = character(1, kind, colour)
        if not colour and kind != "free":
            sign += sign.lower()
        parts.append(f"{sign} {kind}")
    return "  ".join(parts)


def frame(title, zones, columns, lines, colour):
    """Return the lines of one picture."""
    # The title, the totals, two lines for the legend, one for the cursor
    size = size_of_cell(zones, columns, lines - 5)
    out = [title[:columns], totals_text(zones)]
    for zone in zones:
        out.append(f"zone {zone.name} from {zone.start * PAGE:#x}")
        line = [character(used, kind, colour)
                for used, kind in cells(zone.blocks, size)]
        out += ["".join(line[i:i + columns])
                for i in range(0, len(line), columns)]
    out.append(legend(zones, colour))
    shades = f"{SHADES} denser: more in use" if colour else \
        "a capital: more than half in use"
    out.append(f"a character: {MIB_PER_BLOCK * size} MiB; {shades}")
    return out
