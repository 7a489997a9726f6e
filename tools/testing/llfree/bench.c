// SPDX-License-Identifier: GPL-2.0
/*
 * Nanoseconds per operation of the core, on this machine, without a kernel
 * around it. Each thread is pinned to a CPU and has a slot of its own.
 *
 *   prim    time of the machine for a load and a compare-and-swap on one
 *           private cache line (cas), on each of three (floor), and on one that
 *           all threads share (shared). With three levels no operation can be
 *           faster than the floor, so all results are also given in multiples
 *           of it.
 *   bulk    each thread allocates blocks, waits for the others, and frees all
 *           of its blocks in order
 *   words   bulk with up to 64 frames (a row) with each allocation, and all of
 *           its frames of a row with each free; per block
 *   repeat  allocation and free of one block
 *   rand    each thread allocates blocks; the blocks are shuffled across all
 *           threads and freed, so most frees are of blocks of other threads
 *   remote  one thread frees the blocks of all threads; two of them if there
 *           are more than four
 *   exit    each thread frees its blocks in random order, all threads at once
 *   mixed   random allocations and frees, with the orders that a kernel asks
 *           for
 *   fill    allocations and frees while part of the memory is in use, scattered
 *
 * The CSV has a row for each round, in the form of the kernel's benchmark
 * module.
 */
#include <linux/align.h>
#include <linux/bitops.h>
#include <linux/kernel.h>
#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <shim/atomic.h>

#include "dax.h"
#include "inst.h"
#include "measure.h"

#define MAX_THREADS	256
#define MAX_ROUNDS	101
#define MAX_ORDERS	LLFREE_NR_ORDERS
/*
 * Blocks that fill allocates and frees at a time, and most blocks that mixed
 * holds
 */
#define BATCH		256U
#define MIXED_HELD	1024U

enum measure {
	CAS,
	FLOOR,
	SHARED,
	ALLOC,
	FREE,
	PAIR,
	NR_MEASURES,
};

static const char *const measure_names[] = {
	"cas_ns", "floor_ns", "shared_ns", "alloc_ns", "free_ns", "pair_ns",
};

static struct {
	unsigned int threads[16];
	unsigned int nr_threads;
	unsigned int orders[MAX_ORDERS];
	unsigned int nr_orders;
	unsigned int levels[16];
	unsigned int nr_levels;
	unsigned int benches;
	unsigned int rounds;
	unsigned int class;
	unsigned int ops;
	unsigned long gib;
	const char *dax;
	bool csv;
} opt = {
	.orders = { 0, 3, 9, 10 }, .nr_orders = 4,
	.levels = { 0, 50, 90, 99 }, .nr_levels = 4,
	.rounds = 7, .ops = 500000, .gib = 8, .class = LLFREE_CLASS_MOVABLE,
};

struct worker {
	pthread_t pthread;
	unsigned int nr;
	/* Blocks of the worker, and for words the bits of each */
	unsigned long *frames;
	u64 *masks;
	unsigned long n;
	struct rng rng;
	struct llfree_delta delta;
	double ns[NR_MEASURES];
	unsigned long ops[NR_MEASURES];
};

/* One round: a benchmark with a number of threads, one order and one level */
static struct inst in;
static unsigned int nr_threads, order, level;
static unsigned long blocks;
static pthread_barrier_t barrier;
static struct worker workers[MAX_THREADS];
static struct {
	u64 word;
} __aligned(256) shared_line;

static void __noreturn die(const char *what)
{
	fprintf(stderr, "bench: %s\n", what);
	exit(1);
}

static void meet(void)
{
	pthread_barrier_wait(&barrier);
}

static void count(struct worker *w, enum measure m, double start,
		  unsigned long ops)
{
	w->ns[m] += cpu_ns() - start;
	w->ops[m] += ops;
}

static long alloc_one(struct worker *w, unsigned int o)
{
	struct llfree_request req = { .slot = w->nr, .order = o, .class = opt.class };

	return llfree_alloc(&in.llf, &req, &w->delta);
}

static void free_one(struct worker *w, unsigned long frame, unsigned int o)
{
	if (llfree_free(&in.llf, w->nr, frame, o, &w->delta))
		die("a free was refused");
}

