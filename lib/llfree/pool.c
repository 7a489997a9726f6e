// SPDX-License-Identifier: GPL-2.0
/*
 * LLFree core: pools of frames in persistent memory.
 *
 * include/linux/llfree_pool.h says what a pool is and what holds after a crash. This is
 * what each operation does with the medium; "wb" begins to write a cache line back, and a
 * fence waits until that is done:
 *
 *   alloc    nothing
 *   commit   sets bits, wb; of a batch once for each line
 *   sync     fence
 *   free     fence, so that the pointer to the frame is gone; clears bits, wb; only then
 *            are the frames free, and another CPU can commit them
 *   root     compare-and-swap, wb, fence
 *   attach   marks the pool as dirty, wb, fence, before the first commit
 *   detach   checksum of rows, wb, fence; marks the pool as clean, wb, fence
 *
 * A line of rows on the medium is that of one child. Only the owner of a frame changes
 * its bit, and whole rows have one owner, so these need no compare-and-swap. No search
 * reads the medium. If a line cannot be read, its frames count as allocated, and its child
 * is isolated: nothing touches the line until llfree_pool_sweep() writes it as a whole.
 */
#include <linux/align.h>
#include <linux/atomic.h>
#include <linux/crc32.h>
#include <linux/errno.h>
#include <linux/export.h>
#include <linux/llfree_pool.h>
#include <linux/math.h>
#include <linux/minmax.h>
#include <linux/sched.h>
#include <linux/smp.h>
#include <linux/string.h>
#include <linux/swab.h>

#include "layout.h"

#define FRAME_BYTES		BIT(LLFREE_POOL_FRAME_SHIFT)
/* Bytes of rows that are read at once, and those of a child */
#define READ_SIZE		4096UL
#define LINE_SIZE		64UL

/* ---- The medium ---- */

static void *medium_at(const struct llfree_pool_medium *m, unsigned long offset)
{
	return m->base + offset;
}

static int medium_read(const struct llfree_pool_medium *m, void *to, unsigned long offset,
		       size_t size)
{
	if (m->read)
		return m->read(m, to, medium_at(m, offset), size);
	memcpy(to, medium_at(m, offset), size);
	return 0;
}

static void medium_persist(const struct llfree_pool_medium *m, const void *start, size_t size)
{
	m->write_back(m, start, size);
	m->fence(m);
}

/* Bytes of the rows of @frames frames, whole lines */
static size_t rows_size(unsigned long frames)
{
	return ALIGN(frames, LLFREE_CHILD_FRAMES) / BITS_PER_BYTE;
}

/* The first frame behind the metadata */
static unsigned long data_first(unsigned long frames)
{
	return ALIGN(DIV_ROUND_UP(LLFREE_POOL_ROWS + rows_size(frames), FRAME_BYTES),
		     LLFREE_CHILD_FRAMES);
}

static u64 *row_on_medium(const struct llfree_pool *pool, unsigned long frame)
{
	return (u64 *)medium_at(pool->medium, LLFREE_POOL_ROWS) + frame / LLFREE_ROW_FRAMES;
}

/* ---- Superblocks ---- */

static u32 super_crc(const struct llfree_pool_super *super)
{
	struct llfree_pool_super copy = *super;

	copy.crc = 0;
	return __crc32c_le(~0U, (const u8 *)&copy, sizeof(copy));
}

static int super_check(const struct llfree_pool_medium *m,
		       const struct llfree_pool_super *super)
{
	if (super->magic == swab64(LLFREE_POOL_MAGIC))
		return -EMEDIUMTYPE;
	if (super->magic != LLFREE_POOL_MAGIC)
		return -ENODEV;
	if (super->crc != super_crc(super))
		return -EIO;
	if (super->version != LLFREE_POOL_VERSION || super->flags)
		return -EPROTONOSUPPORT;
	if (super->frame_shift != LLFREE_POOL_FRAME_SHIFT)
		return -EMEDIUMTYPE;
	if (super->frames < LLFREE_POOL_MIN_SIZE / FRAME_BYTES ||
	    super->frames > LLFREE_MAX_FRAMES)
		return -EIO;
	return super->frames > m->size / FRAME_BYTES ? -ENOSPC : 0;
}

