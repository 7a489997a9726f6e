// SPDX-License-Identifier: GPL-2.0
/*
 * llpool: pools that are not attached, in a file or a block device.
 *
 * lib/llfree/pool.c formats and probes, as in the kernel. It reaches the medium
 * by pread() and pwrite(), so that poison is an error and no signal. Stores go
 * to a copy of the metadata in anonymous memory. A write-back writes that copy
 * to the file, and a fence waits with fdatasync().
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include <linux/align.h>
#include <linux/bitops.h>
#include <linux/crc32.h>
#include <linux/kernel.h>
#include <linux/llfree_pool.h>
#include <linux/minmax.h>

#include "llpool.h"

#define FRAME_BYTES	BIT(LLFREE_POOL_FRAME_SHIFT)
#define LINE_SIZE	64UL
#define READ_SIZE	4096UL
/*
 * Bytes that create checks for a signature: superblocks of pools and of file
 * systems
 */
#define ASKED_SIZE	0x20000UL
/* Offset and size of the information block of BTT, PFN and DAX devices */
#define INFO_BLOCK	0x1000UL
#define SIGNATURE_SIZE	16
/* No offset */
#define NONE		(~0UL)

/**
 * struct medium - a medium for lib/llfree/pool.c
 * @ops: the medium
 * @target: the file
 * @hidden: offset at which reading gives zeroes, or NONE
 * @error: the first error of a write, or 0
 */
struct medium {
	struct llfree_pool_medium ops;
	const struct target *target;
	unsigned long hidden;
	int error;
};

static struct medium *to_medium(const struct llfree_pool_medium *m)
{
	return container_of(m, struct medium, ops);
}

static int read_bytes(const struct target *target, void *to, unsigned long offset,
		      size_t size)
{
	ssize_t got;

	for (; size; to += got, offset += got, size -= got) {
		got = pread(target->fd, to, size, offset);
		if (got <= 0)
			return -EIO;
	}
	return 0;
}

static int write_bytes(const struct target *target, const void *from, unsigned long offset,
		       size_t size)
{
	ssize_t done;

	for (; size; from += done, offset += done, size -= done) {
		done = pwrite(target->fd, from, size, offset);
		if (done <= 0)
			return done ? -errno : -EIO;
	}
	return 0;
}

static int medium_read(const struct llfree_pool_medium *m, void *to, const void *from,
		       size_t size)
{
	const struct medium *medium = to_medium(m);
	const unsigned long offset = from - m->base;

	if (offset == medium->hidden) {
		memset(to, 0, size);
		return 0;
	}
	return read_bytes(medium->target, to, offset, size);
}

static void medium_write_back(const struct llfree_pool_medium *m, const void *start,
			      size_t size)
{
	struct medium *medium = to_medium(m);
	const int ret = write_bytes(medium->target, start, start - m->base, size);

	medium->error = medium->error ?: ret;
}

static void medium_fence(const struct llfree_pool_medium *m)
{
	struct medium *medium = to_medium(m);

	if (fdatasync(medium->target->fd))
		medium->error = medium->error ?: -errno;
}

static size_t shadow_size(const struct target *target)
{
	const u64 frames = min_t(u64, target->size / FRAME_BYTES, LLFREE_MAX_FRAMES);

	return llfree_pool_first(frames) * FRAME_BYTES;
}

