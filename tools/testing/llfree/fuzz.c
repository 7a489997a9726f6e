// SPDX-License-Identifier: GPL-2.0
/*
 * Coverage-guided fuzzing of the core with libFuzzer. An input is a header,
 * which describes the instance, and operations of a fixed size. The operations
 * run on the core and on the model; diff.h explains what is compared.
 *
 * If the header says so, operations interrupt each other. An operation may name
 * a step of its own, at which the next operation of the input interrupts it.
 * That one may be interrupted in turn. It may also be a crash, which leaves all
 * operations under way unfinished.
 *
 * To read an input, run it with LLFREE_FUZZ_TRACE=1.
 */
#include <linux/align.h>
#include <linux/bits.h>
#include <linux/kernel.h>
#include <limits.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <shim/atomic.h>
#include <shim/shim.h>

#include "diff.h"
#include "lower.h"
#include "libfuzzer.h"

/* Short inputs run fast and are readable. */
#define MAX_OPS		100
/* How often a single operation of an input may run */
#define MAX_REPEAT	64
/* Invariants are checked after so many operations. */
#define CHECK_OPS	8

enum header {
	H_MODE,		/* HEADER_* and initial state */
	H_USERS,	/* policy and slots */
	H_SIZE,		/* how to read H_NR */
	H_NR,		/* two bytes */
	H_PLACE = H_NR + 2,
	H_FIRST,	/* two bytes */
	HEADER_SIZE = H_FIRST + 2,
};

#define HEADER_INTERRUPTS	BIT(0)
#define HEADER_EXTRA		BIT(1)
#define HEADER_STATE_SHIFT	2

enum state {
	STATE_FREE,
	STATE_ALLOC,
	STATE_FRAGMENTED,
	NR_STATES,
};

enum kind {
	GET,
	ALLOC_BATCH,
	PUT,		/* free of a block that is allocated */
	FREE_ANY,
	FREE_BATCH,
	CLAIM,
	CLAIM_ROW,
	SET_VIEW,
	FREE_REPORTED,
	FREE_REST,
	DRAIN,
	QUERY,
	RESTART,	/* a crash, if it interrupts other operations */
	SET_SLOTS,
	NR_KINDS,
};

struct op {
	u8 kind;
	u8 slot;
	u8 size;	/* order, class */
	u8 how;		/* view, flags, repetitions */
	u8 odd;		/* which argument is bad, or which mask */
	u8 where[2];
	u8 step;	/* step to be interrupted at; when again */
};

/* A kind that is frequent has many entries. */
static const u8 kinds[] = {
	GET, GET, GET, GET, GET, ALLOC_BATCH, ALLOC_BATCH, ALLOC_BATCH, PUT, PUT, PUT,
	PUT, PUT, PUT, FREE_BATCH, FREE_BATCH, FREE_BATCH, FREE_ANY, FREE_ANY, CLAIM,
	CLAIM, CLAIM, CLAIM_ROW, CLAIM_ROW, SET_VIEW, SET_VIEW, FREE_REPORTED,
	FREE_REST, DRAIN, QUERY, RESTART, SET_SLOTS,
};

static struct diff d;
static const struct op *next_op, *last_op;
static bool trace;
static bool interrupts;
/*
 * A frame that is isolated and never allocated: a free of it is bad until a
 * recovery
 */
static unsigned long free_frame;
#define NO_FRAME	ULONG_MAX
/*
 * The operation at each depth, and the steps that are left until it is
 * interrupted
 */
static const struct op *under_way[DIFF_DEPTHS];
static unsigned long steps[DIFF_DEPTHS];
static unsigned long checked_op;
static jmp_buf crash;

/*
 * libFuzzer counts the bytes of this section as coverage, besides code that was
 * reached. A byte is set for how an operation ended, or for the place and the
 * kind of an interrupt.
 */
#define NR_PLACES	4096
#pragma clang section bss = "__libfuzzer_extra_counters"
static u8 coverage[NR_KINDS * 128 + NR_PLACES];
#pragma clang section bss = ""

static void cover_end(unsigned int kind, unsigned int order, bool success,
		      bool nested)
{
	coverage[kind * 128 + (min(order, 31U) << 2 | success << 1 | nested)] = 1;
}

