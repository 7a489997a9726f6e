# SPDX-License-Identifier: GPL-2.0
"""Make SVG elements for an HTML page from matplotlib's figures.

Replaces colours by variables of the page's style sheet, so a figure follows the light
or dark scheme. Adds a prefix to ids, since a page has several figures."""

import io
import re
import xml.etree.ElementTree as ET

import matplotlib

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
# Colours of the figures, and the variables that stand for them
VARIABLES = {"#000000": "--ink", "#888888": "--soft", "#b0b0b0": "--soft",
             "#808080": "--soft", "#d95f02": "--buddy", "#1f6fb4": "--llfree",
             "#0072b2": "--line-1", "#e69f00": "--line-2", "#009e73": "--line-3",
             "#cc79a7": "--line-4", "#56b4e9": "--line-5", "#d55e00": "--line-6"}
SETTINGS = {"svg.fonttype": "none", "svg.hashsalt": "llfree",
            "legend.framealpha": 0, "axes.titlesize": 10, "axes.labelsize": 9,
            "xtick.labelsize": 9, "ytick.labelsize": 9, "legend.fontsize": 8}
COLOUR = re.compile(r"#[0-9a-f]{6}\b")
REFERENCE = re.compile(r"(url\(#|^#)")


def settings():
    """Return a context manager for drawing figures of a page."""
    return matplotlib.rc_context(SETTINGS)


def restyled(value):
    """Return the text of an attribute, with variables for colours."""
    return COLOUR.sub(
        lambda m: f"var({VARIABLES[m[0]]})" if m[0] in VARIABLES else m[0], value)


def element(figure, prefix, title, text):
    """Return a figure as the text of an <svg> element, with a title and a description."""
    out = io.BytesIO()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    ET.register_namespace("", SVG)
    ET.register_namespace("xlink", XLINK)
    root = ET.fromstring(out.getvalue())
    for node in root.iter():
        for key, value in list(node.attrib.items()):
            if key == "id":
                node.set(key, f"{prefix}-{value}")
            elif key in ("style", "fill", "stroke"):
                value = restyled(value)
            if key != "id":
                node.set(key, REFERENCE.sub(rf"\1{prefix}-", value))
        # Text without a colour is black in either scheme.
        if node.tag == f"{{{SVG}}}text":
            node.set("style", f"fill: var(--ink); {node.get('style', '')}")
    # A style element would apply to the whole page.
    for parent in list(root.iter()):
        for tag in ("metadata", "title", "style"):
            for node in parent.findall(f"{{{SVG}}}{tag}"):
                parent.remove(node)
    for position, (tag, words) in enumerate((("title", title), ("desc", text))):
        node = ET.Element(f"{{{SVG}}}{tag}", id=f"{prefix}-{tag}")
        node.text = words
        root.insert(position, node)
    root.set("role", "img")
    root.set("aria-labelledby", f"{prefix}-title {prefix}-desc")
    # The page sets the size; viewBox keeps the proportions.
    width = float(root.attrib.pop("width").removesuffix("pt"))
    root.attrib.pop("height")
    root.set("style", f"max-width: {width * 4 / 3:.0f}px")
    return ET.tostring(root, encoding="unicode")
