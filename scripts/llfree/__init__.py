# SPDX-License-Identifier: GPL-2.0
"""The tools of LLFree for Linux; the programs in scripts/ are its entry points.

kernel/     the kernel source: make, change, build and post it
vm/         boot a kernel in QEMU
testing/    the steps of make test
features/   users of free pages, tested in guests
bench/      measure and compare allocators
memmap/     the map of free memory
tests/      unit tests of all of these; they need no guest

klog.py, kpageflags.py, ktap.py, memmap/ and poolformat.py run in guests, too."""
