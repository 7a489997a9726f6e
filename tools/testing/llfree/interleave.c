// SPDX-License-Identifier: GPL-2.0
/*
 * Every way in which a few operations of the core can meet.
 *
 * Small programs of one or two operations for each of two to four threads start
 * from states in which they get in each other's way. explore() runs them in all
 * orders; see there. What must hold in each of them:
 *
 *   - no frame is owned twice, and no free of an own frame fails;
 *   - an allocation does not fail if a block that fits was free all the while, nor if at
 *     each moment there was some block that fits, if not always the same;
 *   - an allocation does not return a frame of a child that had another view all the
 *     while, so nothing of an isolated child once isolating has returned;
 *   - no thread gets what is free in a child that was isolated and found stable,
 *     and at some moment of that check no operation was between two steps there;
 *   - at the end rows are what owners own, all counters agree, and no hint hides
 *     a block;
 *   - with weak memory, who gets a frame sees what its last owner did;
 *   - while preemption is on in all threads, each child counts exactly the bits
 *     that are clear, so that no block is out of reach of an allocation;
 *   - if a thread is stopped between any two of its steps, the others come to
 *     their ends, in a bounded number of steps.
 *
 * EFFORT=n in the environment makes the limits n times as high (default 1).
 * TRACE=1 prints all steps of each run.
 */
#include <linux/align.h>
#include <linux/bitops.h>
#include <linux/bits.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <shim/atomic.h>
#include <shim/shim.h>

#include "explore.h"
#include "lower.h"
#include "inst.h"
#include "kselftest_harness.h"

#define CHILD		LLFREE_CHILD_FRAMES
#define ROW		LLFREE_ROW_FRAMES
#define NR_TREES	2
#define BASE		(6 * LLFREE_MIN_TREE_FRAMES)
#define NR		(NR_TREES * LLFREE_MIN_TREE_FRAMES)
#define NR_CHILDREN	(NR / CHILD)
#define NR_ROWS		(NR / ROW)
#define NR_SLOTS	3

/* What the children of the first tree are for; the second is free or not. */
#define FREE_PAIR	BASE
/* Threads own one frame each in turn, of a word, and halves. */
#define SHARED_FRAMES	(BASE + 2 * CHILD)
#define SHARED_HALVES	(BASE + 3 * CHILD)
#define OWN_CHILD(t)	(BASE + (4 + (t)) * CHILD)
/* Three threads own something. */
#define NR_OWNERS	3
/* Isolated all the time; nobody may have its last frame. */
#define HIDDEN_CHILD	(BASE + 7 * CHILD)
#define FREE_FRAME	(BASE + 8 * CHILD - 1)
#define SECOND_TREE	(BASE + LLFREE_MIN_TREE_FRAMES)

/* What strays free a frame of */
#define STRAY_CHILD	((FREE_PAIR - BASE) / CHILD)
#define STRAY_FRAME	(FREE_PAIR + 5)

/* Who owns frames: threads, what interrupts them, and somebody else */
#define ACTOR_IRQ(t)	(EXPLORE_THREADS + (t))
#define ACTOR_OTHER	(2 * EXPLORE_THREADS)
#define NR_ACTORS	(ACTOR_OTHER + 1)

/* ---- The world ---- */

/* All that the core keeps; rows are first, so that 8 bytes keep aligned. */
static struct world {
	u64 rows[NR_ROWS];
	u16 children[ALIGN(NR_CHILDREN, 32)];
	u32 trees[LLFREE_ALLOC_VIEWS][16];
	struct llfree_local locals[NR_SLOTS];
	struct llfree llf;
} ____cacheline_aligned world, saved_world;

/*
 * A free of a frame that the caller does not own, by actor
 * @active: under way
 * @wrote: the bit was cleared
 * @steps: number of steps
 * @turn: of the child, as the first step read it
 */
static struct stray {
	bool active;
	bool wrote;
	unsigned int steps;
	u16 turn;
} strays[NR_ACTORS];
/* There was one in this run. It freed a frame in use, and no check is of use. */
static bool strayed, excused;

static void fail(const char *why, unsigned long where)
{
	if (!excused)
		explore_fail(why, where);
}

/* A row of it, 1 = allocated; not a step of a thread */
static u64 world_row(unsigned int row)
{
	return world.rows[row] ^ free_bits(world.children[row / LLFREE_CHILD_ROWS]);
}

static struct llfree *const llf = &world.llf;

static struct books {
	u64 owned[NR_ACTORS][NR_ROWS];
	struct llfree_delta sum;
} books, saved_books;

static struct llfree_stats start_stats;

/* Allocations under way, by actor: what was not free or not to be seen since then */
static struct alloc_watch {
	bool active;
	/* Was there a moment without any block that fits? */
	bool none;
	unsigned int order;
	unsigned int view;
	u64 used[NR_ROWS];
	u16 least[NR_CHILDREN];
	u8 views[NR_CHILDREN];
} watches[NR_ACTORS];

/*
 * What became free counts for searches once the operation that made it free has
 * returned: frames that are being freed, and by actor the children in which something
 * else made frames free.
 */
static u64 being_freed[NR_ROWS];
static bool freeing[NR_ACTORS];
static unsigned long unsettled[NR_ACTORS];
/* Rows and children before the last change */
static u64 last_rows[NR_ROWS];
static u16 last_children[NR_CHILDREN];

static struct explore_stamp stamps[NR];
static struct explore_stamp slots_stamp;
static unsigned long stamped[1024];
static unsigned int nr_stamped;

/* Children that changed since they were last found to count their clear bits */
static unsigned long changed_children;

/* Children found isolated and stable, and what was free in them then */
static bool closed[NR_CHILDREN];
static u64 closed_rows[NR_ROWS];

/* The check of a child under way, by actor, and what it may say: a bit per number */
static struct stable_watch {
	bool active;
	unsigned int child;
	u64 may_say[CHILD / 64 + 1];
} stables[NR_ACTORS];

static unsigned int slot_of[NR_ACTORS];
/* Is a thread interrupted? */
static bool in_irq[EXPLORE_THREADS];
/* Does an actor change the view of a child? */
static bool viewing[NR_ACTORS];
static bool weak;
/* Do threads note when they begin and return? */
static bool events;

static const char *word_name(const void *p)
{
	static char name[64];
	size_t at = (char *)p - (char *)&world;
	unsigned int view;

	if (at < offsetof(struct world, children)) {
		snprintf(name, sizeof(name), "row %zu", at / sizeof(u64));
	} else if (at < offsetof(struct world, trees)) {
		at -= offsetof(struct world, children);
		snprintf(name, sizeof(name), "child %zu", at / sizeof(u16));
	} else if (at < offsetof(struct world, locals)) {
		at = (at - offsetof(struct world, trees)) / sizeof(u32);
		snprintf(name, sizeof(name), "tree %zu view %zu", at % 16, at / 16);
	} else if (at < offsetof(struct world, llf)) {
		at = (at - offsetof(struct world, locals)) / sizeof(u64);
		snprintf(name, sizeof(name), "slot %zu word %zu", at / 8, at % 8);
	} else {
		view = (u32 *)p - llf->hint;
		if (p == &llf->nr_slots)
			return "number of slots";
		if (p == &llf->locals)
			return "slots";
		snprintf(name, sizeof(name), "hint %u", view);
	}
	return name;
}

