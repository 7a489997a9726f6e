// SPDX-License-Identifier: GPL-2.0
/*
 * Torture test of the page allocator.
 *
 * Allocates and frees pages from every context at once: tasks, softirqs,
 * hardirqs, irq_work and, where it can be, NMIs. Loading the module starts
 * nothing; files in /sys/kernel/debug/page_alloc_torture do:
 *
 *   run          Write how many seconds to run, 0 to stop now. Reads how many
 *                are left.
 *   contexts     Write the names of contexts to run, or "all". Reads which
 *                will run in brackets, and why others cannot.
 *   limit_mb     How much memory tasks hold at most, about
 *   pressure     Whether tasks take all memory that they can get, now and then
 *   max_order    Largest block that tasks ask for
 *   interval_us  Shortest time between two interrupts of a kind on a CPU
 *   stats        What was done since the last start
 *   misuse       Write the name of a misuse to commit it. Reads what there is,
 *                what would break more than it tests, and what came of it.
 *   pieces       Write how many blocks of each order to allocate, one at a time,
 *                and to free in pieces: the first page last, as if there had been
 *                another reference to it, or page by page.
 *
 * Each block is filled with words that name its owner, and is looked at again
 * before it is freed, maybe in another context: what somebody else has written
 * shows that it had two owners. That, and a page that looks used when it is
 * allocated, is a problem: warned of and counted in stats.
 *
 * An actor is one context on one CPU. Nothing of it is shared, so that it needs
 * no locks; what is given to other actors goes through the exchange, where
 * nobody waits.
 *
 * Context "core" runs lib/llfree/ in all those contexts, on an instance of this
 * module's own with made-up frames. It has no page allocator around it, so that
 * NMIs are always possible.
 *
 * Pages in NMIs need more than an allocator that takes no lock, see
 * nmi_pages_refused(). It is nothing to rely on: __free_pages() does not promise
 * it.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cpuhotplug.h>
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/hrtimer.h>
#include <linux/irq_work.h>
#include <linux/kthread.h>
#include <linux/llfree.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/nmi.h>
#include <linux/prandom.h>
#include <linux/ratelimit.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/stop_machine.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <linux/vmstat.h>
#include <linux/workqueue.h>

#ifdef CONFIG_X86_LOCAL_APIC
#include <asm/apic.h>
#endif

/* Per-CPU lists rely on spin_trylock(), which never fails without SMP. */
#if defined(CONFIG_X86_LOCAL_APIC) && defined(CONFIG_SMP) && \
	defined(register_nmi_handler)
#define HAVE_NMI_IPI
#endif

/* Tasks on each CPU, which preempt each other */
#define NR_TASKS	2
/* Blocks that an actor holds at most, of pages and of the core's frames */
#define NR_HELD		48
/* Blocks on their way to another actor, and the largest order of them */
#define NR_EXCHANGED	64
#define EXCHANGE_ORDER	3
/* Pages asked for at once */
#define NR_BULK		64
/* An owner's word is in every 64th byte of a block. */
#define STRIDE		64
/* An actor takes more than it frees for so many steps, then the other way. */
#define PHASE_STEPS	256
/* An interrupt that took some time stays away for so many times that. */
#define BUSY_SHARE	8
/* An NMI that has not come by then is lost. */
#define NMI_WAIT	(2 * HZ)

enum context {
	CTX_TASK,
	CTX_SOFTIRQ,
	CTX_HARDIRQ,
	CTX_IRQ_WORK,
	CTX_NMI,
	CTX_CORE,
	NR_CTX,
};

static const char * const ctx_names[NR_CTX] = {
	[CTX_TASK] = "task",
	[CTX_SOFTIRQ] = "softirq",
	[CTX_HARDIRQ] = "hardirq",
	[CTX_IRQ_WORK] = "irq_work",
	[CTX_NMI] = "nmi",
	[CTX_CORE] = "core",
};

/**
 * enum kind - how a block is freed
 * @KIND_WHOLE: as it was allocated
 * @KIND_PIECES: page by page, after split_page()
 * @KIND_TAIL_FIRST: while somebody else has a reference, who frees the first page
 * @KIND_EXACT: by free_pages_exact()
 * @NR_KINDS: number of kinds
 */
enum kind {
	KIND_WHOLE,
	KIND_PIECES,
	KIND_TAIL_FIRST,
	KIND_EXACT,
	NR_KINDS,
};

/**
 * struct held - a block of pages
 * @page: first page, NULL if there is none
 * @word: what it is filled with
 * @nr: number of pages
 * @order: what it was allocated with
 * @kind: how to free it
 */
struct held {
	struct page *page;
	u64 word;
	unsigned int nr;
	u8 order;
	u8 kind;
};

/**
 * struct core_held - frames of the core
 * @frame: the first one
 * @mask: which ones from there on, for those of bulk requests; otherwise 0
 * @order: size, if @mask is 0
 * @used: whether there are any
 */
struct core_held {
	unsigned long frame;
	u64 mask;
	u8 order;
	bool used;
};

/**
 * struct counts - what an actor has done
 * @allocs: blocks that it got
 * @pages: pages, or frames, in them
 * @failed: blocks that it did not get
 * @frees: blocks that it freed, also those of others
 * @max_ns: longest time that an allocation took
 */
struct counts {
	u64 allocs;
	u64 pages;
	u64 failed;
	u64 frees;
	u64 max_ns;
};

/**
 * struct actor - a context on a CPU
 * @rnd: its random numbers
 * @ctx: the context
 * @cpu: the CPU
 * @seq: number of the block that it filled last
 * @steps: number of steps
 * @held: blocks of pages
 * @core: frames of the core
 * @counts: of pages
 * @core_counts: of the core's frames
 * @frames: what the core reported as changes of free frames
 */
struct actor {
	struct rnd_state rnd;
	enum context ctx;
	unsigned int cpu;
	u32 seq;
	u32 steps;
	struct held held[NR_HELD];
	struct core_held core[NR_HELD];
	struct counts counts;
	struct counts core_counts;
	s64 frames[LLFREE_NR_VIEWS];
};

enum actor_index {
	ACTOR_TASK,
	ACTOR_SOFTIRQ = ACTOR_TASK + NR_TASKS,
	ACTOR_HARDIRQ,
	ACTOR_IRQ_WORK,
	ACTOR_NMI,
	NR_ACTORS,
};

/**
 * struct torture_cpu - a CPU that may be online
 * @actor: its actors
 * @task: tasks, parked unless it is online and the test runs
 * @softirq: timer for that context
 * @hardirq: the same
 * @work: queued by @hardirq and by NMIs
 * @active: may be sent NMIs
 * @nmi_sent: an NMI was sent and has not been handled yet
 * @nmi_next: not before then is there another one
 */
struct torture_cpu {
	struct actor actor[NR_ACTORS];
	struct task_struct *task[NR_TASKS];
	struct hrtimer softirq;
	struct hrtimer hardirq;
	struct irq_work work;
	bool active;
	atomic_t nmi_sent;
	u64 nmi_next;
};

static DEFINE_PER_CPU(struct torture_cpu *, torture_cpus);

/* What to do */
static unsigned long contexts = BIT(NR_CTX) - 1;
static u32 limit_mb;
static bool pressure;
static u32 max_order = MAX_PAGE_ORDER;
static u32 interval_us = 500;

