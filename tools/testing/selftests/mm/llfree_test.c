// SPDX-License-Identifier: GPL-2.0
/*
 * What userspace sees of the page allocator: is every page frame accounted for,
 * at rest and after stress? The same for the buddy allocator and for LLFree;
 * only the latter's switch and validate file are skipped on other kernels.
 *
 * Needs a machine that has nothing else to do.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/kernel-page-flags.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/types.h>
#include <time.h>

#include "../kselftest_harness.h"
#include "thp_settings.h"
#include "vm_util.h"

#define STATE_FILE	"/sys/kernel/mm/page_alloc/allocator"
#define DEBUG_DIR	"/sys/kernel/debug/"
#define VALIDATE_FILE	DEBUG_DIR "page_alloc/validate"
#define SPLIT_FILE	DEBUG_DIR "split_huge_pages"

#define MAX_ZONES	64
#define MAX_ORDERS	16
#define MIB		(1024 * 1024UL)
#define TEXT_SIZE	MIB
#define FLAGS_BATCH	65536

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE	23
#endif

struct zone {
	int node;
	char name[16];
	long free, managed, pcp, start, spanned;
	long blocks[MAX_ORDERS];	/* by buddyinfo */
	long typed[MAX_ORDERS];		/* by pagetypeinfo, all types */
	bool typed_more[MAX_ORDERS];	/* or more than that */
};

struct mm_state {
	/* Kept open, since then reading again allocates nothing. */
	int zoneinfo, buddyinfo, pagetypeinfo, kpageflags;
	char *text;
	uint64_t *flags;
	struct zone zones[MAX_ZONES];
	int nr_zones;
	int nr_orders;
	bool is_llfree;
	bool has_thp;
	struct thp_settings thp;
	char why[256];
};

static bool failed(struct mm_state *mm, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(mm->why, sizeof(mm->why), fmt, args);
	va_end(args);
	return false;
}

static char *read_text(struct mm_state *mm, int fd)
{
	size_t len = 0;
	ssize_t n;

	while ((n = pread(fd, mm->text + len, TEXT_SIZE - 1 - len, len)) > 0)
		len += n;
	mm->text[len] = '\0';
	return mm->text;
}

static void poke(const char *path)
{
	int fd = open(path, O_WRONLY);

	/* Without CONFIG_COMPACTION there is nothing to compact. */
	if (fd < 0)
		return;
	if (write(fd, "1", 1) != 1)
		perror(path);
	close(fd);
}

/* Fold the counters' per-CPU differences. */
static void refresh(void)
{
	poke("/proc/sys/vm/stat_refresh");
}

/* Give back what is only kept for later. */
static void settle(void)
{
	sync();
	write_num("/proc/sys/vm/drop_caches", 3);
	poke("/proc/sys/vm/compact_memory");
	refresh();
}

static void nap(long ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&ts, NULL);
}

static long now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

static struct zone *find_zone(struct mm_state *mm, int node, const char *name)
{
	for (int i = 0; i < mm->nr_zones; i++) {
		struct zone *z = &mm->zones[i];

		if (z->node == node && !strcmp(z->name, name))
			return z;
	}
	return NULL;
}

/* /proc/zoneinfo into mm->zones, only those that have memory. */
static void read_zones(struct mm_state *mm)
{
	struct zone *z = NULL;
	struct zone next;
	char *save, *line;
	long n;

	mm->nr_zones = 0;
	line = strtok_r(read_text(mm, mm->zoneinfo), "\n", &save);
	for (; line; line = strtok_r(NULL, "\n", &save)) {
		memset(&next, 0, sizeof(next));
		if (sscanf(line, "Node %d, zone %15s", &next.node, next.name) == 2) {
			if (z && z->managed)
				mm->nr_zones++;
			if (mm->nr_zones == MAX_ZONES)
				break;
			z = &mm->zones[mm->nr_zones];
			*z = next;
		} else if (!z) {
			continue;
		} else if (sscanf(line, " pages free %ld", &n) == 1) {
			z->free = n;
		} else if (sscanf(line, " managed %ld", &n) == 1) {
			z->managed = n;
		} else if (sscanf(line, " spanned %ld", &n) == 1) {
			z->spanned = n;
		} else if (sscanf(line, " start_pfn: %ld", &n) == 1) {
			z->start = n;
		} else if (sscanf(line, " count: %ld", &n) == 1) {
			z->pcp += n;
		}
	}
	if (z && z->managed && mm->nr_zones < MAX_ZONES)
		mm->nr_zones++;
}

