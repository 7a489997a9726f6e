// SPDX-License-Identifier: GPL-2.0
/*
 * Systematic exploration of the interleavings of threads on shared memory.
 *
 * Schedules. Two schedules differ only if they differ in the order of two
 * accesses to one word, at least one of which is a write. explore() repeats
 * runs from the start with other decisions, depth first, by dynamic partial
 * order reduction with source sets and sleep sets (Abdulla et al., POPL 2014).
 * At each access, a race is an earlier access that conflicts and does not
 * happen before this one. The other order then has to be explored from the
 * point of the earlier access. A thread that was explored from a point sleeps
 * until an access conflicts with its next one. Threads never wait here, so all
 * threads that have not ended can run.
 *
 * Weak memory. Each word has the history of its values. A thread has a view:
 * for each word, the oldest value that the thread may still see. Its loads
 * choose among the values that are not older. A failing compare-and-swap
 * chooses, too; a successful one acts on the newest value. Each value carries a
 * view. A release stores the view of its writer, and a relaxed write that of
 * the writer's last full barrier. A write that replaces a value atomically adds
 * the view of that value. An acquire joins the view of the value to that of the
 * reader. A full barrier joins the views of all values that were read before,
 * and the view of all other full barriers. A fully ordered atomic has a full
 * barrier on both sides, if it succeeds.
 *
 * So stores may become visible late and out of order, and loads may be early.
 * Three outcomes of the kernel's memory model are not seen here: a load that is
 * delayed past a later store of its thread, a store that overtakes another
 * store to the same word, and an acquire that orders nothing since it reads a
 * value of its own thread. One outcome is seen here that the model forbids: a
 * store from before a full barrier can be late for a thread that learns of the
 * barrier by a relaxed write of a third thread.
 */
#include <linux/atomic.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include <shim/shim.h>

#include "explore.h"
#include "inst.h"

#define NR_THREADS	EXPLORE_THREADS
#define STACK_SIZE	(128 << 10)
/* An address in units of the smallest size tells words apart. */
#define NR_LOCS		(EXPLORE_SIZE / 2)
#define LOC_FENCE	NR_LOCS
#define LOC_EVENT	(NR_LOCS + 1)
#define LOC_WATCHED	(NR_LOCS + 2)
#define LOC_NONE	(NR_LOCS + 3)

/* Limits of one run */
#define MAX_STEPS	65536
#define MAX_NODES	131072
#define MAX_VARS	128
#define MAX_VALUES	96
#define MAX_MSGS	2048

static void fatal(const char *what)
{
	fprintf(stderr, "explore: %s\n", what);
	abort();
}

/* ---- Decisions ---- */

enum node_kind { NODE_THREAD, NODE_CHOICE };

/* A point where runs differ: which thread goes on, or which value is chosen */
struct node {
	u8 kind;
	/* the current decision */
	u8 now;
	/* NODE_CHOICE: number of choices */
	u8 nr;
	/* NODE_THREAD, sets of threads: to try, tried, and useless to try */
	u8 todo;
	u8 done;
	u8 sleep;
};

static struct node nodes[MAX_NODES];
static unsigned int nr_nodes;
/*
 * Position of the current run, and where it leaves the decisions of the run
 * before
 */
static unsigned int cursor;
static unsigned int replayed;

/* ---- Steps ---- */

struct access {
	u16 loc;
	bool write;
	/* Is it a full barrier, too? */
	bool fence;
	/*
	 * Does it change a watched word, or something that is looked at with
	 * these words?
	 */
	bool watched;
};

struct event {
	struct access access;
	u8 tid;
	unsigned int node;
	/* For each thread, how many events of the run happen before this one */
	u32 clock[NR_THREADS];
};

static struct event events[MAX_STEPS];
static unsigned int nr_events;

/* Accesses to a word so far: numbers of events, from 1 on */
struct loc {
	unsigned long run;
	u32 write;
	u32 read[NR_THREADS];
	/*
	 * Weak memory: the variable of the word plus 1, once the word was
	 * written
	 */
	u8 var;
};

static struct loc locs[NR_LOCS + 3];

/* ---- Weak memory ---- */

struct view {
	u8 seen[MAX_VARS];
	u16 when[NR_THREADS];
};

struct msg {
	u64 val;
	struct view view;
};

struct var {
	u16 nr;
	u16 msgs[MAX_VALUES];
};

