// SPDX-License-Identifier: GPL-2.0
/*
 * A reference for placements: frames always come from the child that has the
 * fewest free ones.
 *
 * Frames that can move and others lie in different children as long as there is
 * a choice. There are no reservations, and a request looks at one child after the
 * other, the fullest first. So this is what a policy without knowledge of
 * lifetimes might reach if cost did not matter; it is no upper bound.
 */
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/llfree.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bestfit.h"

#define CHILD_FRAMES	((unsigned int)LLFREE_CHILD_FRAMES)

struct child {
	u64 rows[LLFREE_CHILD_ROWS];		/* 1 = allocated */
	unsigned int free;
	bool movable;
	struct hlist_node node;		/* children with as many free frames */
};

static struct {
	unsigned long first, nr;
	struct child *children;
	/* By kind and number of free frames; those that are entirely free have no kind. */
	struct hlist_head lists[2][LLFREE_CHILD_FRAMES + 1];
} fit;

static void list_child(struct child *c)
{
	hlist_add_head(&c->node, &fit.lists[c->free < CHILD_FRAMES && c->movable][c->free]);
}

/* Frames outside of @first to @first + @frames stay allocated. */
int bestfit_init(unsigned long first, unsigned long frames)
{
	unsigned long i, frame;

	fit.first = ALIGN_DOWN(first, CHILD_FRAMES);
	fit.nr = DIV_ROUND_UP(first + frames - fit.first, CHILD_FRAMES);
	fit.children = calloc(fit.nr, sizeof(*fit.children));
	if (!fit.children)
		return -1;
	for (i = 0; i < fit.nr; i++) {
		fit.children[i].free = CHILD_FRAMES;
		list_child(&fit.children[i]);
	}
	for (frame = fit.first; frame < fit.first + fit.nr * CHILD_FRAMES; frame++)
		if (frame < first || frame >= first + frames)
			bestfit_claim(frame, false);
	return 0;
}

static u64 row_mask(unsigned int order)
{
	return order < LLFREE_ROW_ORDER ? (1ULL << (1 << order)) - 1 : ~0ULL;
}

/* First frame of a free block in a child, or -1 */
static int child_find(const struct child *c, unsigned int order)
{
	const u64 mask = row_mask(order);
	unsigned int at, i, step = 1U << order;

	for (at = 0; at < CHILD_FRAMES; at += step) {
		u64 used = 0;

		for (i = 0; i < step; i += LLFREE_ROW_FRAMES)
			used |= c->rows[(at + i) / LLFREE_ROW_FRAMES];
		if (!(used >> at % LLFREE_ROW_FRAMES & mask))
			return at;
	}
	return -1;
}

static void child_change(struct child *c, unsigned int at, unsigned int order, bool free)
{
	const u64 mask = row_mask(order) << at % LLFREE_ROW_FRAMES;
	unsigned int i;

	hlist_del(&c->node);
	for (i = 0; i < 1U << order; i += LLFREE_ROW_FRAMES) {
		if (free)
			c->rows[(at + i) / LLFREE_ROW_FRAMES] &= ~mask;
		else
			c->rows[(at + i) / LLFREE_ROW_FRAMES] |= mask;
	}
	c->free += free ? 1 << order : -(1 << order);
	list_child(c);
}

static long child_alloc(struct child *c, unsigned int at, unsigned int order, bool movable)
{
	if (c->free == CHILD_FRAMES)
		c->movable = movable;
	child_change(c, at, order, false);
	return fit.first + (c - fit.children) * CHILD_FRAMES + at;
}

/* Two children that are entirely free, for a block of twice the size */
static long alloc_pair(bool movable)
{
	struct child *c = fit.children;
	unsigned long i = fit.first / CHILD_FRAMES & 1;

	for (; i + 1 < fit.nr; i += 2) {
		if (c[i].free == CHILD_FRAMES && c[i + 1].free == CHILD_FRAMES) {
			child_alloc(&c[i + 1], 0, LLFREE_CHILD_ORDER, movable);
			return child_alloc(&c[i], 0, LLFREE_CHILD_ORDER, movable);
		}
	}
	return -1;
}

void bestfit_claim(unsigned long frame, bool movable)
{
	unsigned long at = frame - fit.first;

	child_alloc(&fit.children[at / CHILD_FRAMES], at % CHILD_FRAMES, 0, movable);
}

/* Return: the first frame, or -1 */
long bestfit_alloc(unsigned int order, bool movable)
{
	/* Its own kind, then what is entirely free, then the other kind */
	const bool kinds[] = { movable, false, !movable };
	unsigned int i, free, end;
	struct child *c;
	int at;

	if (order > LLFREE_CHILD_ORDER)
		return alloc_pair(movable);
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		free = i == 1 ? CHILD_FRAMES : 1U << order;
		end = i == 1 ? CHILD_FRAMES + 1 : CHILD_FRAMES;
		for (; free < end; free++) {
			hlist_for_each_entry(c, &fit.lists[kinds[i]][free], node) {
				at = child_find(c, order);
				if (at >= 0)
					return child_alloc(c, at, order, movable);
			}
		}
	}
	return -1;
}

void bestfit_free(unsigned long frame, unsigned int order)
{
	unsigned long at = frame - fit.first;

	if (order > LLFREE_CHILD_ORDER) {
		bestfit_free(frame + CHILD_FRAMES, LLFREE_CHILD_ORDER);
		order = LLFREE_CHILD_ORDER;
	}
	child_change(&fit.children[at / CHILD_FRAMES], at % CHILD_FRAMES, order, true);
}
