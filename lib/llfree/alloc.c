// SPDX-License-Identifier: GPL-2.0
/* LLFree core: allocation. The fast path is llfree_alloc_fast(). */
#include <kunit/visibility.h>
#include <linux/export.h>
#include <linux/limits.h>

#include "search.h"

static void delta_add(struct llfree_delta *delta, const struct llfree_delta *more)
{
	unsigned int view;

	for (view = 0; view < LLFREE_NR_VIEWS; view++) {
		delta->frames[view] += more->frames[view];
		delta->huge[view] += more->huge[view];
	}
}

static bool request_valid(const struct llfree *llf,
			  const struct llfree_request *req)
{
	return req->order <= LLFREE_MAX_ORDER &&
	       req->class < llf->policy->nr_classes &&
	       req->view < LLFREE_ALLOC_VIEWS &&
	       !(req->flags & ~LLFREE_ALLOC_FLAGS) &&
	       slot_valid(llf, req->slot);
}

static void search_init(const struct llfree *llf, struct search *s,
			const struct llfree_request *req, unsigned int nr,
			struct llfree_delta *delta)
{
	const u64 *local;

	s->order = req->order;
	s->nr = nr;
	s->class = req->class;
	s->view = req->view;
	s->flags = req->flags;
	s->slot = req->slot;
	s->skipped_whole = false;
	s->lost = 0;
	s->looks = req->flags & LLFREE_ALLOC_BOUNDED ? BOUNDED_NEAR_LOOKS : UINT_MAX;
	s->delta = delta;
	local = search_local(llf, s);
	s->partial = req->order < LLFREE_CHILD_ORDER &&
		   req->view == LLFREE_VIEW_NORMAL &&
		   partial_hoped(llf, req->slot, req->class, req->order,
				 local ? READ_ONCE(*local) : 0);
}

/* Search for a block everywhere that the request allows. */
static noinline long search_one(struct llfree *llf,
				const struct llfree_request *req,
				struct llfree_delta *delta)
{
	struct search s __uninitialized;
	long row;

	search_init(llf, &s, req, 1, delta);
	row = llf_search(llf, &s);
	if (unlikely(row < 0))
		return -ENOMEM;
	if (s.order <= LLFREE_ROW_ORDER)
		return row_frame(row) + __ffs64(s.mask);
	return row_frame(row);
}

/* ---- The fast path: where the slot found the last block ---- */

/* Let llfree_alloc_fast() fail: give permits of the tree of @row back. */
static noinline long fast_fail(struct llfree *llf, u64 *local,
			       unsigned long row, unsigned int frames,
			       struct llfree_delta *delta)
{
	*delta = (struct llfree_delta){ };
	llf_permits_return(llf, local, row, frames);
	return -EAGAIN;
}

/* Let llfree_alloc_fast() fail after child_alloc() set no bits for @p. */
static __always_inline long fast_undo(struct llfree *llf, u64 *local,
				      unsigned long row, const struct piece *p,
				      struct llfree_delta *delta)
{
	unsigned int lost;

	if (!p->taken)
		return fast_fail(llf, local, row, p->max, delta);
	*delta = (struct llfree_delta){ };
	lost = child_settle(llf, p, 0, delta);
	llf_permits_return(llf, local, row, p->max - lost);
	return -EAGAIN;
}

/* The fast path for blocks of up to a row */
static noinline long fast_row(struct llfree *llf, unsigned int slot,
			      unsigned int order, unsigned int class,
			      unsigned int *whole, struct llfree_delta *delta)
{
	u64 *local = &llf->locals[slot].reserved[class];
	const unsigned int frames = 1U << order;
	struct piece p = {
		.order = order, .views = BIT(LLFREE_VIEW_NORMAL), .max = frames,
	};
	unsigned long row;
	u64 word;

	if (unlikely(!local_take(llf, local, frames, frames, &word)))
		return fast_fail(llf, local, 0, 0, delta);
	row = local_row(word);
	p.child = child_at(llf, row >> CHILD_ROW_SHIFT);
	p.before = READ_ONCE(*p.child);
	if (unlikely(child_whole(p.before) &&
		     partial_hoped(llf, slot, class, order, word)))
		goto fail;

	p.row = row;
	for (;;) {
		p.word = row_read(llf, p.row, p.before);
		p.mask = row_runs(p.word, order);
		if (likely(p.mask))
			break;
		if (unlikely(!(++p.row & (LLFREE_CHILD_ROWS - 1))))
			goto fail;
	}

	if (unlikely(!child_alloc(llf, &p, CHILD_TAKE_SEEN, row_set_first)))
		return fast_undo(llf, local, row, &p, delta);

	if (p.row != row)
		local_set_row(llf, local, row_after(llf, p.row, frames));
	/* 1 if all of the child was free */
	*whole = child_free(p.before) / LLFREE_CHILD_FRAMES;
	return row_frame(p.row) + __ffs64(p.mask);
fail:
	return fast_fail(llf, local, row, frames, delta);
}

