# SPDX-License-Identifier: GPL-2.0
"""Load the small stored result that tests draw, and parse its page."""

import html.parser
import os

from llfree.bench.data import COUNTED, load
from llfree.bench.page import document

HERE = os.path.dirname(os.path.abspath(__file__))
RESULTS = f"{HERE}/example/results.csv"


def data(counted=False):
    """Return the content of results.json; with counted, the numbers are instructions."""
    found = load(RESULTS)
    if counted:
        found["meta"]["machine"] = COUNTED
        found["values"] = [v for v in found["values"] if v["cpus"] == 1]
    return found


class Page(html.parser.HTMLParser):
    """The ids, links, table cells and texts of a page"""

    def __init__(self, text):
        super().__init__()
        self.ids = []
        self.links = []         # (target, aria-label, text)
        self.attributes = []    # (tag, {name: value})
        self.texts = {}         # id of the innermost element with an id: text
        self.open = []          # (tag, id)
        self.feed(text)

    VOID = ("meta", "link", "input", "br")

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.attributes.append((tag, attrs))
        if "id" in attrs:
            self.ids.append(attrs["id"])
        if tag == "a":
            self.links.append([attrs["href"], attrs.get("aria-label"), ""])
        if tag not in self.VOID:
            self.open.append((tag, attrs.get("id")))

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open[-1][0] == tag, f"</{tag}> closes {self.open[-1]}"
        self.open.pop()

    def handle_data(self, data):    # pylint: disable=redefined-outer-name
        if any(tag == "a" for tag, _ in self.open):
            self.links[-1][2] += data
        for _, name in reversed(self.open):
            if name:
                self.texts[name] = f"{self.texts.get(name, '')} {data}".strip()
                break

    def cells(self):
        """Return {id of the row of details: (name, ratio)} of the heat map."""
        return {target[1:]: (label, text.strip())
                for target, label, text in self.links
                if target.startswith("#cell-")}


def page(**kind):
    return document.page(data(**kind))
