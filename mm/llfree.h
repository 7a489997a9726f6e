/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Declarations that the files mm/llfree*.c share. Other files use
 * mm/zone_free.h.
 */
#ifndef __MM_LLFREE_H
#define __MM_LLFREE_H

#include <linux/cache.h>
#include <linux/kcsan-checks.h>
#include <linux/llfree.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/page-isolation.h>
#include <linux/vmstat.h>

#include "internal.h"
#include "page_reporting.h"

/* Arrays of words of an instance */
enum zf_words_kind {
	ZF_ROWS,
	ZF_CHILDREN,
	/* One for each view, at the same distance from each other */
	ZF_TREES,
	ZF_NR_WORDS
};

/**
 * struct zf_words - an array of words, in a kernel where zones can grow
 * @addr: address of page @first
 * @first: first page; pages are counted from the words of pfn 0 on
 * @end: page after the last one
 * @stride: bytes from the words of one view to those of the next
 * @pages: all pages, by view; NULL for memory from boot
 * @area: the addresses; NULL for memory from boot
 */
struct zf_words {
	void *addr;
	unsigned long first;
	unsigned long end;
	unsigned long stride;
	struct page **pages;
	struct zf_area *area;
};

/**
 * struct zf_range - pages for which a zone is going to have words
 * @pfn: first pfn that is added
 * @nr: number of pages that are added
 * @low: first pfn
 * @high: pfn after the last one
 * @tree_order: order of the trees of the instance
 */
struct zf_range {
	unsigned long pfn;
	unsigned long nr;
	unsigned long low;
	unsigned long high;
	unsigned int tree_order;
};

/**
 * struct zone_llfree - the free pages of a zone
 * @core: the allocator
 * @words: memory of @core
 * @locals: room for the slots of all possible CPUs, or NULL
 * @nr_huge: entirely free children, by view
 * @counted: numbers of free blocks that zf_count_recent() reports
 * @counted_at: time of that count, in jiffies
 * @counting: a CPU is counting
 */
struct zone_llfree {
	struct llfree core;
#ifdef CONFIG_MEMORY_HOTPLUG
	struct zf_words words[ZF_NR_WORDS];
#endif
	struct llfree_local *locals;
	atomic_long_t nr_huge[LLFREE_NR_VIEWS] ____cacheline_aligned_in_smp;
	unsigned long counted[NR_PAGE_ORDERS];
	unsigned long counted_at;
	atomic_t counting;
};

static inline enum llfree_view zf_view(int migratetype)
{
	if (is_migrate_highatomic(migratetype))
		return LLFREE_VIEW_HIGHATOMIC;
	if (is_migrate_cma(migratetype))
		return LLFREE_VIEW_CMA;
	if (is_migrate_isolate(migratetype))
		return LLFREE_VIEW_ISOLATED;
	return LLFREE_VIEW_NORMAL;
}

/*
 * Are pages grouped by mobility? Not in a zone of fewer trees than classes,
 * where trees would change their class all the time, and each change would
 * count as fragmentation.
 */
static inline bool zf_grouped(const struct llfree *llf)
{
	return likely(!page_group_by_mobility_disabled &&
		      llf->nr_trees >= LLFREE_NR_CLASSES);
}

static inline int class_migratetype(unsigned int class)
{
	switch (class) {
	case LLFREE_CLASS_HUGE:
		return MIGRATE_MOVABLE;
	case LLFREE_CLASS_LARGE:
		return MIGRATE_UNMOVABLE;
	default:
		return class;
	}
}

void zf_account_views(struct zone *zone, const struct llfree_delta *delta);

void zf_count_init(struct zone_llfree *zl);

size_t zf_words_size(struct zf_words words[ZF_NR_WORDS], unsigned int tree_order,
		     unsigned long pfn, unsigned long nr);
void zf_words_place(struct zf_words words[ZF_NR_WORDS], void *memory);
void zf_words_memory(const struct zf_words words[ZF_NR_WORDS], unsigned long pfn,
		     struct llfree_memory *mem);

/*
 * Use the words of @mem for @range.
 *
 * Return: 0, or an error, and nothing has changed
 */
typedef int (*zf_words_use_fn)(struct zone *zone, struct zone_llfree *zl,
			       const struct zf_range *range,
			       const struct llfree_memory *mem);

int zf_words_extend(struct zone *zone, struct zone_llfree *zl, const struct zf_range *range,
		    zf_words_use_fn use);
void zf_words_trim(struct zone *zone, struct zone_llfree *zl);

bool zf_offline_skips(unsigned long pfn);

#ifdef CONFIG_MEMORY_HOTPLUG
int zf_words_check(const struct zone_llfree *zl, struct llfree_fault *fault);
void zf_boot_holes(struct zone *zone);
#else
static inline int zf_words_check(const struct zone_llfree *zl, struct llfree_fault *fault)
{
	return 0;
}

static inline void zf_boot_holes(struct zone *zone)
{
}
#endif

/* Might a block of this order be found in pageblocks of a view? */
static __always_inline bool zf_view_has_order(const struct zone *zone,
					      unsigned int order,
					      enum llfree_view view)
{
	if (!llfree_may_have_order(&zone->llfree->core, order, view))
		return false;
	if (order < LLFREE_CHILD_ORDER)
		return true;
	return atomic_long_read(&zone->llfree->nr_huge[view]) >=
	       1L << (order - LLFREE_CHILD_ORDER);
}

/* Add the changes by an operation to the counters of the zone. */
static __always_inline void zf_account(struct zone *zone,
				       const struct llfree_delta *delta)
{
	const s32 *frames = delta->frames, *huge = delta->huge;

	BUILD_BUG_ON(LLFREE_ALLOC_VIEWS != 3);

	if (unlikely(frames[LLFREE_VIEW_CMA] | frames[LLFREE_VIEW_HIGHATOMIC] |
		     huge[LLFREE_VIEW_CMA] | huge[LLFREE_VIEW_HIGHATOMIC])) {
		zf_account_views(zone, delta);
		return;
	}
	if (likely(frames[LLFREE_VIEW_NORMAL]))
		mod_zone_page_state(zone, NR_FREE_PAGES,
				    frames[LLFREE_VIEW_NORMAL]);
	if (huge[LLFREE_VIEW_NORMAL]) {
		atomic_long_add(huge[LLFREE_VIEW_NORMAL],
				&zone->llfree->nr_huge[LLFREE_VIEW_NORMAL]);
		if (huge[LLFREE_VIEW_NORMAL] > 0)
			page_reporting_notify_free(LLFREE_CHILD_ORDER);
	}
}

/*
 * A page that is about to be handed out, or was just freed, has no other user.
 * KCSAN reports any access by another CPU. If a page has two owners, sooner or
 * later one of them allocates or frees the page while the other uses it.
 *
 * Owners change page->flags all the time. Scanners of pages read flags, mapping
 * and compound_head without a reference, so for page->flags only writes are
 * errors. Only the owner touches page->private: allocation initialises the
 * field, and slabs, page tables and swap use it.
 */
static inline void zf_check_exclusive(unsigned long pfn, unsigned long nr)
{
	struct page *page;

	/* A bad free may have any pfn. */
	if (!IS_ENABLED(CONFIG_LLFREE_CHECK_EXCLUSIVE) || !pfn_valid(pfn))
		return;
	for (page = pfn_to_page(pfn); nr; nr--, page++) {
		ASSERT_EXCLUSIVE_WRITER(page->flags);
		ASSERT_EXCLUSIVE_ACCESS(page->private);
	}
}

#endif /* __MM_LLFREE_H */