static int read_orders(const char *text, long *counts, bool *more)
{
	int order, len;

	for (order = 0; order < MAX_ORDERS; order++) {
		bool over = false;
		long n;

		text += strspn(text, " ");
		if (*text == '>') {
			over = true;
			text++;
		}
		if (sscanf(text, "%ld%n", &n, &len) != 1)
			break;
		text += len;
		counts[order] += n;
		if (more)
			more[order] |= over;
	}
	return order;
}

static void read_buddyinfo(struct mm_state *mm)
{
	char *save, *line, name[16];
	struct zone *z;
	int node, len;

	line = strtok_r(read_text(mm, mm->buddyinfo), "\n", &save);
	for (; line; line = strtok_r(NULL, "\n", &save)) {
		if (sscanf(line, "Node %d, zone %15s%n", &node, name, &len) != 2)
			continue;
		z = find_zone(mm, node, name);
		if (z)
			mm->nr_orders = read_orders(line + len, z->blocks, NULL);
	}
}

static void read_pagetypeinfo(struct mm_state *mm)
{
	char *save, *line, name[16];
	struct zone *z;
	int node, len;

	line = strtok_r(read_text(mm, mm->pagetypeinfo), "\n", &save);
	for (; line; line = strtok_r(NULL, "\n", &save)) {
		len = 0;
		if (sscanf(line, "Node %d, zone %15[^,], type %*s%n",
			   &node, name, &len) != 2 || !len)
			continue;
		z = find_zone(mm, node, name);
		if (z)
			read_orders(line + len, z->typed, z->typed_more);
	}
}

static bool buddyinfo_adds_up(struct mm_state *mm)
{
	read_zones(mm);
	read_buddyinfo(mm);
	for (int i = 0; i < mm->nr_zones; i++) {
		struct zone *z = &mm->zones[i];
		long sum = 0;

		for (int order = 0; order < mm->nr_orders; order++)
			sum += z->blocks[order] << order;
		if (sum != z->free)
			return failed(mm, "node %d %s: buddyinfo %ld, nr_free_pages %ld",
				      z->node, z->name, sum, z->free);
	}
	return mm->nr_zones ? true : failed(mm, "no zones");
}

static bool pagetypeinfo_adds_up(struct mm_state *mm)
{
	read_zones(mm);
	read_pagetypeinfo(mm);
	read_buddyinfo(mm);
	for (int i = 0; i < mm->nr_zones; i++) {
		struct zone *z = &mm->zones[i];

		for (int order = 0; order < mm->nr_orders; order++) {
			if (z->typed[order] == z->blocks[order])
				continue;
			if (z->typed_more[order] &&
			    z->typed[order] <= z->blocks[order])
				continue;
			return failed(mm, "node %d %s order %d: pagetypeinfo %ld, buddyinfo %ld",
				      z->node, z->name, order, z->typed[order],
				      z->blocks[order]);
		}
	}
	return mm->nr_zones ? true : failed(mm, "no zones");
}

static bool zones_overlap(struct mm_state *mm)
{
	for (int i = 0; i < mm->nr_zones; i++)
		for (int j = 0; j < i; j++) {
			struct zone *a = &mm->zones[i], *b = &mm->zones[j];

			if (a->start < b->start + b->spanned &&
			    b->start < a->start + a->spanned)
				return true;
		}
	return false;
}

