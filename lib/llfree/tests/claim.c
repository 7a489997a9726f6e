// SPDX-License-Identifier: GPL-2.0
/* llfree_claim() and llfree_claim_row(): allocation of given frames. */
#include "instance.h"

KUNIT_ARRAY_PARAM(range, inst_ranges, inst_range_desc);

KUNIT_ARRAY_PARAM(order, inst_orders, inst_order_desc);

/* Claims of each frame of a range: the first one succeeds, the second one fails. */
static void range_claim(struct kunit *test)
{
	const struct span *range = test->param_value;
	unsigned long frame, end = range->first + range->nr;
	struct instance *inst;

	inst = inst_new(test, range->first, range->nr, LLFREE_INIT_FREE, 1);
	for (frame = range->first; frame < end; frame++) {
		KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst, frame, 0, 0));
		KUNIT_ASSERT_EQ(test, -EBUSY, inst_claim(test, inst, frame, 0, 0));
	}
	KUNIT_EXPECT_EQ(test, 0, inst_free_frames(inst, LLFREE_VIEW_NORMAL));
	KUNIT_EXPECT_EQ(test, -ENOMEM, inst_alloc(test, inst, LLFREE_NO_SLOT, 0, 0));
	inst_check(test, inst);
	for (frame = range->first; frame < end; frame++)
		inst_free(test, inst, LLFREE_NO_SLOT, frame, 0);
	inst_check(test, inst);
}

/* A claim allocates exactly this block, or fails if part of it is not free. */
static void order_claim(struct kunit *test)
{
	const unsigned int order = *(const unsigned int *)test->param_value;
	const unsigned long nr = 1UL << order;
	struct instance *inst = inst_new(test, FIRST, 2 * TREE,
					 LLFREE_INIT_FREE, 2);
	const unsigned long frame = FIRST + TREE / 2, last = frame + nr - 1;
	struct snapshot *snap;

	/* A claim also works in a tree that a slot reserved. */
	inst_alloc(test, inst, 0, 0, 0);
	KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst, frame, order, 0));
	KUNIT_EXPECT_EQ(test, -1, llfree_block_order(&inst->llf, frame));
	inst_check(test, inst);

	/* All of it is allocated, then only its last frame. */
	snap = snapshot_new(test, inst);
	KUNIT_EXPECT_EQ(test, -EBUSY, inst_claim(test, inst, frame, order, 0));
	snapshot_check(test, inst, snap);
	if (order)
		inst_free(test, inst, 1, frame, order - 1);
	if (order > 1)
		inst_free_batch(test, inst, 1,
				ALIGN_DOWN(last - 1, LLFREE_ROW_FRAMES),
				BIT_ULL((last - 1) % LLFREE_ROW_FRAMES));
	KUNIT_EXPECT_EQ(test, -EBUSY, inst_claim(test, inst, frame, order, 0));
	inst_check(test, inst);
	inst_free_rest(test, inst);

	/* In isolated children */
	inst_set_view(test, inst, last, LLFREE_VIEW_ISOLATED);
	KUNIT_EXPECT_EQ(test, -EBUSY, inst_claim(test, inst, frame, order, 0));
	inst_check(test, inst);
	inst_set_view(test, inst, frame, LLFREE_VIEW_ISOLATED);
	KUNIT_EXPECT_EQ(test, 0, inst_claim(test, inst, frame, order,
					    LLFREE_CLAIM_HIDDEN));
	inst_check(test, inst);
	inst_free(test, inst, LLFREE_NO_SLOT, frame, order);

	/* In children of any other view */
	inst_set_view(test, inst, frame, LLFREE_VIEW_CMA);
	inst_set_view(test, inst, last, LLFREE_VIEW_CMA);
	KUNIT_EXPECT_EQ(test, 0, inst_claim(test, inst, frame, order, 0));
	inst_check(test, inst);
	inst_free_rest(test, inst);
	inst_check(test, inst);
}

/*
 * A claim in a tree whose permits a slot holds makes the counter of the tree
 * negative: a debt, until a drain of the slot pays it.
 */
static void claim_debt_is_paid(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, TREE, LLFREE_INIT_FREE, 2);
	struct llfree *llf = &inst->llf;
	unsigned long child;
	s32 debt;

	inst_alloc(test, inst, 0, 0, 0);
	for (child = 1; child < (LLFREE_MIN_TREE_FRAMES / LLFREE_CHILD_FRAMES); child++)
		KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst,
						    FIRST + child * CHILD,
						    LLFREE_CHILD_ORDER, 0));
	debt = tree_free(*inst_tree(inst, LLFREE_VIEW_NORMAL, 0));
	KUNIT_EXPECT_EQ(test, debt, -7 * (s32)CHILD);
	inst_check(test, inst);
	/* The slot holds more permits than there are free frames. */
	KUNIT_EXPECT_EQ(test, 511, inst_alloc_all(test, inst, 0, 0, NULL));
	inst_check(test, inst);
	KUNIT_EXPECT_EQ(test, 0, llfree_drain(llf, -1));
	KUNIT_EXPECT_EQ(test, 0, tree_free(*inst_tree(inst, LLFREE_VIEW_NORMAL, 0)));
	inst_free_rest(test, inst);
	inst_check(test, inst);
}

