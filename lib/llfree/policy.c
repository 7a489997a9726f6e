// SPDX-License-Identifier: GPL-2.0
/*
 * LLFree core: policies for a kernel, which decide which tree suits which
 * request. See default_rate() for the levels.
 */
#include <kunit/visibility.h>
#include <linux/export.h>

#include "policy.h"

/* Trees start as movable, since most of their frames will be movable. */
#define DEFAULT_CLASSES							\
	.nr_classes = LLFREE_NR_CLASSES,				\
	.init_class = LLFREE_CLASS_MOVABLE,				\
	.mates = {							\
		[LLFREE_CLASS_UNMOVABLE] = BIT(LLFREE_CLASS_LARGE),	\
		[LLFREE_CLASS_LARGE] = BIT(LLFREE_CLASS_UNMOVABLE),	\
		[LLFREE_CLASS_MOVABLE] = BIT(LLFREE_CLASS_HUGE),	\
		[LLFREE_CLASS_HUGE] = BIT(LLFREE_CLASS_MOVABLE),	\
	},								\
	.near = 32

const struct llfree_policy llfree_default_policy = {
	DEFAULT_CLASSES,
	/*
	 * Memory that cannot be moved is kept together, so that the rest can be
	 * removed.
	 */
	.low = BIT(LLFREE_CLASS_UNMOVABLE) | BIT(LLFREE_CLASS_RECLAIMABLE) |
	       BIT(LLFREE_CLASS_LARGE),
};
EXPORT_SYMBOL_IF_KUNIT(llfree_default_policy);

/*
 * Allocated frames are kept at the low end, so that few frames have to be moved
 * before the high end is removed.
 */
const struct llfree_policy llfree_packed_policy = {
	DEFAULT_CLASSES,
	.low = BIT(LLFREE_NR_CLASSES) - 1,
};
EXPORT_SYMBOL_IF_KUNIT(llfree_packed_policy);
