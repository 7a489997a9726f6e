// SPDX-License-Identifier: GPL-2.0
/* Threads and a hard interrupt that use one instance at once. */
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/sched/task.h>

#include "workers.h"

void worker_error(struct worker *worker, const char *error,
		  unsigned long where)
{
	if (worker->error)
		return;
	worker->error = error;
	worker->where = where;
}

u32 worker_random(struct worker *worker, u32 below)
{
	return prandom_u32_state(&worker->rnd) % below;
}

static int worker_slot(struct worker *worker)
{
	return worker_random(worker, 8) ?
		worker->id % worker->stress->inst->nr_slots : LLFREE_NO_SLOT;
}

static bool worker_mark(struct worker *worker, unsigned long frame,
			unsigned long nr)
{
	struct instance *inst = worker->stress->inst;
	unsigned long i;

	if (!model_inside(&inst->model, frame, nr)) {
		worker_error(worker, "got a frame outside the range", frame);
		return false;
	}
	for (i = frame; i < frame + nr; i++)
		if (xchg(&worker->stress->owner[i - inst_base(inst)],
			 worker->id + 1))
			worker_error(worker, "got a frame that is in use", i);
	return true;
}

static void worker_unmark(struct worker *worker, unsigned long frame,
			  unsigned long nr)
{
	struct instance *inst = worker->stress->inst;
	unsigned long i;

	for (i = frame; i < frame + nr; i++)
		if (!xchg(&worker->stress->owner[i - inst_base(inst)], 0))
			worker_error(worker, "has a frame that is not in use", i);
}

void worker_free(struct worker *worker, unsigned long frame,
		 unsigned int order)
{
	worker_unmark(worker, frame, 1UL << order);
	if (llfree_free(&worker->stress->inst->llf, worker_slot(worker), frame,
			order, &worker->delta))
		worker_error(worker, "could not free", frame);
}

void worker_free_held(struct worker *worker, const struct held *held)
{
	u64 mask = held->mask;

	if (!mask) {
		worker_free(worker, held->frame, held->order);
		return;
	}
	for (; mask; mask &= mask - 1)
		worker_unmark(worker, held->frame + __ffs64(mask), 1);
	if (llfree_free_batch(&worker->stress->inst->llf, worker_slot(worker),
			      held->frame, held->mask, &worker->delta))
		worker_error(worker, "could not free row", held->frame);
}

static void worker_hold(struct worker *worker, const struct held *held)
{
	if (worker->nr_held == MAX_HELD)
		worker_free_held(worker, held);
	else
		worker->held[worker->nr_held++] = *held;
}

struct held worker_pick(struct worker *worker)
{
	unsigned int i = worker_random(worker, worker->nr_held);
	struct held held = worker->held[i];

	worker->held[i] = worker->held[--worker->nr_held];
	return held;
}

bool worker_alloc(struct worker *worker, unsigned int order,
		  unsigned int view)
{
	struct llfree_request req = {
		.slot = worker_slot(worker),
		.order = order,
		.class = worker_random(worker, LLFREE_NR_CLASSES),
		.view = view,
	};
	struct held held = { .order = order };
	long frame;

	frame = llfree_alloc(&worker->stress->inst->llf, &req, &worker->delta);
	if (frame < 0) {
		worker->fails++;
		if (frame != -ENOMEM)
			worker_error(worker, "allocation failed strangely", -frame);
		return false;
	}
	worker->allocs++;
	if (!IS_ALIGNED(frame, 1UL << order))
		worker_error(worker, "got a block that is not aligned", frame);
	held.frame = frame;
	if (worker_mark(worker, frame, 1UL << order))
		worker_hold(worker, &held);
	return true;
}

void worker_hold_mask(struct worker *worker, unsigned long frame, u64 mask)
{
	struct held held = { .frame = frame, .mask = mask };
	u64 rest;

	if (!mask)
		return;
	for (rest = mask; rest; rest &= rest - 1)
		if (!worker_mark(worker, frame + __ffs64(rest), 1))
			return;
	worker_hold(worker, &held);
}

static void worker_alloc_batch(struct worker *worker, unsigned int view)
{
	struct llfree_request req = {
		.slot = worker_slot(worker),
		.order = worker_random(worker, 4),
		.class = worker_random(worker, LLFREE_NR_CLASSES),
		.view = view,
	};
	unsigned int nr = 1 + worker_random(worker, 64), i;
	u64 masks[LLFREE_CHILD_ROWS];
	long child;

	/* Half of the time more than a row has */
	if (worker_random(worker, 2))
		nr *= LLFREE_CHILD_ROWS;
	child = llfree_alloc_batch(&worker->stress->inst->llf, &req, nr, masks,
				   &worker->delta);
	if (child < 0) {
		worker->fails++;
		if (child != -ENOMEM)
			worker_error(worker, "batch failed strangely", -child);
		return;
	}
	worker->allocs++;
	if (!IS_ALIGNED(child, LLFREE_CHILD_FRAMES))
		worker_error(worker, "got a batch that is not aligned", child);
	if (!batch_frames(masks) || batch_frames(masks) >> req.order > nr)
		worker_error(worker, "got a wrong number of blocks", child);
	for (i = 0; i < LLFREE_CHILD_ROWS; i++) {
		if (!mask_shape_ok(masks[i], req.order))
			worker_error(worker, "got a batch of wrong shape", child);
		worker_hold_mask(worker, child + i * LLFREE_ROW_FRAMES, masks[i]);
	}
}

