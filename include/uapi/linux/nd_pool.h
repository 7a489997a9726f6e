/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * Pools of page frames in persistent memory: /dev/ndpoolN
 *
 * A program allocates blocks of a pool, maps them at their offset with mmap(MAP_SHARED),
 * and commits those that have to be allocated after a crash. See
 * Documentation/mm/llfree-pool.rst.
 */
#ifndef _UAPI_LINUX_ND_POOL_H
#define _UAPI_LINUX_ND_POOL_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* A block: its offset in the pool in bytes, and its order in the low bits */
#define ND_POOL_FRAME_SHIFT	12
#define ND_POOL_ORDER_MASK	((1ULL << ND_POOL_FRAME_SHIFT) - 1)
#define ND_POOL_MAX_ORDER	10
#define ND_POOL_NR_ROOTS	64
/* Frames whose bits are in one word of ND_POOL_GET_ROWS and ND_POOL_SWEEP */
#define ND_POOL_ROW_FRAMES	64

/* nd_pool_info.flags */
#define ND_POOL_WAS_DIRTY	0x1	/* it was attached when the system crashed */
#define ND_POOL_ROWS_DAMAGED	0x2	/* rows are not those at the last detach */
#define ND_POOL_READ_ONLY	0x4	/* its medium failed; nothing can change */

/* nd_pool_info.persistence: what has to be done for a store to survive */
#define ND_POOL_SURVIVES_RESET	0	/* write back, fence; a loss of power: unknown */
#define ND_POOL_WRITE_BACK	1	/* write back, fence */
#define ND_POOL_FENCE		2	/* fence; caches persist */

/**
 * struct nd_pool_info - what a pool is
 * @size: bytes, metadata included
 * @first: offset of the first byte behind the metadata
 * @free: bytes that can be allocated
 * @free_huge: of these, bytes in free blocks of 2 MiB
 * @session: how often the pool was attached
 * @bad_rows: cache lines of allocation bits that could not be read
 * @bad_frames: frames that were not handed out since they cannot be written
 * @recovery_us: time that attaching it took, in microseconds
 * @flags: ND_POOL_WAS_DIRTY and so on
 * @persistence: ND_POOL_SURVIVES_RESET and so on
 * @uuid: of the pool
 */
struct nd_pool_info {
	__u64 size;
	__u64 first;
	__u64 free;
	__u64 free_huge;
	__u64 session;
	__u64 bad_rows;
	__u64 bad_frames;
	__u64 recovery_us;
	__u32 flags;
	__u32 persistence;
	__u8 uuid[16];
};

/* nd_pool_blocks.flags */
#define ND_POOL_COMMITTED	0x1	/* ND_POOL_ALLOC: commit the blocks, too */

/**
 * struct nd_pool_blocks - blocks for ND_POOL_ALLOC, ND_POOL_COMMIT, ND_POOL_FREE
 * @blocks: address of @nr words, each of which is a block
 * @nr: number of blocks
 * @flags: ND_POOL_COMMITTED, or 0
 */
struct nd_pool_blocks {
	__u64 blocks;
	__u32 nr;
	__u32 flags;
};

/**
 * struct nd_pool_root - a root for ND_POOL_GET_ROOT, ND_POOL_CAS_ROOT
 * @index: which one, below ND_POOL_NR_ROOTS
 * @pad: 0
 * @value: what it is, or was; for ND_POOL_CAS_ROOT what it has to be
 * @next: what ND_POOL_CAS_ROOT makes it
 */
struct nd_pool_root {
	__u32 index;
	__u32 pad;
	__u64 value;
	__u64 next;
};

/**
 * struct nd_pool_rows - a range of frames for ND_POOL_GET_ROWS, ND_POOL_SWEEP
 * @offset: of the first frame, in bytes; a multiple of ND_POOL_ROW_FRAMES frames
 * @nr: number of rows
 * @rows: address of @nr words, with one bit for each frame
 * @freed: frames that ND_POOL_SWEEP freed, also if it fails in the end
 * @missing: frames with a bit that were free, likewise
 */
struct nd_pool_rows {
	__u64 offset;
	__u64 nr;
	__u64 rows;
	__u64 freed;
	__u64 missing;
};

/*
 * ALLOC, COMMIT and FREE return the number of blocks that are done, or an error if the
 * first one failed. ALLOC takes the orders and stores the offsets; the blocks are zero.
 */
#define ND_POOL_IOC		'p'
#define ND_POOL_INFO		_IOR(ND_POOL_IOC, 0xe0, struct nd_pool_info)
#define ND_POOL_ALLOC		_IOW(ND_POOL_IOC, 0xe1, struct nd_pool_blocks)
#define ND_POOL_COMMIT		_IOW(ND_POOL_IOC, 0xe2, struct nd_pool_blocks)
#define ND_POOL_FREE		_IOW(ND_POOL_IOC, 0xe3, struct nd_pool_blocks)
#define ND_POOL_GET_ROOT	_IOWR(ND_POOL_IOC, 0xe4, struct nd_pool_root)
#define ND_POOL_CAS_ROOT	_IOWR(ND_POOL_IOC, 0xe5, struct nd_pool_root)
#define ND_POOL_GET_ROWS	_IOW(ND_POOL_IOC, 0xe6, struct nd_pool_rows)
#define ND_POOL_SWEEP		_IOWR(ND_POOL_IOC, 0xe7, struct nd_pool_rows)

#endif /* _UAPI_LINUX_ND_POOL_H */
