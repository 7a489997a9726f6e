// SPDX-License-Identifier: GPL-2.0
/* Pools in memory that loses what was not written back. */
#include <linux/crc32.h>
#include <linux/swab.h>

#include "instance.h"
#include "lossy.h"

#define FRAMES		4096UL		/* 16 MiB */
#define DATA		CHILD		/* the first frame behind the metadata */
#define SLOTS		2

static const u8 uuid[16] = "pool-under-test", other_uuid[16] = "another-pool";

struct pool_test {
	struct lossy *lossy;
	struct llfree_pool pool;
	struct llfree_local *locals;
};

/* ---- Attach ---- */

static int pool_attach(struct kunit *test, struct pool_test *t)
{
	struct llfree_pool_super super;
	struct llfree_memory mem;
	int ret;

	ret = llfree_pool_probe(&t->lossy->m, &super);
	if (ret)
		return ret;
	KUNIT_ASSERT_EQ(test, 0, llfree_pool_layout(&super, SLOTS, &mem));
	mem.rows = area_new(test, mem.rows_size);
	mem.children = area_new(test, mem.children_size);
	mem.trees = area_new(test, mem.trees_size);
	return llfree_pool_attach(&t->pool, &t->lossy->m, &mem, t->locals, SLOTS);
}

static struct pool_test *pool_new(struct kunit *test, u64 seed)
{
	struct pool_test *t = area_new(test, sizeof(*t));

	t->lossy = lossy_new(test, FRAMES, seed);
	t->locals = area_new(test, SLOTS * sizeof(*t->locals));
	KUNIT_ASSERT_EQ(test, -ENODEV, pool_attach(test, t));
	KUNIT_ASSERT_EQ(test, 0, llfree_pool_format(&t->lossy->m, uuid));
	KUNIT_ASSERT_EQ(test, 0, pool_attach(test, t));
	return t;
}

static void pool_crash(struct kunit *test, struct pool_test *t)
{
	struct llfree_fault fault = { };

	lossy_crash(t->lossy);
	KUNIT_ASSERT_EQ(test, 0, pool_attach(test, t));
	KUNIT_EXPECT_TRUE(test, t->pool.was_dirty);
	KUNIT_EXPECT_EQ_MSG(test, 0, llfree_validate(&t->pool.core, &fault), "%s", fault.what);
}

static bool frame_free(struct pool_test *t, unsigned long frame)
{
	return llfree_row_mask(&t->pool.core, frame) & BIT_ULL(frame % LLFREE_ROW_FRAMES);
}

static unsigned long nr_free(struct pool_test *t)
{
	struct llfree_stats stats;

	llfree_stats_exact(&t->pool.core, &stats);
	return stats.frames[LLFREE_VIEW_NORMAL];
}

/* Allocates a block that is committed, but not waited for. */
static unsigned long alloc_committed(struct kunit *test, struct pool_test *t,
				     unsigned int order)
{
	long frame = llfree_pool_alloc(&t->pool, order);

	KUNIT_ASSERT_GE(test, frame, DATA);
	KUNIT_ASSERT_EQ(test, 0, llfree_pool_commit(&t->pool, frame, order));
	return frame;
}

/* ---- Superblocks ---- */

static struct llfree_pool_super *super_at(struct pool_test *t, unsigned long offset)
{
	return t->lossy->m.base + offset;
}

static void pool_format(struct kunit *test)
{
	struct pool_test *t = pool_new(test, 1);
	struct lossy *small = lossy_new(test, LLFREE_POOL_MIN_SIZE >> LLFREE_POOL_FRAME_SHIFT, 1);

	KUNIT_EXPECT_EQ(test, t->pool.first, DATA);
	KUNIT_EXPECT_EQ(test, t->pool.frames, FRAMES);
	KUNIT_EXPECT_EQ(test, t->pool.session, 1);
	KUNIT_EXPECT_EQ(test, nr_free(t), FRAMES - DATA);
	KUNIT_EXPECT_MEMEQ(test, t->pool.uuid, uuid, sizeof(uuid));
	KUNIT_EXPECT_MEMEQ(test, super_at(t, LLFREE_POOL_SUPER), super_at(t, LLFREE_POOL_COPY),
			   sizeof(struct llfree_pool_super));

	KUNIT_EXPECT_EQ(test, 0, llfree_pool_format(&small->m, uuid));
	small->m.size -= BIT(LLFREE_POOL_FRAME_SHIFT);
	KUNIT_EXPECT_EQ(test, -ENOSPC, llfree_pool_format(&small->m, uuid));
	small->m.base++;
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_pool_format(&small->m, uuid));
	small->m.base--;
}

/* At whichever fence the system crashes, there is no pool, or the new one is complete. */
static void pool_format_crash(struct kunit *test)
{
	struct llfree_pool_super super;
	unsigned int at, found = 0, i;
	struct pool_test *t;
	int ret;

	for (at = 1; at < 20; at++) {
		t = pool_new(test, at);
		/* A pool that has no free frame is formatted. */
		for (i = DATA; i < FRAMES; i++)
			alloc_committed(test, t, 0);
		llfree_pool_detach(&t->pool);
		t->lossy->fences = 0;
		t->lossy->crash_at = at;
		KUNIT_ASSERT_EQ(test, 0, llfree_pool_format(&t->lossy->m, other_uuid));
		lossy_crash(t->lossy);
		ret = llfree_pool_probe(&t->lossy->m, &super);
		if (ret) {
			KUNIT_EXPECT_EQ(test, -ENODEV, ret);
			continue;
		}
		KUNIT_ASSERT_EQ(test, 0, pool_attach(test, t));
		if (!memcmp(super.uuid, uuid, sizeof(uuid))) {
			KUNIT_EXPECT_EQ(test, nr_free(t), 0);
			continue;
		}
		KUNIT_EXPECT_TRUE(test, t->pool.was_dirty);
		KUNIT_EXPECT_EQ(test, nr_free(t), FRAMES - DATA);
		KUNIT_EXPECT_EQ(test, 0, llfree_pool_root(&t->pool, 3));
		found++;
	}
	KUNIT_EXPECT_GT(test, found, 5);
}

