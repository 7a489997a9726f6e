// SPDX-License-Identifier: GPL-2.0
/*
 * Torture test of page isolation and of contiguous allocation.
 *
 * Workers allocate and free blocks of all orders, while movers isolate
 * pageblocks, make them visible again, and allocate ranges of frames. The test
 * does not start at boot; files in /sys/kernel/debug/page_isolation_torture
 * control it:
 *
 *   run         Write seconds to run, 0 to stop now. Read the seconds left.
 *   stats       Counts of operations since the last start
 *   blocks      Read to allocate up to 1000 blocks of the highest order, print
 *               their frame numbers in the order of allocation, and free them.
 *   limit_mb    How much memory the workers hold at most
 *   max_blocks  How many pageblocks a mover isolates at once, at most
 *   unmovable   Share of blocks in percent that let isolation fail
 *   hold_us     How long a mover keeps pageblocks isolated, at most
 *
 * A pageblock is *published* from the end of its isolation and of the drain to
 * the begin of its un-isolation. Publications are numbered. A worker reads the
 * last number before it allocates. If the worker gets a page of a pageblock
 * that is published with that or an earlier number, the allocator has handed
 * out an isolated page. Such a report is never false, and the worker takes no
 * lock.
 *
 * A mover that disables the per-CPU lists before isolation publishes for all
 * orders. A mover that only drains the lists, as alloc_contig_range() does,
 * publishes for the orders without per-CPU lists: a concurrent free may put a
 * page on such a list after the drain, which is a known limit of page
 * isolation.
 *
 * Two isolated pageblocks may merge to one free block of the buddy allocator,
 * which alloc_contig_range() then takes as a whole. So each mover claims all
 * MAX_PAGE_ORDER blocks that it touches. Nothing else should isolate pages during
 * a run: alloc_contig_range() ends the isolation of its range even if another
 * caller isolated it.
 *
 * Isolation succeeds with used pages in the pageblock if the pages are
 * PageOffline() and the mover isolates for MEMORY_OFFLINE. Workers mark most of
 * their pages so. These pages are freed to pageblocks that are isolated.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cpu.h>
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/kthread.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/page-isolation.h>
#include <linux/prandom.h>
#include <linux/random.h>
#include <linux/ratelimit.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <linux/vmstat.h>

#include "internal.h"
#include "torture_run.h"

/* Tasks on each CPU */
#define NR_WORKERS	2
#define NR_MOVERS	1
/*
 * Most blocks that a worker holds, and most blocks on their way to another
 * worker
 */
#define NR_HELD		128
#define NR_EXCHANGED	64
/*
 * Recently allocated frames, which movers choose to race with workers more
 * often
 */
#define NR_RECENT	256
/* Most blocks that "blocks" shows */
#define NR_SHOWN	1000

enum count {
	COUNT_ALLOCS,
	COUNT_FAILED,
	COUNT_FREES,
	COUNT_MOVED,
	COUNT_HIDDEN_FREES,
	COUNT_ISOLATED,
	COUNT_STRICT,
	COUNT_BUSY,
	COUNT_TESTED_FREE,
	COUNT_TESTED_USED,
	COUNT_REFUSED,
	COUNT_SLIPPED,
	COUNT_CONTIG,
	COUNT_CONTIG_COMP,
	COUNT_CONTIG_FAILED,
	NR_COUNTS,
};

static const char * const count_names[NR_COUNTS] = {
	[COUNT_ALLOCS] = "allocs",
	[COUNT_FAILED] = "failed",
	[COUNT_FREES] = "frees",
	[COUNT_MOVED] = "moved",
	[COUNT_HIDDEN_FREES] = "hidden_frees",
	[COUNT_ISOLATED] = "isolated",
	[COUNT_STRICT] = "strict",
	[COUNT_BUSY] = "busy",
	[COUNT_TESTED_FREE] = "tested_free",
	[COUNT_TESTED_USED] = "tested_used",
	[COUNT_REFUSED] = "refused",
	[COUNT_SLIPPED] = "slipped",
	[COUNT_CONTIG] = "contig",
	[COUNT_CONTIG_COMP] = "contig_comp",
	[COUNT_CONTIG_FAILED] = "contig_failed",
};

