/*
 * Holds against collectors: what wins when, with the order of events forced by a second connection.
 */
#include "orchestrator/store/holds.h"

#include <libpq-fe.h>
#include <pthread.h>

#include "orchestrator/store/api_keys.h"
#include "orchestrator/store/bundles.h"
#include "orchestrator/store/custody.intern.h"
#include "orchestrator/store/holds.intern.h"
#include "tests/unit/orchestrator/store/fixture.h"

#define SHA "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static char key_a[UUID_LEN + 1];
static struct custody_by by_a = {.key_id = key_a, .remote = "192.0.2.7"};

/* A collector's statement as store/holds.intern.h gives it, behind a gate: it has begun and waits there, until advisory lock 42 is free. */
#define COLLECT(decided)                                                                                     \
    "WITH gate AS MATERIALIZED (SELECT pg_advisory_xact_lock(42)),"                                          \
    " due AS MATERIALIZED (SELECT b.id FROM gate, evidence_bundles b JOIN users u ON u.id = b.user_id"       \
    " WHERE b.status = 'ready' AND NOT " HOLDS_SEEN("b.user_id", "b.project_id",                             \
        "b.run_id") " ORDER BY "                                                                             \
                    "b.created_at, b.id LIMIT 200 FOR UPDATE OF b SKIP LOCKED FOR SHARE OF u SKIP LOCKED),"  \
                    " gone AS (UPDATE evidence_bundles b SET status = 'deleted', deleted_at = now() FROM "   \
                    "due"                                                                                    \
                    " WHERE b.id = due.id AND NOT " decided("b.user_id", "b.project_id",                     \
                        "b.run_id") " RETURNING b.*)"                                                        \
                                    " SELECT gone.id, " CUSTODY_PURGED(                                      \
                                        "gone", "'retention'", "'EVIDENCE_TTL_DAYS=0'") " FROM gone"

static PGconn *connect_again(void)
{
    PGconn *c = PQconnectdb(pg_url());
    ASSERT_INT(PQstatus(c), CONNECTION_OK);
    return c;
}

/* Rows that came back. */
static int on(PGconn *c, const char *text)
{
    PGresult *res = PQexec(c, text);
    if (PQresultStatus(res) != PGRES_TUPLES_OK && PQresultStatus(res) != PGRES_COMMAND_OK)
        fprintf(stderr, "%s: %s", text, PQerrorMessage(c));
    int n = PQntuples(res);
    PQclear(res);
    return n;
}

/* Start from no bundle of earlier tests and no hold: a hold covers them too, and what one call notes is bounded. */
static void clean(void)
{
    sqlf("DELETE FROM evidence_bundles");
    sqlf("UPDATE holds SET released_at = now(), released_by = held_by, noted = true");
}

static void make_key(void)
{
    if (key_a[0])
        return;
    snprintf(key_a, sizeof(key_a), "%s",
        sqlf("INSERT INTO api_keys (user_id, name, key_hash, prefix, scopes) VALUES ('%s', 'k', '" SHA
             "', 'arp_', 3) RETURNING id",
            user_a.id));
    by_a.user_id = user_a.id;
}

static const struct bundle_ready built = {"x.zip", SHA, 4096, true, 1795305600000000};

/* A run of A whose bundle is being built, by "w". The bundle's id goes to ret_bundle. */
static struct run_admitted pending_run(char ret_bundle[UUID_LEN + 1])
{
    make_key();
    struct run_admitted a = admit_a();
    struct run_end e = {.status = RUN_FAILED, .reason = "agent_lost"};
    bool moved;
    struct bundle b;
    OK(runs_finish(db, user_a.id, a.id, &e, &moved, &err));
    OK(bundles_claim_pending(db, "w", 60000, &b, &err));
    ASSERT_STR(b.run_id, a.id);
    memcpy(ret_bundle, b.id, sizeof(b.id));
    bundle_done(&b);
    return a;
}

/* A run of A whose bundle is ready. */
static struct run_admitted ready_run(void)
{
    char bundle[UUID_LEN + 1];
    struct run_admitted a = pending_run(bundle);
    OK(bundles_set_ready(db, user_a.id, bundle, "w", &built, &err));
    return a;
}

static struct hold_target target(enum hold_scope scope, const char *id)
{
    return (struct hold_target){scope, user_a.id, id};
}

