// SPDX-License-Identifier: GPL-2.0
/*
 * A pool, its frames and their owners, and invariants of both; see
 * pool-model.c.
 */
#include <linux/align.h>
#include <linux/crc32.h>
#include <linux/kernel.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <shim/shim.h>

#include "pool-world.h"

#define MAX_TOUCHED	16

struct world world;
bool formatting;

static struct world saved_world;
static u64 saved_words[NR_WORDS];
/* Off while a state is built */
static bool checking;

/* ---- Owners ---- */

/*
 * CLEAN: never committed, or freed and waited for. COMMITTED: committed, but
 * not waited for. PUBLISHED: committed and waited for. FREED: freed, but not
 * waited for.
 */
enum { CLEAN, COMMITTED, PUBLISHED, FREED };

static struct books {
	struct frame {
		/* Owner plus 1, and the thread that changed the bit last */
		u8 owner;
		u8 by;
		u8 state;
		u32 alloc;
	} frames[FRAMES];
	/*
	 * The same state by rows: frames with an owner, and bits that must or
	 * may be set
	 */
	u64 owned[NR_ROWS];
	u64 must[NR_ROWS];
	u64 may[NR_ROWS];
	/*
	 * Blocks whose bits a thread has changed without waiting for the change
	 */
	struct block touched[EXPLORE_THREADS + 2][MAX_TOUCHED];
	unsigned int nr_touched[EXPLORE_THREADS + 2];
	unsigned int nr_allocs;
} books, saved_books;

static void set_bit_if(u64 *rows, unsigned int frame, bool set)
{
	const u64 bit = BIT_ULL(frame % ROW);

	rows[frame / ROW] = set ? rows[frame / ROW] | bit : rows[frame / ROW] & ~bit;
}

static void frame_state(unsigned int frame, unsigned int state)
{
	books.frames[frame].state = state;
	set_bit_if(books.must, frame, state == PUBLISHED);
	set_bit_if(books.may, frame, state != CLEAN);
}

static void frame_owner(unsigned int frame, unsigned int owner)
{
	books.frames[frame].owner = owner;
	set_bit_if(books.owned, frame, owner);
}

static void touch(unsigned int tid, const struct block *b)
{
	if (books.nr_touched[tid] == MAX_TOUCHED)
		abort();
	books.touched[tid][books.nr_touched[tid]++] = *b;
}

static unsigned int block_end(const struct block *b)
{
	return b->frame + (1U << b->order);
}

void own_new(unsigned int tid, struct block *b)
{
	unsigned int f;

	if (b->frame < DATA || block_end(b) > FRAMES) {
		explore_fail("a block that cannot be", b->frame);
		b->frame = 0;
		return;
	}
	b->alloc = ++books.nr_allocs;
	for (f = b->frame; f < block_end(b); f++) {
		if (books.frames[f].owner)
			explore_fail("a frame that is in use was allocated", f);
		frame_owner(f, tid + 1);
		books.frames[f].alloc = b->alloc;
	}
}

void own_moves(unsigned int tid, const struct block *b)
{
	unsigned int f;

	for (f = b->frame; f < block_end(b); f++)
		frame_owner(f, tid + 1);
}

void own_commit(unsigned int tid, const struct block *b)
{
	unsigned int f;

	for (f = b->frame; f < block_end(b); f++) {
		books.frames[f].by = tid;
		if (books.frames[f].state != PUBLISHED)
			frame_state(f, COMMITTED);
	}
	touch(tid, b);
}

void own_free(unsigned int tid, const struct block *b)
{
	unsigned int f;

	for (f = b->frame; f < block_end(b); f++) {
		/*
		 * If another thread has cleared the bit, that thread has to
		 * wait for it.
		 */
		if (books.frames[f].state != CLEAN && books.frames[f].state != FREED) {
			books.frames[f].by = tid;
			frame_state(f, FREED);
		}
		frame_owner(f, 0);
	}
	touch(tid, b);
}

void own_sync(unsigned int tid)
{
	unsigned int i, f;

	for (i = 0; i < books.nr_touched[tid]; i++) {
		const struct block *b = &books.touched[tid][i];

		for (f = b->frame; f < block_end(b); f++) {
			if (books.frames[f].by != tid)
				continue;
			if (books.frames[f].state == COMMITTED)
				frame_state(f, PUBLISHED);
			else if (books.frames[f].state == FREED)
				frame_state(f, CLEAN);
		}
	}
	books.nr_touched[tid] = 0;
}

