// SPDX-License-Identifier: GPL-2.0
/* Allocation of one block, which fails only if there is no free one. */
#include "instance.h"

KUNIT_ARRAY_PARAM(range, inst_ranges, inst_range_desc);

KUNIT_ARRAY_PARAM(order, inst_orders, inst_order_desc);

static void range_orders(struct kunit *test)
{
	const struct span *range = test->param_value;
	unsigned long *frames, nr, start, end;
	struct instance *inst;
	unsigned int order;

	inst = inst_new(test, range->first, range->nr, LLFREE_INIT_FREE,
			range->slots);
	frames = area_new(test, range->nr * sizeof(*frames));
	for (order = 0; order < LLFREE_NR_ORDERS; order++) {
		start = ALIGN(range->first, 1UL << order);
		end = ALIGN_DOWN(range->first + range->nr, 1UL << order);
		nr = inst_alloc_all(test, inst, order, LLFREE_VIEW_NORMAL,
				    frames);
		KUNIT_EXPECT_EQ(test, nr,
				end > start ? (end - start) >> order : 0);
		inst_check(test, inst);
		inst_free_all(test, inst, order, frames, nr);
		inst_check(test, inst);
	}
}

/* An allocation changes the counters of its block, and a free changes them back. */
static void order_alloc_free(struct kunit *test)
{
	const unsigned int order = *(const unsigned int *)test->param_value;
	const long nr = 1L << order, children = DIV_ROUND_UP(nr, CHILD);
	const struct llfree_request req = {
		.slot = LLFREE_NO_SLOT,
		.order = order,
	};
	unsigned int slots, view = LLFREE_VIEW_NORMAL;
	struct instance *inst;
	long frame, i;

	for (slots = 0; slots < 5; slots++) {
		inst = inst_new(test, FIRST, 2 * TREE, LLFREE_INIT_FREE, slots);
		frame = inst_alloc(test, inst, (int)slots - 1, order, 0);
		KUNIT_ASSERT_GE(test, frame, 0);
		KUNIT_EXPECT_EQ(test, inst->delta.frames[view], -nr);
		KUNIT_EXPECT_EQ(test, inst->delta.huge[view], -children);
		for (i = 0; i < nr; i++)
			KUNIT_EXPECT_EQ(test, -1,
					llfree_block_order(&inst->llf,
							   frame + i));
		inst_check(test, inst);

		inst_free(test, inst, (int)slots - 1, frame, order);
		KUNIT_EXPECT_EQ(test, inst->delta.frames[view], 0);
		KUNIT_EXPECT_EQ(test, inst->delta.huge[view], 0);
		KUNIT_EXPECT_EQ(test, LLFREE_MAX_ORDER,
				llfree_block_order(&inst->llf, frame));
		inst_check(test, inst);

		/* Callers may omit the delta. */
		frame = llfree_alloc(&inst->llf, &req, NULL);
		KUNIT_ASSERT_GE(test, frame, 0);
		KUNIT_EXPECT_EQ(test, 0, llfree_free(&inst->llf, LLFREE_NO_SLOT,
						     frame, order, NULL));
		inst_check(test, inst);
	}
}

/* Allocation succeeds while there is a block, wherever its permits are. */
static void order_exhaustive(struct kunit *test)
{
	const unsigned int order = *(const unsigned int *)test->param_value;
	unsigned long *frames, nr, expected;
	struct instance *inst;
	struct rnd_state rnd;
	unsigned int i;

	prandom_seed_state(&rnd, order);
	inst = inst_new(test, FIRST + 333, 4 * TREE, LLFREE_INIT_FREE, 5);
	frames = area_new(test, 4 * TREE * sizeof(*frames));
	/* Spread the permits over all slots and classes. */
	for (i = 0; i < 40; i++)
		inst_alloc(test, inst, i % 5, i % 4, i % 3);
	inst_scatter(test, inst, &rnd);
	inst_set_view(test, inst, FIRST + TREE, LLFREE_VIEW_ISOLATED);
	inst_set_view(test, inst, FIRST + TREE + CHILD, LLFREE_VIEW_CMA);

	expected = model_blocks(&inst->model, order, LLFREE_VIEW_NORMAL);
	nr = inst_alloc_all(test, inst, order, LLFREE_VIEW_NORMAL, frames);
	KUNIT_EXPECT_EQ(test, expected, nr);
	inst_check(test, inst);
	inst_free_all(test, inst, order, frames, nr);
	inst_check(test, inst);
	KUNIT_EXPECT_EQ(test, expected,
			model_blocks(&inst->model, order, LLFREE_VIEW_NORMAL));
}

