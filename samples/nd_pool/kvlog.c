// SPDX-License-Identifier: GPL-2.0
/*
 * kvlog: a key-value store in a pool of persistent memory, /dev/ndpoolN.
 *
 * This sample shows an order of steps with which each stored key survives a
 * crash at any moment, and few blocks leak. Root 0 of the pool is the table, a
 * hash table in one frame. Each entry has a block of its own and is in the
 * chain of a bucket. A pointer is the offset of a block, with its order in the
 * low bits.
 *
 * Store a key:
 *
 *   1. Allocate a block. It is free after a crash.
 *   2. Write the entry, and write its cache lines back.
 *   3. Commit the block. The call ends with a fence, which waits for step 2 as
 *      well.
 *   4. Store the pointer, 8 bytes at once: after a crash it is the old or the
 *      new one.
 *   5. Write the pointer back, and fence. From here on the key is stored.
 *   6. If the pointer led to an older entry of this key, free the block of that
 *      entry.
 *
 * After a crash before step 3 the block is free. After a crash between steps 3
 * and 5 the block may be leaked: it is committed, and no pointer leads to it.
 * With step 4 before step 3 a crash could leave a pointer to a free block,
 * which another entry gets later.
 *
 * Remove a key:
 *
 *   1. Replace the pointer to the entry by the entry's pointer to the next one.
 *   2. Write the pointer back, and fence. From here on the key is removed.
 *   3. Free the block.
 *
 * A crash before step 3 leaks the block. With step 3 before step 2 a crash
 * could leave a pointer to a free block.
 *
 * After a crash, sweep follows all pointers and gives the driver a map of the
 * frames that they lead to. The driver frees all other frames.
 *
 * Threads of one process lock buckets; a lock on the device keeps other
 * processes out. A value that a thread has read is on the medium already: its
 * writer waited for that before it unlocked the bucket.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvlog.h"
#include "persist.h"

#define ROW_BYTES	(ND_POOL_ROW_FRAMES * FRAME_BYTES)

/* ---- Blocks ---- */

static __u64 block_alloc(struct store *store, unsigned int order)
{
	__u64 block = order;
	struct nd_pool_blocks arg = { .blocks = (uintptr_t)&block, .nr = 1 };

	if (ioctl(store->fd, ND_POOL_ALLOC, &arg) == 1)
		return block;
	if (errno != ENOMEM)
		die("cannot allocate a block of order %u", order);
	return 0;
}

static void block_do(struct store *store, unsigned long cmd, __u64 block)
{
	struct nd_pool_blocks arg = { .blocks = (uintptr_t)&block, .nr = 1 };

	if (ioctl(store->fd, cmd, &arg) != 1)
		die("cannot %s block %#llx", cmd == ND_POOL_COMMIT ? "commit" : "free", block);
}

/* When this returns, the pointer and all earlier commits are on the medium. */
static void pointer_store(__u64 *pointer, __u64 block)
{
	__atomic_store_n(pointer, block, __ATOMIC_RELEASE);
	write_back(pointer, sizeof(*pointer));
	fence();
}

/* ---- Entries ---- */

static __u64 hash_word(__u64 hash, __u64 word)
{
	hash = (hash ^ word) * 0x9e3779b97f4a7c15ULL;
	return hash ^ hash >> 29;
}

static __u64 hash_bytes(const char *bytes, size_t size, __u64 hash)
{
	__u64 word;

	for (; size >= sizeof(word); bytes += sizeof(word), size -= sizeof(word)) {
		memcpy(&word, bytes, sizeof(word));
		hash = hash_word(hash, word);
	}
	word = 0;
	memcpy(&word, bytes, size);
	return hash_word(hash, word + size);
}

static unsigned int bucket_of(const char *key, size_t size)
{
	return hash_bytes(key, size, 0) % NR_BUCKETS;
}

__u64 entry_sum(const struct entry *entry)
{
	const size_t size = offsetof(struct entry, data) + entry->key_size + entry->value_size;

	return hash_bytes((const char *)&entry->seq, size - offsetof(struct entry, seq), 1);
}

