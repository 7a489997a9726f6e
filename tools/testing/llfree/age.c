// SPDX-License-Identifier: GPL-2.0
/*
 * Model of memory that has been in use for long, without a kernel.
 *
 * Does what the benchmark "age" of mm/page_alloc_bench.c does, with the same
 * sizes and lifetimes: objects of page caches, buffers and slabs come and go,
 * memory fills up and shrinks again. Slabs and per-CPU lists are models of the
 * kernel's. So thirty rounds in some GiB take seconds, with any placement.
 *
 * Output is a line of CSV for each round, with the members of struct
 * place_score when memory is full, and when it has shrunk.
 */
#include <linux/kernel.h>
#include <linux/list.h>
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>

#include "inst.h"
#include "place.h"

#define LEAST_MIB	64
#define MOST_MIB	0x100000

/* See mm/page_alloc_bench.c for these */
#define AGE_FULL	90
#define AGE_SHRUNK	50
#define AGE_BATCH	32
#define AGE_LONG	16
#define SHARE_CACHE	420
#define SHARE_BUFFER	18
#define BUFFER_ORDER	3

enum lifetime { LIFE_SHORT, LIFE_MEDIUM, LIFE_LONG, NR_LIFETIMES };

static const struct {
	unsigned int share, haste;
} lifetimes[NR_LIFETIMES] = {
	[LIFE_SHORT] = { 250, 1024 },
	[LIFE_MEDIUM] = { 250, 128 },
	[LIFE_LONG] = { 500, 1 },
};

/* Per-CPU lists: by order and migratetype, with at most so many pages each */
#define PCP_ORDERS	(COSTLY_ORDER + 1)
#define PCP_PAGES	512
#define PCP_BATCH	64

struct list {
	long blocks[2 * PCP_PAGES];	/* a ring */
	unsigned int first, nr;
};

/* Slabs of a size, with their order and number of objects as on two CPUs */
#define NR_CACHES	4
#define MIN_PARTIAL	5

struct slab {
	long frame;
	unsigned int used;
	bool current;
	struct list_head list;		/* in struct cache.partial, or alone */
};

struct cache {
	unsigned int order, objects, nr_partial;
	struct list_head partial;
	struct slab **current;		/* by CPU */
};

enum kind { KIND_CACHE, KIND_BUFFER, KIND_SLAB };

/* @slab or a block at @frame */
struct object {
	union {
		struct slab *slab;
		long frame;
	};
	unsigned int kind;
};

struct pool {
	struct object *objects;
	unsigned long nr, max;
	u64 debt;
};

struct worker {
	unsigned int cpu;
	bool full;
	struct rng rng;
	struct pool pool[NR_LIFETIMES];
	struct list lists[PCP_ORDERS][MIGRATE_PCPTYPES];
};

static struct cache caches[NR_CACHES] = {
	{ .order = 0, .objects = 21 }, { .order = 1, .objects = 16 },
	{ .order = 2, .objects = 16 }, { .order = 3, .objects = 16 },
};

static struct worker *workers;
static unsigned long used;		/* frames that callers have */

static struct {
	unsigned long mib, rounds, seed;
} opt = { .mib = 1024, .rounds = 30, .seed = 1 };

/* ---- Pages ---- */

static long *list_at(struct list *l, unsigned int i)
{
	return &l->blocks[(l->first + i) % ARRAY_SIZE(l->blocks)];
}

static long alloc_pages(struct worker *w, unsigned int order, unsigned int migratetype)
{
	struct list *l = &w->lists[order][migratetype];
	long frame;

	if (!l->nr) {
		l->first = 0;
		l->nr = place_bulk(order, migratetype, w->cpu, PCP_BATCH >> order, l->blocks);
	}
	if (!l->nr)
		return -1;
	frame = *list_at(l, 0);
	l->first = (l->first + 1) % ARRAY_SIZE(l->blocks);
	l->nr--;
	used += 1UL << order;
	return frame;
}

static void free_pages(struct worker *w, long frame, unsigned int order,
		       unsigned int migratetype)
{
	struct list *l = &w->lists[order][migratetype];
	unsigned int nr;

	l->first = (l->first + ARRAY_SIZE(l->blocks) - 1) % ARRAY_SIZE(l->blocks);
	*list_at(l, 0) = frame;
	used -= 1UL << order;
	if (++l->nr <= PCP_PAGES >> order)
		return;
	/* Those that are there longest go. */
	for (nr = 0; nr < PCP_BATCH >> order; nr++)
		place_free(*list_at(l, --l->nr), order, w->cpu);
}

