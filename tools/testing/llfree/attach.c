// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of pools on media with random damage: superblocks, state, roots and
 * rows that no pool has written, odd sizes, and lines that cannot be read.
 *
 * A pool refuses such a medium, or it works. Then all words of the instance
 * agree, metadata is never free, and the pool forgets no block that it has
 * committed. There is no memory behind the rows of the medium, and a sanitizer
 * watches the surroundings of each area.
 */
#include <linux/align.h>
#include <linux/crc32.h>
#include <linux/kernel.h>
#include <linux/llfree_pool.h>
#include <linux/minmax.h>
#include <linux/swab.h>
#include <errno.h>
#include <kselftest.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <shim/shim.h>

#include "inst.h"

#define FRAME		BIT(LLFREE_POOL_FRAME_SHIFT)
#define LINE		64UL
#define MAX_FRAMES	4200UL
#define MAX_LINES	((LLFREE_POOL_ROWS + MAX_FRAMES / 8) / LINE + 2)
#define MAX_SLOTS	4
/* Operations of a pool */
#define OPS		60
/* Reads of 256 that fail for no reason */
#define FLAKY		20

enum damage {
	SUPERS = BIT(0),
	STATE = BIT(1),
	ROOTS = BIT(2),
	ROWS = BIT(3),
	BAD_LINES = BIT(4),
	FLAKY_READS = BIT(5),
};

/* One medium, and the pool on it */
static struct {
	struct llfree_pool_medium m;
	size_t size;
	bool bad[MAX_LINES];
	bool flaky;
	struct llfree_pool pool;
	struct llfree_memory mem;
	struct llfree_local *locals;
	unsigned int nr_slots;
} t;

static struct rng rng;
static char why[200];

