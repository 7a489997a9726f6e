// SPDX-License-Identifier: GPL-2.0
/*
 * Torture test of the page allocator, context "core": actors allocate and free
 * frames of an instance of lib/llfree/ that has made-up frames.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cpumask.h>
#include <linux/ktime.h>
#include <linux/llfree.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "page_alloc_torture.h"

/* Not aligned, and large enough for slots, which CPUs have to share */
#define CORE_FIRST	(0x100000UL + 3 * LLFREE_CHILD_FRAMES + 77)
#define CORE_FRAMES	(36 * LLFREE_MIN_TREE_FRAMES + 111)
/*
 * Most frames are taken at the start, so that the core runs out of free frames
 * again and again.
 */
#define CORE_FREE	(num_online_cpus() * LLFREE_MIN_TREE_FRAMES)
#define CORE_PLUG	1U

static struct llfree core;
static struct llfree_memory core_mem;
static struct llfree_local *core_locals;
/* For each frame, 0 or the upper half of its owner's word */
static u32 *core_owner;
static DEFINE_MUTEX(core_views);	/* serialises changes of views */

static u32 core_id(const struct actor *a)
{
	return WORD_MAGIC << 16 | a->ctx << 12 | a->cpu;
}

static void core_own(const struct actor *a, unsigned long frame, u32 from,
		     u32 to)
{
	u32 old = cmpxchg(&core_owner[frame - CORE_FIRST], from, to);

	if (unlikely(old != from) && torture_problem())
		WARN(1, "core: frame %#lx: owner %#x instead of %#x, in %s on CPU %u\n",
		     frame, old, from, torture_ctx_names[a->ctx], a->cpu);
}

static unsigned long core_nr(const struct core_held *h)
{
	unsigned long nr = 0;
	unsigned int row;

	if (!h->batch)
		return 1UL << h->order;
	for (row = 0; row < LLFREE_CHILD_ROWS; row++)
		nr += hweight64(h->masks[row]);
	return nr;
}

static void core_own_all(const struct actor *a, const struct core_held *h,
			 u32 from, u32 to)
{
	unsigned long i, frame = h->frame;
	unsigned int row;
	u64 mask;

	if (!h->batch) {
		for (i = 0; i < 1UL << h->order; i++)
			core_own(a, frame + i, from, to);
		return;
	}
	for (row = 0; row < LLFREE_CHILD_ROWS; row++, frame += LLFREE_ROW_FRAMES)
		for (mask = h->masks[row]; mask; mask &= mask - 1)
			core_own(a, frame + __ffs64(mask), from, to);
}

static void core_delta(struct actor *a, const struct llfree_delta *delta)
{
	unsigned int view;

	for (view = 0; view < LLFREE_NR_VIEWS; view++)
		a->frames[view] += delta->frames[view];
}

/*
 * Choose more large blocks than for pages, since large blocks race with other
 * operations most.
 */
static unsigned int core_order(struct actor *a)
{
	u32 r = rnd(a, 100);

	if (a->ctx != CTX_TASK || r < 50)
		return torture_pick_order(a);
	return r < 80 ? LLFREE_ROW_ORDER + 1 + rnd(a, 2) :
			LLFREE_CHILD_ORDER + rnd(a, 2);
}

static int core_slot(struct actor *a)
{
	if (!core.nr_slots || !rnd(a, 8))
		return LLFREE_NO_SLOT;
	return a->cpu % core.nr_slots;
}

