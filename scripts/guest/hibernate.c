// SPDX-License-Identifier: GPL-2.0
/*
 * First process of a guest that hibernates, and is resumed by another QEMU.
 *
 * scripts/features makes an initramfs of this program, since no file system of
 * the host survives the suspension. The program fills memory, remembers what it
 * wrote, suspends to /dev/vda, and compares after the resume. Children allocate
 * and free all the time, before and after. With hibernate_resume on its command
 * line, a kernel that starts this program has found no image, which is a failure.
 *
 * Lines go to the virtio ports of scripts/vm.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE		4096UL
#define HUGE		(2UL << 20)
#define NR_CHILDREN	3
/* What the kernel has in use after the resume, at most */
#define FREE_SLACK_KB	(16 << 10)
#define VALIDATE	"/sys/kernel/debug/page_alloc/validate"

static char out_port[64], status_port[64];
static bool failed;

static void write_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		fprintf(stderr, "hibernate: %s: %s\n", path, strerror(errno));
	if (fd >= 0)
		close(fd);
}

static void say(const char *format, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	fputs(text, stderr);
	write_to(out_port, text);
}

static void result(bool good, const char *text)
{
	failed |= !good;
	say("%s %s\n", good ? "pass" : "fail", text);
}

/* The exit status is for scripts/vm, which then waits for the end of QEMU. */
static void end(int status)
{
	char text[32];

	snprintf(text, sizeof(text), "exit %d\n", status);
	write_to(status_port, text);
}

static void power_off(int status)
{
	end(status);
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

static void die(const char *what)
{
	say("fail %s: %s\n", what, strerror(errno));
	power_off(1);
}

static void find_ports(void)
{
	char path[320], name[64];
	struct dirent *entry;
	DIR *dir;

	dir = opendir("/sys/class/virtio-ports");
	while (dir && (entry = readdir(dir))) {
		FILE *file;

		snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name",
			 entry->d_name);
		file = fopen(path, "r");
		if (!file)
			continue;
		if (fscanf(file, "%63s", name) == 1) {
			if (!strcmp(name, "vm.out"))
				snprintf(out_port, sizeof(out_port), "/dev/%.40s",
					 entry->d_name);
			if (!strcmp(name, "vm.status"))
				snprintf(status_port, sizeof(status_port),
					 "/dev/%.40s", entry->d_name);
		}
		fclose(file);
	}
	if (dir)
		closedir(dir);
}

static unsigned long memory_kb(const char *key)
{
	unsigned long kb = 0;
	char line[128];
	FILE *file = fopen("/proc/meminfo", "r");

	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, key, strlen(key)))
			sscanf(line + strlen(key), ": %lu", &kb);
	if (file)
		fclose(file);
	return kb;
}

/* Free pages of the zones and of the per-CPU lists, in KiB */
static unsigned long free_kb(void)
{
	unsigned long kb = memory_kb("MemFree"), nr;
	char line[128];
	FILE *file;

	write_to("/proc/sys/vm/stat_refresh", "1");
	file = fopen("/proc/zoneinfo", "r");
	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, " count: %lu", &nr) == 1)
			kb += nr * PAGE / 1024;
	if (file)
		fclose(file);
	return kb;
}

