// SPDX-License-Identifier: GPL-2.0
/*
 * Litmus tests on explore(), and tests of explore() itself.
 *
 * The litmus tests of Documentation/litmus-tests/llfree/ say which barriers the
 * core and zones need, and for what. Each test runs here in all ways that
 * explore() knows with weak memory, and the outcomes have to match its Result. The
 * kernel's own tests, as far as litmus-gen can translate them, show that this
 * weak memory is that of tools/memory-model/. The list "stronger" has the
 * exceptions.
 *
 * SEED=n in the environment repeats the random programs of an earlier run.
 */
#include <linux/kernel.h>
#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <shim/atomic.h>

#include "explore.h"
#include "inst.h"
#include "kselftest_harness.h"

/* ---- Litmus tests ---- */

#define NR_SHARED	4
#define NR_REGS		5

enum result { NEVER, SOMETIMES, ALWAYS };

static const char * const results[] = { "Never", "Sometimes", "Always" };

struct litmus {
	void (*thread[EXPLORE_THREADS])(void);
	unsigned int nr_threads;
	const char *name;
	int init[NR_SHARED];
	const char *words[NR_SHARED];
	bool (*filter)(void);
	bool (*exists)(void);
	enum result result;
};

/*
 * Tests whose outcome the model allows and explore() does not. explore()
 * neither delays a load past a later store, nor lets stores to one word
 * overtake each other.
 */
static const char * const stronger[] = {
	/* Loads */
	"LB+poonceonces",
	"LB+row-clear-relaxed+row-set",
	"LB+whole-give-relaxed+whole-take",
	/* Stores */
	"S+poonceonces",
	"S+row-clear-relaxed+row-set",
	"S+whole-give-relaxed+whole-take",
};

static int shared[NR_SHARED];
static int regs[EXPLORE_THREADS][NR_REGS];
static const struct litmus *litmus_now;
static unsigned long seen[2];

/* Memory orders. The shims lack the other ones, which the core does not use. */
enum order { RELAXED, ACQUIRE, RELEASE, FULL };

static bool rmw_try(int *p, int *old, int new, enum order order)
{
	switch (order) {
	case RELAXED:	return try_cmpxchg_relaxed(p, old, new);
	case ACQUIRE:	return try_cmpxchg_acquire(p, old, new);
	case RELEASE:	return try_cmpxchg_release(p, old, new);
	default:	return try_cmpxchg(p, old, new);
	}
}

static int rmw_cmpxchg(int *p, int old, int new, enum order order)
{
	rmw_try(p, &old, new, order);
	return old;
}

static __maybe_unused int rmw_fetch_add(int *p, int by, enum order order)
{
	int old = READ_ONCE(*p);

	while (!rmw_try(p, &old, old + by, order))
		;
	return old;
}

static __maybe_unused int rmw_add_return(int *p, int by, enum order order)
{
	return rmw_fetch_add(p, by, order) + by;
}

static __maybe_unused bool rmw_add_unless(int *p, int by, int unless)
{
	int old = READ_ONCE(*p);

	do {
		if (old == unless)
			return false;
	} while (!rmw_try(p, &old, old + by, FULL));
	return true;
}

static void litmus_reset(void)
{
	memcpy(shared, litmus_now->init, sizeof(shared));
	memset(regs, 0, sizeof(regs));
}

static void litmus_thread(unsigned int tid)
{
	litmus_now->thread[tid]();
}

static const char *litmus_name(const void *p)
{
	return litmus_now->words[(int *)p - shared];
}

static const char *litmus_finish(void)
{
	bool exists;

	if (litmus_now->filter && !litmus_now->filter())
		return NULL;
	exists = litmus_now->exists();
	seen[exists]++;
	if (exists && litmus_now->result == NEVER)
		return "this can happen, and Never should";
	return NULL;
}