static void core_alloc(struct actor *a, struct core_held *h)
{
	struct llfree_request req = {
		.slot = core_slot(a),
		.order = core_order(a),
		.class = rnd(a, LLFREE_NR_CLASSES),
		.view = rnd(a, 8) ? LLFREE_VIEW_NORMAL : LLFREE_VIEW_CMA,
		.flags = rnd(a, 8) ? 0 : LLFREE_ALLOC_NOFRAGMENT,
	};
	struct llfree_delta delta = { };
	unsigned int nr;
	long frame;
	u64 ns;

	h->order = req.order;
	h->batch = req.order <= LLFREE_ROW_ORDER && !rnd(a, 3);
	ns = ktime_get_mono_fast_ns();
	if (h->batch) {
		/* Now and then more frames than a row has */
		nr = 1 + rnd(a, rnd(a, 4) ? LLFREE_ROW_FRAMES : LLFREE_CHILD_FRAMES);
		frame = llfree_alloc_batch(&core, &req, nr, h->masks, &delta);
	} else if (a->ctx == CTX_TASK && !rnd(a, 8)) {
		frame = ALIGN_DOWN(CORE_FIRST + rnd(a, CORE_FRAMES),
				   1UL << req.order);
		if (llfree_claim(&core, frame, req.order,
				 rnd(a, 2) ? LLFREE_CLAIM_HIDDEN : 0, &delta))
			frame = -ENOMEM;
	} else {
		frame = llfree_alloc(&core, &req, &delta);
	}
	ns = ktime_get_mono_fast_ns() - ns;
	if (ns > a->core_counts.max_ns)
		a->core_counts.max_ns = ns;
	core_delta(a, &delta);
	if (frame < 0) {
		a->core_counts.failed++;
		return;
	}
	h->frame = frame;
	h->used = true;
	core_own_all(a, h, 0, core_id(a));
	a->core_counts.allocs++;
	a->core_counts.pages += core_nr(h);
}

static int core_free_rows(const struct core_held *h, int slot,
			  struct llfree_delta *delta)
{
	unsigned long frame = h->frame;
	unsigned int row;
	int ret = 0;

	for (row = 0; row < LLFREE_CHILD_ROWS && !ret; row++, frame += LLFREE_ROW_FRAMES)
		if (h->masks[row])
			ret = llfree_free_batch(&core, slot, frame, h->masks[row], delta);
	return ret;
}

static void core_free_one(struct actor *a, struct core_held *h)
{
	struct llfree_delta delta = { };
	int slot = core_slot(a), ret = 0;
	unsigned long i;

	core_own_all(a, h, core_id(a), 0);
	h->used = false;
	if (h->batch)
		ret = core_free_rows(h, slot, &delta);
	else if (h->order && h->order <= EXCHANGE_ORDER && !rnd(a, 4))
		for (i = 0; i < 1UL << h->order && !ret; i++)
			ret = llfree_free(&core, slot, h->frame + i, 0, &delta);
	else
		ret = llfree_free(&core, slot, h->frame, h->order, &delta);
	core_delta(a, &delta);
	if (ret && torture_problem())
		WARN(1, "core: free of frame %#lx order %u, %lu in all: %d, in %s on CPU %u\n",
		     h->frame, h->order, core_nr(h), ret, torture_ctx_names[a->ctx],
		     a->cpu);
	a->core_counts.frees++;
}

void torture_core_step(struct actor *a)
{
	struct core_held *h = &a->core[rnd(a, NR_HELD)];

	if (h->used) {
		if (!growing(a) || !rnd(a, 4))
			core_free_one(a, h);
	} else if (growing(a) || !rnd(a, 4)) {
		core_alloc(a, h);
	}
}

/* Change the view of a random child. */
void torture_core_set_view(struct actor *a)
{
	static const u8 views[] = {
		LLFREE_VIEW_NORMAL, LLFREE_VIEW_NORMAL, LLFREE_VIEW_NORMAL,
		LLFREE_VIEW_CMA, LLFREE_VIEW_HIGHATOMIC, LLFREE_VIEW_ISOLATED,
	};
	struct llfree_delta delta = { };

	mutex_lock(&core_views);
	llfree_set_view(&core, CORE_FIRST + rnd(a, CORE_FRAMES),
			views[rnd(a, ARRAY_SIZE(views))], &delta);
	mutex_unlock(&core_views);
	core_delta(a, &delta);
	if (core.nr_slots && !rnd(a, 8))
		llfree_drain(&core, rnd(a, core.nr_slots));
}

/* Leave some rows free here and there, and some whole children. */
static void core_plug(struct actor *a)
{
	const u32 share = CORE_FRAMES / min(CORE_FREE, CORE_FRAMES) * 2;
	struct core_held h = { .order = LLFREE_ROW_ORDER };
	struct llfree_delta delta = { };
	unsigned long end = CORE_FIRST + CORE_FRAMES;
	bool keep = false;

	for (h.frame = ALIGN(CORE_FIRST, LLFREE_ROW_FRAMES); h.frame < end;
	     h.frame += LLFREE_ROW_FRAMES) {
		if (IS_ALIGNED(h.frame, LLFREE_CHILD_FRAMES))
			keep = !rnd(a, share);
		if (keep || !rnd(a, share))
			continue;
		if (!llfree_claim(&core, h.frame, h.order, 0, &delta))
			core_own_all(a, &h, 0, CORE_PLUG);
	}
	core_delta(a, &delta);
}