/* Frame by frame: as many free as nr_free_pages says, none that nobody knows. */
static bool frames_add_up(struct mm_state *mm)
{
	read_zones(mm);
	for (int i = 0; i < mm->nr_zones; i++) {
		struct zone z = mm->zones[i];
		long end = z.start + z.spanned;
		long free = 0, managed = 0;

		for (long pfn = z.start; pfn < end; ) {
			long nr = end - pfn < FLAGS_BATCH ? end - pfn : FLAGS_BATCH;
			ssize_t n = pread(mm->kpageflags, mm->flags,
					  nr * sizeof(*mm->flags),
					  pfn * sizeof(*mm->flags));

			nr = n / (ssize_t)sizeof(*mm->flags);
			if (nr <= 0)
				break;
			for (long f = 0; f < nr; f++) {
				uint64_t flags = mm->flags[f];

				/* bit 32 is KPF_RESERVED, not exported */
				if (flags & (1ULL << KPF_NOPAGE | 1ULL << 32))
					continue;
				managed++;
				if (flags & 1ULL << KPF_BUDDY)
					free++;
			}
			pfn += nr;
		}
		if (managed != z.managed)
			return failed(mm, "node %d %s: %ld frames unreserved, %ld managed",
				      z.node, z.name, managed, z.managed);
		/* Others may allocate while we walk: between the two is right. */
		refresh();
		read_zones(mm);
		if ((free < z.free && free < mm->zones[i].free) ||
		    (free > z.free && free > mm->zones[i].free))
			return failed(mm, "node %d %s: %ld free, nr_free_pages %ld, then %ld",
				      z.node, z.name, free, z.free,
				      mm->zones[i].free);
		if (free + mm->zones[i].pcp > managed)
			return failed(mm, "node %d %s: more free than managed",
				      z.node, z.name);
	}
	return mm->nr_zones ? true : failed(mm, "no zones");
}

/* No machine rests entirely, but soon it is right several times in a row. */
static bool soon(struct mm_state *mm, bool (*check)(struct mm_state *mm))
{
	int right = 0;

	for (int i = 0; i < 40 && right < 3; i++) {
		refresh();
		right = check(mm) ? right + 1 : 0;
		nap(20);
	}
	return right == 3;
}

/* LLFree walks all its state. No retry: this has to be right at any time. */
static bool validates(struct mm_state *mm)
{
	char *save, *line, *last = NULL;
	int fd, zones = 0;

	if (!mm->is_llfree)
		return true;
	fd = open(VALIDATE_FILE, O_RDONLY);
	if (fd < 0)
		return failed(mm, VALIDATE_FILE ": %s", strerror(errno));
	line = strtok_r(read_text(mm, fd), "\n", &save);
	close(fd);
	for (; line; line = strtok_r(NULL, "\n", &save)) {
		last = line;
		if (strncmp(line, "Node ", 5))
			continue;
		zones++;
		if (strlen(line) < 4 || strcmp(line + strlen(line) - 4, ": ok"))
			return failed(mm, "%s", line);
	}
	if (!last || strcmp(last, "ok"))
		return failed(mm, "validate ends with '%s'", last ?: "");
	read_zones(mm);
	if (zones < mm->nr_zones)
		return failed(mm, "validate has %d zones of %d", zones,
			      mm->nr_zones);
	return true;
}

static long value_of(const char *text, const char *key)
{
	size_t len = strlen(key);

	while (text && strncmp(text, key, len)) {
		text = strchr(text, '\n');
		if (text)
			text++;
	}
	return text ? strtol(text + len, NULL, 10) : 0;
}

static long vm_event(struct mm_state *mm, const char *key)
{
	int fd = open("/proc/vmstat", O_RDONLY);
	long n = value_of(read_text(mm, fd), key);

	close(fd);
	return n;
}

/* Pages in use of which no counter tells what for: lost ones are among them. */
static long unexplained(struct mm_state *mm)
{
	static const char * const stats[] = {
		"nr_inactive_anon ", "nr_active_anon ", "nr_inactive_file ",
		"nr_active_file ", "nr_unevictable ", "nr_isolated_anon ",
		"nr_isolated_file ", "nr_slab_reclaimable ",
		"nr_slab_unreclaimable ", "nr_page_table_pages ",
	};
	static const char * const infos[] = {
		"KernelStack: ", "VmallocUsed: ", "Percpu: ",
	};
	long pages = 0;
	char *text;
	int fd;

	settle();
	fd = open("/proc/vmstat", O_RDONLY);
	text = read_text(mm, fd);
	for (size_t i = 0; i < ARRAY_SIZE(stats); i++)
		pages -= value_of(text, stats[i]);
	close(fd);
	fd = open("/proc/meminfo", O_RDONLY);
	text = read_text(mm, fd);
	for (size_t i = 0; i < ARRAY_SIZE(infos); i++)
		pages -= value_of(text, infos[i]) * 1024 / psize();
	close(fd);
	read_zones(mm);
	for (int i = 0; i < mm->nr_zones; i++) {
		struct zone *z = &mm->zones[i];

		pages += z->managed - z->free - z->pcp;
	}
	return pages;
}

