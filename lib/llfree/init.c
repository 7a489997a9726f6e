// SPDX-License-Identifier: GPL-2.0
/* LLFree core: layout of an instance, its initial state, and its slots. */
#include <kunit/visibility.h>
#include <linux/export.h>
#include <linux/limits.h>
#include <linux/string.h>

#include "layout.h"

/* Least number of trees, unless the trees are the smallest ones */
#define MIN_TREES		1024UL
/*
 * Trees for each slot, so that all slots can reserve trees of several classes
 */
#define SLOT_TREES		(3UL * LLFREE_NR_CLASSES)

/**
 * llfree_tree_order() - choose the size of the trees of an instance
 * @nr: number of frames
 * @nr_slots: slots that the instance is going to have
 *
 * A search reads a word for each tree, so large instances have large trees. But
 * if trees are too few, slots take trees from each other. If trees are too
 * large, frames of different lifetimes share trees.
 *
 * Context: any.
 *
 * Return: LLFREE_MIN_TREE_ORDER..LLFREE_MAX_TREE_ORDER
 */
unsigned int llfree_tree_order(unsigned long nr, unsigned int nr_slots)
{
	const unsigned long least = max(MIN_TREES, nr_slots * SLOT_TREES);
	unsigned int order = LLFREE_MIN_TREE_ORDER;

	while (order < LLFREE_MAX_TREE_ORDER && nr >> (order + 1) >= least)
		order++;
	return order;
}
EXPORT_SYMBOL_IF_KUNIT(llfree_tree_order);

/**
 * llfree_layout() - how much memory an instance needs
 * @first: first frame of the range
 * @nr: number of frames, 1..LLFREE_MAX_FRAMES
 * @tree_order: LLFREE_MIN_TREE_ORDER..LLFREE_MAX_TREE_ORDER; see llfree_tree_order()
 * @mem: @tree_order and the sizes are stored here
 *
 * Context: any.
 *
 * Return: 0; -EINVAL if the range or the order of trees is not valid
 */
int llfree_layout(unsigned long first, unsigned long nr, unsigned int tree_order,
		  struct llfree_memory *mem)
{
	unsigned long base, trees;

	if (tree_order < LLFREE_MIN_TREE_ORDER || tree_order > LLFREE_MAX_TREE_ORDER)
		return -EINVAL;
	if (!nr || nr > LLFREE_MAX_FRAMES || first >= LLFREE_END_FRAMES ||
	    nr > LLFREE_END_FRAMES - first)
		return -EINVAL;

	base = ALIGN_DOWN(first, BIT(tree_order));
	trees = ALIGN(first + nr - base, BIT(tree_order)) >> tree_order;
	mem->tree_order = tree_order;
	mem->rows_size = (trees << (tree_order - LLFREE_ROW_ORDER)) * sizeof(u64);
	mem->children_size = ALIGN((trees << (tree_order - LLFREE_CHILD_ORDER)) * sizeof(u16),
				   SMP_CACHE_BYTES);
	mem->trees_stride = ALIGN(trees * sizeof(u32), SMP_CACHE_BYTES);
	mem->trees_size = LLFREE_ALLOC_VIEWS * mem->trees_stride;
	return 0;
}
EXPORT_SYMBOL_GPL(llfree_layout);

/* Do the words share cache lines as in an array that begins with number 0? */
static bool words_aligned(const void *words, unsigned long first, size_t size)
{
	return IS_ALIGNED((unsigned long)words, SMP_CACHE_BYTES) ||
	       IS_ALIGNED((unsigned long)words - first * size, SMP_CACHE_BYTES);
}

/* Is the memory of @mem large enough for the range, and aligned? */
int llf_layout_check(unsigned long first, unsigned long nr,
		     const struct llfree_memory *mem)
{
	const unsigned long tree = first >> mem->tree_order;
	struct llfree_memory need;
	int ret;

	ret = llfree_layout(first, nr, mem->tree_order, &need);
	if (ret)
		return ret;
	if (!mem->rows || !mem->children || !mem->trees ||
	    !IS_ALIGNED((unsigned long)mem->rows, SMP_CACHE_BYTES) ||
	    !words_aligned(mem->children, frame_child(tree << mem->tree_order),
			   sizeof(u16)) ||
	    !words_aligned(mem->trees, tree, sizeof(u32)) ||
	    !IS_ALIGNED(mem->trees_stride, SMP_CACHE_BYTES) ||
	    mem->rows_size < need.rows_size ||
	    mem->children_size < need.children_size ||
	    mem->trees_stride < need.trees_stride ||
	    mem->trees_size / LLFREE_ALLOC_VIEWS < mem->trees_stride)
		return -EINVAL;
	return 0;
}

