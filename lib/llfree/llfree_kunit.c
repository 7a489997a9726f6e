// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit test of the LLFree core.
 *
 * Every instance has a model next to it that knows nothing of how the core
 * works: a bit per frame that is in use, and a view per child. All operations
 * of a test go through helpers that compare what the core says with the model,
 * and inst_check() compares all of it, so that each test is also a test of
 * everything that it uses.
 *
 * Tests whose name starts with fault_ are for mistakes that allocators of this
 * design have made before.
 */
#include <kunit/test.h>
#include <linux/bitmap.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/hrtimer.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/llfree.h>
#include <linux/module.h>
#include <linux/preempt.h>
#include <linux/prandom.h>
#include <linux/sched.h>
#include <linux/sched/task.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#include "words.h"

/* Where most instances start: not at 0, so that frame numbers are absolute. */
#define FIRST		(5UL * LLFREE_MIN_TREE_FRAMES)
#define TREE		((unsigned long)LLFREE_MIN_TREE_FRAMES)
#define CHILD		((unsigned long)LLFREE_CHILD_FRAMES)

/* ---- Instances and their model ---- */

#define GUARD_SIZE	64
#define GUARD_BYTE	0x5a
#define GARBAGE_BYTE	0xa5

struct instance {
	struct llfree llf;
	struct llfree_memory mem;
	struct llfree_local *locals;
	unsigned int nr_slots;
	/* Model: bits from inst_base() on; 1 = in use or outside the range */
	unsigned long *taken;
	u8 *views;
	/* What was free at the start, and what operations said they changed */
	struct llfree_stats start;
	struct llfree_delta delta;
};

KUNIT_DEFINE_ACTION_WRAPPER(vfree_action, vfree, const void *);

/* Memory full of garbage, with a guard behind it. Starts at a page. */
static void *area_new(struct kunit *test, size_t size)
{
	void *area = vmalloc(size + GUARD_SIZE);

	KUNIT_ASSERT_NOT_NULL(test, area);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, vfree_action, area));
	memset(area, GARBAGE_BYTE, size);
	memset(area + size, GUARD_BYTE, GUARD_SIZE);
	return area;
}

static bool area_intact(const void *area, size_t size)
{
	return !memchr_inv(area + size, GUARD_BYTE, GUARD_SIZE);
}

/* The first frame and the children of the trees that have frames of the range */
static unsigned long inst_base(const struct instance *inst)
{
	return tree_frame(&inst->llf, inst->llf.first >> inst->llf.tree_order);
}

static unsigned long inst_children(const struct instance *inst)
{
	return tree_child(&inst->llf, inst->llf.nr_trees);
}

/* Words, counted from the first frame of the first tree */
static u64 *inst_row(struct instance *inst, unsigned long row)
{
	return row_at(&inst->llf, frame_row(inst_base(inst)) + row);
}

static u16 *inst_child(struct instance *inst, unsigned long child)
{
	return child_at(&inst->llf, frame_child(inst_base(inst)) + child);
}

static u32 *inst_tree(struct instance *inst, unsigned int view, unsigned long tree)
{
	return tree_at(&inst->llf, view, (inst_base(inst) >> inst->llf.tree_order) + tree);
}

static unsigned long inst_nr(const struct instance *inst)
{
	return inst->llf.end - inst->llf.first;
}

static u8 *inst_view(const struct instance *inst, unsigned long frame)
{
	return &inst->views[frame_child(frame - inst_base(inst))];
}

/* Give an instance a new life in the memory it has. */
static void inst_start(struct kunit *test, struct instance *inst,
		       unsigned long first, unsigned long nr,
		       enum llfree_mode mode,
		       const struct llfree_policy *policy)
{
	memset(&inst->llf, GARBAGE_BYTE, sizeof(inst->llf));
	memset(inst->mem.trees, GARBAGE_BYTE, inst->mem.trees_size);
	KUNIT_ASSERT_EQ(test, 0, llfree_init(&inst->llf, first, nr, &inst->mem,
					     mode, policy));
	memset(&inst->delta, 0, sizeof(inst->delta));
	llfree_stats_exact(&inst->llf, &inst->start);
	inst->nr_slots = 0;
}

static void inst_set_slots(struct kunit *test, struct instance *inst,
			   unsigned int nr_slots)
{
	inst->locals = area_new(test, nr_slots * sizeof(*inst->locals));
	inst->nr_slots = nr_slots;
	KUNIT_ASSERT_EQ(test, 0, llfree_set_slots(&inst->llf, inst->locals,
						  nr_slots));
}

static struct instance *inst_new_policy(struct kunit *test, unsigned long first,
					unsigned long nr, enum llfree_mode mode,
					unsigned int nr_slots,
					const struct llfree_policy *policy)
{
	struct instance *inst = area_new(test, sizeof(*inst));
	unsigned long frames;

	memset(inst, 0, sizeof(*inst));
	KUNIT_ASSERT_EQ(test, 0, llfree_layout(first, nr, LLFREE_MIN_TREE_ORDER, &inst->mem));
	inst->mem.rows = area_new(test, inst->mem.rows_size);
	inst->mem.children = area_new(test, inst->mem.children_size);
	inst->mem.trees = area_new(test, inst->mem.trees_size);
	inst_start(test, inst, first, nr, mode, policy);
	if (nr_slots)
		inst_set_slots(test, inst, nr_slots);

	frames = inst->llf.nr_trees * TREE;
	inst->taken = area_new(test, frames / BITS_PER_BYTE);
	bitmap_fill(inst->taken, frames);
	if (mode == LLFREE_INIT_FREE)
		bitmap_clear(inst->taken, first - inst_base(inst), nr);
	inst->views = area_new(test, inst_children(inst));
	memset(inst->views, LLFREE_VIEW_NORMAL, inst_children(inst));
	return inst;
}

static struct instance *inst_new(struct kunit *test, unsigned long first,
				 unsigned long nr, enum llfree_mode mode,
				 unsigned int nr_slots)
{
	return inst_new_policy(test, first, nr, mode, nr_slots, NULL);
}

/* Model: is this block free, and all of it in @view? */
static bool ref_free(const struct instance *inst, unsigned long frame,
		     unsigned long nr, unsigned int view)
{
	unsigned long bit = frame - inst_base(inst), i;

	if (find_next_bit(inst->taken, bit + nr, bit) < bit + nr)
		return false;
	for (i = 0; i < nr; i += CHILD)
		if (*inst_view(inst, frame + i) != view)
			return false;
	return true;
}

/* Model: order of the largest free block around a frame, or -1 */
static int ref_order(const struct instance *inst, unsigned long frame)
{
	int order;

	for (order = LLFREE_MAX_ORDER; order >= 0; order--)
		if (ref_free(inst, ALIGN_DOWN(frame, 1UL << order),
			     1UL << order, *inst_view(inst, frame)))
			break;
	return order;
}

/* Model: number of free blocks of an order, also as part of larger ones */
static unsigned long ref_blocks(const struct instance *inst, unsigned int order,
				unsigned int view)
{
	unsigned long size = 1UL << order, frame, nr = 0;

	for (frame = ALIGN_DOWN(inst->llf.first, size); frame < inst->llf.end;
	     frame += size)
		nr += ref_free(inst, frame, size, view);
	return nr;
}

static bool ref_in_range(const struct instance *inst, unsigned long frame,
			 unsigned long nr)
{
	return frame >= inst->llf.first && frame + nr <= inst->llf.end;
}

/* Enter in the model that the core handed out some frames. */
static void ref_take(struct kunit *test, struct instance *inst,
		     unsigned long frame, unsigned long nr, unsigned int view)
{
	KUNIT_ASSERT_TRUE_MSG(test, ref_in_range(inst, frame, nr),
			      "got %lu+%lu outside the range", frame, nr);
	KUNIT_ASSERT_TRUE_MSG(test, ref_free(inst, frame, nr, view),
			      "got %lu+%lu twice or out of its view", frame,
			      nr);
	bitmap_set(inst->taken, frame - inst_base(inst), nr);
}

static void ref_give(struct kunit *test, struct instance *inst,
		     unsigned long frame, unsigned long nr)
{
	unsigned long bit = frame - inst_base(inst);

	KUNIT_ASSERT_TRUE(test, ref_in_range(inst, frame, nr));
	KUNIT_ASSERT_GE_MSG(test,
			    find_next_zero_bit(inst->taken, bit + nr, bit),
			    bit + nr, "freed %lu+%lu twice", frame, nr);
	bitmap_clear(inst->taken, bit, nr);
}

static long inst_alloc_req(struct kunit *test, struct instance *inst,
			   const struct llfree_request *req)
{
	unsigned long nr = 1UL << req->order;
	long frame;

	frame = llfree_alloc(&inst->llf, req, &inst->delta);
	if (frame >= 0) {
		KUNIT_EXPECT_TRUE(test, IS_ALIGNED(frame, nr));
		ref_take(test, inst, frame, nr, req->view);
	} else if (!(req->flags & LLFREE_ALLOC_NOFRAGMENT)) {
		KUNIT_EXPECT_EQ(test, frame, -ENOMEM);
		KUNIT_EXPECT_EQ_MSG(test, 0,
				    ref_blocks(inst, req->order, req->view),
				    "free blocks of order %d were not found",
				    req->order);
	}
	return frame;
}

static long inst_alloc(struct kunit *test, struct instance *inst, int slot,
		       unsigned int order, unsigned int class)
{
	struct llfree_request req = {
		.slot = slot,
		.order = order,
		.class = class,
	};

	return inst_alloc_req(test, inst, &req);
}

static long inst_alloc_view(struct kunit *test, struct instance *inst,
			    unsigned int order, unsigned int view)
{
	struct llfree_request req = {
		.slot = LLFREE_NO_SLOT,
		.order = order,
		.class = LLFREE_CLASS_MOVABLE,
		.view = view,
	};

	return inst_alloc_req(test, inst, &req);
}

static void inst_free(struct kunit *test, struct instance *inst, int slot,
		      unsigned long frame, unsigned int order)
{
	unsigned int view;
	int ret;

	ref_give(test, inst, frame, 1UL << order);
	/* Either way, and always the same for a block */
	if (order > LLFREE_CHILD_ORDER || !(frame >> order & 1)) {
		KUNIT_ASSERT_EQ_MSG(test, 0,
				    llfree_free(&inst->llf, slot, frame, order,
						&inst->delta),
				    "frame %lu order %u", frame, order);
		return;
	}
	ret = llfree_free_fast(&inst->llf, slot, frame, order);
	KUNIT_ASSERT_GE_MSG(test, ret, 0, "frame %lu order %u", frame, order);
	view = ret & LLFREE_FREED_VIEW;
	KUNIT_ASSERT_LT(test, view, LLFREE_NR_VIEWS);
	inst->delta.frames[view] += 1 << order;
	inst->delta.huge[view] += !!(ret & LLFREE_FREED_WHOLE);
}

static void inst_free_batch(struct kunit *test, struct instance *inst, int slot,
			    unsigned long frame, u64 mask)
{
	unsigned int i;

	for (i = 0; i < LLFREE_ROW_FRAMES; i++)
		if (mask & BIT_ULL(i))
			ref_give(test, inst, frame + i, 1);
	KUNIT_ASSERT_EQ(test, 0, llfree_free_batch(&inst->llf, slot, frame, mask,
						   &inst->delta));
}

static void ref_take_mask(struct kunit *test, struct instance *inst,
			  unsigned long frame, u64 mask, unsigned int view)
{
	unsigned int i;

	KUNIT_ASSERT_TRUE(test, IS_ALIGNED(frame, LLFREE_ROW_FRAMES));
	for (i = 0; i < LLFREE_ROW_FRAMES; i++)
		if (mask & BIT_ULL(i))
			ref_take(test, inst, frame + i, 1, view);
}

static bool mask_shape_ok(u64 mask, unsigned int order)
{
	/* Frames of the runs that are aligned and complete in the mask */
	return runs_mask(row_runs(~mask, order), order) == mask;
}

static unsigned int batch_frames(const u64 *masks)
{
	unsigned int nr = 0, i;

	for (i = 0; i < LLFREE_CHILD_ROWS; i++)
		nr += hweight64(masks[i]);
	return nr;
}

static long inst_alloc_batch(struct kunit *test, struct instance *inst,
			     const struct llfree_request *req, unsigned int nr,
			     u64 *masks)
{
	unsigned int blocks, i;
	long child;

	child = llfree_alloc_batch(&inst->llf, req, nr, masks, &inst->delta);
	if (child < 0) {
		KUNIT_EXPECT_EQ(test, child, -ENOMEM);
		KUNIT_EXPECT_EQ_MSG(test, 0,
				    ref_blocks(inst, req->order, req->view),
				    "free blocks of order %d were not found",
				    req->order);
		return child;
	}
	KUNIT_ASSERT_TRUE(test, IS_ALIGNED(child, LLFREE_CHILD_FRAMES));
	for (i = 0; i < LLFREE_CHILD_ROWS; i++) {
		KUNIT_ASSERT_TRUE(test, mask_shape_ok(masks[i], req->order));
		ref_take_mask(test, inst, child + i * LLFREE_ROW_FRAMES, masks[i],
			      req->view);
	}
	blocks = batch_frames(masks) >> req->order;
	KUNIT_EXPECT_GE(test, blocks, 1);
	KUNIT_EXPECT_LE(test, blocks, nr);
	return child;
}

static u64 inst_claim_row(struct kunit *test, struct instance *inst,
			  unsigned long frame, u64 mask, unsigned int flags)
{
	u64 claimed = 0;
	unsigned int nr;
	long ret;

	ret = llfree_claim_row(&inst->llf, frame, mask, flags, &claimed,
			       &inst->delta);
	nr = hweight64(claimed);
	KUNIT_ASSERT_EQ(test, ret, nr);
	KUNIT_ASSERT_EQ(test, claimed & ~mask, 0ULL);
	ref_take_mask(test, inst, frame, claimed, *inst_view(inst, frame));
	return claimed;
}

static int inst_claim(struct kunit *test, struct instance *inst,
		      unsigned long frame, unsigned int order,
		      unsigned int flags)
{
	int ret = llfree_claim(&inst->llf, frame, order, flags, &inst->delta);

	if (!ret)
		ref_take(test, inst, frame, 1UL << order,
			 *inst_view(inst, frame));
	return ret;
}

static void inst_set_view(struct kunit *test, struct instance *inst,
			  unsigned long frame, enum llfree_view view)
{
	u8 *old = inst_view(inst, frame);

	KUNIT_ASSERT_EQ(test, *old == view ? -EALREADY : *old,
			llfree_set_view(&inst->llf, frame, view, &inst->delta));
	*old = view;
}

/* Compare everything. Nobody else may use the instance. */
static void inst_check(struct kunit *test, struct instance *inst)
{
	unsigned long frames[LLFREE_NR_VIEWS] = { };
	unsigned long huge[LLFREE_NR_VIEWS] = { };
	struct llfree_stats exact, fast;
	struct llfree_fault fault = { };
	struct llfree *llf = &inst->llf;
	unsigned long row, child, start;
	unsigned int view, order, free;
	int ret;

	ret = llfree_validate(llf, &fault);
	KUNIT_EXPECT_EQ_MSG(test, 0, ret, "%s at %lu: expected %ld, found %ld",
			    fault.what, fault.frame, fault.expected,
			    fault.found);

	for (row = 0; row < tree_row(llf, llf->nr_trees); row++) {
		start = inst_base(inst) + row_frame(row);
		KUNIT_EXPECT_EQ_MSG(test, (u64)~inst->taken[row],
				    llfree_row_mask(llf, start),
				    "row of frame %lu", start);
	}
	for (child = 0; child < inst_children(inst); child++) {
		free = CHILD - bitmap_weight(inst->taken +
					     child * LLFREE_CHILD_ROWS, CHILD);
		frames[inst->views[child]] += free;
		huge[inst->views[child]] += free == CHILD;
	}

	llfree_stats_exact(llf, &exact);
	llfree_stats_fast(llf, &fast);
	for (view = 0; view < LLFREE_NR_VIEWS; view++) {
		KUNIT_EXPECT_EQ(test, frames[view], exact.frames[view]);
		KUNIT_EXPECT_EQ(test, huge[view], exact.huge[view]);
		KUNIT_EXPECT_EQ(test, frames[view],
				inst->start.frames[view] +
				inst->delta.frames[view]);
		KUNIT_EXPECT_EQ(test, huge[view], inst->start.huge[view] +
				inst->delta.huge[view]);
		if (view == LLFREE_VIEW_ISOLATED)
			continue;
		KUNIT_EXPECT_EQ(test, frames[view], fast.frames[view]);
		for (order = 0; order < LLFREE_NR_ORDERS; order++)
			if (!llfree_may_have_order(llf, order, view))
				KUNIT_EXPECT_EQ_MSG(test, 0,
						    ref_blocks(inst, order, view),
						    "order %u is said to be out, view %u",
						    order, view);
	}

	KUNIT_EXPECT_TRUE(test, area_intact(inst, sizeof(*inst)));
	KUNIT_EXPECT_TRUE(test, area_intact(inst->mem.rows,
					    inst->mem.rows_size));
	KUNIT_EXPECT_TRUE(test, area_intact(inst->mem.children,
					    inst->mem.children_size));
	KUNIT_EXPECT_TRUE(test, area_intact(inst->mem.trees,
					    inst->mem.trees_size));
	if (inst->nr_slots)
		KUNIT_EXPECT_TRUE(test, area_intact(inst->locals,
						    inst->nr_slots *
						    sizeof(*inst->locals)));
}

