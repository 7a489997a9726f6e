// SPDX-License-Identifier: GPL-2.0
/* llfree_shuffle(): the order in which entirely free trees are allocated. */
#include "instance.h"

#define NR_TREES	96
#define NR_BLOCKS	(NR_TREES * LLFREE_MIN_TREE_FRAMES >> LLFREE_MAX_ORDER)

/*
 * Initialises an instance again, shuffles it unless the key is 0, and allocates all
 * blocks of the largest order. Stores them in the order of their allocation.
 */
static void shuffled(struct kunit *test, struct instance *inst, u64 key,
		     unsigned long *blocks)
{
	unsigned long frames = inst_nr(inst);
	unsigned int nr = 0;
	long frame;

	inst_start(test, inst, 0, frames, LLFREE_INIT_FREE, NULL);
	inst_set_slots(test, inst, 1);
	if (key)
		llfree_shuffle(&inst->llf, key);
	for (;;) {
		/* The model fails if a block is allocated twice, or not found. */
		frame = inst_alloc(test, inst, 0, LLFREE_MAX_ORDER, 0);
		if (frame < 0)
			break;
		blocks[nr++] = frame;
	}
	KUNIT_ASSERT_EQ(test, frames >> LLFREE_MAX_ORDER, nr);
	inst_check(test, inst);
	inst_free_rest(test, inst);
	inst_check(test, inst);
}

static struct instance *inst_trees(struct kunit *test, unsigned int trees)
{
	return inst_new(test, 0, trees * TREE, LLFREE_INIT_FREE, 0);
}

static unsigned long *blocks_new(struct kunit *test)
{
	return area_new(test, NR_BLOCKS * sizeof(unsigned long));
}

static unsigned int same_places(const unsigned long *a, const unsigned long *b)
{
	unsigned int same = 0, i;

	for (i = 0; i < NR_BLOCKS; i++)
		same += a[i] == b[i];
	return same;
}

/* How many blocks follow the same block in both orders */
static unsigned int same_neighbours(const unsigned long *a, const unsigned long *b)
{
	unsigned int same = 0, i, j;

	for (i = 0; i + 1 < NR_BLOCKS; i++)
		for (j = 0; j + 1 < NR_BLOCKS; j++)
			same += a[i] == b[j] && a[i + 1] == b[j + 1];
	return same;
}

/* Without a key, the order is always one; with different keys, orders differ. */
static void shuffle_trees(struct kunit *test)
{
	static const u64 keys[] = { 0, 0, 0x123456789abcdefULL, ~0ULL };
	struct instance *inst = inst_trees(test, NR_TREES);
	unsigned long *order[ARRAY_SIZE(keys)];
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(keys); i++) {
		order[i] = blocks_new(test);
		shuffled(test, inst, keys[i], order[i]);
	}
	KUNIT_EXPECT_EQ(test, NR_BLOCKS, same_places(order[0], order[1]));
	for (i = 1; i < ARRAY_SIZE(keys); i++)
		for (j = i + 1; j < ARRAY_SIZE(keys); j++)
			KUNIT_EXPECT_LT(test, same_places(order[i], order[j]),
					NR_BLOCKS / 8);
}

/*
 * Of four blocks of a tree, three follow another one; in a random order a quarter of
 * these has the same neighbour in another random order. Some keys have the same step.
 */
static void shuffle_children(struct kunit *test)
{
	unsigned long *order[] = { blocks_new(test), blocks_new(test) };
	struct instance *inst = inst_trees(test, NR_TREES);
	unsigned int i, same, sum = 0;
	struct rnd_state rnd;

	prandom_seed_state(&rnd, 1);
	shuffled(test, inst, 0, order[0]);
	for (i = 1; i <= 50; i++) {
		shuffled(test, inst, random_u64(&rnd), order[i % 2]);
		same = same_neighbours(order[0], order[1]);
		KUNIT_EXPECT_LT(test, same, NR_BLOCKS * 4 / 10);
		sum += same;
	}
	KUNIT_EXPECT_LT(test, sum / 50, NR_BLOCKS / 4);
}

/* The steps come to every tree, whatever the number of trees and the key. */
static void shuffle_any_number_of_trees(struct kunit *test)
{
	unsigned long *blocks = blocks_new(test);
	struct rnd_state rnd;
	unsigned int trees;

	prandom_seed_state(&rnd, 2);
	for (trees = 1; trees <= 40; trees++)
		shuffled(test, inst_trees(test, trees), random_u64(&rnd) | 1, blocks);
}

static struct kunit_case shuffle_cases[] = {
	KUNIT_CASE(shuffle_trees),
	KUNIT_CASE(shuffle_children),
	KUNIT_CASE(shuffle_any_number_of_trees),
	{}
};

static struct kunit_suite shuffle_suite = {
	.name = "llfree_shuffle",
	.test_cases = shuffle_cases,
};

kunit_test_suite(shuffle_suite);
