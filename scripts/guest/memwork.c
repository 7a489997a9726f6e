// SPDX-License-Identifier: GPL-2.0
/*
 * What programs do with memory, in short: small loads for guest/realwork, which
 * compares page allocators. Each runs a number of workers that start together,
 * does a fixed amount of work, and writes one line of JSON.
 *
 *   fault-anon  map, write to each page, unmap; in processes; per page
 *   fault-file  the same with a private mapping of a file in memory, whose pages
 *               are copied
 *   malloc      malloc() of 128 KiB to 4 MiB, write to each page, free(); in
 *               threads, which share an address space; per page
 *   handover    the same, but another thread frees; per page
 *   exit        all processes have written to all of their memory, and exit at
 *               the same time; from there until the last is gone; per page
 *   sockets     datagrams of some 80 KiB over UNIX sockets, whose buffers are
 *               blocks of order 3; sent and queued by one thread, read by the
 *               next one; per datagram
 *   thp         huge pages, one after the other; per huge page. In every second
 *               round they are not asked for, so that the kernel gives those
 *               that it has and makes none; these are not timed. Also says how
 *               many were had in small pages instead, of either kind
 *   holes       small pages, of which up to half are freed in each 2 MiB, at
 *               random; then huge pages in three quarters of these holes, for
 *               which compaction has to move pages; per huge page. Also says
 *               how many were had in small pages instead
 */
#define _GNU_SOURCE
#include <argp.h>
#include <err.h>
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_WORKERS	256
#define HUGE		(2UL << 20)
#define MALLOC_MIN	(128UL << 10)
#define MALLOC_MAX	(4UL << 20)
/* What does not fit into the linear part of a buffer is two blocks of order 3. */
#define DATAGRAM	80000
#define QUEUED		8
#define SOCKET_PAIRS	32

struct worker {
	int id;
	uint64_t ops;
	uint64_t ns;
	uint64_t max_ns;
	/* Huge pages that were not asked for, and those not had: [asked] */
	uint64_t other_ops;
	uint64_t missed[2];
	unsigned int random;
};

struct load {
	const char *name;
	bool processes;
	void (*work)(struct worker *w);
	void (*setup)(void);
};

/* Workers and what they share, also with processes */
struct shared {
	pthread_barrier_t barrier;
	struct worker workers[MAX_WORKERS];
};

static struct shared *shared;
static const struct load *load;
static unsigned long mib = 64, rounds = 4, workers = 1, pause_ms;
static unsigned long page;
static bool ending;

static void *handed[MAX_WORKERS];
static size_t handed_size[MAX_WORKERS];
static int sockets[MAX_WORKERS][SOCKET_PAIRS][2];

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static void meet(void)
{
	pthread_barrier_wait(&shared->barrier);
}

static void *map(size_t size, int advice)
{
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		err(1, "mmap");
	/* A kernel without huge pages knows no such advice. */
	if (madvise(p, size, advice) && errno != EINVAL)
		err(1, "madvise");
	return p;
}

/* Not left out by the compiler */
static void write_once(char *p)
{
	__atomic_store_n(p, 1, __ATOMIC_RELAXED);
}

static bool is_ending(void)
{
	return __atomic_load_n(&ending, __ATOMIC_RELAXED);
}

static void touch(void *mem, size_t size)
{
	char *p = mem;

	for (size_t off = 0; off < size; off += page)
		write_once(p + off);
}

static void fault_anon(struct worker *w)
{
	size_t size = mib << 20;

	for (unsigned long r = 0; r < rounds; r++) {
		void *p = map(size, MADV_NOHUGEPAGE);

		touch(p, size);
		munmap(p, size);
		w->ops += size / page;
	}
}

static void fault_file(struct worker *w)
{
	size_t size = mib << 20;
	int fd = memfd_create("memwork", 0);

	if (fd < 0 || ftruncate(fd, size))
		err(1, "memfd");
	for (unsigned long r = 0; r < rounds; r++) {
		void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE,
			       fd, 0);

		if (p == MAP_FAILED)
			err(1, "mmap");
		touch(p, size);
		munmap(p, size);
		w->ops += size / page;
	}
	close(fd);
}

