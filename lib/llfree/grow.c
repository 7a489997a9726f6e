// SPDX-License-Identifier: GPL-2.0
/*
 * LLFree core: adding and removing frames while the instance is in use.
 *
 * Numbers of rows, children and trees are absolute, so they do not change when
 * the range does. No word is ever copied. The caller maps the memory of the
 * existing words a second time, in a larger range of addresses, together with
 * memory for added words. llfree_grow() writes the words of added frames there,
 * publishes the addresses, and then the range, by LLF(grow:A). The old
 * addresses stay valid and lead to the same words. So a CPU that still uses old
 * addresses is not wrong, and nothing waits for that CPU. Addresses never cover
 * less than before, even if the range shrinks: a CPU may use new addresses with
 * an old number.
 *
 * A number that the old addresses do not cover has one of three sources: the
 * range, a word that another CPU wrote by the new addresses, or the caller. A
 * CPU reads the addresses after the number. For this, a CPU reads words that
 * carry numbers by an acquire before it uses the numbers for more than a
 * comparison.
 *
 * Children without memory are holes: their word is LLFREE_HOLE_CHILD, and their
 * rows are 0. A tree of holes, LLFREE_HOLE_TREE, looks exhausted. Nothing
 * changes these words, so one page of each kind serves for all holes. The pages
 * have to be writable: a CPU that read a word before its child became a hole
 * may still try a compare-and-swap, which fails. An operation that gives
 * permits to a tree drops the permits if the tree is a hole by then.
 */
#include <linux/string.h>

#include "layout.h"
#include "search.h"

/* Are the frames whole children, and is there at least one? */
static int grow_check(unsigned long first, unsigned long nr)
{
	if (!nr || !IS_ALIGNED(first | nr, LLFREE_CHILD_FRAMES) ||
	    first >= LLFREE_END_FRAMES || nr > LLFREE_END_FRAMES - first)
		return -EINVAL;
	return 0;
}

/*
 * Has @next the words of the instance, as far as the words are in the range?
 * Only holes are compared.
 */
static bool grow_same_words(const struct llfree *llf, const struct llfree *next)
{
	const unsigned long end = children_end(llf);
	unsigned long i;

	for (i = children_first(llf); i < end; i++)
		if (child_hole(READ_ONCE(*child_at(llf, i))) !=
		    child_hole(READ_ONCE(*child_at(next, i))))
			return false;
	return true;
}

/*
 * Set up @next as the instance would be with the words of @mem, from frame @low
 * on.
 */
static int grow_next(const struct llfree *llf, unsigned long low, unsigned long high,
		     const struct llfree_memory *mem, struct llfree *next)
{
	int ret;

	ret = llf_layout_check(low, high - low, mem);
	if (ret)
		return ret;
	if (mem->tree_order != llf->tree_order)
		return -EINVAL;
	memset(next, 0, sizeof(*next));
	next->tree_order = llf->tree_order;
	next->tree_frames = llf->tree_frames;
	layout_set(next, mem, low);
	return grow_same_words(llf, next) ? 0 : -EEXIST;
}

/* Make the word of a tree say that it has children, all of which are allocated. */
static void grow_tree(struct llfree *llf, const struct llfree *next, unsigned long tree)
{
	const u32 word = tree_make(0, llf->policy->init_class, false);
	unsigned int view;
	u32 hole;

	for (view = 0; view < LLFREE_ALLOC_VIEWS; view++) {
		hole = LLFREE_HOLE_TREE;
		if (try_cmpxchg_relaxed(tree_at(next, view, tree), &hole, word) &&
		    view == LLFREE_VIEW_NORMAL)
			WRITE_ONCE(llf->nr_trees, llf->nr_trees + 1);
	}
}

static void range_set(struct llfree *llf, unsigned long first, unsigned long end)
{
	/*
	 * A CPU that sees the new range sees the words of the range. Readers
	 * read the end first. So if an empty range gets frames higher up, no
	 * reader sees a range from the old place to the new one.
	 */
	if (first != llf->first)
		smp_store_release(&llf->first, first); /* LLF(grow:A) */
	if (end != llf->end)
		smp_store_release(&llf->end, end); /* LLF(grow:A) */
	if (llf->shuffle_step)
		llf_shuffle_trees(llf);
}

