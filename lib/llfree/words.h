/* SPDX-License-Identifier: GPL-2.0 */
/*
 * LLFree, a lock-free page frame allocator: its words, and the protocol between
 * them.
 *
 * An operation is a short sequence of compare-and-swaps, each on one word. No
 * operation waits for another one. There are two levels.
 *
 * Lower level (lower.h): which frames are owned.
 *
 *   row    64 bits, one per frame. A row decides which frames are owned,
 *          whatever the order: all frames of a huge block are allocated in
 *          their rows. So a piece of a huge block can be freed at any time, and
 *          frames that were allocated singly can be freed as one huge block.
 *   child  512 frames: {free, view, reported, turn}. An allocation takes from
 *          free, then sets bits. A free clears bits, then adds to free. So free
 *          never exceeds the number of clear bits: free counts permits to set a
 *          bit, and a permit is always good for a frame of order 0. The view
 *          says which callers may take permits; see enum llfree_view.
 *
 * A bit is clear, and its frame free, if the bit equals the lowest bit of turn;
 * else the bit is set. Taking all of a child that is entirely free adds one to
 * turn, and so does giving a whole child back. So all bits change their
 * meaning, and no row is written. The turn of a child does not change while a
 * CPU owns a permit or a frame of the child. Only the owner of all frames may
 * change turn. A free of a piece compares turn in its child step. If turn has
 * changed since the row step, the frames were not the caller's to free. Turn
 * has three bits, so that a change there and back does not look the same.
 *
 * Upper level (upper.h): where to look. Counting the lower level restores it.
 *
 *   tree   8 to 128 children: {reserved, class, exhausted, generation, free},
 *          one word for each view that can be allocated from. free is the
 *          number of permits that no slot has reserved. free is signed: a claim
 *          takes from a child without a permit of the tree, and a change of
 *          view moves the rest of the child. Either may leave a deficit.
 *          exhausted says for which orders a search was unsuccessful; the next
 *          free in the tree resets exhausted and begins another generation.
 *   local  one word per slot and class: {present, free, row}. The permits of a
 *          tree that the slot has reserved, and the row where the slot looks
 *          next. Frees of other slots to a reserved tree add to tree.free; the
 *          slot fetches these permits when its own run out.
 *
 * One rule keeps the levels together. Take a compare-and-swap that changes
 * child.free by d while the view of the child is v. The operation with this
 * step changes the permits of v by d and reports d for v in its delta. An
 * operation that undoes its child step uses the view at the time of the undo,
 * not the view at the time of the child step. A change of view moves
 * child.free. Frames of an allocation that began before the change count as in
 * use; frames that are freed later belong to the new view.
 *
 * A permit of a tree is a promise about numbers, not about a fitting block or
 * view. An allocation that finds no block gives its permits back and looks
 * elsewhere. Unless an allocation is bounded, it fails only after an exhaustive
 * search: a look at all children directly, whatever the permits say, except
 * those of exhausted trees (exhaustive.c).
 *
 *   alloc.c, free.c      the API and its fast paths
 *   claim.c              exact blocks; views
 *   search.c, scan.h     which trees to look at, and how to look at one
 *   steal.c              permits that other slots have reserved
 *   exhaustive.c         every child, before an allocation fails
 *   shuffle.c            the order of free trees and children by a key
 *   hint.h               orders for which an exhaustive search was unsuccessful
 *   policy.h             which trees suit which class
 *   init.c, grow.c       layout and life cycle; frames added and removed
 *   query.c, validate.c  free frames and blocks; a check that words add up
 *
 * DOC: ordering
 *
 * The words form a chain. A free releases, and an allocation acquires, on each:
 *
 *   row_clear:A   pairs with row_set:A. The next owner sees all writes of the
 *                 previous owner to the frame, and all that came before its
 *                 free.
 *   child_give:A  pairs with child_take:A and child_stable:A. The cleared bits
 *                 are visible to the CPU that takes the permits, so a permit
 *                 finds its bit. The bits are also visible to the CPU that
 *                 compares permits with clear bits. For whole children, of
 *                 which no row is written, this pair also does the work of
 *                 row_clear:A and row_set:A.
 *   child_take:B  pairs with child_stable:B. Both are full barriers: a CPU that
 *                 sees the bit of a hidden claim sees that its permit is gone.
 *   tree_give:A   pairs with tree_take:A, tree_reserve:A and local_sync:A; and
 *   local_give:A  pairs with local_take:A, and with the xchg() that ends a
 *                 reservation. The raised child.free is visible to the CPU that
 *                 takes the tree's permits. Nothing breaks without these pairs,
 *                 but a search would miss a free block.
 *   tree_look:A   pairs with tree_give:A. A search reads the word of a tree
 *                 before it looks at the children. If the tree is watched, the
 *                 search sees all blocks freed before; a later free changes the
 *                 word, so that the search does not call the tree exhausted.
 *                 All changes of the word are compare-and-swaps, so the pair
 *                 holds across changes in between.
 *   hint_arm:A    pairs with tree_give:B, which a change of view has as well,
 *                 and with local_give:B. All are full barriers, as is the
 *                 xchg() of a free that reserves its tree. A search arms the
 *                 hint and then looks; a free or change of view makes a block
 *                 and then reads the hint. At least one of the two sees the
 *                 other.
 *   set_view:A    is a full barrier. An allocation that starts after the change
 *                 sees the view.
 *   grow:A        pairs with range:A. A CPU that sees the new range also sees
 *                 where the words of the added frames are, and their initial
 *                 values. Numbers of rows and trees also come from words; so
 *                 local_look:A pairs with local_give:A and with the xchg() that
 *                 reserves a tree, as local_take:A does.
 *   set_slots:A   pairs with nr_slots:A. A caller that has read the number of
 *                 slots sees where the slots are and that they are initialised.
 *
 * Racy hints, read and written without order: the row in a local, last_free, partial,
 * round, and every word that is read to decide where to try.
 *
 * Preemption is off from a child step until its row step or its undo is done.
 * In a free, preemption is off from the row step until the permits are in a
 * tree or a reservation. Only child_alloc(), child_alloc_whole() and the
 * functions of free.c do such steps. Correctness does not depend on this.
 * Preemption is off to keep the interval short in which other CPUs see a block
 * that they cannot allocate. In this interval an exhausted tree may hide a
 * block, and llfree_child_stable() says -EAGAIN.
 */
