// SPDX-License-Identifier: GPL-2.0
/* LLFree core: free. */
#include <kunit/visibility.h>
#include <linux/export.h>

#include "hint.h"
#include "lower.h"
#include "upper.h"

/* Whole children whose permits are given in one step, with preemption off */
#define FREE_CHILDREN		8UL

/*
 * Give the permits of frames that were freed to a slot or a tree, and report the block.
 * @mask: the frames in each of the rows from @row on
 * @had: free frames of the child before; 0 for whole children
 * @view: the view that the child step found
 */
static __always_inline void give_permits(struct llfree *llf, int slot,
					 unsigned long row, u64 mask,
					 unsigned int frames, unsigned int had,
					 unsigned int view)
{
	if (likely(view == LLFREE_VIEW_NORMAL))
		permits_give(llf, slot, row, frames);
	else if (view < LLFREE_ALLOC_VIEWS)
		llf_tree_give(llf, view, row_tree(llf, row), frames);
	hint_freed(llf, row, mask, frames, had, view);
}

/*
 * Give frames, whose bits are clear, back to child and tree. The caller turned
 * preemption off before it cleared the bits; this function turns it on again.
 * @mask: bits that were cleared in each of the rows from @row on
 * @child: address of the child word
 * @before: the child word before the bits were cleared
 *
 * Return: as child_give()
 */
static __always_inline int free_frames(struct llfree *llf, int slot,
				       unsigned long row, u64 mask,
				       unsigned int frames, u16 *child, u16 before)
{
	unsigned int had, given = child_give(child, frames, before, &had);

	if (unlikely((given & LLFREE_FREED_VIEW) == LLFREE_NR_VIEWS))
		llf_bad_free(llf, row, max(frames >> LLFREE_ROW_ORDER, 1U), mask);
	give_permits(llf, slot, row, mask, frames, had, given & LLFREE_FREED_VIEW);
	preempt_enable();
	return given;
}

/*
 * Free up to FREE_CHILDREN whole children and set the bits @mark in their
 * words. Free none if one of the children is not allocated. The permits of
 * children in the normal view are given in one step.
 */
static int free_children(struct llfree *llf, int slot, unsigned long child,
			 unsigned int nr, u16 mark, struct llfree_delta *delta)
{
	unsigned int view, given, frames = 0, i;
	u16 *at = child_at(llf, child), words[FREE_CHILDREN];
	unsigned long first = child;

	for (i = 0; i < nr; i++) {
		words[i] = READ_ONCE(at[i]);
		if (unlikely(!child_allocated(llf, child + i, words[i])))
			return -EINVAL;
	}

	preempt_disable();
	for (i = 0; i < nr; i++, child++) {
		given = child_give_whole(&at[i], words[i], mark);
		if (unlikely(given == LLFREE_NR_VIEWS))
			break;
		view = child_given(given, LLFREE_CHILD_FRAMES, delta);
		if (likely(view == LLFREE_VIEW_NORMAL)) {
			if (!frames)
				first = child;
			frames += LLFREE_CHILD_FRAMES;
		} else {
			give_permits(llf, slot, child << CHILD_ROW_SHIFT, ~0ULL,
				     LLFREE_CHILD_FRAMES, 0, view);
		}
	}
	if (likely(frames))
		give_permits(llf, slot, first << CHILD_ROW_SHIFT, ~0ULL, frames, 0,
			     LLFREE_VIEW_NORMAL);
	preempt_enable();
	return i == nr ? 0 : -EINVAL;
}

static __always_inline bool free_valid(const struct llfree *llf, int slot,
				       unsigned long frame, unsigned int order)
{
	return slot_valid(llf, slot) && IS_ALIGNED(frame, 1UL << order) &&
	       block_in_range(llf, frame, 1UL << order);
}

/* Free frames of a row. */
static __always_inline int free_mask(struct llfree *llf, int slot,
				     unsigned long row, u64 mask,
				     unsigned int frames)
{
	u16 *child = child_at(llf, row >> CHILD_ROW_SHIFT), word;

	preempt_disable();
	word = READ_ONCE(*child);
	if (unlikely(!row_clear(llf, row, word, mask))) {
		preempt_enable();
		return -EINVAL;
	}
	return free_frames(llf, slot, row, mask, frames, child, word);
}

/* Free a block of several rows of a child. */
static noinline int free_rows(struct llfree *llf, int slot, unsigned long row,
			      unsigned int order)
{
	u16 *child = child_at(llf, row >> CHILD_ROW_SHIFT), word;

	preempt_disable();
	word = READ_ONCE(*child);
	if (unlikely(!llf_rows_clear(llf, row, 1U << (order - LLFREE_ROW_ORDER),
				     word))) {
		preempt_enable();
		return -EINVAL;
	}
	return free_frames(llf, slot, row, ~0ULL, 1U << order, child, word);
}

/*
 * Free a whole child by one step. The rows are read before: the child step
 * fails if one of them has changed since.
 */
