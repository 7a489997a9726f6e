/* SPDX-License-Identifier: GPL-2.0 */
/*
 * KUnit test of zones that grow and shrink.
 *
 * The zone is a fake one, of pfns that no memory has. Nothing here uses a struct page
 * of it; pages only go from allocated to free and back.
 */
#ifdef CONFIG_LLFREE_ZONE_KUNIT_TEST

#include <kunit/test.h>
#include <linux/memory_hotplug.h>
#include <linux/sched/clock.h>

#include "zone_free.h"

/* Pages with a page of rows: 128 MiB */
#define PART		((unsigned long)PAGE_SIZE * BITS_PER_BYTE)
/* Where the zone begins: no pfn of a machine that runs this */
#define BASE		BIT(36)

static struct zone *part_zone;

static void part_zone_free(struct zone *zone)
{
	static const struct zf_words none;
	unsigned int i;

	for (i = 0; zone->llfree && i < ZF_NR_WORDS; i++) {
		struct zf_words *w = &zone->llfree->words[i];

		words_unmap(&none, w, i);
	}
	if (zone->llfree)
		kfree(zone->llfree->locals);
	kfree(zone->llfree);
	free_percpu(zone->per_cpu_zonestats);
	kfree(zone);
}

static void parts_exit(struct kunit *test)
{
	if (part_zone)
		part_zone_free(part_zone);
	part_zone = NULL;
}

static int parts_init(struct kunit *test)
{
	part_zone = kzalloc(sizeof(*part_zone), GFP_KERNEL);
	if (!part_zone)
		return -ENOMEM;
	part_zone->name = "parts";
	part_zone->zone_pgdat = NODE_DATA(first_online_node);
	spin_lock_init(&part_zone->lock);
	if (sizeof(struct per_cpu_zonestat) > 0) {
		part_zone->per_cpu_zonestats = alloc_percpu(struct per_cpu_zonestat);
		if (!part_zone->per_cpu_zonestats)
			return -ENOMEM;
	}
	return 0;
}

/* Pages with words, but for those that all holes share */
static unsigned long words_in_use(void)
{
	unsigned long nr, sum = 0;
	unsigned int i, c;

	for (i = 0; i < ZF_NR_WORDS; i++) {
		const struct zf_words *w = &part_zone->llfree->words[i];

		for (c = 0; c < words_copies(i); c++)
			for (nr = w->first; nr < w->end; nr++)
				sum += words_page(w, c, nr) != hole_pages[i];
	}
	return sum;
}

static void parts_check(struct kunit *test, unsigned long parts, unsigned long free)
{
	struct llfree_fault fault = { };
	struct llfree_stats stats;

	KUNIT_EXPECT_EQ_MSG(test, 0, llfree_validate(&part_zone->llfree->core, &fault),
			    "%s at %lx: expected %ld, found %ld", fault.what, fault.frame,
			    fault.expected, fault.found);
	KUNIT_EXPECT_EQ_MSG(test, 0, zf_words_check(part_zone->llfree, &fault),
			    "%s at %lx", fault.what, fault.frame);
	llfree_stats_exact(&part_zone->llfree->core, &stats);
	KUNIT_EXPECT_EQ(test, free, stats.frames[LLFREE_VIEW_NORMAL]);
	KUNIT_EXPECT_EQ(test, 0, stats.frames[LLFREE_VIEW_ISOLATED]);
	KUNIT_EXPECT_EQ(test, part_zone->llfree->core.nr_trees,
			parts * PART >> part_zone->llfree->core.tree_order);
}

/* Add a part of memory, free it, and show it. */
static void part_online(struct kunit *test, long part)
{
	const unsigned long pfn = BASE + part * PART;
	unsigned long at;

	KUNIT_ASSERT_EQ(test, 0, zf_grow(part_zone, pfn, PART));
	for (at = pfn; at < pfn + PART; at += MAX_ORDER_NR_PAGES) {
		KUNIT_ASSERT_EQ(test, 0, zf_block_free(part_zone, at, true));
		zf_free(part_zone, at, MAX_PAGE_ORDER);
		KUNIT_ASSERT_FALSE(test, zf_claim(part_zone, at, 0, 0));
	}
	for (at = pfn; at < pfn + PART; at = llfree_next_child(at))
		KUNIT_ASSERT_EQ(test, LLFREE_VIEW_ISOLATED,
				llfree_set_view(&part_zone->llfree->core, at,
						LLFREE_VIEW_NORMAL, NULL));
}

