// SPDX-License-Identifier: GPL-2.0
/* LLFree core: steps of the lower level off the fast paths, see lower.h. */
#include "hint.h"
#include "lower.h"
#include "upper.h"

/*
 * llf_child_find() - the first row of the first free block of a child, by its rows
 * @order: at most LLFREE_CHILD_ORDER
 * @word: the child word
 *
 * Return: the row, or negative if there is no such block
 */
long llf_child_find(const struct llfree *llf, unsigned long child,
		    unsigned int order, u16 word)
{
	const unsigned long first = child << CHILD_ROW_SHIFT;
	unsigned int i, nr;

	if (order <= LLFREE_ROW_ORDER) {
		for (i = 0; i < LLFREE_CHILD_ROWS; i++)
			if (row_runs(row_read(llf, first + i, word), order))
				return first + i;
		return -1;
	}
	nr = 1U << (order - LLFREE_ROW_ORDER);
	for (i = 0; i < LLFREE_CHILD_ROWS; i += nr)
		if (rows_free(llf, first + i, nr))
			return first + i;
	return -1;
}

/*
 * Return an order that is at least that of any block in the child, or with a
 * part in the child.
 */
static unsigned int child_largest(const struct llfree *llf, unsigned long child)
{
	const u16 word = READ_ONCE(*child_at(llf, child));
	unsigned int order = LLFREE_CHILD_ORDER;

	while (order && llf_child_find(llf, child, order, word) < 0)
		order--;
	return order < LLFREE_CHILD_ORDER ? order : LLFREE_MAX_ORDER;
}

/*
 * Let searches look again after permits of a child were given back. While the
 * permits were out, searches may have missed blocks of up to @order.
 *
 * @given: return value of the child step
 */
static void child_shown(struct llfree *llf, unsigned long child, unsigned int order,
			unsigned int given)
{
	unsigned int view = given & LLFREE_FREED_VIEW;

	if (view >= LLFREE_ALLOC_VIEWS)
		return;
	llf_tree_give(llf, view, child_tree(llf, child), 0);
	if (!hint_idle(READ_ONCE(llf->hint[view])))
		llf_hint_raise(llf, order, view);
}

/* Give back permits of a child that turned out to have no bits. */
unsigned int llf_child_give_back(struct llfree *llf, unsigned long child,
				 unsigned int frames)
{
	/*
	 * Read the rows before the permits go back: afterwards another CPU may
	 * allocate the block that a search has missed.
	 */
	unsigned int order = child_largest(llf, child);
	unsigned int had, given = child_give(child_at(llf, child), frames,
					     READ_ONCE(*child_at(llf, child)), &had);

	WARN_ONCE(given == LLFREE_NR_VIEWS,
		  "llfree: %u permits of child %lu are lost\n", frames, child);
	child_shown(llf, child, order, given);
	return given;
}

/*
 * Give back a child that was taken as a whole, whose word was @before that
 * step.
 */
unsigned int llf_child_give_back_whole(struct llfree *llf, unsigned long child,
				       u16 before)
{
	u16 now = READ_ONCE(*child_at(llf, child));
	unsigned int given = LLFREE_NR_VIEWS;

	/* Turn has changed by the caller's own step only. */
	if (!(((before + CHILD_TURN) ^ now) & CHILD_TURN_MASK))
		given = child_give_whole(child_at(llf, child), now, 0);
	WARN_ONCE(given == LLFREE_NR_VIEWS, "llfree: child %lu is lost\n", child);
	child_shown(llf, child, LLFREE_MAX_ORDER, given);
	return given;
}

/*
 * llf_child_undone() - account for frames that went back to a child
 * @view: the view in which they were taken
 * @given: return value of llf_child_give_back()
 *
 * Return: permits of @view that the caller no longer has, since the frames went
 *	to another view; the other view was given permits for them
 */
unsigned int llf_child_undone(struct llfree *llf, unsigned long child,
			      unsigned int frames, unsigned int view,
			      unsigned int given, struct llfree_delta *delta)
{
	unsigned int now = child_given(given, frames, delta);

	if (likely(now == view))
		return 0;
	if (now < LLFREE_ALLOC_VIEWS)
		llf_tree_give(llf, now, child_tree(llf, child), frames);
	return frames;
}

/*
 * Clear all of @nr rows of a child with this word, or none. All rows are
 * checked before the first is cleared. So a bad free does not use clear bits
 * for which other frames of the child have the permits.
 */
bool llf_rows_clear(struct llfree *llf, unsigned long row, unsigned int nr,
		    u16 child)
{
	const u64 free = free_bits(child);
	unsigned int i;
	u64 old;

	if (!rows_allocated(llf, row, nr, child))
		return false;
	for (i = 0; i < nr; i++) {
		old = ~free;
		if (!try_cmpxchg_release(row_at(llf, row + i), &old, free))
			goto undo; /* LLF(row_clear:A) */
	}
	return true;
undo:
	/*
	 * Another CPU frees the block at the same time. The rows that this CPU
	 * cleared are still clear, unless more than one CPU frees frames that
	 * it does not own.
	 */
	while (i--) {
		old = free;
		WARN_ONCE(!try_cmpxchg(row_at(llf, row + i), &old, ~free),
			  "llfree: row %lu changed while it was being freed\n",
			  row + i);
	}
	return false;
}

/*
 * llf_bad_free() - undo the row step of a free whose child step is refused
 * @mask: bits that were cleared in each of @nr rows from @row on
 *
 * Another caller freed or allocated the child as a whole between the two steps,
 * or the child word counts too many free frames. So the frames were not this
 * caller's to free, or an earlier free was wrong. This function changes the
 * bits again, as if the row step had not been, also in the new turn, unless the
 * bits have changed since. The rows of a hole have been written anew and are
 * left alone.
 */
void llf_bad_free(struct llfree *llf, unsigned long row, unsigned int nr, u64 mask)
{
	const u16 child = READ_ONCE(*child_at(llf, row >> CHILD_ROW_SHIFT));
	u64 old;

	WARN_ONCE(1, "llfree: bad free of frames %#llx of row %lu, child word %#x\n",
		  mask, row, child);
	if (child_hole(child))
		return;
	for (; nr--; row++) {
		old = READ_ONCE(*row_at(llf, row));
		while (!try_cmpxchg(row_at(llf, row), &old, old ^ mask))
			;
	}
}
