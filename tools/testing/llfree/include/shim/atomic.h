/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel's atomics for userspace: every access of lib/llfree/ to shared
 * words goes through this file. They are compiler builtins with the memory
 * order that the kernel documents, so that ThreadSanitizer understands them,
 * and shim_step() runs before each: a program built with SHIM_STEP decides
 * there what other threads or interrupts do in between.
 */
#ifndef _SHIM_ATOMIC_H
#define _SHIM_ATOMIC_H

#ifdef SHIM_STEP
void shim_step(const void *word);
#else
static inline void shim_step(const void *word)
{
	(void)word;
}
#endif

#undef READ_ONCE
#define READ_ONCE(x)							\
({									\
	__auto_type __shim_p = &(x);					\
									\
	shim_step(__shim_p);						\
	__atomic_load_n(__shim_p, __ATOMIC_RELAXED);			\
})

#undef WRITE_ONCE
#define WRITE_ONCE(x, val)						\
do {									\
	__auto_type __shim_p = &(x);					\
									\
	shim_step(__shim_p);						\
	__atomic_store_n(__shim_p, (val), __ATOMIC_RELAXED);		\
} while (0)

/* Orders the load before all that follows. */
#define smp_load_acquire(p)						\
({									\
	__auto_type __shim_p = (p);					\
									\
	shim_step(__shim_p);						\
	__atomic_load_n(__shim_p, __ATOMIC_ACQUIRE);			\
})

/* Orders all that went before it before the store. */
#define smp_store_release(p, val)					\
do {									\
	__auto_type __shim_p = (p);					\
									\
	shim_step(__shim_p);						\
	__atomic_store_n(__shim_p, (val), __ATOMIC_RELEASE);		\
} while (0)

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

#define shim_try_cmpxchg(p, oldp, new, order)				\
({									\
	__auto_type __shim_p = (p);					\
									\
	shim_step(__shim_p);						\
	__atomic_compare_exchange_n(__shim_p, (oldp), (new), false,	\
				    (order), __ATOMIC_RELAXED);		\
})
#define try_cmpxchg(p, oldp, new)					\
	shim_try_cmpxchg(p, oldp, new, __ATOMIC_SEQ_CST)
#define try_cmpxchg_acquire(p, oldp, new)				\
	shim_try_cmpxchg(p, oldp, new, __ATOMIC_ACQUIRE)
#define try_cmpxchg_release(p, oldp, new)				\
	shim_try_cmpxchg(p, oldp, new, __ATOMIC_RELEASE)
#define try_cmpxchg_relaxed(p, oldp, new)				\
	shim_try_cmpxchg(p, oldp, new, __ATOMIC_RELAXED)

#define shim_xchg(p, new, order)					\
({									\
	__auto_type __shim_p = (p);					\
									\
	shim_step(__shim_p);						\
	__atomic_exchange_n(__shim_p, (new), (order));			\
})
#define xchg(p, new)		shim_xchg(p, new, __ATOMIC_SEQ_CST)
#define xchg_acquire(p, new)	shim_xchg(p, new, __ATOMIC_ACQUIRE)
#define xchg_release(p, new)	shim_xchg(p, new, __ATOMIC_RELEASE)
#define xchg_relaxed(p, new)	shim_xchg(p, new, __ATOMIC_RELAXED)

#endif /* _SHIM_ATOMIC_H */
