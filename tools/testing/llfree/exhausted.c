// SPDX-License-Identifier: GPL-2.0
/*
 * Number of words that searches read: unsuccessful searches mark trees as
 * exhausted, and later ones skip these. Bounded searches read a limited number
 * of words.
 */
#include <linux/align.h>
#include <linux/kernel.h>
#include <errno.h>
#include <kselftest_harness.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "inst.h"
#include "words.h"

#define TREE	LLFREE_MIN_TREE_FRAMES
#define CHILD	LLFREE_CHILD_FRAMES
#define ROW	LLFREE_ROW_FRAMES
#define BASE	(10 * TREE)
#define TREES	8

static unsigned long nr_steps;

void shim_step(const void *word)
{
	nr_steps++;
}

static u32 tree_read(struct inst *in, unsigned long frame, int view)
{
	return *tree_at(&in->llf, view, child_tree(&in->llf, frame_child(frame)));
}

/* Count the steps of an allocation that has to fail. */
static unsigned long fail_steps(struct __test_metadata *_metadata, struct inst *in,
				unsigned int order, int view)
{
	nr_steps = 0;
	EXPECT_EQ(-ENOMEM, inst_alloc_view(in, LLFREE_NO_SLOT, order, view));
	return nr_steps;
}

FIXTURE(half) {
	struct inst in;
};

/* Every second frame is free, but all frames of the last row are allocated. */
FIXTURE_SETUP(half)
{
	unsigned long frame;

	ASSERT_EQ(0, inst_init(&self->in, BASE, TREES * TREE, LLFREE_INIT_ALLOC,
			       NULL, 2));
	for (frame = BASE; frame < BASE + TREES * TREE - ROW; frame += 2)
		ASSERT_EQ(0, inst_free(&self->in, LLFREE_NO_SLOT, frame, 0));
}

FIXTURE_TEARDOWN(half)
{
	EXPECT_STREQ("", inst_check(&self->in));
	inst_exit(&self->in);
}

/* Make all trees exhausted of @order and more, by two searches; see words.h. */
static void exhaust(struct __test_metadata *_metadata, struct inst *in,
		    unsigned int order, int view)
{
	unsigned int i;

	fail_steps(_metadata, in, order, view);
	fail_steps(_metadata, in, order, view);
	for (i = 0; i < TREES; i++)
		ASSERT_TRUE(tree_exhausted(tree_read(in, BASE + i * TREE, view), order));
}

TEST_F(half, third_search_reads_no_children)
{
	unsigned long first, third;

	first = fail_steps(_metadata, &self->in, 3, 0);
	EXPECT_GT(first, TREES * TREE / ROW);
	fail_steps(_metadata, &self->in, 3, 0);
	third = fail_steps(_metadata, &self->in, 3, 0);
	/*
	 * The third search makes a few passes over the tree words, and reads no
	 * children.
	 */
	EXPECT_LT(third, 12 * TREES + 30);
}

TEST_F(half, exhausted_of_higher_orders_only)
{
	exhaust(_metadata, &self->in, 1, 0);
	EXPECT_FALSE(tree_exhausted(tree_read(&self->in, BASE, 0), 0));
	EXPECT_TRUE(tree_exhausted(tree_read(&self->in, BASE, 0), LLFREE_MAX_ORDER));
	EXPECT_LE(0, inst_alloc(&self->in, 0, 0));
}

TEST_F(half, higher_order_first)
{
	exhaust(_metadata, &self->in, 9, 0);
	EXPECT_FALSE(tree_exhausted(tree_read(&self->in, BASE, 0), 8));
	exhaust(_metadata, &self->in, 3, 0);
	EXPECT_FALSE(tree_exhausted(tree_read(&self->in, BASE, 0), 2));
	/* A search of a higher order does not remove the mark. */
	fail_steps(_metadata, &self->in, 9, 0);
	EXPECT_TRUE(tree_exhausted(tree_read(&self->in, BASE, 0), 3));
}

TEST_F(half, free_reopens_one_tree)
{
	unsigned long cost;
	int i;

	exhaust(_metadata, &self->in, 1, 0);
	ASSERT_EQ(0, inst_free(&self->in, LLFREE_NO_SLOT, BASE + 2 * TREE + 1, 0));
	for (i = 0; i < TREES; i++)
		EXPECT_EQ(i != 2, tree_exhausted(tree_read(&self->in, BASE + i * TREE, 0), 1));
	nr_steps = 0;
	EXPECT_EQ(BASE + 2 * TREE, inst_alloc(&self->in, LLFREE_NO_SLOT, 1));
	cost = nr_steps;
	EXPECT_LT(cost, 12 * TREES + 2 * TREE / ROW);
}

