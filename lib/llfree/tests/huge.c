// SPDX-License-Identifier: GPL-2.0
/*
 * Huge blocks stay whole: allocations take what is left of other children before they
 * begin one that is entirely free, and huge blocks are used again near each other.
 */
#include "instance.h"

#define OTHER	(FIRST + 2 * TREE)

static long alloc_movable(struct kunit *test, struct instance *inst, int slot,
			  unsigned int order)
{
	return inst_alloc(test, inst, slot, order, LLFREE_CLASS_MOVABLE);
}

/* First frame of a batch of movable blocks that slot 0 allocates */
static long alloc_batch(struct kunit *test, struct instance *inst, unsigned int order,
			unsigned int nr, u64 *masks)
{
	struct llfree_request req = {
		.order = order,
		.class = LLFREE_CLASS_MOVABLE,
	};
	long child = inst_alloc_batch(test, inst, &req, nr, masks);

	return child < 0 ? child : child + batch_first(masks);
}

/* The fast path if the slot has reserved a tree that has a block, else the search */
static long alloc_fast(struct kunit *test, struct instance *inst, unsigned int order)
{
	struct llfree_request req = {
		.order = order,
		.class = LLFREE_CLASS_MOVABLE,
	};
	long frame;

	frame = inst_alloc_fast(test, inst, 0, order, req.class);
	if (frame >= 0)
		return frame;
	frame = llfree_alloc_slow(&inst->llf, &req, &inst->delta);
	if (frame >= 0)
		inst_allocated(test, inst, frame, 1UL << order, LLFREE_VIEW_NORMAL);
	return frame;
}

/*
 * Frees all children of the first tree of four; of one of them, slot 0 allocates all
 * frames by rows.
 */
static struct instance *inst_child_in_use(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, 4 * TREE, LLFREE_INIT_ALLOC, 2);
	u64 masks[LLFREE_CHILD_ROWS];
	unsigned long i;

	for (i = 0; i < TREE; i += CHILD)
		inst_free(test, inst, LLFREE_NO_SLOT, FIRST + i, LLFREE_CHILD_ORDER);
	for (i = 0; i < CHILD; i += LLFREE_ROW_FRAMES) {
		KUNIT_ASSERT_EQ(test, FIRST + i,
				alloc_batch(test, inst, 0, LLFREE_ROW_FRAMES, masks));
		KUNIT_ASSERT_EQ(test, ~0ULL, masks[i / LLFREE_ROW_FRAMES]);
	}
	return inst;
}

/* Blocks of other trees go first, though the slot has reserved a tree. */
static void other_trees_go_first(struct kunit *test)
{
	struct llfree_request req = {
		.class = LLFREE_CLASS_MOVABLE,
		.flags = LLFREE_ALLOC_RESERVED,
	};
	unsigned long i, nr, left;
	struct instance *inst;
	unsigned int order;

	for (order = 0; order <= 4; order++) {
		nr = 1UL << order;
		inst = inst_new(test, FIRST, 4 * TREE, LLFREE_INIT_ALLOC, 2);
		for (i = 0; i < TREE; i += CHILD)
			inst_free(test, inst, LLFREE_NO_SLOT, FIRST + i,
				  LLFREE_CHILD_ORDER);
		KUNIT_ASSERT_EQ(test, FIRST, alloc_movable(test, inst, 0, order));
		/* The slot goes on where the child ends. */
		for (left = CHILD - nr; left; left -= nr)
			KUNIT_ASSERT_GE(test, alloc_movable(test, inst, 0, order), 0);
		KUNIT_ASSERT_TRUE(test, inst_tree_reserved(test, inst, FIRST));

		/* Every second block of a row in each of 4 children elsewhere */
		for (i = 0; i < 4 * LLFREE_ROW_FRAMES; i += 2 * nr) {
			inst_free(test, inst, LLFREE_NO_SLOT,
				  OTHER + i / LLFREE_ROW_FRAMES * CHILD +
				  i % LLFREE_ROW_FRAMES, order);
			left += nr;
		}
		req.order = order;
		KUNIT_EXPECT_EQ(test, -ENOMEM, llfree_alloc(&inst->llf, &req,
							    &inst->delta));
		for (; left; left -= nr)
			KUNIT_EXPECT_EQ(test, OTHER,
					ALIGN_DOWN(alloc_movable(test, inst, 0, order),
						   TREE));
		/* Only free children are left. */
		KUNIT_EXPECT_EQ(test, FIRST,
				ALIGN_DOWN(alloc_movable(test, inst, 0, order), TREE));
		inst_check(test, inst);
	}
}

