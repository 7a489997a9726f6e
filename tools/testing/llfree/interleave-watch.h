/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Invariants while threads run: which allocations may fail, which frames they
 * may return, which frames may be withheld from them, and which children may be
 * found stable.
 */
#ifndef _LLFREE_TEST_INTERLEAVE_WATCH_H
#define _LLFREE_TEST_INTERLEAVE_WATCH_H

#include "interleave-world.h"

/*
 * Frames that became free count for searches once the operation that freed them
 * has returned. For frees see being_freed. This has, by actor, the children in
 * which other operations made frames free.
 */
extern unsigned long unsettled[NR_ACTORS];

/* Called before and after an allocation. @frame: the frame that it returned */
void begin_alloc(int actor, const struct llfree_request *req);
void end_alloc(int actor, const struct llfree_request *req, long frame);

/* As own(), for a block that must not be part of a stable isolated child */
void own_visible(int actor, unsigned long frame, unsigned long nr);

/*
 * Called before and after the check of a child. @free: the number that it
 * returned
 */
void begin_stable(int actor, unsigned int child);
void end_stable(int actor, int free);

/* Called at each step */
void check_preemptible(void);
/* Called after each change of a word, by explore() */
void world_wrote(const void *p);

/* Part of world_reset() */
void watch_reset(void);

#endif /* _LLFREE_TEST_INTERLEAVE_WATCH_H */
