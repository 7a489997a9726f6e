// SPDX-License-Identifier: GPL-2.0
/*
 * Zones with LLFree that grow and shrink.
 *
 * Each of the arrays of an instance, rows, children and trees by view, has pages of
 * its own, which begin at multiples of the number of words in a page. When memory comes
 * online, the pages that the zone has are mapped once more, together with new ones for
 * the words of what is added: no word is copied, and CPUs that still use the old
 * addresses use the right words. See llfree_grow() for how the addresses change.
 *
 *   hole     memory between that is not there. A page for each kind of words serves
 *            for all holes. If a hole is filled, that is another mapping.
 *   area     addresses for more than is mapped, so that a zone which grows at its ends
 *            only needs another one when it has grown to three times its size.
 *   offline  The pages of words stay, for the memory to come back. Children are holes
 *            meanwhile; or while operations are under way, isolated and allocated.
 *
 * Old mappings stay: CPUs may use their addresses at any time. The caller holds
 * mem_hotplug_lock for writing, so there is one caller at a time.
 */
#include <kunit/static_stub.h>
#include <linux/gfp.h>
#include <linux/llfree.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#include "internal.h"
#include "llfree.h"
#include "zone_free.h"

/* Pages of addresses at each end of a mapping, at least */
#define AREA_SLACK		64UL
/* Attempts to end what CPUs do with memory that goes */
#define SHRINK_TRIES		16

/* Pages with the words of holes, one for each kind */
static struct page *hole_pages[ZF_NR_WORDS];

static unsigned int words_copies(unsigned int kind)
{
	return kind == ZF_TREES ? LLFREE_ALLOC_VIEWS : 1;
}

/* Where the words of @pfn and after begin in an array that has all from pfn 0 on */
static unsigned long words_offset(unsigned int kind, unsigned int tree_order,
				  unsigned long pfn)
{
	switch (kind) {
	case ZF_ROWS:
		return pfn / LLFREE_ROW_FRAMES * sizeof(u64);
	case ZF_CHILDREN:
		return pfn / LLFREE_CHILD_FRAMES * sizeof(u16);
	default:
		return (pfn >> tree_order) * sizeof(u32);
	}
}

/* The pages with the words of some pfns and of the rest of their trees */
static void words_range(struct zf_words *w, unsigned int kind, unsigned int tree_order,
			unsigned long pfn, unsigned long end)
{
	const unsigned long tree = BIT(tree_order);

	w->first = words_offset(kind, tree_order, ALIGN_DOWN(pfn, tree)) >> PAGE_SHIFT;
	w->end = PHYS_PFN(PAGE_ALIGN(words_offset(kind, tree_order, ALIGN(end, tree))));
}

static void words_fill(void *page, unsigned int kind, size_t size)
{
	switch (kind) {
	case ZF_ROWS:
		memset(page, 0, size);
		break;
	case ZF_CHILDREN:
		memset16(page, LLFREE_HOLE_CHILD, size / sizeof(u16));
		break;
	default:
		memset32(page, LLFREE_HOLE_TREE, size / sizeof(u32));
	}
}

/**
 * zf_words_size() - how much memory the words of a new zone take
 * @words: what pages they need is stored here
 * @tree_order: of the instance
 * @pfn: first pfn
 * @nr: number of pages
 *
 * Context: any.
 *
 * Return: size in bytes, a multiple of PAGE_SIZE
 */
size_t zf_words_size(struct zf_words words[ZF_NR_WORDS], unsigned int tree_order,
		     unsigned long pfn, unsigned long nr)
{
	size_t size = 0;
	unsigned int i;

	memset(words, 0, ZF_NR_WORDS * sizeof(*words));
	for (i = 0; i < ZF_NR_WORDS; i++) {
		words_range(&words[i], i, tree_order, pfn, pfn + nr);
		words[i].stride = (words[i].end - words[i].first) << PAGE_SHIFT;
		size += words_copies(i) * words[i].stride;
	}
	return size;
}

/**
 * zf_words_place() - use memory for the words of a new zone
 * @words: as zf_words_size() has left them
 * @memory: so much memory, aligned to PAGE_SIZE; it becomes words of holes
 *
 * Context: any.
 */
void zf_words_place(struct zf_words words[ZF_NR_WORDS], void *memory)
{
	unsigned int i;

	for (i = 0; i < ZF_NR_WORDS; i++) {
		words[i].addr = memory;
		memory += words_copies(i) * words[i].stride;
		words_fill(words[i].addr, i, words_copies(i) * words[i].stride);
	}
}

/**
 * zf_words_memory() - where the words of a zone are
 * @words: the words
 * @pfn: first pfn of the instance
 * @mem: as llfree_layout() has left it; the addresses are stored here
 *
 * Context: any.
 */
