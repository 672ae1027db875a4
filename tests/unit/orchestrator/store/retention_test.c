/*
 * What retention may delete, decided under locks: with other sessions that hold rows, or place holds, at the worst moment.
 */
#include "orchestrator/store/retention.h"

#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "orchestrator/store/leases.h"
#include "shared/clock.h"
#include "tests/unit/orchestrator/store/fixture.h"

#define SHA "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define DAY INT64_C(86400000000)

static const struct retention_policy policy = {"retention", "EVIDENCE_TTL_DAYS=190"};

/* Another session, in a transaction of its own. */
static PGconn *other_session(void)
{
    PGconn *c = PQconnectdb(pg_url());
    CU_ASSERT_EQUAL_FATAL(PQstatus(c), CONNECTION_OK);
    PQclear(PQexec(c, "BEGIN"));
    return c;
}

__attribute__((format(printf, 2, 3))) static void other_does(PGconn *c, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    PGresult *r = PQexec(c, text);
    if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK)
        fprintf(stderr, "%s: %s\n", text, PQerrorMessage(c));
    CU_ASSERT_FATAL(PQresultStatus(r) == PGRES_COMMAND_OK || PQresultStatus(r) == PGRES_TUPLES_OK);
    PQclear(r);
}

static void other_commits(PGconn *c)
{
    other_does(c, "COMMIT");
    PQfinish(c);
}

/* Everything of before is out of the way. */
static void clean(void)
{
    sqlf("SET lock_timeout = '10s'"); /* of a session that a failed test left */
    sqlf("UPDATE holds SET released_at = coalesce(released_at, now()), released_by = held_by, noted = true");
    sqlf("DELETE FROM workflow_bundles");
    sqlf("DELETE FROM evidence_bundles");
}

/* An ended run of tenant A with a ready bundle, days old; its run's id (static). */
static const char *ready_bundle(int days)
{
    static char id[40];
    struct run_admitted a = admit_a();
    struct run_end e = {.status = RUN_SUCCEEDED};
    bool moved;
    OK(runs_finish(db, user_a.id, a.id, &e, &moved, &err));
    sqlf("UPDATE evidence_bundles SET status = 'ready', bundle_path = run_id || '.zip', sha256 = '" SHA
         "', size_bytes = 7, sealed_at = now(), created_at = now() - interval '%d days' WHERE run_id = '%s'",
        days, a.id);
    snprintf(id, sizeof(id), "%s", a.id);
    return id;
}

static const char *status_of(const char *run_id)
{
    return sqlf("SELECT status FROM evidence_bundles WHERE run_id = '%s'", run_id);
}

/* The expired ones older than a day, one page. */
static struct retention_bundles expired(void)
{
    struct retention_cursor at = {0};
    struct retention_bundles page = {0};
    OK(retention_bundles_expired(db, RETENTION_RUN, clock_now_us() - DAY, &at, &page, &err));
    return page;
}

/* Delete a page; how many were. */
static int delete_page(const struct retention_bundles *page)
{
    bool deleted[RETENTION_BATCH];
    int n = 0;
    OK(retention_bundles_delete(db, RETENTION_RUN, page, clock_now_us() - DAY, &policy, deleted, &err));
    for (size_t i = 0; i < page->n; i++)
        n += deleted[i];
    return n;
}

/* Place a hold as holds_place does, in an open transaction. */
static void place_hold(PGconn *c, const char *project_id, const char *run_id)
{
    char key[40];
    snprintf(key, sizeof(key), "%s",
        sqlf("INSERT INTO api_keys (user_id, name, key_hash, prefix, scopes) SELECT '%s', 'k', "
             "encode(sha256(gen_random_uuid()::text::bytea), 'hex'), 'p', 7 RETURNING id",
            user_a.id));
    other_does(c, "SELECT hold_place('%s', %s%s%s, %s%s%s, 'lawsuit', '%s', NULL, 1000)", user_a.id,
        project_id ? "'" : "", project_id ? project_id : "NULL", project_id ? "'" : "", run_id ? "'" : "",
        run_id ? run_id : "NULL", run_id ? "'" : "", key);
}

/* --- evidence ------------------------------------------------------------------------------------------------------------------ */