#ifndef _LIB_LLFREE_WORDS_H
#define _LIB_LLFREE_WORDS_H

#include <linux/align.h>
#include <linux/atomic.h>
#include <linux/bitops.h>
#include <linux/bits.h>
#include <linux/compiler.h>
#include <linux/errno.h>
#include <linux/llfree.h>
#include <linux/minmax.h>
#include <linux/types.h>

/*
 * Version of the layout that readers of crash dumps depend on: the meaning of
 * rows and child words, and the members of struct llfree that vmcoreinfo.c
 * exports. Raise this number with any change that makes such a reader wrong.
 * tools/mm/llfree-dump.c knows one version.
 */
#define LLFREE_LAYOUT		3

#define CHILD_ROW_SHIFT		(LLFREE_CHILD_ORDER - LLFREE_ROW_ORDER)

/* Child word: {free:10, view:2, reported:1, turn:3} */
#define CHILD_FREE_MASK		0x03ffU
#define CHILD_VIEW_SHIFT	10
#define CHILD_VIEW_MASK		(3U << CHILD_VIEW_SHIFT)
#define CHILD_REPORTED		BIT(12)
#define CHILD_TURN		BIT(LLFREE_CHILD_TURN_SHIFT)
#define CHILD_TURN_MASK		(7U << LLFREE_CHILD_TURN_SHIFT)

static inline unsigned int child_free(u16 word)
{
	return word & CHILD_FREE_MASK;
}

static inline unsigned int child_view(u16 word)
{
	return (word & CHILD_VIEW_MASK) >> CHILD_VIEW_SHIFT;
}

static inline u16 child_make(unsigned int free, unsigned int view)
{
	return free | (view << CHILD_VIEW_SHIFT);
}

/*
 * Is this the word of a child without memory, or outside the range? The rows of
 * such a child are 0, which means free; only frees and queries of frames that
 * do not exist read these rows.
 */
static inline bool child_hole(u16 word)
{
	return word == LLFREE_HOLE_CHILD;
}

/* Is all of the child free, and for any allocation? */
static inline bool child_whole(u16 word)
{
	return (word & (CHILD_FREE_MASK | CHILD_VIEW_MASK)) ==
	       child_make(LLFREE_CHILD_FRAMES, LLFREE_VIEW_NORMAL);
}

