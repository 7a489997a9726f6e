/* SPDX-License-Identifier: GPL-2.0 */
/* States of the world in which operations get in each other's way: for world_init() */
#ifndef _LLFREE_TEST_INTERLEAVE_STATES_H
#define _LLFREE_TEST_INTERLEAVE_STATES_H

void state_fresh(void);
void state_pair(void);
void state_half(void);
void state_row(void);
void state_tail(void);
void state_two(void);
void state_crowded(void);
void state_rows(void);
void state_rows_full(void);
void state_one_row(void);
void state_full(void);
void state_holes(void);
void state_views(void);
void state_reserved(void);
void state_whole_owned(void);
void state_lent(void);
void state_tree_lent(void);
void state_no_slots(void);
void state_foreign(void);
void state_exhausted(void);

#endif /* _LLFREE_TEST_INTERLEAVE_STATES_H */
