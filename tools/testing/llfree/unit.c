// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of operations that another context interrupts after each step, of
 * numbers of steps, of crashes, and of ranges of more memory than a kernel
 * under test may have. All other tests of operations are in lib/llfree/tests/.
 */
#include <linux/align.h>
#include <linux/bits.h>
#include <linux/bitops.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <shim/atomic.h>
#include <shim/shim.h>

#include "inst.h"
#include "words.h"
#include "kselftest_harness.h"

/*
 * Seconds for a test on a slow machine. A test that hangs does not end at all.
 */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	300

#define TREE	LLFREE_MIN_TREE_FRAMES
#define CHILD	LLFREE_CHILD_FRAMES
#define ROW	LLFREE_ROW_FRAMES

/* Called before the next shared access of an operation: another context */
static void (*interrupt)(struct inst *in);
static struct inst *interrupt_inst;
static long interrupt_steps = -1;
/* Shared accesses so far: the cost of an operation */
static unsigned long nr_steps;

void shim_step(const void *word)
{
	nr_steps++;
	if (interrupt_steps < 0 || interrupt_steps--)
		return;
	interrupt(interrupt_inst);
}

static void interrupt_after(long steps, void (*fn)(struct inst *in),
			    struct inst *in)
{
	interrupt = fn;
	interrupt_inst = in;
	interrupt_steps = steps;
}

/* Did the interrupt happen? If not, the operation has fewer steps. */
static bool interrupt_done(void)
{
	bool done = interrupt_steps < 0;

	interrupt_steps = -1;
	return done;
}

static u64 *row_word(struct inst *in, unsigned long frame)
{
	return row_at(&in->llf, frame_row(frame));
}

static bool tree_is_reserved(struct inst *in, unsigned long frame)
{
	struct llfree_child child;

	return !llfree_child(&in->llf, frame, &child) && child.tree_reserved;
}

/* Allocate all free blocks of an order. Return: how many there were */
static unsigned long alloc_all(struct inst *in, int slot, unsigned int order,
			       int view)
{
	unsigned long nr = 0;

	while (inst_alloc_view(in, slot, order, view) >= 0)
		nr++;
	return nr;
}

/*
 * Operations, on four trees that do not start at zero, with four slots
 */
#define BASE	(10 * TREE)
#define TREES	4
#define NR	(TREES * TREE)

FIXTURE(core)
{
	struct inst in;
};

FIXTURE_SETUP(core)
{
	ASSERT_EQ(0, inst_init(&self->in, BASE, NR, LLFREE_INIT_FREE, NULL, 4));
}

FIXTURE_TEARDOWN(core)
{
	EXPECT_STREQ("", inst_check(&self->in));
	inst_exit(&self->in);
}

static long bad_free_allocated;

static void alloc_during_bad_free(struct inst *in)
{
	bad_free_allocated = inst_alloc(in, -1, 0);
}

/* A bad free makes no frame free, not even before the core has refused it. */
TEST(fault6_bad_free_hands_nothing_out)
{
	unsigned int order;
	struct inst in;
	bool more;
	long steps;

	ASSERT_EQ(0, inst_init(&in, BASE, NR, LLFREE_INIT_FREE, NULL, 1));
	EXPECT_EQ(NR, alloc_all(&in, 0, 0, 0));
	for (order = 1; order <= 12; order++) {
		unsigned long last = BASE + (1UL << order) - 1;

		/*
		 * The last two frames are free. The free stays bad if one of
		 * them is taken.
		 */
		ASSERT_EQ(0, inst_free(&in, -1, last - 1, 1));
		for (steps = 0, more = true; more; steps++) {
			bad_free_allocated = -1;
			interrupt_after(steps, alloc_during_bad_free, &in);
			ASSERT_EQ(-EINVAL, inst_free(&in, -1, BASE, order));
			more = interrupt_done();
			ASSERT_STREQ("", inst_check(&in)) {
				TH_LOG("order %u, step %ld", order, steps);
			}
			if (!more)
				break;
			ASSERT_GE(bad_free_allocated, (long)last - 1) {
				TH_LOG("order %u, step %ld", order, steps);
			}
			ASSERT_EQ(0, inst_free(&in, -1, bad_free_allocated, 0));
		}
		ASSERT_EQ(0, llfree_claim(&in.llf, last - 1, 1, 0, &in.sum));
	}
	inst_exit(&in);
}

