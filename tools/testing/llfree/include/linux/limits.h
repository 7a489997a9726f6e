/* SPDX-License-Identifier: GPL-2.0 */
/* The C library's limits.h includes the host's linux/limits.h. */
#include_next <linux/limits.h>

#ifndef _SHIM_LINUX_LIMITS_H
#define _SHIM_LINUX_LIMITS_H

#include <limits.h>

#define U8_MAX	((unsigned char)~0U)
#define U32_MAX	((unsigned int)~0U)

#endif
