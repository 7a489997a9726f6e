/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The core and the model side by side: each operation runs on both, and what
 * the core answers must be what the model answers. Where the core may choose
 * (get), the model must agree that the choice was possible.
 *
 * A program may run operations within others, as interrupts do. What only one
 * order of events allows is then not asked of those that were interrupted or
 * interrupt others; who owns which frame always is.
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
 * @rng: what is left to chance
 * @op: number of the operation, for messages
 * @sparse: diff_check_all() asks about one frame in so many, by chance
 * @verbose: print each operation before it runs, and its result
 * @marks_lost: a pair was taken and put back, or may have been: marks that
 *	children are reported may be gone
 * @failed: something was wrong, and was printed
 * @depth: how many operations this one interrupts
 * @running: the core is at work, and may be interrupted
 * @mixed: the outermost operation was interrupted
 * @only_takes: if so, by none that could make a free block or show one
 * @number: of the operation at each depth
 * @flying: most frames that it takes or gives
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

/* Policies other than the default one, at both ends of what is allowed */
#define DIFF_POLICIES	2
extern const struct llfree_policy diff_policies[DIFF_POLICIES];

/* Operations, with good and bad arguments. They return what the core does. */
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
 * For who uses the instance alone: other slots, up to those it was made with;
 * a restart with LLFREE_INIT_KEEP or, with counters spoilt, LLFREE_INIT_RECOVER.
 * The latter also if operations are under way; they are never finished then.
 */
void diff_set_slots(struct diff *d, unsigned int nr);
void diff_restart(struct diff *d, enum llfree_mode mode);

/* After an operation that was interrupted: which order of events was it? */
void diff_settle(struct diff *d);
/* Invariants; and all that can be asked */
void diff_check(struct diff *d);
void diff_check_all(struct diff *d);

/* Is a free of this bad, whatever state the frames are in? */
bool diff_free_hopeless(const struct diff *d, int slot, unsigned long frame,
			unsigned int order);

#endif /* _LLFREE_TEST_DIFF_H */
