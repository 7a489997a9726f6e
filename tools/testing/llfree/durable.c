// SPDX-License-Identifier: GPL-2.0
/*
 * Nanoseconds of CPU time per operation of a pool, by the way lines are written
 * back. Each thread has a CPU and a slot of its own.
 *
 *   core   allocation and free in an instance without a medium
 *   none   allocation, free and commit in a pool, without instructions for
 *          persistence
 *   fence  with fences only, as where caches persist
 *   clflush, clflushopt, clwb    with the instruction
 *
 *   alloc, commit, free   each thread allocates blocks, commits all, frees all
 *   batch  commits all again, by one call for each batch
 *   frees  allocates and commits all again, and frees by one call for each
 *          batch
 *   pair   a few blocks are allocated and committed, and freed again
 *
 * One sync follows each batch of commits. In each round all ways to write back
 * take turns, so that a change of the machine's speed affects all alike.
 */
#include <linux/kernel.h>
#include <linux/minmax.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "measure.h"
#include "persist.h"

#define MAX_THREADS	64
#define MAX_ROUNDS	101
#define MAX_BATCHES	8
#define MAX_BATCH	4096U

/* An instance without a medium, then the ways to write lines back */
#define CORE		0U
#define NR_WAYS		(1U + DAX_NR_FLUSHES)

enum measure { ALLOC, COMMIT, BATCH, FREE, FREES, PAIR, NR_MEASURES };

static const char *const measure_names[] = {
	"alloc_ns", "commit_ns", "batch_ns", "free_ns", "frees_ns", "pair_ns",
};

static struct {
	const char *dax;
	unsigned int threads[16];
	unsigned int nr_threads;
	unsigned int orders[LLFREE_NR_ORDERS];
	unsigned int nr_orders;
	unsigned int batches[MAX_BATCHES];
	unsigned int nr_batches;
	unsigned int rounds;
	unsigned int ops;
	unsigned int gib;
	unsigned long ways;
	bool csv;
} opt = {
	.threads = { 1 }, .nr_threads = 1, .orders = { 0, 9 }, .nr_orders = 2,
	.batches = { 1, 64 }, .nr_batches = 2, .rounds = 7, .ops = 100000, .gib = 4,
};

struct worker {
	pthread_t pthread;
	unsigned int nr;
	unsigned long *frames;
	u64 *blocks;
	double ns[NR_MEASURES];
	unsigned long ops[NR_MEASURES];
};

/* One round of one way: the pool, or the instance without a medium */
static struct persist persist;
static struct inst in;
static unsigned int way, order, batch, nr_threads;
static unsigned long blocks;
static pthread_barrier_t barrier;
static struct worker workers[MAX_THREADS];
static double values[NR_WAYS][MAX_BATCHES][NR_MEASURES][MAX_ROUNDS];

static const char *way_name(unsigned int w)
{
	return w == CORE ? "core" : dax_flush_names[w - 1];
}

static __always_inline unsigned long alloc_one(struct worker *w, bool core)
{
	const struct llfree_request req = {
		.slot = w->nr, .order = order,
		.class = order < LLFREE_CHILD_ORDER ? LLFREE_CLASS_MOVABLE : LLFREE_CLASS_HUGE,
	};
	long frame = core ? llfree_alloc(&in.llf, &req, NULL) :
			    llfree_pool_alloc(&persist.pool, order);

	if (frame < 0)
		die("out of memory");
	return frame;
}

static __always_inline void commit_one(unsigned long frame)
{
	if (llfree_pool_commit(&persist.pool, frame, order))
		die("a commit was refused");
}

static __always_inline void free_one(struct worker *w, unsigned long frame, bool core)
{
	if (core ? llfree_free(&in.llf, w->nr, frame, order, NULL) :
		   llfree_pool_free(&persist.pool, frame, order))
		die("a free was refused");
}

