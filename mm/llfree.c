// SPDX-License-Identifier: GPL-2.0
/*
 * LLFree as the keeper of the free pages of a zone.
 *
 * Connects the allocator core of lib/llfree/ with zones. There is one instance
 * per zone, whose frame numbers are pfns. All pages start allocated, and only
 * pages that zf_free() is given ever become free. So holes, reserved and
 * unaccepted memory need nothing.
 *
 *   migratetype   UNMOVABLE, MOVABLE and RECLAIMABLE are classes of trees; the
 *                 first two have another class for large blocks. Classes are
 *                 policy, and not used in a zone of fewer trees than classes.
 *                 HIGHATOMIC, CMA and ISOLATE are views of pageblocks, which
 *                 say which callers may have the pages.
 *   slots         One per CPU, or fewer in a zone that is too small for that. A
 *                 slot only says where to look first. Any CPU may use any slot,
 *                 and several may use one at a time. So neither preemption nor
 *                 interrupts need be off.
 *   accounting    An operation of the core reports its changes by view;
 *                 zf_account() adds the changes to the counters of the zone.
 *
 * zone->lock serialises changes of views and of the migratetype of pageblocks.
 * Nothing on the paths of allocation and free waits for the lock. A function
 * that wants to change a migratetype for the sake of policy tries the lock, and
 * leaves the migratetype alone if the lock is taken.
 */
#define pr_fmt(fmt) "page_alloc: " fmt

#include <linux/cpumask.h>
#include <linux/init.h>
#include <linux/kcsan-checks.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/prefetch.h>
#include <linux/random.h>
#include <linux/ratelimit.h>
#include <linux/slab.h>
#include <linux/vmstat.h>
#include <trace/events/kmem.h>

#include "internal.h"
#include "llfree.h"
#include "page_reporting.h"
#include "zone_free.h"

DEFINE_STATIC_KEY_MAYBE_RO(CONFIG_LLFREE_DEFAULT_ON, zf_key);

/* Set if a zone has no bitmaps, so that all zones use the buddy allocator. */
static bool zf_unavailable __initdata;