__u64 entry_new(struct store *store, const char *key, size_t value_size, unsigned int order)
{
	const size_t key_size = strlen(key);
	const size_t size = offsetof(struct entry, data) + key_size + value_size;
	struct entry *entry;
	__u64 block;

	while (order <= ND_POOL_MAX_ORDER && FRAME_BYTES << order < size)
		order++;
	block = order <= ND_POOL_MAX_ORDER ? block_alloc(store, order) : 0;
	if (!block)
		return 0;
	entry = entry_at(store, block);
	entry->thread = NO_THREAD;
	entry->key_size = key_size;
	entry->value_size = value_size;
	memcpy(entry->data, key, key_size);
	return block;
}

/*
 * Find the pointer to the entry of a key, or to the end of its chain. The
 * caller holds the lock of the bucket.
 */
static __u64 *find(struct store *store, const char *key, size_t key_size)
{
	__u64 *pointer = &store->table->buckets[bucket_of(key, key_size)];
	struct entry *entry;

	for (; *pointer; pointer = &entry->next) {
		entry = entry_at(store, *pointer);
		if (entry->key_size == key_size && !memcmp(entry->data, key, key_size))
			break;
	}
	return pointer;
}

void store_put(struct store *store, __u64 block)
{
	struct entry *entry = entry_at(store, block);
	pthread_mutex_t *lock = &store->locks[bucket_of(entry->data, entry->key_size)];
	__u64 *pointer, old;

	entry->sum = entry_sum(entry);
	write_back(entry, offsetof(struct entry, data) + entry->key_size + entry->value_size);

	pthread_mutex_lock(lock);
	pointer = find(store, entry->data, entry->key_size);
	old = *pointer;
	if (old) {
		entry->next = entry_at(store, old)->next;
		write_back(&entry->next, sizeof(entry->next));
	}
	block_do(store, ND_POOL_COMMIT, block);
	pointer_store(pointer, block);
	pthread_mutex_unlock(lock);
	if (old)
		block_do(store, ND_POOL_FREE, old);
}

bool store_del(struct store *store, const char *key)
{
	const size_t key_size = strlen(key);
	pthread_mutex_t *lock = &store->locks[bucket_of(key, key_size)];
	__u64 *pointer, old;

	pthread_mutex_lock(lock);
	pointer = find(store, key, key_size);
	old = *pointer;
	if (old)
		pointer_store(pointer, entry_at(store, old)->next);
	pthread_mutex_unlock(lock);
	if (old)
		block_do(store, ND_POOL_FREE, old);
	return old;
}

const struct entry *store_get(struct store *store, const char *key)
{
	const __u64 *pointer = find(store, key, strlen(key));

	return *pointer ? entry_at(store, *pointer) : NULL;
}

/* ---- The whole store ---- */

/* Note a block as live. Return: may the caller look at its content? */
static bool walk_block(const struct store *store, struct walk *walk, __u64 block)
{
	const __u64 offset = block & ~ND_POOL_ORDER_MASK, order = block & ND_POOL_ORDER_MASK;
	__u64 frame, end, bit;

	if (order > ND_POOL_MAX_ORDER || offset & ((FRAME_BYTES << order) - 1) ||
	    offset < store->info.first || offset >= store->info.size ||
	    store->info.size - offset < FRAME_BYTES << order) {
		printf("fault: %#llx is no block\n", block);
		walk->faults++;
		return false;
	}
	frame = (offset - store->info.first) / FRAME_BYTES;
	for (end = frame + (1ULL << order); frame < end; frame++) {
		bit = 1ULL << frame % ND_POOL_ROW_FRAMES;
		if (walk->live[frame / ND_POOL_ROW_FRAMES] & bit ||
		    !(walk->committed[frame / ND_POOL_ROW_FRAMES] & bit)) {
			printf("fault: block %#llx %s\n", block,
			       walk->live[frame / ND_POOL_ROW_FRAMES] & bit ?
			       "has a frame that another one has" : "is not committed");
			walk->faults++;
			return false;
		}
		walk->live[frame / ND_POOL_ROW_FRAMES] |= bit;
	}
	return true;
}