static void worker_claim(struct worker *worker)
{
	struct instance *inst = worker->stress->inst;
	unsigned int order = worker_random(worker, LLFREE_NR_ORDERS);
	unsigned long frame = inst_base(inst) +
		ALIGN_DOWN(worker_random(worker, inst->llf.nr_trees * TREE),
			   1UL << order);
	struct held held = { .frame = frame, .order = order };
	u64 claimed;

	if (worker_random(worker, 2)) {
		frame = ALIGN_DOWN(frame, LLFREE_ROW_FRAMES);
		if (llfree_claim_row(&inst->llf, frame,
				     random_u64(&worker->rnd), 0, &claimed,
				     &worker->delta) > 0)
			worker_hold_mask(worker, frame, claimed);
	} else if (!llfree_claim(&inst->llf, frame, order, 0, &worker->delta)) {
		if (worker_mark(worker, frame, 1UL << order))
			worker_hold(worker, &held);
	}
}

/* Leave a block to another worker, and free the one that is in the mailbox. */
static void worker_mail(struct worker *worker, unsigned long frame,
			unsigned int order)
{
	unsigned int i = worker_random(worker, NR_MAILBOXES);
	unsigned long *box = &worker->stress->mailbox[i];
	unsigned long mail = xchg(box, frame << 4 | (order + 1));

	if (mail)
		worker_free(worker, mail >> 4, (mail & 0xf) - 1);
}

/* Free a block in pieces of several sizes, some of them through a mailbox. */
static void worker_free_pieces(struct worker *worker, const struct held *held)
{
	unsigned long frame = held->frame, end = frame + (1UL << held->order);
	unsigned int order;

	if (held->mask || held->order > 9) {
		worker_free_held(worker, held);
		return;
	}
	for (; frame < end; frame += 1UL << order) {
		order = worker_random(worker, held->order + 1);
		while (!IS_ALIGNED(frame, 1UL << order))
			order--;
		if (worker_random(worker, 4))
			worker_free(worker, frame, order);
		else
			worker_mail(worker, frame, order);
	}
}

void worker_mixed(struct worker *worker, unsigned int view)
{
	static const u8 order[16] = {
		0, 0, 0, 0, 1, 2, 3, 3, 4, 5, 6, 7, 8, 9, 9, 10
	};
	struct held held;

	switch (worker_random(worker, 16)) {
	case 0 ... 5:
		worker_alloc(worker, order[worker_random(worker, 16)], view);
		break;
	case 6:
		worker_alloc_batch(worker, view);
		break;
	case 7:
		worker_claim(worker);
		break;
	case 8:
		/* Another worker may be about to use the reservation. */
		if (!worker_random(worker, 8))
			llfree_drain(&worker->stress->inst->llf,
				     worker_random(worker, 2) - 1);
		break;
	case 9 ... 12:
		if (worker->nr_held) {
			held = worker_pick(worker);
			worker_free_held(worker, &held);
		}
		break;
	case 13 ... 15:
		if (worker->nr_held) {
			held = worker_pick(worker);
			worker_free_pieces(worker, &held);
		}
		break;
	}
}

static int worker_thread(void *data)
{
	struct worker *worker = data;
	struct stress *stress = worker->stress;

	wait_for_completion(&stress->go);
	while (!kthread_should_stop() && stress->step(worker)) {
		worker->steps++;
		cond_resched();
	}
	complete(&stress->done);
	return 0;
}

static enum hrtimer_restart stress_timer(struct hrtimer *timer)
{
	struct stress *stress = container_of(timer, struct stress, timer);
	unsigned int i;

	if (!in_hardirq())
		worker_error(&stress->irq, "timer is not a hard interrupt", 0);
	for (i = 0; i < 4; i++)
		stress->step(&stress->irq);
	stress->irq.steps += i;
	hrtimer_forward_now(timer, ns_to_ktime(100 * NSEC_PER_USEC +
					       worker_random(&stress->irq,
							     100 * NSEC_PER_USEC)));
	return HRTIMER_RESTART;
}

static void stress_stop(void *data)
{
	struct stress *stress = data;
	unsigned int i;

	complete_all(&stress->go);
	for (i = 0; i < stress->nr; i++) {
		if (!IS_ERR_OR_NULL(stress->worker[i].task))
			kthread_stop_put(stress->worker[i].task);
		stress->worker[i].task = NULL;
	}
	if (stress->with_irq)
		hrtimer_cancel(&stress->timer);
}