static uint64_t word(uint64_t i)
{
	i = (i + 0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9;
	return i ^ i >> 29;
}

/* Small pages, huge pages, and small pages with holes between them */
struct area {
	uint64_t *start;
	size_t size;
	bool holes;
};

static struct area areas[3];
static unsigned long free_first;	/* KiB, before anything is allocated */

static bool in_hole(const struct area *a, size_t page)
{
	return a->holes && page % 3 == 1;
}

static void fill(struct area *a, size_t size, int advice, bool holes)
{
	size_t i;

	a->size = size & -HUGE;
	a->holes = holes;
	a->start = mmap(NULL, a->size, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (a->start == MAP_FAILED)
		die("mmap");
	madvise(a->start, a->size, advice);
	for (i = 0; i < a->size / 8; i++)
		a->start[i] = word(i);
	for (i = 0; i < a->size / PAGE; i++)
		if (in_hole(a, i))
			madvise((char *)a->start + i * PAGE, PAGE, MADV_DONTNEED);
}

static size_t differences(const struct area *a)
{
	size_t i, nr = 0;

	for (i = 0; i < a->size / 8; i++)
		nr += a->start[i] != (in_hole(a, i * 8 / PAGE) ? 0 : word(i));
	return nr;
}

/* Allocates and frees while the system is suspended and resumed. */
static void child(int nr)
{
	unsigned int seed = nr;

	for (;;) {
		size_t size = (1 + rand_r(&seed) % 512) * PAGE, i;
		char *at = mmap(NULL, size, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (at == MAP_FAILED)
			exit(1);
		for (i = 0; i < size; i += PAGE)
			at[i] = nr;
		for (i = 0; i < size; i += PAGE)
			if (at[i] != nr)
				exit(2);
		munmap(at, size);
	}
}

static bool validated(void)
{
	FILE *file = fopen(VALIDATE, "r");
	bool good = false;
	char line[256];

	if (!file) {
		say("note no %s: not LLFree\n", VALIDATE);
		return true;
	}
	while (fgets(line, sizeof(line), file))
		good = !strcmp(line, "ok\n");
	fclose(file);
	return good;
}

static void after_resume(pid_t *pids)
{
	struct area more;
	unsigned int i;
	bool same = true;
	int status;

	for (i = 0; i < 3; i++)
		same &= !differences(&areas[i]);
	result(same, "memory is what it was");
	for (i = 0; i < NR_CHILDREN; i++)
		if (waitpid(pids[i], &status, WNOHANG))
			same = false;
	result(same, "programs go on");
	/* The resumed kernel's allocator works on. */
	fill(&more, memory_kb("MemAvailable") * 1024 / 2, MADV_NOHUGEPAGE, true);
	result(!differences(&more), "new memory is usable");
	for (i = 0; i < 3; i++)
		munmap(areas[i].start, areas[i].size);
	munmap(more.start, more.size);
	write_to("/proc/sys/vm/compact_memory", "1");
	fill(&more, memory_kb("MemAvailable") * 1024 / 2, MADV_HUGEPAGE, false);
	result(!differences(&more), "freed memory is usable");
	munmap(more.start, more.size);
	for (i = 0; i < NR_CHILDREN; i++) {
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
	}
	write_to("/proc/sys/vm/drop_caches", "3");
	say("note %lu KiB free at first, now %lu\n", free_first,
	    free_kb());
	result(free_kb() + FREE_SLACK_KB > free_first,
	       "as much memory is free as at first");
	result(validated(), "validate says ok");
}

int main(void)
{
	pid_t pids[NR_CHILDREN];
	unsigned long bytes;
	unsigned int i;

	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
	find_ports();
	if (getenv("hibernate_resume")) {
		/* The kernel starts a first process only if there is no image. */
		say("fail the kernel has not resumed\n");
		power_off(1);
	}
	if (swapon("/dev/vda", 0))
		die("swapon");
	free_first = free_kb();
	for (i = 0; i < NR_CHILDREN; i++) {
		pids[i] = fork();
		if (!pids[i])
			child(i + 1);
	}
	/* The image needs nearly as much memory again. */
	bytes = memory_kb("MemAvailable") * 1024 / 3;
	fill(&areas[0], bytes / 3, MADV_NOHUGEPAGE, false);
	fill(&areas[1], bytes / 3, MADV_HUGEPAGE, false);
	fill(&areas[2], bytes / 3, MADV_NOHUGEPAGE, true);
	say("note %lu MiB in memory\n", bytes >> 20);

	write_to("/sys/power/disk", "shutdown");
	/* The QEMU that is suspended ends without another word. */
	end(0);
	write_to("/sys/power/state", "disk");

	/* Another QEMU, or the same one if the kernel refused. */
	say("note resumed\n");
	after_resume(pids);
	power_off(failed);
}
