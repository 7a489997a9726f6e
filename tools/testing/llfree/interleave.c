// SPDX-License-Identifier: GPL-2.0
/*
 * Exhaustive interleavings of a few operations of the core.
 *
 * Small programs of one or two operations for each of two to four threads start
 * from states in which the operations get in each other's way. explore() runs
 * the threads in all orders; see explore.h. The following must hold in each
 * order:
 *
 *   - no frame has two owners, and no free of an own frame fails;
 *   - an allocation does not fail if a block that fits was free all the while.
 *     It does not fail, either, if at each moment there was a block that fits,
 *     though not always the same one;
 *   - an allocation does not return a frame of a child that had another view
 *     all the while. So it returns no frame of a child once isolating that
 *     child has returned;
 *   - no thread allocates frames that are free in a child that was isolated and
 *     found stable. At some moment of that check no operation was between two
 *     steps there;
 *   - at the end rows are those of the owners, all counters agree, and no hint
 *     hides a block;
 *   - with weak memory, the next owner of a frame sees all writes of the last
 *     owner;
 *   - while preemption is on in all threads, each child counts exactly its
 *     clear bits, so that each free block is in reach of an allocation;
 *   - if a thread is stopped between any two of its steps, all other threads
 *     end, in a bounded number of steps.
 *
 * This file has the tests: states, and the programs that each test explores.
 * The checks of each step are in interleave-watch.c, and those of the end in
 * interleave-world.c.
 *
 * EFFORT=n in the environment makes the limits n times as high (default 1).
 * TRACE=1 prints all steps of each run.
 */
#include <stdio.h>
#include <stdlib.h>

#include "explore.h"
#include "inst.h"
#include "interleave-ops.h"
#include "interleave-program.h"
#include "interleave-states.h"
#include "interleave-watch.h"
#include "interleave-world.h"
#include "kselftest_harness.h"

static struct totals {
	unsigned long scenarios;
	unsigned long incomplete;
	unsigned long long runs;
	unsigned long long cut;
	unsigned long long steps;
} totals;

static unsigned long effort(void)
{
	const char *env = getenv("EFFORT");

	return env ? strtoul(env, NULL, 0) : 1;
}

enum memory { STRONG, WEAK };

/*
 * Explore a scenario. One that is too large to be explored wholly goes on at
 * random.
 */
static bool check(const char *text, enum memory memory, bool same_slot,
		  unsigned long limit)
{
	struct explore_test test = {
		.mem = &world, .size = sizeof(world),
		.reset = world_reset, .thread = run_program,
		.step = before_step, .wrote = world_wrote, .name = word_name,
		.finish = world_finish,
	};
	struct explore_options opt = {
		.weak = memory == WEAK, .max_stale = 2, .freeze = -1,
		.max_runs = limit * effort(), .trace = getenv("TRACE"),
	};
	struct explore_result res;
	int a;

	test.nr_threads = parse_programs(text);
	for (a = 0; a < NR_ACTORS; a++)
		slot_of[a] = same_slot ? 0 : a % EXPLORE_THREADS % 2;
	weak = opt.weak;
	explore(&test, &opt, &res);
	totals.scenarios++;
	totals.runs += res.runs;
	totals.cut += res.cut;
	totals.steps += res.steps;
	if (!res.why && !res.complete) {
		totals.incomplete++;
		opt.random = max(opt.max_runs / 4, 1UL);
		opt.max_runs = 0;
		opt.seed = rng_seed();
		explore(&test, &opt, &res);
		totals.runs += res.runs;
		totals.steps += res.steps;
	}
	weak = false;
	if (!res.why)
		return true;
	fprintf(stderr, "# %s%s%s: %s, %#llx\n", text,
		memory == WEAK ? ", weak memory" : "",
		same_slot ? ", same slot" : "", res.why, res.where);
	return false;
}

