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
 * Placement "recorded" uses no core: each block lies where the recorded kernel
 * had it. So a trace of a kernel on buddy gives the figures of buddy.
 *
 * Output is one line of JSON, and with --samples a line of CSV for each sample:
 *
 *   free      free frames
 *   huge      entirely free children
 *   best      entirely free children if all allocated frames lay together
 *   unmovable children with a frame that cannot move
 *   moves     frames to move until as many children are free as can be, that
 *             is, best, or all children without unmovable frames
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
#include "trace.h"

#define CHILD_FRAMES	((unsigned long)LLFREE_CHILD_FRAMES)
#define NONE		UINT32_MAX
/* Migratetypes, and the highest order of cheap blocks, of the kernel */
#define MIGRATE_UNMOVABLE	0
#define MIGRATE_MOVABLE		1
#define MIGRATE_PCPTYPES	3
#define COSTLY_ORDER		3

enum use { USE_FREE, USE_MOVABLE, USE_UNMOVABLE };

static struct {
	const char *dir, *samples;
	const struct llfree_policy *policy;
	bool recorded, nofragment;
	unsigned long first, frames;
	unsigned int cpus, tree_order, period_ms;
} opt = { .policy = &llfree_default_policy, .cpus = 2, .period_ms = 100 };

static struct inst in;
static u32 *place;		/* by recorded frame: where it lies here */
static u8 *use;			/* by frame of the replay */

static struct {
	unsigned long allocs, frees, freed, failed, unknown, stale, outside;
} count;

struct sample {
	u64 time;
	unsigned long free, huge, best, unmovable, moves;
};

static bool inside(unsigned long pfn, unsigned int order)
{
	return pfn >= opt.first && pfn + (1UL << order) <= opt.first + opt.frames;
}

/* ---- Placement ---- */

static unsigned int class_of(unsigned int order, unsigned int migratetype)
{
	if (migratetype == MIGRATE_MOVABLE && order >= LLFREE_CHILD_ORDER)
		return LLFREE_CLASS_HUGE;
	if (migratetype >= MIGRATE_PCPTYPES)
		return LLFREE_CLASS_MOVABLE;
	if (migratetype == MIGRATE_UNMOVABLE && order >= COSTLY_ORDER)
		return LLFREE_CLASS_LARGE;
	return migratetype;
}

static long place_block(unsigned long pfn, unsigned int order,
			unsigned int migratetype, unsigned int cpu)
{
	struct llfree_request req = {
		.slot = cpu % opt.cpus,
		.order = order,
		.class = class_of(order, migratetype),
		.view = LLFREE_VIEW_NORMAL,
		.flags = opt.nofragment ? LLFREE_ALLOC_NOFRAGMENT : 0,
	};
	long frame;

	if (opt.recorded)
		return pfn;
	frame = inst_alloc_fast(&in.llf, &req, &in.sum);
	if (frame < 0 && opt.nofragment) {
		req.flags = 0;
		frame = inst_alloc_fast(&in.llf, &req, &in.sum);
	}
	return frame;
}

