// SPDX-License-Identifier: GPL-2.0
/*
 * Random operations on the core and on the model side by side. What the core
 * answers must be what the model answers; where the core may choose (get), the
 * model must agree that the choice was possible.
 */
#include <linux/align.h>
#include <linux/bits.h>
#include <linux/bitops.h>
#include <linux/minmax.h>
#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "inst.h"
#include "kselftest.h"
#include "model.h"

struct options {
	u64 seed;
	unsigned long ops;
	unsigned long tests;
	unsigned long check;
	bool verbose;
};

struct diff {
	struct inst in;
	struct model m;
	struct rng rng;
	unsigned long op;
	/* percentage of gets among gets and puts; drifts to fill and to empty */
	unsigned int fill;
	/* A pair was taken and put back, or may have been: marks may be gone. */
	bool marks_lost;
	bool verbose;
	bool failed;
};

static const char *const view_names[] = { "normal", "cma", "highatomic",
					  "isolated" };

/* The first failure counts; what follows from it is of no interest. */
static void __printf(3, 4) fail(struct diff *d, int line, const char *fmt, ...)
{
	char why[256];
	va_list ap;

	if (d->failed)
		return;
	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	ksft_print_msg("op %lu, line %d: %s\n", d->op, line, why);
	d->failed = true;
}

#define FAIL(d, fmt, ...)	fail(d, __LINE__, fmt, ##__VA_ARGS__)

static void __printf(2, 3) note(struct diff *d, const char *fmt, ...)
{
	char what[256];
	va_list ap;

	if (!d->verbose)
		return;
	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	ksft_print_msg("%lu: %s\n", d->op, what);
}

static unsigned int pick(struct diff *d, unsigned int below)
{
	return rng_below(&d->rng, below);
}

static bool chance(struct diff *d, unsigned int percent)
{
	return pick(d, 100) < percent;
}

static unsigned long pick_frame(struct diff *d)
{
	return d->m.first + rng_below(&d->rng, d->m.end - d->m.first);
}

/* Mostly inside, sometimes just outside or far away */
static unsigned long pick_any_frame(struct diff *d)
{
	if (!chance(d, 3))
		return pick_frame(d);
	switch (pick(d, 4)) {
	case 0:
		return d->m.end + pick(d, 1024);
	case 1:
		return d->m.first - 1 - pick(d, 1024);
	case 2:
		return rng_next(&d->rng);
	default:
		return ULONG_MAX - pick(d, 1024);
	}
}

static int pick_slot(struct diff *d)
{
	return (int)pick(d, d->in.nr_slots + 1) - 1;
}

static unsigned int pick_view(struct diff *d)
{
	/* Other views have few children: most gets go to the normal one. */
	return chance(d, 80) ? LLFREE_VIEW_NORMAL : pick(d, LLFREE_ALLOC_VIEWS);
}

static unsigned int pick_order(struct diff *d)
{
	return chance(d, 50) ? pick(d, 4) : pick(d, LLFREE_NR_ORDERS);
}

/* After each operation: what it says it changed is what the model changed. */
static void compare_delta(struct diff *d, const struct llfree_delta *delta)
{
	int v;

	for (v = 0; v < LLFREE_NR_VIEWS; v++) {
		if (delta->frames[v] != d->m.changed.frames[v])
			FAIL(d, "%s frames changed by %d, not %d",
			     view_names[v], delta->frames[v],
			     d->m.changed.frames[v]);
		if (delta->huge[v] != d->m.changed.huge[v])
			FAIL(d, "%s huge changed by %d, not %d", view_names[v],
			     delta->huge[v], d->m.changed.huge[v]);
		d->in.sum.frames[v] += delta->frames[v];
		d->in.sum.huge[v] += delta->huge[v];
	}
	memset(&d->m.changed, 0, sizeof(d->m.changed));
}

/* NOFRAGMENT may fail only if no unreserved tree that suits has a block. */
static bool nofragment_may_fail(struct diff *d, const struct llfree_request *req)
{
	struct llfree_child child;
	unsigned long f;

	for (f = d->m.base; f < d->m.end; f += LLFREE_TREE_FRAMES) {
		if (llfree_child(&d->in.llf, max(f, d->m.first), &child))
			continue;
		if (child.tree_reserved || (child.class != req->class &&
					    child.class != LLFREE_CLASS_NONE))
			continue;
		if (model_has_block(&d->m, f, min(f + LLFREE_TREE_FRAMES, d->m.end),
				    req->order, req->view))
			return false;
	}
	return true;
}

