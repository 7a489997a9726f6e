# SPDX-License-Identifier: GPL-2.0
"""Test the figures and the page of results.

The tests need Debian's python3 with matplotlib and jinja2; test_browser also needs
chromium: scripts/deps browser. Steps figures and browser run the tests. To run a file
alone, in scripts/: /usr/bin/python3 -B -m unittest llfree.tests.figures.test_page"""
