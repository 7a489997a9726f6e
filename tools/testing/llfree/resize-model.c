// SPDX-License-Identifier: GPL-2.0
/*
 * Exhaustive interleavings of growing and shrinking with other operations; see
 * explore.h.
 *
 * The words of the instance have two sets of addresses, from before it grew and
 * from after. The following must hold, also with weak memory:
 *
 *   - no CPU uses an address beyond the memory that the address was given with,
 *     and none changes a hole;
 *   - no frame has two owners, and no free of an own frame fails;
 *   - the next owner of a frame sees all writes of the last owner;
 *   - at the end all words add up.
 *
 * EFFORT=n in the environment makes the limits n times as high (default 1).
 * TRACE=1 prints all steps of each run.
 */
#include <linux/align.h>
#include <linux/kernel.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <shim/atomic.h>
#include <shim/shim.h>

#include "explore.h"
#include "inst.h"
#include "lower.h"
#include "upper.h"
#include "kselftest_harness.h"

#define TREE		LLFREE_MIN_TREE_FRAMES
#define CHILD		LLFREE_CHILD_FRAMES
#define TREE_CHILDREN	(TREE / CHILD)
#define NR_TREES	3UL
#define NR_CHILDREN	(NR_TREES * TREE_CHILDREN)
#define NR_ROWS		(NR_CHILDREN * LLFREE_CHILD_ROWS)
#define BASE		(16 * TREE)
#define FRAME(c)	(BASE + (c) * CHILD)
#define NR_SLOTS	2

/*
 * The first range is a part of the second tree. Only its last child has free
 * frames.
 */
#define FIRST_CHILD	(TREE_CHILDREN + 1)
#define LAST_CHILD	(TREE_CHILDREN + 2)

static struct world {
	u64 rows[NR_ROWS];
	u16 children[ALIGN(NR_CHILDREN, 32)];
	u32 trees[LLFREE_ALLOC_VIEWS][16];
	struct llfree_local locals[NR_SLOTS];
	struct llfree llf;
	/* Does a child have memory that can be written? */
	bool there[NR_CHILDREN];
} ____cacheline_aligned world, saved_world;

static struct llfree *const llf = &world.llf;

/*
 * Owners of blocks of 8 frames, by thread + 1, and the stamps for a change of
 * owner
 */
#define UNIT		8
#define NR_UNITS	(NR_CHILDREN * CHILD / UNIT)
#define OTHER		0xff
static u8 owner[NR_UNITS], saved_owner[NR_UNITS];
static struct explore_stamp stamps[NR_UNITS];

/*
 * The first child that comes or goes, and how many do. All others stay
 * allocated.
 */
static unsigned long child, nr_children = 1;

/* ---- Addresses ---- */

/*
 * There is no memory at these addresses; explore() maps accesses to the world.
 */
#define OLD		0x100000000000UL
#define NEW		0x200000000000UL
#define ADDRESSES	0x100000UL
#define ROWS_AT		0UL
#define CHILDREN_AT	0x10000UL
#define TREES_AT	0x20000UL
#define TREES_STRIDE	0x1000UL

/* The words that all holes read as. A compare-and-swap has to fail there. */
static u64 hole_row;
static u16 hole_child;

/* The word for accesses where there is no memory */
static u64 nowhere;

static void *beyond(const char *why, unsigned long at)
{
	explore_fail(why, at);
	nowhere = 0;
	return &nowhere;
}

/* Does this tree have old addresses? */
static bool old_tree(unsigned long tree)
{
	return tree == FIRST_CHILD / TREE_CHILDREN;
}

/* Did a child have memory from the start? Words of one page come together. */
static bool old_child(unsigned long c)
{
	return c >= FIRST_CHILD && c <= LAST_CHILD;
}