/* What is being done */
static DEFINE_MUTEX(run_lock);	/* protects starting, stopping, @contexts */
static bool running;
static unsigned long running_contexts;
static unsigned long run_until;
static int hp_state;
static void run_end(struct work_struct *work);
static DECLARE_DELAYED_WORK(run_end_work, run_end);
static struct dentry *torture_dir;

static atomic_long_t pages_held;
static atomic_t problems;
static atomic_t nmis_lost;

static u32 rnd(struct actor *a, u32 below)
{
	return prandom_u32_state(&a->rnd) % below;
}

static bool runs(enum context ctx)
{
	return running_contexts & BIT(ctx);
}

/* Does LLFree keep the zones? Only then there is a file to validate it. */
static bool zones_by_llfree(void)
{
	struct dentry *dir = debugfs_lookup("page_alloc", NULL), *file;

	if (!dir)
		return false;
	file = debugfs_lookup("validate", dir);
	dput(file);
	dput(dir);
	return file;
}

/* ---- Owners ---- */

#define WORD_MAGIC	0x70a7ULL

static u64 word_make(struct actor *a)
{
	return WORD_MAGIC << 48 | (u64)a->ctx << 44 | (u64)a->cpu << 32 |
	       ++a->seq;
}

static const char *word_context(u64 word)
{
	unsigned int ctx = word >> 44 & 0xf;

	return word >> 48 == WORD_MAGIC && ctx < NR_CTX ? ctx_names[ctx] :
							  "nobody";
}

static bool problem(void)
{
	static DEFINE_RATELIMIT_STATE(rs, 5 * HZ, 10);

	atomic_inc(&problems);
	return __ratelimit(&rs);
}

static void fill(const struct held *h)
{
	u64 *at = page_address(h->page), *end = at + h->nr * (PAGE_SIZE / 8);

	for (; at < end; at += STRIDE / 8)
		WRITE_ONCE(*at, h->word);
}

/* Is everything as the owner left it? */
static void check(const struct actor *a, const struct held *h, u64 word,
		  const char *what)
{
	u64 *start = page_address(h->page), *at, found;
	u64 *end = start + h->nr * (PAGE_SIZE / 8);

	for (at = start; at < end; at += STRIDE / 8) {
		found = READ_ONCE(*at);
		if (likely(found == word))
			continue;
		if (problem())
			WARN(1, "%s: pfn %#lx order %u offset %#zx: %#llx (%s, CPU %llu) instead of %#llx (%s, CPU %llu), found in %s on CPU %u\n",
			     what, page_to_pfn(h->page), h->order,
			     (at - start) * sizeof(*at), found,
			     word_context(found), found >> 32 & 0xfff, word,
			     word_context(word), word >> 32 & 0xfff,
			     ctx_names[a->ctx], a->cpu);
		return;
	}
}

/* ---- Pages ---- */

static bool room(unsigned int nr)
{
	return atomic_long_read(&pages_held) + nr <=
	       (long)READ_ONCE(limit_mb) << (20 - PAGE_SHIFT);
}

static unsigned int pick_order(struct actor *a)
{
	unsigned int most = min(READ_ONCE(max_order), MAX_PAGE_ORDER);
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
	/* Neither may an NMI wake anybody, nor touch the reserves. */
	gfp_t gfp = 0;

	if (a->ctx == CTX_TASK)
		gfp = task[rnd(a, ARRAY_SIZE(task))];
	else if (a->ctx != CTX_NMI)
		gfp = rnd(a, 2) ? GFP_ATOMIC : GFP_NOWAIT;
	/* The zone and the migratetype of these exclude each other. */
	if (!(gfp & GFP_ZONEMASK))
		gfp |= mobility[rnd(a, ARRAY_SIZE(mobility))];
	return gfp | __GFP_NOWARN | __GFP_NORETRY;
}

static int pick_node(struct actor *a)
{
	int node = rnd(a, nr_node_ids);

	return rnd(a, 4) || !node_state(node, N_MEMORY) ? NUMA_NO_NODE : node;
}

/* A block that was just allocated becomes the actor's. */
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
		     atomic_read(&page->_mapcount) != -1) && problem())
		WARN(1, "allocated page is in use: pfn %#lx order %u count %d, in %s on CPU %u\n",
		     page_to_pfn(page), order, page_count(page),
		     ctx_names[a->ctx], a->cpu);
	if (gfp & __GFP_ZERO)
		check(a, h, 0, "zeroed page has content");
	fill(h);
	atomic_long_add(h->nr, &pages_held);
	a->counts.allocs++;
	a->counts.pages += h->nr;
}

static void pages_get(struct actor *a, struct held *h)
{
	unsigned int order = pick_order(a);
	enum kind kind = KIND_WHOLE;
	gfp_t gfp = pick_gfp(a);
	struct page *page;
	u64 ns;

	/* The others never hold much. */
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

static void pages_put(struct actor *a, struct held *h)
{
	struct page *page = h->page;
	unsigned int i;

	check(a, h, h->word, "page had two owners");
	atomic_long_sub(h->nr, &pages_held);
	a->counts.frees++;
	h->page = NULL;

	switch (h->kind) {
	case KIND_WHOLE:
		__free_pages(page, h->order);
		break;
	case KIND_PIECES:
		split_page(page, h->order);
		/* Every third one, then those between. */
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

static bool exchange_put(struct actor *a, struct held *h)
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

static bool exchange_get(struct exchanged *e, struct held *h)
{
	if (atomic_cmpxchg(&e->state, EXCHANGE_FULL, EXCHANGE_BUSY) !=
	    EXCHANGE_FULL)
		return false;
	*h = e->held;
	atomic_set_release(&e->state, EXCHANGE_EMPTY);
	return true;
}

static bool growing(const struct actor *a)
{
	return a->steps / PHASE_STEPS % 2;
}

static void pages_step(struct actor *a)
{
	struct held *h = &a->held[rnd(a, NR_HELD)];

	if (h->page) {
		if (growing(a) && rnd(a, 4))
			return;
		if (rnd(a, 4) || !exchange_put(a, h))
			pages_put(a, h);
		return;
	}
	if (!growing(a) && rnd(a, 4))
		return;
	if (rnd(a, 8) || !exchange_get(&exchange[rnd(a, NR_EXCHANGED)], h))
		pages_get(a, h);
}

/* ---- What only tasks do ---- */

static void bulk_step(struct actor *a)
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
		pages_put(a, &h);
	}
}

/* Take all there is, in small blocks, and give it back; one task at a time. */
static void pressure_step(struct actor *a)
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
		pages_put(a, &h);
		cond_resched();
	}
	mutex_unlock(&lock);
}

/* ---- The core ---- */

#ifdef CONFIG_LLFREE

/* Not aligned to anything, and large enough for slots that CPUs must share */
#define CORE_FIRST	(0x100000UL + 3 * LLFREE_CHILD_FRAMES + 77)
#define CORE_FRAMES	(36 * LLFREE_TREE_FRAMES + 111)
/* Most are taken from the start, so that it runs out of them again and again. */
#define CORE_FREE	(num_online_cpus() * LLFREE_TREE_FRAMES)
#define CORE_PLUG	1U

static struct llfree core;
static struct llfree_memory core_mem;
static struct llfree_local *core_locals;
/* Who has a frame: 0 or the upper half of an owner's word. */
static u32 *core_owner;
static DEFINE_MUTEX(core_views);	/* serialises changes of views */

static u32 core_id(const struct actor *a)
{
	return WORD_MAGIC << 16 | a->ctx << 12 | a->cpu;
}

