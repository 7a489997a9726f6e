// SPDX-License-Identifier: GPL-2.0
/*
 * The operations of threads, each with a name for programs. An operation
 * updates the books of the world, and tells the checks of interleave-watch.c
 * when it begins and ends.
 */
#include <linux/align.h>
#include <linux/bits.h>

#include "interleave-ops.h"
#include "interleave-watch.h"
#include "interleave-world.h"

static void alloc_by(int actor, struct llfree_request req,
		     long (*by)(struct llfree *llf, const struct llfree_request *req,
				struct llfree_delta *delta))
{
	long frame;

	begin_alloc(actor, &req);
	frame = by(llf, &req, &books.sum);
	end_alloc(actor, &req, frame);
	if (frame >= 0)
		own_visible(actor, frame, 1UL << req.order);
}

static void alloc_req(int actor, struct llfree_request req)
{
	alloc_by(actor, req, llfree_alloc);
}

static void op_alloc_fast(int actor, int order)
{
	alloc_by(actor, (struct llfree_request){
		.slot = slot_of[actor], .order = order,
		.class = LLFREE_CLASS_MOVABLE }, inst_alloc_fast);
}

static void op_alloc(int actor, int order)
{
	alloc_req(actor, (struct llfree_request){
		.slot = slot_of[actor], .order = order,
		.class = LLFREE_CLASS_MOVABLE });
}

/*
 * Allocate for another class than that of partly used trees, without mixing
 * with it.
 */
static void op_alloc_class(int actor, int order)
{
	alloc_req(actor, (struct llfree_request){
		.slot = slot_of[actor], .order = order,
		.class = LLFREE_CLASS_UNMOVABLE,
		.flags = LLFREE_ALLOC_NOFRAGMENT });
}

static void op_alloc_no_slot(int actor, int order)
{
	alloc_req(actor, (struct llfree_request){
		.slot = LLFREE_NO_SLOT, .order = order,
		.class = LLFREE_CLASS_MOVABLE });
}

static void op_alloc_cma(int actor, int order)
{
	alloc_req(actor, (struct llfree_request){
		.slot = slot_of[actor], .order = order,
		.class = LLFREE_CLASS_MOVABLE, .view = LLFREE_VIEW_CMA });
}

static void alloc_batch(int actor, int slot, int order)
{
	struct llfree_request req = {
		.slot = slot, .order = order, .class = LLFREE_CLASS_MOVABLE,
	};
	u64 masks[LLFREE_CHILD_ROWS];
	unsigned int i;
	long child;

	begin_alloc(actor, &req);
	child = inst_alloc_batch(llf, &req, CHILD >> order, masks, &books.sum);
	end_alloc(actor, &req, child);
	for (i = 0; child >= 0 && i < CHILD; i++)
		if (batch_has(masks, i))
			own_visible(actor, child + i, 1);
}

/*
 * Allocate all blocks that the slot has at hand; otherwise a row from anywhere.
 */
static void op_alloc_batch(int actor, int order)
{
	alloc_batch(actor, slot_of[actor], order);
}

/* Allocate a row from anywhere. */
static void op_alloc_batch_no_slot(int actor, int order)
{
	alloc_batch(actor, LLFREE_NO_SLOT, order);
}

/* Free the first own block from @frame on, if there is one. */
static void free_own(int actor, unsigned long frame, int order, bool reported)
{
	unsigned long nr = 1UL << order;
	int ret;

	for (; frame < HIDDEN_CHILD; frame += nr) {
		if (!owns(actor, frame, nr))
			continue;
		disown(actor, frame, nr);
		if (reported)
			ret = llfree_free_reported(llf, frame, order, &books.sum);
		else
			ret = llfree_free(llf, slot_of[actor], frame, order, &books.sum);
		if (ret)
			fail("cannot free own block", frame);
		free_done(actor, frame, nr);
		return;
	}
}

static void op_free(int actor, int order)
{
	free_own(actor, order > 5 ? SHARED_HALVES : SHARED_FRAMES, order, false);
}

/* Free the child that the thread has allocated, or else its own child. */
static void op_free_reported(int actor, int order)
{
	free_own(actor, FREE_PAIR, order, true);
}

/*
 * Free a block that the thread has allocated; other threads may be searching
 * for it.
 */
static void op_free_allocated(int actor, int order)
{
	unsigned long frame, nr = 1UL << order;

	for (frame = FREE_PAIR; frame < SHARED_FRAMES; frame += nr) {
		if (!owns(actor, frame, nr))
			continue;
		disown(actor, frame, nr);
		if (llfree_free(llf, slot_of[actor], frame, order, &books.sum)) {
			/* A stray free leaks frames at worst. */
			if (strayed)
				own(ACTOR_OTHER, frame, nr);
			else
				fail("cannot free what was allocated", frame);
		}
		free_done(actor, frame, nr);
		return;
	}
}