static void break_magic(struct llfree_pool_super *super)
{
	super->magic ^= 1;
}

static void break_order(struct llfree_pool_super *super)
{
	super->magic = swab64(super->magic);
}

static void break_crc(struct llfree_pool_super *super)
{
	super->uuid[3]++;
}

/* Give a superblock the checksum of what it says. */
static void super_seal(struct llfree_pool_super *super)
{
	super->crc = 0;
	super->crc = __crc32c_le(~0U, (const u8 *)super, sizeof(*super));
}

static void break_version(struct llfree_pool_super *super)
{
	super->version++;
	super_seal(super);
}

static void break_flags(struct llfree_pool_super *super)
{
	super->flags = 1;
	super_seal(super);
}

static void break_shift(struct llfree_pool_super *super)
{
	super->frame_shift = 16;
	super_seal(super);
}

static void break_frames(struct llfree_pool_super *super)
{
	super->frames = 0;
	super_seal(super);
}

static void break_larger(struct llfree_pool_super *super)
{
	super->frames++;
	super_seal(super);
}

static void pool_super_faults(struct kunit *test)
{
	static const struct {
		void (*break_it)(struct llfree_pool_super *super);
		int both;
		int one;
	} faults[] = {
		{ break_magic, -ENODEV, 0 },
		{ break_order, -EMEDIUMTYPE, -EMEDIUMTYPE },
		{ break_crc, -EIO, 0 },
		{ break_version, -EPROTONOSUPPORT, -EPROTONOSUPPORT },
		{ break_flags, -EPROTONOSUPPORT, -EPROTONOSUPPORT },
		{ break_shift, -EMEDIUMTYPE, -EMEDIUMTYPE },
		{ break_frames, -EIO, 0 },
		{ break_larger, -ENOSPC, -ENOSPC },
	};
	struct llfree_pool_super super;
	struct pool_test *t;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(faults); i++) {
		t = pool_new(test, i);
		faults[i].break_it(super_at(t, LLFREE_POOL_SUPER));
		KUNIT_EXPECT_EQ_MSG(test, faults[i].one,
				    llfree_pool_probe(&t->lossy->m, &super), "fault %u", i);
		faults[i].break_it(super_at(t, LLFREE_POOL_COPY));
		KUNIT_EXPECT_EQ_MSG(test, faults[i].both,
				    llfree_pool_probe(&t->lossy->m, &super), "fault %u", i);
		KUNIT_EXPECT_EQ_MSG(test, faults[i].both, pool_attach(test, t), "fault %u", i);
	}
}

/* The other superblock is used, and the one that is damaged is written again. */
static void pool_super_repaired(struct kunit *test)
{
	static const unsigned long offsets[] = { LLFREE_POOL_SUPER, LLFREE_POOL_COPY };
	struct llfree_pool_super good;
	struct pool_test *t;
	unsigned int i;

	for (i = 0; i < 2 * ARRAY_SIZE(offsets); i++) {
		t = pool_new(test, i);
		good = *super_at(t, offsets[i % 2]);
		if (i < 2)
			break_crc(super_at(t, offsets[i % 2]));
		else
			memset(super_at(t, offsets[i % 2]), 0, sizeof(good));
		KUNIT_EXPECT_EQ(test, 0, pool_attach(test, t));
		KUNIT_EXPECT_MEMEQ(test, &good, super_at(t, offsets[i % 2]), sizeof(good));
		lossy_crash(t->lossy);
		KUNIT_EXPECT_MEMEQ(test, &good, super_at(t, offsets[i % 2]), sizeof(good));
	}
}

/* ---- Sessions ---- */

static void pool_sessions(struct kunit *test)
{
	struct pool_test *t = pool_new(test, 2);
	long kept, lost;

	kept = llfree_pool_alloc(&t->pool, 9);
	lost = llfree_pool_alloc(&t->pool, 3);
	KUNIT_ASSERT_GE(test, kept, DATA);
	KUNIT_ASSERT_GE(test, lost, DATA);
	KUNIT_EXPECT_EQ(test, 0, llfree_pool_commit(&t->pool, kept, 9));
	llfree_pool_detach(&t->pool);
	lossy_crash(t->lossy);
	KUNIT_ASSERT_EQ(test, 0, pool_attach(test, t));
	KUNIT_EXPECT_FALSE(test, t->pool.was_dirty);
	KUNIT_EXPECT_FALSE(test, t->pool.rows_damaged);
	KUNIT_EXPECT_EQ(test, t->pool.session, 2);
	KUNIT_EXPECT_EQ(test, nr_free(t), FRAMES - DATA - 512);
	KUNIT_EXPECT_FALSE(test, frame_free(t, kept));
	KUNIT_EXPECT_TRUE(test, frame_free(t, lost));

	/* Nothing was committed, but it was not detached. */
	pool_crash(test, t);
	KUNIT_EXPECT_EQ(test, t->pool.session, 3);

	llfree_pool_detach(&t->pool);
	*(u64 *)(t->lossy->m.base + LLFREE_POOL_ROWS + FRAMES / 8 - 8) ^= 4;
	KUNIT_ASSERT_EQ(test, 0, pool_attach(test, t));
	KUNIT_EXPECT_FALSE(test, t->pool.was_dirty);
	KUNIT_EXPECT_TRUE(test, t->pool.rows_damaged);
}

