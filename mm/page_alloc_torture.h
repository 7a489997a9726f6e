/* SPDX-License-Identifier: GPL-2.0 */
/* Between the files of the torture test of the page allocator */
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
/* Blocks that an actor holds at most, of pages and of the core's frames */
#define NR_HELD		48
/* Largest order of a block that goes to another actor */
#define EXCHANGE_ORDER	3
/* An actor takes more than it frees for so many steps, then the other way. */
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
 * enum kind - how a block is freed
 * @KIND_WHOLE: as it was allocated
 * @KIND_PIECES: page by page, after split_page()
 * @KIND_TAIL_FIRST: with another reference, whose end frees the first page
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
 * @frame: the first one; of a batch the first one of the child
 * @masks: which ones of each row of the child, for a batch
 * @order: size of the block, or of the blocks of a batch
 * @batch: whether llfree_alloc_batch() returned them
 * @used: whether there are any
 */
struct core_held {
	unsigned long frame;
	u64 masks[LLFREE_CHILD_ROWS];
	u8 order;
	bool batch;
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
