/* SPDX-License-Identifier: GPL-2.0 */
/* The C library's limits.h includes the host's linux/limits.h. */
#include_next <linux/limits.h>

#ifndef _SHIM_LINUX_LIMITS_H
#define _SHIM_LINUX_LIMITS_H

#include <limits.h>

#endif
