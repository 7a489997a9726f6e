/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _SHIM_LINUX_SLAB_H
#define _SHIM_LINUX_SLAB_H

#include <stdlib.h>

#include <linux/types.h>

#define GFP_KERNEL	((gfp_t)0)

static inline void *kvcalloc(size_t n, size_t size, gfp_t flags)
{
	return calloc(n, size);
}

static inline void kvfree(const void *area)
{
	free((void *)area);
}

#endif /* _SHIM_LINUX_SLAB_H */
