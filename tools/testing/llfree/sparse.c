// SPDX-License-Identifier: GPL-2.0
#include <linux/align.h>
#include <linux/kernel.h>
#include <linux/minmax.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sparse.h"
#include "words.h"

#define PAGE	4096UL

/* Bytes of the words of an array for a section */
static const unsigned int section_bytes[SPARSE_ARRAYS] = {
	SECTION / 8, SECTION / LLFREE_CHILD_FRAMES * sizeof(u16),
	[2 ... SPARSE_ARRAYS - 1] = SECTION / LLFREE_MIN_TREE_FRAMES * sizeof(u32),
};

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "# sparse: %s: %s\n", what, strerror(errno));
	abort();
}

/* The arrays of a mapping all start with frame 0. */
static size_t array_size(unsigned int array)
{
	return ALIGN(SECTIONS * section_bytes[array], PAGE);
}

static size_t array_start(unsigned int array)
{
	return array ? array_start(array - 1) + array_size(array - 1) : 0;
}

/*
 * Fill a page with the words of a hole, as the first three pages of the file
 * are.
 */
static void fill(void *page, unsigned int array)
{
	u16 *children = page;
	u32 *trees = page;
	unsigned int i;

	if (array == 1)
		for (i = 0; i < PAGE / sizeof(*children); i++)
			children[i] = LLFREE_HOLE_CHILD;
	else if (array > 1)
		for (i = 0; i < PAGE / sizeof(*trees); i++)
			trees[i] = LLFREE_HOLE_TREE;
}

static unsigned int page_new(struct sparse *sp, unsigned int array)
{
	unsigned int page = sp->pages++;
	void *p;

	check(!ftruncate(sp->fd, sp->pages * PAGE), "ftruncate");
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, sp->fd, page * PAGE);
	check(p != MAP_FAILED, "mmap");
	fill(p, array);
	munmap(p, PAGE);
	return page;
}

void sparse_init(struct sparse *sp)
{
	unsigned int array;

	memset(sp, 0, sizeof(*sp));
	sp->fd = memfd_create("llfree", 0);
	check(sp->fd >= 0, "memfd_create");
	for (array = 0; array < 3; array++)
		page_new(sp, array);
}

void sparse_exit(struct sparse *sp)
{
	while (sp->nr_maps--)
		munmap(sp->maps[sp->nr_maps].start, array_start(SPARSE_ARRAYS));
	close(sp->fd);
}

bool sparse_intact(struct sparse *sp)
{
	char page[PAGE], wanted[PAGE];
	unsigned int array;

	for (array = 0; array < 3; array++) {
		memset(wanted, 0, PAGE);
		fill(wanted, array);
		if (pread(sp->fd, page, PAGE, array * PAGE) != PAGE ||
		    memcmp(page, wanted, PAGE))
			return false;
	}
	return true;
}

void sparse_add(struct sparse *sp, unsigned long section, unsigned long nr)
{
	unsigned long end = section + nr, page;
	unsigned int array;

	for (; section < end; section++)
		for (array = 0; array < SPARSE_ARRAYS; array++) {
			page = section * section_bytes[array] / PAGE;
			if (!sp->page[array][page])
				sp->page[array][page] = page_new(sp, array);
		}
}

/* Map one page of an array, or the page of holes. */
static void map_page(struct sparse *sp, void *at, unsigned int array, unsigned long page)
{
	unsigned int real = sp->page[array][page];
	void *p;

	p = mmap(at, PAGE, PROT_READ | (real || sp->busy ? PROT_WRITE : 0),
		 MAP_SHARED | MAP_FIXED, sp->fd, (real ?: min(array, 2U)) * PAGE);
	check(p == at, "mmap of a page");
}

void sparse_map(struct sparse *sp, unsigned long first, unsigned long nr,
		struct llfree_memory *mem)
{
	const size_t size = array_start(SPARSE_ARRAYS);
	unsigned long page, base = ALIGN_DOWN(first, LLFREE_MIN_TREE_FRAMES);
	unsigned long end = ALIGN(first + nr, LLFREE_MIN_TREE_FRAMES);
	unsigned int array;
	void *start;

	check(!llfree_layout(first, nr, LLFREE_MIN_TREE_ORDER, mem), "layout");
	check(sp->nr_maps < ARRAY_SIZE(sp->maps), "mappings");
	/* An access to an address that is not mapped below ends the program. */
	start = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		     -1, 0);
	check(start != MAP_FAILED, "mmap");
	sp->maps[sp->nr_maps].start = start;
	sp->maps[sp->nr_maps].first = base / SECTION;
	sp->maps[sp->nr_maps++].end = ALIGN(end, SECTION) / SECTION;
	for (array = 0; array < SPARSE_ARRAYS; array++)
		for (page = base / SECTION * section_bytes[array] / PAGE;
		     page * PAGE < ALIGN(end, SECTION) / SECTION * section_bytes[array]; page++)
			map_page(sp, start + array_start(array) + page * PAGE, array, page);
	mem->rows = start + base / 8;
	mem->children = start + array_start(1) + base / LLFREE_CHILD_FRAMES * sizeof(u16);
	mem->trees = start + array_start(2) + base / LLFREE_MIN_TREE_FRAMES * sizeof(u32);
	mem->trees_stride = array_size(2);
	mem->trees_size = LLFREE_ALLOC_VIEWS * mem->trees_stride;
}

void sparse_forget(struct sparse *sp)
{
	const size_t size = array_start(SPARSE_ARRAYS);
	void *p;

	while (sp->nr_maps > 1) {
		sp->nr_maps--;
		/* No other mapping may get these addresses. */
		p = mmap(sp->maps[0].start, size, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
		check(p == sp->maps[0].start, "mmap of what is forgotten");
		memmove(sp->maps, sp->maps + 1, sp->nr_maps * sizeof(sp->maps[0]));
	}
}

void sparse_remove(struct sparse *sp, unsigned long section)
{
	unsigned int i;

	sp->page[0][section] = 0;
	for (i = 0; i < sp->nr_maps; i++)
		if (section >= sp->maps[i].first && section < sp->maps[i].end)
			map_page(sp, sp->maps[i].start + section * PAGE, 0, section);
}
