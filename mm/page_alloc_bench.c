// SPDX-License-Identifier: GPL-2.0
/*
 * Benchmark of the page allocator.
 *
 * Times allocations and frees in ways that are known to hurt. Loading the
 * module starts nothing; files in /sys/kernel/debug/page_alloc_bench do:
 *
 *   run        Write what to run as key=value, separated by spaces. The write
 *              ends when the benchmark has. Reads what went wrong last, or ok.
 *   results    CSV of the last run, a row for each measure of each round
 *   histogram  CSV of the last latency run
 *   help       The benchmarks and the keys
 *
 * One run is possible at a time. The task that writes checks the arguments,
 * gets all memory for arrays, and starts a worker on each CPU. Workers go from
 * step to step together: sync_workers() is where they meet, and what the last
 * to arrive does there, it does alone. Only that knows whether the run ends
 * early, for a signal or for want of memory, so that all of them agree. When
 * the last worker has ended the first task frees whatever is still held.
 *
 * Times are those of short loops, preemption and interrupts included, but not
 * the pauses between them. Nothing here reclaims memory or wakes who does, nor
 * touches reserves, unless told so by gfp=atomic. If an allocation fails the run
 * ends, but for fill and latency, which may leave next to nothing. Watermarks
 * limit how full memory can get, see vm.min_free_kbytes; and per-CPU lists have
 * their share of it, see vm.percpu_pagelist_high_fraction.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/completion.h>
#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/debugfs.h>
#include <linux/gfp.h>
#include <linux/hrtimer.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/prandom.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/timekeeping.h>
#include <linux/topology.h>
#include <linux/uaccess.h>
#include <linux/vmstat.h>
#include <linux/wait.h>

#include "zone_free.h"

/* Operations between two looks at whether to stop */
#define CHUNK		256UL
/* Blocks that a worker has at hand, where it does not hold many */
#define WINDOW		256
/* Memory is full if no more than this part of it is free. */
#define FILL_REST	200
/* 2 MiB, what fragmentation is about */
#define HUGE_ORDER	9
#define HUGE_PAGES	BIT(HUGE_ORDER)
/* So often may a worker find nothing where little is left, before it gives up. */
#define MISSES		1000
/* A timer allocates and frees for so long, then pauses for twice that. */
#define ATOMIC_NS	(200 * NSEC_PER_USEC)
#define ATOMIC_PAIRS	8

#define MAX_OPS		1000000000UL
#define MAX_ROUNDS	10000U
#define MAX_LEVEL	99U

/* Levels of fill, unless one is given */
static const u8 fill_levels[] = { 0, 25, 50, 75, 90, 95, 99 };
#define LATENCY_LEVEL	50

/**
 * struct params - arguments of a run
 * @bench: what to run
 * @order: size of blocks
 * @cpus: where
 * @node: NUMA node of the memory, or NUMA_NO_NODE
 * @mib: memory that may be used, 0 if that was left open
 * @ops: operations on each CPU
 * @rounds: how often
 * @bulk: by the interface for many pages at once
 * @gfp: how to allocate
 * @levels: percent of memory that is in use before
 * @nr_levels: how many of them
 * @seed: of random numbers
 */
struct params {
	const struct bench *bench;
	unsigned int order;
	cpumask_var_t cpus;
	int node;
	unsigned long mib;
	unsigned long ops;
	unsigned int rounds;
	bool bulk;
	gfp_t gfp;
	u8 levels[ARRAY_SIZE(fill_levels)];
	unsigned int nr_levels;
	unsigned long seed;
};

enum measure {
	ALLOC,
	FREE,
	PAIR,
	CLOCK,
	NR_MEASURES,
};

static const char * const measure_names[NR_MEASURES] = {
	[ALLOC] = "alloc_ns",
	[FREE] = "free_ns",
	[PAIR] = "pair_ns",
	[CLOCK] = "timer_ns",
};

/**
 * struct span - time that operations took
 * @ns: all of them together
 * @ops: how many
 */
struct span {
	u64 ns;
	u64 ops;
};

/* Buckets of a histogram: 32 for each power of 2, the first 64 hold one ns. */
#define BUCKET_SHIFT	5
#define BUCKETS_OCTAVE	BIT(BUCKET_SHIFT)
#define NR_BUCKETS	((64 - BUCKET_SHIFT + 1) * BUCKETS_OCTAVE)

/**
 * struct histogram - times of single operations, in ns
 * @count: operations, by time
 * @max: longest time
 */
struct histogram {
	u32 count[NR_BUCKETS];
	u64 max;
};

/**
 * struct row - a line of the results
 * @measure: what
 * @level: percent of memory that was in use before
 * @round: in which round, from 1; 0 is the state before them
 * @number: @value is a count, not a mean
 * @ops: what @value is a mean of
 * @value: in hundredths
 */
struct row {
	const char *measure;
	unsigned int level;
	unsigned int round;
	bool number;
	u64 ops;
	u64 value;
};

/**
 * struct results - what a run came to
 * @bench: what was run
 * @order: size of blocks
 * @nr_cpus: number of CPUs
 * @bulk: by the interface for many pages at once
 * @level: percent of memory that was in use before, for @hist
 * @hist: of allocations and frees, NULL unless this is about latency
 * @nr: number of rows
 * @max: number of rows there is room for
 * @rows: the rows
 */
struct results {
	const struct bench *bench;
	unsigned int order;
	unsigned int nr_cpus;
	bool bulk;
	unsigned int level;
	struct histogram *hist;
	unsigned long nr;
	unsigned long max;
	struct row rows[] __counted_by(max);
};

/* How long objects of the age benchmark live */
enum lifetime {
	LIFE_SHORT,
	LIFE_MEDIUM,
	LIFE_LONG,
	NR_LIFETIMES,
};

/**
 * struct pool - objects of the age benchmark that live equally long
 * @objects: pointers with their kind in the lowest bits, in no order
 * @nr: number of objects
 * @max: number of objects there is room for
 * @debt: how much of lifetimes has passed since the last one died
 */
struct pool {
	unsigned long *objects;
	unsigned long nr;
	unsigned long max;
	u64 debt;
};

/**
 * struct worker - a CPU that takes part
 * @task: its thread
 * @cpu: the CPU
 * @nid: node that memory comes from first
 * @generation: how often it has met the others
 * @level: percent of memory in use, from the step under way on
 * @round: number of the round under way
 * @rnd: its random numbers
 * @blocks: blocks that it holds, from @first to @nr
 * @first: see @blocks
 * @nr: see @blocks
 * @max: number of blocks there is room for
 * @rest: single pages that it holds where there were no more blocks
 * @window: some more blocks
 * @orders: their sizes
 * @nr_window: how many there are
 * @misses: allocations that failed and did no harm
 * @span: times of the round
 * @hist: times of allocations and frees of the round, for latency
 * @pool: objects, for age
 * @full: age found no memory
 * @timer: for atomic
 * @timer_left: pairs that @timer still has to do
 * @timer_wait: where its end is waited for
 */
struct worker {
	struct task_struct *task;
	unsigned int cpu;
	int nid;
	unsigned long generation;
	unsigned int level;
	unsigned int round;
	struct rnd_state rnd;
	struct page **blocks;
	unsigned long first;
	unsigned long nr;
	unsigned long max;
	struct list_head rest;
	struct page *window[WINDOW];
	u8 orders[WINDOW];
	unsigned int nr_window;
	unsigned long misses;
	struct span span[NR_MEASURES];
	struct histogram *hist;
	struct pool pool[NR_LIFETIMES];
	bool full;
	struct hrtimer timer;
	unsigned long timer_left;
	wait_queue_head_t timer_wait;
} ____cacheline_aligned_in_smp;

/* What a benchmark can do and needs */
#define CAN_BULK	0x1
/* Fills memory to a level first */
#define HAS_LEVEL	0x2
/* Uses all memory unless told otherwise */
#define WHOLE_MEMORY	0x4
/* Blocks are of many sizes */
#define NO_ORDER	0x8
/* Looks at which pages are free */
#define NEEDS_MAP	0x10
/* Holds no more than a window */
#define FEW_BLOCKS	0x20
/* In interrupts */
#define IN_ATOMIC	0x40

/**
 * struct bench - a benchmark
 * @name: its name
 * @what: what it does, in some words
 * @flags: see above
 * @rounds: how often, unless told
 * @main: what each worker does
 */
