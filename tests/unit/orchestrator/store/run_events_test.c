#include "orchestrator/store/run_events.h"

#include <stdlib.h>
#include <unistd.h>

#include "shared/fd.h"
#include "tests/unit/orchestrator/store/fixture.h"

#define H "abababababababababababababababababababababababababababababababab"

/* What JSON lines may hold and other column types would change: escapes, order, spaces, doubled keys, big numbers. */
static const char odd[] = "{\"b\":1,\"a\":\"it's \\\"quoted\\\" \\\\ back\\u0000slash\",\"a\":2}\n"
                          "{\"emoji\":\"🙂 \xc2\x85 \xe2\x80\xa8\", \"n\":12345678901234567890.10}\n"
                          "\t{ $1 %s ; -- '); DROP TABLE runs; }\r\n";

static struct run_admitted with_lines(const char *lines, int64_t n)
{
    struct run_admitted a = admit_a();
    OK(run_events_append(db, user_a.id, a.id, 0, n - 1, lines, strlen(lines), H, &err));
    return a;
}

static void odd_bytes_come_back_as_they_went_in(void)
{
    struct run_admitted a = with_lines(odd, 3);
    struct run_events_page p;
    OK(run_events_read(db, user_a.id, a.id, -1, 1000, &p, &err));
    ASSERT_INT(p.len, strlen(odd));
    CU_ASSERT(memcmp(p.lines, odd, p.len) == 0);
    ASSERT_INT(p.first_seq, 0);
    ASSERT_INT(p.last_seq, 2);
    ASSERT_INT(p.total, 3);
    ASSERT_TRUE(!p.ended);
    run_events_page_done(&p);
}

static void bad_chunks_write_nothing(void)
{
    struct run_admitted a = admit_a();
    struct run_chain c;
    ASSERT_INT(run_events_append(db, user_a.id, a.id, 0, 0, "no LF", 5, H, &err), ARP_E_INVALID);
    ASSERT_INT(run_events_append(db, user_a.id, a.id, 0, 1, "one\n", 4, H, &err), ARP_E_INVALID);
    ASSERT_INT(run_events_append(db, user_a.id, a.id, 0, -1, "", 0, H, &err), ARP_E_INVALID);
    ASSERT_INT(run_events_append(db, user_a.id, a.id, 0, 0, "\xff\n", 2, H, &err), ARP_E_UTF8);
    ASSERT_INT(run_events_append(db, user_a.id, a.id, 0, 0, "a\0b\n", 4, H, &err), ARP_E_UTF8);
    ASSERT_INT(run_events_append(db, user_a.id, a.id, 0, 0, "x\n", 2, "short", &err), ARP_E_INVALID);
    OK(run_events_chain(db, user_a.id, a.id, &c, &err));
    ASSERT_INT(c.lines, 0);
    ASSERT_STR(c.head, "");
}

static void chain_accepts_only_what_continues_it(void)
{
    struct run_admitted a = with_lines("0\n1\n", 2);
    struct run_chain c;
    ASSERT_INT(run_events_append(db, user_a.id, a.id, 1, 1, "1\n", 2, H, &err), ARP_E_CONFLICT);
    ASSERT_INT(run_events_append(db, user_a.id, a.id, 3, 3, "3\n", 2, H, &err), ARP_E_CONFLICT);
    ASSERT_INT(run_events_append(db, user_b.id, a.id, 2, 2, "2\n", 2, H, &err), ARP_E_CONFLICT);
    ASSERT_INT(run_events_append(db, user_a.id, NO_ID, 0, 0, "0\n", 2, H, &err), ARP_E_CONFLICT);
    OK(run_events_append(db, user_a.id, a.id, 2, 2, "2\n", 2, H, &err));
    OK(run_events_chain(db, user_a.id, a.id, &c, &err));
    ASSERT_INT(c.lines, 3);
    ASSERT_INT(c.bytes, 6);
    ASSERT_STR(c.head, H);
}

