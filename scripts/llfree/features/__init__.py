# SPDX-License-Identifier: GPL-2.0
"""Test the users of free pages in guests: the host's part, for scripts/features"""
