// SPDX-License-Identifier: GPL-2.0
/*
 * llpool: format and examine pools of page frames in persistent memory.
 *
 * An attached pool is /dev/ndpoolN, and its driver does the work. A pool that
 * is not attached is the content of /dev/pmemN, or of a file for tests: see
 * llpool-medium.c. The driver never formats, so each pool begins with this
 * program.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <linux/bits.h>
#include <linux/kernel.h>

#include "linux/nd_pool.h"
#include "llpool.h"

#define FRAME_BYTES	BIT_ULL(ND_POOL_FRAME_SHIFT)
#define ROW_BYTES	(ND_POOL_ROW_FRAMES * FRAME_BYTES)
/* Rows that one call handles: those of 1 GiB */
#define ROWS_AT_ONCE	4096ULL
#define BUS		"/sys/bus/nd"

struct options {
	const char *size;
	unsigned long long order;
	unsigned long long nr;
	bool force;
	bool no_attach;
	bool uncommitted;
};

/* ---- Messages ---- */

static const char *error_name(int error)
{
	static const struct {
		int error;
		const char *name;
	} names[] = {
		{ ENODEV, "ENODEV" }, { EIO, "EIO" }, { EMEDIUMTYPE, "EMEDIUMTYPE" },
		{ EPROTONOSUPPORT, "EPROTONOSUPPORT" }, { ENOSPC, "ENOSPC" },
		{ EBUSY, "EBUSY" }, { EEXIST, "EEXIST" }, { EROFS, "EROFS" },
		{ EINVAL, "EINVAL" }, { ENOMEM, "ENOMEM" }, { ENOENT, "ENOENT" },
		{ EACCES, "EACCES" }, { EPERM, "EPERM" }, { EAGAIN, "EAGAIN" },
		{ ENXIO, "ENXIO" }, { ENOTTY, "ENOTTY" }, { EBADF, "EBADF" },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].error == error)
			return names[i].name;
	return strerror(error);
}

int failed(const char *path, int error, const char *why)
{
	fflush(stdout);
	fprintf(stderr, "llpool: %s: %s (%s)\n", path, why, error_name(error));
	return EXIT_FAILED;
}

/* Describe an error of the driver. */
static const char *reason(int error)
{
	switch (error) {
	case EROFS:
		return "read-only after a fault of its medium";
	case EINVAL:
		return "no allocated block is there, or the arguments are wrong";
	case EIO:
		return "the allocation bits there cannot be read; sweep the pool";
	case ENOMEM:
		return "no free block of this order";
	case EBUSY:
		return "another program has it open";
	case ENXIO:
		return "not attached any more";
	default:
		return strerror(error);
	}
}

void print_uuid(const __u8 uuid[16])
{
	unsigned int i;

	printf("uuid: ");
	for (i = 0; i < 16; i++)
		printf("%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
	printf("\n");
}

static void print_number(const char *name, __u64 value)
{
	printf("%s: %llu\n", name, (unsigned long long)value);
}

/* ---- Arguments ---- */

static bool parse_number(const char *text, unsigned long long *value)
{
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 0);
	return *text >= '0' && *text <= '9' && !*end && !errno;
}

static bool parse_size(const char *text, unsigned long long *size)
{
	static const char units[] = "KMGT";
	char *end;
	const char *unit;

	errno = 0;
	*size = strtoull(text, &end, 0);
	if (*text < '0' || *text > '9' || errno)
		return false;
	if (!*end)
		return true;
	unit = strchr(units, *end);
	if (!unit || end[1] || *size > LLONG_MAX >> (10 * (unit - units + 1)))
		return false;
	*size <<= 10 * (unit - units + 1);
	return true;
}

/* A block is its offset and order: see include/uapi/linux/nd_pool.h */
static bool make_block(unsigned long long offset, unsigned long long order, __u64 *block)
{
	*block = offset | order;
	return order <= ND_POOL_MAX_ORDER && !(offset & ((FRAME_BYTES << order) - 1));
}

/* ---- Targets ---- */

