/* SPDX-License-Identifier: GPL-2.0 */
/*
 * LLFree core, lower level: rows and children decide which frames are owned.
 *
 * The lower level is the only place that knows how bits are stored. An
 * allocation takes permits from a child word, then sets bits of rows; a free
 * clears bits, then raises the child word. Preemption is off between the two
 * steps. Any context writes these words, by compare-and-swap.
 */
#ifndef _LIB_LLFREE_LOWER_H
#define _LIB_LLFREE_LOWER_H

#include <linux/bug.h>
#include <linux/build_bug.h>
#include <linux/preempt.h>
#include <linux/string.h>

#include "words.h"

unsigned int llf_child_give_back(struct llfree *llf, unsigned long child,
				 unsigned int frames);
unsigned int llf_child_give_back_whole(struct llfree *llf, unsigned long child,
				       u16 before);
unsigned int llf_child_undone(struct llfree *llf, unsigned long child,
			      unsigned int frames, unsigned int view,
			      unsigned int given, struct llfree_delta *delta);
long llf_child_find(const struct llfree *llf, unsigned long child,
		    unsigned int order, u16 word);
bool llf_rows_clear(struct llfree *llf, unsigned long row, unsigned int nr,
		    u16 child);
void llf_bad_free(struct llfree *llf, unsigned long row, unsigned int nr,
		  u64 mask);

/* The delta of the caller, or @unused for a caller that passed NULL */
static inline struct llfree_delta *delta_or(struct llfree_delta *delta,
					    struct llfree_delta *unused)
{
	if (delta)
		return delta;
	memset(unused, 0, sizeof(*unused));
	return unused;
}

/* ---- Children ---- */

/* Count a step that took @taken permits from a child whose word was @before. */
static __always_inline void child_taken(u16 before, unsigned int taken,
					struct llfree_delta *delta)
{
	delta->frames[child_view(before)] -= taken;
	if (child_free(before) == LLFREE_CHILD_FRAMES)
		delta->huge[child_view(before)]--;
}

/* How a child step reads the child word, and how the step is ordered */
enum child_take {
	/*
	 * Read the word; an acquire, so that each permit finds its clear bit.
	 */
	CHILD_TAKE,
	/*
	 * One attempt: the caller has read the word, and rows with that word.
	 */
	CHILD_TAKE_SEEN,
	/*
	 * As CHILD_TAKE, and a full barrier: a CPU that sees the bits set does
	 * not see the old word.
	 */
	CHILD_TAKE_FULL,
};

/* Is the view of a child one of @views? A single view needs no shift. */
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
 * @before: the child word before the step; with CHILD_TAKE_SEEN the current
 *	word, if the step fails
 *
 * Return: number of permits, a multiple of @min; 0 if there are fewer than
 *	@min, if the child has another view, or with CHILD_TAKE_SEEN if the word
 *	has changed
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
		if (how == CHILD_TAKE_FULL)
			done = try_cmpxchg(child, &old, new);
		else
			done = try_cmpxchg_acquire(child, &old, new);
		/* LLF(child_take:A,B) */
		if (how == CHILD_TAKE_SEEN) {
			if (likely(done))
				return take;
			*before = old;
			return 0;
		}
	} while (!done);

	*before = old;
	return take;
}

/*
 * child_take_whole() - allocate all of a child that is entirely free
 * @views: bit mask of the views that the child may have
 * @before: the child word before the step
 *
 * The next turn changes the meaning of all bits of the rows of the child.
 *
 * Return: whether the child was entirely free, and had one of these views
 */
static __always_inline bool child_take_whole(u16 *child, unsigned int views,
					     u16 *before)
{
	u16 old = READ_ONCE(*child), new;

	do {
		if (child_free(old) != LLFREE_CHILD_FRAMES ||
		    !child_visible(old, views))
			return false;
		new = (old - LLFREE_CHILD_FRAMES + CHILD_TURN) & ~CHILD_REPORTED;
	} while (!try_cmpxchg_acquire(child, &old, new)); /* LLF(child_take:A) */

	*before = old;
	return true;
}

