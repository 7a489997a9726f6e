// SPDX-License-Identifier: GPL-2.0
/* Allocation and free of many blocks at once: batches of a child or a row. */
#include "instance.h"

static const unsigned int batch_orders[] = { 0, 1, 2, 3, 4, 5, 6 };

KUNIT_ARRAY_PARAM(batch_order, batch_orders, inst_order_desc);

/*
 * A batch is of the child that the slot allocates from, or of one row. Batches
 * allocate all blocks in the end.
 */
static void batch_alloc(struct kunit *test)
{
	const unsigned int order = *(const unsigned int *)test->param_value;
	struct llfree_request req = { .order = order };
	unsigned long total = 0, expected, several = 0;
	u64 masks[LLFREE_CHILD_ROWS];
	unsigned int nr, rows, i;
	struct instance *inst;
	struct rnd_state rnd;

	prandom_seed_state(&rnd, order);
	inst = inst_new(test, FIRST + 20, 3 * TREE, LLFREE_INIT_FREE, 2);
	inst_scatter(test, inst, &rnd);
	expected = model_blocks(&inst->model, order, LLFREE_VIEW_NORMAL);
	KUNIT_ASSERT_GT(test, expected, 0);
	for (;;) {
		/* Few blocks as often as many */
		nr = prandom_u32_state(&rnd);
		nr = 1 + nr / 2 % (nr % 2 ? 80 : 600);
		req.slot = (int)(nr % 3) - 1;
		if (inst_alloc_batch(test, inst, &req, nr, masks) < 0)
			break;
		for (i = 0, rows = 0; i < LLFREE_CHILD_ROWS; i++)
			rows += !!masks[i];
		if (req.slot < 0)
			KUNIT_EXPECT_EQ(test, rows, 1);
		several += rows > 1;
		total += batch_frames(masks) >> order;
	}
	KUNIT_EXPECT_EQ(test, total, expected);
	KUNIT_EXPECT_GT(test, several, 0);
	inst_check(test, inst);
	inst_free_rest(test, inst);
	inst_check(test, inst);
}

/* A row, one block, and the rest of a child, of memory that is all free */
static void batch_alloc_full(struct kunit *test)
{
	const unsigned int order = *(const unsigned int *)test->param_value;
	struct instance *inst = inst_new(test, FIRST, TREE, LLFREE_INIT_FREE, 1);
	struct llfree_request req = { .order = order };
	u64 masks[LLFREE_CHILD_ROWS];
	long child;

	child = inst_alloc_batch(test, inst, &req, 64 >> order, masks);
	KUNIT_ASSERT_GE(test, child, 0);
	KUNIT_EXPECT_EQ(test, batch_frames(masks), 64);
	KUNIT_EXPECT_EQ(test, inst->delta.frames[0], -64);
	KUNIT_EXPECT_EQ(test, child, inst_alloc_batch(test, inst, &req, 1, masks));
	KUNIT_EXPECT_EQ(test, batch_frames(masks), 1U << order);
	/* The slot goes on in that child. */
	KUNIT_EXPECT_EQ(test, child, inst_alloc_batch(test, inst, &req, INT_MAX, masks));
	KUNIT_EXPECT_EQ(test, batch_frames(masks), CHILD - 64 - (1U << order));
	inst_check(test, inst);
}

