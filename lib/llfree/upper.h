/* SPDX-License-Identifier: GPL-2.0 */
/*
 * LLFree core, upper level: permits of trees and of reservations.
 *
 * There is a word per tree and view, and one per slot and class, see words.h. A
 * permit is a promise about numbers: the owner of a permit of a tree finds a
 * free frame in the tree, unless the view of a child has changed. Any context
 * writes these words, by compare-and-swap.
 */
#ifndef _LIB_LLFREE_UPPER_H
#define _LIB_LLFREE_UPPER_H

#include "words.h"

u32 llf_tree_give(struct llfree *llf, unsigned int view, unsigned long tree,
		  s32 frames);
void llf_tree_return(struct llfree *llf, unsigned int view, unsigned long tree,
		     s32 frames);
void llf_tree_looked(struct llfree *llf, unsigned int view, unsigned long tree,
		     u32 word, unsigned int order);
void llf_tree_unreserve(struct llfree *llf, unsigned long tree, s32 frames,
			unsigned int class);
unsigned int llf_tree_take(struct llfree *llf, unsigned int view,
			   unsigned long tree, unsigned int min,
			   unsigned int max, unsigned int class);
void llf_permits_return(struct llfree *llf, u64 *local, unsigned long row,
			unsigned int frames);
void llf_partial_note(struct llfree *llf, u32 word, s32 frames);
void llf_local_release(struct llfree *llf, u64 word);
bool llf_local_sync(struct llfree *llf, u64 *local, u64 word,
		    unsigned int need);
void llf_permits_give_tree(struct llfree *llf, int slot, unsigned long row,
			   unsigned int frames);

static inline bool slot_valid(const struct llfree *llf, int slot)
{
	/*
	 * A caller with a slot has read the number of slots by
	 * llfree_nr_slots(), and the slot stays valid. Without a slot, any
	 * number will do.
	 */
	return slot >= LLFREE_NO_SLOT && slot < (int)data_race(llf->nr_slots);
}

/*
 * Return the new word of a tree whose word was @old. A tree that is entirely
 * free and not reserved has no class; all others have a class.
 */
static inline u32 tree_word(const struct llfree *llf, u32 old, s32 free,
			    unsigned int class, bool reserved)
{
	if (free == (s32)llf->tree_frames && !reserved)
		class = LLFREE_CLASS_NONE;
	else if (class == LLFREE_CLASS_NONE)
		class = llf->policy->init_class;
	return tree_make(free, class, reserved) |
	       (old & (TREE_EXHAUSTED_MASK | TREE_GEN_MASK));
}

/*
 * tree_give() - give permits of frames that were freed to a tree
 *
 * Return: the new word of the tree
 */
static __always_inline u32 tree_give(struct llfree *llf, unsigned int view,
				     unsigned long tree, s32 frames)
{
	u32 *word = tree_at(llf, view, tree);
	u32 old = READ_ONCE(*word), new;

	do {
		new = tree_word(llf, old, tree_free(old) + frames, tree_class(old),
				tree_reserved(old));
		if (unlikely(old & TREE_EXHAUSTED_MASK)) {
			if (old == LLFREE_HOLE_TREE)
				return old;
			new = tree_reopen(new);
		}
	} while (!try_cmpxchg(word, &old, new)); /* LLF(tree_give:A,B) */
	return new;
}

/*
 * Is a search for partly free children worthwhile, before an entirely free
 * child is broken up? The search is for blocks of @order, in other trees or in
 * other children of the reserved tree.
 * @local: the reservation, before the caller took permits from it
 */
static __always_inline bool partial_hoped(const struct llfree *llf, int slot,
					  unsigned int class, unsigned int order,
					  u64 local)
{
	u8 round = READ_ONCE(llf->round[class]);

	if (slot < 0)
		return !(round & ROUND_SEEN);
	/* More than any order if the keys differ */
	return (READ_ONCE(llf->locals[slot].partial[class]) ^
		partial_key(round, local)) > order;
}

/* The row after @frames from the start of @row, going round in its tree */
static inline unsigned long row_after(const struct llfree *llf, unsigned long row,
				      unsigned int frames)
{
	const unsigned long within = tree_rows(llf) - 1;

	return (row & ~within) | ((row + (frames >> LLFREE_ROW_ORDER)) & within);
}

/*
 * Give permits of frames in @row to the reservation, if it is for the tree of
 * @row. A reservation never holds more permits than a tree has frames. Permits
 * of frames that were claimed and freed again must not pile up here, since the
 * tree has the matching deficit. After a free of a row or more, the slot looks
 * next at @row, which may serve for the next block of that size.
 */
static __always_inline bool local_give(const struct llfree *llf, u64 *local,
				       unsigned long row, unsigned int frames)
{
	u64 old = READ_ONCE(*local), new;

	do {
		if (!local_holds(llf, old, row) ||
		    local_free(old) + frames > llf->tree_frames)
			return false;
		new = old + ((u64)frames << LOCAL_FREE_SHIFT);
		if (frames >= LLFREE_ROW_FRAMES)
			new = (new & ~LOCAL_ROW_MASK) | row;
	} while (!try_cmpxchg(local, &old, new)); /* LLF(local_give:A,B) */
	return true;
}

/*
 * local_take() - take permits from a reservation
 * @min: least number, and unit
 * @max: most
 * @word: the reservation before the step; its row is where the caller looks
 *	first
 *
 * If the permits are for a row or more, the slot looks next at the rows behind
 * these.
 *
 * Return: number of permits, a multiple of @min; 0 if there are fewer than @min
 */
static __always_inline unsigned int
local_take(const struct llfree *llf, u64 *local, unsigned int min, unsigned int max,
	   u64 *word)
{
	u64 old = READ_ONCE(*local), new;
	unsigned int take;

	do {
		if (!(old & LOCAL_PRESENT) || local_free(old) < min)
			return 0;
		take = permits(local_free(old), min, max);
		new = old - ((u64)take << LOCAL_FREE_SHIFT);
		if (take >= LLFREE_ROW_FRAMES)
			new = (new & ~LOCAL_ROW_MASK) |
			      row_after(llf, local_row(old), take);
	} while (!try_cmpxchg_acquire(local, &old, new)); /* LLF(local_take:A) */
	*word = old;
	return take;
}

/* Remember where the slot looks next. Losing the race loses only the hint. */
static inline void local_set_row(const struct llfree *llf, u64 *local,
				 unsigned long row)
{
	u64 old = READ_ONCE(*local);

	if (local_holds(llf, old, row) && local_row(old) != row)
		try_cmpxchg_relaxed(local, &old,
				    (old & ~LOCAL_ROW_MASK) | row);
}

/*
 * Give permits of the normal view to @slot if it has reserved the tree of @row,
 * else to that tree. The permits are of frames in @row and behind.
 */
static __always_inline void permits_give(struct llfree *llf, int slot,
					 unsigned long row, unsigned int frames)
{
	u64 *local;
	u32 word;

	if (likely(slot >= 0)) {
		/*
		 * A slot has reserved a tree for the class that the tree has.
		 */
		word = READ_ONCE(*tree_at(llf, LLFREE_VIEW_NORMAL, row_tree(llf, row)));
		local = &llf->locals[slot].reserved[tree_class(word)];
		if (tree_reserved(word) && local_holds(llf, READ_ONCE(*local), row) &&
		    local_give(llf, local, row, frames))
			return;
	}
	llf_permits_give_tree(llf, slot, row, frames);
}

#endif /* _LIB_LLFREE_UPPER_H */
