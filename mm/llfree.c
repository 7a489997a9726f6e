// SPDX-License-Identifier: GPL-2.0
/*
 * LLFree as the keeper of the free pages of a zone.
 *
 * Connects the allocator core of lib/llfree/ with zones: one instance per
 * zone, whose frame numbers are pfns. All pages start allocated, and only what
 * zf_free() is given ever becomes free, so holes, reserved and unaccepted
 * memory need nothing.
 *
 *   migratetype   UNMOVABLE, MOVABLE and RECLAIMABLE are classes of trees, the
 *                 first two have another for large blocks. That is policy, and
 *                 not done in a zone of fewer trees than classes. HIGHATOMIC,
 *                 CMA and ISOLATE are views of pageblocks, that is who may have
 *                 the page.
 *   slots         One per CPU, or fewer in a zone that is too small for that.
 *                 A slot is only where to look first: it does not matter which
 *                 CPU uses it, or how many do at a time, and so neither
 *                 preemption nor interrupts need be off.
 *   accounting    An operation of the core says what it changed in which view;
 *                 zf_account() brings that to the counters of the zone.
 *
 * zone->lock serialises changes of views and of the migratetype of pageblocks.
 * Nothing here waits for it: who wants to change a migratetype for the sake of
 * policy tries, and leaves it if the lock is taken.
 */
#define pr_fmt(fmt) "page_alloc: " fmt

#include <linux/cpumask.h>
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/kcsan-checks.h>
#include <linux/kobject.h>
#include <linux/llfree.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/nmi.h>
#include <linux/page-isolation.h>
#include <linux/prefetch.h>
#include <linux/ratelimit.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/stop_machine.h>
#include <linux/sysfs.h>
#include <linux/vmstat.h>
#include <trace/events/kmem.h>

#include "internal.h"
#include "zone_free.h"

/**
 * struct zone_llfree - the free pages of a zone
 * @core: the allocator
 * @nr_huge: entirely free children, by view
 * @counted: numbers of free blocks that zf_count_recent() reports
 * @counted_at: when they were counted, in jiffies
 * @count_lock: held by who counts; nobody waits for it
 */
struct zone_llfree {
	struct llfree core;
	atomic_long_t nr_huge[LLFREE_NR_VIEWS] ____cacheline_aligned_in_smp;
	unsigned long counted[NR_PAGE_ORDERS];
	unsigned long counted_at;
	spinlock_t count_lock;	/* protects counting, not the counts */
};

/* How old numbers of zf_count_recent() may be */
#define COUNT_RECENT	(HZ / 10)

DEFINE_STATIC_KEY_MAYBE_RO(CONFIG_LLFREE_DEFAULT_ON, zf_key);

static int __init page_alloc_setup(char *str)
{
	if (str && !strcmp(str, "llfree"))
		static_branch_enable(&zf_key);
	else if (str && !strcmp(str, "buddy"))
		static_branch_disable(&zf_key);
	else
		pr_warn("page_alloc=%s is neither llfree nor buddy, using %s\n",
			str ?: "", zf_active() ? "llfree" : "buddy");
	return 0;
}
early_param("page_alloc", page_alloc_setup);

static int zf_slot(const struct llfree *llf)
{
	unsigned int nr = READ_ONCE(llf->nr_slots);
	unsigned int cpu = raw_smp_processor_id();

	if (likely(cpu < nr))
		return cpu;
	return nr ? cpu % nr : LLFREE_NO_SLOT;
}

static enum llfree_view zf_view(int migratetype)
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
 * Are pages grouped by mobility? Where there are fewer trees than classes, they
 * would just change hands all the time, and each time count as fragmentation.
 */
static bool zf_grouped(const struct llfree *llf)
{
	return likely(!page_group_by_mobility_disabled &&
		      llf->nr_trees >= LLFREE_NR_CLASSES);
}

static __always_inline unsigned int
zf_class(const struct llfree *llf, unsigned int order, int migratetype)
{
	BUILD_BUG_ON(MIGRATE_UNMOVABLE != (int)LLFREE_CLASS_UNMOVABLE ||
		     MIGRATE_MOVABLE != (int)LLFREE_CLASS_MOVABLE ||
		     MIGRATE_RECLAIMABLE != (int)LLFREE_CLASS_RECLAIMABLE);

	if (!zf_grouped(llf))
		return llf->policy->init_class;
	if (migratetype == MIGRATE_MOVABLE && order >= LLFREE_CHILD_ORDER)
		return LLFREE_CLASS_HUGE;
	if (migratetype >= MIGRATE_PCPTYPES)
		return LLFREE_CLASS_MOVABLE;
	if (migratetype == MIGRATE_UNMOVABLE && order >= PAGE_ALLOC_COSTLY_ORDER)
		return LLFREE_CLASS_LARGE;
	return migratetype;
}

static int class_migratetype(unsigned int class)
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

/* The buddy allocator has zone->lock for that. */
static void zf_add_highatomic(struct zone *zone, long nr)
{
	unsigned long old = READ_ONCE(zone->nr_free_highatomic);

	while (!try_cmpxchg_relaxed(&zone->nr_free_highatomic, &old, old + nr))
		;
}