/* Always what mmap() gives, so that free() gives it back. */
static void setup_malloc(void)
{
	mallopt(M_MMAP_THRESHOLD, MALLOC_MIN);
}

static void *random_block(struct worker *w, size_t *size)
{
	void *p;

	*size = MALLOC_MIN + rand_r(&w->random) % (MALLOC_MAX - MALLOC_MIN);
	p = malloc(*size);
	if (!p)
		err(1, "malloc");
	touch(p, *size);
	return p;
}

static void malloc_free(struct worker *w)
{
	uint64_t pages = rounds * (mib << 20) / page;

	while (w->ops < pages) {
		size_t size;

		free(random_block(w, &size));
		w->ops += size / page;
	}
}

static void handover(struct worker *w)
{
	/* As many turns for each, since they wait for each other. */
	unsigned long turns = rounds * (mib << 20) / MALLOC_MAX;

	for (unsigned long i = 0; i < turns; i++) {
		unsigned long from = (w->id + 1) % workers;

		handed[w->id] = random_block(w, &handed_size[w->id]);
		meet();
		free(handed[from]);
		w->ops += handed_size[from] / page;
		meet();
	}
}

static void exit_all(struct worker *w)
{
	size_t size = mib << 20;

	for (unsigned long r = 0; r < rounds; r++) {
		int pid, status;
		int ready[2], go[2];
		uint64_t start;
		char c;

		if (pipe(ready) || pipe(go))
			err(1, "pipe");
		pid = fork();
		if (pid < 0)
			err(1, "fork");
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			close(go[1]);
			touch(map(size, MADV_NOHUGEPAGE), size);
			if (write(ready[1], "", 1) != 1 ||
			    read(go[0], &c, 1) < 0)
				_exit(1);
			_exit(0);
		}
		close(go[0]);
		close(ready[1]);
		if (read(ready[0], &c, 1) != 1)
			err(1, "a child is gone");
		meet();
		start = now();
		close(go[1]);
		if (waitpid(pid, &status, 0) != pid || status)
			err(1, "a child failed");
		w->ns += now() - start;
		w->ops += size / page;
		close(ready[0]);
		meet();
	}
}

static void setup_sockets(void)
{
	int size = 2 * QUEUED * (DATAGRAM + 65536);

	for (unsigned long i = 0; i < workers; i++) {
		for (int j = 0; j < SOCKET_PAIRS; j++) {
			int *pair = sockets[i][j];

			if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair))
				err(1, "socketpair");
			if (setsockopt(pair[0], SOL_SOCKET, SO_SNDBUFFORCE,
				       &size, sizeof(size)))
				err(1, "SO_SNDBUFFORCE");
		}
	}
}

static void datagrams(struct worker *w)
{
	static char data[DATAGRAM];
	char *in = malloc(DATAGRAM);
	int (*out)[2] = sockets[w->id];
	int (*from)[2] = sockets[(w->id + 1) % workers];

	if (!in)
		err(1, "malloc");
	for (unsigned long r = 0; r < rounds; r++) {
		for (int i = 0; i < SOCKET_PAIRS * QUEUED; i++)
			if (send(out[i % SOCKET_PAIRS][0], data, DATAGRAM,
				 MSG_DONTWAIT) != DATAGRAM)
				err(1, "send");
		meet();
		for (int i = 0; i < SOCKET_PAIRS * QUEUED; i++)
			if (recv(from[i % SOCKET_PAIRS][1], in, DATAGRAM,
				 0) != DATAGRAM)
				err(1, "recv");
		w->ops += SOCKET_PAIRS * QUEUED;
		meet();
	}
	free(in);
}

/* What this process has in huge pages */
static size_t huge_mapped(void)
{
	FILE *f = fopen("/proc/self/smaps_rollup", "r");
	unsigned long kib = 0;
	char line[128];

	if (!f)
		err(1, "/proc/self/smaps_rollup");
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "AnonHugePages: %lu kB", &kib) == 1)
			break;
	fclose(f);
	return kib << 10;
}

