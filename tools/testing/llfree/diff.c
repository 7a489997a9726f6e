// SPDX-License-Identifier: GPL-2.0
#include <linux/align.h>
#include <linux/bits.h>
#include <linux/bitops.h>
#include <linux/minmax.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <shim/shim.h>

#include "diff.h"
#include "words.h"
#include "kselftest.h"

static const char *const view_names[] = { "normal", "cma", "highatomic",
					  "isolated" };

/* Only the first failure counts; later ones follow from it. */
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

static void __printf(2, 0) vnote(const struct diff *d, const char *fmt,
				 va_list ap)
{
	char what[256];

	vsnprintf(what, sizeof(what), fmt, ap);
	ksft_print_msg("%lu:%*s %s\n", d->number[d->depth], 4 * (int)d->depth,
		       "", what);
}

/* Announce the next operation, which takes or gives at most @frames. */
static void __printf(3, 4) begin(struct diff *d, unsigned long frames,
				 const char *fmt, ...)
{
	va_list ap;

	d->number[d->depth] = d->op;
	d->flying[d->depth] = frames;
	if (!d->depth) {
		d->mixed = false;
		d->only_takes = true;
		memset(&d->m.changed, 0, sizeof(d->m.changed));
	}
	if (!d->verbose)
		return;
	va_start(ap, fmt);
	vnote(d, fmt, ap);
	va_end(ap);
}

static void __printf(2, 3) note(const struct diff *d, const char *fmt, ...)
{
	va_list ap;

	if (!d->verbose)
		return;
	va_start(ap, fmt);
	vnote(d, fmt, ap);
	va_end(ap);
}

/*
 * No other operation runs between the call of the core and the change of the
 * model.
 */
#define CALL(d, expr)							\
({									\
	struct diff *__d = (d);						\
									\
	__d->running = true;						\
	__auto_type __ret = (expr);					\
	__d->running = false;						\
	__ret;								\
})

/* Was the operation neither interrupted nor an interrupt of another one? */
static bool alone(const struct diff *d)
{
	return !d->depth && !d->mixed;
}

static bool slot_exists(const struct diff *d, int slot)
{
	return slot >= LLFREE_NO_SLOT && slot < (int)d->in.llf.nr_slots;
}

/*
 * Compare the delta that an operation returned with the change of the model.
 * @frames: growth of the number of free frames
 */
static void compare_delta(struct diff *d, const struct llfree_delta *delta,
			  long frames)
{
	long sum = 0;
	int v;

	for (v = 0; v < LLFREE_NR_VIEWS; v++) {
		sum += delta->frames[v];
		d->in.sum.frames[v] += delta->frames[v];
		d->in.sum.huge[v] += delta->huge[v];
		if (!alone(d))
			continue;
		if (delta->frames[v] != d->m.changed.frames[v])
			FAIL(d, "%s frames changed by %d, not %d",
			     view_names[v], delta->frames[v],
			     d->m.changed.frames[v]);
		if (delta->huge[v] != d->m.changed.huge[v])
			FAIL(d, "%s huge changed by %d, not %d", view_names[v],
			     delta->huge[v], d->m.changed.huge[v]);
	}
	if (sum != frames)
		FAIL(d, "free frames changed by %ld, not %ld", sum, frames);
}

/* NOFRAGMENT may fail only if no suitable unreserved tree has a block. */
static bool nofragment_may_fail(struct diff *d, const struct llfree_request *req)
{
	struct llfree_child child;
	unsigned long f;

	for (f = d->m.base; f < d->m.end; f += d->in.llf.tree_frames) {
		if (llfree_child(&d->in.llf, max(f, d->m.first), &child))
			continue;
		if (child.tree_reserved || (child.class != req->class &&
					    child.class != LLFREE_CLASS_NONE))
			continue;
		if (model_has_block(&d->m, f, min(f + d->in.llf.tree_frames, d->m.end),
				    req->order, req->view))
			return false;
	}
	return true;
}

/*
 * RESERVED may fail only if there is no block in the tree of the slot. Small
 * blocks of entirely free children do not count. Permits of the tree are good
 * for any block in it.
 */