static void check_litmus(struct __test_metadata *_metadata,
			 const struct litmus *litmus)
{
	struct explore_test test = {
		.mem = shared, .size = sizeof(shared),
		.nr_threads = litmus->nr_threads, .reset = litmus_reset,
		.thread = litmus_thread, .name = litmus_name,
		.finish = litmus_finish,
	};
	struct explore_options opt = {
		.weak = true, .max_stale = UINT_MAX, .freeze = -1,
	};
	enum result expected = litmus->result, result;
	struct explore_result res;
	int i;

	litmus_now = litmus;
	explore(&test, &opt, &res);
	ASSERT_EQ(NULL, res.why) {
		TH_LOG("%s: %s", litmus->name, res.why);
	}
	ASSERT_TRUE(res.complete);
	ASSERT_LT(0, seen[false] + seen[true]) {
		TH_LOG("%s: nothing passes the filter", litmus->name);
	}

	for (i = 0; i < ARRAY_SIZE(stronger); i++) {
		if (strcmp(stronger[i], litmus->name))
			continue;
		ASSERT_EQ(SOMETIMES, expected);
		expected = NEVER;
	}
	result = !seen[true] ? NEVER : seen[false] ? SOMETIMES : ALWAYS;
	EXPECT_EQ(expected, result) {
		TH_LOG("%s: %s, not %s", litmus->name, results[result],
		       results[expected]);
	}
}

#include "litmus-tests.h"

/* ---- Random programs, with all schedules and with a part of them ---- */

/* Adjacent words of the smallest size: the explorer must tell them apart. */
static u16 words[4];

enum op_kind { LOAD, STORE, XCHG, CMPXCHG, FENCE, BEGIN, RETURNED, NR_KINDS };

static const char * const kinds[] = {
	"load", "store", "xchg", "cmpxchg", "fence", "begin", "returned",
};

static const char * const orders[] = { "", "acquire", "release", "full" };

/* @expect of a compare-and-swap: the value that the thread has read last */
#define LAST_READ	15

struct op {
	enum op_kind kind;
	enum order order;
	unsigned int word;
	u16 val;
	u16 expect;
};

#define MAX_OPS		4

static struct program {
	unsigned int nr_threads;
	unsigned int nr_ops[EXPLORE_THREADS];
	struct op ops[EXPLORE_THREADS][MAX_OPS];
} program;

/*
 * Values that operations returned, by thread, and which threads have returned;
 * 4 bits each
 */
static u16 values[3];
static u8 returned;

/* All observations of a run, for each run */
struct states {
	u64 *all;
	size_t nr;
	size_t size;
};

static struct states *states;

static u16 run_op(const struct op *op, unsigned int tid, u16 last)
{
	u16 *p = &words[op->word], old;

	/* The test is about the barriers; they pair with any other access. */
	switch (op->kind) {
	case LOAD:
		if (op->order != ACQUIRE)
			return READ_ONCE(*p);
		return smp_load_acquire(p); /* any */
	case STORE:
		if (op->order == RELEASE)
			smp_store_release(p, op->val); /* any */
		else
			WRITE_ONCE(*p, op->val);
		return 0;
	case XCHG:
		switch (op->order) {
		case RELAXED:	return xchg_relaxed(p, op->val);
		case ACQUIRE:	return xchg_acquire(p, op->val);
		case RELEASE:	return xchg_release(p, op->val);
		default:	return xchg(p, op->val);
		}
	case CMPXCHG:
		old = op->expect == LAST_READ ? last : op->expect;
		if (op->order == RELAXED)
			try_cmpxchg_relaxed(p, &old, op->val);
		else if (op->order == ACQUIRE)
			try_cmpxchg_acquire(p, &old, op->val);
		else if (op->order == RELEASE)
			try_cmpxchg_release(p, &old, op->val);
		else
			try_cmpxchg(p, &old, op->val);
		return old;
	case FENCE:
		smp_mb(); /* any */
		return 0;
	case BEGIN:
		explore_event(false);
		return returned;
	default:
		explore_event(true);
		returned |= 1U << tid;
		return 0;
	}
}

static void program_reset(void)
{
	memset(words, 0, sizeof(words));
	memset(values, 0, sizeof(values));
	returned = 0;
}

static void program_thread(unsigned int tid)
{
	unsigned int i;
	u16 last = 0;

	for (i = 0; i < program.nr_ops[tid]; i++) {
		const struct op *op = &program.ops[tid][i];
		u16 val = run_op(op, tid, last);

		values[tid] |= val << (4 * i);
		if (op->kind == LOAD || op->kind == XCHG || op->kind == CMPXCHG)
			last = val;
	}
}

static const char *program_finish(void)
{
	u64 state = 0;
	int i;

	for (i = 0; i < ARRAY_SIZE(values); i++)
		state |= (u64)values[i] << (16 * i);
	for (i = 0; i < ARRAY_SIZE(words); i++)
		state |= (u64)words[i] << (48 + 4 * i);
	if (states->nr == states->size) {
		states->size = states->size ? 2 * states->size : 1024;
		states->all = realloc(states->all,
				      states->size * sizeof(*states->all));
		if (!states->all)
			abort();
	}
	states->all[states->nr++] = state;
	return NULL;
}

