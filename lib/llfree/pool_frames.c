// SPDX-License-Identifier: GPL-2.0
/*
 * LLFree core: frames of a pool in persistent memory. Callers allocate, commit
 * and free frames; a sweep frees leaked frames, to which no pointer leads.
 *
 * lib/llfree/pool.c says in which order each operation changes the medium.
 */
#include <linux/align.h>
#include <linux/atomic.h>
#include <linux/errno.h>
#include <linux/export.h>
#include <linux/llfree_pool.h>
#include <linux/minmax.h>
#include <linux/sched.h>
#include <linux/smp.h>

#include "layout.h"
#include "pool_medium.h"

/* ---- Blocks ---- */

static int pool_slot(const struct llfree_pool *pool)
{
	const unsigned int cpu = raw_smp_processor_id(), nr = llfree_nr_slots(&pool->core);

	/* Most pools have a slot for each CPU, and a division takes 12 cycles. */
	return likely(cpu < nr) ? cpu : cpu % nr;
}

/**
 * llfree_pool_alloc() - allocate a block
 * @pool: the pool
 * @order: 0..LLFREE_MAX_ORDER
 *
 * The block is free again after a crash unless it is committed.
 *
 * Context: any, also NMI; takes no lock, does not sleep.
 *
 * Return: first frame; -EINVAL for a bad order; -ENOMEM if no block is free;
 *	-EROFS if the pool is read-only
 */
long llfree_pool_alloc(struct llfree_pool *pool, unsigned int order)
{
	const unsigned int class = order < LLFREE_CHILD_ORDER ? LLFREE_CLASS_MOVABLE :
								LLFREE_CLASS_HUGE;
	const unsigned int slot = pool_slot(pool);
	struct llfree_delta delta __uninitialized;
	unsigned int whole;
	long frame;

	if (READ_ONCE(pool->read_only))
		return -EROFS;
	/* The order of a request has fewer bits. */
	if (order > LLFREE_MAX_ORDER)
		return -EINVAL;
	frame = llfree_alloc_fast(&pool->core, slot, order, class, &whole, &delta);
	if (likely(frame >= 0))
		return frame;
	return llfree_alloc_slow(&pool->core, &(struct llfree_request){
		.slot = slot, .order = order, .class = class,
	}, NULL);
}
EXPORT_SYMBOL_GPL(llfree_pool_alloc);

/* Return the bits of a block in each of its rows. */
static u64 block_mask(unsigned long frame, unsigned int order)
{
	if (order >= LLFREE_ROW_ORDER)
		return ~0ULL;
	return ((1ULL << (1U << order)) - 1) << (frame % LLFREE_ROW_FRAMES);
}

/* Out of line, so that the fast paths save no registers for this call */
static noinline bool child_isolated(const struct llfree_pool *pool, unsigned long frame)
{
	struct llfree_child child;

	return !llfree_child(&pool->core, frame, &child) && child.view == LLFREE_VIEW_ISOLATED;
}

/**
 * llfree_pool_rows_bad() - could the rows of a child not be read?
 * @pool: the pool
 * @frame: any frame of the child, behind the metadata
 *
 * Context: any.
 *
 * Return: true from a failed read on, until llfree_pool_sweep() has written the
 *	rows
 */
bool llfree_pool_rows_bad(const struct llfree_pool *pool, unsigned long frame)
{
	return unlikely(READ_ONCE(pool->bad_rows)) && child_isolated(pool, frame);
}
EXPORT_SYMBOL_GPL(llfree_pool_rows_bad);

/*
 * May a caller commit or free a block?
 *
 * Return: 0, or the error for the caller
 */
static __always_inline int block_check(const struct llfree_pool *pool, unsigned long frame,
				       unsigned int order)
{
	unsigned long at, nr;

	if (READ_ONCE(pool->read_only))
		return -EROFS;
	if (order > LLFREE_MAX_ORDER)
		return -EINVAL;
	nr = 1UL << order;
	if (!IS_ALIGNED(frame, nr) ||
	    frame < pool->first || frame >= pool->frames || nr > pool->frames - frame)
		return -EINVAL;
	for (at = frame; at < frame + nr; at += LLFREE_ROW_FRAMES) {
		if (llfree_pool_rows_bad(pool, at))
			return -EIO;
		if (llfree_row_mask(&pool->core, at) & block_mask(frame, order))
			return -EINVAL;
	}
	return 0;
}

