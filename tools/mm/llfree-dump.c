// SPDX-License-Identifier: GPL-2.0
/*
 * llfree-dump: list the page frames that were free when a dump was taken.
 *
 * The program reads an ELF core of physical memory, as /proc/vmcore or QEMU's
 * command dump-guest-memory gives it, of an x86-64 kernel whose zones LLFree
 * keeps. Addresses and offsets come from the note VMCOREINFO. A walk of the
 * kernel's page tables finds the bitmaps. Documentation/mm/llfree.rst describes
 * the steps.
 *
 * The program does not trust the dump: it checks each value before its use.
 */
/* __u64 is unsigned long long everywhere. */
#define __SANE_USERSPACE_TYPES__

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/elf.h>
#include <linux/types.h>

/* LLFREE_LAYOUT in lib/llfree/words.h of the kernels that can be read */
#define KNOWN_LAYOUT	3

/* Exit status */
#define EXIT_DAMAGED	1
#define EXIT_BUDDY	2
#define EXIT_UNKNOWN	3

#define PAGE		4096U
#define KERNEL_MAP	0xffffffff80000000ULL

#define MAX_HEADERS	(16U << 20)
#define MAX_NOTES	(256U << 20)
#define MAX_INFO	(64U << 10)
#define MAX_NODES	65536U
#define MAX_ZONES	16U
#define MAX_FRAMES	(16ULL << 30)
#define ZONE_NAME	16U
#define RELEASE		65U	/* bytes of each member of struct new_utsname */

/* Page tables of x86-64 */
#define ENTRY_PRESENT	0x1ULL
#define ENTRY_LEAF	0x80ULL
#define ENTRY_ADDRESS	0x000ffffffffff000ULL
#define LEVEL_BITS	9
#define LEAF_LEVELS	3	/* 4 KiB, 2 MiB, 1 GiB */

/* Children whose rows are read in one call */
#define CHUNK		64U

struct segment {
	__u64 paddr;
	__u64 size;
	__u64 offset;
};

struct dump {
	const char *path;
	int fd;
	__u64 size;		/* size of the file; 0 if unknown */
	struct segment *segments;
	size_t nr_segments;
	char *info;		/* text of VMCOREINFO */
	__u64 top;		/* physical address of the highest page table */
	__u64 encrypted;	/* encryption bit of an entry */
	int levels;
};

struct layout {
	__u64 zone_size, zone_name, zone_llfree, zone_spanned, zone_counter;
	__u64 node_zones, nr_zones, node_id;
	__u64 first, end, rows, children;
	__u64 row_frames, child_frames, child_rows;
	__u64 free_mask, view_shift, view_mask, isolated, hole, turn_shift;
};

struct zone {
	unsigned int node;
	char name[ZONE_NAME];
	__u64 first, end, base, rows, children;
	__s64 counter;
	__u64 free, isolated, differ;
};

/* Run of free frames that follow each other, while a zone is read */
struct range {
	__u64 first;
	__u64 nr;
};

/* Reason why the last read failed */
static char error[160];

#define fail(status, ...)				\
do {							\
	fflush(stdout);					\
	fputs("llfree-dump: ", stderr);			\
	fprintf(stderr, __VA_ARGS__);			\
	fputc('\n', stderr);				\
	exit(status);					\
} while (0)

/* Note why a read failed. The value is false, for the caller to return. */
#define refuse(...)	(snprintf(error, sizeof(error), __VA_ARGS__), false)

static void *allocate(size_t size)
{
	void *memory = calloc(1, size ?: 1);

	if (!memory)
		fail(EXIT_DAMAGED, "no memory for %zu bytes", size);
	return memory;
}

static __u64 get64(const void *from)
{
	__u64 value;

	memcpy(&value, from, sizeof(value));
	return le64toh(value);
}

static __u32 get32(const void *from)
{
	__u32 value;

	memcpy(&value, from, sizeof(value));
	return le32toh(value);
}