static void old_evidence_is_deleted_oldest_first_and_says_why(void)
{
    clean();
    char young[40], old[40], older[40];
    snprintf(young, sizeof(young), "%s", ready_bundle(0));
    snprintf(old, sizeof(old), "%s", ready_bundle(2));
    snprintf(older, sizeof(older), "%s", ready_bundle(3));
    struct retention_bundles page = expired();
    ASSERT_INT(page.n, 2);
    ASSERT_STR(page.v[0].run_id, older);
    ASSERT_STR(page.v[1].run_id, old);
    ASSERT_STR(page.v[0].sha256, SHA);
    ASSERT_STR(page.v[0].workspace_id, project_a.workspace_id);
    ASSERT_INT(delete_page(&page), 2);
    ASSERT_INT(delete_page(&page), 0);
    ASSERT_STR(status_of(young), "ready");
    ASSERT_STR(sqlf("SELECT concat_ws(' ', status, deleted_reason, deleted_policy, sha256, size_bytes, "
                    "bundle_path = run_id || '.zip', deleted_at IS NOT NULL, file_removed_at IS NULL) FROM "
                    "evidence_bundles WHERE run_id = '%s'",
                   old),
        "deleted retention EVIDENCE_TTL_DAYS=190 " SHA " 7 t t t");
    /* The line of custody, once. */
    ASSERT_STR(sqlf("SELECT count(*) FROM custody WHERE run_id = '%s' AND type = 'purged'", old), "1");
    ASSERT_CONTAINS(
        sqlf("SELECT line FROM custody WHERE run_id = '%s' AND type = 'purged'", old), "\"sha256:" SHA "\"");
    ASSERT_CONTAINS(sqlf("SELECT line FROM custody WHERE run_id = '%s' AND type = 'purged'", old),
        "\"policy\":\"EVIDENCE_TTL_DAYS=190\"");
    retention_bundles_done(&page);
    /* Their files are gone. */
    struct retention_bundles left = {0};
    OK(retention_bundles_unremoved(db, RETENTION_RUN, "", &left, &err));
    ASSERT_INT(left.n, 2);
    int64_t news = 0;
    OK(retention_bundles_removed(db, RETENTION_RUN, &left, &news, &err));
    ASSERT_INT(news, 2);
    OK(retention_bundles_removed(db, RETENTION_RUN, &left, &news, &err));
    ASSERT_INT(news, 0);
    retention_bundles_done(&left);
    OK(retention_bundles_unremoved(db, RETENTION_RUN, "", &left, &err));
    ASSERT_INT(left.n, 0);
    ASSERT_STR(sqlf("SELECT count(*) FROM evidence_bundles WHERE file_removed_at IS NOT NULL"), "2");
}

static void only_ready_ones_expire(void)
{
    clean();
    static const char *const others[] = {"status = 'pending'", "status = 'error', error_message = 'x'",
        "status = 'deleted', deleted_at = now()"};
    for (int i = 0; i < 3; i++)
        sqlf("UPDATE evidence_bundles SET %s WHERE run_id = '%s'", others[i], ready_bundle(9));
    struct retention_bundles page = expired();
    ASSERT_INT(page.n, 0);
    retention_bundles_done(&page);
}

static void pages_neither_skip_nor_repeat(void)
{
    clean();
    for (int i = 0; i < 3; i++)
        ready_bundle(5);
    /* All of one moment: the id decides. */
    sqlf("INSERT INTO runs (user_id, project_id, workspace_id, status, streaming, prompt, engine, "
         "run_context, finished_at)"
         " SELECT user_id, project_id, workspace_id, 'failed', false, 'p', 'shell', '{}', now() FROM runs r, "
         "generate_series(1, 497) WHERE r.id = (SELECT run_id FROM evidence_bundles LIMIT 1)");
    sqlf("INSERT INTO evidence_bundles (run_id, user_id, project_id, workspace_id, status, bundle_path, "
         "sha256, "
         "size_bytes, sealed_at, created_at) SELECT id, user_id, project_id, workspace_id, 'ready', id || "
         "'.zip', '" SHA "', 1, now(), now() - interval '5 days' FROM runs WHERE prompt = 'p'");
    struct retention_cursor at = {0};
    size_t n = 0;
    for (;;) {
        struct retention_bundles page = {0};
        OK(retention_bundles_expired(db, RETENTION_RUN, clock_now_us() - DAY, &at, &page, &err));
        n += page.n;
        size_t got = page.n;
        if (got == 0)
            break;
        ASSERT_INT(delete_page(&page), got);
        retention_bundles_done(&page);
    }
    ASSERT_INT(n, 500);
    ASSERT_STR(pg_sql("SELECT count(*) FROM evidence_bundles WHERE status = 'deleted'"), "500");
    ASSERT_STR(pg_sql("SELECT count(*) FROM custody c JOIN evidence_bundles b USING (run_id) WHERE type = "
                      "'purged'"),
        "500");
}

/* --- evidence and holds -------------------------------------------------------------------------------------------------------- */

