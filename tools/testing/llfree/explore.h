/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Systematic exploration of what threads can do to shared memory.
 *
 * A test is a few threads, each a function that ends. They run as coroutines
 * of one host thread; before each access to shared memory somebody else may go
 * on. explore() runs the test again and again until it has seen all schedules
 * that differ in the order of two accesses that conflict, or finds a fault.
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
 * struct explore_test - what to explore
 * @mem: the shared memory; accesses to other memory are no steps
 * @size: its size in bytes, at most EXPLORE_SIZE
 * @nr_threads: 1..EXPLORE_THREADS
 * @map: where the word is that an address leads to now, if not NULL; several may lead to
 *	one in @mem. Called before and after the wait for the turn of an access, and also
 *	outside of runs. Not for the words of an xchg().
 * @reset: restores @mem and everything else to where runs start
 * @thread: what a thread does
 * @step: called in a thread before each of its accesses, if not NULL; what it
 *	does is done by that thread, like an interrupt
 * @wrote: called after each change of @mem, if not NULL
 * @watched: is it a word that is looked at together with all others like it? Then changes
 *	of two of these words are explored in both orders. NULL if there is none.
 * @name: what to call a word in a trace, or NULL
 * @finish: called when all threads are done; returns what is wrong, or NULL
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
 * @max_runs: give up after as many runs; 0 for no limit
 * @random: that many random runs instead of all of them
 * @seed: for random runs
 * @all: do not leave out schedules that cannot differ; for tests of explore()
 * @freeze: if not negative, the only schedule is: thread 0 makes as many steps,
 *	then all others run to their ends one by one, then thread 0 goes on
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
 * struct explore_result - what came out
 * @why: the fault, or NULL
 * @where: what it is about
 * @runs: runs to the end
 * @cut: runs that were given up, since others cover them
 * @steps: accesses to shared memory, of all runs
 * @max_steps: of one thread in one run
 * @complete: nothing was left out, but by the limits on old values
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

/* The run is faulty. The first one counts. */
void explore_fail(const char *why, unsigned long long where);
/* A number below @n; all of them are explored. */
unsigned int explore_choose(unsigned int n);
/* The thread that acts now, or -1 */
int explore_thread(void);
/* Is preemption on in all threads? */
bool explore_preemptible(void);

/*
 * What callers see of each other without shared memory: that one returned
 * before another one began. Explored like a word that the one who has returned
 * writes and the one who begins reads, but it orders nothing.
 */
void explore_event(bool returned);

/*
 * A step that changes no word of the memory, but something that is looked at together with
 * the watched words. It orders nothing.
 */
void explore_watched(const char *what);

/*
 * How many of the newest values of a word need the thread that acts now not see? Always 0
 * if memory is not weak.
 */
unsigned int explore_unseen(const void *p);

/*
 * Memory that is handed from one thread to another without atomics: give
 * before it may be somebody else's, take when it is one's own. @stamp has to be
 * zero at reset. Taking fails the run unless memory order makes everything
 * visible that the last owner did.
 */
struct explore_stamp {
	u8 tid_plus_1;
	u16 when;
};

void explore_give(struct explore_stamp *stamp);
void explore_take(const struct explore_stamp *stamp, unsigned long long where);

#endif /* _LLFREE_TEST_EXPLORE_H */
