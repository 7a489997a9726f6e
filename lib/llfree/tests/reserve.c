// SPDX-License-Identifier: GPL-2.0
/*
 * Slots and the trees that they reserve: when they reserve and release them, and
 * that other slots find free frames in reserved trees nevertheless.
 */
#include "instance.h"

static void slots(struct kunit *test)
{
	struct llfree_request req = { };
	struct instance *inst;
	struct llfree *llf;

	inst = inst_new(test, FIRST, 33 * TREE, LLFREE_INIT_FREE, 3);
	llf = &inst->llf;
	KUNIT_EXPECT_EQ(test, llfree_max_slots(llf), 33 / (3 * LLFREE_NR_CLASSES));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_set_slots(llf, NULL, 1));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_set_slots(llf, (void *)inst->locals + 8, 1));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_set_slots(llf, inst->locals, UINT_MAX));

	/* Two slots reserve two trees. */
	KUNIT_EXPECT_NE(test, inst_alloc(test, inst, 0, 0, 0) / TREE,
			inst_alloc(test, inst, 1, 0, 0) / TREE);
	inst_check(test, inst);

	/* Fewer slots, none, and more again */
	llfree_drain(llf, -1);
	KUNIT_EXPECT_EQ(test, 0, llfree_set_slots(llf, inst->locals, 1));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_drain(llf, 1));
	KUNIT_EXPECT_GE(test, inst_alloc(test, inst, 0, 1, 3), 0);
	KUNIT_EXPECT_EQ(test, 0, llfree_drain(llf, -1));
	KUNIT_EXPECT_EQ(test, 0, llfree_set_slots(llf, NULL, 0));
	inst->nr_slots = 0;
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_alloc(llf, &req, NULL));
	KUNIT_EXPECT_EQ(test, 0, llfree_drain(llf, -1));
	KUNIT_EXPECT_GE(test, inst_alloc(test, inst, LLFREE_NO_SLOT, 0, 0), 0);
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_drain(llf, 0));
	inst_check(test, inst);
	inst_set_slots(test, inst, 2);
	KUNIT_EXPECT_GE(test, inst_alloc(test, inst, 1, 3, 2), 0);
	req.slot = 2;
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_alloc(llf, &req, NULL));
	inst_free_rest(test, inst);
	inst_check(test, inst);

	inst = inst_new(test, 0, (3 * LLFREE_NR_CLASSES - 1) * TREE,
			LLFREE_INIT_FREE, 0);
	KUNIT_EXPECT_EQ(test, llfree_max_slots(&inst->llf), 0);
}

/* A slot that frees to a tree four times in a row reserves it. */
static void free_reserves(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, 4 * TREE,
					 LLFREE_INIT_ALLOC, 2);
	unsigned int i;

	for (i = 0; i < 4; i++) {
		KUNIT_EXPECT_FALSE(test, inst_tree_reserved(test, inst, FIRST));
		inst_free(test, inst, 1, FIRST + 16 * i, 3);
	}
	KUNIT_EXPECT_TRUE(test, inst_tree_reserved(test, inst, FIRST));
	/* The slot holds all permits of the tree. */
	KUNIT_EXPECT_EQ(test, 0, tree_free(*inst_tree(inst, 0, 0)));
	inst_check(test, inst);

	/* Frees to two trees in turn reserve neither of them. */
	for (i = 0; i < 16; i++)
		inst_free(test, inst, 0, FIRST + (1 + i % 2) * TREE + i, 0);
	KUNIT_EXPECT_FALSE(test, inst_tree_reserved(test, inst, FIRST + TREE));
	KUNIT_EXPECT_FALSE(test, inst_tree_reserved(test, inst,
						    FIRST + 2 * TREE));
	/* Frees without a slot reserve no tree. */
	for (i = 0; i < 16; i++)
		inst_free(test, inst, LLFREE_NO_SLOT, FIRST + 3 * TREE + i, 0);
	KUNIT_EXPECT_FALSE(test, inst_tree_reserved(test, inst,
						    FIRST + 3 * TREE));
	inst_check(test, inst);
	llfree_drain(&inst->llf, -1);
	inst_check(test, inst);
}