/* Tree word: {reserved:1, class:3, exhausted:4, generation:4, free:20 signed} */
#define TREE_RESERVED		BIT(0)
#define TREE_CLASS_SHIFT	1
#define TREE_CLASS_MASK		(7U << TREE_CLASS_SHIFT)
#define TREE_EXHAUSTED_SHIFT	4
#define TREE_EXHAUSTED_MASK	(0xfU << TREE_EXHAUSTED_SHIFT)
#define TREE_GEN_SHIFT		8
#define TREE_GEN_MASK		(0xfU << TREE_GEN_SHIFT)
#define TREE_FREE_SHIFT		12

static inline s32 tree_free(u32 word)
{
	return (s32)word >> TREE_FREE_SHIFT;
}

static inline unsigned int tree_class(u32 word)
{
	return (word & TREE_CLASS_MASK) >> TREE_CLASS_SHIFT;
}

static inline bool tree_reserved(u32 word)
{
	return word & TREE_RESERVED;
}

static inline u32 tree_make(s32 free, unsigned int class, bool reserved)
{
	return ((u32)free << TREE_FREE_SHIFT) | (class << TREE_CLASS_SHIFT) |
	       (reserved ? TREE_RESERVED : 0);
}

/*
 * The field exhausted of a tree is 0 if nothing is known, and 1 if the next
 * unsuccessful search will mark the tree. From 2 on, exhausted stands for the
 * lowest order for which a search was unsuccessful: the higher the value, the
 * lower that order.
 */
#define TREE_WATCHED		BIT(TREE_EXHAUSTED_SHIFT)

static __always_inline u32 tree_exhausted_make(unsigned int order)
{
	return (LLFREE_MAX_ORDER + 2 - order) << TREE_EXHAUSTED_SHIFT;
}

/*
 * Was a search for @order unsuccessful, and no frame freed since? Not known of
 * a reserved tree: frees of its slot do not change the word.
 */
static __always_inline bool tree_exhausted(u32 word, unsigned int order)
{
	return (word & TREE_EXHAUSTED_MASK) >= tree_exhausted_make(order) &&
	       !tree_reserved(word);
}

/*
 * Change @word after a free in the tree, so that searches look at the tree
 * again.
 */
static __always_inline u32 tree_reopen(u32 word)
{
	if (likely(!(word & TREE_EXHAUSTED_MASK)))
		return word;
	return (word & ~(TREE_EXHAUSTED_MASK | TREE_GEN_MASK)) |
	       ((word + (1U << TREE_GEN_SHIFT)) & TREE_GEN_MASK);
}

/* Local word: {present:1, free:17, row:46} */
#define LOCAL_PRESENT		BIT_ULL(63)
#define LOCAL_FREE_SHIFT	46
#define LOCAL_FREE_MASK		0x1ffffU
#define LOCAL_ROW_MASK		(BIT_ULL(LOCAL_FREE_SHIFT) - 1)

static inline unsigned int local_free(u64 word)
{
	return (word >> LOCAL_FREE_SHIFT) & LOCAL_FREE_MASK;
}

static inline unsigned long local_row(u64 word)
{
	return word & LOCAL_ROW_MASK;
}

/* Is @word a reservation of the tree of @row? */
static __always_inline bool local_holds(const struct llfree *llf, u64 word,
					unsigned long row)
{
	return !((word ^ (LOCAL_PRESENT | row)) & llf->local_key);
}

static inline u64 local_make(unsigned int free, unsigned long row)
{
	return LOCAL_PRESENT | ((u64)free << LOCAL_FREE_SHIFT) | row;
}

/*
 * Hint word: {generation:24, armed:4, exhausted:4}. In the last exhaustive
 * search, an order of @exhausted or more had no block. Frees of blocks of at
 * least min(armed, exhausted) have to raise the hint.
 */
#define HINT_NONE		15U
#define HINT_ARMED_SHIFT	4
#define HINT_GEN_SHIFT		8

static inline unsigned int hint_exhausted(u32 hint)
{
	return hint & LLFREE_HINT_EXHAUSTED;
}

static inline unsigned int hint_armed(u32 hint)
{
	return (hint >> HINT_ARMED_SHIFT) & 0xf;
}

static inline u32 hint_gen(u32 hint)
{
	return hint >> HINT_GEN_SHIFT;
}

static inline u32 hint_make(u32 gen, unsigned int armed, unsigned int exhausted)
{
	return (gen << HINT_GEN_SHIFT) | (armed << HINT_ARMED_SHIFT) | exhausted;
}