/* Set or clear bits that the caller owns. */
static void row_change(u64 *row, u64 set, u64 clear)
{
	u64 old = READ_ONCE(*row);

	if (!~(set | clear)) {
		WRITE_ONCE(*row, set);
		return;
	}
	while (!try_cmpxchg_relaxed(row, &old, (old & ~clear) | set))
		;
}

/* Number of rows of a block */
static unsigned int block_rows(unsigned int order)
{
	return max(1U, (1U << order) / LLFREE_ROW_FRAMES);
}

static __always_inline void block_set(struct llfree_pool *pool, unsigned long frame,
				      unsigned int order, bool commit)
{
	const unsigned int nr = block_rows(order);
	const u64 mask = block_mask(frame, order);
	u64 *row = row_on_medium(pool, frame);
	unsigned int i;

	for (i = 0; i < nr; i++)
		row_change(&row[i], commit ? mask : 0, commit ? 0 : mask);
}

static __always_inline void block_change(struct llfree_pool *pool, unsigned long frame,
					 unsigned int order, bool commit)
{
	const unsigned int nr = block_rows(order);
	u64 *row = row_on_medium(pool, frame);

	block_set(pool, frame, order, commit);
	pool->medium->write_back(pool->medium, row, nr * sizeof(*row));
}

static bool block_committed(const struct llfree_pool *pool, unsigned long frame,
			    unsigned int order)
{
	const unsigned int nr = block_rows(order);
	const u64 *row = row_on_medium(pool, frame);
	unsigned int i;

	for (i = 0; i < nr; i++)
		if (READ_ONCE(row[i]) & block_mask(frame, order))
			return true;
	return false;
}

/**
 * llfree_pool_commit() - make a block survive a crash
 * @pool: the pool
 * @frame: first frame, aligned to the size of the block
 * @order: 0..LLFREE_MAX_ORDER; the caller owns the block, which need not have been
 *	allocated in one piece
 *
 * The block is allocated after any crash once llfree_pool_sync() has returned.
 * A second commit of a block does no harm.
 *
 * Context: any, also NMI; takes no lock, does not sleep.
 *
 * Return: 0; -EINVAL if @frame and @order are no block, or not all of the block
 *	is allocated; -EIO if its rows could not be read; -EROFS if the pool is
 *	read-only. On failure nothing has changed.
 */
int llfree_pool_commit(struct llfree_pool *pool, unsigned long frame, unsigned int order)
{
	const int ret = block_check(pool, frame, order);

	if (!ret)
		block_change(pool, frame, order, true);
	return ret;
}
EXPORT_SYMBOL_GPL(llfree_pool_commit);

/**
 * llfree_pool_sync() - wait until commits and frees of this CPU are persistent
 * @pool: the pool
 *
 * A caller that begins to write its own data back before this call needs no
 * other fence.
 *
 * Context: any, on the CPU that made the changes.
 */
void llfree_pool_sync(struct llfree_pool *pool)
{
	pool->medium->fence(pool->medium);
}
EXPORT_SYMBOL_GPL(llfree_pool_sync);

/*
 * Free a block whose bits on the medium are clear. Afterwards another CPU may
 * allocate and commit the block.
 */
static __always_inline int block_release(struct llfree_pool *pool, unsigned long frame,
					 unsigned int order)
{
	if (unlikely(order > LLFREE_CHILD_ORDER))
		return llfree_free(&pool->core, pool_slot(pool), frame, order, NULL);
	return min(llfree_free_fast(&pool->core, pool_slot(pool), frame, order), 0);
}

/**
 * llfree_pool_free() - free a block, also after a crash
 * @pool: the pool
 * @frame: first frame, aligned to the size of the block
 * @order: 0..LLFREE_MAX_ORDER; the caller owns the block, of which any part may be
 *	committed
 *
 * The caller has removed the last pointer to the block from the medium, and has
 * begun to write that change back, on this CPU.
 *
 * Context: any, also NMI; takes no lock, does not sleep.
 *
 * Return: 0; -EINVAL if @frame and @order are no block, or not all of the block
 *	is allocated; -EIO if its rows could not be read; -EROFS if the pool is
 *	read-only. On failure nothing has changed.
 */
