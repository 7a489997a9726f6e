// SPDX-License-Identifier: GPL-2.0
/* LLFree core: which orders were looked for everywhere, see hint.h. */
#include "hint.h"
#include "lower.h"

/*
 * llf_hint_arm() - ask frees to report blocks of @order from now on
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

	/* Armed already. All frees read the word; do not write for nothing. */
	smp_mb(); /* LLF(hint_arm:A) */
	return hint_gen(old);
}

/*
 * llf_hint_conclude() - a search since llf_hint_arm() found nothing of @order
 *
 * Order 0 is not noted: while memory is short, each free would have to reset it.
 *
 * Return: false if something was reported since @gen, which the search may have
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

/* A block of @order has become free in @view. */
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

void llf_hint_report(struct llfree *llf, unsigned long row, u64 mask,
		     unsigned int least, unsigned int view)
{
	unsigned int order = LLFREE_ROW_ORDER, want;
	u32 hint = READ_ONCE(llf->hint[view]);
	u64 word;

	/* Mostly it is about blocks much larger than this one. */
	want = min(hint_armed(hint), hint_exhausted(hint));
	word = row_now(llf, row);
	if (least < want &&
	    (want > LLFREE_ROW_ORDER ? word :
	     !(runs_mask(row_runs(word, want), want) & mask)))
		return;

	while (!(runs_mask(row_runs(word, order), order) & mask)) {
		/* Allocated again already. */
		if (!order)
			break;
		order--;
	}
	if (order == LLFREE_ROW_ORDER)
		order = max(llfree_block_order(llf, row_frame(row)),
			    LLFREE_ROW_ORDER);
	llf_hint_raise(llf, max(order, least), view);
}