#define HINT_IDLE	((HINT_NONE << HINT_ARMED_SHIFT) | HINT_NONE)

static inline bool hint_idle(u32 hint)
{
	return (hint & HINT_IDLE) == HINT_IDLE;
}

/*
 * Byte in llfree.round: {round:3, seen:1, 0:4}. The bit seen says that a slot
 * has searched in this round, so the next free begins another round.
 *
 * Word in llfree_local.partial: {rest:8, round:3, seen:1, order:4}. The order is
 * one that a search did not find outside of entirely free children. The round is
 * the one in which the search ended. The bit seen is set, so the word does not
 * match a round with the same number in which nothing has searched yet. Once
 * another slot has searched there, the word matches if its own slot has not
 * searched for eight rounds; the next free ends that. The rest is the number of
 * permits of the reservation, modulo half the frames of a child. An allocation of
 * a whole child does not change the rest; a free in another child of the tree
 * mostly does. Rest, round and seen are the key.
 */
#define ROUND_SEEN		0x10U
#define ROUND_STEP		0x20U
#define PARTIAL_ORDER_MASK	0x000fU
#define PARTIAL_ROUND_MASK	0x00f0U
#define PARTIAL_REST_MASK	0xff00U
#define PARTIAL_REST_SHIFT	8

static inline u8 round_next(u8 round)
{
	return (round & ~ROUND_SEEN) + ROUND_STEP;
}

static inline bool partial_same_round(u16 partial, u8 round)
{
	return !((partial ^ round) & PARTIAL_ROUND_MASK);
}

static inline unsigned int partial_order(u16 partial)
{
	return partial & PARTIAL_ORDER_MASK;
}

/* The key of a search that ended in @round, with the reservation @local */
static inline u32 partial_key(u8 round, u64 local)
{
	return (round & PARTIAL_ROUND_MASK) |
	       (local >> (LOCAL_FREE_SHIFT - PARTIAL_REST_SHIFT) & PARTIAL_REST_MASK);
}

/* llfree_local.last_free: {tree:29, count:3}; tree has the lowest bits only */
#define LAST_FREE_TREE_SHIFT	3

static inline u32 last_free_make(unsigned long tree, unsigned int count)
{
	return (u32)tree << LAST_FREE_TREE_SHIFT | count;
}

static inline unsigned int last_free_count(u32 last)
{
	return last & (BIT(LAST_FREE_TREE_SHIFT) - 1);
}

static inline bool last_free_same_tree(u32 last, unsigned long tree)
{
	return last - last_free_count(last) == last_free_make(tree, 0);
}

/*
 * Frames, rows, children and trees are counted from frame 0, so their numbers
 * do not change when the range grows. The pointers of an instance are biased:
 * each points to where the word of number 0 would be. A CPU reads a pointer
 * anew for each access, after it has the number by LLF(range:A) or from a word
 * by an acquire. So the memory behind the pointer has the word of that number,
 * see grow.c.
 */

static __always_inline u64 *row_at(const struct llfree *llf, unsigned long row)
{
	return llfree_word(READ_ONCE(llf->rows), row, sizeof(u64));
}

static __always_inline u16 *child_at(const struct llfree *llf, unsigned long child)
{
	return llfree_word(READ_ONCE(llf->children), child, sizeof(u16));
}

static __always_inline u32 *tree_at(const struct llfree *llf, unsigned int view,
				    unsigned long tree)
{
	return llfree_word(READ_ONCE(llf->trees[view]), tree, sizeof(u32));
}

static inline unsigned long frame_row(unsigned long frame)
{
	return frame >> LLFREE_ROW_ORDER;
}

static inline unsigned long frame_child(unsigned long frame)
{
	return frame >> LLFREE_CHILD_ORDER;
}

static inline unsigned long row_frame(unsigned long row)
{
	return row << LLFREE_ROW_ORDER;
}

static inline unsigned long child_frame(unsigned long child)
{
	return child << LLFREE_CHILD_ORDER;
}

/* The tree of a row or child, and the first row, child and frame of a tree */

static __always_inline unsigned long row_tree(const struct llfree *llf,
					      unsigned long row)
{
	return row >> (llf->tree_order - LLFREE_ROW_ORDER);
}

static __always_inline unsigned long child_tree(const struct llfree *llf,
						unsigned long child)
{
	return child >> (llf->tree_order - LLFREE_CHILD_ORDER);
}