/* So it is wherever the slot looks next, also where a child has just become free. */
static void hint_begins_no_child(struct kunit *test)
{
	struct llfree_request req = {
		.class = LLFREE_CLASS_MOVABLE,
		.flags = LLFREE_ALLOC_RESERVED,
	};
	u64 masks[LLFREE_CHILD_ROWS];
	struct instance *inst;
	unsigned long i;

	for (req.order = 0; req.order < LLFREE_CHILD_ORDER; req.order++) {
		inst = inst_child_in_use(test);
		/* Less than 16 frames would not be worth it. */
		inst_free(test, inst, LLFREE_NO_SLOT, OTHER, max_t(int, req.order, 4));
		KUNIT_EXPECT_EQ(test, -ENOMEM, llfree_alloc(&inst->llf, &req,
							    &inst->delta));
		KUNIT_EXPECT_EQ(test, OTHER, alloc_movable(test, inst, 0, req.order));
		inst_check(test, inst);
	}

	inst = inst_child_in_use(test);
	for (i = 0; i < CHILD; i += LLFREE_ROW_FRAMES)
		inst_free_batch(test, inst, 0, FIRST + i, ~0ULL);
	inst_free(test, inst, LLFREE_NO_SLOT, OTHER, LLFREE_ROW_ORDER);
	KUNIT_EXPECT_EQ(test, OTHER, alloc_batch(test, inst, 0, LLFREE_ROW_FRAMES, masks));
	KUNIT_EXPECT_EQ(test, LLFREE_ROW_FRAMES, batch_frames(masks));
	inst_check(test, inst);
}

/*
 * Holes of the tree that the slot has reserved go before a child that has just become
 * entirely free, though the slot looks there next and has found no holes before.
 */
static void own_holes_go_first(struct kunit *test)
{
	const unsigned long second = FIRST + CHILD, hole = FIRST + 3 * LLFREE_ROW_FRAMES;
	u64 masks[LLFREE_CHILD_ROWS];
	struct instance *inst;
	unsigned int order, how;
	unsigned long i;
	long frame = 0;

	for (order = 0; order <= LLFREE_ROW_ORDER; order++) {
		for (how = 0; how < 4; how++) {
			inst = inst_child_in_use(test);
			/* No holes yet: the slot begins another child, and frees it. */
			for (i = 0; i < 4; i++)
				KUNIT_EXPECT_EQ(test, second + (i << order),
						alloc_fast(test, inst, order));
			inst_free(test, inst, 0, hole, order);
			while (i--)
				inst_free(test, inst, 0, second + (i << order), order);

			switch (how) {
			case 0:
				frame = alloc_fast(test, inst, order);
				break;
			case 1:
				frame = alloc_movable(test, inst, 0, order);
				break;
			case 2:
			case 3:
				/* The child that the slot goes on in has no hole. */
				frame = alloc_batch(test, inst, order,
						    how == 2 ? 1 : 600, masks);
				KUNIT_EXPECT_EQ(test, 1U << order, batch_frames(masks));
				break;
			}
			KUNIT_EXPECT_EQ_MSG(test, hole, frame, "order %u, way %u", order,
					    how);
			/* Now there are none again. */
			KUNIT_EXPECT_EQ(test, second, alloc_fast(test, inst, order));
			inst_check(test, inst);
		}
	}
}