static struct msg msgs[MAX_MSGS];
static unsigned int nr_msgs;
static struct var vars[MAX_VARS];
static unsigned int nr_vars;
static struct view fence_view;
static unsigned int stale_left;

static struct thread {
	jmp_buf top;
	jmp_buf ctx;
	ucontext_t start;
	bool started;
	bool done;
	int preempt_count;
	bool in_step;
	unsigned long steps;
	struct access next;
	u32 clock[NR_THREADS];
	/*
	 * Weak memory: the view; additions to it by a full barrier; and the
	 * view that relaxed writes publish
	 */
	struct view view;
	struct view pending;
	struct view published;
	u16 when;
} threads[NR_THREADS];

static char stacks[NR_THREADS][STACK_SIZE] ____cacheline_aligned;

/* ---- State of a run ---- */

static const struct explore_test *test;
static const struct explore_options *opt;
static struct explore_result *res;
static jmp_buf main_ctx;
static unsigned long run;
static int current = -1;
static bool starting;
static u8 run_sleep;
static bool run_cut;
static bool tracing;
static const char *run_why;
static unsigned long long run_where;
static struct rng rng;

static void switch_to_main(void)
{
	threads[current].preempt_count = shim_preempt_count;
	if (!_setjmp(threads[current].ctx))
		_longjmp(main_ctx, 1);
}

static void switch_to(unsigned int tid)
{
	int from = current;

	if (from == tid)
		return;
	threads[from].preempt_count = shim_preempt_count;
	if (!_setjmp(threads[from].ctx)) {
		current = tid;
		shim_preempt_count = threads[tid].preempt_count;
		_longjmp(threads[tid].ctx, 1);
	}
}

void explore_fail(const char *why, unsigned long long where)
{
	if (tracing)
		fprintf(stderr, "#   T%d: FAULT: %s, %#llx\n", current, why, where);
	if (run_why)
		return;
	run_why = why;
	run_where = where;
}

static u8 runnable(void)
{
	unsigned int tid;
	u8 set = 0;

	for (tid = 0; tid < test->nr_threads; tid++)
		if (!threads[tid].done)
			set |= 1U << tid;
	return set;
}

static struct node *node_new(enum node_kind kind)
{
	struct node *node;

	if (nr_nodes == MAX_NODES)
		fatal("too many decisions in a run");
	node = &nodes[nr_nodes++];
	memset(node, 0, sizeof(*node));
	node->kind = kind;
	return node;
}

unsigned int explore_choose(unsigned int n)
{
	struct node *node;

	if (n < 2 || opt->freeze >= 0)
		return 0;
	if (opt->random)
		return rng_below(&rng, 4) ? 0 : rng_below(&rng, n);
	if (cursor < nr_nodes) {
		node = &nodes[cursor];
		if (node->kind != NODE_CHOICE || node->nr != n)
			fatal("a run cannot be repeated");
	} else {
		node = node_new(NODE_CHOICE);
		node->nr = n;
	}
	cursor++;
	return node->now;
}

int explore_thread(void)
{
	return current;
}

bool explore_preemptible(void)
{
	unsigned int tid;

	for (tid = 0; tid < test->nr_threads; tid++)
		if (tid == current ? shim_preempt_count :
				     threads[tid].preempt_count)
			return false;
	return true;
}

/* Decide which thread makes the next step. */
static int decide(void)
{
	u8 can = runnable(), set;
	struct node *node;

	if (opt->freeze >= 0) {
		if ((can & 1) && threads[0].steps < opt->freeze)
			return 0;
		if (can & 1)
			res->frozen = true;
		return can & ~1 ? __builtin_ctz(can & ~1) : 0;
	}
	if (opt->random) {
		if (current >= 0 && (can & (1U << current)) && rng_below(&rng, 3))
			return current;
		do {
			set = 1U << rng_below(&rng, test->nr_threads);
		} while (!(can & set));
		return __builtin_ctz(set);
	}

	if (cursor < nr_nodes) {
		node = &nodes[cursor++];
		if (node->kind != NODE_THREAD || !(can & (1U << node->now)))
			fatal("a run cannot be repeated");
		return node->now;
	}
	set = can & ~run_sleep;
	if (!set)
		return -1;
	node = node_new(NODE_THREAD);
	cursor++;
	node->sleep = run_sleep;
	node->now = current >= 0 && (set & (1U << current)) ? current :
							      __builtin_ctz(set);
	node->todo = opt->all ? can : 1U << node->now;
	return node->now;
}