static const struct explore_test program_test = {
	.mem = words, .size = sizeof(words), .reset = program_reset,
	.thread = program_thread, .finish = program_finish,
};

static int compare_states(const void *a, const void *b)
{
	return *(u64 *)a < *(u64 *)b ? -1 : *(u64 *)a > *(u64 *)b;
}

/* Run the program and leave each of its final states in @s once. */
static struct explore_result run_program(const struct explore_options *opt,
					 struct states *s)
{
	struct explore_test test = program_test;
	struct explore_result res;
	size_t i, nr = 0;

	s->nr = 0;
	states = s;
	test.nr_threads = program.nr_threads;
	explore(&test, opt, &res);
	qsort(s->all, s->nr, sizeof(*s->all), compare_states);
	for (i = 0; i < s->nr; i++)
		if (!nr || s->all[i] != s->all[nr - 1])
			s->all[nr++] = s->all[i];
	s->nr = nr;
	return res;
}

/* Is each state of @a in @b? */
static bool states_in(const struct states *a, const struct states *b)
{
	size_t i;

	for (i = 0; i < a->nr; i++)
		if (!bsearch(&a->all[i], b->all, b->nr, sizeof(*b->all),
			     compare_states))
			return false;
	return true;
}

static void random_op(struct rng *rng, struct op *op)
{
	static const enum order load_orders[] = { RELAXED, ACQUIRE };
	static const enum order store_orders[] = { RELAXED, RELEASE };
	unsigned int n = rng_below(rng, 16);

	op->kind = n < 5 ? LOAD : n < 9 ? STORE : n < 11 ? XCHG :
		   n < 14 ? CMPXCHG : n < 15 ? FENCE :
		   rng_below(rng, 2) ? BEGIN : RETURNED;
	op->order = op->kind == LOAD ? load_orders[rng_below(rng, 2)] :
		    op->kind == STORE ? store_orders[rng_below(rng, 2)] :
		    rng_below(rng, 4);
	switch (rng_below(rng, 3)) {
	case 0:
		op->expect = 0;
		break;
	case 1:
		op->expect = 1 + rng_below(rng, 3 * MAX_OPS);
		break;
	default:
		op->expect = LAST_READ;
	}
}

/* Make a random program. @most: accesses of all threads together */
static void random_program(struct rng *rng, unsigned int most)
{
	unsigned int nr_words = 2 + rng_below(rng, 2), total, tid, i;

	memset(&program, 0, sizeof(program));
	program.nr_threads = 2 + rng_below(rng, 2);
	do {
		total = 0;
		for (tid = 0; tid < program.nr_threads; tid++) {
			program.nr_ops[tid] = 2 + rng_below(rng, MAX_OPS - 1);
			total += program.nr_ops[tid];
		}
	} while (total > most);

	for (tid = 0; tid < program.nr_threads; tid++) {
		for (i = 0; i < program.nr_ops[tid]; i++) {
			struct op *op = &program.ops[tid][i];

			random_op(rng, op);
			op->word = rng_below(rng, nr_words);
			op->val = 1 + tid * MAX_OPS + i;
		}
	}
}

static void log_program(struct __test_metadata *_metadata)
{
	unsigned int tid, i;

	for (tid = 0; tid < program.nr_threads; tid++)
		for (i = 0; i < program.nr_ops[tid]; i++) {
			const struct op *op = &program.ops[tid][i];

			TH_LOG("T%u: %s %s word %u, %u, expect %u", tid,
			       kinds[op->kind], orders[op->order], op->word,
			       op->val, op->expect);
		}
}

static u64 seed(void)
{
	const char *env = getenv("SEED");

	return env ? strtoull(env, NULL, 0) : rng_seed();
}

#define ALL_OF_IT	{ .freeze = -1, .max_stale = UINT_MAX }
#define NR_PROGRAMS	3000
#define SECONDS_MAX	600

FIXTURE(random)
{
	struct rng rng;
	struct states states[2];
	struct states some;
};

FIXTURE_SETUP(random)
{
	self->rng.state = seed();
	TH_LOG("SEED=%llu", (unsigned long long)self->rng.state);
}

FIXTURE_TEARDOWN(random)
{
	free(self->states[0].all);
	free(self->states[1].all);
	free(self->some.all);
}