/* A slot that found no holes in its tree does not look for them each time. */
static void own_holes_are_looked_for_once(struct kunit *test)
{
	struct instance *inst = inst_child_in_use(test);
	unsigned int order;
	long frame, huge;

	/* A hole that is too small for all but the smallest of the orders */
	inst_free(test, inst, 0, FIRST, 0);
	for (order = 1; order < LLFREE_CHILD_ORDER; order++) {
		frame = alloc_fast(test, inst, order);
		KUNIT_ASSERT_GE(test, frame, FIRST + CHILD);
		inst_free(test, inst, 0, frame, order);
		/* The fast path goes on in the child that is entirely free again. */
		huge = inst->delta.huge[LLFREE_VIEW_NORMAL];
		frame = inst_alloc_fast(test, inst, 0, order, LLFREE_CLASS_MOVABLE);
		KUNIT_ASSERT_GE(test, frame, FIRST + CHILD);
		KUNIT_EXPECT_EQ(test, 1, huge - inst->delta.huge[LLFREE_VIEW_NORMAL]);
		inst_free(test, inst, 0, frame, order);
	}
	KUNIT_EXPECT_EQ(test, FIRST, alloc_fast(test, inst, 0));
	inst_check(test, inst);
}

/* Allocations look for children that were isolated as soon as they are shown again. */
static void shown_children_go_first(struct kunit *test)
{
	struct instance *inst = inst_child_in_use(test);
	u64 masks[LLFREE_CHILD_ROWS];
	long frame;

	inst_free(test, inst, LLFREE_NO_SLOT, OTHER, LLFREE_ROW_ORDER);
	inst_set_view(test, inst, OTHER, LLFREE_VIEW_ISOLATED);
	/* There are no holes: the slot begins a child. */
	frame = alloc_batch(test, inst, 0, LLFREE_ROW_FRAMES, masks);
	KUNIT_EXPECT_EQ(test, FIRST + CHILD, ALIGN_DOWN(frame, CHILD));
	inst_set_view(test, inst, OTHER, LLFREE_VIEW_NORMAL);
	while (frame != OTHER) {
		KUNIT_ASSERT_LT(test, frame, FIRST + 2 * CHILD);
		frame = alloc_batch(test, inst, 0, LLFREE_ROW_FRAMES, masks);
	}
	inst_check(test, inst);
}

/* A slot that found no holes where it is tells nothing about holes elsewhere. */
static void slots_look_for_themselves(struct kunit *test)
{
	const unsigned long far = 2048 * TREE;
	struct instance *inst = inst_new(test, 0, 2 * far, LLFREE_INIT_ALLOC, 2);
	unsigned long i;

	/* A tree for each slot, of which a child is in use, and a hole near one of them */
	for (i = 0; i < 2 * CHILD; i += CHILD) {
		inst_free(test, inst, LLFREE_NO_SLOT, i, LLFREE_CHILD_ORDER);
		inst_free(test, inst, LLFREE_NO_SLOT, far + i, LLFREE_CHILD_ORDER);
	}
	for (i = 0; i < CHILD; i++) {
		KUNIT_ASSERT_EQ(test, i, alloc_movable(test, inst, 0, 0));
		KUNIT_ASSERT_EQ(test, far + i, alloc_movable(test, inst, 1, 0));
	}
	inst_free(test, inst, LLFREE_NO_SLOT, far + 2 * TREE, 5);
	KUNIT_EXPECT_EQ(test, CHILD, alloc_movable(test, inst, 0, 0));
	KUNIT_EXPECT_EQ(test, far + 2 * TREE,
			ALIGN_DOWN(alloc_movable(test, inst, 1, 0), TREE));
	inst_check(test, inst);
}

/* Where the numbers of trees begin does not matter for which holes a search sees. */
static void holes_of_all_trees(struct kunit *test)
{
	const unsigned long first = 2000 * TREE, hole = first + 100 * TREE;
	struct instance *inst = inst_new(test, first, 128 * TREE, LLFREE_INIT_ALLOC, 1);
	unsigned long i;

	inst_free(test, inst, LLFREE_NO_SLOT, first, LLFREE_CHILD_ORDER);
	inst_free(test, inst, LLFREE_NO_SLOT, first + CHILD, LLFREE_CHILD_ORDER);
	for (i = 0; i < CHILD; i++)
		KUNIT_ASSERT_EQ(test, first + i, alloc_movable(test, inst, 0, 0));
	inst_free(test, inst, LLFREE_NO_SLOT, hole, LLFREE_ROW_ORDER);
	KUNIT_EXPECT_EQ(test, hole, alloc_movable(test, inst, 0, 0));
	inst_check(test, inst);
}

