// SPDX-License-Identifier: GPL-2.0
/*
 * Queries: orders of blocks, rows, children, counts of blocks, and whether there
 * may be a block of an order.
 */
#include "instance.h"

KUNIT_ARRAY_PARAM(range, inst_ranges, inst_range_desc);

/* Orders of blocks, masks of rows, counts and children agree with the model. */
static void range_queries(struct kunit *test)
{
	const struct span *range = test->param_value;
	unsigned long counts[LLFREE_NR_ORDERS], expected[LLFREE_NR_ORDERS];
	unsigned long frame, end = range->first + range->nr, nr = 0;
	struct llfree_child child;
	struct instance *inst;
	struct rnd_state rnd;
	unsigned int view;

	prandom_seed_state(&rnd, range->first + range->nr);
	inst = inst_new(test, range->first, range->nr, LLFREE_INIT_FREE, 0);
	inst_scatter(test, inst, &rnd);
	inst_set_view(test, inst, range->first + range->nr / 2,
		      LLFREE_VIEW_CMA);

	KUNIT_EXPECT_EQ(test, -1, llfree_block_order(&inst->llf, end));
	KUNIT_EXPECT_EQ(test, -1, llfree_block_order(&inst->llf, ULONG_MAX));
	if (range->first)
		KUNIT_EXPECT_EQ(test, -1, llfree_block_order(&inst->llf,
							     range->first - 1));
	KUNIT_EXPECT_EQ(test, 0, llfree_row_mask(&inst->llf, end));
	KUNIT_EXPECT_EQ(test, 0, llfree_row_mask(&inst->llf, ULONG_MAX));
	if (inst_base(inst))
		KUNIT_EXPECT_EQ(test, 0, llfree_row_mask(&inst->llf,
							 inst_base(inst) - 1));

	for (frame = range->first; frame < end; frame++)
		KUNIT_ASSERT_EQ_MSG(test, model_free_order(&inst->model, frame),
				    llfree_block_order(&inst->llf, frame),
				    "frame %lu", frame);

	for (view = 0; view < LLFREE_NR_VIEWS; view++) {
		model_count_orders(&inst->model, view, expected);
		llfree_count_orders(&inst->llf, view, -1, counts);
		KUNIT_EXPECT_MEMEQ(test, expected, counts, sizeof(counts));
	}

	for (frame = range->first;
	     !llfree_child(&inst->llf, frame, &child);
	     frame = llfree_next_child(frame)) {
		KUNIT_EXPECT_EQ(test, child.frame, ALIGN_DOWN(frame, CHILD));
		KUNIT_EXPECT_EQ(test, child.view, *inst_view(inst, frame));
		KUNIT_EXPECT_EQ(test, child.free,
				inst->model.free[model_child(&inst->model, frame)]);
		KUNIT_EXPECT_EQ(test, child.free,
				llfree_child_stable(&inst->llf, frame));
		KUNIT_EXPECT_FALSE(test, child.reported);
		KUNIT_EXPECT_FALSE(test, child.tree_reserved);
		nr++;
	}
	KUNIT_EXPECT_GE(test, frame, end);
	KUNIT_EXPECT_EQ(test, nr, DIV_ROUND_UP(end, CHILD) -
			range->first / CHILD);
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_child_stable(&inst->llf, end));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_child(&inst->llf, end, &child));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_child(&inst->llf, range->first - 1,
						    &child));
}

