// SPDX-License-Identifier: GPL-2.0
/*
 * Every operation interrupted by every other one, at each of its steps. The
 * interrupting operation may stand for an interrupt, an NMI or another CPU; to
 * the interrupted one they look the same. Each pair starts from a few states in
 * which the two meet: in the same row, for the last block, at an undo.
 */
#include <linux/align.h>
#include <linux/bits.h>
#include <linux/bitops.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <shim/atomic.h>
#include <shim/shim.h>

#include "inst.h"
#include "lower.h"
#include "kselftest_harness.h"

#define CHILD	LLFREE_CHILD_FRAMES
#define ROW	LLFREE_ROW_FRAMES
/* A tree and half of another one, which can never be entirely free */
#define BASE	(6 * LLFREE_MIN_TREE_FRAMES)
#define NR	(LLFREE_MIN_TREE_FRAMES + 4 * CHILD)
/* Children in which actors own frames at the start */
#define SHARED_ROWS	(BASE + 4 * CHILD)
#define SHARED_HALVES	(BASE + 5 * CHILD)
#define OWN_CHILD(a)	(BASE + (6 + (a)) * CHILD)

/* The last frame, in a child that stays isolated */
#define FREE_FRAME	(BASE + NR - 1)

#define MAX_DEPTH	3

static struct inst in;
/* Owner of each frame: 0 or actor + 1. Actors are nesting depths. */
static u8 owner[NR];
static const char *failure;
/* the frame or number that the text of the failure is about */
static unsigned long long failed_at;

static void fail(const char *what, unsigned long frame)
{
	if (failure)
		return;
	failure = what;
	failed_at = frame;
}

static void own(int actor, unsigned long frame, unsigned long nr)
{
	unsigned long i;

	if (frame < BASE || frame + nr > BASE + NR || !IS_ALIGNED(frame, nr)) {
		fail("got a block that cannot be", frame);
		return;
	}
	for (i = frame - BASE; i < frame - BASE + nr; i++) {
		if (owner[i])
			fail("got a frame that is in use", BASE + i);
		owner[i] = actor + 1;
	}
}

/*
 * Called before a free, since another actor may allocate the frames before it
 * returns
 */
static bool disown(int actor, unsigned long frame, unsigned long nr)
{
	unsigned long i;

	for (i = frame - BASE; i < frame - BASE + nr; i++)
		if (owner[i] != actor + 1)
			return false;
	memset(&owner[frame - BASE], 0, nr);
	return true;
}

/* Operations. @actor is also the slot. */

static long got[MAX_DEPTH];	/* results of allocations, for false_failure() */

static void check_alloc(int actor, int order, long frame)
{
	got[actor] = frame;
	if (frame >= 0)
		own(actor, frame, 1UL << order);
	else if (frame != -ENOMEM)
		fail("allocation failed in an odd way", -frame);
}

static void get_order(int actor, int order, int slot, int view)
{
	check_alloc(actor, order, inst_alloc_view(&in, slot, order, view));
}

static void op_alloc(int actor, int order)
{
	get_order(actor, order, actor % 2, LLFREE_VIEW_NORMAL);
}

static void op_alloc_fast(int actor, int order)
{
	struct llfree_request req = { .slot = actor % 2, .order = order };

	check_alloc(actor, order, inst_alloc_fast(&in.llf, &req, &in.sum));
}

static void op_alloc_no_slot(int actor, int order)
{
	get_order(actor, order, LLFREE_NO_SLOT, LLFREE_VIEW_NORMAL);
}

static void op_alloc_cma(int actor, int order)
{
	get_order(actor, order, actor % 2, LLFREE_VIEW_CMA);
}

static void alloc_batch(int actor, int order, int slot)
{
	struct llfree_request req = { .slot = slot, .order = order };
	u64 masks[LLFREE_CHILD_ROWS];
	unsigned int i;
	long child;

	child = inst_alloc_batch(&in.llf, &req, CHILD >> order, masks, &in.sum);
	got[actor] = child;
	if (child < 0 && child != -ENOMEM)
		fail("batch is wrong", -child);
	for (i = 0; child >= 0 && i < CHILD; i++)
		if (batch_has(masks, i))
			own(actor, child + i, 1);
}

/*
 * Allocate as many blocks as the slot has at hand in a child; otherwise those
 * of a row
 */
static void op_alloc_batch(int actor, int order)
{
	alloc_batch(actor, order, actor % 2);
}

