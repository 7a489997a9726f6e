// SPDX-License-Identifier: GPL-2.0
/*
 * LLFree in zones: exact blocks of pages, and the migratetype of pageblocks.
 *
 * For page isolation, CMA, compaction, memory failure and free page reporting.
 */
#include <linux/iopoll.h>
#include <linux/llfree.h>
#include <linux/mm.h>
#include <linux/page-isolation.h>

#include "internal.h"
#include "llfree.h"
#include "zone_free.h"

/* ---- Claims ---- */

static unsigned int claim_flags(unsigned int flags)
{
	return flags & ZF_HIDDEN ? LLFREE_CLAIM_HIDDEN : 0;
}

/**
 * zf_claim() - allocate exactly this block of pages
 * @zone: the zone
 * @pfn: first pfn, aligned to the size of the block
 * @order: 0..MAX_PAGE_ORDER
 * @flags: ZF_HIDDEN
 *
 * Return: true; false if not all of the block is free, or if a pageblock is
 *	isolated and @flags lack ZF_HIDDEN
 */
bool zf_claim(struct zone *zone, unsigned long pfn, unsigned int order,
	      unsigned int flags)
{
	struct llfree_delta delta = { };
	int ret;

	ret = llfree_claim(&zone->llfree->core, pfn, order, claim_flags(flags),
			   &delta);
	zf_account(zone, &delta);
	if (!ret)
		zf_check_exclusive(pfn, 1UL << order);
	return !ret;
}

static void claimed_add(unsigned long pfn, unsigned int order,
			struct list_head lists[NR_PAGE_ORDERS])
{
	struct page *page = pfn_to_page(pfn);

	zf_check_exclusive(pfn, 1UL << order);
	set_page_private(page, order);
	list_add_tail(&page->lru, &lists[order]);
}

/* Add the pages of a word to the lists, as naturally aligned blocks. */
static void claimed_add_row(unsigned long pfn, u64 mask,
			    struct list_head lists[NR_PAGE_ORDERS])
{
	unsigned int bit, order;
	u64 run;

	while (mask) {
		bit = __ffs64(mask);
		run = mask >> bit;
		run = ~run ? __ffs64(~run) : LLFREE_ROW_FRAMES;
		order = ilog2(run);
		if (bit)
			order = min_t(unsigned int, order, __ffs(bit));
		claimed_add(pfn + bit, order, lists);
		if (order == LLFREE_ROW_ORDER)
			break;
		mask &= ~(((1ULL << (1U << order)) - 1) << bit);
	}
}

/*
 * Find the largest order of a free block at @pfn that fits. The result matters
 * only if it is above the order of a word.
 */
static unsigned int claim_order(struct llfree *llf, unsigned long pfn,
				unsigned long end, unsigned long want)
{
	int order = llfree_block_order(llf, pfn);

	order = min_t(int, order, LLFREE_CHILD_ORDER);
	while (order > LLFREE_ROW_ORDER &&
	       (!IS_ALIGNED(pfn, 1UL << order) || end - pfn < (1UL << order) ||
		want < (1UL << order)))
		order--;
	return max(order, 0);
}

/**
 * zf_claim_range() - allocate the free pages of a range
 * @zone: the zone
 * @pfn: first pfn; on return, where the scan stopped
 * @end: pfn after the last one, in the same pageblock
 * @want: stop after that many pages were allocated
 * @lists: blocks are added by lru to the list of their order, which is in
 *	page_private() too
 * @flags: ZF_HIDDEN, ZF_STRICT
 *
 * With ZF_STRICT, the scan stops at the first page that is not free, and @want
 * is ignored.
 *
 * Return: number of pages that were allocated
 */
