// SPDX-License-Identifier: GPL-2.0
/* Invalid arguments of all operations: an error, and no change of the instance. */
#include "instance.h"

/* Operations with an invalid request allocate nothing. */
static void invalid_request(struct kunit *test)
{
	static const struct llfree_request bad[] = {
		{ .slot = -2 },
		{ .slot = INT_MIN },
		{ .slot = 2 },
		{ .slot = INT_MAX },
		{ .order = LLFREE_MAX_ORDER + 1 },
		{ .order = U8_MAX },
		{ .class = LLFREE_NR_CLASSES },
		{ .class = LLFREE_CLASS_NONE },
		{ .class = U8_MAX },
		{ .view = LLFREE_VIEW_ISOLATED },
		{ .view = LLFREE_NR_VIEWS },
		{ .view = U8_MAX },
		{ .flags = 0x80 }, { .flags = 0x8 },
	};
	struct instance *inst = inst_new(test, FIRST, TREE, LLFREE_INIT_FREE, 2);
	struct llfree_request req = { };
	u64 masks[LLFREE_CHILD_ROWS];
	struct snapshot *snap;
	unsigned int i;

	inst_alloc(test, inst, 0, 3, 0);
	snap = snapshot_new(test, inst);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		KUNIT_EXPECT_EQ_MSG(test, -EINVAL,
				    llfree_alloc(&inst->llf, &bad[i],
						 &inst->delta), "%u", i);
		KUNIT_EXPECT_EQ_MSG(test, -EINVAL,
				    llfree_alloc_batch(&inst->llf, &bad[i], 1,
						       masks, &inst->delta),
				    "%u", i);
		KUNIT_EXPECT_EQ_MSG(test, -EINVAL,
				    llfree_alloc_slow(&inst->llf, &bad[i],
						      &inst->delta),
				    "%u", i);
	}
	for (req.slot = LLFREE_NO_SLOT; req.slot < 1; req.slot++) {
		req.order = 0;
		KUNIT_EXPECT_EQ(test, -EINVAL,
				llfree_alloc_batch(&inst->llf, &req, 0, masks,
						   &inst->delta));
		req.order = LLFREE_ROW_ORDER + 1;
		KUNIT_EXPECT_EQ(test, -EINVAL,
				llfree_alloc_batch(&inst->llf, &req, 1, masks,
						   &inst->delta));
	}
	snapshot_check(test, inst, snap);
	inst_check(test, inst);
}

