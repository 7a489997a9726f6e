// SPDX-License-Identifier: GPL-2.0
/* LLFree core: allocation of exact blocks, and views of children. */
#include <kunit/visibility.h>
#include <linux/export.h>

#include "hint.h"
#include "lower.h"
#include "upper.h"

/* ---- Exact blocks ---- */

#define VIEWS_ALL	((1U << LLFREE_NR_VIEWS) - 1)
#define VIEWS_VISIBLE	(VIEWS_ALL & ~(1U << LLFREE_VIEW_ISOLATED))

static unsigned int claim_views(unsigned int flags)
{
	return flags & LLFREE_CLAIM_HIDDEN ? VIEWS_ALL : VIEWS_VISIBLE;
}

/* Leave the tree of a child a deficit for frames that were claimed in @view. */
static void claim_debt(struct llfree *llf, unsigned long child,
		       unsigned int view, unsigned int frames)
{
	if (frames && view < LLFREE_ALLOC_VIEWS)
		llf_tree_return(llf, view, child_tree(llf, child), -(s32)frames);
}

/*
 * Allocate a piece of a child.
 *
 * Return: number of frames that were allocated
 */
static __always_inline unsigned int
claim_piece(struct llfree *llf, struct piece *p,
	    unsigned int (*set)(struct llfree *llf, struct piece *p),
	    struct llfree_delta *delta)
{
	unsigned long child = p->row >> CHILD_ROW_SHIFT;
	unsigned int used, lost;

	p->child = child_at(llf, child);
	/*
	 * In an isolated child, llfree_child_stable() may run at the same time.
	 */
	used = child_alloc(llf, p, p->views & BIT(LLFREE_VIEW_ISOLATED) ?
			   CHILD_TAKE_FULL : CHILD_TAKE, set);
	if (!p->taken)
		return 0;
	lost = child_settle(llf, p, used, delta);
	claim_debt(llf, child, child_view(p->before), used + lost);
	return used;
}

/* Allocate one or two whole children. */
static bool claim_children(struct llfree *llf, unsigned long child,
			   unsigned int nr, unsigned int views,
			   struct llfree_delta *delta)
{
	unsigned int view[2] = { }, lost[2] = { }, i;
	bool ok;

	ok = child_alloc_whole(llf, child, nr, views, view, lost, delta);
	for (i = 0; i < nr; i++)
		claim_debt(llf, child + i, view[i],
			   ok ? LLFREE_CHILD_FRAMES : lost[i]);
	return ok;
}

/**
 * llfree_claim() - allocate exactly this block
 * @llf: the instance
 * @frame: first frame, aligned to the size of the block
 * @order: 0..LLFREE_MAX_ORDER
 * @flags: LLFREE_CLAIM_*
 * @delta: the changes are added here; may be NULL
 *
 * Context: any, also NMI; takes no lock, does not sleep.
 *
 * Return: 0; -EBUSY if a frame of the block is allocated or hidden; -EINVAL if
 *	the block is not in the range or not aligned, or for a bad order or flag
 */
int llfree_claim(struct llfree *llf, unsigned long frame, unsigned int order,
		 unsigned int flags, struct llfree_delta *delta)
{
	struct piece p = { .order = order, .views = claim_views(flags) };
	struct llfree_delta unused __uninitialized;
	unsigned int used;

	if (unlikely(order > LLFREE_MAX_ORDER ||
		     (flags & ~LLFREE_CLAIM_HIDDEN) ||
		     !IS_ALIGNED(frame, 1UL << order) ||
		     !block_in_range(llf, frame, 1UL << order)))
		return -EINVAL;
	delta = delta_or(delta, &unused);

	if (order >= LLFREE_CHILD_ORDER)
		return claim_children(llf, frame_child(frame),
				      1U << (order - LLFREE_CHILD_ORDER),
				      p.views, delta) ? 0 : -EBUSY;

	p.row = frame_row(frame);
	p.max = 1U << order;
	if (order <= LLFREE_ROW_ORDER) {
		p.word = row_now(llf, p.row);
		p.mask = row_runs(p.word, order) &
			 BIT_ULL(frame & (LLFREE_ROW_FRAMES - 1));
		if (!p.mask)
			return -EBUSY;
		used = claim_piece(llf, &p, row_set_first, delta);
	} else {
		if (!rows_free(llf, p.row, p.max >> LLFREE_ROW_ORDER))
			return -EBUSY;
		used = claim_piece(llf, &p, rows_set_all, delta);
	}
	return used ? 0 : -EBUSY;
}
EXPORT_SYMBOL_GPL(llfree_claim);

