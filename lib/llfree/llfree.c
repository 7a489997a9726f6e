// SPDX-License-Identifier: GPL-2.0
/*
 * LLFree: lock-free page frame allocator core.
 *
 * Every operation is a short sequence of compare-and-swaps, each on one word,
 * and no operation ever waits for another one. There are two levels:
 *
 * Lower level: who owns a frame.
 *
 *   row    64 bits, one per frame, 1 = allocated. The truth for every order;
 *          a huge block sets all its bits too, so a piece of it can be put at
 *          any time and singles can be put as one huge block.
 *   child  512 frames: {free, view, reported}. A get first takes from free,
 *          then sets bits; a put first clears bits, then adds to free. So
 *          free never exceeds the number of clear bits: it counts permits to
 *          take a bit, and a permit is always good for a frame of order 0.
 *          The view says who may take permits; see enum llfree_view.
 *
 * Upper level: where to look. It can be rebuilt from the lower by counting.
 *
 *   tree   8 children: {reserved, class, free}, one word for each allocatable
 *          view. free is the number of permits nobody has reserved. It is
 *          signed: claims take from children without asking here, and changes
 *          of a view move what is left, which may leave a debt.
 *   local  one word per slot and class: {present, free, row}. The permits of
 *          a tree that the slot has reserved, and where it looks next.
 *          What others put into a reserved tree is added to tree.free; the
 *          slot fetches it when its own permits run out.
 *
 * The one rule that keeps the levels together: a compare-and-swap that changes
 * child.free by d while the child's view is v belongs to an operation that
 * changes the permits of v by d and reports d for v in its delta. An operation
 * that undoes its child step obeys the view it finds then, not the one it
 * found before. A change of view moves child.free; frames whose get began
 * before count as in use, and frames that are put later belong to the new view.
 *
 * A permit of a tree is a promise about numbers, not about a fitting block or
 * view. Who finds none hands the permit back and goes on. A get gives up only
 * after it looked at all children directly, whatever permits say, and found no
 * block that fits while none became free; or found some again and again that others
 * were faster to get, or that were held for a moment, possibly by an operation that
 * it interrupted.
 *
 * DOC: ordering
 *
 * The words form a chain. A put releases, and a get acquires, on each:
 *
 *   put_row:A     pairs with get_row:A. What the previous owner wrote to the
 *                 frame, and everything before its put, is visible to the next
 *                 owner.
 *   child_give:A  pairs with child_take:A and child_stable:A. The cleared bits
 *                 are visible to who takes the permits, so a permit finds its
 *                 bit, and to who compares their numbers. For blocks of
 *                 whole children, whose bits are set by plain stores, this is
 *                 also what put_row:A and get_row:A are for others.
 *   child_take:B  pairs with child_stable:B. Both are full barriers: a CPU that
 *                 sees the bit of a hidden claim sees that its permit is gone.
 *   tree_put:A    pairs with tree_take:A, tree_reserve:A and local_sync:A; and
 *   local_put:A   pairs with local_take:A. The raised child.free is visible
 *                 to who takes the tree's permits. Nothing breaks
 *                 without this pair, but a search would miss a free block.
 *   hint_arm:A    pairs with child_give:B and set_view:A. All are full barriers:
 *                 of a search that arms the hint and then looks, and a put or
 *                 change of view that makes a block and then reads the hint, at
 *                 least one sees the other.
 *   set_view:A    is a full barrier. A get that starts after it sees the view.
 *   set_slots:A   pairs with nr_slots:A. A caller that has read the number of slots
 *                 sees where they are and that they are initialised.
 *
 * Racy hints, read and written without order: the row in a local, last_put,
 * spare, freed, and every word that is read to decide where to try.
 *
 * Preemption is off from a child step until its row step or its undo is done, and
 * from the row step of a put until its child step is done. Only child_alloc(),
 * child_get_huge() and the functions that put do such steps. Nothing depends on it;
 * it bounds how long others see a block that cannot be had, and
 * llfree_child_stable() says -EAGAIN.
 */
#include <linux/bug.h>
#include <linux/export.h>
#include <linux/gcd.h>
#include <linux/hash.h>
#include <linux/limits.h>
#include <linux/preempt.h>
#include <linux/string.h>

#include "internal.h"

/* Puts in a row to the same tree after which a slot reserves it. */
#define PUTS_TO_RESERVE		4U

/*
 * Where to look for small blocks before a huge one is broken up: 1 GiB, and as
 * many trees in it whose free frames may turn out to be scattered.
 */
#define SPARE_TREES		64U
#define SPARE_TRIES		2U

/* Passes of the exhaustive search while others get in the way. */
#define MAX_PASSES		64U
/* The same, if what is in the way may be an operation we interrupted. */
#define MAX_STUCK_PASSES	4U
/* Passes that find nothing, while blocks become free behind them. */
#define MAX_VAIN_PASSES		4U

/*
 * A get under way. @nr blocks of 2^@order are wanted, all from one row; for
 * orders above a row @nr is 1.
 */
struct get {
	unsigned int order;
	unsigned int nr;
	unsigned int class;
	unsigned int view;
	unsigned int flags;
	int slot;
	/* Leave entirely free children alone; some were */
	bool spare;
	bool spared;
	/* Frames taken, and for the orders of a row their bits */
	unsigned int taken;
	u64 mask;
	/* Permits that went to another view when a child step was undone */
	unsigned int lost;
	struct llfree_delta *delta;
};

static inline unsigned int get_frames(const struct get *g)
{
	return 1U << g->order;
}

/* Where to count for a caller that does not want to know */
static inline struct llfree_delta *delta_or(struct llfree_delta *delta,
					    struct llfree_delta *unused)
{
	if (delta)
		return delta;
	memset(unused, 0, sizeof(*unused));
	return unused;
}

static void delta_add(struct llfree_delta *delta, const struct llfree_delta *more)
{
	unsigned int view;

	for (view = 0; view < LLFREE_NR_VIEWS; view++) {
		delta->frames[view] += more->frames[view];
		delta->huge[view] += more->huge[view];
	}
}

/* How many of @free permits to take: at most @max, in units of @min, a power of 2 */
static __always_inline unsigned int permits(unsigned int free, unsigned int min,
					    unsigned int max)
{
	return min == max ? min : min(max, ALIGN_DOWN(free, min));
}

/* ---- Hint: which orders were looked for everywhere and not found ---- */

/*
 * hint_arm() - ask puts to report blocks of @order from now on
 *
 * Return: the generation that hint_conclude() needs
 */
static u32 hint_arm(struct llfree *llf, unsigned int order, unsigned int view)
{
	u32 old = READ_ONCE(llf->hint[view]), new;

	while (hint_armed(old) > order) {
		new = hint_make(hint_gen(old), order, hint_exhausted(old));
		/* LLF(hint_arm:A) */
		if (try_cmpxchg(&llf->hint[view], &old, new))
			return hint_gen(new);
	}

	/* Armed already. All puts read the word; do not write for nothing. */
	smp_mb(); /* LLF(hint_arm:A) */
	return hint_gen(old);
}

/*
 * hint_conclude() - a search since hint_arm() found nothing of @order
 *
 * Order 0 is not noted: while memory is short, each put would have to reset it.
 *
 * Return: false if something was reported since @gen, which the search may have
 *	missed
 */
static bool hint_conclude(struct llfree *llf, unsigned int order,
			  unsigned int view, u32 gen)
{
	u32 old = READ_ONCE(llf->hint[view]), new;

	do {
		if (hint_gen(old) != gen)
			return false;
		if (!order || hint_exhausted(old) <= order)
			return true;
		new = hint_make(gen, hint_armed(old), order);
	} while (!try_cmpxchg_relaxed(&llf->hint[view], &old, new));
	return true;
}

/* A block of @order has become free in @view. */
static void hint_raise(struct llfree *llf, unsigned int order,
		       unsigned int view)
{
	u32 old = READ_ONCE(llf->hint[view]), new;
	unsigned int exhausted;

	do {
		exhausted = hint_exhausted(old);
		if (order < min(hint_armed(old), exhausted))
			return;
		if (order >= exhausted)
			exhausted = order < LLFREE_MAX_ORDER ? order + 1 :
							       HINT_NONE;
		new = hint_make(hint_gen(old) + 1, HINT_NONE, exhausted);
	} while (!try_cmpxchg_relaxed(&llf->hint[view], &old, new));
}

static noinline void hint_report(struct llfree *llf, unsigned long row,
				 u64 mask, unsigned int least,
				 unsigned int view)
{
	unsigned int order = LLFREE_ROW_ORDER, want;
	u32 hint = READ_ONCE(llf->hint[view]);
	u64 word;

	/* Mostly it is about blocks much larger than this one. */
	want = min(hint_armed(hint), hint_exhausted(hint));
	word = READ_ONCE(llf->rows[row]);
	if (least < want &&
	    (want > LLFREE_ROW_ORDER ? word :
	     !(runs_mask(row_runs(word, want), want) & mask)))
		return;

	while (!(runs_mask(row_runs(word, order), order) & mask)) {
		/* Allocated again already. */
		if (!order)
			break;
		order--;
	}
	if (order == LLFREE_ROW_ORDER)
		order = max(llfree_free_order(llf, row_frame(llf, row)),
			    LLFREE_ROW_ORDER);
	hint_raise(llf, max(order, least), view);
}

/*
 * hint_freed() - report the largest block that holds freed frames
 *
 * @mask are the frames of @row that were freed, and @least is the order of the
 * block that they are known to have made: part of it may be allocated again
 * already, but a search that saw it before must not conclude that there was
 * none. To be called after child_give(), which is a full barrier.
 */
static __always_inline void hint_freed(struct llfree *llf, unsigned long row,
				       u64 mask, unsigned int least,
				       unsigned int view)
{
	if (view < LLFREE_ALLOC_VIEWS &&
	    unlikely(!hint_idle(READ_ONCE(llf->hint[view]))))
		hint_report(llf, row, mask, least, view);
}

/* ---- Upper level: permits ---- */

/* The word of a tree; one that is entirely free has no class, others have. */
static u32 tree_word(const struct llfree *llf, s32 free, unsigned int class,
		     bool reserved)
{
	if (free == LLFREE_TREE_FRAMES && !reserved)
		class = LLFREE_CLASS_NONE;
	else if (class == LLFREE_CLASS_NONE)
		class = llf->policy->init_class;
	return tree_make(free, class, reserved);
}

/*
 * tree_give() - give permits to a tree, or take them whatever is there
 *
 * @frames may be negative and so may the sum.
 *
 * Return: what its word is now
 */
static __always_inline u32 tree_give(struct llfree *llf, unsigned int view,
				     unsigned long tree, s32 frames)
{
	u32 *word = &llf->trees[view][tree];
	u32 old = READ_ONCE(*word), new;

	do {
		new = tree_word(llf, tree_free(old) + frames, tree_class(old),
				tree_reserved(old));
	} while (!try_cmpxchg_release(word, &old, new)); /* LLF(tree_put:A) */
	return new;
}

/* The same, for where it is not worth being inline */
static u32 tree_put(struct llfree *llf, unsigned int view, unsigned long tree,
		    s32 frames)
{
	return tree_give(llf, view, tree, frames);
}

/* End a reservation, give its permits back and set the class if there is one. */
static void tree_unreserve(struct llfree *llf, unsigned long tree, s32 frames,
			   unsigned int class)
{
	u32 *word = &llf->trees[LLFREE_VIEW_NORMAL][tree];
	u32 old = READ_ONCE(*word), new;

	do {
		new = tree_word(llf, tree_free(old) + frames,
				class == LLFREE_CLASS_NONE ? tree_class(old) :
							     class, false);
	} while (!try_cmpxchg_release(word, &old, new)); /* LLF(tree_put:A) */
}

/*
 * tree_take() - take permits from a tree without reserving it
 * @min: least number, and unit
 * @max: most
 * @class: class that the tree gets unless somebody has reserved it, or
 *	LLFREE_CLASS_NONE to leave it alone
 *
 * Return: number of permits, a multiple of @min; 0 if there are less than that
 */
static unsigned int tree_take(struct llfree *llf, unsigned int view,
			      unsigned long tree, unsigned int min,
			      unsigned int max, unsigned int class)
{
	u32 *word = &llf->trees[view][tree];
	u32 old = READ_ONCE(*word), new;
	unsigned int take;

	do {
		if (tree_free(old) < (s32)min)
			return 0;
		take = permits(tree_free(old), min, max);
		new = tree_word(llf, tree_free(old) - take,
				class == LLFREE_CLASS_NONE ||
				tree_reserved(old) ? tree_class(old) : class,
				tree_reserved(old));
	} while (!try_cmpxchg_acquire(word, &old, new)); /* LLF(tree_take:A) */
	return take;
}

/*
 * A tree that nobody has reserved got @frames: unless they are huge blocks, small
 * ones are worth looking for there again.
 */