/* The fast path for blocks of several rows of a child */
static noinline long fast_rows(struct llfree *llf, unsigned int slot,
			       unsigned int order, unsigned int class,
			       unsigned int *whole, struct llfree_delta *delta)
{
	u64 *local = &llf->locals[slot].reserved[class];
	const unsigned int frames = 1U << order;
	const unsigned int rows = frames >> LLFREE_ROW_ORDER;
	struct piece p = {
		.order = order, .views = BIT(LLFREE_VIEW_NORMAL), .max = frames,
	};
	unsigned long row;
	u64 word;

	if (unlikely(!local_take(llf, local, frames, frames, &word)))
		return fast_fail(llf, local, 0, 0, delta);
	row = local_row(word);
	p.child = child_at(llf, row >> CHILD_ROW_SHIFT);
	p.before = READ_ONCE(*p.child);
	if (unlikely((row & (rows - 1)) || !rows_free(llf, row, rows) ||
		     (child_whole(p.before) &&
		      partial_hoped(llf, slot, class, order, word))))
		return fast_fail(llf, local, row, frames, delta);

	p.row = row;
	if (unlikely(!child_alloc(llf, &p, CHILD_TAKE_SEEN, rows_set_all)))
		return fast_undo(llf, local, row, &p, delta);

	*whole = child_free(p.before) / LLFREE_CHILD_FRAMES;
	return row_frame(row);
}

/* The fast path for one or two whole children */
static noinline long fast_whole(struct llfree *llf, unsigned int slot,
				unsigned int order, unsigned int class,
				unsigned int *whole, struct llfree_delta *delta)
{
	u64 *local = &llf->locals[slot].reserved[class];
	const unsigned int frames = 1U << order;
	const unsigned int nr = frames >> LLFREE_CHILD_ORDER;
	u64 word = smp_load_acquire(local); /* LLF(local_look:A) */
	unsigned long row = local_row(word);
	u16 *child = child_at(llf, row >> CHILD_ROW_SHIFT);
	unsigned int view[2], lost[2] = { };

	*delta = (struct llfree_delta){ };
	/* Often there is no block: look before any permits are taken. */
	if (word < local_make(frames, 0) ||
	    row & (nr * LLFREE_CHILD_ROWS - 1) ||
	    !child_whole(READ_ONCE(child[0])) ||
	    !child_whole(READ_ONCE(child[nr - 1])) ||
	    !local_take(llf, local, frames, frames, &word))
		return -EAGAIN;
	row = local_row(word);
	if (likely(!(row & (nr * LLFREE_CHILD_ROWS - 1)) &&
		   child_alloc_whole(llf, row >> CHILD_ROW_SHIFT, nr,
				     BIT(LLFREE_VIEW_NORMAL), view, lost, delta))) {
		*whole = nr;
		return row_frame(row);
	}
	llf_permits_return(llf, local, row, frames - lost[0] - lost[1]);
	return -EAGAIN;
}

/**
 * llfree_alloc_fast() - allocate a block where the slot found the last one
 * @llf: the instance
 * @slot: below the number of slots of the instance
 * @order: 0..LLFREE_MAX_ORDER
 * @class: below the number of classes of the policy
 * @whole: set to the number of entirely free children that the block uses, if a
 *	block is returned
 * @delta: set to the changes if no block is returned, else undefined; need not
 *	be initialised
 *
 * The fast path of llfree_alloc() in the normal view. On success it takes the
 * frames of the block, and @whole children are no longer entirely free. Nothing
 * else changes, so no delta is filled. llfree_alloc_slow() handles every other
 * case. Arguments are not checked.
 *
 * Context: any, also NMI; takes no lock, does not sleep.
 *
 * Return: first frame of the block, aligned to its size; -EAGAIN if
 *	llfree_alloc_slow() has to look further
 */
long llfree_alloc_fast(struct llfree *llf, unsigned int slot, unsigned int order,
		       unsigned int class, unsigned int *whole,
		       struct llfree_delta *delta)
{
	if (order <= LLFREE_ROW_ORDER)
		return fast_row(llf, slot, order, class, whole, delta);
	if (order < LLFREE_CHILD_ORDER)
		return fast_rows(llf, slot, order, class, whole, delta);
	return fast_whole(llf, slot, order, class, whole, delta);
}
EXPORT_SYMBOL_IF_KUNIT(llfree_alloc_fast);

