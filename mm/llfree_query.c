// SPDX-License-Identifier: GPL-2.0
/* LLFree in zones: queries about free pages and blocks. */
#include <linux/llfree.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/vmstat.h>

#include "internal.h"
#include "llfree.h"
#include "zone_free.h"

/* ---- Queries ---- */

/**
 * zf_block_free() - number of free pages in a pageblock
 * @zone: the zone
 * @pfn: any pfn of the pageblock
 * @stable: return -EAGAIN while an allocation or free is under way. The caller
 *	polls an isolated pageblock without zone->lock.
 *
 * Return: number of free pages, or -EAGAIN
 */
int zf_block_free(const struct zone *zone, unsigned long pfn, bool stable)
{
	const struct llfree *llf = &zone->llfree->core;
	unsigned long end = pageblock_end_pfn(pfn);
	struct llfree_child child;
	int free = 0, ret;

	pfn = max(pageblock_start_pfn(pfn), llf->first);
	for (; pfn < end; pfn = llfree_next_child(pfn)) {
		if (stable) {
			ret = llfree_child_stable(llf, pfn);
			if (ret == -EAGAIN)
				return ret;
		}
		if (!llfree_child(llf, pfn, &child))
			free += child.free;
	}
	return free;
}

/**
 * zf_free_order() - is a page free, and in how large a block?
 * @zone: the zone
 * @pfn: any pfn
 *
 * Return: order of the largest naturally aligned free block around @pfn; -1 if
 *	the page is allocated or not in the zone
 */
int zf_free_order(const struct zone *zone, unsigned long pfn)
{
	return zone->llfree ? llfree_block_order(&zone->llfree->core, pfn) : -1;
}

/**
 * zf_next_block() - find a pageblock by the number of its free pages
 * @zone: the zone
 * @pfn: any pfn of the pageblock to start with
 * @limit: pfn at which to stop
 * @min_free: fewest free pages
 * @max_free: most free pages
 * @flags: ZF_UNREPORTED, ZF_HIGHATOMIC. Without ZF_HIGHATOMIC the
 *	pageblock is one that movable pages may come from.
 *
 * Return: first pfn of the pageblock; @limit if there is no such pageblock
 */
unsigned long zf_next_block(const struct zone *zone, unsigned long pfn,
			    unsigned long limit, unsigned int min_free,
			    unsigned int max_free, unsigned int flags)
{
	const struct llfree *llf = &zone->llfree->core;
	struct llfree_child child;
	unsigned long at;
	unsigned int free;
	bool suits, reported;

	for (pfn = pageblock_start_pfn(pfn); pfn < limit; pfn += pageblock_nr_pages) {
		free = 0;
		suits = true;
		reported = true;
		for (at = pfn; at < pfn + pageblock_nr_pages;
		     at += LLFREE_CHILD_FRAMES) {
			if (at + LLFREE_CHILD_FRAMES <= llf->first)
				continue;
			if (llfree_child(llf, max(at, llf->first), &child)) {
				suits = false;
				break;
			}
			free += child.free;
			if (flags & ZF_HIGHATOMIC)
				suits &= child.view == LLFREE_VIEW_HIGHATOMIC;
			else
				suits &= child.view == LLFREE_VIEW_NORMAL ||
					 child.view == LLFREE_VIEW_CMA;
			reported &= child.reported;
		}
		if (flags & ZF_UNREPORTED)
			suits &= !reported;
		if (suits && free >= min_free && free <= max_free)
			return pfn;
	}
	return limit;
}

static noinline bool zf_other_has_order(const struct zone *zone,
					unsigned int order,
					unsigned int alloc_flags)
{
	return ((alloc_flags & ALLOC_CMA) &&
		zone_page_state((struct zone *)zone, NR_FREE_CMA_PAGES) &&
		zf_view_has_order(zone, order, LLFREE_VIEW_CMA)) ||
	       ((alloc_flags & (ALLOC_HIGHATOMIC | ALLOC_OOM)) &&
		zf_nr_free_highatomic(zone) &&
		zf_view_has_order(zone, order, LLFREE_VIEW_HIGHATOMIC));
}

