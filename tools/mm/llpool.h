/* SPDX-License-Identifier: GPL-2.0 */
/* llpool: the interface between its commands and the access to the medium */
#ifndef _TOOLS_MM_LLPOOL_H
#define _TOOLS_MM_LLPOOL_H

#include <linux/types.h>
#include <stdbool.h>

/* Exit status, beside 0 */
#define EXIT_FOUND	1	/* check: dirty; sweep: missing; root: another value */
#define EXIT_DAMAGED	2	/* check: allocations may be wrong */
#define EXIT_FAILED	3	/* the command could not be done */

enum target_kind {
	TARGET_FILE,
	TARGET_BLOCK,
	TARGET_POOL,
};

/**
 * struct target - the pool that a command works on
 * @path: its name, for messages
 * @fd: open file
 * @kind: a regular file, a block device, or an attached pool
 * @size: in bytes; 0 for an attached pool
 * @bdev: device number of a block device
 */
struct target {
	const char *path;
	int fd;
	enum target_kind kind;
	__u64 size;
	unsigned long long bdev;
};

/*
 * Print why a command failed, with the name of the error. Return: EXIT_FAILED
 */
int failed(const char *path, int error, const char *why);
void print_uuid(const __u8 uuid[16]);

/* These functions return an exit status, after a message if it is not 0. */
int medium_create(const struct target *target, bool force);
int medium_info(const struct target *target);
int medium_check(const struct target *target);

#endif /* _TOOLS_MM_LLPOOL_H */