int llfree_pool_free(struct llfree_pool *pool, unsigned long frame, unsigned int order)
{
	const int ret = block_check(pool, frame, order);

	if (ret)
		return ret;
	if (block_committed(pool, frame, order)) {
		/* The pointer is gone before the frame is free. */
		pool->medium->fence(pool->medium);
		block_change(pool, frame, order, false);
	}
	return block_release(pool, frame, order);
}
EXPORT_SYMBOL_GPL(llfree_pool_free);

/* ---- Batches ---- */

/* Frames whose lines a batch has changed but not written back yet */
struct lines {
	unsigned long first;
	unsigned long end;
};

static void lines_write_back(const struct llfree_pool *pool, const struct lines *lines)
{
	const unsigned long first = ALIGN_DOWN(lines->first, LLFREE_CHILD_FRAMES);

	if (lines->first < lines->end)
		pool->medium->write_back(pool->medium, row_on_medium(pool, first),
					 (ALIGN(lines->end, LLFREE_CHILD_FRAMES) - first) /
					 BITS_PER_BYTE);
}

/*
 * Change the rows of a block. First write back the lines of earlier blocks, if
 * this block has other lines.
 */
static void lines_change(struct llfree_pool *pool, struct lines *lines, unsigned long frame,
			 unsigned int order, bool commit)
{
	if (frame < lines->first || frame >= ALIGN(lines->end, LLFREE_CHILD_FRAMES)) {
		lines_write_back(pool, lines);
		lines->first = ALIGN_DOWN(frame, LLFREE_CHILD_FRAMES);
		lines->end = frame;
	}
	block_set(pool, frame, order, commit);
	lines->end = max(lines->end, frame + (1UL << order));
}

static unsigned long block_frame(u64 block)
{
	return block >> LLFREE_POOL_FRAME_SHIFT;
}

static unsigned int block_order(u64 block)
{
	return block & (FRAME_BYTES - 1);
}

/**
 * llfree_pool_commit_batch() - make blocks survive a crash
 * @pool: the pool
 * @blocks: for each block its offset on the medium in bytes, plus its order; see
 *	llfree_pool_commit()
 * @nr: number of blocks
 *
 * Writes a line of rows back once if all blocks of its child follow each other.
 * A CPU that changes a line waits for an earlier write-back of that line, which
 * takes ten times as long as the rest of a commit.
 *
 * Context: any, also NMI; takes no lock, does not sleep.
 *
 * Return: how many of the blocks are committed, from the first one on; if none
 *	are, the error of llfree_pool_commit() for the first block
 */
long llfree_pool_commit_batch(struct llfree_pool *pool, const u64 *blocks, unsigned long nr)
{
	struct lines lines = { };
	unsigned long i;
	int ret = 0;

	for (i = 0; i < nr; i++) {
		ret = block_check(pool, block_frame(blocks[i]), block_order(blocks[i]));
		if (ret)
			break;
		lines_change(pool, &lines, block_frame(blocks[i]), block_order(blocks[i]), true);
	}
	lines_write_back(pool, &lines);
	return i ?: ret;
}
EXPORT_SYMBOL_GPL(llfree_pool_commit_batch);

/**
 * llfree_pool_free_batch() - free blocks, also after a crash
 * @pool: the pool
 * @blocks: as for llfree_pool_commit_batch(); see llfree_pool_free()
 * @nr: number of blocks
 *
 * The caller has removed the last pointers to all of the blocks from the
 * medium, and has begun to write these changes back, on this CPU. One fence
 * waits for them. Lines of rows are written back as by
 * llfree_pool_commit_batch().
 *
 * Context: any, also NMI; takes no lock, does not sleep.
 *
 * Return: how many of the blocks are free, from the first one on; if none are,
 *	the error of llfree_pool_free() for the first block
 */