/* An instance with one block of each order below the largest has just these. */
static void count_orders(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, 4 * TREE, LLFREE_INIT_FREE, 4);
	unsigned long counts[LLFREE_NR_ORDERS], sum = 0;
	unsigned int order;

	llfree_count_orders(&inst->llf, LLFREE_VIEW_NORMAL, -1, counts);
	for (order = 0; order < LLFREE_MAX_ORDER; order++)
		KUNIT_EXPECT_EQ(test, 0, counts[order]);
	KUNIT_EXPECT_EQ(test, 4 * TREE >> LLFREE_MAX_ORDER, counts[order]);

	inst_alloc_all(test, inst, LLFREE_MAX_ORDER, 0, NULL);
	for (order = 0; order < LLFREE_MAX_ORDER; order++)
		inst_free(test, inst, 0, FIRST + order * 2 * CHILD, order);
	llfree_count_orders(&inst->llf, LLFREE_VIEW_NORMAL, -1, counts);
	for (order = 0; order < LLFREE_NR_ORDERS; order++) {
		KUNIT_EXPECT_EQ(test, order < LLFREE_MAX_ORDER, counts[order]);
		sum += counts[order] << order;
	}
	KUNIT_EXPECT_EQ(test, sum, inst_free_frames(inst, LLFREE_VIEW_NORMAL));

	llfree_count_orders(&inst->llf, LLFREE_VIEW_CMA, -1, counts);
	for (order = 0; order < LLFREE_NR_ORDERS; order++)
		KUNIT_EXPECT_EQ(test, 0, counts[order]);
	inst_set_view(test, inst, FIRST, LLFREE_VIEW_CMA);
	llfree_count_orders(&inst->llf, LLFREE_VIEW_CMA, -1, counts);
	KUNIT_EXPECT_EQ(test, 1, counts[0]);
	inst_check(test, inst);
}

/* One allocated frame leaves a block of each smaller order beside it. */
static void block_orders(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, TREE, LLFREE_INIT_FREE, 0);
	struct llfree *llf = &inst->llf;
	const unsigned long first = FIRST + 3 * TREE / 4;
	unsigned int order;

	KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst, first, 0, 0));
	for (order = 0; order < LLFREE_MAX_ORDER; order++) {
		KUNIT_EXPECT_EQ(test, order,
				llfree_block_order(llf, first + (1UL << order)));
		KUNIT_EXPECT_EQ(test, order,
				llfree_block_order(llf, first + (2UL << order) - 1));
	}
	KUNIT_EXPECT_EQ(test, -1, llfree_block_order(llf, first));
	KUNIT_EXPECT_EQ(test, LLFREE_MAX_ORDER, llfree_block_order(llf, first - 1));
	/* Any frame of a row stands for the row. */
	KUNIT_EXPECT_EQ(test, ~1ULL, llfree_row_mask(llf, first + 63));
}

/* llfree_child_stable() sees whether counter and bits of a child agree. */
static void child_stable(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, TREE, LLFREE_INIT_FREE, 0);
	struct llfree *llf = &inst->llf;

	KUNIT_EXPECT_EQ(test, CHILD, llfree_child_stable(llf, FIRST + 9));
	/* An allocation after each of its two steps, and a free after its first one */
	*inst_child(inst, 0) -= 3;
	KUNIT_EXPECT_EQ(test, -EAGAIN, llfree_child_stable(llf, FIRST));
	*inst_row(inst, 2) |= 7;
	KUNIT_EXPECT_EQ(test, CHILD - 3, llfree_child_stable(llf, FIRST));
	*inst_row(inst, 2) &= ~3ULL;
	KUNIT_EXPECT_EQ(test, -EAGAIN, llfree_child_stable(llf, FIRST));
	KUNIT_EXPECT_EQ(test, CHILD, llfree_child_stable(llf, FIRST + CHILD));
}

/* Any allocation ends the reported state of a child. */
static void child_reported(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, TREE, LLFREE_INIT_FREE, 0);
	struct llfree *llf = &inst->llf;
	struct llfree_child child;
	unsigned int how;
	u64 claimed;

	for (how = 0; how < 5; how++) {
		inst_set_reported(test, inst, FIRST);
		inst_set_view(test, inst, FIRST, LLFREE_VIEW_CMA);
		KUNIT_ASSERT_EQ(test, 0, llfree_child(llf, FIRST, &child));
		KUNIT_EXPECT_TRUE(test, child.reported);
		inst_check(test, inst);

		switch (how) {
		case 0:
			inst_alloc_view(test, inst, 0, LLFREE_VIEW_CMA);
			break;
		case 1:
			inst_alloc_view(test, inst, 9, LLFREE_VIEW_CMA);
			break;
		case 2:
			inst_alloc_view(test, inst, 7, LLFREE_VIEW_CMA);
			break;
		case 3:
			inst_claim(test, inst, FIRST + 8, 2, 0);
			break;
		case 4:
			claimed = inst_claim_row(test, inst, FIRST, 6, 0);
			KUNIT_EXPECT_EQ(test, claimed, 6);
			break;
		}
		KUNIT_ASSERT_EQ(test, 0, llfree_child(llf, FIRST, &child));
		KUNIT_EXPECT_LT(test, child.free, CHILD);
		KUNIT_EXPECT_FALSE(test, child.reported);

		/* A free does not bring the state back. */
		inst_free_rest(test, inst);
		KUNIT_ASSERT_EQ(test, 0, llfree_child(llf, FIRST, &child));
		KUNIT_EXPECT_FALSE(test, child.reported);
		inst_set_view(test, inst, FIRST, LLFREE_VIEW_NORMAL);
		inst_check(test, inst);
	}
}