unsigned long zf_claim_range(struct zone *zone, unsigned long *pfn,
			     unsigned long end, unsigned long want,
			     struct list_head lists[NR_PAGE_ORDERS],
			     unsigned int flags)
{
	struct llfree *llf = &zone->llfree->core;
	const bool strict = flags & ZF_STRICT;
	struct llfree_delta delta = { };
	unsigned long row, next, total = 0;
	unsigned int order;
	u64 mask, free, got;

	if (strict)
		want = ULONG_MAX;
	while (*pfn < end && total < want) {
		order = claim_order(llf, *pfn, end, want - total);
		if (order > LLFREE_ROW_ORDER &&
		    !llfree_claim(llf, *pfn, order, claim_flags(flags),
				  &delta)) {
			claimed_add(*pfn, order, lists);
			total += 1UL << order;
			*pfn += 1UL << order;
			continue;
		}

		row = ALIGN_DOWN(*pfn, LLFREE_ROW_FRAMES);
		next = min(row + LLFREE_ROW_FRAMES, end);
		mask = GENMASK_ULL(next - row - 1, *pfn - row);
		free = llfree_row_mask(llf, row) & mask;
		if (hweight64(free) > want - total) {
			while (hweight64(free) > want - total)
				free &= ~(1ULL << (fls64(free) - 1));
			next = row + fls64(free);
		}
		got = 0;
		if (free && llfree_claim_row(llf, row, free, claim_flags(flags),
					     &got, &delta) > 0) {
			claimed_add_row(row, got, lists);
			total += hweight64(got);
		}
		if (strict && got != mask) {
			*pfn = row + __ffs64(mask & ~got);
			break;
		}
		*pfn = next;
	}
	zf_account(zone, &delta);
	return total;
}

/* ---- Pageblocks ---- */

/* Is all of a pageblock in the zone? */
static bool block_in_zone(const struct zone *zone, unsigned long pfn)
{
	return zone_spans_pfn(zone, pageblock_start_pfn(pfn)) &&
	       zone_spans_pfn(zone, pageblock_end_pfn(pfn) - 1);
}

static void block_set_view(struct zone *zone, unsigned long pfn,
			   enum llfree_view view)
{
	const unsigned long end = pageblock_end_pfn(pfn);
	struct llfree_delta delta = { };

	lockdep_assert_held(&zone->lock);

	for (pfn = pageblock_start_pfn(pfn); pfn < end; pfn += LLFREE_CHILD_FRAMES)
		llfree_set_view(&zone->llfree->core, pfn, view, &delta);
	zf_account(zone, &delta);
}

/**
 * zf_set_block() - change the migratetype of a pageblock
 * @zone: the zone
 * @pfn: any pfn of the pageblock
 * @migratetype: the new migratetype
 *
 * Free pages of the block change to the new view. Flags and view differ for a
 * moment. Meanwhile no page is in the normal view while the flags say
 * otherwise.
 *
 * Context: caller holds zone->lock.
 *
 * Return: number of free pages in the block; -EBUSY if not all of the pageblock
 *	is in the zone
 */
long zf_set_block(struct zone *zone, unsigned long pfn, int migratetype)
{
	enum llfree_view view = zf_view(migratetype);
	struct page *page = pfn_to_page(pfn);

	if (!block_in_zone(zone, pfn))
		return -EBUSY;

	if (view == LLFREE_VIEW_NORMAL)
		set_pageblock_migratetype(page, migratetype);
	block_set_view(zone, pfn, view);
	if (view != LLFREE_VIEW_NORMAL)
		set_pageblock_migratetype(page, migratetype);
	return zf_block_free(zone, pfn, false);
}

/**
 * zf_hide_block() - prevent allocations from a pageblock
 * @zone: the zone
 * @pfn: any pfn of the pageblock
 *
 * Free pages of the block are hidden like those of MIGRATE_ISOLATE, but the
 * migratetype of the block stays. The caller looks through the block, and then
 * calls zf_set_block(): with MIGRATE_ISOLATE, or with the old migratetype.
 *
 * Context: caller holds zone->lock.
 *
 * Return: false if not all of the pageblock is in the zone
 */
bool zf_hide_block(struct zone *zone, unsigned long pfn)
{
	if (!block_in_zone(zone, pfn))
		return false;
	block_set_view(zone, pfn, LLFREE_VIEW_ISOLATED);
	return true;
}

#ifdef CONFIG_CMA
/**
 * zf_init_cma_block() - set the migratetype of a pageblock to MIGRATE_CMA
 * @zone: the zone
 * @pfn: first pfn of the pageblock, whose pages are allocated
 *
 * Requests that may use CMA can allocate pages that are freed from now on.
 *
 * Context: takes zone->lock.
 */
void zf_init_cma_block(struct zone *zone, unsigned long pfn)
{
	unsigned long flags;

	spin_lock_irqsave(&zone->lock, flags);
	WARN_ON_ONCE(zf_set_block(zone, pfn, MIGRATE_CMA) != 0);
	spin_unlock_irqrestore(&zone->lock, flags);
}
#endif