static int super_read(const struct llfree_pool_medium *m, unsigned long offset,
		      struct llfree_pool_super *super)
{
	return medium_read(m, super, offset, sizeof(*super)) ?: super_check(m, super);
}

/* The magic is there when all else is. */
static void super_write(const struct llfree_pool_medium *m, unsigned long offset,
			const struct llfree_pool_super *super)
{
	struct llfree_pool_super *to = medium_at(m, offset), without = *super;

	without.magic = 0;
	memcpy(to, &without, sizeof(without));
	medium_persist(m, to, sizeof(*to));
	WRITE_ONCE(to->magic, super->magic);
	medium_persist(m, to, sizeof(*to));
}

static void super_erase(const struct llfree_pool_medium *m, unsigned long offset)
{
	struct llfree_pool_super *to = medium_at(m, offset);

	WRITE_ONCE(to->magic, 0);
	medium_persist(m, to, sizeof(*to));
}

/**
 * llfree_pool_format() - make a pool, all of whose frames are free
 * @m: the medium, of LLFREE_POOL_MIN_SIZE at least; what it has is lost
 * @uuid: of the new pool
 *
 * If the system crashes meanwhile, there is either no pool, or the new one.
 *
 * Context: task; nothing else uses the medium.
 *
 * Return: 0; -ENOSPC if the medium is too small; -EINVAL if it is not aligned
 */
int llfree_pool_format(const struct llfree_pool_medium *m, const u8 uuid[16])
{
	struct llfree_pool_super super = {
		.magic = LLFREE_POOL_MAGIC, .version = LLFREE_POOL_VERSION,
		.frame_shift = LLFREE_POOL_FRAME_SHIFT,
		.frames = min_t(u64, m->size / FRAME_BYTES, LLFREE_MAX_FRAMES),
	};
	void *rows = medium_at(m, LLFREE_POOL_ROWS);

	if (!IS_ALIGNED((unsigned long)m->base, FRAME_BYTES))
		return -EINVAL;
	if (m->size < LLFREE_POOL_MIN_SIZE)
		return -ENOSPC;
	super_erase(m, LLFREE_POOL_SUPER);
	super_erase(m, LLFREE_POOL_COPY);

	memset(rows, 0, rows_size(super.frames));
	memset(rows, 0xff, data_first(super.frames) / BITS_PER_BYTE);
	m->write_back(m, rows, rows_size(super.frames));
	/* Dirty, so that the rows need no checksum */
	memset(medium_at(m, LLFREE_POOL_STATE), 0, sizeof(struct llfree_pool_state));
	*(u64 *)medium_at(m, LLFREE_POOL_STATE) = LLFREE_POOL_DIRTY;
	m->write_back(m, medium_at(m, LLFREE_POOL_STATE), sizeof(struct llfree_pool_state));
	memset(medium_at(m, LLFREE_POOL_ROOTS), 0, LLFREE_POOL_NR_ROOTS * sizeof(u64));
	medium_persist(m, medium_at(m, LLFREE_POOL_ROOTS), LLFREE_POOL_NR_ROOTS * sizeof(u64));

	memcpy(super.uuid, uuid, sizeof(super.uuid));
	super.crc = super_crc(&super);
	super_write(m, LLFREE_POOL_COPY, &super);
	super_write(m, LLFREE_POOL_SUPER, &super);
	return 0;
}
EXPORT_SYMBOL_GPL(llfree_pool_format);

/**
 * llfree_pool_probe() - is there a pool?
 * @m: the medium
 * @super: what it is, is stored here
 *
 * Context: task; nothing else changes the medium.
 *
 * Return: 0; -ENODEV if there is none; -EIO if both superblocks are damaged; -EMEDIUMTYPE
 *	if it has another byte order or frames of another size; -EPROTONOSUPPORT for an
 *	unknown version or flag; -ENOSPC if it was larger
 */
