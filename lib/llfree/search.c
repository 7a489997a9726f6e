// SPDX-License-Identifier: GPL-2.0
/*
 * LLFree core: which trees an allocation looks at.
 *
 * First the tree that the slot has reserved; for less than a child, partly free
 * children in trees of the class; then trees in the order that the policy
 * gives; then trees and permits that other slots have reserved (steal.c); and
 * last every child of trees that are not exhausted (exhaustive.c).
 */
#include "policy.h"
#include "search.h"

/*
 * Limits of a search for small blocks before a huge one is broken up: number of
 * trees, and number of trees whose free frames turn out to be scattered.
 * Instances with more trees are larger than 32 GiB with the smallest trees and
 * than 512 GiB with the largest. In all others a search sees the holes of all
 * trees: if it saw those of some trees only, memory that is in use for long
 * would run out of entirely free children.
 */
#define PARTIAL_TREES		2048U
#define PARTIAL_TRIES		2U
/* Slots of classes at the low end spread over at most this part of memory. */
#define LOW_PART		32U

/* ---- One tree ---- */

/*
 * search_settle() - count the permits of @held that are left after tree_alloc()
 *
 * Resets @s->lost for the next attempt.
 */
static inline unsigned int search_settle(struct search *s, unsigned int held,
					 bool success)
{
	held -= min(held, s->lost + (success ? s->taken : 0));
	s->lost = 0;
	return held;
}

/* Allocate from the tree that the slot has reserved. */
static __always_inline long search_reserved(struct llfree *llf, struct search *s,
					    u64 *local)
{
	const unsigned int frames = search_frames(s);
	unsigned int held, left;
	unsigned long row;
	u64 word;
	long ret;

	held = local_take(llf, local, frames, s->nr * frames, &word);
	while (unlikely(!held)) {
		word = smp_load_acquire(local); /* LLF(local_look:A) */
		if (!(word & LOCAL_PRESENT))
			return -1;
		if (local_free(word) < frames &&
		    !llf_local_sync(llf, local, word, frames))
			return -1;
		held = local_take(llf, local, frames, s->nr * frames, &word);
	}

	row = local_row(word);
	ret = tree_alloc(llf, s, row, held);
	left = search_settle(s, held, ret >= 0);
	if (likely(ret >= 0)) {
		if (unlikely(left))
			llf_permits_return(llf, local, ret, left);
		if (ret != row)
			local_set_row(llf, local, row_next(llf, s, ret));
		return ret;
	}
	/*
	 * Give permits to the tree, so that the next attempt does not take the
	 * same ones.
	 */
	if (left)
		llf_tree_return(llf, LLFREE_VIEW_NORMAL, row_tree(llf, row), left);
	return -1;
}

/*
 * Rate how well a tree with some free frames suits. default_rate() needs no
 * indirect call, which is slow on many CPUs.
 */
static __always_inline enum llfree_level
tree_rate(const struct llfree *llf, const struct search *s, u32 word)
{
	const unsigned int frames = llf->tree_frames;
	unsigned int free = min_t(u32, tree_free(word), frames);

	if (s->view != LLFREE_VIEW_NORMAL)
		return LLFREE_LEVEL_STEAL;
	if (likely(!llf->policy->rate))
		return default_rate(s->class, tree_class(word), free, frames);
	return llf->policy->rate(s->class, tree_class(word), free, frames);
}

/* Rate a tree; with @s->partial, without its entirely free children. */
static __always_inline enum llfree_level
tree_level(const struct llfree *llf, const struct search *s, unsigned long tree,
	   u32 word)
{
	if (s->partial && tree_free(word) >= (s32)LLFREE_CHILD_FRAMES) {
		word -= llf_tree_whole(llf, tree) << TREE_FREE_SHIFT;
		if (tree_free(word) < (s32)search_frames(s))
			return LLFREE_LEVEL_REJECT;
	}
	return tree_rate(llf, s, word);
}

/* Reserve a tree of @level for the slot, and allocate from the tree. */
static long search_reserve(struct llfree *llf, struct search *s, u64 *local,
			   unsigned long tree, unsigned long row,
			   enum llfree_level level)
{
	u32 *word = tree_at(llf, LLFREE_VIEW_NORMAL, tree);
	u32 old = READ_ONCE(*word);
	unsigned int left, class;
	long ret;

