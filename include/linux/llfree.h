/* SPDX-License-Identifier: GPL-2.0 */
/*
 * LLFree: lock-free page frame allocator core.
 *
 * The core manages a range of frame numbers. The core knows nothing of struct
 * page, zones or migratetypes, keeps no globals and never allocates: the caller
 * gives all memory and translates frame numbers. lib/llfree/words.h explains
 * the words, the protocol, and which operations write which words.
 */
#ifndef _LINUX_LLFREE_H
#define _LINUX_LLFREE_H

#include <linux/bits.h>
#include <linux/cache.h>
#include <linux/compiler.h>
#include <linux/types.h>

#include <asm/barrier.h>

#define LLFREE_ROW_ORDER	6
#define LLFREE_ROW_FRAMES	BIT(LLFREE_ROW_ORDER)
#define LLFREE_CHILD_ORDER	9
#define LLFREE_CHILD_FRAMES	BIT(LLFREE_CHILD_ORDER)
#define LLFREE_CHILD_ROWS	(LLFREE_CHILD_FRAMES / LLFREE_ROW_FRAMES)
/* Trees have from 8 to 128 children: 16 to 256 MiB */
#define LLFREE_MIN_TREE_ORDER	12
#define LLFREE_MAX_TREE_ORDER	16
#define LLFREE_MIN_TREE_FRAMES	BIT(LLFREE_MIN_TREE_ORDER)

/* Largest block that one allocation returns, and number of orders. */
#define LLFREE_MAX_ORDER	10
#define LLFREE_NR_ORDERS	(LLFREE_MAX_ORDER + 1)
/* Largest block that one call frees: struct llfree_delta counts in an s32. */
#define LLFREE_MAX_FREE_ORDER	30

/* 64 TiB of 4 KiB frames; and the end of all possible frame numbers. */
#define LLFREE_MAX_FRAMES	BIT(34)
#define LLFREE_END_FRAMES	BIT(52)

/* The word of a child without memory, see llfree_grow() */
#define LLFREE_HOLE_CHILD	0x1c00
/*
 * The word of a tree without memory: exhausted of all orders, without a class
 */
#define LLFREE_HOLE_TREE	0x00ce

/* Classes a tree can have; LLFREE_CLASS_NONE is a tree that is entirely free. */
#define LLFREE_MAX_CLASSES	6
#define LLFREE_CLASS_NONE	7

/* Request without a slot: no reservation is used or made. */
#define LLFREE_NO_SLOT		(-1)

/**
 * enum llfree_view - callers that may see the free frames of a child
 * @LLFREE_VIEW_NORMAL: any allocation; the only view with per-slot reservations
 * @LLFREE_VIEW_CMA: allocations that ask for it
 * @LLFREE_VIEW_HIGHATOMIC: allocations that ask for it
 * @LLFREE_VIEW_ISOLATED: only claims with LLFREE_CLAIM_HIDDEN
 * @LLFREE_NR_VIEWS: number of views
 */
enum llfree_view {
	LLFREE_VIEW_NORMAL,
	LLFREE_VIEW_CMA,
	LLFREE_VIEW_HIGHATOMIC,
	LLFREE_VIEW_ISOLATED,
	LLFREE_NR_VIEWS,
};

#define LLFREE_ALLOC_VIEWS	LLFREE_VIEW_ISOLATED

/**
 * enum llfree_mode - state of the frames after llfree_init()
 * @LLFREE_INIT_FREE: every frame of the range is free
 * @LLFREE_INIT_ALLOC: every frame is allocated; frames become free by llfree_free()
 * @LLFREE_INIT_RECOVER: rows are kept and decide, all else is counted anew. Of
 *	children, turn and view are kept, but isolated children get the normal
 *	view. For memory that survived a crash. An operation that the crash cut
 *	short may have left a block allocated in part; llfree_free_rest() frees
 *	that part.
 * @LLFREE_INIT_KEEP: rows and children are kept and trusted, if their words are
 *	possible ones; trees are rebuilt. For memory that survived an orderly
 *	stop. With this mode and LLFREE_INIT_RECOVER, children that were outside
 *	the range are allocated.
 */
enum llfree_mode {
	LLFREE_INIT_FREE,
	LLFREE_INIT_ALLOC,
	LLFREE_INIT_RECOVER,
	LLFREE_INIT_KEEP,
};

/* Request flags */
/*
 * Do not mix with frames of other classes. Use trees of the own class and its
 * mates, and entirely free trees. Use a tree of another class only if it has an
 * entirely free child, from which on the tree is taken over.
 */
