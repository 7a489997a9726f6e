/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel's atomics for a program that defines their effect: explore.c.
 * Values travel as 64 bits; the order is one of the compiler's.
 */
#ifndef _SHIM_MODEL_H
#define _SHIM_MODEL_H

#include <stdbool.h>

unsigned long long model_load(const void *p, unsigned int size, int order);
void model_store(void *p, unsigned int size, unsigned long long val, int order);
bool model_cmpxchg(void *p, unsigned int size, unsigned long long *old,
		   unsigned long long val, int order);
unsigned long long model_xchg(void *p, unsigned int size,
			      unsigned long long val, int order);
void model_fence(void);
unsigned int model_cpu(void);

#define shim_load(p, order)						\
({									\
	__auto_type __shim_p = (p);					\
									\
	(__typeof__(*__shim_p))model_load(__shim_p, sizeof(*__shim_p),	\
					  (order));			\
})

#define shim_store(p, val, order)					\
do {									\
	__auto_type __shim_p = (p);					\
									\
	model_store(__shim_p, sizeof(*__shim_p),			\
		    (unsigned long long)(__typeof__(*__shim_p))(val),	\
		    (order));						\
} while (0)

#define shim_try_cmpxchg(p, oldp, new, order)				\
({									\
	__auto_type __shim_p = (p);					\
	__auto_type __shim_oldp = (oldp);				\
	unsigned long long __shim_old = *__shim_oldp;			\
	bool __shim_ok = model_cmpxchg(__shim_p, sizeof(*__shim_p),	\
				       &__shim_old,			\
				       (__typeof__(*__shim_p))(new), (order)); \
									\
	*__shim_oldp = __shim_old;					\
	__shim_ok;							\
})

#define shim_xchg(p, new, order)					\
({									\
	__auto_type __shim_p = (p);					\
									\
	(__typeof__(*__shim_p))model_xchg(__shim_p, sizeof(*__shim_p),	\
					  (__typeof__(*__shim_p))(new),	\
					  (order));			\
})

/* A full barrier */
#define smp_mb()	model_fence()

#endif /* _SHIM_MODEL_H */
