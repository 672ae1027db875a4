/*
 * Lines of custody, their chains, and the closing of days. The database's clock of the chains (custody_now) is set by the tests.
 */
#include "orchestrator/store/custody.h"

#include <libpq-fe.h>
#include <pthread.h>
#include <stdlib.h>

#include "orchestrator/store/bundles.h"
#include "shared/chain.h"
#include "shared/clock.h"
#include "tests/unit/orchestrator/store/fixture.h"

#define SHA   "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define OTHER "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100"

static const struct custody_by by_a = {NO_ID, NO_ID, "2001:db8::\"1\\"};

/* A run of A whose bundle is ready. */
static struct run_admitted ready_run(void)
{
    struct run_admitted a = admit_a();
    struct run_end e = {.status = RUN_FAILED, .reason = "agent_lost"};
    bool moved;
    struct bundle b;
    OK(runs_finish(db, user_a.id, a.id, &e, &moved, &err));
    OK(bundles_claim_pending(db, "w", 60000, &b, &err));
    struct bundle_ready done = {"x.zip", SHA, 4096, true, clock_now_us()};
    OK(bundles_set_ready(db, user_a.id, b.id, "w", &done, &err));
    bundle_done(&b);
    return a;
}

/* Walk a run's chain as a reader would. Returns the number of lines. */
static int64_t walk(const char *run_id)
{
    struct custody_lines ls = {0};
    struct chain c;
    chain_init(&c, run_id, "custody.jsonl");
    OK(custody_read(db, user_a.id, run_id, -1, 10000, &ls, &err));
    for (size_t i = 0; i < ls.n; i++) {
        cleanup_cjson cJSON *obj = NULL;
        OK(json_parse_line(ls.v[i].line, strlen(ls.v[i].line), &obj, &err));
        OK(chain_accept(&c, ls.v[i].line, strlen(ls.v[i].line), obj, &err));
        ASSERT_STR(json_get_str(obj, "runId"), run_id);
        ASSERT_INT(ls.v[i].seq, i);
    }
    int64_t n = (int64_t)ls.n;
    custody_lines_done(&ls);
    return n;
}