static int target_size(struct target *target, const struct stat *st)
{
	switch (st->st_mode & S_IFMT) {
	case S_IFREG:
		target->kind = TARGET_FILE;
		target->size = st->st_size;
		return 0;
	case S_IFBLK:
		target->kind = TARGET_BLOCK;
		target->bdev = st->st_rdev;
		return ioctl(target->fd, BLKGETSIZE64, &target->size) ? -errno : 0;
	case S_IFCHR:
		target->kind = TARGET_POOL;
		return 0;
	default:
		return -EINVAL;
	}
}

static int target_open(struct target *target, const char *path, int flags)
{
	struct stat st;
	int ret;

	/*
	 * Check the type first, as opening a device may have effects of its
	 * own.
	 */
	if (!stat(path, &st) && S_ISBLK(st.st_mode) && flags & O_RDWR)
		flags |= O_EXCL;
	*target = (struct target){ .path = path, .fd = open(path, flags | O_CLOEXEC, 0600) };
	if (target->fd < 0)
		return failed(path, errno, errno == EBUSY ? "in use" : "cannot be opened");
	ret = fstat(target->fd, &st) ? -errno : target_size(target, &st);
	if (ret)
		return failed(path, -ret, "no file, block device or pool");
	if (target->kind == TARGET_FILE &&
	    flock(target->fd, (flags & O_RDWR ? LOCK_EX : LOCK_SH) | LOCK_NB))
		return failed(path, EBUSY, "in use");
	return 0;
}

static int pool_open(struct target *target, const char *path, int flags,
		     struct nd_pool_info *info)
{
	const int ret = target_open(target, path, flags);

	if (ret)
		return ret;
	if (target->kind != TARGET_POOL)
		return failed(path, ENODEV, "no pool that is attached; that is /dev/ndpoolN");
	if (ioctl(target->fd, ND_POOL_INFO, info))
		return failed(path, errno, errno == ENOTTY ? "no pool" : reason(errno));
	return 0;
}

/* ---- create ---- */