static __u16 get16(const void *from)
{
	__u16 value;

	memcpy(&value, from, sizeof(value));
	return le16toh(value);
}

/* ---- The file ---- */

static bool read_file(struct dump *dump, __u64 offset, void *to, size_t size)
{
	char *at = to;

	while (size) {
		ssize_t got;

		if (offset > INT64_MAX - size)
			return refuse("file offset %#llx is impossible", offset);
		got = pread(dump->fd, at, size, offset);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return refuse("cannot read at %#llx: %s", offset,
				      strerror(errno));
		if (!got)
			return refuse("the file ends at %#llx, it is truncated",
				      offset);
		at += got;
		offset += got;
		size -= got;
	}
	return true;
}

static void must_read_file(struct dump *dump, __u64 offset, void *to,
			   size_t size)
{
	if (!read_file(dump, offset, to, size))
		fail(EXIT_DAMAGED, "%s: %s", dump->path, error);
}

static bool in_file(const struct dump *dump, __u64 offset, __u64 size)
{
	return offset <= INT64_MAX && size <= INT64_MAX - offset &&
	       (!dump->size || offset + size <= dump->size);
}

/* ---- Physical and virtual memory ---- */

static bool read_phys(struct dump *dump, __u64 paddr, void *to, size_t size)
{
	char *at = to;

	while (size) {
		const struct segment *seg = dump->segments;
		const struct segment *end = seg + dump->nr_segments;
		__u64 skip, part;

		while (seg < end && paddr - seg->paddr >= seg->size)
			seg++;
		if (seg == end)
			return refuse("physical address %#llx is not in the dump",
				      paddr);
		skip = paddr - seg->paddr;
		part = seg->size - skip;
		if (part > size)
			part = size;
		if (!read_file(dump, seg->offset + skip, at, part))
			return false;
		at += part;
		paddr += part;
		size -= part;
	}
	return true;
}

static bool translate(struct dump *dump, __u64 vaddr, __u64 *paddr)
{
	unsigned int shift = 12 + LEVEL_BITS * dump->levels;
	__s64 sign = (__s64)vaddr >> (shift - 1);
	__u64 table = dump->top;
	int level;

	if (sign && sign != -1)
		return refuse("%#llx is no address", vaddr);

	for (level = dump->levels; level; level--) {
		unsigned char raw[8];
		__u64 entry, offset;

		shift -= LEVEL_BITS;
		offset = vaddr >> shift & ((1U << LEVEL_BITS) - 1);
		if (!read_phys(dump, table + offset * sizeof(raw), raw,
			       sizeof(raw)))
			return false;
		entry = get64(raw) & ~dump->encrypted;
		if (!(entry & ENTRY_PRESENT))
			return refuse("address %#llx is not mapped (level %d)",
				      vaddr, level);
		table = entry & ENTRY_ADDRESS;
		if (level > 1 && !(entry & ENTRY_LEAF))
			continue;
		if (level > LEAF_LEVELS)
			return refuse("the page table for %#llx is damaged (level %d)",
				      vaddr, level);
		offset = (1ULL << shift) - 1;
		*paddr = (table & ~offset) | (vaddr & offset);
		return true;
	}
	return false;
}

static bool read_virt(struct dump *dump, __u64 vaddr, void *to, size_t size)
{
	char *at = to;

	while (size) {
		size_t part = PAGE - vaddr % PAGE;
		__u64 paddr;

		if (part > size)
			part = size;
		if (!translate(dump, vaddr, &paddr) ||
		    !read_phys(dump, paddr, at, part))
			return false;
		at += part;
		vaddr += part;
		size -= part;
	}
	return true;
}

static void must_read(struct dump *dump, const char *what, __u64 vaddr,
		      void *to, size_t size)
{
	if (!read_virt(dump, vaddr, to, size))
		fail(EXIT_DAMAGED, "%s: cannot read %s: %s", dump->path, what,
		     error);
}

