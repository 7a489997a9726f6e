/* SPDX-License-Identifier: GPL-2.0 */
/*
 * LLFree core, lower level: rows and children decide which frames are owned.
 *
 * This is the only place that knows how bits are stored. An allocation takes
 * permits from a child word, then sets bits of rows; a free clears bits, then raises
 * the child word. Preemption is off between the two steps. Any context writes these
 * words, by compare-and-swap.
 */
#ifndef _LIB_LLFREE_LOWER_H
#define _LIB_LLFREE_LOWER_H

#include <linux/bug.h>
#include <linux/preempt.h>
#include <linux/string.h>

#include "words.h"

unsigned int llf_child_give_back(struct llfree *llf, unsigned long child,
				 unsigned int frames);
unsigned int llf_child_undone(struct llfree *llf, unsigned long child,
			      unsigned int frames, unsigned int view,
			      unsigned int given, struct llfree_delta *delta);
bool llf_rows_clear(struct llfree *llf, unsigned long row, unsigned int nr);

/* Where to count for a caller that does not want to know */
static inline struct llfree_delta *delta_or(struct llfree_delta *delta,
					    struct llfree_delta *unused)
{
	if (delta)
		return delta;
	memset(unused, 0, sizeof(*unused));
	return unused;
}

/* ---- Children ---- */

/* What taking from a child changed that was @before */
static __always_inline void child_taken(u16 before, unsigned int taken,
					struct llfree_delta *delta)
{
	delta->frames[child_view(before)] -= taken;
	if (child_free(before) == LLFREE_CHILD_FRAMES)
		delta->huge[child_view(before)]--;
}

/* What a child step needs of the child word, and of its order */
enum child_take {
	/* Read the word, and see the bits that are clear for its permits. */
	CHILD_TAKE,
	/*
	 * The caller has read the word, and then the rows: it needs no order, since
	 * a compare-and-swap decides about each row.
	 */
	CHILD_TAKE_SEEN,
	/* As CHILD_TAKE, and bits are not seen to be set before the word changes. */
	CHILD_TAKE_FULL,
};

/* Is the view of a child one of @views? A single one needs no shift. */
static __always_inline bool child_visible(u16 word, unsigned int views)
{
	if (views == BIT(LLFREE_VIEW_NORMAL))
		return child_view(word) == LLFREE_VIEW_NORMAL;
	return views & BIT(child_view(word));
}

/*
 * child_take() - take permits from a child
 * @views: bit mask of the views that the child may have
 * @min: least number, and unit
 * @max: most
 * @before: the child word before the step
 *
 * Return: number of permits, a multiple of @min; 0 if there are less than that
 *	or the child has another view
 */
static __always_inline unsigned int
child_take(u16 *child, enum child_take how, unsigned int views,
	   unsigned int min, unsigned int max, u16 *before)
{
	u16 old = how == CHILD_TAKE_SEEN ? *before : READ_ONCE(*child), new;
	unsigned int take;
	bool done;

	do {
		if (child_free(old) < min || !child_visible(old, views))
			return 0;
		take = permits(child_free(old), min, max);
		new = (old - take) & ~CHILD_REPORTED;
		if (how == CHILD_TAKE_SEEN)
			done = try_cmpxchg_relaxed(child, &old, new);
		else if (how == CHILD_TAKE_FULL)
			done = try_cmpxchg(child, &old, new);
		else
			done = try_cmpxchg_acquire(child, &old, new);
		/* LLF(child_take:A,B) */
	} while (!done);

	*before = old;
	return take;
}

/*
 * child_give() - give frames, whose bits are clear, to a child
 * @mark: bits to set in the child word at the same time
 *
 * Return: as llfree_put_quick(); LLFREE_NR_VIEWS if the child counted as many free
 *	frames already that something must be wrong, and the frames are leaked
 */
static __always_inline unsigned int
child_give(struct llfree *llf, unsigned long child, unsigned int frames, u16 mark)
{
	u16 *word = &llf->children[child];
	u16 old = READ_ONCE(*word), new;

	do {
		if (WARN_ONCE(child_free(old) + frames > LLFREE_CHILD_FRAMES,
			      "llfree: %u frames freed to child %lu, which has %u free\n",
			      frames, child, child_free(old)))
			return LLFREE_NR_VIEWS;
		new = (old + frames) | mark;
	} while (!try_cmpxchg(word, &old, new)); /* LLF(child_give:A,B) */

	return child_view(new) |
	       (child_free(new) == LLFREE_CHILD_FRAMES ? LLFREE_PUT_WHOLE : 0);
}

/*
 * Count what child_give() did.
 *
 * Return: the view in which the frames are free now, or LLFREE_NR_VIEWS
 */
static __always_inline unsigned int
child_given(unsigned int given, unsigned int frames, struct llfree_delta *delta)
{
	unsigned int view = given & LLFREE_PUT_VIEW;

	if (likely(view < LLFREE_NR_VIEWS)) {
		delta->frames[view] += frames;
		if (given & LLFREE_PUT_WHOLE)
			delta->huge[view]++;
	}
	return view;
}

/* ---- Rows ---- */