static void part_offline(struct kunit *test, long part)
{
	const unsigned long pfn = BASE + part * PART;
	unsigned long at;

	for (at = pfn; at < pfn + PART; at = llfree_next_child(at))
		KUNIT_ASSERT_EQ(test, LLFREE_VIEW_NORMAL,
				llfree_set_view(&part_zone->llfree->core, at,
						LLFREE_VIEW_ISOLATED, NULL));
	KUNIT_ASSERT_EQ(test, 0, zf_offline(part_zone, pfn, pfn + PART));
	zf_shrink(part_zone, pfn, PART);
	KUNIT_EXPECT_FALSE(test, zf_claim(part_zone, pfn, 0, ZF_HIDDEN));
}

/* In each order of three parts, and pages that are in use keep what they are. */
static void parts_any_order(struct kunit *test)
{
	static const long orders[][3] = {
		{ 0, 1, 2 }, { 2, 1, 0 }, { 0, 2, 1 }, { 1, 0, 2 },
	};
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(orders); i++) {
		for (j = 0; j < 3; j++) {
			part_online(test, orders[i][j]);
			KUNIT_ASSERT_TRUE(test, zf_claim(part_zone, BASE + orders[i][j] * PART + 7,
							 0, 0));
			parts_check(test, j + 1, (j + 1) * (PART - 1));
		}
		for (j = 0; j < 3; j++) {
			KUNIT_EXPECT_EQ(test, -1, zf_free_order(part_zone, BASE + j * PART + 7));
			KUNIT_EXPECT_EQ(test, 0, zf_free_order(part_zone, BASE + j * PART + 6));
			zf_free(part_zone, BASE + j * PART + 7, 0);
		}
		parts_check(test, 3, 3 * PART);
		for (j = 0; j < 3; j++) {
			part_offline(test, orders[i][j]);
			parts_check(test, 2 - j, (2 - j) * PART);
		}
	}
}

/* A hole costs next to nothing, also after it was filled in part. */
static void parts_far_away(struct kunit *test)
{
	/* 1 TiB */
	const long far = 8192;
	unsigned long one;

	part_online(test, 0);
	one = words_in_use();
	KUNIT_EXPECT_EQ(test, one, 2 + LLFREE_ALLOC_VIEWS);
	part_online(test, far);
	parts_check(test, 2, 2 * PART);
	KUNIT_EXPECT_EQ(test, words_in_use(), 2 * one);
	part_online(test, far / 2);
	parts_check(test, 3, 3 * PART);
	KUNIT_EXPECT_EQ(test, words_in_use(), 3 * one);
	part_online(test, -far);
	parts_check(test, 4, 4 * PART);
	KUNIT_EXPECT_EQ(test, words_in_use(), 4 * one);
	part_offline(test, far);
	part_online(test, far);
	KUNIT_EXPECT_EQ(test, words_in_use(), 4 * one);
	KUNIT_EXPECT_EQ(test, -1, zf_free_order(part_zone, BASE + PART));
	KUNIT_EXPECT_EQ(test, LLFREE_MAX_ORDER, zf_free_order(part_zone, BASE - far * PART));
}

/* What a zone has lost takes no memory, and what it left behind is freed. */
static void parts_trim(struct kunit *test)
{
	const unsigned long nr = MAX_SPARE + 2;
	const struct vm_struct *retired;
	const struct zf_area *area;
	unsigned long part, one;
	unsigned int moved = 0;
	const void *addr;
	u64 start;

	part_online(test, 0);
	one = words_in_use();
	for (part = 1; part < nr; part++)
		part_online(test, part);
	start = local_clock();
	KUNIT_ASSERT_EQ(test, 0, zf_grow(part_zone, BASE + part * PART, PART));
	kunit_info(test, "%llu ns to grow by 128 MiB at the end", local_clock() - start);
	zf_shrink(part_zone, BASE + part * PART, PART);
	KUNIT_EXPECT_GT(test, words_in_use(), nr);
	retired = part_zone->llfree->words[ZF_ROWS].area->vm;
	addr = retired->addr;
	KUNIT_EXPECT_PTR_EQ(test, retired, find_vm_area(addr));
	for (part = 1; part < nr - 1; part++) {
		area = part_zone->llfree->words[ZF_ROWS].area;
		part_offline(test, part);
		moved += part_zone->llfree->words[ZF_ROWS].area != area;
	}
	KUNIT_EXPECT_EQ(test, moved, 1);
	/* Not yet the last parts that went */
	KUNIT_EXPECT_LE(test, words_in_use(), 2 * one + MAX_SPARE / 8);
	parts_check(test, 2, 2 * PART);
	KUNIT_EXPECT_FALSE(test, list_empty(&retired_areas) && !work_busy(&retired_work));
	flush_work(&retired_work);
	KUNIT_EXPECT_TRUE(test, list_empty(&retired_areas));
	KUNIT_EXPECT_TRUE(test, list_empty(&retired_pages));
	KUNIT_EXPECT_PTR_NE(test, retired, find_vm_area(addr));
	parts_check(test, 2, 2 * PART);

	start = local_clock();
	KUNIT_ASSERT_EQ(test, 0, zf_grow(part_zone, BASE + nr / 2 * PART, PART));
	kunit_info(test, "%llu ns to grow by 128 MiB in a hole of 8 GiB",
		   local_clock() - start);
	zf_shrink(part_zone, BASE + nr / 2 * PART, PART);
	part_online(test, nr / 2);
	flush_work(&retired_work);
	parts_check(test, 3, 3 * PART);
	KUNIT_EXPECT_LE(test, words_in_use(), 3 * one + MAX_SPARE / 8);
}