/* A drain releases the trees of the given slot, or of all slots for -1. */
static void drain_one_slot(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, 8 * TREE,
					 LLFREE_INIT_FREE, 3);
	struct llfree_stats stats;
	struct snapshot *snap;
	long frame[3][2];
	int slot;

	for (slot = 0; slot < 3; slot++) {
		frame[slot][0] = inst_alloc(test, inst, slot, 0, 0);
		frame[slot][1] = inst_alloc(test, inst, slot, 0, 1);
		KUNIT_ASSERT_GE(test, frame[slot][0], 0);
		KUNIT_ASSERT_GE(test, frame[slot][1], 0);
	}
	llfree_stats_exact(&inst->llf, &stats);
	KUNIT_ASSERT_EQ(test, stats.reserved, 6);

	KUNIT_EXPECT_EQ(test, 0, llfree_drain(&inst->llf, 1));
	for (slot = 0; slot < 3; slot++) {
		KUNIT_EXPECT_EQ(test, slot != 1,
				inst_tree_reserved(test, inst, frame[slot][0]));
		KUNIT_EXPECT_EQ(test, slot != 1,
				inst_tree_reserved(test, inst, frame[slot][1]));
	}
	inst_check(test, inst);
	snap = snapshot_new(test, inst);
	KUNIT_EXPECT_EQ(test, 0, llfree_drain(&inst->llf, 1));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_drain(&inst->llf, 3));
	snapshot_check(test, inst, snap);

	KUNIT_EXPECT_EQ(test, 0, llfree_drain(&inst->llf, -1));
	llfree_stats_exact(&inst->llf, &stats);
	KUNIT_EXPECT_EQ(test, stats.reserved, 0);
	inst_check(test, inst);
}

static void drain_all_classes(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, LLFREE_NR_CLASSES * TREE,
					 LLFREE_INIT_FREE, 4);
	struct llfree_stats stats;
	unsigned int class;

	for (class = 0; class < LLFREE_NR_CLASSES; class++)
		KUNIT_ASSERT_GE(test, inst_alloc(test, inst, 1, 0, class), 0);
	llfree_stats_exact(&inst->llf, &stats);
	KUNIT_EXPECT_EQ(test, LLFREE_NR_CLASSES, stats.reserved);
	KUNIT_EXPECT_EQ(test, 0, llfree_drain(&inst->llf, 1));
	llfree_stats_exact(&inst->llf, &stats);
	KUNIT_EXPECT_EQ(test, 0, stats.reserved);
	inst_check(test, inst);
}

/* If there are more slots than trees, most slots reserve none, and none fails. */
static void more_slots_than_trees(struct kunit *test)
{
	struct instance *inst = inst_new(test, 0, TREE + 100, LLFREE_INIT_FREE, 100);
	unsigned long i;

	for (i = 0; i < TREE + 100; i++)
		KUNIT_ASSERT_GE(test, inst_alloc(test, inst, i % 100, 0,
						 i % LLFREE_NR_CLASSES), 0);
	KUNIT_EXPECT_EQ(test, -ENOMEM, inst_alloc(test, inst, 5, 0, 0));
	inst_check(test, inst);
	for (i = 0; i < TREE + 100; i++)
		inst_free(test, inst, i * 7 % 100, i, 0);
	inst_check(test, inst);
	KUNIT_EXPECT_EQ(test, 0, llfree_drain(&inst->llf, -1));
	KUNIT_EXPECT_EQ(test, TREE + 100, inst_alloc_all(test, inst, 0, 0, NULL));
	inst_check(test, inst);
}

/*
 * With LLFREE_ALLOC_RESERVED, an allocation takes frames of the tree that the slot
 * has reserved, also those that others freed, and does not search elsewhere.
 */
static void reserved_only(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, 4 * TREE, LLFREE_INIT_FREE, 4);
	struct llfree_request req = { .flags = LLFREE_ALLOC_RESERVED };
	unsigned long nr = 1;
	long frame, next;

	for (req.slot = LLFREE_NO_SLOT; req.slot <= 0; req.slot++)
		KUNIT_EXPECT_EQ(test, -ENOMEM,
				llfree_alloc(&inst->llf, &req, &inst->delta));
	req.slot = 0;
	frame = inst_alloc(test, inst, 0, 0, 0);
	KUNIT_ASSERT_GE(test, frame, 0);
	for (;;) {
		next = llfree_alloc(&inst->llf, &req, &inst->delta);
		if (next < 0)
			break;
		inst_allocated(test, inst, next, 1, LLFREE_VIEW_NORMAL);
		nr++;
	}
	KUNIT_EXPECT_EQ(test, -ENOMEM, next);
	KUNIT_EXPECT_EQ(test, TREE, nr);
	inst_free(test, inst, LLFREE_NO_SLOT, frame, 0);
	KUNIT_EXPECT_EQ(test, frame, inst_alloc_req(test, inst, &req));
	inst_check(test, inst);
}

/* An instance of one tree that slot 0 reserved, and of which all is allocated */
static struct instance *inst_full_tree(struct kunit *test, unsigned int order)
{
	struct instance *inst = inst_new(test, FIRST, TREE, LLFREE_INIT_FREE, 4);

