// SPDX-License-Identifier: GPL-2.0
/*
 * Stress test: many threads on one instance. The owner of a frame marks it in a
 * table with an atomic exchange. So the test notices at once when a frame gets
 * two owners, or is freed by a thread that does not own it. Each owner also
 * writes to the frame without atomics: only the ordering of the allocator makes
 * this correct, and ThreadSanitizer reports if it does not.
 */
#include <linux/align.h>
#include <linux/bits.h>
#include <linux/bitops.h>
#include <linux/minmax.h>
#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <shim/atomic.h>
#include <shim/shim.h>

#include "inst.h"
#include "words.h"
#include "kselftest.h"

#define TREE	LLFREE_MIN_TREE_FRAMES
#define CHILD	LLFREE_CHILD_FRAMES
#define ROW	LLFREE_ROW_FRAMES

#define MAX_THREADS	64
#define MAX_HELD	4096
#define NR_MAILBOXES	64

struct block {
	unsigned long frame;
	unsigned int order;
};

struct scenario;

/**
 * struct thread - one of the threads
 * @pthread: handle
 * @nr: number of the thread, which owns frames as @nr + 1
 * @rng: random numbers of the thread
 * @delta: delta of the last operations, not yet in @frames and @huge
 * @frames: sum of the deltas of all operations, in frames
 * @huge: sum of these deltas, in entirely free children
 * @held: blocks that the thread holds
 * @nr_held: number of @held
 * @limit: how many blocks the thread may hold
 * @ops: number of operations
 * @allocs: number of successful allocations
 * @fails: number of failed allocations
 */
struct thread {
	pthread_t pthread;
	unsigned int nr;
	struct rng rng;
	struct llfree_delta delta;
	long frames[LLFREE_NR_VIEWS];
	long huge[LLFREE_NR_VIEWS];
	struct block *held;
	unsigned int nr_held;
	unsigned int limit;
	unsigned long ops;
	unsigned long allocs;
	unsigned long fails;
} __aligned(128);

static struct inst in;
static const struct scenario *scenario;
static struct thread threads[MAX_THREADS];
static unsigned int nr_threads;
/* Owner of each frame, by frame - in.llf.first */
static u8 *owner;
/* Payload that the owner writes, by plain accesses */
static u32 *payload;
/* Blocks on the way to another thread, as letters; 0 if empty */
static u64 mailboxes[NR_MAILBOXES];
/*
 * When a child was isolated, by a clock that counts isolations; 0 if it is not
 * isolated. An allocation that read the clock later must not return frames of
 * the child.
 */
static u64 *isolated_since;
static u64 isolation_clock = 1;
static bool stop;
static pthread_barrier_t barrier;

static struct {
	u64 seed;
	unsigned int seconds;
	unsigned int max_threads;
	const char *only;
} opt = { .seconds = 10, .max_threads = 32 };

/*
 * Yield the CPU in the middle of operations: a few CPUs alone interleave
 * little.
 */
static __thread u32 step_random, step_rare;

void shim_step(const void *word)
{
	if (!step_random)
		return;
	step_random ^= step_random << 13;
	step_random ^= step_random >> 17;
	step_random ^= step_random << 5;
	if (!(step_random & step_rare))
		sched_yield();
}

static void __noreturn __printf(1, 2) die(const char *fmt, ...)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	char why[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	pthread_mutex_lock(&lock);
	ksft_test_result_fail("%s\n", why);
	ksft_print_msg("seed %llu\n", (unsigned long long)opt.seed);
	fflush(stdout);
	_exit(KSFT_FAIL);
}

/* ---- Ownership ---- */

static u32 tag(unsigned long frame, unsigned int who)
{
	return (frame << 8) ^ who;
}

static void own(struct thread *t, unsigned long frame, unsigned long nr)
{
	unsigned int old;
	unsigned long i;

	if (frame < in.llf.first || frame + nr > in.llf.end)
		die("frame %#lx is not in the range", frame);
	for (i = frame - in.llf.first; i < frame - in.llf.first + nr; i++) {
		/*
		 * Relaxed, so that the exchange adds no order to that of the
		 * allocator
		 */
		old = __atomic_exchange_n(&owner[i], t->nr + 1, __ATOMIC_RELAXED);
		if (old)
			die("thread %u got frame %#lx, which thread %u has",
			    t->nr, in.llf.first + i, old - 1);
		payload[i] = tag(i, t->nr + 1);
	}
}

