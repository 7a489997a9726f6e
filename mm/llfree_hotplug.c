// SPDX-License-Identifier: GPL-2.0
/*
 * Zones with LLFree that grow and shrink.
 *
 * Before memory becomes part of a zone, the zone gets words for that memory,
 * see llfree_words.c. When memory goes offline, zf_offline() claims the pages
 * and so decides whether all are free, and zf_shrink() makes the children
 * holes. While operations are under way in one of the children, all of the
 * memory stays isolated and allocated instead.
 *
 * The caller holds mem_hotplug_lock for writing, so there is one caller at a time.
 */
#include <kunit/static_stub.h>
#include <linux/init.h>
#include <linux/llfree.h>
#include <linux/memblock.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "internal.h"
#include "llfree.h"
#include "zone_free.h"

/* Attempts to remove children while operations may be under way in them */
#define SHRINK_TRIES		16

/* Isolate children, all of whose frames are allocated. */
static void isolate_children(struct llfree *llf, unsigned long pfn, unsigned long end)
{
	for (; pfn < end; pfn = llfree_next_child(pfn))
		llfree_set_view(llf, pfn, LLFREE_VIEW_ISOLATED, NULL);
}

/* ---- Memory that is added ---- */

/*
 * Start an instance. Movable memory may be removed again from the high end, so
 * keep allocated frames at the low end.
 */
static int use_init(struct zone *zone, struct zone_llfree *zl, const struct zf_range *range,
		    const struct llfree_memory *mem)
{
	struct llfree *llf = &zl->core;
	int ret;

	ret = llfree_init(llf, range->pfn, range->nr, mem, LLFREE_INIT_ALLOC,
			  zone_idx(zone) == ZONE_MOVABLE ? &llfree_packed_policy : NULL);
	if (!ret)
		isolate_children(llf, range->pfn, range->pfn + range->nr);
	return ret;
}

static int use_grow(struct zone *zone, struct zone_llfree *zl, const struct zf_range *range,
		    const struct llfree_memory *mem)
{
	return llfree_grow(&zl->core, range->pfn, range->nr, mem);
}

/* Add the first memory to a zone that was empty since boot. */
static int zone_begin(struct zone *zone, unsigned long pfn, unsigned long nr)
{
	const struct zf_range range = {
		.pfn = pfn, .nr = nr, .low = pfn, .high = pfn + nr,
		.tree_order = llfree_tree_order(nr, nr_cpu_ids),
	};
	struct zone_llfree *zl;
	int ret;

	zl = kzalloc_node(sizeof(*zl), GFP_KERNEL, zone_to_nid(zone));
	if (!zl)
		return -ENOMEM;
	zf_count_init(zl);
	ret = zf_words_extend(zone, zl, &range, use_init);
	if (ret) {
		kfree(zl);
		return ret;
	}
	/*
	 * Publish the instance only after it is set up: another CPU may look at
	 * the zone while the zone has no pages yet.
	 */
	smp_store_release(&zone->llfree, zl);
	return 0;
}

/* Make children holes, all of whose pages are allocated and isolated. */
static int zone_shrink(struct zone_llfree *zl, unsigned long pfn, unsigned long nr)
{
	unsigned int i;
	int ret;

	for (i = 0; i < SHRINK_TRIES; i++) {
		/* A slot may have reserved a tree that is going to be a hole. */
		llfree_drain(&zl->core, -1);
		ret = llfree_shrink(&zl->core, pfn, nr);
		if (ret != -EAGAIN)
			break;
		schedule_timeout_uninterruptible(1);
	}
	return ret;
}

static int zone_extend(struct zone *zone, struct zone_llfree *zl, unsigned long pfn,
		       unsigned long nr)
{
	const struct llfree *llf = &zl->core;
	const struct zf_range range = {
		.pfn = pfn, .nr = nr, .low = min(llf->mapped_first, pfn),
		.high = max(llf->mapped_end, pfn + nr), .tree_order = llf->tree_order,
	};

	return zf_words_extend(zone, zl, &range, use_grow);
}

/**
 * zf_grow() - add pages to a zone
 * @zone: the zone, which may have been empty
 * @pfn: first pfn; the memory is not online
 * @nr: number of pages, whole pageblocks
 *
 * The pages are allocated, in isolated pageblocks: zf_free() makes the pages
 * free, and zf_set_block() shows the pageblocks. zf_shrink() undoes this
 * function.
 *
 * Context: task, mem_hotplug_lock held for writing; may sleep. CPUs use the zone
 * meanwhile.
 *
 * Return: 0; -ENOMEM if there is no memory for words; -EINVAL if a zone cannot
 *	be that large; -EBUSY if operations on the memory have not ended since
 *	it went offline. On failure nothing has changed.
 */
