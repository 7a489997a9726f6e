// SPDX-License-Identifier: GPL-2.0
/*
 * Files in debugfs and sysfs for zones: the allocator in use, a check of all
 * invariants of LLFree, and a map of memory.
 */
#define pr_fmt(fmt) "page_alloc: " fmt

#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/kobject.h>
#include <linux/mm.h>
#include <linux/nmi.h>
#include <linux/seq_file.h>
#include <linux/stop_machine.h>
#include <linux/sysfs.h>
#include <linux/vmstat.h>

#include "llfree.h"
#include "zone_free.h"

/* Attempts to find a moment at which no operation is between two steps */
#define VALIDATE_TRIES	20

/**
 * struct zf_report - results of a check of a zone
 * @zone: the zone
 * @managed: pages that the zone manages
 * @counted: free pages by the counter of the zone
 * @free: pages that are free
 * @used: pages in use, including those in per-CPU lists
 * @offline: pages that were given back to a hypervisor; some drivers count
 *	these pages as managed
 * @pcp: pages in per-CPU lists
 * @unaccepted: pages that are counted as free but not accepted yet
 * @fault: the broken invariant
 */
struct zf_report {
	struct zone *zone;
	unsigned long managed;
	unsigned long counted;
	unsigned long free;
	unsigned long used;
	unsigned long offline;
	unsigned long pcp;
	unsigned long unaccepted;
	struct llfree_fault fault;
};

static int report_fault(struct zf_report *report, const char *what,
			unsigned long pfn, long expected, long found)
{
	report->fault.what = what;
	report->fault.frame = pfn;
	report->fault.expected = expected;
	report->fault.found = found;
	return -EUCLEAN;
}

/*
 * Does a page have struct pages of its own memory block? Such a page is not
 * managed. Pages of the swap cache have the same flag with another meaning, but
 * always together with other flags or fields.
 */
static bool page_has_memmap(const struct page *page)
{
	return PageVmemmapSelfHosted(page) && !page->mapping && !page_private(page) &&
	       hweight_long(page->flags & PAGEFLAGS_MASK) == 1;
}

/* Compare with struct page: a free page must not look used. */
static int validate_pages(struct zf_report *report)
{
	struct zone *zone = report->zone;
	struct llfree *llf = &zone->llfree->core;
	unsigned long pfn;
	struct page *page;

	for (pfn = zone->zone_start_pfn; pfn < zone_end_pfn(zone); pfn++) {
		bool free = llfree_row_mask(llf, pfn) &
			    BIT_ULL(pfn % LLFREE_ROW_FRAMES);

		page = pfn_to_online_page(pfn);
		if (!page || page_zone(page) != zone) {
			if (free)
				return report_fault(report, "free page is not in the zone",
						    pfn, 0, 1);
			continue;
		}
		if (!free) {
			if (PageOffline(page))
				report->offline++;
			else
				report->used += !PageReserved(page) &&
						!page_has_memmap(page);
			continue;
		}
		report->free++;
		if (page_count(page) || atomic_read(&page->_mapcount) != -1 ||
		    PageReserved(page) || PageLRU(page))
			return report_fault(report, "free page is in use", pfn,
					    0, page_count(page));
	}
	return 0;
}

static int validate_zone(void *data)
{
	struct zf_report *report = data;
	struct zone *zone = report->zone;
	struct llfree_stats stats;
	long counted;
	int cpu, ret;

	memset(&report->fault, 0, sizeof(report->fault));
	report->free = 0;
	report->used = 0;
	report->offline = 0;
	report->pcp = 0;
	report->managed = zone_managed_pages(zone);
	report->unaccepted = 0;
#ifdef CONFIG_UNACCEPTED_MEMORY
	report->unaccepted = zone_page_state_snapshot(zone, NR_UNACCEPTED);
#endif
	for_each_online_cpu(cpu)
		report->pcp += per_cpu_ptr(zone->per_cpu_pageset, cpu)->count;

	ret = llfree_validate(&zone->llfree->core, &report->fault) ?:
	      zf_words_check(zone->llfree, &report->fault);
	if (ret)
		return ret;

	llfree_stats_exact(&zone->llfree->core, &stats);
	counted = zone_page_state_snapshot(zone, NR_FREE_PAGES);
	report->counted = counted;
	counted -= report->unaccepted;
	counted += stats.frames[LLFREE_VIEW_ISOLATED];
	if (zf_nr_free_huge(zone) != stats.huge[LLFREE_VIEW_NORMAL])
		return report_fault(report, "entirely free blocks",
				    zone->zone_start_pfn,
				    stats.huge[LLFREE_VIEW_NORMAL],
				    zf_nr_free_huge(zone));
	if (zf_nr_free_highatomic(zone) != stats.frames[LLFREE_VIEW_HIGHATOMIC])
		return report_fault(report, "free highatomic pages",
				    zone->zone_start_pfn,
				    stats.frames[LLFREE_VIEW_HIGHATOMIC],
				    zf_nr_free_highatomic(zone));

	touch_nmi_watchdog();
	ret = validate_pages(report);
	touch_nmi_watchdog();
	if (ret)
		return ret;
	if (counted != report->free)
		return report_fault(report, "NR_FREE_PAGES", zone->zone_start_pfn,
				    report->free, counted);
	/* KMSAN holds back pages that are neither reserved nor managed. */
	if (!IS_ENABLED(CONFIG_KMSAN) &&
	    (report->managed < report->free + report->used ||
	     report->managed > report->free + report->used + report->offline))
		return report_fault(report, "free and used pages are not all managed ones",
				    zone->zone_start_pfn, report->managed,
				    report->free + report->used);
	return 0;
}