static bool reserved_may_fail(struct diff *d, const struct llfree_request *req)
{
	unsigned long f, end, next;
	u64 local;

	if (req->slot < 0 || req->view != LLFREE_VIEW_NORMAL)
		return true;
	local = d->in.locals[req->slot].reserved[req->class];
	if (!(local & LOCAL_PRESENT))
		return true;
	f = tree_frame(&d->in.llf, row_tree(&d->in.llf, local_row(local)));
	end = min(f + d->in.llf.tree_frames, d->m.end);
	if (req->order >= LLFREE_CHILD_ORDER)
		return !model_has_block(&d->m, f, end, req->order, req->view);
	for (; f < end; f = next) {
		next = min(f + LLFREE_CHILD_FRAMES, end);
		if (model_has_block(&d->m, f, next, req->order, req->view) &&
		    !model_has_block(&d->m, f, next, LLFREE_CHILD_ORDER,
				     req->view))
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
	else if (alone(d) && !model_all_free(&d->m, frame, nr, req->view))
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
	if ((delta->did & LLFREE_DID_RESERVE) &&
	    (req->slot < 0 || req->view != LLFREE_VIEW_NORMAL))
		FAIL(d, "reserved a tree without a slot");
	if ((req->flags & LLFREE_ALLOC_RESERVED) && delta->did)
		FAIL(d, "RESERVED did %#x to a tree", delta->did);
	if ((delta->did & taken) && delta->old_class == req->class)
		FAIL(d, "took a tree from its own class");
	if (!alone(d))
		return;
	if ((req->flags & LLFREE_ALLOC_NOFRAGMENT) &&
	    ((delta->did & LLFREE_DID_STEAL) ||
	     ((delta->did & LLFREE_DID_DEMOTE) &&
	      delta->huge[LLFREE_VIEW_NORMAL] >= 0)))
		FAIL(d, "NOFRAGMENT mixed with another class");
}

static void check_nothing(struct diff *d, const struct llfree_request *req)
{
	/*
	 * An operation that interrupts another one may fail, since that one
	 * holds the last block. An interrupted search may have passed a place
	 * before the block was free.
	 */
	if (d->depth || !d->only_takes)
		return;
	/* A bounded search may have looked elsewhere. */
	if (req->flags & LLFREE_ALLOC_BOUNDED)
		return;
	if (req->flags & LLFREE_ALLOC_RESERVED) {
		if (alone(d) && !reserved_may_fail(d, req))
			FAIL(d, "RESERVED order %d slot %d class %d: a block is there",
			     req->order, req->slot, req->class);
		return;
	}
	if ((req->flags & LLFREE_ALLOC_NOFRAGMENT) &&
	    req->view == LLFREE_VIEW_NORMAL) {
		if (alone(d) && !nofragment_may_fail(d, req))
			FAIL(d, "NOFRAGMENT order %d class %d: a block is there",
			     req->order, req->class);
		return;
	}
	if (model_has_block(&d->m, d->m.first, d->m.end, req->order, req->view))
		FAIL(d, "no memory for order %d view %s, but a block is there",
		     req->order, view_names[req->view]);
	/* Order 0 needs no hint: the number of free frames answers. */
	if (alone(d) && req->order &&
	    llfree_may_have_order(&d->in.llf, req->order, req->view))
		FAIL(d, "hint for order %d view %s is up after a failed get",
		     req->order, view_names[req->view]);
}

static bool request_valid(const struct diff *d,
			  const struct llfree_request *req,
			  unsigned int max_order)
{
	return req->order <= max_order &&
	       req->class < d->in.llf.policy->nr_classes &&
	       req->view < LLFREE_VIEW_ISOLATED &&
	       !(req->flags & ~LLFREE_ALLOC_FLAGS) &&
	       slot_exists(d, req->slot);
}

long diff_alloc(struct diff *d, const struct llfree_request *req, bool quick)
{
	bool valid = request_valid(d, req, LLFREE_MAX_ORDER);
	unsigned long nr = valid ? 1UL << req->order : 0;
	struct llfree_delta delta = {};
	long frame;

	begin(d, nr, "%s slot %d order %d class %d view %d flags %d",
	      quick ? "fast alloc" : "alloc", req->slot, req->order, req->class,
	      req->view, req->flags);
	if (quick)
		frame = CALL(d, inst_alloc_fast(&d->in.llf, req, &delta));
	else
		frame = CALL(d, llfree_alloc(&d->in.llf, req, &delta));
	note(d, frame < 0 ? "= %ld" : "= %#lx", frame);
	d->marks_lost |= req->order > LLFREE_CHILD_ORDER;
	if (!valid) {
		if (frame != -EINVAL)
			FAIL(d, "bad allocation returned %ld", frame);
	} else if (frame >= 0) {
		check_got(d, req, frame, nr);
		check_did(d, req, &delta);
	} else if (frame == -ENOMEM) {
		check_nothing(d, req);
	} else {
		FAIL(d, "allocation returned %ld", frame);
	}
	compare_delta(d, &delta, frame < 0 ? 0 : -(long)nr);
	return frame;
}

static void check_got_mask(struct diff *d, const struct llfree_request *req,
			   unsigned long frame, u64 mask)
{
	unsigned int size = 1U << req->order;

	if (mask_blocks(mask, req->order) < 0) {
		FAIL(d, "mask %#llx has part of a block", (unsigned long long)mask);
		return;
	}
	for (; mask; mask &= ~(GENMASK_ULL(size - 1, 0) << __ffs64(mask)))
		check_got(d, req, frame + __ffs64(mask), size);
}

long diff_alloc_batch(struct diff *d, const struct llfree_request *req,
		      unsigned int nr)
{
	bool valid = nr && request_valid(d, req, LLFREE_ROW_ORDER);
	unsigned int most = valid ? min_t(unsigned int, nr << req->order,
					  LLFREE_CHILD_FRAMES) : 0;
	u64 masks[LLFREE_CHILD_ROWS] = {};
	struct llfree_delta delta = {};
	unsigned int frames, i;
	long frame;

	begin(d, most,
	      "alloc_batch slot %d order %d class %d view %d flags %d nr %u",
	      req->slot, req->order, req->class, req->view, req->flags, nr);
	frame = CALL(d, llfree_alloc_batch(&d->in.llf, req, nr, masks, &delta));
	note(d, frame < 0 ? "= %ld" : "= %#lx", frame);
	for (i = 0; i < LLFREE_CHILD_ROWS; i++)
		if (masks[i])
			note(d, "  row %u %#llx", i, (unsigned long long)masks[i]);
	if (!valid) {
		if (frame != -EINVAL)
			FAIL(d, "bad alloc_batch returned %ld", frame);
	} else if (frame == -ENOMEM) {
		check_nothing(d, req);
	} else if (frame < 0) {
		FAIL(d, "alloc_batch returned %ld", frame);
	} else if (!IS_ALIGNED(frame, LLFREE_CHILD_FRAMES)) {
		FAIL(d, "alloc_batch returned %#lx, not the start of a child", frame);
	} else {
		for (i = 0; i < LLFREE_CHILD_ROWS; i++)
			check_got_mask(d, req, frame + i * LLFREE_ROW_FRAMES, masks[i]);
		check_did(d, req, &delta);
	}
	/* Masks do not change if the allocation fails. */
	frames = batch_frames(masks);
	if (frame < 0 ? frames : !frames || frames > most)
		FAIL(d, "alloc_batch of at most %u frames returned %u", most, frames);
	compare_delta(d, &delta, -(long)frames);
	return frame;
}

bool diff_free_hopeless(const struct diff *d, int slot, unsigned long frame,
			unsigned int order)
{
	return !slot_exists(d, slot) || order >= BITS_PER_LONG - 1 ||
	       !IS_ALIGNED(frame, 1UL << order) ||
	       !model_inside(&d->m, frame, 1UL << order);
}

int diff_free(struct diff *d, int slot, unsigned long frame, unsigned int order)
{
	unsigned long nr = 0;
	struct llfree_delta delta = {};
	int ret, want = -EINVAL;

	if (!diff_free_hopeless(d, slot, frame, order) &&
	    model_all_used(&d->m, frame, 1UL << order)) {
		want = 0;
		nr = 1UL << order;
	}
	begin(d, nr, "free slot %d frame %#lx order %u", slot, frame, order);
	/*
	 * Mark before the free: other threads may get the frames before it
	 * returns.
	 */
	if (!want)
		model_mark(&d->m, frame, nr, false);
	/* Use both functions, but always the same one for a block. */
	if (order < BITS_PER_LONG && frame >> order & 1)
		ret = CALL(d, inst_free_fast(&d->in.llf, slot, frame, order,
					     &delta));
	else
		ret = CALL(d, llfree_free(&d->in.llf, slot, frame, order, &delta));
	note(d, "= %d", ret);
	if (ret != want)
		FAIL(d, "free slot %d frame %#lx order %u: %d, not %d", slot,
		     frame, order, ret, want);
	compare_delta(d, &delta, nr);
	return ret;
}

int diff_free_reported(struct diff *d, unsigned long frame, unsigned int order)
{
	unsigned long nr = 0, f;
	struct llfree_delta delta = {};
	struct llfree_child child;
	int ret, want = -EINVAL;

	if (order >= LLFREE_CHILD_ORDER &&
	    !diff_free_hopeless(d, LLFREE_NO_SLOT, frame, order) &&
	    model_all_used(&d->m, frame, 1UL << order)) {
		want = 0;
		nr = 1UL << order;
	}
	begin(d, nr, "free_reported frame %#lx order %u", frame, order);
	/* Before the free, as in diff_free() */
	model_mark(&d->m, frame, nr, false);
	for (f = frame; f < frame + nr; f += LLFREE_CHILD_FRAMES)
		d->m.reported[model_child(&d->m, f)] = 1;
	ret = CALL(d, llfree_free_reported(&d->in.llf, frame, order, &delta));
	note(d, "= %d", ret);
	if (ret != want)
		FAIL(d, "free_reported frame %#lx order %u: %d, not %d", frame,
		     order, ret, want);
	else if (!ret && alone(d) &&
		 (llfree_child(&d->in.llf, frame, &child) || !child.reported))
		FAIL(d, "child %#lx is not reported", frame);
	compare_delta(d, &delta, nr);
	return ret;
}

/*
 * While other operations are under way, all of the block has to be allocated.
 */
long diff_free_rest(struct diff *d, int slot, unsigned long frame,
		    unsigned int order)
{
	bool valid = order <= LLFREE_MAX_ORDER &&
		     !diff_free_hopeless(d, slot, frame, order);
	unsigned long size = valid ? 1UL << order : 0, f;
	long ret, want = valid ? 0 : -EINVAL, nr = 0;
	struct llfree_delta delta = {};

	begin(d, size, "free_rest slot %d frame %#lx order %u", slot, frame, order);
	/* Before the free, as in diff_free() */
	for (f = frame; f < frame + size; f++) {
		if (!model_all_used(&d->m, f, 1))
			continue;
		model_mark(&d->m, f, 1, false);
		nr++;
	}
	want += nr;
	ret = CALL(d, llfree_free_rest(&d->in.llf, slot, frame, order, &delta));
	note(d, "= %ld", ret);
	if (ret != want)
		FAIL(d, "free_rest slot %d frame %#lx order %u: %ld, not %ld", slot,
		     frame, order, ret, want);
	compare_delta(d, &delta, nr);
	return ret;
}

static void mark_mask(struct diff *d, unsigned long row, u64 mask, bool used)
{
	int i;

	for (i = 0; i < LLFREE_ROW_FRAMES; i++)
		if (mask & BIT_ULL(i))
			model_mark(&d->m, row + i, 1, used);
}

int diff_free_batch(struct diff *d, int slot, unsigned long row, u64 mask)
{
	struct llfree_delta delta = {};
	int ret, want = 0;

	if (!mask || !slot_exists(d, slot) ||
	    !IS_ALIGNED(row, LLFREE_ROW_FRAMES) ||
	    (mask & ~model_row_mask(&d->m, row, true)))
		want = -EINVAL;
	begin(d, want ? 0 : hweight64(mask),
	      "free_batch slot %d row %#lx mask %#llx", slot, row,
	      (unsigned long long)mask);
	if (!want)
		mark_mask(d, row, mask, false);
	ret = CALL(d, llfree_free_batch(&d->in.llf, slot, row, mask, &delta));
	note(d, "= %d", ret);
	if (ret != want)
		FAIL(d, "free_batch slot %d row %#lx mask %#llx: %d, not %d",
		     slot, row, (unsigned long long)mask, ret, want);
	compare_delta(d, &delta, want ? 0 : hweight64(mask));
	return ret;
}

int diff_claim(struct diff *d, unsigned long frame, unsigned int order,
	       unsigned int flags)
{
	bool valid = order <= LLFREE_MAX_ORDER &&
		     !(flags & ~LLFREE_CLAIM_HIDDEN) &&
		     IS_ALIGNED(frame, 1UL << order) &&
		     model_inside(&d->m, frame, 1UL << order);
	unsigned long nr = valid ? 1UL << order : 0;
	struct llfree_delta delta = {};
	int ret, want;

	begin(d, nr, "claim frame %#lx order %u flags %u", frame, order, flags);
	ret = CALL(d, llfree_claim(&d->in.llf, frame, order, flags, &delta));
	note(d, "= %d", ret);
	d->marks_lost |= order > LLFREE_CHILD_ORDER;
	if (!valid)
		want = -EINVAL;
	else if (!model_all_free(&d->m, frame, nr, MODEL_ANY_VIEW))
		want = -EBUSY;
	else if (!alone(d) && (d->depth || !d->only_takes))
		want = ret == -EBUSY ? ret : 0;
	else if (!(flags & LLFREE_CLAIM_HIDDEN) &&
		 model_touches_view(&d->m, frame, nr, LLFREE_VIEW_ISOLATED))
		want = -EBUSY;
	else
		want = 0;
	if (ret != want)
		FAIL(d, "claim frame %#lx order %u flags %u: %d, not %d", frame,
		     order, flags, ret, want);
	else if (!ret)
		model_mark(&d->m, frame, nr, true);
	compare_delta(d, &delta, ret ? 0 : -(long)nr);
	return ret;
}

long diff_claim_row(struct diff *d, unsigned long row, u64 mask,
		    unsigned int flags)
{
	u64 claimed = 0, expect = 0;
	struct llfree_delta delta = {};
	long ret, want;

	begin(d, LLFREE_ROW_FRAMES, "claim_row row %#lx mask %#llx flags %u",
	      row, (unsigned long long)mask, flags);
	ret = CALL(d, llfree_claim_row(&d->in.llf, row, mask, flags, &claimed,
				       &delta));
	note(d, "= %ld %#llx", ret, (unsigned long long)claimed);
	/*
	 * Bits outside the range belong to no free frame, so claims ignore
	 * them.
	 */
	if ((flags & ~LLFREE_CLAIM_HIDDEN) ||
	    !IS_ALIGNED(row, LLFREE_ROW_FRAMES) || row >= d->m.end ||
	    row + LLFREE_ROW_FRAMES <= d->m.first ||
	    row + LLFREE_ROW_FRAMES < row) {
		want = -EINVAL;
	} else if (!alone(d)) {
		/*
		 * The view may have changed, but no claimed frame may have an
		 * owner.
		 */
		expect = claimed & mask & model_row_mask(&d->m, row, false);
		want = ret == -EBUSY ? ret : hweight64(expect);
	} else if (!(flags & LLFREE_CLAIM_HIDDEN) &&
		   model_touches_view(&d->m, row, 1, LLFREE_VIEW_ISOLATED)) {
		want = -EBUSY;
	} else {
		expect = mask & model_row_mask(&d->m, row, false);
		want = hweight64(expect);
	}
	if (ret != want || claimed != expect)
		FAIL(d, "claim_row row %#lx mask %#llx flags %u: %ld %#llx, not %ld %#llx",
		     row, (unsigned long long)mask, flags, ret,
		     (unsigned long long)claimed, want,
		     (unsigned long long)expect);
	else
		mark_mask(d, row, expect, true);
	compare_delta(d, &delta, ret < 0 ? 0 : -ret);
	return ret;
}

int diff_set_view(struct diff *d, unsigned long frame, unsigned int view)
{
	struct llfree_delta delta = {};
	int ret, want;

	begin(d, 0, "set_view frame %#lx view %u", frame, view);
	ret = CALL(d, llfree_set_view(&d->in.llf, frame, view, &delta));
	note(d, "= %d", ret);
	if (view >= LLFREE_NR_VIEWS || !model_inside(&d->m, frame, 1))
		want = -EINVAL;
	else if (!alone(d))
		want = ret == -EALREADY ? ret :
		       clamp(ret, 0, LLFREE_NR_VIEWS - 1);
	else if (d->m.view[model_child(&d->m, frame)] == view)
		want = -EALREADY;
	else
		want = d->m.view[model_child(&d->m, frame)];
	if (ret != want)
		FAIL(d, "set_view frame %#lx view %u: %d, not %d", frame, view,
		     ret, want);
	else if (ret >= 0 && alone(d))
		model_set_view(&d->m, frame, view);
	compare_delta(d, &delta, 0);
	return ret;
}

int diff_drain(struct diff *d, int slot)
{
	struct llfree_stats stats;
	int ret;

	begin(d, 0, "drain %d", slot);
	ret = CALL(d, llfree_drain(&d->in.llf, slot));
	note(d, "= %d", ret);
	if (ret != (slot >= (int)d->in.llf.nr_slots ? -EINVAL : 0))
		FAIL(d, "drain %d: %d", slot, ret);
	if (ret || slot >= 0 || !alone(d))
		return ret;
	llfree_stats_exact(&d->in.llf, &stats);
	if (stats.reserved)
		FAIL(d, "%lu trees reserved after drain", stats.reserved);
	return ret;
}

void diff_query_frame(struct diff *d, unsigned long frame)
{
	unsigned long row = ALIGN_DOWN(frame, LLFREE_ROW_FRAMES);
	u64 mask, want;
	int order;

	begin(d, 0, "query frame %#lx", frame);
	order = CALL(d, llfree_block_order(&d->in.llf, frame));
	if (order < -1 || order > LLFREE_MAX_ORDER)
		FAIL(d, "frame %#lx: free order %d", frame, order);
	else if (order >= 0 && !model_inside(&d->m, frame, 1))
		FAIL(d, "frame %#lx outside is free", frame);
	else if (alone(d) && order != model_free_order(&d->m, frame))
		FAIL(d, "frame %#lx: free order %d, not %d", frame, order,
		     model_free_order(&d->m, frame));

	mask = CALL(d, llfree_row_mask(&d->in.llf, frame));
	if (frame < d->m.base || frame >= d->m.end)
		want = 0;
	else if (alone(d))
		want = model_row_mask(&d->m, row, false);
	else
		want = mask & (model_row_mask(&d->m, row, false) |
			       model_row_mask(&d->m, row, true));
	if (mask != want)
		FAIL(d, "row %#lx: %#llx free, not %#llx", row,
		     (unsigned long long)mask, (unsigned long long)want);
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

void diff_query_child(struct diff *d, unsigned long frame)
{
	bool inside = model_inside(&d->m, frame, 1);
	struct llfree_child child = {};
	int ret;

	begin(d, 0, "query child %#lx", frame);
	ret = CALL(d, llfree_child(&d->in.llf, frame, &child));
	if (ret != (inside ? 0 : -EINVAL))
		FAIL(d, "child of %#lx: %d", frame, ret);
	if (child.free > LLFREE_CHILD_FRAMES)
		FAIL(d, "child of %#lx has %u free", frame, child.free);
	ret = CALL(d, llfree_child_stable(&d->in.llf, frame));
	if (!inside ? ret != -EINVAL : ret < 0 ? ret != -EAGAIN :
	    ret > (int)LLFREE_CHILD_FRAMES)
		FAIL(d, "child_stable %#lx: %d", frame, ret);
	if (inside && alone(d))
		check_child(d, frame);
}

void diff_query_orders(struct diff *d, int view, int class)
{
	unsigned long nr[LLFREE_NR_ORDERS], want[LLFREE_NR_ORDERS], sum = 0;
	unsigned int may = 0;
	int o;

	begin(d, 0, "query orders view %d class %d", view, class);
	d->running = true;
	llfree_count_orders(&d->in.llf, view, class, nr);
	for (o = 0; view >= 0 && view < LLFREE_ALLOC_VIEWS &&
	     o < LLFREE_NR_ORDERS; o++)
		may |= llfree_may_have_order(&d->in.llf, o, view) << o;
	d->running = false;
	for (o = 0; o < LLFREE_NR_ORDERS; o++)
		sum += nr[o] << o;
	if (sum > d->m.nr_children * LLFREE_CHILD_FRAMES)
		FAIL(d, "%lu frames in blocks of view %d", sum, view);
	if (!alone(d) || class >= 0 || view < 0)
		return;
	model_count_orders(&d->m, view, want);
	for (o = 0; o < LLFREE_NR_ORDERS; o++) {
		if (nr[o] != want[o])
			FAIL(d, "%lu blocks of order %d view %s, not %lu",
			     nr[o], o, view_names[view], want[o]);
		if (view < LLFREE_ALLOC_VIEWS && !(may & BIT(o)) &&
		    model_has_block(&d->m, d->m.first, d->m.end, o, view))
			FAIL(d, "hint hides order %d view %s", o,
			     view_names[view]);
	}
}

static void compare_stats(struct diff *d, const struct llfree_stats *stats)
{
	struct llfree_stats want;
	int v;

	model_stats(&d->m, &want);
	for (v = 0; v < LLFREE_NR_VIEWS; v++)
		if (stats->frames[v] != want.frames[v] ||
		    stats->huge[v] != want.huge[v])
			FAIL(d, "view %s has %lu frames, %lu huge, not %lu, %lu",
			     view_names[v], stats->frames[v], stats->huge[v],
			     want.frames[v], want.huge[v]);
}

void diff_query_stats(struct diff *d)
{
	struct llfree_stats stats;

	begin(d, 0, "query stats");
	d->running = true;
	llfree_stats_exact(&d->in.llf, &stats);
	d->running = false;
	if (alone(d))
		compare_stats(d, &stats);
}

void diff_set_slots(struct diff *d, unsigned int nr)
{
	int ret;

	begin(d, 0, "set_slots %u", nr);
	ret = llfree_drain(&d->in.llf, -1);
	if (!ret)
		ret = llfree_set_slots(&d->in.llf, nr ? d->in.locals : NULL, nr);
	if (ret)
		FAIL(d, "set_slots: %d", ret);
}

/*
 * Operations that were cut off may have left frames allocated; @most is their
 * number. Frames with an owner must be allocated.
 */
static void adopt_rows(struct diff *d, unsigned long most)
{
	unsigned long row;
	u64 clear, extra;

	for (row = d->m.base; row < d->m.end; row += LLFREE_ROW_FRAMES) {
		clear = llfree_row_mask(&d->in.llf, row);
		if (clear & ~model_row_mask(&d->m, row, false))
			FAIL(d, "row %#lx lost frames %#llx", row,
			     (unsigned long long)(clear &
						  ~model_row_mask(&d->m, row, false)));
		extra = model_row_mask(&d->m, row, false) & ~clear;
		if (hweight64(extra) > most)
			FAIL(d, "row %#lx: frames %#llx leaked", row,
			     (unsigned long long)extra);
		most -= min_t(unsigned long, most, hweight64(extra));
		mark_mask(d, row, extra, true);
	}
}

void diff_restart(struct diff *d, enum llfree_mode mode)
{
	u16 *children = d->in.mem.children;
	unsigned long i, flying = 0;
	bool cut = d->depth;
	int ret;

	if (mode == LLFREE_INIT_RECOVER) {
		/*
		 * A crash loses the counters, and the views of isolated
		 * children only.
		 */
		for (i = 0; i < d->m.nr_children; i++) {
			if (d->m.view[i] == LLFREE_VIEW_ISOLATED)
				d->m.view[i] = LLFREE_VIEW_NORMAL;
			children[i] &= ~GENMASK(9, 0);
			children[i] |= rng_below(&d->rng, 513);
			d->m.reported[i] = 0;
		}
	}
	for (i = 0; i < d->depth; i++)
		flying += d->flying[i];
	d->depth = 0;
	d->running = false;
	shim_preempt_count = 0;
	begin(d, 0, "init mode %d", mode);
	ret = inst_reinit(&d->in, mode);
	if (ret)
		FAIL(d, "init mode %d: %d", mode, ret);
	if (cut) {
		adopt_rows(d, flying);
		diff_settle(d);
	}
}

void diff_settle(struct diff *d)
{
	struct llfree_child child;
	unsigned long f, c;

	for (f = d->m.first; f < d->m.end; f = llfree_next_child(f)) {
		c = model_child(&d->m, f);
		if (llfree_child(&d->in.llf, f, &child)) {
			FAIL(d, "child of %#lx", f);
			return;
		}
		d->m.view[c] = child.view;
		d->m.reported[c] = child.reported;
		if (child.free != d->m.free[c])
			FAIL(d, "child %#lx free %u, not %u", child.frame,
			     child.free, d->m.free[c]);
	}
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
		/*
		 * The counts of all classes, and of trees without a class, add
		 * up.
		 */
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

void diff_check(struct diff *d)
{
	const char *why = inst_check(&d->in);

	if (*why)
		FAIL(d, "%s", why);
}

void diff_check_all(struct diff *d)
{
	struct llfree_stats stats;
	unsigned long f;
	u64 mask;
	int ret;

	for (f = d->m.base; f < d->m.end && !d->failed; f += LLFREE_ROW_FRAMES) {
		unsigned long any = min(f + rng_below(&d->rng, 64), d->m.end - 1);

		mask = model_row_mask(&d->m, f, false);
		if (llfree_row_mask(&d->in.llf, any) != mask)
			FAIL(d, "row %#lx: %#llx free, not %#llx", f,
			     (unsigned long long)llfree_row_mask(&d->in.llf, f),
			     (unsigned long long)mask);
	}
	for (f = d->m.first; f < d->m.end && !d->failed; f++) {
		if (d->sparse > 1 && rng_below(&d->rng, d->sparse))
			continue;
		ret = llfree_block_order(&d->in.llf, f);
		if (ret != model_free_order(&d->m, f))
			FAIL(d, "frame %#lx: free order %d, not %d", f, ret,
			     model_free_order(&d->m, f));
		if (llfree_frame_is_free(&d->in.llf, f) ? ret < 0 : ret >= 0)
			FAIL(d, "frame %#lx: free order %d, but not %s", f, ret,
			     ret >= 0 ? "free" : "allocated");
	}
	if (llfree_block_order(&d->in.llf, d->m.end) != -1 ||
	    llfree_block_order(&d->in.llf, d->m.first - 1) != -1 ||
	    llfree_frame_is_free(&d->in.llf, d->m.end) ||
	    llfree_frame_is_free(&d->in.llf, d->m.first - 1))
		FAIL(d, "frame outside is free");
	for (f = d->m.first; f < d->m.end && !d->failed; f = llfree_next_child(f))
		check_child(d, f);
	d->marks_lost = false;
	check_queries(d);
	llfree_stats_exact(&d->in.llf, &stats);
	compare_stats(d, &stats);
	diff_check(d);
}

static enum llfree_level plain_rate(unsigned int class, unsigned int tree,
				    unsigned int free, unsigned int frames)
{
	if (free == frames)
		return LLFREE_LEVEL_FREE;
	return tree == class ? LLFREE_LEVEL_MATCH : LLFREE_LEVEL_STEAL;
}

static enum llfree_level picky_rate(unsigned int class, unsigned int tree,
				    unsigned int free, unsigned int frames)
{
	if (free == frames)
		return LLFREE_LEVEL_FREE;
	if (tree == class)
		return free > 64 ? LLFREE_LEVEL_MATCH : LLFREE_LEVEL_SPARSE;
	return (class + tree) & 1 ? LLFREE_LEVEL_REJECT : LLFREE_LEVEL_DEMOTE;
}

const struct llfree_policy diff_policies[DIFF_POLICIES] = {
	{ .nr_classes = 1, .near = 1, .rate = plain_rate },
	{ .nr_classes = LLFREE_MAX_CLASSES, .init_class = 3, .near = 4,
	  .rate = picky_rate },
};