/* An allocation from another view costs the same, wherever its children are. */
TEST(views_have_cursors)
{
	const unsigned int trees = 4096;
	const unsigned long last = (trees - 1) * TREE;
	unsigned long first, cost;
	struct inst in;

	ASSERT_EQ(0, inst_init(&in, 0, trees * TREE, LLFREE_INIT_FREE, NULL, 1));
	ASSERT_EQ(LLFREE_VIEW_NORMAL, inst_set_view(&in, last, LLFREE_VIEW_CMA));
	nr_steps = 0;
	EXPECT_EQ(last, inst_alloc_view(&in, 0, 0, LLFREE_VIEW_CMA));
	first = nr_steps;
	EXPECT_GT(first, trees);
	nr_steps = 0;
	EXPECT_EQ(last + 1, inst_alloc_view(&in, 0, 0, LLFREE_VIEW_CMA));
	cost = nr_steps;
	EXPECT_LT(cost, 30);

	/* A search of that view still looks everywhere. */
	ASSERT_EQ(LLFREE_VIEW_NORMAL, inst_set_view(&in, 0, LLFREE_VIEW_CMA));
	ASSERT_EQ(LLFREE_VIEW_CMA, inst_set_view(&in, last, LLFREE_VIEW_NORMAL));
	EXPECT_EQ(0, inst_alloc_view(&in, 0, 0, LLFREE_VIEW_CMA));
	EXPECT_STREQ("", inst_check(&in));
	inst_exit(&in);
}

/*
 * Atomic requests search a fragmented reserve again and again without success.
 * Only the first search looks at everything, whatever the size of memory.
 */
TEST(exhausted_reserve_costs_nothing)
{
	const unsigned int gib[] = { 1, 4, 16 };
	unsigned long nr, frame, fails, costs[ARRAY_SIZE(gib)];
	unsigned int i, order;
	struct inst in;

	for (i = 0; i < ARRAY_SIZE(gib); i++) {
		nr = (unsigned long)gib[i] << 18;
		ASSERT_EQ(0, inst_init(&in, 0, nr, LLFREE_INIT_ALLOC, NULL, 1));
		/*
		 * One percent, at the far end, is the reserve. Every other
		 * frame is free.
		 */
		for (frame = nr - ALIGN(nr / 100, CHILD); frame < nr; frame += CHILD)
			ASSERT_EQ(LLFREE_VIEW_NORMAL,
				  inst_set_view(&in, frame, LLFREE_VIEW_HIGHATOMIC));
		for (frame = nr - ALIGN(nr / 100, CHILD); frame < nr; frame += 2)
			ASSERT_EQ(0, inst_free(&in, 0, frame, 0));

		for (order = 1; order <= 3; order++)
			ASSERT_EQ(-ENOMEM, inst_alloc_view(&in, 0, order,
							   LLFREE_VIEW_HIGHATOMIC));
		nr_steps = 0;
		for (fails = 0; fails < 30; fails++) {
			order = fails % 3 + 1;
			/* Zones ask the hint first. */
			if (!llfree_may_have_order(&in.llf, order,
						   LLFREE_VIEW_HIGHATOMIC))
				continue;
			ASSERT_EQ(-ENOMEM, inst_alloc_view(&in, 0, order,
							   LLFREE_VIEW_HIGHATOMIC));
		}
		costs[i] = nr_steps;
		TH_LOG("%u GiB: %lu steps for %lu requests", gib[i], costs[i], fails);
		EXPECT_LE(costs[i], 3 * fails);
		inst_exit(&in);
	}
}

/* Another caller frees a frame that it does not own. */
static void free_stray(struct inst *in)
{
	inst_free(in, -1, BASE + 3 * ROW, 0);
}

/*
 * Another caller frees a frame of a huge block while its owner frees the block.
 * At least one of the two frees is refused: no frame is counted twice.
 */
TEST(free_huge_and_stray_free)
{
	bool more = true, refused = false;
	struct inst in;
	long steps;

	for (steps = 0; more; steps++) {
		ASSERT_EQ(0, inst_init(&in, BASE, CHILD, LLFREE_INIT_ALLOC,
				       NULL, 0));
		interrupt_after(steps, free_stray, &in);
		refused |= inst_free(&in, -1, BASE, 9);
		more = interrupt_done();
		ASSERT_STREQ("", inst_check(&in)) {
			TH_LOG("step %ld", steps);
		}
		inst_exit(&in);
	}
	EXPECT_TRUE(refused);
}

/* How often the whole child changes its owner while a piece of it is freed */
static unsigned int whole_changes, whole_changed;

static void change_whole(struct inst *in)
{
	for (whole_changed = 0; whole_changed < whole_changes; whole_changed++) {
		if (whole_changed % 2 ?
		    inst_alloc(in, -1, LLFREE_CHILD_ORDER) != BASE :
		    inst_free(in, -1, BASE, LLFREE_CHILD_ORDER) != 0)
			break;
	}
}

/*
 * The free of a piece begins before the child is freed and allocated as a
 * whole, and ends after that. The free must not give away frames of a new
 * owner.
 */