TEST_F(half, allocation_does_not_reopen)
{
	struct llfree_request req = { .slot = 0 };
	u64 masks[LLFREE_CHILD_ROWS];
	unsigned long i;

	exhaust(_metadata, &self->in, 1, 0);
	ASSERT_LE(0, inst_alloc(&self->in, LLFREE_NO_SLOT, 0));
	ASSERT_LE(0, inst_alloc_batch(&self->in.llf, &req, 9, masks, &self->in.sum));
	ASSERT_EQ(0, llfree_claim(&self->in.llf, BASE + 3 * TREE, 0, 0, &self->in.sum));
	for (i = 1; i < TREES; i++)
		EXPECT_TRUE(tree_exhausted(tree_read(&self->in, BASE + i * TREE, 0), 1));
}

TEST_F(half, frees_of_a_slot_are_seen_when_it_is_drained)
{
	unsigned long frame;

	exhaust(_metadata, &self->in, 1, 0);
	frame = inst_alloc(&self->in, 0, 0);
	ASSERT_EQ(BASE, frame);
	ASSERT_TRUE(tree_reserved(tree_read(&self->in, BASE, 0)));
	ASSERT_EQ(0, inst_free(&self->in, 0, BASE + 5, 0));
	/* Other slots can allocate the block at once, */
	EXPECT_FALSE(tree_exhausted(tree_read(&self->in, BASE, 0), 1));
	EXPECT_EQ(BASE + 4, inst_alloc(&self->in, 1, 1));
	ASSERT_EQ(0, inst_free(&self->in, 0, BASE + 4, 1));
	/* and also when the tree is no longer reserved. */
	ASSERT_EQ(0, llfree_drain(&self->in.llf, -1));
	EXPECT_FALSE(tree_exhausted(tree_read(&self->in, BASE, 0), 1));
	EXPECT_EQ(BASE + 4, inst_alloc(&self->in, LLFREE_NO_SLOT, 1));
}

/* After a free of any kind, a search finds the block in an exhausted tree. */
TEST_F(half, found_after_each_kind_of_free)
{
	const unsigned long end = BASE + TREES * TREE;
	struct llfree *llf = &self->in.llf;
	struct llfree_delta *sum = &self->in.sum;

	exhaust(_metadata, &self->in, 1, 0);
	ASSERT_EQ(0, llfree_free_batch(llf, -1, end - ROW, 0xff, sum));
	EXPECT_EQ(end - ROW, inst_alloc(&self->in, LLFREE_NO_SLOT, 3));
	exhaust(_metadata, &self->in, 1, 0);
	ASSERT_LE(0, llfree_free_fast(llf, -1, end - ROW, 3));
	sum->frames[0] += 8;
	EXPECT_EQ(end - ROW, inst_alloc(&self->in, LLFREE_NO_SLOT, 3));
}

FIXTURE(full) {
	struct inst in;
};

FIXTURE_SETUP(full)
{
	ASSERT_EQ(0, inst_init(&self->in, BASE, TREES * TREE, LLFREE_INIT_ALLOC,
			       NULL, 1));
	exhaust(_metadata, &self->in, 0, LLFREE_VIEW_NORMAL);
	exhaust(_metadata, &self->in, 0, LLFREE_VIEW_CMA);
}

FIXTURE_TEARDOWN(full)
{
	EXPECT_STREQ("", inst_check(&self->in));
	inst_exit(&self->in);
}

TEST_F(full, order_0_costs_no_children)
{
	EXPECT_LT(fail_steps(_metadata, &self->in, 0, 0), 12 * TREES + 30);
}

