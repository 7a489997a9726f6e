// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of instances that grow and shrink while they are in use. Their words
 * are in pages that are mapped anew for each range. An access beyond the mapped
 * addresses ends the program. So does a write to a hole, unless other threads
 * run.
 */
#include <linux/align.h>
#include <linux/kernel.h>
#include <errno.h>
#include <kselftest_harness.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include <shim/shim.h>

#include "inst.h"
#include "lower.h"
#include "policy.h"
#include "sparse.h"

#define TREE	LLFREE_MIN_TREE_FRAMES
#define CHILD	LLFREE_CHILD_FRAMES
#define ROW	LLFREE_ROW_FRAMES
#define SLOTS	2
#define MAX_SLOTS	8

struct grown {
	struct sparse sp;
	struct llfree llf;
	struct llfree_local *locals;
	struct llfree_delta sum;
};

FIXTURE(sparse) {
	struct grown g;
};

/* Sections 8 and 9; a part of their last child is outside of the range */
#define FIRST	(8 * SECTION)
#define NR	(2 * SECTION - 100)
/* The first child that is entirely outside of the range */
#define END	ALIGN(FIRST + NR, CHILD)

/* Called once in the middle of a search: another CPU */
static void (*in_search)(struct grown *g);
static struct grown *in_search_of;
static struct llfree_policy policy;

static enum llfree_level rate(unsigned int class, unsigned int tree, unsigned int free,
			      unsigned int frames)
{
	void (*fn)(struct grown *g) = in_search;

	in_search = NULL;
	if (fn)
		fn(in_search_of);
	return default_rate(class, tree, free, frames);
}

FIXTURE_SETUP(sparse)
{
	struct llfree_memory mem;

	policy = llfree_default_policy;
	policy.rate = rate;

	sparse_init(&self->g.sp);
	sparse_add(&self->g.sp, 8, 2);
	sparse_map(&self->g.sp, FIRST, NR, &mem);
	ASSERT_EQ(0, llfree_init(&self->g.llf, FIRST, NR, &mem, LLFREE_INIT_FREE, &policy));
	self->g.locals = aligned_alloc(SMP_CACHE_BYTES, MAX_SLOTS * sizeof(*self->g.locals));
	ASSERT_EQ(0, llfree_set_slots(&self->g.llf, self->g.locals, SLOTS));
}

FIXTURE_TEARDOWN(sparse)
{
	struct llfree_fault fault = { };

	EXPECT_EQ(0, shim_warnings);
	EXPECT_EQ(0, llfree_validate(&self->g.llf, &fault)) {
		TH_LOG("%s at %#lx: expected %ld, found %ld", fault.what, fault.frame,
		       fault.expected, fault.found);
	}
	EXPECT_TRUE(sparse_intact(&self->g.sp));
	free(self->g.locals);
	sparse_exit(&self->g.sp);
}

/* Add frames, with memory for their words. */
static int grow(struct grown *g, unsigned long first, unsigned long nr)
{
	struct llfree *llf = &g->llf;
	unsigned long low = min(first, llf->mapped_first);
	struct llfree_memory mem;

	sparse_add(&g->sp, first / SECTION,
		   ALIGN(first + nr, SECTION) / SECTION - first / SECTION);
	sparse_map(&g->sp, low, max(first + nr, llf->mapped_end) - low, &mem);
	return llfree_grow(llf, first, nr, &mem);
}

/* Let the instance use its words at other addresses. */
static int move(struct grown *g)
{
	struct llfree *llf = &g->llf;
	struct llfree_memory mem;

	sparse_map(&g->sp, llf->mapped_first, llf->mapped_end - llf->mapped_first, &mem);
	return llfree_move(llf, &mem);
}

/* Make all frames of some allocated children free. */
static void show(struct __test_metadata *_metadata, struct grown *g,
		 unsigned long first, unsigned long nr)
{
	unsigned long frame;

	for (frame = first; frame < first + nr; frame += CHILD) {
		ASSERT_EQ(LLFREE_VIEW_ISOLATED,
			  llfree_set_view(&g->llf, frame, LLFREE_VIEW_NORMAL, NULL));
		ASSERT_EQ(0, llfree_free(&g->llf, 0, frame, 9, &g->sum));
	}
}

/*
 * Allocate all frames of some free children, for the caller that removes them.
 */
static void hide(struct __test_metadata *_metadata, struct grown *g,
		 unsigned long first, unsigned long nr)
{
	unsigned long frame;

	for (frame = first; frame < first + nr; frame += CHILD) {
		ASSERT_EQ(LLFREE_VIEW_NORMAL,
			  llfree_set_view(&g->llf, frame, LLFREE_VIEW_ISOLATED, NULL));
		ASSERT_EQ(0, llfree_claim(&g->llf, frame, 9, LLFREE_CLAIM_HIDDEN,
					  &g->sum));
	}
	ASSERT_EQ(0, llfree_drain(&g->llf, -1));
}

