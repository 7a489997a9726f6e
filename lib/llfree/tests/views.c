// SPDX-License-Identifier: GPL-2.0
/* Views of children: which allocations find them, and changes of the view. */
#include "instance.h"

KUNIT_ARRAY_PARAM(range, inst_ranges, inst_range_desc);

/* All children of a range change to each view in turn. */
static void range_views(struct kunit *test)
{
	const struct span *range = test->param_value;
	unsigned long frame, end = range->first + range->nr;
	struct instance *inst;
	unsigned int view;

	inst = inst_new(test, range->first, range->nr, LLFREE_INIT_FREE, range->slots);
	for (view = LLFREE_VIEW_CMA; view < LLFREE_NR_VIEWS; view++) {
		for (frame = range->first; frame < end; frame = llfree_next_child(frame)) {
			inst_set_view(test, inst, frame, view);
			/* The second change finds that it has this view. */
			inst_set_view(test, inst, frame, view);
		}
		inst_check(test, inst);
		KUNIT_EXPECT_EQ(test, range->nr, inst_free_frames(inst, view));
		KUNIT_EXPECT_EQ(test, -ENOMEM, inst_alloc(test, inst, LLFREE_NO_SLOT,
							  0, 0));
		if (view == LLFREE_VIEW_ISOLATED)
			break;
		KUNIT_EXPECT_EQ(test, range->nr, inst_alloc_all(test, inst, 0, view,
								NULL));
		inst_check(test, inst);
		inst_free_rest(test, inst);
	}
	for (frame = range->first; frame < end; frame = llfree_next_child(frame))
		inst_set_view(test, inst, frame, LLFREE_VIEW_NORMAL);
	KUNIT_EXPECT_EQ(test, range->nr, inst_alloc_all(test, inst, 0, LLFREE_VIEW_NORMAL,
							NULL));
	inst_check(test, inst);
}

/* An allocation finds the children of its view and no others. */
static void view_allocs(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, 2 * TREE,
					 LLFREE_INIT_FREE, 2);
	unsigned long *frames = area_new(test, 2 * TREE * sizeof(*frames));
	unsigned long nr, i;
	unsigned int view;

	for (i = 0; i < 16; i++)
		inst_set_view(test, inst, FIRST + i * CHILD, i % 4);
	inst_check(test, inst);
	for (view = 0; view < LLFREE_ALLOC_VIEWS; view++) {
		KUNIT_EXPECT_EQ(test, inst_free_frames(inst, view), 4 * CHILD);
		/* Neighbours are in other views. */
		KUNIT_EXPECT_EQ(test, -ENOMEM,
				inst_alloc_view(test, inst, LLFREE_MAX_ORDER,
						view));
		nr = inst_alloc_all(test, inst, 3, view, frames);
		KUNIT_EXPECT_EQ(test, nr, 4 * CHILD / 8);
		KUNIT_EXPECT_EQ(test, inst_free_frames(inst, view), 0);
		inst_check(test, inst);
		inst_free_all(test, inst, 3, frames, nr);
		KUNIT_EXPECT_EQ(test, inst_free_frames(inst, view), 4 * CHILD);
		inst_check(test, inst);
	}
	KUNIT_EXPECT_EQ(test, inst_free_frames(inst, LLFREE_VIEW_ISOLATED), 4 * CHILD);
	/* No block is in two views. */
	KUNIT_EXPECT_EQ(test, LLFREE_CHILD_ORDER,
			llfree_block_order(&inst->llf, FIRST + 3 * CHILD));
	for (i = 0; i < 16; i++)
		inst_set_view(test, inst, FIRST + i * CHILD, LLFREE_VIEW_CMA);
	KUNIT_EXPECT_EQ(test, 8, inst_alloc_all(test, inst, LLFREE_MAX_ORDER,
						LLFREE_VIEW_CMA, NULL));
	inst_check(test, inst);
}

/* Free a block that was allocated when the child had another view. */
static void view_change_in_use(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, TREE, LLFREE_INIT_FREE, 1);
	const unsigned long frame = FIRST + 5 * 64;
	unsigned int from, to;
	unsigned long before;

	for (from = 0; from < LLFREE_ALLOC_VIEWS; from++) {
		for (to = 0; to < LLFREE_NR_VIEWS; to++) {
			inst_set_view(test, inst, FIRST + 5, from);
			KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst, frame,
							    5, 0));
			inst_set_view(test, inst, FIRST + 77, to);
			before = inst_free_frames(inst, to);
			inst_free(test, inst, 0, frame, 5);
			KUNIT_EXPECT_EQ(test, inst_free_frames(inst, to), before + 32);
			inst_check(test, inst);
		}
	}
}

