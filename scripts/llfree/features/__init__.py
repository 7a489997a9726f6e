# SPDX-License-Identifier: GPL-2.0
"""Test the users of free pages in guests; has the host's part of scripts/features"""
