/* SPDX-License-Identifier: GPL-2.0 */
/*
 * LLFree core: an allocation under way, and how it looks for blocks in one tree.
 *
 * The caller has permits of the tree. Nothing here writes a word but the lower level.
 */
#ifndef _LIB_LLFREE_SCAN_H
#define _LIB_LLFREE_SCAN_H

#include "lower.h"
#include "upper.h"

/*
 * A get under way. @nr blocks of 2^@order are wanted, all from one row; for
 * orders above a row @nr is 1.
 */
struct get {
	unsigned int order;
	unsigned int nr;
	unsigned int class;
	unsigned int view;
	unsigned int flags;
	int slot;
	/* Leave entirely free children alone; some were */
	bool spare;
	bool spared;
	/* Frames taken, and for the orders of a row their bits */
	unsigned int taken;
	u64 mask;
	/* Permits that went to another view when a child step was undone */
	unsigned int lost;
	/* Trees whose children may still be read without success, and the last of them */
	unsigned int looks;
	unsigned long stopped;
	struct llfree_delta *delta;
};

/*
 * What a bounded search reads: words of trees; children of trees, of up to 128 each,
 * near the place of the slot and elsewhere; reservations of slots
 */
#define BOUNDED_TREES		4096UL
#define BOUNDED_NEAR_LOOKS	4U
#define BOUNDED_LOOKS		8U
#define BOUNDED_SLOTS		16U

static inline bool get_bounded(const struct get *g)
{
	return g->flags & LLFREE_GET_BOUNDED;
}

/* The children of a tree were read without success. */
static inline void get_looked(struct get *g, unsigned long tree)
{
	if (!--g->looks)
		g->stopped = tree;
}

static inline unsigned int get_frames(const struct get *g)
{
	return 1U << g->order;
}

static inline u64 *get_local(const struct llfree *llf, const struct get *g)
{
	if (g->slot < 0 || g->view != LLFREE_VIEW_NORMAL)
		return NULL;
	return &llf->locals[g->slot].reserved[g->class];
}

long llf_child_get_rows(struct llfree *llf, struct get *g, unsigned long child,
			unsigned int max);
long llf_child_get_children(struct llfree *llf, struct get *g,
			    unsigned long child);
long llf_child_peek(const struct llfree *llf, const struct get *g,
		    unsigned long child, bool *stuck);
long llf_tree_peek(const struct llfree *llf, const struct get *g,
		   unsigned long tree);
unsigned int llf_tree_whole(const struct llfree *llf, unsigned long tree);
long llf_tree_free_child(const struct llfree *llf, unsigned long tree);
unsigned long llf_shuffled_child(const struct llfree *llf, unsigned long tree,
				 unsigned int order);

/*
 * Where to look after a search took what @g says from @row. If blocks are shuffled,
 * that is no first row of a child, and so quick_huge() leaves the next to a search.
 */
static inline unsigned long row_next(const struct llfree *llf,
				     const struct get *g, unsigned long row)
{
	row = row_after(llf, row, g->taken);
	if (g->order >= LLFREE_CHILD_ORDER && unlikely(READ_ONCE(llf->shuffle_step)))
		row |= 1;
	return row;
}

/*
 * child_get_row() - get blocks of up to a row from a child
 * @row: where to start
 * @max: most frames to take; at least one block
 *
 * Only takes permits once it has seen a block, so that a search for a large
 * block does not hide small ones from others.
 *
 * Return: row in which @g->mask was taken, or negative
 */
static __always_inline long child_get_row(struct llfree *llf, struct get *g,
					  unsigned long row, unsigned int max)
{
	struct piece p = {
		.child = &llf->children[row >> CHILD_ROW_SHIFT],
		.order = g->order, .views = BIT(g->view),
	};
	const unsigned int order = g->order;
	unsigned int i, lost;
	u64 runs;

	for (i = 0; i < LLFREE_CHILD_ROWS; i++) {
		p.row = row;
		p.word = row_get(llf, row);
		runs = row_runs(p.word, order);
		if (!runs)
			goto next;

		p.mask = runs_lowest(runs, order, min(g->nr, max >> order));
		p.max = hweight64(p.mask);
		g->taken = child_alloc(llf, &p, CHILD_TAKE, row_set_blocks);
		if (!p.taken)
			return -1;
		lost = child_settle(llf, &p, g->taken, g->delta);
		g->lost += lost;
		max -= lost;
		if (likely(g->taken)) {
			g->mask = p.mask;
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
 * tree_get() - get blocks from a tree
 * @row: where to start
 * @max: permits that the caller has
 *
 * Small blocks come from entirely free children only if there are no others, or
 * if it starts there; with @g->spare not even then.
 *
 * Return: first row of what was taken, or negative
 */
static __always_inline long tree_get(struct llfree *llf, struct get *g,
				     unsigned long row, unsigned int max)
{
	unsigned long tree = row_tree(llf, row);
	unsigned long child = row >> CHILD_ROW_SHIFT;
	unsigned int frames = get_frames(g);
	unsigned int held, end, i;
	long ret = -1;
	u16 word;

	if (g->order >= LLFREE_CHILD_ORDER) {
		if (unlikely(READ_ONCE(llf->shuffle_step)))
			child = llf_shuffled_child(llf, tree, g->order);
		child = ALIGN_DOWN(child, frames >> LLFREE_CHILD_ORDER);
	}

	end = tree_children(llf);
	for (i = 0; i < end; i++) {
		word = READ_ONCE(llf->children[child]);
		if (child_view(word) != g->view ||
		    child_free(word) < min_t(u32, frames, LLFREE_CHILD_FRAMES))
			goto next;
		if (child_free(word) == LLFREE_CHILD_FRAMES &&
		    g->order < LLFREE_CHILD_ORDER && i < tree_children(llf) &&
		    (i || g->spare)) {
			/* Later, when all have been seen */
			if (g->spare)
				g->spared = true;
			else
				end = 2 * tree_children(llf);
			goto next;
		}

		held = max - g->lost;
		if (g->order <= LLFREE_ROW_ORDER)
			ret = child_get_row(llf, g, row, held);
		else if (g->order < LLFREE_CHILD_ORDER)
			ret = llf_child_get_rows(llf, g, child, held);
		else
			ret = llf_child_get_children(llf, g, child);
		if (ret >= 0)
			return ret;
		if (unlikely(max < g->lost + frames))
			return -1;
next:
		if (g->order > LLFREE_CHILD_ORDER)
			child += (frames >> LLFREE_CHILD_ORDER) - 1;
		child = tree_child(llf, tree) |
			((child + 1) & (tree_children(llf) - 1));
		row = child << CHILD_ROW_SHIFT;
		if (g->order > LLFREE_CHILD_ORDER)
			i += (frames >> LLFREE_CHILD_ORDER) - 1;
	}
	return -1;
}

#endif /* _LIB_LLFREE_SCAN_H */
