// SPDX-License-Identifier: GPL-2.0
/*
 * Memory for the words of zones that grow and shrink.
 *
 * Each of the arrays of an instance (rows, children, and trees by view) has
 * pages of its own, which begin at multiples of the number of words in a page.
 * When memory comes online, the pages that the zone has are mapped once more,
 * together with new pages for added words. So no word is copied, and CPUs that
 * still use the old addresses use the right words. llfree_grow() explains how
 * the addresses change.
 *
 *   hole     a gap in the memory of a zone. One page for each kind of words
 *            serves for all holes. To fill a hole, the zone gets a new mapping.
 *   area     addresses for more pages than are mapped. So a zone that grows at
 *            its ends needs a new area only after it has grown to three times
 *            its size.
 *   spare    a page that only has words of holes. Once a zone has many spare
 *            pages, a new mapping has the page of holes in their place.
 *   retired  an area or page that is not used any more. Freed after the end of
 *            all operations that may still use it. No operation sleeps.
 *
 * The caller holds mem_hotplug_lock for writing, so there is one caller at a time.
 */
#include <kunit/static_stub.h>
#include <linux/gfp.h>
#include <linux/kmemleak.h>
#include <linux/list.h>
#include <linux/llfree.h>
#include <linux/mm.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

#include "internal.h"
#include "llfree.h"

/* Least number of pages of addresses at each end of a mapping */
#define AREA_SLACK		64UL
/*
 * Number of spare pages of a zone from which on they are freed: those of 8 GiB
 */
#define MAX_SPARE		64UL

/**
 * struct zf_area - addresses for an array of words
 * @vm: the addresses
 * @first: first page that has addresses, as in struct zf_words
 * @end: page after the last one
 * @list: entry in the list of retired areas
 */
struct zf_area {
	struct vm_struct *vm;
	unsigned long first;
	unsigned long end;
	struct list_head list;
};

/* Pages with the words of holes, one for each kind */
static struct page *hole_pages[ZF_NR_WORDS];

static unsigned int words_copies(unsigned int kind)
{
	return kind == ZF_TREES ? LLFREE_ALLOC_VIEWS : 1;
}

/* Return the offset of the word of @pfn in an array that begins with pfn 0. */
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

/* Return the first pfn whose word begins in page @nr. */
static unsigned long words_pfn(unsigned int kind, unsigned int tree_order, unsigned long nr)
{
	const unsigned long at = nr << PAGE_SHIFT;

	switch (kind) {
	case ZF_ROWS:
		return at / sizeof(u64) * LLFREE_ROW_FRAMES;
	case ZF_CHILDREN:
		return at / sizeof(u16) * LLFREE_CHILD_FRAMES;
	default:
		return at / sizeof(u32) << tree_order;
	}
}

/*
 * Compute the pages with the words of some pfns and of the rest of their trees.
 */
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
 * zf_words_size() - compute the memory for the words of a new zone
 * @words: the pages of each array are stored here
 * @tree_order: order of the trees of the instance
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
 * @memory: memory of that size, aligned to PAGE_SIZE; filled with words of
 *	holes
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
 * zf_words_memory() - compute the addresses of the words of a zone
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

/* Free the pages of @next that @w does not have. */
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

/* Are all words of a page those of holes? */
static bool words_holes(const struct llfree *llf, unsigned int kind, unsigned long nr)
{
	const unsigned long pfn = words_pfn(kind, llf->tree_order, nr);

	return llfree_holes(llf, pfn, words_pfn(kind, llf->tree_order, nr + 1) - pfn);
}

/*
 * Collect all pages of @next: those of @w, new pages where @need says so, and
 * holes. If @trim is not NULL, holes also replace pages that are spare in that
 * instance.
 */
static int words_collect(const struct zf_words *w, struct zf_words *next, unsigned int kind,
			 int nid, const struct zf_words *need, const struct llfree *trim)
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
			if (trim && words_holes(trim, kind, nr))
				page = hole;
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
	return (unsigned long)w->area->vm->addr + copy * w->stride +
	       ((nr - w->area->first) << PAGE_SHIFT);
}

static int area_map(const struct zf_words *w, unsigned int kind, unsigned long first,
		    unsigned long end)
{
	unsigned int c;
	int ret = 0;

	for (c = 0; first < end && !ret && c < words_copies(kind); c++)
		ret = vm_area_map_pages(w->area->vm, area_addr(w, c, first),
					area_addr(w, c, end),
					&w->pages[c * (w->end - w->first) + first - w->first]);
	return ret;
}

static void area_unmap(const struct zf_words *w, unsigned int kind, unsigned long first,
		       unsigned long end)
{
	unsigned int c;

	for (c = 0; first < end && c < words_copies(kind); c++)
		vm_area_unmap_pages(w->area->vm, area_addr(w, c, first), area_addr(w, c, end));
}

