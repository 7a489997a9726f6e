/* SPDX-License-Identifier: GPL-2.0 */
/*
 * KUnit test of LLFree as the keeper of the free pages of a zone.
 *
 * The zone is a fake one: its pages were allocated from a real zone, and are
 * given back to that at the end. What lies between them belongs to others; in
 * the fake zone it stays allocated, just as a memory hole does.
 */
#ifdef CONFIG_LLFREE_ZONE_KUNIT_TEST

#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/hrtimer.h>
#include <linux/memory_hotplug.h>
#include <linux/page-isolation.h>

/* Blocks of MAX_PAGE_ORDER that the fake zone has */
#define FAKE_BLOCKS	4
#define FAKE_PAGES	(FAKE_BLOCKS * MAX_ORDER_NR_PAGES)

struct fake_zone {
	struct zone zone, small;
	unsigned long pfn[FAKE_BLOCKS];
	int migratetype[FAKE_BLOCKS][MAX_ORDER_NR_PAGES / pageblock_nr_pages];
	void *memory[8];
	unsigned int nr_memory;
	struct page *pages[FAKE_PAGES];
};

/* KUnit runs tests one by one. */
static struct fake_zone *fake;

static void *fake_alloc(struct zone *zone, size_t size)
{
	void *p = kvzalloc(roundup_pow_of_two(size), GFP_KERNEL);

	if (p)
		fake->memory[fake->nr_memory++] = p;
	return p;
}

static int fake_set_up(struct zone *zone, unsigned long pfn, unsigned long nr)
{
	zone->name = "fake";
	zone->zone_pgdat = NODE_DATA(first_online_node);
	zone->zone_start_pfn = pfn;
	zone->spanned_pages = nr;
	spin_lock_init(&zone->lock);
	if (sizeof(struct per_cpu_zonestat) > 0) {
		zone->per_cpu_zonestats = alloc_percpu(struct per_cpu_zonestat);
		if (!zone->per_cpu_zonestats)
			return -ENOMEM;
	}
	return zf_init_zone(zone, pfn, nr, nr_cpu_ids, fake_alloc);
}

static void fake_zone_exit(struct kunit *test)
{
	unsigned int i, j;

	if (!fake)
		return;
	for (i = 0; i < FAKE_BLOCKS && fake->pfn[i]; i++) {
		struct page *page = pfn_to_page(fake->pfn[i]);

		for (j = 0; j < ARRAY_SIZE(fake->migratetype[i]); j++)
			set_pageblock_migratetype(page + j * pageblock_nr_pages,
						  fake->migratetype[i][j]);
		for (j = 0; j < MAX_ORDER_NR_PAGES; j++)
			set_page_private(page + j, 0);
		__free_pages(page, MAX_PAGE_ORDER);
	}
	for (i = 0; i < fake->nr_memory; i++)
		kvfree(fake->memory[i]);
	free_percpu(fake->zone.per_cpu_zonestats);
	free_percpu(fake->small.per_cpu_zonestats);
	kvfree(fake);
	fake = NULL;
}

static int fake_zone_init(struct kunit *test)
{
	unsigned long first = ULONG_MAX, end = 0;
	unsigned int i, j;

	fake = kvzalloc(sizeof(*fake), GFP_KERNEL);
	if (!fake)
		return -ENOMEM;
	for (i = 0; i < FAKE_BLOCKS; i++) {
		struct page *page = alloc_pages(GFP_KERNEL, MAX_PAGE_ORDER);

		if (!page)
			goto nomem;
		fake->pfn[i] = page_to_pfn(page);
		first = min(first, fake->pfn[i]);
		end = max(end, fake->pfn[i] + MAX_ORDER_NR_PAGES);
		for (j = 0; j < ARRAY_SIZE(fake->migratetype[i]); j++)
			fake->migratetype[i][j] =
				get_pageblock_migratetype(page + j * pageblock_nr_pages);
	}

	/* Enough trees to group pages by mobility, if only of what is not there */
	end = max(end, first + LLFREE_NR_CLASSES * LLFREE_MIN_TREE_FRAMES);
	if (fake_set_up(&fake->zone, first, end - first) ||
	    /* Of the first block only */
	    fake_set_up(&fake->small, fake->pfn[0], MAX_ORDER_NR_PAGES))
		goto nomem;
	return 0;
nomem:
	fake_zone_exit(test);
	return -ENOMEM;
}

static unsigned long fake_nr_free(void)
{
	return zone_page_state_snapshot(&fake->zone, NR_FREE_PAGES);
}

/* Give the zone its pages, or take all of them out again. */
static void fake_hand_over(struct kunit *test)
{
	unsigned int i;

	for (i = 0; i < FAKE_BLOCKS; i++)
		zf_free(&fake->zone, fake->pfn[i], MAX_PAGE_ORDER);
	KUNIT_ASSERT_EQ(test, fake_nr_free(), FAKE_PAGES);
}

static bool fake_owns(unsigned long pfn)
{
	unsigned int i;

	for (i = 0; i < FAKE_BLOCKS; i++)
		if (pfn - fake->pfn[i] < MAX_ORDER_NR_PAGES)
			return true;
	return false;
}

/* Allocate all there is, in blocks of an order. */
static unsigned int fake_alloc_all(struct kunit *test, unsigned int order,
				   int migratetype)
{
	unsigned int nr = 0;
	struct page *page;

	while ((page = zf_alloc(&fake->zone, order, migratetype, 0))) {
		unsigned long pfn = page_to_pfn(page);

		KUNIT_ASSERT_TRUE(test, fake_owns(pfn));
		KUNIT_ASSERT_TRUE(test, IS_ALIGNED(pfn, 1UL << order));
		KUNIT_ASSERT_LT(test, zf_free_order(&fake->zone, pfn), 0);
		KUNIT_ASSERT_LT(test, nr, FAKE_PAGES);
		fake->pages[nr++] = page;
	}
	return nr;
}