static u64 row_bits(unsigned long frame, unsigned long nr)
{
	return nr >= ROW ? ~0ULL : ((1ULL << nr) - 1) << (frame % ROW);
}

static void own(int actor, unsigned long frame, unsigned long nr)
{
	unsigned long row = (frame - BASE) / ROW, end, f;
	u64 bits = row_bits(frame, nr);
	int a;

	if (frame < BASE || frame + nr > BASE + NR || !IS_ALIGNED(frame, nr)) {
		fail("got a block that cannot be", frame);
		return;
	}
	for (end = row + max(nr / ROW, 1UL); row < end; row++) {
		for (a = 0; a < NR_ACTORS; a++)
			if (books.owned[a][row] & bits)
				fail("got a frame that is in use", frame);
		books.owned[actor][row] |= bits;
	}
	if (weak)
		for (f = frame - BASE; f < frame - BASE + nr; f++)
			explore_take(&stamps[f], frame);
}

/* What was free in an isolated child stays free, but for claims of hidden frames. */
static void own_visible(int actor, unsigned long frame, unsigned long nr)
{
	unsigned long row = (frame - BASE) / ROW, end;

	for (end = row + max(nr / ROW, 1UL); row < end; row++)
		if (closed[row / LLFREE_CHILD_ROWS] &&
		    ~closed_rows[row] & row_bits(frame, nr))
			fail("got a frame of a stable isolated child",
			     frame);
	own(actor, frame, nr);
}

/* Before a free, since what is freed can be allocated again before the free returns */
static void disown(int actor, unsigned long frame, unsigned long nr)
{
	unsigned long row = (frame - BASE) / ROW, end, f;
	u64 bits = row_bits(frame, nr);

	freeing[actor] = true;
	for (end = row + max(nr / ROW, 1UL); row < end; row++) {
		books.owned[actor][row] &= ~bits;
		being_freed[row] |= bits;
	}
	if (!weak)
		return;
	/* The first and the last one stand for a large block. */
	for (f = frame - BASE; f < frame - BASE + nr; f += max(nr - 1, 1UL)) {
		if (nr_stamped == ARRAY_SIZE(stamped))
			abort();
		stamped[nr_stamped++] = f;
		explore_give(&stamps[f]);
	}
}

static void free_done(int actor, unsigned long frame, unsigned long nr)
{
	unsigned long row = (frame - BASE) / ROW, end;

	freeing[actor] = false;
	for (end = row + max(nr / ROW, 1UL); row < end; row++)
		being_freed[row] &= ~row_bits(frame, nr);
}

static bool owns(int actor, unsigned long frame, unsigned long nr)
{
	unsigned long row = (frame - BASE) / ROW, end;
	u64 bits = row_bits(frame, nr);

	for (end = row + max(nr / ROW, 1UL); row < end; row++)
		if ((books.owned[actor][row] & bits) != bits)
			return false;
	return true;
}

/* ---- Allocations that fail, or see what they should not ---- */

/* Children in which operations under way have shown frames */
static unsigned long unsettled_children(void)
{
	unsigned long all = 0;
	int a;

	for (a = 0; a < NR_ACTORS; a++)
		all |= unsettled[a];
	return all;
}

/*
 * Is there a block in this view, in @nr_rows rows from @first on?
 * @settled: one that no operation under way has made
 */
static bool has_block(unsigned int first, unsigned int nr_rows, unsigned int order,
		      unsigned int view, bool settled)
{
	unsigned int frames = 1U << order, c, r, nr = max(frames / ROW, 1UL);
	const unsigned long skip = settled ? unsettled_children() : 0;
	u64 used;

	for (r = first; r < first + nr_rows; r += nr) {
		for (c = r / LLFREE_CHILD_ROWS;
		     c <= (r + nr - 1) / LLFREE_CHILD_ROWS; c++)
			if (skip & BIT(c) ||
			    child_view(world.children[c]) != view ||
			    child_free(world.children[c]) < min_t(u32, frames, CHILD))
				break;
		if (c <= (r + nr - 1) / LLFREE_CHILD_ROWS)
			continue;
		for (c = r, used = 0; c < r + nr; c++)
			used |= world_row(c) | (settled ? being_freed[c] : 0);
		if (nr > 1 ? !used : !!row_runs(used, order))
			return true;
	}
	return false;
}

static bool block_now(unsigned int order, unsigned int view)
{
	return has_block(0, NR_ROWS, order, view, true);
}

/* Free frames of a child that are being freed */
static unsigned int bits_to_free(unsigned int child)
{
	unsigned int r, nr = 0;

	for (r = child * LLFREE_CHILD_ROWS; r < (child + 1) * LLFREE_CHILD_ROWS; r++)
		nr += hweight64(being_freed[r] & ~world_row(r));
	return nr;
}

static void watch_start(int actor)
{
	struct alloc_watch *w = &watches[actor];
	unsigned int c, free;

	w->active = true;
	w->none = !block_now(w->order, w->view);
	/*
	 * With weak memory, nothing makes an allocation see at once what others did. But
	 * what has been free since the start is free in all it can see.
	 */
	if (weak) {
		*w = watches[ACTOR_OTHER];
		return;
	}
	/* A block that an operation under way has made may be seen when that is done. */
	for (c = 0; c < NR_ROWS; c++)
		w->used[c] = world_row(c) | being_freed[c];
	for (c = 0; c < NR_CHILDREN; c++) {
		free = child_free(world.children[c]);
		w->least[c] = unsettled_children() & BIT(c) ? 0 :
			      free - min(free, bits_to_free(c));
		w->views[c] = 1U << child_view(world.children[c]);
	}
}

static void watch_word(struct alloc_watch *w, size_t at)
{
	if (at < offsetof(struct world, children)) {
		w->used[at / 8] |= world_row(at / 8);
	} else if (at < offsetof(struct world, trees)) {
		unsigned int c = (at - offsetof(struct world, children)) / 2, r;

		w->least[c] = min_t(u16, w->least[c],
				    child_free(world.children[c]));
		w->views[c] |= 1U << child_view(world.children[c]);
		/* The next turn changes what the rows mean. */
		for (r = c * LLFREE_CHILD_ROWS; r < (c + 1) * LLFREE_CHILD_ROWS; r++)
			w->used[r] |= world_row(r);
	}
}