/**
 * llfree_claim_row() - allocate all frames of a mask that are free in a row
 * @llf: the instance
 * @frame: first frame of the row, aligned to LLFREE_ROW_FRAMES
 * @mask: bits of the frames that are wanted
 * @flags: LLFREE_CLAIM_*
 * @claimed: bits of the frames that were allocated
 * @delta: the changes are added here; may be NULL
 *
 * A frame that another CPU is freeing may look free, and yet cannot be claimed
 * until the free is done. llfree_child_stable() tells whether there is such a
 * frame.
 *
 * Context: any, also NMI; takes no lock, does not sleep.
 *
 * Return: number of frames allocated; -EBUSY if the child was hidden from the
 *	start; -EINVAL if the row is not in the range or not aligned
 */
long llfree_claim_row(struct llfree *llf, unsigned long frame, u64 mask,
		      unsigned int flags, u64 *claimed,
		      struct llfree_delta *delta)
{
	struct piece p = { .views = claim_views(flags) };
	struct llfree_delta unused __uninitialized;
	unsigned long child;

	*claimed = 0;
	if (unlikely((flags & ~LLFREE_CLAIM_HIDDEN) ||
		     !IS_ALIGNED(frame, LLFREE_ROW_FRAMES) ||
		     frame >= range_end(llf) ||
		     frame + LLFREE_ROW_FRAMES <= range_first(llf)))
		return -EINVAL;
	delta = delta_or(delta, &unused);

	child = frame_child(frame);
	if (!(p.views & BIT(child_view(READ_ONCE(*child_at(llf, child))))))
		return -EBUSY;

	p.row = frame_row(frame);
	p.word = row_now(llf, p.row);
	p.mask = mask;
	p.max = hweight64(~p.word & mask);
	if (p.max && claim_piece(llf, &p, row_set_some, delta))
		*claimed = p.mask;
	return hweight64(*claimed);
}
EXPORT_SYMBOL_IF_KUNIT(llfree_claim_row);

/* ---- Views ---- */

/**
 * llfree_set_view() - change which callers see the free frames of a child
 * @llf: the instance
 * @frame: any frame of the child
 * @view: the new view
 * @delta: the changes are added here; may be NULL
 *
 * An allocation that starts after a child became isolated does not return
 * frames of that child. An allocation that had taken its permits before may
 * still do so; llfree_child_stable() tells when no such allocation is left.
 *
 * Context: any; takes no lock, does not sleep. If the old view matters, the
 * caller serialises changes of the view of a child.
 *
 * Return: the old view; -EALREADY if the child has the new view already;
 *	-EINVAL if the child is a hole or not in the range, or for a bad view
 */
int llfree_set_view(struct llfree *llf, unsigned long frame,
		    enum llfree_view view, struct llfree_delta *delta)
{
	unsigned long child, tree;
	unsigned int from, free;
	u16 *word, old, new;

	if (view >= LLFREE_NR_VIEWS || !block_in_range(llf, frame, 1))
		return -EINVAL;

	child = frame_child(frame);
	tree = child_tree(llf, child);
	word = child_at(llf, child);
	preempt_disable();
	old = READ_ONCE(*word);
	do {
		if (child_hole(old) || child_view(old) == view) {
			preempt_enable();
			return child_hole(old) ? -EINVAL : -EALREADY;
		}
		new = (old & ~CHILD_VIEW_MASK) | (view << CHILD_VIEW_SHIFT);
	} while (!try_cmpxchg(word, &old, new)); /* LLF(set_view:A) */

	from = child_view(old);
	free = child_free(old);
	if (from < LLFREE_ALLOC_VIEWS)
		llf_tree_return(llf, from, tree, -(s32)free);
	if (view < LLFREE_ALLOC_VIEWS) {
		llf_tree_give(llf, view, tree, free);
		if (view == LLFREE_VIEW_NORMAL)
			llf_partial_note(llf, READ_ONCE(*tree_at(llf, view, tree)), free);
		llf_hint_raise(llf, LLFREE_MAX_ORDER, view);
	}
	preempt_enable();
	if (delta) {
		delta->frames[from] -= free;
		delta->frames[view] += free;
		if (free == LLFREE_CHILD_FRAMES) {
			delta->huge[from]--;
			delta->huge[view]++;
		}
	}
	return from;
}
EXPORT_SYMBOL_GPL(llfree_set_view);
