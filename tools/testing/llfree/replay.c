// SPDX-License-Identifier: GPL-2.0
/*
 * Replay what a zone of a kernel allocated and freed against the core.
 *
 * scripts/trace-pages records traces. The replay takes the events of zones: a
 * zone gives blocks to per-CPU lists and to callers, and gets blocks back. So
 * per-CPU lists need no model. At the begin, the frames that the recorded zone
 * had allocated are allocated at the same places. Later each block is allocated
 * with the order, class and CPU that the kernel would use, and lies where the
 * policy puts it.
 *
 * Two placements use no core. With "recorded", each block lies where the recorded
 * kernel had it, so a trace of a kernel on buddy gives the figures of buddy. With
 * "bestfit", it lies in the fullest child that has room, see bestfit.c.
 *
 * Output is one line of JSON, and with --samples a line of CSV for each sample,
 * with the members of struct place_score. With --map, a file of CSV says how full
 * each child is, at most MAP_SAMPLES + 1 times at equal distances.
 *
 * A trace does not say which pages migration moved, so a free may name a
 * frame that the replay has not allocated ("unknown"), and an allocation a
 * frame that the replay has not freed ("stale", freed first).
 */
#include <linux/kernel.h>
#include <argp.h>
#include <endian.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "inst.h"
#include "place.h"
#include "trace.h"

#define NONE		UINT32_MAX
#define MAP_SAMPLES	200

static struct {
	const char *dir, *samples, *map;
	unsigned int period_ms;
} opt = { .period_ms = 100 };

static u32 *place;		/* by recorded frame: where it lies here */

static struct {
	unsigned long allocs, frees, freed, failed, unknown, stale, outside;
} count;

static bool inside(unsigned long pfn, unsigned int order)
{
	return pfn >= place_options.first &&
	       pfn + (1UL << order) <= place_options.first + place_options.frames;
}

/* Free what was recorded as one block; here it may lie in several places. */
static void event_free(unsigned long pfn, unsigned int order, unsigned int cpu,
		       unsigned long *missing)
{
	unsigned long nr = 1UL << order, i;
	u32 at = place[pfn];

	for (i = 0; i < nr && at != NONE && place[pfn + i] == at + i; i++)
		;
	if (i == nr && !(at & (nr - 1))) {
		place_free(at, order, cpu);
		memset(&place[pfn], 0xff, nr * sizeof(*place));
		return;
	}
	for (i = 0; i < nr; i++) {
		if (place[pfn + i] == NONE) {
			(*missing)++;
			continue;
		}
		place_free(place[pfn + i], 0, cpu);
		place[pfn + i] = NONE;
	}
}

static void event_alloc(unsigned long pfn, unsigned int order,
			unsigned int migratetype, unsigned int cpu)
{
	unsigned long nr = 1UL << order, absent = 0, i;
	long frame;

	for (i = 0; i < nr; i++)
		if (place[pfn + i] != NONE)
			break;
	if (i < nr) {
		event_free(pfn, order, cpu, &absent);
		count.stale += nr - absent;
	}
	frame = place_alloc(pfn, order, migratetype, cpu);
	if (frame < 0) {
		count.failed++;
		return;
	}
	for (i = 0; i < nr; i++)
		place[pfn + i] = frame + i;
	count.allocs++;
}

/* Has a zone per-CPU lists for this order? Their frees are events of their own. */
static bool has_list(unsigned int order)
{
	return order <= COSTLY_ORDER || order == LLFREE_CHILD_ORDER;
}

static void event(const struct trace_record *r)
{
	unsigned long pfn = le32toh(r->pfn);

	if (r->what == TRACE_FREE && has_list(r->order))
		return;
	if (!inside(pfn, r->order)) {
		count.outside++;
		return;
	}
	/* Compaction hands a page to its caller without an event of the zone. */
	if (r->what == TRACE_ALLOC && place[pfn] != NONE)
		return;
	if (r->what == TRACE_ZONE_ALLOC || r->what == TRACE_ALLOC) {
		event_alloc(pfn, r->order, r->kind & TRACE_MIGRATETYPE, r->cpu);
	} else {
		count.frees++;
		count.freed += 1UL << r->order;
		event_free(pfn, r->order, r->cpu, &count.unknown);
	}
}

/* Return: NULL without a path */
static FILE *create(const char *path, const char *header)
{
	FILE *f = path ? fopen(path, "w") : NULL;

	if (path && !f) {
		perror(path);
		exit(1);
	}
	if (f)
		fprintf(f, "%s\n", header);
	return f;
}

/* Write what has not changed since the last event, up to a time. */
static void map_until(FILE *f, u64 time, u64 end)
{
	/* No two samples have the same microsecond. */
	const u64 last = max(end, MAP_SAMPLES * 1000UL);
	static unsigned int done;
	unsigned long us;

	for (; f && done <= MAP_SAMPLES; done++) {
		if (last * done / MAP_SAMPLES > time)
			break;
		us = last * done / MAP_SAMPLES / 1000;
		fprintf(f, "%lu.%06lu,%lu,", us / 1000000, us % 1000000,
			place_children());
		place_map(f);
	}
}

