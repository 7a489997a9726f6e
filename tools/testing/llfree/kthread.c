// SPDX-License-Identifier: GPL-2.0
/*
 * Threads, completions and timers of the kernel, for the tests that kunit.c
 * runs
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include <linux/completion.h>
#include <linux/err.h>
#include <linux/hrtimer.h>
#include <linux/kthread.h>
#include <shim/shim.h>

/* ---- Threads ---- */

struct task_struct {
	pthread_t thread;
	int (*function)(void *data);
	void *data;
	int ret;
	bool should_stop;
};

static __thread struct task_struct *current;

static void mask_timers(int how)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	pthread_sigmask(how, &set, NULL);
}

static void *thread_start(void *arg)
{
	current = arg;
	mask_timers(SIG_UNBLOCK);
	current->ret = current->function(current->data);
	mask_timers(SIG_BLOCK);
	if (shim_preempt_count)
		shim_warn(__FILE__, __LINE__, "preemption is off");
	return NULL;
}

struct task_struct *kthread_run(int (*function)(void *data), void *data,
				const char *name, ...)
{
	struct task_struct *task = calloc(1, sizeof(*task));
	int err;

	if (!task)
		return ERR_PTR(-ENOMEM);
	task->function = function;
	task->data = data;
	/* Timers interrupt only the new threads: they inherit the mask, then clear it. */
	mask_timers(SIG_BLOCK);
	err = pthread_create(&task->thread, NULL, thread_start, task);
	if (err) {
		free(task);
		return ERR_PTR(-err);
	}
	return task;
}

bool kthread_should_stop(void)
{
	return __atomic_load_n(&current->should_stop, __ATOMIC_RELAXED);
}

int kthread_stop_put(struct task_struct *task)
{
	int ret;

	__atomic_store_n(&task->should_stop, true, __ATOMIC_RELAXED);
	pthread_join(task->thread, NULL);
	ret = task->ret;
	free(task);
	return ret;
}

/* ---- Completions ---- */

void init_completion(struct completion *x)
{
	pthread_mutex_init(&x->lock, NULL);
	pthread_cond_init(&x->wait, NULL);
	x->done = 0;
}

static void completion_set(struct completion *x, unsigned int done)
{
	pthread_mutex_lock(&x->lock);
	x->done = done == UINT_MAX ? done : x->done + done;
	pthread_cond_broadcast(&x->wait);
	pthread_mutex_unlock(&x->lock);
}

void complete(struct completion *x)
{
	completion_set(x, 1);
}

void complete_all(struct completion *x)
{
	completion_set(x, UINT_MAX);
}

static bool completion_wait(struct completion *x, const struct timespec *end)
{
	bool done;
	int err = 0;

	pthread_mutex_lock(&x->lock);
	while (!x->done && !err)
		err = end ? pthread_cond_timedwait(&x->wait, &x->lock, end) :
			    pthread_cond_wait(&x->wait, &x->lock);
	done = x->done;
	if (done && x->done != UINT_MAX)
		x->done--;
	pthread_mutex_unlock(&x->lock);
	return done;
}

void wait_for_completion(struct completion *x)
{
	completion_wait(x, NULL);
}

unsigned long wait_for_completion_timeout(struct completion *x,
					  unsigned long jiffies)
{
	struct timespec end;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += jiffies / HZ;
	return completion_wait(x, &end);
}

/* ---- Timers ---- */

static void timer_arm(struct hrtimer *timer, ktime_t expires)
{
	const struct itimerspec spec = {
		.it_value.tv_sec = expires / NSEC_PER_SEC,
		.it_value.tv_nsec = expires % NSEC_PER_SEC,
	};

	timer_settime(timer->timer, 0, &spec, NULL);
}

static void timer_expired(int sig, siginfo_t *info, void *context)
{
	struct hrtimer *timer = info->si_value.sival_ptr;
	int saved = errno;

	shim_hardirq = true;
	if (timer->function(timer) == HRTIMER_RESTART)
		timer_arm(timer, timer->next);
	shim_hardirq = false;
	errno = saved;
}

void hrtimer_init(struct hrtimer *timer, clockid_t clock, enum hrtimer_mode mode)
{
	timer->clock = clock;
}

void hrtimer_start(struct hrtimer *timer, ktime_t expires, enum hrtimer_mode mode)
{
	const struct sigaction action = {
		.sa_sigaction = timer_expired,
		.sa_flags = SA_SIGINFO | SA_RESTART,
	};
	struct sigevent event = {
		.sigev_notify = SIGEV_SIGNAL,
		.sigev_signo = SIGALRM,
		.sigev_value.sival_ptr = timer,
	};

	sigaction(SIGALRM, &action, NULL);
	/* If this fails, the test fails, since the function never runs. */
	if (!timer_create(timer->clock, &event, &timer->timer))
		timer_arm(timer, expires);
}

u64 hrtimer_forward_now(struct hrtimer *timer, ktime_t interval)
{
	timer->next = interval;
	return 1;
}

int hrtimer_cancel(struct hrtimer *timer)
{
	const struct timespec now = { };
	siginfo_t info;
	sigset_t set;

	timer_delete(timer->timer);
	/*
	 * Take a signal that may be pending, since its timer is about to be
	 * deleted.
	 */
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	while (sigtimedwait(&set, &info, &now) == SIGALRM)
		;
	return 0;
}