/*
 * Take all blocks of an order that there are, by all slots and classes in
 * turn. @frames has room for all of them, or is NULL.
 */
static unsigned long inst_alloc_all(struct kunit *test, struct instance *inst,
				    unsigned int order, unsigned int view,
				    unsigned long *frames)
{
	struct llfree_request req = { .order = order, .view = view };
	unsigned long nr = 0;
	long frame;

	for (;;) {
		req.slot = (int)(nr % (inst->nr_slots + 1)) - 1;
		req.class = nr / 5 % inst->llf.policy->nr_classes;
		frame = inst_alloc_req(test, inst, &req);
		if (frame < 0)
			return nr;
		if (frames)
			frames[nr] = frame;
		nr++;
	}
}

static void inst_free_all(struct kunit *test, struct instance *inst,
			  unsigned int order, unsigned long *frames,
			  unsigned long nr)
{
	unsigned long i;

	/* Not in the order in which they came; 61 divides no number here. */
	for (i = 0; i < nr; i++)
		inst_free(test, inst, (int)(i % (inst->nr_slots + 1)) - 1,
			  frames[nr % 61 ? i * 61 % nr : i], order);
}

/* Free every frame that is in use. */
static void inst_free_rest(struct kunit *test, struct instance *inst)
{
	unsigned long frame;
	u64 mask;

	for (frame = inst_base(inst); frame < inst->llf.end;
	     frame += LLFREE_ROW_FRAMES) {
		mask = inst->taken[frame_row(frame - inst_base(inst))];
		if (frame < inst->llf.first)
			mask &= inst->llf.first - frame < LLFREE_ROW_FRAMES ?
				~0ULL << (inst->llf.first - frame) : 0;
		if (inst->llf.end - frame < LLFREE_ROW_FRAMES)
			mask &= (1ULL << (inst->llf.end - frame)) - 1;
		if (mask)
			inst_free_batch(test, inst, LLFREE_NO_SLOT, frame, mask);
	}
}

static u64 random_u64(struct rnd_state *rnd)
{
	return (u64)prandom_u32_state(rnd) << 32 | prandom_u32_state(rnd);
}

/* Take frames here and there, in some children many and in some few. */
static void inst_scatter(struct kunit *test, struct instance *inst,
			 struct rnd_state *rnd)
{
	unsigned long frame;
	unsigned int kind = 5;
	u64 mask;

	for (frame = ALIGN_DOWN(inst->llf.first, LLFREE_ROW_FRAMES);
	     frame < inst->llf.end;
	     frame += LLFREE_ROW_FRAMES) {
		if (IS_ALIGNED(frame, CHILD))
			kind = prandom_u32_state(rnd) % 6;
		mask = random_u64(rnd);
		switch (kind) {
		case 0:
			continue;
		case 1:
			mask = ~0ULL;
			break;
		case 2:
			mask |= random_u64(rnd) | random_u64(rnd);
			break;
		case 3:
			mask &= random_u64(rnd) & random_u64(rnd);
			break;
		case 4:
			if (mask & 3)
				continue;
			mask >>= 58;
			break;
		}
		inst_claim_row(test, inst, frame, mask, 0);
	}
}

/* Bytes of everything that an instance can change, to see that it did not */
struct snapshot {
	void *rows, *children, *trees, *locals;
	u32 hint[LLFREE_ALLOC_VIEWS];
	struct llfree_delta delta;
};

static void *area_copy(struct kunit *test, const void *from, size_t size)
{
	return memcpy(area_new(test, size), from, size);
}

static struct snapshot *snapshot_new(struct kunit *test, struct instance *inst)
{
	struct snapshot *snap = area_new(test, sizeof(*snap));

	snap->rows = area_copy(test, inst->mem.rows, inst->mem.rows_size);
	snap->children = area_copy(test, inst->mem.children,
				   inst->mem.children_size);
	snap->trees = area_copy(test, inst->mem.trees, inst->mem.trees_size);
	snap->locals = area_copy(test, inst->locals,
				 inst->nr_slots * sizeof(*inst->locals));
	memcpy(snap->hint, inst->llf.hint, sizeof(snap->hint));
	snap->delta = inst->delta;
	return snap;
}

static void snapshot_check(struct kunit *test, struct instance *inst,
			   struct snapshot *snap)
{
	KUNIT_EXPECT_MEMEQ(test, snap->rows, inst->mem.rows,
			   inst->mem.rows_size);
	KUNIT_EXPECT_MEMEQ(test, snap->children, inst->mem.children,
			   inst->mem.children_size);
	KUNIT_EXPECT_MEMEQ(test, snap->trees, inst->mem.trees,
			   inst->mem.trees_size);
	if (inst->nr_slots)
		KUNIT_EXPECT_MEMEQ(test, snap->locals, inst->locals,
				   inst->nr_slots * sizeof(*inst->locals));
	KUNIT_EXPECT_MEMEQ(test, snap->hint, inst->llf.hint,
			   sizeof(snap->hint));
	KUNIT_EXPECT_MEMEQ(test, &snap->delta, &inst->delta,
			   sizeof(snap->delta));
}

/* ---- Layout and life cycle ---- */

struct span {
	unsigned long first;
	unsigned long nr;
};

static const struct span ranges[] = {
	{ 0, 1 },
	{ 1, 1 },
	{ 4095, 1 },
	{ 63, 2 },
	{ 0, 64 },
	{ 511, 2 },
	{ 5, 506 },
	{ 0, 511 },
	{ 512, 512 },
	{ 100, 1024 },
	{ 4095, 2 },
	{ 0, 4096 },
	{ FIRST, 4096 },
	{ FIRST + 1, 2 * 4096 },
	{ FIRST - 1, 2 * 4096 + 2 },
	{ 0x100000 - 700, 3 * 4096 + 77 },
	{ BIT(40) + 17, 5000 },
};

static void range_desc(const struct span *range, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%lu+%lu", range->first,
		 range->nr);
}

KUNIT_ARRAY_PARAM(range, ranges, range_desc);

static void range_layout(struct kunit *test)
{
	const struct span *range = test->param_value;
	unsigned long trees = DIV_ROUND_UP(range->first + range->nr, TREE) -
			      range->first / TREE;
	struct llfree_memory mem;
	struct instance *inst;

	KUNIT_ASSERT_EQ(test, 0, llfree_layout(range->first, range->nr,
					       LLFREE_MIN_TREE_ORDER, &mem));
	KUNIT_EXPECT_EQ(test, mem.rows_size, trees * TREE / BITS_PER_BYTE);
	KUNIT_EXPECT_GE(test, mem.children_size, trees * 8 * sizeof(u16));
	KUNIT_EXPECT_GE(test, mem.trees_size,
			trees * LLFREE_ALLOC_VIEWS * sizeof(u32));
	/* No more than padding */
	KUNIT_EXPECT_LT(test, mem.children_size,
			trees * 8 * sizeof(u16) + SMP_CACHE_BYTES);
	KUNIT_EXPECT_LT(test, mem.trees_size,
			LLFREE_ALLOC_VIEWS * (trees * sizeof(u32) +
					      SMP_CACHE_BYTES));

	inst = inst_new(test, range->first, range->nr, LLFREE_INIT_FREE, 0);
	KUNIT_EXPECT_EQ(test, inst->start.frames[LLFREE_VIEW_NORMAL],
			range->nr);
	KUNIT_EXPECT_EQ(test, inst->start.huge[LLFREE_VIEW_NORMAL],
			ref_blocks(inst, LLFREE_CHILD_ORDER,
				   LLFREE_VIEW_NORMAL));
	KUNIT_EXPECT_EQ(test, inst->start.reserved, 0);
	inst_check(test, inst);
}

static void range_orders(struct kunit *test)
{
	const struct span *range = test->param_value;
	unsigned long *frames, nr, start, end;
	struct instance *inst;
	unsigned int order;

	inst = inst_new(test, range->first, range->nr, LLFREE_INIT_FREE, 2);
	frames = area_new(test, range->nr * sizeof(*frames));
	for (order = 0; order < LLFREE_NR_ORDERS; order++) {
		start = ALIGN(range->first, 1UL << order);
		end = ALIGN_DOWN(range->first + range->nr, 1UL << order);
		nr = inst_alloc_all(test, inst, order, LLFREE_VIEW_NORMAL,
				    frames);
		KUNIT_EXPECT_EQ(test, nr,
				end > start ? (end - start) >> order : 0);
		inst_check(test, inst);
		inst_free_all(test, inst, order, frames, nr);
		inst_check(test, inst);
	}
}

static void range_alloc_mode(struct kunit *test)
{
	const struct span *range = test->param_value;
	struct llfree_stats stats;
	struct instance *inst;
	unsigned int order;

	inst = inst_new(test, range->first, range->nr, LLFREE_INIT_ALLOC, 1);
	KUNIT_EXPECT_EQ(test, inst->start.frames[LLFREE_VIEW_NORMAL], 0);
	for (order = 0; order < LLFREE_NR_ORDERS; order++)
		KUNIT_EXPECT_EQ(test, -ENOMEM, inst_alloc(test, inst, 0, order, 0));
	inst_check(test, inst);

	inst_free_rest(test, inst);
	inst_check(test, inst);
	llfree_stats_exact(&inst->llf, &stats);
	KUNIT_EXPECT_EQ(test, stats.frames[LLFREE_VIEW_NORMAL], range->nr);
}

/* An orderly stop: rows and children are good, the rest is gone. */
static void range_keep_mode(struct kunit *test)
{
	const struct span *range = test->param_value;
	unsigned long last = range->first + range->nr - 1;
	struct rnd_state rnd;
	struct instance *inst;
	void *rows, *children;

	prandom_seed_state(&rnd, range->nr);
	inst = inst_new(test, range->first, range->nr, LLFREE_INIT_FREE, 3);
	inst_scatter(test, inst, &rnd);
	/* Reservations die with the slots. */
	inst_alloc(test, inst, 0, 0, 0);
	inst_alloc(test, inst, 1, 0, 1);
	inst_set_view(test, inst, last, LLFREE_VIEW_CMA);
	inst_set_view(test, inst, range->first, LLFREE_VIEW_ISOLATED);

	rows = area_copy(test, inst->mem.rows, inst->mem.rows_size);
	children = area_copy(test, inst->mem.children,
			     inst->mem.children_size);
	inst_start(test, inst, range->first, range->nr, LLFREE_INIT_KEEP, NULL);
	KUNIT_EXPECT_MEMEQ(test, rows, inst->mem.rows, inst->mem.rows_size);
	KUNIT_EXPECT_MEMEQ(test, children, inst->mem.children,
			   inst->mem.children_size);
	inst_check(test, inst);
	inst_free_rest(test, inst);
	inst_check(test, inst);
}

/*
 * A crash: rows and turns are good, counters are anything, views are good unless
 * isolated.
 */
static void range_recover_mode(struct kunit *test)
{
	const struct span *range = test->param_value;
	unsigned long last = range->first + range->nr - 1, i;
	struct instance *inst;
	struct rnd_state rnd;
	u64 inside;

	prandom_seed_state(&rnd, range->nr);
	inst = inst_new(test, range->first, range->nr, LLFREE_INIT_FREE, 3);
	inst_scatter(test, inst, &rnd);
	inst_alloc(test, inst, 2, 0, 0);
	inst_set_view(test, inst, range->first, LLFREE_VIEW_HIGHATOMIC);
	inst_set_view(test, inst, last, LLFREE_VIEW_ISOLATED);

	for (i = 0; i < inst_children(inst); i++) {
		u16 *word = inst_child(inst, i);

		if (child_hole(*word))
			continue;
		*word = child_make(prandom_u32_state(&rnd) % 513,
				   child_view(*word)) | CHILD_REPORTED |
			(*word & CHILD_TURN_MASK);
	}
	/* Somebody scribbled on the bits of frames that do not exist. */
	for (i = inst_base(inst); i < range->first; i++) {
		inside = 1ULL << (i % LLFREE_ROW_FRAMES);
		*row_at(&inst->llf, frame_row(i)) &= ~inside;
	}
	for (i = last + 1; i < inst_base(inst) + inst->llf.nr_trees * TREE; i++) {
		inside = 1ULL << (i % LLFREE_ROW_FRAMES);
		*row_at(&inst->llf, frame_row(i)) &= ~inside;
	}

	inst_start(test, inst, range->first, range->nr, LLFREE_INIT_RECOVER,
		   NULL);
	*inst_view(inst, last) = LLFREE_VIEW_NORMAL;
	for (i = 0; i < inst_children(inst); i++)
		if (!child_hole(*inst_child(inst, i)))
			KUNIT_EXPECT_EQ(test, 0, *inst_child(inst, i) & CHILD_REPORTED);
	inst_check(test, inst);
	inst_free_rest(test, inst);
	inst_check(test, inst);
}

/* Free-order, masks, counts and iteration against the model */
static void range_queries(struct kunit *test)
{
	const struct span *range = test->param_value;
	unsigned long counts[LLFREE_NR_ORDERS], expected[LLFREE_NR_ORDERS];
	unsigned long frame, end = range->first + range->nr, nr = 0;
	struct llfree_child child;
	struct instance *inst;
	struct rnd_state rnd;
	unsigned int view;
	int order;

	prandom_seed_state(&rnd, range->first + range->nr);
	inst = inst_new(test, range->first, range->nr, LLFREE_INIT_FREE, 0);
	inst_scatter(test, inst, &rnd);
	inst_set_view(test, inst, range->first + range->nr / 2,
		      LLFREE_VIEW_CMA);

	KUNIT_EXPECT_EQ(test, -1, llfree_block_order(&inst->llf, end));
	KUNIT_EXPECT_EQ(test, -1, llfree_block_order(&inst->llf, ULONG_MAX));
	if (range->first)
		KUNIT_EXPECT_EQ(test, -1, llfree_block_order(&inst->llf,
							     range->first - 1));
	KUNIT_EXPECT_EQ(test, 0, llfree_row_mask(&inst->llf, end));
	KUNIT_EXPECT_EQ(test, 0, llfree_row_mask(&inst->llf, ULONG_MAX));
	if (inst_base(inst))
		KUNIT_EXPECT_EQ(test, 0, llfree_row_mask(&inst->llf,
							 inst_base(inst) - 1));

	for (frame = range->first; frame < end; frame++)
		KUNIT_ASSERT_EQ_MSG(test, ref_order(inst, frame),
				    llfree_block_order(&inst->llf, frame),
				    "frame %lu", frame);

	for (view = 0; view < LLFREE_NR_VIEWS; view++) {
		memset(expected, 0, sizeof(expected));
		for (frame = range->first; frame < end;) {
			order = ref_order(inst, frame);
			if (order >= 0 && *inst_view(inst, frame) == view)
				expected[order]++;
			frame += order > 0 ? 1UL << order : 1;
		}
		llfree_count_orders(&inst->llf, view, -1, counts);
		KUNIT_EXPECT_MEMEQ(test, expected, counts, sizeof(counts));
	}

	for (frame = range->first;
	     !llfree_child(&inst->llf, frame, &child);
	     frame = llfree_next_child(frame)) {
		KUNIT_EXPECT_EQ(test, child.frame, ALIGN_DOWN(frame, CHILD));
		KUNIT_EXPECT_EQ(test, child.view, *inst_view(inst, frame));
		KUNIT_EXPECT_EQ(test, child.free, CHILD -
				bitmap_weight(inst->taken +
					      frame_child(frame - inst_base(inst)) *
					      LLFREE_CHILD_ROWS, CHILD));
		KUNIT_EXPECT_EQ(test, child.free,
				llfree_child_stable(&inst->llf, frame));
		KUNIT_EXPECT_FALSE(test, child.reported);
		KUNIT_EXPECT_FALSE(test, child.tree_reserved);
		nr++;
	}
	KUNIT_EXPECT_GE(test, frame, end);
	KUNIT_EXPECT_EQ(test, nr, DIV_ROUND_UP(end, CHILD) -
			range->first / CHILD);
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_child_stable(&inst->llf, end));
}

