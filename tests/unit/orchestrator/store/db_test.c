#include "orchestrator/store/db.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "orchestrator/store/db.intern.h"
#include "orchestrator/store/rows.h"
#include "tests/unit/orchestrator/store/fixture.h"

static const struct sql_args NONE;

static int run(const struct sql *q)
{
    cleanup_pgresult PGresult *res = NULL;
    return db_many(db, q, &NONE, &res, &err);
}

static void bad_url_is_refused_and_a_dead_server_is_unavailable(void)
{
    cleanup_db struct db *dead = NULL;
    struct db *none = NULL;
    ASSERT_INT(db_open("postgresql://[::1/x", 2, &none, &err), ARP_E_INVALID);
    ASSERT_INT(db_open("no_such_option=1", 2, &none, &err), ARP_E_INVALID);
    OK(db_open("postgresql://postgres@/x?host=/nonexistent", 2, &dead, &err));
    for (int i = 0; i < 4; i++) /* more often than there are connections: none leaks */
        ASSERT_INT(db_ping(dead, &err), ARP_E_DATABASE);
    OK(db_ping(db, &err));
}

static void shapes_are_checked(void)
{
    static const struct sql NO_ROW = {"t_none", "SELECT 1 WHERE false", true};
    static const struct sql TWO = {"t_two", "SELECT generate_series(1, 2)", true};
    PGresult *res = NULL;
    ASSERT_INT(db_one(db, &NO_ROW, &NONE, "thing", &res, &err), ARP_E_NOT_FOUND);
    ASSERT_STR(err.msg, "thing not found");
    ASSERT_INT(db_one(db, &TWO, &NONE, "thing", &res, &err), ARP_E_INTERNAL);
}

static void server_errors_become_ours(void)
{
    static const struct {
        struct sql q;
        int code;
    } cases[] = {
        {{"t_syntax", "SELEC 1", true}, ARP_E_INTERNAL},
        {{"t_table", "SELECT 1 FROM nowhere", true}, ARP_E_INTERNAL},
        {{"t_div", "SELECT 1 / 0", true}, ARP_E_INVALID},
        {{"t_unique", "INSERT INTO users (name) VALUES ('a')", false}, ARP_E_CONFLICT},
        {{"t_check", "INSERT INTO users (name) VALUES ('')", false}, ARP_E_INVALID},
        {{"t_parent",
             "INSERT INTO api_keys (user_id, name, key_hash, prefix, scopes)"
             " VALUES (gen_random_uuid(), 'x', repeat('e', 64), 'p', 1)",
             false},
            ARP_E_NOT_FOUND},
        {{"t_slow", "SELECT set_config('statement_timeout', '20', true), pg_sleep(0)", true}, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        ASSERT_INT(run(&cases[i].q), cases[i].code);
    OK(db_ping(db, &err));
}

static void slow_statement_times_out(void)
{
    static const struct sql SLEEP = {"t_sleep", "SELECT pg_sleep(5)", true};
    cleanup_db struct db *hasty = NULL;
    cleanup_pgresult PGresult *res = NULL;
    char url[512];
    snprintf(url, sizeof(url), "%s%soptions=-cstatement_timeout%%3D1000", pg_url(),
        strchr(pg_url(), '?') ? "&" : "?");
    if (strncmp(url, "postgresql://", 13) != 0) /* a shared server: conninfo text */
        snprintf(url, sizeof(url), "%s options='-c statement_timeout=1000'", pg_url());
    OK(db_open(url, 1, &hasty, &err));
    ASSERT_INT(db_many(hasty, &SLEEP, &NONE, &res, &err), ARP_E_TIMEOUT);
    ASSERT_CONTAINS(err.msg, "t_sleep");
    OK(db_ping(hasty, &err));
}

static void broken_connections_are_replaced(void)
{
    static const struct sql SUICIDE = {"t_suicide", "SELECT pg_terminate_backend(pg_backend_pid())", false};
    static const struct sql WRITE = {
        "t_write", "UPDATE users SET daily_run_limit = 500 WHERE name = 'a'", false};
    int64_t affected = 0;
    ASSERT_INT(run(&SUICIDE), ARP_E_DATABASE);
    OK(db_ping(db, &err));
    /* killed while idle: noticed before a write is sent */
    OK(db_none(db, &WRITE, &NONE, &affected, &err));
    ASSERT_INT(affected, 1);
    pg_sql("SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity"
           " WHERE datname = current_database() AND pid <> pg_backend_pid()");
    OK(db_none(db, &WRITE, &NONE, &affected, &err));
}

static void read_is_tried_again_on_a_new_connection(void)
{
    /* Ends its own session the first time it runs in one database, answers the second time. */
    static const struct sql ONCE = {"t_once", "SELECT t_once()", true};
    pg_sql("CREATE SEQUENCE t_tries; CREATE FUNCTION t_once() RETURNS bigint LANGUAGE plpgsql AS $$ DECLARE "
           "n bigint := nextval('t_tries');"
           " BEGIN IF n = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(1); END "
           "IF; RETURN n; END $$");
    cleanup_pgresult PGresult *res = NULL;
    OK(db_one(db, &ONCE, &NONE, "answer", &res, &err));
    ASSERT_INT(row_int(res, 0, 0), 2);
}

static void restart_of_the_server_is_survived(void)
{
    if (pg_restart() < 0)
        return; /* a shared server stays up */
    struct user u;
    OK(users_insert(db, "after restart", -1, &u, &err));
    OK(db_ping(db, &err));
    user_done(&u);
}

static atomic_int failures;

static void *hammer(void *arg)
{
    struct db *small = arg;
    static const struct sql WORK = {"t_work", "SELECT pg_sleep(0.001)", true};
    for (int i = 0; i < 20; i++) {
        PGresult *res = NULL;
        atomic_fetch_add(&failures, db_many(small, &WORK, &NONE, &res, NULL) != 0);
        PQclear(res);
    }
    return NULL;
}

static void more_threads_than_connections_take_turns(void)
{
    cleanup_db struct db *small = NULL;
    pthread_t t[16];
    OK(db_open(pg_url(), 3, &small, &err));
    for (int i = 0; i < 16; i++)
        pthread_create(&t[i], NULL, hammer, small);
    for (int i = 0; i < 16; i++)
        pthread_join(t[i], NULL);
    ASSERT_INT(failures, 0);
}

static void time_is_what_the_database_says(void)
{
    static const char clock[] = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    int64_t now = 0;
    int64_t before = strtoll(pg_sql(clock), NULL, 10);
    OK(db_now(db, &now, &err));
    ASSERT_TRUE(before <= now && now <= strtoll(pg_sql(clock), NULL, 10));
}

FIXTURE_SUITE(db_test, TEST(bad_url_is_refused_and_a_dead_server_is_unavailable), TEST(shapes_are_checked),
    TEST(server_errors_become_ours), TEST(slow_statement_times_out), TEST(broken_connections_are_replaced),
    TEST(read_is_tried_again_on_a_new_connection), TEST(restart_of_the_server_is_survived),
    TEST(more_threads_than_connections_take_turns), TEST(time_is_what_the_database_says))
