/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The instance that the threads of interleave share: two trees, the owners of their
 * frames, and what must hold when all threads have ended.
 */
#ifndef _LLFREE_TEST_INTERLEAVE_WORLD_H
#define _LLFREE_TEST_INTERLEAVE_WORLD_H

#include <linux/align.h>
#include <linux/bits.h>
#include <stdbool.h>

#include <shim/atomic.h>
#include <shim/shim.h>

#include "explore.h"
#include "lower.h"
#include "inst.h"

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
/* Isolated all the time; its last frame stays free. */
#define HIDDEN_CHILD	(BASE + 7 * CHILD)
#define FREE_FRAME	(BASE + 8 * CHILD - 1)
#define SECOND_TREE	(BASE + LLFREE_MIN_TREE_FRAMES)

/* What strays free a frame of */
#define STRAY_CHILD	((FREE_PAIR - BASE) / CHILD)
#define STRAY_FRAME	(FREE_PAIR + 5)

/* Owners of frames: threads, what interrupts them, and all others */
#define ACTOR_IRQ(t)	(EXPLORE_THREADS + (t))
#define ACTOR_OTHER	(2 * EXPLORE_THREADS)
#define NR_ACTORS	(ACTOR_OTHER + 1)

/* All that the core keeps; rows are first, so that 8 bytes keep aligned. */
struct world {
	u64 rows[NR_ROWS];
	u16 children[ALIGN(NR_CHILDREN, 32)];
	u32 trees[LLFREE_ALLOC_VIEWS][16];
	struct llfree_local locals[NR_SLOTS];
	struct llfree llf;
} ____cacheline_aligned;

/* As it is now, and where runs start */
extern struct world world, saved_world;
extern struct llfree *const llf;

/* A row of it, 1 = allocated; not a step of a thread */
static inline u64 world_row(unsigned int row)
{
	return world.rows[row] ^ free_bits(world.children[row / LLFREE_CHILD_ROWS]);
}

/* What actors own, and what operations say they changed */
struct books {
	u64 owned[NR_ACTORS][NR_ROWS];
	struct llfree_delta sum;
};

extern struct books books;

/*
 * A free of a frame that the caller does not own, by actor
 * @active: under way
 * @wrote: the bit was cleared
 * @steps: number of steps
 * @turn: of the child, as the first step read it
 */
struct stray {
	bool active;
	bool wrote;
	unsigned int steps;
	u16 turn;
};

extern struct stray strays[NR_ACTORS];
/* There was one in this run. It freed a frame in use, and no check is of use. */
extern bool strayed, excused;

/* Frames that are being freed, and whether an actor frees some */
extern u64 being_freed[NR_ROWS];
extern bool freeing[NR_ACTORS];

/* Handed over with the slots, when they come late */
extern struct explore_stamp slots_stamp;

/* The slot that an actor asks for */
extern unsigned int slot_of[NR_ACTORS];
/* Is a thread interrupted? */
extern bool in_irq[EXPLORE_THREADS];
/* Does an actor change the view of a child? */
extern bool viewing[NR_ACTORS];
/* Is this with weak memory? */
extern bool weak;
/* Do threads note when they begin and return? */
extern bool events;

/* The run is faulty, unless a stray excuses it. */
void fail(const char *why, unsigned long where);

/* The bits of a block in each of its rows */
u64 row_bits(unsigned long frame, unsigned long nr);

/* A block that an actor got */
void own(int actor, unsigned long frame, unsigned long nr);
/* Before a free, since what is freed can be allocated again before the free returns */
void disown(int actor, unsigned long frame, unsigned long nr);
/* After the free */
void free_done(int actor, unsigned long frame, unsigned long nr);
/* All of a block? */
bool owns(int actor, unsigned long frame, unsigned long nr);

/* A block by its address; what is not free has no new owner */
void claim_for(int actor, unsigned long frame, unsigned int order);
void claim_frames(int actor, unsigned long frame, unsigned long nr);
void set_view(int actor, unsigned long frame, int view);

/* Prepare what all states have in common, then @set_up; runs start from there. */
void world_init(void (*set_up)(void));

/* The callbacks of struct explore_test */
void world_reset(void);
const char *world_finish(void);
const char *word_name(const void *p);

#endif /* _LLFREE_TEST_INTERLEAVE_WORLD_H */
