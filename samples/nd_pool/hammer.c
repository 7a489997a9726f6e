// SPDX-License-Identifier: GPL-2.0
/*
 * kvlog: a load that a crash ends, and a check for lost data afterwards.
 *
 * Each thread puts and removes keys of its own. Operation number S of thread T
 * depends only on the seed, T and S. After each operation hammer prints
 * "durable T S". At the start it prints this line for the state that it finds.
 * After a crash, verify repeats the operations in memory. The store must have a
 * state that is not older than the last one printed.
 */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kvlog.h"

#define NR_KEYS		64U
#define MAX_THREADS	64U
#define HUGE_ORDER	9U
/*
 * Number of operations after the last entry to try, as these may all have
 * removed keys
 */
#define REMOVALS	10000U

struct run {
	struct store *store;
	unsigned long threads;
	unsigned long seconds;
	unsigned long seed;
	unsigned long report;
	unsigned long window;
	__u64 durable[MAX_THREADS];
	bool stop;
};

/* An operation on a key of its thread */
struct operation {
	unsigned int key;
	bool put;
	unsigned int order;
	size_t value_size;
};

struct worker {
	struct run *run;
	unsigned int thread;
	__u64 seq;
	__u64 actual[NR_KEYS];
	unsigned long faults;
	pthread_t id;
};