/* No allocation takes frames of isolated children, even if slots hold permits. */
static void isolated_is_kept(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, 2 * TREE,
					 LLFREE_INIT_FREE, 2);
	unsigned long *frames = area_new(test, 2 * TREE * sizeof(*frames));
	unsigned long nr = 0, i;
	unsigned int order;

	/* Both slots hold permits of the children that will be isolated. */
	for (i = 0; i < 1000; i++)
		frames[nr++] = inst_alloc(test, inst, i % 2, 0, 0);
	for (i = 0; i < 16; i++)
		inst_set_view(test, inst, FIRST + i * CHILD,
			      LLFREE_VIEW_ISOLATED);
	KUNIT_EXPECT_EQ(test, 2 * TREE - 1000,
			inst_free_frames(inst, LLFREE_VIEW_ISOLATED));
	inst_check(test, inst);

	for (i = 0; i < nr; i++) {
		inst_free(test, inst, (int)(i % 3) - 1, frames[i], 0);
		if (i % 100)
			continue;
		for (order = 0; order < LLFREE_NR_ORDERS; order++) {
			KUNIT_EXPECT_EQ(test, -ENOMEM,
					inst_alloc(test, inst, i % 2, order, 0));
			KUNIT_EXPECT_EQ(test, -ENOMEM,
					inst_alloc(test, inst, LLFREE_NO_SLOT,
						   order, 1));
			KUNIT_EXPECT_EQ(test, -ENOMEM,
					inst_alloc_view(test, inst, order,
							LLFREE_VIEW_CMA));
		}
	}
	inst_check(test, inst);
	KUNIT_EXPECT_EQ(test, CHILD, llfree_child_stable(&inst->llf, FIRST));
	llfree_drain(&inst->llf, -1);
	KUNIT_EXPECT_EQ(test, -ENOMEM, inst_alloc(test, inst, 0, 0, 0));
	inst_check(test, inst);

	/* Half of the children get a view again that allocations find. */
	for (i = 0; i < 8; i++)
		inst_set_view(test, inst, FIRST + i * CHILD,
			      LLFREE_VIEW_NORMAL);
	KUNIT_EXPECT_EQ(test, 4, inst_alloc_all(test, inst, LLFREE_MAX_ORDER, 0,
						NULL));
	inst_check(test, inst);
}

/* Frames that were allocated before their child was isolated stay hidden when freed. */
static void freed_into_isolated(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, 4 * TREE, LLFREE_INIT_FREE, 4);
	const unsigned long end = FIRST + 4 * TREE;
	struct llfree_request req = { };
	struct llfree *llf = &inst->llf;
	u64 masks[LLFREE_CHILD_ROWS], mask;
	unsigned int order, view;
	unsigned long frame, nr;

	KUNIT_ASSERT_EQ(test, 4 * TREE >> LLFREE_CHILD_ORDER,
			inst_alloc_all(test, inst, LLFREE_CHILD_ORDER, 0, NULL));
	for (frame = FIRST; frame < end; frame += CHILD)
		inst_set_view(test, inst, frame, LLFREE_VIEW_ISOLATED);
	for (frame = FIRST, nr = 0; frame < end; frame += CHILD, nr++)
		inst_free(test, inst, (int)(nr % 5) - 1, frame, LLFREE_CHILD_ORDER);
	KUNIT_EXPECT_EQ(test, 4 * TREE, inst_free_frames(inst, LLFREE_VIEW_ISOLATED));
	inst_check(test, inst);

	for (order = 0; order < LLFREE_NR_ORDERS; order++) {
		req.order = order;
		for (req.slot = LLFREE_NO_SLOT; req.slot < 4; req.slot++) {
			for (view = 0; view < LLFREE_VIEW_HIGHATOMIC; view++) {
				req.view = view;
				KUNIT_EXPECT_EQ(test, -ENOMEM,
						inst_alloc_req(test, inst, &req));
			}
		}
		KUNIT_EXPECT_EQ(test, -EBUSY, inst_claim(test, inst, FIRST, order, 0));
		if (order)
			KUNIT_EXPECT_FALSE(test, llfree_may_have_order(llf, order, 0));
	}
	req = (struct llfree_request){ };
	for (req.slot = LLFREE_NO_SLOT; req.slot < 4; req.slot++)
		KUNIT_EXPECT_EQ(test, -ENOMEM,
				inst_alloc_batch(test, inst, &req, 64, masks));
	KUNIT_EXPECT_EQ(test, -EBUSY, llfree_claim_row(llf, FIRST, ~0ULL, 0, &mask,
						       &inst->delta));
	inst_check(test, inst);

	/* The caller that isolated the children can claim their frames. */
	KUNIT_EXPECT_EQ(test, 0, inst_claim(test, inst, FIRST, LLFREE_CHILD_ORDER,
					    LLFREE_CLAIM_HIDDEN));
	KUNIT_EXPECT_EQ(test, 0x3ff, inst_claim_row(test, inst, FIRST + CHILD, 0x3ff,
						    LLFREE_CLAIM_HIDDEN));
	KUNIT_EXPECT_EQ(test, CHILD - 10, llfree_child_stable(llf, FIRST + CHILD));
	/* Allocations find them as soon as the view changes. */
	inst_set_view(test, inst, FIRST + CHILD, LLFREE_VIEW_NORMAL);
	KUNIT_EXPECT_TRUE(test, llfree_may_have_order(llf, 8, 0));
	KUNIT_EXPECT_EQ(test, CHILD - 10, inst_alloc_all(test, inst, 0, 0, NULL));
	inst_check(test, inst);
}