static void worker_init(struct stress *stress, struct worker *worker,
			unsigned int id)
{
	worker->stress = stress;
	worker->id = id;
	prandom_seed_state(&worker->rnd, 4711 + 100 * id);
}

struct stress *stress_new(struct kunit *test, struct instance *inst,
			  bool (*step)(struct worker *worker))
{
	struct stress *stress = area_new(test, sizeof(*stress));
	unsigned long frames = inst->llf.nr_trees * TREE, i;

	memset(stress, 0, sizeof(*stress));
	stress->inst = inst;
	stress->step = step;
	stress->nr = clamp(2 * num_online_cpus(), 4U, (unsigned int)MAX_WORKERS);
	init_completion(&stress->go);
	init_completion(&stress->done);
	stress->owner = area_new(test, frames * sizeof(*stress->owner));
	for (i = 0; i < frames; i++)
		stress->owner[i] = inst->model.used[i] ? U32_MAX : 0;
	for (i = 0; i < stress->nr; i++)
		worker_init(stress, &stress->worker[i], i);
	worker_init(stress, &stress->irq, stress->nr);
	return stress;
}

void stress_run(struct kunit *test, struct stress *stress,
		unsigned int msecs)
{
	struct task_struct *task;
	unsigned int i;

	hrtimer_init(&stress->timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_HARD);
	stress->timer.function = stress_timer;
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action(test, stress_stop, stress));
	for (i = 0; i < stress->nr; i++) {
		task = kthread_run(worker_thread, &stress->worker[i],
				   "llfree_kunit/%u", i);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, task);
		stress->worker[i].task = get_task_struct(task);
	}
	if (stress->with_irq)
		hrtimer_start(&stress->timer, ns_to_ktime(NSEC_PER_USEC),
			      HRTIMER_MODE_REL_HARD);
	complete_all(&stress->go);
	if (msecs)
		msleep(msecs);
	else
		for (i = 0; i < stress->nr; i++)
			KUNIT_EXPECT_NE_MSG(test, 0,
					    wait_for_completion_timeout(&stress->done,
									30 * HZ),
					    "a thread is not done");
	kunit_release_action(test, stress_stop, stress);
}

static void worker_check(struct kunit *test, struct worker *worker)
{
	struct llfree_delta *sum = &worker->stress->inst->delta;
	unsigned int view;

	KUNIT_EXPECT_NULL_MSG(test, worker->error, "worker %u: %s: %lu",
			      worker->id, worker->error, worker->where);
	for (view = 0; view < LLFREE_NR_VIEWS; view++) {
		sum->frames[view] += worker->delta.frames[view];
		sum->huge[view] += worker->delta.huge[view];
	}
}

void stress_check(struct kunit *test, struct stress *stress)
{
	struct instance *inst = stress->inst;
	unsigned long i, steps = 0, allocs = 0, fails = 0;
	bool used;

	for (i = 0; i < stress->nr; i++) {
		worker_check(test, &stress->worker[i]);
		KUNIT_EXPECT_GT_MSG(test, stress->worker[i].steps, 0,
				    "worker %lu did nothing", i);
		steps += stress->worker[i].steps;
		allocs += stress->worker[i].allocs;
		fails += stress->worker[i].fails;
	}
	worker_check(test, &stress->irq);
	kunit_info(test, "%u threads: %lu steps, %lu allocations, %lu failed\n",
		   stress->nr, steps, allocs, fails);
	if (stress->with_irq) {
		KUNIT_EXPECT_GT(test, stress->irq.steps, 0);
		kunit_info(test, "interrupts: %lu steps, %lu allocations\n",
			   stress->irq.steps, stress->irq.allocs);
	}

	/* The model learns what the workers hold. */
	for (i = inst->llf.first; i < inst->llf.end; i++) {
		used = stress->owner[i - inst_base(inst)];
		if (used != inst->model.used[i - inst_base(inst)])
			model_mark(&inst->model, i, 1, used);
	}
	inst_check(test, inst);

	/* All frames can be freed and allocated again. */
	for (i = inst->llf.first; i < inst->llf.end; i = llfree_next_child(i))
		inst_set_view(test, inst, i, LLFREE_VIEW_NORMAL);
	inst_free_rest(test, inst);
	inst_check(test, inst);
	llfree_drain(&inst->llf, -1);
	inst_check(test, inst);
	KUNIT_EXPECT_EQ(test, inst_free_frames(inst, LLFREE_VIEW_NORMAL),
			inst_nr(inst));
	KUNIT_EXPECT_EQ(test, model_blocks(&inst->model, LLFREE_MAX_ORDER, 0),
			inst_alloc_all(test, inst, LLFREE_MAX_ORDER, 0, NULL));
}
