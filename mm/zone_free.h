/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The seam between the page allocator and mm/llfree.c: the functions that a
 * zone needs if LLFree, and not the buddy allocator, keeps its free pages.
 *
 * Call sites ask zf_active() and leave the buddy code unchanged next to the new
 * code. zf_active() is a static key that is set before the first zone exists
 * and never changes; without CONFIG_LLFREE it is false at compile time.
 *
 * pfns are absolute. Unless said otherwise, functions may be called in any
 * context, with or without zone->lock held, also from NMI where cmpxchg is safe
 * there. Functions take no lock and never wait. The backend accounts for free
 * pages itself, since only the backend knows in which view a page changed. The
 * backend does not touch struct page.
 */
#ifndef __MM_ZONE_FREE_H
#define __MM_ZONE_FREE_H

#include <linux/jump_label.h>
#include <linux/minmax.h>
#include <linux/mmzone.h>
#include <linux/page-flags.h>
#include <linux/preempt.h>
#include <linux/spinlock.h>

/* Flags of zf_claim(), zf_claim_range() and zf_next_block() */
/* Also take from isolated pageblocks. */
#define ZF_HIDDEN		0x1
/* Stop at the first page that is not free. */
#define ZF_STRICT		0x2
/* Only pageblocks that were not, or only in part, reported to a hypervisor */
#define ZF_UNREPORTED		0x4
/* Only pageblocks of MIGRATE_HIGHATOMIC */
#define ZF_HIGHATOMIC		0x8

/* Entirely free blocks of this order have a counter. */
#define ZF_COUNTED_ORDER	9

/*
 * Frees on their way to the zone, gathered by word. Pages of one word are freed
 * in one step, and several steps are accounted for together. A batch is private
 * to its user. Only words whose bit is in @used are valid. @counts is valid if
 * any word is: it has the changes by words that had to make room for others.
 */
#define ZF_BATCH_WORDS		8
/* A batch accounts for so many freed pages, or for a huge block, at once. */
#define ZF_BATCH_PAGES		256

struct zf_batch {
	unsigned int used;
	u32 counts[9];
	struct {
		unsigned long pfn;
		u64 mask;
	} word[ZF_BATCH_WORDS];
};

static inline void zf_batch_init(struct zf_batch *batch)
{
	batch->used = 0;
}

#ifdef CONFIG_LLFREE
DECLARE_STATIC_KEY_MAYBE(CONFIG_LLFREE_DEFAULT_ON, zf_key);

static __always_inline bool zf_active(void)
{
	return static_branch_maybe(CONFIG_LLFREE_DEFAULT_ON, &zf_key);
}
#else
/*
 * A macro, because the front end of the compiler removes code that depends on a
 * constant. Code that depends on an inline function is removed later, after it
 * has changed the allocation of registers.
 */
#define zf_active()	false
#endif

#ifdef CONFIG_LLFREE
/**
 * page_has_movable_ops() - can the driver of a page move the page?
 * @page: the page; the answer is a hint unless the page is locked
 *
 * A slab that was taken off a list has LIST_POISON2 where other pages have their
 * mapping, and bit 1 of it is set as by __SetPageMovable(). If memory offlining
 * took such a slab for a movable page, it would wait for the slab without end.
 * The kernel without LLFree is not changed.
 *
 * Context: any; takes no lock.
 *
 * Return: true if isolate_movable_page() may succeed
 */
static inline bool page_has_movable_ops(const struct page *page)
{
	return __PageMovable(page) && !PageSlab(page);
}
#else
#define page_has_movable_ops(page)	__PageMovable(page)
#endif

/* Life cycle */
void zf_add_range(struct zone *zone, unsigned long pfn, unsigned long nr);
void zf_percpu_init(struct zone *zone);
void zf_drain(struct zone *zone, int cpu);

/* Memory hotplug; the caller holds mem_hotplug_lock for writing */
int zf_grow(struct zone *zone, unsigned long pfn, unsigned long nr);
int zf_offline(struct zone *zone, unsigned long pfn, unsigned long end);
void zf_shrink(struct zone *zone, unsigned long pfn, unsigned long nr);

