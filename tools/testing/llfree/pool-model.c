// SPDX-License-Identifier: GPL-2.0
/*
 * Exhaustive interleavings of operations on a persistent pool, with every crash
 * between two of their steps; see explore.h and pool-medium.h.
 *
 * Small programs of two or three threads run in all orders of their steps that
 * differ. A change of the medium, a write-back and a fence are steps, too, and
 * are explored in all orders with each other. The following must hold after
 * each step, whatever state a crash leaves:
 *
 *   - frames that were committed and waited for are allocated, until a free
 *     begins;
 *   - frames that were freed and waited for, or never committed, are free;
 *   - metadata is allocated;
 *   - a root has a value that a thread has seen, or a later one;
 *   - a pointer leads to a block that is allocated, and belongs to the
 *     allocation that the pointer was stored for;
 *   - if the pool looks clean, rows are complete and their checksum is right;
 *   - llfree_pool_attach() accepts the medium, and recovers exactly its state.
 *
 * At the end the pool is detached, and then looks clean. While a pool is
 * formatted, a crash leaves no pool, the old one or the new one.
 *
 * EFFORT=n in the environment makes the limits n times as high (default 1).
 * TRACE=1 prints all steps of each run.
 */
#include <linux/kernel.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inst.h"
#include "pool-ops.h"
#include "pool-world.h"
#include "kselftest_harness.h"

/* ---- States ---- */

#define NEAR		DATA			/* the row of most blocks */
#define LINE		(DATA + ROW)		/* another row of the same line */
#define FAR		(DATA + CHILD + 3 * ROW)	/* another line */

/* Leave two blocks of an order free, and give all other frames to OTHER. */
static void leave(unsigned int first, unsigned int second, unsigned int order)
{
	const unsigned int frames[] = { first, second };

	world_fill(frames, ARRAY_SIZE(frames), order);
}

static void hold(unsigned int tid, unsigned int frame, unsigned int order, bool committed)
{
	blocks[tid] = world_give(tid, frame, order, committed);
}

static void one_free(void)
{
	leave(NEAR, NEAR, 0);
}

static void row_free(void)
{
	leave(NEAR, NEAR + 1, 0);
}

static void line_free(void)
{
	leave(NEAR, LINE, 0);
}

static void far_free(void)
{
	leave(NEAR, FAR, 0);
}

static void order1_free(void)
{
	leave(NEAR, NEAR, 1);
}

static void order6_free(void)
{
	leave(NEAR, LINE, 6);
}

static void order9_free(void)
{
	leave(DATA, DATA + CHILD, 9);
}

static void order10_free(void)
{
	leave(2 * CHILD, 2 * CHILD, 10);
}

/*
 * Thread 0 has the only frames that can become free, and a root or a pointer
 * leads to them.
 */
static void held(unsigned int order, unsigned int word)
{
	hold(0, 2 * CHILD, order, true);
	leave(0, 0, 0);
	world_point(word, &blocks[0]);
}

static void rooted0(void)
{
	held(0, WORD_ROOTS);
}

static void rooted1(void)
{
	held(1, WORD_ROOTS);
}

static void rooted6(void)
{
	held(6, WORD_ROOTS);
}

static void rooted9(void)
{
	held(9, WORD_ROOTS);
}

static void rooted10(void)
{
	held(10, WORD_ROOTS);
}

static void pointed0(void)
{
	held(0, WORD_POINTERS);
}

static void pointed1(void)
{
	held(1, WORD_POINTERS);
}

static void pointed10(void)
{
	held(10, WORD_POINTERS);
}

/* Thread 0 has a frame to which no pointer leads. */
static void held0(void)
{
	hold(0, 2 * CHILD, 0, true);
	leave(0, 0, 0);
}

static void held1(void)
{
	hold(0, 2 * CHILD, 1, true);
	leave(0, 0, 0);
}

/* Each of two threads has a block in one row. */
static void both(void)
{
	hold(0, NEAR, 0, true);
	hold(1, NEAR + 1, 0, true);
	leave(0, 0, 0);
}

