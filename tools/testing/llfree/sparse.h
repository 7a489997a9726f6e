/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory for the words of an instance that grows: pages of a file, which are
 * mapped again whenever the range changes, with the pages of holes between them
 */
#ifndef _LLFREE_TEST_SPARSE_H
#define _LLFREE_TEST_SPARSE_H

#include <linux/llfree.h>
#include <stdbool.h>

/* Frames of a page of rows: these come and go together. */
#define SECTION		(4096UL * 8)
#define SECTIONS	1024
/* Rows, children, and trees of each view */
#define SPARSE_ARRAYS	(2 + LLFREE_ALLOC_VIEWS)

/**
 * struct sparse - the memory of the words
 * @fd: the file
 * @busy: other threads run, which may try to change a hole without success;
 *	else a try ends the program
 * @pages: number of pages of the file
 * @page: for each page of an array, its place in the file; 0 for a hole
 * @maps: all mappings that were made, which stay until sparse_forget(), and the
 *	sections that they have
 * @nr_maps: number of @maps in use
 */
struct sparse {
	int fd;
	bool busy;
	unsigned int pages;
	unsigned int page[SPARSE_ARRAYS][SECTIONS];
	struct {
		void *start;
		unsigned long first;
		unsigned long end;
	} maps[256];
	unsigned int nr_maps;
};

void sparse_init(struct sparse *sp);
void sparse_exit(struct sparse *sp);
/* Do holes still have their words? */
bool sparse_intact(struct sparse *sp);
/* Give sections [@section, @section + @nr) memory that can be written. */
void sparse_add(struct sparse *sp, unsigned long section, unsigned long nr);
/* Replace the rows of a section by those of a hole, in all mappings. */
void sparse_remove(struct sparse *sp, unsigned long section);
/* Unmap all mappings but the last one: an access to them ends the program. */
void sparse_forget(struct sparse *sp);
/* Map the present pages for the frames [@first, @first + @nr). */
void sparse_map(struct sparse *sp, unsigned long first, unsigned long nr,
		struct llfree_memory *mem);

#endif /* _LLFREE_TEST_SPARSE_H */
