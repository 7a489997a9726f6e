// SPDX-License-Identifier: GPL-2.0
#include <linux/align.h>
#include <linux/bits.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include <shim/shim.h>

#include "inst.h"

unsigned int inst_tree_order = LLFREE_MIN_TREE_ORDER;
void *inst_area;

/*
 * Memory of this size or more is mapped, not allocated: most of it stays
 * untouched.
 */
#define MAP_SIZE	(64UL << 20)

static void *memory_new(size_t size)
{
	void *mem;

	if (size < MAP_SIZE) {
		if (posix_memalign(&mem, SMP_CACHE_BYTES, size))
			return NULL;
		/* The core may not rely on zeroed memory. */
		memset(mem, 0xa5, size);
		return mem;
	}
	mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return mem == MAP_FAILED ? NULL : mem;
}

static void memory_free(void *mem, size_t size)
{
	if (size < MAP_SIZE)
		free(mem);
	else
		munmap(mem, size);
}

static int inst_start(struct inst *in)
{
	memset(&in->sum, 0, sizeof(in->sum));
	llfree_stats_exact(&in->llf, &in->start);
	if (!in->nr_slots)
		return 0;
	memset(in->locals, 0xa5, in->nr_slots * sizeof(*in->locals));
	return llfree_set_slots(&in->llf, in->locals, in->nr_slots);
}

int inst_init(struct inst *in, unsigned long first, unsigned long nr,
	      enum llfree_mode mode, const struct llfree_policy *policy,
	      unsigned int nr_slots)
{
	int err;

	memset(in, 0, sizeof(*in));
	err = llfree_layout(first, nr, inst_tree_order, &in->mem);
	if (err)
		return err;
	in->placed = inst_area;
	in->mem.rows = inst_area ?: memory_new(in->mem.rows_size);
	in->mem.children = inst_area ? inst_area + in->mem.rows_size :
				       memory_new(in->mem.children_size);
	in->mem.trees = memory_new(in->mem.trees_size);
	if (nr_slots)
		in->locals = memory_new(nr_slots * sizeof(*in->locals));
	if (!in->mem.rows || !in->mem.children || !in->mem.trees ||
	    (nr_slots && !in->locals)) {
		inst_exit(in);
		return -ENOMEM;
	}
	in->nr_slots = nr_slots;
	memset(&in->llf, 0xa5, sizeof(in->llf));
	err = llfree_init(&in->llf, first, nr, &in->mem, mode, policy);
	if (!err)
		err = inst_start(in);
	if (err)
		inst_exit(in);
	return err;
}

int inst_reinit(struct inst *in, enum llfree_mode mode)
{
	unsigned long first = in->llf.first;
	unsigned long nr = in->llf.end - first;
	const struct llfree_policy *policy = in->llf.policy;
	int err;

	memset(&in->llf, 0xa5, sizeof(in->llf));
	memset(in->mem.trees, 0xa5, in->mem.trees_size);
	err = llfree_init(&in->llf, first, nr, &in->mem, mode, policy);
	return err ? err : inst_start(in);
}

void inst_exit(struct inst *in)
{
	if (!in->placed) {
		memory_free(in->mem.rows, in->mem.rows_size);
		memory_free(in->mem.children, in->mem.children_size);
	}
	memory_free(in->mem.trees, in->mem.trees_size);
	memory_free(in->locals, in->nr_slots * sizeof(*in->locals));
	memset(in, 0, sizeof(*in));
}

const char *inst_check(struct inst *in)
{
	static char why[256];
	struct llfree_stats exact;
	struct llfree_fault fault;
	int err, v;

	if (shim_warnings) {
		snprintf(why, sizeof(why), "%u warnings", shim_warnings);
		return why;
	}
	if (shim_preempt_count) {
		snprintf(why, sizeof(why), "preemption count %d",
			 shim_preempt_count);
		return why;
	}
	memset(&fault, 0, sizeof(fault));
	err = llfree_validate(&in->llf, &fault);
	if (err) {
		snprintf(why, sizeof(why),
			 "validate: %d, %s at frame %#lx: expected %ld, found %ld",
			 err, fault.what ?: "?", fault.frame, fault.expected,
			 fault.found);
		return why;
	}
	llfree_stats_exact(&in->llf, &exact);
	for (v = 0; v < LLFREE_NR_VIEWS; v++) {
		if (in->start.frames[v] + in->sum.frames[v] != exact.frames[v] ||
		    in->start.huge[v] + in->sum.huge[v] != exact.huge[v]) {
			snprintf(why, sizeof(why),
				 "view %d: deltas say %ld frames, %ld huge; exact %lu, %lu",
				 v, (long)in->start.frames[v] + in->sum.frames[v],
				 (long)in->start.huge[v] + in->sum.huge[v],
				 exact.frames[v], exact.huge[v]);
			return why;
		}
	}
	return "";
}

