// SPDX-License-Identifier: GPL-2.0
/* A random walk of all operations, compared with the model. */
#include "instance.h"

KUNIT_ARRAY_PARAM(range, inst_ranges, inst_range_desc);

static void random_step(struct kunit *test, struct instance *inst,
			struct rnd_state *rnd)
{
	unsigned int what = prandom_u32_state(rnd) % 16;
	unsigned int order = prandom_u32_state(rnd) % LLFREE_NR_ORDERS;
	unsigned long frame = inst->llf.first +
			      prandom_u32_state(rnd) % inst_nr(inst);
	int slot = (int)(prandom_u32_state(rnd) % (inst->nr_slots + 1)) - 1;
	unsigned long row = ALIGN_DOWN(frame, LLFREE_ROW_FRAMES);
	unsigned long start = ALIGN_DOWN(frame, 1UL << order);
	struct llfree_request req = {
		.slot = slot,
		.order = order,
		.class = prandom_u32_state(rnd) % LLFREE_NR_CLASSES,
		.view = what < 4 ? 0 : prandom_u32_state(rnd) %
				       LLFREE_ALLOC_VIEWS,
	};
	const struct model *m = &inst->model;
	u64 masks[LLFREE_CHILD_ROWS], mask;
	int ret;

	switch (what) {
	case 0 ... 4:
		inst_alloc_req(test, inst, &req);
		break;
	case 5 ... 8:
		/* Free a block that is wholly in use; else the free is refused. */
		if (model_all_used(m, start, 1UL << order))
			inst_free(test, inst, slot, start, order);
		else
			KUNIT_EXPECT_EQ(test, -EINVAL,
					llfree_free(&inst->llf, slot, start,
						    order, &inst->delta));
		break;
	case 9:
		mask = random_u64(rnd) & model_row_mask(m, row, true);
		if (mask)
			inst_free_batch(test, inst, slot, row, mask);
		break;
	case 10:
		req.order %= LLFREE_ROW_ORDER + 1;
		inst_alloc_batch(test, inst, &req, 1 + prandom_u32_state(rnd) % 64,
				 masks);
		break;
	case 11:
		/* The two children of an order 10 may have two views. */
		if (*inst_view(inst, start) == LLFREE_VIEW_ISOLATED ||
		    order == LLFREE_MAX_ORDER)
			break;
		if (!model_inside(m, start, 1UL << order))
			ret = -EINVAL;
		else if (!model_all_free(m, start, 1UL << order, MODEL_ANY_VIEW))
			ret = -EBUSY;
		else
			ret = 0;
		KUNIT_EXPECT_EQ(test, ret, inst_claim(test, inst, start, order, 0));
		break;
	case 12:
		mask = random_u64(rnd) & random_u64(rnd);
		KUNIT_EXPECT_EQ(test, mask & model_row_mask(m, row, false),
				inst_claim_row(test, inst, row, mask,
					       LLFREE_CLAIM_HIDDEN));
		break;
	case 13:
		/* Mostly normal, or soon no allocation would succeed. */
		inst_set_view(test, inst, frame, order < LLFREE_NR_VIEWS ?
			      order : LLFREE_VIEW_NORMAL);
		break;
	case 14:
		llfree_drain(&inst->llf, slot);
		break;
	case 15:
		start = ALIGN_DOWN(frame, CHILD);
		if (model_all_free(m, start, CHILD, MODEL_ANY_VIEW))
			inst_set_reported(test, inst, start);
		else if (!model_all_used(m, start, CHILD))
			KUNIT_EXPECT_EQ(test, -EINVAL,
					llfree_free_reported(&inst->llf, start,
							     LLFREE_CHILD_ORDER,
							     &inst->delta));
		break;
	}
}

static void random_walk(struct kunit *test)
{
	const struct span *range = test->param_value;
	struct instance *inst;
	struct rnd_state rnd;
	unsigned int i;

	prandom_seed_state(&rnd, range->first * 31 + range->nr);
	inst = inst_new(test, range->first, range->nr, LLFREE_INIT_FREE, 3);
	for (i = 0; i < 2000; i++) {
		random_step(test, inst, &rnd);
		if (i % 200 == 0)
			inst_check(test, inst);
	}
	inst_check(test, inst);
	inst_free_rest(test, inst);
	llfree_drain(&inst->llf, -1);
	inst_check(test, inst);
}

static struct kunit_case random_cases[] = {
	KUNIT_CASE_PARAM(random_walk, range_gen_params),
	{}
};

static struct kunit_suite random_suite = {
	.name = "llfree_random",
	.test_cases = random_cases,
};

kunit_test_suite(random_suite);