static __u64 mix(__u64 z)
{
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static void key_name(char name[32], unsigned int thread, unsigned int key)
{
	snprintf(name, 32, "t%u.k%u", thread, key);
}

/* One key has huge pages, some have several frames, and most have one. */
static struct operation operation(const struct run *run, unsigned int thread, __u64 seq)
{
	const __u64 r = mix(mix(mix(run->seed) + thread) + seq);
	struct operation op = { .key = r % NR_KEYS, .put = r >> 8 & 3 };
	char name[32];

	if (!op.key)
		op.order = HUGE_ORDER;
	else if (op.key < 8)
		op.order = 1 + (r >> 16) % 6;
	key_name(name, thread, op.key);
	op.value_size = (FRAME_BYTES << op.order) - offsetof(struct entry, data) - strlen(name);
	/* Some values fill their block, and some are much smaller. */
	op.value_size = r >> 24 & 3 ? (r >> 32) % (op.value_size + 1) : op.value_size;
	return op;
}

static void fill(struct entry *entry, __u64 seed)
{
	char *at = entry->data + entry->key_size;
	size_t left;
	__u64 word;

	for (left = entry->value_size; left; ) {
		const size_t size = left < sizeof(word) ? left : sizeof(word);

		word = mix(seed + left);
		memcpy(at, &word, size);
		at += size;
		left -= size;
	}
}

static void do_operation(struct run *run, unsigned int thread, __u64 seq)
{
	const struct operation op = operation(run, thread, seq);
	struct entry *entry;
	char name[32];
	__u64 block;

	key_name(name, thread, op.key);
	if (!op.put) {
		store_del(run->store, name);
		return;
	}
	block = entry_new(run->store, name, op.value_size, op.order);
	errno = 0;
	if (!block)
		die("no space for order %u", op.order);
	entry = entry_at(run->store, block);
	entry->thread = thread;
	entry->seq = seq;
	fill(entry, mix(seq) + thread);
	store_put(run->store, block);
}

/* ---- States ---- */

/* Note the operation that made an entry, and compare the entry with it. */
static void note_entry(const struct entry *entry, __u64 block, void *arg)
{
	struct worker *worker = arg;
	struct operation op;
	char name[32];

	if (entry->thread >= worker->run->threads)
		return;
	worker += entry->thread;
	op = operation(worker->run, entry->thread, entry->seq);
	key_name(name, entry->thread, op.key);
	if (!op.put || strlen(name) != entry->key_size ||
	    memcmp(name, entry->data, entry->key_size) || op.value_size != entry->value_size ||
	    op.order != (block & ND_POOL_ORDER_MASK)) {
		printf("fault: block %#llx is not what operation %llu made\n", block,
		       entry->seq);
		worker->faults++;
		return;
	}
	worker->actual[op.key] = entry->seq;
}

/*
 * Find the first state from operation @from on that equals the state of the
 * store. Return: true, and the operation in @seq
 */
static bool find_state(const struct worker *worker, __u64 from, __u64 *seq)
{
	__u64 last[NR_KEYS] = { }, limit = from;
	unsigned int key, differ = 0;
	struct operation op;

	for (key = 0; key < NR_KEYS; key++) {
		differ += worker->actual[key] != 0;
		if (worker->actual[key] > limit)
			limit = worker->actual[key];
	}
	for (*seq = 0; differ || *seq < from; ) {
		if (++*seq > limit + REMOVALS)
			return false;
		op = operation(worker->run, worker->thread, *seq);
		differ -= last[op.key] != worker->actual[op.key];
		last[op.key] = op.put ? *seq : 0;
		differ += last[op.key] != worker->actual[op.key];
	}
	return true;
}

/*
 * Find the states of all threads. Return: number of faults, after a line for
 * each
 */
static unsigned long find_states(struct run *run, struct worker *workers)
{
	unsigned long faults = 0;
	unsigned int i;

	for (i = 0; i < run->threads; i++) {
		struct worker *worker = &workers[i];

		faults += worker->faults;
		if (!find_state(worker, run->durable[i], &worker->seq)) {
			printf("fault: thread %u: no state from operation %llu on is there\n",
			       i, run->durable[i]);
			faults++;
		} else if (worker->seq - run->durable[i] > run->window) {
			printf("fault: thread %u: operation %llu is there, and too late\n", i,
			       worker->seq);
			faults++;
		} else {
			printf("thread %u: %llu\n", i, worker->seq);
		}
	}
	return faults;
}

static struct worker *workers_new(struct run *run)
{
	struct worker *workers = calloc(run->threads, sizeof(*workers));
	unsigned int i;

	if (!workers)
		die("no memory for threads");
	for (i = 0; i < run->threads; i++) {
		workers[i].run = run;
		workers[i].thread = i;
	}
	return workers;
}

/* ---- Options ---- */

/*
 * Read the lines that hammer printed. A line that the crash cut off does not
 * count.
 */
static void read_durable(struct run *run, const char *path)
{
	FILE *file = fopen(path, "re");
	unsigned int thread;
	char line[80], end;
	__u64 seq;

	if (!file)
		die("cannot open %s", path);
	while (fgets(line, sizeof(line), file)) {
		end = 0;
		if (sscanf(line, "durable %u %llu%c", &thread, &seq, &end) == 3 &&
		    end == '\n' && thread < MAX_THREADS && seq > run->durable[thread])
			run->durable[thread] = seq;
	}
	fclose(file);
}

static void parse(struct run *run, int argc, char **argv)
{
	static const struct option options[] = {
		{ "threads", required_argument, NULL, 't' },
		{ "seconds", required_argument, NULL, 's' },
		{ "seed", required_argument, NULL, 'x' },
		{ "report", required_argument, NULL, 'r' },
		{ "window", required_argument, NULL, 'w' },
		{ "durable", required_argument, NULL, 'd' },
		{ }
	};
	unsigned long *numbers[] = { ['t'] = &run->threads, ['s'] = &run->seconds,
				     ['x'] = &run->seed, ['r'] = &run->report,
				     ['w'] = &run->window };
	char *end;
	int c;

	/*
	 * Arguments begin after the command, which is before them in main()'s
	 * array.
	 */
	errno = 0;
	while ((c = getopt_long(argc + 1, argv - 1, "", options, NULL)) != -1) {
		if (c == 'd') {
			read_durable(run, optarg);
			continue;
		}
		if (c == '?')
			die("bad option");
		*numbers[c] = strtoul(optarg, &end, 0);
		if (*end || end == optarg)
			die("%s is no number", optarg);
	}
	errno = 0;
	if (optind != argc + 1 || !run->threads || run->threads > MAX_THREADS || !run->report)
		die("bad arguments");
}

/* ---- hammer and verify ---- */

static void report(const struct worker *worker)
{
	char line[64];
	const int size = snprintf(line, sizeof(line), "durable %u %llu\n", worker->thread,
				  worker->seq);

	if (write(STDOUT_FILENO, line, size) != size)
		die("cannot print");
}

static void *work(void *arg)
{
	struct worker *worker = arg;
	struct run *run = worker->run;

	while (!__atomic_load_n(&run->stop, __ATOMIC_RELAXED)) {
		do_operation(run, worker->thread, ++worker->seq);
		if (!(worker->seq % run->report))
			report(worker);
	}
	return NULL;
}

int kvlog_hammer(struct store *store, int argc, char **argv)
{
	static struct run run = { .threads = 2, .seconds = 1, .report = 1, .window = ~0UL };
	struct worker *workers;
	struct walk walk;
	unsigned int i;

	run.store = store;
	parse(&run, argc, argv);
	workers = workers_new(&run);
	/* The load continues in the state that the last run left. */
	store_walk(store, &walk, note_entry, workers);
	if (walk.faults || find_states(&run, workers))
		return 2;
	walk_free(&walk);
	fflush(stdout);
	/*
	 * Print the state, since the crash may have come before the last line
	 * was printed.
	 */
	for (i = 0; i < run.threads; i++)
		report(&workers[i]);
	for (i = 0; i < run.threads; i++)
		if (pthread_create(&workers[i].id, NULL, work, &workers[i]))
			die("cannot make a thread");
	sleep(run.seconds);
	__atomic_store_n(&run.stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < run.threads; i++)
		pthread_join(workers[i].id, NULL);
	free(workers);
	return 0;
}

/* Sweep, and check that only live frames are allocated afterwards. */
static unsigned long verify_sweep(struct run *run, struct walk *walk)
{
	struct store *store = run->store;
	const __u64 leaked = count_bits(walk->committed, walk->live, walk->nr_rows);
	const __u64 total = (store->info.size - store->info.first) / FRAME_BYTES;
	__u64 freed, missing, live;
	unsigned long faults = 0;
	struct walk again;

	store_sweep(store, walk, &freed, &missing);
	store_walk(store, &again, NULL, NULL);
	store_info(store);
	live = total - store->info.free / FRAME_BYTES;
	printf("leaked: %llu\nfreed: %llu\nmissing: %llu\n", leaked, freed, missing);
	/*
	 * A thread that was ended leaks at most one block: the new one, or the
	 * one that it replaced.
	 */
	faults += leaked > run->threads << HUGE_ORDER;
	faults += freed != leaked;
	faults += missing != 0;
	faults += again.faults;
	faults += memcmp(again.live, again.committed, again.nr_rows * sizeof(*again.live)) != 0;
	faults += live != count_bits(again.live, NULL, again.nr_rows) + store->info.bad_frames;
	if (faults)
		printf("fault: frames are allocated that are not live, or the reverse\n");
	walk_free(&again);
	return faults;
}

/* Exit status: 0, or 2 if something is lost */
int kvlog_verify(struct store *store, int argc, char **argv)
{
	static struct run run = { .threads = 2, .report = 1, .window = ~0UL };
	struct worker *workers;
	unsigned long faults;
	struct walk walk;

	run.store = store;
	parse(&run, argc, argv);
	workers = workers_new(&run);
	store_walk(store, &walk, note_entry, workers);
	faults = walk.faults + find_states(&run, workers);
	/*
	 * After a fault, a sweep would free the blocks that could explain it.
	 */
	if (!faults)
		faults = verify_sweep(&run, &walk);
	printf("entries: %lu\nfaults: %lu\n", walk.entries, faults);
	walk_free(&walk);
	free(workers);
	return faults ? 2 : 0;
}
