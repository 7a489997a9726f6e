/* SPDX-License-Identifier: GPL-2.0 */
/* Programs: the operations of each thread, and its interrupts */
#ifndef _LLFREE_TEST_INTERLEAVE_PROGRAM_H
#define _LLFREE_TEST_INTERLEAVE_PROGRAM_H

/*
 * A | separates threads, and a blank separates operations. Operations after a !
 * may interrupt the thread at any one step. Return: the number of threads
 */
unsigned int parse_programs(const char *text);

/* The callbacks of struct explore_test */
void run_program(unsigned int tid);
void before_step(unsigned int tid);

#endif /* _LLFREE_TEST_INTERLEAVE_PROGRAM_H */