/* Return value of child_give() and child_give_whole() for the new child word */
static __always_inline unsigned int child_freed_state(u16 new)
{
	return child_view(new) |
	       (child_free(new) == LLFREE_CHILD_FRAMES ? LLFREE_FREED_WHOLE : 0);
}

/*
 * child_give() - give frames, whose bits are clear, to a child
 * @before: the child word as it was read before the bits were cleared
 * @had: free frames of the child before the step
 *
 * Turn cannot have changed since the bits were cleared, unless the frames were
 * not the caller's to give.
 *
 * Return: as llfree_free_fast(); LLFREE_NR_VIEWS if turn has changed, or if the
 *	child would have more than LLFREE_CHILD_FRAMES free frames. Then the
 *	frames have not been given.
 */
static __always_inline unsigned int
child_give(u16 *word, unsigned int frames, u16 before, unsigned int *had)
{
	u16 old = before, new;

	for (;;) {
		*had = child_free(old);
		if (unlikely(*had + frames > LLFREE_CHILD_FRAMES))
			return LLFREE_NR_VIEWS;
		new = old + frames;
		/* LLF(child_give:A) */
		if (likely(try_cmpxchg_release(word, &old, new)))
			return child_freed_state(new);
		if (unlikely((old ^ before) & CHILD_TURN_MASK || child_hole(old)))
			return LLFREE_NR_VIEWS;
	}
}

/*
 * child_give_whole() - free all of a child that is entirely allocated
 * @before: the child word with which the caller saw that all rows are allocated
 * @mark: bits to set in the child word at the same time
 *
 * Return: as llfree_free_fast(); LLFREE_NR_VIEWS, and nothing has changed, if a
 *	frame of the child was freed or turn has changed
 */
static __always_inline unsigned int
child_give_whole(u16 *word, u16 before, u16 mark)
{
	u16 old = before, new;

	do {
		if (unlikely((old ^ before) & ~CHILD_VIEW_MASK || child_free(old)))
			return LLFREE_NR_VIEWS;
		new = (u16)(old + LLFREE_CHILD_FRAMES + CHILD_TURN) | mark;
	} while (!try_cmpxchg_release(word, &old, new)); /* LLF(child_give:A) */

	return child_freed_state(new);
}

/*
 * Count a step of child_give() or child_give_whole(), which returned @given.
 *
 * Return: the view in which the frames are free now, or LLFREE_NR_VIEWS
 */
static __always_inline unsigned int
child_given(unsigned int given, unsigned int frames, struct llfree_delta *delta)
{
	unsigned int view = given & LLFREE_FREED_VIEW;

	if (likely(view < LLFREE_NR_VIEWS)) {
		delta->frames[view] += frames;
		if (given & LLFREE_FREED_WHOLE)
			delta->huge[view]++;
	}
	return view;
}

/* ---- Rows ---- */

/*
 * Return the stored bits of a free row in a child with this word: all are equal
 * to the lowest bit of turn. All other functions see rows in which 1 is
 * allocated.
 */
static __always_inline u64 free_bits(u16 child)
{
	return (s64)((u64)child << (63 - LLFREE_CHILD_TURN_SHIFT)) >> 63;
}

/*
 * row_read() - a row of a child whose word was read before, 1 = allocated
 *
 * Each bit was right at some moment since the child word was read. If turn has
 * changed meanwhile, all frames of the child were free right before the change
 * and allocated right after, or the other way round.
 */
static __always_inline u64 row_read(const struct llfree *llf, unsigned long row,
				    u16 child)
{
	return READ_ONCE(*row_at(llf, row)) ^ free_bits(child);
}

/* Read a row with the current word of its child; 1 = allocated. */
static __always_inline u64 row_now(const struct llfree *llf, unsigned long row)
{
	return row_read(llf, row, READ_ONCE(*child_at(llf, row >> CHILD_ROW_SHIFT)));
}