static void core_own(const struct actor *a, unsigned long frame, u32 from,
		     u32 to)
{
	u32 old = cmpxchg(&core_owner[frame - CORE_FIRST], from, to);

	if (unlikely(old != from) && problem())
		WARN(1, "core: frame %#lx: owner %#x instead of %#x, in %s on CPU %u\n",
		     frame, old, from, ctx_names[a->ctx], a->cpu);
}

static void core_own_all(const struct actor *a, const struct core_held *h,
			 u32 from, u32 to)
{
	unsigned long i;
	u64 mask;

	for (mask = h->mask; mask; mask &= mask - 1)
		core_own(a, h->frame + __ffs64(mask), from, to);
	for (i = 0; !h->mask && i < 1UL << h->order; i++)
		core_own(a, h->frame + i, from, to);
}

static void core_delta(struct actor *a, const struct llfree_delta *delta)
{
	unsigned int view;

	for (view = 0; view < LLFREE_NR_VIEWS; view++)
		a->frames[view] += delta->frames[view];
}

/* More large blocks than of pages: they are what meets others on the way. */
static unsigned int core_order(struct actor *a)
{
	u32 r = rnd(a, 100);

	if (a->ctx != CTX_TASK || r < 50)
		return pick_order(a);
	return r < 80 ? LLFREE_ROW_ORDER + 1 + rnd(a, 2) :
			LLFREE_CHILD_ORDER + rnd(a, 2);
}

static int core_slot(struct actor *a)
{
	if (!core.nr_slots || !rnd(a, 8))
		return LLFREE_NO_SLOT;
	return a->cpu % core.nr_slots;
}

static void core_get(struct actor *a, struct core_held *h)
{
	struct llfree_request req = {
		.slot = core_slot(a),
		.order = core_order(a),
		.class = rnd(a, LLFREE_NR_CLASSES),
		.view = rnd(a, 8) ? LLFREE_VIEW_NORMAL : LLFREE_VIEW_CMA,
		.flags = rnd(a, 8) ? 0 : LLFREE_GET_NOFRAGMENT,
	};
	struct llfree_delta delta = { };
	long frame;
	u64 ns;

	h->order = req.order;
	h->mask = 0;
	ns = ktime_get_mono_fast_ns();
	if (req.order <= LLFREE_ROW_ORDER && !rnd(a, 3)) {
		frame = llfree_get_bulk(&core, &req, 1 + rnd(a, 64), &h->mask,
					&delta);
	} else if (a->ctx == CTX_TASK && !rnd(a, 8)) {
		frame = ALIGN_DOWN(CORE_FIRST + rnd(a, CORE_FRAMES),
				   1UL << req.order);
		if (llfree_claim(&core, frame, req.order,
				 rnd(a, 2) ? LLFREE_CLAIM_HIDDEN : 0, &delta))
			frame = -ENOMEM;
	} else {
		frame = llfree_get(&core, &req, &delta);
	}
	ns = ktime_get_mono_fast_ns() - ns;
	if (ns > a->core_counts.max_ns)
		a->core_counts.max_ns = ns;
	core_delta(a, &delta);
	if (frame < 0) {
		a->core_counts.failed++;
		return;
	}
	h->frame = frame;
	h->used = true;
	core_own_all(a, h, 0, core_id(a));
	a->core_counts.allocs++;
	a->core_counts.pages += h->mask ? hweight64(h->mask) : 1UL << h->order;
}

static void core_put(struct actor *a, struct core_held *h)
{
	struct llfree_delta delta = { };
	int slot = core_slot(a), ret = 0;
	unsigned long i;

	core_own_all(a, h, core_id(a), 0);
	h->used = false;
	if (h->mask)
		ret = llfree_put_bulk(&core, slot, h->frame, h->mask, &delta);
	else if (h->order && h->order <= EXCHANGE_ORDER && !rnd(a, 4))
		for (i = 0; i < 1UL << h->order && !ret; i++)
			ret = llfree_put(&core, slot, h->frame + i, 0, &delta);
	else
		ret = llfree_put(&core, slot, h->frame, h->order, &delta);
	core_delta(a, &delta);
	if (ret && problem())
		WARN(1, "core: put of frame %#lx order %u mask %#llx: %d, in %s on CPU %u\n",
		     h->frame, h->order, h->mask, ret, ctx_names[a->ctx],
		     a->cpu);
	a->core_counts.frees++;
}

static void core_step(struct actor *a)
{
	struct core_held *h = &a->core[rnd(a, NR_HELD)];

	if (h->used) {
		if (!growing(a) || !rnd(a, 4))
			core_put(a, h);
	} else if (growing(a) || !rnd(a, 4)) {
		core_get(a, h);
	}
}

/* Now and then a child goes to another view. */
static void core_set_view(struct actor *a)
{
	static const u8 views[] = {
		LLFREE_VIEW_NORMAL, LLFREE_VIEW_NORMAL, LLFREE_VIEW_NORMAL,
		LLFREE_VIEW_CMA, LLFREE_VIEW_HIGHATOMIC, LLFREE_VIEW_ISOLATED,
	};
	struct llfree_delta delta = { };

	mutex_lock(&core_views);
	llfree_set_view(&core, CORE_FIRST + rnd(a, CORE_FRAMES),
			views[rnd(a, ARRAY_SIZE(views))], &delta);
	mutex_unlock(&core_views);
	core_delta(a, &delta);
	if (core.nr_slots && !rnd(a, 8))
		llfree_drain(&core, rnd(a, core.nr_slots));
}

/* Leave some rows free here and there, and some children as a whole. */
static void core_plug(struct actor *a)
{
	const u32 share = CORE_FRAMES / min(CORE_FREE, CORE_FRAMES) * 2;
	struct core_held h = { .order = LLFREE_ROW_ORDER };
	struct llfree_delta delta = { };
	unsigned long end = CORE_FIRST + CORE_FRAMES;
	bool keep = false;

	for (h.frame = ALIGN(CORE_FIRST, LLFREE_ROW_FRAMES); h.frame < end;
	     h.frame += LLFREE_ROW_FRAMES) {
		if (IS_ALIGNED(h.frame, LLFREE_CHILD_FRAMES))
			keep = !rnd(a, share);
		if (keep || !rnd(a, share))
			continue;
		if (!llfree_claim(&core, h.frame, h.order, 0, &delta))
			core_own_all(a, &h, 0, CORE_PLUG);
	}
	core_delta(a, &delta);
}

static void core_unplug(struct actor *a)
{
	struct core_held h = { .order = LLFREE_ROW_ORDER };
	struct llfree_delta delta = { };
	unsigned long end = CORE_FIRST + CORE_FRAMES;

	for (h.frame = ALIGN(CORE_FIRST, LLFREE_ROW_FRAMES); h.frame < end;
	     h.frame += LLFREE_ROW_FRAMES) {
		if (READ_ONCE(core_owner[h.frame - CORE_FIRST]) != CORE_PLUG)
			continue;
		core_own_all(a, &h, CORE_PLUG, 0);
		if (llfree_put(&core, LLFREE_NO_SLOT, h.frame, h.order,
			       &delta) && problem())
			WARN(1, "core: put of row %#lx failed\n", h.frame);
	}
	core_delta(a, &delta);
}

static void core_free(void)
{
	vfree(core_mem.rows);
	vfree(core_mem.children);
	vfree(core_mem.trees);
	vfree(core_owner);
	kfree(core_locals);
	memset(&core_mem, 0, sizeof(core_mem));
	core_owner = NULL;
	core_locals = NULL;
}

