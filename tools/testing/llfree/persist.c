// SPDX-License-Identifier: GPL-2.0
/*
 * Persistent memory in userspace: pools in a mapped file. Each command has
 * --help.
 *
 *   persist durable    nanoseconds per operation that survives a crash
 *   persist recovery   milliseconds until memory can be used after a restart
 *   persist crash      processes that use a pool are killed, and the pool is checked
 *   persist test       short forms of the last two; output is KTAP
 *
 * The file keeps all stores of a process that is killed, written back or not.
 * So these programs show the cost of operations, and that the order of their
 * steps is right. lib/llfree/tests/pool.c tests that each store is written
 * back.
 */
#include <err.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <linux/kernel.h>
#include <kselftest.h>

#include "persist.h"

void __noreturn die(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	verrx(2, fmt, args);
}

/* ---- Pools ---- */

void *fresh_memory(size_t size)
{
	void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (mem == MAP_FAILED)
		err(2, "mmap of %zu bytes", size);
	return mem;
}

int persist_attach(struct persist *p)
{
	struct llfree_pool_super super;
	int ret;

	ret = llfree_pool_probe(&p->dax.m, &super) ?:
	      llfree_pool_layout(&super, p->nr_slots, &p->mem);
	if (ret)
		return ret;
	p->mem.rows = fresh_memory(p->mem.rows_size);
	p->mem.children = fresh_memory(p->mem.children_size);
	p->mem.trees = fresh_memory(p->mem.trees_size);
	p->locals = fresh_memory(p->nr_slots * sizeof(*p->locals));
	p->attached = true;
	ret = llfree_pool_attach(&p->pool, &p->dax.m, &p->mem, p->locals, p->nr_slots);
	if (ret)
		persist_drop(p);
	return ret;
}

void persist_drop(struct persist *p)
{
	if (!p->attached)
		return;
	munmap(p->mem.rows, p->mem.rows_size);
	munmap(p->mem.children, p->mem.children_size);
	munmap(p->mem.trees, p->mem.trees_size);
	munmap(p->locals, p->nr_slots * sizeof(*p->locals));
	p->attached = false;
}

int persist_format(struct persist *p)
{
	static const u8 uuid[16] = "pool-in-a-file";

	return llfree_pool_format(&p->dax.m, uuid) ?: persist_attach(p);
}

unsigned long persist_free_frames(const struct persist *p)
{
	struct llfree_pool_stats stats;

	llfree_pool_stats(&p->pool, &stats);
	return stats.free;
}

/* ---- Tests ---- */

static void result(const char *why, const char *name)
{
	if (why)
		printf("# %s: %s\n", name, why);
	ksft_test_result(!why, "%s\n", name);
}

static int test_main(int argc, char **argv)
{
	static const struct {
		unsigned int threads;
		int order;
	} crashes[] = { { 1, 0 }, { 3, 0 }, { 2, 4 }, { 2, 9 }, { 3, 10 }, { 4, -1 } };
	const u64 seed = argc > 1 ? strtoull(argv[1], NULL, 0) : rng_seed();
	char name[80];
	unsigned int i;

	ksft_print_header();
	ksft_set_plan(2 + ARRAY_SIZE(crashes));
	printf("# seed %llu\n", (unsigned long long)seed);
	result(recovery_check(1, seed), "recovery of 1 GiB");
	result(recovery_check(3, seed), "recovery of 3 GiB");
	for (i = 0; i < ARRAY_SIZE(crashes); i++) {
		if (crashes[i].order < 0)
			snprintf(name, sizeof(name), "crash of %u threads, all orders",
				 crashes[i].threads);
		else
			snprintf(name, sizeof(name), "crash of %u threads, order %d",
				 crashes[i].threads, crashes[i].order);
		result(crash_check(crashes[i].threads, crashes[i].order, 10, seed + i), name);
	}
	ksft_finished();
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(int argc, char **argv);
	} commands[] = {
		{ "durable", durable_main },
		{ "recovery", recovery_main },
		{ "crash", crash_main },
		{ "test", test_main },
	};
	unsigned int i;

	for (i = 0; argc > 1 && i < ARRAY_SIZE(commands); i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	puts("persist durable|recovery|crash --help, or persist test [SEED]");
	return argc > 1 && !strcmp(argv[1], "--help") ? 0 : 2;
}