/*
 * Called before a free, since another thread may get the frame before that
 * returns
 */
static void disown(struct thread *t, unsigned long frame, unsigned long nr)
{
	unsigned int old;
	unsigned long i;

	for (i = frame - in.llf.first; i < frame - in.llf.first + nr; i++) {
		if (payload[i] != tag(i, t->nr + 1))
			die("somebody wrote to frame %#lx of thread %u",
			    in.llf.first + i, t->nr);
		old = __atomic_exchange_n(&owner[i], 0, __ATOMIC_RELAXED);
		if (old != t->nr + 1)
			die("thread %u frees frame %#lx, which %d has", t->nr,
			    in.llf.first + i, (int)old - 1);
	}
}

/* Take over a block that another thread put into a mailbox. */
static void adopt(struct thread *t, unsigned long frame, unsigned long nr)
{
	unsigned long i;

	for (i = frame - in.llf.first; i < frame - in.llf.first + nr; i++) {
		if (!__atomic_exchange_n(&owner[i], t->nr + 1, __ATOMIC_RELAXED))
			die("frame %#lx came without owner", in.llf.first + i);
		payload[i] = tag(i, t->nr + 1);
	}
}

static void hold(struct thread *t, unsigned long frame, unsigned int order)
{
	if (t->nr_held == MAX_HELD)
		die("thread %u holds too much", t->nr);
	t->held[t->nr_held++] = (struct block) { frame, order };
}

static struct block release(struct thread *t, unsigned int index)
{
	struct block block = t->held[index];

	t->held[index] = t->held[--t->nr_held];
	return block;
}

static void fold_delta(struct thread *t)
{
	int v;

	for (v = 0; v < LLFREE_NR_VIEWS; v++) {
		t->frames[v] += t->delta.frames[v];
		t->huge[v] += t->delta.huge[v];
	}
	memset(&t->delta, 0, sizeof(t->delta));
}

/* Folding often keeps the 32 bits of a delta from overflowing. */
static bool stopped(struct thread *t)
{
	fold_delta(t);
	return __atomic_load_n(&stop, __ATOMIC_RELAXED);
}

/* ---- Operations ---- */

static u64 clock_now(void)
{
	return __atomic_load_n(&isolation_clock, __ATOMIC_ACQUIRE);
}

static void check_visible(unsigned long frame, unsigned long nr, u64 began)
{
	unsigned long c = (frame - inst_base(&in)) / CHILD;
	unsigned long last = (frame + nr - 1 - inst_base(&in)) / CHILD;
	u64 since;

	if (!isolated_since)
		return;
	for (; c <= last; c++) {
		since = __atomic_load_n(&isolated_since[c], __ATOMIC_ACQUIRE);
		if (since && since <= began)
			die("frame %#lx was got from an isolated child", frame);
	}
}

static int pick_slot(struct thread *t)
{
	/*
	 * Mostly the thread's own slot, as for a CPU; sometimes any slot, or
	 * none
	 */
	switch (rng_below(&t->rng, 8)) {
	case 0:
		return (int)rng_below(&t->rng, in.nr_slots + 1) - 1;
	default:
		return in.nr_slots ? (int)(t->nr % in.nr_slots) : -1;
	}
}

static struct llfree_request pick_request(struct thread *t, unsigned int order)
{
	return (struct llfree_request) {
		.slot = pick_slot(t),
		.order = order,
		.class = rng_below(&t->rng, LLFREE_NR_CLASSES),
		.flags = rng_below(&t->rng, 8) ? 0 :
			 rng_below(&t->rng, 2) ? LLFREE_ALLOC_NOFRAGMENT : LLFREE_ALLOC_BOUNDED,
	};
}