struct bench {
	const char *name;
	const char *what;
	unsigned int flags;
	unsigned int rounds;
	void (*main)(struct worker *w);
};

/* The run under way */
static struct {
	struct params p;
	struct results *results;
	struct worker *workers;
	unsigned int nr;
	struct page **blocks;
	/* where memory comes from */
	struct zone **zones;
	unsigned int nr_zones;
	unsigned long managed;		/* pages of those zones */
	unsigned long total;		/* those that can be had */
	unsigned int window;		/* blocks at hand, at the level reached */
	/* Workers meet here */
	atomic_long_t arrived;
	atomic_long_t awake;
	unsigned long generation;
	wait_queue_head_t wait;
	bool ended;			/* changes only while all wait */
	atomic_t busy;			/* workers that have not ended */
	struct completion done;
	atomic_t error;
	char text[160];
} run;

static DEFINE_MUTEX(run_lock);		/* held by who runs something */
static DEFINE_MUTEX(last_lock);		/* protects what files show */
static struct results *last;
static char last_text[sizeof(run.text)] = "ok";
static struct dentry *bench_dir;

static u32 rnd(struct worker *w, u32 below)
{
	return ((u64)prandom_u32_state(&w->rnd) * below) >> 32;
}

/* ---- The end ---- */

/* The first reason to end is the one that counts. From any context. */
static __printf(2, 3) void run_fail(int error, const char *fmt, ...)
{
	va_list args;

	if (atomic_cmpxchg(&run.error, 0, error))
		return;
	va_start(args, fmt);
	vsnprintf(run.text, sizeof(run.text), fmt, args);
	va_end(args);
}

static bool stopped(void)
{
	return unlikely(atomic_read(&run.error));
}

static void no_memory(unsigned int order)
{
	run_fail(-ENOMEM, "no memory: no block of order %u was to be had", order);
}

/*
 * Wait for all workers; the last one calls @alone, if there is something to
 * call, and lets all go on at the same moment.
 *
 * Return: false if the run ends here, the same for all
 */
static bool sync_workers(struct worker *w, void (*alone)(struct worker *w))
{
	unsigned long generation = ++w->generation;
	long all = generation * run.nr;

	if (atomic_long_inc_return(&run.arrived) == all) {
		if (alone && !stopped())
			alone(w);
		run.ended = stopped();
		/* What was done alone is done for all. */
		smp_store_release(&run.generation, generation);
		wake_up_all(&run.wait);
	} else {
		/* See above */
		wait_event_idle(run.wait, smp_load_acquire(&run.generation) ==
					  generation);
	}
	/* Not all wake up at once, so they wait again, for a moment. */
	atomic_long_inc(&run.awake);
	while (atomic_long_read(&run.awake) < all) {
		cpu_relax();
		cond_resched();
	}
	return !run.ended;
}

/* ---- Results ---- */

static void add_row(struct worker *w, const char *measure, u64 ops, u64 value)
{
	struct results *r = run.results;

	if (WARN_ON_ONCE(r->nr == r->max))
		return;
	r->rows[r->nr++] = (struct row) {
		.measure = measure,
		.level = w->level,
		.round = w->round,
		.ops = ops,
		.value = value,
	};
}

static void add_number(struct worker *w, const char *measure, u64 value)
{
	add_row(w, measure, 1, value * 100);
	run.results->rows[run.results->nr - 1].number = true;
}

/* The times of all workers, and forget them */
static void collect_spans(struct worker *w)
{
	unsigned int i, m;

	for (m = 0; m < NR_MEASURES; m++) {
		struct span sum = { };

		for (i = 0; i < run.nr; i++) {
			struct span *s = &run.workers[i].span[m];

			sum.ns += s->ns;
			sum.ops += s->ops;
			*s = (struct span) { };
		}
		if (sum.ops)
			add_row(w, measure_names[m], sum.ops,
				div64_u64(sum.ns * 100, sum.ops));
	}
}

static void span_add(struct worker *w, enum measure m, u64 start, u64 end,
		     unsigned long ops)
{
	w->span[m].ns += end - start;
	w->span[m].ops += ops;
}

/* ---- Histograms ---- */

static unsigned int bucket_of(u64 ns)
{
	unsigned int shift;

	if (ns < BUCKETS_OCTAVE)
		return ns;
	shift = fls64(ns) - BUCKET_SHIFT - 1;
	return shift * BUCKETS_OCTAVE + (ns >> shift);
}

static u64 bucket_low(unsigned int bucket)
{
	unsigned int shift;

	if (bucket < BUCKETS_OCTAVE)
		return bucket;
	shift = bucket / BUCKETS_OCTAVE - 1;
	return (u64)(bucket % BUCKETS_OCTAVE + BUCKETS_OCTAVE) << shift;
}

static void histogram_time(struct histogram *h, u64 ns)
{
	h->count[bucket_of(ns)]++;
	h->max = max(h->max, ns);
}

static u64 histogram_total(const struct histogram *h)
{
	unsigned int b;
	u64 sum = 0;

	for (b = 0; b < NR_BUCKETS; b++)
		sum += h->count[b];
	return sum;
}

/* Time that so many of 1000 stay below, in hundredths of a ns */
static u64 histogram_quantile(const struct histogram *h, unsigned int share)
{
	u64 rank = DIV_ROUND_UP_ULL(histogram_total(h) * share, 1000);
	u64 low, high, before = 0;
	unsigned int b;

	for (b = 0; b < NR_BUCKETS; b++) {
		if (before + h->count[b] >= rank)
			break;
		before += h->count[b];
	}
	/* As if times were spread evenly in the bucket */
	low = bucket_low(b);
	high = min(bucket_low(b + 1) - 1, h->max);
	return low * 100 + div64_u64((high - low) * 100 * (rank - before),
				     h->count[b]);
}

static void collect_histogram(struct worker *w, unsigned int op,
			      const char * const names[4])
{
	static const unsigned int shares[] = { 500, 990, 999 };
	struct histogram *sum = run.results->hist + 2 + op;
	struct histogram *all = run.results->hist + op;
	unsigned int i, b;
	u64 total;

	memset(sum, 0, sizeof(*sum));
	for (i = 0; i < run.nr; i++) {
		struct histogram *h = run.workers[i].hist + op;

		for (b = 0; b < NR_BUCKETS; b++)
			sum->count[b] += h->count[b];
		sum->max = max(sum->max, h->max);
		memset(h, 0, sizeof(*h));
	}
	for (b = 0; b < NR_BUCKETS; b++)
		all->count[b] += sum->count[b];
	all->max = max(all->max, sum->max);

	total = histogram_total(sum);
	if (!total)
		return;
	for (i = 0; i < ARRAY_SIZE(shares); i++)
		add_row(w, names[i], total, histogram_quantile(sum, shares[i]));
	add_row(w, names[i], total, sum->max * 100);
}

/* ---- Blocks ---- */

static struct page *alloc_block(struct worker *w, unsigned int order)
{
	return alloc_pages_node(w->nid, run.p.gfp, order);
}

/* Many at once, by the interface for that */
static unsigned long alloc_bulk(struct worker *w, unsigned long nr,
				struct page **pages)
{
	unsigned long got = 0, now;

	do {
		now = got;
		got = alloc_pages_bulk_array_node(run.p.gfp, w->nid, nr, pages);
	} while (got < nr && got > now);
	return got;
}

static unsigned long alloc_chunk(struct worker *w, unsigned long nr,
				 struct page **pages)
{
	const unsigned int order = run.p.order;
	unsigned long i;

	if (run.p.bulk)
		return alloc_bulk(w, nr, pages);
	for (i = 0; i < nr; i++) {
		pages[i] = alloc_block(w, order);
		if (unlikely(!pages[i]))
			break;
	}
	return i;
}

/* One after the other until the worker holds @to, with the time it takes */
static void alloc_blocks(struct worker *w, unsigned long to)
{
	while (w->nr < to && !stopped()) {
		unsigned long nr = min(to - w->nr, CHUNK), got;
		struct page **pages = w->blocks + w->nr;
		u64 start;

		memset(pages, 0, nr * sizeof(*pages));
		start = ktime_get_ns();
		got = alloc_chunk(w, nr, pages);
		span_add(w, ALLOC, start, ktime_get_ns(), got);
		w->nr += got;
		if (got < nr)
			no_memory(run.p.order);
		cond_resched();
	}
}

