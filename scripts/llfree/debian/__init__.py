# SPDX-License-Identifier: GPL-2.0
"""Build Debian packages of the kernel, and boot a Debian system with these packages"""
