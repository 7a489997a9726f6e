// SPDX-License-Identifier: GPL-2.0
/* Classes of trees, and the policies that choose trees for allocations. */
#include "instance.h"

static unsigned int tree_class_at(struct kunit *test, struct instance *inst,
				  unsigned long frame)
{
	struct llfree_child child = { };

	KUNIT_ASSERT_EQ(test, 0, llfree_child(&inst->llf, frame, &child));
	return child.class;
}

static void class_of_tree(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, 4 * TREE,
					 LLFREE_INIT_FREE, 1);
	unsigned long counts[LLFREE_NR_ORDERS];
	struct llfree_stats stats;
	long frame;

	KUNIT_EXPECT_EQ(test, LLFREE_CLASS_NONE,
			tree_class_at(test, inst, FIRST));
	frame = inst_alloc(test, inst, 0, 0, LLFREE_CLASS_RECLAIMABLE);
	KUNIT_ASSERT_GE(test, frame, 0);
	KUNIT_EXPECT_TRUE(test, inst->delta.did & LLFREE_DID_RESERVE);
	KUNIT_EXPECT_FALSE(test, inst->delta.did & (LLFREE_DID_DEMOTE |
						    LLFREE_DID_STEAL));
	KUNIT_EXPECT_TRUE(test, inst_tree_reserved(test, inst, frame));
	KUNIT_EXPECT_EQ(test, -EBUSY, llfree_set_class(&inst->llf, frame,
						       LLFREE_CLASS_MOVABLE));
	llfree_stats_fast(&inst->llf, &stats);
	KUNIT_EXPECT_EQ(test, stats.reserved, 1);
	KUNIT_EXPECT_EQ(test, stats.trees[LLFREE_CLASS_RECLAIMABLE], 1);
	KUNIT_EXPECT_EQ(test, stats.trees[LLFREE_CLASS_NONE], 3);

	KUNIT_EXPECT_EQ(test, 0, llfree_drain(&inst->llf, 0));
	KUNIT_EXPECT_FALSE(test, inst_tree_reserved(test, inst, frame));
	KUNIT_EXPECT_EQ(test, LLFREE_CLASS_RECLAIMABLE,
			tree_class_at(test, inst, frame));
	llfree_count_orders(&inst->llf, 0, LLFREE_CLASS_RECLAIMABLE, counts);
	KUNIT_EXPECT_EQ(test, counts[10], 3);
	KUNIT_EXPECT_EQ(test, counts[9], 1);
	KUNIT_EXPECT_EQ(test, counts[0], 1);
	llfree_count_orders(&inst->llf, 0, LLFREE_CLASS_NONE, counts);
	KUNIT_EXPECT_EQ(test, counts[10], 3 * 4);

	KUNIT_EXPECT_EQ(test, 0, llfree_set_class(&inst->llf, frame,
						  LLFREE_CLASS_HUGE));
	KUNIT_EXPECT_EQ(test, LLFREE_CLASS_HUGE,
			tree_class_at(test, inst, frame));
	inst_check(test, inst);

	/* A tree without allocated frames has no class. */
	inst_free(test, inst, LLFREE_NO_SLOT, frame, 0);
	KUNIT_EXPECT_EQ(test, LLFREE_CLASS_NONE,
			tree_class_at(test, inst, frame));
	inst_check(test, inst);
}

/* The default policy keeps classes in different trees while there are free ones. */
static void policy_default(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, LLFREE_NR_CLASSES * TREE,
					 LLFREE_INIT_FREE, 1);
	long frame[LLFREE_NR_CLASSES], again;
	unsigned int class, i;

	for (class = 0; class < LLFREE_NR_CLASSES; class++) {
		frame[class] = inst_alloc(test, inst, 0, 0, class);
		KUNIT_ASSERT_GE(test, frame[class], 0);
		for (i = 0; i < class; i++)
			KUNIT_EXPECT_NE(test, frame[i] / TREE,
					frame[class] / TREE);
	}
	KUNIT_EXPECT_FALSE(test, inst->delta.did & (LLFREE_DID_DEMOTE |
						    LLFREE_DID_STEAL));
	/* It prefers partly used trees of the class. */
	llfree_drain(&inst->llf, -1);
	for (class = 0; class < LLFREE_NR_CLASSES; class++) {
		again = inst_alloc(test, inst, (int)(class % 2) - 1, 0, class);
		KUNIT_ASSERT_GE(test, again, 0);
		KUNIT_EXPECT_EQ(test, again / TREE, frame[class] / TREE);
	}
	inst_check(test, inst);
}

