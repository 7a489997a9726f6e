// SPDX-License-Identifier: GPL-2.0
/*
 * Times of the slowest operations of the core, next to the usual ones, with
 * more threads than CPUs. Each thread frees a random block of its own and
 * allocates another one, again and again, and times every operation:
 *
 *   empty      each thread has a few blocks, all other memory is free
 *   full       all but 1 % is allocated in blocks of the order, and the free
 *              memory lies anywhere
 *   scattered  all but 1 % is allocated, and the rest are single free frames:
 *              there is no larger block, so an allocation of one looks
 *              everywhere
 *
 * wall is the time that passed. cpu is the part of it in which the thread ran.
 * They differ if the scheduler took the CPU away in the middle. If an operation
 * waited for a preempted thread, the wait would show in its own cpu time. For
 * comparison, "locked" is the full state again, with a spin lock around each
 * operation. The machine itself (interrupts, a hypervisor) adds to the cpu time
 * of "nothing", a compare-and-swap on each of three private cache lines.
 *
 * Built with SHIM_STEP, the program counts steps instead of time. A step is an
 * access to a shared word. The machine cannot add steps, but waiting would.
 */
#include <linux/align.h>
#include <linux/bitops.h>
#include <linux/kernel.h>
#include <argp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/rseq.h>
#include <time.h>
#include <unistd.h>

#include <shim/atomic.h>

#include "inst.h"

#define MAX_THREADS	256
/* Blocks of a thread in the empty state */
#define FEW		64UL
/* After this time, the CPU clock is compared with the wall clock again. */
#define SYNC_NS		500000

enum state {
	EMPTY,
	FULL,
	SCATTERED,
	LOCKED,
	NOTHING,
	NR_STATES,
};

static const char *const state_names[NR_STATES] = {
	"empty", "full", "scattered", "locked", "nothing",
};

enum { GET, PUT, NR_OPS };

#ifdef SHIM_STEP
enum { STEPS, NR_MEASURES };

static const char *const measure_names[NR_MEASURES] = { "steps" };

static __thread unsigned long steps;

void shim_step(const void *word)
{
	steps++;
}
#else
enum { CPU, WALL, NR_MEASURES };

static const char *const measure_names[NR_MEASURES] = { "cpu", "wall" };
#endif

static const char *const op_names[NR_OPS] = { "alloc", "free" };

static struct {
	unsigned int threads;
	unsigned int fill;
	unsigned int orders[LLFREE_NR_ORDERS];
	unsigned int nr_orders;
	unsigned int ms;
	unsigned long gib;
	bool csv;
} opt = {
	.threads = 8, .fill = 99, .orders = { 0, 3, 9 }, .nr_orders = 3,
	.ms = 1500, .gib = 4,
};

/* 16 buckets for each power of 2 */
#define SUB_BITS	4
#define NR_BUCKETS	(40U << SUB_BITS)

struct histogram {
	unsigned long count;
	unsigned long max;
	unsigned long buckets[NR_BUCKETS];
};

struct result {
	struct histogram taken[NR_OPS][NR_MEASURES];
	/* Operations during which the thread lost the CPU */
	unsigned long switched;
	unsigned long failed;
};

struct worker {
	pthread_t pthread;
	unsigned int nr;
	struct rng rng;
	unsigned long *frames;
	unsigned long nr_frames;
	struct llfree_delta delta;
	/* Both clocks, when they were last read together */
	unsigned long cpu_sync, wall_sync;
	struct result result;
};

static struct inst in;
static enum state state;
static unsigned int order;
static pthread_barrier_t barrier;
static pthread_spinlock_t lock;
static atomic_bool stop;
static struct worker workers[MAX_THREADS];

static void __noreturn die(const char *what)
{
	fprintf(stderr, "latency: %s\n", what);
	exit(1);
}

static unsigned long now(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * 1000000000UL + ts.tv_nsec;
}

static unsigned long wall_now(void)
{
	return now(CLOCK_MONOTONIC);
}

/*
 * Was the thread switched out? The thread tells the kernel that it is in a
 * restartable sequence, which has no code. When the kernel takes the CPU away,
 * it clears that note. The CPU clock costs too much to be read for each
 * operation.
 */