void own_swept(bool alone)
{
	unsigned int f;

	for (f = DATA; f < FRAMES; f++) {
		if (books.frames[f].owner == LEAKED + 1)
			frame_owner(f, 0);
		if (!books.frames[f].owner)
			frame_state(f, CLEAN);
		else if (alone && books.frames[f].state == COMMITTED)
			frame_state(f, PUBLISHED);
	}
}

u64 own_live(unsigned int row)
{
	u64 live = 0;
	unsigned int f;

	for (f = row * ROW; f < (row + 1) * ROW; f++)
		if (books.frames[f].owner && books.frames[f].owner != LEAKED + 1)
			live |= BIT_ULL(f % ROW);
	return live;
}

void own_seen(unsigned int word, u64 value)
{
	if (medium_lost(word, value))
		explore_fail("a root that was seen may be lost", word - WORD_ROOTS);
}

/* ---- Invariants after each change of the medium ---- */

static void check_rows(void)
{
	unsigned int i;

	for (i = 0; i < NR_ROWS; i++) {
		const u64 metadata = i < DATA / ROW ? ~0ULL : 0;

		if (~medium_all(WORD_ROWS + i) & (books.must[i] | metadata))
			explore_fail("a frame that was committed may be free", i * ROW);
		if (medium_any(WORD_ROWS + i) & ~(books.may[i] | metadata))
			explore_fail("a frame that is not committed may be allocated", i * ROW);
	}
}

/*
 * After any crash, a pointer leads to an allocated block of the allocation it
 * was stored for.
 */
static void check_pointer(unsigned int word)
{
	unsigned int i, f;

	for (i = 0; i < medium_nr(word); i++) {
		const struct block b = pointer_block(medium_value(word, i));

		for (f = b.frame; b.frame && f < block_end(&b); f++) {
			if (books.frames[f].alloc != b.alloc)
				explore_fail("a pointer to a block of another owner", f);
			if (!(medium_all(WORD_ROWS + f / ROW) & BIT_ULL(f % ROW)))
				explore_fail("a pointer to a frame that may be free", f);
		}
	}
}

/*
 * If a crash may leave a clean pool, all rows and their checksum are
 * persistent.
 */
static void check_clean(void)
{
	u64 rows[NR_ROWS];
	unsigned int i;
	u32 crc;

	for (i = 0; medium_value(WORD_SESSION, i) & LLFREE_POOL_DIRTY; i++)
		if (i + 1 == medium_nr(WORD_SESSION))
			return;
	for (i = 0; i < NR_ROWS; i++) {
		rows[i] = medium_value(WORD_ROWS + i, 0);
		if (medium_nr(WORD_ROWS + i) > 1)
			explore_fail("a pool that may look clean has rows that may be lost", i);
	}
	crc = __crc32c_le(~0U, (u8 *)&rows[DATA / LLFREE_ROW_FRAMES],
			  sizeof(rows) - DATA / BITS_PER_BYTE);
	for (i = 0; i < medium_nr(WORD_CRC); i++)
		if (medium_value(WORD_CRC, i) != crc)
			explore_fail("a pool that may look clean has a wrong checksum", i);
}

/* ---- Recovery ---- */

/* A medium that is attached after a crash, and the volatile memory for it */
static struct world after;

static void after_write_back(const struct llfree_pool_medium *m, const void *start, size_t size)
{
}

static void after_fence(const struct llfree_pool_medium *m)
{
}

static int attach(struct world *w, const struct llfree_pool_medium *m)
{
	struct llfree_memory mem = {
		.rows = w->rows, .children = w->children, .trees = w->trees,
		.trees_stride = sizeof(w->trees[0]),
	};
	struct llfree_pool_super super;
	int ret = llfree_pool_probe(m, &super);

	if (ret)
		return ret;
	if (llfree_layout(0, FRAMES, LLFREE_MIN_TREE_ORDER, &mem))
		abort();
	mem.trees_stride = sizeof(w->trees[0]);
	mem.trees_size = sizeof(w->trees);
	mem.children_size = sizeof(w->children);
	if (mem.rows_size > sizeof(w->rows))
		abort();
	return llfree_pool_attach(&w->pool, m, &mem, w->locals, NR_SLOTS);
}

