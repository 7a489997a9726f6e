// SPDX-License-Identifier: GPL-2.0
/* Classes of trees, and the policies that choose trees for allocations. */
#include <linux/cache.h>

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
	llfree_stats_exact(&inst->llf, &stats);
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

/* Movable frames and huge blocks may share a tree, and so may the other two. */
static bool classes_mix(unsigned int a, unsigned int b)
{
	return (a == LLFREE_CLASS_HUGE && b == LLFREE_CLASS_MOVABLE) ||
	       (a == LLFREE_CLASS_LARGE && b == LLFREE_CLASS_UNMOVABLE);
}

/* If each class has a tree, allocations stay in it, by the slot that has reserved it. */
static void class_stays_with_tree(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, LLFREE_NR_CLASSES * TREE,
					 LLFREE_INIT_FREE, 4);
	unsigned long tree[LLFREE_NR_CLASSES];
	struct llfree_stats stats;
	unsigned int class, other, i;
	long frame;
	int slot;

	for (class = 0; class < LLFREE_NR_CLASSES; class++) {
		frame = inst_alloc(test, inst, 0, 0, class);
		KUNIT_ASSERT_GE(test, frame, 0);
		tree[class] = ALIGN_DOWN(frame, TREE);
		for (other = 0; other < class; other++)
			KUNIT_EXPECT_NE(test, tree[class], tree[other]);
	}
	for (slot = 0; slot >= LLFREE_NO_SLOT; slot--) {
		for (i = 0; i < 800; i++) {
			class = i % LLFREE_NR_CLASSES;
			frame = inst_alloc(test, inst, slot, 0, class);
			KUNIT_ASSERT_GE(test, frame, 0);
			/* Without a slot, the tree of another class may do. */
			for (other = 0; other < LLFREE_NR_CLASSES; other++)
				if (ALIGN_DOWN(frame, TREE) == tree[other])
					break;
			KUNIT_ASSERT_TRUE_MSG(test, other == class ||
					      (slot < 0 && classes_mix(class, other)),
					      "slot %d class %u in the tree of %u", slot,
					      class, other);
		}
	}
	llfree_stats_exact(&inst->llf, &stats);
	KUNIT_EXPECT_EQ(test, 0, stats.trees[LLFREE_CLASS_NONE]);
	for (class = 0; class < LLFREE_NR_CLASSES; class++)
		KUNIT_EXPECT_EQ(test, 1, stats.trees[class]);
	inst_check(test, inst);
}

/* With LLFREE_ALLOC_NOFRAGMENT, allocations take all free trees and no others. */
static void nofragment_takes_free_trees(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, 4 * TREE, LLFREE_INIT_FREE, 4);
	const unsigned int taken = LLFREE_DID_DEMOTE | LLFREE_DID_STEAL;
	struct llfree_request req = {
		.slot = 1,
		.class = LLFREE_CLASS_UNMOVABLE,
		.flags = LLFREE_ALLOC_NOFRAGMENT,
	};
	unsigned long nr;
	long frame;

	/* A frame in each child of three of four trees is movable. */
	for (frame = FIRST; frame < FIRST + 3 * TREE; frame += CHILD)
		KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst, frame, 0, 0));
	for (nr = 0;; nr++) {
		frame = inst_alloc_req(test, inst, &req);
		if (frame < 0)
			break;
		KUNIT_ASSERT_GE(test, frame, FIRST + 3 * TREE);
	}
	KUNIT_EXPECT_EQ(test, -ENOMEM, frame);
	KUNIT_EXPECT_EQ(test, TREE, nr);
	KUNIT_EXPECT_EQ(test, 0, inst->delta.did & taken);
	/* The searches were not exhaustive. */
	KUNIT_EXPECT_TRUE(test, llfree_may_have_order(&inst->llf, 0, 0));

	req.flags = 0;
	frame = inst_alloc_req(test, inst, &req);
	KUNIT_ASSERT_GE(test, frame, 0);
	KUNIT_EXPECT_LT(test, frame, FIRST + 3 * TREE);
	KUNIT_EXPECT_NE(test, 0, inst->delta.did & taken);
	KUNIT_EXPECT_EQ(test, LLFREE_CLASS_MOVABLE, inst->delta.old_class);
	inst_check(test, inst);
}

