# SPDX-License-Identifier: GPL-2.0
"""The page of results: index.html, one file that needs no network and no other file"""