/**
 * struct block - state of a pageblock
 * @published: number of the publication, times two, plus one if the publication
 *	is for all orders; 0 if the pageblock is not published
 * @held: pages of the pageblock that workers hold
 * @fixed: number of blocks of workers that begin in it and let isolation fail
 */
struct block {
	atomic_long_t published;
	atomic_t held, fixed;
};

/**
 * struct held - pages that a worker holds
 * @page: first page, NULL if there is none
 * @word: value that the worker wrote into each page
 * @cpu: CPU of the worker that allocated the pages
 * @order: order of the allocation
 * @offline: whether the pages are PageOffline()
 */
struct held {
	struct page *page;
	u64 word;
	unsigned int cpu;
	u8 order;
	bool offline;
};

/**
 * struct actor - a worker or a mover
 * @task: thread of the actor
 * @rnd: state of random numbers
 * @cpu: CPU to which the actor is bound
 * @seq: number of the mark that the actor wrote last
 * @counts: counts of operations
 * @held: the pages of a worker
 */
struct actor {
	struct task_struct *task;
	struct rnd_state rnd;
	unsigned int cpu;
	u32 seq;
	u64 counts[NR_COUNTS];
	struct held held[NR_HELD];
};

/* State of a zone before the run and after it */
static struct zone_state {
	struct zone *zone;
	unsigned long isolated, isolated_after;
	unsigned long free, free_after;
} zone_states[MAX_NUMNODES * MAX_NR_ZONES];

static struct block *blocks;
static unsigned long *claims;	/* one bit for each MAX_PAGE_ORDER block */
static atomic_long_t publications;
static atomic_long_t pages_held;
static atomic_t violations;	/* isolated pages handed out */
static atomic_t problems;	/* everything else that is wrong */

static unsigned long recent[NR_RECENT];	/* frames that workers allocated */
static struct held exchange[NR_EXCHANGED];
static DEFINE_SPINLOCK(exchange_lock);

static struct actor **actors;
static unsigned int nr_actors, nr_zones;

static struct knob {
	const char *name;
	u32 value, min, max;
} knobs[] = {
	{ "limit_mb", 64, 1, U32_MAX },
	{ "max_blocks", 4, 1, 64 },
	{ "unmovable", 5, 0, 100 },
	{ "hold_us", 2000, 0, 1000000 },
};

enum { LIMIT_MB, MAX_BLOCKS, UNMOVABLE, HOLD_US };

static u32 knob(unsigned int i)
{
	return READ_ONCE(knobs[i].value);
}

static u32 rnd(struct actor *a, u32 below)
{
	return prandom_u32_state(&a->rnd) % below;
}

static struct block *block_of(unsigned long pfn)
{
	return &blocks[pfn >> pageblock_order];
}

static bool may_report(void)
{
	static DEFINE_RATELIMIT_STATE(rs, 5 * HZ, 10);

	return __ratelimit(&rs);
}

