// SPDX-License-Identifier: GPL-2.0
/*
 * Crash test of a pool. A process allocates, commits, publishes and frees
 * blocks with several threads, and is killed at a random moment. Then the pool
 * is attached again:
 *
 *   - each published block is allocated, has the content that its owner wrote
 *     to it, and shares no frame with another one;
 *   - the allocated frames that are not published are no more than those of
 *     operations under way;
 *   - a sweep frees these; and after all blocks are freed, all frames are free.
 *
 * A block is published by a pointer in the table of its thread. The table is a
 * frame of the pool, to which a root leads. The next process continues with the
 * blocks of the pool, unless all were freed. Some processes detach the pool:
 * then there are no leaks.
 */
#include <linux/kernel.h>
#include <linux/minmax.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <shim/atomic.h>

#include "measure.h"
#include "persist.h"

#define MAX_THREADS	LLFREE_POOL_NR_ROOTS
#define ENTRIES		(4096 / sizeof(u64))
/* A pointer: the first frame of a block and its order */
#define ORDER_BITS	4
/* Longest life of a process */
#define LIFE_US		20000

static struct {
	const char *dax;
	unsigned int threads;
	int order;
	unsigned int rounds;
	unsigned int mib;
	u64 seed;
	bool csv;
} opt = { .threads = 4, .order = -1, .rounds = 100, .mib = 256 };

/* Results of an examination of the pool after a crash */
struct found {
	unsigned long published;
	unsigned long leaked;
	unsigned long ops;
	bool exited;
	bool clean;
	double attach_wall;
	double attach_cpu;
};

/* Memory that is shared with the process to be killed */
struct life {
	bool stop;
	unsigned long ops[MAX_THREADS];
	char why[128];
};

static struct life *life;

static void persist_write(struct persist *p, u64 *word, u64 value)
{
	WRITE_ONCE(*word, value);
	p->dax.m.write_back(&p->dax.m, word, sizeof(*word));
}

static u64 *frame_at(struct persist *p, unsigned long frame)
{
	return p->dax.m.base + (frame << LLFREE_POOL_FRAME_SHIFT);
}

/*
 * Distance of the frames of a block that the owner writes to: eight frames at
 * most
 */
static unsigned long frame_step(unsigned int order)
{
	return 1UL << (order > 3 ? order - 3 : 0);
}

/* The word that the owner of an entry writes to a frame of its block */
static u64 content(unsigned int thread, unsigned int entry, unsigned long frame)
{
	return (u64)(thread + 1) << 56 | (u64)entry << 40 | frame;
}

/* ---- The process to be killed ---- */

struct worker {
	pthread_t pthread;
	struct persist *p;
	unsigned int nr;
	int order;
	struct rng rng;
};

static void __noreturn wrong(const char *what, long ret)
{
	snprintf(life->why, sizeof(life->why), "%s: %ld", what, ret);
	_exit(1);
}

static u64 *worker_table(struct worker *w)
{
	struct llfree_pool *pool = &w->p->pool;
	u64 frame = llfree_pool_root(pool, w->nr), none = 0;
	u64 *table;

	if (frame)
		return frame_at(w->p, frame);
	frame = llfree_pool_alloc(pool, 0);
	if ((long)frame < 0)
		wrong("no frame for a table", frame);
	table = frame_at(w->p, frame);
	memset(table, 0, ENTRIES * sizeof(*table));
	w->p->dax.m.write_back(&w->p->dax.m, table, ENTRIES * sizeof(*table));
	if (llfree_pool_commit(pool, frame, 0))
		wrong("a table is not committed", frame);
	/*
	 * This call waits for the table and for the commit before it changes
	 * the root.
	 */
	if (llfree_pool_root_cas(pool, w->nr, &none, frame))
		wrong("a root was changed", none);
	return table;
}