static void free_block(unsigned long frame, unsigned int order, unsigned int cpu)
{
	int ret;

	memset(&use[frame], USE_FREE, 1UL << order);
	if (opt.recorded)
		return;
	ret = inst_free_fast(&in.llf, cpu % opt.cpus, frame, order, &in.sum);
	if (ret) {
		fprintf(stderr, "replay: free of frame %lu order %u: %d\n", frame,
			order, ret);
		exit(1);
	}
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
		free_block(at, order, cpu);
		memset(&place[pfn], 0xff, nr * sizeof(*place));
		return;
	}
	for (i = 0; i < nr; i++) {
		if (place[pfn + i] == NONE) {
			(*missing)++;
			continue;
		}
		free_block(place[pfn + i], 0, cpu);
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
	frame = place_block(pfn, order, migratetype, cpu);
	if (frame < 0) {
		count.failed++;
		return;
	}
	for (i = 0; i < nr; i++)
		place[pfn + i] = frame + i;
	memset(&use[frame], migratetype == MIGRATE_MOVABLE ||
	       migratetype >= MIGRATE_PCPTYPES ? USE_MOVABLE : USE_UNMOVABLE, nr);
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

/* ---- Score ---- */

static struct sample look(u64 time)
{
	/* Children by their number of movable frames, without unmovable ones */
	unsigned long with[LLFREE_CHILD_FRAMES + 1] = { }, frame, i, want, take;
	struct sample s = { .time = time };

	for (frame = ALIGN(opt.first, CHILD_FRAMES);
	     frame + CHILD_FRAMES <= opt.first + opt.frames; frame += CHILD_FRAMES) {
		unsigned long used[3] = { };

		for (i = 0; i < CHILD_FRAMES; i++)
			used[use[frame + i]]++;
		s.free += used[USE_FREE];
		s.huge += used[USE_FREE] == CHILD_FRAMES;
		s.unmovable += !!used[USE_UNMOVABLE];
		if (!used[USE_UNMOVABLE])
			with[used[USE_MOVABLE]]++;
	}
	s.best = s.free / CHILD_FRAMES;
	want = s.best - s.huge;
	for (i = 1; i <= CHILD_FRAMES && want; i++) {
		take = min(want, with[i]);
		s.moves += take * i;
		want -= take;
	}
	return s;
}

static void replay(const struct trace_record *records, unsigned long nr)
{
	const u64 end = nr ? le64toh(records[nr - 1].time) : 0;
	u64 next = 0, time;
	unsigned long i;
	struct sample s = { };
	FILE *csv = NULL;

	if (opt.samples) {
		csv = fopen(opt.samples, "w");
		if (!csv) {
			perror(opt.samples);
			exit(1);
		}
		fprintf(csv, "ms,free,huge,best,unmovable,moves\n");
	}
	for (i = 0; i <= nr; i++) {
		time = i < nr ? le64toh(records[i].time) : end;
		if (time >= next || i == nr) {
			s = look(time);
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
	unsigned long end = opt.first + opt.frames, pfn;

	place = malloc(end * sizeof(*place));
	use = calloc(end, 1);
	if (!place || !use || nr < end) {
		fprintf(stderr, "replay: no memory, or the trace has %zu frames\n", nr);
		exit(1);
	}
	memset(place, 0xff, end * sizeof(*place));
	if (opt.tree_order)
		inst_tree_order = opt.tree_order;
	else
		inst_tree_order = llfree_tree_order(opt.frames, opt.cpus);
	if (!opt.recorded &&
	    inst_init(&in, opt.first, opt.frames, LLFREE_INIT_FREE, opt.policy,
		      opt.cpus)) {
		fprintf(stderr, "replay: the core takes no such zone\n");
		exit(1);
	}
	for (pfn = opt.first; pfn < end; pfn++) {
		if (frames[pfn] == FRAME_FREE)
			continue;
		place[pfn] = pfn;
		use[pfn] = frames[pfn] == FRAME_MOVABLE || frames[pfn] == FRAME_HUGE ?
			   USE_MOVABLE : USE_UNMOVABLE;
		if (!opt.recorded && llfree_claim(&in.llf, pfn, 0, 0, &in.sum)) {
			fprintf(stderr, "replay: frame %lu cannot be claimed\n", pfn);
			exit(1);
		}
	}
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	switch (key) {
	case 'p':
		opt.recorded = !strcmp(arg, "recorded");
		if (!strcmp(arg, "packed"))
			opt.policy = &llfree_packed_policy;
		else if (!opt.recorded && strcmp(arg, "default"))
			argp_error(state, "no placement '%s'", arg);
		break;
	case 'z':
		if (sscanf(arg, "%lu:%lu", &opt.first, &opt.frames) != 2 || !opt.frames)
			argp_error(state, "--zone wants FIRST:FRAMES");
		break;
	case 'c':
		opt.cpus = strtoul(arg, NULL, 0);
		if (!opt.cpus)
			argp_error(state, "--cpus wants a number");
		break;
	case 't':
		opt.tree_order = strtoul(arg, NULL, 0);
		if (opt.tree_order < LLFREE_MIN_TREE_ORDER ||
		    opt.tree_order > LLFREE_MAX_TREE_ORDER)
			argp_error(state, "orders of trees are %d to %d",
				   LLFREE_MIN_TREE_ORDER, LLFREE_MAX_TREE_ORDER);
		break;
	case 'n':
		opt.nofragment = true;
		break;
	case 's':
		opt.samples = arg;
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
		if (!opt.dir || !opt.frames)
			argp_usage(state);
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp_option options[] = {
	{ "zone", 'z', "FIRST:FRAMES", 0, "The zone, from the trace's meta.json" },
	{ "placement", 'p', "NAME", 0, "default, packed, or recorded" },
	{ "cpus", 'c', "N", 0, "Number of slots (default: 2)" },
	{ "tree-order", 't', "N", 0, "Frames of a tree as a power of 2" },
	{ "nofragment", 'n', NULL, 0, "Ask for memory of the own class first" },
	{ "samples", 's', "FILE", 0, "Write the samples as CSV" },
	{ "period", 'm', "MS", 0, "Time of the trace between samples (default: 100)" },
	{ }
};

int main(int argc, char **argv)
{
	const struct argp argp = {
		options, parse, "TRACE",
		"Replay a recorded trace of a zone against the core."
	};
	const struct trace_record *records;
	size_t size, nr_frames;
	const u8 *frames;

	if (argp_parse(&argp, argc, argv, 0, NULL, NULL))
		return 2;
	records = map("records", &size);
	frames = map("frames", &nr_frames);
	begin(frames, nr_frames);
	replay(records, size / sizeof(*records));
	if (!opt.recorded) {
		const char *fault = inst_check(&in);

		if (*fault) {
			fprintf(stderr, "replay: %s\n", fault);
			return 1;
		}
		inst_exit(&in);
	}
	return 0;
}
