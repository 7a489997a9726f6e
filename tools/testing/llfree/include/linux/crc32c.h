/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _SHIM_LINUX_CRC32C_H
#define _SHIM_LINUX_CRC32C_H

#include <linux/types.h>

/* CRC32C, bit by bit, as lib/libcrc32c.c gives it */
static inline u32 crc32c(u32 crc, const void *address, unsigned int length)
{
	const u8 *p = address;
	int i;

	while (length--) {
		crc ^= *p++;
		for (i = 0; i < 8; i++)
			crc = (crc >> 1) ^ (crc & 1 ? 0x82f63b78U : 0);
	}
	return crc;
}

#endif /* _SHIM_LINUX_CRC32C_H */