#define LLFREE_ALLOC_NOFRAGMENT	0x1
/*
 * Do not look beyond the tree that the slot has reserved. Do not break up an
 * entirely free child of that tree while other trees may have partly free ones:
 * an allocation without this flag looks there first.
 */
#define LLFREE_ALLOC_RESERVED	0x2
/*
 * Do not search for long: read no more than a fixed number of words, whatever
 * the size of the range. For callers that other work waits for. The allocation
 * may fail though there is a block; the next search of this kind goes on where
 * this one ended. Does not shuffle.
 */
#define LLFREE_ALLOC_BOUNDED	0x4
#define LLFREE_ALLOC_FLAGS	(LLFREE_ALLOC_NOFRAGMENT | LLFREE_ALLOC_RESERVED | \
				 LLFREE_ALLOC_BOUNDED)

/* Return value of llfree_free_fast() */
/* The view in which the frames are free */
#define LLFREE_FREED_VIEW	0x0ff
/* The child of the frames is entirely free now. */
#define LLFREE_FREED_WHOLE	0x100

/* Claim flags */
/* Also claim from isolated children. */
#define LLFREE_CLAIM_HIDDEN	0x1

/* Effects of an allocation on the tree of the block, in struct llfree_delta */
/* A tree of another class now has the class of the request. */
#define LLFREE_DID_DEMOTE	0x1
/* The frames came from a tree of another class, which keeps its class. */
#define LLFREE_DID_STEAL	0x2
/* A tree was reserved for the slot. */
#define LLFREE_DID_RESERVE	0x4

/**
 * struct llfree_delta - changes by operations, for the caller's accounting
 * @frames: change of the number of free frames, by view
 * @huge: change of the number of entirely free children, by view
 * @did: LLFREE_DID_* flags of an allocation
 * @old_class: class of the tree before LLFREE_DID_DEMOTE or LLFREE_DID_STEAL
 *
 * Operations add to the counts, so one delta can gather several operations, up
 * to the range of an s32. A delta is private to its caller.
 */
struct llfree_delta {
	s32 frames[LLFREE_NR_VIEWS];
	s32 huge[LLFREE_NR_VIEWS];
	u8 did;
	u8 old_class;
};

/**
 * struct llfree_request - parameters of an allocation
 * @slot: slot whose reservations to use, below the number of slots of the
 *	instance, or LLFREE_NO_SLOT
 * @order: 0..LLFREE_MAX_ORDER
 * @class: below the number of classes of the policy
 * @view: enum llfree_view below LLFREE_VIEW_ISOLATED
 * @flags: LLFREE_ALLOC_* flags
 */
struct llfree_request {
	int slot;
	u8 order;
	u8 class;
	u8 view;
	u8 flags;
};

/**
 * enum llfree_level - how well a tree suits a request, best first
 * @LLFREE_LEVEL_MATCH: partly used tree of the class, worth a reservation
 * @LLFREE_LEVEL_SPARSE: partly used tree of the class with few free frames
 * @LLFREE_LEVEL_FREE: entirely free
 * @LLFREE_LEVEL_DEMOTE: tree of another class; take the tree over
 * @LLFREE_LEVEL_STEAL: tree of another class; take only the needed frames,
 *	unless the tree has an entirely free child, from which on the tree is
 *	taken over
 * @LLFREE_LEVEL_REJECT: tree not to be used for this request; only the
 *	exhaustive search before an allocation fails ignores this
 */
enum llfree_level {
	LLFREE_LEVEL_MATCH,
	LLFREE_LEVEL_SPARSE,
	LLFREE_LEVEL_FREE,
	LLFREE_LEVEL_DEMOTE,
	LLFREE_LEVEL_STEAL,
	LLFREE_LEVEL_REJECT,
};

/**
 * struct llfree_policy - classes and how their requests spread over trees
 * @nr_classes: number of classes, 1..LLFREE_MAX_CLASSES
 * @init_class: class of a tree that is neither entirely free nor of a class
 *	that an allocation gave it
 * @mates: for each class, bits of the classes whose frames live as long
 * @low: bits of the classes whose trees every slot searches from the low end of
 *	the range on; searches for other classes start spread over the range. If
 *	memory is large, the slots of @low classes start a cache line of child
 *	words apart.
 * @near: trees around the last one that are searched first, a power of 2
 * @rate: level of a tree of class @tree (or LLFREE_CLASS_NONE) for a request of
 *	class @class. @free of @frames frames of the tree are free, at least 1.
 *	Must not sleep, may be called from any context. NULL for the function of
 *	llfree_default_policy, with its classes.
 */