static int core_start(void)
{
	unsigned int slots;
	int ret;

	ret = llfree_layout(CORE_FIRST, CORE_FRAMES, &core_mem);
	if (ret)
		return ret;
	core_mem.rows = vzalloc(core_mem.rows_size);
	core_mem.children = vzalloc(core_mem.children_size);
	core_mem.trees = vzalloc(core_mem.trees_size);
	core_owner = vzalloc(CORE_FRAMES * sizeof(*core_owner));
	ret = -ENOMEM;
	if (!core_mem.rows || !core_mem.children || !core_mem.trees ||
	    !core_owner)
		goto fail;
	ret = llfree_init(&core, CORE_FIRST, CORE_FRAMES, &core_mem,
			  LLFREE_INIT_FREE, NULL);
	if (ret)
		goto fail;
	slots = min(nr_cpu_ids, llfree_max_slots(&core));
	if (slots) {
		core_locals = kzalloc(roundup_pow_of_two(slots *
							 sizeof(*core_locals)),
				      GFP_KERNEL);
		ret = core_locals ? llfree_set_slots(&core, core_locals, slots) :
				    -ENOMEM;
		if (ret)
			goto fail;
	}
	core_plug(per_cpu(torture_cpus, 0)->actor);
	return 0;
fail:
	core_free();
	return ret;
}

/* Nobody has a frame any more: does the core know that? */
static void core_stop(void)
{
	s64 frames[LLFREE_NR_VIEWS] = { [LLFREE_VIEW_NORMAL] = CORE_FRAMES };
	struct llfree_fault fault = { };
	struct llfree_stats stats;
	unsigned int cpu, i, view;
	int ret;

	core_unplug(per_cpu(torture_cpus, 0)->actor);
	for_each_possible_cpu(cpu) {
		struct actor *a = per_cpu(torture_cpus, cpu)->actor;

		for (i = 0; i < NR_ACTORS; i++)
			for (view = 0; view < LLFREE_NR_VIEWS; view++)
				frames[view] += a[i].frames[view];
	}
	ret = llfree_validate(&core, &fault);
	if (ret && problem())
		WARN(1, "core: %s at %#lx: %ld expected, %ld found\n",
		     fault.what ?: "error", fault.frame, fault.expected,
		     fault.found);
	llfree_stats_exact(&core, &stats);
	for (i = 0, view = 0; view < LLFREE_NR_VIEWS; view++) {
		i += stats.frames[view];
		if (stats.frames[view] != frames[view] && problem())
			WARN(1, "core: %lu frames free in view %u, %lld reported\n",
			     stats.frames[view], view, frames[view]);
	}
	if (i != CORE_FRAMES && problem())
		WARN(1, "core: %u frames of %lu came back\n", i, CORE_FRAMES);
	core_free();
}

#else
static void core_step(struct actor *a) { }
static void core_set_view(struct actor *a) { }
static void core_put(struct actor *a, struct core_held *h) { }
static int core_start(void) { return -EOPNOTSUPP; }
static void core_stop(void) { }
#endif

/* ---- Contexts ---- */

static void steps(struct actor *a, unsigned int nr)
{
	while (nr--) {
		a->steps++;
		if (runs(a->ctx))
			pages_step(a);
		if (runs(CTX_CORE))
			core_step(a);
	}
}

#ifdef HAVE_NMI_IPI

/*
 * What cannot be seen from here: fail_page_alloc has to filter by task, lest it
 * asks for random numbers in NMIs, and there must be no cpuset, which
 * __alloc_pages() may have to wait for.
 */
static const char *nmi_pages_refused(void)
{
	struct dentry *owner;

	if (!zones_by_llfree())
		return "the buddy allocator takes zone->lock";
	if (IS_ENABLED(CONFIG_PREEMPT_RT))
		return "locks of per-CPU lists sleep";
	if (IS_ENABLED(CONFIG_DEBUG_OBJECTS_FREE))
		return "CONFIG_DEBUG_OBJECTS_FREE takes locks";
	if (debug_pagealloc_enabled())
		return "debug_pagealloc changes page tables";
	if (IS_ENABLED(CONFIG_KMSAN))
		return "CONFIG_KMSAN keeps stacks";
#ifdef CONFIG_UNACCEPTED_MEMORY
	if (global_zone_page_state(NR_UNACCEPTED))
		return "accepting memory takes zone->lock";
#endif
	owner = debugfs_lookup("page_owner", NULL);
	if (owner) {
		dput(owner);
		return "page_owner keeps stacks";
	}
	return NULL;
}

static int torture_nmi(unsigned int type, struct pt_regs *regs)
{
	struct torture_cpu *tc = this_cpu_read(torture_cpus);
	u64 start = ktime_get_mono_fast_ns(), now;

	if (!tc || !atomic_read(&tc->nmi_sent))
		return NMI_DONE;
	steps(&tc->actor[ACTOR_NMI], 4);
	if (runs(CTX_IRQ_WORK) && READ_ONCE(tc->active))
		irq_work_queue(&tc->work);
	now = ktime_get_mono_fast_ns();
	WRITE_ONCE(tc->nmi_next, now + max(READ_ONCE(interval_us) * NSEC_PER_USEC,
					   BUSY_SHARE * (now - start)));
	atomic_set_release(&tc->nmi_sent, 0);
	return NMI_HANDLED;
}

/* To a random CPU, so that NMIs hit whatever is going on there. */
static void nmi_send(struct actor *a)
{
	unsigned int cpu = rnd(a, nr_cpu_ids);
	struct torture_cpu *tc;

	if (!cpu_possible(cpu))
		return;
	tc = per_cpu(torture_cpus, cpu);
	/* A CPU does not go off meanwhile, nor does torture_cpu_stop() go on. */
	preempt_disable();
	if (cpu_online(cpu) && READ_ONCE(tc->active) &&
	    ktime_get_mono_fast_ns() > READ_ONCE(tc->nmi_next) &&
	    !atomic_cmpxchg(&tc->nmi_sent, 0, 1))
		__apic_send_IPI_mask(cpumask_of(cpu), NMI_VECTOR);
	preempt_enable();
}

static int nmi_start(void)
{
	return register_nmi_handler(NMI_LOCAL, torture_nmi, 0, KBUILD_MODNAME);
}

static void nmi_stop(void)
{
	unregister_nmi_handler(NMI_LOCAL, KBUILD_MODNAME);
}

static void nmi_wait(struct torture_cpu *tc)
{
	unsigned long end = jiffies + NMI_WAIT;

	synchronize_rcu();
	while (atomic_read_acquire(&tc->nmi_sent)) {
		if (time_after(jiffies, end)) {
			atomic_inc(&nmis_lost);
			atomic_set(&tc->nmi_sent, 0);
			return;
		}
		usleep_range(20, 200);
	}
}

#else
static const char *nmi_pages_refused(void)
{
	return "no NMIs that can be sent here";
}

static void nmi_send(struct actor *a) { }
static int nmi_start(void) { return 0; }
static void nmi_stop(void) { }
static void nmi_wait(struct torture_cpu *tc) { }
#endif