/* Counters, bitmaps and the statistics of the zone agree, with @free free. */
static void fake_check(struct kunit *test, unsigned long free)
{
	struct llfree *llf = &fake->zone.llfree->core;
	unsigned long nr[NR_PAGE_ORDERS], sum = 0;
	struct llfree_fault fault = { };
	unsigned char types[NR_PAGE_ORDERS];
	struct llfree_stats stats;
	unsigned int order;

	KUNIT_EXPECT_EQ_MSG(test, llfree_validate(llf, &fault), 0,
			    "%s pfn %#lx expected %ld found %ld", fault.what,
			    fault.frame, fault.expected, fault.found);
	llfree_stats_exact(llf, &stats);
	KUNIT_EXPECT_EQ(test, fake_nr_free(), free);
	KUNIT_EXPECT_EQ(test, stats.huge[LLFREE_VIEW_NORMAL],
			zf_nr_free_huge(&fake->zone));
	KUNIT_EXPECT_EQ(test, stats.frames[LLFREE_VIEW_HIGHATOMIC],
			zf_nr_free_highatomic(&fake->zone));
	zf_count(&fake->zone, -1, nr);
	for (order = 0; order < NR_PAGE_ORDERS; order++)
		sum += nr[order] << order;
	KUNIT_EXPECT_EQ(test, sum, free);
	KUNIT_EXPECT_EQ(test, zf_free_blocks(&fake->zone, nr, types), free);
	for (order = 0; order < NR_PAGE_ORDERS; order++)
		KUNIT_EXPECT_EQ(test, !nr[order], !types[order]);
}

static void zone_all_orders(struct kunit *test)
{
	unsigned int order, nr, i;

	fake_check(test, 0);
	KUNIT_EXPECT_NULL(test, zf_alloc(&fake->zone, 0, MIGRATE_MOVABLE, 0));
	fake_hand_over(test);
	for (order = 0; order <= MAX_PAGE_ORDER; order++) {
		nr = fake_alloc_all(test, order, order % MIGRATE_PCPTYPES);
		KUNIT_EXPECT_EQ(test, nr, FAKE_PAGES >> order);
		fake_check(test, 0);
		for (i = 0; i < nr; i++)
			zf_free(&fake->zone, page_to_pfn(fake->pages[i]), order);
		fake_check(test, FAKE_PAGES);
	}
	KUNIT_EXPECT_EQ(test, fake_alloc_all(test, MAX_PAGE_ORDER, 0),
			FAKE_BLOCKS);
}

/* Blocks come back in other pieces than they went out in. */
static void zone_other_pieces(struct kunit *test)
{
	unsigned int i, j;

	fake_hand_over(test);
	KUNIT_ASSERT_EQ(test, fake_alloc_all(test, MAX_PAGE_ORDER,
					     MIGRATE_MOVABLE), FAKE_BLOCKS);
	for (i = 0; i < FAKE_BLOCKS; i++)
		for (j = 0; j < MAX_ORDER_NR_PAGES; j++)
			zf_free(&fake->zone, fake->pfn[i] + j, 0);
	fake_check(test, FAKE_PAGES);

	KUNIT_ASSERT_EQ(test, fake_alloc_all(test, 0, MIGRATE_MOVABLE),
			FAKE_PAGES);
	fake_hand_over(test);
	fake_check(test, FAKE_PAGES);
	KUNIT_EXPECT_EQ(test, fake_alloc_all(test, 3, MIGRATE_UNMOVABLE),
			FAKE_PAGES >> 3);
}

/* One call may return less than there is, but none returns more than wanted. */
static unsigned int fake_alloc_bulk(struct kunit *test, unsigned int order,
				    unsigned int want, struct list_head *list)
{
	unsigned int nr = 0, got;

	do {
		got = zf_alloc_bulk(&fake->zone, order, MIGRATE_MOVABLE, 0,
				    want - nr, list);
		nr += got;
		KUNIT_ASSERT_LE(test, nr, want);
	} while (got && nr < want);
	return nr;
}

static void zone_bulk(struct kunit *test)
{
	unsigned int order, nr, want;
	struct page *page, *next;
	struct zf_batch batch;
	LIST_HEAD(list);

	fake_hand_over(test);
	for (order = 0; order <= MAX_PAGE_ORDER; order++) {
		for (want = 1; want <= FAKE_PAGES >> order; want = want * 3 + 1) {
			unsigned long last = 0, gaps = 0;

			nr = fake_alloc_bulk(test, order, want, &list);
			KUNIT_ASSERT_EQ(test, nr, want);
			fake_check(test, FAKE_PAGES - (want << order));

			zf_batch_init(&batch);
			nr = 0;
			list_for_each_entry_safe(page, next, &list, pcp_list) {
				unsigned long pfn = page_to_pfn(page);

				gaps += last && pfn != last + (1UL << order);
				last = pfn;
				list_del(&page->pcp_list);
				zf_batch_add(&fake->zone, &batch, pfn, order);
				nr++;
			}
			zf_batch_flush(&fake->zone, &batch);
			KUNIT_EXPECT_EQ(test, nr, want);
			/* Pages of a word are in order of their pfn. */
			KUNIT_EXPECT_LE(test, gaps,
					(want << order) / LLFREE_ROW_FRAMES + FAKE_BLOCKS);
			fake_check(test, FAKE_PAGES);
		}
	}
	nr = fake_alloc_bulk(test, 0, FAKE_PAGES + 9, &list);
	KUNIT_EXPECT_EQ(test, nr, FAKE_PAGES);
	KUNIT_EXPECT_EQ(test, list_count_nodes(&list), FAKE_PAGES);
	fake_check(test, 0);
}

/* Large kernel blocks have trees of their own, which no caller notices. */
static void zone_large_apart(struct kunit *test)
{
	struct llfree *llf = &fake->zone.llfree->core;
	unsigned long nr[NR_PAGE_ORDERS], sum = 0;
	unsigned int order, type;
	struct llfree_child child;
	struct page *page;

	if (page_group_by_mobility_disabled)
		kunit_skip(test, "pages are not grouped by mobility");
	/* On another CPU, which has no tree, a small block may come from any. */
	set_cpus_allowed_ptr(current, cpumask_of(raw_smp_processor_id()));
	fake_hand_over(test);
	page = zf_alloc(&fake->zone, PAGE_ALLOC_COSTLY_ORDER, MIGRATE_UNMOVABLE, 0);
	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_ASSERT_EQ(test, llfree_child(llf, page_to_pfn(page), &child), 0);
	KUNIT_EXPECT_EQ(test, child.class, LLFREE_CLASS_LARGE);
	KUNIT_EXPECT_EQ(test, get_pageblock_migratetype(page), MIGRATE_UNMOVABLE);
	for (type = 0; type < MIGRATE_PCPTYPES; type++) {
		zf_count(&fake->zone, type, nr);
		for (order = 0; order < NR_PAGE_ORDERS; order++)
			sum += nr[order] << order;
	}
	KUNIT_EXPECT_EQ(test, sum, FAKE_PAGES - (1UL << PAGE_ALLOC_COSTLY_ORDER));
	zf_free(&fake->zone, page_to_pfn(page), PAGE_ALLOC_COSTLY_ORDER);

	page = zf_alloc(&fake->zone, PAGE_ALLOC_COSTLY_ORDER - 1,
			MIGRATE_UNMOVABLE, 0);
	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_ASSERT_EQ(test, llfree_child(llf, page_to_pfn(page), &child), 0);
	KUNIT_EXPECT_NE(test, child.class, LLFREE_CLASS_LARGE);
	zf_free(&fake->zone, page_to_pfn(page), PAGE_ALLOC_COSTLY_ORDER - 1);
	fake_check(test, FAKE_PAGES);
}