static void held_evidence_is_marked_and_stays(void)
{
    clean();
    char run[40];
    snprintf(run, sizeof(run), "%s", ready_bundle(9));
    PGconn *c = other_session();
    place_hold(c, NULL, run);
    other_commits(c);
    struct retention_bundles page = expired();
    ASSERT_INT(page.n, 1);
    ASSERT_TRUE(page.v[0].held);
    ASSERT_INT(delete_page(&page), 0);
    ASSERT_STR(status_of(run), "ready");
    sqlf("UPDATE holds SET released_at = now(), released_by = held_by, noted = true");
    ASSERT_INT(delete_page(&page), 1);
    retention_bundles_done(&page);
}

/* A hold of each scope, placed between the look and the decision. */
static void hold_placed_after_the_page_was_read_wins(void)
{
    for (int scope = 0; scope < 3; scope++) {
        clean();
        char run[40];
        snprintf(run, sizeof(run), "%s", ready_bundle(9));
        struct retention_bundles page = expired();
        ASSERT_TRUE(page.n == 1 && !page.v[0].held);
        PGconn *c = other_session();
        place_hold(c, scope == 1 ? project_a.id : NULL, scope == 0 ? run : NULL);
        other_commits(c);
        ASSERT_INT(delete_page(&page), 0);
        ASSERT_STR(status_of(run), "ready");
        retention_bundles_done(&page);
    }
}

/* The hold has its locks and is not committed: the decision passes over its user and does not wait: that would end in an error, as the hold is committed
 * behind it. */
static void hold_being_placed_is_passed_over_without_waiting(void)
{
    clean();
    char run[40];
    snprintf(run, sizeof(run), "%s", ready_bundle(9));
    struct retention_bundles page = expired();
    PGconn *c = other_session();
    place_hold(c, project_a.id, NULL);
    ASSERT_INT(delete_page(&page), 0);
    ASSERT_STR(status_of(run), "ready");
    other_commits(c);
    ASSERT_INT(delete_page(&page), 0);
    retention_bundles_done(&page);
}

static void bundle_locked_by_another_is_passed_over(void)
{
    clean();
    char mine[40], theirs[40];
    snprintf(mine, sizeof(mine), "%s", ready_bundle(8));
    snprintf(theirs, sizeof(theirs), "%s", ready_bundle(9));
    struct retention_bundles page = expired();
    PGconn *c = other_session();
    other_does(c, "SELECT 1 FROM evidence_bundles WHERE run_id = '%s' FOR UPDATE", theirs);
    ASSERT_INT(delete_page(&page), 1);
    ASSERT_STR(status_of(mine), "deleted");
    ASSERT_STR(status_of(theirs), "ready");
    other_commits(c);
    ASSERT_INT(delete_page(&page), 1);
    retention_bundles_done(&page);
}

struct placing {
    PGconn *c;
    char run[40];
    char outcome[32];
};

static void *place_and_commit(void *arg)
{
    struct placing *p = arg;
    char sql[512];
    snprintf(sql, sizeof(sql),
        "SELECT (hold_place('%s', NULL, '%s', 'late', (SELECT id FROM api_keys LIMIT 1), NULL, "
        "1000)).outcome",
        user_a.id, p->run);
    PGresult *r = PQexec(p->c, sql);
    snprintf(p->outcome, sizeof(p->outcome), "%s", PQntuples(r) ? PQgetvalue(r, 0, 0) : PQerrorMessage(p->c));
    PQclear(r);
    PQclear(PQexec(p->c, "COMMIT"));
    return NULL;
}

/* The collector has locked and not committed (its chain of custody is locked by another, so that it stands still): the hold waits, and is
 * told that there is nothing to hold. */
static void hold_that_comes_while_the_collector_decides_waits_and_is_told(void)
{
    clean();
    struct placing p = {.c = other_session()};
    snprintf(p.run, sizeof(p.run), "%s", ready_bundle(9));
    sqlf("SELECT custody_append('%s', '%s', 'created', NULL, NULL, NULL, '" SHA "', '', NULL)", p.run,
        user_a.id);
    place_hold(p.c, project_a.id, NULL); /* makes a key */
    PQclear(PQexec(p.c, "ROLLBACK"));
    PQclear(PQexec(p.c, "BEGIN"));
    PGconn *brake = other_session();
    other_does(brake, "SELECT 1 FROM custody_chains WHERE run_id = '%s' FOR UPDATE", p.run);
    struct retention_bundles page = expired();
    PGconn *collector = other_session();
    char sql[512];
    /* The lock that retention_bundles_delete takes, and the change it makes. */
    snprintf(sql, sizeof(sql),
        "SELECT 1 FROM evidence_bundles b JOIN users u ON u.id = b.user_id WHERE run_id = "
        "'%s' FOR UPDATE OF b SKIP LOCKED FOR SHARE OF u SKIP LOCKED",
        p.run);
    other_does(collector, "%s", sql);
    pthread_t thread;
    pthread_create(&thread, NULL, place_and_commit, &p);
    nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
    ASSERT_STR(p.outcome, ""); /* it waits */
    other_does(collector,
        "UPDATE evidence_bundles SET status = 'deleted', deleted_at = now(), deleted_reason = "
        "'retention', deleted_policy = 'x' WHERE run_id = '%s'",
        p.run);
    other_commits(collector);
    other_commits(brake);
    pthread_join(thread, NULL);
    ASSERT_STR(p.outcome, "deleted");
    PQfinish(p.c);
    retention_bundles_done(&page);
}