static void log_totals(struct __test_metadata *_metadata)
{
	TH_LOG("%lu scenarios, %llu runs, %llu cut short, %llu steps, %lu not complete",
	       totals.scenarios, totals.runs, totals.cut, totals.steps,
	       totals.incomplete);
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
FIXTURE_VARIANT_ADD(state, half) { state_half };
FIXTURE_VARIANT_ADD(state, row) { state_row };
FIXTURE_VARIANT_ADD(state, tail) { state_tail };
FIXTURE_VARIANT_ADD(state, two) { state_two };
FIXTURE_VARIANT_ADD(state, full) { state_full };
FIXTURE_VARIANT_ADD(state, crowded) { state_crowded };
FIXTURE_VARIANT_ADD(state, rows) { state_rows };
FIXTURE_VARIANT_ADD(state, rows_full) { state_rows_full };
FIXTURE_VARIANT_ADD(state, holes) { state_holes };
FIXTURE_VARIANT_ADD(state, views) { state_views };
FIXTURE_VARIANT_ADD(state, reserved) { state_reserved };
FIXTURE_VARIANT_ADD(state, lent) { state_lent };
FIXTURE_VARIANT_ADD(state, foreign) { state_foreign };
FIXTURE_VARIANT_ADD(state, exhausted) { state_exhausted };

FIXTURE_SETUP(state)
{
	world_init(variant->set_up);
	world_reset();
	ASSERT_EQ(NULL, world_finish());
}

FIXTURE_TEARDOWN(state)
{
}

FIXTURE(one_full)
{
};

FIXTURE_SETUP(one_full)
{
	world_init(state_full);
	world_reset();
	ASSERT_EQ(NULL, world_finish());
}

FIXTURE_TEARDOWN(one_full)
{
}

FIXTURE(one_row)
{
};

FIXTURE_SETUP(one_row)
{
	world_init(state_one_row);
	world_reset();
	ASSERT_EQ(NULL, world_finish());
}

FIXTURE_TEARDOWN(one_row)
{
}

FIXTURE(tree_lent)
{
};

FIXTURE_SETUP(tree_lent)
{
	world_init(state_tree_lent);
	world_reset();
	ASSERT_EQ(NULL, world_finish());
}

FIXTURE_TEARDOWN(tree_lent)
{
}

FIXTURE(one_pair)
{
};

FIXTURE_SETUP(one_pair)
{
	world_init(state_pair);
	world_reset();
	ASSERT_EQ(NULL, world_finish());
}

FIXTURE_TEARDOWN(one_pair)
{
}

FIXTURE(whole_owned)
{
};

FIXTURE_SETUP(whole_owned)
{
	world_init(state_whole_owned);
	world_reset();
	ASSERT_EQ(NULL, world_finish());
}

FIXTURE_TEARDOWN(whole_owned)
{
}

FIXTURE(no_slots)
{
};

FIXTURE_SETUP(no_slots)
{
	world_init(state_no_slots);
	world_reset();
	ASSERT_EQ(NULL, world_finish());
}

FIXTURE_TEARDOWN(no_slots)
{
}

#define SECONDS_MAX	36000

/* Every operation against every other one */
TEST_F_TIMEOUT(state, pairs, SECONDS_MAX)
{
	char text[64];
	int i, j;

	for (i = 0; i < nr_paired; i++) {
		for (j = i; j < nr_paired; j++) {
			snprintf(text, sizeof(text), "%s | %s", ops[i].name,
				 ops[j].name);
			ASSERT_TRUE(check(text, STRONG, false, 2000));
			ASSERT_TRUE(check(text, STRONG, true, 500));
		}
	}
	log_totals(_metadata);
}

/* Every operation against every other one, with weak memory */
TEST_F_TIMEOUT(state, weak_pairs, SECONDS_MAX)
{
	char text[64];
	int i, j;

	for (i = 0; i < nr_paired; i++) {
		for (j = i; j < nr_paired; j++) {
			snprintf(text, sizeof(text), "%s | %s", ops[i].name,
				 ops[j].name);
			ASSERT_TRUE(check(text, WEAK, false, 400));
		}
	}
	log_totals(_metadata);
}

/* Operations that stand for all kinds of steps */
static const char * const kinds[] = {
	"free0", "free8", "free9", "alloc0", "alloc6", "alloc8", "alloc9", "alloc10",
	"alloc0noslot", "batch0", "claim9", "claimrow", "isolate", "tocma",
	"isolateput", "drainall",
};

TEST_F_TIMEOUT(state, triples, SECONDS_MAX)
{
	char text[96];
	int i, j, k;

	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		for (j = i; j < ARRAY_SIZE(kinds); j++)
			for (k = j; k < ARRAY_SIZE(kinds); k++) {
				snprintf(text, sizeof(text), "%s | %s | %s",
					 kinds[i], kinds[j], kinds[k]);
				ASSERT_TRUE(check(text, STRONG, false, 200));
			}
	log_totals(_metadata);
}

/* An interrupt at any step of the first thread, while the second one runs */
TEST_F_TIMEOUT(state, interrupted, SECONDS_MAX)
{
	char text[96];
	int i, j, k;

	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		for (j = 0; j < ARRAY_SIZE(kinds); j++)
			for (k = 0; k < ARRAY_SIZE(kinds); k++) {
				snprintf(text, sizeof(text), "%s ! %s | %s",
					 kinds[i], kinds[j], kinds[k]);
				ASSERT_TRUE(check(text, STRONG, false, 50));
			}
	log_totals(_metadata);
}

/* Longer programs, chosen for faults of the past and likely ones */
static const char * const chosen[] = {
	/* Frames are freed while other threads search for them. */
	"free0 | alloc0 | alloc0",
	"free0 free0 | alloc0 | alloc0",
	"free0 | free0 | alloc9",
	"freeword | freeword | batch0noslot",
	"freeword | freeword | batch0",
	"free0 | quick0 | quick0",
	"quick0 | quick0 | tocma",
	"quick6 | quick0 | tocma tonormal",
	"quick4 | claimrow | isolate",
	"batch0 | batch0 | free0",
	"batch3 free0got | alloc9 | alloc0",
	"claimrow | batch0 | tocma",
	"isolatewait | batch0 | drainall",
	"free8 | free8 | alloc9 | alloc0",
	"free8 | free8 | alloc10",
	"free8 | free8 | alloc8",
	/* Frees to the reservation of an exhausted tree */
	"free6 alloc7 alloc7 alloc0 free8 drainall | alloc8",
	"free6got | claim7 | claim0row1 claim0",
	"free9 | free9 | alloc10",
	"free9 | free9 | alloc0 | alloc10",
	/*
	 * Pieces of a block are freed that was allocated as a whole, and the
	 * other way round.
	 */
	"alloc9 free0got | free0 | alloc0",
	"alloc9 free0got | alloc0noslot | alloc0noslot",
	"alloc9 free0got | batch0 | claim0row1",
	"alloc0 free0got | alloc9 | alloc9",
	"alloc0 free0got | alloc10 | alloc9",
	"alloc6 free6got | alloc8 | alloc7",
	"alloc9 free9got | alloc9 free9got | alloc9",
	"batch0 free6got | alloc7 | alloc6",
	/* Frees of blocks that are partly free */
	"badputfree9 | alloc0 | alloc0",
	"badputfree9 | badputfree9 | alloc0",
	"badputhalf8 | alloc0 | alloc0",
	"badputhalf8 | badputhalf8 | alloc0",
	/* Undo: other threads change the block in between. */
	"alloc10 | alloc9 | isolate",
	"alloc10 | alloc9 | tocma",
	"alloc10 | claim9 | tocma tonormal",
	"alloc8 | alloc0 | isolate tonormal",
	"alloc7 | alloc0 free0got | alloc6",
	"alloc7 | free0 | alloc6 | alloc0",
	"claim10 | alloc9 | isolate",
	"claim10 | alloc0 | tocma",
	"claim8 | alloc0 | isolate | tonormal",
	"claimrow | batch0noslot | tocma",
	/* Views */
	"isolate tonormal | alloc0 free0got | alloc9",
	"tocma tonormal | alloc2cma | alloc0",
	"free0 | free8 | isolateput | alloc0",
	"free0 | free8 | tocmaput | alloc2cma",
	"isolate alloc0 | alloc0 free0got",
	"isolate tonormal | isolate tonormal | alloc0 | alloc0",
	/* Reservations begin and end. */
	"alloc0 free0got alloc0 | drain0 | alloc0",
	"free0 free0 free0 | alloc0 | drainall",
	"free0 free0 free0 | free0 free0 free0 | drainall",
	"free0 free0 free0 free0 | alloc0 | drainall",
	"free0 free0 free0 free0 | free0 free0 free0 free0 | alloc0",
	"alloc0noslot alloc0noslot | alloc0 alloc0 | drainall",
	/* Blocks become free during unsuccessful searches. */
	"free9 | free9 | alloc10 | alloc9",
	"free8 | free8 | alloc9 alloc9",
	"free0 | free0 | alloc6 alloc6",
	"alloc9cma alloc9cma | tocma",
	"alloc9 | isolate tonormal | alloc9",
	"alloc0 | free0 | isolatewait",
	"alloc0 free0got | free8 | isolatewait",
	"alloc0 free0got | claimhidden | isolatewait",
};

TEST_F_TIMEOUT(state, chosen, SECONDS_MAX)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(chosen); i++)
		ASSERT_TRUE(check(chosen[i], STRONG, false, 4000));
	log_totals(_metadata);
}