/* Bits of a row that are not in the range */
static u64 row_outside(const struct llfree *llf, unsigned long row)
{
	unsigned long frame = row_frame(row);
	u64 inside = ~0ULL;

	if (frame + LLFREE_ROW_FRAMES <= llf->first || frame >= llf->end)
		return ~0ULL;
	if (frame < llf->first)
		inside &= ~0ULL << (llf->first - frame);
	if (llf->end - frame < LLFREE_ROW_FRAMES)
		inside &= (1ULL << (llf->end - frame)) - 1;
	return ~inside;
}

/*
 * Write the rows of a child with this turn.
 *
 * Return: number of free frames of the child
 */
static unsigned int init_rows(struct llfree *llf, unsigned long child,
			      enum llfree_mode mode, u16 turn)
{
	unsigned long row = child << CHILD_ROW_SHIFT;
	unsigned int free = 0, i;
	u64 bits;

	for (i = 0; i < LLFREE_CHILD_ROWS; i++, row++) {
		if (mode == LLFREE_INIT_RECOVER)
			bits = row_now(llf, row);
		else
			bits = mode == LLFREE_INIT_ALLOC ? ~0ULL : 0;
		bits |= row_outside(llf, row);
		*row_at(llf, row) = bits ^ free_bits(turn);
		free += LLFREE_ROW_FRAMES - hweight64(bits);
	}
	return free;
}

/*
 * Recover a child from memory that was written before. Keep the rows, turn and
 * view, and count free frames anew.
 */
static void recover_child(struct llfree *llf, unsigned long child)
{
	const u16 word = *child_at(llf, child), turn = word & CHILD_TURN_MASK;
	const unsigned int free = init_rows(llf, child, LLFREE_INIT_RECOVER, turn);
	unsigned int view = child_view(word);

	llf->repaired += free != child_free(word);
	/*
	 * The caller that isolated a child did not survive, and would never
	 * show it again.
	 */
	if (view == LLFREE_VIEW_ISOLATED)
		view = LLFREE_VIEW_NORMAL;
	*child_at(llf, child) = child_make(free, view) | turn;
}

static void init_child(struct llfree *llf, unsigned long child,
		       enum llfree_mode mode)
{
	*child_at(llf, child) = child_make(init_rows(llf, child, mode, 0),
					   LLFREE_VIEW_NORMAL);
}

/* Can a child have this word? */
static bool child_valid(u16 word)
{
	if (child_hole(word))
		return true;
	return child_free(word) <= LLFREE_CHILD_FRAMES &&
	       (child_free(word) == LLFREE_CHILD_FRAMES ||
		!(word & CHILD_REPORTED));
}

static void init_tree(struct llfree *llf, unsigned long tree)
{
	s32 free[LLFREE_NR_VIEWS] = { };
	unsigned int i, view, class;
	u16 word;

	for (i = 0; i < tree_children(llf); i++) {
		word = *child_at(llf, tree_child(llf, tree) + i);
		free[child_view(word)] += child_free(word);
	}
	llf->nr_trees++;
	for (view = 0; view < LLFREE_ALLOC_VIEWS; view++) {
		class = free[view] == (s32)llf->tree_frames ?
			LLFREE_CLASS_NONE : llf->policy->init_class;
		*tree_at(llf, view, tree) = tree_make(free[view], class, false);
	}
}

/**
 * llfree_init() - set up an instance
 * @llf: memory for the instance; its content does not matter
 * @first: first frame of the range
 * @nr: number of frames
 * @mem: memory of the sizes of llfree_layout(). From now on the memory belongs
 *	to the instance, and all of it can be written: there are no holes. @mem
 *	itself may be reused. If the mode keeps rows, the order of trees has to
 *	be that with which the rows were written. In such a mode, frames that
 *	were outside the range are allocated.
 * @mode: initial state of the frames
 * @policy: how requests spread over trees; NULL for llfree_default_policy
 *
 * The instance starts without slots.
 *
 * Context: any; no other CPU may use the instance or the memory.
 *
 * Return: 0; -EINVAL for bad arguments; -EUCLEAN if LLFREE_INIT_KEEP finds a
 *	child with a word that no child can have. Then nothing has changed, and
 *	LLFREE_INIT_RECOVER can still make use of the rows.
 */