/* At whichever fence the system crashes, a pool that is clean has all its rows. */
static void pool_detach_crash(struct kunit *test)
{
	unsigned int seed, clean = 0, i;
	unsigned long committed;
	struct pool_test *t;

	for (seed = 0; seed < 60; seed++) {
		t = pool_new(test, seed);
		for (i = 0, committed = 0; i < 20; committed += 1UL << i++ % 7)
			alloc_committed(test, t, i % 7);
		t->lossy->fences = 0;
		t->lossy->crash_at = 1 + seed % 4;
		llfree_pool_detach(&t->pool);
		lossy_crash(t->lossy);
		KUNIT_ASSERT_EQ(test, 0, pool_attach(test, t));
		KUNIT_EXPECT_FALSE(test, t->pool.rows_damaged);
		if (t->pool.was_dirty)
			continue;
		KUNIT_EXPECT_EQ(test, nr_free(t), FRAMES - DATA - committed);
		clean++;
	}
	KUNIT_EXPECT_GT(test, clean, 10);
	KUNIT_EXPECT_LT(test, clean, 50);
}

/* A line of rows that cannot be read: nothing touches it until sweep writes all of it. */
static void pool_bad_rows(struct kunit *test)
{
	const unsigned long bad = 3 * CHILD, line = LLFREE_POOL_ROWS + bad / BITS_PER_BYTE;
	struct llfree_pool_swept swept = { };
	struct pool_test *t = pool_new(test, 3);
	u64 live[CHILD / 64] = { 0xf0 };

	alloc_committed(test, t, 0);
	llfree_pool_detach(&t->pool);
	lossy_set_bad(t->lossy, line, true);
	KUNIT_ASSERT_EQ(test, 0, pool_attach(test, t));
	KUNIT_EXPECT_EQ(test, t->pool.bad_rows, 1);
	KUNIT_EXPECT_EQ(test, 0, llfree_row_mask(&t->pool.core, bad));
	KUNIT_EXPECT_NE(test, 0, llfree_row_mask(&t->pool.core, bad + CHILD));
	KUNIT_EXPECT_EQ(test, -EIO, llfree_pool_commit(&t->pool, bad + 5, 0));
	KUNIT_EXPECT_EQ(test, -EIO, llfree_pool_free(&t->pool, bad, 9));
	/* The first half is free, so it is no block. */
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_pool_free(&t->pool, bad - CHILD, 10));
	KUNIT_EXPECT_EQ(test, ~0ULL, llfree_pool_committed(&t->pool, bad + CHILD - 1));
	llfree_pool_detach(&t->pool);

	/* It can be written again, and says what it happens to. */
	KUNIT_ASSERT_EQ(test, 0, pool_attach(test, t));
	KUNIT_EXPECT_TRUE(test, t->pool.was_dirty);
	lossy_set_bad(t->lossy, line, false);
	memset(t->lossy->m.base + line, 0x33, 64);
	KUNIT_EXPECT_EQ(test, -EIO, llfree_pool_sweep(&t->pool, bad, CHILD - 64, live, &swept));
	KUNIT_EXPECT_EQ(test, -EIO, llfree_pool_sweep(&t->pool, bad + 64, CHILD - 64, live,
						      &swept));
	KUNIT_EXPECT_EQ(test, swept.freed, 0);
	KUNIT_EXPECT_EQ(test, 0, llfree_pool_sweep(&t->pool, bad, CHILD, live, &swept));
	KUNIT_EXPECT_EQ(test, swept.freed, CHILD - 4);
	KUNIT_EXPECT_EQ(test, swept.missing, 0);
	KUNIT_EXPECT_EQ(test, t->pool.bad_rows, 0);
	KUNIT_EXPECT_EQ(test, 0, llfree_pool_free(&t->pool, bad + 4, 0));
	llfree_pool_sync(&t->pool);
	pool_crash(test, t);
	KUNIT_EXPECT_EQ(test, t->pool.bad_rows, 0);
	KUNIT_EXPECT_EQ(test, ~0xe0ULL, llfree_row_mask(&t->pool.core, bad));
	KUNIT_EXPECT_EQ(test, nr_free(t), FRAMES - DATA - 4);
}

/* Nothing uses the bits of metadata, so it does not matter whether they can be read. */
static void pool_bad_metadata_rows(struct kunit *test)
{
	struct pool_test *t = pool_new(test, 8);

	lossy_set_bad(t->lossy, LLFREE_POOL_ROWS, true);
	memset(t->lossy->m.base + LLFREE_POOL_ROWS, 0, DATA / BITS_PER_BYTE);
	KUNIT_ASSERT_EQ(test, 0, pool_attach(test, t));
	KUNIT_EXPECT_EQ(test, t->pool.bad_rows, 0);
	KUNIT_EXPECT_EQ(test, nr_free(t), FRAMES - DATA);
	llfree_pool_detach(&t->pool);
	KUNIT_ASSERT_EQ(test, 0, pool_attach(test, t));
	KUNIT_EXPECT_FALSE(test, t->pool.was_dirty);
	KUNIT_EXPECT_FALSE(test, t->pool.rows_damaged);
	lossy_set_bad(t->lossy, LLFREE_POOL_ROWS, false);
}

/* Reads of the rows that fail before they succeed */
static unsigned int rows_fail;

static int read_later(const struct llfree_pool_medium *m, void *to, const void *from,
		      size_t size)
{
	if (from >= m->base + LLFREE_POOL_ROWS && rows_fail) {
		rows_fail--;
		return -EIO;
	}
	memcpy(to, from, size);
	return 0;
}