static void check_got(struct diff *d, const struct llfree_request *req,
		      unsigned long frame, unsigned long nr)
{
	if (!IS_ALIGNED(frame, nr))
		FAIL(d, "frame %#lx not aligned to %lu", frame, nr);
	else if (!model_all_free(&d->m, frame, nr, MODEL_ANY_VIEW))
		FAIL(d, "frame %#lx order %d was not free", frame, req->order);
	else if (!model_all_free(&d->m, frame, nr, req->view))
		FAIL(d, "frame %#lx order %d is not of view %s", frame,
		     req->order, view_names[req->view]);
	else
		model_mark(&d->m, frame, nr, true);
}

static void check_did(struct diff *d, const struct llfree_request *req,
		      const struct llfree_delta *delta)
{
	unsigned int taken = LLFREE_DID_DEMOTE | LLFREE_DID_STEAL;

	if ((delta->did & taken) == taken)
		FAIL(d, "tree was both demoted and stolen from");
	if ((req->flags & LLFREE_GET_NOFRAGMENT) &&
	    ((delta->did & LLFREE_DID_STEAL) ||
	     ((delta->did & LLFREE_DID_DEMOTE) &&
	      delta->huge[LLFREE_VIEW_NORMAL] >= 0)))
		FAIL(d, "NOFRAGMENT mixed with another class");
	if ((delta->did & LLFREE_DID_RESERVE) &&
	    (req->slot < 0 || req->view != LLFREE_VIEW_NORMAL))
		FAIL(d, "reserved a tree without a slot");
	if ((delta->did & taken) && delta->old_class == req->class)
		FAIL(d, "took a tree from its own class");
}

static void check_nothing(struct diff *d, const struct llfree_request *req)
{
	if ((req->flags & LLFREE_GET_NOFRAGMENT) &&
	    req->view == LLFREE_VIEW_NORMAL) {
		if (!nofragment_may_fail(d, req))
			FAIL(d, "NOFRAGMENT order %d class %d: a block is there",
			     req->order, req->class);
		return;
	}
	if (model_has_block(&d->m, d->m.first, d->m.end, req->order, req->view))
		FAIL(d, "no memory for order %d view %s, but a block is there",
		     req->order, view_names[req->view]);
	/* Order 0 needs no hint: there is the number of free frames. */
	if (req->order &&
	    llfree_may_have_order(&d->in.llf, req->order, req->view))
		FAIL(d, "hint for order %d view %s is up after a failed get",
		     req->order, view_names[req->view]);
}

static struct llfree_request pick_request(struct diff *d)
{
	return (struct llfree_request) {
		.slot = pick_slot(d),
		.order = pick_order(d),
		.class = pick(d, d->in.llf.policy->nr_classes),
		.view = pick_view(d),
		.flags = chance(d, 10) ? LLFREE_GET_NOFRAGMENT : 0,
	};
}

/* Spoils one field; the request must then be refused. */
static void spoil_request(struct diff *d, struct llfree_request *req,
			  unsigned int max_order)
{
	switch (pick(d, 5)) {
	case 0:
		req->order = max_order + 1 + pick(d, 255 - max_order);
		break;
	case 1:
		req->class = d->in.llf.policy->nr_classes +
			     pick(d, 256 - d->in.llf.policy->nr_classes);
		break;
	case 2:
		req->view = LLFREE_VIEW_ISOLATED +
			    pick(d, 256 - LLFREE_VIEW_ISOLATED);
		break;
	case 3:
		req->slot = d->in.nr_slots + pick(d, 1000);
		break;
	default:
		req->slot = -2 - (int)pick(d, 1000);
	}
}

static void do_get(struct diff *d)
{
	struct llfree_request req = pick_request(d);
	struct llfree_delta delta = {};
	bool bad = chance(d, 2);
	long frame;

	if (bad)
		spoil_request(d, &req, LLFREE_MAX_ORDER);
	frame = llfree_get(&d->in.llf, &req, &delta);
	d->marks_lost |= req.order > LLFREE_CHILD_ORDER;
	note(d, "get slot %d order %d class %d view %d flags %d = %#lx",
	     req.slot, req.order, req.class, req.view, req.flags, frame);
	if (bad) {
		if (frame != -EINVAL)
			FAIL(d, "bad get returned %ld", frame);
	} else if (frame >= 0) {
		check_got(d, &req, frame, 1UL << req.order);
		check_did(d, &req, &delta);
	} else if (frame == -ENOMEM) {
		check_nothing(d, &req);
	} else {
		FAIL(d, "get returned %ld", frame);
	}
	compare_delta(d, &delta);
}

