/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Unlike the macros in tools/include, these accept operands of different types,
 * as the kernel's do where the signs allow it.
 */
#ifndef _SHIM_LINUX_MINMAX_H
#define _SHIM_LINUX_MINMAX_H

/* This header defines the macros that this file replaces. */
#include <linux/kernel.h>

#undef min
#undef max
#undef min_t
#undef max_t
#undef clamp

#define shim_minmax(x, y, op)						\
({									\
	__auto_type __shim_x = (x);					\
	__auto_type __shim_y = (y);					\
									\
	__shim_x op __shim_y ? __shim_x : __shim_y;			\
})
#define min(x, y)		shim_minmax(x, y, <)
#define max(x, y)		shim_minmax(x, y, >)
#define min_t(type, x, y)	shim_minmax((type)(x), (type)(y), <)
#define max_t(type, x, y)	shim_minmax((type)(x), (type)(y), >)
#define clamp(val, lo, hi)						\
({									\
	__auto_type __shim_val = (val);					\
	__auto_type __shim_lo = (lo);					\
	__auto_type __shim_hi = (hi);					\
									\
	__shim_val < __shim_lo ? __shim_lo :				\
		__shim_val > __shim_hi ? __shim_hi : __shim_val;	\
})

#endif
