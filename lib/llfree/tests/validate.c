// SPDX-License-Identifier: GPL-2.0
/* llfree_validate() finds every kind of corruption. */
#include "instance.h"

static void break_row(struct instance *inst)
{
	*inst_row(inst, 10) ^= 1;
}

static void break_row_free(struct instance *inst)
{
	*inst_row(inst, LLFREE_CHILD_ROWS) = 0;
}

static void break_row_isolated(struct instance *inst)
{
	*inst_row(inst, 12 * LLFREE_CHILD_ROWS) ^= BIT_ULL(9);
}

/* The bits of frames outside the range, but not the counters, say that they are free. */
static void break_row_before(struct instance *inst)
{
	*inst_row(inst, 0) ^= 1;
}

static void break_row_after(struct instance *inst)
{
	*inst_row(inst, tree_row(&inst->llf, 2) - 1) ^= BIT_ULL(63);
}

static void break_child(struct instance *inst)
{
	(*inst_child(inst, 1))--;
}

static void break_child_more(struct instance *inst)
{
	(*inst_child(inst, 15))++;
}

static void break_child_above(struct instance *inst)
{
	*inst_child(inst, 9) = CHILD + 1;
}

static void break_child_view(struct instance *inst)
{
	*inst_child(inst, 2) |= LLFREE_VIEW_ISOLATED << CHILD_VIEW_SHIFT;
}

static void break_child_cma(struct instance *inst)
{
	*inst_child(inst, 9) |= LLFREE_VIEW_CMA << CHILD_VIEW_SHIFT;
}

static void break_reported(struct instance *inst)
{
	*inst_child(inst, 1) |= CHILD_REPORTED;
}

/* Bit and counters agree, but the frame is not in the range. */
static void break_outside(struct instance *inst)
{
	*inst_row(inst, 0) &= ~1ULL;
	(*inst_child(inst, 0))++;
	*inst_tree(inst, 0, 0) += BIT(TREE_FREE_SHIFT);
}

static void break_outside_end(struct instance *inst)
{
	*inst_row(inst, tree_row(&inst->llf, 2) - 1) &= ~BIT_ULL(63);
	(*inst_child(inst, 15))++;
	*inst_tree(inst, 0, 1) += BIT(TREE_FREE_SHIFT);
}

static void break_tree_less(struct instance *inst)
{
	*inst_tree(inst, 0, 1) -= BIT(TREE_FREE_SHIFT);
}

static void break_tree_more(struct instance *inst)
{
	*inst_tree(inst, 0, 0) += BIT(TREE_FREE_SHIFT);
}

static void break_tree_cma(struct instance *inst)
{
	*inst_tree(inst, LLFREE_VIEW_CMA, 1) += BIT(TREE_FREE_SHIFT);
}

static void break_tree_cma_less(struct instance *inst)
{
	*inst_tree(inst, LLFREE_VIEW_CMA, 1) -= BIT(TREE_FREE_SHIFT);
}

static void break_tree_highatomic(struct instance *inst)
{
	*inst_tree(inst, LLFREE_VIEW_HIGHATOMIC, 0) += BIT(TREE_FREE_SHIFT);
}

static void break_tree_class(struct instance *inst)
{
	*inst_tree(inst, 0, 1) &= ~TREE_CLASS_MASK;
	*inst_tree(inst, 0, 1) |= 5 << TREE_CLASS_SHIFT;
}

static void break_tree_class_max(struct instance *inst)
{
	*inst_tree(inst, 0, 1) &= ~TREE_CLASS_MASK;
	*inst_tree(inst, 0, 1) |= LLFREE_MAX_CLASSES << TREE_CLASS_SHIFT;
}

static void break_tree_no_class(struct instance *inst)
{
	*inst_tree(inst, 0, 1) |= LLFREE_CLASS_NONE << TREE_CLASS_SHIFT;
}

static void break_reserved(struct instance *inst)
{
	*inst_tree(inst, 0, 1) |= TREE_RESERVED;
}

static void break_not_reserved(struct instance *inst)
{
	*inst_tree(inst, 0, 0) &= ~TREE_RESERVED;
}

static void break_reserved_cma(struct instance *inst)
{
	*inst_tree(inst, LLFREE_VIEW_CMA, 0) |= TREE_RESERVED;
}

static void break_local_free(struct instance *inst)
{
	inst->locals[0].reserved[0] -= BIT_ULL(LOCAL_FREE_SHIFT);
}

static void break_local_free_more(struct instance *inst)
{
	inst->locals[0].reserved[0] += BIT_ULL(LOCAL_FREE_SHIFT);
}

