// SPDX-License-Identifier: GPL-2.0
/*
 * Which tree suits which request: the default policy for a kernel. See
 * default_rate() for what it does.
 */
#include <kunit/visibility.h>
#include <linux/export.h>

#include "policy.h"

/* Trees start as movable: that is what most of their frames will be. */
const struct llfree_policy llfree_default_policy = {
	.nr_classes = LLFREE_NR_CLASSES,
	.init_class = LLFREE_CLASS_MOVABLE,
	.mates = {
		[LLFREE_CLASS_UNMOVABLE] = BIT(LLFREE_CLASS_LARGE),
		[LLFREE_CLASS_LARGE] = BIT(LLFREE_CLASS_UNMOVABLE),
		[LLFREE_CLASS_MOVABLE] = BIT(LLFREE_CLASS_HUGE),
		[LLFREE_CLASS_HUGE] = BIT(LLFREE_CLASS_MOVABLE),
	},
	/* Memory that cannot be moved is kept together, so that the rest can go. */
	.low = BIT(LLFREE_CLASS_UNMOVABLE) | BIT(LLFREE_CLASS_RECLAIMABLE) |
	       BIT(LLFREE_CLASS_LARGE),
	.near = 32,
	.rate = default_rate,
};
EXPORT_SYMBOL_IF_KUNIT(llfree_default_policy);