static bool entry_good(const struct entry *entry, __u64 block, unsigned int bucket)
{
	const __u64 space = block_size(block) - offsetof(struct entry, data);

	return entry->key_size <= space && entry->value_size <= space - entry->key_size &&
	       entry->sum == entry_sum(entry) &&
	       bucket_of(entry->data, entry->key_size) == bucket;
}

static void read_rows(struct store *store, struct walk *walk)
{
	struct nd_pool_rows arg = {
		.offset = store->info.first, .nr = walk->nr_rows,
		.rows = (uintptr_t)walk->committed,
	};

	if (ioctl(store->fd, ND_POOL_GET_ROWS, &arg))
		die("cannot read allocation bits");
}

void store_walk(struct store *store, struct walk *walk,
		void (*visit)(const struct entry *entry, __u64 block, void *arg), void *arg)
{
	const struct entry *entry;
	unsigned int i;
	__u64 block;

	*walk = (struct walk) {
		.nr_rows = (store->info.size - store->info.first + ROW_BYTES - 1) / ROW_BYTES,
	};
	walk->live = calloc(walk->nr_rows, sizeof(*walk->live));
	walk->committed = calloc(walk->nr_rows, sizeof(*walk->committed));
	if (!walk->live || !walk->committed)
		die("no memory for maps");
	read_rows(store, walk);
	walk_block(store, walk, store->table_block);
	for (i = 0; i < NR_BUCKETS; i++)
		for (block = store->table->buckets[i]; block; block = entry->next) {
			if (!walk_block(store, walk, block))
				break;
			entry = entry_at(store, block);
			if (!entry_good(entry, block, i)) {
				printf("fault: block %#llx has no entry of bucket %u\n", block, i);
				walk->faults++;
				break;
			}
			walk->entries++;
			if (visit)
				visit(entry, block, arg);
		}
}

void walk_free(struct walk *walk)
{
	free(walk->live);
	free(walk->committed);
}

__u64 count_bits(const __u64 *words, const __u64 *without, __u64 nr)
{
	__u64 i, count = 0;

	for (i = 0; i < nr; i++)
		count += __builtin_popcountll(words[i] & ~(without ? without[i] : 0));
	return count;
}

/* No other program has the pool open, so no frame changes its owner meanwhile. */
void store_sweep(struct store *store, const struct walk *walk, __u64 *freed, __u64 *missing)
{
	struct nd_pool_rows arg = {
		.offset = store->info.first, .nr = walk->nr_rows,
		.rows = (uintptr_t)walk->live,
	};

	if (ioctl(store->fd, ND_POOL_SWEEP, &arg))
		die("cannot sweep");
	*freed = arg.freed;
	*missing = arg.missing;
}

/* ---- The store ---- */

/*
 * Make an empty table. As with entries, the pointer to it is stored last; here
 * it is the root.
 */
static __u64 table_new(struct store *store)
{
	struct nd_pool_root root = { };
	const __u64 block = block_alloc(store, 0);
	struct table *table;

	if (!block)
		die("no space for a table");
	table = (struct table *)entry_at(store, block);
	table->magic = KVLOG_MAGIC;
	write_back(table, sizeof(*table));
	block_do(store, ND_POOL_COMMIT, block);
	root.next = block;
	if (ioctl(store->fd, ND_POOL_CAS_ROOT, &root))
		die("cannot write root 0");
	return block;
}

void store_info(struct store *store)
{
	if (ioctl(store->fd, ND_POOL_INFO, &store->info))
		die("no pool");
}