int zf_grow(struct zone *zone, unsigned long pfn, unsigned long nr)
{
	struct zone_llfree *zl = zone->llfree;
	int ret;

	if (!zl)
		return zone_begin(zone, pfn, nr);
	ret = zone_extend(zone, zl, pfn, nr);
	if (ret == -EEXIST) {
		/*
		 * The memory went offline before, but could not become a hole
		 * then.
		 */
		if (zone_shrink(zl, pfn, nr))
			return -EBUSY;
		ret = zone_extend(zone, zl, pfn, nr);
	}
	if (!ret)
		zf_percpu_init(zone);
	return ret;
}

/* ---- Memory that is removed ---- */

/**
 * zf_offline_skips() - may a page go offline though it is not free?
 * @pfn: a pfn that is not free; its pageblock is isolated
 *
 * Context: any.
 *
 * Return: as __offline_isolated_pages() decides
 */
bool zf_offline_skips(unsigned long pfn)
{
	const struct page *page;

	KUNIT_STATIC_STUB_REDIRECT(zf_offline_skips, pfn);
	page = pfn_to_page(pfn);
	return PageHWPoison(page) || PageOffline(page);
}

/* Free the pages that zf_offline() has claimed. */
static void offline_undo(struct zone *zone, unsigned long pfn, unsigned long end)
{
	for (; pfn < end; pfn++)
		if (!zf_offline_skips(pfn))
			zf_free(zone, pfn, 0);
}

/*
 * Claim the pages of a child.
 *
 * Return: the first pfn that is in use, or the end of the child
 */
static unsigned long offline_child(struct zone *zone, unsigned long pfn)
{
	const unsigned long end = pfn + LLFREE_CHILD_FRAMES;

	if (zf_claim(zone, pfn, LLFREE_CHILD_ORDER, ZF_HIDDEN))
		return end;
	while (pfn < end && (zf_claim(zone, pfn, 0, ZF_HIDDEN) || zf_offline_skips(pfn)))
		pfn++;
	return pfn;
}

/**
 * zf_offline() - claim the free pages of isolated pageblocks for good
 * @zone: the zone
 * @pfn: first pfn of a pageblock
 * @end: pfn after the last one
 *
 * test_pages_isolated() has found no page in use. This function claims the
 * pages, and so makes sure that none is. If a page is in use, all claimed pages
 * are freed again.
 *
 * Context: task, mem_hotplug_lock held for writing.
 *
 * Return: 0; -EBUSY if a page is in use, and nothing has changed
 */
int zf_offline(struct zone *zone, unsigned long pfn, unsigned long end)
{
	unsigned long at, done;

	for (at = pfn; at < end; at += LLFREE_CHILD_FRAMES) {
		done = offline_child(zone, at);
		if (done < at + LLFREE_CHILD_FRAMES) {
			offline_undo(zone, pfn, done);
			return -EBUSY;
		}
		cond_resched();
	}
	return 0;
}

/**
 * zf_shrink() - remove pages from a zone
 * @zone: the zone
 * @pfn: first pfn
 * @nr: number of pages, whole pageblocks. Either zf_offline() has claimed all
 *	of them, or zf_grow() has just added all, or zf_grow() has added none.
 *
 * Context: task, mem_hotplug_lock held for writing; may sleep. CPUs use the zone
 * meanwhile.
 */
void zf_shrink(struct zone *zone, unsigned long pfn, unsigned long nr)
{
	int ret;

	if (!zone->llfree)
		return;
	ret = zone_shrink(zone->llfree, pfn, nr);
	/*
	 * With -EAGAIN, operations are under way: the memory stays isolated and
	 * allocated.
	 */
	WARN_ONCE(ret == -EBUSY, "page_alloc: pages of zone %s at %#lx are not offline\n",
		  zone->name, pfn);
	zf_words_trim(zone, zone->llfree);
}

/* ---- Holes at boot ---- */

static void __init boot_hole(struct llfree *llf, unsigned long pfn, unsigned long end)
{
	pfn = ALIGN(max(pfn, llf->first), LLFREE_CHILD_FRAMES);
	end = ALIGN_DOWN(min(end, llf->end), LLFREE_CHILD_FRAMES);
	if (pfn >= end)
		return;
	isolate_children(llf, pfn, end);
	WARN_ON_ONCE(llfree_shrink(llf, pfn, end - pfn));
}

/**
 * zf_boot_holes() - make holes where a zone has no memory
 * @zone: a new zone, all of whose pages are allocated
 *
 * Context: early boot, while memblock has all memory.
 */
void __init zf_boot_holes(struct zone *zone)
{
	struct llfree *llf = &zone->llfree->core;
	unsigned long at = llf->first, first, end;
	int i;

	for_each_mem_pfn_range(i, zone_to_nid(zone), &first, &end, NULL) {
		boot_hole(llf, at, first);
		at = max(at, end);
	}
	boot_hole(llf, at, llf->end);
}

/* Free the memory of words of holes, now that memory can be mapped. */
static int __init zf_boot_trim(void)
{
	struct zone *zone;

	mem_hotplug_begin();
	for_each_zone(zone)
		if (zone->llfree)
			zf_words_trim(zone, zone->llfree);
	mem_hotplug_done();
	return 0;
}
late_initcall(zf_boot_trim);