/* What is not allocated cannot be freed, whatever way it is tried. */
static void zone_bad_free(struct kunit *test)
{
	unsigned long pfn = fake->pfn[0];
	struct zf_batch batch = { };

	kunit_info(test, "warnings about pages that are not allocated follow");
	fake_hand_over(test);
	zf_free(&fake->zone, pfn, 0);
	zf_free(&fake->zone, pfn, MAX_PAGE_ORDER);
	KUNIT_ASSERT_TRUE(test, zf_claim(&fake->zone, pfn, 1, 0));
	zf_free(&fake->zone, pfn, 2);
	fake_check(test, FAKE_PAGES - 2);

	/* Only the good ones of a word are freed, and each of them once. */
	zf_batch_add(&fake->zone, &batch, pfn, 0);
	zf_batch_add(&fake->zone, &batch, pfn + 1, 0);
	zf_batch_add(&fake->zone, &batch, pfn + 1, 0);
	zf_batch_add(&fake->zone, &batch, pfn + 5, 0);
	zf_batch_flush(&fake->zone, &batch);
	fake_check(test, FAKE_PAGES);
	zf_free(&fake->zone, fake->zone.zone_start_pfn + fake->zone.spanned_pages,
		0);
	KUNIT_EXPECT_EQ(test, fake_alloc_all(test, 0, MIGRATE_MOVABLE),
			FAKE_PAGES);
}

static void zone_claims(struct kunit *test)
{
	struct list_head lists[NR_PAGE_ORDERS];
	unsigned long pfn = fake->pfn[1], at, got, sum = 0;
	unsigned int order;
	struct page *page;

	for (order = 0; order < NR_PAGE_ORDERS; order++)
		INIT_LIST_HEAD(&lists[order]);
	fake_hand_over(test);
	for (order = 0; order <= MAX_PAGE_ORDER; order++) {
		KUNIT_EXPECT_TRUE(test, zf_claim(&fake->zone, pfn, order, 0));
		KUNIT_EXPECT_FALSE(test, zf_claim(&fake->zone, pfn, order, 0));
		KUNIT_EXPECT_FALSE(test, zf_claim(&fake->zone, pfn, 0, 0));
		fake_check(test, FAKE_PAGES - (1UL << order));
		zf_free(&fake->zone, pfn, order);
	}

	/* Around a page in use, and no further than wanted */
	KUNIT_ASSERT_TRUE(test, zf_claim(&fake->zone, pfn + 100, 0, 0));
	at = pfn + 3;
	got = zf_claim_range(&fake->zone, &at, pfn + LLFREE_CHILD_FRAMES, 150,
			     lists, 0);
	KUNIT_EXPECT_EQ(test, got, 150);
	KUNIT_EXPECT_EQ(test, at, pfn + 3 + 150 + 1);
	for (order = 0; order < NR_PAGE_ORDERS; order++) {
		list_for_each_entry(page, &lists[order], lru) {
			KUNIT_EXPECT_EQ(test, page_private(page), order);
			KUNIT_EXPECT_TRUE(test, IS_ALIGNED(page_to_pfn(page),
							   1UL << order));
			zf_free(&fake->zone, page_to_pfn(page), order);
			sum += 1UL << order;
		}
		INIT_LIST_HEAD(&lists[order]);
	}
	KUNIT_EXPECT_EQ(test, sum, 150);
	fake_check(test, FAKE_PAGES - 1);

	/* Strict: up to the page in use */
	at = pfn;
	got = zf_claim_range(&fake->zone, &at, pfn + LLFREE_CHILD_FRAMES, 0,
			     lists, ZF_STRICT);
	KUNIT_EXPECT_EQ(test, at, pfn + 100);
	KUNIT_EXPECT_GE(test, got, 100);
	fake_check(test, FAKE_PAGES - 1 - got);
	for (order = 0; order < NR_PAGE_ORDERS; order++)
		list_for_each_entry(page, &lists[order], lru)
			zf_free(&fake->zone, page_to_pfn(page), order);
	fake_check(test, FAKE_PAGES - 1);
}

static void zone_highatomic(struct kunit *test)
{
	const unsigned long block = pageblock_nr_pages;
	struct zone *zone = &fake->zone;
	unsigned long pfn = fake->pfn[0];
	struct page *page;
	unsigned int nr;
	long moved;

	fake_hand_over(test);
	spin_lock_irq(&zone->lock);
	moved = zf_set_block(zone, pfn, MIGRATE_HIGHATOMIC);
	spin_unlock_irq(&zone->lock);
	KUNIT_EXPECT_EQ(test, moved, block);
	KUNIT_EXPECT_EQ(test, zf_nr_free_highatomic(zone), block);
	KUNIT_EXPECT_EQ(test, get_pageblock_migratetype(pfn_to_page(pfn)),
			MIGRATE_HIGHATOMIC);
	fake_check(test, FAKE_PAGES);
	KUNIT_EXPECT_EQ(test, zf_next_block(zone, zone->zone_start_pfn,
					    zone_end_pfn(zone), 1, block,
					    ZF_HIGHATOMIC), pfn);

	/* Others do not get it; those who may, get only that. */
	nr = fake_alloc_all(test, 0, MIGRATE_MOVABLE);
	KUNIT_EXPECT_EQ(test, nr, FAKE_PAGES - block);
	KUNIT_EXPECT_FALSE(test, zf_has_order(zone, 3, 0) &&
			   zf_alloc(zone, 3, MIGRATE_UNMOVABLE, 0));
	KUNIT_EXPECT_FALSE(test, zf_has_order(zone, 3, 0));
	KUNIT_EXPECT_TRUE(test, zf_has_order(zone, 3, ALLOC_HIGHATOMIC));
	page = zf_alloc(zone, 3, MIGRATE_UNMOVABLE, ALLOC_HIGHATOMIC);
	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_EXPECT_EQ(test, pageblock_start_pfn(page_to_pfn(page)), pfn);
	zf_free(zone, page_to_pfn(page), 3);
	page = zf_alloc(zone, 0, MIGRATE_UNMOVABLE, ALLOC_NON_BLOCK);
	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_EXPECT_EQ(test, zf_nr_free_highatomic(zone), block - 1);
	fake_check(test, block - 1);

	/* Back to all, with what was freed meanwhile */
	zf_free(zone, page_to_pfn(page), 0);
	spin_lock_irq(&zone->lock);
	moved = zf_set_block(zone, pfn, MIGRATE_MOVABLE);
	spin_unlock_irq(&zone->lock);
	KUNIT_EXPECT_EQ(test, moved, block);
	KUNIT_EXPECT_EQ(test, zf_nr_free_highatomic(zone), 0);
	KUNIT_EXPECT_TRUE(test, zf_has_order(zone, 3, 0));
	fake_check(test, block);
	KUNIT_EXPECT_EQ(test, fake_alloc_all(test, 0, MIGRATE_MOVABLE), block);
}