static int torture_task(void *data)
{
	struct actor *a = data;
	unsigned int i, us;

#ifdef CONFIG_FAULT_INJECTION
	/* For those who filter faults by task */
	current->make_it_fail = 1;
#endif
	while (!kthread_should_stop()) {
		if (kthread_should_park()) {
			kthread_parkme();
			continue;
		}
		for (i = 0; i < 8; i++) {
			steps(a, 4);
			if (runs(CTX_NMI) || runs(CTX_CORE))
				nmi_send(a);
			cond_resched();
		}
		if (runs(CTX_TASK)) {
			bulk_step(a);
			if (READ_ONCE(pressure) && !rnd(a, 32))
				pressure_step(a);
		}
		if (runs(CTX_CORE) && !rnd(a, 4))
			core_set_view(a);
		us = READ_ONCE(interval_us);
		usleep_range(us / 2, us * 4);
	}
	return 0;
}

/* Leaves the CPU time for others, and comes at another moment each time. */
static enum hrtimer_restart again(struct hrtimer *timer, struct actor *a,
				  u64 start)
{
	u64 now = ktime_get_mono_fast_ns();
	u64 delay = max(READ_ONCE(interval_us) * NSEC_PER_USEC,
			BUSY_SHARE * (now - start));

	delay += rnd(a, delay / 2 + 1);
	hrtimer_forward_now(timer, ns_to_ktime(delay));
	return HRTIMER_RESTART;
}

static enum hrtimer_restart torture_softirq(struct hrtimer *timer)
{
	struct torture_cpu *tc = container_of(timer, struct torture_cpu,
					      softirq);
	struct actor *a = &tc->actor[ACTOR_SOFTIRQ];
	u64 start = ktime_get_mono_fast_ns();

	steps(a, 8);
	return again(timer, a, start);
}

static enum hrtimer_restart torture_hardirq(struct hrtimer *timer)
{
	struct torture_cpu *tc = container_of(timer, struct torture_cpu,
					      hardirq);
	struct actor *a = &tc->actor[ACTOR_HARDIRQ];
	u64 start = ktime_get_mono_fast_ns();

	steps(a, 4);
	irq_work_queue(&tc->work);
	return again(timer, a, start);
}

static void torture_irq_work(struct irq_work *work)
{
	struct torture_cpu *tc = container_of(work, struct torture_cpu, work);

	steps(&tc->actor[ACTOR_IRQ_WORK], 4);
}

/* Runs on the CPU, when it comes and when the test starts. */
static int torture_cpu_start(unsigned int cpu)
{
	ktime_t delay = ns_to_ktime(interval_us * NSEC_PER_USEC);
	struct torture_cpu *tc = per_cpu(torture_cpus, cpu);
	unsigned int i;

	WRITE_ONCE(tc->active, true);
	for (i = 0; i < NR_TASKS; i++)
		kthread_unpark(tc->task[i]);
	hrtimer_start(&tc->softirq, delay, HRTIMER_MODE_REL_PINNED_SOFT);
	hrtimer_start(&tc->hardirq, delay, HRTIMER_MODE_REL_PINNED_HARD);
	return 0;
}

/* Runs on the CPU, before it goes and when the test stops. */
static int torture_cpu_stop(unsigned int cpu)
{
	struct torture_cpu *tc = per_cpu(torture_cpus, cpu);
	unsigned int i, j;

	WRITE_ONCE(tc->active, false);
	for (i = 0; i < NR_TASKS; i++)
		kthread_park(tc->task[i]);
	nmi_wait(tc);
	hrtimer_cancel(&tc->softirq);
	hrtimer_cancel(&tc->hardirq);
	irq_work_sync(&tc->work);

	/* Now all its actors are ours. */
	for (i = 0; i < NR_ACTORS; i++) {
		struct actor *a = &tc->actor[i];

		for (j = 0; j < NR_HELD; j++) {
			if (a->held[j].page)
				pages_put(a, &a->held[j]);
			if (a->core[j].used)
				core_put(a, &a->core[j]);
		}
		cond_resched();
	}
	return 0;
}

/* ---- Start and stop ---- */

static void tasks_stop(void)
{
	unsigned int cpu, i;

	for_each_possible_cpu(cpu) {
		struct torture_cpu *tc = per_cpu(torture_cpus, cpu);

		for (i = 0; i < NR_TASKS; i++) {
			if (tc->task[i])
				kthread_stop(tc->task[i]);
			tc->task[i] = NULL;
		}
	}
}

/* All of them now, for a CPU that comes may find no memory. */
static int tasks_start(void)
{
	struct task_struct *task;
	unsigned int cpu, i;

	for_each_possible_cpu(cpu) {
		struct torture_cpu *tc = per_cpu(torture_cpus, cpu);

		for (i = 0; i < NR_TASKS; i++) {
			task = kthread_create_on_cpu(torture_task,
						     &tc->actor[ACTOR_TASK + i],
						     cpu, "page_torture/%u");
			if (IS_ERR(task)) {
				tasks_stop();
				return PTR_ERR(task);
			}
			kthread_park(task);
			tc->task[i] = task;
		}
	}
	return 0;
}

/* Why a context cannot be; NULL if it can */
static const char *ctx_refused(enum context ctx)
{
	switch (ctx) {
	case CTX_NMI:
		return nmi_pages_refused();
	case CTX_HARDIRQ:
	case CTX_IRQ_WORK:
		return IS_ENABLED(CONFIG_PREEMPT_RT) ?
		       "locks of per-CPU lists sleep" : NULL;
	case CTX_CORE:
		return IS_ENABLED(CONFIG_LLFREE) ? NULL : "no CONFIG_LLFREE";
	default:
		return NULL;
	}
}

static int torture_start(unsigned int seconds)
{
	unsigned int cpu, i;
	int ret;

	running_contexts = contexts;
	for_each_possible_cpu(cpu) {
		struct torture_cpu *tc = per_cpu(torture_cpus, cpu);

		for (i = 0; i < NR_ACTORS; i++) {
			struct actor *a = &tc->actor[i];

			memset(&a->counts, 0, sizeof(a->counts));
			memset(&a->core_counts, 0, sizeof(a->core_counts));
			memset(a->frames, 0, sizeof(a->frames));
			prandom_seed_state(&a->rnd, get_random_u64());
		}
	}
	atomic_set(&nmis_lost, 0);
	if (runs(CTX_CORE)) {
		ret = core_start();
		if (ret)
			return ret;
	}
	ret = tasks_start();
	if (ret)
		goto no_tasks;
	ret = nmi_start();
	if (ret)
		goto no_nmi;
	ret = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "mm/page_alloc_torture",
				torture_cpu_start, torture_cpu_stop);
	if (ret < 0)
		goto no_cpuhp;
	hp_state = ret;
	running = true;
	run_until = jiffies + seconds * HZ;
	mod_delayed_work(system_wq, &run_end_work, seconds * HZ);
	return 0;

no_cpuhp:
	nmi_stop();
no_nmi:
	tasks_stop();
no_tasks:
	if (runs(CTX_CORE))
		core_stop();
	return ret;
}

static void torture_stop(void)
{
	struct actor *a = per_cpu(torture_cpus, 0)->actor;
	struct held h;
	unsigned int i;

	lockdep_assert_held(&run_lock);
	if (!running)
		return;
	cpuhp_remove_state(hp_state);
	nmi_stop();
	tasks_stop();
	for (i = 0; i < NR_EXCHANGED; i++)
		if (exchange_get(&exchange[i], &h))
			pages_put(a, &h);
	if (atomic_long_read(&pages_held) && problem())
		WARN(1, "%ld pages are still held\n",
		     atomic_long_read(&pages_held));
	if (runs(CTX_CORE))
		core_stop();
	running = false;
}

