# SPDX-License-Identifier: GPL-2.0
"""Tests of the figures and of the page of results. They need Debian's python3 with
matplotlib and jinja2, and test_browser needs chromium: scripts/deps browser. Steps
figures and browser run them; alone, in scripts/:
/usr/bin/python3 -B -m unittest llfree.tests.figures.test_page"""
