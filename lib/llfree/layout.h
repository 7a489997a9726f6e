/* SPDX-License-Identifier: GPL-2.0 */
/*
 * LLFree core: the addresses of the arrays of an instance, and initial words.
 */
#ifndef _LIB_LLFREE_LAYOUT_H
#define _LIB_LLFREE_LAYOUT_H

#include "lower.h"

int llf_layout_check(unsigned long first, unsigned long nr,
		     const struct llfree_memory *mem);

/*
 * The word of number @first is at @words: where would the word of number 0 be?
 */
static inline void *words_bias(void *words, unsigned long first, size_t size)
{
	return llfree_word(words, -first, size);
}

/* Use the arrays of @mem, which begin with the tree of frame @first. */
static inline void layout_set(struct llfree *llf, const struct llfree_memory *mem,
			      unsigned long first)
{
	const unsigned long tree = first >> llf->tree_order;
	unsigned int view;

	WRITE_ONCE(llf->rows, words_bias(mem->rows, tree_row(llf, tree), sizeof(u64)));
	WRITE_ONCE(llf->children, words_bias(mem->children, tree_child(llf, tree),
					     sizeof(u16)));
	for (view = 0; view < LLFREE_ALLOC_VIEWS; view++)
		WRITE_ONCE(llf->trees[view],
			   words_bias(mem->trees + view * mem->trees_stride, tree,
				      sizeof(u32)));
}

/* Make all frames of a child free or allocated for a child with this word. */
static inline void layout_rows(struct llfree *llf, unsigned long child, u64 word)
{
	u64 *row = row_at(llf, child << CHILD_ROW_SHIFT);
	unsigned int i;

	for (i = 0; i < LLFREE_CHILD_ROWS; i++)
		WRITE_ONCE(row[i], word);
}

/* Make a child a hole; no CPU owns frames of it, or permits. */
static inline void layout_hole(struct llfree *llf, unsigned long child)
{
	WRITE_ONCE(*child_at(llf, child), LLFREE_HOLE_CHILD);
	layout_rows(llf, child, 0);
}

#endif /* _LIB_LLFREE_LAYOUT_H */