static void cover_interrupt(const void *pc, unsigned int kind, bool same_slot)
{
	static const u8 group[NR_KINDS] = {
		[PUT] = 1, [FREE_BATCH] = 1, [FREE_REPORTED] = 1, [FREE_REST] = 1,
		[CLAIM] = 2, [CLAIM_ROW] = 2, [SET_VIEW] = 3, [DRAIN] = 4, [RESTART] = 5,
	};
	struct rng rng = {
		.state = (unsigned long)pc << 4 | group[kind] << 1 | same_slot,
	};

	coverage[NR_KINDS * 128 + rng_below(&rng, NR_PLACES)] = 1;
}

static enum kind op_kind(const struct op *op)
{
	return kinds[op->kind % ARRAY_SIZE(kinds)];
}

static unsigned int op_where(const struct op *op)
{
	return op->where[0] | op->where[1] << 8;
}

/* Most operations have good arguments only. Is argument @which bad? */
static bool op_odd(const struct op *op, unsigned int which)
{
	return op->odd == 0xf8 + which;
}

static unsigned long op_frame(const struct op *op)
{
	unsigned int where = op_where(op);

	if (op_odd(op, 0))
		return d.m.end + where % 1024;
	if (op_odd(op, 1))
		return d.m.first - 1 - where % 1024;
	if (op_odd(op, 2))
		return ULONG_MAX - where;
	return d.m.first + where % (d.m.end - d.m.first);
}

static int op_slot(const struct op *op)
{
	int nr = d.in.llf.nr_slots;

	if (op_odd(op, 3))
		return nr + op->slot;
	if (op_odd(op, 4))
		return -2 - op->slot;
	return op->slot % (nr + 1) - 1;
}

/* Random orders 0 to 15; one above the largest order stands for a small one */
static unsigned int op_order(const struct op *op)
{
	unsigned int order = op->size & 0xf;

	if (op_odd(op, 5))
		return LLFREE_NR_ORDERS + op->slot;
	return order <= LLFREE_MAX_ORDER ? order :
	       order - LLFREE_MAX_ORDER - 1;
}

static unsigned int op_class(const struct op *op)
{
	if (op_odd(op, 6))
		return d.in.llf.policy->nr_classes + op->slot;
	return (op->size >> 4) % d.in.llf.policy->nr_classes;
}

static u64 op_mask(const struct op *op)
{
	struct rng rng = { .state = op_where(op) };
	u64 mask = rng_next(&rng);

	switch (op->odd % 4) {
	case 0:
		return ~0ULL;
	case 1:
		return mask & rng_next(&rng) & rng_next(&rng);
	case 2:
		return BIT_ULL(mask & 63);
	default:
		return mask;
	}
}

static struct llfree_request op_request(const struct op *op)
{
	static const u8 views[] = { 0, 0, 0, 0, 0, 0, LLFREE_VIEW_CMA,
				    LLFREE_VIEW_HIGHATOMIC };
	static const u8 flags[] = { 0, 0, 0, 0, LLFREE_ALLOC_BOUNDED, LLFREE_ALLOC_NOFRAGMENT,
				    LLFREE_ALLOC_RESERVED, LLFREE_ALLOC_RESERVED |
				    LLFREE_ALLOC_NOFRAGMENT };
	struct llfree_request req = {
		.slot = op_slot(op),
		.order = op_order(op),
		.class = op_class(op),
		.view = views[op->how % 8],
		.flags = flags[(op->how >> 3) % 8],
	};

	if (op_odd(op, 7)) {
		if (op->slot & 1)
			req.view = LLFREE_VIEW_ISOLATED + (op->slot >> 1);
		else
			req.flags |= 8 << op->slot % 5;
	}
	return req;
}

/*
 * Number of blocks: up to a little more than a row has, or up to more than a
 * child has
 */
static unsigned int op_blocks(const struct op *op)
{
	return op->where[0] % 80 * (op->where[0] % 160 < 80 ? 1 : 8);
}

static bool touches_free_frame(unsigned long frame, unsigned long nr)
{
	return free_frame != NO_FRAME && frame <= free_frame &&
	       free_frame - frame < nr;
}

/* Find the first used frame from @frame on, or else from the start. */
static bool find_used(unsigned long *frame)
{
	unsigned long i, nr = d.m.end - d.m.first;

	for (i = 0; i < nr; i++) {
		unsigned long f = *frame + i < d.m.end ? *frame + i :
							 *frame + i - nr;

		if (!d.m.used[f - d.m.base])
			continue;
		*frame = f;
		return true;
	}
	return false;
}