static const char *types_of(const char *run_id)
{
    return sqlf(
        "SELECT coalesce(string_agg(type, ' ' ORDER BY seq), '') FROM custody WHERE run_id = '%s'", run_id);
}

static void a_hold_is_made_once_listed_and_released(void)
{
    clean();
    struct run_admitted r = ready_run();
    struct hold_target t = target(HOLD_RUN, r.id);
    struct hold_placed p = {0};
    ASSERT_INT(holds_release(db, &t, &by_a, &err), ARP_E_NOT_FOUND);
    OK(holds_place(db, &t, "case 7", &by_a, &p, &err));
    ASSERT_TRUE(p.made && p.covered == 1 && p.gone == 0);
    ASSERT_STR(p.hold.reason, "case 7");
    ASSERT_STR(p.hold.held_by, key_a);
    ASSERT_STR(p.hold.project_id, project_a.id);
    ASSERT_INT(p.hold.scope, HOLD_RUN);
    ASSERT_TRUE(p.hold.created_us > 0 && p.hold.released_us == 0);
    struct hold_placed again = {0};
    OK(holds_place(db, &t, "case 7", &by_a, &again, &err));
    ASSERT_TRUE(!again.made);
    ASSERT_STR(again.hold.id, p.hold.id);
    hold_done(&again.hold);
    ASSERT_INT(holds_place(db, &t, "case 8", &by_a, &again, &err), ARP_E_CONFLICT);
    ASSERT_CONTAINS(err.detail, "case 7");
    OK(holds_release(db, &t, &by_a, &err));
    ASSERT_INT(holds_release(db, &t, &by_a, &err), ARP_E_NOT_FOUND);
    struct holds page = {0};
    OK(holds_list(db, user_a.id, 1, NULL, &page, &err));
    ASSERT_INT(page.n, 1);
    ASSERT_STR(page.v[0].id, p.hold.id);
    ASSERT_TRUE(page.v[0].released_us > 0);
    ASSERT_STR(page.v[0].released_by, key_a);
    holds_done(&page);
    OK(holds_list(db, user_b.id, 10, NULL, &page, &err));
    ASSERT_INT(page.n, 0);
    hold_done(&p.hold);
    ASSERT_STR(types_of(r.id), "created held released");
}

static void targets_of_others_and_of_nobody_are_not_found(void)
{
    clean();
    struct run_admitted r = ready_run();
    struct hold_placed p;
    const struct hold_target none[] = {{HOLD_RUN, user_b.id, r.id}, {HOLD_PROJECT, user_b.id, project_a.id},
        {HOLD_RUN, user_a.id, NO_ID}, {HOLD_PROJECT, user_a.id, "x"}, {HOLD_USER, NO_ID, NULL}};
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
        ASSERT_INT(holds_place(db, &none[i], "case", &by_a, &p, &err), ARP_E_NOT_FOUND);
    ASSERT_STR(types_of(r.id), "created");
}

static void each_scope_holds_what_it_covers_and_no_more(void)
{
    clean();
    struct run_admitted one = ready_run();
    struct run_admitted two = ready_run();
    const struct {
        enum hold_scope scope;
        const char *id, *one, *two, *project, *other_user;
    } cases[] = {
        {HOLD_RUN, one.id, "t", "f", "t", "f"},
        {HOLD_PROJECT, project_a.id, "t", "t", "t", "f"},
        {HOLD_USER, NULL, "t", "t", "t", "f"},
    };
    for (size_t i = 0; i < 3; i++) {
        struct hold_target t = target(cases[i].scope, cases[i].id);
        struct hold_placed p;
        OK(holds_place(db, &t, "case", &by_a, &p, &err));
        hold_done(&p.hold);
        ASSERT_STR(sqlf("SELECT held('%s', '%s', '%s')", user_a.id, project_a.id, one.id), cases[i].one);
        ASSERT_STR(sqlf("SELECT held('%s', '%s', '%s')", user_a.id, project_a.id, two.id), cases[i].two);
        ASSERT_STR(sqlf("SELECT held('%s', '%s', NULL)", user_a.id, project_a.id), cases[i].project);
        ASSERT_STR(sqlf("SELECT held('%s', '%s', NULL)", user_b.id, project_b.id), cases[i].other_user);
        ASSERT_STR(
            sqlf("SELECT " HOLDS_SEEN("b.user_id", "b.project_id", "b.run_id") " FROM evidence_bundles b "
                                                                               "WHERE run_id = '%s'",
                two.id),
            cases[i].two);
        OK(holds_release(db, &t, &by_a, &err));
        ASSERT_STR(sqlf("SELECT held('%s', '%s', '%s')", user_a.id, project_a.id, one.id), "f");
    }
    ASSERT_STR(types_of(one.id), "created held released held released held released");
    ASSERT_STR(types_of(two.id), "created held released held released");
}