/* No says that there is none, and does not say so for longer than true. */
static void zone_has_order(struct kunit *test)
{
	struct zone *zone = &fake->zone;
	unsigned long pfn = fake->pfn[2];
	unsigned int order, i;

	KUNIT_EXPECT_FALSE(test, zf_has_order(zone, LLFREE_CHILD_ORDER, 0));
	fake_hand_over(test);
	for (order = 0; order <= MAX_PAGE_ORDER; order++)
		KUNIT_EXPECT_TRUE(test, zf_has_order(zone, order, 0));
	KUNIT_ASSERT_EQ(test, fake_alloc_all(test, 0, MIGRATE_MOVABLE),
			FAKE_PAGES);
	KUNIT_EXPECT_FALSE(test, zf_has_order(zone, LLFREE_CHILD_ORDER, 0));

	/* Every other page: plenty of them, but no pair */
	for (i = 0; i < MAX_ORDER_NR_PAGES; i += 2)
		zf_free(zone, pfn + i, 0);
	KUNIT_EXPECT_NULL(test, zf_alloc(zone, 1, MIGRATE_MOVABLE, 0));
	for (order = 1; order <= MAX_PAGE_ORDER; order++)
		KUNIT_EXPECT_FALSE(test, zf_has_order(zone, order, 0));
	KUNIT_EXPECT_TRUE(test, zf_has_order(zone, 0, 0));

	/* Each further page makes a larger block. */
	for (order = 1; order <= MAX_PAGE_ORDER; order++) {
		for (i = (1U << order) / 2 + (order > 1); i < (1U << order); i += 2)
			zf_free(zone, pfn + i, 0);
		KUNIT_EXPECT_TRUE_MSG(test, zf_has_order(zone, order, 0),
				      "order %u", order);
		if (order < MAX_PAGE_ORDER) {
			KUNIT_EXPECT_NULL(test, zf_alloc(zone, order + 1,
							 MIGRATE_MOVABLE, 0));
			KUNIT_EXPECT_FALSE(test, zf_has_order(zone, order + 1, 0));
		}
	}
	fake_check(test, MAX_ORDER_NR_PAGES);

	/* What the page allocator asks, if it asks us */
	if (zf_active()) {
		KUNIT_EXPECT_TRUE(test, zone_watermark_ok(zone, 9, 0, 0, 0));
		KUNIT_EXPECT_TRUE(test, zf_claim(zone, pfn + 1, 0, 0));
		KUNIT_EXPECT_TRUE(test, zf_claim(zone, pfn + 1023, 0, 0));
		KUNIT_EXPECT_FALSE(test, zone_watermark_ok(zone, 9, 0, 0, 0));
		KUNIT_EXPECT_TRUE(test, zone_watermark_ok(zone, 8, 0, 0, 0));
		KUNIT_EXPECT_FALSE(test, zone_watermark_ok(zone, 0,
							   FAKE_PAGES, 0, 0));
	}
	fake_alloc_all(test, 0, MIGRATE_MOVABLE);
}

static void zone_blocks(struct kunit *test)
{
	const unsigned long block = pageblock_nr_pages;
	struct zone *zone = &fake->zone;
	unsigned long start = zone->zone_start_pfn, end = zone_end_pfn(zone);
	unsigned long pfn = fake->pfn[3];

	KUNIT_EXPECT_EQ(test, zf_next_block(zone, start, end, 1, block, 0), end);
	zf_free(zone, pfn, MAX_PAGE_ORDER);
	KUNIT_EXPECT_EQ(test, zf_next_block(zone, start, end, block, block, 0),
			pfn);
	/* The last pageblock of the block, whose size is a pageblock's or two */
	KUNIT_EXPECT_EQ(test, zf_next_block(zone, pfn + MAX_ORDER_NR_PAGES - 1,
					    end, block, block, 0),
			pfn + MAX_ORDER_NR_PAGES - block);
	KUNIT_EXPECT_EQ(test, zf_block_free(zone, pfn + 7, true), block);
	KUNIT_EXPECT_EQ(test, zf_free_order(zone, pfn + 7), MAX_PAGE_ORDER);
	KUNIT_EXPECT_EQ(test, zf_free_order(zone, end), -1);

	KUNIT_ASSERT_TRUE(test, zf_claim(zone, pfn + 8, 3, 0));
	KUNIT_EXPECT_EQ(test, zf_next_block(zone, start, end, 1, block - 1, 0),
			pfn);
	KUNIT_EXPECT_EQ(test, zf_block_free(zone, pfn, false), block - 8);
	KUNIT_EXPECT_EQ(test, zf_free_order(zone, pfn + 7), 3);
	KUNIT_EXPECT_EQ(test, zf_free_order(zone, pfn + 8), -1);
	zf_free(zone, pfn + 8, 3);
	fake_check(test, MAX_ORDER_NR_PAGES);
	KUNIT_EXPECT_TRUE(test, zf_claim(zone, pfn, MAX_PAGE_ORDER, 0));
}

