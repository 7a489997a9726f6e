# SPDX-License-Identifier: GPL-2.0
"""Make the kernel source build/linux from the patches, save, build and post it"""