/* An allocation in a child that is all free changes the class of a mostly used tree. */
static void nofragment_free_child(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, 4 * TREE, LLFREE_INIT_FREE, 4);
	struct llfree_request req = {
		.slot = 1,
		.class = LLFREE_CLASS_UNMOVABLE,
		.flags = LLFREE_ALLOC_NOFRAGMENT,
	};
	unsigned long tree, i;
	long frame;

	/* Of child 5 all is free, of the children 6 and 7 all but one frame. */
	for (tree = FIRST; tree < FIRST + 4 * TREE; tree += TREE) {
		for (i = 0; i < 5; i++)
			KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst, tree + i * CHILD,
							    LLFREE_CHILD_ORDER, 0));
		for (i = 6; i < 8; i++)
			KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst, tree + i * CHILD,
							    0, 0));
	}
	frame = inst_alloc_req(test, inst, &req);
	KUNIT_ASSERT_GE(test, frame, 0);
	KUNIT_EXPECT_EQ(test, 5, (frame - FIRST) % TREE / CHILD);
	KUNIT_EXPECT_EQ(test, LLFREE_DID_DEMOTE | LLFREE_DID_RESERVE, inst->delta.did);
	KUNIT_EXPECT_EQ(test, LLFREE_CLASS_MOVABLE, inst->delta.old_class);
	KUNIT_EXPECT_EQ(test, LLFREE_CLASS_UNMOVABLE, tree_class_at(test, inst, frame));
	inst_check(test, inst);

	/* Without the flag and without a slot, too */
	frame = inst_alloc(test, inst, LLFREE_NO_SLOT, 3, LLFREE_CLASS_RECLAIMABLE);
	KUNIT_ASSERT_GE(test, frame, 0);
	KUNIT_EXPECT_EQ(test, 5, (frame - FIRST) % TREE / CHILD);
	KUNIT_EXPECT_EQ(test, LLFREE_CLASS_RECLAIMABLE, tree_class_at(test, inst, frame));
	inst_check(test, inst);
}

/* Movable frames fragment no trees of huge blocks, since they live as long. */
static void nofragment_movable_and_huge(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, 4 * TREE, LLFREE_INIT_FREE, 4);
	struct llfree_request req = {
		.class = LLFREE_CLASS_UNMOVABLE,
		.flags = LLFREE_ALLOC_NOFRAGMENT,
	};
	unsigned long frame;
	unsigned int order;

	/* Of each huge block one frame is in use still. */
	for (frame = FIRST; frame < FIRST + 4 * TREE; frame += CHILD)
		KUNIT_ASSERT_GE(test, inst_alloc(test, inst, LLFREE_NO_SLOT,
						 LLFREE_CHILD_ORDER, LLFREE_CLASS_HUGE), 0);
	for (frame = FIRST; frame < FIRST + 4 * TREE; frame += CHILD) {
		for (order = 0; order < LLFREE_CHILD_ORDER; order++)
			inst_free(test, inst, LLFREE_NO_SLOT, frame + (1UL << order), order);
		KUNIT_ASSERT_EQ(test, LLFREE_CLASS_HUGE, tree_class_at(test, inst, frame));
	}
	KUNIT_EXPECT_EQ(test, -ENOMEM, inst_alloc_req(test, inst, &req));
	req.class = LLFREE_CLASS_MOVABLE;
	KUNIT_EXPECT_GE(test, inst_alloc_req(test, inst, &req), 0);
	KUNIT_EXPECT_EQ(test, LLFREE_DID_RESERVE, inst->delta.did);
	inst_check(test, inst);
}

