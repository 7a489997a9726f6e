// SPDX-License-Identifier: GPL-2.0
/*
 * Torture test of the page allocator: actors allocate, mark, exchange, check and
 * free pages.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/gfp.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/ratelimit.h>

#include "page_alloc_torture.h"

/* Most pages of one bulk request */
#define NR_BULK		64
/* An owner's word is at every 64th byte of a block. */
#define STRIDE		64
/* Most blocks on their way to another actor */
#define NR_EXCHANGED	64

u32 torture_limit_mb;
u32 torture_max_order = MAX_PAGE_ORDER;
atomic_long_t torture_pages_held;
atomic_t torture_problems;

/* ---- Owners ---- */

static u64 word_make(struct actor *a)
{
	return WORD_MAGIC << 48 | (u64)a->ctx << 44 | (u64)a->cpu << 32 |
	       ++a->seq;
}

static const char *word_context(u64 word)
{
	unsigned int ctx = word >> 44 & 0xf;

	return word >> 48 == WORD_MAGIC && ctx < NR_CTX ? torture_ctx_names[ctx] :
							  "nobody";
}

bool torture_problem(void)
{
	static DEFINE_RATELIMIT_STATE(rs, 5 * HZ, 10);

	atomic_inc(&torture_problems);
	return __ratelimit(&rs);
}

static void fill(const struct held *h)
{
	u64 *at = page_address(h->page), *end = at + h->nr * (PAGE_SIZE / 8);

	for (; at < end; at += STRIDE / 8)
		WRITE_ONCE(*at, h->word);
}

/* Check that a block still has the words of its owner. */
static void check(const struct actor *a, const struct held *h, u64 word,
		  const char *what)
{
	u64 *start = page_address(h->page), *at, found;
	u64 *end = start + h->nr * (PAGE_SIZE / 8);

	for (at = start; at < end; at += STRIDE / 8) {
		found = READ_ONCE(*at);
		if (likely(found == word))
			continue;
		if (torture_problem())
			WARN(1, "%s: pfn %#lx order %u offset %#zx: %#llx (%s, CPU %llu) instead of %#llx (%s, CPU %llu), found in %s on CPU %u\n",
			     what, page_to_pfn(h->page), h->order,
			     (at - start) * sizeof(*at), found,
			     word_context(found), found >> 32 & 0xfff, word,
			     word_context(word), word >> 32 & 0xfff,
			     torture_ctx_names[a->ctx], a->cpu);
		return;
	}
}

/* ---- Pages ---- */

static bool room(unsigned int nr)
{
	return atomic_long_read(&torture_pages_held) + nr <=
	       (long)READ_ONCE(torture_limit_mb) << (20 - PAGE_SHIFT);
}

unsigned int torture_pick_order(struct actor *a)
{
	unsigned int most = min(READ_ONCE(torture_max_order), MAX_PAGE_ORDER);
	u32 r = rnd(a, 100);

	if (a->ctx != CTX_TASK)
		return r < 60 ? 0 : r < 80 ? EXCHANGE_ORDER :
		       rnd(a, EXCHANGE_ORDER + 1);
	if (r < 50)
		return 0;
	if (r < 80)
		return rnd(a, min(most, 3U) + 1);
	if (r < 96)
		return rnd(a, min(most, 8U) + 1);
	return rnd(a, most + 1);
}

static gfp_t pick_gfp(struct actor *a)
{
	static const gfp_t mobility[] = {
		0, __GFP_MOVABLE, __GFP_RECLAIMABLE, 0,
	};
	static const gfp_t task[] = {
		GFP_KERNEL, GFP_KERNEL, GFP_KERNEL, GFP_NOFS, GFP_NOWAIT,
		GFP_ATOMIC, GFP_KERNEL | __GFP_ZERO, GFP_KERNEL | __GFP_DMA32,
	};
	/* An NMI must not wake a task, nor touch the reserves. */
	gfp_t gfp = 0;

	if (a->ctx == CTX_TASK)
		gfp = task[rnd(a, ARRAY_SIZE(task))];
	else if (a->ctx != CTX_NMI)
		gfp = rnd(a, 2) ? GFP_ATOMIC : GFP_NOWAIT;
	/* Flags for a zone and for a migratetype exclude each other. */
	if (!(gfp & GFP_ZONEMASK))
		gfp |= mobility[rnd(a, ARRAY_SIZE(mobility))];
	return gfp | __GFP_NOWARN | __GFP_NORETRY;
}