/* A negative counter of a tree does not hide frames that are freed later. */
static void claim_debt_and_free(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, TREE, LLFREE_INIT_FREE, 2);
	unsigned long frame, nr;
	int slot;

	/* The slot takes all permits, and the claims take the frames. */
	KUNIT_ASSERT_GE(test, inst_alloc(test, inst, 0, LLFREE_CHILD_ORDER, 0), 0);
	KUNIT_ASSERT_TRUE(test, inst_tree_reserved(test, inst, FIRST));
	for (frame = FIRST; frame < FIRST + TREE; frame++)
		inst_claim(test, inst, frame, 0, 0);
	KUNIT_EXPECT_EQ(test, 0, inst_free_frames(inst, LLFREE_VIEW_NORMAL));
	KUNIT_EXPECT_LT(test, tree_free(*inst_tree(inst, LLFREE_VIEW_NORMAL, 0)), 0);
	inst_check(test, inst);
	KUNIT_EXPECT_EQ(test, -ENOMEM, inst_alloc(test, inst, 0, 0, 0));
	KUNIT_EXPECT_EQ(test, -ENOMEM, inst_alloc(test, inst, 1, 0, 0));
	inst_check(test, inst);

	for (slot = 1; slot >= 0; slot--) {
		for (frame = FIRST; frame < FIRST + TREE; frame += 2)
			inst_free(test, inst, slot, frame, 0);
		for (nr = 0; inst_alloc(test, inst, slot, 0, 0) >= 0;)
			nr++;
		KUNIT_EXPECT_EQ(test, TREE / 2, nr);
		inst_check(test, inst);
	}
}

/*
 * A slot can have more permits than its tree has frames, since claims leave the debt
 * with the tree, but not more than its word can hold.
 */
static void claim_again_and_again(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, TREE, LLFREE_INIT_FREE, 2);
	unsigned long frame, round;

	frame = inst_alloc(test, inst, 0, 0, 0);
	KUNIT_ASSERT_EQ(test, FIRST, frame);
	inst_free(test, inst, 0, frame, 0);
	KUNIT_ASSERT_TRUE(test, inst_tree_reserved(test, inst, FIRST));
	for (round = 0; round < 40; round++) {
		for (frame = FIRST; frame < FIRST + TREE; frame += 2 * CHILD)
			KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst, frame,
							    LLFREE_MAX_ORDER, 0));
		KUNIT_ASSERT_EQ(test, -ENOMEM, inst_alloc(test, inst, 1, 0, 0));
		inst_free(test, inst, 0, FIRST, LLFREE_MIN_TREE_ORDER);
		inst_check(test, inst);
	}
	KUNIT_EXPECT_EQ(test, TREE, inst_alloc_all(test, inst, 0, 0, NULL));
	inst_check(test, inst);
}

static void claim_row(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST + 10, TREE - 20,
					 LLFREE_INIT_FREE, 1);
	const unsigned long row = FIRST + 3 * LLFREE_ROW_FRAMES;
	u64 claimed = 1;

	/* Frames outside the range are not free. */
	KUNIT_EXPECT_EQ(test, ~0ULL << 10,
			inst_claim_row(test, inst, FIRST, ~0ULL, 0));
	KUNIT_EXPECT_EQ(test, ~0ULL >> 10,
			inst_claim_row(test, inst, FIRST + TREE - 64, ~0ULL, 0));

	KUNIT_EXPECT_EQ(test, 0xf0f0, inst_claim_row(test, inst, row, 0xf0f0, 0));
	KUNIT_EXPECT_EQ(test, 0x0f00, inst_claim_row(test, inst, row, 0x0ff0, 0));
	KUNIT_EXPECT_EQ(test, 0, inst_claim_row(test, inst, row, 0xfff0, 0));
	KUNIT_EXPECT_EQ(test, 0, inst_claim_row(test, inst, row, 0, 0));
	KUNIT_EXPECT_EQ(test, ~0ULL & ~0xfff0ULL,
			inst_claim_row(test, inst, row, ~0ULL, 0));

	inst_set_view(test, inst, row, LLFREE_VIEW_ISOLATED);
	KUNIT_EXPECT_EQ(test, -EBUSY, llfree_claim_row(&inst->llf, row + 64, 1,
						       0, &claimed, NULL));
	KUNIT_EXPECT_EQ(test, claimed, 0);
	KUNIT_EXPECT_EQ(test, BIT_ULL(63),
			inst_claim_row(test, inst, row + 64, BIT_ULL(63),
				       LLFREE_CLAIM_HIDDEN));
	inst_check(test, inst);
	inst_set_view(test, inst, row, LLFREE_VIEW_NORMAL);
	inst_free_rest(test, inst);
	inst_check(test, inst);
}

static struct kunit_case claim_cases[] = {
	KUNIT_CASE_PARAM(range_claim, range_gen_params),
	KUNIT_CASE_PARAM(order_claim, order_gen_params),
	KUNIT_CASE(claim_debt_is_paid),
	KUNIT_CASE(claim_debt_and_free),
	KUNIT_CASE(claim_again_and_again),
	KUNIT_CASE(claim_row),
	{}
};

static struct kunit_suite claim_suite = {
	.name = "llfree_claim",
	.test_cases = claim_cases,
};

kunit_test_suite(claim_suite);