int llfree_pool_probe(const struct llfree_pool_medium *m, struct llfree_pool_super *super)
{
	int ret, copy_ret;

	if (!IS_ALIGNED((unsigned long)m->base, FRAME_BYTES) || m->size < LLFREE_POOL_MIN_SIZE)
		return -ENODEV;
	ret = super_read(m, LLFREE_POOL_SUPER, super);
	if (ret != -EIO && ret != -ENODEV)
		return ret;
	copy_ret = super_read(m, LLFREE_POOL_COPY, super);
	if (copy_ret == -ENODEV)
		return ret;
	return copy_ret;
}
EXPORT_SYMBOL_GPL(llfree_pool_probe);

/* ---- Attach and detach ---- */

/**
 * llfree_pool_layout() - how much volatile memory a pool needs
 * @super: what llfree_pool_probe() found
 * @nr_slots: slots that it is going to have
 * @mem: as for llfree_layout()
 *
 * Context: any.
 *
 * Return: 0; -EINVAL if there cannot be such a pool
 */
int llfree_pool_layout(const struct llfree_pool_super *super, unsigned int nr_slots,
		       struct llfree_memory *mem)
{
	return llfree_layout(0, super->frames, llfree_tree_order(super->frames, nr_slots), mem);
}
EXPORT_SYMBOL_GPL(llfree_pool_layout);

/* A view that recovery keeps, for children whose rows could not be read */
#define VIEW_BAD		LLFREE_VIEW_CMA

/*
 * Copy the rows behind those of metadata. Where that fails, frames are allocated, and the
 * word of the child says so: a second read of the line could succeed. Return: the checksum
 * of the copy, for which the rows are in the cache now
 */
static u32 rows_read(struct llfree_pool *pool, const struct llfree_memory *mem)
{
	const size_t size = rows_size(pool->frames);
	unsigned long at, line, end;
	u16 *children = mem->children;
	void *rows = mem->rows;
	u32 crc = ~0U;

	/* Metadata is never free, whatever its bits say. */
	memset(rows, 0xff, pool->first / BITS_PER_BYTE);
	for (at = pool->first / BITS_PER_BYTE; at < size; at = end) {
		end = min(ALIGN(at + 1, READ_SIZE), size);
		if (medium_read(pool->medium, rows + at, LLFREE_POOL_ROWS + at, end - at)) {
			for (line = at; line < end; line += LINE_SIZE) {
				if (!medium_read(pool->medium, rows + line,
						 LLFREE_POOL_ROWS + line, LINE_SIZE))
					continue;
				memset(rows + line, 0xff, LINE_SIZE);
				children[line / LINE_SIZE] = child_make(0, VIEW_BAD);
				pool->bad_rows++;
			}
		}
		if (!pool->was_dirty)
			crc = __crc32c_le(crc, rows + at, end - at);
	}
	return crc;
}

/* Nothing commits or frees frames of a child whose rows could not be read. */
static void isolate_bad(struct llfree_pool *pool)
{
	struct llfree_child child;
	unsigned long at;

	for (at = pool->first; !llfree_child(&pool->core, at, &child); at = llfree_next_child(at))
		if (child.view == VIEW_BAD)
			llfree_set_view(&pool->core, at, LLFREE_VIEW_ISOLATED, NULL);
}

static void state_write(struct llfree_pool *pool, u64 session, u64 rows_crc)
{
	struct llfree_pool_state *state = medium_at(pool->medium, LLFREE_POOL_STATE);

	/* The checksum is persistent before the pool is clean. */
	if (!(session & LLFREE_POOL_DIRTY)) {
		WRITE_ONCE(state->rows_crc, rows_crc);
		medium_persist(pool->medium, state, sizeof(*state));
	}
	WRITE_ONCE(state->session, session);
	medium_persist(pool->medium, state, sizeof(*state));
}

