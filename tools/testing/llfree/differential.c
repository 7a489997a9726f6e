// SPDX-License-Identifier: GPL-2.0
/* Random operations, run on the core and on the model side by side */
#include <linux/align.h>
#include <linux/bits.h>
#include <linux/bitops.h>
#include <linux/minmax.h>
#include <argp.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "diff.h"
#include "kselftest.h"

struct options {
	u64 seed;
	unsigned long ops;
	unsigned long tests;
	unsigned long check;
	bool verbose;
};

/*
 * Percentage of allocations among allocations and frees; drifts to fill and to
 * empty memory
 */
static unsigned int fill;

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

/* Mostly a frame of the range, sometimes one just outside or far away */
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
	/*
	 * Other views have few children, so most allocations use the normal
	 * one.
	 */
	return chance(d, 80) ? LLFREE_VIEW_NORMAL : pick(d, LLFREE_ALLOC_VIEWS);
}

static unsigned int pick_order(struct diff *d)
{
	return chance(d, 50) ? pick(d, 4) : pick(d, LLFREE_NR_ORDERS);
}

static struct llfree_request pick_request(struct diff *d)
{
	return (struct llfree_request) {
		.slot = pick_slot(d),
		.order = pick_order(d),
		.class = pick(d, d->in.llf.policy->nr_classes),
		.view = pick_view(d),
		.flags = (chance(d, 10) ? LLFREE_ALLOC_NOFRAGMENT : 0) |
			 (chance(d, 10) ? LLFREE_ALLOC_RESERVED : 0) |
			 (chance(d, 10) ? LLFREE_ALLOC_BOUNDED : 0),
	};
}

/* Spoil one field of a request, so that the core must refuse it. */
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

static void do_alloc(struct diff *d)
{
	struct llfree_request req = pick_request(d);

	if (chance(d, 2))
		spoil_request(d, &req, LLFREE_MAX_ORDER);
	diff_alloc(d, &req, pick(d, 2));
}

static void do_alloc_batch(struct diff *d)
{
	struct llfree_request req = pick_request(d);
	unsigned int nr = 1 + (chance(d, 50) ? pick(d, 64) : pick(d, 4));

	req.order = pick(d, LLFREE_ROW_ORDER + 1);
	if (chance(d, 3))
		nr += 1000;
	if (chance(d, 2)) {
		if (pick(d, 6))
			spoil_request(d, &req, LLFREE_ROW_ORDER);
		else
			nr = 0;
	}
	diff_alloc_batch(d, &req, nr);
}

/* Find a used block from a random frame. @order is -1 if there is none. */
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

static void do_free(struct diff *d)
{
	int order, slot = pick_slot(d);
	unsigned long frame;

	if (chance(d, 5)) {
		/* Free any frame; the model says whether the free is right. */
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
	diff_free(d, slot, frame, order);
}

/* Free whole children. About half of them are claimed before. */
static void do_free_reported(struct diff *d)
{
	unsigned int order = LLFREE_CHILD_ORDER + pick(d, 4);
	unsigned long frame;

	if (chance(d, 5))
		order = pick(d, 34);
	frame = ALIGN_DOWN(pick_any_frame(d), 1UL << order);
	if (chance(d, 50))
		diff_claim(d, frame, order, LLFREE_CLAIM_HIDDEN);
	if (chance(d, 5))
		frame += 1 + pick(d, LLFREE_CHILD_FRAMES - 1);
	diff_free_reported(d, frame, order);
}

/* Free the allocated frames of any block. */
static void do_free_rest(struct diff *d)
{
	unsigned int order = chance(d, 3) ? pick(d, 34) : pick_order(d);
	unsigned long frame = pick_any_frame(d);
	int slot = pick_slot(d);

	if (!chance(d, 3))
		frame = ALIGN_DOWN(frame, 1UL << order);
	if (chance(d, 3))
		slot = d->in.nr_slots + pick(d, 4);
	diff_free_rest(d, slot, frame, order);
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

static void do_free_batch(struct diff *d)
{
	unsigned long row = ALIGN_DOWN(pick_frame(d), LLFREE_ROW_FRAMES);
	u64 mask = model_row_mask(&d->m, row, true) & pick_mask(d);
	int slot = pick_slot(d);

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
			break;
		default:
			slot = d->in.nr_slots + pick(d, 4);
		}
	} else if (!mask) {
		return;
	}
	diff_free_batch(d, slot, row, mask);
}

static void do_claim(struct diff *d)
{
	unsigned int flags = chance(d, 30) ? LLFREE_CLAIM_HIDDEN : 0;
	unsigned int order = chance(d, 3) ? pick(d, 34) : pick_order(d);
	unsigned long frame = pick_any_frame(d);

	if (!chance(d, 3))
		frame = ALIGN_DOWN(frame, 1UL << order);
	diff_claim(d, frame, order, flags);
}