/*
 * A change of view that has not reached the tree, followed by one back, leaves
 * the tree more permits than a reservation can hold.
 */
TEST_F_TIMEOUT(tree_lent, view_and_back, SECONDS_MAX)
{
	ASSERT_TRUE(check("isolatesecond | tonormalsecond alloc10", STRONG, false,
			  4000));
	ASSERT_TRUE(check("isolatesecond | tonormalsecond ! alloc10", STRONG, false,
			  4000));
}

/*
 * There is always a block, but two threads move it past the search of a third
 * one. This program takes more runs than others.
 */
TEST_F_TIMEOUT(one_pair, block_moves, SECONDS_MAX)
{
	ASSERT_TRUE(check("alloc9 free9got | alloc9 free9got | alloc9", STRONG, false, 400000));
	log_totals(_metadata);
}

/*
 * A free of one row gives permits for another row, if frames of the first one
 * were allocated in between. Searches that saw no block meanwhile look again.
 */
TEST_F_TIMEOUT(one_row, permits_for_another, SECONDS_MAX)
{
	static const char * const programs[] = {
		"free6got | alloc0noslot alloc6 alloc6", "free6got ! alloc0noslot alloc6 alloc6",
		"free6got | alloc0noslot | alloc6 alloc6",
		"free6got | alloc0 drainall alloc6 alloc6",
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(programs); i++)
		ASSERT_TRUE(check(programs[i], STRONG, false, 10000));
	log_totals(_metadata);
}

