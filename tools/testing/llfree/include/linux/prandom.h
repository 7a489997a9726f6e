/* SPDX-License-Identifier: GPL-2.0 */
/* The kernel's generator: a seed gives the same numbers as in the kernel. */
#ifndef _SHIM_LINUX_PRANDOM_H
#define _SHIM_LINUX_PRANDOM_H

#include <linux/types.h>

struct rnd_state {
	u32 s1, s2, s3, s4;
};

static inline u32 tausworthe(u32 s, int a, int b, u32 c, int d)
{
	return (s & c) << d ^ ((s << a) ^ s) >> b;
}

static inline u32 prandom_u32_state(struct rnd_state *state)
{
	state->s1 = tausworthe(state->s1,  6, 13, 4294967294U, 18);
	state->s2 = tausworthe(state->s2,  2, 27, 4294967288U,  2);
	state->s3 = tausworthe(state->s3, 13, 21, 4294967280U,  7);
	state->s4 = tausworthe(state->s4,  3, 12, 4294967168U, 13);

	return state->s1 ^ state->s2 ^ state->s3 ^ state->s4;
}

static inline u32 __seed(u32 x, u32 m)
{
	return x < m ? x + m : x;
}

static inline void prandom_seed_state(struct rnd_state *state, u64 seed)
{
	u32 i = (seed >> 32) ^ (seed << 10) ^ seed;

	state->s1 = __seed(i,   2U);
	state->s2 = __seed(i,   8U);
	state->s3 = __seed(i,  16U);
	state->s4 = __seed(i, 128U);
}

#endif /* _SHIM_LINUX_PRANDOM_H */
