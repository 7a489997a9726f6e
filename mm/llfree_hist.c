// SPDX-License-Identifier: GPL-2.0
/*
 * Histograms of page allocations, with either allocator.
 *
 * Counts allocations by order and migratetype, failed allocations and frees by
 * order, on each CPU. Probes of the tracepoints kmem:mm_page_alloc and
 * kmem:mm_page_free count; a tracepoint without a probe is a branch that is not
 * taken. Files in /sys/kernel/debug/page_alloc/hist control it:
 *
 *   enable  Write 1 to clear all counts and start, 0 to stop. Reads 0 or 1.
 *   allocs  Allocations by CPU, migratetype and order; failed ones by CPU and
 *           order
 *   frees   Frees by CPU and order
 *
 * Each freed block passes kmem:mm_page_free once. Some blocks then also pass
 * kmem:mm_page_free_batched, where a probe would count them again.
 *
 * Documentation/admin-guide/mm/llfree.rst says what the counts do not include.
 */
#include <linux/cpumask.h>
#include <linux/debugfs.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/seq_file.h>
#include <linux/string.h>
#include <linux/tracepoint.h>

#include <trace/events/kmem.h>

/* First a row for each migratetype that a request can have */
enum hist_row {
	HIST_FAILED = MIGRATE_PCPTYPES,
	HIST_FREED,
	NR_HIST_ROWS,
};

/**
 * struct hist - counts of a CPU
 * @count: events by row and order
 */
struct hist {
	unsigned long count[NR_HIST_ROWS][NR_PAGE_ORDERS];
};

/**
 * struct hist_file - what a file shows
 * @first: first row
 * @last: last row
 */
struct hist_file {
	unsigned int first;
	unsigned int last;
};

static const struct hist_file allocs_file = { 0, HIST_FAILED };
static const struct hist_file frees_file = { HIST_FREED, HIST_FREED };

/* Protects the variables below, and the start of counting against readers. */
static DEFINE_MUTEX(hist_lock);
static struct hist __percpu *hists;	/* NULL until the first start */
static bool hist_on;

/* ---- Probes ---- */

static struct hist __percpu *probe_hists(void *data)
{
	return (__force struct hist __percpu *)data;
}

/*
 * Runs with preemption disabled, in any context. this_cpu_inc() is one
 * operation for interrupts and NMIs of the CPU, where the architecture has
 * such an instruction.
 */
static void probe_alloc(void *data, struct page *page, unsigned int order,
			gfp_t gfp, int migratetype)
{
	unsigned int row = page ? migratetype : HIST_FAILED;

	/* gfp_migratetype() gives no other migratetype to a correct request. */
	if ((page && row >= MIGRATE_PCPTYPES) || order > MAX_PAGE_ORDER)
		return;
	this_cpu_inc(probe_hists(data)->count[row][order]);
}

static void probe_free(void *data, struct page *page, unsigned int order)
{
	unsigned long nr = 1;

	/* A gigantic page is several blocks of the highest order. */
	if (order > MAX_PAGE_ORDER) {
		nr <<= order - MAX_PAGE_ORDER;
		order = MAX_PAGE_ORDER;
	}
	this_cpu_add(probe_hists(data)->count[HIST_FREED][order], nr);
}

/* ---- Start and stop ---- */

/*
 * Probes get the counts as their argument: a tracepoint orders its argument,
 * but no other variable, before the probe.
 */
static int hist_start(void)
{
	void *data = (__force void *)hists;
	int cpu, err;

	for_each_possible_cpu(cpu)
		memset(per_cpu_ptr(hists, cpu), 0, sizeof(*hists));

	err = register_trace_mm_page_alloc(probe_alloc, data);
	if (err)
		return err;
	err = register_trace_mm_page_free(probe_free, data);
	if (err) {
		unregister_trace_mm_page_alloc(probe_alloc, data);
		tracepoint_synchronize_unregister();
		return err;
	}
	hist_on = true;
	return 0;
}

/* No probe runs any more when the function returns. */
static void hist_stop(void)
{
	void *data = (__force void *)hists;

	unregister_trace_mm_page_free(probe_free, data);
	unregister_trace_mm_page_alloc(probe_alloc, data);
	tracepoint_synchronize_unregister();
	hist_on = false;
}

static int enable_get(void *unused, u64 *value)
{
	mutex_lock(&hist_lock);
	*value = hist_on;
	mutex_unlock(&hist_lock);
	return 0;
}