/* Frames match the rows, and all other words are as before the crash. */
static const char *check_recovery(const u64 *values)
{
	const bool is_old = formatting && !memcmp(after.pool.uuid, old_uuid, sizeof(old_uuid));
	const u64 session = values[WORD_SESSION];
	u64 now[NR_WORDS];
	unsigned int i;

	if (llfree_validate(&after.pool.core, NULL))
		return "the recovered pool is not valid";
	if (memcmp(after.pool.uuid, is_old ? old_uuid : world_uuid, sizeof(world_uuid)))
		return "the recovered pool is another one";
	if (after.pool.was_dirty != (session & LLFREE_POOL_DIRTY) ||
	    after.pool.session != session / 2 + 1)
		return "the recovered pool has another session";
	if (after.pool.rows_damaged || after.pool.bad_rows)
		return "the recovered pool has damaged rows";
	for (i = DATA / ROW; i < NR_ROWS; i++)
		if (values[WORD_ROWS + i] != ~llfree_row_mask(&after.pool.core, i * ROW))
			return "frames are not those that were committed";
	if (memcmp(after.medium + LLFREE_POOL_SUPER, after.medium + LLFREE_POOL_COPY,
		   sizeof(struct llfree_pool_super)))
		return "superblocks differ";
	memcpy(now, values, sizeof(now));
	medium_get(after.medium, now);
	if (memcmp(&now[WORD_ROOTS], &values[WORD_ROOTS], (NR_WORDS - WORD_ROOTS) * sizeof(u64)))
		return "the recovery has changed roots or rows";
	if (!formatting)
		return NULL;
	for (i = 0; i < LLFREE_POOL_NR_ROOTS; i++)
		if (values[WORD_ROOTS + i] != (is_old ? medium_first(WORD_ROOTS + i) : 0))
			return "roots are not those of the pool";
	for (i = DATA / ROW; i < NR_ROWS; i++)
		if (values[WORD_ROWS + i] != (is_old ? medium_first(WORD_ROWS + i) : 0))
			return "rows are not those of the pool";
	return NULL;
}

static bool crash_check(const u64 *values)
{
	static const struct llfree_pool_medium m = {
		.base = after.medium, .size = FRAMES << LLFREE_POOL_FRAME_SHIFT,
		.write_back = after_write_back, .fence = after_fence,
	};
	const char *why = NULL;
	int ret;

	medium_put(after.medium, values);
	ret = attach(&after, &m);
	if (!ret)
		why = check_recovery(values);
	else if (!formatting || ret != -ENODEV)
		why = "the pool cannot be attached after a crash";
	if (why)
		explore_fail(why, -ret);
	return !why;
}

/* ---- The medium of the pool ---- */

static void check_all(void)
{
	unsigned int i;

	if (!formatting) {
		check_rows();
		for (i = 0; i < NR_POINTERS; i++) {
			check_pointer(WORD_ROOTS + i);
			check_pointer(WORD_POINTERS + i);
		}
		check_clean();
	}
	medium_crash(crash_check);
}

/* The thread that acts, or the number of the test when no thread runs */
static unsigned int actor(void)
{
	return explore_thread() < 0 ? NR_ACTORS - 1 : explore_thread();
}

static void world_write_back(const struct llfree_pool_medium *m, const void *start, size_t size)
{
	explore_watched("write back");
	if (medium_changed() && checking)
		check_all();
	medium_write_back(actor(), start, size);
}

static void world_fence(const struct llfree_pool_medium *m)
{
	explore_watched("fence");
	medium_changed();
	medium_fence(actor());
	if (checking)
		check_all();
	else
		medium_start(world.medium);
}

const struct llfree_pool_medium world_medium = {
	.base = world.medium, .size = FRAMES << LLFREE_POOL_FRAME_SHIFT,
	.write_back = world_write_back, .fence = world_fence,
};

void world_wrote(const void *p)
{
	const unsigned int word = medium_word(p);

	if (word == NR_WORDS)
		return;
	medium_wrote(word);
	check_all();
}

bool world_watched(const void *p)
{
	return medium_word(p) < NR_WORDS;
}

/* ---- States ---- */

int world_attach(void)
{
	return attach(&world, &world_medium);
}