static void *world_map(const void *p)
{
	unsigned long at = (unsigned long)p, i, view;
	bool old = at < NEW;

	if (at < OLD || at >= NEW + ADDRESSES)
		return (void *)p;
	at &= ADDRESSES - 1;
	if (at < CHILDREN_AT) {
		i = at / sizeof(u64);
		if (i >= NR_ROWS || (old && !old_tree(i / LLFREE_CHILD_ROWS / TREE_CHILDREN)))
			return beyond("rows beyond the memory", i);
		i /= LLFREE_CHILD_ROWS;
		if (!world.there[i] || (old && !old_child(i)))
			return &hole_row;
		return &world.rows[at / sizeof(u64)];
	}
	if (at < TREES_AT) {
		i = (at - CHILDREN_AT) / sizeof(u16);
		if (i >= NR_CHILDREN || (old && !old_tree(i / TREE_CHILDREN)))
			return beyond("children beyond the memory", i);
		if (!world.there[i])
			return &hole_child;
		return &world.children[i];
	}
	view = (at - TREES_AT) / TREES_STRIDE;
	i = (at - TREES_AT) % TREES_STRIDE / sizeof(u32);
	if (view >= LLFREE_ALLOC_VIEWS || i >= NR_TREES || (old && !old_tree(i)))
		return beyond("trees beyond the memory", i);
	return &world.trees[view][i];
}

/* Addresses of the words, from those of the tree of child @c on */
static struct llfree_memory memory_at(unsigned long addresses, unsigned long c)
{
	const unsigned long tree = c / TREE_CHILDREN;
	struct llfree_memory mem = { .tree_order = LLFREE_MIN_TREE_ORDER };

	llfree_layout(FRAME(tree * TREE_CHILDREN), (NR_TREES - tree) * TREE,
		      LLFREE_MIN_TREE_ORDER, &mem);
	mem.rows = (void *)(addresses + ROWS_AT + tree * TREE / 8);
	mem.children = (void *)(addresses + CHILDREN_AT + tree * TREE_CHILDREN * sizeof(u16));
	mem.trees = (void *)(addresses + TREES_AT + tree * sizeof(u32));
	mem.trees_stride = TREES_STRIDE;
	mem.trees_size = LLFREE_ALLOC_VIEWS * TREES_STRIDE;
	return mem;
}

/* Let the instance use the addresses @mem, as llfree_grow() does. */
static void use(const struct llfree_memory *mem, unsigned long c)
{
	const unsigned long tree = BASE / TREE + c / TREE_CHILDREN;
	unsigned int view;

	llf->rows = mem->rows - tree * TREE / 8;
	llf->children = mem->children - tree * TREE_CHILDREN * sizeof(u16);
	for (view = 0; view < LLFREE_ALLOC_VIEWS; view++)
		llf->trees[view] = mem->trees + view * mem->trees_stride - tree * sizeof(u32);
}

/* ---- Owners ---- */

static unsigned long unit(unsigned long frame)
{
	return (frame - BASE) / UNIT;
}

/*
 * A block of less than a unit counts as one; no thread owns the rest of the
 * unit.
 */
static void take(unsigned int tid, unsigned long frame, unsigned int order)
{
	unsigned long u;

	if (frame < FRAME(0) || frame + (1UL << order) > FRAME(NR_CHILDREN)) {
		explore_fail("a block that cannot be", frame);
		return;
	}
	for (u = unit(frame); u <= unit(frame + (1UL << order) - 1); u++) {
		if (owner[u])
			explore_fail("a frame that is in use was allocated", frame);
		explore_take(&stamps[u], frame);
		owner[u] = tid + 1;
	}
}

static void give(unsigned int tid, unsigned long frame, unsigned int order)
{
	unsigned long u;

	for (u = unit(frame); u <= unit(frame + (1UL << order) - 1); u++) {
		explore_give(&stamps[u]);
		owner[u] = 0;
	}
	if (llfree_free(llf, tid % NR_SLOTS, frame, order, NULL))
		explore_fail("the free of an own block failed", frame);
}

/* ---- Operations of threads ---- */