/*
 * Free a frame that another thread owns as a piece of a child, or that is free.
 * If the child step comes in the same turn, the core cannot know. If the child
 * was freed or allocated as a whole meanwhile, the core has to refuse the free.
 */
static void op_stray(int actor, int unused)
{
	struct llfree_delta delta = { };
	int view;

	strayed = true;
	/*
	 * Either an interrupted thread makes the step that reads it, or
	 * before_step() corrects this.
	 */
	strays[actor] = (struct stray){
		.active = true,
		.turn = world.children[STRAY_CHILD] & CHILD_TURN_MASK,
	};
	llfree_free(llf, slot_of[actor], STRAY_FRAME, 0, &delta);
	strays[actor].active = false;
	for (view = 0; view < LLFREE_NR_VIEWS; view++)
		if (delta.frames[view])
			fail("a stray free was not noticed", STRAY_FRAME);
}

static void op_free_word(int actor, int unused)
{
	unsigned long row = (SHARED_FRAMES - BASE) / ROW;
	u64 mask = books.owned[actor][row];
	unsigned int i;

	if (!mask)
		return;
	for (i = 0; i < ROW; i++)
		if (mask & BIT_ULL(i))
			disown(actor, SHARED_FRAMES + i, 1);
	if (llfree_free_batch(llf, slot_of[actor], SHARED_FRAMES, mask, &books.sum))
		fail("cannot free own frames", SHARED_FRAMES);
	free_done(actor, SHARED_FRAMES, ROW);
}

/* Free a block with a frame that stays free, since no thread may have it. */
static void op_bad_free(int actor, int order)
{
	unsigned long frame = ALIGN_DOWN(FREE_FRAME, 1UL << order);

	if (!llfree_free(llf, slot_of[actor], frame, order, &books.sum))
		fail("freed a block that is partly free", frame);
}

/*
 * Free the first block while other threads allocate in it, unless they can
 * allocate all.
 */
static void op_bad_free_free(int actor, int order)
{
	if (child_free(saved_world.children[0]) < 2 * EXPLORE_THREADS)
		return;
	if (!llfree_free(llf, slot_of[actor], FREE_PAIR, order, &books.sum))
		fail("freed a block that is partly free", FREE_PAIR);
}

/*
 * Free the second half of the first child. Its last row is free, and others may
 * be.
 */
static void op_bad_free_half(int actor, int order)
{
	unsigned long frame = FREE_PAIR + CHILD / 2;

	if (saved_world.rows[LLFREE_CHILD_ROWS - 1] !=
	    free_bits(saved_world.children[0]))
		return;
	if (!llfree_free(llf, slot_of[actor], frame, order, &books.sum))
		fail("freed a block that is partly free", frame);
}

static void op_claim(int actor, int order)
{
	if (!llfree_claim(llf, FREE_PAIR, order, 0, &books.sum))
		own_visible(actor, FREE_PAIR, 1UL << order);
}

static void op_claim_second_row(int actor, int order)
{
	if (!llfree_claim(llf, FREE_PAIR + ROW, order, 0, &books.sum))
		own_visible(actor, FREE_PAIR + ROW, 1UL << order);
}

/* Claim the second frame, also if its child is isolated. */
static void op_claim_hidden(int actor, int unused)
{
	if (!llfree_claim(llf, FREE_PAIR + 1, 0, LLFREE_CLAIM_HIDDEN, &books.sum))
		own(actor, FREE_PAIR + 1, 1);
}

static void op_claim_row(int actor, int flags)
{
	unsigned int i;
	u64 mask;

	if (llfree_claim_row(llf, FREE_PAIR, ~0xf0fULL, flags, &mask,
			     &books.sum) < 0)
		return;
	for (i = 0; i < ROW; i++)
		if (mask & BIT_ULL(i))
			own(actor, FREE_PAIR + i, 1);
}

/* Change the view of a child that allocations use. */
void op_view(int actor, int view)
{
	set_view(actor, FREE_PAIR, view);
	if (events)
		explore_event(true);
}

/*
 * Isolate a child that allocations use, or one that frees use if nothing is
 * free there. Then check that no operation is under way.
 */
static void op_isolate_wait(int actor, int unused)
{
	unsigned long frame = child_free(saved_world.children[0]) ?
		FREE_PAIR : SHARED_FRAMES;

	set_view(actor, frame, LLFREE_VIEW_ISOLATED);
	begin_stable(actor, (frame - BASE) / CHILD);
	end_stable(actor, llfree_child_stable(llf, frame));
}