static void drain(struct worker *w)
{
	unsigned int order, type;

	for (order = 0; order < PCP_ORDERS; order++) {
		for (type = 0; type < MIGRATE_PCPTYPES; type++) {
			struct list *l = &w->lists[order][type];

			while (l->nr)
				place_free(*list_at(l, --l->nr), order, w->cpu);
		}
	}
}

/* ---- Slabs ---- */

static void partial_add(struct cache *c, struct slab *s)
{
	list_add_tail(&s->list, &c->partial);
	c->nr_partial++;
}

static void partial_del(struct cache *c, struct slab *s)
{
	list_del_init(&s->list);
	c->nr_partial--;
}

static struct slab *slab_alloc(struct worker *w, struct cache *c)
{
	struct slab *s = c->current[w->cpu];

	if (s && s->used < c->objects)
		goto found;
	if (s)
		s->current = false;
	s = list_first_entry_or_null(&c->partial, struct slab, list);
	if (s) {
		partial_del(c, s);
	} else {
		long frame = alloc_pages(w, c->order, MIGRATE_UNMOVABLE);

		c->current[w->cpu] = NULL;
		if (frame < 0)
			return NULL;
		s = calloc(1, sizeof(*s));
		if (!s)
			exit(1);
		s->frame = frame;
		INIT_LIST_HEAD(&s->list);
	}
	s->current = true;
	c->current[w->cpu] = s;
found:
	s->used++;
	return s;
}

static void slab_free(struct worker *w, struct cache *c, struct slab *s)
{
	s->used--;
	if (s->current)
		return;
	if (s->used || c->nr_partial < MIN_PARTIAL) {
		if (list_empty(&s->list))
			partial_add(c, s);
		return;
	}
	if (!list_empty(&s->list))
		partial_del(c, s);
	free_pages(w, s->frame, c->order, MIGRATE_UNMOVABLE);
	free(s);
}

/* ---- Objects ---- */

static bool age_alloc(struct worker *w, unsigned int kind, struct object *o)
{
	o->kind = kind;
	if (kind >= KIND_SLAB) {
		o->slab = slab_alloc(w, &caches[kind - KIND_SLAB]);
		return o->slab;
	}
	if (kind == KIND_BUFFER)
		o->frame = alloc_pages(w, BUFFER_ORDER, MIGRATE_UNMOVABLE);
	else
		o->frame = alloc_pages(w, 0, MIGRATE_MOVABLE);
	return o->frame >= 0;
}

static void age_free(struct worker *w, const struct object *o)
{
	if (o->kind >= KIND_SLAB)
		slab_free(w, &caches[o->kind - KIND_SLAB], o->slab);
	else if (o->kind == KIND_BUFFER)
		free_pages(w, o->frame, BUFFER_ORDER, MIGRATE_UNMOVABLE);
	else
		free_pages(w, o->frame, 0, MIGRATE_MOVABLE);
}

static unsigned int age_kind(struct worker *w)
{
	unsigned int r = rng_below(&w->rng, 1000);

	if (r < SHARE_CACHE)
		return KIND_CACHE;
	if (r < SHARE_CACHE + SHARE_BUFFER)
		return KIND_BUFFER;
	return KIND_SLAB + rng_below(&w->rng, NR_CACHES);
}

static bool pool_add(struct worker *w, const struct object *o)
{
	unsigned int r = rng_below(&w->rng, 1000), i = 0;

	while (r >= lifetimes[i].share)
		r -= lifetimes[i++].share;
	for (; i < NR_LIFETIMES; i++) {
		struct pool *pool = &w->pool[i];

		if (pool->nr < pool->max) {
			pool->objects[pool->nr++] = *o;
			return true;
		}
	}
	return false;
}

/* Free an object that is drawn from all of the pool. */
static void pool_take(struct worker *w, struct pool *pool)
{
	unsigned long i = rng_below(&w->rng, pool->nr);
	const struct object dead = pool->objects[i];

	pool->objects[i] = pool->objects[--pool->nr];
	age_free(w, &dead);
}

static bool used_at_least(unsigned int percent)
{
	return used * 100 >= place_options.frames * percent;
}

static void age_grow(struct worker *w)
{
	const u64 life = (u64)AGE_LONG * w->pool[LIFE_LONG].max;
	struct object born[AGE_BATCH];
	unsigned int kinds[AGE_BATCH], nr = 0, i;

	for (i = 0; i < AGE_BATCH; i++)
		kinds[i] = age_kind(w);
	for (i = 0; i < AGE_BATCH; i++) {
		if (age_alloc(w, kinds[i], &born[nr]))
			nr++;
		else if (kinds[i] != KIND_BUFFER)
			w->full = true;
	}
	while (nr--) {
		if (!pool_add(w, &born[nr])) {
			age_free(w, &born[nr]);
			w->full = true;
		}
	}
	for (i = 0; i < NR_LIFETIMES; i++) {
		struct pool *pool = &w->pool[i];

		pool->debt += (u64)AGE_BATCH * pool->nr * lifetimes[i].haste;
		for (; pool->debt >= life && pool->nr; pool->debt -= life)
			pool_take(w, pool);
	}
}