/* Allocation and free */
struct page *zf_alloc(struct zone *zone, unsigned int order, int migratetype,
		      unsigned int alloc_flags);
unsigned int zf_alloc_bulk(struct zone *zone, unsigned int order,
			   int migratetype, unsigned int alloc_flags,
			   unsigned int nr, struct list_head *list);
void zf_free(struct zone *zone, unsigned long pfn, unsigned int order);
void zf_batch_add(struct zone *zone, struct zf_batch *batch, unsigned long pfn,
		  unsigned int order);
void zf_batch_flush(struct zone *zone, struct zf_batch *batch);

/* Exact claims: a claim decides, a query before it is a hint */
bool zf_claim(struct zone *zone, unsigned long pfn, unsigned int order,
	      unsigned int flags);
unsigned long zf_claim_range(struct zone *zone, unsigned long *pfn,
			     unsigned long end, unsigned long want,
			     struct list_head lists[NR_PAGE_ORDERS],
			     unsigned int flags);

unsigned long zf_claim_all(struct zone *zone, unsigned long *pfn,
			   unsigned long end,
			   struct list_head lists[NR_PAGE_ORDERS]);

/* Pageblocks; the caller holds zone->lock, which serialises changes of views */
long zf_set_block(struct zone *zone, unsigned long pfn, int migratetype);
bool zf_hide_block(struct zone *zone, unsigned long pfn);

/* Pageblocks; these take zone->lock themselves */
void zf_init_cma_block(struct zone *zone, unsigned long pfn);
bool zf_unreserve_highatomic(struct zone *zone, int migratetype);

/* At boot, and when memory comes online */
void zf_shuffle(struct zone *zone);

/* Free page reporting */
void zf_free_reported(struct zone *zone, unsigned long pfn, unsigned int order,
		      bool reported);

/* Queries */
int zf_block_free(const struct zone *zone, unsigned long pfn, bool stable);
bool zf_wait_stable(const struct zone *zone, unsigned long pfn,
		    unsigned long end);
int zf_free_order(const struct zone *zone, unsigned long pfn);
unsigned long zf_next_block(const struct zone *zone, unsigned long pfn,
			    unsigned long limit, unsigned int min_free,
			    unsigned int max_free, unsigned int flags);
bool zf_has_order(const struct zone *zone, unsigned int order,
		  unsigned int alloc_flags);
bool zf_find_order(struct zone *zone, unsigned int order,
		   unsigned int alloc_flags);
void zf_count(const struct zone *zone, int migratetype,
	      unsigned long nr[NR_PAGE_ORDERS]);
unsigned long zf_free_blocks(const struct zone *zone,
			     unsigned long nr[NR_PAGE_ORDERS],
			     unsigned char types[NR_PAGE_ORDERS]);
void zf_count_recent(const struct zone *zone, unsigned long nr[NR_PAGE_ORDERS]);
unsigned long zf_nr_free_huge(const struct zone *zone);
unsigned int zf_extfrag_huge(struct zone *zone);

/* With either allocator */
unsigned int zf_nr_free_block(struct zone *zone, unsigned long pfn);

/*
 * Free pages in MIGRATE_HIGHATOMIC pageblocks. The count may be negative or stale for
 * a moment: an allocation may be counted before the free that made it possible.
 */
static inline unsigned long zf_nr_free_highatomic(const struct zone *zone)
{
	return max_t(long, READ_ONCE(zone->nr_free_highatomic), 0);
}

/*
 * Take zone->lock if the lock is free, for changes that are not worth waiting
 * for. Neither an NMI nor a hardirq of PREEMPT_RT, where the lock sleeps, may
 * do that.
 */
static inline bool zf_trylock(struct zone *zone, unsigned long *flags)
{
	if (in_nmi() || (IS_ENABLED(CONFIG_PREEMPT_RT) && in_hardirq()))
		return false;
	return spin_trylock_irqsave(&zone->lock, *flags);
}

/*
 * In mm/page_alloc.c: raise watermarks after a fallback, as the buddy code does
 */
void zone_boost_fallback(struct zone *zone, unsigned int alloc_flags);

#endif /* __MM_ZONE_FREE_H */