static void both_new(void)
{
	hold(0, NEAR, 0, false);
	hold(1, NEAR + 1, 0, false);
	leave(0, 0, 0);
}

/* Thread 0 has a block that is not committed, in a row with leaked frames. */
static void leaked(void)
{
	hold(0, NEAR, 0, false);
	world_give(LEAKED, NEAR + 1, 0, true);
	world_give(LEAKED, NEAR + 8, 3, true);
	world_give(LEAKED, DATA + CHILD + ROW, 1, true);
}

/* The pool is not attached; it is clean, or as after a crash. */
static void crashed(void)
{
	struct block b = world_give(OTHER, NEAR, 3, true);

	world_give(OTHER, 2 * CHILD, 10, true);
	world_point(WORD_ROOTS, &b);
}

static void clean(void)
{
	crashed();
	world_detach();
}

static void damaged(void)
{
	clean();
	memset(world.medium + LLFREE_POOL_SUPER, 0x5a, sizeof(struct llfree_pool_super));
}

static void damaged_copy(void)
{
	clean();
	memset(world.medium + LLFREE_POOL_COPY + 16, 0x5a, 16);
}

static void old_pool(void)
{
	world_format_as(old_uuid);
	clean();
	formatting = true;
}

static void old_crashed(void)
{
	world_format_as(old_uuid);
	crashed();
	formatting = true;
}

static void no_pool(void)
{
	memset(world.medium, 0xa5, sizeof(world.medium));
	formatting = true;
}

/* ---- Scenarios ---- */

static struct block saved_blocks[EXPLORE_THREADS];

static void run_reset(void)
{
	world_reset();
	reset_programs(saved_blocks);
}

/*
 * Runs of a scenario before it goes on at random. Runs with large blocks take
 * longer.
 */
#define MAX_RUNS	6000
#define MAX_RUNS_LARGE	1000

static unsigned long effort(void)
{
	const char *env = getenv("EFFORT");

	return env ? strtoul(env, NULL, 0) : 1;
}

static bool check(struct __test_metadata *_metadata, void (*state)(void), const char *text,
		  bool weak, unsigned long limit)
{
	struct explore_test test = {
		.mem = &world, .size = sizeof(world),
		.reset = run_reset, .thread = run_program, .wrote = world_wrote,
		.watched = world_watched, .name = world_name, .finish = world_finish,
	};
	struct explore_options opt = {
		.weak = weak, .max_stale = 2, .freeze = -1,
		.max_runs = limit * effort(), .trace = getenv("TRACE"),
	};
	struct explore_result res, at_random = { };

	memset(blocks, 0, sizeof(blocks));
	world_format_as(world_uuid);
	state();
	world_save();
	memcpy(saved_blocks, blocks, sizeof(blocks));
	test.nr_threads = parse_programs(text);

	explore(&test, &opt, &res);
	if (!res.why && !res.complete) {
		opt.random = opt.max_runs / 4 + 1;
		opt.max_runs = 0;
		opt.seed = rng_seed();
		explore(&test, &opt, &at_random);
	}
	TH_LOG("%s: %lu runs%s, %llu steps", text, res.runs + at_random.runs,
	       res.complete ? ", complete" : "", res.steps + at_random.steps);
	if (at_random.why)
		res = at_random;
	if (!res.why)
		return true;
	TH_LOG("%s, %#llx", res.why, res.where);
	return false;
}

/* Threads that meet. Letters name the operations of ops[] in pool-ops.c. */
FIXTURE(pool)
{
};

FIXTURE_VARIANT(pool)
{
	void (*state)(void);
	const char *programs;
	bool large;
};

FIXTURE_SETUP(pool)
{
}

FIXTURE_TEARDOWN(pool)
{
}