#define CHECK(condition, fmt, ...)						\
do {										\
	if (!(condition) && !*why)						\
		snprintf(why, sizeof(why), "line %d: " fmt, __LINE__,		\
			 ##__VA_ARGS__);					\
} while (0)

static bool chance(unsigned int n)
{
	return !rng_below(&rng, n);
}

/* ---- The medium ---- */

static void *area_new(size_t size)
{
	void *area;

	if (posix_memalign(&area, FRAME, size))
		ksft_exit_fail_msg("no memory\n");
	memset(area, 0xa5, size);
	return area;
}

static unsigned long offset_of(const void *at, size_t size)
{
	const unsigned long offset = at - t.m.base;

	CHECK(at >= t.m.base && offset + size <= t.size, "offset %#lx is no metadata", offset);
	return offset;
}

static void write_back(const struct llfree_pool_medium *m, const void *start, size_t size)
{
	offset_of(start, size);
}

static void fence(const struct llfree_pool_medium *m)
{
}

static int read_lines(const struct llfree_pool_medium *m, void *to, const void *from,
		      size_t size)
{
	unsigned long line = offset_of(from, size) / LINE;
	const unsigned long end = DIV_ROUND_UP(offset_of(from, size) + size, LINE);

	if (t.flaky && rng_below(&rng, 256) < FLAKY)
		return -EIO;
	for (; line < end; line++)
		if (t.bad[line])
			return -EIO;
	memcpy(to, from, size);
	return 0;
}

static void medium_new(unsigned long frames)
{
	memset(&t, 0, sizeof(t));
	t.size = ALIGN(LLFREE_POOL_ROWS + DIV_ROUND_UP(frames, 8), LINE);
	t.m = (struct llfree_pool_medium){
		.base = area_new(t.size), .size = frames * FRAME + rng_below(&rng, FRAME),
		.write_back = write_back, .fence = fence,
		.read = chance(4) ? NULL : read_lines,
	};
}

/* ---- Damage ---- */

static u64 absurd(u64 value)
{
	const u64 values[] = {
		0, 1, value - 1, value + 1, value - rng_below(&rng, 700), value << 32, BIT(34),
		BIT(34) + 1, 1ULL << 52, 1ULL << 63, ~0ULL, 511, 512, 1023, 1024, 1087,
		rng_next(&rng),
	};

	return values[rng_below(&rng, ARRAY_SIZE(values))];
}

static void damage_super(struct llfree_pool_super *super)
{
	const unsigned int kind = rng_below(&rng, 8);

	switch (kind) {
	case 0:
		((u8 *)super)[rng_below(&rng, sizeof(*super))] ^= 1 << rng_below(&rng, 8);
		return;
	case 1:
		super->magic = chance(2) ? swab64(super->magic) : 0;
		return;
	case 2:
		super->version = absurd(super->version);
		break;
	case 3:
		super->flags = absurd(super->flags);
		break;
	case 4:
		super->frame_shift = absurd(super->frame_shift);
		break;
	default:
		super->frames = absurd(super->frames);
	}
	super->crc = 0;
	super->crc = __crc32c_le(~0U, (const u8 *)super, sizeof(*super));
}

static void damage_bytes(unsigned long offset, size_t size)
{
	u8 *at = t.m.base + offset;
	unsigned int i, nr = 1 + rng_below(&rng, 2 * size);

	while (nr--) {
		i = rng_below(&rng, size);
		at[i] = chance(2) ? (chance(2) ? 0 : 0xff) : rng_next(&rng);
	}
}

static void damage(unsigned int what)
{
	unsigned int i;

	if (what & SUPERS) {
		i = 1 + rng_below(&rng, 3);
		if (i & 1)
			damage_super(t.m.base + LLFREE_POOL_SUPER);
		if (i & 2)
			damage_super(t.m.base + LLFREE_POOL_COPY);
	}
	if (what & STATE)
		damage_bytes(LLFREE_POOL_STATE, sizeof(struct llfree_pool_state));
	if (what & ROOTS)
		damage_bytes(LLFREE_POOL_ROOTS, LLFREE_POOL_NR_ROOTS * sizeof(u64));
	if (what & ROWS)
		damage_bytes(LLFREE_POOL_ROWS, t.size - LLFREE_POOL_ROWS);
	if (what & BAD_LINES) {
		for (i = rng_below(&rng, 4); i; i--)
			t.bad[rng_below(&rng, t.size / LINE)] = true;
		for (i = rng_below(&rng, 4); i; i--)
			t.bad[LLFREE_POOL_ROWS / LINE +
			      rng_below(&rng, (t.size - LLFREE_POOL_ROWS) / LINE)] = true;
	}
	t.flaky = what & FLAKY_READS;
}

/* ---- The pool ---- */

static int pool_attach(void)
{
	struct llfree_pool_super super;
	int ret;

	ret = llfree_pool_probe(&t.m, &super);
	CHECK(!ret || ret == -ENODEV || ret == -EIO || ret == -EMEDIUMTYPE ||
	      ret == -EPROTONOSUPPORT || ret == -ENOSPC, "probe returned %d", ret);
	if (ret)
		return ret;
	t.nr_slots = 1 + rng_below(&rng, MAX_SLOTS);
	ret = llfree_pool_layout(&super, t.nr_slots, &t.mem);
	CHECK(!ret, "no layout of %llu frames", (unsigned long long)super.frames);
	if (ret)
		return ret;
	t.mem.rows = area_new(t.mem.rows_size);
	t.mem.children = area_new(t.mem.children_size);
	t.mem.trees = area_new(t.mem.trees_size);
	t.locals = area_new(t.nr_slots * sizeof(*t.locals));
	memset(&t.pool, 0xa5, sizeof(t.pool));
	return llfree_pool_attach(&t.pool, &t.m, &t.mem, t.locals, t.nr_slots);
}

static void pool_forget(void)
{
	free(t.mem.rows);
	free(t.mem.children);
	free(t.mem.trees);
	free(t.locals);
	memset(&t.mem, 0, sizeof(t.mem));
	t.locals = NULL;
}

static bool is_free(unsigned long frame)
{
	return llfree_row_mask(&t.pool.core, frame) & BIT_ULL(frame % LLFREE_ROW_FRAMES);
}

static unsigned long nr_free(void)
{
	struct llfree_stats stats;

	llfree_stats_exact(&t.pool.core, &stats);
	return stats.frames[LLFREE_VIEW_NORMAL];
}

static void check_pool(void)
{
	struct llfree_fault fault = { };
	struct llfree_child child;
	unsigned long at, bad = 0;

	CHECK(!llfree_validate(&t.pool.core, &fault), "%s at %lu", fault.what, fault.frame);
	CHECK(t.pool.frames * FRAME <= t.m.size, "%lu frames", t.pool.frames);
	for (at = 0; at < t.pool.first; at += LLFREE_ROW_FRAMES)
		CHECK(!llfree_row_mask(&t.pool.core, at), "metadata is free at %lu", at);
	for (at = 0; !llfree_child(&t.pool.core, at, &child); at = llfree_next_child(at))
		bad += child.view == LLFREE_VIEW_ISOLATED;
	CHECK(bad == t.pool.bad_rows, "%lu bad lines, %lu isolated children",
	      t.pool.bad_rows, bad);
	CHECK(!shim_warnings, "a warning");
}

/*
 * Frames are allocated if they were committed or if their row cannot be read.
 */
static void check_committed(void)
{
	unsigned long at;

	for (at = t.pool.first; at < t.pool.frames; at++)
		CHECK(is_free(at) == !(llfree_pool_committed(&t.pool, at) >> at % 64 & 1),
		      "frame %lu is %s", at, is_free(at) ? "free" : "allocated");
}

/* Any number, often one that could be a valid frame */
static unsigned long any_frame(void)
{
	switch (rng_below(&rng, 8)) {
	case 0:
		return rng_next(&rng) >> rng_below(&rng, 64);
	case 1:
		return t.pool.frames - rng_below(&rng, 64);
	case 2:
		return t.pool.first - rng_below(&rng, 64);
	default:
		return rng_below(&rng, t.pool.frames + 64) &
			~(BIT(rng_below(&rng, LLFREE_NR_ORDERS)) - 1);
	}
}

static unsigned int any_order(void)
{
	return chance(8) ? rng_next(&rng) >> rng_below(&rng, 64) :
			   rng_below(&rng, LLFREE_NR_ORDERS);
}

static void check_refusal(int ret)
{
	CHECK(!ret || ret == -EINVAL || (ret == -EIO && t.pool.bad_rows),
	      "an operation returned %d", ret);
}

static void sweep_live(unsigned long first, unsigned long nr, bool all)
{
	const unsigned long max = DIV_ROUND_UP(MAX_FRAMES, 64);
	struct llfree_pool_swept swept = { };
	u64 *live = area_new(max * sizeof(u64));
	unsigned long i, before = nr_free();
	int ret;

	for (i = 0; i < max; i++)
		live[i] = rng_next(&rng) & rng_next(&rng);
	ret = llfree_pool_sweep(&t.pool, first, nr, live, &swept);
	check_refusal(ret);
	CHECK(nr_free() == before + swept.freed, "%lu frames swept, free %lu, then %lu",
	      swept.freed, before, nr_free());
	CHECK(!all || !ret, "a sweep of all returned %d", ret);
	CHECK(!all || !t.pool.bad_rows, "%lu bad rows after a sweep", t.pool.bad_rows);
	free(live);
}

static void operate(void)
{
	unsigned long frame;
	unsigned int order, i;
	u64 blocks[4], old;
	long ret;

	switch (rng_below(&rng, 8)) {
	case 0:
	case 1:
	case 2:
		order = any_order();
		ret = llfree_pool_alloc(&t.pool, order);
		if (ret < 0) {
			CHECK(ret == (order > LLFREE_MAX_ORDER ? -EINVAL : -ENOMEM),
			      "alloc of order %u returned %ld", order, ret);
			return;
		}
		CHECK(order <= LLFREE_MAX_ORDER && ret >= (long)t.pool.first &&
		      ret + (1L << order) <= (long)t.pool.frames, "alloc returned frame %ld", ret);
		if (chance(3) && !*why)
			CHECK(!llfree_pool_commit(&t.pool, ret, order), "no commit");
		return;
	case 3:
		check_refusal(llfree_pool_commit(&t.pool, any_frame(), any_order()));
		for (i = 0; i < ARRAY_SIZE(blocks); i++)
			blocks[i] = any_frame() << LLFREE_POOL_FRAME_SHIFT | (any_order() & 0xfff);
		ret = llfree_pool_commit_batch(&t.pool, blocks, ARRAY_SIZE(blocks));
		CHECK(ret <= (long)ARRAY_SIZE(blocks), "%ld blocks committed", ret);
		check_refusal(min(ret, 0L));
		return;
	case 4:
	case 5:
		check_refusal(llfree_pool_free(&t.pool, any_frame(), any_order()));
		return;
	case 6:
		frame = any_frame();
		if (chance(2))
			frame &= ~63UL;
		sweep_live(frame, chance(2) ? t.pool.frames - frame : any_frame() & ~63UL, false);
		return;
	default:
		i = rng_next(&rng) >> (32 + rng_below(&rng, 32));
		old = llfree_pool_root(&t.pool, i);
		ret = llfree_pool_root_cas(&t.pool, i, &old, rng_next(&rng));
		CHECK(ret == (i < LLFREE_POOL_NR_ROOTS ? 0 : -EINVAL), "root %u: %ld", i, ret);
	}
}

/* Attach, use and detach the pool. Return: was there a pool? */
static bool use(bool orderly)
{
	unsigned int i;
	int ret;

	ret = pool_attach();
	CHECK(ret <= 0 && ret != -EINVAL, "attach returned %d", ret);
	if (ret) {
		pool_forget();
		return false;
	}
	check_pool();
	if (!t.flaky)
		check_committed();
	for (i = rng_below(&rng, OPS); i && !*why; i--)
		operate();
	check_pool();
	if (chance(2)) {
		/* From now on all lines of the medium can be read. */
		memset(t.bad, 0, sizeof(t.bad));
		t.flaky = false;
		sweep_live(t.pool.first, t.pool.frames - t.pool.first, true);
		check_pool();
	}
	if (orderly)
		llfree_pool_detach(&t.pool);
	pool_forget();
	return true;
}

static void run(unsigned int what)
{
	static const u8 uuid[16] = "damaged-pool";
	const unsigned long frames = 1024 + rng_below(&rng, MAX_FRAMES - 1024);
	bool orderly = !chance(3), bad;
	unsigned long left;

	medium_new(chance(20) ? rng_below(&rng, 1025) : frames);
	CHECK(llfree_pool_format(&t.m, uuid) ==
	      (t.m.size < LLFREE_POOL_MIN_SIZE ? -ENOSPC : 0), "format of %zu bytes", t.m.size);
	if (t.m.size >= LLFREE_POOL_MIN_SIZE) {
		CHECK(use(orderly), "a new pool was refused");
		if (chance(8))
			t.m.size -= rng_below(&rng, t.m.size);
		damage(what);
	}
	if (use(true) && !*why) {
		/* The pool has repaired all damage, or reports damage. */
		bad = t.pool.bad_rows;
		t.flaky = false;
		if (!pool_attach()) {
			CHECK(t.pool.was_dirty == bad || t.bad[LLFREE_POOL_STATE / LINE],
			      "dirty: %d, bad: %d", t.pool.was_dirty, bad);
			CHECK(!t.pool.rows_damaged || t.pool.bad_rows || bad, "damaged rows");
			check_pool();
			check_committed();
			left = t.pool.bad_rows;
			CHECK(left || nr_free() <= t.pool.frames - t.pool.first, "too many");
		} else {
			CHECK(t.bad[LLFREE_POOL_SUPER / LINE] || t.bad[LLFREE_POOL_COPY / LINE],
			      "a pool is lost");
		}
		pool_forget();
	}
	free(t.m.base);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		unsigned int what;
	} tests[] = {
		{ "sizes", 0 },
		{ "superblocks", SUPERS },
		{ "state", STATE },
		{ "roots", ROOTS },
		{ "rows", ROWS },
		{ "unreadable lines", BAD_LINES },
		{ "reads that fail now and then", FLAKY_READS },
		{ "everything", SUPERS | STATE | ROOTS | ROWS | BAD_LINES | FLAKY_READS },
	};
	const u64 seed = argc > 1 ? strtoull(argv[1], NULL, 0) : rng_seed();
	const unsigned int rounds = argc > 2 ? strtoul(argv[2], NULL, 0) : 1500;
	unsigned int i, round;

	ksft_print_header();
	ksft_set_plan(ARRAY_SIZE(tests));
	printf("# seed %llu\n", (unsigned long long)seed);
	for (i = 0; i < ARRAY_SIZE(tests); i++) {
		*why = 0;
		for (round = 0; round < rounds && !*why; round++) {
			rng.state = seed + round * 4294967296ULL;
			run(tests[i].what);
		}
		if (*why)
			printf("# round %u of %s: %s\n", round - 1, tests[i].name, why);
		ksft_test_result(!*why, "%s\n", tests[i].name);
	}
	ksft_finished();
}