static __u64 must_read64(struct dump *dump, const char *what, __u64 vaddr)
{
	unsigned char raw[8];

	must_read(dump, what, vaddr, raw, sizeof(raw));
	return get64(raw);
}

static __u32 must_read32(struct dump *dump, const char *what, __u64 vaddr)
{
	unsigned char raw[4];

	must_read(dump, what, vaddr, raw, sizeof(raw));
	return get32(raw);
}

/* ---- VMCOREINFO ---- */

/* The value behind "KEY=", or NULL */
static const char *find_key(const char *info, const char *key)
{
	size_t length = strlen(key);

	while (*info) {
		if (!strncmp(info, key, length) && info[length] == '=')
			return info + length + 1;
		info = strchr(info, '\n');
		if (!info)
			break;
		info++;
	}
	return NULL;
}

static bool find_number(const char *info, const char *key, int base,
			__u64 *value)
{
	const char *text = find_key(info, key);
	char *end;

	if (!text || *text == ' ' || *text == '\n')
		return false;
	errno = 0;
	*value = strtoull(text, &end, base);
	return !errno && end > text && (*end == '\n' || !*end);
}

static __u64 number(const struct dump *dump, int base, const char *key)
{
	__u64 value;

	if (!find_number(dump->info, key, base, &value))
		fail(EXIT_DAMAGED, "%s: vmcoreinfo has no valid %s", dump->path,
		     key);
	return value;
}

/* Get a decimal number that cannot be larger than a limit. */
static __u64 small(const struct dump *dump, const char *key, __u64 max)
{
	__u64 value = number(dump, 10, key);

	if (value > max)
		fail(EXIT_DAMAGED, "%s: vmcoreinfo has %s=%llu, which is too large",
		     dump->path, key, value);
	return value;
}

static __u64 offset(const struct dump *dump, const char *key)
{
	return small(dump, key, 1U << 20);
}

/* Prepare the walk of page tables. */
static bool use_info(struct dump *dump, const char *info)
{
	__u64 top, phys_base = 0, five = 0, encrypted = 0;

	if (!find_number(info, "SYMBOL(init_top_pgt)", 16, &top) ||
	    !find_number(info, "NUMBER(phys_base)", 10, &phys_base) ||
	    top < KERNEL_MAP)
		return refuse("it names no page tables of x86-64");
	/* Older kernels do not export these values. */
	find_number(info, "NUMBER(pgtable_l5_enabled)", 10, &five);
	find_number(info, "NUMBER(sme_mask)", 10, &encrypted);
	dump->top = top - KERNEL_MAP + phys_base;
	dump->levels = five ? 5 : 4;
	dump->encrypted = encrypted;
	return true;
}

/*
 * Is this text from the kernel in the dump? The text and the dump both have its
 * release.
 */
static bool check_info(struct dump *dump, const char *info)
{
	const char *said = find_key(info, "OSRELEASE");
	char found[RELEASE];
	__u64 name, member;
	size_t length;

	if (!said || !find_number(info, "SYMBOL(init_uts_ns)", 16, &name) ||
	    !find_number(info, "OFFSET(uts_namespace.name)", 10, &member))
		return refuse("it names no release");
	if (!use_info(dump, info) ||
	    !read_virt(dump, name + member + 2 * RELEASE, found, sizeof(found)))
		return false;
	length = strcspn(said, "\n");
	if (length >= sizeof(found) || strncmp(found, said, length) ||
	    found[length])
		return refuse("it is from another kernel than the dump");
	return true;
}

static char *copy_text(const void *from, size_t size)
{
	char *text = allocate(size + 1);

	memcpy(text, from, size);
	return text;
}