/*
 * row_set() - set bits of a row of which the caller has permits
 * @child: the child word; turn does not change while the caller has permits
 * @old: the row as the caller has read it
 *
 * Return: true; false if the row is no longer *@old, and *@old is the current
 *	row
 */
static __always_inline bool row_set(struct llfree *llf, unsigned long row,
				    u16 child, u64 *old, u64 mask)
{
	u64 stored = *old ^ free_bits(child);

	/* LLF(row_set:A) */
	if (likely(try_cmpxchg_acquire(row_at(llf, row), &stored, stored ^ mask)))
		return true;
	*old = stored ^ free_bits(child);
	return false;
}

/* Set all bits of @nr rows of which the caller has permits, or none. */
static inline bool rows_fill(struct llfree *llf, unsigned long row,
			     unsigned int nr, u16 child)
{
	const u64 free = free_bits(child);
	unsigned int i;
	u64 old;

	for (i = 0; i < nr; i++) {
		old = free;
		if (!try_cmpxchg_acquire(row_at(llf, row + i), &old, ~free))
			goto undo; /* LLF(row_set:A) */
	}
	return true;
undo:
	/* The caller owns the frames, so no other CPU changes these rows. */
	while (i--)
		/* LLF(row_clear:A) */
		smp_store_release(row_at(llf, row + i), free);
	return false;
}

/* Are these rows of a child free? @nr is a power of 2. */
static __always_inline bool rows_free(const struct llfree *llf,
				      unsigned long row, unsigned int nr)
{
	const u64 free = free_bits(READ_ONCE(*child_at(llf, row >> CHILD_ROW_SHIFT)));
	u64 bits = 0;

	while (nr--)
		bits |= READ_ONCE(*row_at(llf, row + nr)) ^ free;
	return !bits;
}

/* Are these rows of a child allocated, with the turn of @child? */
static __always_inline bool rows_allocated(const struct llfree *llf,
					   unsigned long row, unsigned int nr,
					   u16 child)
{
	u64 bits = ~0ULL;

	while (nr--)
		bits &= row_read(llf, row + nr, child);
	return bits == ~0ULL;
}

/*
 * Is all of a child with this word allocated? There is no loop, since this
 * check is a large part of the cost of a free of a whole child.
 */
static __always_inline bool child_allocated(const struct llfree *llf,
					    unsigned long child, u16 word)
{
	const u64 *rows = row_at(llf, child << CHILD_ROW_SHIFT);
	const u64 used = ~free_bits(word);

	BUILD_BUG_ON(LLFREE_CHILD_ROWS != 8);
	return !child_free(word) &&
	       !((READ_ONCE(rows[0]) ^ used) | (READ_ONCE(rows[1]) ^ used) |
		 (READ_ONCE(rows[2]) ^ used) | (READ_ONCE(rows[3]) ^ used) |
		 (READ_ONCE(rows[4]) ^ used) | (READ_ONCE(rows[5]) ^ used) |
		 (READ_ONCE(rows[6]) ^ used) | (READ_ONCE(rows[7]) ^ used));
}

/* Count the free frames in the rows of a child with this word. */
static inline unsigned int rows_count_free(const struct llfree *llf,
					   unsigned long child, u16 word)
{
	unsigned long row = child << CHILD_ROW_SHIFT;
	unsigned int i, nr = 0;

	for (i = 0; i < LLFREE_CHILD_ROWS; i++)
		nr += hweight64(~row_read(llf, row + i, word));
	return nr;
}

/* Clear @mask in a row of a child with this word, if all of it is set. */
static __always_inline bool row_clear(struct llfree *llf, unsigned long row,
				      u16 child, u64 mask)
{
	const u64 free = free_bits(child);
	u64 *at = row_at(llf, row);
	u64 old = READ_ONCE(*at);

	do {
		if (((old ^ free) & mask) != mask)
			return false;
	} while (!try_cmpxchg_release(at, &old, old ^ mask));
	/* LLF(row_clear:A) */
	return true;
}

