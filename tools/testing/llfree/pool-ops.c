// SPDX-License-Identifier: GPL-2.0
/* Operations of threads on a pool, and programs of these; see pool-model.c. */
#include <linux/kernel.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <shim/atomic.h>

#include "pool-ops.h"

static struct llfree_pool *const pool = &world.pool;

struct block blocks[EXPLORE_THREADS];
/* The block that each thread had before */
static struct block last[EXPLORE_THREADS];
static unsigned int nr_threads;

static void expect(int ret, int wanted, const char *why)
{
	if (ret != wanted)
		explore_fail(why, -ret);
}

static void op_alloc(unsigned int tid, unsigned int order)
{
	const long frame = llfree_pool_alloc(pool, order);
	struct block *b = &blocks[tid];

	explore_watched("owns");
	if (frame == -ENOMEM)
		return;
	if (frame < 0) {
		explore_fail("an allocation failed", -frame);
		return;
	}
	*b = (struct block){ .frame = frame, .order = order };
	own_new(tid, b);
}

static void op_commit(unsigned int tid, unsigned int arg)
{
	struct block *b = &blocks[tid];

	if (!b->frame)
		return;
	own_commit(tid, b);
	expect(llfree_pool_commit(pool, b->frame, b->order), 0, "a commit failed");
}

static void op_sync(unsigned int tid, unsigned int arg)
{
	llfree_pool_sync(pool);
	own_sync(tid);
}

static void op_free(unsigned int tid, unsigned int arg)
{
	struct block *b = &blocks[tid];

	if (!b->frame)
		return;
	explore_watched("frees");
	own_free(tid, b);
	last[tid] = *b;
	b->frame = 0;
	expect(llfree_pool_free(pool, last[tid].frame, last[tid].order), 0,
	       "the free of an own block failed");
}

/* Free the halves of the block, or its only frame, in a batch. */
static void op_free_batch(unsigned int tid, unsigned int arg)
{
	const struct block b = blocks[tid];
	const unsigned int order = b.order ? b.order - 1 : 0;
	const u64 halves[] = {
		(u64)b.frame << LLFREE_POOL_FRAME_SHIFT | order,
		(u64)(b.frame + BIT(order)) << LLFREE_POOL_FRAME_SHIFT | order,
	};
	const long nr = b.order ? 2 : 1;

	if (!b.frame)
		return;
	explore_watched("frees");
	own_free(tid, &blocks[tid]);
	last[tid] = b;
	blocks[tid].frame = 0;
	if (llfree_pool_free_batch(pool, halves, nr) != nr)
		explore_fail("the free of an own batch failed", b.frame);
}

/*
 * Free and commit a block that was freed before; no thread allocates meanwhile.
 */
static void op_free_again(unsigned int tid, unsigned int arg)
{
	const struct block *b = &last[tid];

	if (!b->frame)
		return;
	expect(llfree_pool_free(pool, b->frame, b->order), -EINVAL, "a bad free");
	expect(llfree_pool_commit(pool, b->frame, b->order), -EINVAL, "a bad commit");
}

/* Let a root that leads nowhere lead to the block, which is committed. */
static void op_publish(unsigned int tid, unsigned int root)
{
	const u64 value = pointer_to(&blocks[tid]);
	u64 old = 0;
	int ret;

	if (!blocks[tid].frame)
		return;
	do {
		ret = llfree_pool_root_cas(pool, root, &old, value);
	} while (ret == -EAGAIN && !pointer_block(old).frame);
	own_seen(WORD_ROOTS + root, ret ? old : value);
	if (ret && ret != -EAGAIN)
		explore_fail("a root cannot be changed", -ret);
}

/* Remove the block from a root. The root may lead elsewhere by now. */
static void op_remove(unsigned int tid, unsigned int root)
{
	u64 old = pointer_to(&blocks[tid]);
	const u64 removed = pointer_removed(old);
	int ret;

	if (!blocks[tid].frame)
		return;
	ret = llfree_pool_root_cas(pool, root, &old, removed);
	own_seen(WORD_ROOTS + root, ret ? old : removed);
	if (ret)
		blocks[tid].frame = 0;
}

/* Become the owner of the block that a root leads to. */
static void op_take(unsigned int tid, unsigned int root)
{
	const u64 value = llfree_pool_root(pool, root);
	u64 old = value;

	own_seen(WORD_ROOTS + root, value);
	blocks[tid] = pointer_block(value);
	op_remove(tid, root);
	if (!blocks[tid].frame)
		return;
	own_moves(tid, &blocks[tid]);
	if (old != value)
		explore_fail("a root has changed on its own", old);
}

/*
 * Hand the block to the thread that finds it in a root. The root is then no
 * pointer: after a crash, the block has leaked.
 */
static void op_send(unsigned int tid, unsigned int root)
{
	const u64 value = message_of(&blocks[tid]);
	u64 old = 0;

	if (!blocks[tid].frame)
		return;
	expect(llfree_pool_root_cas(pool, root, &old, value), 0, "a root cannot be changed");
	blocks[tid].frame = 0;
}