static bool publish(struct worker *w, u64 *table, unsigned int entry)
{
	const unsigned int order = w->order < 0 ? rng_below(&w->rng, LLFREE_NR_ORDERS) : w->order;
	long frame = llfree_pool_alloc(&w->p->pool, order), at;
	int ret;

	if (frame == -ENOMEM)
		return false;
	if (frame < 0)
		wrong("alloc", frame);
	for (at = frame; at < frame + (1L << order); at += frame_step(order))
		persist_write(w->p, frame_at(w->p, at), content(w->nr, entry, at));
	ret = llfree_pool_commit(&w->p->pool, frame, order);
	if (ret)
		wrong("commit", ret);
	llfree_pool_sync(&w->p->pool);
	persist_write(w->p, &table[entry], frame << ORDER_BITS | order);
	return true;
}

static void withdraw(struct persist *p, u64 *entry)
{
	const u64 pointer = *entry;
	int ret;

	persist_write(p, entry, 0);
	ret = llfree_pool_free(&p->pool, pointer >> ORDER_BITS, pointer & (BIT(ORDER_BITS) - 1));
	if (ret)
		wrong("free", ret);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	u64 *table = worker_table(w);
	unsigned int entry;

	while (!READ_ONCE(life->stop)) {
		entry = rng_below(&w->rng, ENTRIES);
		if (table[entry] || !publish(w, table, entry)) {
			for (; !table[entry] && entry < ENTRIES - 1; entry++)
				;
			if (table[entry])
				withdraw(w->p, &table[entry]);
		}
		WRITE_ONCE(life->ops[w->nr], life->ops[w->nr] + 1);
	}
	return NULL;
}

static void __noreturn live(struct persist *p, unsigned int threads, int order, u64 seed)
{
	static struct worker workers[MAX_THREADS];
	unsigned int i;
	int ret;

	dax_remap(&p->dax);
	ret = persist_attach(p);
	if (ret)
		wrong("attach", ret);
	for (i = 0; i < threads; i++) {
		workers[i] = (struct worker){
			.p = p, .nr = i, .order = order, .rng.state = seed + i,
		};
		if (pthread_create(&workers[i].pthread, NULL, worker_main, &workers[i]))
			wrong("no threads", errno);
	}
	for (i = 0; i < threads; i++)
		pthread_join(workers[i].pthread, NULL);
	llfree_pool_detach(&p->pool);
	_exit(0);
}

/* ---- The pool afterwards ---- */

static bool frame_allocated(struct persist *p, unsigned long frame)
{
	return !(llfree_row_mask(&p->pool.core, frame) & BIT_ULL(frame % LLFREE_ROW_FRAMES));
}

/* Mark the frames of a block as live. */
static const char *mark(struct persist *p, u64 *live, unsigned long frame, unsigned int order,
			struct found *found)
{
	unsigned long at, end = frame + (1UL << order);
	u64 *row;

	if (frame < p->pool.first || end > p->pool.frames || order > LLFREE_MAX_ORDER)
		return "a pointer leads out of the pool";
	for (at = frame; at < end; at++) {
		row = &live[(at - p->pool.first) / LLFREE_ROW_FRAMES];
		if (!frame_allocated(p, at))
			return "a published frame is free";
		if (*row & BIT_ULL(at % LLFREE_ROW_FRAMES))
			return "a frame was handed out twice";
		*row |= BIT_ULL(at % LLFREE_ROW_FRAMES);
		found->published++;
	}
	return NULL;
}

static const char *mark_table(struct persist *p, u64 *live, unsigned int thread,
			      struct found *found)
{
	const u64 root = llfree_pool_root(&p->pool, thread);
	unsigned long frame, at, end;
	unsigned int i, order;
	const char *why;
	u64 *table;

	if (!root)
		return NULL;
	why = mark(p, live, root, 0, found);
	table = frame_at(p, root);
	for (i = 0; i < ENTRIES && !why; i++) {
		if (!table[i])
			continue;
		frame = table[i] >> ORDER_BITS;
		order = table[i] & (BIT(ORDER_BITS) - 1);
		end = frame + (1UL << order);
		why = mark(p, live, frame, order, found);
		for (at = frame; at < end && !why; at += frame_step(order))
			if (*frame_at(p, at) != content(thread, i, at))
				why = "a published frame has other content";
	}
	return why;
}

