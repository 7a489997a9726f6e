// SPDX-License-Identifier: GPL-2.0
/* All operations from several threads and a hard interrupt at once. */
#include <linux/delay.h>
#include <linux/sched.h>

#include "workers.h"

#define MSECS	300

static bool step_mixed(struct worker *worker)
{
	worker_mixed(worker, LLFREE_VIEW_NORMAL);
	return true;
}

static int free_of_child(const struct llfree *llf, unsigned long frame)
{
	unsigned long end;
	int nr = 0;

	frame = ALIGN_DOWN(frame, CHILD);
	for (end = frame + CHILD; frame < end; frame += LLFREE_ROW_FRAMES)
		nr += hweight64(llfree_row_mask(llf, frame));
	return nr;
}

/* Isolate a child, check that no frame of it gets allocated, and end that. */
static void worker_isolate(struct worker *worker)
{
	struct instance *inst = worker->stress->inst;
	struct llfree *llf = &inst->llf;
	unsigned long frame = llf->first + worker_random(worker, inst_nr(inst));
	unsigned long row = ALIGN_DOWN(frame, LLFREE_ROW_FRAMES);
	u8 *view = inst_view(inst, frame);
	int ret, expected, stable, i;
	u64 claimed;

	expected = *view == LLFREE_VIEW_ISOLATED ? -EALREADY : *view;
	ret = llfree_set_view(llf, frame, LLFREE_VIEW_ISOLATED, &worker->delta);
	if (ret != expected)
		worker_error(worker, "isolated a child of another view", frame);
	*view = LLFREE_VIEW_ISOLATED;

	for (i = 0; i < 100; i++) {
		stable = llfree_child_stable(llf, frame);
		if (stable >= 0)
			break;
		cond_resched();
	}
	for (i = 0; stable >= 0 && i < 4; i++) {
		/* From here on, other workers only free. */
		ret = free_of_child(llf, frame);
		if (ret < stable)
			worker_error(worker, "isolated child lost a frame",
				     frame);
		stable = ret;
		cond_resched();
	}
	if (stable > 0 && llfree_claim_row(llf, row, random_u64(&worker->rnd),
					   LLFREE_CLAIM_HIDDEN, &claimed,
					   &worker->delta) > 0)
		worker_hold_mask(worker, row, claimed);

	ret = worker_random(worker, 16);
	if (ret == LLFREE_VIEW_ISOLATED)
		return;
	*view = ret < LLFREE_ALLOC_VIEWS ? ret : LLFREE_VIEW_NORMAL;
	if (llfree_set_view(llf, frame, *view, &worker->delta) !=
	    LLFREE_VIEW_ISOLATED)
		worker_error(worker, "isolated child had another view", frame);
}

static bool step_views(struct worker *worker)
{
	if (!worker->id) {
		worker_isolate(worker);
		/* The rest of the time, it does as the others do. */
		if (!worker_random(worker, 4))
			return true;
	}
	worker_mixed(worker, worker_random(worker, 8) < LLFREE_ALLOC_VIEWS ?
		     worker_random(worker, LLFREE_ALLOC_VIEWS) :
		     LLFREE_VIEW_NORMAL);
	return true;
}

/* Change the view of a child that no other worker changes. */
static void worker_flip(struct worker *worker, unsigned long frame)
{
	static const u8 views[4] = {
		LLFREE_VIEW_NORMAL, LLFREE_VIEW_NORMAL, LLFREE_VIEW_CMA,
		LLFREE_VIEW_ISOLATED,
	};
	struct instance *inst = worker->stress->inst;
	unsigned int to = views[worker_random(worker, 4)];
	u8 *view = inst_view(inst, frame);

	if (llfree_set_view(&inst->llf, frame, to, &worker->delta) !=
	    (*view == to ? -EALREADY : *view))
		worker_error(worker, "child had another view", frame);
	*view = to;
}

/*
 * One child of each pair is free, but never the other. An allocation of the pair
 * takes the one and has to undo that, while other workers change its view.
 */
static bool step_undo(struct worker *worker)
{
	struct stress *stress = worker->stress;
	struct llfree *llf = &stress->inst->llf;
	struct llfree_request req = { .order = LLFREE_MAX_ORDER };
	unsigned long pair = llf->first + worker_random(worker, 4) * 2 * CHILD;
	static const u8 order[4] = { 0, 6, 7, 8 };
	struct held held;
	unsigned int i;

	if (worker == &stress->irq)
		worker_flip(worker, llf->first +
			    worker_random(worker, 2) * 4 * CHILD);
	if (!worker->id) {
		worker_flip(worker, llf->first + 2 * CHILD +
			    worker_random(worker, 2) * 4 * CHILD);
		return true;
	}

	switch (worker_random(worker, 8)) {
	case 0:
		if (llfree_claim(llf, pair, LLFREE_MAX_ORDER, 0,
				 &worker->delta) != -EBUSY)
			worker_error(worker, "claimed what is in use", pair);
		break;
	case 1 ... 4:
		for (i = 0; i < 4; i++)
			if (llfree_alloc(llf, &req, &worker->delta) != -ENOMEM)
				worker_error(worker, "got what is in use", 0);
		break;
	case 5 ... 7:
		/* All workers use the same rows, and most free them at once. */
		if (worker->nr_held) {
			held = worker_pick(worker);
			worker_free_held(worker, &held);
		}
		if (worker_alloc(worker, order[worker_random(worker, 4)],
				 LLFREE_VIEW_NORMAL) && worker != &stress->irq) {
			held = worker_pick(worker);
			worker_free_held(worker, &held);
		}
		break;
	}
	return true;
}