/* Free @nr blocks that @from holds, with the time that takes @w. */
static void free_blocks(struct worker *w, struct worker *from, unsigned long nr,
			bool release)
{
	const unsigned int order = run.p.order;

	while (nr && !stopped()) {
		unsigned long chunk = min(nr, CHUNK), i;
		struct page **pages = from->blocks + from->first;
		u64 start = ktime_get_ns();

		if (release) {
			release_pages(pages, chunk);
		} else {
			for (i = 0; i < chunk; i++)
				__free_pages(pages[i], order);
		}
		span_add(w, FREE, start, ktime_get_ns(), chunk);
		from->first += chunk;
		nr -= chunk;
		cond_resched();
	}
}

static void free_all(struct worker *w, struct worker *from, bool release)
{
	free_blocks(w, from, from->nr - from->first, release);
	if (from->first == from->nr) {
		from->first = 0;
		from->nr = 0;
	}
}

/* Close the gap that free_blocks() leaves. */
static void move_down(struct worker *w)
{
	w->nr -= w->first;
	memmove(w->blocks, w->blocks + w->first, w->nr * sizeof(*w->blocks));
	w->first = 0;
}

/* Any @nr of the blocks come first, in any order. */
static void shuffle(struct worker *w, struct page **blocks, unsigned long all,
		    unsigned long nr)
{
	unsigned long i, other;

	for (i = 0; i < nr; i++) {
		other = i + rnd(w, all - i);
		swap(blocks[i], blocks[other]);
		if (!(i % (16 * CHUNK)))
			cond_resched();
	}
}

/* All workers hold as much as they have room for, in one array. */
static void shuffle_all(struct worker *w)
{
	shuffle(w, run.blocks, run.nr * w->max, run.nr * w->max);
}

/* ---- Memory ---- */

/*
 * What a zone keeps for those who can have no other is nothing that we could
 * get: it does not count, neither as memory nor as free.
 */
static unsigned long but_reserve(struct zone *zone, unsigned long pages)
{
	unsigned long reserve = zone->lowmem_reserve[gfp_zone(run.p.gfp)];

	return pages - min(pages, reserve);
}

/*
 * Pages in per-CPU lists are in use here. They are out of reach once the zone
 * is down to its watermark, however many they are.
 */
static unsigned long free_pages_now(void)
{
	unsigned long sum = 0;
	unsigned int i;

	for (i = 0; i < run.nr_zones; i++)
		sum += but_reserve(run.zones[i],
				   zone_page_state_snapshot(run.zones[i],
							    NR_FREE_PAGES));
	return sum;
}

/* So many are free if @percent of memory is in use. */
static unsigned long free_pages_at(unsigned int percent)
{
	return mult_frac(run.total, 100 - percent, 100);
}

static bool nearly_full(void)
{
	return free_pages_now() <= run.total / FILL_REST;
}

/* Take all memory: blocks as long as there are any, then single pages. */
static void fill_memory(struct worker *w)
{
	const unsigned int order = run.p.order;
	const unsigned int often = max(CHUNK >> order, 1UL);
	unsigned long pages = 0;
	struct page *page;

	while (w->nr < w->max && !stopped()) {
		if (w->nr % often == 0) {
			if (nearly_full())
				return;
			cond_resched();
		}
		page = alloc_block(w, order);
		if (!page)
			break;
		w->blocks[w->nr++] = page;
	}
	while (order && !stopped()) {
		if (pages++ % CHUNK == 0) {
			if (nearly_full())
				return;
			cond_resched();
		}
		page = alloc_block(w, 0);
		if (!page)
			break;
		list_add(&page->lru, &w->rest);
	}
}

/* Once memory is as full as it gets */
static void check_full(struct worker *w)
{
	unsigned long now = free_pages_now();

	if (now > free_pages_at(w->level))
		run_fail(-ENOMEM, "level: %lu of %lu pages stay free, %u %% not reached",
			 now, run.total, w->level);
}

/* As many blocks as are easily had */
static void plan_window(struct worker *w)
{
	unsigned long most = free_pages_now() / 4 / run.nr;

	run.window = clamp(most >> run.p.order, 1, WINDOW);
}

static void free_any(struct worker *w, unsigned long nr)
{
	shuffle(w, w->blocks, w->nr, nr);
	free_blocks(w, w, nr, false);
	move_down(w);
	memset(w->span, 0, sizeof(w->span));
}

/* Fill memory, then free blocks at random, until the level is reached. */
static bool reach_level(struct worker *w, unsigned int level)
{
	const unsigned long want = free_pages_at(level);
	const unsigned int often = max(CHUNK >> run.p.order, 1UL);
	unsigned long i, nr;

	w->level = level;
	if (!level)
		return sync_workers(w, plan_window);
	fill_memory(w);
	if (!sync_workers(w, check_full))
		return false;
	shuffle(w, w->blocks, w->nr, w->nr);
	while (w->nr && free_pages_now() < want && !stopped()) {
		nr = min(w->nr, often);
		for (i = 0; i < nr; i++)
			__free_pages(w->blocks[--w->nr], run.p.order);
		cond_resched();
	}
	return sync_workers(w, plan_window);
}

/* ---- Benchmarks ---- */

/*
 * Rounds that all workers begin together. @round is done by each of them; it is
 * false if workers met in it for the last time.
 */
static void do_rounds(struct worker *w, bool (*round)(struct worker *w))
{
	for (w->round = 1; w->round <= run.p.rounds; w->round++) {
		if (!sync_workers(w, NULL))
			return;
		if (!round(w) || !sync_workers(w, collect_spans))
			return;
	}
}

/* Nobody frees before all have what they want, and @alone was done with it. */
static bool alloc_and_meet(struct worker *w, void (*alone)(struct worker *w))
{
	alloc_blocks(w, w->max);
	return sync_workers(w, alone);
}

static bool bulk_round(struct worker *w)
{
	if (!alloc_and_meet(w, NULL))
		return false;
	free_all(w, w, false);
	return true;
}

static void bulk_main(struct worker *w)
{
	do_rounds(w, bulk_round);
}

static bool rand_round(struct worker *w)
{
	if (!alloc_and_meet(w, shuffle_all))
		return false;
	free_all(w, w, false);
	return true;
}

static void rand_main(struct worker *w)
{
	do_rounds(w, rand_round);
}

static bool remote_round(struct worker *w)
{
	unsigned int who = w - run.workers, by = run.nr > 4 ? 2 : 1, i;

	if (!alloc_and_meet(w, NULL))
		return false;
	for (i = who; who < by && i < run.nr; i += by)
		free_all(w, &run.workers[i], false);
	return true;
}

static void remote_main(struct worker *w)
{
	do_rounds(w, remote_round);
}

static bool exit_round(struct worker *w)
{
	if (!alloc_and_meet(w, shuffle_all))
		return false;
	free_all(w, w, true);
	return true;
}

static void exit_main(struct worker *w)
{
	do_rounds(w, exit_round);
}

static bool repeat_round(struct worker *w)
{
	const unsigned int order = run.p.order;
	struct page *page = alloc_block(w, order);
	unsigned long left = run.p.ops, i;
	u64 start;

	while (page && left && !stopped()) {
		unsigned long chunk = min(left, CHUNK);

		start = ktime_get_ns();
		for (i = 0; i < chunk; i++) {
			__free_pages(page, order);
			page = alloc_block(w, order);
			if (unlikely(!page))
				break;
		}
		span_add(w, PAIR, start, ktime_get_ns(), i);
		left -= chunk;
		cond_resched();
	}
	if (page)
		__free_pages(page, order);
	else
		no_memory(order);
	return true;
}

static void repeat_main(struct worker *w)
{
	do_rounds(w, repeat_round);
}

/* What a system that runs for a while asks for, of 1000 blocks */
static const struct {
	unsigned int share;
	unsigned int order;
} mixed_orders[] = {
	{ 800, 0 }, { 50, 1 }, { 60, 2 }, { 70, 3 }, { 10, 4 }, { 10, HUGE_ORDER },
};

/* About the mean size of those */
#define MIXED_PAGES	8
/* Blocks of the window that are replaced in one go */
#define MIXED_BATCH	32

static unsigned int mixed_order(struct worker *w)
{
	unsigned int r = rnd(w, 1000), i = 0;

	while (r >= mixed_orders[i].share)
		r -= mixed_orders[i++].share;
	return mixed_orders[i].order;
}

