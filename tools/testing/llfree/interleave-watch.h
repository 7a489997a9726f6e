/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What must hold while threads run: which allocations may fail, what they may return,
 * what may be withheld from them, and which children may be found stable.
 */
#ifndef _LLFREE_TEST_INTERLEAVE_WATCH_H
#define _LLFREE_TEST_INTERLEAVE_WATCH_H

#include "interleave-world.h"

/*
 * What became free counts for searches once the operation that made it free has
 * returned: see being_freed, and by actor the children in which something else made
 * frames free.
 */
extern unsigned long unsettled[NR_ACTORS];

/* Before and after an allocation; @frame: what it returned */
void begin_alloc(int actor, const struct llfree_request *req);
void end_alloc(int actor, const struct llfree_request *req, long frame);

/* As own(), of a block that must not be part of a stable isolated child */
void own_visible(int actor, unsigned long frame, unsigned long nr);

/* Before and after the check of a child; @free: what it returned */
void begin_stable(int actor, unsigned int child);
void end_stable(int actor, int free);

/* At each step */
void check_preemptible(void);
/* After each change of a word: a callback of struct explore_test */
void world_wrote(const void *p);

/* Part of world_reset() */
void watch_reset(void);

#endif /* _LLFREE_TEST_INTERLEAVE_WATCH_H */
