/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _LLFREE_SHIM_GCD_H
#define _LLFREE_SHIM_GCD_H

static inline unsigned long gcd(unsigned long a, unsigned long b)
{
	unsigned long rest;

	while (b) {
		rest = a % b;
		a = b;
		b = rest;
	}
	return a;
}

#endif /* _LLFREE_SHIM_GCD_H */
