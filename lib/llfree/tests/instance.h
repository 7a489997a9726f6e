/* SPDX-License-Identifier: GPL-2.0 */
/*
 * An instance of the LLFree core for tests, with a reference model next to it.
 *
 * Tests call the core through the functions below, which compare each result with
 * the model, and inst_check() compares all state. So each test is also a test of
 * all operations that it uses.
 *
 * The tests run as KUnit suites in the kernel, and in userspace: see
 * tools/testing/llfree/kunit.c.
 */
#ifndef _LLFREE_TESTS_INSTANCE_H
#define _LLFREE_TESTS_INSTANCE_H

#include <kunit/test.h>
#include <linux/align.h>
#include <linux/bitops.h>
#include <linux/bits.h>
#include <linux/limits.h>
#include <linux/llfree.h>
#include <linux/prandom.h>
#include <linux/string.h>

#include "../words.h"
#include "model.h"

/* Most instances start here and not at 0, since frame numbers are absolute. */
#define FIRST		(5UL * LLFREE_MIN_TREE_FRAMES)
#define TREE		((unsigned long)LLFREE_MIN_TREE_FRAMES)
#define CHILD		((unsigned long)LLFREE_CHILD_FRAMES)

/**
 * struct instance - instance under test, and its model
 * @llf: the instance
 * @mem: its metadata
 * @locals: its slots
 * @nr_slots: number of @locals
 * @model: its model
 * @start: free frames at the start
 * @delta: sum of the changes that operations reported since then
 */
struct instance {
	struct llfree llf;
	struct llfree_memory mem;
	struct llfree_local *locals;
	unsigned int nr_slots;
	struct model model;
	struct llfree_stats start;
	struct llfree_delta delta;
};

/* ---- Parameters of many tests ---- */

/* Frames of an instance: start and length; and its slots */
struct span {
	unsigned long first;
	unsigned long nr;
	unsigned int slots;
};

#define NR_RANGES	29

extern const struct span inst_ranges[NR_RANGES];
void inst_range_desc(const struct span *range, char *desc);

extern const unsigned int inst_orders[LLFREE_NR_ORDERS];
void inst_order_desc(const unsigned int *order, char *desc);

/* ---- Memory that the test owns ---- */

/* Returns memory full of garbage, with a guard behind it, that starts at a page. */
void *area_new(struct kunit *test, size_t size);
void *area_copy(struct kunit *test, const void *from, size_t size);

/* ---- Instances ---- */

struct instance *inst_new(struct kunit *test, unsigned long first,
			  unsigned long nr, enum llfree_mode mode,
			  unsigned int nr_slots);
struct instance *inst_new_policy(struct kunit *test, unsigned long first,
				 unsigned long nr, enum llfree_mode mode,
				 unsigned int nr_slots,
				 const struct llfree_policy *policy);
/* Initialises an instance again in the memory that it has. */
void inst_start(struct kunit *test, struct instance *inst, unsigned long first,
		unsigned long nr, enum llfree_mode mode,
		const struct llfree_policy *policy);
void inst_set_slots(struct kunit *test, struct instance *inst,
		    unsigned int nr_slots);
/* Compares all state with the model. No other thread may use the instance. */
void inst_check(struct kunit *test, struct instance *inst);

/* First frame of the trees that have frames of the range */
static inline unsigned long inst_base(const struct instance *inst)
{
	return inst->model.base;
}

/* Number of children of these trees */
static inline unsigned long inst_children(const struct instance *inst)
{
	return inst->model.nr_children;
}

static inline unsigned long inst_nr(const struct instance *inst)
{
	return inst->llf.end - inst->llf.first;
}

/* Words, counted from inst_base() */
static inline u64 *inst_row(struct instance *inst, unsigned long row)
{
	return row_at(&inst->llf, frame_row(inst_base(inst)) + row);
}

static inline u16 *inst_child(struct instance *inst, unsigned long child)
{
	return child_at(&inst->llf, frame_child(inst_base(inst)) + child);
}

static inline u32 *inst_tree(struct instance *inst, unsigned int view,
			     unsigned long tree)
{
	return tree_at(&inst->llf, view,
		       (inst_base(inst) >> inst->llf.tree_order) + tree);
}

/* Has a slot reserved the tree of a frame? */
bool inst_tree_reserved(struct kunit *test, struct instance *inst,
			unsigned long frame);