/* --- workflow bundles ---------------------------------------------------------------------------------------------------------- */

/* An ended workflow run of tenant A with a ready bundle, days old. */
static const char *ready_workflow(int days)
{
    static char id[40];
    sqlf("INSERT INTO workflows (user_id, key) VALUES ('%s', 'w') ON CONFLICT DO NOTHING", user_a.id);
    sqlf("INSERT INTO workflow_versions (user_id, key, version, spec) VALUES ('%s', 'w', 1, '{}') ON "
         "CONFLICT DO "
         "NOTHING",
        user_a.id);
    snprintf(id, sizeof(id), "%s",
        sqlf("INSERT INTO workflow_runs (user_id, workflow_key, workflow_version, project_id, workspace_id, "
             "status, "
             "input, context, streaming, finished_at) VALUES ('%s', 'w', 1, '%s', '%s', 'succeeded', '', "
             "'{}', "
             "false, now()) RETURNING id",
            user_a.id, project_a.id, project_a.workspace_id));
    sqlf("INSERT INTO workflow_bundles (workflow_run_id, user_id, status, bundle_path, sha256, size_bytes, "
         "sealed_at, created_at) VALUES ('%s', '%s', 'ready', '%s.zip', '" SHA
         "', 9, now(), now() - interval '%d days')",
        id, user_a.id, id, days);
    return id;
}

static void workflow_bundles_expire_like_those_of_runs(void)
{
    clean();
    char run[40], step[40];
    bool deleted[RETENTION_BATCH];
    struct retention_cursor at = {0};
    struct retention_bundles page = {0};
    snprintf(run, sizeof(run), "%s", ready_workflow(9));
    snprintf(step, sizeof(step), "%s", ready_bundle(0));
    ready_workflow(0);
    OK(retention_bundles_expired(db, RETENTION_WORKFLOW, clock_now_us() - DAY, &at, &page, &err));
    ASSERT_INT(page.n, 1);
    ASSERT_STR(page.v[0].run_id, run);
    ASSERT_STR(page.v[0].project_id, project_a.id);
    /* A hold on any run of the project may be on one of its steps. */
    PGconn *c = other_session();
    place_hold(c, NULL, step);
    other_commits(c);
    OK(retention_bundles_delete(db, RETENTION_WORKFLOW, &page, clock_now_us() - DAY, &policy, deleted, &err));
    ASSERT_TRUE(!deleted[0]);
    sqlf("UPDATE holds SET released_at = now(), released_by = held_by, noted = true");
    OK(retention_bundles_delete(db, RETENTION_WORKFLOW, &page, clock_now_us() - DAY, &policy, deleted, &err));
    ASSERT_TRUE(deleted[0]);
    ASSERT_STR(sqlf("SELECT count(*) FROM custody WHERE run_id = '%s' AND type = 'purged'", run), "1");
    struct retention_bundles left = {0};
    OK(retention_bundles_unremoved(db, RETENTION_WORKFLOW, "", &left, &err));
    ASSERT_INT(left.n, 1);
    int64_t news = 0;
    OK(retention_bundles_removed(db, RETENTION_WORKFLOW, &left, &news, &err));
    ASSERT_INT(news, 1);
    OK(retention_bundles_removed(db, RETENTION_WORKFLOW, &left, &news, &err));
    ASSERT_INT(news, 0);
    retention_bundles_done(&left);
    OK(retention_bundles_unremoved(db, RETENTION_WORKFLOW, "", &left, &err));
    ASSERT_INT(left.n, 0);
    retention_bundles_done(&page);
}

/* --- lost and found ------------------------------------------------------------------------------------------------------------ */