static void spare_note(struct llfree *llf, u32 word, s32 frames)
{
	unsigned int class = tree_class(word);
	u8 freed;

	if (tree_reserved(word) || class >= LLFREE_MAX_CLASSES ||
	    !(frames % (s32)LLFREE_CHILD_FRAMES))
		return;
	freed = READ_ONCE(llf->freed[class]);
	if (freed & FREED_SEEN)
		WRITE_ONCE(llf->freed[class], freed_next(freed));
}

/*
 * Are blocks of @order worth looking for elsewhere, or in other children of the own
 * tree, before an entirely free child is begun?
 * @local: the reservation, before the caller took permits from it
 */
static __always_inline bool spare_hoped(const struct llfree *llf, int slot,
					unsigned int class, unsigned int order,
					u64 local)
{
	u8 freed = READ_ONCE(llf->freed[class]);

	if (slot < 0)
		return !(freed & FREED_SEEN);
	/* More than any order if the key is another one */
	return (READ_ONCE(llf->locals[slot].spare[class]) ^
		vain_key(freed, local)) > order;
}

/* Give back whatever reservation @word stands for. */
static void local_release(struct llfree *llf, u64 word)
{
	unsigned long tree = local_tree(word);
	u32 old;

	if (!(word & LOCAL_PRESENT))
		return;
	tree_unreserve(llf, tree, local_free(word), LLFREE_CLASS_NONE);
	old = READ_ONCE(llf->trees[LLFREE_VIEW_NORMAL][tree]);
	spare_note(llf, old, tree_free(old));
}

/*
 * Give permits of frames in @row to the reservation if it is one of their tree.
 * It never holds more than a tree has: the permits of frames that were claimed
 * and put again, whose debt is the tree's, must not pile up here. What could
 * serve for the next one of its size is where the slot looks next.
 */
static __always_inline bool local_put(u64 *local, unsigned long row,
				      unsigned int frames)
{
	u64 old = READ_ONCE(*local), new;

	do {
		if (!local_holds(old, row >> TREE_ROW_SHIFT) ||
		    local_free(old) + frames > LLFREE_TREE_FRAMES)
			return false;
		new = old + ((u64)frames << LOCAL_FREE_SHIFT);
		if (frames >= LLFREE_ROW_FRAMES)
			new = (new & ~LOCAL_ROW_MASK) | row;
	} while (!try_cmpxchg_release(local, &old, new)); /* LLF(local_put:A) */
	return true;
}

/*
 * local_sync() - fetch what others put into the tree that a slot has reserved
 * @word: the reservation, with fewer permits than needed
 * @need: permits that it should have
 *
 * Fetches no more than local_put() accepts: a change of view that has not reached
 * the tree yet may leave more permits there.
 *
 * Return: whether the reservation got what it needs
 */
static bool local_sync(struct llfree *llf, u64 *local, u64 word,
		       unsigned int need)
{
	u32 *tree = &llf->trees[LLFREE_VIEW_NORMAL][local_tree(word)];
	const s32 have = local_free(word);
	u32 old = READ_ONCE(*tree), new;
	s32 frames;

	do {
		frames = min(tree_free(old), (s32)LLFREE_TREE_FRAMES - have);
		if (!tree_reserved(old) || frames + have < (s32)need)
			return false;
		new = tree_make(tree_free(old) - frames, tree_class(old), true);
	} while (!try_cmpxchg_acquire(tree, &old, new)); /* LLF(local_sync:A) */

	if (local_put(local, local_row(word), frames))
		return true;
	/* The reservation has changed meanwhile. */
	tree_put(llf, LLFREE_VIEW_NORMAL, local_tree(word), frames);
	return false;
}

/* The row after @frames from the start of @row, going round in its tree */
static inline unsigned long row_after(unsigned long row, unsigned int frames)
{
	return (row & ~(TREE_ROWS - 1)) |
	       ((row + (frames >> LLFREE_ROW_ORDER)) & (TREE_ROWS - 1));
}

/*
 * local_take() - take permits from a reservation
 * @min: least number, and unit
 * @max: most
 * @word: the reservation before that; its row is where the slot is to look
 *
 * If the permits are for all of that row or more, it looks next at what comes
 * after.
 *
 * Return: number of permits, a multiple of @min; 0 if there are less than that
 */
static __always_inline unsigned int local_take(u64 *local, unsigned int min,
					       unsigned int max, u64 *word)
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
			      row_after(local_row(old), take);
	} while (!try_cmpxchg_acquire(local, &old, new)); /* LLF(local_take:A) */
	*word = old;
	return take;
}

/* Remember where to look. Losing the race loses only the hint. */
static void local_set_row(u64 *local, unsigned long row)
{
	u64 old = READ_ONCE(*local);

	if (local_holds(old, row >> TREE_ROW_SHIFT) && local_row(old) != row)
		try_cmpxchg_relaxed(local, &old,
				    (old & ~LOCAL_ROW_MASK) | row);
}

/*
 * Give permits of the normal view to the tree of @row, or reserve it for a slot
 * that has given much to it: who frees much to a tree had better own it.
 */
static noinline void permits_put_tree(struct llfree *llf, int slot,
				      unsigned long row, unsigned int frames)
{
	unsigned long tree = row >> TREE_ROW_SHIFT;
	struct llfree_local *locals;
	unsigned int class;
	u32 old, new, last, count;

	if (slot < 0)
		goto out;

	locals = &llf->locals[slot];
	last = READ_ONCE(locals->last_put);
	count = put_same_tree(last, tree) ? put_count(last) + 1 : 1;
	if (count < PUTS_TO_RESERVE) {
		WRITE_ONCE(locals->last_put, put_make(tree, count));
		goto out;
	}
	WRITE_ONCE(locals->last_put, put_make(tree, 0));

	old = READ_ONCE(llf->trees[LLFREE_VIEW_NORMAL][tree]);
	do {
		class = tree_class(old);
		if (tree_reserved(old) || class >= llf->policy->nr_classes ||
		    tree_free(old) < 0)
			goto out;
		new = tree_make(0, class, true);
	} while (!try_cmpxchg_acquire(&llf->trees[LLFREE_VIEW_NORMAL][tree],
				      &old, new)); /* LLF(tree_reserve:A) */
	local_release(llf, xchg(&locals->reserved[class],
				local_make(tree_free(old) + frames, row)));
	return;
out:
	spare_note(llf, tree_give(llf, LLFREE_VIEW_NORMAL, tree, frames), frames);
}

/*
 * Give permits of the normal view, of frames in @row and after, to a slot that
 * has the tree, or to the tree.
 */
static __always_inline void permits_put(struct llfree *llf, int slot,
					unsigned long row, unsigned int frames)
{
	u64 *local, *end;

	/* Nobody need look who has a tree that nobody has. */
	if (likely(slot >= 0) &&
	    tree_reserved(READ_ONCE(llf->trees[LLFREE_VIEW_NORMAL]
				    [row >> TREE_ROW_SHIFT]))) {
		local = llf->locals[slot].reserved;
		end = local + llf->policy->nr_classes;
		for (; local < end; local++) {
			if (local_holds(READ_ONCE(*local), row >> TREE_ROW_SHIFT)) {
				if (local_put(local, row, frames))
					return;
				break;
			}
		}
	}
	permits_put_tree(llf, slot, row, frames);
}

/* ---- Lower level: children and rows ---- */

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

/* Give back permits of a child that turned out to have no bits. */
static noinline unsigned int child_give_back(struct llfree *llf,
					     unsigned long child,
					     unsigned int frames)
{
	return child_give(llf, child, frames, 0);
}

/*
 * child_undone() - account for frames that went back to a child
 * @view: the view in which they were taken
 * @given: what child_give_back() returned
 *
 * Another search may have missed a block of any order, for want of these frames.
 *
 * Return: permits of @view that the caller no longer has, since the frames went
 *	to another view; the other view was given permits for them
 */
static unsigned int child_undone(struct llfree *llf, unsigned long child,
				 unsigned int frames, unsigned int view,
				 unsigned int given, struct llfree_delta *delta)
{
	unsigned int now = child_given(given, frames, delta);

	if (now < LLFREE_ALLOC_VIEWS && !hint_idle(READ_ONCE(llf->hint[now])))
		hint_raise(llf, LLFREE_MAX_ORDER, now);
	if (likely(now == view))
		return 0;
	if (now < LLFREE_ALLOC_VIEWS)
		tree_put(llf, now, child >> TREE_CHILD_SHIFT, frames);
	return frames;
}

/*
 * row_set() - set bits of a row of which the caller has permits
 *
 * Return: false, and *@row the current row, if it is no longer *@row
 */
static bool row_set(struct llfree *llf, unsigned long row, u64 *old, u64 mask)
{
	/* LLF(get_row:A) */
	return try_cmpxchg_acquire(&llf->rows[row], old, *old | mask);
}

/* Set all bits of @nr rows of which the caller has permits, or none. */
static bool rows_fill(struct llfree *llf, unsigned long row, unsigned int nr)
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
	/* The frames are ours, so nobody else changes these rows. */
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
 * Set all bits of a child of which the caller has all permits. Nobody else can
 * set one then, so there is nothing to compare with.
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
 * @given: what child_give_back() returned for those of them that have no bits
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
			p->given = child_give_back(llf, p->row >> CHILD_ROW_SHIFT,
						   left);
	}
	preempt_enable();
	return p->taken - left;
}

/*
 * child_settle() - account for what child_alloc() did
 * @used: what it returned
 *
 * Return: permits that the caller no longer has, as child_undone()
 */
static __always_inline unsigned int
child_settle(struct llfree *llf, const struct piece *p, unsigned int used,
	     struct llfree_delta *delta)
{
	child_taken(p->before, p->taken, delta);
	if (likely(used == p->taken))
		return 0;
	return child_undone(llf, p->row >> CHILD_ROW_SHIFT, p->taken - used,
			    child_view(p->before), p->given, delta);
}

/*
 * child_get_row() - get blocks of up to a row from a child
 * @row: where to start
 * @max: most frames to take; at least one block
 *
 * Only takes permits once it has seen a block, so that a search for a large
 * block does not hide small ones from others.
 *
 * Return: row in which @g->mask was taken, or negative
 */
static __always_inline long child_get_row(struct llfree *llf, struct get *g,
					  unsigned long row, unsigned int max)
{
	struct piece p = {
		.child = &llf->children[row >> CHILD_ROW_SHIFT],
		.order = g->order, .views = BIT(g->view),
	};
	const unsigned int order = g->order;
	unsigned int i, lost;
	u64 runs;

	for (i = 0; i < LLFREE_CHILD_ROWS; i++) {
		p.row = row;
		p.word = READ_ONCE(llf->rows[row]);
		runs = row_runs(p.word, order);
		if (!runs)
			goto next;

		p.mask = runs_lowest(runs, order, min(g->nr, max >> order));
		p.max = hweight64(p.mask);
		g->taken = child_alloc(llf, &p, CHILD_TAKE, row_set_blocks);
		if (!p.taken)
			return -1;
		lost = child_settle(llf, &p, g->taken, g->delta);
		g->lost += lost;
		max -= lost;
		if (likely(g->taken)) {
			g->mask = p.mask;
			return row;
		}
		if (max < (1U << order))
			return -1;
next:
		row = (row & ~(LLFREE_CHILD_ROWS - 1)) |
		      ((row + 1) & (LLFREE_CHILD_ROWS - 1));
	}
	return -1;
}

/* child_get_row() for orders of more than a row and less than a child */
static long child_get_rows(struct llfree *llf, struct get *g,
			   unsigned long child, unsigned int max)
{
	const unsigned int frames = get_frames(g), nr = frames >> LLFREE_ROW_ORDER;
	unsigned long first = child << CHILD_ROW_SHIFT;
	struct piece p = {
		.child = &llf->children[child], .order = g->order,
		.views = BIT(g->view), .max = frames,
	};
	unsigned int lost;

	for (p.row = first; p.row < first + LLFREE_CHILD_ROWS; p.row += nr) {
		if (!rows_free(llf, p.row, nr))
			continue;
		g->taken = child_alloc(llf, &p, CHILD_TAKE, rows_set_all);
		if (!p.taken)
			return -1;
		lost = child_settle(llf, &p, g->taken, g->delta);
		if (g->taken)
			return p.row;
		g->lost += lost;
		max -= lost;
		if (max < frames)
			return -1;
	}
	return -1;
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
		given = child_give_back(llf, child + i, LLFREE_CHILD_FRAMES);
		lost[i] += child_undone(llf, child + i, LLFREE_CHILD_FRAMES,
					view[i], given, delta);
	}
	preempt_enable();
	return false;
}