static void op_alloc_batch_no_slot(int actor, int order)
{
	alloc_batch(actor, order, LLFREE_NO_SLOT);
}

static void free_own(int actor, int order, bool reported)
{
	unsigned long frame, nr = 1UL << order;
	int ret;

	for (frame = SHARED_HALVES; frame < OWN_CHILD(MAX_DEPTH); frame += nr) {
		if (!disown(actor, frame, nr))
			continue;
		if (reported)
			ret = llfree_free_reported(&in.llf, frame, order, &in.sum);
		else
			ret = inst_free(&in, actor % 2, frame, order);
		if (ret)
			fail("cannot free own block", frame);
		return;
	}
}

static void op_free(int actor, int order)
{
	free_own(actor, order, false);
}

static void op_free_reported(int actor, int order)
{
	free_own(actor, order, true);
}

static void op_free_word(int actor, int word)
{
	unsigned long row;
	u64 mask = 0;
	int i;

	for (row = SHARED_ROWS; row < SHARED_ROWS + CHILD && !mask; row += ROW)
		for (i = 0; i < ROW; i++)
			if (owner[row + i - BASE] == actor + 1) {
				owner[row + i - BASE] = 0;
				mask |= BIT_ULL(i);
			}
	if (mask && llfree_free_batch(&in.llf, LLFREE_NO_SLOT, row - ROW, mask,
				      &in.sum))
		fail("cannot free own frames", row);
}

/* Free blocks with a frame that stays free, since no actor may own it. */
static void op_bad_free(int actor, int order)
{
	unsigned long frame = ALIGN_DOWN(FREE_FRAME, 1UL << order);

	if (!inst_free(&in, actor % 2, frame, order))
		fail("freed a block that is partly free", frame);
}

static void op_claim(int actor, int order)
{
	if (!llfree_claim(&in.llf, BASE, order, 0, &in.sum))
		own(actor, BASE, 1UL << order);
}

static void op_claim_row(int actor, int flags)
{
	u64 mask;
	int i;

	if (llfree_claim_row(&in.llf, BASE, ~0xf0fULL, flags, &mask, &in.sum) < 0)
		return;
	for (i = 0; i < ROW; i++)
		if (mask & BIT_ULL(i))
			own(actor, BASE + i, 1);
}

static void op_view(int actor, int view)
{
	int ret;

	/* A child from which operations allocate, and one to which they free */
	ret = inst_set_view(&in, BASE, view);
	if (ret < 0 && ret != -EALREADY)
		fail("set_view", BASE);
	inst_set_view(&in, SHARED_ROWS, view);
}

static void op_drain(int actor, int slot)
{
	if (llfree_drain(&in.llf, slot))
		fail("drain", slot);
}

static const struct op {
	const char *name;
	void (*fn)(int actor, int arg);
	int arg;
	/* Does it never make a block free, or show one? */
	bool takes;
	/* order and view, if it is an allocation */
	int order;
	int view;
} ops[] = {
	{ "alloc 0", op_alloc, 0, true, 0, 0 },
	{ "alloc 3", op_alloc, 3, true, 3, 0 },
	{ "alloc 6", op_alloc, 6, true, 6, 0 },
	{ "alloc 8", op_alloc, 8, true, 8, 0 },
	{ "fast alloc 0", op_alloc_fast, 0, true, 0, 0 },
	{ "fast alloc 4", op_alloc_fast, 4, true, 4, 0 },
	{ "alloc 9", op_alloc, 9, true, 9, 0 },
	{ "alloc 10", op_alloc, 10, true, 10, 0 },
	{ "alloc 0 without slot", op_alloc_no_slot, 0, true, 0, 0 },
	{ "alloc 7 without slot", op_alloc_no_slot, 7, true, 7, 0 },
	{ "alloc 2 of CMA", op_alloc_cma, 2, true, 2, LLFREE_VIEW_CMA },
	{ "alloc batch 0", op_alloc_batch, 0, true, 0, 0 },
	{ "alloc batch 2", op_alloc_batch, 2, true, 2, 0 },
	{ "alloc batch 0 without slot", op_alloc_batch_no_slot, 0, true, 0, 0 },
	{ "alloc batch 2 without slot", op_alloc_batch_no_slot, 2, true, 2, 0 },
	{ "free 0", op_free, 0, false, -1 },
	{ "free 8", op_free, 8, false, -1 },
	{ "free 9", op_free, 9, false, -1 },
	{ "free reported", op_free_reported, 9, false, -1 },
	{ "free word", op_free_word, 0, false, -1 },
	{ "bad free 9", op_bad_free, 9, true, -1 },
	{ "bad free 11", op_bad_free, 11, true, -1 },
	{ "claim 0", op_claim, 0, true, -1 },
	{ "claim 8", op_claim, 8, true, -1 },
	{ "claim 10", op_claim, 10, true, -1 },
	{ "claim row", op_claim_row, LLFREE_CLAIM_HIDDEN, true, -1 },
	{ "isolate", op_view, LLFREE_VIEW_ISOLATED, false, -1 },
	{ "to CMA", op_view, LLFREE_VIEW_CMA, false, -1 },
	{ "to normal", op_view, LLFREE_VIEW_NORMAL, false, -1 },
	{ "drain 0", op_drain, 0, true, -1 },
	{ "drain all", op_drain, -1, true, -1 },
};

