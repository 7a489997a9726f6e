// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pools of page frames in persistent memory: a medium that loses all data that
 * a crash may lose.
 *
 * For tests, with nd_pool.lossy=1. QEMU keeps each store of a guest that it
 * kills, so tests would not notice a missing write-back. With this medium, the
 * allocator works on a copy of the metadata in volatile memory. A write-back
 * notes the current state of lines. A fence writes the lines that its task has
 * noted to the namespace. Like caches, a fence also writes the current state of
 * some recent lines of any task. A crash loses the rest.
 *
 * A noted line never replaces a later state of the line. Words are written
 * whole. Lines belong to tasks. The lock and the functions here are for tasks
 * only, like the driver. The medium does not test that a fence runs on the CPU
 * of the write-back.
 *
 * Data of programs is not copied: programs store to the namespace.
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
/*
 * Largest number of noted lines; one more write-back first writes all of them
 * to the namespace.
 */
#define MAX_NOTED	512U
/*
 * Recent offsets whose lines caches may write out, and how many a fence writes
 * out
 */
#define MAX_RECENT	64U
#define EVICTIONS	2U

/* A line, and the number of its state */
struct lossy_line {
	const struct task_struct *task;
	unsigned long offset;
	u64 state;
	u64 words[LINE_WORDS];
};

/**
 * struct nd_pool_lossy - the copy of the metadata of a pool
 * @lock: protects all that follows, and the metadata in the namespace
 * @rnd: random numbers for evictions
 * @durable: the metadata in the namespace
 * @copy: the metadata that the allocator uses
 * @last: number of the last state that was read
 * @states: number of the state that the namespace has, by line
 * @noted: lines that were noted, in the order of their states
 * @nr_noted: number of them
 * @recent: offsets of recently noted lines
 * @nr_recent: number of lines that were ever noted
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

/* Write out some lines that no write-back asked for, like caches. */
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
 * nd_pool_lossy_start() - make the allocator work on a copy of the metadata
 * @np: the pool, mapped; its medium is changed
 * @size: bytes of metadata, a multiple of the size of a frame
 *
 * Does not copy poison: fails if metadata cannot be read.
 *
 * Context: task; may sleep.
 *
 * Return: 0; -EIO if metadata cannot be read; -ENOMEM
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
 * nd_pool_lossy_stop() - free the copy of the metadata of a pool, if any
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