static void run_end(struct work_struct *work)
{
	mutex_lock(&run_lock);
	/* Maybe stopped and started again since */
	if (running && time_after_eq(jiffies, run_until))
		torture_stop();
	mutex_unlock(&run_lock);
}

/* ---- Files ---- */

static int run_show(struct seq_file *m, void *unused)
{
	long left = 0;

	mutex_lock(&run_lock);
	if (running)
		left = max((long)(run_until - jiffies) / HZ, 0L) + 1;
	mutex_unlock(&run_lock);
	seq_printf(m, "%ld\n", left);
	return 0;
}

static ssize_t run_write(struct file *file, const char __user *buf,
			 size_t size, loff_t *pos)
{
	unsigned int seconds;
	int ret;

	ret = kstrtouint_from_user(buf, size, 0, &seconds);
	if (ret)
		return ret;
	if (seconds > INT_MAX / HZ)
		return -ERANGE;
	ret = mutex_lock_interruptible(&run_lock);
	if (ret)
		return ret;
	if (!seconds)
		torture_stop();
	else
		ret = running ? -EBUSY : torture_start(seconds);
	mutex_unlock(&run_lock);
	return ret ?: size;
}
DEFINE_SHOW_STORE_ATTRIBUTE(run);

static int contexts_show(struct seq_file *m, void *unused)
{
	const char *why;
	unsigned int i;

	for (i = 0; i < NR_CTX; i++) {
		why = ctx_refused(i);
		if (why)
			seq_printf(m, "%s (skipped: %s)\n", ctx_names[i], why);
		else
			seq_printf(m, contexts & BIT(i) ? "[%s]\n" : "%s\n",
				   ctx_names[i]);
	}
	return 0;
}

static unsigned long contexts_possible(void)
{
	unsigned long all = 0;
	unsigned int i;

	for (i = 0; i < NR_CTX; i++)
		if (!ctx_refused(i))
			all |= BIT(i);
	return all;
}

static ssize_t contexts_write(struct file *file, const char __user *buf,
			      size_t size, loff_t *pos)
{
	unsigned long wanted = 0;
	char text[128], *rest = text, *name;
	int i;

	if (size >= sizeof(text))
		return -E2BIG;
	if (copy_from_user(text, buf, size))
		return -EFAULT;
	text[size] = 0;
	while ((name = strsep(&rest, " ,\n"))) {
		if (!*name)
			continue;
		if (!strcmp(name, "all")) {
			wanted |= contexts_possible();
			continue;
		}
		i = match_string(ctx_names, NR_CTX, name);
		if (i < 0) {
			pr_info("no context %s\n", name);
			return -EINVAL;
		}
		if (ctx_refused(i)) {
			pr_info("not in context %s: %s\n", name,
				ctx_refused(i));
			return -EOPNOTSUPP;
		}
		wanted |= BIT(i);
	}
	if (!wanted)
		return -EINVAL;
	i = mutex_lock_interruptible(&run_lock);
	if (i)
		return i;
	contexts = wanted;
	mutex_unlock(&run_lock);
	return size;
}
DEFINE_SHOW_STORE_ATTRIBUTE(contexts);

static void stats_row(struct seq_file *m, const char *prefix,
		      unsigned int first, unsigned int end, bool of_core)
{
	struct counts sum = { };
	unsigned int cpu, i;

	for_each_possible_cpu(cpu) {
		for (i = first; i < end; i++) {
			struct actor *a = &per_cpu(torture_cpus, cpu)->actor[i];
			/* Nobody stops counting for us. */
			struct counts c = data_race(of_core ? a->core_counts :
							      a->counts);

			sum.allocs += c.allocs;
			sum.pages += c.pages;
			sum.failed += c.failed;
			sum.frees += c.frees;
			sum.max_ns = max(sum.max_ns, c.max_ns);
		}
	}
	seq_printf(m, "%s%s %llu %llu %llu %llu %llu\n", prefix,
		   ctx_names[per_cpu(torture_cpus, 0)->actor[first].ctx],
		   sum.allocs, sum.pages, sum.failed, sum.frees,
		   sum.max_ns / NSEC_PER_USEC);
}

