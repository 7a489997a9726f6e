// SPDX-License-Identifier: GPL-2.0
/*
 * Torture test of the page allocator.
 *
 * Allocates and frees pages from every context at once: tasks, softirqs,
 * hardirqs, irq_work and, where possible, NMIs. Loading the module starts
 * nothing; files in /sys/kernel/debug/page_alloc_torture do:
 *
 *   run          Write seconds to run, 0 to stop now. Read the seconds left.
 *   contexts     Write the names of contexts to run, or "all". Read the
 *                contexts that will run in brackets, and the reasons why others
 *                cannot.
 *   limit_mb     How much memory tasks hold at most, approximately
 *   pressure     Whether tasks take all memory that they can get, now and then
 *   max_order    Largest order of a block that tasks allocate
 *   interval_us  Shortest time between two interrupts of a kind on a CPU
 *   stats        Counts of operations since the last start
 *   misuse, pieces  See page_alloc_misuse.c.
 *
 * An owner fills its block with words that name the owner. An actor checks the
 * words before it frees the block, maybe in another context. A word of another
 * owner shows that the block had two owners. Such a block, or a block that
 * looks used when it is allocated, is a problem: the test warns of it and
 * counts it in stats.
 *
 * An actor is one context on one CPU. Actors share nothing, so actors need no
 * locks. Blocks move between actors through the exchange, where no actor waits.
 *
 * Context "core" runs lib/llfree/ in all those contexts, on an instance of this
 * module's own with made-up frames. No page allocator is around that instance,
 * so NMIs are always possible.
 *
 * Pages in NMIs need more than an allocator that takes no lock, see
 * nmi_pages_refused(). No caller should rely on them: __free_pages() does not
 * promise to work in NMIs.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cpuhotplug.h>
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/hrtimer.h>
#include <linux/irq_work.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/nmi.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/vmstat.h>

#include "page_alloc_torture.h"
#include "torture_run.h"

#ifdef CONFIG_X86_LOCAL_APIC
#include <asm/apic.h>
#endif

/* Per-CPU lists rely on spin_trylock(), which never fails without SMP. */
#if defined(CONFIG_X86_LOCAL_APIC) && defined(CONFIG_SMP) && \
	defined(register_nmi_handler)
#define HAVE_NMI_IPI
#endif

/* The pause after an interrupt is at least this factor times its duration. */
#define BUSY_SHARE	8
/* An NMI that has not arrived after this time is lost. */
#define NMI_WAIT	(2 * HZ)

const char * const torture_ctx_names[NR_CTX] = {
	[CTX_TASK] = "task",
	[CTX_SOFTIRQ] = "softirq",
	[CTX_HARDIRQ] = "hardirq",
	[CTX_IRQ_WORK] = "irq_work",
	[CTX_NMI] = "nmi",
	[CTX_CORE] = "core",
};

DEFINE_PER_CPU(struct torture_cpu *, torture_cpus);

/* Contexts of the next run, and of this one */
static unsigned long contexts = BIT(NR_CTX) - 1;	/* protected by run.lock */
unsigned long torture_contexts;
static bool pressure;
static u32 interval_us = 500;

static int torture_start(void);
static void torture_stop(void);
static struct torture_run run = {
	.start = torture_start,
	.stop = torture_stop,
};

static int hp_state;
static struct dentry *torture_dir;
static atomic_t nmis_lost;

/* Does LLFree keep the zones? Only then is there a file to validate them. */
bool zones_by_llfree(void)
{
	struct dentry *dir = debugfs_lookup("page_alloc", NULL), *file;

	if (!dir)
		return false;
	file = debugfs_lookup("validate", dir);
	dput(file);
	dput(dir);
	return file;
}

/* ---- Contexts ---- */

static void steps(struct actor *a, unsigned int nr)
{
	while (nr--) {
		a->steps++;
		if (runs(a->ctx))
			torture_pages_step(a);
		if (runs(CTX_CORE))
			torture_core_step(a);
	}
}

#ifdef HAVE_NMI_IPI

/*
 * Why NMIs cannot allocate pages; NULL if they can. Two conditions cannot be
 * checked here. fail_page_alloc has to filter by task, so that it does not ask
 * for random numbers in NMIs. There must be no cpuset, which __alloc_pages()
 * may have to wait for.
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

/* Send an NMI to a random CPU, to interrupt any operation there. */
static void nmi_send(struct actor *a)
{
	unsigned int cpu = rnd(a, nr_cpu_ids);
	struct torture_cpu *tc;

	if (!cpu_possible(cpu))
		return;
	tc = per_cpu(torture_cpus, cpu);
	/*
	 * With preemption off, the CPU does not go offline, and
	 * torture_cpu_stop() waits.
	 */
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
	/* For fault injection that filters by task */
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
			torture_bulk_step(a);
			if (READ_ONCE(pressure) && !rnd(a, 32))
				torture_pressure_step(a);
		}
		if (runs(CTX_CORE) && !rnd(a, 4))
			torture_core_set_view(a);
		us = READ_ONCE(interval_us);
		usleep_range(us / 2, us * 4);
	}
	return 0;
}

