# SPDX-License-Identifier: GPL-2.0
"""Kernels for Debian: packages, and a system that boots them"""
