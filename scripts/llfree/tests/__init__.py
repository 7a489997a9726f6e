# SPDX-License-Identifier: GPL-2.0
"""Unit tests of the scripts and of small programs. No guest boots. Step scripts runs all;
one alone, in scripts/: python3 -B -m unittest llfree.tests.test_vm"""