static int enable_set(void *unused, u64 value)
{
	int err = 0;

	if (value > 1)
		return -EINVAL;

	mutex_lock(&hist_lock);
	if (hist_on)
		hist_stop();
	if (value) {
		if (!hists)
			hists = alloc_percpu(struct hist);
		err = hists ? hist_start() : -ENOMEM;
	}
	mutex_unlock(&hist_lock);
	return err;
}
DEFINE_DEBUGFS_ATTRIBUTE(enable_fops, enable_get, enable_set, "%llu\n");

/* ---- Tables ---- */

/* Add the row of a CPU. */
static void add_row(unsigned long *sum, int cpu, unsigned int row)
{
	const struct hist *hist = per_cpu_ptr(hists, cpu);
	unsigned int order;

	for (order = 0; order < NR_PAGE_ORDERS; order++)
		/* A probe may be counting meanwhile. */
		sum[order] += data_race(hist->count[row][order]);
}

static const char *row_name(unsigned int row)
{
	switch (row) {
	case HIST_FAILED:
		return "Failed";
	case HIST_FREED:
		return "Freed";
	default:
		return migratetype_names[row];
	}
}

static void print_row(struct seq_file *m, unsigned int row,
		      const unsigned long *count)
{
	unsigned int order;

	seq_printf(m, " %-12s", row_name(row));
	for (order = 0; order < NR_PAGE_ORDERS; order++)
		seq_printf(m, " %10lu", count[order]);
	seq_putc(m, '\n');
}

static void print_head(struct seq_file *m)
{
	unsigned int order;

	seq_printf(m, "%-5s %-12s", "cpu", "type");
	for (order = 0; order < NR_PAGE_ORDERS; order++)
		seq_printf(m, " %*s%u", order < 10 ? 9 : 8, "order", order);
	seq_putc(m, '\n');
}

/* Rows of a CPU, of those with a count that is not 0 */
static void print_cpu(struct seq_file *m, int cpu)
{
	const struct hist_file *file = m->private;
	unsigned int row;

	for (row = file->first; row <= file->last; row++) {
		unsigned long count[NR_PAGE_ORDERS] = { };

		add_row(count, cpu, row);
		if (!memchr_inv(count, 0, sizeof(count)))
			continue;
		seq_printf(m, "%-5d", cpu);
		print_row(m, row, count);
	}
}

static void print_sums(struct seq_file *m)
{
	const struct hist_file *file = m->private;
	unsigned int row;
	int cpu;

	for (row = file->first; row <= file->last; row++) {
		unsigned long sum[NR_PAGE_ORDERS] = { };

		if (hists)
			for_each_possible_cpu(cpu)
				add_row(sum, cpu, row);
		seq_printf(m, "%-5s", "all");
		print_row(m, row, sum);
	}
}

/* The head is at position 0, a CPU at its number + 1, the sums at the end. */
static void *hist_pos(loff_t *pos)
{
	return *pos <= nr_cpu_ids + 1 ? pos : NULL;
}

static void *table_start(struct seq_file *m, loff_t *pos)
{
	mutex_lock(&hist_lock);
	return hist_pos(pos);
}

static void *table_next(struct seq_file *m, void *v, loff_t *pos)
{
	++*pos;
	return hist_pos(pos);
}

static void table_stop(struct seq_file *m, void *v)
{
	mutex_unlock(&hist_lock);
}

static int table_show(struct seq_file *m, void *v)
{
	loff_t pos = *(loff_t *)v;

	if (!pos)
		print_head(m);
	else if (pos > nr_cpu_ids)
		print_sums(m);
	else if (hists && cpu_possible(pos - 1))
		print_cpu(m, pos - 1);
	return 0;
}

static const struct seq_operations table_sops = {
	.start = table_start,
	.next = table_next,
	.stop = table_stop,
	.show = table_show,
};
DEFINE_SEQ_ATTRIBUTE(table);

static int __init hist_init(void)
{
	/* zf_sysfs_init() has made it. */
	struct dentry *parent = debugfs_lookup("page_alloc", NULL);
	struct dentry *dir;

	if (!parent)
		return -ENOENT;
	dir = debugfs_create_dir("hist", parent);
	debugfs_create_file_unsafe("enable", 0600, dir, NULL, &enable_fops);
	debugfs_create_file("allocs", 0400, dir, (void *)&allocs_file,
			    &table_fops);
	debugfs_create_file("frees", 0400, dir, (void *)&frees_file,
			    &table_fops);
	dput(parent);
	return 0;
}
late_initcall(hist_init);
