/* command_text.c: what a command may have been asked as. */
#include "shared/command_text.h"

#include <string.h>

#include "tests/support/suite.h"

static bool may_be(const char *ran, const char *asked)
{
    struct command_texts texts;
    char hex[SHA256_HEX_LEN + 1];
    struct arp_err err;
    ASSERT_INT(command_text_digests(ran, &texts, &err), 0);
    ASSERT_TRUE(texts.n >= 1 && texts.n <= COMMAND_TEXTS_MAX);
    sha256_hex_of(asked, strlen(asked), hex);
    for (size_t i = 0; i < texts.n; i++)
        if (strcmp(texts.v[i], hex) == 0)
            return true;
    return false;
}

static void wrapped_commands_are_what_was_asked(void)
{
    static const struct {
        const char *ran, *asked;
    } cases[] = {
        {"make test", "make test"},
        {"", ""},
        {"make test\n", "make test\n"},
        {"make test\n", "make test"},
        {"bash -lc 'make test'", "make test"},
        {"/bin/bash -lc \"echo \\\"a b\\\" \\$x \\n\"", "echo \"a b\" $x \\n"},
        {"sh -c ls", "ls"},
        {"bash -lc 'it'\\''s' ", "it's"},
        {"source /x/shell-snapshots/snapshot-bash-1.sh && eval 'ls '\"'\"'a'\"'\"'' \\< /dev/null && pwd",
            "ls 'a'"},
        {"eval make", "make"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        ASSERT_TRUE(may_be(cases[i].ran, cases[i].asked));
}

static void other_commands_are_not(void)
{
    static const struct {
        const char *ran, *asked;
    } cases[] = {
        {"make test", "make"},
        {"make test; rm -rf x", "make test"},
        {"bash -lc 'make test' && rm x", "make test"},
        {"bash -lc 'make test", "make test"},
        {"bash -l 'make test'", "make test"},
        {"bash --norc 'make test'", "make test"},
        {"fish -c 'make test'", "make test"},
        {"bash -c", ""},
        {"medieval 'x'", "x"},
        {"eval 'x", "x"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        ASSERT_TRUE(!may_be(cases[i].ran, cases[i].asked));
}

static void part_of_a_command_is_told(void)
{
    struct command_texts texts;
    ASSERT_INT(command_text_digests("a && eval 'b'; rm x", &texts, NULL), 0);
    ASSERT_TRUE(texts.n == 2 && texts.last_is_part);
    ASSERT_INT(command_text_digests("bash -c b", &texts, NULL), 0);
    ASSERT_TRUE(texts.n == 2 && !texts.last_is_part);
}

static void set_up_is_known_by_its_look(void)
{
    ASSERT_TRUE(command_text_is_setup("SNAPSHOT_FILE=/h/shell-snapshots/snapshot-bash-1.sh\nalias"));
    ASSERT_TRUE(!command_text_is_setup("source /h/shell-snapshots/snapshot-bash-1.sh && eval 'rm x'"));
    ASSERT_TRUE(!command_text_is_setup("make test"));
}

TEST_SUITE(command_text_test, TEST(wrapped_commands_are_what_was_asked), TEST(other_commands_are_not),
    TEST(part_of_a_command_is_told), TEST(set_up_is_known_by_its_look))