/* ---- Everything else ---- */

/**
 * llfree_alloc_slow() - allocate a block where llfree_alloc_fast() did not find one
 * @llf: the instance
 * @req: the request
 * @delta: the changes are added here; may be NULL
 *
 * The slow path of llfree_alloc(). Without a slot, and for views other than the
 * normal one, the slow path is all of llfree_alloc().
 *
 * Context: any, also NMI; takes no lock, does not sleep.
 *
 * Return: as llfree_alloc()
 */
long llfree_alloc_slow(struct llfree *llf, const struct llfree_request *req,
		       struct llfree_delta *delta)
{
	struct llfree_delta unused __uninitialized;

	if (unlikely(!request_valid(llf, req)))
		return -EINVAL;
	return search_one(llf, req, delta_or(delta, &unused));
}
EXPORT_SYMBOL_IF_KUNIT(llfree_alloc_slow);

/**
 * llfree_alloc() - allocate a block
 * @llf: the instance
 * @req: the request
 * @delta: the changes are added here; may be NULL
 *
 * Looks for a block in this order:
 *
 * 1. in the tree that the slot has reserved;
 * 2. for less than a child, in partly free children of other trees of the
 *    class, before an entirely free child is broken up;
 * 3. in other trees, in the order that the policy gives;
 * 4. in trees that other slots have reserved;
 * 5. in every child of trees that are not exhausted.
 *
 * LLFREE_ALLOC_NOFRAGMENT, LLFREE_ALLOC_RESERVED and LLFREE_ALLOC_BOUNDED end
 * the search earlier.
 *
 * Context: any, also NMI; takes no lock, does not sleep.
 *
 * Return: first frame of the block, aligned to its size; -ENOMEM if at some
 *	moment there was no such block that @req allows, if other CPUs were
 *	faster in each of several passes over all children, or if the bound of
 *	LLFREE_ALLOC_BOUNDED was reached; -EINVAL if @req is not valid
 */
long llfree_alloc(struct llfree *llf, const struct llfree_request *req,
		  struct llfree_delta *delta)
{
	struct llfree_delta unused __uninitialized;
	struct llfree_delta quick __uninitialized;
	unsigned int whole;
	long frame;

	if (unlikely(!request_valid(llf, req)))
		return -EINVAL;
	delta = delta_or(delta, &unused);
	if (req->slot >= 0 && req->view == LLFREE_VIEW_NORMAL) {
		frame = llfree_alloc_fast(llf, req->slot, req->order, req->class,
					  &whole, &quick);
		if (likely(frame >= 0)) {
			delta->frames[LLFREE_VIEW_NORMAL] -= 1 << req->order;
			delta->huge[LLFREE_VIEW_NORMAL] -= whole;
			return frame;
		}
		delta_add(delta, &quick);
	}
	return search_one(llf, req, delta);
}
EXPORT_SYMBOL_GPL(llfree_alloc);

/*
 * Count the blocks in the rest of a child, up to @max.
 * @row: first row to look at; set to the first row that has a block
 */
static __always_inline unsigned int rows_count(const struct llfree *llf,
					       unsigned long *row,
					       unsigned int order,
					       unsigned int max)
{
	unsigned long end = (*row | (LLFREE_CHILD_ROWS - 1)) + 1, at;
	unsigned int nr = 0;
	u64 runs;

	for (at = *row; at < end && nr < max; at++) {
		runs = row_runs(row_now(llf, at), order);
		if (!runs)
			continue;
		if (!nr)
			*row = at;
		nr += hweight64(runs);
	}
	return min(nr, max);
}

/*
 * Find the child where a slot goes on in its tree to allocate blocks from
 * several rows: this child if it has any left, else the next child that has,
 * and is not entirely free.
 * @local: the reservation before the permits for @max were taken
 *
 * Return: number of blocks that the child seems to have, at most @max; 0 if
 *	there are none up to the end of the tree; 0 also if the next block would
 *	break up an entirely free child while partly free children may have
 *	blocks
 */
