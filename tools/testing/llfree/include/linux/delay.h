/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _SHIM_LINUX_DELAY_H
#define _SHIM_LINUX_DELAY_H

#include <unistd.h>

static inline void msleep(unsigned int msecs)
{
	usleep(1000 * msecs);
}

static inline void usleep_range(unsigned long min, unsigned long max)
{
	usleep(min);
}

#endif /* _SHIM_LINUX_DELAY_H */