static unsigned long free_frames(struct llfree *llf)
{
	struct llfree_stats stats;

	llfree_stats_exact(llf, &stats);
	return stats.frames[LLFREE_VIEW_NORMAL];
}

static long alloc(struct grown *g, int slot, unsigned int order)
{
	const struct llfree_request req = {
		.slot = slot, .order = order, .class = LLFREE_CLASS_MOVABLE,
	};

	return llfree_alloc(&g->llf, &req, &g->sum);
}

/* Allocate all free frames. Return: how many there were */
static unsigned long alloc_all(struct grown *g, int slot, unsigned int order)
{
	unsigned long nr = 0;

	while (alloc(g, slot, order) >= 0)
		nr += 1UL << order;
	return nr;
}

/*
 * No frame of [@first, @first + @nr) has memory, and no call writes to the
 * hole.
 */
static void check_hole(struct __test_metadata *_metadata, struct grown *g,
		       unsigned long first, unsigned long nr)
{
	struct llfree *llf = &g->llf;
	struct llfree_child child;
	unsigned long f;
	unsigned int o;
	u64 mask;

	for (f = first; f < first + nr; f += SECTION / 4) {
		for (o = 0; o <= LLFREE_MAX_ORDER; o++) {
			ASSERT_EQ(-EINVAL, llfree_free(llf, 0, f, o, NULL));
			ASSERT_EQ(-EBUSY, llfree_claim(llf, f, o, LLFREE_CLAIM_HIDDEN, NULL));
			ASSERT_EQ(0, llfree_free_rest(llf, 0, f, o, NULL));
		}
		ASSERT_EQ(-EINVAL, llfree_free_fast(llf, 0, f, 3));
		ASSERT_EQ(-EINVAL, llfree_free_batch(llf, 0, f, 5, NULL));
		ASSERT_EQ(-EINVAL, llfree_free_reported(llf, f, 9, NULL));
		ASSERT_EQ(0, llfree_claim_row(llf, f, ~0ULL, LLFREE_CLAIM_HIDDEN, &mask, NULL));
		ASSERT_EQ(0, mask);
		ASSERT_EQ(-EINVAL, llfree_set_view(llf, f, LLFREE_VIEW_NORMAL, NULL));
		ASSERT_EQ(-EINVAL, llfree_set_view(llf, f, LLFREE_VIEW_ISOLATED, NULL));
		ASSERT_EQ(0, llfree_child_stable(llf, f));
		ASSERT_FALSE(llfree_frame_is_free(llf, f));
		ASSERT_EQ(-1, llfree_block_order(llf, f));
		ASSERT_EQ(0, llfree_row_mask(llf, f));
		ASSERT_EQ(0, llfree_child(llf, f, &child));
		ASSERT_EQ(LLFREE_VIEW_ISOLATED, child.view);
		ASSERT_EQ(0, child.free);
		ASSERT_FALSE(child.reported);
	}
}

/* ---- Growth ---- */

/*
 * Added frames are allocated and isolated, until the caller frees and shows
 * them.
 */
TEST_F(sparse, grow_up)
{
	unsigned long frame = END;
	unsigned long free = free_frames(&self->g.llf);
	struct llfree_child child;

	ASSERT_EQ(0, grow(&self->g, frame, SECTION));
	EXPECT_EQ(free, free_frames(&self->g.llf));
	EXPECT_EQ(frame + SECTION, self->g.llf.end);
	for (; frame < END + SECTION; frame += CHILD) {
		ASSERT_EQ(0, llfree_child(&self->g.llf, frame, &child));
		EXPECT_EQ(LLFREE_VIEW_ISOLATED, child.view);
		EXPECT_EQ(0, child.free);
		EXPECT_EQ(0, llfree_row_mask(&self->g.llf, frame));
		EXPECT_EQ(0, llfree_child_stable(&self->g.llf, frame));
	}
	/* The frames between are now in the range, but were never freed. */
	EXPECT_FALSE(llfree_frame_is_free(&self->g.llf, FIRST + NR));
	show(_metadata, &self->g, END, SECTION);
	EXPECT_EQ(free + SECTION, alloc_all(&self->g, 0, 0));
}

TEST_F(sparse, grow_down)
{
	unsigned long free = free_frames(&self->g.llf);

	ASSERT_EQ(0, grow(&self->g, FIRST - SECTION, SECTION));
	EXPECT_EQ(FIRST - SECTION, self->g.llf.first);
	ASSERT_EQ(0, grow(&self->g, FIRST - SECTION - CHILD, CHILD));
	show(_metadata, &self->g, FIRST - SECTION - CHILD, SECTION + CHILD);
	EXPECT_EQ(free + SECTION + CHILD, alloc_all(&self->g, 1, 0));
}

