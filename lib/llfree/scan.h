/* SPDX-License-Identifier: GPL-2.0 */
/*
 * LLFree core: an allocation under way, and how it looks for blocks in one tree.
 *
 * The caller has permits of the tree. Nothing here writes words of the upper
 * level.
 */
#ifndef _LIB_LLFREE_SCAN_H
#define _LIB_LLFREE_SCAN_H

#include "lower.h"
#include "upper.h"

/*
 * An allocation under way. @nr blocks of 2^@order are wanted, all from one row; for
 * orders above a row @nr is 1.
 */
struct search {
	unsigned int order;
	unsigned int nr;
	unsigned int class;
	unsigned int view;
	unsigned int flags;
	int slot;
	/* The trees of the range when the search began */
	unsigned long first_tree;
	unsigned long end_tree;
	/* Leave entirely free children alone; whether some were left alone */
	bool partial;
	bool skipped_whole;
	/* Frames taken, and for the orders of a row their bits */
	unsigned int taken;
	u64 mask;
	/* Permits that went to another view when a child step was undone */
	unsigned int lost;
	/*
	 * Number of trees whose children may still be read without success, and
	 * the last such tree
	 */
	unsigned int looks;
	unsigned long stopped;
	struct llfree_delta *delta;
};

/*
 * Limits of a bounded search: words of trees; trees of up to 128 children each
 * whose children it reads, near the place of the slot and elsewhere; slots
 * whose reservations it reads
 */
#define BOUNDED_TREES		4096UL
#define BOUNDED_NEAR_LOOKS	4U
#define BOUNDED_LOOKS		8U
#define BOUNDED_SLOTS		16U

static inline bool search_bounded(const struct search *s)
{
	return s->flags & LLFREE_ALLOC_BOUNDED;
}

/* Note that the children of a tree were read without success. */
static inline void search_looked(struct search *s, unsigned long tree)
{
	if (!--s->looks)
		s->stopped = tree;
}

/* Use the current range of trees: LLF(range:A) */
static inline void search_range_init(const struct llfree *llf, struct search *s)
{
	s->end_tree = trees_end(llf);
	s->first_tree = min(trees_first(llf), s->end_tree);
}

/*
 * Return @tree, or the first tree if @tree is outside the range of the search.
 */
static inline unsigned long search_start(const struct search *s, unsigned long tree)
{
	return tree >= s->first_tree && tree < s->end_tree ? tree : s->first_tree;
}

static inline unsigned int search_frames(const struct search *s)
{
	return 1U << s->order;
}

static inline u64 *search_local(const struct llfree *llf, const struct search *s)
{
	if (s->slot < 0 || s->view != LLFREE_VIEW_NORMAL)
		return NULL;
	return &llf->locals[s->slot].reserved[s->class];
}

long llf_child_alloc_rows(struct llfree *llf, struct search *s, unsigned long child,
			  unsigned int max);
long llf_child_alloc_whole(struct llfree *llf, struct search *s,
			   unsigned long child);
long llf_child_peek(const struct llfree *llf, const struct search *s,
		    unsigned long child, bool *stuck);
long llf_tree_peek(const struct llfree *llf, const struct search *s,
		   unsigned long tree);
unsigned int llf_tree_whole(const struct llfree *llf, unsigned long tree);
long llf_tree_free_child(const struct llfree *llf, unsigned long tree);
unsigned long llf_shuffled_child(const struct llfree *llf, unsigned long tree,
				 unsigned int order);

/*
 * Return the row where the slot looks next, after a search took the frames of
 * @s from @row. If blocks are shuffled, the row is not the first one of a
 * child. So fast_whole() leaves the next block to a search.
 */
static inline unsigned long row_next(const struct llfree *llf,
				     const struct search *s, unsigned long row)
{
	row = row_after(llf, row, s->taken);
	if (s->order >= LLFREE_CHILD_ORDER && unlikely(READ_ONCE(llf->shuffle_step)))
		row |= 1;
	return row;
}