/*
 * A slot that remembers a search without success searches again in later rounds, also
 * if other slots search as well.
 */
static void rounds_of_two_slots(struct kunit *test)
{
	struct instance *inst = inst_new(test, 0, 8 * TREE, LLFREE_INIT_ALLOC, 2);
	unsigned long hole, i;
	unsigned int round, slot;

	inst_free(test, inst, LLFREE_NO_SLOT, 0, LLFREE_CHILD_ORDER);
	inst_free(test, inst, LLFREE_NO_SLOT, CHILD, LLFREE_CHILD_ORDER);
	for (i = 0; i < CHILD; i++)
		KUNIT_ASSERT_EQ(test, i, alloc_movable(test, inst, 0, 0));
	for (round = 0; round < 40; round++) {
		/* In each round, the other slot is the first to search. */
		for (slot = 2; slot--;) {
			hole = (2 + 2 * slot + round % 2) * TREE;
			inst_free(test, inst, LLFREE_NO_SLOT, hole, LLFREE_ROW_ORDER);
		}
		for (slot = 2; slot--;) {
			for (i = 0; i < LLFREE_ROW_FRAMES; i++)
				KUNIT_ASSERT_GE_MSG(test, alloc_movable(test, inst, slot, 0),
						    2 * TREE, "round %u slot %u", round, slot);
		}
	}
	inst_check(test, inst);
}

/*
 * Holes that come after a search without success are found before an entirely free
 * child is broken up, however many times holes have come before.
 */
static void each_round_is_another(struct kunit *test)
{
	struct instance *inst = inst_new(test, 0, 3 * TREE, LLFREE_INIT_ALLOC, 1);
	unsigned long hole, i;
	unsigned int round;

	inst_free(test, inst, LLFREE_NO_SLOT, 0, LLFREE_CHILD_ORDER);
	inst_free(test, inst, LLFREE_NO_SLOT, CHILD, LLFREE_CHILD_ORDER);
	for (i = 0; i < CHILD; i++)
		KUNIT_ASSERT_EQ(test, i, alloc_movable(test, inst, 0, 0));
	for (round = 0; round < 40; round++) {
		hole = (1 + round % 2) * TREE;
		inst_free(test, inst, LLFREE_NO_SLOT, hole, LLFREE_ROW_ORDER);
		for (i = 0; i < LLFREE_ROW_FRAMES; i++)
			KUNIT_ASSERT_EQ_MSG(test, hole + i, alloc_movable(test, inst, 0, 0),
					    "round %u", round);
	}
	inst_check(test, inst);
}

/* A caller that allocates and frees a few huge blocks again and again stays there. */
static void used_again(struct kunit *test)
{
	struct instance *inst = inst_new(test, 0, 256 * TREE, LLFREE_INIT_FREE, 4);
	const unsigned int order = LLFREE_CHILD_ORDER;
	unsigned int round, i;
	long frames[100];

	for (round = 0; round < 16; round++) {
		for (i = 0; i < ARRAY_SIZE(frames); i++) {
			frames[i] = inst_alloc(test, inst, 0, order, LLFREE_CLASS_HUGE);
			KUNIT_ASSERT_GE(test, frames[i], 0);
			KUNIT_EXPECT_LT(test, frames[i], 16 * TREE);
		}
		for (i = 0; i < ARRAY_SIZE(frames); i++)
			inst_free(test, inst, 0, frames[i], order);
	}
	inst_check(test, inst);
}