/* Whatever has happened since @base was taken: nothing is wrong or missing. */
static bool nothing_lost(struct mm_state *mm, long base)
{
	/* per-CPU and per-node leftovers that no counter shows */
	long lost = 0, limit = 128 + 64 * sysconf(_SC_NPROCESSORS_ONLN);

	/* What exiting processes hold is freed a little later. */
	for (int i = 0; i < 20; i++) {
		lost = unexplained(mm) - base;
		if (labs(lost) <= limit)
			break;
		nap(250);
	}
	if (labs(lost) > limit)
		return failed(mm, "%+ld pages in use, unexplained", lost);
	return validates(mm) && soon(mm, buddyinfo_adds_up) &&
	       soon(mm, frames_add_up);
}

static unsigned long mem_bytes(struct mm_state *mm, const char *key)
{
	int fd = open("/proc/meminfo", O_RDONLY);
	unsigned long n = value_of(read_text(mm, fd), key);

	close(fd);
	return n * 1024;
}

/* Anonymous memory, aligned to huge pages. */
static char *map_memory(size_t size, int advice)
{
	size_t align = read_pmd_pagesize() ?: 2 * MIB;
	char *all, *start, *end;

	all = mmap(NULL, size + align, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (all == MAP_FAILED)
		return NULL;
	start = (char *)(((uintptr_t)all + align - 1) & ~(align - 1));
	end = start + size;
	if (start > all)
		munmap(all, start - all);
	if (all + size + align > end)
		munmap(end, all + size + align - end);
	/* EINVAL: a kernel without huge pages has no advice about them */
	if (madvise(start, size, advice) && errno != EINVAL) {
		munmap(start, size);
		return NULL;
	}
	return start;
}

static void stamp(char *start, size_t size, size_t step)
{
	for (size_t off = 0; off < size; off += step)
		*(uintptr_t *)(start + off) = (uintptr_t)start + off;
}

static bool stamps_intact(char *start, size_t size, size_t step)
{
	for (size_t off = 0; off < size; off += step)
		if (*(uintptr_t *)(start + off) != (uintptr_t)start + off)
			return false;
	return true;
}

/* 0 if every child was fine; they are reaped whatever happens. */
static int reap(const pid_t *pids, int nr, int want_signal)
{
	int bad = 0, status;

	for (int i = 0; i < nr; i++) {
		if (pids[i] < 0 || waitpid(pids[i], &status, 0) != pids[i])
			bad++;
		else if (want_signal)
			bad += !WIFSIGNALED(status) ||
			       WTERMSIG(status) != want_signal;
		else
			bad += status != 0;
	}
	return bad;
}

FIXTURE(llfree) {
	struct mm_state mm;
};

FIXTURE_SETUP(llfree)
{
	char name[32];

	if (geteuid())
		SKIP(return, "needs root");
	self->mm.zoneinfo = open("/proc/zoneinfo", O_RDONLY);
	self->mm.buddyinfo = open("/proc/buddyinfo", O_RDONLY);
	self->mm.pagetypeinfo = open("/proc/pagetypeinfo", O_RDONLY);
	self->mm.kpageflags = open("/proc/kpageflags", O_RDONLY);
	ASSERT_LE(0, self->mm.zoneinfo);
	ASSERT_LE(0, self->mm.buddyinfo);
	ASSERT_LE(0, self->mm.pagetypeinfo);
	self->mm.text = calloc(1, TEXT_SIZE);
	self->mm.flags = calloc(FLAGS_BATCH, sizeof(*self->mm.flags));
	ASSERT_NE(NULL, self->mm.text);
	ASSERT_NE(NULL, self->mm.flags);
	/* all there before anything is counted */
	memset(self->mm.flags, 0xff, FLAGS_BATCH * sizeof(*self->mm.flags));
	memset(self->mm.text, 0xff, TEXT_SIZE);

	self->mm.is_llfree = read_file(STATE_FILE, name, sizeof(name)) > 0 &&
			  !strncmp(name, "llfree\n", 7);
	self->mm.has_thp = thp_is_enabled();
	if (self->mm.has_thp)
		thp_read_settings(&self->mm.thp);
}

FIXTURE_TEARDOWN(llfree)
{
	if (self->mm.has_thp)
		thp_write_settings(&self->mm.thp);
}

/* The file that says which allocator it is agrees with all else that does. */
TEST_F(llfree, state_file)
{
	char state[32], cmdline[4096], want[32] = "";
	char *option;

	if (read_file(STATE_FILE, state, sizeof(state)) <= 0)
		SKIP(return, "this kernel has one page allocator only");
	state[strcspn(state, "\n")] = '\0';
	ASSERT_TRUE(!strcmp(state, "llfree") || !strcmp(state, "buddy")) {
		TH_LOG("allocator '%s'", state);
	}
	ASSERT_LT(0, read_file("/proc/cmdline", cmdline, sizeof(cmdline)));
	/* the last one counts */
	for (option = cmdline; (option = strstr(option, "page_alloc=")); ) {
		option += strlen("page_alloc=");
		if (sscanf(option, "%31s", want) != 1)
			break;
	}
	if (!strcmp(want, "llfree") || !strcmp(want, "buddy"))
		EXPECT_STREQ(want, state);

	/* It is decided at boot. */
	EXPECT_GT(0, open(STATE_FILE, O_WRONLY));

	if (!access(DEBUG_DIR "split_huge_pages", F_OK) ||
	    !access(DEBUG_DIR "sched", F_OK))
		EXPECT_EQ(self->mm.is_llfree, !access(VALIDATE_FILE, R_OK));
}

TEST_F(llfree, buddyinfo)
{
	EXPECT_TRUE(soon(&self->mm, buddyinfo_adds_up)) TH_LOG("%s", self->mm.why);
}

TEST_F(llfree, pagetypeinfo)
{
	EXPECT_TRUE(soon(&self->mm, pagetypeinfo_adds_up)) TH_LOG("%s", self->mm.why);
}

TEST_F_TIMEOUT(llfree, kpageflags, 120)
{
	if (self->mm.kpageflags < 0)
		SKIP(return, "no /proc/kpageflags");
	read_zones(&self->mm);
	if (zones_overlap(&self->mm))
		SKIP(return, "zones overlap");
	EXPECT_TRUE(soon(&self->mm, frames_add_up)) TH_LOG("%s", self->mm.why);
}

TEST_F(llfree, validate)
{
	if (!self->mm.is_llfree)
		SKIP(return, "only LLFree validates itself");
	settle();
	EXPECT_TRUE(validates(&self->mm)) TH_LOG("%s", self->mm.why);
	/* twice: the walk changes nothing */
	EXPECT_TRUE(validates(&self->mm)) TH_LOG("%s", self->mm.why);
}

/* Forks, mappings of many sizes and huge pages come and go on every CPU. */
static int churn(unsigned int seed, size_t limit, long deadline)
{
	char *maps[16] = {};
	size_t sizes[16];
	size_t rounds = 0;

	for (; rounds < 2 * ARRAY_SIZE(maps) || now() < deadline; rounds++) {
		int i = rand_r(&seed) % ARRAY_SIZE(maps);
		bool huge = rand_r(&seed) & 1;
		pid_t pid;

		if (maps[i]) {
			if (!stamps_intact(maps[i], sizes[i], psize()))
				return 1;
			munmap(maps[i], sizes[i]);
		}
		sizes[i] = (1 + rand_r(&seed) % (limit / ARRAY_SIZE(maps) /
						 psize())) * psize();
		maps[i] = map_memory(sizes[i], huge ? MADV_HUGEPAGE :
						      MADV_NOHUGEPAGE);
		if (!maps[i])
			return 1;
		stamp(maps[i], sizes[i], psize());
		if (rand_r(&seed) % 4)
			continue;

		/* A child gets everything and copies some of it. */
		pid = fork();
		if (!pid) {
			memset(maps[i], 0, sizes[i] / 2 & -psize());
			_exit(0);
		}
		if (reap(&pid, 1, 0))
			return 1;
	}
	return 0;
}

TEST_F_TIMEOUT(llfree, churn, 240)
{
	int nr = sysconf(_SC_NPROCESSORS_ONLN);
	long base = unexplained(&self->mm);
	size_t limit = mem_bytes(&self->mm, "MemAvailable: ") / 3 / nr;
	pid_t pids[nr];

	for (int i = 0; i < nr; i++) {
		pids[i] = fork();
		if (!pids[i])
			_exit(churn(i + 1, limit, now() + 5));
	}
	ASSERT_EQ(0, reap(pids, nr, 0));
	EXPECT_TRUE(nothing_lost(&self->mm, base)) TH_LOG("%s", self->mm.why);
}

/* Blocks in [start, start + size) that are one aligned physical block each. */
static size_t count_blocks(char *start, size_t size, int order)
{
	unsigned long nr = 1UL << order, pfn;
	size_t found = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY);

	for (size_t off = 0; off < size; off += nr * psize()) {
		unsigned long i;

		pfn = pagemap_get_pfn(fd, start + off);
		if (pfn == -1UL || pfn & (nr - 1))
			continue;
		for (i = 1; i < nr; i++)
			if (pagemap_get_pfn(fd, start + off + i * psize()) != pfn + i)
				break;
		found += i == nr;
	}
	close(fd);
	return found;
}

