/*
 * What the store's tests start from: a migrated database and two tenants, A and B, each with a project. Header-only; one per program.
 * FIXTURE_SUITE(name, TEST(...), ...) makes the program.
 */
#ifndef ARP_TESTS_STORE_FIXTURE_H
#define ARP_TESTS_STORE_FIXTURE_H

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "orchestrator/store/db.h"
#include "orchestrator/store/projects.h"
#include "orchestrator/store/runs.h"
#include "orchestrator/store/usage.h"
#include "orchestrator/store/users.h"
#include "tests/support/pg.h"
#include "tests/support/suite.h"

static struct db *db;
static struct arp_err err;
static struct user user_a, user_b;
static struct project project_a, project_b;

/* The call must succeed; shows its error when it does not. */
#define OK(call)                                                                                             \
    do {                                                                                                     \
        err = (struct arp_err){0};                                                                           \
        int ok_rc_ = (call);                                                                                 \
        if (ok_rc_ != 0)                                                                                     \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, err.msg);                                     \
        CU_ASSERT_EQUAL_FATAL(ok_rc_, 0);                                                                    \
    } while (0)

static int fixture_up(void)
{
    const char *url = pg_url_migrated();
    if (!url || db_open(url, 8, &db, &err) < 0)
        return 1;
    if (users_insert(db, "a", -1, &user_a, &err) < 0 || users_insert(db, "b", -1, &user_b, &err) < 0 ||
        projects_insert(db, user_a.id, "pa", NULL, &project_a, &err) < 0 ||
        projects_insert(db, user_b.id, "pb", "https://example.org/r.git", &project_b, &err) < 0) {
        fprintf(stderr, "fixture: %s\n", err.msg);
        return 1;
    }
    return 0;
}

static int fixture_down(void)
{
    user_done(&user_a);
    user_done(&user_b);
    project_done(&project_a);
    project_done(&project_b);
    db_close(db);
    return 0;
}

/* Run SQL with printf arguments behind the store's back. */
__attribute__((format(printf, 1, 2), unused)) static const char *sqlf(const char *fmt, ...)
{
    char text[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    const char *value = pg_sql(text);
    return value ? value : "(failed)";
}

/* Somebody holds the lease "kind:id" for an hour, with that epoch. */
__attribute__((unused)) static void hold_lease(const char *kind, const char *id, int64_t epoch)
{
    sqlf("INSERT INTO leases (name, holder, epoch, expires_at) VALUES ('%s:%s', 'h', %lld, now() + interval "
         "'1 "
         "hour') ON CONFLICT (name) DO UPDATE SET epoch = excluded.epoch, expires_at = excluded.expires_at",
        kind, id, (long long)epoch);
}

/* The clock of the custody chains stands at when (of SQL). */
__attribute__((unused)) static void clock_at(const char *when)
{
    sqlf("CREATE OR REPLACE FUNCTION custody_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT "
         "''%s''::timestamptz'",
        when);
}

/* A tenant of its own with a project, so that a test counts alone. */
__attribute__((unused)) static struct project new_tenant(const char *name, int64_t limit)
{
    struct user u = {0};
    struct project p = {0};
    OK(users_insert(db, name, limit, &u, &err));
    OK(projects_insert(db, u.id, "p", NULL, &p, &err));
    user_done(&u);
    return p;
}

/* Runs of today that count in the quota of the project's user. */
__attribute__((unused)) static int64_t used(const struct project *p)
{
    struct usage u = {0};
    OK(usage_get(db, p->user_id, &u, &err));
    return u.used;
}

/* A run of tenant A in the state queued. */
__attribute__((unused)) static struct run_admitted admit_a(void)
{
    struct run_new n = {.user_id = user_a.id,
        .project_id = project_a.id,
        .prompt = "do it",
        .engine = "shell",
        .run_context = "{\"v\":1}",
        .agent_key = "default"};
    struct run_admitted r = {0};
    OK(runs_admit(db, &n, &r, &err));
    return r;
}

#define NO_ID "00000000-0000-4000-8000-000000000000"

#define FIXTURE_SUITE(name, ...) TEST_SUITE_WITH(name, fixture_up, fixture_down, __VA_ARGS__)

#endif
