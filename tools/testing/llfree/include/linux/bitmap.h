/* SPDX-License-Identifier: GPL-2.0 */
/* Bit by bit; that of tools/include needs a library. */
#ifndef _SHIM_LINUX_BITMAP_H
#define _SHIM_LINUX_BITMAP_H

#include <linux/bitops.h>

static inline bool test_bit(unsigned long nr, const unsigned long *map)
{
	return map[nr / BITS_PER_LONG] >> (nr % BITS_PER_LONG) & 1;
}

static inline void __assign_bit(unsigned long nr, unsigned long *map, bool value)
{
	if (value)
		map[nr / BITS_PER_LONG] |= 1UL << (nr % BITS_PER_LONG);
	else
		map[nr / BITS_PER_LONG] &= ~(1UL << (nr % BITS_PER_LONG));
}

static inline void bitmap_set(unsigned long *map, unsigned long start,
			      unsigned long nr)
{
	for (; nr--; start++)
		__assign_bit(start, map, true);
}

static inline void bitmap_clear(unsigned long *map, unsigned long start,
				unsigned long nr)
{
	for (; nr--; start++)
		__assign_bit(start, map, false);
}

static inline void bitmap_fill(unsigned long *map, unsigned long nr)
{
	bitmap_set(map, 0, nr);
}

static inline unsigned long bitmap_weight(const unsigned long *map,
					  unsigned long nr)
{
	unsigned long weight = 0;

	while (nr--)
		weight += test_bit(nr, map);
	return weight;
}

static inline unsigned long find_next_bit(const unsigned long *map,
					  unsigned long nr, unsigned long start)
{
	while (start < nr && !test_bit(start, map))
		start++;
	return start;
}

static inline unsigned long find_next_zero_bit(const unsigned long *map,
					       unsigned long nr,
					       unsigned long start)
{
	while (start < nr && test_bit(start, map))
		start++;
	return start;
}

#endif /* _SHIM_LINUX_BITMAP_H */
