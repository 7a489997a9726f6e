// SPDX-License-Identifier: GPL-2.0
/*
 * LLFree core: the layout that readers of crash dumps need to find free frames.
 *
 * Readers refuse a layout that they do not know, so LLFREE_LAYOUT comes first.
 */
#include <linux/init.h>
#include <linux/vmcore_info.h>

#include "words.h"

#define VMCOREINFO_LLFREE(name, value) \
	vmcoreinfo_append_str("NUMBER(LLFREE_%s)=%lu\n", name, \
			      (unsigned long)(value))

/**
 * llfree_vmcoreinfo_setup() - add the layout of an instance to vmcoreinfo
 *
 * For the caller that has exported where the instances are. Also see
 * Documentation/admin-guide/kdump/vmcoreinfo.rst.
 *
 * Context: boot, while vmcoreinfo is made.
 */
void __init llfree_vmcoreinfo_setup(void)
{
	VMCOREINFO_LLFREE("LAYOUT", LLFREE_LAYOUT);
	VMCOREINFO_LLFREE("ROW_FRAMES", LLFREE_ROW_FRAMES);
	VMCOREINFO_LLFREE("CHILD_FRAMES", LLFREE_CHILD_FRAMES);
	VMCOREINFO_LLFREE("CHILD_FREE_MASK", CHILD_FREE_MASK);
	VMCOREINFO_LLFREE("CHILD_VIEW_SHIFT", CHILD_VIEW_SHIFT);
	VMCOREINFO_LLFREE("CHILD_VIEW_MASK", CHILD_VIEW_MASK);
	/*
	 * The bit of the child word to which the bits of its free frames are
	 * equal
	 */
	VMCOREINFO_LLFREE("CHILD_TURN_SHIFT", LLFREE_CHILD_TURN_SHIFT);
	VMCOREINFO_LLFREE("CHILD_HOLE", LLFREE_HOLE_CHILD);
	VMCOREINFO_LLFREE("VIEW_ISOLATED", LLFREE_VIEW_ISOLATED);
	VMCOREINFO_OFFSET(llfree, first);
	VMCOREINFO_OFFSET(llfree, end);
	VMCOREINFO_OFFSET(llfree, rows);
	VMCOREINFO_OFFSET(llfree, children);
}