/* Fill up the window with blocks of sizes that are in orders[] already. */
static void mixed_alloc(struct worker *w, unsigned int to)
{
	unsigned int from = w->nr_window, got;
	struct page *page;
	u64 start, end;

	start = ktime_get_ns();
	while (w->nr_window < to) {
		page = alloc_block(w, w->orders[w->nr_window]);
		if (unlikely(!page))
			break;
		w->window[w->nr_window++] = page;
	}
	end = ktime_get_ns();
	got = w->nr_window - from;
	span_add(w, ALLOC, start, end, got);
	span_add(w, PAIR, start, end, got);
	if (w->nr_window < to)
		no_memory(w->orders[w->nr_window]);
}

static void mixed_free(struct worker *w, unsigned int to)
{
	unsigned int from = w->nr_window;
	u64 start, end;

	start = ktime_get_ns();
	while (w->nr_window > to) {
		w->nr_window--;
		__free_pages(w->window[w->nr_window], w->orders[w->nr_window]);
	}
	end = ktime_get_ns();
	span_add(w, FREE, start, end, from - to);
	/* A pair is one of each. */
	w->span[PAIR].ns += end - start;
}

static bool mixed_round(struct worker *w)
{
	struct span span[NR_MEASURES];
	unsigned long left = run.p.ops;
	unsigned int i, j, batch;

	for (i = 0; i < run.window; i++)
		w->orders[i] = mixed_order(w);
	mixed_alloc(w, run.window);
	/* What counts begins with a window that is full. */
	memset(w->span, 0, sizeof(w->span));
	while (left && !stopped()) {
		batch = min3(left, (unsigned long)MIXED_BATCH,
			     (unsigned long)run.window);
		for (i = 0; i < batch; i++) {
			j = rnd(w, run.window - i);
			swap(w->window[j], w->window[run.window - 1 - i]);
			swap(w->orders[j], w->orders[run.window - 1 - i]);
		}
		mixed_free(w, run.window - batch);
		for (i = w->nr_window; i < run.window; i++)
			w->orders[i] = mixed_order(w);
		mixed_alloc(w, run.window);
		left -= batch;
		cond_resched();
	}
	/* The end does not count either. */
	memcpy(span, w->span, sizeof(span));
	mixed_free(w, 0);
	memcpy(w->span, span, sizeof(span));
	return true;
}

static void mixed_main(struct worker *w)
{
	do_rounds(w, mixed_round);
}

static enum hrtimer_restart atomic_timer(struct hrtimer *timer)
{
	struct worker *w = container_of(timer, struct worker, timer);
	const unsigned int order = run.p.order;
	u64 start = ktime_get_ns(), now;
	unsigned long left = w->timer_left, i;
	struct page *page;

	do {
		for (i = min(left, ATOMIC_PAIRS); i; i--, left--) {
			page = alloc_block(w, order);
			if (unlikely(!page)) {
				no_memory(order);
				break;
			}
			__free_pages(page, order);
		}
		now = ktime_get_ns();
	} while (left && now - start < ATOMIC_NS && !stopped());

	span_add(w, PAIR, start, now, w->timer_left - left);
	if (left && !stopped()) {
		w->timer_left = left;
		hrtimer_forward_now(timer, ns_to_ktime(2 * (now - start)));
		return HRTIMER_RESTART;
	}
	/* Times are there before the end is. */
	smp_store_release(&w->timer_left, 0);
	wake_up(&w->timer_wait);
	return HRTIMER_NORESTART;
}

/* Nothing that runs in hardirqs may allocate with PREEMPT_RT. */
static enum hrtimer_mode atomic_mode(void)
{
	return IS_ENABLED(CONFIG_PREEMPT_RT) ? HRTIMER_MODE_REL_PINNED_SOFT :
					       HRTIMER_MODE_REL_PINNED_HARD;
}

static bool atomic_round(struct worker *w)
{
	w->timer_left = run.p.ops;
	hrtimer_start(&w->timer, ns_to_ktime(ATOMIC_NS), atomic_mode());
	/* See atomic_timer() */
	wait_event_idle(w->timer_wait, !smp_load_acquire(&w->timer_left));
	hrtimer_cancel(&w->timer);
	return true;
}

static void atomic_main(struct worker *w)
{
	hrtimer_init(&w->timer, CLOCK_MONOTONIC, atomic_mode());
	w->timer.function = atomic_timer;
	do_rounds(w, atomic_round);
}

/*
 * Where little is left, per-CPU lists of others may hold all of it for a moment.
 * Make do with what is there, as long as there is something now and then.
 */
static void missed(struct worker *w, unsigned int *in_a_row)
{
	w->misses++;
	*in_a_row = w->nr_window ? 0 : *in_a_row + 1;
	if (*in_a_row > MISSES)
		no_memory(run.p.order);
}

static void collect_misses(struct worker *w)
{
	u64 misses = 0;
	unsigned int i;

	for (i = 0; i < run.nr; i++) {
		misses += run.workers[i].misses;
		run.workers[i].misses = 0;
	}
	if (misses)
		add_number(w, "failed_allocs", misses);
}

static void fill_round(struct worker *w)
{
	const unsigned int order = run.p.order;
	unsigned long left = run.p.ops, chunk, i;
	unsigned int in_a_row = 0;
	u64 start;

	while (left && !stopped()) {
		chunk = min(left, run.window);
		memset(w->window, 0, chunk * sizeof(*w->window));
		start = ktime_get_ns();
		w->nr_window = alloc_chunk(w, chunk, w->window);
		span_add(w, ALLOC, start, ktime_get_ns(), w->nr_window);
		if (w->nr_window < chunk)
			missed(w, &in_a_row);
		start = ktime_get_ns();
		for (i = 0; i < w->nr_window; i++)
			__free_pages(w->window[i], order);
		span_add(w, FREE, start, ktime_get_ns(), w->nr_window);
		left -= w->nr_window;
		w->nr_window = 0;
		cond_resched();
	}
}

static void collect_fill(struct worker *w)
{
	collect_spans(w);
	collect_misses(w);
}

static void fill_main(struct worker *w)
{
	unsigned int i;

	for (i = 0; i < run.p.nr_levels; i++) {
		w->round = 0;
		if (!reach_level(w, run.p.levels[i]))
			return;
		for (w->round = 1; w->round <= run.p.rounds; w->round++) {
			fill_round(w);
			if (!sync_workers(w, collect_fill))
				return;
		}
	}
}

/* Some of one, then as many of the other, each with its time */
static void latency_round(struct worker *w)
{
	const unsigned int order = run.p.order;
	unsigned long left = run.p.ops, chunk;
	unsigned int in_a_row = 0;
	struct page *page;
	u64 start, end;

	while (left && !stopped()) {
		chunk = min(left, 1 + rnd(w, run.window));
		while (chunk--) {
			start = ktime_get_ns();
			page = alloc_block(w, order);
			end = ktime_get_ns();
			if (unlikely(!page)) {
				missed(w, &in_a_row);
				break;
			}
			histogram_time(&w->hist[ALLOC], end - start);
			w->window[w->nr_window++] = page;
		}
		left -= w->nr_window;
		shuffle(w, w->window, w->nr_window, w->nr_window);
		while (w->nr_window) {
			page = w->window[--w->nr_window];
			start = ktime_get_ns();
			__free_pages(page, order);
			end = ktime_get_ns();
			histogram_time(&w->hist[FREE], end - start);
		}
		/* What is in all of these times. */
		start = ktime_get_ns();
		span_add(w, CLOCK, start, ktime_get_ns(), 1);
		cond_resched();
	}
}

static void collect_latency(struct worker *w)
{
	static const char * const names[][4] = {
		[ALLOC] = { "alloc_p50_ns", "alloc_p99_ns", "alloc_p999_ns",
			    "alloc_max_ns" },
		[FREE] = { "free_p50_ns", "free_p99_ns", "free_p999_ns",
			   "free_max_ns" },
	};

	run.results->level = w->level;
	collect_histogram(w, ALLOC, names[ALLOC]);
	collect_histogram(w, FREE, names[FREE]);
	collect_spans(w);
	collect_misses(w);
}

static void latency_main(struct worker *w)
{
	if (!reach_level(w, run.p.levels[0]))
		return;
	for (w->round = 1; w->round <= run.p.rounds; w->round++) {
		latency_round(w);
		if (!sync_workers(w, collect_latency))
			return;
	}
}