static noinline void zf_account_views(struct zone *zone,
				      const struct llfree_delta *delta)
{
	struct zone_llfree *zl = zone->llfree;
	enum llfree_view view;
	long all = 0;

	for (view = 0; view < LLFREE_ALLOC_VIEWS; view++) {
		all += delta->frames[view];
		if (delta->huge[view])
			atomic_long_add(delta->huge[view], &zl->nr_huge[view]);
	}
	if (delta->frames[LLFREE_VIEW_CMA])
		mod_zone_page_state(zone, NR_FREE_CMA_PAGES,
				    delta->frames[LLFREE_VIEW_CMA]);
	if (delta->frames[LLFREE_VIEW_HIGHATOMIC])
		zf_add_highatomic(zone, delta->frames[LLFREE_VIEW_HIGHATOMIC]);
	if (all)
		mod_zone_page_state(zone, NR_FREE_PAGES, all);
}

/* Bring what an operation changed to the counters of the zone. */
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
	if (huge[LLFREE_VIEW_NORMAL])
		atomic_long_add(huge[LLFREE_VIEW_NORMAL],
				&zone->llfree->nr_huge[LLFREE_VIEW_NORMAL]);
}

/*
 * Nobody else has a hand on a page that we are about to hand out, or were just
 * given: KCSAN reports who does, and a page with two owners sooner or later is
 * on its way in or out for one while the other uses it.
 *
 * Owners change page->flags all the time. Who looks for pages to migrate, or
 * at all pages, reads them, and mapping and compound_head, without a reference,
 * so there only writes tell. Nobody but the owner touches page->private, which
 * is what allocation initialises and slabs, page tables and swap use.
 */
static void zf_check_exclusive(unsigned long pfn, unsigned long nr)
{
	struct page *page;

	/* A bad free may name anything. */
	if (!IS_ENABLED(CONFIG_LLFREE_CHECK_EXCLUSIVE) || !pfn_valid(pfn))
		return;
	for (page = pfn_to_page(pfn); nr; nr--, page++) {
		ASSERT_EXCLUSIVE_WRITER(page->flags);
		ASSERT_EXCLUSIVE_ACCESS(page->private);
	}
}

/* The same for pages of a word */
static void zf_check_exclusive_mask(unsigned long pfn, u64 mask)
{
	if (!IS_ENABLED(CONFIG_LLFREE_CHECK_EXCLUSIVE))
		return;
	for (; mask; mask &= mask - 1)
		zf_check_exclusive(pfn + __ffs64(mask), 1);
}

/* ---- Life cycle ---- */

static int zf_init_zone(struct zone *zone, unsigned long pfn, unsigned long nr,
			void *(*alloc)(struct zone *zone, size_t size))
{
	struct llfree_memory mem;
	struct zone_llfree *zl;
	int ret;

	ret = llfree_layout(pfn, nr, &mem);
	if (ret)
		return ret;
	zl = alloc(zone, sizeof(*zl));
	mem.rows = alloc(zone, mem.rows_size);
	mem.children = alloc(zone, mem.children_size);
	mem.trees = alloc(zone, mem.trees_size);
	if (!zl || !mem.rows || !mem.children || !mem.trees)
		return -ENOMEM;

	spin_lock_init(&zl->count_lock);
	zl->counted_at = jiffies - COUNT_RECENT;
	ret = llfree_init(&zl->core, pfn, nr, &mem, LLFREE_INIT_ALLOC, NULL);
	if (!ret)
		zone->llfree = zl;
	return ret;
}

static void * __init zf_boot_alloc(struct zone *zone, size_t size)
{
	return memblock_alloc_node(size, SMP_CACHE_BYTES, zone_to_nid(zone));
}

/**
 * zf_add_range() - give a zone the means to keep free pages
 * @zone: the zone, which has none yet
 * @pfn: first pfn that it spans
 * @nr: number of pages that it spans
 *
 * All pages are allocated, in pageblocks without a view of their own. Costs
 * 33.75 KiB per GiB, also when the buddy allocator is in use: some architectures
 * read the command line only after their zones are set up.
 *
 * Context: early boot, while memblock hands out memory.
 *
 * Return: 0; -EINVAL or -ENOMEM
 */
int __init zf_add_range(struct zone *zone, unsigned long pfn, unsigned long nr)
{
	BUILD_BUG_ON(MAX_PAGE_ORDER != LLFREE_MAX_ORDER);
	BUILD_BUG_ON(pageblock_order < LLFREE_CHILD_ORDER);

	return zf_init_zone(zone, pfn, nr, zf_boot_alloc);
}

/**
 * zf_percpu_init() - let CPUs reserve parts of a zone
 * @zone: the zone
 *
 * Until then, and in a zone that is too small, CPUs look for free pages
 * everywhere. That is all that is missed if there is no memory for it.
 *
 * Context: task, once the slab allocator works.
 */
