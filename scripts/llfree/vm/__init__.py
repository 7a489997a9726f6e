# SPDX-License-Identifier: GPL-2.0
"""Boot kernels in QEMU: scripts/vm"""