/* The child gets memory, and becomes free. */
static void op_grow(unsigned int tid)
{
	unsigned long low = child < FIRST_CHILD ? child : FIRST_CHILD;
	struct llfree_memory mem = memory_at(NEW, low);

	if (world.there[child])
		return;
	memset(&world.there[child], true, nr_children);
	if (llfree_grow(llf, FRAME(child), nr_children * CHILD, &mem))
		explore_fail("it did not grow", child);
	if (llfree_set_view(llf, FRAME(child), LLFREE_VIEW_NORMAL, NULL) < 0)
		explore_fail("what was added has no view", child);
	give(tid, FRAME(child), LLFREE_CHILD_ORDER);
}

/* The child loses its memory, if it is all free. */
static void op_shrink(unsigned int tid)
{
	unsigned int i;
	int ret;

	for (i = 0; i < nr_children; i++)
		llfree_set_view(llf, FRAME(child + i), LLFREE_VIEW_ISOLATED, NULL);
	if (llfree_claim(llf, FRAME(child), LLFREE_CHILD_ORDER, LLFREE_CLAIM_HIDDEN, NULL)) {
		llfree_set_view(llf, FRAME(child), LLFREE_VIEW_NORMAL, NULL);
		return;
	}
	take(tid, FRAME(child), LLFREE_CHILD_ORDER);
	for (i = 0; i < 2; i++) {
		llfree_drain(llf, -1);
		ret = llfree_shrink(llf, FRAME(child), nr_children * CHILD);
		if (ret != -EAGAIN)
			break;
	}
	if (!ret) {
		for (i = 0; i < nr_children; i++)
			if (world.children[child + i] != LLFREE_HOLE_CHILD)
				explore_fail("a child that went is no hole", child + i);
		/*
		 * Only now, other memory is behind the addresses. No step of
		 * another thread may come in between.
		 */
		WRITE_ONCE(world.children[child], LLFREE_HOLE_CHILD);
		memset(&world.there[child], false, nr_children);
		return;
	}
	if (ret != -EAGAIN)
		explore_fail("it did not shrink", -ret);
	llfree_set_view(llf, FRAME(child), LLFREE_VIEW_NORMAL, NULL);
	give(tid, FRAME(child), LLFREE_CHILD_ORDER);
}

/* The words get other addresses. */
static void op_move(unsigned int tid)
{
	struct llfree_memory mem = memory_at(NEW, FIRST_CHILD);

	if (llfree_move(llf, &mem))
		explore_fail("it did not move", 0);
}

static void alloc_order(unsigned int tid, int slot, unsigned int order, unsigned int flags)
{
	const struct llfree_request req = {
		.slot = slot, .order = order, .class = LLFREE_CLASS_MOVABLE, .flags = flags,
	};
	long frame = llfree_alloc(llf, &req, NULL);

	if (frame >= 0) {
		take(tid, frame, order);
		give(tid, frame, order);
	}
}

static void op_alloc(unsigned int tid)
{
	alloc_order(tid, tid % NR_SLOTS, 3, 0);
}

static void op_alloc_same_slot(unsigned int tid)
{
	alloc_order(tid, 0, 3, 0);
}

static void op_alloc_no_slot(unsigned int tid)
{
	alloc_order(tid, LLFREE_NO_SLOT, 3, LLFREE_ALLOC_BOUNDED);
}

static void op_alloc_whole(unsigned int tid)
{
	alloc_order(tid, 0, LLFREE_CHILD_ORDER, 0);
}

/*
 * Queries of a child that may come or go: any answer but an impossible one is
 * right.
 */
static void op_ask(unsigned int tid)
{
	const unsigned long frame = FRAME(child) + 64;
	struct llfree_child state;

	llfree_frame_is_free(llf, frame);
	llfree_row_mask(llf, frame);
	llfree_child_stable(llf, frame);
	if (!llfree_child(llf, frame, &state) && state.free > CHILD)
		explore_fail("a child has too many free frames", state.free);
}

