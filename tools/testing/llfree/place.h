/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where the blocks of a zone lie that something replays or models, and how good
 * that is
 */
#ifndef PLACE_H
#define PLACE_H

#include <argp.h>
#include <stdbool.h>
#include <stdio.h>

#define MIGRATE_UNMOVABLE	0
#define MIGRATE_MOVABLE		1
#define MIGRATE_PCPTYPES	3
/* The highest order of cheap blocks, of the kernel; all of these have per-CPU lists */
#define COSTLY_ORDER		3

/**
 * struct place_options - what decides where blocks lie
 * @as_recorded: the caller says it
 * @by_bestfit: see bestfit.c
 * @policy: of the core, unless either of the above
 * @nofragment: allocate as for NOFRAGMENT first
 * @first: first frame of the zone
 * @frames: number of its frames
 * @cpus: number of slots
 * @tree_order: frames of a tree as a power of 2; 0 for what a zone would have
 */
struct place_options {
	bool as_recorded, by_bestfit;
	const struct llfree_policy *policy;
	bool nofragment;
	unsigned long first, frames;
	unsigned int cpus, tree_order;
};

extern struct place_options place_options;
/* The options of command lines for that: a child of the program's own */
extern const struct argp place_argp;

/**
 * struct place_score - how the frames of a zone lie
 * @free: free frames
 * @huge: children that are entirely free
 * @best: children that could be
 * @unmovable: children with memory and a frame that cannot move
 * @moves: frames to move until as many children are free as can be: @best, or
 *	all without unmovable frames
 */
struct place_score {
	unsigned long free, huge, best, unmovable, moves;
};

void place_begin(void);
void place_claim(unsigned long frame, bool movable);
void place_claimed(void);
void place_absent(unsigned long frame);
long place_alloc(unsigned long wish, unsigned int order, unsigned int migratetype,
		 unsigned int cpu);
unsigned int place_bulk(unsigned int order, unsigned int migratetype, unsigned int cpu,
			unsigned int nr, long *frames);
void place_free(unsigned long frame, unsigned int order, unsigned int cpu);
struct place_score place_score(void);
/* First frame of the first child that is entirely in the zone */
unsigned long place_children(void);
/*
 * Write the children as one line of tokens: scripts/llfree/memmap/maps.py has the
 * format. A child with a frame that cannot move is unmovable, one without memory
 * is absent.
 */
void place_map(FILE *f);
/* Check at the end. Return: the fault, or "" */
const char *place_end(void);

#endif