long llfree_pool_free_batch(struct llfree_pool *pool, const u64 *blocks, unsigned long nr)
{
	struct lines lines = { };
	bool waited = false;
	unsigned int order;
	unsigned long frame, i;
	int ret = 0;

	for (i = 0; i < nr; i++) {
		frame = block_frame(blocks[i]);
		order = block_order(blocks[i]);
		ret = block_check(pool, frame, order);
		if (ret)
			break;
		if (block_committed(pool, frame, order)) {
			/* The pointers are gone before any of the frames is free. */
			if (!waited)
				pool->medium->fence(pool->medium);
			waited = true;
			lines_change(pool, &lines, frame, order, false);
		}
		ret = block_release(pool, frame, order);
		if (ret)
			break;
	}
	lines_write_back(pool, &lines);
	return i ?: ret;
}
EXPORT_SYMBOL_GPL(llfree_pool_free_batch);

/**
 * llfree_pool_is_allocated() - are all of some frames allocated?
 * @pool: the pool
 * @first: first frame
 * @nr: number of frames, at least one
 *
 * Context: any. The answer stays true while the owners of the frames do not
 * free them.
 *
 * Return: true if all of the frames are behind the metadata, and none is free
 */
bool llfree_pool_is_allocated(const struct llfree_pool *pool, unsigned long first,
			      unsigned long nr)
{
	const unsigned long end = first + nr;
	unsigned long at, next;
	u64 mask;

	if (first < pool->first || end > pool->frames || end <= first)
		return false;
	for (at = first; at < end; at = next) {
		next = min(ALIGN_DOWN(at, LLFREE_ROW_FRAMES) + LLFREE_ROW_FRAMES, end);
		mask = GENMASK_ULL((next - 1) % LLFREE_ROW_FRAMES, at % LLFREE_ROW_FRAMES);
		if (llfree_row_mask(&pool->core, ALIGN_DOWN(at, LLFREE_ROW_FRAMES)) & mask)
			return false;
	}
	return true;
}
EXPORT_SYMBOL_GPL(llfree_pool_is_allocated);

/**
 * llfree_pool_stats() - count free frames
 * @pool: the pool
 * @stats: the counts are stored here
 *
 * Context: any. Reads a word of each child and of each tree.
 */
void llfree_pool_stats(const struct llfree_pool *pool, struct llfree_pool_stats *stats)
{
	struct llfree_stats core;

	llfree_stats_exact(&pool->core, &core);
	stats->free = core.frames[LLFREE_VIEW_NORMAL];
	stats->free_huge = core.huge[LLFREE_VIEW_NORMAL];
}
EXPORT_SYMBOL_GPL(llfree_pool_stats);

/* ---- Leaks ---- */

/**
 * llfree_pool_committed() - which frames of a row are committed
 * @pool: the pool
 * @frame: any frame of the row
 *
 * Context: any.
 *
 * Return: a bit for each frame, 1 = committed; 0 outside the pool; all bits if
 *	the rows could not be read
 */
u64 llfree_pool_committed(const struct llfree_pool *pool, unsigned long frame)
{
	if (frame < pool->first || frame >= pool->frames)
		return 0;
	if (llfree_pool_rows_bad(pool, frame))
		return ~0ULL;
	return READ_ONCE(*row_on_medium(pool, frame));
}
EXPORT_SYMBOL_GPL(llfree_pool_committed);

/* Return the bits of the frames of the row of @at that are before @end. */
static u64 sweep_mask(unsigned long at, unsigned long end)
{
	return end - at < LLFREE_ROW_FRAMES ? (1ULL << (end - at)) - 1 : ~0ULL;
}

/*
 * Write the rows of a child that could not be read, all of whose frames are
 * allocated.
 */
static void sweep_bad(struct llfree_pool *pool, unsigned long first, unsigned long end,
		      const u64 *live)
{
	u64 *row = row_on_medium(pool, first);
	unsigned long at;
	unsigned int i = 0;

	for (at = first; at < end; at += LLFREE_ROW_FRAMES, i++)
		WRITE_ONCE(row[i], live[i] & sweep_mask(at, end));
	/* Show the child only after all of the line is persistent. */
	medium_persist(pool->medium, row, i * sizeof(*row));
	llfree_set_view(&pool->core, first, LLFREE_VIEW_NORMAL, NULL);
	WRITE_ONCE(pool->bad_rows, pool->bad_rows - 1);
}

/* Free the frames of a row that are allocated but not in @live. */
static void sweep_row(struct llfree_pool *pool, unsigned long frame, u64 inside, u64 live,
		      struct llfree_pool_swept *swept)
{
	const u64 free = llfree_row_mask(&pool->core, frame);
	u64 leaked = ~free & ~live & inside;
	u64 *row = row_on_medium(pool, frame);