/* ---- Fragmentation ---- */

/* Free pages of the 2 MiB around pfn; the kernel can tell with CONFIG_LLFREE. */
static unsigned int nr_free_huge_block(struct zone *zone, unsigned long pfn)
{
	return IS_ENABLED(CONFIG_LLFREE) ? zf_nr_free_block(zone, pfn) : 0;
}

/*
 * How far is memory from having all that is free in blocks of 2 MiB? As many
 * pages must be moved as are in use in the emptiest blocks, if there are as
 * many of these as all that is free would make.
 */
static void collect_map(struct worker *w)
{
	/* For one at a time, and too large for the stack */
	static unsigned long blocks[HUGE_PAGES + 1];
	unsigned long pfn, free = 0, moves = 0, left, nr, seen = 0;
	unsigned int i;

	memset(blocks, 0, sizeof(blocks));
	for (i = 0; i < run.nr_zones; i++) {
		struct zone *zone = run.zones[i];

		pfn = ALIGN_DOWN(zone->zone_start_pfn, HUGE_PAGES);
		for (; pfn < zone_end_pfn(zone); pfn += HUGE_PAGES) {
			nr = min(nr_free_huge_block(zone, pfn), HUGE_PAGES);
			blocks[nr]++;
			free += nr;
			if (!(++seen % 64))
				cond_resched();
		}
	}
	left = free / HUGE_PAGES;
	for (i = HUGE_PAGES; i && left; i--) {
		nr = min(blocks[i], left);
		moves += nr * (HUGE_PAGES - i);
		left -= nr;
	}
	add_number(w, "moves_pages", moves);
	add_number(w, "free_huge_blocks", blocks[HUGE_PAGES]);
	add_number(w, "free_pages", free);
	add_number(w, "total_pages", run.managed);
}

static void collect_map_spans(struct worker *w)
{
	collect_map(w);
	collect_spans(w);
}

static void frag_main(struct worker *w)
{
	unsigned long nr;

	fill_memory(w);
	if (!sync_workers(w, NULL))
		return;
	free_any(w, w->nr / 2);
	if (!sync_workers(w, collect_map))
		return;
	for (w->round = 1; w->round <= run.p.rounds; w->round++) {
		nr = w->nr / 10;
		shuffle(w, w->blocks, w->nr, nr);
		if (!sync_workers(w, NULL))
			return;
		free_blocks(w, w, nr, false);
		move_down(w);
		if (!sync_workers(w, NULL))
			return;
		alloc_blocks(w, w->nr + nr);
		if (!sync_workers(w, collect_map_spans))
			return;
	}
}

/*
 * Objects of a system that has been up for long: of all sizes, most of them soon
 * gone, some there for very long. Memory fills up, then shrinks, as when large
 * programs come to an end.
 */
#define AGE_FULL	90
#define AGE_SHRUNK	50
#define AGE_BATCH	32
/* Objects in the size of two pages, about */
#define AGE_IN_2_PAGES	3

/* What an object is, in the lowest bits of its address, or below its pfn */
enum kind {
	KIND_CACHE,
	KIND_BUFFER,
	KIND_SLAB,
};

#define KIND_BITS	3
#define KIND_MASK	(BIT(KIND_BITS) - 1)

#define BUFFER_ORDER	3

static const unsigned int slab_sizes[] = { 192, 512, 1024, 2048 };
static struct kmem_cache *slabs[ARRAY_SIZE(slab_sizes)];

/* Of 1000 objects; in memory, about 60 %, 20 % and 20 %. */
#define SHARE_CACHE	420
#define SHARE_BUFFER	18

/*
 * Of 1000 objects, and how often those die for each death of as many long ones.
 * Long is as many allocations as would fill memory so many times.
 */
#define AGE_LONG	16
static const struct {
	unsigned int share;
	unsigned int haste;
} lifetimes[NR_LIFETIMES] = {
	[LIFE_SHORT] = { 250, 1024 },
	[LIFE_MEDIUM] = { 250, 128 },
	[LIFE_LONG] = { 500, 1 },
};

static bool used_at_least(unsigned int percent)
{
	return free_pages_now() <= free_pages_at(percent);
}

static gfp_t age_gfp(unsigned int kind)
{
	/* Only the page cache can be moved. */
	if (kind == KIND_CACHE)
		return run.p.gfp;
	return run.p.gfp & ~(__GFP_MOVABLE | __GFP_HIGHMEM);
}

static unsigned int age_kind(struct worker *w)
{
	unsigned int r = rnd(w, 1000);

	if (r < SHARE_CACHE)
		return KIND_CACHE;
	if (r < SHARE_CACHE + SHARE_BUFFER)
		return KIND_BUFFER;
	return KIND_SLAB + rnd(w, ARRAY_SIZE(slabs));
}

static bool age_alloc(struct worker *w, unsigned int kind, unsigned long *object)
{
	gfp_t gfp = age_gfp(kind);
	struct page *page;
	void *at;

	if (kind >= KIND_SLAB) {
		at = kmem_cache_alloc_node(slabs[kind - KIND_SLAB], gfp, w->nid);
		*object = (unsigned long)at | kind;
		return at;
	}
	page = alloc_pages_node(w->nid, gfp,
				kind == KIND_BUFFER ? BUFFER_ORDER : 0);
	if (page)
		*object = page_to_pfn(page) << KIND_BITS | kind;
	return page;
}

static void age_free(unsigned long object)
{
	unsigned int kind = object & KIND_MASK;

	if (kind >= KIND_SLAB)
		kmem_cache_free(slabs[kind - KIND_SLAB],
				(void *)(object & ~KIND_MASK));
	else
		__free_pages(pfn_to_page(object >> KIND_BITS),
			     kind == KIND_BUFFER ? BUFFER_ORDER : 0);
}

/* Who dies is drawn from all that are there, so that lifetimes are exponential. */
static unsigned long pool_take(struct worker *w, struct pool *pool)
{
	unsigned long i = rnd(w, pool->nr), object = pool->objects[i];

	pool->objects[i] = pool->objects[--pool->nr];
	return object;
}

static bool pool_add(struct worker *w, unsigned long object)
{
	unsigned int r = rnd(w, 1000), i = 0;

	while (r >= lifetimes[i].share)
		r -= lifetimes[i++].share;
	for (; i < NR_LIFETIMES; i++) {
		struct pool *pool = &w->pool[i];

		if (pool->nr < pool->max) {
			pool->objects[pool->nr++] = object;
			return true;
		}
	}
	return false;
}

static void age_free_batch(struct worker *w, const unsigned long *objects,
			   unsigned int nr)
{
	u64 start = ktime_get_ns();
	unsigned int i;

	for (i = 0; i < nr; i++)
		age_free(objects[i]);
	span_add(w, FREE, start, ktime_get_ns(), nr);
}

/* Some are born; of each pool, as many die as do in that time. */
static void age_grow(struct worker *w)
{
	const u64 life = (u64)AGE_LONG * w->pool[LIFE_LONG].max;
	unsigned long born[AGE_BATCH], dead[2 * AGE_BATCH];
	unsigned int nr = 0, nr_dead = 0, i;
	u8 kinds[AGE_BATCH];
	u64 start;

	for (i = 0; i < AGE_BATCH; i++)
		kinds[i] = age_kind(w);
	start = ktime_get_ns();
	for (i = 0; i < AGE_BATCH; i++) {
		if (age_alloc(w, kinds[i], &born[nr]))
			nr++;
		else if (kinds[i] != KIND_BUFFER)
			w->full = true;
	}
	span_add(w, ALLOC, start, ktime_get_ns(), nr);

	/* Those there is no room for die at once. */
	while (nr--) {
		if (!pool_add(w, born[nr])) {
			dead[nr_dead++] = born[nr];
			w->full = true;
		}
	}
	for (i = 0; i < NR_LIFETIMES; i++) {
		struct pool *pool = &w->pool[i];

		pool->debt += (u64)AGE_BATCH * pool->nr * lifetimes[i].haste;
		while (pool->debt >= life && pool->nr &&
		       nr_dead < ARRAY_SIZE(dead)) {
			pool->debt -= life;
			dead[nr_dead++] = pool_take(w, pool);
		}
	}
	age_free_batch(w, dead, nr_dead);
}

