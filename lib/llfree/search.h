/* SPDX-License-Identifier: GPL-2.0 */
/* LLFree core: which trees an allocation looks at, and in which order. */
#ifndef _LIB_LLFREE_SEARCH_H
#define _LIB_LLFREE_SEARCH_H

#include "scan.h"

long llf_search(struct llfree *llf, struct search *s);
long llf_search_tree(struct llfree *llf, struct search *s, unsigned long tree,
		     enum llfree_level first, enum llfree_level last);
long llf_search_range(struct llfree *llf, struct search *s, unsigned long start,
		      unsigned long low, unsigned long high,
		      enum llfree_level good, enum llfree_level last);
long llf_search_held(struct llfree *llf, struct search *s, unsigned long row,
		     unsigned int held);
long llf_search_direct(struct llfree *llf, struct search *s, unsigned long tree,
		       unsigned long row, unsigned int class);
long llf_search_steal(struct llfree *llf, struct search *s, unsigned long start,
		      unsigned long low, unsigned long high, bool own);
long llf_search_anywhere(struct llfree *llf, struct search *s, unsigned long start);
void llf_shuffle_trees(struct llfree *llf);
long llf_search_shuffled(struct llfree *llf, struct search *s,
			 unsigned long start);

/* Is a class for frames of another lifetime than that of the search? */
static inline bool class_foreign(const struct llfree *llf, const struct search *s,
				 unsigned int class)
{
	return class != s->class && class != LLFREE_CLASS_NONE &&
	       !(llf->policy->mates[s->class] & BIT(class));
}

/* Note for the caller that frames came from a tree of another class. */
static inline void search_note_class(const struct llfree *llf, struct search *s,
				     unsigned int class, unsigned int did)
{
	if (s->view != LLFREE_VIEW_NORMAL || !class_foreign(llf, s, class))
		return;
	s->delta->did |= did;
	s->delta->old_class = class;
}

#endif /* _LIB_LLFREE_SEARCH_H */