/* Operations with other invalid arguments fail, and change nothing. */
static void invalid_arguments(struct kunit *test)
{
	const unsigned long first = FIRST + 100, nr = 2 * TREE, end = first + nr;
	struct instance *inst = inst_new(test, first, nr, LLFREE_INIT_ALLOC, 2);
	struct llfree_delta *delta = &inst->delta;
	const unsigned long hole = FIRST + TREE + CHILD;
	struct llfree *llf = &inst->llf;
	struct llfree_child child;
	struct snapshot *snap;
	unsigned int order;
	u64 claimed;

	inst_free(test, inst, 0, hole, LLFREE_CHILD_ORDER);
	snap = snapshot_new(test, inst);

	for (order = 0; order < 70; order++) {
		/* Out of the range, in whole and in part */
		KUNIT_EXPECT_EQ(test, -EINVAL,
				llfree_free(llf, 0, 0, order, delta));
		KUNIT_EXPECT_EQ(test, -EINVAL,
				llfree_free(llf, 0, FIRST, order, delta));
		KUNIT_EXPECT_EQ(test, -EINVAL,
				llfree_free(llf, 0, first - 1, order, delta));
		KUNIT_EXPECT_EQ(test, -EINVAL,
				llfree_free(llf, 0, end, order, delta));
		KUNIT_EXPECT_EQ(test, -EINVAL,
				llfree_free(llf, 0, ULONG_MAX, order, delta));
		KUNIT_EXPECT_EQ(test, -EINVAL,
				llfree_free_fast(llf, 0, first - 1, order));
		KUNIT_EXPECT_EQ(test, -EINVAL, llfree_free_fast(llf, 0, end, order));
		KUNIT_EXPECT_EQ(test, -EINVAL,
				llfree_claim(llf, FIRST, order, 0, delta));
		KUNIT_EXPECT_EQ(test, -EINVAL,
				llfree_claim(llf, end, order, 0, delta));
		KUNIT_EXPECT_EQ(test, -EINVAL,
				llfree_claim(llf, ULONG_MAX, order, 0, delta));
		if (!order)
			continue;
		/* Not aligned */
		KUNIT_EXPECT_EQ(test, -EINVAL,
				llfree_free(llf, 0, FIRST + 2 * CHILD + 1, order,
					    delta));
		KUNIT_EXPECT_EQ(test, -EINVAL,
				llfree_free_fast(llf, 0, FIRST + 2 * CHILD + 1,
						 order));
		KUNIT_EXPECT_EQ(test, -EINVAL,
				llfree_claim(llf, hole + 1, order, 0,
					     delta));
	}
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_free(llf, 0, ALIGN_DOWN(end, 64),
						   6, delta));

	/* Free already, in whole and in part */
	for (order = 0; order <= LLFREE_CHILD_ORDER; order++) {
		KUNIT_EXPECT_EQ(test, -EINVAL,
				llfree_free(llf, 0, hole, order, delta));
		KUNIT_EXPECT_EQ(test, -EINVAL,
				llfree_free_fast(llf, 0, hole, order));
	}
	/* Allocated, but more than a child */
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_free_fast(llf, 0, FIRST + 2 * CHILD,
					 LLFREE_CHILD_ORDER + 1));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_free(llf, 0, FIRST + TREE,
						   LLFREE_MIN_TREE_ORDER, delta));

	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_claim(llf, FIRST + TREE,
						    LLFREE_MAX_ORDER + 1, 0, delta));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_claim(llf, BIT(63), 0, 0, delta));

	/* Slots and flags */
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_free(llf, 2, first, 0, delta));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_free(llf, -2, first, 0, delta));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_free(llf, INT_MAX, first, 0, delta));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_free_fast(llf, 2, first, 0));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_free_fast(llf, -2, first, 0));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_drain(llf, 2));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_drain(llf, INT_MAX));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_claim(llf, hole, 0, 0x80, delta));

	/* Rows */
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_free_batch(llf, 0, FIRST + 192, 0, delta));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_free_batch(llf, 0, FIRST + 193, 1, delta));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_free_batch(llf, 2, FIRST + 192, 1, delta));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_free_batch(llf, 0, FIRST + 64, ~0ULL, delta));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_free_batch(llf, 0, ALIGN_DOWN(end, 64), ~0ULL,
					  delta));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_free_batch(llf, 0, ALIGN(end, 64), 1, delta));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_free_batch(llf, 0, 0, 1, delta));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_claim_row(llf, 0, 1, 0, &claimed, delta));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_claim_row(llf, FIRST, 1, 0, &claimed, delta));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_claim_row(llf, hole + 1, 1, 0, &claimed,
					 delta));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_claim_row(llf, ALIGN(end, 64), 1, 0, &claimed,
					 delta));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_claim_row(llf, hole, 1, 0x80, &claimed,
					 delta));

	/* Children and trees */
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_set_view(llf, end, LLFREE_VIEW_CMA, delta));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_set_view(llf, first - 1, LLFREE_VIEW_CMA, delta));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_set_view(llf, ULONG_MAX, LLFREE_VIEW_CMA, delta));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_set_view(llf, first, LLFREE_NR_VIEWS, delta));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_set_view(llf, first, -1, delta));
	KUNIT_EXPECT_EQ(test, -EALREADY,
			llfree_set_view(llf, first, LLFREE_VIEW_NORMAL, delta));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_child(llf, end, &child));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_child(llf, first - 1, &child));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_child_stable(llf, first - 1));

	snapshot_check(test, inst, snap);
	inst_check(test, inst);
}

