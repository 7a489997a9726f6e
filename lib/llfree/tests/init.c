// SPDX-License-Identifier: GPL-2.0
/*
 * llfree_layout() and llfree_init(): sizes of the metadata, all modes of
 * initialisation, and their invalid arguments.
 */
#include "../policy.h"
#include "instance.h"

KUNIT_ARRAY_PARAM(range, inst_ranges, inst_range_desc);

/* llfree_layout() refuses ranges that are empty, too large, or wrap around. */
static void layout_limits(struct kunit *test)
{
	const unsigned int order = LLFREE_MIN_TREE_ORDER;
	const unsigned long gib = BIT(18), max = LLFREE_MAX_FRAMES;
	struct llfree_memory mem;

	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_layout(0, 0, order, &mem));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_layout(77, 0, order, &mem));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_layout(0, max + 1, order, &mem));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_layout(0, ULONG_MAX, order, &mem));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_layout(ULONG_MAX, 1, order, &mem));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_layout(ULONG_MAX - 5, 10, order, &mem));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			llfree_layout(ULONG_MAX - 5, 100, order, &mem));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_layout(ULONG_MAX, 2, order, &mem));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_layout(1, ULONG_MAX, order, &mem));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_layout(ULONG_MAX - 20 * TREE, 10 * TREE,
						     order, &mem));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_layout(BIT(63), 1, order, &mem));

	KUNIT_EXPECT_EQ(test, 0, llfree_layout(0, max, order, &mem));
	KUNIT_EXPECT_EQ(test, mem.rows_size, max / 8);
	KUNIT_EXPECT_EQ(test, 0, llfree_layout(BIT(40), gib, order, &mem));
	KUNIT_EXPECT_LE(test, mem.rows_size + mem.children_size +
			mem.trees_size, 34 * 1024);
}

/* The last frames that there can be, of which a slot can still reserve the tree */
static void last_frames(struct kunit *test)
{
	const unsigned long first = LLFREE_END_FRAMES - TREE;
	struct llfree_memory mem;
	struct instance *inst;
	long frame;

	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_layout(first, TREE + 1,
						     LLFREE_MIN_TREE_ORDER, &mem));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_layout(LLFREE_END_FRAMES, 1,
						     LLFREE_MIN_TREE_ORDER, &mem));
	inst = inst_new(test, first, TREE, LLFREE_INIT_FREE, 2);
	frame = inst_alloc(test, inst, 1, 3, 0);
	KUNIT_ASSERT_GE(test, frame, first);
	KUNIT_EXPECT_TRUE(test, inst_tree_reserved(test, inst, frame));
	inst_free(test, inst, 0, frame, 3);
	KUNIT_EXPECT_EQ(test, TREE, inst_alloc_all(test, inst, 0, 0, NULL));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_free(&inst->llf, 1, 0, 0, &inst->delta));
	inst_check(test, inst);
}

static void range_layout(struct kunit *test)
{
	const struct span *range = test->param_value;
	unsigned long trees = DIV_ROUND_UP(range->first + range->nr, TREE) -
			      range->first / TREE;
	struct llfree_memory mem;
	struct instance *inst;

	KUNIT_ASSERT_EQ(test, 0, llfree_layout(range->first, range->nr,
					       LLFREE_MIN_TREE_ORDER, &mem));
	KUNIT_EXPECT_EQ(test, mem.rows_size, trees * TREE / BITS_PER_BYTE);
	KUNIT_EXPECT_GE(test, mem.children_size, trees * 8 * sizeof(u16));
	KUNIT_EXPECT_GE(test, mem.trees_size,
			trees * LLFREE_ALLOC_VIEWS * sizeof(u32));
	/* No more than padding */
	KUNIT_EXPECT_LT(test, mem.children_size,
			trees * 8 * sizeof(u16) + SMP_CACHE_BYTES);
	KUNIT_EXPECT_LT(test, mem.trees_size,
			LLFREE_ALLOC_VIEWS * (trees * sizeof(u32) +
					      SMP_CACHE_BYTES));

	inst = inst_new(test, range->first, range->nr, LLFREE_INIT_FREE, 0);
	KUNIT_EXPECT_EQ(test, trees, inst->llf.nr_trees);
	KUNIT_EXPECT_EQ(test, trees / (3 * LLFREE_NR_CLASSES),
			llfree_max_slots(&inst->llf));
	KUNIT_EXPECT_EQ(test, inst->start.frames[LLFREE_VIEW_NORMAL],
			range->nr);
	KUNIT_EXPECT_EQ(test, inst->start.huge[LLFREE_VIEW_NORMAL],
			model_blocks(&inst->model, LLFREE_CHILD_ORDER,
				     LLFREE_VIEW_NORMAL));
	KUNIT_EXPECT_EQ(test, inst->start.reserved, 0);
	inst_check(test, inst);
}