/*
 * child_alloc_row() - allocate blocks of up to a row from a child
 * @row: where to start
 * @max: most frames to take; at least one block
 *
 * Takes permits only after a block was seen, so that a search for a large block
 * does not hide small ones from other CPUs.
 *
 * Return: row in which the frames of @s->mask were allocated, or negative
 */
static __always_inline long child_alloc_row(struct llfree *llf, struct search *s,
					    unsigned long row, unsigned int max)
{
	struct piece p = {
		.child = child_at(llf, row >> CHILD_ROW_SHIFT),
		.order = s->order, .views = BIT(s->view),
	};
	const unsigned int order = s->order;
	unsigned int i, lost;
	u64 runs;

	for (i = 0; i < LLFREE_CHILD_ROWS; i++) {
		p.row = row;
		p.word = row_now(llf, row);
		runs = row_runs(p.word, order);
		if (!runs)
			goto next;

		p.mask = runs_lowest(runs, order, min(s->nr, max >> order));
		p.max = hweight64(p.mask);
		s->taken = child_alloc(llf, &p, CHILD_TAKE, row_set_blocks);
		if (!p.taken)
			return -1;
		lost = child_settle(llf, &p, s->taken, s->delta);
		s->lost += lost;
		max -= lost;
		if (likely(s->taken)) {
			s->mask = p.mask;
			return row;
		}
		if (max < (1U << order))
			return -1;
next:
		row = (row & ~(LLFREE_CHILD_ROWS - 1)) |
		      ((row + 1) & (LLFREE_CHILD_ROWS - 1));
	}
	return -1;
}

/*
 * tree_alloc() - allocate blocks from a tree
 * @row: where to start
 * @max: permits that the caller has
 *
 * Takes small blocks from entirely free children only if no partly free child
 * has a block, or if the search starts in an entirely free child. With
 * @s->partial, takes small blocks from partly free children only.
 *
 * Return: first row of the allocated frames, or negative
 */
static __always_inline long tree_alloc(struct llfree *llf, struct search *s,
				       unsigned long row, unsigned int max)
{
	unsigned long tree = row_tree(llf, row);
	unsigned long child = row >> CHILD_ROW_SHIFT;
	unsigned int frames = search_frames(s);
	unsigned int held, end, i;
	long ret = -1;
	u16 word;

	if (s->order >= LLFREE_CHILD_ORDER) {
		if (unlikely(READ_ONCE(llf->shuffle_step)))
			child = llf_shuffled_child(llf, tree, s->order);
		child = ALIGN_DOWN(child, frames >> LLFREE_CHILD_ORDER);
	}

	end = tree_children(llf);
	for (i = 0; i < end; i++) {
		word = READ_ONCE(*child_at(llf, child));
		if (child_view(word) != s->view ||
		    child_free(word) < min_t(u32, frames, LLFREE_CHILD_FRAMES))
			goto next;
		if (child_free(word) == LLFREE_CHILD_FRAMES &&
		    s->order < LLFREE_CHILD_ORDER && i < tree_children(llf) &&
		    (i || s->partial)) {
			/* Later, when all children have been seen */
			if (s->partial)
				s->skipped_whole = true;
			else
				end = 2 * tree_children(llf);
			goto next;
		}

		held = max - s->lost;
		if (s->order <= LLFREE_ROW_ORDER)
			ret = child_alloc_row(llf, s, row, held);
		else if (s->order < LLFREE_CHILD_ORDER)
			ret = llf_child_alloc_rows(llf, s, child, held);
		else
			ret = llf_child_alloc_whole(llf, s, child);
		if (ret >= 0)
			return ret;
		if (unlikely(max < s->lost + frames))
			return -1;
next:
		if (s->order > LLFREE_CHILD_ORDER)
			child += (frames >> LLFREE_CHILD_ORDER) - 1;
		child = tree_child(llf, tree) |
			((child + 1) & (tree_children(llf) - 1));
		row = child << CHILD_ROW_SHIFT;
		if (s->order > LLFREE_CHILD_ORDER)
			i += (frames >> LLFREE_CHILD_ORDER) - 1;
	}
	return -1;
}

#endif /* _LIB_LLFREE_SCAN_H */
