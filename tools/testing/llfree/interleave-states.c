// SPDX-License-Identifier: GPL-2.0
/*
 * States that runs start from: frames that are free beside the common part of
 * all states, and the content of slots, trees and hints
 */
#include <stdlib.h>

#include "interleave-states.h"
#include "interleave-world.h"

static void take_second_tree(void)
{
	unsigned long frame;

	for (frame = SECOND_TREE; frame < BASE + NR; frame += CHILD)
		claim_for(ACTOR_OTHER, frame, LLFREE_CHILD_ORDER);
}

static void leave_only(unsigned long nr)
{
	take_second_tree();
	claim_frames(ACTOR_OTHER, FREE_PAIR + nr, 2 * CHILD - nr);
}

void state_fresh(void)
{
}

void state_pair(void)
{
	take_second_tree();
}

void state_half(void)
{
	leave_only(CHILD / 2);
}

void state_row(void)
{
	leave_only(ROW);
}

/*
 * Only the last row of a child is free, so searches and bad frees pass the
 * others.
 */
void state_tail(void)
{
	take_second_tree();
	claim_frames(ACTOR_OTHER, FREE_PAIR, CHILD - ROW);
	claim_for(ACTOR_OTHER, FREE_PAIR + CHILD, LLFREE_CHILD_ORDER);
}

void state_two(void)
{
	leave_only(2);
}

/*
 * Only frames next to those of threads are free, so that there are permits
 * before a free.
 */
void state_crowded(void)
{
	leave_only(0);
	disown(ACTOR_OTHER, SHARED_FRAMES + 61, 1);
	llfree_free(llf, LLFREE_NO_SLOT, SHARED_FRAMES + 61, 0, &books.sum);
	disown(ACTOR_OTHER, SHARED_FRAMES + 63, 1);
	llfree_free(llf, LLFREE_NO_SLOT, SHARED_FRAMES + 63, 0, &books.sum);
}

/* Rows 0 and 2 of a child belong to threads; rows 1, 3, 4 and 5 are free. */
void state_rows(void)
{
	take_second_tree();
	claim_for(0, FREE_PAIR, LLFREE_ROW_ORDER);
	claim_for(1, FREE_PAIR + 2 * ROW, LLFREE_ROW_ORDER);
	claim_for(ACTOR_OTHER, FREE_PAIR + 6 * ROW, LLFREE_ROW_ORDER + 1);
	claim_for(ACTOR_OTHER, FREE_PAIR + CHILD, LLFREE_CHILD_ORDER);
}

/* Rows 0 and 2 of a child belong to threads, and no frame is free. */
void state_rows_full(void)
{
	state_rows();
	claim_for(ACTOR_OTHER, FREE_PAIR + ROW, LLFREE_ROW_ORDER);
	claim_for(ACTOR_OTHER, FREE_PAIR + 3 * ROW, LLFREE_ROW_ORDER);
	claim_for(ACTOR_OTHER, FREE_PAIR + 4 * ROW, LLFREE_ROW_ORDER + 1);
}

/* Row 0 belongs to a thread, row 1 is free, and so are single frames of another child. */
void state_one_row(void)
{
	unsigned long f;

	state_rows_full();
	disown(ACTOR_OTHER, FREE_PAIR + ROW, ROW);
	llfree_free(llf, LLFREE_NO_SLOT, FREE_PAIR + ROW, LLFREE_ROW_ORDER, &books.sum);
	free_done(ACTOR_OTHER, FREE_PAIR + ROW, ROW);
	for (f = FREE_PAIR + CHILD; f < FREE_PAIR + 2 * CHILD; f += 2) {
		disown(ACTOR_OTHER, f, 1);
		llfree_free(llf, LLFREE_NO_SLOT, f, 0, &books.sum);
		free_done(ACTOR_OTHER, f, 1);
	}
}

void state_full(void)
{
	leave_only(0);
}