static void do_get_bulk(struct diff *d)
{
	struct llfree_request req = pick_request(d);
	struct llfree_delta delta = {};
	unsigned int nr = 1 + (chance(d, 50) ? pick(d, 64) : pick(d, 4));
	unsigned int i, size, blocks = 0;
	bool bad = chance(d, 2);
	u64 mask = 0, block;
	long frame;

	req.order = pick(d, LLFREE_ROW_ORDER + 1);
	if (chance(d, 3))
		nr += 1000;
	if (bad) {
		if (pick(d, 6))
			spoil_request(d, &req, LLFREE_ROW_ORDER);
		else
			nr = 0;
	}
	frame = llfree_get_bulk(&d->in.llf, &req, nr, &mask, &delta);
	note(d, "get_bulk slot %d order %d class %d view %d flags %d nr %u = %#lx %#llx",
	     req.slot, req.order, req.class, req.view, req.flags, nr, frame,
	     (unsigned long long)mask);
	if (bad) {
		if (frame != -EINVAL)
			FAIL(d, "bad get_bulk returned %ld", frame);
	} else if (frame == -ENOMEM) {
		check_nothing(d, &req);
	} else if (frame < 0) {
		FAIL(d, "get_bulk returned %ld", frame);
	} else if (!IS_ALIGNED(frame, LLFREE_ROW_FRAMES)) {
		FAIL(d, "get_bulk returned %#lx, not the start of a row", frame);
	} else {
		size = 1U << req.order;
		for (i = 0; i < LLFREE_ROW_FRAMES; i += size) {
			block = GENMASK_ULL(size - 1, 0) << i;
			if ((mask & block) == block) {
				check_got(d, &req, frame + i, size);
				blocks++;
			} else if (mask & block) {
				FAIL(d, "mask %#llx has part of a block",
				     (unsigned long long)mask);
			}
		}
		if (!blocks || blocks > nr)
			FAIL(d, "asked for %u blocks, got %u", nr, blocks);
		check_did(d, &req, &delta);
	}
	compare_delta(d, &delta);
}

/* A used block, found from a random frame; order -1 if none was found. */
static unsigned long pick_used(struct diff *d, int *order)
{
	unsigned long frame, block;
	int tries, max;

	for (tries = 0; tries < 16; tries++) {
		frame = pick_frame(d);
		if (!model_all_used(&d->m, frame, 1))
			continue;
		max = chance(d, 20) ? 12 : chance(d, 50) ? 10 : pick(d, 7);
		for (*order = max; *order >= 0; (*order)--) {
			block = ALIGN_DOWN(frame, 1UL << *order);
			if (model_all_used(&d->m, block, 1UL << *order))
				return block;
		}
	}
	*order = -1;
	return 0;
}

static void do_put(struct diff *d)
{
	struct llfree_delta delta = {};
	int order, slot = pick_slot(d);
	unsigned long frame;
	int ret, want = 0;

	if (chance(d, 5)) {
		/* Whatever it is: the model says whether it is right. */
		order = chance(d, 80) ? (int)pick(d, 13) : (int)pick(d, 34);
		frame = pick_any_frame(d);
		if (!chance(d, 10))
			frame = ALIGN_DOWN(frame, 1UL << order);
		if (chance(d, 5))
			slot = d->in.nr_slots + pick(d, 4);
	} else {
		frame = pick_used(d, &order);
		if (order < 0)
			return;
	}
	if (slot >= (int)d->in.nr_slots || !IS_ALIGNED(frame, 1UL << order) ||
	    !model_all_used(&d->m, frame, 1UL << order))
		want = -EINVAL;
	ret = llfree_put(&d->in.llf, slot, frame, order, &delta);
	note(d, "put slot %d frame %#lx order %d = %d", slot, frame, order, ret);
	if (ret != want)
		FAIL(d, "put slot %d frame %#lx order %d: %d, not %d", slot,
		     frame, order, ret, want);
	else if (!ret)
		model_mark(&d->m, frame, 1UL << order, false);
	compare_delta(d, &delta);
}