/* The child of a line that could not be read is isolated, even if it can be read now. */
static void pool_bad_once(struct kunit *test)
{
	struct llfree_pool_swept swept = { };
	const u64 live[FRAMES / 64] = { };
	struct pool_test *t = pool_new(test, 9);

	t->lossy->m.read = read_later;
	/* All rows at once, and then the first two lines */
	rows_fail = 3;
	KUNIT_ASSERT_EQ(test, 0, pool_attach(test, t));
	KUNIT_EXPECT_EQ(test, rows_fail, 0);
	KUNIT_EXPECT_EQ(test, t->pool.bad_rows, 2);
	KUNIT_EXPECT_EQ(test, nr_free(t), FRAMES - DATA - 2 * CHILD);
	KUNIT_EXPECT_EQ(test, -EIO, llfree_pool_free(&t->pool, DATA, 0));
	KUNIT_EXPECT_EQ(test, 0, llfree_pool_sweep(&t->pool, DATA, FRAMES - DATA, live, &swept));
	KUNIT_EXPECT_EQ(test, t->pool.bad_rows, 0);
	KUNIT_EXPECT_EQ(test, swept.freed, 2 * CHILD);
	KUNIT_EXPECT_EQ(test, nr_free(t), FRAMES - DATA);
}

/* ---- Bad input ---- */

static void pool_invalid(struct kunit *test)
{
	struct pool_test *t = pool_new(test, 4);
	struct llfree_pool_swept swept = { };
	const u64 live[FRAMES / 64] = { };
	u64 zero = 0, one = 1;
	long frame;

	frame = llfree_pool_alloc(&t->pool, 3);
	KUNIT_ASSERT_GE(test, frame, DATA);
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_pool_alloc(&t->pool, LLFREE_MAX_ORDER + 1));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_pool_commit(&t->pool, frame, 4));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_pool_commit(&t->pool, frame + 1, 1));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_pool_commit(&t->pool, frame + 8, 0));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_pool_commit(&t->pool, 0, 0));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_pool_commit(&t->pool, DATA - 1, 0));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_pool_commit(&t->pool, FRAMES, 0));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_pool_commit(&t->pool, frame, 11));
	/* Orders that are too large for a shift, or for the request of the core */
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_pool_commit(&t->pool, frame, 64));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_pool_free(&t->pool, frame, ~0U));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_pool_alloc(&t->pool, 256));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_pool_free(&t->pool, 0, 3));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_pool_free(&t->pool, FRAMES, 3));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_pool_free(&t->pool, frame, 4));
	KUNIT_EXPECT_EQ(test, 0, llfree_pool_committed(&t->pool, frame));
	KUNIT_EXPECT_EQ(test, 0, llfree_pool_commit(&t->pool, frame, 3));
	KUNIT_EXPECT_EQ(test, 0, llfree_pool_commit(&t->pool, frame, 3));
	KUNIT_EXPECT_EQ(test, 0, llfree_pool_free(&t->pool, frame, 3));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_pool_free(&t->pool, frame, 3));
	KUNIT_EXPECT_EQ(test, 0, llfree_pool_committed(&t->pool, frame));

	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_pool_root_cas(&t->pool, 64, &zero, 1));
	KUNIT_EXPECT_EQ(test, -EAGAIN, llfree_pool_root_cas(&t->pool, 63, &one, 2));
	KUNIT_EXPECT_EQ(test, one, 0);
	KUNIT_EXPECT_EQ(test, 0, llfree_pool_root(&t->pool, 64));

#define SWEEP(first, nr)	llfree_pool_sweep(&t->pool, first, nr, live, &swept)
	KUNIT_EXPECT_EQ(test, -EINVAL, SWEEP(0, FRAMES));
	KUNIT_EXPECT_EQ(test, -EINVAL, SWEEP(DATA + 1, 63));
	KUNIT_EXPECT_EQ(test, -EINVAL, SWEEP(DATA, 63));
	KUNIT_EXPECT_EQ(test, -EINVAL, SWEEP(DATA, FRAMES));
	KUNIT_EXPECT_EQ(test, -EINVAL, SWEEP(DATA, -64UL));
	KUNIT_EXPECT_EQ(test, -EINVAL, SWEEP(-64UL, 128));
	KUNIT_EXPECT_EQ(test, 0, SWEEP(DATA, 0));
	KUNIT_EXPECT_EQ(test, swept.freed + swept.missing, 0);
	KUNIT_EXPECT_EQ(test, nr_free(t), FRAMES - DATA);

	frame = llfree_pool_alloc(&t->pool, 0);
	llfree_pool_set_read_only(&t->pool);
	KUNIT_EXPECT_EQ(test, -EROFS, llfree_pool_alloc(&t->pool, 0));
	KUNIT_EXPECT_EQ(test, -EROFS, llfree_pool_commit(&t->pool, frame, 0));
	KUNIT_EXPECT_EQ(test, -EROFS, llfree_pool_free(&t->pool, frame, 0));
	KUNIT_EXPECT_EQ(test, -EROFS, llfree_pool_root_cas(&t->pool, 0, &zero, 1));
	KUNIT_EXPECT_EQ(test, -EROFS, SWEEP(DATA, 64));
#undef SWEEP
	llfree_pool_detach(&t->pool);
	KUNIT_ASSERT_EQ(test, 0, pool_attach(test, t));
	KUNIT_EXPECT_TRUE(test, t->pool.was_dirty);
}

/* ---- Crashes ---- */

#define NR_BLOCKS	64
/* Where the test has a pointer to each block, on the medium but not in the pool's part */
#define POINTERS	0x8000UL

/**
 * struct walk - blocks of a random walk
 * @blocks: what the test owns, and whether it has committed that
 * @last: for each frame, whether its bit on the medium is set
 * @can: what it can be after a crash: bit 0 for not set, bit 1 for set
 */
struct walk {
	struct {
		unsigned long frame;
		unsigned int order;
		bool there;
		bool committed;
	} blocks[NR_BLOCKS];
	u8 last[FRAMES];
	u8 can[FRAMES];
};

