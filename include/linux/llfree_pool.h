/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Pools of page frames in persistent memory, on top of LLFree.
 *
 * A pool is a region of memory that keeps its content across a crash, and in
 * which frames stay allocated. Rows, children and trees are in volatile memory,
 * where CPUs allocate as in a zone. The medium has one bit for each frame. The
 * bit says that the frame is committed: its owner wants the frame to be
 * allocated after a crash.
 *
 * A pool gives these guarantees, if the medium keeps all data that was written
 * back before a fence:
 *
 *   - After llfree_pool_commit() or llfree_pool_commit_batch() and then
 *     llfree_pool_sync() have returned, the frames are allocated after any
 *     crash, until a free of the frames begins.
 *   - After llfree_pool_free() or llfree_pool_free_batch() of committed frames
 *     and then llfree_pool_sync() have returned, the frames are free after any
 *     crash, unless the frames are committed again.
 *   - A frame that was never committed is free after a crash.
 *   - A crash between a commit and the store of the pointer to the frame leaks
 *     the frame. So does a crash between the removal of the pointer and the
 *     free, or before the sync that follows the free. Only a sync by the CPU
 *     that freed committed frames counts. Another CPU that allocates the
 *     frames, and frees the frames without a commit, does not wait for the
 *     cleared bits of the first CPU. llfree_pool_sweep() ends the leak.
 *
 * The caller removes the last pointer to a frame, and begins to write that
 * change back, before it frees the frame. The free of a committed frame begins
 * with a fence.
 */
#ifndef _LINUX_LLFREE_POOL_H
#define _LINUX_LLFREE_POOL_H

#include <linux/align.h>
#include <linux/bits.h>
#include <linux/llfree.h>
#include <linux/math.h>
#include <linux/types.h>

#define LLFREE_POOL_MAGIC	0x6c6f6f7065657266ULL	/* "freepool" */
#define LLFREE_POOL_VERSION	1U
/* A frame is 4 KiB, whatever the size of pages. */
#define LLFREE_POOL_FRAME_SHIFT	12U

/* Offsets on the medium, in bytes */
#define LLFREE_POOL_SUPER	0UL
#define LLFREE_POOL_COPY	0x2000UL
#define LLFREE_POOL_STATE	0x4000UL
#define LLFREE_POOL_ROOTS	0x5000UL
#define LLFREE_POOL_ROWS	0x10000UL

#define LLFREE_POOL_NR_ROOTS	64U
#define LLFREE_POOL_MIN_SIZE	(4UL << 20)

/**
 * struct llfree_pool_super - superblock on the medium, little-endian
 * @magic: LLFREE_POOL_MAGIC; written last
 * @version: LLFREE_POOL_VERSION
 * @flags: none are known
 * @uuid: UUID of the pool
 * @frame_shift: a frame is 2^@frame_shift bytes
 * @crc: CRC32C of this structure, with 0 here
 * @frames: number of frames from the start of the medium on, including those
 *	with metadata
 */
struct llfree_pool_super {
	u64 magic;
	u32 version;
	u32 flags;
	u8 uuid[16];
	u32 frame_shift;
	u32 crc;
	u64 frames;
};

/**
 * struct llfree_pool_state - session and state of the rows, on the medium
 * @session: how often the pool was attached, times 2; bit 0 says that the pool
 *	is attached, or was when the system crashed
 * @rows_crc: CRC32C of the rows behind those of metadata, if bit 0 is not set
 */
struct llfree_pool_state {
	u64 session;
	u64 rows_crc;
};

#define LLFREE_POOL_DIRTY	BIT_ULL(0)

/**
 * struct llfree_pool_medium - persistent memory
 * @base: address of the mapping, page aligned, write-back
 * @size: in bytes
 * @write_back: begins to write back the cache lines of some bytes; any context
 * @fence: waits until all lines that this CPU has begun to write back are
 *	persistent; any context
 * @read: copies bytes from the medium, and returns 0, or -EIO if the bytes
 *	cannot be read. NULL if all of the medium can be read.
 * @read_only: attaching writes nothing, and leaves the pool as
 *	llfree_pool_set_read_only() does
 */
struct llfree_pool_medium {
	void *base;
	size_t size;
	void (*write_back)(const struct llfree_pool_medium *m, const void *start, size_t size);
	void (*fence)(const struct llfree_pool_medium *m);
	int (*read)(const struct llfree_pool_medium *m, void *to, const void *from,
		    size_t size);
	bool read_only;
};

