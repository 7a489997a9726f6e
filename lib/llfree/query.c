// SPDX-License-Identifier: GPL-2.0
/*
 * LLFree core: queries about free frames and blocks.
 *
 * Nothing here writes to an instance. While other CPUs use the instance,
 * answers are snapshots that can be out of date. Sums over several words may
 * never have been true at one moment. A caller that acts on an answer claims
 * the frames that it needs.
 */
#include <kunit/visibility.h>
#include <linux/export.h>
#include <linux/string.h>

#include "lower.h"

/* Is a frame in the range, and of a child that has memory? */
static bool frame_exists(const struct llfree *llf, unsigned long frame)
{
	return block_in_range(llf, frame, 1) &&
	       !child_hole(READ_ONCE(*child_at(llf, frame_child(frame))));
}

static bool child_all_free(const struct llfree *llf, unsigned long child)
{
	return child_free(READ_ONCE(*child_at(llf, child))) ==
	       LLFREE_CHILD_FRAMES;
}

/**
 * llfree_block_order() - size of the free block around a frame
 * @llf: the instance
 * @frame: any frame number
 *
 * Context: any, also NMI; takes no lock, does not sleep.
 *
 * Return: order of the largest naturally aligned free block that contains
 *	@frame, at most LLFREE_MAX_ORDER; -1 if @frame is allocated or not in
 *	the range
 */
int llfree_block_order(const struct llfree *llf, unsigned long frame)
{
	unsigned long child, row, buddy;
	unsigned int order;
	u64 word, bit;

	if (!frame_exists(llf, frame))
		return -1;

	row = frame_row(frame);
	word = row_now(llf, row);
	bit = 1ULL << (frame & (LLFREE_ROW_FRAMES - 1));
	if (word & bit)
		return -1;

	for (order = 0; order < LLFREE_ROW_ORDER; order++)
		if (!(runs_mask(row_runs(word, order + 1), order + 1) & bit))
			return order;

	for (; order < LLFREE_CHILD_ORDER; order++) {
		unsigned int nr = 1U << (order - LLFREE_ROW_ORDER);

		buddy = ALIGN_DOWN(row, nr) ^ nr;
		while (nr--)
			if (row_now(llf, buddy + nr))
				return order;
	}

	child = frame_child(frame);
	if (child_all_free(llf, child) && child_all_free(llf, child ^ 1) &&
	    child_view(READ_ONCE(*child_at(llf, child))) ==
	    child_view(READ_ONCE(*child_at(llf, child ^ 1))))
		order++;
	return order;
}
EXPORT_SYMBOL_IF_KUNIT(llfree_block_order);

/**
 * llfree_row_mask() - which frames of a row are free
 * @llf: the instance
 * @frame: any frame of the row
 *
 * Context: any, also NMI; takes no lock, does not sleep.
 *
 * Return: a bit for each frame of the row, 1 = free; 0 outside the range
 */
u64 llfree_row_mask(const struct llfree *llf, unsigned long frame)
{
	if (frame >= range_end(llf) || (frame | (LLFREE_ROW_FRAMES - 1)) < range_first(llf) ||
	    child_hole(READ_ONCE(*child_at(llf, frame_child(frame)))))
		return 0;
	return ~row_now(llf, frame_row(frame));
}
EXPORT_SYMBOL_IF_KUNIT(llfree_row_mask);

/**
 * llfree_child() - state of a child
 * @llf: the instance
 * @frame: any frame of the child that is in the range
 * @child: the state is stored here
 *
 * Context: any, also NMI; takes no lock, does not sleep.
 *
 * A hole is isolated, and nothing of it is free.
 *
 * Return: 0; -EINVAL if @frame is not in the range
 */
int llfree_child(const struct llfree *llf, unsigned long frame,
		 struct llfree_child *child)
{
	unsigned long index;
	u32 tree;
	u16 word;

	if (!block_in_range(llf, frame, 1))
		return -EINVAL;