void zf_words_memory(const struct zf_words words[ZF_NR_WORDS], unsigned long pfn,
		     struct llfree_memory *mem)
{
	const unsigned long first = ALIGN_DOWN(pfn, BIT(mem->tree_order));
	void *at[ZF_NR_WORDS];
	unsigned int i;

	for (i = 0; i < ZF_NR_WORDS; i++)
		at[i] = words[i].addr + words_offset(i, mem->tree_order, first) -
			(words[i].first << PAGE_SHIFT);
	mem->rows = at[ZF_ROWS];
	mem->children = at[ZF_CHILDREN];
	mem->trees = at[ZF_TREES];
	mem->trees_stride = words[ZF_TREES].stride;
	mem->trees_size = LLFREE_ALLOC_VIEWS * mem->trees_stride;
}

/* ---- Mappings ---- */

static struct page *words_page(const struct zf_words *w, unsigned int copy,
			       unsigned long nr)
{
	void *addr;

	if (nr < w->first || nr >= w->end)
		return NULL;
	if (w->pages)
		return w->pages[copy * (w->end - w->first) + nr - w->first];
	addr = w->addr + copy * w->stride + ((nr - w->first) << PAGE_SHIFT);
	return is_vmalloc_addr(addr) ? vmalloc_to_page(addr) : virt_to_page(addr);
}

static struct page *words_new_page(unsigned int kind, int nid)
{
	struct page *page;

	KUNIT_STATIC_STUB_REDIRECT(words_new_page, kind, nid);
	page = alloc_pages_node(nid, GFP_KERNEL, 0);
	if (page)
		words_fill(page_address(page), kind, PAGE_SIZE);
	return page;
}

/* Pages that @w does not have are given back. */
static void words_free_new(const struct zf_words *w, const struct zf_words *next,
			   unsigned int kind)
{
	struct page *page;
	unsigned long nr;
	unsigned int c;

	for (c = 0; c < words_copies(kind); c++) {
		for (nr = next->first; nr < next->end; nr++) {
			page = words_page(next, c, nr);
			if (page && page != hole_pages[kind] && page != words_page(w, c, nr))
				__free_page(page);
		}
	}
	kvfree(next->pages);
}

/* All pages of @next: those of @w, new ones where @need says so, and holes. */
static int words_collect(const struct zf_words *w, struct zf_words *next, unsigned int kind,
			 int nid, const struct zf_words *need)
{
	const unsigned long nr_pages = next->end - next->first;
	struct page *page, *hole = hole_pages[kind];
	unsigned long nr;
	unsigned int c;

	next->pages = kvcalloc(words_copies(kind) * nr_pages, sizeof(*next->pages), GFP_KERNEL);
	if (!next->pages)
		return -ENOMEM;
	for (c = 0; c < words_copies(kind); c++) {
		for (nr = next->first; nr < next->end; nr++) {
			page = words_page(w, c, nr) ?: hole;
			if (page == hole && nr >= need->first && nr < need->end) {
				page = words_new_page(kind, nid);
				if (!page) {
					words_free_new(w, next, kind);
					return -ENOMEM;
				}
			}
			next->pages[c * nr_pages + nr - next->first] = page;
		}
	}
	return 0;
}

static unsigned long area_addr(const struct zf_words *w, unsigned int copy, unsigned long nr)
{
	return (unsigned long)w->area->addr + copy * w->stride +
	       ((nr - w->area_first) << PAGE_SHIFT);
}

static int area_map(const struct zf_words *w, unsigned int kind, unsigned long first,
		    unsigned long end)
{
	unsigned int c;
	int ret = 0;

	for (c = 0; first < end && !ret && c < words_copies(kind); c++)
		ret = vm_area_map_pages(w->area, area_addr(w, c, first), area_addr(w, c, end),
					&w->pages[c * (w->end - w->first) + first - w->first]);
	return ret;
}

static void area_unmap(const struct zf_words *w, unsigned int kind, unsigned long first,
		       unsigned long end)
{
	unsigned int c;

	for (c = 0; first < end && c < words_copies(kind); c++)
		vm_area_unmap_pages(w->area, area_addr(w, c, first), area_addr(w, c, end));
}

/* Can @next be mapped in the area of @w, where all that is mapped stays? */
static bool area_suits(const struct zf_words *w, const struct zf_words *next, unsigned int kind)
{
	unsigned long nr;
	unsigned int c;

	if (!w->area || next->first < w->area_first || next->end > w->area_end)
		return false;
	for (c = 0; c < words_copies(kind); c++)
		for (nr = w->first; nr < w->end; nr++)
			if (words_page(w, c, nr) != words_page(next, c, nr))
				return false;
	return true;
}

