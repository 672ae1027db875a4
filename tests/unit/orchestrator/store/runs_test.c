#include "orchestrator/store/runs.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "orchestrator/store/bundles.h"
#include "orchestrator/store/cursor.h"
#include "orchestrator/store/leases.h"
#include "orchestrator/store/pipeline.h"
#include "tests/unit/orchestrator/store/fixture.h"

static struct run_new request(const struct project *p, const char *key)
{
    return (struct run_new){.user_id = p->user_id,
        .project_id = p->id,
        .streaming = true,
        .prompt = "say \"hi\" \\ 🙂",
        .engine = "shell",
        .run_context = "{\"b\":1,\"a\": 2}",
        .thread_id = "t-1",
        .idempotency_key = key};
}

static void start(const char *user_id, const char *id, int64_t epoch)
{
    struct run_start s = {
        "arp-workspace:1", "sha256:abc", "{\"dirty\": false}", "{\"source\": \"auto\"}", epoch};
    char workspace[40];
    snprintf(workspace, sizeof(workspace), "%s", sqlf("SELECT workspace_id FROM runs WHERE id = '%s'", id));
    hold_lease("workspace", workspace, epoch);
    OK(runs_set_started(db, user_id, id, &s, &err));
}

static void admitted_run_is_queued_with_its_bytes(void)
{
    struct project p = new_tenant("admit", -1);
    struct run_new n = request(&p, NULL);
    struct run_admitted a;
    struct run r;
    OK(runs_admit(db, &n, &a, &err));
    ASSERT_TRUE(!a.earlier);
    ASSERT_STR(a.workspace_id, p.workspace_id);
    OK(runs_get(db, p.user_id, a.id, &r, &err));
    ASSERT_INT(r.status, RUN_QUEUED);
    ASSERT_TRUE(r.streaming && !r.has_evidence);
    ASSERT_STR(r.prompt, n.prompt);
    ASSERT_STR(r.run_context, n.run_context);
    ASSERT_STR(r.engine, "shell");
    ASSERT_STR(r.thread_id, "t-1");
    ASSERT_INT(r.created_us, a.created_us);
    ASSERT_TRUE(!r.idempotency_key && !r.diff && !r.env_snapshot && r.started_us == 0 && r.finished_us == 0);
    run_done(&r);
    project_done(&p);
}