/* Interrupts: a planned one, or random ones, nested up to MAX_DEPTH */
static const struct op *planned;
static long planned_steps = -1;
/* Was preemption on when the planned interrupt came? */
static bool planned_preempts;
static struct rng *random_ops;
static int depth;

static void run_op(const struct op *op)
{
	int count = shim_preempt_count;

	/* An interrupt must leave preemption as it was. */
	op->fn(depth, op->arg);
	if (shim_preempt_count != count)
		fail("preemption count changed", depth);
}

/* The child that the last access to a row or child word was in; -1 for none */
static long last_child = -1;

/*
 * Only code that cannot be preempted may hold permits without bits. With
 * preemption on, each child counts exactly its clear bits.
 */
static void check_preemptible(const void *word)
{
	const u16 *children = in.mem.children;
	const u64 *rows = in.mem.rows;
	unsigned int i, clear = 0;

	if (last_child >= 0 && !shim_preempt_count && !child_hole(children[last_child])) {
		for (i = 0; i < LLFREE_CHILD_ROWS; i++)
			clear += hweight64(~rows[last_child * LLFREE_CHILD_ROWS + i] ^
					   free_bits(children[last_child]));
		if (clear != (children[last_child] & (2 * CHILD - 1)))
			fail("child withholds frames, preemption is on",
			     BASE + last_child * CHILD);
		last_child = -1;
	}
	if (word >= in.mem.rows && word < in.mem.rows + in.mem.rows_size)
		last_child = (word - in.mem.rows) / (CHILD / 8);
	else if (word >= in.mem.children &&
		 word < in.mem.children + in.mem.children_size)
		last_child = (word - in.mem.children) / sizeof(u16);
}

void shim_step(const void *word)
{
	check_preemptible(word);
	if (planned_steps >= 0 && !planned_steps--) {
		planned_preempts = !shim_preempt_count;
		depth++;
		run_op(planned);
		depth--;
	}
	if (random_ops && depth + 1 < MAX_DEPTH && !rng_below(random_ops, 12)) {
		depth++;
		run_op(&ops[rng_below(random_ops, ARRAY_SIZE(ops))]);
		depth--;
	}
}

/* States to start from */

static void claim_for(int actor, unsigned long frame, unsigned long nr)
{
	unsigned long f;

	for (f = frame; f < frame + nr; f++)
		if (!owner[f - BASE] &&
		    !llfree_claim(&in.llf, f, 0, 0, &in.sum))
			owner[f - BASE] = actor + 1;
}

/* An actor that runs no operation owns all but a few blocks. */
static void state_full_but(unsigned long keep, unsigned long nr)
{
	claim_for(MAX_DEPTH, BASE, keep - BASE);
	claim_for(MAX_DEPTH, keep + nr, FREE_FRAME - keep - nr);
}

static void state_fresh(void)
{
}

static void state_pair(void)
{
	state_full_but(BASE, 2 * CHILD);
}

static void state_child(void)
{
	state_full_but(BASE, CHILD);
}

static void state_half_child(void)
{
	state_full_but(BASE, CHILD / 2);
}

static void state_row(void)
{
	state_full_but(BASE, ROW);
}

static void state_last_frames(void)
{
	state_full_but(BASE, 2);
}

static void state_fragmented(void)
{
	unsigned long f;

	for (f = BASE; f < BASE + NR; f += 4)
		claim_for(MAX_DEPTH, f, 1);
}

