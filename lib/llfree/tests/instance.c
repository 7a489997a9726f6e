// SPDX-License-Identifier: GPL-2.0
/* An instance of the LLFree core for tests, with a reference model next to it. */
#include <linux/module.h>
#include <linux/vmalloc.h>

#include "instance.h"

#define GUARD_SIZE	64
#define GUARD_BYTE	0x5a
#define GARBAGE_BYTE	0xa5

const unsigned int inst_orders[LLFREE_NR_ORDERS] = {
	0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
};

void inst_order_desc(const unsigned int *order, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "order %u", *order);
}

const struct span inst_ranges[NR_RANGES] = {
	{ 0, 1, 0 },
	{ 1, 1, 2 },
	{ 4095, 1, 2 },
	{ 63, 2, 2 },
	{ 0, 64, 2 },
	{ 511, 2, 2 },
	{ 5, 506, 2 },
	{ 0, 511, 2 },
	{ 512, 512, 2 },
	{ 100, 1024, 2 },
	{ 4095, 2, 2 },
	{ 0, 4096, 2 },
	{ FIRST, 4096, 2 },
	{ FIRST + 1, 2 * 4096, 2 },
	{ FIRST - 1, 2 * 4096 + 2, 2 },
	{ 0x100000 - 700, 3 * 4096 + 77, 2 },
	{ BIT(40) + 17, 5000, 2 },
	{ 70, 20, 1 },
	{ 1000, 300, 1 },
	{ 512, 511, 4 },
	{ 1024, 512, 2 },
	{ 800, 512, 2 },
	{ 4096, 4096, 2 },
	{ 5000, 4096, 4 },
	{ 0, 6 * 4096, 3 },
	{ 1234567, 20001, 3 },
	{ 300000, 3 * 4096, 0 },
	{ 8192, 2 * 4096, 64 },
	{ BIT(34) - 9001, 9001, 2 },
};

void inst_range_desc(const struct span *range, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%lu+%lu", range->first,
		 range->nr);
}

KUNIT_DEFINE_ACTION_WRAPPER(vfree_action, vfree, const void *);
KUNIT_DEFINE_ACTION_WRAPPER(model_action, model_destroy, struct model *);

void *area_new(struct kunit *test, size_t size)
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

void *area_copy(struct kunit *test, const void *from, size_t size)
{
	return memcpy(area_new(test, size), from, size);
}

/* ---- Instances ---- */

void inst_start(struct kunit *test, struct instance *inst, unsigned long first,
		unsigned long nr, enum llfree_mode mode,
		const struct llfree_policy *policy)
{
	memset(&inst->llf, GARBAGE_BYTE, sizeof(inst->llf));
	memset(inst->mem.trees, GARBAGE_BYTE, inst->mem.trees_size);
	KUNIT_ASSERT_EQ(test, 0, llfree_init(&inst->llf, first, nr, &inst->mem,
					     mode, policy));
	/* The range may change, but not the trees that it has frames of. */
	inst->model.first = first;
	inst->model.end = first + nr;
	memset(&inst->delta, 0, sizeof(inst->delta));
	llfree_stats_exact(&inst->llf, &inst->start);
	inst->nr_slots = 0;
}

void inst_set_slots(struct kunit *test, struct instance *inst,
		    unsigned int nr_slots)
{
	inst->locals = area_new(test, nr_slots * sizeof(*inst->locals));
	inst->nr_slots = nr_slots;
	KUNIT_ASSERT_EQ(test, 0, llfree_set_slots(&inst->llf, inst->locals,
						  nr_slots));
}

