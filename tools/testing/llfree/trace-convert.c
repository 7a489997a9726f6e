// SPDX-License-Identifier: GPL-2.0
/*
 * Convert what trace-cmd recorded of the page allocator to records of 16 bytes.
 *
 *   trace-convert TRACE.DAT RECORDS
 *
 * Prints the number of records of each kind as JSON. Fails if events were lost,
 * or if a frame or CPU number does not fit: half a trace is worse than none.
 */
#include <linux/bits.h>
#include <linux/kernel.h>
#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <trace-cmd.h>

#include "trace.h"

/* Bits of gfp_flags: enum in include/linux/gfp_types.h of 6.12 */
#define GFP_ZERO		BIT(8)
#define GFP_DIRECT_RECLAIM	BIT(10)
#define GFP_COMP		BIT(18)

#define NO_PFN	UINT64_MAX	/* an allocation that failed */

static const struct {
	const char *name, *key;
} events[] = {
	[TRACE_ALLOC] = { "mm_page_alloc", "alloc" },
	[TRACE_FREE] = { "mm_page_free", "free" },
	[TRACE_ZONE_ALLOC] = { "mm_page_alloc_zone_locked", "zone_alloc" },
	[TRACE_ZONE_FREE] = { "mm_page_pcpu_drain", "zone_free" },
};

/*
 * Pages of another migratetype than wanted have this event, often alone, often
 * beside mm_page_alloc_zone_locked.
 */
#define FALLBACK	"mm_page_alloc_extfrag"

#define NR_EVENTS	ARRAY_SIZE(events)

/**
 * struct conversion - state of a run
 * @out: file of the records
 * @event: description of each event, NULL if the trace has none of them
 * @fallback: description of FALLBACK, or NULL
 * @before: the last record of each CPU
 * @first: time of the first event
 * @last: time of the last event
 * @count: number of records of each kind
 * @failed: number of allocations that failed
 * @lost: number of times that events were lost
 */
struct conversion {
	FILE *out;
	struct tep_event *event[NR_EVENTS], *fallback;
	struct trace_record before[UINT8_MAX + 1];
	uint64_t first, last;
	unsigned long count[NR_EVENTS], failed, lost;
};

static uint64_t event_field(struct tep_event *event, struct tep_record *record,
			    const char *name)
{
	unsigned long long value;

	if (tep_get_field_val(NULL, event, name, record, &value, 0)) {
		fprintf(stderr, "trace-convert: event %s has no field %s\n",
			event->name, name);
		exit(1);
	}
	return value;
}

static uint8_t kind(struct conversion *c, struct tep_event *event,
		    struct tep_record *record, unsigned int what)
{
	uint8_t kind;
	uint64_t gfp;

	if (what == TRACE_FREE)
		return 0;
	if (event == c->fallback)
		return event_field(event, record, "alloc_migratetype") &
		       TRACE_MIGRATETYPE;
	kind = event_field(event, record, "migratetype") & TRACE_MIGRATETYPE;
	if (what == TRACE_ALLOC) {
		gfp = event_field(event, record, "gfp_flags");
		kind |= gfp & GFP_DIRECT_RECLAIM ? 0 : TRACE_ATOMIC;
		kind |= gfp & GFP_COMP ? TRACE_COMP : 0;
		kind |= gfp & GFP_ZERO ? TRACE_ZERO : 0;
	}
	if (what == TRACE_ZONE_ALLOC && event_field(event, record, "percpu_refill"))
		kind |= TRACE_REFILL;
	return kind;
}

static int convert_event(struct tracecmd_input *handle,
			 struct tep_record *record, int cpu, void *data)
{
	struct conversion *c = data;
	int id = tep_data_type(tracecmd_get_tep(handle), record);
	struct trace_record r = { }, *before;
	struct tep_event *event = NULL;
	unsigned int what;
	uint64_t pfn;

	c->lost += !!record->missed_events;
	for (what = 0; what < NR_EVENTS && !event; what++)
		if (c->event[what] && c->event[what]->id == id)
			event = c->event[what];
	what--;
	if (!event && c->fallback && c->fallback->id == id) {
		event = c->fallback;
		what = TRACE_ZONE_ALLOC;
	}
	if (!event)
		return 0;

	pfn = event_field(event, record, "pfn");
	if (pfn == NO_PFN) {
		c->failed++;
		return 0;
	}
	if (pfn > UINT32_MAX || cpu > UINT8_MAX) {
		fprintf(stderr, "trace-convert: frame %#llx of CPU %d does not fit\n",
			(unsigned long long)pfn, cpu);
		return -1;
	}
	if (!c->first)
		c->first = record->ts;
	c->last = record->ts;
	r.time = htole64(record->ts - c->first);
	r.pfn = htole32(pfn);
	r.what = what;
	r.order = event_field(event, record,
			      event == c->fallback ? "alloc_order" : "order");
	r.kind = kind(c, event, record, what);
	r.cpu = cpu;
	/* One allocation with two events */
	before = &c->before[cpu];
	if (what == TRACE_ZONE_ALLOC && before->what == what && before->pfn == r.pfn &&
	    before->order == r.order)
		return 0;
	*before = r;
	c->count[what]++;
	return fwrite(&r, sizeof(r), 1, c->out) == 1 ? 0 : -1;
}

int main(int argc, char **argv)
{
	struct tracecmd_input *handle;
	struct conversion c = { };
	unsigned int i;
	int ret;

	if (argc != 3) {
		fprintf(stderr, "usage: trace-convert TRACE.DAT RECORDS\n");
		return 2;
	}
	handle = tracecmd_open(argv[1], 0);
	if (!handle) {
		fprintf(stderr, "trace-convert: %s is no trace\n", argv[1]);
		return 1;
	}
	for (i = 0; i < NR_EVENTS; i++)
		c.event[i] = tep_find_event_by_name(tracecmd_get_tep(handle),
						    "kmem", events[i].name);
	c.fallback = tep_find_event_by_name(tracecmd_get_tep(handle), "kmem",
					    FALLBACK);
	if (!c.event[TRACE_ALLOC] || !c.event[TRACE_FREE]) {
		fprintf(stderr, "trace-convert: %s has no events of the page allocator\n",
			argv[1]);
		return 1;
	}
	c.out = fopen(argv[2], "wb");
	if (!c.out) {
		perror(argv[2]);
		return 1;
	}
	ret = tracecmd_iterate_events(handle, NULL, 0, convert_event, &c);
	if (fclose(c.out) || ret) {
		fprintf(stderr, "trace-convert: writing %s fails\n", argv[2]);
		return 1;
	}
	tracecmd_close(handle);
	printf("{");
	for (i = 0; i < NR_EVENTS; i++)
		printf("\"%s\": %lu, ", events[i].key, c.count[i]);
	printf("\"failed\": %lu, \"lost\": %lu, \"seconds\": %.3f}\n", c.failed,
	       c.lost, (c.last - c.first) / 1e9);
	if (!c.lost)
		return 0;
	fprintf(stderr, "trace-convert: events were lost %lu times\n", c.lost);
	return 1;
}
