/* SPDX-License-Identifier: GPL-2.0 */
/* kvlog: structures in the pool, and functions for commands and for the test */
#ifndef _SAMPLES_ND_POOL_KVLOG_H
#define _SAMPLES_ND_POOL_KVLOG_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/types.h>

#include "linux/nd_pool.h"

#define FRAME_BYTES	4096ULL
#define KVLOG_MAGIC	0x676f6c766bULL		/* "kvlog" */
#define NR_BUCKETS	(FRAME_BYTES / sizeof(__u64) - 1)
#define NO_THREAD	(~0U)

/**
 * struct table - one frame; root 0 of the pool is its block
 * @magic: KVLOG_MAGIC
 * @buckets: block of the first entry of each chain, or 0
 */
struct table {
	__u64 magic;
	__u64 buckets[NR_BUCKETS];
};

/**
 * struct entry - a key with its value, in a block of its own
 * @next: block of the next entry of the chain, or 0
 * @sum: checksum of all bytes that follow
 * @seq: number of the operation that made it, for the test
 * @thread: thread that made it, for the test; or NO_THREAD
 * @key_size: bytes of @data that are the key
 * @value_size: bytes after these that are the value
 * @data: key and value
 */
struct entry {
	__u64 next;
	__u64 sum;
	__u64 seq;
	__u32 thread;
	__u32 key_size;
	__u64 value_size;
	char data[];
};

/**
 * struct store - an open store
 * @fd: /dev/ndpoolN
 * @info: information about the pool
 * @base: address of offset 0 of the pool; metadata is not mapped
 * @table: its table
 * @table_block: the block of the table
 * @locks: locks of buckets, for the threads of this process
 */
struct store {
	int fd;
	struct nd_pool_info info;
	char *base;
	struct table *table;
	__u64 table_block;
	pthread_mutex_t locks[NR_BUCKETS];
};

/**
 * struct walk - the frames that are reachable from the root, and the committed
 * ones
 * @live: a bit for each frame, from the first one on, that a pointer leads to
 * @committed: a bit for each frame that is committed
 * @nr_rows: words of both
 * @faults: number of faults, after a line for each
 * @entries: number of entries that were found
 */
struct walk {
	__u64 *live;
	__u64 *committed;
	__u64 nr_rows;
	unsigned long faults;
	unsigned long entries;
};

/* Print a message with the text of errno, and end the program. */
#define die(...)						\
do {								\
	const int __error = errno;				\
								\
	fflush(stdout);						\
	fputs("kvlog: ", stderr);				\
	fprintf(stderr, __VA_ARGS__);				\
	fprintf(stderr, __error ? ": %s\n" : "\n", strerror(__error));	\
	exit(3);						\
} while (0)

static inline struct entry *entry_at(const struct store *store, __u64 block)
{
	return (struct entry *)(store->base + (block & ~ND_POOL_ORDER_MASK));
}

static inline __u64 block_size(__u64 block)
{
	return FRAME_BYTES << (block & ND_POOL_ORDER_MASK);
}

__u64 entry_sum(const struct entry *entry);
/*
 * Make an entry, which is not in the store yet. The caller writes its value,
 * which begins at @entry->data + @entry->key_size. @order may be larger than
 * necessary. Return: the block, or 0 if there is no space
 */
__u64 entry_new(struct store *store, const char *key, size_t value_size, unsigned int order);
void store_put(struct store *store, __u64 block);
bool store_del(struct store *store, const char *key);
/*
 * Find an entry. It stays while the bucket is locked or no other thread runs.
 * Return: NULL if there is none
 */
const struct entry *store_get(struct store *store, const char *key);

void store_walk(struct store *store, struct walk *walk,
		void (*visit)(const struct entry *entry, __u64 block, void *arg), void *arg);
void store_sweep(struct store *store, const struct walk *walk, __u64 *freed, __u64 *missing);
/* Bits that are in @words and not in @without, which may be NULL */
__u64 count_bits(const __u64 *words, const __u64 *without, __u64 nr);
/* Read the information about the pool again, as its free space has changed. */
void store_info(struct store *store);
void walk_free(struct walk *walk);

int kvlog_hammer(struct store *store, int argc, char **argv);
int kvlog_verify(struct store *store, int argc, char **argv);

#endif /* _SAMPLES_ND_POOL_KVLOG_H */
