// SPDX-License-Identifier: GPL-2.0
/*
 * An emulated driver of pools, linked into the program under test.
 *
 * The linker replaces ioctl(), mmap() and flock() by the functions here, which use
 * lib/llfree/pool.c on the file that ND_POOL_FILE names. A test opens /dev/null instead of
 * /dev/ndpoolN.
 *
 * The medium loses lines that were not written back before a fence. The program and the
 * core use a private mapping of the file. A write-back copies lines to a queue of the
 * thread. A fence copies this queue to the file, except lines of which the file has a later
 * state. With ND_POOL_EVICT=1 a fence also copies some recent lines as they are now, as
 * caches do. SIGKILL is the crash. With ND_POOL_CRASH=N, fence number N raises it; with
 * ND_POOL_CALLS=1, ioctl() number N does.
 *
 * With the address sanitizer, frames that are not allocated may not be accessed.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/align.h>
#include <linux/bitops.h>
#include <linux/llfree_pool.h>
#include <linux/minmax.h>

#include "linux/nd_pool.h"
#include "../../../samples/nd_pool/persist.h"
#include "emulate.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define __asan_poison_memory_region(start, size)	((void)(start), (void)(size))
#define __asan_unpoison_memory_region(start, size)	((void)(start), (void)(size))
#endif

#define LINE		64UL
#define FRAME_BYTES	BIT(LLFREE_POOL_FRAME_SHIFT)
#define NR_SLOTS	4
#define NR_LATE		256UL
#define EVICTIONS	8

static struct {
	pthread_once_t once;
	int error;
	int fd;
	bool evict;
	char *base;		/* mapping for the program */
	char *durable;		/* content after a crash */
	struct llfree_pool core;
	struct llfree_pool_medium medium;
	struct llfree_memory mem;
	struct llfree_local locals[NR_SLOTS];
} emu = { .once = PTHREAD_ONCE_INIT, .fd = -1 };

/* ---- The medium ---- */

/* A line, and which state of it that is */
struct line {
	size_t offset;
	u64 state;
	u64 words[LINE / sizeof(u64)];
};

/* Lines that a thread has begun to write back */
static __thread struct {
	struct line *lines;
	size_t nr;
	size_t space;
} queue;

/* Protects all that follows, and the file */
static pthread_mutex_t medium_lock = PTHREAD_MUTEX_INITIALIZER;
static u64 last_state;
static u64 *durable_state;	/* of each line in the file */
static size_t late[NR_LATE];
static size_t nr_late;
static u64 random_state;
static long crash_in = -1;
static bool count_calls;

void persist_init(bool caches_persist)
{
}

/* Words stay whole. The line may be of a frame that was freed meanwhile. */
__attribute__((no_sanitize_address))
static void line_read(struct line *line, size_t offset)
{
	const u64 *from = (u64 *)(emu.base + offset);
	unsigned int i;

	line->offset = offset;
	line->state = ++last_state;
	for (i = 0; i < LINE / sizeof(u64); i++)
		line->words[i] = READ_ONCE(from[i]);
}

static void line_write(const struct line *line)
{
	u64 *to = (u64 *)(emu.durable + line->offset);
	unsigned int i;

	if (durable_state[line->offset / LINE] > line->state)
		return;
	durable_state[line->offset / LINE] = line->state;
	for (i = 0; i < LINE / sizeof(u64); i++)
		WRITE_ONCE(to[i], line->words[i]);
}

void write_back(const void *start, size_t size)
{
	size_t at = ALIGN_DOWN((const char *)start - emu.base, LINE);
	const size_t end = (const char *)start - emu.base + size;

	pthread_mutex_lock(&medium_lock);
	for (; at < end; at += LINE) {
		if (queue.nr == queue.space) {
			queue.space = queue.space * 2 + 64;
			queue.lines = realloc(queue.lines, queue.space * sizeof(*queue.lines));
			if (!queue.lines)
				abort();
		}
		line_read(&queue.lines[queue.nr++], at);
	}
	pthread_mutex_unlock(&medium_lock);
}

static void evict(void)
{
	struct line line;
	unsigned int i;

	for (i = 0; i < EVICTIONS; i++) {
		random_state = random_state * 6364136223846793005ULL + 1442695040888963407ULL;
		line_read(&line, late[(random_state >> 32) % NR_LATE]);
		line_write(&line);
	}
}

static void maybe_crash(void)
{
	if (!--crash_in)
		kill(getpid(), SIGKILL);
}

void fence(void)
{
	size_t i;

	pthread_mutex_lock(&medium_lock);
	for (i = 0; i < queue.nr; i++) {
		line_write(&queue.lines[i]);
		/* Of large blocks a few */
		if (i < NR_LATE / 16)
			late[nr_late++ % NR_LATE] = queue.lines[i].offset;
	}
	if (emu.evict)
		evict();
	if (!count_calls)
		maybe_crash();
	pthread_mutex_unlock(&medium_lock);
	queue.nr = 0;
}