static void walk_fence(struct walk *walk)
{
	unsigned long i;

	for (i = 0; i < FRAMES; i++)
		walk->can[i] = BIT(walk->last[i]);
}

static void walk_set(struct walk *walk, unsigned int i, bool set)
{
	unsigned long f = walk->blocks[i].frame, end = f + (1UL << walk->blocks[i].order);

	for (; f < end; f++) {
		walk->last[f] = set;
		walk->can[f] |= BIT(set);
	}
}

static void walk_point(struct pool_test *t, unsigned int i, u64 value)
{
	u64 *pointer = t->lossy->m.base + POINTERS + i * sizeof(u64);

	WRITE_ONCE(*pointer, value);
	t->lossy->m.write_back(&t->lossy->m, pointer, sizeof(*pointer));
}

static void walk_step(struct kunit *test, struct pool_test *t, struct walk *walk,
		      struct rnd_state *rnd)
{
	unsigned int i = prandom_u32_state(rnd) % NR_BLOCKS;
	long frame;

	if (!walk->blocks[i].there) {
		walk->blocks[i].order = prandom_u32_state(rnd) % 4 ?
			prandom_u32_state(rnd) % 7 : prandom_u32_state(rnd) % 11;
		frame = llfree_pool_alloc(&t->pool, walk->blocks[i].order);
		if (frame < 0) {
			KUNIT_EXPECT_EQ(test, -ENOMEM, frame);
			return;
		}
		walk->blocks[i].frame = frame;
		walk->blocks[i].there = true;
		walk->blocks[i].committed = false;
		return;
	}
	switch (prandom_u32_state(rnd) % 4) {
	case 0:
		llfree_pool_sync(&t->pool);
		walk_fence(walk);
		return;
	case 1:
	case 2:
		if (walk->blocks[i].committed)
			return;
		KUNIT_EXPECT_EQ(test, 0, llfree_pool_commit(&t->pool, walk->blocks[i].frame,
							    walk->blocks[i].order));
		walk_set(walk, i, true);
		walk->blocks[i].committed = true;
		/* The pointer comes after that, as a store of a caller would. */
		llfree_pool_sync(&t->pool);
		walk_fence(walk);
		walk_point(t, i, walk->blocks[i].frame);
		return;
	default:
		/* The pointer goes first, but the caller does not wait for that. */
		walk_point(t, i, 0);
		if (walk->blocks[i].committed)
			walk_fence(walk);
		KUNIT_EXPECT_EQ(test, 0, llfree_pool_free(&t->pool, walk->blocks[i].frame,
							  walk->blocks[i].order));
		if (walk->blocks[i].committed)
			walk_set(walk, i, false);
		walk->blocks[i].there = false;
	}
}

/* After a crash: what is allocated is what may be, and each pointer leads to a block. */
static void walk_recovered(struct kunit *test, struct pool_test *t, struct walk *walk)
{
	u64 *pointers = t->lossy->m.base + POINTERS;
	u64 live[(FRAMES - DATA) / 64] = { };
	struct llfree_pool_swept swept = { };
	unsigned long f, nr_live = 0;
	unsigned int i;

	for (f = DATA; f < FRAMES; f++)
		KUNIT_ASSERT_TRUE_MSG(test, walk->can[f] & BIT(!frame_free(t, f)),
				      "frame %lu is %s", f,
				      frame_free(t, f) ? "free" : "allocated");
	for (i = 0; i < NR_BLOCKS; i++) {
		if (!pointers[i]) {
			walk->blocks[i].there = false;
			continue;
		}
		/* The block of the pointer, which may have been removed and not persisted. */
		KUNIT_ASSERT_EQ(test, pointers[i], walk->blocks[i].frame);
		walk->blocks[i].there = true;
		walk->blocks[i].committed = true;
		for (f = pointers[i]; f < pointers[i] + (1UL << walk->blocks[i].order); f++) {
			KUNIT_ASSERT_TRUE_MSG(test, !frame_free(t, f),
					      "frame %lu of pointer %u is free", f, i);
			live[(f - DATA) / 64] |= BIT_ULL(f % 64);
			nr_live++;
		}
	}
	f = nr_free(t);
	KUNIT_EXPECT_EQ(test, 0, llfree_pool_sweep(&t->pool, DATA, FRAMES - DATA, live, &swept));
	KUNIT_EXPECT_EQ(test, swept.missing, 0);
	KUNIT_EXPECT_EQ(test, swept.freed, FRAMES - DATA - f - nr_live);
	KUNIT_EXPECT_EQ(test, nr_free(t), FRAMES - DATA - nr_live);
	for (f = DATA; f < FRAMES; f++) {
		walk->last[f] = !!(live[(f - DATA) / 64] & BIT_ULL(f % 64));
		KUNIT_ASSERT_EQ(test, frame_free(t, f), !walk->last[f]);
	}
	walk_fence(walk);
	for (i = 0; i < ARRAY_SIZE(live); i++)
		KUNIT_ASSERT_EQ(test, live[i], llfree_pool_committed(&t->pool, DATA + i * 64));
}

static void pool_crashes(struct kunit *test)
{
	struct walk *walk = area_new(test, sizeof(*walk));
	struct rnd_state rnd;
	struct pool_test *t;
	unsigned int seed, crash, i;

	for (seed = 0; seed < 8; seed++) {
		t = pool_new(test, seed);
		memset(walk, 0, sizeof(*walk));
		memset(t->lossy->m.base + POINTERS, 0, NR_BLOCKS * sizeof(u64));
		t->lossy->m.write_back(&t->lossy->m, t->lossy->m.base + POINTERS,
				       NR_BLOCKS * sizeof(u64));
		llfree_pool_sync(&t->pool);
		memset(walk->can, BIT(0), sizeof(walk->can));
		prandom_seed_state(&rnd, seed);
		for (crash = 0; crash < 12; crash++) {
			for (i = prandom_u32_state(&rnd) % 400; i; i--)
				walk_step(test, t, walk, &rnd);
			pool_crash(test, t);
			walk_recovered(test, t, walk);
			if (crash % 2)
				continue;
			/* Nothing that was swept comes back. */
			i = nr_free(t);
			pool_crash(test, t);
			KUNIT_ASSERT_EQ(test, nr_free(t), i);
		}
	}
}

