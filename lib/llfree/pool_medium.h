/* SPDX-License-Identifier: GPL-2.0 */
/* LLFree core: the medium of a pool, for lib/llfree/pool*.c */
#ifndef _LLFREE_POOL_MEDIUM_H
#define _LLFREE_POOL_MEDIUM_H

#include <linux/bits.h>
#include <linux/llfree_pool.h>
#include <linux/string.h>

#define FRAME_BYTES		BIT(LLFREE_POOL_FRAME_SHIFT)

static inline void *medium_at(const struct llfree_pool_medium *m, unsigned long offset)
{
	return m->base + offset;
}

static inline int medium_read(const struct llfree_pool_medium *m, void *to,
			      unsigned long offset, size_t size)
{
	if (m->read)
		return m->read(m, to, medium_at(m, offset), size);
	memcpy(to, medium_at(m, offset), size);
	return 0;
}

static inline void medium_persist(const struct llfree_pool_medium *m, const void *start,
				  size_t size)
{
	m->write_back(m, start, size);
	m->fence(m);
}

static inline u64 *row_on_medium(const struct llfree_pool *pool, unsigned long frame)
{
	return (u64 *)medium_at(pool->medium, LLFREE_POOL_ROWS) + frame / LLFREE_ROW_FRAMES;
}

#endif /* _LLFREE_POOL_MEDIUM_H */