/* child_get_huge() for a search */
static long child_get_children(struct llfree *llf, struct get *g,
			       unsigned long child)
{
	unsigned int view[2], lost[2] = { };
	bool ok;

	ok = child_get_huge(llf, child, get_frames(g) >> LLFREE_CHILD_ORDER,
			    BIT(g->view), view, lost, g->delta);
	g->lost += lost[0] + lost[1];
	if (!ok)
		return -1;
	g->taken = get_frames(g);
	return child << CHILD_ROW_SHIFT;
}

/*
 * llfree_shuffle(): which of the entirely free children of a tree to start with.
 * Depends on the key and on the children that are used; by steps that come to each
 * child once.
 */
static noinline unsigned long shuffled_child(const struct llfree *llf,
					     unsigned long tree, unsigned int order)
{
	const u16 *children = &llf->children[tree << TREE_CHILD_SHIFT];
	const unsigned int pair = order > LLFREE_CHILD_ORDER;
	u64 state = READ_ONCE(llf->shuffle_first) + tree;
	unsigned int i, child, step;

	/* A product alone is linear: the key would shift the order, not change it. */
	for (i = 0; i < LLFREE_TREE_CHILDREN; i++) {
		state = hash_64(state ^ READ_ONCE(children[i]), 64);
		state ^= state >> 32;
	}
	state = hash_64(state, 2 * TREE_CHILD_SHIFT);
	step = state >> TREE_CHILD_SHIFT | 1;
	for (i = 0; i < LLFREE_TREE_CHILDREN; i++) {
		child = (state + i * step) % LLFREE_TREE_CHILDREN;
		if (child_whole(READ_ONCE(children[child])) &&
		    child_whole(READ_ONCE(children[child ^ pair])))
			break;
	}
	return (tree << TREE_CHILD_SHIFT) + child;
}

/*
 * Where to look after a search took what @g says from @row. If blocks are shuffled,
 * that is no first row of a child, and so quick_huge() leaves the next to a search.
 */
static inline unsigned long row_next(const struct llfree *llf,
				     const struct get *g, unsigned long row)
{
	row = row_after(row, g->taken);
	if (g->order >= LLFREE_CHILD_ORDER && unlikely(READ_ONCE(llf->shuffle_step)))
		row |= 1;
	return row;
}

/*
 * tree_get() - get blocks from a tree
 * @row: where to start
 * @max: permits that the caller has
 *
 * Small blocks come from entirely free children only if there are no others, or
 * if it starts there; with @g->spare not even then.
 *
 * Return: first row of what was taken, or negative
 */
static __always_inline long tree_get(struct llfree *llf, struct get *g,
				     unsigned long row, unsigned int max)
{
	unsigned long tree = row >> TREE_ROW_SHIFT;
	unsigned long child = row >> CHILD_ROW_SHIFT;
	unsigned int frames = get_frames(g);
	unsigned int held, end, i;
	long ret = -1;
	u16 word;

	if (g->order >= LLFREE_CHILD_ORDER) {
		if (unlikely(READ_ONCE(llf->shuffle_step)))
			child = shuffled_child(llf, tree, g->order);
		child = ALIGN_DOWN(child, frames >> LLFREE_CHILD_ORDER);
	}

	end = LLFREE_TREE_CHILDREN;
	for (i = 0; i < end; i++) {
		word = READ_ONCE(llf->children[child]);
		if (child_view(word) != g->view ||
		    child_free(word) < min_t(u32, frames, LLFREE_CHILD_FRAMES))
			goto next;
		if (child_free(word) == LLFREE_CHILD_FRAMES &&
		    g->order < LLFREE_CHILD_ORDER && i < LLFREE_TREE_CHILDREN &&
		    (i || g->spare)) {
			/* Later, when all have been seen */
			if (g->spare)
				g->spared = true;
			else
				end = 2 * LLFREE_TREE_CHILDREN;
			goto next;
		}

		held = max - g->lost;
		if (g->order <= LLFREE_ROW_ORDER)
			ret = child_get_row(llf, g, row, held);
		else if (g->order < LLFREE_CHILD_ORDER)
			ret = child_get_rows(llf, g, child, held);
		else
			ret = child_get_children(llf, g, child);
		if (ret >= 0)
			return ret;
		if (unlikely(max < g->lost + frames))
			return -1;
next:
		if (g->order > LLFREE_CHILD_ORDER)
			child += (frames >> LLFREE_CHILD_ORDER) - 1;
		child = (tree << TREE_CHILD_SHIFT) |
			((child + 1) & (LLFREE_TREE_CHILDREN - 1));
		row = child << CHILD_ROW_SHIFT;
		if (g->order > LLFREE_CHILD_ORDER)
			i += (frames >> LLFREE_CHILD_ORDER) - 1;
	}
	return -1;
}

/*
 * child_peek() - does a child seem to have a block, and in which row?
 * @stuck: set if the rows have one but the permits are out, which means that
 *	somebody is between two steps; may be NULL for less than a child
 */
static long child_peek(const struct llfree *llf, const struct get *g,
		       unsigned long child, bool *stuck)
{
	unsigned long first = child << CHILD_ROW_SHIFT, row;
	unsigned int frames = get_frames(g), nr;
	u16 word = READ_ONCE(llf->children[child]);

	if (child_view(word) != g->view)
		return -1;
	if (g->order >= LLFREE_CHILD_ORDER) {
		nr = frames >> LLFREE_CHILD_ORDER;
		if (child & (nr - 1))
			return -1;
		while (nr--) {
			word = READ_ONCE(llf->children[child + nr]);
			if (child_view(word) != g->view)
				return -1;
			if (child_free(word) == LLFREE_CHILD_FRAMES)
				continue;
			if (!rows_free(llf, (child + nr) << CHILD_ROW_SHIFT,
				       LLFREE_CHILD_ROWS))
				return -1;
			*stuck = true;
		}
		return first;
	}
	if (child_free(word) < frames && !stuck)
		return -1;

	nr = g->order <= LLFREE_ROW_ORDER ? 1 :
		1U << (g->order - LLFREE_ROW_ORDER);
	for (row = first; row < first + LLFREE_CHILD_ROWS; row += nr) {
		if (nr == 1 ? !row_runs(READ_ONCE(llf->rows[row]), g->order) :
			      !rows_free(llf, row, nr))
			continue;
		if (child_free(word) < frames)
			*stuck = true;
		return row;
	}
	return -1;
}

/* tree_peek() for one or two whole children */
static long tree_peek_huge(const struct llfree *llf, const struct get *g,
			   unsigned long tree)
{
	const u16 *child = &llf->children[tree << TREE_CHILD_SHIFT];
	const u16 whole = child_make(LLFREE_CHILD_FRAMES, g->view);
	const unsigned int nr = get_frames(g) >> LLFREE_CHILD_ORDER;
	unsigned int i;

	for (i = 0; i < LLFREE_TREE_CHILDREN; i += nr) {
		if ((READ_ONCE(child[i]) & ~CHILD_REPORTED) == whole &&
		    (READ_ONCE(child[i + nr - 1]) & ~CHILD_REPORTED) == whole)
			return ((tree << TREE_CHILD_SHIFT) + i) <<
			       CHILD_ROW_SHIFT;
	}
	return -1;
}

/*
 * The same for a tree, without looking at who is between two steps. Prefers
 * children that are not entirely free, and with @g->spare finds no others.
 */
static long tree_peek(const struct llfree *llf, const struct get *g,
		      unsigned long tree)
{
	unsigned long child = tree << TREE_CHILD_SHIFT;
	unsigned int i;
	long whole = -1, row;

	if (g->order >= LLFREE_CHILD_ORDER)
		return tree_peek_huge(llf, g, tree);

	for (i = 0; i < LLFREE_TREE_CHILDREN; i++, child++) {
		row = child_peek(llf, g, child, NULL);
		if (row < 0)
			continue;
		if (child_free(READ_ONCE(llf->children[child])) <
		    LLFREE_CHILD_FRAMES)
			return row;
		if (whole < 0 && !g->spare)
			whole = row;
	}
	return whole;
}

/* ---- Get: from the own reservation to the last frame anywhere ---- */

static inline u64 *get_local(const struct llfree *llf, const struct get *g)
{
	if (g->slot < 0 || g->view != LLFREE_VIEW_NORMAL)
		return NULL;
	return &llf->locals[g->slot].reserved[g->class];
}

/*
 * get_settle() - after tree_get() with @held permits, how many are left over
 *
 * Resets what @g counts for the next attempt.
 */
static inline unsigned int get_settle(struct get *g, unsigned int held,
				      bool success)
{
	held -= min(held, g->lost + (success ? g->taken : 0));
	g->lost = 0;
	return held;
}

/* From the tree that the slot has reserved */
static __always_inline long get_reserved(struct llfree *llf, struct get *g,
					 u64 *local)
{
	const unsigned int frames = get_frames(g);
	unsigned int held, left;
	unsigned long row;
	u64 word;
	long ret;

	held = local_take(local, frames, g->nr * frames, &word);
	while (unlikely(!held)) {
		word = READ_ONCE(*local);
		if (!(word & LOCAL_PRESENT))
			return -1;
		if (local_free(word) < frames &&
		    !local_sync(llf, local, word, frames))
			return -1;
		held = local_take(local, frames, g->nr * frames, &word);
	}

	row = local_row(word);
	ret = tree_get(llf, g, row, held);
	left = get_settle(g, held, ret >= 0);
	if (likely(ret >= 0)) {
		if (unlikely(left) && !local_put(local, ret, left))
			tree_put(llf, LLFREE_VIEW_NORMAL,
				 ret >> TREE_ROW_SHIFT, left);
		if (ret != row)
			local_set_row(local, row_next(llf, g, ret));
		return ret;
	}
	/* To the tree, lest we take the same ones again. */
	if (left)
		tree_put(llf, LLFREE_VIEW_NORMAL, row >> TREE_ROW_SHIFT, left);
	return -1;
}

/* Does a class keep frames of another lifetime than those we are to get? */
static bool class_foreign(const struct llfree *llf, const struct get *g,
			  unsigned int class)
{
	return class != g->class && class != LLFREE_CLASS_NONE &&
	       !(llf->policy->mates[g->class] & BIT(class));
}

/* Note for the caller that frames came from a tree of another class. */
static void get_note_class(const struct llfree *llf, struct get *g,
			   unsigned int class, unsigned int did)
{
	if (g->view != LLFREE_VIEW_NORMAL || !class_foreign(llf, g, class))
		return;
	g->delta->did |= did;
	g->delta->old_class = class;
}

/* Frames in entirely free children of a tree */
static unsigned int tree_whole(const struct llfree *llf, unsigned long tree)
{
	unsigned long child = tree << TREE_CHILD_SHIFT;
	unsigned int i, nr = 0;

	for (i = 0; i < LLFREE_TREE_CHILDREN; i++)
		nr += child_whole(READ_ONCE(llf->children[child + i]));
	return nr * LLFREE_CHILD_FRAMES;
}

/*
 * How well a tree with some free frames suits. That of the default policy is
 * called in a way that needs no indirect call, which is dear on many CPUs.
 */
static __always_inline enum llfree_level
tree_rate(const struct llfree *llf, const struct get *g, u32 word)
{
	unsigned int free = min_t(u32, tree_free(word), LLFREE_TREE_FRAMES);

	if (g->view != LLFREE_VIEW_NORMAL)
		return LLFREE_LEVEL_STEAL;
	if (likely(llf->policy == &llfree_default_policy))
		return default_rate(g->class, tree_class(word), free);
	return llf->policy->rate(g->class, tree_class(word), free);
}

/* The same; with @g->spare, without the entirely free children of the tree */
static __always_inline enum llfree_level
tree_level(const struct llfree *llf, const struct get *g, unsigned long tree,
	   u32 word)
{
	if (g->spare && tree_free(word) >= (s32)LLFREE_CHILD_FRAMES) {
		word -= tree_whole(llf, tree) << TREE_FREE_SHIFT;
		if (tree_free(word) < (s32)get_frames(g))
			return LLFREE_LEVEL_REJECT;
	}
	return tree_rate(llf, g, word);
}

/* Reserve a tree of @level, get from it, and make it the slot's tree. */
static long get_reserve(struct llfree *llf, struct get *g, u64 *local,
			unsigned long tree, unsigned long row,
			enum llfree_level level)
{
	u32 *word = &llf->trees[LLFREE_VIEW_NORMAL][tree];
	u32 old = READ_ONCE(*word);
	unsigned int left, class;
	long ret;

	do {
		if (tree_reserved(old) || tree_free(old) < (s32)get_frames(g) ||
		    tree_level(llf, g, tree, old) != level)
			return -1;
	} while (!try_cmpxchg_acquire(word, &old,
				      tree_make(0, g->class, true)));
	/* LLF(tree_reserve:A) */

	class = tree_class(old);
	ret = tree_get(llf, g, row, tree_free(old));
	left = get_settle(g, tree_free(old), ret >= 0);
	if (ret < 0) {
		tree_unreserve(llf, tree, left, class);
		return -1;
	}