static bool alloc_one(struct thread *t, unsigned int order, unsigned int view)
{
	struct llfree_request req = pick_request(t, order);
	u64 began = clock_now();
	long frame;

	req.view = view;
	if (t->nr_held >= t->limit)
		return false;
	if (rng_below(&t->rng, 2))
		frame = inst_alloc_fast(&in.llf, &req, &t->delta);
	else
		frame = llfree_alloc(&in.llf, &req, &t->delta);
	t->allocs++;
	if (frame == -ENOMEM) {
		t->fails++;
		return false;
	}
	if (frame < 0 || !IS_ALIGNED(frame, 1UL << order))
		die("allocation of order %u returned %ld", order, frame);
	own(t, frame, 1UL << order);
	check_visible(frame, 1UL << order, began);
	hold(t, frame, order);
	return true;
}

static void alloc_batch(struct thread *t)
{
	/* In half of the calls, ask for no more than a row has. */
	unsigned int most = rng_below(&t->rng, 2) ? ROW : CHILD;
	unsigned int order = rng_below(&t->rng, 4), i;
	struct llfree_request req = pick_request(t, order);
	u64 masks[LLFREE_CHILD_ROWS], began = clock_now();
	long child;

	if (t->nr_held >= t->limit)
		return;
	most = min(most, t->limit - t->nr_held);
	child = inst_alloc_batch(&in.llf, &req, 1 + rng_below(&t->rng, most), masks,
				 &t->delta);
	t->allocs++;
	if (child == -ENOMEM) {
		t->fails++;
		return;
	}
	if (child < 0)
		die("allocation of a batch returned %ld", child);
	for (i = 0; i < CHILD; i += 1U << order) {
		if (!batch_has(masks, i))
			continue;
		own(t, child + i, 1U << order);
		hold(t, child + i, order);
	}
	check_visible(child, 1, began);
}

static void free_block(struct thread *t, struct block block)
{
	int err;

	disown(t, block.frame, 1UL << block.order);
	if (block.order >= LLFREE_CHILD_ORDER && !rng_below(&t->rng, 4))
		err = llfree_free_reported(&in.llf, block.frame, block.order, &t->delta);
	else
		err = llfree_free(&in.llf, pick_slot(t), block.frame, block.order,
				  &t->delta);
	if (err)
		die("free of frame %#lx order %u returned %d", block.frame,
		    block.order, err);
}

/* Free a block by batches of a row each. */
static void free_words(struct thread *t, struct block block)
{
	unsigned long frame = block.frame, row, nr;
	int err;
	u64 mask;

	while (frame < block.frame + (1UL << block.order)) {
		row = ALIGN_DOWN(frame, ROW);
		nr = block.order >= LLFREE_ROW_ORDER ? ROW : 1UL << block.order;
		mask = GENMASK_ULL(nr - 1, 0) << (frame - row);
		disown(t, frame, nr);
		err = llfree_free_batch(&in.llf, pick_slot(t), row, mask, &t->delta);
		if (err)
			die("batch free of frame %#lx order %u returned %d",
			    frame, block.order, err);
		frame += nr;
	}
}

/* Split a block into two halves; another thread may free one of them. */
static void split_block(struct thread *t, struct block block)
{
	if (!block.order || t->nr_held + 2 > MAX_HELD) {
		free_block(t, block);
		return;
	}
	block.order--;
	hold(t, block.frame, block.order);
	hold(t, block.frame + (1UL << block.order), block.order);
}

static void free_one(struct thread *t)
{
	struct block block;

	if (!t->nr_held)
		return;
	block = release(t, rng_below(&t->rng, t->nr_held));
	switch (rng_below(&t->rng, 8)) {
	case 0:
		free_words(t, block);
		break;
	case 1:
	case 2:
		split_block(t, block);
		break;
	default:
		free_block(t, block);
	}
}

static u64 letter_of(struct block block)
{
	return (u64)block.frame << 5 | block.order << 1 | 1;
}

static struct block block_of(u64 letter)
{
	return (struct block) { letter >> 5, (letter >> 1) & 0xf };
}

