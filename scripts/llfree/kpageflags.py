# SPDX-License-Identifier: GPL-2.0
"""Bits of /proc/kpageflags; see Documentation/admin-guide/mm/pagemap.rst."""

FLAGS = "/proc/kpageflags"
ENTRY = 8                       # bytes per frame

KPF_LRU = 5
KPF_BUDDY = 10
KPF_ANON = 12
KPF_COMPOUND_HEAD = 15
KPF_COMPOUND_TAIL = 16
KPF_HUGE = 17
KPF_HWPOISON = 19
KPF_NOPAGE = 20
KPF_THP = 22
KPF_OFFLINE = 23
KPF_RESERVED = 32
