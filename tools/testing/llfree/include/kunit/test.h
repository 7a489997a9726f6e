/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The part of KUnit that lib/llfree/tests/ uses, for userspace. kunit.c runs the
 * suites; Documentation/dev-tools/kunit/ describes the macros.
 */
#ifndef _SHIM_KUNIT_TEST_H
#define _SHIM_KUNIT_TEST_H

#include <errno.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <linux/compiler.h>
#include <linux/kernel.h>
#include <linux/types.h>

#define KUNIT_PARAM_DESC_SIZE	128

struct kunit_action;

/**
 * struct kunit - the test that runs
 * @param_value: its parameter
 * @failed: an expectation was not met
 * @actions: functions to call at the end, the last one first
 * @abort: target of the jump when an assertion fails
 */
struct kunit {
	const void *param_value;
	bool failed;
	struct kunit_action *actions;
	jmp_buf abort;
};

struct kunit_case {
	void (*run_case)(struct kunit *test);
	const char *name;
	const void *(*generate_params)(const void *prev, char *desc);
};

struct kunit_suite {
	const char *name;
	struct kunit_case *test_cases;
	/* Set by kunit_add_suite() */
	struct kunit_suite *next;
};

#define KUNIT_CASE(test_name)						\
	{ .run_case = test_name, .name = #test_name }
#define KUNIT_CASE_PARAM(test_name, gen_params)				\
	{ .run_case = test_name, .name = #test_name,			\
	  .generate_params = gen_params }

void kunit_add_suite(struct kunit_suite *suite);

/* Runs before main(). */
#define kunit_test_suite(suite)						\
static void __attribute__((constructor)) suite##_add(void)		\
{									\
	kunit_add_suite(&(suite));					\
}

static inline const void *kunit_next_param(const void *array, size_t size,
					   size_t step, const void *prev)
{
	const void *next = prev ? prev + step : array;

	return next < array + size ? next : NULL;
}

#define KUNIT_ARRAY_PARAM(name, array, get_desc)			\
static const void *name##_gen_params(const void *prev, char *desc)	\
{									\
	const void *next = kunit_next_param(array, sizeof(array),	\
					    sizeof(array[0]), prev);	\
									\
	if (next)							\
		get_desc(next, desc);					\
	return next;							\
}

#define KUNIT_DEFINE_ACTION_WRAPPER(wrapper, orig, arg_type)		\
static void wrapper(void *in)						\
{									\
	orig((arg_type)in);						\
}

int kunit_add_action(struct kunit *test, void (*action)(void *), void *ctx);
int kunit_add_action_or_reset(struct kunit *test, void (*action)(void *),
			      void *ctx);
void kunit_release_action(struct kunit *test, void (*action)(void *), void *ctx);

#define kunit_info(test, fmt, ...)					\
	((void)(test), printf("# " fmt, ##__VA_ARGS__))

/* ---- Expectations and assertions ---- */

enum kunit_assert_type {
	KUNIT_ASSERTION,
	KUNIT_EXPECTATION,
};

/* Print the failure. Does not return from an assertion. */
void __printf(6, 7) kunit_fail(struct kunit *test, enum kunit_assert_type type,
			       const char *file, int line, const char *expected,
			       const char *fmt, ...);
void __printf(8, 9) kunit_fail_binary(struct kunit *test,
				      enum kunit_assert_type type,
				      const char *file, int line,
				      const char *expected,
				      long long left, long long right,
				      const char *fmt, ...);

#define KUNIT_UNARY(test, type, condition, expected, fmt, ...)		\
do {									\
	if (!(condition))						\
		kunit_fail(test, type, __FILE__, __LINE__, expected,	\
			   fmt, ##__VA_ARGS__);				\
} while (0)

#define KUNIT_BINARY(test, type, left, op, right, fmt, ...)		\
do {									\
	const typeof(left) __left = (left);				\
	const typeof(right) __right = (right);				\
									\
	if (!(__left op __right))					\
		kunit_fail_binary(test, type, __FILE__, __LINE__,	\
				  #left " " #op " " #right,		\
				  (long long)__left,			\
				  (long long)__right, fmt,		\
				  ##__VA_ARGS__);			\
} while (0)

#define KUNIT_EXPECT_TRUE_MSG(test, condition, fmt, ...)		\
	KUNIT_UNARY(test, KUNIT_EXPECTATION, condition,			\
		    #condition, fmt, ##__VA_ARGS__)
#define KUNIT_EXPECT_TRUE(test, condition)				\
	KUNIT_EXPECT_TRUE_MSG(test, condition, NULL)
#define KUNIT_EXPECT_FALSE_MSG(test, condition, fmt, ...)		\
	KUNIT_UNARY(test, KUNIT_EXPECTATION, !(condition),		\
		    "!(" #condition ")", fmt, ##__VA_ARGS__)
#define KUNIT_EXPECT_FALSE(test, condition)				\
	KUNIT_EXPECT_FALSE_MSG(test, condition, NULL)
#define KUNIT_EXPECT_NULL_MSG(test, ptr, fmt, ...)			\
	KUNIT_UNARY(test, KUNIT_EXPECTATION, !(ptr),			\
		    #ptr " == NULL", fmt, ##__VA_ARGS__)
#define KUNIT_EXPECT_MEMEQ(test, left, right, size)			\
	KUNIT_UNARY(test, KUNIT_EXPECTATION,				\
		    !memcmp(left, right, size),				\
		    #left " has the same bytes as " #right, NULL)

#define KUNIT_EXPECT_EQ_MSG(test, left, right, fmt, ...)		\
	KUNIT_BINARY(test, KUNIT_EXPECTATION, left, ==, right,		\
		     fmt, ##__VA_ARGS__)
#define KUNIT_EXPECT_EQ(test, left, right)				\
	KUNIT_EXPECT_EQ_MSG(test, left, right, NULL)
#define KUNIT_EXPECT_NE_MSG(test, left, right, fmt, ...)		\
	KUNIT_BINARY(test, KUNIT_EXPECTATION, left, !=, right,		\
		     fmt, ##__VA_ARGS__)
#define KUNIT_EXPECT_NE(test, left, right)				\
	KUNIT_EXPECT_NE_MSG(test, left, right, NULL)
#define KUNIT_EXPECT_LT(test, left, right)				\
	KUNIT_BINARY(test, KUNIT_EXPECTATION, left, <, right, NULL)
#define KUNIT_EXPECT_LE(test, left, right)				\
	KUNIT_BINARY(test, KUNIT_EXPECTATION, left, <=, right, NULL)
#define KUNIT_EXPECT_GE(test, left, right)				\
	KUNIT_BINARY(test, KUNIT_EXPECTATION, left, >=, right, NULL)
#define KUNIT_EXPECT_GT_MSG(test, left, right, fmt, ...)		\
	KUNIT_BINARY(test, KUNIT_EXPECTATION, left, >, right,		\
		     fmt, ##__VA_ARGS__)
#define KUNIT_EXPECT_GT(test, left, right)				\
	KUNIT_EXPECT_GT_MSG(test, left, right, NULL)

#define KUNIT_ASSERT_TRUE_MSG(test, condition, fmt, ...)		\
	KUNIT_UNARY(test, KUNIT_ASSERTION, condition,			\
		    #condition, fmt, ##__VA_ARGS__)
#define KUNIT_ASSERT_TRUE(test, condition)				\
	KUNIT_ASSERT_TRUE_MSG(test, condition, NULL)
#define KUNIT_ASSERT_NOT_NULL(test, ptr)				\
	KUNIT_UNARY(test, KUNIT_ASSERTION, ptr, #ptr " != NULL", NULL)
#define KUNIT_ASSERT_NOT_ERR_OR_NULL(test, ptr)				\
	KUNIT_UNARY(test, KUNIT_ASSERTION, !IS_ERR_OR_NULL(ptr),	\
		    #ptr " is no error and not NULL", NULL)

#define KUNIT_ASSERT_EQ_MSG(test, left, right, fmt, ...)		\
	KUNIT_BINARY(test, KUNIT_ASSERTION, left, ==, right,		\
		     fmt, ##__VA_ARGS__)
#define KUNIT_ASSERT_EQ(test, left, right)				\
	KUNIT_ASSERT_EQ_MSG(test, left, right, NULL)
#define KUNIT_ASSERT_LT(test, left, right)				\
	KUNIT_BINARY(test, KUNIT_ASSERTION, left, <, right, NULL)
#define KUNIT_ASSERT_LE(test, left, right)				\
	KUNIT_BINARY(test, KUNIT_ASSERTION, left, <=, right, NULL)
#define KUNIT_ASSERT_GE_MSG(test, left, right, fmt, ...)		\
	KUNIT_BINARY(test, KUNIT_ASSERTION, left, >=, right,		\
		     fmt, ##__VA_ARGS__)
#define KUNIT_ASSERT_GE(test, left, right)				\
	KUNIT_ASSERT_GE_MSG(test, left, right, NULL)
#define KUNIT_ASSERT_GT(test, left, right)				\
	KUNIT_BINARY(test, KUNIT_ASSERTION, left, >, right, NULL)

#endif /* _SHIM_KUNIT_TEST_H */