/* Swap a block with another thread. */
static void exchange(struct thread *t)
{
	u64 *mailbox = &mailboxes[rng_below(&t->rng, NR_MAILBOXES)];
	struct block block;
	u64 letter = 0;

	if (t->nr_held) {
		block = release(t, rng_below(&t->rng, t->nr_held));
		letter = letter_of(block);
	}
	letter = __atomic_exchange_n(mailbox, letter, __ATOMIC_ACQ_REL);
	if (!letter)
		return;
	block = block_of(letter);
	adopt(t, block.frame, 1UL << block.order);
	hold(t, block.frame, block.order);
}

static unsigned long pick_frame(struct thread *t)
{
	return in.llf.first + rng_below(&t->rng, in.llf.end - in.llf.first);
}

static void claim(struct thread *t)
{
	unsigned int order = rng_below(&t->rng, LLFREE_NR_ORDERS), i;
	unsigned long frame = ALIGN_DOWN(pick_frame(t), 1UL << order);
	u64 began = clock_now(), mask;
	long ret;

	if (t->nr_held >= t->limit)
		return;
	if (rng_below(&t->rng, 2)) {
		ret = llfree_claim(&in.llf, frame, order, 0, &t->delta);
		if (ret == -EBUSY || ret == -EINVAL)
			return;
		if (ret)
			die("exact allocation returned %ld", ret);
		own(t, frame, 1UL << order);
		check_visible(frame, 1UL << order, began);
		hold(t, frame, order);
		return;
	}
	frame = ALIGN_DOWN(frame, ROW);
	ret = llfree_claim_row(&in.llf, frame, rng_next(&t->rng), 0, &mask,
			       &t->delta);
	if (ret == -EBUSY || ret == -EINVAL)
		return;
	if (ret < 0 || ret != hweight64(mask))
		die("claim_row returned %ld, mask %#llx", ret,
		    (unsigned long long)mask);
	for (i = 0; i < ROW; i++)
		if (mask & BIT_ULL(i)) {
			own(t, frame + i, 1);
			hold(t, frame + i, 0);
		}
	if (ret)
		check_visible(frame, 1, began);
}

/* Other calls that a kernel makes at any time */
static void other(struct thread *t)
{
	unsigned long nr[LLFREE_NR_ORDERS], frame = pick_frame(t);
	struct llfree_child child;
	struct llfree_stats stats;
	int ret;

	switch (rng_below(&t->rng, 14)) {
	case 0:
		ret = llfree_drain(&in.llf, -1);
		break;
	case 1 ... 3:
		ret = llfree_drain(&in.llf, pick_slot(t));
		break;
	case 4:
		llfree_stats_exact(&in.llf, &stats);
		ret = 0;
		break;
	case 5:
		llfree_count_orders(&in.llf, 0, -1, nr);
		ret = 0;
		break;
	case 6 ... 8:
		ret = llfree_child(&in.llf, frame, &child);
		if (!ret && child.free > CHILD)
			die("child %#lx has %u free", frame, child.free);
		break;
	default:
		ret = llfree_block_order(&in.llf, frame);
		if (ret < -1 || ret > LLFREE_MAX_ORDER)
			die("frame %#lx has free order %d", frame, ret);
		ret = 0;
	}
	if (ret)
		die("an operation on frame %#lx returned %d", frame, ret);
}

static void step(struct thread *t, unsigned int max_order)
{
	unsigned int what = rng_below(&t->rng, 100);
	/* Each thread drifts between holding many blocks and few. */
	unsigned int fill = (t->ops >> 12) & 1 ? 30 : 45;

	if (what < fill) {
		/* Small orders are as frequent as in a kernel. */
		unsigned int order = rng_below(&t->rng, 3) ?
			rng_below(&t->rng, min(4U, max_order + 1)) :
			rng_below(&t->rng, max_order + 1);

		alloc_one(t, order, LLFREE_VIEW_NORMAL);
	} else if (what < fill + 3) {
		alloc_batch(t);
	} else if (what < 85) {
		free_one(t);
	} else if (what < 92) {
		exchange(t);
	} else if (what < 96) {
		claim(t);
	} else {
		other(t);
	}
	t->ops++;
}

/* ---- Scenarios ---- */

