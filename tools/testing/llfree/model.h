/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the allocator should do, written to be obviously right: a byte per
 * frame, loops over frames. It knows nothing of trees, slots and classes.
 */
#ifndef _LLFREE_TEST_MODEL_H
#define _LLFREE_TEST_MODEL_H

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
 * @changed: what changed since the caller cleared it
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
void model_count_orders(const struct model *m, int view,
			unsigned long nr[LLFREE_NR_ORDERS]);

#endif /* _LLFREE_TEST_MODEL_H */
