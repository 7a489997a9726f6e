/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _SHIM_LINUX_SMP_H
#define _SHIM_LINUX_SMP_H

#include <sched.h>

static inline unsigned int raw_smp_processor_id(void)
{
	const int cpu = sched_getcpu();

	return cpu < 0 ? 0 : cpu;
}

#endif /* _SHIM_LINUX_SMP_H */
