/* SPDX-License-Identifier: GPL-2.0 */
/* Programs: which operations each thread does, and what interrupts it */
#ifndef _LLFREE_TEST_INTERLEAVE_PROGRAM_H
#define _LLFREE_TEST_INTERLEAVE_PROGRAM_H

/*
 * Threads are separated by |, their operations by blanks, and what may
 * interrupt a thread at any one step comes after a !. Returns the number of threads.
 */
unsigned int parse_programs(const char *text);

/* The callbacks of struct explore_test */
void run_program(unsigned int tid);
void before_step(unsigned int tid);

#endif /* _LLFREE_TEST_INTERLEAVE_PROGRAM_H */