static void count(struct worker *w, enum measure m, double start, unsigned long ops)
{
	w->ns[m] += cpu_ns() - start;
	w->ops[m] += ops;
}

static __always_inline void run_pair(struct worker *w, bool core)
{
	unsigned int i, j;
	double start;

	start = cpu_ns();
	for (i = 0; i + batch <= blocks; i += batch) {
		for (j = 0; j < batch; j++) {
			w->frames[j] = alloc_one(w, core);
			if (!core)
				commit_one(w->frames[j]);
		}
		if (!core)
			llfree_pool_sync(&persist.pool);
		for (j = 0; j < batch; j++)
			free_one(w, w->frames[j], core);
	}
	count(w, PAIR, start, i);
}

/* Allocate and commit all blocks of a worker, in batches. */
static void commit_all(struct worker *w)
{
	unsigned long i;

	for (i = 0; i < blocks; i++)
		w->blocks[i] = (u64)alloc_one(w, false) << LLFREE_POOL_FRAME_SHIFT | order;
	for (i = 0; i < blocks; i += batch)
		if (llfree_pool_commit_batch(&persist.pool, &w->blocks[i], batch) != batch)
			die("a batch was refused");
	llfree_pool_sync(&persist.pool);
}

static void run_frees(struct worker *w)
{
	unsigned long i;
	double start;

	commit_all(w);
	pthread_barrier_wait(&barrier);
	start = cpu_ns();
	for (i = 0; i < blocks; i += batch) {
		if (llfree_pool_free_batch(&persist.pool, &w->blocks[i], batch) != batch)
			die("a batch of frees was refused");
		llfree_pool_sync(&persist.pool);
	}
	count(w, FREES, start, blocks);
}

static __always_inline void run_bulk(struct worker *w, bool core)
{
	unsigned long i;
	double start;

	start = cpu_ns();
	for (i = 0; i < blocks; i++)
		w->frames[i] = alloc_one(w, core);
	count(w, ALLOC, start, blocks);
	pthread_barrier_wait(&barrier);
	if (!core) {
		start = cpu_ns();
		for (i = 0; i < blocks; i++) {
			commit_one(w->frames[i]);
			if (i % batch == batch - 1)
				llfree_pool_sync(&persist.pool);
		}
		count(w, COMMIT, start, blocks);
		for (i = 0; i < blocks; i++)
			w->blocks[i] = (u64)w->frames[i] << LLFREE_POOL_FRAME_SHIFT | order;
		start = cpu_ns();
		for (i = 0; i < blocks; i += batch) {
			if (llfree_pool_commit_batch(&persist.pool, &w->blocks[i], batch) != batch)
				die("a batch was refused");
			llfree_pool_sync(&persist.pool);
		}
		count(w, BATCH, start, blocks);
	}
	start = cpu_ns();
	for (i = 0; i < blocks; i++)
		free_one(w, w->frames[i], core);
	count(w, FREE, start, blocks);
	pthread_barrier_wait(&barrier);
	if (!core)
		run_frees(w);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;

	if (!pin(w->nr))
		die("no affinity");
	pthread_barrier_wait(&barrier);
	if (way == CORE)
		run_bulk(w, true);
	else
		run_bulk(w, false);
	pthread_barrier_wait(&barrier);
	if (way == CORE)
		run_pair(w, true);
	else
		run_pair(w, false);
	return NULL;
}

static void start_memory(void)
{
	const unsigned long frames = (unsigned long)opt.gib << 18;

	if (way == CORE) {
		inst_tree_order = llfree_tree_order(frames, nr_threads);
		if (inst_init(&in, 0, frames, LLFREE_INIT_FREE, NULL, nr_threads))
			die("init failed");
		return;
	}
	dax_open(&persist.dax, opt.dax, frames << LLFREE_POOL_FRAME_SHIFT, way - 1);
	persist.nr_slots = nr_threads;
	if (persist_format(&persist))
		die("no pool");
}