static unsigned int clear_bits(unsigned int child)
{
	unsigned int i, clear = 0;

	for (i = 0; i < LLFREE_CHILD_ROWS; i++)
		clear += hweight64(~world_row(child * LLFREE_CHILD_ROWS + i));
	return clear;
}

/* A child is stable now if it counts its clear bits. */
static void stable_moment(struct stable_watch *w)
{
	unsigned int clear = clear_bits(w->child);

	if (clear == child_free(world.children[w->child]))
		w->may_say[clear / 64] |= BIT_ULL(clear % 64);
}

/* Did the change of a word show frames, other than those that are being freed? */
static bool showed_frames(int actor, size_t at, unsigned int child)
{
	u16 old = last_children[child], new = world.children[child];
	size_t row = at / sizeof(u64);
	unsigned int i;
	u64 cleared;

	if (at < offsetof(struct world, children)) {
		cleared = last_rows[row] & ~world_row(row);
		last_rows[row] = world_row(row);
		return cleared && !freeing[actor];
	}
	last_children[child] = new;
	for (i = 0; i < LLFREE_CHILD_ROWS; i++) {
		row = child * LLFREE_CHILD_ROWS + i;
		last_rows[row] = world_row(row);
	}
	return child_view(new) != child_view(old) ||
	       (child_free(new) > child_free(old) && !freeing[actor]);
}

static void world_wrote(const void *p)
{
	size_t at = (char *)p - (char *)&world;
	int tid = explore_thread(), actor = in_irq[tid] ? ACTOR_IRQ(tid) : tid;
	unsigned int child;
	int a;

	if (at >= offsetof(struct world, trees))
		return;
	if (at >= offsetof(struct world, children)) {
		child = (at - offsetof(struct world, children)) / 2;
		if (!viewing[actor] && child_view(world.children[child]) !=
		    child_view(last_children[child]))
			fail("another operation changed the view", child);
		/* What is given back and was not owned was withheld for a moment. */
		if (child_free(world.children[child]) >
		    child_free(last_children[child]) &&
		    !freeing[actor] && !shim_preempt_count)
			fail("undo of a child step, preemption is on", child);
		if (child_view(world.children[child]) != LLFREE_VIEW_ISOLATED)
			closed[child] = false;
	} else {
		child = at / sizeof(u64) / LLFREE_CHILD_ROWS;
	}
	if (strays[actor].active && at < offsetof(struct world, children) &&
	    !strays[actor].wrote) {
		strays[actor].wrote = true;
		excused |= (world.children[child] & CHILD_TURN_MASK) ==
			   strays[actor].turn;
	}
	changed_children |= BIT(child);
	if (showed_frames(actor, at, child))
		unsettled[actor] |= BIT(child);
	for (a = 0; a < NR_ACTORS; a++) {
		if (stables[a].active && stables[a].child == child)
			stable_moment(&stables[a]);
		if (!watches[a].active)
			continue;
		watch_word(&watches[a], at);
		if (!watches[a].none)
			watches[a].none = !block_now(watches[a].order,
						     watches[a].view);
	}
}

/* An exhausted tree hides a block only until a CPU that cannot be preempted is done. */
static void check_exhausted(unsigned int tree)
{
	unsigned int view, order;

	for (view = 0; view < LLFREE_ALLOC_VIEWS; view++)
		for (order = 0; order <= LLFREE_MAX_ORDER; order++)
			if (tree_exhausted(world.trees[view][tree], order) &&
			    has_block(tree_row(&world.llf, tree), tree_rows(&world.llf),
				      order, view, false))
				fail("exhausted tree hides a block, preemption is on",
				     order);
}

/* Permits without bits are for CPUs that cannot be preempted. */
static void check_preemptible(void)
{
	unsigned int c;

	if (!changed_children || !explore_preemptible())
		return;
	for (c = 0; c < NR_CHILDREN; c++) {
		if (!(changed_children & BIT(c)))
			continue;
		if (clear_bits(c) != child_free(world.children[c]))
			fail("child withholds frames, preemption is on", c);
		check_exhausted(child_tree(&world.llf, c));
	}
	changed_children = 0;
}

/* Was a block free all the while, and in that view? */
static bool watch_found(const struct alloc_watch *w, unsigned int order,
			unsigned int view)
{
	unsigned int c, r, i, nr;
	bool found;

	for (c = 0; c < NR_CHILDREN; c++) {
		if (w->views[c] != 1U << view)
			continue;
		if (order >= LLFREE_CHILD_ORDER) {
			nr = 1U << (order - LLFREE_CHILD_ORDER);
			for (i = 0, found = !(c % nr); i < nr && found; i++)
				found = w->views[c + i] == 1U << view &&
					w->least[c + i] == CHILD;
			if (found)
				return true;
			continue;
		}
		if (w->least[c] < 1U << order)
			continue;
		nr = order > LLFREE_ROW_ORDER ?
			1U << (order - LLFREE_ROW_ORDER) : 1;
		for (r = c * 8; r < c * 8 + 8; r += nr) {
			if (nr == 1 && row_runs(w->used[r], order))
				return true;
			for (i = 0; i < nr && !w->used[r + i]; i++)
				;
			if (i == nr)
				return true;
		}
	}
	return false;
}

static void begin_alloc(int actor, const struct llfree_request *req)
{
	if (events)
		explore_event(false);
	watches[actor].order = req->order;
	watches[actor].view = req->view;
	watch_start(actor);
}

static void end_alloc(int actor, const struct llfree_request *req, long frame)
{
	struct alloc_watch *w = &watches[actor];

	w->active = false;
	if (frame == -ENOMEM) {
		if (!req->flags && watch_found(w, req->order, req->view))
			fail("no memory, though a block was free",
			     req->order);
		else if (!req->flags && !weak && !w->none)
			fail("no memory, though there was always a block",
			     req->order);
	} else if (frame < 0) {
		fail("allocation failed in an odd way", -frame);
	} else if (!(w->views[(frame - BASE) / CHILD] & (1U << req->view))) {
		fail("got a frame of another view", frame);
	}
}

/* ---- Operations ---- */

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

/* Another class than that of partly used trees, and not mixing with it */
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

/* All that the slot has at hand; if that is nothing, a row from anywhere */
static void op_alloc_batch(int actor, int order)
{
	alloc_batch(actor, slot_of[actor], order);
}

/* A row, from anywhere */
static void op_alloc_batch_no_slot(int actor, int order)
{
	alloc_batch(actor, LLFREE_NO_SLOT, order);
}

/* The first own block from @frame on, if there is one */
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

/* What the thread got before, or else its own child */
static void op_free_reported(int actor, int order)
{
	free_own(actor, FREE_PAIR, order, true);
}