/*
 * Add children of a tree that exists, of the tree next to it and of the one
 * before.
 */
TEST_F(sparse, grow_by_children)
{
	unsigned long frame = END;
	unsigned int trees = self->g.llf.nr_trees, i;

	for (i = 0; i < 20; i++, frame += CHILD) {
		ASSERT_EQ(0, grow(&self->g, frame, CHILD));
		show(_metadata, &self->g, frame, CHILD);
		EXPECT_EQ(0, llfree_validate(&self->g.llf, NULL));
	}
	EXPECT_EQ(trees + 3, self->g.llf.nr_trees);
}

/* No operation writes to a hole, and searches pass over it. */
TEST_F(sparse, grow_far_away)
{
	unsigned long far = 900 * SECTION, free = free_frames(&self->g.llf);
	struct llfree_stats stats;
	unsigned int i, o;

	ASSERT_EQ(0, grow(&self->g, far, 2 * SECTION));
	show(_metadata, &self->g, far, 2 * SECTION);
	check_hole(_metadata, &self->g, 10 * SECTION, 890 * SECTION);
	EXPECT_EQ(4 * SECTION / TREE, self->g.llf.nr_trees);
	llfree_stats_exact(&self->g.llf, &stats);
	EXPECT_EQ(free + 2 * SECTION, stats.frames[LLFREE_VIEW_NORMAL]);
	for (i = o = 0; o < LLFREE_CLASS_NONE + 1; o++)
		i += stats.trees[o];
	EXPECT_EQ(self->g.llf.nr_trees, i);

	/* Searches of all kinds, successful and unsuccessful */
	for (o = LLFREE_MAX_ORDER + 1; o--;) {
		free -= alloc_all(&self->g, o % 2 ? 0 : LLFREE_NO_SLOT, o);
		for (i = 0; i < 4; i++) {
			struct llfree_request req = {
				.slot = i % 2 ? 1 : LLFREE_NO_SLOT, .order = o,
				.view = i / 2 ? LLFREE_VIEW_CMA : LLFREE_VIEW_NORMAL,
				.flags = i ? LLFREE_ALLOC_BOUNDED : 0,
			};

			EXPECT_EQ(-ENOMEM, llfree_alloc(&self->g.llf, &req, NULL));
			EXPECT_FALSE(llfree_find_order(&self->g.llf, o, req.view));
		}
	}
	check_hole(_metadata, &self->g, 10 * SECTION, 890 * SECTION);
	EXPECT_EQ(0, free + 2 * SECTION);
}

TEST_F(sparse, grow_into_a_hole)
{
	unsigned long free = free_frames(&self->g.llf);

	ASSERT_EQ(0, grow(&self->g, 20 * SECTION, SECTION));
	ASSERT_EQ(0, grow(&self->g, 14 * SECTION, SECTION));
	EXPECT_EQ(21 * SECTION, self->g.llf.end);
	show(_metadata, &self->g, 14 * SECTION, SECTION);
	check_hole(_metadata, &self->g, 10 * SECTION, 4 * SECTION);
	check_hole(_metadata, &self->g, 15 * SECTION, 5 * SECTION);
	EXPECT_EQ(free + SECTION, alloc_all(&self->g, 0, 1));
}

/* A CPU that still uses old addresses finds the same words there. */
TEST_F(sparse, old_addresses)
{
	struct llfree old = self->g.llf;
	struct llfree_stats stats;
	long frame;

	ASSERT_EQ(0, grow(&self->g, 10 * SECTION, SECTION));
	show(_metadata, &self->g, 10 * SECTION, SECTION);
	frame = alloc(&self->g, LLFREE_NO_SLOT, 3);
	ASSERT_GE(frame, 0);
	ASSERT_LT(frame, 10 * SECTION);
	EXPECT_FALSE(llfree_frame_is_free(&old, frame));
	EXPECT_EQ(0, llfree_free(&old, LLFREE_NO_SLOT, frame, 3, &self->g.sum));
	EXPECT_TRUE(llfree_frame_is_free(&self->g.llf, frame));
	llfree_stats_exact(&old, &stats);
	EXPECT_EQ(free_frames(&self->g.llf), stats.frames[LLFREE_VIEW_NORMAL] + SECTION);
}