/**
 * zf_has_order() - may an allocation of this order succeed?
 * @zone: the zone
 * @order: 0..MAX_PAGE_ORDER
 * @alloc_flags: ALLOC_CMA, ALLOC_HIGHATOMIC and ALLOC_OOM matter
 *
 * Takes constant time. Exact for order 9. For other orders, true means that no
 * exhaustive search was unsuccessful since a block of the order was freed.
 *
 * Return: whether an allocation is worth trying
 */
bool zf_has_order(const struct zone *zone, unsigned int order,
		  unsigned int alloc_flags)
{
	if (likely(zf_view_has_order(zone, order, LLFREE_VIEW_NORMAL)))
		return true;
	return zf_other_has_order(zone, order, alloc_flags);
}

/**
 * zf_find_order() - is there a block of this order?
 * @zone: the zone
 * @order: 0..MAX_PAGE_ORDER
 * @alloc_flags: ALLOC_CMA matters
 *
 * zf_has_order() may be true although the last block of the order was split
 * since. kswapd and compaction would stop for such an answer, so they call this
 * function, which looks for a block. If there is none, zf_has_order() is false
 * afterwards.
 *
 * Context: any; reads up to all of the bitmaps.
 *
 * Return: whether there is a block
 */
bool zf_find_order(struct zone *zone, unsigned int order,
		   unsigned int alloc_flags)
{
	struct llfree *llf = &zone->llfree->core;

	if (order >= LLFREE_CHILD_ORDER)
		return zf_has_order(zone, order, alloc_flags);
	return llfree_find_order(llf, order, LLFREE_VIEW_NORMAL) ||
	       ((alloc_flags & ALLOC_CMA) &&
		zone_page_state(zone, NR_FREE_CMA_PAGES) &&
		llfree_find_order(llf, order, LLFREE_VIEW_CMA));
}

static void zf_count_add(const struct llfree *llf, int view, int class,
			 unsigned long nr[NR_PAGE_ORDERS])
{
	unsigned long add[LLFREE_NR_ORDERS];
	unsigned int order;

	llfree_count_orders(llf, view, class, add);
	for (order = 0; order < NR_PAGE_ORDERS; order++)
		nr[order] += add[order];
}

/**
 * zf_count() - number of free blocks of each order
 * @zone: the zone
 * @migratetype: migratetype for which the blocks are kept; negative for all
 * @nr: number of naturally aligned blocks that are not part of a larger one
 *
 * Reads all words of the zone, so this is not for a hot path.
 */
void zf_count(const struct zone *zone, int migratetype,
	      unsigned long nr[NR_PAGE_ORDERS])
{
	const struct llfree *llf = &zone->llfree->core;
	enum llfree_view view;
	unsigned int class;

	memset(nr, 0, NR_PAGE_ORDERS * sizeof(*nr));
	if (migratetype < 0) {
		zf_count_add(llf, -1, -1, nr);
		return;
	}
	view = zf_view(migratetype);
	if (view != LLFREE_VIEW_NORMAL) {
		zf_count_add(llf, view, -1, nr);
		return;
	}
	/*
	 * One migratetype has all free blocks if pages are not grouped by
	 * mobility.
	 */
	if (!zf_grouped(llf)) {
		if (migratetype == (page_group_by_mobility_disabled ?
				    MIGRATE_UNMOVABLE : MIGRATE_MOVABLE))
			zf_count_add(llf, view, -1, nr);
		return;
	}
	for (class = 0; class < LLFREE_NR_CLASSES; class++)
		if (class_migratetype(class) == migratetype)
			zf_count_add(llf, view, class, nr);
	if (migratetype == MIGRATE_MOVABLE)
		zf_count_add(llf, view, LLFREE_CLASS_NONE, nr);
}

