/* SPDX-License-Identifier: GPL-2.0 */
/*
 * LLFree core: which orders an exhaustive search found no block of.
 *
 * A word per view, see words.h. A search arms it, looks at all children, and notes
 * that there is none, unless a free reported a block meanwhile. Any context writes
 * the word, by compare-and-swap.
 */
#ifndef _LIB_LLFREE_HINT_H
#define _LIB_LLFREE_HINT_H

#include "words.h"

u32 llf_hint_arm(struct llfree *llf, unsigned int order, unsigned int view);
bool llf_hint_conclude(struct llfree *llf, unsigned int order,
		       unsigned int view, u32 gen);
void llf_hint_raise(struct llfree *llf, unsigned int order, unsigned int view);
void llf_hint_report(struct llfree *llf, unsigned long row, u64 mask,
		     unsigned int least, unsigned int view);

/*
 * hint_freed() - report the largest block that holds freed frames
 *
 * @mask are the frames of @row that were freed, and @least is the order of the
 * block that they are known to have made: part of it may be allocated again
 * already, but a search that saw it before must not conclude that there was
 * none. To be called after the permits are given, by tree_give:B or
 * local_give:B.
 */
static __always_inline void hint_freed(struct llfree *llf, unsigned long row,
				       u64 mask, unsigned int least,
				       unsigned int view)
{
	if (view < LLFREE_ALLOC_VIEWS &&
	    unlikely(!hint_idle(READ_ONCE(llf->hint[view]))))
		llf_hint_report(llf, row, mask, least, view);
}

#endif /* _LIB_LLFREE_HINT_H */