TEST(stray_free_and_huge)
{
	struct llfree_delta delta;
	unsigned int met = 0;
	struct inst in;
	bool more;
	long steps;

	for (whole_changes = 1; whole_changes < 8; whole_changes++) {
		for (steps = 0, more = true; more; steps++) {
			memset(&delta, 0, sizeof(delta));
			ASSERT_EQ(0, inst_init(&in, BASE, CHILD, LLFREE_INIT_ALLOC,
					       NULL, 0));
			interrupt_after(steps, change_whole, &in);
			llfree_free(&in.llf, -1, BASE + 5, 0, &delta);
			more = interrupt_done();
			/* If not, the changes came before or after the free. */
			if (more && steps > RANGE_STEPS && whole_changed == whole_changes) {
				met++;
				EXPECT_EQ(0, delta.frames[LLFREE_VIEW_NORMAL]);
				EXPECT_EQ(whole_changes % 2 ? CHILD : 0,
					  inst_free_frames(&in)) {
					TH_LOG("%u changes, step %ld",
					       whole_changes, steps);
				}
			}
			in.sum.frames[LLFREE_VIEW_NORMAL] +=
				delta.frames[LLFREE_VIEW_NORMAL];
			shim_warnings = 0;
			ASSERT_STREQ("", inst_check(&in)) {
				TH_LOG("%u changes, step %ld", whole_changes, steps);
			}
			inst_exit(&in);
		}
	}
	EXPECT_LT(7, met);
}

/* Results of free_huge_early() */
static bool was_free;
static int early;

static void free_huge_early(struct inst *in)
{
	was_free = llfree_frame_is_free(&in->llf, BASE + 77);
	early = inst_free(in, -1, BASE, LLFREE_CHILD_ORDER);
}

/*
 * The permit is taken, but the bit is still clear: the caller does not own all
 * of the child yet.
 */
TEST(free_huge_before_the_bit_is_set)
{
	bool more = true, seen = false;
	struct inst in;
	long steps;

	for (steps = 0; more; steps++) {
		ASSERT_EQ(0, inst_init(&in, BASE, CHILD, LLFREE_INIT_ALLOC,
				       NULL, 0));
		ASSERT_EQ(0, inst_free(&in, -1, BASE + 77, 0));
		interrupt_after(steps, free_huge_early, &in);
		EXPECT_EQ(BASE + 77, inst_alloc(&in, -1, 0));
		more = interrupt_done();
		if (more && was_free) {
			seen = true;
			EXPECT_EQ(-EINVAL, early) {
				TH_LOG("step %ld", steps);
			}
		}
		ASSERT_STREQ("", inst_check(&in));
		inst_exit(&in);
	}
	EXPECT_TRUE(seen);
}

static void hide_child(struct inst *in)
{
	inst_set_view(in, BASE, LLFREE_VIEW_ISOLATED);
}

static void take_row(struct inst *in)
{
	u64 mask;

	llfree_claim_row(&in->llf, BASE, ~0ULL, 0, &mask, &in->sum);
}

/* An undo finds another view than the step before it. */
static void take_row_show_to_cma(struct inst *in)
{
	take_row(in);
	inst_set_view(in, BASE, LLFREE_VIEW_CMA);
}

static void take_next_child(struct inst *in)
{
	llfree_claim(&in->llf, BASE + CHILD, LLFREE_CHILD_ORDER, 0, &in->sum);
}

/* The reservation is gone, so permits cannot go back to it. */
static void take_row_drain(struct inst *in)
{
	take_row(in);
	llfree_drain(&in->llf, -1);
}

/*
 * Another context interrupts llfree_alloc_fast() at each of its steps. Permits
 * go back to the right words, and the delta describes all changes.
 */
TEST(quick_interrupted)
{
	static void (* const others[])(struct inst *in) = {
		hide_child, take_row, take_row_show_to_cma, take_row_drain,
		take_next_child,
	};
	static const unsigned int orders[] = { 0, 4, 6, 7, 8, 9, 10 };
	struct llfree_delta delta;
	unsigned int i, j, v, whole, refused;
	struct inst in;
	long steps, frame;
	bool more;

	for (i = 0; i < ARRAY_SIZE(orders); i++) {
		for (j = 0; j < ARRAY_SIZE(others); j++) {
			more = true;
			refused = 0;
			for (steps = 0; more; steps++) {
				ASSERT_EQ(0, inst_init(&in, BASE, 16 * TREE,
						       LLFREE_INIT_FREE, NULL, 1));
				frame = inst_alloc_class(&in, 0, orders[i], 1, 0);
				ASSERT_EQ(BASE, frame);
				ASSERT_EQ(0, inst_free(&in, 0, frame, orders[i]));
				interrupt_after(steps, others[j], &in);
				frame = llfree_alloc_fast(&in.llf, 0, orders[i], 1,
							  &whole, &delta);
				more = interrupt_done();
				if (frame >= 0) {
					in.sum.frames[0] -= 1 << orders[i];
					in.sum.huge[0] -= whole;
				} else {
					ASSERT_EQ(-EAGAIN, frame);
					refused++;
				}
				for (v = 0; frame < 0 && v < LLFREE_NR_VIEWS; v++) {
					in.sum.frames[v] += delta.frames[v];
					in.sum.huge[v] += delta.huge[v];
				}
				ASSERT_STREQ("", inst_check(&in)) {
					TH_LOG("order %u other %u step %ld", orders[i],
					       j, steps);
				}
				inst_exit(&in);
			}
			/*
			 * The next child matters only to an allocation of two
			 * children.
			 */
			EXPECT_EQ(others[j] != take_next_child || orders[i] == 10,
				  !!refused) {
				TH_LOG("order %u other %u", orders[i], j);
			}
		}
	}
}