/* Unmovable frames are at the low end of memory, whichever slot allocates them. */
static void unmovable_at_low_end(struct kunit *test)
{
	static const unsigned int low[] = {
		LLFREE_CLASS_UNMOVABLE, LLFREE_CLASS_RECLAIMABLE, LLFREE_CLASS_LARGE,
	};
	const unsigned int slots = 8, trees = 128;
	struct instance *inst = inst_new(test, 0, trees * TREE, LLFREE_INIT_FREE, slots);
	unsigned int slot, i, j;
	long frame, high = 0;

	for (slot = slots; slot-- > 0;) {
		for (i = 0; i < 100; i++) {
			frame = inst_alloc(test, inst, slot, 0, LLFREE_CLASS_MOVABLE);
			KUNIT_ASSERT_GE(test, frame, 0);
			high = max(high, frame);
			for (j = 0; j < ARRAY_SIZE(low); j++) {
				frame = inst_alloc(test, inst, slot, 0, low[j]);
				KUNIT_ASSERT_GE(test, frame, 0);
				/* A tree for each class and slot, and homes of two slots */
				KUNIT_ASSERT_LT(test, frame,
						(ARRAY_SIZE(low) * slots + 2) * TREE);
			}
		}
	}
	KUNIT_EXPECT_GT(test, high, trees / 2 * TREE);
	inst_check(test, inst);
}

/* If memory is large, they are far enough apart to share no cache line of child words. */
static void low_slots_share_no_line(struct kunit *test)
{
	const unsigned int slots = 2, line = SMP_CACHE_BYTES / sizeof(u16);
	const unsigned int apart = line * CHILD / TREE;
	/* They may take up one part in 32 of memory. */
	const unsigned int least = 32 * slots * apart;
	const unsigned int trees[] = { least - 1, least, 4 * least };
	struct instance *inst;
	long frame[2];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(trees); i++) {
		inst = inst_new(test, FIRST, trees[i] * TREE, LLFREE_INIT_FREE, slots);
		frame[1] = inst_alloc(test, inst, 1, 0, LLFREE_CLASS_UNMOVABLE);
		frame[0] = inst_alloc(test, inst, 0, 0, LLFREE_CLASS_UNMOVABLE);
		KUNIT_ASSERT_GE(test, frame[0], FIRST);
		KUNIT_ASSERT_GE(test, frame[1], FIRST);
		KUNIT_EXPECT_EQ(test, trees[i] < least ? 1 : apart,
				(max(frame[0], frame[1]) - min(frame[0], frame[1])) / TREE);
		inst_check(test, inst);
	}
}