/**
 * llfree_pool_attach() - begin to use a pool
 * @pool: memory for the pool; its content does not matter
 * @m: the medium; it belongs to the pool until llfree_pool_detach()
 * @mem: memory of the sizes of llfree_pool_layout(); it belongs to the pool
 * @locals: @nr_slots elements, cache line aligned; they belong to the pool
 * @nr_slots: number of slots, at least one; a small pool uses fewer, and CPUs share them
 *
 * Frames are allocated that were committed when the system crashed, or the pool was
 * detached. A superblock that is damaged is written again if the other is not.
 *
 * Context: task; nothing else uses the medium.
 *
 * Return: 0; -EINVAL for bad arguments; -EIO if roots cannot be read; or what
 *	llfree_pool_probe() returns
 */
int llfree_pool_attach(struct llfree_pool *pool, const struct llfree_pool_medium *m,
		       const struct llfree_memory *mem, struct llfree_local *locals,
		       unsigned int nr_slots)
{
	struct llfree_pool_super super, other;
	struct llfree_pool_state state;
	u64 roots[LLFREE_POOL_NR_ROOTS];
	u32 crc;
	int ret;

	ret = llfree_pool_probe(m, &super) ?:
	      medium_read(m, roots, LLFREE_POOL_ROOTS, sizeof(roots));
	if (ret)
		return ret;
	if (!nr_slots || llf_layout_check(0, super.frames, mem))
		return -EINVAL;

	memset(pool, 0, sizeof(*pool));
	pool->medium = m;
	pool->frames = super.frames;
	pool->first = data_first(super.frames);
	memcpy(pool->uuid, super.uuid, sizeof(pool->uuid));
	memset(mem->children, 0, mem->children_size);
	if (medium_read(m, &state, LLFREE_POOL_STATE, sizeof(state)))
		state = (struct llfree_pool_state){ .session = LLFREE_POOL_DIRTY };
	pool->session = state.session / 2 + 1;
	pool->was_dirty = state.session & LLFREE_POOL_DIRTY;
	crc = rows_read(pool, mem);
	pool->rows_damaged = !pool->was_dirty && state.rows_crc != crc;

	ret = llfree_init(&pool->core, 0, pool->frames, mem, LLFREE_INIT_RECOVER, NULL);
	if (ret)
		return ret;
	nr_slots = clamp(llfree_max_slots(&pool->core), 1U, nr_slots);
	ret = llfree_set_slots(&pool->core, locals, nr_slots);
	if (ret)
		return ret;
	if (pool->bad_rows)
		isolate_bad(pool);
	if (super_read(m, LLFREE_POOL_SUPER, &other) || memcmp(&super, &other, sizeof(super)))
		super_write(m, LLFREE_POOL_SUPER, &super);
	if (super_read(m, LLFREE_POOL_COPY, &other) || memcmp(&super, &other, sizeof(super)))
		super_write(m, LLFREE_POOL_COPY, &super);
	state_write(pool, pool->session * 2 | LLFREE_POOL_DIRTY, 0);
	return 0;
}
EXPORT_SYMBOL_GPL(llfree_pool_attach);

/**
 * llfree_pool_detach() - end the use of a pool
 * @pool: the pool
 *
 * The pool stays dirty if it is read-only, or some of its rows could not be read.
 *
 * Context: task; no operation on the pool is under way, and none begins.
 */
void llfree_pool_detach(struct llfree_pool *pool)
{
	const struct llfree_pool_medium *m = pool->medium;
	const void *rows = row_on_medium(pool, pool->first);
	const size_t size = rows_size(pool->frames) - pool->first / BITS_PER_BYTE;

	/* What CPUs wrote back and did not wait for */
	m->write_back(m, rows, size);
	m->fence(m);
	if (pool->read_only || pool->bad_rows)
		return;
	state_write(pool, pool->session * 2, __crc32c_le(~0U, rows, size));
}
EXPORT_SYMBOL_GPL(llfree_pool_detach);

/**
 * llfree_pool_set_read_only() - let nothing change any more
 * @pool: the pool, whose medium does not work
 *
 * Operations that are under way may still change something.
 *
 * Context: any.
 */
