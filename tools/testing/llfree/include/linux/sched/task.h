/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _SHIM_LINUX_SCHED_TASK_H
#define _SHIM_LINUX_SCHED_TASK_H

struct task_struct;

/* A task exists until kthread_stop_put(). */
static inline struct task_struct *get_task_struct(struct task_struct *task)
{
	return task;
}

#endif /* _SHIM_LINUX_SCHED_TASK_H */