/* Frames that are allocated and not committed are free after a reclaim, and no others. */
static void pool_reclaim(struct kunit *test)
{
	struct pool_test *t = pool_new(test, 5);
	const unsigned long huge = alloc_committed(test, t, LLFREE_CHILD_ORDER);
	const unsigned long single = alloc_committed(test, t, 0);
	const long lost = llfree_pool_alloc(&t->pool, 7), other = llfree_pool_alloc(&t->pool, 10);
	struct llfree_fault fault = { };

	KUNIT_ASSERT_GE(test, lost, DATA);
	KUNIT_ASSERT_GE(test, other, DATA);
	/* One frame of a block is committed. */
	KUNIT_ASSERT_EQ(test, 0, llfree_pool_commit(&t->pool, lost + 77, 0));
	KUNIT_EXPECT_EQ(test, (1 << 7) - 1 + (1 << 10), llfree_pool_reclaim(&t->pool));
	KUNIT_EXPECT_EQ(test, 0, llfree_pool_reclaim(&t->pool));
	KUNIT_EXPECT_EQ(test, nr_free(t), FRAMES - DATA - CHILD - 2);
	KUNIT_EXPECT_FALSE(test, frame_free(t, huge));
	KUNIT_EXPECT_FALSE(test, frame_free(t, single));
	KUNIT_EXPECT_FALSE(test, frame_free(t, lost + 77));
	KUNIT_EXPECT_TRUE(test, frame_free(t, lost + 76));
	KUNIT_EXPECT_EQ_MSG(test, 0, llfree_validate(&t->pool.core, &fault), "%s", fault.what);

	llfree_pool_sync(&t->pool);
	pool_crash(test, t);
	KUNIT_EXPECT_EQ(test, nr_free(t), FRAMES - DATA - CHILD - 2);
	llfree_pool_set_read_only(&t->pool);
	KUNIT_EXPECT_EQ(test, -EROFS, llfree_pool_reclaim(&t->pool));
}

static void pool_is_allocated(struct kunit *test)
{
	struct pool_test *t = pool_new(test, 6);
	const long frame = llfree_pool_alloc(&t->pool, LLFREE_CHILD_ORDER);
	struct llfree_pool_stats stats;
	unsigned int at, nr;

	KUNIT_ASSERT_GE(test, frame, DATA);
	KUNIT_EXPECT_TRUE(test, llfree_pool_is_allocated(&t->pool, frame, CHILD));
	KUNIT_EXPECT_FALSE(test, llfree_pool_is_allocated(&t->pool, frame, CHILD + 1));
	KUNIT_EXPECT_FALSE(test, llfree_pool_is_allocated(&t->pool, frame, 0));
	/* Metadata is allocated, but not to a caller. */
	KUNIT_EXPECT_FALSE(test, llfree_pool_is_allocated(&t->pool, 0, 1));
	KUNIT_EXPECT_FALSE(test, llfree_pool_is_allocated(&t->pool, DATA - 1, 1));
	KUNIT_EXPECT_FALSE(test, llfree_pool_is_allocated(&t->pool, FRAMES - 1, 2));
	KUNIT_EXPECT_FALSE(test, llfree_pool_is_allocated(&t->pool, frame, -1UL));

	KUNIT_ASSERT_EQ(test, 0, llfree_pool_free(&t->pool, frame + 200, 0));
	for (at = 100; at < 300; at += 3)
		for (nr = 1; nr < 200; nr += 7)
			KUNIT_EXPECT_EQ(test, at > 200 || at + nr <= 200,
					llfree_pool_is_allocated(&t->pool, frame + at, nr));

	llfree_pool_stats(&t->pool, &stats);
	KUNIT_EXPECT_EQ(test, stats.free, nr_free(t));
	KUNIT_EXPECT_EQ(test, stats.free_huge, (FRAMES - DATA) / CHILD - 1);
}

/* Without the roots no data can be found. */
static void pool_bad_roots(struct kunit *test)
{
	struct pool_test *t = pool_new(test, 7);

	llfree_pool_detach(&t->pool);
	lossy_set_bad(t->lossy, LLFREE_POOL_ROOTS + 128, true);
	KUNIT_EXPECT_EQ(test, -EIO, pool_attach(test, t));
	lossy_set_bad(t->lossy, LLFREE_POOL_ROOTS + 128, false);
	KUNIT_EXPECT_EQ(test, 0, pool_attach(test, t));
}