static void medium_write_back(const struct llfree_pool_medium *m, const void *start,
			      size_t size)
{
	write_back(start, size);
}

static void medium_fence(const struct llfree_pool_medium *m)
{
	fence();
}

/* ---- Attach ---- */

/* Frames of a range of rows that are allocated may be accessed, and no others. */
static void allow(unsigned long first, unsigned long end)
{
	unsigned long at;
	char *frame;

	for (at = first; at < end; at++) {
		frame = emu.base + at * FRAME_BYTES;
		if (llfree_row_mask(&emu.core.core, ALIGN_DOWN(at, 64)) >> at % 64 & 1)
			__asan_poison_memory_region(frame, FRAME_BYTES);
		else
			__asan_unpoison_memory_region(frame, FRAME_BYTES);
	}
}

static int get_memory(const struct llfree_pool_super *super)
{
	const int ret = llfree_pool_layout(super, NR_SLOTS, &emu.mem);

	if (ret)
		return ret;
	emu.mem.rows = aligned_alloc(LINE, ALIGN(emu.mem.rows_size, LINE));
	emu.mem.children = aligned_alloc(LINE, ALIGN(emu.mem.children_size, LINE));
	emu.mem.trees = aligned_alloc(LINE, ALIGN(emu.mem.trees_size, LINE));
	return emu.mem.rows && emu.mem.children && emu.mem.trees ? 0 : -ENOMEM;
}

static void detach(void)
{
	llfree_pool_detach(&emu.core);
}