/* Reduction loses no final state, with strong and with weak memory. */
TEST_F_TIMEOUT(random, reduction, SECONDS_MAX)
{
	unsigned long long runs = 0, runs_all = 0;
	unsigned int i;
	bool weak;

	for (i = 0; i < NR_PROGRAMS && !_metadata->exit_code; i++) {
		random_program(&self->rng, i % 4 ? 7 : 8);
		for (weak = false;; weak = true) {
			struct explore_options opt = ALL_OF_IT;
			struct explore_result res, all;

			opt.weak = weak;
			res = run_program(&opt, &self->states[weak]);
			opt.all = true;
			all = run_program(&opt, &self->some);
			EXPECT_TRUE(res.complete && all.complete);
			EXPECT_EQ(0, all.cut);
			EXPECT_LE(res.runs, all.runs);
			EXPECT_TRUE(states_in(&self->states[weak], &self->some));
			EXPECT_TRUE(states_in(&self->some, &self->states[weak])) {
				TH_LOG("%zu of %zu states, %s memory",
				       self->states[weak].nr, self->some.nr,
				       weak ? "weak" : "strong");
				log_program(_metadata);
			}
			runs += res.runs;
			runs_all += all.runs;
			if (weak)
				break;
		}
		/* Weak memory has all states of strong memory. */
		EXPECT_TRUE(states_in(&self->states[0], &self->states[1])) {
			log_program(_metadata);
		}
	}
	TH_LOG("%u programs, %llu runs of %llu", i, runs, runs_all);
}

/* Random runs find no other states. The same seed gives the same states. */
TEST_F_TIMEOUT(random, runs, SECONDS_MAX)
{
	unsigned int i;

	for (i = 0; i < NR_PROGRAMS / 10 && !_metadata->exit_code; i++) {
		struct explore_options opt = ALL_OF_IT;
		struct explore_result res;

		opt.weak = rng_below(&self->rng, 2);
		random_program(&self->rng, 9);
		run_program(&opt, &self->states[0]);
		opt.random = 50;
		opt.seed = rng_next(&self->rng);
		res = run_program(&opt, &self->some);
		EXPECT_EQ(50, res.runs);
		EXPECT_FALSE(res.complete);
		EXPECT_TRUE(states_in(&self->some, &self->states[0])) {
			log_program(_metadata);
		}
		run_program(&opt, &self->states[1]);
		EXPECT_TRUE(states_in(&self->some, &self->states[1]));
		EXPECT_EQ(self->some.nr, self->states[1].nr);
	}
}

/* ---- Number of runs ---- */

static void add_op(unsigned int tid, enum op_kind kind, enum order order,
		   unsigned int word)
{
	program.ops[tid][program.nr_ops[tid]++] = (struct op){
		.kind = kind, .order = order, .word = word, .val = 1,
	};
}

/*
 * Threads repeat one operation @nr_ops times, on one shared word or on a word
 * each.
 */
static struct explore_result count_runs(bool weak, unsigned int nr_threads,
					unsigned int nr_ops, enum op_kind kind,
					enum order order, bool same_word)
{
	struct explore_options opt = ALL_OF_IT;
	struct explore_result res;
	struct states s = { };
	unsigned int tid, i;

	memset(&program, 0, sizeof(program));
	program.nr_threads = nr_threads;
	for (tid = 0; tid < nr_threads; tid++) {
		for (i = 0; i < nr_ops; i++)
			add_op(tid, kind, order, same_word ? 0 : tid);
	}
	opt.weak = weak;
	res = run_program(&opt, &s);
	free(s.all);
	return res;
}

TEST(independent_threads_run_once)
{
	static const enum op_kind own[] = { LOAD, STORE, XCHG, CMPXCHG };
	unsigned int i, nr;

	for (nr = 1; nr <= ARRAY_SIZE(values); nr++) {
		for (i = 0; i < 2 * ARRAY_SIZE(own); i++) {
			struct explore_result res =
				count_runs(i % 2, nr, MAX_OPS, own[i / 2], RELAXED,
					   false);

			EXPECT_EQ(1, res.runs);
			EXPECT_EQ(0, res.cut);
			EXPECT_EQ(nr * MAX_OPS, res.steps);
			EXPECT_TRUE(res.complete);
		}
	}
	/* Loads do not conflict with each other. */
	EXPECT_EQ(1, count_runs(false, 3, 1, LOAD, RELAXED, true).runs);
	EXPECT_EQ(1, count_runs(true, 3, 1, LOAD, RELAXED, true).runs);
	EXPECT_EQ(1, count_runs(true, 3, 1, BEGIN, RELAXED, true).runs);
	/* A barrier has no effect with strong memory. */
	EXPECT_EQ(1, count_runs(false, 3, 1, FENCE, RELAXED, true).runs);
	EXPECT_EQ(0, count_runs(false, 3, 1, FENCE, RELAXED, true).steps);
}