static void run_prim(struct worker *w)
{
	struct {
		u64 word;
	} __aligned(256) lines[3] = {};
	unsigned int i, j, m;
	double start;
	u64 old;

	for (m = CAS; m <= FLOOR; m++) {
		start = cpu_ns();
		for (i = 0; i < opt.ops; i++) {
			for (j = 0; j < (m == CAS ? 1 : 3); j++) {
				old = READ_ONCE(lines[j].word);
				try_cmpxchg(&lines[j].word, &old, old + 1);
			}
		}
		count(w, m, start, opt.ops);
	}
	meet();
	start = cpu_ns();
	for (i = 0; i < opt.ops / 10; i++) {
		old = READ_ONCE(shared_line.word);
		while (!try_cmpxchg(&shared_line.word, &old, old + 1))
			;
	}
	count(w, SHARED, start, opt.ops / 10);
}

static void alloc_blocks(struct worker *w)
{
	double start;
	long frame;

	meet();
	start = cpu_ns();
	for (w->n = 0; w->n < blocks; w->n++) {
		frame = alloc_one(w, order);
		if (frame < 0)
			die("out of memory");
		w->frames[w->n] = frame;
	}
	count(w, ALLOC, start, w->n);
	meet();
}

static void free_blocks(struct worker *w, unsigned long n)
{
	double start = cpu_ns();
	unsigned long i;

	for (i = 0; i < n; i++)
		free_one(w, w->frames[i], order);
	count(w, FREE, start, n);
}

static void run_bulk(struct worker *w)
{
	alloc_blocks(w);
	free_blocks(w, w->n);
}

static void run_words(struct worker *w)
{
	struct llfree_request req = { .slot = w->nr, .order = order, .class = opt.class };
	unsigned long i, n = 0, words = 0;
	u64 masks[LLFREE_CHILD_ROWS];
	double start;
	long frame;

	meet();
	start = cpu_ns();
	while (n < blocks) {
		frame = llfree_alloc_batch(&in.llf, &req, LLFREE_ROW_FRAMES >> order,
					   masks, &w->delta);
		if (frame < 0)
			die("out of memory");
		for (i = 0; i < LLFREE_CHILD_ROWS; i++, frame += LLFREE_ROW_FRAMES) {
			if (!masks[i])
				continue;
			w->frames[words] = frame;
			w->masks[words++] = masks[i];
			n += hweight64(masks[i]) >> order;
		}
	}
	count(w, ALLOC, start, n);
	meet();
	start = cpu_ns();
	for (i = 0; i < words; i++)
		if (llfree_free_batch(&in.llf, w->nr, w->frames[i], w->masks[i],
				      &w->delta))
			die("a free was refused");
	count(w, FREE, start, n);
}

static void run_repeat(struct worker *w)
{
	unsigned int i;
	double start;
	long frame;

	meet();
	frame = alloc_one(w, order);
	start = cpu_ns();
	for (i = 0; i < opt.ops; i++) {
		if (frame < 0)
			die("out of memory");
		free_one(w, frame, order);
		frame = alloc_one(w, order);
	}
	count(w, PAIR, start, opt.ops);
	free_one(w, frame, order);
}

static void swap_frames(unsigned long *a, unsigned long *b)
{
	unsigned long c = *a;

	*a = *b;
	*b = c;
}

static void run_rand(struct worker *w)
{
	unsigned long i, j;

	alloc_blocks(w);
	if (!w->nr) {
		for (i = blocks * nr_threads; i-- > 1; ) {
			j = rng_below(&w->rng, i + 1);
			swap_frames(&workers[i % nr_threads].frames[i / nr_threads],
				    &workers[j % nr_threads].frames[j / nr_threads]);
		}
	}
	meet();
	free_blocks(w, w->n);
}

static void run_remote(struct worker *w)
{
	unsigned int i, freeing = nr_threads > 4 ? 2 : 1;
	unsigned long j;
	double start;

	alloc_blocks(w);
	if (w->nr >= freeing)
		return;
	start = cpu_ns();
	for (i = w->nr; i < nr_threads; i += freeing)
		for (j = 0; j < blocks; j++)
			free_one(w, workers[i].frames[j], order);
	count(w, FREE, start, blocks * DIV_ROUND_UP(nr_threads - w->nr, freeing));
}