static int map_file(const char *path)
{
	struct stat st;

	emu.fd = open(path, O_RDWR | O_CLOEXEC);
	if (emu.fd < 0 || fstat(emu.fd, &st))
		return -errno;
	if (__real_flock(emu.fd, LOCK_EX | LOCK_NB))
		return -EBUSY;
	emu.durable = __real_mmap(NULL, st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, emu.fd,
				  0);
	emu.base = __real_mmap(NULL, st.st_size, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_NORESERVE, emu.fd, 0);
	if (emu.durable == MAP_FAILED || emu.base == MAP_FAILED)
		return -ENOMEM;
	durable_state = __real_mmap(NULL, st.st_size / LINE * sizeof(*durable_state),
				    PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (durable_state == MAP_FAILED)
		return -ENOMEM;
	emu.medium = (struct llfree_pool_medium) {
		.base = emu.base, .size = st.st_size,
		.write_back = medium_write_back, .fence = medium_fence,
	};
	return 0;
}

static void attach(void)
{
	const char *path = getenv("ND_POOL_FILE");
	struct llfree_pool_super super;

	emu.evict = getenv("ND_POOL_EVICT");
	random_state = getpid();
	emu.error = !path ? -ENOTTY :
		    map_file(path) ?: llfree_pool_probe(&emu.medium, &super) ?:
		    get_memory(&super) ?:
		    llfree_pool_attach(&emu.core, &emu.medium, &emu.mem, emu.locals, NR_SLOTS);
	if (emu.error)
		return;
	allow(emu.core.first, emu.core.frames);
	if (getenv("ND_POOL_CRASH"))
		crash_in = atol(getenv("ND_POOL_CRASH"));
	count_calls = getenv("ND_POOL_CALLS");
	if (getenv("ND_POOL_READ_ONLY"))
		llfree_pool_set_read_only(&emu.core);
	atexit(detach);
}

/* ---- The interface: see include/uapi/linux/nd_pool.h ---- */

static int do_info(struct nd_pool_info *info)
{
	struct llfree_pool_stats stats;

	llfree_pool_stats(&emu.core, &stats);
	*info = (struct nd_pool_info) {
		.size = emu.core.frames * FRAME_BYTES,
		.first = emu.core.first * FRAME_BYTES,
		.free = stats.free * FRAME_BYTES,
		.free_huge = stats.free_huge * LLFREE_CHILD_FRAMES * FRAME_BYTES,
		.session = emu.core.session,
		.bad_rows = emu.core.bad_rows,
		.flags = (emu.core.was_dirty ? ND_POOL_WAS_DIRTY : 0) |
			 (emu.core.rows_damaged ? ND_POOL_ROWS_DAMAGED : 0) |
			 (emu.core.read_only ? ND_POOL_READ_ONLY : 0),
		.persistence = ND_POOL_WRITE_BACK,
	};
	memcpy(info->uuid, emu.core.uuid, sizeof(info->uuid));
	return 0;
}

static int alloc_block(u64 *block, unsigned int flags)
{
	const unsigned int order = *block & ND_POOL_ORDER_MASK;
	const long frame = llfree_pool_alloc(&emu.core, order);
	const size_t size = FRAME_BYTES << order;
	char *start;

	if (frame < 0)
		return frame;
	start = emu.base + frame * FRAME_BYTES;
	__asan_unpoison_memory_region(start, size);
	memset(start, 0, size);
	write_back(start, size);
	*block = frame * FRAME_BYTES | order;
	return flags & ND_POOL_COMMITTED ? llfree_pool_commit(&emu.core, frame, order) : 0;
}

static int free_block(u64 block)
{
	const unsigned long frame = block / FRAME_BYTES;
	const unsigned int order = block & ND_POOL_ORDER_MASK;
	const bool ours = order <= LLFREE_MAX_ORDER && frame >= emu.core.first &&
			  frame + (1UL << order) <= emu.core.frames;
	int ret;

	/* As the driver does, unmap it first. */
	if (ours)
		__asan_poison_memory_region(emu.base + frame * FRAME_BYTES,
					    FRAME_BYTES << order);
	ret = llfree_pool_free(&emu.core, frame, order);
	if (ret && ours)
		allow(frame, frame + (1UL << order));
	return ret;
}

static int do_blocks(unsigned long cmd, const struct nd_pool_blocks *arg)
{
	u64 *blocks = (u64 *)arg->blocks;
	int ret = 0;
	u32 i;

	for (i = 0; i < arg->nr && !ret; i++) {
		if (cmd == ND_POOL_ALLOC)
			ret = alloc_block(&blocks[i], arg->flags);
		else if (cmd == ND_POOL_COMMIT)
			ret = llfree_pool_commit(&emu.core, blocks[i] / FRAME_BYTES,
						 blocks[i] & ND_POOL_ORDER_MASK);
		else
			ret = free_block(blocks[i]);
	}
	llfree_pool_sync(&emu.core);
	return ret ? (i > 1 ? i - 1 : ret) : i;
}

static int do_rows(unsigned long cmd, struct nd_pool_rows *arg)
{
	const unsigned long first = arg->offset / FRAME_BYTES;
	struct llfree_pool_swept swept = { };
	u64 *rows = (u64 *)arg->rows;
	unsigned long frames;
	int ret = 0;
	u64 i;

	if (arg->offset % (LLFREE_ROW_FRAMES * FRAME_BYTES) || first < emu.core.first ||
	    first > emu.core.frames ||
	    arg->nr > ALIGN(emu.core.frames - first, LLFREE_ROW_FRAMES) / LLFREE_ROW_FRAMES)
		return -EINVAL;
	frames = min(arg->nr * LLFREE_ROW_FRAMES, emu.core.frames - first);
	if (cmd == ND_POOL_SWEEP) {
		ret = llfree_pool_sweep(&emu.core, first, frames, rows, &swept);
		allow(first, first + frames);
	} else {
		for (i = 0; i < arg->nr; i++)
			rows[i] = llfree_pool_committed(&emu.core, first + i * LLFREE_ROW_FRAMES);
	}
	arg->freed = swept.freed;
	arg->missing = swept.missing;
	return ret;
}

static int do_root(unsigned long cmd, struct nd_pool_root *root)
{
	u64 value = root->value;
	int ret = 0;

	if (root->pad || root->index >= LLFREE_POOL_NR_ROOTS)
		return -EINVAL;
	if (cmd == ND_POOL_CAS_ROOT)
		ret = llfree_pool_root_cas(&emu.core, root->index, &value, root->next);
	else
		value = llfree_pool_root(&emu.core, root->index);
	root->value = value;
	return ret;
}

static int do_ioctl(unsigned long cmd, void *arg)
{
	switch (cmd) {
	case ND_POOL_INFO:
		return do_info(arg);
	case ND_POOL_ALLOC:
	case ND_POOL_COMMIT:
	case ND_POOL_FREE:
		return do_blocks(cmd, arg);
	case ND_POOL_GET_ROOT:
	case ND_POOL_CAS_ROOT:
		return do_root(cmd, arg);
	case ND_POOL_GET_ROWS:
	case ND_POOL_SWEEP:
		return do_rows(cmd, arg);
	default:
		return -ENOTTY;
	}
}

static bool is_device(int fd)
{
	struct stat st;

	return !fstat(fd, &st) && S_ISCHR(st.st_mode);
}

int __wrap_ioctl(int fd, unsigned long cmd, ...)
{
	va_list args;
	void *arg;
	int ret;

	va_start(args, cmd);
	arg = va_arg(args, void *);
	va_end(args);
	if (!is_device(fd))
		return __real_ioctl(fd, cmd, arg);
	pthread_once(&emu.once, attach);
	ret = emu.error ?: do_ioctl(cmd, arg);
	if (count_calls) {
		pthread_mutex_lock(&medium_lock);
		maybe_crash();
		pthread_mutex_unlock(&medium_lock);
	}
	if (ret >= 0)
		return ret;
	errno = -ret;
	return -1;
}

void *__wrap_mmap(void *addr, size_t size, int prot, int flags, int fd, off_t offset)
{
	if (fd < 0 || !is_device(fd))
		return __real_mmap(addr, size, prot, flags, fd, offset);
	pthread_once(&emu.once, attach);
	if (!emu.error)
		return emu.base + offset;
	errno = -emu.error;
	return MAP_FAILED;
}

int __wrap_flock(int fd, int op)
{
	return is_device(fd) ? 0 : __real_flock(fd, op);
}