static void op_count(unsigned int tid)
{
	struct llfree_stats stats;

	llfree_stats_exact(llf, &stats);
	llfree_find_order(llf, 3, LLFREE_VIEW_NORMAL);
}

/*
 * A CPU knows the block from its last owner, without an allocation in between.
 */
static void op_claim(unsigned int tid)
{
	const unsigned long frame = FRAME(child) + 64;

	if (llfree_claim(llf, frame, 3, 0, NULL))
		return;
	take(tid, frame, 3);
	give(tid, frame, 3);
}

/*
 * A claim gives back the first half of a pair, as the other half is a hole or
 * not free.
 */
static void op_claim_pair(unsigned int tid)
{
	const unsigned long frame = ALIGN_DOWN(FRAME(child), 2 * CHILD);

	if (!llfree_claim(llf, frame, LLFREE_MAX_ORDER, 0, NULL))
		explore_fail("a pair that is not free was claimed", frame);
}

/* ---- States ---- */

static void world_init(bool grown)
{
	const struct llfree_memory real = {
		.tree_order = LLFREE_MIN_TREE_ORDER,
		.rows = world.rows, .rows_size = sizeof(world.rows),
		.children = world.children, .children_size = sizeof(world.children),
		.trees = world.trees, .trees_size = sizeof(world.trees),
		.trees_stride = sizeof(world.trees[0]),
	};
	struct llfree_memory mem;
	unsigned long c;
	unsigned int view;

	memset(&world, 0, sizeof(world));
	memset(owner, OTHER, sizeof(owner));
	if (llfree_init(llf, FRAME(0), NR_TREES * TREE, &real, LLFREE_INIT_ALLOC, NULL) ||
	    llfree_set_slots(llf, world.locals, NR_SLOTS))
		abort();
	/*
	 * Remove the children that have no memory at first, as llfree_shrink()
	 * does.
	 */
	for (c = 0; c < NR_CHILDREN; c++) {
		world.there[c] = old_child(c) ||
				 (grown && c >= child && c < child + nr_children);
		if (!world.there[c]) {
			world.children[c] = LLFREE_HOLE_CHILD;
			memset(&world.rows[c * LLFREE_CHILD_ROWS], 0, CHILD / 8);
		}
	}
	for (c = 0; c < NR_TREES; c++) {
		if (old_tree(c) || (grown && c == child / TREE_CHILDREN))
			continue;
		for (view = 0; view < LLFREE_ALLOC_VIEWS; view++)
			world.trees[view][c] = LLFREE_HOLE_TREE;
		llf->nr_trees--;
	}
	llf->first = FRAME(FIRST_CHILD);
	llf->end = FRAME(LAST_CHILD + 1);
	if (grown) {
		llf->first = min(llf->first, FRAME(child));
		llf->end = max(llf->end, FRAME(child + nr_children));
		c = min(child, FIRST_CHILD);
		mem = memory_at(NEW, c);
	} else {
		c = FIRST_CHILD;
		mem = memory_at(OLD, c);
	}
	llf->mapped_first = llf->first;
	llf->mapped_end = llf->end;
	if (llfree_free(llf, LLFREE_NO_SLOT, FRAME(LAST_CHILD), 3, NULL))
		abort();
	owner[unit(FRAME(LAST_CHILD))] = 0;
	if (grown) {
		if (llfree_free(llf, LLFREE_NO_SLOT, FRAME(child), LLFREE_CHILD_ORDER, NULL))
			abort();
		memset(&owner[unit(FRAME(child))], 0, CHILD / UNIT);
	}
	use(&mem, c);
	saved_world = world;
	memcpy(saved_owner, owner, sizeof(owner));
}

static void world_reset(void)
{
	world = saved_world;
	memcpy(owner, saved_owner, sizeof(owner));
	memset(stamps, 0, sizeof(stamps));
	hole_row = 0;
	hole_child = LLFREE_HOLE_CHILD;
}

