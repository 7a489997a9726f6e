// SPDX-License-Identifier: GPL-2.0
/*
 * LLFree core: allocation from the reservations of other slots.
 *
 * Frees of other slots to a reserved tree leave permits in the tree; the rest
 * of its permits is in the reservation. A search takes permits from either, and
 * the slot keeps its tree.
 */
#include "search.h"

/*
 * Allocate with permits that frees of other slots left in reserved trees.
 * @own: look at trees of the class of the request and its mates, else at the
 *	others
 */
static long search_steal_trees(struct llfree *llf, struct search *s, unsigned long start,
			       unsigned long low, unsigned long high, bool own)
{
	unsigned long tree = start, i;
	u32 word;
	long ret;

	for (i = low; i < high && s->looks; i++, tree = tree + 1 < high ? tree + 1 : low) {
		word = READ_ONCE(*tree_at(llf, LLFREE_VIEW_NORMAL, tree));
		if (!tree_reserved(word) || tree_free(word) < (s32)search_frames(s) ||
		    own == class_foreign(llf, s, tree_class(word)))
			continue;
		ret = llf_search_direct(llf, s, tree, tree_row(llf, tree),
					LLFREE_CLASS_NONE);
		if (ret >= 0) {
			search_note_class(llf, s, tree_class(word),
					  LLFREE_DID_STEAL);
			return ret;
		}
		search_looked(s, tree);
	}
	return -1;
}

/* Allocate with permits of the reservation of a slot. */
static long search_steal_slot(struct llfree *llf, struct search *s, u64 *reserved)
{
	const unsigned int frames = search_frames(s);
	unsigned int held;
	u64 local;

	held = local_take(llf, reserved, frames, s->nr * frames, &local);
	return held ? llf_search_held(llf, s, local_row(local), held) : -1;
}

/*
 * Allocate with permits of the reservations of slots; see search_steal_trees()
 * for @own.
 */
static long search_steal_slots(struct llfree *llf, struct search *s, bool own)
{
	const unsigned int nr_slots = llfree_nr_slots(llf);
	unsigned int slot, class, nr = nr_slots, i;
	long ret;

	if (!nr)
		return -1;
	slot = 0;
	if (search_bounded(s)) {
		nr = min(nr, BOUNDED_SLOTS);
		slot = READ_ONCE(llf->bounded_slot) % nr_slots;
	}
	for (i = 0; i < nr; i++, slot = slot + 1 < nr_slots ? slot + 1 : 0) {
		for (class = 0; class < llf->policy->nr_classes; class++) {
			if (own == class_foreign(llf, s, class))
				continue;
			ret = search_steal_slot(llf, s, &llf->locals[slot].reserved[class]);
			if (ret >= 0) {
				search_note_class(llf, s, class, LLFREE_DID_STEAL);
				return ret;
			}
		}
	}
	return -1;
}

/*
 * Allocate with permits of reserved trees, then of reservations. See
 * search_steal_trees() for @own.
 */
long llf_search_steal(struct llfree *llf, struct search *s, unsigned long start,
		      unsigned long low, unsigned long high, bool own)
{
	long ret = search_steal_trees(llf, s, start, low, high, own);

	return ret >= 0 ? ret : search_steal_slots(llf, s, own);
}
