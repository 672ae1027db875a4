#include "orchestrator/store/workspaces.h"

#include "orchestrator/store/leases.h"
#include "shared/clock.h"
#include "tests/unit/orchestrator/store/fixture.h"

static const struct workspace_warm warm = {
    "c0ffee", "vol", "arp-workspace:1", "sha256:abc", "{\"os\": \"Debian\"}"};

static struct project new_project(const char *name)
{
    struct project p = {0};
    OK(projects_insert(db, user_a.id, name, NULL, &p, &err));
    return p;
}

static void warm_and_cold_keep_volume_and_image(void)
{
    struct project p = new_project("cycle");
    struct workspace w;
    OK(workspaces_set_warm(db, user_a.id, p.workspace_id, &warm, &err));
    OK(workspaces_get(db, user_a.id, p.workspace_id, &w, &err));
    ASSERT_INT(w.state, WORKSPACE_WARM);
    ASSERT_STR(w.container_id, "c0ffee");
    ASSERT_STR(w.volume_name, "vol");
    ASSERT_STR(w.image_name, "arp-workspace:1");
    ASSERT_STR(w.image_digest, "sha256:abc");
    ASSERT_STR(w.runtime_metadata, "{\"os\": \"Debian\"}");
    ASSERT_TRUE(w.warm_since_us > 0 && w.last_active_us == w.warm_since_us);
    workspace_done(&w);

    struct workspace_warm replaced = {"c0ffe2", "vol", "arp-workspace:2", NULL, NULL};
    OK(workspaces_set_warm(db, user_a.id, p.workspace_id, &replaced, &err));
    OK(workspaces_set_cold(db, user_a.id, p.workspace_id, &err));
    OK(workspaces_get(db, user_a.id, p.workspace_id, &w, &err));
    ASSERT_INT(w.state, WORKSPACE_COLD);
    ASSERT_TRUE(!w.container_id && w.warm_since_us == 0 && !w.image_digest);
    ASSERT_STR(w.volume_name, "vol");
    ASSERT_STR(w.image_name, "arp-workspace:2");
    ASSERT_STR(w.runtime_metadata, "{\"os\": \"Debian\"}");
    workspace_done(&w);
    project_done(&p);
}

static void delete_row(const char *id, const char *volume)
{
    sqlf("UPDATE workspaces SET state = 'deleted', deleted_at = now(), deleted_reason = 'manual', "
         "deleted_policy "
         "= 'x', container_id = NULL, warm_since = NULL, volume_name = NULL, gc_volume_name = %s WHERE id = "
         "'%s'",
        volume, id);
}

