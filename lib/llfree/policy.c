// SPDX-License-Identifier: GPL-2.0
/*
 * Which tree suits which request: policies for a kernel. See
 * default_rate() for what it does.
 */
#include <kunit/visibility.h>
#include <linux/export.h>

#include "policy.h"

/* Trees start as movable: that is what most of their frames will be. */
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
	/* Memory that cannot be moved is kept together, so that the rest can go. */
	.low = BIT(LLFREE_CLASS_UNMOVABLE) | BIT(LLFREE_CLASS_RECLAIMABLE) |
	       BIT(LLFREE_CLASS_LARGE),
};
EXPORT_SYMBOL_IF_KUNIT(llfree_default_policy);

/* What is in use is kept together, so that the high end can go with little to move. */
const struct llfree_policy llfree_packed_policy = {
	DEFAULT_CLASSES,
	.low = BIT(LLFREE_NR_CLASSES) - 1,
};
EXPORT_SYMBOL_IF_KUNIT(llfree_packed_policy);