/**
 * struct scenario - a test
 * @name: its name
 * @first: first frame
 * @nr: number of frames
 * @threads: number of threads
 * @slots: number of slots
 * @limit: blocks that each thread may hold
 * @run: loop of a thread until the test stops
 * @finish: checks after all threads have stopped, with blocks still held; may
 *	be NULL
 */
struct scenario {
	const char *name;
	unsigned long first;
	unsigned long nr;
	unsigned int threads;
	unsigned int slots;
	unsigned int limit;
	void (*run)(struct thread *t);
	void (*finish)(void);
};

static void run_mixed(struct thread *t)
{
	while (!stopped(t))
		step(t, LLFREE_MAX_ORDER);
}

static void run_low_memory(struct thread *t)
{
	/* All threads try to allocate all of memory. */
	while (!stopped(t)) {
		step(t, 3);
		if (!rng_below(&t->rng, 4))
			alloc_one(t, 0, LLFREE_VIEW_NORMAL);
	}
	/* Free some blocks, so that the check at the end finds some. */
	while (t->nr_held && rng_below(&t->rng, 20))
		free_block(t, release(t, rng_below(&t->rng, t->nr_held)));
}

/* Any slot can allocate all free frames, though no slot was drained. */
static void finish_low_memory(void)
{
	struct llfree_request req = { .slot = in.nr_slots - 1 };
	unsigned long free = inst_free_frames(&in), got = 0;
	struct thread *t = &threads[0];
	long frame;

	while ((frame = llfree_alloc(&in.llf, &req, &t->delta)) >= 0) {
		own(t, frame, 1);
		got++;
		if (t->nr_held < MAX_HELD) {
			hold(t, frame, 0);
		} else {
			free_block(t, (struct block) { frame, 0 });
			break;
		}
	}
	if (got != free && t->nr_held < MAX_HELD)
		die("%lu frames free, only %lu could be had", free, got);
	ksft_print_msg("%lu frames were left, all of them could be had\n", free);
}

/* Half of memory is always free, so no allocation of a frame may fail. */
static void run_always_enough(struct thread *t)
{
	struct llfree_request req;
	long frame;

	while (!stopped(t)) {
		t->ops++;
		if (t->nr_held < t->limit && rng_below(&t->rng, 100) < 52) {
			req = pick_request(t, 0);
			req.flags = 0;
			frame = llfree_alloc(&in.llf, &req, &t->delta);
			if (frame < 0)
				die("allocation failed with half of memory free: %ld",
				    frame);
			t->allocs++;
			own(t, frame, 1);
			hold(t, frame, 0);
		} else if (t->nr_held) {
			free_block(t, release(t, rng_below(&t->rng, t->nr_held)));
		}
		if (!rng_below(&t->rng, 64))
			exchange(t);
		if (!rng_below(&t->rng, 512))
			llfree_drain(&in.llf, pick_slot(t));
	}
}

/*
 * In each round one thread allocates a huge block, and all threads free pieces
 * of it at the same time.
 */
static unsigned long piece_frame;
static unsigned int piece_order;

static bool pieces_done;

static void alloc_pieces(struct thread *t)
{
	struct llfree_request req = pick_request(t, 9 + rng_below(&t->rng, 2));
	long frame;

	/* All other threads wait, so all frames are free. */
	if (inst_free_frames(&in) != in.llf.end - in.llf.first)
		die("frames were lost: %lu of %lu free", inst_free_frames(&in),
		    in.llf.end - in.llf.first);
	if (t->ops && llfree_block_order(&in.llf, piece_frame) != 10)
		die("pieces did not become a huge block again");
	pieces_done = stopped(t);
	if (pieces_done)
		return;
	req.flags = 0;
	frame = llfree_alloc(&in.llf, &req, &t->delta);
	if (frame < 0)
		die("no huge block, though all is free");
	t->allocs++;
	piece_frame = frame;
	piece_order = req.order;
}