/* The result of a benchmark that loses frames is worthless. */
static void end_memory(void)
{
	const unsigned long frames = (unsigned long)opt.gib << 18;
	bool ok;

	if (way == CORE) {
		ok = !llfree_validate(&in.llf, NULL) && inst_free_frames(&in) == frames;
		inst_exit(&in);
	} else {
		ok = !llfree_validate(&persist.pool.core, NULL) &&
		     persist_free_frames(&persist) == frames - persist.pool.first;
		llfree_pool_detach(&persist.pool);
		persist_drop(&persist);
		dax_close(&persist.dax);
	}
	if (!ok)
		die("frames were lost");
}

static void run_round(unsigned int b, unsigned int round)
{
	unsigned int i, m;
	unsigned long ops;
	double ns;

	batch = opt.batches[b];
	blocks = min_t(unsigned long, opt.ops, (opt.gib << 18 >> order) / 2 / nr_threads);
	if (blocks < batch)
		die("not enough memory for so many blocks in a batch");
	blocks -= blocks % batch;
	start_memory();
	pthread_barrier_init(&barrier, NULL, nr_threads);
	for (i = 0; i < nr_threads; i++) {
		memset(&workers[i], 0, sizeof(workers[i]));
		workers[i].nr = i;
		workers[i].frames = malloc(blocks * sizeof(*workers[i].frames));
		workers[i].blocks = malloc(blocks * sizeof(*workers[i].blocks));
		if (!workers[i].frames || !workers[i].blocks)
			die("no memory");
		/*
		 * The first use of a page must not count as time of the pool.
		 */
		memset(workers[i].frames, 1, blocks * sizeof(*workers[i].frames));
		memset(workers[i].blocks, 1, blocks * sizeof(*workers[i].blocks));
	}
	for (i = 0; i < nr_threads; i++)
		if (pthread_create(&workers[i].pthread, NULL, worker_main, &workers[i]))
			die("no threads");
	for (i = 0; i < nr_threads; i++) {
		pthread_join(workers[i].pthread, NULL);
		free(workers[i].frames);
		free(workers[i].blocks);
	}
	pthread_barrier_destroy(&barrier);
	end_memory();
	for (m = 0; m < NR_MEASURES; m++) {
		for (i = 0, ns = 0, ops = 0; i < nr_threads; i++) {
			ns += workers[i].ns[m];
			ops += workers[i].ops[m];
		}
		if (!ops)
			continue;
		values[way][b][m][round] = ns / ops;
		if (opt.csv)
			printf("durable,%u,%u,%s,%u,%u,%s,%lu,%.2f\n", order, nr_threads,
			       way_name(way), batch, round, measure_names[m], ops, ns / ops);
	}
}

/*
 * Medians as multiples: of those of the core, or of commits in the first batch
 * size
 */
static void print_way(unsigned int w, unsigned int b, const double *medians,
		      const double *core, const double *first)
{
	const double *v;
	unsigned int m;
	double base;

	for (m = 0; m < NR_MEASURES; m++) {
		if (!medians[m])
			continue;
		base = m == COMMIT || m == BATCH ? first[COMMIT] : core[m == FREES ? FREE : m];
		v = values[w][b][m];
		printf("%5u %7u %5u  %-10s %-9s %8.1f %8.1f %8.1f", order, nr_threads,
		       opt.batches[b], way_name(w), measure_names[m], medians[m], v[0],
		       v[opt.rounds - 1]);
		if (base)
			printf(" %6.3f", medians[m] / base);
		puts("");
	}
}

static void print_order(void)
{
	static double medians[NR_WAYS][MAX_BATCHES][NR_MEASURES];
	unsigned int w, b, m;

	for (w = 0; w < NR_WAYS; w++)
		for (b = 0; b < opt.nr_batches; b++)
			for (m = 0; m < NR_MEASURES; m++)
				medians[w][b][m] = median(values[w][b][m], opt.rounds);
	for (b = 0; b < opt.nr_batches; b++)
		for (w = 0; w < NR_WAYS; w++)
			if (opt.ways & BIT(w))
				print_way(w, b, medians[w][b], medians[CORE][b],
					  medians[w][0]);
}

