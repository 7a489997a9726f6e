// SPDX-License-Identifier: GPL-2.0
/* Run the KUnit suites of lib/llfree/tests/ in userspace; output is KTAP. */
#include <fnmatch.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <kunit/test.h>
#include <shim/shim.h>

struct kunit_action {
	struct kunit_action *next;
	void (*action)(void *ctx);
	void *ctx;
};

int kunit_add_action(struct kunit *test, void (*action)(void *), void *ctx)
{
	struct kunit_action *new = malloc(sizeof(*new));

	if (!new)
		return -ENOMEM;
	new->action = action;
	new->ctx = ctx;
	new->next = test->actions;
	test->actions = new;
	return 0;
}

int kunit_add_action_or_reset(struct kunit *test, void (*action)(void *),
			      void *ctx)
{
	int ret = kunit_add_action(test, action, ctx);

	if (ret)
		action(ctx);
	return ret;
}

void kunit_release_action(struct kunit *test, void (*action)(void *), void *ctx)
{
	struct kunit_action **link, *found;

	for (link = &test->actions; *link; link = &(*link)->next) {
		found = *link;
		if (found->action != action || found->ctx != ctx)
			continue;
		*link = found->next;
		free(found);
		action(ctx);
		return;
	}
}

static void print_message(const char *fmt, va_list args)
{
	if (fmt) {
		printf(": ");
		vprintf(fmt, args);
	}
	printf("\n");
}

static void set_failed(struct kunit *test, enum kunit_assert_type type)
{
	test->failed = true;
	if (type == KUNIT_ASSERTION)
		longjmp(test->abort, 1);
}

void kunit_fail(struct kunit *test, enum kunit_assert_type type,
		const char *file, int line, const char *expected,
		const char *fmt, ...)
{
	va_list args;

	printf("# %s:%d: expected %s", file, line, expected);
	va_start(args, fmt);
	print_message(fmt, args);
	va_end(args);
	set_failed(test, type);
}

void kunit_fail_binary(struct kunit *test, enum kunit_assert_type type,
		       const char *file, int line, const char *expected,
		       long long left, long long right, const char *fmt, ...)
{
	va_list args;

	printf("# %s:%d: expected %s, but they are %lld and %lld", file, line,
	       expected, left, right);
	va_start(args, fmt);
	print_message(fmt, args);
	va_end(args);
	set_failed(test, type);
}

/* Run a case with one parameter. Return: did the test pass? */
static bool run_case(struct kunit_case *kcase, const void *param)
{
	const unsigned int warnings = shim_warnings;
	struct kunit test = { .param_value = param };

	shim_preempt_count = 0;
	if (!setjmp(test.abort))
		kcase->run_case(&test);
	while (test.actions)
		kunit_release_action(&test, test.actions->action,
				     test.actions->ctx);
	KUNIT_EXPECT_EQ(&test, shim_warnings, warnings);
	KUNIT_EXPECT_EQ(&test, shim_preempt_count, 0);
	return !test.failed;
}

static struct kunit_suite *suites;

/* Suites run in link order. */
void kunit_add_suite(struct kunit_suite *suite)
{
	struct kunit_suite **link;

	for (link = &suites; *link; link = &(*link)->next)
		;
	*link = suite;
}

enum what {
	COUNT,
	LIST,
	RUN,
};

static unsigned int failed;

/* Go through all parameters of a case. Return: their number */
static unsigned int all_params(struct kunit_case *kcase, const char *name,
			       enum what what, unsigned int done)
{
	char desc[KUNIT_PARAM_DESC_SIZE] = "";
	const void *param = NULL;
	unsigned int nr = 0;
	bool ok;

	do {
		if (kcase->generate_params) {
			param = kcase->generate_params(param, desc);
			if (!param)
				break;
		}
		nr++;
		if (what != RUN)
			continue;
		ok = run_case(kcase, param);
		failed += !ok;
		printf("%s %u %s%s%s\n", ok ? "ok" : "not ok", done + nr, name,
		       *desc ? " " : "", desc);
		fflush(stdout);
	} while (kcase->generate_params);
	return nr;
}

/* Go through all cases whose SUITE.CASE matches. Return: the number of tests */
static unsigned int all_cases(const char *filter, enum what what)
{
	struct kunit_suite *suite;
	struct kunit_case *kcase;
	unsigned int nr = 0;
	char name[256];

	for (suite = suites; suite; suite = suite->next) {
		for (kcase = suite->test_cases; kcase->run_case; kcase++) {
			snprintf(name, sizeof(name), "%s.%s", suite->name,
				 kcase->name);
			if (fnmatch(filter, name, 0))
				continue;
			if (what == LIST)
				printf("%s\n", name);
			nr += all_params(kcase, name, what, nr);
		}
	}
	return nr;
}

int main(int argc, char **argv)
{
	const char *filter = "*";
	enum what what = RUN;
	unsigned int nr;
	int opt;

	while ((opt = getopt(argc, argv, "lt:")) != -1) {
		if (opt == 't') {
			filter = optarg;
		} else if (opt == 'l') {
			what = LIST;
		} else {
			fprintf(stderr,
				"usage: %s [-l] [-t GLOB]\n"
				"  -l  list SUITE.CASE, do not run\n"
				"  -t  only those that match\n", argv[0]);
			return 2;
		}
	}
	if (what == LIST)
		return !all_cases(filter, LIST);

	nr = all_cases(filter, COUNT);
	printf("TAP version 13\n1..%u\n", nr);
	all_cases(filter, RUN);
	printf("# Totals: pass:%u fail:%u xfail:0 xpass:0 skip:0 error:0\n",
	       nr - failed, failed);
	return !nr || failed;
}
