// SPDX-License-Identifier: GPL-2.0
/* Programs of the threads: their text, and how they run */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "interleave-ops.h"
#include "interleave-program.h"
#include "interleave-watch.h"
#include "interleave-world.h"

#define MAX_OPS		6

static const struct op *programs[EXPLORE_THREADS][MAX_OPS];
static const struct op *irqs[EXPLORE_THREADS];
static bool irq_done[EXPLORE_THREADS];

static void run_op(const struct op *op, int actor)
{
	int count = shim_preempt_count;

	op->fn(actor, op->arg);
	unsettled[actor] = 0;
	if (shim_preempt_count != count)
		fail("preemption count changed", actor);
}

void run_program(unsigned int tid)
{
	int i;

	irq_done[tid] = false;
	for (i = 0; i < MAX_OPS && programs[tid][i]; i++)
		run_op(programs[tid][i], tid);
}

void before_step(unsigned int tid)
{
	struct stray *s = &strays[in_irq[tid] ? ACTOR_IRQ(tid) : tid];

	check_preemptible();
	/* The first step is done, and no other thread has made one since. */
	if (s->active && s->steps++ == RANGE_STEPS + 1)
		s->turn = world.children[STRAY_CHILD] & CHILD_TURN_MASK;
	if (!irqs[tid] || irq_done[tid] || !explore_choose(2))
		return;
	irq_done[tid] = true;
	in_irq[tid] = true;
	run_op(irqs[tid], ACTOR_IRQ(tid));
	in_irq[tid] = false;
}

static const struct op *find_op(const char *name, size_t len)
{
	size_t i;

	for (i = 0; i < nr_ops; i++)
		if (strlen(ops[i].name) == len && !strncmp(ops[i].name, name, len))
			return &ops[i];
	fprintf(stderr, "no operation '%.*s'\n", (int)len, name);
	abort();
}

unsigned int parse_programs(const char *text)
{
	unsigned int tid = 0, nr = 0;
	bool irq = false;
	size_t len;

	memset(programs, 0, sizeof(programs));
	memset(irqs, 0, sizeof(irqs));
	events = false;
	for (; *text; text += len) {
		len = 1;
		if (*text == '|') {
			tid++;
			nr = 0;
			irq = false;
		} else if (*text == '!') {
			irq = true;
		} else if (*text != ' ') {
			const struct op *op;

			len = strcspn(text, " |!");
			op = find_op(text, len);
			if (tid >= EXPLORE_THREADS || nr >= MAX_OPS)
				abort();
			if (irq)
				irqs[tid] = op;
			else
				programs[tid][nr++] = op;
			if (op->fn == op_view)
				events = true;
		}
	}
	return tid + 1;
}
