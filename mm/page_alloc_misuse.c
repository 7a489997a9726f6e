// SPDX-License-Identifier: GPL-2.0
/*
 * Misuse of the page allocator: pages that are freed twice, in part, or after the
 * free, and pages that are used after the free.
 *
 * The allocator has to report each misuse, and to go on. Two files of the torture
 * test commit them, or free blocks in pieces, which is no misuse:
 *
 *   misuse  Write the name of a misuse to commit it. Reads the names, the reason
 *           why some cannot be committed here, and the result of others.
 *   pieces  Write how many blocks of each order to allocate, one at a time, and
 *           to free in pieces: the first page last, as if there had been another
 *           reference to it, or page by page.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/gfp.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/stop_machine.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/vmstat.h>

#include "page_alloc_torture.h"

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

/* __free_pages() takes this for a block that has another reference. */
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
 * Neither changes anything, for the page may have another owner by now. And
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
static int misuse_alloc_many(void)
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
		ret = misuse_alloc_many();
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
	ret = torture_block();
	if (ret)
		return ret;
	ret = misuse_run(&misuses[i]);
	torture_unblock();
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

void misuse_create(struct dentry *dir)
{
	debugfs_create_file("misuse", 0600, dir, NULL, &misuse_fops);
	debugfs_create_file("pieces", 0200, dir, NULL, &pieces_fops);
}
