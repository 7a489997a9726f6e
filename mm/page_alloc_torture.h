/* SPDX-License-Identifier: GPL-2.0 */
/* Declarations shared by the files of the torture test of the page allocator */
#ifndef _MM_PAGE_ALLOC_TORTURE_H
#define _MM_PAGE_ALLOC_TORTURE_H

#include <linux/debugfs.h>
#include <linux/hrtimer.h>
#include <linux/irq_work.h>
#include <linux/llfree.h>
#include <linux/percpu.h>
#include <linux/prandom.h>

/* Tasks on each CPU, which preempt each other */
#define NR_TASKS	2
/* Most blocks that an actor holds, of pages and of the core's frames */
#define NR_HELD		48
/* Largest order of a block that is passed to another actor */
#define EXCHANGE_ORDER	3
/*
 * An actor allocates more than it frees for so many steps, and then frees more
 * than it allocates for as many.
 */
#define PHASE_STEPS	256

enum context {
	CTX_TASK,
	CTX_SOFTIRQ,
	CTX_HARDIRQ,
	CTX_IRQ_WORK,
	CTX_NMI,
	CTX_CORE,
	NR_CTX,
};

/**
 * enum kind - how a block of pages is freed
 * @KIND_WHOLE: as it was allocated
 * @KIND_PIECES: page by page, after split_page()
 * @KIND_TAIL_FIRST: all but the first page, and the first page when the last
 *	reference is put
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
 * @word: value that the block is filled with
 * @nr: number of pages
 * @order: order of the allocation
 * @kind: how to free the block
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
 * @frame: first frame; for a batch the first frame of the child
 * @masks: bits of the frames in each row of the child, for a batch
 * @order: size of the block, or of the blocks of a batch
 * @batch: whether llfree_alloc_batch() returned the frames
 * @used: whether there are frames
 */
struct core_held {
	unsigned long frame;
	u64 masks[LLFREE_CHILD_ROWS];
	u8 order;
	bool batch;
	bool used;
};

/**
 * struct counts - counts of operations of an actor
 * @allocs: blocks that were allocated
 * @pages: pages, or frames, in these blocks
 * @failed: allocations that failed
 * @frees: blocks that were freed, including those from other actors
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
 * @rnd: state of random numbers
 * @ctx: the context
 * @cpu: the CPU
 * @seq: number of the block that the actor filled last
 * @steps: number of steps
 * @held: blocks of pages
 * @core: frames of the core
 * @counts: counts for pages
 * @core_counts: counts for the core's frames
 * @frames: changes of free frames that the core reported, by view
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
 * @actor: actors of the CPU
 * @task: tasks, parked unless the CPU is online and the test runs
 * @softirq: timer in softirq context
 * @hardirq: timer in hardirq context
 * @work: queued by @hardirq and by NMIs
 * @active: the CPU may be sent NMIs
 * @nmi_sent: an NMI was sent and has not been handled yet
 * @nmi_next: earliest time of the next NMI
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

DECLARE_PER_CPU(struct torture_cpu *, torture_cpus);

/* page_alloc_torture_main.c */
extern const char * const torture_ctx_names[NR_CTX];
extern unsigned long torture_contexts;	/* of the run */
bool zones_by_llfree(void);
int torture_block(void);
void torture_unblock(void);

static inline bool runs(enum context ctx)
{
	return torture_contexts & BIT(ctx);
}

static inline bool growing(const struct actor *a)
{
	return a->steps / PHASE_STEPS % 2;
}

static inline u32 rnd(struct actor *a, u32 below)
{
	return prandom_u32_state(&a->rnd) % below;
}

/* page_alloc_torture_pages.c */
#define WORD_MAGIC	0x70a7ULL

extern u32 torture_limit_mb;
extern u32 torture_max_order;
extern atomic_long_t torture_pages_held;
extern atomic_t torture_problems;
bool torture_problem(void);
unsigned int torture_pick_order(struct actor *a);
void torture_pages_step(struct actor *a);
void torture_bulk_step(struct actor *a);
void torture_pressure_step(struct actor *a);
void torture_pages_free_all(struct actor *a);
void torture_pages_end(struct actor *a);

/* page_alloc_torture_core.c */
#ifdef CONFIG_LLFREE
void torture_core_step(struct actor *a);
void torture_core_set_view(struct actor *a);
void torture_core_free_all(struct actor *a);
int torture_core_start(void);
void torture_core_stop(void);
#else
static inline void torture_core_step(struct actor *a) { }
static inline void torture_core_set_view(struct actor *a) { }
static inline void torture_core_free_all(struct actor *a) { }
static inline int torture_core_start(void) { return -EOPNOTSUPP; }
static inline void torture_core_stop(void) { }
#endif

/* page_alloc_misuse.c */
void misuse_create(struct dentry *dir);

#endif /* _MM_PAGE_ALLOC_TORTURE_H */