/**
 * zf_unreserve_highatomic() - give one highatomic pageblock back
 * @zone: the zone
 * @migratetype: new migratetype of the pageblock
 *
 * Takes the first pageblock with free pages. If another CPU gives that
 * pageblock back first, the search goes on behind it.
 *
 * Context: takes zone->lock.
 *
 * Return: true if a pageblock with free pages was given back
 */
bool zf_unreserve_highatomic(struct zone *zone, int migratetype)
{
	unsigned long end = zone_end_pfn(zone), pfn = zone->zone_start_pfn;
	unsigned long flags;
	long free = 0;

	if (!zf_nr_free_highatomic(zone))
		return false;
	while (free <= 0) {
		pfn = zf_next_block(zone, pfn, end, 1, pageblock_nr_pages,
				    ZF_HIGHATOMIC);
		if (pfn >= end)
			return false;

		spin_lock_irqsave(&zone->lock, flags);
		if (is_migrate_highatomic(get_pageblock_migratetype(pfn_to_page(pfn)))) {
			free = zf_set_block(zone, pfn, migratetype);
			zone->nr_reserved_highatomic -=
				min(pageblock_nr_pages,
				    zone->nr_reserved_highatomic);
		}
		spin_unlock_irqrestore(&zone->lock, flags);
		pfn = pageblock_end_pfn(pfn);
	}
	return true;
}

/*
 * Timeout for the end of operations that began before, and interval of polling
 */
#define STABLE_TIMEOUT_US	(100 * USEC_PER_MSEC)
#define STABLE_POLL_US		20

/**
 * zf_wait_stable() - wait until no operation is under way in isolated pageblocks
 * @zone: the zone
 * @pfn: first pfn
 * @end: pfn after the last one
 *
 * An allocation or free that began before the pageblocks were isolated runs
 * with preemption off, so the wait is short. A free that begins later may be
 * under way when the function returns.
 *
 * Context: task; may sleep, so the caller holds no spinlock.
 *
 * Return: true; false after a timeout
 */
bool zf_wait_stable(const struct zone *zone, unsigned long pfn,
		    unsigned long end)
{
	int free;

	might_sleep();
	for (pfn = pageblock_start_pfn(pfn); pfn < end; pfn += pageblock_nr_pages)
		if (read_poll_timeout(zf_block_free, free, free != -EAGAIN,
				      STABLE_POLL_US, STABLE_TIMEOUT_US, false,
				      zone, pfn, true))
			return false;
	return true;
}

/* Attempts to claim pages that are being freed */
#define CLAIM_TRIES	8

/**
 * zf_claim_all() - allocate all of a range in an isolated pageblock
 * @zone: the zone
 * @pfn: first pfn; on return, where the scan stopped
 * @end: pfn after the last one, in the same pageblock
 * @lists: see zf_claim_range()
 *
 * A free that is under way has cleared the bits of its pages, but the word of
 * the child does not count the pages yet. The function waits for such frees.
 *
 * Context: task; may sleep.
 *
 * Return: number of pages that were allocated; all pages were if @pfn is @end
 */
unsigned long zf_claim_all(struct zone *zone, unsigned long *pfn,
			   unsigned long end,
			   struct list_head lists[NR_PAGE_ORDERS])
{
	unsigned long total = 0;
	unsigned int tries;

	for (tries = 0; tries < CLAIM_TRIES; tries++) {
		total += zf_claim_range(zone, pfn, end, 0, lists,
					ZF_STRICT | ZF_HIDDEN);
		if (*pfn >= end || zf_free_order(zone, *pfn) < 0 ||
		    !zf_wait_stable(zone, *pfn, end))
			break;
	}
	return total;
}

/**
 * zf_free_reported() - free a block after free page reporting
 * @zone: the zone
 * @pfn: first pfn
 * @order: pageblock_order or more
 * @reported: the hypervisor knows that the pages are not used
 *
 * Any allocation of the pages removes the mark that they are reported. Free
 * page reporting is not notified of the pages.
 */
void zf_free_reported(struct zone *zone, unsigned long pfn, unsigned int order,
		      bool reported)
{
	struct llfree *llf = &zone->llfree->core;
	struct llfree_delta delta = { };
	int ret;

	zf_check_exclusive(pfn, 1UL << order);
	if (reported)
		ret = llfree_free_reported(llf, pfn, order, &delta);
	else
		ret = llfree_free(llf, LLFREE_NO_SLOT, pfn, order, &delta);
	WARN_ON_ONCE(ret);
	zf_account_views(zone, &delta);
}
