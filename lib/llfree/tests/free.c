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
	{ 0, 11 }, { 9, 12 }, { 10, 12 }, { 10, 13 },
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

/* A block with one free frame is refused, wherever that frame is. */
static void free_partly_free(struct kunit *test)
{
	const unsigned int order = *(const unsigned int *)test->param_value;
	const unsigned long nr = 1UL << order, frame = FIRST + TREE / 2;
	struct instance *inst = inst_new(test, FIRST, TREE, LLFREE_INIT_FREE, 1);
	unsigned long hole;
	struct snapshot *snap;

	KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst, frame, order, 0));
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
	inst_check(test, inst);
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
	KUNIT_CASE_PARAM(free_partly_free, order_gen_params),
	KUNIT_CASE(free_rest),
	{}
};

static struct kunit_suite free_suite = {
	.name = "llfree_free",
	.test_cases = free_cases,
};

kunit_test_suite(free_suite);
