/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Format of a recorded trace of the page allocator.
 *
 * A trace is a directory: "records" has struct trace_record in order of time,
 * "frames" has one byte for each page frame at the begin (enum trace_frame), and
 * meta.json tells the load, the zones and the counts. All integers are
 * little-endian.
 */
#ifndef TRACE_H
#define TRACE_H

#include <linux/types.h>

enum trace_what {
	TRACE_ALLOC,		/* a caller has got a block */
	TRACE_FREE,		/* a caller gives a block back */
	TRACE_ZONE_ALLOC,	/* a zone gives a block, to a per-CPU list or a caller */
	TRACE_ZONE_FREE,	/* a per-CPU list gives a block back to its zone */
};

/* Bits of trace_record.kind; those below are the migratetype. */
#define TRACE_MIGRATETYPE	0x07
#define TRACE_ATOMIC		0x08	/* the caller cannot reclaim */
#define TRACE_COMP		0x10	/* a compound page */
#define TRACE_ZERO		0x20	/* the caller wants zeroes */
#define TRACE_REFILL		0x40	/* a zone's block is for a per-CPU list */

enum trace_frame {
	FRAME_ABSENT,
	FRAME_FREE,
	FRAME_MOVABLE,		/* of a process or of the page cache */
	FRAME_UNMOVABLE,
	FRAME_HUGE,		/* of a huge page */
};

/**
 * struct trace_record - one event
 * @time: ns since the first event
 * @pfn: first frame of the block
 * @what: enum trace_what
 * @order: order of the block
 * @kind: migratetype and TRACE_ flags; 0 for a free
 * @cpu: CPU
 */
struct trace_record {
	__le64 time;
	__le32 pfn;
	__u8 what;
	__u8 order;
	__u8 kind;
	__u8 cpu;
};

#endif