struct llfree_policy {
	unsigned int nr_classes;
	unsigned int init_class;
	u8 mates[LLFREE_MAX_CLASSES];
	u8 low;
	unsigned int near;
	enum llfree_level (*rate)(unsigned int class, unsigned int tree,
				  unsigned int free, unsigned int frames);
};

/*
 * The classes of llfree_default_policy. HUGE is for movable blocks of a child
 * and more. LARGE is for unmovable blocks of many frames. If small unmovable
 * blocks could use frames freed between large ones, the next large block would
 * soon have to break up a huge block.
 */
enum llfree_class {
	LLFREE_CLASS_UNMOVABLE,
	LLFREE_CLASS_MOVABLE,
	LLFREE_CLASS_RECLAIMABLE,
	LLFREE_CLASS_HUGE,
	LLFREE_CLASS_LARGE,
	LLFREE_NR_CLASSES,
};

/* For memory that is used for all classes alike */
extern const struct llfree_policy llfree_default_policy;
/* For memory that may be removed from its high end */
extern const struct llfree_policy llfree_packed_policy;

/*
 * Reservations of one slot: a word per class, and the tree to which the slot
 * freed last. For each class also the order that a search did not find in
 * partly free children of trees of the class. One slot is one cache line, which
 * other slots write only to steal permits or to drain the slot.
 */
struct llfree_local {
	u64 reserved[LLFREE_MAX_CLASSES];
	u32 last_free;
	u16 partial[LLFREE_MAX_CLASSES];
} ____cacheline_aligned;

/**
 * struct llfree - an instance of the allocator
 * @first: first frame of the range
 * @end: frame after the last one
 * @mapped_first: lowest value that @first had. There are addresses for the
 *	words of all frames from here to @mapped_end.
 * @mapped_end: highest value that @end had
 * @nr_trees: trees of the range that have memory
 * @local_key: bits of a reservation that say which tree is reserved
 * @tree_order: frames of a tree are 2^@tree_order
 * @tree_frames: frames of a tree
 * @rows: a bit per frame, which is allocated if its bit differs from the lowest
 *	bit of its child's turn. @rows, @children and @trees point to where the
 *	word of number 0 would be.
 * @children: a word per child
 * @trees: a word per tree, for each allocatable view
 * @locals: reservations, or NULL
 * @nr_slots: number of elements of @locals
 * @policy: how requests spread over trees
 * @hint: orders for which an exhaustive search was unsuccessful, by view
 * @cursor: by view, the tree in which the last search ended; for
 *	LLFREE_VIEW_NORMAL, where slots have reservations, only searches without
 *	a slot and bounded searches use the cursor
 * @repaired: children whose word LLFREE_INIT_RECOVER had to correct
 * @shuffle_key: key that llfree_shuffle() was given
 * @shuffle_step: distance from one entirely free tree to the next, if
 *	llfree_shuffle() was called; else 0
 * @shuffle_first: decides which child of such a tree is the first
 * @shuffle_next: tree at which the next search for an entirely free tree starts
 * @bounded_slot: slot whose reservations the next bounded search looks at first
 * @round: by class, changes at the first free of less than whole children to a
 *	tree of the class after a slot searched for partly free children
 *
 * The members are for lib/llfree/ and the inline functions here only.
 */
struct llfree {
	unsigned long first;
	unsigned long end;
	unsigned long mapped_first;
	unsigned long mapped_end;
	unsigned long nr_trees;
	unsigned long repaired;
	u64 local_key;
	unsigned int tree_order;
	unsigned int tree_frames;
	u64 *rows;
	u16 *children;
	u32 *trees[LLFREE_ALLOC_VIEWS];
	struct llfree_local *locals;
	unsigned int nr_slots;
	const struct llfree_policy *policy;
	u32 hint[LLFREE_ALLOC_VIEWS] ____cacheline_aligned;
	unsigned long cursor[LLFREE_ALLOC_VIEWS];
	u64 shuffle_key;
	unsigned long shuffle_step;
	unsigned long shuffle_first;
	unsigned long shuffle_next;
	unsigned int bounded_slot;
	u8 round[LLFREE_MAX_CLASSES] ____cacheline_aligned;
};