static bool do_free(const struct op *op)
{
	unsigned int order = op->size & 0xf;
	unsigned long frame;

	frame = d.m.first + op_where(op) % (d.m.end - d.m.first);
	if (!find_used(&frame))
		return false;
	while (!model_all_used(&d.m, ALIGN_DOWN(frame, 1UL << order),
			       1UL << order))
		order--;
	return !diff_free(&d, op_slot(op), ALIGN_DOWN(frame, 1UL << order),
			 order);
}

/*
 * Is a free certainly right, or certainly wrong? While operations are under
 * way, the model may lag behind. A free of a frame that only looks used would
 * be a fault of the caller, which the core need not find.
 */
static bool free_is_sure(int slot, unsigned long frame, unsigned int order)
{
	return diff_free_hopeless(&d, slot, frame, order) ||
	       touches_free_frame(frame, 1UL << order) ||
	       model_all_used(&d.m, frame, 1UL << order);
}

/* A free of any frame; the model says whether the free is right. */
static bool do_free_any(const struct op *op, bool others)
{
	unsigned int order = op->size & 0x1f;
	unsigned long frame = op_frame(op);
	int slot = op_slot(op);

	if (order > 12 && op_odd(op, 5))
		order = 40 + order;
	if (op->how & 7 && order < BITS_PER_LONG)
		frame = ALIGN_DOWN(frame, 1UL << order);
	if (others && !free_is_sure(slot, frame, order))
		return false;
	return !diff_free(&d, slot, frame, order);
}

/* Mostly free whole children. */
static bool do_free_reported(const struct op *op, bool others)
{
	unsigned int order = LLFREE_CHILD_ORDER + op->size % 4;
	unsigned long frame = op_frame(op);

	if (op_odd(op, 5))
		order = op->size;
	if (op->how & 7 && order < BITS_PER_LONG)
		frame = ALIGN_DOWN(frame, 1UL << order);
	if (others && !free_is_sure(LLFREE_NO_SLOT, frame, order))
		return false;
	return !diff_free_reported(&d, frame, order);
}

/*
 * Free the allocated frames of a block. While other operations are under way,
 * all of the block has to be allocated.
 */
static bool do_free_rest(const struct op *op, bool others)
{
	unsigned int order = op_order(op);
	unsigned long frame = op_frame(op);
	int slot = op_slot(op);

	if (op->how & 7 && order < BITS_PER_LONG)
		frame = ALIGN_DOWN(frame, 1UL << order);
	if (others && !diff_free_hopeless(&d, slot, frame, order) &&
	    !model_all_used(&d.m, frame, 1UL << order))
		return false;
	return diff_free_rest(&d, slot, frame, order) > 0;
}

static bool do_free_batch(const struct op *op, bool others)
{
	unsigned long row = ALIGN_DOWN(op_frame(op), LLFREE_ROW_FRAMES);
	u64 used = model_row_mask(&d.m, row, true), mask = op_mask(op);

	if (op_odd(op, 5))
		row += op->slot;
	else if (touches_free_frame(row, LLFREE_ROW_FRAMES))
		mask |= BIT_ULL(free_frame - row);
	else if (others || !op_odd(op, 6))
		mask &= used;
	return !diff_free_batch(&d, op_slot(op), row, mask);
}

static bool do_claim(const struct op *op)
{
	unsigned int flags = op->how & LLFREE_CLAIM_HIDDEN;
	unsigned int order = op_order(op);
	unsigned long frame = op_frame(op);

	if (op_odd(op, 6))
		flags |= 2 << op->slot % 8;
	if (!op_odd(op, 7) && order < BITS_PER_LONG)
		frame = ALIGN_DOWN(frame, 1UL << order);
	if (order < BITS_PER_LONG && touches_free_frame(frame, 1UL << order))
		return false;
	return !diff_claim(&d, frame, order, flags);
}

static bool do_claim_row(const struct op *op)
{
	unsigned long row = ALIGN_DOWN(op_frame(op), LLFREE_ROW_FRAMES);
	unsigned int flags = op->how & LLFREE_CLAIM_HIDDEN;
	u64 mask = op_mask(op);

	if (op_odd(op, 6))
		flags |= 2 << op->slot % 8;
	if (op_odd(op, 7))
		row += op->slot;
	if (touches_free_frame(row, LLFREE_ROW_FRAMES))
		mask &= ~BIT_ULL(free_frame - row);
	return diff_claim_row(&d, row, mask, flags) > 0;
}