void llfree_pool_set_read_only(struct llfree_pool *pool)
{
	WRITE_ONCE(pool->read_only, true);
}
EXPORT_SYMBOL_GPL(llfree_pool_set_read_only);

/* ---- Frames ---- */

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
 * Return: first frame; -EINVAL for a bad order; -ENOMEM; -EROFS
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
	/* A request has fewer bits for it. */
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

/* The bits of a block in each of its rows */
static u64 block_mask(unsigned long frame, unsigned int order)
{
	if (order >= LLFREE_ROW_ORDER)
		return ~0ULL;
	return ((1ULL << (1U << order)) - 1) << (frame % LLFREE_ROW_FRAMES);
}

/* Out of line, so that the fast paths save no registers for it */
static noinline bool child_isolated(const struct llfree_pool *pool, unsigned long frame)
{
	struct llfree_child child;

	return !llfree_child(&pool->core, frame, &child) && child.view == LLFREE_VIEW_ISOLATED;
}

/* Could the rows of a child not be read? */
static bool child_bad(const struct llfree_pool *pool, unsigned long frame)
{
	return unlikely(READ_ONCE(pool->bad_rows)) && child_isolated(pool, frame);
}

/* May a caller commit or free this? Return: 0, or why not */
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
		if (child_bad(pool, at))
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
 * llfree_pool_commit() - let a block be allocated after a crash
 * @pool: the pool
 * @frame: first frame, aligned to the size of the block
 * @order: 0..LLFREE_MAX_ORDER; the caller owns the block, which need not have been
 *	allocated in one piece
 *
 * That is so once llfree_pool_sync() has returned. Committing again does no harm.
 *
 * Context: any, also NMI; takes no lock, does not sleep.
 *
 * Return: 0; -EINVAL if it is no block that is allocated; -EIO if its rows could not be
 *	read; -EROFS. Unless it is 0, nothing has changed.
 */
int llfree_pool_commit(struct llfree_pool *pool, unsigned long frame, unsigned int order)
{
	const int ret = block_check(pool, frame, order);

	if (!ret)
		block_change(pool, frame, order, true);
	return ret;
}
EXPORT_SYMBOL_GPL(llfree_pool_commit);

/* Write back the lines of the rows of [@frame, @end). */
static void lines_write_back(const struct llfree_pool *pool, unsigned long frame,
			     unsigned long end)
{
	const unsigned long first = ALIGN_DOWN(frame, LLFREE_CHILD_FRAMES);

	if (frame < end)
		pool->medium->write_back(pool->medium, row_on_medium(pool, first),
					 (ALIGN(end, LLFREE_CHILD_FRAMES) - first) / BITS_PER_BYTE);
}

/**
 * llfree_pool_commit_batch() - let blocks be allocated after a crash
 * @pool: the pool
 * @blocks: for each block its offset on the medium in bytes, plus its order; see
 *	llfree_pool_commit()
 * @nr: number of blocks
 *
 * A line of rows is written back once if all blocks of its child follow each other. A CPU
 * that changes a line waits for an earlier write-back of it, which takes ten times as long
 * as the rest of a commit.
 *
 * Context: any, also NMI; takes no lock, does not sleep.
 *
 * Return: how many of the blocks are committed, from the first one on. If that is none,
 *	what llfree_pool_commit() returns for the first.
 */
long llfree_pool_commit_batch(struct llfree_pool *pool, const u64 *blocks, unsigned long nr)
{
	/* Frames whose lines are not written back yet */
	unsigned long frame, first = 0, end = 0, i;
	unsigned int order;
	int ret = 0;

	for (i = 0; i < nr; i++) {
		frame = blocks[i] >> LLFREE_POOL_FRAME_SHIFT;
		order = blocks[i] & (FRAME_BYTES - 1);
		ret = block_check(pool, frame, order);
		if (ret)
			break;
		if (frame < first || frame >= ALIGN(end, LLFREE_CHILD_FRAMES)) {
			lines_write_back(pool, first, end);
			first = ALIGN_DOWN(frame, LLFREE_CHILD_FRAMES);
			end = frame;
		}
		block_set(pool, frame, order, true);
		end = max(end, frame + (1UL << order));
	}
	lines_write_back(pool, first, end);
	return i ?: ret;
}
EXPORT_SYMBOL_GPL(llfree_pool_commit_batch);

