// SPDX-License-Identifier: GPL-2.0
/*
 * LLFree core: entirely free trees and children in an order that is hard to guess.
 *
 * An instance pays for this only after llfree_shuffle() was called.
 */
#include <kunit/visibility.h>
#include <linux/export.h>
#include <linux/gcd.h>
#include <linux/hash.h>

#include "search.h"

/*
 * Choose the entirely free child of a tree to start with, after
 * llfree_shuffle(). The choice depends on the key and on the words of the
 * children. The step comes to each child once.
 */
unsigned long llf_shuffled_child(const struct llfree *llf,
				 unsigned long tree, unsigned int order)
{
	const u16 *children = child_at(llf, tree_child(llf, tree));
	const unsigned int shift = llf->tree_order - LLFREE_CHILD_ORDER;
	const unsigned int nr = 1U << shift;
	const unsigned int pair = order > LLFREE_CHILD_ORDER;
	u64 state = READ_ONCE(llf->shuffle_first) + tree;
	unsigned int i, child, step;

	/* A product alone is linear: the key would shift the order, not change it. */
	for (i = 0; i < nr; i++) {
		state = hash_64(state ^ READ_ONCE(children[i]), 64);
		state ^= state >> 32;
	}
	state = hash_64(state, 2 * shift);
	step = state >> shift | 1;
	for (i = 0; i < nr; i++) {
		child = (state + i * step) % nr;
		if (child_whole(READ_ONCE(children[child])) &&
		    child_whole(READ_ONCE(children[child ^ pair])))
			break;
	}
	return tree_child(llf, tree) + child;
}

/*
 * Allocate from a tree in use that suits, else from an entirely free tree. The
 * search takes entirely free trees in the order of the key of llfree_shuffle().
 * The search goes on where the last search ended, by steps that come to each
 * tree once.
 */
long llf_search_shuffled(struct llfree *llf, struct search *s,
			 unsigned long start)
{
	const unsigned long step = READ_ONCE(llf->shuffle_step);
	unsigned long tree, i;
	long ret;

	ret = llf_search_range(llf, s, start, s->first_tree, s->end_tree,
			       LLFREE_LEVEL_SPARSE, LLFREE_LEVEL_SPARSE);
	if (ret >= 0)
		return ret;

	tree = search_start(s, READ_ONCE(llf->shuffle_next));
	for (i = s->first_tree; i < s->end_tree; i++) {
		ret = llf_search_tree(llf, s, tree, LLFREE_LEVEL_FREE, LLFREE_LEVEL_FREE);
		tree = s->first_tree + (tree - s->first_tree + step) %
				       (s->end_tree - s->first_tree);
		if (ret >= 0) {
			WRITE_ONCE(llf->shuffle_next, tree);
			return ret;
		}
	}
	return -1;
}

/*
 * Compute the order of trees from the key; again after the range has changed.
 */
void llf_shuffle_trees(struct llfree *llf)
{
	const unsigned long first = trees_first(llf), nr = trees_end(llf) - first;
	const u64 key = llf->shuffle_key;
	unsigned long step = 1;

	if (nr > 1) {
		step += (u32)key % (nr - 1);
		while (gcd(step, nr) != 1)
			step = step == 1 ? nr - 1 : step - 1;
	}
	WRITE_ONCE(llf->shuffle_first, key >> 32);
	WRITE_ONCE(llf->shuffle_next, first + (key >> 32) % max(nr, 1UL));
	WRITE_ONCE(llf->shuffle_step, step);
}

/**
 * llfree_shuffle() - take entirely free trees in an order that is hard to guess
 * @llf: the instance
 * @key: random number that decides on the order
 *
 * The order of the entirely free children of a tree also depends on @key. This
 * costs time in searches for huge blocks, and in searches for which no suitable
 * tree is in use.
 *
 * Context: one caller at a time, also of llfree_grow() and llfree_shrink(); allocations
 * may be under way.
 */
void llfree_shuffle(struct llfree *llf, u64 key)
{
	llf->shuffle_key = key;
	llf_shuffle_trees(llf);
}
EXPORT_SYMBOL_IF_KUNIT(llfree_shuffle);