	g->delta->did |= LLFREE_DID_RESERVE;
	get_note_class(llf, g, class, LLFREE_DID_DEMOTE);
	local_release(llf, xchg(local, local_make(left, row_next(llf, g, ret))));
	return ret;
}

/* Take no more than needed from a tree. */
static long get_direct(struct llfree *llf, struct get *g, unsigned long tree,
		       unsigned long row, unsigned int class)
{
	unsigned int frames = get_frames(g), held;
	long ret;

	held = tree_take(llf, g->view, tree, frames, g->nr * frames, class);
	if (!held)
		return -1;
	ret = tree_get(llf, g, row, held);
	held = get_settle(g, held, ret >= 0);
	if (held)
		tree_put(llf, g->view, tree, held);
	return ret;
}

/* First row of the first entirely free child of a tree, or negative */
static long tree_free_child(const struct llfree *llf, unsigned long tree)
{
	unsigned long child = tree << TREE_CHILD_SHIFT;
	unsigned int i;

	for (i = 0; i < LLFREE_TREE_CHILDREN; i++, child++)
		if (child_whole(READ_ONCE(llf->children[child])))
			return child << CHILD_ROW_SHIFT;
	return -1;
}

/* First row to use of an entirely free tree */
static unsigned long tree_first_row(const struct llfree *llf, unsigned long tree)
{
	if (unlikely(READ_ONCE(llf->shuffle_step)))
		return shuffled_child(llf, tree, 0) << CHILD_ROW_SHIFT;
	return tree << TREE_ROW_SHIFT;
}

/* Try one tree, if its level is in the range. */
static long get_tree(struct llfree *llf, struct get *g, unsigned long tree,
		     enum llfree_level first, enum llfree_level last)
{
	u32 word = READ_ONCE(llf->trees[g->view][tree]);
	unsigned int class = tree_class(word);
	u64 *local = get_local(llf, g);
	enum llfree_level level;
	unsigned long row;
	bool take_over;
	long ret;

	if (tree_reserved(word) || tree_free(word) < (s32)get_frames(g))
		return -1;
	level = tree_level(llf, g, tree, word);
	if (level < first || level > last)
		return -1;

	ret = -1;
	take_over = level < LLFREE_LEVEL_STEAL;
	if (level > LLFREE_LEVEL_FREE && g->view == LLFREE_VIEW_NORMAL &&
	    class_foreign(llf, g, class)) {
		/* An entirely free child is nobody's: start there. */
		if (g->order < LLFREE_CHILD_ORDER)
			ret = tree_free_child(llf, tree);
		if (ret >= 0)
			take_over = true;
		else if (g->flags & LLFREE_GET_NOFRAGMENT)
			return -1;
	}
	if (ret < 0 && tree_free(word) == LLFREE_TREE_FRAMES)
		ret = tree_first_row(llf, tree);
	else if (ret < 0)
		ret = tree_peek(llf, g, tree);
	if (ret < 0)
		return -1;
	row = ret;

	if (local && take_over)
		return get_reserve(llf, g, local, tree, row, level);

	ret = get_direct(llf, g, tree, row,
			 take_over ? g->class : LLFREE_CLASS_NONE);
	if (ret >= 0)
		get_note_class(llf, g, class, take_over ? LLFREE_DID_DEMOTE :
							  LLFREE_DID_STEAL);
	return ret;
}

/* Try @nr trees from @tree on, going round at the ends of [@low, @high). */
static long get_trees(struct llfree *llf, struct get *g, unsigned long tree,
		      unsigned long low, unsigned long high,
		      enum llfree_level first, enum llfree_level last)
{
	unsigned long i;
	long ret;

	for (i = low; i < high; i++) {
		ret = get_tree(llf, g, tree, first, last);
		if (ret >= 0)
			return ret;
		if (++tree == high)
			tree = low;
	}
	return -1;
}

/*
 * From trees that slots have reserved: what others put there, and locals.
 * @own: trees of the class of the request and its mates, else of the others
 */
static long get_steal(struct llfree *llf, struct get *g, bool own)
{
	const unsigned int frames = get_frames(g);
	const unsigned int nr_slots = llfree_nr_slots(llf);
	unsigned int slot, class, held;
	unsigned long tree, row;
	u64 local;
	u32 word;
	long ret;

	for (tree = 0; tree < llf->nr_trees; tree++) {
		word = READ_ONCE(llf->trees[LLFREE_VIEW_NORMAL][tree]);
		if (!tree_reserved(word) || tree_free(word) < (s32)frames ||
		    own == class_foreign(llf, g, tree_class(word)))
			continue;
		ret = get_direct(llf, g, tree, tree << TREE_ROW_SHIFT,
				 LLFREE_CLASS_NONE);
		if (ret >= 0) {
			get_note_class(llf, g, tree_class(word),
				       LLFREE_DID_STEAL);
			return ret;
		}
	}

	for (slot = 0; slot < nr_slots; slot++) {
		for (class = 0; class < llf->policy->nr_classes; class++) {
			if (own == class_foreign(llf, g, class))
				continue;
			held = local_take(&llf->locals[slot].reserved[class],
					  frames, g->nr * frames, &local);
			if (!held)
				continue;
			row = local_row(local);
			ret = tree_get(llf, g, row, held);
			held = get_settle(g, held, ret >= 0);
			if (held)
				tree_put(llf, LLFREE_VIEW_NORMAL,
					 row >> TREE_ROW_SHIFT, held);
			if (ret >= 0) {
				get_note_class(llf, g, class, LLFREE_DID_STEAL);
				return ret;
			}
		}
	}
	return -1;
}

/*
 * get_anywhere() - look at every child, whatever the permits say
 *
 * Takes the frames and leaves their trees a debt. Goes round again if a block
 * was seen but could not be had; then either somebody else got it, or somebody
 * holds permits of it for a moment. The latter may be who we interrupted, so
 * there is a limit to that.
 *
 * A pass that saw no block proves nothing if one became free meanwhile. That block
 * may be behind the pass, and a block that was ahead of it may be allocated. The
 * hint tells of blocks that become free, and then there is another pass. Their
 * number is limited: frees of other CPUs must not keep the search here.
 */
static long get_anywhere(struct llfree *llf, struct get *g)
{
	unsigned int passes, stuck_passes = 0, vain_passes = 0, lost;
	unsigned long child, tree;
	bool seen, stuck;
	u32 gen;
	long row;

	for (passes = 0; passes < MAX_PASSES; passes++) {
		gen = hint_arm(llf, g->order, g->view);
		seen = false;
		stuck = false;
		for (child = 0; child < nr_children(llf); child++) {
			row = child_peek(llf, g, child, &stuck);
			if (row < 0)
				continue;
			seen = true;
			if (g->order <= LLFREE_ROW_ORDER)
				row = child_get_row(llf, g, row, g->nr <<
						    g->order);
			else if (g->order < LLFREE_CHILD_ORDER)
				row = child_get_rows(llf, g, child,
						     get_frames(g));
			else
				row = child_get_children(llf, g, child);
			tree = child >> TREE_CHILD_SHIFT;
			lost = g->lost;
			g->lost = 0;
			if (row >= 0)
				lost += g->taken;
			if (lost)
				tree_put(llf, g->view, tree, -(s32)lost);
			if (row >= 0) {
				get_note_class(llf, g,
					       tree_class(READ_ONCE(llf->trees[g->view][tree])),
					       LLFREE_DID_STEAL);
				return row;
			}
		}
		if (!seen && (hint_conclude(llf, g->order, g->view, gen) ||
			      ++vain_passes == MAX_VAIN_PASSES))
			break;
		if (stuck && ++stuck_passes == MAX_STUCK_PASSES)
			break;
	}
	return -1;
}

/**
 * llfree_find_order() - is there a block of this order?
 * @llf: the instance
 * @order: 0..LLFREE_MAX_ORDER
 * @view: a view below LLFREE_VIEW_ISOLATED
 *
 * Looks at all children up to the first that has one, unless the hint says that
 * there is none. If there is none, llfree_may_have_order() says so as well until
 * one becomes free.
 *
 * Context: any, also NMI; takes no lock, does not sleep.
 *
 * Return: whether one was free during the search
 */
bool llfree_find_order(struct llfree *llf, unsigned int order,
		       enum llfree_view view)
{
	const struct get g = { .order = order, .nr = 1, .view = view };
	unsigned long child;
	bool stuck;
	u32 gen = 0;

	if (!llfree_may_have_order(llf, order, view))
		return false;
	if (order)
		gen = hint_arm(llf, order, view);
	for (child = 0; child < nr_children(llf); child++)
		if (child_peek(llf, &g, child, &stuck) >= 0)
			return true;
	if (order)
		hint_conclude(llf, order, view, gen);
	return false;
}
EXPORT_SYMBOL_GPL(llfree_find_order);

/*
 * get_range() - from the tree of [@low, @high) that suits best
 *
 * Looks at each tree once, from @start on. Takes the first that is at least
 * @good, else tries the worse levels up to @last, as far as it saw them, one
 * after the other.
 */
static long get_range(struct llfree *llf, struct get *g, unsigned long start,
		      unsigned long low, unsigned long high,
		      enum llfree_level good, enum llfree_level last)
{
	const u32 *words = llf->trees[g->view];
	/* Words of trees with too few frames are below that. */
	const s32 least = get_frames(g) << TREE_FREE_SHIFT;
	unsigned long first[LLFREE_LEVEL_REJECT] __uninitialized;
	unsigned long tree = start, end = high;
	unsigned int seen = 0, level;
	/* Of a tree that was not good enough; 0 has too few frames anyway. */
	u32 word, worse = 0;
	long ret;

again:
	for (; tree < end; tree++) {
		word = READ_ONCE(words[tree]);
		if ((s32)word < least || word == worse || tree_reserved(word))
			continue;
		level = tree_rate(llf, g, word);
		if (level <= good) {
			ret = get_tree(llf, g, tree, LLFREE_LEVEL_MATCH, good);
			if (ret >= 0)
				return ret;
			continue;
		}
		worse = word;
		if (level <= last && !(seen & BIT(level))) {
			seen |= BIT(level);
			first[level] = tree;
		}
	}
	if (end != start) {
		tree = low;
		end = start;
		goto again;
	}

	for (level = good + 1; level <= last; level++) {
		if (!(seen & BIT(level)))
			continue;
		ret = get_trees(llf, g, first[level], low, high, level, level);
		if (ret >= 0)
			return ret;
	}
	return -1;
}

/*
 * Where a slot starts to look for trees: slots spread over memory, and each of
 * them takes what it gave back last before what it has never used. Classes that
 * stay where they are all start at the low end.
 */
static unsigned long slot_home(const struct llfree *llf, const struct get *g)
{
	if (g->slot < 0 || (llf->policy->low & BIT(g->class)))
		return 0;
	return llf->nr_trees * g->slot / llf->nr_slots;
}

/* From the trees near @start */
static long get_near(struct llfree *llf, struct get *g, unsigned long start)
{
	unsigned long near = llf->policy->near;
	unsigned long low = ALIGN_DOWN(start, near);

	return get_range(llf, g, start, low, min(low + near, llf->nr_trees),
			 LLFREE_LEVEL_SPARSE, LLFREE_LEVEL_FREE);
}

/*
 * What is left over in trees of the class around @start, besides their entirely
 * free children
 * @local: the slot's reservation, in whose tree nothing else was found; or NULL
 */
static long get_spare(struct llfree *llf, struct get *g, const u64 *local,
		      unsigned long start)
{
	unsigned long low = ALIGN_DOWN(start, SPARE_TREES);
	unsigned long high = min(low + SPARE_TREES, llf->nr_trees);
	const s32 frames = get_frames(g);
	/* Of a tree that does not suit. Most are full, or free like that one. */
	u32 word, other = 0;
	u8 freed = READ_ONCE(llf->freed[g->class]);
	u16 *vain = local ? &llf->locals[g->slot].spare[g->class] : NULL;
	unsigned int tries = 0;
	unsigned long tree;
	long ret = -1;

	/* Only the own tree has changed since the others were looked at. */
	if (vain && vain_same_turn(READ_ONCE(*vain), freed) &&
	    g->order >= vain_order(READ_ONCE(*vain)))
		goto out;

	/* What is put from here on begins another turn. */
	if (!(freed & FREED_SEEN))
		WRITE_ONCE(llf->freed[g->class], freed | FREED_SEEN);

	for (tree = low; tree < high; tree++) {
		word = READ_ONCE(llf->trees[LLFREE_VIEW_NORMAL][tree]);
		if (word == other || tree_free(word) < frames ||
		    tree_reserved(word))
			continue;
		if (tree_rate(llf, g, word) > LLFREE_LEVEL_SPARSE) {
			other = word;
			continue;
		}
		if (tree_level(llf, g, tree, word) > LLFREE_LEVEL_SPARSE)
			continue;
		ret = get_tree(llf, g, tree, LLFREE_LEVEL_MATCH,
			       LLFREE_LEVEL_SPARSE);
		if (ret >= 0 || ++tries == SPARE_TRIES)
			break;
	}
out:
	/* A frame that was seen and is gone does not mean that there is none. */
	if (ret < 0 && vain && (g->order || tries < SPARE_TRIES))
		WRITE_ONCE(*vain, vain_key(freed, READ_ONCE(*local)) |
				  g->order);
	/* There may be more, and nowhere else to note that. */
	if (ret >= 0 && !vain)
		WRITE_ONCE(llf->freed[g->class], freed & ~FREED_SEEN);
	return ret;
}