	do {
		if (tree_reserved(old) || tree_free(old) < (s32)search_frames(s) ||
		    tree_level(llf, s, tree, old) != level)
			return -1;
	} while (!try_cmpxchg_acquire(word, &old,
				      tree_word(llf, old, 0, s->class, true)));
	/* LLF(tree_reserve:A) */

	class = tree_class(old);
	ret = tree_alloc(llf, s, row, tree_free(old));
	left = search_settle(s, tree_free(old), ret >= 0);
	if (ret < 0) {
		llf_tree_unreserve(llf, tree, left, class);
		return -1;
	}

	s->delta->did |= LLFREE_DID_RESERVE;
	search_note_class(llf, s, class, LLFREE_DID_DEMOTE);
	llf_local_release(llf, xchg(local, local_make(left, row_next(llf, s, ret))));
	return ret;
}

/*
 * Allocate from the tree of @row with @held permits of that tree, and give back
 * the permits that are left.
 */
long llf_search_held(struct llfree *llf, struct search *s, unsigned long row,
		     unsigned int held)
{
	long ret = tree_alloc(llf, s, row, held);

	held = search_settle(s, held, ret >= 0);
	if (held)
		llf_tree_return(llf, s->view, row_tree(llf, row), held);
	return ret;
}

/* Allocate from a tree without reserving it. */
long llf_search_direct(struct llfree *llf, struct search *s, unsigned long tree,
		       unsigned long row, unsigned int class)
{
	unsigned int frames = search_frames(s), held;

	held = llf_tree_take(llf, s->view, tree, frames, s->nr * frames, class);
	return held ? llf_search_held(llf, s, row, held) : -1;
}

/* Choose the first row to use of an entirely free tree. */
static unsigned long tree_first_row(const struct llfree *llf, unsigned long tree)
{
	if (unlikely(READ_ONCE(llf->shuffle_step)))
		return llf_shuffled_child(llf, tree, 0) << CHILD_ROW_SHIFT;
	return tree_row(llf, tree);
}

/* Allocate from one tree, if its level is in the range [@first, @last]. */
long llf_search_tree(struct llfree *llf, struct search *s, unsigned long tree,
		     enum llfree_level first, enum llfree_level last)
{
	/* LLF(tree_look:A) */
	u32 word = smp_load_acquire(tree_at(llf, s->view, tree));
	unsigned int class = tree_class(word);
	u64 *local = search_local(llf, s);
	enum llfree_level level;
	unsigned long row;
	bool take_over;
	long ret;

	if (tree_reserved(word) || tree_free(word) < (s32)search_frames(s) ||
	    tree_exhausted(word, s->order) || !s->looks)
		return -1;
	level = tree_level(llf, s, tree, word);
	if (level < first || level > last)
		return -1;

	ret = -1;
	take_over = level < LLFREE_LEVEL_STEAL;
	if (level > LLFREE_LEVEL_FREE && s->view == LLFREE_VIEW_NORMAL &&
	    class_foreign(llf, s, class)) {
		/*
		 * No class has frames in an entirely free child: start there.
		 */
		if (s->order < LLFREE_CHILD_ORDER)
			ret = llf_tree_free_child(llf, tree);
		if (ret >= 0) {
			take_over = true;
		} else if (s->flags & LLFREE_ALLOC_NOFRAGMENT) {
			search_looked(s, tree);
			return -1;
		}
	}
	if (ret < 0 && tree_free(word) == (s32)llf->tree_frames)
		ret = tree_first_row(llf, tree);
	else if (ret < 0)
		ret = llf_tree_peek(llf, s, tree);
	if (ret < 0) {
		search_looked(s, tree);
		if (!s->partial)
			llf_tree_looked(llf, s->view, tree, word, s->order);
		return -1;
	}
	row = ret;

	if (local && take_over)
		return search_reserve(llf, s, local, tree, row, level);

	ret = llf_search_direct(llf, s, tree, row,
				take_over ? s->class : LLFREE_CLASS_NONE);
	if (ret >= 0)
		search_note_class(llf, s, class, take_over ? LLFREE_DID_DEMOTE :
							  LLFREE_DID_STEAL);
	return ret;
}

/* ---- Many trees ---- */