TEST_F(sparse, grow_bad_input)
{
	const unsigned long first = 10 * SECTION;
	struct llfree_memory mem, bad;
	struct llfree before;
	struct sparse other;

	sparse_add(&self->g.sp, 10, 1);
	sparse_map(&self->g.sp, FIRST, 3 * SECTION, &mem);
	before = self->g.llf;
#define GROW(first, nr)	llfree_grow(&self->g.llf, first, nr, &bad)
	bad = mem;
	EXPECT_EQ(-EINVAL, GROW(first, 0));
	EXPECT_EQ(-EINVAL, GROW(first, SECTION - 1));
	EXPECT_EQ(-EINVAL, GROW(first + ROW, SECTION));
	EXPECT_EQ(-EINVAL, GROW(LLFREE_END_FRAMES, SECTION));
	EXPECT_EQ(-EINVAL, GROW(FIRST + LLFREE_MAX_FRAMES, SECTION));
	/* The range is larger than the memory of the words. */
	EXPECT_EQ(-EINVAL, GROW(first, SECTION + TREE));
	/* A part of the frames is in the range already, or all of them. */
	EXPECT_EQ(-EEXIST, GROW(FIRST, SECTION));
	EXPECT_EQ(-EEXIST, GROW(first - CHILD, 2 * CHILD));
	bad.tree_order++;
	EXPECT_EQ(-EINVAL, GROW(first, SECTION));
	bad = mem;
	bad.rows = NULL;
	EXPECT_EQ(-EINVAL, GROW(first, SECTION));
	bad = mem;
	bad.rows += 8;
	EXPECT_EQ(-EINVAL, GROW(first, SECTION));
	bad = mem;
	bad.children += 2;
	EXPECT_EQ(-EINVAL, GROW(first, SECTION));
	bad = mem;
	bad.trees_stride = 64;
	EXPECT_EQ(-EINVAL, GROW(first, SECTION));

	/* This memory does not have the words of the instance. */
	sparse_init(&other);
	sparse_add(&other, 10, 1);
	sparse_map(&other, FIRST, 3 * SECTION, &bad);
	EXPECT_EQ(-EEXIST, GROW(first, SECTION));
	sparse_exit(&other);
	EXPECT_EQ(0, memcmp(&before, &self->g.llf, sizeof(before)));

	bad = mem;
	EXPECT_EQ(0, GROW(first, SECTION));
	EXPECT_EQ(-EEXIST, GROW(first, SECTION));
#undef GROW
}

/* ---- Shrinking ---- */

TEST_F(sparse, shrink_what_is_in_use)
{
	struct llfree *llf = &self->g.llf;
	unsigned long frame;

	EXPECT_EQ(-EINVAL, llfree_shrink(llf, FIRST + ROW, CHILD));
	EXPECT_EQ(-EINVAL, llfree_shrink(llf, FIRST, 2 * SECTION));
	EXPECT_EQ(-EINVAL, llfree_shrink(llf, FIRST - CHILD, CHILD));
	EXPECT_EQ(-EINVAL, llfree_shrink(llf, FIRST, 0));
	EXPECT_EQ(-EBUSY, llfree_shrink(llf, FIRST, SECTION));
	hide(_metadata, &self->g, FIRST, SECTION - CHILD);
	EXPECT_EQ(-EBUSY, llfree_shrink(llf, FIRST, SECTION));

	/* The children are isolated, but one frame is free. */
	hide(_metadata, &self->g, FIRST + SECTION - CHILD, CHILD);
	frame = FIRST + SECTION / 2;
	ASSERT_EQ(0, llfree_free(llf, -1, frame, 0, NULL));
	EXPECT_EQ(-EBUSY, llfree_shrink(llf, FIRST, SECTION));
	ASSERT_EQ(0, llfree_claim(llf, frame, 0, LLFREE_CLAIM_HIDDEN, NULL));
	ASSERT_EQ(LLFREE_VIEW_ISOLATED, llfree_set_view(llf, frame, LLFREE_VIEW_CMA, NULL));
	EXPECT_EQ(-EBUSY, llfree_shrink(llf, FIRST, SECTION));
	ASSERT_EQ(LLFREE_VIEW_CMA, llfree_set_view(llf, frame, LLFREE_VIEW_ISOLATED, NULL));
	EXPECT_EQ(FIRST, llf->first);
	EXPECT_EQ(0, llfree_shrink(llf, FIRST, SECTION));
	EXPECT_EQ(FIRST + SECTION, llf->first);
	EXPECT_EQ(-EINVAL, llfree_shrink(llf, FIRST, SECTION));
}

/* A slot has reserved the tree, though no memory is left in it. */
TEST_F(sparse, shrink_a_reserved_tree)
{
	struct llfree *llf = &self->g.llf;
	const unsigned long tree = FIRST + TREE;
	unsigned int i;

	hide(_metadata, &self->g, tree, TREE);
	*tree_at(llf, LLFREE_VIEW_NORMAL, tree / TREE) |= TREE_RESERVED;
	self->g.locals[0].reserved[0] = local_make(0, frame_row(tree));
	EXPECT_EQ(-EAGAIN, llfree_shrink(llf, tree, TREE));
	EXPECT_EQ(-EAGAIN, llfree_shrink(llf, tree, TREE));
	EXPECT_EQ(0, llfree_drain(llf, -1));
	EXPECT_EQ(0, llfree_shrink(llf, tree, TREE));
	for (i = 0; i < LLFREE_ALLOC_VIEWS; i++)
		EXPECT_EQ(LLFREE_HOLE_TREE, *tree_at(llf, i, tree / TREE));
}

