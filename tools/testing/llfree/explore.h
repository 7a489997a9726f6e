/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Systematic exploration of the interleavings of threads on shared memory.
 *
 * A test is a few threads, each a function that ends. They run as coroutines of
 * one host thread. Before each access to shared memory another thread may go
 * on. explore() repeats the test until it has seen all schedules that differ in
 * the order of two accesses that conflict, or finds a fault.
 *
 * With weak memory, a load may also return older values, as far as acquire,
 * release and full barriers allow. See the top of explore.c.
 */
#ifndef _LLFREE_TEST_EXPLORE_H
#define _LLFREE_TEST_EXPLORE_H

#include <linux/types.h>
#include <stdbool.h>

#define EXPLORE_THREADS		4

/**
 * struct explore_test - the test to explore
 * @mem: the shared memory; accesses to other memory are no steps
 * @size: its size in bytes, at most EXPLORE_SIZE
 * @nr_threads: 1..EXPLORE_THREADS
 * @map: translates an address to that of its word, if not NULL; several
 *	addresses may lead to one word in @mem. Called before and after the wait
 *	for the turn of an access, and also outside of runs. Not called for the
 *	words of an xchg().
 * @reset: restores @mem and all other state to the start of runs
 * @thread: the function of each thread
 * @step: called in a thread before each of its accesses, if not NULL; acts as
 *	that thread, like an interrupt
 * @wrote: called after each change of @mem, if not NULL
 * @watched: is a word looked at together with all others like it? Then changes
 *	of two of these words are explored in both orders. NULL if there is
 *	none.
 * @name: name of a word for a trace, or NULL
 * @finish: called when all threads have ended; returns the fault, or NULL
 */
struct explore_test {
	void *mem;
	size_t size;
	unsigned int nr_threads;
	void *(*map)(const void *p);
	void (*reset)(void);
	void (*thread)(unsigned int tid);
	void (*step)(unsigned int tid);
	void (*wrote)(const void *p);
	bool (*watched)(const void *p);
	const char *(*name)(const void *p);
	const char *(*finish)(void);
};

#define EXPLORE_SIZE		73728

/**
 * struct explore_options - how to explore
 * @weak: with weak memory
 * @max_stale: loads in one run that may return an old value
 * @max_runs: give up after this number of runs; 0 for no limit
 * @random: that many random runs instead of all of them
 * @seed: for random runs
 * @all: do not leave out schedules that cannot differ; for tests of explore()
 * @freeze: if not negative, there is only one schedule: thread 0 makes this
 *	number of steps, then all others run to their ends one by one, then
 *	thread 0 goes on
 * @trace: print each step
 */
struct explore_options {
	bool weak;
	unsigned int max_stale;
	unsigned long max_runs;
	unsigned long random;
	u64 seed;
	bool all;
	long freeze;
	bool trace;
};

/**
 * struct explore_result - the result
 * @why: the fault, or NULL
 * @where: the number that the fault is about
 * @runs: runs to the end
 * @cut: runs that were given up, since others cover them
 * @steps: accesses to shared memory, of all runs
 * @max_steps: of one thread in one run
 * @complete: no schedule was left out, but by the limits on old values
 * @frozen: thread 0 did not end before the step to freeze it at
 */
struct explore_result {
	const char *why;
	unsigned long long where;
	unsigned long runs;
	unsigned long cut;
	unsigned long long steps;
	unsigned long max_steps[EXPLORE_THREADS];
	bool complete;
	bool frozen;
};

void explore(const struct explore_test *test,
	     const struct explore_options *opt, struct explore_result *res);

/* For threads and callbacks. */

/* Note a fault of the run. Only the first one counts. */
void explore_fail(const char *why, unsigned long long where);
/* Choose a number below @n; all of them are explored. */
unsigned int explore_choose(unsigned int n);
/* The thread that acts now, or -1 */
int explore_thread(void);
/* Is preemption on in all threads? */
bool explore_preemptible(void);

/*
 * An event that callers see of each other without shared memory: one caller
 * returned before another one began. explore() treats it like a word that the
 * caller that has returned writes and the other one reads. But it orders no
 * accesses.
 */
void explore_event(bool returned);

/*
 * A step that changes no word of the memory, but other state that is looked at
 * together with the watched words. It orders no accesses.
 */
void explore_watched(const char *what);

/*
 * Number of newest values of a word that the acting thread need not see. Always
 * 0 if memory is not weak.
 */
unsigned int explore_unseen(const void *p);

/*
 * Memory that one thread hands to another without atomics. The old owner gives
 * before another thread may own the memory, and the new owner takes. @stamp has
 * to be zero at reset. A take fails the run unless memory order makes all
 * writes of the last owner visible.
 */
struct explore_stamp {
	u8 tid_plus_1;
	u16 when;
};

void explore_give(struct explore_stamp *stamp);
void explore_take(const struct explore_stamp *stamp, unsigned long long where);

#endif /* _LLFREE_TEST_EXPLORE_H */