/* Bits of a row whose frames are inside and used, or free */
static u64 row_mask(struct diff *d, unsigned long row, bool used)
{
	u64 mask = 0;
	int i;

	for (i = 0; i < LLFREE_ROW_FRAMES; i++)
		if (used ? model_all_used(&d->m, row + i, 1) :
			   model_all_free(&d->m, row + i, 1, MODEL_ANY_VIEW))
			mask |= BIT_ULL(i);
	return mask;
}

static u64 pick_mask(struct diff *d)
{
	u64 mask = rng_next(&d->rng);

	switch (pick(d, 4)) {
	case 0:
		return ~0ULL;
	case 1:
		return mask & rng_next(&d->rng) & rng_next(&d->rng);
	case 2:
		return BIT_ULL(mask & 63);
	default:
		return mask;
	}
}

static void do_put_bulk(struct diff *d)
{
	unsigned long row = ALIGN_DOWN(pick_frame(d), LLFREE_ROW_FRAMES);
	u64 used = row_mask(d, row, true);
	struct llfree_delta delta = {};
	int ret, i, want = 0, slot = pick_slot(d);
	u64 mask = used & pick_mask(d);

	if (chance(d, 5)) {
		switch (pick(d, 4)) {
		case 0:
			mask = pick_mask(d);
			break;
		case 1:
			row += 1 + pick(d, 63);
			break;
		case 2:
			row = ALIGN_DOWN(pick_any_frame(d), LLFREE_ROW_FRAMES);
			used = row_mask(d, row, true);
			break;
		default:
			slot = d->in.nr_slots + pick(d, 4);
		}
	} else if (!mask) {
		return;
	}
	if (!mask || (mask & ~used) || slot >= (int)d->in.nr_slots ||
	    !IS_ALIGNED(row, LLFREE_ROW_FRAMES))
		want = -EINVAL;
	ret = llfree_put_bulk(&d->in.llf, slot, row, mask, &delta);
	note(d, "put_bulk slot %d row %#lx mask %#llx = %d", slot, row,
	     (unsigned long long)mask, ret);
	if (ret != want)
		FAIL(d, "put_bulk slot %d row %#lx mask %#llx: %d, not %d",
		     slot, row, (unsigned long long)mask, ret, want);
	else if (!ret)
		for (i = 0; i < LLFREE_ROW_FRAMES; i++)
			if (mask & BIT_ULL(i))
				model_mark(&d->m, row + i, 1, false);
	compare_delta(d, &delta);
}

static void do_claim(struct diff *d)
{
	unsigned int flags = chance(d, 30) ? LLFREE_CLAIM_HIDDEN : 0;
	unsigned int order = chance(d, 3) ? pick(d, 34) : pick_order(d);
	unsigned long frame = pick_any_frame(d);
	struct llfree_delta delta = {};
	unsigned long nr = 1UL << order;
	int ret, want = 0;

	if (!chance(d, 3))
		frame = ALIGN_DOWN(frame, nr);
	if (order > LLFREE_MAX_ORDER || !IS_ALIGNED(frame, nr) ||
	    !model_inside(&d->m, frame, nr))
		want = -EINVAL;
	else if (!model_all_free(&d->m, frame, nr, MODEL_ANY_VIEW))
		want = -EBUSY;
	else if (!(flags & LLFREE_CLAIM_HIDDEN) &&
		 model_touches_view(&d->m, frame, nr, LLFREE_VIEW_ISOLATED))
		want = -EBUSY;
	ret = llfree_claim(&d->in.llf, frame, order, flags, &delta);
	d->marks_lost |= order > LLFREE_CHILD_ORDER;
	note(d, "claim frame %#lx order %u flags %u = %d", frame, order, flags,
	     ret);
	if (ret != want)
		FAIL(d, "claim frame %#lx order %u flags %u: %d, not %d", frame,
		     order, flags, ret, want);
	else if (!ret)
		model_mark(&d->m, frame, nr, true);
	compare_delta(d, &delta);
}

