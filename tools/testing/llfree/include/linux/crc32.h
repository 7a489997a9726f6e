/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _SHIM_LINUX_CRC32_H
#define _SHIM_LINUX_CRC32_H

#include <linux/types.h>

/* CRC32C by eight tables, as lib/crc32.c computes it */
u32 __crc32c_le(u32 crc, const unsigned char *p, size_t length);

#endif /* _SHIM_LINUX_CRC32_H */
