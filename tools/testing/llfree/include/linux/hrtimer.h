/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Timers that are signals: a timer interrupts a thread that kthread_run()
 * started, as a hard interrupt does.
 */
#ifndef _SHIM_LINUX_HRTIMER_H
#define _SHIM_LINUX_HRTIMER_H

#include <time.h>

#include <linux/time64.h>
#include <linux/types.h>

typedef s64 ktime_t;

static inline ktime_t ns_to_ktime(u64 ns)
{
	return ns;
}

enum hrtimer_mode {
	HRTIMER_MODE_REL_HARD,
};

enum hrtimer_restart {
	HRTIMER_NORESTART,
	HRTIMER_RESTART,
};

struct hrtimer {
	enum hrtimer_restart (*function)(struct hrtimer *timer);
	clockid_t clock;
	timer_t timer;
	ktime_t next;
};

void hrtimer_init(struct hrtimer *timer, clockid_t clock, enum hrtimer_mode mode);
void hrtimer_start(struct hrtimer *timer, ktime_t expires, enum hrtimer_mode mode);
/* Only for the function of the timer */
u64 hrtimer_forward_now(struct hrtimer *timer, ktime_t interval);
/*
 * Only after all threads have stopped, so that the timer's function runs no
 * more
 */
int hrtimer_cancel(struct hrtimer *timer);

#endif /* _SHIM_LINUX_HRTIMER_H */