static void layout_limits(struct kunit *test)
{
	const unsigned long gib = BIT(18);
	struct llfree_memory mem;

	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_layout(0, 0, LLFREE_MIN_TREE_ORDER, &mem));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_layout(77, 0, LLFREE_MIN_TREE_ORDER, &mem));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_layout(0, LLFREE_MAX_FRAMES + 1, LLFREE_MIN_TREE_ORDER, &mem));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_layout(0, ULONG_MAX, LLFREE_MIN_TREE_ORDER, &mem));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_layout(ULONG_MAX, 1, LLFREE_MIN_TREE_ORDER, &mem));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_layout(ULONG_MAX - 5, 10, LLFREE_MIN_TREE_ORDER, &mem));

	KUNIT_EXPECT_EQ(test, 0, llfree_layout(0, LLFREE_MAX_FRAMES, LLFREE_MIN_TREE_ORDER, &mem));
	KUNIT_EXPECT_EQ(test, mem.rows_size, LLFREE_MAX_FRAMES / 8);
	KUNIT_EXPECT_EQ(test, 0, llfree_layout(BIT(40), gib, LLFREE_MIN_TREE_ORDER, &mem));
	KUNIT_EXPECT_LE(test, mem.rows_size + mem.children_size +
			mem.trees_size, 34 * 1024);
}

static enum llfree_level rate_steal(unsigned int class, unsigned int tree,
				    unsigned int free, unsigned int frames)
{
	return LLFREE_LEVEL_STEAL;
}

static void init_bad_input(struct kunit *test)
{
	static const struct llfree_policy bad[] = {
		{ .nr_classes = 0, .near = 1, .rate = rate_steal },
		{ .nr_classes = LLFREE_MAX_CLASSES + 1, .near = 1,
		  .rate = rate_steal },
		{ .nr_classes = 2, .init_class = 2, .near = 1,
		  .rate = rate_steal },
		{ .nr_classes = 2, .near = 0, .rate = rate_steal },
		{ .nr_classes = 2, .near = 6, .rate = rate_steal },
		{ .nr_classes = 2, .near = 4 },
	};
	struct instance *inst = inst_new(test, FIRST, TREE, LLFREE_INIT_FREE, 0);
	const struct llfree_memory good = inst->mem;
	struct llfree *llf = &inst->llf;
	struct llfree_memory mem;
	void **area[] = { &mem.rows, &mem.children, &mem.trees };
	size_t *size[] = { &mem.rows_size, &mem.children_size,
			   &mem.trees_size };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		KUNIT_EXPECT_EQ_MSG(test, -EINVAL,
				    llfree_init(llf, FIRST, TREE, &good,
						LLFREE_INIT_FREE, &bad[i]),
				    "policy %u", i);
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_init(llf, FIRST, TREE, &good,
						   LLFREE_INIT_KEEP + 1, NULL));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_init(llf, FIRST, 0, &good,
						   LLFREE_INIT_FREE, NULL));
	/* One frame more needs more trees. */
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_init(llf, FIRST, TREE + 1, &good,
						   LLFREE_INIT_FREE, NULL));
	for (i = 0; i < 9; i++) {
		mem = good;
		if (i < 3)
			*area[i] = NULL;
		else if (i < 6)
			*area[i - 3] += 8;
		else
			(*size[i - 6])--;
		KUNIT_EXPECT_EQ_MSG(test, -EINVAL,
				    llfree_init(llf, FIRST, TREE, &mem,
						LLFREE_INIT_FREE, NULL),
				    "memory %u", i);
	}
	/* It still is what it was. */
	inst_check(test, inst);
}

static void slots(struct kunit *test)
{
	struct instance *inst;
	struct llfree *llf;

	inst = inst_new(test, FIRST, 33 * TREE, LLFREE_INIT_FREE, 3);
	llf = &inst->llf;
	KUNIT_EXPECT_EQ(test, llfree_max_slots(llf), 33 / (3 * LLFREE_NR_CLASSES));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_set_slots(llf, NULL, 1));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_set_slots(llf, (void *)inst->locals + 8, 1));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_set_slots(llf, inst->locals, UINT_MAX));

	/* Slots start apart from each other. */
	KUNIT_EXPECT_NE(test, inst_alloc(test, inst, 0, 0, 0) / TREE,
			inst_alloc(test, inst, 1, 0, 0) / TREE);
	inst_check(test, inst);

	/* Fewer, none, and more again */
	llfree_drain(llf, -1);
	KUNIT_EXPECT_EQ(test, 0, llfree_set_slots(llf, inst->locals, 1));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_drain(llf, 1));
	KUNIT_EXPECT_GE(test, inst_alloc(test, inst, 0, 1, 3), 0);
	KUNIT_EXPECT_EQ(test, 0, llfree_drain(llf, -1));
	KUNIT_EXPECT_EQ(test, 0, llfree_set_slots(llf, NULL, 0));
	inst->nr_slots = 0;
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_drain(llf, 0));
	inst_check(test, inst);
	inst_set_slots(test, inst, 2);
	KUNIT_EXPECT_GE(test, inst_alloc(test, inst, 1, 3, 2), 0);
	inst_free_rest(test, inst);
	inst_check(test, inst);

	inst = inst_new(test, 0, (3 * LLFREE_NR_CLASSES - 1) * TREE,
			LLFREE_INIT_FREE, 0);
	KUNIT_EXPECT_EQ(test, llfree_max_slots(&inst->llf), 0);
}

/* ---- Operations ---- */

static const unsigned int orders[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 };

static void order_desc(const unsigned int *order, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "order %u", *order);
}

KUNIT_ARRAY_PARAM(order, orders, order_desc);

/* One block: what changes, and that everything changes back */
static void order_alloc_free(struct kunit *test)
{
	const unsigned int order = *(const unsigned int *)test->param_value;
	const long nr = 1L << order, children = DIV_ROUND_UP(nr, CHILD);
	unsigned int slots, view = LLFREE_VIEW_NORMAL;
	struct instance *inst;
	long frame, i;

	for (slots = 0; slots < 2; slots++) {
		inst = inst_new(test, FIRST, 2 * TREE, LLFREE_INIT_FREE, slots);
		frame = inst_alloc(test, inst, (int)slots - 1, order, 0);
		KUNIT_ASSERT_GE(test, frame, 0);
		KUNIT_EXPECT_EQ(test, inst->delta.frames[view], -nr);
		KUNIT_EXPECT_EQ(test, inst->delta.huge[view], -children);
		for (i = 0; i < nr; i++)
			KUNIT_EXPECT_EQ(test, -1,
					llfree_block_order(&inst->llf,
							   frame + i));
		inst_check(test, inst);

		inst_free(test, inst, (int)slots - 1, frame, order);
		KUNIT_EXPECT_EQ(test, inst->delta.frames[view], 0);
		KUNIT_EXPECT_EQ(test, inst->delta.huge[view], 0);
		KUNIT_EXPECT_EQ(test, LLFREE_MAX_ORDER,
				llfree_block_order(&inst->llf, frame));
		inst_check(test, inst);

		/* The caller need not want to know. */
		frame = llfree_alloc(&inst->llf, &(struct llfree_request){
				   .slot = LLFREE_NO_SLOT, .order = order },
				   NULL);
		KUNIT_ASSERT_GE(test, frame, 0);
		KUNIT_EXPECT_EQ(test, 0, llfree_free(&inst->llf, LLFREE_NO_SLOT,
						     frame, order, NULL));
		inst_check(test, inst);
	}
}

/* An allocation fails only if there is no block, wherever the permits may be. */
static void order_exhaustive(struct kunit *test)
{
	const unsigned int order = *(const unsigned int *)test->param_value;
	unsigned long *frames, nr, expected;
	struct instance *inst;
	struct rnd_state rnd;
	unsigned int i;

	prandom_seed_state(&rnd, order);
	inst = inst_new(test, FIRST + 333, 4 * TREE, LLFREE_INIT_FREE, 5);
	frames = area_new(test, 4 * TREE * sizeof(*frames));
	/* Permits in many hands */
	for (i = 0; i < 40; i++)
		inst_alloc(test, inst, i % 5, i % 4, i % 3);
	inst_scatter(test, inst, &rnd);
	inst_set_view(test, inst, FIRST + TREE, LLFREE_VIEW_ISOLATED);
	inst_set_view(test, inst, FIRST + TREE + CHILD, LLFREE_VIEW_CMA);

	expected = ref_blocks(inst, order, LLFREE_VIEW_NORMAL);
	nr = inst_alloc_all(test, inst, order, LLFREE_VIEW_NORMAL, frames);
	KUNIT_EXPECT_EQ(test, expected, nr);
	inst_check(test, inst);
	inst_free_all(test, inst, order, frames, nr);
	inst_check(test, inst);
	KUNIT_EXPECT_EQ(test, expected,
			ref_blocks(inst, order, LLFREE_VIEW_NORMAL));
}

/* Exactly this block */
static void order_claim(struct kunit *test)
{
	const unsigned int order = *(const unsigned int *)test->param_value;
	const unsigned long nr = 1UL << order;
	struct instance *inst = inst_new(test, FIRST, 2 * TREE,
					 LLFREE_INIT_FREE, 2);
	const unsigned long frame = FIRST + TREE / 2, last = frame + nr - 1;
	struct snapshot *snap;

	/* The tree that holds it is somebody's; the claim does not care. */
	inst_alloc(test, inst, 0, 0, 0);
	KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst, frame, order, 0));
	KUNIT_EXPECT_EQ(test, -1, llfree_block_order(&inst->llf, frame));
	inst_check(test, inst);

	/* All of it is allocated, then only its last frame. */
	snap = snapshot_new(test, inst);
	KUNIT_EXPECT_EQ(test, -EBUSY, inst_claim(test, inst, frame, order, 0));
	snapshot_check(test, inst, snap);
	if (order)
		inst_free(test, inst, 1, frame, order - 1);
	if (order > 1)
		inst_free_batch(test, inst, 1,
				ALIGN_DOWN(last - 1, LLFREE_ROW_FRAMES),
				BIT_ULL((last - 1) % LLFREE_ROW_FRAMES));
	KUNIT_EXPECT_EQ(test, -EBUSY, inst_claim(test, inst, frame, order, 0));
	inst_check(test, inst);
	inst_free_rest(test, inst);

	/* Hidden */
	inst_set_view(test, inst, last, LLFREE_VIEW_ISOLATED);
	KUNIT_EXPECT_EQ(test, -EBUSY, inst_claim(test, inst, frame, order, 0));
	inst_check(test, inst);
	inst_set_view(test, inst, frame, LLFREE_VIEW_ISOLATED);
	KUNIT_EXPECT_EQ(test, 0, inst_claim(test, inst, frame, order,
					    LLFREE_CLAIM_HIDDEN));
	inst_check(test, inst);
	inst_free(test, inst, LLFREE_NO_SLOT, frame, order);

	/* Any other view */
	inst_set_view(test, inst, frame, LLFREE_VIEW_CMA);
	inst_set_view(test, inst, last, LLFREE_VIEW_CMA);
	KUNIT_EXPECT_EQ(test, 0, inst_claim(test, inst, frame, order, 0));
	inst_check(test, inst);
	inst_free_rest(test, inst);
	inst_check(test, inst);
}

/* Permits that a claim found in other hands are a debt until somebody pays. */
static void claim_debt_is_paid(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, TREE, LLFREE_INIT_FREE, 2);
	struct llfree *llf = &inst->llf;
	unsigned long child;
	s32 debt;

	inst_alloc(test, inst, 0, 0, 0);
	for (child = 1; child < (LLFREE_MIN_TREE_FRAMES / LLFREE_CHILD_FRAMES); child++)
		KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst,
						    FIRST + child * CHILD,
						    LLFREE_CHILD_ORDER, 0));
	debt = tree_free(*inst_tree(inst, LLFREE_VIEW_NORMAL, 0));
	KUNIT_EXPECT_EQ(test, debt, -7 * (s32)CHILD);
	inst_check(test, inst);
	/* The slot believes in permits that are not there. */
	KUNIT_EXPECT_EQ(test, 511, inst_alloc_all(test, inst, 0, 0, NULL));
	inst_check(test, inst);
	KUNIT_EXPECT_EQ(test, 0, llfree_drain(llf, -1));
	KUNIT_EXPECT_EQ(test, 0, tree_free(*inst_tree(inst, LLFREE_VIEW_NORMAL, 0)));
	inst_free_rest(test, inst);
	inst_check(test, inst);
}

static void claim_row(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST + 10, TREE - 20,
					 LLFREE_INIT_FREE, 1);
	const unsigned long row = FIRST + 3 * LLFREE_ROW_FRAMES;
	u64 claimed = 1;

	/* What is not in the range is not free. */
	KUNIT_EXPECT_EQ(test, ~0ULL << 10,
			inst_claim_row(test, inst, FIRST, ~0ULL, 0));
	KUNIT_EXPECT_EQ(test, ~0ULL >> 10,
			inst_claim_row(test, inst, FIRST + TREE - 64, ~0ULL, 0));

	KUNIT_EXPECT_EQ(test, 0xf0f0, inst_claim_row(test, inst, row, 0xf0f0, 0));
	KUNIT_EXPECT_EQ(test, 0x0f00, inst_claim_row(test, inst, row, 0x0ff0, 0));
	KUNIT_EXPECT_EQ(test, 0, inst_claim_row(test, inst, row, 0xfff0, 0));
	KUNIT_EXPECT_EQ(test, 0, inst_claim_row(test, inst, row, 0, 0));
	KUNIT_EXPECT_EQ(test, ~0ULL & ~0xfff0ULL,
			inst_claim_row(test, inst, row, ~0ULL, 0));

	inst_set_view(test, inst, row, LLFREE_VIEW_ISOLATED);
	KUNIT_EXPECT_EQ(test, -EBUSY, llfree_claim_row(&inst->llf, row + 64, 1,
						       0, &claimed, NULL));
	KUNIT_EXPECT_EQ(test, claimed, 0);
	KUNIT_EXPECT_EQ(test, BIT_ULL(63),
			inst_claim_row(test, inst, row + 64, BIT_ULL(63),
				       LLFREE_CLAIM_HIDDEN));
	inst_check(test, inst);
	inst_set_view(test, inst, row, LLFREE_VIEW_NORMAL);
	inst_free_rest(test, inst);
	inst_check(test, inst);
}

/* ---- Whatever shape it was got in, it may be put in another one. ---- */

struct shape {
	unsigned int alloc, free;
};

static const struct shape shapes[] = {
	{ 1, 0 }, { 6, 0 }, { 6, 5 }, { 7, 0 }, { 7, 6 }, { 8, 3 }, { 8, 7 },
	{ 9, 0 }, { 9, 6 }, { 9, 8 }, { 10, 0 }, { 10, 7 }, { 10, 9 },
	{ 0, 1 }, { 0, 6 }, { 5, 6 }, { 0, 7 }, { 6, 7 }, { 3, 8 }, { 7, 8 },
	{ 0, 9 }, { 6, 9 }, { 8, 9 }, { 0, 10 }, { 7, 10 }, { 9, 10 },
	{ 0, 11 }, { 9, 12 }, { 10, 12 }, { 10, 13 },
};

static void shape_desc(const struct shape *shape, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "alloc %u free %u", shape->alloc,
		 shape->free);
}

KUNIT_ARRAY_PARAM(shape, shapes, shape_desc);

static void free_shape(struct kunit *test)
{
	const struct shape *shape = test->param_value;
	unsigned long nr = 2 * TREE >> shape->free, i;
	const unsigned long first = 6 * TREE;
	struct instance *inst;

	inst = inst_new(test, first, 2 * TREE, LLFREE_INIT_FREE, 2);
	KUNIT_ASSERT_EQ(test, 2 * TREE >> shape->alloc,
			inst_alloc_all(test, inst, shape->alloc, 0, NULL));
	for (i = 0; i < nr; i++) {
		inst_free(test, inst, (int)(i % 3) - 1,
			  first + ((i * 37 % nr) << shape->free), shape->free);
		if (i == nr / 2)
			inst_check(test, inst);
	}
	inst_check(test, inst);
	KUNIT_EXPECT_EQ(test, 2 * TREE >> LLFREE_MAX_ORDER,
			inst_alloc_all(test, inst, LLFREE_MAX_ORDER, 0, NULL));
}

/* ---- Batches ---- */

static const unsigned int batch_orders[] = { 0, 1, 2, 3, 4, 5, 6 };

KUNIT_ARRAY_PARAM(batch_order, batch_orders, order_desc);

