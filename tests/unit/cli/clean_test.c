/*
 * Tests of cli/clean.c: what of a stranger's text reaches the terminal.
 */
#include "cli/clean.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/suite.h"

static void expect(const char *text, bool lines, const char *want)
{
    char *got = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&got, &len);
    put_clean(text, lines, out);
    fclose(out);
    ASSERT_STR(got, want);
    free(got);
}

static void plain_text_stays_as_it_is(void)
{
    expect("results/gr\xc3\xbc\xc3\x9f.txt \xe2\x82\xac \xf0\x9f\x98\x80", false,
        "results/gr\xc3\xbc\xc3\x9f.txt \xe2\x82\xac \xf0\x9f\x98\x80");
    expect("a\tb\n", true, "a\tb\n");
    expect(NULL, true, "");
}

static void what_steers_a_terminal_is_shown_as_a_mark(void)
{
    expect("a\x1b[2J\x7f\r", true, "a?[2J??");
    expect("a\tb\n", false, "a?b?");
    expect("\xc2\x9b"
           "31m",
        false, "?31m");
}

static void what_reads_differently_is_shown_as_a_mark(void)
{
    expect("x\xe2\x80\xae"
           "y\xe2\x81\xa9",
        true, "x?y?");
}

static void bytes_that_are_not_utf8_are_shown_as_marks(void)
{
    expect("\x9b"
           "31m\xc3",
        false, "?31m?");
}

TEST_SUITE(clean_test, TEST(plain_text_stays_as_it_is), TEST(what_steers_a_terminal_is_shown_as_a_mark),
    TEST(what_reads_differently_is_shown_as_a_mark), TEST(bytes_that_are_not_utf8_are_shown_as_marks))