/* All frames that are in use are at the low end, so that the high end can go. */
static void packed_policy(struct kunit *test)
{
	const struct llfree_policy *policies[] = {
		&llfree_default_policy, &llfree_packed_policy,
	};
	const unsigned int trees = 64, slots = 4;
	unsigned long i, highest;
	struct instance *inst;
	unsigned int p;
	long frame;

	for (p = 0; p < ARRAY_SIZE(policies); p++) {
		inst = inst_new_policy(test, FIRST, trees * TREE, LLFREE_INIT_FREE, slots,
				       policies[p]);
		highest = 0;
		for (i = 0; i < trees * TREE / 4; i += 8) {
			frame = inst_alloc(test, inst, i / 8 % slots, 3, LLFREE_CLASS_MOVABLE);
			KUNIT_ASSERT_GE(test, frame, FIRST);
			highest = max_t(unsigned long, highest, frame - FIRST);
		}
		if (policies[p] == &llfree_packed_policy)
			KUNIT_EXPECT_LT(test, highest, (trees / 4 + slots) * TREE);
		else
			KUNIT_EXPECT_GT(test, highest, trees / 4 * (slots - 1) * TREE);
		inst_check(test, inst);
	}
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

static enum llfree_level rate_any(unsigned int class, unsigned int tree,
				  unsigned int free, unsigned int frames)
{
	rate_calls++;
	rate_bad += class >= LLFREE_MAX_CLASSES || !free || free > frames ||
		    frames != LLFREE_MIN_TREE_FRAMES ||
		    (tree >= LLFREE_MAX_CLASSES && tree != LLFREE_CLASS_NONE);
	if (tree == LLFREE_CLASS_NONE)
		return LLFREE_LEVEL_FREE;
	return tree == class ? LLFREE_LEVEL_MATCH : LLFREE_LEVEL_STEAL;
}

/* The fewest and the most classes that a policy can have */
static void policy_classes(struct kunit *test)
{
	static const struct llfree_policy one = {
		.nr_classes = 1, .near = 8, .rate = rate_any,
	};
	static const struct llfree_policy most = {
		.nr_classes = LLFREE_MAX_CLASSES, .init_class = 5, .near = 1,
		.rate = rate_any,
	};
	struct llfree_request req = { .class = 1 };
	struct instance *inst;
	unsigned int i;

	rate_calls = 0;
	rate_bad = 0;
	inst = inst_new_policy(test, FIRST, 4 * TREE, LLFREE_INIT_FREE, 3, &one);
	KUNIT_EXPECT_EQ(test, 4 / 3, llfree_max_slots(&inst->llf));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_alloc(&inst->llf, &req, NULL));
	KUNIT_EXPECT_EQ(test, 4 * TREE, inst_alloc_all(test, inst, 0, 0, NULL));
	inst_check(test, inst);
	for (i = 0; i < 2; i++)
		inst_free(test, inst, 1, FIRST + i * TREE, LLFREE_MIN_TREE_ORDER);
	KUNIT_EXPECT_EQ(test, 2 * TREE / 8, inst_alloc_all(test, inst, 3, 0, NULL));
	inst_check(test, inst);

	inst = inst_new_policy(test, FIRST, 4 * TREE + 1, LLFREE_INIT_FREE, 2, &most);
	req.class = LLFREE_MAX_CLASSES;
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_alloc(&inst->llf, &req, NULL));
	for (i = 0; inst_alloc(test, inst, (int)(i % 3) - 1, 0,
			       i % LLFREE_MAX_CLASSES) >= 0;)
		i++;
	KUNIT_EXPECT_EQ(test, 4 * TREE + 1, i);
	KUNIT_EXPECT_GT(test, rate_calls, 0);
	KUNIT_EXPECT_EQ(test, 0, rate_bad);
	inst_check(test, inst);
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
	llfree_stats_exact(&inst->llf, &stats);
	KUNIT_EXPECT_EQ(test, stats.reserved, 0);
	KUNIT_EXPECT_GT(test, rate_calls, 0);
	KUNIT_EXPECT_EQ(test, rate_bad, 0);
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_alloc(&inst->llf,
						    &(struct llfree_request){
						  .class = 2 }, NULL));
	inst_free_rest(test, inst);
	inst_check(test, inst);
	KUNIT_EXPECT_EQ(test, 2 * TREE >> LLFREE_MAX_ORDER,
			inst_alloc_all(test, inst, LLFREE_MAX_ORDER, 0, NULL));
	inst_free(test, inst, 0, FIRST, LLFREE_MIN_TREE_ORDER);
	KUNIT_EXPECT_EQ(test, TREE, inst_alloc_all(test, inst, 0, 0, NULL));
	inst_check(test, inst);
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
	KUNIT_CASE(class_stays_with_tree),
	KUNIT_CASE(nofragment_takes_free_trees),
	KUNIT_CASE(nofragment_free_child),
	KUNIT_CASE(nofragment_movable_and_huge),
	KUNIT_CASE(unmovable_at_low_end),
	KUNIT_CASE(low_slots_share_no_line),
	KUNIT_CASE(packed_policy),
	KUNIT_CASE(policy_fallback),
	KUNIT_CASE(policy_classes),
	KUNIT_CASE(policy_custom),
	{}
};

static struct kunit_suite policy_suite = {
	.name = "llfree_policy",
	.test_cases = policy_cases,
};

kunit_test_suite(policy_suite);
