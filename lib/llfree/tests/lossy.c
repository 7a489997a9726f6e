// SPDX-License-Identifier: GPL-2.0
/* Persistent memory that loses in a crash what it may lose. */
#include <linux/align.h>
#include <linux/string.h>

#include "instance.h"
#include "lossy.h"

#define LINE_WORDS	8U
#define LINE_BYTES	(LINE_WORDS * sizeof(u64))

static struct lossy *lossy_of(const struct llfree_pool_medium *m)
{
	return (struct lossy *)((void *)m - offsetof(struct lossy, m));
}

static u64 *lossy_line(void *area, unsigned long line)
{
	return (u64 *)area + line * LINE_WORDS;
}

static bool coin(struct lossy *lossy, unsigned int n)
{
	return !(prandom_u32_state(&lossy->rnd) % n);
}

static void lossy_write_back(const struct llfree_pool_medium *m, const void *start,
			     size_t size)
{
	struct lossy *lossy = lossy_of(m);
	unsigned long line = (start - m->base) / LINE_BYTES;
	unsigned long end = DIV_ROUND_UP(start - m->base + size, LINE_BYTES);

	for (; line < end; line++) {
		memcpy(lossy_line(lossy->noted, line), lossy_line(m->base, line), LINE_BYTES);
		lossy->is_noted[line] = true;
		lossy->write_backs++;
	}
}

/* Each word becomes what it may be after a crash. */
static void lossy_lose(struct lossy *lossy)
{
	const u64 *cache = lossy->m.base;
	unsigned long i;

	for (i = 0; i < lossy->size / sizeof(u64); i++) {
		if (lossy->is_noted[i / LINE_WORDS] && coin(lossy, 2))
			lossy->durable[i] = lossy->noted[i];
		else if (coin(lossy, 3))
			lossy->durable[i] = cache[i];
	}
}

static void lossy_fence(const struct llfree_pool_medium *m)
{
	struct lossy *lossy = lossy_of(m);
	unsigned long line;
	void *from;

	lossy->fences++;
	if (lossy->crash_at && lossy->fences > lossy->crash_at)
		return;
	if (lossy->fences == lossy->crash_at) {
		lossy_lose(lossy);
		return;
	}
	for (line = 0; line < lossy->size / LINE_BYTES; line++) {
		if (lossy->is_noted[line])
			from = coin(lossy, 4) ? m->base : lossy->noted;
		else if (coin(lossy, 64))
			from = m->base;
		else
			continue;
		memcpy(lossy_line(lossy->durable, line), lossy_line(from, line), LINE_BYTES);
		lossy->is_noted[line] = false;
	}
}

static int lossy_read(const struct llfree_pool_medium *m, void *to, const void *from,
		      size_t size)
{
	struct lossy *lossy = lossy_of(m);
	unsigned long line = (from - m->base) / LINE_BYTES;
	unsigned long end = DIV_ROUND_UP(from - m->base + size, LINE_BYTES);

	for (; line < end; line++)
		if (lossy->bad[line])
			return -EIO;
	memcpy(to, from, size);
	return 0;
}

struct lossy *lossy_new(struct kunit *test, unsigned long frames, u64 seed)
{
	const size_t size = ALIGN(LLFREE_POOL_ROWS + frames / BITS_PER_BYTE + LINE_BYTES,
				  LINE_BYTES);
	struct lossy *lossy = area_new(test, sizeof(*lossy));

	memset(lossy, 0, sizeof(*lossy));
	lossy->size = size;
	lossy->m.base = area_new(test, size);
	lossy->m.size = frames << LLFREE_POOL_FRAME_SHIFT;
	lossy->m.write_back = lossy_write_back;
	lossy->m.fence = lossy_fence;
	lossy->m.read = lossy_read;
	lossy->durable = area_new(test, size);
	memcpy(lossy->durable, lossy->m.base, size);
	lossy->noted = area_new(test, size);
	lossy->is_noted = area_new(test, size / LINE_BYTES);
	memset(lossy->is_noted, 0, size / LINE_BYTES);
	lossy->bad = area_new(test, size / LINE_BYTES);
	memset(lossy->bad, 0, size / LINE_BYTES);
	prandom_seed_state(&lossy->rnd, seed);
	return lossy;
}

void lossy_crash(struct lossy *lossy)
{
	if (!lossy->crash_at || lossy->fences < lossy->crash_at)
		lossy_lose(lossy);
	memcpy(lossy->m.base, lossy->durable, lossy->size);
	memset(lossy->is_noted, 0, lossy->size / LINE_BYTES);
	lossy->fences = 0;
	lossy->crash_at = 0;
}

void lossy_set_bad(struct lossy *lossy, unsigned long offset, bool bad)
{
	lossy->bad[offset / LINE_BYTES] = bad;
}
