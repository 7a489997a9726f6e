/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _SHIM_LINUX_SMP_H
#define _SHIM_LINUX_SMP_H

#ifdef SHIM_MODEL
#include <shim/model.h>
#else
#include <sched.h>
#endif

static inline unsigned int raw_smp_processor_id(void)
{
#ifdef SHIM_MODEL
	return model_cpu();
#else
	const int cpu = sched_getcpu();

	return cpu < 0 ? 0 : cpu;
#endif
}

#endif /* _SHIM_LINUX_SMP_H */