/*
 * Memory goes and comes back at either end and in the middle, also on other
 * pages.
 */
TEST_F(sparse, shrink_and_grow)
{
	static const unsigned long at[] = { 8, 12, 10, 11, 8 };
	unsigned long free;
	unsigned int i, j;

	ASSERT_EQ(0, grow(&self->g, END, 11 * SECTION - END));
	ASSERT_EQ(0, grow(&self->g, 11 * SECTION, 2 * SECTION));
	show(_metadata, &self->g, 10 * SECTION, 3 * SECTION);
	free = free_frames(&self->g.llf);
	for (i = 0; i < 3 * ARRAY_SIZE(at); i++) {
		j = at[i % ARRAY_SIZE(at)];
		hide(_metadata, &self->g, j * SECTION, SECTION);
		ASSERT_EQ(0, llfree_shrink(&self->g.llf, j * SECTION, SECTION));
		sparse_remove(&self->g.sp, j);
		EXPECT_EQ(free - SECTION, free_frames(&self->g.llf));
		EXPECT_EQ(j == 8 ? 9 * SECTION : FIRST, self->g.llf.first);
		EXPECT_EQ(j == 12 ? 12 * SECTION : 13 * SECTION, self->g.llf.end);
		EXPECT_EQ(0, llfree_validate(&self->g.llf, NULL));
		if (j == 10 || j == 11) {
			check_hole(_metadata, &self->g, j * SECTION, SECTION);
			EXPECT_EQ(-ENOENT, llfree_shrink(&self->g.llf, j * SECTION, SECTION));
		}
		ASSERT_EQ(0, grow(&self->g, j * SECTION, SECTION));
		show(_metadata, &self->g, j * SECTION, SECTION);
	}
	EXPECT_EQ(free, alloc_all(&self->g, 1, 0));
}

/* Shrink to no memory at all, and grow elsewhere. */
TEST_F(sparse, shrink_to_nothing)
{
	struct llfree *llf = &self->g.llf;
	struct llfree_stats stats;

	ASSERT_EQ(0, grow(&self->g, END, 11 * SECTION - END));
	show(_metadata, &self->g, 10 * SECTION, SECTION);
	hide(_metadata, &self->g, FIRST, 2 * SECTION - CHILD);
	ASSERT_EQ(LLFREE_VIEW_NORMAL, llfree_set_view(llf, 10 * SECTION - CHILD,
						      LLFREE_VIEW_ISOLATED, NULL));
	EXPECT_LT(0, llfree_child_stable(llf, 10 * SECTION - CHILD));
	for (unsigned long f = 10 * SECTION - CHILD; f < 10 * SECTION; f++)
		llfree_claim(llf, f, 0, LLFREE_CLAIM_HIDDEN, NULL);
	hide(_metadata, &self->g, 10 * SECTION, SECTION);
	ASSERT_EQ(0, llfree_shrink(llf, FIRST, 3 * SECTION));
	EXPECT_EQ(0, llf->nr_trees);
	EXPECT_EQ(llf->first, llf->end);

	EXPECT_EQ(-ENOMEM, alloc(&self->g, 0, 0));
	EXPECT_EQ(-ENOMEM, alloc(&self->g, LLFREE_NO_SLOT, 9));
	EXPECT_FALSE(llfree_find_order(llf, 3, LLFREE_VIEW_CMA));
	EXPECT_EQ(-EINVAL, llfree_free(llf, 0, FIRST, 0, NULL));
	llfree_stats_exact(llf, &stats);
	EXPECT_EQ(0, stats.frames[LLFREE_VIEW_NORMAL]);
	EXPECT_EQ(0, llfree_validate(llf, NULL));

	ASSERT_EQ(0, grow(&self->g, 100 * SECTION, SECTION));
	EXPECT_EQ(100 * SECTION, llf->first);
	show(_metadata, &self->g, 100 * SECTION, SECTION);
	EXPECT_EQ(SECTION, alloc_all(&self->g, 0, 0));
}

/* ---- Other addresses ---- */

/*
 * No word is used at the old addresses any more, and a page of holes serves for
 * holes.
 */