/* Batches of memory that is all free: at least a row, and not more than asked for */
static void batch_numbers(struct kunit *test)
{
	const unsigned int order = *(const unsigned int *)test->param_value;
	struct instance *inst = inst_new(test, FIRST, 4 * TREE, LLFREE_INIT_FREE, 4);
	struct llfree_request req = { .order = order };
	unsigned int nr, blocks, row, most;
	u64 masks[LLFREE_CHILD_ROWS];
	unsigned long total = 0, i;
	long child;

	for (nr = 1; nr <= 2 * CHILD; nr = nr * 2 + 1) {
		row = min(nr, (unsigned int)LLFREE_ROW_FRAMES >> order);
		most = min(nr, (unsigned int)LLFREE_CHILD_FRAMES >> order);
		req.slot = (int)(nr % 5) - 1;
		child = inst_alloc_batch(test, inst, &req, nr, masks);
		KUNIT_ASSERT_GE(test, child, 0);
		blocks = batch_frames(masks) >> order;
		KUNIT_EXPECT_LE(test, row, blocks);
		KUNIT_EXPECT_GE(test, req.slot < 0 ? row : most, blocks);
		inst_check(test, inst);
		for (i = 0; i < LLFREE_CHILD_ROWS; i++)
			if (masks[i])
				inst_free_batch(test, inst, req.slot,
						child + i * LLFREE_ROW_FRAMES, masks[i]);
		inst_check(test, inst);
	}
	req.slot = 1;
	while (inst_alloc_batch(test, inst, &req, LLFREE_ROW_FRAMES, masks) >= 0)
		total += batch_frames(masks);
	KUNIT_EXPECT_EQ(test, 4 * TREE, total);
	inst_check(test, inst);
	for (i = 0; i < 4; i++)
		inst_free(test, inst, LLFREE_NO_SLOT, FIRST + i * TREE,
			  LLFREE_MIN_TREE_ORDER);
	inst_check(test, inst);
}

/*
 * Where the slot goes on, a batch is the rest of a child in one go. All other batches
 * are of one row: the first one of a slot, without a slot, of other views, and of a
 * child that is entirely free.
 */
static void batch_reserved(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, 4 * TREE, LLFREE_INIT_FREE, 4);
	struct llfree_request req = { .class = LLFREE_CLASS_MOVABLE };
	const unsigned long cma = FIRST + 4 * TREE - CHILD;
	u64 masks[LLFREE_CHILD_ROWS];
	unsigned int total;
	long own, child;

	own = inst_alloc_batch(test, inst, &req, 100, masks);
	KUNIT_ASSERT_GE(test, own, 0);
	KUNIT_EXPECT_EQ(test, LLFREE_ROW_FRAMES, batch_frames(masks));
	KUNIT_EXPECT_TRUE(test, inst_tree_reserved(test, inst, own));

	req.slot = LLFREE_NO_SLOT;
	child = inst_alloc_batch(test, inst, &req, 100, masks);
	KUNIT_ASSERT_GE(test, child, 0);
	KUNIT_EXPECT_EQ(test, LLFREE_ROW_FRAMES, batch_frames(masks));
	inst_free_batch(test, inst, LLFREE_NO_SLOT, child + batch_first(masks), ~0ULL);

	req.slot = 0;
	req.view = LLFREE_VIEW_CMA;
	KUNIT_EXPECT_EQ(test, -ENOMEM, inst_alloc_batch(test, inst, &req, 1, masks));
	inst_set_view(test, inst, cma, LLFREE_VIEW_CMA);
	KUNIT_EXPECT_EQ(test, cma, inst_alloc_batch(test, inst, &req, 100, masks));
	KUNIT_EXPECT_EQ(test, LLFREE_ROW_FRAMES, batch_frames(masks));
	inst_check(test, inst);
	inst_free_batch(test, inst, LLFREE_NO_SLOT, cma + batch_first(masks), ~0ULL);
	inst_set_view(test, inst, cma, LLFREE_VIEW_NORMAL);

	req.view = LLFREE_VIEW_NORMAL;
	KUNIT_EXPECT_EQ(test, own, inst_alloc_batch(test, inst, &req, 100, masks));
	KUNIT_EXPECT_EQ(test, 100, batch_frames(masks));
	total = LLFREE_ROW_FRAMES + 100;
	KUNIT_EXPECT_EQ(test, own, inst_alloc_batch(test, inst, &req, INT_MAX, masks));
	KUNIT_EXPECT_EQ(test, CHILD - total, batch_frames(masks));
	KUNIT_EXPECT_EQ(test, 0, llfree_child_stable(&inst->llf, own));

	child = inst_alloc_batch(test, inst, &req, 100, masks);
	KUNIT_ASSERT_GE(test, child, 0);
	KUNIT_EXPECT_NE(test, own, child);
	KUNIT_EXPECT_EQ(test, LLFREE_ROW_FRAMES, batch_frames(masks));
	inst_check(test, inst);
}