/* Change the view of children that frees use. */
static void op_view_free(int actor, int view)
{
	set_view(actor, SHARED_FRAMES, view);
	set_view(actor, SHARED_HALVES, view);
}

/*
 * Change the view of a child of the second tree, in which no thread owns
 * frames.
 */
static void op_view_second(int actor, int view)
{
	set_view(actor, SECOND_TREE, view);
}

static void op_drain(int actor, int slot)
{
	if (llfree_drain(llf, slot))
		fail("drain", slot);
}

/* Set the slots while other threads run without slots. */
static void op_set_slots(int actor, int unused)
{
	explore_give(&slots_stamp);
	if (llfree_set_slots(llf, world.locals, NR_SLOTS))
		fail("set_slots", NR_SLOTS);
}

static void op_alloc_late_slot(int actor, int order)
{
	bool slots = llfree_nr_slots(llf);

	if (slots && weak)
		explore_take(&slots_stamp, NR_SLOTS);
	alloc_req(actor, (struct llfree_request){
		.slot = slots ? slot_of[actor] : LLFREE_NO_SLOT,
		.order = order, .class = LLFREE_CLASS_MOVABLE });
}

const struct op ops[] = {
	{ "alloc0", op_alloc, 0 },
	{ "alloc3", op_alloc, 3 },
	{ "alloc6", op_alloc, 6 },
	{ "alloc7", op_alloc, 7 },
	{ "alloc8", op_alloc, 8 },
	{ "alloc9", op_alloc, 9 },
	{ "alloc10", op_alloc, 10 },
	{ "quick0", op_alloc_fast, 0 },
	{ "quick4", op_alloc_fast, 4 },
	{ "quick6", op_alloc_fast, 6 },
	{ "alloc0class", op_alloc_class, 0 },
	{ "alloc9class", op_alloc_class, 9 },
	{ "alloc0noslot", op_alloc_no_slot, 0 },
	{ "alloc7noslot", op_alloc_no_slot, 7 },
	{ "alloc2cma", op_alloc_cma, 2 },
	{ "alloc9cma", op_alloc_cma, 9 },
	{ "batch0", op_alloc_batch, 0 },
	{ "batch3", op_alloc_batch, 3 },
	{ "batch0noslot", op_alloc_batch_no_slot, 0 },
	{ "batch2noslot", op_alloc_batch_no_slot, 2 },
	{ "free0", op_free, 0 },
	{ "free6", op_free, 6 },
	{ "free8", op_free, 8 },
	{ "free9", op_free, 9 },
	{ "freereported", op_free_reported, 9 },
	{ "freeword", op_free_word, 0 },
	{ "badput9", op_bad_free, 9 },
	{ "badput10", op_bad_free, 10 },
	{ "claim0", op_claim, 0 },
	{ "claim6", op_claim, 6 },
	{ "claim7", op_claim, 7 },
	{ "claim8", op_claim, 8 },
	{ "claim9", op_claim, 9 },
	{ "claim10", op_claim, 10 },
	{ "claimrow", op_claim_row, LLFREE_CLAIM_HIDDEN },
	{ "isolate", op_view, LLFREE_VIEW_ISOLATED },
	{ "tocma", op_view, LLFREE_VIEW_CMA },
	{ "tonormal", op_view, LLFREE_VIEW_NORMAL },
	{ "isolateput", op_view_free, LLFREE_VIEW_ISOLATED },
	{ "tocmaput", op_view_free, LLFREE_VIEW_CMA },
	{ "isolatewait", op_isolate_wait },
	{ "drain0", op_drain, 0 },
	{ "drainall", op_drain, -1 },
	{ "free6got", op_free_allocated, 6 },
	/* The operations from here on do not run in pairs of their own. */
	{ "free0got", op_free_allocated, 0 },
	{ "claim0row1", op_claim_second_row, 0 },
	{ "free9got", op_free_allocated, 9 },
	{ "badputfree9", op_bad_free_free, 9 },
	{ "badputhalf8", op_bad_free_half, 8 },
	{ "claimhidden", op_claim_hidden },
	{ "setslots", op_set_slots },
	{ "stray", op_stray },
	{ "alloc0late", op_alloc_late_slot, 0 },
	{ "isolatesecond", op_view_second, LLFREE_VIEW_ISOLATED },
	{ "tonormalsecond", op_view_second, LLFREE_VIEW_NORMAL },
};

const unsigned int nr_ops = ARRAY_SIZE(ops);
const unsigned int nr_paired = ARRAY_SIZE(ops) - 11;
