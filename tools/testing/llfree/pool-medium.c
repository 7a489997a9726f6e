// SPDX-License-Identifier: GPL-2.0
/* The versions of a medium that a crash may leave; see pool-medium.h. */
#include <linux/align.h>
#include <linux/bits.h>
#include <linux/kernel.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inst.h"
#include "pool-medium.h"

#define LINE_SIZE		64UL
#define MAX_VERSIONS		64
/* Up to this number of states after a crash, all of them are tried. */
#define MAX_COMBINATIONS	32
#define NR_RANDOM		4
#define NR_SEEN			BIT(18)

static const struct {
	const char *name;
	unsigned long offset;
	unsigned int first;
	unsigned int nr;
} parts[] = {
	{ "superblock", LLFREE_POOL_SUPER, WORD_SUPER, SUPER_WORDS },
	{ "copy", LLFREE_POOL_COPY, WORD_COPY, SUPER_WORDS },
	{ "state", LLFREE_POOL_STATE, WORD_SESSION, 2 },
	{ "root", LLFREE_POOL_ROOTS, WORD_ROOTS, LLFREE_POOL_NR_ROOTS },
	{ "pointer", POINTERS, WORD_POINTERS, NR_POINTERS },
	{ "committed", LLFREE_POOL_ROWS, WORD_ROWS, NR_ROWS },
};

static struct word {
	u64 *at;
	/* Number of versions; the oldest that a crash may leave is number @floor. */
	unsigned int nr;
	unsigned int floor;
	/* By actor: the version that is being written back, plus 1 */
	unsigned int noted[NR_ACTORS];
	u64 value[MAX_VERSIONS];
} words[NR_WORDS];

static char *medium_base;
/* Hashes of states that were tried */
static u64 seen[NR_SEEN];

void medium_start(void *base)
{
	unsigned int part, i;

	medium_base = base;
	for (part = 0; part < ARRAY_SIZE(parts); part++) {
		for (i = 0; i < parts[part].nr; i++) {
			struct word *w = &words[parts[part].first + i];

			w->at = (u64 *)(medium_base + parts[part].offset) + i;
			w->value[0] = *w->at;
			w->nr = 1;
			w->floor = 0;
			memset(w->noted, 0, sizeof(w->noted));
		}
	}
}

/* The first word at or behind an offset, and NR_WORDS behind all of them */
static unsigned int word_from(unsigned long offset)
{
	unsigned int part;

	for (part = 0; part < ARRAY_SIZE(parts); part++) {
		if (offset < parts[part].offset)
			return parts[part].first;
		if (offset < parts[part].offset + parts[part].nr * sizeof(u64))
			return parts[part].first +
			       (offset - parts[part].offset) / sizeof(u64);
	}
	return NR_WORDS;
}

unsigned int medium_word(const void *p)
{
	const unsigned long offset = (const char *)p - medium_base;
	unsigned int word;

	if (offset >= MEDIUM_SIZE)
		return NR_WORDS;
	word = word_from(offset);
	return word < NR_WORDS && p == words[word].at ? word : NR_WORDS;
}

void *medium_address(unsigned int word)
{
	return words[word].at;
}

const char *medium_name(unsigned int word)
{
	unsigned int part = ARRAY_SIZE(parts) - 1;
	static char name[32];

	while (word < parts[part].first)
		part--;
	snprintf(name, sizeof(name), "%s %u", parts[part].name, word - parts[part].first);
	return name;
}

void medium_wrote(unsigned int word)
{
	struct word *w = &words[word];

	if (w->nr == MAX_VERSIONS) {
		fprintf(stderr, "a word has too many versions\n");
		abort();
	}
	w->value[w->nr++] = *w->at;
}

bool medium_changed(void)
{
	bool changed = false;
	unsigned int word;

	for (word = 0; word < NR_WORDS; word++) {
		if (*words[word].at == words[word].value[words[word].nr - 1])
			continue;
		medium_wrote(word);
		changed = true;
	}
	return changed;
}

void medium_write_back(unsigned int actor, const void *start, size_t size)
{
	const unsigned long offset = (const char *)start - medium_base;
	unsigned int word = word_from(ALIGN_DOWN(offset, LINE_SIZE));
	const unsigned int end = word_from(ALIGN(offset + size, LINE_SIZE));

	for (; word < end; word++) {
		struct word *w = &words[word];

		w->noted[actor] = max(w->noted[actor], w->nr - explore_unseen(w->at));
	}
}

void medium_fence(unsigned int actor)
{
	unsigned int word;

	for (word = 0; word < NR_WORDS; word++) {
		struct word *w = &words[word];

		if (w->noted[actor])
			w->floor = max(w->floor, w->noted[actor] - 1);
		w->noted[actor] = 0;
	}
}