static void store_open(struct store *store, const char *path, bool write)
{
	struct nd_pool_root root = { };
	unsigned int i;
	char *map;

	store->fd = open(path, (write ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	if (store->fd < 0)
		die("cannot open %s", path);
	if (flock(store->fd, (write ? LOCK_EX : LOCK_SH) | LOCK_NB))
		die("%s is in use", path);
	store_info(store);
	if (ioctl(store->fd, ND_POOL_GET_ROOT, &root))
		die("cannot read root 0");
	map = mmap(NULL, store->info.size - store->info.first,
		   PROT_READ | (write ? PROT_WRITE : 0), MAP_SHARED, store->fd,
		   store->info.first);
	if (map == MAP_FAILED)
		die("cannot map %s", path);
	store->base = map - store->info.first;
	persist_init(store->info.persistence == ND_POOL_FENCE);
	for (i = 0; i < NR_BUCKETS; i++)
		pthread_mutex_init(&store->locks[i], NULL);

	errno = 0;
	if (!root.value && !write)
		die("%s has no store yet", path);
	store->table_block = root.value ?: table_new(store);
	store->table = (struct table *)entry_at(store, store->table_block);
	if (store->table->magic != KVLOG_MAGIC)
		die("%s has other data", path);
}

/* ---- Commands ---- */

static int do_put(struct store *store, int argc, char **argv)
{
	const size_t size = strlen(argv[1]);
	const __u64 block = entry_new(store, argv[0], size, 0);
	struct entry *entry;

	(void)argc;
	errno = 0;
	if (!block)
		die("no space");
	entry = entry_at(store, block);
	memcpy(entry->data + entry->key_size, argv[1], size);
	store_put(store, block);
	return 0;
}

static int do_get(struct store *store, int argc, char **argv)
{
	const struct entry *entry = store_get(store, argv[0]);

	(void)argc;
	if (!entry)
		return 1;
	printf("%.*s\n", (int)entry->value_size, entry->data + entry->key_size);
	return 0;
}

static int do_del(struct store *store, int argc, char **argv)
{
	(void)argc;
	return !store_del(store, argv[0]);
}

static void print_entry(const struct entry *entry, __u64 block, void *arg)
{
	(void)arg;
	printf("%.*s: %llu bytes in block %#llx\n", (int)entry->key_size, entry->data,
	       entry->value_size, block);
}

static int do_list(struct store *store, int argc, char **argv)
{
	struct walk walk;

	(void)argc;
	(void)argv;
	store_walk(store, &walk, print_entry, NULL);
	walk_free(&walk);
	return walk.faults ? 2 : 0;
}

static int do_sweep(struct store *store, int argc, char **argv)
{
	__u64 freed, missing;
	struct walk walk;

	(void)argc;
	(void)argv;
	store_walk(store, &walk, NULL, NULL);
	/* The map lacks the blocks behind a pointer that cannot be followed. */
	if (walk.faults)
		return 2;
	store_sweep(store, &walk, &freed, &missing);
	printf("freed: %llu\nmissing: %llu\n", freed, missing);
	walk_free(&walk);
	return missing ? 1 : 0;
}

static const struct command {
	const char *name;
	bool write;
	int min_args, max_args;
	int (*run)(struct store *store, int argc, char **argv);
	const char *usage;
} commands[] = {
	{ "put", true, 2, 2, do_put, "KEY VALUE" },
	{ "get", false, 1, 1, do_get, "KEY" },
	{ "del", true, 1, 1, do_del, "KEY" },
	{ "list", false, 0, 0, do_list, "" },
	{ "sweep", true, 0, 0, do_sweep, "" },
	{ "hammer", true, 0, 99, kvlog_hammer,
	  "[--threads N] [--seconds S] [--seed X] [--report N] [--durable FILE]" },
	{ "verify", true, 0, 99, kvlog_verify,
	  "[--threads N] [--seed X] [--window N] [--durable FILE]" },
	{ }
};

int main(int argc, char **argv)
{
	static struct store store;
	const struct command *command;

	for (command = commands; command->name && argc > 2; command++) {
		if (strcmp(argv[2], command->name) || argc - 3 < command->min_args ||
		    argc - 3 > command->max_args)
			continue;
		store_open(&store, argv[1], command->write);
		return command->run(&store, argc - 3, argv + 3);
	}
	for (command = commands; command->name; command++)
		fprintf(stderr, "kvlog /dev/ndpoolN %s %s\n", command->name, command->usage);
	return 3;
}