/* Pages whose words are elsewhere, or are no words of holes, are found. */
static void parts_check_faults(struct kunit *test)
{
	struct llfree_fault fault = { };
	struct page **page, *right;
	struct zf_words *w;

	part_online(test, 0);
	part_online(test, 2);
	w = &part_zone->llfree->words[ZF_ROWS];
	page = &w->pages[0];
	right = *page;
	*page = hole_pages[ZF_CHILDREN];
	KUNIT_EXPECT_EQ(test, -EUCLEAN, zf_words_check(part_zone->llfree, &fault));
	KUNIT_EXPECT_STREQ(test, fault.what, "page of words is not mapped");
	*page = right;
	KUNIT_EXPECT_EQ(test, 0, zf_words_check(part_zone->llfree, &fault));

	right = hole_pages[ZF_ROWS];
	hole_pages[ZF_ROWS] = *page;
	KUNIT_EXPECT_EQ(test, -EUCLEAN, zf_words_check(part_zone->llfree, &fault));
	KUNIT_EXPECT_STREQ(test, fault.what, "words of memory are in the page of holes");
	hole_pages[ZF_ROWS] = right;

	*(u64 *)page_address(right) = 1;
	KUNIT_EXPECT_EQ(test, -EUCLEAN, zf_words_check(part_zone->llfree, &fault));
	KUNIT_EXPECT_STREQ(test, fault.what, "a hole has changed");
	*(u64 *)page_address(right) = 0;
	parts_check(test, 2, 2 * PART);
}

/* At its ends a zone grows in the addresses that it has. */
static void parts_use_slack(struct kunit *test)
{
	const struct zf_area *area;
	unsigned long part;

	part_online(test, 0);
	area = part_zone->llfree->words[ZF_ROWS].area;
	for (part = 1; part < AREA_SLACK; part++) {
		part_online(test, part);
		KUNIT_EXPECT_PTR_EQ(test, area, part_zone->llfree->words[ZF_ROWS].area);
	}
	parts_check(test, part, part * PART);
}

/* Pages in use; of these the last one keeps the others from going. */
#define USED_FIRST	(BASE + PART - 3000)
#define USED_LAST	(USED_FIRST + 1000)

static bool skips_but_last(unsigned long pfn)
{
	return pfn >= USED_FIRST && pfn < USED_LAST && !((pfn - USED_FIRST) % 10);
}

/* Offlining fails if a page is in use, and changes nothing. */
static void parts_busy(struct kunit *test)
{
	struct llfree *llf;
	unsigned long at;

	part_online(test, 0);
	kunit_activate_static_stub(test, zf_offline_skips, skips_but_last);
	llf = &part_zone->llfree->core;
	for (at = USED_FIRST; at <= USED_LAST; at += 10)
		KUNIT_ASSERT_TRUE(test, zf_claim(part_zone, at, 0, 0));
	for (at = BASE; at < BASE + PART; at = llfree_next_child(at))
		llfree_set_view(llf, at, LLFREE_VIEW_ISOLATED, NULL);
	KUNIT_EXPECT_EQ(test, -EBUSY, zf_offline(part_zone, BASE, BASE + PART));
	KUNIT_EXPECT_EQ(test, -EBUSY, llfree_shrink(llf, BASE, PART));
	for (at = BASE; at < BASE + PART; at = llfree_next_child(at))
		llfree_set_view(llf, at, LLFREE_VIEW_NORMAL, NULL);
	parts_check(test, 1, PART - 101);

	/* Count it as free again, as it was when it was taken. */
	zf_free(part_zone, USED_LAST, 0);
	for (at = BASE; at < BASE + PART; at = llfree_next_child(at))
		llfree_set_view(llf, at, LLFREE_VIEW_ISOLATED, NULL);
	KUNIT_EXPECT_EQ(test, 0, zf_offline(part_zone, BASE, BASE + PART));
	zf_shrink(part_zone, BASE, PART);
	KUNIT_EXPECT_TRUE(test, llfree_holes(llf, BASE, PART));
	kunit_deactivate_static_stub(test, zf_offline_skips);
}