static void do_claim_row(struct diff *d)
{
	unsigned int flags = chance(d, 30) ? LLFREE_CLAIM_HIDDEN : 0;
	unsigned long row = ALIGN_DOWN(pick_any_frame(d), LLFREE_ROW_FRAMES);
	u64 mask = pick_mask(d), claimed = 0, expect = 0;
	struct llfree_delta delta = {};
	long ret, want;
	int i;

	if (chance(d, 2))
		row += 1 + pick(d, 63);
	/* Bits outside the range belong to no free frame: nothing to claim. */
	if (!IS_ALIGNED(row, LLFREE_ROW_FRAMES) || row >= d->m.end ||
	    row + LLFREE_ROW_FRAMES <= d->m.first ||
	    row + LLFREE_ROW_FRAMES < row) {
		want = -EINVAL;
	} else if (!(flags & LLFREE_CLAIM_HIDDEN) &&
		   model_touches_view(&d->m, row, 1, LLFREE_VIEW_ISOLATED)) {
		want = -EBUSY;
	} else {
		expect = mask & row_mask(d, row, false);
		want = hweight64(expect);
	}
	ret = llfree_claim_row(&d->in.llf, row, mask, flags, &claimed, &delta);
	note(d, "claim_row row %#lx mask %#llx flags %u = %ld %#llx", row,
	     (unsigned long long)mask, flags, ret, (unsigned long long)claimed);
	if (ret != want || (ret >= 0 && claimed != expect))
		FAIL(d, "claim_row row %#lx mask %#llx flags %u: %ld %#llx, not %ld %#llx",
		     row, (unsigned long long)mask, flags, ret,
		     (unsigned long long)claimed, want,
		     (unsigned long long)expect);
	else
		for (i = 0; i < LLFREE_ROW_FRAMES; i++)
			if (expect & BIT_ULL(i))
				model_mark(&d->m, row + i, 1, true);
	compare_delta(d, &delta);
}

static void do_set_view(struct diff *d)
{
	unsigned int view = chance(d, 60) ? LLFREE_VIEW_NORMAL :
					    pick(d, LLFREE_NR_VIEWS);
	unsigned long frame = pick_any_frame(d);
	struct llfree_delta delta = {};
	int ret, want;

	if (chance(d, 2))
		view = LLFREE_NR_VIEWS + pick(d, 100);
	if (view >= LLFREE_NR_VIEWS || !model_inside(&d->m, frame, 1))
		want = -EINVAL;
	else if (d->m.view[model_child(&d->m, frame)] == view)
		want = -EALREADY;
	else
		want = d->m.view[model_child(&d->m, frame)];
	ret = llfree_set_view(&d->in.llf, frame, view, &delta);
	note(d, "set_view frame %#lx view %u = %d", frame, view, ret);
	if (ret != want)
		FAIL(d, "set_view frame %#lx view %u: %d, not %d", frame, view,
		     ret, want);
	else if (ret >= 0)
		model_set_view(&d->m, frame, view);
	compare_delta(d, &delta);
}

static void do_set_reported(struct diff *d)
{
	unsigned long frame = pick_any_frame(d);
	int ret, want = 0;

	if (!model_inside(&d->m, frame, 1))
		want = -EINVAL;
	else if (d->m.free[model_child(&d->m, frame)] != LLFREE_CHILD_FRAMES)
		want = -EBUSY;
	ret = llfree_set_reported(&d->in.llf, frame);
	note(d, "set_reported frame %#lx = %d", frame, ret);
	if (ret != want)
		FAIL(d, "set_reported frame %#lx: %d, not %d", frame, ret, want);
	else if (!ret)
		d->m.reported[model_child(&d->m, frame)] = 1;
}

static void do_set_class(struct diff *d)
{
	unsigned int class = pick(d, d->in.llf.policy->nr_classes);
	unsigned long frame = pick_any_frame(d);
	struct llfree_child before, after;
	int ret, want = 0;

	if (chance(d, 2))
		class = d->in.llf.policy->nr_classes + pick(d, 100);
	if (llfree_child(&d->in.llf, frame, &before) ||
	    class >= d->in.llf.policy->nr_classes)
		want = -EINVAL;
	else if (before.tree_reserved)
		want = -EBUSY;
	ret = llfree_set_class(&d->in.llf, frame, class);
	note(d, "set_class frame %#lx class %u = %d", frame, class, ret);
	if (ret != want)
		FAIL(d, "set_class frame %#lx class %u: %d, not %d", frame,
		     class, ret, want);
	if (ret)
		return;
	if (llfree_child(&d->in.llf, frame, &after))
		FAIL(d, "child %#lx is gone", frame);
	else if (after.class != class && after.class != LLFREE_CLASS_NONE)
		FAIL(d, "class is %u, not %u", after.class, class);
}