#define RUN_ROW	(BASE + 2 * ROW)

static void claim_in_run(struct inst *in)
{
	llfree_claim(&in->llf, RUN_ROW, 0, 0, &in->sum);
}

/*
 * A batch loses the only block of the order at each step. The masks do not
 * change.
 */
TEST_F(core, batch_leaves_masks)
{
	struct llfree_request req = { .order = 3 };
	u64 masks[LLFREE_CHILD_ROWS], before[LLFREE_CHILD_ROWS];
	unsigned int i, lost = 0;
	long steps, child;
	bool fired;

	EXPECT_EQ(NR, alloc_all(&self->in, 0, 0, 0));
	for (i = 0; i < 16; i += 2)
		ASSERT_EQ(0, inst_free(&self->in, 0, BASE + i, 0));
	ASSERT_EQ(0, inst_free(&self->in, 0, RUN_ROW, 3));
	memset(before, 0xa5, sizeof(before));
	for (steps = 0, fired = true; fired; steps++) {
		memcpy(masks, before, sizeof(masks));
		interrupt_after(steps, claim_in_run, &self->in);
		child = inst_alloc_batch(&self->in.llf, &req, 1, masks, &self->in.sum);
		fired = interrupt_done();
		if (child >= 0) {
			ASSERT_EQ(0xff, masks[2]);
			ASSERT_EQ(0, inst_free(&self->in, 0, RUN_ROW, 3));
			continue;
		}
		ASSERT_EQ(-ENOMEM, child);
		ASSERT_TRUE(fired);
		lost++;
		EXPECT_EQ(0, memcmp(before, masks, sizeof(masks))) {
			TH_LOG("claim at step %ld", steps);
		}
		ASSERT_EQ(0, inst_free(&self->in, 0, RUN_ROW, 0));
	}
	EXPECT_LT(2, lost);
	EXPECT_STREQ("", inst_check(&self->in));
}

static unsigned long fault2_frame;

static void free_other_half(struct inst *in)
{
	unsigned long f;

	for (f = CHILD / 2; f < CHILD; f++)
		if (inst_free(in, 1, fault2_frame + f, 0))
			abort();
}

static void free_other_half_at_once(struct inst *in)
{
	if (inst_free(in, 1, fault2_frame + CHILD / 2, 8))
		abort();
}

/*
 * Another CPU frees its pieces while this CPU frees pieces of the same block.
 */
TEST_F(core, fault2_pieces_freed_at_the_same_time)
{
	static void (*const other[])(struct inst *) = {
		free_other_half, free_other_half_at_once,
	};
	unsigned int order;
	long steps, frame;
	bool more;
	int i;

	for (order = 0; order <= 8; order++) {
		for (i = 0; i < ARRAY_SIZE(other); i++) {
			for (steps = 0, more = true; more; steps++) {
				unsigned long f;

				frame = inst_alloc(&self->in, 0, 9);
				ASSERT_GE(frame, 0);
				fault2_frame = frame;
				interrupt_after(steps, other[i], &self->in);
				for (f = 0; f < CHILD / 2; f += 1UL << order)
					ASSERT_EQ(0, inst_free(&self->in, 0,
							       frame + f, order));
				more = interrupt_done();
				if (!more)
					other[i](&self->in);
				ASSERT_EQ(NR, inst_free_frames(&self->in));
				ASSERT_STREQ("", inst_check(&self->in));
				if (steps > 200)
					steps += 97;
			}
			EXPECT_GT(steps, 3);
		}
	}
}

/*
 * The owner fetches permits from its own tree, without a search of all others.
 */
TEST(fault1_owner_syncs_without_search)
{
	const unsigned long trees = 256;
	unsigned int order;
	unsigned long own;
	struct inst in;

	ASSERT_EQ(0, inst_init(&in, 0, trees * TREE, LLFREE_INIT_FREE, NULL, 1));
	EXPECT_EQ(trees * 4, alloc_all(&in, 0, 10, 0));
	for (own = 0; own < trees * TREE && !tree_is_reserved(&in, own);)
		own += TREE;
	ASSERT_LT(own, trees * TREE);
	for (order = 0; order <= LLFREE_MAX_ORDER; order++) {
		ASSERT_EQ(0, inst_free(&in, -1, own, order));
		nr_steps = 0;
		EXPECT_EQ(own, inst_alloc(&in, 0, order));
		EXPECT_LT(nr_steps, trees) {
			TH_LOG("order %u", order);
		}
	}
	EXPECT_STREQ("", inst_check(&in));
	inst_exit(&in);
}

/* Fault 3: undo of multi-word allocations while the view changes */
static enum llfree_view fault3_view;
static unsigned long fault3_frame;
static int fault3_claim;

