#include "orchestrator/store/cursor.h"

#include <stdio.h>
#include <string.h>

#include "tests/support/suite.h"

#define ID "0f8fad5b-d9cb-469f-a165-70867728950e"

static void round_trip_keeps_position(void)
{
    struct cursor c;
    char text[CURSOR_LEN + 1];
    cursor_format(1700000000123456, ID, text);
    ASSERT_INT(cursor_parse(text, &c, NULL), 0);
    ASSERT_INT(c.created_us, 1700000000123456);
    ASSERT_STR(c.id, ID);
}

static void nothing_means_the_start(void)
{
    struct cursor c;
    ASSERT_INT(cursor_parse(NULL, &c, NULL), 0);
    ASSERT_TRUE(c.created_us > 250000000000000000);
    ASSERT_INT(cursor_parse("", &c, NULL), 0);
}

static void foreign_text_is_refused_by_field(void)
{
    static const char *const bad[] = {"x", "1", "1.", "." ID, "-1." ID, " 1." ID, "1." ID "x",
        "1.0F8FAD5B-D9CB-469F-A165-70867728950E", "99999999999999999999." ID, "999999999999999999." ID,
        "1.5." ID, "1;" ID};
    struct arp_err err;
    struct cursor c;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ASSERT_INT(cursor_parse(bad[i], &c, &err), ARP_E_FIELD);
        ASSERT_STR(err.detail, "\"field\":\"cursor\"");
    }
}

TEST_SUITE(cursor_test, TEST(round_trip_keeps_position), TEST(nothing_means_the_start),
    TEST(foreign_text_is_refused_by_field))