void __meminit zf_percpu_init(struct zone *zone)
{
	struct llfree *llf = &zone->llfree->core;
	struct llfree_local *locals;
	unsigned int nr;

	nr = min(nr_cpu_ids, llfree_max_slots(llf));
	if (!nr || llf->nr_slots)
		return;
	/* Blocks of a power of 2 are aligned to their size. */
	locals = kzalloc_node(roundup_pow_of_two(nr * sizeof(*locals)),
			      GFP_KERNEL, zone_to_nid(zone));
	if (!locals || llfree_set_slots(llf, locals, nr))
		pr_warn("%s: no memory for reservations\n", zone->name);
}

/**
 * zf_drain() - give back what a CPU has reserved
 * @zone: the zone
 * @cpu: the CPU; negative for all
 *
 * Reserved pages are free and can be had by everybody. Drain a CPU that is
 * going to do nothing for long, so that others find them sooner.
 *
 * Context: any.
 */
void zf_drain(struct zone *zone, int cpu)
{
	struct llfree *llf = &zone->llfree->core;

	if (cpu < 0)
		llfree_drain(llf, -1);
	else if (llf->nr_slots)
		llfree_drain(llf, cpu % llf->nr_slots);
}

/* ---- Allocation ---- */

/*
 * The migratetype of a pageblock follows what is allocated in it, unless the
 * page was taken from a tree of another class and the tree stays what it is.
 * Where pages are not grouped it is that of who began the pageblock.
 */
static noinline void zf_set_migratetype(struct zone *zone, struct page *page,
					unsigned int order, int migratetype,
					bool begun)
{
	unsigned long flags;
	unsigned long i;
	int old;

	if (page_group_by_mobility_disabled || in_nmi() ||
	    (!begun && !zf_grouped(&zone->llfree->core)))
		return;
	if (!spin_trylock_irqsave(&zone->lock, flags))
		return;
	for (i = 0; i < (1UL << order); i += pageblock_nr_pages) {
		old = get_pageblock_migratetype(page + i);
		if (old != migratetype && migratetype_is_mergeable(old))
			set_pageblock_migratetype(page + i, migratetype);
	}
	spin_unlock_irqrestore(&zone->lock, flags);
}

/*
 * The page came from memory of another migratetype. That boosts the watermarks
 * as buddy has it: not for entirely free blocks, nor for small movable pages.
 */
static noinline void zf_settle_foreign(struct zone *zone, struct page *page,
				       unsigned int order, int migratetype,
				       unsigned int alloc_flags,
				       const struct llfree_delta *delta)
{
	trace_mm_page_alloc_extfrag(page, order, order, migratetype,
				    class_migratetype(delta->old_class));
	if (!delta->huge[LLFREE_VIEW_NORMAL] &&
	    (migratetype != MIGRATE_MOVABLE || order >= pageblock_order / 2))
		zone_boost_fallback(zone, alloc_flags);
}

/*
 * Bring to the zone what a get did: counters, the migratetype of the
 * pageblock, and that the page is of another one.
 */
static __always_inline void zf_settle(struct zone *zone, struct page *page,
				      unsigned int order, int migratetype,
				      unsigned int alloc_flags,
				      const struct llfree_delta *delta)
{
	const unsigned int foreign = LLFREE_DID_DEMOTE | LLFREE_DID_STEAL;

	zf_account(zone, delta);
	/* Whole pageblocks belong to whoever has them. */
	if ((!(delta->did & LLFREE_DID_STEAL) || order >= pageblock_order) &&
	    unlikely(get_pageblock_migratetype(page) != migratetype))
		zf_set_migratetype(zone, page, order, migratetype,
				   delta->huge[LLFREE_VIEW_NORMAL]);
	if (unlikely(delta->did & foreign))
		zf_settle_foreign(zone, page, order, migratetype, alloc_flags,
				  delta);
}

static __always_inline void
zf_request(struct llfree_request *req, const struct llfree *llf,
	   unsigned int order, int migratetype, unsigned int alloc_flags,
	   enum llfree_view view)
{
	req->slot = zf_slot(llf);
	req->order = order;
	req->class = zf_class(llf, order, migratetype);
	req->view = view;
	/* A whole pageblock is nobody else's, so there is nothing to mix. */
	req->flags = (alloc_flags & ALLOC_NOFRAGMENT) &&
		     order < pageblock_order ? LLFREE_GET_NOFRAGMENT : 0;
}

/*
 * From where the CPU found the last one. The tree is the CPU's, and so of the class,
 * and its pageblocks mostly have the migratetype: that is looked at when one is begun,
 * and once for each word that is, in case somebody else had zone->lock before.
 *
 * Return: NULL, and in @delta what changed, if it does not go straight
 */