static void do_drain(struct diff *d)
{
	bool bad = chance(d, 5);
	int slot = bad ? (int)d->in.nr_slots + (int)pick(d, 4) : pick_slot(d);
	struct llfree_stats stats;
	int ret;

	ret = llfree_drain(&d->in.llf, slot);
	note(d, "drain %d = %d", slot, ret);
	if (ret != (bad ? -EINVAL : 0))
		FAIL(d, "drain %d: %d", slot, ret);
	if (ret || slot >= 0)
		return;
	llfree_stats_exact(&d->in.llf, &stats);
	if (stats.reserved)
		FAIL(d, "%lu trees reserved after drain", stats.reserved);
}

/* Other slots, or the same memory after an orderly stop or a crash */
static void do_restart(struct diff *d)
{
	enum llfree_mode mode;
	unsigned long i;
	int ret;

	switch (pick(d, 3)) {
	case 0:
		if (!d->in.nr_slots)
			return;
		note(d, "set_slots");
		ret = llfree_drain(&d->in.llf, -1);
		if (!ret)
			ret = llfree_set_slots(&d->in.llf, NULL, 0);
		if (!ret)
			ret = llfree_set_slots(&d->in.llf, d->in.locals,
					       d->in.nr_slots);
		if (ret)
			FAIL(d, "set_slots: %d", ret);
		return;
	case 1:
		mode = LLFREE_INIT_KEEP;
		break;
	default:
		mode = LLFREE_INIT_RECOVER;
		/* A crash loses counters, not views. */
		for (i = 0; i < d->m.nr_children; i++) {
			((u16 *)d->in.mem.children)[i] &= ~GENMASK(9, 0);
			((u16 *)d->in.mem.children)[i] |= pick(d, 513);
			d->m.reported[i] = 0;
		}
	}
	note(d, "init mode %d", mode);
	ret = inst_reinit(&d->in, mode);
	if (ret)
		FAIL(d, "init mode %d: %d", mode, ret);
}

static void check_child(struct diff *d, unsigned long frame)
{
	unsigned long c = model_child(&d->m, frame);
	struct llfree_child child;
	int ret;

	ret = llfree_child(&d->in.llf, frame, &child);
	if (ret) {
		FAIL(d, "child of %#lx: %d", frame, ret);
		return;
	}
	if (child.frame != d->m.base + c * LLFREE_CHILD_FRAMES ||
	    child.free != d->m.free[c] || child.view != d->m.view[c] ||
	    child.reported > d->m.reported[c] ||
	    (child.reported < d->m.reported[c] && !d->marks_lost))
		FAIL(d, "child %#lx free %u view %u reported %u, not free %u view %u reported %u",
		     child.frame, child.free, child.view, child.reported,
		     d->m.free[c], d->m.view[c], d->m.reported[c]);
	d->m.reported[c] = child.reported;
	if (child.class != LLFREE_CLASS_NONE &&
	    child.class >= d->in.llf.policy->nr_classes)
		FAIL(d, "child %#lx has class %u", child.frame, child.class);
	ret = llfree_child_stable(&d->in.llf, frame);
	if (ret != d->m.free[c])
		FAIL(d, "child_stable %#lx: %d, not %u", frame, ret,
		     d->m.free[c]);
}

static void check_queries(struct diff *d)
{
	unsigned long nr[LLFREE_NR_ORDERS], want[LLFREE_NR_ORDERS];
	unsigned long one[LLFREE_NR_ORDERS];
	int v, o, class;

	for (v = 0; v < LLFREE_NR_VIEWS; v++) {
		llfree_count_orders(&d->in.llf, v, -1, nr);
		model_count_orders(&d->m, v, want);
		for (o = 0; o < LLFREE_NR_ORDERS; o++)
			if (nr[o] != want[o])
				FAIL(d, "%lu blocks of order %d view %s, not %lu",
				     nr[o], o, view_names[v], want[o]);
		/* The classes, and no class, add up. */
		memset(want, 0, sizeof(want));
		for (class = 0; class <= LLFREE_CLASS_NONE; class++) {
			llfree_count_orders(&d->in.llf, v, class, one);
			for (o = 0; o < LLFREE_NR_ORDERS; o++)
				want[o] += one[o];
		}
		for (o = 0; o < LLFREE_NR_ORDERS; o++)
			if (nr[o] != want[o])
				FAIL(d, "%lu blocks of order %d view %s, by class %lu",
				     nr[o], o, view_names[v], want[o]);
		if (v >= LLFREE_ALLOC_VIEWS)
			continue;
		for (o = 0; o < LLFREE_NR_ORDERS; o++)
			if (!llfree_may_have_order(&d->in.llf, o, v) &&
			    model_has_block(&d->m, d->m.first, d->m.end, o, v))
				FAIL(d, "hint hides order %d view %s", o,
				     view_names[v]);
	}
}