/* Pageblocks are of the migratetype that their pages were allocated for. */
static void zone_migratetype(struct kunit *test)
{
	static const int types[] = {
		MIGRATE_UNMOVABLE, MIGRATE_RECLAIMABLE, MIGRATE_MOVABLE,
	};
	struct page *page;
	unsigned int i;

	if (page_group_by_mobility_disabled)
		kunit_skip(test, "pages are not grouped by mobility");
	for (i = 0; i < ARRAY_SIZE(types); i++) {
		fake_hand_over(test);
		page = zf_alloc(&fake->zone, 0, types[i], 0);
		KUNIT_ASSERT_NOT_NULL(test, page);
		KUNIT_EXPECT_EQ(test, get_pageblock_migratetype(page), types[i]);
		zf_free(&fake->zone, page_to_pfn(page), 0);
		KUNIT_ASSERT_EQ(test, fake_alloc_all(test, MAX_PAGE_ORDER,
						     types[i]), FAKE_BLOCKS);
		KUNIT_EXPECT_EQ(test, get_pageblock_migratetype(fake->pages[0] +
								pageblock_nr_pages - 1),
				types[i]);
	}
}

struct fake_interrupt {
	struct hrtimer timer;
	struct completion done;
	struct page *page;
	bool in_hardirq;
};

static enum hrtimer_restart fake_interrupt(struct hrtimer *timer)
{
	struct fake_interrupt *irq = container_of(timer, struct fake_interrupt, timer);

	irq->in_hardirq = in_hardirq();
	irq->page = zf_alloc(&fake->zone, 0, MIGRATE_UNMOVABLE, 0);
	complete(&irq->done);
	return HRTIMER_NORESTART;
}

/*
 * The pageblock of a page changes its migratetype under zone->lock, which sleeps
 * with PREEMPT_RT: a hardirq must not take it there, not even if it is free.
 */
static void zone_hardirq(struct kunit *test)
{
	const int migratetype = IS_ENABLED(CONFIG_PREEMPT_RT) ?
				MIGRATE_MOVABLE : MIGRATE_UNMOVABLE;
	struct fake_interrupt irq = { };
	unsigned int i;

	if (page_group_by_mobility_disabled)
		kunit_skip(test, "pages are not grouped by mobility");
	for (i = 0; i < FAKE_PAGES; i += pageblock_nr_pages)
		set_pageblock_migratetype(pfn_to_page(fake->pfn[i / MAX_ORDER_NR_PAGES] +
						      i % MAX_ORDER_NR_PAGES),
					  MIGRATE_MOVABLE);
	fake_hand_over(test);
	init_completion(&irq.done);
	hrtimer_init_on_stack(&irq.timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_HARD);
	irq.timer.function = fake_interrupt;
	hrtimer_start(&irq.timer, ns_to_ktime(NSEC_PER_USEC), HRTIMER_MODE_REL_HARD);
	wait_for_completion(&irq.done);
	hrtimer_cancel(&irq.timer);
	destroy_hrtimer_on_stack(&irq.timer);
	KUNIT_EXPECT_TRUE(test, irq.in_hardirq);
	KUNIT_ASSERT_NOT_NULL(test, irq.page);
	KUNIT_EXPECT_EQ(test, get_pageblock_migratetype(irq.page), migratetype);
	fake_check(test, FAKE_PAGES - 1);
	zf_free(&fake->zone, page_to_pfn(irq.page), 0);
	fake_alloc_all(test, 0, MIGRATE_MOVABLE);
}

/* Nothing from the memory of others, if the caller would rather go elsewhere */
static void zone_nofragment(struct kunit *test)
{
	struct llfree *llf = &fake->zone.llfree->core;
	struct llfree_child child;
	unsigned long pfn;
	struct page *page;
	unsigned int i;

	if (!ALLOC_NOFRAGMENT || page_group_by_mobility_disabled)
		kunit_skip(test, "pages are not grouped by mobility");
	fake_hand_over(test);
	/* A movable page in each child: no request can take over a child that is all free. */
	for (i = 0; i < FAKE_PAGES; i += LLFREE_CHILD_FRAMES) {
		pfn = fake->pfn[i / MAX_ORDER_NR_PAGES] + i % MAX_ORDER_NR_PAGES;
		KUNIT_ASSERT_TRUE(test, zf_claim(&fake->zone, pfn, 0, 0));
		KUNIT_ASSERT_EQ(test, 0, llfree_child(llf, pfn, &child));
		KUNIT_ASSERT_EQ(test, child.class, LLFREE_CLASS_MOVABLE);
	}
	KUNIT_EXPECT_NULL(test, zf_alloc(&fake->zone, 0, MIGRATE_UNMOVABLE,
					 ALLOC_NOFRAGMENT));
	page = zf_alloc(&fake->zone, 0, MIGRATE_MOVABLE, ALLOC_NOFRAGMENT);
	KUNIT_EXPECT_NOT_NULL(test, page);
	page = zf_alloc(&fake->zone, 0, MIGRATE_UNMOVABLE, 0);
	KUNIT_EXPECT_NOT_NULL(test, page);
	fake_check(test, FAKE_PAGES - FAKE_PAGES / LLFREE_CHILD_FRAMES - 2);

	/* An entirely free child has no class to mix with. */
	zf_free(&fake->zone, pfn, 0);
	page = zf_alloc(&fake->zone, 0, MIGRATE_RECLAIMABLE, ALLOC_NOFRAGMENT);
	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_EXPECT_EQ(test, ALIGN_DOWN(page_to_pfn(page), LLFREE_CHILD_FRAMES),
			ALIGN_DOWN(pfn, LLFREE_CHILD_FRAMES));
	fake_alloc_all(test, 0, MIGRATE_MOVABLE);
}

