# SPDX-License-Identifier: GPL-2.0
"""Test the page of results in headless Chromium.

The page has no errors, working links, nothing wider than a phone, a light and a dark
scheme, and an animation that stops if the reader's browser requests reduced motion."""

import re
import subprocess
import tempfile
import unittest

from llfree.tests.figures import example

PHONE, DESKTOP = 400, 1400      # pixels
CELL = "cell-bulk-9-0-alloc-ns-single-1"
# Chromium copies the console of the page, with errors, to lines like this.
CONSOLE = re.compile(r"^.*CONSOLE.*$", re.M)
# The script stores its findings as attributes, which --dump-dom shows.
PROBE = """<script>
addEventListener("load", () => {
	const root = document.documentElement;
	const target = document.querySelector(":target");

	root.dataset.background = getComputedStyle(document.body).backgroundColor;
	root.dataset.target = target ? target.getClientRects().length : "none";
	root.dataset.painted = [...document.querySelectorAll("canvas")].map(c =>
		c.getContext("2d").getImageData(0, 0, c.width, c.height).data
		.some(x => x)).join();
});
</script></body>"""
# A window has a least width, a frame has none.
FRAME = """<!DOCTYPE html><iframe width="{width}" height="900" style="border: 0"
src="page.html" onload="const inner = this.contentDocument.documentElement;
document.documentElement.dataset.widths =
`${{inner.clientWidth}} ${{inner.scrollWidth}}`"></iframe>"""


class Browser(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.text = example.page()
        # pylint: disable=consider-using-with
        cls.tmp = cls.enterClassContext(tempfile.TemporaryDirectory())

    def open(self, text, *options, fragment="", name="page.html"):
        """Open a page. Return (the document after its scripts ran, lines of the console)."""
        path = f"{self.tmp}/{name}"
        with open(path, "w", encoding="utf-8") as f:
            f.write(text.replace("</body>", PROBE))
        proc = subprocess.run(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu",
             f"--user-data-dir={self.tmp}/profile", "--enable-logging=stderr",
             "--window-size=1500,900", "--virtual-time-budget=2000",
             "--dump-dom", *options, f"file://{path}{fragment}"],
            capture_output=True, text=True, check=True, timeout=120)
        return proc.stdout, CONSOLE.findall(proc.stderr)

    def probe(self, dom, name):
        m = re.search(rf'<html[^>]* data-{name}="(.*?)"', dom)
        return m and m[1]

    def test_no_errors(self):
        dom, console = self.open(self.text)
        self.assertEqual(console, [])
        self.assertEqual(self.probe(dom, "painted"), "true,true")

    def test_errors_are_noticed(self):
        _, console = self.open(self.text.replace(
            '"use strict";', '"use strict"; missing();'))
        self.assertRegex("\n".join(console), "missing is not defined")

    def test_cell_leads_to_its_details(self):
        for label, dom in ((CELL, self.open(self.text, fragment=f"#{CELL}")[0]),
                           ("none", self.open(self.text)[0])):
            opened = re.findall(r'<details id="(.*?)" open=""', dom)
            self.assertEqual(opened, ["details-bulk"] if label == CELL else [])
            self.assertEqual(self.probe(dom, "target"),
                             "1" if label == CELL else "none")

    def test_click(self):
        """A click on a cell opens the same row."""
        click = f"document.querySelector('a[href=\"#{CELL}\"]').click();"
        dom, console = self.open(self.text.replace(
            "document.querySelectorAll(\".player\")",
            f"{click}\ndocument.querySelectorAll(\".player\")"))
        self.assertEqual(console, [])
        self.assertIn('<details id="details-bulk" open=""', dom)

    def widths(self, width):
        """Return the widths of the page in a frame of a width, and of the page's content."""
        dom, _ = self.open(FRAME.format(width=width), "--hide-scrollbars",
                           "--allow-file-access-from-files", name="frame.html")
        return self.probe(dom, "widths")

    def test_width(self):
        self.open(self.text)
        for width in PHONE, DESKTOP:
            self.assertEqual(self.widths(width), f"{width} {width}")

    def test_too_wide_is_noticed(self):
        self.open(self.text.replace("<main>", "<main><pre>" + "wide " * 200))
        self.assertNotEqual(self.widths(PHONE), f"{PHONE} {PHONE}")

    def test_schemes(self):
        found = [self.probe(self.open(
            self.text, f"--blink-settings=preferredColorScheme={scheme}")[0],
            "background") for scheme in (0, 1)]
        self.assertEqual(found, ["rgb(21, 24, 27)", "rgb(252, 252, 250)"])

    def test_motion(self):
        for options, label in ((("--force-prefers-reduced-motion",), "Play"),
                               ((), "Pause")):
            dom, _ = self.open(self.text, *options)
            self.assertEqual(re.findall(r'<button type="button">(.*?)<', dom),
                             [label])