/*
 * A whole child is freed while its view changes, and pieces of it are
 * allocated.
 */
TEST_F_TIMEOUT(whole_owned, whole, SECONDS_MAX)
{
	static const char * const programs[] = {
		"free9got | isolate", "free9got | tocma", "free9got | tocma tonormal",
		"free9got alloc9 | tocma | alloc0", "free9got | alloc0 | claim8",
		"free9got | alloc9 free9got | alloc9 | tocma tonormal",
		"freereported | batch0 | alloc0", "freereported | alloc9 freereported | alloc9",
		"free9got | claimrow | alloc7 | isolate", "free9got ! tocma | alloc9",
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(programs); i++)
		ASSERT_TRUE(check(programs[i], STRONG, false, 10000));
	log_totals(_metadata);
}

/*
 * A stray free of a piece meets the free and the allocation of the whole child.
 * The turn tells the core, and no frame gets two owners.
 */
TEST_F_TIMEOUT(whole_owned, strays, SECONDS_MAX)
{
	static const char * const programs[] = {
		"free9got | stray", "free9got ! stray", "free9got alloc9 | stray",
		"free9got | stray | alloc9", "free9got | stray | alloc0",
		"free9got | stray | alloc9 | alloc0", "free9got | stray | alloc9 free9got",
		"free9got alloc9 free9got alloc9 | stray | alloc0",
		"free9got | stray | alloc9 free9got alloc9", "free9got | stray | batch0",
		"free9got | stray | claim8 | alloc0", "free9got | stray | isolate",
		"free9got | stray | claim9 | tocma",
		"free9got | stray | stray", "free9got | stray | stray | alloc9",
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(programs); i++)
		ASSERT_TRUE(check(programs[i], STRONG, false, 20000));
	log_totals(_metadata);
}