static void change_view_and_claim(struct inst *in)
{
	unsigned long f;
	u64 claimed;

	/*
	 * This claim makes the other context undo: it has permits but no bits.
	 */
	if (fault3_claim >= 0 &&
	    llfree_claim_row(&in->llf, fault3_frame + fault3_claim * ROW, 1ULL << 63,
			     LLFREE_CLAIM_HIDDEN, &claimed, &in->sum) < 0)
		abort();
	for (f = BASE; f < BASE + 4 * CHILD; f += CHILD)
		if (llfree_set_view(&in->llf, f, fault3_view, &in->sum) < 0)
			abort();
}

/* The view changes at each step of an allocation. */
static void undo_at_each_step(struct __test_metadata *_metadata,
			      unsigned int order, int slot)
{
	unsigned long used, f;
	struct inst in;
	long steps, frame;
	bool more = true;

	for (steps = 0; more; steps++) {
		ASSERT_EQ(0, inst_init(&in, BASE, 4 * CHILD, LLFREE_INIT_FREE,
				       NULL, 1));
		fault3_frame = BASE;
		interrupt_after(steps, change_view_and_claim, &in);
		frame = inst_alloc(&in, slot, order);
		more = interrupt_done();
		ASSERT_STREQ("", inst_check(&in));
		if (more) {
			for (f = BASE; f < BASE + 4 * CHILD; f += CHILD)
				ASSERT_EQ(fault3_view,
					  llfree_set_view(&in.llf, f, 0, &in.sum));
			ASSERT_STREQ("", inst_check(&in));
		}
		used = frame >= 0 ? 1UL << order : 0;
		if (more && fault3_claim >= 0 &&
		    !(llfree_row_mask(&in.llf, BASE + fault3_claim * ROW) >> 63) &&
		    !(frame >= 0 && BASE + fault3_claim * ROW + 63 - frame < used))
			used++;
		ASSERT_EQ(4 * CHILD - used, inst_free_frames(&in));
		ASSERT_EQ(4 * CHILD - used, alloc_all(&in, slot, 0, 0));
		ASSERT_STREQ("", inst_check(&in));
		inst_exit(&in);
		/* Searches are long, and their steps are alike. */
		if (steps > 60)
			steps += steps / 8;
	}
}

/* All orders, in an instance of two pairs of children */
static void undo_in_view(struct __test_metadata *_metadata,
			 enum llfree_view view)
{
	unsigned int order;

	fault3_view = view;
	for (order = 0; order <= LLFREE_MAX_ORDER; order++) {
		for (fault3_claim = -1; fault3_claim < 16; fault3_claim++) {
			undo_at_each_step(_metadata, order, LLFREE_NO_SLOT);
			undo_at_each_step(_metadata, order, 0);
		}
	}
}

TEST(fault3_undo_meets_change_to_cma)
{
	undo_in_view(_metadata, LLFREE_VIEW_CMA);
}

TEST(fault3_undo_meets_change_to_highatomic)
{
	undo_in_view(_metadata, LLFREE_VIEW_HIGHATOMIC);
}

TEST(fault3_undo_meets_isolation)
{
	undo_in_view(_metadata, LLFREE_VIEW_ISOLATED);
}

static void free_pair(struct inst *in)
{
	if (inst_free(in, 1, BASE + 6, 1))
		abort();
}

/*
 * A free during the exhaustive search: the hint must not stay set after the
 * search.
 */
TEST_F(core, fault5_free_during_search)
{
	long steps, frame;
	bool more;

	EXPECT_EQ(NR, alloc_all(&self->in, 0, 0, 0));
	for (steps = 0, more = true; more; steps++) {
		interrupt_after(steps, free_pair, &self->in);
		frame = inst_alloc(&self->in, 2, 1);
		more = interrupt_done();
		if (!more)
			break;
		if (frame < 0) {
			ASSERT_TRUE(llfree_may_have_order(&self->in.llf, 1, 0));
			frame = inst_alloc(&self->in, 2, 1);
		}
		ASSERT_EQ(BASE + 6, frame);
		ASSERT_EQ(-ENOMEM, inst_alloc(&self->in, 2, 1));
		ASSERT_FALSE(llfree_may_have_order(&self->in.llf, 1, 0));
	}
	EXPECT_GT(steps, 10);
}

/* Is there a block whose order the hint calls exhausted? */
static int hidden_order(struct inst *in, int view)
{
	unsigned long nr[LLFREE_NR_ORDERS];
	int order, largest = -1;

	llfree_count_orders(&in->llf, view, -1, nr);
	for (order = 0; order < LLFREE_NR_ORDERS; order++)
		if (nr[order])
			largest = order;
	for (order = 0; order <= largest; order++)
		if (!llfree_may_have_order(&in->llf, order, view))
			return order;
	return -1;
}

static void alloc_one_and_search(struct inst *in)
{
	unsigned int order;

	inst_alloc(in, -1, 0);
	for (order = LLFREE_MAX_ORDER; order > 0; order--)
		inst_alloc(in, -1, order);
}

/*
 * A claim or allocation of several rows fails at the last row, since another
 * context has taken a frame there. Searches in the meantime did not see the
 * other rows.
 */