/**
 * llfree_grow() - add frames to an instance
 * @llf: the instance
 * @first: first frame to add, aligned to LLFREE_CHILD_FRAMES
 * @nr: number of frames, a multiple of LLFREE_CHILD_FRAMES. Each child is outside the
 *	range or a hole in it.
 * @mem: memory of the sizes of llfree_layout() for the smallest range that has
 *	these frames and all that the instance ever had, @mapped_first to
 *	@mapped_end of struct llfree, with the order of trees that the instance
 *	has. The words of that range are the words that the instance uses,
 *	mapped once more. Elsewhere rows are 0, children are LLFREE_HOLE_CHILD,
 *	and trees LLFREE_HOLE_TREE. This function changes only the words of
 *	@first to @first + @nr.
 *
 * The added frames are allocated, and their children are isolated:
 * llfree_set_view() shows the children, and llfree_free() makes the frames
 * free. The caller may use the added frames after this function has returned.
 * The memory that the instance used before stays mapped until nothing uses the
 * instance any more.
 *
 * Context: any; one caller at a time, also of llfree_shrink(), llfree_set_slots() and
 * llfree_shuffle(). Other contexts may use the instance meanwhile. Reads the words of all
 * children.
 *
 * Return: 0; -EINVAL for bad arguments; -EEXIST if one of the children is no
 *	hole, or if @mem has holes elsewhere than the instance. Then nothing has
 *	changed.
 */
int llfree_grow(struct llfree *llf, unsigned long first, unsigned long nr,
		const struct llfree_memory *mem)
{
	const bool empty = llf->first == llf->end;
	const unsigned long low = min(llf->mapped_first, first);
	const unsigned long high = max(llf->mapped_end, first + nr);
	struct llfree next;
	unsigned long i;
	int ret;

	ret = grow_check(first, nr) ?: grow_next(llf, low, high, mem, &next);
	if (ret)
		return ret;
	for (i = frame_child(first); i < frame_child(first + nr); i++)
		if (!child_hole(READ_ONCE(*child_at(&next, i))))
			return -EEXIST;

	for (i = frame_child(first); i < frame_child(first + nr); i++) {
		layout_rows(&next, i, ~0ULL);
		WRITE_ONCE(*child_at(&next, i), child_make(0, LLFREE_VIEW_ISOLATED));
		grow_tree(llf, &next, child_tree(llf, i));
	}
	layout_set(llf, mem, low);
	llf->mapped_first = low;
	llf->mapped_end = high;
	range_set(llf, empty ? first : min(llf->first, first),
		  empty ? first + nr : max(llf->end, first + nr));
	return 0;
}

/**
 * llfree_move() - use the words of an instance at other addresses
 * @llf: the instance
 * @mem: as for llfree_grow(), without memory for more frames
 *
 * Afterwards the caller can replace memory all of whose words are those of
 * holes by the memory of holes. The memory at the old addresses stays until all
 * operations have ended that were under way when this function returned; then
 * nothing uses the old addresses.
 *
 * Context: any; one caller at a time, as llfree_grow(). Other contexts may use the
 * instance meanwhile. Reads the words of all children.
 *
 * Return: 0; -EINVAL for bad arguments; -EEXIST if @mem has holes elsewhere than the
 *	instance. Then nothing has changed.
 */
int llfree_move(struct llfree *llf, const struct llfree_memory *mem)
{
	struct llfree next;
	int ret;

	ret = grow_next(llf, llf->mapped_first, llf->mapped_end, mem, &next);
	if (!ret)
		layout_set(llf, mem, llf->mapped_first);
	return ret;
}

/**
 * llfree_holes() - are all children of some frames holes?
 * @llf: the instance
 * @first: first frame, aligned to LLFREE_CHILD_FRAMES
 * @nr: number of frames, a multiple of LLFREE_CHILD_FRAMES
 *
 * Context: any; one caller at a time, as llfree_grow(), for an answer that stays true.
 *
 * Return: whether each child is a hole or outside the range
 */
bool llfree_holes(const struct llfree *llf, unsigned long first, unsigned long nr)
{
	const unsigned long end = min(frame_child(first + nr), children_end(llf));
	unsigned long i;

	for (i = max(frame_child(first), children_first(llf)); i < end; i++)
		if (!child_hole(READ_ONCE(*child_at(llf, i))))
			return false;
	return true;
}

/* Can a child be removed: is the child isolated, and all of it allocated? */
static int shrink_check_child(const struct llfree *llf, unsigned long child)
{
	const u16 word = READ_ONCE(*child_at(llf, child));

	if (child_hole(word))
		return -ENOENT;
	if (child_free(word) || child_view(word) != LLFREE_VIEW_ISOLATED)
		return -EBUSY;
	return rows_count_free(llf, child, word) ? -EAGAIN : 0;
}