/*
 * llfree_alloc_fast() where the slot is, else a search: both together allocate all
 * blocks and count them.
 */
static void fast_alloc(struct kunit *test)
{
	const unsigned int order = *(const unsigned int *)test->param_value;
	struct llfree_request req = { .order = order };
	unsigned long total = 0, quick = 0, expected;
	struct instance *inst;
	struct rnd_state rnd;
	long frame;

	prandom_seed_state(&rnd, order);
	inst = inst_new(test, FIRST + 20, 3 * TREE, LLFREE_INIT_FREE, 2);
	if (order < LLFREE_CHILD_ORDER)
		inst_scatter(test, inst, &rnd);
	expected = model_blocks(&inst->model, order, LLFREE_VIEW_NORMAL);
	KUNIT_ASSERT_GT(test, expected, 0);
	for (;; total++) {
		req.slot = total % 2;
		frame = inst_alloc_fast(test, inst, req.slot, order, req.class);
		if (frame >= 0) {
			quick++;
			continue;
		}
		frame = llfree_alloc_slow(&inst->llf, &req, &inst->delta);
		if (frame < 0)
			break;
		KUNIT_ASSERT_TRUE(test, IS_ALIGNED(frame, 1UL << order));
		inst_allocated(test, inst, frame, 1UL << order, LLFREE_VIEW_NORMAL);
	}
	KUNIT_EXPECT_EQ(test, frame, -ENOMEM);
	KUNIT_EXPECT_EQ(test, total, expected);
	KUNIT_EXPECT_GT(test, quick, 0);
	inst_check(test, inst);
	inst_free_rest(test, inst);
	inst_check(test, inst);
}

/* llfree_alloc_fast() allocates from the tree that the slot has reserved, or fails. */
static void fast_alloc_reserved(struct kunit *test)
{
	const unsigned int order = *(const unsigned int *)test->param_value;
	struct instance *inst = inst_new(test, FIRST, TREE, LLFREE_INIT_FREE, 1);
	const unsigned int class = LLFREE_CLASS_MOVABLE, view = LLFREE_VIEW_NORMAL;
	struct snapshot *snap;
	long huge;

	/* No tree is reserved yet. */
	snap = snapshot_new(test, inst);
	KUNIT_EXPECT_EQ(test, -EAGAIN, inst_alloc_fast(test, inst, 0, order, class));
	snapshot_check(test, inst, snap);

	KUNIT_ASSERT_GE(test, inst_alloc(test, inst, 0, order, class), 0);
	huge = inst->delta.huge[view];
	KUNIT_EXPECT_GE(test, inst_alloc_fast(test, inst, 0, order, class), 0);
	KUNIT_EXPECT_EQ(test, huge - inst->delta.huge[view],
			order < LLFREE_CHILD_ORDER ? 0 : 1 << (order - LLFREE_CHILD_ORDER));
	inst_check(test, inst);
}

