/* SPDX-License-Identifier: GPL-2.0 */
/* An instance of the core with its memory and its books; random numbers */
#ifndef _LLFREE_TEST_INST_H
#define _LLFREE_TEST_INST_H

#include <linux/align.h>
#include <linux/bitops.h>
#include <linux/llfree.h>
#include <stdbool.h>
#include <stdint.h>

/**
 * struct inst - instance under test
 * @llf: the instance
 * @mem: its metadata
 * @locals: its slots
 * @nr_slots: number of @locals
 * @placed: rows and children belong to inst_area, not to the instance
 * @start: number of free frames at the start
 * @sum: sum of the deltas of operations since then
 */
struct inst {
	struct llfree llf;
	struct llfree_memory mem;
	struct llfree_local *locals;
	unsigned int nr_slots;
	bool placed;
	struct llfree_stats start;
	struct llfree_delta sum;
};

/*
 * Tree order of all instances that are initialised from now on; at first small
 * trees
 */
extern unsigned int inst_tree_order;
/*
 * Rows of all instances from now on, and children next to these; NULL for own
 * memory
 */
extern void *inst_area;

/* Metadata gets exact sizes, so that a sanitizer sees what lies beyond. */
int inst_init(struct inst *in, unsigned long first, unsigned long nr,
	      enum llfree_mode mode, const struct llfree_policy *policy,
	      unsigned int nr_slots);
/*
 * Initialise the instance again over the same memory, as after a restart, with
 * empty slots.
 */
int inst_reinit(struct inst *in, enum llfree_mode mode);
void inst_exit(struct inst *in);

/*
 * Check an instance at rest: invariants hold, statistics and the sum of all
 * deltas agree, no warning was given, preemption is on. Return: the fault, or
 * ""
 */
const char *inst_check(struct inst *in);

/* Requests with the fields that most callers need */
long inst_alloc(struct inst *in, int slot, unsigned int order);
long inst_alloc_view(struct inst *in, int slot, unsigned int order,
		     unsigned int view);
long inst_alloc_class(struct inst *in, int slot, unsigned int order,
		      unsigned int class, unsigned int flags);
/*
 * Allocate as zones do: by llfree_alloc_fast() where it may be called, then by
 * the search.
 */
long inst_alloc_fast(struct llfree *llf, const struct llfree_request *req,
		     struct llfree_delta *delta);
/* Free as zones do: by llfree_free_fast() for all but the largest blocks. */
int inst_free_fast(struct llfree *llf, int slot, unsigned long frame,
		   unsigned int order, struct llfree_delta *delta);
/*
 * llfree_alloc_batch(); returns -EPROTO if the batch is not between one and @nr
 * whole blocks of a child
 */
long inst_alloc_batch(struct llfree *llf, const struct llfree_request *req,
		      unsigned int nr, u64 *masks, struct llfree_delta *delta);
int inst_free(struct inst *in, int slot, unsigned long frame,
	      unsigned int order);
int inst_set_view(struct inst *in, unsigned long frame, enum llfree_view view);

/*
 * Steps of a free that read the range, before the first step that reads the
 * child
 */
#define RANGE_STEPS	2

/* The first frame and the children of the trees that have frames of the range */
static inline unsigned long inst_base(const struct inst *in)
{
	return ALIGN_DOWN(in->llf.first, in->llf.tree_frames);
}

static inline unsigned long inst_children(const struct inst *in)
{
	return (ALIGN(in->llf.end, in->llf.tree_frames) - inst_base(in)) /
	       LLFREE_CHILD_FRAMES;
}

unsigned long inst_free_frames(struct inst *in);

/* Number of blocks in the mask of a row, or -1 if it has part of a block */
int mask_blocks(u64 mask, unsigned int order);

/* Does a batch have frame @i of its child? */
static inline bool batch_has(const u64 *masks, unsigned int i)
{
	return masks[i / LLFREE_ROW_FRAMES] >> (i % LLFREE_ROW_FRAMES) & 1;
}

/* Number of frames in a batch */
static inline unsigned int batch_frames(const u64 *masks)
{
	unsigned int nr = 0, row;

	for (row = 0; row < LLFREE_CHILD_ROWS; row++)
		nr += hweight64(masks[row]);
	return nr;
}

/* Random numbers: splitmix64 */
struct rng {
	u64 state;
};

static inline u64 rng_next(struct rng *rng)
{
	u64 z = rng->state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

/* A random number below @n */
static inline u64 rng_below(struct rng *rng, u64 n)
{
	return n ? rng_next(rng) % n : 0;
}

u64 rng_seed(void);

#endif /* _LLFREE_TEST_INST_H */