/* What cannot be written can be read: data and roots, also beside a bad superblock. */
static void pool_read_only_medium(struct kunit *test)
{
	struct pool_test *t = pool_new(test, 11);
	const unsigned long frame = alloc_committed(test, t, 3);
	u64 zero = 0;
	void *before;

	KUNIT_ASSERT_EQ(test, 0, llfree_pool_root_cas(&t->pool, 5, &zero, frame));
	llfree_pool_detach(&t->pool);
	lossy_set_bad(t->lossy, LLFREE_POOL_SUPER, true);
	before = area_new(test, t->lossy->size);
	memcpy(before, t->lossy->m.base, t->lossy->size);

	t->lossy->m.read_only = true;
	KUNIT_ASSERT_EQ(test, 0, pool_attach(test, t));
	KUNIT_EXPECT_TRUE(test, t->pool.read_only);
	KUNIT_EXPECT_FALSE(test, t->pool.was_dirty);
	KUNIT_EXPECT_EQ(test, frame, llfree_pool_root(&t->pool, 5));
	KUNIT_EXPECT_TRUE(test, llfree_pool_is_allocated(&t->pool, frame, 8));
	KUNIT_EXPECT_EQ(test, nr_free(t), FRAMES - DATA - 8);
	KUNIT_EXPECT_EQ(test, -EROFS, llfree_pool_alloc(&t->pool, 0));
	KUNIT_EXPECT_EQ(test, -EROFS, llfree_pool_free(&t->pool, frame, 3));
	llfree_pool_detach(&t->pool);
	KUNIT_EXPECT_MEMEQ(test, before, t->lossy->m.base, t->lossy->size);

	t->lossy->m.read_only = false;
	lossy_set_bad(t->lossy, LLFREE_POOL_SUPER, false);
	KUNIT_EXPECT_EQ(test, 0, pool_attach(test, t));
	KUNIT_EXPECT_EQ(test, 0, llfree_pool_free(&t->pool, frame, 3));
}

/* A block as llfree_pool_commit_batch() takes it */
static u64 block_at(unsigned long frame, unsigned int order)
{
	return (u64)frame << LLFREE_POOL_FRAME_SHIFT | order;
}

static void pool_commit_batch(struct kunit *test)
{
	struct pool_test *t = pool_new(test, 10);
	unsigned int i, nr, seed;
	u64 blocks[64], mixed[64];
	unsigned long frames;

	/* Frames that follow each other: one line for each child that has some */
	for (i = 0; i < 64; i++)
		blocks[i] = block_at(llfree_pool_alloc(&t->pool, 0), 0);
	t->lossy->write_backs = 0;
	KUNIT_EXPECT_EQ(test, 64, llfree_pool_commit_batch(&t->pool, blocks, 64));
	KUNIT_EXPECT_EQ(test, 1, t->lossy->write_backs);
	KUNIT_EXPECT_EQ(test, 0, llfree_pool_commit_batch(&t->pool, blocks, 0));
	KUNIT_EXPECT_EQ(test, 1, t->lossy->write_backs);

	/* The third block is free, so the first two are committed, and the fourth is not. */
	for (i = 0; i < 4; i++)
		blocks[i] = block_at(llfree_pool_alloc(&t->pool, 1), 1);
	KUNIT_EXPECT_EQ(test, 0, llfree_pool_free(&t->pool, blocks[2] >> 12, 1));
	KUNIT_EXPECT_EQ(test, 2, llfree_pool_commit_batch(&t->pool, blocks, 4));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_pool_commit_batch(&t->pool, &blocks[2], 2));
	blocks[2] |= 0xfff;
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_pool_commit_batch(&t->pool, &blocks[2], 2));
	llfree_pool_sync(&t->pool);
	pool_crash(test, t);
	KUNIT_EXPECT_EQ(test, nr_free(t), FRAMES - DATA - 64 - 4);

	/* Blocks of any order in any order */
	for (seed = 0; seed < 30; seed++) {
		t = pool_new(test, seed);
		for (nr = 0, frames = 0; nr < 40; nr++) {
			i = nr % 8 ? (seed + nr) % 6 : 9 + nr / 8 % 2;
			blocks[nr] = llfree_pool_alloc(&t->pool, i);
			if ((long)blocks[nr] < 0)
				break;
			blocks[nr] = block_at(blocks[nr], i);
			frames += 1UL << i;
		}
		for (i = 0; i < nr; i++)
			mixed[i] = blocks[seed % 2 ? nr - 1 - i : i];
		KUNIT_EXPECT_EQ(test, nr, llfree_pool_commit_batch(&t->pool, mixed, nr));
		llfree_pool_sync(&t->pool);
		pool_crash(test, t);
		KUNIT_EXPECT_EQ(test, nr_free(t), FRAMES - DATA - frames);
	}
}

static void pool_free_batch(struct kunit *test)
{
	struct pool_test *t = pool_new(test, 12);
	unsigned int i, nr, seed;
	u64 blocks[64];
	long frame;

	/* One fence and one line for committed frames of a child; none for others */
	for (i = 0; i < 64; i++)
		blocks[i] = block_at(llfree_pool_alloc(&t->pool, 0), 0);
	KUNIT_EXPECT_EQ(test, 32, llfree_pool_commit_batch(&t->pool, blocks, 32));
	t->lossy->write_backs = 0;
	t->lossy->fences = 0;
	KUNIT_EXPECT_EQ(test, 32, llfree_pool_free_batch(&t->pool, &blocks[32], 32));
	KUNIT_EXPECT_EQ(test, 0, t->lossy->write_backs + t->lossy->fences);
	KUNIT_EXPECT_EQ(test, 32, llfree_pool_free_batch(&t->pool, blocks, 32));
	KUNIT_EXPECT_EQ(test, 1, t->lossy->write_backs);
	KUNIT_EXPECT_EQ(test, 1, t->lossy->fences);
	KUNIT_EXPECT_EQ(test, 0, llfree_pool_free_batch(&t->pool, blocks, 0));
	KUNIT_EXPECT_EQ(test, nr_free(t), FRAMES - DATA);

	/* The third block is free, so the first two are freed, and the fourth is not. */
	for (i = 0; i < 4; i++)
		blocks[i] = block_at(alloc_committed(test, t, 1), 1);
	blocks[2] = blocks[0];
	KUNIT_EXPECT_EQ(test, 2, llfree_pool_free_batch(&t->pool, blocks, 4));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_pool_free_batch(&t->pool, &blocks[2], 2));
	blocks[2] |= 0xfff;
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_pool_free_batch(&t->pool, &blocks[2], 2));
	llfree_pool_sync(&t->pool);
	pool_crash(test, t);
	KUNIT_EXPECT_EQ(test, nr_free(t), FRAMES - DATA - 4);

	/* Blocks of any order, of which every fourth is not committed */
	for (seed = 0; seed < 30; seed++) {
		t = pool_new(test, seed);
		for (nr = 0; nr < 40; nr++) {
			i = nr % 8 ? (seed + nr) % 6 : 9 + nr / 8 % 2;
			frame = llfree_pool_alloc(&t->pool, i);
			if (frame < 0)
				break;
			if (nr % 4)
				llfree_pool_commit(&t->pool, frame, i);
			blocks[nr] = block_at(frame, i);
		}
		llfree_pool_sync(&t->pool);
		KUNIT_EXPECT_EQ(test, nr, llfree_pool_free_batch(&t->pool, blocks, nr));
		KUNIT_EXPECT_EQ(test, nr_free(t), FRAMES - DATA);
		llfree_pool_sync(&t->pool);
		pool_crash(test, t);
		KUNIT_EXPECT_EQ(test, nr_free(t), FRAMES - DATA);
	}
}

