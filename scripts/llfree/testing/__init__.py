# SPDX-License-Identifier: GPL-2.0
"""The steps of make test, for scripts/test"""
