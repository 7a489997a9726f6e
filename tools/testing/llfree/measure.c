// SPDX-License-Identifier: GPL-2.0
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "measure.h"

static double clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * 1e9 + ts.tv_nsec;
}

double cpu_ns(void)
{
	return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

double wall_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

bool pin(unsigned int nr)
{
	unsigned int cpus = sysconf(_SC_NPROCESSORS_ONLN);
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(nr % cpus, &set);
	return !pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double median(double *values, unsigned int nr)
{
	qsort(values, nr, sizeof(*values), compare);
	return values[nr / 2];
}

unsigned int parse_list(struct argp_state *state, char *arg, unsigned int *list,
			unsigned int size, unsigned int low, unsigned int high)
{
	unsigned long n;
	unsigned int nr = 0;
	char *word, *end;

	for (word = strtok(arg, ","); word; word = strtok(NULL, ",")) {
		n = strtoul(word, &end, 0);
		if (*end || end == word || n < low || n > high || nr == size)
			argp_error(state, "at most %u numbers from %u to %u",
				   size, low, high);
		list[nr++] = n;
	}
	if (!nr)
		argp_error(state, "empty list");
	return nr;
}

u64 parse_seed(struct argp_state *state, const char *arg)
{
	char *end;
	const u64 seed = strtoull(arg, &end, 0);

	if (*end || end == arg)
		argp_error(state, "not a number: %s", arg);
	return seed;
}
