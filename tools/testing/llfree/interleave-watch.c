// SPDX-License-Identifier: GPL-2.0
/*
 * Invariants while threads run. Each change of a word is compared with the
 * rights and the guarantees of the operations under way.
 */
#include <linux/bitops.h>
#include <linux/bits.h>
#include <errno.h>
#include <string.h>

#include "interleave-watch.h"

/*
 * Allocations under way, by actor: frames that were used or hidden since their
 * start
 */
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

unsigned long unsettled[NR_ACTORS];
/* Rows and children before the last change */
static u64 last_rows[NR_ROWS];
static u16 last_children[NR_CHILDREN];

/*
 * Children that have changed since a check found that they count their clear
 * bits
 */
static unsigned long changed_children;

/*
 * Children that were found isolated and stable, and their free frames at that
 * time
 */
static bool closed[NR_CHILDREN];
static u64 closed_rows[NR_ROWS];

/*
 * Checks of a child under way, by actor, and the numbers that they may return,
 * as bits
 */
static struct stable_watch {
	bool active;
	unsigned int child;
	u64 may_say[CHILD / 64 + 1];
} stables[NR_ACTORS];

/*
 * A free frame of an isolated child stays free, unless a claim asks for hidden
 * frames.
 */
void own_visible(int actor, unsigned long frame, unsigned long nr)
{
	unsigned long row = (frame - BASE) / ROW, end;

	for (end = row + max(nr / ROW, 1UL); row < end; row++)
		if (closed[row / LLFREE_CHILD_ROWS] &&
		    ~closed_rows[row] & row_bits(frame, nr))
			fail("got a frame of a stable isolated child",
			     frame);
	own(actor, frame, nr);
}

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
 * @settled: do not count blocks that operations under way have made
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

/* Number of clear bits in a child that belong to frees under way */
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
	 * With weak memory, an allocation need not see the changes by other
	 * threads at once. But it sees each frame as free that has been free
	 * since the start.
	 */
	if (weak) {
		*w = watches[ACTOR_OTHER];
		return;
	}
	/*
	 * A block that an operation under way has made counts once that
	 * operation is done.
	 */
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
		/* The next turn changes the meaning of the rows. */
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

/*
 * Did the change of a word show frames, other than those of a free under way?
 */
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

void begin_stable(int actor, unsigned int child)
{
	struct stable_watch *w = &stables[actor];

	*w = (struct stable_watch){
		.active = true, .child = child,
	};
	stable_moment(w);
}

void end_stable(int actor, int free)
{
	struct stable_watch *w = &stables[actor];
	unsigned int row = w->child * LLFREE_CHILD_ROWS, i;

	w->active = false;
	if (free < 0)
		return;
	/* With weak memory, threads do not agree on a moment. */
	if (!weak && !(w->may_say[free / 64] & BIT_ULL(free % 64)))
		fail("unstable child found stable", free);
	closed[w->child] = true;
	for (i = 0; i < LLFREE_CHILD_ROWS; i++)
		closed_rows[row + i] = world_row(row + i);
}

void world_wrote(const void *p)
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
		/*
		 * If an undo gives permits back, the frames were withheld for a
		 * moment.
		 */
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

/*
 * An exhausted tree may hide a block only while the CPU that frees it cannot be
 * preempted.
 */
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

/* Only CPUs that cannot be preempted may hold permits without bits. */
void check_preemptible(void)
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

/* Was a block of this order free all the while, and in that view? */
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

void begin_alloc(int actor, const struct llfree_request *req)
{
	if (events)
		explore_event(false);
	watches[actor].order = req->order;
	watches[actor].view = req->view;
	watch_start(actor);
}

void end_alloc(int actor, const struct llfree_request *req, long frame)
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

void watch_reset(void)
{
	unsigned int r;
	int a;

	for (a = 0; a < NR_ACTORS; a++)
		watches[a].active = false;
	memset(closed, 0, sizeof(closed));
	changed_children = 0;
	memset(unsettled, 0, sizeof(unsettled));
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