/* Get the text of the note, if a segment of notes has it. */
static char *info_of_notes(struct dump *dump, __u64 start, __u64 size)
{
	static const char name[] = "VMCOREINFO";
	unsigned char *notes;
	__u64 at = 0;
	char *text = NULL;

	if (size > MAX_NOTES)
		fail(EXIT_DAMAGED, "%s: %llu bytes of notes are too many",
		     dump->path, size);
	notes = allocate(size);
	must_read_file(dump, start, notes, size);
	while (size - at >= sizeof(struct elf64_note)) {
		__u64 name_size = get32(notes + at);
		__u64 desc_size = get32(notes + at + 4);
		__u64 desc;

		if (!name_size && !desc_size)
			break;
		at += sizeof(struct elf64_note);
		desc = at + (name_size + 3) / 4 * 4;
		if (desc > size || desc_size > size - desc)
			fail(EXIT_DAMAGED, "%s: a note is damaged", dump->path);
		if (name_size == sizeof(name) &&
		    !memcmp(notes + at, name, sizeof(name))) {
			if (desc_size > MAX_INFO)
				fail(EXIT_DAMAGED, "%s: the note VMCOREINFO is too large",
				     dump->path);
			text = copy_text(notes + desc, desc_size);
			break;
		}
		at = desc + (desc_size + 3) / 4 * 4;
		if (at > size)
			break;
	}
	free(notes);
	return text;
}

/* The kernel keeps the text in a page of its own. */
static char *search_info(struct dump *dump)
{
	static const char start[] = "OSRELEASE=";
	const size_t step = 256 * PAGE;
	char *buffer = allocate(step);
	size_t i;

	for (i = 0; i < dump->nr_segments; i++) {
		const struct segment *seg = &dump->segments[i];
		__u64 at = -seg->paddr % PAGE;

		while (at < seg->size) {
			size_t part = seg->size - at < step ? seg->size - at :
							      step;
			size_t page;

			if (!read_file(dump, seg->offset + at, buffer, part))
				fail(EXIT_DAMAGED, "%s: %s", dump->path, error);
			for (page = 0; page + PAGE <= part; page += PAGE) {
				char *text;

				if (memcmp(buffer + page, start,
					   sizeof(start) - 1))
					continue;
				text = copy_text(buffer + page, PAGE);
				if (check_info(dump, text)) {
					free(buffer);
					return text;
				}
				free(text);
			}
			at += part;
		}
	}
	free(buffer);
	return NULL;
}

static char *info_of_file(const char *path)
{
	char *text = allocate(MAX_INFO + 1);
	FILE *file = fopen(path, "r");
	size_t size;

	if (!file)
		fail(EXIT_DAMAGED, "%s: %s", path, strerror(errno));
	size = fread(text, 1, MAX_INFO + 1, file);
	if (ferror(file))
		fail(EXIT_DAMAGED, "%s: cannot read it", path);
	if (size > MAX_INFO)
		fail(EXIT_DAMAGED, "%s: too large for vmcoreinfo", path);
	fclose(file);
	return text;
}

/* ---- ELF ---- */

static void add_segment(struct dump *dump, const struct elf64_phdr *phdr)
{
	struct segment *seg = &dump->segments[dump->nr_segments];

	seg->paddr = get64(&phdr->p_paddr);
	seg->size = get64(&phdr->p_filesz);
	seg->offset = get64(&phdr->p_offset);
	/* /proc/kcore has segments without a physical address. */
	if (!seg->size || seg->paddr > UINT64_MAX - seg->size)
		return;
	if (!in_file(dump, seg->offset, seg->size))
		fail(EXIT_DAMAGED, "%s: truncated: memory at %#llx is beyond the end of the file",
		     dump->path, seg->paddr);
	dump->nr_segments++;
}

static __u64 nr_headers(struct dump *dump, const struct elf64_hdr *ehdr)
{
	__u64 nr = get16(&ehdr->e_phnum);
	struct elf64_shdr shdr;

	if (nr != PN_XNUM)
		return nr;
	must_read_file(dump, get64(&ehdr->e_shoff), &shdr, sizeof(shdr));
	return get32(&shdr.sh_info);
}