long inst_alloc(struct inst *in, int slot, unsigned int order)
{
	return inst_alloc_class(in, slot, order, 0, 0);
}

long inst_alloc_view(struct inst *in, int slot, unsigned int order,
		     unsigned int view)
{
	struct llfree_request req = {
		.slot = slot, .order = order, .view = view,
	};

	return llfree_alloc(&in->llf, &req, &in->sum);
}

long inst_alloc_class(struct inst *in, int slot, unsigned int order,
		      unsigned int class, unsigned int flags)
{
	struct llfree_request req = {
		.slot = slot, .order = order, .class = class, .flags = flags,
	};

	return llfree_alloc(&in->llf, &req, &in->sum);
}

long inst_alloc_fast(struct llfree *llf, const struct llfree_request *req,
		     struct llfree_delta *delta)
{
	struct llfree_delta some;
	unsigned int whole;
	long frame;
	int v;

	if (req->slot < 0 || req->slot >= (int)llf->nr_slots ||
	    req->class >= llf->policy->nr_classes ||
	    req->view != LLFREE_VIEW_NORMAL || req->order > LLFREE_MAX_ORDER ||
	    req->flags & ~LLFREE_ALLOC_FLAGS)
		return llfree_alloc_slow(llf, req, delta);

	/* The function has to initialise the delta. */
	memset(&some, 0xa5, sizeof(some));
	frame = llfree_alloc_fast(llf, req->slot, req->order, req->class, &whole,
				  &some);
	if (frame >= 0) {
		delta->frames[LLFREE_VIEW_NORMAL] -= 1 << req->order;
		delta->huge[LLFREE_VIEW_NORMAL] -= whole;
		return frame;
	}
	for (v = 0; v < LLFREE_NR_VIEWS; v++) {
		delta->frames[v] += some.frames[v];
		delta->huge[v] += some.huge[v];
	}
	if (frame != -EAGAIN || some.did)
		return -EPROTO;
	return llfree_alloc_slow(llf, req, delta);
}

int inst_free_fast(struct llfree *llf, int slot, unsigned long frame,
		   unsigned int order, struct llfree_delta *delta)
{
	unsigned int view;
	int ret;

	if (order > LLFREE_CHILD_ORDER)
		return llfree_free(llf, slot, frame, order, delta);
	ret = llfree_free_fast(llf, slot, frame, order);
	if (ret < 0)
		return ret;
	view = ret & LLFREE_FREED_VIEW;
	if (view >= LLFREE_NR_VIEWS || ret & ~(LLFREE_FREED_VIEW | LLFREE_FREED_WHOLE))
		return -EPROTO;
	delta->frames[view] += 1 << order;
	delta->huge[view] += !!(ret & LLFREE_FREED_WHOLE);
	return 0;
}

int mask_blocks(u64 mask, unsigned int order)
{
	const unsigned int size = 1U << order;
	int nr = 0, i;
	u64 block;

	for (i = 0; i < LLFREE_ROW_FRAMES; i += size) {
		block = GENMASK_ULL(size - 1, 0) << i;
		if ((mask & block) == block)
			nr++;
		else if (mask & block)
			return -1;
	}
	return nr;
}

long inst_alloc_batch(struct llfree *llf, const struct llfree_request *req,
		      unsigned int nr, u64 *masks, struct llfree_delta *delta)
{
	long child = llfree_alloc_batch(llf, req, nr, masks, delta);
	unsigned int blocks, row;

	if (child < 0)
		return child;
	for (row = 0; row < LLFREE_CHILD_ROWS; row++)
		if (mask_blocks(masks[row], req->order) < 0)
			return -EPROTO;
	blocks = batch_frames(masks) >> req->order;
	if (!blocks || blocks > nr || !IS_ALIGNED(child, LLFREE_CHILD_FRAMES))
		return -EPROTO;
	return child;
}

int inst_free(struct inst *in, int slot, unsigned long frame,
	      unsigned int order)
{
	return llfree_free(&in->llf, slot, frame, order, &in->sum);
}

int inst_set_view(struct inst *in, unsigned long frame, enum llfree_view view)
{
	return llfree_set_view(&in->llf, frame, view, &in->sum);
}

unsigned long inst_free_frames(struct inst *in)
{
	struct llfree_stats stats;
	unsigned long sum = 0;
	int v;

	llfree_stats_exact(&in->llf, &stats);
	for (v = 0; v < LLFREE_NR_VIEWS; v++)
		sum += stats.frames[v];
	return sum;
}

u64 rng_seed(void)
{
	u32 seed;

	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		seed = 1;
	return seed;
}
