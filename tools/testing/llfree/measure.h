/* SPDX-License-Identifier: GPL-2.0 */
/* What benchmarks share: clocks, CPUs, medians and lists of numbers. */
#ifndef _LLFREE_TEST_MEASURE_H
#define _LLFREE_TEST_MEASURE_H

#include <argp.h>
#include <stdbool.h>

#include <linux/types.h>

/* Nanoseconds of CPU time of the thread, which other programs do not lengthen */
double cpu_ns(void);
/* Nanoseconds of a clock on the wall */
double wall_ns(void);
/* Keep the thread on a CPU; false if that cannot be. */
bool pin(unsigned int nr);
/* Sort values, so that the first is the least. Return: the one in the middle */
double median(double *values, unsigned int nr);
/*
 * Numbers from @low to @high, separated by commas, into @list of @size elements.
 * Return: how many there are
 */
unsigned int parse_list(struct argp_state *state, char *arg, unsigned int *list,
			unsigned int size, unsigned int low, unsigned int high);
/* Any number of 64 bits */
u64 parse_seed(struct argp_state *state, const char *arg);

#endif /* _LLFREE_TEST_MEASURE_H */