/*
 * row_set() - set bits of a row of which the caller has permits
 *
 * Return: false, and *@row the current row, if it is no longer *@row
 */
static inline bool row_set(struct llfree *llf, unsigned long row, u64 *old, u64 mask)
{
	/* LLF(get_row:A) */
	return try_cmpxchg_acquire(&llf->rows[row], old, *old | mask);
}

/* Set all bits of @nr rows of which the caller has permits, or none. */
static inline bool rows_fill(struct llfree *llf, unsigned long row, unsigned int nr)
{
	unsigned int i;
	u64 old;

	for (i = 0; i < nr; i++) {
		old = 0;
		if (!try_cmpxchg_acquire(&llf->rows[row + i], &old, ~0ULL))
			goto undo; /* LLF(get_row:A) */
	}
	return true;
undo:
	/* The caller owns the frames, so no other CPU changes these rows. */
	while (i--)
		/* LLF(put_row:A) */
		smp_store_release(&llf->rows[row + i], 0);
	return false;
}

/* Are these rows free? @nr is a power of 2. */
static __always_inline bool rows_free(const struct llfree *llf,
				      unsigned long row, unsigned int nr)
{
	u64 bits = 0;

	while (nr--)
		bits |= READ_ONCE(llf->rows[row + nr]);
	return !bits;
}

static __always_inline bool rows_allocated(const struct llfree *llf,
					   unsigned long row, unsigned long nr)
{
	u64 bits = ~0ULL;

	while (nr--)
		bits &= READ_ONCE(llf->rows[row + nr]);
	return bits == ~0ULL;
}

/*
 * Set all bits of a child of which the caller has all permits. No other CPU can
 * set one then, so that there is nothing to compare with.
 */
static __always_inline bool rows_fill_child(struct llfree *llf, unsigned long child)
{
	u64 *row = &llf->rows[child << CHILD_ROW_SHIFT];
	u64 bits = 0;
	unsigned int i;

	BUILD_BUG_ON(LLFREE_CHILD_ROWS % 4);

	for (i = 0; i < LLFREE_CHILD_ROWS; i += 4)
		bits |= READ_ONCE(row[i]) | READ_ONCE(row[i + 1]) |
			READ_ONCE(row[i + 2]) | READ_ONCE(row[i + 3]);
	if (WARN_ONCE(bits, "llfree: free child %lu has allocated frames\n",
		      child))
		return false;
	for (i = 0; i < LLFREE_CHILD_ROWS; i += 4) {
		WRITE_ONCE(row[i], ~0ULL);
		WRITE_ONCE(row[i + 1], ~0ULL);
		WRITE_ONCE(row[i + 2], ~0ULL);
		WRITE_ONCE(row[i + 3], ~0ULL);
	}
	return true;
}

static inline unsigned int child_clear_bits(const struct llfree *llf,
					    unsigned long child)
{
	const u64 *rows = &llf->rows[child << CHILD_ROW_SHIFT];
	unsigned int i, clear = 0;

	for (i = 0; i < LLFREE_CHILD_ROWS; i++)
		clear += hweight64(~READ_ONCE(rows[i]));
	return clear;
}

/* Clear @mask in a row, if all of it is set. */
static __always_inline bool row_clear(struct llfree *llf, unsigned long row, u64 mask)
{
	u64 old = READ_ONCE(llf->rows[row]);

	do {
		if ((old & mask) != mask)
			return false;
	} while (!try_cmpxchg_release(&llf->rows[row], &old, old & ~mask));
	/* LLF(put_row:A) */
	return true;
}

/* ---- Both: permits of a child, and bits for them ---- */

/*
 * struct piece - less than a child that is to be allocated
 * @child: the child word
 * @row: first row of it
 * @order: order of the blocks
 * @views: bit mask of the views that the child may have
 * @max: most frames to allocate; at least one block
 * @word: the row as it was last seen, if the piece is of one row
 * @mask: what to set in it, as each function says, and the bits that were set
 * @masks: bits that were set in each row of the child, for rows_set_blocks()
 * @before: the child word before the child step
 * @taken: permits that the child step took
 * @given: what llf_child_give_back() returned for those of them that have no bits
 */
struct piece {
	u16 *child;
	unsigned long row;
	unsigned int order;
	unsigned int views;
	unsigned int max;
	u64 word;
	u64 mask;
	u64 *masks;
	u16 before;
	unsigned int taken;
	unsigned int given;
};

/* Functions for child_alloc(): they return how many permits are left over. */

/* Set the block that starts at the lowest bit of @p->mask, if it is free. */
static __always_inline unsigned int row_set_first(struct llfree *llf,
						  struct piece *p)
{
	const u64 mask = run_mask(__ffs64(p->mask), p->order);
	u64 word = p->word;

	while (!row_set(llf, p->row, &word, mask))
		if (word & mask)
			return p->taken;
	return 0;
}

/* Set the lowest free blocks of the row, @p->mask if it has not changed. */
static __always_inline unsigned int row_set_blocks(struct llfree *llf,
						   struct piece *p)
{
	const unsigned int order = p->order, nr = p->taken >> order;
	u64 word = p->word;