static __always_inline struct page *
zf_alloc_quick(struct zone *zone, unsigned int order, int migratetype, int slot,
	       bool refill, struct llfree_delta *delta)
{
	struct llfree *llf = &zone->llfree->core;
	unsigned int whole;
	struct page *page;
	long pfn;

	pfn = llfree_get_quick(llf, slot, order,
			       zf_class(llf, order, migratetype), &whole, delta);
	if (unlikely(pfn < 0))
		return NULL;

	zf_check_exclusive(pfn, 1UL << order);
	page = pfn_to_page(pfn);
	/*
	 * The next one is mostly behind it, and who allocates writes to it at once. A
	 * free list has its next page at hand; here it would be waited for.
	 */
	prefetchw(page + (1UL << order));
	mod_zone_page_state(zone, NR_FREE_PAGES, -(1L << order));
	if (whole)
		atomic_long_sub(whole, &zone->llfree->nr_huge[LLFREE_VIEW_NORMAL]);
	if ((whole || IS_ALIGNED(pfn, LLFREE_ROW_FRAMES)) &&
	    unlikely(get_pageblock_migratetype(page) != migratetype))
		zf_set_migratetype(zone, page, order, migratetype, whole);
	trace_mm_page_alloc_zone_locked(page, order, migratetype, refill);
	return page;
}

/* By a search. @delta is what changed so far, which is counted as well. */
static noinline struct page *
zf_alloc_search(struct zone *zone, const struct llfree_request *req,
		int migratetype, unsigned int alloc_flags, bool refill,
		struct llfree_delta *delta)
{
	const unsigned int order = req->order;
	struct page *page;
	long pfn;

	pfn = llfree_get_search(&zone->llfree->core, req, delta);
	if (pfn < 0) {
		zf_account(zone, delta);
		return NULL;
	}

	zf_check_exclusive(pfn, 1UL << order);
	page = pfn_to_page(pfn);
	if (req->view == LLFREE_VIEW_NORMAL)
		zf_settle(zone, page, order, migratetype, alloc_flags, delta);
	else
		zf_account(zone, delta);
	trace_mm_page_alloc_zone_locked(page, order, migratetype, refill);
	return page;
}

/* From the reserve, if there is one */
static noinline struct page *
zf_alloc_highatomic(struct zone *zone, unsigned int order, int migratetype,
		    unsigned int alloc_flags)
{
	struct llfree_delta delta = { };
	struct llfree_request req;

	if (!zf_nr_free_highatomic(zone))
		return NULL;
	zf_request(&req, &zone->llfree->core, order, migratetype, alloc_flags,
		   LLFREE_VIEW_HIGHATOMIC);
	return zf_alloc_search(zone, &req, migratetype, alloc_flags, false, &delta);
}

/* What zf_alloc() does if a block is not at hand */
static noinline struct page *
zf_alloc_slow(struct zone *zone, unsigned int order, int migratetype,
	      unsigned int alloc_flags, struct llfree_delta *delta)
{
	struct llfree_request req;
	struct page *page = NULL;

	if (alloc_flags & ALLOC_HIGHATOMIC)
		page = zf_alloc_highatomic(zone, order, migratetype,
					   alloc_flags);
	if (!page) {
		zf_request(&req, &zone->llfree->core, order, migratetype,
			   alloc_flags, LLFREE_VIEW_NORMAL);
		page = zf_alloc_search(zone, &req, migratetype, alloc_flags, false,
				       delta);
	}
	/*
	 * OOM handling and (atomic) allocations may use the reserve: failing
	 * now is worse than failing a high-order atomic allocation later.
	 */
	if (unlikely(!page) && (alloc_flags & (ALLOC_OOM | ALLOC_NON_BLOCK)))
		page = zf_alloc_highatomic(zone, order, migratetype,
					   alloc_flags);
	return page;
}

/**
 * zf_alloc() - allocate a block of pages from a zone
 * @zone: the zone
 * @order: 0..MAX_PAGE_ORDER
 * @migratetype: what the pages are for
 * @alloc_flags: ALLOC_NOFRAGMENT, ALLOC_HIGHATOMIC, ALLOC_OOM,
 *	ALLOC_NON_BLOCK and ALLOC_KSWAPD matter
 *
 * Return: the first page, as it was when it was freed; NULL if the zone has no
 *	such block, or none that ALLOC_NOFRAGMENT lets us have
 */
struct page *zf_alloc(struct zone *zone, unsigned int order, int migratetype,
		      unsigned int alloc_flags)
{
	struct llfree_delta delta __uninitialized;
	int slot = zf_slot(&zone->llfree->core);
	struct page *page = NULL;

	if (likely(slot >= 0 && !(alloc_flags & ALLOC_HIGHATOMIC)))
		page = zf_alloc_quick(zone, order, migratetype, slot, false,
				      &delta);
	else
		delta = (struct llfree_delta){ };
	if (unlikely(!page))
		page = zf_alloc_slow(zone, order, migratetype, alloc_flags,
				     &delta);
	return page;
}

/*
 * Put the blocks of @mask, which is not 0, at the end of a list.
 * @page: one of them
 *
 * Return: number of blocks
 */