static void other_tenants_runs_do_not_exist(void)
{
    struct run_admitted a = admit_a();
    struct run_new n = request(&project_a, NULL);
    struct run_end e = {.status = RUN_FAILED};
    struct run_start s = {"i", NULL, "{}", "{}", 1};
    struct run r;
    struct runs rs;
    bool moved = true;
    n.user_id = user_b.id;
    ASSERT_INT(runs_admit(db, &n, &a, &err), ARP_E_NOT_FOUND);
    n.project_id = "nonsense";
    ASSERT_INT(runs_admit(db, &n, &a, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(runs_get(db, user_b.id, a.id, &r, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(runs_get(db, user_a.id, "' OR 1=1", &r, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(runs_list(db, user_b.id, project_a.id, 10, NULL, &rs, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(runs_finish(db, user_b.id, a.id, &e, &moved, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(runs_set_started(db, user_b.id, a.id, &s, &err), ARP_E_CONFLICT);
    ASSERT_INT(runs_request_cancel(db, user_b.id, a.id, &err), ARP_E_NOT_FOUND);
    ASSERT_STR(
        sqlf("SELECT status || (cancel_requested_at IS NULL) FROM runs WHERE id = '%s'", a.id), "queuedtrue");
}

static void a_run_goes_from_queued_to_its_end_once(void)
{
    struct run_admitted a = admit_a();
    struct run r;
    struct bundle b;
    bool moved = false;
    struct run_start again = {"i", NULL, "{}", "{}", 7};
    ASSERT_INT(bundles_get(db, user_a.id, a.id, &b, &err), ARP_E_NOT_FOUND);
    start(user_a.id, a.id, 7);
    ASSERT_INT(runs_set_started(db, user_a.id, a.id, &again, &err), ARP_E_CONFLICT);
    struct run_end e = {RUN_TIMEOUT, "took too long", "timeout", "0123abcd", "bye", "diff --git a/ä b/ä\n",
        NULL, "t-9", "codex", "{\"calls\":2}", NULL};
    OK(runs_finish(db, user_a.id, a.id, &e, &moved, &err));
    ASSERT_TRUE(moved);
    struct run_end late = {.status = RUN_SUCCEEDED};
    OK(runs_finish(db, user_a.id, a.id, &late, &moved, &err));
    ASSERT_TRUE(!moved);
    OK(runs_get(db, user_a.id, a.id, &r, &err));
    ASSERT_INT(r.status, RUN_TIMEOUT);
    ASSERT_STR(r.error_message, "took too long");
    ASSERT_STR(r.reason, "timeout");
    ASSERT_STR(r.git_commit, "0123abcd");
    ASSERT_STR(r.final_text, "bye");
    ASSERT_STR(r.diff, "diff --git a/ä b/ä\n");
    ASSERT_STR(r.env_snapshot, "{\"dirty\": false}");
    ASSERT_STR(r.image_name, "arp-workspace:1");
    ASSERT_STR(r.image_digest, "sha256:abc");
    ASSERT_STR(r.thread_id, "t-9");
    ASSERT_STR(r.engine, "codex");
    ASSERT_STR(r.usage, "{\"calls\": 2}");
    ASSERT_INT(r.lease_epoch, 7);
    ASSERT_TRUE(r.created_us <= r.started_us && r.started_us <= r.finished_us && !r.has_evidence);
    OK(bundles_get(db, user_a.id, a.id, &b, &err));
    ASSERT_INT(b.status, BUNDLE_PENDING);
    bundle_done(&b);
    run_done(&r);
}

static void a_thread_is_found_in_its_project_once_its_run_has_ended(void)
{
    struct run_new n = {.user_id = user_a.id,
        .project_id = project_a.id,
        .prompt = "p",
        .engine = "auto",
        .model = "m-1",
        .provider = "main",
        .thread_id = "t-find",
        .run_context = "{}",
        .agent_key = "default"};
    struct run_admitted a;
    struct run r;
    char *engine = NULL;
    bool moved;
    OK(runs_admit(db, &n, &a, &err));
    OK(runs_get(db, user_a.id, a.id, &r, &err));
    ASSERT_STR(r.model, "m-1");
    ASSERT_STR(r.provider, "main");
    ASSERT_STR(r.thread_id, "t-find");
    ASSERT_TRUE(!r.usage);
    run_done(&r);
    ASSERT_INT(runs_find_thread(db, user_a.id, project_a.id, "t-find", &engine, &err), ARP_E_NOT_FOUND);
    struct run_end e = {.status = RUN_SUCCEEDED, .engine = "claude"};
    OK(runs_finish(db, user_a.id, a.id, &e, &moved, &err));
    OK(runs_find_thread(db, user_a.id, project_a.id, "t-find", &engine, &err));
    ASSERT_STR(engine, "claude");
    free(engine);
    ASSERT_INT(runs_find_thread(db, user_b.id, project_a.id, "t-find", &engine, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(runs_find_thread(db, user_a.id, project_b.id, "t-find", &engine, &err), ARP_E_NOT_FOUND);
    /* One whose engine never became known has no conversation to go on with. */
    n.thread_id = "t-never";
    OK(runs_admit(db, &n, &a, &err));
    e.engine = NULL;
    OK(runs_finish(db, user_a.id, a.id, &e, &moved, &err));
    ASSERT_INT(runs_find_thread(db, user_a.id, project_a.id, "t-never", &engine, &err), ARP_E_NOT_FOUND);
}

static void a_run_does_not_start_without_its_container_on_record(void)
{
    struct run_admitted a = admit_a();
    struct run r;
    struct run_start s = {"i", NULL, "{}", NULL, 1};
    hold_lease("workspace", project_a.workspace_id, 1);
    ASSERT_INT(runs_set_started(db, user_a.id, a.id, &s, &err), ARP_E_INVALID);
    s.container_context = "no JSON";
    ASSERT_INT(runs_set_started(db, user_a.id, a.id, &s, &err), ARP_E_INVALID);
    OK(runs_get(db, user_a.id, a.id, &r, &err));
    ASSERT_INT(r.status, RUN_QUEUED);
    run_done(&r);
    start(user_a.id, a.id, 1);
    OK(runs_get(db, user_a.id, a.id, &r, &err));
    ASSERT_STR(r.container_context, "{\"source\": \"auto\"}");
    run_done(&r);
}

static void cancel_is_noted_while_the_run_lives(void)
{
    struct run_admitted a = admit_a();
    struct run r;
    bool moved;
    struct run_end e = {.status = RUN_FAILED, .reason = "cancelled"};
    OK(runs_request_cancel(db, user_a.id, a.id, &err));
    OK(runs_request_cancel(db, user_a.id, a.id, &err));
    OK(runs_get(db, user_a.id, a.id, &r, &err));
    ASSERT_TRUE(r.cancel_requested_us > 0);
    run_done(&r);
    OK(runs_finish(db, user_a.id, a.id, &e, &moved, &err));
    ASSERT_INT(runs_request_cancel(db, user_a.id, a.id, &err), ARP_E_CONFLICT);
    ASSERT_INT(runs_request_cancel(db, user_a.id, NO_ID, &err), ARP_E_NOT_FOUND);
}

static void quota_refuses_with_details(void)
{
    pg_wait_out_midnight();
    struct project p = new_tenant("poor", 1), none = new_tenant("nothing", 0);
    struct run_new n = request(&p, NULL);
    struct run_admitted a;
    OK(runs_admit(db, &n, &a, &err));
    ASSERT_INT(runs_admit(db, &n, &a, &err), ARP_E_QUOTA);
    ASSERT_CONTAINS(err.detail, "\"limit\":1,\"used\":1,\"resetsAt\":\"");
    ASSERT_CONTAINS(err.detail, "T00:00:00.000Z\"");
    sqlf("UPDATE usage_daily SET day = day - 1 WHERE user_id = '%s'", p.user_id);
    OK(runs_admit(db, &n, &a, &err));
    n = request(&none, NULL);
    ASSERT_INT(runs_admit(db, &n, &a, &err), ARP_E_QUOTA);
    ASSERT_CONTAINS(err.detail, "\"limit\":0,\"used\":0");
    project_done(&p);
    project_done(&none);
}

static void idempotency_key_returns_the_first_run(void)
{
    pg_wait_out_midnight();
    struct project p = new_tenant("careful", 1);
    struct run_new n = request(&p, "key-1");
    struct run_admitted first, again;
    OK(runs_admit(db, &n, &first, &err));
    ASSERT_TRUE(!first.earlier);
    OK(runs_admit(db, &n, &again, &err)); /* though the quota is used up */
    ASSERT_TRUE(again.earlier);
    ASSERT_STR(again.id, first.id);
    ASSERT_STR(again.workspace_id, first.workspace_id);
    ASSERT_INT(again.created_us, first.created_us);
    ASSERT_INT(used(&p), 1);
    n.prompt = "something else";
    ASSERT_INT(runs_admit(db, &n, &again, &err), ARP_E_CONFLICT);
    struct project q = new_tenant("other", -1);
    n = request(&q, "key-1");
    OK(runs_admit(db, &n, &again, &err));
    ASSERT_TRUE(!again.earlier);
    project_done(&p);
    project_done(&q);
}

/* --- races ---------------------------------------------------------------------------------------------------------------- */

#define RACERS 50
struct race {
    struct run_new n;
    pthread_barrier_t line;
    atomic_int admitted, earlier, refused, other;
    char id[RACERS][UUID_LEN + 1];
    atomic_int next;
};

static void *race_one(void *arg)
{
    struct race *r = arg;
    struct run_admitted a;
    struct arp_err e;
    int me = atomic_fetch_add(&r->next, 1);
    pthread_barrier_wait(&r->line);
    int rc = runs_admit(db, &r->n, &a, &e);
    if (rc == 0)
        memcpy(r->id[me], a.id, sizeof(a.id));
    atomic_fetch_add(rc == 0 && !a.earlier ? &r->admitted
                     : rc == 0             ? &r->earlier
                     : rc == ARP_E_QUOTA   ? &r->refused
                                           : &r->other,
        1);
    return NULL;
}

static void race(struct race *r)
{
    pthread_t t[RACERS];
    pthread_barrier_init(&r->line, NULL, RACERS);
    for (int i = 0; i < RACERS; i++)
        pthread_create(&t[i], NULL, race_one, r);
    for (int i = 0; i < RACERS; i++)
        pthread_join(t[i], NULL);
    pthread_barrier_destroy(&r->line);
}

static void fifty_at_once_get_exactly_the_limit(void)
{
    pg_wait_out_midnight();
    struct project p = new_tenant("racer", 20);
    struct race r = {.n = request(&p, NULL)};
    race(&r);
    ASSERT_INT(r.admitted, 20);
    ASSERT_INT(r.refused, 30);
    ASSERT_INT(r.other, 0);
    ASSERT_INT(used(&p), 20);
    ASSERT_STR(sqlf("SELECT count(*) FROM runs WHERE user_id = '%s'", p.user_id), "20");
    project_done(&p);
}

static void fifty_with_one_key_are_one_run(void)
{
    pg_wait_out_midnight();
    /* limit 1: losers of the race also meet a used-up quota and still must answer the run. */
    struct project p = new_tenant("keyed", 1);
    struct race r = {.n = request(&p, "same")};
    race(&r);
    ASSERT_INT(r.admitted, 1);
    ASSERT_INT(r.earlier, RACERS - 1);
    ASSERT_INT(used(&p), 1);
    for (int i = 1; i < RACERS; i++)
        ASSERT_STR(r.id[i], r.id[0]);
    struct project q = new_tenant("keyed and rich", 500);
    struct race s = {.n = request(&q, "same")};
    race(&s);
    ASSERT_INT(s.admitted, 1);
    ASSERT_INT(s.earlier, RACERS - 1);
    ASSERT_INT(used(&q), 1);
    project_done(&p);
    project_done(&q);
}

struct finish_race {
    char id[UUID_LEN + 1];
    atomic_int moved;
};

static void *finish_one(void *arg)
{
    struct finish_race *r = arg;
    struct run_end e = {.status = RUN_FAILED};
    bool moved = false;
    if (runs_finish(db, user_a.id, r->id, &e, &moved, NULL) == 0)
        atomic_fetch_add(&r->moved, moved);
    return NULL;
}

static void one_of_many_finishes_moves_the_run(void)
{
    struct finish_race r = {.moved = 0};
    memcpy(r.id, admit_a().id, sizeof(r.id));
    pthread_t t[8];
    for (int i = 0; i < 8; i++)
        pthread_create(&t[i], NULL, finish_one, &r);
    for (int i = 0; i < 8; i++)
        pthread_join(t[i], NULL);
    ASSERT_INT(r.moved, 1);
    ASSERT_STR(sqlf("SELECT count(*) FROM evidence_bundles WHERE run_id = '%s'", r.id), "1");
}

/* --- reading -------------------------------------------------------------------------------------------------------------- */

static void list_is_newest_first_in_pages_with_evidence(void)
{
    struct project p = new_tenant("lister", -1);
    struct runs rs;
    OK(runs_list(db, p.user_id, p.id, 10, NULL, &rs, &err));
    ASSERT_INT(rs.n, 0);
    runs_done(&rs);
    char id[5][UUID_LEN + 1];
    for (int i = 0; i < 5; i++) {
        struct run_new n = request(&p, NULL);
        struct run_admitted a;
        OK(runs_admit(db, &n, &a, &err));
        memcpy(id[i], a.id, sizeof(id[i]));
    }
    struct run_end e = {.status = RUN_SUCCEEDED};
    bool moved;
    OK(runs_finish(db, p.user_id, id[3], &e, &moved, &err));
    sqlf("UPDATE evidence_bundles SET status = 'ready', bundle_path = 'x', sha256 = repeat('0', 64), "
         "size_bytes = 1, sealed_at = now()"
         " WHERE run_id = '%s'",
        id[3]);
    OK(runs_list(db, p.user_id, p.id, 3, NULL, &rs, &err));
    ASSERT_INT(rs.n, 3);
    for (int i = 0; i < 3; i++) {
        ASSERT_STR(rs.v[i].id, id[4 - i]);
        ASSERT_INT(rs.v[i].has_evidence, i == 1);
        ASSERT_TRUE(rs.v[i].engine && !rs.v[i].prompt);
    }
    char cursor[CURSOR_LEN + 1];
    cursor_format(rs.v[2].created_us, rs.v[2].id, cursor);
    runs_done(&rs);
    OK(runs_list(db, p.user_id, p.id, 3, cursor, &rs, &err));
    ASSERT_INT(rs.n, 2);
    ASSERT_STR(rs.v[0].id, id[1]);
    ASSERT_STR(rs.v[1].id, id[0]);
    runs_done(&rs);
    ASSERT_INT(runs_list(db, p.user_id, p.id, 3, "junk", &rs, &err), ARP_E_FIELD);
    project_done(&p);
}

struct got {
    sem_t ready;
    int code;
    struct run copy; /* only numbers and ids */
    char prompt[64];
};

static void on_run(void *ctx, const struct run *run, int code, const struct arp_err *e)
{
    struct got *g = ctx;
    g->code = code;
    if (run) {
        g->copy = *run;
        snprintf(g->prompt, sizeof(g->prompt), "%s", run->prompt);
    } else if (!e || e->code != code) {
        g->code = 1;
    }
    sem_post(&g->ready);
}

static void pipeline_reads_the_same_run(void)
{
    cleanup_pipeline struct pipeline *p = NULL;
    struct got g = {.code = 1};
    struct run_admitted a = admit_a();
    struct run r;
    sem_init(&g.ready, 0, 0);
    OK(pipeline_open(pg_url(), 1, &p, &err));
    OK(runs_get_async(p, user_a.id, a.id, on_run, &g, &err));
    sem_wait(&g.ready);
    ASSERT_INT(g.code, 0);
    OK(runs_get(db, user_a.id, a.id, &r, &err));
    ASSERT_STR(g.copy.id, r.id);
    ASSERT_STR(g.prompt, r.prompt);
    ASSERT_INT(g.copy.created_us, r.created_us);
    run_done(&r);
    OK(runs_get_async(p, user_b.id, a.id, on_run, &g, &err));
    sem_wait(&g.ready);
    ASSERT_INT(g.code, ARP_E_NOT_FOUND);
    ASSERT_INT(runs_get_async(p, user_b.id, "no-uuid", on_run, &g, &err), ARP_E_NOT_FOUND);
}

static bool is_orphan(const char *id, int64_t min_age_ms)
{
    struct runs rs;
    bool found = false;
    OK(runs_orphans(db, min_age_ms, 1000, NULL, &rs, &err));
    for (size_t i = 0; i < rs.n; i++)
        found = found || strcmp(rs.v[i].id, id) == 0;
    runs_done(&rs);
    return found;
}

static void orphans_are_listed_behind_the_last_one_seen(void)
{
    struct project p = new_tenant("left", -1);
    struct run_new n = request(&p, NULL);
    struct run_admitted a, b;
    struct runs rs;
    struct run last = {0};
    unsigned seen = 0;
    bool more;
    OK(runs_admit(db, &n, &a, &err));
    OK(runs_admit(db, &n, &b, &err));
    do {
        OK(runs_orphans(db, 0, 1, last.id[0] ? &last : NULL, &rs, &err));
        for (size_t i = 0; i < rs.n; i++) {
            seen += strcmp(rs.v[i].id, a.id) == 0 || strcmp(rs.v[i].id, b.id) == 0;
            memcpy(last.id, rs.v[i].id, sizeof(last.id));
            last.created_us = rs.v[i].created_us;
        }
        more = rs.n > 0;
        runs_done(&rs);
    } while (more);
    ASSERT_INT(seen, 2);
    project_done(&p);
}

static void orphans_are_live_runs_whose_lease_is_gone(void)
{
    struct project p = new_tenant("crashed", -1);
    struct run_new n = request(&p, NULL);
    struct run_admitted a;
    char lease[64];
    int64_t epoch = 0;
    bool moved;
    snprintf(lease, sizeof(lease), "workspace:%s", p.workspace_id);
    OK(runs_admit(db, &n, &a, &err));
    ASSERT_TRUE(is_orphan(a.id, 0));
    ASSERT_TRUE(!is_orphan(a.id, 60000)); /* just admitted: its lease is about to be taken */
    OK(leases_take(db, lease, "h1", 60000, &epoch, &err));
    start(p.user_id, a.id, epoch);
    ASSERT_TRUE(!is_orphan(a.id, 0));
    sqlf("UPDATE leases SET expires_at = now() WHERE name = '%s'", lease);
    ASSERT_TRUE(is_orphan(a.id, 0));
    OK(leases_take(db, lease, "h2", 60000, &epoch, &err));
    ASSERT_TRUE(is_orphan(a.id, 0)); /* the lease lives again, but it is of a later epoch */
    struct run_end e = {.status = RUN_FAILED, .reason = "orchestrator_restart"};
    OK(runs_finish(db, p.user_id, a.id, &e, &moved, &err));
    ASSERT_TRUE(!is_orphan(a.id, 0));
    project_done(&p);
}

static void a_run_begins_only_under_the_lock_it_was_admitted_with(void)
{
    struct project p = new_tenant("locked", -1);
    struct run_new n = request(&p, NULL);
    struct run_admitted a;
    char lease[64];
    int64_t epoch = 0, theirs = 0, renewed = 0;
    snprintf(lease, sizeof(lease), "workspace:%s", p.workspace_id);
    OK(leases_take(db, lease, "h1", 60000, &epoch, &err));
    OK(runs_admit(db, &n, &a, &err));
    struct run_start s = {"i", NULL, "{}", "{}", epoch};
    sqlf("UPDATE leases SET expires_at = now() WHERE name = '%s'", lease);
    ASSERT_INT(runs_set_started(db, p.user_id, a.id, &s, &err), ARP_E_BUSY);
    OK(leases_take(db, lease, "h2", 60000, &theirs, &err));
    ASSERT_INT(runs_set_started(db, p.user_id, a.id, &s, &err), ARP_E_BUSY);
    ASSERT_STR(sqlf("SELECT status FROM runs WHERE id = '%s'", a.id), "queued");
    OK(leases_release(db, lease, "h2", theirs, &err));
    ASSERT_INT(runs_set_started(db, p.user_id, a.id, &s, &err), ARP_E_BUSY);
    /* One that ran out and was renewed before anybody took it is as good as before. */
    OK(leases_take(db, lease, "h1", 60000, &s.lease_epoch, &err));
    sqlf("UPDATE leases SET expires_at = now() WHERE name = '%s'", lease);
    OK(leases_renew_all(db, "h1", 60000, &renewed, &err));
    OK(runs_set_started(db, p.user_id, a.id, &s, &err));
    project_done(&p);
}

FIXTURE_SUITE(runs_test, TEST(a_run_begins_only_under_the_lock_it_was_admitted_with),
    TEST(admitted_run_is_queued_with_its_bytes), TEST(other_tenants_runs_do_not_exist),
    TEST(a_run_goes_from_queued_to_its_end_once),
    TEST(a_thread_is_found_in_its_project_once_its_run_has_ended),
    TEST(a_run_does_not_start_without_its_container_on_record), TEST(cancel_is_noted_while_the_run_lives),
    TEST(quota_refuses_with_details), TEST(idempotency_key_returns_the_first_run),
    TEST(fifty_at_once_get_exactly_the_limit), TEST(fifty_with_one_key_are_one_run),
    TEST(one_of_many_finishes_moves_the_run), TEST(list_is_newest_first_in_pages_with_evidence),
    TEST(pipeline_reads_the_same_run), TEST(orphans_are_listed_behind_the_last_one_seen),
    TEST(orphans_are_live_runs_whose_lease_is_gone))