/* A root is what it was, or what it became, and what it leads to is there. */
static void pool_roots(struct kunit *test)
{
	struct pool_test *t = pool_new(test, 5);
	u64 old = 0, value;
	unsigned int i;
	long frame;

	for (i = 0; i < 40; i++) {
		frame = alloc_committed(test, t, i % 10);
		/* It waits for the commit. */
		KUNIT_EXPECT_EQ(test, 0, llfree_pool_root_cas(&t->pool, i, &old, frame));
		KUNIT_EXPECT_EQ(test, frame, llfree_pool_root(&t->pool, i));
		pool_crash(test, t);
		KUNIT_EXPECT_EQ(test, frame, llfree_pool_root(&t->pool, i));
		KUNIT_EXPECT_FALSE(test, frame_free(t, frame));
		KUNIT_EXPECT_FALSE(test, frame_free(t, frame + (1UL << i % 10) - 1));
		value = frame;
		KUNIT_EXPECT_EQ(test, 0, llfree_pool_root_cas(&t->pool, i, &value, 0));
		KUNIT_EXPECT_EQ(test, 0, llfree_pool_free(&t->pool, frame, i % 10));
		llfree_pool_sync(&t->pool);
		pool_crash(test, t);
		KUNIT_EXPECT_EQ(test, 0, llfree_pool_root(&t->pool, i));
		KUNIT_EXPECT_EQ(test, nr_free(t), FRAMES - DATA);
	}
}

/* If a root is there after a crash, the block that it leads to is. */
static void pool_roots_crash(struct kunit *test)
{
	unsigned int seed, there = 0;
	struct pool_test *t;
	long frame;
	u64 old;

	for (seed = 0; seed < 60; seed++) {
		t = pool_new(test, seed);
		frame = alloc_committed(test, t, 4);
		t->lossy->fences = 0;
		t->lossy->crash_at = 1 + seed % 2;
		old = 0;
		KUNIT_EXPECT_EQ(test, 0, llfree_pool_root_cas(&t->pool, 0, &old, frame));
		pool_crash(test, t);
		if (llfree_pool_root(&t->pool, 0)) {
			KUNIT_EXPECT_FALSE(test, frame_free(t, frame));
			there++;
		}
	}
	KUNIT_EXPECT_GT(test, there, 10);
	KUNIT_EXPECT_LT(test, there, 60);
}

/* An allocation costs the medium nothing, and a commit a line or two. */
static void pool_cost(struct kunit *test)
{
	struct pool_test *t = pool_new(test, 6);
	struct lossy *lossy = t->lossy;
	unsigned int order;
	long frame;

	for (order = 0; order <= LLFREE_MAX_ORDER; order++) {
		lossy->write_backs = 0;
		lossy->fences = 0;
		frame = llfree_pool_alloc(&t->pool, order);
		KUNIT_ASSERT_GE(test, frame, DATA);
		KUNIT_EXPECT_EQ(test, 0, lossy->write_backs);
		KUNIT_EXPECT_EQ(test, 0, llfree_pool_commit(&t->pool, frame, order));
		KUNIT_EXPECT_EQ(test, order == LLFREE_MAX_ORDER ? 2 : 1, lossy->write_backs);
		KUNIT_EXPECT_EQ(test, 0, lossy->fences);
		KUNIT_EXPECT_EQ(test, 0, llfree_pool_free(&t->pool, frame, order));
		KUNIT_EXPECT_EQ(test, order == LLFREE_MAX_ORDER ? 4 : 2, lossy->write_backs);
		KUNIT_EXPECT_EQ(test, 1, lossy->fences);
	}
}

static struct kunit_case pool_cases[] = {
	KUNIT_CASE(pool_format),
	KUNIT_CASE(pool_format_crash),
	KUNIT_CASE(pool_super_faults),
	KUNIT_CASE(pool_super_repaired),
	KUNIT_CASE(pool_sessions),
	KUNIT_CASE(pool_detach_crash),
	KUNIT_CASE(pool_bad_rows),
	KUNIT_CASE(pool_bad_metadata_rows),
	KUNIT_CASE(pool_bad_once),
	KUNIT_CASE(pool_invalid),
	KUNIT_CASE(pool_crashes),
	KUNIT_CASE(pool_reclaim),
	KUNIT_CASE(pool_is_allocated),
	KUNIT_CASE(pool_bad_roots),
	KUNIT_CASE(pool_read_only_medium),
	KUNIT_CASE(pool_commit_batch),
	KUNIT_CASE(pool_free_batch),
	KUNIT_CASE(pool_roots),
	KUNIT_CASE(pool_roots_crash),
	KUNIT_CASE(pool_cost),
	{}
};

static struct kunit_suite pool_suite = {
	.name = "llfree_pool",
	.test_cases = pool_cases,
};

kunit_test_suite(pool_suite);