#define problem(fmt, ...)						\
	do {								\
		atomic_inc(&problems);					\
		if (may_report())					\
			WARN(1, fmt, ##__VA_ARGS__);			\
	} while (0)

/* ---- Marks ---- */

static u64 mark_new(struct actor *a)
{
	return (u64)0x150a << 48 | (u64)a->cpu << 32 | ++a->seq;
}

static void mark_write(unsigned long pfn, unsigned long nr, u64 word)
{
	for (; nr--; pfn++) {
		u64 *at = page_address(pfn_to_page(pfn));

		WRITE_ONCE(at[0], word);
		WRITE_ONCE(at[PAGE_SIZE / 16], word);
	}
}

static void mark_check(unsigned long pfn, unsigned long nr, u64 word)
{
	for (; nr--; pfn++) {
		u64 *at = page_address(pfn_to_page(pfn));
		u64 a = READ_ONCE(at[0]), b = READ_ONCE(at[PAGE_SIZE / 16]);

		if (likely(a == word && b == word))
			continue;
		problem("pfn %#lx has two owners: %#llx and %#llx instead of %#llx\n",
			pfn, a, b, word);
		return;
	}
}

/* ---- Workers ---- */

static bool has_pcp_list(unsigned int order)
{
	return order <= PAGE_ALLOC_COSTLY_ORDER || order == pageblock_order;
}

static void held_add(unsigned long pfn, const struct held *h, int sign)
{
	unsigned long end = pfn + (1UL << h->order);
	unsigned int nr = min(1UL << h->order, pageblock_nr_pages);

	/* Tail pages alone do not let isolation fail. */
	if (!h->offline)
		atomic_add(sign, &block_of(pfn)->fixed);
	for (; pfn < end; pfn += nr)
		atomic_add(sign * (int)nr, &block_of(pfn)->held);
}

/* Check an allocation. @last is the last publication before the allocation. */
static void published_check(unsigned long pfn, unsigned int order, long last)
{
	unsigned long end = pfn + (1UL << order);

	for (; pfn < end; pfn += pageblock_nr_pages) {
		long n = atomic_long_read(&block_of(pfn)->published);

		if (likely(!n || n >> 1 > last) ||
		    (!(n & 1) && has_pcp_list(order)))
			continue;
		atomic_inc(&violations);
		WARN_ONCE(1, "pfn %#lx order %u was handed out of an isolated pageblock\n",
			  pfn, order);
	}
}

static unsigned int pick_order(struct actor *a)
{
	u32 r = rnd(a, 100);

	if (r < 60)
		return 0;
	if (r < 85)
		return rnd(a, PAGE_ALLOC_COSTLY_ORDER + 1);
	if (r < 98)
		return rnd(a, pageblock_order);
	return rnd(a, MAX_PAGE_ORDER + 1);
}

static void pages_alloc(struct actor *a, struct held *h)
{
	gfp_t gfp = GFP_KERNEL | __GFP_NOWARN | __GFP_NORETRY;
	unsigned int order = pick_order(a), i;
	struct page *page;
	long last;

	if (atomic_long_read(&pages_held) + (1L << order) >
	    (long)knob(LIMIT_MB) << (20 - PAGE_SHIFT))
		return;
	/* A pageblock of offline tail pages alone tests as free. */
	h->offline = order <= pageblock_order && rnd(a, 100) >= knob(UNMOVABLE);
	if (h->offline)
		gfp |= __GFP_MOVABLE;
	else if (rnd(a, 2))
		gfp |= __GFP_RECLAIMABLE;

	/* Orders this read before the allocation, see publish(). */
	last = atomic_long_read_acquire(&publications);
	page = alloc_pages(gfp, order);
	if (!page) {
		a->counts[COUNT_FAILED]++;
		return;
	}
	published_check(page_to_pfn(page), order, last);
	h->order = order;
	held_add(page_to_pfn(page), h, 1);
	atomic_long_add(1L << order, &pages_held);
	if (h->offline)
		for (i = 0; i < 1U << order; i++)
			__folio_set_offline(page_folio(page + i));
	h->page = page;
	h->cpu = a->cpu;
	h->word = mark_new(a);
	mark_write(page_to_pfn(page), 1UL << order, h->word);
	WRITE_ONCE(recent[h->word % NR_RECENT], page_to_pfn(page));
	a->counts[COUNT_ALLOCS]++;
}

static void pages_free(struct actor *a, struct held *h)
{
	unsigned long pfn = page_to_pfn(h->page);
	unsigned int i, nr = 1U << h->order;
	struct page *page = h->page;

	mark_check(pfn, nr, h->word);
	a->counts[COUNT_FREES]++;
	a->counts[COUNT_MOVED] += h->cpu != a->cpu;
	a->counts[COUNT_HIDDEN_FREES] +=
		!!atomic_long_read(&block_of(pfn)->published);
	if (h->offline)
		for (i = 0; i < nr; i++)
			__folio_clear_offline(page_folio(page + i));
	h->page = NULL;
	atomic_long_sub(nr, &pages_held);
	/* Before the free: until then, test_pages_isolated() must say -EBUSY. */
	held_add(pfn, h, -1);
	if (h->order && !rnd(a, 4)) {
		split_page(page, h->order);
		for (i = 0; i < nr; i++)
			__free_page(page + i);
	} else {
		__free_pages(page, h->order);
	}
}

static int worker(void *data)
{
	struct actor *a = data;
	unsigned int i;

	while (!kthread_should_stop()) {
		struct held *h = &a->held[rnd(a, NR_HELD)];

		if (!rnd(a, 4)) {
			struct held *e = &exchange[rnd(a, NR_EXCHANGED)];

			spin_lock(&exchange_lock);
			swap(*h, *e);
			spin_unlock(&exchange_lock);
		}
		if (!h->page)
			pages_alloc(a, h);
		else if (rnd(a, 2))
			pages_free(a, h);
		cond_resched();
	}
	for (i = 0; i < NR_HELD; i++)
		if (a->held[i].page)
			pages_free(a, &a->held[i]);
	return 0;
}

/* ---- Movers ---- */

/**
 * struct area - pageblocks, or a range of frames, of a mover
 * @zone: their zone
 * @start: first frame
 * @end: frame after the last one
 * @claim_start: first frame of the first claimed MAX_PAGE_ORDER block
 * @claim_end: frame after the last such block
 */
struct area {
	struct zone *zone;
	unsigned long start, end;
	unsigned long claim_start, claim_end;
};

static void release(struct area *r)
{
	unsigned long pfn;

	for (pfn = r->claim_start; pfn < r->claim_end; pfn += MAX_ORDER_NR_PAGES)
		clear_bit_unlock(pfn >> MAX_PAGE_ORDER, claims);
}

/*
 * Are all pageblocks online, in the zone, and of a type that can be restored?
 */
static bool usable(struct zone *zone, unsigned long start, unsigned long end)
{
	unsigned long pfn = pageblock_start_pfn(start);

	for (; pfn < end; pfn += pageblock_nr_pages) {
		struct page *page;

		page = __pageblock_pfn_to_page(pfn, pfn + pageblock_nr_pages,
					       zone);
		if (!page || get_pageblock_migratetype(page) >= MIGRATE_PCPTYPES)
			return false;
	}
	return true;
}

/* Claim random frames of a zone, aligned to an order. */
static bool claim(struct actor *a, struct area *r, unsigned long nr,
		  unsigned int align)
{
	unsigned long pfn, first;

	pfn = rnd(a, 2) ? READ_ONCE(recent[rnd(a, NR_RECENT)]) : 0;
	r->zone = pfn ? page_zone(pfn_to_page(pfn)) :
			zone_states[rnd(a, nr_zones)].zone;
	first = ALIGN(r->zone->zone_start_pfn, 1UL << align);
	if (first + nr > zone_end_pfn(r->zone))
		return false;
	if (!pfn)
		pfn = first + rnd(a, zone_end_pfn(r->zone) - nr - first + 1);
	r->start = clamp(ALIGN_DOWN(pfn, 1UL << align), first,
			 ALIGN_DOWN(zone_end_pfn(r->zone) - nr, 1UL << align));
	r->end = r->start + nr;
	r->claim_start = ALIGN_DOWN(r->start, MAX_ORDER_NR_PAGES);
	r->claim_end = ALIGN(r->end, MAX_ORDER_NR_PAGES);
	for (pfn = r->claim_start; pfn < r->claim_end;
	     pfn += MAX_ORDER_NR_PAGES) {
		if (test_and_set_bit_lock(pfn >> MAX_PAGE_ORDER, claims)) {
			r->claim_end = pfn;
			release(r);
			return false;
		}
	}
	if (usable(r->zone, r->start, r->end))
		return true;
	release(r);
	return false;
}

/*
 * Check pageblocks that the mover has claimed. Only the mover isolates them, so
 * the answer is exact.
 */
static void expect_isolated(unsigned long start, unsigned long end,
			    bool isolated, const char *after)
{
	unsigned long pfn;

	for (pfn = start; pfn < end; pfn += pageblock_nr_pages)
		if (is_migrate_isolate_page(pfn_to_page(pfn)) != isolated)
			problem("pfn %#lx is%s isolated after %s\n", pfn,
				isolated ? " not" : "", after);
}

static void publish(struct area *r, bool strict)
{
	unsigned long pfn;
	long n;

	/*
	 * Full barrier: a worker that reads this number allocates after the
	 * isolation.
	 */
	n = atomic_long_inc_return(&publications);
	for (pfn = r->start; pfn < r->end; pfn += pageblock_nr_pages)
		atomic_long_set(&block_of(pfn)->published, n << 1 | strict);
}

static void unpublish(struct area *r)
{
	unsigned long pfn;

	for (pfn = r->start; pfn < r->end; pfn += pageblock_nr_pages)
		atomic_long_set(&block_of(pfn)->published, 0);
	/* The allocator may hand out pages only after this is visible. */
	smp_mb();
}

static long range_held(struct area *r)
{
	unsigned long pfn;
	long held = 0;

	for (pfn = r->start; pfn < r->end; pfn += pageblock_nr_pages)
		held += atomic_read(&block_of(pfn)->held);
	return held;
}

/*
 * Has a racing allocation put a page that cannot move in the range? The
 * allocation was under way when the range was isolated for MEMORY_OFFLINE.
 * Memory offlining then waits for the owner of the page.
 */
static bool range_slipped(struct area *r)
{
	unsigned long pfn;

	for (pfn = r->start; pfn < r->end; pfn += pageblock_nr_pages)
		if (atomic_read(&block_of(pfn)->fixed))
			return zone_idx(r->zone) != ZONE_MOVABLE;
	return false;
}

static bool range_free(struct area *r)
{
	unsigned long pfn;

	for (pfn = r->start; pfn < r->end; pfn++)
		if (!is_free_buddy_page(pfn_to_page(pfn)))
			return false;
	return true;
}

/*
 * Check the result of test_pages_isolated(). Isolated pages are freed, but not
 * allocated. So a range that was entirely free stays so, and workers hold none
 * of its pages.
 */
static bool range_test(struct actor *a, struct area *r, int flags,
		       bool was_free)
{
	bool is_free = was_free || range_free(r);
	int ret = test_pages_isolated(r->start, r->end, flags);

	if (ret && ret != -EBUSY)
		problem("test_pages_isolated: %d\n", ret);
	if (ret && is_free)
		problem("pfn %#lx-%#lx, isolated and entirely free, tests as used\n",
			r->start, r->end - 1);
	if (!ret && range_held(r))
		problem("pfn %#lx-%#lx tests as free, but workers hold %ld pages\n",
			r->start, r->end - 1, range_held(r));
	a->counts[ret ? COUNT_TESTED_USED : COUNT_TESTED_FREE]++;
	return !ret;
}

/*
 * Check that isolation of a range that overlaps isolated pageblocks is refused,
 * and changes nothing.
 */
static void refusals(struct actor *a, struct area *r, int flags)
{
	unsigned long start = r->claim_start, end = r->claim_end;
	int ret;

	if (usable(r->zone, start, r->start) && usable(r->zone, r->end, end)) {
		ret = start_isolate_page_range(start, end, MIGRATE_MOVABLE,
					       flags, GFP_KERNEL);
		if (ret != -EBUSY)
			problem("isolation of a partly isolated range: %d\n",
				ret);
		expect_isolated(start, r->start, false, "refused isolation");
		expect_isolated(r->end, end, false, "refused isolation");
	}
	ret = start_isolate_page_range(r->start, r->start + 1, MIGRATE_MOVABLE,
				       flags, GFP_KERNEL);
	if (ret != -EBUSY)
		problem("second isolation: %d\n", ret);
	expect_isolated(r->start, r->end, true, "refused isolation");
	a->counts[COUNT_REFUSED]++;
}

static void isolate_step(struct actor *a)
{
	int flags = rnd(a, 8) ? MEMORY_OFFLINE : 0, ret;
	bool strict = rnd(a, 2), is_free;
	unsigned long inside;
	struct area r;

	if (!claim(a, &r, (1 + rnd(a, knob(MAX_BLOCKS))) << pageblock_order,
		   pageblock_order))
		return;
	/*
	 * Isolation of a range that is not aligned isolates all of its
	 * pageblocks.
	 */
	inside = rnd(a, 2) ? 0 : rnd(a, pageblock_nr_pages / 2);
	if (strict)
		zone_pcp_disable(r.zone);
	ret = start_isolate_page_range(r.start + inside, r.end - inside,
				       MIGRATE_MOVABLE, flags, GFP_KERNEL);
	if (ret) {
		if (ret != -EBUSY)
			problem("start_isolate_page_range: %d\n", ret);
		expect_isolated(r.start, r.end, false, "failed isolation");
		a->counts[COUNT_BUSY]++;
		goto out;
	}
	expect_isolated(r.start, r.end, true, "isolation");
	if (!strict)
		drain_all_pages(r.zone);
	publish(&r, strict);
	a->counts[COUNT_ISOLATED]++;
	a->counts[COUNT_STRICT] += strict;

	is_free = range_test(a, &r, flags, false);
	if (knob(HOLD_US))
		fsleep(rnd(a, knob(HOLD_US)) + 1);
	if (!rnd(a, 4))
		refusals(a, &r, flags);
	range_test(a, &r, flags, is_free);
	a->counts[COUNT_SLIPPED] += strict && !inside &&
				    (flags & MEMORY_OFFLINE) && range_slipped(&r);

	unpublish(&r);
	undo_isolate_page_range(r.start + inside, r.end - inside,
				MIGRATE_MOVABLE);
	expect_isolated(r.start, r.end, false, "un-isolation");
	/*
	 * A second un-isolation has no effect: check the zone's count in stats.
	 */
	if (!rnd(a, 4))
		undo_isolate_page_range(r.start, r.end, MIGRATE_MOVABLE);
out:
	if (strict)
		zone_pcp_enable(r.zone);
	release(&r);
}

/* Free the pages of a range as blocks of random orders. */
static void contig_free_blocks(struct actor *a, struct area *r)
{
	unsigned long pfn = r->start, i;

	while (pfn < r->end) {
		unsigned int order = pfn ? __ffs(pfn) : MAX_PAGE_ORDER;

		order = rnd(a, min(order, MAX_PAGE_ORDER) + 1);
		while (pfn + (1UL << order) > r->end)
			order--;
		for (i = 1; i < 1UL << order; i++)
			set_page_count(pfn_to_page(pfn + i), 0);
		__free_pages(pfn_to_page(pfn), order);
		pfn += 1UL << order;
	}
}

static void contig_free(struct actor *a, struct area *r, bool comp)
{
	unsigned long pfn;

	switch (comp ? 0 : rnd(a, 3)) {
	case 0:
		free_contig_range(r->start, r->end - r->start);
		break;
	case 1:
		for (pfn = r->start; pfn < r->end; pfn += 2)
			__free_page(pfn_to_page(pfn));
		for (pfn = r->start + 1; pfn < r->end; pfn += 2)
			__free_page(pfn_to_page(pfn));
		break;
	case 2:
		contig_free_blocks(a, r);
		break;
	}
}

static void contig_step(struct actor *a)
{
	gfp_t gfp = GFP_KERNEL | __GFP_NOWARN;
	bool comp = !rnd(a, 4);
	unsigned int order = 0;
	unsigned long nr, pfn;
	struct area r;
	u64 word;
	int ret;

	/* Smaller compound ranges may lie in a larger free block. */
	if (comp) {
		order = MAX_PAGE_ORDER + rnd(a, 2);
		nr = 1UL << order;
		gfp |= __GFP_COMP;
	} else if (rnd(a, 2)) {
		nr = 1 + rnd(a, 64);
	} else {
		nr = 1 + rnd(a, knob(MAX_BLOCKS) << pageblock_order);
	}
	if (!claim(a, &r, nr, order))
		return;
	ret = alloc_contig_range(r.start, r.end, MIGRATE_MOVABLE, gfp);
	expect_isolated(pageblock_start_pfn(r.start), r.end, false,
			"alloc_contig_range");
	if (ret) {
		if (ret != -EBUSY && ret != -ENOMEM)
			problem("alloc_contig_range: %d\n", ret);
		a->counts[COUNT_CONTIG_FAILED]++;
		goto out;
	}
	for (pfn = r.start; pfn < r.end; pfn++) {
		struct page *page = pfn_to_page(pfn);
		int want = !comp || pfn == r.start;

		if (page_ref_count(page) != want ||
		    (comp && compound_head(page) != pfn_to_page(r.start)))
			problem("pfn %#lx of an allocated range: count %d\n",
				pfn, page_ref_count(page));
	}
	word = mark_new(a);
	mark_write(r.start, nr, word);
	if (knob(HOLD_US))
		fsleep(rnd(a, knob(HOLD_US)) + 1);
	mark_check(r.start, nr, word);
	contig_free(a, &r, comp);
	a->counts[comp ? COUNT_CONTIG_COMP : COUNT_CONTIG]++;
out:
	release(&r);
}

/* Call alloc_contig_range() with ranges and flags that it has to refuse. */
static void bad_input_step(struct actor *a)
{
	struct zone_state *zs = &zone_states[rnd(a, nr_zones)];
	unsigned long edge = zone_end_pfn(zs->zone);
	struct area r = { .zone = zs->zone };
	struct page *next;
	int ret;

	if (!claim(a, &r, pageblock_nr_pages, pageblock_order))
		return;
	ret = alloc_contig_range(r.start, r.end, MIGRATE_MOVABLE,
				 GFP_KERNEL | __GFP_HIGH);
	if (ret != -EINVAL)
		problem("alloc_contig_range with a bad gfp mask: %d\n", ret);
	expect_isolated(r.start, r.end, false, "refused allocation");
	release(&r);

	next = pfn_to_online_page(edge);
	if (!next || page_zone(next) == zs->zone ||
	    !IS_ALIGNED(edge, MAX_ORDER_NR_PAGES))
		return;
	r.zone = zs->zone;
	r.claim_start = edge - MAX_ORDER_NR_PAGES;
	r.claim_end = edge + MAX_ORDER_NR_PAGES;
	if (test_and_set_bit_lock(r.claim_start >> MAX_PAGE_ORDER, claims))
		return;
	if (test_and_set_bit_lock(edge >> MAX_PAGE_ORDER, claims)) {
		r.claim_end = edge;
		release(&r);
		return;
	}
	ret = alloc_contig_range(edge - 16, edge + 16, MIGRATE_MOVABLE,
				 GFP_KERNEL | __GFP_NOWARN);
	if (ret != -EBUSY && ret != -EINVAL)
		problem("alloc_contig_range across zones: %d\n", ret);
	expect_isolated(edge - pageblock_nr_pages, edge + pageblock_nr_pages,
			false, "refused allocation");
	release(&r);
	a->counts[COUNT_REFUSED]++;
}

static int mover(void *data)
{
	struct actor *a = data;

	while (!kthread_should_stop()) {
		u32 r = rnd(a, 100);

		if (r < 60)
			isolate_step(a);
		else if (r < 98)
			contig_step(a);
		else
			bad_input_step(a);
		cond_resched();
	}
	return 0;
}

/* ---- Runs ---- */

static void zones_look(bool after)
{
	struct zone *zone;
	unsigned int i = 0;

	lru_add_drain_all();
	drain_all_pages(NULL);
	for_each_populated_zone(zone) {
		struct zone_state *zs = &zone_states[i++];
		unsigned long nr = zone_page_state_snapshot(zone, NR_FREE_PAGES);

		zs->zone = zone;
		if (!after) {
			zs->isolated = zone->nr_isolate_pageblock;
			zs->free = nr;
		}
		zs->isolated_after = zone->nr_isolate_pageblock;
		zs->free_after = nr;
		if (zs->isolated_after != zs->isolated)
			problem("zone %s: %lu pageblocks isolated, %lu before the run\n",
				zone->name, zs->isolated_after, zs->isolated);
	}
	nr_zones = i;
}

static void torture_stop(void)
{
	unsigned long i;

	for (i = 0; i < nr_actors; i++)
		kthread_stop(actors[i]->task);
	for (i = 0; i < NR_EXCHANGED; i++)
		if (exchange[i].page)
			pages_free(actors[0], &exchange[i]);
	for (i = 0; i << pageblock_order < max_pfn; i++)
		if (atomic_long_read(&blocks[i].published) ||
		    atomic_read(&blocks[i].held))
			problem("pfn %#lx: published or held after the run\n",
				i << pageblock_order);
	zones_look(true);
}

static void actors_free(void)
{
	while (nr_actors)
		kvfree(actors[--nr_actors]);
	kvfree(actors);
	actors = NULL;
}

static int actor_start(unsigned int cpu, bool is_mover)
{
	struct actor *a = kvzalloc(sizeof(*a), GFP_KERNEL);

	if (!a)
		return -ENOMEM;
	a->cpu = cpu;
	prandom_seed_state(&a->rnd, get_random_u64());
	a->task = kthread_create_on_cpu(is_mover ? mover : worker, a, cpu,
					is_mover ? "isolate_mover/%u" :
						   "isolate_worker/%u");
	if (IS_ERR(a->task)) {
		int ret = PTR_ERR(a->task);

		kvfree(a);
		return ret;
	}
	actors[nr_actors++] = a;
	wake_up_process(a->task);
	return 0;
}

static int torture_start(void)
{
	unsigned int cpu, i;
	int ret = 0;

	actors_free();
	actors = kvcalloc(num_possible_cpus() * (NR_WORKERS + NR_MOVERS),
			  sizeof(*actors), GFP_KERNEL);
	if (!actors)
		return -ENOMEM;
	atomic_set(&violations, 0);
	atomic_set(&problems, 0);
	zones_look(false);
	cpus_read_lock();
	for_each_online_cpu(cpu)
		for (i = 0; i < NR_WORKERS + NR_MOVERS && !ret; i++)
			ret = actor_start(cpu, i >= NR_WORKERS);
	cpus_read_unlock();
	if (ret)
		torture_stop();
	return ret;
}

static struct torture_run run = {
	.start = torture_start,
	.stop = torture_stop,
};

static int stats_show(struct seq_file *m, void *unused)
{
	unsigned int i, j;

	mutex_lock(&run.lock);
	for (i = 0; i < NR_COUNTS; i++) {
		u64 sum = 0;

		for (j = 0; j < nr_actors; j++)
			/* The actors may be counting meanwhile. */
			sum += data_race(actors[j]->counts[i]);
		seq_printf(m, "%s %llu\n", count_names[i], sum);
	}
	for (i = 0; i < nr_zones; i++) {
		struct zone_state *zs = &zone_states[i];

		seq_printf(m, "zone %d/%s isolated %lu %lu free %lu %lu\n",
			   zone_to_nid(zs->zone), zs->zone->name, zs->isolated,
			   zs->isolated_after, zs->free, zs->free_after);
	}
	seq_printf(m, "held %ld\n", atomic_long_read(&pages_held));
	seq_printf(m, "violations %d\n", atomic_read(&violations));
	seq_printf(m, "problems %d\n", atomic_read(&problems));
	mutex_unlock(&run.lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(stats);

/* ---- Order of blocks ---- */

static int blocks_show(struct seq_file *m, void *unused)
{
	struct page **pages;
	unsigned int i, nr;

	pages = kvcalloc(NR_SHOWN, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return -ENOMEM;
	for (nr = 0; nr < NR_SHOWN; nr++) {
		pages[nr] = alloc_pages(GFP_KERNEL | __GFP_NOWARN |
					__GFP_NORETRY, MAX_PAGE_ORDER);
		if (!pages[nr])
			break;
	}
	for (i = 0; i < nr; i++)
		seq_printf(m, "%#lx\n", page_to_pfn(pages[i]));
	/* Free the last block first, to restore the order of the free lists. */
	while (nr--)
		__free_pages(pages[nr], MAX_PAGE_ORDER);
	kvfree(pages);
	return 0;
}

static int blocks_open(struct inode *inode, struct file *file)
{
	return single_open_size(file, blocks_show, NULL, NR_SHOWN * 20);
}

static const struct file_operations blocks_fops = {
	.owner = THIS_MODULE,
	.open = blocks_open,
	.read = seq_read,
	.llseek = seq_lseek,
	.release = single_release,
};

/* ---- Module ---- */

static int knob_get(void *data, u64 *value)
{
	struct knob *k = data;

	*value = READ_ONCE(k->value);
	return 0;
}

static int knob_set(void *data, u64 value)
{
	struct knob *k = data;

	if (value < k->min || value > k->max)
		return -EINVAL;
	WRITE_ONCE(k->value, value);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(knob_fops, knob_get, knob_set, "%llu\n");

static int __init torture_init(void)
{
	struct dentry *dir;
	unsigned int i;

	blocks = vcalloc((max_pfn >> pageblock_order) + 2, sizeof(*blocks));
	claims = vcalloc(BITS_TO_LONGS((max_pfn >> MAX_PAGE_ORDER) + 2),
			 sizeof(*claims));
	if (!blocks || !claims) {
		vfree(blocks);
		vfree(claims);
		return -ENOMEM;
	}
	knobs[LIMIT_MB].max = totalram_pages() >> (20 - PAGE_SHIFT);
	knobs[LIMIT_MB].value = max(knobs[LIMIT_MB].max / 8, 1U);

	dir = debugfs_create_dir(KBUILD_MODNAME, NULL);
	torture_run_create(&run, dir);
	debugfs_create_file("stats", 0400, dir, NULL, &stats_fops);
	debugfs_create_file("blocks", 0400, dir, NULL, &blocks_fops);
	for (i = 0; i < ARRAY_SIZE(knobs); i++)
		debugfs_create_file(knobs[i].name, 0600, dir, &knobs[i],
				    &knob_fops);
	return 0;
}
late_initcall(torture_init);