static void policy_fallback(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, 2 * TREE,
					 LLFREE_INIT_FREE, 1);
	struct llfree_request req = {
		.class = LLFREE_CLASS_UNMOVABLE,
		.flags = LLFREE_ALLOC_NOFRAGMENT,
	};
	long frame;

	/* One frame of each child is movable. */
	for (frame = FIRST; frame < FIRST + 2 * TREE; frame += CHILD)
		KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst, frame, 0, 0));
	KUNIT_EXPECT_EQ(test, LLFREE_CLASS_MOVABLE,
			tree_class_at(test, inst, FIRST));
	KUNIT_EXPECT_EQ(test, -ENOMEM, inst_alloc_req(test, inst, &req));
	KUNIT_EXPECT_EQ(test, 0, inst->delta.did);
	inst_check(test, inst);

	/* The allocation changes the class of a tree that is mostly free. */
	req.flags = 0;
	frame = inst_alloc_req(test, inst, &req);
	KUNIT_ASSERT_GE(test, frame, 0);
	KUNIT_EXPECT_EQ(test, inst->delta.did, LLFREE_DID_DEMOTE |
			LLFREE_DID_RESERVE);
	KUNIT_EXPECT_EQ(test, inst->delta.old_class, LLFREE_CLASS_MOVABLE);
	KUNIT_EXPECT_EQ(test, LLFREE_CLASS_UNMOVABLE,
			tree_class_at(test, inst, frame));
	/* Now there is a tree of the class. */
	req.flags = LLFREE_ALLOC_NOFRAGMENT;
	KUNIT_EXPECT_GE(test, inst_alloc_req(test, inst, &req), 0);
	inst_check(test, inst);

	/* In a child that is all free, the allocation mixes with no other class. */
	frame = FIRST + 2 * TREE - CHILD;
	inst_free(test, inst, LLFREE_NO_SLOT, frame, 0);
	req.class = LLFREE_CLASS_RECLAIMABLE;
	frame = inst_alloc_req(test, inst, &req);
	KUNIT_ASSERT_GE(test, frame, FIRST + 2 * TREE - CHILD);
	KUNIT_EXPECT_EQ(test, LLFREE_CLASS_RECLAIMABLE,
			tree_class_at(test, inst, frame));
	req.class = LLFREE_CLASS_UNMOVABLE;
	inst_check(test, inst);

	/* From a tree that is mostly used, the allocation takes only what it needs. */
	inst = inst_new(test, FIRST, TREE, LLFREE_INIT_FREE, 1);
	KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst, FIRST + 3 * CHILD, 0,
					    0));
	KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst, FIRST + 6 * CHILD, 0,
					    0));
	KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst, FIRST + 7 * CHILD, 0,
					    0));
	KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst, FIRST, 10, 0));
	KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst, FIRST + 2 * CHILD, 9,
					    0));
	KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst, FIRST + 4 * CHILD, 10,
					    0));
	KUNIT_EXPECT_EQ(test, -ENOMEM, inst_alloc_req(test, inst, &req));
	req.flags = 0;
	frame = inst_alloc_req(test, inst, &req);
	KUNIT_ASSERT_GE(test, frame, 0);
	KUNIT_EXPECT_EQ(test, inst->delta.did, LLFREE_DID_STEAL);
	KUNIT_EXPECT_EQ(test, inst->delta.old_class, LLFREE_CLASS_MOVABLE);
	KUNIT_EXPECT_EQ(test, LLFREE_CLASS_MOVABLE,
			tree_class_at(test, inst, frame));
	KUNIT_EXPECT_FALSE(test, inst_tree_reserved(test, inst, frame));
	inst_check(test, inst);
}

/* Calls of rate(), and those with wrong arguments: policies of policy_custom() */
static unsigned int rate_calls, rate_bad;