static void check_stats(struct diff *d)
{
	unsigned long frames[LLFREE_NR_VIEWS] = {}, huge[LLFREE_NR_VIEWS] = {};
	struct llfree_stats stats;
	const char *why;
	unsigned long c;
	int v;

	for (c = 0; c < d->m.nr_children; c++) {
		frames[d->m.view[c]] += d->m.free[c];
		huge[d->m.view[c]] += d->m.free[c] == LLFREE_CHILD_FRAMES;
	}
	llfree_stats_exact(&d->in.llf, &stats);
	for (v = 0; v < LLFREE_NR_VIEWS; v++)
		if (stats.frames[v] != frames[v] || stats.huge[v] != huge[v])
			FAIL(d, "view %s has %lu frames, %lu huge, not %lu, %lu",
			     view_names[v], stats.frames[v], stats.huge[v],
			     frames[v], huge[v]);
	why = inst_check(&d->in);
	if (*why)
		FAIL(d, "%s", why);
}

static void check_all(struct diff *d)
{
	unsigned long f;
	u64 mask;
	int ret;

	for (f = d->m.base; f < d->m.end && !d->failed; f += LLFREE_ROW_FRAMES) {
		unsigned long any = min(f + pick(d, 64), d->m.end - 1);

		mask = row_mask(d, f, false);
		if (llfree_free_mask(&d->in.llf, any) != mask)
			FAIL(d, "row %#lx: %#llx free, not %#llx", f,
			     (unsigned long long)llfree_free_mask(&d->in.llf, f),
			     (unsigned long long)mask);
	}
	for (f = d->m.first; f < d->m.end && !d->failed; f++) {
		/* All frames of a large range would take long. */
		if (d->m.end - d->m.first > 8192 && pick(d, 16))
			continue;
		ret = llfree_free_order(&d->in.llf, f);
		if (ret != model_free_order(&d->m, f))
			FAIL(d, "frame %#lx: free order %d, not %d", f, ret,
			     model_free_order(&d->m, f));
	}
	if (llfree_free_order(&d->in.llf, d->m.end) != -1 ||
	    llfree_free_order(&d->in.llf, d->m.first - 1) != -1)
		FAIL(d, "frame outside is free");
	for (f = d->m.first; f < d->m.end && !d->failed; f = llfree_next_child(f))
		check_child(d, f);
	d->marks_lost = false;
	check_queries(d);
	check_stats(d);
}

static void step(struct diff *d)
{
	unsigned int what = pick(d, 1000);

	if (what < 860) {
		bool get = chance(d, d->fill);

		if (chance(d, 60))
			get ? do_get(d) : do_put(d);
		else
			get ? do_get_bulk(d) : do_put_bulk(d);
	} else if (what < 900) {
		do_claim(d);
	} else if (what < 930) {
		do_claim_row(d);
	} else if (what < 960) {
		do_set_view(d);
	} else if (what < 975) {
		do_set_class(d);
	} else if (what < 985) {
		do_set_reported(d);
	} else if (what < 999) {
		do_drain(d);
	} else if (chance(d, 10)) {
		do_restart(d);
	}
	if (!pick(d, 2000))
		d->fill = 20 + pick(d, 61);
}

/* Policies other than the default one, at both ends of what is allowed */
static enum llfree_level plain_rate(unsigned int class, unsigned int tree,
				    unsigned int free)
{
	if (free == LLFREE_TREE_FRAMES)
		return LLFREE_LEVEL_FREE;
	return tree == class ? LLFREE_LEVEL_MATCH : LLFREE_LEVEL_STEAL;
}

static enum llfree_level picky_rate(unsigned int class, unsigned int tree,
				    unsigned int free)
{
	if (free == LLFREE_TREE_FRAMES)
		return LLFREE_LEVEL_FREE;
	if (tree == class)
		return free > 64 ? LLFREE_LEVEL_MATCH : LLFREE_LEVEL_SPARSE;
	return (class + tree) & 1 ? LLFREE_LEVEL_REJECT : LLFREE_LEVEL_DEMOTE;
}

static const struct llfree_policy policies[] = {
	{ .nr_classes = 1, .near = 1, .rate = plain_rate },
	{ .nr_classes = LLFREE_MAX_CLASSES, .init_class = 3, .near = 4,
	  .rate = picky_rate },
};

