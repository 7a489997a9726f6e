/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Persistent memory in userspace: a mapped file, and ways to write lines back
 */
#ifndef _LLFREE_TEST_DAX_H
#define _LLFREE_TEST_DAX_H

#include <linux/llfree_pool.h>
#include <stdbool.h>

/**
 * enum dax_flush - how a cache line is written back
 * @DAX_NONE: not at all, and a fence is no instruction: shows the cost of the
 *	others
 * @DAX_FENCE: not at all, as where caches persist; a fence is an instruction
 * @DAX_CLFLUSH: by clflush, which waits for earlier ones
 * @DAX_CLFLUSHOPT: by clflushopt, which does not wait, and evicts the line
 * @DAX_CLWB: by clwb, which may keep the line in the cache
 * @DAX_NR_FLUSHES: number of these
 */
enum dax_flush {
	DAX_NONE,
	DAX_FENCE,
	DAX_CLFLUSH,
	DAX_CLFLUSHOPT,
	DAX_CLWB,
	DAX_NR_FLUSHES,
};

extern const char *const dax_flush_names[DAX_NR_FLUSHES];

/**
 * struct dax - a file that is mapped
 * @m: the mapping, as the medium of a pool
 * @fd: the file
 * @sync: mapped with MAP_SYNC: lines that are written back need no fsync()
 */
struct dax {
	struct llfree_pool_medium m;
	int fd;
	bool sync;
};

/* Does this CPU have the instruction? */
bool dax_flush_usable(enum dax_flush flush);
/* The last of these that this CPU has */
enum dax_flush dax_flush_best(void);

/*
 * Open a file of at least @size bytes and map it. Without a @path, map memory that this
 * process and its children share. Ends the program on an error.
 */
void dax_open(struct dax *dax, const char *path, size_t size, enum dax_flush flush);
/* Map the file again, as another program would. */
void dax_remap(struct dax *dax);
/* Note on stderr if the file system does not accept MAP_SYNC. */
void dax_note(const struct dax *dax, const char *path);
void dax_close(struct dax *dax);
/* Remove lines from the caches, as a restart does. */
void dax_evict(const void *start, size_t size);

#endif /* _LLFREE_TEST_DAX_H */