static int medium_open(struct medium *medium, const struct target *target)
{
	void *base = mmap(NULL, shadow_size(target), PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (base == MAP_FAILED)
		return -errno;
	*medium = (struct medium) {
		.ops = {
			.base = base,
			.size = target->size,
			.write_back = medium_write_back,
			.fence = medium_fence,
			.read = medium_read,
		},
		.target = target,
		.hidden = NONE,
	};
	return 0;
}

static void medium_close(struct medium *medium)
{
	munmap(medium->ops.base, shadow_size(medium->target));
}

/* ---- create ---- */

static bool has_magic(const void *super)
{
	u64 magic;

	memcpy(&magic, super, sizeof(magic));
	return magic == LLFREE_POOL_MAGIC || magic == __builtin_bswap64(LLFREE_POOL_MAGIC);
}

/*
 * Name the signature of the data on the medium. Return: NULL if all bytes are 0
 */
static const char *signature(const u8 *bytes, size_t size)
{
	static const struct {
		const char text[SIGNATURE_SIZE];
		const char *name;
	} known[] = {
		{ "BTT_ARENA_INFO", "a block translation table (BTT)" },
		{ "NVDIMM_PFN_INFO", "the page structures of an fsdax namespace" },
		{ "NVDIMM_DAX_INFO", "the page structures of a devdax namespace" },
	};
	size_t i;

	if (has_magic(bytes + LLFREE_POOL_SUPER) || has_magic(bytes + LLFREE_POOL_COPY))
		return "a pool";
	for (i = 0; i < ARRAY_SIZE(known); i++)
		if (!memcmp(bytes + INFO_BLOCK, known[i].text, SIGNATURE_SIZE) ||
		    !memcmp(bytes, known[i].text, SIGNATURE_SIZE))
			return known[i].name;
	for (i = 0; i < size; i++)
		if (bytes[i])
			return "data";
	return NULL;
}

static int ask(const struct target *target)
{
	static u8 bytes[ASKED_SIZE];
	char why[128];
	const char *name;

	if (read_bytes(target, bytes, 0, sizeof(bytes)))
		return failed(target->path, EIO, "cannot be read; --force writes all the same");
	name = signature(bytes, sizeof(bytes));
	if (!name)
		return 0;
	snprintf(why, sizeof(why), "there is %s; --force overwrites it", name);
	return failed(target->path, EEXIST, why);
}

/*
 * Clear the first bytes: another signature in them would let another driver
 * take the namespace. Superblocks go first, so that a crash leaves the old
 * pool, or no pool.
 */
static int clear_head(const struct target *target)
{
	static const u8 zeroes[LLFREE_POOL_ROWS];
	int ret = write_bytes(target, zeroes, 0, LLFREE_POOL_STATE);

	if (!ret && fdatasync(target->fd))
		ret = -errno;
	return ret ?: write_bytes(target, zeroes, LLFREE_POOL_STATE,
				  LLFREE_POOL_ROWS - LLFREE_POOL_STATE);
}

/* Make a random UUID, version 4 of RFC 9562. */
static int make_uuid(u8 uuid[16])
{
	if (getrandom(uuid, 16, 0) != 16)
		return -EAGAIN;
	uuid[6] = (uuid[6] & 0x0f) | 0x40;
	uuid[8] = (uuid[8] & 0x3f) | 0x80;
	return 0;
}

int medium_create(const struct target *target, bool force)
{
	struct llfree_pool_super super;
	struct medium medium;
	u8 uuid[16];
	int ret;

	if (target->size < LLFREE_POOL_MIN_SIZE)
		return failed(target->path, ENOSPC, "a pool has 4 MiB at least");
	if (!force) {
		ret = ask(target);
		if (ret)
			return ret;
	}
	ret = make_uuid(uuid) ?: medium_open(&medium, target);
	if (ret)
		return failed(target->path, -ret, "no resources");
	ret = clear_head(target) ?: llfree_pool_format(&medium.ops, uuid) ?: medium.error ?:
	      llfree_pool_probe(&medium.ops, &super);
	medium_close(&medium);
	if (ret)
		return failed(target->path, -ret, "cannot be formatted");
	print_uuid(uuid);
	return 0;
}

/* ---- info and check ---- */

/**
 * struct rows - counts over the rows of a medium
 * @crc: their CRC32C
 * @committed: data frames that are committed
 * @free_huge: children of data without a committed frame
 * @unset: metadata frames without a committed bit
 * @behind: bits behind the last frame that are set
 * @bad: lines that cannot be read; their frames count as committed
 */
struct rows {
	u32 crc;
	u64 committed;
	u64 free_huge;
	u64 unset;
	u64 behind;
	u64 bad;
};

static void line_count(struct rows *rows, const struct llfree_pool_super *super, u64 frame,
		       const u64 *line)
{
	const u64 end = super->frames;
	u64 mask, used = 0;
	unsigned int i;

	for (i = 0; i < LLFREE_CHILD_ROWS; i++, frame += LLFREE_ROW_FRAMES) {
		mask = frame >= end ? 0 : end - frame < LLFREE_ROW_FRAMES ?
		       (1ULL << (end - frame)) - 1 : ~0ULL;
		used += hweight64(line[i] & mask);
		rows->behind += hweight64(line[i] & ~mask);
		if (frame < llfree_pool_first(end))
			rows->unset += hweight64(~line[i] & mask);
	}
	if (frame <= llfree_pool_first(end))
		return;
	rows->committed += used;
	rows->free_huge += !used && frame <= end;
}

static void rows_scan(struct rows *rows, const struct target *target,
		      const struct llfree_pool_super *super)
{
	const u64 size = llfree_pool_rows_size(super->frames);
	/* The checksum covers the rows behind those of the metadata. */
	const u64 data = llfree_pool_first(super->frames) / BITS_PER_BYTE;
	u64 buffer[READ_SIZE / sizeof(u64)];
	u64 at, line, end, *words;

	*rows = (struct rows){ .crc = ~0U };
	for (at = 0; at < size; at = end) {
		end = min_t(u64, at + READ_SIZE, size);
		if (read_bytes(target, buffer, LLFREE_POOL_ROWS + at, end - at))
			memset(buffer, 0, sizeof(buffer));
		else if (end > data)
			rows->crc = __crc32c_le(rows->crc, (u8 *)buffer + max(at, data) - at,
						end - max(at, data));
		for (line = at; line < end; line += LINE_SIZE) {
			words = &buffer[(line - at) / sizeof(u64)];
			if (read_bytes(target, words, LLFREE_POOL_ROWS + line, LINE_SIZE)) {
				memset(words, 0xff, LINE_SIZE);
				rows->bad++;
				rows->committed += LLFREE_CHILD_FRAMES;
				continue;
			}
			line_count(rows, super, line * 8, words);
		}
	}
}

/* Probe a medium. With a hidden superblock, probe the other one alone. */
static int probe(const struct target *target, unsigned long hidden,
		 struct llfree_pool_super *super)
{
	struct medium medium;
	int ret = medium_open(&medium, target);

	if (ret)
		return ret;
	medium.hidden = hidden;
	ret = llfree_pool_probe(&medium.ops, super);
	medium_close(&medium);
	return ret;
}

static const char *no_pool(int error)
{
	switch (error) {
	case -ENODEV:
		return "there is no pool";
	case -EIO:
		return "both superblocks of the pool are damaged";
	case -EMEDIUMTYPE:
		return "a pool of another byte order, or with frames of another size";
	case -EPROTONOSUPPORT:
		return "a pool of an unknown version, or with unknown flags";
	case -ENOSPC:
		return "smaller than the pool that was made here";
	default:
		return "cannot be probed";
	}
}

/* Return: the exit status for an error of llfree_pool_probe() */
static int status_of(int error)
{
	return error == -EIO || error == -ENOSPC ? EXIT_DAMAGED : EXIT_FAILED;
}

enum condition {
	CONDITION_CLEAN,
	CONDITION_NEW,
	CONDITION_DIRTY,
	CONDITION_UNREADABLE,
};

static enum condition state_read(const struct target *target, struct llfree_pool_state *state)
{
	if (read_bytes(target, state, LLFREE_POOL_STATE, sizeof(*state)))
		return CONDITION_UNREADABLE;
	if (!(state->session & LLFREE_POOL_DIRTY))
		return CONDITION_CLEAN;
	/*
	 * Formatting leaves the dirty bit set, and each attach adds one to the
	 * session.
	 */
	return state->session == LLFREE_POOL_DIRTY ? CONDITION_NEW : CONDITION_DIRTY;
}

static void print_pool(const struct target *target, const struct llfree_pool_super *super,
		       const struct rows *rows)
{
	const u64 first = llfree_pool_first(super->frames);
	static const char * const names[] = { "clean", "new", "dirty", "unreadable" };
	struct llfree_pool_state state;
	const enum condition condition = state_read(target, &state);

	printf("state: %s\n", names[condition]);
	if (condition != CONDITION_UNREADABLE)
		printf("session: %llu\n", (unsigned long long)state.session / 2);
	print_uuid(super->uuid);
	printf("size: %llu\n", (unsigned long long)(super->frames * FRAME_BYTES));
	printf("first: %llu\n", (unsigned long long)(first * FRAME_BYTES));
	printf("committed: %llu\n", (unsigned long long)(rows->committed * FRAME_BYTES));
	printf("free: %llu\n",
	       (unsigned long long)((super->frames - first - rows->committed) * FRAME_BYTES));
	printf("free_huge: %llu\n", (unsigned long long)(rows->free_huge *
							 LLFREE_CHILD_FRAMES * FRAME_BYTES));
	printf("bad_rows: %llu\n", (unsigned long long)rows->bad);
}

int medium_info(const struct target *target)
{
	struct llfree_pool_super super;
	struct rows rows;
	int ret = probe(target, NONE, &super);

	if (ret)
		return failed(target->path, -ret, no_pool(ret));
	rows_scan(&rows, target, &super);
	printf("kind: medium\n");
	print_pool(target, &super, &rows);
	return 0;
}

static const char *super_name(int error)
{
	switch (error) {
	case 0:
		return "good";
	case -ENODEV:
		return "missing";
	case -EIO:
		return "damaged";
	default:
		return no_pool(error);
	}
}

/* Attaching the pool uses one superblock and writes the other one again. */
static int check_supers(const struct target *target, struct llfree_pool_super *super)
{
	struct llfree_pool_super first = { }, copy = { };
	const int first_ret = probe(target, LLFREE_POOL_COPY, &first);
	const int copy_ret = probe(target, LLFREE_POOL_SUPER, &copy);
	const int ret = probe(target, NONE, super);
	const bool differ = !first_ret && !copy_ret && memcmp(&first, &copy, sizeof(first));

	if (ret) {
		failed(target->path, -ret, no_pool(ret));
		return status_of(ret);
	}
	printf("superblock: %s\n", super_name(first_ret));
	printf("copy: %s\n", differ ? "differs" : super_name(copy_ret));
	return first_ret || copy_ret || differ ? EXIT_FOUND : 0;
}

static bool check_rows(const struct target *target, const struct rows *rows)
{
	struct llfree_pool_state state;
	const char *crc = "not known";
	bool bad = rows->unset || rows->behind || rows->bad;

	if (state_read(target, &state) == CONDITION_CLEAN && !rows->bad) {
		crc = state.rows_crc == rows->crc ? "good" : "wrong";
		bad |= state.rows_crc != rows->crc;
	}
	printf("rows_crc: %s\n", crc);
	printf("metadata_free: %llu\n", (unsigned long long)(rows->unset * FRAME_BYTES));
	printf("behind_end: %llu\n", (unsigned long long)(rows->behind * FRAME_BYTES));
	return bad;
}

static bool check_roots(const struct target *target)
{
	u64 roots[LLFREE_POOL_NR_ROOTS];
	unsigned int i;

	if (read_bytes(target, roots, LLFREE_POOL_ROOTS, sizeof(roots))) {
		printf("roots: unreadable\n");
		return true;
	}
	for (i = 0; i < LLFREE_POOL_NR_ROOTS; i++)
		if (roots[i])
			printf("root %u: %#llx\n", i, (unsigned long long)roots[i]);
	return false;
}

int medium_check(const struct target *target)
{
	struct llfree_pool_super super;
	struct llfree_pool_state state;
	struct rows rows;
	int status = check_supers(target, &super);

	if (status > EXIT_FOUND)
		return status;
	rows_scan(&rows, target, &super);
	print_pool(target, &super, &rows);
	if (state_read(target, &state) >= CONDITION_DIRTY)
		status = EXIT_FOUND;
	if (check_rows(target, &rows) | check_roots(target))
		status = EXIT_DAMAGED;
	printf("result: %s\n", !status ? "clean" : status == EXIT_FOUND ? "dirty" : "damaged");
	return status;
}