/* Let the next thread go on. Returns at the next turn of the calling thread. */
static void schedule(void)
{
	int next = decide();

	if (next < 0) {
		run_cut = true;
		switch_to_main();
	}
	switch_to(next);
}

static bool conflict(const struct access *a, const struct access *b)
{
	if (a->loc == b->loc && (a->write || b->write) && a->loc != LOC_NONE)
		return true;
	return (a->watched && b->watched) || (opt->weak && a->fence && b->fence);
}

/* Is a change of this word watched? */
static bool is_watched(unsigned int loc, bool write)
{
	if (loc == LOC_WATCHED)
		return true;
	return write && loc < NR_LOCS && test->watched &&
	       test->watched((char *)test->mem + 2 * loc);
}

static struct loc *loc_get(unsigned int index)
{
	struct loc *loc = &locs[index];

	if (loc->run != run) {
		memset(loc, 0, sizeof(*loc));
		loc->run = run;
	}
	return loc;
}

/* Should another thread go first at the point where @early was made? */
static void race(u32 early, const struct access *access)
{
	struct node *node = &nodes[events[early - 1].node];
	u8 seen = 0, initials = 0, first = 0, bit;
	unsigned int i, u;

	/*
	 * Of the later events, look at those that do not happen after @early.
	 * Find the threads that could make the first one of these.
	 */
	for (i = early; i < nr_events; i++) {
		const struct event *e = &events[i];
		bool initial = true;

		if (e->clock[events[early - 1].tid] >= early)
			continue;
		bit = 1U << e->tid;
		if (seen & bit)
			continue;
		if (!seen)
			first = bit;
		seen |= bit;
		for (u = 0; u < test->nr_threads; u++)
			if (u != e->tid && e->clock[u] > early)
				initial = false;
		if (initial)
			initials |= bit;
	}
	bit = 1U << current;
	if (!(seen & bit)) {
		bool initial = true;

		for (u = 0; u < test->nr_threads; u++)
			if (threads[current].clock[u] > early)
				initial = false;
		/* Does it depend on no event in between? */
		for (i = early; i < nr_events && initial; i++)
			if (events[i].clock[events[early - 1].tid] < early &&
			    conflict(&events[i].access, access))
				initial = false;
		if (initial)
			initials |= bit;
		if (!seen)
			first = bit;
	}
	if (!(node->todo & (initials | first)))
		node->todo |= first;
}

/*
 * The current thread made @access: note its races, and wake threads that sleep.
 */
static void commit(struct access *access)
{
	struct thread *t = &threads[current];
	unsigned int places[3], nr_places = 0, i, u, v;
	struct event *e = &events[nr_events];
	u32 clock[NR_THREADS];

	memcpy(clock, t->clock, sizeof(clock));
	if (access->loc != LOC_NONE)
		places[nr_places++] = access->loc;
	if (opt->weak && access->fence)
		places[nr_places++] = LOC_FENCE;
	access->watched = is_watched(access->loc, access->write);
	if (access->watched && access->loc != LOC_WATCHED)
		places[nr_places++] = LOC_WATCHED;

	for (i = 0; i < nr_places; i++) {
		struct loc *loc = loc_get(places[i]);
		bool write = access->write || places[i] == LOC_FENCE;
		u32 early[NR_THREADS + 1];
		unsigned int nr = 0;

		if (loc->write)
			early[nr++] = loc->write;
		for (u = 0; write && u < test->nr_threads; u++)
			if (loc->read[u])
				early[nr++] = loc->read[u];
		while (nr--) {
			const struct event *o = &events[early[nr] - 1];

			if (o->tid != current && cursor >= replayed &&
			    t->clock[o->tid] < early[nr])
				race(early[nr], access);
			for (v = 0; v < test->nr_threads; v++)
				if (clock[v] < o->clock[v])
					clock[v] = o->clock[v];
		}
	}

	if (nr_events == MAX_STEPS)
		fatal("a run does not end");
	nr_events++;
	clock[current] = nr_events;
	memcpy(t->clock, clock, sizeof(clock));
	memcpy(e->clock, clock, sizeof(clock));
	e->access = *access;
	e->tid = current;
	for (i = 0; i < nr_places; i++) {
		struct loc *loc = loc_get(places[i]);

		if (access->write || places[i] == LOC_FENCE) {
			memset(loc->read, 0, sizeof(loc->read));
			loc->write = nr_events;
		} else {
			loc->read[current] = nr_events;
		}
	}
	t->steps++;
	res->steps++;
	if (opt->random || opt->freeze >= 0)
		return;

	/* The decision for this step is the last one about threads. */
	for (i = cursor; nodes[i - 1].kind != NODE_THREAD; i--)
		;
	e->node = i - 1;
	run_sleep = (nodes[e->node].sleep | nodes[e->node].done) &
		    ~(1U << current);
	for (u = 0; u < test->nr_threads; u++)
		if ((run_sleep & (1U << u)) &&
		    (opt->all || conflict(&threads[u].next, access)))
			run_sleep &= ~(1U << u);
}