/* What the thread got before; frees what others may be waiting for. */
static void op_free_allocated(int actor, int order)
{
	unsigned long frame, nr = 1UL << order;

	for (frame = FREE_PAIR; frame < SHARED_FRAMES; frame += nr) {
		if (!owns(actor, frame, nr))
			continue;
		disown(actor, frame, nr);
		if (llfree_free(llf, slot_of[actor], frame, order, &books.sum)) {
			/* A stray leaks frames at worst. */
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
 * Free a frame that another thread owns as a piece of a child, or that is free. If
 * the child step comes in the same turn, the core cannot know. If the child was
 * freed or allocated as a whole meanwhile, it has to refuse.
 */
static void op_stray(int actor, int unused)
{
	struct llfree_delta delta = { };
	int view;

	strayed = true;
	/* The step that reads it is an interrupted thread's, or before_step() corrects this. */
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

/* Blocks with a frame that stays free, since nobody may have it */
static void op_bad_free(int actor, int order)
{
	unsigned long frame = ALIGN_DOWN(FREE_FRAME, 1UL << order);

	if (!llfree_free(llf, slot_of[actor], frame, order, &books.sum))
		fail("freed a block that is partly free", frame);
}

/* The same where others get frames, if they cannot get all there are */
static void op_bad_free_free(int actor, int order)
{
	if (child_free(saved_world.children[0]) < 2 * EXPLORE_THREADS)
		return;
	if (!llfree_free(llf, slot_of[actor], FREE_PAIR, order, &books.sum))
		fail("freed a block that is partly free", FREE_PAIR);
}

/* The second half of the first child, whose last row is free; its others may not be */
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

/* The second frame, also if its child is isolated */
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

static void set_view(int actor, unsigned long frame, int view)
{
	int ret;

	viewing[actor] = true;
	ret = llfree_set_view(llf, frame, view, &books.sum);
	viewing[actor] = false;
	if (ret < 0 && ret != -EALREADY)
		fail("set_view", frame);
}

/* Of where allocations go */
static void op_view(int actor, int view)
{
	set_view(actor, FREE_PAIR, view);
	if (events)
		explore_event(true);
}

/* Where allocations go, or frees if nothing is free there; then wait for both to end. */
static void op_isolate_wait(int actor, int unused)
{
	unsigned long frame = child_free(saved_world.children[0]) ?
		FREE_PAIR : SHARED_FRAMES;
	unsigned int row = (frame - BASE) / ROW, i;
	struct stable_watch *w = &stables[actor];
	int free;

	set_view(actor, frame, LLFREE_VIEW_ISOLATED);
	*w = (struct stable_watch){
		.active = true, .child = row / LLFREE_CHILD_ROWS,
	};
	stable_moment(w);
	free = llfree_child_stable(llf, frame);
	w->active = false;
	if (free < 0)
		return;
	/* With weak memory, threads do not agree about what a moment is. */
	if (!weak && !(w->may_say[free / 64] & BIT_ULL(free % 64)))
		fail("unstable child found stable", free);
	closed[row / LLFREE_CHILD_ROWS] = true;
	for (i = 0; i < LLFREE_CHILD_ROWS; i++)
		closed_rows[row + i] = world_row(row + i);
}

/* Of where frees go */
static void op_view_free(int actor, int view)
{
	set_view(actor, SHARED_FRAMES, view);
	set_view(actor, SHARED_HALVES, view);
}

/* Of a child of the second tree, in which no thread owns anything */
static void op_view_second(int actor, int view)
{
	set_view(actor, SECOND_TREE, view);
}

static void op_drain(int actor, int slot)
{
	if (llfree_drain(llf, slot))
		fail("drain", slot);
}

/* Slots come while other threads run without. */
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

static const struct op {
	const char *name;
	void (*fn)(int actor, int arg);
	int arg;
} ops[] = {
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
	/* From here on not in pairs of their own */
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

#define NR_PAIRED	(ARRAY_SIZE(ops) - 11)

/* ---- States to start from ---- */

static void claim_for(int actor, unsigned long frame, unsigned int order)
{
	if (!llfree_claim(llf, frame, order, 0, &books.sum))
		own(actor, frame, 1UL << order);
}

static void claim_frames(int actor, unsigned long frame, unsigned long nr)
{
	for (; nr--; frame++)
		claim_for(actor, frame, 0);
}

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

static void state_fresh(void)
{
}

static void state_pair(void)
{
	take_second_tree();
}

static void state_half(void)
{
	leave_only(CHILD / 2);
}

static void state_row(void)
{
	leave_only(ROW);
}

/* The last row of a child, so that searches and bad frees pass the others. */
static void state_tail(void)
{
	take_second_tree();
	claim_frames(ACTOR_OTHER, FREE_PAIR, CHILD - ROW);
	claim_for(ACTOR_OTHER, FREE_PAIR + CHILD, LLFREE_CHILD_ORDER);
}

static void state_two(void)
{
	leave_only(2);
}

/* Only next to what threads own, so that permits are there before it is freed */
static void state_crowded(void)
{
	leave_only(0);
	disown(ACTOR_OTHER, SHARED_FRAMES + 61, 1);
	llfree_free(llf, LLFREE_NO_SLOT, SHARED_FRAMES + 61, 0, &books.sum);
	disown(ACTOR_OTHER, SHARED_FRAMES + 63, 1);
	llfree_free(llf, LLFREE_NO_SLOT, SHARED_FRAMES + 63, 0, &books.sum);
}

/* The same with rows: 0 and 2 belong to threads, 1, 3, 4 and 5 are free. */
static void state_rows(void)
{
	take_second_tree();
	claim_for(0, FREE_PAIR, LLFREE_ROW_ORDER);
	claim_for(1, FREE_PAIR + 2 * ROW, LLFREE_ROW_ORDER);
	claim_for(ACTOR_OTHER, FREE_PAIR + 6 * ROW, LLFREE_ROW_ORDER + 1);
	claim_for(ACTOR_OTHER, FREE_PAIR + CHILD, LLFREE_CHILD_ORDER);
}

/* The same, and nothing is free yet. */
static void state_rows_full(void)
{
	state_rows();
	claim_for(ACTOR_OTHER, FREE_PAIR + ROW, LLFREE_ROW_ORDER);
	claim_for(ACTOR_OTHER, FREE_PAIR + 3 * ROW, LLFREE_ROW_ORDER);
	claim_for(ACTOR_OTHER, FREE_PAIR + 4 * ROW, LLFREE_ROW_ORDER + 1);
}

/* Row 0 belongs to a thread, row 1 is free, and so are single frames of another child. */
static void state_one_row(void)
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

static void state_full(void)
{
	leave_only(0);
}

static void state_holes(void)
{
	unsigned long f;

	take_second_tree();
	for (f = FREE_PAIR; f < FREE_PAIR + 2 * CHILD; f += 16)
		claim_for(ACTOR_OTHER, f, 0);
}

static void state_views(void)
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

/* The first slot holds the tree that everybody wants to get from. */
static void state_reserved(void)
{
	take_second_tree();
	alloc_free_once(0, 0);
	claim_frames(ACTOR_OTHER, FREE_PAIR + 64, 2 * CHILD - 64);
}

/* The first thread owns a whole child, and nothing else is free. */
static void state_whole_owned(void)
{
	leave_only(0);
	disown(ACTOR_OTHER, FREE_PAIR, CHILD);
	llfree_free(llf, LLFREE_NO_SLOT, FREE_PAIR, LLFREE_CHILD_ORDER, &books.sum);
	free_done(ACTOR_OTHER, FREE_PAIR, CHILD);
	claim_for(0, FREE_PAIR, LLFREE_CHILD_ORDER);
}

/* The first slot has used up its permits, and others have freed frames to the tree. */
static void state_lent(void)
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

/* The second slot holds a tree that is all free, but its permits are with the tree. */
static void state_tree_lent(void)
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

static void state_no_slots(void)
{
	if (llfree_set_slots(llf, NULL, 0))
		abort();
}

/* Somebody else's slot does. */
static void state_foreign(void)
{
	take_second_tree();
	alloc_free_once(2, 0);
	claim_frames(ACTOR_OTHER, FREE_PAIR + 192, 2 * CHILD - 192);
}

/* Many were looked for and not found. */
static void state_exhausted(void)
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

static void world_init(void (*set_up)(void))
{
	struct llfree_memory mem = {
		.rows = world.rows, .rows_size = sizeof(world.rows),
		.children = world.children,
		.children_size = sizeof(world.children),
		.tree_order = LLFREE_MIN_TREE_ORDER,
		.trees = world.trees, .trees_size = sizeof(world.trees),
		.trees_stride = sizeof(world.trees[0]),
	};
	int i;

	memset(&world, 0, sizeof(world));
	memset(&books, 0, sizeof(books));
	if (llfree_init(llf, BASE, NR, &mem, LLFREE_INIT_FREE, NULL) ||
	    llfree_set_slots(llf, world.locals, NR_SLOTS))
		abort();
	llfree_stats_exact(llf, &start_stats);

	for (i = 0; i < ROW; i++)
		claim_for(i % 2 ? ACTOR_OTHER : i / 2 % NR_OWNERS,
			  SHARED_FRAMES + i, 0);
	claim_frames(ACTOR_OTHER, SHARED_FRAMES + ROW, CHILD - ROW);
	claim_for(0, SHARED_HALVES, LLFREE_CHILD_ORDER - 1);
	claim_for(1, SHARED_HALVES + CHILD / 2, LLFREE_CHILD_ORDER - 1);
	for (i = 0; i < NR_OWNERS; i++)
		claim_for(i, OWN_CHILD(i), LLFREE_CHILD_ORDER);
	claim_frames(ACTOR_OTHER, HIDDEN_CHILD, CHILD - 1);
	set_view(ACTOR_OTHER, HIDDEN_CHILD, LLFREE_VIEW_ISOLATED);
	set_up();

	saved_world = world;
	saved_books = books;
}

static void world_reset(void)
{
	unsigned int r;
	int a;

	world = saved_world;
	books = saved_books;
	while (nr_stamped)
		memset(&stamps[stamped[--nr_stamped]], 0, sizeof(stamps[0]));
	for (a = 0; a < NR_ACTORS; a++)
		watches[a].active = false;
	memset(closed, 0, sizeof(closed));
	memset(&slots_stamp, 0, sizeof(slots_stamp));
	changed_children = 0;
	memset(being_freed, 0, sizeof(being_freed));
	memset(freeing, 0, sizeof(freeing));
	memset(viewing, 0, sizeof(viewing));
	memset(strays, 0, sizeof(strays));
	strayed = false;
	excused = false;
	memset(unsettled, 0, sizeof(unsettled));
	memset(in_irq, 0, sizeof(in_irq));
	for (a = 0; a < NR_ACTORS; a++)
		stables[a].active = false;
	for (r = 0; r < NR_ROWS; r++)
		last_rows[r] = world_row(r);
	memcpy(last_children, world.children, sizeof(last_children));
	if (weak) {
		weak = false;
		watch_start(ACTOR_OTHER);
		weak = true;
	}
}

static const char *world_finish(void)
{
	unsigned long nr[LLFREE_NR_ORDERS];
	static char why[128];
	struct llfree_stats exact;
	struct llfree_fault fault;
	unsigned int r, v;
	bool block;
	int a, o;

	if (excused)
		return NULL;
	if (shim_warnings && !strayed)
		return "a warning";
	for (r = 0; r < NR_ROWS; r++) {
		u64 all = 0;

		for (a = 0; a < NR_ACTORS; a++)
			all |= books.owned[a][r];
		/* A stray may leak the frame. */
		if (strayed && r == (STRAY_FRAME - BASE) / ROW)
			all |= world_row(r) & BIT_ULL(STRAY_FRAME % ROW);
		if (all != world_row(r)) {
			snprintf(why, sizeof(why),
				 "row %u is %#llx, owned are %#llx", r,
				 (unsigned long long)world_row(r),
				 (unsigned long long)all);
			return why;
		}
	}
	if (llfree_validate(llf, &fault)) {
		snprintf(why, sizeof(why),
			 "%s at frame %#lx: expected %ld, found %ld",
			 fault.what, fault.frame, fault.expected, fault.found);
		return why;
	}
	llfree_stats_exact(llf, &exact);
	for (v = 0; v < LLFREE_NR_VIEWS; v++) {
		if (start_stats.frames[v] + books.sum.frames[v] != exact.frames[v] ||
		    start_stats.huge[v] + books.sum.huge[v] != exact.huge[v])
			return "deltas do not add up";
	}
	for (v = 0; v < LLFREE_ALLOC_VIEWS; v++) {
		if (hint_exhausted(world.llf.hint[v]) == HINT_NONE)
			continue;
		llfree_count_orders(llf, v, -1, nr);
		for (o = LLFREE_MAX_ORDER, block = false; o >= 0; o--) {
			block |= nr[o];
			if (block && !llfree_may_have_order(llf, o, v)) {
				snprintf(why, sizeof(why),
					 "hint hides a block of order %d", o);
				return why;
			}
		}
	}
	return NULL;
}

/* ---- Programs ---- */

#define MAX_OPS		6

static const struct op *programs[EXPLORE_THREADS][MAX_OPS];
static const struct op *irqs[EXPLORE_THREADS];
static bool irq_done[EXPLORE_THREADS];

static void run_op(const struct op *op, int actor)
{
	int count = shim_preempt_count;

	op->fn(actor, op->arg);
	unsettled[actor] = 0;
	if (shim_preempt_count != count)
		fail("preemption count changed", actor);
}

static void run_program(unsigned int tid)
{
	int i;

	irq_done[tid] = false;
	for (i = 0; i < MAX_OPS && programs[tid][i]; i++)
		run_op(programs[tid][i], tid);
}

static void before_step(unsigned int tid)
{
	struct stray *s = &strays[in_irq[tid] ? ACTOR_IRQ(tid) : tid];

	check_preemptible();
	/* The first step is done, and no other thread has made one since. */
	if (s->active && s->steps++ == RANGE_STEPS + 1)
		s->turn = world.children[STRAY_CHILD] & CHILD_TURN_MASK;
	if (!irqs[tid] || irq_done[tid] || !explore_choose(2))
		return;
	irq_done[tid] = true;
	in_irq[tid] = true;
	run_op(irqs[tid], ACTOR_IRQ(tid));
	in_irq[tid] = false;
}

static const struct op *find_op(const char *name, size_t len)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(ops); i++)
		if (strlen(ops[i].name) == len && !strncmp(ops[i].name, name, len))
			return &ops[i];
	fprintf(stderr, "no operation '%.*s'\n", (int)len, name);
	abort();
}

/*
 * Threads are separated by |, their operations by blanks, and what may
 * interrupt a thread at any one step comes after a !.
 */
static unsigned int parse_programs(const char *text)
{
	unsigned int tid = 0, nr = 0;
	bool irq = false;
	size_t len;

	memset(programs, 0, sizeof(programs));
	memset(irqs, 0, sizeof(irqs));
	events = false;
	for (; *text; text += len) {
		len = 1;
		if (*text == '|') {
			tid++;
			nr = 0;
			irq = false;
		} else if (*text == '!') {
			irq = true;
		} else if (*text != ' ') {
			const struct op *op;

			len = strcspn(text, " |!");
			op = find_op(text, len);
			if (tid >= EXPLORE_THREADS || nr >= MAX_OPS)
				abort();
			if (irq)
				irqs[tid] = op;
			else
				programs[tid][nr++] = op;
			if (op->fn == op_view)
				events = true;
		}
	}
	return tid + 1;
}

static struct totals {
	unsigned long scenarios;
	unsigned long incomplete;
	unsigned long long runs;
	unsigned long long cut;
	unsigned long long steps;
} totals;

static unsigned long effort(void)
{
	const char *env = getenv("EFFORT");

	return env ? strtoul(env, NULL, 0) : 1;
}

enum memory { STRONG, WEAK };

/* One scenario; what is too large to explore wholly goes on at random. */
static bool check(const char *text, enum memory memory, bool same_slot,
		  unsigned long limit)
{
	struct explore_test test = {
		.mem = &world, .size = sizeof(world),
		.reset = world_reset, .thread = run_program,
		.step = before_step, .wrote = world_wrote, .name = word_name,
		.finish = world_finish,
	};
	struct explore_options opt = {
		.weak = memory == WEAK, .max_stale = 2, .freeze = -1,
		.max_runs = limit * effort(), .trace = getenv("TRACE"),
	};
	struct explore_result res;
	int a;

	test.nr_threads = parse_programs(text);
	for (a = 0; a < NR_ACTORS; a++)
		slot_of[a] = same_slot ? 0 : a % EXPLORE_THREADS % 2;
	weak = opt.weak;
	explore(&test, &opt, &res);
	totals.scenarios++;
	totals.runs += res.runs;
	totals.cut += res.cut;
	totals.steps += res.steps;
	if (!res.why && !res.complete) {
		totals.incomplete++;
		opt.random = max(opt.max_runs / 4, 1UL);
		opt.max_runs = 0;
		opt.seed = rng_seed();
		explore(&test, &opt, &res);
		totals.runs += res.runs;
		totals.steps += res.steps;
	}
	weak = false;
	if (!res.why)
		return true;
	fprintf(stderr, "# %s%s%s: %s, %#llx\n", text,
		memory == WEAK ? ", weak memory" : "",
		same_slot ? ", same slot" : "", res.why, res.where);
	return false;
}

static void log_totals(struct __test_metadata *_metadata)
{
	TH_LOG("%lu scenarios, %llu runs, %llu cut short, %llu steps, %lu not complete",
	       totals.scenarios, totals.runs, totals.cut, totals.steps,
	       totals.incomplete);
}

/* ---- Tests ---- */

FIXTURE(state)
{
};

FIXTURE_VARIANT(state)
{
	void (*set_up)(void);
};

FIXTURE_VARIANT_ADD(state, fresh) { state_fresh };
FIXTURE_VARIANT_ADD(state, pair) { state_pair };
FIXTURE_VARIANT_ADD(state, half) { state_half };
FIXTURE_VARIANT_ADD(state, row) { state_row };
FIXTURE_VARIANT_ADD(state, tail) { state_tail };
FIXTURE_VARIANT_ADD(state, two) { state_two };
FIXTURE_VARIANT_ADD(state, full) { state_full };
FIXTURE_VARIANT_ADD(state, crowded) { state_crowded };
FIXTURE_VARIANT_ADD(state, rows) { state_rows };
FIXTURE_VARIANT_ADD(state, rows_full) { state_rows_full };
FIXTURE_VARIANT_ADD(state, holes) { state_holes };
FIXTURE_VARIANT_ADD(state, views) { state_views };
FIXTURE_VARIANT_ADD(state, reserved) { state_reserved };
FIXTURE_VARIANT_ADD(state, lent) { state_lent };
FIXTURE_VARIANT_ADD(state, foreign) { state_foreign };
FIXTURE_VARIANT_ADD(state, exhausted) { state_exhausted };

FIXTURE_SETUP(state)
{
	world_init(variant->set_up);
	world_reset();
	ASSERT_EQ(NULL, world_finish());
}

FIXTURE_TEARDOWN(state)
{
}

FIXTURE(one_full)
{
};

FIXTURE_SETUP(one_full)
{
	world_init(state_full);
	world_reset();
	ASSERT_EQ(NULL, world_finish());
}

FIXTURE_TEARDOWN(one_full)
{
}

FIXTURE(one_row)
{
};

FIXTURE_SETUP(one_row)
{
	world_init(state_one_row);
	world_reset();
	ASSERT_EQ(NULL, world_finish());
}

FIXTURE_TEARDOWN(one_row)
{
}

FIXTURE(tree_lent)
{
};

FIXTURE_SETUP(tree_lent)
{
	world_init(state_tree_lent);
	world_reset();
	ASSERT_EQ(NULL, world_finish());
}

FIXTURE_TEARDOWN(tree_lent)
{
}

FIXTURE(one_pair)
{
};

FIXTURE_SETUP(one_pair)
{
	world_init(state_pair);
	world_reset();
	ASSERT_EQ(NULL, world_finish());
}

FIXTURE_TEARDOWN(one_pair)
{
}

FIXTURE(whole_owned)
{
};

FIXTURE_SETUP(whole_owned)
{
	world_init(state_whole_owned);
	world_reset();
	ASSERT_EQ(NULL, world_finish());
}

FIXTURE_TEARDOWN(whole_owned)
{
}

FIXTURE(no_slots)
{
};

FIXTURE_SETUP(no_slots)
{
	world_init(state_no_slots);
	world_reset();
	ASSERT_EQ(NULL, world_finish());
}

FIXTURE_TEARDOWN(no_slots)
{
}

#define SECONDS_MAX	36000

/* Every operation against every other one */
TEST_F_TIMEOUT(state, pairs, SECONDS_MAX)
{
	char text[64];
	int i, j;

	for (i = 0; i < NR_PAIRED; i++) {
		for (j = i; j < NR_PAIRED; j++) {
			snprintf(text, sizeof(text), "%s | %s", ops[i].name,
				 ops[j].name);
			ASSERT_TRUE(check(text, STRONG, false, 2000));
			ASSERT_TRUE(check(text, STRONG, true, 500));
		}
	}
	log_totals(_metadata);
}

/* The same, and loads may return old values. */
TEST_F_TIMEOUT(state, weak_pairs, SECONDS_MAX)
{
	char text[64];
	int i, j;

	for (i = 0; i < NR_PAIRED; i++) {
		for (j = i; j < NR_PAIRED; j++) {
			snprintf(text, sizeof(text), "%s | %s", ops[i].name,
				 ops[j].name);
			ASSERT_TRUE(check(text, WEAK, false, 400));
		}
	}
	log_totals(_metadata);
}

/* Those that stand for all kinds of steps */
static const char * const kinds[] = {
	"free0", "free8", "free9", "alloc0", "alloc6", "alloc8", "alloc9", "alloc10",
	"alloc0noslot", "batch0", "claim9", "claimrow", "isolate", "tocma",
	"isolateput", "drainall",
};

TEST_F_TIMEOUT(state, triples, SECONDS_MAX)
{
	char text[96];
	int i, j, k;

	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		for (j = i; j < ARRAY_SIZE(kinds); j++)
			for (k = j; k < ARRAY_SIZE(kinds); k++) {
				snprintf(text, sizeof(text), "%s | %s | %s",
					 kinds[i], kinds[j], kinds[k]);
				ASSERT_TRUE(check(text, STRONG, false, 200));
			}
	log_totals(_metadata);
}

/* An interrupt at any step of the first thread, while the second one runs */
TEST_F_TIMEOUT(state, interrupted, SECONDS_MAX)
{
	char text[96];
	int i, j, k;

	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		for (j = 0; j < ARRAY_SIZE(kinds); j++)
			for (k = 0; k < ARRAY_SIZE(kinds); k++) {
				snprintf(text, sizeof(text), "%s ! %s | %s",
					 kinds[i], kinds[j], kinds[k]);
				ASSERT_TRUE(check(text, STRONG, false, 50));
			}
	log_totals(_metadata);
}

/* Longer programs, chosen for what once went wrong or might */
static const char * const chosen[] = {
	/* Frames that are freed while others look for them */
	"free0 | alloc0 | alloc0",
	"free0 free0 | alloc0 | alloc0",
	"free0 | free0 | alloc9",
	"freeword | freeword | batch0noslot",
	"freeword | freeword | batch0",
	"free0 | quick0 | quick0",
	"quick0 | quick0 | tocma",
	"quick6 | quick0 | tocma tonormal",
	"quick4 | claimrow | isolate",
	"batch0 | batch0 | free0",
	"batch3 free0got | alloc9 | alloc0",
	"claimrow | batch0 | tocma",
	"isolatewait | batch0 | drainall",
	"free8 | free8 | alloc9 | alloc0",
	"free8 | free8 | alloc10",
	"free8 | free8 | alloc8",
	/* Frees to the reservation of an exhausted tree */
	"free6 alloc7 alloc7 alloc0 free8 drainall | alloc8",
	"free6got | claim7 | claim0row1 claim0",
	"free9 | free9 | alloc10",
	"free9 | free9 | alloc0 | alloc10",
	/* Pieces of a block that was allocated as a whole, and the other way */
	"alloc9 free0got | free0 | alloc0",
	"alloc9 free0got | alloc0noslot | alloc0noslot",
	"alloc9 free0got | batch0 | claim0row1",
	"alloc0 free0got | alloc9 | alloc9",
	"alloc0 free0got | alloc10 | alloc9",
	"alloc6 free6got | alloc8 | alloc7",
	"alloc9 free9got | alloc9 free9got | alloc9",
	"batch0 free6got | alloc7 | alloc6",
	/* Frees of what is not there */
	"badputfree9 | alloc0 | alloc0",
	"badputfree9 | badputfree9 | alloc0",
	"badputhalf8 | alloc0 | alloc0",
	"badputhalf8 | badputhalf8 | alloc0",
	/* Undo: what others did to the block in between */
	"alloc10 | alloc9 | isolate",
	"alloc10 | alloc9 | tocma",
	"alloc10 | claim9 | tocma tonormal",
	"alloc8 | alloc0 | isolate tonormal",
	"alloc7 | alloc0 free0got | alloc6",
	"alloc7 | free0 | alloc6 | alloc0",
	"claim10 | alloc9 | isolate",
	"claim10 | alloc0 | tocma",
	"claim8 | alloc0 | isolate | tonormal",
	"claimrow | batch0noslot | tocma",
	/* Views */
	"isolate tonormal | alloc0 free0got | alloc9",
	"tocma tonormal | alloc2cma | alloc0",
	"free0 | free8 | isolateput | alloc0",
	"free0 | free8 | tocmaput | alloc2cma",
	"isolate alloc0 | alloc0 free0got",
	"isolate tonormal | isolate tonormal | alloc0 | alloc0",
	/* Reservations that come and go */
	"alloc0 free0got alloc0 | drain0 | alloc0",
	"free0 free0 free0 | alloc0 | drainall",
	"free0 free0 free0 | free0 free0 free0 | drainall",
	"free0 free0 free0 free0 | alloc0 | drainall",
	"free0 free0 free0 free0 | free0 free0 free0 free0 | alloc0",
	"alloc0noslot alloc0noslot | alloc0 alloc0 | drainall",
	/* What is looked for and not found, while it appears */
	"free9 | free9 | alloc10 | alloc9",
	"free8 | free8 | alloc9 alloc9",
	"free0 | free0 | alloc6 alloc6",
	"alloc9cma alloc9cma | tocma",
	"alloc9 | isolate tonormal | alloc9",
	"alloc0 | free0 | isolatewait",
	"alloc0 free0got | free8 | isolatewait",
	"alloc0 free0got | claimhidden | isolatewait",
};

TEST_F_TIMEOUT(state, chosen, SECONDS_MAX)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(chosen); i++)
		ASSERT_TRUE(check(chosen[i], STRONG, false, 4000));
	log_totals(_metadata);
}

/*
 * A change of view that has not reached the tree, and one back, leave the tree
 * more permits than a reservation can hold.
 */
TEST_F_TIMEOUT(tree_lent, view_and_back, SECONDS_MAX)
{
	ASSERT_TRUE(check("isolatesecond | tonormalsecond alloc10", STRONG, false,
			  4000));
	ASSERT_TRUE(check("isolatesecond | tonormalsecond ! alloc10", STRONG, false,
			  4000));
}

/*
 * There is always a block, but two threads move it past the search of a third one. That
 * takes more runs than other meetings.
 */
TEST_F_TIMEOUT(one_pair, block_moves, SECONDS_MAX)
{
	ASSERT_TRUE(check("alloc9 free9got | alloc9 free9got | alloc9", STRONG, false, 400000));
	log_totals(_metadata);
}

/*
 * A free of one row gives permits for another one, if frames of the first were allocated
 * before. Searches that saw no block meanwhile look again.
 */
TEST_F_TIMEOUT(one_row, permits_for_another, SECONDS_MAX)
{
	static const char * const programs[] = {
		"free6got | alloc0noslot alloc6 alloc6", "free6got ! alloc0noslot alloc6 alloc6",
		"free6got | alloc0noslot | alloc6 alloc6",
		"free6got | alloc0 drainall alloc6 alloc6",
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(programs); i++)
		ASSERT_TRUE(check(programs[i], STRONG, false, 10000));
	log_totals(_metadata);
}

/* A whole child is freed while its view changes, and pieces of it are allocated. */
TEST_F_TIMEOUT(whole_owned, whole, SECONDS_MAX)
{
	static const char * const programs[] = {
		"free9got | isolate", "free9got | tocma", "free9got | tocma tonormal",
		"free9got alloc9 | tocma | alloc0", "free9got | alloc0 | claim8",
		"free9got | alloc9 free9got | alloc9 | tocma tonormal",
		"freereported | batch0 | alloc0", "freereported | alloc9 freereported | alloc9",
		"free9got | claimrow | alloc7 | isolate", "free9got ! tocma | alloc9",
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(programs); i++)
		ASSERT_TRUE(check(programs[i], STRONG, false, 10000));
	log_totals(_metadata);
}

/*
 * A stray free of a piece meets the free and the allocation of the whole. The core
 * finds out by the turn, and no frame is handed out twice.
 */
TEST_F_TIMEOUT(whole_owned, strays, SECONDS_MAX)
{
	static const char * const programs[] = {
		"free9got | stray", "free9got ! stray", "free9got alloc9 | stray",
		"free9got | stray | alloc9", "free9got | stray | alloc0",
		"free9got | stray | alloc9 | alloc0", "free9got | stray | alloc9 free9got",
		"free9got alloc9 free9got alloc9 | stray | alloc0",
		"free9got | stray | alloc9 free9got alloc9", "free9got | stray | batch0",
		"free9got | stray | claim8 | alloc0", "free9got | stray | isolate",
		"free9got | stray | claim9 | tocma",
		"free9got | stray | stray", "free9got | stray | stray | alloc9",
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(programs); i++)
		ASSERT_TRUE(check(programs[i], STRONG, false, 20000));
	log_totals(_metadata);
}

/* An instance gets its slots while it is in use. */
TEST_F_TIMEOUT(no_slots, late_slots, SECONDS_MAX)
{
	static const char * const programs[] = {
		"setslots | alloc0late alloc0late", "setslots ! alloc0late | alloc0late",
		"setslots | alloc0late | alloc0late",
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(programs); i++) {
		ASSERT_TRUE(check(programs[i], STRONG, false, 4000));
		ASSERT_TRUE(check(programs[i], WEAK, false, 4000));
	}
	log_totals(_metadata);
}

static const char * const weak_chosen[] = {
	"free8 | free8 | alloc8",
	"free8 | free8 | alloc9",
	"free9 | free9 | alloc10",
	"free6got | claim7 | claim0row1 claim0",
	"free6got | alloc7 | batch0noslot",
	"free6got | alloc7 | batch0",
	"free6got | quick6 | quick0",
	"free0 free0 | alloc0 | alloc0",
	"alloc0 | free0 | isolatewait",
	"alloc0 free0got | alloc9 | alloc0",
	"free6got | free6got | alloc6 | alloc6",
	"alloc9 | alloc9 | tonormal",
	"free9 | free9 | alloc10 | alloc10",
	"freeword | freeword | alloc6",
	"alloc10 | alloc9 | tocma",
	"isolate tonormal | alloc0 free0got | alloc9",
	"free0 free0 free0 | alloc0 | drainall",
};

TEST_F_TIMEOUT(state, weak_chosen, SECONDS_MAX)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(weak_chosen); i++)
		ASSERT_TRUE(check(weak_chosen[i], WEAK, false, 12000));
	log_totals(_metadata);
}

