/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _SHIM_LINUX_SCHED_H
#define _SHIM_LINUX_SCHED_H

#include <sched.h>

#define cond_resched()	((void)sched_yield())

#endif /* _SHIM_LINUX_SCHED_H */