static __always_inline unsigned long tree_row(const struct llfree *llf,
					      unsigned long tree)
{
	return tree << (llf->tree_order - LLFREE_ROW_ORDER);
}

static __always_inline unsigned long tree_child(const struct llfree *llf,
						unsigned long tree)
{
	return tree << (llf->tree_order - LLFREE_CHILD_ORDER);
}

static inline unsigned long tree_frame(const struct llfree *llf, unsigned long tree)
{
	return tree << llf->tree_order;
}

static inline unsigned int tree_rows(const struct llfree *llf)
{
	return llf->tree_frames >> LLFREE_ROW_ORDER;
}

static inline unsigned int tree_children(const struct llfree *llf)
{
	return llf->tree_frames >> LLFREE_CHILD_ORDER;
}

/*
 * First frame of the range, and the frame after the last one: LLF(range:A). A
 * caller that needs both reads the end first, see range_set().
 */
static __always_inline unsigned long range_first(const struct llfree *llf)
{
	return smp_load_acquire(&llf->first); /* LLF(range:A) */
}

static __always_inline unsigned long range_end(const struct llfree *llf)
{
	return smp_load_acquire(&llf->end); /* LLF(range:A) */
}

/* Trees and children of the range: [first, end) */

static inline unsigned long trees_first(const struct llfree *llf)
{
	return range_first(llf) >> llf->tree_order;
}

static inline unsigned long trees_end(const struct llfree *llf)
{
	return (range_end(llf) + llf->tree_frames - 1) >> llf->tree_order;
}

static inline unsigned long children_first(const struct llfree *llf)
{
	return frame_child(range_first(llf));
}

static inline unsigned long children_end(const struct llfree *llf)
{
	return frame_child(range_end(llf) + LLFREE_CHILD_FRAMES - 1);
}

/* Is the block wholly inside the range? */
static inline bool block_in_range(const struct llfree *llf, unsigned long frame,
				  unsigned long nr)
{
	const unsigned long end = range_end(llf);

	return frame >= range_first(llf) && frame < end && nr <= end - frame;
}

/*
 * Bits at which a free naturally aligned run of 2^@order frames starts in a
 * row. Adding @mask carries to the highest bit of a run from any bit below
 * that, and never beyond.
 */
static __always_inline u64 row_runs(u64 row, unsigned int order)
{
	/* All but the highest bit of each run */
	static const u64 lower[LLFREE_ROW_ORDER + 1] = {
		0x0000000000000000ULL, 0x5555555555555555ULL,
		0x7777777777777777ULL, 0x7f7f7f7f7f7f7f7fULL,
		0x7fff7fff7fff7fffULL, 0x7fffffff7fffffffULL,
		0x7fffffffffffffffULL,
	};
	u64 mask;

	if (!order)
		return ~row;
	mask = lower[order];
	return ~(((row & mask) + mask) | row | mask) >> ((1U << order) - 1);
}

/* All bits of the run of 2^@order that starts at @bit */
static __always_inline u64 run_mask(unsigned int bit, unsigned int order)
{
	return (~0ULL >> (LLFREE_ROW_FRAMES - (1U << order))) << bit;
}

/* All bits of the runs of 2^@order that start at @starts */
static __always_inline u64 runs_mask(u64 starts, unsigned int order)
{
	unsigned int run;

	for (run = 1; run < 1U << order; run *= 2)
		starts |= starts << run;
	return starts;
}

/* All bits of the lowest @nr runs of 2^@order that start at @starts */
static __always_inline u64 runs_lowest(u64 starts, unsigned int order, unsigned int nr)
{
	u64 rest = starts;
	unsigned int have;

	if (nr == 1)
		return runs_mask(starts & -starts, order);
	if (nr >= LLFREE_ROW_FRAMES >> order)
		return runs_mask(starts, order);

	have = hweight64(starts);
	if (have < 2 * nr) {
		for (; have > nr; have--)
			starts &= ~BIT_ULL(fls64(starts) - 1);
	} else {
		while (nr--)
			rest &= rest - 1;
		starts &= ~rest;
	}
	return runs_mask(starts, order);
}

/*
 * Number of permits to take of @free: at most @max, in units of @min, a power
 * of 2
 */
static __always_inline unsigned int permits(unsigned int free, unsigned int min,
					    unsigned int max)
{
	return min == max ? min : min(max, ALIGN_DOWN(free, min));
}

#endif /* _LIB_LLFREE_WORDS_H */