static int write_sysfs(const char *path, const char *text)
{
	const int fd = open(path, O_WRONLY | O_CLOEXEC);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* The namespace of a block device, or NULL if it is not a raw one */
static const char *raw_namespace(const struct target *target)
{
	static char real[PATH_MAX];
	char link[64];

	snprintf(link, sizeof(link), "/sys/dev/block/%u:%u/device", major(target->bdev),
		 minor(target->bdev));
	if (!realpath(link, real) || strncmp(base_name(real), "namespace", 9))
		return NULL;
	return base_name(real);
}

/* Find the pool of a namespace. */
static bool print_pool_of(const char *namespace)
{
	char link[64], real[PATH_MAX];
	unsigned int i;

	for (i = 0; i < 256; i++) {
		snprintf(link, sizeof(link), "/sys/class/ndpool/ndpool%u/device", i);
		if (realpath(link, real) && !strcmp(base_name(real), namespace)) {
			printf("device: /dev/ndpool%u\n", i);
			return true;
		}
	}
	return false;
}

/* Bind a namespace to the driver of pools. */
static int attach(const char *path, const char *namespace)
{
	char link[PATH_MAX];
	int ret = 0;

	if (access(BUS "/drivers/nd_pool", F_OK)) {
		fprintf(stderr,
			"llpool: %s is formatted, but not attached: there is no driver nd_pool.\n"
			"Load it (CONFIG_ND_POOL), then\n"
			"    echo %s >" BUS "/drivers/nd_pmem/unbind\n"
			"    echo %s >" BUS "/drivers/nd_pool/bind\n", path, namespace, namespace);
		return EXIT_FAILED;
	}
	snprintf(link, sizeof(link), BUS "/devices/%s/driver/unbind", namespace);
	if (!access(link, F_OK))
		ret = write_sysfs(link, namespace);
	ret = ret ?: write_sysfs(BUS "/drivers/nd_pool/bind", namespace);
	if (ret)
		return failed(path, -ret, "formatted, but not attached; see the kernel's log");
	if (!print_pool_of(namespace))
		return failed(path, ENODEV, "formatted and attached, but not in sysfs");
	return 0;
}

/* Give a file its size. */
static int resize(struct target *target, const struct options *options)
{
	unsigned long long size;

	if (!options->size)
		return 0;
	if (target->kind != TARGET_FILE)
		return failed(target->path, EINVAL, "--size is for files");
	if (!parse_size(options->size, &size))
		return failed(options->size, EINVAL, "no size");
	if (target->size && target->size != size && !options->force)
		return failed(target->path, EEXIST, "has another size; --force changes it");
	if (ftruncate(target->fd, size))
		return failed(target->path, errno, "cannot get this size");
	target->size = size;
	return 0;
}

static int do_create(char **args, int nr, const struct options *options)
{
	const char *namespace = NULL;
	struct target target;
	int ret, read_only = 0;

	(void)nr;
	ret = target_open(&target, args[0], O_RDWR | (options->size ? O_CREAT : 0));
	if (ret)
		return ret;
	if (target.kind == TARGET_POOL)
		return failed(target.path, EBUSY, "attached; unbind it from nd_pool first");
	if (target.kind == TARGET_BLOCK) {
		namespace = raw_namespace(&target);
		if (!namespace)
			return failed(target.path, EINVAL, "no namespace in mode raw");
		if (!ioctl(target.fd, BLKROGET, &read_only) && read_only)
			return failed(target.path, EROFS, "read-only");
	}
	ret = resize(&target, options) ?: medium_create(&target, options->force);
	if (close(target.fd) && !ret)
		ret = failed(target.path, errno, "cannot be written");
	if (!ret && namespace && !options->no_attach)
		ret = attach(target.path, namespace);
	return ret;
}

/* ---- info and check ---- */

static const char *persistence_name(__u32 persistence)
{
	switch (persistence) {
	case ND_POOL_SURVIVES_RESET:
		return "unknown";
	case ND_POOL_WRITE_BACK:
		return "memory_controller";
	case ND_POOL_FENCE:
		return "cpu_cache";
	default:
		return "not known to this program";
	}
}

static void print_info(const struct nd_pool_info *info)
{
	printf("kind: attached\n");
	printf("state: %s\n", info->flags & ND_POOL_READ_ONLY ? "read-only" :
	       info->bad_rows ? "degraded" : "active");
	print_number("session", info->session);
	print_uuid(info->uuid);
	print_number("size", info->size);
	print_number("first", info->first);
	print_number("free", info->free);
	print_number("free_huge", info->free_huge);
	print_number("bad_rows", info->bad_rows);
	print_number("bad_frames", info->bad_frames);
	print_number("recovery_us", info->recovery_us);
	printf("was_dirty: %s\n", info->flags & ND_POOL_WAS_DIRTY ? "yes" : "no");
	printf("rows_damaged: %s\n", info->flags & ND_POOL_ROWS_DAMAGED ? "yes" : "no");
	printf("persistence: %s\n", persistence_name(info->persistence));
}

/* Open a pool, attached or not. */
static int look_at(struct target *target, const char *path, struct nd_pool_info *info)
{
	struct stat st;

	if (!stat(path, &st) && S_ISCHR(st.st_mode))
		return pool_open(target, path, O_RDONLY, info);
	return target_open(target, path, O_RDONLY);
}

static int do_info(char **args, int nr, const struct options *options)
{
	struct nd_pool_info info;
	struct target target;
	int ret;

	(void)nr;
	(void)options;
	ret = look_at(&target, args[0], &info);
	if (ret)
		return ret;
	if (target.kind != TARGET_POOL)
		return medium_info(&target);
	print_info(&info);
	return 0;
}

static __u64 pool_rows(const struct nd_pool_info *info)
{
	return (info->size - info->first + ROW_BYTES - 1) / ROW_BYTES;
}

/* Bits of the frames of a pool in its row number @row */
static __u64 row_mask(const struct nd_pool_info *info, __u64 row)
{
	const __u64 left = (info->size - info->first - row * ROW_BYTES) / FRAME_BYTES;

	return left < ND_POOL_ROW_FRAMES ? (1ULL << left) - 1 : ~0ULL;
}

/* Run GET_ROWS or SWEEP on all rows of a pool. The sums are added to @sum. */
static int all_rows(const struct target *target, const struct nd_pool_info *info,
		    unsigned long cmd, __u64 *rows, struct nd_pool_rows *sum)
{
	const __u64 nr = pool_rows(info);
	struct nd_pool_rows arg;
	__u64 at;

	for (at = 0; at < nr; at += arg.nr) {
		arg = (struct nd_pool_rows) {
			.offset = info->first + at * ROW_BYTES,
			.nr = nr - at < ROWS_AT_ONCE ? nr - at : ROWS_AT_ONCE,
			.rows = (uintptr_t)&rows[at],
		};
		if (ioctl(target->fd, cmd, &arg))
			return failed(target->path, errno, reason(errno));
		sum->freed += arg.freed;
		sum->missing += arg.missing;
	}
	return 0;
}

static int check_attached(const struct target *target, const struct nd_pool_info *info)
{
	__u64 at, committed = 0, behind = 0, *rows = calloc(pool_rows(info) ?: 1, sizeof(*rows));
	struct nd_pool_rows sum = { };
	bool bad;
	int ret;

	if (!rows)
		return failed(target->path, ENOMEM, "no memory for the allocation bits");
	ret = all_rows(target, info, ND_POOL_GET_ROWS, rows, &sum);
	if (ret)
		return ret;
	for (at = 0; at < pool_rows(info); at++) {
		committed += __builtin_popcountll(rows[at] & row_mask(info, at)) * FRAME_BYTES;
		behind += __builtin_popcountll(rows[at] & ~row_mask(info, at)) * FRAME_BYTES;
	}
	free(rows);
	print_number("committed", committed);
	/* Rows of lines that cannot be read have all bits set. */
	bad = info->bad_rows || info->flags & (ND_POOL_ROWS_DAMAGED | ND_POOL_READ_ONLY) ||
	      behind || committed + info->free > info->size - info->first;
	printf("result: %s\n", bad ? "damaged" : "clean");
	return bad ? EXIT_DAMAGED : 0;
}

static int do_check(char **args, int nr, const struct options *options)
{
	struct nd_pool_info info;
	struct target target;
	int ret;

	(void)nr;
	(void)options;
	ret = look_at(&target, args[0], &info);
	if (ret)
		return ret;
	if (target.kind != TARGET_POOL)
		return medium_check(&target);
	print_info(&info);
	return check_attached(&target, &info);
}

/* ---- sweep ---- */

/* Note a block in the map of live frames. Return: NULL, or the fault */
static const char *mark_live(const struct nd_pool_info *info, __u64 *live,
			     unsigned long long offset, unsigned long long order)
{
	__u64 block, frame, end;

	if (!make_block(offset, order, &block))
		return "not aligned, or no order";
	if (offset < info->first || offset + (FRAME_BYTES << order) > info->size ||
	    offset > info->size)
		return "not in the pool";
	frame = (offset - info->first) / FRAME_BYTES;
	for (end = frame + (1ULL << order); frame < end; frame++) {
		if (live[frame / ND_POOL_ROW_FRAMES] & 1ULL << frame % ND_POOL_ROW_FRAMES)
			return "live twice";
		live[frame / ND_POOL_ROW_FRAMES] |= 1ULL << frame % ND_POOL_ROW_FRAMES;
	}
	return NULL;
}

/* Parse a line of a map: an offset and an order. Return: NULL, or the fault */
static const char *parse_live(const struct nd_pool_info *info, __u64 *live, char *line)
{
	const char * const blank = " \t";
	unsigned long long offset, order;
	char *first, *second, *rest;

	first = strtok_r(line, blank, &rest);
	second = strtok_r(NULL, blank, &rest);
	if (!second || strtok_r(NULL, blank, &rest) || !parse_number(first, &offset) ||
	    !parse_number(second, &order))
		return "no offset and order";
	return mark_live(info, live, offset, order);
}

/* Return: the number of blocks in the map, or a negative exit status after a message */
static long long read_map(const char *path, const struct nd_pool_info *info, __u64 *live)
{
	FILE *map = strcmp(path, "-") ? fopen(path, "re") : stdin;
	char *line = NULL, *text, where[64];
	const char *why = NULL;
	long long blocks = 0, nr = 0;
	size_t size = 0;

	if (!map)
		return -failed(path, errno, "cannot be opened");
	while (!why && getline(&line, &size, map) >= 0) {
		nr++;
		line[strcspn(line, "\n")] = 0;
		text = line + strspn(line, " \t");
		if (!*text || *text == '#')
			continue;
		blocks++;
		why = parse_live(info, live, text);
	}
	free(line);
	snprintf(where, sizeof(where), "line %lld of the map", nr);
	if (why)
		blocks = -failed(where, EINVAL, why);
	else if (ferror(map))
		blocks = -failed(path, EIO, "cannot be read");
	if (map != stdin)
		fclose(map);
	return blocks;
}

static int do_sweep(char **args, int nr, const struct options *options)
{
	struct nd_pool_rows sum = { };
	struct nd_pool_info info;
	struct target target;
	long long blocks;
	__u64 *live;
	int ret;

	(void)nr;
	ret = pool_open(&target, args[0], O_RDWR, &info);
	if (ret)
		return ret;
	live = calloc(pool_rows(&info) ?: 1, sizeof(*live));
	if (!live)
		return failed(target.path, ENOMEM, "no memory for the map");
	blocks = read_map(args[1], &info, live);
	if (blocks < 0)
		ret = -blocks;
	else if (!blocks && !options->force)
		ret = failed(args[1], EINVAL, "an empty map; --force frees all of the pool");
	else
		ret = all_rows(&target, &info, ND_POOL_SWEEP, live, &sum);
	free(live);
	if (ret)
		return ret;
	print_number("freed", sum.freed);
	print_number("missing", sum.missing);
	return sum.missing ? EXIT_FOUND : 0;
}

/* ---- Blocks and roots ---- */

/*
 * Repeat a call until all blocks are done, as it may do a part of them. Return:
 * how many are done
 */
static __u32 do_blocks(const struct target *target, unsigned long cmd, __u32 flags,
		       __u64 *blocks, __u32 nr)
{
	struct nd_pool_blocks arg = { .flags = flags };
	__u32 done;
	int ret;

	for (done = 0; done < nr; done += ret) {
		arg.blocks = (uintptr_t)&blocks[done];
		arg.nr = nr - done;
		ret = ioctl(target->fd, cmd, &arg);
		if (ret <= 0)
			break;
	}
	return done;
}

static int do_alloc(char **args, int nr, const struct options *options)
{
	struct nd_pool_info info;
	struct target target;
	__u32 i, done;
	__u64 *blocks;
	int ret, error;

	(void)nr;
	ret = pool_open(&target, args[0], O_RDWR, &info);
	if (ret)
		return ret;
	blocks = calloc(options->nr, sizeof(*blocks));
	if (!blocks)
		return failed(target.path, ENOMEM, "no memory for the blocks");
	for (i = 0; i < options->nr; i++)
		blocks[i] = options->order;
	errno = 0;
	done = do_blocks(&target, ND_POOL_ALLOC, options->uncommitted ? 0 : ND_POOL_COMMITTED,
			 blocks, options->nr);
	error = errno;
	for (i = 0; i < done; i++)
		printf("%#llx %llu\n", (unsigned long long)(blocks[i] & ~ND_POOL_ORDER_MASK),
		       (unsigned long long)(blocks[i] & ND_POOL_ORDER_MASK));
	free(blocks);
	return done < options->nr ? failed(target.path, error, reason(error)) : 0;
}

/* Commit or free the blocks that arguments name. */
static int change_blocks(char **args, int nr, const struct options *options,
			 unsigned long cmd)
{
	unsigned long long offset;
	struct nd_pool_info info;
	struct target target;
	__u64 block;
	int i, ret;

	ret = pool_open(&target, args[0], O_RDWR, &info);
	for (i = 1; i < nr && !ret; i++) {
		if (!parse_number(args[i], &offset) ||
		    !make_block(offset, options->order, &block))
			ret = failed(args[i], EINVAL, "no offset of a block of this order");
		else if (do_blocks(&target, cmd, 0, &block, 1) != 1)
			ret = failed(args[i], errno, reason(errno));
	}
	return ret;
}

static int do_commit(char **args, int nr, const struct options *options)
{
	return change_blocks(args, nr, options, ND_POOL_COMMIT);
}

static int do_free(char **args, int nr, const struct options *options)
{
	return change_blocks(args, nr, options, ND_POOL_FREE);
}

static int do_root(char **args, int nr, const struct options *options)
{
	unsigned long long index, old = 0, next = 0;
	struct nd_pool_root root = { };
	struct nd_pool_info info;
	struct target target;
	int ret;

	(void)options;
	if (nr == 3)
		return failed(args[2], EINVAL, "give OLD and NEW, or neither");
	if (!parse_number(args[1], &index) || index >= ND_POOL_NR_ROOTS)
		return failed(args[1], EINVAL, "no root");
	if (nr == 4 && (!parse_number(args[2], &old) || !parse_number(args[3], &next)))
		return failed(args[2], EINVAL, "OLD and NEW are numbers");
	ret = pool_open(&target, args[0], nr == 4 ? O_RDWR : O_RDONLY, &info);
	if (ret)
		return ret;
	root.index = index;
	root.value = old;
	root.next = next;
	if (ioctl(target.fd, nr == 4 ? ND_POOL_CAS_ROOT : ND_POOL_GET_ROOT, &root)) {
		if (errno != EAGAIN)
			return failed(target.path, errno, reason(errno));
		ret = EXIT_FOUND;
	}
	printf("%#llx\n", (unsigned long long)root.value);
	return ret;
}

/* ---- Commands ---- */

static const struct option long_options[] = {
	{ "force", no_argument, NULL, 'f' },
	{ "size", required_argument, NULL, 's' },
	{ "no-attach", no_argument, NULL, 'n' },
	{ "order", required_argument, NULL, 'o' },
	{ "nr", required_argument, NULL, 'r' },
	{ "commit", no_argument, NULL, 'c' },
	{ "uncommitted", no_argument, NULL, 'u' },
	{ "help", no_argument, NULL, 'h' },
	{ }
};

static const struct command {
	const char *name;
	const char *options;	/* characters of long_options that are allowed */
	int min_args, max_args;
	int (*run)(char **args, int nr, const struct options *options);
	const char *synopsis;
	const char *help;
} commands[] = {
	{
		"create", "fsn", 1, 1, do_create,
		"[--force] [--no-attach] [--size SIZE] DEV|FILE",
		"Make a pool, all of whose frames are free, and print its uuid. DEV is\n"
		"/dev/pmemN of a namespace in mode raw. It is given to the driver nd_pool, and\n"
		"the name of the pool's device is printed.\n\n"
		"  -f, --force      overwrite a pool, or other data, in the first 128 KiB\n"
		"  -n, --no-attach  leave DEV with its driver\n"
		"  -s, --size SIZE  make FILE, of this size (suffix K, M, G or T)\n",
	}, {
		"info", "", 1, 1, do_info, "DEV|FILE",
		"Print what a pool is, as lines of a key, a colon and a value. Sizes are in\n"
		"bytes. DEV is /dev/ndpoolN; or it is /dev/pmemN, or a file, with a pool that is\n"
		"not attached: state then says whether that ended properly (clean), by a crash\n"
		"(dirty), or never began (new), and free what would be free if it was attached.\n",
	}, {
		"check", "", 1, 1, do_check, "DEV|FILE",
		"Check a pool, and write nothing. Of one that is not attached, look at both\n"
		"superblocks, the state, the bits of metadata, the checksum of all bits if it is\n"
		"clean, and print roots that are not 0. Of /dev/ndpoolN, compare the committed\n"
		"bits with what is free.\n\n"
		"The exit status is 0 if the pool is clean or new; 1 if it is dirty, or a superblock\n"
		"has to be written again, which attaching it does; 2 if allocations may be\n"
		"wrong or the pool cannot be attached; 3 if this cannot be found out, or there\n"
		"is no pool.\n",
	}, {
		"sweep", "f", 2, 2, do_sweep, "[--force] DEV MAP",
		"Free all frames that no block of a map has. A crash can leave such frames; the\n"
		"program whose pool it is can find out which blocks it uses. MAP is a file, or -\n"
		"for standard input, with a line of OFFSET and ORDER for each block. The number\n"
		"of frames is printed that were freed, and of those of the map that were free:\n"
		"these may get other owners. No other program may have DEV open.\n\n"
		"  -f, --force      take an empty map, which frees all\n\n"
		"The exit status is 1 if frames were missing.\n",
	}, {
		"alloc", "orcu", 1, 1, do_alloc, "[--order N] [--nr N] DEV",
		"Allocate blocks, commit them, and print a line of OFFSET and ORDER for each.\n\n"
		"  -o, --order N      of 2^N frames of 4 KiB, 0..10; the default is 0\n"
		"  -r, --nr N         number of blocks; the default is 1\n"
		"  -c, --commit       this is the default\n"
		"  -u, --uncommitted  do not commit them. They are free when the last program\n"
		"                     closes DEV, so this is for tests.\n",
	}, {
		"commit", "o", 2, INT_MAX, do_commit, "[--order N] DEV OFFSET...",
		"Commit blocks that are allocated: they stay so after a crash, and after DEV is\n"
		"closed.\n\n"
		"  -o, --order N    of 2^N frames of 4 KiB, 0..10; the default is 0\n",
	}, {
		"free", "o", 2, INT_MAX, do_free, "[--order N] DEV OFFSET...",
		"Free blocks.\n\n"
		"  -o, --order N    of 2^N frames of 4 KiB, 0..10; the default is 0\n",
	}, {
		"root", "", 2, 4, do_root, "DEV INDEX [OLD NEW]",
		"Print a root, a word that says where a program's data begins, 0..63. With OLD\n"
		"and NEW, make it NEW if it is OLD, and print what it was. The exit status is 1\n"
		"if it was not OLD.\n",
	},
};

static void usage(FILE *to)
{
	size_t i;

	fprintf(to, "llpool - pools of page frames in persistent memory\n\n");
	for (i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(to, "    llpool %s %s\n", commands[i].name, commands[i].synopsis);
	fprintf(to, "\n\"llpool COMMAND --help\" says more. The exit status is 0; 1 and 2 if a\n"
		"command found something, as its help says; 3 if it could not be done.\n");
}

static int command_help(const struct command *command)
{
	printf("NAME\n  llpool-%s\n\nSYNOPSIS\n  llpool %s %s\n\nDESCRIPTION\n%s",
	       command->name, command->name, command->synopsis, command->help);
	return 0;
}

static int bad_usage(const struct command *command, const char *why)
{
	fprintf(stderr, "llpool: %s: %s\nllpool %s %s\n", command->name, why, command->name,
		command->synopsis);
	return EXIT_FAILED;
}

static int run_command(const struct command *command, int argc, char **argv)
{
	struct options options = { .nr = 1 };
	int c;

	while ((c = getopt_long(argc, argv, "fns:o:r:cuh", long_options, NULL)) != -1) {
		if (c == 'h')
			return command_help(command);
		if (c == '?' || !strchr(command->options, c))
			return bad_usage(command, "no such option");
		switch (c) {
		case 'f':
			options.force = true;
			break;
		case 'n':
			options.no_attach = true;
			break;
		case 's':
			options.size = optarg;
			break;
		case 'o':
			if (!parse_number(optarg, &options.order) ||
			    options.order > ND_POOL_MAX_ORDER)
				return bad_usage(command, "an order is 0..10");
			break;
		case 'r':
			if (!parse_number(optarg, &options.nr) || !options.nr ||
			    options.nr > INT_MAX)
				return bad_usage(command, "no number of blocks");
			break;
		case 'u':
			options.uncommitted = true;
			break;
		}
	}
	argc -= optind;
	if (argc < command->min_args || argc > command->max_args)
		return bad_usage(command, "wrong number of arguments");
	return command->run(argv + optind, argc, &options);
}

int main(int argc, char **argv)
{
	size_t i;
	int ret;

	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
		usage(stdout);
		return 0;
	}
	for (i = 0; argc > 1 && i < ARRAY_SIZE(commands); i++) {
		if (strcmp(argv[1], commands[i].name))
			continue;
		ret = run_command(&commands[i], argc - 1, argv + 1);
		if (fflush(stdout) || ferror(stdout))
			return failed("standard output", EIO, "cannot be written");
		return ret;
	}
	usage(stderr);
	return EXIT_FAILED;
}