TEST_F(sparse, move)
{
	const unsigned long far = 900 * SECTION, free = free_frames(&self->g.llf);
	struct llfree *llf = &self->g.llf;

	EXPECT_FALSE(llfree_holes(llf, FIRST, SECTION));
	EXPECT_TRUE(llfree_holes(llf, FIRST - SECTION, SECTION));
	ASSERT_EQ(0, grow(&self->g, far, SECTION));
	EXPECT_FALSE(llfree_holes(llf, far - CHILD, 2 * CHILD));
	EXPECT_TRUE(llfree_holes(llf, far - CHILD, CHILD));
	show(_metadata, &self->g, far, SECTION);
	hide(_metadata, &self->g, far, SECTION);
	ASSERT_EQ(0, llfree_shrink(llf, far, SECTION));
	EXPECT_TRUE(llfree_holes(llf, far - CHILD, 2 * CHILD));
	sparse_remove(&self->g.sp, 900);
	ASSERT_EQ(0, move(&self->g));
	sparse_forget(&self->g.sp);

	EXPECT_EQ(far + SECTION, llf->mapped_end);
	EXPECT_EQ(0, llfree_validate(llf, NULL));
	EXPECT_EQ(free, free_frames(llf));
	EXPECT_FALSE(llfree_frame_is_free(llf, far));
	ASSERT_EQ(0, grow(&self->g, far, SECTION));
	sparse_forget(&self->g.sp);
	show(_metadata, &self->g, far, SECTION);
	EXPECT_EQ(free + SECTION, alloc_all(&self->g, 0, 0));
}

TEST_F(sparse, move_bad_input)
{
	struct llfree *llf = &self->g.llf;
	struct llfree_memory mem;
	struct llfree before;
	struct sparse other;

	ASSERT_EQ(0, grow(&self->g, 10 * SECTION, SECTION));
	before = *llf;
	sparse_map(&self->g.sp, FIRST, 2 * SECTION, &mem);
	EXPECT_EQ(-EINVAL, llfree_move(llf, &mem));
	sparse_map(&self->g.sp, FIRST, 3 * SECTION, &mem);
	mem.tree_order++;
	EXPECT_EQ(-EINVAL, llfree_move(llf, &mem));
	sparse_init(&other);
	sparse_add(&other, 8, 3);
	sparse_map(&other, FIRST, 3 * SECTION, &mem);
	EXPECT_EQ(-EEXIST, llfree_move(llf, &mem));
	sparse_exit(&other);
	EXPECT_EQ(0, memcmp(&before, llf, sizeof(before)));
}

/* ---- Slots ---- */

/*
 * An instance that has grown gets more slots while the first ones are in use.
 */
TEST_F(sparse, slots_rise)
{
	unsigned long old;
	u64 word;
	long frame;

	frame = alloc(&self->g, SLOTS - 1, 0);
	ASSERT_GE(frame, 0);
	word = self->g.locals[SLOTS - 1].reserved[LLFREE_CLASS_MOVABLE];
	memset(&self->g.locals[SLOTS], 0xa5, (MAX_SLOTS - SLOTS) * sizeof(*self->g.locals));
	EXPECT_EQ(-EINVAL, alloc(&self->g, SLOTS, 0));

	old = llfree_max_slots(&self->g.llf);
	ASSERT_EQ(0, grow(&self->g, 11 * SECTION, 20 * SECTION));
	EXPECT_LT(old, llfree_max_slots(&self->g.llf));
	ASSERT_EQ(0, llfree_set_slots(&self->g.llf, self->g.locals, MAX_SLOTS));
	EXPECT_EQ(word, self->g.locals[SLOTS - 1].reserved[LLFREE_CLASS_MOVABLE]);
	frame = alloc(&self->g, MAX_SLOTS - 1, 0);
	EXPECT_GE(frame, 0);
	EXPECT_EQ(0, llfree_free(&self->g.llf, SLOTS, frame, 0, &self->g.sum));
}

/* ---- Shuffling ---- */

/* The order of free trees stays hard to guess, and comes to each tree. */
TEST_F(sparse, shuffled)
{
	unsigned int i;

	llfree_shuffle(&self->g.llf, 0x123456789abcdefULL);
	for (i = 10; i < 14; i++) {
		ASSERT_EQ(0, grow(&self->g, i * SECTION, SECTION));
		show(_metadata, &self->g, i * SECTION, SECTION);
		EXPECT_EQ(free_frames(&self->g.llf) / 1024 * 1024,
			  alloc_all(&self->g, 0, LLFREE_MAX_ORDER));
		for (unsigned long f = FIRST; f < (i + 1) * SECTION; f += 1024)
			llfree_free(&self->g.llf, 1, f, LLFREE_MAX_ORDER, NULL);
	}
}

/* ---- In the middle of a search ---- */

/*
 * The far end goes, and the range grows at the near end. Numbers from before
 * stay valid.
 */
static void move_range(struct grown *g)
{
	const unsigned long far = 900 * SECTION;
	unsigned long f;

	for (f = far; f < far + SECTION; f += CHILD) {
		llfree_set_view(&g->llf, f, LLFREE_VIEW_ISOLATED, NULL);
		llfree_claim(&g->llf, f, LLFREE_CHILD_ORDER, LLFREE_CLAIM_HIDDEN, NULL);
	}
	if (!llfree_shrink(&g->llf, far, SECTION))
		sparse_remove(&g->sp, 900);
	grow(g, FIRST - SECTION, SECTION);
}