/* Blocks of two threads: in one row, in one line, elsewhere */
FIXTURE_VARIANT_ADD(pool, alloc_row) { row_free, "a0 c s f s | a0 c s" };
FIXTURE_VARIANT_ADD(pool, alloc_line) { line_free, "a0 c s f s | a0 c s" };
FIXTURE_VARIANT_ADD(pool, alloc_far) { far_free, "a0 c s f s | a0 c s" };
FIXTURE_VARIANT_ADD(pool, alloc_order6) { order6_free, "a6 c s f s | a6 c s" };
FIXTURE_VARIANT_ADD(pool, alloc_order9) { order9_free, "a9 c s f s | a9 c s", true };
FIXTURE_VARIANT_ADD(pool, alloc_order10) { order10_free, "a10 c s f s | a10 c s", true };
FIXTURE_VARIANT_ADD(pool, commit_row) { both_new, "c s f s | c s f s" };
FIXTURE_VARIANT_ADD(pool, commit_unsynced) { both_new, "c f s | c f" };
FIXTURE_VARIANT_ADD(pool, commit_again) { both, "c c s | c f s" };

/* One thread allocates the block that the other one frees. */
FIXTURE_VARIANT_ADD(pool, reuse) { held0, "f s | a0 c s" };
FIXTURE_VARIANT_ADD(pool, reuse_twice) { held0, "f s | a0 c s f s" };
FIXTURE_VARIANT_ADD(pool, reuse_unsynced) { held0, "f | a0 f s" };
FIXTURE_VARIANT_ADD(pool, reuse_both) { one_free, "a0 c s f | a0 c s f s" };
FIXTURE_VARIANT_ADD(pool, reuse_three) { held0, "f | a0 c f | a0 c s" };

/* Frees in a batch: in one row, and in two lines */
FIXTURE_VARIANT_ADD(pool, batch_one) { held0, "b s | a0 c s" };
FIXTURE_VARIANT_ADD(pool, batch_row) { held1, "b s | a0 c s f s" };
FIXTURE_VARIANT_ADD(pool, batch_new) { order1_free, "a1 b | a0 c s" };
FIXTURE_VARIANT_ADD(pool, batch_unsynced) { order1_free, "a1 c s b | a0 f s" };
FIXTURE_VARIANT_ADD(pool, batch_order10) { order10_free, "a10 c s b s | a9 c s", true };
FIXTURE_VARIANT_ADD(pool, batch_remove1) { rooted1, "r0 b | a0 c p1" };
FIXTURE_VARIANT_ADD(pool, batch_remove10) { rooted10, "r0 b s | a9 c p1", true };
FIXTURE_VARIANT_ADD(pool, batch_pointer1) { pointed1, "v0 b | a0 c s q1" };
FIXTURE_VARIANT_ADD(pool, batch_pointer10) { pointed10, "v0 b | a9 c s q1", true };
FIXTURE_VARIANT_ADD(pool, batch_detach) { rooted10, "r0 b e | d", true };

/* Roots and pointers */
FIXTURE_VARIANT_ADD(pool, publish) { row_free, "a0 c p0 | a0 c p1" };
FIXTURE_VARIANT_ADD(pool, publish_same) { row_free, "a0 c p0 | a0 c p0" };
FIXTURE_VARIANT_ADD(pool, remove0) { rooted0, "r0 f s | a0 c p1" };
FIXTURE_VARIANT_ADD(pool, remove6) { rooted6, "r0 f s | a6 c p1" };
FIXTURE_VARIANT_ADD(pool, remove9) { rooted9, "r0 f s | a9 c p1", true };
FIXTURE_VARIANT_ADD(pool, remove10) { rooted10, "r0 f s | a10 c p1", true };
FIXTURE_VARIANT_ADD(pool, remove_part) { rooted9, "r0 f | a0 c p1", true };
FIXTURE_VARIANT_ADD(pool, remove_merge) { rooted0, "r0 f | a0 c p0" };
FIXTURE_VARIANT_ADD(pool, remove_both) { rooted0, "r0 f s | t0 f s" };
FIXTURE_VARIANT_ADD(pool, remove_take) { rooted0, "r0 f | a0 c p1 | t1 f s" };
FIXTURE_VARIANT_ADD(pool, pointer0) { pointed0, "v0 f | a0 c s q1" };
FIXTURE_VARIANT_ADD(pool, pointer10) { pointed10, "v0 f | a10 c s q1", true };
FIXTURE_VARIANT_ADD(pool, take_free) { row_free, "a0 c p0 | t0 f s" };
FIXTURE_VARIANT_ADD(pool, take_commit) { row_free, "a0 c p0 | t0 c s p1" };
FIXTURE_VARIANT_ADD(pool, take_reuse) { one_free, "a0 c p0 | t0 f | a0 c p1" };
FIXTURE_VARIANT_ADD(pool, send) { one_free, "a0 c s h0 | m0 f s" };
FIXTURE_VARIANT_ADD(pool, send_new) { one_free, "a0 h0 | m0 c s p1" };
FIXTURE_VARIANT_ADD(pool, send_reuse) { one_free, "a0 c h0 | m0 f s | a0 c s" };
FIXTURE_VARIANT_ADD(pool, look) { row_free, "a0 c p0 r0 f | l0 l0" };
FIXTURE_VARIANT_ADD(pool, look_two) { one_free, "a0 c p0 | l0 | l0 t0 f" };