static void replay(const struct trace_record *records, unsigned long nr)
{
	const u64 end = nr ? le64toh(records[nr - 1].time) : 0;
	u64 next = 0, time;
	unsigned long i;
	struct place_score s = { };
	FILE *csv = create(opt.samples, "ms,free,huge,best,unmovable,moves");
	FILE *maps = create(opt.map, "seconds,start_pfn,blocks");

	for (i = 0; i <= nr; i++) {
		time = i < nr ? le64toh(records[i].time) : end;
		/* The sample at a time has the events of that time. */
		if (i == nr)
			map_until(maps, end, end);
		else if (time)
			map_until(maps, time - 1, end);
		if (time >= next || i == nr) {
			s = place_score();
			if (csv)
				fprintf(csv, "%lu,%lu,%lu,%lu,%lu,%lu\n",
					(unsigned long)(time / 1000000), s.free,
					s.huge, s.best, s.unmovable, s.moves);
			next = time + opt.period_ms * 1000000UL;
		}
		if (i < nr)
			event(&records[i]);
	}
	if (csv)
		fclose(csv);
	if (maps && fclose(maps)) {
		perror(opt.map);
		exit(1);
	}
	printf("{\"free\": %lu, \"huge\": %lu, \"best\": %lu, ", s.free, s.huge,
	       s.best);
	printf("\"unmovable\": %lu, \"moves\": %lu, \"allocs\": %lu, \"frees\": %lu, ",
	       s.unmovable, s.moves, count.allocs, count.frees);
	printf("\"freed\": %lu, ", count.freed);
	printf("\"failed\": %lu, \"unknown\": %lu, \"stale\": %lu, \"outside\": %lu}\n",
	       count.failed, count.unknown, count.stale, count.outside);
}

/* ---- Begin ---- */

static const void *map(const char *name, size_t *size)
{
	char path[4096];
	struct stat st;
	void *data;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", opt.dir, name);
	fd = open(path, O_RDONLY);
	if (fd < 0 || fstat(fd, &st)) {
		perror(path);
		exit(1);
	}
	*size = st.st_size;
	data = mmap(NULL, st.st_size ?: 1, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (data == MAP_FAILED && st.st_size) {
		perror(path);
		exit(1);
	}
	return data;
}

/* Allocate what the recorded zone had allocated, at the same places. */
static void begin(const u8 *frames, size_t nr)
{
	unsigned long end = place_options.first + place_options.frames, pfn;

	place = malloc(end * sizeof(*place));
	if (!place || nr < end) {
		fprintf(stderr, "replay: no memory, or the trace has %zu frames\n", nr);
		exit(1);
	}
	memset(place, 0xff, end * sizeof(*place));
	place_begin();
	for (pfn = place_options.first; pfn < end; pfn++) {
		if (frames[pfn] == FRAME_FREE)
			continue;
		place[pfn] = pfn;
		place_claim(pfn, frames[pfn] == FRAME_MOVABLE || frames[pfn] == FRAME_HUGE);
	}
	place_claimed();
	for (pfn = place_options.first; pfn < end; pfn++)
		if (frames[pfn] == FRAME_ABSENT)
			place_absent(pfn);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	switch (key) {
	case 'z':
		if (sscanf(arg, "%lu:%lu", &place_options.first, &place_options.frames) != 2 ||
		    !place_options.frames)
			argp_error(state, "--zone wants FIRST:FRAMES");
		break;
	case 's':
		opt.samples = arg;
		break;
	case 'M':
		opt.map = arg;
		break;
	case 'm':
		opt.period_ms = strtoul(arg, NULL, 0);
		if (!opt.period_ms)
			argp_error(state, "--period wants milliseconds");
		break;
	case ARGP_KEY_ARG:
		if (opt.dir)
			argp_usage(state);
		opt.dir = arg;
		break;
	case ARGP_KEY_END:
		if (!opt.dir || !place_options.frames)
			argp_usage(state);
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp_option options[] = {
	{ "zone", 'z', "FIRST:FRAMES", 0, "The zone, from the trace's meta.json" },
	{ "samples", 's', "FILE", 0, "Write the samples as CSV" },
	{ "map", 'M', "FILE", 0, "Write over time how full each child is, as CSV" },
	{ "period", 'm', "MS", 0, "Time of the trace between samples (default: 100)" },
	{ }
};

int main(int argc, char **argv)
{
	const struct argp_child children[] = { { &place_argp }, { } };
	const struct argp argp = {
		options, parse, "TRACE",
		"Replay a recorded trace of a zone against the core.", children
	};
	const char *fault;
	const struct trace_record *records;
	size_t size, nr_frames;
	const u8 *frames;

	if (argp_parse(&argp, argc, argv, 0, NULL, NULL))
		return 2;
	records = map("records", &size);
	frames = map("frames", &nr_frames);
	begin(frames, nr_frames);
	replay(records, size / sizeof(*records));
	fault = place_end();
	if (*fault)
		fprintf(stderr, "replay: %s\n", fault);
	return !!*fault;
}