/* Start a timer again. Leave CPU time for other work, and vary the interval. */
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

/* Runs on the CPU, when the CPU comes online and when the test starts. */
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

/* Runs on the CPU, before the CPU goes offline and when the test stops. */
static int torture_cpu_stop(unsigned int cpu)
{
	struct torture_cpu *tc = per_cpu(torture_cpus, cpu);
	unsigned int i;

	WRITE_ONCE(tc->active, false);
	for (i = 0; i < NR_TASKS; i++)
		kthread_park(tc->task[i]);
	nmi_wait(tc);
	hrtimer_cancel(&tc->softirq);
	hrtimer_cancel(&tc->hardirq);
	irq_work_sync(&tc->work);

	/* Now no other context uses the actors of the CPU. */
	for (i = 0; i < NR_ACTORS; i++) {
		struct actor *a = &tc->actor[i];

		torture_pages_free_all(a);
		torture_core_free_all(a);
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

/*
 * Create all tasks now, since there may be no memory when a CPU comes online.
 */
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

/* Why a context cannot run; NULL if it can */
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

static int torture_start(void)
{
	unsigned int cpu, i;
	int ret;

	torture_contexts = contexts;
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
		ret = torture_core_start();
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
	return 0;

no_cpuhp:
	nmi_stop();
no_nmi:
	tasks_stop();
no_tasks:
	if (runs(CTX_CORE))
		torture_core_stop();
	return ret;
}

static void torture_stop(void)
{
	cpuhp_remove_state(hp_state);
	nmi_stop();
	tasks_stop();
	torture_pages_end(per_cpu(torture_cpus, 0)->actor);
	if (runs(CTX_CORE))
		torture_core_stop();
}

/* Prevent a start until torture_unblock(). Fails if a test runs. */
int torture_block(void)
{
	int ret;

	ret = mutex_lock_interruptible(&run.lock);
	if (ret)
		return ret;
	if (!run.running)
		return 0;
	mutex_unlock(&run.lock);
	return -EBUSY;
}

void torture_unblock(void)
{
	mutex_unlock(&run.lock);
}

/* ---- Files ---- */

static int contexts_show(struct seq_file *m, void *unused)
{
	const char *why;
	unsigned int i;

	for (i = 0; i < NR_CTX; i++) {
		why = ctx_refused(i);
		if (why)
			seq_printf(m, "%s (skipped: %s)\n", torture_ctx_names[i], why);
		else
			seq_printf(m, contexts & BIT(i) ? "[%s]\n" : "%s\n",
				   torture_ctx_names[i]);
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
		i = match_string(torture_ctx_names, NR_CTX, name);
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
	i = mutex_lock_interruptible(&run.lock);
	if (i)
		return i;
	contexts = wanted;
	mutex_unlock(&run.lock);
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
			/* The actors may be counting meanwhile. */
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
		   torture_ctx_names[per_cpu(torture_cpus, 0)->actor[first].ctx],
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
	seq_printf(m, "held %ld\n", atomic_long_read(&torture_pages_held));
	seq_printf(m, "nmis_lost %d\n", atomic_read(&nmis_lost));
	seq_printf(m, "problems %d\n", atomic_read(&torture_problems));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(stats);

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
	torture_limit_mb = totalram_pages() >> (20 - PAGE_SHIFT) >> 2;

	torture_dir = debugfs_create_dir(KBUILD_MODNAME, NULL);
	torture_run_create(&run, torture_dir);
	misuse_create(torture_dir);
	debugfs_create_file("contexts", 0600, torture_dir, NULL,
			    &contexts_fops);
	debugfs_create_file("stats", 0400, torture_dir, NULL, &stats_fops);
	debugfs_create_u32("limit_mb", 0600, torture_dir, &torture_limit_mb);
	debugfs_create_u32("max_order", 0600, torture_dir, &torture_max_order);
	debugfs_create_u32("interval_us", 0600, torture_dir, &interval_us);
	debugfs_create_bool("pressure", 0600, torture_dir, &pressure);
	return 0;
}
module_init(torture_init);

static void __exit torture_exit(void)
{
	debugfs_remove(torture_dir);
	mutex_lock(&run.lock);
	torture_run_stop(&run);
	mutex_unlock(&run.lock);
	cancel_delayed_work_sync(&run.end);
	torture_free();
}
module_exit(torture_exit);

MODULE_DESCRIPTION("Torture test of the page allocator");
MODULE_LICENSE("GPL");