/* Of a child where the slot goes on, else of a row: all of it in the end */
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
	expected = ref_blocks(inst, order, LLFREE_VIEW_NORMAL);
	KUNIT_ASSERT_GT(test, expected, 0);
	for (;;) {
		/* Few as often as many */
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

/* Where the slot is, else by a search: all of it in the end, and well counted */
static void fast_alloc(struct kunit *test)
{
	const unsigned int order = *(const unsigned int *)test->param_value;
	struct llfree_request req = { .order = order };
	unsigned long total = 0, quick = 0, expected;
	unsigned int whole, view;
	struct instance *inst;
	struct rnd_state rnd;
	long frame;

	prandom_seed_state(&rnd, order);
	inst = inst_new(test, FIRST + 20, 3 * TREE, LLFREE_INIT_FREE, 2);
	if (order < LLFREE_CHILD_ORDER)
		inst_scatter(test, inst, &rnd);
	expected = ref_blocks(inst, order, LLFREE_VIEW_NORMAL);
	KUNIT_ASSERT_GT(test, expected, 0);
	for (;; total++) {
		struct llfree_delta delta;

		/* It has to be initialised there. */
		memset(&delta, 0xa5, sizeof(delta));
		req.slot = total % 2;
		frame = llfree_alloc_fast(&inst->llf, req.slot, order, req.class,
					  &whole, &delta);
		if (frame >= 0) {
			inst->delta.frames[LLFREE_VIEW_NORMAL] -= 1 << order;
			inst->delta.huge[LLFREE_VIEW_NORMAL] -= whole;
			quick++;
		} else {
			KUNIT_ASSERT_EQ(test, frame, -EAGAIN);
			for (view = 0; view < LLFREE_NR_VIEWS; view++) {
				KUNIT_EXPECT_EQ(test, delta.frames[view], 0);
				KUNIT_EXPECT_EQ(test, delta.huge[view], 0);
			}
			frame = llfree_alloc_slow(&inst->llf, &req, &inst->delta);
		}
		if (frame < 0)
			break;
		KUNIT_ASSERT_TRUE(test, IS_ALIGNED(frame, 1UL << order));
		ref_take(test, inst, frame, 1UL << order, LLFREE_VIEW_NORMAL);
	}
	KUNIT_EXPECT_EQ(test, frame, -ENOMEM);
	KUNIT_EXPECT_EQ(test, total, expected);
	KUNIT_EXPECT_GT(test, quick, 0);
	inst_check(test, inst);
	inst_free_rest(test, inst);
	inst_check(test, inst);
}

/* From memory that is all free: a row, as many as were asked for, and a child */
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
	/* That is where the slot goes on. */
	KUNIT_EXPECT_EQ(test, child, inst_alloc_batch(test, inst, &req, INT_MAX, masks));
	KUNIT_EXPECT_EQ(test, batch_frames(masks), CHILD - 64 - (1U << order));
	inst_check(test, inst);
}

/* A batch has as many frames as its masks say, and none of them twice. */
static void fault_batch_overwrites(struct kunit *test)
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

/* ---- Bad input ---- */

/* Get, and everything else that has a request: nothing is handed out. */
static void bad_request(struct kunit *test)
{
	static const struct llfree_request bad[] = {
		{ .slot = -2 },
		{ .slot = INT_MIN },
		{ .slot = 2 },
		{ .slot = INT_MAX },
		{ .order = LLFREE_MAX_ORDER + 1 },
		{ .order = U8_MAX },
		{ .class = LLFREE_NR_CLASSES },
		{ .class = LLFREE_CLASS_NONE },
		{ .view = LLFREE_VIEW_ISOLATED },
		{ .view = LLFREE_NR_VIEWS },
		{ .flags = 0x80 }, { .flags = 0x8 },
	};
	struct instance *inst = inst_new(test, FIRST, TREE, LLFREE_INIT_FREE, 2);
	struct llfree_request req = { };
	u64 masks[LLFREE_CHILD_ROWS];
	struct snapshot *snap;
	unsigned int i;

	inst_alloc(test, inst, 0, 3, 0);
	snap = snapshot_new(test, inst);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		KUNIT_EXPECT_EQ_MSG(test, -EINVAL,
				    llfree_alloc(&inst->llf, &bad[i],
						 &inst->delta), "%u", i);
		KUNIT_EXPECT_EQ_MSG(test, -EINVAL,
				    llfree_alloc_batch(&inst->llf, &bad[i], 1,
						       masks, &inst->delta),
				    "%u", i);
		KUNIT_EXPECT_EQ_MSG(test, -EINVAL,
				    llfree_alloc_slow(&inst->llf, &bad[i],
						      &inst->delta),
				    "%u", i);
	}
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_alloc_batch(&inst->llf, &req, 0, masks,
							  &inst->delta));
	req.order = LLFREE_ROW_ORDER + 1;
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_alloc_batch(&inst->llf, &req, 1, masks,
							  &inst->delta));
	snapshot_check(test, inst, snap);
	inst_check(test, inst);
}

/* Instead of a BUG: an error, and nothing has changed. */
static void fault_error_not_crash(struct kunit *test)
{
	const unsigned long first = FIRST + 100, nr = 2 * TREE, end = first + nr;
	struct instance *inst = inst_new(test, first, nr, LLFREE_INIT_ALLOC, 2);
	struct llfree_delta *delta = &inst->delta;
	const unsigned long hole = FIRST + TREE + CHILD;
	struct llfree *llf = &inst->llf;
	struct llfree_child child;
	struct snapshot *snap;
	unsigned int order;
	u64 claimed;

	inst_free(test, inst, 0, hole, LLFREE_CHILD_ORDER);
	snap = snapshot_new(test, inst);

	for (order = 0; order < 70; order++) {
		/* Out of the range, in whole and in part */
		KUNIT_EXPECT_EQ(test, -EINVAL,
				llfree_free(llf, 0, 0, order, delta));
		KUNIT_EXPECT_EQ(test, -EINVAL,
				llfree_free(llf, 0, FIRST, order, delta));
		KUNIT_EXPECT_EQ(test, -EINVAL,
				llfree_free(llf, 0, first - 1, order, delta));
		KUNIT_EXPECT_EQ(test, -EINVAL,
				llfree_free(llf, 0, end, order, delta));
		KUNIT_EXPECT_EQ(test, -EINVAL,
				llfree_free(llf, 0, ULONG_MAX, order, delta));
		KUNIT_EXPECT_EQ(test, -EINVAL,
				llfree_free_fast(llf, 0, first - 1, order));
		KUNIT_EXPECT_EQ(test, -EINVAL, llfree_free_fast(llf, 0, end, order));
		KUNIT_EXPECT_EQ(test, -EINVAL,
				llfree_claim(llf, FIRST, order, 0, delta));
		KUNIT_EXPECT_EQ(test, -EINVAL,
				llfree_claim(llf, end, order, 0, delta));
		KUNIT_EXPECT_EQ(test, -EINVAL,
				llfree_claim(llf, ULONG_MAX, order, 0, delta));
		if (!order)
			continue;
		/* Not aligned */
		KUNIT_EXPECT_EQ(test, -EINVAL,
				llfree_free(llf, 0, FIRST + 2 * CHILD + 1, order,
					    delta));
		KUNIT_EXPECT_EQ(test, -EINVAL,
				llfree_free_fast(llf, 0, FIRST + 2 * CHILD + 1,
						 order));
		KUNIT_EXPECT_EQ(test, -EINVAL,
				llfree_claim(llf, hole + 1, order, 0,
					     delta));
	}
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_free(llf, 0, ALIGN_DOWN(end, 64),
						   6, delta));

	/* Free already, in whole and in part */
	for (order = 0; order <= LLFREE_CHILD_ORDER; order++) {
		KUNIT_EXPECT_EQ(test, -EINVAL,
				llfree_free(llf, 0, hole, order, delta));
		KUNIT_EXPECT_EQ(test, -EINVAL,
				llfree_free_fast(llf, 0, hole, order));
	}
	/* Allocated, but more than a child */
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_free_fast(llf, 0, FIRST + 2 * CHILD,
					 LLFREE_CHILD_ORDER + 1));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_free(llf, 0, FIRST + TREE,
						   LLFREE_MIN_TREE_ORDER, delta));

	/* Slots and flags */
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_free(llf, 2, first, 0, delta));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_free(llf, -2, first, 0, delta));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_free(llf, INT_MAX, first, 0, delta));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_free_fast(llf, 2, first, 0));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_free_fast(llf, -2, first, 0));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_drain(llf, 2));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_drain(llf, INT_MAX));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_claim(llf, hole, 0, 0x80, delta));

	/* Rows */
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_free_batch(llf, 0, FIRST + 192, 0, delta));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_free_batch(llf, 0, FIRST + 193, 1, delta));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_free_batch(llf, 2, FIRST + 192, 1, delta));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_free_batch(llf, 0, FIRST + 64, ~0ULL, delta));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_free_batch(llf, 0, ALIGN_DOWN(end, 64), ~0ULL,
					  delta));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_free_batch(llf, 0, ALIGN(end, 64), 1, delta));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_free_batch(llf, 0, 0, 1, delta));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_claim_row(llf, 0, 1, 0, &claimed, delta));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_claim_row(llf, FIRST, 1, 0, &claimed, delta));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_claim_row(llf, hole + 1, 1, 0, &claimed,
					 delta));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_claim_row(llf, ALIGN(end, 64), 1, 0, &claimed,
					 delta));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_claim_row(llf, hole, 1, 0x80, &claimed,
					 delta));

	/* Children and trees */
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_set_view(llf, end, LLFREE_VIEW_CMA, delta));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_set_view(llf, first - 1, LLFREE_VIEW_CMA, delta));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_set_view(llf, first, LLFREE_NR_VIEWS, delta));
	KUNIT_EXPECT_EQ(test, -EALREADY,
			llfree_set_view(llf, first, LLFREE_VIEW_NORMAL, delta));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_set_reported(llf, end));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_set_class(llf, end, 0));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_set_class(llf, first, LLFREE_NR_CLASSES));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_child(llf, end, &child));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_child(llf, first - 1, &child));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_child_stable(llf, first - 1));

	snapshot_check(test, inst, snap);
	inst_check(test, inst);
}

static void double_free(struct kunit *test)
{
	const unsigned int order = *(const unsigned int *)test->param_value;
	struct instance *inst = inst_new(test, FIRST, TREE, LLFREE_INIT_FREE, 1);
	struct snapshot *snap;
	long frame;

	frame = inst_alloc(test, inst, 0, order, 0);
	KUNIT_ASSERT_GE(test, frame, 0);
	inst_free(test, inst, 0, frame, order);
	snap = snapshot_new(test, inst);
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_free(&inst->llf, 0, frame, order,
						   &inst->delta));
	/* Never allocated */
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_free(&inst->llf, 0,
						   FIRST + TREE / 2, order,
						   &inst->delta));
	snapshot_check(test, inst, snap);
	inst_check(test, inst);
}

/* A block of which one frame is free is refused, wherever that frame is. */
static void fault_tail_unchecked(struct kunit *test)
{
	const unsigned int order = *(const unsigned int *)test->param_value;
	const unsigned long nr = 1UL << order, frame = FIRST + TREE / 2;
	struct instance *inst = inst_new(test, FIRST, TREE, LLFREE_INIT_FREE, 1);
	unsigned long hole;
	struct snapshot *snap;

	KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst, frame, order, 0));
	/* Last, first, and some between */
	for (hole = nr; hole; hole /= 3) {
		inst_free(test, inst, 0, frame + hole - 1, 0);
		snap = snapshot_new(test, inst);
		KUNIT_EXPECT_EQ_MSG(test, -EINVAL,
				    llfree_free(&inst->llf, 0, frame, order,
						&inst->delta),
				    "frame %lu of the block is free", hole - 1);
		snapshot_check(test, inst, snap);
		KUNIT_EXPECT_EQ(test, 0, inst_claim(test, inst,
						    frame + hole - 1, 0, 0));
	}
	inst_free(test, inst, 0, frame, order);
	inst_check(test, inst);
}

/* ---- Views ---- */

static unsigned long visible(struct instance *inst, unsigned int view)
{
	struct llfree_stats stats;

	llfree_stats_exact(&inst->llf, &stats);
	return stats.frames[view];
}

/* Each allocatable view sees its own children and no others. */
static void view_allocs(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, 2 * TREE,
					 LLFREE_INIT_FREE, 2);
	unsigned long *frames = area_new(test, 2 * TREE * sizeof(*frames));
	unsigned long nr, i;
	unsigned int view;

	for (i = 0; i < 16; i++)
		inst_set_view(test, inst, FIRST + i * CHILD, i % 4);
	inst_check(test, inst);
	for (view = 0; view < LLFREE_ALLOC_VIEWS; view++) {
		KUNIT_EXPECT_EQ(test, visible(inst, view), 4 * CHILD);
		/* Neighbours are in other views. */
		KUNIT_EXPECT_EQ(test, -ENOMEM,
				inst_alloc_view(test, inst, LLFREE_MAX_ORDER,
						view));
		nr = inst_alloc_all(test, inst, 3, view, frames);
		KUNIT_EXPECT_EQ(test, nr, 4 * CHILD / 8);
		KUNIT_EXPECT_EQ(test, visible(inst, view), 0);
		inst_check(test, inst);
		inst_free_all(test, inst, 3, frames, nr);
		KUNIT_EXPECT_EQ(test, visible(inst, view), 4 * CHILD);
		inst_check(test, inst);
	}
	KUNIT_EXPECT_EQ(test, visible(inst, LLFREE_VIEW_ISOLATED), 4 * CHILD);
	for (i = 0; i < 16; i++)
		inst_set_view(test, inst, FIRST + i * CHILD, LLFREE_VIEW_CMA);
	KUNIT_EXPECT_EQ(test, 8, inst_alloc_all(test, inst, LLFREE_MAX_ORDER,
						LLFREE_VIEW_CMA, NULL));
	inst_check(test, inst);
}

/* Put what was allocated under one view while the child has another. */
static void view_change_in_use(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, TREE, LLFREE_INIT_FREE, 1);
	const unsigned long frame = FIRST + 5 * 64;
	unsigned int from, to;
	unsigned long before;

	for (from = 0; from < LLFREE_ALLOC_VIEWS; from++) {
		for (to = 0; to < LLFREE_NR_VIEWS; to++) {
			inst_set_view(test, inst, FIRST + 5, from);
			KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst, frame,
							    5, 0));
			inst_set_view(test, inst, FIRST + 77, to);
			before = visible(inst, to);
			inst_free(test, inst, 0, frame, 5);
			KUNIT_EXPECT_EQ(test, visible(inst, to), before + 32);
			inst_check(test, inst);
		}
	}
}

static void stable(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, TREE, LLFREE_INIT_FREE, 0);
	struct llfree *llf = &inst->llf;

	KUNIT_EXPECT_EQ(test, CHILD, llfree_child_stable(llf, FIRST + 9));
	/* An allocation between its two steps, and a free */
	*inst_child(inst, 0) -= 3;
	KUNIT_EXPECT_EQ(test, -EAGAIN, llfree_child_stable(llf, FIRST));
	*inst_row(inst, 2) |= 7;
	KUNIT_EXPECT_EQ(test, CHILD - 3, llfree_child_stable(llf, FIRST));
	*inst_row(inst, 2) &= ~3ULL;
	KUNIT_EXPECT_EQ(test, -EAGAIN, llfree_child_stable(llf, FIRST));
	KUNIT_EXPECT_EQ(test, CHILD, llfree_child_stable(llf, FIRST + CHILD));
}

static void reported(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, TREE, LLFREE_INIT_FREE, 0);
	struct llfree *llf = &inst->llf;
	struct llfree_child child;
	unsigned int how;
	u64 claimed;

	for (how = 0; how < 5; how++) {
		KUNIT_EXPECT_EQ(test, 0, llfree_set_reported(llf, FIRST + how));
		inst_set_view(test, inst, FIRST, LLFREE_VIEW_CMA);
		KUNIT_ASSERT_EQ(test, 0, llfree_child(llf, FIRST, &child));
		KUNIT_EXPECT_TRUE(test, child.reported);
		inst_check(test, inst);

		switch (how) {
		case 0:
			inst_alloc_view(test, inst, 0, LLFREE_VIEW_CMA);
			break;
		case 1:
			inst_alloc_view(test, inst, 9, LLFREE_VIEW_CMA);
			break;
		case 2:
			inst_alloc_view(test, inst, 7, LLFREE_VIEW_CMA);
			break;
		case 3:
			inst_claim(test, inst, FIRST + 8, 2, 0);
			break;
		case 4:
			claimed = inst_claim_row(test, inst, FIRST, 6, 0);
			KUNIT_EXPECT_EQ(test, claimed, 6);
			break;
		}
		KUNIT_ASSERT_EQ(test, 0, llfree_child(llf, FIRST, &child));
		KUNIT_EXPECT_LT(test, child.free, CHILD);
		KUNIT_EXPECT_FALSE(test, child.reported);
		KUNIT_EXPECT_EQ(test, -EBUSY, llfree_set_reported(llf, FIRST));

		/* Free again is not reported again. */
		inst_free_rest(test, inst);
		KUNIT_ASSERT_EQ(test, 0, llfree_child(llf, FIRST, &child));
		KUNIT_EXPECT_FALSE(test, child.reported);
		inst_set_view(test, inst, FIRST, LLFREE_VIEW_NORMAL);
		inst_check(test, inst);
	}
}

/* ---- Classes, policy, reservations ---- */

static unsigned int tree_class_at(struct kunit *test, struct instance *inst,
				  unsigned long frame)
{
	struct llfree_child child = { };

	KUNIT_ASSERT_EQ(test, 0, llfree_child(&inst->llf, frame, &child));
	return child.class;
}

static bool tree_reserved_at(struct kunit *test, struct instance *inst,
			     unsigned long frame)
{
	struct llfree_child child = { };

	KUNIT_ASSERT_EQ(test, 0, llfree_child(&inst->llf, frame, &child));
	return child.tree_reserved;
}

