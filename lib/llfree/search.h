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
void llf_shuffle_trees(struct llfree *llf);
long llf_search_shuffled(struct llfree *llf, struct search *s,
			 unsigned long start);

#endif /* _LIB_LLFREE_SEARCH_H */