/* A zone of few trees: all pages are of one class, that which trees start with. */
static void zone_small(struct kunit *test)
{
	static const int types[] = {
		MIGRATE_MOVABLE, MIGRATE_UNMOVABLE, MIGRATE_RECLAIMABLE,
	};
	struct zone *zone = &fake->small;
	struct llfree *llf = &zone->llfree->core;
	int all = page_group_by_mobility_disabled ? MIGRATE_UNMOVABLE :
						    MIGRATE_MOVABLE;
	unsigned long nr[NR_PAGE_ORDERS], pfn = fake->pfn[0];
	struct llfree_child child;
	struct page *page;
	int block = -1;
	unsigned int i;

	zf_free(zone, pfn, MAX_PAGE_ORDER);
	/* The allocation that begins a pageblock decides its type. */
	for (i = 0; i < ARRAY_SIZE(types); i++) {
		page = zf_alloc(zone, 0, types[i], 0);
		KUNIT_ASSERT_NOT_NULL(test, page);
		if (!page_group_by_mobility_disabled)
			KUNIT_EXPECT_EQ(test, get_pageblock_migratetype(page),
					types[i]);
		zf_free(zone, page_to_pfn(page), 0);
	}

	/* A page in use in each child, and less than half of the tree free */
	for (i = 0; i < MAX_ORDER_NR_PAGES; i += LLFREE_CHILD_FRAMES)
		KUNIT_ASSERT_TRUE(test, zf_claim(zone, pfn + i, 0, 0));
	for (i = 0; i < 100 * ARRAY_SIZE(types); i++) {
		page = zf_alloc(zone, i & 1, types[i % ARRAY_SIZE(types)],
				ALLOC_NOFRAGMENT);
		KUNIT_ASSERT_NOT_NULL(test, page);
		KUNIT_ASSERT_EQ(test, 0, llfree_child(llf, page_to_pfn(page),
						      &child));
		KUNIT_ASSERT_EQ(test, child.class, llf->policy->init_class);
		if (block < 0)
			block = get_pageblock_migratetype(page);
		KUNIT_ASSERT_EQ(test, block, get_pageblock_migratetype(page));
	}
	zf_count(zone, all, nr);
	KUNIT_EXPECT_GT(test, nr[LLFREE_CHILD_ORDER - 4], 0);
	zf_count(zone, MIGRATE_RECLAIMABLE, nr);
	KUNIT_EXPECT_EQ(test, nr[LLFREE_CHILD_ORDER - 4], 0);
	while (zf_alloc(zone, 0, MIGRATE_MOVABLE, 0))
		;
}

/* The last block of an order was split: the hint does not know, a search does. */
static void zone_find_order(struct kunit *test)
{
	struct zone *zone = &fake->zone;
	unsigned long pfn = fake->pfn[1];
	unsigned int i;

	fake_hand_over(test);
	KUNIT_EXPECT_TRUE(test, zf_find_order(zone, MAX_PAGE_ORDER, 0));
	KUNIT_ASSERT_EQ(test, fake_alloc_all(test, 0, MIGRATE_MOVABLE),
			FAKE_PAGES);
	KUNIT_EXPECT_NULL(test, zf_alloc(zone, 3, MIGRATE_MOVABLE, 0));
	KUNIT_EXPECT_FALSE(test, zf_find_order(zone, 3, 0));
	for (i = 0; i < MAX_ORDER_NR_PAGES; i += 2)
		zf_free(zone, pfn + i, 0);
	zf_free(zone, pfn + 17, 0);
	KUNIT_EXPECT_TRUE(test, zf_has_order(zone, 1, 0));
	KUNIT_EXPECT_TRUE(test, zf_find_order(zone, 1, 0));
	KUNIT_EXPECT_FALSE(test, zf_find_order(zone, 2, 0));
	KUNIT_ASSERT_TRUE(test, zf_claim(zone, pfn + 17, 0, 0));
	KUNIT_EXPECT_TRUE(test, zf_has_order(zone, 1, 0));
	KUNIT_EXPECT_FALSE(test, zf_find_order(zone, 1, 0));
	KUNIT_EXPECT_FALSE(test, zf_has_order(zone, 1, 0));
	zf_free(zone, pfn + 17, 0);
	KUNIT_EXPECT_TRUE(test, zf_find_order(zone, 1, 0));
	fake_alloc_all(test, 0, MIGRATE_MOVABLE);
}

static void fake_set_block(unsigned long pfn, int migratetype)
{
	spin_lock_irq(&fake->zone.lock);
	zf_set_block(&fake->zone, pfn, migratetype);
	spin_unlock_irq(&fake->zone.lock);
}

#ifdef CONFIG_MEMORY_ISOLATION
/* A hidden block keeps its free pages to itself, also those freed later. */
static void zone_isolate(struct kunit *test)
{
	const unsigned long block = pageblock_nr_pages;
	struct zone *zone = &fake->zone;
	unsigned long pfn = fake->pfn[1], at = pfn;
	struct list_head lists[NR_PAGE_ORDERS];
	struct page *page = pfn_to_page(pfn);
	unsigned int order;

	for (order = 0; order < NR_PAGE_ORDERS; order++)
		INIT_LIST_HEAD(&lists[order]);
	fake_hand_over(test);
	KUNIT_ASSERT_TRUE(test, zf_claim(zone, pfn + 8, 3, 0));
	fake_set_block(pfn, MIGRATE_MOVABLE);
	spin_lock_irq(&zone->lock);
	KUNIT_EXPECT_TRUE(test, zf_hide_block(zone, pfn));
	spin_unlock_irq(&zone->lock);
	KUNIT_EXPECT_EQ(test, get_pageblock_migratetype(page), MIGRATE_MOVABLE);
	KUNIT_EXPECT_EQ(test, fake_nr_free(), FAKE_PAGES - block);
	zf_free(zone, pfn + 8, 3);
	KUNIT_EXPECT_EQ(test, fake_nr_free(), FAKE_PAGES - block);
	KUNIT_EXPECT_FALSE(test, zf_claim(zone, pfn, 0, 0));

	/* Shown again, then isolated for good */
	fake_set_block(pfn, MIGRATE_MOVABLE);
	fake_check(test, FAKE_PAGES);
	fake_set_block(pfn, MIGRATE_ISOLATE);
	KUNIT_EXPECT_EQ(test, get_pageblock_migratetype(page), MIGRATE_ISOLATE);
	KUNIT_EXPECT_TRUE(test, zf_wait_stable(zone, pfn, pfn + block));
	KUNIT_EXPECT_EQ(test, zf_block_free(zone, pfn, true), block);
	KUNIT_EXPECT_EQ(test, fake_alloc_all(test, 0, MIGRATE_MOVABLE),
			FAKE_PAGES - block);
	KUNIT_EXPECT_EQ(test, fake_nr_free(), 0);

	/* Exactly the wanted range can be taken, aligned or not. */
	at = pfn + 3;
	KUNIT_EXPECT_EQ(test, zf_claim_range(zone, &at, pfn + block - 5, 0, lists,
					     ZF_STRICT | ZF_HIDDEN), block - 8);
	KUNIT_EXPECT_EQ(test, at, pfn + block - 5);
	KUNIT_EXPECT_EQ(test, zf_block_free(zone, pfn, true), 8);
	KUNIT_EXPECT_FALSE(test, zf_claim(zone, pfn + 3, 0, ZF_HIDDEN));
	fake_set_block(pfn, MIGRATE_MOVABLE);
	fake_check(test, 8);
	KUNIT_EXPECT_EQ(test, fake_alloc_all(test, 0, MIGRATE_MOVABLE), 8);
}