static int validate_show(struct seq_file *m, void *unused)
{
	struct zf_report report = { };
	struct zone *zone;
	int bad = 0, tries, ret;

	drain_all_pages(NULL);
	for_each_populated_zone(zone) {
		report.zone = zone;
		/*
		 * With all CPUs stopped, only a task that was preempted between
		 * two steps can make a sound zone look broken.
		 */
		for (tries = 0; tries < VALIDATE_TRIES; tries++) {
			ret = stop_machine(validate_zone, &report, NULL);
			if (!ret)
				break;
			msleep(20);
		}
		seq_printf(m, "Node %d, zone %8s: managed %lu free %lu used %lu pcp %lu: ",
			   zone_to_nid(zone), zone->name, report.managed,
			   report.free, report.used, report.pcp);
		if (!ret) {
			seq_puts(m, "ok\n");
			continue;
		}
		bad++;
		if (report.fault.what)
			seq_printf(m, "FAILED %s pfn=%#lx expected=%ld found=%ld\n",
				   report.fault.what, report.fault.frame,
				   report.fault.expected, report.fault.found);
		else
			seq_printf(m, "FAILED error %d\n", ret);
	}
	seq_puts(m, bad ? "FAILED\n" : "ok\n");
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(validate);

/* ---- A map of memory, with either allocator ---- */

/* Count the free pages of a block as the buddy allocator marks them. */
static unsigned int buddy_nr_free(struct zone *zone, unsigned long pfn)
{
	unsigned long start = ALIGN_DOWN(pfn, LLFREE_CHILD_FRAMES);
	unsigned long end = min(start + LLFREE_CHILD_FRAMES,
				zone_end_pfn(zone));
	unsigned int order, free = 0;
	struct page *page;

	/* Larger free blocks may begin before @start. */
	for (order = LLFREE_CHILD_ORDER; order <= MAX_PAGE_ORDER; order++) {
		page = pfn_to_online_page(ALIGN_DOWN(start, 1UL << order));
		if (page && page_zone(page) == zone && PageBuddy(page) &&
		    buddy_order_unsafe(page) == order)
			return LLFREE_CHILD_FRAMES;
	}

	start = max(start, zone->zone_start_pfn);
	page = pfn_to_online_page(start);
	if (!page)
		return 0;
	for (pfn = start; pfn < end; pfn += 1UL << order) {
		page = pfn_to_page(pfn);
		order = 0;
		if (page_zone(page) != zone || !PageBuddy(page))
			continue;
		/* The page may be allocated by now, so limit the order. */
		order = min(buddy_order_unsafe(page), LLFREE_CHILD_ORDER);
		free += min(1UL << order, end - pfn);
	}
	return free;
}

static bool zf_child(struct zone *zone, unsigned long pfn,
		     struct llfree_child *child)
{
	const struct llfree *llf = &zone->llfree->core;

	/* The first child may begin before the zone. */
	return !llfree_child(llf, max(pfn, llf->first), child) &&
	       (child->frame ^ pfn) < LLFREE_CHILD_FRAMES;
}

/**
 * zf_nr_free_block() - number of free pages in a block of 2 MiB
 * @zone: the zone
 * @pfn: any pfn of the block
 *
 * Works with either allocator; without CONFIG_LLFREE there is no such function.
 * With the buddy allocator the function looks at each page without a lock, so
 * the pages may change meanwhile. Pages in per-CPU lists are not free.
 *
 * Context: any.
 *
 * Return: number of pages
 */
unsigned int zf_nr_free_block(struct zone *zone, unsigned long pfn)
{
	struct llfree_child child;

	if (!zf_active())
		return buddy_nr_free(zone, pfn);
	return zf_child(zone, pfn, &child) ? child.free : 0;
}
EXPORT_SYMBOL_GPL(zf_nr_free_block);

/* Return the use of the pages of a block, as text. */
static const char *map_class(struct zone *zone, unsigned long pfn,
			     unsigned int free)
{
	static const char * const classes[] = {
		[LLFREE_CLASS_UNMOVABLE] = "unmovable",
		[LLFREE_CLASS_MOVABLE] = "movable",
		[LLFREE_CLASS_RECLAIMABLE] = "reclaimable",
		[LLFREE_CLASS_HUGE] = "huge",
		[LLFREE_CLASS_LARGE] = "unmovable",
	};
	enum llfree_view view = LLFREE_VIEW_NORMAL;
	unsigned int class = LLFREE_CLASS_UNMOVABLE;
	struct llfree_child child;
	struct page *page;
	int migratetype;

	if (!zf_active()) {
		page = pfn_to_online_page(max(pfn, zone->zone_start_pfn));
		if (page) {
			migratetype = get_pageblock_migratetype(page);
			view = zf_view(migratetype);
			if (migratetype < MIGRATE_PCPTYPES)
				class = migratetype;
		}
	} else if (zf_child(zone, pfn, &child)) {
		view = child.view;
		class = child.class;
	}

	switch (view) {
	case LLFREE_VIEW_HIGHATOMIC:
		return "highatomic";
	case LLFREE_VIEW_CMA:
		return "cma";
	case LLFREE_VIEW_ISOLATED:
		return "isolate";
	default:
		/* A tree that has just become free has no class. */
		return free == LLFREE_CHILD_FRAMES || class >= LLFREE_NR_CLASSES ?
		       "free" : classes[class];
	}
}

/* Line @pos is the head of a zone, or the block @pfn of it. */
static struct zone *map_zone(loff_t pos, unsigned long *pfn, bool *head)
{
	struct zone *zone;

	for_each_populated_zone(zone) {
		unsigned long start = ALIGN_DOWN(zone->zone_start_pfn,
						 LLFREE_CHILD_FRAMES);
		unsigned long nr = DIV_ROUND_UP(zone_end_pfn(zone) - start,
						LLFREE_CHILD_FRAMES);

		*head = !pos;
		if (pos <= nr) {
			*pfn = start + (*head ? 0 : pos - 1) *
			       LLFREE_CHILD_FRAMES;
			return zone;
		}
		pos -= nr + 1;
	}
	return NULL;
}

static void *map_start(struct seq_file *m, loff_t *pos)
{
	unsigned long pfn;
	bool head;

	return map_zone(*pos, &pfn, &head) ? pos : NULL;
}

static void *map_next(struct seq_file *m, void *v, loff_t *pos)
{
	++*pos;
	cond_resched();
	return map_start(m, pos);
}

static void map_stop(struct seq_file *m, void *v)
{
}

static int map_show(struct seq_file *m, void *v)
{
	unsigned int free;
	struct zone *zone;
	unsigned long pfn;
	bool head;

	zone = map_zone(*(loff_t *)v, &pfn, &head);
	if (!zone)
		return 0;
	if (head) {
		seq_printf(m, "zone %d %s %lu %lu\n", zone_to_nid(zone),
			   zone->name, pfn,
			   DIV_ROUND_UP(zone_end_pfn(zone) - pfn,
					LLFREE_CHILD_FRAMES));
		return 0;
	}
	free = zf_nr_free_block(zone, pfn);
	seq_printf(m, "%lu %u %s\n", pfn, free, map_class(zone, pfn, free));
	return 0;
}

static const struct seq_operations map_sops = {
	.start = map_start,
	.next = map_next,
	.stop = map_stop,
	.show = map_show,
};
DEFINE_SEQ_ATTRIBUTE(map);

static ssize_t allocator_show(struct kobject *kobj, struct kobj_attribute *attr,
			      char *buf)
{
	return sysfs_emit(buf, "%s\n", zf_active() ? "llfree" : "buddy");
}

static struct kobj_attribute allocator_attr = __ATTR_RO(allocator);

static int __init zf_sysfs_init(void)
{
	struct kobject *dir;
	struct dentry *debug;

	pr_info("zones are kept by %s\n",
		zf_active() ? "LLFree" : "the buddy allocator");
	dir = kobject_create_and_add("page_alloc", mm_kobj);
	if (!dir)
		return -ENOMEM;
	debug = debugfs_create_dir("page_alloc", NULL);
	debugfs_create_file("map", 0400, debug, NULL, &map_fops);
	if (zf_active())
		debugfs_create_file("validate", 0400, debug, NULL,
				    &validate_fops);
	return sysfs_create_file(dir, &allocator_attr.attr);
}
late_initcall(zf_sysfs_init);