/* Called before an access: let other threads go first. */
static void before(unsigned int loc, bool write, bool fence)
{
	struct thread *t = &threads[current];

	if (test->step && !t->in_step) {
		t->in_step = true;
		test->step(current);
		t->in_step = false;
	}
	t->next = (struct access){
		.loc = loc, .write = write, .fence = fence,
		.watched = is_watched(loc, write),
	};
	if (starting) {
		starting = false;
		switch_to_main();
		return;
	}
	schedule();
}

/* ---- Accesses ---- */

static void *map(const void *p)
{
	return test && test->map ? test->map(p) : (void *)p;
}

static bool is_shared(const void *p)
{
	return current >= 0 && (char *)p >= (char *)test->mem &&
	       (char *)p < (char *)test->mem + test->size;
}

static unsigned int loc_of(const void *p)
{
	return ((char *)p - (char *)test->mem) / 2;
}

static u64 mem_read(const void *p, unsigned int size)
{
	switch (size) {
	case 1:
		return *(const u8 *)p;
	case 2:
		return *(const u16 *)p;
	case 4:
		return *(const u32 *)p;
	default:
		return *(const u64 *)p;
	}
}

static void mem_write(void *p, unsigned int size, u64 val)
{
	switch (size) {
	case 1:
		*(u8 *)p = val;
		break;
	case 2:
		*(u16 *)p = val;
		break;
	case 4:
		*(u32 *)p = val;
		break;
	default:
		*(u64 *)p = val;
	}
}

static void trace(const char *what, const void *p, u64 old, u64 val)
{
	if (!tracing)
		return;
	fprintf(stderr, "#   T%d: %-12s %-18s %#llx", current, what,
		p && test->name ? test->name(p) : "",
		(unsigned long long)old);
	if (val != old)
		fprintf(stderr, " -> %#llx", (unsigned long long)val);
	fprintf(stderr, "\n");
}

static void join(struct view *to, const struct view *from)
{
	unsigned int i;

	for (i = 0; i < MAX_VARS; i++)
		to->seen[i] = to->seen[i] > from->seen[i] ? to->seen[i] :
							    from->seen[i];
	for (i = 0; i < NR_THREADS; i++)
		to->when[i] = to->when[i] > from->when[i] ? to->when[i] :
							    from->when[i];
}

static void full_barrier(struct thread *t)
{
	join(&t->view, &t->pending);
	join(&t->view, &fence_view);
	fence_view = t->view;
	t->published = t->view;
}

static bool acquires(int order)
{
	return order == __ATOMIC_ACQUIRE || order == __ATOMIC_SEQ_CST;
}

static bool releases(int order)
{
	return order == __ATOMIC_RELEASE || order == __ATOMIC_SEQ_CST;
}

/* The variable of a word, or -1 if the word was not written in this run */
static int var_of(const void *p)
{
	return (int)loc_get(loc_of(p))->var - 1;
}

/* Read the last value but @back. */
static u64 weak_read(struct thread *t, unsigned int var, unsigned int back,
		     int order)
{
	unsigned int n = vars[var].nr - 1 - back;
	const struct msg *msg = &msgs[vars[var].msgs[n]];

	t->view.seen[var] = n;
	t->pending.seen[var] = n;
	join(acquires(order) ? &t->view : &t->pending, &msg->view);
	return msg->val;
}

static struct msg *msg_new(struct var *var)
{
	if (nr_msgs == MAX_MSGS || var->nr == MAX_VALUES)
		fatal("too many writes in a run");
	var->msgs[var->nr++] = nr_msgs;
	return &msgs[nr_msgs++];
}

