#include "orchestrator/store/projects.h"

#include "orchestrator/store/cursor.h"
#include "orchestrator/store/workspaces.h"
#include "tests/unit/orchestrator/store/fixture.h"

static void project_comes_with_a_cold_workspace(void)
{
    struct project p;
    struct workspace w;
    OK(projects_get(db, user_b.id, project_b.id, &p, &err));
    ASSERT_STR(p.name, "pb");
    ASSERT_STR(p.repo_url, "https://example.org/r.git");
    ASSERT_STR(p.workspace_id, project_b.workspace_id);
    OK(workspaces_get_by_project(db, user_b.id, p.id, &w, &err));
    ASSERT_STR(w.id, p.workspace_id);
    ASSERT_INT(w.state, WORKSPACE_COLD);
    project_done(&p);
    workspace_done(&w);
}

static void other_tenants_projects_do_not_exist(void)
{
    struct project p;
    ASSERT_INT(projects_get(db, user_a.id, project_b.id, &p, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(projects_get(db, user_a.id, "1", &p, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(projects_delete(db, user_a.id, project_b.id, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(projects_insert(db, NO_ID, "x", NULL, NULL, &err), ARP_E_NOT_FOUND);
}

static void name_is_unique_per_tenant_and_free_after_delete(void)
{
    struct project first, again;
    OK(projects_insert(db, user_a.id, "twice", NULL, &first, &err));
    ASSERT_INT(projects_insert(db, user_a.id, "twice", NULL, NULL, &err), ARP_E_CONFLICT);
    OK(projects_insert(db, user_b.id, "twice", NULL, NULL, &err));
    OK(projects_delete(db, user_a.id, first.id, &err));
    ASSERT_INT(projects_delete(db, user_a.id, first.id, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(projects_get(db, user_a.id, first.id, &again, &err), ARP_E_NOT_FOUND);
    OK(projects_insert(db, user_a.id, "twice", NULL, NULL, &err));
    project_done(&first);
}

static void delete_waits_for_runs(void)
{
    struct project p;
    struct run_admitted r;
    bool moved = false;
    OK(projects_insert(db, user_a.id, "busy", NULL, &p, &err));
    struct run_new n = {.user_id = user_a.id,
        .project_id = p.id,
        .prompt = "x",
        .engine = "shell",
        .run_context = "{}",
        .agent_key = "default"};
    OK(runs_admit(db, &n, &r, &err));
    ASSERT_INT(projects_delete(db, user_a.id, p.id, &err), ARP_E_BUSY);
    struct run_end e = {.status = RUN_FAILED};
    OK(runs_finish(db, user_a.id, r.id, &e, &moved, &err));
    OK(projects_delete(db, user_a.id, p.id, &err));
    ASSERT_INT(runs_admit(db, &n, &r, &err), ARP_E_NOT_FOUND);
    project_done(&p);
}

static void pages_meet_without_gap_or_repeat(void)
{
    struct user u;
    OK(users_insert(db, "pager", -1, &u, &err));
    sqlf("WITH p AS (INSERT INTO projects (user_id, name, created_at) SELECT '%s', 'p' || i, "
         "to_timestamp(1e9 + i / 3)"
         " FROM generate_series(1, 10) i RETURNING id, user_id) INSERT INTO workspaces (project_id, user_id) "
         "SELECT * FROM p",
        u.id);
    char cursor[CURSOR_LEN + 1] = "";
    char seen[10][UUID_LEN + 1];
    size_t n = 0;
    for (;;) {
        struct projects page;
        OK(projects_list(db, u.id, 4, cursor, &page, &err));
        for (size_t i = 0; i < page.n && n < 10; i++)
            memcpy(seen[n++], page.v[i].id, sizeof(seen[0]));
        if (page.n > 0)
            cursor_format(page.v[page.n - 1].created_us, page.v[page.n - 1].id, cursor);
        bool last = page.n < 4;
        projects_done(&page);
        if (last)
            break;
    }
    ASSERT_INT(n, 10);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++)
            CU_ASSERT(strcmp(seen[i], seen[j]) != 0);
    user_done(&u);
}

FIXTURE_SUITE(projects_test, TEST(project_comes_with_a_cold_workspace),
    TEST(other_tenants_projects_do_not_exist), TEST(name_is_unique_per_tenant_and_free_after_delete),
    TEST(delete_waits_for_runs), TEST(pages_meet_without_gap_or_repeat))