/*
 * After a failed allocation, llfree_may_have_order() is false until a free makes
 * such a block. If it were always true, reclaim and compaction would not end.
 */
static void may_have_order(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, TREE, LLFREE_INIT_FREE, 1);
	struct llfree *llf = &inst->llf;
	unsigned long i;
	int order, view;

	for (order = 0; order < LLFREE_NR_ORDERS; order++)
		KUNIT_EXPECT_TRUE(test, llfree_may_have_order(llf, order, 0));

	/* Every second frame is free. */
	KUNIT_ASSERT_EQ(test, TREE, inst_alloc_all(test, inst, 0, 0, NULL));
	for (i = 0; i < TREE; i += 64)
		inst_free_batch(test, inst, 0, FIRST + i, 0x5555555555555555ULL);
	for (order = LLFREE_MAX_ORDER; order; order--) {
		KUNIT_EXPECT_EQ(test, -ENOMEM, inst_alloc(test, inst, 0, order, 0));
		for (i = 0; i < LLFREE_NR_ORDERS; i++)
			KUNIT_EXPECT_EQ(test, (int)i < order,
					llfree_may_have_order(llf, i, 0));
	}
	/* No allocation failed in other views. */
	for (view = 1; view < LLFREE_ALLOC_VIEWS; view++)
		KUNIT_EXPECT_TRUE(test, llfree_may_have_order(llf, 9, view));

	/* A free that makes no block of two frames changes nothing. */
	KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst, FIRST + 64, 0, 0));
	inst_free(test, inst, 0, FIRST + 64, 0);
	KUNIT_EXPECT_FALSE(test, llfree_may_have_order(llf, 1, 0));

	/* Free the rest of ever larger blocks. */
	for (order = 1; order < LLFREE_NR_ORDERS; order++) {
		for (i = 1UL << (order - 1); i < 1UL << order; i++) {
			if (model_all_free(&inst->model, FIRST + i, 1, 0))
				continue;
			inst_free(test, inst, 0, FIRST + i, 0);
		}
		KUNIT_EXPECT_EQ(test, order, llfree_block_order(llf, FIRST));
		KUNIT_EXPECT_TRUE_MSG(test, llfree_may_have_order(llf, order, 0),
				      "order %d", order);
		if (order < LLFREE_MAX_ORDER)
			KUNIT_EXPECT_FALSE_MSG(test,
					       llfree_may_have_order(llf, order + 1, 0),
					       "order %d", order + 1);
	}
	KUNIT_EXPECT_GE(test, inst_alloc(test, inst, 0, LLFREE_MAX_ORDER, 0), 0);
	/* If there is no block of two frames, there is no larger one. */
	KUNIT_EXPECT_EQ(test, -ENOMEM, inst_alloc(test, inst, 0, 1, 0));
	for (order = 1; order < LLFREE_NR_ORDERS; order++)
		KUNIT_EXPECT_FALSE(test, llfree_may_have_order(llf, order, 0));
	inst_check(test, inst);
}

