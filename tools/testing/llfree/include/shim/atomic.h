/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel's atomics for userspace. Each access of lib/llfree/ to shared
 * words goes through this file. The atomics are compiler builtins with the
 * memory order that the kernel documents, so that ThreadSanitizer understands
 * them. shim_step() runs before each access. A program built with SHIM_STEP
 * defines this function, and decides there which threads or interrupts run in
 * between. A program built with SHIM_MODEL brings its own memory; see
 * shim/model.h.
 */
#ifndef _SHIM_ATOMIC_H
#define _SHIM_ATOMIC_H

#ifdef SHIM_MODEL
#include <shim/model.h>
#else

#ifdef SHIM_STEP
void shim_step(const void *word);
#else
static inline void shim_step(const void *word)
{
	(void)word;
}
#endif

#define shim_load(p, order)						\
({									\
	__auto_type __shim_p = (p);					\
									\
	shim_step(__shim_p);						\
	__atomic_load_n(__shim_p, (order));				\
})

#define shim_store(p, val, order)					\
do {									\
	__auto_type __shim_p = (p);					\
									\
	shim_step(__shim_p);						\
	__atomic_store_n(__shim_p, (val), (order));			\
} while (0)

#define shim_try_cmpxchg(p, oldp, new, order)				\
({									\
	__auto_type __shim_p = (p);					\
									\
	shim_step(__shim_p);						\
	__atomic_compare_exchange_n(__shim_p, (oldp), (new), false,	\
				    (order), __ATOMIC_RELAXED);		\
})

#define shim_xchg(p, new, order)					\
({									\
	__auto_type __shim_p = (p);					\
									\
	shim_step(__shim_p);						\
	__atomic_exchange_n(__shim_p, (new), (order));			\
})

#ifdef __SANITIZE_THREAD__
/*
 * ThreadSanitizer does not model fences. A full one on a common word orders
 * more than the real one, so it hides races but never invents one.
 */
extern int shim_fence;

/* A full barrier */
#define smp_mb()	((void)__atomic_fetch_add(&shim_fence, 0, __ATOMIC_SEQ_CST))
#else
/* A full barrier */
#define smp_mb()	__atomic_thread_fence(__ATOMIC_SEQ_CST)
#endif

#endif /* SHIM_MODEL */

/*
 * Addresses of words change only when an instance grows. Loads of addresses are
 * steps only in a program built with SHIM_GROW, whose instances grow.
 */
#ifdef SHIM_GROW
#define SHIM_NO_STEP	-1
#else
enum { SHIM_NO_STEP = __builtin_classify_type((void *)0) };
#endif

#undef READ_ONCE
#define READ_ONCE(x)							\
({									\
	__auto_type __shim_x = &(x);					\
									\
	__builtin_choose_expr(__builtin_classify_type(*__shim_x) == SHIM_NO_STEP, \
			      __atomic_load_n(__shim_x, __ATOMIC_RELAXED), \
			      shim_load(__shim_x, __ATOMIC_RELAXED));	\
})
#undef WRITE_ONCE
#define WRITE_ONCE(x, val)	shim_store(&(x), (val), __ATOMIC_RELAXED)
/* Orders the load before all accesses that follow. */
#define smp_load_acquire(p)	shim_load((p), __ATOMIC_ACQUIRE)
/* Orders all accesses before it before the store. */
#define smp_store_release(p, val)	shim_store((p), (val), __ATOMIC_RELEASE)

#define try_cmpxchg(p, oldp, new)					\
	shim_try_cmpxchg(p, oldp, new, __ATOMIC_SEQ_CST)
#define try_cmpxchg_acquire(p, oldp, new)				\
	shim_try_cmpxchg(p, oldp, new, __ATOMIC_ACQUIRE)
#define try_cmpxchg_release(p, oldp, new)				\
	shim_try_cmpxchg(p, oldp, new, __ATOMIC_RELEASE)
#define try_cmpxchg_relaxed(p, oldp, new)				\
	shim_try_cmpxchg(p, oldp, new, __ATOMIC_RELAXED)

#define xchg(p, new)		shim_xchg(p, new, __ATOMIC_SEQ_CST)
#define xchg_acquire(p, new)	shim_xchg(p, new, __ATOMIC_ACQUIRE)
#define xchg_release(p, new)	shim_xchg(p, new, __ATOMIC_RELEASE)
#define xchg_relaxed(p, new)	shim_xchg(p, new, __ATOMIC_RELAXED)

#endif /* _SHIM_ATOMIC_H */