static __always_inline unsigned int
zf_list_pages(struct list_head *list, unsigned long pfn, u64 mask,
	      unsigned int order, int migratetype, struct page **page)
{
	unsigned int nr = 0, bit;

	do {
		bit = __ffs64(mask);
		if (order < LLFREE_ROW_ORDER)
			mask &= ~(((1ULL << (1U << order)) - 1) << bit);
		else
			mask = 0;
		zf_check_exclusive(pfn + bit, 1UL << order);
		*page = pfn_to_page(pfn + bit);
		list_add_tail(&(*page)->pcp_list, list);
		trace_mm_page_alloc_zone_locked(*page, order, migratetype, 1);
		nr++;
	} while (mask);
	return nr;
}

/* zf_alloc_bulk() for blocks of several words */
static unsigned int zf_alloc_bulk_large(struct zone *zone, unsigned int order,
					int migratetype, unsigned int alloc_flags,
					unsigned int nr, struct list_head *list)
{
	struct llfree_request req;
	struct page *page;
	unsigned int done;

	zf_request(&req, &zone->llfree->core, order, migratetype, alloc_flags,
		   LLFREE_VIEW_NORMAL);
	for (done = 0; done < nr; done++) {
		struct llfree_delta delta = { };

		page = NULL;
		if (likely(req.slot >= 0))
			page = zf_alloc_quick(zone, order, migratetype, req.slot,
					      true, &delta);
		if (unlikely(!page))
			page = zf_alloc_search(zone, &req, migratetype, alloc_flags,
					       true, &delta);
		if (!page)
			break;
		/* With something to return, more is not worth a long search. */
		req.flags |= LLFREE_GET_RESERVED;
		list_add_tail(&page->pcp_list, list);
	}
	return done;
}

/**
 * zf_alloc_bulk() - allocate many blocks of pages from a zone
 * @zone: the zone
 * @order: 0..MAX_PAGE_ORDER
 * @migratetype: what the pages are for
 * @alloc_flags: see zf_alloc()
 * @nr: number of blocks
 * @list: pages are added to its tail by pcp_list
 *
 * Takes up to 2 MiB in one step. Stops short of @nr where the pages that the
 * CPU has reserved come to an end, or next would be a free block of 2 MiB and
 * there may be pages elsewhere.
 *
 * Return: number of blocks that were allocated; 0 only if there is none to be
 *	had
 */
unsigned int zf_alloc_bulk(struct zone *zone, unsigned int order,
			   int migratetype, unsigned int alloc_flags,
			   unsigned int nr, struct list_head *list)
{
	struct llfree *llf = &zone->llfree->core;
	struct llfree_delta delta = { };
	struct llfree_request req;
	unsigned int done = 0, rows, i;
	u64 mask[LLFREE_CHILD_ROWS];
	struct page *page;
	long pfn;

	if (order > LLFREE_ROW_ORDER)
		return zf_alloc_bulk_large(zone, order, migratetype, alloc_flags,
					   nr, list);
	zf_request(&req, llf, order, migratetype, alloc_flags,
		   LLFREE_VIEW_NORMAL);
	while (done < nr) {
		rows = LLFREE_CHILD_ROWS;
		pfn = llfree_get_rows(llf, &req, nr - done, mask, &delta);
		if (pfn < 0) {
			rows = 1;
			pfn = llfree_get_bulk(llf, &req, nr - done, mask, &delta);
		}
		if (pfn < 0)
			break;
		/* With something to return, more is not worth a long search. */
		req.flags |= LLFREE_GET_RESERVED;

		for (i = 0; i < rows; i++, pfn += LLFREE_ROW_FRAMES) {
			if (mask[i])
				done += zf_list_pages(list, pfn, mask[i], order,
						      migratetype, &page);
		}
		zf_settle(zone, page, order, migratetype, alloc_flags, &delta);
		delta = (struct llfree_delta){ };
	}
	zf_account(zone, &delta);
	return done;
}

/* ---- Free ---- */

/* The pages stay allocated for good; nobody knows whose they are. */
static void zf_bad_free(struct zone *zone, unsigned long pfn,
			unsigned int order)
{
	static DEFINE_RATELIMIT_STATE(rs, 5 * HZ, 5);

	if (!__ratelimit(&rs))
		return;
	WARN(1, "page_alloc: zone %s: free of pfn %#lx order %u, which is not allocated\n",
	     zone->name, pfn, order);
	if (pfn_valid(pfn))
		dump_page(pfn_to_page(pfn), "freed but not allocated");
}

/* Blocks of several children */
static noinline void zf_free_large(struct zone *zone, unsigned long pfn,
				   unsigned int order)
{
	struct llfree *llf = &zone->llfree->core;
	struct llfree_delta delta = { };

	if (unlikely(llfree_put(llf, zf_slot(llf), pfn, order, &delta)))
		zf_bad_free(zone, pfn, order);
	zf_account(zone, &delta);
}

/* llfree_put_quick() returned something else than the normal view. */
static noinline void zf_freed_elsewhere(struct zone *zone, unsigned long pfn,
					unsigned int order, int given)
{
	struct llfree_delta delta = { };
	unsigned int view;

	if (given < 0) {
		zf_bad_free(zone, pfn, order);
		return;
	}
	view = given & LLFREE_PUT_VIEW;
	if (view >= LLFREE_ALLOC_VIEWS)
		return;
	delta.frames[view] = 1 << order;
	delta.huge[view] = !!(given & LLFREE_PUT_WHOLE);
	zf_account_views(zone, &delta);
}

