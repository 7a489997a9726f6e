/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _SHIM_LINUX_VMALLOC_H
#define _SHIM_LINUX_VMALLOC_H

#include <stdlib.h>

static inline void *vmalloc(unsigned long size)
{
	void *area;

	return posix_memalign(&area, 4096, size) ? NULL : area;
}

static inline void vfree(const void *area)
{
	free((void *)area);
}

#endif /* _SHIM_LINUX_VMALLOC_H */