/* There are as many runs as orders, and no order runs twice. */
TEST(conflicting_threads_run_in_all_orders)
{
	static const enum op_kind both[] = { STORE, XCHG, RETURNED };
	static const enum op_kind full[] = { FENCE, XCHG, CMPXCHG };
	unsigned int i;

	for (i = 0; i < 2 * ARRAY_SIZE(both); i++) {
		EXPECT_EQ(2, count_runs(i % 2, 2, 1, both[i / 2], RELAXED, true).runs);
		EXPECT_EQ(6, count_runs(i % 2, 3, 1, both[i / 2], RELAXED, true).runs);
	}
	/* Full barriers conflict, whatever the word. */
	for (i = 0; i < ARRAY_SIZE(full); i++) {
		EXPECT_EQ(2, count_runs(true, 2, 1, full[i], FULL, false).runs);
		EXPECT_EQ(6, count_runs(true, 3, 1, full[i], FULL, false).runs);
		EXPECT_EQ(1, count_runs(false, 3, 1, full[i], FULL, false).runs);
	}
}

TEST(max_runs)
{
	struct explore_options opt = ALL_OF_IT;
	struct explore_result res;
	struct states s = { };

	/* As above, there are 6 runs. */
	count_runs(false, 3, 1, STORE, RELAXED, true);
	for (opt.max_runs = 1; opt.max_runs < 6; opt.max_runs++) {
		res = run_program(&opt, &s);
		EXPECT_EQ(opt.max_runs, res.runs + res.cut);
		EXPECT_FALSE(res.complete);
	}
	opt.max_runs = 0;
	EXPECT_TRUE(run_program(&opt, &s).complete);
	free(s.all);
}

/* ---- Full barriers ---- */

/* Find all final states. Reduction must not lose one. */
static void find_states(struct __test_metadata *_metadata, bool weak,
			struct states *s)
{
	struct explore_options opt = ALL_OF_IT;
	struct states all = { };

	opt.weak = weak;
	EXPECT_TRUE(run_program(&opt, s).complete);
	opt.all = true;
	EXPECT_TRUE(run_program(&opt, &all).complete);
	EXPECT_TRUE(states_in(&all, s)) {
		log_program(_metadata);
	}
	free(all.all);
}

/*
 * Random programs hardly ever have such a race. Running another thread first at
 * the race does not help, if its next step depends on the thread that should go
 * first.
 */
TEST(dependent_race)
{
	struct states s = { };

	memset(&program, 0, sizeof(program));
	program.nr_threads = 3;
	/* This compare-and-swap fails, which explore() cannot know before. */
	add_op(0, CMPXCHG, FULL, 2);
	program.ops[0][0].expect = 5;
	add_op(0, LOAD, RELAXED, 0);
	add_op(1, STORE, RELAXED, 1);
	add_op(1, STORE, RELAXED, 0);
	add_op(1, LOAD, RELAXED, 2);
	add_op(2, STORE, RELAXED, 2);
	find_states(_metadata, false, &s);
	find_states(_metadata, true, &s);
	free(s.all);
}

/* The value that operation number @i of a thread returned */
static unsigned int state_value(u64 state, unsigned int tid, unsigned int i)
{
	return state >> (16 * tid + 4 * i) & 15;
}

/*
 * Is there a final state in which the last operations of two threads returned
 * @a and @b?
 */
static bool can_return(const struct states *s, unsigned int tid_a, unsigned int a,
		       unsigned int tid_b, unsigned int b)
{
	size_t i;

	for (i = 0; i < s->nr; i++)
		if (state_value(s->all[i], tid_a, program.nr_ops[tid_a] - 1) == a &&
		    state_value(s->all[i], tid_b, program.nr_ops[tid_b] - 1) == b)
			return true;
	return false;
}

/*
 * A fully ordered operation, and smp_mb(), is a full barrier between all
 * accesses before and all accesses after it. The operation's own write comes
 * before the barrier.
 */
