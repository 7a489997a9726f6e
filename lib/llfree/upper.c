// SPDX-License-Identifier: GPL-2.0
/* LLFree core: permits off the fast paths, see upper.h. */
#include <linux/export.h>

#include "upper.h"

/* Frees in a row to the same tree after which a slot reserves it. */
#define FREES_TO_RESERVE		4U

/* Call tree_give(), for slow paths. */
u32 llf_tree_give(struct llfree *llf, unsigned int view, unsigned long tree,
		  s32 frames)
{
	return tree_give(llf, view, tree, frames);
}

/*
 * llf_tree_return() - change the permits of a tree in which no frame was freed
 *
 * Gives back permits that were not used, or leaves a deficit: @frames may be
 * negative, and so may the sum.
 */
void llf_tree_return(struct llfree *llf, unsigned int view, unsigned long tree,
		     s32 frames)
{
	u32 *word = tree_at(llf, view, tree);
	u32 old = READ_ONCE(*word), new;

	do {
		if (unlikely(old == LLFREE_HOLE_TREE))
			return;
		new = tree_word(llf, old, tree_free(old) + frames, tree_class(old),
				tree_reserved(old));
	} while (!try_cmpxchg_release(word, &old, new)); /* LLF(tree_give:A) */
}

/*
 * llf_tree_looked() - a search looked at all children of a tree without success
 * @word: the tree word as read before the children, by tree_look:A
 * @order: the order of the blocks
 *
 * The first unsuccessful search makes the tree watched. The next unsuccessful
 * search makes the tree exhausted, unless a frame was freed since @word was
 * read. Exhausted means nothing while the tree is reserved, see
 * tree_exhausted(); the end of a reservation counts as a free.
 */
void llf_tree_looked(struct llfree *llf, unsigned int view, unsigned long tree,
		     u32 word, unsigned int order)
{
	u32 *at = tree_at(llf, view, tree);
	u32 old = READ_ONCE(*at), new;

	do {
		if ((old & TREE_EXHAUSTED_MASK) >= tree_exhausted_make(order))
			return;
		if (!(old & TREE_EXHAUSTED_MASK))
			new = old | TREE_WATCHED;
		else if (word & TREE_EXHAUSTED_MASK && !((old ^ word) & TREE_GEN_MASK))
			new = (old & ~TREE_EXHAUSTED_MASK) | tree_exhausted_make(order);
		else
			return;
	} while (!try_cmpxchg_relaxed(at, &old, new));
}

/*
 * End a reservation and give its permits back. Set the class of the tree unless
 * @class is LLFREE_CLASS_NONE.
 */
void llf_tree_unreserve(struct llfree *llf, unsigned long tree, s32 frames,
			unsigned int class)
{
	u32 *word = tree_at(llf, LLFREE_VIEW_NORMAL, tree);
	u32 old = READ_ONCE(*word), new;

	do {
		new = tree_word(llf, old, tree_free(old) + frames,
				class == LLFREE_CLASS_NONE ? tree_class(old) :
							     class, false);
		new = tree_reopen(new);
	} while (!try_cmpxchg_release(word, &old, new)); /* LLF(tree_give:A) */
}

/*
 * llf_tree_take() - take permits from a tree without reserving it
 * @min: least number, and unit
 * @max: most
 * @class: class that the tree gets unless a slot has reserved the tree, or
 *	LLFREE_CLASS_NONE to leave the class alone
 *
 * Return: number of permits, a multiple of @min; 0 if there are fewer than @min
 */
unsigned int llf_tree_take(struct llfree *llf, unsigned int view,
			   unsigned long tree, unsigned int min,
			   unsigned int max, unsigned int class)
{
	u32 *word = tree_at(llf, view, tree);
	u32 old = READ_ONCE(*word), new;
	unsigned int take;

	do {
		if (tree_free(old) < (s32)min)
			return 0;
		take = permits(tree_free(old), min, max);
		new = tree_word(llf, old, tree_free(old) - take,
				class == LLFREE_CLASS_NONE ||
				tree_reserved(old) ? tree_class(old) : class,
				tree_reserved(old));
	} while (!try_cmpxchg_acquire(word, &old, new)); /* LLF(tree_take:A) */
	return take;
}

/*
 * llf_partial_note() - let searches for small blocks look again
 * @word: the word of a tree after permits of @frames were given to the tree
 *
 * Begins another round of the class of the tree, unless a slot has reserved the
 * tree or the frames are whole children.
 */
void llf_partial_note(struct llfree *llf, u32 word, s32 frames)
{
	unsigned int class = tree_class(word);
	u8 round;

	if (tree_reserved(word) || class >= LLFREE_MAX_CLASSES ||
	    !(frames % (s32)LLFREE_CHILD_FRAMES))
		return;
	round = READ_ONCE(llf->round[class]);
	if (round & ROUND_SEEN)
		WRITE_ONCE(llf->round[class], round_next(round));
}

