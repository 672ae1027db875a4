#include "orchestrator/store/containers.h"

#include <pthread.h>
#include <stdlib.h>

#include "orchestrator/store/cursor.h"
#include "tests/unit/orchestrator/store/fixture.h"

static struct container_fields fields(const char *name)
{
    return (struct container_fields){
        .name = name, .image_name = "img:1", .image_digest = "sha256:aa", .sandbox_profile = "\"strict\""};
}

static struct container insert(const char *user_id, const char *name)
{
    struct container_fields f = fields(name);
    struct container c = {0};
    OK(containers_insert(db, user_id, &f, 1000, &c, &err));
    return c;
}

static int count_of(const struct user *u)
{
    return (int)strtol(sqlf("SELECT container_count FROM users WHERE id = '%s'", u->id), NULL, 10);
}

static void what_was_registered_is_read_back(void)
{
    struct container made, read;
    struct container_fields f = fields("whole");
    f.cpu_millis = 1500;
    f.memory_bytes = 5000000000;
    f.pids = 77;
    f.idle_expiry_seconds = 3600;
    f.sandbox_profile = "{\"defaultAction\":\"SCMP_ACT_ALLOW\"}";
    OK(containers_insert(db, user_a.id, &f, 1000, &made, &err));
    OK(containers_get(db, user_a.id, made.id, &read, &err));
    ASSERT_STR(read.name, "whole");
    ASSERT_STR(read.image_name, "img:1");
    ASSERT_STR(read.image_digest, "sha256:aa");
    ASSERT_INT(read.cpu_millis, 1500);
    ASSERT_INT(read.memory_bytes, 5000000000);
    ASSERT_INT(read.pids, 77);
    ASSERT_INT(read.idle_expiry_seconds, 3600);
    ASSERT_TRUE(!read.expired);
    ASSERT_INT(read.last_used_us, read.created_us);
    ASSERT_STR(read.network_policy, "internal");
    ASSERT_STR(read.sandbox_profile, "{\"defaultAction\":\"SCMP_ACT_ALLOW\"}");
    ASSERT_TRUE(read.created_us > 0 && read.created_us == made.created_us);
    container_done(&made);
    container_done(&read);
}

static void a_change_leaves_what_it_does_not_name(void)
{
    struct container c = insert(user_a.id, "changed");
    struct container now;
    struct container_fields f = {
        .cpu_millis = 500, .memory_bytes = CONTAINER_KEEP, .pids = 20, .idle_expiry_seconds = 60};
    OK(containers_update(db, user_a.id, c.id, &f, &now, &err));
    ASSERT_STR(now.name, "changed");
    ASSERT_INT(now.cpu_millis, 500);
    ASSERT_INT(now.memory_bytes, 0);
    ASSERT_INT(now.pids, 20);
    ASSERT_INT(now.idle_expiry_seconds, 60);
    ASSERT_INT(now.last_used_us, now.updated_us); /* a change is a use */
    ASSERT_STR(now.sandbox_profile, "\"strict\"");
    ASSERT_TRUE(now.updated_us > c.updated_us);
    container_done(&now);
    struct container_fields again = {.name = "renamed",
        .image_name = "img:2",
        .image_digest = "sha256:bb",
        .cpu_millis = CONTAINER_KEEP,
        .memory_bytes = 1 << 30,
        .pids = 0,
        .idle_expiry_seconds = CONTAINER_KEEP,
        .sandbox_profile = "\"default\""};
    OK(containers_update(db, user_a.id, c.id, &again, &now, &err));
    ASSERT_STR(now.name, "renamed");
    ASSERT_STR(now.image_name, "img:2");
    ASSERT_STR(now.image_digest, "sha256:bb");
    ASSERT_INT(now.cpu_millis, 500);
    ASSERT_INT(now.memory_bytes, 1 << 30);
    ASSERT_INT(now.pids, 0);
    ASSERT_INT(now.idle_expiry_seconds, 60);
    ASSERT_STR(now.sandbox_profile, "\"default\"");
    container_done(&now);
    again = (struct container_fields){
        .cpu_millis = CONTAINER_KEEP, .memory_bytes = CONTAINER_KEEP, .pids = CONTAINER_KEEP};
    OK(containers_update(db, user_a.id, c.id, &again, &now, &err));
    ASSERT_INT(now.idle_expiry_seconds, 0);
    container_done(&now);
    container_done(&c);
}

