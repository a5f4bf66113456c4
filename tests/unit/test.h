/* test.h - the smallest harness that serves: TEST(group, what) { CHECK(...); }, one binary a file.
 *
 * A failed CHECK says where and what, fails the test, and leaves it. Prints "ok"/"FAIL" a test and a closing count; exits 1 if any
 * failed. Run with names as arguments to run only those. */
#ifndef PGSHUNT_TEST_H
#define PGSHUNT_TEST_H

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pgshunt/base.h"

struct test_case {
	const char *name;
	void (*run)(void);
	struct test_case *next;
};

static struct test_case *test_first, **test_tail = &test_first;
static jmp_buf test_out;

#define TEST(group, what) \
	static void test_##group##_##what(void); \
	static struct test_case test_case_##group##_##what = { #group "." #what, test_##group##_##what, NULL }; \
	__attribute__((constructor)) static void test_add_##group##_##what(void) \
	{ \
		*test_tail = &test_case_##group##_##what; \
		test_tail = &test_case_##group##_##what.next; \
	} \
	static void test_##group##_##what(void)

#define CHECK(cond) \
	do { \
		if (!(cond)) { \
			printf("  %s:%d: CHECK(%s)\n", __FILE__, __LINE__, #cond); \
			longjmp(test_out, 1); \
		} \
	} while (0)
#define CHECK_INT(got, want) \
	do { \
		long long got_ = (long long)(got), want_ = (long long)(want); \
		if (got_ != want_) { \
			printf("  %s:%d: %s = %lld, want %lld\n", __FILE__, __LINE__, #got, got_, want_); \
			longjmp(test_out, 1); \
		} \
	} while (0)
#define CHECK_STR(got, want) \
	do { \
		const char *got_ = (got), *want_ = (want); \
		if (!got_ || strcmp(got_, want_) != 0) { \
			printf("  %s:%d: %s = \"%s\", want \"%s\"\n", __FILE__, __LINE__, #got, got_ ? got_ : "(null)", want_); \
			longjmp(test_out, 1); \
		} \
	} while (0)

int main(int argc, char **argv)
{
	volatile int passed = 0, failed = 0;    /* live across longjmp */

	hash_key_init();
	for (struct test_case *t = test_first; t; t = t->next) {
		int wanted = argc == 1;
		for (int i = 1; i < argc; i++)
			wanted |= strcmp(argv[i], t->name) == 0;
		if (!wanted)
			continue;
		if (setjmp(test_out) == 0) {
			t->run();
			passed++;
		} else {
			printf("FAIL %s\n", t->name);
			failed++;
		}
	}
	printf("%d passed, %d failed\n", passed, failed);
	return failed ? 1 : 0;
}

#endif
