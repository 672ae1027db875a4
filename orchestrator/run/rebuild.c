/*
 * Another try for bundles: see rebuild.h.
 */
#include "orchestrator/run/rebuild.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "orchestrator/run/bundler.h"
#include "orchestrator/store/retention.h"
#include "shared/log.h"

/* A staging directory has its name only once it is whole (evidence/staging.h). */
static bool is_staged(const struct run_env *env, const char *run_id)
{
    char path[sizeof(env->staging_root) + UUID_LEN + 2];
    snprintf(path, sizeof(path), "%s/%s", env->staging_root, run_id);
    return access(path, F_OK) == 0;
}

/* The bundle of a workflow run is made from rows: nothing is staged for it. */
static int retry_one(const struct run_env *env, enum retention_kind kind, const struct retention_bundle *b,
    struct rebuild_report *report, struct arp_err *err)
{
    if (b->lost || (kind == RETENTION_RUN && !is_staged(env, b->run_id))) {
        report->unstaged++;
        return 0;
    }
    int rc = retention_bundle_retry(env->db, kind, b->user_id, b->id, err);
    if (rc == ARP_E_NOT_FOUND)
        return 0; /* somebody else was faster */
    if (rc)
        return rc;
    struct log_ctx ctx = {0};
    memcpy(ctx.user_id, b->user_id, sizeof(ctx.user_id));
    memcpy(ctx.run_id, b->run_id, sizeof(ctx.run_id));
    log_info(&ctx, "evidence bundle will be built again");
    report->retried++;
    return 0;
}

static int retry_all(
    const struct run_env *env, enum retention_kind kind, struct rebuild_report *report, struct arp_err *err)
{
    struct retention_cursor at = {0};
    int rc = 0;
    for (bool more = true; rc == 0 && more;) {
        struct retention_bundles page = {0};
        rc = retention_bundles_failed(env->db, kind, &at, &page, err);
        if (rc)
            return rc;
        more = page.n == RETENTION_BATCH;
        for (size_t i = 0; i < page.n && rc == 0; i++)
            rc = retry_one(env, kind, &page.v[i], report, err);
        retention_bundles_done(&page);
    }
    return rc;
}

int rebuild_failed(const struct run_env *env, struct rebuild_report *ret, struct arp_err *err)
{
    struct rebuild_report report = {0};
    /* The steps' bundles first: that of their workflow run lists what they come to. */
    int rc = retry_all(env, RETENTION_RUN, &report, err);
    if (rc == 0)
        rc = retry_all(env, RETENTION_WORKFLOW, &report, err);
    if (report.retried)
        bundler_wake(env->bundler);
    if (rc == 0)
        *ret = report;
    return rc;
}