static void a_run_that_gets_its_evidence_under_a_hold_says_so(void)
{
    clean();
    make_key();
    struct hold_target t = target(HOLD_PROJECT, project_a.id);
    struct hold_placed p;
    OK(holds_place(db, &t, "case", &by_a, &p, &err));
    hold_done(&p.hold);
    struct run_admitted r = ready_run();
    ASSERT_STR(types_of(r.id), "created held");
    OK(holds_release(db, &t, &by_a, &err));
    ASSERT_STR(types_of(r.id), "created held released");
    /* and one in progress can be held before it has any */
    struct run_admitted live = admit_a();
    t = target(HOLD_RUN, live.id);
    OK(holds_place(db, &t, "case", &by_a, &p, &err));
    ASSERT_INT(p.covered, 0);
    hold_done(&p.hold);
    ASSERT_STR(types_of(live.id), "held");
}

static void a_hold_in_progress_is_passed_over_and_then_seen(void)
{
    clean();
    struct run_admitted r = ready_run();
    PGconn *holder = connect_again(), *collector = connect_again();
    char place[512];
    snprintf(place, sizeof(place), "SELECT * FROM hold_place('%s', NULL, '%s', 'case', '%s', NULL, 1000)",
        user_a.id, r.id, key_a);
    on(holder, "BEGIN");
    on(holder, place);
    ASSERT_INT(on(collector, COLLECT(HOLDS_DECIDED)), 0); /* not seen yet, but its user's row is taken */
    on(holder, "COMMIT");
    ASSERT_INT(on(collector, COLLECT(HOLDS_DECIDED)), 0);
    struct hold_target t = target(HOLD_RUN, r.id);
    OK(holds_release(db, &t, &by_a, &err));
    ASSERT_INT(on(collector, COLLECT(HOLDS_DECIDED)), 1);
    ASSERT_STR(types_of(r.id), "created held released purged");
    PQfinish(holder);
    PQfinish(collector);
}

/* Run COLLECT from its start to its end around a hold that is placed and committed in between. Returns the rows it deleted. */
static int collect_around_a_hold(const char *collect, const char *run_id)
{
    PGconn *gate = connect_again(), *collector = connect_again();
    on(gate, "SELECT pg_advisory_lock(42)");
    PQsendQuery(collector, collect);
    ASSERT_TRUE(pg_wait(PG_WAITING("count(*)") " AND wait_event = 'advisory'", "1"));
    struct hold_target t = target(HOLD_RUN, run_id);
    struct hold_placed p;
    OK(holds_place(db, &t, "case", &by_a, &p, &err));
    hold_done(&p.hold);
    PQfinish(gate);
    PGresult *res = PQgetResult(collector);
    ASSERT_INT(PQresultStatus(res), PGRES_TUPLES_OK);
    int n = PQntuples(res);
    PQclear(res);
    PQfinish(collector);
    return n;
}

static void a_collector_that_began_before_the_hold_still_sees_it(void)
{
    clean();
    struct run_admitted r = ready_run();
    ASSERT_INT(collect_around_a_hold(COLLECT(HOLDS_DECIDED), r.id), 0);
    ASSERT_STR(types_of(r.id), "created held");
    /* The same with the snapshot's view of things deletes what is held: that is why there is a function. */
    clean();
    r = ready_run();
    ASSERT_INT(collect_around_a_hold(COLLECT(HOLDS_SEEN), r.id), 1);
}

struct placing {
    struct hold_target target;
    struct hold_placed placed;
    struct arp_err err;
    int rc;
};

static void *place(void *arg)
{
    struct placing *p = arg;
    p->rc = holds_place(db, &p->target, "case", &by_a, &p->placed, &p->err);
    return NULL;
}

/* Place a hold while a collector has deleted r's evidence and not committed. */
static void place_behind_a_collector(struct placing *p)
{
    PGconn *collector = connect_again();
    pthread_t thread;
    on(collector, "BEGIN");
    ASSERT_INT(on(collector, COLLECT(HOLDS_DECIDED)), 1);
    pthread_create(&thread, NULL, place, p);
    ASSERT_TRUE(pg_wait(PG_WAITING("count(*)") " AND query LIKE '%hold_place%'", "1"));
    on(collector, "COMMIT");
    pthread_join(thread, NULL);
    PQfinish(collector);
}