static __always_inline unsigned int
rows_find(const struct llfree *llf, const struct llfree_request *req,
	  unsigned long *row, unsigned int max, u64 local)
{
	const unsigned long first = *row;
	unsigned int nr;
	u16 word;

	do {
		word = READ_ONCE(*child_at(llf, *row >> CHILD_ROW_SHIFT));
		if (child_view(word) != LLFREE_VIEW_NORMAL)
			goto next;
		if (child_whole(word)) {
			if (*row != first)
				goto next;
			if (partial_hoped(llf, req->slot, req->class, req->order,
					  local))
				return 0;
		}
		if (child_free(word) >= 1U << req->order) {
			nr = rows_count(llf, row, req->order, max);
			if (nr)
				return nr;
		}
next:
		*row = (*row | (LLFREE_CHILD_ROWS - 1)) + 1;
	} while (*row & (tree_rows(llf) - 1));
	return 0;
}

/*
 * Allocate up to @nr blocks in the tree that the slot has reserved, from where
 * the slot looks next.
 * @masks: LLFREE_CHILD_ROWS words for the bits of the frames; written only if
 *	any are allocated
 *
 * Return: last row in which blocks were allocated; negative if none were
 */
static long batch_reserved(struct llfree *llf, const struct llfree_request *req,
			   unsigned int nr, u64 *masks, struct llfree_delta *delta)
{
	const unsigned int order = req->order;
	unsigned int held, used = 0, lost = 0;
	struct piece p = {
		.order = order, .views = BIT(LLFREE_VIEW_NORMAL), .masks = masks,
	};
	unsigned long at;
	u64 *local, word;

	local = &llf->locals[req->slot].reserved[req->class];
	held = local_take(llf, local, 1U << order, nr << order, &word);
	if (!held)
		return -1;

	at = local_row(word);
	p.row = at;
	p.max = rows_find(llf, req, &p.row, held >> order, word) << order;
	if (p.max) {
		at = p.row;
		p.child = child_at(llf, at >> CHILD_ROW_SHIFT);
		used = child_alloc(llf, &p, CHILD_TAKE, rows_set_blocks);
		if (p.taken)
			lost = child_settle(llf, &p, used, delta);
	}

	llf_permits_return(llf, local, at, held - used - lost);
	if (!used)
		return -1;
	local_set_row(llf, local, p.row);
	return p.row;
}

/*
 * Allocate up to @nr blocks of one row from anywhere. Parameters and return
 * value are those of batch_reserved().
 */
static long batch_search(struct llfree *llf, const struct llfree_request *req,
			 unsigned int nr, u64 *masks, struct llfree_delta *delta)
{
	struct search s __uninitialized;
	long row;

	nr = min_t(unsigned int, nr, LLFREE_ROW_FRAMES >> req->order);
	search_init(llf, &s, req, nr, delta);
	row = llf_search(llf, &s);
	if (unlikely(row < 0))
		return -1;
	memset(masks, 0, LLFREE_CHILD_ROWS * sizeof(*masks));
	masks[row & (LLFREE_CHILD_ROWS - 1)] = s.mask;
	return row;
}

/**
 * llfree_alloc_batch() - allocate several blocks of one child at once
 * @llf: the instance
 * @req: the request; the order is at most LLFREE_ROW_ORDER
 * @nr: most blocks wanted
 * @masks: LLFREE_CHILD_ROWS words; bits of the frames that were allocated,
 *	counted from the frame that is returned. Written only if any are
 *	allocated.
 * @delta: the changes are added here; may be NULL
 *
 * Takes blocks from several rows in the tree that the slot has reserved. If
 * there are none, takes blocks of one row, found as by llfree_alloc(). A batch
 * from either costs about as much as the allocation of one block. May return
 * fewer blocks than wanted though there are more.
 *
 * Context: any, also NMI; takes no lock, does not sleep.
 *
 * Return: first frame of the child, aligned to LLFREE_CHILD_FRAMES, also if
 *	that frame is not in the range; -ENOMEM as llfree_alloc(); -EINVAL for
 *	bad arguments
 */
long llfree_alloc_batch(struct llfree *llf, const struct llfree_request *req,
			unsigned int nr, u64 *masks, struct llfree_delta *delta)
{
	struct llfree_delta unused __uninitialized;
	long row = -1;

	if (unlikely(!request_valid(llf, req) || !nr || req->order > LLFREE_ROW_ORDER))
		return -EINVAL;
	delta = delta_or(delta, &unused);
	nr = min_t(unsigned int, nr, LLFREE_CHILD_FRAMES >> req->order);

	if (likely(req->slot >= 0 && req->view == LLFREE_VIEW_NORMAL))
		row = batch_reserved(llf, req, nr, masks, delta);
	if (row < 0)
		row = batch_search(llf, req, nr, masks, delta);
	if (unlikely(row < 0))
		return -ENOMEM;
	return child_frame(row >> CHILD_ROW_SHIFT);
}
EXPORT_SYMBOL_GPL(llfree_alloc_batch);