/* @replaces: the writer has read the last value, atomically */
static void weak_write(struct thread *t, const void *p, u64 old, u64 val,
		       int order, bool replaces)
{
	struct loc *loc = loc_get(loc_of(p));
	struct msg *msg, *last;
	struct var *var;

	if (!loc->var) {
		if (nr_vars == MAX_VARS)
			fatal("too many words are written in a run");
		var = &vars[nr_vars++];
		loc->var = nr_vars;
		var->nr = 0;
		msg = msg_new(var);
		memset(msg, 0, sizeof(*msg));
		msg->val = old;
	}
	var = &vars[loc->var - 1];
	last = &msgs[var->msgs[var->nr - 1]];
	msg = msg_new(var);
	msg->val = val;
	t->view.seen[loc->var - 1] = var->nr - 1;
	t->pending.seen[loc->var - 1] = var->nr - 1;
	msg->view = releases(order) ? t->view : t->published;
	/*
	 * A release is cumulative: it publishes all values that were read
	 * before, in any order.
	 */
	if (releases(order))
		join(&msg->view, &t->pending);
	msg->view.seen[loc->var - 1] = var->nr - 1;
	if (replaces)
		join(&msg->view, &last->view);
}

/* Number of values that a load may see */
static unsigned int nr_visible(const struct thread *t, int var)
{
	if (!opt->weak || var < 0 || !stale_left)
		return 1;
	return vars[var].nr - t->view.seen[var];
}

unsigned long long model_load(const void *p, unsigned int size, int order)
{
	struct thread *t;
	unsigned int back = 0;
	u64 val;
	const void *at = p;
	int var;

	p = map(at);
	if (!is_shared(p))
		return mem_read(p, size);

	before(loc_of(p), false, false);
	if (map(at) != p) {
		val = mem_read(map(at), size);
		commit(&(struct access){ .loc = loc_of(p) });
		return val;
	}
	t = &threads[current];
	val = mem_read(p, size);
	var = opt->weak ? var_of(p) : -1;
	if (var >= 0) {
		back = explore_choose(nr_visible(t, var));
		if (back)
			stale_left--;
		val = weak_read(t, var, back, order);
	}
	trace(back ? "load (old)" : "load", p, val, val);
	commit(&(struct access){ .loc = loc_of(p) });
	return val;
}

void model_store(void *p, unsigned int size, unsigned long long val, int order)
{
	void *at = p;
	u64 old;

	p = map(at);
	if (!is_shared(p)) {
		mem_write(p, size, val);
		return;
	}
	before(loc_of(p), true, false);
	if (map(at) != p) {
		mem_write(map(at), size, val);
		commit(&(struct access){ .loc = loc_of(p), .write = true });
		return;
	}
	old = mem_read(p, size);
	trace("store", p, old, val);
	if (opt->weak)
		weak_write(&threads[current], p, old, val, order, false);
	mem_write(p, size, val);
	commit(&(struct access){ .loc = loc_of(p), .write = true });
	if (test->wrote)
		test->wrote(p);
}

/*
 * Let a compare-and-swap fail with an old value that differs from the expected
 * one.
 */
static bool cmpxchg_stale(struct thread *t, const void *p, u64 *old)
{
	u8 backs[MAX_VALUES];
	unsigned int nr = 1, i, n;
	int var = var_of(p);

	if (var < 0)
		return false;
	n = nr_visible(t, var);
	backs[0] = 0;
	for (i = 1; i < n; i++)
		if (msgs[vars[var].msgs[vars[var].nr - 1 - i]].val != *old)
			backs[nr++] = i;
	i = backs[explore_choose(nr)];
	if (!i)
		return false;
	stale_left--;
	*old = weak_read(t, var, i, __ATOMIC_RELAXED);
	return true;
}

/* For memory that threads do not share */
static bool plain_cmpxchg(void *p, unsigned int size, unsigned long long *old,
			  unsigned long long val)
{
	const u64 found = mem_read(p, size);

	if (found == *old) {
		mem_write(p, size, val);
		return true;
	}
	*old = found;
	return false;
}