/*
 * A slab that was taken off a list has LIST_POISON2 where other pages have their
 * mapping, and bit 1 of it is set as in the mapping of a page whose driver can
 * move it. Offlining waited without end for such a slab to move.
 */
static void zone_slab_unmovable(struct kunit *test)
{
	struct page *page = alloc_pages(GFP_KERNEL | __GFP_COMP, pageblock_order);
	unsigned long pfn;
	int ret;

	KUNIT_ASSERT_NOT_NULL(test, page);
	pfn = page_to_pfn(page);
	__folio_set_slab(page_folio(page));
	page->mapping = LIST_POISON2;
	ret = start_isolate_page_range(pfn, pfn + pageblock_nr_pages, MIGRATE_MOVABLE,
				       MEMORY_OFFLINE, GFP_KERNEL);
	KUNIT_EXPECT_EQ(test, -EBUSY, ret);
	if (!ret)
		undo_isolate_page_range(pfn, pfn + pageblock_nr_pages, MIGRATE_MOVABLE);
	page->mapping = NULL;
	__folio_clear_slab(page_folio(page));
	__free_pages(page, pageblock_order);
}
#endif

#ifdef CONFIG_CMA
static unsigned long fake_cma_free(void)
{
	return zone_page_state_snapshot(&fake->zone, NR_FREE_CMA_PAGES);
}

/* Requests that may use CMA pageblocks do so first while these have most pages. */
static void zone_cma(struct kunit *test)
{
	const unsigned long block = pageblock_nr_pages;
	struct zone *zone = &fake->zone;
	unsigned long pfn = fake->pfn[2];
	struct page *page;
	LIST_HEAD(list);
	unsigned int i;

	zf_init_cma_block(zone, pfn);
	fake_hand_over(test);
	KUNIT_EXPECT_EQ(test, get_pageblock_migratetype(pfn_to_page(pfn)),
			MIGRATE_CMA);
	KUNIT_EXPECT_EQ(test, fake_cma_free(), block);
	fake_check(test, FAKE_PAGES);

	/* Few of the free pages are in them: others first */
	page = zf_alloc(zone, 0, MIGRATE_MOVABLE, ALLOC_CMA);
	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_EXPECT_NE(test, pageblock_start_pfn(page_to_pfn(page)), pfn);
	KUNIT_EXPECT_EQ(test, fake_cma_free(), block);

	/* All others are in use: these, but not for other requests */
	KUNIT_EXPECT_EQ(test, fake_alloc_all(test, 0, MIGRATE_MOVABLE),
			FAKE_PAGES - block - 1);
	KUNIT_EXPECT_FALSE(test, zf_has_order(zone, LLFREE_CHILD_ORDER, 0));
	KUNIT_EXPECT_TRUE(test, zf_has_order(zone, LLFREE_CHILD_ORDER, ALLOC_CMA));
	for (i = 0; i < 3; i++) {
		page = zf_alloc(zone, i, MIGRATE_MOVABLE, ALLOC_CMA);
		KUNIT_ASSERT_NOT_NULL(test, page);
		KUNIT_EXPECT_EQ(test, pageblock_start_pfn(page_to_pfn(page)), pfn);
	}
	KUNIT_EXPECT_EQ(test, fake_cma_free(), block - 7);
	KUNIT_EXPECT_NULL(test, zf_alloc(zone, 0, MIGRATE_UNMOVABLE, 0));

	/* More than half of the free pages are in them: these first */
	for (i = 0; i < 100; i++)
		zf_free(zone, page_to_pfn(fake->pages[i]), 0);
	i = zf_alloc_bulk(zone, 0, MIGRATE_MOVABLE, ALLOC_CMA, 20, &list);
	KUNIT_EXPECT_GT(test, i, 0);
	KUNIT_EXPECT_EQ(test, fake_cma_free(), block - 7 - i);
	i = zf_alloc_bulk(zone, 0, MIGRATE_UNMOVABLE, 0, 20, &list);
	KUNIT_EXPECT_GT(test, i, 0);
	KUNIT_EXPECT_EQ(test, fake_nr_free() - fake_cma_free(), 100 - i);

	/* What is left is found in either. */
	do {
		i = zf_alloc_bulk(zone, 0, MIGRATE_MOVABLE, ALLOC_CMA, 50, &list);
	} while (i);
	fake_check(test, 0);
	fake_set_block(pfn, MIGRATE_MOVABLE);
	fake_check(test, 0);
}
#endif

/* Another CPU has given the first block back: the second one is found. */
static void zone_unreserve(struct kunit *test)
{
	const unsigned long block = pageblock_nr_pages;
	struct zone *zone = &fake->zone;
	unsigned long first = min(fake->pfn[0], fake->pfn[1]);
	unsigned long second = max(fake->pfn[0], fake->pfn[1]);

	fake_hand_over(test);
	fake_set_block(first, MIGRATE_HIGHATOMIC);
	fake_set_block(second, MIGRATE_HIGHATOMIC);
	zone->nr_reserved_highatomic = 2 * block;
	set_pageblock_migratetype(pfn_to_page(first), MIGRATE_MOVABLE);
	KUNIT_EXPECT_TRUE(test, zf_unreserve_highatomic(zone, MIGRATE_MOVABLE));
	KUNIT_EXPECT_EQ(test, get_pageblock_migratetype(pfn_to_page(second)),
			MIGRATE_MOVABLE);
	KUNIT_EXPECT_EQ(test, zf_nr_free_highatomic(zone), block);
	KUNIT_EXPECT_EQ(test, zone->nr_reserved_highatomic, block);
	set_pageblock_migratetype(pfn_to_page(first), MIGRATE_HIGHATOMIC);
	KUNIT_EXPECT_TRUE(test, zf_unreserve_highatomic(zone, MIGRATE_MOVABLE));
	KUNIT_EXPECT_FALSE(test, zf_unreserve_highatomic(zone, MIGRATE_MOVABLE));
	KUNIT_EXPECT_EQ(test, zone->nr_reserved_highatomic, 0);
	fake_check(test, FAKE_PAGES);
	fake_alloc_all(test, 0, MIGRATE_MOVABLE);
}

