// SPDX-License-Identifier: GPL-2.0
/* LLFree core: do rows, children, trees and reservations add up? */
#include <linux/export.h>

#include "scan.h"

static int fault_set(struct llfree_fault *fault, const char *what,
		     unsigned long frame, long expected, long found)
{
	if (fault) {
		fault->what = what;
		fault->frame = frame;
		fault->expected = expected;
		fault->found = found;
	}
	return -EUCLEAN;
}

static int validate_child(const struct llfree *llf, unsigned long child,
			  struct llfree_fault *fault)
{
	const u16 word = READ_ONCE(*child_at(llf, child));
	unsigned long start = child_frame(child), frame;
	unsigned int free, clear, i;

	if (child_hole(word))
		return 0;
	free = child_free(word);
	clear = rows_count_free(llf, child, word);
	if (free != clear)
		return fault_set(fault, "child.free is not its clear bits",
				 start, clear, free);
	if (word & CHILD_REPORTED && free != LLFREE_CHILD_FRAMES)
		return fault_set(fault, "reported child is not free", start,
				 LLFREE_CHILD_FRAMES, free);
	if (block_in_range(llf, start, LLFREE_CHILD_FRAMES))
		return 0;
	for (i = 0; i < LLFREE_CHILD_FRAMES; i++) {
		frame = start + i;
		if (!block_in_range(llf, frame, 1) &&
		    !(row_now(llf, frame_row(frame)) &
		      (1ULL << (frame & (LLFREE_ROW_FRAMES - 1)))))
			return fault_set(fault, "frame outside the range is free",
					 frame, 1, 0);
	}
	return 0;
}

/* Check that a tree has no block of the orders of which it is exhausted. */
static int validate_exhausted(const struct llfree *llf, unsigned long tree,
			      unsigned int view, struct llfree_fault *fault)
{
	const u32 word = READ_ONCE(*tree_at(llf, view, tree));
	struct search s = { .nr = 1, .view = view };

	while (s.order < LLFREE_MAX_ORDER && !tree_exhausted(word, s.order))
		s.order++;
	if (tree_exhausted(word, s.order) && llf_tree_peek(llf, &s, tree) >= 0)
		return fault_set(fault, "an exhausted tree has a block",
				 tree_frame(llf, tree), -1, s.order);
	return 0;
}

static int validate_tree(const struct llfree *llf, unsigned long tree,
			 struct llfree_fault *fault)
{
	unsigned long start = tree_frame(llf, tree);
	long free[LLFREE_NR_VIEWS] = { }, permits;
	unsigned int holders = 0, i, view, slot, class;
	bool hole = true, looks_so;
	u64 local;
	u32 word;

	for (i = 0; i < tree_children(llf); i++) {
		u16 child = READ_ONCE(*child_at(llf, tree_child(llf, tree) + i));

		free[child_view(child)] += child_free(child);
		hole &= child_hole(child);
	}
	for (view = 0; view < LLFREE_ALLOC_VIEWS; view++) {
		word = READ_ONCE(*tree_at(llf, view, tree));
		looks_so = word == LLFREE_HOLE_TREE;
		if (hole != looks_so)
			return fault_set(fault, "a tree of holes", start, hole, word);
		if (hole)
			continue;
		permits = tree_free(word);
		if (view == LLFREE_VIEW_NORMAL) {
			for (slot = 0; slot < llf->nr_slots; slot++) {
				for (class = 0; class < llf->policy->nr_classes; class++) {
					local = llf->locals[slot].reserved[class];
					if (!local_holds(llf, local, tree_row(llf, tree)))
						continue;
					permits += local_free(local);
					holders++;
				}
			}
		}
		if (permits != free[view])
			return fault_set(fault, "permits of a tree are not its free frames",
					 start, free[view], permits);
		if (view == LLFREE_VIEW_NORMAL &&
		    holders != tree_reserved(word))
			return fault_set(fault, "slots that hold a tree",
					 start, tree_reserved(word), holders);
		if (view != LLFREE_VIEW_NORMAL && tree_reserved(word))
			return fault_set(fault, "tree reserved in a view without slots",
					 start, 0, 1);
		class = tree_class(word);
		if (class >= llf->policy->nr_classes &&
		    !(class == LLFREE_CLASS_NONE &&
		      permits == (s32)llf->tree_frames))
			return fault_set(fault, "class of a tree", start, 0,
					 class);
		if (validate_exhausted(llf, tree, view, fault))
			return -EUCLEAN;
	}
	return 0;
}

/**
 * llfree_validate() - check all invariants
 * @llf: the instance
 * @fault: the first broken invariant is stored here; may be NULL
 *
 * Checks these invariants: the free frames of each child are its clear bits;
 * the permits of each tree and view are the free frames of its children; every
 * reserved tree has one holder; an exhausted tree has no block; no frame
 * outside the range is free. Some others, such as valid classes, are checked as
 * well.
 *
 * Context: any; only meaningful while no other CPU uses the instance.
 *
 * Return: 0; -EUCLEAN if an invariant is broken
 */
int llfree_validate(const struct llfree *llf, struct llfree_fault *fault)
{
	const unsigned long end = trees_end(llf);
	unsigned long i;
	int ret;

	for (i = tree_child(llf, trees_first(llf)); i < tree_child(llf, end); i++) {
		ret = validate_child(llf, i, fault);
		if (ret)
			return ret;
	}
	for (i = trees_first(llf); i < end; i++) {
		ret = validate_tree(llf, i, fault);
		if (ret)
			return ret;
	}
	return 0;
}
EXPORT_SYMBOL_GPL(llfree_validate);
