/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Persistent memory that loses in a crash what it may lose.
 *
 * CPUs write to the memory at @base. What becomes of it:
 *
 *   - llfree_pool_medium.write_back() notes the lines as they are then.
 *   - llfree_pool_medium.fence() makes noted lines persistent: as they were noted, or, as
 *     caches may write them again later, as they are now. It may write out other lines.
 *   - In a crash, each word becomes one of those that the medium may have: persistent,
 *     noted, or in the cache.
 */
#ifndef _LLFREE_TESTS_LOSSY_H
#define _LLFREE_TESTS_LOSSY_H

#include <kunit/test.h>
#include <linux/llfree_pool.h>
#include <linux/prandom.h>

/**
 * struct lossy - such a medium
 * @m: for the pool
 * @size: bytes that there are, from the start of the medium on; a pool never uses the
 *	rest
 * @durable: what is persistent
 * @noted: lines as they were when they were written back
 * @is_noted: for each line
 * @bad: for each line: it cannot be read
 * @rnd: for what caches do
 * @write_backs: lines that were written back
 * @fences: fences so far
 * @crash_at: the fence at which the system crashes, or 0; nothing becomes persistent
 *	after that
 */
struct lossy {
	struct llfree_pool_medium m;
	size_t size;
	u64 *durable;
	u64 *noted;
	bool *is_noted;
	bool *bad;
	struct rnd_state rnd;
	unsigned long write_backs;
	unsigned long fences;
	unsigned long crash_at;
};

/* A medium of @frames frames, with memory for the metadata of a pool */
struct lossy *lossy_new(struct kunit *test, unsigned long frames, u64 seed);
/* The system crashes: the memory is what persisted. */
void lossy_crash(struct lossy *lossy);
/* No byte of the line at @offset can be read; until it is made good. */
void lossy_set_bad(struct lossy *lossy, unsigned long offset, bool bad);

#endif /* _LLFREE_TESTS_LOSSY_H */