static void run_order(void)
{
	unsigned int r, b;

	memset(values, 0, sizeof(values));
	for (r = 0; r < opt.rounds; r++)
		for (b = 0; b < opt.nr_batches; b++)
			for (way = 0; way < NR_WAYS; way++)
				if (opt.ways & BIT(way))
					run_round(b, r);
	if (!opt.csv)
		print_order();
	fflush(stdout);
}

static const struct argp_option argp_options[] = {
	{ "dax", 'd', "FILE", 0, "where the pool is (memory); it is overwritten", 0 },
	{ "threads", 't', "N,..", 0, "numbers of threads (1)", 0 },
	{ "orders", 'o', "N,..", 0, "orders (0,9)", 0 },
	{ "batches", 'b', "N,..", 0, "commits for each sync (1,64)", 0 },
	{ "rounds", 'r', "N", 0, "rounds (7)", 0 },
	{ "ops", 'n', "N", 0, "operations of a thread in a round, at most (100000)", 0 },
	{ "gib", 'g', "N", 0, "GiB of frames (4)", 0 },
	{ "all", 'a', NULL, 0, "all ways that the CPU has (core, none and the best)", 0 },
	{ "no-flush", 'f', NULL, 0, "only core and none", 0 },
	{ "csv", 'c', NULL, 0, "print CSV, a row for each round", 0 },
	{}
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	unsigned int w;

	switch (key) {
	case 'd':
		opt.dax = arg;
		return 0;
	case 't':
		opt.nr_threads = parse_list(state, arg, opt.threads, ARRAY_SIZE(opt.threads), 1,
					    MAX_THREADS);
		return 0;
	case 'o':
		opt.nr_orders = parse_list(state, arg, opt.orders, LLFREE_NR_ORDERS, 0,
					   LLFREE_MAX_ORDER);
		return 0;
	case 'b':
		opt.nr_batches = parse_list(state, arg, opt.batches, MAX_BATCHES, 1, MAX_BATCH);
		return 0;
	case 'r':
		parse_list(state, arg, &opt.rounds, 1, 1, MAX_ROUNDS);
		return 0;
	case 'n':
		parse_list(state, arg, &opt.ops, 1, 64, 1U << 30);
		return 0;
	case 'g':
		parse_list(state, arg, &opt.gib, 1, 1, 4096);
		return 0;
	case 'a':
		for (w = 1; w < NR_WAYS; w++)
			if (dax_flush_usable(w - 1))
				opt.ways |= BIT(w);
		return 0;
	case 'f':
		opt.ways = BIT(CORE) | BIT(1 + DAX_NONE);
		return 0;
	case 'c':
		opt.csv = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int durable_main(int argc, char **argv)
{
	static const struct argp argp = {
		.options = argp_options,
		.parser = parse,
		.doc = "Nanoseconds of CPU time per operation of a pool",
	};
	unsigned int i, j;

	opt.ways = BIT(CORE) | BIT(1 + DAX_NONE) | BIT(1 + dax_flush_best());
	argp_parse(&argp, argc, argv, 0, NULL, NULL);
	if (opt.csv)
		puts("bench,order,cpus,flush,batch,round,measure,ops,value");
	else
		printf("%5s %7s %5s  %-10s %-9s %8s %8s %8s %6s\n", "order", "threads", "batch",
		       "flush", "measure", "median", "min", "max", "ratio");
	for (i = 0; i < opt.nr_threads; i++) {
		for (j = 0; j < opt.nr_orders; j++) {
			nr_threads = opt.threads[i];
			order = opt.orders[j];
			run_order();
		}
	}
	return 0;
}
