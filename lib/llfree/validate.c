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
	unsigned int free = child_free(llf->children[child]);
	unsigned int clear = rows_count_free(llf, child, llf->children[child]), i;
	unsigned long start = child_frame(llf, child), frame;

	if (free != clear)
		return fault_set(fault, "child.free is not its clear bits",
				 start, clear, free);
	if ((llf->children[child] & CHILD_REPORTED) &&
	    free != LLFREE_CHILD_FRAMES)
		return fault_set(fault, "reported child is not free", start,
				 LLFREE_CHILD_FRAMES, free);
	if (start >= llf->first && start + LLFREE_CHILD_FRAMES <= llf->end)
		return 0;
	for (i = 0; i < LLFREE_CHILD_FRAMES; i++) {
		frame = start + i;
		if (!block_in_range(llf, frame, 1) &&
		    !(row_now(llf, frame_row(llf, frame)) &
		      (1ULL << (frame & (LLFREE_ROW_FRAMES - 1)))))
			return fault_set(fault, "frame outside the range is free",
					 frame, 1, 0);
	}
	return 0;
}

/* Has a tree no block of the orders that it is exhausted of? */
static int validate_exhausted(const struct llfree *llf, unsigned long tree,
			      unsigned int view, struct llfree_fault *fault)
{
	const u32 word = llf->trees[view][tree];
	struct search g = { .nr = 1, .view = view };

	for (g.order = 0; g.order <= LLFREE_MAX_ORDER; g.order++) {
		if (!tree_exhausted(word, g.order))
			continue;
		if (llf_tree_peek(llf, &g, tree) >= 0)
			return fault_set(fault, "an exhausted tree has a block",
					 tree_frame(llf, tree),
					 -1, g.order);
		break;
	}
	return 0;
}

static int validate_tree(const struct llfree *llf, unsigned long tree,
			 struct llfree_fault *fault)
{
	unsigned long start = tree_frame(llf, tree);
	long free[LLFREE_NR_VIEWS] = { }, permits;
	unsigned int holders = 0, i, view, slot, class;
	u64 local;
	u32 word;

	for (i = 0; i < tree_children(llf); i++) {
		u16 child = llf->children[tree_child(llf, tree) + i];

		free[child_view(child)] += child_free(child);
	}
	for (view = 0; view < LLFREE_ALLOC_VIEWS; view++) {
		word = llf->trees[view][tree];
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
 * @fault: the first broken one is stored here; may be NULL
 *
 * Reads everything: free frames of each child are its clear bits, permits of
 * each tree and view are the free frames of its children, every reserved tree
 * has one holder, an exhausted tree has no block, nothing outside the range is free.
 *
 * Context: any; only meaningful while no other CPU uses the instance.
 *
 * Return: 0; -EUCLEAN if something does not add up
 */
int llfree_validate(const struct llfree *llf, struct llfree_fault *fault)
{
	unsigned long i;
	int ret;

	for (i = 0; i < nr_children(llf); i++) {
		ret = validate_child(llf, i, fault);
		if (ret)
			return ret;
	}
	for (i = 0; i < llf->nr_trees; i++) {
		ret = validate_tree(llf, i, fault);
		if (ret)
			return ret;
	}
	return 0;
}
EXPORT_SYMBOL_GPL(llfree_validate);
