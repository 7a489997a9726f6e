/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A reference model of the allocator, written to be obviously right: a byte per
 * frame, loops over frames. It has no trees, slots and classes. The tests in this
 * directory use it, and those in tools/testing/llfree/ that compare random
 * operations and inputs of a fuzzer with it.
 */
#ifndef _LLFREE_TESTS_MODEL_H
#define _LLFREE_TESTS_MODEL_H

#include <linux/llfree.h>

#define MODEL_ANY_VIEW	(-1)

/**
 * struct model - frames, and views of children
 * @first: first frame of the range
 * @end: frame after the last one
 * @base: first frame of the arrays
 * @nr_children: number of children from @base on
 * @used: a byte per frame from @base on
 * @free: free frames of each child
 * @view: view of each child
 * @reported: of each child
 * @changed: sum of the changes by model_mark() and model_set_view() since the
 *	caller cleared it
 */
struct model {
	unsigned long first;
	unsigned long end;
	unsigned long base;
	unsigned long nr_children;
	u8 *used;
	u16 *free;
	u8 *view;
	u8 *reported;
	struct llfree_delta changed;
};

int model_init(struct model *m, unsigned long first, unsigned long nr,
	       unsigned int tree_order, bool used);
void model_destroy(struct model *m);

static inline unsigned long model_child(const struct model *m,
					unsigned long frame)
{
	return (frame - m->base) / LLFREE_CHILD_FRAMES;
}

static inline bool model_inside(const struct model *m, unsigned long frame,
				unsigned long nr)
{
	return frame >= m->first && frame < m->end && nr <= m->end - frame;
}

/* Is a block wholly inside and free (used), in children of this view? */
bool model_all_free(const struct model *m, unsigned long frame,
		    unsigned long nr, int view);
bool model_all_used(const struct model *m, unsigned long frame,
		    unsigned long nr);
/* Does a child of the block have this view? */
bool model_touches_view(const struct model *m, unsigned long frame,
			unsigned long nr, int view);
void model_mark(struct model *m, unsigned long frame, unsigned long nr,
		bool used);
void model_set_view(struct model *m, unsigned long frame, int view);

/* Largest naturally aligned free block around @frame, or -1 */
int model_free_order(const struct model *m, unsigned long frame);
/* Is there a free naturally aligned block between two frames? */
bool model_has_block(const struct model *m, unsigned long from,
		     unsigned long to, unsigned int order, int view);
/* Number of free blocks of an order, also as part of larger ones */
unsigned long model_blocks(const struct model *m, unsigned int order, int view);
/* Frames of the row from @row on that are in the range and used, or free */
u64 model_row_mask(const struct model *m, unsigned long row, bool used);
void model_count_orders(const struct model *m, int view,
			unsigned long nr[LLFREE_NR_ORDERS]);
/* Counts the free frames and children of each view. */
void model_stats(const struct model *m, struct llfree_stats *stats);

#endif /* _LLFREE_TESTS_MODEL_H */
