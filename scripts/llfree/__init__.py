# SPDX-License-Identifier: GPL-2.0
"""The tools of LLFree for Linux; the programs in scripts/ are the entry points.

kernel/     make, change, build and post the kernel source
vm/         boot a kernel in QEMU
testing/    the steps of make test
features/   users of free pages, tested in guests
bench/      measure and compare allocators
memmap/     the map of free memory
tests/      unit tests of all packages; no test needs a guest

klog.py, kpageflags.py, ktap.py, memmap/ and poolformat.py run in guests, too."""