unsigned long inst_free_frames(struct instance *inst, unsigned int view);

/* ---- Model ---- */

/*
 * View of a child in the model. Workers write it, each that of other children,
 * where they cannot use model_set_view().
 */
static inline u8 *inst_view(const struct instance *inst, unsigned long frame)
{
	return &inst->model.view[model_child(&inst->model, frame)];
}

/* Checks that the core could allocate these frames, and enters it in the model. */
void inst_allocated(struct kunit *test, struct instance *inst,
		    unsigned long frame, unsigned long nr, unsigned int view);

/* ---- Operations, compared with the model ---- */

long inst_alloc_req(struct kunit *test, struct instance *inst,
		    const struct llfree_request *req);
long inst_alloc(struct kunit *test, struct instance *inst, int slot,
		unsigned int order, unsigned int class);
long inst_alloc_view(struct kunit *test, struct instance *inst,
		     unsigned int order, unsigned int view);
/* llfree_alloc_fast(): from the tree that the slot has reserved, or -EAGAIN */
long inst_alloc_fast(struct kunit *test, struct instance *inst, int slot,
		     unsigned int order, unsigned int class);
long inst_alloc_batch(struct kunit *test, struct instance *inst,
		      const struct llfree_request *req, unsigned int nr,
		      u64 *masks);
/*
 * Allocates all blocks of an order that there are, by all slots and classes in
 * turn. @frames has room for all of them, or is NULL. Returns their number.
 */
unsigned long inst_alloc_all(struct kunit *test, struct instance *inst,
			     unsigned int order, unsigned int view,
			     unsigned long *frames);

void inst_free(struct kunit *test, struct instance *inst, int slot,
	       unsigned long frame, unsigned int order);
void inst_free_batch(struct kunit *test, struct instance *inst, int slot,
		     unsigned long frame, u64 mask);
void inst_free_all(struct kunit *test, struct instance *inst,
		   unsigned int order, unsigned long *frames, unsigned long nr);
/* Frees every frame that is in use. */
void inst_free_rest(struct kunit *test, struct instance *inst);

int inst_claim(struct kunit *test, struct instance *inst, unsigned long frame,
	       unsigned int order, unsigned int flags);
u64 inst_claim_row(struct kunit *test, struct instance *inst,
		   unsigned long frame, u64 mask, unsigned int flags);
/* Claims frames here and there: many of some children, few of others. */
void inst_scatter(struct kunit *test, struct instance *inst,
		  struct rnd_state *rnd);

void inst_set_view(struct kunit *test, struct instance *inst,
		   unsigned long frame, enum llfree_view view);
/* Claims the child of a frame, all of which is free, and frees it as reported. */
void inst_set_reported(struct kunit *test, struct instance *inst,
		       unsigned long frame);

/* ---- Batches and random numbers ---- */

/* Does the mask of a row consist of whole blocks of an order? */
static inline bool mask_shape_ok(u64 mask, unsigned int order)
{
	/* Frames of the runs that are aligned and complete in the mask */
	return runs_mask(row_runs(~mask, order), order) == mask;
}

static inline unsigned int batch_frames(const u64 *masks)
{
	unsigned int nr = 0, i;

	for (i = 0; i < LLFREE_CHILD_ROWS; i++)
		nr += hweight64(masks[i]);
	return nr;
}

/* First frame of a batch, counted from the child that it is of */
static inline unsigned int batch_first(const u64 *masks)
{
	unsigned int row = 0;

	while (row < LLFREE_CHILD_ROWS - 1 && !masks[row])
		row++;
	return row * LLFREE_ROW_FRAMES + __ffs64(masks[row]);
}

static inline u64 random_u64(struct rnd_state *rnd)
{
	return (u64)prandom_u32_state(rnd) << 32 | prandom_u32_state(rnd);
}

/* ---- Snapshots ---- */

/* A copy of all bytes that operations change, to see that one changed none */
struct snapshot {
	void *rows, *children, *trees, *locals;
	u32 hint[LLFREE_ALLOC_VIEWS];
	struct llfree_delta delta;
};

struct snapshot *snapshot_new(struct kunit *test, struct instance *inst);
void snapshot_check(struct kunit *test, struct instance *inst,
		    struct snapshot *snap);

#endif /* _LLFREE_TESTS_INSTANCE_H */
