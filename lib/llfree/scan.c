// SPDX-License-Identifier: GPL-2.0
/* LLFree core: how to look for blocks in one tree, see scan.h. */
#include "scan.h"

/*
 * Do the work of child_alloc_row() for orders of more than a row and less than
 * a child.
 */
long llf_child_alloc_rows(struct llfree *llf, struct search *s,
			  unsigned long child, unsigned int max)
{
	const unsigned int frames = search_frames(s), nr = frames >> LLFREE_ROW_ORDER;
	unsigned long first = child << CHILD_ROW_SHIFT;
	struct piece p = {
		.child = child_at(llf, child), .order = s->order,
		.views = BIT(s->view), .max = frames,
	};
	unsigned int lost;

	for (p.row = first; p.row < first + LLFREE_CHILD_ROWS; p.row += nr) {
		if (!rows_free(llf, p.row, nr))
			continue;
		s->taken = child_alloc(llf, &p, CHILD_TAKE, rows_set_all);
		if (!p.taken)
			return -1;
		lost = child_settle(llf, &p, s->taken, s->delta);
		if (s->taken)
			return p.row;
		s->lost += lost;
		max -= lost;
		if (max < frames)
			return -1;
	}
	return -1;
}

/* Allocate one or two whole children for a search. */
long llf_child_alloc_whole(struct llfree *llf, struct search *s,
			   unsigned long child)
{
	unsigned int view[2], lost[2] = { };
	bool ok;

	ok = child_alloc_whole(llf, child, search_frames(s) >> LLFREE_CHILD_ORDER,
			       BIT(s->view), view, lost, s->delta);
	s->lost += lost[0] + lost[1];
	if (!ok)
		return -1;
	s->taken = search_frames(s);
	return child << CHILD_ROW_SHIFT;
}

/*
 * llf_child_peek() - does a child seem to have a block, and in which row?
 * @stuck: set if the rows have a block but the permits are out, so that another
 *	operation is between two steps; may be NULL for less than a child
 */
long llf_child_peek(const struct llfree *llf, const struct search *s,
		    unsigned long child, bool *stuck)
{
	unsigned long first = child << CHILD_ROW_SHIFT;
	unsigned int frames = search_frames(s), nr;
	long row;
	u16 word = READ_ONCE(*child_at(llf, child));

	if (child_view(word) != s->view)
		return -1;
	if (s->order >= LLFREE_CHILD_ORDER) {
		nr = frames >> LLFREE_CHILD_ORDER;
		if (child & (nr - 1))
			return -1;
		while (nr--) {
			word = READ_ONCE(*child_at(llf, child + nr));
			if (child_view(word) != s->view)
				return -1;
			if (child_free(word) == LLFREE_CHILD_FRAMES)
				continue;
			if (!rows_free(llf, (child + nr) << CHILD_ROW_SHIFT,
				       LLFREE_CHILD_ROWS))
				return -1;
			*stuck = true;
		}
		return first;
	}
	if (child_free(word) < frames && !stuck)
		return -1;

	row = llf_child_find(llf, child, s->order, word);
	if (row < 0)
		return -1;
	if (child_free(word) < frames)
		*stuck = true;
	return row;
}

/* Do the work of llf_tree_peek() for one or two whole children. */
static long tree_peek_huge(const struct llfree *llf, const struct search *s,
			   unsigned long tree)
{
	const u16 *child = child_at(llf, tree_child(llf, tree));
	const u16 whole = child_make(LLFREE_CHILD_FRAMES, s->view);
	const u16 mask = CHILD_FREE_MASK | CHILD_VIEW_MASK;
	const unsigned int nr = search_frames(s) >> LLFREE_CHILD_ORDER;
	unsigned int i;

	for (i = 0; i < tree_children(llf); i += nr) {
		if ((READ_ONCE(child[i]) & mask) == whole &&
		    (READ_ONCE(child[i + nr - 1]) & mask) == whole)
			return (tree_child(llf, tree) + i) <<
			       CHILD_ROW_SHIFT;
	}
	return -1;
}

/*
 * llf_tree_peek() - does a tree seem to have a block, and in which row?
 *
 * Prefers partly free children. With @s->partial, finds no entirely free ones.
 */
long llf_tree_peek(const struct llfree *llf, const struct search *s,
		   unsigned long tree)
{
	unsigned long child = tree_child(llf, tree);
	unsigned int i;
	long whole = -1, row;

	if (s->order >= LLFREE_CHILD_ORDER)
		return tree_peek_huge(llf, s, tree);

	for (i = 0; i < tree_children(llf); i++, child++) {
		row = llf_child_peek(llf, s, child, NULL);
		if (row < 0)
			continue;
		if (child_free(READ_ONCE(*child_at(llf, child))) <
		    LLFREE_CHILD_FRAMES)
			return row;
		if (whole < 0 && !s->partial)
			whole = row;
	}
	return whole;
}

/* Count the frames in entirely free children of a tree. */
unsigned int llf_tree_whole(const struct llfree *llf, unsigned long tree)
{
	unsigned long child = tree_child(llf, tree);
	unsigned int i, nr = 0;

	for (i = 0; i < tree_children(llf); i++)
		nr += child_whole(READ_ONCE(*child_at(llf, child + i)));
	return nr * LLFREE_CHILD_FRAMES;
}

/*
 * Find the first row of the first entirely free child of a tree.
 *
 * Return: the row, or negative if there is no such child
 */
long llf_tree_free_child(const struct llfree *llf, unsigned long tree)
{
	unsigned long child = tree_child(llf, tree);
	unsigned int i;

	for (i = 0; i < tree_children(llf); i++, child++)
		if (child_whole(READ_ONCE(*child_at(llf, child))))
			return child << CHILD_ROW_SHIFT;
	return -1;
}