static int stats_show(struct seq_file *m, void *unused)
{
	unsigned int i;

	seq_puts(m, "context allocs pages failed frees max_us\n");
	for (i = 0; i < 2; i++) {
		const char *prefix = i ? "core-" : "";

		stats_row(m, prefix, ACTOR_TASK, ACTOR_SOFTIRQ, i);
		stats_row(m, prefix, ACTOR_SOFTIRQ, ACTOR_HARDIRQ, i);
		stats_row(m, prefix, ACTOR_HARDIRQ, ACTOR_IRQ_WORK, i);
		stats_row(m, prefix, ACTOR_IRQ_WORK, ACTOR_NMI, i);
		stats_row(m, prefix, ACTOR_NMI, NR_ACTORS, i);
	}
	seq_printf(m, "held %ld\n", atomic_long_read(&pages_held));
	seq_printf(m, "nmis_lost %d\n", atomic_read(&nmis_lost));
	seq_printf(m, "problems %d\n", atomic_read(&problems));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(stats);

/* ---- Misuse ---- */

/* What a misuse is only possible with */
#define NEEDS_LLFREE		0x1
#define NEEDS_DEBUG_VM		0x2
#define NEEDS_NO_DEBUG_VM	0x4
#define NEEDS_OTHER_ZONE	0x8
#define NEEDS_MANY		0x10
#define NEEDS_EXCLUSIVE		0x20

/* How long pages are used that are not allocated */
#define USE_TIME		HZ

/**
 * struct misuse - a way to free or to use what must not be
 * @name: its name
 * @order: size of the block that is allocated for it
 * @needs: NEEDS_* flags
 * @freed: how many pages are free after it that were not before
 * @commit: does it, while all CPUs stand still
 * @use: NULL, or a use of a page that goes on for a while before that, no matter
 *	whether the page is allocated
 * @done: it was committed
 * @got: how many pages are free after it
 *
 * The other pages of the block are lost, on purpose.
 */
struct misuse {
	const char *name;
	unsigned int order;
	unsigned int needs;
	long freed;
	void (*commit)(struct misuse *m);
	void (*use)(struct page *page);
	bool done;
	long got;
};

/* What the misuse under way works with */
static struct {
	struct page *page;
	struct zone *zone;
	struct zone *other;
	struct page **pages;
	unsigned long nr;
} victim;

/* To the zone at once: without the lock, the per-CPU list is not to be had. */
static void free_direct(struct page *page, unsigned int order)
{
	struct per_cpu_pages *pcp;

	pcp = this_cpu_ptr(page_zone(page)->per_cpu_pageset);
	spin_lock(&pcp->lock);
	__free_pages(page, order);
	spin_unlock(&pcp->lock);
}

/* As if there were a reference. */
static void free_forced(struct page *page, unsigned int order)
{
	set_page_count(page, 1);
	free_direct(page, order);
}

static void commit_double(struct misuse *m)
{
	free_direct(victim.page, m->order);
	free_forced(victim.page, m->order);
}

/* __free_pages() takes this for a block that somebody else has a reference to. */
static void commit_double_unforced(struct misuse *m)
{
	free_direct(victim.page, m->order);
	free_direct(victim.page, m->order);
	set_page_count(victim.page, 0);
}

/* Once to the zone, once by a per-CPU list that is drained then. */
static void commit_double_batch(struct misuse *m)
{
	unsigned long i;

	free_direct(victim.page, 0);
	set_page_count(victim.page, 1);
	__free_page(victim.page);
	for (i = 0; i < victim.nr; i++)
		__free_page(victim.pages[i]);
	m->freed = victim.nr + 1;
	victim.nr = 0;
}

static void commit_part(struct misuse *m)
{
	free_forced(victim.page + (1U << m->order) / 3, 0);
	free_direct(victim.page, m->order);
}

static void commit_larger(struct misuse *m)
{
	free_forced(victim.page + (1U << (m->order - 1)), m->order - 1);
	free_direct(victim.page, m->order);
}

static void commit_smaller(struct misuse *m)
{
	free_direct(victim.page, m->order - 1);
}

/* After that, what was right all the time must still be possible. */
static void commit_misaligned(struct misuse *m)
{
	free_forced(victim.page + 1, m->order - 1);
	set_page_count(victim.page, 1);
	free_direct(victim.page, m->order);
}

/* A page that says it is from a zone that does not span it */
static void commit_foreign(struct misuse *m)
{
	set_page_zone(victim.page, zone_idx(victim.other));
	free_direct(victim.page, 0);
	set_page_zone(victim.page, zone_idx(victim.zone));
	free_forced(victim.page, 0);
}

static void commit_mapped(struct misuse *m)
{
	atomic_set(&victim.page->_mapcount, 0);
	free_direct(victim.page, 0);
}

static void commit_reserved(struct misuse *m)
{
	struct page *page = ZERO_PAGE(0);
	int count = page_count(page);

	free_forced(page, 0);
	set_page_count(page, count);
	/* This one is nothing but a frame to compare with. */
	free_direct(victim.page, 0);
}

/* What was wrong came before. */
static void commit_free(struct misuse *m)
{
	free_direct(victim.page, m->order);
}

/*
 * Neither changes anything, for the page may be somebody else's by now. And
 * neither is a plain access, which KCSAN would also look at for its own sake.
 */
static void use_private(struct page *page)
{
	READ_ONCE(page->private);
}

static void use_flags(struct page *page)
{
	cmpxchg_relaxed(&page->flags, 0, 0);
}

/* There are no per-CPU lists of it: each block comes from the zone. */
#define ZONE_ORDER	(PAGE_ALLOC_COSTLY_ORDER + 1)

static struct misuse misuses[] = {
	{ "double-0", 0, NEEDS_LLFREE, 1, commit_double },
	{ "double-3", 3, NEEDS_LLFREE, 8, commit_double },
	{ "double-9", 9, NEEDS_LLFREE, 512, commit_double },
	{ "double-10", 10, NEEDS_LLFREE, 1024, commit_double },
	{ "double-batch", 0, NEEDS_LLFREE | NEEDS_MANY, 0,
	  commit_double_batch },
	{ "double-unforced", 3, NEEDS_LLFREE | NEEDS_NO_DEBUG_VM, 8,
	  commit_double_unforced },
	{ "part-3", 3, NEEDS_LLFREE, 1, commit_part },
	{ "part-8", 8, NEEDS_LLFREE, 1, commit_part },
	{ "part-9", 9, NEEDS_LLFREE, 1, commit_part },
	{ "part-10", 10, NEEDS_LLFREE, 1, commit_part },
	{ "larger", 3, NEEDS_LLFREE, 4, commit_larger },
	{ "smaller", 3, NEEDS_LLFREE, 4, commit_smaller },
	{ "misaligned", 4, NEEDS_LLFREE, 16, commit_misaligned },
	{ "foreign", 0, NEEDS_LLFREE | NEEDS_OTHER_ZONE, 1, commit_foreign },
	{ "mapped", 0, NEEDS_DEBUG_VM, 0, commit_mapped },
	{ "reserved", 0, NEEDS_DEBUG_VM, 1, commit_reserved },
	{ "use-private", ZONE_ORDER, NEEDS_EXCLUSIVE, 1L << ZONE_ORDER,
	  commit_free, use_private },
	{ "use-flags", ZONE_ORDER, NEEDS_EXCLUSIVE, 1L << ZONE_ORDER,
	  commit_free, use_flags },
};

/* Why a misuse is not to be committed; NULL if it can be */
static const char *misuse_refused(const struct misuse *m)
{
	if (!IS_ENABLED(CONFIG_SMP))
		return "per-CPU lists are always to be had without CONFIG_SMP";
	if (debug_pagealloc_enabled())
		return "debug_pagealloc has unmapped what is free";
	if ((m->needs & NEEDS_LLFREE) && !zones_by_llfree())
		return "the buddy allocator would not survive it";
	if ((m->needs & NEEDS_DEBUG_VM) && !IS_ENABLED(CONFIG_DEBUG_VM))
		return "would not be noticed without CONFIG_DEBUG_VM";
	if ((m->needs & NEEDS_NO_DEBUG_VM) && IS_ENABLED(CONFIG_DEBUG_VM))
		return "is a BUG() with CONFIG_DEBUG_VM";
	if ((m->needs & NEEDS_EXCLUSIVE) &&
	    (!IS_ENABLED(CONFIG_LLFREE_CHECK_EXCLUSIVE) || !zones_by_llfree()))
		return "takes LLFree with CONFIG_LLFREE_CHECK_EXCLUSIVE to be noticed";
	if ((m->needs & NEEDS_EXCLUSIVE) && num_online_cpus() < 2)
		return "takes two CPUs";
	return NULL;
}

/* Free pages of the zone, and those in the per-CPU list at hand */
static long misuse_count(void)
{
	return zone_page_state_snapshot(victim.zone, NR_FREE_PAGES) +
	       this_cpu_ptr(victim.zone->per_cpu_pageset)->count;
}

static int misuse_commit(void *data)
{
	struct misuse *m = data;
	long before = misuse_count();

	m->commit(m);
	m->got = misuse_count() - before;
	m->done = true;
	return 0;
}

/* Another zone of the node that does not span the page */
static struct zone *misuse_other_zone(void)
{
	struct zone *zones = victim.zone->zone_pgdat->node_zones;
	unsigned int i;

	for (i = 0; i < MAX_NR_ZONES; i++)
		if (populated_zone(&zones[i]) &&
		    !zone_spans_pfn(&zones[i], page_to_pfn(victim.page)))
			return &zones[i];
	return NULL;
}

/* More pages of the same kind than a per-CPU list ever holds */
static int misuse_get_many(void)
{
	struct per_cpu_pages *pcp = raw_cpu_ptr(victim.zone->per_cpu_pageset);
	unsigned long want = pcp->high_max + 2UL * pcp->batch;

	if (want > totalram_pages() / 4)
		return -ENOSPC;
	victim.pages = kvcalloc(want, sizeof(*victim.pages), GFP_KERNEL);
	if (!victim.pages)
		return -ENOMEM;
	for (victim.nr = 0; victim.nr < want; victim.nr++) {
		struct page *page = alloc_page(GFP_KERNEL | __GFP_NOWARN |
					       __GFP_NORETRY);

		if (!page)
			return -ENOMEM;
		victim.pages[victim.nr] = page;
		/* Others would not push the page out of its list. */
		if (page_zone(page) != victim.zone) {
			victim.nr++;
			return -ENOSPC;
		}
	}
	return 0;
}

static struct page *misuse_alloc(struct misuse *m)
{
	return alloc_pages_node(first_online_node, GFP_KERNEL | __GFP_NOWARN |
				__GFP_NORETRY, m->order);
}

static int use_task(void *data)
{
	struct misuse *m = data;
	struct page *page;
	unsigned int i;

	while (!kthread_should_stop()) {
		page = READ_ONCE(victim.page);
		for (i = 0; i < 1U << m->order; i++)
			m->use(page + i);
		cond_resched();
	}
	return 0;
}

/* One task uses the victim while the other frees it, and is given it again. */
static int misuse_use(struct misuse *m)
{
	unsigned long end = jiffies + USE_TIME;
	struct page *page = victim.page;
	struct task_struct *task;

	task = kthread_run(use_task, m, "page_misuse");
	if (IS_ERR(task))
		return PTR_ERR(task);
	do {
		__free_pages(page, m->order);
		page = misuse_alloc(m);
		if (!page)
			break;
		WRITE_ONCE(victim.page, page);
		cond_resched();
	} while (time_before(jiffies, end));
	kthread_stop(task);
	victim.page = page;
	if (!page)
		return -ENOMEM;
	victim.zone = page_zone(page);
	return 0;
}

static int misuse_run(struct misuse *m)
{
	int ret = 0;

	memset(&victim, 0, sizeof(victim));
	victim.page = misuse_alloc(m);
	if (!victim.page)
		return -ENOMEM;
	victim.zone = page_zone(victim.page);
	if (m->needs & NEEDS_OTHER_ZONE) {
		victim.other = misuse_other_zone();
		if (!victim.other)
			ret = -ENOENT;
	}
	if (m->needs & NEEDS_MANY)
		ret = misuse_get_many();
	if (!ret)
		pr_info("misuse %s of pfn %#lx\n", m->name,
			page_to_pfn(victim.page));
	if (!ret && m->use)
		ret = misuse_use(m);
	if (!ret)
		ret = stop_machine(misuse_commit, m, NULL);
	else if (victim.page)
		__free_pages(victim.page, m->order);
	while (victim.nr--)
		__free_page(victim.pages[victim.nr]);
	kvfree(victim.pages);
	return ret;
}

static int misuse_show(struct seq_file *m, void *unused)
{
	const struct misuse *u;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(misuses); i++) {
		u = &misuses[i];
		if (misuse_refused(u))
			seq_printf(m, "%s (skipped: %s)\n", u->name,
				   misuse_refused(u));
		else if (u->done)
			seq_printf(m, "%s done: freed %ld of %ld, lost %ld\n",
				   u->name, u->got, u->freed,
				   (u->needs & NEEDS_MANY ? u->freed :
				    1L << u->order) - u->got);
		else
			seq_printf(m, "%s\n", u->name);
	}
	return 0;
}