static int area_new(struct zf_words *next, unsigned int kind)
{
	const unsigned long slack = max(next->end - next->first, AREA_SLACK);

	KUNIT_STATIC_STUB_REDIRECT(area_new, next, kind);
	next->area_first = next->first - min(next->first, slack);
	next->area_end = next->end + slack;
	next->stride = (next->area_end - next->area_first) << PAGE_SHIFT;
	next->area = get_vm_area(words_copies(kind) * next->stride, VM_SPARSE);
	return next->area ? 0 : -ENOMEM;
}

/* Take back what words_map() has done. */
static void words_unmap(const struct zf_words *w, struct zf_words *next, unsigned int kind)
{
	/* Nothing was missing. */
	if (next->pages == w->pages)
		return;
	if (next->area && next->area == w->area) {
		area_unmap(next, kind, next->first, w->first);
		area_unmap(next, kind, w->end, next->end);
	} else if (next->area) {
		area_unmap(next, kind, next->first, next->end);
		free_vm_area(next->area);
	}
	words_free_new(w, next, kind);
}

/* Does @w have all pages of @next, and memory for those of @need? */
static bool words_suffice(const struct zf_words *w, const struct zf_words *next,
			  unsigned int kind, const struct zf_words *need)
{
	struct page *page;
	unsigned long nr;
	unsigned int c;

	if (next->first < w->first || next->end > w->end)
		return false;
	for (c = 0; c < words_copies(kind); c++) {
		for (nr = need->first; nr < need->end; nr++) {
			page = words_page(w, c, nr);
			if (!page || page == hole_pages[kind])
				return false;
		}
	}
	return true;
}

/*
 * Map the words of @w and those that are needed for more.
 * @next: the pages that are to be mapped; the mapping is stored here
 * @need: pages that must not be holes
 */
static int words_map(const struct zf_words *w, struct zf_words *next, unsigned int kind,
		     int nid, const struct zf_words *need)
{
	int ret;

	if (words_suffice(w, next, kind, need)) {
		*next = *w;
		return 0;
	}
	if (w->first < w->end) {
		next->first = min(next->first, w->first);
		next->end = max(next->end, w->end);
	}
	ret = words_collect(w, next, kind, nid, need);
	if (ret)
		return ret;
	if (area_suits(w, next, kind)) {
		next->area = w->area;
		next->area_first = w->area_first;
		next->area_end = w->area_end;
		next->stride = w->stride;
		ret = area_map(next, kind, next->first, w->first) ?:
		      area_map(next, kind, w->end, next->end);
	} else {
		ret = area_new(next, kind) ?: area_map(next, kind, next->first, next->end);
	}
	if (ret) {
		words_unmap(w, next, kind);
		return ret;
	}
	next->addr = (void *)area_addr(next, 0, next->first);
	return 0;
}

static int holes_init(void)
{
	unsigned int i;

	for (i = 0; i < ZF_NR_WORDS; i++) {
		if (!hole_pages[i])
			hole_pages[i] = words_new_page(i, NUMA_NO_NODE);
		if (!hole_pages[i])
			return -ENOMEM;
	}
	return 0;
}

/*
 * Map what a zone has and what it needs for more memory, and call @use with it.
 * @low, @high: pfns for which the zone is going to have words
 */
static int words_extend(struct zone *zone, struct zone_llfree *zl, unsigned long pfn,
			unsigned long nr, unsigned long low, unsigned long high,
			unsigned int tree_order,
			int (*use)(struct zone_llfree *zl, unsigned long pfn, unsigned long nr,
				   const struct llfree_memory *mem))
{
	struct zf_words next[ZF_NR_WORDS] = { }, need;
	struct llfree_memory mem;
	unsigned int i;
	int ret;

	ret = llfree_layout(low, high - low, tree_order, &mem) ?: holes_init();
	if (ret)
		return ret;
	for (i = 0; i < ZF_NR_WORDS; i++) {
		words_range(&next[i], i, tree_order, low, high);
		words_range(&need, i, tree_order, pfn, pfn + nr);
		ret = words_map(&zl->words[i], &next[i], i, zone_to_nid(zone), &need);
		if (ret)
			goto undo;
	}
	zf_words_memory(next, low, &mem);
	ret = use(zl, pfn, nr, &mem);
	if (ret)
		goto undo;
	for (i = 0; i < ZF_NR_WORDS; i++) {
		if (next[i].pages != zl->words[i].pages)
			kvfree(zl->words[i].pages);
		zl->words[i] = next[i];
	}
	return 0;
undo:
	while (i--)
		words_unmap(&zl->words[i], &next[i], i);
	return ret;
}

/* ---- Memory that comes ---- */