int llfree_init(struct llfree *llf, unsigned long first, unsigned long nr,
		const struct llfree_memory *mem, enum llfree_mode mode,
		const struct llfree_policy *policy)
{
	unsigned long i, end;
	unsigned int view;
	int ret;

	BUILD_BUG_ON(LLFREE_HOLE_CHILD != (CHILD_REPORTED | CHILD_VIEW_MASK));
	BUILD_BUG_ON(LLFREE_HOLE_TREE != (TREE_CLASS_MASK | tree_exhausted_make(0)));

	ret = llf_layout_check(first, nr, mem);
	if (ret)
		return ret;
	if (!policy)
		policy = &llfree_default_policy;
	if (mode > LLFREE_INIT_KEEP ||
	    (!policy->rate && policy->nr_classes != LLFREE_NR_CLASSES) ||
	    !policy->nr_classes || policy->nr_classes > LLFREE_MAX_CLASSES ||
	    policy->init_class >= policy->nr_classes ||
	    !policy->near || (policy->near & (policy->near - 1)))
		return -EINVAL;
	if (mode == LLFREE_INIT_KEEP) {
		const u16 *children = mem->children;

		end = (ALIGN(first + nr, BIT(mem->tree_order)) -
		       ALIGN_DOWN(first, BIT(mem->tree_order))) >> LLFREE_CHILD_ORDER;
		for (i = 0; i < end; i++)
			if (!child_valid(children[i]))
				return -EUCLEAN;
	}

	memset(llf, 0, sizeof(*llf));
	llf->first = first;
	llf->end = first + nr;
	llf->mapped_first = llf->first;
	llf->mapped_end = llf->end;
	llf->tree_order = mem->tree_order;
	llf->tree_frames = BIT(llf->tree_order);
	llf->local_key = LOCAL_PRESENT | (LOCAL_ROW_MASK & ~((u64)tree_rows(llf) - 1));
	llf->policy = policy;
	for (view = 0; view < LLFREE_ALLOC_VIEWS; view++)
		llf->hint[view] = HINT_IDLE;
	layout_set(llf, mem, first);

	end = trees_end(llf);
	for (i = tree_child(llf, trees_first(llf)); i < tree_child(llf, end); i++) {
		/* A child outside the range has a word if its tree is in the range. */
		if (i < children_first(llf) || i >= children_end(llf))
			layout_hole(llf, i);
		else if (mode < LLFREE_INIT_RECOVER)
			init_child(llf, i, mode);
		else if (child_hole(*child_at(llf, i)))
			init_child(llf, i, LLFREE_INIT_ALLOC);
		else if (mode == LLFREE_INIT_RECOVER)
			recover_child(llf, i);
	}
	for (i = trees_first(llf); i < end; i++)
		init_tree(llf, i);
	return 0;
}
EXPORT_SYMBOL_GPL(llfree_init);

/**
 * llfree_max_slots() - largest useful number of slots
 * @llf: the instance
 *
 * If more than one tree in three were reserved, slots would only steal from
 * each other.
 *
 * Context: any.
 *
 * Return: number of slots; 0 if reservations are of no use
 */
unsigned int llfree_max_slots(const struct llfree *llf)
{
	return min_t(unsigned long, INT_MAX,
		     READ_ONCE(llf->nr_trees) / (3UL * llf->policy->nr_classes));
}
EXPORT_SYMBOL_GPL(llfree_max_slots);

/**
 * llfree_set_slots() - give an instance its slots, or more of them
 * @llf: the instance
 * @locals: @nr_slots elements, cache line aligned, which belong to the instance
 *	until a call with other ones
 * @nr_slots: number of slots; 0 for none
 *
 * Other contexts may use the instance meanwhile in two cases. Either the
 * instance has no slots yet, or @locals are the current ones and @nr_slots is
 * not below the current number. So a caller gives room for all possible slots
 * once, and then raises their number. llfree_nr_slots() tells which slots can
 * be used. In all other cases the caller drains all slots first, and nothing
 * else uses the instance.
 *
 * Context: any; one caller at a time.
 *
 * Return: 0; -EINVAL for bad arguments
 */
int llfree_set_slots(struct llfree *llf, struct llfree_local *locals,
		     unsigned int nr_slots)
{
	unsigned int slot, class;

	if (nr_slots > INT_MAX || (nr_slots && !locals) ||
	    !IS_ALIGNED((unsigned long)locals, SMP_CACHE_BYTES))
		return -EINVAL;

	slot = locals == llf->locals && nr_slots >= llf->nr_slots ? llf->nr_slots : 0;
	for (; slot < nr_slots; slot++) {
		memset(&locals[slot], 0, sizeof(*locals));
		for (class = 0; class < LLFREE_MAX_CLASSES; class++)
			locals[slot].partial[class] = HINT_NONE;
	}
	WRITE_ONCE(llf->locals, locals);
	/* Publish the slots before their number: LLF(set_slots:A) */
	smp_store_release(&llf->nr_slots, nr_slots);
	return 0;
}
EXPORT_SYMBOL_GPL(llfree_set_slots);