/**
 * zf_free_blocks() - count free blocks of each order, and note their
 * migratetypes
 * @zone: the zone
 * @nr: number of naturally aligned blocks that are not part of a larger one
 * @types: set of the migratetypes of the blocks, a bit for each
 *
 * Return: number of free pages
 */
unsigned long zf_free_blocks(const struct zone *zone,
			     unsigned long nr[NR_PAGE_ORDERS],
			     unsigned char types[NR_PAGE_ORDERS])
{
	unsigned long of_type[NR_PAGE_ORDERS], pages = 0;
	unsigned int order;
	int type;

	memset(nr, 0, NR_PAGE_ORDERS * sizeof(*nr));
	memset(types, 0, NR_PAGE_ORDERS * sizeof(*types));
	for (type = 0; type < MIGRATE_TYPES; type++) {
		zf_count(zone, type, of_type);
		for (order = 0; order < NR_PAGE_ORDERS; order++) {
			if (!of_type[order])
				continue;
			types[order] |= BIT(type);
			nr[order] += of_type[order];
			pages += of_type[order] << order;
		}
	}
	return pages;
}

/* Largest age of the numbers of zf_count_recent() */
#define COUNT_RECENT	(HZ / 10)

void zf_count_init(struct zone_llfree *zl)
{
	atomic_set(&zl->counting, 0);
	zl->counted_at = 0;
}

/**
 * zf_count_recent() - number of free blocks of each order, lately
 * @zone: the zone
 * @nr: number of naturally aligned blocks that are not part of a larger one
 *
 * For heuristics that ask again and again. Counts anew only after a tenth of a
 * second, and then on one CPU at a time. The other CPUs get the last numbers.
 * Any number of CPUs count until the first count is done.
 *
 * Context: task.
 */
void zf_count_recent(const struct zone *zone, unsigned long nr[NR_PAGE_ORDERS])
{
	struct zone_llfree *zl = zone->llfree;
	unsigned int order;
	unsigned long at;

	/* Pairs with the release below, which publishes the numbers. */
	at = smp_load_acquire(&zl->counted_at);
	if (at && (time_before(jiffies, at + COUNT_RECENT) ||
		   atomic_cmpxchg(&zl->counting, 0, 1))) {
		for (order = 0; order < NR_PAGE_ORDERS; order++)
			nr[order] = READ_ONCE(zl->counted[order]);
		return;
	}
	zf_count(zone, -1, nr);
	for (order = 0; order < NR_PAGE_ORDERS; order++)
		WRITE_ONCE(zl->counted[order], nr[order]);
	/* Publishes the first numbers; pairs with the acquire above. */
	smp_store_release(&zl->counted_at, jiffies ?: 1);
	if (at)
		atomic_set(&zl->counting, 0);
}

/**
 * zf_nr_free_huge() - count entirely free naturally aligned blocks of 2 MiB
 * @zone: the zone
 *
 * Return: number of blocks, without those in reserves
 */
unsigned long zf_nr_free_huge(const struct zone *zone)
{
	long nr = atomic_long_read(&zone->llfree->nr_huge[LLFREE_VIEW_NORMAL]);

	return max(nr, 0L);
}

/**
 * zf_extfrag_huge() - part of the free pages outside of free blocks of 2 MiB
 * @zone: the zone
 *
 * Takes constant time. Leaves out CMA and highatomic pageblocks.
 *
 * Return: percentage of the free pages
 */
unsigned int zf_extfrag_huge(struct zone *zone)
{
	unsigned long other, free, huge;

	free = zone_page_state(zone, NR_FREE_PAGES);
	huge = zf_nr_free_huge(zone) << LLFREE_CHILD_ORDER;
	other = zone_page_state(zone, NR_FREE_CMA_PAGES) +
		zf_nr_free_highatomic(zone);
#ifdef CONFIG_UNACCEPTED_MEMORY
	other += zone_page_state(zone, NR_UNACCEPTED);
#endif
	if (free <= other)
		return 0;
	free -= other;

	return div_u64((free - min(free, huge)) * 100, free);
}