TEST(full_barriers)
{
	static const struct {
		enum op_kind kind;
		enum order order;
		bool full;
	} ops[] = {
		{ FENCE, RELAXED, true }, { XCHG, FULL, true },
		{ CMPXCHG, FULL, true }, { LOAD, ACQUIRE, false },
		{ XCHG, RELAXED, false }, { XCHG, ACQUIRE, false },
		{ XCHG, RELEASE, false }, { CMPXCHG, RELAXED, false },
		{ CMPXCHG, ACQUIRE, false }, { CMPXCHG, RELEASE, false },
	};
	struct states s = { };
	unsigned int tid;
	int i;

	for (i = 0; i < ARRAY_SIZE(ops); i++) {
		/*
		 * Two threads store, and then load the word of the other one.
		 */
		memset(&program, 0, sizeof(program));
		program.nr_threads = 2;
		for (tid = 0; tid < 2; tid++) {
			add_op(tid, STORE, RELAXED, tid);
			add_op(tid, ops[i].kind, ops[i].order, 2 + tid);
			add_op(tid, LOAD, RELAXED, 1 - tid);
		}
		find_states(_metadata, true, &s);
		EXPECT_EQ(!ops[i].full, can_return(&s, 0, 0, 1, 0)) {
			log_program(_metadata);
		}
		EXPECT_TRUE(can_return(&s, 0, 1, 1, 1));

		/* Here the operation under test is also the store. */
		if (ops[i].kind == XCHG || ops[i].kind == CMPXCHG) {
			memset(&program, 0, sizeof(program));
			program.nr_threads = 2;
			for (tid = 0; tid < 2; tid++) {
				add_op(tid, ops[i].kind, ops[i].order, tid);
				add_op(tid, LOAD, RELAXED, 1 - tid);
			}
			find_states(_metadata, true, &s);
			EXPECT_EQ(!ops[i].full, can_return(&s, 0, 0, 1, 0)) {
				log_program(_metadata);
			}
		}

		/*
		 * A thread reads a value, in whatever order, and writes after a
		 * full barrier. A thread that reads this write sees the value,
		 * too. Words 0, 1 and 2 are written one after the other, and
		 * read from the last one on.
		 */
		memset(&program, 0, sizeof(program));
		program.nr_threads = 3;
		add_op(0, STORE, RELAXED, 0);
		add_op(0, STORE, RELEASE, 1);
		add_op(1, LOAD, RELAXED, 1);
		add_op(1, ops[i].kind, ops[i].order, 2);
		if (ops[i].kind == FENCE || ops[i].kind == LOAD)
			add_op(1, STORE, RELAXED, 2);
		add_op(2, LOAD, ACQUIRE, 2);
		add_op(2, LOAD, RELAXED, 0);
		find_states(_metadata, true, &s);
		if (ops[i].full) {
			size_t n;

			for (n = 0; n < s.nr; n++)
				EXPECT_FALSE(state_value(s.all[n], 1, 0) &&
					     state_value(s.all[n], 2, 0) &&
					     !state_value(s.all[n], 2, 1)) {
					log_program(_metadata);
				}
		}
	}
	free(s.all);
}

/* ---- Choices ---- */

static unsigned int chosen[60];

static void choose_thread(unsigned int tid)
{
	unsigned int a, b = 0, c;

	if (tid) {
		WRITE_ONCE(words[0], 1);
		return;
	}
	a = explore_choose(3);
	c = READ_ONCE(words[0]);
	if (a)
		b = explore_choose(a + 3);
	chosen[(c * 3 + a) * 10 + b]++;
}

static void count_choices(struct __test_metadata *_metadata,
			  const struct explore_options *opt, unsigned int times)
{
	struct explore_test test = {
		.mem = words, .size = sizeof(words), .nr_threads = 2,
		.reset = program_reset, .thread = choose_thread,
	};
	struct explore_result res;
	unsigned int a, b, c;

	memset(chosen, 0, sizeof(chosen));
	explore(&test, opt, &res);
	EXPECT_EQ(NULL, res.why);
	EXPECT_EQ(2 * times * (1 + 4 + 5), res.runs);
	for (c = 0; c < 2; c++)
		for (a = 0; a < 3; a++)
			for (b = 0; b < 10; b++)
				EXPECT_EQ(b < (a ? a + 3 : 1) ? times : 0,
					  chosen[(c * 3 + a) * 10 + b]);
}