TEST_F(sparse, range_moves_under_a_search)
{
	const struct llfree_request req = {
		.slot = LLFREE_NO_SLOT, .class = LLFREE_CLASS_RECLAIMABLE,
	};
	struct llfree *llf = &self->g.llf;
	unsigned long f;

	ASSERT_EQ(0, grow(&self->g, 900 * SECTION, SECTION));
	show(_metadata, &self->g, 900 * SECTION, SECTION);
	/*
	 * Give the trees to another class, so that the search looks at all of
	 * them.
	 */
	for (f = FIRST; f < FIRST + NR; f += TREE)
		ASSERT_EQ(0, llfree_claim(llf, f, 0, 0, NULL));
	ASSERT_EQ(0, llfree_drain(llf, -1));
	in_search_of = &self->g;
	in_search = move_range;
	EXPECT_LE(0, llfree_alloc(llf, &req, NULL));
	EXPECT_EQ(NULL, in_search);
	EXPECT_EQ(FIRST - SECTION, llf->first);
	EXPECT_LT(llf->end, 900 * SECTION);
	EXPECT_EQ(901 * SECTION, llf->mapped_end);
}

static void grow_and_free(struct grown *g)
{
	unsigned long f;

	grow(g, 10 * SECTION, SECTION);
	for (f = 10 * SECTION; f < 11 * SECTION; f += CHILD) {
		llfree_set_view(&g->llf, f, LLFREE_VIEW_NORMAL, NULL);
		llfree_free(&g->llf, LLFREE_NO_SLOT, f, LLFREE_CHILD_ORDER, NULL);
	}
}

/*
 * Frames that are added after the search began, but before it arms the hint,
 * are found.
 */
TEST_F(sparse, grow_before_the_hint)
{
	struct llfree *llf = &self->g.llf;
	unsigned long f;

	for (f = FIRST; f < FIRST + NR; f += CHILD)
		ASSERT_EQ(0, llfree_claim(llf, f, 0, 0, NULL));
	in_search_of = &self->g;
	in_search = grow_and_free;
	EXPECT_LE(0, alloc(&self->g, LLFREE_NO_SLOT, LLFREE_CHILD_ORDER));
	EXPECT_EQ(NULL, in_search);
	EXPECT_TRUE(llfree_may_have_order(llf, LLFREE_CHILD_ORDER, LLFREE_VIEW_NORMAL));
	EXPECT_TRUE(llfree_find_order(llf, LLFREE_CHILD_ORDER, LLFREE_VIEW_NORMAL));
}

/*
 * Free trees are still shuffled after the instance had only one tree for a
 * time.
 */
TEST_F(sparse, shuffle_one_tree)
{
	const unsigned long nr = SECTION + 7 * TREE;

	llfree_shuffle(&self->g.llf, 0x123456789abcdefULL);
	hide(_metadata, &self->g, FIRST, nr);
	ASSERT_EQ(0, llfree_shrink(&self->g.llf, FIRST, nr));
	EXPECT_EQ(1, self->g.llf.nr_trees);
	EXPECT_NE(0, self->g.llf.shuffle_step);
	ASSERT_EQ(0, grow(&self->g, END, 12 * SECTION - END));
	EXPECT_LT(1, self->g.llf.shuffle_step);
	show(_metadata, &self->g, END, 12 * SECTION - END);
	EXPECT_LE(0, alloc(&self->g, 0, LLFREE_MAX_ORDER));
}

#define THREADS		3
#define THREAD_SECTIONS	4
#define HELD		512

static struct llfree *shared;
static u8 owner[64 * SECTION];
static bool stop, failed;
/* How often each thread has been between two operations */
static unsigned long idle[THREADS];

static void own(unsigned long frame, unsigned int order, u8 from, u8 to)
{
	unsigned long i;

	for (i = frame; i < frame + (1UL << order); i++)
		if (__atomic_exchange_n(&owner[i], to, __ATOMIC_RELAXED) != from)
			failed = true;
}

static void *work(void *arg)
{
	const unsigned long me = (unsigned long)arg;
	struct { unsigned long frame; unsigned int order; } held[HELD];
	struct rng rng = { .state = me };
	unsigned int nr = 0, i;
	long frame;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED) || nr) {
		__atomic_store_n(&idle[me - 1], idle[me - 1] + 1, __ATOMIC_RELEASE);
		if (nr < HELD && !stop && rng_below(&rng, 8)) {
			struct llfree_request req = {
				.slot = me % 2 ? me % SLOTS : LLFREE_NO_SLOT,
				.order = rng_below(&rng, 8) ? rng_below(&rng, 4) :
							      rng_below(&rng, 11),
				.class = LLFREE_CLASS_MOVABLE,
				.flags = rng_below(&rng, 2) ? LLFREE_ALLOC_BOUNDED : 0,
			};

			frame = llfree_alloc(shared, &req, NULL);
			if (frame >= 0) {
				own(frame, req.order, 0, me);
				held[nr].frame = frame;
				held[nr++].order = req.order;
				continue;
			}
		}
		for (i = rng_below(&rng, 2 * HELD); nr && i; i--) {
			const unsigned int n = rng_below(&rng, nr);

			own(held[n].frame, held[n].order, me, 0);
			if (llfree_free(shared, me % SLOTS, held[n].frame, held[n].order, NULL))
				failed = true;
			held[n] = held[--nr];
		}
	}
	return NULL;
}