u64 medium_all(unsigned int word)
{
	const struct word *w = &words[word];
	u64 bits = ~0ULL;
	unsigned int i;

	for (i = w->floor; i < w->nr; i++)
		bits &= w->value[i];
	return bits;
}

u64 medium_any(unsigned int word)
{
	const struct word *w = &words[word];
	u64 bits = 0;
	unsigned int i;

	for (i = w->floor; i < w->nr; i++)
		bits |= w->value[i];
	return bits;
}

unsigned int medium_nr(unsigned int word)
{
	return words[word].nr - words[word].floor;
}

u64 medium_value(unsigned int word, unsigned int i)
{
	return words[word].value[words[word].floor + i];
}

u64 medium_first(unsigned int word)
{
	return words[word].value[0];
}

bool medium_lost(unsigned int word, u64 value)
{
	const struct word *w = &words[word];
	unsigned int i = 0;

	while (i < w->nr && w->value[i] != value)
		i++;
	return w->floor < i;
}

/* ---- States after a crash ---- */

static bool (*crash_fn)(const u64 *values);

static u64 hash(const u64 *values)
{
	struct rng rng = { };
	unsigned int word;

	for (word = 0; word < NR_WORDS; word++) {
		rng.state ^= values[word];
		rng.state = rng_next(&rng);
	}
	return rng.state ?: 1;
}

static void crash_try(const u64 *values)
{
	const u64 key = hash(values);

	if (seen[key % NR_SEEN] == key)
		return;
	if (crash_fn(values))
		seen[key % NR_SEEN] = key;
}

/* Try all combinations of the versions of @open, which has @nr words. */
static void crash_all(u64 *values, const unsigned int *open, unsigned int nr)
{
	unsigned int i;

	if (!nr) {
		crash_try(values);
		return;
	}
	for (i = 0; i < medium_nr(open[0]); i++) {
		values[open[0]] = medium_value(open[0], i);
		crash_all(values, open + 1, nr - 1);
	}
}

static u64 newest(unsigned int word)
{
	return words[word].value[words[word].nr - 1];
}

/*
 * Try states in which one word is the newest and all others the oldest, and
 * vice versa.
 */
static void crash_one(u64 *values, const unsigned int *open, unsigned int nr)
{
	unsigned int i;

	crash_try(values);
	for (i = 0; i < nr; i++) {
		values[open[i]] = newest(open[i]);
		crash_try(values);
		values[open[i]] = medium_value(open[i], 0);
	}
	for (i = 0; i < nr; i++)
		values[open[i]] = newest(open[i]);
	crash_try(values);
	for (i = 0; i < nr; i++) {
		values[open[i]] = medium_value(open[i], 0);
		crash_try(values);
		values[open[i]] = newest(open[i]);
	}
}

static void crash_random(u64 *values, const unsigned int *open, unsigned int nr)
{
	struct rng rng = { .state = hash(values) };
	unsigned int i, n;

	for (n = 0; n < NR_RANDOM; n++) {
		for (i = 0; i < nr; i++)
			values[open[i]] = medium_value(open[i],
						       rng_below(&rng, medium_nr(open[i])));
		crash_try(values);
	}
}

void medium_crash(bool (*fn)(const u64 *values))
{
	unsigned int open[NR_WORDS], nr = 0, combinations = 1, word;
	u64 values[NR_WORDS];

	crash_fn = fn;
	for (word = 0; word < NR_WORDS; word++) {
		values[word] = medium_value(word, 0);
		if (medium_nr(word) == 1)
			continue;
		open[nr++] = word;
		if (combinations <= MAX_COMBINATIONS)
			combinations *= medium_nr(word);
	}
	if (combinations <= MAX_COMBINATIONS) {
		crash_all(values, open, nr);
		return;
	}
	crash_one(values, open, nr);
	crash_random(values, open, nr);
}

void medium_forget(void)
{
	memset(seen, 0, sizeof(seen));
}

void medium_put(void *base, const u64 *values)
{
	unsigned int part;

	for (part = 0; part < ARRAY_SIZE(parts); part++)
		memcpy((char *)base + parts[part].offset, &values[parts[part].first],
		       parts[part].nr * sizeof(u64));
}

void medium_get(const void *base, u64 *values)
{
	unsigned int part;

	for (part = 0; part < ARRAY_SIZE(parts); part++)
		memcpy(&values[parts[part].first], (const char *)base + parts[part].offset,
		       parts[part].nr * sizeof(u64));
}