/* Time goes on and nobody is born. */
static bool age_shrink(struct worker *w)
{
	unsigned long objects[AGE_BATCH];
	unsigned int nr, i;

	for (nr = 0; nr < AGE_BATCH; nr++) {
		u64 all = 0, r;

		for (i = 0; i < NR_LIFETIMES; i++)
			all += (u64)w->pool[i].nr * lifetimes[i].haste;
		if (!all)
			break;
		r = mul_u64_u32_shr(all, prandom_u32_state(&w->rnd), 32);
		for (i = 0; r >= (u64)w->pool[i].nr * lifetimes[i].haste; i++)
			r -= (u64)w->pool[i].nr * lifetimes[i].haste;
		objects[nr] = pool_take(w, &w->pool[i]);
	}
	age_free_batch(w, objects, nr);
	return nr;
}

/* What it looks like before anything has aged */
static void age_first(struct worker *w)
{
	w->round = 0;
	collect_map(w);
	w->round = 1;
}

static void age_main(struct worker *w)
{
	for (w->round = 1; w->round <= run.p.rounds; w->round++) {
		if (!sync_workers(w, NULL))
			return;
		w->full = false;
		while (!w->full && !used_at_least(AGE_FULL) && !stopped()) {
			age_grow(w);
			cond_resched();
		}
		if (!sync_workers(w, w->round == 1 ? age_first : NULL))
			return;
		while (used_at_least(AGE_SHRUNK) && !stopped() && age_shrink(w))
			cond_resched();
		if (!sync_workers(w, collect_map_spans))
			return;
	}
}

static void age_end(struct worker *w)
{
	unsigned int i;

	for (i = 0; i < NR_LIFETIMES; i++) {
		struct pool *pool = &w->pool[i];

		while (pool->nr) {
			age_free(pool->objects[--pool->nr]);
			if (!(pool->nr % CHUNK))
				cond_resched();
		}
		kvfree(pool->objects);
	}
}

static void slabs_destroy(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(slabs); i++) {
		kmem_cache_destroy(slabs[i]);
		slabs[i] = NULL;
	}
}

static int age_init(void)
{
	unsigned long most = run.total / run.nr * AGE_IN_2_PAGES / 2 + CHUNK;
	unsigned int i, j;
	char name[32];

	for (i = 0; i < ARRAY_SIZE(slabs); i++) {
		snprintf(name, sizeof(name), "%s-%u", KBUILD_MODNAME,
			 slab_sizes[i]);
		slabs[i] = kmem_cache_create(name, slab_sizes[i],
					     KIND_MASK + 1, SLAB_NO_MERGE, NULL);
		if (!slabs[i])
			return -ENOMEM;
	}
	for (i = 0; i < run.nr; i++) {
		for (j = 0; j < NR_LIFETIMES; j++) {
			struct pool *pool = &run.workers[i].pool[j];

			/* Twice as many as live at a time, and some more */
			pool->max = j == LIFE_LONG ? most : CHUNK +
				most * AGE_LONG / lifetimes[j].haste *
				lifetimes[j].share / 500;
			pool->objects = kvcalloc(pool->max,
						 sizeof(*pool->objects),
						 GFP_KERNEL);
			if (!pool->objects)
				return -ENOMEM;
		}
	}
	return 0;
}

/* ---- A run ---- */

static const struct bench benches[] = {
	{ "bulk", "each CPU allocates many blocks, then frees them in order",
	  CAN_BULK, 1, bulk_main },
	{ "repeat", "each CPU frees and allocates one block again and again",
	  FEW_BLOCKS, 1, repeat_main },
	{ "rand", "as bulk, but blocks of all CPUs are shuffled before the frees",
	  CAN_BULK, 1, rand_main },
	{ "remote", "as bulk, but one CPU frees all, two if there are more than 4",
	  CAN_BULK, 1, remote_main },
	{ "exit", "as rand, but freed in batches as when processes exit",
	  CAN_BULK, 1, exit_main },
	{ "mixed", "blocks of many sizes, replaced at random; order is ignored",
	  FEW_BLOCKS | NO_ORDER, 1, mixed_main },
	{ "atomic", "pairs of allocation and free in timer interrupts",
	  FEW_BLOCKS | IN_ATOMIC, 1, atomic_main },
	{ "fill", "batches of allocations and frees while memory is in use",
	  CAN_BULK | HAS_LEVEL | WHOLE_MEMORY, 1, fill_main },
	{ "latency", "the same, each operation timed on its own",
	  HAS_LEVEL | WHOLE_MEMORY, 1, latency_main },
	{ "frag", "half of memory in use, and 10 % of that replaced at random",
	  NEEDS_MAP | WHOLE_MEMORY, 100, frag_main },
	{ "age", "slab objects, movable pages, buffers; from 90 % to 50 % in use",
	  NEEDS_MAP | WHOLE_MEMORY | NO_ORDER, 100, age_main },
};

static int worker_thread(void *data)
{
	struct worker *w = data;

	run.p.bench->main(w);
	if (atomic_dec_and_test(&run.busy))
		complete(&run.done);
	return 0;
}

static void worker_end(struct worker *w)
{
	const unsigned int order = run.p.order;
	struct page *page, *next;
	unsigned long i;

	for (i = w->first; i < w->nr; i++) {
		__free_pages(w->blocks[i], order);
		if (!(i % CHUNK))
			cond_resched();
	}
	i = 0;
	list_for_each_entry_safe(page, next, &w->rest, lru) {
		__free_page(page);
		if (!(++i % CHUNK))
			cond_resched();
	}
	for (i = 0; i < w->nr_window; i++)
		__free_pages(w->window[i], run.p.bench->flags & NO_ORDER ?
					   w->orders[i] : order);
	kvfree(w->hist);
	age_end(w);
}

/* Zones that the allocations can come from */
static int run_find_zones(void)
{
	unsigned int most = gfp_zone(run.p.gfp), z;
	int nid;

	run.zones = kcalloc(num_node_state(N_MEMORY) * MAX_NR_ZONES,
			    sizeof(*run.zones), GFP_KERNEL);
	if (!run.zones)
		return -ENOMEM;
	for_each_node_state(nid, N_MEMORY) {
		if (run.p.node != NUMA_NO_NODE && nid != run.p.node)
			continue;
		for (z = 0; z <= most; z++) {
			struct zone *zone = &NODE_DATA(nid)->node_zones[z];

			if (!populated_zone(zone))
				continue;
			run.zones[run.nr_zones++] = zone;
			run.managed += zone_managed_pages(zone);
			run.total += but_reserve(zone,
						 zone_managed_pages(zone));
		}
	}
	return 0;
}

/* Number of blocks that each worker may hold */
static unsigned long run_max_blocks(void)
{
	const unsigned int flags = run.p.bench->flags;
	unsigned long pages = run.p.mib << (20 - PAGE_SHIFT);

	if (!pages)
		pages = flags & WHOLE_MEMORY ? run.total :
			min_t(unsigned long, si_mem_available(),
			      free_pages_now()) / 2;
	pages /= run.nr;
	/* Now is as good a time as any. */
	run.window = clamp(pages / MIXED_PAGES, 1, WINDOW);
	pages >>= run.p.order;
	if (flags & WHOLE_MEMORY)
		return pages + 1;
	return min(pages, run.p.ops);
}

static int run_alloc_blocks(void)
{
	const struct bench *bench = run.p.bench;
	unsigned long nr = run_max_blocks(), i;

	if (!nr) {
		int ret = run.p.mib ? -EINVAL : -ENOMEM;

		run_fail(ret, "mib: not enough for one block of order %u for each CPU",
			 run.p.order);
		return ret;
	}
	if (bench->flags & FEW_BLOCKS || bench->main == age_main)
		return 0;
	/* Entries are touched now, and so need no memory later. */
	run.blocks = kvcalloc(run.nr * nr, sizeof(*run.blocks), GFP_KERNEL);
	if (!run.blocks)
		return -ENOMEM;
	for (i = 0; i < run.nr; i++) {
		run.workers[i].blocks = run.blocks + i * nr;
		run.workers[i].max = nr;
	}
	return 0;
}