static void search_at_each_step(struct __test_metadata *_metadata,
				unsigned int order, bool claim)
{
	bool more = true;
	struct inst in;
	long steps;

	for (steps = 0; more; steps++) {
		ASSERT_EQ(0, inst_init(&in, BASE, CHILD, LLFREE_INIT_ALLOC,
				       NULL, 0));
		ASSERT_EQ(0, inst_free(&in, -1, BASE, order));
		ASSERT_EQ(0, inst_free(&in, -1, BASE + CHILD - 1, 0));
		interrupt_after(steps, alloc_one_and_search, &in);
		if (claim)
			llfree_claim(&in.llf, BASE, order, 0, &in.sum);
		else
			inst_alloc(&in, -1, order);
		more = interrupt_done();
		ASSERT_EQ(-1, hidden_order(&in, 0)) {
			TH_LOG("order %u, step %ld", order, steps);
		}
		ASSERT_STREQ("", inst_check(&in));
		inst_exit(&in);
	}
}

TEST(fault5_rows_that_an_alloc_took_for_a_moment)
{
	search_at_each_step(_metadata, 7, false);
	search_at_each_step(_metadata, 8, false);
}

TEST(fault5_rows_that_a_claim_took_for_a_moment)
{
	search_at_each_step(_metadata, 7, true);
	search_at_each_step(_metadata, 8, true);
}

static void alloc_part(struct inst *in)
{
	inst_alloc(in, -1, 3);
}

/*
 * A part of the freed block is allocated before the free finds out which larger
 * block it belongs to.
 */
static void alloc_at_each_step(struct __test_metadata *_metadata,
			       unsigned int order)
{
	bool more = true;
	unsigned int i;
	struct inst in;
	long steps;

	for (steps = 0; more; steps++) {
		ASSERT_EQ(0, inst_init(&in, BASE, TREE, LLFREE_INIT_ALLOC, NULL,
				       0));
		for (i = 1; i <= LLFREE_MAX_ORDER; i++)
			ASSERT_EQ(-ENOMEM, inst_alloc(&in, -1, i));
		interrupt_after(steps, alloc_part, &in);
		ASSERT_EQ(0, inst_free(&in, -1, BASE, order));
		more = interrupt_done();
		ASSERT_EQ(-1, hidden_order(&in, 0)) {
			TH_LOG("order %u, step %ld", order, steps);
		}
		ASSERT_STREQ("", inst_check(&in));
		inst_exit(&in);
	}
}

TEST(fault5_freed_and_allocated_in_part)
{
	unsigned int order;

	for (order = LLFREE_ROW_ORDER; order <= LLFREE_MAX_ORDER; order++)
		alloc_at_each_step(_metadata, order);
}

static void swap_rows_and_change_view(struct inst *in)
{
	struct llfree_request req = { .slot = -1 };
	u64 masks[LLFREE_CHILD_ROWS];

	/* This takes the frames whose bits the free has cleared. */
	llfree_alloc_batch(&in->llf, &req, ROW, masks, &in->sum);
	inst_set_view(in, BASE, LLFREE_VIEW_CMA);
}

/*
 * Permits are good for any frame of the child. So the permits of a free can
 * make another row available than the one whose bits were cleared, in another
 * view.
 */
static void swap_at_each_step(struct __test_metadata *_metadata,
			      unsigned int order)
{
	bool more = true;
	unsigned int i;
	struct inst in;
	long steps;

	for (steps = 0; more; steps++) {
		ASSERT_EQ(0, inst_init(&in, BASE, TREE, LLFREE_INIT_ALLOC, NULL,
				       0));
		ASSERT_EQ(0, inst_free(&in, -1, BASE + ROW, order));
		for (i = LLFREE_MAX_ORDER; i > 0; i--)
			ASSERT_EQ(-ENOMEM, inst_alloc_view(&in, -1, i,
							   LLFREE_VIEW_CMA));
		interrupt_after(steps, swap_rows_and_change_view, &in);
		ASSERT_EQ(0, inst_free(&in, -1, BASE, order));
		more = interrupt_done();
		ASSERT_EQ(-1, hidden_order(&in, 0));
		ASSERT_EQ(-1, hidden_order(&in, LLFREE_VIEW_CMA)) {
			TH_LOG("order %u, step %ld", order, steps);
		}
		ASSERT_STREQ("", inst_check(&in));
		inst_exit(&in);
	}
}

TEST(fault5_free_makes_another_row_available)
{
	unsigned int order;

	for (order = 1; order <= LLFREE_ROW_ORDER; order++)
		swap_at_each_step(_metadata, order);
}

/*
 * A block is freed while another block of its child is free. Between the steps
 * of the free, a CPU allocates a frame of the block whose permits are not there
 * yet. Then too few permits are left for the other block, and searches do not
 * see it until the free is done. Other frames of the tree are free, so that the
 * tree has permits.
 */