/* Pairs of whole children and single ones are found wherever they become free. */
static void found_near_home(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, 10 * TREE, LLFREE_INIT_FREE, 1);
	const unsigned int pair = LLFREE_MAX_ORDER, one = LLFREE_CHILD_ORDER;
	const unsigned int class = LLFREE_CLASS_HUGE;
	unsigned long i, tree;
	long frame;

	/* The first four trees have the class, and the others none. */
	for (i = 0; i < 4 * TREE; i += CHILD)
		KUNIT_ASSERT_EQ(test, FIRST + i,
				inst_alloc(test, inst, LLFREE_NO_SLOT, one, class));
	for (tree = FIRST; tree < FIRST + 4 * TREE; tree += TREE) {
		inst_free(test, inst, LLFREE_NO_SLOT, tree, one);
		inst_free(test, inst, LLFREE_NO_SLOT, tree + 2 * CHILD, one);
	}

	for (i = 0; i < 8; i++)
		KUNIT_ASSERT_EQ(test, FIRST + 4 * TREE + i * 2 * CHILD,
				inst_alloc(test, inst, 0, pair, class));
	inst_free(test, inst, LLFREE_NO_SLOT, FIRST + TREE + CHILD, one);
	KUNIT_EXPECT_EQ(test, FIRST + TREE, inst_alloc(test, inst, 0, pair, class));

	KUNIT_EXPECT_EQ(test, FIRST + TREE + 2 * CHILD,
			inst_alloc(test, inst, 0, one, class));
	frame = inst_alloc(test, inst, 0, one, class);
	KUNIT_EXPECT_EQ(test, FIRST, ALIGN_DOWN(frame, TREE));

	/* Blocks that the slot frees and releases are found, too. */
	inst_free(test, inst, 0, frame, one);
	for (i = 0; i < 4; i++)
		KUNIT_ASSERT_EQ(test, FIRST + 6 * TREE + i * 2 * CHILD,
				inst_alloc(test, inst, 0, pair, class));
	inst_free(test, inst, 0, FIRST + 6 * TREE, pair);
	KUNIT_ASSERT_EQ(test, 0, llfree_drain(&inst->llf, 0));
	KUNIT_EXPECT_EQ(test, FIRST + 6 * TREE, inst_alloc(test, inst, 0, pair, class));
	inst_check(test, inst);
}

/*
 * Half of the frames are in use, anywhere; then again and again, some are freed and as
 * many allocated. Allocations from where little is left, always in one direction, let
 * the rest of the memory become free in whole children.
 */
static void frames_gather(struct kunit *test)
{
	const unsigned long nr = 128 * TREE;
	struct instance *inst = inst_new(test, 0, nr, LLFREE_INIT_FREE, 2);
	unsigned long *frames = area_new(test, nr * sizeof(*frames));
	unsigned long used, i, at, turnover;
	struct llfree_stats stats;
	struct rnd_state rnd;
	int round;

	prandom_seed_state(&rnd, 1);
	for (used = 0; used < nr; used++) {
		frames[used] = alloc_movable(test, inst, 0, 0);
		KUNIT_ASSERT_GE(test, (long)frames[used], 0);
	}
	for (round = -1; round < 100; round++) {
		turnover = round < 0 ? nr / 2 : nr / 20;
		for (i = 0; i < turnover; i++) {
			at = prandom_u32_state(&rnd) % used;
			inst_free(test, inst, 0, frames[at], 0);
			frames[at] = frames[--used];
		}
		for (i = 0; round >= 0 && i < turnover; i++) {
			frames[used] = alloc_movable(test, inst, 0, 0);
			KUNIT_ASSERT_GE(test, (long)frames[used], 0);
			used++;
		}
	}
	/* Half of the children are all that there can be. */
	llfree_stats_exact(&inst->llf, &stats);
	KUNIT_EXPECT_GT(test, stats.huge[LLFREE_VIEW_NORMAL], nr / CHILD * 45 / 100);
	inst_check(test, inst);
}

static struct kunit_case huge_cases[] = {
	KUNIT_CASE(other_trees_go_first),
	KUNIT_CASE(hint_begins_no_child),
	KUNIT_CASE(own_holes_go_first),
	KUNIT_CASE(own_holes_are_looked_for_once),
	KUNIT_CASE(shown_children_go_first),
	KUNIT_CASE(slots_look_for_themselves),
	KUNIT_CASE(holes_of_all_trees),
	KUNIT_CASE(each_round_is_another),
	KUNIT_CASE(rounds_of_two_slots),
	KUNIT_CASE(used_again),
	KUNIT_CASE(found_near_home),
	KUNIT_CASE(frames_gather),
	{}
};

static struct kunit_suite huge_suite = {
	.name = "llfree_huge",
	.test_cases = huge_cases,
};

kunit_test_suite(huge_suite);