/* Can @next be mapped in the area of @w without a change of mapped pages? */
static bool area_suits(const struct zf_words *w, const struct zf_words *next, unsigned int kind)
{
	unsigned long nr;
	unsigned int c;

	if (!w->area || next->first < w->area->first || next->end > w->area->end)
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
	struct zf_area *area;

	KUNIT_STATIC_STUB_REDIRECT(area_new, next, kind);
	area = kmalloc(sizeof(*area), GFP_KERNEL);
	if (!area)
		return -ENOMEM;
	area->first = next->first - min(next->first, slack);
	area->end = next->end + slack;
	next->stride = (area->end - area->first) << PAGE_SHIFT;
	area->vm = get_vm_area(words_copies(kind) * next->stride, VM_SPARSE);
	if (!area->vm) {
		kfree(area);
		return -ENOMEM;
	}
	next->area = area;
	return 0;
}

/* Free an area that no operation uses. */
static void area_free(struct zf_area *area)
{
	free_vm_area(area->vm);
	kfree(area);
}

/* Undo words_map(). */
static void words_unmap(const struct zf_words *w, struct zf_words *next, unsigned int kind)
{
	/* words_map() has changed nothing. */
	if (next->pages == w->pages)
		return;
	if (next->area && next->area == w->area) {
		area_unmap(next, kind, next->first, w->first);
		area_unmap(next, kind, w->end, next->end);
	} else if (next->area) {
		area_unmap(next, kind, next->first, next->end);
		area_free(next->area);
	}
	words_free_new(w, next, kind);
}

/* Does @w have all pages of @next, and no holes among the pages of @need? */
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
 * Map the words of @w and the words that @need adds.
 * @next: the pages that are to be mapped; the mapping is stored here
 * @need: pages that must not be holes
 * @trim: see words_collect()
 */