void state_holes(void)
{
	unsigned long f;

	take_second_tree();
	for (f = FREE_PAIR; f < FREE_PAIR + 2 * CHILD; f += 16)
		claim_for(ACTOR_OTHER, f, 0);
}

void state_views(void)
{
	leave_only(2 * CHILD);
	set_view(ACTOR_OTHER, FREE_PAIR, LLFREE_VIEW_ISOLATED);
	set_view(ACTOR_OTHER, FREE_PAIR + CHILD, LLFREE_VIEW_CMA);
	set_view(ACTOR_OTHER, SHARED_FRAMES, LLFREE_VIEW_HIGHATOMIC);
}

static void alloc_free_once(int slot, unsigned int order)
{
	struct llfree_request req = {
		.slot = slot, .order = order, .class = LLFREE_CLASS_MOVABLE,
	};
	long frame = llfree_alloc(llf, &req, &books.sum);

	if (frame >= 0)
		llfree_free(llf, slot, frame, order, &books.sum);
}

/*
 * The first slot has reserved the tree from which all threads want to allocate.
 */
void state_reserved(void)
{
	take_second_tree();
	alloc_free_once(0, 0);
	claim_frames(ACTOR_OTHER, FREE_PAIR + 64, 2 * CHILD - 64);
}

/* The first thread owns a whole child, and nothing else is free. */
void state_whole_owned(void)
{
	leave_only(0);
	disown(ACTOR_OTHER, FREE_PAIR, CHILD);
	llfree_free(llf, LLFREE_NO_SLOT, FREE_PAIR, LLFREE_CHILD_ORDER, &books.sum);
	free_done(ACTOR_OTHER, FREE_PAIR, CHILD);
	claim_for(0, FREE_PAIR, LLFREE_CHILD_ORDER);
}

/* The first slot has used up its permits, and others have freed frames to the tree. */
void state_lent(void)
{
	struct llfree_request req = { .class = LLFREE_CLASS_MOVABLE };
	unsigned int i;
	long frame;

	take_second_tree();
	claim_frames(ACTOR_OTHER, FREE_PAIR + 24, 2 * CHILD - 24);
	for (i = 0; i < 24; i++) {
		frame = llfree_alloc(llf, &req, &books.sum);
		own(ACTOR_OTHER, frame, 1);
	}
	for (frame = FREE_PAIR; frame < FREE_PAIR + 3; frame++) {
		disown(ACTOR_OTHER, frame, 1);
		llfree_free(llf, LLFREE_NO_SLOT, frame, 0, &books.sum);
	}
}

/*
 * The second slot has reserved a tree that is all free, but the tree has its
 * permits.
 */
void state_tree_lent(void)
{
	struct llfree_request req = {
		.slot = 1, .order = LLFREE_CHILD_ORDER,
		.class = LLFREE_CLASS_MOVABLE,
	};
	unsigned long frame;

	claim_for(ACTOR_OTHER, FREE_PAIR, LLFREE_MAX_ORDER);
	while (llfree_alloc(llf, &req, &books.sum) >= 0)
		;
	for (frame = SECOND_TREE; frame < BASE + NR; frame += CHILD)
		llfree_free(llf, LLFREE_NO_SLOT, frame, LLFREE_CHILD_ORDER,
			    &books.sum);
}

void state_no_slots(void)
{
	if (llfree_set_slots(llf, NULL, 0))
		abort();
}

/* A slot that no thread uses has reserved the tree. */
void state_foreign(void)
{
	take_second_tree();
	alloc_free_once(2, 0);
	claim_frames(ACTOR_OTHER, FREE_PAIR + 192, 2 * CHILD - 192);
}

/* Searches of many orders were unsuccessful. */
void state_exhausted(void)
{
	unsigned int view, order;

	leave_only(6);
	for (view = 0; view < LLFREE_ALLOC_VIEWS; view++)
		for (order = 8; order > 2; order--) {
			struct llfree_request req = {
				.slot = 1, .order = order, .view = view,
				.class = LLFREE_CLASS_MOVABLE,
			};

			llfree_alloc(llf, &req, &books.sum);
		}
}