/* Together, all workers free all frames, in pieces that are neighbours. */
static bool step_pieces(struct worker *worker)
{
	struct instance *inst = worker->stress->inst;
	unsigned long frame = inst->llf.first +
		((worker->pos * worker->stress->nr + worker->id) <<
		 worker->stress->arg);

	if (frame >= inst->llf.end)
		return false;
	worker->pos++;
	worker_free(worker, frame, worker->stress->arg);
	return true;
}

/*
 * There are as many frames as all workers together may hold, so there is one for
 * each allocation. An allocation can miss it a few times: while it looks at the
 * children in turn, others may free into those where it has been, or be between
 * the two steps of a free.
 */
static bool step_scarce(struct worker *worker)
{
	struct held held;
	unsigned int i;

	if (worker->nr_held < worker->stress->arg && worker_random(worker, 3)) {
		for (i = 0; !worker_alloc(worker, 0, LLFREE_VIEW_NORMAL); i++) {
			if (i == 500) {
				worker_error(worker, "got no frame of those left",
					     0);
				return false;
			}
			if (i < 10)
				cond_resched();
			else
				usleep_range(20, 100);
		}
	} else if (worker->nr_held) {
		held = worker_pick(worker);
		worker_free_held(worker, &held);
	}
	return true;
}

static void mixed_operations(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST + 200, 4 * TREE - 300,
					 LLFREE_INIT_FREE, 3);
	struct stress *stress = stress_new(test, inst, step_mixed);

	stress_run(test, stress, MSECS);
	stress_check(test, stress);
}

static void mixed_views(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, 3 * TREE,
					 LLFREE_INIT_FREE, 3);
	struct stress *stress = stress_new(test, inst, step_views);

	stress_run(test, stress, MSECS);
	stress_check(test, stress);
}

/* A hard interrupt does the same operations on top of the threads. */
static void hard_interrupts(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, 3 * TREE,
					 LLFREE_INIT_FREE, 2);
	struct stress *stress = stress_new(test, inst, step_views);

	stress->with_irq = true;
	stress_run(test, stress, MSECS);
	KUNIT_EXPECT_GT(test, stress->irq.allocs, 0);
	stress_check(test, stress);
}

/* Allocations undo their first steps while the view of the child changes. */
static void undo_while_view_changes(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, TREE, LLFREE_INIT_FREE, 2);
	struct stress *stress;
	unsigned int i;

	for (i = 1; i < (LLFREE_MIN_TREE_FRAMES / LLFREE_CHILD_FRAMES); i += 2)
		KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst,
						    FIRST + i * CHILD, 0, 0));
	/* Only an allocation by an owner of permits tries pairs that are not free. */
	inst_free(test, inst, 0, inst_alloc(test, inst, 0, 0, 0), 0);
	KUNIT_ASSERT_TRUE(test, inst_tree_reserved(test, inst, FIRST));

	stress = stress_new(test, inst, step_undo);
	stress->with_irq = true;
	stress_run(test, stress, MSECS);
	stress_check(test, stress);
}

/* Workers free pieces of the same blocks at once; the blocks are whole in the end. */
static void frees_in_pieces(struct kunit *test)
{
	static const unsigned int pieces[] = { 0, 2, 5, 6, 7, 8 };
	struct instance *inst;
	struct stress *stress;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(pieces); i++) {
		inst = inst_new(test, FIRST, 2 * TREE, LLFREE_INIT_FREE, 3);
		inst_alloc_all(test, inst, i % 2 ? 9 : 10, 0, NULL);
		KUNIT_ASSERT_EQ(test, 0, inst_free_frames(inst, 0));
		stress = stress_new(test, inst, step_pieces);
		stress->arg = pieces[i];
		stress_run(test, stress, 0);
		KUNIT_EXPECT_EQ(test, 2 * TREE, inst_free_frames(inst, 0));
		stress_check(test, stress);
	}
}

/* Allocations find the last free frames, wherever they were freed. */
static void last_frames(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, 2 * TREE,
					 LLFREE_INIT_ALLOC, 3);
	struct stress *stress = stress_new(test, inst, step_scarce);
	unsigned int i;

	stress->arg = 5;
	for (i = 0; i < stress->nr * stress->arg; i++) {
		inst_free(test, inst, LLFREE_NO_SLOT, FIRST + i * 201, 0);
		stress->owner[i * 201] = 0;
	}
	stress_run(test, stress, MSECS);
	stress_check(test, stress);
}

static struct kunit_case concurrent_cases[] = {
	KUNIT_CASE(mixed_operations),
	KUNIT_CASE(mixed_views),
	KUNIT_CASE(hard_interrupts),
	KUNIT_CASE(undo_while_view_changes),
	KUNIT_CASE(frees_in_pieces),
	KUNIT_CASE(last_frames),
	{}
};

static struct kunit_suite concurrent_suite = {
	.name = "llfree_concurrent",
	.test_cases = concurrent_cases,
};

kunit_test_suite(concurrent_suite);