static const char *free_all(struct persist *p, unsigned int threads)
{
	unsigned int i, entry;
	u64 root, *table;

	for (i = 0; i < threads; i++) {
		root = llfree_pool_root(&p->pool, i);
		if (!root)
			continue;
		table = frame_at(p, root);
		for (entry = 0; entry < ENTRIES; entry++)
			if (table[entry])
				withdraw(p, &table[entry]);
		if (llfree_pool_root_cas(&p->pool, i, &root, 0) ||
		    llfree_pool_free(&p->pool, root, 0))
			return "a table cannot be freed";
	}
	llfree_pool_sync(&p->pool);
	if (persist_free_frames(p) != p->pool.frames - p->pool.first)
		return "frames are missing after all were freed";
	return NULL;
}

static const char *examine(struct persist *p, unsigned int threads, int order, bool free_it,
			   struct found *found)
{
	const unsigned int largest = order < 0 ? LLFREE_MAX_ORDER : order;
	struct llfree_pool_swept swept = { };
	const double wall = wall_ns(), cpu = cpu_ns();
	unsigned long nr, allocated;
	const char *why = NULL;
	unsigned int i;
	u64 *live;

	dax_remap(&p->dax);
	if (persist_attach(p))
		return "not attached";
	found->attach_wall = wall_ns() - wall;
	found->attach_cpu = cpu_ns() - cpu;
	nr = p->pool.frames - p->pool.first;
	if (llfree_validate(&p->pool.core, NULL))
		return "invariants do not hold";
	if ((found->exited && p->pool.was_dirty) || p->pool.rows_damaged)
		return "not the state in which it was left";
	/* A process may also be killed after the detach. */
	found->clean = !p->pool.was_dirty;
	live = calloc(DIV_ROUND_UP(nr, LLFREE_ROW_FRAMES), sizeof(*live));
	if (!live)
		die("no memory");
	for (i = 0; i < threads && !why; i++)
		why = mark_table(p, live, i, found);
	if (!why) {
		allocated = nr - persist_free_frames(p);
		found->leaked = allocated - found->published;
		if (found->leaked > (found->clean ? 0 : threads << largest))
			why = "more leaked than was under way";
		else if (llfree_pool_sweep(&p->pool, p->pool.first, nr, live, &swept))
			why = "no sweep";
		else if (swept.freed != found->leaked || swept.missing)
			why = "not swept what leaked";
		else if (nr - persist_free_frames(p) != found->published)
			why = "leaks after a sweep";
		else if (free_it)
			why = free_all(p, threads);
	}
	if (!why && llfree_validate(&p->pool.core, NULL))
		why = "invariants do not hold after a sweep";
	free(live);
	return why;
}

/* Run and kill one process. Return: the fault, or NULL */
static const char *run_round(struct persist *p, unsigned int threads, int order,
			     struct rng *rng, bool last, struct found *found)
{
	const bool stop = !rng_below(rng, 6);
	const char *why;
	unsigned int i;
	int status;
	pid_t pid;

	memset(found, 0, sizeof(*found));
	memset(life, 0, sizeof(*life));
	/* Threads that share a slot share rows. */
	p->nr_slots = 1 + rng_below(rng, threads);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid)
		live(p, threads, order, rng_next(rng));
	rng_next(rng);
	usleep(rng_below(rng, LIFE_US));
	WRITE_ONCE(life->stop, stop);
	/* Some processes are killed while they stop. */
	if (stop && rng_below(rng, 2))
		usleep(rng_below(rng, 500));
	else if (stop)
		usleep(10 * LIFE_US);
	kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) != pid)
		die("no child");
	if (*life->why)
		return life->why;
	found->exited = WIFEXITED(status) && !WEXITSTATUS(status);
	if (!found->exited && (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL))
		return "the process ended by itself";
	for (i = 0; i < threads; i++)
		found->ops += life->ops[i];
	why = examine(p, threads, order, last || !rng_below(rng, 4), found);
	persist_drop(p);
	return why;
}

