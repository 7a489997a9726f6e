# SPDX-License-Identifier: GPL-2.0
"""Maps of memory by pageblocks: taken, stored, and shown in a terminal"""