/* Blocks that are not wholly in the range, not aligned, or larger than the range */
static void invalid_free(struct kunit *test)
{
	const unsigned long first = 10 * TREE, nr = 4 * TREE;
	const struct {
		unsigned long frame;
		unsigned int order;
	} bad[] = {
		/* Free in both rounds */
		{ first, 0 },
		{ first + nr, 0 }, { first - 1, 0 }, { 0, 0 },
		{ ULONG_MAX, 0 }, { BIT(63), 10 }, { first - TREE, 12 },
		{ first + 1, 1 }, { first + 64, 7 }, { first + CHILD, 10 },
		{ 0, 14 }, { 0, 33 }, { 0, 34 }, { 0, 63 }, { 0, 64 }, { 0, 65 },
		{ 0, UINT_MAX },
	};
	struct instance *inst = inst_new(test, first, nr, LLFREE_INIT_FREE, 4);
	struct llfree *llf = &inst->llf;
	struct snapshot *snap;
	unsigned int round, i;

	/* First all frames are free, then all but the first one are allocated. */
	for (round = 0; round < 2; round++) {
		snap = snapshot_new(test, inst);
		for (i = 0; i < ARRAY_SIZE(bad); i++) {
			KUNIT_EXPECT_EQ_MSG(test, -EINVAL,
					    llfree_free(llf, LLFREE_NO_SLOT, bad[i].frame,
							bad[i].order, &inst->delta),
					    "frame %lu order %u", bad[i].frame,
					    bad[i].order);
			KUNIT_EXPECT_EQ_MSG(test, -EINVAL,
					    llfree_free_fast(llf, LLFREE_NO_SLOT,
							     bad[i].frame,
							     bad[i].order),
					    "frame %lu order %u", bad[i].frame,
					    bad[i].order);
		}
		snapshot_check(test, inst, snap);
		if (round)
			break;
		KUNIT_ASSERT_EQ(test, nr, inst_alloc_all(test, inst, 0, 0, NULL));
		inst_free(test, inst, LLFREE_NO_SLOT, first, 0);
	}
	inst_check(test, inst);
}

/* Rows of which frames are outside the range or free, and rows far away */
static void invalid_free_batch(struct kunit *test)
{
	const unsigned long row = LLFREE_ROW_FRAMES, first = row + 6;
	const struct {
		unsigned long frame;
		u64 mask;
	} bad[] = {
		{ row, ~0ULL }, { row, BIT_ULL(5) }, { row, BIT_ULL(26) },
		{ row, 0 }, { row + 6, 1 }, { row, 0x3 << 10 },
		/* The number of the last frame overflows. */
		{ 0UL - row, ~0ULL }, { 0UL - row, 1 },
		{ BIT(63), 1 }, { 2 * row, 1 }, { 0, ~0ULL },
	};
	struct instance *inst = inst_new(test, first, 20, LLFREE_INIT_ALLOC, 1);
	struct snapshot *snap;
	unsigned int i;

	inst_free_batch(test, inst, 0, row, BIT_ULL(11));
	snap = snapshot_new(test, inst);
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		KUNIT_EXPECT_EQ_MSG(test, -EINVAL,
				    llfree_free_batch(&inst->llf, LLFREE_NO_SLOT,
						      bad[i].frame, bad[i].mask,
						      &inst->delta),
				    "%u", i);
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_free_batch(&inst->llf, -2, row, BIT_ULL(6),
							 &inst->delta));
	snapshot_check(test, inst, snap);
	inst_free_batch(test, inst, 0, row, GENMASK_ULL(25, 6) & ~BIT_ULL(11));
	KUNIT_EXPECT_EQ(test, GENMASK_ULL(25, 6), llfree_row_mask(&inst->llf, row));
	inst_check(test, inst);
}

static void invalid_free_rest(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, TREE, LLFREE_INIT_ALLOC, 2);
	struct llfree_delta *delta = &inst->delta;
	struct llfree *llf = &inst->llf;
	struct snapshot *snap;

	snap = snapshot_new(test, inst);
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_free_rest(llf, LLFREE_NO_SLOT, FIRST,
							LLFREE_MAX_ORDER + 1, delta));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_free_rest(llf, LLFREE_NO_SLOT,
							FIRST + 1, 1, delta));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_free_rest(llf, LLFREE_NO_SLOT,
							FIRST - CHILD, 9, delta));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_free_rest(llf, LLFREE_NO_SLOT,
							FIRST + TREE, 0, delta));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_free_rest(llf, 99, FIRST, 0, delta));
	snapshot_check(test, inst, snap);
}

static struct kunit_case invalid_cases[] = {
	KUNIT_CASE(invalid_request),
	KUNIT_CASE(invalid_arguments),
	KUNIT_CASE(invalid_free),
	KUNIT_CASE(invalid_free_batch),
	KUNIT_CASE(invalid_free_rest),
	{}
};

static struct kunit_suite invalid_suite = {
	.name = "llfree_invalid",
	.test_cases = invalid_cases,
};

kunit_test_suite(invalid_suite);