static void range_alloc_mode(struct kunit *test)
{
	const struct span *range = test->param_value;
	struct llfree_stats stats;
	struct instance *inst;
	unsigned int order;

	inst = inst_new(test, range->first, range->nr, LLFREE_INIT_ALLOC, 1);
	KUNIT_EXPECT_EQ(test, inst->start.frames[LLFREE_VIEW_NORMAL], 0);
	for (order = 0; order < LLFREE_NR_ORDERS; order++)
		KUNIT_EXPECT_EQ(test, -ENOMEM, inst_alloc(test, inst, 0, order, 0));
	inst_check(test, inst);

	inst_free_rest(test, inst);
	inst_check(test, inst);
	llfree_stats_exact(&inst->llf, &stats);
	KUNIT_EXPECT_EQ(test, stats.frames[LLFREE_VIEW_NORMAL], range->nr);
}

/* The allocator gets all frames but some holes, as when a kernel starts. */
static void range_alloc_mode_holes(struct kunit *test)
{
	const struct span *range = test->param_value;
	unsigned long frame, nr = 0;
	struct instance *inst;

	inst = inst_new(test, range->first, range->nr, LLFREE_INIT_ALLOC,
			range->slots);
	for (frame = range->first; frame < range->first + range->nr; frame++) {
		if (frame % 3 == 0)
			continue;
		inst_free(test, inst, LLFREE_NO_SLOT, frame, 0);
		KUNIT_ASSERT_EQ(test, -EINVAL,
				llfree_free(&inst->llf, LLFREE_NO_SLOT, frame, 0,
					    &inst->delta));
		nr++;
	}
	KUNIT_EXPECT_EQ(test, nr, inst_free_frames(inst, LLFREE_VIEW_NORMAL));
	inst_check(test, inst);
	KUNIT_EXPECT_EQ(test, -ENOMEM, inst_alloc(test, inst, LLFREE_NO_SLOT, 2, 0));
	KUNIT_EXPECT_EQ(test, nr, inst_alloc_all(test, inst, 0, LLFREE_VIEW_NORMAL,
						 NULL));
	inst_check(test, inst);
}

/* After an orderly stop, rows and children are valid, and all else is lost. */
static void range_keep_mode(struct kunit *test)
{
	const struct span *range = test->param_value;
	unsigned long last = range->first + range->nr - 1;
	struct rnd_state rnd;
	struct instance *inst;
	void *rows, *children;

	prandom_seed_state(&rnd, range->nr);
	inst = inst_new(test, range->first, range->nr, LLFREE_INIT_FREE, 3);
	inst_scatter(test, inst, &rnd);
	/* The new instance has no slots, so these reservations end. */
	inst_alloc(test, inst, 0, 0, 0);
	inst_alloc(test, inst, 1, 0, 1);
	inst_set_view(test, inst, last, LLFREE_VIEW_CMA);
	inst_set_view(test, inst, range->first, LLFREE_VIEW_ISOLATED);

	rows = area_copy(test, inst->mem.rows, inst->mem.rows_size);
	children = area_copy(test, inst->mem.children,
			     inst->mem.children_size);
	inst_start(test, inst, range->first, range->nr, LLFREE_INIT_KEEP, NULL);
	KUNIT_EXPECT_MEMEQ(test, rows, inst->mem.rows, inst->mem.rows_size);
	KUNIT_EXPECT_MEMEQ(test, children, inst->mem.children,
			   inst->mem.children_size);
	inst_check(test, inst);
	inst_free_rest(test, inst);
	inst_check(test, inst);
}