/*
 * Claim the free frames of a section, as offlining does, until all are claimed.
 */
static bool take_section(struct llfree *llf, unsigned long section, bool give_up)
{
	unsigned long f, left = 0;
	u64 mask;

	for (f = section * SECTION; f < (section + 1) * SECTION; f += CHILD)
		llfree_set_view(llf, f, LLFREE_VIEW_ISOLATED, NULL);
	do {
		for (f = section * SECTION; f < (section + 1) * SECTION; f += ROW) {
			llfree_claim_row(llf, f, ~0ULL, LLFREE_CLAIM_HIDDEN, &mask, NULL);
			for (; mask; mask &= mask - 1)
				own(f + __builtin_ctzll(mask), 0, 0, 99);
		}
		for (f = section * SECTION, left = 0; f < (section + 1) * SECTION; f++)
			left += __atomic_load_n(&owner[f], __ATOMIC_RELAXED) != 99;
	} while (left && !give_up);
	if (!left)
		return true;
	/* Give the claimed frames back. */
	for (f = section * SECTION; f < (section + 1) * SECTION; f += CHILD)
		llfree_set_view(llf, f, LLFREE_VIEW_NORMAL, NULL);
	for (f = section * SECTION; f < (section + 1) * SECTION; f++) {
		if (__atomic_load_n(&owner[f], __ATOMIC_RELAXED) != 99)
			continue;
		own(f, 0, 99, 0);
		if (llfree_free(llf, LLFREE_NO_SLOT, f, 0, NULL))
			failed = true;
	}
	return false;
}

/* Wait until all operations have ended that are under way. */
static void wait_for_threads(void)
{
	unsigned long before;
	unsigned int i;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	for (i = 0; i < THREADS; i++) {
		before = __atomic_load_n(&idle[i], __ATOMIC_ACQUIRE);
		while (__atomic_load_n(&idle[i], __ATOMIC_ACQUIRE) == before)
			sched_yield();
	}
}

/*
 * Sections come and go at both ends and in between while other threads
 * allocate.
 */
TEST_F_TIMEOUT(sparse, threads, 120)
{
	bool there[THREAD_SECTIONS] = { };
	static const unsigned int at[THREAD_SECTIONS] = { 7, 10, 11, 40 };
	unsigned int i, n, grown = 0, shrunk = 0, moved = 0;
	struct rng rng = { .state = rng_seed() };
	pthread_t threads[THREADS];
	unsigned long f;
	int ret;

	memset(owner, 0, sizeof(owner));
	shared = &self->g.llf;
	self->g.sp.busy = true;
	stop = false;
	failed = false;
	for (i = 0; i < THREADS; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, work, (void *)(i + 1UL)));
	for (n = 0; n < 80 && !failed; n++) {
		if (!rng_below(&rng, 4)) {
			ASSERT_EQ(0, move(&self->g));
			wait_for_threads();
			sparse_forget(&self->g.sp);
			moved++;
			continue;
		}
		i = rng_below(&rng, THREAD_SECTIONS);
		if (!there[i]) {
			memset(&owner[at[i] * SECTION], 99, SECTION);
			ASSERT_EQ(0, grow(&self->g, at[i] * SECTION, SECTION));
			for (f = at[i] * SECTION; f < (at[i] + 1UL) * SECTION; f += CHILD) {
				llfree_set_view(shared, f, LLFREE_VIEW_NORMAL, NULL);
				own(f, 9, 99, 0);
				ASSERT_EQ(0, llfree_free(shared, -1, f, 9, NULL));
			}
			there[i] = true;
			grown++;
		} else if (take_section(shared, at[i], true)) {
			do {
				ret = llfree_shrink(shared, at[i] * SECTION, SECTION);
				llfree_drain(shared, -1);
			} while (ret == -EAGAIN);
			ASSERT_EQ(0, ret);
			sparse_remove(&self->g.sp, at[i]);
			there[i] = false;
			shrunk++;
		}
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	EXPECT_FALSE(failed);
	TH_LOG("%u times larger, %u times smaller, %u times moved", grown, shrunk, moved);
	EXPECT_LT(0, grown);
	EXPECT_LT(0, shrunk);
	EXPECT_LT(0, moved);
}

TEST_HARNESS_MAIN