static void search_in_free(struct __test_metadata *_metadata, unsigned int order,
			   unsigned int freed)
{
	unsigned long f;
	bool more = true;
	struct inst in;
	long steps;

	for (steps = 0; more; steps++) {
		ASSERT_EQ(0, inst_init(&in, BASE, TREE, LLFREE_INIT_ALLOC, NULL, 0));
		ASSERT_EQ(0, inst_free(&in, LLFREE_NO_SLOT, BASE + (1 << order), order));
		for (f = BASE + 2 * CHILD; f < BASE + 3 * CHILD; f += 2)
			ASSERT_EQ(0, inst_free(&in, LLFREE_NO_SLOT, f, 0));
		interrupt_after(steps, alloc_one_and_search, &in);
		ASSERT_EQ(0, inst_free(&in, LLFREE_NO_SLOT, BASE, freed));
		more = interrupt_done();
		ASSERT_EQ(-1, hidden_order(&in, 0)) {
			TH_LOG("orders %u and %u, step %ld", order, freed, steps);
		}
		ASSERT_STREQ("", inst_check(&in));
		inst_exit(&in);
	}
}

TEST(free_gives_permits_for_another_block)
{
	unsigned int order, freed;

	for (order = 1; order < LLFREE_CHILD_ORDER; order++)
		for (freed = 0; freed <= order; freed++)
			search_in_free(_metadata, order, freed);
}

static void take_and_free(struct inst *in)
{
	long frame = inst_alloc(in, LLFREE_NO_SLOT, LLFREE_CHILD_ORDER);

	if (frame >= 0)
		inst_free(in, LLFREE_NO_SLOT, frame, LLFREE_CHILD_ORDER);
}

/*
 * Children are freed as reported. If another context uses such a child after
 * any step of the free, it removes the mark.
 */
TEST(free_reported)
{
	struct llfree_child child;
	struct inst in;
	long steps;

	ASSERT_EQ(0, inst_init(&in, 0, TREE, LLFREE_INIT_ALLOC, NULL, 0));
	EXPECT_EQ(-EINVAL, llfree_free_reported(&in.llf, 0, LLFREE_CHILD_ORDER - 1, NULL));
	EXPECT_EQ(-EINVAL, llfree_free_reported(&in.llf, CHILD / 2, LLFREE_CHILD_ORDER, NULL));
	EXPECT_EQ(-EINVAL, llfree_free_reported(&in.llf, TREE, LLFREE_CHILD_ORDER, NULL));
	for (steps = 0;; steps++) {
		interrupt_after(steps, take_and_free, &in);
		ASSERT_EQ(0, llfree_free_reported(&in.llf, 0, LLFREE_CHILD_ORDER, &in.sum));
		if (!interrupt_done())
			break;
		ASSERT_EQ(0, llfree_child(&in.llf, 0, &child));
		ASSERT_EQ(CHILD, child.free);
		/* Before the child step there is no free memory to use. */
		if (!child.reported)
			break;
		ASSERT_EQ(0, inst_alloc(&in, LLFREE_NO_SLOT, LLFREE_CHILD_ORDER));
	}
	EXPECT_GT(steps, LLFREE_CHILD_ROWS);
	ASSERT_EQ(0, llfree_child(&in.llf, 0, &child));
	EXPECT_FALSE(child.reported);
	EXPECT_EQ(0, inst_alloc(&in, LLFREE_NO_SLOT, LLFREE_CHILD_ORDER));
	ASSERT_EQ(0, llfree_free_reported(&in.llf, 0, LLFREE_CHILD_ORDER, &in.sum));
	EXPECT_EQ(-EINVAL, llfree_free_reported(&in.llf, 0, LLFREE_CHILD_ORDER, NULL));
	EXPECT_STREQ("", inst_check(&in));
	inst_exit(&in);
}

static void claim_hidden(struct inst *in)
{
	llfree_claim(&in->llf, BASE + 1, 0, LLFREE_CLAIM_HIDDEN, &in->sum);
}

/* A claim does not hide a free that is between its two steps. */
TEST_F(core, stable_under_claim)
{
	struct llfree *llf = &self->in.llf;
	long steps;

	inst_set_view(&self->in, BASE, LLFREE_VIEW_ISOLATED);
	for (steps = 0; ; steps++) {
		ASSERT_EQ(0, llfree_claim(llf, BASE, 0, LLFREE_CLAIM_HIDDEN,
					  &self->in.sum));
		*row_word(&self->in, BASE) &= ~1ULL;
		interrupt_after(steps, claim_hidden, &self->in);
		EXPECT_EQ(-EAGAIN, llfree_child_stable(llf, BASE)) {
			TH_LOG("claim at step %ld", steps);
		}
		*row_word(&self->in, BASE) |= 1ULL;
		EXPECT_EQ(0, inst_free(&self->in, 0, BASE, 0));
		if (!interrupt_done())
			break;
		EXPECT_EQ(0, inst_free(&self->in, 0, BASE + 1, 0));
	}
	EXPECT_LT(8, steps);
	EXPECT_EQ(CHILD, llfree_child_stable(llf, BASE));
}

/* Rows and children at the moment of a crash */
static struct {
	u64 rows[TREE / ROW];
	u16 children[TREE / CHILD];
} at_crash;

