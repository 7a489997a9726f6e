# SPDX-License-Identifier: GPL-2.0
"""Measure page allocators and compare them"""
