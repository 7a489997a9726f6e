/* SPDX-License-Identifier: GPL-2.0 */
/* The operations of threads on the world */
#ifndef _LLFREE_TEST_INTERLEAVE_OPS_H
#define _LLFREE_TEST_INTERLEAVE_OPS_H

/**
 * struct op - an operation
 * @name: its name in programs
 * @fn: function that does it, as an actor
 * @arg: for @fn: an order, a view, a slot or flags
 */
struct op {
	const char *name;
	void (*fn)(int actor, int arg);
	int arg;
};

extern const struct op ops[];
extern const unsigned int nr_ops;
/* Number of the first operations, which meet each other in pairs */
extern const unsigned int nr_paired;

/* Programs that contain this operation note events. */
void op_view(int actor, int view);

#endif /* _LLFREE_TEST_INTERLEAVE_OPS_H */
