// SPDX-License-Identifier: GPL-2.0
/* A reference model of the allocator. */
#include <linux/align.h>
#include <linux/bits.h>
#include <linux/errno.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "model.h"

int model_init(struct model *m, unsigned long first, unsigned long nr,
	       unsigned int tree_order, bool used)
{
	unsigned long frames;

	memset(m, 0, sizeof(*m));
	m->first = first;
	m->end = first + nr;
	m->base = ALIGN_DOWN(first, 1UL << tree_order);
	frames = ALIGN(m->end, 1UL << tree_order) - m->base;
	m->nr_children = frames / LLFREE_CHILD_FRAMES;
	m->used = kvcalloc(frames, 1, GFP_KERNEL);
	m->free = kvcalloc(m->nr_children, sizeof(*m->free), GFP_KERNEL);
	m->view = kvcalloc(m->nr_children, 1, GFP_KERNEL);
	m->reported = kvcalloc(m->nr_children, 1, GFP_KERNEL);
	if (!m->used || !m->free || !m->view || !m->reported) {
		model_destroy(m);
		return -ENOMEM;
	}
	memset(m->used, 1, frames);
	if (!used)
		model_mark(m, first, nr, false);
	memset(&m->changed, 0, sizeof(m->changed));
	return 0;
}

void model_destroy(struct model *m)
{
	kvfree(m->used);
	kvfree(m->free);
	kvfree(m->view);
	kvfree(m->reported);
	memset(m, 0, sizeof(*m));
}

bool model_all_free(const struct model *m, unsigned long frame,
		    unsigned long nr, int view)
{
	unsigned long f;

	if (!model_inside(m, frame, nr))
		return false;
	for (f = frame; f < frame + nr; f++) {
		if (m->used[f - m->base])
			return false;
		if (view != MODEL_ANY_VIEW && m->view[model_child(m, f)] != view)
			return false;
	}
	return true;
}

bool model_all_used(const struct model *m, unsigned long frame,
		    unsigned long nr)
{
	unsigned long f;

	if (!model_inside(m, frame, nr))
		return false;
	for (f = frame; f < frame + nr; f++)
		if (!m->used[f - m->base])
			return false;
	return true;
}

bool model_touches_view(const struct model *m, unsigned long frame,
			unsigned long nr, int view)
{
	unsigned long c;

	for (c = model_child(m, frame); c <= model_child(m, frame + nr - 1); c++)
		if (m->view[c] == view)
			return true;
	return false;
}

void model_mark(struct model *m, unsigned long frame, unsigned long nr,
		bool used)
{
	unsigned long f, c;
	int view;

	for (f = frame; f < frame + nr; f++) {
		c = model_child(m, f);
		view = m->view[c];
		m->used[f - m->base] = used;
		if (used) {
			m->changed.huge[view] -= m->free[c] == LLFREE_CHILD_FRAMES;
			m->changed.frames[view]--;
			m->free[c]--;
			m->reported[c] = 0;
		} else {
			m->free[c]++;
			m->changed.frames[view]++;
			m->changed.huge[view] += m->free[c] == LLFREE_CHILD_FRAMES;
		}
	}
}

void model_set_view(struct model *m, unsigned long frame, int view)
{
	unsigned long c = model_child(m, frame);
	int huge = m->free[c] == LLFREE_CHILD_FRAMES;

	m->changed.frames[m->view[c]] -= m->free[c];
	m->changed.huge[m->view[c]] -= huge;
	m->view[c] = view;
	m->changed.frames[view] += m->free[c];
	m->changed.huge[view] += huge;
}

int model_free_order(const struct model *m, unsigned long frame)
{
	int order, view;

	if (!model_all_free(m, frame, 1, MODEL_ANY_VIEW))
		return -1;
	view = m->view[model_child(m, frame)];
	for (order = LLFREE_MAX_ORDER; order > 0; order--)
		if (model_all_free(m, ALIGN_DOWN(frame, 1UL << order),
				   1UL << order, view))
			break;
	return order;
}

bool model_has_block(const struct model *m, unsigned long from,
		     unsigned long to, unsigned int order, int view)
{
	unsigned long nr = 1UL << order;
	unsigned long f;

	for (f = ALIGN(from, nr); f < to && nr <= to - f; f += nr)
		if (model_all_free(m, f, nr, view))
			return true;
	return false;
}

unsigned long model_blocks(const struct model *m, unsigned int order, int view)
{
	unsigned long size = 1UL << order, f, nr = 0;

	for (f = ALIGN_DOWN(m->first, size); f < m->end; f += size)
		nr += model_all_free(m, f, size, view);
	return nr;
}

u64 model_row_mask(const struct model *m, unsigned long row, bool used)
{
	u64 mask = 0;
	int i;

	for (i = 0; i < LLFREE_ROW_FRAMES; i++)
		if (used ? model_all_used(m, row + i, 1) :
			   model_all_free(m, row + i, 1, MODEL_ANY_VIEW))
			mask |= BIT_ULL(i);
	return mask;
}

void model_count_orders(const struct model *m, int view,
			unsigned long nr[LLFREE_NR_ORDERS])
{
	unsigned long f = m->first;
	int order;

	memset(nr, 0, LLFREE_NR_ORDERS * sizeof(*nr));
	while (f < m->end) {
		order = model_free_order(m, f);
		if (order >= 0 && m->view[model_child(m, f)] == view)
			nr[order]++;
		f += order > 0 ? 1UL << order : 1;
	}
}

void model_stats(const struct model *m, struct llfree_stats *stats)
{
	unsigned long c;

	memset(stats, 0, sizeof(*stats));
	for (c = 0; c < m->nr_children; c++) {
		stats->frames[m->view[c]] += m->free[c];
		stats->huge[m->view[c]] += m->free[c] == LLFREE_CHILD_FRAMES;
	}
}
