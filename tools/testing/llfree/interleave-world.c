// SPDX-License-Identifier: GPL-2.0
/*
 * The instance that threads share, the books of the frames that each thread
 * owns, and the invariants when all have ended
 */
#include <linux/align.h>
#include <linux/bits.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "interleave-watch.h"
#include "interleave-world.h"

struct world world, saved_world;
struct llfree *const llf = &world.llf;

struct books books;
static struct books saved_books;

static struct llfree_stats start_stats;

struct stray strays[NR_ACTORS];
bool strayed, excused;

u64 being_freed[NR_ROWS];
bool freeing[NR_ACTORS];

static struct explore_stamp stamps[NR];
struct explore_stamp slots_stamp;
static unsigned long stamped[1024];
static unsigned int nr_stamped;

unsigned int slot_of[NR_ACTORS];
bool in_irq[EXPLORE_THREADS];
bool viewing[NR_ACTORS];
bool weak;
bool events;

void fail(const char *why, unsigned long where)
{
	if (!excused)
		explore_fail(why, where);
}

const char *word_name(const void *p)
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

u64 row_bits(unsigned long frame, unsigned long nr)
{
	return nr >= ROW ? ~0ULL : ((1ULL << nr) - 1) << (frame % ROW);
}

void own(int actor, unsigned long frame, unsigned long nr)
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

void disown(int actor, unsigned long frame, unsigned long nr)
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
	/* The first and the last frame stand for a large block. */
	for (f = frame - BASE; f < frame - BASE + nr; f += max(nr - 1, 1UL)) {
		if (nr_stamped == ARRAY_SIZE(stamped))
			abort();
		stamped[nr_stamped++] = f;
		explore_give(&stamps[f]);
	}
}

void free_done(int actor, unsigned long frame, unsigned long nr)
{
	unsigned long row = (frame - BASE) / ROW, end;

	freeing[actor] = false;
	for (end = row + max(nr / ROW, 1UL); row < end; row++)
		being_freed[row] &= ~row_bits(frame, nr);
}

bool owns(int actor, unsigned long frame, unsigned long nr)
{
	unsigned long row = (frame - BASE) / ROW, end;
	u64 bits = row_bits(frame, nr);

	for (end = row + max(nr / ROW, 1UL); row < end; row++)
		if ((books.owned[actor][row] & bits) != bits)
			return false;
	return true;
}

void claim_for(int actor, unsigned long frame, unsigned int order)
{
	if (!llfree_claim(llf, frame, order, 0, &books.sum))
		own(actor, frame, 1UL << order);
}

void claim_frames(int actor, unsigned long frame, unsigned long nr)
{
	for (; nr--; frame++)
		claim_for(actor, frame, 0);
}

void set_view(int actor, unsigned long frame, int view)
{
	int ret;

	viewing[actor] = true;
	ret = llfree_set_view(llf, frame, view, &books.sum);
	viewing[actor] = false;
	if (ret < 0 && ret != -EALREADY)
		fail("set_view", frame);
}

void world_init(void (*set_up)(void))
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

void world_reset(void)
{
	world = saved_world;
	books = saved_books;
	while (nr_stamped)
		memset(&stamps[stamped[--nr_stamped]], 0, sizeof(stamps[0]));
	memset(&slots_stamp, 0, sizeof(slots_stamp));
	memset(being_freed, 0, sizeof(being_freed));
	memset(freeing, 0, sizeof(freeing));
	memset(viewing, 0, sizeof(viewing));
	memset(strays, 0, sizeof(strays));
	strayed = false;
	excused = false;
	memset(in_irq, 0, sizeof(in_irq));
	watch_reset();
}

const char *world_finish(void)
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
		/* A stray free may leak the frame. */
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
