/*
 * The frame of every test program: one CUnit suite, one main.
 *   static void chain_refuses_gap(void) { ... }
 *   TEST_SUITE(chain_test, TEST(chain_refuses_gap), ...)
 * The program prints CUnit's failures and ends with the line "N passed, N failed" (N counts tests); its exit code is 0 only when
 * all passed and at least one ran. A name as argv[1] runs only the test of that name; --list prints the names and runs nothing.
 */
#ifndef ARP_TESTS_SUPPORT_SUITE_H
#define ARP_TESTS_SUPPORT_SUITE_H

#include <CUnit/CUnit.h>

struct suite_test {
    const char *name;
    void (*run)(void);
};

/* Run tests[0..n); set_up / tear_down may be NULL (once per program; a set_up answering non-zero fails the program).
 * Returns the exit code of the program. */
int suite_main(const char *name, const struct suite_test *tests, unsigned n, int (*set_up)(void),
    int (*tear_down)(void), int argc, char **argv);

#define TEST(fn)                                                                                             \
    {                                                                                                        \
#fn, fn                                                                                              \
    }
#define TEST_SUITE_WITH(name, up, down, ...)                                                                 \
    int main(int argc, char **argv)                                                                          \
    {                                                                                                        \
        static const struct suite_test tests[] = {__VA_ARGS__};                                              \
        return suite_main(#name, tests, sizeof(tests) / sizeof(tests[0]), (up), (down), argc, argv);         \
    }
#define TEST_SUITE(name, ...) TEST_SUITE_WITH(name, NULL, NULL, __VA_ARGS__)

/* Assertions that print both values. */
#define ASSERT_STR(got, want)  suite_assert_str((got), (want), #got, __FILE__, __LINE__)
#define ASSERT_INT(got, want)  suite_assert_int((long long)(got), (long long)(want), #got, __FILE__, __LINE__)
#define ASSERT_CONTAINS(s, in) suite_assert_contains((s), (in), #s, __FILE__, __LINE__)
#define ASSERT_TRUE(x)         CU_ASSERT_TRUE_FATAL(x)

void suite_assert_str(const char *got, const char *want, const char *expr, const char *file, unsigned line);
void suite_assert_int(long long got, long long want, const char *expr, const char *file, unsigned line);
/* s must contain part. */
void suite_assert_contains(
    const char *s, const char *part, const char *expr, const char *file, unsigned line);

#endif