/* Write to a huge page of memory for the first time. The time counts. */
static void touch_huge(struct worker *w, char *p)
{
	uint64_t ns = now();

	write_once(p);
	ns = now() - ns;
	w->ns += ns;
	w->ops++;
	if (ns > w->max_ns)
		w->max_ns = ns;
}

static char *huge_aligned(char *p)
{
	return (char *)(((uintptr_t)p + HUGE - 1) & ~(HUGE - 1));
}

/* The time of the first write to each; unmapping is not measured. */
static void thp(struct worker *w)
{
	size_t size = mib << 20, had = huge_mapped(), off, got;

	for (unsigned long r = 0; r < rounds && !is_ending(); r++) {
		bool asked = !(r & 1);
		char *p = map(size + HUGE, asked ? MADV_HUGEPAGE : MADV_NORMAL);
		char *first = huge_aligned(p);

		for (off = 0; off < size && !is_ending(); off += HUGE) {
			if (asked) {
				touch_huge(w, first + off);
			} else {
				write_once(first + off);
				w->other_ops++;
			}
		}
		got = huge_mapped() - had;
		if (got < off)
			w->missed[asked] += (off - got) / HUGE;
		munmap(p, size + HUGE);
		usleep(pause_ms * 1000);
	}
}

/*
 * Free up to half of the pages of each 2 MiB, a number that differs between
 * them, and return how many bytes are free.
 */
static size_t make_holes(struct worker *w, char *p, size_t size)
{
	size_t freed = 0;

	for (size_t off = 0; off < size; off += HUGE) {
		unsigned int share = rand_r(&w->random) % (RAND_MAX / 2);

		for (size_t at = off; at < off + HUGE; at += page) {
			if ((unsigned int)rand_r(&w->random) >= share)
				continue;
			if (madvise(p + at, page, MADV_DONTNEED))
				err(1, "madvise");
			freed += page;
		}
	}
	return freed;
}

/* Small pages with holes, then huge pages in three quarters of the holes */
static void holes(struct worker *w)
{
	size_t size = mib << 20, had = huge_mapped(), want, off;

	for (unsigned long r = 0; r < rounds; r++) {
		char *small = map(size, MADV_NOHUGEPAGE), *huge, *first;

		touch(small, size);
		want = make_holes(w, small, size) / 4 * 3 & ~(HUGE - 1);
		huge = map(want + HUGE, MADV_HUGEPAGE);
		first = huge_aligned(huge);
		for (off = 0; off < want; off += HUGE)
			touch_huge(w, first + off);
		w->missed[true] += (want - (huge_mapped() - had)) / HUGE;
		munmap(huge, want + HUGE);
		munmap(small, size);
	}
}

static const struct load loads[] = {
	{ "fault-anon", true, fault_anon, NULL },
	{ "fault-file", true, fault_file, NULL },
	{ "malloc", false, malloc_free, setup_malloc },
	{ "handover", false, handover, setup_malloc },
	{ "exit", true, exit_all, NULL },
	{ "sockets", false, datagrams, setup_sockets },
	{ "thp", false, thp, NULL },
	{ "holes", false, holes, NULL },
};

/* Loads that measure the time of a part of it themselves leave it in ns. */
static void *worker(void *arg)
{
	struct worker *w = arg;
	uint64_t start;

	meet();
	start = now();
	load->work(w);
	if (!w->ns)
		w->ns = now() - start;
	return NULL;
}

static void run_processes(void)
{
	int status;

	for (unsigned long i = 0; i < workers; i++) {
		int pid = fork();

		if (pid < 0)
			err(1, "fork");
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			worker(&shared->workers[i]);
			exit(0);
		}
	}
	for (unsigned long i = 0; i < workers; i++) {
		if (wait(&status) < 0)
			err(1, "wait");
		/* The others would wait for it at the barrier for ever. */
		if (status)
			errx(1, "a worker failed, status %#x", status);
	}
}