TEST_F(full, block_of_each_order_is_found)
{
	unsigned int order;

	for (order = 0; order <= LLFREE_MAX_ORDER; order++) {
		ASSERT_EQ(0, inst_free(&self->in, LLFREE_NO_SLOT, BASE + TREE, order));
		EXPECT_EQ(BASE + TREE, inst_alloc(&self->in, LLFREE_NO_SLOT, order));
		exhaust(_metadata, &self->in, 0, 0);
	}
	ASSERT_EQ(0, inst_free(&self->in, LLFREE_NO_SLOT, BASE, LLFREE_MIN_TREE_ORDER + 1));
	EXPECT_LE(0, inst_alloc(&self->in, LLFREE_NO_SLOT, LLFREE_MAX_ORDER));
	ASSERT_EQ(0, inst_free(&self->in, 0, BASE + 4 * TREE, LLFREE_MAX_ORDER));
	EXPECT_LE(0, inst_alloc(&self->in, 0, LLFREE_MAX_ORDER));
}

TEST_F(full, reported_block_is_found)
{
	ASSERT_EQ(0, llfree_free_reported(&self->in.llf, BASE + CHILD, LLFREE_CHILD_ORDER,
					  &self->in.sum));
	EXPECT_EQ(BASE + CHILD, inst_alloc(&self->in, LLFREE_NO_SLOT, LLFREE_CHILD_ORDER));
}

TEST_F(full, change_of_view_is_found)
{
	ASSERT_EQ(0, inst_set_view(&self->in, BASE, LLFREE_VIEW_ISOLATED));
	ASSERT_EQ(0, inst_free(&self->in, LLFREE_NO_SLOT, BASE + 3, 0));
	EXPECT_EQ(-ENOMEM, inst_alloc(&self->in, LLFREE_NO_SLOT, 0));
	ASSERT_EQ(LLFREE_VIEW_ISOLATED, inst_set_view(&self->in, BASE, LLFREE_VIEW_CMA));
	EXPECT_EQ(-ENOMEM, inst_alloc(&self->in, LLFREE_NO_SLOT, 0));
	EXPECT_EQ(BASE + 3, inst_alloc_view(&self->in, LLFREE_NO_SLOT, 0, LLFREE_VIEW_CMA));
}

/*
 * The generation is between other parts of a tree word: a carry must not change
 * these.
 */
TEST(generations_go_round)
{
	u32 word = tree_make(-7, 5, true) | TREE_WATCHED, old = word;
	unsigned int i;

	for (i = 0; i < 16; i++) {
		word = tree_reopen(word | TREE_WATCHED);
		EXPECT_EQ(-7, tree_free(word));
		EXPECT_EQ(5, tree_class(word));
		EXPECT_TRUE(tree_reserved(word));
		EXPECT_EQ(i == 15, (word | TREE_WATCHED) == old);
	}
	EXPECT_EQ(word, tree_reopen(word));
}

/* llfree_validate() reports a tree that is exhausted but has a block. */
TEST_F(half, validate_finds_a_wrong_one)
{
	struct llfree_fault fault = { };
	u32 *word = tree_at(&self->in.llf, 0, child_tree(&self->in.llf, frame_child(BASE)) + 3);

	*word |= tree_exhausted_make(0);
	EXPECT_EQ(-EUCLEAN, llfree_validate(&self->in.llf, &fault));
	EXPECT_STREQ("an exhausted tree has a block", fault.what);
	EXPECT_EQ(BASE + 3 * TREE, fault.frame);
	*word &= ~TREE_EXHAUSTED_MASK;
	*word |= tree_exhausted_make(1);
	EXPECT_EQ(0, llfree_validate(&self->in.llf, NULL));
}

/* ---- Trees of any size ---- */

TEST(tree_order_by_size)
{
	const unsigned long gib = 1UL << 18;

	EXPECT_EQ(LLFREE_MIN_TREE_ORDER, llfree_tree_order(1, 0));
	EXPECT_EQ(LLFREE_MIN_TREE_ORDER, llfree_tree_order(16 * gib, 16));
	EXPECT_EQ(LLFREE_MIN_TREE_ORDER + 1, llfree_tree_order(32 * gib, 16));
	EXPECT_EQ(LLFREE_MAX_TREE_ORDER, llfree_tree_order(1024 * gib, 16));
	/* Many slots need many trees. */
	EXPECT_EQ(14, llfree_tree_order(1024 * gib, 1024));
	EXPECT_EQ(LLFREE_MIN_TREE_ORDER, llfree_tree_order(32 * gib, 512));
	EXPECT_EQ(LLFREE_MAX_TREE_ORDER, llfree_tree_order(LLFREE_MAX_FRAMES, 8192));
	EXPECT_EQ(LLFREE_MIN_TREE_ORDER, llfree_tree_order(LLFREE_MAX_FRAMES, UINT_MAX));
}

