/* asked.c: what reconcile_test.c does not reach, a ledger that repeats what a hostile provider and a hostile workspace made up together. */
#include "orchestrator/evidence/asked.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "shared/buf.h"
#include "tests/support/suite.h"

#define HEX "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* The next id, from *n on, whose FNV-1a ends in twelve zero bits: the last letter is what cancels them. */
static void colliding_id(unsigned *n, char ret[16])
{
    for (;;) {
        int len = snprintf(ret, 15, "%x", ++*n);
        unsigned h = 2166136261u;
        for (const char *p = ret; *p; p++)
            h = (h ^ (unsigned char)*p) * 16777619u;
        h %= 4096;
        if (h < 128 && isalnum((int)h)) {
            ret[len] = (char)h;
            ret[len + 1] = '\0';
            return;
        }
    }
}

/* A line of the ledger with so many elements in a list. */
static void put_line(struct buf *log, const char *list, unsigned *n, int count, const char *members)
{
    char id[16];
    buf_printf(log, "{\"status\":200,\"%s\":[", list);
    for (int i = 0; i < count; i++) {
        colliding_id(n, id);
        buf_printf(log, "%s{\"id\":\"%s\"%s}", i ? "," : "", id, members);
    }
    buf_append_str(log, "]}\n");
}

/* Calls whose ids were chosen to fall into one list of a table with a known hash, and results that look for others there: each would walk all of it. */
static void chosen_ids_do_not_make_reading_slow(void)
{
    enum { LINES = 8, CALLS = 1024, RESULTS = 2048, TIMES = 128 };
    struct asked a;
    struct arp_err err = {0};
    cleanup_buf struct buf log, results;
    unsigned n = 0;
    buf_init(&log, 64u << 20);
    buf_init(&results, 1u << 20);
    for (int i = 0; i < LINES; i++)
        put_line(&log, "toolCalls", &n, CALLS, ",\"commandSha256\":\"sha256:" HEX "\"");
    put_line(&results, "toolResults", &n, RESULTS, "");
    for (int i = 0; i < TIMES; i++)
        buf_append(&log, results.data, results.len);
    ASSERT_INT(buf_error(&log, &err), 0);
    clock_t begin = clock();
    ASSERT_INT(asked_read((struct log_text){log.data, log.len}, &a, &err), 0);
    ASSERT_TRUE(clock() - begin < 4 * CLOCKS_PER_SEC);
    ASSERT_INT(a.ask_count, LINES * CALLS);
    asked_done(&a);
}

TEST_SUITE(asked_test, TEST(chosen_ids_do_not_make_reading_slow))