/* Callers of each operation may omit the delta. */
static void no_delta(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, TREE, LLFREE_INIT_FREE, 1);
	struct llfree_request req = { };
	struct llfree *llf = &inst->llf;
	u64 masks[LLFREE_CHILD_ROWS], mask;
	unsigned int i;
	long frame;

	frame = llfree_alloc(llf, &req, NULL);
	KUNIT_ASSERT_GE(test, frame, 0);
	KUNIT_EXPECT_EQ(test, 0, llfree_free(llf, 0, frame, 0, NULL));
	for (req.slot = 0; req.slot >= LLFREE_NO_SLOT; req.slot--) {
		frame = llfree_alloc_batch(llf, &req, 64, masks, NULL);
		KUNIT_ASSERT_GE(test, frame, 0);
		for (i = 0; i < LLFREE_CHILD_ROWS; i++)
			if (masks[i])
				KUNIT_EXPECT_EQ(test, 0,
						llfree_free_batch(llf, 0, frame + i * 64,
								  masks[i], NULL));
	}
	KUNIT_EXPECT_EQ(test, 0, llfree_claim(llf, FIRST, 10, 0, NULL));
	KUNIT_EXPECT_EQ(test, 0, llfree_free(llf, 0, FIRST, 10, NULL));
	KUNIT_EXPECT_EQ(test, 3, llfree_claim_row(llf, FIRST, 7, 0, &mask, NULL));
	KUNIT_EXPECT_EQ(test, 0, llfree_free_batch(llf, 0, FIRST, 7, NULL));
	KUNIT_EXPECT_EQ(test, LLFREE_VIEW_NORMAL,
			llfree_set_view(llf, FIRST, LLFREE_VIEW_CMA, NULL));
	KUNIT_EXPECT_EQ(test, LLFREE_VIEW_CMA,
			llfree_set_view(llf, FIRST, LLFREE_VIEW_NORMAL, NULL));
	inst_check(test, inst);
}

/*
 * An allocation of order 10 whose first child is free and whose second one is
 * not gives the first one back, with its permits.
 */
static void undo_pair(struct kunit *test)
{
	struct instance *inst;
	struct llfree_stats before, after;
	unsigned int how;

	for (how = 0; how < 4; how++) {
		inst = inst_new(test, FIRST, TREE, LLFREE_INIT_FREE, 2);
		/* The slot reserves the tree, with enough permits. */
		inst_alloc(test, inst, 0, 0, 0);
		KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst,
						    FIRST + 3 * CHILD + 100, 0,
						    0));
		KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst,
						    FIRST + 5 * CHILD, 8, 0));
		if (how & 1)
			inst_set_view(test, inst, FIRST + 7 * CHILD,
				      LLFREE_VIEW_ISOLATED);
		if (how & 2)
			inst_set_view(test, inst, FIRST + 7 * CHILD,
				      LLFREE_VIEW_CMA);
		if (how)
			KUNIT_EXPECT_EQ(test, -ENOMEM,
					inst_alloc(test, inst, 0, 10, 0));
		else
			KUNIT_EXPECT_EQ(test, FIRST + 6 * CHILD,
					inst_alloc(test, inst, 0, 10, 0));
		inst_check(test, inst);

		llfree_stats_exact(&inst->llf, &before);
		KUNIT_EXPECT_EQ(test, -ENOMEM, inst_alloc(test, inst, 1, 10, 0));
		KUNIT_EXPECT_EQ(test, -EBUSY, inst_claim(test, inst,
							 FIRST + 2 * CHILD, 10,
							 0));
		llfree_stats_exact(&inst->llf, &after);
		KUNIT_EXPECT_MEMEQ(test, before.frames, after.frames,
				   sizeof(after.frames));
		KUNIT_EXPECT_MEMEQ(test, before.huge, after.huge,
				   sizeof(after.huge));
		inst_check(test, inst);
	}
}

static struct kunit_case alloc_cases[] = {
	KUNIT_CASE_PARAM(range_orders, range_gen_params),
	KUNIT_CASE_PARAM(order_alloc_free, order_gen_params),
	KUNIT_CASE_PARAM(order_exhaustive, order_gen_params),
	KUNIT_CASE_PARAM(fast_alloc, order_gen_params),
	KUNIT_CASE_PARAM(fast_alloc_reserved, order_gen_params),
	KUNIT_CASE(no_delta),
	KUNIT_CASE(undo_pair),
	{}
};

static struct kunit_suite alloc_suite = {
	.name = "llfree_alloc",
	.test_cases = alloc_cases,
};

kunit_test_suite(alloc_suite);