static void run_pieces(struct thread *t)
{
	unsigned int shares = 1U << __fls(nr_threads), order;
	unsigned long nr, f;

	for (;;) {
		if (!t->nr)
			alloc_pieces(t);
		pthread_barrier_wait(&barrier);
		if (pieces_done)
			return;
		/* Each thread frees its share, in pieces of a random size. */
		nr = (1UL << piece_order) / shares;
		order = rng_below(&t->rng, 1 + __fls(nr));
		for (f = piece_frame + t->nr * nr;
		     t->nr < shares && f < piece_frame + (t->nr + 1) * nr;
		     f += 1UL << order) {
			own(t, f, 1UL << order);
			if (rng_below(&t->rng, 2))
				free_block(t, (struct block) { f, order });
			else
				free_words(t, (struct block) { f, order });
		}
		t->ops++;
		pthread_barrier_wait(&barrier);
	}
}

/* Threads that isolate children; no two isolate the same child. */
#define ISOLATORS	2

static void wait_stable(unsigned long frame, unsigned int *free)
{
	time_t start = time(NULL);
	int ret;

	while ((ret = llfree_child_stable(&in.llf, frame)) == -EAGAIN) {
		sched_yield();
		if (time(NULL) > start + 20)
			die("child %#lx does not become stable", frame);
	}
	if (ret < 0)
		die("child_stable returned %d", ret);
	*free = ret;
}

static void isolate_one(struct thread *t)
{
	unsigned long children = inst_children(&in);
	unsigned long c = rng_below(&t->rng, children / ISOLATORS) * ISOLATORS +
			  t->nr;
	unsigned long frame = inst_base(&in) + c * CHILD, i;
	unsigned int free;
	u64 mask[LLFREE_CHILD_ROWS], claimed;
	int old, ret;

	if (frame < in.llf.first || frame + CHILD > in.llf.end)
		return;
	old = llfree_set_view(&in.llf, frame, LLFREE_VIEW_ISOLATED, &t->delta);
	if (old < 0 || old == LLFREE_VIEW_ISOLATED)
		die("set_view returned %d", old);
	__atomic_store_n(&isolated_since[c],
			 __atomic_add_fetch(&isolation_clock, 1, __ATOMIC_SEQ_CST),
			 __ATOMIC_SEQ_CST);
	wait_stable(frame, &free);
	for (i = 0; i < LLFREE_CHILD_ROWS; i++)
		mask[i] = llfree_row_mask(&in.llf, frame + i * ROW);
	sched_yield();
	/*
	 * A free that has cleared some of these bits may not have counted them
	 * yet.
	 */
	wait_stable(frame, &free);
	/* In a stable child the number of free frames can only rise. */
	for (i = 0; i < LLFREE_CHILD_ROWS; i++)
		if (mask[i] & ~llfree_row_mask(&in.llf, frame + i * ROW))
			die("frame of isolated child %#lx was allocated", frame);
	if (free == CHILD) {
		/* Claim all of the child and free it, as offlining does. */
		ret = llfree_claim(&in.llf, frame, 9, LLFREE_CLAIM_HIDDEN,
				   &t->delta);
		if (ret)
			die("claim of a free isolated child returned %d", ret);
		own(t, frame, CHILD);
		free_block(t, (struct block) { frame, 9 });
	} else {
		/* Claim the free frames only, as contiguous allocation does. */
		ret = llfree_claim_row(&in.llf, frame, mask[0],
				       LLFREE_CLAIM_HIDDEN, &claimed, &t->delta);
		if (ret < 0 || claimed != mask[0])
			die("claim_row of isolated frames returned %d, %#llx of %#llx",
			    ret, (unsigned long long)claimed,
			    (unsigned long long)mask[0]);
		for (i = 0; i < ROW; i++)
			if (claimed & BIT_ULL(i)) {
				own(t, frame + i, 1);
				free_block(t, (struct block) { frame + i, 0 });
			}
	}
	__atomic_store_n(&isolated_since[c], 0, __ATOMIC_SEQ_CST);
	ret = llfree_set_view(&in.llf, frame, rng_below(&t->rng,
							LLFREE_ALLOC_VIEWS),
			      &t->delta);
	if (ret != LLFREE_VIEW_ISOLATED)
		die("set_view back returned %d", ret);
	t->ops++;
}