static const char *world_finish(void)
{
	struct llfree_fault fault;
	static char why[128];
	unsigned long u, c, view;

	if (shim_warnings)
		return "a warning";
	for (c = 0; c < NR_TREES; c++) {
		if (old_tree(c) || (c == child / TREE_CHILDREN && world.there[child]))
			continue;
		for (view = 0; view < LLFREE_ALLOC_VIEWS; view++)
			if (world.trees[view][c] != LLFREE_HOLE_TREE)
				return "a tree without children is no hole";
	}
	if (hole_row || hole_child != LLFREE_HOLE_CHILD)
		return "a hole has changed";
	if (llfree_validate(llf, &fault)) {
		snprintf(why, sizeof(why), "%s at frame %#lx: expected %ld, found %ld",
			 fault.what, fault.frame, fault.expected, fault.found);
		return why;
	}
	for (u = 0; u < NR_UNITS; u++)
		if (llfree_frame_is_free(llf, BASE + u * UNIT) != !owner[u]) {
			snprintf(why, sizeof(why), "frame %#lx has owner %u",
				 BASE + u * UNIT, owner[u]);
			return why;
		}
	return NULL;
}

static const char *word_name(const void *p)
{
	const unsigned long at = (const char *)p - (const char *)&world;
	static char name[64];

	if (at < sizeof(world.rows))
		snprintf(name, sizeof(name), "row %zu", at / sizeof(u64));
	else if (at < offsetof(struct world, trees))
		snprintf(name, sizeof(name), "child %zu",
			 (at - offsetof(struct world, children)) / sizeof(u16));
	else if (at < offsetof(struct world, locals))
		snprintf(name, sizeof(name), "tree %zu",
			 (at - offsetof(struct world, trees)) / sizeof(u32));
	else if (at < offsetof(struct world, llf))
		snprintf(name, sizeof(name), "local %zu", at - offsetof(struct world, locals));
	else
		snprintf(name, sizeof(name), "llfree + %zu", at - offsetof(struct world, llf));
	return name;
}

/* ---- Programs ---- */

typedef void (*op_fn)(unsigned int tid);

static op_fn programs[EXPLORE_THREADS][2];

static void run_program(unsigned int tid)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(programs[tid]) && programs[tid][i]; i++)
		programs[tid][i](tid);
}

static unsigned long effort(void)
{
	const char *env = getenv("EFFORT");

	return env ? strtoul(env, NULL, 0) : 1;
}

static struct {
	unsigned long scenarios;
	unsigned long incomplete;
	unsigned long long runs;
	unsigned long long steps;
} totals;

static bool check(unsigned int nr_threads, bool weak, unsigned long limit)
{
	struct explore_test test = {
		.mem = &world, .size = offsetof(struct world, there),
		.nr_threads = nr_threads, .map = world_map, .reset = world_reset,
		.thread = run_program, .name = word_name, .finish = world_finish,
	};
	struct explore_options opt = {
		.weak = weak, .max_stale = 2, .freeze = -1,
		.max_runs = limit * effort(), .trace = getenv("TRACE"),
	};
	struct explore_result res;

	explore(&test, &opt, &res);
	totals.scenarios++;
	totals.runs += res.runs;
	totals.steps += res.steps;
	if (!res.why && !res.complete) {
		totals.incomplete++;
		opt.random = opt.max_runs / 4 + 1;
		opt.max_runs = 0;
		opt.seed = rng_seed();
		explore(&test, &opt, &res);
		totals.runs += res.runs;
		totals.steps += res.steps;
	}
	if (!res.why)
		return true;
	fprintf(stderr, "# child %lu, %s: %s, %#llx\n", child, weak ? "weak" : "strong",
		res.why, res.where);
	return false;
}

static const op_fn others[] = {
	op_alloc, op_alloc_same_slot, op_alloc_no_slot, op_alloc_whole, op_ask, op_count,
	op_claim, op_claim_pair,
};

FIXTURE(child)
{
};

FIXTURE_VARIANT(child)
{
	unsigned long child;
	unsigned long nr;
};