/* Detach and sweep after all other threads have ended */
FIXTURE_VARIANT_ADD(pool, detach_commit) { one_free, "a0 c e | d" };
FIXTURE_VARIANT_ADD(pool, detach_free) { held0, "f e | d" };
FIXTURE_VARIANT_ADD(pool, detach_order10) { order10_free, "a10 c e | d", true };
FIXTURE_VARIANT_ADD(pool, detach_three) { row_free, "a0 c e | a0 c f e | d" };
FIXTURE_VARIANT_ADD(pool, detach_root) { rooted0, "r0 f e | a0 c p0 e | d" };
FIXTURE_VARIANT_ADD(pool, sweep_commit) { leaked, "c s | x" };
FIXTURE_VARIANT_ADD(pool, sweep_after) { both, "f e | c w" };
FIXTURE_VARIANT_ADD(pool, sweep_after_commit) { both_new, "c e | w" };
FIXTURE_VARIANT_ADD(pool, sweep_leaked) { leaked, "c e | w" };
FIXTURE_VARIANT_ADD(pool, sweep_three) { row_free, "a0 c e | a0 c f e | w" };

/* Bad frees */
FIXTURE_VARIANT_ADD(pool, free_again) { both, "f g s | c f g" };
FIXTURE_VARIANT_ADD(pool, free_again9) { rooted9, "r0 f g | l0", true };

TEST_F_TIMEOUT(pool, strong, 600)
{
	EXPECT_TRUE(check(_metadata, variant->state, variant->programs, false,
			  variant->large ? MAX_RUNS_LARGE : MAX_RUNS));
}

TEST_F_TIMEOUT(pool, weak, 600)
{
	EXPECT_TRUE(check(_metadata, variant->state, variant->programs, true,
			  variant->large ? MAX_RUNS_LARGE : MAX_RUNS));
}

/* One thread, and a crash at each of its steps */
FIXTURE(alone)
{
};

FIXTURE_VARIANT(alone)
{
	void (*state)(void);
	const char *programs;
};

FIXTURE_SETUP(alone)
{
}

FIXTURE_TEARDOWN(alone)
{
}

FIXTURE_VARIANT_ADD(alone, attach_clean) { clean, "A" };
FIXTURE_VARIANT_ADD(alone, attach_crashed) { crashed, "A a0 c s p1 a10 c d" };
FIXTURE_VARIANT_ADD(alone, attach_commit) { clean, "A a0 c s p1 r1 f s" };
FIXTURE_VARIANT_ADD(alone, attach_damaged) { damaged, "A a0 c s" };
FIXTURE_VARIANT_ADD(alone, attach_damaged_copy) { damaged_copy, "A a0 c s" };
FIXTURE_VARIANT_ADD(alone, attach_detach) { clean, "A a0 c p1 a9 c d A r0 d" };
FIXTURE_VARIANT_ADD(alone, format) { no_pool, "F" };
FIXTURE_VARIANT_ADD(alone, format_old) { old_pool, "F" };
FIXTURE_VARIANT_ADD(alone, format_old_crashed) { old_crashed, "F" };

TEST_F(alone, crash)
{
	EXPECT_TRUE(check(_metadata, variant->state, variant->programs, false, 1));
}

TEST_HARNESS_MAIN
