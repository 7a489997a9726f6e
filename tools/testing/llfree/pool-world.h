/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A pool on the medium of pool-medium.h, its frames, their owners, and
 * invariants
 */
#ifndef _LLFREE_TEST_POOL_WORLD_H
#define _LLFREE_TEST_POOL_WORLD_H

#include <linux/llfree_pool.h>
#include <stdbool.h>

#include "explore.h"
#include "pool-medium.h"

#define CHILD		LLFREE_CHILD_FRAMES
#define ROW		LLFREE_ROW_FRAMES
#define DATA		CHILD		/* the first frame behind the metadata */
#define NR_SLOTS	2

/* Owners that are no threads */
#define OTHER		EXPLORE_THREADS
#define LEAKED		(EXPLORE_THREADS + 1)

/* The medium and the volatile memory of the pool, as threads see them */
struct world {
	u8 medium[ALIGN(MEDIUM_SIZE, 64)] __aligned(4096);
	u64 rows[LLFREE_MIN_TREE_FRAMES / LLFREE_ROW_FRAMES];
	u16 children[32];
	u32 trees[LLFREE_ALLOC_VIEWS][16];
	struct llfree_local locals[NR_SLOTS];
	struct llfree_pool pool;
	/*
	 * Has this thread ended? For operations that run after all other
	 * threads
	 */
	u16 done[EXPLORE_THREADS];
};

extern struct world world;
extern const struct llfree_pool_medium world_medium;
static const u8 world_uuid[16] = "explored-pool";
static const u8 old_uuid[16] = "an-older-pool";

/*
 * Is the pool being formatted? Then a crash leaves no pool, the old one or the
 * new one.
 */
extern bool formatting;

/* ---- Blocks ---- */

/**
 * struct block - a block of frames that a thread has
 * @frame: its first frame, or 0
 * @order: its size
 * @alloc: number of the allocation, which no other one of the run has
 */
struct block {
	unsigned int frame;
	unsigned int order;
	unsigned int alloc;
};

/* Pointers to blocks. Pointers that differ in meaning differ in value. */
static inline u64 pointer_to(const struct block *b)
{
	return b->frame | (u64)b->order << 16 | (u64)b->alloc << 32;
}

static inline u64 pointer_removed(u64 value)
{
	return value & ~0xffffULL;
}

static inline struct block pointer_block(u64 value)
{
	return (struct block){ value & 0xffff, value >> 16 & 0xff, value >> 32 };
}

/* Messages that hand a block to another thread; they are no pointers. */
static inline u64 message_of(const struct block *b)
{
	return (u64)b->frame << 48 | pointer_removed(pointer_to(b));
}

static inline struct block message_block(u64 value)
{
	return (struct block){ value >> 48, value >> 16 & 0xff, value >> 32 & 0xffff };
}

/* Callers announce what they will do. Only own_sync() is called afterwards. */
void own_new(unsigned int tid, struct block *b);
void own_moves(unsigned int tid, const struct block *b);
void own_commit(unsigned int tid, const struct block *b);
void own_free(unsigned int tid, const struct block *b);
void own_sync(unsigned int tid);
/*
 * A sweep has freed frames without an owner, and leaked ones, also after a
 * crash. @alone: all frames that were committed before it stay allocated after
 * a crash
 */
void own_swept(bool alone);
/* A bit for each frame of a row that a pointer leads to */
u64 own_live(unsigned int row);
/* A thread has seen this value of a word, so no crash may lose the value. */
void own_seen(unsigned int word, u64 value);

/* ---- States that runs start from ---- */

/* Format a pool and attach it. */
void world_format_as(const u8 uuid[16]);
/* Give a free block to an owner, committed or not. */
struct block world_give(unsigned int tid, unsigned int frame, unsigned int order,
			bool committed);
/* Give all free frames but those of some blocks to OTHER. */
void world_fill(const unsigned int *leave, unsigned int nr, unsigned int order);
void world_point(unsigned int word, const struct block *b);
/* Let runs start from the present state. */
void world_save(void);

/* ---- Runs ---- */

int world_attach(void);
void world_detach(void);

void world_reset(void);
void world_wrote(const void *p);
bool world_watched(const void *p);
const char *world_finish(void);
const char *world_name(const void *p);

#endif /* _LLFREE_TEST_POOL_WORLD_H */