static bool do_set_view(const struct op *op)
{
	unsigned int view = op->how % 8;
	unsigned long frame = op_frame(op);

	/* Back to normal about half of the time */
	if (view >= LLFREE_NR_VIEWS)
		view = op_odd(op, 7) ? view : LLFREE_VIEW_NORMAL;
	if (touches_free_frame(ALIGN_DOWN(frame, LLFREE_CHILD_FRAMES),
			       LLFREE_CHILD_FRAMES))
		return false;
	return diff_set_view(&d, frame, view) >= 0;
}

static void do_query(const struct op *op)
{
	switch (op->how % 4) {
	case 0:
		diff_query_frame(&d, op_frame(op));
		return;
	case 1:
		diff_query_child(&d, op_frame(op));
		return;
	case 2:
		diff_query_orders(&d, op->slot % (LLFREE_NR_VIEWS + 1) - 1,
				  op->size % (LLFREE_CLASS_NONE + 2) - 1);
		return;
	default:
		diff_query_stats(&d);
	}
}

static bool do_restart(const struct op *op)
{
	const bool keep = !d.depth && op->how & 1, crashed = d.depth;

	/*
	 * Recovery gives an isolated child the normal view. Its last frame is
	 * no exception then.
	 */
	if (!keep)
		free_frame = NO_FRAME;
	diff_restart(&d, keep ? LLFREE_INIT_KEEP : LLFREE_INIT_RECOVER);
	if (crashed)
		longjmp(crash, 1);
	return true;
}

static bool do_set_slots(const struct op *op)
{
	/* An interrupted operation may be using the slots. */
	if (d.depth)
		return false;
	diff_set_slots(&d, op->slot % (d.in.nr_slots + 1));
	return true;
}

/*
 * Run an operation once. @others: it interrupts other ones, or may be
 * interrupted
 */
static bool do_op(const struct op *op, bool others)
{
	struct llfree_request req;

	switch (op_kind(op)) {
	case GET:
		req = op_request(op);
		return diff_alloc(&d, &req, op->where[0] & 1) >= 0;
	case ALLOC_BATCH:
		req = op_request(op);
		if (!op_odd(op, 5))
			req.order %= LLFREE_ROW_ORDER + 1;
		return diff_alloc_batch(&d, &req, op_blocks(op)) >= 0;
	case PUT:
		return do_free(op);
	case FREE_ANY:
		return do_free_any(op, others);
	case FREE_BATCH:
		return do_free_batch(op, others);
	case CLAIM:
		return do_claim(op);
	case CLAIM_ROW:
		return do_claim_row(op);
	case SET_VIEW:
		return do_set_view(op);
	case FREE_REPORTED:
		return do_free_reported(op, others);
	case FREE_REST:
		return do_free_rest(op, others);
	case DRAIN:
		return !diff_drain(&d, op_slot(op));
	case RESTART:
		return do_restart(op);
	case SET_SLOTS:
		return do_set_slots(op);
	default:
		do_query(op);
		return true;
	}
}

static unsigned long op_step(const struct op *op)
{
	unsigned long step = op->step & 0x3f;

	/* Steps of long searches are alike. */
	return step < 48 ? step : 48 + (step - 48) * 16;
}

/* Run the next operation of the input, as often as it says. */
static void run_next(void)
{
	static const u8 repeats[] = { 1, 1, 4, MAX_REPEAT };
	const struct op *op = next_op++;
	enum kind kind = op_kind(op);
	unsigned int i, nr = 1;
	bool success = true;

	if (kind == GET || kind == ALLOC_BATCH || kind == PUT || kind == FREE_BATCH)
		nr = repeats[op->how >> 6];
	for (i = 0; i < nr && success && !d.failed; i++) {
		unsigned long step = interrupts && !i &&
				     d.depth + 1 < DIFF_DEPTHS ? op_step(op) : 0;

		d.op++;
		under_way[d.depth] = op;
		steps[d.depth] = step;
		success = do_op(op, d.depth || step);
		cover_end(kind, op->size & 0x1f, success, d.depth || d.mixed);
		if (!d.depth && d.mixed)
			diff_settle(&d);
	}
}

static bool takes(enum kind kind)
{
	return kind != PUT && kind != FREE_ANY && kind != FREE_BATCH &&
	       kind != FREE_REPORTED && kind != FREE_REST && kind != SET_VIEW;
}

