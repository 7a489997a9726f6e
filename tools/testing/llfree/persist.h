/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A pool in a mapped file, with volatile memory, and the commands that use it
 */
#ifndef _LLFREE_TEST_PERSIST_H
#define _LLFREE_TEST_PERSIST_H

#include <linux/llfree_pool.h>

#include "dax.h"
#include "inst.h"

/**
 * struct persist - a pool in a mapped file
 * @dax: the file
 * @pool: the pool, if @attached
 * @mem: volatile memory of the pool
 * @locals: its slots
 * @nr_slots: number of @locals
 * @attached: the pool is attached
 */
struct persist {
	struct dax dax;
	struct llfree_pool pool;
	struct llfree_memory mem;
	struct llfree_local *locals;
	unsigned int nr_slots;
	bool attached;
};

/*
 * Memory that is all zero and of which no page was touched, as in a new process
 */
void *fresh_memory(size_t size);

/* Format the file, and attach the pool. */
int persist_format(struct persist *p);
/* Attach the pool with fresh volatile memory. Return: as llfree_pool_attach() */
int persist_attach(struct persist *p);
/* Give the volatile memory back. Without a detach before, this is a crash. */
void persist_drop(struct persist *p);
/* Free frames of the pool */
unsigned long persist_free_frames(const struct persist *p);

void __noreturn die(const char *fmt, ...) __printf(1, 2);

/* The commands: main() of each, and the checks that `persist test` runs */
int durable_main(int argc, char **argv);
int recovery_main(int argc, char **argv);
int crash_main(int argc, char **argv);

/* Recover @gib GiB in all forms and states. Return: the fault, or NULL */
const char *recovery_check(unsigned long gib, u64 seed);
/*
 * Crash @rounds times with @threads threads that use blocks of @order, or of
 * all orders if that is negative. Return: the fault, or NULL
 */
const char *crash_check(unsigned int threads, int order, unsigned int rounds, u64 seed);

#endif /* _LLFREE_TEST_PERSIST_H */