/**
 * zf_free() - free a block of pages
 * @zone: the zone
 * @pfn: first pfn
 * @order: any; the block may have been allocated in other pieces
 *
 * The pageblock decides who can have the pages: those of an isolated one are
 * free, but neither visible nor counted. A block that is not allocated, or only
 * in part, is reported and left as it is.
 */
void zf_free(struct zone *zone, unsigned long pfn, unsigned int order)
{
	struct llfree *llf = &zone->llfree->core;
	int given;

	zf_check_exclusive(pfn, 1UL << order);
	if (unlikely(order > LLFREE_CHILD_ORDER)) {
		zf_free_large(zone, pfn, order);
		return;
	}
	given = llfree_put_quick(llf, zf_slot(llf), pfn, order);
	if (likely((given & LLFREE_PUT_VIEW) == LLFREE_VIEW_NORMAL)) {
		mod_zone_page_state(zone, NR_FREE_PAGES, 1L << order);
		if (given & LLFREE_PUT_WHOLE)
			atomic_long_inc(&zone->llfree->nr_huge[LLFREE_VIEW_NORMAL]);
	} else {
		zf_freed_elsewhere(zone, pfn, order, given);
	}
}

/* One of them is not allocated: find out which. */
static noinline void zf_put_each(struct zone *zone, unsigned long pfn, u64 mask,
				 struct llfree_delta *delta)
{
	struct llfree *llf = &zone->llfree->core;

	for (; mask; mask &= mask - 1)
		if (llfree_put(llf, zf_slot(llf), pfn + __ffs64(mask), 0, delta))
			zf_bad_free(zone, pfn + __ffs64(mask), 0);
}

static __always_inline void zf_put_word(struct zone *zone, unsigned long pfn,
					u64 mask, struct llfree_delta *delta)
{
	struct llfree *llf = &zone->llfree->core;

	zf_check_exclusive_mask(pfn, mask);
	if (unlikely(llfree_put_bulk(llf, zf_slot(llf), pfn, mask, delta)))
		zf_put_each(zone, pfn, mask, delta);
}

/**
 * zf_batch_add() - free a block of pages soon
 * @zone: the zone
 * @batch: after zf_batch_init(); all pages in it belong to @zone
 * @pfn: first pfn
 * @order: 0..MAX_PAGE_ORDER
 *
 * The pages are free after zf_batch_flush() at the latest, and counted as free
 * then.
 */
void zf_batch_add(struct zone *zone, struct zf_batch *batch, unsigned long pfn,
		  unsigned int order)
{
	unsigned long row = ALIGN_DOWN(pfn, LLFREE_ROW_FRAMES);
	unsigned int i = (row >> LLFREE_ROW_ORDER) % ZF_BATCH_WORDS;
	u64 mask;

	if (order >= LLFREE_ROW_ORDER) {
		zf_free(zone, pfn, order);
		return;
	}
	mask = ((1ULL << (1U << order)) - 1) << (pfn - row);
	if (!batch->used)
		batch->delta = (struct llfree_delta){ };
	if (batch->used & BIT(i)) {
		if (likely(batch->word[i].pfn == row &&
			   !(batch->word[i].mask & mask))) {
			batch->word[i].mask |= mask;
			return;
		}
		zf_put_word(zone, batch->word[i].pfn, batch->word[i].mask,
			    &batch->delta);
		if (batch->delta.huge[LLFREE_VIEW_NORMAL] ||
		    batch->delta.frames[LLFREE_VIEW_NORMAL] >= ZF_BATCH_PAGES) {
			zf_account(zone, &batch->delta);
			batch->delta = (struct llfree_delta){ };
		}
	}
	batch->used |= BIT(i);
	batch->word[i].pfn = row;
	batch->word[i].mask = mask;
}

/**
 * zf_batch_flush() - free all pages of a batch
 * @zone: the zone
 * @batch: the batch; it is empty then
 */
void zf_batch_flush(struct zone *zone, struct zf_batch *batch)
{
	unsigned int i;

	if (!batch->used)
		return;
	for (; batch->used; batch->used &= batch->used - 1) {
		i = __ffs(batch->used);
		zf_put_word(zone, batch->word[i].pfn, batch->word[i].mask,
			    &batch->delta);
	}
	zf_account(zone, &batch->delta);
}

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
 * Return: false if not all of it is free, or isolated
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

/* Add the pages of a word as naturally aligned blocks. */
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

/* Largest order above a word that is free and fits at @pfn */
static unsigned int claim_order(struct llfree *llf, unsigned long pfn,
				unsigned long end, unsigned long want)
{
	int order = llfree_free_order(llf, pfn);

	order = min_t(int, order, LLFREE_CHILD_ORDER);
	while (order > LLFREE_ROW_ORDER &&
	       (!IS_ALIGNED(pfn, 1UL << order) || end - pfn < (1UL << order) ||
		want < (1UL << order)))
		order--;
	return max(order, 0);
}

