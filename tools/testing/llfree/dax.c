// SPDX-License-Identifier: GPL-2.0
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __x86_64__
#include <cpuid.h>
#endif

#include "dax.h"

#define LINE	64UL

const char *const dax_flush_names[DAX_NR_FLUSHES] = {
	"none", "fence", "clflush", "clflushopt", "clwb",
};

/* ---- Lines ---- */

#ifdef __x86_64__
bool dax_flush_usable(enum dax_flush flush)
{
	unsigned int a, b, c, d;

	switch (flush) {
	case DAX_CLFLUSH:
		return __get_cpuid(1, &a, &b, &c, &d) && d & BIT(19);
	case DAX_CLFLUSHOPT:
		return __get_cpuid_count(7, 0, &a, &b, &c, &d) && b & BIT(23);
	case DAX_CLWB:
		return __get_cpuid_count(7, 0, &a, &b, &c, &d) && b & BIT(24);
	default:
		return flush < DAX_NR_FLUSHES;
	}
}

static void do_fence(const struct llfree_pool_medium *m)
{
	asm volatile("sfence" : : : "memory");
}

/* Run an instruction for each line of a range of bytes. */
#define FOR_LINES(insn, start, size)						\
do {										\
	const void *__start = (start), *__end = __start + (size);		\
	char *__line = (char *)((unsigned long)__start & ~(LINE - 1));		\
										\
	for (; (void *)__line < __end; __line += LINE)				\
		asm volatile(insn " %0" : "+m" (*(volatile char *)__line));	\
} while (0)

static void do_clflush(const struct llfree_pool_medium *m, const void *start, size_t size)
{
	FOR_LINES("clflush", start, size);
}

static void do_clflushopt(const struct llfree_pool_medium *m, const void *start, size_t size)
{
	FOR_LINES("clflushopt", start, size);
}

static void do_clwb(const struct llfree_pool_medium *m, const void *start, size_t size)
{
	FOR_LINES("clwb", start, size);
}

void dax_evict(const void *start, size_t size)
{
	FOR_LINES("clflush", start, size);
	asm volatile("mfence" : : : "memory");
}
#else
/* Other architectures do not have these instructions, or not for programs. */
bool dax_flush_usable(enum dax_flush flush)
{
	return flush <= DAX_FENCE;
}

static void do_fence(const struct llfree_pool_medium *m)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void dax_evict(const void *start, size_t size)
{
}

#define do_clflush	NULL
#define do_clflushopt	NULL
#define do_clwb		NULL
#endif

enum dax_flush dax_flush_best(void)
{
	enum dax_flush flush = DAX_CLWB;

	while (!dax_flush_usable(flush))
		flush--;
	return flush;
}

static void no_write_back(const struct llfree_pool_medium *m, const void *start, size_t size)
{
}

static void no_fence(const struct llfree_pool_medium *m)
{
}

static void set_flush(struct llfree_pool_medium *m, enum dax_flush flush)
{
	static void (*const write_back[])(const struct llfree_pool_medium *m,
					  const void *start, size_t size) = {
		no_write_back, no_write_back, do_clflush, do_clflushopt, do_clwb,
	};

	if (!dax_flush_usable(flush))
		errx(2, "this CPU has no %s", dax_flush_names[flush]);
	m->write_back = write_back[flush];
	m->fence = flush == DAX_NONE ? no_fence : do_fence;
}

/* ---- The file ---- */

static void map(struct dax *dax)
{
	void *base;

	base = mmap(NULL, dax->m.size, PROT_READ | PROT_WRITE, MAP_SHARED_VALIDATE | MAP_SYNC,
		    dax->fd, 0);
	dax->sync = base != MAP_FAILED;
	if (!dax->sync)
		base = mmap(NULL, dax->m.size, PROT_READ | PROT_WRITE, MAP_SHARED, dax->fd, 0);
	if (base == MAP_FAILED)
		err(2, "mmap of %zu bytes", dax->m.size);
	dax->m.base = base;
}

void dax_open(struct dax *dax, const char *path, size_t size, enum dax_flush flush)
{
	struct stat st;

	memset(dax, 0, sizeof(*dax));
	dax->fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) :
			 memfd_create("llfree-pool", MFD_CLOEXEC);
	if (dax->fd < 0 || fstat(dax->fd, &st))
		err(2, "%s", path ?: "memfd");
	/* A part of the file that is not used stays a hole. */
	if (S_ISREG(st.st_mode) && st.st_size < (off_t)size && ftruncate(dax->fd, size))
		err(2, "%s: %zu bytes", path ?: "memfd", size);
	dax->m.size = size;
	set_flush(&dax->m, flush);
	map(dax);
}

void dax_remap(struct dax *dax)
{
	munmap(dax->m.base, dax->m.size);
	map(dax);
}

void dax_note(const struct dax *dax, const char *path)
{
	if (!dax->sync)
		fprintf(stderr, "# %s: no MAP_SYNC: in the page cache, at the price of RAM\n",
			path ?: "memory");
}

void dax_close(struct dax *dax)
{
	munmap(dax->m.base, dax->m.size);
	close(dax->fd);
}