static void class_of_tree(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, 4 * TREE,
					 LLFREE_INIT_FREE, 1);
	unsigned long counts[LLFREE_NR_ORDERS];
	struct llfree_stats stats;
	long frame;

	KUNIT_EXPECT_EQ(test, LLFREE_CLASS_NONE,
			tree_class_at(test, inst, FIRST));
	frame = inst_alloc(test, inst, 0, 0, LLFREE_CLASS_RECLAIMABLE);
	KUNIT_ASSERT_GE(test, frame, 0);
	KUNIT_EXPECT_TRUE(test, inst->delta.did & LLFREE_DID_RESERVE);
	KUNIT_EXPECT_FALSE(test, inst->delta.did & (LLFREE_DID_DEMOTE |
						    LLFREE_DID_STEAL));
	KUNIT_EXPECT_TRUE(test, tree_reserved_at(test, inst, frame));
	KUNIT_EXPECT_EQ(test, -EBUSY, llfree_set_class(&inst->llf, frame,
						       LLFREE_CLASS_MOVABLE));
	llfree_stats_fast(&inst->llf, &stats);
	KUNIT_EXPECT_EQ(test, stats.reserved, 1);
	KUNIT_EXPECT_EQ(test, stats.trees[LLFREE_CLASS_RECLAIMABLE], 1);
	KUNIT_EXPECT_EQ(test, stats.trees[LLFREE_CLASS_NONE], 3);

	KUNIT_EXPECT_EQ(test, 0, llfree_drain(&inst->llf, 0));
	KUNIT_EXPECT_FALSE(test, tree_reserved_at(test, inst, frame));
	KUNIT_EXPECT_EQ(test, LLFREE_CLASS_RECLAIMABLE,
			tree_class_at(test, inst, frame));
	llfree_count_orders(&inst->llf, 0, LLFREE_CLASS_RECLAIMABLE, counts);
	KUNIT_EXPECT_EQ(test, counts[10], 3);
	KUNIT_EXPECT_EQ(test, counts[9], 1);
	KUNIT_EXPECT_EQ(test, counts[0], 1);
	llfree_count_orders(&inst->llf, 0, LLFREE_CLASS_NONE, counts);
	KUNIT_EXPECT_EQ(test, counts[10], 3 * 4);

	KUNIT_EXPECT_EQ(test, 0, llfree_set_class(&inst->llf, frame,
						  LLFREE_CLASS_HUGE));
	KUNIT_EXPECT_EQ(test, LLFREE_CLASS_HUGE,
			tree_class_at(test, inst, frame));
	inst_check(test, inst);

	/* Nothing is left in it, so nobody has it. */
	inst_free(test, inst, LLFREE_NO_SLOT, frame, 0);
	KUNIT_EXPECT_EQ(test, LLFREE_CLASS_NONE,
			tree_class_at(test, inst, frame));
	inst_check(test, inst);
}

/* Default policy: classes keep apart as long as there is room. */
static void policy_default(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, LLFREE_NR_CLASSES * TREE,
					 LLFREE_INIT_FREE, 1);
	long frame[LLFREE_NR_CLASSES], again;
	unsigned int class, i;

	for (class = 0; class < LLFREE_NR_CLASSES; class++) {
		frame[class] = inst_alloc(test, inst, 0, 0, class);
		KUNIT_ASSERT_GE(test, frame[class], 0);
		for (i = 0; i < class; i++)
			KUNIT_EXPECT_NE(test, frame[i] / TREE,
					frame[class] / TREE);
	}
	KUNIT_EXPECT_FALSE(test, inst->delta.did & (LLFREE_DID_DEMOTE |
						    LLFREE_DID_STEAL));
	/* A partly used tree of the class is better than any other. */
	llfree_drain(&inst->llf, -1);
	for (class = 0; class < LLFREE_NR_CLASSES; class++) {
		again = inst_alloc(test, inst, (int)(class % 2) - 1, 0, class);
		KUNIT_ASSERT_GE(test, again, 0);
		KUNIT_EXPECT_EQ(test, again / TREE, frame[class] / TREE);
	}
	inst_check(test, inst);
}

static void policy_fallback(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, 2 * TREE,
					 LLFREE_INIT_FREE, 1);
	struct llfree_request req = {
		.class = LLFREE_CLASS_UNMOVABLE,
		.flags = LLFREE_ALLOC_NOFRAGMENT,
	};
	long frame;

	/* A little of each child is movable. */
	for (frame = FIRST; frame < FIRST + 2 * TREE; frame += CHILD)
		KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst, frame, 0, 0));
	KUNIT_EXPECT_EQ(test, LLFREE_CLASS_MOVABLE,
			tree_class_at(test, inst, FIRST));
	KUNIT_EXPECT_EQ(test, -ENOMEM, inst_alloc_req(test, inst, &req));
	KUNIT_EXPECT_EQ(test, 0, inst->delta.did);
	inst_check(test, inst);

	/* Most of a tree is free: take it over. */
	req.flags = 0;
	frame = inst_alloc_req(test, inst, &req);
	KUNIT_ASSERT_GE(test, frame, 0);
	KUNIT_EXPECT_EQ(test, inst->delta.did, LLFREE_DID_DEMOTE |
			LLFREE_DID_RESERVE);
	KUNIT_EXPECT_EQ(test, inst->delta.old_class, LLFREE_CLASS_MOVABLE);
	KUNIT_EXPECT_EQ(test, LLFREE_CLASS_UNMOVABLE,
			tree_class_at(test, inst, frame));
	/* From now on there is a tree of the class. */
	req.flags = LLFREE_ALLOC_NOFRAGMENT;
	KUNIT_EXPECT_GE(test, inst_alloc_req(test, inst, &req), 0);
	inst_check(test, inst);

	/* An entirely free child mixes with nothing. */
	frame = FIRST + 2 * TREE - CHILD;
	inst_free(test, inst, LLFREE_NO_SLOT, frame, 0);
	req.class = LLFREE_CLASS_RECLAIMABLE;
	frame = inst_alloc_req(test, inst, &req);
	KUNIT_ASSERT_GE(test, frame, FIRST + 2 * TREE - CHILD);
	KUNIT_EXPECT_EQ(test, LLFREE_CLASS_RECLAIMABLE,
			tree_class_at(test, inst, frame));
	req.class = LLFREE_CLASS_UNMOVABLE;
	inst_check(test, inst);

	/* Little of any tree is free: take no more than needed. */
	inst = inst_new(test, FIRST, TREE, LLFREE_INIT_FREE, 1);
	KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst, FIRST + 3 * CHILD, 0,
					    0));
	KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst, FIRST + 6 * CHILD, 0,
					    0));
	KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst, FIRST + 7 * CHILD, 0,
					    0));
	KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst, FIRST, 10, 0));
	KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst, FIRST + 2 * CHILD, 9,
					    0));
	KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst, FIRST + 4 * CHILD, 10,
					    0));
	KUNIT_EXPECT_EQ(test, -ENOMEM, inst_alloc_req(test, inst, &req));
	req.flags = 0;
	frame = inst_alloc_req(test, inst, &req);
	KUNIT_ASSERT_GE(test, frame, 0);
	KUNIT_EXPECT_EQ(test, inst->delta.did, LLFREE_DID_STEAL);
	KUNIT_EXPECT_EQ(test, inst->delta.old_class, LLFREE_CLASS_MOVABLE);
	KUNIT_EXPECT_EQ(test, LLFREE_CLASS_MOVABLE,
			tree_class_at(test, inst, frame));
	KUNIT_EXPECT_FALSE(test, tree_reserved_at(test, inst, frame));
	inst_check(test, inst);
}

/* Policies of a caller. What rate() saw is checked after the fact. */
static unsigned int rate_calls, rate_bad;

static enum llfree_level rate_reject(unsigned int class, unsigned int tree,
				     unsigned int free, unsigned int frames)
{
	rate_calls++;
	rate_bad += class >= 2 || (tree >= 2 && tree != LLFREE_CLASS_NONE) ||
		    !free || free > frames || frames != LLFREE_MIN_TREE_FRAMES;
	return LLFREE_LEVEL_REJECT;
}

static enum llfree_level rate_demote(unsigned int class, unsigned int tree,
				     unsigned int free, unsigned int frames)
{
	rate_calls++;
	return tree == class ? LLFREE_LEVEL_MATCH : LLFREE_LEVEL_DEMOTE;
}

static void policy_custom(struct kunit *test)
{
	static const struct llfree_policy reject = {
		.nr_classes = 2, .init_class = 1, .near = 1,
		.rate = rate_reject,
	};
	static const struct llfree_policy steal = {
		.nr_classes = 1, .near = 4, .rate = rate_steal,
	};
	static const struct llfree_policy demote = {
		.nr_classes = LLFREE_MAX_CLASSES, .near = 1,
		.rate = rate_demote,
	};
	struct instance *inst;
	struct llfree_stats stats;
	long frame;

	/* Even a policy that wants no tree cannot make an allocation fail. */
	rate_calls = 0;
	rate_bad = 0;
	inst = inst_new_policy(test, FIRST, 2 * TREE, LLFREE_INIT_FREE, 2,
			       &reject);
	KUNIT_EXPECT_EQ(test, 2 * TREE / 2, inst_alloc_all(test, inst, 1, 0,
							   NULL));
	KUNIT_EXPECT_EQ(test, 1, tree_class_at(test, inst, FIRST));
	llfree_stats_fast(&inst->llf, &stats);
	KUNIT_EXPECT_EQ(test, stats.reserved, 0);
	KUNIT_EXPECT_GT(test, rate_calls, 0);
	KUNIT_EXPECT_EQ(test, rate_bad, 0);
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_alloc(&inst->llf,
						    &(struct llfree_request){
						  .class = 2 }, NULL));
	inst_free_rest(test, inst);
	inst_check(test, inst);

	inst = inst_new_policy(test, FIRST, 2 * TREE, LLFREE_INIT_FREE, 1,
			       &steal);
	KUNIT_EXPECT_EQ(test, 2 * TREE, inst_alloc_all(test, inst, 0, 0, NULL));
	KUNIT_EXPECT_FALSE(test, inst->delta.did & LLFREE_DID_RESERVE);
	inst_check(test, inst);

	rate_calls = 0;
	inst = inst_new_policy(test, FIRST, TREE, LLFREE_INIT_FREE, 1, &demote);
	frame = inst_alloc(test, inst, LLFREE_NO_SLOT, 0, 5);
	KUNIT_ASSERT_GE(test, frame, 0);
	KUNIT_EXPECT_EQ(test, 5, tree_class_at(test, inst, frame));
	inst->delta.did = 0;
	frame = inst_alloc(test, inst, LLFREE_NO_SLOT, 0, 4);
	KUNIT_ASSERT_GE(test, frame, 0);
	KUNIT_EXPECT_EQ(test, 4, tree_class_at(test, inst, frame));
	KUNIT_EXPECT_EQ(test, inst->delta.did, LLFREE_DID_DEMOTE);
	KUNIT_EXPECT_EQ(test, inst->delta.old_class, 5);
	KUNIT_EXPECT_GT(test, rate_calls, 0);
	inst_check(test, inst);
}

/* Who frees four times in a row to a tree owns it then. */
static void free_reserves(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, 4 * TREE,
					 LLFREE_INIT_ALLOC, 2);
	unsigned int i;

	for (i = 0; i < 4; i++) {
		KUNIT_EXPECT_FALSE(test, tree_reserved_at(test, inst, FIRST));
		inst_free(test, inst, 1, FIRST + 16 * i, 3);
	}
	KUNIT_EXPECT_TRUE(test, tree_reserved_at(test, inst, FIRST));
	/* All of it is with the slot. */
	KUNIT_EXPECT_EQ(test, 0, tree_free(*inst_tree(inst, 0, 0)));
	inst_check(test, inst);

	/* In turns between trees: nobody owns them. */
	for (i = 0; i < 16; i++)
		inst_free(test, inst, 0, FIRST + (1 + i % 2) * TREE + i, 0);
	KUNIT_EXPECT_FALSE(test, tree_reserved_at(test, inst, FIRST + TREE));
	KUNIT_EXPECT_FALSE(test, tree_reserved_at(test, inst,
						  FIRST + 2 * TREE));
	/* Without a slot: nobody either */
	for (i = 0; i < 16; i++)
		inst_free(test, inst, LLFREE_NO_SLOT, FIRST + 3 * TREE + i, 0);
	KUNIT_EXPECT_FALSE(test, tree_reserved_at(test, inst,
						  FIRST + 3 * TREE));
	inst_check(test, inst);
	llfree_drain(&inst->llf, -1);
	inst_check(test, inst);
}

/* A drain is for the slot it names, and for all only if told so. */
static void fault_drain_ignores_slot(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, 8 * TREE,
					 LLFREE_INIT_FREE, 3);
	struct llfree_stats stats;
	struct snapshot *snap;
	long frame[3][2];
	int slot;

	for (slot = 0; slot < 3; slot++) {
		frame[slot][0] = inst_alloc(test, inst, slot, 0, 0);
		frame[slot][1] = inst_alloc(test, inst, slot, 0, 1);
		KUNIT_ASSERT_GE(test, frame[slot][0], 0);
		KUNIT_ASSERT_GE(test, frame[slot][1], 0);
	}
	llfree_stats_fast(&inst->llf, &stats);
	KUNIT_ASSERT_EQ(test, stats.reserved, 6);

	KUNIT_EXPECT_EQ(test, 0, llfree_drain(&inst->llf, 1));
	for (slot = 0; slot < 3; slot++) {
		KUNIT_EXPECT_EQ(test, slot != 1,
				tree_reserved_at(test, inst, frame[slot][0]));
		KUNIT_EXPECT_EQ(test, slot != 1,
				tree_reserved_at(test, inst, frame[slot][1]));
	}
	inst_check(test, inst);
	snap = snapshot_new(test, inst);
	KUNIT_EXPECT_EQ(test, 0, llfree_drain(&inst->llf, 1));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_drain(&inst->llf, 3));
	snapshot_check(test, inst, snap);

	KUNIT_EXPECT_EQ(test, 0, llfree_drain(&inst->llf, -1));
	llfree_stats_fast(&inst->llf, &stats);
	KUNIT_EXPECT_EQ(test, stats.reserved, 0);
	inst_check(test, inst);
}

/* ---- Is there a block of this order? ---- */

/* A hint that always says yes makes reclaim and compaction run for ever. */
static void fault_order_always_yes(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, TREE, LLFREE_INIT_FREE, 1);
	struct llfree *llf = &inst->llf;
	unsigned long i;
	int order, view;

	for (order = 0; order < LLFREE_NR_ORDERS; order++)
		KUNIT_EXPECT_TRUE(test, llfree_may_have_order(llf, order, 0));

	/* Every second frame is free. */
	KUNIT_ASSERT_EQ(test, TREE, inst_alloc_all(test, inst, 0, 0, NULL));
	for (i = 0; i < TREE; i += 64)
		inst_free_batch(test, inst, 0, FIRST + i, 0x5555555555555555ULL);
	for (order = LLFREE_MAX_ORDER; order; order--) {
		KUNIT_EXPECT_EQ(test, -ENOMEM, inst_alloc(test, inst, 0, order, 0));
		for (i = 0; i < LLFREE_NR_ORDERS; i++)
			KUNIT_EXPECT_EQ(test, (int)i < order,
					llfree_may_have_order(llf, i, 0));
	}
	/* Other views were not asked. */
	for (view = 1; view < LLFREE_ALLOC_VIEWS; view++)
		KUNIT_EXPECT_TRUE(test, llfree_may_have_order(llf, 9, view));

	/* Frames that make no block of two are no news. */
	KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst, FIRST + 64, 0, 0));
	inst_free(test, inst, 0, FIRST + 64, 0);
	KUNIT_EXPECT_FALSE(test, llfree_may_have_order(llf, 1, 0));

	/* Free the rest of ever larger blocks. */
	for (order = 1; order < LLFREE_NR_ORDERS; order++) {
		for (i = 1UL << (order - 1); i < 1UL << order; i++) {
			if (ref_free(inst, FIRST + i, 1, 0))
				continue;
			inst_free(test, inst, 0, FIRST + i, 0);
		}
		KUNIT_EXPECT_EQ(test, order, llfree_block_order(llf, FIRST));
		KUNIT_EXPECT_TRUE_MSG(test, llfree_may_have_order(llf, order, 0),
				      "order %d", order);
		if (order < LLFREE_MAX_ORDER)
			KUNIT_EXPECT_FALSE_MSG(test,
					       llfree_may_have_order(llf, order + 1, 0),
					       "order %d", order + 1);
	}
	KUNIT_EXPECT_GE(test, inst_alloc(test, inst, 0, LLFREE_MAX_ORDER, 0), 0);
	inst_check(test, inst);
}

