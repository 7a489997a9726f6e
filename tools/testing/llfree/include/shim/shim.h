/* SPDX-License-Identifier: GPL-2.0 */
/* What a program can ask about the kernel environment that the shims fake. */
#ifndef _SHIM_SHIM_H
#define _SHIM_SHIM_H

#include <stdbool.h>

/* Warnings that the core gave: WARN_ON() and friends, each time. */
extern unsigned int shim_warnings;
int shim_warn(const char *file, int line, const char *what);

/* preempt_disable() minus preempt_enable() of this thread */
extern __thread int shim_preempt_count;

/* This thread runs the function of a timer. */
extern __thread bool shim_hardirq;

#endif /* _SHIM_SHIM_H */
