# SPDX-License-Identifier: GPL-2.0
"""The kernel source, build/linux: make it from the patches and back, build it, post it"""
