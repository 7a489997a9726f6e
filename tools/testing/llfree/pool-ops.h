/* SPDX-License-Identifier: GPL-2.0 */
/* Programs of the threads of pool-model.c */
#ifndef _LLFREE_TEST_POOL_OPS_H
#define _LLFREE_TEST_POOL_OPS_H

#include "pool-world.h"

/* The block that each thread has */
extern struct block blocks[EXPLORE_THREADS];

/* Of each thread: letters and numbers, as "a0 c s | a0 c"; returns the number of threads */
unsigned int parse_programs(const char *text);
void run_program(unsigned int tid);
/* Threads have these blocks, and nothing else. */
void reset_programs(const struct block *start);

#endif /* _LLFREE_TEST_POOL_OPS_H */