static ssize_t misuse_write(struct file *file, const char __user *buf,
			    size_t size, loff_t *pos)
{
	char text[32];
	unsigned int i;
	int ret;

	if (size >= sizeof(text))
		return -E2BIG;
	if (copy_from_user(text, buf, size))
		return -EFAULT;
	text[size] = 0;
	for (i = 0; i < ARRAY_SIZE(misuses); i++)
		if (sysfs_streq(text, misuses[i].name))
			break;
	if (i == ARRAY_SIZE(misuses))
		return -EINVAL;
	if (misuse_refused(&misuses[i]))
		return -EOPNOTSUPP;
	ret = mutex_lock_interruptible(&run_lock);
	if (ret)
		return ret;
	ret = running ? -EBUSY : misuse_run(&misuses[i]);
	mutex_unlock(&run_lock);
	return ret ?: size;
}
DEFINE_SHOW_STORE_ATTRIBUTE(misuse);

/* ---- Blocks that are freed in pieces ---- */

static int pieces_set(void *data, u64 nr)
{
	unsigned int order;
	struct page *page;
	size_t size;
	void *at;
	u64 i;

	for (order = 1; order <= MAX_PAGE_ORDER; order++) {
		size = PAGE_SIZE * ((1UL << order) - 1);
		for (i = 0; i < nr; i++) {
			page = alloc_pages(GFP_KERNEL | __GFP_NOWARN, order);
			if (!page)
				return -ENOMEM;
			get_page(page);
			__free_pages(page, order);
			put_page(page);

			at = alloc_pages_exact(size, GFP_KERNEL | __GFP_NOWARN);
			if (!at)
				return -ENOMEM;
			free_pages_exact(at, size);
			if (signal_pending(current))
				return -EINTR;
			cond_resched();
		}
	}
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(pieces_fops, NULL, pieces_set, "%llu\n");

/* ---- Module ---- */

static void torture_free(void)
{
	unsigned int cpu;

	for_each_possible_cpu(cpu)
		kfree(per_cpu(torture_cpus, cpu));
}

static int torture_alloc(void)
{
	unsigned int cpu, i;

	for_each_possible_cpu(cpu) {
		struct torture_cpu *tc;

		tc = kzalloc_node(sizeof(*tc), GFP_KERNEL, cpu_to_node(cpu));
		if (!tc) {
			torture_free();
			return -ENOMEM;
		}
		for (i = 0; i < NR_ACTORS; i++) {
			tc->actor[i].cpu = cpu;
			tc->actor[i].ctx = i < ACTOR_SOFTIRQ ? CTX_TASK :
					   CTX_SOFTIRQ + i - ACTOR_SOFTIRQ;
		}
		hrtimer_init(&tc->softirq, CLOCK_MONOTONIC,
			     HRTIMER_MODE_REL_PINNED_SOFT);
		tc->softirq.function = torture_softirq;
		hrtimer_init(&tc->hardirq, CLOCK_MONOTONIC,
			     HRTIMER_MODE_REL_PINNED_HARD);
		tc->hardirq.function = torture_hardirq;
		tc->work = IRQ_WORK_INIT_HARD(torture_irq_work);
		per_cpu(torture_cpus, cpu) = tc;
	}
	return 0;
}

static int __init torture_init(void)
{
	int ret;

	ret = torture_alloc();
	if (ret)
		return ret;
	contexts = contexts_possible();
	limit_mb = totalram_pages() >> (20 - PAGE_SHIFT) >> 2;

	torture_dir = debugfs_create_dir(KBUILD_MODNAME, NULL);
	debugfs_create_file("run", 0600, torture_dir, NULL, &run_fops);
	debugfs_create_file("contexts", 0600, torture_dir, NULL,
			    &contexts_fops);
	debugfs_create_file("stats", 0400, torture_dir, NULL, &stats_fops);
	debugfs_create_file("misuse", 0600, torture_dir, NULL, &misuse_fops);
	debugfs_create_file("pieces", 0200, torture_dir, NULL, &pieces_fops);
	debugfs_create_u32("limit_mb", 0600, torture_dir, &limit_mb);
	debugfs_create_u32("max_order", 0600, torture_dir, &max_order);
	debugfs_create_u32("interval_us", 0600, torture_dir, &interval_us);
	debugfs_create_bool("pressure", 0600, torture_dir, &pressure);
	return 0;
}
module_init(torture_init);

static void __exit torture_exit(void)
{
	debugfs_remove(torture_dir);
	mutex_lock(&run_lock);
	torture_stop();
	mutex_unlock(&run_lock);
	cancel_delayed_work_sync(&run_end_work);
	torture_free();
}
module_exit(torture_exit);

MODULE_DESCRIPTION("Torture test of the page allocator");
MODULE_LICENSE("GPL");
