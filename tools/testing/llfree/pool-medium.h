/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A persistent medium for explore(): each word has the versions that a crash
 * may leave.
 *
 * A word begins with one version, and each change adds one. A write-back notes,
 * for each word of a line, the newest version that its thread sees. A fence of
 * that thread makes the noted versions the oldest ones that a crash may leave.
 * A crash leaves any version between the oldest and the newest, for each word
 * independently.
 */
#ifndef _LLFREE_TEST_POOL_MEDIUM_H
#define _LLFREE_TEST_POOL_MEDIUM_H

#include <linux/llfree_pool.h>
#include <stdbool.h>

#include "explore.h"

#define FRAMES			2048U
#define NR_ROWS			(FRAMES / LLFREE_ROW_FRAMES)
#define SUPER_WORDS		(sizeof(struct llfree_pool_super) / sizeof(u64))
/* Pointers of a caller, in its own data */
#define POINTERS		0x6000UL
#define NR_POINTERS		2
#define MEDIUM_SIZE		(LLFREE_POOL_ROWS + NR_ROWS * sizeof(u64))

/* Numbers of the first words of each part, without the bytes between these parts */
#define WORD_SUPER		0U
#define WORD_COPY		(WORD_SUPER + SUPER_WORDS)
#define WORD_SESSION		(WORD_COPY + SUPER_WORDS)
#define WORD_CRC		(WORD_SESSION + 1)
#define WORD_ROOTS		(WORD_CRC + 1)
#define WORD_POINTERS		(WORD_ROOTS + LLFREE_POOL_NR_ROOTS)
#define WORD_ROWS		(WORD_POINTERS + NR_POINTERS)
#define NR_WORDS		(WORD_ROWS + NR_ROWS)

/* Threads, and the test while no thread runs */
#define NR_ACTORS		(EXPLORE_THREADS + 1)

/* Begin with one version of each word: the value in the memory from @base on */
void medium_start(void *base);
/* The number of a word; NR_WORDS for a part of the medium that has no words */
unsigned int medium_word(const void *p);
void *medium_address(unsigned int word);
const char *medium_name(unsigned int word);
/*
 * A word has changed and gets a version, even if the value is that of the last
 * one.
 */
void medium_wrote(unsigned int word);
/*
 * Give words that differ from their newest version another one: changes that
 * are no steps. Return: whether there were such words
 */
bool medium_changed(void);
void medium_write_back(unsigned int actor, const void *start, size_t size);
void medium_fence(unsigned int actor);

/* Bits that are set in all versions that a crash may leave, and in at least one */
u64 medium_all(unsigned int word);
u64 medium_any(unsigned int word);
/* Number of these versions, and the values, the oldest first */
unsigned int medium_nr(unsigned int word);
u64 medium_value(unsigned int word, unsigned int i);
/* The version that a run began with */
u64 medium_first(unsigned int word);
/* May a crash leave a version that is older than this value? */
bool medium_lost(unsigned int word, u64 value);

/*
 * Call @fn with states that a crash may leave. These are all combinations of
 * versions, if there are few of them. Otherwise they are the oldest state, the
 * newest one, those with another version in one word, and some random ones that
 * depend on the versions only. States for which @fn has returned true are not
 * repeated until medium_forget().
 */
void medium_crash(bool (*fn)(const u64 *values));
void medium_forget(void);
/*
 * Write values to the places of words in other memory, and read values there.
 */
void medium_put(void *base, const u64 *values);
void medium_get(const void *base, u64 *values);

#endif /* _LLFREE_TEST_POOL_MEDIUM_H */
