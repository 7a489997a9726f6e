// SPDX-License-Identifier: GPL-2.0
/*
 * Times of allocations in states that are bad for a search, for several sizes
 * of memory. In each state a block that fits is hard to find:
 *
 *   blocks    every second frame is free; in 256 MiB there is one block of
 *             order 3, which is wanted
 *   no-slot   blocks, for callers without a slot, which remember no place
 *   far       no-slot, with one block only in every 16th tree, whatever the
 *             size of trees
 *   children  every second frame is free; in 16,000 MiB there is one entirely
 *             free child, which is wanted
 *   frame     all frames but one are allocated; this frame is wanted and each
 *             time somewhere else
 *   none      every second frame is free; a block of order 3 is wanted, and
 *             there is none. Between two attempts frames in random trees are
 *             freed and others allocated.
 *   bounded   none, for a caller that must not search for long
 *
 * Blocks are freed again only when there is no other one. So in the first round
 * each search finds a block that no search has seen before. This round is told
 * apart from later ones.
 *
 * One thread repeats each run, and the fastest run of each operation counts:
 * the machine may interrupt an operation once, but not each time. Built with
 * SHIM_STEP, the program counts steps instead of time. A step is an access to a
 * shared word.
 */
#include <linux/align.h>
#include <linux/kernel.h>
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "inst.h"

#define RUNS		3
#define MAX_OPS		20000U
/* A run of a state ends after this time, but not before MIN_OPS operations. */
#define RUN_NS		2000000000UL
#define MIN_OPS		16U
/* Frames that are freed and allocated between two attempts in "none" */
#define CHURN		16U

#define FRAMES_PER_GIB	BIT(18)
#define SINGLES		0x5555555555555555ULL
#define BLOCK_ORDER	3
#define CLASS		LLFREE_CLASS_MOVABLE

enum state { BLOCKS, NO_SLOT, FAR, CHILDREN, FRAME, NONE, BOUNDED, NR_STATES };

static const char *const state_names[NR_STATES] = {
	"blocks", "no-slot", "far", "children", "frame", "none", "bounded",
};

static struct {
	unsigned int gib[16];
	unsigned int nr_sizes;
} opt = { .gib = { 4, 64, 1024 }, .nr_sizes = 3 };

static struct inst in;
static struct rng rng;
/* Time or steps of the operations of a state, the least of all runs */
static unsigned long taken[MAX_OPS];
static unsigned int nr_taken;
static unsigned long churned[CHURN];

static unsigned long clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000UL + ts.tv_nsec;
}

#ifdef SHIM_STEP
static const char unit[] = "steps";
static unsigned long steps;

void shim_step(const void *word)
{
	steps++;
}

static unsigned long now(void)
{
	return steps;
}
#else
static const char unit[] = "ns";
#define now	clock_ns
#endif

static void __noreturn die(const char *what)
{
	fprintf(stderr, "adverse: %s\n", what);
	exit(1);
}

static unsigned long nr_frames(void)
{
	return in.llf.end - in.llf.first;
}

static long alloc(int slot, unsigned int order, unsigned int flags)
{
	return inst_alloc_class(&in, slot, order, order < LLFREE_CHILD_ORDER ?
			      CLASS : LLFREE_CLASS_HUGE, flags);
}

static void release(unsigned long frame, unsigned int order)
{
	if (inst_free(&in, LLFREE_NO_SLOT, frame, order))
		die("a block cannot be freed");
}

/* Frames between two wanted blocks; 0 if there are none */
static unsigned long distance(enum state state)
{
	switch (state) {
	case BLOCKS:
	case NO_SLOT:
		return 16 * LLFREE_MIN_TREE_FRAMES;
	case FAR:
		return 16UL << inst_tree_order;
	case CHILDREN:
		return 1000 * LLFREE_MIN_TREE_FRAMES;
	default:
		return 0;
	}
}

/* Write the rows of a state, and let the core count them. */
static void set_up(enum state state, unsigned long frames)
{
	unsigned int order = state == CHILDREN ? LLFREE_CHILD_ORDER : BLOCK_ORDER;
	unsigned long row, frame, step;
	u64 *rows;

	inst_tree_order = llfree_tree_order(frames, frames >> 18);
	if (inst_init(&in, 0, frames, LLFREE_INIT_ALLOC, NULL, 1))
		die("no memory");
	rows = in.mem.rows;
	for (row = 0; row < frames / LLFREE_ROW_FRAMES; row++)
		rows[row] = state == FRAME ? ~0ULL : SINGLES;
	step = distance(state);
	/* Each block is at the end of the words that a search for it reads. */
	for (frame = min(step, frames); step && frame <= frames; frame += step) {
		row = (frame - (1UL << order)) / LLFREE_ROW_FRAMES;
		if (order < LLFREE_ROW_ORDER)
			rows[row] &= ~0ULL >> (1 << order);
		else
			memset(&rows[row], 0, (1UL << order) / 8);
	}
	memset(in.mem.children, 0, in.mem.children_size);
	if (inst_reinit(&in, LLFREE_INIT_RECOVER))
		die("the state cannot be set up");
}