static void run_exit(struct worker *w)
{
	unsigned long i;

	alloc_blocks(w);
	for (i = w->n; i-- > 1; )
		swap_frames(&w->frames[i], &w->frames[rng_below(&w->rng, i + 1)]);
	meet();
	free_blocks(w, w->n);
}

/* Mostly single pages, then slabs, stacks and buffers, some huge pages */
static unsigned int mixed_order(struct rng *rng)
{
	static const struct {
		unsigned int order, percent;
	} share[] = {
		{ 0, 80 }, { 1, 5 }, { 2, 5 }, { 3, 6 }, { 4, 1 }, { 5, 1 },
		{ 9, 2 },
	};
	unsigned int i, n = rng_below(rng, 100);

	for (i = 0; n >= share[i].percent; i++)
		n -= share[i].percent;
	return share[i].order;
}

static void run_mixed(struct worker *w)
{
	unsigned int i, held = min_t(unsigned long, MIXED_HELD, blocks);
	u64 *sizes = w->masks;
	unsigned long at;
	double start;
	long frame;

	memset(sizes, 0xff, held * sizeof(*sizes));
	meet();
	start = cpu_ns();
	for (i = 0; i < opt.ops; i++) {
		at = rng_below(&w->rng, held);
		if (~sizes[at]) {
			free_one(w, w->frames[at], sizes[at]);
			sizes[at] = ~0ULL;
			continue;
		}
		sizes[at] = mixed_order(&w->rng);
		frame = alloc_one(w, sizes[at]);
		if (frame < 0)
			die("out of memory");
		w->frames[at] = frame;
	}
	/* An allocation and a free are two operations. */
	count(w, PAIR, start, opt.ops / 2);
	for (at = 0; at < held; at++)
		if (~sizes[at])
			free_one(w, w->frames[at], sizes[at]);
}

static void run_fill(struct worker *w)
{
	unsigned long keep, at, i, done;
	double start;
	long frame;

	for (w->n = 0; w->n < blocks; w->n++) {
		frame = alloc_one(w, order);
		if (frame < 0)
			break;
		w->frames[w->n] = frame;
	}
	meet();
	/* Keep random blocks, so that the free memory lies anywhere. */
	keep = w->n * level / 100;
	for (i = w->n; i > keep; i--) {
		at = rng_below(&w->rng, i);
		free_one(w, w->frames[at], order);
		w->frames[at] = w->frames[i - 1];
	}
	for (done = 0; done < opt.ops; done += BATCH) {
		meet();
		start = cpu_ns();
		for (i = 0; i < BATCH && keep + i < w->n; i++) {
			frame = alloc_one(w, order);
			if (frame < 0)
				break;
			w->frames[keep + i] = frame;
		}
		count(w, ALLOC, start, i);
		if (!i)
			die("out of memory");
		start = cpu_ns();
		for (at = keep; at < keep + i; at++)
			free_one(w, w->frames[at], order);
		count(w, FREE, start, i);
	}
	for (i = 0; i < keep; i++)
		free_one(w, w->frames[i], order);
}

static const struct bench {
	const char *name;
	void (*run)(struct worker *w);
	/* Largest share of the memory that it allocates, in percent */
	unsigned int memory;
	unsigned int max_order;
	bool levels;
	/* Does not depend on orders */
	bool once;
} benches[] = {
	{ "prim", run_prim, 50, LLFREE_MAX_ORDER, .once = true },
	{ "bulk", run_bulk, 50, LLFREE_MAX_ORDER },
	{ "words", run_words, 50, LLFREE_ROW_ORDER },
	{ "repeat", run_repeat, 50, LLFREE_MAX_ORDER },
	{ "rand", run_rand, 50, LLFREE_MAX_ORDER },
	{ "remote", run_remote, 50, LLFREE_MAX_ORDER },
	{ "exit", run_exit, 50, LLFREE_MAX_ORDER },
	{ "mixed", run_mixed, 50, LLFREE_MAX_ORDER, .once = true },
	{ "fill", run_fill, 100, LLFREE_MAX_ORDER, .levels = true },
};

static const struct bench *bench;

static void *worker_main(void *arg)
{
	struct worker *w = arg;

	if (!pin(w->nr))
		die("no affinity");
	meet();
	bench->run(w);
	return NULL;
}