/* Called before each step of the core */
void shim_step(const void *word)
{
	int preempt = shim_preempt_count;
	enum kind kind;

	if (!d.running || !steps[d.depth] || --steps[d.depth] ||
	    next_op >= last_op)
		return;
	kind = op_kind(next_op);
	cover_interrupt(__builtin_return_address(0), kind,
			op_slot(next_op) == op_slot(under_way[d.depth]));
	d.running = false;
	d.mixed = true;
	d.only_takes &= takes(kind);
	d.depth++;
	run_next();
	d.depth--;
	d.running = true;
	if (shim_preempt_count != preempt) {
		printf("# op %lu left preemption count %d, not %d\n", d.op,
		       shim_preempt_count, preempt);
		d.failed = true;
	}
	/* The following operation may interrupt the same one again. */
	if (next_op < last_op)
		steps[d.depth] = next_op->step >> 6 ?
				 1UL << 2 * ((next_op->step >> 6) - 1) : 0;
}

/*
 * inst_init() fills memory with a pattern. If rows are kept, that pattern says
 * which frames are used, in the turn of the child words, which have the same
 * pattern.
 */
static void adopt_fragments(void)
{
	u64 used = 0xa5a5a5a5a5a5a5a5ULL ^ free_bits(0xa5a5);
	unsigned long f;

	for (f = d.m.first; f < d.m.end; f++)
		if (!(used & BIT_ULL(f % LLFREE_ROW_FRAMES)))
			model_mark(&d.m, f, 1, false);
}

static bool start(const u8 *header)
{
	static const u8 slot_numbers[] = { 0, 1, 2, 2, 3, 4, 8, 17 };
	unsigned int value = header[H_NR] | header[H_NR + 1] << 8;
	unsigned int place = header[H_FIRST] | header[H_FIRST + 1] << 8;
	unsigned int state = (header[H_MODE] >> HEADER_STATE_SHIFT) % 4;
	unsigned int policy = header[H_USERS] % 4, nr_slots;
	static const enum llfree_mode modes[NR_STATES] = {
		[STATE_FREE] = LLFREE_INIT_FREE,
		[STATE_ALLOC] = LLFREE_INIT_ALLOC,
		[STATE_FRAGMENTED] = LLFREE_INIT_RECOVER,
	};
	unsigned long first, nr, f;

	if (state >= NR_STATES)
		state = STATE_FREE;
	switch (header[H_SIZE] % 8) {
	case 0:		/* one frame to one row */
		nr = 1 + value % LLFREE_ROW_FRAMES;
		break;
	case 1:		/* less than a child */
		nr = 1 + value % (LLFREE_CHILD_FRAMES - 1);
		break;
	case 2:		/* one or two children */
		nr = (1 + value % 2) * LLFREE_CHILD_FRAMES;
		break;
	case 3:
		nr = LLFREE_MIN_TREE_FRAMES;
		break;
	case 4:		/* some trees */
		nr = 1 + value % (5 * LLFREE_MIN_TREE_FRAMES);
		break;
	default:
		nr = 1 + value % (3 * LLFREE_CHILD_FRAMES);
	}
	switch (header[H_PLACE] % 4) {
	case 0:
		first = 0;
		break;
	case 1:
		first = LLFREE_MIN_TREE_FRAMES * place;
		break;
	case 2:
		first = LLFREE_MAX_FRAMES - nr - place;
		break;
	default:
		first = place;
	}
	nr_slots = slot_numbers[(header[H_USERS] >> 2) % 8];
	inst_tree_order = LLFREE_MIN_TREE_ORDER + (header[H_SIZE] >> 3) %
			  (LLFREE_MAX_TREE_ORDER - LLFREE_MIN_TREE_ORDER + 1);

	memset(&d, 0, sizeof(d));
	d.verbose = trace;
	d.sparse = 1 + nr / 64;
	d.rng.state = place;
	memset(steps, 0, sizeof(steps));
	checked_op = 0;
	shim_warnings = 0;
	shim_preempt_count = 0;
	interrupts = header[H_MODE] & HEADER_INTERRUPTS;
	free_frame = NO_FRAME;
	if (trace)
		printf("# %lu frames from %#lx, state %u, policy %u, %u slots%s\n",
		       nr, first, state, policy, nr_slots,
		       interrupts ? ", interrupts" : "");
	if (model_init(&d.m, first, nr, inst_tree_order, state != STATE_FREE))
		return false;
	if (inst_init(&d.in, first, nr, modes[state],
		      policy < DIFF_POLICIES ? &diff_policies[policy] : NULL,
		      nr_slots)) {
		model_destroy(&d.m);
		return false;
	}
	if (state == STATE_FRAGMENTED) {
		adopt_fragments();
		/* The pattern in memory also decides the views of children. */
		diff_settle(&d);
		if (header[H_MODE] & HEADER_EXTRA)
			for (f = first; f < first + nr; f = llfree_next_child(f))
				diff_set_view(&d, f, LLFREE_VIEW_NORMAL);
	} else if (state == STATE_FREE && interrupts &&
		   (header[H_MODE] & HEADER_EXTRA)) {
		free_frame = d.m.end - 1;
		diff_set_view(&d, free_frame, LLFREE_VIEW_ISOLATED);
	}
	return true;
}

