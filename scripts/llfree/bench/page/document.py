# SPDX-License-Identifier: GPL-2.0
"""Write index.html, a page with all results of scripts/bench.

The page includes figures, style and script, so it needs no network and no other file.
The template is page.html.j2."""

import collections
import os

import jinja2

from llfree.bench import plot, strip
from llfree.bench import stats as stat
from llfree.bench.data import LEVELS, UNKNOWN, level_of, unit_name
from llfree.bench.page import cells, inlinesvg
from llfree.memmap.maps import BLOCK, KINDS

HERE = os.path.dirname(os.path.abspath(__file__))
NAME = "index.html"
WIDTH = 5.4                     # inches; wider figures are unreadable on a phone
PANELS = 2
# Most maps of an animation, and steps of a block's share in use
FRAMES = 64
FILLS = 8
FIRST_LETTER = 48

Shown = collections.namedtuple("Shown", "name svg caption")


class PagePlotter(plot.Plotter):
    """A plotter of narrower figures, kept as SVG elements"""

    def __init__(self, data):
        super().__init__(data, None)
        self.shown = []

    def grid(self, count, *_):
        return super().grid(count, WIDTH / PANELS, 2.4, PANELS)

    def save(self, figure, name, title):
        width, height = figure.get_size_inches()
        if width > WIDTH:
            figure.set_size_inches(WIDTH, height)
        self.shown.append(Shown(name, inlinesvg.element(
            figure, name, title, f"{title}. The numbers are in the tables of this "
            "page."), title))
        plot.plt.close(figure)

    def take(self, method):
        """Call a method and return the figures that it has drawn."""
        self.shown = []
        with inlinesvg.settings():
            method()
        return self.shown


def packed(zones):
    """Return a string with a letter for each block, which encodes kind and share in use."""
    letters = []
    for zone in zones:
        for free, kind in zone.blocks:
            full = round((FILLS - 1) * (1 - free / BLOCK))
            letters.append(chr(FIRST_LETTER + full +
                               FILLS * KINDS.index(kind)))
    return "".join(letters)


def thinned(course):
    stride = -(-len(course) // FRAMES)
    return course[::-1][::stride][::-1]


def animation(strips):
    """Return the input of page.js."""
    return {"bench": strips.bench, "courses": [
        {"name": stat.NAMES[alloc],
         "times": [seconds for seconds, _ in thinned(course)],
         "maps": [packed(zones) for _, zones in thinned(course)]}
        for alloc, course in strips.courses.items()]}


def machine_rows(meta):
    rows = [("Measured", meta["date"]), ("Level", level_of(meta).name),
            ("Kernel", meta.get("kernel", UNKNOWN)),
            ("Host", f"{meta['host']}, {meta['host_cpus']} CPUs"),
            ("Guest", f"{stat.cpus_text(meta['smp'])}, {meta['mem']} MiB"),
            ("Run", "quick" if meta["quick"] else "full")]
    if meta["smp"] > meta["host_cpus"]:
        rows.append(("Note", f"The {meta['smp']} CPUs of the guest share "
                     f"{meta['host_cpus']} of the host."))
    return rows


def context(data):
    """Return all values that the template shows."""
    meta = data["meta"]
    found = stat.compare(data["values"])
    tables = cells.details(found)
    plotter = PagePlotter(data)
    strips = strip.choose(data["samples"])
    level = level_of(meta)
    with open(f"{HERE}/page.css", encoding="utf-8") as f:
        css = f.read()
    with open(f"{HERE}/page.js", encoding="utf-8") as f:
        script = f.read()
    return {
        "css": css, "script": script, "level": level,
        "levels": LEVELS, "unit": unit_name(meta),
        "verdict": cells.verdict(found, meta),
        "stopped": meta.get("stopped", ""),
        "heat_maps": cells.heat_maps(found),
        "details": {b: t for b, t in tables.items() if b in stat.BENCHES},
        "real": [row for b, t in tables.items() if b not in stat.BENCHES
                 for row in t],
        "courses": cells.course_rows(data["values"]),
        "strips": list(zip(strips, plotter.take(plotter.strips),
                           map(cells.sample_rows, strips))),
        "animation": {"kinds": KINDS, "fills": FILLS,
                      "first": FIRST_LETTER,
                      "colours": strip.COLOURS,
                      "runs": list(map(animation, strips))},
        "figures": {name: plotter.take(method) for name, method in (
            ("courses", plotter.courses), ("scaling", plotter.scaling),
            ("fill", plotter.fill), ("latency", plotter.latency),
            ("real", plotter.real))},
        "machine": machine_rows(meta),
        "failed": data["failed"],
    }


def page(data):
    """Return the HTML text."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("page.html.j2").render(context(data))


def write(data, out):
    """Write the page and return the name of its file."""
    text = page(data)
    with open(f"{out}/{NAME}", "w", encoding="utf-8") as f:
        f.write(text)
    return NAME