static void do_claim_row(struct diff *d)
{
	unsigned int flags = chance(d, 30) ? LLFREE_CLAIM_HIDDEN : 0;
	unsigned long row = ALIGN_DOWN(pick_any_frame(d), LLFREE_ROW_FRAMES);

	if (chance(d, 2))
		row += 1 + pick(d, 63);
	diff_claim_row(d, row, pick_mask(d), flags);
}

static void do_set_view(struct diff *d)
{
	unsigned int view = chance(d, 60) ? LLFREE_VIEW_NORMAL :
					    pick(d, LLFREE_NR_VIEWS);

	if (chance(d, 2))
		view = LLFREE_NR_VIEWS + pick(d, 100);
	diff_set_view(d, pick_any_frame(d), view);
}

static void do_drain(struct diff *d)
{
	if (chance(d, 5))
		diff_drain(d, d->in.nr_slots + pick(d, 4));
	else
		diff_drain(d, pick_slot(d));
}

/*
 * Set the slots again, or restart on the same memory after a stop or a crash.
 */
static void do_restart(struct diff *d)
{
	switch (pick(d, 3)) {
	case 0:
		diff_set_slots(d, pick(d, d->in.nr_slots + 1));
		return;
	case 1:
		diff_restart(d, LLFREE_INIT_KEEP);
		return;
	default:
		diff_restart(d, LLFREE_INIT_RECOVER);
	}
}

static void step(struct diff *d)
{
	unsigned int what = pick(d, 1000);

	if (what < 860) {
		bool get = chance(d, fill);

		if (chance(d, 60))
			get ? do_alloc(d) : do_free(d);
		else
			get ? do_alloc_batch(d) : do_free_batch(d);
	} else if (what < 900) {
		do_claim(d);
	} else if (what < 930) {
		do_claim_row(d);
	} else if (what < 960) {
		do_set_view(d);
	} else if (what < 975) {
		do_free_rest(d);
	} else if (what < 985) {
		do_free_reported(d);
	} else if (what < 999) {
		do_drain(d);
	} else if (chance(d, 10)) {
		do_restart(d);
	}
	if (!pick(d, 2000))
		fill = 20 + pick(d, 61);
}

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
		*nr = LLFREE_MIN_TREE_FRAMES;
		break;
	case 4:
		*nr = 4 * LLFREE_MIN_TREE_FRAMES;
		break;
	case 5:
		*nr = LLFREE_MIN_TREE_FRAMES + pick(d, 6 * LLFREE_MIN_TREE_FRAMES);
		break;
	default:
		*nr = 1 + pick(d, 3 * LLFREE_MIN_TREE_FRAMES);
	}
	switch (pick(d, 4)) {
	case 0:
		*first = 0;
		break;
	case 1:
		*first = LLFREE_MIN_TREE_FRAMES * (1 + pick(d, 1000));
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
	inst_tree_order = LLFREE_MIN_TREE_ORDER;
	if (chance(&d, 30))
		inst_tree_order = pick(&d, 2) ? LLFREE_MIN_TREE_ORDER + 1 :
						LLFREE_MAX_TREE_ORDER;
	policy_nr = pick(&d, DIFF_POLICIES + 2);
	if (policy_nr < DIFF_POLICIES)
		policy = &diff_policies[policy_nr];
	nr_slots = slots[pick(&d, ARRAY_SIZE(slots))];
	alloc = chance(&d, 25);
	fill = alloc ? 30 : 60;

	err = model_init(&d.m, first, nr, inst_tree_order, alloc);
	if (!err)
		err = inst_init(&d.in, first, nr,
				alloc ? LLFREE_INIT_ALLOC : LLFREE_INIT_FREE,
				policy, nr_slots);
	if (err)
		ksft_exit_fail_msg("init %#lx+%#lx: %d\n", first, nr, err);
	/* To check all frames of a large range would take long. */
	d.sparse = nr > 8192 ? 16 : 1;
	diff_check_all(&d);
	for (d.op = 1; d.op <= opt->ops && !d.failed; d.op++) {
		step(&d);
		if (d.op % opt->check == 0)
			diff_check_all(&d);
	}
	if (!d.failed)
		diff_check_all(&d);
	ksft_test_result(!d.failed,
			 "differential --tests 1 --seed %llu --ops %lu --check %lu (%lu frames from %#lx, %u slots, %u classes)\n",
			 (unsigned long long)seed, opt->ops, opt->check, nr,
			 first, nr_slots, d.in.llf.policy->nr_classes);
	inst_exit(&d.in);
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