/* An instance gets its slots while it is in use. */
TEST_F_TIMEOUT(no_slots, late_slots, SECONDS_MAX)
{
	static const char * const programs[] = {
		"setslots | alloc0late alloc0late", "setslots ! alloc0late | alloc0late",
		"setslots | alloc0late | alloc0late",
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(programs); i++) {
		ASSERT_TRUE(check(programs[i], STRONG, false, 4000));
		ASSERT_TRUE(check(programs[i], WEAK, false, 4000));
	}
	log_totals(_metadata);
}

static const char * const weak_chosen[] = {
	"free8 | free8 | alloc8",
	"free8 | free8 | alloc9",
	"free9 | free9 | alloc10",
	"free6got | claim7 | claim0row1 claim0",
	"free6got | alloc7 | batch0noslot",
	"free6got | alloc7 | batch0",
	"free6got | quick6 | quick0",
	"free0 free0 | alloc0 | alloc0",
	"alloc0 | free0 | isolatewait",
	"alloc0 free0got | alloc9 | alloc0",
	"free6got | free6got | alloc6 | alloc6",
	"alloc9 | alloc9 | tonormal",
	"free9 | free9 | alloc10 | alloc10",
	"freeword | freeword | alloc6",
	"alloc10 | alloc9 | tocma",
	"isolate tonormal | alloc0 free0got | alloc9",
	"free0 free0 free0 | alloc0 | drainall",
};

TEST_F_TIMEOUT(state, weak_chosen, SECONDS_MAX)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(weak_chosen); i++)
		ASSERT_TRUE(check(weak_chosen[i], WEAK, false, 12000));
	log_totals(_metadata);
}

/*
 * Two searches meet a free, and one of them arms the hint that the free must
 * see. This program takes more runs than others.
 */
TEST_F_TIMEOUT(one_full, hint_armed, SECONDS_MAX)
{
	ASSERT_TRUE(check("free8 | alloc7 | alloc7", WEAK, false, 1500000));
	log_totals(_metadata);
}

/* Explore the program PROGRAM, with weak memory if WEAK is set. */
TEST_F_TIMEOUT(state, given, SECONDS_MAX)
{
	const char *text = getenv("PROGRAM");

	if (!text)
		SKIP(return, "no PROGRAM");
	ASSERT_TRUE(check(text, getenv("WEAK") ? WEAK : STRONG, false, 1000000));
	log_totals(_metadata);
}

/*
 * More steps than any search takes in a zone of this size, with all its retries
 */
#define MANY_STEPS	3000

/* One thread stops between two of its steps, and the others still end. */
TEST_F_TIMEOUT(state, one_stops, SECONDS_MAX)
{
	struct explore_test test = {
		.mem = &world, .size = sizeof(world), .nr_threads = 3,
		.reset = world_reset, .thread = run_program,
		.wrote = world_wrote, .name = word_name,
		.finish = world_finish,
	};
	struct explore_options opt = { };
	unsigned long runs = 0, most = 0;
	struct explore_result res;
	char text[96];
	int a, i, j;

	for (a = 0; a < NR_ACTORS; a++)
		slot_of[a] = a % EXPLORE_THREADS % 2;
	for (i = 0; i < nr_paired; i++) {
		for (j = 0; j < nr_paired; j++) {
			snprintf(text, sizeof(text), "%s | %s | alloc0",
				 ops[i].name, ops[j].name);
			parse_programs(text);
			events = false;
			opt.freeze = 0;
			do {
				explore(&test, &opt, &res);
				EXPECT_EQ(NULL, res.why) {
					TH_LOG("%s, stopped at step %ld: %s",
					       text, opt.freeze, res.why);
				}
				runs++;
				most = max(most, res.max_steps[1]);
				most = max(most, res.max_steps[2]);
				opt.freeze++;
			} while (res.frozen && !res.why);
		}
	}
	TH_LOG("%lu runs, at most %lu steps of an operation", runs, most);
	EXPECT_LT(most, MANY_STEPS);
}

TEST_HARNESS_MAIN