/* ---- Children and rows: permits, and bits for them ---- */

/*
 * struct piece - a part of a child that is to be allocated
 * @child: the child word
 * @row: first row of the piece
 * @order: order of the blocks
 * @views: bit mask of the views that the child may have
 * @max: most frames to allocate; at least one block
 * @word: the row as last read, if the piece is in one row
 * @mask: bits to set in the row, as each function says; then the bits that were
 *	set
 * @masks: bits that were set in each row of the child, for rows_set_blocks()
 * @before: the child word before the child step
 * @taken: permits that the child step took
 * @given: return value of llf_child_give_back() for the permits without bits
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

/* Functions for child_alloc(): each returns how many permits are left over. */

/* Set the block that starts at the lowest bit of @p->mask, if it is free. */
static __always_inline unsigned int row_set_first(struct llfree *llf,
						  struct piece *p)
{
	const u64 mask = run_mask(__ffs64(p->mask), p->order);
	u64 word = p->word;

	while (!row_set(llf, p->row, p->before, &word, mask))
		if (word & mask)
			return p->taken;
	return 0;
}

/*
 * Set the lowest free blocks of the row: @p->mask unless the row has changed.
 */
static __always_inline unsigned int row_set_blocks(struct llfree *llf,
						   struct piece *p)
{
	const unsigned int order = p->order, nr = p->taken >> order;
	u64 word = p->word;

	if (p->taken < p->max)
		p->mask = runs_lowest(row_runs(word, order), order, nr);
	while (p->mask && !row_set(llf, p->row, p->before, &word, p->mask))
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
	} while (p->mask && !row_set(llf, p->row, p->before, &word, p->mask));
	return p->taken - hweight64(p->mask);
}

/* Set all bits of as many rows as there are permits for, or none. */
static __always_inline unsigned int rows_set_all(struct llfree *llf,
						 struct piece *p)
{
	return rows_fill(llf, p->row, p->taken >> LLFREE_ROW_ORDER, p->before) ? 0 : p->taken;
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
		word = row_read(llf, row, p->before);
		do {
			bits = runs_lowest(row_runs(word, order), order,
					   left >> order);
		} while (bits && !row_set(llf, row, p->before, &word, bits));
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
 * @set: function that sets bits of @p for up to @p->taken frames, and returns
 *	for how many of @p->taken there are no bits
 *
 * Preemption is off from the child step until each permit has its bit or has
 * been given back. In between other CPUs see a block that they cannot allocate.
 * The caller calls child_settle() next if @p->taken is not 0.
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
 * child_settle() - account for the permits of child_alloc()
 * @used: return value of child_alloc()
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
 * child_alloc_whole() - allocate one or two whole children
 * @view: the view that each of the children had
 * @lost: permits that the caller no longer has are added here, for each child
 *
 * Does the work of child_alloc() and child_settle() for whole children. If the
 * second child cannot be taken, the first one is given back.
 *
 * Return: whether all @nr children were allocated
 */
static __always_inline bool
child_alloc_whole(struct llfree *llf, unsigned long child, unsigned int nr,
		  unsigned int views, unsigned int view[2], unsigned int lost[2],
		  struct llfree_delta *delta)
{
	u16 *at = child_at(llf, child), before[2];
	unsigned int given, i;

	preempt_disable();
	for (i = 0; i < nr; i++) {
		if (!child_take_whole(&at[i], views, &before[i]))
			goto undo;
		view[i] = child_view(before[i]);
		child_taken(before[i], LLFREE_CHILD_FRAMES, delta);
	}
	preempt_enable();
	return true;
undo:
	while (i--) {
		given = llf_child_give_back_whole(llf, child + i, before[i]);
		lost[i] += llf_child_undone(llf, child + i, LLFREE_CHILD_FRAMES,
					    view[i], given, delta);
	}
	preempt_enable();
	return false;
}

#endif /* _LIB_LLFREE_LOWER_H */
