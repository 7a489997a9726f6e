// SPDX-License-Identifier: GPL-2.0
#include <linux/crc32.h>
#include <stdio.h>
#include <string.h>

#include <shim/shim.h>

unsigned int shim_warnings;
__thread int shim_preempt_count;
__thread bool shim_hardirq;
#ifdef __SANITIZE_THREAD__
int shim_fence;
#endif

int shim_warn(const char *file, int line, const char *what)
{
	if (!__atomic_fetch_add(&shim_warnings, 1, __ATOMIC_RELAXED))
		fprintf(stderr, "# WARN at %s:%d: %s\n", file, line, what);
	return 1;
}

/* CRC of a byte with 0 to 7 bytes behind it */
static u32 crc_tables[8][256];

static __attribute__((constructor)) void crc_init(void)
{
	unsigned int i, j;
	u32 crc;

	for (i = 0; i < 256; i++) {
		for (crc = i, j = 0; j < 8; j++)
			crc = (crc >> 1) ^ (crc & 1 ? 0x82f63b78U : 0);
		crc_tables[0][i] = crc;
	}
	for (j = 1; j < 8; j++)
		for (i = 0; i < 256; i++)
			crc_tables[j][i] = (crc_tables[j - 1][i] >> 8) ^
					   crc_tables[0][crc_tables[j - 1][i] & 0xff];
}

u32 __crc32c_le(u32 crc, const unsigned char *p, size_t length)
{
	unsigned int i;
	u64 word;
	u32 next;

	for (; length >= sizeof(word); length -= sizeof(word), p += sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		word ^= crc;
		for (i = 0, next = 0; i < 8; i++)
			next ^= crc_tables[7 - i][word >> (8 * i) & 0xff];
		crc = next;
	}
	while (length--)
		crc = (crc >> 8) ^ crc_tables[0][(crc ^ *p++) & 0xff];
	return crc;
}