/**
 * zf_claim_range() - allocate what is free in a range of pages
 * @zone: the zone
 * @pfn: first pfn; on return, where the scan stopped
 * @end: pfn after the last one, in the same pageblock
 * @want: stop once there are that many pages
 * @lists: blocks are added by lru to the list of their order, which is in
 *	page_private() too
 * @flags: ZF_HIDDEN, ZF_STRICT
 *
 * With ZF_STRICT what is not free is where it stops, and @want is ignored.
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
		free = llfree_free_mask(llf, row) & mask;
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

/**
 * zf_set_block() - change the migratetype of a pageblock
 * @zone: the zone
 * @pfn: any pfn of the pageblock
 * @migratetype: the new migratetype
 *
 * Free pages of the block go along. While flags and view differ for a moment,
 * the flags never say that pages are to be had which are hidden already.
 *
 * Context: caller holds zone->lock.
 *
 * Return: number of free pages in the block; -EBUSY if not all of the pageblock
 *	is in the zone
 */
long zf_set_block(struct zone *zone, unsigned long pfn, int migratetype)
{
	unsigned long start = pageblock_start_pfn(pfn);
	unsigned long end = pageblock_end_pfn(pfn);
	struct llfree *llf = &zone->llfree->core;
	enum llfree_view view = zf_view(migratetype);
	struct llfree_delta delta = { };
	long nr;

	lockdep_assert_held(&zone->lock);

	if (!zone_spans_pfn(zone, start) || !zone_spans_pfn(zone, end - 1))
		return -EBUSY;

	if (view == LLFREE_VIEW_NORMAL)
		set_pageblock_migratetype(pfn_to_page(start), migratetype);
	for (pfn = start; pfn < end; pfn += LLFREE_CHILD_FRAMES)
		llfree_set_view(llf, pfn, view, &delta);
	if (view != LLFREE_VIEW_NORMAL)
		set_pageblock_migratetype(pfn_to_page(start), migratetype);
	nr = zf_block_free(zone, start, false);
	zf_account(zone, &delta);
	return nr;
}

/* ---- Queries ---- */

/**
 * zf_block_free() - number of free pages in a pageblock
 * @zone: the zone
 * @pfn: any pfn of the pageblock
 * @stable: say -EAGAIN while an allocation or free is under way. To be polled
 *	for an isolated pageblock, without zone->lock.
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
 *	it is allocated or not in the zone
 */
int zf_free_order(const struct zone *zone, unsigned long pfn)
{
	return zone->llfree ? llfree_free_order(&zone->llfree->core, pfn) : -1;
}

/**
 * zf_next_block() - find a pageblock by the number of its free pages
 * @zone: the zone
 * @pfn: any pfn of the pageblock to start with
 * @limit: pfn at which to stop; with ZF_BACKWARD, no block below it is found.
 *	Not the first pfn of a pageblock then, to tell none from that one.
 * @min_free: fewest free pages
 * @max_free: most free pages
 * @flags: ZF_BACKWARD, ZF_UNREPORTED, ZF_HIGHATOMIC. Without ZF_HIGHATOMIC the
 *	pageblock is one that movable pages may come from.
 *
 * Return: first pfn of the pageblock; @limit if there is none
 */
unsigned long zf_next_block(const struct zone *zone, unsigned long pfn,
			    unsigned long limit, unsigned int min_free,
			    unsigned int max_free, unsigned int flags)
{
	const struct llfree *llf = &zone->llfree->core;
	long step = pageblock_nr_pages;
	struct llfree_child child;
	unsigned long at;
	unsigned int free;
	bool suits;

	if (flags & ZF_BACKWARD)
		step = -step;
	for (pfn = pageblock_start_pfn(pfn);
	     step > 0 ? pfn < limit : (long)pfn >= (long)limit; pfn += step) {
		free = 0;
		suits = true;
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
			if (flags & ZF_UNREPORTED)
				suits &= !child.reported;
		}
		if (suits && free >= min_free && free <= max_free)
			return pfn;
	}
	return limit;
}

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
 * zf_has_order() - is there a block of this order to be had?
 * @zone: the zone
 * @order: 0..MAX_PAGE_ORDER
 * @alloc_flags: ALLOC_CMA, ALLOC_HIGHATOMIC and ALLOC_OOM matter
 *
 * Takes constant time. Exact for order 9. For others, yes means that none
 * looked for one in vain since the last one was freed.
 *
 * Return: whether it is worth trying
 */
