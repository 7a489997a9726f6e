// SPDX-License-Identifier: GPL-2.0
#include <stdio.h>

#include <shim/shim.h>

unsigned int shim_warnings;
__thread int shim_preempt_count;
__thread bool shim_hardirq;
#ifdef __SANITIZE_THREAD__
int shim_fence;
#endif

int shim_warn(const char *file, int line, const char *what)
{
	if (!__atomic_fetch_add(&shim_warnings, 1, __ATOMIC_RELAXED))
		fprintf(stderr, "# WARN at %s:%d: %s\n", file, line, what);
	return 1;
}