static void lost_bundle_is_an_error_until_its_file_is_back(void)
{
    clean();
    struct retention_name name;
    struct retention_owner owner;
    snprintf(name.id, sizeof(name.id), "%s", ready_bundle(1));
    struct retention_bundles page = expired();
    OK(retention_bundle_lost(db, RETENTION_RUN, user_a.id, page.v[0].id, &err));
    ASSERT_INT(retention_bundle_lost(db, RETENTION_RUN, user_a.id, page.v[0].id, &err), ARP_E_NOT_FOUND);
    ASSERT_STR(status_of(name.id), "error");
    ASSERT_STR(sqlf("SELECT count(*) FROM custody WHERE run_id = '%s' AND type = 'lost'", name.id), "1");
    OK(retention_owners(db, &name, 1, &owner, &err));
    ASSERT_STR(owner.lost_sha256, SHA);
    ASSERT_INT(retention_bundle_found(db, name.id, "00", &err), ARP_E_NOT_FOUND);
    OK(retention_bundle_found(db, name.id, SHA, &err));
    ASSERT_STR(status_of(name.id), "ready");
    /* An error of another kind is not for this. */
    sqlf("UPDATE evidence_bundles SET status = 'error', error_message = 'disk full' WHERE run_id = '%s'",
        name.id);
    ASSERT_INT(retention_bundle_found(db, name.id, SHA, &err), ARP_E_NOT_FOUND);
    retention_bundles_done(&page);
}

/* Built again, it might be another; and nobody would know any more that it was lost. */
static void lost_bundles_are_not_built_again(void)
{
    clean();
    char run[2][40];
    snprintf(run[RETENTION_RUN], sizeof(run[0]), "%s", ready_bundle(1));
    snprintf(run[RETENTION_WORKFLOW], sizeof(run[0]), "%s", ready_workflow(1));
    for (int kind = RETENTION_RUN; kind <= RETENTION_WORKFLOW; kind++) {
        struct retention_cursor at = {0};
        struct retention_bundles page = {0};
        OK(retention_bundles_expired(db, kind, clock_now_us(), &at, &page, &err));
        ASSERT_INT(page.n, 1);
        OK(retention_bundle_lost(db, kind, user_a.id, page.v[0].id, &err));
        ASSERT_INT(retention_bundle_retry(db, kind, user_a.id, page.v[0].id, &err), ARP_E_NOT_FOUND);
        struct retention_bundles failed = {0};
        at = (struct retention_cursor){0};
        OK(retention_bundles_failed(db, kind, &at, &failed, &err));
        ASSERT_TRUE(failed.n == 1 && failed.v[0].lost);
        retention_bundles_done(&failed);
        OK(retention_bundle_found(db, run[kind], SHA, &err));
        /* One that could not be built is. */
        const char *table = kind == RETENTION_RUN ? "evidence_bundles" : "workflow_bundles";
        sqlf("UPDATE %s SET status = 'error', error_message = 'disk full'", table);
        at = (struct retention_cursor){0};
        OK(retention_bundles_failed(db, kind, &at, &failed, &err));
        ASSERT_TRUE(failed.n == 1 && !failed.v[0].lost);
        retention_bundles_done(&failed);
        OK(retention_bundle_retry(db, kind, user_a.id, page.v[0].id, &err));
        ASSERT_STR(sqlf("SELECT status FROM %s", table), "pending");
        retention_bundles_done(&page);
    }
}

static void owners_are_told_in_the_order_asked(void)
{
    clean();
    struct retention_name names[4];
    struct retention_owner o[4] = {0};
    struct run_admitted live = admit_a();
    snprintf(names[0].id, sizeof(names[0].id), "%s", NO_ID);
    memcpy(names[1].id, live.id, sizeof(names[1].id));
    snprintf(names[2].id, sizeof(names[2].id), "%s", ready_bundle(1));
    snprintf(names[3].id, sizeof(names[3].id), "%s", ready_workflow(1));
    OK(retention_owners(db, names, 4, o, &err));
    ASSERT_TRUE(!o[0].known && !o[0].live && !o[0].ready);
    ASSERT_TRUE(o[1].known && o[1].live && !o[1].ready);
    ASSERT_TRUE(o[2].known && !o[2].live && o[2].ready && !o[2].deleted && !o[2].claimed);
    ASSERT_TRUE(o[3].known && o[3].ready);
    sqlf("UPDATE evidence_bundles SET status = 'pending', claim_holder = 'x', claim_expires_at = now() + "
         "interval "
         "'1 minute' WHERE run_id = '%s'",
        names[2].id);
    OK(retention_owners(db, names, 4, o, &err));
    ASSERT_TRUE(o[2].claimed && !o[2].ready);
}

/* --- workspaces ---------------------------------------------------------------------------------------------------------------- */

static const struct retention_policy cold_policy = {"retention", "WORKSPACE_COLD_TTL_DAYS=30"};