/* Children of the tree that exists, of the next tree, and of the one before */
FIXTURE_VARIANT_ADD(child, same_tree) { LAST_CHILD + 1, 1 };
FIXTURE_VARIANT_ADD(child, same_tree_below) { FIRST_CHILD - 1, 1 };
FIXTURE_VARIANT_ADD(child, next_tree) { 2 * TREE_CHILDREN, 1 };
FIXTURE_VARIANT_ADD(child, tree_before) { TREE_CHILDREN - 1, 1 };
/* A pair, half of which is allocated */
FIXTURE_VARIANT_ADD(child, pair) { 2 * TREE_CHILDREN, 2 };

FIXTURE_SETUP(child)
{
	child = variant->child;
	nr_children = variant->nr;
	memset(&totals, 0, sizeof(totals));
}

FIXTURE_TEARDOWN(child)
{
	TH_LOG("%lu scenarios, %llu runs, %llu steps, %lu not complete", totals.scenarios,
	       totals.runs, totals.steps, totals.incomplete);
}

static void pairs(struct __test_metadata *_metadata, op_fn op, bool weak)
{
	unsigned int i;

	world_init(op == op_shrink);
	memset(programs, 0, sizeof(programs));
	programs[0][0] = op;
	for (i = 0; i < ARRAY_SIZE(others); i++) {
		programs[1][0] = others[i];
		EXPECT_TRUE(check(2, weak, 4000)) {
			TH_LOG("with operation %u", i);
		}
	}
}

/*
 * Run an operation beside each pair of others: one of these may begin with the
 * old addresses, and the other one may use either.
 */
static void triples(struct __test_metadata *_metadata, op_fn op, bool weak)
{
	unsigned int i, j;

	world_init(op == op_shrink);
	memset(programs, 0, sizeof(programs));
	programs[0][0] = op;
	for (i = 0; i < ARRAY_SIZE(others); i++) {
		for (j = i; j < ARRAY_SIZE(others); j++) {
			programs[1][0] = others[i];
			programs[2][0] = others[j];
			EXPECT_TRUE(check(3, weak, 400)) {
				TH_LOG("with operations %u and %u", i, j);
			}
		}
	}
}

TEST_F(child, grow)
{
	pairs(_metadata, op_grow, false);
}

TEST_F(child, weak_grow)
{
	pairs(_metadata, op_grow, true);
}

TEST_F_TIMEOUT(child, grow_with_two, 120)
{
	triples(_metadata, op_grow, false);
}

TEST_F_TIMEOUT(child, weak_grow_with_two, 120)
{
	triples(_metadata, op_grow, true);
}

/*
 * Two CPUs share a slot, and one of them meets a row that only the other one
 * knows of.
 */
TEST_F(child, weak_row_of_another_cpu)
{
	world_init(false);
	memset(programs, 0, sizeof(programs));
	programs[0][0] = op_grow;
	programs[0][1] = op_alloc_same_slot;
	programs[1][0] = op_alloc_whole;
	EXPECT_TRUE(check(2, true, 20000));
}

TEST_F(child, shrink)
{
	pairs(_metadata, op_shrink, false);
}

TEST_F(child, weak_shrink)
{
	pairs(_metadata, op_shrink, true);
}

/* The child comes back. Permits from before must not come back. */
TEST_F(child, shrink_and_grow)
{
	unsigned int i;

	world_init(true);
	memset(programs, 0, sizeof(programs));
	programs[0][0] = op_shrink;
	programs[0][1] = op_grow;
	for (i = 0; i < ARRAY_SIZE(others); i++) {
		programs[1][0] = others[i];
		EXPECT_TRUE(check(2, false, 4000)) {
			TH_LOG("with operation %u", i);
		}
	}
}

TEST_F(child, weak_move)
{
	pairs(_metadata, op_move, true);
}

TEST_F_TIMEOUT(child, shrink_with_two, 120)
{
	triples(_metadata, op_shrink, false);
}

TEST_HARNESS_MAIN