static void print_round(unsigned int round, unsigned int threads, int order,
			const struct found *found)
{
	printf("crash,%d,%u,%u,%s,%lu,%lu,%lu,%.0f,%.0f\n", order, threads, round,
	       found->clean ? "clean" : "crash", found->ops, found->published, found->leaked,
	       found->attach_wall, found->attach_cpu);
}

const char *crash_check(unsigned int threads, int order, unsigned int rounds, u64 seed)
{
	unsigned long ops = 0, leaked = 0, most = 0, published = 0, killed = 0;
	struct persist p = { .nr_slots = 1 };
	struct rng rng = { .state = seed };
	const char *why = NULL;
	struct found found;
	unsigned int i;

	if (!life)
		life = mmap(NULL, sizeof(*life), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (life == MAP_FAILED)
		die("mmap");
	dax_open(&p.dax, opt.dax, (size_t)opt.mib << 20, dax_flush_best());
	if (persist_format(&p))
		return "no pool";
	llfree_pool_detach(&p.pool);
	persist_drop(&p);
	for (i = 0; i < rounds && !why; i++) {
		why = run_round(&p, threads, order, &rng, i == rounds - 1, &found);
		if (opt.csv)
			print_round(i, threads, order, &found);
		ops += found.ops;
		leaked += found.leaked;
		most = max(most, found.leaked);
		published += found.published;
		killed += !found.exited;
	}
	dax_close(&p.dax);
	if (!opt.csv)
		printf("# %u rounds, %lu killed, %lu ops: %lu published, %lu leaked <= %lu\n",
		       i, killed, ops, published, leaked, most);
	if (why)
		printf("# round %u of seed %llu: %s\n", i - 1, (unsigned long long)seed, why);
	return why;
}

static const struct argp_option argp_options[] = {
	{ "dax", 'd', "FILE", 0, "where the pool is (memory); it is overwritten", 0 },
	{ "threads", 't', "N", 0, "threads of each process (4)", 0 },
	{ "order", 'o', "N", 0, "order of all blocks (any)", 0 },
	{ "rounds", 'r', "N", 0, "processes, one after the other (100)", 0 },
	{ "mib", 'm', "N", 0, "MiB of frames (256)", 0 },
	{ "seed", 's', "N", 0, "for random choices; threads make their own on top", 0 },
	{ "csv", 'c', NULL, 0, "print CSV, a row for each process", 0 },
	{}
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	unsigned int n;

	switch (key) {
	case 'd':
		opt.dax = arg;
		return 0;
	case 't':
		parse_list(state, arg, &opt.threads, 1, 1, MAX_THREADS);
		return 0;
	case 'o':
		parse_list(state, arg, &n, 1, 0, LLFREE_MAX_ORDER);
		opt.order = n;
		return 0;
	case 'r':
		parse_list(state, arg, &opt.rounds, 1, 1, 1U << 30);
		return 0;
	case 'm':
		parse_list(state, arg, &opt.mib, 1, 8, 1U << 20);
		return 0;
	case 's':
		opt.seed = parse_seed(state, arg);
		return 0;
	case 'c':
		opt.csv = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int crash_main(int argc, char **argv)
{
	static const struct argp argp = {
		.options = argp_options,
		.parser = parse,
		.doc = "Processes that use a pool are killed, and the pool is checked",
	};

	opt.seed = rng_seed();
	argp_parse(&argp, argc, argv, 0, NULL, NULL);
	if (opt.csv)
		puts("bench,order,cpus,round,state,ops,published,leaked,wall_ns,cpu_ns");
	return crash_check(opt.threads, opt.order, opt.rounds, opt.seed) ? 1 : 0;
}