/**
 * llfree_pool_sync() - wait for what this CPU has committed and freed
 * @pool: the pool
 *
 * A caller that begins to write its own data back before that needs no other fence.
 *
 * Context: any, on the CPU that made the changes.
 */
void llfree_pool_sync(struct llfree_pool *pool)
{
	pool->medium->fence(pool->medium);
}
EXPORT_SYMBOL_GPL(llfree_pool_sync);

/**
 * llfree_pool_free() - free a block, also after a crash
 * @pool: the pool
 * @frame: first frame, aligned to the size of the block
 * @order: 0..LLFREE_MAX_ORDER; the caller owns the block, of which any part may be
 *	committed
 *
 * The caller has removed the last pointer to the block from the medium, and begun to write
 * that back, on this CPU.
 *
 * Context: any, also NMI; takes no lock, does not sleep.
 *
 * Return: 0; -EINVAL if it is no block that is allocated; -EIO if its rows could not be
 *	read; -EROFS. Unless it is 0, nothing has changed.
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
	/* From here on another CPU may commit it. */
	if (unlikely(order > LLFREE_CHILD_ORDER))
		return llfree_free(&pool->core, pool_slot(pool), frame, order, NULL);
	return min(llfree_free_fast(&pool->core, pool_slot(pool), frame, order), 0);
}
EXPORT_SYMBOL_GPL(llfree_pool_free);

/**
 * llfree_pool_is_allocated() - are all of some frames allocated?
 * @pool: the pool
 * @first: first frame
 * @nr: number of frames, at least one
 *
 * Context: any. The answer lasts as long as the frames have owners that do not free them.
 *
 * Return: true if all of them are data, and none is free
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
 * Context: any. It reads a word of each child and of each tree.
 */
void llfree_pool_stats(const struct llfree_pool *pool, struct llfree_pool_stats *stats)
{
	struct llfree_stats core;

	llfree_stats_exact(&pool->core, &core);
	stats->free = core.frames[LLFREE_VIEW_NORMAL];
	stats->free_huge = core.huge[LLFREE_VIEW_NORMAL];
}
EXPORT_SYMBOL_GPL(llfree_pool_stats);

/* ---- Roots ---- */

static u64 *root_at(const struct llfree_pool *pool, unsigned int i)
{
	return (u64 *)medium_at(pool->medium, LLFREE_POOL_ROOTS) + i;
}

/**
 * llfree_pool_root() - read a root, which is what it is after a crash, too
 * @pool: the pool
 * @i: its number, below LLFREE_POOL_NR_ROOTS
 *
 * Context: any.
 *
 * Return: the word; 0 if there is no such root
 */
u64 llfree_pool_root(struct llfree_pool *pool, unsigned int i)
{
	u64 *root = root_at(pool, i);
	u64 value;

	if (i >= LLFREE_POOL_NR_ROOTS)
		return 0;
	/* Another CPU may have written it and not have waited yet. */
	value = smp_load_acquire(root);
	medium_persist(pool->medium, root, sizeof(*root));
	return value;
}
EXPORT_SYMBOL_GPL(llfree_pool_root);

/**
 * llfree_pool_root_cas() - change a root
 * @pool: the pool
 * @i: its number, below LLFREE_POOL_NR_ROOTS
 * @old: what it has to be; what it is, is stored here
 * @new: what it becomes
 *
 * Roots are words for the caller: where its data begins. What this CPU began to write back
 * before is persistent before the root is.
 *
 * Context: any.
 *
 * Return: 0, and the change survives a crash; -EAGAIN if the root is not @old; -EINVAL if
 *	there is no such root; -EROFS
 */
