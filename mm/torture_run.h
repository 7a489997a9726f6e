/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A test that runs for a time: its file "run" in debugfs.
 *
 * A write starts the test for so many seconds, or stops it if the number is 0. A
 * read returns how many seconds are left.
 */
#ifndef _MM_TORTURE_RUN_H
#define _MM_TORTURE_RUN_H

#include <linux/debugfs.h>
#include <linux/jiffies.h>
#include <linux/mutex.h>
#include <linux/seq_file.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>

/**
 * struct torture_run - state of a test
 * @start: starts it; returns 0 or a negative errno
 * @stop: stops it
 * @lock: protects the members below
 * @running: whether it runs
 * @until: when it ends, in jiffies
 * @end: calls @stop then
 */
struct torture_run {
	int (*start)(void);
	void (*stop)(void);
	struct mutex lock;	/* held while the test starts and stops */
	bool running;
	unsigned long until;
	struct delayed_work end;
};

/* The caller holds @lock. */
static void torture_run_stop(struct torture_run *run)
{
	lockdep_assert_held(&run->lock);
	if (run->running)
		run->stop();
	run->running = false;
}

static void torture_run_end(struct work_struct *work)
{
	struct torture_run *run = container_of(to_delayed_work(work),
					       struct torture_run, end);

	mutex_lock(&run->lock);
	/* A new run may have begun since the work was queued. */
	if (time_after_eq(jiffies, run->until))
		torture_run_stop(run);
	mutex_unlock(&run->lock);
}

static int torture_run_start(struct torture_run *run, unsigned int seconds)
{
	int ret;

	if (run->running)
		return -EBUSY;
	ret = run->start();
	if (ret)
		return ret;
	run->running = true;
	run->until = jiffies + seconds * HZ;
	mod_delayed_work(system_long_wq, &run->end, seconds * HZ);
	return 0;
}

static int torture_run_show(struct seq_file *m, void *unused)
{
	struct torture_run *run = m->private;
	long left = 0;

	mutex_lock(&run->lock);
	if (run->running)
		left = max((long)(run->until - jiffies) / HZ, 0L) + 1;
	mutex_unlock(&run->lock);
	seq_printf(m, "%ld\n", left);
	return 0;
}

static ssize_t torture_run_write(struct file *file, const char __user *buf,
				 size_t size, loff_t *pos)
{
	struct torture_run *run = ((struct seq_file *)file->private_data)->private;
	unsigned int seconds;
	int ret;

	ret = kstrtouint_from_user(buf, size, 0, &seconds);
	if (ret)
		return ret;
	if (seconds > INT_MAX / HZ)
		return -EINVAL;
	ret = mutex_lock_interruptible(&run->lock);
	if (ret)
		return ret;
	if (seconds)
		ret = torture_run_start(run, seconds);
	else
		torture_run_stop(run);
	mutex_unlock(&run->lock);
	return ret ?: size;
}
DEFINE_SHOW_STORE_ATTRIBUTE(torture_run);

static void torture_run_create(struct torture_run *run, struct dentry *dir)
{
	mutex_init(&run->lock);
	INIT_DELAYED_WORK(&run->end, torture_run_end);
	debugfs_create_file("run", 0600, dir, run, &torture_run_fops);
}

#endif /* _MM_TORTURE_RUN_H */
