/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _SHIM_LINUX_KTHREAD_H
#define _SHIM_LINUX_KTHREAD_H

#include <stdbool.h>

#include <linux/err.h>

struct task_struct;

struct task_struct *kthread_run(int (*function)(void *data), void *data,
				const char *name, ...);
bool kthread_should_stop(void);
/* The caller has to be the only one, and have a reference. */
int kthread_stop_put(struct task_struct *task);

#endif /* _SHIM_LINUX_KTHREAD_H */