/* Huge pages of all sizes: the only way to ask for every order from here. */
TEST_F_TIMEOUT(llfree, every_order, 240)
{
	unsigned long orders = self->mm.has_thp ? thp_supported_orders() : 0;
	long base = unexplained(&self->mm);
	size_t size = mem_bytes(&self->mm, "MemAvailable: ") / 8 & -(2 * MIB);

	if (!orders)
		SKIP(return, "no huge pages of several sizes");
	if (size > 16 * MIB)
		size = 16 * MIB;
	for (int order = 0; order < NR_ORDERS; order++) {
		struct thp_settings settings = self->mm.thp;
		size_t wanted = size / psize() >> order;
		char *map;

		if (!(orders & 1UL << order) || !wanted)
			continue;
		for (int i = 0; i < NR_ORDERS; i++)
			if (orders & 1UL << i)
				settings.hugepages[i].enabled = THP_NEVER;
		settings.hugepages[order].enabled = THP_MADVISE;
		thp_write_settings(&settings);

		map = map_memory(size, MADV_HUGEPAGE);
		ASSERT_NE(NULL, map);
		stamp(map, size, psize());
		/* Memory is free: nearly all of them have to be there. */
		EXPECT_LE(wanted - wanted / 4, count_blocks(map, size, order)) {
			TH_LOG("order %d", order);
		}
		EXPECT_TRUE(stamps_intact(map, size, psize()));
		munmap(map, size);
	}
	thp_write_settings(&self->mm.thp);
	EXPECT_TRUE(nothing_lost(&self->mm, base)) TH_LOG("%s", self->mm.why);
}