	while (inst_alloc(test, inst, 0, order, LLFREE_CLASS_MOVABLE) >= 0)
		;
	KUNIT_ASSERT_TRUE(test, inst_tree_reserved(test, inst, FIRST));
	KUNIT_ASSERT_EQ(test, 0, tree_free(*inst_tree(inst, 0, 0)));
	KUNIT_ASSERT_EQ(test, 0, inst_free_frames(inst, LLFREE_VIEW_NORMAL));
	return inst;
}

static u64 *movable_local(struct instance *inst, int slot)
{
	return &inst->locals[slot].reserved[LLFREE_CLASS_MOVABLE];
}

/* An allocation that must not mix classes finds frames in trees of its class. */
static void expect_own_class_only(struct kunit *test, struct instance *inst)
{
	struct llfree_request req = {
		.slot = 2,
		.class = LLFREE_CLASS_UNMOVABLE,
		.flags = LLFREE_ALLOC_NOFRAGMENT,
	};
	long frame;

	KUNIT_EXPECT_EQ(test, -ENOMEM, inst_alloc_req(test, inst, &req));
	req.class = LLFREE_CLASS_MOVABLE;
	frame = inst_alloc_req(test, inst, &req);
	KUNIT_ASSERT_GE(test, frame, 0);
	inst_free(test, inst, LLFREE_NO_SLOT, frame, 0);
}

/*
 * Frames that other slots free into a reserved tree count for the tree, where
 * only its owner looks first. The other slots allocate them nevertheless.
 */
static void freed_by_others(struct kunit *test)
{
	struct instance *inst = inst_full_tree(test, 0);
	unsigned int i;

	for (i = 0; i < 400; i++)
		inst_free(test, inst, LLFREE_NO_SLOT, FIRST + 10 * i, 0);
	KUNIT_ASSERT_EQ(test, 400, tree_free(*inst_tree(inst, 0, 0)));
	inst_check(test, inst);
	expect_own_class_only(test, inst);
	for (i = 0; i < 400; i++)
		KUNIT_ASSERT_GE_MSG(test, inst_alloc(test, inst, 1 + i % 3, 0,
						     i % 4), 0,
				    "%u frames are left", 400 - i);
	KUNIT_EXPECT_EQ(test, -ENOMEM, inst_alloc(test, inst, 1, 0, 0));
	KUNIT_EXPECT_EQ(test, -ENOMEM, inst_alloc(test, inst, 0, 0, 0));
	inst_check(test, inst);
}

/* All slots and callers without one find a block that others freed. */
static void any_slot_takes_back(struct kunit *test)
{
	const unsigned long frame = FIRST + 2 * CHILD;
	struct instance *inst;
	unsigned int order;
	int slot;

	for (order = 0; order < LLFREE_NR_ORDERS; order++) {
		for (slot = LLFREE_NO_SLOT; slot < 4; slot++) {
			inst = inst_full_tree(test, LLFREE_MAX_ORDER);
			inst_free(test, inst, LLFREE_NO_SLOT, frame, order);
			KUNIT_EXPECT_EQ(test, frame, inst_alloc(test, inst, slot, order,
								LLFREE_CLASS_MOVABLE));
			KUNIT_EXPECT_EQ(test, -ENOMEM, inst_alloc(test, inst, slot, 0, 0));
			inst_check(test, inst);
		}
	}
}

/* Frames that the owner of the tree freed count for its slot; all slots find them. */
static void freed_by_owner(struct kunit *test)
{
	struct instance *inst = inst_full_tree(test, 0);
	unsigned int i;

	for (i = 0; i < 400; i++)
		inst_free(test, inst, 0, FIRST + 10 * i, 0);
	KUNIT_ASSERT_EQ(test, 400, local_free(*movable_local(inst, 0)));
	expect_own_class_only(test, inst);
	for (i = 0; i < 400; i++)
		KUNIT_ASSERT_GE_MSG(test, inst_alloc(test, inst, (int)(i % 4) - 1,
						     0, i % 3), 0,
				    "%u frames are left", 400 - i);
	KUNIT_EXPECT_EQ(test, -ENOMEM, inst_alloc(test, inst, 3, 0, 0));
	inst_check(test, inst);
}

/* The owner of a tree allocates the frames that others freed, to the last one. */
static void owner_takes_back(struct kunit *test)
{
	struct llfree_request req = { .class = LLFREE_CLASS_MOVABLE };
	struct instance *inst;

	for (req.order = 0; req.order < LLFREE_NR_ORDERS; req.order++) {
		inst = inst_full_tree(test, req.order);
		/* The owner frees one half of the block, or none of it. */
		if (req.order % 2) {
			inst_free(test, inst, 0, FIRST, req.order - 1);
			inst_free(test, inst, LLFREE_NO_SLOT,
				  FIRST + (1UL << (req.order - 1)),
				  req.order - 1);
		} else {
			inst_free(test, inst, LLFREE_NO_SLOT, FIRST, req.order);
		}
		KUNIT_EXPECT_EQ(test, FIRST, inst_alloc_req(test, inst, &req));
		/* The owner found the block in its own tree. */
		KUNIT_EXPECT_TRUE(test, inst_tree_reserved(test, inst, FIRST));
		KUNIT_EXPECT_EQ(test, 0, tree_free(*inst_tree(inst, 0, 0)));
		KUNIT_EXPECT_EQ(test, 0, local_free(*movable_local(inst, 0)));
		inst_check(test, inst);
	}
}