static void break_local_lost(struct instance *inst)
{
	inst->locals[0].reserved[0] = 0;
}

static void break_local_twice(struct instance *inst)
{
	inst->locals[1].reserved[2] = local_make(0, frame_row(inst_base(inst)));
}

static void break_local_copied(struct instance *inst)
{
	inst->locals[1] = inst->locals[0];
}

struct corruption {
	const char *name;
	void (*corrupt)(struct instance *inst);
	/* The frames that it should report: a child, a tree, or one frame */
	unsigned long frame;
	unsigned long size;
};

#define CORRUPTION(_name, _frame, _size) \
	{ #_name, break_##_name, _frame, _size }

static const struct corruption corruptions[] = {
	CORRUPTION(row, FIRST + CHILD, CHILD),
	CORRUPTION(row_free, FIRST + CHILD, CHILD),
	CORRUPTION(row_isolated, FIRST + 12 * CHILD, CHILD),
	CORRUPTION(row_before, FIRST, CHILD),
	CORRUPTION(row_after, FIRST + 15 * CHILD, CHILD),
	CORRUPTION(child, FIRST + CHILD, CHILD),
	CORRUPTION(child_more, FIRST + 15 * CHILD, CHILD),
	CORRUPTION(child_above, FIRST + 9 * CHILD, CHILD),
	CORRUPTION(child_view, FIRST, TREE),
	CORRUPTION(child_cma, FIRST + TREE, TREE),
	CORRUPTION(reported, FIRST + CHILD, CHILD),
	CORRUPTION(outside, FIRST, 1),
	CORRUPTION(outside_end, FIRST + 2 * TREE - 1, 1),
	CORRUPTION(tree_less, FIRST + TREE, TREE),
	CORRUPTION(tree_more, FIRST, TREE),
	CORRUPTION(tree_cma, FIRST + TREE, TREE),
	CORRUPTION(tree_cma_less, FIRST + TREE, TREE),
	CORRUPTION(tree_highatomic, FIRST, TREE),
	CORRUPTION(tree_class, FIRST + TREE, TREE),
	CORRUPTION(tree_class_max, FIRST + TREE, TREE),
	CORRUPTION(tree_no_class, FIRST + TREE, TREE),
	CORRUPTION(reserved, FIRST + TREE, TREE),
	CORRUPTION(not_reserved, FIRST, TREE),
	CORRUPTION(reserved_cma, FIRST, TREE),
	CORRUPTION(local_free, FIRST, TREE),
	CORRUPTION(local_free_more, FIRST, TREE),
	CORRUPTION(local_lost, FIRST, TREE),
	CORRUPTION(local_twice, FIRST, TREE),
	CORRUPTION(local_copied, FIRST, TREE),
};

static void corruption_desc(const struct corruption *corruption, char *desc)
{
	strscpy(desc, corruption->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(corruption, corruptions, corruption_desc);

static void validate_finds(struct kunit *test)
{
	const struct corruption *corruption = test->param_value;
	struct llfree_fault fault = { };
	struct instance *inst;

	/*
	 * One tree that slot 0 reserved and one that is not reserved, neither all free,
	 * and something of each view
	 */
	inst = inst_new(test, FIRST + 1, 2 * TREE - 2, LLFREE_INIT_FREE, 2);
	KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst, FIRST + CHILD, 5, 0));
	KUNIT_ASSERT_EQ(test, FIRST, ALIGN_DOWN(inst_alloc(test, inst, 0, 0, 0),
						TREE));
	inst_set_view(test, inst, FIRST + 10 * CHILD, LLFREE_VIEW_CMA);
	inst_set_view(test, inst, FIRST + 12 * CHILD, LLFREE_VIEW_ISOLATED);
	inst_check(test, inst);

	corruption->corrupt(inst);
	KUNIT_EXPECT_EQ(test, -EUCLEAN, llfree_validate(&inst->llf, &fault));
	KUNIT_EXPECT_EQ(test, -EUCLEAN, llfree_validate(&inst->llf, NULL));
	KUNIT_ASSERT_NOT_NULL(test, fault.what);
	KUNIT_EXPECT_EQ_MSG(test, corruption->frame,
			    ALIGN_DOWN(fault.frame, corruption->size), "%s",
			    fault.what);
	KUNIT_EXPECT_NE_MSG(test, fault.expected, fault.found, "%s",
			    fault.what);
}

static struct kunit_case validate_cases[] = {
	KUNIT_CASE_PARAM(validate_finds, corruption_gen_params),
	{}
};

static struct kunit_suite validate_suite = {
	.name = "llfree_validate",
	.test_cases = validate_cases,
};

kunit_test_suite(validate_suite);