TEST(choose)
{
	struct explore_options opt = ALL_OF_IT;

	count_choices(_metadata, &opt, 1);
}

/* ---- Memory that changes hands ---- */

static struct explore_stamp stamp;
static enum order give_order, take_order;
/*
 * Operations that write and read the word, or barriers beside a store and a
 * load
 */
static enum op_kind give_kind, take_kind;

static void hand_over_reset(void)
{
	program_reset();
	memset(&stamp, 0, sizeof(stamp));
}

static void hand_over(unsigned int tid)
{
	struct op op = { .order = give_order, .kind = give_kind, .val = 1 };

	/*
	 * Any thread may take while there is no owner, and so may the owner
	 * again.
	 */
	if (!tid) {
		explore_take(&stamp, 1);
		explore_give(&stamp);
		explore_take(&stamp, 2);
		if (give_kind == FENCE) {
			run_op(&op, tid, 0);
			op.kind = STORE;
			op.order = RELAXED;
		}
		run_op(&op, tid, 0);
		return;
	}
	op = (struct op){ .order = take_order, .kind = take_kind, .val = 2,
			  .expect = 1 };
	if (take_kind == FENCE)
		op.kind = LOAD;
	if (run_op(&op, tid, 0) != 1)
		return;
	if (take_kind == FENCE) {
		op.kind = FENCE;
		run_op(&op, tid, 0);
	}
	explore_take(&stamp, 77);
}

/* Run the test, and catch the messages of explore() about a fault. */
static struct explore_result run_hand_over(struct __test_metadata *_metadata,
					   bool weak,
					   void (*thread)(unsigned int tid))
{
	struct explore_test test = {
		.mem = words, .size = sizeof(words), .nr_threads = 2,
		.reset = hand_over_reset, .thread = thread,
	};
	struct explore_options opt = ALL_OF_IT;
	struct explore_result res;
	FILE *saved = stderr;
	char *text = NULL;
	size_t size;

	opt.weak = weak;
	stderr = open_memstream(&text, &size);
	explore(&test, &opt, &res);
	fclose(stderr);
	stderr = saved;
	EXPECT_EQ(!!res.why, !!strstr(text, "FAULT"));
	free(text);
	return res;
}

TEST(give_and_take)
{
	static const struct {
		enum op_kind kind;
		enum order order;
		bool ordered;
	} gives[] = {
		{ STORE, RELAXED, false }, { STORE, RELEASE, true },
		{ XCHG, RELAXED, false }, { XCHG, ACQUIRE, false },
		{ XCHG, RELEASE, true }, { XCHG, FULL, true },
		{ CMPXCHG, RELAXED, false }, { CMPXCHG, ACQUIRE, false },
		{ CMPXCHG, RELEASE, true }, { CMPXCHG, FULL, true },
		{ FENCE, RELAXED, true },
	}, takes[] = {
		{ LOAD, RELAXED, false }, { LOAD, ACQUIRE, true },
		{ XCHG, RELAXED, false }, { XCHG, ACQUIRE, true },
		{ XCHG, RELEASE, false }, { XCHG, FULL, true },
		{ CMPXCHG, RELAXED, false }, { CMPXCHG, ACQUIRE, true },
		{ CMPXCHG, RELEASE, false }, { CMPXCHG, FULL, true },
		{ FENCE, RELAXED, true },
	};
	struct explore_result res;
	int g, t;

	for (g = 0; g < ARRAY_SIZE(gives); g++) {
		for (t = 0; t < ARRAY_SIZE(takes); t++) {
			give_kind = gives[g].kind;
			give_order = gives[g].order;
			take_kind = takes[t].kind;
			take_order = takes[t].order;
			res = run_hand_over(_metadata, true, hand_over);
			EXPECT_EQ(gives[g].ordered && takes[t].ordered, !res.why) {
				TH_LOG("%s %s, %s %s", kinds[give_kind],
				       orders[give_order], kinds[take_kind],
				       orders[take_order]);
			}
			EXPECT_EQ(res.why ? 77 : 0, res.where);
			EXPECT_EQ(NULL, run_hand_over(_metadata, false,
						      hand_over).why);
		}
	}
}

