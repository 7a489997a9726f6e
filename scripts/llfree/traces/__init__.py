# SPDX-License-Identifier: GPL-2.0
"""Traces of what the page allocator does under real loads"""
