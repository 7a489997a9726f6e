// SPDX-License-Identifier: GPL-2.0
/*
 * Where the blocks of a zone lie that something replays or models: where the
 * core puts them with a policy, or in the fullest child with room, or where the
 * caller says.
 */
#include <linux/kernel.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bestfit.h"
#include "inst.h"
#include "place.h"
#include "upper.h"

#define CHILD_FRAMES	((unsigned long)LLFREE_CHILD_FRAMES)

enum use { USE_FREE, USE_MOVABLE, USE_UNMOVABLE, USE_ABSENT, USE_NR };

struct place_options place_options = { .policy = &llfree_default_policy, .cpus = 2 };

static struct inst in;
static u8 *use;			/* by frame */

static bool by_core(void)
{
	return !place_options.as_recorded && !place_options.by_bestfit;
}

static bool place_movable(unsigned int migratetype)
{
	return migratetype == MIGRATE_MOVABLE || migratetype >= MIGRATE_PCPTYPES;
}

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

static struct llfree_request request(unsigned int order, unsigned int migratetype,
				     unsigned int cpu)
{
	return (struct llfree_request){
		.slot = cpu % place_options.cpus,
		.order = order,
		.class = class_of(order, migratetype),
		.view = LLFREE_VIEW_NORMAL,
		.flags = place_options.nofragment ? LLFREE_ALLOC_NOFRAGMENT : 0,
	};
}

static long core_alloc(unsigned int order, unsigned int migratetype, unsigned int cpu)
{
	struct llfree_request req = request(order, migratetype, cpu);
	long frame = inst_alloc_fast(&in.llf, &req, &in.sum);

	if (frame < 0 && req.flags) {
		req.flags = 0;
		frame = inst_alloc_fast(&in.llf, &req, &in.sum);
	}
	return frame;
}

static void mark(unsigned long frame, unsigned int order, enum use as)
{
	memset(&use[frame - place_options.first], as, 1UL << order);
}

/*
 * Allocate a block.
 * @wish: where it is to lie with @as_recorded
 *
 * Return: first frame, or negative
 */
long place_alloc(unsigned long wish, unsigned int order, unsigned int migratetype,
		 unsigned int cpu)
{
	const bool movable = place_movable(migratetype);
	long frame;

	if (place_options.as_recorded)
		frame = wish;
	else if (place_options.by_bestfit)
		frame = bestfit_alloc(order, movable);
	else
		frame = core_alloc(order, migratetype, cpu);
	if (frame >= 0)
		mark(frame, order, movable ? USE_MOVABLE : USE_UNMOVABLE);
	return frame;
}

/* Fill @frames from the core as zf_alloc_bulk() does. */
static unsigned int core_bulk(unsigned int order, unsigned int migratetype,
			      unsigned int cpu, unsigned int nr, long *frames)
{
	struct llfree_request req = request(order, migratetype, cpu);
	u64 masks[LLFREE_CHILD_ROWS], mask;
	unsigned int done = 0, i;
	long frame;

	while (done < nr) {
		frame = inst_alloc_batch(&in.llf, &req, nr - done, masks, &in.sum);
		if (frame < 0 && (req.flags & LLFREE_ALLOC_RESERVED || !req.flags))
			break;
		if (frame < 0) {
			req.flags = 0;
			continue;
		}
		req.flags |= LLFREE_ALLOC_RESERVED;
		for (i = 0; i < LLFREE_CHILD_ROWS; i++) {
			for (mask = masks[i]; mask; ) {
				const unsigned int bit = __ffs64(mask);

				frames[done++] = frame + i * LLFREE_ROW_FRAMES + bit;
				mask &= ~(GENMASK_ULL((1 << order) - 1, 0) << bit);
			}
		}
	}
	return done;
}

/*
 * Allocate blocks for a per-CPU list, of orders up to a row.
 *
 * Return: number of blocks, at most @nr
 */
unsigned int place_bulk(unsigned int order, unsigned int migratetype, unsigned int cpu,
			unsigned int nr, long *frames)
{
	unsigned int done = 0;

	if (!by_core()) {
		while (done < nr) {
			frames[done] = place_alloc(-1, order, migratetype, cpu);
			if (frames[done] < 0)
				break;
			done++;
		}
		return done;
	}
	nr = core_bulk(order, migratetype, cpu, nr, frames);
	for (; done < nr; done++)
		mark(frames[done], order,
		     place_movable(migratetype) ? USE_MOVABLE : USE_UNMOVABLE);
	return nr;
}

void place_free(unsigned long frame, unsigned int order, unsigned int cpu)
{
	int ret;

	mark(frame, order, USE_FREE);
	if (place_options.by_bestfit)
		bestfit_free(frame, order);
	if (!by_core())
		return;
	ret = inst_free_fast(&in.llf, cpu % place_options.cpus, frame, order, &in.sum);
	if (ret) {
		fprintf(stderr, "free of frame %lu order %u: %d\n", frame, order, ret);
		exit(1);
	}
}

/* Allocate a frame that was allocated before all else. */
void place_claim(unsigned long frame, bool movable)
{
	mark(frame, 0, movable ? USE_MOVABLE : USE_UNMOVABLE);
	if (place_options.by_bestfit)
		bestfit_claim(frame, movable);
	if (by_core() && llfree_claim(&in.llf, frame, 0, 0, &in.sum)) {
		fprintf(stderr, "frame %lu cannot be claimed\n", frame);
		exit(1);
	}
}

/* Let a claimed frame count as one without memory. */
void place_absent(unsigned long frame)
{
	mark(frame, 0, USE_ABSENT);
}

/*
 * Give each tree the class of most of its frames that are allocated, as if they
 * had been allocated here.
 */
