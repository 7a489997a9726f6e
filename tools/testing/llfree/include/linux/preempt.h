/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _SHIM_LINUX_PREEMPT_H
#define _SHIM_LINUX_PREEMPT_H

#include <linux/compiler.h>
#include <shim/shim.h>

#define preempt_disable()			\
do {						\
	shim_preempt_count++;			\
	barrier();				\
} while (0)

#define preempt_enable()			\
do {						\
	barrier();				\
	shim_preempt_count--;			\
} while (0)

#define in_hardirq()	shim_hardirq

#endif