	index = frame_child(frame);
	word = READ_ONCE(*child_at(llf, index));
	tree = READ_ONCE(*tree_at(llf, LLFREE_VIEW_NORMAL, child_tree(llf, index)));
	child->frame = child_frame(index);
	child->free = child_free(word);
	child->view = child_view(word);
	child->reported = word & CHILD_REPORTED && !child_hole(word);
	child->class = tree_class(tree);
	child->tree_reserved = tree_reserved(tree);
	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(llfree_child);

/**
 * llfree_child_stable() - is no CPU between two steps in a child?
 * @llf: the instance
 * @frame: any frame of the child
 *
 * This is of use for an isolated child, where only frees and claims can begin.
 * The caller polls without holding a lock that an allocation or free in
 * interrupt context could want.
 *
 * Context: any; takes no lock, does not sleep.
 *
 * Return: free frames of the child, 0 for a hole; -EAGAIN while an operation is
 *	under way; -EINVAL if @frame is not in the range
 */
int llfree_child_stable(const struct llfree *llf, unsigned long frame)
{
	unsigned int free, clear;
	unsigned long child;
	u16 word;

	if (!block_in_range(llf, frame, 1))
		return -EINVAL;

	child = frame_child(frame);
	/* Rows must not be older than the counted frees: LLF(child_stable:A) */
	word = smp_load_acquire(child_at(llf, child));
	if (child_hole(word))
		return 0;
	free = child_free(word);
	clear = rows_count_free(llf, child, word);
	/*
	 * A claim that took a permit and set its bit meanwhile could make up
	 * for an operation under way. This CPU does not see the bit without the
	 * child step.
	 */
	smp_mb(); /* LLF(child_stable:B) */
	word ^= READ_ONCE(*child_at(llf, child));
	if (free != clear || word & (CHILD_FREE_MASK | CHILD_TURN_MASK))
		return -EAGAIN;
	return free;
}
EXPORT_SYMBOL_IF_KUNIT(llfree_child_stable);

static void stats_trees(const struct llfree *llf, struct llfree_stats *stats)
{
	const unsigned long end = trees_end(llf);
	unsigned long tree;
	u32 word;

	for (tree = trees_first(llf); tree < end; tree++) {
		word = READ_ONCE(*tree_at(llf, LLFREE_VIEW_NORMAL, tree));
		if (word == LLFREE_HOLE_TREE)
			continue;
		stats->reserved += tree_reserved(word);
		stats->trees[tree_class(word)]++;
	}
}

/**
 * llfree_stats_exact() - count free frames from children
 * @llf: the instance
 * @stats: the counts are stored here
 *
 * Context: any; takes no lock, does not sleep, reads 2 bytes per child.
 */
void llfree_stats_exact(const struct llfree *llf, struct llfree_stats *stats)
{
	const unsigned long end = children_end(llf);
	unsigned long child;
	u16 word;

	memset(stats, 0, sizeof(*stats));
	stats_trees(llf, stats);
	for (child = children_first(llf); child < end; child++) {
		word = READ_ONCE(*child_at(llf, child));
		stats->frames[child_view(word)] += child_free(word);
		if (child_free(word) == LLFREE_CHILD_FRAMES)
			stats->huge[child_view(word)]++;
	}
}
EXPORT_SYMBOL_GPL(llfree_stats_exact);

/* Add the blocks of a child that is not entirely free. */
static void count_child(const struct llfree *llf, unsigned long child,
			unsigned long nr[LLFREE_NR_ORDERS])
{
	const unsigned long first = child << CHILD_ROW_SHIFT;
	unsigned int i, order, empty = 0;
	u64 word, starts;

	for (i = 0; i < LLFREE_CHILD_ROWS; i++) {
		word = row_now(llf, first + i);
		if (!word) {
			empty |= 1U << i;
			continue;
		}
		for (order = LLFREE_ROW_ORDER; order-- && word != ~0ULL;) {
			starts = row_runs(word, order);
			nr[order] += hweight64(starts);
			word |= runs_mask(starts, order);
		}
	}

	/* Whole rows, the largest aligned groups first */
	if (empty == 0xff) {
		nr[LLFREE_CHILD_ORDER]++;
		return;
	}
	for (i = 0; i < LLFREE_CHILD_ROWS; i += 4) {
		if (((empty >> i) & 0xf) == 0xf) {
			nr[LLFREE_ROW_ORDER + 2]++;
			empty &= ~(0xfU << i);
		}
	}
	for (i = 0; i < LLFREE_CHILD_ROWS; i += 2) {
		if (((empty >> i) & 0x3) == 0x3) {
			nr[LLFREE_ROW_ORDER + 1]++;
			empty &= ~(0x3U << i);
		}
	}
	nr[LLFREE_ROW_ORDER] += hweight32(empty);
}

/**
 * llfree_count_orders() - number of free blocks of each order
 * @llf: the instance
 * @view: the view to count; negative for all
 * @class: class of the trees to count; negative for all
 * @nr: the numbers of maximal naturally aligned free blocks are stored here
 *
 * Context: any; takes no lock, does not sleep, reads the rows of every child
 * that is partly free.
 */
void llfree_count_orders(const struct llfree *llf, int view, int class,
			 unsigned long nr[LLFREE_NR_ORDERS])
{
	const unsigned long end = children_end(llf);
	unsigned long child;
	u16 word, buddy;
	u32 tree;

	memset(nr, 0, LLFREE_NR_ORDERS * sizeof(*nr));
	for (child = children_first(llf); child < end; child++) {
		word = READ_ONCE(*child_at(llf, child));
		if ((view >= 0 && child_view(word) != view) || !child_free(word))
			continue;
		tree = READ_ONCE(*tree_at(llf, LLFREE_VIEW_NORMAL, child_tree(llf, child)));
		if (class >= 0 && tree_class(tree) != class)
			continue;
		if (child_free(word) < LLFREE_CHILD_FRAMES) {
			count_child(llf, child, nr);
			continue;
		}
		buddy = READ_ONCE(*child_at(llf, child ^ 1));
		if (child_view(buddy) != child_view(word) ||
		    child_free(buddy) != LLFREE_CHILD_FRAMES) {
			nr[LLFREE_CHILD_ORDER]++;
		} else if (!(child & 1)) {
			nr[LLFREE_MAX_ORDER]++;
			child++;
		} else {
			/* The pair became free only after its first half was seen. */
			nr[LLFREE_CHILD_ORDER]++;
		}
	}
}
EXPORT_SYMBOL_IF_KUNIT(llfree_count_orders);