/**
 * struct llfree_memory - sizes or addresses of the memory of an instance
 * @tree_order: frames of a tree are 2^@tree_order
 * @rows_size: bytes for @rows
 * @children_size: bytes for @children
 * @trees_size: bytes for @trees
 * @trees_stride: bytes from the words of one view in @trees to those of the next
 * @rows: may be persistent; cache line aligned
 * @children: may be persistent; cache line aligned, or would be if the array
 *	began with the word of frame 0
 * @trees: volatile; aligned as @children
 */
struct llfree_memory {
	unsigned int tree_order;
	size_t rows_size;
	size_t children_size;
	size_t trees_size;
	size_t trees_stride;
	void *rows;
	void *children;
	void *trees;
};

/**
 * struct llfree_stats - numbers of free frames, children and trees
 * @frames: free frames, by view
 * @huge: entirely free children, by view
 * @reserved: trees that a slot has reserved
 * @trees: trees of each class; the last element is for LLFREE_CLASS_NONE
 */
struct llfree_stats {
	unsigned long frames[LLFREE_NR_VIEWS];
	unsigned long huge[LLFREE_NR_VIEWS];
	unsigned long reserved;
	unsigned long trees[LLFREE_CLASS_NONE + 1];
};

/**
 * struct llfree_child - state of one child, a snapshot
 * @frame: first frame of the child
 * @free: its free frames
 * @view: its view
 * @reported: the child was reported to a hypervisor as free
 * @class: class of its tree, or LLFREE_CLASS_NONE
 * @tree_reserved: its tree is reserved by a slot
 */
struct llfree_child {
	unsigned long frame;
	u16 free;
	u8 view;
	bool reported;
	u8 class;
	bool tree_reserved;
};

/**
 * struct llfree_fault - first broken invariant that llfree_validate() found
 * @what: the invariant
 * @frame: frame at which the invariant is broken
 * @expected: value that the lower level implies
 * @found: value that was found
 */
struct llfree_fault {
	const char *what;
	unsigned long frame;
	long expected;
	long found;
};

/* Life cycle */
unsigned int llfree_tree_order(unsigned long nr, unsigned int nr_slots);
int llfree_layout(unsigned long first, unsigned long nr, unsigned int tree_order,
		  struct llfree_memory *mem);
int llfree_init(struct llfree *llf, unsigned long first, unsigned long nr,
		const struct llfree_memory *mem, enum llfree_mode mode,
		const struct llfree_policy *policy);
int llfree_grow(struct llfree *llf, unsigned long first, unsigned long nr,
		const struct llfree_memory *mem);
int llfree_move(struct llfree *llf, const struct llfree_memory *mem);
bool llfree_holes(const struct llfree *llf, unsigned long first, unsigned long nr);
int llfree_shrink(struct llfree *llf, unsigned long first, unsigned long nr);
unsigned int llfree_max_slots(const struct llfree *llf);
int llfree_set_slots(struct llfree *llf, struct llfree_local *locals,
		     unsigned int nr_slots);

/**
 * llfree_nr_slots() - number of slots
 * @llf: the instance
 *
 * Any number below this one can be used as a slot, also right after
 * llfree_set_slots() gave the instance its slots.
 *
 * Context: any, also NMI; takes no lock, does not sleep.
 *
 * Return: number of slots; 0 if there are none yet
 */
static inline unsigned int llfree_nr_slots(const struct llfree *llf)
{
	return smp_load_acquire(&llf->nr_slots); /* LLF(nr_slots:A) */
}

/* Allocation and free */
long llfree_alloc(struct llfree *llf, const struct llfree_request *req,
		  struct llfree_delta *delta);
long llfree_alloc_fast(struct llfree *llf, unsigned int slot, unsigned int order,
		       unsigned int class, unsigned int *whole,
		       struct llfree_delta *delta);
long llfree_alloc_slow(struct llfree *llf, const struct llfree_request *req,
		       struct llfree_delta *delta);
long llfree_alloc_batch(struct llfree *llf, const struct llfree_request *req,
			unsigned int nr, u64 *masks, struct llfree_delta *delta);
int llfree_free(struct llfree *llf, int slot, unsigned long frame,
		unsigned int order, struct llfree_delta *delta);
long llfree_free_rest(struct llfree *llf, int slot, unsigned long frame,
		      unsigned int order, struct llfree_delta *delta);
int llfree_free_reported(struct llfree *llf, unsigned long frame,
			 unsigned int order, struct llfree_delta *delta);
int llfree_free_fast(struct llfree *llf, int slot, unsigned long frame,
		     unsigned int order);
