/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Workers: threads, and a hard interrupt, that use one instance at once.
 *
 * Each worker marks the frames that it allocates, so that a frame which is
 * allocated twice is noticed at once. Since workers cannot fail a test, each
 * keeps its first error until all stopped.
 */
#ifndef _LLFREE_TESTS_WORKERS_H
#define _LLFREE_TESTS_WORKERS_H

#include <linux/completion.h>
#include <linux/hrtimer.h>

#include "instance.h"

#define MAX_WORKERS	8
#define MAX_HELD	32
#define NR_MAILBOXES	16

/**
 * struct held - frames that a worker allocated
 * @frame: the first frame of a block or a row
 * @order: order of the block
 * @mask: if not 0, these frames of the row
 */
struct held {
	unsigned long frame;
	unsigned int order;
	u64 mask;
};

/**
 * struct worker - a thread, or the handler of the interrupt
 * @stress: all workers
 * @task: the thread
 * @id: number of this worker
 * @rnd: random numbers
 * @delta: sum of the changes that operations reported
 * @nr_held: number of @held
 * @held: blocks that it allocated
 * @pos: progress of steps that go through all frames
 * @steps: number of steps that it did
 * @allocs: successful allocations
 * @fails: failed allocations
 * @error: its first error, or NULL
 * @where: frame or error code of @error
 */
struct worker {
	struct stress *stress;
	struct task_struct *task;
	unsigned int id;
	struct rnd_state rnd;
	struct llfree_delta delta;
	unsigned int nr_held;
	struct held held[MAX_HELD];
	unsigned long pos;
	unsigned long steps, allocs, fails;
	const char *error;
	unsigned long where;
};

/**
 * struct stress - all workers of an instance
 * @inst: the instance
 * @owner: of each frame: the number of the worker that holds it + 1, or 0
 * @mailbox: blocks that their owners leave to other workers to free
 * @step: the workers call this in a loop, until it returns false
 * @arg: argument of some steps
 * @go: the threads may start
 * @done: threads that are done
 * @nr: number of threads
 * @worker: the threads
 * @with_irq: there is an interrupt, too
 * @timer: the interrupt
 * @irq: the worker that runs in the interrupt
 */
struct stress {
	struct instance *inst;
	u32 *owner;
	unsigned long mailbox[NR_MAILBOXES];
	bool (*step)(struct worker *worker);
	unsigned int arg;
	struct completion go;
	struct completion done;
	unsigned int nr;
	struct worker worker[MAX_WORKERS];
	bool with_irq;
	struct hrtimer timer;
	struct worker irq;
};

struct stress *stress_new(struct kunit *test, struct instance *inst,
			  bool (*step)(struct worker *worker));
/* Runs the workers for some time, or if @msecs is 0, until their steps end. */
void stress_run(struct kunit *test, struct stress *stress, unsigned int msecs);
/* Then compares the frames that the workers hold with the state of the core. */
void stress_check(struct kunit *test, struct stress *stress);

/* ---- For steps ---- */

void worker_error(struct worker *worker, const char *error, unsigned long where);
u32 worker_random(struct worker *worker, u32 below);

/* Allocates a block of any class and holds it. */
bool worker_alloc(struct worker *worker, unsigned int order, unsigned int view);
/* Holds frames of a row that the caller allocated. */
void worker_hold_mask(struct worker *worker, unsigned long frame, u64 mask);
/* Picks one of the blocks that the worker holds: the caller frees it. */
struct held worker_pick(struct worker *worker);
void worker_free(struct worker *worker, unsigned long frame, unsigned int order);
void worker_free_held(struct worker *worker, const struct held *held);
/* One step of all operations that allocate and free */
void worker_mixed(struct worker *worker, unsigned int view);

#endif /* _LLFREE_TESTS_WORKERS_H */