bool model_cmpxchg(void *p, unsigned int size, unsigned long long *old,
		   unsigned long long val, int order)
{
	bool full = order == __ATOMIC_SEQ_CST;
	struct thread *t;
	void *at = p;
	u64 found;
	int var;

	p = map(at);
	if (!is_shared(p))
		return plain_cmpxchg(p, size, old, val);

	before(loc_of(p), true, full);
	if (map(at) != p) {
		commit(&(struct access){ .loc = loc_of(p), .write = true });
		return plain_cmpxchg(map(at), size, old, val);
	}
	t = &threads[current];
	found = mem_read(p, size);
	if (opt->weak) {
		u64 stale = *old;

		if (cmpxchg_stale(t, p, &stale)) {
			*old = stale;
			trace("fail (old)", p, stale, stale);
			commit(&(struct access){ .loc = loc_of(p) });
			return false;
		}
	}
	var = opt->weak ? var_of(p) : -1;
	if (found != *old) {
		if (var >= 0)
			weak_read(t, var, 0, __ATOMIC_RELAXED);
		*old = found;
		trace("cmpxchg fails", p, found, found);
		commit(&(struct access){ .loc = loc_of(p) });
		return false;
	}
	if (opt->weak) {
		if (full)
			full_barrier(t);
		if (var >= 0)
			weak_read(t, var, 0, order);
		weak_write(t, p, found, val, order, true);
		if (full)
			full_barrier(t);
	}
	trace("cmpxchg", p, found, val);
	mem_write(p, size, val);
	commit(&(struct access){ .loc = loc_of(p), .write = true, .fence = full });
	if (test->wrote)
		test->wrote(p);
	return true;
}

unsigned long long model_xchg(void *p, unsigned int size,
			      unsigned long long val, int order)
{
	bool full = order == __ATOMIC_SEQ_CST;
	struct thread *t;
	u64 found;
	int var;

	if (!is_shared(p)) {
		found = mem_read(p, size);
		mem_write(p, size, val);
		return found;
	}

	before(loc_of(p), true, full);
	t = &threads[current];
	found = mem_read(p, size);
	var = opt->weak ? var_of(p) : -1;
	if (opt->weak) {
		if (full)
			full_barrier(t);
		if (var >= 0)
			weak_read(t, var, 0, order);
		weak_write(t, p, found, val, order, true);
		if (full)
			full_barrier(t);
	}
	trace("xchg", p, found, val);
	mem_write(p, size, val);
	commit(&(struct access){ .loc = loc_of(p), .write = true, .fence = full });
	if (test->wrote)
		test->wrote(p);
	return found;
}

void model_fence(void)
{
	/*
	 * With strong memory, a fence has no effect that other threads can see.
	 */
	if (current < 0 || !opt->weak)
		return;
	before(LOC_NONE, false, true);
	full_barrier(&threads[current]);
	trace("full barrier", NULL, 0, 0);
	commit(&(struct access){ .loc = LOC_NONE, .fence = true });
}

void explore_event(bool returned)
{
	if (current < 0)
		return;
	before(LOC_EVENT, returned, false);
	trace(returned ? "returned" : "begins", NULL, 0, 0);
	commit(&(struct access){ .loc = LOC_EVENT, .write = returned });
}

void explore_watched(const char *what)
{
	if (current < 0)
		return;
	before(LOC_WATCHED, true, false);
	trace(what, NULL, 0, 0);
	commit(&(struct access){ .loc = LOC_WATCHED, .write = true });
}

unsigned int explore_unseen(const void *p)
{
	int var;

	if (current < 0 || !opt->weak)
		return 0;
	var = var_of(p);
	return var < 0 ? 0 : vars[var].nr - 1 - threads[current].view.seen[var];
}

unsigned int model_cpu(void)
{
	return current < 0 ? 0 : current;
}

void explore_give(struct explore_stamp *stamp)
{
	struct thread *t;

	if (current < 0)
		return;
	t = &threads[current];
	t->view.when[current] = ++t->when;
	stamp->tid_plus_1 = current + 1;
	stamp->when = t->when;
}

void explore_take(const struct explore_stamp *stamp, unsigned long long where)
{
	unsigned int tid = stamp->tid_plus_1 - 1;

	if (current < 0 || !opt->weak || !stamp->tid_plus_1)
		return;
	if (threads[current].view.when[tid] < stamp->when)
		explore_fail("nothing orders the last owner's accesses before ours",
			     where);
}

/* ---- Runs ---- */