static noinline int free_whole(struct llfree *llf, int slot, unsigned long row)
{
	unsigned long child = row >> CHILD_ROW_SHIFT;
	u16 *at = child_at(llf, child), word = READ_ONCE(*at);
	unsigned int given;

	if (unlikely(!child_allocated(llf, child, word)))
		return -EINVAL;
	preempt_disable();
	given = child_give_whole(at, word, 0);
	if (likely(given != LLFREE_NR_VIEWS))
		give_permits(llf, slot, row, ~0ULL, LLFREE_CHILD_FRAMES, 0,
			     given & LLFREE_FREED_VIEW);
	preempt_enable();
	return likely(given != LLFREE_NR_VIEWS) ? given : -EINVAL;
}

/* Free a block of up to a child. */
static __always_inline int free_block(struct llfree *llf, int slot,
				      unsigned long frame, unsigned int order)
{
	unsigned long row = frame_row(frame);

	if (likely(order <= LLFREE_ROW_ORDER))
		return free_mask(llf, slot, row,
				run_mask(frame & (LLFREE_ROW_FRAMES - 1), order),
				1U << order);
	if (order < LLFREE_CHILD_ORDER)
		return free_rows(llf, slot, row, order);
	return free_whole(llf, slot, row);
}

/**
 * llfree_free_fast() - free a block of up to a child
 * @llf: the instance
 * @slot: slot whose reservation is preferred, or LLFREE_NO_SLOT
 * @frame: first frame, aligned to the size of the block
 * @order: 0..LLFREE_CHILD_ORDER; the block need not have been allocated in one
 *	piece
 *
 * The fast path of llfree_free(), for callers that account for one block
 * without a delta.
 *
 * Context: any, also NMI; takes no lock, does not sleep.
 *
 * Return: the view in which the frames are free, in the bits LLFREE_FREED_VIEW,
 *	and LLFREE_FREED_WHOLE if the free makes their child entirely free;
 *	LLFREE_NR_VIEWS if the frames are leaked after an earlier invalid free;
 *	-EINVAL, and nothing has changed, if the block is not in the range, not
 *	aligned, too large or not all allocated
 */
int llfree_free_fast(struct llfree *llf, int slot, unsigned long frame,
		     unsigned int order)
{
	if (unlikely(order > LLFREE_CHILD_ORDER ||
		     !free_valid(llf, slot, frame, order)))
		return -EINVAL;
	return free_block(llf, slot, frame, order);
}
EXPORT_SYMBOL_IF_KUNIT(llfree_free_fast);

/* Free a block of whole children, all of which must be allocated. */
static int free_large(struct llfree *llf, int slot, unsigned long frame,
		      unsigned int order, u16 mark, struct llfree_delta *delta)
{
	const unsigned long nr = 1UL << (order - LLFREE_CHILD_ORDER);
	const unsigned int batch = min(nr, FREE_CHILDREN);
	unsigned long child = frame_child(frame), end = child + nr, i;
	int ret = 0;

	/*
	 * free_children() checks a batch by itself, so a single batch needs no
	 * check here.
	 */
	for (i = child; nr > batch && i < end; i++)
		if (!child_allocated(llf, i, READ_ONCE(*child_at(llf, i))))
			return -EINVAL;
	for (; child < end && !ret; child += batch)
		ret = free_children(llf, slot, child, batch, mark, delta);
	return ret;
}

/**
 * llfree_free() - free a block
 * @llf: the instance
 * @slot: slot whose reservation is preferred, or LLFREE_NO_SLOT
 * @frame: first frame, aligned to the size of the block
 * @order: 0..LLFREE_MAX_FREE_ORDER; the block need not have been allocated in one
 *	piece
 * @delta: the changes are added here; may be NULL
 *
 * Blocks of more than a child are freed child by child.
 *
 * Context: any, also NMI; takes no lock, does not sleep.
 *
 * Return: 0; -EINVAL if the block is not in the range, not aligned, too large
 *	or not all allocated. Then nothing has changed, unless another caller
 *	frees pieces of a block of several children at the same time.
 */
int llfree_free(struct llfree *llf, int slot, unsigned long frame,
		unsigned int order, struct llfree_delta *delta)
{
	struct llfree_delta unused __uninitialized;
	int ret;

	if (unlikely(order > LLFREE_MAX_FREE_ORDER ||
		     !free_valid(llf, slot, frame, order)))
		return -EINVAL;
	delta = delta_or(delta, &unused);

	if (unlikely(order > LLFREE_CHILD_ORDER))
		return free_large(llf, slot, frame, order, 0, delta);

	ret = free_block(llf, slot, frame, order);
	if (unlikely(ret < 0))
		return ret;
	child_given(ret, 1U << order, delta);
	return 0;
}
EXPORT_SYMBOL_GPL(llfree_free);