static void check_elf(const struct dump *dump, const struct elf64_hdr *ehdr)
{
	if (!memcmp(ehdr, "KDUMP   ", 8))
		fail(EXIT_UNKNOWN, "%s: a compressed dump; only ELF can be read",
		     dump->path);
	if (memcmp(ehdr->e_ident, ELFMAG, SELFMAG))
		fail(EXIT_DAMAGED, "%s: no ELF file", dump->path);
	if (ehdr->e_ident[EI_CLASS] != ELFCLASS64 ||
	    ehdr->e_ident[EI_DATA] != ELFDATA2LSB ||
	    get16(&ehdr->e_machine) != EM_X86_64)
		fail(EXIT_UNKNOWN, "%s: of another architecture than x86-64 (machine %u)",
		     dump->path, get16(&ehdr->e_machine));
	if (get16(&ehdr->e_type) != ET_CORE)
		fail(EXIT_DAMAGED, "%s: no core file", dump->path);
	if (get16(&ehdr->e_phentsize) != sizeof(struct elf64_phdr))
		fail(EXIT_DAMAGED, "%s: the ELF header is damaged", dump->path);
}

static void open_dump(struct dump *dump, const char *path)
{
	__u64 nr, start, i;
	struct stat stat;
	struct elf64_hdr ehdr;

	dump->path = path;
	dump->fd = open(path, O_RDONLY);
	if (dump->fd < 0 || fstat(dump->fd, &stat))
		fail(EXIT_DAMAGED, "%s: %s", path, strerror(errno));
	dump->size = stat.st_size;
	must_read_file(dump, 0, &ehdr, sizeof(ehdr));
	check_elf(dump, &ehdr);

	nr = nr_headers(dump, &ehdr);
	start = get64(&ehdr.e_phoff);
	if (nr > MAX_HEADERS ||
	    !in_file(dump, start, nr * sizeof(struct elf64_phdr)))
		fail(EXIT_DAMAGED, "%s: %llu program headers are not in the file",
		     path, nr);
	dump->segments = allocate(nr * sizeof(*dump->segments));
	for (i = 0; i < nr; i++) {
		struct elf64_phdr phdr;

		must_read_file(dump, start + i * sizeof(phdr), &phdr,
			       sizeof(phdr));
		if (get32(&phdr.p_type) == PT_LOAD)
			add_segment(dump, &phdr);
		else if (get32(&phdr.p_type) == PT_NOTE && !dump->info)
			dump->info = info_of_notes(dump, get64(&phdr.p_offset),
						   get64(&phdr.p_filesz));
	}
	if (!dump->nr_segments)
		fail(EXIT_DAMAGED, "%s: no memory in it", path);
}

static void find_info(struct dump *dump, const char *path)
{
	if (path) {
		free(dump->info);
		dump->info = info_of_file(path);
	}
	if (!dump->info) {
		dump->info = search_info(dump);
		if (!dump->info)
			fail(EXIT_DAMAGED, "%s: no vmcoreinfo in it (give it with --vmcoreinfo)",
			     dump->path);
	} else if (!check_info(dump, dump->info)) {
		fail(EXIT_DAMAGED, "%s: vmcoreinfo cannot be used: %s", dump->path,
		     error);
	}
}

/* ---- LLFree ---- */