static void a_hold_behind_a_collector_says_what_is_gone(void)
{
    clean();
    struct run_admitted r = ready_run();
    struct placing p = {.target = target(HOLD_RUN, r.id)};
    place_behind_a_collector(&p);
    ASSERT_INT(p.rc, ARP_E_CONFLICT);
    ASSERT_STR(types_of(r.id), "created purged");
    ASSERT_STR(sqlf("SELECT count(*) FROM holds WHERE run_id = '%s'", r.id), "0");
    sqlf("DELETE FROM evidence_bundles WHERE status = 'deleted'");
    r = ready_run();
    p = (struct placing){.target = target(HOLD_PROJECT, project_a.id)};
    place_behind_a_collector(&p);
    ASSERT_INT(p.rc, 0);
    ASSERT_INT(p.placed.gone, 1);
    hold_done(&p.placed.hold);
    ASSERT_STR(types_of(r.id), "created purged");
}

static void a_hold_over_more_than_one_statement_notes_is_in_force_to_its_end(void)
{
    clean();
    make_key();
    sqlf("WITH r AS (INSERT INTO runs (user_id, project_id, workspace_id, status, streaming, prompt, engine, "
         "run_context, finished_at)"
         " SELECT user_id, project_id, id, 'failed', false, 'x', 'shell', '{}', now() FROM workspaces, "
         "generate_series(1, %d)"
         " WHERE user_id = '%s' RETURNING id, user_id, project_id, workspace_id)"
         " INSERT INTO evidence_bundles (run_id, user_id, project_id, workspace_id) SELECT * FROM r",
        HOLDS_NOTE_AT_ONCE + 10, user_a.id);
    struct hold_target t = target(HOLD_USER, NULL);
    struct hold_placed p;
    OK(holds_place(db, &t, "case", &by_a, &p, &err));
    ASSERT_INT(p.covered, HOLDS_NOTE_AT_ONCE + 10);
    char lines[256];
    snprintf(lines, sizeof(lines), "SELECT count(*) FROM custody WHERE hold_id = '%s'", p.hold.id);
    ASSERT_STR(pg_sql(lines), "1000");
    OK(holds_note_more(db, &err));
    ASSERT_STR(pg_sql(lines), "1010");
    ASSERT_INT(holds_note_more(db, &err), ARP_E_NOT_FOUND);
    OK(holds_release(db, &t, &by_a, &err));
    /* until each chain says that it was released, a collector would purge what looks held */
    ASSERT_STR(sqlf("SELECT held('%s', '%s', NULL)", user_a.id, project_a.id), "t");
    OK(holds_note_more(db, &err));
    ASSERT_STR(sqlf("SELECT held('%s', '%s', NULL)", user_a.id, project_a.id), "f");
    ASSERT_STR(pg_sql(lines), "2020");
    hold_done(&p.hold);
}

/* A bundle becomes ready, or the hold on the project is released, on a thread of its own. */
struct change {
    char bundle[UUID_LEN + 1]; /* "": release */
    struct arp_err err;
    int rc;
};

static void *change(void *arg)
{
    struct change *c = arg;
    struct hold_target t = target(HOLD_PROJECT, project_a.id);
    c->rc = c->bundle[0] ? bundles_set_ready(db, user_a.id, c->bundle, "w", &built, &c->err)
                         : holds_release(db, &t, &by_a, &c->err);
    return NULL;
}

static pthread_t begin_to_wait(struct change *c, const char *like)
{
    pthread_t thread;
    char sql[256];
    snprintf(sql, sizeof(sql), PG_WAITING("count(*)") " AND query LIKE '%%%s%%'", like);
    pthread_create(&thread, NULL, change, c);
    ASSERT_TRUE(pg_wait(sql, "1"));
    return thread;
}

#define READY_SQL   "sealed_at ="
#define RELEASE_SQL "hold_release("

static void hold_project(void)
{
    struct hold_target t = target(HOLD_PROJECT, project_a.id);
    struct hold_placed p;
    OK(holds_place(db, &t, "case", &by_a, &p, &err));
    hold_done(&p.hold);
}