static enum llfree_level rate_reject(unsigned int class, unsigned int tree,
				     unsigned int free, unsigned int frames)
{
	rate_calls++;
	rate_bad += class >= 2 || (tree >= 2 && tree != LLFREE_CLASS_NONE) ||
		    !free || free > frames || frames != LLFREE_MIN_TREE_FRAMES;
	return LLFREE_LEVEL_REJECT;
}

static enum llfree_level rate_steal(unsigned int class, unsigned int tree,
				    unsigned int free, unsigned int frames)
{
	return LLFREE_LEVEL_STEAL;
}

static enum llfree_level rate_demote(unsigned int class, unsigned int tree,
				     unsigned int free, unsigned int frames)
{
	rate_calls++;
	return tree == class ? LLFREE_LEVEL_MATCH : LLFREE_LEVEL_DEMOTE;
}

static void policy_custom(struct kunit *test)
{
	static const struct llfree_policy reject = {
		.nr_classes = 2, .init_class = 1, .near = 1,
		.rate = rate_reject,
	};
	static const struct llfree_policy steal = {
		.nr_classes = 1, .near = 4, .rate = rate_steal,
	};
	static const struct llfree_policy demote = {
		.nr_classes = LLFREE_MAX_CLASSES, .near = 1,
		.rate = rate_demote,
	};
	struct instance *inst;
	struct llfree_stats stats;
	long frame;

	/* Even a policy that wants no tree cannot make an allocation fail. */
	rate_calls = 0;
	rate_bad = 0;
	inst = inst_new_policy(test, FIRST, 2 * TREE, LLFREE_INIT_FREE, 2,
			       &reject);
	KUNIT_EXPECT_EQ(test, 2 * TREE / 2, inst_alloc_all(test, inst, 1, 0,
							   NULL));
	KUNIT_EXPECT_EQ(test, 1, tree_class_at(test, inst, FIRST));
	llfree_stats_fast(&inst->llf, &stats);
	KUNIT_EXPECT_EQ(test, stats.reserved, 0);
	KUNIT_EXPECT_GT(test, rate_calls, 0);
	KUNIT_EXPECT_EQ(test, rate_bad, 0);
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_alloc(&inst->llf,
						    &(struct llfree_request){
						  .class = 2 }, NULL));
	inst_free_rest(test, inst);
	inst_check(test, inst);

	inst = inst_new_policy(test, FIRST, 2 * TREE, LLFREE_INIT_FREE, 1,
			       &steal);
	KUNIT_EXPECT_EQ(test, 2 * TREE, inst_alloc_all(test, inst, 0, 0, NULL));
	KUNIT_EXPECT_FALSE(test, inst->delta.did & LLFREE_DID_RESERVE);
	inst_check(test, inst);

	rate_calls = 0;
	inst = inst_new_policy(test, FIRST, TREE, LLFREE_INIT_FREE, 1, &demote);
	frame = inst_alloc(test, inst, LLFREE_NO_SLOT, 0, 5);
	KUNIT_ASSERT_GE(test, frame, 0);
	KUNIT_EXPECT_EQ(test, 5, tree_class_at(test, inst, frame));
	inst->delta.did = 0;
	frame = inst_alloc(test, inst, LLFREE_NO_SLOT, 0, 4);
	KUNIT_ASSERT_GE(test, frame, 0);
	KUNIT_EXPECT_EQ(test, 4, tree_class_at(test, inst, frame));
	KUNIT_EXPECT_EQ(test, inst->delta.did, LLFREE_DID_DEMOTE);
	KUNIT_EXPECT_EQ(test, inst->delta.old_class, 5);
	KUNIT_EXPECT_GT(test, rate_calls, 0);
	inst_check(test, inst);
}

static struct kunit_case policy_cases[] = {
	KUNIT_CASE(class_of_tree),
	KUNIT_CASE(policy_default),
	KUNIT_CASE(policy_fallback),
	KUNIT_CASE(policy_custom),
	{}
};

static struct kunit_suite policy_suite = {
	.name = "llfree_policy",
	.test_cases = policy_cases,
};

kunit_test_suite(policy_suite);