struct instance *inst_new_policy(struct kunit *test, unsigned long first,
				 unsigned long nr, enum llfree_mode mode,
				 unsigned int nr_slots,
				 const struct llfree_policy *policy)
{
	struct instance *inst = area_new(test, sizeof(*inst));

	memset(inst, 0, sizeof(*inst));
	KUNIT_ASSERT_EQ(test, 0, llfree_layout(first, nr, LLFREE_MIN_TREE_ORDER,
					       &inst->mem));
	inst->mem.rows = area_new(test, inst->mem.rows_size);
	inst->mem.children = area_new(test, inst->mem.children_size);
	inst->mem.trees = area_new(test, inst->mem.trees_size);
	KUNIT_ASSERT_EQ(test, 0, model_init(&inst->model, first, nr,
					    LLFREE_MIN_TREE_ORDER,
					    mode != LLFREE_INIT_FREE));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, model_action,
							   &inst->model));
	inst_start(test, inst, first, nr, mode, policy);
	if (nr_slots)
		inst_set_slots(test, inst, nr_slots);
	return inst;
}

struct instance *inst_new(struct kunit *test, unsigned long first,
			  unsigned long nr, enum llfree_mode mode,
			  unsigned int nr_slots)
{
	return inst_new_policy(test, first, nr, mode, nr_slots, NULL);
}