struct pieces {
	pthread_t thread;
	pthread_barrier_t *start;
	char *map;
	size_t size;
	int first, step;
};

static void *free_pieces(void *arg)
{
	struct pieces *p = arg;
	size_t off;

	pthread_barrier_wait(p->start);
	for (off = p->first * psize(); off < p->size; off += p->step * psize())
		madvise(p->map + off, psize(), MADV_DONTNEED);
	return NULL;
}

/* Huge pages freed page by page, each by several CPUs at the same time. */
TEST_F_TIMEOUT(llfree, freed_in_pieces, 240)
{
	size_t pmd = read_pmd_pagesize();
	long base = unexplained(&self->mm);
	int nr = sysconf(_SC_NPROCESSORS_ONLN);
	pthread_barrier_t start;
	struct pieces p[nr];
	size_t size;

	if (!self->mm.has_thp || !pmd)
		SKIP(return, "no huge pages");
	if (access(SPLIT_FILE, W_OK))
		SKIP(return, "no " SPLIT_FILE);
	size = mem_bytes(&self->mm, "MemAvailable: ") / 8 / pmd * pmd;
	if (size > 8 * pmd)
		size = 8 * pmd;
	if (!size)
		SKIP(return, "too little memory");
	pthread_barrier_init(&start, NULL, nr);

	for (int round = 0; round < 4; round++) {
		char *map = map_memory(size, MADV_HUGEPAGE);
		char command[64];

		ASSERT_NE(NULL, map);
		stamp(map, size, psize());
		ASSERT_TRUE(check_huge_anon(map, size / pmd, pmd));
		snprintf(command, sizeof(command), "%d,%#lx,%#lx", getpid(),
			 (unsigned long)map, (unsigned long)map + size);
		write_file(SPLIT_FILE, command, strlen(command) + 1);
		ASSERT_TRUE(check_huge_anon(map, 0, pmd));
		ASSERT_TRUE(stamps_intact(map, size, psize()));
		for (int i = 0; i < nr; i++) {
			p[i] = (struct pieces) {
				.start = &start, .map = map, .size = size,
				.first = i, .step = nr,
			};
			ASSERT_EQ(0, pthread_create(&p[i].thread, NULL,
						    free_pieces, &p[i]));
		}
		for (int i = 0; i < nr; i++)
			pthread_join(p[i].thread, NULL);
		munmap(map, size);
	}
	pthread_barrier_destroy(&start);
	EXPECT_TRUE(nothing_lost(&self->mm, base)) TH_LOG("%s", self->mm.why);
}