static void core_unplug(struct actor *a)
{
	struct core_held h = { .order = LLFREE_ROW_ORDER };
	struct llfree_delta delta = { };
	unsigned long end = CORE_FIRST + CORE_FRAMES;

	for (h.frame = ALIGN(CORE_FIRST, LLFREE_ROW_FRAMES); h.frame < end;
	     h.frame += LLFREE_ROW_FRAMES) {
		if (READ_ONCE(core_owner[h.frame - CORE_FIRST]) != CORE_PLUG)
			continue;
		core_own_all(a, &h, CORE_PLUG, 0);
		if (llfree_free(&core, LLFREE_NO_SLOT, h.frame, h.order,
				&delta) && torture_problem())
			WARN(1, "core: free of row %#lx failed\n", h.frame);
	}
	core_delta(a, &delta);
}

static void core_free(void)
{
	vfree(core_mem.rows);
	vfree(core_mem.children);
	vfree(core_mem.trees);
	vfree(core_owner);
	kfree(core_locals);
	memset(&core_mem, 0, sizeof(core_mem));
	core_owner = NULL;
	core_locals = NULL;
}

int torture_core_start(void)
{
	unsigned int slots;
	int ret;

	ret = llfree_layout(CORE_FIRST, CORE_FRAMES, LLFREE_MIN_TREE_ORDER, &core_mem);
	if (ret)
		return ret;
	core_mem.rows = vzalloc(core_mem.rows_size);
	core_mem.children = vzalloc(core_mem.children_size);
	core_mem.trees = vzalloc(core_mem.trees_size);
	core_owner = vzalloc(CORE_FRAMES * sizeof(*core_owner));
	ret = -ENOMEM;
	if (!core_mem.rows || !core_mem.children || !core_mem.trees ||
	    !core_owner)
		goto fail;
	ret = llfree_init(&core, CORE_FIRST, CORE_FRAMES, &core_mem,
			  LLFREE_INIT_FREE, NULL);
	if (ret)
		goto fail;
	slots = min(nr_cpu_ids, llfree_max_slots(&core));
	if (slots) {
		core_locals = kzalloc(roundup_pow_of_two(slots *
							 sizeof(*core_locals)),
				      GFP_KERNEL);
		ret = core_locals ? llfree_set_slots(&core, core_locals, slots) :
				    -ENOMEM;
		if (ret)
			goto fail;
	}
	core_plug(per_cpu(torture_cpus, 0)->actor);
	return 0;
fail:
	core_free();
	return ret;
}

/* Check that the core reports all frames as free again. */
void torture_core_stop(void)
{
	s64 frames[LLFREE_NR_VIEWS] = { [LLFREE_VIEW_NORMAL] = CORE_FRAMES };
	struct llfree_fault fault = { };
	struct llfree_stats stats;
	unsigned int cpu, i, view;
	int ret;

	core_unplug(per_cpu(torture_cpus, 0)->actor);
	for_each_possible_cpu(cpu) {
		struct actor *a = per_cpu(torture_cpus, cpu)->actor;

		for (i = 0; i < NR_ACTORS; i++)
			for (view = 0; view < LLFREE_NR_VIEWS; view++)
				frames[view] += a[i].frames[view];
	}
	ret = llfree_validate(&core, &fault);
	if (ret && torture_problem())
		WARN(1, "core: %s at %#lx: %ld expected, %ld found\n",
		     fault.what ?: "error", fault.frame, fault.expected,
		     fault.found);
	llfree_stats_exact(&core, &stats);
	for (i = 0, view = 0; view < LLFREE_NR_VIEWS; view++) {
		i += stats.frames[view];
		if (stats.frames[view] != frames[view] && torture_problem())
			WARN(1, "core: %lu frames free in view %u, %lld reported\n",
			     stats.frames[view], view, frames[view]);
	}
	if (i != CORE_FRAMES && torture_problem())
		WARN(1, "core: %u frames of %lu came back\n", i, CORE_FRAMES);
	core_free();
}

/* Free all frames of an actor, which has ended or is the caller. */
void torture_core_free_all(struct actor *a)
{
	unsigned int i;

	for (i = 0; i < NR_HELD; i++)
		if (a->core[i].used)
			core_free_one(a, &a->core[i]);
}