/* Return: false if nothing is left */
static bool age_shrink(struct worker *w)
{
	unsigned int nr, i;

	for (nr = 0; nr < AGE_BATCH; nr++) {
		u64 all = 0, r;

		for (i = 0; i < NR_LIFETIMES; i++)
			all += (u64)w->pool[i].nr * lifetimes[i].haste;
		if (!all)
			break;
		r = rng_below(&w->rng, all);
		for (i = 0; r >= (u64)w->pool[i].nr * lifetimes[i].haste; i++)
			r -= (u64)w->pool[i].nr * lifetimes[i].haste;
		pool_take(w, &w->pool[i]);
	}
	return nr;
}

static void print_score(unsigned long round, const char *when)
{
	struct place_score s;
	unsigned int i;

	for (i = 0; i < place_options.cpus; i++)
		drain(&workers[i]);
	s = place_score();
	printf("%lu,%s,%lu,%lu,%lu,%lu,%lu\n", round, when, s.free, s.huge, s.best,
	       s.unmovable, s.moves);
	fflush(stdout);
}

static void age(void)
{
	const unsigned int cpus = place_options.cpus;
	unsigned long round;
	unsigned int i;
	bool full, left;

	for (round = 1; round <= opt.rounds; round++) {
		for (i = 0; i < cpus; i++)
			workers[i].full = false;
		for (full = false, i = 0; !full && !used_at_least(AGE_FULL); i = (i + 1) % cpus) {
			age_grow(&workers[i]);
			full = workers[i].full;
		}
		print_score(round, "full");
		for (left = true; left && used_at_least(AGE_SHRUNK);)
			for (left = false, i = 0; i < cpus; i++)
				left |= age_shrink(&workers[i]);
		print_score(round, "shrunk");
	}
}

static void begin(void)
{
	/* Objects in the size of two pages: 3, about */
	unsigned long max = place_options.frames * 3 / 2 / place_options.cpus;
	unsigned int i, j;

	workers = calloc(place_options.cpus, sizeof(*workers));
	if (!workers)
		exit(1);
	for (i = 0; i < place_options.cpus; i++) {
		workers[i].cpu = i;
		workers[i].rng.state = opt.seed << 32 | i;
		for (j = 0; j < NR_LIFETIMES; j++) {
			workers[i].pool[j].max = max;
			workers[i].pool[j].objects = malloc(max * sizeof(struct object));
			if (!workers[i].pool[j].objects)
				exit(1);
		}
	}
	for (i = 0; i < NR_CACHES; i++) {
		INIT_LIST_HEAD(&caches[i].partial);
		caches[i].current = calloc(place_options.cpus, sizeof(struct slab *));
		if (!caches[i].current)
			exit(1);
	}
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	switch (key) {
	case 'm':
		opt.mib = strtoul(arg, NULL, 0);
		if (opt.mib < LEAST_MIB || opt.mib > MOST_MIB)
			argp_error(state, "--mib wants %d to %d", LEAST_MIB, MOST_MIB);
		break;
	case 'r':
		opt.rounds = strtoul(arg, NULL, 0);
		break;
	case 's':
		opt.seed = strtoul(arg, NULL, 0);
		break;
	case ARGP_KEY_END:
		if (place_options.as_recorded)
			argp_error(state, "nothing is recorded here");
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp_option options[] = {
	{ "mib", 'm', "N", 0, "Size of the zone (default: 1024)" },
	{ "rounds", 'r', "N", 0, "(default: 30)" },
	{ "seed", 's', "N", 0, "(default: 1)" },
	{ }
};

int main(int argc, char **argv)
{
	const struct argp_child children[] = { { &place_argp }, { } };
	const struct argp argp = {
		options, parse, NULL, "Model memory that has been in use for long.", children
	};
	const char *fault;

	if (argp_parse(&argp, argc, argv, 0, NULL, NULL))
		return 2;
	place_options.frames = opt.mib << 8;
	place_begin();
	begin();
	printf("round,when,free,huge,best,unmovable,moves\n");
	age();
	fault = place_end();
	if (*fault)
		fprintf(stderr, "age: %s\n", fault);
	return !!*fault;
}
