// SPDX-License-Identifier: GPL-2.0
/*
 * Free of one block, also in other sizes than it was allocated in, and of blocks
 * that are not allocated, wholly or in part.
 */
#include "instance.h"

KUNIT_ARRAY_PARAM(order, inst_orders, inst_order_desc);

/* Orders of allocation and free */
struct shape {
	unsigned int alloc, free;
};

static const struct shape shapes[] = {
	{ 1, 0 }, { 6, 0 }, { 6, 5 }, { 7, 0 }, { 7, 6 }, { 8, 3 }, { 8, 7 },
	{ 9, 0 }, { 9, 6 }, { 9, 8 }, { 10, 0 }, { 10, 7 }, { 10, 9 },
	{ 0, 1 }, { 0, 6 }, { 5, 6 }, { 0, 7 }, { 6, 7 }, { 3, 8 }, { 7, 8 },
	{ 0, 9 }, { 6, 9 }, { 8, 9 }, { 0, 10 }, { 7, 10 }, { 9, 10 },
	{ 0, 11 }, { 10, 11 }, { 9, 12 }, { 10, 12 }, { 10, 13 },
};

static void shape_desc(const struct shape *shape, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "alloc %u free %u", shape->alloc,
		 shape->free);
}

KUNIT_ARRAY_PARAM(shape, shapes, shape_desc);

/* Callers may free in larger or smaller blocks than they allocated. */
static void free_shape(struct kunit *test)
{
	const struct shape *shape = test->param_value;
	unsigned long nr = 2 * TREE >> shape->free, i;
	const unsigned long first = 6 * TREE;
	struct instance *inst;

	inst = inst_new(test, first, 2 * TREE, LLFREE_INIT_FREE, 2);
	KUNIT_ASSERT_EQ(test, 2 * TREE >> shape->alloc,
			inst_alloc_all(test, inst, shape->alloc, 0, NULL));
	for (i = 0; i < nr; i++) {
		inst_free(test, inst, (int)(i % 3) - 1,
			  first + ((i * 37 % nr) << shape->free), shape->free);
		if (i == nr / 2)
			inst_check(test, inst);
	}
	inst_check(test, inst);
	KUNIT_EXPECT_EQ(test, 2 * TREE >> LLFREE_MAX_ORDER,
			inst_alloc_all(test, inst, LLFREE_MAX_ORDER, 0, NULL));
}

/* A block that is free already, or was never allocated, is refused. */
static void double_free(struct kunit *test)
{
	const unsigned int order = *(const unsigned int *)test->param_value;
	struct instance *inst = inst_new(test, FIRST, TREE, LLFREE_INIT_FREE, 1);
	struct snapshot *snap;
	long frame;

	frame = inst_alloc(test, inst, 0, order, 0);
	KUNIT_ASSERT_GE(test, frame, 0);
	inst_free(test, inst, 0, frame, order);
	snap = snapshot_new(test, inst);
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_free(&inst->llf, 0, frame, order,
						   &inst->delta));
	/* Never allocated */
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_free(&inst->llf, 0,
						   FIRST + TREE / 2, order,
						   &inst->delta));
	snapshot_check(test, inst, snap);
	inst_check(test, inst);
}

static const unsigned int free_orders[] = {
	0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13
};

KUNIT_ARRAY_PARAM(free_order, free_orders, inst_order_desc);

/* A block with one free frame is refused, wherever that frame is. */
static void free_partly_free(struct kunit *test)
{
	const unsigned int order = *(const unsigned int *)test->param_value;
	const unsigned long nr = 1UL << order, frame = 8 * TREE;
	struct instance *inst = inst_new(test, frame, 2 * TREE, LLFREE_INIT_FREE, 1);
	unsigned long hole;
	struct snapshot *snap;

	KUNIT_ASSERT_EQ(test, 2 * TREE, inst_alloc_all(test, inst, 0, 0, NULL));
	/* Last, first, and some between */
	for (hole = nr; hole; hole /= 3) {
		inst_free(test, inst, 0, frame + hole - 1, 0);
		snap = snapshot_new(test, inst);
		KUNIT_EXPECT_EQ_MSG(test, -EINVAL,
				    llfree_free(&inst->llf, 0, frame, order,
						&inst->delta),
				    "frame %lu of the block is free", hole - 1);
		snapshot_check(test, inst, snap);
		KUNIT_EXPECT_EQ(test, 0, inst_claim(test, inst,
						    frame + hole - 1, 0, 0));
	}
	inst_free(test, inst, 0, frame, order);
	KUNIT_EXPECT_EQ(test, nr, inst_free_frames(inst, LLFREE_VIEW_NORMAL));
	inst_check(test, inst);
}

