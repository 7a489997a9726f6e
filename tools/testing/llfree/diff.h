/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The core and the model side by side: each operation runs on both, and the
 * core has to answer as the model does. Where the core may choose (an
 * allocation), the model has to agree that the choice was possible.
 *
 * A program may run operations within others, as interrupts do. Operations that
 * were interrupted, or interrupt others, are not checked for answers that only
 * one order of events allows. The owners of frames are always checked.
 */
#ifndef _LLFREE_TEST_DIFF_H
#define _LLFREE_TEST_DIFF_H

#include "inst.h"
#include "tests/model.h"

/* An operation, one that interrupts it, and one that interrupts that */
#define DIFF_DEPTHS	3

/**
 * struct diff - an instance and its model
 * @in: the instance
 * @m: the model
 * @rng: random numbers
 * @op: number of the operation, for messages
 * @sparse: diff_check_all() asks about one frame in this number, at random
 * @verbose: print each operation before it runs, and its result
 * @marks_lost: a pair was taken and put back, or may have been: marks that
 *	children are reported may be gone
 * @failed: a fault was found and printed
 * @depth: how many operations this one interrupts
 * @running: the core is at work, and may be interrupted
 * @mixed: the outermost operation was interrupted
 * @only_takes: if so, by no operation that could make a block free or show one
 * @number: number of the operation at each depth
 * @flying: most frames that the operation at each depth takes or gives
 */
struct diff {
	struct inst in;
	struct model m;
	struct rng rng;
	unsigned long op;
	unsigned int sparse;
	bool verbose;
	bool marks_lost;
	bool failed;
	unsigned int depth;
	bool running;
	bool mixed;
	bool only_takes;
	unsigned long number[DIFF_DEPTHS];
	unsigned long flying[DIFF_DEPTHS];
};

/* Policies other than the default one, at both ends of the allowed range */
#define DIFF_POLICIES	2
extern const struct llfree_policy diff_policies[DIFF_POLICIES];

/*
 * Operations, with good and bad arguments. They return the result of the core.
 */
long diff_alloc(struct diff *d, const struct llfree_request *req, bool quick);
long diff_alloc_batch(struct diff *d, const struct llfree_request *req,
		      unsigned int nr);
int diff_free(struct diff *d, int slot, unsigned long frame, unsigned int order);
int diff_free_reported(struct diff *d, unsigned long frame, unsigned int order);
long diff_free_rest(struct diff *d, int slot, unsigned long frame,
		    unsigned int order);
int diff_free_batch(struct diff *d, int slot, unsigned long row, u64 mask);
int diff_claim(struct diff *d, unsigned long frame, unsigned int order,
	       unsigned int flags);
long diff_claim_row(struct diff *d, unsigned long row, u64 mask,
		    unsigned int flags);
int diff_set_view(struct diff *d, unsigned long frame, unsigned int view);
int diff_drain(struct diff *d, int slot);

/* Queries about a frame, a child, a block */
void diff_query_frame(struct diff *d, unsigned long frame);
void diff_query_child(struct diff *d, unsigned long frame);
void diff_query_orders(struct diff *d, int view, int class);
void diff_query_stats(struct diff *d);

/*
 * Only for a caller that uses the instance alone: set the slots, up to the
 * number at the start; or restart with LLFREE_INIT_KEEP or, with spoilt
 * counters, LLFREE_INIT_RECOVER. A recovery may also come while operations are
 * under way, which then never end.
 */
void diff_set_slots(struct diff *d, unsigned int nr);
void diff_restart(struct diff *d, enum llfree_mode mode);

/*
 * Take over the state of the core after an operation that was interrupted,
 * since several orders of events are possible.
 */
void diff_settle(struct diff *d);
/* Check the invariants, and the answers to all queries. */
void diff_check(struct diff *d);
void diff_check_all(struct diff *d);

/* Is a free with these arguments bad, whatever the state of the frames? */
bool diff_free_hopeless(const struct diff *d, int slot, unsigned long frame,
			unsigned int order);

#endif /* _LLFREE_TEST_DIFF_H */