static void names_are_unique_per_tenant_until_deleted(void)
{
    struct container first = insert(user_a.id, "twice");
    struct container other = insert(user_a.id, "other");
    struct container of_b = insert(user_b.id, "twice");
    struct container_fields f = fields("twice");
    int before = count_of(&user_a);
    ASSERT_INT(containers_insert(db, user_a.id, &f, 1000, NULL, &err), ARP_E_CONFLICT);
    ASSERT_CONTAINS(err.msg, "of that name");
    struct container_fields rename = {.name = "twice",
        .cpu_millis = CONTAINER_KEEP,
        .memory_bytes = CONTAINER_KEEP,
        .pids = CONTAINER_KEEP,
        .idle_expiry_seconds = CONTAINER_KEEP};
    ASSERT_INT(containers_update(db, user_a.id, other.id, &rename, NULL, &err), ARP_E_CONFLICT);
    ASSERT_INT(count_of(&user_a), before);
    OK(containers_delete(db, user_a.id, first.id, &err));
    OK(containers_insert(db, user_a.id, &f, 1000, NULL, &err));
    container_done(&first);
    container_done(&other);
    container_done(&of_b);
}

static void other_tenants_and_deleted_containers_do_not_exist(void)
{
    struct container c = insert(user_b.id, "of b");
    struct container r;
    struct container_fields f = fields("stolen");
    int before = count_of(&user_b);
    ASSERT_INT(containers_get(db, user_a.id, c.id, &r, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(containers_update(db, user_a.id, c.id, &f, NULL, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(containers_delete(db, user_a.id, c.id, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(containers_get(db, user_b.id, "' OR 1=1", &r, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(count_of(&user_b), before);
    OK(containers_delete(db, user_b.id, c.id, &err));
    ASSERT_INT(count_of(&user_b), before - 1);
    ASSERT_INT(containers_get(db, user_b.id, c.id, &r, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(containers_update(db, user_b.id, c.id, &f, NULL, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(containers_delete(db, user_b.id, c.id, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(count_of(&user_b), before - 1);
    container_done(&c);
}

/* Nobody has used it for that long. */
static void age(const char *id, int seconds)
{
    sqlf("UPDATE containers SET last_used_at = now() - interval '%d seconds' WHERE id = '%s'", seconds, id);
}

static enum container_life life_of(const char *id)
{
    struct container c;
    enum container_life life;
    OK(containers_find(db, user_a.id, id, &c, &life, &err));
    ASSERT_STR(c.id, id);
    container_done(&c);
    return life;
}

static struct container insert_expiring(const char *name)
{
    struct container_fields f = fields(name);
    struct container c = {0};
    f.idle_expiry_seconds = 3600;
    OK(containers_insert(db, user_a.id, &f, 1000, &c, &err));
    return c;
}

static void a_container_expires_when_idle_and_a_change_revives_it(void)
{
    struct container c = insert_expiring("idle");
    struct container forever = insert(user_a.id, "forever");
    struct container r;
    struct container_fields nothing = {.cpu_millis = CONTAINER_KEEP,
        .memory_bytes = CONTAINER_KEEP,
        .pids = CONTAINER_KEEP,
        .idle_expiry_seconds = CONTAINER_KEEP};
    age(c.id, 3590);
    ASSERT_INT(life_of(c.id), CONTAINER_ALIVE);
    age(c.id, 3601);
    age(forever.id, 1 << 30);
    ASSERT_INT(life_of(c.id), CONTAINER_EXPIRED);
    ASSERT_INT(life_of(forever.id), CONTAINER_ALIVE);
    /* It is still there, and its name taken. */
    OK(containers_get(db, user_a.id, c.id, &r, &err));
    ASSERT_TRUE(r.expired);
    container_done(&r);
    struct container_fields same = fields("idle");
    ASSERT_INT(containers_insert(db, user_a.id, &same, 1000, NULL, &err), ARP_E_CONFLICT);
    OK(containers_update(db, user_a.id, c.id, &nothing, &r, &err));
    ASSERT_TRUE(!r.expired);
    container_done(&r);
    ASSERT_INT(life_of(c.id), CONTAINER_ALIVE);
    container_done(&c);
    container_done(&forever);
}

static void what_is_in_progress_keeps_a_container_alive(void)
{
    struct container c = insert_expiring("busy");
    struct run_new n = {.user_id = user_a.id,
        .project_id = project_a.id,
        .prompt = "p",
        .engine = "shell",
        .run_context = "{}",
        .container_id = c.id};
    struct run_admitted run;
    bool moved;
    OK(runs_admit(db, &n, &run, &err));
    age(c.id, 10000);
    ASSERT_INT(life_of(c.id), CONTAINER_ALIVE);
    OK(runs_finish(db, user_a.id, run.id, &(struct run_end){.status = RUN_FAILED}, &moved, &err));
    age(c.id, 10000);
    ASSERT_INT(life_of(c.id), CONTAINER_EXPIRED);
    /* So does a workflow run that was given it, until it ends. */
    sqlf("WITH w AS (INSERT INTO workflows (user_id, key) VALUES ('%s', 'w')), v AS (INSERT INTO "
         "workflow_versions (user_id, key, version, spec) VALUES ('%s', 'w', 1, '{}'))"
         " INSERT INTO workflow_runs (user_id, workflow_key, workflow_version, project_id, workspace_id, "
         "input, "
         "context, container_ids, streaming) SELECT p.user_id, 'w', 1, p.id, s.id, '', '{}', '{%s}', false "
         "FROM "
         "projects p JOIN workspaces s ON s.project_id = p.id WHERE p.id = '%s'",
        user_a.id, user_a.id, c.id, project_a.id);
    ASSERT_INT(life_of(c.id), CONTAINER_ALIVE);
    sqlf("UPDATE workflow_runs SET status = 'failed', finished_at = now() WHERE '%s' = ANY (container_ids)",
        c.id);
    ASSERT_INT(life_of(c.id), CONTAINER_EXPIRED);
    container_done(&c);
}

static void what_a_spec_may_name_is_alive_and_the_tenants(void)
{
    struct container c = insert_expiring("usable");
    struct container of_b = insert(user_b.id, "usable");
    char missing[sizeof(err.msg)];
    OK(containers_check_usable(db, user_a.id, c.id, &err));
    ASSERT_INT(containers_check_usable(db, user_a.id, NO_ID, &err), ARP_E_FIELD);
    ASSERT_STR(err.detail, "\"field\":\"containerId\"");
    memcpy(missing, err.msg, sizeof(missing));
    static const char *const nothing[] = {"", "x", "00000000-0000-4000-8000-00000000000G"};
    for (size_t i = 0; i < 3; i++) {
        ASSERT_INT(containers_check_usable(db, user_a.id, nothing[i], &err), ARP_E_FIELD);
        ASSERT_STR(err.msg, missing);
    }
    ASSERT_INT(containers_check_usable(db, user_a.id, of_b.id, &err), ARP_E_FIELD);
    ASSERT_STR(err.msg, missing);
    age(c.id, 3601);
    ASSERT_INT(containers_check_usable(db, user_a.id, c.id, &err), ARP_E_FIELD);
    ASSERT_CONTAINS(err.msg, "expired");
    OK(containers_delete(db, user_a.id, c.id, &err));
    ASSERT_INT(life_of(c.id), CONTAINER_DELETED);
    ASSERT_INT(containers_check_usable(db, user_a.id, c.id, &err), ARP_E_FIELD);
    ASSERT_CONTAINS(err.msg, "deleted");
    struct container r;
    enum container_life life;
    ASSERT_INT(containers_find(db, user_b.id, c.id, &r, &life, &err), ARP_E_NOT_FOUND);
    container_done(&c);
    container_done(&of_b);
}

static void a_run_can_not_name_another_tenants_container(void)
{
    struct container c = insert(user_b.id, "for runs");
    struct run_new n = {.user_id = user_a.id,
        .project_id = project_a.id,
        .prompt = "p",
        .engine = "shell",
        .run_context = "{}",
        .container_id = c.id};
    struct run_admitted a;
    ASSERT_INT(runs_admit(db, &n, &a, &err), ARP_E_GONE);
    n.user_id = user_b.id;
    n.project_id = project_b.id;
    OK(runs_admit(db, &n, &a, &err));
    ASSERT_STR(sqlf("SELECT container_id FROM runs WHERE id = '%s'", a.id), c.id);
    container_done(&c);
}

#define LIMIT   5
#define THREADS 12

static struct user crowd;

static void *insert_one(void *arg)
{
    char name[16];
    struct arp_err mine;
    snprintf(name, sizeof(name), "c%d", (int)(intptr_t)arg);
    struct container_fields f = fields(name);
    return (void *)(intptr_t)containers_insert(db, crowd.id, &f, LIMIT, NULL, &mine);
}

static void many_at_once_get_exactly_the_limit(void)
{
    pthread_t t[THREADS];
    int made = 0, refused = 0;
    OK(users_insert(db, "crowd", -1, &crowd, &err));
    for (intptr_t i = 0; i < THREADS; i++)
        ASSERT_INT(pthread_create(&t[i], NULL, insert_one, (void *)i), 0);
    for (int i = 0; i < THREADS; i++) {
        void *rc;
        pthread_join(t[i], &rc);
        made += (intptr_t)rc == 0;
        refused += (intptr_t)rc == ARP_E_CONFLICT;
    }
    ASSERT_INT(made, LIMIT);
    ASSERT_INT(refused, THREADS - LIMIT);
    struct containers page;
    OK(containers_list(db, crowd.id, 200, NULL, &page, &err));
    ASSERT_INT(page.n, LIMIT);
    struct container_fields f = fields("one more");
    ASSERT_INT(containers_insert(db, crowd.id, &f, LIMIT, NULL, &err), ARP_E_CONFLICT);
    ASSERT_STR(err.detail, "\"containersPerUser\":5");
    OK(containers_delete(db, crowd.id, page.v[0].id, &err));
    OK(containers_insert(db, crowd.id, &f, LIMIT, NULL, &err));
    containers_done(&page);
    user_done(&crowd);
}

static void pages_meet_without_gap_or_repeat(void)
{
    struct user u;
    OK(users_insert(db, "pager", -1, &u, &err));
    sqlf("INSERT INTO containers (user_id, name, image_name, created_at) SELECT '%s', 'c' || i, 'i', "
         "to_timestamp(1e9 + i / 3) FROM generate_series(1, 10) i",
        u.id);
    char cursor[CURSOR_LEN + 1] = "";
    char seen[10][UUID_LEN + 1];
    size_t n = 0;
    for (bool last = false; !last;) {
        struct containers page;
        OK(containers_list(db, u.id, 4, cursor, &page, &err));
        for (size_t i = 0; i < page.n && n < 10; i++)
            memcpy(seen[n++], page.v[i].id, sizeof(seen[0]));
        if (page.n > 0)
            cursor_format(page.v[page.n - 1].created_us, page.v[page.n - 1].id, cursor);
        last = page.n < 4;
        containers_done(&page);
    }
    ASSERT_INT(n, 10);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++)
            CU_ASSERT(strcmp(seen[i], seen[j]) != 0);
    user_done(&u);
}

FIXTURE_SUITE(containers_test, TEST(what_was_registered_is_read_back),
    TEST(a_change_leaves_what_it_does_not_name), TEST(names_are_unique_per_tenant_until_deleted),
    TEST(other_tenants_and_deleted_containers_do_not_exist),
    TEST(a_container_expires_when_idle_and_a_change_revives_it),
    TEST(what_is_in_progress_keeps_a_container_alive), TEST(what_a_spec_may_name_is_alive_and_the_tenants),
    TEST(a_run_can_not_name_another_tenants_container), TEST(many_at_once_get_exactly_the_limit),
    TEST(pages_meet_without_gap_or_repeat))