int llfree_pool_root_cas(struct llfree_pool *pool, unsigned int i, u64 *old, u64 new)
{
	u64 *root = root_at(pool, i);
	bool done;

	if (i >= LLFREE_POOL_NR_ROOTS)
		return -EINVAL;
	if (READ_ONCE(pool->read_only))
		return -EROFS;
	pool->medium->fence(pool->medium);
	done = try_cmpxchg(root, old, new);
	medium_persist(pool->medium, root, sizeof(*root));
	return done ? 0 : -EAGAIN;
}
EXPORT_SYMBOL_GPL(llfree_pool_root_cas);

/* ---- Leaks ---- */

/**
 * llfree_pool_committed() - which frames of a row are committed
 * @pool: the pool
 * @frame: any frame of the row
 *
 * Context: any.
 *
 * Return: a bit for each frame, 1 = committed; 0 outside the pool; all if that could not
 *	be read
 */
u64 llfree_pool_committed(const struct llfree_pool *pool, unsigned long frame)
{
	if (frame < pool->first || frame >= pool->frames)
		return 0;
	if (child_bad(pool, frame))
		return ~0ULL;
	return READ_ONCE(*row_on_medium(pool, frame));
}
EXPORT_SYMBOL_GPL(llfree_pool_committed);

/* Frames of the row of @at that are before @end */
static u64 sweep_mask(unsigned long at, unsigned long end)
{
	return end - at < LLFREE_ROW_FRAMES ? (1ULL << (end - at)) - 1 : ~0ULL;
}

/* Write rows that could not be read: all of their frames are allocated. */
static void sweep_bad(struct llfree_pool *pool, unsigned long first, unsigned long end,
		      const u64 *live)
{
	u64 *row = row_on_medium(pool, first);
	unsigned long at;
	unsigned int i = 0;

	for (at = first; at < end; at += LLFREE_ROW_FRAMES, i++)
		WRITE_ONCE(row[i], live[i] & sweep_mask(at, end));
	/* Nothing may change a line that is not all written. */
	medium_persist(pool->medium, row, i * sizeof(*row));
	llfree_set_view(&pool->core, first, LLFREE_VIEW_NORMAL, NULL);
	WRITE_ONCE(pool->bad_rows, pool->bad_rows - 1);
}

/* Free what is allocated in a row and not in @live. */
static void sweep_row(struct llfree_pool *pool, unsigned long frame, u64 inside, u64 live,
		      struct llfree_pool_swept *swept)
{
	const u64 free = llfree_row_mask(&pool->core, frame);
	u64 leaked = ~free & ~live & inside;
	u64 *row = row_on_medium(pool, frame);

	swept->missing += hweight64(free & live & inside);
	if (leaked)
		row_change(row, 0, leaked);
	/* Also what other CPUs have changed and not waited for */
	pool->medium->write_back(pool->medium, row, sizeof(*row));
	for (; leaked; leaked &= leaked - 1)
		swept->freed += !llfree_free(&pool->core, pool_slot(pool),
					     frame + __ffs64(leaked), 0, NULL);
}

/**
 * llfree_pool_reclaim() - free what is allocated and not committed
 * @pool: the pool
 *
 * This is what a crash would do: the callers that allocated the frames are gone.
 *
 * Context: task; may sleep. Nothing allocates, commits or frees frames meanwhile.
 *
 * Return: number of frames; -EROFS
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
 * llfree_pool_sweep() - free what no pointer leads to
 * @pool: the pool
 * @first: first frame, a multiple of LLFREE_ROW_FRAMES
 * @nr: number of frames, the same, or up to the end of the pool
 * @live: a bit for each of them: a pointer leads to it
 * @swept: what was found is added here
 *
 * Afterwards allocated frames are those that are live, also after a crash. Live frames
 * that were free are only counted: they may be allocated a second time.
 *
 * Rows that could not be read are written, if the range has all frames of the child: the
 * caller has made the medium good there.
 *
 * Context: task, one caller at a time; frames of the range are neither allocated nor freed
 * meanwhile.
 *
 * Return: 0; -EINVAL for a bad range; -EIO if a child, of which the range has a part only,
 *	could not be read, and the rest is done; -EROFS
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
		if (child_bad(pool, at)) {
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