/*
 * From trees in use that suit, else from an entirely free one. These are taken in
 * the order of the key of llfree_shuffle(): the search goes on where the last one
 * ended, by steps that come to each tree once.
 */
static noinline long get_shuffled(struct llfree *llf, struct get *g,
				  unsigned long start)
{
	unsigned long step = llf->shuffle_step, tree, i;
	long ret;

	ret = get_range(llf, g, start, 0, llf->nr_trees, LLFREE_LEVEL_SPARSE,
			LLFREE_LEVEL_SPARSE);
	if (ret >= 0)
		return ret;

	tree = READ_ONCE(llf->shuffle_next);
	for (i = 0; i < llf->nr_trees; i++) {
		ret = get_tree(llf, g, tree, LLFREE_LEVEL_FREE, LLFREE_LEVEL_FREE);
		tree += step;
		if (tree >= llf->nr_trees)
			tree -= llf->nr_trees;
		if (ret >= 0) {
			WRITE_ONCE(llf->shuffle_next, tree);
			return ret;
		}
	}
	return -1;
}

/*
 * From the view of a request, which no slot has reservations in. The search
 * starts at the tree that the last one found something in.
 */
static long get_view(struct llfree *llf, struct get *g)
{
	unsigned long *cursor = &llf->cursor[g->view];
	unsigned long start = READ_ONCE(*cursor);
	long ret;

	ret = get_trees(llf, g, start, 0, llf->nr_trees, LLFREE_LEVEL_STEAL,
			LLFREE_LEVEL_STEAL);
	if (ret < 0)
		ret = get_anywhere(llf, g);
	if (ret >= 0 && (unsigned long)ret >> TREE_ROW_SHIFT != start)
		WRITE_ONCE(*cursor, (unsigned long)ret >> TREE_ROW_SHIFT);
	return ret;
}

/* Everything beyond the own reservation */
static noinline long get_slow(struct llfree *llf, struct get *g)
{
	unsigned long near = llf->policy->near, start, home;
	u64 *local = get_local(llf, g);
	u64 word;
	long ret;

	if (g->view != LLFREE_VIEW_NORMAL)
		return get_view(llf, g);

	home = slot_home(llf, g);
	word = local ? READ_ONCE(*local) : 0;
	start = word & LOCAL_PRESENT ? local_tree(word) : home;

	if (g->spare) {
		ret = get_spare(llf, g, local, start);
		g->spare = false;
		if (ret < 0 && local && g->spared)
			ret = get_reserved(llf, g, local);
		if (ret >= 0)
			return ret;
	}

	if (unlikely(READ_ONCE(llf->shuffle_step))) {
		ret = get_shuffled(llf, g, start);
		if (ret >= 0)
			return ret;
	}
	if (llf->nr_trees > near) {
		ret = get_near(llf, g, home);
		if (ret >= 0)
			return ret;
		/* Used up; stay where the slot has gone. */
		if (ALIGN_DOWN(start, near) != ALIGN_DOWN(home, near)) {
			ret = get_near(llf, g, start);
			if (ret >= 0)
				return ret;
		}
		ret = get_range(llf, g, start, 0, llf->nr_trees,
				LLFREE_LEVEL_FREE, LLFREE_LEVEL_STEAL);
	} else {
		ret = get_range(llf, g, home, 0, llf->nr_trees,
				LLFREE_LEVEL_SPARSE, LLFREE_LEVEL_STEAL);
	}
	if (ret >= 0)
		return ret;

	ret = get_steal(llf, g, true);
	if (ret >= 0 || (g->flags & LLFREE_GET_NOFRAGMENT))
		return ret;
	ret = get_steal(llf, g, false);
	return ret >= 0 ? ret : get_anywhere(llf, g);
}

static __always_inline long get_any(struct llfree *llf, struct get *g)
{
	u64 *local = get_local(llf, g);
	long ret;

	if (local) {
		ret = get_reserved(llf, g, local);
		if (likely(ret >= 0))
			return ret;
	}
	if (g->flags & LLFREE_GET_RESERVED)
		return -1;
	return get_slow(llf, g);
}

static bool slot_valid(const struct llfree *llf, int slot)
{
	/*
	 * A caller with a slot has read the number by llfree_nr_slots(), and it does
	 * not change any more. Without a slot, any number will do.
	 */
	return slot >= LLFREE_NO_SLOT && slot < (int)data_race(llf->nr_slots);
}

static bool request_valid(const struct llfree *llf,
			  const struct llfree_request *req)
{
	return req->order <= LLFREE_MAX_ORDER &&
	       req->class < llf->policy->nr_classes &&
	       req->view < LLFREE_ALLOC_VIEWS &&
	       !(req->flags & ~(LLFREE_GET_NOFRAGMENT | LLFREE_GET_RESERVED)) &&
	       slot_valid(llf, req->slot);
}

static void get_init(const struct llfree *llf, struct get *g,
		     const struct llfree_request *req, unsigned int nr,
		     struct llfree_delta *delta)
{
	const u64 *local;

	g->order = req->order;
	g->nr = nr;
	g->class = req->class;
	g->view = req->view;
	g->flags = req->flags;
	g->slot = req->slot;
	g->spared = false;
	g->lost = 0;
	g->delta = delta;
	local = get_local(llf, g);
	g->spare = req->order < LLFREE_CHILD_ORDER &&
		   req->view == LLFREE_VIEW_NORMAL &&
		   spare_hoped(llf, req->slot, req->class, req->order,
			       local ? READ_ONCE(*local) : 0);
}

/* A block from anywhere */
static noinline long get_one(struct llfree *llf,
			     const struct llfree_request *req,
			     struct llfree_delta *delta)
{
	struct get g __uninitialized;
	long row;

	get_init(llf, &g, req, 1, delta);
	row = get_any(llf, &g);
	if (unlikely(row < 0))
		return -ENOMEM;
	if (g.order <= LLFREE_ROW_ORDER)
		return row_frame(llf, row) + __ffs64(g.mask);
	return row_frame(llf, row);
}

/* Give permits of the tree of @row back to where they came from, or to the tree. */
static void quick_back(struct llfree *llf, u64 *local, unsigned long row,
		       unsigned int frames)
{
	if (frames && !local_put(local, row, frames))
		tree_put(llf, LLFREE_VIEW_NORMAL, row >> TREE_ROW_SHIFT, frames);
}

/* llfree_get_quick() fails, with permits of the tree of @row */
static noinline long quick_fail(struct llfree *llf, u64 *local,
				unsigned long row, unsigned int frames,
				struct llfree_delta *delta)
{
	*delta = (struct llfree_delta){ };
	quick_back(llf, local, row, frames);
	return -EAGAIN;
}

/* quick_fail() where child_alloc() set no bits for @p */
static __always_inline long quick_undo(struct llfree *llf, u64 *local,
				       unsigned long row, const struct piece *p,
				       struct llfree_delta *delta)
{
	unsigned int lost;

	if (!p->taken)
		return quick_fail(llf, local, row, p->max, delta);
	*delta = (struct llfree_delta){ };
	lost = child_settle(llf, p, 0, delta);
	quick_back(llf, local, row, p->max - lost);
	return -EAGAIN;
}

/* llfree_get_quick() for blocks of up to a row */
static noinline long quick_row(struct llfree *llf, unsigned int slot,
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

	if (unlikely(!local_take(local, frames, frames, &word)))
		return quick_fail(llf, local, 0, 0, delta);
	row = local_row(word);
	p.child = &llf->children[row >> CHILD_ROW_SHIFT];
	p.before = READ_ONCE(*p.child);
	if (unlikely(child_whole(p.before) &&
		     spare_hoped(llf, slot, class, order, word)))
		goto fail;

	p.row = row;
	for (;;) {
		p.word = READ_ONCE(llf->rows[p.row]);
		p.mask = row_runs(p.word, order);
		if (likely(p.mask))
			break;
		if (unlikely(!(++p.row & (LLFREE_CHILD_ROWS - 1))))
			goto fail;
	}

	if (unlikely(!child_alloc(llf, &p, CHILD_TAKE_SEEN, row_set_first)))
		return quick_undo(llf, local, row, &p, delta);

	if (p.row != row)
		local_set_row(local, row_after(p.row, frames));
	/* 1 if all of it was free */
	*whole = child_free(p.before) / LLFREE_CHILD_FRAMES;
	return row_frame(llf, p.row) + __ffs64(p.mask);
fail:
	return quick_fail(llf, local, row, frames, delta);
}

/* llfree_get_quick() for blocks of several rows of a child */
static noinline long quick_rows(struct llfree *llf, unsigned int slot,
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

	if (unlikely(!local_take(local, frames, frames, &word)))
		return quick_fail(llf, local, 0, 0, delta);
	row = local_row(word);
	p.child = &llf->children[row >> CHILD_ROW_SHIFT];
	p.before = READ_ONCE(*p.child);
	if (unlikely((row & (rows - 1)) || !rows_free(llf, row, rows) ||
		     (child_whole(p.before) &&
		      spare_hoped(llf, slot, class, order, word))))
		return quick_fail(llf, local, row, frames, delta);

	p.row = row;
	if (unlikely(!child_alloc(llf, &p, CHILD_TAKE_SEEN, rows_set_all)))
		return quick_undo(llf, local, row, &p, delta);

	*whole = child_free(p.before) / LLFREE_CHILD_FRAMES;
	return row_frame(llf, row);
}

/* llfree_get_quick() for one or two whole children */
static noinline long quick_huge(struct llfree *llf, unsigned int slot,
				unsigned int order, unsigned int class,
				unsigned int *whole, struct llfree_delta *delta)
{
	u64 *local = &llf->locals[slot].reserved[class];
	const unsigned int frames = 1U << order;
	const unsigned int nr = frames >> LLFREE_CHILD_ORDER;
	u64 word = READ_ONCE(*local);
	unsigned long row = local_row(word);
	u16 *child = &llf->children[row >> CHILD_ROW_SHIFT];
	unsigned int view[2], lost[2] = { };

	*delta = (struct llfree_delta){ };
	/* Often there is none; that is seen before anything is taken. */
	if (row & (nr * LLFREE_CHILD_ROWS - 1) ||
	    !child_whole(READ_ONCE(child[0])) ||
	    !child_whole(READ_ONCE(child[nr - 1])) ||
	    !local_take(local, frames, frames, &word))
		return -EAGAIN;
	row = local_row(word);
	if (likely(!(row & (nr * LLFREE_CHILD_ROWS - 1)) &&
		   child_get_huge(llf, row >> CHILD_ROW_SHIFT, nr,
				  BIT(LLFREE_VIEW_NORMAL), view, lost, delta))) {
		*whole = nr;
		return row_frame(llf, row);
	}
	quick_back(llf, local, row, frames - lost[0] - lost[1]);
	return -EAGAIN;
}

/**
 * llfree_get_quick() - allocate a block where the slot found the last one
 * @llf: the instance
 * @slot: below the number of slots of the instance
 * @order: 0..LLFREE_MAX_ORDER
 * @class: below the number of classes of the policy
 * @whole: set to how many entirely free children are so no longer, if a block is
 *	returned
 * @delta: set to what changed, if none is; need not be initialised, and says nothing
 *	otherwise
 *
 * What llfree_get() mostly comes to in the view that everybody sees, without what it
 * takes to tell of all else that may have happened: there are the frames of the block
 * less, and @whole children. Whatever does not go straight is left to who knows all
 * the cases. Arguments are not checked.
 *
 * Context: any, also NMI; takes no lock, does not sleep.
 *
 * Return: first frame of the block, aligned to its size; -EAGAIN if
 *	llfree_get_search() has to look further
 */
long llfree_get_quick(struct llfree *llf, unsigned int slot, unsigned int order,
		      unsigned int class, unsigned int *whole,
		      struct llfree_delta *delta)
{
	if (order <= LLFREE_ROW_ORDER)
		return quick_row(llf, slot, order, class, whole, delta);
	if (order < LLFREE_CHILD_ORDER)
		return quick_rows(llf, slot, order, class, whole, delta);
	return quick_huge(llf, slot, order, class, whole, delta);
}
EXPORT_SYMBOL_GPL(llfree_get_quick);