	if (p->taken < p->max)
		p->mask = runs_lowest(row_runs(word, order), order, nr);
	while (p->mask && !row_set(llf, p->row, &word, p->mask))
		p->mask = runs_lowest(row_runs(word, order), order, nr);
	return p->taken - hweight64(p->mask);
}

/* Set the lowest free frames among @p->mask. */
static __always_inline unsigned int row_set_some(struct llfree *llf,
						 struct piece *p)
{
	const u64 wanted = p->mask;
	u64 word = p->word;

	do {
		p->mask = runs_lowest(~word & wanted, 0, p->taken);
	} while (p->mask && !row_set(llf, p->row, &word, p->mask));
	return p->taken - hweight64(p->mask);
}

/* Set all bits of as many rows as there are permits for, or none. */
static __always_inline unsigned int rows_set_all(struct llfree *llf,
						 struct piece *p)
{
	return rows_fill(llf, p->row, p->taken >> LLFREE_ROW_ORDER) ? 0 : p->taken;
}

/* Set the lowest free blocks from @p->row up to the end of the child. */
static __always_inline unsigned int rows_set_blocks(struct llfree *llf,
						    struct piece *p)
{
	const unsigned int order = p->order;
	unsigned int left = p->taken;
	unsigned long row = p->row;
	u64 word, bits;

	do {
		word = READ_ONCE(llf->rows[row]);
		do {
			bits = runs_lowest(row_runs(word, order), order,
					   left >> order);
		} while (bits && !row_set(llf, row, &word, bits));
		if (bits) {
			if (left == p->taken)
				memset(p->masks, 0, LLFREE_CHILD_ROWS *
						    sizeof(*p->masks));
			p->masks[row & (LLFREE_CHILD_ROWS - 1)] = bits;
			left -= hweight64(bits);
			p->row = row;
		}
		row++;
	} while (left && (row & (LLFREE_CHILD_ROWS - 1)));
	return left;
}

/*
 * child_alloc() - take permits from a child and set bits for them
 * @how: how to take them
 * @set: sets bits of @p for up to @p->taken frames, and returns for how many of
 *	these it found none
 *
 * Preemption is off from the child step until each permit has its bit or has gone
 * back. In between other CPUs see a block that they cannot get. child_settle() has
 * to follow if @p->taken is not 0.
 *
 * Return: number of frames whose bits are set
 */
static __always_inline unsigned int
child_alloc(struct llfree *llf, struct piece *p, enum child_take how,
	    unsigned int (*set)(struct llfree *llf, struct piece *p))
{
	unsigned int left = 0;

	preempt_disable();
	p->taken = child_take(p->child, how, p->views, 1U << p->order, p->max,
			      &p->before);
	if (likely(p->taken)) {
		left = set(llf, p);
		if (unlikely(left))
			p->given = llf_child_give_back(llf, p->row >> CHILD_ROW_SHIFT,
						       left);
	}
	preempt_enable();
	return p->taken - left;
}

/*
 * child_settle() - account for what child_alloc() did
 * @used: what it returned
 *
 * Return: permits that the caller no longer has, as llf_child_undone()
 */
static __always_inline unsigned int
child_settle(struct llfree *llf, const struct piece *p, unsigned int used,
	     struct llfree_delta *delta)
{
	child_taken(p->before, p->taken, delta);
	if (likely(used == p->taken))
		return 0;
	return llf_child_undone(llf, p->row >> CHILD_ROW_SHIFT, p->taken - used,
			    child_view(p->before), p->given, delta);
}

/*
 * child_get_huge() - get one or two whole children
 * @view: the view that each of them had
 * @lost: permits that the caller no longer has are added here, for each of them
 *
 * child_alloc() and child_settle() for whole children
 */
static __always_inline bool
child_get_huge(struct llfree *llf, unsigned long child, unsigned int nr,
	       unsigned int views, unsigned int view[2], unsigned int lost[2],
	       struct llfree_delta *delta)
{
	unsigned int given, i;
	u16 before;

	preempt_disable();
	for (i = 0; i < nr; i++) {
		if (!child_take(&llf->children[child + i], CHILD_TAKE, views,
				LLFREE_CHILD_FRAMES, LLFREE_CHILD_FRAMES,
				&before))
			goto undo;
		view[i] = child_view(before);
		child_taken(before, LLFREE_CHILD_FRAMES, delta);
	}
	for (i = 0; i < nr; i++) {
		if (!rows_fill_child(llf, child + i)) {
			/* Corrupt; leak all of it, it must not be used. */
			preempt_enable();
			for (i = 0; i < nr; i++)
				lost[i] += LLFREE_CHILD_FRAMES;
			return false;
		}
	}
	preempt_enable();
	return true;
undo:
	while (i--) {
		given = llf_child_give_back(llf, child + i, LLFREE_CHILD_FRAMES);
		lost[i] += llf_child_undone(llf, child + i, LLFREE_CHILD_FRAMES,
					view[i], given, delta);
	}
	preempt_enable();
	return false;
}

#endif /* _LIB_LLFREE_LOWER_H */