static int words_map(const struct zf_words *w, struct zf_words *next, unsigned int kind,
		     int nid, const struct zf_words *need, const struct llfree *trim)
{
	int ret;

	if (!trim && words_suffice(w, next, kind, need)) {
		*next = *w;
		return 0;
	}
	if (w->first < w->end) {
		next->first = min(next->first, w->first);
		next->end = max(next->end, w->end);
	}
	ret = words_collect(w, next, kind, nid, need, trim);
	if (ret)
		return ret;
	if (area_suits(w, next, kind)) {
		next->area = w->area;
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

/* ---- Retired areas and pages ---- */

static LIST_HEAD(retired_areas);
static LIST_HEAD(retired_pages);
static DEFINE_SPINLOCK(retired_lock);

static void page_free(struct page *page)
{
	if (!PageReserved(page)) {
		__free_page(page);
		return;
	}
	/* The page is a part of memory from memblock at boot. */
	kmemleak_free_part(page_address(page), PAGE_SIZE);
	free_reserved_page(page);
}

static void retired_free(struct work_struct *work)
{
	struct zf_area *area, *next_area;
	struct page *page, *next_page;
	LIST_HEAD(areas);
	LIST_HEAD(pages);

	spin_lock(&retired_lock);
	list_splice_init(&retired_areas, &areas);
	list_splice_init(&retired_pages, &pages);
	spin_unlock(&retired_lock);

	/*
	 * Wait for operations of tasks, which may be preempted, and for
	 * operations of interrupts on idle CPUs.
	 */
	synchronize_rcu_tasks();
	synchronize_rcu();

	list_for_each_entry_safe(area, next_area, &areas, list)
		area_free(area);
	list_for_each_entry_safe(page, next_page, &pages, lru)
		page_free(page);
}

static DECLARE_WORK(retired_work, retired_free);

/* A zone uses @next now: retire the areas and pages that only @w has. */
static void words_retire(const struct zf_words *w, const struct zf_words *next,
			 unsigned int kind)
{
	struct page *page;
	unsigned long nr;
	unsigned int c;

	if (next->pages == w->pages)
		return;
	spin_lock(&retired_lock);
	for (c = 0; c < words_copies(kind); c++) {
		for (nr = w->first; nr < w->end; nr++) {
			page = words_page(w, c, nr);
			if (page != hole_pages[kind] && page != words_page(next, c, nr))
				list_add(&page->lru, &retired_pages);
		}
	}
	if (w->area && w->area != next->area)
		list_add(&w->area->list, &retired_areas);
	spin_unlock(&retired_lock);
	queue_work(system_unbound_wq, &retired_work);
	kvfree(w->pages);
}

/* ---- Zones ---- */

/* Map words for a zone, and let @use make the zone use them. */
static int zone_map(struct zone *zone, struct zone_llfree *zl, const struct zf_range *range,
		    zf_words_use_fn use, const struct llfree *trim)
{
	struct zf_words next[ZF_NR_WORDS] = { }, need = { };
	struct llfree_memory mem;
	unsigned int i;
	int ret;

	ret = llfree_layout(range->low, range->high - range->low, range->tree_order, &mem) ?:
	      holes_init();
	if (ret)
		return ret;
	for (i = 0; i < ZF_NR_WORDS; i++) {
		words_range(&next[i], i, range->tree_order, range->low, range->high);
		if (range->nr)
			words_range(&need, i, range->tree_order, range->pfn,
				    range->pfn + range->nr);
		ret = words_map(&zl->words[i], &next[i], i, zone_to_nid(zone), &need, trim);
		if (ret)
			goto undo;
	}
	zf_words_memory(next, range->low, &mem);
	ret = use(zone, zl, range, &mem);
	if (ret)
		goto undo;
	for (i = 0; i < ZF_NR_WORDS; i++) {
		words_retire(&zl->words[i], &next[i], i);
		zl->words[i] = next[i];
	}
	return 0;
undo:
	while (i--)
		words_unmap(&zl->words[i], &next[i], i);
	return ret;
}

/**
 * zf_words_extend() - map the words of a zone, and words for more memory
 * @zone: the zone
 * @zl: the free pages of the zone
 * @range: the pages that are added, and all pages that are going to have words
 * @use: called with the words; if @use fails, nothing has changed
 *
 * Context: task, mem_hotplug_lock held for writing; may sleep.
 *
 * Return: 0; -ENOMEM if there is no memory or no address space; -EINVAL if a
 *	zone cannot be that large; or an error of @use
 */
int zf_words_extend(struct zone *zone, struct zone_llfree *zl, const struct zf_range *range,
		    zf_words_use_fn use)
{
	return zone_map(zone, zl, range, use, NULL);
}

static unsigned long words_spare(const struct zone_llfree *zl)
{
	unsigned long nr, spare = 0;
	unsigned int i;

	for (i = 0; i < ZF_NR_WORDS; i++) {
		const struct zf_words *w = &zl->words[i];

		for (nr = w->first; nr < w->end; nr++)
			if (words_page(w, 0, nr) != hole_pages[i] &&
			    words_holes(&zl->core, i, nr))
				spare += words_copies(i);
	}
	return spare;
}

static int use_move(struct zone *zone, struct zone_llfree *zl,
		    const struct zf_range *range, const struct llfree_memory *mem)
{
	return llfree_move(&zl->core, mem);
}

/**
 * zf_words_trim() - free the memory of words of holes
 * @zone: the zone
 * @zl: the free pages of the zone
 *
 * Does nothing unless that memory is at least MAX_SPARE pages. If there is no
 * memory for the new mapping, all stays as it is.
 *
 * Context: task, mem_hotplug_lock held for writing; may sleep. Reads the words of all
 * children.
 */
void zf_words_trim(struct zone *zone, struct zone_llfree *zl)
{
	const struct zf_range range = {
		.low = zl->core.mapped_first, .high = zl->core.mapped_end,
		.tree_order = zl->core.tree_order,
	};

	if (words_spare(zl) >= MAX_SPARE)
		zone_map(zone, zl, &range, use_move, &zl->core);
}

static bool hole_intact(unsigned int kind)
{
	const void *page = page_address(hole_pages[kind]);
	unsigned int i;

	for (i = 0; kind == ZF_CHILDREN && i < PAGE_SIZE / sizeof(u16); i++)
		if (((const u16 *)page)[i] != LLFREE_HOLE_CHILD)
			return false;
	for (i = 0; kind == ZF_TREES && i < PAGE_SIZE / sizeof(u32); i++)
		if (((const u32 *)page)[i] != LLFREE_HOLE_TREE)
			return false;
	return kind != ZF_ROWS || !memchr_inv(page, 0, PAGE_SIZE);
}

static int check_page(const struct zone_llfree *zl, unsigned int kind, unsigned int copy,
		      unsigned long nr, struct llfree_fault *fault)
{
	const struct zf_words *w = &zl->words[kind];
	const struct page *page = words_page(w, copy, nr);

	fault->frame = words_pfn(kind, zl->core.tree_order, nr);
	fault->expected = page_to_pfn(page);
	if (vmalloc_to_page((void *)area_addr(w, copy, nr)) != page) {
		fault->what = "page of words is not mapped";
		fault->found = vmalloc_to_pfn((void *)area_addr(w, copy, nr));
		return -EUCLEAN;
	}
	if (page == hole_pages[kind] && !words_holes(&zl->core, kind, nr)) {
		fault->what = "words of memory are in the page of holes";
		return -EUCLEAN;
	}
	return 0;
}

/**
 * zf_words_check() - check the memory of the words of a zone
 * @zl: the free pages of the zone
 * @fault: the broken invariant is stored here
 *
 * Context: any; the zone neither grows nor shrinks.
 *
 * Return: 0; -EUCLEAN if an invariant is broken
 */
int zf_words_check(const struct zone_llfree *zl, struct llfree_fault *fault)
{
	unsigned int i, c;
	unsigned long nr;
	int ret = 0;

	for (i = 0; i < ZF_NR_WORDS; i++) {
		const struct zf_words *w = &zl->words[i];

		if (!w->area)
			continue;
		for (c = 0; c < words_copies(i); c++)
			for (nr = w->first; !ret && nr < w->end; nr++)
				ret = check_page(zl, i, c, nr, fault);
		if (ret)
			return ret;
		if (!hole_intact(i)) {
			*fault = (struct llfree_fault){ .what = "a hole has changed" };
			return -EUCLEAN;
		}
	}
	return 0;
}

#include "llfree_hotplug_kunit.h"