/* All children of a tree that a slot has reserved are isolated, and shown again. */
static void isolate_reserved_tree(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, 4 * TREE, LLFREE_INIT_FREE, 4);
	unsigned long frame, tree, i;

	frame = inst_alloc(test, inst, 0, 0, 0);
	tree = ALIGN_DOWN(frame, TREE);
	KUNIT_ASSERT_TRUE(test, inst_tree_reserved(test, inst, tree));
	for (i = 0; i < TREE; i += CHILD)
		inst_set_view(test, inst, tree + i, LLFREE_VIEW_ISOLATED);
	inst_check(test, inst);
	inst_free(test, inst, 0, frame, 0);
	inst_check(test, inst);
	KUNIT_EXPECT_EQ(test, TREE, inst_free_frames(inst, LLFREE_VIEW_ISOLATED));
	KUNIT_EXPECT_EQ(test, 3 * TREE, inst_alloc_all(test, inst, 0, 0, NULL));
	KUNIT_EXPECT_EQ(test, 0, llfree_drain(&inst->llf, -1));
	inst_check(test, inst);
	for (i = 0; i < TREE; i += CHILD)
		inst_set_view(test, inst, tree + i, LLFREE_VIEW_NORMAL);
	KUNIT_EXPECT_EQ(test, TREE, inst_alloc_all(test, inst, 0, 0, NULL));
	inst_check(test, inst);
}

/* A slot has permits of frames that change to another view. */
static void permits_of_changed_views(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, 4 * TREE, LLFREE_INIT_FREE, 4);
	unsigned long frame, i;

	KUNIT_ASSERT_GE(test, inst_alloc(test, inst, 0, 0, 0), 0);
	for (frame = FIRST; frame < FIRST + 4 * TREE; frame += CHILD)
		inst_set_view(test, inst, frame, LLFREE_VIEW_CMA);
	inst_check(test, inst);
	KUNIT_EXPECT_EQ(test, -ENOMEM, inst_alloc(test, inst, 0, 0, 0));
	KUNIT_EXPECT_EQ(test, -ENOMEM, inst_alloc(test, inst, 1, 0, 0));
	inst_check(test, inst);
	KUNIT_EXPECT_EQ(test, 4 * TREE - 1, inst_free_frames(inst, LLFREE_VIEW_CMA));
	KUNIT_EXPECT_EQ(test, 4 * TREE - 1,
			inst_alloc_all(test, inst, 0, LLFREE_VIEW_CMA, NULL));
	KUNIT_EXPECT_EQ(test, -ENOMEM, inst_alloc_view(test, inst, 0,
						       LLFREE_VIEW_HIGHATOMIC));

	/* Slots reserve no trees of other views. */
	for (i = 0; i < 4; i++)
		inst_free(test, inst, 2, FIRST + i * TREE, LLFREE_MIN_TREE_ORDER);
	KUNIT_EXPECT_EQ(test, 0, llfree_drain(&inst->llf, -1));
	KUNIT_EXPECT_EQ(test, 4 * TREE, inst_free_frames(inst, LLFREE_VIEW_CMA));
	frame = inst_alloc_req(test, inst, &(struct llfree_request){
		.slot = 2, .view = LLFREE_VIEW_CMA });
	KUNIT_ASSERT_GE(test, (long)frame, 0);
	KUNIT_EXPECT_FALSE(test, inst_tree_reserved(test, inst, frame));
	inst_check(test, inst);
}

static struct kunit_case views_cases[] = {
	KUNIT_CASE_PARAM(range_views, range_gen_params),
	KUNIT_CASE(view_allocs),
	KUNIT_CASE(view_change_in_use),
	KUNIT_CASE(isolated_is_kept),
	KUNIT_CASE(freed_into_isolated),
	KUNIT_CASE(isolate_reserved_tree),
	KUNIT_CASE(permits_of_changed_views),
	{}
};

static struct kunit_suite views_suite = {
	.name = "llfree_views",
	.test_cases = views_cases,
};

kunit_test_suite(views_suite);