/**
 * struct llfree_pool - an attached pool
 * @core: the frames, numbered from the start of the medium
 * @medium: the memory of the frames
 * @first: first frame that can be allocated
 * @frames: frame after the last one
 * @uuid: UUID of the pool
 * @session: how often the pool was attached
 * @was_dirty: the pool was attached when the system crashed
 * @rows_damaged: the rows have changed since the pool was detached
 * @bad_rows: number of cache lines of rows that could not be read, except lines
 *	for metadata, which are not used. The frames of these lines are
 *	allocated.
 * @read_only: the pool must not change any more: see
 *	llfree_pool_set_read_only()
 *
 * Callers may read @first, @frames, @read_only and the results of
 * llfree_pool_attach(): @uuid, @session, @was_dirty, @rows_damaged and
 * @bad_rows. All other use of members is for lib/llfree/ only.
 */
struct llfree_pool {
	struct llfree core;
	const struct llfree_pool_medium *medium;
	unsigned long first;
	unsigned long frames;
	u8 uuid[16];
	u64 session;
	bool was_dirty;
	bool rows_damaged;
	unsigned long bad_rows;
	bool read_only;
};

/**
 * struct llfree_pool_swept - results of llfree_pool_sweep()
 * @freed: frames that were allocated but not live, and are free now
 * @missing: live frames that were free
 */
struct llfree_pool_swept {
	unsigned long freed;
	unsigned long missing;
};

/**
 * struct llfree_pool_stats - numbers of free frames in a pool
 * @free: free frames
 * @free_huge: children all of whose frames are free
 */
struct llfree_pool_stats {
	unsigned long free;
	unsigned long free_huge;
};

/**
 * llfree_pool_rows_size() - size of the rows on the medium
 * @frames: frames of the pool
 *
 * Return: bytes, whole cache lines
 */
static inline size_t llfree_pool_rows_size(unsigned long frames)
{
	return ALIGN(frames, LLFREE_CHILD_FRAMES) / BITS_PER_BYTE;
}

/**
 * llfree_pool_first() - first frame of data
 * @frames: frames of the pool
 *
 * Return: the first frame behind the metadata
 */
static inline unsigned long llfree_pool_first(unsigned long frames)
{
	const size_t size = LLFREE_POOL_ROWS + llfree_pool_rows_size(frames);

	return ALIGN(DIV_ROUND_UP(size, 1UL << LLFREE_POOL_FRAME_SHIFT), LLFREE_CHILD_FRAMES);
}

int llfree_pool_format(const struct llfree_pool_medium *m, const u8 uuid[16]);
int llfree_pool_probe(const struct llfree_pool_medium *m, struct llfree_pool_super *super);
int llfree_pool_layout(const struct llfree_pool_super *super, unsigned int nr_slots,
		       struct llfree_memory *mem);
int llfree_pool_attach(struct llfree_pool *pool, const struct llfree_pool_medium *m,
		       const struct llfree_memory *mem, struct llfree_local *locals,
		       unsigned int nr_slots);
void llfree_pool_detach(struct llfree_pool *pool);
void llfree_pool_set_read_only(struct llfree_pool *pool);

long llfree_pool_alloc(struct llfree_pool *pool, unsigned int order);
int llfree_pool_commit(struct llfree_pool *pool, unsigned long frame, unsigned int order);
long llfree_pool_commit_batch(struct llfree_pool *pool, const u64 *blocks, unsigned long nr);
void llfree_pool_sync(struct llfree_pool *pool);
int llfree_pool_free(struct llfree_pool *pool, unsigned long frame, unsigned int order);
long llfree_pool_free_batch(struct llfree_pool *pool, const u64 *blocks, unsigned long nr);

bool llfree_pool_is_allocated(const struct llfree_pool *pool, unsigned long first,
			      unsigned long nr);
void llfree_pool_stats(const struct llfree_pool *pool, struct llfree_pool_stats *stats);

u64 llfree_pool_root(struct llfree_pool *pool, unsigned int i);
int llfree_pool_root_cas(struct llfree_pool *pool, unsigned int i, u64 *old, u64 new);

bool llfree_pool_rows_bad(const struct llfree_pool *pool, unsigned long frame);
u64 llfree_pool_committed(const struct llfree_pool *pool, unsigned long frame);
long llfree_pool_reclaim(struct llfree_pool *pool);
int llfree_pool_sweep(struct llfree_pool *pool, unsigned long first, unsigned long nr,
		      const u64 *live, struct llfree_pool_swept *swept);

#endif /* _LINUX_LLFREE_POOL_H */