static void state_views(void)
{
	inst_set_view(&in, BASE, LLFREE_VIEW_ISOLATED);
	inst_set_view(&in, BASE + CHILD, LLFREE_VIEW_CMA);
	inst_set_view(&in, BASE + 2 * CHILD, LLFREE_VIEW_HIGHATOMIC);
}

/* Slots have reserved trees, and searches of all views were unsuccessful. */
static void state_reserved_and_exhausted(void)
{
	int order, view;

	inst_free(&in, 0, inst_alloc(&in, 0, 0), 0);
	state_full_but(BASE + 3 * CHILD, 4);
	for (view = 0; view < LLFREE_ALLOC_VIEWS; view++)
		for (order = 5; order > 2; order--)
			inst_alloc_view(&in, 1, order, view);
}

/* A copy of the state for each run */
static struct {
	struct inst in;
	void *rows, *children, *trees, *locals;
	u8 owner[NR];
} saved;

static void copy_state(struct inst *to, const struct inst *from,
		       const void *rows, const void *children,
		       const void *trees, const void *locals)
{
	*to = *from;
	memcpy(to->mem.rows, rows, to->mem.rows_size);
	memcpy(to->mem.children, children, to->mem.children_size);
	memcpy(to->mem.trees, trees, to->mem.trees_size);
	memcpy(to->locals, locals, to->nr_slots * sizeof(*to->locals));
}

static void *copy_of(const void *mem, size_t size)
{
	void *copy = malloc(size);

	if (!copy)
		abort();
	return memcpy(copy, mem, size);
}

static void make_state(void (*state)(void))
{
	int actor;

	for (actor = 0; actor < MAX_DEPTH; actor++) {
		unsigned long row;

		for (row = actor; row < LLFREE_CHILD_ROWS; row += MAX_DEPTH)
			claim_for(actor, SHARED_ROWS + row * ROW, ROW);
		claim_for(actor, OWN_CHILD(actor), CHILD);
	}
	claim_for(MAX_DEPTH, FREE_FRAME - CHILD + 1, CHILD - 1);
	inst_set_view(&in, FREE_FRAME, LLFREE_VIEW_ISOLATED);
	claim_for(0, SHARED_HALVES, CHILD / 2);
	claim_for(1, SHARED_HALVES + CHILD / 2, CHILD / 2);
	state();
	saved.in = in;
	saved.rows = copy_of(in.mem.rows, in.mem.rows_size);
	saved.children = copy_of(in.mem.children, in.mem.children_size);
	saved.trees = copy_of(in.mem.trees, in.mem.trees_size);
	saved.locals = copy_of(in.locals, in.nr_slots * sizeof(*in.locals));
	memcpy(saved.owner, owner, sizeof(owner));
}

static void start(void)
{
	memcpy(owner, saved.owner, sizeof(owner));
	failure = NULL;
	memset(got, 0, sizeof(got));
	last_child = -1;
	copy_state(&in, &saved.in, saved.rows, saved.children, saved.trees,
		   saved.locals);
}

static unsigned long count_owned(void)
{
	unsigned long i, sum = 0;

	for (i = 0; i < NR; i++)
		sum += !!owner[i];
	return sum;
}

/* Check all invariants after the last operation. */
static const char *finish(void)
{
	unsigned long nr[LLFREE_NR_ORDERS], sum, f;
	struct llfree_request req = { .slot = 1 };
	const char *why = inst_check(&in);
	u64 masks[LLFREE_CHILD_ROWS];
	bool block;
	int v, o;

	if (failure)
		return failure;
	if (*why)
		return why;
	for (f = BASE; f < BASE + NR; f++)
		if (!owner[f - BASE] !=
		    !!(llfree_row_mask(&in.llf, f) & BIT_ULL(f % ROW)))
			return "bit of a frame is wrong";
	for (v = 0; v < LLFREE_ALLOC_VIEWS; v++) {
		llfree_count_orders(&in.llf, v, -1, nr);
		for (o = LLFREE_MAX_ORDER, block = false; o >= 0; o--) {
			block |= nr[o];
			if (block && !llfree_may_have_order(&in.llf, o, v)) {
				failed_at = o;
				return "hint hides a block of this order";
			}
		}
	}
	/* All frames can be allocated again. */
	for (f = BASE; f < BASE + NR; f += CHILD)
		inst_set_view(&in, f, LLFREE_VIEW_NORMAL);
	sum = count_owned();
	while (inst_alloc_batch(&in.llf, &req, CHILD, masks, &in.sum) >= 0)
		sum += batch_frames(masks);
	if (sum != NR)
		return "frames were lost";
	return inst_check(&in);
}

