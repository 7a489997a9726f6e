# SPDX-License-Identifier: GPL-2.0
"""Take, store and show maps of memory by pageblocks"""