/* The bundle becomes ready while a release has begun (the user's row is taken) and has not said so in any chain. */
static const char *ready_behind_a_release(bool noted)
{
    struct change ready = {0};
    char release[256], lock[128];
    clean();
    make_key();
    if (!noted)
        hold_project();
    struct run_admitted r = pending_run(ready.bundle);
    if (noted)
        hold_project();
    PGconn *releaser = connect_again();
    snprintf(release, sizeof(release), "SELECT hold_release('%s', '%s', NULL, '%s', NULL, 1000)", user_a.id,
        project_a.id, key_a);
    snprintf(lock, sizeof(lock), "SELECT 1 FROM users WHERE id = '%s' FOR NO KEY UPDATE", user_a.id);
    on(releaser, "BEGIN");
    ASSERT_INT(on(releaser, lock), 1);
    pthread_t thread = begin_to_wait(&ready, READY_SQL);
    ASSERT_INT(on(releaser, release), 1);
    on(releaser, "COMMIT");
    pthread_join(thread, NULL);
    PQfinish(releaser);
    ASSERT_INT(ready.rc, 0);
    return types_of(r.id);
}

static void a_hold_released_while_a_bundle_becomes_ready_is_not_noted(void)
{
    ASSERT_STR(ready_behind_a_release(false), "created");
    /* the release takes the chain: the bundle's builder must not have it while he waits for the user's row */
    ASSERT_STR(ready_behind_a_release(true), "held released created");
}

static void a_release_behind_a_bundle_that_becomes_ready_finds_its_line(void)
{
    struct change ready = {0}, release = {0};
    char lock[160];
    clean();
    make_key();
    hold_project();
    struct run_admitted r = pending_run(ready.bundle);
    PGconn *gate = connect_again();
    snprintf(lock, sizeof(lock), "SELECT 1 FROM evidence_bundles WHERE id = '%s' FOR UPDATE", ready.bundle);
    on(gate, "BEGIN");
    ASSERT_INT(on(gate, lock), 1);
    pthread_t builder = begin_to_wait(&ready, READY_SQL);
    pthread_t releaser = begin_to_wait(&release, RELEASE_SQL);
    on(gate, "COMMIT");
    pthread_join(builder, NULL);
    pthread_join(releaser, NULL);
    PQfinish(gate);
    ASSERT_INT(ready.rc, 0);
    ASSERT_INT(release.rc, 0);
    ASSERT_STR(types_of(r.id), "created held released");
}

static void lines_being_written_do_not_keep_a_hold_from_being_noted(void)
{
    clean();
    struct run_admitted r = ready_run();
    struct hold_target t = target(HOLD_RUN, r.id);
    struct hold_placed p;
    OK(holds_place(db, &t, "case", &by_a, &p, &err));
    sqlf("UPDATE holds SET noted = false WHERE id = '%s'", p.hold.id);
    PGconn *writer = connect_again();
    char line[512]; /* as "held" in another run's chain: its foreign key shares the hold's row */
    snprintf(line, sizeof(line),
        "SELECT custody_append('" NO_ID "', '%s', 'held', NULL, NULL, NULL, NULL, '', '%s')", user_a.id,
        p.hold.id);
    on(writer, "BEGIN");
    ASSERT_INT(on(writer, line), 1);
    OK(holds_note_more(db, &err));
    ASSERT_STR(sqlf("SELECT noted FROM holds WHERE id = '%s'", p.hold.id), "t");
    on(writer, "ROLLBACK");
    PQfinish(writer);
    hold_done(&p.hold);
}

FIXTURE_SUITE(holds_test, TEST(a_hold_is_made_once_listed_and_released),
    TEST(targets_of_others_and_of_nobody_are_not_found), TEST(each_scope_holds_what_it_covers_and_no_more),
    TEST(a_run_that_gets_its_evidence_under_a_hold_says_so),
    TEST(a_hold_in_progress_is_passed_over_and_then_seen),
    TEST(a_collector_that_began_before_the_hold_still_sees_it),
    TEST(a_hold_behind_a_collector_says_what_is_gone),
    TEST(a_hold_over_more_than_one_statement_notes_is_in_force_to_its_end),
    TEST(a_hold_released_while_a_bundle_becomes_ready_is_not_noted),
    TEST(a_release_behind_a_bundle_that_becomes_ready_finds_its_line),
    TEST(lines_being_written_do_not_keep_a_hold_from_being_noted))