/* Huge blocks may be freed in pieces of different orders, and by row. */
static void free_huge_in_pieces(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, 4 * TREE, LLFREE_INIT_FREE, 4);
	unsigned int huge, order;
	unsigned long i;
	long frame;

	for (huge = LLFREE_CHILD_ORDER; huge <= LLFREE_MAX_ORDER; huge++) {
		for (order = 0; order < huge; order++) {
			frame = inst_alloc(test, inst, order % 4, huge, 0);
			KUNIT_ASSERT_GE(test, frame, 0);
			for (i = 0; i < 1UL << huge; i += 1UL << order)
				inst_free(test, inst, LLFREE_NO_SLOT, frame + i, order);
			KUNIT_EXPECT_EQ(test, LLFREE_MAX_ORDER,
					llfree_block_order(&inst->llf, frame));
			inst_check(test, inst);
		}

		frame = inst_alloc(test, inst, 2, huge, 0);
		KUNIT_ASSERT_GE(test, frame, 0);
		for (i = 0; i < 1UL << huge; i += LLFREE_ROW_FRAMES)
			inst_free_batch(test, inst, 1, frame + i, ~0ULL);
		KUNIT_EXPECT_EQ(test, LLFREE_MAX_ORDER,
				llfree_block_order(&inst->llf, frame));
		inst_check(test, inst);

		/* Pieces of 1, 1, 2, 4, 8 frames and so on */
		frame = inst_alloc(test, inst, 3, huge, 0);
		KUNIT_ASSERT_GE(test, frame, 0);
		inst_free(test, inst, 2, frame, 0);
		for (order = 0; order < huge; order++)
			inst_free(test, inst, 3, frame + (1UL << order), order);
		KUNIT_EXPECT_EQ(test, LLFREE_MAX_ORDER,
				llfree_block_order(&inst->llf, frame));
		inst_check(test, inst);
	}
}

/*
 * llfree_free_fast() returns the view of the child, and whether the block was its
 * last one.
 */
static void free_fast_result(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, TREE, LLFREE_INIT_FREE, 2);
	const unsigned long frame = FIRST + CHILD;
	unsigned int view, order;
	unsigned long i, nr;

	for (view = 0; view < LLFREE_NR_VIEWS; view++) {
		for (order = 0; order <= LLFREE_CHILD_ORDER; order++) {
			nr = 1UL << order;
			KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst, frame,
							    LLFREE_CHILD_ORDER, 0));
			inst_set_view(test, inst, frame, view);
			for (i = 0; i < CHILD - nr; i += nr)
				KUNIT_ASSERT_EQ(test, view,
						llfree_free_fast(&inst->llf,
								 (int)(i % 3) - 1,
								 frame + i, order));
			KUNIT_ASSERT_EQ(test, view | LLFREE_FREED_WHOLE,
					llfree_free_fast(&inst->llf, 1, frame + i,
							 order));
			inst->delta.frames[view] += CHILD;
			inst->delta.huge[view]++;
			model_mark(&inst->model, frame, CHILD, false);
			inst_check(test, inst);
			inst_set_view(test, inst, frame, LLFREE_VIEW_NORMAL);
		}
	}
}

/* llfree_free_rest() frees the allocated frames of a block, and no others. */
static void free_rest(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, TREE, LLFREE_INIT_FREE, 2);
	struct llfree *llf = &inst->llf;

	KUNIT_EXPECT_EQ(test, 0, llfree_free_rest(llf, LLFREE_NO_SLOT, FIRST,
						  LLFREE_MAX_ORDER, &inst->delta));
	KUNIT_EXPECT_EQ(test, 0, llfree_free_rest(llf, LLFREE_NO_SLOT, FIRST, 3, NULL));
	inst_check(test, inst);

	KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst, FIRST, 4, 0));
	KUNIT_EXPECT_EQ(test, 4, llfree_free_rest(llf, LLFREE_NO_SLOT, FIRST + 4, 2,
						  &inst->delta));
	model_mark(&inst->model, FIRST + 4, 4, false);
	inst_check(test, inst);
	KUNIT_EXPECT_EQ(test, 12, llfree_free_rest(llf, 1, FIRST, 7, &inst->delta));
	model_mark(&inst->model, FIRST, 4, false);
	model_mark(&inst->model, FIRST + 8, 8, false);
	inst_check(test, inst);
}

static struct kunit_case free_cases[] = {
	KUNIT_CASE_PARAM(free_shape, shape_gen_params),
	KUNIT_CASE_PARAM(double_free, order_gen_params),
	KUNIT_CASE_PARAM(free_partly_free, free_order_gen_params),
	KUNIT_CASE(free_huge_in_pieces),
	KUNIT_CASE(free_fast_result),
	KUNIT_CASE(free_rest),
	{}
};

static struct kunit_suite free_suite = {
	.name = "llfree_free",
	.test_cases = free_cases,
};

kunit_test_suite(free_suite);