/**
 * llfree_get_search() - allocate a block where llfree_get_quick() did not find one
 * @llf: the instance
 * @req: what is wanted
 * @delta: what changed is added here; may be NULL
 *
 * The rest of llfree_get(), and all of it without a slot or for other views.
 *
 * Context: any, also NMI; takes no lock, does not sleep.
 *
 * Return: as llfree_get()
 */
long llfree_get_search(struct llfree *llf, const struct llfree_request *req,
		       struct llfree_delta *delta)
{
	struct llfree_delta unused __uninitialized;

	if (unlikely(!request_valid(llf, req)))
		return -EINVAL;
	return get_one(llf, req, delta_or(delta, &unused));
}
EXPORT_SYMBOL_GPL(llfree_get_search);

/**
 * llfree_get() - allocate a block
 * @llf: the instance
 * @req: what is wanted
 * @delta: what changed is added here; may be NULL
 *
 * Looks first at what the slot has reserved, then, for less than a child, at what
 * is left over in other trees of the class before it begins an entirely free
 * child of its own, then at other trees in the order that the policy gives them,
 * then at what other slots have reserved, and last at every child.
 * LLFREE_GET_NOFRAGMENT and LLFREE_GET_RESERVED make it stop before.
 *
 * Context: any, also NMI; takes no lock, does not sleep.
 *
 * Return: first frame of the block, aligned to its size; -ENOMEM if at some
 *	moment there was no such block, or other CPUs were faster in each of
 *	several passes over all children; -EINVAL if @req asks for what cannot be
 */
long llfree_get(struct llfree *llf, const struct llfree_request *req,
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
		frame = llfree_get_quick(llf, req->slot, req->order, req->class,
					 &whole, &quick);
		if (likely(frame >= 0)) {
			delta->frames[LLFREE_VIEW_NORMAL] -= 1 << req->order;
			delta->huge[LLFREE_VIEW_NORMAL] -= whole;
			return frame;
		}
		delta_add(delta, &quick);
	}
	return get_one(llf, req, delta);
}
EXPORT_SYMBOL_GPL(llfree_get);

/**
 * llfree_get_bulk() - allocate several blocks of one row at once
 * @llf: the instance
 * @req: what is wanted; the order is at most LLFREE_ROW_ORDER
 * @nr: most blocks wanted
 * @mask: bits of the frames that were allocated, counted from the frame that
 *	is returned
 * @delta: what changed is added here; may be NULL
 *
 * Costs as much as one llfree_get(). May return fewer blocks than wanted though
 * there are more.
 *
 * Context: any, also NMI; takes no lock, does not sleep.
 *
 * Return: first frame of the row, aligned to LLFREE_ROW_FRAMES; -ENOMEM if
 *	there is no block of the order; -EINVAL for bad arguments
 */
long llfree_get_bulk(struct llfree *llf, const struct llfree_request *req,
		     unsigned int nr, u64 *mask, struct llfree_delta *delta)
{
	struct llfree_delta unused __uninitialized;
	struct get g __uninitialized;
	long row;

	if (unlikely(!request_valid(llf, req) || !nr ||
		     req->order > LLFREE_ROW_ORDER))
		return -EINVAL;

	nr = min_t(unsigned int, nr, LLFREE_ROW_FRAMES >> req->order);
	get_init(llf, &g, req, nr, delta_or(delta, &unused));
	row = get_any(llf, &g);
	if (unlikely(row < 0))
		return -ENOMEM;
	*mask = g.mask;
	return row_frame(llf, row);
}
EXPORT_SYMBOL_GPL(llfree_get_bulk);

/*
 * How many blocks there are to be had in the rest of the child, at most @max
 * @row: first row to look at; it is set to the first one that has any
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
		runs = row_runs(READ_ONCE(llf->rows[at]), order);
		if (!runs)
			continue;
		if (!nr)
			*row = at;
		nr += hweight64(runs);
	}
	return min(nr, max);
}

/*
 * Where a slot goes on in its tree for blocks of several rows: in this child if
 * it has any left, else in the next one that has and is not entirely free.
 * @local: the reservation before the permits for @max were taken
 *
 * Return: how many there seem to be, at most @max; 0 if there are none up to the
 *	end of the tree, or if it would begin a child while there is hope of others
 */