/* A change of view can bring a block, too. */
static void hint_view_change(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, TREE, LLFREE_INIT_FREE, 0);
	struct llfree *llf = &inst->llf;
	const unsigned int view = LLFREE_VIEW_HIGHATOMIC;

	KUNIT_EXPECT_EQ(test, -ENOMEM, inst_alloc_view(test, inst, 4, view));
	KUNIT_EXPECT_FALSE(test, llfree_may_have_order(llf, 4, view));
	KUNIT_EXPECT_TRUE(test, llfree_may_have_order(llf, 4, 0));
	inst_set_view(test, inst, FIRST, view);
	KUNIT_EXPECT_TRUE(test, llfree_may_have_order(llf, 9, view));
	KUNIT_EXPECT_EQ(test, 2, inst_alloc_all(test, inst, 8, view, NULL));
	KUNIT_EXPECT_FALSE(test, llfree_may_have_order(llf, 8, view));
	/* Freed while hidden: no news until it is shown */
	inst_set_view(test, inst, FIRST, LLFREE_VIEW_ISOLATED);
	inst_free(test, inst, LLFREE_NO_SLOT, FIRST, 9);
	KUNIT_EXPECT_FALSE(test, llfree_may_have_order(llf, 8, view));
	inst_set_view(test, inst, FIRST, view);
	KUNIT_EXPECT_TRUE(test, llfree_may_have_order(llf, 8, view));
	inst_check(test, inst);
}

/* ---- More faults of the past ---- */

/* An instance of one tree, all allocated, that slot 0 has reserved */
static struct instance *inst_full_tree(struct kunit *test, unsigned int order)
{
	struct instance *inst = inst_new(test, FIRST, TREE, LLFREE_INIT_FREE, 4);

	while (inst_alloc(test, inst, 0, order, LLFREE_CLASS_MOVABLE) >= 0)
		;
	KUNIT_ASSERT_TRUE(test, tree_reserved_at(test, inst, FIRST));
	KUNIT_ASSERT_EQ(test, 0, tree_free(*inst_tree(inst, 0, 0)));
	KUNIT_ASSERT_EQ(test, 0, visible(inst, LLFREE_VIEW_NORMAL));
	return inst;
}

static u64 *movable_local(struct instance *inst, int slot)
{
	return &inst->locals[slot].reserved[LLFREE_CLASS_MOVABLE];
}

/* Who may not use trees of other classes finds what is in those of its own. */
static void expect_own_class_only(struct kunit *test, struct instance *inst)
{
	struct llfree_request req = {
		.slot = 2,
		.class = LLFREE_CLASS_UNMOVABLE,
		.flags = LLFREE_ALLOC_NOFRAGMENT,
	};
	long frame;

	KUNIT_EXPECT_EQ(test, -ENOMEM, inst_alloc_req(test, inst, &req));
	req.class = LLFREE_CLASS_MOVABLE;
	frame = inst_alloc_req(test, inst, &req);
	KUNIT_ASSERT_GE(test, frame, 0);
	inst_free(test, inst, LLFREE_NO_SLOT, frame, 0);
}

/*
 * Frames that others free into a reserved tree are where nobody but the owner
 * looks; the other three get them nevertheless.
 */
static void fault_oom_reserved_tree(struct kunit *test)
{
	struct instance *inst = inst_full_tree(test, 0);
	unsigned int i;

	for (i = 0; i < 400; i++)
		inst_free(test, inst, LLFREE_NO_SLOT, FIRST + 10 * i, 0);
	KUNIT_ASSERT_EQ(test, 400, tree_free(*inst_tree(inst, 0, 0)));
	inst_check(test, inst);
	expect_own_class_only(test, inst);
	for (i = 0; i < 400; i++)
		KUNIT_ASSERT_GE_MSG(test, inst_alloc(test, inst, 1 + i % 3, 0,
						     i % 4), 0,
				    "%u frames are left", 400 - i);
	KUNIT_EXPECT_EQ(test, -ENOMEM, inst_alloc(test, inst, 1, 0, 0));
	inst_check(test, inst);
}

/* The same if the owner of the tree freed them */
static void fault_oom_local(struct kunit *test)
{
	struct instance *inst = inst_full_tree(test, 0);
	unsigned int i;

	for (i = 0; i < 400; i++)
		inst_free(test, inst, 0, FIRST + 10 * i, 0);
	KUNIT_ASSERT_EQ(test, 400, local_free(*movable_local(inst, 0)));
	expect_own_class_only(test, inst);
	for (i = 0; i < 400; i++)
		KUNIT_ASSERT_GE_MSG(test, inst_alloc(test, inst, (int)(i % 4) - 1,
						     0, i % 3), 0,
				    "%u frames are left", 400 - i);
	KUNIT_EXPECT_EQ(test, -ENOMEM, inst_alloc(test, inst, 3, 0, 0));
	inst_check(test, inst);
}

/* The owner finds what others freed, to the last frame. */
static void fault_oom_sync(struct kunit *test)
{
	struct llfree_request req = { .class = LLFREE_CLASS_MOVABLE };
	struct instance *inst;

	for (req.order = 0; req.order < LLFREE_NR_ORDERS; req.order++) {
		inst = inst_full_tree(test, req.order);
		/* In two halves, of which each side has one, or all remote */
		if (req.order % 2) {
			inst_free(test, inst, 0, FIRST, req.order - 1);
			inst_free(test, inst, LLFREE_NO_SLOT,
				  FIRST + (1UL << (req.order - 1)),
				  req.order - 1);
		} else {
			inst_free(test, inst, LLFREE_NO_SLOT, FIRST, req.order);
		}
		KUNIT_EXPECT_EQ(test, FIRST, inst_alloc_req(test, inst, &req));
		/* It did not need another way than its own tree. */
		KUNIT_EXPECT_TRUE(test, tree_reserved_at(test, inst, FIRST));
		KUNIT_EXPECT_EQ(test, 0, tree_free(*inst_tree(inst, 0, 0)));
		KUNIT_EXPECT_EQ(test, 0, local_free(*movable_local(inst, 0)));
		inst_check(test, inst);
	}
}

/* Neither side has permits enough for a block that is free; a debt remains. */
static void fault_oom_split_permits(struct kunit *test)
{
	struct instance *inst;
	unsigned int order;

	for (order = 1; order < LLFREE_NR_ORDERS; order++) {
		inst = inst_full_tree(test, LLFREE_MAX_ORDER);
		inst_free(test, inst, 0, FIRST, order - 1);
		inst_free(test, inst, LLFREE_NO_SLOT,
			  FIRST + (1UL << (order - 1)), order - 1);
		KUNIT_ASSERT_EQ(test, 1 << (order - 1),
				local_free(*movable_local(inst, 0)));
		KUNIT_EXPECT_EQ(test, FIRST,
				inst_alloc(test, inst, 1, order, 0));
		KUNIT_EXPECT_EQ(test, -(1 << (order - 1)),
				tree_free(*inst_tree(inst, 0, 0)));
		inst_check(test, inst);
		/* Nobody finds anything where there is nothing. */
		KUNIT_EXPECT_EQ(test, -ENOMEM, inst_alloc(test, inst, 0, 0, 0));
		KUNIT_EXPECT_EQ(test, -ENOMEM,
				inst_alloc(test, inst, 0, 0,
					   LLFREE_CLASS_MOVABLE));
		inst_free(test, inst, 1, FIRST, order);
		llfree_drain(&inst->llf, -1);
		inst_check(test, inst);
	}
}

/*
 * An order 10 whose first half can be had and whose second half cannot: what
 * was taken goes back to where it was.
 */
static void fault_undo_pair(struct kunit *test)
{
	struct instance *inst;
	struct llfree_stats before, after;
	unsigned int how;

	for (how = 0; how < 4; how++) {
		inst = inst_new(test, FIRST, TREE, LLFREE_INIT_FREE, 2);
		/* The slot has the tree, with permits enough. */
		inst_alloc(test, inst, 0, 0, 0);
		KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst,
						    FIRST + 3 * CHILD + 100, 0,
						    0));
		KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst,
						    FIRST + 5 * CHILD, 8, 0));
		if (how & 1)
			inst_set_view(test, inst, FIRST + 7 * CHILD,
				      LLFREE_VIEW_ISOLATED);
		if (how & 2)
			inst_set_view(test, inst, FIRST + 7 * CHILD,
				      LLFREE_VIEW_CMA);
		if (how)
			KUNIT_EXPECT_EQ(test, -ENOMEM,
					inst_alloc(test, inst, 0, 10, 0));
		else
			KUNIT_EXPECT_EQ(test, FIRST + 6 * CHILD,
					inst_alloc(test, inst, 0, 10, 0));
		inst_check(test, inst);

		llfree_stats_exact(&inst->llf, &before);
		KUNIT_EXPECT_EQ(test, -ENOMEM, inst_alloc(test, inst, 1, 10, 0));
		KUNIT_EXPECT_EQ(test, -EBUSY, inst_claim(test, inst,
							 FIRST + 2 * CHILD, 10,
							 0));
		llfree_stats_exact(&inst->llf, &after);
		KUNIT_EXPECT_MEMEQ(test, before.frames, after.frames,
				   sizeof(after.frames));
		KUNIT_EXPECT_MEMEQ(test, before.huge, after.huge,
				   sizeof(after.huge));
		inst_check(test, inst);
	}
}

/* Frames freed into an offline block stay there, whoever has permits left. */
static void fault_offline_handout(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, 2 * TREE,
					 LLFREE_INIT_FREE, 2);
	unsigned long *frames = area_new(test, 2 * TREE * sizeof(*frames));
	unsigned long nr = 0, i;
	unsigned int order;

	/* Both slots hold permits of what is going offline. */
	for (i = 0; i < 1000; i++)
		frames[nr++] = inst_alloc(test, inst, i % 2, 0, 0);
	for (i = 0; i < 16; i++)
		inst_set_view(test, inst, FIRST + i * CHILD,
			      LLFREE_VIEW_ISOLATED);
	KUNIT_EXPECT_EQ(test, 2 * TREE - 1000,
			visible(inst, LLFREE_VIEW_ISOLATED));
	inst_check(test, inst);

	for (i = 0; i < nr; i++) {
		inst_free(test, inst, (int)(i % 3) - 1, frames[i], 0);
		if (i % 100)
			continue;
		for (order = 0; order < LLFREE_NR_ORDERS; order++) {
			KUNIT_EXPECT_EQ(test, -ENOMEM,
					inst_alloc(test, inst, i % 2, order, 0));
			KUNIT_EXPECT_EQ(test, -ENOMEM,
					inst_alloc(test, inst, LLFREE_NO_SLOT,
						   order, 1));
			KUNIT_EXPECT_EQ(test, -ENOMEM,
					inst_alloc_view(test, inst, order,
							LLFREE_VIEW_CMA));
		}
	}
	inst_check(test, inst);
	KUNIT_EXPECT_EQ(test, CHILD, llfree_child_stable(&inst->llf, FIRST));
	llfree_drain(&inst->llf, -1);
	KUNIT_EXPECT_EQ(test, -ENOMEM, inst_alloc(test, inst, 0, 0, 0));
	inst_check(test, inst);

	/* Online again, half of it */
	for (i = 0; i < 8; i++)
		inst_set_view(test, inst, FIRST + i * CHILD,
			      LLFREE_VIEW_NORMAL);
	KUNIT_EXPECT_EQ(test, 4, inst_alloc_all(test, inst, LLFREE_MAX_ORDER, 0,
						NULL));
	inst_check(test, inst);
}

/* Frame numbers are absolute: the range can grow to the front. */
static void fault_start_moves(struct kunit *test)
{
	const unsigned long first = FIRST + 3 * CHILD + 77, end = FIRST + TREE;
	struct instance *inst = inst_new(test, first, end - first,
					 LLFREE_INIT_FREE, 0);
	unsigned long frames[8];
	unsigned int i;

	for (i = 0; i < 8; i++)
		frames[i] = inst_alloc(test, inst, LLFREE_NO_SLOT, i, 0);
	inst_start(test, inst, FIRST, TREE, LLFREE_INIT_KEEP, NULL);
	/* What is new is in use; so is what was. */
	inst_check(test, inst);
	for (i = 0; i < 8; i++)
		inst_free(test, inst, LLFREE_NO_SLOT, frames[i], i);
	KUNIT_EXPECT_EQ(test, end - first, visible(inst, 0));
	inst_free_rest(test, inst);
	KUNIT_EXPECT_EQ(test, TREE, visible(inst, 0));
	inst_check(test, inst);
}

/* ---- A long random walk, all operations, against the model ---- */

static void random_step(struct kunit *test, struct instance *inst,
			struct rnd_state *rnd)
{
	unsigned int what = prandom_u32_state(rnd) % 16;
	unsigned int order = prandom_u32_state(rnd) % LLFREE_NR_ORDERS;
	unsigned long frame = inst->llf.first +
			      prandom_u32_state(rnd) % inst_nr(inst);
	int slot = (int)(prandom_u32_state(rnd) % (inst->nr_slots + 1)) - 1;
	unsigned long row = ALIGN_DOWN(frame, LLFREE_ROW_FRAMES);
	unsigned long start = ALIGN_DOWN(frame, 1UL << order);
	struct llfree_request req = {
		.slot = slot,
		.order = order,
		.class = prandom_u32_state(rnd) % LLFREE_NR_CLASSES,
		.view = what < 4 ? 0 : prandom_u32_state(rnd) %
				       LLFREE_ALLOC_VIEWS,
	};
	unsigned long bit = start - inst_base(inst);
	bool in_range = ref_in_range(inst, start, 1UL << order);
	u64 masks[LLFREE_CHILD_ROWS], mask, taken;
	int ret;

	switch (what) {
	case 0 ... 4:
		inst_alloc_req(test, inst, &req);
		break;
	case 5 ... 8:
		/* In use as a whole, or refused */
		if (in_range && find_next_zero_bit(inst->taken, bit +
						   (1UL << order), bit) >=
				bit + (1UL << order))
			inst_free(test, inst, slot, start, order);
		else
			KUNIT_EXPECT_EQ(test, -EINVAL,
					llfree_free(&inst->llf, slot, start,
						    order, &inst->delta));
		break;
	case 9:
		mask = random_u64(rnd);
		taken = inst->taken[frame_row(frame - inst_base(inst))];
		if (ref_in_range(inst, row, LLFREE_ROW_FRAMES) && (taken & mask))
			inst_free_batch(test, inst, slot, row, taken & mask);
		break;
	case 10:
		req.order %= LLFREE_ROW_ORDER + 1;
		inst_alloc_batch(test, inst, &req, 1 + prandom_u32_state(rnd) % 64,
				 masks);
		break;
	case 11:
		ret = in_range && ref_free(inst, start, 1UL << order,
					   *inst_view(inst, start)) ? 0 : 1;
		/* The halves of an order 10 may have two views. */
		if (*inst_view(inst, start) == LLFREE_VIEW_ISOLATED ||
		    order == LLFREE_MAX_ORDER)
			break;
		KUNIT_EXPECT_EQ(test, ret ? (in_range ? -EBUSY : -EINVAL) : 0,
				inst_claim(test, inst, start, order, 0));
		break;
	case 12:
		mask = random_u64(rnd) & random_u64(rnd);
		taken = inst->taken[frame_row(frame - inst_base(inst))];
		KUNIT_EXPECT_EQ(test, mask & ~taken,
				inst_claim_row(test, inst, row, mask,
					       LLFREE_CLAIM_HIDDEN));
		break;
	case 13:
		/* Mostly normal, or there will soon be nothing to get. */
		inst_set_view(test, inst, frame, order < LLFREE_NR_VIEWS ?
			      order : LLFREE_VIEW_NORMAL);
		break;
	case 14:
		llfree_drain(&inst->llf, slot);
		llfree_set_class(&inst->llf, frame, req.class);
		break;
	case 15:
		KUNIT_EXPECT_EQ(test, ref_free(inst, ALIGN_DOWN(frame, CHILD),
					       CHILD, *inst_view(inst, frame)) ?
				0 : -EBUSY,
				llfree_set_reported(&inst->llf, frame));
		break;
	}
}

static void random_walk(struct kunit *test)
{
	const struct span *range = test->param_value;
	struct instance *inst;
	struct rnd_state rnd;
	unsigned int i;

	prandom_seed_state(&rnd, range->first * 31 + range->nr);
	inst = inst_new(test, range->first, range->nr, LLFREE_INIT_FREE, 3);
	for (i = 0; i < 2000; i++) {
		random_step(test, inst, &rnd);
		if (i % 200 == 0)
			inst_check(test, inst);
	}
	inst_check(test, inst);
	inst_free_rest(test, inst);
	llfree_drain(&inst->llf, -1);
	inst_check(test, inst);
}

/* ---- The checker finds what is broken ---- */

static void break_row(struct instance *inst)
{
	*inst_row(inst, 10) ^= 1;
}

static void break_row_free(struct instance *inst)
{
	*inst_row(inst, LLFREE_CHILD_ROWS) = 0;
}

static void break_child(struct instance *inst)
{
	(*inst_child(inst, 1))--;
}

