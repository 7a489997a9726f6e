// SPDX-License-Identifier: GPL-2.0
/*
 * Nanoseconds per operation of the core, on this machine, without a kernel
 * around it. Each thread is pinned to a CPU and has a slot of its own.
 *
 *   bulk    every thread gets blocks, waits for the others, puts all in order
 *   words   the same, 64 frames (or what a row has) with each operation; per
 *           block
 *   repeat  put and get of one block; per pair
 *   floor   what the machine needs for a load and a compare-and-swap on each of
 *           three private cache lines: nothing with three levels can be faster
 */
#include <linux/align.h>
#include <linux/bitops.h>
#include <linux/kernel.h>
#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <shim/atomic.h>

#include "inst.h"

#define MAX_THREADS	256
#define MAX_ROUNDS	101
#define MAX_ORDERS	LLFREE_NR_ORDERS
/* Blocks that a thread gets in a round, if memory is large enough */
#define MAX_BLOCKS	524288UL
#define REPEATS		1000000UL

enum measure {
	FLOOR,
	BULK_GET,
	BULK_PUT,
	WORDS_GET,
	WORDS_PUT,
	REPEAT,
	NR_MEASURES,
};

static const char *const measure_names[] = {
	"floor", "bulk get", "bulk put", "words get", "words put", "repeat",
};

static struct {
	unsigned int threads[16];
	unsigned int nr_threads;
	unsigned int orders[MAX_ORDERS];
	unsigned int nr_orders;
	unsigned int rounds;
	unsigned long gib;
	bool csv;
} opt = {
	.orders = { 0, 3, 9, 10 }, .nr_orders = 4, .rounds = 7, .gib = 8,
};

/* One run: some threads, one order */
static struct inst in;
static unsigned int nr_threads, order;
static unsigned long blocks;
static pthread_barrier_t barrier;

struct worker {
	pthread_t pthread;
	unsigned int nr;
	unsigned long *frames;
	u64 *masks;
	double ns[NR_MEASURES];
};

static struct worker workers[MAX_THREADS];

/* CPU time of the thread: what else runs on the machine does not count. */
static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * 1e9 + ts.tv_nsec;
}

static void __noreturn die(const char *what)
{
	fprintf(stderr, "bench: %s\n", what);
	exit(1);
}

static void pin(unsigned int nr)
{
	unsigned int cpus = sysconf(_SC_NPROCESSORS_ONLN);
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(nr % cpus, &set);
	if (pthread_setaffinity_np(pthread_self(), sizeof(set), &set))
		die("no affinity");
}

static double run_floor(void)
{
	struct {
		u64 word;
	} __aligned(256) lines[3] = {};
	unsigned long i;
	double start = now();
	int j;

	for (i = 0; i < REPEATS; i++) {
		for (j = 0; j < 3; j++) {
			u64 old = READ_ONCE(lines[j].word);

			try_cmpxchg(&lines[j].word, &old, old + 1);
		}
	}
	return (now() - start) / REPEATS;
}

static void run_bulk(struct worker *w)
{
	struct llfree_request req = { .slot = w->nr, .order = order };
	struct llfree_delta delta = {};
	unsigned long i, n;
	double start;

	pthread_barrier_wait(&barrier);
	start = now();
	for (n = 0; n < blocks; n++) {
		long frame = llfree_get(&in.llf, &req, &delta);

		if (frame < 0)
			break;
		w->frames[n] = frame;
	}
	w->ns[BULK_GET] = (now() - start) / n;
	if (n < blocks)
		die("out of memory");

	pthread_barrier_wait(&barrier);
	start = now();
	for (i = 0; i < n; i++)
		if (llfree_put(&in.llf, w->nr, w->frames[i], order, &delta))
			die("put failed");
	w->ns[BULK_PUT] = (now() - start) / n;
}

static void run_words(struct worker *w)
{
	struct llfree_request req = { .slot = w->nr, .order = order };
	struct llfree_delta delta = {};
	unsigned long i, n = 0, words;
	double start;

	pthread_barrier_wait(&barrier);
	if (order > LLFREE_ROW_ORDER)
		return;
	start = now();
	for (words = 0; n < blocks; words++) {
		long frame = llfree_get_bulk(&in.llf, &req,
					     LLFREE_ROW_FRAMES >> order,
					     &w->masks[words], &delta);

		if (frame < 0)
			die("out of memory");
		w->frames[words] = frame;
		n += hweight64(w->masks[words]) >> order;
	}
	w->ns[WORDS_GET] = (now() - start) / n;
	start = now();
	for (i = 0; i < words; i++)
		if (llfree_put_bulk(&in.llf, w->nr, w->frames[i], w->masks[i],
				    &delta))
			die("put failed");
	w->ns[WORDS_PUT] = (now() - start) / n;
}