static void pick_shape(struct diff *d, unsigned long *first, unsigned long *nr)
{
	switch (pick(d, 8)) {
	case 0:	/* one frame to one row */
		*nr = 1 + pick(d, 64);
		break;
	case 1:	/* less than a child */
		*nr = 1 + pick(d, 511);
		break;
	case 2:	/* about a child */
		*nr = 500 + pick(d, 1000);
		break;
	case 3:	/* exactly one tree */
		*nr = LLFREE_TREE_FRAMES;
		break;
	case 4:
		*nr = 4 * LLFREE_TREE_FRAMES;
		break;
	case 5:
		*nr = LLFREE_TREE_FRAMES + pick(d, 6 * LLFREE_TREE_FRAMES);
		break;
	default:
		*nr = 1 + pick(d, 3 * LLFREE_TREE_FRAMES);
	}
	switch (pick(d, 4)) {
	case 0:
		*first = 0;
		break;
	case 1:
		*first = LLFREE_TREE_FRAMES * (1 + pick(d, 1000));
		break;
	case 2:
		*first = LLFREE_MAX_FRAMES - *nr - pick(d, 2);
		break;
	default:
		*first = pick(d, 1000000);
	}
}

static void run_one(const struct options *opt, u64 seed)
{
	static const unsigned int slots[] = { 0, 1, 2, 3, 8, 40 };
	struct diff d = { .rng.state = seed, .verbose = opt->verbose };
	const struct llfree_policy *policy = NULL;
	unsigned int policy_nr, nr_slots;
	unsigned long first, nr;
	bool alloc;
	int err;

	pick_shape(&d, &first, &nr);
	policy_nr = pick(&d, ARRAY_SIZE(policies) + 2);
	if (policy_nr < ARRAY_SIZE(policies))
		policy = &policies[policy_nr];
	nr_slots = slots[pick(&d, ARRAY_SIZE(slots))];
	alloc = chance(&d, 25);
	d.fill = alloc ? 30 : 60;

	err = model_init(&d.m, first, nr, alloc);
	if (!err)
		err = inst_init(&d.in, first, nr,
				alloc ? LLFREE_INIT_ALLOC : LLFREE_INIT_FREE,
				policy, nr_slots);
	if (err)
		ksft_exit_fail_msg("init %#lx+%#lx: %d\n", first, nr, err);
	check_all(&d);
	for (d.op = 1; d.op <= opt->ops && !d.failed; d.op++) {
		step(&d);
		if (d.op % opt->check == 0)
			check_all(&d);
	}
	if (!d.failed)
		check_all(&d);
	ksft_test_result(!d.failed,
			 "differential --tests 1 --seed %llu --ops %lu --check %lu (%lu frames from %#lx, %u slots, %u classes)\n",
			 (unsigned long long)seed, opt->ops, opt->check, nr,
			 first, nr_slots, d.in.llf.policy->nr_classes);
	inst_free(&d.in);
	model_destroy(&d.m);
}

static const struct argp_option argp_options[] = {
	{ "seed", 's', "N", 0, "seed of the first test; random by default", 0 },
	{ "tests", 't', "N", 0, "tests to run, seeds counting up (50)", 0 },
	{ "ops", 'n', "N", 0, "operations of each test (20000)", 0 },
	{ "check", 'c', "N", 0, "compare everything after N operations (1000)", 0 },
	{ "verbose", 'v', NULL, 0, "print each operation", 0 },
	{}
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *opt = state->input;
	unsigned long long n = 0;
	char *end;

	if (arg) {
		n = strtoull(arg, &end, 0);
		if (end == arg || *end || (!n && key != 's'))
			argp_error(state, "not a count: %s", arg);
	}
	switch (key) {
	case 's':
		opt->seed = n;
		return 0;
	case 't':
		opt->tests = n;
		return 0;
	case 'n':
		opt->ops = n;
		return 0;
	case 'c':
		opt->check = n;
		return 0;
	case 'v':
		opt->verbose = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		.options = argp_options,
		.parser = parse,
		.doc = "Random operations on the core, compared with a bitmap",
	};
	struct options opt = {
		.seed = rng_seed(), .tests = 50, .ops = 20000, .check = 1000,
	};
	unsigned long i;

	argp_parse(&argp, argc, argv, 0, NULL, &opt);
	ksft_print_header();
	ksft_set_plan(opt.tests);
	for (i = 0; i < opt.tests; i++)
		run_one(&opt, opt.seed + i);
	ksft_finished();
}