int llfree_free_batch(struct llfree *llf, int slot, unsigned long frame,
		      u64 mask, struct llfree_delta *delta);

/* Exact blocks */
int llfree_claim(struct llfree *llf, unsigned long frame, unsigned int order,
		 unsigned int flags, struct llfree_delta *delta);
long llfree_claim_row(struct llfree *llf, unsigned long frame, u64 mask,
		      unsigned int flags, u64 *claimed,
		      struct llfree_delta *delta);

/* State of children and trees */
int llfree_set_view(struct llfree *llf, unsigned long frame,
		    enum llfree_view view, struct llfree_delta *delta);
void llfree_shuffle(struct llfree *llf, u64 key);
int llfree_drain(struct llfree *llf, int slot);

/*
 * Lowest bit of turn in a child word: bits of free frames are equal to this bit
 */
#define LLFREE_CHILD_TURN_SHIFT	13

/* Queries */

/*
 * Return the address of a word of an array of an instance. Integer arithmetic,
 * since there may be no memory, and so no object, at number 0.
 */
static __always_inline void *llfree_word(const void *array, unsigned long number,
					 size_t size)
{
	return (void *)((unsigned long)array + number * size);
}

/**
 * llfree_frame_is_free() - is a frame free?
 * @llf: the instance
 * @frame: any frame number
 *
 * Reads two words. The answer may be old when the function returns.
 *
 * Context: any, also NMI; takes no lock, does not sleep.
 *
 * Return: whether @frame is in the range and free
 */
static inline bool llfree_frame_is_free(const struct llfree *llf, unsigned long frame)
{
	u16 child;
	u64 row;

	/* LLF(range:A) */
	if (frame >= smp_load_acquire(&llf->end) || frame < smp_load_acquire(&llf->first))
		return false;
	child = READ_ONCE(*(u16 *)llfree_word(READ_ONCE(llf->children),
					      frame >> LLFREE_CHILD_ORDER, sizeof(u16)));
	row = READ_ONCE(*(u64 *)llfree_word(READ_ONCE(llf->rows),
					    frame >> LLFREE_ROW_ORDER, sizeof(u64))) >>
	      (frame & (LLFREE_ROW_FRAMES - 1));
	return !((row ^ child >> LLFREE_CHILD_TURN_SHIFT) & 1) && child != LLFREE_HOLE_CHILD;
}

int llfree_block_order(const struct llfree *llf, unsigned long frame);
u64 llfree_row_mask(const struct llfree *llf, unsigned long frame);
int llfree_child(const struct llfree *llf, unsigned long frame,
		 struct llfree_child *child);
int llfree_child_stable(const struct llfree *llf, unsigned long frame);

/*
 * Bits of a word in llfree.hint: lowest order that an exhaustive search did not
 * find
 */
#define LLFREE_HINT_EXHAUSTED	0xfU

/**
 * llfree_may_have_order() - might an allocation of this order succeed?
 * @llf: the instance
 * @order: 0..LLFREE_MAX_ORDER
 * @view: a view below LLFREE_VIEW_ISOLATED
 *
 * A hint in constant time. False if an exhaustive search for this or a smaller
 * order was unsuccessful, and no block of such an order became free since.
 *
 * Context: any, also NMI; takes no lock, does not sleep.
 *
 * Return: whether an allocation is worth trying
 */
static inline bool llfree_may_have_order(const struct llfree *llf,
					 unsigned int order,
					 enum llfree_view view)
{
	return order < (READ_ONCE(llf->hint[view]) & LLFREE_HINT_EXHAUSTED);
}

bool llfree_find_order(struct llfree *llf, unsigned int order,
		       enum llfree_view view);
void llfree_stats_exact(const struct llfree *llf, struct llfree_stats *stats);
void llfree_count_orders(const struct llfree *llf, int view, int class,
			 unsigned long nr[LLFREE_NR_ORDERS]);
int llfree_validate(const struct llfree *llf, struct llfree_fault *fault);
void llfree_vmcoreinfo_setup(void);

/**
 * llfree_next_child() - first frame of the next child
 * @frame: any frame
 *
 * For iteration with llfree_child(), which refuses frames outside the range:
 * start with the first frame of the range and go on while it succeeds.
 *
 * Return: frame number
 */
static inline unsigned long llfree_next_child(unsigned long frame)
{
	return (frame | (LLFREE_CHILD_FRAMES - 1)) + 1;
}

#endif /* _LINUX_LLFREE_H */