bool zf_has_order(const struct zone *zone, unsigned int order,
		  unsigned int alloc_flags)
{
	if (likely(zf_view_has_order(zone, order, LLFREE_VIEW_NORMAL)))
		return true;
	return zf_other_has_order(zone, order, alloc_flags);
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
 * @migratetype: of the pages that the blocks are kept for; negative for all
 * @nr: number of naturally aligned blocks that are not part of a larger one
 *
 * Reads all there is, so this is nothing for a hot path.
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
	/* One migratetype has it all if pages are not grouped by mobility. */
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
 * zf_count_recent() - number of free blocks of each order, lately
 * @zone: the zone
 * @nr: number of naturally aligned blocks that are not part of a larger one
 *
 * For heuristics that ask again and again: counts anew only after a tenth of a
 * second, and only on one CPU at a time.
 */
void zf_count_recent(const struct zone *zone, unsigned long nr[NR_PAGE_ORDERS])
{
	struct zone_llfree *zl = zone->llfree;
	unsigned long flags;
	unsigned int order;

	if (time_after_eq(jiffies, READ_ONCE(zl->counted_at) + COUNT_RECENT) &&
	    spin_trylock_irqsave(&zl->count_lock, flags)) {
		zf_count(zone, -1, nr);
		for (order = 0; order < NR_PAGE_ORDERS; order++)
			WRITE_ONCE(zl->counted[order], nr[order]);
		WRITE_ONCE(zl->counted_at, jiffies);
		spin_unlock_irqrestore(&zl->count_lock, flags);
		return;
	}
	for (order = 0; order < NR_PAGE_ORDERS; order++)
		nr[order] = READ_ONCE(zl->counted[order]);
}

/**
 * zf_nr_free_huge() - entirely free naturally aligned blocks of 2 MiB
 * @zone: the zone
 *
 * Return: number of blocks, without those in reserves
 */
unsigned long zf_nr_free_huge(const struct zone *zone)
{
	long nr = atomic_long_read(&zone->llfree->nr_huge[LLFREE_VIEW_NORMAL]);

	return max(nr, 0L);
}

/* ---- What is in use, and whether all of it adds up ---- */

/* Attempts to find nobody between two steps of an operation */
#define VALIDATE_TRIES	20

/**
 * struct zf_report - what a check of a zone found
 * @zone: the zone
 * @managed: pages that the zone manages
 * @counted: what its counter says is free
 * @free: pages that are free
 * @used: pages in use, those in per-CPU lists included
 * @pcp: pages in per-CPU lists
 * @unaccepted: pages that are counted as free but not accepted yet
 * @fault: what does not add up
 */
struct zf_report {
	struct zone *zone;
	unsigned long managed;
	unsigned long counted;
	unsigned long free;
	unsigned long used;
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

/* Compare with struct page: what is free must not look used. */
static int validate_pages(struct zf_report *report)
{
	struct zone *zone = report->zone;
	struct llfree *llf = &zone->llfree->core;
	unsigned long pfn;
	struct page *page;

	for (pfn = zone->zone_start_pfn; pfn < zone_end_pfn(zone); pfn++) {
		bool free = llfree_free_mask(llf, pfn) &
			    BIT_ULL(pfn % LLFREE_ROW_FRAMES);

		page = pfn_to_online_page(pfn);
		if (!page || page_zone(page) != zone) {
			if (free)
				return report_fault(report, "free page is not in the zone",
						    pfn, 0, 1);
			continue;
		}
		if (!free) {
			report->used += !PageReserved(page);
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
	report->pcp = 0;
	report->managed = zone_managed_pages(zone);
	report->unaccepted = 0;
#ifdef CONFIG_UNACCEPTED_MEMORY
	report->unaccepted = zone_page_state_snapshot(zone, NR_UNACCEPTED);
#endif
	for_each_online_cpu(cpu)
		report->pcp += per_cpu_ptr(zone->per_cpu_pageset, cpu)->count;

	ret = llfree_validate(&zone->llfree->core, &report->fault);
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
	if (report->free + report->used != report->managed)
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
		 * With all CPUs stopped, only a task that was preempted
		 * between two steps can make a sound zone look otherwise.
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

/* ---- A picture of memory, with either allocator ---- */

/* Free pages of a block as the buddy allocator marks them */
static unsigned int buddy_nr_free(struct zone *zone, unsigned long pfn)
{
	unsigned long start = ALIGN_DOWN(pfn, LLFREE_CHILD_FRAMES);
	unsigned long end = min(start + LLFREE_CHILD_FRAMES,
				zone_end_pfn(zone));
	unsigned int order, free = 0;
	struct page *page;

	/* Free blocks that are larger begin before it. */
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
		/* It may be something else by now. */
		order = min(buddy_order_unsafe(page), LLFREE_CHILD_ORDER);
		free += min(1UL << order, end - pfn);
	}
	return free;
}

static bool zf_child(struct zone *zone, unsigned long pfn,
		     struct llfree_child *child)
{
	const struct llfree *llf = &zone->llfree->core;

	/* The first one need not begin where the zone does. */
	return !llfree_child(llf, max(pfn, llf->first), child) &&
	       (child->frame ^ pfn) < LLFREE_CHILD_FRAMES;
}

/**
 * zf_nr_free_block() - number of free pages in a block of 2 MiB
 * @zone: the zone
 * @pfn: any pfn of the block
 *
 * Works with either allocator; without CONFIG_LLFREE there is no such function.
 * With the buddy allocator it looks at each page, and nothing keeps that from
 * changing meanwhile. Pages in per-CPU lists are not free.
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

/* What its pages are for, as text */
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

#include "llfree_kunit.h"