static int run_alloc_results(void)
{
	unsigned long max;

	/* No round has more rows than that of latency. */
	max = (run.p.rounds + 1UL) * max(run.p.nr_levels, 1U) * 10;
	run.results = kvzalloc(struct_size(run.results, rows, max), GFP_KERNEL);
	if (!run.results)
		return -ENOMEM;
	run.results->max = max;
	run.results->bench = run.p.bench;
	run.results->order = run.p.order;
	run.results->nr_cpus = run.nr;
	run.results->bulk = run.p.bulk;
	if (run.p.bench->main == latency_main) {
		/* Of all rounds, then of one. */
		run.results->hist = kvcalloc(4, sizeof(*run.results->hist),
					     GFP_KERNEL);
		if (!run.results->hist)
			return -ENOMEM;
	}
	return 0;
}

static int run_alloc_workers(void)
{
	unsigned int cpu, i = 0;

	run.nr = cpumask_weight(run.p.cpus);
	run.workers = kvcalloc(run.nr, sizeof(*run.workers), GFP_KERNEL);
	if (!run.workers)
		return -ENOMEM;
	for_each_cpu(cpu, run.p.cpus) {
		struct worker *w = &run.workers[i++];

		w->cpu = cpu;
		w->nid = run.p.node == NUMA_NO_NODE ? cpu_to_mem(cpu) :
						      run.p.node;
		prandom_seed_state(&w->rnd, run.p.seed << 16 ^ cpu);
		INIT_LIST_HEAD(&w->rest);
		init_waitqueue_head(&w->timer_wait);
	}
	for (i = 0; run.p.bench->main == latency_main && i < run.nr; i++) {
		run.workers[i].hist = kvcalloc(2, sizeof(struct histogram),
					       GFP_KERNEL);
		if (!run.workers[i].hist)
			return -ENOMEM;
	}
	return 0;
}

static int run_start_threads(void)
{
	struct task_struct *task;
	unsigned int i;

	for (i = 0; i < run.nr; i++) {
		struct worker *w = &run.workers[i];

		task = kthread_create_on_cpu(worker_thread, w, w->cpu,
					     "page_bench/%u");
		if (IS_ERR(task))
			return PTR_ERR(task);
		w->task = get_task_struct(task);
	}
	atomic_set(&run.busy, run.nr);
	for (i = 0; i < run.nr; i++)
		wake_up_process(run.workers[i].task);
	return 0;
}

static void run_threads(void)
{
	int ret;

	ret = run_start_threads();
	if (ret) {
		run_fail(ret, "no threads: error %d", ret);
		return;
	}
	if (!wait_for_completion_interruptible(&run.done))
		return;
	run_fail(-EINTR, "interrupted");
	wait_for_completion(&run.done);
}

static void run_free(void)
{
	unsigned int i;

	for (i = 0; run.workers && i < run.nr; i++) {
		struct worker *w = &run.workers[i];

		/* Those that were never woken end here. */
		if (w->task)
			kthread_stop_put(w->task);
		worker_end(w);
	}
	kvfree(run.blocks);
	kvfree(run.workers);
	kfree(run.zones);
}

/* What files show from now on */
static void publish(struct results *results, const char *text)
{
	mutex_lock(&last_lock);
	if (results) {
		if (last)
			kvfree(last->hist);
		kvfree(last);
		last = results;
	}
	strscpy(last_text, text);
	mutex_unlock(&last_lock);
}

static int run_bench(void)
{
	int ret;

	init_waitqueue_head(&run.wait);
	init_completion(&run.done);

	ret = run_alloc_workers();
	if (!ret)
		ret = run_find_zones();
	if (!ret)
		ret = run_alloc_blocks();
	if (!ret)
		ret = run_alloc_results();
	if (!ret && run.p.bench->main == age_main)
		ret = age_init();
	if (ret)
		run_fail(ret, "no memory for the benchmark itself");
	else
		run_threads();
	run_free();
	ret = atomic_read(&run.error);
	publish(run.results, ret ? run.text : "ok");
	return ret;
}

/* ---- Arguments ---- */

enum gfp_kind {
	BENCH_GFP_MOVABLE,
	BENCH_GFP_KERNEL,
	BENCH_GFP_ATOMIC,
};

static const char * const gfp_names[] = {
	[BENCH_GFP_MOVABLE] = "movable",
	[BENCH_GFP_KERNEL] = "kernel",
	[BENCH_GFP_ATOMIC] = "atomic",
};

/* Reclaim is not what is measured; reserves are for who cannot wait. */
static const gfp_t gfp_flags[] = {
	[BENCH_GFP_MOVABLE] = (GFP_HIGHUSER_MOVABLE & ~__GFP_RECLAIM) |
			      __GFP_NOMEMALLOC | __GFP_NOWARN,
	[BENCH_GFP_KERNEL] = (GFP_KERNEL & ~__GFP_RECLAIM) |
			     __GFP_NOMEMALLOC | __GFP_NOWARN,
	[BENCH_GFP_ATOMIC] = (GFP_ATOMIC & ~__GFP_RECLAIM) | __GFP_NOWARN,
};

static const char * const api_names[] = { "single", "bulk" };

enum bench_key {
	KEY_BENCH,
	KEY_ORDER,
	KEY_CPUS,
	KEY_NODE,
	KEY_MIB,
	KEY_OPS,
	KEY_ROUNDS,
	KEY_API,
	KEY_GFP,
	KEY_LEVEL,
	KEY_SEED,
	NR_KEYS,
};

static const struct {
	const char *name;
	const char *what;
} keys[NR_KEYS] = {
	[KEY_BENCH] = { "bench", "one of the above" },
	[KEY_ORDER] = { "order", "size of blocks (default 0)" },
	[KEY_CPUS] = { "cpus", "list of CPUs, as 0-3,8 (default: all)" },
	[KEY_NODE] = { "node", "memory of this NUMA node only (default: local first)" },
	[KEY_MIB] = { "mib", "memory to use at most (default: half of what is available)" },
	[KEY_OPS] = { "ops", "operations on each CPU at most (default 100000)" },
	[KEY_ROUNDS] = { "rounds", "how often (default 1; frag and age: 100)" },
	[KEY_API] = { "api", "single or bulk (default single)" },
	[KEY_GFP] = { "gfp", "movable, kernel or atomic (default movable; atomic: atomic)" },
	[KEY_LEVEL] = { "level", "percent in use before, fill and latency (default several; 50)" },
	[KEY_SEED] = { "seed", "of random numbers (default 1)" },
};

static int parse_number(const char *key, const char *value, unsigned long low,
			unsigned long high, unsigned long *number)
{
	if (kstrtoul(value, 0, number) || *number < low || *number > high) {
		run_fail(-EINVAL, "%s: %lu..%lu, not %.20s", key, low, high,
			 value);
		return -EINVAL;
	}
	return 0;
}

static int parse_bench(const char *value)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(benches); i++) {
		if (!strcmp(value, benches[i].name)) {
			run.p.bench = &benches[i];
			return 0;
		}
	}
	run_fail(-EINVAL, "bench: there is no %.20s, see help", value);
	return -EINVAL;
}

static int parse_cpus(const char *value)
{
	if (cpulist_parse(value, run.p.cpus) || cpumask_empty(run.p.cpus) ||
	    !cpumask_subset(run.p.cpus, cpu_online_mask)) {
		run_fail(-EINVAL, "cpus: of %*pbl, not %.40s",
			 cpumask_pr_args(cpu_online_mask), value);
		return -EINVAL;
	}
	return 0;
}

static int parse_node(const char *value)
{
	int node;

	if (kstrtoint(value, 0, &node) || node < NUMA_NO_NODE ||
	    node >= MAX_NUMNODES ||
	    (node >= 0 && !node_state(node, N_MEMORY))) {
		run_fail(-EINVAL, "node: of %*pbl, or -1, not %.20s",
			 nodemask_pr_args(&node_states[N_MEMORY]), value);
		return -EINVAL;
	}
	run.p.node = node;
	return 0;
}