/* Frees of each order, and of rows, bring blocks of the order and of all below it. */
static void may_have_order_free(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, TREE, LLFREE_INIT_FREE, 4);
	struct llfree *llf = &inst->llf;
	unsigned int order, other;
	unsigned long i;

	inst_alloc_all(test, inst, 0, 0, NULL);
	for (order = 0; order < LLFREE_NR_ORDERS; order++) {
		KUNIT_EXPECT_EQ(test, -ENOMEM, inst_alloc(test, inst, 3, 1, 0));
		KUNIT_EXPECT_FALSE(test, llfree_may_have_order(llf, order ?: 1, 0));
		inst_free(test, inst, 0, FIRST, order);
		for (other = 0; other <= order; other++)
			KUNIT_EXPECT_TRUE(test, llfree_may_have_order(llf, other, 0));
		KUNIT_EXPECT_EQ(test, FIRST, inst_alloc(test, inst, 1, order, 0));
	}

	/* The last row completes the child, and the last child the pair. */
	for (i = 0; i < 2 * CHILD; i += LLFREE_ROW_FRAMES) {
		KUNIT_EXPECT_EQ(test, -ENOMEM, inst_alloc(test, inst, LLFREE_NO_SLOT,
							  LLFREE_MAX_ORDER, 0));
		KUNIT_EXPECT_FALSE(test, llfree_may_have_order(llf, LLFREE_MAX_ORDER, 0));
		inst_free_batch(test, inst, LLFREE_NO_SLOT, FIRST + i, ~0ULL);
	}
	KUNIT_EXPECT_TRUE(test, llfree_may_have_order(llf, LLFREE_MAX_ORDER, 0));
	KUNIT_EXPECT_EQ(test, FIRST, inst_alloc(test, inst, LLFREE_NO_SLOT,
						LLFREE_MAX_ORDER, 0));

	/* A free in one view brings no block to another one. */
	KUNIT_EXPECT_EQ(test, -ENOMEM, inst_alloc_view(test, inst, 1, LLFREE_VIEW_CMA));
	inst_free(test, inst, LLFREE_NO_SLOT, FIRST, LLFREE_CHILD_ORDER);
	KUNIT_EXPECT_FALSE(test, llfree_may_have_order(llf, 1, LLFREE_VIEW_CMA));
	inst_set_view(test, inst, FIRST, LLFREE_VIEW_CMA);
	KUNIT_EXPECT_TRUE(test, llfree_may_have_order(llf, LLFREE_CHILD_ORDER,
						      LLFREE_VIEW_CMA));
	KUNIT_EXPECT_EQ(test, FIRST, inst_alloc_view(test, inst, LLFREE_CHILD_ORDER,
						     LLFREE_VIEW_CMA));
	inst_check(test, inst);
}

/* A change of the view of a child can bring such a block, too. */
static void may_have_order_view_change(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, TREE, LLFREE_INIT_FREE, 0);
	struct llfree *llf = &inst->llf;
	const unsigned int view = LLFREE_VIEW_HIGHATOMIC;

	KUNIT_EXPECT_EQ(test, -ENOMEM, inst_alloc_view(test, inst, 4, view));
	KUNIT_EXPECT_FALSE(test, llfree_may_have_order(llf, 4, view));
	KUNIT_EXPECT_TRUE(test, llfree_may_have_order(llf, 4, 0));
	inst_set_view(test, inst, FIRST, view);
	KUNIT_EXPECT_TRUE(test, llfree_may_have_order(llf, 9, view));
	KUNIT_EXPECT_EQ(test, 2, inst_alloc_all(test, inst, 8, view, NULL));
	KUNIT_EXPECT_FALSE(test, llfree_may_have_order(llf, 8, view));
	/* A free into an isolated child changes nothing until its view changes. */
	inst_set_view(test, inst, FIRST, LLFREE_VIEW_ISOLATED);
	inst_free(test, inst, LLFREE_NO_SLOT, FIRST, 9);
	KUNIT_EXPECT_FALSE(test, llfree_may_have_order(llf, 8, view));
	inst_set_view(test, inst, FIRST, view);
	KUNIT_EXPECT_TRUE(test, llfree_may_have_order(llf, 8, view));
	inst_check(test, inst);
}

static struct kunit_case query_cases[] = {
	KUNIT_CASE_PARAM(range_queries, range_gen_params),
	KUNIT_CASE(count_orders),
	KUNIT_CASE(block_orders),
	KUNIT_CASE(child_stable),
	KUNIT_CASE(child_reported),
	KUNIT_CASE(may_have_order),
	KUNIT_CASE(may_have_order_free),
	KUNIT_CASE(may_have_order_view_change),
	{}
};

static struct kunit_suite query_suite = {
	.name = "llfree_query",
	.test_cases = query_cases,
};

kunit_test_suite(query_suite);
