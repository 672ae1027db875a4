/*
 * Tests of agent/shellwords.c.
 */
#include "agent/shellwords.h"

#include <string.h>

#include "tests/support/suite.h"

static size_t command_of(const char *const *argv)
{
    size_t argc = 0;
    while (argv[argc])
        argc++;
    return shellwords_command((char *const *)(uintptr_t)argv, argc);
}

#define COMMAND(...) command_of((const char *const[]){"/bin/bash", __VA_ARGS__, NULL})

/* Each line was tried with bash. */
static void the_command_is_found_as_the_shell_finds_it(void)
{
    ASSERT_INT(COMMAND("-c", "x"), 2);
    ASSERT_INT(COMMAND("-lc", "x", "name", "arg"), 2);
    ASSERT_INT(COMMAND("-l", "-c", "x"), 3);
    ASSERT_INT(COMMAND("-c", "-l", "x"), 3);
    ASSERT_INT(COMMAND("-o", "pipefail", "-c", "x"), 4);
    ASSERT_INT(COMMAND("-euo", "pipefail", "-c", "x"), 4);
    ASSERT_INT(COMMAND("+o", "posix", "-c", "x"), 4);
    ASSERT_INT(COMMAND("--norc", "--rcfile", "/x", "-c", "x"), 5);
    ASSERT_INT(COMMAND("-c", "--", "-x"), 3);
    ASSERT_INT(COMMAND("-c", "-", "x"), 3);
    ASSERT_INT(COMMAND("-c"), 0);
    ASSERT_INT(COMMAND("-s", "x"), 0);
    ASSERT_INT(COMMAND("script", "-c", "x"), 0);
    ASSERT_INT(COMMAND("-o", "-c", "x"), 0);
    ASSERT_INT(COMMAND("-o"), 0);
    ASSERT_INT(COMMAND("--rcfile"), 0);
    ASSERT_INT(shellwords_command((char *[]){(char[]){"sh"}, NULL}, 1), 0);
}

static void words_are_quoted_for_a_posix_shell(void)
{
    char *argv[] = {(char[]){"/bin/sh"}, (char[]){""}, (char[]){"a b"}, (char[]){"it's"}, (char[]){"$x"}};
    cleanup_buf struct buf out;
    buf_init(&out, 1000);
    shellwords_quote(&out, argv, 5);
    ASSERT_STR(buf_str(&out), "/bin/sh '' 'a b' 'it'\\''s' '$x'");
}

TEST_SUITE(shellwords_test, TEST(the_command_is_found_as_the_shell_finds_it),
    TEST(words_are_quoted_for_a_posix_shell))