/* Has a tree a child outside of [@first, @end)? */
static bool tree_has_others(const struct llfree *llf, unsigned long tree,
			    unsigned long first, unsigned long end)
{
	unsigned long child = tree_child(llf, tree);
	unsigned int i;

	for (i = 0; i < tree_children(llf); i++, child++)
		if ((child < first || child >= end) &&
		    !child_hole(READ_ONCE(*child_at(llf, child))))
			return true;
	return false;
}

/*
 * Has no slot reserved a tree that is going to have no children, and has no
 * operation permits of the tree? Not every case is found: one operation may
 * hold as many permits as another has left as a deficit. Permits that are given
 * to the tree when it is a hole are dropped.
 */
static int shrink_check_tree(const struct llfree *llf, unsigned long tree)
{
	unsigned int view;
	u32 word;

	for (view = 0; view < LLFREE_ALLOC_VIEWS; view++) {
		word = READ_ONCE(*tree_at(llf, view, tree));
		if (tree_reserved(word) || tree_free(word))
			return -EAGAIN;
	}
	return 0;
}

/*
 * Make a tree without children a hole. Searches may change exhausted meanwhile.
 */
static void shrink_tree(struct llfree *llf, unsigned long tree)
{
	unsigned int view;
	u32 *word, old;

	for (view = 0; view < LLFREE_ALLOC_VIEWS; view++) {
		word = tree_at(llf, view, tree);
		old = READ_ONCE(*word);
		while (!try_cmpxchg_relaxed(word, &old, LLFREE_HOLE_TREE))
			;
	}
	WRITE_ONCE(llf->nr_trees, llf->nr_trees - 1);
}

/* Remove holes from the ends of the range. */
static void shrink_range(struct llfree *llf)
{
	unsigned long first = llf->first, end = llf->end;

	while (first < end && child_hole(READ_ONCE(*child_at(llf, frame_child(first)))))
		first = llfree_next_child(first);
	while (end > first && child_hole(READ_ONCE(*child_at(llf, frame_child(end - 1)))))
		end = ALIGN_DOWN(end - 1, LLFREE_CHILD_FRAMES);
	/* If no frame is left, the range is empty and has no trees. */
	if (first >= end) {
		first = ALIGN_DOWN(llf->first, llf->tree_frames);
		end = first;
	}
	range_set(llf, first, end);
}

/**
 * llfree_shrink() - remove frames from an instance
 * @llf: the instance
 * @first: first frame to remove, aligned to LLFREE_CHILD_FRAMES
 * @nr: number of frames, a multiple of LLFREE_CHILD_FRAMES, all in the range
 *
 * The caller owns all of these frames, and their children are isolated. Changes
 * of their views and claims of their frames have returned, and none begins.
 * Afterwards the children are holes. Meanwhile queries about the frames may say
 * that they are free.
 *
 * The caller can then replace the memory of their words by the memory of holes,
 * at all addresses where the instance has that memory. The memory must not be
 * used for anything else until all addresses are replaced and no CPU uses a
 * stale translation.
 *
 * Context: any; one caller at a time, as llfree_grow(). Other contexts may use the
 * instance meanwhile.
 *
 * Return: 0; -EINVAL for bad arguments; -ENOENT if one of the children is a
 *	hole; -EBUSY if one is not isolated or has free frames; -EAGAIN while an
 *	operation is under way in the children, or if a slot has reserved a tree
 *	of theirs: drain all slots and try again. On failure nothing has
 *	changed.
 */
int llfree_shrink(struct llfree *llf, unsigned long first, unsigned long nr)
{
	const unsigned long begin = frame_child(first), end = frame_child(first + nr);
	unsigned long i;
	int ret;

	ret = grow_check(first, nr);
	if (ret)
		return ret;
	if (!block_in_range(llf, first, nr))
		return -EINVAL;
	for (i = begin; i < end; i++) {
		ret = shrink_check_child(llf, i);
		if (ret)
			return ret;
	}
	for (i = child_tree(llf, begin); i <= child_tree(llf, end - 1); i++) {
		if (tree_has_others(llf, i, begin, end))
			continue;
		ret = shrink_check_tree(llf, i);
		if (ret)
			return ret;
	}

	/* The frames are the caller's: nothing else can change the children. */
	for (i = begin; i < end; i++)
		layout_hole(llf, i);
	for (i = child_tree(llf, begin); i <= child_tree(llf, end - 1); i++)
		if (!tree_has_others(llf, i, begin, end))
			shrink_tree(llf, i);
	shrink_range(llf);
	return 0;
}