/*
 * After a crash, rows and turns are valid, and so are views other than isolated.
 * Counters can have any value.
 */
static void range_recover_mode(struct kunit *test)
{
	const struct span *range = test->param_value;
	unsigned long last = range->first + range->nr - 1, i;
	struct instance *inst;
	struct rnd_state rnd;

	prandom_seed_state(&rnd, range->nr);
	inst = inst_new(test, range->first, range->nr, LLFREE_INIT_FREE, 3);
	inst_scatter(test, inst, &rnd);
	inst_alloc(test, inst, 2, 0, 0);
	inst_set_view(test, inst, range->first, LLFREE_VIEW_HIGHATOMIC);
	inst_set_view(test, inst, last, LLFREE_VIEW_ISOLATED);

	for (i = 0; i < inst_children(inst); i++) {
		u16 *word = inst_child(inst, i);

		if (child_hole(*word))
			continue;
		*word = child_make(prandom_u32_state(&rnd) % 513,
				   child_view(*word)) | CHILD_REPORTED |
			(*word & CHILD_TURN_MASK);
	}
	/* The bits of frames that do not exist can have any value, too. */
	for (i = 0; i < inst->llf.nr_trees * TREE; i++)
		if (!model_inside(&inst->model, inst_base(inst) + i, 1))
			*inst_row(inst, frame_row(i)) &=
				~BIT_ULL(i % LLFREE_ROW_FRAMES);

	inst_start(test, inst, range->first, range->nr, LLFREE_INIT_RECOVER,
		   NULL);
	*inst_view(inst, last) = LLFREE_VIEW_NORMAL;
	for (i = 0; i < inst_children(inst); i++)
		if (!child_hole(*inst_child(inst, i)))
			KUNIT_EXPECT_EQ(test, 0, *inst_child(inst, i) & CHILD_REPORTED);
	inst_check(test, inst);
	inst_free_rest(test, inst);
	inst_check(test, inst);
}

/* Recovery counts the children whose counters were wrong: random, 0, or too large. */
static void range_recover_repairs(struct kunit *test)
{
	const struct span *range = test->param_value;
	struct instance *inst;
	struct rnd_state rnd;
	unsigned long i, wrong;
	unsigned int how;
	u16 *word, old;

	prandom_seed_state(&rnd, range->nr);
	inst = inst_new(test, range->first, range->nr, LLFREE_INIT_FREE, 0);
	for (how = 0; how < 3; how++) {
		inst_scatter(test, inst, &rnd);
		for (i = 0, wrong = 0; i < inst_children(inst); i++) {
			word = inst_child(inst, i);
			old = *word;
			*word = how == 0 ? prandom_u32_state(&rnd) % (CHILD + 1) :
				how == 1 ? 0 : CHILD_FREE_MASK | CHILD_REPORTED;
			wrong += !child_hole(old) && child_free(*word) != child_free(old);
		}
		inst_start(test, inst, range->first, range->nr, LLFREE_INIT_RECOVER,
			   NULL);
		KUNIT_EXPECT_EQ(test, wrong, inst->llf.repaired);
		KUNIT_EXPECT_EQ(test, -EINVAL,
				llfree_free(&inst->llf, LLFREE_NO_SLOT,
					    range->first - 1, 0, &inst->delta));
		inst_check(test, inst);
	}
	inst_free_rest(test, inst);
	inst_check(test, inst);
}

/* Rows mean what they meant after recovery and keep, after any number of turns. */
static void recover_turns(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, 4 * TREE, LLFREE_INIT_FREE, 0);
	unsigned int turns;
	long frame;

	for (turns = 0; turns < 20; turns++) {
		frame = inst_alloc(test, inst, LLFREE_NO_SLOT, LLFREE_CHILD_ORDER, 0);
		KUNIT_ASSERT_GE(test, frame, 0);
		inst_free(test, inst, LLFREE_NO_SLOT, frame + turns, 0);
		inst_start(test, inst, FIRST, 4 * TREE, LLFREE_INIT_RECOVER, NULL);
		inst_check(test, inst);
		KUNIT_EXPECT_TRUE(test, llfree_frame_is_free(&inst->llf, frame + turns));
		KUNIT_EXPECT_EQ(test, -EINVAL,
				llfree_free(&inst->llf, LLFREE_NO_SLOT, frame,
					    LLFREE_CHILD_ORDER, &inst->delta));
		KUNIT_ASSERT_EQ(test, 0, inst_claim(test, inst, frame + turns, 0, 0));
		inst_start(test, inst, FIRST, 4 * TREE, turns % 2 ?
			   LLFREE_INIT_RECOVER : LLFREE_INIT_KEEP, NULL);
		inst_free(test, inst, LLFREE_NO_SLOT, frame, LLFREE_CHILD_ORDER);
		inst_check(test, inst);
	}
}