static int pick_node(struct actor *a)
{
	int node = rnd(a, nr_node_ids);

	return rnd(a, 4) || !node_state(node, N_MEMORY) ? NUMA_NO_NODE : node;
}

/* Make the actor the owner of a block that was just allocated. */
static void own(struct actor *a, struct held *h, struct page *page,
		unsigned int order, enum kind kind, gfp_t gfp)
{
	h->page = page;
	h->order = order;
	h->kind = kind;
	if (kind != KIND_EXACT)
		h->nr = 1U << order;
	h->word = word_make(a);
	if (unlikely(page_count(page) != 1 || PageReserved(page) ||
		     atomic_read(&page->_mapcount) != -1) && torture_problem())
		WARN(1, "allocated page is in use: pfn %#lx order %u count %d, in %s on CPU %u\n",
		     page_to_pfn(page), order, page_count(page),
		     torture_ctx_names[a->ctx], a->cpu);
	if (gfp & __GFP_ZERO)
		check(a, h, 0, "zeroed page has content");
	fill(h);
	atomic_long_add(h->nr, &torture_pages_held);
	a->counts.allocs++;
	a->counts.pages += h->nr;
}

static void pages_alloc(struct actor *a, struct held *h)
{
	unsigned int order = torture_pick_order(a);
	enum kind kind = KIND_WHOLE;
	gfp_t gfp = pick_gfp(a);
	struct page *page;
	u64 ns;

	/* Other contexts never hold much. */
	if (a->ctx == CTX_TASK && !room(1U << order))
		return;
	if (order && a->ctx != CTX_NMI)
		kind = rnd(a, a->ctx == CTX_TASK ? NR_KINDS : KIND_EXACT);
	if (kind == KIND_WHOLE && a->ctx == CTX_TASK && rnd(a, 2))
		gfp |= __GFP_COMP;

	ns = ktime_get_mono_fast_ns();
	if (kind == KIND_EXACT) {
		void *at;

		h->nr = (1U << (order - 1)) + 1 + rnd(a, 1U << (order - 1));
		at = alloc_pages_exact(h->nr * PAGE_SIZE, gfp);
		page = at ? virt_to_page(at) : NULL;
	} else {
		page = alloc_pages_node(pick_node(a), gfp, order);
	}
	ns = ktime_get_mono_fast_ns() - ns;
	if (ns > a->counts.max_ns)
		a->counts.max_ns = ns;
	if (!page) {
		a->counts.failed++;
		return;
	}
	own(a, h, page, order, kind, gfp);
}

static void pages_free(struct actor *a, struct held *h)
{
	struct page *page = h->page;
	unsigned int i;

	check(a, h, h->word, "page had two owners");
	atomic_long_sub(h->nr, &torture_pages_held);
	a->counts.frees++;
	h->page = NULL;

	switch (h->kind) {
	case KIND_WHOLE:
		__free_pages(page, h->order);
		break;
	case KIND_PIECES:
		split_page(page, h->order);
		/* Every third page, then the pages in between. */
		for (i = 0; i < h->nr; i += 3)
			__free_page(page + i);
		for (i = 1; i < h->nr; i += i % 3)
			__free_page(page + i);
		break;
	case KIND_TAIL_FIRST:
		get_page(page);
		__free_pages(page, h->order);
		put_page(page);
		break;
	case KIND_EXACT:
		free_pages_exact(page_address(page), h->nr * PAGE_SIZE);
		break;
	}
}

/* Blocks that any context can take and free */
static struct exchanged {
	atomic_t state;
	struct held held;
} exchange[NR_EXCHANGED];

enum { EXCHANGE_EMPTY, EXCHANGE_BUSY, EXCHANGE_FULL };

