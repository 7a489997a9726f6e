// SPDX-License-Identifier: GPL-2.0
/*
 * LLFree core: pools of frames in persistent memory. Superblocks, sessions, roots.
 *
 * lib/llfree/pool_frames.c has the operations on frames. The guarantees after a
 * crash are in include/linux/llfree_pool.h. Each operation does the following
 * with the medium. "wb" begins to write a cache line back, and a fence waits
 * until the lines are persistent:
 *
 *   alloc    nothing
 *   commit   sets bits, wb; for a batch once for each line
 *   sync     fence
 *   free     fence, so that no pointer to the frame is left; clears bits, wb;
 *            only then are the frames free, and another CPU can commit them
 *   root     compare-and-swap, wb, fence
 *   attach   marks the pool as dirty, wb, fence, before the first commit
 *   detach   checksum of rows, wb, fence; marks the pool as clean, wb, fence
 *
 * A line of rows on the medium belongs to one child. Only the owner of a frame
 * changes its bit, and whole rows have one owner, so these rows need no
 * compare-and-swap. No search reads the medium. If a line cannot be read, its
 * frames count as allocated, and its child is isolated: nothing touches the
 * line until llfree_pool_sweep() writes all of the line.
 */
#include <linux/align.h>
#include <linux/atomic.h>
#include <linux/crc32.h>
#include <linux/errno.h>
#include <linux/export.h>
#include <linux/llfree_pool.h>
#include <linux/minmax.h>
#include <linux/string.h>
#include <linux/swab.h>

#include "layout.h"
#include "pool_medium.h"

/* Bytes of rows that are read at once, and bytes of the rows of a child */
#define READ_SIZE		4096UL
#define LINE_SIZE		64UL

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

/* Write the magic only after all else is persistent. */
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
 * @m: the medium, of LLFREE_POOL_MIN_SIZE at least; its content is lost
 * @uuid: UUID of the new pool
 *
 * If the system crashes meanwhile, the medium has either no pool or the new
 * one.
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

	memset(rows, 0, llfree_pool_rows_size(super.frames));
	memset(rows, 0xff, llfree_pool_first(super.frames) / BITS_PER_BYTE);
	m->write_back(m, rows, llfree_pool_rows_size(super.frames));
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
 * llfree_pool_probe() - does a medium have a pool?
 * @m: the medium
 * @super: the superblock of the pool is stored here
 *
 * Context: task; nothing else changes the medium.
 *
 * Return: 0; -ENODEV if there is no pool; -EIO if a superblock is damaged and
 *	no other one is valid; -EMEDIUMTYPE if the pool has another byte order
 *	or frames of another size; -EPROTONOSUPPORT for an unknown version or
 *	flag; -ENOSPC if the pool is larger than the medium
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
 * @super: the superblock that llfree_pool_probe() stored
 * @nr_slots: slots that the pool is going to have
 * @mem: as for llfree_layout()
 *
 * Context: any.
 *
 * Return: 0; -EINVAL if the number of frames is not valid
 */
int llfree_pool_layout(const struct llfree_pool_super *super, unsigned int nr_slots,
		       struct llfree_memory *mem)
{
	return llfree_layout(0, super->frames, llfree_tree_order(super->frames, nr_slots), mem);
}
EXPORT_SYMBOL_GPL(llfree_pool_layout);

/* Mark of children whose rows could not be read: a view that recovery keeps */
#define VIEW_BAD		LLFREE_VIEW_CMA

/*
 * Copy the rows behind those of metadata. If a line cannot be read, mark its
 * frames as allocated, and note the failure in the word of the child: a second
 * read of the line could succeed.
 *
 * Return: the checksum of the copy, computed while the rows are in the cache
 */
static u32 rows_read(struct llfree_pool *pool, const struct llfree_memory *mem)
{
	const size_t size = llfree_pool_rows_size(pool->frames);
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

/*
 * Isolate children whose rows could not be read, so that no caller commits or
 * frees their frames.
 */
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
 * The frames are allocated that were committed when the system crashed or the
 * pool was detached. A damaged superblock is written again if the other one is
 * good, unless the medium is read-only.
 *
 * Context: task; nothing else uses the medium.
 *
 * Return: 0; -EINVAL for bad arguments; -EIO if roots cannot be read; or an
 *	error of llfree_pool_probe()
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
	pool->first = llfree_pool_first(super.frames);
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
	if (m->read_only) {
		llfree_pool_set_read_only(pool);
		return 0;
	}
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
	const size_t size = llfree_pool_rows_size(pool->frames) - pool->first / BITS_PER_BYTE;

	/* Write back changes for which other CPUs have not waited. */
	m->write_back(m, rows, size);
	m->fence(m);
	if (pool->read_only || pool->bad_rows)
		return;
	state_write(pool, pool->session * 2, __crc32c_le(~0U, rows, size));
}
EXPORT_SYMBOL_GPL(llfree_pool_detach);

/**
 * llfree_pool_set_read_only() - refuse all changes from now on
 * @pool: the pool, whose medium does not work
 *
 * Operations that are under way may still change the pool.
 *
 * Context: any.
 */
void llfree_pool_set_read_only(struct llfree_pool *pool)
{
	WRITE_ONCE(pool->read_only, true);
}
EXPORT_SYMBOL_GPL(llfree_pool_set_read_only);

/* ---- Roots ---- */

static u64 *root_at(const struct llfree_pool *pool, unsigned int i)
{
	return (u64 *)medium_at(pool->medium, LLFREE_POOL_ROOTS) + i;
}

/**
 * llfree_pool_root() - read a root, and make its value persistent
 * @pool: the pool
 * @i: number of the root, below LLFREE_POOL_NR_ROOTS
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
	/* Another CPU may have written the root and not have waited yet. */
	value = smp_load_acquire(root);
	medium_persist(pool->medium, root, sizeof(*root));
	return value;
}
EXPORT_SYMBOL_GPL(llfree_pool_root);

/**
 * llfree_pool_root_cas() - change a root
 * @pool: the pool
 * @i: number of the root, below LLFREE_POOL_NR_ROOTS
 * @old: expected value of the root; the value found is stored here on failure
 * @new: new value of the root
 *
 * Roots are words for the caller, such as pointers to its data. All lines that
 * this CPU began to write back before are persistent before the root changes.
 *
 * Context: any.
 *
 * Return: 0, and the change survives a crash; -EAGAIN if the root is not @old;
 *	-EINVAL if there is no such root; -EROFS if the pool is read-only
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
