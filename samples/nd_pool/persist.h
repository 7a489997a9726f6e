/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Write back cache lines, and wait for that, by instructions that programs may
 * use.
 */
#ifndef _SAMPLES_ND_POOL_PERSIST_H
#define _SAMPLES_ND_POOL_PERSIST_H

#include <stdbool.h>
#include <stddef.h>

/* Call this first. With @caches_persist, a write-back does nothing. */
void persist_init(bool caches_persist);
/* Begin to write the cache lines of some bytes back. */
void write_back(const void *start, size_t size);
/*
 * Wait until all lines are persistent that this thread has begun to write back.
 */
void fence(void);

#endif /* _SAMPLES_ND_POOL_PERSIST_H */
