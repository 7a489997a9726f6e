/* SPDX-License-Identifier: GPL-2.0 */
/* LLFree core: the default policy, inline for searches */
#ifndef _LIB_LLFREE_POLICY_H
#define _LIB_LLFREE_POLICY_H

#include "words.h"

/* Fewer free frames than this are not worth a reservation. */
#define MIN_RESERVE		16U
/* A search prefers another tree if less than this part of a tree is free. */
#define MIN_MATCH_PART		16U

/*
 * default_rate() - rate() of llfree_default_policy
 *
 * Frames of one lifetime stay together: a tree has one class as long as any
 * frame in the tree is allocated. A tree of another class is taken over if at
 * least half of the tree is free. Then the next frames fill the tree with the
 * new class. Else only the needed frames are taken, so that the tree can go
 * back to its own class.
 */
static inline enum llfree_level
default_rate(unsigned int class, unsigned int tree, unsigned int free,
	     unsigned int frames)
{
	if (free == frames)
		return LLFREE_LEVEL_FREE;
	if (tree == class) {
		if (free >= frames / MIN_MATCH_PART)
			return LLFREE_LEVEL_MATCH;
		if (free >= MIN_RESERVE)
			return LLFREE_LEVEL_SPARSE;
		return LLFREE_LEVEL_STEAL;
	}
	/* Huge blocks leave no holes behind and may go anywhere. */
	if (class == LLFREE_CLASS_HUGE)
		return LLFREE_LEVEL_STEAL;
	if (free >= frames / 2)
		return LLFREE_LEVEL_DEMOTE;
	return LLFREE_LEVEL_STEAL;
}

#endif /* _LIB_LLFREE_POLICY_H */