void world_detach(void)
{
	llfree_pool_detach(&world.pool);
	if (world.pool.read_only)
		return;
	if (medium_nr(WORD_SESSION) > 1 || medium_value(WORD_SESSION, 0) & LLFREE_POOL_DIRTY)
		explore_fail("a pool that was detached may not look clean", 0);
}

void world_format_as(const u8 uuid[16])
{
	checking = false;
	formatting = false;
	memset(&world, 0, sizeof(world));
	memset(&books, 0, sizeof(books));
	medium_start(world.medium);
	if (llfree_pool_format(&world_medium, uuid) || world_attach())
		abort();
}

struct block world_give(unsigned int tid, unsigned int frame, unsigned int order,
			bool committed)
{
	struct block b = { .frame = frame, .order = order };

	if (llfree_claim(&world.pool.core, frame, order, 0, NULL))
		abort();
	own_new(tid, &b);
	if (!committed)
		return b;
	own_commit(tid, &b);
	if (llfree_pool_commit(&world.pool, frame, order))
		abort();
	llfree_pool_sync(&world.pool);
	/* A sweep may clear the bits of leaked frames at any time. */
	if (tid != LEAKED)
		own_sync(tid);
	return b;
}

/* Is a frame in one of the blocks to leave free? */
static bool is_left(const unsigned int *leave, unsigned int nr, unsigned int order,
		    unsigned int frame)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		if (leave[i] == ALIGN_DOWN(frame, 1U << order))
			return true;
	return false;
}

void world_fill(const unsigned int *leave, unsigned int nr, unsigned int order)
{
	unsigned int f;

	for (f = DATA; f < FRAMES; f++)
		if (llfree_frame_is_free(&world.pool.core, f) && !is_left(leave, nr, order, f))
			world_give(OTHER, f, 0, true);
}

void world_point(unsigned int word, const struct block *b)
{
	u64 *at = medium_address(word);

	*at = pointer_to(b);
	world_write_back(&world_medium, at, sizeof(*at));
	world_fence(&world_medium);
}

void world_save(void)
{
	saved_world = world;
	medium_get(world.medium, saved_words);
	saved_books = books;
	medium_forget();
	checking = true;
}

/* ---- Runs ---- */

void world_reset(void)
{
	medium_put(world.medium, saved_words);
	memcpy(world.rows, saved_world.rows, sizeof(world) - offsetof(struct world, rows));
	books = saved_books;
	medium_start(world.medium);
}

/*
 * At the end, rows match the owners, and a pool that is detached is complete.
 */
const char *world_finish(void)
{
	static char why[128];
	struct llfree_fault fault;
	unsigned int i;

	if (shim_warnings)
		return "a warning";
	if (formatting)
		return NULL;
	if (llfree_validate(&world.pool.core, &fault)) {
		snprintf(why, sizeof(why), "%s at frame %#lx: expected %ld, found %ld",
			 fault.what, fault.frame, fault.expected, fault.found);
		return why;
	}
	for (i = DATA / ROW; i < NR_ROWS; i++)
		if (books.owned[i] != ~llfree_row_mask(&world.pool.core, i * ROW)) {
			snprintf(why, sizeof(why), "row %u is not that of the owners", i);
			return why;
		}
	check_all();
	if (medium_value(WORD_SESSION, 0) & LLFREE_POOL_DIRTY)
		world_detach();
	return NULL;
}

const char *world_name(const void *p)
{
	const unsigned int word = medium_word(p);
	const unsigned long at = (const char *)p - (const char *)&world;
	static char name[32];

	if (word < NR_WORDS)
		return medium_name(word);
	if (at < offsetof(struct world, children))
		snprintf(name, sizeof(name), "row %zu",
			 (at - offsetof(struct world, rows)) / sizeof(u64));
	else if (at < offsetof(struct world, trees))
		snprintf(name, sizeof(name), "child %zu",
			 (at - offsetof(struct world, children)) / sizeof(u16));
	else if (at < offsetof(struct world, locals))
		snprintf(name, sizeof(name), "tree %zu",
			 (at - offsetof(struct world, trees)) / sizeof(u32));
	else if (at < offsetof(struct world, pool))
		snprintf(name, sizeof(name), "local %zu", at - offsetof(struct world, locals));
	else
		snprintf(name, sizeof(name), "pool + %zu", at - offsetof(struct world, pool));
	return name;
}