/*
 * Most memory in use in single pages with a hole beside each. Huge pages can
 * only come from compaction, which must neither hang nor lose anything.
 */
TEST_F_TIMEOUT(llfree, huge_from_holes, 240)
{
	size_t pmd = read_pmd_pagesize();
	long base = unexplained(&self->mm), got, missed;
	size_t size, want;
	char *small, *large;

	if (!self->mm.has_thp || !pmd)
		SKIP(return, "no huge pages");
	size = mem_bytes(&self->mm, "MemAvailable: ") / 8 * 7 / pmd * pmd;
	want = size / 3 / pmd * pmd;
	if (!want)
		SKIP(return, "too little memory");
	small = map_memory(size, MADV_NOHUGEPAGE);
	ASSERT_NE(NULL, small);
	stamp(small, size, psize());
	for (size_t off = psize(); off < size; off += 2 * psize())
		ASSERT_EQ(0, madvise(small + off, psize(), MADV_DONTNEED));

	got = vm_event(&self->mm, "thp_fault_alloc ");
	missed = vm_event(&self->mm, "thp_fault_fallback ");
	large = map_memory(want, MADV_HUGEPAGE);
	ASSERT_NE(NULL, large);
	stamp(large, want, psize());
	got = vm_event(&self->mm, "thp_fault_alloc ") - got;
	missed = vm_event(&self->mm, "thp_fault_fallback ") - missed;
	TH_LOG("%ld huge pages of %zu, %ld fell back", got, want / pmd, missed);
	EXPECT_LE((long)(want / pmd), got + missed);
	/* An eighth of memory is in one piece; more has to be made. */
	EXPECT_LE((long)(want / pmd / 2), got);

	EXPECT_TRUE(stamps_intact(small, size, 2 * psize()));
	EXPECT_TRUE(stamps_intact(large, want, psize()));
	munmap(large, want);
	munmap(small, size);
	EXPECT_TRUE(nothing_lost(&self->mm, base)) TH_LOG("%s", self->mm.why);
}

static void fill_until_killed(unsigned long total)
{
	size_t chunk = 16 * MIB, filled;

	write_num("/proc/self/oom_score_adj", 1000);
	for (filled = 0; filled < 2 * total; filled += chunk) {
		/* Small pages first: these take the whole way. */
		char *map = map_memory(chunk, filled < 128 * MIB ?
				       MADV_NOHUGEPAGE : MADV_HUGEPAGE);

		if (!map)
			break;
		stamp(map, chunk, psize());
	}
	_exit(1);
}

TEST_F_TIMEOUT(llfree, oom_kill, 240)
{
	long base = unexplained(&self->mm);
	unsigned long total = mem_bytes(&self->mm, "MemTotal: ") +
			      mem_bytes(&self->mm, "SwapTotal: ");
	const int nr = 2;
	pid_t pids[nr];
	long kills;

	kills = vm_event(&self->mm, "oom_kill ");
	for (int i = 0; i < nr; i++) {
		pids[i] = fork();
		if (!pids[i])
			fill_until_killed(total);
	}
	EXPECT_EQ(0, reap(pids, nr, SIGKILL));
	EXPECT_LE(nr, vm_event(&self->mm, "oom_kill ") - kills);
	EXPECT_TRUE(nothing_lost(&self->mm, base)) TH_LOG("%s", self->mm.why);
}

TEST_HARNESS_MAIN