/* Did an allocation fail although a block was free all the time? */
static bool false_failure(int actor, const struct op *op, const struct op *other)
{
	unsigned long nr[LLFREE_NR_ORDERS];
	int o;

	if (op->order < 0 || got[actor] >= 0 || !other->takes)
		return false;
	llfree_count_orders(&in.llf, op->view, -1, nr);
	for (o = op->order; o < LLFREE_NR_ORDERS; o++)
		if (nr[o])
			return true;
	return false;
}

FIXTURE(state)
{
};

FIXTURE_VARIANT(state)
{
	void (*set_up)(void);
};

FIXTURE_VARIANT_ADD(state, fresh) { state_fresh };
FIXTURE_VARIANT_ADD(state, pair) { state_pair };
FIXTURE_VARIANT_ADD(state, child) { state_child };
FIXTURE_VARIANT_ADD(state, half_child) { state_half_child };
FIXTURE_VARIANT_ADD(state, row) { state_row };
FIXTURE_VARIANT_ADD(state, last_frames) { state_last_frames };
FIXTURE_VARIANT_ADD(state, fragmented) { state_fragmented };
FIXTURE_VARIANT_ADD(state, views) { state_views };
FIXTURE_VARIANT_ADD(state, reserved_and_exhausted) { state_reserved_and_exhausted };

FIXTURE_SETUP(state)
{
	ASSERT_EQ(0, inst_init(&in, BASE, NR, LLFREE_INIT_FREE, NULL, 2));
	make_state(variant->set_up);
	ASSERT_STREQ("", inst_check(&in));
}

FIXTURE_TEARDOWN(state)
{
	free(saved.rows);
	free(saved.children);
	free(saved.trees);
	free(saved.locals);
	inst_exit(&in);
}

TEST_F_TIMEOUT(state, one_in_another, 300)
{
	const struct op *outer, *inner;
	unsigned long pairs = 0, runs = 0;
	const char *why;
	long steps;
	bool fired;

	for (outer = ops; outer < ops + ARRAY_SIZE(ops); outer++) {
		for (inner = ops; inner < ops + ARRAY_SIZE(ops); inner++) {
			for (steps = 0, fired = true; fired; runs++) {
				start();
				planned = inner;
				planned_steps = steps;
				run_op(outer);
				fired = planned_steps < 0;
				planned_steps = -1;
				if (fired && false_failure(0, outer, inner))
					why = "no memory, but a block is there";
				else if (fired && planned_preempts &&
					 false_failure(1, inner, outer))
					why = "no memory, but a block was withheld";
				else
					why = finish();
				EXPECT_STREQ("", why) {
					TH_LOG("%s, at step %ld: %s; %#llx",
					       outer->name, steps, inner->name,
					       failed_at);
				}
				if (*why)
					break;
				/* Steps of long searches are alike. */
				steps += steps < 40 ? 1 : steps / 4;
			}
			pairs++;
		}
	}
	TH_LOG("%lu pairs, %lu runs", pairs, runs);
	EXPECT_EQ(ARRAY_SIZE(ops) * ARRAY_SIZE(ops), pairs);
}

/*
 * Nested interrupts, and several of them. SEED= and ROUNDS=1 replay a failure.
 */
TEST_F_TIMEOUT(state, random_nesting, 300)
{
	const char *seed_env = getenv("SEED"), *rounds_env = getenv("ROUNDS");
	u64 seed = seed_env ? strtoull(seed_env, NULL, 0) : rng_seed();
	unsigned long rounds = rounds_env ? strtoul(rounds_env, NULL, 0) : 3000;
	unsigned long i;
	struct rng rng;
	const char *why;
	int j;

	for (i = 0; i < rounds; i++) {
		start();
		rng.state = seed + i;
		random_ops = &rng;
		for (j = 0; j < 4; j++)
			run_op(&ops[rng_below(&rng, ARRAY_SIZE(ops))]);
		random_ops = NULL;
		why = finish();
		ASSERT_STREQ("", why) {
			TH_LOG("SEED=%llu; %#llx",
			       (unsigned long long)seed + i, failed_at);
		}
	}
	TH_LOG("SEED=%llu", (unsigned long long)seed);
}

TEST_HARNESS_MAIN