static void reading_resumes_after_any_line(void)
{
    struct run_admitted a = with_lines("0\n1\n2\n", 3);
    OK(run_events_append(db, user_a.id, a.id, 3, 4, "3\n4\n", 4, H, &err));
    OK(run_events_append(db, user_a.id, a.id, 5, 5, "5\n", 2, H, &err));
    static const char *const rest[] = {
        "0\n1\n2\n3\n4\n5\n", "1\n2\n3\n4\n5\n", "2\n3\n4\n5\n", "3\n4\n5\n", "4\n5\n", "5\n", ""};
    for (int after = -1; after < 6; after++) {
        struct run_events_page p;
        OK(run_events_read(db, user_a.id, a.id, after, 1000, &p, &err));
        ASSERT_INT(p.len, strlen(rest[after + 1]));
        CU_ASSERT(p.len == 0 || memcmp(p.lines, rest[after + 1], p.len) == 0);
        ASSERT_INT(p.total, 6);
        run_events_page_done(&p);
    }
    struct run_events_page p;
    OK(run_events_read(db, user_a.id, a.id, 1000000, 1000, &p, &err));
    ASSERT_INT(p.len, 0);
    OK(run_events_read(
        db, user_a.id, a.id, 0, 2, &p, &err)); /* one chunk at least, and no more than needed */
    ASSERT_INT(p.last_seq, 2);
    ASSERT_INT(p.len, 4);
    run_events_page_done(&p);
}

static void empty_and_foreign_runs_differ(void)
{
    struct run_admitted a = admit_a();
    struct run_events_page p;
    OK(run_events_read(db, user_a.id, a.id, -1, 1000, &p, &err));
    ASSERT_TRUE(!p.lines && p.len == 0 && p.total == 0 && !p.ended);
    ASSERT_INT(run_events_read(db, user_b.id, a.id, -1, 1000, &p, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(run_events_read(db, user_a.id, "x", -1, 1000, &p, &err), ARP_E_NOT_FOUND);
    struct run_chain c;
    ASSERT_INT(run_events_chain(db, user_b.id, a.id, &c, &err), ARP_E_NOT_FOUND);
}

static void end_of_run_shows_with_the_lines_and_closes_the_chain(void)
{
    struct run_admitted a = with_lines("0\n", 1);
    struct run_end e = {.status = RUN_SUCCEEDED};
    struct run_events_page p;
    bool moved;
    OK(runs_finish(db, user_a.id, a.id, &e, &moved, &err));
    OK(run_events_read(db, user_a.id, a.id, -1, 1000, &p, &err));
    ASSERT_TRUE(p.ended && p.last_seq + 1 == p.total);
    run_events_page_done(&p);
    ASSERT_INT(run_events_append(db, user_a.id, a.id, 1, 1, "1\n", 2, H, &err), ARP_E_CONFLICT);
}

static void whole_log_is_written_to_a_file(void)
{
    /* 700 chunks of one line and three of over a megabyte: more than one page either way. */
    struct run_admitted a = admit_a();
    cleanup_buf struct buf want, got;
    buf_init(&want, 16u << 20);
    buf_init(&got, 16u << 20);
    int64_t seq = 0;
    for (; seq < 700; seq++) {
        char line[32];
        int n = snprintf(line, sizeof(line), "{\"seq\":%lld}\n", (long long)seq);
        buf_append(&want, line, (size_t)n);
        OK(run_events_append(db, user_a.id, a.id, seq, seq, line, (size_t)n, H, &err));
    }
    cleanup_free char *large = malloc(1200001);
    memset(large, 'x', 1200000);
    large[1200000] = '\n';
    for (; seq < 703; seq++) {
        buf_append(&want, large, 1200001);
        OK(run_events_append(db, user_a.id, a.id, seq, seq, large, 1200001, H, &err));
    }
    FILE *f = tmpfile();
    struct run_chain c;
    OK(run_events_lines_of(db, user_a.id, a.id, fileno(f), &c, &err));
    ASSERT_INT(c.lines, 703);
    ASSERT_STR(c.head, H);
    lseek(fileno(f), 0, SEEK_SET);
    OK(fd_read_all(fileno(f), &got, &err));
    ASSERT_INT(got.len, want.len);
    CU_ASSERT(memcmp(got.data, want.data, want.len) == 0);
    ASSERT_INT(run_events_lines_of(db, user_b.id, a.id, fileno(f), &c, &err), ARP_E_NOT_FOUND);
    sqlf("DELETE FROM run_events WHERE run_id = '%s' AND first_seq = 350", a.id);
    ASSERT_INT(run_events_lines_of(db, user_a.id, a.id, fileno(f), &c, &err), ARP_E_CORRUPT);
    fclose(f);
}

FIXTURE_SUITE(run_events_test, TEST(odd_bytes_come_back_as_they_went_in), TEST(bad_chunks_write_nothing),
    TEST(chain_accepts_only_what_continues_it), TEST(reading_resumes_after_any_line),
    TEST(empty_and_foreign_runs_differ), TEST(end_of_run_shows_with_the_lines_and_closes_the_chain),
    TEST(whole_log_is_written_to_a_file))