/* Sums over threads, of nanoseconds and of operations */
static void run_round(double *ns, unsigned long *ops, unsigned int round)
{
	unsigned long room = opt.gib << 18 >> order;
	unsigned int i, m;

	blocks = room * bench->memory / 100 / nr_threads;
	if (bench->memory < 100)
		blocks = min(blocks, opt.ops);
	if (!blocks)
		die("not enough memory for so many threads");
	if (inst_init(&in, 0, opt.gib << 18, LLFREE_INIT_FREE, NULL, nr_threads))
		die("init failed");
	pthread_barrier_init(&barrier, NULL, nr_threads);
	for (i = 0; i < nr_threads; i++) {
		struct worker *w = &workers[i];

		memset(w, 0, sizeof(*w));
		w->nr = i;
		w->rng.state = round * MAX_THREADS + i;
		w->frames = calloc(blocks + LLFREE_ROW_FRAMES, sizeof(*w->frames));
		w->masks = calloc(blocks + LLFREE_ROW_FRAMES, sizeof(*w->masks));
		if (!w->frames || !w->masks)
			die("no memory");
		/* The first use of a page must not count. */
		memset(w->frames, 1, blocks * sizeof(*w->frames));
		memset(w->masks, 1, blocks * sizeof(*w->masks));
	}
	for (i = 0; i < nr_threads; i++)
		if (pthread_create(&workers[i].pthread, NULL, worker_main,
				   &workers[i]))
			die("no threads");
	memset(ns, 0, NR_MEASURES * sizeof(*ns));
	memset(ops, 0, NR_MEASURES * sizeof(*ops));
	for (i = 0; i < nr_threads; i++)
		pthread_join(workers[i].pthread, NULL);
	for (i = 0; i < nr_threads; i++) {
		for (m = 0; m < NR_MEASURES; m++) {
			ns[m] += workers[i].ns[m];
			ops[m] += workers[i].ops[m];
		}
		free(workers[i].frames);
		free(workers[i].masks);
	}
	pthread_barrier_destroy(&barrier);
	/* A benchmark of a faulty allocator measures nothing. */
	if (llfree_validate(&in.llf, NULL) ||
	    inst_free_frames(&in) != opt.gib << 18)
		die("frames were lost");
	inst_exit(&in);
}

static void run_and_print(void)
{
	static double ns[MAX_ROUNDS][NR_MEASURES];
	static unsigned long ops[MAX_ROUNDS][NR_MEASURES];
	static double floor_ns;
	double sorted[MAX_ROUNDS], middle;
	unsigned int r, m;

	for (r = 0; r < opt.rounds; r++)
		run_round(ns[r], ops[r], r);
	for (m = 0; m < NR_MEASURES; m++) {
		for (r = 0; r < opt.rounds; r++) {
			if (!ops[r][m])
				break;
			sorted[r] = ns[r][m] / ops[r][m];
			if (opt.csv)
				printf("%s,%u,%u,%s,%u,%u,%s,%lu,%.2f\n",
				       bench->name, order, nr_threads,
				       bench->run == run_words ? "bulk" : "single",
				       level, r, measure_names[m], ops[r][m],
				       sorted[r]);
		}
		if (r < opt.rounds || opt.csv)
			continue;
		middle = median(sorted, opt.rounds);
		if (m == FLOOR)
			floor_ns = middle;
		printf("%-7s %5u %7u %5u %% %-9s %8.1f %8.1f %8.1f", bench->name,
		       order, nr_threads, level, measure_names[m], middle,
		       sorted[0], sorted[opt.rounds - 1]);
		if (floor_ns)
			printf(" %6.2f f", middle / floor_ns);
		puts("");
	}
	fflush(stdout);
}

static void run_bench(void)
{
	unsigned int i, j;

	for (i = 0; i < (bench->once ? 1 : opt.nr_orders); i++) {
		order = bench->once ? 0 : opt.orders[i];
		if (order > bench->max_order)
			continue;
		for (j = 0; j < (bench->levels ? opt.nr_levels : 1); j++) {
			level = bench->levels ? opt.levels[j] : 0;
			run_and_print();
		}
	}
}

/* As published: the lower level is in the file, and no line is written back. */
static void place(void)
{
	static struct dax dax;
	struct llfree_memory mem;

	if (llfree_layout(0, opt.gib << 18, inst_tree_order, &mem))
		die("no layout");
	dax_open(&dax, opt.dax, mem.rows_size + mem.children_size, DAX_NONE);
	dax_note(&dax, opt.dax);
	inst_area = dax.m.base;
}