/* Give back the reservation that @word stands for, if there is one. */
void llf_local_release(struct llfree *llf, u64 word)
{
	unsigned long tree = row_tree(llf, local_row(word));
	u32 old;

	if (!(word & LOCAL_PRESENT))
		return;
	llf_tree_unreserve(llf, tree, local_free(word), LLFREE_CLASS_NONE);
	old = READ_ONCE(*tree_at(llf, LLFREE_VIEW_NORMAL, tree));
	llf_partial_note(llf, old, tree_free(old));
}

/*
 * llf_local_sync() - fetch permits of other slots' frees to a reserved tree
 * @word: the reservation, with fewer permits than needed
 * @need: permits that the reservation should have
 *
 * Fetches no more permits than local_give() accepts. The tree may have more,
 * while a change of view has not reached the tree yet.
 *
 * Return: whether the reservation got enough permits
 */
bool llf_local_sync(struct llfree *llf, u64 *local, u64 word,
		    unsigned int need)
{
	u32 *tree = tree_at(llf, LLFREE_VIEW_NORMAL, row_tree(llf, local_row(word)));
	const s32 have = local_free(word);
	u32 old = READ_ONCE(*tree), new;
	s32 frames;

	do {
		frames = min(tree_free(old), (s32)llf->tree_frames - have);
		if (!tree_reserved(old) || frames + have < (s32)need)
			return false;
		new = old - ((u32)frames << TREE_FREE_SHIFT);
	} while (!try_cmpxchg_acquire(tree, &old, new)); /* LLF(local_sync:A) */

	if (local_give(llf, local, local_row(word), frames))
		return true;
	/* The reservation has changed meanwhile. */
	llf_tree_return(llf, LLFREE_VIEW_NORMAL, row_tree(llf, local_row(word)), frames);
	return false;
}

/*
 * Give permits of the normal view to the tree of @row. A slot reserves the tree
 * after FREES_TO_RESERVE frees in a row to it.
 */
void llf_permits_give_tree(struct llfree *llf, int slot,
			   unsigned long row, unsigned int frames)
{
	unsigned long tree = row_tree(llf, row);
	struct llfree_local *locals;
	unsigned int class;
	u32 old, new, last, count;

	if (slot < 0)
		goto out;

	locals = &llf->locals[slot];
	last = READ_ONCE(locals->last_free);
	count = last_free_same_tree(last, tree) ? last_free_count(last) + 1 : 1;
	if (count < FREES_TO_RESERVE) {
		WRITE_ONCE(locals->last_free, last_free_make(tree, count));
		goto out;
	}
	WRITE_ONCE(locals->last_free, last_free_make(tree, 0));

	old = READ_ONCE(*tree_at(llf, LLFREE_VIEW_NORMAL, tree));
	do {
		class = tree_class(old);
		if (tree_reserved(old) || class >= llf->policy->nr_classes ||
		    tree_free(old) < 0)
			goto out;
		new = tree_word(llf, old, 0, class, true);
	} while (!try_cmpxchg_acquire(tree_at(llf, LLFREE_VIEW_NORMAL, tree),
				      &old, new)); /* LLF(tree_reserve:A) */
	llf_local_release(llf, xchg(&locals->reserved[class],
				    local_make(tree_free(old) + frames, row)));
	return;
out:
	llf_partial_note(llf, tree_give(llf, LLFREE_VIEW_NORMAL, tree, frames), frames);
}

/*
 * Give permits of the tree of @row, for which no bit was set, back to the
 * reservation that they came from. If that reservation is of another tree by
 * now, give the permits to the tree of @row.
 */
void llf_permits_return(struct llfree *llf, u64 *local, unsigned long row,
			unsigned int frames)
{
	if (frames && !local_give(llf, local, row, frames))
		llf_tree_return(llf, LLFREE_VIEW_NORMAL, row_tree(llf, row), frames);
}

/**
 * llfree_drain() - give the reservations of a slot back
 * @llf: the instance
 * @slot: the slot; negative for all of them
 *
 * Frames can be found without a drain. Drain a slot that is going to be unused,
 * and all slots before llfree_set_slots() replaces them.
 *
 * Context: any, also for the slot of another CPU; takes no lock, does not
 * sleep.
 *
 * Return: 0; -EINVAL if there is no such slot
 */
int llfree_drain(struct llfree *llf, int slot)
{
	const int nr_slots = llfree_nr_slots(llf);
	unsigned int class;

	if (slot >= nr_slots)
		return -EINVAL;
	if (slot < 0) {
		for (slot = 0; slot < nr_slots; slot++)
			llfree_drain(llf, slot);
		return 0;
	}

	for (class = 0; class < llf->policy->nr_classes; class++)
		llf_local_release(llf, xchg(&llf->locals[slot].reserved[class], 0));
	WRITE_ONCE(llf->locals[slot].last_free, 0);
	return 0;
}
EXPORT_SYMBOL_GPL(llfree_drain);