static void read_layout(const struct dump *dump, struct layout *l)
{
	__u64 core, active, version;

	if (number(dump, 10, "PAGESIZE") != PAGE)
		fail(EXIT_UNKNOWN, "%s: only pages of %u bytes are known",
		     dump->path, PAGE);
	if (!find_key(dump->info, "NUMBER(LLFREE_ACTIVE)"))
		fail(EXIT_BUDDY, "%s: the kernel has no LLFree, only the buddy allocator",
		     dump->path);
	active = small(dump, "NUMBER(LLFREE_ACTIVE)", 1);
	if (!active)
		fail(EXIT_BUDDY, "%s: the kernel was booted with the buddy allocator",
		     dump->path);
	version = number(dump, 10, "NUMBER(LLFREE_LAYOUT)");
	if (version != KNOWN_LAYOUT)
		fail(EXIT_UNKNOWN, "%s: layout %llu of LLFree is not known, only %u",
		     dump->path, version, KNOWN_LAYOUT);

	core = offset(dump, "OFFSET(zone_llfree.core)");
	l->first = core + offset(dump, "OFFSET(llfree.first)");
	l->end = core + offset(dump, "OFFSET(llfree.end)");
	l->rows = core + offset(dump, "OFFSET(llfree.rows)");
	l->children = core + offset(dump, "OFFSET(llfree.children)");
	l->row_frames = number(dump, 10, "NUMBER(LLFREE_ROW_FRAMES)");
	l->child_frames = small(dump, "NUMBER(LLFREE_CHILD_FRAMES)", 1U << 15);
	l->turn_shift = small(dump, "NUMBER(LLFREE_CHILD_TURN_SHIFT)", 15);
	l->free_mask = small(dump, "NUMBER(LLFREE_CHILD_FREE_MASK)", UINT16_MAX);
	l->view_mask = small(dump, "NUMBER(LLFREE_CHILD_VIEW_MASK)", UINT16_MAX);
	l->view_shift = small(dump, "NUMBER(LLFREE_CHILD_VIEW_SHIFT)", 15);
	l->hole = small(dump, "NUMBER(LLFREE_CHILD_HOLE)", UINT16_MAX);
	l->isolated = small(dump, "NUMBER(LLFREE_VIEW_ISOLATED)", UINT16_MAX);
	l->child_rows = l->child_frames / 64;
	if (l->row_frames != 64 || !l->child_rows ||
	    l->child_frames & (l->child_frames - 1))
		fail(EXIT_UNKNOWN, "%s: rows of %llu and children of %llu frames are not known",
		     dump->path, l->row_frames, l->child_frames);

	l->node_zones = offset(dump, "OFFSET(pglist_data.node_zones)");
	l->nr_zones = offset(dump, "OFFSET(pglist_data.nr_zones)");
	l->node_id = offset(dump, "OFFSET(pglist_data.node_id)");
	l->zone_size = offset(dump, "SIZE(zone)");
	l->zone_name = offset(dump, "OFFSET(zone.name)");
	l->zone_llfree = offset(dump, "OFFSET(zone.llfree)");
	l->zone_spanned = offset(dump, "OFFSET(zone.spanned_pages)");
	l->zone_counter = offset(dump, "OFFSET(zone.vm_stat)") +
			  small(dump, "NUMBER(NR_FREE_PAGES)", 1U << 10) * 8;
}

static void read_name(struct dump *dump, struct zone *zone, __u64 vaddr)
{
	unsigned int i;

	for (i = 0; i < ZONE_NAME; i++) {
		char *c = &zone->name[i];

		must_read(dump, "the name of a zone", vaddr + i, c, 1);
		if (!*c)
			return;
		if (*c <= ' ' || *c > '~')
			break;
	}
	fail(EXIT_DAMAGED, "%s: the name of a zone of node %u is damaged",
	     dump->path, zone->node);
}

/* Is there a zone with LLFree at this address? */
static bool read_zone(struct dump *dump, const struct layout *l, __u64 vaddr,
		      struct zone *zone)
{
	__u64 llfree;

	if (!must_read64(dump, "a zone", vaddr + l->zone_spanned))
		return false;
	llfree = must_read64(dump, "a zone", vaddr + l->zone_llfree);
	if (!llfree)
		return false;
	read_name(dump, zone, must_read64(dump, "a zone", vaddr + l->zone_name));
	zone->counter = must_read64(dump, "a zone", vaddr + l->zone_counter);
	zone->first = must_read64(dump, "LLFree", llfree + l->first);
	zone->end = must_read64(dump, "LLFree", llfree + l->end);
	zone->base = zone->first & ~(l->child_frames - 1);
	zone->rows = must_read64(dump, "LLFree", llfree + l->rows);
	zone->children = must_read64(dump, "LLFree", llfree + l->children);
	/* They are equal while the last memory of a zone goes offline. */
	if (zone->first > zone->end || zone->end - zone->base > MAX_FRAMES)
		fail(EXIT_DAMAGED, "%s: zone %s of node %u is damaged: frames %llu to %llu",
		     dump->path, zone->name, zone->node, zone->first,
		     zone->end);
	return true;
}

