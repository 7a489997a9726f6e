/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _SHIM_LINUX_CRC32_H
#define _SHIM_LINUX_CRC32_H

#include <linux/types.h>

/* CRC32C, bit by bit, as lib/crc32.c gives it */
static inline u32 __crc32c_le(u32 crc, const unsigned char *p, size_t length)
{
	int i;

	while (length--) {
		crc ^= *p++;
		for (i = 0; i < 8; i++)
			crc = (crc >> 1) ^ (crc & 1 ? 0x82f63b78U : 0);
	}
	return crc;
}

#endif /* _SHIM_LINUX_CRC32_H */