static const u32 abort_code[2] = { RSEQ_SIG };
static struct rseq_cs no_code = { .post_commit_offset = 1 };

static struct rseq *rseq_area(void)
{
	return (void *)((char *)__builtin_thread_pointer() + __rseq_offset);
}

static inline void watch_switches(void)
{
	WRITE_ONCE(rseq_area()->rseq_cs, (u64)(unsigned long)&no_code);
}

static inline bool was_switched(void)
{
	return !READ_ONCE(rseq_area()->rseq_cs);
}

static unsigned int bucket(unsigned long n)
{
	unsigned int log = fls64(n >> SUB_BITS);

	if (log)
		n = (n >> (log - 1)) & ((1U << SUB_BITS) - 1);
	return min_t(unsigned int, (log << SUB_BITS) + n, NR_BUCKETS - 1);
}

/* The largest number that falls into a bucket */
static unsigned long bucket_max(unsigned int nr)
{
	unsigned int log = nr >> SUB_BITS;
	unsigned long sub = nr & ((1U << SUB_BITS) - 1);

	if (!log)
		return sub;
	return (((1UL << SUB_BITS) + sub + 1) << (log - 1)) - 1;
}

static void count(struct histogram *h, unsigned long n)
{
	h->count++;
	h->max = max(h->max, n);
	h->buckets[bucket(n)]++;
}

static unsigned long percentile(const struct histogram *h, double percent)
{
	unsigned long rank = h->count * percent / 100, sum = 0;
	unsigned int i;

	for (i = 0; i < NR_BUCKETS; i++) {
		sum += h->buckets[i];
		if (sum > rank)
			return min(bucket_max(i), h->max);
	}
	return h->max;
}

static void add(struct histogram *to, const struct histogram *from)
{
	unsigned int i;

	to->count += from->count;
	to->max = max(to->max, from->max);
	for (i = 0; i < NR_BUCKETS; i++)
		to->buckets[i] += from->buckets[i];
}

#ifdef SHIM_STEP
static unsigned long begin(struct worker *w)
{
	steps = 0;
	return 0;
}

static void end(struct worker *w, unsigned int op, unsigned long start)
{
	count(&w->result.taken[op][STEPS], steps);
}
#else
/* Return: the time at which the next operation begins */
static unsigned long begin(struct worker *w)
{
	unsigned long start = wall_now();

	if (!was_switched() && start - w->wall_sync < SYNC_NS)
		return start;
	do {
		watch_switches();
		w->cpu_sync = now(CLOCK_THREAD_CPUTIME_ID);
		w->wall_sync = wall_now();
		start = wall_now();
	} while (was_switched());
	return start;
}

static void end(struct worker *w, unsigned int op, unsigned long start)
{
	unsigned long wall = wall_now() - start, cpu = wall, ran;

	if (was_switched()) {
		/*
		 * The thread ran all the time from the last comparison to the
		 * start.
		 */
		ran = now(CLOCK_THREAD_CPUTIME_ID) - w->cpu_sync;
		cpu = ran - min(ran, start - w->wall_sync);
		w->result.switched++;
	}
	count(&w->result.taken[op][CPU], cpu);
	count(&w->result.taken[op][WALL], wall);
}
#endif

static long alloc_one(struct worker *w, unsigned int o)
{
	struct llfree_request req = {
		.slot = w->nr,
		.order = o,
		.class = o < LLFREE_CHILD_ORDER ? LLFREE_CLASS_MOVABLE :
						  LLFREE_CLASS_HUGE,
	};

	return llfree_alloc(&in.llf, &req, &w->delta);
}

static void free_one(struct worker *w, unsigned long frame, unsigned int o)
{
	if (llfree_free(&in.llf, w->nr, frame, o, &w->delta))
		die("a block cannot be freed");
}

static long timed_alloc(struct worker *w)
{
	unsigned long start = begin(w);
	long frame;

	if (state == LOCKED)
		pthread_spin_lock(&lock);
	frame = alloc_one(w, order);
	if (state == LOCKED)
		pthread_spin_unlock(&lock);
	end(w, GET, start);
	return frame;
}