	swept->missing += hweight64(free & live & inside);
	if (leaked)
		row_change(row, 0, leaked);
	/* Other CPUs may have changed the row and not have waited yet. */
	pool->medium->write_back(pool->medium, row, sizeof(*row));
	for (; leaked; leaked &= leaked - 1)
		swept->freed += !llfree_free(&pool->core, pool_slot(pool),
					     frame + __ffs64(leaked), 0, NULL);
}

/**
 * llfree_pool_reclaim() - free frames that are allocated but not committed
 * @pool: the pool
 *
 * Does the same as a crash, after the callers that allocated the frames are
 * gone.
 *
 * Context: task; may sleep. Nothing allocates, commits or frees frames meanwhile.
 *
 * Return: number of frames that were freed; -EROFS if the pool is read-only
 */
long llfree_pool_reclaim(struct llfree_pool *pool)
{
	unsigned long at;
	long nr = 0;
	u64 lost;

	if (READ_ONCE(pool->read_only))
		return -EROFS;
	for (at = pool->first; at < pool->frames; at += LLFREE_ROW_FRAMES) {
		if (IS_ALIGNED(at, 1UL << LLFREE_MAX_ORDER))
			cond_resched();
		lost = ~llfree_row_mask(&pool->core, at) & sweep_mask(at, pool->frames);
		if (lost)
			lost &= ~llfree_pool_committed(pool, at);
		for (; lost; lost &= lost - 1)
			nr += !llfree_free(&pool->core, pool_slot(pool), at + __ffs64(lost),
					   0, NULL);
	}
	return nr;
}
EXPORT_SYMBOL_GPL(llfree_pool_reclaim);

/**
 * llfree_pool_sweep() - free frames to which no pointer leads
 * @pool: the pool
 * @first: first frame, a multiple of LLFREE_ROW_FRAMES
 * @nr: number of frames, a multiple of LLFREE_ROW_FRAMES, or up to the end of
 *	the pool
 * @live: a bit for each frame of the range, 1 if a pointer leads to the frame
 * @swept: the results are added here
 *
 * Frees allocated frames that are not live, also for after a crash. Live frames
 * that were free are only counted, since they may be allocated a second time.
 *
 * Writes rows that could not be read, if the range has all frames of the child.
 * The caller has repaired the medium there.
 *
 * Context: task, one caller at a time; frames of the range are neither allocated nor freed
 * meanwhile.
 *
 * Return: 0; -EINVAL for a bad range; -EIO if the rows of a child could not be
 *	read, and the range has only part of the child; then the rest of the
 *	range is swept. -EROFS if the pool is read-only.
 */
int llfree_pool_sweep(struct llfree_pool *pool, unsigned long first, unsigned long nr,
		      const u64 *live, struct llfree_pool_swept *swept)
{
	const unsigned long end = first + nr;
	unsigned long at, next;
	int ret = 0;

	if (!IS_ALIGNED(first, LLFREE_ROW_FRAMES) || first < pool->first ||
	    first > pool->frames || nr > pool->frames - first ||
	    (!IS_ALIGNED(end, LLFREE_ROW_FRAMES) && end != pool->frames))
		return -EINVAL;
	if (READ_ONCE(pool->read_only))
		return -EROFS;
	/* The pointers are gone before the frames are free. */
	pool->medium->fence(pool->medium);
	for (at = first; at < end; at = next) {
		next = min(llfree_next_child(at), end);
		if (llfree_pool_rows_bad(pool, at)) {
			if (!IS_ALIGNED(at, LLFREE_CHILD_FRAMES) ||
			    (!IS_ALIGNED(next, LLFREE_CHILD_FRAMES) && next != pool->frames)) {
				live += DIV_ROUND_UP(next - at, LLFREE_ROW_FRAMES);
				ret = -EIO;
				continue;
			}
			sweep_bad(pool, at, next, live);
		}
		for (; at < next; at += LLFREE_ROW_FRAMES)
			sweep_row(pool, at, sweep_mask(at, next), *live++, swept);
	}
	pool->medium->fence(pool->medium);
	return ret;
}
EXPORT_SYMBOL_GPL(llfree_pool_sweep);
