/* SPDX-License-Identifier: GPL-2.0 */
/*
 * LLFree core: for which orders an exhaustive search was unsuccessful.
 *
 * There is a hint word per view, see words.h. A search arms the hint, looks at
 * all children, and notes that there is no block, unless a free reported a
 * block meanwhile. Any context writes the word, by compare-and-swap.
 */
#ifndef _LIB_LLFREE_HINT_H
#define _LIB_LLFREE_HINT_H

#include "words.h"

u32 llf_hint_arm(struct llfree *llf, unsigned int order, unsigned int view);
bool llf_hint_conclude(struct llfree *llf, unsigned int order,
		       unsigned int view, u32 gen);
void llf_hint_raise(struct llfree *llf, unsigned int order, unsigned int view);
void llf_hint_report(struct llfree *llf, unsigned long row, u64 mask,
		     unsigned int frames, unsigned int had, unsigned int view);

/*
 * hint_freed() - report blocks that a free has made or shown
 * @mask: the frames that were freed, in each of the rows from @row on
 * @frames: number of freed frames
 * @had: free frames of the child before; 0 for whole children
 *
 * The caller has given the permits before, by tree_give:B, by local_give:B or by
 * the xchg() that reserves the tree.
 */
static __always_inline void hint_freed(struct llfree *llf, unsigned long row, u64 mask,
				       unsigned int frames, unsigned int had,
				       unsigned int view)
{
	if (view < LLFREE_ALLOC_VIEWS &&
	    unlikely(!hint_idle(READ_ONCE(llf->hint[view]))))
		llf_hint_report(llf, row, mask, frames, had, view);
}

#endif /* _LIB_LLFREE_HINT_H */