/* A block is reported once, until it is used. */
static void zone_reported(struct kunit *test)
{
	const unsigned long block = pageblock_nr_pages;
	struct zone *zone = &fake->zone;
	unsigned long start = zone->zone_start_pfn, end = zone_end_pfn(zone);
	unsigned long pfn = fake->pfn[3];

	zf_free(zone, pfn, MAX_PAGE_ORDER);
	KUNIT_EXPECT_EQ(test, zf_next_block(zone, start, end, block, block,
					    ZF_UNREPORTED), pfn);
	KUNIT_ASSERT_TRUE(test, zf_claim(zone, pfn, MAX_PAGE_ORDER, 0));
	zf_free_reported(zone, pfn, MAX_PAGE_ORDER, true);
	fake_check(test, MAX_ORDER_NR_PAGES);
	KUNIT_EXPECT_EQ(test, zf_next_block(zone, start, end, block, block,
					    ZF_UNREPORTED), end);
	KUNIT_ASSERT_TRUE(test, zf_claim(zone, pfn + 5, 0, 0));
	zf_free(zone, pfn + 5, 0);
	KUNIT_EXPECT_EQ(test, zf_next_block(zone, start, end, block, block,
					    ZF_UNREPORTED), pfn);
	/* The hypervisor refused it. */
	KUNIT_ASSERT_TRUE(test, zf_claim(zone, pfn, LLFREE_CHILD_ORDER, 0));
	zf_free_reported(zone, pfn, LLFREE_CHILD_ORDER, false);
	KUNIT_EXPECT_EQ(test, zf_next_block(zone, start, end, block, block,
					    ZF_UNREPORTED), pfn);
	fake_check(test, MAX_ORDER_NR_PAGES);
	KUNIT_EXPECT_TRUE(test, zf_claim(zone, pfn, MAX_PAGE_ORDER, 0));
}

/* Numbers are those of the zone, also for callers that come during a count. */
static void zone_count_recent(struct kunit *test)
{
	struct zone_llfree *zl = fake->zone.llfree;
	unsigned long nr[NR_PAGE_ORDERS];

	fake_hand_over(test);
	atomic_set(&zl->counting, 1);
	zf_count_recent(&fake->zone, nr);
	KUNIT_EXPECT_EQ(test, nr[MAX_PAGE_ORDER], FAKE_BLOCKS);
	KUNIT_ASSERT_TRUE(test, zf_claim(&fake->zone, fake->pfn[0], 0, 0));
	zl->counted_at -= HZ;
	zf_count_recent(&fake->zone, nr);
	KUNIT_EXPECT_EQ(test, nr[MAX_PAGE_ORDER], FAKE_BLOCKS);
	atomic_set(&zl->counting, 0);
	zf_count_recent(&fake->zone, nr);
	KUNIT_EXPECT_EQ(test, nr[MAX_PAGE_ORDER], FAKE_BLOCKS - 1);
	KUNIT_EXPECT_EQ(test, atomic_read(&zl->counting), 0);
	zf_free(&fake->zone, fake->pfn[0], 0);
	fake_alloc_all(test, 0, MIGRATE_MOVABLE);
}

static size_t fake_wanted;

static void *fake_alloc_none(struct zone *zone, size_t size)
{
	fake_wanted = size;
	return NULL;
}

/* Zones that are too large, or for which there is no memory, get an error. */
static void zone_no_bitmaps(struct kunit *test)
{
	const unsigned long tib = 1UL << (40 - PAGE_SHIFT);
	struct zone zone = { .name = "none" };

	fake_wanted = 0;
	KUNIT_EXPECT_EQ(test, zf_init_zone(&zone, 0, 65 * tib, nr_cpu_ids,
					   fake_alloc_none), -EINVAL);
	KUNIT_EXPECT_EQ(test, fake_wanted, 0);
	/* 1 GiB of memory behind a hole of 32 TiB */
	KUNIT_EXPECT_EQ(test, zf_init_zone(&zone, 1, 32 * tib + tib / 1024,
					   nr_cpu_ids, fake_alloc_none), -ENOMEM);
	KUNIT_EXPECT_GT(test, fake_wanted, 32 * tib / BITS_PER_BYTE);
	KUNIT_EXPECT_NULL(test, zone.llfree);
}

/* A large zone has slots for CPUs that can exist, maybe few of CONFIG_NR_CPUS. */
static void zone_slots(struct kunit *test)
{
	unsigned long trees = (nr_cpu_ids + 1UL) * 3 * LLFREE_NR_CLASSES;
	struct zone *zone = kunit_kzalloc(test, sizeof(*zone), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, zone);
	zone->name = "large";
	KUNIT_ASSERT_EQ(test, zf_init_zone(zone, 0, trees * LLFREE_MIN_TREE_FRAMES,
					   nr_cpu_ids, fake_alloc), 0);
	KUNIT_EXPECT_EQ(test, llfree_max_slots(&zone->llfree->core), nr_cpu_ids + 1);
	KUNIT_EXPECT_EQ(test, zf_nr_slots(&zone->llfree->core), nr_cpu_ids);
	for_each_populated_zone(zone)
		KUNIT_EXPECT_LE(test, llfree_nr_slots(&zone->llfree->core), nr_cpu_ids);
}

static struct kunit_case zone_cases[] = {
	KUNIT_CASE(zone_all_orders),
	KUNIT_CASE(zone_other_pieces),
	KUNIT_CASE(zone_bulk),
	KUNIT_CASE(zone_large_apart),
	KUNIT_CASE(zone_bad_free),
	KUNIT_CASE(zone_claims),
	KUNIT_CASE(zone_highatomic),
	KUNIT_CASE(zone_has_order),
	KUNIT_CASE(zone_find_order),
	KUNIT_CASE(zone_blocks),
	KUNIT_CASE(zone_migratetype),
	KUNIT_CASE(zone_hardirq),
	KUNIT_CASE(zone_nofragment),
	KUNIT_CASE(zone_small),
#ifdef CONFIG_MEMORY_ISOLATION
	KUNIT_CASE(zone_isolate),
	KUNIT_CASE(zone_slab_unmovable),
#endif
#ifdef CONFIG_CMA
	KUNIT_CASE(zone_cma),
#endif
	KUNIT_CASE(zone_unreserve),
	KUNIT_CASE(zone_reported),
	KUNIT_CASE(zone_count_recent),
	KUNIT_CASE(zone_no_bitmaps),
	KUNIT_CASE(zone_slots),
	{}
};

static struct kunit_suite zone_suite = {
	.name = "llfree-zone",
	.init = fake_zone_init,
	.exit = fake_zone_exit,
	.test_cases = zone_cases,
};

kunit_test_suite(zone_suite);

#endif /* CONFIG_LLFREE_ZONE_KUNIT_TEST */
