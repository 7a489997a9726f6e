// SPDX-License-Identifier: GPL-2.0
/*
 * LLFree core: the search that looks at every child before an allocation fails.
 *
 * Permits are promises about numbers, which changes of views and other CPUs may
 * break. So the exhaustive search does not ask for permits. The search takes
 * blocks that it sees in children, and leaves a deficit in their trees.
 */
#include <kunit/visibility.h>
#include <linux/export.h>

#include "hint.h"
#include "search.h"

/* Passes while other CPUs take each block that the search has seen */
#define MAX_PASSES		64U
/*
 * Passes while an operation holds permits; this search may have interrupted it
 */
#define MAX_STUCK_PASSES	4U
/* Passes that see no block, while blocks become free behind the search */
#define MAX_EMPTY_PASSES	4U

/*
 * Take a block that was seen in @row of a child, and leave its tree a deficit.
 */
static long search_child(struct llfree *llf, struct search *s, unsigned long child,
			 unsigned long row)
{
	unsigned long tree = child_tree(llf, child);
	unsigned int lost;
	long ret;

	if (s->order <= LLFREE_ROW_ORDER)
		ret = child_alloc_row(llf, s, row, s->nr << s->order);
	else if (s->order < LLFREE_CHILD_ORDER)
		ret = llf_child_alloc_rows(llf, s, child, search_frames(s));
	else
		ret = llf_child_alloc_whole(llf, s, child);

	lost = s->lost + (ret >= 0 ? s->taken : 0);
	s->lost = 0;
	if (lost)
		llf_tree_return(llf, s->view, tree, -(s32)lost);
	if (ret >= 0)
		search_note_class(llf, s, tree_class(READ_ONCE(*tree_at(llf, s->view, tree))),
				  LLFREE_DID_STEAL);
	return ret;
}

/*
 * search_from_children() - look at every child of a tree, whatever its permits
 * @seen: set if there was a block
 * @stuck: set if an operation had permits for the block
 */
static long search_from_children(struct llfree *llf, struct search *s, unsigned long tree,
				 bool *seen, bool *stuck)
{
	/* LLF(tree_look:A) */
	const u32 word = smp_load_acquire(tree_at(llf, s->view, tree));
	const unsigned long first = tree_child(llf, tree);
	unsigned long child;
	bool found = false;
	long ret;

	if (tree_exhausted(word, s->order))
		return -1;
	for (child = first; child < first + tree_children(llf); child++) {
		ret = llf_child_peek(llf, s, child, stuck);
		if (ret < 0)
			continue;
		found = true;
		ret = search_child(llf, s, child, ret);
		if (ret >= 0)
			return ret;
	}
	search_looked(s, tree);
	if (found)
		*seen = true;
	else
		llf_tree_looked(llf, s->view, tree, word, s->order);
	return -1;
}

/*
 * llf_search_anywhere() - look at every child of trees that are not exhausted
 *
 * Starts another pass if a block was seen but could not be taken. Then either
 * another CPU has taken the block, or an operation holds permits of its child
 * for a moment. This search may have interrupted that operation, so the number
 * of such passes is limited.
 *
 * A pass that saw no block proves nothing if a block became free meanwhile.
 * That block may be behind the pass, and a block ahead of the pass may have
 * been allocated. The hint reports blocks that become free, and then there is
 * another pass. The number of these passes is limited too: frees of other CPUs
 * must not keep the search here.
 *
 * Starts at tree @start. A bounded search that ends before it has seen all
 * trees proves nothing, and does not conclude the hint.
 */
long llf_search_anywhere(struct llfree *llf, struct search *s, unsigned long start)
{
	unsigned int passes, stuck_passes = 0, empty_passes = 0;
	unsigned long tree, i;
	bool seen, stuck;
	u32 gen;
	long ret;

	for (passes = 0; passes < MAX_PASSES && s->looks; passes++) {
		gen = llf_hint_arm(llf, s->order, s->view);
		/*
		 * The hint does not report memory that was added before it was
		 * armed.
		 */
		search_range_init(llf, s);
		seen = false;
		stuck = false;
		tree = search_start(s, start);
		for (i = s->first_tree; i < s->end_tree && s->looks; i++) {
			ret = search_from_children(llf, s, tree, &seen, &stuck);
			if (ret >= 0)
				return ret;
			tree = tree + 1 < s->end_tree ? tree + 1 : s->first_tree;
		}
		if (!s->looks)
			break;
		if (!seen && (llf_hint_conclude(llf, s->order, s->view, gen) ||
			      ++empty_passes == MAX_EMPTY_PASSES))
			break;
		if (stuck && ++stuck_passes == MAX_STUCK_PASSES)
			break;
	}
	return -1;
}

/* Has a tree a block that is free, or will be when an operation ends? */
static bool tree_find(struct llfree *llf, const struct search *s, unsigned long tree)
{
	/* LLF(tree_look:A) */
	const u32 word = smp_load_acquire(tree_at(llf, s->view, tree));
	unsigned long child = tree_child(llf, tree);
	unsigned int i;
	bool stuck;

	if (tree_exhausted(word, s->order))
		return false;
	for (i = 0; i < tree_children(llf); i++)
		if (llf_child_peek(llf, s, child + i, &stuck) >= 0)
			return true;
	llf_tree_looked(llf, s->view, tree, word, s->order);
	return false;
}

/**
 * llfree_find_order() - is there a block of this order?
 * @llf: the instance
 * @order: 0..LLFREE_MAX_ORDER
 * @view: a view below LLFREE_VIEW_ISOLATED
 *
 * Looks at all children up to the first that has a block, except in exhausted
 * trees. Looks at none if the hint says that there is no block. If the search
 * is unsuccessful, llfree_may_have_order() is false until a block becomes free;
 * but order 0 is not noted in the hint.
 *
 * Context: any, also NMI; takes no lock, does not sleep.
 *
 * Return: whether a block was free during the search
 */
bool llfree_find_order(struct llfree *llf, unsigned int order,
		       enum llfree_view view)
{
	struct search s = { .order = order, .nr = 1, .view = view };
	unsigned long tree;
	u32 gen = 0;

	if (!llfree_may_have_order(llf, order, view))
		return false;
	if (order)
		gen = llf_hint_arm(llf, order, view);
	search_range_init(llf, &s);
	for (tree = s.first_tree; tree < s.end_tree; tree++)
		if (tree_find(llf, &s, tree))
			return true;
	if (order)
		llf_hint_conclude(llf, order, view, gen);
	return false;
}
EXPORT_SYMBOL_IF_KUNIT(llfree_find_order);
