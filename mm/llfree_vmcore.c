// SPDX-License-Identifier: GPL-2.0
/*
 * The layout that readers of crash dumps need to find the free pages of zones.
 *
 * With LLFree neither free lists nor struct pages say which pages are free, so
 * readers look at the bitmaps. tools/mm/llfree-dump.c is such a reader.
 */
#include <linux/init.h>
#include <linux/mmzone.h>
#include <linux/vmcore_info.h>

#include "llfree.h"
#include "zone_free.h"

/**
 * zf_vmcoreinfo_setup() - add the location of free pages to vmcoreinfo
 *
 * Context: boot, while vmcoreinfo is made; page_alloc= was read before.
 */
void __init zf_vmcoreinfo_setup(void)
{
	vmcoreinfo_append_str("NUMBER(LLFREE_ACTIVE)=%d\n", zf_active());
	if (!zf_active())
		return;
	VMCOREINFO_OFFSET(zone, name);
	VMCOREINFO_OFFSET(zone, llfree);
	VMCOREINFO_OFFSET(zone_llfree, core);
	llfree_vmcoreinfo_setup();
}