static void break_child_view(struct instance *inst)
{
	*inst_child(inst, 2) |= LLFREE_VIEW_ISOLATED << CHILD_VIEW_SHIFT;
}

static void break_reported(struct instance *inst)
{
	*inst_child(inst, 1) |= CHILD_REPORTED;
}

/* Consistent but for the fact that the frame does not exist */
static void break_outside(struct instance *inst)
{
	*inst_row(inst, 0) &= ~1ULL;
	(*inst_child(inst, 0))++;
	*inst_tree(inst, 0, 0) += BIT(TREE_FREE_SHIFT);
}

static void break_outside_end(struct instance *inst)
{
	*inst_row(inst, tree_row(&inst->llf, 2) - 1) &= ~BIT_ULL(63);
	(*inst_child(inst, 15))++;
	*inst_tree(inst, 0, 1) += BIT(TREE_FREE_SHIFT);
}

static void break_tree_less(struct instance *inst)
{
	*inst_tree(inst, 0, 1) -= BIT(TREE_FREE_SHIFT);
}

static void break_tree_more(struct instance *inst)
{
	*inst_tree(inst, 0, 0) += BIT(TREE_FREE_SHIFT);
}

static void break_tree_cma(struct instance *inst)
{
	*inst_tree(inst, LLFREE_VIEW_CMA, 1) += BIT(TREE_FREE_SHIFT);
}

static void break_tree_class(struct instance *inst)
{
	*inst_tree(inst, 0, 1) &= ~TREE_CLASS_MASK;
	*inst_tree(inst, 0, 1) |= 5 << TREE_CLASS_SHIFT;
}

static void break_tree_no_class(struct instance *inst)
{
	*inst_tree(inst, 0, 1) |= LLFREE_CLASS_NONE << TREE_CLASS_SHIFT;
}

static void break_reserved(struct instance *inst)
{
	*inst_tree(inst, 0, 1) |= TREE_RESERVED;
}

static void break_not_reserved(struct instance *inst)
{
	*inst_tree(inst, 0, 0) &= ~TREE_RESERVED;
}

static void break_reserved_cma(struct instance *inst)
{
	*inst_tree(inst, LLFREE_VIEW_CMA, 0) |= TREE_RESERVED;
}

static void break_local_free(struct instance *inst)
{
	inst->locals[0].reserved[0] -= BIT_ULL(LOCAL_FREE_SHIFT);
}

static void break_local_lost(struct instance *inst)
{
	inst->locals[0].reserved[0] = 0;
}

static void break_local_twice(struct instance *inst)
{
	inst->locals[1].reserved[2] = local_make(0, frame_row(inst_base(inst)));
}

struct corruption {
	const char *name;
	void (*corrupt)(struct instance *inst);
	/* Where the checker should see it: the child or the tree */
	unsigned long frame;
	unsigned long size;
};

#define CORRUPTION(_name, _frame, _size) \
	{ #_name, break_##_name, _frame, _size }

static const struct corruption corruptions[] = {
	CORRUPTION(row, FIRST + CHILD, CHILD),
	CORRUPTION(row_free, FIRST + CHILD, CHILD),
	CORRUPTION(child, FIRST + CHILD, CHILD),
	CORRUPTION(child_view, FIRST, TREE),
	CORRUPTION(reported, FIRST + CHILD, CHILD),
	CORRUPTION(outside, FIRST, 1),
	CORRUPTION(outside_end, FIRST + 2 * TREE - 1, 1),
	CORRUPTION(tree_less, FIRST + TREE, TREE),
	CORRUPTION(tree_more, FIRST, TREE),
	CORRUPTION(tree_cma, FIRST + TREE, TREE),
	CORRUPTION(tree_class, FIRST + TREE, TREE),
	CORRUPTION(tree_no_class, FIRST + TREE, TREE),
	CORRUPTION(reserved, FIRST + TREE, TREE),
	CORRUPTION(not_reserved, FIRST, TREE),
	CORRUPTION(reserved_cma, FIRST, TREE),
	CORRUPTION(local_free, FIRST, TREE),
	CORRUPTION(local_lost, FIRST, TREE),
	CORRUPTION(local_twice, FIRST, TREE),
};

static void corruption_desc(const struct corruption *corruption, char *desc)
{
	strscpy(desc, corruption->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(corruption, corruptions, corruption_desc);

static void validate_finds(struct kunit *test)
{
	const struct corruption *corruption = test->param_value;
	struct llfree_fault fault = { };
	struct instance *inst;

	/* A tree that slot 0 has, one that nobody has, neither all free */
	inst = inst_new(test, FIRST + 1, 2 * TREE - 2, LLFREE_INIT_FREE, 2);
	KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst, FIRST + CHILD, 5, 0));
	KUNIT_ASSERT_EQ(test, FIRST, ALIGN_DOWN(inst_alloc(test, inst, 0, 0, 0),
						TREE));
	inst_check(test, inst);

	corruption->corrupt(inst);
	KUNIT_EXPECT_EQ(test, -EUCLEAN, llfree_validate(&inst->llf, &fault));
	KUNIT_EXPECT_EQ(test, -EUCLEAN, llfree_validate(&inst->llf, NULL));
	KUNIT_ASSERT_NOT_NULL(test, fault.what);
	KUNIT_EXPECT_EQ_MSG(test, corruption->frame,
			    ALIGN_DOWN(fault.frame, corruption->size), "%s",
			    fault.what);
	KUNIT_EXPECT_NE_MSG(test, fault.expected, fault.found, "%s",
			    fault.what);
}

/* ---- Many at once ---- */

#define MAX_ACTORS	8
#define MAX_HELD	32
#define NR_MAILBOXES	16
#define CROWD_MSECS	300

/* A block, or if there is a mask, these frames of a row */
struct held {
	unsigned long frame;
	unsigned int order;
	u64 mask;
};

/* A thread or an interrupt handler. It reports later what it saw. */
struct actor {
	struct crowd *crowd;
	struct task_struct *task;
	unsigned int id;
	struct rnd_state rnd;
	struct llfree_delta delta;
	unsigned int nr_held;
	struct held held[MAX_HELD];
	unsigned long pos;
	unsigned long steps, allocs, fails;
	const char *error;
	unsigned long where;
};

struct crowd {
	struct instance *inst;
	/* Who has a frame: number of the actor + 1, or 0 */
	u32 *owner;
	/* Blocks that their owner wants somebody else to put */
	unsigned long mailbox[NR_MAILBOXES];
	bool (*step)(struct actor *actor);
	/* For some steps: order of the pieces, frames that each may have */
	unsigned int arg;
	struct completion go;
	struct completion done;
	unsigned int nr;
	struct actor actor[MAX_ACTORS];
	/* In hard interrupt context */
	bool with_irq;
	struct hrtimer timer;
	struct actor irq;
};

static void actor_error(struct actor *actor, const char *error,
			unsigned long where)
{
	if (actor->error)
		return;
	actor->error = error;
	actor->where = where;
}

static u32 actor_random(struct actor *actor, u32 below)
{
	return prandom_u32_state(&actor->rnd) % below;
}

static int actor_slot(struct actor *actor)
{
	return actor_random(actor, 8) ?
		actor->id % actor->crowd->inst->nr_slots : LLFREE_NO_SLOT;
}

static bool actor_mark(struct actor *actor, unsigned long frame,
		       unsigned long nr)
{
	struct instance *inst = actor->crowd->inst;
	unsigned long i;

	if (!ref_in_range(inst, frame, nr)) {
		actor_error(actor, "got a frame outside the range", frame);
		return false;
	}
	for (i = frame; i < frame + nr; i++)
		if (xchg(&actor->crowd->owner[i - inst_base(inst)],
			 actor->id + 1))
			actor_error(actor, "got a frame that is in use", i);
	return true;
}

static void actor_unmark(struct actor *actor, unsigned long frame,
			 unsigned long nr)
{
	struct instance *inst = actor->crowd->inst;
	unsigned long i;

	for (i = frame; i < frame + nr; i++)
		if (!xchg(&actor->crowd->owner[i - inst_base(inst)], 0))
			actor_error(actor, "has a frame that is not in use", i);
}

static void actor_free(struct actor *actor, unsigned long frame,
		       unsigned int order)
{
	actor_unmark(actor, frame, 1UL << order);
	if (llfree_free(&actor->crowd->inst->llf, actor_slot(actor), frame,
			order, &actor->delta))
		actor_error(actor, "could not free", frame);
}

static void actor_free_held(struct actor *actor, const struct held *held)
{
	u64 mask = held->mask;

	if (!mask) {
		actor_free(actor, held->frame, held->order);
		return;
	}
	for (; mask; mask &= mask - 1)
		actor_unmark(actor, held->frame + __ffs64(mask), 1);
	if (llfree_free_batch(&actor->crowd->inst->llf, actor_slot(actor),
			      held->frame, held->mask, &actor->delta))
		actor_error(actor, "could not free row", held->frame);
}

static void actor_hold(struct actor *actor, const struct held *held)
{
	if (actor->nr_held == MAX_HELD)
		actor_free_held(actor, held);
	else
		actor->held[actor->nr_held++] = *held;
}

static struct held actor_pick(struct actor *actor)
{
	unsigned int i = actor_random(actor, actor->nr_held);
	struct held held = actor->held[i];

	actor->held[i] = actor->held[--actor->nr_held];
	return held;
}

static bool actor_alloc(struct actor *actor, unsigned int order,
			unsigned int view)
{
	struct llfree_request req = {
		.slot = actor_slot(actor),
		.order = order,
		.class = actor_random(actor, LLFREE_NR_CLASSES),
		.view = view,
	};
	struct held held = { .order = order };
	long frame;

	frame = llfree_alloc(&actor->crowd->inst->llf, &req, &actor->delta);
	if (frame < 0) {
		actor->fails++;
		if (frame != -ENOMEM)
			actor_error(actor, "allocation failed strangely", -frame);
		return false;
	}
	actor->allocs++;
	if (!IS_ALIGNED(frame, 1UL << order))
		actor_error(actor, "got a block that is not aligned", frame);
	held.frame = frame;
	if (actor_mark(actor, frame, 1UL << order))
		actor_hold(actor, &held);
	return true;
}

static void actor_hold_mask(struct actor *actor, unsigned long frame, u64 mask)
{
	struct held held = { .frame = frame, .mask = mask };
	u64 rest;

	if (!mask)
		return;
	for (rest = mask; rest; rest &= rest - 1)
		if (!actor_mark(actor, frame + __ffs64(rest), 1))
			return;
	actor_hold(actor, &held);
}

static void actor_alloc_batch(struct actor *actor, unsigned int view)
{
	struct llfree_request req = {
		.slot = actor_slot(actor),
		.order = actor_random(actor, 4),
		.class = actor_random(actor, LLFREE_NR_CLASSES),
		.view = view,
	};
	unsigned int nr = 1 + actor_random(actor, 64), i;
	u64 masks[LLFREE_CHILD_ROWS];
	long child;

	/* More than a row has half of the time */
	if (actor_random(actor, 2))
		nr *= LLFREE_CHILD_ROWS;
	child = llfree_alloc_batch(&actor->crowd->inst->llf, &req, nr, masks,
				   &actor->delta);
	if (child < 0) {
		actor->fails++;
		if (child != -ENOMEM)
			actor_error(actor, "batch failed strangely", -child);
		return;
	}
	actor->allocs++;
	if (!IS_ALIGNED(child, LLFREE_CHILD_FRAMES))
		actor_error(actor, "got a batch that is not aligned", child);
	if (!batch_frames(masks) || batch_frames(masks) >> req.order > nr)
		actor_error(actor, "got a wrong number of blocks", child);
	for (i = 0; i < LLFREE_CHILD_ROWS; i++) {
		if (!mask_shape_ok(masks[i], req.order))
			actor_error(actor, "got a batch of wrong shape", child);
		actor_hold_mask(actor, child + i * LLFREE_ROW_FRAMES, masks[i]);
	}
}

static void actor_claim(struct actor *actor)
{
	struct instance *inst = actor->crowd->inst;
	unsigned int order = actor_random(actor, LLFREE_NR_ORDERS);
	unsigned long frame = inst_base(inst) +
		ALIGN_DOWN(actor_random(actor, inst->llf.nr_trees * TREE),
			   1UL << order);
	struct held held = { .frame = frame, .order = order };
	u64 claimed;

	if (actor_random(actor, 2)) {
		frame = ALIGN_DOWN(frame, LLFREE_ROW_FRAMES);
		if (llfree_claim_row(&inst->llf, frame,
				     random_u64(&actor->rnd), 0, &claimed,
				     &actor->delta) > 0)
			actor_hold_mask(actor, frame, claimed);
	} else if (!llfree_claim(&inst->llf, frame, order, 0, &actor->delta)) {
		if (actor_mark(actor, frame, 1UL << order))
			actor_hold(actor, &held);
	}
}

/* Leave a block to somebody else, and put what somebody left to us. */
static void actor_mail(struct actor *actor, unsigned long frame,
		       unsigned int order)
{
	unsigned long *box = &actor->crowd->mailbox[actor_random(actor,
								 NR_MAILBOXES)];
	unsigned long mail = xchg(box, frame << 4 | (order + 1));

	if (mail)
		actor_free(actor, mail >> 4, (mail & 0xf) - 1);
}

/* Put a block in pieces of several sizes, some of them by others. */
static void actor_free_pieces(struct actor *actor, const struct held *held)
{
	unsigned long frame = held->frame, end = frame + (1UL << held->order);
	unsigned int order;

	if (held->mask || held->order > 9) {
		actor_free_held(actor, held);
		return;
	}
	for (; frame < end; frame += 1UL << order) {
		order = actor_random(actor, held->order + 1);
		while (!IS_ALIGNED(frame, 1UL << order))
			order--;
		if (actor_random(actor, 4))
			actor_free(actor, frame, order);
		else
			actor_mail(actor, frame, order);
	}
}

static void actor_mixed(struct actor *actor, unsigned int view)
{
	static const u8 order[16] = {
		0, 0, 0, 0, 1, 2, 3, 3, 4, 5, 6, 7, 8, 9, 9, 10
	};
	struct held held;

	switch (actor_random(actor, 16)) {
	case 0 ... 5:
		actor_alloc(actor, order[actor_random(actor, 16)], view);
		break;
	case 6:
		actor_alloc_batch(actor, view);
		break;
	case 7:
		actor_claim(actor);
		break;
	case 8:
		/* Somebody may be about to use what it reserved. */
		if (!actor_random(actor, 8))
			llfree_drain(&actor->crowd->inst->llf,
				     actor_random(actor, 2) - 1);
		break;
	case 9 ... 12:
		if (actor->nr_held) {
			held = actor_pick(actor);
			actor_free_held(actor, &held);
		}
		break;
	case 13 ... 15:
		if (actor->nr_held) {
			held = actor_pick(actor);
			actor_free_pieces(actor, &held);
		}
		break;
	}
}

static bool step_mixed(struct actor *actor)
{
	actor_mixed(actor, LLFREE_VIEW_NORMAL);
	return true;
}

static int free_of_child(const struct llfree *llf, unsigned long frame)
{
	unsigned long end;
	int nr = 0;

	frame = ALIGN_DOWN(frame, CHILD);
	for (end = frame + CHILD; frame < end; frame += LLFREE_ROW_FRAMES)
		nr += hweight64(llfree_row_mask(llf, frame));
	return nr;
}

/* Isolate a child, see that it stays so, and show it again. */
static void actor_isolate(struct actor *actor)
{
	struct instance *inst = actor->crowd->inst;
	struct llfree *llf = &inst->llf;
	unsigned long frame = llf->first + actor_random(actor, inst_nr(inst));
	unsigned long row = ALIGN_DOWN(frame, LLFREE_ROW_FRAMES);
	u8 *view = inst_view(inst, frame);
	int ret, expected, stable, i;
	u64 claimed;

	expected = *view == LLFREE_VIEW_ISOLATED ? -EALREADY : *view;
	ret = llfree_set_view(llf, frame, LLFREE_VIEW_ISOLATED, &actor->delta);
	if (ret != expected)
		actor_error(actor, "isolated a child of another view", frame);
	*view = LLFREE_VIEW_ISOLATED;

	for (i = 0; i < 100; i++) {
		stable = llfree_child_stable(llf, frame);
		if (stable >= 0)
			break;
		cond_resched();
	}
	for (i = 0; stable >= 0 && i < 4; i++) {
		/* Only frees from here on */
		ret = free_of_child(llf, frame);
		if (ret < stable)
			actor_error(actor, "isolated child lost a frame",
				    frame);
		stable = ret;
		cond_resched();
	}
	if (stable > 0 && llfree_claim_row(llf, row, random_u64(&actor->rnd),
					   LLFREE_CLAIM_HIDDEN, &claimed,
					   &actor->delta) > 0)
		actor_hold_mask(actor, row, claimed);

	ret = actor_random(actor, 16);
	if (ret == LLFREE_VIEW_ISOLATED)
		return;
	*view = ret < LLFREE_ALLOC_VIEWS ? ret : LLFREE_VIEW_NORMAL;
	if (llfree_set_view(llf, frame, *view, &actor->delta) !=
	    LLFREE_VIEW_ISOLATED)
		actor_error(actor, "isolated child had another view", frame);
}

static bool step_views(struct actor *actor)
{
	if (!actor->id) {
		actor_isolate(actor);
		/* The rest of the time as everybody else */
		if (!actor_random(actor, 4))
			return true;
	}
	actor_mixed(actor, actor_random(actor, 8) < LLFREE_ALLOC_VIEWS ?
		    actor_random(actor, LLFREE_ALLOC_VIEWS) :
		    LLFREE_VIEW_NORMAL);
	return true;
}

/* Change the view of a child that nobody else changes. */
static void actor_flip(struct actor *actor, unsigned long frame)
{
	static const u8 views[4] = {
		LLFREE_VIEW_NORMAL, LLFREE_VIEW_NORMAL, LLFREE_VIEW_CMA,
		LLFREE_VIEW_ISOLATED,
	};
	struct instance *inst = actor->crowd->inst;
	unsigned int to = views[actor_random(actor, 4)];
	u8 *view = inst_view(inst, frame);

	if (llfree_set_view(&inst->llf, frame, to, &actor->delta) !=
	    (*view == to ? -EALREADY : *view))
		actor_error(actor, "child had another view", frame);
	*view = to;
}

/*
 * One half of each pair is free, but never the other. Who wants the pair takes
 * the one and has to undo that, again and again, and meanwhile its view changes.
 */
static bool step_undo(struct actor *actor)
{
	struct crowd *crowd = actor->crowd;
	struct llfree *llf = &crowd->inst->llf;
	struct llfree_request req = { .order = LLFREE_MAX_ORDER };
	unsigned long pair = llf->first + actor_random(actor, 4) * 2 * CHILD;
	static const u8 order[4] = { 0, 6, 7, 8 };
	struct held held;
	unsigned int i;

	if (actor == &crowd->irq)
		actor_flip(actor, llf->first +
			   actor_random(actor, 2) * 4 * CHILD);
	if (!actor->id) {
		actor_flip(actor, llf->first + 2 * CHILD +
			   actor_random(actor, 2) * 4 * CHILD);
		return true;
	}

	switch (actor_random(actor, 8)) {
	case 0:
		if (llfree_claim(llf, pair, LLFREE_MAX_ORDER, 0,
				 &actor->delta) != -EBUSY)
			actor_error(actor, "claimed what is in use", pair);
		break;
	case 1 ... 4:
		for (i = 0; i < 4; i++)
			if (llfree_alloc(llf, &req, &actor->delta) != -ENOMEM)
				actor_error(actor, "got what is in use", 0);
		break;
	case 5 ... 7:
		/* All want the same rows; few keep them to the next time. */
		if (actor->nr_held) {
			held = actor_pick(actor);
			actor_free_held(actor, &held);
		}
		if (actor_alloc(actor, order[actor_random(actor, 4)],
				LLFREE_VIEW_NORMAL) && actor != &crowd->irq) {
			held = actor_pick(actor);
			actor_free_held(actor, &held);
		}
		break;
	}
	return true;
}

/* Together, all put all frames, in pieces that are neighbours. */
static bool step_pieces(struct actor *actor)
{
	struct instance *inst = actor->crowd->inst;
	unsigned long frame = inst->llf.first +
		((actor->pos * actor->crowd->nr + actor->id) <<
		 actor->crowd->arg);

	if (frame >= inst->llf.end)
		return false;
	actor->pos++;
	actor_free(actor, frame, actor->crowd->arg);
	return true;
}

/*
 * There are as many frames as all together may have at a time, so there is one
 * for each allocation. It can still miss it: while an allocation looks at all children in
 * turn, frames may move to where it has been, and somebody may stand between
 * the two steps of a free. But not for ever.
 */
static bool step_scarce(struct actor *actor)
{
	struct held held;
	unsigned int i;

	if (actor->nr_held < actor->crowd->arg && actor_random(actor, 3)) {
		for (i = 0; !actor_alloc(actor, 0, LLFREE_VIEW_NORMAL); i++) {
			if (i == 500) {
				actor_error(actor, "got no frame of those left",
					    0);
				return false;
			}
			if (i < 10)
				cond_resched();
			else
				usleep_range(20, 100);
		}
	} else if (actor->nr_held) {
		held = actor_pick(actor);
		actor_free_held(actor, &held);
	}
	return true;
}

static int actor_thread(void *data)
{
	struct actor *actor = data;
	struct crowd *crowd = actor->crowd;

	wait_for_completion(&crowd->go);
	while (!kthread_should_stop() && crowd->step(actor)) {
		actor->steps++;
		cond_resched();
	}
	complete(&crowd->done);
	return 0;
}

static enum hrtimer_restart crowd_timer(struct hrtimer *timer)
{
	struct crowd *crowd = container_of(timer, struct crowd, timer);
	unsigned int i;

	if (!in_hardirq())
		actor_error(&crowd->irq, "timer is not a hard interrupt", 0);
	for (i = 0; i < 4; i++)
		crowd->step(&crowd->irq);
	crowd->irq.steps += i;
	hrtimer_forward_now(timer, ns_to_ktime(100 * NSEC_PER_USEC +
					       actor_random(&crowd->irq,
							    100 * NSEC_PER_USEC)));
	return HRTIMER_RESTART;
}

static void crowd_stop(void *data)
{
	struct crowd *crowd = data;
	unsigned int i;

	complete_all(&crowd->go);
	for (i = 0; i < crowd->nr; i++) {
		if (!IS_ERR_OR_NULL(crowd->actor[i].task))
			kthread_stop_put(crowd->actor[i].task);
		crowd->actor[i].task = NULL;
	}
	if (crowd->with_irq)
		hrtimer_cancel(&crowd->timer);
}

static void actor_init(struct crowd *crowd, struct actor *actor,
		       unsigned int id)
{
	actor->crowd = crowd;
	actor->id = id;
	prandom_seed_state(&actor->rnd, 4711 + 100 * id);
}

static struct crowd *crowd_new(struct kunit *test, struct instance *inst,
			       bool (*step)(struct actor *actor))
{
	struct crowd *crowd = area_new(test, sizeof(*crowd));
	unsigned long frames = inst->llf.nr_trees * TREE, i;

	memset(crowd, 0, sizeof(*crowd));
	crowd->inst = inst;
	crowd->step = step;
	crowd->nr = clamp(2 * num_online_cpus(), 4U, (unsigned int)MAX_ACTORS);
	init_completion(&crowd->go);
	init_completion(&crowd->done);
	crowd->owner = area_new(test, frames * sizeof(*crowd->owner));
	for (i = 0; i < frames; i++)
		crowd->owner[i] = test_bit(i, inst->taken) ? U32_MAX : 0;
	for (i = 0; i < crowd->nr; i++)
		actor_init(crowd, &crowd->actor[i], i);
	actor_init(crowd, &crowd->irq, crowd->nr);
	return crowd;
}

/* Let them go for some time, or if @msecs is 0, until they are done. */
static void crowd_run(struct kunit *test, struct crowd *crowd,
		      unsigned int msecs)
{
	struct task_struct *task;
	unsigned int i;

	hrtimer_init(&crowd->timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_HARD);
	crowd->timer.function = crowd_timer;
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action(test, crowd_stop, crowd));
	for (i = 0; i < crowd->nr; i++) {
		task = kthread_run(actor_thread, &crowd->actor[i],
				   "llfree_kunit/%u", i);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, task);
		crowd->actor[i].task = get_task_struct(task);
	}
	if (crowd->with_irq)
		hrtimer_start(&crowd->timer, ns_to_ktime(NSEC_PER_USEC),
			      HRTIMER_MODE_REL_HARD);
	complete_all(&crowd->go);
	if (msecs)
		msleep(msecs);
	else
		for (i = 0; i < crowd->nr; i++)
			KUNIT_EXPECT_NE_MSG(test, 0,
					    wait_for_completion_timeout(&crowd->done,
									30 * HZ),
					    "a thread is not done");
	kunit_release_action(test, crowd_stop, crowd);
}

