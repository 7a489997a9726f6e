# SPDX-License-Identifier: GPL-2.0
"""Make the page of results: index.html, which needs no network and no other file"""