TEST(bad_tree_order)
{
	struct llfree_memory mem;

	EXPECT_EQ(-EINVAL, llfree_layout(0, TREE, LLFREE_MIN_TREE_ORDER - 1, &mem));
	EXPECT_EQ(-EINVAL, llfree_layout(0, TREE, LLFREE_MAX_TREE_ORDER + 1, &mem));
	EXPECT_EQ(-EINVAL, llfree_layout(0, TREE, UINT_MAX, &mem));
	EXPECT_EQ(0, llfree_layout(0, TREE, LLFREE_MAX_TREE_ORDER, &mem));
	EXPECT_EQ(LLFREE_MAX_TREE_ORDER, mem.tree_order);
}

FIXTURE(size) {
	struct inst in;
};

FIXTURE_VARIANT(size) {
	unsigned int order;
};

FIXTURE_VARIANT_ADD(size, mib16) { 12 };
FIXTURE_VARIANT_ADD(size, mib32) { 13 };
FIXTURE_VARIANT_ADD(size, mib128) { 15 };
FIXTURE_VARIANT_ADD(size, mib256) { 16 };

/* The range begins and ends within a tree. */
FIXTURE_SETUP(size)
{
	inst_tree_order = variant->order;
	ASSERT_EQ(0, inst_init(&self->in, BASE + 5 * CHILD + 3, 5UL << variant->order,
			       LLFREE_INIT_FREE, NULL, 2));
	inst_tree_order = LLFREE_MIN_TREE_ORDER;
}

FIXTURE_TEARDOWN(size)
{
	EXPECT_STREQ("", inst_check(&self->in));
	inst_exit(&self->in);
}

/* All of memory can be allocated in blocks of each order, and freed again. */
TEST_F(size, all_of_each_order)
{
	const unsigned long nr = 5UL << variant->order;
	unsigned long *frames = calloc(nr, sizeof(*frames)), n, i;
	static const unsigned int orders[] = { 0, 3, 6, 7, 9, 10 };
	unsigned int o;
	long frame;

	ASSERT_NE(NULL, frames);
	for (o = 0; o < ARRAY_SIZE(orders); o++) {
		for (n = 0; (frame = inst_alloc(&self->in, n % 3 - 1, orders[o])) >= 0; n++)
			frames[n] = frame;
		/* No block crosses an end of the range. */
		EXPECT_GE(nr >> orders[o], n);
		EXPECT_LE((nr >> orders[o]) - 2, n);
		ASSERT_STREQ("", inst_check(&self->in));
		for (i = 0; i < n; i++)
			ASSERT_EQ(0, inst_free(&self->in, i % 3 - 1, frames[i], orders[o]));
		EXPECT_EQ(nr, inst_free_frames(&self->in));
		ASSERT_EQ(0, llfree_drain(&self->in.llf, -1));
	}
	free(frames);
}

/* A reservation can hold the permits of a whole tree. */
TEST_F(size, reservation_of_a_whole_tree)
{
	const unsigned long tree = 1UL << variant->order;
	unsigned long frame;
	u64 local;

	frame = inst_alloc(&self->in, 0, 0);
	local = self->in.locals[0].reserved[0];
	ASSERT_TRUE(local & LOCAL_PRESENT);
	/*
	 * The range has only a part of the first tree, but all of the next
	 * ones.
	 */
	while (local_free(local) != tree - 1) {
		frame = inst_alloc(&self->in, 0, 0);
		ASSERT_LE(0, (long)frame);
		local = self->in.locals[0].reserved[0];
	}
	ASSERT_EQ(0, inst_free(&self->in, 0, frame, 0));
	EXPECT_EQ(tree, local_free(self->in.locals[0].reserved[0]));
}

/* ---- Bounded searches ---- */

/* Every second frame is free. Rows say so, and recovery counts them. */
static void init_half(struct __test_metadata *_metadata, struct inst *in,
		      unsigned long gib, unsigned int slots)
{
	ASSERT_EQ(0, inst_init(in, 0, gib << 18, LLFREE_INIT_ALLOC, NULL, slots));
	memset(in->mem.rows, 0x55, in->mem.rows_size);
	memset(in->mem.children, 0, in->mem.children_size);
	ASSERT_EQ(0, inst_reinit(in, LLFREE_INIT_RECOVER));
}