struct idle {
    struct project p;
    char lease[64];
    int64_t epoch;
};

/* A workspace of tenant A, cold for 40 days, its lock held by "gc-holder". */
static struct idle idle_workspace(const char *name)
{
    struct idle i = {0};
    OK(projects_insert(db, user_a.id, name, NULL, &i.p, &err));
    sqlf("UPDATE workspaces SET last_active_at = now() - interval '40 days', volume_name = 'vol' WHERE id = "
         "'%s'",
        i.p.workspace_id);
    snprintf(i.lease, sizeof(i.lease), "workspace:%s", i.p.workspace_id);
    OK(leases_take(db, i.lease, "gc-holder", 60000, &i.epoch, &err));
    return i;
}

static int delete_idle(const struct idle *i, struct retention_verdict *v)
{
    struct retention_lock lock = {"gc-holder", i->epoch};
    *v = (struct retention_verdict){0};
    return retention_workspace_delete(
        db, user_a.id, i->p.workspace_id, &lock, clock_now_us() - 30 * DAY, &cold_policy, v, &err);
}

static const char *state_of(const struct idle *i)
{
    return sqlf("SELECT state FROM workspaces WHERE id = '%s'", i->p.workspace_id);
}

static void cold_workspace_is_deleted_and_its_volume_remembered(void)
{
    struct idle i = idle_workspace("cold1");
    struct retention_verdict v;
    struct retention_workspaces left = {0};
    clean();
    OK(delete_idle(&i, &v));
    ASSERT_TRUE(!v.pinned && !v.held && !v.busy && !v.young && !v.warm);
    ASSERT_STR(
        sqlf("SELECT concat_ws(' ', state, volume_name IS NULL, gc_volume_name, deleted_at IS NOT NULL, "
             "deleted_reason, deleted_policy) FROM workspaces WHERE id = '%s'",
            i.p.workspace_id),
        "deleted t vol t retention WORKSPACE_COLD_TTL_DAYS=30");
    ASSERT_INT(delete_idle(&i, &v), ARP_E_NOT_FOUND);
    OK(retention_workspaces_unremoved(db, "", &left, &err));
    ASSERT_INT(left.n, 1);
    ASSERT_STR(left.v[0].id, i.p.workspace_id);
    retention_workspaces_done(&left);
    OK(retention_workspace_pending(db, user_a.id, i.p.workspace_id, &err));
    ASSERT_INT(retention_workspace_removed(db, user_b.id, i.p.workspace_id, &err), ARP_E_NOT_FOUND);
    OK(retention_workspace_removed(db, user_a.id, i.p.workspace_id, &err));
    ASSERT_INT(retention_workspace_pending(db, user_a.id, i.p.workspace_id, &err), ARP_E_NOT_FOUND);
    project_done(&i.p);
}

static void obstacles_are_told_and_nothing_is_done(void)
{
    struct idle i = idle_workspace("kept");
    struct retention_verdict v;
    const char *id = i.p.workspace_id;
    clean();
    sqlf("UPDATE workspaces SET pinned = true WHERE id = '%s'", id);
    OK(delete_idle(&i, &v));
    ASSERT_TRUE(v.pinned && !v.held && !v.busy && !v.young && !v.warm);
    sqlf("UPDATE workspaces SET pinned = false, last_active_at = now() WHERE id = '%s'", id);
    OK(delete_idle(&i, &v));
    ASSERT_TRUE(v.young && !v.pinned);
    sqlf("UPDATE workspaces SET last_active_at = now() - interval '40 days', state = 'warm', container_id = "
         "'c', "
         "warm_since = now() WHERE id = '%s'",
        id);
    OK(delete_idle(&i, &v));
    ASSERT_TRUE(v.warm && !v.young);
    sqlf("UPDATE workspaces SET state = 'cold', container_id = NULL, warm_since = NULL WHERE id = '%s'", id);
    struct run_new n = {.user_id = user_a.id,
        .project_id = i.p.id,
        .prompt = "do it",
        .engine = "shell",
        .run_context = "{\"v\":1}"};
    struct run_admitted run;
    OK(runs_admit(db, &n, &run, &err));
    OK(delete_idle(&i, &v));
    ASSERT_TRUE(v.busy && !v.warm);
    struct run_end e = {.status = RUN_FAILED};
    bool moved;
    OK(runs_finish(db, user_a.id, run.id, &e, &moved, &err));
    PGconn *c = other_session();
    place_hold(c, NULL, run.id); /* of one run: its workspace stays too */
    other_commits(c);
    OK(delete_idle(&i, &v));
    ASSERT_TRUE(v.held && !v.busy);
    ASSERT_STR(state_of(&i), "cold");
    clean();
    OK(delete_idle(&i, &v));
    ASSERT_STR(state_of(&i), "deleted");
    project_done(&i.p);
}