static void actor_check(struct kunit *test, struct actor *actor)
{
	struct llfree_delta *sum = &actor->crowd->inst->delta;
	unsigned int view;

	KUNIT_EXPECT_NULL_MSG(test, actor->error, "actor %u: %s: %lu",
			      actor->id, actor->error, actor->where);
	for (view = 0; view < LLFREE_NR_VIEWS; view++) {
		sum->frames[view] += actor->delta.frames[view];
		sum->huge[view] += actor->delta.huge[view];
	}
}

/* Everybody stopped. What they have must be what the core thinks they have. */
static void crowd_check(struct kunit *test, struct crowd *crowd)
{
	struct instance *inst = crowd->inst;
	unsigned long i, steps = 0, allocs = 0, fails = 0;

	for (i = 0; i < crowd->nr; i++) {
		actor_check(test, &crowd->actor[i]);
		KUNIT_EXPECT_GT_MSG(test, crowd->actor[i].steps, 0,
				    "actor %lu did nothing", i);
		steps += crowd->actor[i].steps;
		allocs += crowd->actor[i].allocs;
		fails += crowd->actor[i].fails;
	}
	actor_check(test, &crowd->irq);
	if (crowd->with_irq)
		KUNIT_EXPECT_GT(test, crowd->irq.steps, 0);
	kunit_info(test, "%u threads: %lu steps, %lu allocations, %lu failed; interrupts: %lu steps, %lu allocations\n",
		   crowd->nr, steps, allocs, fails, crowd->irq.steps,
		   crowd->irq.allocs);

	for (i = 0; i < inst->llf.nr_trees * TREE; i++)
		__assign_bit(i, inst->taken, crowd->owner[i]);
	inst_check(test, inst);

	/* Nothing was lost. */
	for (i = inst->llf.first; i < inst->llf.end; i = llfree_next_child(i))
		inst_set_view(test, inst, i, LLFREE_VIEW_NORMAL);
	inst_free_rest(test, inst);
	inst_check(test, inst);
	llfree_drain(&inst->llf, -1);
	inst_check(test, inst);
	KUNIT_EXPECT_EQ(test, visible(inst, LLFREE_VIEW_NORMAL),
			inst_nr(inst));
	KUNIT_EXPECT_EQ(test, ref_blocks(inst, LLFREE_MAX_ORDER, 0),
			inst_alloc_all(test, inst, LLFREE_MAX_ORDER, 0, NULL));
}

static void crowd_mixed(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST + 200, 4 * TREE - 300,
					 LLFREE_INIT_FREE, 3);
	struct crowd *crowd = crowd_new(test, inst, step_mixed);

	crowd_run(test, crowd, CROWD_MSECS);
	crowd_check(test, crowd);
}

static void crowd_views(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, 3 * TREE,
					 LLFREE_INIT_FREE, 3);
	struct crowd *crowd = crowd_new(test, inst, step_views);

	crowd_run(test, crowd, CROWD_MSECS);
	crowd_check(test, crowd);
}

/* All that a thread does also happens in a hard interrupt on top of it. */
static void fault_irq_context(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, 3 * TREE,
					 LLFREE_INIT_FREE, 2);
	struct crowd *crowd = crowd_new(test, inst, step_views);

	crowd->with_irq = true;
	crowd_run(test, crowd, CROWD_MSECS);
	KUNIT_EXPECT_GT(test, crowd->irq.allocs, 0);
	crowd_check(test, crowd);
}

/* Undo of what takes several steps, while views change under it */
static void fault_undo_view_change(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, TREE, LLFREE_INIT_FREE, 2);
	struct crowd *crowd;
	unsigned int i;

	for (i = 1; i < (LLFREE_MIN_TREE_FRAMES / LLFREE_CHILD_FRAMES); i += 2)
		KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst,
						    FIRST + i * CHILD, 0, 0));
	/* Only an owner of permits goes where there may be no pair. */
	inst_free(test, inst, 0, inst_alloc(test, inst, 0, 0, 0), 0);
	KUNIT_ASSERT_TRUE(test, tree_reserved_at(test, inst, FIRST));

	crowd = crowd_new(test, inst, step_undo);
	crowd->with_irq = true;
	crowd_run(test, crowd, CROWD_MSECS);
	crowd_check(test, crowd);
}

/* All pieces of all blocks at once; none is lost, and blocks are whole again. */
static void fault_lost_frees(struct kunit *test)
{
	static const unsigned int pieces[] = { 0, 2, 5, 6, 7, 8 };
	struct instance *inst;
	struct crowd *crowd;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(pieces); i++) {
		inst = inst_new(test, FIRST, 2 * TREE, LLFREE_INIT_FREE, 3);
		inst_alloc_all(test, inst, i % 2 ? 9 : 10, 0, NULL);
		KUNIT_ASSERT_EQ(test, 0, visible(inst, 0));
		crowd = crowd_new(test, inst, step_pieces);
		crowd->arg = pieces[i];
		crowd_run(test, crowd, 0);
		KUNIT_EXPECT_EQ(test, 2 * TREE, visible(inst, 0));
		crowd_check(test, crowd);
	}
}

/* The last frames are found, whoever freed them wherever. */
static void fault_oom_scarce(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, 2 * TREE,
					 LLFREE_INIT_ALLOC, 3);
	struct crowd *crowd = crowd_new(test, inst, step_scarce);
	unsigned int i;

	crowd->arg = 5;
	for (i = 0; i < crowd->nr * crowd->arg; i++) {
		inst_free(test, inst, LLFREE_NO_SLOT, FIRST + i * 201, 0);
		crowd->owner[i * 201] = 0;
	}
	crowd_run(test, crowd, CROWD_MSECS);
	crowd_check(test, crowd);
}

static struct kunit_case llfree_cases[] = {
	KUNIT_CASE(layout_limits),
	KUNIT_CASE_PARAM(range_layout, range_gen_params),
	KUNIT_CASE_PARAM(range_orders, range_gen_params),
	KUNIT_CASE_PARAM(range_alloc_mode, range_gen_params),
	KUNIT_CASE_PARAM(range_keep_mode, range_gen_params),
	KUNIT_CASE_PARAM(range_recover_mode, range_gen_params),
	KUNIT_CASE_PARAM(range_queries, range_gen_params),
	KUNIT_CASE_PARAM(random_walk, range_gen_params),
	KUNIT_CASE(init_bad_input),
	KUNIT_CASE(slots),
	KUNIT_CASE_PARAM(order_alloc_free, order_gen_params),
	KUNIT_CASE_PARAM(order_exhaustive, order_gen_params),
	KUNIT_CASE_PARAM(order_claim, order_gen_params),
	KUNIT_CASE(claim_debt_is_paid),
	KUNIT_CASE(claim_row),
	KUNIT_CASE_PARAM(free_shape, shape_gen_params),
	KUNIT_CASE_PARAM(batch_alloc, batch_order_gen_params),
	KUNIT_CASE_PARAM(fast_alloc, order_gen_params),
	KUNIT_CASE_PARAM(batch_alloc_full, batch_order_gen_params),
	KUNIT_CASE(free_batch),
	KUNIT_CASE(bad_request),
	KUNIT_CASE_PARAM(double_free, order_gen_params),
	KUNIT_CASE(view_allocs),
	KUNIT_CASE(view_change_in_use),
	KUNIT_CASE(stable),
	KUNIT_CASE(reported),
	KUNIT_CASE(class_of_tree),
	KUNIT_CASE(policy_default),
	KUNIT_CASE(policy_fallback),
	KUNIT_CASE(policy_custom),
	KUNIT_CASE(free_reserves),
	KUNIT_CASE(hint_view_change),
	KUNIT_CASE_PARAM(validate_finds, corruption_gen_params),
	KUNIT_CASE(fault_oom_reserved_tree),
	KUNIT_CASE(fault_oom_local),
	KUNIT_CASE(fault_oom_sync),
	KUNIT_CASE(fault_oom_split_permits),
	KUNIT_CASE(fault_oom_scarce),
	KUNIT_CASE(fault_lost_frees),
	KUNIT_CASE(fault_undo_pair),
	KUNIT_CASE(fault_undo_view_change),
	KUNIT_CASE(fault_offline_handout),
	KUNIT_CASE(fault_order_always_yes),
	KUNIT_CASE(fault_drain_ignores_slot),
	KUNIT_CASE(fault_irq_context),
	KUNIT_CASE(fault_batch_overwrites),
	KUNIT_CASE(fault_start_moves),
	KUNIT_CASE(fault_error_not_crash),
	KUNIT_CASE_PARAM(fault_tail_unchecked, order_gen_params),
	KUNIT_CASE(crowd_mixed),
	KUNIT_CASE(crowd_views),
	{}
};

static struct kunit_suite llfree_suite = {
	.name = "llfree",
	.test_cases = llfree_cases,
};

kunit_test_suite(llfree_suite);

MODULE_DESCRIPTION("KUnit test of the LLFree page frame allocator core");
MODULE_LICENSE("GPL");