/* LLFREE_INIT_KEEP refuses words that no child can have; recovery corrects them. */
static void keep_bad_child(struct kunit *test)
{
	static const u16 bad[] = {
		CHILD + 1, CHILD_FREE_MASK, CHILD_REPORTED | 5,
	};
	struct instance *inst = inst_new(test, FIRST, 4 * TREE, LLFREE_INIT_FREE, 0);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		*inst_child(inst, 5) = bad[i];
		KUNIT_EXPECT_EQ_MSG(test, -EUCLEAN,
				    llfree_init(&inst->llf, FIRST, 4 * TREE, &inst->mem,
						LLFREE_INIT_KEEP, NULL),
				    "%#x", bad[i]);
		inst_start(test, inst, FIRST, 4 * TREE, LLFREE_INIT_RECOVER, NULL);
		inst_check(test, inst);
	}
}

/* A restart keeps all views; recovery keeps them but for isolated children. */
static void restart_views(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, 4 * TREE, LLFREE_INIT_FREE, 0);

	inst_set_view(test, inst, FIRST, LLFREE_VIEW_ISOLATED);
	inst_set_view(test, inst, FIRST + CHILD, LLFREE_VIEW_CMA);
	inst_set_view(test, inst, FIRST + 2 * CHILD, LLFREE_VIEW_HIGHATOMIC);
	inst_start(test, inst, FIRST, 4 * TREE, LLFREE_INIT_KEEP, NULL);
	inst_check(test, inst);
	inst_start(test, inst, FIRST, 4 * TREE, LLFREE_INIT_RECOVER, NULL);
	*inst_view(inst, FIRST) = LLFREE_VIEW_NORMAL;
	inst_check(test, inst);
	KUNIT_EXPECT_EQ(test, 4 * TREE - 2 * CHILD, inst_alloc_all(test, inst, 0, 0, NULL));
	inst_check(test, inst);
}

/* A restart keeps the reported state of children; recovery does not. */
static void restart_reported(struct kunit *test)
{
	struct instance *inst = inst_new(test, FIRST, 4 * TREE, LLFREE_INIT_FREE, 0);
	struct llfree *llf = &inst->llf;
	struct llfree_child child;

	inst_set_reported(test, inst, FIRST);
	inst_start(test, inst, FIRST, 4 * TREE, LLFREE_INIT_KEEP, NULL);
	KUNIT_ASSERT_EQ(test, 0, llfree_child(llf, FIRST, &child));
	KUNIT_EXPECT_TRUE(test, child.reported);
	inst_check(test, inst);
	inst_start(test, inst, FIRST, 4 * TREE, LLFREE_INIT_RECOVER, NULL);
	KUNIT_ASSERT_EQ(test, 0, llfree_child(llf, FIRST, &child));
	KUNIT_EXPECT_FALSE(test, child.reported);
	inst_check(test, inst);
}

/*
 * Frame numbers are absolute, so a new instance over old metadata can begin
 * earlier than the old one.
 */
static void range_grows_down(struct kunit *test)
{
	const unsigned long first = FIRST + 3 * CHILD + 77, end = FIRST + TREE;
	struct instance *inst = inst_new(test, first, end - first,
					 LLFREE_INIT_FREE, 0);
	unsigned long frames[8];
	unsigned int i;

	for (i = 0; i < 8; i++)
		frames[i] = inst_alloc(test, inst, LLFREE_NO_SLOT, i, 0);
	inst_start(test, inst, FIRST, TREE, LLFREE_INIT_KEEP, NULL);
	/* All new frames are in use, and all allocated ones still are. */
	inst_check(test, inst);
	for (i = 0; i < 8; i++)
		inst_free(test, inst, LLFREE_NO_SLOT, frames[i], i);
	KUNIT_EXPECT_EQ(test, end - first, inst_free_frames(inst, 0));
	inst_free_rest(test, inst);
	KUNIT_EXPECT_EQ(test, TREE, inst_free_frames(inst, 0));
	inst_check(test, inst);
}