static const struct argp_option argp_options[] = {
	{ "bench", 'b', "NAME,..", 0,
	  "prim,bulk,words,repeat,rand,remote,exit,mixed,fill (all)", 0 },
	{ "threads", 't', "N,..", 0, "numbers of threads (1 to all CPUs, doubling)", 0 },
	{ "orders", 'o', "N,..", 0, "orders (0,3,9,10)", 0 },
	{ "levels", 'l', "N,..", 0, "percent of memory in use for fill (0,50,90,99)", 0 },
	{ "rounds", 'r', "N", 0, "rounds (7); 5 or more to say anything", 0 },
	{ "ops", 'n', "N", 0, "operations of a thread in a round, at most (500000)", 0 },
	{ "gib", 'g', "N", 0, "GiB of frames (8)", 0 },
	{ "class", 'k', "N", 0, "class: 0 unmovable, 1 movable, 2 reclaimable (1)", 0 },
	{ "dax", 'd', "FILE", 0,
	  "keep rows and children in FILE, in place, as persistent memory would", 0 },
	{ "csv", 'c', NULL, 0, "print CSV, a row for each round", 0 },
	{}
};

static void parse_benches(struct argp_state *state, char *arg)
{
	unsigned int i;
	char *word;

	opt.benches = 0;
	for (word = strtok(arg, ","); word; word = strtok(NULL, ",")) {
		for (i = 0; i < ARRAY_SIZE(benches); i++)
			if (!strcmp(word, benches[i].name))
				break;
		if (i == ARRAY_SIZE(benches))
			argp_error(state, "no bench is called %s", word);
		opt.benches |= BIT(i);
	}
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	unsigned int n;

	switch (key) {
	case 'b':
		parse_benches(state, arg);
		return 0;
	case 't':
		opt.nr_threads = parse_list(state, arg, opt.threads,
					    ARRAY_SIZE(opt.threads), 1,
					    MAX_THREADS);
		return 0;
	case 'o':
		opt.nr_orders = parse_list(state, arg, opt.orders, MAX_ORDERS,
					   0, LLFREE_MAX_ORDER);
		return 0;
	case 'l':
		opt.nr_levels = parse_list(state, arg, opt.levels,
					   ARRAY_SIZE(opt.levels), 0, 99);
		return 0;
	case 'r':
		parse_list(state, arg, &opt.rounds, 1, 1, MAX_ROUNDS);
		return 0;
	case 'n':
		parse_list(state, arg, &opt.ops, 1, 64, 1U << 30);
		return 0;
	case 'g':
		parse_list(state, arg, &n, 1, 1, 4096);
		opt.gib = n;
		return 0;
	case 'k':
		parse_list(state, arg, &opt.class, 1, 0, LLFREE_NR_CLASSES - 1);
		return 0;
	case 'd':
		opt.dax = arg;
		return 0;
	case 'c':
		opt.csv = true;
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
		.doc = "Nanoseconds of CPU time per operation of the core",
	};
	unsigned int cpus = sysconf(_SC_NPROCESSORS_ONLN), i, j;

	opt.benches = BIT(ARRAY_SIZE(benches)) - 1;
	argp_parse(&argp, argc, argv, 0, NULL, &opt);
	if (!opt.nr_threads) {
		for (i = 1; i < cpus && opt.nr_threads < ARRAY_SIZE(opt.threads) - 1;
		     i *= 2)
			opt.threads[opt.nr_threads++] = i;
		opt.threads[opt.nr_threads++] = min_t(unsigned int, cpus, MAX_THREADS);
	}
	if (opt.dax)
		place();
	if (opt.csv)
		puts("bench,order,cpus,api,level,round,measure,ops,value");
	else
		printf("%-7s %5s %7s %7s %-9s %8s %8s %8s %8s\n", "bench", "order",
		       "threads", "in use", "measure", "median", "min", "max",
		       "floors");
	for (i = 0; i < opt.nr_threads; i++) {
		nr_threads = opt.threads[i];
		for (j = 0; j < ARRAY_SIZE(benches); j++) {
			bench = &benches[j];
			if (opt.benches & BIT(j))
				run_bench();
		}
	}
	return 0;
}