static void crash(struct inst *in)
{
	memcpy(at_crash.rows, in->mem.rows, sizeof(at_crash.rows));
	memcpy(at_crash.children, in->mem.children, sizeof(at_crash.children));
}

/*
 * A crash cuts an allocation or a free at each step. No frame is lost for ever.
 */
static void cut_at_each_step(struct __test_metadata *_metadata, unsigned int order,
			     bool put)
{
	const unsigned long frame = BASE + 2 * CHILD;
	unsigned long left, all = 0;
	struct inst in, again;
	bool more = true, cut = false;
	long steps, freed;

	for (steps = 0; more; steps++) {
		ASSERT_EQ(0, inst_init(&in, BASE, TREE, LLFREE_INIT_ALLOC, NULL, 0));
		if (!put)
			ASSERT_EQ(0, inst_free(&in, -1, frame, order));
		interrupt_after(steps, crash, &in);
		ASSERT_EQ(put ? 0 : frame, put ? inst_free(&in, -1, frame, order) :
						 inst_alloc(&in, -1, order));
		more = interrupt_done();
		inst_exit(&in);
		if (!more)
			break;

		ASSERT_EQ(0, inst_init(&again, BASE, TREE, LLFREE_INIT_ALLOC, NULL, 0));
		memcpy(again.mem.rows, at_crash.rows, sizeof(at_crash.rows));
		memcpy(again.mem.children, at_crash.children, sizeof(at_crash.children));
		ASSERT_EQ(0, inst_reinit(&again, LLFREE_INIT_RECOVER));
		ASSERT_STREQ("", inst_check(&again));
		left = inst_free_frames(&again);
		freed = llfree_free_rest(&again.llf, -1, frame, order, &again.sum);
		ASSERT_EQ((1UL << order) - left, freed);
		ASSERT_STREQ("", inst_check(&again));
		cut |= left && freed;
		all += left == 0;
		EXPECT_EQ(frame, inst_alloc(&again, -1, order));
		EXPECT_EQ(0, inst_free_frames(&again));
		inst_exit(&again);
	}
	/*
	 * Some operations were cut between two steps, unless all frames change
	 * in one step.
	 */
	EXPECT_EQ(order > LLFREE_ROW_ORDER && order != LLFREE_CHILD_ORDER, cut);
	EXPECT_GT(all, 0);
}

TEST(recovery_finishes_what_was_cut)
{
	static const unsigned int orders[] = { 0, 5, 6, 7, 8, 9, 10 };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(orders); i++) {
		cut_at_each_step(_metadata, orders[i], false);
		cut_at_each_step(_metadata, orders[i], true);
	}
}

/*
 * An instance of 64 TiB. Rows of untouched memory read as zero, which means
 * free. So a recovery takes no memory but that of children and trees.
 */
TEST(range_of_64T)
{
	unsigned long last = LLFREE_MAX_FRAMES - 1;
	struct inst in;
	long frame;

	ASSERT_EQ(0, inst_init(&in, 0, LLFREE_MAX_FRAMES, LLFREE_INIT_RECOVER,
			       NULL, 4));
	EXPECT_EQ(LLFREE_MAX_FRAMES, inst_free_frames(&in));
	EXPECT_EQ(0, llfree_claim(&in.llf, last, 0, 0, &in.sum));
	EXPECT_EQ(0, llfree_claim(&in.llf, last - 1023 - 1024, 10, 0, &in.sum));
	EXPECT_EQ(9, llfree_block_order(&in.llf, last - 512));
	EXPECT_EQ(0, inst_free(&in, 3, last, 0));
	EXPECT_EQ(10, llfree_block_order(&in.llf, last));
	EXPECT_EQ(-EINVAL, inst_free(&in, 3, last + 1, 0));
	frame = inst_alloc(&in, 2, 10);
	EXPECT_GE(frame, 0);
	EXPECT_EQ(0, inst_free(&in, 1, frame, 10));
	EXPECT_EQ(LLFREE_MAX_FRAMES - 1024, inst_free_frames(&in));
	/*
	 * Free all of an earlier allocation that is larger than the largest
	 * order.
	 */
	EXPECT_EQ(-EINVAL, inst_free(&in, 0, 0, 33));
	inst_exit(&in);
}

/* A block must not have more frames than a delta can count. */
TEST(free_of_8T)
{
	const unsigned long nr = 1UL << 31;
	struct inst in;

	ASSERT_EQ(0, inst_init(&in, 0, nr, LLFREE_INIT_ALLOC, NULL, 0));
	EXPECT_EQ(-EINVAL, inst_free(&in, LLFREE_NO_SLOT, 0, 31));
	EXPECT_EQ(0, in.sum.frames[0]);
	EXPECT_EQ(0, inst_free(&in, LLFREE_NO_SLOT, nr / 2, 30));
	EXPECT_EQ(nr / 2, in.sum.frames[0]);
	EXPECT_EQ(nr / 2 / CHILD, in.sum.huge[0]);
	EXPECT_EQ(nr / 2, inst_free_frames(&in));
	inst_exit(&in);
}

TEST_HARNESS_MAIN
