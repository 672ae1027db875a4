/* lines.c: the loops over a log's lines. */
#include "orchestrator/evidence/lines.h"

#include <string.h>

#include "tests/support/suite.h"

#define EVENT(type, members)                                                                                 \
    "{\"ts\":\"2026-11-22T00:00:10.120Z\",\"runId\":\"6f1d2c3e-8a4b-4c5d-9e6f-0a1b2c3d4e5f\",\"type\":"      \
    "\"" type "\"" members                                                                                   \
    ",\"seq\":0,\"prev\":\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"}\n"

static void every_line_counts_also_an_unfinished_one(void)
{
    static const char text[] = "a\n\nbc";
    struct log_text rest = {text, sizeof(text) - 1}, none = {0};
    size_t n;
    bool ended;
    ASSERT_TRUE(lines_next(&rest, &n, &ended) == text && n == 1 && ended);
    ASSERT_TRUE(lines_next(&rest, &n, &ended) == text + 2 && n == 0 && ended);
    ASSERT_TRUE(lines_next(&rest, &n, &ended) == text + 3 && n == 2 && !ended);
    ASSERT_TRUE(!lines_next(&rest, &n, &ended));
    ASSERT_TRUE(!lines_next(&rest, &n, &ended));
    ASSERT_TRUE(!lines_next(&none, &n, &ended));
}

static void events_of_the_asked_types_are_given_in_order(void)
{
    static const char text[] = EVENT("RunToken", ",\"delta\":\"RunProcess\"")
        EVENT("RunProcess", ",\"pid\":1") "{\"type\":\"RunProcess\"}\n" EVENT("RunProcess", ",oops")
            EVENT("RunNews", "") EVENT("RunCompleted", ",\"pid\":3");
    struct log_text rest = {text, sizeof(text) - 1};
    enum event_type type;
    cJSON *obj;
    const unsigned types = LINES_OF(EVENT_RUN_PROCESS) | LINES_OF(EVENT_RUN_COMPLETED);
    ASSERT_TRUE(lines_next_event(&rest, types, &type, &obj));
    ASSERT_INT(type, EVENT_RUN_PROCESS);
    ASSERT_INT(json_get_int(obj, "pid", 0), 1);
    cJSON_Delete(obj);
    ASSERT_TRUE(
        lines_next_event(&rest, types, &type, &obj)); /* it is one, though nothing can be read of it */
    ASSERT_INT(type, EVENT_RUN_PROCESS);
    ASSERT_TRUE(!obj);
    ASSERT_TRUE(lines_next_event(&rest, types, &type, &obj));
    ASSERT_INT(type, EVENT_RUN_COMPLETED);
    ASSERT_INT(json_get_int(obj, "pid", 0), 3);
    cJSON_Delete(obj);
    ASSERT_TRUE(!lines_next_event(&rest, types, &type, &obj));
}

TEST_SUITE(lines_test, TEST(every_line_counts_also_an_unfinished_one),
    TEST(events_of_the_asked_types_are_given_in_order))