/* Try @nr trees from @tree on, going round at the ends of [@low, @high). */
static long search_trees(struct llfree *llf, struct search *s, unsigned long tree,
			 unsigned long low, unsigned long high,
			 enum llfree_level first, enum llfree_level last)
{
	unsigned long i;
	long ret;

	for (i = low; i < high; i++) {
		ret = llf_search_tree(llf, s, tree, first, last);
		if (ret >= 0)
			return ret;
		if (++tree == high)
			tree = low;
	}
	return -1;
}

/*
 * llf_search_range() - allocate from the tree of [@low, @high) that suits best
 *
 * Looks at each tree once, from @start on. Takes the first tree of level @good
 * or better. If there is none, tries the worse levels up to @last that it saw,
 * one after the other.
 */
long llf_search_range(struct llfree *llf, struct search *s, unsigned long start,
		      unsigned long low, unsigned long high,
		      enum llfree_level good, enum llfree_level last)
{
	const void *words = READ_ONCE(llf->trees[s->view]);
	/* Words of trees with too few frames are below @least. */
	const s32 least = search_frames(s) << TREE_FREE_SHIFT;
	unsigned long first[LLFREE_LEVEL_REJECT] __uninitialized;
	unsigned long tree = start, end = high;
	unsigned int seen = 0, level;
	/* The word of a tree that was not good enough; 0 has too few frames. */
	u32 word, worse = 0;
	long ret;

again:
	for (; tree < end; tree++) {
		word = READ_ONCE(*(u32 *)llfree_word(words, tree, sizeof(u32)));
		if ((s32)word < least || word == worse || tree_reserved(word) ||
		    tree_exhausted(word, s->order))
			continue;
		level = tree_rate(llf, s, word);
		if (level <= good) {
			ret = llf_search_tree(llf, s, tree, LLFREE_LEVEL_MATCH, good);
			if (ret >= 0)
				return ret;
			continue;
		}
		worse = word;
		if (level <= last && !(seen & BIT(level))) {
			seen |= BIT(level);
			first[level] = tree;
		}
	}
	if (end != start) {
		tree = low;
		end = start;
		goto again;
	}

	for (level = good + 1; level <= last; level++) {
		if (!(seen & BIT(level)))
			continue;
		ret = search_trees(llf, s, first[level], low, high, level, level);
		if (ret >= 0)
			return ret;
	}
	return -1;
}

/*
 * Number of trees whose child words share a cache line, for which slots would
 * contend
 */
static unsigned int line_trees(const struct llfree *llf)
{
	return max(SMP_CACHE_BYTES / sizeof(u16) >> (llf->tree_order - LLFREE_CHILD_ORDER), 1UL);
}

/*
 * Choose the tree where a slot starts to look. Slots spread over memory, so
 * that each slot takes the frames that it freed last before those that it has
 * never used. Slots of the classes in policy->low all start at the low end, a
 * cache line of child words apart, unless that takes more than 1/LOW_PART of
 * memory.
 */
static unsigned long slot_home(const struct llfree *llf, const struct search *s)
{
	const unsigned long nr_trees = s->end_tree - s->first_tree;
	unsigned int nr_slots, apart;

	if (s->slot < 0)
		return s->first_tree;
	nr_slots = llfree_nr_slots(llf);
	if (!(llf->policy->low & BIT(s->class)))
		return s->first_tree + nr_trees * s->slot / nr_slots;
	apart = line_trees(llf);
	if (nr_trees / LOW_PART < nr_slots * apart)
		return s->first_tree;
	return s->first_tree + s->slot * apart;
}

/* Allocate from the trees near @start. */
static long search_near(struct llfree *llf, struct search *s, unsigned long start)
{
	unsigned long low = ALIGN_DOWN(start, llf->policy->near);
	unsigned long high = min(low + llf->policy->near, s->end_tree);

	return llf_search_range(llf, s, start, max(low, s->first_tree), high,
				LLFREE_LEVEL_SPARSE, LLFREE_LEVEL_FREE);
}

/*
 * Allocate from partly free children in trees of the class around @start.
 * @local: the slot's reservation, in whose tree there is no such child; or NULL
 */