static void timed_free(struct worker *w, unsigned long frame)
{
	unsigned long start = begin(w);

	if (state == LOCKED)
		pthread_spin_lock(&lock);
	free_one(w, frame, order);
	if (state == LOCKED)
		pthread_spin_unlock(&lock);
	end(w, PUT, start);
}

static void timed_nothing(struct worker *w)
{
	static __thread struct {
		u64 word;
	} __aligned(256) lines[3];
	unsigned long start = begin(w);
	int i;

	for (i = 0; i < 3; i++) {
		u64 old = READ_ONCE(lines[i].word);

		try_cmpxchg(&lines[i].word, &old, old + 1);
	}
	end(w, GET, start);
}

static void turn(struct worker *w)
{
	unsigned long i;
	long frame;

	if (state == NOTHING) {
		timed_nothing(w);
		return;
	}
	i = rng_below(&w->rng, w->nr_frames);
	if (state != SCATTERED) {
		timed_free(w, w->frames[i]);
		frame = timed_alloc(w);
	} else {
		free_one(w, w->frames[i], 0);
		frame = timed_alloc(w);
		if (frame >= 0)
			timed_free(w, frame);
		else
			w->result.failed++;
		frame = alloc_one(w, 0);
	}
	/* More blocks are free than all other threads can hold at a time. */
	if (frame < 0)
		die("allocation failed, though there are free blocks");
	w->frames[i] = frame;
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

static void *worker_main(void *arg)
{
	struct worker *w = arg;

	pin(w->nr);
	pthread_barrier_wait(&barrier);
	while (!atomic_load_explicit(&stop, memory_order_relaxed))
		turn(w);
	WRITE_ONCE(rseq_area()->rseq_cs, 0);
	return NULL;
}

/* Allocate a number of blocks of order @o, and share them among all workers. */
static void fill(unsigned long blocks, unsigned int o)
{
	unsigned long i;
	long frame;

	for (i = 0; i < blocks; i++) {
		struct worker *w = &workers[i % opt.threads];

		frame = alloc_one(w, o);
		if (frame < 0)
			die("out of memory");
		w->frames[w->nr_frames++] = frame;
	}
}

/* Free random blocks until @left are left. */
static void thin(unsigned long blocks, unsigned long left, unsigned int o)
{
	for (; blocks > left; blocks--) {
		struct worker *w = &workers[blocks % opt.threads];
		unsigned long *frame;

		if (!w->nr_frames)
			die("memory is too small");
		frame = &w->frames[rng_below(&w->rng, w->nr_frames)];
		free_one(w, *frame, o);
		*frame = w->frames[--w->nr_frames];
	}
}

static void set_up(void)
{
	unsigned long frames = opt.gib << 18, blocks, left, partial;
	unsigned int o = state == SCATTERED ? 0 : order, i;

	if (inst_init(&in, 0, frames, LLFREE_INIT_FREE, NULL, opt.threads))
		die("init failed");
	blocks = frames >> o;
	/* A thread may hold one more block than it owns. */
	partial = opt.threads;
	if (state == EMPTY)
		blocks = min(FEW, blocks / 16 / opt.threads) * opt.threads;
	left = state == EMPTY ? blocks :
	       min(blocks * opt.fill / 100, blocks - partial);
	if (left < opt.threads)
		die("memory is too small");
	for (i = 0; i < opt.threads; i++) {
		struct worker *w = &workers[i];

		memset(w, 0, sizeof(*w));
		w->nr = i;
		w->rng.state = i;
		w->frames = malloc((blocks / opt.threads + 1) *
				   sizeof(*w->frames));
		if (!w->frames)
			die("no memory");
	}
	fill(blocks, o);
	thin(blocks, left, o);
}

static void tear_down(void)
{
	unsigned int o = state == SCATTERED ? 0 : order, i;
	unsigned long j;

	for (i = 0; i < opt.threads; i++) {
		for (j = 0; j < workers[i].nr_frames; j++)
			free_one(&workers[i], workers[i].frames[j], o);
		free(workers[i].frames);
	}
	/* Times of a faulty allocator mean nothing. */
	if (llfree_validate(&in.llf, NULL) ||
	    inst_free_frames(&in) != opt.gib << 18)
		die("frames were lost");
	inst_exit(&in);
}

static void run(struct result *result, enum state s, unsigned int o)
{
	unsigned int i, op, m;

	state = s;
	order = o;
	set_up();
	atomic_store(&stop, false);
	pthread_barrier_init(&barrier, NULL, opt.threads + 1);
	for (i = 0; i < opt.threads; i++)
		if (pthread_create(&workers[i].pthread, NULL, worker_main,
				   &workers[i]))
			die("no threads");
	pthread_barrier_wait(&barrier);
	usleep(opt.ms * 1000);
	atomic_store(&stop, true);

	memset(result, 0, sizeof(*result));
	for (i = 0; i < opt.threads; i++) {
		const struct result *from = &workers[i].result;

		pthread_join(workers[i].pthread, NULL);
		for (op = 0; op < NR_OPS; op++)
			for (m = 0; m < NR_MEASURES; m++)
				add(&result->taken[op][m], &from->taken[op][m]);
		result->switched += from->switched;
		result->failed += from->failed;
	}
	pthread_barrier_destroy(&barrier);
	tear_down();
}

static void print_numbers(const struct histogram *h)
{
	printf(opt.csv ? ",%lu,%lu,%lu,%lu,%lu" : "%7lu %7lu %8lu %8lu %9lu",
	       percentile(h, 50), percentile(h, 99), percentile(h, 99.9),
	       percentile(h, 99.99), h->max);
}

/* Two states side by side, or only the second one */
static void print_results(const struct result *left, const struct result *right,
			  const char *name)
{
	unsigned int op, m;

	for (op = 0; op < NR_OPS; op++) {
		if (!right->taken[op][0].count)
			continue;
		for (m = 0; m < NR_MEASURES; m++) {
			printf("%2u %-9s %-3s %-5s", order, name, op_names[op],
			       measure_names[m]);
			if (left)
				print_numbers(&left->taken[op][m]);
			else
				printf("%43s", "");
			printf(" |");
			print_numbers(&right->taken[op][m]);
			putchar('\n');
		}
	}
}

static void print_csv(const struct result *r)
{
	unsigned int op, m;

	for (op = 0; op < NR_OPS; op++) {
		for (m = 0; m < NR_MEASURES; m++) {
			if (!r->taken[op][m].count)
				continue;
			printf("%u,%s,%s,%s,%lu,%lu", order, state_names[state],
			       op_names[op], measure_names[m],
			       r->taken[op][m].count, r->switched);
			print_numbers(&r->taken[op][m]);
			putchar('\n');
		}
	}
}

/* Operations of the core without a lock */
static unsigned long switched, operations;

static void run_one(struct result *r, enum state s, unsigned int o)
{
	run(r, s, o);
	if (s != LOCKED && s != NOTHING) {
		switched += r->switched;
		operations += r->taken[GET][0].count + r->taken[PUT][0].count;
	}
	if (opt.csv)
		print_csv(r);
	fflush(stdout);
}

static void run_all(void)
{
	static struct result left, right;
	unsigned int i;

	if (NR_MEASURES > 1) {
		run_one(&right, NOTHING, 0);
		if (!opt.csv)
			print_results(NULL, &right, "nothing");
	}
	for (i = 0; i < opt.nr_orders; i++) {
		run_one(&left, EMPTY, opt.orders[i]);
		run_one(&right, FULL, opt.orders[i]);
		if (!opt.csv)
			print_results(&left, &right, "");
	}
	for (i = 0; i < opt.nr_orders; i++) {
		/* Smaller blocks may well be left. */
		if (opt.orders[i] < 3)
			continue;
		run_one(&right, SCATTERED, opt.orders[i]);
		if (!opt.csv)
			print_results(NULL, &right, "scattered");
	}
	if (NR_MEASURES > 1) {
		run_one(&right, LOCKED, opt.orders[0]);
		if (!opt.csv)
			print_results(NULL, &right, "locked");
	}
}

static unsigned long timer_cost(void)
{
	static struct histogram h;
	unsigned long start;
	int i;

	for (i = 0; i < 100000; i++) {
		start = wall_now();
		count(&h, wall_now() - start);
	}
	return percentile(&h, 50);
}

/*
 * Time that a hypervisor has taken from all CPUs; it counts as time of threads.
 */
static unsigned long stolen_ms(void)
{
	unsigned long ticks = 0;
	FILE *f = fopen("/proc/stat", "r");

	if (f) {
		if (fscanf(f, "cpu %*u %*u %*u %*u %*u %*u %*u %lu", &ticks) != 1)
			ticks = 0;
		fclose(f);
	}
	return ticks * 1000 / sysconf(_SC_CLK_TCK);
}

static void print_header(void)
{
	char line[64];
	int i;

	if (opt.csv) {
		puts("order,state,op,measure,count,switched,p50,p99,p99.9,p99.99,max");
		return;
	}
	printf("%u threads on %ld CPUs, %lu GiB", opt.threads,
	       sysconf(_SC_NPROCESSORS_ONLN), opt.gib);
	if (NR_MEASURES > 1)
		printf("; ns, of which the timer needs %lu", timer_cost());
	printf("\n%22s%-43s |  %u %% full\n", "", "  empty", opt.fill);
	snprintf(line, sizeof(line), "%7s%8s%9s%9s%10s", "p50", "p99", "p99.9",
		 "p99.99", "max");
	printf("order        op       ");
	for (i = 0; i < 2; i++)
		printf("%s%s", line, i ? "\n" : " |");
}

static const struct argp_option argp_options[] = {
	{ "threads", 't', "N", 0, "threads (8)", 0 },
	{ "fill", 'f', "PERCENT", 0, "how full is full (99)", 0 },
	{ "order", 'o', "N,..", 0, "orders (0,3,9)", 0 },
	{ "seconds", 's', "N", 0, "seconds for each state and order (1.5)", 0 },
	{ "gib", 'g', "N", 0, "GiB of frames (4)", 0 },
	{ "csv", 'c', NULL, 0, "print CSV", 0 },
	{}
};

static double parse_number(struct argp_state *as, const char *arg, double low,
			   double high)
{
	char *end;
	double n = strtod(arg, &end);

	if (end == arg || *end || !(n >= low && n <= high))
		argp_error(as, "not a number from %g to %g: %s", low, high, arg);
	return n;
}

static error_t parse(int key, char *arg, struct argp_state *as)
{
	char *word;

	switch (key) {
	case 't':
		opt.threads = parse_number(as, arg, 1, MAX_THREADS);
		return 0;
	case 'f':
		opt.fill = parse_number(as, arg, 1, 99);
		return 0;
	case 'o':
		opt.nr_orders = 0;
		for (word = strtok(arg, ","); word; word = strtok(NULL, ",")) {
			if (opt.nr_orders == LLFREE_NR_ORDERS)
				argp_error(as, "too many orders");
			opt.orders[opt.nr_orders++] =
				parse_number(as, word, 0, LLFREE_MAX_ORDER);
		}
		if (!opt.nr_orders)
			argp_error(as, "no order");
		return 0;
	case 's':
		opt.ms = parse_number(as, arg, 0.001, 3600) * 1000;
		return 0;
	case 'g':
		opt.gib = parse_number(as, arg, 1, 1024);
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
		.doc = "Nanoseconds that the slowest operations of the core take",
	};

	unsigned long stolen;

	argp_parse(&argp, argc, argv, 0, NULL, &opt);
	/* With a C library before 2.35, or a kernel before 4.18 */
	if (!__rseq_size)
		die("no restartable sequences: cannot tell who was switched out");
	no_code.abort_ip = (unsigned long)&abort_code[1];
	no_code.start_ip = no_code.abort_ip + sizeof(*abort_code);
	pthread_spin_init(&lock, PTHREAD_PROCESS_PRIVATE);

	stolen = stolen_ms();
	print_header();
	run_all();
	if (!opt.csv && NR_MEASURES > 1)
		printf("%lu operations, %lu lost the CPU in the middle; a hypervisor took %lu ms\n",
		       operations, switched, stolen_ms() - stolen);
	return 0;
}
