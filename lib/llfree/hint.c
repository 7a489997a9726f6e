// SPDX-License-Identifier: GPL-2.0
/*
 * LLFree core: for which orders an exhaustive search was unsuccessful, see
 * hint.h.
 */
#include "hint.h"
#include "lower.h"

/*
 * llf_hint_arm() - make frees report blocks of @order and more from now on
 *
 * Return: the generation that llf_hint_conclude() needs
 */
u32 llf_hint_arm(struct llfree *llf, unsigned int order, unsigned int view)
{
	u32 old = READ_ONCE(llf->hint[view]), new;

	while (hint_armed(old) > order) {
		new = hint_make(hint_gen(old), order, hint_exhausted(old));
		/* LLF(hint_arm:A) */
		if (try_cmpxchg(&llf->hint[view], &old, new))
			return hint_gen(new);
	}

	/*
	 * Armed already. All frees read the word, so avoid a write to its cache
	 * line.
	 */
	smp_mb(); /* LLF(hint_arm:A) */
	return hint_gen(old);
}

/*
 * llf_hint_conclude() - note that a search since llf_hint_arm() was
 * unsuccessful
 *
 * Does not note order 0: while memory is short, each free would have to reset
 * the hint.
 *
 * Return: false if a block was reported since @gen, which the search may have
 *	missed
 */
bool llf_hint_conclude(struct llfree *llf, unsigned int order,
		       unsigned int view, u32 gen)
{
	u32 old = READ_ONCE(llf->hint[view]), new;

	do {
		if (hint_gen(old) != gen)
			return false;
		if (!order || hint_exhausted(old) <= order)
			return true;
		new = hint_make(gen, hint_armed(old), order);
	} while (!try_cmpxchg_relaxed(&llf->hint[view], &old, new));
	return true;
}

/* Report that a block of @order has become free in @view. */
void llf_hint_raise(struct llfree *llf, unsigned int order,
		    unsigned int view)
{
	u32 old = READ_ONCE(llf->hint[view]), new;
	unsigned int exhausted;

	do {
		exhausted = hint_exhausted(old);
		if (order < min(hint_armed(old), exhausted))
			return;
		if (order >= exhausted)
			exhausted = order < LLFREE_MAX_ORDER ? order + 1 :
							       HINT_NONE;
		new = hint_make(hint_gen(old) + 1, HINT_NONE, exhausted);
	} while (!try_cmpxchg_relaxed(&llf->hint[view], &old, new));
}

/*
 * Find the order of the largest block that holds freed frames. Frames of more
 * than a row are known to have been one block. Part of that block may be
 * allocated again already, but a search that looked before the free must not
 * conclude that there was none.
 *
 * Return: the order; if the order is less than @want, any order less than @want
 */
static unsigned int freed_order(const struct llfree *llf, unsigned long row, u64 mask,
				unsigned int frames, unsigned int want)
{
	const unsigned int least = frames > LLFREE_CHILD_FRAMES ? LLFREE_MAX_ORDER :
				   frames > LLFREE_ROW_FRAMES ? fls64(frames) - 1 : 0;
	unsigned int order = LLFREE_ROW_ORDER;
	const u64 word = row_now(llf, row);

	/*
	 * Mostly the hint is armed for blocks much larger than the freed one.
	 */
	if (least < want &&
	    (want > LLFREE_ROW_ORDER ? word :
	     !(runs_mask(row_runs(word, want), want) & mask)))
		return 0;

	while (!(runs_mask(row_runs(word, order), order) & mask)) {
		/* Allocated again already. */
		if (!order)
			break;
		order--;
	}
	if (order == LLFREE_ROW_ORDER)
		order = max(llfree_block_order(llf, row_frame(row)),
			    LLFREE_ROW_ORDER);
	return max(order, least);
}

/*
 * Find the order of the largest block of a child that a search may have missed
 * before the free. The child had only @had permits, and now has @frames more:
 * another CPU may have taken permits of that block and set bits of freed
 * frames.
 *
 * Return: the order, less than LLFREE_CHILD_ORDER; 0 if no such block is of
 *	@want or more
 */
static unsigned int shown_order(const struct llfree *llf, unsigned long child,
				unsigned int had, unsigned int frames, unsigned int want)
{
	const int least = max_t(int, want, fls(had));
	int order = min(fls(had + frames) - 1, LLFREE_CHILD_ORDER - 1);
	u16 word;

	if (order < least)
		return 0;
	word = READ_ONCE(*child_at(llf, child));
	for (; order >= least; order--)
		if (llf_child_find(llf, child, order, word) >= 0)
			return order;
	return 0;
}

void llf_hint_report(struct llfree *llf, unsigned long row, u64 mask,
		     unsigned int frames, unsigned int had, unsigned int view)
{
	const u32 hint = READ_ONCE(llf->hint[view]);
	const unsigned int want = min(hint_armed(hint), hint_exhausted(hint));
	unsigned int order = freed_order(llf, row, mask, frames, want);

	if (frames < LLFREE_CHILD_FRAMES)
		order = max(order, shown_order(llf, row >> CHILD_ROW_SHIFT, had, frames, want));
	if (order >= want)
		llf_hint_raise(llf, order, view);
}