/*
 * Two searches meet a free, and one of them arms the hint that the free must see. That
 * takes more runs than other meetings.
 */
TEST_F_TIMEOUT(one_full, hint_armed, SECONDS_MAX)
{
	ASSERT_TRUE(check("free8 | alloc7 | alloc7", WEAK, false, 1500000));
	log_totals(_metadata);
}

/* To look into something: what PROGRAM says, with weak memory if WEAK is set */
TEST_F_TIMEOUT(state, given, SECONDS_MAX)
{
	const char *text = getenv("PROGRAM");

	if (!text)
		SKIP(return, "no PROGRAM");
	ASSERT_TRUE(check(text, getenv("WEAK") ? WEAK : STRONG, false, 1000000));
	log_totals(_metadata);
}

/* More than any search of a zone of this size takes, with all its retries */
#define MANY_STEPS	3000

/* One thread stops between two of its steps; the others do not notice. */
TEST_F_TIMEOUT(state, one_stops, SECONDS_MAX)
{
	struct explore_test test = {
		.mem = &world, .size = sizeof(world), .nr_threads = 3,
		.reset = world_reset, .thread = run_program,
		.wrote = world_wrote, .name = word_name,
		.finish = world_finish,
	};
	struct explore_options opt = { };
	unsigned long runs = 0, most = 0;
	struct explore_result res;
	char text[96];
	int a, i, j;

	for (a = 0; a < NR_ACTORS; a++)
		slot_of[a] = a % EXPLORE_THREADS % 2;
	for (i = 0; i < NR_PAIRED; i++) {
		for (j = 0; j < NR_PAIRED; j++) {
			snprintf(text, sizeof(text), "%s | %s | alloc0",
				 ops[i].name, ops[j].name);
			parse_programs(text);
			events = false;
			opt.freeze = 0;
			do {
				explore(&test, &opt, &res);
				EXPECT_EQ(NULL, res.why) {
					TH_LOG("%s, stopped at step %ld: %s",
					       text, opt.freeze, res.why);
				}
				runs++;
				most = max(most, res.max_steps[1]);
				most = max(most, res.max_steps[2]);
				opt.freeze++;
			} while (res.frozen && !res.why);
		}
	}
	TH_LOG("%lu runs, at most %lu steps of an operation", runs, most);
	EXPECT_LT(most, MANY_STEPS);
}

TEST_HARNESS_MAIN