static void run_views(struct thread *t)
{
	while (!stopped(t)) {
		if (t->nr < ISOLATORS) {
			isolate_one(t);
			continue;
		}
		step(t, LLFREE_MAX_ORDER);
		if (!rng_below(&t->rng, 4))
			alloc_one(t, rng_below(&t->rng, LLFREE_NR_ORDERS),
				  rng_below(&t->rng, LLFREE_ALLOC_VIEWS));
	}
}

/* Give all children the normal view; then the counters are compared. */
static void finish_views(void)
{
	struct thread *t = &threads[0];
	unsigned long f;
	int ret;

	for (f = in.llf.first; f < in.llf.end; f = llfree_next_child(f)) {
		ret = llfree_set_view(&in.llf, f, LLFREE_VIEW_NORMAL, &t->delta);
		if (ret < 0 && ret != -EALREADY)
			die("set_view returned %d", ret);
	}
}

static const struct scenario scenarios[] = {
	{ "mixed_32", 5 * TREE + 77, 12 * TREE, 32, 8, 60, run_mixed },
	{ "mixed_2", 0, 8 * TREE, 2, 2, 500, run_mixed },
	{ "mixed_32_more_slots_than_trees", TREE, 2 * TREE + 5, 32, 32, 20,
	  run_mixed },
	{ "mixed_8_no_slots", 3 * TREE, 3 * TREE, 8, 0, 80, run_mixed },
	{ "low_memory_16", 1000, TREE + 300, 16, 8, 1000, run_low_memory,
	  finish_low_memory },
	{ "low_memory_32_one_child", 8 * TREE + 100, 400, 32, 4, 40,
	  run_low_memory, finish_low_memory },
	{ "always_enough_16", 0, 2 * TREE, 16, 4, 200, run_always_enough },
	{ "pieces_of_huge_4", 0, 2 * TREE, 4, 2, 0, run_pieces },
	{ "pieces_of_huge_8", TREE, TREE, 8, 8, 0, run_pieces },
	{ "views_8", 2 * TREE, 4 * TREE, 8, 3, 60, run_views, finish_views },
	{ "views_32", 2 * TREE + 512, 3 * TREE, 32, 8, 12, run_views,
	  finish_views },
};

static void *thread_main(void *arg)
{
	struct thread *t = arg;

	step_random = rng_next(&t->rng) | 1;
	/* Half of the threads yield often, the others seldom. */
	step_rare = t->nr & 1 ? 0xf : 0xff;
	pthread_barrier_wait(&barrier);
	scenario->run(t);
	fold_delta(t);
	if (shim_preempt_count)
		die("thread %u ended with preemption count %d", t->nr,
		    shim_preempt_count);
	return NULL;
}

static void collect(void)
{
	struct thread *t = &threads[0];
	struct block block;
	unsigned int i;
	u64 letter;

	for (i = 0; i < NR_MAILBOXES; i++) {
		letter = mailboxes[i];
		mailboxes[i] = 0;
		if (!letter)
			continue;
		block = block_of(letter);
		adopt(t, block.frame, 1UL << block.order);
		free_block(t, block);
	}
	for (i = 0; i < nr_threads; i++)
		while (threads[i].nr_held)
			free_block(&threads[i], release(&threads[i], 0));
}

static void sum_deltas(void)
{
	unsigned int i, v;

	memset(&in.sum, 0, sizeof(in.sum));
	for (i = 0; i < nr_threads; i++) {
		fold_delta(&threads[i]);
		for (v = 0; v < LLFREE_NR_VIEWS; v++) {
			in.sum.frames[v] += threads[i].frames[v];
			in.sum.huge[v] += threads[i].huge[v];
		}
	}
}

static void check_books(const char *when)
{
	const char *why;

	sum_deltas();
	why = inst_check(&in);
	if (*why)
		die("%s: %s", when, why);
}

