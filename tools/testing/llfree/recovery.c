// SPDX-License-Identifier: GPL-2.0
/*
 * Time until memory can be used after a restart.
 *
 *   in-place   rows and children are in the file and are used there, as
 *              published. After an orderly stop they are trusted; after a crash
 *              children are recounted.
 *   pool       rows in the file say which frames are committed; they are copied
 *              to volatile memory and counted in any case. After an orderly
 *              stop their checksum is compared.
 *
 * Each time the file is mapped again, its lines are not in the caches, and
 * volatile memory is new, so page faults are part of the measurement. Only
 * metadata is touched, so a sparse file can stand for any size.
 */
#include <linux/kernel.h>
#include <linux/minmax.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "measure.h"
#include "persist.h"
#include "words.h"

#define MAX_ROUNDS	101
#define MAX_SIZES	8
/* Children in which a crash has cut operations short */
#define BROKEN		64U

enum form { IN_PLACE, POOL, NR_FORMS };

static const char *const form_names[NR_FORMS] = { "in-place", "pool" };

enum measure { INIT_WALL, INIT_CPU, RECOVER_WALL, RECOVER_CPU, NR_MEASURES };

static struct {
	const char *dax;
	unsigned int gib[MAX_SIZES];
	unsigned int nr_sizes;
	unsigned int rounds;
	u64 seed;
	bool crash;
	bool csv;
} opt = { .gib = { 16, 1024 }, .nr_sizes = 2, .rounds = 7 };

/* One round: the state of the memory, and the times */
struct restart {
	unsigned long frames;
	bool crash;
	struct rng rng;
	unsigned long free;
	double ns[NR_MEASURES];
};

struct clocks {
	double wall;
	double cpu;
};

static struct clocks clocks_now(void)
{
	return (struct clocks){ wall_ns(), cpu_ns() };
}

static void clocks_add(struct restart *r, enum measure wall, struct clocks start)
{
	r->ns[wall] = wall_ns() - start.wall;
	r->ns[wall + 1] = cpu_ns() - start.cpu;
}

/*
 * Fill the rows of the children from @first on as any history may have left
 * them.
 */
static void fill_rows(struct restart *r, u64 *rows, unsigned long first)
{
	unsigned long at, inside;
	unsigned int kind = 0;
	u64 bits;

	r->free = 0;
	for (at = first; at < r->frames; at += LLFREE_ROW_FRAMES) {
		if (!(at % LLFREE_CHILD_FRAMES))
			kind = rng_below(&r->rng, 5);
		bits = rng_next(&r->rng);
		if (kind == 0)
			bits = 0;
		else if (kind == 1)
			bits = ~0ULL;
		else if (kind == 2)
			bits &= rng_next(&r->rng) & rng_next(&r->rng);
		else if (kind == 3)
			bits |= rng_next(&r->rng) | rng_next(&r->rng);
		rows[at / LLFREE_ROW_FRAMES] = bits;
		inside = min(r->frames - at, LLFREE_ROW_FRAMES);
		r->free += inside - hweight64(inside < LLFREE_ROW_FRAMES ?
					      bits & ((1ULL << inside) - 1) : bits);
	}
}

/* ---- Forms ---- */

/*
 * Make the counters of some children differ from their rows. Return: how many
 */
static unsigned long break_children(struct restart *r, u16 *children)
{
	const unsigned long nr = r->frames / LLFREE_CHILD_FRAMES;
	const unsigned long step = max(1UL, nr / BROKEN);
	unsigned long i, broken = 0;

	for (i = rng_below(&r->rng, step); i < nr; i += step, broken++)
		children[i] += child_free(children[i]) ? -1 : 1;
	return broken;
}

static const char *in_place(struct restart *r, struct dax *dax)
{
	struct llfree_memory mem;
	struct llfree_stats stats;
	unsigned long broken = 0;
	struct llfree llf;
	struct clocks start;
	const char *why = NULL;
	size_t size;

	if (llfree_layout(0, r->frames, llfree_tree_order(r->frames, 1), &mem))
		return "no layout";
	size = mem.rows_size + mem.children_size;
	mem.rows = dax->m.base;
	mem.children = mem.rows + mem.rows_size;
	mem.trees = fresh_memory(mem.trees_size);
	start = clocks_now();
	if (llfree_init(&llf, 0, r->frames, &mem, LLFREE_INIT_FREE, NULL))
		return "no instance";
	clocks_add(r, INIT_WALL, start);
	fill_rows(r, mem.rows, 0);
	if (llfree_init(&llf, 0, r->frames, &mem, LLFREE_INIT_RECOVER, NULL))
		return "a state that cannot be";
	if (r->crash)
		broken = break_children(r, mem.children);
	munmap(mem.trees, mem.trees_size);
	dax_evict(mem.rows, size);

	dax_remap(dax);
	start = clocks_now();
	mem.rows = dax->m.base;
	mem.children = mem.rows + mem.rows_size;
	mem.trees = fresh_memory(mem.trees_size);
	if (llfree_init(&llf, 0, r->frames, &mem,
			r->crash ? LLFREE_INIT_RECOVER : LLFREE_INIT_KEEP, NULL))
		why = "not recovered";
	clocks_add(r, RECOVER_WALL, start);
	if (!why) {
		llfree_stats_exact(&llf, &stats);
		if (llfree_validate(&llf, NULL))
			why = "invariants do not hold";
		else if (stats.frames[LLFREE_VIEW_NORMAL] != r->free)
			why = "other frames are free";
		else if (llf.repaired != broken)
			why = "not all children were recounted";
	}
	munmap(mem.trees, mem.trees_size);
	return why;
}