static void end_range(struct range *range)
{
	if (range->nr)
		printf("free %llu %llu\n", range->first,
		       range->first + range->nr - 1);
	range->nr = 0;
}

static void add_range(struct range *range, __u64 frame)
{
	if (range->first + range->nr != frame)
		end_range(range);
	if (!range->nr)
		range->first = frame;
	range->nr++;
}

/* Bits of the frames of a row that are in the zone */
static __u64 row_in_zone(const struct zone *zone, __u64 frame)
{
	__u64 mask = ~0ULL;

	if (frame + 64 <= zone->first || frame >= zone->end)
		return 0;
	if (frame < zone->first)
		mask <<= zone->first - frame;
	if (zone->end - frame < 64)
		mask &= ~(~0ULL << (zone->end - frame));
	return mask;
}

static void count_child(const struct layout *l, struct zone *zone,
			__u64 frame, __u16 word,
			const unsigned char *rows, struct range *range)
{
	unsigned int row, free = 0;

	if (word == l->hole)
		return;
	for (row = 0; row < l->child_rows; row++, frame += 64) {
		__u64 bits = get64(rows + row * 8);

		/*
		 * A frame is free if its bit equals the lowest bit of the turn.
		 */
		if (!(word >> l->turn_shift & 1))
			bits = ~bits;
		bits &= row_in_zone(zone, frame);
		free += __builtin_popcountll(bits);
		for (; range && bits; bits &= bits - 1)
			add_range(range, frame + __builtin_ctzll(bits));
	}
	zone->free += free;
	if ((word & l->view_mask) >> l->view_shift == l->isolated)
		zone->isolated += free;
	if ((word & l->free_mask) != free)
		zone->differ++;
}

/* Count the free frames of a zone. With a range, also print them. */
static void walk_zone(struct dump *dump, const struct layout *l,
		      struct zone *zone, struct range *range)
{
	const size_t row_bytes = l->child_rows * 8;
	unsigned char *rows = allocate(CHUNK * row_bytes);
	unsigned char words[CHUNK * 2];
	__u64 nr = (zone->end - zone->base + l->child_frames - 1) /
		      l->child_frames;
	__u64 base = zone->base / l->child_frames, child, i;

	for (child = 0; child < nr; child += CHUNK) {
		__u64 part = nr - child < CHUNK ? nr - child : CHUNK;

		must_read(dump, "the rows of a zone",
			  zone->rows + (base + child) * row_bytes, rows,
			  part * row_bytes);
		must_read(dump, "the children of a zone",
			  zone->children + (base + child) * 2, words, part * 2);
		for (i = 0; i < part; i++)
			count_child(l, zone, zone->base + (child + i) *
				    l->child_frames, get16(words + i * 2),
				    rows + i * row_bytes, range);
	}
	if (range)
		end_range(range);
	free(rows);
}

static void print_zone(struct dump *dump, const struct layout *l,
		       struct zone *zone, bool ranges)
{
	struct range range = { };

	walk_zone(dump, l, zone, NULL);
	printf("%4u %-8s %12llu %12llu %12llu %12llu %12lld %8llu\n",
	       zone->node, zone->name, zone->first, zone->end, zone->free,
	       zone->isolated, zone->counter, zone->differ);
	if (ranges)
		walk_zone(dump, l, zone, &range);
}