/* Memory comes back that could not become a hole when it went offline. */
static void parts_not_shrunk(struct kunit *test)
{
	unsigned long at;

	part_online(test, 0);
	part_online(test, 1);
	for (at = BASE; at < BASE + PART; at = llfree_next_child(at))
		llfree_set_view(&part_zone->llfree->core, at, LLFREE_VIEW_ISOLATED, NULL);
	KUNIT_ASSERT_EQ(test, 0, zf_offline(part_zone, BASE, BASE + PART));
	part_online(test, 0);
	parts_check(test, 2, 2 * PART);

	/* Nor may it come twice. */
	KUNIT_EXPECT_EQ(test, -EBUSY, zf_grow(part_zone, BASE + PART - LLFREE_CHILD_FRAMES,
					      LLFREE_CHILD_FRAMES));
	parts_check(test, 2, 2 * PART);
}

/* Slots come with the trees. */
static void parts_slots(struct kunit *test)
{
	struct llfree *llf;
	long part;

	part_online(test, 0);
	llf = &part_zone->llfree->core;
	KUNIT_EXPECT_EQ(test, llfree_nr_slots(llf), min(nr_cpu_ids, llfree_max_slots(llf)));
	for (part = 1; llfree_max_slots(llf) <= nr_cpu_ids; part++)
		part_online(test, part);
	KUNIT_EXPECT_EQ(test, llfree_nr_slots(llf), nr_cpu_ids);
	parts_check(test, part, part * PART);
}

static unsigned int alloc_left;

static struct page *new_page_or_not(unsigned int kind, int nid)
{
	struct page *page;

	if (!alloc_left)
		return NULL;
	alloc_left--;
	page = alloc_pages(GFP_KERNEL, 0);
	if (page)
		words_fill(page_address(page), kind, PAGE_SIZE);
	return page;
}

static int area_new_or_not(struct zf_words *next, unsigned int kind)
{
	int ret = -ENOMEM;

	if (alloc_left) {
		alloc_left--;
		kunit_deactivate_static_stub(current->kunit_test, area_new);
		ret = area_new(next, kind);
		kunit_activate_static_stub(current->kunit_test, area_new, area_new_or_not);
	}
	return ret;
}

/* Whichever page or area cannot be had, nothing changes. */
static void parts_no_memory(struct kunit *test)
{
	/* In an empty zone, at its end, far away, into the hole, and before all */
	static const long parts[] = { 0, 1, 200, 100, -3 };
	struct zone_llfree *before = kunit_kzalloc(test, sizeof(*before), GFP_KERNEL);
	unsigned int failed, i;
	int ret;

	KUNIT_ASSERT_NOT_NULL(test, before);
	kunit_activate_static_stub(test, words_new_page, new_page_or_not);
	kunit_activate_static_stub(test, area_new, area_new_or_not);
	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		if (i)
			memcpy(before, part_zone->llfree, sizeof(*before));
		for (failed = 0;; failed++) {
			alloc_left = failed;
			ret = zf_grow(part_zone, BASE + parts[i] * PART, PART);
			if (!ret)
				break;
			KUNIT_ASSERT_EQ(test, -ENOMEM, ret);
			if (i)
				KUNIT_ASSERT_MEMEQ(test, before, part_zone->llfree,
						   sizeof(*before));
			else
				KUNIT_ASSERT_NULL(test, part_zone->llfree);
		}
		/* At its end, the zone only needs a page of rows. */
		KUNIT_EXPECT_GE(test, failed, i == 1 ? 1 : 2);
		zf_shrink(part_zone, BASE + parts[i] * PART, PART);
		alloc_left = UINT_MAX;
		part_online(test, parts[i]);
	}
	parts_check(test, ARRAY_SIZE(parts), ARRAY_SIZE(parts) * PART);
	kunit_deactivate_static_stub(test, words_new_page);
	kunit_deactivate_static_stub(test, area_new);
}

static struct kunit_case parts_cases[] = {
	KUNIT_CASE(parts_any_order),
	KUNIT_CASE(parts_far_away),
	KUNIT_CASE(parts_trim),
	KUNIT_CASE(parts_check_faults),
	KUNIT_CASE(parts_use_slack),
	KUNIT_CASE(parts_busy),
	KUNIT_CASE(parts_not_shrunk),
	KUNIT_CASE(parts_slots),
	KUNIT_CASE(parts_no_memory),
	{}
};

static struct kunit_suite parts_suite = {
	.name = "llfree-hotplug",
	.init = parts_init,
	.exit = parts_exit,
	.test_cases = parts_cases,
};

kunit_test_suite(parts_suite);

#endif /* CONFIG_LLFREE_ZONE_KUNIT_TEST */