/*
 * Only the load of the root orders the writes of the other thread before this
 * thread.
 */
static void op_receive(unsigned int tid, unsigned int root)
{
	const u64 value = llfree_pool_root(pool, root);

	own_seen(WORD_ROOTS + root, value);
	if (!value)
		return;
	blocks[tid] = message_block(value);
	own_moves(tid, &blocks[tid]);
}

/* Read a root only. */
static void op_look(unsigned int tid, unsigned int root)
{
	own_seen(WORD_ROOTS + root, llfree_pool_root(pool, root));
}

/* Pointers in data of the caller, which has to order their write-backs */
static void pointer_store(unsigned int i, u64 value)
{
	u64 *at = medium_address(WORD_POINTERS + i);

	WRITE_ONCE(*at, value);
	world_medium.write_back(&world_medium, at, sizeof(*at));
}

static void op_point(unsigned int tid, unsigned int i)
{
	if (blocks[tid].frame)
		pointer_store(i, pointer_to(&blocks[tid]));
}

static void op_unpoint(unsigned int tid, unsigned int i)
{
	if (blocks[tid].frame)
		pointer_store(i, pointer_removed(pointer_to(&blocks[tid])));
}

static void op_end(unsigned int tid, unsigned int arg)
{
	/* Pairs with alone(): the last thread sees all writes of this one. */
	smp_store_release(&world.done[tid], 1);
}

/* Have all other threads ended, as far as this one can see? */
static bool alone(unsigned int tid)
{
	unsigned int i;

	for (i = 0; i < nr_threads; i++)
		/* Pairs with op_end() */
		if (i != tid && !smp_load_acquire(&world.done[i]))
			return false;
	return true;
}

static void op_detach(unsigned int tid, unsigned int arg)
{
	if (alone(tid))
		world_detach();
}

static void sweep_all(bool is_alone)
{
	const unsigned int first = DATA / ROW;
	struct llfree_pool_swept swept = { };
	u64 live[NR_ROWS];
	unsigned int i;

	for (i = first; i < NR_ROWS; i++)
		live[i] = own_live(i);
	expect(llfree_pool_sweep(pool, DATA, FRAMES - DATA, &live[first], &swept), 0,
	       "a sweep failed");
	own_swept(is_alone);
	if (swept.missing)
		explore_fail("a sweep misses frames", swept.missing);
}

/* Sweep after all other threads have ended. */
static void op_sweep_alone(unsigned int tid, unsigned int arg)
{
	if (alone(tid))
		sweep_all(true);
}

static void op_sweep(unsigned int tid, unsigned int arg)
{
	sweep_all(false);
}

static void op_format(unsigned int tid, unsigned int arg)
{
	expect(llfree_pool_format(&world_medium, world_uuid), 0, "a pool cannot be formatted");
}

static void op_attach(unsigned int tid, unsigned int arg)
{
	expect(world_attach(), 0, "a pool cannot be attached");
}

static const struct op {
	char name;
	void (*fn)(unsigned int tid, unsigned int arg);
} ops[] = {
	{ 'a', op_alloc },	/* a number is the order */
	{ 'c', op_commit },
	{ 's', op_sync },
	{ 'f', op_free },
	{ 'b', op_free_batch },
	{ 'g', op_free_again },
	{ 'p', op_publish },	/* a number is the root */
	{ 'r', op_remove },	/* a number is the root */
	{ 't', op_take },	/* a number is the root */
	{ 'h', op_send },	/* a number is the root */
	{ 'm', op_receive },	/* a number is the root */
	{ 'l', op_look },	/* a number is the root */
	{ 'q', op_point },	/* a number is the pointer */
	{ 'v', op_unpoint },	/* a number is the pointer */
	{ 'e', op_end },
	{ 'd', op_detach },	/* after the ends of all others */
	{ 'w', op_sweep_alone },	/* after the ends of all others */
	{ 'x', op_sweep },
	{ 'F', op_format },
	{ 'A', op_attach },
};

/* Program of each thread: letters and numbers, as "a0 c s" */
static const char *programs[EXPLORE_THREADS];

void run_program(unsigned int tid)
{
	const char *at = programs[tid];
	unsigned int i, arg;

	for (; *at && *at != '|'; at++) {
		if (*at == ' ')
			continue;
		for (i = 0; i < ARRAY_SIZE(ops) && ops[i].name != *at; i++)
			;
		if (i == ARRAY_SIZE(ops))
			abort();
		arg = 0;
		while (at[1] >= '0' && at[1] <= '9')
			arg = arg * 10 + *++at - '0';
		ops[i].fn(tid, arg);
	}
}

unsigned int parse_programs(const char *text)
{
	nr_threads = 0;
	for (; text; text = strchr(text, '|')) {
		text += *text == '|';
		programs[nr_threads++] = text;
	}
	return nr_threads;
}

void reset_programs(const struct block *start)
{
	memcpy(blocks, start, sizeof(blocks));
	memset(last, 0, sizeof(last));
}
