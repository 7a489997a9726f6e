/* SPDX-License-Identifier: GPL-2.0 */
/* The operations that threads do on the world */
#ifndef _LLFREE_TEST_INTERLEAVE_OPS_H
#define _LLFREE_TEST_INTERLEAVE_OPS_H

/**
 * struct op - an operation
 * @name: in programs
 * @fn: does it, as an actor
 * @arg: for @fn: an order, a view, a slot or flags
 */
struct op {
	const char *name;
	void (*fn)(int actor, int arg);
	int arg;
};

extern const struct op ops[];
extern const unsigned int nr_ops;
/* The first of them, which meet each other in pairs */
extern const unsigned int nr_paired;

/* Programs that have it note events. */
void op_view(int actor, int view);

#endif /* _LLFREE_TEST_INTERLEAVE_OPS_H */