static __always_inline unsigned int
rows_find(const struct llfree *llf, const struct llfree_request *req,
	  unsigned long *row, unsigned int max, u64 local)
{
	const unsigned long first = *row;
	unsigned int nr;
	u16 word;

	do {
		word = READ_ONCE(llf->children[*row >> CHILD_ROW_SHIFT]);
		if (child_view(word) != LLFREE_VIEW_NORMAL)
			goto next;
		if (child_whole(word)) {
			if (*row != first)
				goto next;
			if (spare_hoped(llf, req->slot, req->class, req->order,
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
	} while (*row & (TREE_ROWS - 1));
	return 0;
}

/**
 * llfree_get_rows() - allocate several blocks of one child at once
 * @llf: the instance
 * @req: what is wanted; the order is at most LLFREE_ROW_ORDER
 * @nr: most blocks wanted
 * @mask: LLFREE_CHILD_ROWS words; bits of the frames that were allocated, counted
 *	from the frame that is returned. Written only if there are any.
 * @delta: what changed is added here; may be NULL
 *
 * For scattered blocks this costs much less than as many llfree_get_bulk(). Looks
 * only where the slot goes on in the tree that it has reserved, and may return
 * fewer blocks than wanted though there are more. Who gets none asks
 * llfree_get_bulk(), which looks everywhere.
 *
 * Context: any, also NMI; takes no lock, does not sleep.
 *
 * Return: first frame of the child, aligned to LLFREE_CHILD_FRAMES; -ENOMEM if
 *	the slot has none there; -EINVAL for bad arguments
 */
long llfree_get_rows(struct llfree *llf, const struct llfree_request *req,
		     unsigned int nr, u64 *mask, struct llfree_delta *delta)
{
	unsigned int order = req->order, held, used = 0, lost = 0;
	struct llfree_delta unused __uninitialized;
	struct piece p = {
		.order = order, .views = BIT(LLFREE_VIEW_NORMAL), .masks = mask,
	};
	unsigned long at;
	u64 *local, word;

	if (unlikely(!request_valid(llf, req) || !nr || order > LLFREE_ROW_ORDER))
		return -EINVAL;
	if (req->slot < 0 || req->view != LLFREE_VIEW_NORMAL)
		return -ENOMEM;
	delta = delta_or(delta, &unused);

	local = &llf->locals[req->slot].reserved[req->class];
	nr = min_t(unsigned int, nr, LLFREE_CHILD_FRAMES >> order);
	held = local_take(local, 1U << order, nr << order, &word);
	if (!held)
		return -ENOMEM;

	at = local_row(word);
	p.row = at;
	p.max = rows_find(llf, req, &p.row, held >> order, word) << order;
	if (p.max) {
		at = p.row;
		p.child = &llf->children[at >> CHILD_ROW_SHIFT];
		used = child_alloc(llf, &p, CHILD_TAKE, rows_set_blocks);
		if (p.taken)
			lost = child_settle(llf, &p, used, delta);
	}

	held -= used + lost;
	if (held && !local_put(local, at, held))
		tree_put(llf, LLFREE_VIEW_NORMAL, at >> TREE_ROW_SHIFT, held);
	if (!used)
		return -ENOMEM;
	local_set_row(local, p.row);
	return child_frame(llf, p.row >> CHILD_ROW_SHIFT);
}
EXPORT_SYMBOL_GPL(llfree_get_rows);

/* ---- Put ---- */

/*
 * Give frames, whose bits are clear, back to child and tree. Whoever clears the
 * bits turns preemption off before; here it is turned on again.
 *
 * Return: as child_give()
 */
static __always_inline int put_frames(struct llfree *llf, int slot,
				      unsigned long row, u64 mask,
				      unsigned int frames)
{
	unsigned long child = row >> CHILD_ROW_SHIFT;
	unsigned int given = child_give(llf, child, frames, 0);
	unsigned int view = given & LLFREE_PUT_VIEW;

	preempt_enable();
	if (likely(view == LLFREE_VIEW_NORMAL))
		permits_put(llf, slot, row, frames);
	else if (view < LLFREE_ALLOC_VIEWS)
		tree_put(llf, view, child >> TREE_CHILD_SHIFT, frames);
	hint_freed(llf, row, mask,
		   frames > LLFREE_ROW_FRAMES ? fls64(frames) - 1 : 0, view);
	return given;
}

/*
 * Clear all of @nr rows, or none. A bad free is found out before anything is
 * clear, lest permits for other frames of the child are used for these.
 */
static bool rows_clear(struct llfree *llf, unsigned long row, unsigned int nr)
{
	unsigned int i;
	u64 old;

	if (!rows_allocated(llf, row, nr))
		return false;
	for (i = 0; i < nr; i++) {
		old = ~0ULL;
		if (!try_cmpxchg_release(&llf->rows[row + i], &old, 0))
			goto undo; /* LLF(put_row:A) */
	}
	return true;
undo:
	/*
	 * Freed by somebody else at the same time. What we cleared is still
	 * clear, unless more than one of us frees what is not theirs.
	 */
	while (i--) {
		old = 0;
		WARN_ONCE(!try_cmpxchg(&llf->rows[row + i], &old, ~0ULL),
			  "llfree: row %lu changed while it was being freed\n",
			  row + i);
	}
	return false;
}

/* Put whole children, one after the other, with bits @mark in their words. */
static int put_children(struct llfree *llf, int slot, unsigned long child,
			unsigned long nr, u16 mark, struct llfree_delta *delta)
{
	unsigned long end = child + nr, first = child;
	unsigned int view, frames = 0;
	int ret = 0;

	for (; child < end; child++) {
		/* Those of the normal view go together, tree by tree. */
		if (unlikely(frames && !(child & (LLFREE_TREE_CHILDREN - 1)))) {
			permits_put(llf, slot, first << CHILD_ROW_SHIFT, frames);
			frames = 0;
		}
		preempt_disable();
		if (unlikely(!rows_clear(llf, child << CHILD_ROW_SHIFT,
					 LLFREE_CHILD_ROWS))) {
			preempt_enable();
			ret = -EINVAL;
			break;
		}
		view = child_given(child_give(llf, child, LLFREE_CHILD_FRAMES, mark),
				   LLFREE_CHILD_FRAMES, delta);
		preempt_enable();
		if (likely(view == LLFREE_VIEW_NORMAL)) {
			if (!frames)
				first = child;
			frames += LLFREE_CHILD_FRAMES;
		} else if (view < LLFREE_ALLOC_VIEWS) {
			tree_put(llf, view, child >> TREE_CHILD_SHIFT,
				 LLFREE_CHILD_FRAMES);
		}
		hint_freed(llf, child << CHILD_ROW_SHIFT, ~0ULL,
			   LLFREE_CHILD_ORDER, view);
	}
	if (likely(frames))
		permits_put(llf, slot, first << CHILD_ROW_SHIFT, frames);
	return ret;
}

static __always_inline bool put_valid(const struct llfree *llf, int slot,
				      unsigned long frame, unsigned int order)
{
	return slot_valid(llf, slot) && IS_ALIGNED(frame, 1UL << order) &&
	       block_in_range(llf, frame, 1UL << order);
}

/* Frames of a row */
static __always_inline int put_mask(struct llfree *llf, int slot,
				    unsigned long row, u64 mask,
				    unsigned int frames)
{
	preempt_disable();
	if (unlikely(!row_clear(llf, row, mask))) {
		preempt_enable();
		return -EINVAL;
	}
	return put_frames(llf, slot, row, mask, frames);
}

/* A block of several rows of a child, or all of it */
static noinline int put_rows(struct llfree *llf, int slot, unsigned long row,
			     unsigned int order)
{
	preempt_disable();
	if (unlikely(!rows_clear(llf, row, 1U << (order - LLFREE_ROW_ORDER)))) {
		preempt_enable();
		return -EINVAL;
	}
	return put_frames(llf, slot, row, ~0ULL, 1U << order);
}

/* A block of up to a child */
static __always_inline int put_block(struct llfree *llf, int slot,
				     unsigned long frame, unsigned int order)
{
	unsigned long row = frame_row(llf, frame);

	if (likely(order <= LLFREE_ROW_ORDER))
		return put_mask(llf, slot, row,
				run_mask(frame & (LLFREE_ROW_FRAMES - 1), order),
				1U << order);
	return put_rows(llf, slot, row, order);
}

/**
 * llfree_put_quick() - free a block of up to a child
 * @llf: the instance
 * @slot: whose reservation to prefer, or LLFREE_NO_SLOT
 * @frame: first frame, aligned to the size of the block
 * @order: 0..LLFREE_CHILD_ORDER; the block need not have been allocated in one piece
 *
 * What llfree_put() does, for callers who can count one block without a struct.
 *
 * Context: any, also NMI; takes no lock, does not sleep.
 *
 * Return: the view that the frames are free in, as bits LLFREE_PUT_VIEW, and
 *	LLFREE_PUT_WHOLE if that makes their child entirely free; LLFREE_NR_VIEWS if
 *	they are leaked, as something was wrong before; -EINVAL and nothing has
 *	changed if the block is not in the range, not aligned, too large or not
 *	allocated in whole
 */
int llfree_put_quick(struct llfree *llf, int slot, unsigned long frame,
		     unsigned int order)
{
	if (unlikely(order > LLFREE_CHILD_ORDER ||
		     !put_valid(llf, slot, frame, order)))
		return -EINVAL;
	return put_block(llf, slot, frame, order);
}
EXPORT_SYMBOL_GPL(llfree_put_quick);

/* A block of whole children, all of which must be allocated */
static int put_large(struct llfree *llf, int slot, unsigned long frame,
		     unsigned int order, u16 mark, struct llfree_delta *delta)
{
	unsigned long row = frame_row(llf, frame);
	unsigned long nr = 1UL << (order - LLFREE_ROW_ORDER);

	if (!rows_allocated(llf, row, nr))
		return -EINVAL;
	return put_children(llf, slot, row >> CHILD_ROW_SHIFT,
			    nr >> CHILD_ROW_SHIFT, mark, delta);
}

/**
 * llfree_put() - free a block
 * @llf: the instance
 * @slot: whose reservation to prefer, or LLFREE_NO_SLOT
 * @frame: first frame, aligned to the size of the block
 * @order: 0..LLFREE_MAX_PUT_ORDER; the block need not have been allocated in one
 *	piece
 * @delta: what changed is added here; may be NULL
 *
 * Blocks of more than a child are freed child by child.
 *
 * Context: any, also NMI; takes no lock, does not sleep.
 *
 * Return: 0; -EINVAL if the block is not in the range, not aligned, too large or
 *	not allocated in whole. Then nothing has changed, unless somebody else frees
 *	pieces of a block of several children at the same time.
 */
int llfree_put(struct llfree *llf, int slot, unsigned long frame,
	       unsigned int order, struct llfree_delta *delta)
{
	struct llfree_delta unused __uninitialized;
	int ret;

	if (unlikely(order > LLFREE_MAX_PUT_ORDER ||
		     !put_valid(llf, slot, frame, order)))
		return -EINVAL;
	delta = delta_or(delta, &unused);

	if (unlikely(order > LLFREE_CHILD_ORDER))
		return put_large(llf, slot, frame, order, 0, delta);

	ret = put_block(llf, slot, frame, order);
	if (unlikely(ret < 0))
		return ret;
	child_given(ret, 1U << order, delta);
	return 0;
}
EXPORT_SYMBOL_GPL(llfree_put);

/**
 * llfree_put_reported() - free whole children that a hypervisor knows to be free
 * @llf: the instance
 * @frame: first frame, aligned to the size of the block
 * @order: LLFREE_CHILD_ORDER or more
 * @delta: what changed is added here; may be NULL
 *
 * Each child is marked as reported by the step that makes it free, so that an
 * allocation by another CPU removes the mark. See llfree_set_reported().
 *
 * Context: any; takes no lock, does not sleep.
 *
 * Return: 0; -EINVAL if the block is not in the range, not aligned, too small, or
 *	not all of it is allocated
 */
int llfree_put_reported(struct llfree *llf, unsigned long frame,
			unsigned int order, struct llfree_delta *delta)
{
	struct llfree_delta unused __uninitialized;

	if (unlikely(order < LLFREE_CHILD_ORDER || order >= BITS_PER_LONG - 1 ||
		     !put_valid(llf, LLFREE_NO_SLOT, frame, order)))
		return -EINVAL;
	return put_large(llf, LLFREE_NO_SLOT, frame, order, CHILD_REPORTED,
			 delta_or(delta, &unused));
}
EXPORT_SYMBOL_GPL(llfree_put_reported);

/**
 * llfree_put_bulk() - free several frames of one row at once
 * @llf: the instance
 * @slot: whose reservation to prefer, or LLFREE_NO_SLOT
 * @frame: first frame of the row, aligned to LLFREE_ROW_FRAMES
 * @mask: bits of the frames to free, not 0
 * @delta: what changed is added here; may be NULL
 *
 * Costs as much as llfree_put() of a single frame.
 *
 * Context: any, also NMI; takes no lock, does not sleep.
 *
 * Return: 0; -EINVAL if a frame is not in the range or not allocated. Then
 *	nothing has changed.
 */
int llfree_put_bulk(struct llfree *llf, int slot, unsigned long frame,
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
	    (frame < llf->base || frame >= llf->end ||
	     frame + __ffs64(mask) < llf->first ||
	     frame + fls64(mask) > llf->end))
		return -EINVAL;

	ret = put_mask(llf, slot, frame_row(llf, frame), mask, frames);
	if (unlikely(ret < 0))
		return ret;
	child_given(ret, frames, delta_or(delta, &unused));
	return 0;
}
EXPORT_SYMBOL_GPL(llfree_put_bulk);

/* ---- Claims ---- */

#define VIEWS_ALL	((1U << LLFREE_NR_VIEWS) - 1)
#define VIEWS_VISIBLE	(VIEWS_ALL & ~(1U << LLFREE_VIEW_ISOLATED))

static unsigned int claim_views(unsigned int flags)
{
	return flags & LLFREE_CLAIM_HIDDEN ? VIEWS_ALL : VIEWS_VISIBLE;
}

/* The tree of a child owes permits for frames that were claimed in @view. */
static void claim_debt(struct llfree *llf, unsigned long child,
		       unsigned int view, unsigned int frames)
{
	if (frames && view < LLFREE_ALLOC_VIEWS)
		tree_put(llf, view, child >> TREE_CHILD_SHIFT, -(s32)frames);
}

/*
 * Allocate a piece of a child.
 *
 * Return: number of frames that were allocated
 */
static __always_inline unsigned int
claim_piece(struct llfree *llf, struct piece *p,
	    unsigned int (*set)(struct llfree *llf, struct piece *p),
	    struct llfree_delta *delta)
{
	unsigned long child = p->row >> CHILD_ROW_SHIFT;
	unsigned int used, lost;

	p->child = &llf->children[child];
	/* In an isolated child it may meet llfree_child_stable(). */
	used = child_alloc(llf, p, p->views & BIT(LLFREE_VIEW_ISOLATED) ?
			   CHILD_TAKE_FULL : CHILD_TAKE, set);
	if (!p->taken)
		return 0;
	lost = child_settle(llf, p, used, delta);
	claim_debt(llf, child, child_view(p->before), used + lost);
	return used;
}

/* Allocate one or two whole children. */
static bool claim_children(struct llfree *llf, unsigned long child,
			   unsigned int nr, unsigned int views,
			   struct llfree_delta *delta)
{
	unsigned int view[2] = { }, lost[2] = { }, i;
	bool ok;

	ok = child_get_huge(llf, child, nr, views, view, lost, delta);
	for (i = 0; i < nr; i++)
		claim_debt(llf, child + i, view[i],
			   ok ? LLFREE_CHILD_FRAMES : lost[i]);
	return ok;
}

/**
 * llfree_claim() - allocate exactly this block
 * @llf: the instance
 * @frame: first frame, aligned to the size of the block
 * @order: 0..LLFREE_MAX_ORDER
 * @flags: LLFREE_CLAIM_*
 * @delta: what changed is added here; may be NULL
 *
 * Context: any, also NMI; takes no lock, does not sleep.
 *
 * Return: 0; -EBUSY if some of it is allocated or hidden; -EINVAL if it is not
 *	in the range or not aligned
 */
int llfree_claim(struct llfree *llf, unsigned long frame, unsigned int order,
		 unsigned int flags, struct llfree_delta *delta)
{
	struct piece p = { .order = order, .views = claim_views(flags) };
	struct llfree_delta unused __uninitialized;
	unsigned int used;

	if (unlikely(order > LLFREE_MAX_ORDER ||
		     (flags & ~LLFREE_CLAIM_HIDDEN) ||
		     !IS_ALIGNED(frame, 1UL << order) ||
		     !block_in_range(llf, frame, 1UL << order)))
		return -EINVAL;
	delta = delta_or(delta, &unused);

	if (order >= LLFREE_CHILD_ORDER)
		return claim_children(llf, frame_child(llf, frame),
				      1U << (order - LLFREE_CHILD_ORDER),
				      p.views, delta) ? 0 : -EBUSY;

	p.row = frame_row(llf, frame);
	p.max = 1U << order;
	if (order <= LLFREE_ROW_ORDER) {
		p.word = READ_ONCE(llf->rows[p.row]);
		p.mask = row_runs(p.word, order) &
			 BIT_ULL(frame & (LLFREE_ROW_FRAMES - 1));
		if (!p.mask)
			return -EBUSY;
		used = claim_piece(llf, &p, row_set_first, delta);
	} else {
		if (!rows_free(llf, p.row, p.max >> LLFREE_ROW_ORDER))
			return -EBUSY;
		used = claim_piece(llf, &p, rows_set_all, delta);
	}
	return used ? 0 : -EBUSY;
}
EXPORT_SYMBOL_GPL(llfree_claim);

/**
 * llfree_claim_row() - allocate whatever is free of some frames of a row
 * @llf: the instance
 * @frame: first frame of the row, aligned to LLFREE_ROW_FRAMES
 * @mask: bits of the frames that are wanted
 * @flags: LLFREE_CLAIM_*
 * @claimed: bits of the frames that were allocated
 * @delta: what changed is added here; may be NULL
 *
 * A frame that is being put may be seen as free and yet not be had, until the
 * put is done. llfree_child_stable() tells when there is none such.
 *
 * Context: any, also NMI; takes no lock, does not sleep.
 *
 * Return: number of frames allocated; -EBUSY if the child was hidden from the
 *	start; -EINVAL if the row is not in the range or not aligned
 */
long llfree_claim_row(struct llfree *llf, unsigned long frame, u64 mask,
		      unsigned int flags, u64 *claimed,
		      struct llfree_delta *delta)
{
	struct piece p = { .views = claim_views(flags) };
	struct llfree_delta unused __uninitialized;
	unsigned long child;

	*claimed = 0;
	if (unlikely((flags & ~LLFREE_CLAIM_HIDDEN) ||
		     !IS_ALIGNED(frame, LLFREE_ROW_FRAMES) ||
		     frame + LLFREE_ROW_FRAMES <= llf->first ||
		     frame >= llf->end))
		return -EINVAL;
	delta = delta_or(delta, &unused);

	child = frame_child(llf, frame);
	if (!(p.views & BIT(child_view(READ_ONCE(llf->children[child])))))
		return -EBUSY;

	p.row = frame_row(llf, frame);
	p.word = READ_ONCE(llf->rows[p.row]);
	p.mask = mask;
	p.max = hweight64(~p.word & mask);
	if (p.max && claim_piece(llf, &p, row_set_some, delta))
		*claimed = p.mask;
	return hweight64(*claimed);
}
EXPORT_SYMBOL_GPL(llfree_claim_row);

/* ---- State of children and trees ---- */

/**
 * llfree_set_view() - change who may see the free frames of a child
 * @llf: the instance
 * @frame: any frame of the child
 * @view: the new view
 * @delta: what changed is added here; may be NULL
 *
 * A get that starts after a child became isolated does not return frames of it.
 * One that had taken its permits before may still do so; llfree_child_stable()
 * tells when there is none left.
 *
 * Context: any; takes no lock, does not sleep. Who changes the view of a child
 * has to be serialised against others that do by the caller if the old view
 * matters.
 *
 * Return: the old view; -EALREADY if it has that view; -EINVAL
 */
int llfree_set_view(struct llfree *llf, unsigned long frame,
		    enum llfree_view view, struct llfree_delta *delta)
{
	unsigned int from, free;
	unsigned long child;
	u16 *word, old, new;

	if (view >= LLFREE_NR_VIEWS || !block_in_range(llf, frame, 1))
		return -EINVAL;

	child = frame_child(llf, frame);
	word = &llf->children[child];
	old = READ_ONCE(*word);
	do {
		if (child_view(old) == view)
			return -EALREADY;
		new = (old & ~CHILD_VIEW_MASK) | (view << CHILD_VIEW_SHIFT);
	} while (!try_cmpxchg(word, &old, new)); /* LLF(set_view:A) */

	from = child_view(old);
	free = child_free(old);
	if (from < LLFREE_ALLOC_VIEWS)
		tree_put(llf, from, child >> TREE_CHILD_SHIFT, -(s32)free);
	if (view < LLFREE_ALLOC_VIEWS) {
		tree_put(llf, view, child >> TREE_CHILD_SHIFT, free);
		if (view == LLFREE_VIEW_NORMAL)
			spare_note(llf, READ_ONCE(llf->trees[view]
						  [child >> TREE_CHILD_SHIFT]),
				   free);
		hint_raise(llf, LLFREE_MAX_ORDER, view);
	}
	if (delta) {
		delta->frames[from] -= free;
		delta->frames[view] += free;
		if (free == LLFREE_CHILD_FRAMES) {
			delta->huge[from]--;
			delta->huge[view]++;
		}
	}
	return from;
}
EXPORT_SYMBOL_GPL(llfree_set_view);

/**
 * llfree_set_reported() - mark an entirely free child as reported
 * @llf: the instance
 * @frame: any frame of the child
 *
 * Any allocation from the child removes the mark.
 *
 * Context: any; takes no lock, does not sleep.
 *
 * Return: 0; -EBUSY if the child is not entirely free; -EINVAL
 */
int llfree_set_reported(struct llfree *llf, unsigned long frame)
{
	u16 *word, old;

	if (!block_in_range(llf, frame, 1))
		return -EINVAL;

	word = &llf->children[frame_child(llf, frame)];
	old = READ_ONCE(*word);
	do {
		if (child_free(old) != LLFREE_CHILD_FRAMES)
			return -EBUSY;
	} while (!try_cmpxchg_relaxed(word, &old, (u16)(old | CHILD_REPORTED)));
	return 0;
}
EXPORT_SYMBOL_GPL(llfree_set_reported);

/**
 * llfree_set_class() - change the class of a tree
 * @llf: the instance
 * @frame: any frame of the tree
 * @class: below the number of classes of the policy
 *
 * A tree that is entirely free has no class and gets none.
 *
 * Context: any; takes no lock, does not sleep.
 *
 * Return: 0; -EBUSY if a slot has reserved the tree; -EINVAL
 */
int llfree_set_class(struct llfree *llf, unsigned long frame,
		     unsigned int class)
{
	u32 *word, old;

	if (class >= llf->policy->nr_classes || !block_in_range(llf, frame, 1))
		return -EINVAL;

	word = &llf->trees[LLFREE_VIEW_NORMAL]
			  [frame_child(llf, frame) >> TREE_CHILD_SHIFT];
	old = READ_ONCE(*word);
	do {
		if (tree_reserved(old))
			return -EBUSY;
	} while (!try_cmpxchg_relaxed(word, &old,
				      tree_word(llf, tree_free(old), class,
						false)));
	spare_note(llf, READ_ONCE(*word), tree_free(old));
	return 0;
}
EXPORT_SYMBOL_GPL(llfree_set_class);

/**
 * llfree_shuffle() - take entirely free trees in an order that is hard to guess
 * @llf: the instance
 * @key: decides on the order; a random number
 *
 * Also the order of the entirely free children of a tree depends on @key. Costs time
 * in searches for huge blocks, and in searches where no suitable tree is in use.
 *
 * Context: one caller at a time; allocations may be under way.
 */
void llfree_shuffle(struct llfree *llf, u64 key)
{
	const unsigned long nr = llf->nr_trees;
	unsigned long step;

	if (nr < 2)
		return;
	llf->shuffle_first = key >> 32;
	WRITE_ONCE(llf->shuffle_next, llf->shuffle_first % nr);
	step = 1 + (u32)key % (nr - 1);
	while (gcd(step, nr) != 1)
		step = step == 1 ? nr - 1 : step - 1;
	/* Only now do searches use the numbers above. */
	smp_store_release(&llf->shuffle_step, step);
}
EXPORT_SYMBOL_GPL(llfree_shuffle);

/**
 * llfree_drain() - give the reservations of a slot back
 * @llf: the instance
 * @slot: the slot; negative for all of them
 *
 * Nothing need be drained for others to find frames; this is for a slot that
 * is going to be unused, and before llfree_set_slots().
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
		local_release(llf, xchg(&llf->locals[slot].reserved[class], 0));
	WRITE_ONCE(llf->locals[slot].last_put, 0);
	return 0;
}
EXPORT_SYMBOL_GPL(llfree_drain);

/* ---- Life cycle ---- */

/**
 * llfree_layout() - how much memory an instance needs
 * @first: first frame of the range
 * @nr: number of frames, 1..LLFREE_MAX_FRAMES
 * @mem: the sizes are stored here
 *
 * Context: any.
 *
 * Return: 0; -EINVAL if there cannot be such a range
 */
int llfree_layout(unsigned long first, unsigned long nr,
		  struct llfree_memory *mem)
{
	unsigned long base, trees;

	if (!nr || nr > LLFREE_MAX_FRAMES || first + nr < first ||
	    first + nr > LONG_MAX - LLFREE_TREE_FRAMES)
		return -EINVAL;

	base = ALIGN_DOWN(first, LLFREE_TREE_FRAMES);
	trees = ALIGN(first + nr - base, LLFREE_TREE_FRAMES) >>
		LLFREE_TREE_ORDER;
	mem->rows_size = trees * TREE_ROWS * sizeof(u64);
	mem->children_size = ALIGN(trees * LLFREE_TREE_CHILDREN * sizeof(u16),
				   SMP_CACHE_BYTES);
	mem->trees_size = LLFREE_ALLOC_VIEWS *
			  ALIGN(trees * sizeof(u32), SMP_CACHE_BYTES);
	return 0;
}
EXPORT_SYMBOL_GPL(llfree_layout);

/* Bits of a row that are not in the range */
static u64 row_outside(const struct llfree *llf, unsigned long row)
{
	unsigned long frame = row_frame(llf, row);
	u64 inside = ~0ULL;

	if (frame + LLFREE_ROW_FRAMES <= llf->first || frame >= llf->end)
		return ~0ULL;
	if (frame < llf->first)
		inside &= ~0ULL << (llf->first - frame);
	if (llf->end - frame < LLFREE_ROW_FRAMES)
		inside &= (1ULL << (llf->end - frame)) - 1;
	return ~inside;
}

static void init_child(struct llfree *llf, unsigned long child,
		       enum llfree_mode mode)
{
	unsigned long row = child << CHILD_ROW_SHIFT;
	unsigned int free = 0, view = LLFREE_VIEW_NORMAL, i;
	u64 word;

	if (mode == LLFREE_INIT_KEEP)
		return;

	for (i = 0; i < LLFREE_CHILD_ROWS; i++, row++) {
		if (mode == LLFREE_INIT_RECOVER)
			word = llf->rows[row];
		else
			word = mode == LLFREE_INIT_ALLOC ? ~0ULL : 0;
		word |= row_outside(llf, row);
		llf->rows[row] = word;
		free += LLFREE_ROW_FRAMES - hweight64(word);
	}
	/* What isolated a child did not survive, and would never show it again. */
	if (mode == LLFREE_INIT_RECOVER &&
	    child_view(llf->children[child]) != LLFREE_VIEW_ISOLATED)
		view = child_view(llf->children[child]);
	llf->children[child] = child_make(free, view);
}

/* Can a child have this word? */
static bool child_valid(u16 word)
{
	return child_free(word) <= LLFREE_CHILD_FRAMES &&
	       !(word & ~(CHILD_FREE_MASK | CHILD_VIEW_MASK | CHILD_REPORTED)) &&
	       (child_free(word) == LLFREE_CHILD_FRAMES ||
		!(word & CHILD_REPORTED));
}

static void init_tree(struct llfree *llf, unsigned long tree)
{
	s32 free[LLFREE_NR_VIEWS] = { };
	unsigned int i, view, class;
	u16 word;

	for (i = 0; i < LLFREE_TREE_CHILDREN; i++) {
		word = llf->children[(tree << TREE_CHILD_SHIFT) + i];
		free[child_view(word)] += child_free(word);
	}
	for (view = 0; view < LLFREE_ALLOC_VIEWS; view++) {
		class = free[view] == LLFREE_TREE_FRAMES ?
			LLFREE_CLASS_NONE : llf->policy->init_class;
		llf->trees[view][tree] = tree_make(free[view], class, false);
	}
}

/**
 * llfree_init() - set up an instance
 * @llf: memory for the instance; its content does not matter
 * @first: first frame of the range
 * @nr: number of frames
 * @mem: memory of the sizes of llfree_layout(); it belongs to the instance
 *	from now on. @mem itself may be reused.
 * @mode: what state the frames are in
 * @policy: how requests spread over trees; NULL for llfree_default_policy
 *
 * The instance starts without slots.
 *
 * Context: any; nobody else may use the instance or the memory.
 *
 * Return: 0; -EINVAL for bad arguments; -EUCLEAN if a child that LLFREE_INIT_KEEP
 *	keeps has a word that no child can have. Then nothing has changed, and
 *	LLFREE_INIT_RECOVER can still make use of the rows.
 */
int llfree_init(struct llfree *llf, unsigned long first, unsigned long nr,
		const struct llfree_memory *mem, enum llfree_mode mode,
		const struct llfree_policy *policy)
{
	struct llfree_memory need;
	unsigned long i;
	unsigned int view;
	int ret;

	ret = llfree_layout(first, nr, &need);
	if (ret)
		return ret;
	if (!policy)
		policy = &llfree_default_policy;
	if (mode > LLFREE_INIT_KEEP || !policy->rate ||
	    !policy->nr_classes || policy->nr_classes > LLFREE_MAX_CLASSES ||
	    policy->init_class >= policy->nr_classes ||
	    !policy->near || (policy->near & (policy->near - 1)))
		return -EINVAL;
	if (!mem->rows || !mem->children || !mem->trees ||
	    !IS_ALIGNED((unsigned long)mem->rows, SMP_CACHE_BYTES) ||
	    !IS_ALIGNED((unsigned long)mem->children, SMP_CACHE_BYTES) ||
	    !IS_ALIGNED((unsigned long)mem->trees, SMP_CACHE_BYTES) ||
	    mem->rows_size < need.rows_size ||
	    mem->children_size < need.children_size ||
	    mem->trees_size < need.trees_size)
		return -EINVAL;
	if (mode == LLFREE_INIT_KEEP) {
		const u16 *children = mem->children;

		for (i = 0; i < need.rows_size / (LLFREE_CHILD_FRAMES / 8); i++)
			if (!child_valid(children[i]))
				return -EUCLEAN;
	}

	memset(llf, 0, sizeof(*llf));
	llf->first = first;
	llf->end = first + nr;
	llf->base = ALIGN_DOWN(first, LLFREE_TREE_FRAMES);
	llf->nr_trees = need.rows_size / (TREE_ROWS * sizeof(u64));
	llf->rows = mem->rows;
	llf->children = mem->children;
	llf->policy = policy;
	for (view = 0; view < LLFREE_ALLOC_VIEWS; view++) {
		llf->trees[view] = mem->trees + view *
			(need.trees_size / LLFREE_ALLOC_VIEWS);
		llf->hint[view] = HINT_IDLE;
	}

	for (i = 0; i < nr_children(llf); i++)
		init_child(llf, i, mode);
	for (i = 0; i < llf->nr_trees; i++)
		init_tree(llf, i);
	return 0;
}
EXPORT_SYMBOL_GPL(llfree_init);

/**
 * llfree_max_slots() - how many slots make sense
 * @llf: the instance
 *
 * With more than one tree in three reserved, slots would only steal from each
 * other.
 *
 * Context: any.
 *
 * Return: number of slots; 0 if reservations are of no use
 */
unsigned int llfree_max_slots(const struct llfree *llf)
{
	return min_t(unsigned long, INT_MAX,
		     llf->nr_trees / (3UL * llf->policy->nr_classes));
}
EXPORT_SYMBOL_GPL(llfree_max_slots);

/**
 * llfree_set_slots() - give an instance its slots
 * @llf: the instance, with its slots drained if it has any
 * @locals: @nr_slots elements, cache line aligned; they belong to the instance
 *	until the next call
 * @nr_slots: number of slots; 0 for none
 *
 * If the instance has none, other contexts may go on using it without a slot
 * meanwhile; llfree_nr_slots() tells them when they can use one. Otherwise nothing
 * else may use it.
 *
 * Context: any.
 *
 * Return: 0; -EINVAL for bad arguments
 */
int llfree_set_slots(struct llfree *llf, struct llfree_local *locals,
		     unsigned int nr_slots)
{
	unsigned int slot, class;

	if (nr_slots > INT_MAX || (nr_slots && !locals) ||
	    !IS_ALIGNED((unsigned long)locals, SMP_CACHE_BYTES))
		return -EINVAL;

	if (nr_slots)
		memset(locals, 0, nr_slots * sizeof(*locals));
	for (slot = 0; slot < nr_slots; slot++) {
		for (class = 0; class < LLFREE_MAX_CLASSES; class++)
			locals[slot].spare[class] = HINT_NONE;
	}
	WRITE_ONCE(llf->locals, locals);
	/* The slots are there before their number: LLF(set_slots:A) */
	smp_store_release(&llf->nr_slots, nr_slots);
	return 0;
}
EXPORT_SYMBOL_GPL(llfree_set_slots);