static void deleted_moves_no_more_until_it_is_made_anew(void)
{
    struct project p = new_project("gone");
    struct workspace w;
    OK(workspaces_set_warm(db, user_a.id, p.workspace_id, &warm, &err));
    ASSERT_INT(workspaces_revive(db, user_a.id, p.workspace_id, &err), ARP_E_NOT_FOUND);
    delete_row(p.workspace_id, "'vol'");
    ASSERT_INT(workspaces_set_warm(db, user_a.id, p.workspace_id, &warm, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(workspaces_set_cold(db, user_a.id, p.workspace_id, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(workspaces_touch(db, user_a.id, p.workspace_id, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(workspaces_set_pinned(db, user_a.id, p.workspace_id, true, &err), ARP_E_NOT_FOUND);
    OK(workspaces_get(db, user_a.id, p.workspace_id, &w, &err));
    ASSERT_INT(w.state, WORKSPACE_DELETED);
    ASSERT_TRUE(w.deleted_us > 0 && !w.volume_name);
    ASSERT_STR(w.deleted_reason, "manual");
    ASSERT_STR(w.deleted_policy, "x");
    workspace_done(&w);
    /* The new volume would have the name of the one that is still to be removed. */
    ASSERT_INT(workspaces_revive(db, user_a.id, p.workspace_id, &err), ARP_E_NOT_FOUND);
    delete_row(p.workspace_id, "NULL");
    ASSERT_INT(workspaces_revive(db, user_b.id, p.workspace_id, &err), ARP_E_NOT_FOUND);
    OK(workspaces_revive(db, user_a.id, p.workspace_id, &err));
    OK(workspaces_find(db, p.workspace_id, &w, &err));
    ASSERT_INT(w.state, WORKSPACE_COLD);
    ASSERT_TRUE(w.deleted_us == 0 && !w.volume_name && !w.deleted_reason && !w.deleted_policy);
    workspace_done(&w);
    ASSERT_INT(workspaces_find(db, NO_ID, &w, &err), ARP_E_NOT_FOUND);
    project_done(&p);
}

static void other_tenants_workspaces_do_not_exist(void)
{
    struct workspace w;
    const char *id = project_b.workspace_id;
    ASSERT_INT(workspaces_get(db, user_a.id, id, &w, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(workspaces_get_by_project(db, user_a.id, project_b.id, &w, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(workspaces_set_warm(db, user_a.id, id, &warm, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(workspaces_set_cold(db, user_a.id, id, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(workspaces_revive(db, user_a.id, id, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(workspaces_set_pinned(db, user_a.id, id, true, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(workspaces_touch(db, user_a.id, id, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(workspaces_touch(db, user_a.id, "not-an-id", &err), ARP_E_NOT_FOUND);
}

static void bad_metadata_is_refused(void)
{
    struct workspace_warm bad = warm;
    bad.runtime_metadata = "{";
    ASSERT_INT(workspaces_set_warm(db, user_b.id, project_b.workspace_id, &bad, &err), ARP_E_INVALID);
}

static void idle_ones_come_longest_first_and_not_when_leased(void)
{
    struct project p = new_project("idle1"), q = new_project("idle2");
    struct workspaces ws;
    char lease[64];
    int64_t epoch = 0;
    OK(workspaces_set_warm(db, user_a.id, p.workspace_id, &warm, &err));
    OK(workspaces_set_warm(db, user_a.id, q.workspace_id, &warm, &err));
    int64_t between = clock_now_us();
    OK(workspaces_touch(db, user_a.id, p.workspace_id, &err));
    OK(workspaces_warm_of_user(db, user_a.id, &ws, &err));
    ASSERT_INT(ws.n, 2);
    ASSERT_STR(ws.v[0].id, q.workspace_id);
    workspaces_done(&ws);
    OK(workspaces_idle(db, between, 10, &ws, &err));
    ASSERT_INT(ws.n, 1);
    ASSERT_STR(ws.v[0].id, q.workspace_id);
    workspaces_done(&ws);
    snprintf(lease, sizeof(lease), "workspace:%s", q.workspace_id);
    OK(leases_take(db, lease, "h", 60000, &epoch, &err));
    OK(workspaces_idle(db, between, 10, &ws, &err));
    ASSERT_INT(ws.n, 0);
    workspaces_done(&ws);
    OK(workspaces_set_cold(db, user_a.id, p.workspace_id, &err));
    OK(workspaces_set_cold(db, user_a.id, q.workspace_id, &err));
    project_done(&p);
    project_done(&q);
}

static void busy_ones_are_those_of_the_user_with_a_live_lease(void)
{
    struct project p = new_project("busy1"), q = new_project("busy2");
    char lease[64];
    int64_t epoch = 0, n = -1;
    OK(workspaces_busy_of_user(db, user_a.id, q.workspace_id, &n, &err));
    int64_t before = n;
    snprintf(lease, sizeof(lease), "workspace:%s", p.workspace_id);
    OK(leases_take(db, lease, "h", 60000, &epoch, &err));
    OK(workspaces_busy_of_user(db, user_a.id, q.workspace_id, &n, &err));
    ASSERT_INT(n, before + 1);
    OK(workspaces_busy_of_user(db, user_a.id, p.workspace_id, &n, &err));
    ASSERT_INT(n, before);
    OK(workspaces_busy_of_user(db, user_b.id, q.workspace_id, &n, &err));
    ASSERT_INT(n, 0);
    OK(leases_release(db, lease, "h", epoch, &err));
    OK(workspaces_busy_of_user(db, user_a.id, q.workspace_id, &n, &err));
    ASSERT_INT(n, before);
    project_done(&p);
    project_done(&q);
}

static bool admitting(const struct user *u, const struct project *p, const char *holder)
{
    bool admits = false;
    OK(workspaces_admitting(db, u->id, p->id, holder, &admits, &err));
    return admits;
}

static void a_lock_of_another_without_a_run_may_be_an_admission(void)
{
    const struct project *p = &project_a;
    char lease[80];
    int64_t epoch = 0;
    bool admits;
    snprintf(lease, sizeof(lease), "workspace:%s", p->workspace_id);
    ASSERT_TRUE(!admitting(&user_a, p, "h2"));
    OK(leases_take(db, lease, "h1", 60000, &epoch, &err));
    ASSERT_TRUE(admitting(&user_a, p, "h2"));
    ASSERT_TRUE(!admitting(&user_a, p, "h1"));
    ASSERT_TRUE(!admitting(&user_b, p, "h2"));
    admit_a();
    ASSERT_TRUE(!admitting(&user_a, p, "h2"));
    sqlf("UPDATE runs SET status = 'failed', finished_at = now() WHERE project_id = '%s'", p->id);
    ASSERT_TRUE(admitting(&user_a, p, "h2"));
    sqlf("UPDATE leases SET expires_at = now() WHERE name = '%s'", lease);
    ASSERT_TRUE(!admitting(&user_a, p, "h2"));
    ASSERT_INT(workspaces_admitting(db, user_a.id, "no-uuid", "h2", &admits, &err), ARP_E_NOT_FOUND);
}

static void live_ones_come_in_pages_and_tell_deleted_projects(void)
{
    struct project p = new_project("dropped");
    OK(projects_delete(db, user_a.id, p.id, &err));
    char after[UUID_LEN + 1] = "";
    int n = 0, dropped = 0;
    for (;;) {
        struct workspaces ws;
        OK(workspaces_live(db, *after ? after : NULL, 2, &ws, &err));
        size_t got = ws.n;
        for (size_t i = 0; i < got; i++) {
            dropped += ws.v[i].project_deleted && strcmp(ws.v[i].id, p.workspace_id) == 0;
            CU_ASSERT(strcmp(after, ws.v[i].id) < 0);
            memcpy(after, ws.v[i].id, sizeof(after));
            n++;
        }
        workspaces_done(&ws);
        if (got < 2)
            break;
    }
    char count[16];
    snprintf(count, sizeof(count), "%d", n);
    ASSERT_STR(pg_sql("SELECT count(*) FROM workspaces WHERE state <> 'deleted'"), count);
    ASSERT_INT(dropped, 1);
    project_done(&p);
}

static void list_is_of_the_tenant_and_shows_pins(void)
{
    struct workspaces ws;
    OK(workspaces_set_pinned(db, user_b.id, project_b.workspace_id, true, &err));
    OK(workspaces_list(db, user_b.id, &ws, &err));
    ASSERT_INT(ws.n, 1);
    ASSERT_STR(ws.v[0].id, project_b.workspace_id);
    ASSERT_TRUE(ws.v[0].pinned);
    workspaces_done(&ws);
}

FIXTURE_SUITE(workspaces_test, TEST(warm_and_cold_keep_volume_and_image),
    TEST(deleted_moves_no_more_until_it_is_made_anew), TEST(other_tenants_workspaces_do_not_exist),
    TEST(bad_metadata_is_refused), TEST(idle_ones_come_longest_first_and_not_when_leased),
    TEST(busy_ones_are_those_of_the_user_with_a_live_lease),
    TEST(a_lock_of_another_without_a_run_may_be_an_admission),
    TEST(live_ones_come_in_pages_and_tell_deleted_projects), TEST(list_is_of_the_tenant_and_shows_pins))