static int use_init(struct zone_llfree *zl, unsigned long pfn, unsigned long nr,
		    const struct llfree_memory *mem)
{
	struct llfree *llf = &zl->core;
	unsigned long at;
	int ret;

	ret = llfree_init(llf, pfn, nr, mem, LLFREE_INIT_ALLOC, NULL);
	for (at = pfn; !ret && at < pfn + nr; at = llfree_next_child(at))
		llfree_set_view(llf, at, LLFREE_VIEW_ISOLATED, NULL);
	return ret;
}

static int use_grow(struct zone_llfree *zl, unsigned long pfn, unsigned long nr,
		    const struct llfree_memory *mem)
{
	return llfree_grow(&zl->core, pfn, nr, mem);
}

/* The first memory of a zone that was empty since boot */
static int zone_begin(struct zone *zone, unsigned long pfn, unsigned long nr)
{
	struct zone_llfree *zl;
	int ret;

	zl = kzalloc_node(sizeof(*zl), GFP_KERNEL, zone_to_nid(zone));
	if (!zl)
		return -ENOMEM;
	zf_count_init(zl);
	ret = words_extend(zone, zl, pfn, nr, pfn, pfn + nr,
			   llfree_tree_order(nr, nr_cpu_ids), use_init);
	if (ret) {
		kfree(zl);
		return ret;
	}
	/* A CPU that sees it may have a page of the zone before the zone has any. */
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

	return words_extend(zone, zl, pfn, nr, min(llf->mapped_first, pfn),
			    max(llf->mapped_end, pfn + nr), llf->tree_order, use_grow);
}

/**
 * zf_grow() - let a zone keep more pages
 * @zone: the zone, which may have been empty
 * @pfn: first pfn; not at or in memory that is online
 * @nr: number of pages, whole pageblocks
 *
 * The pages are allocated, in isolated pageblocks: zf_free() makes them free, and
 * zf_set_block() shows them. zf_shrink() undoes it.
 *
 * Context: task, mem_hotplug_lock held for writing; may sleep. CPUs use the zone
 * meanwhile.
 *
 * Return: 0; -ENOMEM; -EINVAL if a zone cannot be that large; -EBUSY if operations on the
 *	memory have not ended since it went offline. Then nothing has changed.
 */
int zf_grow(struct zone *zone, unsigned long pfn, unsigned long nr)
{
	struct zone_llfree *zl = zone->llfree;
	int ret;

	if (!zl)
		return zone_begin(zone, pfn, nr);
	ret = zone_extend(zone, zl, pfn, nr);
	if (ret == -EEXIST) {
		/* It went offline, but could not become a hole then. */
		if (zone_shrink(zl, pfn, nr))
			return -EBUSY;
		ret = zone_extend(zone, zl, pfn, nr);
	}
	if (!ret)
		zf_percpu_init(zone);
	return ret;
}

/* ---- Memory that goes ---- */

/* Pages that are not free and yet go: see __offline_isolated_pages() */
static bool offline_skips(const struct page *page)
{
	return PageHWPoison(page) || PageOffline(page);
}

/* Give back what zf_offline() has taken. */
static void offline_undo(struct zone *zone, unsigned long pfn, unsigned long end)
{
	for (; pfn < end; pfn++)
		if (!offline_skips(pfn_to_page(pfn)))
			zf_free(zone, pfn, 0);
}

/* Take the pages of a child. Return: the first one that is in use, or the end of the child */
static unsigned long offline_child(struct zone *zone, unsigned long pfn)
{
	const unsigned long end = pfn + LLFREE_CHILD_FRAMES;

	if (zf_claim(zone, pfn, LLFREE_CHILD_ORDER, ZF_HIDDEN))
		return end;
	while (pfn < end && (zf_claim(zone, pfn, 0, ZF_HIDDEN) || offline_skips(pfn_to_page(pfn))))
		pfn++;
	return pfn;
}

/**
 * zf_offline() - take the free pages of isolated pageblocks for good
 * @zone: the zone
 * @pfn: first pfn of a pageblock
 * @end: pfn after the last one
 *
 * No page of the range is in use, as test_pages_isolated() says. This function takes
 * the pages, so it decides; they are free again if one of them is not.
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
 * zf_shrink() - let a zone keep less pages
 * @zone: the zone
 * @pfn: first pfn
 * @nr: number of pages, whole pageblocks, all of which zf_offline() took, or zf_grow()
 *	added a moment ago; or none of which zf_grow() has added
 *
 * Context: task, mem_hotplug_lock held for writing; may sleep. CPUs use the zone
 * meanwhile.
 */
void zf_shrink(struct zone *zone, unsigned long pfn, unsigned long nr)
{
	int ret = zone->llfree ? zone_shrink(zone->llfree, pfn, nr) : 0;

	/* If operations are under way still, the memory is isolated and allocated. */
	WARN_ONCE(ret == -EBUSY, "page_alloc: pages of zone %s at %#lx are not offline\n",
		  zone->name, pfn);
}

#include "llfree_hotplug_kunit.h"