/* As hand_over(), with a value that another one has certainly replaced */
static void old_value(unsigned int tid)
{
	struct op op = { .kind = take_kind, .order = take_order, .val = 9,
			 .expect = 4 };

	if (!tid) {
		explore_give(&stamp);
		/* Pairs with the acquire under test. */
		smp_store_release(&words[0], 1);
		WRITE_ONCE(words[0], 2);
		explore_event(true);
		returned = 1;
		return;
	}
	explore_event(false);
	if (returned && run_op(&op, tid, 0) == 1)
		explore_take(&stamp, 77);
}

TEST(old_values)
{
	static const struct {
		enum op_kind kind;
		enum order order;
		bool ordered;
	} takes[] = {
		{ LOAD, ACQUIRE, true }, { LOAD, RELAXED, false },
		/* These operations fail. */
		{ CMPXCHG, RELAXED, false }, { CMPXCHG, ACQUIRE, false },
		{ CMPXCHG, RELEASE, false }, { CMPXCHG, FULL, false },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(takes); i++) {
		take_kind = takes[i].kind;
		take_order = takes[i].order;
		EXPECT_EQ(takes[i].ordered,
			  !run_hand_over(_metadata, true, old_value).why) {
			TH_LOG("%s %s", kinds[take_kind], orders[take_order]);
		}
	}
}

/* ---- Freezing, and callbacks of explore() ---- */

static char order_log[64];
static unsigned int nr_steps[EXPLORE_THREADS];
static unsigned int nr_wrote;

static void log_reset(void)
{
	program_reset();
	memset(order_log, 0, sizeof(order_log));
	memset(nr_steps, 0, sizeof(nr_steps));
	nr_wrote = 0;
}

/* Load and store in turn. */
static void log_thread(unsigned int tid)
{
	unsigned int i;

	for (i = 0; i < 3 + tid; i++) {
		if (i % 2)
			WRITE_ONCE(words[0], 1 + tid);
		else
			(void)READ_ONCE(words[0]);
		order_log[strlen(order_log)] = '0' + tid;
	}
}

TEST(freeze)
{
	struct explore_test test = {
		.mem = words, .size = sizeof(words), .nr_threads = 3,
		.reset = log_reset, .thread = log_thread,
	};
	static const char * const expected[] = {
		"111122222000", "011112222200", "001111222220", "000111122222",
		"000111122222",
	};
	struct explore_options opt = { };
	struct explore_result res;

	for (opt.freeze = 0; opt.freeze < 10; opt.freeze++) {
		opt.weak = opt.freeze >= 5;
		explore(&test, &opt, &res);
		EXPECT_EQ(NULL, res.why);
		EXPECT_EQ(1, res.runs);
		EXPECT_FALSE(res.complete);
		EXPECT_STREQ(expected[min(opt.freeze, 4L)], order_log);
		EXPECT_EQ(opt.freeze < 3, res.frozen);
		EXPECT_EQ(3, res.max_steps[0]);
		EXPECT_EQ(4, res.max_steps[1]);
		EXPECT_EQ(5, res.max_steps[2]);
	}
}

/*
 * A callback with an access of its own. explore() must not call it again for
 * that.
 */
static void extra_step(unsigned int tid)
{
	if (!nr_steps[tid]++)
		WRITE_ONCE(words[1 + tid], 1);
}

static void count_wrote(const void *p)
{
	if (p < (void *)words || p >= (void *)(words + ARRAY_SIZE(words)))
		explore_fail("wrote something else", 0);
	nr_wrote++;
}

static const char *check_calls(void)
{
	if (nr_steps[0] != 3 || nr_steps[1] != 4)
		return "not one step for each access";
	if (words[1] != 1 || words[2] != 1)
		return "a step did nothing";
	/*
	 * The threads store 1 and 2 times to the first word, and each of them
	 * once in extra_step().
	 */
	if (nr_wrote != 5)
		return "not one call for each write";
	return NULL;
}

TEST(calls)
{
	struct explore_test test = {
		.mem = words, .size = sizeof(words), .nr_threads = 2,
		.reset = log_reset, .thread = log_thread, .step = extra_step,
		.wrote = count_wrote, .finish = check_calls,
	};
	struct explore_options opt = ALL_OF_IT;
	struct explore_result res;

	for (;;) {
		explore(&test, &opt, &res);
		EXPECT_EQ(NULL, res.why);
		EXPECT_TRUE(res.complete);
		EXPECT_LT(1, res.runs);
		EXPECT_EQ(4, res.max_steps[0]);
		EXPECT_EQ(5, res.max_steps[1]);
		if (opt.weak)
			break;
		opt.weak = true;
	}
}

TEST_HARNESS_MAIN