static void lines_say_what_happened_and_follow_one_another(void)
{
    clock_at("2026-11-22T10:00:00.123456Z");
    struct run_admitted r = ready_run();
    OK(custody_downloaded(db, user_a.id, r.id, &by_a, true, &err));
    OK(custody_verified(db, user_a.id, r.id, SHA, "verified", &by_a, &err));
    OK(custody_verified(db, user_a.id, r.id, OTHER, "failed", &by_a, &err));
    ASSERT_INT(walk(r.id), 4);
    struct custody_lines ls = {0};
    OK(custody_read(db, user_a.id, r.id, -1, 2, &ls, &err));
    ASSERT_INT(ls.n, 2);
    char want[512];
    char genesis[128];
    char prev[SHA256_HEX_LEN + 1];
    int n = snprintf(genesis, sizeof(genesis), "arp-chain-v1\n%s\ncustody.jsonl\n", r.id);
    sha256_hex_of(genesis, (size_t)n, prev);
    snprintf(want, sizeof(want),
        "{\"ts\":\"2026-11-22T10:00:00.123Z\",\"runId\":\"%s\",\"type\":\"created\",\"actor\":\"system\","
        "\"userId\":null,"
        "\"remote\":null,\"zipSha256\":\"sha256:" SHA
        "\",\"sizeBytes\":4096,\"complete\":true,\"seq\":0,\"prev\":\"%s\"}",
        r.id, prev);
    ASSERT_STR(ls.v[0].line, want);
    ASSERT_STR(ls.v[0].day, "");
    ASSERT_CONTAINS(ls.v[1].line,
        "\"type\":\"downloaded\",\"actor\":\"" NO_ID "\",\"userId\":\"" NO_ID
        "\",\"remote\":\"2001:db8::\\\"1\\\\\",\"zipSha256\":\"sha256:" SHA "\",\"seq\":1");
    custody_lines_done(&ls);
    OK(custody_read(db, user_a.id, r.id, 1, 10, &ls, &err));
    ASSERT_INT(ls.n, 2);
    ASSERT_CONTAINS(ls.v[0].line, "\"verdict\":\"verified\",\"matches\":true");
    ASSERT_CONTAINS(ls.v[1].line, "\"verdict\":\"failed\",\"matches\":false");
    custody_lines_done(&ls);
    OK(custody_read(db, user_b.id, r.id, -1, 10, &ls, &err));
    ASSERT_INT(ls.n, 0);
    ASSERT_INT(custody_downloaded(db, user_b.id, r.id, &by_a, true, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(custody_verified(db, user_b.id, r.id, SHA, "verified", &by_a, &err), ARP_E_NOT_FOUND);
}

static void a_resumed_download_is_one_line_and_none_goes_without(void)
{
    struct run_admitted r = ready_run();
    OK(custody_downloaded(db, user_a.id, r.id, &by_a, false, &err));
    OK(custody_downloaded(db, user_a.id, r.id, &by_a, false, &err));
    ASSERT_INT(walk(r.id), 2);
    OK(custody_downloaded(db, user_a.id, r.id, &by_a, true, &err));
    ASSERT_INT(walk(r.id), 3);
}

static void what_is_deleted_is_not_downloaded_any_more_but_can_be_verified(void)
{
    struct run_admitted r = ready_run();
    sqlf("UPDATE evidence_bundles SET status = 'deleted', deleted_at = now() WHERE run_id = '%s'", r.id);
    ASSERT_INT(custody_downloaded(db, user_a.id, r.id, &by_a, true, &err), ARP_E_NOT_FOUND);
    OK(custody_verified(db, user_a.id, r.id, SHA, "verified", &by_a, &err));
    ASSERT_INT(walk(r.id), 2);
}

static void *download_often(void *run_id)
{
    for (int i = 0; i < 100; i++)
        if (custody_downloaded(db, user_a.id, run_id, &by_a, true, NULL) != 0)
            return run_id;
    return NULL;
}

static void lines_written_at_once_still_follow_one_another(void)
{
    struct run_admitted r = ready_run();
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, download_often, r.id);
    for (int i = 0; i < 4; i++) {
        void *failed;
        pthread_join(t[i], &failed);
        ASSERT_TRUE(failed == NULL);
    }
    ASSERT_INT(walk(r.id), 401);
}

static void nothing_of_it_changes(void)
{
    struct run_admitted r = ready_run();
    ASSERT_INT(walk(r.id), 1);
    CU_ASSERT(pg_sql("UPDATE custody SET actor = 'nobody'") == NULL);
    CU_ASSERT(pg_sql("DELETE FROM custody") == NULL);
    CU_ASSERT(pg_sql("TRUNCATE custody CASCADE") == NULL);
    ASSERT_INT(walk(r.id), 1);
}

/* Close and sign the next day, as the custodian does, with made-up signatures. */
static size_t close_next(const char *want_day, char ret_prev[SHA256_HEX_LEN + 1])
{
    char day[CUSTODY_DAY_LEN + 1];
    struct custody_leaves ls = {0};
    OK(custody_close_day(db, day, ret_prev, &err));
    ASSERT_STR(day, want_day);
    OK(custody_leaves_read(db, day, NULL, 10000, &ls, &err));
    struct merkle_path *paths = calloc(ls.n + 1, sizeof(*paths));
    for (size_t i = 0; i < ls.n; i++)
        paths[i].n = i % 3;
    for (int twice = 0; twice < 2 && ls.n; twice++)
        OK(custody_proofs_store(db, day, 0, ls.v, paths, ls.n < 1000 ? ls.n : 1000, &err));
    char head[] = "{}", key[] = "SHA256:k", sig[] = "c2ln";
    struct custody_head h = {.head = head, .key_id = key, .signature = sig};
    memcpy(h.day, day, sizeof(day));
    OK(custody_day_signed(db, &h, &err));
    ASSERT_INT(custody_day_signed(db, &h, &err), ARP_E_CONFLICT);
    free(paths);
    size_t n = ls.n;
    custody_leaves_done(&ls);
    return n;
}

static void a_day_is_closed_when_it_is_over_and_takes_no_more(void)
{
    char day[CUSTODY_DAY_LEN + 1], prev[SHA256_HEX_LEN + 1], empty_object[SHA256_HEX_LEN + 1];
    sha256_hex_of("{}", 2, empty_object);
    clock_at("2026-11-22T23:59:59.999Z");
    struct run_admitted r = ready_run();
    ASSERT_INT(custody_close_day(db, day, prev, &err), ARP_E_NOT_FOUND);
    clock_at("2026-11-24T00:00:00Z");
    OK(custody_downloaded(db, user_a.id, r.id, &by_a, true, &err));
    /* a crash between closing and signing: the same day again */
    OK(custody_close_day(db, day, prev, &err));
    size_t n = close_next("2026-11-22", prev);
    ASSERT_STR(prev, "");
    ASSERT_INT(n, strtoll(pg_sql("SELECT count(*) FROM custody WHERE day = '2026-11-22'"), NULL, 10));
    ASSERT_INT(close_next("2026-11-23", prev), 0); /* a day without lines has its head too */
    ASSERT_STR(prev, empty_object);
    ASSERT_INT(custody_close_day(db, day, prev, &err), ARP_E_NOT_FOUND);
    /* the clock is set back: the line belongs to the first day that is open */
    clock_at("2026-11-22T12:00:00Z");
    struct run_admitted late = ready_run();
    ASSERT_STR(sqlf("SELECT ts FROM custody WHERE run_id = '%s'", late.id), "2026-11-24 00:00:00+00");
    CU_ASSERT(pg_sql("UPDATE custody_days SET head = 'x'") == NULL);
    CU_ASSERT(pg_sql("DELETE FROM custody_days") == NULL);
    struct custody_lines ls = {0};
    OK(custody_read(db, user_a.id, r.id, -1, 10, &ls, &err));
    ASSERT_STR(ls.v[0].day, "2026-11-22");
    ASSERT_INT(ls.v[0].path->n, ls.v[0].leaf % 3);
    ASSERT_STR(ls.v[1].day, "");
    custody_lines_done(&ls);
    struct custody_heads hs = {0};
    OK(custody_days_of(db, user_a.id, r.id, 0, 1, &hs, &err));
    ASSERT_INT(hs.n, 1);
    ASSERT_STR(hs.v[0].day, "2026-11-22");
    custody_heads_done(&hs);
    OK(custody_days(db, 1, NULL, &hs, &err));
    ASSERT_INT(hs.n, 1);
    ASSERT_STR(hs.v[0].day, "2026-11-23");
    custody_heads_done(&hs);
    OK(custody_days(db, 10, "2026-11-23", &hs, &err));
    ASSERT_INT(hs.n, 1);
    ASSERT_STR(hs.v[0].day, "2026-11-22");
    custody_heads_done(&hs);
}

static void *close_day(void *arg)
{
    char prev[SHA256_HEX_LEN + 1];
    return custody_close_day(db, arg, prev, NULL) == 0 ? arg : NULL;
}

static void closing_waits_for_lines_being_written(void)
{
    char day[CUSTODY_DAY_LEN + 1];
    clock_at("2026-11-24T08:00:00Z");
    struct run_admitted r = ready_run();
    PGconn *writer = PQconnectdb(pg_url());
    char append[512];
    snprintf(append, sizeof(append),
        "SELECT custody_append('%s', '%s', 'lost', NULL, NULL, NULL, NULL, '', NULL)", r.id, user_a.id);
    PQclear(PQexec(writer, "BEGIN"));
    PQclear(PQexec(writer, append));
    clock_at("2026-11-25T00:00:00Z");
    pthread_t t;
    pthread_create(&t, NULL, close_day, day);
    ASSERT_TRUE(pg_wait(PG_WAITING("count(*)") " AND wait_event = 'advisory'", "1"));
    ASSERT_STR(pg_sql("SELECT count(*) FROM custody_days WHERE day = '2026-11-24'"), "0");
    PQclear(PQexec(writer, "COMMIT"));
    PQfinish(writer);
    void *done;
    pthread_join(t, &done);
    ASSERT_TRUE(done != NULL);
    ASSERT_STR(day, "2026-11-24");
    struct custody_leaves ls = {0};
    OK(custody_leaves_read(db, day, NULL, 10000, &ls, &err));
    ASSERT_INT(ls.n, strtoll(pg_sql("SELECT count(*) FROM custody WHERE day = '2026-11-24'"), NULL, 10));
    struct custody_leaves rest = {0};
    OK(custody_leaves_read(db, day, &ls.v[0], 10000, &rest, &err));
    ASSERT_INT(rest.n, ls.n - 1);
    custody_leaves_done(&ls);
    custody_leaves_done(&rest);
    ASSERT_INT(walk(r.id), 2);
}

FIXTURE_SUITE(custody_test, TEST(lines_say_what_happened_and_follow_one_another),
    TEST(a_resumed_download_is_one_line_and_none_goes_without),
    TEST(what_is_deleted_is_not_downloaded_any_more_but_can_be_verified),
    TEST(lines_written_at_once_still_follow_one_another), TEST(nothing_of_it_changes),
    TEST(a_day_is_closed_when_it_is_over_and_takes_no_more), TEST(closing_waits_for_lines_being_written))