int fuzz_init(int *argc, char ***argv)
{
	const char *env = getenv("LLFREE_FUZZ_TRACE");

	trace = env && *env && strcmp(env, "0");
	/* Print the lines before a fault at once. */
	setvbuf(stdout, NULL, _IOLBF, 0);
	return 0;
}

int fuzz_input(const u8 *data, size_t size)
{
	if (size < HEADER_SIZE + sizeof(struct op))
		return 0;
	next_op = (const struct op *)(data + HEADER_SIZE);
	last_op = next_op + min_t(size_t, MAX_OPS, (size - HEADER_SIZE) /
						   sizeof(struct op));
	if (!start(data))
		abort();
	/* A crash jumps back to here. */
	setjmp(crash);
	while (next_op < last_op && !d.failed) {
		run_next();
		if (d.op - checked_op >= CHECK_OPS) {
			diff_check(&d);
			checked_op = d.op;
		}
	}
	if (!d.failed)
		diff_check_all(&d);
	if (d.failed)
		abort();
	inst_exit(&d.in);
	model_destroy(&d.m);
	return 0;
}

/* Insert, remove, copy and change whole operations. */
size_t fuzz_mutate(u8 *data, size_t size, size_t max_size, unsigned int seed)
{
	struct rng rng = { .state = seed };
	struct op *ops = (struct op *)(data + HEADER_SIZE), op, copy[8];
	unsigned int nr, room, i, from, len;
	u64 random;

	if (max_size < HEADER_SIZE + sizeof(op))
		return fuzz_mutate_bytes(data, size, max_size);
	if (size < HEADER_SIZE)
		memset(data + size, 0, HEADER_SIZE - size);
	nr = size > HEADER_SIZE ? (size - HEADER_SIZE) / sizeof(op) : 0;
	room = (max_size - HEADER_SIZE) / sizeof(op);
	i = rng_below(&rng, nr + 1);
	switch (nr ? rng_below(&rng, 8) : 0) {
	case 0:
	case 1:		/* a new operation */
		if (nr == room)
			break;
		memmove(&ops[i + 1], &ops[i], (nr - i) * sizeof(op));
		random = rng_next(&rng);
		memcpy(&ops[i], &random, sizeof(op));
		if (rng_below(&rng, 8))
			ops[i].odd &= 0x3;
		nr++;
		break;
	case 2:		/* fewer operations */
		len = 1 + rng_below(&rng, min(nr - min(i, nr - 1), 4U));
		i = min(i, nr - len);
		memmove(&ops[i], &ops[i + len], (nr - i - len) * sizeof(op));
		nr -= len;
		break;
	case 3:		/* copies of operations */
		from = rng_below(&rng, nr);
		len = 1 + rng_below(&rng, ARRAY_SIZE(copy));
		len = min(len, min(nr - from, room - nr));
		if (!len)
			break;
		memcpy(copy, &ops[from], len * sizeof(op));
		memmove(&ops[i + len], &ops[i], (nr - i) * sizeof(op));
		memcpy(&ops[i], copy, len * sizeof(op));
		nr += len;
		break;
	case 4:		/* another sequence */
		from = rng_below(&rng, nr);
		i = rng_below(&rng, nr);
		op = ops[i];
		ops[i] = ops[from];
		ops[from] = op;
		break;
	case 5:		/* another instance */
		fuzz_mutate_bytes(data, HEADER_SIZE, HEADER_SIZE);
		break;
	default:	/* other arguments */
		i = rng_below(&rng, nr);
		fuzz_mutate_bytes((u8 *)&ops[i], sizeof(op), sizeof(op));
	}
	return HEADER_SIZE + nr * sizeof(op);
}