static const char *in_pool(struct restart *r, struct persist *p)
{
	static const u8 uuid[16] = "pool-to-recover";
	struct clocks start;
	const char *why = NULL;

	start = clocks_now();
	if (llfree_pool_format(&p->dax.m, uuid))
		return "no pool";
	clocks_add(r, INIT_WALL, start);
	if (persist_attach(p))
		return "a new pool is not attached";
	fill_rows(r, p->dax.m.base + LLFREE_POOL_ROWS, p->pool.first);
	if (!r->crash)
		llfree_pool_detach(&p->pool);
	persist_drop(p);
	dax_evict(p->dax.m.base, LLFREE_POOL_ROWS + r->frames / 8);

	dax_remap(&p->dax);
	start = clocks_now();
	if (persist_attach(p))
		return "not attached";
	clocks_add(r, RECOVER_WALL, start);
	if (llfree_validate(&p->pool.core, NULL))
		why = "invariants do not hold";
	else if (persist_free_frames(p) != r->free)
		why = "other frames are free";
	else if (p->pool.was_dirty != r->crash || p->pool.rows_damaged)
		why = "not the state in which it was left";
	persist_drop(p);
	return why;
}

static const char *run(enum form form, struct restart *r, const char *path)
{
	struct persist p = { .nr_slots = 1 };
	const char *why;

	dax_open(&p.dax, path, r->frames << LLFREE_POOL_FRAME_SHIFT, dax_flush_best());
	why = form == POOL ? in_pool(r, &p) : in_place(r, &p.dax);
	dax_close(&p.dax);
	return why;
}

const char *recovery_check(unsigned long gib, u64 seed)
{
	struct restart r;
	const char *why;
	unsigned int i;

	for (i = 0; i < 2 * NR_FORMS; i++) {
		/* The range ends within the last child. */
		r = (struct restart){
			.frames = (gib << 18) - 77, .crash = i & 1, .rng.state = seed + i,
		};
		why = run(i / 2, &r, NULL);
		if (why)
			return why;
	}
	return NULL;
}

/* ---- Measurements ---- */

static void run_size(unsigned int gib)
{
	static double ns[NR_FORMS][NR_MEASURES][MAX_ROUNDS];
	struct restart r;
	unsigned int round, form, m;
	const char *why;
	double middle;

	for (round = 0; round < opt.rounds; round++) {
		for (form = 0; form < NR_FORMS; form++) {
			r = (struct restart){
				.frames = (unsigned long)gib << 18, .crash = opt.crash,
				.rng.state = opt.seed + round,
			};
			why = run(form, &r, opt.dax);
			if (why)
				die("%s: %s", form_names[form], why);
			for (m = 0; m < NR_MEASURES; m++)
				ns[form][m][round] = r.ns[m];
			if (opt.csv)
				printf("recovery,%s,%s,%u,%u,%.0f,%.0f,%.0f,%.0f\n",
				       form_names[form], opt.crash ? "crash" : "clean", gib,
				       round, r.ns[INIT_WALL], r.ns[INIT_CPU],
				       r.ns[RECOVER_WALL], r.ns[RECOVER_CPU]);
		}
	}
	for (form = 0; form < NR_FORMS && !opt.csv; form++) {
		printf("%-9s %-6s %5u", form_names[form], opt.crash ? "crash" : "clean", gib);
		for (m = 0; m < NR_MEASURES; m++) {
			middle = median(ns[form][m], opt.rounds);
			printf(" %8.3f (%.3f-%.3f)", middle / 1e6, ns[form][m][0] / 1e6,
			       ns[form][m][opt.rounds - 1] / 1e6);
		}
		puts("");
	}
	fflush(stdout);
}

static const struct argp_option argp_options[] = {
	{ "dax", 'd', "FILE", 0, "where the metadata is (memory); it is overwritten", 0 },
	{ "gib", 'g', "N,..", 0, "sizes in GiB (16,1024); the file is sparse", 0 },
	{ "crash", 's', "SEED", 0, "after a crash in a random state (an orderly stop)", 0 },
	{ "rounds", 'r', "N", 0, "rounds (7)", 0 },
	{ "csv", 'c', NULL, 0, "print CSV, a row for each round", 0 },
	{}
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	switch (key) {
	case 'd':
		opt.dax = arg;
		return 0;
	case 'g':
		opt.nr_sizes = parse_list(state, arg, opt.gib, MAX_SIZES, 1, 65536);
		return 0;
	case 's':
		opt.crash = true;
		opt.seed = parse_seed(state, arg);
		return 0;
	case 'r':
		parse_list(state, arg, &opt.rounds, 1, 1, MAX_ROUNDS);
		return 0;
	case 'c':
		opt.csv = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int recovery_main(int argc, char **argv)
{
	static const struct argp argp = {
		.options = argp_options,
		.parser = parse,
		.doc = "Time until memory can be used after a restart",
	};
	unsigned int i;

	argp_parse(&argp, argc, argv, 0, NULL, NULL);
	if (!pin(0))
		die("no affinity");
	if (opt.csv)
		puts("bench,form,state,gib,round,init_wall,init_cpu,recover_wall,recover_cpu");
	else
		printf("Milliseconds, median (least-most)\n%-9s %-6s %5s %25s %25s %25s %25s\n",
		       "form", "state", "GiB", "init wall", "init CPU", "recover wall",
		       "recover CPU");
	for (i = 0; i < opt.nr_sizes; i++)
		run_size(opt.gib[i]);
	return 0;
}