static long alloc_flags(struct inst *in, int slot, unsigned int order, unsigned int view,
			unsigned int flags)
{
	struct llfree_request req = {
		.slot = slot, .order = order, .view = view, .flags = flags,
	};

	return llfree_alloc(&in->llf, &req, &in->sum);
}

TEST(bounded_whatever_the_size)
{
	const unsigned long gib[] = { 4, 64, 256 };
	unsigned long most = 0;
	unsigned int i, n, view;
	struct inst in;

	for (i = 0; i < ARRAY_SIZE(gib); i++) {
		init_half(_metadata, &in, gib[i], 2);
		for (n = 0; n < 40; n++) {
			for (view = 0; view < LLFREE_ALLOC_VIEWS; view++) {
				nr_steps = 0;
				EXPECT_EQ(-ENOMEM, alloc_flags(&in, n % 3 - 1, 3, view,
							       LLFREE_ALLOC_BOUNDED));
				most = max(most, nr_steps);
			}
		}
		inst_exit(&in);
	}
	TH_LOG("at most %lu steps", most);
	/* Passes over the words of the trees, and the children of some trees */
	EXPECT_LT(most, 6 * 4096 + 20 * TREE / ROW * 3);
}

/*
 * Each search goes on where the last one ended, until all trees have been
 * looked at.
 */
TEST(bounded_comes_round)
{
	const unsigned long gib = 128, tree = 5000;
	unsigned int n;
	struct inst in;
	long frame;

	init_half(_metadata, &in, gib, 1);
	ASSERT_EQ(0, llfree_free_batch(&in.llf, -1, tree * TREE, 0x5555, &in.sum));
	for (n = 0; n < 3000; n++) {
		frame = alloc_flags(&in, -1, 4, 0, LLFREE_ALLOC_BOUNDED);
		if (frame >= 0)
			break;
	}
	EXPECT_EQ(tree * TREE, frame);
	EXPECT_GT(n, 1);
	inst_exit(&in);
}

/* In a small instance, a bounded search finds all free frames. */
TEST_F(half, bounded_finds_all_that_there_is)
{
	unsigned long nr = 0, least = TREES * TREE / 2 - ROW;

	while (alloc_flags(&self->in, nr % 2, 0, 0, LLFREE_ALLOC_BOUNDED) >= 0)
		nr++;
	EXPECT_LE(least, nr);
	EXPECT_EQ(0, inst_free_frames(&self->in));
}

/*
 * Reserved trees are never exhausted, and may have many free frames and no
 * block. They must not take up all looks of each bounded search.
 */
TEST(bounded_passes_reserved_trees)
{
	const unsigned int slots = 24;
	unsigned long tree, want = 0;
	unsigned int s, n, f;
	struct inst in;
	long frame = -1;

	init_half(_metadata, &in, 2, slots);
	for (s = 0; s < slots; s++) {
		frame = inst_alloc(&in, s, 0);
		ASSERT_LE(0, frame);
		tree = ALIGN_DOWN(frame, TREE);
		ASSERT_TRUE(tree_reserved(tree_read(&in, tree, 0)));
		/*
		 * Frees without a slot leave permits for single frames in the
		 * tree.
		 */
		for (f = 0; f < 32; f++) {
			if (llfree_claim(&in.llf, tree + 1024 + 2 * f + 1, 0, 0, &in.sum))
				continue;
			ASSERT_EQ(0, inst_free(&in, -1, tree + 1024 + 2 * f + 1, 0));
		}
		want = tree;
	}
	/*
	 * The last of these trees gets the only block, and its reservation the
	 * permits.
	 */
	ASSERT_EQ(0, llfree_free_batch(&in.llf, slots - 1, want + 2048, 0x5555, &in.sum));
	for (n = 0; n < 200; n++) {
		frame = alloc_flags(&in, -1, 4, 0, LLFREE_ALLOC_BOUNDED);
		if (frame >= 0)
			break;
	}
	EXPECT_EQ(want + 2048, frame);
	EXPECT_STREQ("", inst_check(&in));
	inst_exit(&in);
}

TEST_F(half, bounded_tells_the_hint)
{
	int n;

	for (n = 0; n < 9; n++)
		ASSERT_EQ(-ENOMEM, alloc_flags(&self->in, -1, 3, 0, LLFREE_ALLOC_BOUNDED));
	EXPECT_FALSE(llfree_may_have_order(&self->in.llf, 3, 0));
}

TEST_HARNESS_MAIN
