/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The instance that the threads of interleave share: two trees, the owners of
 * their frames, and the invariants when all threads have ended
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

/* Children of the first tree. The second tree is free or not. */
#define FREE_PAIR	BASE
/* A word whose frames belong to threads in turn, and a child whose halves do */
#define SHARED_FRAMES	(BASE + 2 * CHILD)
#define SHARED_HALVES	(BASE + 3 * CHILD)
#define OWN_CHILD(t)	(BASE + (4 + (t)) * CHILD)
/* Number of threads that own frames at the start */
#define NR_OWNERS	3
/* A child that is isolated all the time; its last frame stays free. */
#define HIDDEN_CHILD	(BASE + 7 * CHILD)
#define FREE_FRAME	(BASE + 8 * CHILD - 1)
#define SECOND_TREE	(BASE + LLFREE_MIN_TREE_FRAMES)

/* The frame that stray frees free, and its child */
#define STRAY_CHILD	((FREE_PAIR - BASE) / CHILD)
#define STRAY_FRAME	(FREE_PAIR + 5)

/* Owners of frames: threads, interrupts of them, and all others */
#define ACTOR_IRQ(t)	(EXPLORE_THREADS + (t))
#define ACTOR_OTHER	(2 * EXPLORE_THREADS)
#define NR_ACTORS	(ACTOR_OTHER + 1)

/* All words of the core. Rows are first, so that 8 bytes stay aligned. */
struct world {
	u64 rows[NR_ROWS];
	u16 children[ALIGN(NR_CHILDREN, 32)];
	u32 trees[LLFREE_ALLOC_VIEWS][16];
	struct llfree_local locals[NR_SLOTS];
	struct llfree llf;
} ____cacheline_aligned;

/* The present state, and the one that runs start from */
extern struct world world, saved_world;
extern struct llfree *const llf;

/* A row of the world, 1 = allocated. Not a step of a thread. */
static inline u64 world_row(unsigned int row)
{
	return world.rows[row] ^ free_bits(world.children[row / LLFREE_CHILD_ROWS]);
}

/* Frames that actors own, and the sum of the deltas of their operations */
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
 * @turn: turn of the child, as the first step read it
 */
struct stray {
	bool active;
	bool wrote;
	unsigned int steps;
	u16 turn;
};

extern struct stray strays[NR_ACTORS];
/*
 * Was there a stray free in this run? Did it free a frame in use, so that no
 * check applies?
 */
extern bool strayed, excused;

/* Frames of frees under way, and whether an actor frees frames */
extern u64 being_freed[NR_ROWS];
extern bool freeing[NR_ACTORS];

/* Handed over with the slots, if these are set late */
extern struct explore_stamp slots_stamp;

/* The slot that an actor uses */
extern unsigned int slot_of[NR_ACTORS];
/* Is a thread interrupted? */
extern bool in_irq[EXPLORE_THREADS];
/* Does an actor change the view of a child? */
extern bool viewing[NR_ACTORS];
/* Is memory weak? */
extern bool weak;
/* Do threads note the begin and the return of operations? */
extern bool events;

/* The run is faulty, unless a stray excuses it. */
void fail(const char *why, unsigned long where);

/* The bits of a block in each of its rows */
u64 row_bits(unsigned long frame, unsigned long nr);

/* An actor has allocated a block. */
void own(int actor, unsigned long frame, unsigned long nr);
/*
 * Called before a free, since the frames can be allocated again before it
 * returns
 */
void disown(int actor, unsigned long frame, unsigned long nr);
/* After the free */
void free_done(int actor, unsigned long frame, unsigned long nr);
/* Does an actor own all of a block? */
bool owns(int actor, unsigned long frame, unsigned long nr);

/* Claim a block for an actor; frames that are not free get no new owner. */
void claim_for(int actor, unsigned long frame, unsigned int order);
void claim_frames(int actor, unsigned long frame, unsigned long nr);
void set_view(int actor, unsigned long frame, int view);

/*
 * Prepare the common part of all states, then call @set_up. Runs start from
 * there.
 */
void world_init(void (*set_up)(void));

/* The callbacks of struct explore_test */
void world_reset(void);
const char *world_finish(void);
const char *word_name(const void *p);

#endif /* _LLFREE_TEST_INTERLEAVE_WORLD_H */