static void thread_main(int tid)
{
	struct thread *t = &threads[tid];

	/* Each run jumps back to here. */
	_setjmp(t->top);
	for (;;) {
		test->thread(current);
		t = &threads[current];
		t->done = true;
		if (starting) {
			starting = false;
			switch_to_main();
		}
		if (!runnable())
			switch_to_main();
		schedule();
	}
}

/* Run a thread up to its first access. */
static void thread_start(unsigned int tid)
{
	struct thread *t = &threads[tid];

	t->done = false;
	t->in_step = false;
	t->preempt_count = 0;
	t->steps = 0;
	t->next = (struct access){ .loc = LOC_NONE };
	memset(t->clock, 0, sizeof(t->clock));
	if (opt->weak) {
		memset(&t->view, 0, sizeof(t->view));
		memset(&t->pending, 0, sizeof(t->pending));
		memset(&t->published, 0, sizeof(t->published));
		t->when = 0;
	}
	current = tid;
	starting = true;
	shim_preempt_count = 0;
	if (_setjmp(main_ctx))
		return;
	if (!t->started) {
		t->started = true;
		getcontext(&t->start);
		t->start.uc_stack.ss_sp = stacks[tid];
		t->start.uc_stack.ss_size = STACK_SIZE;
		t->start.uc_link = NULL;
		makecontext(&t->start, (void (*)(void))thread_main, 1, tid);
		setcontext(&t->start);
	}
	_longjmp(t->top, 1);
}

static void run_once(void)
{
	unsigned int tid;
	int next;

	run++;
	cursor = 0;
	replayed = nr_nodes;
	nr_events = 0;
	run_sleep = 0;
	run_cut = false;
	run_why = NULL;
	shim_warnings = 0;
	if (opt->weak) {
		nr_msgs = 0;
		nr_vars = 0;
		memset(&fence_view, 0, sizeof(fence_view));
		stale_left = opt->max_stale;
	}
	current = -1;
	test->reset();
	for (tid = 0; tid < test->nr_threads; tid++)
		thread_start(tid);
	current = -1;

	next = runnable() ? decide() : -1;
	if (next >= 0 && !_setjmp(main_ctx)) {
		current = next;
		shim_preempt_count = threads[next].preempt_count;
		_longjmp(threads[next].ctx, 1);
	}
	current = -1;
	shim_preempt_count = 0;

	for (tid = 0; tid < test->nr_threads; tid++)
		if (threads[tid].steps > res->max_steps[tid])
			res->max_steps[tid] = threads[tid].steps;
	if (run_cut && !run_why) {
		res->cut++;
		return;
	}
	res->runs++;
	if (!run_why && test->finish) {
		const char *why = test->finish();

		if (why)
			explore_fail(why, 0);
	}
}

/* Make the decisions of the next run. Return: false if there is no other run */
static bool next_run(void)
{
	while (nr_nodes) {
		struct node *node = &nodes[nr_nodes - 1];
		u8 todo;

		if (node->kind == NODE_CHOICE) {
			if (++node->now < node->nr)
				return true;
		} else {
			node->done |= 1U << node->now;
			todo = node->todo & ~node->done & ~node->sleep;
			if (todo) {
				node->now = __builtin_ctz(todo);
				return true;
			}
		}
		nr_nodes--;
	}
	return false;
}

void explore(const struct explore_test *t, const struct explore_options *o,
	     struct explore_result *r)
{
	bool more = true;
	u64 state;

	if (t->size > EXPLORE_SIZE || !t->nr_threads ||
	    t->nr_threads > NR_THREADS)
		fatal("bad test");
	test = t;
	opt = o;
	res = r;
	memset(res, 0, sizeof(*res));
	nr_nodes = 0;
	tracing = o->trace;
	rng.state = o->seed;

	while (more) {
		state = rng.state;
		run_once();
		if (run_why)
			break;
		if (o->freeze >= 0)
			more = false;
		else if (o->random)
			more = res->runs < o->random;
		else
			more = next_run();
		if (more && o->max_runs && res->runs + res->cut >= o->max_runs)
			break;
	}
	res->complete = !more && !o->random && o->freeze < 0;
	if (!run_why)
		return;

	/* Repeat the run, and print how it came to the fault. */
	res->why = run_why;
	res->where = run_where;
	if (!tracing) {
		tracing = true;
		rng.state = state;
		run_once();
		tracing = false;
	}
}