static void lost_lock_deletes_nothing(void)
{
    struct idle i = idle_workspace("lost");
    struct retention_verdict v;
    int64_t theirs;
    clean();
    sqlf("UPDATE leases SET expires_at = now() WHERE name = '%s'", i.lease);
    ASSERT_INT(delete_idle(&i, &v), ARP_E_NOT_FOUND);
    OK(leases_take(db, i.lease, "another", 60000, &theirs, &err));
    ASSERT_INT(delete_idle(&i, &v), ARP_E_NOT_FOUND);
    ASSERT_STR(state_of(&i), "cold");
    project_done(&i.p);
}

static void pin_of_a_deleted_project_does_not_count(void)
{
    struct idle i = idle_workspace("unpinnable");
    struct retention_verdict v;
    clean();
    sqlf("UPDATE workspaces SET pinned = true WHERE id = '%s'", i.p.workspace_id);
    OK(projects_delete(db, user_a.id, i.p.id, &err));
    OK(delete_idle(&i, &v));
    ASSERT_STR(state_of(&i), "deleted");
    project_done(&i.p);
}

struct deleting {
    const struct idle *i;
    struct retention_verdict v;
    int rc;
    atomic_int done;
};

static void *delete_on_thread(void *arg)
{
    struct deleting *d = arg;
    struct retention_lock lock = {"gc-holder", d->i->epoch};
    d->rc = retention_workspace_delete(
        db, user_a.id, d->i->p.workspace_id, &lock, clock_now_us() - 30 * DAY, &cold_policy, &d->v, NULL);
    d->done = 1;
    return NULL;
}

/* Start deleting while the other session has locks; it must wait; then the other commits. */
static void delete_against(PGconn *c, struct deleting *d)
{
    pthread_t thread;
    pthread_create(&thread, NULL, delete_on_thread, d);
    nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
    ASSERT_INT(d->done, 0);
    other_commits(c);
    pthread_join(thread, NULL);
}

static void pin_hold_and_takeover_that_were_there_first_win(void)
{
    struct idle i = idle_workspace("races");
    struct deleting pin = {.i = &i}, hold = {.i = &i}, use = {.i = &i}, lock = {.i = &i};
    clean();
    PGconn *c = other_session();
    other_does(c, "UPDATE workspaces SET pinned = true WHERE id = '%s'", i.p.workspace_id);
    delete_against(c, &pin);
    ASSERT_TRUE(pin.rc == 0 && pin.v.pinned);
    sqlf("UPDATE workspaces SET pinned = false WHERE id = '%s'", i.p.workspace_id);
    c = other_session();
    place_hold(c, i.p.id, NULL);
    delete_against(c, &hold);
    ASSERT_TRUE(hold.rc == 0 && hold.v.held);
    clean();
    c = other_session();
    other_does(c, "UPDATE workspaces SET last_active_at = now() WHERE id = '%s'", i.p.workspace_id);
    delete_against(c, &use);
    ASSERT_TRUE(use.rc == 0 && use.v.young);
    sqlf("UPDATE workspaces SET last_active_at = now() - interval '40 days' WHERE id = '%s'",
        i.p.workspace_id);
    /* Another orchestrator takes the lock over, as it may when it ran out. */
    c = other_session();
    other_does(c, "UPDATE leases SET holder = 'another', epoch = epoch + 1 WHERE name = '%s'", i.lease);
    delete_against(c, &lock);
    ASSERT_INT(lock.rc, ARP_E_NOT_FOUND);
    ASSERT_STR(state_of(&i), "cold");
    project_done(&i.p);
}

static void expired_workspaces_come_longest_idle_first_with_what_stands_against_them(void)
{
    struct retention_workspaces page = {0};
    struct retention_cursor at = {0};
    clean();
    sqlf("UPDATE workspaces SET last_active_at = now() WHERE state = 'cold'");
    struct idle locked = idle_workspace("e1"), pinned = idle_workspace("e2");
    sqlf("UPDATE workspaces SET last_active_at = now() - interval '50 days', pinned = true WHERE id = '%s'",
        pinned.p.workspace_id);
    OK(leases_release(db, pinned.lease, "gc-holder", pinned.epoch, &err));
    OK(retention_workspaces_expired(db, clock_now_us() - 30 * DAY, &at, &page, &err));
    ASSERT_INT(page.n, 2);
    ASSERT_STR(page.v[0].id, pinned.p.workspace_id);
    ASSERT_TRUE(page.v[0].pinned && !page.v[0].busy && !page.v[0].held);
    ASSERT_TRUE(!page.v[1].pinned && page.v[1].busy);
    retention_workspaces_done(&page);
    OK(retention_workspaces_expired(db, clock_now_us() - 30 * DAY, &at, &page, &err));
    ASSERT_INT(page.n, 0);
    project_done(&locked.p);
    project_done(&pinned.p);
}