/*
 * Half of the permits of a free block are with its tree and half with a slot. An
 * allocation of it by another slot leaves a debt.
 */
static void permits_split(struct kunit *test)
{
	struct instance *inst;
	unsigned int order;

	for (order = 1; order < LLFREE_NR_ORDERS; order++) {
		inst = inst_full_tree(test, LLFREE_MAX_ORDER);
		inst_free(test, inst, 0, FIRST, order - 1);
		inst_free(test, inst, LLFREE_NO_SLOT,
			  FIRST + (1UL << (order - 1)), order - 1);
		KUNIT_ASSERT_EQ(test, 1 << (order - 1),
				local_free(*movable_local(inst, 0)));
		KUNIT_EXPECT_EQ(test, FIRST,
				inst_alloc(test, inst, 1, order, 0));
		KUNIT_EXPECT_EQ(test, -(1 << (order - 1)),
				tree_free(*inst_tree(inst, 0, 0)));
		inst_check(test, inst);
		/* Allocations fail in spite of the permits that the slot still holds. */
		KUNIT_EXPECT_EQ(test, -ENOMEM, inst_alloc(test, inst, 0, 0, 0));
		KUNIT_EXPECT_EQ(test, -ENOMEM,
				inst_alloc(test, inst, 0, 0,
					   LLFREE_CLASS_MOVABLE));
		inst_free(test, inst, 1, FIRST, order);
		llfree_drain(&inst->llf, -1);
		inst_check(test, inst);
	}
}

/*
 * Neither the slot nor the tree has enough permits for the block, but both together.
 * All slots, also the owner, and callers without one find it.
 */
static void permits_split_any_slot(struct kunit *test)
{
	struct instance *inst;
	unsigned int i;
	int slot;

	for (slot = LLFREE_NO_SLOT; slot < 4; slot++) {
		inst = inst_full_tree(test, LLFREE_MAX_ORDER);
		for (i = 0; i < 8; i++)
			inst_free(test, inst, i < 4 ? 0 : LLFREE_NO_SLOT, FIRST + i, 0);
		KUNIT_ASSERT_EQ(test, 4, tree_free(*inst_tree(inst, 0, 0)));
		KUNIT_ASSERT_EQ(test, 4, local_free(*movable_local(inst, 0)));
		KUNIT_EXPECT_EQ(test, FIRST, inst_alloc(test, inst, slot, 3,
							LLFREE_CLASS_MOVABLE));
		KUNIT_EXPECT_EQ(test, -ENOMEM, inst_alloc(test, inst, slot, 0, 0));
		inst_check(test, inst);
	}
}

/* All permits are with slots that do not use them: another slot gets all frames. */
static void permits_of_other_slots(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, 4 * TREE, LLFREE_INIT_FREE, 6);
	unsigned int class, nr = 0;
	int slot;

	for (slot = 0; slot < 4; slot++)
		for (class = 0; class < LLFREE_NR_CLASSES; class++, nr++)
			KUNIT_ASSERT_GE(test, inst_alloc(test, inst, slot, 0, class), 0);
	while (inst_alloc(test, inst, 5, 0, 0) >= 0)
		nr++;
	KUNIT_EXPECT_EQ(test, 4 * TREE, nr);
	inst_check(test, inst);
}

static struct kunit_case reserve_cases[] = {
	KUNIT_CASE(slots),
	KUNIT_CASE(free_reserves),
	KUNIT_CASE(drain_one_slot),
	KUNIT_CASE(drain_all_classes),
	KUNIT_CASE(more_slots_than_trees),
	KUNIT_CASE(reserved_only),
	KUNIT_CASE(freed_by_others),
	KUNIT_CASE(any_slot_takes_back),
	KUNIT_CASE(freed_by_owner),
	KUNIT_CASE(owner_takes_back),
	KUNIT_CASE(permits_split),
	KUNIT_CASE(permits_split_any_slot),
	KUNIT_CASE(permits_of_other_slots),
	{}
};

static struct kunit_suite reserve_suite = {
	.name = "llfree_reserve",
	.test_cases = reserve_cases,
};

kunit_test_suite(reserve_suite);
