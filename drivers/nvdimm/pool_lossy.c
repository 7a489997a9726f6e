// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pools of page frames in persistent memory: a medium that loses what it may lose.
 *
 * For tests, with nd_pool.lossy=1. QEMU keeps each store of a guest that it kills, so a
 * write-back that is missing would not be noticed. Here the allocator works on a copy of
 * the metadata in volatile memory. A write-back notes lines as they are then; a fence
 * writes what its task has noted to the namespace, and some recent lines of others as they
 * are now, as caches do. The rest is lost in a crash.
 *
 * A line that is noted is never written over a later state of the line. Words stay whole.
 * Lines belong to tasks: the lock and the functions here are for tasks only, as the driver
 * is. That a fence is on the CPU of the write-back is not tested.
 *
 * Data of programs is not copied: what they store is in the namespace.
 */
#include <linux/cache.h>
#include <linux/libnvdimm.h>
#include <linux/prandom.h>
#include <linux/random.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/vmalloc.h>

#include "pool.h"

#define LINE		64UL
#define LINE_WORDS	(LINE / sizeof(u64))
/* Lines that are noted at once; when there are more, the medium gets all of them. */
#define MAX_NOTED	512U
/* Places whose lines caches may write out, and how many a fence has of them */
#define MAX_RECENT	64U
#define EVICTIONS	2U

/* A line, and which state of it that is */
struct lossy_line {
	const struct task_struct *task;
	unsigned long offset;
	u64 state;
	u64 words[LINE_WORDS];
};

/**
 * struct nd_pool_lossy - the copy of the metadata of a pool
 * @lock: protects all that follows, and the metadata in the namespace
 * @rnd: for what caches do
 * @durable: the metadata in the namespace
 * @copy: what the allocator uses
 * @last: number of the last state that was read
 * @states: for each line, which state the namespace has
 * @noted: lines that were noted, in the order of their states
 * @nr_noted: number of them
 * @recent: where lines were noted
 * @nr_recent: how many ever were
 */
struct nd_pool_lossy {
	spinlock_t lock; /* see above */
	struct rnd_state rnd;
	void *durable;
	void *copy;
	u64 last;
	u64 *states;
	struct lossy_line noted[MAX_NOTED];
	unsigned int nr_noted;
	unsigned long recent[MAX_RECENT];
	unsigned long nr_recent;
};

static struct nd_pool_lossy *medium_lossy(const struct llfree_pool_medium *m)
{
	return container_of(m, struct nd_pool, medium)->lossy;
}

static void line_read(struct nd_pool_lossy *lossy, struct lossy_line *line,
		      unsigned long offset)
{
	const u64 *from = lossy->copy + offset;
	unsigned int i;

	line->task = current;
	line->offset = offset;
	line->state = ++lossy->last;
	for (i = 0; i < LINE_WORDS; i++)
		line->words[i] = READ_ONCE(from[i]);
}

static void line_write(struct nd_pool_lossy *lossy, const struct lossy_line *line)
{
	u64 *to = lossy->durable + line->offset;
	unsigned int i;

	if (lossy->states[line->offset / LINE] > line->state)
		return;
	lossy->states[line->offset / LINE] = line->state;
	for (i = 0; i < LINE_WORDS; i++)
		WRITE_ONCE(to[i], line->words[i]);
	arch_wb_cache_pmem(to, LINE);
}

static void line_note(struct nd_pool_lossy *lossy, unsigned long offset)
{
	unsigned int i;

	if (lossy->nr_noted == MAX_NOTED) {
		for (i = 0; i < MAX_NOTED; i++)
			line_write(lossy, &lossy->noted[i]);
		lossy->nr_noted = 0;
	}
	line_read(lossy, &lossy->noted[lossy->nr_noted++], offset);
	lossy->recent[lossy->nr_recent++ % MAX_RECENT] = offset;
}

static void lossy_write_back(const struct llfree_pool_medium *m, const void *start,
			     size_t size)
{
	struct nd_pool_lossy *lossy = medium_lossy(m);
	const unsigned long first = start - lossy->copy, end = first + size;
	unsigned long at;

	for (at = ALIGN_DOWN(first, LINE); at < end; at += LINE) {
		spin_lock(&lossy->lock);
		line_note(lossy, at);
		spin_unlock(&lossy->lock);
	}
}

/* Caches write out some lines without being asked. */
static void evict(struct nd_pool_lossy *lossy)
{
	struct lossy_line line;
	unsigned int i;

	for (i = 0; i < EVICTIONS; i++) {
		line_read(lossy, &line,
			  lossy->recent[prandom_u32_state(&lossy->rnd) % MAX_RECENT]);
		line_write(lossy, &line);
	}
}

static void lossy_fence(const struct llfree_pool_medium *m)
{
	struct nd_pool_lossy *lossy = medium_lossy(m);
	unsigned int i, nr = 0;

	spin_lock(&lossy->lock);
	for (i = 0; i < lossy->nr_noted; i++) {
		if (lossy->noted[i].task == current)
			line_write(lossy, &lossy->noted[i]);
		else if (nr++ != i)
			lossy->noted[nr - 1] = lossy->noted[i];
	}
	lossy->nr_noted = nr;
	evict(lossy);
	pmem_wmb();
	spin_unlock(&lossy->lock);
}

/**
 * nd_pool_lossy_start() - have the allocator work on a copy of the metadata
 * @np: the pool, mapped; its medium is changed
 * @size: bytes of metadata, a multiple of the size of a frame
 *
 * Poison is not copied: metadata that cannot be read is an error here.
 *
 * Context: task; may sleep.
 *
 * Return: 0; -EIO; -ENOMEM
 */
int nd_pool_lossy_start(struct nd_pool *np, size_t size)
{
	struct nd_pool_lossy *lossy = kvzalloc(sizeof(*lossy), GFP_KERNEL);
	int ret = -ENOMEM;

	if (!lossy)
		return -ENOMEM;
	lossy->copy = vmalloc(size);
	lossy->states = vcalloc(size / LINE, sizeof(*lossy->states));
	if (!lossy->copy || !lossy->states)
		goto err;
	ret = np->medium.read(&np->medium, lossy->copy, np->data, size);
	if (ret)
		goto err;
	spin_lock_init(&lossy->lock);
	prandom_seed_state(&lossy->rnd, get_random_u64());
	lossy->durable = np->data;
	np->lossy = lossy;
	np->medium.base = lossy->copy;
	np->medium.write_back = lossy_write_back;
	np->medium.fence = lossy_fence;
	np->medium.read = NULL;
	return 0;

err:
	vfree(lossy->states);
	vfree(lossy->copy);
	kvfree(lossy);
	return ret;
}

/**
 * nd_pool_lossy_stop() - forget the copy of a pool that is detached, if it has one
 * @np: the pool
 *
 * Context: task; may sleep.
 */
void nd_pool_lossy_stop(struct nd_pool *np)
{
	if (!np->lossy)
		return;
	vfree(np->lossy->states);
	vfree(np->lossy->copy);
	kvfree(np->lossy);
	np->lossy = NULL;
}