static bool exchange_free(struct actor *a, struct held *h)
{
	struct exchanged *e = &exchange[rnd(a, NR_EXCHANGED)];

	if (h->kind != KIND_WHOLE || h->order > EXCHANGE_ORDER ||
	    atomic_cmpxchg(&e->state, EXCHANGE_EMPTY, EXCHANGE_BUSY) !=
	    EXCHANGE_EMPTY)
		return false;
	e->held = *h;
	h->page = NULL;
	atomic_set_release(&e->state, EXCHANGE_FULL);
	return true;
}

static bool exchange_alloc(struct exchanged *e, struct held *h)
{
	if (atomic_cmpxchg(&e->state, EXCHANGE_FULL, EXCHANGE_BUSY) !=
	    EXCHANGE_FULL)
		return false;
	*h = e->held;
	atomic_set_release(&e->state, EXCHANGE_EMPTY);
	return true;
}

void torture_pages_step(struct actor *a)
{
	struct held *h = &a->held[rnd(a, NR_HELD)];

	if (h->page) {
		if (growing(a) && rnd(a, 4))
			return;
		if (rnd(a, 4) || !exchange_free(a, h))
			pages_free(a, h);
		return;
	}
	if (!growing(a) && rnd(a, 4))
		return;
	if (rnd(a, 8) || !exchange_alloc(&exchange[rnd(a, NR_EXCHANGED)], h))
		pages_alloc(a, h);
}

/* ---- Steps of tasks only ---- */

void torture_bulk_step(struct actor *a)
{
	unsigned int want = 2 + rnd(a, NR_BULK - 1), got, i;
	struct page *pages[NR_BULK] = { };
	struct held h;
	u32 seq = a->seq;
	u64 word = 0;

	if (!room(want))
		return;
	got = alloc_pages_bulk_array(GFP_KERNEL | __GFP_NOWARN | __GFP_NORETRY,
				     want, pages);
	if (got < want)
		a->counts.failed++;
	for (i = 0; i < got; i++) {
		own(a, &h, pages[i], 0, KIND_WHOLE, 0);
		word = h.word;
	}
	cond_resched();
	for (i = 0; i < got; i++) {
		h.page = pages[i];
		h.word = (word & ~(u64)U32_MAX) | (u32)(seq + 1 + i);
		pages_free(a, &h);
	}
}

/*
 * Allocate all memory in small blocks, and free the blocks; one task at a time.
 */
void torture_pressure_step(struct actor *a)
{
	static DEFINE_MUTEX(lock);
	unsigned int order = rnd(a, 3) ? 0 : rnd(a, 4);
	struct page *page, *next;
	struct held h;
	LIST_HEAD(taken);
	u64 word = 0;
	u32 seq = a->seq;

	if (!mutex_trylock(&lock))
		return;
	while (!kthread_should_park()) {
		page = alloc_pages(GFP_KERNEL | __GFP_NOWARN | __GFP_NORETRY,
				   order);
		if (!page)
			break;
		own(a, &h, page, order, KIND_WHOLE, 0);
		word = h.word;
		list_add_tail(&page->lru, &taken);
		cond_resched();
	}
	a->counts.failed++;
	list_for_each_entry_safe(page, next, &taken, lru) {
		h.page = page;
		h.order = order;
		h.kind = KIND_WHOLE;
		h.nr = 1U << order;
		h.word = (word & ~(u64)U32_MAX) | ++seq;
		pages_free(a, &h);
		cond_resched();
	}
	mutex_unlock(&lock);
}

/* ---- The end of a run ---- */

/* Free all blocks of an actor, which has ended or is the caller. */
void torture_pages_free_all(struct actor *a)
{
	unsigned int i;

	for (i = 0; i < NR_HELD; i++)
		if (a->held[i].page)
			pages_free(a, &a->held[i]);
}

/* Free the blocks in the exchange. All actors have freed their own blocks. */
void torture_pages_end(struct actor *a)
{
	struct held h;
	unsigned int i;

	for (i = 0; i < NR_EXCHANGED; i++)
		if (exchange_alloc(&exchange[i], &h))
			pages_free(a, &h);
	if (atomic_long_read(&torture_pages_held) && torture_problem())
		WARN(1, "%ld pages are still held\n",
		     atomic_long_read(&torture_pages_held));
}