static void run_repeat(struct worker *w)
{
	struct llfree_request req = { .slot = w->nr, .order = order };
	struct llfree_delta delta = {};
	unsigned long i;
	double start;
	long frame;

	pthread_barrier_wait(&barrier);
	frame = llfree_get(&in.llf, &req, &delta);
	start = now();
	for (i = 0; i < REPEATS; i++) {
		if (frame < 0 || llfree_put(&in.llf, w->nr, frame, order, &delta))
			die("repeat failed");
		frame = llfree_get(&in.llf, &req, &delta);
	}
	w->ns[REPEAT] = (now() - start) / REPEATS;
	llfree_put(&in.llf, w->nr, frame, order, &delta);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;

	pin(w->nr);
	pthread_barrier_wait(&barrier);
	w->ns[FLOOR] = run_floor();
	run_bulk(w);
	run_words(w);
	run_repeat(w);
	return NULL;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* One round: all threads do all measures; the mean over threads counts. */
static void run_round(double *ns)
{
	unsigned int i, m;

	/* Room for what all threads hold at once, and as much again */
	blocks = min(MAX_BLOCKS, (opt.gib << 18 >> order) / nr_threads / 2);
	if (!blocks)
		die("not enough memory for so many threads");
	if (inst_init(&in, 0, opt.gib << 18, LLFREE_INIT_FREE, NULL, nr_threads))
		die("init failed");
	pthread_barrier_init(&barrier, NULL, nr_threads);
	for (i = 0; i < nr_threads; i++) {
		memset(&workers[i], 0, sizeof(workers[i]));
		workers[i].nr = i;
		workers[i].frames = calloc(blocks, sizeof(*workers[i].frames));
		workers[i].masks = calloc(blocks, sizeof(*workers[i].masks));
		if (!workers[i].frames || !workers[i].masks)
			die("no memory");
		/* First use of a page is not what is measured. */
		memset(workers[i].frames, 1, blocks * sizeof(*workers[i].frames));
		memset(workers[i].masks, 1, blocks * sizeof(*workers[i].masks));
	}
	for (i = 0; i < nr_threads; i++)
		if (pthread_create(&workers[i].pthread, NULL, worker_main,
				   &workers[i]))
			die("no threads");
	memset(ns, 0, NR_MEASURES * sizeof(*ns));
	for (i = 0; i < nr_threads; i++) {
		pthread_join(workers[i].pthread, NULL);
		for (m = 0; m < NR_MEASURES; m++)
			ns[m] += workers[i].ns[m] / nr_threads;
		free(workers[i].frames);
		free(workers[i].masks);
	}
	pthread_barrier_destroy(&barrier);
	/* A benchmark of something broken would be worth nothing. */
	if (llfree_validate(&in.llf, NULL) ||
	    inst_free_frames(&in) != opt.gib << 18)
		die("frames were lost");
	inst_free(&in);
}

static void run_and_print(void)
{
	static double ns[MAX_ROUNDS][NR_MEASURES];
	double sorted[MAX_ROUNDS], median;
	unsigned int r, m;

	for (r = 0; r < opt.rounds; r++)
		run_round(ns[r]);
	for (m = 0; m < NR_MEASURES; m++) {
		for (r = 0; r < opt.rounds; r++)
			sorted[r] = ns[r][m];
		qsort(sorted, opt.rounds, sizeof(*sorted), compare);
		median = sorted[opt.rounds / 2];
		if (!median)
			continue;
		printf(opt.csv ? "%u,%u,%s,%.1f,%.1f,%.1f\n" :
				 "%7u %5u  %-10s %8.1f %8.1f %8.1f\n",
		       nr_threads, order, measure_names[m], median, sorted[0],
		       sorted[opt.rounds - 1]);
	}
	fflush(stdout);
}

static const struct argp_option argp_options[] = {
	{ "threads", 't', "N,..", 0, "numbers of threads (1 to all CPUs, doubling)", 0 },
	{ "orders", 'o', "N,..", 0, "orders (0,3,9,10)", 0 },
	{ "rounds", 'r', "N", 0, "rounds, at least 5 (7)", 0 },
	{ "gib", 'g', "N", 0, "GiB of frames (8)", 0 },
	{ "csv", 'c', NULL, 0, "print CSV", 0 },
	{}
};

static unsigned int parse_list(struct argp_state *state, char *arg,
			       unsigned int *list, unsigned int size,
			       unsigned int low, unsigned int high)
{
	unsigned long n;
	unsigned int nr = 0;
	char *word, *end;

	for (word = strtok(arg, ","); word; word = strtok(NULL, ",")) {
		n = strtoul(word, &end, 0);
		if (*end || end == word || n < low || n > high || nr == size)
			argp_error(state, "at most %u numbers from %u to %u",
				   size, low, high);
		list[nr++] = n;
	}
	if (!nr)
		argp_error(state, "empty list");
	return nr;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	unsigned int n;

	switch (key) {
	case 't':
		opt.nr_threads = parse_list(state, arg, opt.threads,
					    ARRAY_SIZE(opt.threads), 1,
					    MAX_THREADS);
		return 0;
	case 'o':
		opt.nr_orders = parse_list(state, arg, opt.orders, MAX_ORDERS,
					   0, LLFREE_MAX_ORDER);
		return 0;
	case 'r':
		parse_list(state, arg, &opt.rounds, 1, 5, MAX_ROUNDS);
		return 0;
	case 'g':
		parse_list(state, arg, &n, 1, 1, 4096);
		opt.gib = n;
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

	argp_parse(&argp, argc, argv, 0, NULL, &opt);
	if (!opt.nr_threads) {
		for (i = 1; i < cpus && opt.nr_threads < ARRAY_SIZE(opt.threads) - 1;
		     i *= 2)
			opt.threads[opt.nr_threads++] = i;
		opt.threads[opt.nr_threads++] = min_t(unsigned int, cpus, MAX_THREADS);
	}
	puts(opt.csv ? "threads,order,measure,median_ns,min_ns,max_ns" :
		       "threads order  measure      median      min      max  [ns]");
	for (i = 0; i < opt.nr_threads; i++) {
		nr_threads = opt.threads[i];
		for (j = 0; j < opt.nr_orders; j++) {
			order = opt.orders[j];
			run_and_print();
		}
	}
	return 0;
}