/* A batch of a slot is of the holes of all rows of a child; the next one goes on. */
static void batch_holes(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, 4 * TREE, LLFREE_INIT_FREE, 4);
	struct llfree_request req = { .order = 1 };
	u64 masks[LLFREE_CHILD_ROWS];
	unsigned long frame, nr;

	KUNIT_ASSERT_EQ(test, 4 * TREE, inst_alloc_all(test, inst, 0, 0, NULL));
	for (frame = FIRST; frame < FIRST + TREE; frame += 32)
		inst_free(test, inst, 1, frame, 1);
	/* A hole that is too small */
	inst_free(test, inst, 1, FIRST + 8, 0);
	KUNIT_ASSERT_EQ(test, 0, llfree_drain(&inst->llf, -1));
	KUNIT_ASSERT_GE(test, inst_alloc_batch(test, inst, &req, 1, masks), 0);
	for (nr = 1; inst_alloc_batch(test, inst, &req, 10, masks) >= 0;) {
		/* A row has two holes, which is all that a search would find. */
		KUNIT_EXPECT_LT(test, 2 * LLFREE_ROW_FRAMES / 32, batch_frames(masks));
		nr += batch_frames(masks) / 2;
	}
	KUNIT_EXPECT_EQ(test, TREE / 32, nr);
	KUNIT_EXPECT_EQ(test, 1, inst_free_frames(inst, LLFREE_VIEW_NORMAL));
	inst_check(test, inst);
}

/* A batch has as many frames as its masks have bits, and no frame is in two. */
static void batch_frames_once(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, TREE, LLFREE_INIT_FREE, 1);
	unsigned long *frames, nr = 0, before;
	struct llfree_request req = { };
	u64 masks[LLFREE_CHILD_ROWS];
	unsigned int want, i;
	long child;

	/* Fill an array as a per-CPU list would, in uneven portions. */
	frames = area_new(test, TREE * sizeof(*frames));
	for (want = 1; nr < TREE; want = want % 63 + 1) {
		child = inst_alloc_batch(test, inst, &req, want, masks);
		KUNIT_ASSERT_GE(test, child, 0);
		for (i = 0, before = nr; i < CHILD; i++)
			if (masks[i / LLFREE_ROW_FRAMES] & BIT_ULL(i % LLFREE_ROW_FRAMES))
				frames[nr++] = child + i;
		KUNIT_ASSERT_LE(test, nr - before, want);
		KUNIT_EXPECT_EQ(test, nr, -inst->delta.frames[0]);
	}
	inst_check(test, inst);
	inst_free_all(test, inst, 0, frames, nr);
	inst_check(test, inst);
}

static void free_batch(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, TREE, LLFREE_INIT_FREE, 1);
	struct snapshot *snap;
	unsigned int i;

	KUNIT_ASSERT_EQ(test, TREE, inst_alloc_all(test, inst, 0, 0, NULL));
	for (i = 0; i < LLFREE_ROW_FRAMES; i++)
		inst_free_batch(test, inst, (int)(i % 2) - 1,
				FIRST + i * LLFREE_ROW_FRAMES,
				0x8000000180000001ULL << (i / 2) | BIT_ULL(i));
	inst_check(test, inst);

	/* One frame of these is free already. */
	snap = snapshot_new(test, inst);
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_free_batch(&inst->llf, 0, FIRST, 3,
							 &inst->delta));
	snapshot_check(test, inst, snap);
	inst_free_rest(test, inst);
	inst_check(test, inst);
}

static struct kunit_case batch_cases[] = {
	KUNIT_CASE_PARAM(batch_alloc, batch_order_gen_params),
	KUNIT_CASE_PARAM(batch_alloc_full, batch_order_gen_params),
	KUNIT_CASE_PARAM(batch_numbers, batch_order_gen_params),
	KUNIT_CASE(batch_reserved),
	KUNIT_CASE(batch_holes),
	KUNIT_CASE(batch_frames_once),
	KUNIT_CASE(free_batch),
	{}
};

static struct kunit_suite batch_suite = {
	.name = "llfree_batch",
	.test_cases = batch_cases,
};

kunit_test_suite(batch_suite);