static unsigned int print_node(struct dump *dump, const struct layout *l,
			       unsigned int node, __u64 vaddr, bool ranges)
{
	__u32 nr = must_read32(dump, "a node", vaddr + l->nr_zones);
	__u32 id = must_read32(dump, "a node", vaddr + l->node_id);
	unsigned int printed = 0;
	__u32 i;

	if (nr > MAX_ZONES || id != node)
		fail(EXIT_DAMAGED, "%s: node %u is damaged: number %u with %u zones",
		     dump->path, node, id, nr);
	for (i = 0; i < nr; i++) {
		struct zone zone = { .node = node };

		if (!read_zone(dump, l, vaddr + l->node_zones +
			       i * l->zone_size, &zone))
			continue;
		print_zone(dump, l, &zone, ranges);
		printed++;
	}
	return printed;
}

static void print_nodes(struct dump *dump, bool ranges)
{
	unsigned int printed = 0;
	__u64 nodes, nr, i;
	struct layout l = { };

	read_layout(dump, &l);
	printf("%4s %-8s %12s %12s %12s %12s %12s %8s\n", "node", "zone", "first",
	       "end", "free", "isolated", "counter", "differ");
	if (find_key(dump->info, "SYMBOL(node_data)")) {
		nodes = number(dump, 16, "SYMBOL(node_data)");
		nr = small(dump, "LENGTH(node_data)", MAX_NODES);
		for (i = 0; i < nr; i++) {
			__u64 node = must_read64(dump, "node_data",
						    nodes + i * 8);

			if (node)
				printed += print_node(dump, &l, i, node, ranges);
		}
	} else {
		nodes = number(dump, 16, "SYMBOL(contig_page_data)");
		printed = print_node(dump, &l, 0, nodes, ranges);
	}
	if (!printed)
		fail(EXIT_DAMAGED, "%s: no zone has LLFree", dump->path);
	if (fflush(stdout) || ferror(stdout))
		fail(EXIT_DAMAGED, "cannot write the output");
}

static void print_help(FILE *to)
{
	fprintf(to,
		"Usage: llfree-dump [OPTION]... DUMP\n"
		"List the free page frames of zones that LLFree keeps, from an ELF core of\n"
		"physical memory (x86-64): /proc/vmcore, or QEMU's dump-guest-memory.\n\n"
		"  -r, --ranges           after each zone print its free frames, as lines\n"
		"                         \"free FIRST LAST\"\n"
		"  -v, --vmcoreinfo=FILE  take the text of the note VMCOREINFO from a file\n"
		"                         (default: the note; or else memory is searched)\n"
		"  -h, --help             print this text\n\n"
		"Columns: the zone has the frames FIRST to END - 1. FREE frames are all free\n"
		"ones, ISOLATED those of them in isolated pageblocks. COUNTER is NR_FREE_PAGES\n"
		"of the zone, without what CPUs have not added to it yet. DIFFER counts blocks\n"
		"of 2 MiB whose bits and counter differ: an operation was between two steps.\n\n"
		"Exit status: 0 success, %d wrong options, or the dump cannot be read or is\n"
		"damaged, %d the kernel used the buddy allocator, %d another architecture,\n"
		"format or layout than this program knows.\n",
		EXIT_DAMAGED, EXIT_BUDDY, EXIT_UNKNOWN);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "ranges", no_argument, NULL, 'r' },
		{ "vmcoreinfo", required_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ }
	};
	const char *info = NULL;
	struct dump dump = { };
	bool ranges = false;
	int c;

	while ((c = getopt_long(argc, argv, "rv:h", options, NULL)) != -1) {
		switch (c) {
		case 'r':
			ranges = true;
			break;
		case 'v':
			info = optarg;
			break;
		case 'h':
			print_help(stdout);
			return 0;
		default:
			print_help(stderr);
			return EXIT_DAMAGED;
		}
	}
	if (optind + 1 != argc) {
		print_help(stderr);
		return EXIT_DAMAGED;
	}
	open_dump(&dump, argv[optind]);
	find_info(&dump, info);
	print_nodes(&dump, ranges);
	free(dump.info);
	free(dump.segments);
	close(dump.fd);
	return 0;
}