void inst_check(struct kunit *test, struct instance *inst)
{
	const struct model *m = &inst->model;
	struct llfree_stats want, exact;
	struct llfree_fault fault = { };
	struct llfree *llf = &inst->llf;
	unsigned int view, order;
	unsigned long row;
	int ret;

	ret = llfree_validate(llf, &fault);
	KUNIT_EXPECT_EQ_MSG(test, 0, ret, "%s at %lu: expected %ld, found %ld",
			    fault.what, fault.frame, fault.expected,
			    fault.found);

	for (row = m->base; row < m->base + m->nr_children * CHILD;
	     row += LLFREE_ROW_FRAMES)
		KUNIT_EXPECT_EQ_MSG(test, model_row_mask(m, row, false),
				    llfree_row_mask(llf, row),
				    "row of frame %lu", row);

	model_stats(m, &want);
	llfree_stats_exact(llf, &exact);
	for (view = 0; view < LLFREE_NR_VIEWS; view++) {
		KUNIT_EXPECT_EQ(test, want.frames[view], exact.frames[view]);
		KUNIT_EXPECT_EQ(test, want.huge[view], exact.huge[view]);
		KUNIT_EXPECT_EQ(test, want.frames[view],
				inst->start.frames[view] +
				inst->delta.frames[view]);
		KUNIT_EXPECT_EQ(test, want.huge[view],
				inst->start.huge[view] +
				inst->delta.huge[view]);
		if (view == LLFREE_VIEW_ISOLATED)
			continue;
		for (order = 0; order < LLFREE_NR_ORDERS; order++)
			if (!llfree_may_have_order(llf, order, view))
				KUNIT_EXPECT_EQ_MSG(test, 0,
						    model_blocks(m, order, view),
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

bool inst_tree_reserved(struct kunit *test, struct instance *inst,
			unsigned long frame)
{
	struct llfree_child child = { };

	KUNIT_ASSERT_EQ(test, 0, llfree_child(&inst->llf, frame, &child));
	return child.tree_reserved;
}

unsigned long inst_free_frames(struct instance *inst, unsigned int view)
{
	struct llfree_stats stats;

	llfree_stats_exact(&inst->llf, &stats);
	return stats.frames[view];
}

/* ---- Model ---- */

void inst_allocated(struct kunit *test, struct instance *inst,
		    unsigned long frame, unsigned long nr, unsigned int view)
{
	struct model *m = &inst->model;

	KUNIT_ASSERT_TRUE_MSG(test, model_inside(m, frame, nr),
			      "got %lu+%lu outside the range", frame, nr);
	KUNIT_ASSERT_TRUE_MSG(test, model_all_free(m, frame, nr, view),
			      "got %lu+%lu twice or out of its view", frame,
			      nr);
	model_mark(m, frame, nr, true);
}

/* Checks that the frames are allocated, and enters in the model that they are free. */
static void inst_freed(struct kunit *test, struct instance *inst,
		       unsigned long frame, unsigned long nr)
{
	struct model *m = &inst->model;

	KUNIT_ASSERT_TRUE(test, model_inside(m, frame, nr));
	KUNIT_ASSERT_TRUE_MSG(test, model_all_used(m, frame, nr),
			      "freed %lu+%lu twice", frame, nr);
	model_mark(m, frame, nr, false);
}

static void inst_allocated_mask(struct kunit *test, struct instance *inst,
				unsigned long frame, u64 mask,
				unsigned int view)
{
	unsigned int i;

	KUNIT_ASSERT_TRUE(test, IS_ALIGNED(frame, LLFREE_ROW_FRAMES));
	for (i = 0; i < LLFREE_ROW_FRAMES; i++)
		if (mask & BIT_ULL(i))
			inst_allocated(test, inst, frame + i, 1, view);
}

/* ---- Operations ---- */

long inst_alloc_req(struct kunit *test, struct instance *inst,
		    const struct llfree_request *req)
{
	unsigned long nr = 1UL << req->order;
	long frame;

	frame = llfree_alloc(&inst->llf, req, &inst->delta);
	if (frame >= 0) {
		KUNIT_EXPECT_TRUE(test, IS_ALIGNED(frame, nr));
		inst_allocated(test, inst, frame, nr, req->view);
	} else if (!(req->flags & LLFREE_ALLOC_NOFRAGMENT)) {
		KUNIT_EXPECT_EQ(test, frame, -ENOMEM);
		KUNIT_EXPECT_EQ_MSG(test, 0,
				    model_blocks(&inst->model, req->order,
						 req->view),
				    "free blocks of order %d were not found",
				    req->order);
	}
	return frame;
}

long inst_alloc(struct kunit *test, struct instance *inst, int slot,
		unsigned int order, unsigned int class)
{
	struct llfree_request req = {
		.slot = slot,
		.order = order,
		.class = class,
	};

	return inst_alloc_req(test, inst, &req);
}

long inst_alloc_view(struct kunit *test, struct instance *inst,
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

long inst_alloc_fast(struct kunit *test, struct instance *inst, int slot,
		     unsigned int order, unsigned int class)
{
	const unsigned int children = order < LLFREE_CHILD_ORDER ? 1 :
				      1U << (order - LLFREE_CHILD_ORDER);
	struct llfree_delta delta;
	unsigned int whole, view;
	long frame;

	/* llfree_alloc_fast() has to initialise it. */
	memset(&delta, 0xa5, sizeof(delta));
	frame = llfree_alloc_fast(&inst->llf, slot, order, class, &whole, &delta);
	if (frame < 0) {
		KUNIT_EXPECT_EQ(test, frame, -EAGAIN);
		for (view = 0; view < LLFREE_NR_VIEWS; view++) {
			KUNIT_EXPECT_EQ(test, delta.frames[view], 0);
			KUNIT_EXPECT_EQ(test, delta.huge[view], 0);
		}
		KUNIT_EXPECT_EQ(test, delta.did, 0);
		return frame;
	}
	KUNIT_EXPECT_LE(test, whole, children);
	KUNIT_EXPECT_TRUE(test, IS_ALIGNED(frame, 1UL << order));
	inst->delta.frames[LLFREE_VIEW_NORMAL] -= 1 << order;
	inst->delta.huge[LLFREE_VIEW_NORMAL] -= whole;
	inst_allocated(test, inst, frame, 1UL << order, LLFREE_VIEW_NORMAL);
	return frame;
}

long inst_alloc_batch(struct kunit *test, struct instance *inst,
		      const struct llfree_request *req, unsigned int nr, u64 *masks)
{
	unsigned int blocks, i;
	long child;

	child = llfree_alloc_batch(&inst->llf, req, nr, masks, &inst->delta);
	if (child < 0) {
		KUNIT_EXPECT_EQ(test, child, -ENOMEM);
		KUNIT_EXPECT_EQ_MSG(test, 0,
				    model_blocks(&inst->model, req->order,
						 req->view),
				    "free blocks of order %d were not found",
				    req->order);
		return child;
	}
	KUNIT_ASSERT_TRUE(test, IS_ALIGNED(child, LLFREE_CHILD_FRAMES));
	for (i = 0; i < LLFREE_CHILD_ROWS; i++) {
		KUNIT_ASSERT_TRUE(test, mask_shape_ok(masks[i], req->order));
		inst_allocated_mask(test, inst, child + i * LLFREE_ROW_FRAMES, masks[i],
				    req->view);
	}
	blocks = batch_frames(masks) >> req->order;
	KUNIT_EXPECT_GE(test, blocks, 1);
	KUNIT_EXPECT_LE(test, blocks, nr);
	return child;
}

unsigned long inst_alloc_all(struct kunit *test, struct instance *inst,
			     unsigned int order, unsigned int view, unsigned long *frames)
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

void inst_free(struct kunit *test, struct instance *inst, int slot,
	       unsigned long frame, unsigned int order)
{
	unsigned int view;
	int ret;

	inst_freed(test, inst, frame, 1UL << order);
	/* llfree_free() frees one half of the blocks, llfree_free_fast() the other. */
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

void inst_free_batch(struct kunit *test, struct instance *inst, int slot,
		     unsigned long frame, u64 mask)
{
	unsigned int i;

	for (i = 0; i < LLFREE_ROW_FRAMES; i++)
		if (mask & BIT_ULL(i))
			inst_freed(test, inst, frame + i, 1);
	KUNIT_ASSERT_EQ(test, 0, llfree_free_batch(&inst->llf, slot, frame, mask,
						   &inst->delta));
}

void inst_free_all(struct kunit *test, struct instance *inst,
		   unsigned int order, unsigned long *frames, unsigned long nr)
{
	unsigned long i;

	/* Not in the order of allocation; 61 divides none of the numbers. */
	for (i = 0; i < nr; i++)
		inst_free(test, inst, (int)(i % (inst->nr_slots + 1)) - 1,
			  frames[nr % 61 ? i * 61 % nr : i], order);
}

void inst_free_rest(struct kunit *test, struct instance *inst)
{
	unsigned long frame;
	u64 mask;

	for (frame = inst_base(inst); frame < inst->llf.end;
	     frame += LLFREE_ROW_FRAMES) {
		mask = model_row_mask(&inst->model, frame, true);
		if (mask)
			inst_free_batch(test, inst, LLFREE_NO_SLOT, frame, mask);
	}
}

int inst_claim(struct kunit *test, struct instance *inst, unsigned long frame,
	       unsigned int order, unsigned int flags)
{
	int ret = llfree_claim(&inst->llf, frame, order, flags, &inst->delta);

	if (!ret)
		inst_allocated(test, inst, frame, 1UL << order,
			       *inst_view(inst, frame));
	return ret;
}

u64 inst_claim_row(struct kunit *test, struct instance *inst,
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
	inst_allocated_mask(test, inst, frame, claimed, *inst_view(inst, frame));
	return claimed;
}

void inst_scatter(struct kunit *test, struct instance *inst,
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

void inst_set_view(struct kunit *test, struct instance *inst,
		   unsigned long frame, enum llfree_view view)
{
	const u8 old = *inst_view(inst, frame);

	KUNIT_ASSERT_EQ(test, old == view ? -EALREADY : old,
			llfree_set_view(&inst->llf, frame, view, &inst->delta));
	model_set_view(&inst->model, frame, view);
}

void inst_set_reported(struct kunit *test, struct instance *inst,
		       unsigned long frame)
{
	frame = ALIGN_DOWN(frame, CHILD);
	KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst, frame, LLFREE_CHILD_ORDER,
					    LLFREE_CLAIM_HIDDEN));
	inst_freed(test, inst, frame, CHILD);
	KUNIT_ASSERT_EQ(test, 0, llfree_free_reported(&inst->llf, frame,
						      LLFREE_CHILD_ORDER,
						      &inst->delta));
}

/* ---- Snapshots ---- */

struct snapshot *snapshot_new(struct kunit *test, struct instance *inst)
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

void snapshot_check(struct kunit *test, struct instance *inst,
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

MODULE_DESCRIPTION("KUnit tests of the LLFree page frame allocator core");
MODULE_IMPORT_NS(EXPORTED_FOR_KUNIT_TESTING);
MODULE_LICENSE("GPL");
