/*
 * Tests of retention: see retention.h.
 */
#include "tests/support/retention.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/pg.h"

static void pause_50ms(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
}

bool sealed_run(const struct stack *s, const struct tenant *t, const char *commands, char *ret_id)
{
    struct reply r = {0};
    bool ok = stack_run(s, t, commands, &r) == 200 && strcmp(reply_str(&r, "status"), "succeeded") == 0;
    if (ok)
        snprintf(ret_id, 40, "%s", reply_str(&r, "runId"));
    else
        fprintf(stderr, "run: %ld %s\n", r.status, r.body);
    reply_done(&r);
    return ok && bundle_wait(ret_id, "status", "ready");
}

bool cool_workspace(const struct stack *s, const struct tenant *t)
{
    struct reply r = {0};
    char path[96];
    snprintf(path, sizeof(path), "/projects/%s/close", t->project_id);
    bool ok = stack_call(s, t->key, "POST", path, NULL, &r) == 200;
    reply_done(&r);
    return ok;
}

long gc_pass(const struct stack *s, bool dry_run, struct reply *ret)
{
    long status = 0;
    for (int i = 0; i < 20 * 20; i++) {
        status = stack_call(s, stack_admin_key(s), "POST", "/ops/gc",
            dry_run ? "{\"dryRun\":true}" : "{\"dryRun\":false}", ret);
        if (status != 409)
            break;
        pause_50ms();
    }
    if (status != 200)
        fprintf(stderr, "POST /ops/gc: %ld %s\n", status, ret->body);
    return status;
}

double gc_counts(const struct stack *s, bool dry_run, const char *path)
{
    struct reply r = {0};
    double n = gc_pass(s, dry_run, &r) == 200 ? reply_num(&r, path) : -1;
    reply_done(&r);
    return n;
}

long hold_call(const struct stack *s, const char *key, const char *what, const char *id, const char *reason)
{
    struct reply r = {0};
    char path[96];
    char body[128];
    snprintf(path, sizeof(path), "/%s/%s/hold", what, id);
    snprintf(body, sizeof(body), "{\"reason\":\"%s\"}", reason ? reason : "");
    long status = stack_call(s, key, reason ? "PUT" : "DELETE", path, reason ? body : NULL, &r);
    reply_done(&r);
    return status;
}

long pin_call(const struct stack *s, const struct tenant *t, const char *verb)
{
    struct reply r = {0};
    char path[96];
    snprintf(path, sizeof(path), "/workspaces/%s/%s", t->workspace_id, verb);
    long status = stack_call(s, t->key, "POST", path, NULL, &r);
    reply_done(&r);
    return status;
}

const char *bundle_column(const char *run_id, const char *column)
{
    char sql[512];
    snprintf(sql, sizeof(sql), "SELECT %s FROM evidence_bundles WHERE run_id = '%s'", column, run_id);
    return pg_sql(sql);
}

const char *workspace_column(const struct tenant *t, const char *column)
{
    char sql[512];
    snprintf(sql, sizeof(sql), "SELECT %s FROM workspaces WHERE id = '%s'", column, t->workspace_id);
    return pg_sql(sql);
}

bool bundle_wait(const char *run_id, const char *column, const char *value)
{
    for (int i = 0; i < 30 * 20; i++) {
        const char *is = bundle_column(run_id, column);
        if (is && strcmp(is, value) == 0)
            return true;
        pause_50ms();
    }
    return false;
}

bool workspace_wait(const struct tenant *t, const char *column, const char *value)
{
    for (int i = 0; i < 30 * 20; i++) {
        const char *is = workspace_column(t, column);
        if (is && strcmp(is, value) == 0)
            return true;
        pause_50ms();
    }
    return false;
}

bool evidence_has(const struct stack *s, const char *name)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", stack_evidence_root(s), name);
    return access(path, F_OK) == 0;
}

bool zip_exists(const struct stack *s, const char *run_id)
{
    char name[64];
    snprintf(name, sizeof(name), "%s.zip", run_id);
    return evidence_has(s, name);
}