static void run_threads(void)
{
	pthread_t threads[MAX_WORKERS];

	for (unsigned long i = 0; i < workers; i++)
		if (pthread_create(&threads[i], NULL, worker,
				   &shared->workers[i]))
			err(1, "pthread_create");
	for (unsigned long i = 0; i < workers; i++)
		pthread_join(threads[i], NULL);
}

static unsigned long count(const char *arg, unsigned long max,
			   struct argp_state *state)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(arg, &end, 0);
	if (errno || !*arg || *arg == '-' || *end || value > max)
		argp_error(state, "a number from 0 to %lu, not '%s'", max, arg);
	return value;
}

static const struct argp_option options[] = {
	{ "mib", 'm', "N", 0, "Memory of each worker (64)" },
	{ "rounds", 'r', "N", 0, "How often (4)" },
	{ "workers", 'w', "N", 0, "Processes or threads (1)" },
	{ "pause", 'p', "MS", 0, "Between rounds of thp (0)" },
	{ 0 }
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	switch (key) {
	case 'm':
		mib = count(arg, 1 << 20, state);
		break;
	case 'r':
		rounds = count(arg, ULONG_MAX, state);
		break;
	case 'w':
		workers = count(arg, MAX_WORKERS, state);
		break;
	case 'p':
		pause_ms = count(arg, 100000, state);
		break;
	case ARGP_KEY_ARG:
		for (size_t i = 0; i < sizeof(loads) / sizeof(*loads); i++)
			if (!load && !strcmp(arg, loads[i].name))
				load = &loads[i];
		if (!load || state->arg_num)
			argp_error(state, "no load '%s'", arg);
		break;
	case ARGP_KEY_END:
		if (!load || !mib || !rounds || !workers)
			argp_usage(state);
		/* What is in huge pages is known of the process only. */
		if ((load->work == thp || load->work == holes) &&
		    (workers > 1 || mib % 2))
			argp_error(state, "%s: one worker, an even number of MiB",
				   load->name);
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "LOAD",
	.doc = "Loads: fault-anon fault-file malloc handover exit sockets thp holes; "
	       "thp ends early, with its numbers, on SIGTERM",
};

static void stop(int sig)
{
	__atomic_store_n(&ending, true, __ATOMIC_RELAXED);
}

int main(int argc, char **argv)
{
	struct worker sum = { 0 };
	pthread_barrierattr_t attr;

	argp_parse(&argp, argc, argv, 0, NULL, NULL);
	page = sysconf(_SC_PAGESIZE);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		err(1, "mmap");
	pthread_barrierattr_init(&attr);
	pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(&shared->barrier, &attr, workers);
	for (unsigned long i = 0; i < workers; i++)
		shared->workers[i] = (struct worker){ .id = i, .random = i + 1 };
	if (load->work == thp)
		signal(SIGTERM, stop);
	if (load->setup)
		load->setup();
	if (load->processes)
		run_processes();
	else
		run_threads();
	for (unsigned long i = 0; i < workers; i++) {
		struct worker *w = &shared->workers[i];

		sum.ops += w->ops;
		sum.ns += w->ns;
		if (w->max_ns > sum.max_ns)
			sum.max_ns = w->max_ns;
		sum.other_ops += w->other_ops;
		sum.missed[false] += w->missed[false];
		sum.missed[true] += w->missed[true];
	}
	printf("{\"ops\": %llu, \"ns\": %.1f, \"max_ns\": %llu, ",
	       (unsigned long long)sum.ops,
	       sum.ops ? (double)sum.ns / sum.ops : 0.0,
	       (unsigned long long)sum.max_ns);
	printf("\"missed\": %llu, \"other_ops\": %llu, \"other_missed\": %llu}\n",
	       (unsigned long long)sum.missed[true],
	       (unsigned long long)sum.other_ops,
	       (unsigned long long)sum.missed[false]);
	return 0;
}