static void init_invalid(struct kunit *test)
{
	static const struct llfree_policy bad[] = {
		{ .nr_classes = 0, .near = 1, .rate = default_rate },
		{ .nr_classes = LLFREE_MAX_CLASSES + 1, .near = 1,
		  .rate = default_rate },
		{ .nr_classes = 2, .init_class = 2, .near = 1,
		  .rate = default_rate },
		{ .nr_classes = 2, .near = 0, .rate = default_rate },
		{ .nr_classes = 2, .near = 3, .rate = default_rate },
		{ .nr_classes = 2, .near = 6, .rate = default_rate },
		{ .nr_classes = 2, .near = 4 },
	};
	struct instance *inst = inst_new(test, FIRST, TREE, LLFREE_INIT_FREE, 0);
	const struct llfree_memory good = inst->mem;
	struct llfree *llf = &inst->llf;
	struct llfree_memory mem;
	void **area[] = { &mem.rows, &mem.children, &mem.trees };
	size_t *size[] = { &mem.rows_size, &mem.children_size,
			   &mem.trees_size };
	/* Sizes of the words: less than areas have to be aligned to */
	static const unsigned int min_align[] = {
		sizeof(u64), sizeof(u16), sizeof(u32)
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		KUNIT_EXPECT_EQ_MSG(test, -EINVAL,
				    llfree_init(llf, FIRST, TREE, &good,
						LLFREE_INIT_FREE, &bad[i]),
				    "policy %u", i);
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_init(llf, FIRST, TREE, &good,
						   LLFREE_INIT_KEEP + 1, NULL));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_init(llf, FIRST, TREE, &good, -1, NULL));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_init(llf, FIRST, 0, &good,
						   LLFREE_INIT_FREE, NULL));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_init(llf, ULONG_MAX - 5, 100, &good,
						   LLFREE_INIT_FREE, NULL));
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_init(llf, 0, LLFREE_MAX_FRAMES + 1, &good,
						   LLFREE_INIT_FREE, NULL));
	/* One more frame needs more trees. */
	KUNIT_EXPECT_EQ(test, -EINVAL, llfree_init(llf, FIRST, TREE + 1, &good,
						   LLFREE_INIT_FREE, NULL));
	for (i = 0; i < 12; i++) {
		mem = good;
		if (i < 3)
			*area[i] = NULL;
		else if (i < 6)
			*area[i - 3] += 8;
		else if (i < 9)
			*area[i - 6] += min_align[i - 6];
		else
			(*size[i - 9])--;
		KUNIT_EXPECT_EQ_MSG(test, -EINVAL,
				    llfree_init(llf, FIRST, TREE, &mem,
						LLFREE_INIT_FREE, NULL),
				    "memory %u", i);
	}
	/* None of the calls changed the instance. */
	inst_check(test, inst);
}

static struct kunit_case init_cases[] = {
	KUNIT_CASE(layout_limits),
	KUNIT_CASE(last_frames),
	KUNIT_CASE_PARAM(range_layout, range_gen_params),
	KUNIT_CASE_PARAM(range_alloc_mode, range_gen_params),
	KUNIT_CASE_PARAM(range_alloc_mode_holes, range_gen_params),
	KUNIT_CASE_PARAM(range_keep_mode, range_gen_params),
	KUNIT_CASE_PARAM(range_recover_mode, range_gen_params),
	KUNIT_CASE_PARAM(range_recover_repairs, range_gen_params),
	KUNIT_CASE(recover_turns),
	KUNIT_CASE(keep_bad_child),
	KUNIT_CASE(restart_views),
	KUNIT_CASE(restart_reported),
	KUNIT_CASE(range_grows_down),
	KUNIT_CASE(init_invalid),
	{}
};

static struct kunit_suite init_suite = {
	.name = "llfree_init",
	.test_cases = init_cases,
};

kunit_test_suite(init_suite);
