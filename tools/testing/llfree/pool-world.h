/* SPDX-License-Identifier: GPL-2.0 */
/* A pool on the medium of pool-medium.h, its frames and their owners, and what must hold */
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

/* Owners, beside threads */
#define OTHER		EXPLORE_THREADS
#define LEAKED		(EXPLORE_THREADS + 1)

/* What threads see of the medium and of the volatile memory of the pool */
struct world {
	u8 medium[ALIGN(MEDIUM_SIZE, 64)] __aligned(4096);
	u64 rows[LLFREE_MIN_TREE_FRAMES / LLFREE_ROW_FRAMES];
	u16 children[32];
	u32 trees[LLFREE_ALLOC_VIEWS][16];
	struct llfree_local locals[NR_SLOTS];
	struct llfree_pool pool;
	/* Has this thread ended, for one that uses the pool after all others? */
	u16 done[EXPLORE_THREADS];
};

extern struct world world;
extern const struct llfree_pool_medium world_medium;
static const u8 world_uuid[16] = "explored-pool";
static const u8 old_uuid[16] = "an-older-pool";

/* Is the pool being formatted? Then a crash leaves no pool, or the old or the new one. */
extern bool formatting;

/* ---- Blocks ---- */

/**
 * struct block - a block of frames that a thread has
 * @frame: its first frame, or 0
 * @order: its size
 * @alloc: the same for no other allocation of the run
 */
struct block {
	unsigned int frame;
	unsigned int order;
	unsigned int alloc;
};

/* Pointers to blocks. No two that differ in meaning have the same value. */
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

/* Words from which a thread gets a block, and which are no pointers */
static inline u64 message_of(const struct block *b)
{
	return (u64)b->frame << 48 | pointer_removed(pointer_to(b));
}

static inline struct block message_block(u64 value)
{
	return (struct block){ value >> 48, value >> 16 & 0xff, value >> 32 & 0xffff };
}

/* Callers say what they do before they do it, but for own_sync(), which comes after. */
void own_new(unsigned int tid, struct block *b);
void own_moves(unsigned int tid, const struct block *b);
void own_commit(unsigned int tid, const struct block *b);
void own_free(unsigned int tid, const struct block *b);
void own_sync(unsigned int tid);
/*
 * Frames without an owner, and leaked ones, are free, also after a crash. @alone: all that
 * was committed before is allocated, also after a crash.
 */
void own_swept(bool alone);
/* A bit for each frame of a row that a pointer leads to */
u64 own_live(unsigned int row);
/* A thread has seen this value of a word: it is there after a crash. */
void own_seen(unsigned int word, u64 value);

/* ---- States that runs start from ---- */

/* A new pool that is attached */
void world_format_as(const u8 uuid[16]);
/* Give a block that is free to an owner, committed or not. */
struct block world_give(unsigned int tid, unsigned int frame, unsigned int order,
			bool committed);
/* Give all that is free to others, but for some blocks. */
void world_fill(const unsigned int *leave, unsigned int nr, unsigned int order);
void world_point(unsigned int word, const struct block *b);
/* Runs start from here. */
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
