/* SPDX-License-Identifier: GPL-2.0 */
/* Common parts of the benchmarks: clocks, CPUs, medians and lists of numbers */
#ifndef _LLFREE_TEST_MEASURE_H
#define _LLFREE_TEST_MEASURE_H

#include <argp.h>
#include <stdbool.h>

#include <linux/types.h>

/* Nanoseconds of CPU time of the thread; other programs do not add to it */
double cpu_ns(void);
/* Nanoseconds of the wall clock */
double wall_ns(void);
/* Pin the thread to a CPU. Return: false if that is not possible */
bool pin(unsigned int nr);
/* Sort values, the least first. Return: the one in the middle */
double median(double *values, unsigned int nr);
/*
 * Parse numbers from @low to @high, separated by commas, into @list of @size
 * elements. Return: how many there are
 */
unsigned int parse_list(struct argp_state *state, char *arg, unsigned int *list,
			unsigned int size, unsigned int low, unsigned int high);
/* Parse a number of 64 bits. */
u64 parse_seed(struct argp_state *state, const char *arg);

#endif /* _LLFREE_TEST_MEASURE_H */