static long search_partial(struct llfree *llf, struct search *s, const u64 *local,
			   unsigned long start)
{
	unsigned long low = s->first_tree, high = s->end_tree;
	/* Trees whose children a bounded search may read */
	unsigned int looks = s->looks;
	const s32 frames = search_frames(s);
	/*
	 * The word of a tree that does not suit. Most others are full, or have
	 * the same word.
	 */
	u32 word, other = 0;
	u8 round = READ_ONCE(llf->round[s->class]);
	u16 *partial = local ? &llf->locals[s->slot].partial[s->class] : NULL;
	unsigned int tries = 0;
	unsigned long tree;
	long ret = -1;

	/* Only the slot's own tree has changed since a search of the others. */
	if (partial && partial_same_round(READ_ONCE(*partial), round) &&
	    s->order >= partial_order(READ_ONCE(*partial)))
		goto out;

	/* Later frees begin another round. */
	if (!(round & ROUND_SEEN))
		WRITE_ONCE(llf->round[s->class], round | ROUND_SEEN);

	if (high - low > PARTIAL_TREES) {
		low = clamp(ALIGN_DOWN(start, PARTIAL_TREES), low, high - PARTIAL_TREES);
		high = low + PARTIAL_TREES;
	}
	for (tree = low; tree < high; tree++) {
		word = READ_ONCE(*tree_at(llf, LLFREE_VIEW_NORMAL, tree));
		if (word == other || tree_free(word) < frames ||
		    tree_reserved(word) || tree_exhausted(word, s->order))
			continue;
		if (tree_rate(llf, s, word) > LLFREE_LEVEL_SPARSE) {
			other = word;
			continue;
		}
		/* tree_level() reads the children of such a tree. */
		if (search_bounded(s) && tree_free(word) >= (s32)LLFREE_CHILD_FRAMES &&
		    !looks--)
			return -1;
		if (tree_level(llf, s, tree, word) > LLFREE_LEVEL_SPARSE)
			continue;
		ret = llf_search_tree(llf, s, tree, LLFREE_LEVEL_MATCH,
				      LLFREE_LEVEL_SPARSE);
		if (ret >= 0 || ++tries == PARTIAL_TRIES)
			break;
	}
out:
	/*
	 * A frame that was seen and is gone does not mean that there is no
	 * other.
	 */
	if (ret < 0 && partial && (s->order || tries < PARTIAL_TRIES))
		WRITE_ONCE(*partial, partial_key(round | ROUND_SEEN, READ_ONCE(*local)) |
				  s->order);
	/* What the slot remembers of a former round must not match a later one. */
	if (ret >= 0 && partial && !partial_same_round(READ_ONCE(*partial), round))
		WRITE_ONCE(*partial, HINT_NONE);
	/*
	 * There may be more blocks, and without a slot only the round can note
	 * that.
	 */
	if (ret >= 0 && !partial)
		WRITE_ONCE(llf->round[s->class], round_next(round));
	return ret;
}

/*
 * Begin the part of a search that looks at many trees.
 * @start: where to begin; for a bounded search, set to the cursor
 * @low: set to the first tree whose word the search reads
 * @high: set to the tree after the last one
 */
static void search_begin(const struct llfree *llf, struct search *s, unsigned long *start,
			 unsigned long *low, unsigned long *high)
{
	*low = s->first_tree;
	*high = s->end_tree;
	if (!search_bounded(s))
		return;
	*start = search_start(s, READ_ONCE(llf->cursor[s->view]));
	*low = max(*low, ALIGN_DOWN(*start, BOUNDED_TREES));
	*high = min(ALIGN_DOWN(*start, BOUNDED_TREES) + BOUNDED_TREES, *high);
	s->looks = BOUNDED_LOOKS;
}

/*
 * End a search up to @high that was unsuccessful. The next bounded search goes
 * on behind the tree whose children were read last, or at @high if all trees
 * were seen. A search that avoids other classes leaves the cursor alone: the
 * caller repeats the search without that limit, which is to see the same trees.
 */
static void search_end(struct llfree *llf, const struct search *s, unsigned long high)
{
	unsigned long next = s->looks ? high : s->stopped + 1;

	if (!search_bounded(s) ||
	    (s->view == LLFREE_VIEW_NORMAL && (s->flags & LLFREE_ALLOC_NOFRAGMENT)))
		return;
	WRITE_ONCE(llf->cursor[s->view], search_start(s, next));
	if (s->view == LLFREE_VIEW_NORMAL)
		WRITE_ONCE(llf->bounded_slot,
			   READ_ONCE(llf->bounded_slot) + BOUNDED_SLOTS);
}