static int __init page_alloc_setup(char *str)
{
	if (str && !strcmp(str, "llfree") && zf_unavailable)
		pr_err("page_alloc=llfree is ignored: a zone has no bitmaps\n");
	else if (str && !strcmp(str, "llfree"))
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
	unsigned int nr = llfree_nr_slots(llf);
	unsigned int cpu = raw_smp_processor_id();

	if (likely(cpu < nr))
		return cpu;
	return nr ? cpu % nr : LLFREE_NO_SLOT;
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

/*
 * Change nr_free_highatomic without zone->lock, under which the buddy allocator
 * changes it.
 */
static void zf_add_highatomic(struct zone *zone, long nr)
{
	unsigned long old = READ_ONCE(zone->nr_free_highatomic);

	while (!try_cmpxchg_relaxed(&zone->nr_free_highatomic, &old, old + nr))
		;
}

/* Account for changes in any view. */
noinline void zf_account_views(struct zone *zone,
			       const struct llfree_delta *delta)
{
	struct zone_llfree *zl = zone->llfree;
	enum llfree_view view;
	bool whole = false;
	long all = 0;

	for (view = 0; view < LLFREE_ALLOC_VIEWS; view++) {
		all += delta->frames[view];
		if (delta->huge[view])
			atomic_long_add(delta->huge[view], &zl->nr_huge[view]);
		whole |= delta->huge[view] > 0;
	}
	if (whole)
		page_reporting_notify_free(LLFREE_CHILD_ORDER);
	if (delta->frames[LLFREE_VIEW_CMA])
		mod_zone_page_state(zone, NR_FREE_CMA_PAGES,
				    delta->frames[LLFREE_VIEW_CMA]);
	if (delta->frames[LLFREE_VIEW_HIGHATOMIC])
		zf_add_highatomic(zone, delta->frames[LLFREE_VIEW_HIGHATOMIC]);
	if (all)
		mod_zone_page_state(zone, NR_FREE_PAGES, all);
}

/* zf_check_exclusive() for the pages of a word */
static void zf_check_exclusive_mask(unsigned long pfn, u64 mask)
{
	if (!IS_ENABLED(CONFIG_LLFREE_CHECK_EXCLUSIVE))
		return;
	for (; mask; mask &= mask - 1)
		zf_check_exclusive(pfn + __ffs64(mask), 1);
}

/* ---- Life cycle ---- */

#ifdef CONFIG_MEMORY_HOTPLUG
/*
 * Allocate all memory that a zone needs. Each array has pages of its own, so
 * that the array can grow.
 */
static struct zone_llfree *zf_alloc_memory(struct zone *zone, unsigned long pfn,
					   unsigned long nr, struct llfree_memory *mem,
					   void *(*alloc)(struct zone *zone, size_t size))
{
	struct zf_words words[ZF_NR_WORDS];
	const size_t size = zf_words_size(words, mem->tree_order, pfn, nr);
	struct zone_llfree *zl;
	void *memory = alloc(zone, size + sizeof(*zl));

	if (!memory)
		return NULL;
	zf_words_place(words, memory);
	zf_words_memory(words, pfn, mem);
	zl = memory + size;
	memcpy(zl->words, words, sizeof(words));
	return zl;
}
#else
static struct zone_llfree *zf_alloc_memory(struct zone *zone, unsigned long pfn,
					   unsigned long nr, struct llfree_memory *mem,
					   void *(*alloc)(struct zone *zone, size_t size))
{
	const size_t head = ALIGN(sizeof(struct zone_llfree), SMP_CACHE_BYTES);
	struct zone_llfree *zl;

	mem->rows_size = ALIGN(mem->rows_size, SMP_CACHE_BYTES);
	mem->children_size = ALIGN(mem->children_size, SMP_CACHE_BYTES);
	zl = alloc(zone, head + mem->rows_size + mem->children_size + mem->trees_size);
	if (!zl)
		return NULL;
	mem->rows = (void *)zl + head;
	mem->children = mem->rows + mem->rows_size;
	mem->trees = mem->children + mem->children_size;
	return zl;
}
#endif

/*
 * zf_init_zone() - set up the allocator of a zone
 * @cpus: CPUs that are going to reserve trees
 * @alloc: returns zeroed memory, aligned to a page or the next power of 2
 *
 * Holes have trees, too, but these cannot be reserved. All memory of a zone is
 * one block, so that a failure leaves nothing behind.
 */
static int zf_init_zone(struct zone *zone, unsigned long pfn, unsigned long nr,
			unsigned int cpus,
			void *(*alloc)(struct zone *zone, size_t size))
{
	struct llfree_memory mem;
	unsigned long present = nr;
	struct zone_llfree *zl;
	int ret;

	if (zone->present_pages)
		present = min(nr, zone->present_pages);
	ret = llfree_layout(pfn, nr, llfree_tree_order(present, cpus), &mem);
	if (ret)
		return ret;
	zl = zf_alloc_memory(zone, pfn, nr, &mem, alloc);
	if (!zl)
		return -ENOMEM;
	zf_count_init(zl);
	ret = llfree_init(&zl->core, pfn, nr, &mem, LLFREE_INIT_ALLOC, NULL);
	if (!ret)
		zone->llfree = zl;
	return ret;
}

/*
 * Estimate the number of possible CPUs. While zones are set up at boot,
 * nr_cpu_ids may still be NR_CPUS; few machines have more than one CPU for each
 * GiB.
 */
static unsigned int __init zf_boot_cpus(void)
{
	return min_t(u64, nr_cpu_ids, memblock_phys_mem_size() / SZ_1G);
}

static void * __init zf_boot_alloc(struct zone *zone, size_t size)
{
	return memblock_alloc_node(size, PAGE_SIZE, zone_to_nid(zone));
}

/**
 * zf_add_range() - give a zone the means to keep free pages
 * @zone: the zone, which has no bitmaps yet
 * @pfn: first pfn that the zone spans
 * @nr: number of pages that the zone spans
 *
 * All pages are allocated, in pageblocks without a view of their own. Costs
 * 33.75 KiB per GiB, also when the buddy allocator is in use: some architectures
 * read the command line only after their zones are set up.
 *
 * If the zone is too large for LLFree, or there is no memory for its bitmaps,
 * all zones use the buddy allocator, and a message says so.
 *
 * Context: early boot, while memblock hands out memory.
 */
void __init zf_add_range(struct zone *zone, unsigned long pfn, unsigned long nr)
{
	int ret;

	BUILD_BUG_ON(MAX_PAGE_ORDER != LLFREE_MAX_ORDER);
	BUILD_BUG_ON(pageblock_order < LLFREE_CHILD_ORDER);

	ret = zf_init_zone(zone, pfn, nr, zf_boot_cpus(), zf_boot_alloc);
	if (!ret) {
		zf_boot_holes(zone);
		return;
	}
	zf_unavailable = true;
	if (!zf_active())
		return;
	pr_err("no LLFree for %lu pages of zone %s on node %d (error %d), using the buddy allocator\n",
	       nr, zone->name, zone_to_nid(zone), ret);
	static_branch_disable(&zf_key);
}

/*
 * Slots cost memory, so there are slots for nr_cpu_ids CPUs, not for NR_CPUS.
 */
static unsigned int zf_nr_slots(const struct llfree *llf)
{
	return min(nr_cpu_ids, llfree_max_slots(llf));
}

/**
 * zf_percpu_init() - let CPUs reserve parts of a zone
 * @zone: the zone
 *
 * Until this function has run, and in a zone that is too small, CPUs look for
 * free pages everywhere. The same holds if there is no memory for the slots.
 * After a zone has grown, this function may add slots.
 *
 * Context: task, once the slab allocator works; one caller at a time.
 */
void __meminit zf_percpu_init(struct zone *zone)
{
	struct zone_llfree *zl = zone->llfree;
	struct llfree *llf = &zl->core;
	/* The largest possible number: slots cannot be moved later. */
	const unsigned int room = IS_ENABLED(CONFIG_MEMORY_HOTPLUG) ? nr_cpu_ids :
								      zf_nr_slots(llf);
	const unsigned int nr = zf_nr_slots(llf);

	if (nr <= llfree_nr_slots(llf))
		return;
	/* kzalloc_node() aligns a block of a power of 2 to its size. */
	if (!zl->locals)
		zl->locals = kzalloc_node(roundup_pow_of_two(room * sizeof(*zl->locals)),
					  GFP_KERNEL, zone_to_nid(zone));
	if (!zl->locals || llfree_set_slots(llf, zl->locals, nr))
		pr_warn("%s: no memory for reservations\n", zone->name);
}

/**
 * zf_drain() - give back the reservations of a CPU
 * @zone: the zone
 * @cpu: the CPU; negative for all
 *
 * Reserved pages are free, and all CPUs can allocate them. Drain a CPU that is
 * going to be idle for long, so that other CPUs find its pages sooner.
 *
 * Context: any.
 */
void zf_drain(struct zone *zone, int cpu)
{
	struct llfree *llf = &zone->llfree->core;
	unsigned int nr = llfree_nr_slots(llf);

	if (cpu < 0)
		llfree_drain(llf, -1);
	else if (nr)
		llfree_drain(llf, cpu % nr);
}

/**
 * zf_shuffle() - hand out free pages in an order that is hard to guess
 * @zone: the zone
 *
 * See llfree_shuffle(). Without page_alloc.shuffle=1 nothing calls this function.
 *
 * Context: task, one caller at a time.
 */
void zf_shuffle(struct zone *zone)
{
	if (zone->llfree)
		llfree_shuffle(&zone->llfree->core, get_random_u64());
}

/* ---- Allocation ---- */

/*
 * Set the migratetype of a pageblock to that of a page allocated in the
 * pageblock. The caller leaves the migratetype alone if the page came from a
 * tree of another class that keeps its class. If pages are not grouped, only
 * the first allocation from an entirely free pageblock decides.
 */
static noinline void zf_set_migratetype(struct zone *zone, struct page *page,
					unsigned int order, int migratetype,
					bool begun)
{
	unsigned long flags;
	unsigned long i;
	int old;

	if (page_group_by_mobility_disabled ||
	    (!begun && !zf_grouped(&zone->llfree->core)))
		return;
	if (!zf_trylock(zone, &flags))
		return;
	for (i = 0; i < (1UL << order); i += pageblock_nr_pages) {
		old = get_pageblock_migratetype(page + i);
		if (old != migratetype && migratetype_is_mergeable(old))
			set_pageblock_migratetype(page + i, migratetype);
	}
	spin_unlock_irqrestore(&zone->lock, flags);
}

/*
 * Account for a page from memory of another migratetype. Boost the watermarks
 * as the buddy allocator does: not for entirely free blocks, nor for small
 * movable pages.
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
 * Account for an allocation in the zone: its counters, the migratetype of the
 * pageblock, and a page that came from memory of another migratetype.
 */
static __always_inline void zf_settle(struct zone *zone, struct page *page,
				      unsigned int order, int migratetype,
				      unsigned int alloc_flags,
				      const struct llfree_delta *delta)
{
	const unsigned int foreign = LLFREE_DID_DEMOTE | LLFREE_DID_STEAL;

	zf_account(zone, delta);
	/* A whole pageblock gets the migratetype of its owner. */
	if ((!(delta->did & LLFREE_DID_STEAL) || order >= pageblock_order) &&
	    unlikely(get_pageblock_migratetype(page) != migratetype))
		zf_set_migratetype(zone, page, order, migratetype,
				   delta->huge[LLFREE_VIEW_NORMAL]);
	if (unlikely(delta->did & foreign))
		zf_settle_foreign(zone, page, order, migratetype, alloc_flags,
				  delta);
}

/* May a request use CMA pageblocks, and have they free pages? */
static __always_inline bool zf_may_use_cma(struct zone *zone,
					   unsigned int alloc_flags)
{
	return IS_ENABLED(CONFIG_CMA) && (alloc_flags & ALLOC_CMA) &&
	       zone_page_state(zone, NR_FREE_CMA_PAGES);
}

/* Like __rmqueue(): CMA pageblocks first while they have most of the free pages */
static __always_inline bool zf_cma_first(struct zone *zone,
					 unsigned int alloc_flags)
{
	return zf_may_use_cma(zone, alloc_flags) &&
	       zone_page_state(zone, NR_FREE_CMA_PAGES) >
	       zone_page_state(zone, NR_FREE_PAGES) / 2;
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
	/* A whole pageblock does not mix with pages of another type. */
	req->flags = (alloc_flags & ALLOC_NOFRAGMENT) &&
		     order < pageblock_order ? LLFREE_ALLOC_NOFRAGMENT : 0;
	/* Other callers reclaim, or give up, where a search finds nothing. */
	if ((alloc_flags & ALLOC_NON_BLOCK) || !in_task())
		req->flags |= LLFREE_ALLOC_BOUNDED;
}

/*
 * The allocation of a block writes to its struct page. The next block is mostly
 * the one behind it, so zf_alloc_quick() prefetches the struct page of that
 * block if the block is free: else the prefetch would take the cache line from
 * its owner. The hardware prefetches the struct pages of blocks of lower
 * orders, which lie closer together.
 */
#define ZF_PREFETCH_ORDER	4

/*
 * The fast path: allocate a block where the CPU found the last one. The CPU has
 * reserved the tree for the class, and most pageblocks of the tree have the
 * migratetype. The fast path checks the migratetype when an entirely free
 * pageblock is broken up, and once for each further word, in case another CPU
 * held zone->lock before.
 *
 * Return: the page; NULL, and the changes in @delta, if the slow path has to
 *	run
 */
static __always_inline struct page *
zf_alloc_quick(struct zone *zone, unsigned int order, int migratetype, int slot,
	       bool refill, struct llfree_delta *delta)
{
	struct llfree *llf = &zone->llfree->core;
	unsigned int whole;
	struct page *page;
	long pfn;

	pfn = llfree_alloc_fast(llf, slot, order,
				zf_class(llf, order, migratetype), &whole, delta);
	if (unlikely(pfn < 0))
		return NULL;

	zf_check_exclusive(pfn, 1UL << order);
	page = pfn_to_page(pfn);
	if (order >= ZF_PREFETCH_ORDER && llfree_frame_is_free(llf, pfn + (1UL << order)))
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

/*
 * Allocate by a search. @delta has the changes so far, for which this function
 * accounts as well.
 */
static noinline struct page *
zf_alloc_search(struct zone *zone, const struct llfree_request *req,
		int migratetype, unsigned int alloc_flags, bool refill,
		struct llfree_delta *delta)
{
	const unsigned int order = req->order;
	struct page *page;
	long pfn;

	pfn = llfree_alloc_slow(&zone->llfree->core, req, delta);
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

/*
 * Allocate from pageblocks that only some requests may use. Search for a block
 * of the order only if the last search found one, or if one was freed since.
 */
static noinline struct page *
zf_alloc_view(struct zone *zone, unsigned int order, int migratetype,
	      unsigned int alloc_flags, enum llfree_view view)
{
	struct llfree_delta delta = { };
	struct llfree_request req;

	if (view == LLFREE_VIEW_HIGHATOMIC && !zf_nr_free_highatomic(zone))
		return NULL;
	if (!zf_view_has_order(zone, order, view))
		return NULL;
	zf_request(&req, &zone->llfree->core, order, migratetype, alloc_flags,
		   view);
	return zf_alloc_search(zone, &req, migratetype, alloc_flags, false, &delta);
}

/*
 * The slow path of zf_alloc(). Views are tried in the order of rmqueue_buddy()
 * and __rmqueue(): CMA pageblocks before pages that are kept for other
 * migratetypes.
 */
static noinline struct page *
zf_alloc_slow(struct zone *zone, unsigned int order, int migratetype,
	      unsigned int alloc_flags, struct llfree_delta *delta)
{
	struct llfree_request req;
	struct page *page = NULL;

	if (alloc_flags & ALLOC_HIGHATOMIC)
		page = zf_alloc_view(zone, order, migratetype, alloc_flags,
				     LLFREE_VIEW_HIGHATOMIC);
	if (page)
		return page;

	zf_request(&req, &zone->llfree->core, order, migratetype, alloc_flags,
		   LLFREE_VIEW_NORMAL);
	if (zf_may_use_cma(zone, alloc_flags) && order < pageblock_order) {
		const unsigned int flags = req.flags;

		req.flags |= LLFREE_ALLOC_NOFRAGMENT;
		page = zf_alloc_search(zone, &req, migratetype, alloc_flags,
				       false, delta);
		if (!page)
			page = zf_alloc_view(zone, order, migratetype,
					     alloc_flags, LLFREE_VIEW_CMA);
		if (page || (flags & LLFREE_ALLOC_NOFRAGMENT))
			return page;
		req.flags = flags;
		*delta = (struct llfree_delta){ };
	}
	page = zf_alloc_search(zone, &req, migratetype, alloc_flags, false,
			       delta);
	if (!page && zf_may_use_cma(zone, alloc_flags))
		page = zf_alloc_view(zone, order, migratetype, alloc_flags,
				     LLFREE_VIEW_CMA);
	/*
	 * OOM handling and (atomic) allocations may use the reserve: failing
	 * now is worse than failing a high-order atomic allocation later.
	 */
	if (unlikely(!page) && (alloc_flags & (ALLOC_OOM | ALLOC_NON_BLOCK)))
		page = zf_alloc_view(zone, order, migratetype, alloc_flags,
				     LLFREE_VIEW_HIGHATOMIC);
	return page;
}

/**
 * zf_alloc() - allocate a block of pages from a zone
 * @zone: the zone
 * @order: 0..MAX_PAGE_ORDER
 * @migratetype: use of the pages
 * @alloc_flags: ALLOC_NOFRAGMENT, ALLOC_CMA, ALLOC_HIGHATOMIC, ALLOC_OOM,
 *	ALLOC_NON_BLOCK and ALLOC_KSWAPD matter
 *
 * Return: the first page, as it was when it was freed; NULL if the zone has no
 *	such block that ALLOC_NOFRAGMENT allows, or if an interrupt or
 *	ALLOC_NON_BLOCK allowed no longer search
 */
struct page *zf_alloc(struct zone *zone, unsigned int order, int migratetype,
		      unsigned int alloc_flags)
{
	struct llfree_delta delta __uninitialized;
	int slot = zf_slot(&zone->llfree->core);
	struct page *page = NULL;

	if (unlikely(zf_cma_first(zone, alloc_flags))) {
		page = zf_alloc_view(zone, order, migratetype, alloc_flags,
				     LLFREE_VIEW_CMA);
		if (page)
			return page;
	}
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
 * @page: set to the last of the blocks
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

/* Do the work of zf_alloc_bulk() for blocks of several words. */
static unsigned int zf_bulk_large(struct zone *zone, struct llfree_request *req,
				  int migratetype, unsigned int alloc_flags,
				  unsigned int nr, struct list_head *list)
{
	struct page *page;
	unsigned int done;

	for (done = 0; done < nr; done++) {
		struct llfree_delta delta = { };

		page = NULL;
		if (likely(req->slot >= 0 && req->view == LLFREE_VIEW_NORMAL))
			page = zf_alloc_quick(zone, req->order, migratetype,
					      req->slot, true, &delta);
		if (unlikely(!page))
			page = zf_alloc_search(zone, req, migratetype,
					       alloc_flags, true, &delta);
		if (!page)
			break;
		/* After the first blocks, more are not worth a long search. */
		req->flags |= LLFREE_ALLOC_RESERVED;
		list_add_tail(&page->pcp_list, list);
	}
	return done;
}

/* Do the work of zf_alloc_bulk() for blocks of up to a word. */
static __always_inline unsigned int
zf_bulk_rows(struct zone *zone, struct llfree_request *req, int migratetype,
	     unsigned int alloc_flags, unsigned int nr, struct list_head *list)
{
	struct llfree *llf = &zone->llfree->core;
	struct llfree_delta delta = { };
	unsigned int done = 0, i;
	u64 masks[LLFREE_CHILD_ROWS];
	struct page *page;
	long pfn;

	while (done < nr) {
		pfn = llfree_alloc_batch(llf, req, nr - done, masks, &delta);
		if (pfn < 0)
			break;
		/* After the first blocks, more are not worth a long search. */
		req->flags |= LLFREE_ALLOC_RESERVED;

		for (i = 0; i < LLFREE_CHILD_ROWS; i++, pfn += LLFREE_ROW_FRAMES) {
			if (masks[i])
				done += zf_list_pages(list, pfn, masks[i], req->order,
						      migratetype, &page);
		}
		if (likely(req->view == LLFREE_VIEW_NORMAL))
			zf_settle(zone, page, req->order, migratetype,
				  alloc_flags, &delta);
		else
			zf_account(zone, &delta);
		delta = (struct llfree_delta){ };
	}
	zf_account(zone, &delta);
	return done;
}

/* Allocate from pageblocks of a view; @flags are LLFREE_ALLOC_* flags. */
static unsigned int zf_bulk_view(struct zone *zone, unsigned int order,
				 int migratetype, unsigned int alloc_flags,
				 unsigned int nr, struct list_head *list,
				 enum llfree_view view, unsigned int flags)
{
	struct llfree_request req;

	zf_request(&req, &zone->llfree->core, order, migratetype, alloc_flags,
		   view);
	req.flags |= flags;
	if (order > LLFREE_ROW_ORDER)
		return zf_bulk_large(zone, &req, migratetype, alloc_flags, nr,
				     list);
	return zf_bulk_rows(zone, &req, migratetype, alloc_flags, nr, list);
}

/*
 * Do the work of zf_alloc_bulk() for requests that may use CMA pageblocks,
 * while these have free pages.
 */
static noinline unsigned int
zf_alloc_bulk_cma(struct zone *zone, unsigned int order, int migratetype,
		  unsigned int alloc_flags, unsigned int nr,
		  struct list_head *list)
{
	const bool has_cma = zf_view_has_order(zone, order, LLFREE_VIEW_CMA);
	unsigned int done = 0;

	if (has_cma && zf_cma_first(zone, alloc_flags))
		done = zf_bulk_view(zone, order, migratetype, alloc_flags, nr,
				    list, LLFREE_VIEW_CMA, 0);
	if (!done)
		done = zf_bulk_view(zone, order, migratetype, alloc_flags, nr,
				    list, LLFREE_VIEW_NORMAL,
				    order < pageblock_order ?
				    LLFREE_ALLOC_NOFRAGMENT : 0);
	if (!done && has_cma)
		done = zf_bulk_view(zone, order, migratetype, alloc_flags, nr,
				    list, LLFREE_VIEW_CMA, 0);
	if (!done)
		done = zf_bulk_view(zone, order, migratetype, alloc_flags, nr,
				    list, LLFREE_VIEW_NORMAL, 0);
	return done;
}

/**
 * zf_alloc_bulk() - allocate many blocks of pages from a zone
 * @zone: the zone
 * @order: 0..MAX_PAGE_ORDER
 * @migratetype: use of the pages
 * @alloc_flags: see zf_alloc()
 * @nr: number of blocks
 * @list: pages are added to its tail by pcp_list
 *
 * Takes up to 2 MiB in one step. Stops short of @nr at the end of the pages
 * that the CPU has reserved. Also stops before a free block of 2 MiB if there
 * may be pages elsewhere.
 *
 * Return: number of blocks that were allocated; 0 only if zf_alloc() would
 *	return NULL
 */
unsigned int zf_alloc_bulk(struct zone *zone, unsigned int order,
			   int migratetype, unsigned int alloc_flags,
			   unsigned int nr, struct list_head *list)
{
	if (unlikely(zf_may_use_cma(zone, alloc_flags)))
		return zf_alloc_bulk_cma(zone, order, migratetype, alloc_flags,
					 nr, list);
	return zf_bulk_view(zone, order, migratetype, alloc_flags, nr, list,
			    LLFREE_VIEW_NORMAL, 0);
}

/* ---- Free ---- */

/*
 * Report a bad free. The pages stay allocated for good, since their owner is
 * not known.
 */
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

/* Free a block of several children. */
static noinline void zf_free_large(struct zone *zone, unsigned long pfn,
				   unsigned int order)
{
	struct llfree *llf = &zone->llfree->core;
	struct llfree_delta delta = { };

	if (unlikely(llfree_free(llf, zf_slot(llf), pfn, order, &delta)))
		zf_bad_free(zone, pfn, order);
	zf_account(zone, &delta);
}

/* Handle all results of llfree_free_fast() but the normal view. */
static noinline void zf_freed_elsewhere(struct zone *zone, unsigned long pfn,
					unsigned int order, int given)
{
	struct llfree_delta delta = { };
	unsigned int view;

	if (given < 0) {
		zf_bad_free(zone, pfn, order);
		return;
	}
	view = given & LLFREE_FREED_VIEW;
	if (view >= LLFREE_ALLOC_VIEWS)
		return;
	delta.frames[view] = 1 << order;
	delta.huge[view] = !!(given & LLFREE_FREED_WHOLE);
	zf_account_views(zone, &delta);
}

/**
 * zf_free() - free a block of pages
 * @zone: the zone
 * @pfn: first pfn
 * @order: any; the block may have been allocated in other pieces
 *
 * The pageblock decides which callers can have the pages. Pages of an isolated
 * pageblock are free, but neither visible nor counted. A block that is not
 * allocated, or only in part, is reported and left unchanged.
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
	given = llfree_free_fast(llf, zf_slot(llf), pfn, order);
	if (likely((given & LLFREE_FREED_VIEW) == LLFREE_VIEW_NORMAL)) {
		mod_zone_page_state(zone, NR_FREE_PAGES, 1L << order);
		if (given & LLFREE_FREED_WHOLE) {
			atomic_long_inc(&zone->llfree->nr_huge[LLFREE_VIEW_NORMAL]);
			page_reporting_notify_free(LLFREE_CHILD_ORDER);
		}
	} else {
		zf_freed_elsewhere(zone, pfn, order, given);
	}
}

/* Free pages one by one, to find those that are not allocated. */
static noinline void zf_free_each(struct zone *zone, unsigned long pfn, u64 mask,
				  struct llfree_delta *delta)
{
	struct llfree *llf = &zone->llfree->core;

	for (; mask; mask &= mask - 1)
		if (llfree_free(llf, zf_slot(llf), pfn + __ffs64(mask), 0, delta))
			zf_bad_free(zone, pfn + __ffs64(mask), 0);
}

static __always_inline void zf_free_word(struct zone *zone, unsigned long pfn,
					 u64 mask, struct llfree_delta *delta)
{
	struct llfree *llf = &zone->llfree->core;

	zf_check_exclusive_mask(pfn, mask);
	if (unlikely(llfree_free_batch(llf, zf_slot(llf), pfn, mask, delta)))
		zf_free_each(zone, pfn, mask, delta);
}

static __always_inline struct llfree_delta *batch_delta(struct zf_batch *batch)
{
	BUILD_BUG_ON(sizeof(struct llfree_delta) > sizeof(batch->counts) ||
		     __alignof__(struct llfree_delta) > __alignof__(batch->counts));
	return (struct llfree_delta *)batch->counts;
}

/**
 * zf_batch_add() - free a block of pages soon
 * @zone: the zone
 * @batch: after zf_batch_init(); all pages in it belong to @zone
 * @pfn: first pfn
 * @order: 0..MAX_PAGE_ORDER
 *
 * The pages are free after zf_batch_flush() at the latest, and counted as free
 * by then.
 */
void zf_batch_add(struct zone *zone, struct zf_batch *batch, unsigned long pfn,
		  unsigned int order)
{
	unsigned long row = ALIGN_DOWN(pfn, LLFREE_ROW_FRAMES);
	unsigned int i = (row >> LLFREE_ROW_ORDER) % ZF_BATCH_WORDS;
	struct llfree_delta *delta = batch_delta(batch);
	u64 mask;

	if (order >= LLFREE_ROW_ORDER) {
		zf_free(zone, pfn, order);
		return;
	}
	mask = ((1ULL << (1U << order)) - 1) << (pfn - row);
	if (!batch->used)
		*delta = (struct llfree_delta){ };
	if (batch->used & BIT(i)) {
		if (likely(batch->word[i].pfn == row &&
			   !(batch->word[i].mask & mask))) {
			batch->word[i].mask |= mask;
			return;
		}
		zf_free_word(zone, batch->word[i].pfn, batch->word[i].mask,
			     delta);
		if (delta->huge[LLFREE_VIEW_NORMAL] ||
		    delta->frames[LLFREE_VIEW_NORMAL] >= ZF_BATCH_PAGES) {
			zf_account(zone, delta);
			*delta = (struct llfree_delta){ };
		}
	}
	batch->used |= BIT(i);
	batch->word[i].pfn = row;
	batch->word[i].mask = mask;
}

/**
 * zf_batch_flush() - free all pages of a batch
 * @zone: the zone
 * @batch: the batch, which is empty afterwards
 */
void zf_batch_flush(struct zone *zone, struct zf_batch *batch)
{
	struct llfree_delta *delta = batch_delta(batch);
	unsigned int i;

	if (!batch->used)
		return;
	for (; batch->used; batch->used &= batch->used - 1) {
		i = __ffs(batch->used);
		zf_free_word(zone, batch->word[i].pfn, batch->word[i].mask,
			     delta);
	}
	zf_account(zone, delta);
}

#include "llfree_kunit.h"
