/*
 * CUnit frame: see suite.h.
 */
#include "tests/support/suite.h"

#include <CUnit/Basic.h>
#include <stdio.h>
#include <string.h>

int suite_main(const char *name, const struct suite_test *tests, unsigned n, int (*set_up)(void),
    int (*tear_down)(void), int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--list") == 0) {
        for (unsigned i = 0; i < n; i++)
            puts(tests[i].name);
        return 0;
    }
    if (CU_initialize_registry() != CUE_SUCCESS)
        return 2;
    CU_pSuite suite = CU_add_suite(name, set_up, tear_down);
    if (!suite)
        return 2;
    for (unsigned i = 0; i < n; i++) {
        if (argc > 1 && strcmp(argv[1], tests[i].name) != 0)
            continue;
        if (!CU_add_test(suite, tests[i].name, tests[i].run))
            return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    CU_basic_set_mode(CU_BRM_VERBOSE);
    CU_basic_run_tests();
    unsigned run = CU_get_number_of_tests_run();
    unsigned failed = CU_get_number_of_tests_failed();
    unsigned broken = CU_get_number_of_suites_failed();
    CU_cleanup_registry();
    /* A suite whose set-up failed ran nothing: count it as one failure so that it can't pass by silence. */
    printf("%u passed, %u failed\n", run - failed, failed + broken);
    return run > 0 && failed == 0 && broken == 0 ? 0 : 1;
}

void suite_assert_str(const char *got, const char *want, const char *expr, const char *file, unsigned line)
{
    if (got && want && strcmp(got, want) == 0) {
        CU_assertImplementation(CU_TRUE, line, expr, file, "", CU_FALSE);
        return;
    }
    char msg[1024];
    snprintf(msg, sizeof(msg), "%s: got \"%.400s\", want \"%.400s\"", expr, got ? got : "(null)",
        want ? want : "(null)");
    CU_assertImplementation(CU_FALSE, line, msg, file, "", CU_TRUE);
}

void suite_assert_int(long long got, long long want, const char *expr, const char *file, unsigned line)
{
    char msg[512];
    snprintf(msg, sizeof(msg), "%s: got %lld, want %lld", expr, got, want);
    CU_assertImplementation(got == want, line, msg, file, "", CU_TRUE);
}

void suite_assert_contains(const char *s, const char *part, const char *expr, const char *file, unsigned line)
{
    char msg[2048];
    snprintf(msg, sizeof(msg), "%s: \"%.1500s\" does not contain \"%.300s\"", expr, s ? s : "(null)", part);
    CU_assertImplementation(s && strstr(s, part), line, msg, file, "", CU_TRUE);
}