/* Free all frames of @mask that are allocated, in each of @nr rows. */
static unsigned int free_rest(struct llfree *llf, int slot, unsigned long row,
			      unsigned int nr, u64 mask, struct llfree_delta *delta)
{
	unsigned int frames, freed = 0;
	u64 used;
	int ret;

	for (; nr--; row++) {
		used = row_now(llf, row) & mask;
		if (!used)
			continue;
		frames = hweight64(used);
		ret = free_mask(llf, slot, row, used, frames);
		if (ret < 0)
			continue;
		if (child_given(ret, frames, delta) < LLFREE_NR_VIEWS)
			freed += frames;
	}
	return freed;
}

/**
 * llfree_free_rest() - free all frames of a block that are allocated
 * @llf: the instance
 * @slot: slot whose reservation is preferred, or LLFREE_NO_SLOT
 * @frame: first frame, aligned to the size of the block
 * @order: 0..LLFREE_MAX_ORDER
 * @delta: the changes are added here; may be NULL
 *
 * Finishes operations that a crash has cut short, after LLFREE_INIT_RECOVER.
 * The rows of a block of more than a row are written one after the other, and
 * two whole children are taken one after the other. After a crash in between,
 * only some of the frames are allocated, and no free of the whole block
 * succeeds. The caller knows from its own records which blocks these are. Free
 * frames of the block stay free. Frames of other owners in the block would be
 * freed as well.
 *
 * Context: any, also NMI; takes no lock, does not sleep.
 *
 * Return: number of frames that were freed; -EINVAL if the block is not in the range,
 *	not aligned or too large
 */
long llfree_free_rest(struct llfree *llf, int slot, unsigned long frame,
		      unsigned int order, struct llfree_delta *delta)
{
	struct llfree_delta unused __uninitialized;
	u64 mask = ~0ULL;

	if (unlikely(order > LLFREE_MAX_ORDER || !free_valid(llf, slot, frame, order)))
		return -EINVAL;
	delta = delta_or(delta, &unused);
	if (order < LLFREE_ROW_ORDER)
		mask = run_mask(frame & (LLFREE_ROW_FRAMES - 1), order);
	return free_rest(llf, slot, frame_row(frame),
			max(1U << order >> LLFREE_ROW_ORDER, 1U), mask, delta);
}
EXPORT_SYMBOL_IF_KUNIT(llfree_free_rest);

/**
 * llfree_free_reported() - free whole children that a hypervisor knows to be free
 * @llf: the instance
 * @frame: first frame, aligned to the size of the block
 * @order: LLFREE_CHILD_ORDER or more
 * @delta: the changes are added here; may be NULL
 *
 * The step that makes a child free also marks it as reported. Any allocation
 * from the child comes after that step and removes the mark.
 *
 * Context: any; takes no lock, does not sleep.
 *
 * Return: 0; -EINVAL if the block is not in the range, not aligned, too small, or
 *	not all of it is allocated
 */
int llfree_free_reported(struct llfree *llf, unsigned long frame,
			 unsigned int order, struct llfree_delta *delta)
{
	struct llfree_delta unused __uninitialized;

	if (unlikely(order < LLFREE_CHILD_ORDER || order >= BITS_PER_LONG - 1 ||
		     !free_valid(llf, LLFREE_NO_SLOT, frame, order)))
		return -EINVAL;
	return free_large(llf, LLFREE_NO_SLOT, frame, order, CHILD_REPORTED,
			 delta_or(delta, &unused));
}
EXPORT_SYMBOL_IF_KUNIT(llfree_free_reported);

/**
 * llfree_free_batch() - free several frames of one row at once
 * @llf: the instance
 * @slot: slot whose reservation is preferred, or LLFREE_NO_SLOT
 * @frame: first frame of the row, aligned to LLFREE_ROW_FRAMES
 * @mask: bits of the frames to free, not 0
 * @delta: the changes are added here; may be NULL
 *
 * A batch costs as much as llfree_free() of a single frame.
 *
 * Context: any, also NMI; takes no lock, does not sleep.
 *
 * Return: 0; -EINVAL if a frame is not in the range or not allocated. Then
 *	nothing has changed.
 */
int llfree_free_batch(struct llfree *llf, int slot, unsigned long frame,
		      u64 mask, struct llfree_delta *delta)
{
	unsigned int frames = hweight64(mask);
	struct llfree_delta unused __uninitialized;
	int ret;

	if (unlikely(!mask || !slot_valid(llf, slot) ||
		     !IS_ALIGNED(frame, LLFREE_ROW_FRAMES)))
		return -EINVAL;
	/* A row at either end may be in the range only in part. */
	if (unlikely(!block_in_range(llf, frame, LLFREE_ROW_FRAMES)) &&
	    (frame >= range_end(llf) || frame + fls64(mask) > range_end(llf) ||
	     frame + __ffs64(mask) < range_first(llf)))
		return -EINVAL;

	ret = free_mask(llf, slot, frame_row(frame), mask, frames);
	if (unlikely(ret < 0))
		return ret;
	child_given(ret, frames, delta_or(delta, &unused));
	return 0;
}
EXPORT_SYMBOL_GPL(llfree_free_batch);