/* What the given keys say; the others have no effect here. */
static int parse_key(enum bench_key key, const char *value)
{
	const char *name = keys[key].name;
	struct params *p = &run.p;
	unsigned long number;
	int ret;

	switch (key) {
	case KEY_BENCH:
		return parse_bench(value);
	case KEY_ORDER:
		ret = parse_number(name, value, 0, MAX_PAGE_ORDER, &number);
		p->order = number;
		return ret;
	case KEY_CPUS:
		return parse_cpus(value);
	case KEY_NODE:
		return parse_node(value);
	case KEY_MIB:
		return parse_number(name, value, 1,
				    totalram_pages() >> (20 - PAGE_SHIFT),
				    &p->mib);
	case KEY_OPS:
		return parse_number(name, value, 1, MAX_OPS, &p->ops);
	case KEY_ROUNDS:
		ret = parse_number(name, value, 1, MAX_ROUNDS, &number);
		p->rounds = number;
		return ret;
	case KEY_API:
		ret = match_string(api_names, ARRAY_SIZE(api_names), value);
		if (ret < 0)
			run_fail(-EINVAL, "api: single or bulk, not %.20s",
				 value);
		p->bulk = ret == 1;
		return min(ret, 0);
	case KEY_GFP:
		ret = match_string(gfp_names, ARRAY_SIZE(gfp_names), value);
		if (ret < 0)
			run_fail(-EINVAL,
				 "gfp: movable, kernel or atomic, not %.20s",
				 value);
		else
			p->gfp = gfp_flags[ret];
		return min(ret, 0);
	case KEY_LEVEL:
		ret = parse_number(name, value, 0, MAX_LEVEL, &number);
		p->levels[0] = number;
		p->nr_levels = 1;
		return ret;
	case KEY_SEED:
		return parse_number(name, value, 0, ULONG_MAX, &p->seed);
	case NR_KEYS:
		break;
	}
	return -EINVAL;
}

static int parse_word(char *word)
{
	char *value = strchr(word, '=');
	unsigned int i;

	if (value) {
		*value++ = 0;
		for (i = 0; i < NR_KEYS; i++)
			if (!strcmp(word, keys[i].name))
				return parse_key(i, value);
	}
	run_fail(-EINVAL, "%.20s: no such key, see help", word);
	return -EINVAL;
}

/* What was left open, and what does not fit together */
static int parse_rest(void)
{
	struct params *p = &run.p;
	const struct bench *bench = p->bench;

	if (!bench) {
		run_fail(-EINVAL, "bench: must be given, see help");
		return -EINVAL;
	}
	if (p->bulk && (p->order || !(bench->flags & CAN_BULK))) {
		run_fail(-EINVAL, "api: bulk is for order 0 of bulk, rand, remote, exit and fill");
		return -EINVAL;
	}
	if (p->nr_levels && !(bench->flags & HAS_LEVEL)) {
		run_fail(-EINVAL, "level: for fill and latency only");
		return -EINVAL;
	}
	if (p->mib && (bench->flags & HAS_LEVEL || bench->main == age_main)) {
		run_fail(-EINVAL, "mib: not for fill, latency and age");
		return -EINVAL;
	}
	if (bench->flags & NEEDS_MAP && !IS_ENABLED(CONFIG_LLFREE)) {
		run_fail(-EOPNOTSUPP, "bench: %s needs CONFIG_LLFREE",
			 bench->name);
		return -EOPNOTSUPP;
	}
	if (bench->flags & NO_ORDER)
		p->order = 0;
	if (!p->rounds)
		p->rounds = bench->rounds;
	if (!p->gfp)
		p->gfp = gfp_flags[bench->flags & IN_ATOMIC ? BENCH_GFP_ATOMIC :
				   BENCH_GFP_MOVABLE];
	if (bench->flags & IN_ATOMIC &&
	    p->gfp != gfp_flags[BENCH_GFP_ATOMIC]) {
		run_fail(-EINVAL, "gfp: atomic for atomic");
		return -EINVAL;
	}
	if (p->node != NUMA_NO_NODE)
		p->gfp |= __GFP_THISNODE;
	/* Pages that are freed like those of processes have a size. */
	if (bench->main == exit_main && p->order)
		p->gfp |= __GFP_COMP;
	if (bench->main == latency_main && !p->nr_levels) {
		p->levels[0] = LATENCY_LEVEL;
		p->nr_levels = 1;
	}
	if (bench->main == fill_main && !p->nr_levels) {
		memcpy(p->levels, fill_levels, sizeof(fill_levels));
		p->nr_levels = ARRAY_SIZE(fill_levels);
	}
	return 0;
}

static int run_parse(char *text)
{
	char *word;
	int ret;

	run.p.node = NUMA_NO_NODE;
	run.p.ops = 100000;
	run.p.seed = 1;
	cpumask_copy(run.p.cpus, cpu_online_mask);

	while ((word = strsep(&text, "\n "))) {
		if (!*word)
			continue;
		ret = parse_word(word);
		if (ret)
			return ret;
	}
	return parse_rest();
}

/* ---- Files ---- */

static ssize_t run_write(struct file *file, const char __user *buf, size_t size,
			 loff_t *pos)
{
	char *text;
	int ret;

	if (size > PAGE_SIZE / 2)
		return -E2BIG;
	text = memdup_user_nul(buf, size);
	if (IS_ERR(text))
		return PTR_ERR(text);
	if (!mutex_trylock(&run_lock)) {
		kfree(text);
		return -EBUSY;
	}
	memset(&run, 0, sizeof(run));
	if (!zalloc_cpumask_var(&run.p.cpus, GFP_KERNEL)) {
		ret = -ENOMEM;
		goto unlock;
	}
	/* CPUs stay as long as the benchmark runs. */
	cpus_read_lock();
	ret = run_parse(text);
	if (ret)
		publish(NULL, run.text);
	else
		ret = run_bench();
	cpus_read_unlock();
	/* Caches hold CPUs themselves while they go. */
	slabs_destroy();
	free_cpumask_var(run.p.cpus);
unlock:
	mutex_unlock(&run_lock);
	kfree(text);
	return ret ?: size;
}

static int run_show(struct seq_file *m, void *unused)
{
	mutex_lock(&last_lock);
	seq_printf(m, "%s\n", last_text);
	mutex_unlock(&last_lock);
	return 0;
}
DEFINE_SHOW_STORE_ATTRIBUTE(run);

static int results_show(struct seq_file *m, void *unused)
{
	unsigned long i;
	u32 cents;

	mutex_lock(&last_lock);
	seq_puts(m, "bench,order,cpus,api,level,round,measure,ops,value\n");
	for (i = 0; last && i < last->nr; i++) {
		const struct row *row = &last->rows[i];
		u64 value = div_u64_rem(row->value, 100, &cents);

		seq_printf(m, "%s,%u,%u,%s,%u,%u,%s,%llu,%llu",
			   last->bench->name, last->order, last->nr_cpus,
			   api_names[last->bulk], row->level, row->round,
			   row->measure, row->ops, value);
		if (!row->number)
			seq_printf(m, ".%02u", cents);
		seq_putc(m, '\n');
	}
	mutex_unlock(&last_lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(results);

static int histogram_show(struct seq_file *m, void *unused)
{
	static const char * const names[] = {
		[ALLOC] = "alloc",
		[FREE] = "free",
	};
	unsigned int op, b;

	mutex_lock(&last_lock);
	seq_puts(m, "bench,order,cpus,level,operation,low_ns,count\n");
	for (op = 0; last && last->hist && op < ARRAY_SIZE(names); op++) {
		for (b = 0; b < NR_BUCKETS; b++) {
			if (!last->hist[op].count[b])
				continue;
			seq_printf(m, "%s,%u,%u,%u,%s,%llu,%u\n",
				   last->bench->name, last->order,
				   last->nr_cpus, last->level, names[op],
				   bucket_low(b), last->hist[op].count[b]);
		}
	}
	mutex_unlock(&last_lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(histogram);

static int help_show(struct seq_file *m, void *unused)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(benches); i++)
		seq_printf(m, "bench=%-8s %s\n", benches[i].name,
			   benches[i].what);
	for (i = 0; i < NR_KEYS; i++)
		seq_printf(m, "%-6s %s\n", keys[i].name, keys[i].what);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(help);

static int __init bench_init(void)
{
	bench_dir = debugfs_create_dir(KBUILD_MODNAME, NULL);
	debugfs_create_file("run", 0600, bench_dir, NULL, &run_fops);
	debugfs_create_file("results", 0400, bench_dir, NULL, &results_fops);
	debugfs_create_file("histogram", 0400, bench_dir, NULL,
			    &histogram_fops);
	debugfs_create_file("help", 0400, bench_dir, NULL, &help_fops);
	return 0;
}
module_init(bench_init);

static void __exit bench_exit(void)
{
	/* Nobody is in a file after that. */
	debugfs_remove(bench_dir);
	if (last)
		kvfree(last->hist);
	kvfree(last);
}
module_exit(bench_exit);

MODULE_DESCRIPTION("Benchmark of the page allocator");
MODULE_LICENSE("GPL");