static void run_scenario(const struct scenario *s, u64 seed, double seconds)
{
	struct timespec time = { seconds, (long)(seconds * 1e9) % 1000000000 };
	unsigned long ops = 0, allocs = 0, fails = 0, i;

	scenario = s;
	nr_threads = min(s->threads, opt.max_threads);
	/* Use trees of another size in every second run. */
	inst_tree_order = LLFREE_MIN_TREE_ORDER + (seed & 1);
	if (inst_init(&in, s->first, s->nr, LLFREE_INIT_FREE, NULL, s->slots))
		ksft_exit_fail_msg("init failed\n");
	owner = calloc(s->nr, sizeof(*owner));
	payload = calloc(s->nr, sizeof(*payload));
	isolated_since = s->run == run_views ?
		calloc(inst_children(&in),
		       sizeof(*isolated_since)) : NULL;
	stop = false;
	pieces_done = false;
	pthread_barrier_init(&barrier, NULL, nr_threads);
	memset(threads, 0, sizeof(threads));
	for (i = 0; i < nr_threads; i++) {
		threads[i].nr = i;
		threads[i].rng.state = seed + i * 0x1000000;
		threads[i].limit = s->limit;
		threads[i].held = calloc(MAX_HELD, sizeof(struct block));
		if (!owner || !payload || !threads[i].held ||
		    pthread_create(&threads[i].pthread, NULL, thread_main,
				   &threads[i]))
			ksft_exit_fail_msg("no memory or threads\n");
	}
	nanosleep(&time, NULL);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < nr_threads; i++) {
		pthread_join(threads[i].pthread, NULL);
		ops += threads[i].ops;
		allocs += threads[i].allocs;
		fails += threads[i].fails;
	}

	check_books("at rest");
	if (s->finish)
		s->finish();
	check_books("after the last checks");
	collect();
	check_books("after all was freed");
	if (inst_free_frames(&in) != s->nr)
		die("%lu of %lu frames came back", inst_free_frames(&in), s->nr);
	for (i = 0; i < s->nr; i++)
		if (owner[i])
			die("frame %#lx still has an owner", s->first + i);
	llfree_drain(&in.llf, -1);
	check_books("after draining");

	ksft_test_result_pass("%s --seed %llu: %u threads, %lu steps, %lu allocated, %lu failed\n",
			      s->name, (unsigned long long)opt.seed, nr_threads,
			      ops, allocs, fails);
	for (i = 0; i < nr_threads; i++)
		free(threads[i].held);
	free(owner);
	free(payload);
	free(isolated_since);
	isolated_since = NULL;
	pthread_barrier_destroy(&barrier);
	inst_exit(&in);
}

static const struct argp_option argp_options[] = {
	{ "seed", 's', "N", 0, "seed of the threads' choices; random by default", 0 },
	{ "seconds", 't', "N", 0, "time for all scenarios (10)", 0 },
	{ "threads", 'n', "N", 0, "most threads of a scenario (32)", 0 },
	{ "only", 'o', "NAME", 0, "run only this scenario", 0 },
	{}
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	unsigned long long n = 0;
	char *end;

	if (arg && key != 'o') {
		n = strtoull(arg, &end, 0);
		if (end == arg || *end)
			argp_error(state, "not a number: %s", arg);
	}
	switch (key) {
	case 's':
		opt.seed = n;
		return 0;
	case 't':
		opt.seconds = n;
		return 0;
	case 'n':
		if (n < ISOLATORS || n > MAX_THREADS)
			argp_error(state, "threads: %u..%u", ISOLATORS,
				   MAX_THREADS);
		opt.max_threads = n;
		return 0;
	case 'o':
		opt.only = arg;
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
		.doc = "Many threads on one instance of the core",
	};
	unsigned int i, nr = 0;

	opt.seed = rng_seed();
	argp_parse(&argp, argc, argv, 0, NULL, &opt);
	for (i = 0; i < ARRAY_SIZE(scenarios); i++)
		nr += !opt.only || !strcmp(opt.only, scenarios[i].name);
	if (!nr)
		ksft_exit_fail_msg("no scenario %s\n", opt.only);
	ksft_print_header();
	ksft_set_plan(nr);
	for (i = 0; i < ARRAY_SIZE(scenarios); i++)
		if (!opt.only || !strcmp(opt.only, scenarios[i].name))
			run_scenario(&scenarios[i], opt.seed + i,
				     (double)opt.seconds / nr);
	ksft_finished();
}