/* --- cost ---------------------------------------------------------------------------------------------------------------------- */

/* Sequential scans that Postgres has counted on a table, all sessions' counts flushed. */
static long scans(const char *table)
{
    nanosleep(&(struct timespec){.tv_sec = 1, .tv_nsec = 300000000}, NULL);
    struct retention_bundles none = {0};
    struct retention_cursor at = {0};
    OK(retention_bundles_expired(
        db, RETENTION_RUN, 0, &at, &none, &err)); /* a session flushes when it is used again */
    nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
    sqlf("SELECT pg_stat_force_next_flush()");
    return strtol(sqlf("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = '%s'", table), NULL, 10);
}

static void no_statement_scans_a_large_table(void)
{
    clean();
    ready_bundle(400);
    sqlf("INSERT INTO runs (user_id, project_id, workspace_id, status, streaming, prompt, engine, "
         "run_context, finished_at)"
         " SELECT user_id, project_id, workspace_id, 'failed', false, 'q', 'shell', '{}', now() FROM runs r, "
         "generate_series(1, 20000) WHERE r.id = (SELECT run_id FROM evidence_bundles LIMIT 1)");
    sqlf("INSERT INTO evidence_bundles (run_id, user_id, project_id, workspace_id, status, bundle_path, "
         "sha256, "
         "size_bytes, sealed_at, created_at) SELECT id, user_id, project_id, workspace_id, 'ready', id || "
         "'.zip', '" SHA "', 1, now(), now() - interval '300 days' FROM runs WHERE prompt = 'q'");
    sqlf("ANALYZE");
    long bundles = scans("evidence_bundles"), runs = scans("runs");
    struct retention_bundles page = expired(), left = {0};
    ASSERT_INT(page.n, RETENTION_BATCH);
    ASSERT_INT(delete_page(&page), RETENTION_BATCH);
    OK(retention_bundles_unremoved(db, RETENTION_RUN, "", &left, &err));
    ASSERT_INT(left.n, RETENTION_BATCH);
    int64_t news = 0;
    OK(retention_bundles_removed(db, RETENTION_RUN, &left, &news, &err));
    ASSERT_INT(news, RETENTION_BATCH);
    struct retention_name names[RETENTION_BATCH];
    struct retention_owner owners[RETENTION_BATCH];
    for (size_t i = 0; i < left.n; i++)
        memcpy(names[i].id, left.v[i].run_id, sizeof(names[i].id));
    OK(retention_owners(db, names, left.n, owners, &err));
    ASSERT_TRUE(owners[0].deleted && owners[RETENTION_BATCH - 1].deleted);
    ASSERT_INT(scans("evidence_bundles") - bundles, 0);
    ASSERT_INT(scans("runs") - runs, 0);
    /* The counter counts: a scan shows in it. */
    sqlf("SELECT count(*) FROM evidence_bundles WHERE error_message = 'none'");
    ASSERT_TRUE(scans("evidence_bundles") > bundles);
    retention_bundles_done(&page);
    retention_bundles_done(&left);
}

FIXTURE_SUITE(retention_test, TEST(old_evidence_is_deleted_oldest_first_and_says_why),
    TEST(only_ready_ones_expire), TEST(pages_neither_skip_nor_repeat),
    TEST(held_evidence_is_marked_and_stays), TEST(hold_placed_after_the_page_was_read_wins),
    TEST(hold_being_placed_is_passed_over_without_waiting), TEST(bundle_locked_by_another_is_passed_over),
    TEST(hold_that_comes_while_the_collector_decides_waits_and_is_told),
    TEST(workflow_bundles_expire_like_those_of_runs), TEST(lost_bundle_is_an_error_until_its_file_is_back),
    TEST(lost_bundles_are_not_built_again), TEST(owners_are_told_in_the_order_asked),
    TEST(cold_workspace_is_deleted_and_its_volume_remembered), TEST(obstacles_are_told_and_nothing_is_done),
    TEST(lost_lock_deletes_nothing), TEST(pin_of_a_deleted_project_does_not_count),
    TEST(pin_hold_and_takeover_that_were_there_first_win),
    TEST(expired_workspaces_come_longest_idle_first_with_what_stands_against_them),
    TEST(no_statement_scans_a_large_table))
