// SPDX-License-Identifier: GPL-2.0
/* LLFree core: steps of the lower level off the fast paths, see lower.h. */
#include "hint.h"
#include "lower.h"
#include "upper.h"

/* Give back permits of a child that turned out to have no bits. */
unsigned int llf_child_give_back(struct llfree *llf,
				 unsigned long child,
					     unsigned int frames)
{
	return child_give(llf, child, frames, 0);
}

/*
 * llf_child_undone() - account for frames that went back to a child
 * @view: the view in which they were taken
 * @given: what llf_child_give_back() returned
 *
 * Another search may have missed a block of any order, for want of these frames.
 *
 * Return: permits of @view that the caller no longer has, since the frames went
 *	to another view; the other view was given permits for them
 */
unsigned int llf_child_undone(struct llfree *llf, unsigned long child,
			      unsigned int frames, unsigned int view,
				 unsigned int given, struct llfree_delta *delta)
{
	unsigned int now = child_given(given, frames, delta);

	if (now < LLFREE_ALLOC_VIEWS && !hint_idle(READ_ONCE(llf->hint[now])))
		llf_hint_raise(llf, LLFREE_MAX_ORDER, now);
	if (likely(now == view))
		return 0;
	if (now < LLFREE_ALLOC_VIEWS)
		llf_tree_put(llf, now, child >> TREE_CHILD_SHIFT, frames);
	return frames;
}

/*
 * Clear all of @nr rows, or none. A bad free is found out before anything is
 * clear, lest permits for other frames of the child are used for these.
 */
bool llf_rows_clear(struct llfree *llf, unsigned long row, unsigned int nr)
{
	unsigned int i;
	u64 old;

	if (!rows_allocated(llf, row, nr))
		return false;
	for (i = 0; i < nr; i++) {
		old = ~0ULL;
		if (!try_cmpxchg_release(&llf->rows[row + i], &old, 0))
			goto undo; /* LLF(put_row:A) */
	}
	return true;
undo:
	/*
	 * Another CPU frees the block at the same time. What this one cleared is
	 * still clear, unless more than one CPU frees what it does not own.
	 */
	while (i--) {
		old = 0;
		WARN_ONCE(!try_cmpxchg(&llf->rows[row + i], &old, ~0ULL),
			  "llfree: row %lu changed while it was being freed\n",
			  row + i);
	}
	return false;
}