void place_claimed(void)
{
	const unsigned long size = BIT(inst_tree_order);
	unsigned long tree, frame, i;

	if (!by_core())
		return;
	for (tree = trees_first(&in.llf); tree < trees_end(&in.llf); tree++) {
		u32 *word = tree_at(&in.llf, LLFREE_VIEW_NORMAL, tree), old = *word;
		unsigned long count[3] = { };

		for (i = 0; i < size; i++) {
			frame = tree * size + i;
			if (frame >= place_options.first &&
			    frame < place_options.first + place_options.frames)
				count[use[frame - place_options.first]]++;
		}
		if (tree_class(old) != LLFREE_CLASS_NONE &&
		    count[USE_UNMOVABLE] > count[USE_MOVABLE])
			*word = tree_word(&in.llf, old, tree_free(old),
					  LLFREE_CLASS_UNMOVABLE, false);
	}
}

/* All frames of the zone become free. */
void place_begin(void)
{
	const struct place_options *o = &place_options;
	int ret = 0;

	use = calloc(o->frames, 1);
	inst_tree_order = o->tree_order ?: llfree_tree_order(o->frames, o->cpus);
	if (o->by_bestfit)
		ret = bestfit_init(o->first, o->frames);
	else if (by_core())
		ret = inst_init(&in, o->first, o->frames, LLFREE_INIT_FREE, o->policy,
				o->cpus);
	if (ret || !use) {
		fprintf(stderr, "no memory for a zone of %lu frames\n", o->frames);
		exit(1);
	}
}

const char *place_end(void)
{
	const char *fault = by_core() ? inst_check(&in) : "";

	if (by_core())
		inst_exit(&in);
	free(use);
	return fault;
}

unsigned long place_children(void)
{
	return ALIGN(place_options.first, CHILD_FRAMES);
}

/* Frames of a child */
struct child {
	unsigned long nr[USE_NR];
};

/*
 * Count the next child that is entirely in the zone.
 *
 * Return: false behind the last one
 */
static bool next_child(unsigned long *frame, struct child *c)
{
	const unsigned long end = place_options.first + place_options.frames;
	unsigned long i;

	if (*frame + CHILD_FRAMES > end)
		return false;
	*c = (struct child){ };
	for (i = 0; i < CHILD_FRAMES; i++)
		c->nr[use[*frame - place_options.first + i]]++;
	*frame += CHILD_FRAMES;
	return true;
}

struct place_score place_score(void)
{
	/* Children by their number of movable frames, without unmovable ones */
	unsigned long with[LLFREE_CHILD_FRAMES + 1] = { }, i, want, take;
	unsigned long frame = place_children();
	struct place_score s = { };
	struct child c;

	while (next_child(&frame, &c)) {
		const bool unmovable = c.nr[USE_UNMOVABLE] || c.nr[USE_ABSENT];

		s.free += c.nr[USE_FREE];
		s.huge += c.nr[USE_FREE] == CHILD_FRAMES;
		s.unmovable += unmovable && c.nr[USE_ABSENT] < CHILD_FRAMES;
		if (!unmovable)
			with[c.nr[USE_MOVABLE]]++;
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

/* Letter of scripts/llfree/memmap/maps.py */
static char child_kind(const struct child *c)
{
	if (c->nr[USE_ABSENT] == CHILD_FRAMES)
		return 'x';
	if (c->nr[USE_UNMOVABLE] || c->nr[USE_ABSENT])
		return 'u';
	return c->nr[USE_MOVABLE] ? 'm' : 'f';
}

void place_map(FILE *f)
{
	unsigned long frame = place_children(), run = 0, free = 0;
	const char *space = "";
	struct child c;
	char kind = 0;
	bool more;

	do {
		char next = 0;

		more = next_child(&frame, &c);
		if (more)
			next = child_kind(&c);
		if (run && next == kind && c.nr[USE_FREE] == free) {
			run++;
			continue;
		}
		if (run) {
			fprintf(f, "%s%c%lu", space, kind, free);
			if (run > 1)
				fprintf(f, "*%lu", run);
			space = " ";
		}
		kind = next;
		free = c.nr[USE_FREE];
		run = 1;
	} while (more);
	fputc('\n', f);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct place_options *o = &place_options;

	switch (key) {
	case 'p':
		if (!strcmp(arg, "packed"))
			o->policy = &llfree_packed_policy;
		else if (!strcmp(arg, "recorded"))
			o->as_recorded = true;
		else if (!strcmp(arg, "bestfit"))
			o->by_bestfit = true;
		else if (strcmp(arg, "default"))
			argp_error(state, "no placement '%s'", arg);
		break;
	case 'c':
		o->cpus = strtoul(arg, NULL, 0);
		if (!o->cpus)
			argp_error(state, "--cpus wants a number");
		break;
	case 't':
		o->tree_order = strtoul(arg, NULL, 0);
		if (o->tree_order < LLFREE_MIN_TREE_ORDER ||
		    o->tree_order > LLFREE_MAX_TREE_ORDER)
			argp_error(state, "orders of trees are %d to %d",
				   LLFREE_MIN_TREE_ORDER, LLFREE_MAX_TREE_ORDER);
		break;
	case 'n':
		o->nofragment = true;
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp_option options[] = {
	{ "placement", 'p', "NAME", 0, "default, packed, bestfit, or recorded" },
	{ "cpus", 'c', "N", 0, "Number of slots (default: 2)" },
	{ "tree-order", 't', "N", 0, "Frames of a tree as a power of 2" },
	{ "nofragment", 'n', NULL, 0, "Ask for memory of the own class first" },
	{ }
};

const struct argp place_argp = { options, parse };