/* A frame that is free in SINGLES */
static unsigned long random_single(void)
{
	return rng_below(&rng, nr_frames() / 2) * 2 + 1;
}

/* Allocate random frames, and free those of the last time. */
static void churn(void)
{
	unsigned int i;

	for (i = 0; i < CHURN; i++) {
		if (churned[i])
			release(churned[i], 0);
		churned[i] = random_single();
		if (llfree_claim(&in.llf, churned[i], 0, 0, &in.sum))
			churned[i] = 0;
	}
}

static long attempt(unsigned int nr, int slot, unsigned int order, unsigned int flags)
{
	unsigned long start = now(), time;
	long frame = alloc(slot, order, flags);

	time = now() - start;
	taken[nr] = nr < nr_taken ? min(taken[nr], time) : time;
	return frame;
}

/* Run a state once. Return: number of operations */
static unsigned int run(enum state state, unsigned long frames)
{
	unsigned int order = state == CHILDREN ? LLFREE_CHILD_ORDER :
			     state == FRAME ? 0 : BLOCK_ORDER;
	unsigned int flags = state == BOUNDED ? LLFREE_ALLOC_BOUNDED : 0;
	int slot = state == NO_SLOT || state == FAR ? LLFREE_NO_SLOT : 0;
	static unsigned long held[MAX_OPS];
	unsigned int nr, nr_held = 0, limit;
	unsigned long start = clock_ns();
	long frame;

	rng.state = 1;
	memset(churned, 0, sizeof(churned));
	set_up(state, frames);
	limit = nr_taken ?: MAX_OPS;
	for (nr = 0; nr < limit; nr++) {
		if (!nr_taken && nr >= MIN_OPS && clock_ns() - start > RUN_NS)
			break;
		if (state == FRAME)
			release(rng_below(&rng, frames), 0);
		if (state == NONE || state == BOUNDED)
			churn();
		frame = attempt(nr, slot, order, flags);
		if (state == NONE || state == BOUNDED) {
			if (frame >= 0)
				die("a block where there is none");
			continue;
		}
		if (frame < 0)
			die("no block where there is one");
		if (state == FRAME)
			continue;
		held[nr_held++] = frame;
		if (nr_held < max(1UL, frames / distance(state)))
			continue;
		while (nr_held)
			release(held[--nr_held], order);
	}
	if (*inst_check(&in))
		die(inst_check(&in));
	inst_exit(&in);
	return nr;
}

static void measure(enum state state, unsigned int gib)
{
	unsigned long sum[2] = { }, most = 0, size = gib * FRAMES_PER_GIB, step;
	unsigned int nr[2] = { }, i, later;

	nr_taken = 0;
	for (i = 0; i < RUNS; i++)
		nr_taken = run(state, size);
	step = distance(state);
	for (i = 0; i < nr_taken; i++) {
		later = i >= (step ? max(1UL, size / step) : 2);
		sum[later] += taken[i];
		nr[later]++;
		most = max(most, taken[i]);
	}
	printf("%-9s %8u %8u %12lu ", state_names[state], gib, nr_taken,
	       sum[0] / nr[0]);
	if (nr[1])
		printf("%12lu", sum[1] / nr[1]);
	else
		printf("%12s", "-");
	printf(" %12lu  %s\n", most, unit);
	fflush(stdout);
}

static const struct argp_option options[] = {
	{ "gib", 'g', "N,..", 0, "sizes of memory (4,64,1024)", 0 },
	{}
};

static error_t parse(int key, char *arg, struct argp_state *as)
{
	char *word, *end;
	double gib;

	if (key != 'g')
		return ARGP_ERR_UNKNOWN;
	opt.nr_sizes = 0;
	for (word = strtok(arg, ","); word; word = strtok(NULL, ",")) {
		gib = strtod(word, &end);
		if (end == word || *end || !(gib >= 1 && gib <= 65536))
			argp_error(as, "not a number from 1 to 65536: %s", word);
		if (opt.nr_sizes == ARRAY_SIZE(opt.gib))
			argp_error(as, "too many sizes");
		opt.gib[opt.nr_sizes++] = gib;
	}
	if (!opt.nr_sizes)
		argp_error(as, "no size");
	return 0;
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		.options = options,
		.parser = parse,
		.doc = "How long allocations take in states that are bad for a search",
	};
	unsigned int i, state;

	argp_parse(&argp, argc, argv, 0, NULL, NULL);
	printf("%-9s %8s %8s %12s %12s %12s\n", "state", "GiB", "allocs", "first round",
	       "later", "most");
	for (state = 0; state < NR_STATES; state++)
		for (i = 0; i < opt.nr_sizes; i++)
			measure(state, opt.gib[i]);
	return 0;
}