/*
 * Allocate from the view of a request, in which slots have no reservations. The
 * search starts at the tree in which the last one succeeded.
 */
static long search_view(struct llfree *llf, struct search *s)
{
	unsigned long *cursor = &llf->cursor[s->view];
	unsigned long start = search_start(s, READ_ONCE(*cursor)), low, high;
	long ret;

	search_begin(llf, s, &start, &low, &high);
	ret = search_trees(llf, s, start, low, high, LLFREE_LEVEL_STEAL,
			   LLFREE_LEVEL_STEAL);
	if (ret < 0 && high - low == s->end_tree - s->first_tree)
		ret = llf_search_anywhere(llf, s, start);
	if (ret < 0)
		search_end(llf, s, high);
	else if (row_tree(llf, ret) != start)
		WRITE_ONCE(*cursor, row_tree(llf, ret));
	return ret;
}

/* Do the work of search_slow() for the normal view. */
static long search_normal(struct llfree *llf, struct search *s)
{
	unsigned long near = llf->policy->near, start, home, low, high;
	enum llfree_level good = LLFREE_LEVEL_SPARSE;
	u64 *local = search_local(llf, s);
	u64 word;
	long ret;

	home = slot_home(llf, s);
	word = local ? READ_ONCE(*local) : 0;
	start = word & LOCAL_PRESENT ? row_tree(llf, local_row(word)) : home;
	/* Without a slot, start where the last such search ended. */
	if (s->slot < 0 && !(llf->policy->low & BIT(s->class)))
		start = READ_ONCE(llf->cursor[LLFREE_VIEW_NORMAL]);
	start = search_start(s, start);

	if (s->partial) {
		ret = search_partial(llf, s, local, start);
		s->partial = false;
		if (ret < 0 && local && s->skipped_whole)
			ret = search_reserved(llf, s, local);
		if (ret >= 0)
			return ret;
	}

	if (unlikely(READ_ONCE(llf->shuffle_step)) && !search_bounded(s)) {
		ret = llf_search_shuffled(llf, s, start);
		if (ret >= 0)
			return ret;
	}
	if (s->end_tree - s->first_tree > near) {
		ret = search_near(llf, s, home);
		if (ret >= 0)
			return ret;
		/*
		 * The home of the slot is used up: look around its last tree.
		 */
		if (ALIGN_DOWN(start, near) != ALIGN_DOWN(home, near)) {
			ret = search_near(llf, s, start);
			if (ret >= 0)
				return ret;
		}
		good = LLFREE_LEVEL_FREE;
	} else {
		start = home;
	}
	search_begin(llf, s, &start, &low, &high);
	ret = llf_search_range(llf, s, start, low, high, good, LLFREE_LEVEL_STEAL);
	if (ret >= 0)
		return ret;

	ret = llf_search_steal(llf, s, start, low, high, true);
	if (ret < 0 && !(s->flags & LLFREE_ALLOC_NOFRAGMENT)) {
		ret = llf_search_steal(llf, s, start, low, high, false);
		if (!search_bounded(s))
			start = s->first_tree;
		if (ret < 0 && high - low == s->end_tree - s->first_tree)
			ret = llf_search_anywhere(llf, s, start);
	}
	if (ret < 0)
		search_end(llf, s, high);
	return ret;
}

/* Search everywhere but in the slot's own reservation. */
static noinline long search_slow(struct llfree *llf, struct search *s)
{
	unsigned long *cursor = &llf->cursor[LLFREE_VIEW_NORMAL];
	long ret;

	search_range_init(llf, s);
	if (s->view != LLFREE_VIEW_NORMAL)
		return search_view(llf, s);
	ret = search_normal(llf, s);
	if (ret >= 0 && s->slot < 0 && READ_ONCE(*cursor) != row_tree(llf, ret))
		WRITE_ONCE(*cursor, row_tree(llf, ret));
	return ret;
}

long llf_search(struct llfree *llf, struct search *s)
{
	u64 *local = search_local(llf, s);
	long ret;

	if (local) {
		ret = search_reserved(llf, s, local);
		if (likely(ret >= 0))
			return ret;
	}
	if (s->flags & LLFREE_ALLOC_RESERVED)
		return -1;
	return search_slow(llf, s);
}
